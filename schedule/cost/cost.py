"""The cost model: what a schedule computes, moves and holds, as numbers or, where sizes or tile factors are symbolic,
as SymPy expressions.

It counts over the loops that the schedule is lowered to, so what is inlined is counted at every read, and what is
computed at a loop once for each of its steps. With numbers alone the count is exact, tails and conditions included;
symbolic factors and sizes are taken to divide.

The formulas for matrix multiplication are those of lecture 11 of CMU's course on deep learning systems (10-414/714).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tedsl.lang.dtypes import itemsize
from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Apply, Expr, Var, reads_tensors, walk
from tedsl.lang.integers import conjuncts, negated
from tedsl.lang.program import inputs_of
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loop_tree import Split
from tedsl.schedule.loops.ir import Allocate, Block, Buffer, Call, For, If, Stmt, Store, preorder
from tedsl.schedule.lowering.inline import inlined
from tedsl.schedule.lowering.lower import lower_state
from tedsl.schedule.primitives.stages import StageTensor, source_of
from tedsl.schedule.schedule import Schedule, create_schedule

from .operations import arithmetic
from .result import Cost, total
from .trip_counts import Condition, Link, Trips


def cost(target: Any, machine: Any = None) -> Cost:
    """The cost of a schedule (of a tensor, or several: with the default schedule), without compiling or running
    anything.

    machine: `te.machine()`, for a table that has a predicted time, and what does not fit the registers and caches, too.

    >>> import tedsl as te
    >>> i, j, k = te.axes("i j k")
    >>> A, B, C = te.tensor("A", (64, 32)), te.tensor("B", (48, 32)), te.tensor("C")
    >>> C[i, j] = te.sum(A[i, k] * B[j, k])
    >>> te.cost(C).operations == 2 * 64 * 48 * 32
    True
    >>> te.cost(C).moves["A", "global", "register"] == 64 * 48 * 32
    True
    """
    if machine is not None and not all(hasattr(machine, name) for name in ("peak_gflops", "bandwidth", "l1_bytes")):
        raise ScheduleError(f"machine={machine!r:.80}; te.machine() gives the one that this is, or None")
    schedule = target if isinstance(target, Schedule) else create_schedule(target)
    return replace(_Count(schedule).run(), machine=machine, dtype=schedule.outputs[0].dtype)


def tiles_of(schedule: Schedule) -> dict[str, frozenset[int | str]]:
    """What each tile factor that is a size is a multiple of: the factors that its tiles are split by, which are taken
    to divide it.
    """
    found: dict[str, set[int | str]] = {name: set() for name in schedule.factors}
    for stage in schedule.state.stages:
        splits = [r for r in stage.relations if isinstance(r, Split)]
        whole = {r.inner: r.factor.name for r in splits if isinstance(r.factor, Var)}
        for r in splits:
            by = r.factor.name if isinstance(r.factor, Var) else r.factor
            if r.parent in whole and isinstance(by, (int, str)) and by != whole[r.parent]:
                found[whole[r.parent]].add(by)
    for var in schedule.history.factors:
        found[var.name].add(var.multiple_of)
    return {name: frozenset(of) for name, of in found.items()}


class _Count:
    def __init__(self, schedule: Schedule) -> None:
        self.state = inlined(schedule.state)
        inputs = inputs_of(self.state.outputs)
        self.names = {t: name for name, t in schedule.state.tensors().items()}
        exprs = [
            d
            for t in (*inputs, *(t for s in self.state.stages for t in s.tensors))
            for d in t.shape
            if isinstance(d, Expr)
        ]
        exprs += [e for s in self.state.stages for a in s.roots for e in (a.lo, a.extent) if isinstance(e, Expr)]
        self.symbolic = bool(schedule.factors) or any(isinstance(n, Var) for n in walk(*exprs))
        kept: set[Expr] = {n for n in walk(*exprs) if isinstance(n, Apply) and n.function == "floor_divide"}
        lowered = lower_state(self.state, inputs, symbolic=self.symbolic)
        self.stmt = lowered.stmt
        self.arguments = list(lowered.arguments.values())
        self.trips = Trips(self.symbolic, kept)
        self.least = {v.name: max(1, v.minimum) for v in schedule.history.factors}
        self.multiples = tiles_of(schedule)
        self.operations: Any = 0
        self.moves: dict[tuple[str, str, str], Any] = {}

    def run(self) -> Cost:
        self.visit(self.stmt, ())
        scopes = {b.scope for s in preorder(self.stmt) if isinstance(s, Allocate) for b in (s.buffer,)} | {"global"}
        footprint = {scope: self.held(self.stmt, scope) for scope in sorted(scopes)}
        footprint["global"] = footprint["global"] + total(self.elements(b) for b in self.arguments)
        held = {scope: self.held(self.stmt, scope, True) for scope in sorted(scopes)}
        sizes = {name: itemsize(t.dtype) for t, name in self.names.items()}
        moves = {key: self.trips.tidy(n) for key, n in self.moves.items()}
        registers = self.trips.tidy(footprint.get("register", 0))
        return Cost(
            self.trips.tidy(self.operations),
            moves,
            registers,
            {k: self.trips.tidy(v) for k, v in footprint.items()},
            sizes,
            {k: self.trips.tidy(v) for k, v in held.items()},
            self.least,
            self.multiples,
        )

    def elements(self, buffer: Buffer) -> Any:
        total: Any = 1
        for d in buffer.shape:
            total = total * self.trips.value(d)
        return total

    def held(self, stmt: Stmt, scope: str, in_bytes: bool = False) -> Any:
        """The elements (or bytes) of temporaries in a scope that are held at once."""
        most = self.trips.largest([self.held(b, scope, in_bytes) for b in stmt.body_parts])
        if isinstance(stmt, Allocate) and stmt.buffer.scope == scope:
            return most + self.elements(stmt.buffer) * (itemsize(stmt.buffer.dtype) if in_bytes else 1)
        return most

    # Walking ----------------------------------------------------------------------------------------------------------

    def visit(self, stmt: Stmt, chain: tuple[Link, ...]) -> None:
        if isinstance(stmt, Block):
            pending: list[Store] = []
            for s in stmt.stmts:
                if isinstance(s, Store):
                    pending.append(s)
                    continue
                self.stores(pending, chain)
                pending = []
                self.visit(s, chain)
            self.stores(pending, chain)
        elif isinstance(stmt, Store):
            self.stores([stmt], chain)
        elif isinstance(stmt, Call):
            if stmt.instead_of is not None:
                self.visit(stmt.instead_of, chain)
        elif isinstance(stmt, For):
            self.visit(stmt.body, (*chain, stmt))
        elif isinstance(stmt, If):
            self.visit(stmt.then, (*chain, Condition(stmt.condition)))
            if stmt.otherwise is not None:
                self.visit(stmt.otherwise, (*chain, Condition(negated(stmt.condition))))
        else:
            for body in stmt.body_parts:
                self.visit(body, chain)

    def stores(self, stores: Sequence[Store], chain: tuple[Link, ...]) -> None:
        """Stores that follow each other: what their values have in common is computed once."""
        if not stores:
            return
        extra = sum(s.extra for s in stores)
        if len(stores) == 1:
            self.work(stores[0].value, chain, extra)
        else:
            each = arithmetic([s.value for s in stores]) + extra
            if each:
                self.operations = self.operations + each * self.trips.count(chain)
        for store in stores:
            if isinstance(store.value, Access) and _is_copy(store.buffer.tensor, store.value.tensor):
                self.move(store.value, store.buffer.scope, chain)
            else:
                self.reads(store.value, chain)

    def work(self, value: Expr, chain: tuple[Link, ...], extra: int = 0) -> None:
        """The operations of a value; of a select around all of it, those of each case where it is taken."""
        if isinstance(value, Apply) and value.function == "where" and not reads_tensors(value.operands[0]):
            condition, a, b = value.operands
            self.work(a, (*chain, *(Condition(c) for c in conjuncts(condition))), extra)
            self.work(b, (*chain, *(Condition(c) for c in conjuncts(negated(condition)))), extra)
            return
        each = arithmetic([value]) + extra
        if each:
            self.operations = self.operations + each * self.trips.count(chain)

    def reads(self, value: Expr, chain: tuple[Link, ...]) -> None:
        """The reads of a value, each element once, under the conditions of the selects around it."""
        seen: set[tuple[Expr, tuple[Expr, ...]]] = set()

        def meet(node: Expr, guards: tuple[Expr, ...]) -> None:
            if (node, guards) in seen:
                return
            seen.add((node, guards))
            if isinstance(node, Access):
                self.move(node, "register", (*chain, *map(Condition, guards)))
            if isinstance(node, Apply) and node.function == "where":
                condition, a, b = node.operands
                meet(condition, guards)
                mine = [] if reads_tensors(condition) else conjuncts(condition)
                other = [] if reads_tensors(condition) else conjuncts(negated(condition))
                meet(a, (*guards, *mine))
                meet(b, (*guards, *other))
            else:
                for child in node.children:
                    meet(child, guards)

        meet(value, ())

    def move(self, access: Access, to: str, chain: tuple[Link, ...]) -> None:
        buffer: Any = access.tensor
        if buffer.scope == "register" or buffer.tensor is None:
            return
        tensor = source_of(buffer.tensor)
        key = (self.names.get(tensor, tensor.name), buffer.scope, to)
        self.moves[key] = self.moves.get(key, 0) + self.trips.count(chain)


def _is_copy(to: Tensor | None, buffer: Any) -> bool:
    """Whether a store of one element into another is a copy that a schedule made (rather than an equation of the
    user's).
    """
    source = buffer.tensor
    return (isinstance(to, StageTensor) and to.source is source) or (
        isinstance(source, StageTensor) and source.source is to
    )
