"""Register-scope temporaries as named local variables, scalars or vectors, when every access has a constant place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tedsl.lang.integers import Affine
from tedsl.schedule.ir import Allocate, Buffer, For, Stmt, Store, expressions, loads

if TYPE_CHECKING:
    from .codegen import _Generator

LIMIT = 512  # variables


class NotPromoted(Exception):
    """An access turned out to have no variable: the loop around it runs without vectors after all. The buffer is kept in memory instead."""

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer.name)
        self.buffer = buffer


@dataclass(slots=True)
class Locals:
    """The variables of a buffer: (first element, lanes) → name."""

    buffer: Buffer
    ctype: str
    names: dict[tuple[int, int], str]
    types: dict[int, str]

    def scalar(self, offset: Affine) -> str:
        if offset.terms or (offset.constant, 1) not in self.names:
            raise NotPromoted(self.buffer)
        return self.names[offset.constant, 1]

    def vector(self, offset: int, lanes: int) -> str:
        if (offset, lanes) not in self.names:
            raise NotPromoted(self.buffer)
        return self.names[offset, lanes]

    def declarations(self) -> list[str]:
        lines = []
        for lanes in sorted({n for _, n in self.names}, reverse=True):
            own = [name for (_, n), name in self.names.items() if n == lanes and not name.endswith("]")]
            for start in range(0, len(own), 8):
                lines.append(f"{self.types[lanes]} {', '.join(own[start : start + 8])};")
        return lines


def promoted(stmt: Allocate, generator: _Generator) -> Locals | None:
    """Variables for the buffer of `stmt`, or None when some access has no constant place or two overlap in part."""
    from .scalar import CTYPES

    buffer = stmt.buffer
    places: set[tuple[int, int]] = set()
    if not _collect(stmt.body, buffer, None, generator, places) or len(places) > LIMIT:
        return None
    vectors = sorted(place for place in places if place[1] > 1)
    if vectors and not generator.vectors.has(buffer.dtype):
        return None
    if any(a[0] + a[1] > b[0] for a, b in zip(vectors, vectors[1:], strict=False)):
        return None
    base = generator.names.of(buffer, buffer.name)
    names = {place: generator.names.of((buffer, place), f"{base}_{place[0]}") for place in vectors}
    lanes = {first + n: f"{name}[{n}]" for (first, count), name in names.items() for n in range(count)}
    for place in sorted(places - set(vectors)):  # a scalar of its own, or a lane of a vector
        names[place] = lanes.get(place[0]) or generator.names.of((buffer, place), f"{base}_{place[0]}")
    types = {lanes: CTYPES[buffer.dtype] if lanes == 1 else generator.vectors.type(buffer.dtype, lanes) for _, lanes in places}
    return Locals(buffer, CTYPES[buffer.dtype], names, types)


def _collect(stmt: Stmt, buffer: Buffer, lane: For | None, generator: _Generator, places: set[tuple[int, int]]) -> bool:
    """Note the place of every access to `buffer` below `stmt`; False when one has none."""
    if isinstance(stmt, For) and stmt.kind == "vectorized" and generator.vectors.regular(stmt):
        lane = stmt
    found = [a.indices for a in loads(*expressions(stmt)) if cast(object, a.tensor) is buffer]
    if isinstance(stmt, Store) and stmt.buffer is buffer:
        found.append(stmt.indices)
    for indices in found:
        found_places = generator.vectors.place(buffer, indices, lane)
        if found_places is None:
            return False
        places.update(found_places)
    return all(_collect(s, buffer, lane, generator, places) for s in stmt.body_parts)

