"""Expressions in which every type is made explicit."""

from __future__ import annotations

from typing import Any

from . import dtypes
from .errors import DefinitionError
from .expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, as_expr
from .functions import operand_dtypes


def cast(x: Any, dtype: Any) -> Expr:
    """`x` converted to `dtype`, as NumPy's astype does. Raises DefinitionError for a dtype that tedsl does not have."""
    name = cast_target(dtype)
    x = as_expr(x)
    return x if x.dtype == name else Cast(name, x)


def cast_target(dtype: Any) -> str:
    """The name of the dtype that te.cast is given."""
    try:
        return dtypes.canonical(dtype)
    except ValueError as e:
        raise DefinitionError(f"te.cast: {e}") from None


def typed(expr: Expr, dtype: str) -> Expr:
    """`expr` (weak or not) as a tree in which every operand has exactly the type that its function works in, with
    result type `dtype`.

    Python scalars become constants of that type; what NumPy converts silently becomes a Cast. Indices stay weak
    integers: index arithmetic is done in int64 everywhere.
    """
    if isinstance(expr, Const):
        if expr.dtype == dtype:
            return expr
        value = expr.value
        if dtypes.is_integer(dtype) and not dtypes.is_float(expr.dtype):
            low, high = dtypes.limits(dtypes.strong(dtype))
            if not low <= value <= high:
                raise DefinitionError(f"the number {value} does not fit {dtype}, which holds {low} to {high}")
        elif dtypes.is_integer(dtype) or dtype == "bool":
            return Cast(dtype, Const(value, dtypes.strong(expr.dtype)))
        return Const(value, dtype)
    if isinstance(expr, (Axis, Var)):
        return expr if dtype == "int" else Cast(dtype, expr)
    if isinstance(expr, Access):
        node: Expr = Access(expr.tensor, tuple(typed_index(e) for e in expr.indices))
    elif isinstance(expr, Cast):
        inner = expr.operand.dtype
        node = Cast(expr.dtype, typed(expr.operand, dtypes.strong(inner)))
    elif isinstance(expr, Reduce):
        kinds = expr.reducer.result_dtypes(tuple(v.dtype for v in expr.values), expr.accumulator)
        where_ = None if expr.where is None else typed(expr.where, "bool")
        node = Reduce(
            expr.reducer,
            tuple(typed(v, k) for v, k in zip(expr.values, kinds, strict=True)),
            expr.axes,
            where_,
            kinds[0] if expr.accumulator else None,
            expr.component,
        )
    elif isinstance(expr, Apply):
        wanted, result = operand_dtypes(expr.function, expr.operands)
        if result in dtypes.WEAK:
            target = (
                dtype if dtypes.promote(result, dtype) == dtype and dtype not in ("bool",) else dtypes.strong(result)
            )
            wanted = tuple(target if w in dtypes.WEAK else w for w in wanted)
        elif wanted[-1] in dtypes.WEAK:  # a comparison of weak operands
            wanted = tuple(dtypes.strong(w) for w in wanted)
        node = Apply(expr.function, tuple(typed(e, w) for e, w in zip(expr.operands, wanted, strict=True)))
    else:
        raise TypeError(f"unknown expression {expr!r}")
    return node if node.dtype == dtype else Cast(dtype, node)


def typed_index(expr: Expr) -> Expr:
    """An index expression, typed: weak integer arithmetic is left as it is, what it reads from tensors is converted to
    int64.
    """
    if isinstance(expr, (Const, Axis, Var)):
        return Const(expr.value) if isinstance(expr, Const) else expr
    if isinstance(expr, Apply) and expr.dtype == "int":
        return Apply(
            expr.function, tuple(typed_index(e) if e.dtype == "int" else typed(e, e.dtype) for e in expr.operands)
        )
    if isinstance(expr, Access):
        node = Access(expr.tensor, tuple(typed_index(e) for e in expr.indices))
        return node if expr.dtype == "int64" else Cast("int64", node)
    return typed(expr, "int64")
