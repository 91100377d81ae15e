"""Whether the loops of a stage compute what an intrinsic says: the same operations, extents and types, every operand
indexed so that the steps of the pattern's axes are constant strides in memory.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, substitute, walk
from tedsl.lang.integers import affine_of, simplify
from tedsl.schedule.state import StageState, State

from .intrinsics import Intrinsic
from .legality import is_one_equation

COMMUTATIVE = (
    "add",
    "multiply",
    "minimum",
    "maximum",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "equal",
    "not_equal",
)


@dataclass(frozen=True, slots=True)
class Match:
    """How loops are a pattern: the pattern's axes by loop, and what its operands are."""

    intrinsic: Intrinsic
    loops: tuple[str, ...]
    axes: dict[str, str]  # axis of the pattern → loop
    reads: dict[str, Access]  # operand → what the stage reads there


def matched(state: State, stage: StageState, what: str) -> Match | None:
    """How the tensorized loops of a stage are their intrinsic's pattern; None when it has none. Raises ScheduleError
    when they are not.
    """
    axis = stage.tensorized
    if axis is None:
        return None
    how = stage.mark(axis).intrinsic
    is_one_equation(state, stage, what, "Call the intrinsic in a copy of it")
    inner = stage.leaves[stage.leaves.index(axis) :]
    for other in state.inside_of(stage.name):
        if other.attach.axis in inner:
            raise ScheduleError(
                f"{what}: {other.name} is computed inside of the loops {', '.join(inner)}, which become calls of "
                f"{how.name}. Compute it further out first"
            )
    pattern = how.pattern.parts[0]
    value = pattern.values[0]
    data = [leaf for leaf in inner if not stage.is_reduction_loop(leaf)]
    reduced = [leaf for leaf in inner if stage.is_reduction_loop(leaf)]
    bound = value.axes or () if isinstance(value, Reduce) else ()
    if (len(data), len(reduced)) != (len(pattern.axes), len(bound)):
        raise ScheduleError(
            f"{what}: the loops from {axis} inward are {_sorts(data, reduced)}, and {how.name} has "
            f"{_sorts([a.name for a in pattern.axes], [a.name for a in bound])}. "
            f"Split and reorder them so that the innermost loops are those of `{how.pattern}`")  # fmt: skip
    reason: str | None = None  # of the first order, in which the user would look for it
    for mine, theirs in itertools.product(itertools.permutations(data), itertools.permutations(reduced)):
        axes = {a.name: leaf for a, leaf in zip((*pattern.axes, *bound), (*mine, *theirs), strict=True)}
        try:
            return Match(how, inner, axes, _reads(stage, how, axes))
        except _Different as e:
            reason = str(e) if reason is None else reason
    raise ScheduleError(
        f"{what}: {reason or f'`{how.pattern}` is not what `{stage.tensor.definition}` computes there'}"
    )


def _sorts(data: list[str], reduced: list[str]) -> str:
    return f"{', '.join(data) or 'none'} and {', '.join(reduced) or 'none'} reduced over"


class _Different(Exception):
    """The loops are not the pattern with these axes."""


def _reads(stage: StageState, how: Intrinsic, axes: dict[str, str]) -> dict[str, Access]:
    """What the operands of the pattern are in the stage."""
    pattern, part = how.pattern.parts[0], stage.parts[0]
    theirs, mine = pattern.values[0], part.values[0]
    for a in how.axes:
        extent = stage.extent(axes[a.name])
        if extent != a.extent:
            raise _Different(
                f"the loop {axes[a.name]} has {extent} steps, and {a.name} of {how.name} has {a.extent}. Split it by "
                f"{a.extent}"
            )
    if len(part.values) > 1:
        raise _Different(f"{stage.name} computes several tensors at once")
    if stage.tensor.dtype != how.pattern.dtype:
        raise _Different(f"{stage.name} is {stage.tensor.dtype}, and {how.name} computes {how.pattern.dtype}")
    if isinstance(theirs, Reduce) or isinstance(mine, Reduce):
        if not (
            isinstance(theirs, Reduce)
            and isinstance(mine, Reduce)
            and theirs.reducer is mine.reducer
            and theirs.dtype == mine.dtype
        ):
            raise _Different("")
        if mine.where is not None:
            raise _Different(
                f"the reduction of {stage.name} has a condition (where=), which {how.name} knows nothing of"
            )
        theirs, mine = theirs.values[0], mine.values[0]
    found: dict[str, Access] = {}
    _unify(theirs, mine, found)
    tree = stage.tree()
    leaves = {leaf: cast(Expr, Axis(leaf)) for leaf in stage.leaves}
    steps: dict[Expr, Expr] = {r: tree.value(r.name, leaves) for r in stage.roots}
    inner = set(axes.values())
    for name, access in [*found.items(), (how.pattern.name, Access(stage.tensor, part.lhs))]:
        own = how.dims(name)
        for index in access.indices:
            for leaf in inner:
                if coefficient(substitute(index, steps), leaf) is None:
                    raise _Different(
                        f"`{access!r}` does not move by a constant step along {leaf}, as {how.name} needs it"
                    )
        for leaf in inner - {axes[a.name] for a in own}:
            if any(coefficient(substitute(index, steps), leaf) for index in access.indices):
                raise _Different("")
    return found


def coefficient(index: Expr, leaf: str) -> int | None:
    """How far an index moves in a step of a loop; None when that is not the same at every step."""
    total = affine_of(simplify(index))
    found = 0
    for atom, c in total.terms.items():
        if isinstance(atom, Axis) and atom.name == leaf:
            found = c
        elif any(isinstance(n, Axis) and n.name == leaf for n in walk(atom)) or any(
            isinstance(n, Access) for n in walk(atom)
        ):
            return None
    return found


def _unify(theirs: Expr, mine: Expr, found: dict[str, Access]) -> None:
    """Bind the operands of a pattern so that it is an expression of a stage; raises _Different when there is no way."""
    if isinstance(theirs, Access):
        name = theirs.tensor.name
        if not isinstance(mine, Access) or mine.dtype != theirs.dtype or found.setdefault(name, mine) is not mine:
            raise _Different("")
        return
    if type(theirs) is not type(mine) or theirs.dtype != mine.dtype:
        raise _Different("")
    if isinstance(theirs, Const):
        if theirs is not mine:
            raise _Different("")
        return
    if isinstance(theirs, Cast):
        _unify(theirs.operand, cast(Cast, mine).operand, found)
        return
    if not isinstance(theirs, Apply) or theirs.function != cast(Apply, mine).function:
        raise _Different("")
    before = dict(found)
    orders = [mine.children]
    if theirs.function in COMMUTATIVE:
        orders.append(mine.children[::-1])
    for n, order in enumerate(orders):
        try:
            for a, b in zip(theirs.children, order, strict=True):
                _unify(a, b, found)
            return
        except _Different:
            found.clear()
            found |= before
            if n == len(orders) - 1:
                raise
