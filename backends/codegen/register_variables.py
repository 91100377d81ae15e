"""Register-scope temporaries as named local variables, scalars or vectors, when every access has a constant place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tedsl.lang.expr import Expr
from tedsl.lang.integers import Affine
from tedsl.schedule.loops.ir import Allocate, Buffer, For, Stmt, Store, expressions, loads

if TYPE_CHECKING:
    from tedsl.backends.c.printer import _Generator

LIMIT = 512  # variables
Uses = Mapping[Buffer, Mapping["tuple[tuple[Expr, ...], For | None]", None]]


class NotPromoted(Exception):
    """An access turned out to have no variable: the loop around it runs without vectors after all. The buffer is kept
    in memory instead.
    """

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer.name)
        self.buffer = buffer


@dataclass(slots=True)
class Locals:
    """The variables of a buffer: (first element, lanes) → name. `wide`: the variable in which each element is kept."""

    buffer: Buffer
    ctype: str
    names: dict[tuple[int, int], str]
    types: dict[int, str]
    wide: dict[int, tuple[int, int]]

    def scalar(self, offset: Affine) -> str:
        """An element, to read or to write: a variable, or a lane of one."""
        if offset.terms or offset.constant not in self.wide:
            raise NotPromoted(self.buffer)
        start, lanes = self.wide[offset.constant]
        name = self.names[start, lanes]
        return name if lanes == 1 else f"{name}[{offset.constant - start}]"

    def vector(self, offset: int, lanes: int) -> tuple[str, int, int]:
        """The variable that holds these lanes, how many it has, and which part of it (of as many lanes) they are."""
        start, own = self.wide.get(offset, (0, 0))
        if offset + lanes > start + own:
            raise NotPromoted(self.buffer)
        return self.names[start, own], own, (offset - start) // lanes

    def declarations(self) -> list[str]:
        lines = []
        for lanes in sorted({n for _, n in self.names}, reverse=True):
            own = [name for (_, n), name in self.names.items() if n == lanes and not name.endswith("]")]
            for start in range(0, len(own), 8):
                lines.append(f"{self.types[lanes]} {', '.join(own[start : start + 8])};")
        return lines


def promoted(stmt: Allocate, generator: _Generator) -> Locals | None:
    """Variables for the buffer of `stmt`, or None when some access has no constant place or two overlap in part."""
    from .expressions import CTYPES

    buffer = stmt.buffer
    places: set[tuple[int, int]] = set()
    if not _collect(stmt.body, buffer, generator, places) or len(places) > LIMIT:
        return None
    if any(lanes > 1 for _, lanes in places) and not generator.vectors.has(buffer.dtype):
        return None
    wide: dict[int, tuple[int, int]] = {}
    kept = []
    for place in sorted(
        places, key=lambda p: (-p[1], p[0])
    ):  # wider ones first: the others are parts of them, or stand apart
        start, lanes = place
        holder = wide.get(start)
        if any(wide.get(e) != holder for e in range(start, start + lanes)) or (
            holder is not None and (start - holder[0]) % lanes
        ):
            return None
        if holder is None:
            kept.append(place)
            wide.update(dict.fromkeys(range(start, start + lanes), place))
    base = generator.names.of(buffer, buffer.name)
    names = {place: generator.names.of((buffer, place), f"{base}_{place[0]}") for place in sorted(kept)}
    types = {
        lanes: CTYPES[buffer.dtype] if lanes == 1 else generator.vectors.type(buffer.dtype, lanes) for _, lanes in kept
    }
    return Locals(buffer, CTYPES[buffer.dtype], names, types, wide)


def _collect(stmt: Stmt, buffer: Buffer, generator: _Generator, places: set[tuple[int, int]]) -> bool:
    """Note the place of every access to `buffer` below `stmt`; False when one has none."""
    for indices, lane in _uses(stmt, generator).get(buffer, ()):
        found = generator.vectors.place(buffer, indices, lane)
        if found is None:
            return False
        places.update(found)
    return True


def _uses(stmt: Stmt, generator: _Generator) -> Uses:
    """The accesses to buffers in registers below `stmt`: their indices, and the loop over lanes that they stand in.
    Found once for each statement.
    """
    found = generator.uses.get(stmt)
    if found is not None:
        return found
    made: dict[Buffer, dict[tuple[tuple[Expr, ...], For | None], None]] = {}
    accesses = [(cast(Buffer, a.tensor), a.indices) for a in loads(*expressions(stmt))]
    if isinstance(stmt, Store):
        accesses.append((stmt.buffer, stmt.indices))
    for buffer, indices in accesses:
        if buffer.scope == "register":
            made.setdefault(buffer, {})[indices, None] = None
    lanes = stmt if isinstance(stmt, For) and stmt.kind == "vectorized" and generator.vectors.regular(stmt) else None
    for inner in stmt.body_parts:
        for buffer, uses in _uses(inner, generator).items():
            here = made.setdefault(buffer, {})
            here.update(uses if lanes is None else {(at, lane or lanes): None for at, lane in uses})
    generator.uses[stmt] = made
    return made
