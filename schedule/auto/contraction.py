"""Contractions: reductions whose operands are used again and again (matrix products, convolutions, distances, max-plus).

A tile of the result is kept in registers: its columns are vectors along the last axis of the result, its rows an axis on which the operand that
moves with the columns does not depend, so that a loaded vector serves all rows and a loaded scalar all columns. An operand that is not
contiguous along the columns is packed into panels. Rows are blocked so that what is read again stays in the L2 cache; the outermost loop is parallel.
"""

from __future__ import annotations

from tedsl.lang.expr import Access, Apply, Axis, walk
from tedsl.lang.tensor import Tensor

from ..schedule import Schedule
from .facts import LARGE, Facts, View, count, seen
from .fusion import into_reader

UNROLL = 4  # steps of the reduction written out
BLOCK_BYTES = 384 * 1024  # of rows that stay in the L2 cache while the panels go by


def contraction(s: Schedule, name: str, facts: Facts) -> bool:
    """A reduction in which at least one operand does not move with the columns, and another not with the rows."""
    stage = seen(s).stage(name)
    view = View(stage)
    reduction = view.reduction
    if reduction is None or not view.simple or reduction.where is not None or len(stage.tensors) > 1 or reduction.reducer.components > 1 or len(view.axes) < 2:
        return False
    lanes = facts.lanes(view.dtype)
    column = view.axes[-1]
    if count(column.extent) < lanes // 2 or count(column.extent) < 2:
        return False
    moving = [x for x in view.accesses if view.uses(x, column)]
    still = [x for x in view.accesses if not view.uses(x, column)]
    if not moving or not still or any(view.stride(x, column) is None for x in moving):
        return False
    row = next((a for a in reversed(view.axes[:-1]) if count(a.extent) >= 2 and any(view.uses(x, a) for x in still) and not any(view.uses(x, a) for x in moving)), None)
    if row is None:
        return False
    depth = 1
    for a in view.reduce_axes:
        depth *= count(a.extent)
    if depth < 4:
        return False
    height, vectors = tile_shape(view, facts, row, column)
    _schedule(s, name, view, facts, row, column, height, vectors * lanes, moving)
    return True


def tile_shape(view: View, facts: Facts, row: Axis, column: Axis) -> tuple[int, int]:
    """Rows, and vectors in a row, of the register tile: accumulators, one row of operands and a temporary or two fill the registers."""
    lanes = facts.lanes(view.dtype)
    operations = sum(isinstance(n, Apply) for v in view.values for n in walk(v))
    budget = facts.registers - 8 if operations <= 1 else facts.registers // 2
    vectors = min(2, -(-count(column.extent) // lanes))
    if isinstance(column.extent, int) and column.extent % (2 * lanes) and column.extent <= 4 * lanes:
        vectors = -(-column.extent // lanes)  # the whole row: no remainder
    height = max(budget // vectors, 1)
    if isinstance(row.extent, int):
        height = min(height, row.extent)
        steps = -(-row.extent // height)
        if steps <= 8:  # few tiles: all of nearly the same height
            height = -(-row.extent // steps)
    return height, vectors


def _schedule(s: Schedule, name: str, view: View, facts: Facts, row: Axis, column: Axis, height: int, width: int, moving: list[Access]) -> None:
    reduce_names = [a.name for a in view.reduce_axes]
    result, local, names = into_reader(s, name)
    row_outer, column_outer, row_inner, column_inner = result.tile(names[row.name], names[column.name], height, width)
    others = [a for a in view.axes if a is not row and a is not column]
    outside = [names[a.name] for a in others]
    bytes_of_row = 4
    for a in view.reduce_axes:
        bytes_of_row *= count(a.extent)
    tiles = max(BLOCK_BYTES // max(bytes_of_row * height, 1), 1)
    if count(row.extent) > 2 * tiles * height:
        block, row_outer = result.split(row_outer, factor=tiles)
        result.reorder(*outside, block, column_outer, row_outer, row_inner, column_inner)
    else:
        block = None
        result.reorder(*outside, column_outer, row_outer, row_inner, column_inner)
    result.vectorize(column_inner)
    result.unroll(row_inner)
    local.compute_at(result, row_outer)
    steps: list[object] = list(reduce_names)
    innermost = view.reduce_axes[-1]
    if count(innermost.extent) > UNROLL:
        outer, inner = local.split(innermost.name, factor=UNROLL)
        local.unroll(inner)
        steps[-1:] = [outer, inner]
    elif len(view.reduce_axes) > 1:
        local.unroll(innermost.name)
    local.reorder(*[a.name for a in others], *steps, row.name, column.name)
    local.vectorize(column.name)
    local.unroll(row.name)
    if view.work >= LARGE and view.stage.attach.kind == "root":
        result.parallel(_outermost(view, others, names, block, column_outer, row_outer))
    for tensor in _packed(view, moving, column, row):
        _pack(s, tensor, local.name, view, column, width)


def _outermost(view: View, others: list[Axis], names: dict[str, str], block: object, column_outer: object, row_outer: object) -> object:
    """The outermost loop with steps enough to share among threads."""
    first = next((a for a in others if count(a.extent) > 1), None)
    if first is not None:
        return names[first.name]
    return block if block is not None else column_outer


def _packed(view: View, moving: list[Access], column: Axis, row: Axis) -> list[Tensor]:
    """Operands to copy into panels: those that are not contiguous along the columns and are read by many rows."""
    found: dict[Tensor, None] = {}
    for access in moving:
        plain = sum(i is column for i in access.indices) == 1 and all(isinstance(i, Axis) for i in access.indices)
        again = count(row.extent) >= 16
        if plain and again and view.stride(access, column) != 1 and sum(x.tensor is access.tensor for x in view.accesses) == 1:
            found[access.tensor] = None
    return list(found)


def _pack(s: Schedule, tensor: Tensor, reader: str, view: View, column: Axis, width: int) -> None:
    access = next(x for x in view.accesses if x.tensor is tensor)
    place = next(d for d, i in enumerate(access.indices) if i is column)
    panel = s[s.cache_read(tensor, "global", s[reader])]
    axes = list(panel.axis)
    outer, inner = panel.split(axes[place], factor=width)
    rest = [a for d, a in enumerate(axes) if d != place]
    panel.layout(outer, *rest, inner)
    if view.work >= LARGE:
        panel.parallel(outer)
