"""Bounds of index expressions: in numbers, and as expressions in the axes that stay."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

from tedsl.lang.expr import Apply, Axis, Const, Expr, Var, free_axes

from .affine import ZERO, Affine, factors, integer, product, removed, within
from .assumptions import Bounds
from .intervals import atom_interval
from .known import FREE, Known
from .normal_form import affine, extreme, extremes, floor, modulo, recombined


def constant_bounds(e: Expr, known: Known | None = None) -> Bounds:
    """The least and greatest value of `e` as numbers, over all ranges and sizes; None where there is none."""
    known = known or Known()
    return known.tight(affine(e, known))


def multiple_of(e: Expr, known: Known | None = None) -> int:
    """The largest constant that is known to divide `e`; 0 when `e` is 0."""
    known = known or Known()
    x = affine(e, known)
    result = abs(x.constant)
    for atom, c in x.terms.items():
        result = gcd(result, c * _atom_multiple(atom, known))
    return result


def _atom_multiple(atom: Expr, known: Known) -> int:
    if isinstance(atom, Var):
        return int(atom.multiple_of)
    if isinstance(atom, Apply):
        name, operands = atom.args
        if name == "multiply" and len(factors(atom)) > 1:
            result = 1
            for part in factors(atom):
                result *= _atom_multiple(part, known)
            return result
        if name in ("minimum", "maximum", "remainder"):
            return gcd(*(multiple_of(x, known) for x in operands))
        if name == "where":
            return gcd(*(multiple_of(x, known) for x in operands[1:]))
        if name == "absolute":
            return multiple_of(operands[0], known)
        if name == "floor_divide" and isinstance(operands[1], Const) and operands[1].args[0]:
            inner = multiple_of(operands[0], known)
            d = abs(int(operands[1].args[0]))
            return inner // d if inner % d == 0 else 1
    return 1


# Symbolic bounds ------------------------------------------------------------------------------------------------------


def lower(e: Expr, over: Iterable[Axis], known: Known | None = None) -> Expr | None:
    """The least value of `e` as the axes of `over` run over their ranges, as an expression in the others; None when it
    has none.

    Exact for sums of axes; for quotients, minima and the like a bound, attained as far as their parts are independent.
    """
    known = known or Known()
    return _outermost(affine(e, known), over, known, -1)


def upper(e: Expr, over: Iterable[Axis], known: Known | None = None) -> Expr | None:
    """The greatest value of `e` as the axes of `over` run over their ranges (the last value, not one past it). See
    `lower`.
    """
    known = known or Known()
    return _outermost(affine(e, known), over, known, 1)


def _outermost(x: Affine, over: Iterable[Axis], known: Known, sign: int) -> Expr | None:
    result = _bound(x, over, known, sign)
    if result is None:
        return None
    result = affine(result.expr(), known)
    if not result.terms and x.terms:
        # ends that are reached at different points make a bound that is not reached: in numbers it can be had exactly
        end = known.tight(x)[sign > 0]
        if end is not None and sign * end < sign * result.constant:
            return integer(end)
    return result.expr()


def _bound(x: Affine, over: Iterable[Axis], known: Known, sign: int) -> Affine | None:
    """The greatest (`sign` 1) or least (-1) value of `x` over the axes of `over`."""
    over = list(over)
    present = [a for a in over if _mentions(x, a)]
    while present:
        # an axis whose range depends on others goes before them: its end speaks of them
        axis = next((a for a in present if not any(b is not a and _depends(b, a, known) for b in present)), present[0])
        result = _over_axis(x, axis, known, sign)
        if result is None:
            return None
        x = result
        if _mentions(x, axis):
            return None
        present = [a for a in over if _mentions(x, a)]
    return x


def _mentions(x: Affine, axis: Axis) -> bool:
    return any(within(axis, atom) for atom in x.terms)


def _depends(b: Axis, a: Axis, known: Known) -> bool:
    """Whether the range of `b` depends on `a`, perhaps through other axes."""
    pending, seen = [b], {b}
    while pending:
        span = known.span(pending.pop())
        for end in span or ():
            for atom in end.terms:
                for axis in free_axes(atom):
                    if axis is a:
                        return True
                    if axis not in seen:
                        seen.add(axis)
                        pending.append(axis)
    return False


def _over_axis(x: Affine, axis: Axis, known: Known, sign: int) -> Affine | None:
    span = known.span(axis)
    first: Affine | None = span[0] if span else None
    last: Affine | None = span[1] if span else None
    rest: dict[Expr, int] = {}
    slope = ZERO
    hard: list[tuple[Expr, int]] = []
    for atom, c in x.terms.items():
        if atom is axis:
            slope = slope + c
        elif within(axis, atom):
            parts = removed(factors(atom), [axis])
            if parts and not any(within(axis, p) for p in parts):
                slope = slope.plus(Affine({product(parts): 1}), c)
                continue
            hard.append((atom, c))
        else:
            rest[atom] = c
    others = Affine(rest, x.constant)
    if hard:
        return _nonlinear(x, axis, hard, slope, others, known, sign)
    if not slope.terms:
        end = last if slope.constant * sign > 0 else first
        return None if end is None else _sum(others, end.scaled(slope.constant))
    low, high = known.interval(slope)
    if low is not None and low >= 0:
        end = last if sign > 0 else first
    elif high is not None and high <= 0:
        end = first if sign > 0 else last
    else:
        if first is None or last is None:
            return None
        name = "maximum" if sign > 0 else "minimum"
        return _sum(others, extreme(name, [slope.times(first), slope.times(last)]))
    return None if end is None else _sum(others, slope.times(end))


def _sum(a: Affine, b: Affine) -> Affine:
    return recombined(a.plus(b, 1), FREE)


def _nonlinear(
    x: Affine, axis: Axis, hard: list[tuple[Expr, int]], slope: Affine, others: Affine, known: Known, sign: int
) -> Affine | None:
    """The bound where the axis stands inside quotients, minima and the like."""
    atom, c = hard[0]
    name = atom.args[0] if isinstance(atom, Apply) else ""
    direction = sign if c > 0 else -sign  # which end of the atom is wanted
    alone = len(hard) == 1 and not slope.terms and not slope.constant
    if name in ("minimum", "maximum", "where") and isinstance(atom, Apply):
        remaining = x.without(atom)
        if name == "where":
            values = [affine(v, FREE) for v in atom.args[1][1:]]
            join = "maximum" if sign > 0 else "minimum"
        else:
            values = extremes(atom, FREE)
            join = name if c > 0 else ("maximum" if name == "minimum" else "minimum")
        if alone:
            bounds = [_over_axis(v.scaled(c), axis, known, sign) if _mentions(v, axis) else v.scaled(c) for v in values]
        else:
            bounds = [_bound(remaining.plus(v, c), [axis], known, sign) for v in values]
        # the least of maxima is at most any of them: where one is unbounded the others still serve
        picks_least = (join == "minimum") == (sign > 0)
        given = [b for b in bounds if b is not None]
        if not given or (len(given) < len(bounds) and not picks_least):
            return None
        result = extreme(join, given)
        return _sum(others, result) if alone else result
    if name in ("floor_divide", "remainder") and isinstance(atom, Apply):
        inner, divisor = (affine(v, FREE) for v in atom.args[1])
        if not divisor.terms and divisor.constant > 0:
            d = divisor.constant
            if name == "floor_divide" and alone:
                end = _over_axis(inner, axis, known, direction)
                return None if end is None else _sum(others, floor(end, d, known).scaled(c))
            if name == "floor_divide" and c % d == 0:  # c*(y // d) = c/d * (y - y % d)
                k = c // d
                again = x.without(atom).plus(inner, k).plus(modulo(inner, d, FREE), -k)
                if atom not in again.terms:
                    return _bound(again, [axis], known, sign)
            end = _atom_end(atom, inner, d, axis, known, direction)
            if end is None:
                return None
            return _bound(x.without(atom).plus(end, c), [axis], known, sign)
    if name == "absolute" and isinstance(atom, Apply):
        inner = affine(atom.args[1][0], FREE)
        return _over_axis(x.without(atom).plus(extreme("maximum", [inner, -inner]), c), axis, known, sign)
    low, high = atom_interval(atom, known)
    bound = high if direction > 0 else low
    if bound is None:
        return None
    return _bound(x.without(atom) + c * bound, [axis], known, sign)


def _atom_end(atom: Expr, inner: Affine, d: int, axis: Axis, known: Known, direction: int) -> Affine | None:
    """An end of the quotient or remainder of `inner` by `d` on its own."""
    assert isinstance(atom, Apply)
    if atom.args[0] == "floor_divide":
        end = _over_axis(inner, axis, known, direction)
        return None if end is None else floor(end, d, known)
    low, high = known.tight(inner)
    if low is not None and high is not None and low // d == high // d:
        return Affine({}, high % d if direction > 0 else low % d)
    return Affine({}, d - 1 if direction > 0 else 0)  # common factors stand outside of the remainder
