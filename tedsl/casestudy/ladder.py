"""The lecture's ladder: `C = A·Bᵀ` step by step, from plain loops to the machine's limit, each step a schedule.

Every function takes the size and the tile sizes (numbers, or `te.var`s for the formulas) and gives a schedule; what is
computed is the same in all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tedsl as te

if TYPE_CHECKING:
    from tedsl.machine import Machine
    from tedsl.schedule.schedule import Schedule


@dataclass(frozen=True)
class Tiles:
    """Sizes of tiles. `v1` x `v2`: results in registers. `b1`, `b2`: rows of A and of B kept in a cache. `cores`: in how many parts rows of A go to
    threads. `note`: what does not fit as the lecture has it.
    """

    v1: Any
    v2: Any
    b1: Any
    b2: Any
    cores: Any = 1
    note: str = ""


def problem(n: Any) -> tuple[te.Tensor, te.Tensor, te.Tensor]:
    """A, B and C[i,j] = sum(A[i,k] * B[j,k]), all of n x n float32."""
    i, j, k = te.axes("i j k")
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    return A, B, C


def vanilla(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    return te.create_schedule(C)


def accumulator(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    s[Cr].compute_at(s[C], "j")
    return s


def register_tile(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, jo, ii, ji = s[C].tile("i", "j", t.v1, t.v2)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder("k", "i", "j")
    for X in (A, B):
        s[s.cache_read(X, "register", Cr)].compute_at(s[Cr], "k")
    unroll(s, Cr)
    return s


def cache_tile(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    io, jo, ii, ji = s[C].tile("i", "j", t.b1, t.b2)
    s[C].reorder(io, jo, ii, ji, "k")
    Ac, Bc = s.cache_read(A, "cache", C), s.cache_read(B, "cache", C)
    s[Ac].compute_at(s[C], io)
    s[Bc].compute_at(s[C], jo)
    return s


def both(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, jo, x, y = tiles_in_tiles(s, C, Cr, t)
    Ac, Bc = s.cache_read(A, "cache", Cr), s.cache_read(B, "cache", Cr)
    s[Ac].compute_at(s[C], io)
    s[Bc].compute_at(s[C], jo)
    for X in (Ac, Bc):
        s[s.cache_read(X, "register", Cr)].compute_at(s[Cr], "k")
    unroll(s, Cr)
    return s


def vectorised(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, jo, x, y = tiles_in_tiles(s, C, Cr, t)
    Bc = s.cache_read(B, "cache", Cr)
    s[Bc].compute_at(s[C], jo)
    s[Bc].layout("k", "j")  # so that neighbours in j are neighbours in memory
    vectorize(s, C, Cr)
    return s


def packed(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    tiles_in_tiles(s, C, Cr, t)
    pack(s, B, Cr, t)
    vectorize(s, C, Cr)
    return s


def parallel(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, jo, x, y = tiles_in_tiles(s, C, Cr, t)
    panels = pack(s, B, Cr, t)
    vectorize(s, C, Cr)
    s[C].parallel(io)
    s["B.global"].parallel(panels)
    return s


def best(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    x, y, ii, ji = s[C].tile("i", "j", t.v1, t.v2)
    thread, x = s[C].split(x, nparts=t.cores)  # each thread has as many tiles as any other
    block, x = s[C].split(x, factor=t.b1 // t.v1)
    s[C].reorder(thread, block, y, x, ii, ji)  # a panel of B serves all tiles of a block from L1 and L2
    s[Cr].compute_at(s[C], x)
    s[Cr].reorder("k", "i", "j")
    vectorize(s, C, Cr)
    s[Cr].pragma("k", "GCC unroll 4")
    panels = pack(s, B, Cr, t)
    s["B.global"].parallel(panels)
    s[C].parallel(thread)
    return s


# Steps that several rungs share ----------------------------------------------------------------------------------------


def tiles_in_tiles(s: Schedule, C: te.Tensor, Cr: te.Tensor, t: Tiles) -> tuple[Any, Any, Any, Any]:
    """Tiles of v1 x v2 results, computed in `Cr`, inside of tiles of b1 x b2. Returns the four outer loops."""
    io, jo, ib, jb = s[C].tile("i", "j", t.b1, t.b2)
    x, y, ii, ji = s[C].tile(ib, jb, t.v1, t.v2)
    s[C].reorder(io, jo, x, y, ii, ji)
    s[Cr].compute_at(s[C], y)
    s[Cr].reorder("k", "i", "j")
    return io, jo, x, y


def unroll(s: Schedule, Cr: te.Tensor) -> None:
    """Write out all that concerns a register tile: registers have names, not indices."""
    for stage in s.stages:
        if stage.scope == "register" or stage.tensor.name == "C":
            for loop in stage.loops[-2:]:
                if isinstance(loop.extent, int):
                    stage.unroll(loop)


def vectorize(s: Schedule, C: te.Tensor, Cr: te.Tensor) -> None:
    """Rows of a register tile are vectors along j, the rows themselves are written out."""
    for stage in (s[C], s[Cr]):
        stage.unroll(stage.loops[-2])
        stage.vectorize(stage.loops[-1])


def pack(s: Schedule, B: te.Tensor, Cr: te.Tensor, t: Tiles) -> Any:
    """Store B as panels [n / v2][k][v2], each read from one end to the other. Returns the loop over the panels."""
    Bp = s.cache_read(B, "global", Cr)
    panel, ji = s[Bp].split("j", t.v2)
    s[Bp].layout(panel, "k", ji)
    ko, ki = s[Bp].split("k", 16)
    s[Bp].reorder(panel, ko, ki, ji)
    s[Bp].vectorize(ji)
    return panel
