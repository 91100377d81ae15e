"""Indices, bounds and conditions in normal form, by what is known of the loops around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from tedsl.lang.expr import Expr
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
    substitute_axis,
    with_bodies,
)

PROOFS = 20_000  # work of all proofs of one lowering (see `limited_effort`), of which most take some hundreds
Heard = Callable[[Expr, Expr], None]  # is told of every expression that is rewritten, and of what it became


def simplify_pass(root: Stmt, heard: Heard | None = None) -> Stmt:
    """Simplify every index, bound and condition by what is known of the loops around; drop loops that never run and
    tests that always hold.
    """
    return simplify_in(root, Known(), heard) or Block(())


def simpler(e: Expr, known: Known, heard: Heard | None = None) -> Expr:
    """An index or condition in normal form; a value with its indices in normal form."""
    if e.dtype == "int":
        made = simplify(e, known)
    else:
        made = simplify_indices(e, known)
        made = simplify(made, known) if made.dtype == "bool" else made
    if heard is not None and made is not e:
        heard(e, made)
    return made


def simplify_in(stmt: Stmt, known: Known, heard: Heard | None = None) -> Stmt | None:
    """`simplify_pass` for a statement that stands where `known` holds; None when nothing is left of it."""
    if isinstance(stmt, If):
        condition = simpler(stmt.condition, known, heard)
        value = constant(condition)
        if value is not None:
            taken = stmt.then if value else stmt.otherwise
            return None if taken is None else simplify_in(taken, known, heard)
        then = simplify_in(stmt.then, known.with_(conditions=(condition,)), heard)
        otherwise = None
        if stmt.otherwise is not None:
            otherwise = simplify_in(stmt.otherwise, known.with_(conditions=(cast(Expr, ~condition),)), heard)
        if then is None and otherwise is None:
            return None
        return replace(stmt, condition=condition, then=then or Block(()), otherwise=otherwise)
    stmt = map_expressions(stmt, lambda e: simpler(e, known, heard))
    if isinstance(stmt, For):
        extent = constant(stmt.extent)
        if extent is not None and extent <= 0:
            return None
        if extent == 1 and not stmt.bound:
            return simplify_in(substitute_axis(stmt.body, stmt.axis, stmt.lo), known, heard)
        body = simplify_in(stmt.body, inside(known, stmt), heard)
        return None if body is None else with_bodies(stmt, (body,))
    if isinstance(stmt, Block):
        return block(*(simplify_in(s, known, heard) for s in stmt.stmts)) if stmt.stmts else None
    return with_bodies(stmt, tuple(simplify_in(b, known, heard) or Block(()) for b in stmt.body_parts))
