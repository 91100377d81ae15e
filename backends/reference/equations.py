"""Equations, evaluated for whole tensors: block by block, and step by step where tensors are computed from themselves.

What may be computed together is not deduced from the equations, it is tried: every element is written once and
remembered as ready, and a read of one that is not ready makes the attempt fail. So whatever order succeeds gives the
values that the equations define.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, product
from math import prod
from typing import Any, cast

import numpy as np

from tedsl.lang.errors import CallMemoryError, DefinitionError
from tedsl.lang.expr import Access, Axis, Const, Reduce, walk
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Definition, Part, Tensor

from .scatter import add_scattered
from .scope import NotReady, Scope, State, blocks

Range = tuple[int, int]  # first value and number of values


def reads_of(definition: Definition) -> tuple[Tensor, ...]:
    """The tensors that a definition reads, each once."""
    values = [e for part in definition.parts for e in part.expressions]
    return tuple(dict.fromkeys(node.tensor for node in walk(*values) if isinstance(node, Access)))


def compute(state: State, definitions: Sequence[Definition]) -> None:
    """Compute the tensors of definitions that need each other (or of a single one) into `state.arrays`."""
    ready: dict[Tensor, np.ndarray] = {}
    mine = {t for d in definitions for t in d.tensors}
    for definition in definitions:
        shape = state.shape(definition.tensors[0])
        there = np.zeros(shape, bool)
        for tensor in definition.tensors:
            try:
                state.arrays[tensor] = np.zeros(shape, tensor.dtype)
            except (MemoryError, ValueError) as e:
                raise CallMemoryError(
                    f"not enough memory for {tensor.name} of shape {shape}", definition.location
                ) from e
            ready[tensor] = there
    if any(t in mine for d in definitions for t in reads_of(d)):
        state.begin(ready)
        try:
            _by_steps(state, definitions, ready)
        finally:
            state.begin({})
    elif isinstance(definitions[0].parts[0], ScatterPart):
        add_scattered(state, definitions[0].tensors[0], definitions[0].parts[0])
        ready[definitions[0].tensors[0]][...] = True
    else:
        _equations(state, definitions[0], {}, ready[definitions[0].tensors[0]])
    for definition in definitions:
        there = ready[definition.tensors[0]]
        if not there.all() and not _partial(definition):
            first = definition.tensors[0]
            point = ", ".join(str(int(v)) for v in np.argwhere(~there)[0])
            raise DefinitionError(
                f"no equation of {first.name} gives {first.name}[{point}] a value", definition.location
            )


def _partial(definition: Definition) -> bool:
    """Whether a tensor may have elements without a value: a reduction lifted out of an equation over a part of the
    indices, and its gradients.
    """
    return len(definition.parts) == 1 and all(isinstance(e, Axis) for e in definition.parts[0].lhs)


# One definition -------------------------------------------------------------------------------------------------------


def _equations(state: State, definition: Definition, fixed: dict[int, int], ready: np.ndarray) -> None:
    """Evaluate a definition at all points whose dimensions in `fixed` have the given index."""
    shape = ready.shape
    for number, part in enumerate(definition.parts):
        ranges = _box(state, part, shape, fixed)
        if ranges is None:
            continue
        pieces = blocks(ranges, max(state.budget // _weight(part), 4096))
        for block in pieces:
            _block(state, definition, part, definition.parts[:number], block, ready)


def _weight(part: Part) -> int:
    """By how much the values in flight outweigh a block of the result."""
    return 1 + sum(1 for _ in walk(*part.values)) // 16


def _box(state: State, part: Part, shape: tuple[int, ...], fixed: dict[int, int]) -> list[Range] | None:
    """The points of an equation with the `fixed` dimensions; None when there are none."""
    ranges = []
    for dim, (left, extent) in enumerate(zip(part.lhs, shape, strict=True)):
        lo, count = (left.value, 1) if isinstance(left, Const) else state.range(cast(Axis, left))
        high = min(lo + count, extent)
        if dim in fixed:
            lo, high = max(lo, fixed[dim]), min(high, fixed[dim] + 1)
        if high <= lo:
            return None
        ranges.append((int(lo), int(high - lo)))
    return ranges


def _block(
    state: State, definition: Definition, part: Part, earlier: Sequence[Part], block: Sequence[Range], ready: np.ndarray
) -> None:
    """Evaluate one equation at a block of points, but for those that belong to earlier equations."""
    taken: Any = np.zeros((), bool)
    for other in earlier:
        taken = taken | _covers(other, block)
    if taken.all():
        return
    mask = ~taken if taken.any() else None
    scope = Scope.over(state, part.lhs, block)
    values = [scope.value(e, mask) for e in part.values]
    # the ellipsis: at rank 0 too, what is indexed is an array
    where: tuple[Any, ...] = (*(slice(lo, lo + count) for lo, count in block), ...)
    for tensor, value in zip(definition.tensors, values, strict=True):
        np.copyto(state.arrays[tensor][where], value, casting="no", where=True if mask is None else mask)
    if mask is None:
        ready[where] = True
    else:
        ready[where] |= mask


def _covers(part: Part, block: Sequence[Range]) -> np.ndarray:
    """At which points of a block the left side of an equation is met: its whole numbers are."""
    rank = len(block)
    found = np.ones((), bool)
    for dim, (left, (lo, count)) in enumerate(zip(part.lhs, block, strict=True)):
        if isinstance(left, Const):
            found = found & (np.arange(lo, lo + count) == left.value).reshape((count, *(1,) * (rank - 1 - dim)))
    return found


# Recurrences ----------------------------------------------------------------------------------------------------------


def _by_steps(state: State, definitions: Sequence[Definition], ready: dict[Tensor, np.ndarray]) -> None:
    """Compute definitions that read themselves or each other, stepping along as few indices as will do."""
    shapes = [state.shape(d.tensors[0]) for d in definitions]
    rank = min(map(len, shapes))
    extents = [max(shape[dim] for shape in shapes) for dim in range(rank)]
    choices = [dims for n in range(rank + 1) for dims in combinations(range(rank), n)]
    choices.sort(key=lambda dims: prod(extents[d] for d in dims))
    problem = ""
    for dims in choices:
        for there in ready.values():
            there[...] = False
        order = list(definitions)
        try:
            for index in product(*(range(extents[d]) for d in dims)):
                fixed = dict(zip(dims, index, strict=True))
                order = _until_done(order, partial(_step, state, fixed, ready))
            return
        except NotReady as e:
            problem = str(e)
    points = sorted((index, n) for n, shape in enumerate(shapes) for index in np.ndindex(*shape))
    try:
        _until_done(points, lambda p: _step(state, dict(enumerate(p[0])), ready, definitions[p[1]]))
    except NotReady as e:
        names = ", ".join(t.name for d in definitions for t in d.tensors)
        raise DefinitionError(
            f"{names}: there is no order in which every element is computed before it is read; `{problem or e}` "
            "reads one that depends on the element being computed",
            definitions[0].location,
        ) from None


def _step(state: State, fixed: dict[int, int], ready: dict[Tensor, np.ndarray], definition: Definition) -> None:
    _equations(state, definition, fixed, ready[definition.tensors[0]])


def _until_done(items: Sequence[Any], run: Callable[[Any], None]) -> list[Any]:
    """Run every item, again and again those that were not ready, as long as there is progress. Returns them in the
    order that worked.
    """
    done: list[Any] = []
    waiting = list(items)
    while waiting:
        failed = []
        problem: NotReady | None = None
        for item in waiting:
            try:
                run(item)
                done.append(item)
            except NotReady as e:
                failed.append(item)
                problem = e
        if problem is not None and len(failed) == len(waiting):
            raise problem
        waiting = failed
    return done


# Order ----------------------------------------------------------------------------------------------------------------


def groups(outputs: Sequence[Tensor]) -> Iterator[list[Definition]]:
    """The definitions that `outputs` need, those that need each other together, in an order in which they can be
    computed (Tarjan).
    """
    index: dict[Definition, int] = {}
    low: dict[Definition, int] = {}
    stack: list[Definition] = []
    waiting: set[Definition] = set()

    def needs(definition: Definition) -> list[Definition]:
        return [t.definition for t in reads_of(definition) if t.definition is not None and not t.is_input]

    for tensor in outputs:
        if tensor.is_input or tensor.definition in index:
            continue
        work: list[tuple[Definition, Iterator[Definition]]] = []
        upcoming: Definition | None = tensor.definition
        while upcoming is not None or work:
            if upcoming is not None:
                index[upcoming] = low[upcoming] = len(index)
                stack.append(upcoming)
                waiting.add(upcoming)
                work.append((upcoming, iter(needs(upcoming))))
                upcoming = None
            definition, rest = work[-1]
            for other in rest:
                if other not in index:
                    upcoming = other
                    break
                if other in waiting:
                    low[definition] = min(low[definition], index[other])
            if upcoming is not None:
                continue
            work.pop()
            if work:
                above = work[-1][0]
                low[above] = min(low[above], low[definition])
            if low[definition] == index[definition]:
                members: list[Definition] = []
                while not members or members[-1] is not definition:
                    members.append(stack.pop())
                    waiting.discard(members[-1])
                yield sorted(members, key=lambda d: d.tensors[0].serial)


def inlinable(definition: Definition) -> bool:
    """Whether an element can be computed where it is read: one equation without a reduction."""
    part = definition.parts[0]
    return (
        len(definition.parts) == 1
        and not isinstance(part, ScatterPart)
        and all(isinstance(e, Axis) for e in part.lhs)
        and not any(isinstance(n, Reduce) for n in walk(*part.values))
    )
