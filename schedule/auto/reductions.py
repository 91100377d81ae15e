"""Reductions that reuse nothing: over the last axis by lanes, over the first by columns, to a scalar by blocks."""

from __future__ import annotations

from collections.abc import Sequence

from tedsl.lang import dtypes
from tedsl.lang.expr import Apply, Axis, Const, Expr, Var, free_axes, walk
from tedsl.schedule.loops.ir import STREAM

from ..handles import StageHandle
from ..schedule import Schedule
from .elementwise import past_the_cache
from .facts import Facts, View, count, look, points, seen
from .fusion import into_reader
from .sharing import Shareable, share

CHAINS = 4  # vectors of partial results, so that additions need not wait for one another
BLOCKS = 64
ROWS = 4  # rows that are computed together
ADDED = 8  # rows of a long column that are added in one go
STRETCH_BYTES = 16 << 10  # of a row that is added before the next rows: half of an L1 cache
WRITTEN_OUT = 32  # steps of a reduction (a filter's taps) that are written out
APART = 4  # elements between those that neighbouring lanes read, at most (pooling)
LONG = 8  # vectors of a reduction beside which the elements left over do not count
LAST = 4  # partial results that are combined one by one


def _by_lanes(s: Schedule, name: str, axis: object, lanes: int, steps: int = 0, together: Sequence[Axis] = ()) -> None:
    """Reduce along a contiguous axis in lanes: partial results in registers, then a tree. `steps`: leading axes that
    are stepped through; `together`: last axes whose results are added up side by side.
    """
    results = points(together)
    place = len(s[name].axis) if together else steps  # beside one another in memory
    partial = halved(s, name, axis, lanes * -(-CHAINS // results), lanes, place)
    own = [a.name for a in together]
    row = _innermost(s, name, own)
    for p in reversed(partial):
        p.set_scope("register")
        p.compute_at(s[name], row)
        lane = p.axis[place]
        p.reorder(*[a for a in p.loops if a.name != lane.name and a.name not in own], *own, lane)
        p.vectorize(lane)
    for handle in (s[name], *partial) if together else ():
        for a in own:
            handle.unroll(a)


def _together(view: View, facts: Facts) -> list[Axis]:
    """The last axes of a result that is short along them and made of what does not move with them (a filter's
    gradient): all of its elements there share the loads of that. Some other axis is left, to be stepped through.
    """
    found: list[Axis] = []
    results = 1
    for a in reversed(view.free[1:]):
        results *= count(a.extent)
        shared = any(view.stride(x, a) == 0 for x in view.accesses)
        if view.steps or not isinstance(a.extent, int) or not shared or results > facts.registers * 3 // 4:
            break
        found.insert(0, a)
    return found if points(found) > 1 else []


def halved(s: Schedule, name: str, axis: object, width: int, lanes: int, place: int) -> list[StageHandle]:
    """The stages of partial results that lead from `width` of them, taken in turn along an axis, by a vector to a few
    lanes, which the stage itself adds up one by one. The lanes are the axis at `place` of each of them.
    """
    _, inner = s[name].split(axis, factor=width)
    partial = [s[_first(s.rfactor(name, inner, place))]]
    while width > LAST:
        width = lanes if width > lanes else width // 2
        _, inner = s[name].split(s[name].reduce_axis[0], factor=width)
        partial.append(s[_first(s.rfactor(name, inner, place))])
        partial[-1].unroll(partial[-1].reduce_axis[0])
    s[name].unroll(s[name].reduce_axis[0])
    return partial


def _first(made: object) -> object:
    return made[0] if isinstance(made, list) else made


def _innermost(s: Schedule, name: str, but: Sequence[str] = ()) -> object:
    """The innermost loop of a stage that is not reduced over, nor one of `but`."""
    stage = seen(s).stage(name)
    return [leaf for leaf in stage.leaves if not stage.is_reduction_loop(leaf) and leaf not in but][-1]


def _odd(view: View) -> bool:
    """Whether a reduction has several results, or a position that does not fit into a lane of its values."""
    reduction = view.reduction
    if reduction is None or len(view.stage.tensors) > 1:
        return True
    return reduction.reducer.components > 1 and not (
        reduction.reducer.indexed and dtypes.itemsize(reduction.values[0].dtype) == 4
    )


def rows(s: Schedule, name: str, facts: Facts) -> bool:
    """A reduction of which the last reduced axis is contiguous in memory."""
    view = look(s, name)
    reduction = view.reduction
    if reduction is None or not view.simple or not view.free or _odd(view) or not of_steps(view, reduction.where):
        return False
    axis = view.reduce_axes[-1]
    lanes = facts.lanes(reduction.values[0].dtype if reduction.reducer.indexed else view.dtype)
    if (
        count(axis.extent) < 2 * lanes
        or not any(view.stride(x, axis) == 1 for x in view.accesses)
        or any(view.stride(x, axis) not in (0, 1) for x in view.accesses)
    ):
        return False
    together = _together(view, facts) if count(axis.extent) % lanes == 0 or count(axis.extent) >= LONG * lanes else []
    if view.large and view.at_root:
        share(s[name], [Shareable(a, count(a.extent)) for a in view.free if a not in together])
    _by_lanes(s, name, axis, lanes, len(view.steps), together)
    return True


def of_steps(view: View, where: Expr | None) -> bool:
    """Whether a condition, if there is one, only says in which steps the reduction runs."""
    return where is None or all(
        isinstance(n, (Apply, Const, Var)) or (isinstance(n, Axis) and n.name in view.steps) for n in walk(where)
    )


def columns(s: Schedule, name: str, facts: Facts) -> bool:
    """A reduction over outer axes of something contiguous along the last axis of the result."""
    view = look(s, name)
    if not view.one_result or view.steps or not view.axes:
        return False
    last = view.last
    lanes = facts.lanes(view.dtype)
    strides = [d for x in view.accesses if (d := view.stride(x, last)) is not None]
    if count(last.extent) < lanes or len(strides) < len(view.accesses) or any(not 0 <= d <= APART for d in strides):
        return False
    steps = points(view.reduce_axes)
    if steps >= 4 * ADDED and view.where is None and len(view.reduce_axes) == 1 and max(strides) <= 1:
        return _row_by_row(s, name, view, facts, lanes)
    written_out = steps <= WRITTEN_OUT and view.where is None
    row = _overlapping_rows(view) if written_out else None
    result, local, names = into_reader(s, name)
    outside = [a for a in view.axes if a is not row and a is not last]
    shared = [Shareable(names[a.name], count(a.extent)) for a in outside]
    if row is not None:
        width = lanes
        outer, column, inner_row, inner = result.tile(names[row.name], names[last.name], ROWS, lanes)
        result.reorder(*[names[a.name] for a in outside], outer, column, inner_row, inner)
        result.unroll(inner_row)
        local.unroll(row.name)
        shared.append(Shareable(outer, -(-count(row.extent) // ROWS), _divides(row, ROWS)))
    else:
        width = lanes * CHAINS if count(last.extent) >= lanes * CHAINS else lanes
        column, inner = result.split(names[last.name], factor=width)
        result.reorder(*[names[a.name] for a in outside], column, inner)
    shared.append(Shareable(column, -(-count(last.extent) // width), _divides(last, width)))
    result.vectorize(inner)
    if row is not None and past_the_cache(look(s, result.name), facts):
        result.pragma(inner, STREAM)
    if view.large and view.at_root:
        share(result, shared)
    local.compute_at(result, result.loops[-2 if row is None else -3])
    local.reorder(
        *[a.name for a in outside],
        *[a.name for a in view.reduce_axes],
        *([row.name] if row is not None else []),
        last.name,
    )
    local.vectorize(last.name)
    for a in reversed(view.reduce_axes):
        if written_out:
            local.unroll(a.name)
    return True


def _divides(axis: Axis, width: int) -> bool:
    return isinstance(axis.extent, int) and axis.extent % width == 0


def _overlapping_rows(view: View) -> Axis | None:
    """The axis (not the last) along which the elements read for neighbouring results overlap: a filter slides along
    it.
    """
    for row in reversed(view.before):
        for access in view.accesses:
            for index in access.indices:
                own = free_axes(index)
                if (
                    count(row.extent) >= 2 * ROWS
                    and any(a is row for a in own)
                    and any(a is r for a in own for r in view.reduce_axes)
                ):
                    return row
    return None


def _row_by_row(s: Schedule, name: str, view: View, facts: Facts, lanes: int) -> bool:
    """Long columns: a few rows at a time are added to a stretch of the result that stays in the L1 cache, so that
    memory is read in long stretches.
    """
    handle = s[name]
    last, k = view.last, view.reduce_axes[-1]
    others = [a for a in view.axes if a is not last]
    k_outer, _ = handle.split(k, factor=ADDED)
    few = s[_first(s.rfactor(name, k_outer))]
    length = STRETCH_BYTES // dtypes.itemsize(view.dtype)
    stretch, inner = handle.split(last, factor=length)
    vectors, lane = handle.split(inner, factor=2 * lanes)
    handle.reorder(*others, stretch, k_outer, vectors, lane)
    handle.vectorize(lane)
    few.set_scope("register")
    few.compute_at(handle, vectors)
    few.reorder(few.reduce_axis[0], last.name)
    few.unroll(few.reduce_axis[0])
    few.vectorize(last.name)
    if view.large and view.at_root:
        stretches = Shareable(stretch, -(-count(last.extent) // length), _divides(last, length))
        share(handle, [*(Shareable(a, count(a.extent)) for a in others), stretches])
    return True


def to_a_scalar(s: Schedule, name: str, facts: Facts) -> bool:
    """A reduction with a single result: in blocks that run in parallel, each by lanes."""
    view = look(s, name)
    stage = view.stage
    if not view.one_result or view.axes or view.where is not None:
        return False
    lanes = facts.lanes(view.dtype)
    last = view.reduce_axes[-1]
    if any(view.stride(x, last) not in (0, 1) for x in view.accesses):
        return False
    handle = s[name]
    if len(view.reduce_axes) == 1:
        if count(last.extent) < BLOCKS * lanes * CHAINS:
            if count(last.extent) < 2 * lanes:
                return False
            _, inner = handle.split(last, factor=lanes * CHAINS)
            p = s[s.rfactor(stage.tensor, inner)]
            p.reorder(*[a for a in p.loops if a.name != p.axis[0].name], p.axis[0])
            p.vectorize(p.axis[0])
            return True
        outer, _ = handle.split(last, nparts=BLOCKS)
    else:
        outer = next(a for a in handle.reduce_axis if a.name == view.reduce_axes[0].name)
    blocks = s[s.rfactor(stage.tensor, outer)]
    row = blocks.axis[0]
    if view.large:
        blocks.parallel(row)
    inner_axis = [a for a in blocks.loops if a.name != row.name][-1]
    if count(inner_axis.extent) >= 2 * lanes:
        _by_lanes(s, blocks.name, inner_axis, lanes)
    return True


def plain(s: Schedule, name: str, facts: Facts) -> bool:
    """Any other reduction: its loops as they are, outer ones in parallel."""
    view = look(s, name)
    if view.reduction is None or view.steps or not view.large or not view.at_root:
        return False
    return share(s[name], [Shareable(a, count(a.extent)) for a in view.free]) is not None
