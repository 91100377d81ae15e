"""What the rules of the automatic schedule want to know of a stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from tedsl import hardware
from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Expr, Reduce, free_axes, walk
from tedsl.lang.integers import affine_of
from tedsl.lang.tensor import Dim, Tensor
from tedsl.schedule.lowering.inline import inlined
from tedsl.schedule.primitives.recurrences import stepped

from ..schedule import Schedule
from ..state import StageState, State

LARGE = 1 << 16  # operations from which several threads pay
STEP = 1 << 19  # the same for a step of a recurrence
SYMBOLIC = 1 << 10  # what a symbolic extent is taken for
_CHEAP = set(
    "add subtract multiply negative minimum maximum machine_minimum machine_maximum where absolute less less_equal "
    "greater greater_equal equal not_equal bitwise_and bitwise_or invert".split()
)


@dataclass(frozen=True)
class Facts:
    """The machine, as far as schedules depend on it."""

    vector_bytes: int
    cache_bytes: int = 1 << 62  # of the last cache

    def lanes(self, dtype: str) -> int:
        """Elements in a vector."""
        return max(self.vector_bytes // dtypes.itemsize(dtype), 1)

    @property
    def registers(self) -> int:
        """Vector registers."""
        return hardware.registers(self.vector_bytes)


def seen(schedule: Schedule) -> State:
    """The stages as they are computed: without those that are inlined, whose expressions stand in their readers."""
    return inlined(schedule.state)


def count(extent: Dim) -> int:
    return extent if isinstance(extent, int) else SYMBOLIC


def points(axes: Iterable[Axis]) -> int:
    """How many steps the loops of axes take together."""
    return prod(count(a.extent) for a in axes)


def as_long(axes: Iterable[Axis], others: Iterable[Axis]) -> bool:
    """Whether axes have the extents of others, as far as both go."""
    return all(a.extent is b.extent or a.extent == b.extent for a, b in zip(axes, others))


@dataclass
class View:
    """A stage as the rules see it: one equation, its axes, its accesses and how they move with each axis. `steps`: the
    axes along which it takes turns, with others or its own equations; `own`: the tensors that are computed in turn.
    """

    stage: StageState
    steps: tuple[str, ...] = ()
    own: tuple[Tensor, ...] = ()
    strides: dict[tuple[Access, Axis], int | None] = field(default_factory=dict)

    @cached_property
    def simple(self) -> bool:
        """Whether it is a single equation that does not read itself."""
        return len(self.stage.parts) == 1 and not any(a.tensor in self.stage.tensors for a in self.accesses)

    @cached_property
    def values(self) -> tuple[Expr, ...]:
        """The expressions inside of the reduction, or the stage's own."""
        reduction = self.stage.reduction
        if reduction is None:
            return self.stage.general.values
        return reduction.values if reduction.where is None else (*reduction.values, reduction.where)

    @cached_property
    def accesses(self) -> list[Access]:
        return [n for part in self.stage.parts for n in walk(*part.values) if isinstance(n, Access)]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.stage.axes

    @property
    def last(self) -> Axis:
        """The last axis that has more than one step: the result is contiguous along it."""
        return next((a for a in reversed(self.axes) if a.extent != 1), self.axes[-1])

    @property
    def before(self) -> tuple[Axis, ...]:
        """The axes before the last that has more than one step."""
        return self.axes[: next(n for n, a in enumerate(self.axes) if a is self.last)]

    @property
    def free(self) -> tuple[Axis, ...]:
        """The axes whose loops may be cut and put into another order."""
        return tuple(a for a in self.axes if a.name not in self.steps)

    @property
    def reduce_axes(self) -> tuple[Axis, ...]:
        return self.stage.reduce_axes

    @property
    def dtype(self) -> str:
        return self.stage.tensor.dtype

    @cached_property
    def work(self) -> int:
        """Operations, roughly; of one step where it takes turns."""
        return points((*self.free, *self.reduce_axes)) * max(
            sum(isinstance(n, Apply) for v in self.values for n in walk(v)), 1
        )

    @property
    def one_result(self) -> bool:
        """Whether it is a reduction to one value for each element, in a single equation."""
        reduction = self.reduction
        return self.simple and reduction is not None and reduction.reducer.components == len(self.stage.tensors) == 1

    @property
    def at_root(self) -> bool:
        """Whether it has loops of its own, outside of all others."""
        return self.stage.attach.kind == "root"

    @property
    def large(self) -> bool:
        """Whether several threads pay. In every step of a recurrence they have to be started anew."""
        return self.work >= (STEP if self.steps else LARGE)

    @cached_property
    def expensive(self) -> int:
        """Calls of functions that take more than an instruction."""
        return sum(
            isinstance(n, Apply) and n.function not in _CHEAP and n.dtype not in dtypes.WEAK
            for v in self.values
            for n in walk(v)
        )

    @cached_property
    def calls(self) -> int:
        """Calls of functions that take many instructions."""
        return sum(
            isinstance(n, Apply)
            and n.function not in _CHEAP
            and n.function not in ("divide", "sqrt")
            and n.dtype not in dtypes.WEAK
            for v in self.values
            for n in walk(v)
        )

    def stride(self, access: Access, axis: Axis) -> int | None:
        """By how many elements an access moves with an axis; None when that is not constant (or depends on data)."""
        key = (access, axis)
        if key not in self.strides:
            self.strides[key] = _stride(access, axis)
        return self.strides[key]

    def uses(self, access: Access, axis: Axis) -> bool:
        return any(a is axis for a in free_axes(access))

    @property
    def reduction(self) -> Reduce | None:
        return self.stage.reduction

    @property
    def where(self) -> Expr | None:
        """The condition of its reduction, if there is one."""
        return None if self.reduction is None else self.reduction.where


def look(schedule: Schedule, name: str) -> View:
    """A stage as it is computed."""
    state = seen(schedule)
    stage = state.stage(name)
    group = state.group(name)
    own = tuple(t for n in group[0] for t in state.stage(n).tensors) if group else ()
    return View(stage, stepped(state, stage), own)


def _stride(access: Access, axis: Axis) -> int | None:
    tensor: Tensor = access.tensor
    steps = tensor.strides
    total = 0
    step: int | None = 1
    for d in reversed(range(tensor.rank)):
        own: object = step if steps is None else steps[d]
        form = affine_of(access.indices[d]) if access.indices[d].dtype == "int" else None
        touched = any(a is axis for a in free_axes(access.indices[d]))
        if touched:
            if (
                form is None
                or not isinstance(own, int)
                or any(atom is not axis and any(a is axis for a in free_axes(atom)) for atom in form.terms)
            ):
                return None
            total += form.terms.get(axis, 0) * own
        extent = tensor.shape[d]
        step = step * extent if step is not None and isinstance(extent, int) else None
    return total
