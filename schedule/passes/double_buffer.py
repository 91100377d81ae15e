"""Double buffering: while one buffer is read, the other is filled for the next step.

    for a in 0..n:                       P: two of them
      P: …                               fill P[0] for step 0
      fill P for step a            →     for a in 0..n:
      … reads P                            if a + 1 < n: fill P[(a + 1) % 2] for step a + 1
                                           … reads P[a % 2]

The loads of the next step stand beside the arithmetic of this one, so that a processor can do both at once. A loop
whose steps run in parallel has no next step and is left as it is, and so is a fill that reads what the loop itself
computes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from tedsl.lang.expr import Access, Const, Expr, apply, rewrite
from tedsl.lang.integers import simplify
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loops.ir import (
    Allocate,
    Block,
    Buffer,
    For,
    If,
    Stmt,
    Store,
    block,
    loads_in,
    map_expressions,
    preorder,
    substitute_axis,
    with_bodies,
)


def double_buffer_pass(root: Stmt) -> Stmt:
    """Give every buffer that asks for it a twin, and fill it one step ahead."""
    stmt = with_bodies(root, tuple(double_buffer_pass(b) for b in root.body_parts))
    return turned(stmt) if isinstance(stmt, For) and stmt.kind == "serial" and stmt.step == 1 else stmt


def turned(loop: For) -> Stmt:
    """A loop with the double buffers of its body taking turns; itself when there are none."""
    single: list[Allocate] = []
    double: list[Buffer] = []
    body = loop.body
    while isinstance(body, Allocate):
        if body.buffer.double and body.buffer.scope != "register":
            double.append(body.buffer)
        else:
            single.append(body)
        body = body.body
    stmts = list(body.stmts) if isinstance(body, Block) else [body]
    own = {a.buffer for a in single}
    steps = set().union(*(_written(s) for s in stmts)) - set(
        double
    )  # what a recurrence computes in a step, the next one reads
    fills: dict[Buffer, list[Stmt]] = {b: [] for b in double}
    rest: list[Stmt] = []
    for stmt in stmts:
        written = _written(stmt)
        target = next((b for b in double if written == {b}), None)
        if target is not None and not rest and not (_read(stmt) - {target}) & (own | set(double) | steps):
            fills[target].append(stmt)
        else:
            rest.append(stmt)
    ready = [b for b in double if fills[b]]
    if not ready:
        return loop
    twins = {
        b: Buffer(
            b.name, (2, *b.shape), b.dtype, b.scope, b.role, b.tensor, None, b.align and (b.align[0] + 1, *b.align[1:])
        )
        for b in ready
    }
    turn = loop.axis - loop.lo
    following: Expr = loop.axis + 1
    made: Stmt = block(*(_placed(s, twins, simplify(turn % 2)) for s in rest))
    for allocation in reversed(single):
        made = replace(allocation, body=made)
    for buffer in double:
        if buffer not in twins:
            made = Allocate(buffer, made)
    ahead = [
        _placed(substitute_axis(s, loop.axis, following), twins, simplify((turn + 1) % 2))
        for b in ready
        for s in fills[b]
    ]
    first = [_placed(substitute_axis(s, loop.axis, loop.lo), twins, Const(0)) for b in ready for s in fills[b]]
    more = apply("less", following, loop.lo + loop.extent)
    result = block(
        If(apply("greater", loop.extent, 0), block(*first)), replace(loop, body=block(If(more, block(*ahead)), made))
    )
    for buffer in ready:
        result = Allocate(twins[buffer], result)
    return result


def _written(stmt: Stmt) -> set[Buffer]:
    inner = {s.buffer for s in preorder(stmt) if isinstance(s, Allocate)}
    return {s.buffer for s in preorder(stmt) if isinstance(s, Store)} - inner


def _read(stmt: Stmt) -> set[Buffer]:
    return {cast(Buffer, a.tensor) for a in loads_in(stmt)}


def _placed(stmt: Stmt, twins: dict[Buffer, Buffer], slot: Expr) -> Stmt:
    """A statement that works on one of each pair of buffers."""

    def rule(node: Expr) -> Expr | None:
        twin = twins.get(cast(Buffer, node.tensor)) if isinstance(node, Access) else None
        return None if twin is None else Access(cast(Tensor, twin), (slot, *cast(Access, node).indices))

    def visit(s: Stmt) -> Stmt:
        s = map_expressions(s, lambda e: rewrite(e, rule))
        if isinstance(s, Store) and s.buffer in twins:
            s = replace(s, buffer=twins[s.buffer], indices=(slot, *s.indices))
        return with_bodies(s, tuple(visit(b) for b in s.body_parts))

    return visit(stmt)
