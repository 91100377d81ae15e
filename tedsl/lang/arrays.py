"""NumPy's operators on whole tensors. Each makes a tensor with a definition of its own: ``A + B`` is ``add[i, j] = A[i,
j] + B[i, j]``.

Extents broadcast as in NumPy. Two symbolic ones must be the same size; a size is never taken to be 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, cast

import numpy as np

from . import dtypes
from .definition import define
from .errors import DefinitionError, here
from .expr import Access, Axis, Cast, Const, Expr, Var, apply, as_expr, walk
from .functions import FUNCTIONS
from .integers import simplify
from .reductions import REDUCERS, Reducer, reduce_expr
from .tensor import Dim, Tensor, as_shape


def make(name: str, shape: Sequence[Dim], axes: Sequence[Expr], value: Any) -> Tensor:
    """A new tensor with one equation, located at the user's line."""
    location = here()
    result = Tensor(name, tuple(shape), None, None, location)
    define((result,), tuple(axes), (value,), location)
    return result


def axis_names(shape: Sequence[Any], *others: Any) -> tuple[Axis, ...]:
    """An axis for each dimension of `shape`: i, j, k … but for the names of sizes in `shape` and `others`."""
    taken = {
        n.name for dim in (*shape, *others) if isinstance(dim, Expr) for n in walk(dim) if isinstance(n, (Var, Axis))
    }
    letters = (c for c in "ijklmnopqrstuvwxyz" if c not in taken)
    numbered = (f"i{n}" for n in range(len(shape) + len(taken)) if f"i{n}" not in taken)
    return tuple(Axis(next(letters, None) or next(numbered)) for _ in shape)


def same_extent(a: Dim, b: Dim) -> bool:
    """Whether two extents are surely the same."""
    if a is b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if isinstance(a, Var) and isinstance(b, Var) and a.name == b.name:
        return True
    difference = simplify(as_expr(a) - as_expr(b))
    return isinstance(difference, Const) and difference.value == 0


def same_shape(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """Whether two shapes are surely the same."""
    return len(a) == len(b) and all(map(same_extent, a, b))


def shown_shape(shape: Sequence[Dim]) -> str:
    return f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"


def refuse(message: str) -> NoReturn:
    raise DefinitionError(message)


def _check_operand(what: str, value: Any) -> None:
    if isinstance(value, np.ndarray):
        refuse(
            f"{what}: a NumPy array of shape {value.shape} is combined with a tensor; declare an input, "
            f"te.tensor(name, {value.shape}, '{value.dtype}'), and pass the array in the call"
        )
    if isinstance(value, Expr) and any(isinstance(n, (Axis, Access)) for n in walk(value)):
        refuse(f"{what}: `{value!r}` is an element at axes and is combined with a whole tensor; index the tensor too")


# Broadcasting ---------------------------------------------------------------------------------------------------------


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
                    given = " and ".join(map(shown_shape, shapes))
                    refuse(f"{what}: the shapes {given} do not broadcast: extents {extent} and {shape[d]}{hint}")
        result.append(extent)
    return tuple(result)


def element(tensor: Tensor, axes: Sequence[Any], shape: Sequence[Dim]) -> Access:
    """The element of `tensor` that broadcasting puts at `axes` of `shape`."""
    lead = len(axes) - tensor.rank
    indices = [
        Const(0) if same_extent(n, 1) and not same_extent(shape[lead + d], 1) else axes[lead + d]
        for d, n in enumerate(tensor.shape)
    ]
    return Access(tensor, tuple(indices))


def elementwise(name: str, *values: Any) -> Any:
    """Function `name` of expressions, numbers or tensors; over tensors of one or more dimensions it broadcasts and
    gives a tensor.

    Raises DefinitionError for operands that do not fit the function.
    """
    if all([isinstance(v, (Expr, int, float)) for v in values]):
        return apply(name, *values)
    if not any(isinstance(v, Tensor) for v in values) or any(
        isinstance(v, Expr) and not isinstance(v, (Const, Var)) for v in values
    ):
        return apply(name, *values)
    if len(values) != FUNCTIONS[name].arity:
        return apply(name, *values)  # says how many it takes
    label = FUNCTIONS[name].symbol or name
    for value in values:
        _check_operand(label, value)
    tensors = [v for v in values if isinstance(v, Tensor)]
    shape = broadcast_shapes(label, *(t.shape for t in tensors))
    axes = axis_names(shape, *values)
    return make(
        name,
        shape,
        axes,
        apply(name, *(element(v, axes, shape) if isinstance(v, Tensor) else as_expr(v) for v in values)),
    )


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
    x = as_tensor("broadcast_to", x)
    dims = as_shape(shape, "broadcast_to")
    found = broadcast_shapes("broadcast_to", x.shape, dims)
    if len(found) != len(dims) or not all(map(same_extent, found, dims)):
        refuse(f"broadcast_to: {x!r} does not broadcast to {shown_shape(dims)}")
    axes = axis_names(dims)
    return make("broadcast_to", dims, axes, element(x, axes, dims))


def as_tensor(what: str, x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    _check_operand(what, x)
    refuse(f"{what} takes tensors, not {x!r}")


# Products and reductions ----------------------------------------------------------------------------------------------


def dimension(what: str, axis: Any, rank: int, name: str) -> int:
    """A dimension's number from what a user gives; negative ones count from the end."""
    if isinstance(axis, (bool, np.bool_)) or not isinstance(axis, (int, np.integer)):
        hint = (
            "; over the elements of a tensor, by name: te.sum(A[i, k], axis=k)" if isinstance(axis, (Axis, str)) else ""
        )
        refuse(f"{what}: axis={axis!r} of the tensor {name}: its dimensions have numbers{hint}")
    if not -rank <= axis < rank:
        refuse(f"{what}: axis={axis} is out of range for {name}, which has {rank} dimension{'s' * (rank != 1)}")
    return int(axis) % rank


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product, as `numpy.matmul`: of vectors, matrices, and stacks of matrices that broadcast."""
    for operand in (a, b):
        _check_operand("@", operand)
        if not isinstance(operand, Tensor) or not operand.rank:
            refuse(f"@ takes tensors of at least one dimension, not {operand!r}; scalars are multiplied with *")
    n, m = a.shape[-1], b.shape[max(b.rank - 2, 0)]
    if not same_extent(n, m):
        refuse(f"@: the shapes {shown_shape(a.shape)} and {shown_shape(b.shape)} do not fit: extents {n} and {m}")
    batch = broadcast_shapes("@", a.shape[:-2], b.shape[:-2])
    rows, columns = a.shape[-2:-1], b.shape[-1:] if b.rank > 1 else ()
    shape = (*batch, *rows, *columns)
    *axes, k = axis_names((*shape, n), *a.shape, *b.shape)
    lead, row, column = axes[: len(batch)], axes[len(batch) : len(batch) + len(rows)], axes[len(batch) + len(rows) :]
    left = _batched(a, lead, batch, (*row, k))
    right = _batched(b, lead, batch, (k, *column))
    dtype = dtypes.promote(a.dtype, b.dtype)
    if dtype == "bool":
        value = reduce_expr(REDUCERS["any"], (left & right,), k)
    else:
        # NumPy's matmul, unlike its sum, keeps small integers
        value = reduce_expr(REDUCERS["sum"], (left * right,), k, None, dtype if dtypes.is_integer(dtype) else None)
    return make("matmul", shape, axes, value)


def _batched(x: Tensor, lead: Sequence[Axis], batch: Sequence[Dim], last: Sequence[Axis]) -> Any:
    skip = len(batch) - max(x.rank - 2, 0)
    own = x.shape[: max(x.rank - 2, 0)]
    outer = [
        Const(0) if same_extent(n, 1) and not same_extent(batch[skip + d], 1) else lead[skip + d]
        for d, n in enumerate(own)
    ]
    return Access(x, (*outer, *last))


def reduce_tensor(
    kind: Reducer, x: Tensor, axis: Any = None, where: Any = None, dtype: Any = None, keepdims: bool = False,
    initial: Any = None,
) -> Tensor:  # fmt: skip
    """The reduction of `x` over numbered dimensions, all of them without `axis`."""
    items = range(x.rank) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    over = [dimension(kind.name, a, x.rank, x.name) for a in items]
    if len(set(over)) != len(over):
        refuse(f"{kind.name}: axis={axis!r} names a dimension of {x.name} twice")
    if kind.indexed and len(over) > 1 and axis is not None:
        refuse(f"{kind.name} of a tensor runs over one dimension or, without axis=, over all; axis={axis!r}")
    axes = axis_names(x.shape)
    value: Any = Access(x, axes)
    condition: Expr | None = None
    if where is not None:
        _check_operand(kind.name, where)
        if isinstance(where, Tensor):
            if (
                not all(map(same_extent, broadcast_shapes(kind.name, x.shape, where.shape), x.shape))
                or where.rank > x.rank
            ):
                refuse(f"{kind.name}: where={where!r} does not broadcast to {x!r}")
            condition = element(where, axes, x.shape)
        else:
            condition = as_expr(bool(where) if isinstance(where, np.bool_) else where)
    if over:
        value = reduce_expr(kind, (value,), tuple(axes[d] for d in sorted(over)), condition, dtype, None, initial)
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


def mean(x: Tensor, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The mean of `x` over numbered dimensions, all of them without `axis`; of integers and bool in float64."""
    wanted = dtype if dtype is not None or dtypes.is_float(x.dtype) else "float64"
    total = reduce_tensor(REDUCERS["sum"], x, axis, None, wanted, keepdims)
    over = range(x.rank) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    count: Any = 1
    for a in over:
        count = count * x.shape[a]
    axes = axis_names(total.shape, count)
    return make("mean", total.shape, axes, apply("divide", Access(total, axes), as_expr(count)))


def _of_one(kind: Reducer, value: Expr, dtype: Any) -> Expr:
    """A reduction of a single element: the element, in the type of the result."""
    if kind.name in ("any", "all") and value.dtype != "bool":
        return cast(Expr, apply("not_equal", value, 0))
    try:
        target = kind.result_dtypes((value.dtype,), None if dtype is None else dtypes.canonical(dtype))[0]
    except ValueError as e:
        refuse(f"{kind.name}: {e}")
    return value if target == value.dtype else cast(Expr, Cast(target, value))
