"""Vectors in C, in GCC's and Clang's vector extensions: the statements that the passes made of vectorised loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from tedsl.backends.codegen.names import comment
from tedsl.backends.codegen.printer import Printer
from tedsl.lang import dtypes
from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Const, substitute
from tedsl.lang.integers import Affine, simplify
from tedsl.schedule.loops.ir import (
    Allocate,
    Block,
    Buffer,
    Carried,
    Fence,
    For,
    If,
    Row,
    Squares,
    Stmt,
    Store,
    Strips,
    Turned,
    Vector,
    inside,
)
from tedsl.schedule.loops.positions import Lanes
from tedsl.schedule.passes.vector_forms import LINE

from .vector_expressions import Reads, VectorExpressions
from .vector_helpers import VectorHelpers


class Vectors:
    """Prints vectors through the printer of the statements around them."""

    def __init__(self, printer: Printer) -> None:
        self.g = printer
        self.helpers = VectorHelpers()
        self.reads: Reads = {}
        self.statements: dict[type[Stmt], Callable[[Any], None]] = {
            Vector: self.vector,
            Strips: self.strips,
            Carried: self.carried,
            Squares: self.squares,
            Turned: self.turned,
            Fence: lambda _: self.g.put(self.helpers.fence()),
        }

    def vector(self, stmt: Vector) -> None:
        known = self.g.known
        self.g.known = known.with_(ranges={stmt.axis: (stmt.base, stmt.lanes)})
        at = Lanes(stmt.axis, stmt.base, stmt.lanes, self.g.known)
        VectorBody(self, at, stmt.to, stmt.row).statement(stmt.body)
        self.g.known = known

    def strips(self, stmt: Strips) -> None:
        """A loop in strips of lanes: its variable is moved on by one strip after the other."""
        g, loop, known = self.g, stmt.loop, self.g.known
        name = g.names.given[stmt.axis] = g.leaf(loop.axis)
        end = g.scalar(simplify(loop.lo + loop.extent, known))
        g.open()
        g.put(f"int64_t {name} = {g.scalar(loop.lo)};{g.note(loop)}")
        g.known = known.with_(ranges={stmt.axis: (loop.lo, loop.extent)})
        for strip in stmt.strips:
            left = f"{name} < {end}" if strip.lanes == 1 else f"{name} + {strip.lanes} <= {end}"
            step = f"{name}++" if strip.lanes == 1 else f"{name} += {strip.lanes}"
            if strip.sort == "line":
                first = cast(Store, strip.body)
                left += f" && ((uintptr_t)&{g.element(first.buffer, first.indices)} & {LINE - 1})"
            g.open(f"if ({left})" if strip.sort == "if" else f"for (; {left}; {step})")
            g.statement(strip.body)
            if strip.sort == "if":
                g.put(f"{step};")
            g.close()
        g.close()
        g.known = known

    # Lines ------------------------------------------------------------------------------------------------------------

    def carried(self, stmt: Carried) -> None:
        """A loop whose vectors make whole lines with those of the step before."""
        g = self.g
        g.open()
        variables = len(g.lines)
        for row in stmt.rows:
            self.names(row)
        g.statement(stmt.first)
        g.statement(stmt.rest)
        beginning: list[str] = []
        for row in stmt.rows:
            last, turn, shift = self.names(row)
            dtype, lanes = row.store.buffer.dtype, row.lanes
            size, kind = dtypes.itemsize(dtype), self.helpers.type(dtype, lanes)
            at, end = g.element(row.store.buffer, row.first), g.element(row.store.buffer, row.last)
            whole, turned = self.helpers.integers(dtype, lanes), self.helpers.turn(dtype, lanes)
            beginning += [
                f"{kind} {last};",
                f"const int64_t {shift} = (int64_t)((uintptr_t)&{at} & {lanes * size - 1}) / {size};",
                f"const {whole} {turn} = {turned}({shift});",
            ]
            g.put(f"*({kind}_u *)&{end} = {last};")
        g.lines[variables:variables] = ["    " * g.depth + line for line in beginning]
        g.close()

    def names(self, row: Row) -> tuple[str, str, str]:
        """The variables for the vector before, for what is taken of it and the next one, and for the elements from
        where a whole vector may go to the first one stored.
        """
        last, turn, shift = (self.g.names.of((row.loop, what), what) for what in ("last", "turn", "shift"))
        return last, turn, shift

    def put(self, row: Row, to: str, at: str, value: str) -> None:
        """The store of a row's next vector."""
        dtype, lanes = row.store.buffer.dtype, row.lanes
        last, turn, shift = self.names(row)
        if to == "next":
            self.g.put(f"{self.helpers.next(dtype, lanes)}(&{at}, {shift}, {turn}, &{last}, {value});")
        else:
            self.g.put(f"{last} = {value};")
            self.g.put(f"*({self.helpers.type(dtype, lanes)}_u *)&{at} = {last};")

    # Squares ----------------------------------------------------------------------------------------------------------

    def squares(self, stmt: Squares) -> None:
        g, loop, lanes, known = self.g, stmt.loop, stmt.lanes, self.g.known
        name, end = g.leaf(loop.axis), g.scalar(simplify(loop.lo + loop.extent, known))
        g.open(f"for (int64_t {name} = {g.scalar(loop.lo)}; {name} + {lanes} <= {end}; {name} += {lanes})")
        g.lines[-1] += f"  /* {comment(loop.origin)}, in squares */" if loop.origin else ""
        g.known = inside(known, loop)
        g.statement(stmt.body)
        g.known = known
        g.close()

    def turned(self, stmt: Turned) -> None:
        """The reading and turning of squares, and what is made of them."""
        g = self.g
        g.open()
        for square, access in stmt.squares:
            buffer = cast(Buffer, access.tensor)
            kind, name = self.helpers.type(buffer.dtype, stmt.lanes), g.names.of(square, square.name)
            g.put(f"{kind} {name}[{stmt.lanes}] = {{")
            for row in range(stmt.first, stmt.first + stmt.lanes):
                there = tuple(substitute(i, {stmt.axis: Const(row)}) for i in access.indices)
                g.put(f"    *(const {kind}_u *)&{g.at(buffer, g.positions.of(buffer, there))},")
            g.put("};")
            g.put(f"{self.helpers.transpose(buffer.dtype, stmt.lanes)}({name});")
        g.statement(stmt.body)
        g.close()


class VectorBody:
    """Prints what stands in a vector. `to` and `row` say where its stores go (see `ir.Vector`)."""

    def __init__(self, vectors: Vectors, at: Lanes, to: str, row: Row | None) -> None:
        self.vectors, self.g, self.at, self.to, self.row = vectors, vectors.g, at, to, row
        self.values = VectorExpressions(vectors.g, vectors.helpers, at, vectors.reads)

    def statement(self, stmt: Stmt) -> None:
        g = self.g
        if isinstance(stmt, Block):
            for s in stmt.stmts:
                self.statement(s)
        elif isinstance(stmt, Store):
            self.store(stmt)
        elif isinstance(stmt, For):
            self.loop(stmt)
        elif isinstance(stmt, Allocate):
            self.allocate(stmt)
        elif isinstance(stmt, If):
            g.open(f"if ({g.scalar(self.at.first(stmt.condition))})")
            self.statement(stmt.then)
            g.close()
        else:
            raise InternalError(f"no vector form of {stmt!r}")

    def allocate(self, stmt: Allocate) -> None:
        """A scalar: one for each lane."""
        g, buffer = self.g, stmt.buffer
        if buffer in g.declared[-1]:
            g.open()
            self.allocate(stmt)
            g.close()
            return
        g.declared[-1].add(buffer)
        inner = VectorBody(self.vectors, self.at.with_own(buffer), self.to, self.row)
        g.put(f"{self.values.of(buffer.dtype)} {inner.values.own(buffer)};")
        inner.statement(stmt.body)

    def loop(self, stmt: For) -> None:
        g = self.g
        name = g.leaf(stmt.axis)
        lo, end = g.scalar(stmt.lo), g.scalar(simplify(stmt.lo + stmt.extent * stmt.step, g.known))
        for pragma in stmt.pragmas:
            g.put(f"#pragma {pragma}")
        g.open(f"for (int64_t {name} = {lo}; {name} < {end}; {name} += {stmt.step})")
        known = g.known
        g.known = known.with_(ranges={stmt.axis: (stmt.lo, (stmt.extent - 1) * stmt.step + 1)})
        self.statement(stmt.body)
        g.known = known
        g.close()

    def store(self, stmt: Store) -> None:
        g, buffer, values = self.g, stmt.buffer, self.values
        value = values.vector(stmt.value)
        if buffer.dtype == "bool":  # from a mask to what memory holds
            value = f"(({values.of('bool')})({value}) & 1)"
        if buffer in self.at.own:
            g.put(f"{values.own(buffer)} = {value};")
            return
        place = self.at.place(g.positions, buffer, stmt.indices)
        if place is None:
            self.scatter(stmt, value, values.elements(buffer, stmt.indices))
            return
        stride, offset = place
        if buffer in g.locals:
            self.assign(buffer, offset, value)
        elif stride != 1:
            self.scatter(stmt, value, [g.at(buffer, offset + lane * stride) for lane in range(self.at.lanes)])
        elif self.row is not None:
            self.vectors.put(self.row, self.to, g.at(buffer, offset), value)
        elif self.to and (past := self.vectors.helpers.past(buffer.dtype, self.at.lanes)):
            g.put(f"{past}(&{g.at(buffer, offset)}, {value});")
        else:
            g.put(f"*({values.in_memory(buffer, offset)} *)&{g.at(buffer, offset)} = {value};")

    def assign(self, buffer: Buffer, offset: Affine, value: str) -> None:
        """Store lanes in the variable in which they are kept."""
        name, lanes, part = self.g.locals[buffer].vector(offset.constant, self.at.lanes)
        if lanes != self.at.lanes:
            value = f"{self.vectors.helpers.part('put', buffer.dtype, lanes, part, self.at.lanes)}({name}, {value})"
        self.g.put(f"{name} = {value};")

    def scatter(self, stmt: Store, value: str, places: Sequence[str]) -> None:
        """Store the lanes of a value one by one."""
        g = self.g
        temporary = g.names.of((stmt, "lanes"), "lanes")
        g.put(f"{{ {self.values.of(stmt.buffer.dtype)} {temporary} = {value};")
        for lane, place in enumerate(places):
            g.put(f"  {place} = {temporary}[{lane}];")
        g.put("}")
