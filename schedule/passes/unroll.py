"""Unrolled loops, written out one step after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tedsl.lang.expr import Const, Expr, substitution
from tedsl.schedule.loops.ir import Allocate, Block, For, Stmt, block, constant, map_expressions, preorder, with_bodies

UNROLL_LIMIT = 4096  # statements that full unrolling may make of one loop nest


def has_open_vectors(stmt: Stmt) -> bool:
    """Whether a loop to be unrolled or vectorised, whose extent only the call tells, stands inside: a remainder that
    runs from memory.
    """
    return any(
        isinstance(s, For) and s.kind in ("vectorized", "unrolled") and constant(s.extent) is None
        for s in preorder(stmt)
    )


def unroll_pass(root: Stmt) -> Stmt:
    """Write out the iterations of every unrolled loop of constant extent."""

    written: dict[For, range] = {}  # the loops to write out, with the values of their axes

    def size(stmt: Stmt) -> int:
        """The number of statements that a statement becomes."""
        inner = sum([size(b) for b in stmt.body_parts])
        if isinstance(stmt, For) and stmt.kind == "unrolled":
            extent, lo = constant(stmt.extent), constant(stmt.lo)
            if extent is not None and lo is not None and extent * inner <= UNROLL_LIMIT and not has_open_vectors(stmt):
                written[stmt] = range(lo, lo + extent * stmt.step, stmt.step)
                return extent * inner
        return inner + (not isinstance(stmt, Block))

    def visit(stmt: Stmt, values: dict[Expr, Expr], at_values: Callable[[Expr], Expr]) -> Stmt:
        """`stmt` with the given values of the axes around it: all loops are written out at once, each expression is
        made once.
        """
        if isinstance(stmt, For) and stmt.kind == "unrolled":
            if stmt not in written:
                return visit(replace(stmt, kind="serial"), values, at_values)
            copies = []
            for n in written[stmt]:
                now = {**values, stmt.axis: Const(n)}
                copies.append(visit(stmt.body, now, substitution(now)))
            return block(*copies)
        if isinstance(stmt, Allocate) and stmt.buffer.scope == "register" and has_open_vectors(stmt):
            stmt = replace(stmt, in_memory=True)
        if values:
            stmt = map_expressions(stmt, at_values)
        return with_bodies(stmt, tuple([visit(b, values, at_values) for b in stmt.body_parts]))

    size(root)
    return visit(root, {}, lambda e: e)
