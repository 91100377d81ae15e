"""What a model says of a schedule before it is measured: seconds, and whether it can fit.

The loops that are left after lowering are walked. Each run of statements between them (a region) costs the most of:
arithmetic at the core's peak, loads and stores at two and one a cycle, the latency of a sum that waits for itself. What
it touches is followed outwards to the loop at which it no longer fits a cache; what is read again beyond that comes
from the next level, at that level's bandwidth. The counts of `te.cost` go with it as the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tedsl.hardware import instruction_set, registers
from tedsl.lang.dtypes import is_float, itemsize
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, reads_tensors, walk
from tedsl.schedule.loops.ir import Allocate, Block, Buffer, For, If, Stmt, Store
from tedsl.schedule.loops.program import Nest
from tedsl.schedule.passes.vectorize import plain_loops
from tedsl.schedule.schedule import Schedule

from .cost import cost

LINE = 64  # bytes
LATENCY = 8.0  # of a multiply-add, in vector operations that could have been issued meanwhile
THROUGH_MEMORY = 20.0  # the same for a sum that is stored and loaded again
SLOW = {"divide": 8.0, "sqrt": 8.0, "power": 40.0, "floor_divide": 20.0, "remainder": 20.0}
CALLS = 15.0  # exp, log, tanh …
CHEAP = set(
    "add subtract multiply maximum minimum negative absolute where less less_equal greater greater_equal equal "
    "not_equal bitwise_and bitwise_or bitwise_xor invert left_shift right_shift logical_and logical_or".split()
)


def predict(schedule: Schedule, nest: Nest, machine: Callable[[], Any]) -> tuple[float | None, str, dict[str, Any]]:
    """Predicted seconds on the machine that `machine()` describes (`te.machine`) (None: not known), why it cannot fit
    ("": it can), and the terms. Never raises: a candidate is not turned down because the model does not know it.
    """
    why: dict[str, Any] = {"dtype": nest.outputs[0].dtype}
    try:
        counted = cost(schedule)
        why["operations"] = int(counted.operations)
        why["elements in registers"] = int(counted.registers)
        if "cache" in counted.footprint:
            why["elements in cache"] = int(counted.footprint["cache"])
    except Exception as e:
        why["not counted"] = type(e).__name__
    try:
        found = Model(machine()).seconds(plain_loops(nest.stmt, instruction_set()))
        return found.seconds, found.misfit, why | found.terms
    except Exception as e:
        why["not predicted"] = type(e).__name__
        return None, "", why


@dataclass
class _Prediction:
    seconds: float
    misfit: str
    terms: dict[str, Any]


@dataclass(frozen=True)
class _Level:
    size: int
    bandwidth: float  # of what lies behind it


class Model:
    def __init__(self, machine: Any) -> None:
        self.bytes = machine.vector_bytes
        self.registers = registers(machine.vector_bytes)
        self.peak = machine.peak_gflops
        self.cores = machine.cores
        bandwidth = machine.bandwidth
        self.levels = [_Level(machine.l1_bytes, bandwidth["l2"]), _Level(machine.l2_bytes, bandwidth["l3"])]
        if machine.l3_bytes:
            self.levels.append(_Level(machine.l3_bytes, bandwidth["dram"]))
        self.held: list[Buffer] = []
        self.misfit = ""
        self.total = 0.0
        self.terms: dict[str, Any] = {"vector registers": 0, "vector operations": 0.0, "loads": 0.0, "stores": 0.0}
        self.terms |= {"time in the core": 0.0, "time for memory": 0.0}

    def seconds(self, stmt: Stmt) -> _Prediction:
        self.visit(stmt, ())
        return _Prediction(self.total, self.misfit, self.terms)

    def visit(self, stmt: Stmt, loops: tuple[For, ...]) -> None:
        if isinstance(stmt, Block):
            region: list[tuple[Store, For | None]] = []
            for s in stmt.stmts:
                inner = _straight(s)
                if inner is not None:
                    region += inner
                    continue
                self.region(region, loops)
                region = []
                self.visit(s, loops)
            self.region(region, loops)
            return
        inner = _straight(stmt)
        if inner is not None:
            self.region(inner, loops)
        elif isinstance(stmt, For):
            self.visit(stmt.body, (*loops, stmt))
        elif isinstance(stmt, Allocate):
            if stmt.buffer.scope == "register":
                self.held.append(stmt.buffer)
            self.visit(stmt.body, loops)
            if stmt.buffer.scope == "register":
                self.held.pop()
        elif isinstance(stmt, If):
            self.visit(stmt.then, loops)
        else:
            for body in stmt.body_parts:
                self.visit(body, loops)

    def region(self, stores: Sequence[tuple[Store, For | None]], loops: tuple[For, ...]) -> None:
        """Statements without loops among them (but vectorised ones), in `loops`, outermost first."""
        if not stores:
            return
        trips = 1.0
        for loop in loops:
            trips *= _extent(loop)
        threads = self.cores if any(loop.kind == "parallel" for loop in loops) else 1
        kind = stores[0][0].buffer.dtype
        width = max(1, self.bytes // itemsize(kind))
        peak = self.peak.get(kind, self.peak["float32"]) * 1e9 if is_float(kind) else self.peak["float32"] * 1e9
        each = 2.0 * width / peak  # seconds of one vector operation
        auto = _vectorised_by_the_compiler(stores, loops)
        arithmetic = loads = writes = latency = 0.0
        seen: set[tuple[Expr, int]] = set()
        for store, vector in stores:
            lanes = 1 if vector is None else _extent(vector)
            vectors = math.ceil(lanes / width)
            axis = None if vector is None else vector.axis
            share = 1.0 / width if auto else 1.0
            done: set[Expr] = set()
            arithmetic += _operations(store.value, done) * vectors * share
            itself = False
            for node in walk(store.value):
                if not isinstance(node, Access):
                    continue
                buffer: Any = node.tensor
                if buffer is store.buffer and all(a is b for a, b in zip(node.indices, store.indices)):
                    itself = True
                if buffer.scope == "register" or (node, lanes) in seen:
                    continue
                seen.add((node, lanes))
                loads += _accesses(node.indices, axis, lanes, vectors) * share
            if itself:
                latency = max(latency, LATENCY if store.buffer.scope == "register" else THROUGH_MEMORY)
            if store.buffer.scope != "register":
                writes += _accesses(store.indices, axis, lanes, vectors) * share
        if auto:
            latency = 0.0
        held = sum(_vectors(b, width) for b in self.held)
        spilled = max(0, held - (self.registers - 3)) if latency else 0
        if spilled and held > 2 * self.registers and not self.misfit:
            self.misfit = f"its register tile needs {held} vector registers of {self.registers}"
        compute = max(arithmetic, loads + spilled, 2 * (writes + spilled), latency) * each
        memory = self.memory(stores, loops) / threads
        compute = compute * trips / threads
        self.total += max(compute, memory) + 0.3 * min(compute, memory)
        terms = self.terms
        terms["vector registers"] = max(terms["vector registers"], held)
        terms["vector operations"] += arithmetic * trips
        terms["loads"] += (loads + spilled) * trips
        terms["stores"] += (writes + spilled) * trips
        terms["time in the core"] += compute
        terms["time for memory"] += memory

    def memory(self, stores: Sequence[tuple[Store, For | None]], loops: tuple[For, ...]) -> float:
        """Seconds to bring in what the region touches in all its runs."""
        touched: dict[Any, dict[tuple[Expr, ...], None]] = {}
        vectors: dict[Axis, int] = {}
        for store, vector in stores:
            if vector is not None:
                vectors[vector.axis] = _extent(vector)
            reads: list[tuple[Any, tuple[Expr, ...]]] = [
                (n.tensor, n.indices) for n in walk(store.value) if isinstance(n, Access)
            ]
            for buffer, indices in [(store.buffer, store.indices), *reads]:
                if buffer.scope != "register":
                    touched.setdefault(buffer, {})[indices] = None
        if not touched:
            return 0.0
        spans = {b: _Span(b, tuple(indices), loops, vectors) for b, indices in touched.items()}
        sizes = [sum(span.bytes(d) for span in spans.values()) for d in range(len(loops) + 1)]
        total = 0.0
        for level in self.levels:
            fits = next((d for d, size in enumerate(sizes) if size <= level.size), len(loops) + 1)
            if fits == 0:
                # All of it fits: it is brought in once, or was there before.
                continue
            at = fits - 1
            outer = 1.0
            for loop in loops[:at]:
                outer *= _extent(loop)
            total += outer * sum(span.bytes(at) for span in spans.values()) / level.bandwidth
        return total


class _Span:
    """What the accesses to one buffer reach, by the number of outer loops that stand still."""

    def __init__(
        self, buffer: Any, accesses: Sequence[tuple[Expr, ...]], loops: tuple[For, ...], vectors: Mapping[Axis, int]
    ) -> None:
        self.item = itemsize(buffer.dtype)
        self.loops = loops
        rank = len(accesses[0])
        self.spread, self.steps, self.limit = [0] * rank, [[0] * len(loops) for _ in range(rank)], [0] * rank
        for d in range(rank):
            first = accesses[0][d]
            offsets = [_value(indices[d], {}) for indices in accesses]
            base = offsets[0]
            self.spread[d] = (
                max(offsets)
                - min(offsets)
                + sum(abs(_value(first, {a: 1}) - base) * (n - 1) for a, n in vectors.items())
            )
            self.steps[d] = [abs(_value(first, {loop.axis: 1}) - base) * (_extent(loop) - 1) for loop in loops]
            extent = buffer.shape[d]
            self.limit[d] = extent if isinstance(extent, int) else 1 << 40
        strides = buffer.strides
        self.last = rank - 1
        if strides is not None and rank and all(isinstance(s, int) for s in strides):
            self.last = min(range(rank), key=lambda d: strides[d])

    def bytes(self, still: int) -> float:
        total = 1.0
        for d, spread in enumerate(self.spread):
            n = min(1 + spread + sum(self.steps[d][still:]), max(1, self.limit[d]))
            total *= max(LINE, n * self.item) if d == self.last else n
        return total if self.spread else float(LINE)


def _straight(stmt: Stmt) -> list[tuple[Store, For | None]] | None:
    """The stores of a statement without loops that run (vectorised ones are instructions)."""
    if isinstance(stmt, Store):
        return [(stmt, None)]
    if isinstance(stmt, For) and stmt.kind == "vectorized":
        body = stmt.body.stmts if isinstance(stmt.body, Block) else (stmt.body,)
        if all(isinstance(s, Store) for s in body):
            return [(s, stmt) for s in body if isinstance(s, Store)]
    return None


def _vectorised_by_the_compiler(stores: Sequence[tuple[Store, For | None]], loops: tuple[For, ...]) -> bool:
    """Whether a plain innermost loop is one that C compilers turn into vectors: neighbours in memory, nothing carried
    from step to step.
    """
    if not loops or any(vector is not None for _, vector in stores):
        return False
    axis = loops[-1].axis
    for store, _ in stores:
        nodes = [
            (store.buffer, store.indices),
            *((n.tensor, n.indices) for n in walk(store.value) if isinstance(n, Access)),
        ]
        for buffer, indices in nodes:
            steps = [_value(e, {axis: 1}) - _value(e, {}) for e in indices]
            if buffer is store.buffer and not any(steps):
                return False
            if any(steps[:-1]) or (steps and steps[-1] not in (0, 1)):
                return False
    return True


def _operations(root: Expr, done: set[Expr]) -> float:
    """Vector operations of a value; a product that is added is one."""
    total = 0.0
    for node in walk(root):
        if node in done or not isinstance(node, (Apply, Cast)):
            continue
        done.add(node)
        if isinstance(node, Cast):
            total += 1.0
        elif node.dtype in ("int", "int64") and not reads_tensors(node):
            continue  # an index
        elif node.function in ("add", "subtract") and any(
            isinstance(c, Apply) and c.function == "multiply" for c in node.operands
        ):
            continue  # counted with the product
        else:
            total += 1.0 if node.function in CHEAP else SLOW.get(node.function, CALLS)
    return total


def _accesses(indices: Sequence[Expr], axis: Axis | None, lanes: int, vectors: int) -> float:
    """Load or store instructions of one access."""
    if axis is None or not indices:
        return 1.0
    steps = [_value(e, {axis: 1}) - _value(e, {}) for e in indices]
    if not any(steps):
        return 1.0
    if steps[-1] == 1 and not any(steps[:-1]):
        return float(vectors)
    return 2.0 * lanes  # element by element


def _vectors(buffer: Buffer, width: int) -> int:
    count = 1
    for d in buffer.shape[:-1]:
        count *= d if isinstance(d, int) else 1
    last = buffer.shape[-1] if buffer.shape else 1
    return count * math.ceil((last if isinstance(last, int) else 1) / width)


def _extent(loop: For) -> int:
    """The trips of a loop, with outer loops at their first step."""
    return max(1, _value(loop.extent, {}))


def _value(e: Expr, at: Mapping[Any, int]) -> int:
    """An integer expression with the axes of `at` at their values and all others at 0."""
    values: dict[Expr, int] = {}
    for node in walk(e):
        values[node] = _node(node, values, at)
    return values[e]


def _node(node: Expr, values: Mapping[Expr, int], at: Mapping[Any, int]) -> int:
    if isinstance(node, Const):
        return int(node.value)
    if isinstance(node, Axis):
        return at.get(node, 0)
    if isinstance(node, Cast):
        return values[node.operand]
    if isinstance(node, Apply):
        operands = [values[c] for c in node.operands]
        rule = _RULES.get(node.function)
        if rule is not None:
            return int(rule(*operands))
    return 0


_RULES: dict[str, Any] = {
    "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b, "negative": lambda a: -a,
    "floor_divide": lambda a, b: a // b if b else 0, "remainder": lambda a, b: a % b if b else 0,
    "minimum": min, "maximum": max,
}  # fmt: skip
