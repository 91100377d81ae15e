"""Buffers in registers as named local variables, scalars or vectors."""

from __future__ import annotations

from dataclasses import dataclass

from tedsl.lang.integers import Affine


@dataclass(slots=True)
class Locals:
    """The variables of a buffer: (first element, lanes) → name. `wide`: the variable in which each element is kept."""

    names: dict[tuple[int, int], str]
    types: dict[int, str]
    wide: dict[int, tuple[int, int]]

    def scalar(self, offset: Affine) -> str:
        """An element, to read or to write: a variable, or a lane of one."""
        start, lanes = self.wide[offset.constant]
        name = self.names[start, lanes]
        return name if lanes == 1 else f"{name}[{offset.constant - start}]"

    def vector(self, offset: int, lanes: int) -> tuple[str, int, int]:
        """The variable that holds these lanes, how many it has, and which part of it (of as many lanes) they are."""
        start, own = self.wide[offset]
        return self.names[start, own], own, (offset - start) // lanes

    def declarations(self) -> list[str]:
        lines = []
        for lanes in sorted({n for _, n in self.names}, reverse=True):
            own = [name for (_, n), name in self.names.items() if n == lanes]
            for start in range(0, len(own), 8):
                lines.append(f"{self.types[lanes]} {', '.join(own[start : start + 8])};")
        return lines
