"""Primitives that say where a stage is computed and how it is stored: compute_at, compute_inline, compute_root,
set_scope, layout, storage_align, double_buffer, prefetch.
"""

from __future__ import annotations

from dataclasses import replace

from tedsl.lang.errors import ScheduleError
from tedsl.schedule.loops.ir import SCOPES
from tedsl.schedule.state import Attach, Result, State

from . import legality
from .recurrences import marked_in_step


def compute_at(state: State, name: str, parent: str, axis: str) -> Result:
    """The stage is computed inside of the loop `axis` of `parent`, just what is read there. (TVM, Halide: compute_at.)

    for all of H: H = …                 for y_o in V:
    for y_o in V: … = V reads H    →      for the part of H read in this step: H = …
                                          … = V reads H

    Stages that step together (a recurrence and the sums in it) go together to a loop of a stage that is none of
    them; to a loop of one of them, a stage goes alone, and is computed for one step at a time.

    Raises ScheduleError when something outside of that loop reads it, when it is a result, when it is a stage of a
    recurrence that would read there what is not computed yet, or when a stage would end up inside of itself.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> X, H, V = te.tensor("X", (34,)), te.tensor("H"), te.tensor("V")
    >>> H[i] = 2 * X[i]; V[i] = H[i] + H[i + 1] + H[i + 2]
    >>> s = te.create_schedule(V)
    >>> i_o, i_i = s[V].split(i, factor=8)
    >>> s[H].compute_at(s[V], i_o)
    >>> print(s)
    for i_o in 0..4:
      H: float32[10] in global
      for i in 0..10:
        H[i] = 2.0 * X[8 * i_o + i]
      for i_i in 0..8:
        V[8 * i_o + i_i] = H[i_i] + H[i_i + 1] + H[i_i + 2]
    """
    stage, outer = state.stage(name), state.stage(parent)
    legality.can_be_computed_at(state, stage, outer, axis)
    group = state.group(name)
    moved = (stage,) if group and parent in group[0] else state.stepping(name)
    return state.updated(*(replace(s, attach=Attach("at", parent, axis)) for s in moved)), ()


def compute_inline(state: State, name: str) -> Result:
    """The stage's expression takes the place of every read of it; nothing is stored. (TVM, Halide: compute_inline.)

    H[y] = f(X[y]); V[y] = g(H[y])    →    V[y] = g(f(X[y]))

    Raises ScheduleError for reductions, recurrences and results, and when something is computed at its loops.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> X, H, V = te.tensor("X", (34,)), te.tensor("H"), te.tensor("V")
    >>> H[i] = 2 * X[i]; V[i] = H[i] + H[i + 1] + H[i + 2]
    >>> s = te.create_schedule(V)
    >>> s[H].compute_inline()
    >>> print(s)
    for i in 0..32:
      V[i] = 2.0 * X[i] + 2.0 * X[i + 1] + 2.0 * X[i + 2]
    """
    stage = state.stage(name)
    legality.can_be_inlined(state, stage)
    return state.updated(replace(stage, attach=Attach("inline"))), ()


def compute_root(state: State, name: str) -> Result:
    """The stage is computed in loops of its own before its readers (the default): undoes compute_at and
    compute_inline. Stages that step together go together. (TVM, Halide: compute_root.)

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> X, H, V = te.tensor("X", (32,)), te.tensor("H"), te.tensor("V")
    >>> H[i] = 2 * X[i]; V[i] = H[i] + 1
    >>> s = te.create_schedule(V)
    >>> s[H].compute_inline(); s[H].compute_root()
    >>> print(s)
    H: float32[32] in global
    for i in 0..32:
      H[i] = 2.0 * X[i]
    for i in 0..32:
      V[i] = H[i] + 1.0
    """
    state = state.updated(replace(state.stage(name), attach=Attach()))
    state = state.updated(*(replace(s, attach=Attach()) for s in state.stepping(name)))
    return marked_in_step(state, name), ()


def set_scope(state: State, name: str, scope: str) -> Result:
    """The stage is stored in "global", "cache" (a thread's scratch), "register" (named variables) or, on a GPU,
    "shared" memory. Raises ScheduleError for a result, which its caller stores. What is in registers needs constant
    indices once loops are written out: `te.lower` says so. (TVM: set_scope; Halide: store_in.)

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> X, H, V = te.tensor("X", (32,)), te.tensor("H"), te.tensor("V")
    >>> H[i] = 2 * X[i]; V[i] = H[i] + 1
    >>> s = te.create_schedule(V)
    >>> s[H].compute_at(s[V], i); s[H].set_scope("register")
    >>> print(s)
    for i in 0..32:
      H: float32[1] in register
      H[0] = 2.0 * X[i]
      V[i] = H[0] + 1.0
    """
    stage = state.stage(name)
    legality.is_register_or_memory(scope, f"set_scope of {name}", SCOPES)
    if stage.is_output and scope != "global":
        raise ScheduleError(
            f"set_scope of {name}: it is a result, and its caller says where it is stored. Compute it in that scope "
            f"with s.cache_write({name}, {scope!r})",
        )
    return state.updated(replace(stage, scope=scope)), ()


def layout(state: State, name: str, *axes: str) -> Result:
    """The stage is stored in the order of its own loops: each that is not reduced over, once (a packed panel, say).
    (TVM: transform_layout; Halide: reorder_storage.)

    B[j, k], j split by 16, layout(j_o, k, j_i)    →    stored as [n/16][k][16]

    Over a split that does not divide it is padded up. Raises ScheduleError for a result, whose layout is its
    caller's.

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> P = s.cache_read(A, "global", B)
    >>> j_o, j_i = s[P].split(j, factor=4)
    >>> s[P].layout(j_o, i, j_i)
    >>> print(s)
    A.global: float32[3, 8, 4] in global
    for i in 0..8:
      for j_o in 0..3:
        for j_i in 0..4:
          A.global[j_o, i, j_i] = A[i, 4 * j_o + j_i]
    for i in 0..8:
      for j in 0..12:
        B[i, j] = 2.0 * A.global[j // 4, i, j % 4]
    """
    stage = state.stage(name)
    if stage.is_output:
        raise ScheduleError(
            f"layout of {name}: it is a result, and its caller says how it lies in memory. Compute it in that layout "
            f"with s.cache_write({name}, 'global')",
        )
    legality.is_one_equation(state, stage, f"layout of {name}", "Lay out a copy of it: s.cache_read")
    if len(stage.dimensions) < stage.tensor.rank:
        raise ScheduleError(
            f"layout of {name}: its equation gives a single row along one of its dimensions, which has no loop. Lay "
            "out a copy of it: s.cache_read",
        )
    for axis in axes:
        legality.is_loop(stage, axis, "layout")
        if stage.is_reduction_loop(axis):
            raise ScheduleError(f"layout of {name}: {axis} is reduced over, so no element belongs to it. Leave it out")
    wanted = [leaf for leaf in stage.leaves if not stage.is_reduction_loop(leaf)]
    if sorted(axes) != sorted(wanted):
        raise ScheduleError(
            f"layout of {name} got the loops {', '.join(axes) or 'none'}; give each of {', '.join(wanted) or 'none'} "
            "once, in the order in which they shall lie in memory",
        )
    return state.updated(replace(stage, layout=tuple(axes))), ()


def storage_align(state: State, name: str, axis: str, factor: int, offset: int = 0) -> Result:
    """Rows along `axis` begin at multiples of `factor` elements, plus `offset` for each row: aligned, or apart in the
    cache. Raises ScheduleError for a result, and for a stage with a layout of its own. (TVM: storage_align; Halide:
    align_storage.)

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 13)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> P = s.cache_read(A, "global", B)
    >>> s[P].storage_align(i, 16)
    >>> print(s)
    A.global: float32[8, 13] in global, rows aligned to 16
    for i in 0..8:
      for j in 0..13:
        A.global[i, j] = A[i, j]
    for i in 0..8:
      for j in 0..13:
        B[i, j] = 2.0 * A.global[i, j]
    """
    stage = state.stage(name)
    what = f"storage_align of {name}"
    if stage.is_output:
        raise ScheduleError(
            f"{what}: it is a result, and its caller says how it lies in memory. Align a copy of it: "
            f"s.cache_write({name}, 'global')",
        )
    if stage.layout is not None:
        raise ScheduleError(
            f"{what}: it has a layout of its own. Split its axes so that the rows of that layout have the length you "
            "want",
        )
    if axis not in stage.dimensions:
        raise ScheduleError(f"{what}: {axis} is no axis of it; its axes are {', '.join(stage.dimensions) or 'none'}")
    legality.is_factor(factor, what, "factor")
    if not isinstance(factor, int) or isinstance(offset, bool) or not isinstance(offset, int) or offset < 0:
        raise ScheduleError(
            f"{what}: factor={factor!r}, offset={offset!r}; both are whole numbers, the factor at least 1, the "
            "offset at least 0",
        )
    return state.updated(replace(stage, align=(axis, factor, offset))), ()


def double_buffer(state: State, name: str) -> Result:
    """Two buffers take turns: while one is read, the other is filled for the next step of the loop at which the stage
    is computed. Where the steps run in parallel, or the fill reads what the loop computes, there is one. Raises
    ScheduleError for a stage that is not computed at a loop. (TVM: double_buffer; Halide: ring_buffer.)

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> X, H, V = te.tensor("X", (32,)), te.tensor("H"), te.tensor("V")
    >>> H[i] = 2 * X[i]; V[i] = H[i] + 1
    >>> s = te.create_schedule(V)
    >>> i_o, i_i = s[V].split(i, factor=8)
    >>> s[H].compute_at(s[V], i_o); s[H].double_buffer()
    >>> print(te.lower(s))
    H: float32[2, 8] in global
    for i in 0..8:
      H[0, i] = 2.0 * X[i]
    for i_o in 0..3:
      for i in 0..8:
        H[(i_o + 1) % 2, i] = 2.0 * X[8 * i_o + i + 8]
      for i_i in 0..8:
        V[8 * i_o + i_i] = H[i_o % 2, i_i] + 1.0
    for i_i in 0..8:
      V[i_i + 24] = H[1, i_i] + 1.0
    """
    stage = state.stage(name)
    if stage.attach.kind != "at":
        raise ScheduleError(
            f"double_buffer of {name}: it is not computed at a loop, so there are no steps that take turns. Call "
            f"s[{name!r}].compute_at(…) first",
        )
    return state.updated(replace(stage, double_buffer=True)), ()


def prefetch(state: State, name: str, tensor: str, axis: str, offset: int) -> Result:
    """In each step of the loop `axis`, what the step `offset` later reads of `tensor` is asked for from memory: one
    request for each cache line, at most 256 of them (the first ones), never outside of the tensor. Raises
    ScheduleError for a tensor that the stage does not read, that does not move along the axis, or that is read at
    places that depend on data; and for a vectorised loop. (TVM, Halide: prefetch.)

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 48)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> s[B].prefetch(A, i, 2)
    >>> print(s)
    for i in 0..8:
      for A.line1 in 0..4 unrolled:
        __builtin_prefetch(A[minimum(7, i + 2), minimum(47, 16 * A.line1)])
      for j in 0..48:
        B[i, j] = 2.0 * A[i, j]
    """
    stage = state.stage(name)
    legality.is_loop(stage, axis, "prefetch")
    legality.can_be_prefetched(state, stage, tensor, axis, offset)
    return state.updated(stage.marked(axis, prefetches=(*stage.mark(axis).prefetches, (tensor, offset)))), ()
