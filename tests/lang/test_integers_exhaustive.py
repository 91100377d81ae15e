"""Every answer about random index expressions against all points of small ranges: sound always, exact where that is promised."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from points import Drawing, Points, ap, points_of, values

from tedsl.lang.expr import Axis, Expr, Var, free_axes
from tedsl.lang.integers import (
    Known,
    affine_of,
    constant_bounds,
    lower,
    multiple_of,
    prove,
    simplify,
    solve,
    upper,
)

i, j, k = (Axis(name) for name in "ijk")
n, m, q = Var("n", 0), Var("m", 1), Var("q", 2, 2)
SIZES = {n: [0, 1, 2, 3, 5, 8, 9], m: [1, 2, 3, 6], q: [2, 4, 6]}
Ranges = dict[Axis, tuple[int | Expr, int | Expr]]


def constant_ranges(draw: random.Random) -> Ranges:
    ranges: Ranges = {i: (draw.choice([0, 0, 0, 1, -2]), draw.randint(1, 9))}
    kind = draw.random()
    if kind < 0.5:
        ranges[j] = 0, draw.choice([1, 2, 3, 4, 8])
    elif kind < 0.8:  # a tile that does not divide
        tile, extent = draw.choice([2, 4, 8]), draw.randint(1, 20)
        ranges[i] = 0, -(-extent // tile)
        ranges[j] = 0, ap("minimum", tile, ap("subtract", extent, ap("multiply", tile, i)))
    else:
        ranges[j] = i, draw.randint(1, 4)
    ranges[k] = 0, draw.choice([1, 2, 3, 5])
    return ranges


def symbolic_ranges(draw: random.Random) -> Ranges:
    kind = draw.random()
    if kind < 0.3:
        ranges: Ranges = {i: (0, n), j: (0, m)}
    elif kind < 0.6:
        tile = draw.choice([2, 4, 8, m])
        outer = ap("floor_divide", ap("subtract", ap("add", n, tile), 1), tile)
        ranges = {i: (0, outer), j: (0, ap("minimum", tile, ap("subtract", n, ap("multiply", tile, i))))}
    elif kind < 0.8:
        ranges = {i: (0, ap("multiply", m, q)), j: (0, q)}
    else:
        ranges = {i: (1, n), j: (i, ap("add", m, 2))}
    ranges[k] = 0, draw.choice([1, 2, 3, 5, q])
    return ranges


def has(axes: tuple[Axis, ...], wanted: list[Axis]) -> bool:
    return any(a is w for a in axes for w in wanted)


def check(drawing: Drawing, ranges: Ranges, points: Points, known: Known, seen: Counter[str], grouped: bool) -> None:
    """One random expression and one random condition. `points` satisfy the conditions of `known`."""
    r = drawing.random
    count = len(points[i])
    e = drawing.index(r.randint(1, 4))
    condition = drawing.condition(r.randint(0, 2))
    if r.random() < 0.3:  # one that has a chance to hold
        most = upper(e, [k, j, i], known)
        if most is not None:
            condition = ap("less_equal", e, ap("subtract", most, r.choice([0, 0, 1])))
    simple, simpler = simplify(e, known), simplify(condition, known)
    proved = prove(condition, known)
    if not count:
        return
    want, truth = values(e, points), values(condition, points)
    assert (values(simple, points) == want).all(), (e, simple, known)
    assert simplify(simple, known) is simple, (e, simple, known)
    assert (values(affine_of(e).expr(), points) == want).all(), (e, known)
    assert (values(simpler, points) == truth).all(), (condition, simpler, known)
    assert simplify(simpler, known) is simpler, (condition, simpler, known)
    assert truth.all() or not proved, (condition, known)
    seen["proved" if proved else "missed" if truth.all() else "false"] += 1

    low, high = constant_bounds(e, known)
    assert (low is None or low <= want.min()) and (high is None or high >= want.max()), (e, low, high, known)
    seen["tight" if (low, high) == (want.min(), want.max()) else "loose"] += 1
    divisor = multiple_of(e, known)
    assert not (want % divisor if divisor else want).any(), (e, divisor, known)

    over = r.sample([i, j, k], r.randint(1, 3))
    for bound, sign in ((upper(e, over, known), 1), (lower(e, over, known), -1)):
        if bound is None:
            continue
        assert not has(free_axes(bound), over), (e, bound, over, known)
        ends = values(bound, points)
        assert (sign * want <= sign * ends).all(), (e, bound, over, known)
        # an axis that stays must not narrow those that run
        apart = has((j,), over) or not has((i,), over) or all(isinstance(v, int) for v in ranges[j])
        if grouped and apart and all(isinstance(atom, Axis) for atom in affine_of(e).terms):
            # a sum of axes reaches its bound, for every value of the axes that stay
            reached = defaultdict(bool)
            rest = [points[a] for a in (i, j, k) if not has((a,), over)]
            for p in range(count):
                reached[tuple(int(x[p]) for x in rest)] |= bool(want[p] == ends[p])
            seen["attained" if all(reached.values()) else "slack"] += 1

    axis = r.choice([i, j, k])
    found = solve(condition, axis, known)
    seen["solved" if found else "unsolved"] += 1
    if found is not None:
        assert not has(free_axes(found.lo), [axis]) and not has(free_axes(found.hi), [axis])
        at = points[axis]
        lo, hi = values(found.lo, points), values(found.hi, points)
        inside = (at >= lo) & (at < hi) & ((at - lo) % found.step == 0)
        if found.rest is not None:
            inside &= values(found.rest, points)
        assert (inside == truth).all(), (condition, axis, found, known)


@pytest.mark.parametrize("block", range(6))
def test_constant_ranges(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(250 * block, 250 * (block + 1)):
        drawing = Drawing(seed, [i, j, k])
        ranges = constant_ranges(drawing.random)
        conditions = [drawing.condition(1)] if drawing.random.random() < 0.3 else []
        points = points_of(ranges, {}, conditions)
        check(drawing, ranges, points, Known(ranges, conditions), seen, not conditions)
    # What is true and within constant ranges is nearly always proved, and bounds are nearly always tight.
    assert seen["missed"] <= 0.02 * seen["proved"], seen
    assert seen["loose"] <= 0.05 * seen["tight"], seen
    assert seen["proved"] > 40 and seen["solved"] > 60 and seen["false"] > 100 and seen["attained"] > 30, seen
    assert seen["slack"] == 0, seen


@pytest.mark.parametrize("block", range(6))
def test_symbolic_sizes(block: int) -> None:
    seen: Counter[str] = Counter()
    divisors: list[Expr | int] = [1, 2, 3, 4, 8, -3, m, q, n, ap("multiply", m, q)]
    for seed in range(100 * block, 100 * (block + 1)):
        drawing = Drawing(seed, [i, j, k, i, j, k, n, m, q], divisors, products=True)
        ranges = symbolic_ranges(drawing.random)
        conditions = [drawing.condition(1)] if drawing.random.random() < 0.3 else []
        points = points_of(ranges, SIZES, conditions, (-20, 90))
        check(drawing, ranges, points, Known(ranges, conditions), seen, False)
    assert seen["proved"] > 20 and seen["false"] > 30 and seen["solved"] > 15, seen
