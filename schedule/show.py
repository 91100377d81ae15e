"""Loop nests as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ir import Allocate, Assert, Block, Call, For, If, Stmt, Store, constant

if TYPE_CHECKING:
    from .nest import Nest


def nest_text(nest: Nest) -> str:
    """The nest of a lowered program: a line for each loop, temporary and statement."""
    lines: list[str] = []
    _show(nest.stmt, 0, lines)
    return "\n".join(lines)


def _show(stmt: Stmt, depth: int, lines: list[str]) -> None:
    pad = "  " * depth
    if isinstance(stmt, Block):
        for s in stmt.stmts:
            _show(s, depth, lines)
    elif isinstance(stmt, For):
        start = "" if constant(stmt.lo) == 0 else f"{stmt.lo!r} + "
        step = "" if stmt.step == 1 else f" step {stmt.step}"
        kind = "" if stmt.kind == "serial" else f" {stmt.kind}"
        lines.append(f"{pad}for {stmt.axis!r} in {start}0..{stmt.extent!r}{step}{kind}:")
        _show(stmt.body, depth + 1, lines)
    elif isinstance(stmt, Store):
        lines.append(f"{pad}{stmt.buffer.name}[{', '.join(map(repr, stmt.indices))}] = {stmt.value!r}")
    elif isinstance(stmt, Allocate):
        lines.append(f"{pad}{stmt.buffer.name}: {stmt.buffer.dtype}[{', '.join(map(repr, stmt.buffer.shape))}] in {stmt.buffer.scope}")
        _show(stmt.body, depth, lines)
    elif isinstance(stmt, If):
        lines.append(f"{pad}if {stmt.condition!r}:")
        _show(stmt.then, depth + 1, lines)
        if stmt.otherwise is not None:
            lines.append(f"{pad}else:")
            _show(stmt.otherwise, depth + 1, lines)
    elif isinstance(stmt, Assert):
        lines.append(f"{pad}assert {stmt.condition!r}")
    elif isinstance(stmt, Call):
        lines.append(f"{pad}{stmt.text.format(*map(repr, stmt.operands))}")
