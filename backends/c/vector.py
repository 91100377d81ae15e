"""Vectors in C, in GCC's and Clang's vector extensions: what depends on the loop's axis becomes a vector, everything
else stays scalar and is broadcast by the operation that needs it.

    vector.py   statements              vector_values.py   what is computed     vector_masks.py   conditions
    vector_memory.py   where lanes lie  vector_lanes.py    what all of them share
"""

from __future__ import annotations

from collections.abc import Sequence

from tedsl.lang.errors import InternalError
from tedsl.lang.integers import simplify
from tedsl.schedule.loops.ir import Allocate, Block, For, If, Stmt, Store, Vector
from tedsl.schedule.loops.positions import Lanes

from . import stream
from .vector_values import Values


class Vectors(Values):
    """Prints the bodies of vectorised loops as operations on whole vectors."""

    def print(self, stmt: Vector) -> None:
        known = self.g.known
        self.g.known = known.with_(ranges={stmt.axis: (stmt.base, stmt.lanes)})
        self.at = Lanes(stmt.axis, stmt.base, stmt.lanes, self.g.known)
        self.to, self.row = stmt.to, stmt.row
        self.statement(stmt.body)
        self.g.known = known

    def statement(self, stmt: Stmt) -> None:
        if isinstance(stmt, Block):
            for s in stmt.stmts:
                self.statement(s)
        elif isinstance(stmt, Store):
            self.store(stmt)
        elif isinstance(stmt, For):
            self.serial(stmt)
        elif isinstance(stmt, Allocate):
            if stmt.buffer in self.g.declared[-1]:
                self.g.open()
                self.statement(stmt)
                self.g.close()
                return
            self.g.declared[-1].add(stmt.buffer)
            self.at = self.at.with_own(stmt.buffer)
            self.g.put(f"{self.of(stmt.buffer.dtype)} {self.g.names.of((stmt.buffer, self.lanes), stmt.buffer.name)};")
            self.statement(stmt.body)
        elif isinstance(stmt, If):
            self.g.open(f"if ({self.g.scalar(self.fixed(stmt.condition))})")
            self.statement(stmt.then)
            self.g.close()
        else:
            raise InternalError(f"no vector form of {stmt!r}")

    def serial(self, stmt: For) -> None:
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
        g, buffer = self.g, stmt.buffer
        value = self.vector(stmt.value)
        if buffer.dtype == "bool":  # from a mask to what memory holds
            value = f"(({self.of('bool')})({value}) & 1)"
        if buffer in self.at.own:
            g.put(f"{g.names.of((buffer, self.lanes), buffer.name)} = {value};")
            return
        place = self.at.place(g.positions, buffer, stmt.indices)
        if place is None:
            self.scatter(stmt, value, self.elements(buffer, stmt.indices))
            return
        stride, offset = place
        if buffer in g.locals:
            self.assign(buffer, offset, value)
        elif stride == 1 and self.row is not None:
            stream.put(self.row, self.to, g.at(buffer, offset), value, g)
        elif stride == 1 and self.to and (past := stream.store(buffer.dtype, self.lanes, g)) is not None:
            g.put(f"{past}(&{g.at(buffer, offset)}, {value});")
        elif stride == 1:
            g.put(f"*({self.in_memory(buffer, offset)} *)&{g.at(buffer, offset)} = {value};")
        else:
            self.scatter(stmt, value, [g.at(buffer, offset + lane * stride) for lane in range(self.lanes)])

    def scatter(self, stmt: Store, value: str, places: Sequence[str]) -> None:
        """Store the lanes of a value one by one."""
        g = self.g
        temporary = g.names.of((stmt, "lanes"), "lanes")
        g.put(f"{{ {self.of(stmt.buffer.dtype)} {temporary} = {value};")
        for lane, place in enumerate(places):
            g.put(f"  {place} = {temporary}[{lane}];")
        g.put("}")
