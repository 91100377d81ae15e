"""Requests to memory, in a loop, for what later steps of it read: one for each cache line, and no more lines than leave
room for what is at work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Expr
from tedsl.lang.functions import apply
from tedsl.lang.integers import Known, prove, simplify
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loop_tree import Split, as_expr, maker
from tedsl.schedule.loops.ir import Call, For, Stmt, constant, strides_of

from .context import Lowering, Scope
from .regions import Frame, intervals, reached

LINE = 64  # bytes that come at once
MOST_LINES = 256  # asked for in one step: 16 KiB, half of a first-level cache
WRITTEN_OUT = 8  # requests that are written one after the other rather than as a loop

Reach = list[tuple[Expr, Expr]]  # first and last index in each dimension


def prefetches(lowering: Lowering, frame: Frame, name: str, scope: Scope, step: int = 1) -> Iterator[Stmt]:
    """The requests where loop `name` of the equation `frame` opens. `step`: how far the loop's axis goes in one of its
    steps.
    """
    for key, offset in frame.stage.mark(name).prefetches:
        tensor = lowering.state.tensors().get(key)
        if tensor not in lowering.buffers or lowering.buffers[tensor].scope == "register":
            continue  # inlined, computed further in, or not in memory
        if name not in frame.open and name not in frame.fixed:
            continue  # an equation without this axis reads nothing later
        ahead = offset * step
        later = replace(
            frame,
            open={leaf: v + ahead if leaf == name else v for leaf, v in frame.open.items()},
            fixed={leaf: v + ahead if leaf == name else v for leaf, v in frame.fixed.items()},
        )
        (part,) = frame.stage.parts
        found = list(reached(part, intervals(later, scope.known), (tensor,), scope.known))
        for reach in merged(found, scope.known):
            yield _requests(lowering, tensor, reach, scope)


def merged(found: Sequence[Reach], known: Known) -> list[Reach]:
    """What several reads reach, those that overlap or touch along one dimension (as in a stencil) as one."""
    left = list(found)
    result: list[Reach] = []
    while left:
        now = left.pop(0)
        joined = True
        while joined:
            joined = False
            for n, other in enumerate(left):
                both = _hull(now, other, known)
                if both is not None:
                    del left[n]
                    now, joined = both, True
                    break
        result.append(now)
    return result


def _hull(a: Reach, b: Reach, known: Known) -> Reach | None:
    """Both as one box that holds nothing else; None when there is none."""
    different = [d for d, (x, y) in enumerate(zip(a, b, strict=True)) if x[0] is not y[0] or x[1] is not y[1]]
    if not different:
        return a
    if len(different) > 1:
        return None
    (d,) = different
    (first, last), (other_first, other_last) = a[d], b[d]
    if not prove(first <= other_first, known):
        (first, last), (other_first, other_last) = (other_first, other_last), (first, last)
    if not prove(first <= other_first, known) or not prove(other_first <= last + 1, known):
        return None
    end = last if prove(other_last <= last, known) else simplify(apply("maximum", last, other_last), known)
    return [*a[:d], (first, end), *a[d + 1 :]]


def _requests(lowering: Lowering, tensor: Tensor, reach: Reach, scope: Scope) -> Stmt:
    """A request for each line of a box, in loops over its dimensions; what lies outside of the buffer is replaced by
    what is nearest in it, because no address outside may even be formed.
    """
    steps = _line_steps(lowering, tensor)
    # the most that a step reads: where there is less, at the end, the rest is clipped
    extents = [as_expr(lowering.size(simplify(last - first + 1, scope.known), scope.known)) for first, last in reach]
    reach = [(first, simplify(first + extent - 1)) for (first, _), extent in zip(reach, extents, strict=True)]
    # along lines, the last element is asked for as well: where a line begins is not known
    counts = [
        extent if step == 1 else simplify(apply("minimum", extent, (extent + (step - 2)) // step + 1), scope.known)
        for extent, step in zip(extents, steps, strict=True)
    ]
    budget = MOST_LINES
    for d in sorted(range(len(counts)), key=lambda d: -steps[d]):
        most = constant(counts[d])
        if most is None or most > budget:
            counts[d] = simplify(apply("minimum", counts[d], budget), scope.known)
            most = constant(counts[d])
        budget = max(budget // max(most if most is not None else budget, 1), 1)
    total = 1
    for count in counts:
        total *= constant(count) or MOST_LINES
    inner, index, loops = scope, [], []
    for d, ((first, last), count) in enumerate(zip(reach, counts, strict=True)):
        if constant(count) == 1:
            index.append(first)
            continue
        axis = inner.axis(f"{tensor.name}.line{d}")
        inner = inner.opened(axis, as_expr(0), count)
        place = first + axis * steps[d]
        index.append(place if steps[d] == 1 else apply("minimum", place, last))
        loops.append(For(axis, as_expr(0), count, "unrolled" if total <= WRITTEN_OUT else "serial", cast(Stmt, None)))
    buffer, indices = lowering.place(tensor, tuple(index))
    kept = (
        apply("maximum", apply("minimum", i, as_expr(n) - 1), 0) for i, n in zip(indices, buffer.shape, strict=True)
    )
    target = cast(Expr, Access(cast(Tensor, buffer), tuple(simplify(i, inner.known) for i in kept)))
    made: Stmt = Call("__builtin_prefetch({0})", (target,))
    for loop in reversed(loops):
        made = replace(loop, body=made, origin=f"prefetch of {tensor.name}")
    return made


def _line_steps(lowering: Lowering, tensor: Tensor) -> list[int]:
    """How many steps of each dimension of a tensor stay within one line, where it is stored row by row; 1 for those
    that leave it.
    """
    buffer = lowering.buffers[tensor]
    line = max(LINE // dtypes.itemsize(buffer.dtype), 1)
    if tensor not in lowering.storage:
        return [max(line // s, 1) if isinstance(s, int) and s > 0 else 1 for s in strides_of(buffer)]
    stage, extents = lowering.storage[tensor]
    assert stage.layout is not None
    name = stage.layout[-1]
    size = stage.tree(extents).extent(name)
    own = [a.name for a in stage.axes]
    # neighbours along the innermost loop are neighbours along what it was split from
    while isinstance(split := maker(stage.relations, name), Split) and name == split.inner:
        name = split.parent
    return [min(line, size) if a == name and isinstance(size, int) else 1 for a in own]
