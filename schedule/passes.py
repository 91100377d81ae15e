"""The passes over the loop IR, in the order in which they run.

Each is a function of a statement to a statement; `PASSES` is the list, with the reason for each place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from tedsl.lang.expr import Expr
from tedsl.lang.integers import Known, simplify, simplify_indices

from .ir import Block, For, If, Stmt, block, constant, inside, map_expressions, preorder, substitute_axis, with_bodies

UNROLL_LIMIT = 4096  # statements that full unrolling may make of one loop nest


def simplify_pass(root: Stmt) -> Stmt:
    """Simplify every index, bound and condition by what is known of the loops around; drop loops that never run and tests that always hold."""

    def visit(stmt: Stmt, known: Known) -> Stmt | None:
        if isinstance(stmt, If):
            condition = simplify_indices(stmt.condition, known)
            value = constant(condition)
            if value is not None:
                taken = stmt.then if value else stmt.otherwise
                return None if taken is None else visit(taken, known)
            then = visit(stmt.then, known.with_(conditions=(condition,)))
            otherwise = None if stmt.otherwise is None else visit(stmt.otherwise, known.with_(conditions=(cast(Expr, ~condition),)))
            return None if then is None and otherwise is None else replace(stmt, condition=condition, then=then or Block(()), otherwise=otherwise)
        stmt = map_expressions(stmt, lambda e: simplify_indices(e, known))
        if isinstance(stmt, For):
            extent = constant(stmt.extent)
            if extent is not None and extent <= 0:
                return None
            if extent == 1:
                return visit(substitute_axis(stmt.body, stmt.axis, stmt.lo), known)
            body = visit(stmt.body, inside(known, stmt))
            return None if body is None else with_bodies(stmt, (body,))
        if isinstance(stmt, Block):
            return block(*(visit(s, known) for s in stmt.stmts)) if stmt.stmts else None
        bodies = tuple(visit(b, known) or Block(()) for b in stmt.body_parts)
        return with_bodies(stmt, bodies)

    return visit(root, Known()) or Block(())


def unroll_pass(root: Stmt) -> Stmt:
    """Write out the iterations of every unrolled loop of constant extent."""

    def visit(stmt: Stmt) -> Stmt:
        stmt = with_bodies(stmt, tuple(visit(b) for b in stmt.body_parts))
        if isinstance(stmt, For) and stmt.kind == "unrolled":
            extent, lo = constant(stmt.extent), constant(stmt.lo)
            size = sum(1 for _ in preorder(stmt.body))
            if extent is not None and lo is not None and extent * size <= UNROLL_LIMIT:
                return block(*(substitute_axis(stmt.body, stmt.axis, simplify(stmt.lo + n * stmt.step)) for n in range(extent)))
            return replace(stmt, kind="serial")
        return stmt

    return visit(root)


Pass = Callable[[Stmt], Stmt]
PASSES: list[tuple[str, Pass]] = [
    ("simplify", simplify_pass),
    ("unroll", unroll_pass),
    ("simplify again", simplify_pass),  # what unrolling made constant
]
