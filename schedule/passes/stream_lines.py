"""Stores past the caches, for results that will not be read again soon: a line that is written whole need not be read
before.

What the pragma "stream" of a vectorised loop asks for. A line may only go to memory as one, and where lines begin only
the call tells. So a long loop runs to the first whole line with plain stores, then over whole lines, then over what is
left. Where a loop around it moves on by one vector at a time, a line is made of what two vectors have of it:

    for j:                                    last = first vector, stored as it is
      to[16*j : 16*j + 16] = vector    →      for j from the second on:
                                                a line = the end of last, the beginning of vector;  last = vector
                                              the last vector, stored as it is

Such stores may become visible later than those that follow them, hence a fence before other threads may read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from tedsl.lang import dtypes
from tedsl.lang.expr import Const, Expr, reads_tensors, substitute
from tedsl.lang.integers import Known, simplify
from tedsl.schedule.loops.ir import (
    STREAM,
    Allocate,
    Block,
    Buffer,
    For,
    Row,
    Stmt,
    Store,
    constant,
    expressions,
    loads,
    preorder,
)
from tedsl.schedule.loops.positions import Positions

from .vector_forms import LINE, Cuts, regular

FEWEST = 4  # vectors of a row for which carrying lines is worth its beginning and its end; lines of a loop


def streams(stmt: Stmt) -> bool:
    """Whether a statement may store past the caches."""
    return any(isinstance(s, For) and STREAM in s.pragmas and s.kind == "vectorized" for s in preorder(stmt))


def can_stream(loop: For, positions: Positions, registers: frozenset[Buffer]) -> bool:
    """Whether a loop is to write past the caches, and can: it fills several lines with the elements of one store, one
    after the other.
    """
    store = loop.body
    if STREAM not in loop.pragmas or not isinstance(store, Store):
        return False
    buffer, extent = store.buffer, constant(loop.extent)
    if buffer.dtype == "bool" or any(reads_tensors(i) for i in store.indices):
        return False
    if any(b in registers for b in (buffer, *(cast(Buffer, a.tensor) for a in loads(store.value)))):
        return False
    enough = extent is None or extent * dtypes.itemsize(buffer.dtype) >= FEWEST * LINE
    return enough and positions.of(buffer, store.indices).terms.get(loop.axis) == 1


def rows(
    stmt: For, cuts: Cuts, positions: Positions, registers: frozenset[Buffer], known: Known, shared: set[Buffer]
) -> tuple[Row, ...]:
    """The vectorised loops inside of a loop whose vectors follow each other from one of its steps to the next, so that
    they can be written by whole lines. `shared`: buffers that may be others' memory.
    """
    extent = constant(stmt.extent)
    if stmt.kind != "serial" or stmt.step != 1 or extent is None or extent < FEWEST:
        return ()

    def element(store: Store, step: Expr, loop: For, lane: int) -> tuple[Expr, ...]:
        here: dict[Expr, Expr] = {stmt.axis: step, loop.axis: Const(lane)}
        return tuple(simplify(substitute(i, here), known) for i in store.indices)

    def follows(loop: For) -> bool:
        buffer, width = store_of(loop).buffer, constant(loop.extent)
        if STREAM not in loop.pragmas or width is None or not regular(loop) or buffer in shared:
            return False
        size, lanes = dtypes.itemsize(buffer.dtype), cuts.width(loop, registers)
        if buffer in registers or size not in (4, 8) or not 32 <= lanes * size <= LINE or width % lanes:
            return False
        if any(reads_tensors(i) for i in store_of(loop).indices):
            return False
        place = positions.of(buffer, store_of(loop).indices)
        return place.linear and place.terms.get(loop.axis) == 1 and place.terms.get(stmt.axis) == width

    candidates = [loop for loop in _straight(stmt.body) if STREAM in loop.pragmas]
    if not candidates:
        return ()
    read = {cast(Buffer, a.tensor) for s in preorder(stmt) for e in expressions(s) for a in loads(e)}
    found = []
    for loop in candidates:
        store = store_of(loop)
        if follows(loop) and store.buffer not in read:
            chunks = cuts.of(loop, registers)
            end = simplify(stmt.lo + (extent - 1), known)
            first, last = element(store, stmt.lo, loop, chunks[0][0]), element(store, end, loop, chunks[-1][0])
            found.append(Row(loop, chunks[0][1], first, last))
    return tuple(found)


def store_of(loop: For) -> Store:
    return cast(Store, loop.body)


def _straight(stmt: Stmt) -> Iterator[For]:
    """The vectorised loops of a body that run once each time."""
    if isinstance(stmt, Block):
        for s in stmt.stmts:
            yield from _straight(s)
    elif isinstance(stmt, Allocate):
        yield from _straight(stmt.body)
    elif isinstance(stmt, For) and stmt.kind == "vectorized" and isinstance(stmt.body, Store):
        yield stmt
