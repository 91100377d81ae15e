"""Long reductions with few results: there is too little to share among threads but the reduction itself."""

from __future__ import annotations

from math import prod

from tedsl.lang import dtypes

from ..schedule import Schedule
from .contraction import best_plan
from .facts import Facts, View, count, look
from .reductions import STRETCH_BYTES
from .sharing import THREADS, evenness

BLOCKS = range(8, 33)  # into how many parts a reduction may be cut
STEPS = 64  # of a part, at least


def in_blocks(s: Schedule, name: str, facts: Facts) -> bool:
    """Cut the longest axis that is reduced over into blocks with results of their own, which threads can share; what
    combines them is a stage of few steps. The blocks divide the axis evenly (and are not made where nothing does): a
    short last one would leave a condition on the others' steps.
    """
    view = look(s, name)
    if (
        not view.one_result
        or not view.axes
        or view.steps
        or not view.large
        or not view.at_root
        or view.where is not None
        or not 0 < _shares(view, facts) < THREADS[-1]
    ):
        return False
    axis = max(view.reduce_axes, key=lambda a: a.extent if isinstance(a.extent, int) else 0)
    length = axis.extent if isinstance(axis.extent, int) else 0
    parts = [n for n in BLOCKS if length % n == 0 and length >= n * STEPS]
    if not parts:
        return False
    outer, _ = s[name].split(axis, nparts=max(parts, key=lambda n: (evenness(n), -n)))
    s.rfactor(view.stage.tensor, outer)
    return True


def _shares(view: View, facts: Facts) -> int:
    """How many parts of the result threads may share."""
    plan = best_plan(view, facts)
    sizes = {a: count(a.extent) for a in view.axes}
    if plan is not None:
        sizes[plan.row] = -(-sizes[plan.row] // plan.height)
        sizes[plan.column] = -(-sizes[plan.column] // plan.width)
    elif all(view.stride(x, view.last) in (0, 1) for x in view.accesses) and not _by_rows(view):
        # rows are added to stretches of the result
        sizes[view.last] = -(-sizes[view.last] * dtypes.itemsize(view.dtype) // STRETCH_BYTES)
    return prod(sizes.values())


def _by_rows(view: View) -> bool:
    """Whether all operands are contiguous along the reduction, so that each element of the result is computed on its
    own.
    """
    return all(view.stride(x, view.reduce_axes[-1]) in (0, 1) for x in view.accesses)
