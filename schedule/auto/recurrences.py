"""Recurrences: within a step, reductions are vectorised along the last axis of the result, in registers, and so are
elements.

(Products that have rows as well, a batch of sequences, are contractions; dot products along a contiguous axis are
reductions of rows.)
"""

from __future__ import annotations

from tedsl.lang.expr import Apply, Axis, Reduce, free_axes, walk
from tedsl.lang.tensor import Tensor

from ..handles import StageHandle
from ..schedule import Schedule
from .contraction import UNROLL, can_be_packed, elements_of, pack
from .facts import LARGE, Facts, View, count, look, points
from .fusion import into_reader

VECTORS = 8  # of results that are summed at once, so that what is multiplied is read in long stretches
CHUNK = 512  # elements of a row that take their steps together, one thread for each
REUSE = 16  # how often an operand is read that is worth a copy in another order


def sums_in_steps(s: Schedule, name: str, facts: Facts) -> bool:
    """A reduction of a recurrence: a vector times a matrix in every step. The matrix is read, or once copied, along the
    last axis of the result.
    """
    view = look(s, name)
    if not view.steps or not view.free or not view.one_result or not view.at_root:
        return False
    column = view.axes[-1]
    lanes = facts.lanes(view.dtype)
    if column not in view.free or count(column.extent) < max(lanes // 2, 2):
        return False
    if view.where is not None and any(n is column for n in walk(view.where)):
        return False
    packed = _to_pack(view, column)
    if packed is None:
        return False
    pieces = -(-count(column.extent) // lanes)
    width = lanes * -(-pieces // -(-pieces // VECTORS))
    result, local, names = into_reader(s, name)
    others = [a.name for a in view.axes if a is not column]
    outer, inner = result.split(names[column.name], factor=width)
    result.vectorize(inner)
    local.compute_at(result, outer)
    local.reorder(*others, *[a.name for a in view.reduce_axes], column.name)
    local.vectorize(column.name)
    innermost = view.reduce_axes[-1]
    cut = view.where is not None and any(a is innermost for a in free_axes(view.where))
    if count(innermost.extent) > UNROLL and not cut:
        local.pragma(innermost.name, f"GCC unroll {UNROLL}")
    if view.large:
        result.parallel(outer)
    for tensor in packed:
        pack(s, tensor, local.name, view, column, width)
    return True


def _to_pack(view: View, column: Axis) -> list[Tensor] | None:
    """The operands to copy, so that all are contiguous along the column; None when one cannot be."""
    steps = points(view.stage.roots)
    packed = []
    for access in view.accesses:
        stride = view.stride(access, column)
        if stride in (0, 1):
            continue
        if stride is None or not can_be_packed(view, access, column):
            return None
        if steps < REUSE * elements_of(access.tensor):
            return None
        packed.append(access.tensor)
    return packed


def elements_in_steps(s: Schedule, name: str, facts: Facts) -> bool:
    """Elements that are computed step by step: vectorised along the last axis if that is no step; what does not step
    together runs in parallel.
    """
    view = look(s, name)
    parts = view.stage.parts
    recurrent = view.steps or any(n.tensor in view.stage.tensors for n in view.accesses)
    if not recurrent or not view.free or any(isinstance(v, Reduce) for p in parts for v in p.values):
        return False
    handle = s[name]
    last = view.axes[-1]
    lanes = facts.lanes(view.dtype)
    group = s.state.group(name)
    alone = group is None or len(group[0]) == 1
    if last not in view.free or count(last.extent) < lanes:
        if not alone or _whole(view) < LARGE:
            return False
        return _outermost(handle, view.free[0])
    inner: object = last
    if alone and _whole(view) >= LARGE and count(last.extent) >= 2 * CHUNK:
        chunk, inner = handle.split(last, factor=CHUNK)
        handle.reorder(chunk, *[a for a in handle.loops if a.name not in (chunk.name, inner.name)], inner)
        handle.parallel(chunk)
    elif view.large and not alone:
        handle.parallel(view.free[0]) if view.free[0] is not last else None
    _, vector = handle.split(inner, factor=lanes)
    handle.vectorize(vector)
    return True


def _whole(view: View) -> int:
    """Operations of all steps, roughly."""
    return points(view.axes) * max(sum(isinstance(n, Apply) for v in view.values for n in walk(v)), 1)


def _outermost(handle: StageHandle, axis: Axis) -> bool:
    """Run the loop of an axis in parallel, outside of all steps."""
    handle.reorder(axis, *[a for a in handle.loops if a.name != axis.name])
    handle.parallel(axis)
    return True
