"""Expressions in which every type is made explicit."""

from __future__ import annotations

from typing import Any

from . import dtypes
from .errors import DefinitionError
from .expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, as_expr, walk
from .functions import FUNCTIONS, operand_dtypes
from .text import text


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
    integers: index arithmetic is done in int64 everywhere, and so are comparisons with axes and sizes that the data's
    type does not hold. Raises DefinitionError for numbers, axes and sizes that do not fit where they are to be stored.
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
        try:
            return Const(value, dtype)
        except OverflowError:
            raise DefinitionError(f"a whole number of {len(str(abs(value)))} digits does not fit {dtype}") from None
    if expr.dtype == "int" and dtype in _NARROW and not _fits(expr, dtype):
        return _narrowed(expr, dtype)
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
            if dtypes.is_float(target) and FUNCTIONS[expr.function].kind == "bits":
                target = dtypes.strong(result)  # bits of whole numbers; their value is converted
            wanted = tuple(target if w in dtypes.WEAK else w for w in wanted)
        elif wanted[-1] in dtypes.WEAK:  # a comparison of weak operands
            wanted = tuple(dtypes.strong(w) for w in wanted)
        elif result == "bool" and not all(_compares(e, wanted[-1]) for e in expr.operands):
            return Apply(expr.function, tuple(_as_int64(e) for e in expr.operands))
        node = Apply(expr.function, tuple(typed(e, w) for e, w in zip(expr.operands, wanted, strict=True)))
    else:
        raise TypeError(f"unknown expression {expr!r}")
    return node if node.dtype == dtype else Cast(dtype, node)


_NARROW = frozenset(dtypes.INTEGERS) - {"int64"}


def _bounds(expr: Expr) -> tuple[int | None, int | None]:
    from .integers import constant_bounds  # when data of few bits meets axes

    return constant_bounds(expr)


def _fits(expr: Expr, dtype: str) -> bool:
    """Whether arithmetic of axes, sizes and numbers has the same value when it is done in `dtype`, at every step."""
    low, high = dtypes.limits(dtype)
    if any(isinstance(node, Axis) and node.extent is None for node in walk(expr)):
        return True  # of a loop, which the definition was checked before
    for node in walk(expr):
        if node.dtype == "int":
            least, most = _bounds(node)
            if most is None and dtype == "uint64":  # sizes of arrays have 63 bits
                most = high
            if least is None or most is None or least < low or most > high:
                return False
    return True


def _narrowed(expr: Expr, dtype: str) -> Expr:
    """Arithmetic of axes and sizes that is done in int64, and whose result `dtype` holds."""
    low, high = dtypes.limits(dtype)
    least, most = _bounds(expr)
    if least is not None and most is not None and low <= least and most <= high:
        return Cast(dtype, typed_index(expr))
    values = f"{'…' if least is None else least} to {'…' if most is None else most}"
    raise DefinitionError(
        f"`{text(expr)}` takes the values {values}, which do not fit {dtype}, which holds {low} to {high}: convert "
        f"what stands beside it first, te.cast(x, 'int64'), or say that it is meant: te.cast({text(expr)}, '{dtype}')",
    )


def _of_axes(expr: Expr) -> bool:
    """Whether axes or sizes take part in the arithmetic of `expr`: not only in an index, nor inside of a conversion."""
    if isinstance(expr, Apply):
        return any(map(_of_axes, expr.operands[expr.function == "where" :]))
    return isinstance(expr, (Axis, Var))


def _compares(expr: Expr, dtype: str) -> bool:
    """Whether an operand of a comparison can be compared as a `dtype` (of 64 bits without a sign: it has to)."""
    if dtype == "uint64" or not dtypes.is_integer(dtype) or not _of_axes(expr):
        return True
    return (dtype not in _NARROW or _fits(expr, dtype)) if expr.dtype == "int" else expr.dtype not in _NARROW


def _as_int64(expr: Expr) -> Expr:
    """An operand of a comparison with axes or sizes."""
    node = typed_index(expr)
    return node if node.dtype == "int64" else typed(node, "int64")


def typed_index(expr: Expr, wide: bool = False) -> Expr:
    """An index expression, typed: weak integer arithmetic is left as it is, what it reads from tensors is converted to
    int64; before any arithmetic, if axes or sizes take part in it (`wide`: if they do in what `expr` stands in).
    """
    if isinstance(expr, (Const, Axis, Var)):
        return Const(expr.value) if isinstance(expr, Const) else expr
    if isinstance(expr, Apply) and dtypes.is_integer(expr.dtype) and (wide or expr.dtype == "int" or _of_axes(expr)):
        operands = (typed_index(e, True) if dtypes.is_integer(e.dtype) else typed(e, e.dtype) for e in expr.operands)
        return Apply(expr.function, tuple(operands))
    if isinstance(expr, Access):
        node = Access(expr.tensor, tuple(typed_index(e) for e in expr.indices))
        return node if expr.dtype == "int64" else Cast("int64", node)
    return typed(expr, "int64")
