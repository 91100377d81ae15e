"""Primitives that cut, join and order the loops of a stage: split, tile, fuse, reorder."""

from __future__ import annotations

from dataclasses import replace

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Var
from tedsl.lang.tensor import Dim
from tedsl.schedule.state import Fuse, Split, StageState, State, unique

from . import legality

Result = tuple[State, tuple[str, ...]]


def split(state: State, name: str, axis: str, factor: Dim | None = None, nparts: Dim | None = None) -> Result:
    """One loop becomes two, the inner one of `factor` steps (or the outer one of `nparts`, with factor = ceil(extent /
    nparts)).

    for i in 0..n          →    for i_o in 0..ceil(n / factor)
                                  for i_i in 0..factor

    The factor need not divide: the last block is shorter. Checked: the axis is a loop without marks; exactly one of
    factor and nparts is given.
    """
    stage = state.stage(name)
    legality.is_free_loop(state, stage, axis, "split")
    if (factor is None) == (nparts is None):
        given = "neither" if factor is None else "both"
        raise ScheduleError(f"split of the axis {axis} of {name} takes either factor= or nparts=, and got {given}")
    legality.is_factor(
        factor if factor is not None else nparts,
        f"split of the axis {axis} of {name}",
        "factor" if factor is not None else "nparts",
    )
    used = stage.names
    outer, inner = unique(f"{axis}_o", used), unique(f"{axis}_i", used)
    at = stage.leaves.index(axis)
    leaves = (*stage.leaves[:at], outer, inner, *stage.leaves[at + 1 :])
    changed = replace(stage, leaves=leaves, relations=(*stage.relations, Split(axis, outer, inner, factor, nparts)))
    symbolic = next((f.name for f in (factor, nparts) if isinstance(f, Var)), None)
    if symbolic is not None and symbolic not in state.factors:
        state = replace(state, factors=(*state.factors, symbolic))
    return state.updated(changed), (outer, inner)


def tile(state: State, name: str, x: str, y: str, x_factor: Dim, y_factor: Dim) -> Result:
    """Two loops become four: both are split, and the outer ones come first.

    for x, y    →    for x_o, y_o, x_i, y_i

    The same as two splits and a reorder.
    """
    if x == y:
        raise ScheduleError(f"tile of {name} needs two different axes, and got {x} twice")
    state, (xo, xi) = split(state, name, x, factor=x_factor)
    state, (yo, yi) = split(state, name, y, factor=y_factor)
    state, _ = reorder(state, name, xo, yo, xi, yi)
    return state, (xo, yo, xi, yi)


def fuse(state: State, name: str, *axes: str) -> Result:
    """Neighbouring loops, outermost first, become one.

    for i in 0..n           →    for i_j in 0..n*m        i = i_j // m,  j = i_j % m
      for j in 0..m

    Checked: the axes follow one another, in this order; all of them are reduced over, or none.
    """
    stage = state.stage(name)
    if not axes:
        raise ScheduleError(
            f"fuse of {name} needs at least one axis; its loops are {', '.join(stage.leaves) or 'none'}"
        )
    for axis in axes:
        legality.is_free_loop(state, stage, axis, "fuse")
    legality.are_neighbours(stage, axes)
    fused = axes[0]
    for inner in axes[1:]:
        used = stage.names
        made = unique(f"{fused}_{inner}", used)
        at = stage.leaves.index(fused)
        leaves = (*stage.leaves[:at], made, *stage.leaves[at + 2 :])
        stage = replace(stage, leaves=leaves, relations=(*stage.relations, Fuse(fused, inner, made)))
        fused = made
    return state.updated(stage), (fused,)


def reorder(state: State, name: str, *axes: str) -> Result:
    """The given loops, in the given order, take the places that these loops have now; all others stay.

    for i, j, k    reorder(k, i)    →    for k, j, i

    Checked: every axis is a loop, given once; no step of a recurrence comes before one that it reads; every stage
    computed at one of the loops stays outside of whatever reads it.
    """
    stage = state.stage(name)
    for axis in axes:
        legality.is_loop(stage, axis, "reorder")
    if len(set(axes)) != len(axes):
        twice = next(a for a in axes if axes.count(a) > 1)
        raise ScheduleError(f"reorder of {name} got the axis {twice} twice; give every axis once")
    queue = list(axes)
    leaves = tuple(queue.pop(0) if leaf in axes else leaf for leaf in stage.leaves)
    return state.updated(replace(stage, leaves=leaves)), ()


def replaced_by(stage: StageState, name: str) -> tuple[str, ...]:
    """What a loop that is no longer there was turned into."""
    for r in stage.relations:
        if isinstance(r, Split) and r.parent == name:
            return (r.outer, r.inner)
        if isinstance(r, Fuse) and name in (r.outer, r.inner):
            return (r.fused,)
    return ()
