"""A lowered program: the loops, what they work on, and what must hold before they run. `te.lower` returns one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tedsl.hardware import InstructionSet
from tedsl.lang.errors import DefinitionError, ScheduleError
from tedsl.lang.expr import SIZES, Access, Expr, Reduce, Var, walk
from tedsl.lang.functions import apply
from tedsl.lang.integers import limited_effort
from tedsl.lang.program import inputs_of
from tedsl.lang.tensor import Tensor
from tedsl.schedule.lowering.index_checks import find_checks
from tedsl.schedule.lowering.inline import inlined
from tedsl.schedule.lowering.lower import lower_state
from tedsl.schedule.passes.check_registers import check_registers
from tedsl.schedule.passes.check_size import check_size
from tedsl.schedule.passes.check_threads import check_threads
from tedsl.schedule.passes.simplify import PROOFS
from tedsl.schedule.passes.trace import run_passes
from tedsl.schedule.passes.vectorize import vectorize
from tedsl.schedule.sizes import FixedTensor
from tedsl.schedule.state import State

from .ir import Allocate, Buffer, For, If, Stmt, constant, expressions, preorder
from .positions import Positions
from .text import nest_text
from .verify import verify_stmt


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop as `Nest.loops` lists it. `extent`: an int, or an expression in sizes and outer loops."""

    name: str
    extent: int | Expr
    kind: str


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on sizes that a call must meet."""

    condition: Expr
    message: str
    error: str = "value"


@dataclass(frozen=True, slots=True)
class Fault:
    """What a failed Assert means; the message is formatted with its details."""

    message: str
    error: str = "index"


@dataclass(eq=False)
class Nest:
    """The loops of a program. `inputs` and `outputs` are the arguments' buffers in call order; `buffers` are the
    temporaries.
    """

    stmt: Stmt
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    buffers: tuple[Buffer, ...]
    sizes: tuple[Var, ...]
    checks: tuple[Check, ...]
    faults: tuple[Fault, ...]
    late_faults: bool
    inplace: dict[Buffer, tuple[int, ...]]
    title: str
    several: bool = False
    aliasable: set[Buffer] = field(default_factory=set)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Every loop, outer ones first, in program order."""
        found = []
        for s in preorder(self.stmt):
            if isinstance(s, For):
                extent = constant(s.extent)
                found.append(Loop(s.axis.name, s.extent if extent is None else extent, s.kind))
        return tuple(found)

    @property
    def conditions(self) -> tuple[Expr, ...]:
        """Guards that lowering added and that are left inside loops."""
        found: list[Expr] = []

        def visit(stmt: Stmt, inside: bool) -> None:
            if isinstance(stmt, If) and stmt.added and inside:
                found.append(stmt.condition)
            for body in stmt.body_parts:
                visit(body, inside or isinstance(stmt, For))

        visit(self.stmt, False)
        return tuple(found)

    def vectorized(self, facts: InstructionSet, positions: Positions | None = None) -> Nest:
        """The same with vectors in place of vectorised loops."""
        return replace(self, stmt=vectorize(self.stmt, facts, positions, self.aliasable))

    def verify(self) -> Nest:
        """Check the IR's own rules; raises LoweringError (an internal failure) naming the one that is broken. Returns
        itself.
        """
        verify_stmt(self.stmt, frozenset((*self.inputs, *self.outputs)), frozenset())
        return self

    def __str__(self) -> str:
        return nest_text(self.stmt)

    __repr__ = __str__


def make_nest(state: State, args: Sequence[Tensor] | None, several: bool, check_indices: bool = True) -> Nest:
    """The nest of a schedule's state, all passes run. `args`: the kernel's arguments in order (inputs; outputs last),
    or None.

    A state keeps the nest that it was lowered to last: what `te.auto_schedule` lowers to see whether it can be is what
    is built.
    """
    inputs = arguments(state.outputs, args)
    key = (tuple(map(id, inputs)), several, check_indices)
    if key not in state.nests:
        state.nests.clear()
        state.nests[key] = _made(state, inputs, several, check_indices)
    return state.nests[key]


def _made(state: State, inputs: tuple[Tensor, ...], several: bool, check_indices: bool) -> Nest:
    if state.factors:
        names = ", ".join(state.factors)
        raise ScheduleError(
            f"the tile factor{'s' if len(state.factors) > 1 else ''} {names} "
            f"ha{'ve' if len(state.factors) > 1 else 's'} no number yet: te.build(s, "
            f"{', '.join(f'{n}=…' for n in state.factors)})",
        )
    state = inlined(state)
    checks = find_checks(state) if check_indices else None
    with limited_effort(PROOFS):
        lowered = lower_state(state, inputs, checks)
        stmt = run_passes(lowered.stmt)
    check_registers(stmt)
    check_threads(stmt)
    check_size(stmt)
    ins = tuple(lowered.arguments[t] for t in inputs)
    outs = tuple(lowered.arguments[t] for t in state.outputs)
    places = inplace(state, inputs, outs)
    aliasable = {b for b in places if places[b]} | {ins[n] for found in places.values() for n in found}
    live = dict.fromkeys(s.buffer for s in preorder(stmt) if isinstance(s, Allocate) and s.buffer.tensor is not None)
    title = "\n".join(str_of(s) for s in state.stages)
    faults = tuple(map(Fault, checks.messages)) if checks else ()
    late = bool(checks and checks.late)
    sizes = sizes_of(stmt, (*ins, *outs))
    return Nest(
        stmt, ins, outs, tuple(live), sizes, size_checks(state), faults, late, places, title, several, aliasable
    )


def str_of(stage: Any) -> str:
    from tedsl.lang.program import Stage

    return str(Stage(stage.name, stage.tensors, stage.parts))


def arguments(outputs: tuple[Tensor, ...], args: Sequence[Tensor] | None) -> tuple[Tensor, ...]:
    """The inputs of a kernel in call order. Raises DefinitionError when `args` leaves an input or an output out, or
    puts outputs first.
    """
    needed = inputs_of(outputs)
    if args is None:
        return needed
    stands = {t.source: t for t in (*needed, *outputs) if isinstance(t, FixedTensor)}
    if isinstance(args, Tensor) or not isinstance(args, Iterable):
        raise DefinitionError(f"args is {args!r}; it is a list of tensors: the inputs in call order, then the outputs")
    listed = [stands.get(t, t) if isinstance(t, Tensor) else t for t in args]
    for t in listed:
        if not isinstance(t, Tensor):
            raise DefinitionError(f"args holds {t!r}; it holds tensors: the inputs in call order, then the outputs")
    given_outputs = [t for t in listed if t in outputs]
    inputs = [t for t in listed if t not in outputs]
    missing = [t.name for t in needed if t not in inputs]
    if missing:
        raise DefinitionError(
            f"args leaves out {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} read; list every "
            "input",
        )
    if given_outputs and (tuple(given_outputs) != outputs or listed != [*inputs, *given_outputs]):
        raise DefinitionError(f"args must end with the outputs {', '.join(t.name for t in outputs)}, in this order")
    if len(set(inputs)) != len(inputs):
        raise DefinitionError("args lists a tensor twice")
    for t in inputs:
        if not t.is_input:
            raise DefinitionError(
                f"args lists {t.name}, which is computed, among the inputs; the results are "
                f"{', '.join(t.name for t in outputs)}",
            )
    return tuple(inputs)


def sizes_of(stmt: Stmt, buffers: tuple[Buffer, ...]) -> tuple[Var, ...]:
    """The symbolic sizes of a kernel, by name. Raises DefinitionError when two of one name have different
    assumptions.
    """
    found: dict[str, Var] = {}
    exprs = [d for b in buffers for d in (*b.shape, *(b.strides or ())) if isinstance(d, Expr)]
    exprs += [e for s in preorder(stmt) for e in expressions(s)]
    exprs += [d for s in preorder(stmt) if isinstance(s, Allocate) for d in s.buffer.shape if isinstance(d, Expr)]
    for node in walk(*[e for e in exprs if e.has & SIZES]):
        if isinstance(node, Var):
            other = found.setdefault(node.name, node)
            if other is not node:
                raise DefinitionError(
                    f"two sizes are named {node.name}, with different assumptions (min={other.minimum}, "
                    f"multiple_of={other.multiple_of} and min={node.minimum}, "
                    f"multiple_of={node.multiple_of}): use one te.var for both")  # fmt: skip
    return tuple(found[name] for name in sorted(found))


def size_checks(state: State) -> tuple[Check, ...]:
    """Reductions without a result for no values (max, argmax …) need extents of at least 1 when there is something to
    compute.
    """
    checks = []
    for stage in state.given:  # as the program has them: rfactor's partial results may well be of nothing
        for part in stage.parts:
            for value in part.values[:1]:
                if isinstance(value, Reduce) and value.reducer.checked and value.where is None:
                    empty = [a.extent for a in value.axes or () if isinstance(a.extent, Expr)]
                    for extent, axis in zip(
                        empty, (a for a in value.axes or () if isinstance(a.extent, Expr)), strict=True
                    ):
                        condition = extent
                        for a in part.axes:  # nothing to compute: fine
                            none = (
                                apply("maximum", 1 - a.extent, 0) if isinstance(a.extent, Expr) else int(a.extent == 0)
                            )
                            condition = condition + none
                        message = (
                            f"{value.reducer.name} over the axis {axis.name} of {stage.name}, whose extent is 0 in "
                            f"this call: the {value.reducer.name} of nothing is not defined"
                        )
                        checks.append(Check(condition, message))
    return tuple(checks)


def inplace(state: State, inputs: tuple[Tensor, ...], outputs: tuple[Buffer, ...]) -> dict[Buffer, tuple[int, ...]]:
    """For each output, the inputs that it may share memory with: those of its type and shape that are read only at the
    element being written, by the stage that writes it, which is the last to read them.
    """
    result: dict[Buffer, tuple[int, ...]] = {}
    if len(outputs) != 1:
        return dict.fromkeys(outputs, ())
    for buffer in outputs:
        tensor = buffer.tensor
        assert tensor is not None
        stage = state.writer(tensor)
        found = []
        for n, candidate in enumerate(inputs):
            alike = candidate.dtype == tensor.dtype and candidate.shape == tensor.shape and candidate.strides is None
            if (
                alike
                and stage is not None
                and stage.reduction is None
                and len(stage.parts) == 1
                and _read_in_place(state, stage.name, candidate)
            ):
                found.append(n)
        result[buffer] = tuple(found)
    return result


def _read_in_place(state: State, writer: str, candidate: Tensor) -> bool:
    for stage in state.stages:
        for part in stage.parts:
            for node in walk(*part.values):
                if isinstance(node, Access) and node.tensor is candidate:
                    if stage.name != writer or not all(i is e for i, e in zip(node.indices, part.lhs, strict=True)):
                        return False
    return True


__all__ = ["Buffer", "Check", "Fault", "Loop", "Nest", "make_nest"]
