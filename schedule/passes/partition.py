"""Cutting loops so that their main part has no tests.

A loop bound that is a min, a guard, or the condition of a `where`, holds on a range of the values of some enclosing
loop. That loop is cut there: in the main part the test is settled and goes away, the parts before and after keep what
they need. Loops are cut from the outside in, so the main part of the innermost, vectorised or unrolled loops is free of
tests, and their bounds are constant.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import cast

from tedsl.lang.expr import CHOICES, SIZES, Apply, Axis, Const, Expr, free_axes, reads_tensors, walk
from tedsl.lang.functions import apply
from tedsl.lang.integers import Known, conjuncts, constant_bounds, effort_left, prove, simplify, solve, upper
from tedsl.schedule.loops.ir import (
    Call,
    For,
    If,
    Stmt,
    block,
    constant,
    expressions,
    inside,
    preorder,
    substitute_axis,
    with_bodies,
)

from .simplify import PROOFS, Heard, simplify_in

LIMIT = 6000  # statements that cutting may make of one nest
DEPTH = 3  # how often pieces of a loop are cut again when its bounds are no numbers: they need not become simpler
CUTS = 64  # how many loops of such bounds are looked at in a nest: each cut multiplies what it holds, and takes proofs


def partition_pass(root: Stmt, heard: Heard | None = None) -> Stmt:
    """Cut loops at the places where tests inside of them begin and cease to hold."""
    return cut(root, Known(), heard)


def cut(stmt: Stmt, known: Known, heard: Heard | None = None) -> Stmt:
    """`partition_pass` for a statement that stands where `known` holds."""
    return _Partition(max(LIMIT, 4 * _size(stmt)), heard).visit(stmt, known)


class _Partition:
    def __init__(self, budget: int, heard: Heard | None) -> None:
        self.budget, self.heard = budget, heard
        self.cuts = CUTS

    def simpler(self, stmt: Stmt, known: Known) -> Stmt:
        return simplify_in(stmt, known, self.heard) or block()

    def visit(self, stmt: Stmt, known: Known) -> Stmt:
        if isinstance(stmt, For) and stmt.step == 1 and not stmt.bound:
            return self.loop(stmt, known)
        if isinstance(stmt, For):
            return with_bodies(stmt, (self.visit(stmt.body, inside(known, stmt)),))
        if isinstance(stmt, If):
            then = self.visit(stmt.then, known.with_(conditions=(stmt.condition,)))
            return with_bodies(stmt, (then, *(self.visit(b, known) for b in stmt.body_parts[1:])))
        return with_bodies(stmt, tuple(self.visit(b, known) for b in stmt.body_parts))

    def loop(self, stmt: For, known: Known, depth: int = 0) -> Stmt:
        if stmt.kind in ("vectorized", "unrolled") and constant(stmt.extent) is None:
            least, most = constant_bounds(stmt.extent, known)  # of the last tile there may be one size only
            if least is not None and least == most:
                return self.visit(self.simpler(replace(stmt, extent=Const(least)), known), known)
        fixed = constant(stmt.lo) is not None and constant(stmt.extent) is not None
        worth = fixed or (depth < DEPTH and self.cuts > 0 and effort_left() > PROOFS // 2)
        pieces = self.cut(stmt, known) if worth else None
        self.cuts -= not fixed
        if pieces is None:
            return with_bodies(stmt, (self.visit(stmt.body, inside(known, stmt)),))
        if stmt.kind == "parallel":
            return self.shared(stmt, pieces, known)
        return block(
            *(
                self.loop(p, known, depth + 1) if isinstance(p, For) and p.axis is stmt.axis else self.visit(p, known)
                for p in pieces
            )
        )

    def shared(self, stmt: For, pieces: list[Stmt], known: Known) -> Stmt:
        """The pieces of a parallel loop as alternatives in one loop: one loop after the other would have threads wait
        for each other.
        """
        body: Stmt | None = None
        for piece in reversed(pieces):
            assert isinstance(piece, For)
            here = inside(known, piece)
            made = self.visit(piece.body, here)
            if constant(piece.extent) == 1:
                made = self.simpler(substitute_axis(made, stmt.axis, piece.lo), known)
            end = simplify(piece.lo + piece.extent, known)
            body = made if body is None else If(apply("less", stmt.axis, end), made, body, added=False)
        assert body is not None
        return replace(stmt, body=body)

    def cut(self, stmt: For, known: Known) -> list[Stmt] | None:
        """The pieces of a loop, simplified; None when there is nothing to cut, or no room for it."""
        size = _size(stmt.body)
        if size > self.budget:
            return None
        inner = inside(known, stmt)
        lo: Expr = stmt.lo
        end = simplify(stmt.lo + stmt.extent, known)
        first, last = lo, end
        settled: list[Expr] = []  # what holds in the main part, by construction
        for alternatives, below in _conditions(stmt.body, stmt.axis, inner):
            span = next(
                (found for c in alternatives if (found := _always(c, stmt.axis, below, inner)) is not None), None
            )
            if span is None:
                continue
            start, stop = (simplify(apply("minimum", apply("maximum", e, lo), end), known) for e in span)
            if prove(start >= stop, known):
                continue
            next_first, next_last = (
                simplify(apply("maximum", first, start), known),
                simplify(apply("minimum", last, stop), known),
            )
            if prove(next_first >= next_last, known):  # no common main part: keep the one that is there
                continue
            first, last = next_first, next_last
            settled += [apply("greater_equal", stmt.axis, span[0]), apply("less", stmt.axis, span[1])]
        if first is lo and last is end:
            return None
        if not prove(first <= last, known):  # the part behind an empty main part begins where the part before it ends
            last = simplify(apply("maximum", first, last), known)
        # a piece that may turn out empty has an extent of at least 0
        bounds = [lo, first, last, end]
        pieces: list[Stmt] = []
        for n, (a, b) in enumerate(pairwise(bounds)):
            extent = simplify(b - a, known)
            if not prove(extent >= 0, known):
                extent = simplify(apply("maximum", extent, 0), known)
            if constant(extent) == 0:
                continue
            cut = replace(stmt, lo=a, extent=extent)
            if n == 1:
                cut = replace(cut, body=self.simpler(cut.body, inside(known.with_(conditions=settled), cut)))
            if stmt.kind == "parallel":  # stays a loop, even of one step
                pieces.append(replace(cut, body=self.simpler(cut.body, inside(known, cut))))
                continue
            piece = simplify_in(cut, known, self.heard)
            if piece is not None:
                pieces.append(piece)
        if len(pieces) < 2:
            return None
        self.budget -= size * (len(pieces) - 1)
        return pieces


def _size(stmt: Stmt) -> int:
    return sum(1 for _ in preorder(stmt))


def _conditions(body: Stmt, axis: Axis, known: Known) -> list[tuple[tuple[Expr, ...], Known]]:
    """Everything inside of the loop `axis` that would be simpler if it were settled, as conditions (any one of
    several), with what is known where it stands.

    A loop of tiles may well run up to a min: it is no reason to write everything in it twice. What depends on such a
    loop is settled by cutting that one, so that a block that is cut short has the same code as the others.
    """
    found: list[tuple[tuple[Expr, ...], Known]] = []
    tied: set[Axis] = set()  # loops of tiles, of which as many run as `axis` leaves

    def collect(e: Expr, here: Known) -> None:
        if not e.has & CHOICES:
            return
        for node in walk(e):
            if isinstance(node, Apply) and node.function in ("minimum", "maximum") and node.dtype == "int":
                # the main part is where a bound is constant (a whole tile), or follows the loop (an interior)
                a, b = node.operands
                if (constant(b) is not None) == (node.function == "minimum"):
                    a, b = b, a
                # one of the two holds
                relation = ("less_equal", "less") if node.function == "minimum" else ("greater_equal", "greater")
                found.append(((apply(relation[0], a, b), apply(relation[1], b, a)), here))
            elif isinstance(node, Apply) and node.function == "where":
                found.extend(((c,), here) for c in _affine(node.operands[0]))

    def visit(stmt: Stmt, here: Known) -> None:
        if isinstance(stmt, For) and _of_tiles(stmt):
            if any(a is axis or a in tied for a in free_axes(stmt.extent)):
                tied.add(stmt.axis)
            collect(stmt.lo, here)
        elif not isinstance(stmt, Call):  # a prefetch is not worth a cut
            for e in expressions(stmt):
                collect(e, here)
        if isinstance(stmt, For) and stmt.kind in ("vectorized", "unrolled"):
            if constant(stmt.extent) is None and not stmt.extent.has & SIZES:
                # tiles in tiles may lie behind the end whole
                found.append(((apply("greater_equal", stmt.extent, 1),), here))
        if isinstance(stmt, If):
            found.extend(((c,), here) for c in _affine(stmt.condition))
            here = here.with_(conditions=(stmt.condition,))
        elif isinstance(stmt, For):
            here = inside(here, stmt)
        for b in stmt.body_parts:
            visit(b, here)

    visit(body, known)
    unique = {(c, id(k)): (c, k) for c, k in found}.values()
    return [(c, k) for c, k in unique if not any(a in tied for e in c for a in free_axes(e))]


def _of_tiles(loop: For) -> bool:
    """Whether a loop is a plain one around others."""
    return loop.kind in ("serial", "parallel") and any(isinstance(s, For) for s in preorder(loop.body))


def _affine(condition: Expr) -> list[Expr]:
    """The conjuncts of a condition that speak of indices only."""
    return [c for c in conjuncts(condition) if not reads_tensors(c)]


def _always(condition: Expr, axis: Axis, known: Known, outer: Known) -> tuple[Expr, Expr] | None:
    """The range of `axis` on which a condition holds whatever the loops further in do; None when there is none to be
    found.
    """
    lo: Expr | None = None
    hi: Expr | None = None
    for part in conjuncts(simplify(condition, known)):
        if not isinstance(part, Apply) or part.function not in (
            "less",
            "less_equal",
            "greater",
            "greater_equal",
            "equal",
        ):
            if constant(part) == 1:
                continue
            return None
        if any(a is not axis and a in known.ranges and a not in outer.ranges for a in free_axes(part)):
            # the ends of their ranges may speak of others
            inner = [a for a in known.ranges if a is not axis and a not in outer.ranges]
            a, b = part.operands
            if part.function in ("greater", "greater_equal"):
                a, b = b, a
            if part.function == "equal":
                return None
            bound = upper(cast(Expr, a - b), inner, known)  # a <= b for all of them: the largest a - b is at most 0
            if bound is None:
                return None
            part = apply("less" if part.function in ("less", "greater") else "less_equal", bound, 0)
        if not any(a is axis for a in free_axes(part)):
            if prove(part, outer):
                continue
            return None
        solution = solve(part, axis, outer)
        if solution is None or solution.rest is not None or solution.step != 1:
            return None
        lo = solution.lo if lo is None else simplify(apply("maximum", lo, solution.lo), outer)
        hi = solution.hi if hi is None else simplify(apply("minimum", hi, solution.hi), outer)
    return None if lo is None or hi is None else (lo, hi)
