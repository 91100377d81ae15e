"""The arithmetic of derivatives: constructors that leave out what does not matter (`0*x`, `1*x`, `x + 0`, double
negation).

They build what a gradient adds to the user's own expressions, which they never rewrite. All operands are typed, and
typed alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

from tedsl.lang.expr import Apply, Cast, Const, Expr, reads_tensors, rewrite
from tedsl.lang.integers import negated, prove
from tedsl.lang.integers.affine import FALSE, TRUE
from tedsl.lang.integers.conditions import conjuncts


def const(value: float, dtype: str) -> Expr:
    """A number of type `dtype`."""
    return Const(value, dtype)


def is_const(e: Expr, value: float | None = None) -> bool:
    """Whether `e` is a number (this one, if given)."""
    return isinstance(e, Const) and (value is None or e.value == value)


def is_zero(e: Expr) -> bool:
    return is_const(e, 0)


def add(a: Expr, b: Expr) -> Expr:
    """``a + b``."""
    if is_zero(a):
        return b
    if is_zero(b):
        return a
    if isinstance(a, Const) and isinstance(b, Const):
        return const(a.value + b.value, a.dtype)
    if a is b:
        return mul(const(2, a.dtype), a)
    if isinstance(b, Apply) and b.function == "negative":
        return subtract(a, b.operands[0])
    if isinstance(a, Apply) and a.function == "negative":
        return subtract(b, a.operands[0])
    if _alike(a, b):
        (ca, fa), (cb, fb) = _factors(a), _factors(b)
        if len(fa) == len(fb) and all(p is q for p, q in zip(fa, fb)):
            return _product(ca + cb, fa, a.dtype)
    if _is_negative(b):
        return Apply("subtract", (a, negative(b)))
    if _is_negative(a):
        return Apply("subtract", (b, negative(a)))
    return Apply("add", (a, b))


def _is_negative(e: Expr) -> bool:
    """Whether `e` is a product that begins with a number below 0."""
    if not (isinstance(e, Apply) and e.function == "multiply"):
        return False
    while isinstance(e, Apply) and e.function == "multiply":
        e = e.operands[0]
    return isinstance(e, Const) and e.value < 0


def subtract(a: Expr, b: Expr) -> Expr:
    """``a - b``."""
    if is_zero(b):
        return a
    if is_zero(a):
        return negative(b)
    if a is b:
        return const(0, a.dtype)
    if isinstance(a, Const) and isinstance(b, Const):
        return const(a.value - b.value, a.dtype)
    if isinstance(b, Apply) and b.function == "negative":
        return add(a, b.operands[0])
    if _alike(a, b):
        (ca, fa), (cb, fb) = _factors(a), _factors(b)
        if len(fa) == len(fb) and all(p is q for p, q in zip(fa, fb)):
            return _product(ca - cb, fa, a.dtype)
    return Apply("subtract", (a, b))


def negative(a: Expr) -> Expr:
    """``-a``."""
    if isinstance(a, Const):
        return const(-a.value, a.dtype)
    if isinstance(a, Apply):
        if a.function == "negative":
            return a.operands[0]
        if a.function == "subtract":
            return subtract(a.operands[1], a.operands[0])
        c, factors = _factors(a)
        if c < 0:
            return _product(-c, factors, a.dtype)
    return Apply("negative", (a,))


def _factors(e: Expr) -> tuple[float, tuple[Expr, ...]]:
    """The number and the factors whose product `e` is, in reading order."""
    c = 1.0
    found: list[Expr] = []
    stack = [e]
    while stack:
        node = stack.pop()
        if isinstance(node, Const):
            c *= float(node.value)
        elif isinstance(node, Apply) and node.function == "negative":
            c = -c
            stack.append(node.operands[0])
        elif isinstance(node, Apply) and node.function == "multiply":
            stack += reversed(node.operands)
        else:
            found.append(node)
    return c, tuple(found)


def _alike(a: Expr, b: Expr) -> bool:
    """Whether two terms may differ by a number only: a quick look at how they end."""

    def last(e: Expr) -> Expr:
        while isinstance(e, Apply) and e.function in ("negative", "multiply"):
            e = e.operands[-1]
        return e

    return last(a) is last(b)


def _product(c: float, factors: Sequence[Expr], dtype: str) -> Expr:
    if c == 0 or not factors:
        return const(c, dtype)
    if c in (1, -1):
        result = reduce(lambda a, b: Apply("multiply", (a, b)), factors)
        return result if c == 1 else Apply("negative", (result,))
    return reduce(lambda a, b: Apply("multiply", (a, b)), factors, const(c, dtype))


def _is_one_factor(e: Expr) -> bool:
    return not (isinstance(e, Const) or (isinstance(e, Apply) and e.function in ("negative", "multiply", "divide")))


def _is_long(e: Expr) -> bool:
    """Whether `e` is a product of so many factors that it had better stay one: taken apart again and again, products
    grow with their square.
    """
    for _ in range(6):
        if not (isinstance(e, Apply) and e.function == "multiply"):
            return False
        e = e.operands[0]
    return True


def mul(a: Expr, b: Expr) -> Expr:
    """``a * b``: one number in front, then the factors in reading order; a quotient divides the product of the
    others.
    """
    if not isinstance(a, Const) and (_is_one_factor(b) or _is_long(b)):
        if isinstance(a, Apply) and a.function == "negative":
            return Apply("negative", (mul(a.operands[0], b),))
        return Apply("multiply", (a, b))
    (p, ps), (q, qs) = _factors(a), _factors(b)
    if p * q == 0:
        return const(0, a.dtype)
    for n, f in enumerate(qs):
        if isinstance(f, Apply) and f.function == "divide":
            over, under = f.operands
            rest = mul(_product(p, ps, a.dtype), mul(over, _product(q, (*qs[:n], *qs[n + 1 :]), a.dtype)))
            return divide(rest, under)
    return _product(p * q, (*ps, *qs), a.dtype)


def divide(a: Expr, b: Expr) -> Expr:
    """``a / b``."""
    if is_zero(a) or is_const(b, 1):
        return a
    if isinstance(b, Const) and b.value and isinstance(a, Const):
        return const(a.value / b.value, a.dtype)
    if isinstance(a, Apply) and a.function == "negative":
        return negative(divide(a.operands[0], b))
    if isinstance(a, Apply) and a.function == "divide":
        return Apply("divide", (a.operands[0], mul(a.operands[1], b)))
    c, factors = _factors(a)
    if c < 0:
        return negative(divide(_product(-c, factors, a.dtype), b))
    return Apply("divide", (a, b))


def convert(a: Expr, dtype: str) -> Expr:
    """`a` in type `dtype`."""
    if a.dtype == dtype:
        return a
    return const(a.value, dtype) if isinstance(a, Const) else Cast(dtype, a)


def select(condition: Expr, a: Expr, b: Expr) -> Expr:
    """``where(condition, a, b)``."""
    if condition is TRUE or a is b:
        return a
    if condition is FALSE:
        return b
    return Apply("where", (condition, a, b))


def guarded(guards: Iterable[Expr], a: Expr) -> Expr:
    """`a` where all of `guards` hold, else 0."""
    if is_zero(a):
        return a
    return select(both(guards), a, const(0, a.dtype))


def both(conditions: Iterable[Expr]) -> Expr:
    """The conjunction of conditions, each once."""
    parts: dict[Expr, None] = {}
    for condition in conditions:
        if condition is FALSE:
            return FALSE
        if condition is not TRUE:
            parts.update(dict.fromkeys(conjuncts(condition)))
    if not parts:
        return TRUE
    return reduce(lambda p, q: Apply("bitwise_and", (p, q)), parts)


def total_of(summands: Iterable[Expr], dtype: str) -> Expr:
    """The sum of expressions of type `dtype`, cases put together: ``where(c, a, 0) + where(~c, b, 0)`` is ``where(c, a,
    b)``.
    """
    terms: list[Expr] = []
    for summand in summands:
        for n, term in enumerate(terms):
            merged = _merged(term, summand)
            if merged is not None:
                terms[n] = merged
                break
        else:
            terms.append(summand)
    return reduce(add, terms, const(0, dtype))


def _merged(a: Expr, b: Expr) -> Expr | None:
    """The sum of two terms as one, where that is simpler."""
    if isinstance(a, Apply) and isinstance(b, Apply) and a.function == b.function == "where":
        (c, x, p), (d, y, q) = a.operands, b.operands
        if c is d:
            return select(c, total_of((x, y), a.dtype), total_of((p, q), a.dtype))
        if not (is_zero(p) and is_zero(q)):
            return None
        if negated(c) is d:
            return select(c, x, y)
        if negated(d) is c or _opposites(c, d):
            # of ``i == 0`` and ``i >= 1``, the second says more plainly what is in bounds
            return select(c, x, y) if isinstance(d, Apply) and d.function == "equal" else select(d, y, x)
        return None
    if _alike(a, b) and not isinstance(a, Const):
        together = add(a, b)
        return None if isinstance(together, Apply) and together.function == "add" else together
    return None


def _opposites(c: Expr, d: Expr) -> bool:
    """Whether of two conditions on axes exactly one holds, in the ranges of the axes."""
    if reads_tensors(c) or reads_tensors(d):
        return False
    return prove(Apply("bitwise_or", (c, d))) and prove(Apply("invert", (Apply("bitwise_and", (c, d)),)))


def without_units(e: Expr) -> Expr:
    """`e` without the ``1 * x``, ``x / 1``, ``x + 0`` and ``x - 0`` that are in it since numbers took the places of
    variables.
    """

    def rule(node: Expr) -> Expr | None:
        if not isinstance(node, Apply) or len(node.operands) != 2:
            return None
        a, b = node.operands
        unit = {"multiply": 1, "divide": 1, "add": 0, "subtract": 0}.get(node.function)
        if unit is None:
            return None
        if is_const(b, unit):
            return a
        return b if is_const(a, unit) and node.function in ("multiply", "add") else None

    return rewrite(e, rule)
