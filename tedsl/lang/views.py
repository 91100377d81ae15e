"""Tensors in another order, another shape, in part and joined, as in NumPy: each a definition that reads elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import as_tensor, axis_names, dimension, make, refuse, same_extent, shown_shape
from .expr import Access, Axis, Const, Expr, apply, as_expr, walk
from .integers import Known, prove, simplify
from .tensor import Dim, Tensor, as_dim, as_shape, is_zero, plain


def transpose(x: Tensor, axes: Any = None) -> Tensor:
    """The dimensions of `x` in another order: reversed, or that of `axes`."""
    order = (
        tuple(range(x.rank))[::-1] if axes is None else tuple(dimension("transpose", a, x.rank, x.name) for a in axes)
    )
    if sorted(order) != list(range(x.rank)):
        refuse(f"transpose: axes={tuple(axes)!r} of {x!r} must name each dimension once")
    names = axis_names(x.shape)
    index = {d: names[n] for n, d in enumerate(order)}
    return make("transpose", [x.shape[d] for d in order], names, Access(x, tuple(index[d] for d in range(x.rank))))


def swapaxes(x: Tensor, a: Any, b: Any) -> Tensor:
    """`x` with two dimensions exchanged."""
    order = list(range(x.rank))
    first, second = (dimension("swapaxes", d, x.rank, x.name) for d in (a, b))
    order[first], order[second] = second, first
    return transpose(x, order)


def squeeze(x: Tensor, axis: Any = None) -> Tensor:
    """`x` without its dimensions of extent 1, or without those of `axis`, which have to have it."""
    if axis is None:
        over = [d for d, n in enumerate(x.shape) if same_extent(n, 1)]
    else:
        over = [dimension("squeeze", d, x.rank, x.name) for d in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    for d in over:
        if not same_extent(x.shape[d], 1):
            refuse(f"squeeze: dimension {d} of {x!r} has extent {x.shape[d]}, not 1")
    return reshape(x, tuple(n for d, n in enumerate(x.shape) if d not in over))


def reshape(x: Tensor, shape: Any) -> Tensor:
    """`x` in another shape, rows together (NumPy's order="C"). One extent may be -1. The sizes must surely be equal."""
    items = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    unknown = [n for n, d in enumerate(items) if isinstance(d, (int, np.integer)) and d == -1]
    if len(unknown) > 1:
        refuse(f"reshape of {x!r} to {items}: only one extent can be -1")
    given = as_shape(tuple(1 if n in unknown else d for n, d in enumerate(items)), f"reshape of {x.name}")
    if unknown:
        rest = _product(given)
        if same_extent(rest, 0):
            refuse(f"reshape of {x!r} to {items}: -1 can be anything when another extent is 0")
        whole = as_dim(apply("floor_divide", x.size, rest), f"extent {unknown[0]} of the reshaped {x.name}")
        given = tuple(whole if n in unknown else d for n, d in enumerate(given))
    if not same_extent(_product(given), x.size):
        refuse(f"reshape: {x!r} has {x.size} elements, which does not fit the shape {shown_shape(items)}")
    axes = axis_names(given, *x.shape)
    return make("reshape", given, axes, Access(x, tuple(_reshaped(x.shape, given, axes))))


def _product(dims: Sequence[Dim]) -> Dim:
    total: Any = 1
    for dim in dims:
        total = total * dim
    return as_dim(total, "a size")


def _reshaped(old: Sequence[Dim], new: Sequence[Dim], axes: Sequence[Axis]) -> list[Expr]:
    """The indices into `old` for the element at `axes` of `new`.

    The shapes are cut where their leading products agree, so that ``//`` and ``%`` appear only where an extent is
    really regrouped.
    """
    before_old = [_product(old[:n]) for n in range(len(old) + 1)]
    before_new = [_product(new[:n]) for n in range(len(new) + 1)]
    cuts = [(0, 0)]
    for a in range(len(old) + 1):
        for b in range(cuts[-1][1], len(new) + 1):
            if (a > cuts[-1][0] or a == 0) and b > cuts[-1][1] and same_extent(before_old[a], before_new[b]):
                cuts.append((a, b))
                break
    if cuts[-1] != (len(old), len(new)):
        cuts.append((len(old), len(new)))
    indices: list[Expr] = []
    for (a0, b0), (a1, b1) in itertools.pairwise(cuts):
        flat: Any = Const(0)
        for axis, extent in zip(axes[b0:b1], new[b0:b1]):
            flat = axis if flat is Const(0) else flat * extent + axis
        for d in range(a0, a1):
            inner = _product(old[d + 1 : a1])
            index: Any = Const(0) if same_extent(old[d], 1) else flat if same_extent(inner, 1) else flat // inner
            # the leading index needs no wrapping
            outer_is_one = same_extent(_product(old[a0:d]), 1)
            indices.append(index if outer_is_one or index is Const(0) else index % old[d])
    return indices


def slice_tensor(x: Tensor, items: Sequence[Any]) -> Tensor:
    """NumPy's basic indexing: whole numbers, slices, None and one Ellipsis."""
    shown = _slice_text(x, items)
    for e in items:
        if isinstance(e, (Axis, str)) or (isinstance(e, Expr) and any(isinstance(n, (Axis, Access)) for n in walk(e))):
            refuse(f"{shown} mixes axes with slices: give an axis to every dimension, or to none")
        if not (e is None or e is Ellipsis or isinstance(e, (slice, int, np.integer, Expr))) or isinstance(
            e, (bool, np.bool_)
        ):
            refuse(
                f"{shown}: tensors take whole numbers, slices, None and …; to gather, index with the elements of a "
                f"tensor: {x.name}[I[i]]"
            )
    if sum(e is Ellipsis for e in items) > 1:
        refuse(f"{shown} has more than one …")
    taken = sum(e is not None and e is not Ellipsis for e in items)
    if taken > x.rank:
        refuse(f"{shown} has {taken} indices, but {x.name} has {x.rank} dimension{'s' * (x.rank != 1)}")
    filler = [slice(None)] * (x.rank - taken)
    where = next((n for n, e in enumerate(items) if e is Ellipsis), len(items))
    full = [*items[:where], *filler, *items[where + 1 :]]
    shape: list[Dim] = []
    parts: list[
        tuple[Any, Any] | Any
    ] = []  # for each dimension of x: (start, step) with the next axis, or a fixed index
    dim = 0
    for e in full:
        if e is None:
            shape.append(1)
            parts.append(None)
            continue
        extent = x.shape[dim]
        if isinstance(e, slice):
            start, length, step = _slice(e, extent, shown)
            shape.append(length)
            parts.append((start, step))
        else:
            parts.append(as_expr(_position(e, extent, dim, shown)))
        dim += 1
    axes = axis_names(shape, *x.shape)
    names = iter(axes)
    indices: list[Expr] = []
    for part in parts:
        if isinstance(part, tuple):
            start, step = part
            axis: Any = next(names)
            index = axis if step == 1 else -axis if step == -1 else axis * step
            indices.append(as_expr(index if is_zero(start) else start - axis if step == -1 else index + start))
        elif part is None:
            next(names)
        else:
            indices.append(part)
    return make("slice", shape, axes, Access(x, tuple(indices)))


def _position(index: Any, extent: Dim, dim: int, shown: str) -> Any:
    if isinstance(index, Expr):
        return index
    if isinstance(extent, int) and not -extent <= index < extent:
        refuse(f"{shown}: the index {index} is out of bounds for dimension {dim} of extent {extent}")
    return index + extent if index < 0 else int(index)


def _slice(item: slice, extent: Dim, shown: str) -> tuple[Any, Dim, int]:
    """Start, length and step of a slice along `extent`."""
    step = 1 if item.step is None else item.step
    if isinstance(step, (bool, np.bool_)) or not isinstance(step, (int, np.integer)) or step == 0:
        refuse(f"{shown}: the step {step!r} of a slice is a whole number other than 0")
    for bound in (item.start, item.stop):
        if isinstance(bound, (bool, float, np.floating)) or not (
            bound is None or isinstance(bound, (int, np.integer, Expr))
        ):
            refuse(f"{shown}: a slice goes from whole numbers to whole numbers, not to {bound!r}")
    step = int(step)
    if isinstance(extent, int) and not isinstance(item.start, Expr) and not isinstance(item.stop, Expr):
        start, stop, step = slice(item.start, item.stop, step).indices(extent)
        return start, len(range(start, stop, step)), step
    # A start beyond the last element gives length 0, so it needs no clipping on that side; nor does a stop before the
    # first.
    if step > 0:
        begin: Any = 0 if item.start is None else _from_end(item.start, extent, shown)
        if not isinstance(begin, int):
            begin = apply("maximum", begin, 0)
        end: Any = extent if item.stop is None else apply("minimum", _from_end(item.stop, extent, shown), extent)
        span = end - begin
    else:
        begin = extent - 1 if item.start is None else apply("minimum", _from_end(item.start, extent, shown), extent - 1)
        end = -1 if item.stop is None else _from_end(item.stop, extent, shown)
        if not isinstance(end, int):
            end = apply("maximum", end, -1)
        span = begin - end
    length = apply("maximum", span if abs(step) == 1 else apply("floor_divide", span + (abs(step) - 1), abs(step)), 0)
    first = simplify(as_expr(begin))
    return plain(first), as_dim(length, f"an extent of {shown}"), step


def _from_end(bound: Any, extent: Dim, shown: str) -> Any:
    """A slice's bound counted from the start of the dimension."""
    if isinstance(bound, Expr):
        if prove(apply("less", bound, 0), Known()):
            return bound + extent
        if not prove(apply("greater_equal", bound, 0), Known()):
            refuse(f"{shown}: whether the bound `{bound!r}` is negative depends on sizes; state it: te.var(…, min=…)")
        return bound
    return int(bound) + extent if bound < 0 else int(bound)


def _slice_text(x: Tensor, items: Sequence[Any]) -> str:
    def item(e: Any) -> str:
        if not isinstance(e, slice):
            return "..." if e is Ellipsis else repr(e)
        return ":".join(
            "" if p is None else repr(p) for p in ((e.start, e.stop) if e.step is None else (e.start, e.stop, e.step))
        )

    return f"{x.name}[{', '.join(map(item, items))}]"


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors one after the other along `axis`, as `numpy.concatenate`. Raises DefinitionError when their other extents
    differ.

    >>> import tedsl as te
    >>> print(te.concatenate([te.tensor("A", (2,)), te.tensor("B", (3,))]))
    concatenate[i] = where(i < 2, A[i], B[i - 2])
    """
    parts = [as_tensor("concatenate", t) for t in tensors]
    if not parts or not parts[0].rank:
        refuse("concatenate takes at least one tensor, of at least one dimension")
    first = parts[0]
    dim = dimension("concatenate", axis, first.rank, first.name)
    starts: list[Any] = [0]
    for t in parts:
        if t.rank != first.rank or not all(
            d == dim or same_extent(a, b) for d, (a, b) in enumerate(zip(t.shape, first.shape))
        ):
            refuse(f"concatenate: {t!r} does not fit {first!r}: all extents but that of dimension {dim} must be equal")
        starts.append(as_dim(starts[-1] + t.shape[dim], "an extent"))
    shape = [*first.shape]
    shape[dim] = starts[-1]
    axes = axis_names(shape, *(d for t in parts for d in t.shape))
    value: Any = None
    for t, start, end in reversed(list(zip(parts, starts, starts[1:]))):
        index: list[Any] = [*axes]
        if not is_zero(start):
            index[dim] = axes[dim] - start
        read = Access(t, tuple(index))
        value = read if value is None else apply("where", apply("less", axes[dim], end), read, value)
    return make("concatenate", shape, axes, value)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension, as `numpy.stack`."""
    parts = [as_tensor("stack", t) for t in tensors]
    if not parts:
        refuse("stack takes at least one tensor")
    first = parts[0]
    dim = dimension("stack", axis, first.rank + 1, "the result")
    for t in parts:
        if t.rank != first.rank or not all(map(same_extent, t.shape, first.shape)):
            refuse(f"stack: {t!r} has not the shape of {first!r}")
    shape = (*first.shape[:dim], len(parts), *first.shape[dim:])
    axes = axis_names(shape)
    value: Any = None
    for n, t in reversed(list(enumerate(parts))):
        read = Access(t, (*axes[:dim], *axes[dim + 1 :]))
        value = read if value is None else apply("where", apply("equal", axes[dim], n), read, value)
    return make("stack", shape, axes, value)
