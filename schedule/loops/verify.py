"""The IR's own rules, checked after the passes (and after each one in the tests)."""

from __future__ import annotations

from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Access, Axis, Expr, Reduce, walk

from .ir import KINDS, Allocate, Buffer, For, Squares, Stmt, Store, Strips, Turned, Vector, expressions


def verify_stmt(stmt: Stmt, buffers: frozenset[Buffer], axes: frozenset[Axis]) -> None:
    """Raise InternalError when loops inside of the loops of `axes`, where `buffers` are allocated, break a rule of the
    IR: every axis used inside its loop, every buffer inside its allocation, indices as many as dimensions, values of
    their buffer's type, no reduction left, no axis bound twice.
    """
    if isinstance(stmt, Turned):  # its axis stands for the lanes, in the accesses that it reads too
        axes = axes | {stmt.axis}
    for e in expressions(stmt):
        _verify_expr(e, buffers, axes)
    if isinstance(stmt, Store):
        _in_scope(stmt.buffer, len(stmt.indices), buffers)
        if stmt.buffer.role == "input":
            raise InternalError(f"loops store to the input {stmt.buffer.name}")
        if stmt.value.dtype != stmt.buffer.dtype:
            raise InternalError(f"loops store {stmt.value.dtype} into {stmt.buffer.name}, which is {stmt.buffer.dtype}")
    elif isinstance(stmt, For):
        if stmt.axis in axes:
            raise InternalError(f"the axis {stmt.axis!r} is bound by two loops inside one another")
        if stmt.kind not in KINDS and not stmt.bound:
            raise InternalError(f"unknown kind of loop {stmt.kind}")
        axes = axes | {stmt.axis}
    elif isinstance(stmt, (Vector, Strips)):
        axes = axes | {stmt.axis}
    elif isinstance(stmt, Squares):
        axes = axes | {stmt.loop.axis}
    elif isinstance(stmt, Turned):
        buffers = buffers | {square for square, _ in stmt.squares}
    elif isinstance(stmt, Allocate):
        for d in stmt.buffer.shape:
            if isinstance(d, Expr):
                _verify_expr(d, buffers, axes)
        buffers = buffers | {stmt.buffer}
    for body in stmt.body_parts:
        verify_stmt(body, buffers, axes)


def _verify_expr(e: Expr, buffers: frozenset[Buffer], axes: frozenset[Axis]) -> None:
    for node in walk(e):
        if isinstance(node, Axis) and node not in axes:
            raise InternalError(f"the axis {node!r} is used outside of its loop, in `{e!r}`")
        if isinstance(node, Access):
            if not isinstance(node.tensor, Buffer):
                raise InternalError(f"`{node!r}` reads a tensor, not a buffer")
            _in_scope(node.tensor, len(node.indices), buffers)
        if isinstance(node, Reduce):
            raise InternalError(f"a reduction is left in the loops: `{node!r}`")


def _in_scope(buffer: Buffer, indices: int, buffers: frozenset[Buffer]) -> None:
    if buffer not in buffers:
        raise InternalError(f"the buffer {buffer.name} is used outside of its allocation")
    if indices != buffer.rank:
        raise InternalError(f"the buffer {buffer.name} has {buffer.rank} dimensions and is used with {indices} indices")
