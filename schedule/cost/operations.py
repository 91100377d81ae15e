"""How many operations a program takes: what the cost model and the audit of gradients count.

Arithmetic and calls on data count one each, a common subexpression once; a reduction of n values is n operations of its
combine (a sum of n terms, n adds). Index arithmetic, comparisons, selects and conversions do not count. Of the
iterations of a stage those count at which the affine conditions of its reduction's ``where=``, or of a ``where`` around
its whole value, hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as points_of
from typing import Any, cast

import numpy as np

from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, free_axes, substitute, walk
from tedsl.lang.functions import FUNCTIONS, apply
from tedsl.lang.integers import Known, simplify, solve
from tedsl.lang.integers.conditions import conjuncts, negated
from tedsl.lang.program import program
from tedsl.lang.reductions import Reducer
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Part, Tensor

_MOST_POINTS = 20_000_000
_FREE = ("select", "compare", "test")


def operations(outputs: Sequence[Tensor] | Tensor) -> int | Expr:
    """The operations that computing `outputs` takes; an expression in the sizes where these are symbolic.

    >>> import tedsl as te
    >>> operations(te.define("C[i,j] = sum(A[i,k] * B[j,k])", A=(10, 20), B=(30, 20)))
    12000
    """
    tensors = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    total: Any = 0
    for stage in program(tensors).stages:
        for part in stage.parts:
            total = total + part_operations(part)
    return _plain(total)


def part_operations(part: Part) -> int | Expr:
    """The operations of one equation."""
    if isinstance(part, ScatterPart):
        conditions = [] if part.where is None else conjuncts(part.where)
        return count(part.domain, conditions) * (len(part.values) + arithmetic(part.values))
    first = part.values[0]
    if isinstance(first, Reduce):
        axes = (*part.axes, *(first.axes or ()))
        conditions = [] if first.where is None else conjuncts(first.where)
        return count(axes, conditions) * (combining(first.reducer, first) + arithmetic(first.values))
    if len(part.values) == 1:
        return _chosen(first, part.axes, [])
    return count(part.axes, []) * arithmetic(part.values)


def _chosen(value: Expr, axes: Sequence[Axis], conditions: list[Expr]) -> Any:
    """The operations of `value` where `conditions` hold, with the cases of a `where` around it told apart."""
    if isinstance(value, Apply) and value.function == "where" and not _reads(value.operands[0]):
        condition, a, b = value.operands
        taken = _chosen(a, axes, [*conditions, *conjuncts(condition)]) if arithmetic((a,)) else 0
        other = _chosen(b, axes, [*conditions, *conjuncts(negated(condition))]) if arithmetic((b,)) else 0
        return taken + other
    each = arithmetic((value,))
    return count(axes, conditions) * each if each else 0


def combining(reducer: Reducer, node: Reduce) -> int:
    """The operations that combine one more value."""
    if reducer.builtin:
        return 0 if reducer.name in ("any", "all") else 1
    kinds = tuple(v.dtype for v in node.values)
    p = tuple(Access(Tensor._internal(f"p{n}", (), kind), ()) for n, kind in enumerate(kinds))
    q = tuple(Access(Tensor._internal(f"q{n}", (), kind), ()) for n, kind in enumerate(kinds))
    return arithmetic(reducer.combine(p, q))


def arithmetic(values: Sequence[Expr]) -> int:
    """The operations on data in expressions without reductions, each once; what stands in an index is no data."""
    seen: set[Expr] = set()
    stack = list(values)
    number = 0
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, Access):
            continue
        if isinstance(node, Apply) and FUNCTIONS[node.function].kind not in _FREE and node.dtype not in ("int", "bool"):
            number += 1
        stack.extend(node.children)
    return number


# Points ---------------------------------------------------------------------------------------------------------------


def count(axes: Sequence[Axis], conditions: Sequence[Expr]) -> Any:
    """The number of points of `axes` at which `conditions` hold; those that depend on data are taken to hold."""
    axes = list(dict.fromkeys(axes))
    known = Known()
    simple = [p for c in conditions if not _reads(c) for p in conjuncts(simplify(c, known))]
    if any(isinstance(c, Const) and not c.value for c in simple):
        return 0
    simple = [c for c in dict.fromkeys(simple) if not isinstance(c, Const)]
    total: Any = 1
    for group, mine in _components(axes, simple):
        total = total * (_counted(group, mine) if mine else _box(group))
    return _plain(total)


def _reads(e: Expr) -> bool:
    return any(isinstance(n, (Access, Reduce)) for n in walk(e))


def _plain(total: Any) -> Any:
    if isinstance(total, Expr):
        total = simplify(total)
        return total.value if isinstance(total, Const) else total
    return total


def _box(axes: Sequence[Axis]) -> Any:
    total: Any = 1
    for axis in axes:
        total = total * axis.extent
    return total


def _components(axes: list[Axis], conditions: list[Expr]) -> list[tuple[list[Axis], list[Expr]]]:
    """Axes that no condition ties together are counted apart."""
    groups: list[tuple[list[Axis], list[Expr]]] = [([axis], []) for axis in axes]
    for condition in conditions:
        inside = set(free_axes(condition))
        tied = [g for g in groups if any(a in inside for a in g[0])]
        rest = [g for g in groups if not any(g is t for t in tied)]
        merged = ([a for g in tied for a in g[0]], [c for g in tied for c in g[1]] + [condition])
        groups = [*rest, merged]
    return groups


def _counted(axes: list[Axis], conditions: list[Expr]) -> Any:
    """The points of a few axes at which conditions that tie them hold."""
    fixed = [a for a in axes if isinstance(a.extent, int) and isinstance(a.lo, int)]
    loose = [a for a in axes if not any(a is f for f in fixed)]
    symbolic = bool(loose) or any(isinstance(n, Var) for c in conditions for n in walk(c))
    if not symbolic:
        line = max(fixed, key=lambda a: a.extent)
        if _points(fixed) <= 200_000 or _line(line, conditions) is None:
            return _enumerated(fixed, conditions) if _points(fixed) <= _MOST_POINTS else _box(axes)
        loose, fixed = [line], [a for a in fixed if a is not line]
    if len(loose) > 1 or _points(fixed) > (_MOST_POINTS if not symbolic else 4096):
        return _box(axes)  # more than is counted exactly: an upper bound
    if not loose:
        line = max(fixed, key=lambda a: a.extent)
        loose, fixed = [line], [a for a in fixed if a is not line]
    length = _line(loose[0], conditions)
    if length is None:
        return _box(axes)
    if not symbolic:
        return int(np.asarray(values_at(length, _grid(fixed))).sum() if fixed else _plain(simplify(length)))
    total: Any = 0
    for point in points_of(*(range(a.lo, a.lo + a.extent) for a in fixed)):
        total = total + substitute(length, cast(Any, {a: Const(v) for a, v in zip(fixed, point)}))
    return total


def _points(axes: Sequence[Axis]) -> int:
    total = 1
    for axis in axes:
        total *= axis.extent
    return total


def _line(axis: Axis, conditions: list[Expr]) -> Expr | None:
    """How many values of `axis` satisfy the conditions, in terms of the other axes; None when that is no simple
    expression.
    """
    condition = conditions[0]
    for other in conditions[1:]:
        condition = apply("bitwise_and", condition, other)
    found = solve(condition, axis)
    if found is None:
        return None
    length = apply("maximum", found.hi - found.lo, 0)
    if found.step > 1:
        length = (length + (found.step - 1)) // found.step
    if found.rest is not None:
        length = apply("where", found.rest, length, 0)
    return cast(Expr, length)


def _grid(axes: Sequence[Axis]) -> dict[Expr, Any]:
    rank = len(axes)
    return {
        a: np.arange(a.lo, a.lo + a.extent).reshape([-1 if d == n else 1 for d in range(rank)])
        for n, a in enumerate(axes)
    }


def _enumerated(axes: list[Axis], conditions: list[Expr]) -> int:
    grid = _grid(axes)
    holds = np.ones([a.extent for a in axes], dtype=bool)
    for condition in conditions:
        holds &= values_at(condition, grid)
    return int(holds.sum())


_SAME_NAME = (
    "add subtract multiply negative floor_divide remainder minimum maximum absolute where less less_equal greater "
    "greater_equal equal not_equal"
).split()
_NUMPY = {
    **{name: getattr(np, name) for name in _SAME_NAME},
    "bitwise_and": np.logical_and, "bitwise_or": np.logical_or, "bitwise_xor": np.logical_xor, "invert": np.logical_not,
}  # fmt: skip


def values_at(e: Expr, at: dict[Expr, Any]) -> Any:
    """An index expression at many points."""
    if e in at:
        return at[e]
    if isinstance(e, Const):
        return e.value
    if isinstance(e, Cast):
        return values_at(e.operand, at)
    if isinstance(e, Axis):  # one value only, so it is not among the points
        return e.lo
    assert isinstance(e, Apply)
    return _NUMPY[e.function](*(values_at(o, at) for o in e.operands))  # type: ignore[operator]
