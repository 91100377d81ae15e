"""The passes over the loop IR, in the order in which they run.

Each is a function of a statement to a statement; `passes()` is the list, with the reason for each place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from tedsl.lang.expr import Const, Expr, substitution
from tedsl.lang.integers import Known, simplify, simplify_indices
from tedsl.schedule.loops.ir import (
    Block,
    For,
    If,
    Stmt,
    block,
    constant,
    inside,
    map_expressions,
    preorder,
    substitute_axis,
    with_bodies,
)

PROOFS = 20_000  # work of all proofs of one lowering (see `limited_effort`), of which most take some hundreds
UNROLL_LIMIT = 4096  # statements that full unrolling may make of one loop nest


def simplify_pass(root: Stmt) -> Stmt:
    """Simplify every index, bound and condition by what is known of the loops around; drop loops that never run and
    tests that always hold.
    """
    return simplify_in(root, Known()) or Block(())


rewritten: dict[Expr, Expr] | None = None  # what `simpler` changed, where someone listens (schedule/trace.py)


def simpler(e: Expr, known: Known) -> Expr:
    """An index or condition in normal form; a value with its indices in normal form."""
    if e.dtype == "int":
        made = simplify(e, known)
    else:
        made = simplify_indices(e, known)
        made = simplify(made, known) if made.dtype == "bool" else made
    if rewritten is not None and made is not e:
        rewritten[e] = made
    return made


def simplify_in(stmt: Stmt, known: Known) -> Stmt | None:
    """`simplify_pass` for a statement that stands where `known` holds; None when nothing is left of it."""
    if isinstance(stmt, If):
        condition = simpler(stmt.condition, known)
        value = constant(condition)
        if value is not None:
            taken = stmt.then if value else stmt.otherwise
            return None if taken is None else simplify_in(taken, known)
        then = simplify_in(stmt.then, known.with_(conditions=(condition,)))
        otherwise = (
            None
            if stmt.otherwise is None
            else simplify_in(stmt.otherwise, known.with_(conditions=(cast(Expr, ~condition),)))
        )
        return (
            None
            if then is None and otherwise is None
            else replace(stmt, condition=condition, then=then or Block(()), otherwise=otherwise)
        )
    stmt = map_expressions(stmt, lambda e: simpler(e, known))
    if isinstance(stmt, For):
        extent = constant(stmt.extent)
        if extent is not None and extent <= 0:
            return None
        if extent == 1:
            return simplify_in(substitute_axis(stmt.body, stmt.axis, stmt.lo), known)
        body = simplify_in(stmt.body, inside(known, stmt))
        return None if body is None else with_bodies(stmt, (body,))
    if isinstance(stmt, Block):
        return block(*(simplify_in(s, known) for s in stmt.stmts)) if stmt.stmts else None
    return with_bodies(stmt, tuple(simplify_in(b, known) or Block(()) for b in stmt.body_parts))


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
        if values:
            stmt = map_expressions(stmt, at_values)
        return with_bodies(stmt, tuple([visit(b, values, at_values) for b in stmt.body_parts]))

    size(root)
    return visit(root, {}, lambda e: e)


Pass = Callable[[Stmt], Stmt]


def passes() -> list[tuple[str, Pass]]:
    """Every pass with its name, in order."""
    from .double_buffer import double_buffer_pass
    from .hoist import invariants_pass
    from .partition import partition_pass
    from .quotient_runs import rest_pass, runs_pass
    from .widen_tails import pad_pass

    return [
        ("double buffer", double_buffer_pass),  # its test is one that cutting takes out of the loop
        ("simplify", simplify_pass),  # bounds must be in normal form to be compared
        ("runs", runs_pass),  # what was a test is a bound, where cutting finds it
        ("partition", partition_pass),  # before unrolling, which needs constant bounds
        ("rest", rest_pass),  # cutting has shown which loops are innermost ones
        ("pad", pad_pass),  # remainders are known now; the loops that it writes out are unrolled
        ("unroll", unroll_pass),
        ("simplify again", simplify_pass),  # what unrolling made constant
        ("invariants", invariants_pass),  # last: it makes variables, through which nothing else looks
    ]
