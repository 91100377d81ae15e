"""Reductions over a block of points, a piece of their own range at a time.

Sums of products whose factors each depend on a part of the axes only (matrix products, convolutions) are matrix
products of float64. That is the same sum, more exactly: it is done only where the values are so small that nothing can
overflow and, for integers, that every sum is exact. Everything else is evaluated point by point and folded; float32 is
summed in float64.
"""

from __future__ import annotations

from math import prod
from typing import Any, cast

import numpy as np

from tedsl.lang import dtypes
from tedsl.lang.errors import CallValueError
from tedsl.lang.expr import Access, Apply, Axis, Cast, Expr, Reduce, free_axes
from tedsl.lang.reductions import Reducer
from tedsl.lang.tensor import Tensor
from tedsl.lang.text import text

from .functions import FOLDS, better
from .scope import Array, NotReady, Scope, State, Unreadable, Values, blocks

Range = tuple[int, int]  # first value and number of values


def reduced(scope: Scope, node: Reduce, mask: Array | None) -> Values:
    """All components of a reduction at every point of `scope` (where `mask` does not hold: anything)."""
    state = scope.state
    key = node.args[:5]
    if mask is not None:
        if node not in state.guarded:
            try:
                return reduced(scope, node, None)  # the same for every mask, so it is kept and may take the fast path
            except (NotReady, Unreadable):
                state.guarded.add(node)
        return _reduce(scope, node, mask)
    free = free_axes(node)
    where = tuple((axis, scope.ranges.get(axis)) for axis in free)
    keep = all(place is not None for _, place in where) and not state.unsettled(node)
    if keep and key in state.kept and state.kept[key][0] == where:
        return state.kept[key][1]
    values = _reduce(scope, node, None)
    if keep:
        state.kept[key] = where, values
    return values


def _reduce(scope: Scope, node: Reduce, mask: Array | None) -> Values:
    axes = cast("tuple[Axis, ...]", node.axes)
    ranges = [scope.state.range(axis) for axis in axes]
    kinds = tuple(v.dtype for v in node.values)
    identity = tuple(scope.value(e) for e in node.reducer.identity(kinds))  # a Cast of a number at most
    if any(count == 0 for _, count in ranges):
        if node.reducer.checked and node.where is None:
            empty = next(axis for axis, (_, count) in zip(axes, ranges, strict=True) if count == 0)
            raise CallValueError(
                f"{node.reducer.name} over the axis {empty.name} of extent 0 in `{text(node)}`: the "
                f"{node.reducer.name} of nothing is not defined (as in NumPy)"
            )
        return identity
    if mask is None and node.reducer.builtin and node.reducer.name == "sum":
        total = _contract(scope, node, axes, ranges)
        if total is not None:
            return (total,)
    outer = prod(scope.ranges[a][2] for a in free_axes(node) if a in scope.ranges)
    fold = _Fold(scope.state, node.reducer, kinds, identity)
    for block in blocks(ranges, scope.state.budget // max(outer, 1)):
        inner = scope.inside(axes, block)
        holds, needed = None, mask
        if node.where is not None:
            holds = inner.value(node.where, mask)
            needed = holds if mask is None else holds & mask
            if not np.any(needed):
                continue
        values = [np.asarray(inner.value(v, needed)) for v in node.values]
        if holds is not None:
            values = [np.where(holds, v, e) for v, e in zip(values, identity, strict=True)]
        fold.add(_spread(values, [count for _, count in block], scope.rank))
    return fold.result()


def _spread(values: list[np.ndarray], counts: list[int], rank: int) -> list[np.ndarray]:
    """`values` with the inner dimensions in full and made one, before the `rank` outer ones."""
    full = rank + len(counts)
    padded = [v.reshape((1,) * (full - v.ndim) + v.shape) for v in values]
    outer = np.broadcast_shapes(*(v.shape[len(counts) :] for v in padded))
    return [np.broadcast_to(v, (*counts, *outer)).reshape((-1, *outer)) for v in padded]


class _Fold:
    """The components so far, combined in order."""

    def __init__(self, state: State, reducer: Reducer, kinds: tuple[str, ...], identity: Values) -> None:
        self.state, self.reducer, self.kinds = state, reducer, kinds
        self.values: Values | None = None
        self.identity = identity
        self.ufunc = FOLDS.get(reducer.name) if reducer.builtin else None
        wider = reducer.name in ("sum", "prod") and kinds[0] in ("float16", "float32")
        self.working = "float64" if wider else kinds[0]

    def add(self, block: list[np.ndarray]) -> None:
        """Fold in values along their first dimension."""
        if self.ufunc is None:
            folded = self._tree(tuple(block))
        elif self.ufunc in (np.add, np.multiply):
            folded = (self.ufunc.reduce(block[0], axis=0, dtype=self.working),)
        else:
            folded = (self.ufunc.reduce(block[0], axis=0),)
        self.values = folded if self.values is None else self._pair(self.values, folded)

    def result(self) -> Values:
        if self.values is None:
            return self.identity
        return tuple(np.asarray(v).astype(k)[()] for v, k in zip(self.values, self.kinds, strict=True))

    def _pair(self, p: Values, q: Values) -> Values:
        if self.ufunc is not None:
            return (self.ufunc(p[0], q[0]),)
        if self.reducer.builtin:
            return better(self.reducer.name, cast(Any, p), cast(Any, q))
        return _combine(self.state, self.reducer, self.kinds, p, q)

    def _tree(self, values: Values) -> Values:
        """Neighbours combined in pairs until one is left, so that the order is kept."""
        while (count := len(values[0])) > 1:
            even = count // 2 * 2
            shape = (even // 2, *values[0].shape[1:])
            pairs = self._pair(tuple(v[0:even:2] for v in values), tuple(v[1:even:2] for v in values))
            full = [np.broadcast_to(v, shape) for v in pairs]
            values = (
                tuple(np.concatenate([a, b[even:]]) for a, b in zip(full, values, strict=True))
                if even < count
                else tuple(full)
            )
        return tuple(v[0] for v in values)


def _combine(state: State, reducer: Reducer, kinds: tuple[str, ...], p: Values, q: Values) -> Values:
    """A user's combine function of two tuples of arrays."""
    if (reducer, kinds) not in state.combines:
        parameters = [
            tuple(Access(Tensor(f"{side}{n}", (), kind), ()) for n, kind in enumerate(kinds)) for side in "pq"
        ]
        state.combines[reducer, kinds] = parameters, reducer.combine(*parameters)
    (ps, qs), results = state.combines[reducer, kinds]
    scope = Scope(state, None, {}, {}, 0)
    scope.memo.update(zip((*ps, *qs), (*p, *q), strict=True))
    return tuple(scope.value(e) for e in results)


# Sums of products -----------------------------------------------------------------------------------------------------


def _contract(scope: Scope, node: Reduce, axes: tuple[Axis, ...], ranges: list[Range]) -> Array | None:
    """The sum of a product as matrix products; None when it is no such sum, when that saves nothing, or when it might
    not be exact.
    """
    product: Expr = node.values[0]
    within = node.dtype  # the type in which the product is formed
    if isinstance(product, Cast) and dtypes.is_integer(node.dtype) and dtypes.is_integer(product.operand.dtype):
        product = product.operand
        within = dtypes.strong(product.dtype)
    if not isinstance(product, Apply) or product.function != "multiply" or node.dtype == "bool" or within == "bool":
        return None
    counts = {axis: count for axis, (_, count) in zip(axes, ranges, strict=True)}
    counts |= {axis: place[2] for axis, place in scope.ranges.items() if axis not in counts}
    sets = [set(free_axes(e)) for e in product.operands]
    condition = node.where
    extra = set(free_axes(condition)) if condition is not None else set()
    chosen = next((n for n, s in enumerate(sets) if extra <= s), None)
    if chosen is None or not all(axis in counts for s in sets for axis in s):
        return None

    def points(of: set[Axis], where: dict[Axis, int]) -> int:
        return prod(where[axis] for axis in of)

    if max(points(s, counts) for s in sets) * 4 > points(sets[0] | sets[1] | set(axes), counts):
        return None
    outer = max(points(s - set(axes), counts) for s in sets)
    limit, number = _limit(node.dtype, within), prod(count for _, count in ranges)
    total: Any = 0.0
    for block in blocks(ranges, scope.state.budget // max(outer, 1)):
        inner = scope.inside(axes, block)
        holds = None if condition is None else inner.value(condition)
        try:
            factors = [
                np.asarray(inner.value(e, holds if n == chosen else None)) for n, e in enumerate(product.operands)
            ]
        except (NotReady, Unreadable):  # perhaps one that the condition keeps in bounds: point by point it is seen
            return None
        if holds is not None:
            factors[chosen] = np.where(holds, factors[chosen], np.zeros((), factors[chosen].dtype))
        f, g = (v.astype("float64") for v in factors)
        high = float(np.max(np.abs(f))) * float(np.max(np.abs(g)))
        if not high * number < limit or (within != node.dtype and not high <= dtypes.limits(within)[1]):
            return None
        total = total + _matmul(f, g, [count for _, count in block], scope.rank)
    return np.asarray(total).astype(node.dtype)[()]


def _limit(dtype: str, within: str) -> float:
    """What the sum of absolute products must stay below: exact integers in float64; no overflow in a float."""
    if dtypes.is_integer(dtype):
        return float(min(2**53, dtypes.limits(dtype)[1]))
    wide = "float32" if dtype == "bfloat16" else dtype  # which has the same exponents, and is no dtype of NumPy's
    return float(np.finfo(wide).max) / 2


def _matmul(f: np.ndarray, g: np.ndarray, inner: list[int], rank: int) -> np.ndarray:
    """The sum over the first dimensions (of extents `inner`) of f * g, whose last `rank` dimensions broadcast and
    stay.
    """
    full = len(inner) + rank
    f = f.reshape((1,) * (full - f.ndim) + f.shape)
    g = g.reshape((1,) * (full - g.ndim) + g.shape)
    scale = 1.0
    summed: list[int] = []
    for dim, count in enumerate(inner):
        ours: int = f.shape[dim]
        theirs: int = g.shape[dim]
        if ours == theirs == 1:
            scale *= count  # depends on neither
        elif theirs == 1:
            f = f.sum(axis=dim, keepdims=True)
        elif ours == 1:
            g = g.sum(axis=dim, keepdims=True)
        else:
            summed.append(dim)
    outer = range(len(inner), full)
    both = [d for d in outer if f.shape[d] > 1 and g.shape[d] > 1]
    left = [d for d in outer if f.shape[d] > 1 and g.shape[d] == 1]
    right = [d for d in outer if g.shape[d] > 1 and f.shape[d] == 1]
    rest = [d for d in range(full) if d not in {*both, *left, *right, *summed}]

    def matrix(v: np.ndarray, rows: list[int], columns: list[int], others: list[int]) -> np.ndarray:
        sizes = [prod(v.shape[d] for d in dims) for dims in (both, rows, columns)]
        return v.transpose([*both, *rows, *columns, *others, *rest]).reshape(sizes)

    result = np.matmul(matrix(f, left, summed, right), matrix(g, summed, right, left))
    order = [*both, *left, *right]
    result = result.reshape([max(f.shape[d], g.shape[d]) for d in order])
    single = [d for d in outer if d not in order]
    result = result.reshape([*result.shape, *(1 for _ in single)])
    places = [*order, *single]
    return result.transpose([places.index(d) for d in outer]) * scale
