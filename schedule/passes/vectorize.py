"""What becomes of vectorised loops for a target's vectors.

A loop of constant extent is cut into vectors of the machine's width and, for the rest, narrower ones, the last elements
one by one; each is the body with the loop's axis standing for all lanes. A loop of open extent runs in strips of such
lanes. A loop whose body has no vector form becomes a plain one, with the reason in `no_vectors`. Which lines go past
the caches is said by `stream_lines`, which squares are transposed in registers by `transpose_tiles`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from tedsl.hardware import InstructionSet
from tedsl.lang.expr import Axis, Const, Expr
from tedsl.lang.integers import Known, constant_bounds, simplify
from tedsl.schedule.loops.ir import (
    FENCED,
    Allocate,
    Block,
    Buffer,
    Carried,
    Fence,
    For,
    If,
    Row,
    Stmt,
    Strip,
    Strips,
    Vector,
    block,
    changed,
    inside,
    preorder,
    substitute_axis,
    with_bodies,
)
from tedsl.schedule.loops.positions import Lanes, Positions

from . import stream_lines
from .register_variables import RegisterVariables
from .transpose_tiles import Tiles
from .vector_forms import Cuts, regular, why_none

NARROW_LIMIT = 48  # statements up to which a loop of unknown extent is also printed for narrower vectors


def vectorize(
    root: Stmt, facts: InstructionSet, positions: Positions | None = None, shared: set[Buffer] | None = None
) -> Stmt:
    """`root` with vectors in place of vectorised loops. `shared`: buffers that may be others' memory."""
    return _Vectorizer(facts, positions or Positions(), shared or set()).statement(root, _Place())


def plain_loops(root: Stmt, facts: InstructionSet) -> Stmt:
    """`root` with plain loops for those vectorised ones of which there are no vectors: what a cost model counts."""
    if not any(isinstance(s, For) and s.kind == "vectorized" for s in preorder(root)):
        return root
    why = {s.axis: s.no_vectors for s in preorder(vectorize(root, facts)) if isinstance(s, For) and s.no_vectors}

    def visit(stmt: Stmt) -> Stmt:
        stmt = with_bodies(stmt, tuple([visit(b) for b in stmt.body_parts]))
        if isinstance(stmt, For) and stmt.kind == "vectorized" and stmt.axis in why:
            return replace(stmt, kind="serial", no_vectors=why[stmt.axis])
        return stmt

    return visit(root) if why else root


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a statement stands: what is known, which buffers are kept in variables, which vectorised loops write lines
    with the step before (and whether this is the first), and the loops around.
    """

    known: Known = field(default_factory=Known)
    registers: frozenset[Buffer] = frozenset()
    rows: Mapping[For, Row] = field(default_factory=dict)
    first: bool = False
    loops: int = 0
    parallel: bool = False


class _Vectorizer:
    def __init__(self, facts: InstructionSet, positions: Positions, shared: set[Buffer]) -> None:
        self.positions, self.shared = positions, shared
        self.cuts = Cuts(facts)
        self.variables = RegisterVariables(positions, self.cuts)
        self.tiles = Tiles(self.cuts, positions)

    def statement(self, stmt: Stmt, at: _Place) -> Stmt:
        if isinstance(stmt, Block):
            return with_bodies(stmt, tuple([self.statement(s, at) for s in stmt.stmts]))
        if isinstance(stmt, For):
            return self.loop(stmt, at)
        if isinstance(stmt, Allocate):
            return self.allocate(stmt, at)
        if isinstance(stmt, If):
            then = self.statement(stmt.then, replace(at, known=at.known.with_(conditions=(stmt.condition,))))
            return with_bodies(stmt, (then, *[self.statement(s, at) for s in stmt.body_parts[1:]]))
        return stmt

    def allocate(self, stmt: Allocate, at: _Place) -> Stmt:
        """A buffer in registers becomes variables when the loops that would make these vectors all have forms."""
        buffer = stmt.buffer
        at = replace(at, registers=at.registers - {buffer}) if buffer in at.registers else at
        if (
            buffer.shape
            and buffer.scope == "register"
            and self.variables.of(stmt.body, buffer, at.registers) is not None
        ):
            body = self.statement(stmt.body, replace(at, registers=at.registers | {buffer}))
            variables = self.variables.of(body, buffer, at.registers)
            if variables is not None:
                return replace(stmt, body=body, variables=variables)
        return with_bodies(stmt, (self.statement(stmt.body, at),))

    def loop(self, stmt: For, at: _Place) -> Stmt:
        made = self.cut(stmt, at) if stmt.kind == "vectorized" else self.by_squares(stmt, at) or self.by_lines(stmt, at)
        if isinstance(made, str):
            made = self.plain(replace(stmt, kind="serial", no_vectors=made), at)
        elif made is None:
            made = self.plain(stmt, at)
        if not at.loops and stmt.kind != "parallel" and stream_lines.streams(stmt):
            return block(made, Fence())
        return made

    def plain(self, stmt: For, at: _Place) -> For:
        parallel = stmt.kind == "parallel" and not at.parallel
        inner = replace(at, known=inside(at.known, stmt), loops=at.loops + 1, parallel=at.parallel or parallel)
        made = cast(For, with_bodies(stmt, (self.statement(stmt.body, inner),)))
        return replace(made, pragmas=(*made.pragmas, FENCED)) if parallel and stream_lines.streams(stmt) else made

    # Vectors ----------------------------------------------------------------------------------------------------------

    def cut(self, loop: For, at: _Place) -> Stmt | str:
        """A loop as vectors, or why it has none."""
        if loop.step != 1:
            return f"its steps are {loop.step} apart"
        row = at.rows.get(loop)
        past = stream_lines.can_stream(loop, self.positions, at.registers)
        if row is None and (past or not regular(loop)):
            return self.strips(loop, at, past)
        pieces: list[Stmt] = []
        for n, (start, lanes) in enumerate(self.cuts.of(loop, at.registers)):
            to = "" if row is None else "first" if at.first and n == 0 else "next"
            piece = self.vector(loop, Const(start), lanes, at, to, row)
            if isinstance(piece, str):
                return piece
            pieces.append(piece)
        return block(*pieces)

    def vector(
        self, loop: For, start: Expr, lanes: int, at: _Place, to: str = "", row: Row | None = None
    ) -> Stmt | str:
        """The body for the lanes from `start` on, or why it has no form."""
        if lanes == 1:
            return self.statement(substitute_axis(loop.body, loop.axis, start), at)
        lane = Lanes(loop.axis, start, lanes, at.known.with_(ranges={loop.axis: (start, lanes)}))
        why = why_none(loop.body, lane, self.positions, at.registers)
        return why or Vector(loop.axis, start, lanes, loop.body, to, row)

    def strips(self, loop: For, at: _Place, past: bool) -> Stmt | str:
        """A loop whose extent is known at the call: as many whole vectors as fit, then narrower ones, then single
        elements. `past`: single elements up to a whole line first, so that the vectors may be written past the caches.
        """
        first = Axis(f"first {loop.axis.name}")  # the first lane's value, which has the loop's name in C
        inner = replace(at, known=at.known.with_(ranges={first: (loop.lo, loop.extent)}))
        strips: list[Strip] = []
        single = cast(Stmt, self.vector(loop, first, 1, inner))
        if past:
            strips.append(Strip(1, "line", single))
        widest = lanes = self.cuts.width(loop, at.registers)
        most = constant_bounds(loop.extent, at.known)[1]
        while most is not None and lanes > max(most, 1):
            lanes //= 2
        first_width = lanes
        small = sum(1 for _ in preorder(loop.body)) <= NARROW_LIMIT
        while lanes > 1 and (lanes == first_width or (small and lanes >= widest // 4)):
            often = lanes == first_width and (most is None or most >= 2 * lanes)
            body = self.vector(loop, first, lanes, inner, "past" if past and lanes == first_width else "")
            if isinstance(body, str):
                return body
            strips.append(Strip(lanes, "while" if often else "if", body))
            lanes //= 2
        return Strips(loop, first, (*strips, Strip(1, "while", single)))

    def by_squares(self, stmt: For, at: _Place) -> Stmt | None:
        found = self.tiles.of(stmt, at.registers, at.known)
        if found is None:
            return None
        squares, rest, columns = found
        return block(
            squares,
            None if rest is None else self.plain(rest, at),
            None if columns is None else self.loop(columns, at),
        )

    def by_lines(self, stmt: For, at: _Place) -> Stmt | None:
        found = stream_lines.rows(stmt, self.cuts, self.positions, at.registers, at.known, self.shared)
        if not found:
            return None
        inner = replace(at, rows={row.loop: row for row in found}, first=True)
        first = self.plain(changed(stmt, extent=Const(1)), inner)
        met = {s.row for s in preorder(first) if isinstance(s, Vector)}
        rows = tuple(row for row in found if row in met)
        if not rows:
            return None
        second, extent = simplify(stmt.lo + 1, at.known), cast(Const, stmt.extent).value - 1
        rest = self.plain(changed(stmt, lo=second, extent=Const(extent)), replace(inner, first=False))
        return Carried(rows, first, rest)
