"""Reductions that carry a position (argmax, argmin), and the order in which they visit it."""

from __future__ import annotations

from collections.abc import Sequence

from tedsl.lang.expr import Apply, Axis, Cast, Expr, Reduce, free_axes
from tedsl.lang.integers import Affine, conjuncts
from tedsl.schedule.loop_tree import as_expr
from tedsl.schedule.state import StageState

_UPPER = {"less": 1, "less_equal": 1, "greater": -1, "greater_equal": -1}


def in_order(stage: StageState, leaves: Sequence[str], reduction: Reduce) -> bool:
    """Whether a stage's loops visit the positions of its reduction from the first on, each greater than the one before.
    Then a tie is the earlier one's without a comparison of positions. It is so where every step of a loop goes further
    than all steps of the loops inside of it, and where a condition that holds at any step holds at the first.
    """
    if not reduction.reducer.indexed:
        return False
    form = Affine.of(_index(reduction.values[1]))
    axes = [a for leaf in leaves for a in stage.reduce_axes if a.name == leaf]
    if len(axes) != sum(stage.is_reduction_loop(leaf) for leaf in leaves) or not _apart(form, axes):
        return False
    inside: int | None = 0  # how far the loops inside go
    for axis in reversed(axes):
        step = form.terms.get(axis, 0)
        if inside is None or step <= inside:
            return False
        inside = inside + step * max(axis.extent - 1, 0) if isinstance(axis.extent, int) else None
    return reduction.where is None or all(_bounds_from_above(part, axes) for part in conjuncts(reduction.where))


def first_position(reduction: Reduce) -> Expr:
    """The position at the first step of all loops."""
    form = Affine.of(_index(reduction.values[1]))
    for axis in reduction.axes or ():
        step = form.terms.get(axis, 0)
        form = form.without(axis).plus(Affine.of(as_expr(axis.lo)), step)
    return form.expr()


def first_of_few(stage: StageState, leaves: Sequence[str], reduction: Reduce) -> tuple[str, Expr] | None:
    """The loop of a reduction with positions, when it is the only one and written out, and its first value."""
    own = [leaf for leaf in leaves if stage.is_reduction_loop(leaf)]
    if not reduction.reducer.indexed or reduction.where is not None or len(own) != 1:
        return None
    axis = stage.root(own[0])
    if axis is None or stage.kind(own[0]) != "unrolled" or not isinstance(axis.extent, int):
        return None
    return own[0], as_expr(axis.lo)


def _index(position: Expr) -> Expr:
    return position.operand if isinstance(position, Cast) else position


def _apart(form: Affine, axes: Sequence[Axis]) -> bool:
    """Whether a form moves with each axis by its coefficient alone."""
    return not any(
        a is axis for atom in form.terms if not isinstance(atom, Axis) for a in free_axes(atom) for axis in axes
    )


def _bounds_from_above(condition: Expr, axes: Sequence[Axis]) -> bool:
    """Whether a condition on integers can only cease to hold as an axis grows."""
    if not isinstance(condition, Apply) or any(x.dtype != "int" for x in condition.operands):
        return False
    sign = _UPPER.get(condition.function)
    if sign is None:
        return False
    form = Affine.of(condition.operands[0]).plus(Affine.of(condition.operands[1]), -1)
    return _apart(form, axes) and all(sign * form.terms.get(axis, 0) >= 0 for axis in axes)
