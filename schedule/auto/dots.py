"""Contractions with a side too short for vectors: rows times a few rows, along which both are contiguous.

    C[i, j] = sum(A[i, k] * B[j, k])    few j    →    C.rf[i, j, lane] = sum(A[i, lane + 16*s] * B[j, lane + 16*s])
                                                      C[i, j] = sum(C.rf[i, j, lane])

The vectors run along the reduction. A tile of the result is kept in registers, a vector of partial results for each
element, so that each vector that is loaded serves a row or a column of the tile. An operand that is not contiguous
along the reduction is turned first.
"""

from __future__ import annotations

from dataclasses import dataclass

from tedsl.lang.expr import Axis, free_axes
from tedsl.lang.tensor import Tensor

from ..schedule import Schedule
from .contraction import LOAD, TURNED, WAYS, best_plan, can_be_packed, elements_of
from .facts import Facts, View, count, look, points
from .reductions import halved
from .sharing import Shareable, share

BEYOND = 3  # loads that a vector counts for: it is a line of its own, and was not in the L1 cache
STEPS = 4  # vectors along the reduction, at least
TAIL = 24  # operations of each narrower vector with which what is left of the reduction is added to partial results
SIDE_BY_SIDE = (
    WAYS + 2
)  # rows of both operands that are read at once: each brings a line that is used up before the next
OFTEN = 16  # times that an element of an operand that is turned is read, at least


@dataclass(frozen=True)
class Dots:
    """A tile of `height` x `width` elements along the axes `row` and `column`; the operands to turn; how many cycles it
    may take.
    """

    row: Axis
    column: Axis
    height: int
    width: int
    turned: tuple[Tensor, ...]
    cycles: float


def dots(s: Schedule, name: str, facts: Facts) -> bool:
    """A contraction that takes less time with vectors along the reduction than along its result."""
    view = look(s, name)
    plan = _plan(view, facts)
    if plan is None:
        return False
    other = best_plan(view, facts)
    if other is not None and other.cycles <= plan.cycles:
        return False
    _schedule(s, name, view, facts, plan)
    return True


def _plan(view: View, facts: Facts) -> Dots | None:
    long = [a for a in view.free if count(a.extent) > 1]
    if not view.one_result or view.steps or not view.at_root or view.where is not None or len(long) < 2:
        return None
    inner = view.reduce_axes[-1]
    lanes = facts.lanes(view.dtype)
    if lanes < 2 or count(inner.extent) < STEPS * lanes:
        return None
    results, depth = points(view.axes), points(view.reduce_axes)
    turned: dict[Tensor, None] = {}
    for access in view.accesses:
        if view.stride(access, inner) not in (0, 1):
            if not can_be_packed(view, access, inner) or results * depth < OFTEN * elements_of(access.tensor):
                return None
            turned[access.tensor] = None
    pairs = [
        (row, column)
        for row in long
        for column in long
        if row is not column
        and any(view.uses(x, row) and not view.uses(x, column) for x in view.accesses)
        and any(view.uses(x, column) and not view.uses(x, row) for x in view.accesses)
        and count(row.extent) >= count(column.extent)
    ]
    found = []
    for row, column in pairs:
        height, width, busy = _tile(view, facts, row, column)
        whole, rest = divmod(count(inner.extent), lanes)
        around = depth // count(inner.extent)
        # the sum of a vector takes about as many instructions as it has lanes
        operations = around * (whole / busy + TAIL * rest.bit_count()) + lanes
        cycles = results * operations / 2 + TURNED * sum(map(elements_of, turned))
        found.append(Dots(row, column, height, width, tuple(turned), cycles))
    return min(found, key=lambda d: d.cycles, default=None)


def _tile(view: View, facts: Facts, row: Axis, column: Axis) -> tuple[int, int, float]:
    """The tile that keeps the arithmetic busiest, and how busy: what is loaded for it is read from beyond the L1 cache;
    its vectors, those of a column and a temporary fill the registers, and no more rows are read side by side than the
    L1 cache has places for.
    """
    best = (1, 1, 0.0)
    rows, columns = count(row.extent), count(column.extent)
    for height in range(1, min(rows, WAYS) + 1):
        for width in range(1, min(columns, SIDE_BY_SIDE - height) + 1):
            if height * width + min(height, width) + 1 > facts.registers - 2:
                continue
            loads = sum(
                (height if view.uses(x, row) else 1) * (width if view.uses(x, column) else 1) for x in view.accesses
            )
            whole = rows / (-(-rows // height) * height) * columns / (-(-columns // width) * width)
            busy = whole * max(1 - LOAD * BEYOND * loads / (height * width), LOAD)
            if busy > best[2]:
                best = (height, width, busy)
    return best


def _schedule(s: Schedule, name: str, view: View, facts: Facts, plan: Dots) -> None:
    row, column = plan.row, plan.column
    inner = view.reduce_axes[-1]
    handle = s[name]
    lanes = facts.lanes(view.dtype)
    parts = halved(s, name, inner, lanes, lanes, len(view.axes))
    row_outer, column_outer, row_inner, column_inner = handle.tile(row.name, column.name, plan.height, plan.width)
    others = [a for a in view.axes if a is not row and a is not column]
    handle.reorder(*[a.name for a in others], row_outer, column_outer, row_inner, column_inner, handle.reduce_axis[0])
    handle.unroll(row_inner)
    handle.unroll(column_inner)
    if view.large:
        tiles = [
            Shareable(outer, -(-count(a.extent) // step), isinstance(a.extent, int) and a.extent % step == 0)
            for a, outer, step in ((row, row_outer, plan.height), (column, column_outer, plan.width))
        ]
        share(handle, [*(Shareable(a.name, count(a.extent)) for a in others), *tiles])
    tile = handle.loops[-4]
    for part in reversed(parts):
        part.set_scope("register")
        part.compute_at(handle, column_inner if part is not parts[0] else tile)
        lane = part.axis[len(view.axes)]
        if part is parts[0]:
            part.reorder(*[a.name for a in others], *part.reduce_axis, row.name, column.name, lane)
            part.unroll(row.name)
            part.unroll(column.name)
        else:
            part.reorder(*[a for a in part.loops if a.name != lane.name], lane)
        part.vectorize(lane)
    for tensor in plan.turned:
        _turn(s, tensor, parts[0].name, view, facts)


def _turn(s: Schedule, tensor: Tensor, reader: str, view: View, facts: Facts) -> None:
    """A copy of an operand in which it is contiguous along the reduction."""
    inner = view.reduce_axes[-1]
    access = next(x for x in view.accesses if x.tensor is tensor)
    place = next(d for d, i in enumerate(access.indices) if any(a is inner for a in free_axes(i)))
    copy = s[s.cache_read(tensor, "global", s[reader])]
    axes = list(copy.axis)
    rest = [a for d, a in enumerate(axes) if d != place]
    copy.layout(*rest, axes[place])
    outer, vector = copy.split(axes[place], factor=facts.lanes(tensor.dtype))
    copy.reorder(outer, *rest, vector)
    copy.vectorize(vector)
    if view.large:
        copy.parallel(outer)
