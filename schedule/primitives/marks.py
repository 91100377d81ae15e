"""Primitives that say how a loop runs: vectorize, unroll, parallel, bind, pragma, tensorize."""

from __future__ import annotations

from tedsl.lang.errors import ScheduleError
from tedsl.schedule.loops.ir import GPU_AXES
from tedsl.schedule.state import Result, State

from . import legality
from .intrinsics import Intrinsic
from .matching import matched
from .recurrences import marked_in_step


def _marked(state: State, name: str, axis: str, kind: str, primitive: str) -> Result:
    stage = state.stage(name)
    legality.is_loop(stage, axis, primitive)
    before = stage.kind(axis)
    if before not in ("serial", kind):
        raise ScheduleError(
            f"{primitive} of the axis {axis} of {name}: it is {before} already. Split it and mark one of the two loops"
        )
    return marked_in_step(state.updated(stage.marked(axis, kind=kind)), name), ()


def vectorize(state: State, name: str, axis: str) -> Result:
    """The loop's steps become lanes of vector instructions. Raises ScheduleError for a loop that is reduced over
    (`rfactor` makes it one that can be), whose steps read what another one writes, or that stands in another
    vectorised loop. (TVM, Halide: vectorize.)

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> s[B].vectorize(j)
    >>> print(s)
    for i in 0..8:
      for j in 0..12 vectorized:
        B[i, j] = 2.0 * A[i, j]
    """
    return _marked(state, name, axis, "vectorized", "vectorize")


def unroll(state: State, name: str, axis: str) -> Result:
    """The loop's steps are written out one after the other; a loop whose extent is known at the call alone stays one.
    (TVM, Halide: unroll.)

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> j_o, j_i = s[B].split(j, factor=2)
    >>> s[B].unroll(j_i)
    >>> print(te.lower(s))
    for i in 0..8:
      for j_o in 0..6:
        B[i, 2 * j_o] = 2.0 * A[i, 2 * j_o]
        B[i, 2 * j_o + 1] = 2.0 * A[i, 2 * j_o + 1]
    """
    return _marked(state, name, axis, "unrolled", "unroll")


def parallel(state: State, name: str, axis: str) -> Result:
    """The loop's steps are shared among threads. Raises ScheduleError for a loop that is reduced over (`rfactor` makes
    it one that can be), whose steps read what another one writes, or that stands in another parallel loop. (TVM,
    Halide: parallel.)

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> s[B].parallel(i)
    >>> print(s)
    for i in 0..8 parallel:
      for j in 0..12:
        B[i, j] = 2.0 * A[i, j]
    """
    return _marked(state, name, axis, "parallel", "parallel")


def bind(state: State, name: str, axis: str, thread: str) -> Result:
    """The loop's steps run on the axis `thread` of a GPU: "blockIdx.x" … "threadIdx.z". For target="cuda" only;
    checked as `parallel` is. (TVM: bind; Halide: gpu_blocks, gpu_threads.)
    """
    if thread not in GPU_AXES:
        raise ScheduleError(
            f"bind of the axis {axis} of {name} to {thread!r}: the axes of a GPU are {', '.join(GPU_AXES)}"
        )
    return _marked(state, name, axis, thread, "bind")


def pragma(state: State, name: str, axis: str, text: str) -> Result:
    """`#pragma text` stands before the loop in the C source. The text is taken as it is. (TVM: pragma.)

    "stream", of a vectorised loop, is no compiler's: it writes whole lines past the caches, without reading them
    before. That is for results larger than the last cache, along rows of some length: of one loop, or of one vector
    after the other in the loop around it.

    Raises ScheduleError for text of no or several lines, and for a loop that runs in parallel, as lanes or written
    out.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> A, B = te.tensor("A", (800,)), te.tensor("B"); B[i] = 2 * A[i]
    >>> s = te.create_schedule(B)
    >>> s[B].pragma(i, "GCC unroll 4")
    >>> print(s)
    #pragma GCC unroll 4
    for i in 0..800:
      B[i] = 2.0 * A[i]

    >>> i, j = te.axes("i j")
    >>> X, Y = te.tensor("X", (4096, 8192)), te.tensor("Y")
    >>> Y[i, j] = X[i, j] + 1
    >>> s = te.create_schedule(Y)
    >>> s[Y].vectorize(j)
    >>> s[Y].pragma(j, "stream")
    >>> "te_stream" in te.emit(s)
    True
    """
    stage = state.stage(name)
    legality.is_loop(stage, axis, "pragma")
    if not isinstance(text, str) or not text.strip() or set(text) & set("\n\r\v\f\0\\"):
        raise ScheduleError(
            f"pragma of the axis {axis} of {name}: {text!r} is no pragma; it is one line of text, such as 'GCC "
            "unroll 4'"
        )
    if text.strip() in stage.mark(axis).pragmas:
        raise ScheduleError(f"pragma of the axis {axis} of {name}: it has the pragma {text.strip()!r} already")
    return state.updated(stage.marked(axis, pragmas=(*stage.mark(axis).pragmas, text.strip()))), ()


def tensorize(state: State, name: str, axis: str, intrinsic: Intrinsic) -> Result:
    """The loops from `axis` inward become calls of an intrinsic (`te.intrinsic`), where they run in full; the loops
    stay for what is left over. Raises ScheduleError when they are not the intrinsic's pattern, or something else is
    computed in them. (TVM: tensorize.)

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> a, c = te.tensor("a", (4,)), te.tensor("c"); c[i] = 2 * a[i]
    >>> j_o, j_i = s[B].split(j, factor=4)
    >>> s[B].tensorize(j_i, te.intrinsic("twice", c, "twice({c}, {a});", "void twice(float *c, const float *a);"))
    >>> print(s)
    for i in 0..8:
      for j_o in 0..3:
        twice(B[i, 4 * j_o], A[i, 4 * j_o]);
    """
    stage = state.stage(name)
    legality.is_free_loop(state, stage, axis, "tensorize")
    if stage.tensorized:
        raise ScheduleError(
            f"tensorize of the axis {axis} of {name}: its loop {stage.tensorized} is tensorized already"
        )
    changed = stage.marked(axis, intrinsic=intrinsic)
    matched(state, changed, f"tensorize of the axis {axis} of {name}")
    return state.updated(changed), ()
