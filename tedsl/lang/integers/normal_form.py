"""Normal forms of integers: sums of terms, with ``//``, ``%``, min, max and where folded as far as is provable.

The rules that take a term apart are identities of floor division over all integers; a range is used only where the text
says so. Under `known.free` nothing is assumed of the axes, only what holds of every size: that form is what proofs are
made of.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, reads_tensors, walk

from .affine import FALSE, TRUE, ZERO, Affine, factors, integer, order, product, removed
from .assumptions import Assumptions

_DIVISIONS = ("floor_divide", "remainder")


def affine(e: Expr, known: Assumptions) -> Affine:
    """The integer expression `e` as a sum of terms, simplified by what is known."""
    kind = type(e)
    if kind is Const:
        return Affine({}, int(e.args[0]))
    if kind is Var:
        return Affine({e: 1})
    if kind is Axis:
        return known.axis_value(e)  # type: ignore[arg-type]
    cache = known.affines
    found = cache.get(e)
    if found is None:
        free = None if known is known.free else known.free.affines.get(e)
        if free is not None and free.linear:
            found = _at_values(free, known)  # assumptions can only say what the axes in it are
        else:
            found = _affine(e, known)
        # what is kept for good must not keep the user's tensors
        if known is not known.free or not reads_tensors(e):
            if len(cache) > 8192:
                cache.clear()
            cache[e] = found
    return found


def _at_values(x: Affine, known: Assumptions) -> Affine:
    """`x` with the values of those of its axes that take one only."""
    result = x
    for atom, c in x.terms.items():
        if type(atom) is Axis:
            value = known.only_value(atom)
            if value is not None:
                result = result.without(atom) + c * value
    return result


def _affine(e: Expr, known: Assumptions) -> Affine:
    if isinstance(e, Apply):
        rule = _RULES.get(e.args[0])
        if rule is not None and dtypes.is_integer(e.dtype):
            operands = e.args[1][1:] if e.args[0] == "where" else e.args[1]
            values = [affine(x, known) for x in operands]
            result = rule(e, values, known)
            if e.dtype == "int" or _computes_exactly(e, [*values, result], known):
                return result
    elif isinstance(e, Cast) and dtypes.is_integer(e.dtype) and dtypes.is_integer(e.operand.dtype):
        inner = affine(e.operand, known)
        if _computes_exactly(e, [inner], known):
            return inner
    return Affine({_opaque(e, known): 1})


def _opaque(e: Expr, known: Assumptions) -> Expr:
    """An atom that arithmetic cannot look into; 64 bits wide, so that sums with it are computed exactly."""
    if not isinstance(e, Reduce):
        children = e.children
        new = tuple(known.simplify_inside(child) for child in children)
        if any(a is not b for a, b in zip(children, new)):
            e = e.with_children(new)
    return e if e.dtype in ("int", "int64") else Cast("int64", e)


def _computes_exactly(e: Expr, values: list[Affine], known: Assumptions) -> bool:
    """Whether `e`, computed in its own type, cannot wrap around. Index arithmetic proper (no data in it) is taken to
    fit 64 bits.
    """
    if e.dtype == "uint64":
        return False
    if e.dtype == "int64" and all(
        n.dtype == "bool" or (dtypes.is_integer(n.dtype) and not isinstance(n, (Access, Reduce))) for n in walk(e)
    ):
        return True
    low, high = dtypes.limits(dtypes.strong(e.dtype))
    for value in values:
        a, b = known.interval(value)
        if a is None or b is None or a < low or b > high:
            return False
    return True


# Sums -----------------------------------------------------------------------------------------------------------------


def is_apply(atom: Expr, *names: str) -> bool:
    return isinstance(atom, Apply) and atom.args[0] in names


def recombined(x: Affine, known: Assumptions) -> Affine:
    """Put together what division took apart: ``y//d*d + y%d -> y``, ``y - y//d*d -> y%d``, ``y - y%d -> y//d*d``."""
    again = True
    while again:
        again = False
        for atom, c in x.terms.items():
            for part in factors(atom):
                if is_apply(part, *_DIVISIONS):
                    new = _recombine(x, atom, c, part, known.free)
                elif part is atom and is_apply(part, "minimum", "maximum"):
                    new = _absorbed(x, atom, c, known.free)
                else:
                    continue
                if new is not None:
                    x, again = new, True
                    break
            if again:
                break
    return x


def _recombine(x: Affine, atom: Expr, c: int, part: Expr, free: Assumptions) -> Affine | None:
    y_expr, d_expr = part.args[1]
    y = affine(y_expr, free)
    if isinstance(d_expr, Const):
        d = d_expr.args[0]
        if part is not atom or d <= 0:
            return None
        divisor = Affine({}, d)
    else:
        divisor = affine(d_expr, free)
        if divisor.constant or len(divisor.terms) != 1:
            return None
        d = next(iter(divisor.terms.values()))
    if part.args[0] == "floor_divide":
        # the term is c * others * (y // d): a multiple k of d * (y // d)?
        whole = divisor.times(Affine({part: 1}))
        if atom not in whole.terms or c % d:
            return None
        k = c // d
        if not divisor.terms and not y.constant % d and all(p * known_multiple(a) % d == 0 for a, p in y.terms.items()):
            return x.plus(whole, -k).plus(y, k)  # d divides y
        other = _its_remainder(x, y, part, k, free)
        if other is not None:
            return x.plus(whole, -k).plus(Affine({other: 1}), -k).plus(y, k)
        if y.terms and all(x.terms.get(a) == -k * p for a, p in y.terms.items()):
            return x.plus(whole, -k).plus(y, k).plus(Affine({Apply("remainder", (y_expr, d_expr)): 1}), -k)
        return None
    if part is not atom or not y.terms or not all(x.terms.get(a) == -c * p for a, p in y.terms.items()):
        return None
    quotient = divisor.times(Affine({Apply("floor_divide", (y_expr, d_expr)): 1}))
    return x.plus(y, c).plus(Affine({atom: 1}), -c).plus(quotient, -c)


def _its_remainder(x: Affine, y: Affine, quotient: Expr, k: int, free: Assumptions) -> Expr | None:
    """The term of `x`, k times, that is ``y % d`` for the ``y // d`` given. Its dividend may be another one of the same
    residue.
    """
    y_expr, d_expr = quotient.args[1]
    same = Apply("remainder", (y_expr, d_expr))
    if same in x.terms or not isinstance(d_expr, Const):
        return same if x.terms.get(same) == k else None
    for atom, c in x.terms.items():
        if c == k and is_apply(atom, "remainder") and atom.args[1][1] is d_expr:
            apart = y - affine(atom.args[1][0], free)
            if not apart.constant % d_expr.args[0] and not apart.content() % d_expr.args[0]:
                return atom
    return None


def _absorbed(x: Affine, atom: Expr, c: int, free: Assumptions) -> Affine | None:
    """``min(8*a + 8, n) - 8*a -> min(8, n - 8*a)``: what cancels all axes of an operand goes inside."""
    rest = x.terms
    values = extremes(atom, free)
    for v in values:
        if v.terms and all(rest.get(a) == -c * p for a, p in v.terms.items()):
            inside = Affine(v.terms)
            new = extreme(atom.args[0], [w - inside for w in values])
            return x.plus(Affine({atom: 1}), -c).plus(inside, c).plus(new, c)
    return None


def _has_division(x: Affine) -> bool:
    for atom in x.terms:
        if type(atom) is Apply:
            return True
    return False


def _together(x: Affine, known: Assumptions) -> Affine:
    return recombined(x, known) if _has_division(x) else x


# Division -------------------------------------------------------------------------------------------------------------


def _floor_divide(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    x, y = v
    return _symbolic(x, y, known)[0] if y.terms else floor(x, y.constant, known)


def _remainder(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    x, y = v
    return _symbolic(x, y, known)[1] if y.terms else modulo(x, y.constant, known)


def _grouped(x: Affine, d: int, known: Assumptions) -> tuple[int, Affine, Affine, int] | None:
    """(g, high, low, k): ``x = g*high + low`` with g a divisor of d and ``k*g <= low < (k+1)*g`` by the ranges; None
    when there is none.
    """
    for g in sorted({gcd(c, d) for c in x.terms.values()}, reverse=True):
        if g == 1:
            break
        high = {a: c // g for a, c in x.terms.items() if not c % g}
        low = Affine({a: c for a, c in x.terms.items() if c % g}, x.constant)
        if not low.terms:
            return g, Affine(high), low, x.constant // g
        if known is not known.free:
            least, most = known.tight(low)
            if least is not None and most is not None and least // g == most // g:
                return g, Affine(high), low, least // g
    return None


def known_multiple(atom: Expr) -> int:
    """What is declared to divide an atom: for sizes and their products."""
    result = 1
    for part in factors(atom):
        if isinstance(part, Var):
            result *= part.args[2]
    return result


def floor(x: Affine, d: int, known: Assumptions) -> Affine:
    """``x // d``."""
    if not d:
        return ZERO
    if d < 0:
        x, d = -x, -d
    if d == 1:
        return x
    outer: dict[Expr, int] = {}
    inner: dict[Expr, int] = {}
    for atom, c in x.terms.items():
        q = c // d if c > 0 else -(-c // d)
        if q:
            outer[atom] = q
        c -= q * d
        if c and c * known_multiple(atom) % d == 0:  # a size of which d is known to divide so many
            g = gcd(c, d)
            outer[Apply("floor_divide", (atom, integer(d // g)))] = c // g
        elif c:
            inner[atom] = c
    q, r = divmod(x.constant, d)
    whole, rest = Affine(outer, q), Affine(inner, r)
    if not inner:
        return whole
    together = _together(rest, known)
    if together is not rest:  # smaller coefficients may fit what they did not fit before
        return plus(whole, floor(together, d, known), known)
    if known is not known.free:
        least, most = known.tight(rest)
        if least is not None and most is not None and least // d == most // d:
            return whole + least // d
    group = _grouped(rest, d, known)
    if group is not None:
        g, high, _, k = group
        return plus(whole, floor(high + k, d // g, known), known)
    if len(inner) == 1:
        ((atom, c),) = inner.items()
        if c == 1 and is_apply(atom, "floor_divide"):
            y, b = atom.args[1]
            if isinstance(b, Const) and b.args[0] > 0:  # (y // b + r) // d = (y + b*r) // (b*d)
                return plus(whole, floor(affine(y, known.free) + b.args[0] * r, b.args[0] * d, known), known)
    return plus(whole, Affine({Apply("floor_divide", (rest.expr(), integer(d))): 1}), known)


def modulo(x: Affine, d: int, known: Assumptions) -> Affine:
    """``x % d``."""
    if d < 0:
        return -modulo(-x, -d, known)
    if d <= 1:
        return ZERO
    terms: dict[Expr, int] = {}
    pending = list(x.terms.items())
    constant = x.constant
    while pending:
        atom, c = pending.pop()
        if is_apply(atom, "remainder") and isinstance(atom.args[1][1], Const) and not c * atom.args[1][1].args[0] % d:
            y = affine(atom.args[1][0], known.free)  # (y % m) % d = y % d where d divides m
            pending.extend((a, c * p) for a, p in y.terms.items())
            constant += c * y.constant
            continue
        c = (c + terms.pop(atom, 0)) % d
        if c * known_multiple(atom) % d:
            terms[atom] = -1 if c == d - 1 and d > 2 else c
    rest = Affine(terms, constant % d)
    if not terms:
        return rest
    together = _together(rest, known)
    if together is not rest:
        return modulo(together, d, known)
    if known is not known.free:
        least, most = known.tight(rest)
        if least is not None and most is not None and least // d == most // d:
            return plus(rest, Affine({}, -(least // d) * d), known)
    group = _grouped(rest, d, known)
    if group is not None:
        g, high, low, k = group
        return plus(modulo(high + k, d // g, known).scaled(g), low - k * g, known)
    return Affine({Apply("remainder", (rest.expr(), integer(d))): 1})


def plus(a: Affine, b: Affine, known: Assumptions) -> Affine:
    result = a.plus(b, 1)
    return recombined(result, known) if a.terms and b.terms and _has_division(result) else result


def _symbolic(x: Affine, y: Affine, known: Assumptions) -> tuple[Affine, Affine]:
    """``x // y`` and ``x % y`` for a divisor that is not a constant. Where it may be 0 (then both are 0) or negative,
    they stay as they are.
    """
    if not x.terms and not x.constant:
        return ZERO, ZERO
    divisor = y.expr()
    positive = at_least(y, 1, known)
    whole: Affine = ZERO
    if positive:
        if not y.constant and len(y.terms) == 1:
            ((unit, c),) = y.terms.items()
            need = factors(unit)
            taken: dict[Expr, int] = {}
            for atom, p in x.terms.items():
                left = removed(factors(atom), need) if p % c == 0 else None
                if left is not None:
                    if left:
                        taken[product(left)] = p // c
                    else:
                        whole = whole + p // c
            whole = whole.plus(Affine(taken), 1)
        elif x.terms.keys() == y.terms.keys():
            atom, p = next(iter(y.terms.items()))
            k = x.terms[atom] // p
            if not x.plus(y, -k).terms:
                whole = Affine({}, k)
        rest = x - whole.times(y)
        if not rest.terms and not rest.constant:
            return whole, ZERO
        if at_least(rest, 0, known) and at_least(y - rest, 1, known):
            return whole, rest
        if rest.constant < 0 and at_least(-rest, 1, known) and at_least(rest + y, 0, known):
            return whole - 1, rest + y
    else:
        rest = x
    operands = (rest.expr(), divisor)
    return plus(whole, Affine({Apply("floor_divide", operands): 1}), known), Affine({Apply("remainder", operands): 1})


# Choices --------------------------------------------------------------------------------------------------------------


def at_least(x: Affine, bound: int, known: Assumptions) -> bool:
    """Whether ``x >= bound`` is provable."""
    low, high = known.interval(x)
    if low is not None and low >= bound:
        return True
    if known is known.free or (high is not None and high < bound):
        return False
    return known.never_negative(x - bound)


def _extreme(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    name = e.args[0]
    sign = 1 if name == "minimum" else -1
    candidates: list[Affine] = []
    for value in v:
        if len(value.terms) == 1 and not value.constant:
            ((atom, c),) = value.terms.items()
            if c == 1 and is_apply(atom, name):
                candidates.extend(extremes(atom, known))
                continue
        candidates.append(value)
    kept: list[Affine] = []
    for i, a in enumerate(candidates):
        # dropped when a later one, or one kept already, is never on the wrong side of it
        rivals = [*kept, *candidates[i + 1 :]]
        if not any(at_least((a - b).scaled(sign), 0, known) for b in rivals):
            kept.append(a)
    return extreme(name, kept)


def extremes(atom: Expr, known: Assumptions) -> list[Affine]:
    """The operands of a minimum or maximum atom, nested ones taken apart."""
    name, (a, b) = atom.args
    first = extremes(a, known) if is_apply(a, name) else [affine(a, known.free)]
    return [*first, *(extremes(b, known) if is_apply(b, name) else [affine(b, known.free)])]


def extreme(name: str, values: list[Affine]) -> Affine:
    """The minimum or maximum of `values` as an atom."""
    distinct = {v.key(): v for v in values}
    if len(distinct) == 1:
        return values[0]
    exprs = sorted((v.expr() for v in distinct.values()), key=lambda e: (not isinstance(e, Const), order(e)))
    result = exprs[0]
    for e in exprs[1:]:
        result = Apply(name, (result, e))
    return Affine({result: 1})


def _where(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    condition = known.conditioned(e.args[1][0])
    if condition is TRUE or (condition is not FALSE and v[0].same(v[1])):
        return v[0]
    if condition is FALSE:
        return v[1]
    if known is not known.free:
        v = [_under(v[0], condition, known), _under(v[1], known.negated(condition), known)]
        if v[0].same(v[1]):
            return v[0]
    return Affine({Apply("where", (condition, v[0].expr(), v[1].expr())): 1})


def _under(x: Affine, condition: Expr, known: Assumptions) -> Affine:
    """`x` simplified where `condition` holds, if there is anything in it that this may change."""
    if not any(isinstance(atom, Apply) for atom in x.terms):
        return x
    return affine(x.expr(), known.with_(conditions=[condition]))


def _absolute(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    (x,) = v
    if at_least(x, 0, known):
        return x
    if at_least(-x, 0, known):
        return -x
    # |x| = |-x|: one of the two is written
    first = x.sorted_terms()[0][1] if x.terms else 1
    return Affine({Apply("absolute", ((x if first > 0 else -x).expr(),)): 1})


# Bits -----------------------------------------------------------------------------------------------------------------


def _bitwise_and(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    """The lowest bits are a remainder; what is left without them, a multiple."""
    for x, mask in (v, v[::-1]):
        m = mask.constant
        if not mask.terms and m >= 0 and not m & (m + 1):
            return modulo(x, m + 1, known)
        if not mask.terms and m < 0 and not -m & (-m - 1):
            return plus(x, -modulo(x, -m, known), known)
    return Affine({_opaque(e, known): 1})


def _left_shift(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    x, by = v
    return x.scaled(1 << by.constant) if not by.terms and 0 <= by.constant < 63 else Affine({_opaque(e, known): 1})


def _right_shift(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    x, by = v
    return (
        floor(x, 1 << by.constant, known) if not by.terms and 0 <= by.constant < 63 else Affine({_opaque(e, known): 1})
    )


def _power(e: Expr, v: list[Affine], known: Assumptions) -> Affine:
    x, n = v
    if n.terms or not 0 <= n.constant <= _MOST_FACTORS or len(x.terms) + (x.constant != 0) > 1:
        return Affine({_opaque(e, known): 1})
    result = Affine({}, 1)
    for _ in range(n.constant):
        result = result.times(x)
    return result


_MOST_FACTORS = 4  # of a power that is written as a product
_RULES: dict[str, Callable[[Expr, list[Affine], Assumptions], Affine]] = {
    "add": lambda e, v, known: _together(v[0].plus(v[1], 1), known),
    "subtract": lambda e, v, known: _together(v[0].plus(v[1], -1), known),
    "multiply": lambda e, v, known: _together(v[0].times(v[1]), known),
    "negative": lambda e, v, known: -v[0], "invert": lambda e, v, known: -v[0] - 1,
    "floor_divide": _floor_divide, "remainder": _remainder, "bitwise_and": _bitwise_and, "left_shift": _left_shift,
    "right_shift": _right_shift, "power": _power, "minimum": _extreme, "maximum": _extreme, "where": _where,
    "absolute": _absolute, **dict.fromkeys(("floor", "ceil", "trunc", "rint"), lambda e, v, known: v[0]),
}  # fmt: skip
