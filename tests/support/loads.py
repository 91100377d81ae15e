"""What a schedule does, counted by doing it: one step of every loop after the other, in plain Python.

The judge of `te.cost`, which adds up formulas over the same loops without running them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, walk
from tedsl.schedule.loops.ir import Allocate, Block, For, If, Stmt, Store
from tedsl.schedule.lowering.inline import inlined
from tedsl.schedule.lowering.lower import lower_state
from tedsl.schedule.primitives.stages import StageTensor, source_of

WHOLE: dict[str, Any] = {
    "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b, "negative": lambda a: -a,
    "floor_divide": lambda a, b: a // b, "remainder": lambda a, b: a % b, "minimum": min, "maximum": max,
    "less": lambda a, b: a < b, "less_equal": lambda a, b: a <= b, "greater": lambda a, b: a > b, "greater_equal": lambda a, b: a >= b,
    "equal": lambda a, b: a == b, "not_equal": lambda a, b: a != b, "logical_and": lambda a, b: a and b, "logical_or": lambda a, b: a or b,
    "bitwise_and": lambda a, b: a & b, "bitwise_or": lambda a, b: a | b, "invert": lambda a: not a,
}  # fmt: skip


@dataclass
class Counts:
    """moves: (tensor, from, to) → elements. stores: by buffer. held: the most elements of temporaries at once, by scope."""

    moves: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stores: Counter[str] = field(default_factory=Counter)
    held: dict[str, int] = field(default_factory=dict)
    operations: int = 0


def counts(schedule: Any) -> Counts:
    """What a schedule without symbolic sizes and factors does. Comparisons, selects, casts and index arithmetic are no operations; of a select inside
    of a value both cases are computed, and the elements of one are needed.
    """
    found = Counts()
    names = {t: name for name, t in schedule.state.tensors().items()}
    inputs = tuple(dict.fromkeys(t for output in schedule.outputs for t in output.inputs))
    now: Counter[str] = Counter()

    def run(stmt: Stmt, at: Mapping[Expr, Any]) -> None:
        if isinstance(stmt, Block):
            for inner in stmt.stmts:
                run(inner, at)
        elif isinstance(stmt, For):
            lo = value(stmt.lo, at)
            for n in range(value(stmt.extent, at)):
                run(stmt.body, {**at, stmt.axis: lo + n * stmt.step})
        elif isinstance(stmt, If):
            if value(stmt.condition, at):
                run(stmt.then, at)
            elif stmt.otherwise is not None:
                run(stmt.otherwise, at)
        elif isinstance(stmt, Allocate):
            size = 1
            for d in stmt.buffer.shape:
                size *= value(d, at) if isinstance(d, Expr) else d
            now[stmt.buffer.scope] += size
            found.held[stmt.buffer.scope] = max(found.held.get(stmt.buffer.scope, 0), now[stmt.buffer.scope])
            run(stmt.body, at)
            now[stmt.buffer.scope] -= size
        elif isinstance(stmt, Store):
            found.stores[stmt.buffer.name] += 1
            taken: dict[Expr, None] = {}
            meet(stmt.value, at, taken)
            copy = isinstance(stmt.value, Access) and is_copy(stmt.buffer.tensor, stmt.value.tensor.tensor)
            for node in taken:
                if isinstance(node, Access):
                    load(node.tensor, stmt.buffer.scope if copy else "register")
            found.operations += sum(
                isinstance(node, Apply) and node.function not in FREE and reads(node)
                for node in walk(chosen(stmt.value, at))
            )
        else:
            for body in stmt.body_parts:
                run(body, at)

    def load(buffer: Any, to: str) -> None:
        if buffer.scope != "register" and buffer.tensor is not None:
            tensor = source_of(buffer.tensor)
            found.moves[names.get(tensor, tensor.name), buffer.scope, to] += 1

    run(lower_state(inlined(schedule.state), inputs).stmt, {})
    return found


FREE = {
    "where", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "bitwise_and", "bitwise_or", "invert",
}  # fmt: skip


def meet(node: Expr, at: Mapping[Expr, Any], taken: dict[Expr, None]) -> None:
    """The nodes that are computed for a value, each once; of a select the case that is taken."""
    if node in taken:
        return
    if isinstance(node, Apply) and node.function == "where" and not reads(node.operands[0]):
        meet(node.operands[1 if value(node.operands[0], at) else 2], at, taken)
        return
    taken[node] = None
    if not isinstance(node, Access):
        for child in node.children:
            meet(child, at, taken)


def chosen(node: Expr, at: Mapping[Expr, Any]) -> Expr:
    """A value without the selects around all of it."""
    while isinstance(node, Apply) and node.function == "where" and not reads(node.operands[0]):
        node = node.operands[1 if value(node.operands[0], at) else 2]
    return node


def reads(e: Expr) -> bool:
    return any(isinstance(n, Access) for n in walk(e))


def is_copy(to: Any, source: Any) -> bool:
    """Whether a store of a single element is a copy that a cache or a write-back makes."""
    return (isinstance(to, StageTensor) and to.source is source) or (
        isinstance(source, StageTensor) and source.source is to
    )


def value(e: Expr, at: Mapping[Expr, Any]) -> Any:
    """A whole number or a truth value."""
    if isinstance(e, Axis):
        return at[e] if e in at else e.lo
    if isinstance(e, Const):
        return e.value
    if isinstance(e, Cast):
        return value(e.operand, at)
    assert isinstance(e, Apply), e
    if e.function == "where":
        return value(e.operands[1 if value(e.operands[0], at) else 2], at)
    return WHOLE[e.function](*(value(c, at) for c in e.operands))
