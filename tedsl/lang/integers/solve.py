"""The values of an axis at which a condition holds, as a range with a step."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import cast

from tedsl.lang.expr import Apply, Axis, Const, Expr

from .affine import TRUE, Affine, factors, product, removed, within
from .conditions import comparison, conditioned, conjuncts, joined, relation
from .known import FREE, Known
from .normal_form import affine, at_least, extreme, extremes, floor, modulo


@dataclass(frozen=True)
class Solution:
    """The values ``lo, lo + step, …`` below `hi`; `rest` is what of the condition is not said by them (None:
    nothing).
    """

    lo: Expr
    hi: Expr
    step: int
    rest: Expr | None


@dataclass
class _Set:
    """What has been gathered: lower and (inclusive) upper ends, a step with its residue, and conditions of what is not
    the axis.
    """

    lows: list[Affine]
    highs: list[Affine]
    residue: tuple[int, Affine] | None
    side: list[Expr]


def solve(condition: Expr, axis: Axis, known: Known | None = None) -> Solution | None:
    """The values of `axis`, within its range, at which `condition` holds; None when nothing of it can be said so.

    Exact: a value is among them if and only if the conjuncts that are not in `rest` hold.
    """
    known = known or Known()
    span = known.span(axis)
    # The range of the axis itself is no assumption here: the bounds are found within it.
    outside = Known(
        {a: r for a, r in known.ranges.items() if a is not axis}, [c for c in known.conditions if not within(axis, c)]
    )
    found = _Set([], [], None, [])
    rest: list[Expr] = []
    expressed = False
    for part in conjuncts(conditioned(condition, FREE)):
        if within(axis, part) and (_gather(part, axis, found) or _scaled(part, axis, found, outside)):
            expressed = True
        elif part is not TRUE:
            rest.append(part)
    if not expressed:
        return None
    if span is not None:
        found.lows.append(span[0])
        found.highs.append(span[1])
    if not found.lows or not found.highs:
        return None
    step, lows = 1, found.lows
    if found.residue is not None:
        step, residue = found.residue
        lows = [
            low.plus(modulo(residue - low, step, outside), 1) for low in lows
        ]  # the first of the class from there on
    lo = affine(extreme("maximum", lows).expr(), outside)
    hi = affine(extreme("minimum", [h + 1 for h in found.highs]).expr(), outside)
    rest = [*rest, *found.side]
    remaining = None if not rest else joined(rest)
    return Solution(lo.expr(), hi.expr(), step, None if remaining is TRUE else remaining)


def _slope(x: Affine, axis: Axis) -> tuple[int, Affine] | None:
    """``x = a*axis + rest`` with a constant a and a rest that is free of the axis."""
    a = x.terms.get(axis)
    if not a:
        return None
    rest = x.without(axis)
    return None if any(within(axis, atom) for atom in rest.terms) else (a, rest)


def _gather(part: Expr, axis: Axis, found: _Set) -> bool:
    """Put the condition `part` into `found`; False (and nothing changed) when it cannot be said of the axis."""
    compared = comparison(part, FREE)
    if compared is None or compared[0] == "ne":
        return False
    kind, x = compared
    linear = _slope(x, axis)
    if linear is not None:
        a, rest = linear
        if kind == "ge":
            _end(a, rest, found)
            return True
        value = floor(-rest if a > 0 else rest, abs(a), FREE)
        found.lows.append(value)
        found.highs.append(value)
        if abs(a) > 1:
            found.side.append(_divisible(rest, abs(a)))
        return True
    holders = [(atom, c) for atom, c in x.terms.items() if within(axis, atom)]
    if len(holders) != 1:
        return False
    atom, c = holders[0]
    rest = x.without(atom)
    if not isinstance(atom, Apply):
        return False
    name, operands = atom.args
    if name == "remainder" and kind == "eq" and abs(c) == 1 and isinstance(operands[1], Const):
        return _congruence(affine(operands[0], FREE), operands[1].args[0], rest.scaled(-c), axis, found)
    if name == "floor_divide" and isinstance(operands[1], Const) and operands[1].args[0] > 0:
        y, d = affine(operands[0], FREE), operands[1].args[0]
        inner = _slope(y, axis)
        if inner is None:
            return False
        parts: list[Affine] = []  # sums that are not negative
        if kind == "ge":
            # c*q + rest >= 0: q >= ceil(-rest/c), that is y >= d*ceil(-rest/c); or q <= rest // -c, that is y <=
            # d*(rest // -c) + d - 1
            parts.append(y.plus(floor(rest, c, FREE), d) if c > 0 else (-y).plus(floor(rest, -c, FREE), d) + (d - 1))
        else:
            value = floor(-rest if c > 0 else rest, abs(c), FREE).scaled(d)
            parts += [y - value, value - y + (d - 1)]
            if abs(c) > 1:
                found.side.append(_divisible(rest, abs(c)))
        for p in parts:
            linear = _slope(p, axis)
            assert linear is not None
            _end(*linear, found)
        return True
    if kind == "ge" and name in ("minimum", "maximum") and (name == "minimum") == (c > 0):
        return _gather_all([rest.plus(v, c) for v in extremes(atom, FREE)], axis, found)
    return False


def _gather_all(values: list[Affine], axis: Axis, found: _Set) -> bool:
    """Put ``v >= 0`` for all of `values` into `found`; False (and nothing changed) when one is not linear in it."""
    slopes = [_slope(v, axis) if any(within(axis, a) for a in v.terms) else (0, v) for v in values]
    if None in slopes:
        return False
    for a, other in cast("list[tuple[int, Affine]]", slopes):
        if a:
            _end(a, other, found)
        else:
            found.side.append(relation("ge", other))
    return True


def _end(a: int, rest: Affine, found: _Set) -> None:
    """Put ``a*axis + rest >= 0`` into `found`."""
    if a > 0:  # axis >= ceil(-rest / a)
        found.lows.append(-floor(rest, a, FREE))
    else:
        found.highs.append(floor(rest, -a, FREE))


def _scaled(part: Expr, axis: Axis, found: _Set, outside: Known) -> bool:
    """Put an inequality into `found` in which the axis is multiplied or divided by a size or the like, that is
    positive: ``block*axis + rest >= 0``, ``(axis + b) // block + rest >= 0``.
    """
    compared = comparison(part, FREE)
    if compared is None or compared[0] != "ge":
        return False
    x = _undivided(compared[1], axis, outside)
    slope: dict[Expr, int] = {}
    rest: dict[Expr, int] = {}
    constant = 0
    for atom, c in x.terms.items():
        others = removed(factors(atom), [axis])
        if others is None:
            if within(axis, atom):
                return False
            rest[atom] = c
        elif not others:
            constant = c
        elif any(within(axis, e) for e in others):
            return False
        else:
            slope[product(others)] = c
    by, other = Affine(slope, constant), Affine(rest, x.constant)
    sign = 1 if at_least(by, 1, outside) else -1
    if sign < 0 and not at_least(-by, 1, outside):
        return False
    bound = affine(Apply("floor_divide", (other.expr(), by.scaled(sign).expr())), outside)
    if sign > 0:  # axis >= ceil(-other / by)
        found.lows.append(-bound)
    else:
        found.highs.append(bound)
    return True


def _undivided(x: Affine, axis: Axis, outside: Known) -> Affine:
    """What is not negative where ``x`` is not, without the quotient by a size that the axis stands in."""
    for atom, c in x.terms.items():
        if isinstance(atom, Apply) and atom.args[0] == "floor_divide" and abs(c) == 1 and within(axis, atom):
            y, d = (affine(e, FREE) for e in atom.args[1])
            rest = x.without(atom)
            if d.terms and not any(within(axis, a) for a in (*d.terms, *rest.terms)) and at_least(d, 1, outside):
                # y // d >= -rest; y // d <= rest
                return y.plus(rest.times(d), 1) if c > 0 else (rest + 1).times(d) - y - 1
    return x


def _divisible(x: Affine, d: int) -> Expr:
    return relation("eq", modulo(x, d, FREE))


def _congruence(y: Affine, d: int, value: Affine, axis: Axis, found: _Set) -> bool:
    """``y % d == value``: the axis in a residue class."""
    linear = _slope(y, axis)
    if linear is None or d <= 0 or found.residue is not None:
        return False
    a, rest = linear
    if value.terms or not 0 <= value.constant < d:
        found.side += [relation("ge", value), relation("ge", -value + (d - 1))]
    g = gcd(a, d)
    target = value - rest
    if g > 1:
        found.side.append(_divisible(target, g))
        target = floor(target, g, FREE)
    step = d // g
    if step > 1:
        found.residue = (step, modulo(target.scaled(pow(a // g, -1, step)), step, FREE))
    return True
