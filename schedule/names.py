"""What a user means by a stage, a tensor or a loop: names, by which handles fit copies and replays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Axis, Expr
from tedsl.lang.tensor import Tensor

from .primitives.stages import StageTensor
from .state import State, initial


class Scheduled(Protocol):
    """What handles need of a schedule."""

    state: State

    def take(
        self, stage: str, primitive: str, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
    ) -> tuple[str, ...]: ...


class StageName:
    """A stage of a schedule, by its name."""

    __slots__ = ("name", "schedule")

    def __init__(self, schedule: Scheduled, name: str) -> None:
        self.schedule, self.name = schedule, name


class Loop(Axis):
    """A loop of a stage, as primitives return it. It is only a name (and equal to every axis of that name); `extent` is
    that of the schedule when it was asked for, `stage` the name of the stage.
    """

    __slots__ = ()

    def __new__(cls, name: str, lo: Any = 0, extent: Any = None, stage: str = "") -> Loop:
        return Expr.__new__(cls, name, lo, extent, stage)

    stage = property(lambda self: self.args[3])


def stage_name(state: State, key: Any) -> str:
    """The name of the stage that `key` means: its handle, its tensor or its name. Raises ScheduleError for another."""
    names = [s.name for s in state.stages]
    if isinstance(key, StageName):
        _same_program(state, key)
        key = key.name
    elif isinstance(key, Tensor):
        key = _standing(state, key)
        writer = state.writer(key)
        if writer is not None:
            return writer.name
        if any(t is key for _, t in state.inputs):
            raise ScheduleError(
                f"{key.name} is an input and has no loops. Its readers have; a copy of it has loops of its own: "
                f"s.cache_read({key.name}, scope, readers)",
            )
        if not isinstance(key, StageTensor):
            raise ScheduleError(
                f"{key!r} is no part of this schedule, whose stages are {', '.join(names)}. Make the schedule of "
                "a tensor that needs it",
            )
        key = key.name
    elif not isinstance(key, str):
        raise ScheduleError(f"{key!r} names no stage; a stage is given by its tensor, its name or its handle")
    if key in names:
        return cast(str, key)
    for s in state.stages:
        if any(t.name == key for t in s.tensors):
            return s.name
    raise ScheduleError(f"this schedule has no stage {key}; its stages are {', '.join(names)}")


def _standing(state: State, tensor: Tensor) -> Tensor:
    """The tensor of this schedule that stands for `tensor` when sizes have been fixed; itself otherwise."""
    stands = (t for t in state.tensors().values() if getattr(t, "source", None) is tensor)
    return next((t for t in stands if not isinstance(t, StageTensor)), tensor)


def _same_program(state: State, handle: StageName) -> None:
    mine, other = state.outputs, handle.schedule.state.outputs
    if all(a is b for a, b in zip(other, mine, strict=False)):
        return
    if [s.name for s in initial(other).stages] == [s.name for s in initial(mine).stages]:
        return  # a copy that travelled
    raise ScheduleError(
        f"the stage {handle.name} belongs to the schedule of {', '.join(t.name for t in other)}, and "
        f"this is one of {', '.join(t.name for t in mine)}. Take the stage from this schedule",
    )


def tensor_name(state: State, key: Any) -> str:
    """The name of the tensor that `key` means: an input or what a stage computes."""
    tensors = state.tensors()
    if isinstance(key, Tensor):
        key = _standing(state, key)
        for name, t in tensors.items():
            if t is key:
                return name
        if isinstance(key, StageTensor) and key.name in tensors:
            return key.name
    elif isinstance(key, StageName):
        return stage_name(state, key)
    elif isinstance(key, str) and key in tensors:
        return key
    shown = key.name if isinstance(key, Tensor) else repr(key)
    if isinstance(key, Tensor) and shown in tensors:
        shown = f"this {shown}, another one than the {shown} that is read,"
    raise ScheduleError(f"{shown} is no tensor of this schedule; its tensors are {', '.join(tensors)}")


def loop_name(state: State, stage: str, key: Any, primitive: str) -> str:
    """The name of the loop of `stage` that `key` means."""
    if isinstance(key, Loop) and key.stage != stage:
        mine = state.stage(stage)
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
        f"{primitive} of {stage} got {key!r}; an axis is given by itself, by its name, or as a primitive returned it",
    )
