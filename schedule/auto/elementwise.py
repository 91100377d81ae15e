"""Elementwise stages: vectorised along the axis in which most of memory is contiguous, parallel along the outermost; transposes by tiles."""

from __future__ import annotations

from math import prod

from tedsl.lang import dtypes
from tedsl.lang.expr import Axis, Expr
from tedsl.lang.tensor import Tensor

from ..ir import STREAM
from ..schedule import Schedule
from .facts import LARGE, Facts, View, count, seen

UNROLLED = 4  # vectors in a row
BLOCK = 128  # rows and columns of a transposed matrix that are copied together
ROW_BYTES = 2048  # of a row from which it may be stored past the caches
CHUNKS = 64  # of a single long axis, for threads
ROWS = 4  # rows that are computed together when they read the same elements


def elementwise(s: Schedule, name: str, facts: Facts) -> bool:
    """A stage without a reduction."""
    stage = seen(s).stage(name)
    view = View(stage)
    if view.reduction is not None or not view.simple or not view.axes or stage.attach.kind == "inline":
        return False
    last = view.axes[-1]
    lanes = facts.lanes(view.dtype)
    across = [a for a in view.axes[:-1] if any(view.stride(x, a) == 1 for x in view.accesses)]
    crossed = [
        a for a in across if any(view.stride(x, a) == 1 and view.stride(x, last) not in (0, 1) for x in view.accesses)
    ]
    handle = s[name]
    outer: Axis | None = view.axes[0]
    chunked = False
    if crossed and count(last.extent) >= lanes and count(crossed[0].extent) >= 8:
        block = BLOCK if count(crossed[0].extent) >= 2 * BLOCK and count(last.extent) >= 2 * BLOCK else lanes
        row, column, inner_row, inner = handle.tile(crossed[0], last, BLOCK, block)
        if block > lanes:  # within a block each page is visited once
            vectors, inner = handle.split(inner, factor=lanes)
            handle.reorder(row, column, vectors, inner_row, inner)
        handle.vectorize(inner)
        outer = row if crossed[0] is view.axes[0] else outer
    elif count(last.extent) >= lanes and (near := _neighbours(view)) is not None:
        row_outer, row_inner = handle.split(near, factor=ROWS)
        column, inner = handle.split(last, factor=lanes)
        handle.reorder(row_outer, *_between(view, near), column, row_inner, inner)
        handle.unroll(row_inner)
        handle.vectorize(inner)
        outer = row_outer if near is view.axes[0] else outer
    elif _past_the_cache(view, facts):
        row, chunked = last, len(view.axes) == 1
        if chunked:
            outer, row = handle.split(last, nparts=CHUNKS)
        handle.vectorize(row)
        handle.pragma(row, STREAM)
    elif count(last.extent) >= lanes:
        width = lanes * UNROLLED if count(last.extent) >= 2 * lanes * UNROLLED and not view.expensive else lanes
        o, inner = handle.split(last, factor=width)
        handle.vectorize(inner)
        if len(view.axes) == 1:
            outer = o
    if view.work >= LARGE and stage.attach.kind == "root":
        if outer is not view.axes[0] and len(view.axes) == 1 and not chunked:
            chunks, _ = handle.split(outer, nparts=CHUNKS)
            handle.parallel(chunks)
        else:
            handle.parallel(outer)
    return True


def _past_the_cache(view: View, facts: Facts) -> bool:
    """Whether a stage of plain arithmetic makes a result that will not be found in the last cache: lines that are written whole are then better not read
    before. Rows have to be long, since their ends are stored one element at a time.
    """
    stage = view.stage
    last = view.axes[-1].extent
    whole = isinstance(last, int) and all(isinstance(d, int) for a in view.accesses for d in a.tensor.shape)
    if not stage.is_output or stage.attach.kind != "root" or len(stage.tensors) > 1 or view.calls or not whole:
        return False
    size = dtypes.itemsize(view.dtype)
    parts = CHUNKS if len(view.axes) == 1 else 1
    if view.dtype in ("bool", "float16", "bfloat16") or count(last) * size < ROW_BYTES * parts:
        return False
    tensors = dict.fromkeys([stage.tensor, *(a.tensor for a in view.accesses)])
    return sum(prod(map(count, t.shape)) * dtypes.itemsize(t.dtype) for t in tensors) > facts.cache_bytes


def _neighbours(view: View) -> Axis | None:
    """The axis (not the last) along which elements that follow one another read the same elements."""
    for row in view.axes[-2::-1]:
        if count(row.extent) < 2 * ROWS:
            continue
        found: dict[Tensor, tuple[Expr, ...]] = {}
        for access in view.accesses:
            if (
                view.stride(access, row)
                and _differ(found.setdefault(access.tensor, access.indices), access.indices)
                and not view.calls
            ):
                return row
    return None


def _differ(a: tuple[Expr, ...], b: tuple[Expr, ...]) -> bool:
    return any(x is not y for x, y in zip(a, b, strict=True))


def _between(view: View, row: Axis) -> tuple[Axis, ...]:
    """The axes between a row and the last."""
    place = next(n for n, a in enumerate(view.axes) if a is row)
    return view.axes[place + 1 : -1]
