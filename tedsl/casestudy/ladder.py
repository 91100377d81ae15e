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
    """Sizes of tiles. `v1` x `v2`: results in registers. `b1`, `b2`: rows of A and of B kept in a cache. `cores`: in
    how many parts rows of A go to threads. `note`: what does not fit as the lecture has it.
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
    *_, C = problem(n)
    return te.create_schedule(C)


def accumulator(n: Any, t: Tiles) -> Schedule:
    *_, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    s[Cr].compute_at(s[C], "j")
    return s


def register_tile(n: Any, t: Tiles) -> Schedule:
    A, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    _, jo, *_ = s[C].tile("i", "j", t.v1, t.v2)
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
    io, jo = tiles_in_tiles(s, C, Cr, t)
    Ac, Bc = s.cache_read(A, "cache", Cr), s.cache_read(B, "cache", Cr)
    s[Ac].compute_at(s[C], io)
    s[Bc].compute_at(s[C], jo)
    for X in (Ac, Bc):
        s[s.cache_read(X, "register", Cr)].compute_at(s[Cr], "k")
    unroll(s, Cr)
    return s


def vectorised(n: Any, t: Tiles) -> Schedule:
    _, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    _, jo = tiles_in_tiles(s, C, Cr, t)
    Bc = s.cache_read(B, "cache", Cr)
    s[Bc].compute_at(s[C], jo)
    s[Bc].layout("k", "j")  # so that neighbours in j are neighbours in memory
    vectorize(s, C, Cr)
    return s


def packed(n: Any, t: Tiles) -> Schedule:
    _, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    tiles_in_tiles(s, C, Cr, t)
    pack(s, B, Cr, t)
    vectorize(s, C, Cr)
    return s


def parallel(n: Any, t: Tiles) -> Schedule:
    _, B, C = problem(n)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, _ = tiles_in_tiles(s, C, Cr, t)
    pack(s, B, Cr, t, parallel=True)
    vectorize(s, C, Cr)
    s[C].parallel(io)
    return s


def best(n: Any, t: Tiles) -> Schedule:
    _, B, C = problem(n)
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
    pack(s, B, Cr, t, parallel=True)
    s[C].parallel(thread)
    return s


# Steps that several rungs share ---------------------------------------------------------------------------------------


def tiles_in_tiles(s: Schedule, C: te.Tensor, Cr: te.Tensor, t: Tiles) -> tuple[Any, Any]:
    """Tiles of v1 x v2 results, computed in `Cr`, inside of tiles of b1 x b2. Returns the two outermost loops."""
    io, jo, ib, jb = s[C].tile("i", "j", t.b1, t.b2)
    x, y, ii, ji = s[C].tile(ib, jb, t.v1, t.v2)
    s[C].reorder(io, jo, x, y, ii, ji)
    s[Cr].compute_at(s[C], y)
    s[Cr].reorder("k", "i", "j")
    return io, jo


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


def pack(s: Schedule, B: te.Tensor, Cr: te.Tensor, t: Tiles, parallel: bool = False) -> None:
    """Store B as panels [n / v2][k][v2], each read from one end to the other."""
    Bp = s.cache_read(B, "global", Cr)
    panel, ji = s[Bp].split("j", t.v2)
    s[Bp].layout(panel, "k", ji)
    ko, ki = s[Bp].split("k", 16)
    s[Bp].reorder(panel, ko, ki, ji)
    s[Bp].vectorize(ji)
    if parallel:
        s[Bp].parallel(panel)


# The rungs, and the tiles for a machine -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rung:
    """A step of the ladder: what it is called, its idea, its schedule, and how often A and B are loaded from where.

    `loads`: (tensor, level) -> the lecture's formula in n, v1, v2, b1 and b2. `tiles`: which sizes it has, and whether
    its register tile is made of scalars or of vectors.
    """

    name: str
    idea: str
    schedule: Callable[[Any, Tiles], Schedule]
    loads: dict[tuple[str, str], str]
    tiles: str = ""


PLAIN = {("A", "dram"): "n**3", ("B", "dram"): "n**3"}
REGISTERS = {("A", "dram"): "n**3/v2", ("B", "dram"): "n**3/v1"}
CACHES = {("A", "dram"): "n**2", ("B", "dram"): "n**3/b1"}
BOTH = {**CACHES, ("A", "cache"): "n**3/v2", ("B", "cache"): "n**3/v1"}
# what is not copied into a cache by the program is expected to stay there between its uses
PANELS = {("A", "dram"): "n**2", ("B", "dram"): "n**2 + n**3/b1", ("A", "cache"): "n**3/v2", ("B", "cache"): "n**3/v1"}

LADDER = (
    Rung("vanilla", "three plain loops", vanilla, PLAIN),
    Rung("register accumulator", "the sum runs in a register of its own and is stored once", accumulator, PLAIN),
    Rung("register tile", "v1 x v2 sums at once: what is loaded serves several of "
        "them", register_tile, REGISTERS, "scalar"),
    Rung("cache tile", "b1 rows of A and b2 rows of B stay in a cache while they are needed", cache_tile,
         {**CACHES, ("A", "cache"): "n**3", ("B", "cache"): "n**3"}, "scalar"),
    Rung("both", "register tiles inside of cache tiles", both, BOTH, "scalar"),
    Rung("vectorised", "a row of the register tile is a vector; rows of B are turned so that its loads are "
        "contiguous", vectorised,
         {**CACHES, ("A", "dram"): "n**3/b2", ("A", "cache"): "n**3/v2", ("B", "cache"): "n**3/v1"}, "vector"),
    Rung("packed", "B is stored once, as panels that are read from one end to the other", packed, PANELS, "vector"),
    Rung("parallel", "threads share the tiles of rows of A, and the packing", parallel, PANELS, "vector"),
    Rung("best", "a panel of B serves a block of A's rows; equal shares for the threads; k "
        "unrolled", best, PANELS, "vector"),
)  # fmt: skip


def choose(rung: Rung, n: int, machine: Machine, itemsize: int = 4) -> Tiles:
    """The tiles of a rung for a machine, by its registers and caches."""
    if rung.tiles == "vector":
        v1, v2 = register_rows(machine), 2 * machine.vector_bytes // itemsize
    else:
        v1, v2 = 4, 4
    row = n * itemsize
    note = ""
    fits = machine.l1_bytes // row  # rows that L1 holds: b1 + b2 of the lecture
    level = "L1"
    if fits < v1 + v2:
        fits, level = max(machine.l2_bytes // 2 // row, v1 + v2), "L2"
        held = f"{v1} rows of A and {v2} of B take {(v1 + v2) * row // 1024} KiB, L1 has {machine.l1_bytes // 1024}"
        note = f"no b1, b2 satisfy (b1 + b2)*n floats <= L1 ({held}): tiles are for {level}"
    b2 = max((fits // 3) // v2 * v2, v2)  # B's rows come anew for each b1 rows of A, so b1 is the one to make large
    b1 = max((fits - b2) // v1 * v1, v1)
    if rung.name == "best":
        # k runs to its end inside a register tile, so a block of A's rows and a panel of B stay in L2 together
        b1 = max((machine.l2_bytes * 3 // 4 // row) // v1 * v1, v1)
        b1, b2, note = min(b1, 12 * v1), v2, ""
    b1, b2 = min(b1, -(-n // v1) * v1), min(b2, -(-n // v2) * v2)
    return Tiles(v1, v2, b1, b2, machine.cores, note if rung.loads.keys() & {("A", "cache")} else "")


def register_rows(machine: Machine) -> int:
    """Rows of a register tile two vectors wide: as many as leave registers for what is loaded, and no more than a set
    of the L1 cache has lines, since rows whose distance is a power of two fall upon one.
    """
    registers = 32 if machine.level in ("avx512", "generic") else 16
    return {32: 8, 16: 6}[registers]
