"""Registers have no addresses: what is kept in them is indexed by constants once loops are unrolled and vectorised."""

from __future__ import annotations

from typing import cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import free_axes
from tedsl.schedule.loops.ir import Allocate, Buffer, For, Stmt, Store, constant, expressions, loads


def check_registers(root: Stmt) -> None:
    """Raise ScheduleError when a loop of constant extent, neither unrolled nor vectorised, indexes a buffer of scope
    "register".

    (A remainder whose extent is known at the call alone runs from memory.)
    """
    _visit(root, frozenset(), ())


def _visit(stmt: Stmt, buffers: frozenset[Buffer], loops: tuple[For, ...]) -> None:
    if isinstance(stmt, Allocate) and stmt.buffer.scope == "register" and stmt.buffer.shape:
        if not stmt.in_memory:
            buffers, loops = buffers | {stmt.buffer}, ()
    elif isinstance(stmt, For) and buffers and stmt.kind == "serial" and constant(stmt.extent) is not None:
        loops = (*loops, stmt)
    if loops:
        used = [(a.tensor.name, a.indices) for a in loads(*expressions(stmt)) if cast(Buffer, a.tensor) in buffers]
        if isinstance(stmt, Store) and stmt.buffer in buffers:
            used.append((stmt.buffer.name, stmt.indices))
        for name, indices in used:
            for loop in loops:
                if any(a is loop.axis for i in indices for a in free_axes(i)):
                    stage, _, axis = loop.origin.rpartition(".")
                    raise ScheduleError(
                        f"{name} is kept in registers, which are named and have no addresses, but the loop "
                        f"{axis or loop.axis!r} of {stage or 'the nest'} (extent "
                        f"{loop.extent!r}) runs over it. Unroll or vectorize that loop "
                        f"(s[{stage!r}].unroll({axis!r})), or keep {name} in the scope 'cache'")  # fmt: skip
    for body in stmt.body_parts:
        _visit(body, buffers, loops)
