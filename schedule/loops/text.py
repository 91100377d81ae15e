"""Loop nests as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .ir import (
    FENCED,
    Allocate,
    Assert,
    Block,
    Call,
    Carried,
    Fence,
    For,
    If,
    Squares,
    Stmt,
    Store,
    Strip,
    Strips,
    Turned,
    Vector,
    constant,
)

WHERE = {
    "": "",
    "past": ", past the caches",
    "first": ", the first of its lines",
    "next": ", a line with the vector before",
}


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
        text = f"{self.text} {self.after}" if self.after else self.text
        return f"{'  ' * self.depth}{text}{':' if self.sort in ('loop', 'if') else ''}"


def nest_text(stmt: Stmt) -> str:
    """A nest: a line for each loop, temporary and statement."""
    return "\n".join(map(str, lines_of(stmt)))


def lines_of(stmt: Stmt, depth: int = 0) -> Iterator[Line]:
    """The lines of a statement."""
    if isinstance(stmt, Block):
        for s in stmt.stmts:
            yield from lines_of(s, depth)
    elif isinstance(stmt, For):
        for text in stmt.pragmas:
            if text != FENCED:
                yield Line(depth, f"#pragma {text}")
        if stmt.no_vectors:
            yield Line(depth, f"# not vectorized: {stmt.no_vectors}")
        yield Line(depth, _range(stmt), "" if stmt.kind == "serial" else stmt.kind, "loop")
        yield from lines_of(stmt.body, depth + 1)
        if FENCED in stmt.pragmas:
            yield Line(depth + 1, "fence")
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
    else:
        yield from _vector_lines(stmt, depth)


def _vector_lines(stmt: Stmt, depth: int) -> Iterator[Line]:
    """The lines of what a target's passes made of vectorised loops."""
    if isinstance(stmt, Vector):
        text = f"for {stmt.axis!r} in {stmt.base!r} + 0..{stmt.lanes} at once{WHERE[stmt.to]}"
        yield Line(depth, text.replace(" 0 + ", " "), sort="loop")
        yield from lines_of(stmt.body, depth + 1)
    elif isinstance(stmt, Strips):
        yield Line(depth, _range(stmt.loop), "in strips", "loop")
        for strip in stmt.strips:
            yield Line(depth + 1, _strip(strip), sort="loop")
            yield from lines_of(strip.body, depth + 2)
    elif isinstance(stmt, Squares):
        yield Line(depth, _range(stmt.loop), f"in steps of {stmt.lanes}", "loop")
        yield from lines_of(stmt.body, depth + 1)
    elif isinstance(stmt, Turned):
        for square, access in stmt.squares:
            yield Line(depth, f"{square!r} = {access!r}, {stmt.axis!r} from {stmt.first} on, transposed", sort="buffer")
        yield from lines_of(stmt.body, depth)
    elif isinstance(stmt, Carried):
        yield from lines_of(stmt.first, depth)
        yield from lines_of(stmt.rest, depth)
        for row in stmt.rows:
            yield Line(depth, f"{row.store.buffer.name}: the last vector as it is")
    elif isinstance(stmt, Fence):
        yield Line(depth, "fence")


def _range(loop: For) -> str:
    start = "" if constant(loop.lo) == 0 else f"{loop.lo!r} + "
    return f"for {loop.axis!r} in {start}0..{loop.extent!r}{'' if loop.step == 1 else f' step {loop.step}'}"


def _strip(strip: Strip) -> str:
    if strip.sort == "line":
        return "up to a whole line"
    return f"{strip.sort} {strip.lanes} {'is' if strip.lanes == 1 else 'are'} left"
