"""Widening the remainder of a register tile to whole vectors, where what it reads has room for it.

A tile of 32 results a row that ends after 31 would be cut into vectors of 16, 8, 4, 2 and 1 lanes, and its accumulators
no longer fit the registers. When the operands along the lanes come from a temporary that is padded up (a packed layout)
and the sums go to a register tile, which is as wide as the whole tile, the extra lanes can be computed and never looked
at:

    for j in 0..31 vectorized:                     for j in 0..32 vectorized:
      tile[i, j] += A[i, k] * packed[31, k, j]  →    tile[i, j] += A[i, k] * packed[31, k, j]
    for j in 0..31 vectorized: C[…, j] = tile[i, j]     (as before, cut into what is stored)

The padding is filled with zeros first, so that the extra lanes compute with numbers of which every processor is fast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from tedsl.lang.expr import Access, Axis, Const, Expr, free_axes, substitute
from tedsl.schedule.loops.ir import (
    Allocate,
    Block,
    Buffer,
    For,
    Stmt,
    Store,
    block,
    constant,
    loads,
    loads_in,
    preorder,
    with_bodies,
)

LANES = 16  # the most lanes that a vector has of the types that tiles are made of
Filling = tuple[
    Buffer, tuple[Expr, ...], For, int
]  # a read that goes too far: its buffer and place, the loop of its lanes, up to where


def pad_pass(root: Stmt) -> Stmt:
    """Widen what can be widened."""
    return _Pad().visit(root, ())


class _Pad:
    def __init__(self) -> None:
        self.fillings: dict[Buffer, dict[tuple[Expr, ...], Stmt]] = {}

    def visit(self, stmt: Stmt, path: tuple[For, ...]) -> Stmt:
        """`path`: the loops around `stmt`, outermost first."""
        if isinstance(stmt, Allocate) and stmt.buffer.scope == "register" and stmt.buffer.shape:
            stmt = replace(stmt, body=self.widened(stmt, path))
        inner = (*path, stmt) if isinstance(stmt, For) else path
        made = with_bodies(stmt, tuple(self.visit(b, inner) for b in stmt.body_parts))
        if isinstance(made, Allocate) and made.buffer in self.fillings:
            made = replace(made, body=block(*self.fillings.pop(made.buffer).values(), made.body))
        return made

    def widened(self, tile: Allocate, path: tuple[For, ...]) -> Stmt:
        width = tile.buffer.shape[-1]
        lanes = [
            s for s in preorder(tile.body) if isinstance(s, For) and s.kind == "vectorized" and _along(s, tile.buffer)
        ]
        extents = {constant(s.extent) for s in lanes}
        extent = next(iter(extents)) if len(extents) == 1 else None
        if extent is None or not isinstance(width, int) or any(constant(s.lo) != 0 or s.step != 1 for s in lanes):
            return tile.body
        wide = _whole(extent)
        if wide == extent or wide > width:
            return tile.body
        copies = [s for s in lanes if not _stores_to(s, tile.buffer)]
        fillings: list[tuple[Filling, tuple[For, ...]]] = []
        for loop, around in _with_loops(tile.body, path):
            if loop in lanes and loop not in copies:
                found = _reads_too_far(loop, tile.buffer, wide)
                if found is None:
                    return tile.body
                fillings += [(f, around) for f in found]
        if any(not _is_copy(s, tile.buffer) for s in copies):
            return tile.body
        for filling, around in fillings:
            self.fill(filling, around)
        return _rewritten(tile.body, set(lanes) - set(copies), set(copies), wide)

    def fill(self, filling: Filling, around: tuple[For, ...]) -> None:
        """Note the loops that put zeros into what is read too far."""
        buffer, indices, lane, wide = filling
        needed = {a for i in indices for a in free_axes(i)}
        loops: list[For] = []
        for loop in reversed(around):
            if loop.axis in needed:
                loops.append(loop)
                needed |= {a for e in (loop.lo, loop.extent) for a in free_axes(e)}
        made: Stmt = Store(buffer, indices, Const(0, buffer.dtype) if buffer.dtype != "int" else Const(0))
        for n, loop in enumerate(
            [replace(lane, lo=lane.extent, extent=Const(wide - cast(int, constant(lane.extent)))), *loops]
        ):
            made = replace(
                loop, body=made, kind="serial", pragmas=(), origin=f"{buffer.name}, padding" if n == 0 else loop.origin
            )
        self.fillings.setdefault(buffer, {})[substitute_all(indices, lane.axis, Const(0))] = made


def substitute_all(indices: tuple[Expr, ...], axis: Axis, value: Expr) -> tuple[Expr, ...]:
    return tuple(substitute(i, {axis: value}) for i in indices)


def _whole(extent: int) -> int:
    """The lanes of whole vectors: a power of two up to 16, then multiples of 16."""
    if extent >= LANES:
        return -(-extent // LANES) * LANES
    return 1 << (extent - 1).bit_length() if extent > 2 else extent


def _along(loop: For, tile: Buffer) -> bool:
    """Whether the lanes of a loop are those of a tile's rows."""
    places = [(cast(Buffer, a.tensor), a.indices) for a in loads_in(loop.body)]
    places += [(s.buffer, s.indices) for s in preorder(loop.body) if isinstance(s, Store)]
    return any(buffer is tile and any(_varies(i, loop) for i in indices) for buffer, indices in places)


def _stores_to(loop: For, tile: Buffer) -> bool:
    return any(isinstance(s, Store) and s.buffer is tile for s in preorder(loop.body))


def _is_copy(loop: For, tile: Buffer) -> bool:
    """Whether a loop reads the tile, lane by lane, and stores to something else."""
    return isinstance(loop.body, Store) and all(
        cast(Buffer, a.tensor) is not tile or a.indices[-1] is loop.axis for a in loads_in(loop.body)
    )


def _reads_too_far(loop: For, tile: Buffer, wide: int) -> list[Filling] | None:
    """What of temporaries a loop would read beyond their contents if it were `wide`; None when it must not be."""
    found: list[Filling] = []
    stmts = loop.body.stmts if isinstance(loop.body, Block) else (loop.body,)
    for s in stmts:
        if (
            not isinstance(s, Store)
            or s.buffer is not tile
            or s.indices[-1] is not loop.axis
            or any(_varies(i, loop) for i in s.indices[:-1])
        ):
            return None
        for access in loads_in(s):
            buffer = cast(Buffer, access.tensor)
            moving = [d for d, i in enumerate(access.indices) if _varies(i, loop)]
            if not moving:
                continue
            if len(moving) > 1 or any(isinstance(n, Access) for i in access.indices for n in loads(i)):
                return None
            (d,) = moving
            room = buffer.shape[d]
            if (
                access.indices[d] is not loop.axis
                or not isinstance(room, int)
                or room < wide
                or buffer.role != "temporary"
                or buffer.strides is not None
            ):
                return None
            if buffer is not tile:
                found.append((buffer, access.indices, loop, wide))
        if _varies_bare(s.value, loop):
            return None
    return found


def _varies(e: Expr, loop: For) -> bool:
    return any(a is loop.axis for a in free_axes(e))


def _varies_bare(e: Expr, loop: For) -> bool:
    """Whether a value uses the lane's number itself, outside of indices."""
    if e is loop.axis:
        return True
    return not isinstance(e, Access) and any(_varies_bare(c, loop) for c in e.children)


def _with_loops(stmt: Stmt, path: tuple[For, ...]) -> list[tuple[For, tuple[For, ...]]]:
    """Every loop below `stmt` with those around it."""
    found = [(stmt, path)] if isinstance(stmt, For) else []
    inner = (*path, stmt) if isinstance(stmt, For) else path
    for body in stmt.body_parts:
        found += _with_loops(body, inner)
    return found


def _rewritten(stmt: Stmt, widen: set[For], copies: set[For], wide: int) -> Stmt:
    if isinstance(stmt, For) and stmt in widen:
        return replace(stmt, extent=Const(wide))
    return with_bodies(stmt, tuple(_rewritten(b, widen, copies, wide) for b in stmt.body_parts))
