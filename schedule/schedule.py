"""Schedules: how the loops of a program run.

A schedule is a value with a history. Every step is checked when it is asked for; one that is refused leaves nothing
behind. Handles (stages, loops) are names, so they work on copies and replays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from tedsl.lang.errors import ScheduleError, here
from tedsl.lang.expr import Axis
from tedsl.lang.tensor import Tensor

from .handles import Loop, StageHandle
from .history import History, Step, decoded, encoded, steps_from
from .loops.program import Nest, make_nest
from .primitives import intrinsics as tensorize
from .primitives import loops
from .primitives import marks as kinds
from .primitives import placement as places
from .primitives import stages as rewrites
from .primitives.legality import check
from .state import State, initial

PRIMITIVES = {
    "split": loops.split, "tile": loops.tile, "fuse": loops.fuse, "reorder": loops.reorder,
    "vectorize": kinds.vectorize, "unroll": kinds.unroll, "parallel": kinds.parallel, "bind": kinds.bind, "pragma": kinds.pragma,
    "compute_at": places.compute_at, "compute_inline": places.compute_inline, "compute_root": places.compute_root, "set_scope": places.set_scope,
    "layout": places.layout, "storage_align": places.storage_align, "double_buffer": places.double_buffer, "prefetch": places.prefetch,
    "cache_read": rewrites.cache_read, "cache_write": rewrites.cache_write, "rfactor": rewrites.rfactor,
    "tensorize": tensorize.tensorize,
}  # fmt: skip
OF_THE_SCHEDULE = ("cache_read", "cache_write", "rfactor")  # the others belong to a stage


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
        return StageHandle(self, self._stage(key))

    def __contains__(self, key: Any) -> bool:
        try:
            self._stage(key)
        except ScheduleError:
            return False
        return True

    def __iter__(self) -> Iterator[StageHandle]:
        return iter(self.stages)

    @property
    def stages(self) -> tuple[StageHandle, ...]:
        """Every stage, producers before their readers."""
        return tuple(StageHandle(self, s.name) for s in self.state.stages)

    def _stage(self, key: Any) -> str:
        """The name of the stage that `key` means."""
        names = [s.name for s in self.state.stages]
        if isinstance(key, StageHandle):
            self._same_program(key)
            key = key.name
        elif isinstance(key, Tensor):
            key = self._standing(key)
            writer = self.state.writer(key)
            if writer is not None:
                return writer.name
            if any(t is key for _, t in self.state.inputs):
                raise ScheduleError(
                    f"{key.name} is an input and has no loops. Its readers have; a copy of it has loops of its own: "
                    f"s.cache_read({key.name}, scope, readers)",
                )
            if not isinstance(key, rewrites.StageTensor):
                raise ScheduleError(
                    f"{key!r} is no part of this schedule, whose stages are {', '.join(names)}. Make the schedule of "
                    "a tensor that needs it",
                )
            key = key.name
        elif not isinstance(key, str):
            raise ScheduleError(f"{key!r} names no stage; a stage is given by its tensor, its name or its handle")
        if key in names:
            return cast(str, key)
        for s in self.state.stages:
            if any(t.name == key for t in s.tensors):
                return s.name
        raise ScheduleError(f"this schedule has no stage {key}; its stages are {', '.join(names)}")

    def _standing(self, tensor: Tensor) -> Tensor:
        """The tensor of this schedule that stands for `tensor` when sizes have been fixed; itself otherwise."""
        return next(
            (
                t
                for t in self.state.tensors().values()
                if getattr(t, "source", None) is tensor and not isinstance(t, rewrites.StageTensor)
            ),
            tensor,
        )

    def _same_program(self, handle: StageHandle) -> None:
        other = handle.schedule
        if other is self or all(a is b for a, b in zip(other.outputs, self.outputs, strict=False)):
            return
        if [s.name for s in initial(other.outputs).stages] == [s.name for s in initial(self.outputs).stages]:
            return  # a copy that travelled
        raise ScheduleError(
            f"the stage {handle.name} belongs to the schedule of {', '.join(t.name for t in other.outputs)}, and "
            f"this is one of {', '.join(t.name for t in self.outputs)}. Take the stage from this schedule",
        )

    def _tensor(self, key: Any) -> str:
        """The name of the tensor that `key` means: an input or what a stage computes."""
        tensors = self.state.tensors()
        if isinstance(key, Tensor):
            key = self._standing(key)
            for name, t in tensors.items():
                if t is key:
                    return name
            if isinstance(key, rewrites.StageTensor) and key.name in tensors:
                return key.name
        elif isinstance(key, StageHandle):
            return self._stage(key)
        elif isinstance(key, str) and key in tensors:
            return key
        shown = key.name if isinstance(key, Tensor) else repr(key)
        if isinstance(key, Tensor) and shown in tensors:
            shown = f"this {shown}, another one than the {shown} that is read,"
        raise ScheduleError(f"{shown} is no tensor of this schedule; its tensors are {', '.join(tensors)}")

    def _loop(self, stage: str, key: Any, primitive: str) -> str:
        """The name of the loop of `stage` that `key` means."""
        if isinstance(key, Loop) and key.stage != stage:
            mine = self.state.stage(stage)
            if mine.root(key.name) is None and not stage.startswith(key.stage + "."):
                raise ScheduleError(
                    f"{primitive} of {stage} got the loop {key.name} of {key.stage}; the loops of {stage} are "
                    f"{', '.join(mine.leaves) or 'none'}",
                )
        if isinstance(key, Axis):
            return cast(str, key.name)
        if isinstance(key, str):
            return key
        raise ScheduleError(
            f"{primitive} of {stage} got {key!r}; an axis is given by itself, by its name, or as a primitive "
            "returned it",
        )

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

    def _apply(
        self,
        stage: str,
        primitive: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None = None,
        location: Any = None,
    ) -> tuple[str, ...]:
        """Carry out a step given in names and numbers. Raises ScheduleError, and leaves the schedule as it was, when it
        may not be done.
        """
        rule = PRIMITIVES.get(primitive)
        if rule is None:
            raise ScheduleError(f"there is no primitive {primitive}; one of {', '.join(PRIMITIVES)}")
        kwargs = kwargs or {}
        known = {k: decoded(v) for k, v in kwargs.items()}
        values = [decoded(a) for a in args]
        if primitive not in OF_THE_SCHEDULE:
            values.insert(0, self._stage(stage))
        state, made = cast(Any, rule)(self.state, *values, **known)
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
        return cast("tuple[str, ...]", made)

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

    def replay(self, history: Any) -> Schedule:
        """Carry out the steps of another schedule (its `history`, or what its `to_json` gave) after those of this one.
        All of them, or none.
        """
        steps = steps_from(history)
        before = self.state, self._past
        for n, step in enumerate(steps):
            try:
                self._apply(step.stage, step.primitive, step.args, step.kwargs, step.location)
            except (ScheduleError, TypeError, KeyError, ValueError) as e:
                self.state, self._past = before
                message = e.message if isinstance(e, ScheduleError) else f"{type(e).__name__}: {e}"
                raise ScheduleError(
                    f"step {n + 1} of {len(steps)} of the history, {step}, does not fit this program: {message}"
                ) from None
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
        program.
        """
        from .sizes import fixed_schedule

        return fixed_schedule(self, sizes)

    # Rewriting --------------------------------------------------------------------------------------------------------

    def cache_read(self, tensor: Any, scope: str, readers: Any) -> Tensor:
        """A copy of `tensor` in `scope` (global, cache, register, shared), from which `readers` (stages or tensors, one
        or several) read.

        Returns the copy, a stage named after the tensor and the scope; its axes are `s[copy].axis`. Computed at the
        root (or where the tensor is) until compute_at says otherwise. Raises ScheduleError when a reader does not read
        the tensor, or computes it.

        L = f(A)    →    A.cache[i, k] = A[i, k];  L = f(A.cache)

        >>> import tedsl as te
        >>> i, k = te.axes("i k")
        >>> A, L = te.tensor("A", (8, 30)), te.tensor("L"); L[i] = te.sum(A[i, k])
        >>> s = te.create_schedule(L)
        >>> copy = s.cache_read(A, "cache", L)
        >>> s[copy].compute_at(s[L], i)
        >>> print(s)
        for i in 0..8:
          A.cache: float32[1, 30] in cache
          for k in 0..30:
            A.cache[0, k] = A[i, k]
          L.acc: float32[] in register
          L.acc[] = 0.0
          for k in 0..30:
            L.acc[] = L.acc[] + A.cache[0, k]
          L[i] = L.acc[]
        """
        given = readers if isinstance(readers, (list, tuple)) else [readers]
        (made,) = self._apply("", "cache_read", (self._tensor(tensor), scope, [self._stage(r) for r in given]))
        return self.state.stage(made).tensor

    def cache_write(self, tensor: Any, scope: str) -> Any:
        """Compute `tensor` (or all tensors of a stage, or those of several stages, in a list) in `scope`, and copy the
        result to where it belongs.

        Returns the new tensor (a list for a list), a stage named after the tensor and the scope. It has the definition,
        with its axes and its reduction; the old stage copies. In a recurrence both take its steps. Raises ScheduleError
        when the reduction has been scheduled already.

        L[i] = sum(…)    →    L.cache[i] = sum(…);  L[i] = L.cache[i]

        >>> import tedsl as te
        >>> i, k = te.axes("i k")
        >>> A, L = te.tensor("A", (8, 30)), te.tensor("L"); L[i] = te.sum(A[i, k])
        >>> s = te.create_schedule(L)
        >>> s.cache_write(L, "cache")
        <tensor L.cache(8,) float32>
        >>> s["L.cache"].reduce_axis, s[L].reduce_axis
        ((k,), ())
        """
        several = isinstance(tensor, (list, tuple))
        given = list(tensor) if several else [tensor]
        names = [self._tensor(t) for t in given]
        self._apply("", "cache_write", (names if several else names[0], scope))
        found = rewrites.written(self.state, names)
        return found if several else found[0]

    def rfactor(self, tensor: Any, axis: Any, factor_axis: int = 0) -> Any:
        """Partial results of a reduction, one for each step of its loop `axis`: a new stage with that axis as its
        dimension `factor_axis`. `tensor` then reduces over it. Returns the new tensor (a list when the stage computes
        several). Raises ScheduleError when the axis is not reduced over.

        L[i] = sum(A[i, k])    →    L.rf[k_o, i] = sum(A[i, …], axis=k_i);  L[i] = sum(L.rf[k_o, i], axis=k_o)

        >>> import tedsl as te
        >>> i, k = te.axes("i k")
        >>> A, L = te.tensor("A", (8, 30)), te.tensor("L"); L[i] = te.sum(A[i, k])
        >>> s = te.create_schedule(L)
        >>> k_o, k_i = s[L].split(k, nparts=4)
        >>> P = s.rfactor(L, k_o)
        >>> P
        <tensor L.rf(4, 8) float32>
        >>> s[P].parallel(k_o)
        """
        stage = self._stage(tensor)
        kwargs = {} if factor_axis == 0 else {"factor_axis": encoded(factor_axis)}
        (made,) = self._apply("", "rfactor", (stage, self._loop(stage, axis, "rfactor")), kwargs)
        tensors = self.state.stage(made).tensors
        return tensors[0] if len(self.state.stage(stage).tensors) == 1 else list(tensors)

    # Showing ----------------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        from .text import schedule_text

        return schedule_text(self)

    def __repr__(self) -> str:
        return f"<schedule of {', '.join(t.name for t in self.outputs)}, {len(self._past)} steps>"

    def _repr_html_(self) -> str:
        from .text import schedule_html

        return schedule_html(self)


def _restored(outputs: tuple[Tensor, ...], several: bool, history: str) -> Schedule:
    return Schedule(outputs, several).replay(history)


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


def lower(target: Any, args: Sequence[Tensor] | None = None, **sizes: int) -> Nest:
    """The loops of a schedule (or of a tensor with the default schedule). `sizes`: values of symbolic sizes and tile
    factors.

    Raises ScheduleError for what only the whole schedule can tell.
    """
    s = target if isinstance(target, Schedule) else create_schedule(target)
    if sizes:
        s = s.fixed(**sizes)
    return make_nest(s.state, args, s.several)
