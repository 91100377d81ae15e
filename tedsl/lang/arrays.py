"""NumPy's operators on whole tensors. Each makes a tensor with a definition of its own: ``A + B`` is ``add[i, j] = A[i, j] + B[i, j]``.

Extents broadcast as in NumPy. Two symbolic ones must be the same size; a size is never taken to be 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, cast

import numpy as np

from . import dtypes
from .errors import DefinitionError, here
from .expr import Access, Axis, Cast, Const, Expr, Var, as_expr, walk
from .functions import FUNCTIONS, apply
from .reductions import REDUCERS, Reducer, reduce_expr
from .tensor import Dim, Tensor, as_dim, as_shape


def make(name: str, shape: Sequence[Dim], axes: Sequence[Expr], value: Any) -> Tensor:
    """A new tensor with one equation, located at the user's line."""
    from .definition import define

    location = here()
    result = Tensor(name, tuple(shape), None, None, location)
    define((result,), tuple(axes), (value,), location)
    return result


def axis_names(shape: Sequence[Any], *others: Any) -> tuple[Axis, ...]:
    """An axis for each dimension of `shape`: i, j, k … but for the names of sizes in `shape` and `others`."""
    taken = {n.name for dim in (*shape, *others) if isinstance(dim, Expr) for n in walk(dim) if isinstance(n, (Var, Axis))}
    letters = (c for c in "ijklmnopqrstuvwxyz" if c not in taken)
    numbered = (f"i{n}" for n in range(len(shape) + len(taken)) if f"i{n}" not in taken)
    return tuple(cast(Axis, Axis(next(letters, None) or next(numbered))) for _ in shape)


def same_extent(a: Dim, b: Dim) -> bool:
    """Whether two extents are surely the same."""
    if a is b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if isinstance(a, Var) and isinstance(b, Var) and a.name == b.name:
        return True
    from .integers import simplify

    difference = simplify(as_expr(a) - as_expr(b))
    return isinstance(difference, Const) and difference.value == 0


def _shown(shape: Sequence[Dim]) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"


def refuse(message: str) -> NoReturn:
    raise DefinitionError(message, here())


def _check_operand(what: str, value: Any) -> None:
    if isinstance(value, np.ndarray):
        refuse(f"{what}: a NumPy array of shape {value.shape} is combined with a tensor; declare an input, te.tensor(name, {value.shape}, '{value.dtype}'), and pass the array in the call")
    if isinstance(value, Expr) and any(isinstance(n, (Axis, Access)) for n in walk(value)):
        refuse(f"{what}: `{value!r}` is an element at axes and is combined with a whole tensor; index the tensor too")


# Broadcasting --------------------------------------------------------------------------------------------------------------------------------


def broadcast_shapes(what: str, *shapes: Sequence[Dim]) -> tuple[Dim, ...]:
    """The common shape; DefinitionError, with all shapes, when there is none."""
    rank = max(map(len, shapes), default=0)
    result: list[Dim] = []
    for d in range(-rank, 0):
        extent: Dim = 1
        for shape in shapes:
            if -d <= len(shape) and not same_extent(shape[d], 1):
                if same_extent(extent, 1):
                    extent = shape[d]
                elif not same_extent(extent, shape[d]):
                    symbolic = isinstance(extent, Expr) or isinstance(shape[d], Expr)
                    hint = " (a symbolic extent fits only itself)" if symbolic else ""
                    refuse(f"{what}: the shapes {' and '.join(map(_shown, shapes))} do not broadcast: extents {extent} and {shape[d]}{hint}")
        result.append(extent)
    return tuple(result)


def element(tensor: Tensor, axes: Sequence[Any], shape: Sequence[Dim]) -> Access:
    """The element of `tensor` that broadcasting puts at `axes` of `shape`."""
    lead = len(axes) - tensor.rank
    indices = [Const(0) if same_extent(n, 1) and not same_extent(shape[lead + d], 1) else axes[lead + d] for d, n in enumerate(tensor.shape)]
    return cast(Access, Access(tensor, tuple(indices)))


def elementwise(name: str, values: Sequence[Any]) -> Tensor:
    """Function `name` of tensors, numbers and sizes, broadcast."""
    label = FUNCTIONS[name].symbol or name
    for value in values:
        _check_operand(label, value)
    tensors = [v for v in values if isinstance(v, Tensor)]
    shape = broadcast_shapes(label, *(t.shape for t in tensors))
    axes = axis_names(shape, *values)
    return make(name, shape, axes, apply(name, *(element(v, axes, shape) if isinstance(v, Tensor) else as_expr(v) for v in values)))


def elementwise_cast(x: Tensor, dtype: str) -> Tensor:
    """`x` converted to `dtype`."""
    if x.dtype == dtype:
        return x
    axes = axis_names(x.shape)
    return make("cast", x.shape, axes, Cast(dtype, Access(x, axes)))


def broadcast_to(x: Tensor, shape: Any) -> Tensor:
    """`x` repeated to `shape`, as `numpy.broadcast_to`. Raises DefinitionError when it does not fit.

    >>> import tedsl as te
    >>> print(te.broadcast_to(te.tensor("A", (3, 1)), (2, 3, 4)))
    broadcast_to[i, j, k] = A[j, 0]
    """
    x = _tensor("broadcast_to", x)
    dims = as_shape(shape, "broadcast_to")
    found = broadcast_shapes("broadcast_to", x.shape, dims)
    if len(found) != len(dims) or not all(map(same_extent, found, dims)):
        refuse(f"broadcast_to: {x!r} does not broadcast to {_shown(dims)}")
    axes = axis_names(dims)
    return make("broadcast_to", dims, axes, element(x, axes, dims))


def _tensor(what: str, x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    _check_operand(what, x)
    refuse(f"{what} takes tensors, not {x!r}")


# Shapes --------------------------------------------------------------------------------------------------------------------------------------


def _dimension(what: str, axis: Any, rank: int, name: str) -> int:
    """A dimension's number from what a user gives; negative ones count from the end."""
    if isinstance(axis, (bool, np.bool_)) or not isinstance(axis, (int, np.integer)):
        hint = "; over the elements of a tensor, by name: te.sum(A[i, k], axis=k)" if isinstance(axis, (Axis, str)) else ""
        refuse(f"{what}: axis={axis!r} of the tensor {name}: its dimensions have numbers{hint}")
    if not -rank <= axis < rank:
        refuse(f"{what}: axis={axis} is out of range for {name}, which has {rank} dimension{'s' * (rank != 1)}")
    return int(axis) % rank


def transpose(x: Tensor, axes: Any = None) -> Tensor:
    """The dimensions of `x` in another order: reversed, or that of `axes`."""
    order = tuple(range(x.rank))[::-1] if axes is None else tuple(_dimension("transpose", a, x.rank, x.name) for a in axes)
    if sorted(order) != list(range(x.rank)):
        refuse(f"transpose: axes={tuple(axes)!r} of {x!r} must name each dimension once")
    names = axis_names(x.shape)
    index = {d: names[n] for n, d in enumerate(order)}
    return make("transpose", [x.shape[d] for d in order], names, Access(x, tuple(index[d] for d in range(x.rank))))


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
        refuse(f"reshape: {x!r} has {x.size} elements, which does not fit the shape {_shown(items)}")
    axes = axis_names(given, *x.shape)
    return make("reshape", given, axes, Access(x, tuple(_reshaped(x.shape, given, axes))))


def _product(dims: Sequence[Dim]) -> Dim:
    total: Any = 1
    for dim in dims:
        total = total * dim
    return as_dim(total, "a size")


def _reshaped(old: Sequence[Dim], new: Sequence[Dim], axes: Sequence[Axis]) -> list[Expr]:
    """The indices into `old` for the element at `axes` of `new`.

    The shapes are cut where their leading products agree, so that ``//`` and ``%`` appear only where an extent is really regrouped.
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
    for (a0, b0), (a1, b1) in zip(cuts, cuts[1:]):
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
    shown = f"{x.name}[{', '.join('…' if e is Ellipsis else repr(e) for e in items)}]"
    for e in items:
        if isinstance(e, (Axis, str)) or (isinstance(e, Expr) and any(isinstance(n, (Axis, Access)) for n in walk(e))):
            refuse(f"{shown} mixes axes with slices: give an axis to every dimension, or to none")
        if not (e is None or e is Ellipsis or isinstance(e, (slice, int, np.integer, Expr))) or isinstance(e, (bool, np.bool_)):
            refuse(f"{shown}: tensors take whole numbers, slices, None and …; to gather, index with the elements of a tensor: {x.name}[I[i]]")
    if sum(e is Ellipsis for e in items) > 1:
        refuse(f"{shown} has more than one …")
    taken = sum(e is not None and e is not Ellipsis for e in items)
    if taken > x.rank:
        refuse(f"{shown} has {taken} indices, but {x.name} has {x.rank} dimension{'s' * (x.rank != 1)}")
    filler = [slice(None)] * (x.rank - taken)
    where = next((n for n, e in enumerate(items) if e is Ellipsis), len(items))
    full = [*items[:where], *filler, *items[where + 1 :]]
    shape: list[Dim] = []
    parts: list[tuple[Any, Any] | Any] = []  # for each dimension of x: (start, step) with the next axis, or a fixed index
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
            indices.append(as_expr(index if _is_zero(start) else start - axis if step == -1 else index + start))
        elif part is None:
            next(names)
        else:
            indices.append(part)
    return make("slice", shape, axes, Access(x, tuple(indices)))


def _is_zero(value: Any) -> bool:
    return not isinstance(value, Expr) and value == 0


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
        if isinstance(bound, (bool, float, np.floating)) or not (bound is None or isinstance(bound, (int, np.integer, Expr))):
            refuse(f"{shown}: a slice goes from whole numbers to whole numbers, not to {bound!r}")
    step = int(step)
    if isinstance(extent, int) and not isinstance(item.start, Expr) and not isinstance(item.stop, Expr):
        start, stop, step = slice(item.start, item.stop, step).indices(extent)
        return start, len(range(start, stop, step)), step
    first, last = (0, extent) if step > 0 else (extent - 1, -1)
    low, high = (0, extent) if step > 0 else (-1, extent - 1)
    begin = first if item.start is None else _clip(item.start, extent, low, high, shown)
    end = last if item.stop is None else _clip(item.stop, extent, low, high, shown)
    span = end - begin if step > 0 else begin - end
    length = apply("maximum", apply("floor_divide", span + (abs(step) - 1), abs(step)) if abs(step) > 1 else span, 0)
    from .integers import simplify

    start = simplify(as_expr(begin))
    return start.value if isinstance(start, Const) else start, as_dim(length, f"an extent of {shown}"), step


def _clip(bound: Any, extent: Dim, low: Any, high: Any, shown: str) -> Any:
    """A slice's bound as NumPy takes it: from the end when negative, and within the dimension."""
    from .integers import Known, prove

    if isinstance(bound, Expr):
        if prove(apply("less", bound, 0), Known()):
            bound = bound + extent
        elif not prove(apply("greater_equal", bound, 0), Known()):
            refuse(f"{shown}: whether the bound `{bound!r}` is negative depends on sizes; state it: te.var(…, min=…)")
    elif bound < 0:
        bound = int(bound) + extent
    return apply("minimum", apply("maximum", bound, low), high)


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors one after the other along `axis`, as `numpy.concatenate`. Raises DefinitionError when their other extents differ.

    >>> import tedsl as te
    >>> print(te.concatenate([te.tensor("A", (2,)), te.tensor("B", (3,))]))
    concatenate[i] = where(i < 2, A[i], B[i - 2])
    """
    parts = [_tensor("concatenate", t) for t in tensors]
    if not parts or not parts[0].rank:
        refuse("concatenate takes at least one tensor, of at least one dimension")
    first = parts[0]
    dim = _dimension("concatenate", axis, first.rank, first.name)
    starts: list[Any] = [0]
    for t in parts:
        if t.rank != first.rank or not all(d == dim or same_extent(a, b) for d, (a, b) in enumerate(zip(t.shape, first.shape))):
            refuse(f"concatenate: {t!r} does not fit {first!r}: all extents but that of dimension {dim} must be equal")
        starts.append(as_dim(starts[-1] + t.shape[dim], "an extent"))
    shape = [*first.shape]
    shape[dim] = starts[-1]
    axes = axis_names(shape, *(d for t in parts for d in t.shape))
    value: Any = None
    for t, start, end in reversed(list(zip(parts, starts, starts[1:]))):
        index: list[Any] = [*axes]
        if not _is_zero(start):
            index[dim] = axes[dim] - start
        read = Access(t, tuple(index))
        value = read if value is None else apply("where", apply("less", axes[dim], end), read, value)
    return make("concatenate", shape, axes, value)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension, as `numpy.stack`."""
    parts = [_tensor("stack", t) for t in tensors]
    if not parts:
        refuse("stack takes at least one tensor")
    dim = _dimension("stack", axis, parts[0].rank + 1, "the result")
    at = (*(slice(None),) * dim, None)
    return concatenate([t[(*at, ...)] for t in parts], dim)


# Products and reductions ---------------------------------------------------------------------------------------------------------------------


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product, as `numpy.matmul`: of vectors, matrices, and stacks of matrices that broadcast."""
    for value in (a, b):
        _check_operand("@", value)
        if not isinstance(value, Tensor) or not value.rank:
            refuse(f"@ takes tensors of at least one dimension, not {value!r}; scalars are multiplied with *")
    n, m = a.shape[-1], b.shape[max(b.rank - 2, 0)]
    if not same_extent(n, m):
        refuse(f"@: the shapes {_shown(a.shape)} and {_shown(b.shape)} do not fit: extents {n} and {m}")
    batch = broadcast_shapes("@", a.shape[:-2], b.shape[:-2])
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.rank > 1 else ()
    shape = (*batch, *rows, *columns)
    *axes, k = axis_names((*shape, n), *a.shape, *b.shape)
    lead, row, column = axes[: len(batch)], axes[len(batch) : len(batch) + len(rows)], axes[len(batch) + len(rows) :]
    left = _batched(a, lead, batch, (*row, k))
    right = _batched(b, lead, batch, (k, *column))
    dtype = dtypes.promote(a.dtype, b.dtype)
    if dtype == "bool":
        value: Any = reduce_expr(REDUCERS["any"], (left & right,), k, None, None, 0)
    else:
        # NumPy's matmul, unlike its sum, keeps small integers
        value = reduce_expr(REDUCERS["sum"], (left * right,), k, None, dtype if dtypes.is_integer(dtype) else None, 0)
    return make("matmul", shape, axes, value)


def _batched(x: Tensor, lead: Sequence[Axis], batch: Sequence[Dim], last: Sequence[Axis]) -> Any:
    skip = len(batch) - max(x.rank - 2, 0)
    own = x.shape[: max(x.rank - 2, 0)]
    outer = [Const(0) if same_extent(n, 1) and not same_extent(batch[skip + d], 1) else lead[skip + d] for d, n in enumerate(own)]
    return Access(x, (*outer, *last))


def reduce_tensor(kind: Reducer, x: Tensor, axis: Any = None, where: Any = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The reduction of `x` over numbered dimensions, all of them without `axis`."""
    items = range(x.rank) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    over = [_dimension(kind.name, a, x.rank, x.name) for a in items]
    if len(set(over)) != len(over):
        refuse(f"{kind.name}: axis={axis!r} names a dimension of {x.name} twice")
    if kind.indexed and len(over) > 1 and axis is not None:
        refuse(f"{kind.name} of a tensor runs over one dimension or, without axis=, over all; axis={axis!r}")
    axes = axis_names(x.shape)
    value: Any = Access(x, axes)
    condition = None
    if where is not None:
        _check_operand(kind.name, where)
        if isinstance(where, Tensor):
            if not all(map(same_extent, broadcast_shapes(kind.name, x.shape, where.shape), x.shape)) or where.rank > x.rank:
                refuse(f"{kind.name}: where={where!r} does not broadcast to {x!r}")
            condition = element(where, axes, x.shape)
        else:
            condition = as_expr(bool(where) if isinstance(where, np.bool_) else where)
    if over:
        value = reduce_expr(kind, (value,), tuple(axes[d] for d in sorted(over)), condition, dtype, 1 if kind.indexed else 0)
    elif condition is not None or kind.indexed:
        refuse(f"{kind.name} of {x!r} runs over no dimension")
    else:
        value = _of_one(kind, value, dtype)
    left: list[Any] = []
    shape: list[Dim] = []
    for d, n in enumerate(x.shape):
        if d not in over or keepdims:
            left.append(axes[d])
            shape.append(1 if d in over else n)
    if keepdims:
        # the reduced dimensions stay with extent 1, under names of their own
        names = axis_names((*x.shape, *over), *x.shape)[x.rank :]
        fresh = dict(zip(over, names))
        left = [fresh.get(d, axes[d]) for d in range(x.rank)]
    return make(kind.name.removeprefix("machine_"), shape, left, value)


def _of_one(kind: Reducer, value: Expr, dtype: Any) -> Expr:
    """A reduction of a single element: the element, in the type of the result."""
    if kind.name in ("any", "all") and value.dtype != "bool":
        return cast(Expr, apply("not_equal", value, 0))
    try:
        target = kind.result_dtypes((value.dtype,), None if dtype is None else dtypes.canonical(dtype))[0]
    except ValueError as e:
        refuse(f"{kind.name}: {e}")
    return value if target == value.dtype else cast(Expr, Cast(target, value))
