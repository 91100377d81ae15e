"""Squares transposed in registers: what is read along one loop and written along another.

    for y:                                       for y in steps of 16:
      for x vectorised:                 →          for x in steps of 16: 16 rows of 16 are read along y,
        to[…, y, x] = f(from[…, x, y])               turned by shuffles, and written along x

As it stands, each vector would be gathered from as many lines of the cache as it has lanes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Const, Expr, substitution, walk
from tedsl.lang.integers import Known, simplify
from tedsl.schedule.loops.ir import Buffer, For, Squares, Stmt, Store, Turned, Vector, block, changed, constant, inside
from tedsl.schedule.loops.positions import Lanes, Positions

from .vector_forms import Cuts, regular, why_none


class Tiles:
    """Finds the loops of one program that can go by squares."""

    def __init__(self, cuts: Cuts, positions: Positions) -> None:
        self.cuts, self.positions = cuts, positions
        self.buffers: dict[tuple[Access, int], Buffer] = {}  # of the squares: reads that are the same share one

    def of(
        self, stmt: For, registers: frozenset[Buffer], known: Known
    ) -> tuple[Squares, For | None, For | None] | None:
        """A loop around a vectorised one by squares: these, the steps left, and the columns left; None for others."""
        inner = stmt.body
        if not (isinstance(inner, For) and inner.kind == "vectorized" and isinstance(inner.body, Store)):
            return None
        if stmt.kind != "serial" or stmt.step != 1 or stmt.pragmas or not regular(inner):
            return None
        accesses = self.across(stmt, inner, registers)
        start, lanes = self.cuts.of(inner, registers)[0]
        extent, width = constant(stmt.extent), cast(int, constant(inner.extent))
        few = extent is not None and extent < lanes
        if not accesses or few or lanes * dtypes.itemsize(inner.body.buffer.dtype) < 16:
            return None
        whole = width // lanes * lanes
        # the steps from which whole squares go on
        around = inside(known, changed(stmt, extent=simplify(stmt.extent - (lanes - 1), known)))
        parts = []
        for first in range(start, start + whole, lanes):
            part = self.turned(stmt, inner, accesses, first, lanes, around, registers)
            if part is None:
                return None
            parts.append(part)
        rest = columns = None
        left = simplify(stmt.extent % lanes, known)
        if constant(left) != 0:
            lo = simplify(stmt.lo + stmt.extent - left, known)
            rest = replace(stmt, lo=lo, extent=left, body=replace(inner, extent=Const(whole)))
        if whole < width:
            columns = replace(stmt, body=replace(inner, lo=Const(start + whole), extent=Const(width - whole)))
        return Squares(stmt, lanes, block(*parts)), rest, columns

    def across(self, stmt: For, inner: For, registers: frozenset[Buffer]) -> list[Access]:
        """What is read along the outer loop while it is written along the inner one; nothing when that is not all that
        happens.
        """
        store = cast(Store, inner.body)
        y, x = stmt.axis, inner.axis
        size = dtypes.itemsize(store.buffer.dtype)
        target = self.positions.of(store.buffer, store.indices)
        if size not in (4, 8) or target.terms.get(x) != 1 or store.buffer in registers:
            return []
        found = []
        for access in dict.fromkeys(n for n in walk(store.value) if isinstance(n, Access)):
            buffer = cast(Buffer, access.tensor)
            if buffer is store.buffer:
                return []
            if buffer in registers or dtypes.itemsize(buffer.dtype) != size:
                continue
            form = self.positions.of(buffer, access.indices)
            if form.terms.get(y) == 1 and form.terms.get(x, 1) != 1:
                found.append(access)
        return found

    def turned(
        self,
        stmt: For,
        inner: For,
        accesses: list[Access],
        first: int,
        lanes: int,
        known: Known,
        registers: frozenset[Buffer],
    ) -> Turned | None:
        """The squares from the column `first` on and what is made of their rows; None when that has no vector form."""
        y, x, store = stmt.axis, inner.axis, cast(Store, inner.body)
        squares = [(self.buffer(access, first, lanes), access) for access in accesses]
        at = Lanes(x, Const(first), lanes, known.with_(ranges={x: (Const(first), lanes)}))
        column, vectors = simplify(x - first), list[Stmt]()
        # of a select it depends on the place whether both sides may be read; all else is the same in each row
        selects = any(isinstance(n, Apply) and n.function == "where" for n in walk(store.value))
        for lane in range(lanes):
            step = substitution({y: simplify(y + lane)})
            indices, value = tuple([step(i) for i in store.indices]), step(store.value)
            moved = Store(store.buffer, indices, value)
            if (selects or lane == 0) and why_none(moved, at, self.positions, registers):
                return None
            rows = {step(a): Access(square, (Const(lane), column)) for square, a in squares}
            vectors.append(Vector(x, Const(first), lanes, Store(store.buffer, indices, _read(value, rows))))
        return Turned(tuple(squares), x, first, lanes, block(*vectors))

    def buffer(self, access: Access, first: int, lanes: int) -> Buffer:
        key = access, first
        if key not in self.buffers:
            self.buffers[key] = Buffer("rows", (lanes, lanes), access.dtype, "square", "temporary")
        return self.buffers[key]


def _read(e: Expr, rows: Mapping[Expr, Expr]) -> Expr:
    """A value with rows of squares in place of what they hold; indices stay as they are."""
    if isinstance(e, Access):
        return rows.get(e, e)
    children = tuple(_read(c, rows) for c in e.children)
    return e if all(a is b for a, b in zip(children, e.children, strict=True)) else e.with_children(children)
