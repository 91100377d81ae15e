"""Normal forms of conditions, and the simplification of whole expressions.

Comparisons of integers become ``sum >= 0`` and are written back in reading order; what is provable becomes True or
False.
"""

from __future__ import annotations

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Cast, Const, Expr, Reduce, rewrite

from .affine import FALSE, TRUE, Affine, integer, order
from .assumptions import Assumptions
from .normal_form import affine, is_apply, plus

_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")


def comparison(e: Expr, known: Assumptions) -> tuple[str, Affine] | None:
    """A comparison of integers as ("ge", x) for ``x >= 0``, ("eq", x) for ``x == 0`` or ("ne", x); None when it is
    none.
    """
    if not (isinstance(e, Apply) and e.args[0] in _COMPARISONS):
        return None
    if known is not known.free:
        return _compared(e, known)
    try:
        return e._compared
    except AttributeError:
        e._compared = _compared(e, known)
        return e._compared


def _compared(e: Apply, known: Assumptions) -> tuple[str, Affine] | None:
    name, (a, b) = e.args
    if not (dtypes.is_integer(a.dtype) and dtypes.is_integer(b.dtype)):
        return None
    common = dtypes.promote(a.dtype, b.dtype)
    if common == "uint64" or dtypes.is_float(common):
        return None
    x, y = affine(a, known), affine(b, known)
    if common not in ("int", "int64"):
        low, high = dtypes.limits(common)
        for value in (x, y):
            least, most = known.interval(value)
            if least is None or most is None or least < low or most > high:
                return None
    if name == "less":
        return "ge", plus(y, -x, known) - 1
    if name == "less_equal":
        return "ge", plus(y, -x, known)
    if name == "greater":
        return "ge", plus(x, -y, known) - 1
    if name == "greater_equal":
        return "ge", plus(x, -y, known)
    return ("eq" if name == "equal" else "ne"), plus(x, -y, known)


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
    """Of the two signs that an equation can have, the one is taken in which the term that comes first by name is
    positive.
    """
    return min(x.terms.items(), key=lambda t: order(t[0]))[1] < 0


def negated(e: Expr, known: Assumptions) -> Expr:
    """``~e``, comparisons of integers turned round."""
    if isinstance(e, Const):
        return FALSE if e.value else TRUE
    found = comparison(e, known.free)
    if found is not None:
        kind, x = found
        return relation("ge", -x - 1) if kind == "ge" else relation("ne" if kind == "eq" else "eq", x)
    if isinstance(e, Apply):
        name, operands = e.args
        if name == "invert":
            return operands[0]
        if name in ("bitwise_and", "bitwise_or"):
            return Apply(
                "bitwise_or" if name == "bitwise_and" else "bitwise_and",
                (negated(operands[0], known), negated(operands[1], known)),
            )
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


def conditioned(e: Expr, known: Assumptions) -> Expr:
    """The condition `e`, simplified."""
    if known is known.free:
        return _conditioned(e, known)
    found = known.simplified.get(e)
    if found is None:
        found = known.simplified[e] = _conditioned(e, known)
        known.simplified.setdefault(found, found)  # a normal form is its own, whatever another search would find
    return found


def _conditioned(e: Expr, known: Assumptions) -> Expr:
    if isinstance(e, Const):
        return e
    found = comparison(e, known)
    if found is not None:
        kind, x = found
        if known is not known.free:
            truth = known.decide(kind, x)
            if truth is not None:
                return TRUE if truth else FALSE
        return relation(kind, x)
    if isinstance(e, Apply) and e.dtype == "bool":
        name = e.args[0]
        if name == "invert":
            inner = conditioned(e.args[1][0], known)
            turned = negated(inner, known)
            return turned if is_apply(turned, "invert") or known is known.free else conditioned(turned, known)
        if name in ("bitwise_and", "bitwise_or"):
            return _connected(e, name, known)
    if known.assumes(e):
        return TRUE
    children = e.children
    if isinstance(e, Reduce) or not children:
        return e
    new = tuple(simplified(child, known) for child in children)
    return e.with_children(new) if any(a is not b for a, b in zip(children, new)) else e


def _without_implied(parts: list[Expr], name: str, free: Assumptions) -> list[Expr] | None:
    """`parts` without those that another one with the same axes implies (or, for ``|``, is implied by); None when two
    exclude each other.
    """
    sign = 1 if name == "bitwise_and" else -1
    least: dict[frozenset[tuple[Expr, int]], tuple[int, Expr]] = {}
    kept = dict.fromkeys(parts)
    for part in parts:
        found = comparison(part, free)
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


def _connected(e: Expr, name: str, known: Assumptions) -> Expr:
    neutral, absorbing = (TRUE, FALSE) if name == "bitwise_and" else (FALSE, TRUE)
    parts: dict[Expr, None] = {}
    for part in conjuncts(e, name):
        part = conditioned(part, known)
        if part is absorbing:
            return absorbing
        if part is not neutral:
            parts.update(dict.fromkeys(conjuncts(part, name)))
    if len(parts) < 2:
        return joined(list(parts), name)
    if _opposite(parts, known.free):
        return absorbing
    kept = _without_implied(list(parts), name, known.free)
    return absorbing if kept is None else joined(sorted(kept, key=order), name)


def _opposite(parts: dict[Expr, None], free: Assumptions) -> bool:
    """Whether one of `parts` is the negation of another. (That of what `|` joins is joined by `&`, and would stand in
    `parts` piece by piece.)
    """
    for part in parts:
        if is_apply(part, "invert"):
            if part.args[1][0] in parts:
                return True
        elif comparison(part, free) is not None and negated(part, free) in parts:
            return True
    return False


# Whole expressions ----------------------------------------------------------------------------------------------------


def simplified(e: Expr, known: Assumptions) -> Expr:
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
    return indices_simplified(e, known)


def indices_simplified(e: Expr, known: Assumptions) -> Expr:
    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Access):
            return Access(node.tensor, tuple([simplified(x, known) for x in node.indices]))
        if isinstance(node, Apply) and node.args[0] == "where" and node.operands[0].dtype == "bool":
            condition, a, b = node.operands
            condition = conditioned(condition, known)
            if isinstance(condition, Const):
                chosen = a if condition.value else b
                return chosen if chosen.dtype == node.dtype else Cast(node.dtype, chosen)
            return Apply("where", (condition, a, b))
        return None

    return rewrite(e, rule, None if known is known.free else known.values, whole=Access)
