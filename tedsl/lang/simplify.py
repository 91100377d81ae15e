"""Normal forms of index expressions: sums of terms, with ``//``, ``%``, min, max, where and comparisons folded as far as is provable.

The rules that take a term apart are identities of floor division over all integers; a range is used only where the text says so. With `known`
None nothing is assumed of the axes, only what holds of every size: that form is what proofs are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import TYPE_CHECKING

from . import dtypes
from .affine import FALSE, TRUE, ZERO, Affine, factors, integer, order, product, removed
from .expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, rewrite, walk

if TYPE_CHECKING:
    from .known import Known

_free: dict[Expr, Affine] = {}
_DIVISIONS = ("floor_divide", "remainder")
_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


def affine(e: Expr, known: Known | None) -> Affine:
    """The integer expression `e` as a sum of terms, simplified by what is known."""
    kind = type(e)
    if kind is Const:
        return Affine({}, int(e.args[0]))
    if kind is Var:
        return Affine({e: 1})
    if kind is Axis:
        return Affine({e: 1}) if known is None else known.axis_value(e)
    cache = _free if known is None else known.affines
    found = cache.get(e)
    if found is None:
        found = _affine(e, known)
        cache[e] = found
        if len(cache) > 8192:
            cache.clear()
    return found


def _affine(e: Expr, known: Known | None) -> Affine:
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


def _opaque(e: Expr, known: Known | None) -> Expr:
    """An atom that arithmetic cannot look into; 64 bits wide, so that sums with it are computed exactly."""
    if not isinstance(e, Reduce):
        children = e.children
        new = tuple(simplified(child, known) for child in children)
        if any(a is not b for a, b in zip(children, new)):
            e = e.with_children(new)
    return e if e.dtype in ("int", "int64") else Cast("int64", e)


def _computes_exactly(e: Expr, values: list[Affine], known: Known | None) -> bool:
    """Whether `e`, computed in its own type, cannot wrap around. Index arithmetic proper (no data in it) is taken to fit 64 bits."""
    if e.dtype == "uint64":
        return False
    if e.dtype == "int64" and all(
        dtypes.is_integer(n.dtype) and not isinstance(n, (Access, Reduce)) or n.dtype == "bool" for n in walk(e)
    ):
        return True
    from .bounds import interval

    low, high = dtypes.limits(dtypes.strong(e.dtype))
    for value in values:
        a, b = interval(value, known)
        if a is None or b is None or a < low or b > high:
            return False
    return True


# Sums ----------------------------------------------------------------------------------------------------------------------------------------


def _is(atom: Expr, *names: str) -> bool:
    return isinstance(atom, Apply) and atom.args[0] in names


def recombined(x: Affine) -> Affine:
    """Put together what division took apart: ``y//d*d + y%d -> y``, ``y - y//d*d -> y%d``, ``y - y%d -> y//d*d``."""
    again = True
    while again:
        again = False
        for atom, c in x.terms.items():
            for part in factors(atom):
                if _is(part, *_DIVISIONS):
                    new = _recombine(x, atom, c, part)
                elif part is atom and _is(part, "minimum", "maximum"):
                    new = _absorbed(x, atom, c)
                else:
                    continue
                if new is not None:
                    x, again = new, True
                    break
            if again:
                break
    return x


def _recombine(x: Affine, atom: Expr, c: int, part: Expr) -> Affine | None:
    y_expr, d_expr = part.args[1]
    y = affine(y_expr, None)
    if isinstance(d_expr, Const):
        d = d_expr.args[0]
        if part is not atom or d <= 0:
            return None
        divisor = Affine({}, d)
    else:
        divisor = Affine.of(d_expr)
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
        other = Apply("remainder", (y_expr, d_expr))
        if x.terms.get(other) == k:
            return x.plus(whole, -k).plus(Affine({other: 1}), -k).plus(y, k)
        if y.terms and all(x.terms.get(a) == -k * p for a, p in y.terms.items()):
            return x.plus(whole, -k).plus(y, k).plus(Affine({other: 1}), -k)
        return None
    if part is not atom or not y.terms or not all(x.terms.get(a) == -c * p for a, p in y.terms.items()):
        return None
    quotient = divisor.times(Affine({Apply("floor_divide", (y_expr, d_expr)): 1}))
    return x.plus(y, c).plus(Affine({atom: 1}), -c).plus(quotient, -c)


def _absorbed(x: Affine, atom: Expr, c: int) -> Affine | None:
    """``min(8*a + 8, n) - 8*a -> min(8, n - 8*a)``: what cancels all axes of an operand goes inside."""
    rest = x.terms
    values = extremes(atom)
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


def _add(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    result = v[0].plus(v[1], 1)
    return recombined(result) if _has_division(result) else result


def _subtract(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    result = v[0].plus(v[1], -1)
    return recombined(result) if _has_division(result) else result


def _multiply(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    result = v[0].times(v[1])
    return recombined(result) if _has_division(result) else result


def _negative(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    return -v[0]


# Division ------------------------------------------------------------------------------------------------------------------------------------


def _floor_divide(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    x, y = v
    if not y.terms:
        return floor(x, y.constant, known)
    return _symbolic(x, y, known)[0]


def _remainder(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    x, y = v
    if not y.terms:
        return modulo(x, y.constant, known)
    return _symbolic(x, y, known)[1]


def _grouped(x: Affine, d: int, known: Known | None) -> tuple[int, Affine, Affine, int] | None:
    """(g, high, low, k): ``x = g*high + low`` with g a divisor of d and ``k*g <= low < (k+1)*g`` by the ranges; None when there is none."""
    from .bounds import tight

    for g in sorted({gcd(c, d) for c in x.terms.values()}, reverse=True):
        if g == 1:
            break
        high = {a: c // g for a, c in x.terms.items() if not c % g}
        low = Affine({a: c for a, c in x.terms.items() if c % g}, x.constant)
        if not low.terms:
            return g, Affine(high), low, x.constant // g
        if known is not None:
            least, most = tight(low, known)
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


def floor(x: Affine, d: int, known: Known | None) -> Affine:
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
    if known is not None:
        from .bounds import tight

        least, most = tight(rest, known)
        if least is not None and most is not None and least // d == most // d:
            return whole + least // d
    group = _grouped(rest, d, known)
    if group is not None:
        g, high, _, k = group
        return _plus(whole, floor(high + k, d // g, known))
    if len(inner) == 1:
        ((atom, c),) = inner.items()
        if c == 1 and _is(atom, "floor_divide"):
            y, b = atom.args[1]
            if isinstance(b, Const) and b.args[0] > 0:  # (y // b + r) // d = (y + b*r) // (b*d)
                return _plus(whole, floor(affine(y, None) + b.args[0] * r, b.args[0] * d, known))
    return _plus(whole, Affine({Apply("floor_divide", (rest.expr(), integer(d))): 1}))


def modulo(x: Affine, d: int, known: Known | None) -> Affine:
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
        if _is(atom, "remainder") and isinstance(atom.args[1][1], Const) and not c * atom.args[1][1].args[0] % d:
            y = affine(atom.args[1][0], None)  # (y % m) % d = y % d where d divides m
            pending.extend((a, c * p) for a, p in y.terms.items())
            constant += c * y.constant
            continue
        c = (c + terms.pop(atom, 0)) % d
        if c * known_multiple(atom) % d:
            terms[atom] = -1 if c == d - 1 and d > 2 else c
    rest = Affine(terms, constant % d)
    if not terms:
        return rest
    if known is not None:
        from .bounds import tight

        least, most = tight(rest, known)
        if least is not None and most is not None and least // d == most // d:
            return _plus(rest, Affine({}, -(least // d) * d))
    group = _grouped(rest, d, known)
    if group is not None:
        g, high, low, k = group
        return _plus(modulo(high + k, d // g, known).scaled(g), low - k * g)
    return Affine({Apply("remainder", (rest.expr(), integer(d))): 1})


def _plus(a: Affine, b: Affine) -> Affine:
    result = a.plus(b, 1)
    return recombined(result) if a.terms and b.terms and _has_division(result) else result


def _symbolic(x: Affine, y: Affine, known: Known | None) -> tuple[Affine, Affine]:
    """``x // y`` and ``x % y`` for a divisor that is not a constant. Where it may be 0 (then both are 0) or negative, they stay as they are."""
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
    else:
        rest = x
    operands = (rest.expr(), divisor)
    return _plus(whole, Affine({Apply("floor_divide", operands): 1})), Affine({Apply("remainder", operands): 1})


# Choices -------------------------------------------------------------------------------------------------------------------------------------


def at_least(x: Affine, bound: int, known: Known | None) -> bool:
    """Whether ``x >= bound`` is provable."""
    from .bounds import interval

    low, high = interval(x, known)
    if low is not None and low >= bound:
        return True
    if known is None or (high is not None and high < bound):
        return False
    from .prove import always_at_least

    return always_at_least(x - bound, known)


def _extreme(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    name = e.args[0]
    sign = 1 if name == "minimum" else -1
    candidates: list[Affine] = []
    for value in v:
        if len(value.terms) == 1 and not value.constant:
            ((atom, c),) = value.terms.items()
            if c == 1 and _is(atom, name):
                candidates.extend(extremes(atom))
                continue
        candidates.append(value)
    kept: list[Affine] = []
    for i, a in enumerate(candidates):
        # dropped when a later one, or one kept already, is never on the wrong side of it
        rivals = [*kept, *candidates[i + 1 :]]
        if not any(at_least((a - b).scaled(sign), 0, known) for b in rivals):
            kept.append(a)
    return extreme(name, kept)


def extremes(atom: Expr) -> list[Affine]:
    """The operands of a minimum or maximum atom, nested ones taken apart."""
    name, (a, b) = atom.args
    first = extremes(a) if _is(a, name) else [affine(a, None)]
    return [*first, *(extremes(b) if _is(b, name) else [affine(b, None)])]


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


def _where(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    condition = conditioned(e.args[1][0], known)
    if condition is TRUE or (condition is not FALSE and v[0].same(v[1])):
        return v[0]
    if condition is FALSE:
        return v[1]
    if known is not None:
        v = [_under(v[0], condition, known), _under(v[1], negated(condition), known)]
        if v[0].same(v[1]):
            return v[0]
    return Affine({Apply("where", (condition, v[0].expr(), v[1].expr())): 1})


def _under(x: Affine, condition: Expr, known: Known) -> Affine:
    """`x` simplified where `condition` holds, if there is anything in it that this may change."""
    if not any(isinstance(atom, Apply) for atom in x.terms):
        return x
    return affine(x.expr(), known.with_(conditions=[condition]))


def _absolute(e: Expr, v: list[Affine], known: Known | None) -> Affine:
    (x,) = v
    if at_least(x, 0, known):
        return x
    if at_least(-x, 0, known):
        return -x
    # |x| = |-x|: one of the two is written
    first = x.sorted_terms()[0][1] if x.terms else 1
    return Affine({Apply("absolute", ((x if first > 0 else -x).expr(),)): 1})


_RULES: dict[str, Callable[[Expr, list[Affine], Known | None], Affine]] = {
    "add": _add, "subtract": _subtract, "multiply": _multiply, "negative": _negative, "floor_divide": _floor_divide, "remainder": _remainder,
    "minimum": _extreme, "maximum": _extreme, "where": _where, "absolute": _absolute,
}  # fmt: skip


# Conditions ----------------------------------------------------------------------------------------------------------------------------------


def comparison(e: Expr, known: Known | None) -> tuple[str, Affine] | None:
    """A comparison of integers as ("ge", x) for ``x >= 0``, ("eq", x) for ``x == 0`` or ("ne", x); None when it is none."""
    if not (isinstance(e, Apply) and e.args[0] in _COMPARISONS):
        return None
    name, (a, b) = e.args
    if not (dtypes.is_integer(a.dtype) and dtypes.is_integer(b.dtype)):
        return None
    common = dtypes.promote(a.dtype, b.dtype)
    if common == "uint64" or dtypes.is_float(common):
        return None
    x, y = affine(a, known), affine(b, known)
    if common not in ("int", "int64"):
        from .bounds import interval

        low, high = dtypes.limits(common)
        for value in (x, y):
            least, most = interval(value, known)
            if least is None or most is None or least < low or most > high:
                return None
    if name == "less":
        return "ge", _plus(y, -x) - 1
    if name == "less_equal":
        return "ge", _plus(y, -x)
    if name == "greater":
        return "ge", _plus(x, -y) - 1
    if name == "greater_equal":
        return "ge", _plus(x, -y)
    return ("eq" if name == "equal" else "ne"), _plus(x, -y)


def relation(kind: str, x: Affine) -> Expr:
    """``x >= 0``, ``x == 0`` or ``x != 0`` in reading order, the same for all ways to write it."""
    if not x.terms:
        holds = x.constant >= 0 if kind == "ge" else (x.constant == 0) == (kind == "eq")
        return TRUE if holds else FALSE
    g = x.content()
    if kind == "ge":
        if g > 1:
            x = Affine({a: c // g for a, c in x.terms.items()}, x.constant // g)
    elif x.constant % g:
        return FALSE if kind == "eq" else TRUE
    else:
        x = x.divided(g)
        if x.sorted_terms()[0][1] < 0 or (len(x.terms) > 1 and _leads_negative(x)):
            x = -x
    plus = Affine({a: c for a, c in x.terms.items() if c > 0})
    minus = Affine({a: -c for a, c in x.terms.items() if c < 0})
    c = x.constant
    if kind != "ge":
        left, right = (plus, minus - c) if c <= 0 or not minus.terms else (plus + c, minus)
        return Apply("equal" if kind == "eq" else "not_equal", (left.expr(), right.expr()))
    if not minus.terms:
        return Apply("greater_equal", (plus.expr(), integer(-c)))
    if not plus.terms:
        return Apply("less", (minus.expr(), integer(c + 1)))
    if c >= 0:
        return Apply("less_equal", (minus.expr(), (plus + c).expr()))
    return Apply("less", ((minus + (-c - 1)).expr(), plus.expr()))


def _leads_negative(x: Affine) -> bool:
    """Of the two signs that an equation can have, the one is taken in which the term that comes first by name is positive."""
    return min(x.terms.items(), key=lambda t: order(t[0]))[1] < 0


def negated(e: Expr) -> Expr:
    """``~e``, comparisons of integers turned round."""
    if isinstance(e, Const):
        return FALSE if e.value else TRUE
    found = comparison(e, None)
    if found is not None:
        kind, x = found
        return relation("ge", -x - 1) if kind == "ge" else relation("ne" if kind == "eq" else "eq", x)
    if isinstance(e, Apply):
        name, operands = e.args
        if name == "invert":
            return operands[0]
        if name in ("bitwise_and", "bitwise_or"):
            return Apply("bitwise_or" if name == "bitwise_and" else "bitwise_and", (negated(operands[0]), negated(operands[1])))
    return Apply("invert", (e,))


def conjuncts(e: Expr, name: str = "bitwise_and") -> list[Expr]:
    """The conditions that `e` joins with ``&`` (or, by `name`, with ``|``)."""
    if isinstance(e, Apply) and e.args[0] == name and e.dtype == "bool":
        a, b = e.args[1]
        return [*conjuncts(a, name), *conjuncts(b, name)]
    return [e]


def joined(parts: list[Expr], name: str = "bitwise_and") -> Expr:
    """All of `parts` (or, by `name`, any of them)."""
    if not parts:
        return TRUE if name == "bitwise_and" else FALSE
    result = parts[0]
    for part in parts[1:]:
        result = Apply(name, (result, part))
    return result


def conditioned(e: Expr, known: Known | None) -> Expr:
    """The condition `e`, simplified."""
    if known is None:
        return _conditioned(e, known)
    found = known.simplified.get(e)
    if found is None:
        found = known.simplified[e] = _conditioned(e, known)
    return found


def _conditioned(e: Expr, known: Known | None) -> Expr:
    if isinstance(e, Const):
        return e
    found = comparison(e, known)
    if found is not None:
        kind, x = found
        if known is not None:
            from .prove import decide

            truth = decide(kind, x, known)
            if truth is not None:
                return TRUE if truth else FALSE
        return relation(kind, x)
    if isinstance(e, Apply) and e.dtype == "bool":
        name = e.args[0]
        if name == "invert":
            inner = conditioned(e.args[1][0], known)
            turned = negated(inner)
            return turned if _is(turned, "invert") or known is None else conditioned(turned, known)
        if name in ("bitwise_and", "bitwise_or"):
            return _connected(e, name, known)
    if known is not None and known.assumes(e):
        return TRUE
    children = e.children
    if isinstance(e, Reduce) or not children:
        return e
    new = tuple(simplified(child, known) for child in children)
    return e.with_children(new) if any(a is not b for a, b in zip(children, new)) else e


def _without_implied(parts: list[Expr], name: str) -> list[Expr] | None:
    """`parts` without those that another one with the same axes implies (or, for ``|``, is implied by); None when two exclude each other."""
    sign = 1 if name == "bitwise_and" else -1
    least: dict[frozenset[tuple[Expr, int]], tuple[int, Expr]] = {}
    kept = dict.fromkeys(parts)
    for part in parts:
        found = comparison(part, None)
        if found is None or found[0] != "ge":
            continue
        x = found[1]
        key = frozenset(x.terms.items())
        if key in least:
            constant, other = least[key]
            if x.constant * sign < constant * sign:
                del kept[other]
            else:
                del kept[part]
                continue
        least[key] = x.constant, part
    for key, (constant, _) in least.items():
        opposite = least.get(frozenset((a, -c) for a, c in key))
        # x + p >= 0 and -x + q >= 0: never both where p + q < 0; always one of them where p + q >= -1
        if opposite is not None and (constant + opposite[0] < 0 if sign > 0 else constant + opposite[0] >= -1):
            return None
    return list(kept)


def _connected(e: Expr, name: str, known: Known | None) -> Expr:
    neutral, absorbing = (TRUE, FALSE) if name == "bitwise_and" else (FALSE, TRUE)
    parts: dict[Expr, None] = {}
    for part in conjuncts(e, name):
        part = conditioned(part, known)
        if part is absorbing:
            return absorbing
        if part is not neutral:
            parts.update(dict.fromkeys(conjuncts(part, name)))
    if any(negated(part) in parts for part in parts):
        return absorbing
    kept: list[Expr] | None = list(parts)
    if len(kept) > 1:
        kept = _without_implied(kept, name)
        if kept is None:
            return absorbing
    return joined(sorted(kept, key=order), name)


# The public faces ----------------------------------------------------------------------------------------------------------------------------


def simplified(e: Expr, known: Known | None) -> Expr:
    if e.dtype == "bool":
        return conditioned(e, known)
    if dtypes.is_integer(e.dtype):
        if isinstance(e, Const) and e.dtype == "int":
            return e
        result = affine(e, known).expr()
        if result.dtype == e.dtype:
            return result
        if isinstance(result, Const):
            return Const(result.value, e.dtype)
        if isinstance(result, Cast) and result.operand.dtype == e.dtype:
            return result.operand
        return Cast(e.dtype, result)
    return _in_values(e, known)


def _in_values(e: Expr, known: Known | None) -> Expr:
    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Access):
            return Access(node.tensor, tuple(simplified(x, known) for x in node.indices))
        if isinstance(node, Apply) and node.args[0] == "where" and node.operands[0].dtype == "bool":
            condition, a, b = node.operands
            condition = conditioned(condition, known)
            if isinstance(condition, Const):
                chosen = a if condition.value else b
                return chosen if chosen.dtype == node.dtype else Cast(node.dtype, chosen)
            return Apply("where", (condition, a, b))
        return None

    return rewrite(e, rule)


def simplify(e: Expr, known: Known | None = None) -> Expr:
    """`e` in its normal form: equal to `e` wherever the ranges and conditions of `known` hold, of the same type, the same however it was written.

    Integer and bool expressions are simplified throughout; in a floating one, the indices and the conditions of `where` are.
    """
    from .known import NOTHING

    known = NOTHING if known is None else known
    found = known.simplified.get(e)
    if found is None:
        found = known.simplified[e] = simplified(e, known)
    return found


def simplify_indices(e: Expr, known: Known | None = None) -> Expr:
    """The value `e` with every index and every condition of a `where` in it simplified; its own arithmetic is left as it is."""
    from .known import NOTHING

    return _in_values(e, NOTHING if known is None else known)
