"""Elementwise stages: vectorised along the axis in which most of memory is contiguous, parallel along the outermost; transposes by tiles."""

from __future__ import annotations

from tedsl.lang.expr import Axis, Expr
from tedsl.lang.tensor import Tensor

from ..schedule import Schedule
from .facts import LARGE, Facts, View, count, look

UNROLLED = 4  # vectors in a row
BLOCK = 128  # rows and columns of a transposed matrix that are copied together
ROWS = 4  # rows that are computed together when they read the same elements


def elementwise(s: Schedule, name: str, facts: Facts) -> bool:
    """A stage without a reduction."""
    view = look(s, name)
    stage = view.stage
    if view.reduction is not None or not view.simple or not view.axes or view.steps or stage.attach.kind == "inline":
        return False
    last = view.axes[-1]
    lanes = facts.lanes(view.dtype)
    across = [a for a in view.axes[:-1] if any(view.stride(x, a) == 1 for x in view.accesses)]
    crossed = [
        a for a in across if any(view.stride(x, a) == 1 and view.stride(x, last) not in (0, 1) for x in view.accesses)
    ]
    handle = s[name]
    outer: Axis | None = view.axes[0]
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
    elif count(last.extent) >= lanes:
        width = lanes * UNROLLED if count(last.extent) >= 2 * lanes * UNROLLED and not view.expensive else lanes
        o, inner = handle.split(last, factor=width)
        handle.vectorize(inner)
        if len(view.axes) == 1:
            outer = o
    if view.work >= LARGE and stage.attach.kind == "root":
        if outer is not view.axes[0] and len(view.axes) == 1:
            chunks, _ = handle.split(outer, nparts=64)
            handle.parallel(chunks)
        else:
            handle.parallel(outer)
    return True


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
