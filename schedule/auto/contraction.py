"""Contractions: reductions whose operands are used again and again (matrix products, convolutions, distances,
max-plus).

A tile of the result is kept in registers: its columns are vectors along the last axis of the result, its rows an axis
on which the operand that moves with the columns does not depend, so that a loaded vector serves all rows and a loaded
scalar all columns. An operand that is not contiguous along the columns is packed into panels; a tile has no more rows
than the L1 cache can hold side by side. Rows are blocked so that what is read again stays in the L2 cache; the loops
outside of the tiles run in parallel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Expr, free_axes, walk
from tedsl.lang.integers import conjuncts
from tedsl.lang.tensor import Tensor

from ..handles import StageHandle
from ..schedule import Schedule
from .facts import Facts, View, count, look, points
from .fusion import into_reader
from .sharing import THREADS, Shareable, even_blocks, share

WRITTEN_OUT = 8  # steps of the innermost loop of a reduction, if there are others around it, that are written out
UNROLL = 4  # steps of the reduction written out
SCATTERED = (
    1 << 15
)  # elements of an operand from which its rows, however contiguous, are better copied next to one another
LOAD = 0.25  # of the arithmetic that a load for each operation costs
TURNED = 2.0  # cycles for an element of an operand that is copied across its rows
LINE_BYTES = 64
SET_SPAN = 4096  # bytes after which addresses fall upon the same set of an L1 cache that is indexed before translation
FEW_ROWS = 4  # of a tile, that leave registers for longer ones
LONGEST = 8  # vectors in a row of such a tile
TOGETHER = 64  # steps of a panel that one thread packs, at least
WAYS = 8  # lines in a set of the L1 cache, at least
BLOCK_BYTES = 384 * 1024  # of rows that stay in the L2 cache while the panels go by
FEWEST = 8  # tiles of a block: a panel comes from beyond the L2 cache once for each block


def contraction(s: Schedule, name: str, facts: Facts) -> bool:
    """A reduction in which at least one operand does not move with the columns, and another not with the rows."""
    view = look(s, name)
    plan = best_plan(view, facts)
    if plan is None:
        return False
    _schedule(s, name, view, plan)
    return True


def best_plan(view: View, facts: Facts) -> Plan | None:
    """The register tile that takes least time; None for a stage that is no contraction, or has none."""
    depth = points(view.reduce_axes)
    if not view.one_result or len(view.free) < 2 or depth < 4:
        return None
    plans = [
        p
        for column in reversed(view.free)
        for row in reversed(view.free)
        if row is not column and (p := plan(view, facts, row, column, depth)) is not None
    ]
    return min(plans, key=lambda p: p.cycles, default=None)


@dataclass(frozen=True)
class Plan:
    """A register tile: `height` elements of the axis `row` by `vectors` vectors along `column`; of the operands that
    move with the column those to pack into panels; and how many cycles it may take.
    """

    row: Axis
    column: Axis
    height: int
    vectors: int
    width: int
    packed: tuple[Tensor, ...]
    cycles: float


def plan(view: View, facts: Facts, row: Axis, column: Axis, depth: int) -> Plan | None:
    """The register tile for a choice of axes; None when they do not fit."""
    lanes = facts.lanes(view.dtype)
    if count(column.extent) < max(lanes // 2, 2) or count(row.extent) < 2:
        return None
    where = view.reduction.where if view.reduction is not None else None
    if where is not None and not _bounds_of_rows(view, where, row, column):
        return None
    moving = [x for x in view.accesses if view.uses(x, column)]
    still = [x for x in view.accesses if not view.uses(x, column)]
    if not moving or not still or any(view.stride(x, column) is None for x in moving):
        return None
    if not any(view.uses(x, row) for x in still) or any(view.uses(x, row) for x in moving):
        return None
    results = points(view.axes)
    cycles = 0.0
    packed: dict[Tensor, None] = {}
    last = column is view.axes[-1]
    for access in moving:
        contiguous = view.stride(access, column) == 1
        elements = elements_of(access.tensor)
        if contiguous and not (
            elements >= SCATTERED and results * depth >= 64 * elements and can_be_packed(view, access, column)
        ):
            continue
        if can_be_packed(view, access, column) and results * depth >= 16 * elements:
            packed[access.tensor] = None
            cycles += (0.5 if contiguous else TURNED) * elements
        elif not last:
            return None
        else:
            cycles += results / lanes * depth / count(row.extent) * abs(view.stride(access, column) or 1)
    if not last:
        if depth < 32:
            return None
        cycles += 1.0 * results
    height, vectors = tile_shape(view, facts, row, column, longer=not packed)
    side_by_side = min(rows_in_cache(view, x, row, height) for x in still)
    if side_by_side < height:
        height, vectors = tile_shape(view, facts, row, column, side_by_side, longer=not packed)
    cycles += (
        results
        * depth
        / 2
        / lanes
        * filled(count(column.extent), lanes)
        / efficiency(count(row.extent), height, vectors, len(packed) == len({x.tensor for x in moving}))
    )
    return Plan(row, column, height, vectors, vectors * lanes, tuple(packed), cycles)


def _bounds_of_rows(view: View, where: Expr, row: Axis, column: Axis) -> bool:
    """Whether a condition leaves a tile whole: along the rows it may cut only by the innermost steps of the reduction,
    which are written out.
    """
    inner = view.reduce_axes[-1]
    for part in conjuncts(where):
        axes = free_axes(part)
        if any(isinstance(n, Access) or n is column for n in walk(part)):
            return False
        if any(a is row for a in axes):
            others = [a for a in axes if a is not row]
            if len(view.reduce_axes) < 2 or count(inner.extent) > WRITTEN_OUT or any(a is not inner for a in others):
                return False
    return True


def elements_of(tensor: Tensor) -> int:
    return prod(map(count, tensor.shape))


def can_be_packed(view: View, access: Access, column: Axis) -> bool:
    """Whether the column is a dimension of its own in an operand that is read once, and that is there before the first
    step.
    """
    if access.tensor in view.own:
        return False
    alone = (
        sum(i is column for i in access.indices) == 1
        and sum(any(a is column for a in free_axes(i)) for i in access.indices) == 1
    )
    return alone and sum(x.tensor is access.tensor for x in view.accesses) == 1


def rows_in_cache(view: View, access: Access, row: Axis, height: int) -> int:
    """How many rows of a tile, read side by side along the last axis of the reduction, the L1 cache holds; where their
    distance is near a multiple of `SET_SPAN` they fall upon the same set, and more than it has lines drive each other
    out.
    """
    stride = view.stride(access, row)
    if stride is None or view.stride(access, view.reduce_axes[-1]) != 1:
        return height
    step = stride * dtypes.itemsize(access.tensor.dtype)
    sets: Counter[int] = Counter()
    for n in range(height):
        sets[n * step % SET_SPAN // LINE_BYTES] += 1
        if max(sets.values()) > WAYS:
            return n
    return height


def filled(extent: int, lanes: int) -> float:
    """How many lanes are busy for each element of a row that is cut into vectors; what is left of it takes one of half
    the width if that is enough.
    """
    rest = extent % lanes
    return (extent - rest + (0 if not rest else lanes // 2 if rest <= lanes // 2 else lanes)) / extent


def efficiency(rows: int, height: int, vectors: int, aligned: bool = True) -> float:
    """How much of the arithmetic a tile keeps busy: the last tile is shorter, and every step loads a vector for each
    column (two lines of the cache where they are not aligned) and a scalar for each row.
    """
    loads = (1 if aligned else 2) * vectors + height
    return rows / (-(-rows // height) * height) * (1 - LOAD * loads / (vectors * height))


def tile_shape(
    view: View, facts: Facts, row: Axis, column: Axis, most: int | None = None, *, longer: bool = False
) -> tuple[int, int]:
    """Rows (at most so many), and vectors in a row, of the register tile: accumulators, one row of operands and a
    temporary or two fill the registers. `longer`: whether a few rows may take more vectors, for an operand that is read
    as it lies: the more of its row at once, the better for memory.
    """
    lanes = facts.lanes(view.dtype)
    operations = sum(isinstance(n, Apply) for v in view.values for n in walk(v))
    budget = facts.registers - 8 if operations <= 1 else facts.registers // 2
    vectors = min(2, -(-count(column.extent) // lanes))
    if isinstance(column.extent, int) and column.extent % (2 * lanes) and column.extent <= 4 * lanes:
        vectors = -(-column.extent // lanes)  # the whole row: no remainder
    if longer and isinstance(row.extent, int) and row.extent <= FEW_ROWS:
        vectors = max(vectors, min(budget // row.extent, LONGEST, -(-count(column.extent) // lanes)))
    most = min(max(budget // vectors, 1), most or budget)
    if not isinstance(row.extent, int):
        return most, vectors
    rows = row.extent
    return max(range(1, min(most, rows) + 1), key=lambda height: (efficiency(rows, height, vectors), height)), vectors


def _schedule(s: Schedule, name: str, view: View, plan: Plan) -> None:
    row, column = plan.row, plan.column
    result, local, names = into_reader(s, name)
    _tiles(result, view, names, plan)
    local.compute_at(result, result.loops[-3])
    innermost = view.reduce_axes[-1]
    cut = (
        view.reduction is not None
        and view.reduction.where is not None
        and any(a is innermost for a in free_axes(view.reduction.where))
    )
    if count(innermost.extent) > UNROLL and not cut:
        # by the compiler: a quarter of the C, and quicker to compile
        local.pragma(innermost.name, f"GCC unroll {UNROLL}")
    elif len(view.reduce_axes) > 1 and count(innermost.extent) <= WRITTEN_OUT:
        local.unroll(innermost.name)
    others = [a.name for a in view.axes if a is not row and a is not column]
    local.reorder(*others, *[a.name for a in view.reduce_axes], row.name, column.name)
    local.vectorize(column.name)
    local.unroll(row.name)
    if column is not view.axes[-1]:
        local.layout(*others, row.name, column.name)
    for tensor in plan.packed:
        pack(s, tensor, local.name, view, column, plan.width)


def _tiles(result: StageHandle, view: View, names: dict[str, str], plan: Plan) -> None:
    """The loops of the result: those outside of the tiles, blocks of rows, tiles, and (the last two) the tile
    itself.
    """
    row, column, height, width = plan.row, plan.column, plan.height, plan.width
    row_outer, column_outer, row_inner, column_inner = result.tile(names[row.name], names[column.name], height, width)
    others = [a for a in view.axes if a is not row and a is not column]
    outside = [names[a.name] for a in others]
    down, across = -(-count(row.extent) // height), -(-count(column.extent) // width)
    # a short last tile has to be cut off
    rows_even, columns_even = (
        isinstance(a.extent, int) and a.extent % step == 0 for a, step in ((row, height), (column, width))
    )
    bytes_of_row = dtypes.itemsize(view.dtype) * points(view.reduce_axes)
    most = max(BLOCK_BYTES // max(bytes_of_row * height, 1), FEWEST)
    shared = [Shareable(names[a.name], count(a.extent)) for a in others if a in view.free]
    parallel = view.large and view.at_root
    if down > 2 * most and across > 1:
        length = even_blocks(down, most, max(most // 4, FEWEST // 2), alone=not columns_even)
        block, row_outer = result.split(row_outer, factor=length)
        result.reorder(*outside, block, column_outer, row_outer, row_inner, column_inner)
        blocks = -(-down // length)
        if columns_even and parallel:
            shared.append(Shareable(result.fuse(block, column_outer), blocks * across))
        else:
            shared.append(Shareable(block, blocks))
    else:
        result.reorder(*outside, column_outer, row_outer, row_inner, column_inner)
        shared += [Shareable(column_outer, across, columns_even), Shareable(row_outer, down, rows_even)]
    result.vectorize(column_inner)
    result.unroll(row_inner)
    if parallel:
        share(result, shared)


def pack(s: Schedule, tensor: Tensor, reader: str, view: View, column: Axis, width: int) -> None:
    access = next(x for x in view.accesses if x.tensor is tensor)
    place = next(d for d, i in enumerate(access.indices) if i is column)
    panel = s[s.cache_read(tensor, "global", s[reader])]
    axes = list(panel.axis)
    outer, inner = panel.split(axes[place], factor=width)
    reduced = [any(a is r for a in free_axes(i) for r in view.reduce_axes) for i in access.indices]
    rest = [a for d, a in enumerate(axes) if d != place and not reduced[d]] + [
        a for d, a in enumerate(axes) if d != place and reduced[d]
    ]
    panel.layout(outer, *rest, inner)
    panel.reorder(outer, *rest, inner)
    panel.vectorize(inner)
    if view.large:
        panels = Shareable(outer, -(-count(column.extent) // width))
        apart = [Shareable(a, count(a.extent)) for d, a in enumerate(axes) if d != place and not reduced[d]]
        enough = any(x.steps >= THREADS[-1] for x in (panels, *apart))
        stretch = None if enough else _stretch(panel, [a for d, a in enumerate(axes) if reduced[d]])
        share(panel, [panels, *apart, *([stretch] if stretch else [])], fusing=False)


def _stretch(panel: StageHandle, steps: Sequence[Axis]) -> Shareable | None:
    """A loop over stretches of a panel, for panels that are too few to share; None if it is short. What is read for a
    panel has to stay in the L1 cache for the steps that use the rest of its lines, so that these stretches are not
    short themselves.
    """
    for n, axis in enumerate(steps):
        inside = points(steps[n + 1 :])
        length = -(-TOGETHER // inside)
        if 1 < length <= count(axis.extent) // 2:
            return Shareable(panel.split(axis, factor=length)[0], -(-count(axis.extent) // length))
        if length == 1 and count(axis.extent) > 1:
            return Shareable(axis, count(axis.extent))
    return None
