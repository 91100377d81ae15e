"""Primitives that cut, join and order the loops of a stage: split, tile, fuse, reorder."""

from __future__ import annotations

from dataclasses import replace

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Var
from tedsl.lang.tensor import Dim
from tedsl.schedule.loop_tree import Fuse, Split
from tedsl.schedule.state import Result, State, unique

from . import legality


def split(state: State, name: str, axis: str, factor: Dim | None = None, nparts: Dim | None = None) -> Result:
    """One loop becomes two: blocks of `factor` steps, or `nparts` blocks. Returns outer, inner.

    for i in 0..n          →    for i_o in 0..ceil(n / factor)
                                  for i_i in 0..factor

    One of factor and nparts is given (factor = ceil(extent / nparts)): a whole number or a size (`te.var`). It need
    not divide: the last block is shorter. Raises ScheduleError when the axis is no loop (any more), or is marked
    already. (TVM, Halide: split.)

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> A, B = te.tensor("A", (10,)), te.tensor("B"); B[i] = 2 * A[i]
    >>> s = te.create_schedule(B)
    >>> s[B].split(i, factor=4)
    (i_o, i_i)
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
    """Two loops become four, the outer ones first: both are split, then reordered. Returns outer x, outer y, inner x,
    inner y. (TVM, Halide: tile.)

    for x, y    →    for x_o, y_o, x_i, y_i

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> s[B].tile(i, j, 4, 4)
    (i_o, j_o, i_i, j_i)
    >>> print(s)
    for i_o in 0..2:
      for j_o in 0..3:
        for i_i in 0..4:
          for j_i in 0..4:
            B[4 * i_o + i_i, 4 * j_o + j_i] = 2.0 * A[4 * i_o + i_i, 4 * j_o + j_i]
    """
    if x == y:
        raise ScheduleError(f"tile of {name} needs two different axes, and got {x} twice")
    state, (xo, xi) = split(state, name, x, factor=x_factor)
    state, (yo, yi) = split(state, name, y, factor=y_factor)
    state, _ = reorder(state, name, xo, yo, xi, yi)
    return state, (xo, yo, xi, yi)


def fuse(state: State, name: str, *axes: str) -> Result:
    """Neighbouring loops, outermost first, become one. Returns it.

    for i in 0..n           →    for i_j in 0..n*m        i = i_j // m,  j = i_j % m
      for j in 0..m

    Raises ScheduleError when they are not neighbours in this order, when some are reduced over and others are not,
    or when one is marked already. (TVM, Halide: fuse.)

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> s[B].fuse(i, j)
    i_j
    >>> print(s)
    for i_j in 0..96:
      B[i_j // 12, i_j % 12] = 2.0 * A[i_j // 12, i_j % 12]
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
    """The given loops, in the given order, take the places that these loops have now; the others stay. (TVM, Halide:
    reorder.)

    for i, j, k    reorder(k, i)    →    for k, j, i

    Raises ScheduleError when a recurrence would read a step before it is computed, or a stage computed at one of
    the loops would be read outside of it.

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
    >>> s = te.create_schedule(B)
    >>> s[B].reorder(j, i)
    >>> print(s)
    for j in 0..12:
      for i in 0..8:
        B[i, j] = 2.0 * A[i, j]
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
