"""Values of expressions over a block of index points.

A `Scope` is a grid of points with one dimension for each axis: the left side's axes last and in order, before them
those of the reductions around, inner ones first. NumPy aligns shapes at their ends, so a value computed for the outer
points is at once a value for the inner ones, and a value that does not depend on an axis has extent 1 (or no dimension)
there. A mask says at which points a value is needed: only there may a read fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tedsl.lang import dtypes
from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, free_axes, rewrite, walk
from tedsl.lang.tensor import Dim, Tensor
from tedsl.lang.text import text

from .functions import numpy_of

Array = Any  # a NumPy array or scalar: an operation on a rank-0 array gives a scalar
Values = tuple[Array, ...]
Affine = tuple[int, dict[Axis, int]]  # a constant, and a coefficient for each axis


class Unreadable(Exception):
    """A read that cannot be served: the message is for the user."""


class NotReady(Exception):
    """A read of an element that a recurrence has not computed yet."""


class State:
    """What an evaluation knows: the arrays so far, the sizes, how many elements a block may have, and what computes
    the components of a reduction at the points of a scope that a mask leaves (sizes hold no reductions).
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        budget: int = 0,
        reduced: Callable[[Scope, Reduce, Array | None], Values] | None = None,
    ) -> None:
        self.sizes = dict(sizes)
        self.budget = budget
        self.reduced = reduced
        self.arrays: dict[Tensor, np.ndarray] = {}
        self.ready: dict[Tensor, np.ndarray] = {}  # of tensors under way: which elements are there
        self.inlined: set[Tensor] = set()  # tensors whose elements are computed where they are read
        self.guarded: set[Reduce] = set()  # reductions that cannot be evaluated without the mask around them
        self.kept: dict[tuple[Any, ...], tuple[Any, Values]] = {}  # the last result of each reduction
        self.combines: dict[Any, Any] = {}  # combine functions of reducers, traced
        self._reads: dict[Expr, bool] = {}
        self._unsettled: dict[Expr, bool] = {}
        self._affine: dict[Expr, Affine | None] = {}
        self._constants: dict[Expr, Array] = {}

    def size(self, dim: Dim) -> int:
        """The value of an extent."""
        return int(Scope(self, None, {}, {}, 0).value(dim)) if isinstance(dim, Expr) else dim

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        return tuple(self.size(dim) for dim in tensor.shape)

    def range(self, axis: Axis) -> tuple[int, int]:
        """First value and extent of an axis."""
        return self.size(axis.lo), max(self.size(axis.extent), 0)

    def constant(self, node: Expr) -> Array:
        value = self._constants.get(node)
        if value is None:
            if isinstance(node, Const):
                # An array first: NumPy converts to a narrow type only what fits it exactly.
                value = np.asarray(node.value, dtypes.strong(node.dtype))[()]
            else:
                value = np.int64(self.sizes[cast(Var, node).name])
            self._constants[node] = value
        return value

    def reads(self, node: Expr) -> bool:
        """Whether a value depends on an element of a tensor."""
        found = self._reads.get(node)
        if found is None:
            found = self._reads[node] = any(isinstance(n, Access) for n in walk(node))
        return found

    def unsettled(self, node: Expr) -> bool:
        """Whether a value depends on a tensor that is being computed, so that it must not be kept."""
        if not self.ready:
            return False
        found = self._unsettled.get(node)
        if found is None:
            tensors = {n.tensor for n in walk(node) if isinstance(n, Access)}
            found = any(
                t in self.ready or (t in self.inlined and any(self.unsettled(p.values[t.component]) for p in t.parts))
                for t in tensors
            )
            self._unsettled[node] = found
        return found

    def begin(self, ready: Mapping[Tensor, np.ndarray]) -> None:
        """Start (or with nothing: end) the computation of a group of tensors."""
        self.ready = dict(ready)
        self._unsettled.clear()
        self.kept.clear()

    def affine(self, node: Expr) -> Affine | None:
        """An index as a constant and a coefficient for each axis; None when it is not of that form."""
        if node not in self._affine:
            self._affine[node] = self._find_affine(node)
        return self._affine[node]

    def _find_affine(self, node: Expr) -> Affine | None:
        if isinstance(node, (Const, Var)):
            return int(self.constant(node)), {}
        if isinstance(node, Axis):
            return 0, {node: 1}
        if (
            not isinstance(node, Apply)
            or node.dtype != "int"
            or node.function not in ("add", "subtract", "multiply", "negative")
        ):
            return None
        forms = [self.affine(e) for e in node.operands]
        if None in forms:
            return None
        (c, terms), (d, others) = forms[0], forms[-1]  # type: ignore[misc]
        if node.function == "multiply":
            if terms and others:
                return None
            factor = d if terms else c
            return c * d, {a: k * factor for a, k in (terms or others).items()}
        if node.function == "negative":
            return -c, {a: -k for a, k in terms.items()}
        sign = 1 if node.function == "add" else -1
        return c + sign * d, {a: terms.get(a, 0) + sign * others.get(a, 0) for a in [*terms, *others]}


class Scope:
    """A grid of points, and the values found for it so far.

    axes: the values of each axis in scope, shaped to the grid. ranges: for axes that count up, their dimension (from
    the end), first value and number of values. rank: how many dimensions the grid has.
    """

    def __init__(
        self,
        state: State,
        parent: Scope | None,
        axes: Mapping[Axis, Array],
        ranges: Mapping[Axis, tuple[int, int, int]],
        rank: int,
    ) -> None:
        self.state, self.parent, self.rank = state, parent, rank
        self.bound = frozenset(axes)
        self.axes: dict[Axis, Array] = {**parent.axes, **axes} if parent else dict(axes)
        self.ranges: dict[Axis, tuple[int, int, int]] = {**parent.ranges, **ranges} if parent else dict(ranges)
        self.memo: dict[Any, Array] = {}
        self.masks: list[Array] = []  # masks are told apart by id, so they must live as long as the scope
        self.branches: dict[Any, tuple[Array, Array]] = {}

    @classmethod
    def over(
        cls, state: State, axes: Sequence[Any], block: Sequence[tuple[int, int]], parent: Scope | None = None
    ) -> Scope:
        """The grid of a block: a dimension for each of `axes`, with its first value and number of values; before those
        of `parent`. What is no axis (a whole number on a left side) has a dimension and no values.
        """
        ranges, values = {}, {}
        rank = len(axes) + (parent.rank if parent else 0)
        for n, (axis, (lo, count)) in enumerate(zip(axes, block, strict=True)):
            if isinstance(axis, Axis):
                ranges[axis] = rank - 1 - n, lo, count
                values[axis] = np.arange(lo, lo + count, dtype=np.int64).reshape((count, *(1,) * (rank - 1 - n)))
        return cls(state, parent, values, ranges, rank)

    def inside(self, axes: Sequence[Axis], block: Sequence[tuple[int, int]]) -> Scope:
        """This grid with more axes in front, each with its first value and number of values."""
        return self.over(self.state, axes, block, self)

    def value(self, root: Expr, mask: Array | None = None) -> Array:
        """The value of `root` at every point; where `mask` is False, anything."""
        # An explicit stack: an expression may be deeper than Python's recursion goes.
        stack: list[tuple[Expr, Array | None]] = [(root, mask)]
        while stack:
            node, mask = stack[-1]
            if self._found(node, mask) is not None:
                stack.pop()
                continue
            pending = [item for item in self._operands(node, mask) if self._found(*item) is None]
            if pending:
                stack.extend(reversed(pending))
                continue
            stack.pop()
            self._store(node, mask, self._compute(node, mask))
        return self._found(root, mask)

    def _key(self, node: Expr, mask: Array | None) -> Any:
        return node if mask is None or not self.state.reads(node) else (node, id(mask))

    def _found(self, node: Expr, mask: Array | None) -> Array | None:
        if isinstance(node, Axis):
            return self.axes[node]
        if isinstance(node, (Const, Var)):
            return self.state.constant(node)
        value = self.memo.get(self._key(node, mask))
        # what was found without a mask holds under any
        return self.memo.get(node) if value is None and mask is not None else value

    def _store(self, node: Expr, mask: Array | None, value: Array) -> None:
        key = self._key(node, mask)
        if isinstance(key, tuple):
            self.masks.append(mask)
        self.memo[key] = value

    def _outer(self, node: Expr, mask: Array | None) -> bool:
        """Whether the value is the same at all points of the axes that this scope added, and so is the parent's to
        find.
        """
        return (
            self.parent is not None
            and not isinstance(self._key(node, mask), tuple)
            and self.bound.isdisjoint(free_axes(node))
        )

    def _operands(self, node: Expr, mask: Array | None) -> Iterator[tuple[Expr, Array | None]]:
        """The values to find before that of `node`."""
        if self._outer(node, mask) or isinstance(node, Reduce):
            return
        if isinstance(node, Access) and self._view(node) is not None:
            return
        if (
            isinstance(node, Apply)
            and node.function == "where"
            and (self.state.reads(node.operands[1]) or self.state.reads(node.operands[2]))
        ):
            condition, a, b = node.operands
            holds = self._found(condition, mask)
            if holds is None:
                yield condition, mask
                return
            yield from zip((a, b), self._branches(node, mask, holds), strict=True)
            return
        for child in node.children:
            yield child, mask

    def _branches(self, node: Expr, mask: Array | None, holds: Array) -> tuple[Array, Array]:
        """The masks under which the two branches of a `where` are needed."""
        key = self._key(node, mask)
        if key not in self.branches:
            yes, no = np.asarray(holds), np.asarray(~holds)
            if isinstance(key, tuple):
                self.masks.append(mask)
                yes, no = yes & mask, no & mask
            self.branches[key] = yes, no
        return self.branches[key]

    def _compute(self, node: Expr, mask: Array | None) -> Array:
        if self._outer(node, mask):
            return cast(Scope, self.parent).value(node)
        if not self.state.reads(node):
            mask = None
        if isinstance(node, Access):
            view = self._view(node)
            return self._gather(node, mask) if view is None else view
        if isinstance(node, Reduce):
            assert self.state.reduced is not None
            return self.state.reduced(self, node, mask)[node.component]
        if isinstance(node, Cast):
            return np.asarray(self._found(node.operand, mask)).astype(node.dtype)[()]
        function = cast(Apply, node).function
        operands: list[Array]
        if function == "where" and self._key(node, mask) in self.branches:
            condition, a, b = node.children
            yes, no = self.branches[self._key(node, mask)]
            operands = [self._found(condition, mask), self._found(a, yes), self._found(b, no)]
        else:
            operands = [self._found(e, mask) for e in node.children]
        value = numpy_of(function)(*operands)
        if value.dtype != dtypes.strong(node.dtype):
            raise InternalError(f"the reference computed `{text(node)}` in {value.dtype}, but its type is {node.dtype}")
        return value[()]

    # Reading tensors --------------------------------------------------------------------------------------------------

    def _view(self, node: Access) -> Array | None:
        """An access with affine indices that is in bounds at every point, as a view of the array; else None."""
        tensor, state = node.tensor, self.state
        if tensor in state.inlined:
            return None
        array = state.arrays.get(tensor)
        if array is None:
            raise InternalError(f"the reference reads {tensor.name} before it was computed")
        starts = []
        strides: dict[Axis, list[int]] = {}
        for dim, (index, extent) in enumerate(zip(node.indices, array.shape, strict=True)):
            form = state.affine(index)
            if form is None:
                return None
            first, terms = form
            low = high = first
            for axis, step in terms.items():
                if axis not in self.ranges:
                    return None
                _, lo, count = self.ranges[axis]
                first += step * lo
                ends = step * lo, step * (lo + count - 1)
                low, high = low + min(ends), high + max(ends)
                strides.setdefault(axis, [0] * array.ndim)[dim] += step
            if low < 0 or high >= extent:
                return None
            starts.append(first)
        rank = max((self.ranges[axis][0] + 1 for axis in strides), default=0)
        shape = [1] * rank
        for axis in strides:
            shape[rank - 1 - self.ranges[axis][0]] = self.ranges[axis][2]

        def view(source: np.ndarray) -> Array:
            jumps = [0] * rank
            for axis, along in strides.items():
                jumps[rank - 1 - self.ranges[axis][0]] = sum(k * s for k, s in zip(along, source.strides, strict=True))
            # the first element, as an array whose memory starts there
            corner = source[tuple(slice(s, s + 1) for s in starts)] if starts else source
            return as_strided(corner, shape, jumps, writeable=False)[()]

        ready = state.ready.get(tensor)
        if ready is not None and not view(ready).all():
            return None
        return view(array)

    def _gather(self, node: Access, mask: Array | None) -> Array:
        """An access in general: every index is checked where it is needed."""
        tensor, state = node.tensor, self.state
        shape = state.shape(tensor)
        indices = [np.asarray(self._found(e, mask)) for e in node.indices]
        outside = np.zeros((), bool)
        for dim, (index, extent) in enumerate(zip(indices, shape, strict=True)):
            wrong = (index < 0) | (index >= extent)
            needed = wrong if mask is None else wrong & mask
            if needed.any():
                raise Unreadable(self._complaint(node, dim, extent, needed, mask))
            if wrong.any():
                indices[dim] = np.where(wrong, 0, index)
            outside = outside | wrong
        grid = np.broadcast_shapes(*(i.shape for i in indices)) if indices else ()
        if 0 in shape:
            return np.zeros(grid, tensor.dtype)
        if tensor in state.inlined:
            part = tensor.parts[0]
            axes = cast("dict[Axis, Array]", dict(zip(part.lhs, indices, strict=True)))
            return Scope(state, None, axes, {}, self.rank).value(part.values[tensor.component], mask)
        where = tuple(np.broadcast_arrays(*indices)) if indices else ()
        ready = state.ready.get(tensor)
        if ready is not None:
            there = ready[where] | outside
            if not (there if mask is None else there | ~mask).all():
                raise NotReady(text(node))
        return state.arrays[tensor][where]

    def _complaint(self, node: Access, dim: int, extent: int, needed: np.ndarray, mask: Array | None) -> str:
        """What to say of an index that is out of range: the tensors that it was read from, and where."""
        point = tuple(int(v) for v in np.argwhere(needed)[0])

        def at(values: Array) -> int:
            values = np.asarray(values)
            place = point[len(point) - values.ndim :] if values.ndim else ()
            return int(values[tuple(p if n > 1 else 0 for p, n in zip(place, values.shape, strict=True))])

        index = node.indices[dim]
        if isinstance(index, Cast) and index.operand.dtype == "uint64":
            index = index.operand  # as an int64 it would be negative
        found = []
        for read in walk(index):
            if isinstance(read, Access):
                place = ", ".join(str(at(self.value(e, mask))) for e in read.indices)
                found.append(f"{read.tensor.name}[{place}] is {at(self.value(read, mask))}")
        because = f" ({', '.join(found)})" if found else ""
        shown = rewrite(
            node, lambda n: n.operand if isinstance(n, Cast) and dtypes.is_integer(n.operand.dtype) else None
        )
        place = f"outside of {node.tensor.name}, whose extent there is {extent}"
        return f"`{text(shown)}`: index {dim} is {at(self.value(index, mask))}{because}, {place}"


def blocks(ranges: Sequence[tuple[int, int]], budget: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """The box of `ranges` (first value and number of values for each dimension) in boxes of at most `budget` points, in
    lexicographic order.
    """
    counts = []
    left = max(budget, 1)
    for _, count in reversed(ranges):
        counts.append(max(1, min(count, left)))
        left = max(1, left // max(count, 1)) if counts[-1] == count else 1
    counts.reverse()
    pieces = [
        [(lo + n, min(step, count - n)) for n in range(0, count, step)]
        for (lo, count), step in zip(ranges, counts, strict=True)
    ]
    return product(*pieces)
