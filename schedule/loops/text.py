"""Loop nests as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .ir import Allocate, Assert, Block, Call, For, If, Stmt, Store, constant


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a nest: its depth, its text, what follows the text on the right (a loop's kind), and what it is (for
    colours).
    """

    depth: int
    text: str
    after: str = ""
    sort: str = "statement"

    def __str__(self) -> str:
        return f"{'  ' * self.depth}{self.text}{' ' if self.after else ''}{self.after}{':' if self.sort in ('loop', 'if') else ''}"


def nest_text(stmt: Stmt) -> str:
    """A nest: a line for each loop, temporary and statement."""
    return "\n".join(map(str, lines_of(stmt)))


def lines_of(stmt: Stmt, depth: int = 0) -> Iterator[Line]:
    """The lines of a statement."""
    if isinstance(stmt, Block):
        for s in stmt.stmts:
            yield from lines_of(s, depth)
    elif isinstance(stmt, For):
        start = "" if constant(stmt.lo) == 0 else f"{stmt.lo!r} + "
        step = "" if stmt.step == 1 else f" step {stmt.step}"
        for text in stmt.pragmas:
            yield Line(depth, f"#pragma {text}")
        yield Line(
            depth,
            f"for {stmt.axis!r} in {start}0..{stmt.extent!r}{step}",
            "" if stmt.kind == "serial" else stmt.kind,
            "loop",
        )
        yield from lines_of(stmt.body, depth + 1)
    elif isinstance(stmt, Store):
        yield Line(depth, f"{stmt.buffer.name}[{', '.join(map(repr, stmt.indices))}] = {stmt.value!r}")
    elif isinstance(stmt, Allocate):
        b = stmt.buffer
        more = f", rows aligned to {b.align[1]}{f' + {b.align[2]}' if b.align[2] else ''}" if b.align else ""
        yield Line(
            depth,
            f"{b.name}: {b.dtype}[{', '.join(map(repr, b.shape))}] in {b.scope}{more}{', double' if b.double else ''}",
            sort="buffer",
        )
        yield from lines_of(stmt.body, depth)
    elif isinstance(stmt, If):
        yield Line(depth, f"if {stmt.condition!r}", sort="if")
        yield from lines_of(stmt.then, depth + 1)
        if stmt.otherwise is not None:
            yield Line(depth, "else:")
            yield from lines_of(stmt.otherwise, depth + 1)
    elif isinstance(stmt, Assert):
        yield Line(depth, f"assert {stmt.condition!r}")
    elif isinstance(stmt, Call):
        yield Line(depth, stmt.text.format(*map(repr, stmt.operands)))
