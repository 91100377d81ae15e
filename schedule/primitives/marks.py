"""Primitives that say how a loop runs: vectorize, unroll, parallel, bind, pragma."""

from __future__ import annotations

from dataclasses import replace

from tedsl.lang.errors import ScheduleError
from tedsl.schedule.loops.ir import GPU_AXES
from tedsl.schedule.state import State

from . import legality
from .loops import Result
from .recurrences import marked_in_step


def _marked(state: State, name: str, axis: str, kind: str, primitive: str) -> Result:
    stage = state.stage(name)
    legality.is_loop(stage, axis, primitive)
    before = stage.kind(axis)
    if before not in ("serial", kind):
        raise ScheduleError(
            f"{primitive} of the axis {axis} of {name}: it is {before} already. Split it and mark one of the two loops",
        )
    return marked_in_step(state.updated(stage.with_kind(axis, kind)), name), ()


def vectorize(state: State, name: str, axis: str) -> Result:
    """The loop's steps become lanes of vector instructions.

    Checked: it is not reduced over (`rfactor` makes it a loop that can be), no step reads what another one writes, and
    it stands in no other vectorised loop.
    """
    return _marked(state, name, axis, "vectorized", "vectorize")


def unroll(state: State, name: str, axis: str) -> Result:
    """The loop's steps are written out one after the other. A loop whose extent is not constant stays a loop."""
    return _marked(state, name, axis, "unrolled", "unroll")


def parallel(state: State, name: str, axis: str) -> Result:
    """The loop's steps are shared among threads.

    Checked: it is not reduced over (`rfactor` makes it a loop that can be), no step reads what another one writes, and
    it stands in no other parallel loop.
    """
    return _marked(state, name, axis, "parallel", "parallel")


def bind(state: State, name: str, axis: str, thread: str) -> Result:
    """The loop's steps run on the axis `thread` of a GPU: blockIdx.x … threadIdx.z. For target="cuda" only.

    Checked as `parallel` is.
    """
    if thread not in GPU_AXES:
        raise ScheduleError(
            f"bind of the axis {axis} of {name} to {thread!r}: the axes of a GPU are {', '.join(GPU_AXES)}"
        )
    return _marked(state, name, axis, thread, "bind")


def pragma(state: State, name: str, axis: str, text: str) -> Result:
    """`#pragma text` stands before the loop in the C source. The text is taken as it is.

    "stream" is no compiler's: a vectorised loop with it writes whole lines past the caches, without reading them
    before. That is for results larger than the last cache, along rows of some length: of one loop, or of one vector
    after the other in the loop around it.

    Checked: "stream" is said of a vectorised loop, everything else of a plain one.
    """
    stage = state.stage(name)
    legality.is_loop(stage, axis, "pragma")
    if not isinstance(text, str) or not text.strip() or set(text) & set("\n\r\v\f\0\\"):
        raise ScheduleError(
            f"pragma of the axis {axis} of {name}: {text!r} is no pragma; it is one line of text, such as 'GCC "
            "unroll 4'",
        )
    if (axis, text.strip()) in stage.pragmas:
        raise ScheduleError(f"pragma of the axis {axis} of {name}: it has the pragma {text.strip()!r} already")
    return state.updated(replace(stage, pragmas=(*stage.pragmas, (axis, text.strip())))), ()
