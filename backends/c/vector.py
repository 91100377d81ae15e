"""Vectorised loops in C, in GCC's and Clang's vector extensions.

A vectorised loop of constant extent is cut into vectors of the machine's width and, for the rest, narrower ones; each
is printed as its body with the loop's axis standing for all lanes. What depends on the axis becomes a vector,
everything else stays scalar and is broadcast by the operation that needs it. A loop whose body does not fit runs as an
ordinary loop.

    vector.py   loops and statements     vector_values.py   what is computed     vector_masks.py   conditions
    vector_memory.py   where lanes lie   vector_lanes.py    what all of them share
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Axis, Cast, Const, Expr, reads_tensors, substitute, walk
from tedsl.lang.integers import Known, constant_bounds, simplify
from tedsl.schedule.loops.ir import (
    STREAM,
    Allocate,
    Block,
    Buffer,
    For,
    If,
    Stmt,
    Store,
    constant,
    loads,
    preorder,
    substitute_axis,
)

from . import stream
from .vector_lanes import Unfit, mentions
from .vector_values import Values

NARROW_LIMIT = 48  # statements up to which a loop of unknown extent is also printed for narrower vectors


class Vectors(Values):
    """Prints the bodies of vectorised loops as operations on whole vectors."""

    # Which loops, which vectors ---------------------------------------------------------------------------------------

    def width_of(self, loop: For) -> int:
        """Lanes of the machine's vectors, for the widest type that a loop stores or computes in."""
        stores = [s for s in preorder(loop.body) if isinstance(s, Store)]
        kinds = {s.buffer.dtype for s in stores}
        if not any(
            b in self.g.locals
            for s in stores
            for b in (s.buffer, *(n.tensor for n in walk(s.value) if isinstance(n, Access)))
        ):
            # registers are cut by their own type in every loop that has them
            kinds |= {n.dtype for s in stores for n in computed(s.value, loop.axis)}
        return max(self.g.vector_bytes // max((dtypes.itemsize(k) for k in kinds), default=4), 1)

    def chunks(self, loop: For) -> list[tuple[int, int]]:
        """First value and lanes of each vector that a loop is cut into."""
        if loop not in self.cuts:
            self.cuts[loop] = self.cut(loop)
        return self.cuts[loop]

    def cut(self, loop: For) -> list[tuple[int, int]]:
        extent, start = constant(loop.extent), constant(loop.lo)
        assert extent is not None and start is not None
        lanes = self.width_of(loop)
        found = []
        end = start + extent
        while start < end:
            while lanes > end - start:
                lanes //= 2
            found.append((start, lanes))
            start += lanes
        return found

    def regular(self, loop: For) -> bool:
        """Whether a loop can be cut into vectors, as far as its bounds go."""
        return constant(loop.extent) is not None and constant(loop.lo) is not None and loop.step == 1

    def loop(self, loop: For) -> bool:
        """Print `loop` with vectors if that can be done; otherwise print nothing."""
        if loop.step != 1 or self.axis is not None:
            return False
        g = self.g
        state = g.state()
        try:
            past = self.streamable(loop)
            self.row = self.rows.get(id(loop))
            if self.row is not None or (self.regular(loop) and not past):
                for start, lanes in self.chunks(loop):
                    self.body(loop, Const(start), lanes)
            else:
                self.counted(loop, past)
        except Unfit:
            g.undo(state)
            return False
        self.row = None
        return True

    def streamable(self, loop: For) -> bool:
        """Whether a loop is to write past the caches, and can: it fills several lines with the elements of one store,
        one after the other.
        """
        store, g = loop.body, self.g
        if STREAM not in loop.pragmas or not isinstance(store, Store):
            return False
        buffer, extent = store.buffer, constant(loop.extent)
        if buffer.dtype == "bool" or any(reads_tensors(i) for i in store.indices):
            return False
        if any(b in g.locals for b in (buffer, *(cast(Buffer, a.tensor) for a in loads(store.value)))):
            return False
        enough = extent is None or extent * dtypes.itemsize(buffer.dtype) >= 4 * stream.LINE
        return enough and g.offset(buffer, store.indices).terms.get(loop.axis) == 1

    def counted(self, loop: For, past: bool = False) -> None:
        """A loop whose extent is known at the call: as many whole vectors as fit, then narrower ones, then single
        elements. `past`: single elements up to a whole line first, so that the vectors may be written past the caches.
        """
        g = self.g
        name = g.leaf(loop.axis)
        first = Axis(f"{loop.axis.name}\0first")  # the first lane's value, which has the loop's name in C
        g.names.given[first] = name
        known = g.known
        g.known = known.with_(ranges={first: (loop.lo, loop.extent)})
        end = g.scalar(simplify(loop.lo + loop.extent, known))
        g.open()
        g.put(f"int64_t {name} = {g.scalar(loop.lo)};{g.note(loop)}")
        if past:
            store = cast(Store, loop.body)
            at = g.element(store.buffer, [substitute(i, {loop.axis: first}) for i in store.indices])
            g.open(f"for (; {name} < {end} && ((uintptr_t)&{at} & {stream.LINE - 1}); {name}++)")
            self.body(loop, first, 1)
            g.close()
        widest = lanes = self.width_of(loop)
        most = constant_bounds(loop.extent, known)[1]
        while most is not None and lanes > max(most, 1):
            lanes //= 2
        first_width = lanes
        small = sum(1 for _ in preorder(loop.body)) <= NARROW_LIMIT
        while lanes > 1 and (lanes == first_width or (small and lanes >= widest // 4)):
            often = lanes == first_width and (most is None or most >= 2 * lanes)
            g.open(
                f"for (; {name} + {lanes} <= {end}; {name} += {lanes})" if often else f"if ({name} + {lanes} <= {end})"
            )
            self.past = past and lanes == first_width
            self.body(loop, first, lanes)
            self.past = False
            if not often:
                g.put(f"{name} += {lanes};")
            g.close()
            lanes //= 2
        g.open(f"for (; {name} < {end}; {name}++)")
        self.body(loop, first, 1)
        g.close()
        g.close()
        g.known = known

    def body(self, loop: For, start: Expr, lanes: int) -> None:
        """The body for the lanes from `start` on."""
        if lanes == 1:
            self.g.statement(substitute_axis(loop.body, loop.axis, start))
            return
        known = self.g.known
        self.axis, self.base, self.lanes, self.depends = loop.axis, start, lanes, {}
        self.g.known = known.with_(ranges={loop.axis: (start, lanes)})
        try:
            self.statement(loop.body)
        finally:
            self.axis, self.g.known, self.locals = None, known, set()

    def single(self, store: Store, axis: Axis, start: int, lanes: int, known: Known) -> bool:
        """Print one store as one vector of the lanes from `start` on, if that can be done."""
        self.axis, self.base, self.lanes, self.depends = axis, Const(start), lanes, {}
        self.g.known = known.with_(ranges={axis: (start, lanes)})
        try:
            self.store(store)
        except Unfit:
            return False
        finally:
            self.axis, self.g.known = None, known
        return True

    def place(self, buffer: Buffer, indices: Sequence[Expr], lane: For | None) -> list[tuple[int, int]] | None:
        """The constant places (first element, lanes) of an access to a register buffer, one for each vector of the loop
        `lane`.
        """
        form = self.g.offset(buffer, indices)
        if lane is None or lane.axis not in form.terms:
            return None if form.terms else [(form.constant, 1)]
        if len(form.terms) != 1 or form.terms[lane.axis] != 1:
            return None
        return [(form.constant + start, lanes) for start, lanes in self.chunks(lane)]

    # Statements -------------------------------------------------------------------------------------------------------

    def statement(self, stmt: Stmt) -> None:
        if isinstance(stmt, Block):
            for s in stmt.stmts:
                self.statement(s)
        elif isinstance(stmt, Store):
            self.store(stmt)
        elif (
            isinstance(stmt, For)
            and stmt.kind in ("serial", "unrolled")
            and not self.varies(stmt.lo)
            and not self.varies(stmt.extent)
        ):
            self.serial(stmt)
        elif isinstance(stmt, Allocate) and not stmt.buffer.shape:
            if stmt.buffer in self.g.declared[-1]:
                self.g.open()
                self.statement(stmt)
                self.g.close()
                return
            self.g.declared[-1].add(stmt.buffer)
            self.locals.add(stmt.buffer)
            self.depends = {}
            self.g.put(f"{self.of(stmt.buffer.dtype)} {self.g.names.of((stmt.buffer, self.lanes), stmt.buffer.name)};")
            self.statement(stmt.body)
        elif isinstance(stmt, If) and stmt.otherwise is None and not self.varies(stmt.condition):
            self.g.open(f"if ({self.g.scalar(self.fixed(stmt.condition))})")
            self.statement(stmt.then)
            self.g.close()
        else:
            raise Unfit

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
        if buffer in self.locals:
            g.put(f"{g.names.of((buffer, self.lanes), buffer.name)} = {value};")
            return
        try:
            stride, offset = self.address(buffer, stmt.indices)
        except Unfit:
            self.scatter(stmt, value, self.elements(buffer, stmt.indices))
            return
        if buffer in g.locals:
            self.assign(buffer, stride, offset, value)
        elif stride == 1 and self.row is not None:
            stream.put(self.row, self.at(buffer, offset), value, self.lanes, g)
        elif stride == 1 and self.past and (past := stream.store(buffer.dtype, self.lanes, g)) is not None:
            g.put(f"{past}(&{self.at(buffer, offset)}, {value});")
        elif stride == 1:
            g.put(f"*({self.in_memory(buffer, offset)} *)&{self.at(buffer, offset)} = {value};")
        elif stride == 0:
            raise Unfit
        else:
            self.scatter(stmt, value, [self.at(buffer, offset + lane * stride) for lane in range(self.lanes)])

    def scatter(self, stmt: Store, value: str, places: Sequence[str]) -> None:
        """Store the lanes of a value one by one."""
        g = self.g
        temporary = g.names.of((stmt, "lanes"), "lanes")
        g.put(f"{{ {self.of(stmt.buffer.dtype)} {temporary} = {value};")
        for lane, place in enumerate(places):
            g.put(f"  {place} = {temporary}[{lane}];")
        g.put("}")


def computed(value: Expr, axis: Axis) -> Iterator[Expr]:
    """The parts of a value that differ from lane to lane, but for weak numbers and indices."""
    stack = [value]
    while stack:
        e = stack.pop()
        if mentions(e, axis):
            widened = (
                isinstance(e, Cast) and e.dtype == "int64" and e.operand.dtype == "int32"
            )  # to be compared: that is done in 32 bits
            if e.dtype not in dtypes.WEAK and not widened:
                yield e
            if not isinstance(e, Access):
                stack += e.children
