"""Schedules: how the loops of a program run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tedsl.lang.errors import ScheduleError, here
from tedsl.lang.tensor import Tensor

from .nest import Nest, make_nest
from .state import State, initial


class Schedule:
    """A schedule of a program. Made by `te.create_schedule`."""

    def __init__(self, outputs: tuple[Tensor, ...], several: bool) -> None:
        self.outputs = outputs
        self.several = several
        self.state: State = initial(outputs)


def as_outputs(target: Any) -> tuple[tuple[Tensor, ...], bool]:
    """What a user gives as a program: a tensor, or a sequence of tensors (then the results come as a tuple)."""
    several = isinstance(target, (list, tuple))
    outputs = tuple(target) if several else (target,)
    for t in outputs:
        if not isinstance(t, Tensor):
            raise ScheduleError(f"{t!r} is no tensor", here())
    if not outputs:
        raise ScheduleError("a program needs at least one result", here())
    return outputs, several


def create_schedule(target: Tensor | Sequence[Tensor]) -> Schedule:
    """The default schedule of a tensor, or of several that are computed by one kernel: plain loops, every stage on its own."""
    return Schedule(*as_outputs(target))


def lower(target: Any, args: Sequence[Tensor] | None = None) -> Nest:
    """The loops of a schedule (or of a tensor with the default schedule)."""
    s = target if isinstance(target, Schedule) else create_schedule(target)
    return make_nest(s.state, args, s.several)
