"""Which buffers in registers become named variables, scalars or vectors: those of which every access has a constant
place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from tedsl.lang.expr import Expr
from tedsl.schedule.loops.ir import Buffer, For, Stmt, Store, Vector, constant, expressions, loads
from tedsl.schedule.loops.positions import Positions

from .vector_forms import Cuts, has_vectors, regular

LIMIT = 512  # variables
Place = tuple[int, int]  # first element, lanes
Uses = Mapping[Buffer, Mapping["tuple[tuple[Expr, ...], For | Vector | None]", None]]


class RegisterVariables:
    """Answers for one program; what stands in a statement is looked up once."""

    def __init__(self, positions: Positions, cuts: Cuts) -> None:
        self.positions, self.cuts = positions, cuts
        self.found: dict[Stmt, Uses] = {}

    def of(self, stmt: Stmt, buffer: Buffer, registers: frozenset[Buffer]) -> tuple[Place, ...] | None:
        """The variables that `buffer` needs below `stmt`, whose vectorised loops are taken to have vector forms; None
        when some access has no constant place or two overlap in part.
        """
        places: set[Place] = set()
        for indices, around in self.uses(stmt).get(buffer, ()):
            found = self.places(buffer, indices, around, registers)
            if found is None:
                return None
            places.update(found)
        if len(places) > LIMIT or (any(n > 1 for _, n in places) and not has_vectors(buffer.dtype)):
            return None
        holders: dict[int, Place] = {}
        # wider ones first: the others are parts of them, or stand apart
        for place in sorted(places, key=lambda p: (-p[1], p[0])):
            start, lanes = place
            holder = holders.get(start)
            if any(holders.get(e) != holder for e in range(start, start + lanes)):
                return None
            if holder is None:
                holders.update(dict.fromkeys(range(start, start + lanes), place))
            elif (start - holder[0]) % lanes:
                return None
        return tuple(sorted(set(holders.values())))

    def places(
        self, buffer: Buffer, indices: tuple[Expr, ...], lanes: For | Vector | None, registers: frozenset[Buffer]
    ) -> list[Place] | None:
        """The constant places of an access, one for each vector of the loop it stands in."""
        form = self.positions.of(buffer, indices)
        if lanes is None or lanes.axis not in form.terms:
            return None if form.terms else [(form.constant, 1)]
        if len(form.terms) != 1 or form.terms[lanes.axis] != 1:
            return None
        if isinstance(lanes, For):
            return [(form.constant + start, n) for start, n in self.cuts.of(lanes, registers)]
        base = constant(lanes.base)
        return None if base is None else [(form.constant + base, lanes.lanes)]

    def uses(self, stmt: Stmt) -> Uses:
        """The accesses to buffers in registers below `stmt`: their indices, and the lanes that they stand in."""
        found = self.found.get(stmt)
        if found is not None:
            return found
        made: dict[Buffer, dict[tuple[tuple[Expr, ...], For | Vector | None], None]] = {}
        accesses = [(cast(Buffer, a.tensor), a.indices) for a in loads(*expressions(stmt))]
        if isinstance(stmt, Store):
            accesses.append((stmt.buffer, stmt.indices))
        for buffer, indices in accesses:
            if buffer.scope == "register":
                made.setdefault(buffer, {})[indices, None] = None
        cut = isinstance(stmt, Vector) or (isinstance(stmt, For) and stmt.kind == "vectorized" and regular(stmt))
        lanes = cast("For | Vector", stmt) if cut else None
        for inner in stmt.body_parts:
            for buffer, uses in self.uses(inner).items():
                here = made.setdefault(buffer, {})
                here.update(uses if lanes is None else {(at, own or lanes): None for at, own in uses})
        self.found[stmt] = made
        return made
