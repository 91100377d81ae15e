"""Schedules: how the loops of a program run.

A schedule is a value with a history. Every step is checked when it is asked for; one that is refused leaves nothing
behind. Handles (stages, loops) are names, so they work on copies and replays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tedsl.hardware import INSTRUCTION_SETS
from tedsl.lang.errors import ScheduleError, here
from tedsl.lang.tensor import Tensor

from .handles import StageHandle, told_by
from .history import History, Step, decoded, encoded, steps_from
from .loops.program import Nest, make_nest
from .names import Loop, loop_name, stage_name, tensor_name
from .primitives import loops, marks, placement
from .primitives import stages as making
from .primitives.check import check
from .primitives.intrinsics import Undeclared
from .sizes import fixed_steps, fixed_tensors, fixed_values, program_sizes
from .state import Result, State, initial
from .text import schedule_html, schedule_text

__all__ = ["Loop", "Schedule", "as_outputs", "create_schedule", "lower"]

OF_THE_SCHEDULE = (making.cache_read, making.cache_write, making.rfactor)
OF_A_STAGE = (
    loops.split, loops.tile, loops.fuse, loops.reorder,
    marks.vectorize, marks.unroll, marks.parallel, marks.bind, marks.pragma,
    placement.compute_at, placement.compute_inline, placement.compute_root, placement.set_scope, placement.layout,
    placement.storage_align, placement.double_buffer, placement.prefetch,
)  # fmt: skip
PRIMITIVES: dict[str, Callable[..., Result]] = {
    rule.__name__: rule for rule in (*OF_A_STAGE, *OF_THE_SCHEDULE, marks.tensorize)
}


class Schedule:
    """A schedule of a program. Made by `te.create_schedule`; `s[T]`, `s["name"]` is a stage."""

    def __init__(self, outputs: tuple[Tensor, ...], several: bool) -> None:
        self.outputs = outputs
        self.several = several
        self.state: State = initial(outputs)
        self._past: tuple[tuple[State, Step], ...] = ()  # the state before each step, and the step
        self._together = False  # whether the steps being taken are checked at the end

    # Stages -----------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> StageHandle:
        return StageHandle(self, stage_name(self.state, key))

    def __contains__(self, key: Any) -> bool:
        try:
            stage_name(self.state, key)
        except ScheduleError:
            return False
        return True

    def __iter__(self) -> Iterator[StageHandle]:
        return iter(self.stages)

    @property
    def stages(self) -> tuple[StageHandle, ...]:
        """Every stage, producers before their readers."""
        return tuple(StageHandle(self, s.name) for s in self.state.stages)

    # Steps ------------------------------------------------------------------------------------------------------------

    @contextmanager
    def checked_together(self) -> Iterator[None]:
        """Steps taken inside are checked once, at the end, and not one by one: for rules that know what is legal.
        Raises ScheduleError at the end.
        """
        self._together = True
        try:
            yield
        finally:
            self._together = False
        check(self.state, "the steps")

    def take(
        self,
        stage: str,
        primitive: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None,
        location: Any = None,
        trust: bool = False,
    ) -> tuple[str, ...]:
        """Carry out a step given in names and numbers, as a history holds it. Returns the names of the loops or stages
        that it made. Raises ScheduleError, and leaves the schedule as it was, when it may not be done. `trust`: run the
        C code of intrinsics that this program has not declared.
        """
        rule = PRIMITIVES.get(primitive)
        if rule is None:
            raise ScheduleError(f"there is no primitive {primitive}; one of {', '.join(PRIMITIVES)}")
        kwargs = kwargs or {}
        known = {k: decoded(v, trust) for k, v in kwargs.items()}
        values = [decoded(a, trust) for a in args]
        if rule not in OF_THE_SCHEDULE:
            values.insert(0, stage_name(self.state, stage))
        state, made = rule(self.state, *values, **known)
        step = Step(stage, primitive, tuple(args), dict(kwargs), location or here(), made)
        if not self._together:
            check(state, str(step))
        if step.stage and made:  # the loops that it made know of it
            changed = state.stage(step.stage)
            for loop in made:
                changed = changed.marked(loop, made_by=step.call)
            state = state.updated(changed)
        self._past = (*self._past, (self.state, step))
        self.state = state
        return made

    @property
    def history(self) -> History:
        """The steps so far; prints as the Python that replays them."""
        return History([step for _, step in self._past])

    def undo(self, steps: int = 1) -> Schedule:
        """Take back the last step (or the last few)."""
        if not isinstance(steps, int) or steps < 0 or steps > len(self._past):
            raise ScheduleError(f"undo of {steps!r} steps: this schedule has {len(self._past)}")
        if steps:
            self.state = self._past[-steps][0]
            self._past = self._past[:-steps]
        return self

    def copy(self) -> Schedule:
        """Another schedule of the same program with the same steps."""
        made = object.__new__(Schedule)
        made.outputs, made.several, made.state, made._past = self.outputs, self.several, self.state, self._past
        made._together = False
        return made

    __copy__ = copy

    def to_json(self) -> str:
        """The steps as JSON, for `te.create_schedule(T).replay(…)`."""
        return self.history.to_json()

    def replay(self, history: Any, trust: bool = False) -> Schedule:
        """Carry out the steps of another schedule (its `history`, or what its `to_json` gave) after those of this one.
        All of them, or none. `trust`: what the JSON says of intrinsics is taken as this program's own; otherwise those
        that it has not declared (`te.intrinsic`) are refused, because their C code would be run.
        """
        steps = steps_from(history)
        trust = trust or isinstance(history, History)  # one of this process, which has accepted its steps
        before = self.state, self._past
        for n, step in enumerate(steps):
            try:
                self.take(step.stage, step.primitive, step.args, step.kwargs, step.location, trust)
            except (ScheduleError, TypeError, KeyError, ValueError) as e:
                self.state, self._past = before
                message = e.message if isinstance(e, ScheduleError) else f"{type(e).__name__}: {e}"
                where = f"step {n + 1} of {len(steps)} of the history, {step}"
                if isinstance(e, Undeclared):
                    raise Undeclared(f"{where}, is refused: {message}") from None
                raise ScheduleError(f"{where}, does not fit this program: {message}") from None
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (self.outputs, self.several, self.to_json()))

    # Sizes ------------------------------------------------------------------------------------------------------------

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the tile factors that are sizes: they need values before the schedule can be lowered."""
        return self.state.factors

    def fixed(self, **sizes: int) -> Schedule:
        """The same schedule with whole numbers in place of the sizes named: tile factors, and the sizes of the
        program. Raises ScheduleError for a size that it does not have, or for a number that the size cannot be.
        """
        values = fixed_values(self.outputs, self.history, sizes)
        outputs = self.outputs
        if any(name in values for name in program_sizes(outputs)):
            outputs = fixed_tensors(outputs, values)
        return Schedule(outputs, self.several).replay(fixed_steps(self.history, values), trust=True)

    # Rewriting --------------------------------------------------------------------------------------------------------

    @told_by(making.cache_read)
    def cache_read(self, tensor: Any, scope: str, readers: Any) -> Tensor:
        given = readers if isinstance(readers, (list, tuple)) else [readers]
        names = tensor_name(self.state, tensor), scope, [stage_name(self.state, r) for r in given]
        (made,) = self.take("", "cache_read", names)
        return self.state.stage(made).tensor

    @told_by(making.cache_write)
    def cache_write(self, tensor: Any, scope: str) -> Any:
        several = isinstance(tensor, (list, tuple))
        names = [tensor_name(self.state, t) for t in (tensor if several else [tensor])]
        self.take("", "cache_write", (names if several else names[0], scope))
        found = making.written(self.state, names)
        return found if several else found[0]

    @told_by(making.rfactor)
    def rfactor(self, tensor: Any, axis: Any, factor_axis: int = 0) -> Any:
        stage = stage_name(self.state, tensor)
        kwargs = {} if factor_axis == 0 else {"factor_axis": encoded(factor_axis)}
        (made,) = self.take("", "rfactor", (stage, loop_name(self.state, stage, axis, "rfactor")), kwargs)
        tensors = self.state.stage(made).tensors
        return tensors[0] if len(self.state.stage(stage).tensors) == 1 else list(tensors)

    # Showing ----------------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return schedule_text(self.state)

    def __repr__(self) -> str:
        return f"<schedule of {', '.join(t.name for t in self.outputs)}, {len(self._past)} steps>"

    def _repr_html_(self) -> str:
        return schedule_html(self.state, self.history)


def _restored(outputs: tuple[Tensor, ...], several: bool, history: str) -> Schedule:
    return Schedule(outputs, several).replay(history, trust=True)  # as a pickle is


def as_outputs(target: Any) -> tuple[tuple[Tensor, ...], bool]:
    """What a user gives as a program: a tensor, or a sequence of tensors (then the results come as a tuple)."""
    several = isinstance(target, (list, tuple))
    outputs = tuple(target) if several else (target,)
    for t in outputs:
        if not isinstance(t, Tensor):
            raise ScheduleError(f"{t!r} is no tensor; a program is a tensor, or a list of the tensors that it computes")
        if t.is_input and t.shape is not None:
            raise ScheduleError(
                f"{t.name} is an input: it has a shape and no definition, so there is nothing to compute; define it "
                f"({t.name}[i, …] = …)",
            )
    if not outputs:
        raise ScheduleError("a program needs at least one result")
    twice = [t.name for n, t in enumerate(outputs) if t in outputs[:n]]
    if twice:
        raise ScheduleError(f"{twice[0]} is listed twice; a program computes each of its results once")
    return outputs, several


def create_schedule(target: Tensor | Sequence[Tensor]) -> Schedule:
    """The default schedule of a tensor, or of several that are computed by one kernel: plain loops, every stage on its
    own.

    Each of its primitives is checked when it is called: ScheduleError says what is refused, why, and what to do
    instead.

    >>> import tedsl as te
    >>> i, j, k = te.axes("i j k")
    >>> A, B, C = te.tensor("A", (64, 64)), te.tensor("B", (64, 64)), te.tensor("C")
    >>> C[i, j] = te.sum(A[i, k] * B[j, k])
    >>> s = te.create_schedule(C)
    >>> io, jo, ii, ji = s[C].tile(i, j, 12, 32)
    >>> print(s.history)
    s["C"].tile("i", "j", 12, 32)  # i_o, j_o, i_i, j_i
    """
    return Schedule(*as_outputs(target))


def lower(target: Any, args: Sequence[Tensor] | None = None, *, isa: str | None = None, **sizes: int) -> Nest:
    """The loops of a schedule (or of a tensor with the default schedule). `sizes`: values of symbolic sizes and tile
    factors. `isa`: "sse2", "avx2" or "avx512", to see the vectors in place of vectorised loops, and why there are none.

    Raises ScheduleError for what only the whole schedule can tell.
    """
    s = target if isinstance(target, Schedule) else create_schedule(target)
    if sizes:
        s = s.fixed(**sizes)
    if isa is not None and isa not in INSTRUCTION_SETS:
        raise ScheduleError(f"isa={isa!r}: expected one of {', '.join(map(repr, INSTRUCTION_SETS))}")
    nest = make_nest(s.state, args, s.several)
    return nest if isa is None else nest.vectorized(INSTRUCTION_SETS[isa])
