"""The cost model: what a schedule computes, moves and holds, as numbers or, where sizes or tile factors are symbolic,
as SymPy expressions.

It counts over the loops that the schedule is lowered to, so what is inlined is counted at every read, and what is
computed at a loop once for each of its steps. With numbers alone the count is exact, tails and conditions included;
symbolic factors and sizes are taken to divide.

The formulas for matrix multiplication are those of lecture 11 of CMU's course on deep learning systems (10-414/714).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tedsl import hardware
from tedsl.lang.dtypes import itemsize
from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Apply, Expr, Var, walk
from tedsl.lang.integers.conditions import conjuncts, negated
from tedsl.lang.program import inputs_of
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loop_tree import Split
from tedsl.schedule.loops.ir import Allocate, Block, Buffer, Call, For, If, Stmt, Store, preorder
from tedsl.schedule.lowering.inline import inlined
from tedsl.schedule.lowering.lower import lower_state
from tedsl.schedule.primitives.stages import StageTensor, source_of

from .operations import arithmetic
from .trip_counts import Condition, Link, Trips

if TYPE_CHECKING:
    from tedsl.schedule.schedule import Schedule

LEVELS = {"global": "dram", "cache": "l1", "shared": "shared"}  # what a load from a scope is charged


@dataclass(frozen=True)
class Cost:
    """What a schedule costs. Numbers, or SymPy expressions in the sizes and factors.

    operations: arithmetic and calls, over all stages. moves: elements copied into a scope, by the tensor of the
    program, the scope they come from and the one they go to; a read that no copy serves goes to "register". registers:
    elements held in registers at once. footprint: elements held at once in each scope (for "cache" and "register", of
    one thread). time: every load at the speed of the level that it comes from (symbols dram, l1).
    """

    operations: Any
    moves: Mapping[tuple[str, str, str], Any]
    registers: Any
    footprint: Mapping[str, Any]
    sizes: Mapping[str, int] = field(repr=False, default_factory=dict)  # bytes of an element, by tensor
    held: Mapping[str, Any] = field(repr=False, default_factory=dict)  # as footprint, in bytes
    least: Mapping[str, int] = field(
        repr=False, default_factory=dict
    )  # the smallest value that each factor was said to have
    multiples: Mapping[str, frozenset[int | str]] = field(
        repr=False, default_factory=dict
    )  # what each factor is a multiple of: numbers, and other factors
    machine: Any = field(
        repr=False, default=None
    )  # which the table gives a predicted time of, and what will not fit it
    dtype: str = field(repr=False, default="float32")  # of the result, which says what peak is meant

    @property
    def time(self) -> Any:
        """Every load at the speed of the level that it comes from, in the symbols dram and l1 (stores are not
        counted).
        """
        import sympy

        levels: dict[str, Any] = {}
        for _, source, n in self._loads():
            levels[source] = levels.get(source, 0) + n
        return _total(sympy.Symbol(LEVELS[scope], positive=True) * n for scope, n in levels.items())

    @property
    def bytes(self) -> Any:
        """Bytes loaded from memory (scope "global")."""
        return _total(n * self.sizes.get(name, 1) for (name, source, to), n in self.moves.items() if source == "global")

    @property
    def intensity(self) -> Any:
        """Operations for each byte loaded from memory; None when nothing is loaded."""
        loaded = self.bytes
        if isinstance(loaded, int) and isinstance(self.operations, int):
            return self.operations / loaded if loaded else None
        return self.operations / loaded

    def at(self, **sizes: int) -> Cost:
        """The cost at given sizes and factors. Raises ScheduleError for one that the cost does not depend on."""
        import sympy

        known = self._symbols()
        for name, given in sizes.items():
            if name not in known:
                raise ScheduleError(f"{name}={given!r}: the cost has no size or factor of that name; it has {', '.join(sorted(known)) or 'none'}")  # fmt: skip
            if isinstance(given, bool) or not hasattr(given, "__index__"):
                raise ScheduleError(f"{name}={given!r}: a size is a whole number")
        multiples = {
            name: frozenset(int(sizes[d]) if isinstance(d, str) and d in sizes else d for d in of)
            for name, of in self.multiples.items()
        }

        def value(e: Any) -> Any:
            if not isinstance(e, sympy.Basic):
                return e
            e = e.subs({s: sizes[str(s)] for s in e.free_symbols if str(s) in sizes})
            return int(e) if e.is_Integer else e

        return Cost(
            value(self.operations), {k: value(v) for k, v in self.moves.items()}, value(self.registers), {k: value(v) for k, v in self.footprint.items()},
            self.sizes, {k: value(v) for k, v in self.held.items()}, self.least, multiples, self.machine, self.dtype)  # fmt: skip

    def _symbols(self) -> set[str]:
        """The names of all sizes and factors that are open."""
        counts = (self.operations, self.registers, *self.moves.values(), *self.footprint.values())
        return {str(s) for n in counts for s in getattr(n, "free_symbols", ())} | set(self.multiples)

    def problems(self, machine: Any, **sizes: int) -> list[str]:
        """What will not fit: register tiles into the vector registers, copies in the scope "cache" into L1 or L2, each
        as a sentence with what to do.

        machine: `te.machine()`, or anything with `.vector_bytes`, `.l1_bytes` and `.l2_bytes`. sizes: values of
        symbolic sizes and factors; for the others it is asked whether any value will do.
        """
        cost = self.at(**sizes) if sizes else self
        found = []
        registers = machine.vector_bytes * hardware.registers(machine.vector_bytes)
        tile, how = cost._smallest("register")
        if tile > registers:
            found.append(
                f"the register tiles hold {tile} bytes{how}, and the vector registers {registers}: what is too much "
                "goes through memory. Choose smaller tiles"
            )
        held, how = cost._smallest("cache")
        if held > machine.l1_bytes:
            into = (
                f"They fit L2 ({machine.l2_bytes} bytes), at its speed"
                if held <= machine.l2_bytes
                else f"They do not fit L2 ({machine.l2_bytes} bytes) either"
            )
            found.append(
                f"the copies in the scope cache hold {held} bytes{how}, and L1 {machine.l1_bytes}. {into}. Choose "
                "smaller tiles, or split the loop that is "
                "reduced over and copy the panels of one part of it at a time")  # fmt: skip
        return found

    def _smallest(self, scope: str) -> tuple[int, str]:
        """The fewest bytes that are held in a scope, whatever the factors that are open, and at which of these."""
        held = self.held.get(scope, 0)
        if isinstance(held, int):
            return held, ""
        open_ = sorted(str(s) for s in held.free_symbols)
        least = {s: self._least(str(s)) for s in held.free_symbols}
        shown = ", ".join(f"{name}={next(v for s, v in least.items() if str(s) == name)}" for name in open_)
        return int(held.subs(least)), f" ({held}) even with {shown}, so that no {', '.join(open_)} will do"

    def _least(self, name: str) -> int:
        """The smallest value that a size or factor may have: tiles of tiles divide them."""
        step = math.lcm(*(d if isinstance(d, int) else self._least(d) for d in self.multiples.get(name, ())))
        return step * max(1, -(-self.least.get(name, 1) // step))

    def seconds(self, machine: Any, dtype: str | None = None) -> Any:
        """A predicted time on one core: the larger of what the operations take at peak speed and what the loads take at
        each level's bandwidth.

        machine: `te.machine()`, or anything with `.peak_gflops[dtype]` and `.bandwidth[level]` (bytes/s). dtype: that
        of the result, unless given.
        """
        peaks = machine.peak_gflops
        compute = self.operations / (peaks.get(dtype or self.dtype, peaks["float32"]) * 1e9)
        loads = _total(
            n * self.sizes.get(name, 1) / machine.bandwidth[LEVELS[source]]
            for name, source, n in self._loads()
            if LEVELS[source] in machine.bandwidth
        )
        if isinstance(compute, (int, float)) and isinstance(loads, (int, float)):
            return max(compute, loads)
        import sympy

        return sympy.Max(compute, loads)

    def _loads(self) -> Iterable[tuple[str, str, Any]]:
        return ((name, source, n) for (name, source, to), n in self.moves.items() if _is_load(source, to))

    def rows(self) -> list[tuple[str, str]]:
        """The table that is printed: what, and how much."""
        found = [("operations", self.operations)]
        found += [(f"{name}: {source} to {to}", n) for (name, source, to), n in self.moves.items()]
        found += [("registers", self.registers)]
        found += [(f"held in {scope}", n) for scope, n in self.footprint.items() if scope != "register"]
        found += [("bytes from memory", self.bytes), ("operations a byte", self.intensity), ("time", self.time)]
        if self.machine is not None:
            found += [("predicted seconds", self.seconds(self.machine))]
            found += [("will not fit", problem) for problem in self.problems(self.machine)]
        return [(what, "" if n is None else _shown(n)) for what, n in found]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(what) for what, _ in rows)
        return "\n".join(f"{what:{width}}  {n}" for what, n in rows)

    def _repr_html_(self) -> str:
        from html import escape

        cells = "".join(f"<tr><td>{escape(what)}</td><td>{escape(n)}</td></tr>" for what, n in self.rows())
        return f"<table>{cells}</table>"


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
    from tedsl.schedule.schedule import Schedule, create_schedule

    if machine is not None and not all(hasattr(machine, name) for name in ("peak_gflops", "bandwidth", "l1_bytes")):
        raise ScheduleError(f"machine={machine!r:.80}; te.machine() gives the one that this is, or None")
    schedule = target if isinstance(target, Schedule) else create_schedule(target)
    return replace(_Count(schedule).run(), machine=machine, dtype=schedule.outputs[0].dtype)


def _shown(n: Any) -> str:
    """A number, or a formula, with no more digits than there is a reason for."""
    if isinstance(n, (int, str)):
        return str(n)
    return f"{n:.4g}" if isinstance(n, float) else str(n.evalf(4) if n.atoms(_float()) else n)


def _float() -> Any:
    import sympy

    return sympy.Float


def _total(values: Iterable[Any]) -> Any:
    total: Any = 0
    for v in values:
        total = total + v
    return total


def _is_load(source: str, to: str) -> bool:
    """Whether a move reads from a slower level; the way back is a store, which is not charged."""
    return source in LEVELS and not (to == "global" and source != "global")


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
        footprint["global"] = footprint["global"] + _total(self.elements(b) for b in self.arguments)
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
        if isinstance(value, Apply) and value.function == "where" and not _of_data(value.operands[0]):
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
                mine = [] if _of_data(condition) else conjuncts(condition)
                other = [] if _of_data(condition) else conjuncts(negated(condition))
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


def _of_data(e: Expr) -> bool:
    return any(isinstance(n, Access) for n in walk(e))
