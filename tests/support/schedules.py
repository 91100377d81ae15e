"""Random legal schedules: primitives drawn one after the other. One that is refused must leave the schedule as it was."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from helpers import compare, inputs_in_order, untold
from program_parts import Program, Source

import tedsl as te
from tedsl.lang.integers import limited_effort
from tedsl.schedule.loops.ir import For, If, preorder
from tedsl.schedule.loops.program import arguments
from tedsl.schedule.loops.verify import verify_stmt
from tedsl.schedule.lowering.index_checks import find_checks
from tedsl.schedule.lowering.inline import inlined
from tedsl.schedule.lowering.lower import lower_state
from tedsl.schedule.passes import passes
from tedsl.schedule.passes.simplify import PROOFS

FACTORS = [1, 2, 2, 3, 4, 4, 5, 7, 8, 16]
SCOPES = ["global", "cache", "register"]
PRAGMAS = ["GCC unroll 2", "GCC ivdep", "stream"]


class Walk:
    """Draws steps for a schedule. `refused`: how many were."""

    def __init__(self, schedule: Any, source: Source) -> None:
        self.s, self.source = schedule, source
        self.refused = 0
        self.done: dict[str, int] = {}
        self.last: Any = None  # the stage that the step before made or moved

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.step()

    def step(self) -> None:
        name = self.source.choice(STEPS)
        if self.last is not None and self.chance(60):
            name = "double_buffer" if self.last.state.attach.kind == "at" else "compute_at"
        else:
            self.last = None
        state, length, before = self.s.state, len(self.s.history), str(self.s)
        try:
            getattr(self, name)()
            self.done[name] = self.done.get(name, 0) + 1
        except te.ScheduleError as error:
            self.refused += 1
            assert len(str(error)) > 20 and error.location is not None, f"a refusal without a reason: {error!r}"
            assert self.s.state is state and len(self.s.history) == length, f"{name} was refused and left something"
            assert str(self.s) == before, f"{name} was refused and changed what is printed"

    # What to act on ---------------------------------------------------------------------------------------------------

    def stage(self) -> Any:
        return self.source.choice(self.s.stages)

    def leaf(self, stage: Any, of: Callable[[str], bool] = lambda name: True) -> Any:
        leaves = [leaf for leaf in stage.loops if of(leaf.name)] or list(stage.loops)
        if not leaves:
            raise te.ScheduleError("a stage without loops: nothing to do here", te.lang.errors.here())
        return self.source.choice(leaves)

    def tensor(self) -> str:
        return self.source.choice(list(self.s.state.tensors()))

    def permuted(self, items: Sequence[Any]) -> list[Any]:
        left, found = list(items), []
        while left:
            found.append(left.pop(self.source.integer(0, len(left) - 1)))
        return found

    def chance(self, percent: int) -> bool:
        return self.source.integer(1, 100) > 100 - percent

    # Steps ------------------------------------------------------------------------------------------------------------

    def split(self) -> None:
        stage = self.stage()
        stage.split(self.leaf(stage), **{"nparts" if self.chance(30) else "factor": self.source.choice(FACTORS)})

    def tile(self) -> None:
        stage = self.stage()
        stage.tile(self.leaf(stage), self.leaf(stage), self.source.choice(FACTORS), self.source.choice(FACTORS))

    def fuse(self) -> None:
        stage = self.stage()
        at = self.source.integer(0, max(len(stage.loops) - 2, 0))
        stage.fuse(*stage.loops[at : at + self.source.integer(2, 3)])

    def reorder(self) -> None:
        stage = self.stage()
        loops = self.permuted(stage.loops)
        stage.reorder(*loops[: self.source.integer(2, max(len(loops), 2))])

    def vectorize(self) -> None:
        stage = self.stage()
        reduced = {leaf for leaf in stage.state.leaves if stage.state.is_reduction_loop(leaf)}
        stage.vectorize(self.leaf(stage, lambda name: name not in reduced))

    def unroll(self) -> None:
        stage = self.stage()
        stage.unroll(self.leaf(stage))

    def parallel(self) -> None:
        stage = self.stage()
        stage.parallel(stage.loops[0] if stage.loops and self.chance(70) else self.leaf(stage))

    def pragma(self) -> None:
        stage = self.stage()
        stage.pragma(self.leaf(stage), self.source.choice(PRAGMAS))

    def compute_at(self) -> None:
        stage = self.last or self.stage()
        self.last = None
        readers = [r for r in self.s.stages if set(stage.tensors) & set(te.schedule.state.reads(r.state))]
        parent = self.source.choice(readers) if readers and self.chance(90) else self.stage()
        stage.compute_at(parent, self.leaf(parent))
        self.last = stage if self.chance(20) else None

    def compute_inline(self) -> None:
        self.stage().compute_inline()

    def compute_root(self) -> None:
        self.stage().compute_root()

    def set_scope(self) -> None:
        self.stage().set_scope(self.source.choice(SCOPES))

    def cache_read(self) -> None:
        name = self.tensor()
        readers = [s.name for s in self.s.state.readers(self.s.state.tensors()[name])]
        given = self.permuted(readers)[: self.source.integer(1, 2)] if readers else [self.stage()]
        self.last = self.s[self.s.cache_read(name, self.source.choice(SCOPES), given)]

    def cache_write(self) -> None:
        stage = self.stage()
        several = len(stage.tensors) > 1
        made = self.s.cache_write(list(stage.tensors) if several else stage.tensor, self.source.choice(SCOPES))
        self.last = self.s[made[0] if several else made]

    def rfactor(self) -> None:
        stages = [s for s in self.s.stages if s.reduce_axis] or self.s.stages
        stage = self.source.choice(stages)
        reduced = {leaf for leaf in stage.state.leaves if stage.state.is_reduction_loop(leaf)}
        self.s.rfactor(stage, self.leaf(stage, lambda n: n in reduced), self.source.integer(0, stage.tensor.rank))

    def layout(self) -> None:
        stage = self.stage()
        stage.layout(*self.permuted([a for a in stage.loops if not stage.state.is_reduction_loop(a.name)]))

    def storage_align(self) -> None:
        stage = self.stage()
        stage.storage_align(self.leaf(stage), self.source.choice(FACTORS), self.source.integer(0, 3))

    def double_buffer(self) -> None:
        stage, self.last = self.last or self.stage(), None
        stage.double_buffer()

    def prefetch(self) -> None:
        stage = self.stage()
        stage.prefetch(self.tensor(), self.leaf(stage), self.source.integer(1, 8))

    def undo(self) -> None:
        self.last = None
        self.s.undo(min(len(self.s.history), 1))


STEPS = [
    *["split"] * 6, *["tile"] * 2, *["fuse"] * 3, *["reorder"] * 4, *["vectorize"] * 5, *["unroll"] * 3, *["parallel"] * 3,
    *["compute_at"] * 6, *["compute_inline"] * 2, "compute_root", "set_scope", *["cache_read"] * 3, *["cache_write"] * 3,
    *["rfactor"] * 3, *["layout"] * 2, "storage_align", "double_buffer", "prefetch", "pragma", "undo",
]  # fmt: skip


def random_schedule(program: Program, source: Source, most: int = 14) -> Any:
    """A schedule of a program's outputs that can be lowered."""
    walk_ = Walk(te.create_schedule(list(program.outputs)), source)
    walk_.steps(source.integer(1, most))
    s = walk_.s
    sizes = untold(inputs_in_order(program.outputs), program.sizes)
    for stage in s.stages:  # registers have no addresses: the loops that run over them are unrolled
        if stage.scope == "register":
            for other in [stage, *(r for r in s.stages if set(stage.tensors) & set(te.schedule.state.reads(r.state)))]:
                for leaf in other.loops:
                    if other.state.kind(leaf.name) == "serial" and leaf.extent in range(9):
                        _unless_refused(other.unroll, leaf)
            if lacks_constants(s, sizes):
                _unless_refused(stage.set_scope, "cache")
    while lacks_constants(s, sizes):  # what only the whole schedule can tell: take steps back until it may be
        s.undo()
    verified(s)
    return s


def _unless_refused(primitive: Callable[..., Any], *args: Any) -> None:
    try:
        primitive(*args)
    except te.ScheduleError:
        pass


def lacks_constants(s: Any, sizes: dict[str, int]) -> bool:
    """Whether the whole schedule is refused, which only lowering can tell."""
    try:
        te.lower(s)
        te.lower(s, **sizes)
    except te.ScheduleError:
        return True
    return False


def verified(s: Any) -> None:
    """Lower a schedule with the verifier run after every pass."""
    inputs = arguments(s.outputs, None)
    state = inlined(s.state)
    with limited_effort(PROOFS):
        lowered = lower_state(state, inputs, find_checks(state))
        buffers = frozenset(lowered.arguments.values())
        stmt = lowered.stmt
        verify_stmt(stmt, buffers, frozenset())
        for name, rule in passes():
            stmt = rule(stmt)
            try:
                verify_stmt(stmt, buffers, frozenset())
            except te.Error as error:
                raise AssertionError(f"after the pass {name}: {error}") from error


def guards(nest: Any) -> list[str]:
    """The conditions that lowering left inside of vectorised and innermost loops: there should be none."""
    found = []
    for loop in preorder(nest.stmt):
        if isinstance(loop, For):
            inner = list(preorder(loop.body))
            if loop.kind == "vectorized" or not any(isinstance(s, For) for s in inner):
                found += [f"{loop.axis.name}: {s.condition!r}" for s in inner if isinstance(s, If) and s.added]
    return found


def check_schedule(program: Program, s: Any, isa: str | None = None) -> None:
    """Assert that a schedule computes what the reference does, with the same bits on one and two threads, and that its
    history makes the same nest again.
    """
    order = inputs_in_order(program.outputs)
    sizes = untold(order, program.sizes)
    lowered = te.lower(s).verify()
    for made in (lowered, te.lower(s, **sizes)) if sizes else (lowered,):
        assert not guards(made), f"guards are left: {guards(made)}"
    nest = str(lowered)
    again = te.create_schedule(list(program.outputs)).replay(s.to_json())
    assert str(te.lower(again)) == nest, "the replayed history makes another nest"
    typed = te.create_schedule(list(program.outputs))
    exec(str(s.history), {"s": typed, "te": te})
    assert str(te.lower(typed)) == nest, "the printed history makes another nest"
    assert str(te.lower(pickle.loads(pickle.dumps(s)))) == nest, "the pickled schedule makes another nest"
    kernel = te.build(s, isa=isa, **sizes)
    arrays = [program.inputs[t] for t in order]
    want = te.evaluate(program.outputs, program.inputs, **program.sizes)
    got = kernel(*arrays, out=tuple(np.full(w.shape, 113, w.dtype) for w in want), threads=1)
    # the same bound as for the default schedule: it holds for every order of summation
    for tensor, g, w, error in zip(program.outputs, got, want, program.errors, strict=True):
        compare(g, w, 4 * error, f"{tensor.name} scheduled")
    if kernel.module.openmp:
        for g, other in zip(got, kernel(*arrays, threads=2), strict=True):
            assert np.asarray(g).tobytes() == np.asarray(other).tobytes(), "other bits on two threads"
