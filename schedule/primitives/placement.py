"""Primitives that say where a stage is computed and how it is stored: compute_at, compute_inline, compute_root,
set_scope, layout, storage_align, double_buffer, prefetch.
"""

from __future__ import annotations

from dataclasses import replace

from tedsl.lang.errors import ScheduleError
from tedsl.schedule.loops.ir import SCOPES
from tedsl.schedule.state import Attach, State

from . import legality
from .loops import Result
from .recurrences import marked_in_step


def compute_at(state: State, name: str, parent: str, axis: str) -> Result:
    """The stage is computed inside of the loop `axis` of `parent`, just what is read there.

    for all of H: H = …                 for y_o in V:
    for y_o in V: … = V reads H    →      for the part of H read in this step: H = …
                                          … = V reads H

    Stages that step together (a recurrence and the sums in it) go together to a loop of a stage that is none of them;
    to a loop of one of them, a stage goes alone, and is computed for one step at a time.

    Checked: everything that reads the stage is inside of that loop; it is no result; a stage of a recurrence reads
    nothing there that is not computed yet; no stage ends up inside of itself.
    """
    stage, outer = state.stage(name), state.stage(parent)
    legality.can_be_computed_at(state, stage, outer, axis)
    group = state.group(name)
    moved = (stage,) if group and parent in group[0] else state.stepping(name)
    return state.updated(*(replace(s, attach=Attach("at", parent, axis)) for s in moved)), ()


def compute_inline(state: State, name: str) -> Result:
    """The stage's expression takes the place of every read of it; nothing is stored.

    H[y] = f(X[y]); V[y] = g(H[y])    →    V[y] = g(f(X[y]))

    Checked: it is a single expression, no reduction, no recurrence, no result, and nothing is computed at its loops.
    """
    stage = state.stage(name)
    legality.can_be_inlined(state, stage)
    return state.updated(replace(stage, attach=Attach("inline"))), ()


def compute_root(state: State, name: str) -> Result:
    """The stage is computed in loops of its own before its readers: undoes compute_at and compute_inline. Stages that
    step together go together.
    """
    state = state.updated(replace(state.stage(name), attach=Attach()))
    state = state.updated(*(replace(s, attach=Attach()) for s in state.stepping(name)))
    return marked_in_step(state, name), ()


def set_scope(state: State, name: str, scope: str) -> Result:
    """The stage is stored in "global", "cache", "register" or (on a GPU) "shared" memory. Checked: it is no result,
    which its caller stores.
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
    """The stage is stored in the order of the given loops, which are all of its own that are not reduced over (a packed
    panel, say).

    B[j, k], j split by 16, layout(j_o, k, j_i)    →    stored as [n/16][k][16]

    Over a split that does not divide it is padded up. Checked: every loop is given, once; it is no result.
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
    """Rows along `axis` begin at multiples of `factor` elements, plus `offset`: padding that keeps them aligned, or
    apart in the cache.
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
    """Two buffers take turns, so that one is filled while the other is read. Checked: the stage is computed at a loop,
    whose steps take turns.
    """
    stage = state.stage(name)
    if stage.attach.kind != "at":
        raise ScheduleError(
            f"double_buffer of {name}: it is not computed at a loop, so there are no steps that take turns. Call "
            f"s[{name!r}].compute_at(…) first",
        )
    return state.updated(replace(stage, double_buffer=True)), ()


def prefetch(state: State, name: str, tensor: str, axis: str, offset: int) -> Result:
    """In each step of the loop `axis`, what the step `offset` later reads of `tensor` is asked for from memory, line by
    line.

    Checked: the stage reads the tensor, at places that depend on the loop and not on data; the loop is no vectorised
    one.
    """
    stage = state.stage(name)
    legality.is_loop(stage, axis, "prefetch")
    legality.can_be_prefetched(state, stage, tensor, axis, offset)
    return state.updated(stage.marked(axis, prefetches=(*stage.mark(axis).prefetches, (tensor, offset)))), ()
