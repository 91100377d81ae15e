"""Loops as the text of a language that looks like C. What targets differ in, their printers add: memory, failures,
parallel loops, vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Access, Axis, Const, Expr, Var
from tedsl.lang.integers import Affine, Known, simplify
from tedsl.lang.tensor import Dim
from tedsl.schedule.loops.ir import (
    Allocate,
    Assert,
    Block,
    Buffer,
    Call,
    For,
    If,
    Stmt,
    Store,
    inside,
    strides_of,
)
from tedsl.schedule.loops.positions import Positions
from tedsl.schedule.loops.program import Nest

from .dialect import ATOM, Dialect
from .expressions import Scalars
from .names import Names, comment
from .register_variables import Locals


class Printer:
    """Prints statements into `lines`. It never fails and takes nothing back: what it prints was decided by passes."""

    def __init__(self, nest: Nest, dialect: Dialect) -> None:
        self.nest, self.dialect = nest, dialect
        self.names = Names()
        self.scalars = Scalars(dialect, self.load, self.leaf)
        self.lines: list[str] = []
        self.depth = 1
        self.declared: list[set[Buffer]] = [set()]  # temporaries declared in each open block
        self.known = Known()
        self.locals: dict[Buffer, Locals] = {}  # register buffers kept in named variables
        self.positions = Positions()
        self.places: dict[tuple[Buffer, tuple[Expr, ...]], str] = {}  # texts of elements
        self.statements: dict[type[Stmt], Callable[[Any], None]] = {
            Block: self.block,
            For: self.loop,
            Store: self.store,
            Allocate: self.allocate,
            If: self.condition,
            Assert: self.check,
            Call: self.call,
        }

    # Lines ------------------------------------------------------------------------------------------------------------

    def put(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def open(self, text: str = "") -> None:
        """Begin a block."""
        self.put(f"{text} {{" if text else "{")
        self.depth += 1
        self.declared.append(set())

    def close(self) -> None:
        self.declared.pop()
        self.depth -= 1
        self.put("}")

    # Leaves -----------------------------------------------------------------------------------------------------------

    def leaf(self, e: Expr) -> str:
        assert isinstance(e, (Axis, Var))
        return self.names.of(e, e.name)

    def load(self, access: Access) -> str:
        return self.element(access.tensor, access.indices)  # type: ignore[arg-type]

    def element(self, buffer: Buffer, indices: Sequence[Expr]) -> str:
        if buffer in self.locals:
            return self.locals[buffer].scalar(self.positions.of(buffer, indices))
        if not buffer.shape and buffer.role == "temporary":
            return self.names.of(buffer, buffer.name)
        key = buffer, tuple(indices)
        found = self.places.get(key)
        if found is None:
            offset = self.positions.of(buffer, indices)
            found = self.at(buffer, offset)
            if offset.linear:  # what divides is printed by what is known here
                self.places[key] = found
        return found

    def at(self, buffer: Buffer, offset: Affine) -> str:
        self.scalars.known = self.known
        return f"{self.names.of(buffer, buffer.name)}[{self.scalars.sum(offset)}]"

    def scalar(self, e: Expr) -> str:
        self.scalars.known = self.known
        return self.scalars.text(e)

    # Statements -------------------------------------------------------------------------------------------------------

    def statement(self, stmt: Stmt) -> None:
        printed = self.statements.get(type(stmt))
        if printed is None:
            raise InternalError(f"no {type(self).__name__} prints {stmt!r}")
        printed(stmt)

    def block(self, stmt: Block) -> None:
        for s in stmt.stmts:
            self.statement(s)

    def store(self, stmt: Store) -> None:
        target = self.element(stmt.buffer, stmt.indices)
        self.put(f"{target} = {self.scalar(stmt.value)};")

    def condition(self, stmt: If) -> None:
        known = self.known
        self.open(f"if ({self.scalar(stmt.condition)})")
        self.known = known.with_(conditions=(stmt.condition,))
        self.statement(stmt.then)
        self.known = known
        self.close()
        if stmt.otherwise is not None:
            self.open("else")
            self.statement(stmt.otherwise)
            self.close()

    def call(self, stmt: Call) -> None:
        operands = []
        for e in stmt.operands:
            operands.append(f"&{self.load(e)}" if isinstance(e, Access) else self.scalars.wrap(e, ATOM))
        text = stmt.text.format(*operands)
        self.put(text if text.rstrip().endswith((";", "}")) else f"{text};")

    def loop(self, stmt: For) -> None:
        name, known = self.leaf(stmt.axis), self.known
        lo = self.scalar(stmt.lo)
        end = self.scalar(
            simplify(stmt.lo + stmt.extent * stmt.step if stmt.step != 1 else stmt.lo + stmt.extent, known)
        )
        step = f"{name}++" if stmt.step == 1 else f"{name} += {stmt.step}"
        self.open(f"for (int64_t {name} = {lo}; {name} < {end}; {step})")
        self.lines[-1] += self.note(stmt)
        self.known = inside(known, stmt)
        self.statement(stmt.body)
        self.known = known
        self.close()

    def note(self, stmt: For) -> str:
        """The comment that says where a loop comes from."""
        by = f": {stmt.step_from}" if stmt.step_from else ""
        return f"  /* {comment(stmt.origin + by)} */" if stmt.origin else ""

    def check(self, stmt: Assert) -> None:
        raise NotImplementedError

    # Temporaries ------------------------------------------------------------------------------------------------------

    def allocate(self, stmt: Allocate) -> None:
        buffer = stmt.buffer
        if buffer in self.declared[-1]:  # an unrolled loop declares it once for each iteration
            self.open()
            self.allocate(stmt)
            self.close()
            return
        self.declared[-1].add(buffer)
        name = self.names.of(buffer, buffer.name)
        if not buffer.shape:
            self.put(f"{self.dialect.types[buffer.dtype]} {name};")
        elif stmt.variables is not None:
            self.locals[buffer] = kept = self.variables(buffer, stmt.variables)
            for line in kept.declarations():
                self.put(line)
        else:
            self.memory(stmt, name)
            return
        self.statement(stmt.body)
        self.locals.pop(buffer, None)

    def memory(self, stmt: Allocate, name: str) -> None:
        """Print an array and what is done with it."""
        raise NotImplementedError

    def vector_type(self, dtype: str, lanes: int) -> str:
        raise NotImplementedError

    def variables(self, buffer: Buffer, places: tuple[tuple[int, int], ...]) -> Locals:
        """The variables that hold a buffer."""
        base = self.names.of(buffer, buffer.name)
        names = {place: self.names.of((buffer, place), f"{base}_{place[0]}") for place in places}
        own = self.dialect.types[buffer.dtype]
        types = {n: own if n == 1 else self.vector_type(buffer.dtype, n) for _, n in places}
        return Locals(names, types, {e: (start, n) for start, n in places for e in range(start, start + n)})


def elements(buffer: Buffer) -> Dim:
    """How many elements a temporary has room for."""
    total: Any = 1
    if buffer.strides is None and buffer.align is None:
        for d in buffer.shape:
            total = total * d
    else:
        for d, s in zip(buffer.shape, strides_of(buffer), strict=True):
            total = total + (d - 1) * s
    if isinstance(total, Expr):
        total = simplify(total)
        return int(total.value) if isinstance(total, Const) else total
    return int(total)
