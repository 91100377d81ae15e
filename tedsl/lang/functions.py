"""Elementwise functions: the table of them, their types, and the public names (`te.exp`, `te.where`, …).

Names are those of NumPy's ufuncs where NumPy has one. A row says how the type of the result follows from the operands;
what a function computes is said once for each backend (`backends/reference`, `backends/c`), its derivative in
`autodiff`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import dtypes
from .errors import DefinitionError
from .expr import Apply, Axis, Cast, Const, Expr, Var, as_expr


@dataclass(frozen=True, slots=True)
class Function:
    """An elementwise function. `kind` is the rule for its types:

    arithmetic   operands and result have the promoted type            additive: the same, but not for bool
    floating     operands and result have the floating type of NumPy's exp
    divide       as arithmetic, but integers give float64
    compare      operands have the promoted type, the result is bool
    bits         integers or bool, promoted
    select       (condition, a, b): the promoted type of a and b
    same         one operand, and its type                              signed: the same, but not for bool
    """

    name: str
    arity: int
    kind: str
    symbol: str | None = None
    precedence: int = 100
    # of a function of the user's (te.register_function): its value in C in terms of x, y, z, and in NumPy
    c: str | None = None
    numpy: Callable[..., Any] | None = None


FUNCTIONS: dict[str, Function] = {
    f.name: f
    for f in [
        *(Function(n, 2, k, s, p) for n, k, s, p in [
            ("add", "arithmetic", "+", 50), ("subtract", "additive", "-", 50), ("multiply", "arithmetic", "*", 60), ("divide", "divide", "/", 60),
            ("floor_divide", "additive", "//", 60), ("remainder", "additive", "%", 60), ("power", "additive", "**", 80),
            ("bitwise_and", "bits", "&", 40), ("bitwise_xor", "bits", "^", 38), ("bitwise_or", "bits", "|", 36),
            ("left_shift", "bits", "<<", 45), ("right_shift", "bits", ">>", 45),
            ("less", "compare", "<", 30), ("less_equal", "compare", "<=", 30), ("greater", "compare", ">", 30),
            ("greater_equal", "compare", ">=", 30), ("equal", "compare", "==", 30), ("not_equal", "compare", "!=", 30),
            ("minimum", "arithmetic", None, 100), ("maximum", "arithmetic", None, 100),
            # what the machine's own instruction gives where an operand is NaN: a < b ? a : b
            ("machine_minimum", "arithmetic", None, 100), ("machine_maximum", "arithmetic", None, 100),
            ("arctan2", "floating", None, 100), ("hypot", "floating", None, 100), ("copysign", "floating", None, 100),
        ]),
        Function("where", 3, "select"),
        Function("negative", 1, "signed", "-", 70), Function("invert", 1, "bits", "~", 70),
        Function("absolute", 1, "same"), Function("sign", 1, "signed"),
        *(Function(n, 1, "same") for n in ("floor", "ceil", "trunc", "rint")),
        *(Function(n, 1, "floating") for n in (
            "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
            "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "sigmoid", "erf")),
        *(Function(n, 1, "test") for n in ("isnan", "isinf", "isfinite")),
    ]
}  # fmt: skip


def operand_dtypes(name: str, operands: tuple[Expr, ...]) -> tuple[tuple[str, ...], str]:
    """The types (perhaps weak) to which the operands of function `name` are converted, and the type of its result.

    Raises DefinitionError when NumPy has no such operation.
    """
    function = FUNCTIONS[name]
    given = tuple(e.dtype for e in operands)
    kind = function.kind
    if kind == "select":
        common = _common(name, operands[1:])
        return ("bool", common, common), common
    common = _common(name, operands)
    if kind == "compare":
        return (common,) * 2, "bool"
    if kind == "test":
        return (dtypes.floating(common),), "bool"
    if kind == "floating":
        common = dtypes.floating(common)
    elif kind == "divide":
        common = "float" if common == "int" else common if dtypes.is_float(common) else "float64"
    elif kind == "bits" and dtypes.is_float(common):
        raise DefinitionError(
            f"{name} works on integers and bool, not on {' and '.join(given)}: `{_show(name, operands)}`"
        )
    elif kind in ("additive", "signed") and common == "bool":
        if name == "floor_divide" or name == "remainder" or name == "power":
            common = "int8"
        else:
            fix = (
                "~x (not)" if name == "negative" else "p ^ q (differ)" if name == "subtract" else "te.cast(x, 'int32')"
            )
            raise DefinitionError(
                f"NumPy has no {name} of bool, and neither has tedsl: write {fix}. In `{_show(name, operands)}`"
            )
    elif name in ("left_shift", "right_shift") and common == "bool":
        common = "int8"
    return (common,) * function.arity, common


def _common(name: str, operands: tuple[Expr, ...]) -> str:
    common = dtypes.promote(*(e.dtype for e in operands))
    if common in dtypes.INTEGERS:
        low, high = dtypes.limits(common)
        for e in operands:
            if isinstance(e, Const) and e.dtype == "int" and not low <= e.value <= high:
                if FUNCTIONS[name].kind == "compare":
                    return "int64" if -(2**63) <= e.value < 2**63 else "float64"
                raise DefinitionError(
                    f"the number {e.value} does not fit {common} in `{_show(name, operands)}`; convert the tensor "
                    "first: te.cast(x, 'int64')",
                )
    return common


def result_dtype(name: str, operands: tuple[Expr, ...]) -> str:
    """The (perhaps weak) type of function `name` applied to `operands`."""
    return operand_dtypes(name, operands)[1]


def _show(name: str, operands: tuple[Expr, ...]) -> str:
    return f"{name}({', '.join(map(repr, operands))})"


_FOLD: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "negative": operator.neg,
    "floor_divide": lambda a, b: a // b if b else 0, "remainder": lambda a, b: a % b if b else 0, "minimum": min, "maximum": max,
}  # fmt: skip


def apply(name: str, *values: Any) -> Any:
    """Function `name` of expressions, numbers or tensors; over tensors of one or more dimensions it broadcasts and
    gives a tensor.

    Raises DefinitionError for operands that do not fit the function.
    """
    function = FUNCTIONS[name]
    if len(values) != function.arity:
        raise DefinitionError(f"{name} takes {function.arity} operand{'s' * (function.arity > 1)}, got {len(values)}")
    if not all([isinstance(v, (Expr, int, float)) for v in values]):
        from .tensor import Tensor

        if any(isinstance(v, Tensor) for v in values) and not any(
            isinstance(v, Expr) and not isinstance(v, (Const, Var)) for v in values
        ):
            from .arrays import elementwise

            return elementwise(name, values)
    operands = tuple([as_expr(v) for v in values])
    if name in _FOLD and all([isinstance(e, Const) and e.dtype == "int" for e in operands]):
        return Const(_FOLD[name](*(e.value for e in operands)))  # type: ignore[attr-defined]
    if name == "negative" and isinstance(operands[0], Const) and operands[0].dtype == "float":
        return Const(-operands[0].value)
    if name == "power" and isinstance(operands[0].dtype, str) and not dtypes.is_float(operands[0].dtype):
        exponent = operands[1]
        if isinstance(exponent, Const) and not dtypes.is_float(exponent.dtype) and exponent.value < 0:
            raise DefinitionError(
                f"integers to negative integer powers are not allowed, as in NumPy: `{_show(name, operands)}`; cast "
                "the base to a float",
            )
    if function.kind == "select" and operands[0].dtype != "bool":
        raise DefinitionError(
            f"the condition of where is of type {operands[0].dtype}, not bool: write a comparison, e.g. te.where(x "
            "!= 0, a, b)",
        )
    return Apply(name, operands)


def _public(name: str, doc: str, example: str = "") -> Callable[..., Any]:
    arity = FUNCTIONS[name].arity

    if arity == 1:

        def call(x: Any) -> Any:
            return apply(name, x)
    elif arity == 2:

        def call(x: Any, y: Any) -> Any:  # type: ignore[misc]
            return apply(name, x, y)
    else:

        def call(condition: Any, x: Any, y: Any) -> Any:  # type: ignore[misc]
            return apply(name, condition, x, y)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{doc}\n\nElementwise, over expressions and numbers; over tensors it broadcasts and gives a tensor. Types and special values as in NumPy."
    return call


exp = _public("exp", "e to the power x.")
exp2 = _public("exp2", "2 to the power x.")
expm1 = _public("expm1", "exp(x) - 1, exact for small x.")
log = _public("log", "Natural logarithm.")
log2 = _public("log2", "Logarithm to base 2.")
log10 = _public("log10", "Logarithm to base 10.")
log1p = _public("log1p", "log(1 + x), exact for small x.")
sqrt = _public("sqrt", "Square root.")
rsqrt = _public("rsqrt", "1 / sqrt(x).")
sin = _public("sin", "Sine (radians).")
cos = _public("cos", "Cosine (radians).")
tan = _public("tan", "Tangent (radians).")
arcsin = _public("arcsin", "Inverse sine.")
arccos = _public("arccos", "Inverse cosine.")
arctan = _public("arctan", "Inverse tangent.")
arctan2 = _public("arctan2", "The angle of the point (y, x), in radians: arctan2(y, x).")
sinh = _public("sinh", "Hyperbolic sine.")
cosh = _public("cosh", "Hyperbolic cosine.")
tanh = _public("tanh", "Hyperbolic tangent.")
arcsinh = _public("arcsinh", "Inverse hyperbolic sine.")
arccosh = _public("arccosh", "Inverse hyperbolic cosine.")
arctanh = _public("arctanh", "Inverse hyperbolic tangent.")
sigmoid = _public("sigmoid", "1 / (1 + exp(-x)).")
erf = _public("erf", "The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.")
absolute = _public("absolute", "|x|.")
sign = _public("sign", "-1, 0 or 1 (NaN where x is NaN).")
floor = _public("floor", "The largest whole number not above x.")
ceil = _public("ceil", "The smallest whole number not below x.")
trunc = _public("trunc", "x without its fraction.")
rint = _public("rint", "The nearest whole number, ties to even.")
minimum = _public("minimum", "The smaller of x and y; NaN if either is.")
maximum = _public("maximum", "The larger of x and y; NaN if either is.")
hypot = _public("hypot", "sqrt(x**2 + y**2) without overflow.")
copysign = _public("copysign", "The magnitude of x with the sign of y.")
isnan = _public("isnan", "Whether x is NaN.")
isinf = _public("isinf", "Whether x is infinite.")
isfinite = _public("isfinite", "Whether x is neither infinite nor NaN.")
where = _public(
    "where", "x where the condition holds, else y. An access that the condition keeps in bounds is accepted."
)


def power(x: Any, y: Any) -> Any:
    """x to the power y. Integers wrap; an integer to a negative constant power is refused, as in NumPy."""
    return apply("power", x, y)


def cast(x: Any, dtype: Any) -> Any:
    """`x` converted to `dtype`, as NumPy's astype does. Raises DefinitionError for a dtype that tedsl does not have.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> A = te.tensor("A", (4,), dtype="int32")
    >>> te.cast(A[i], "float64").dtype
    'float64'
    """
    from .tensor import Tensor

    try:
        name = dtypes.canonical(dtype)
    except ValueError as e:
        raise DefinitionError(f"te.cast: {e}") from None
    if isinstance(x, Tensor):
        from .arrays import elementwise_cast

        return elementwise_cast(x, name)
    x = as_expr(x)
    return x if x.dtype == name else Cast(name, x)


def typed(expr: Expr, dtype: str, index: bool = False) -> Expr:
    """`expr` (weak or not) as a tree in which every operand has exactly the type that its function works in, with
    result type `dtype`.

    Python scalars become constants of that type; what NumPy converts silently becomes a Cast. Indices stay weak
    integers: index arithmetic is done in int64 everywhere.
    """
    from .expr import Access, Reduce

    if index and expr.dtype == "int" and isinstance(expr, (Const, Axis, Var)):
        return expr
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
    from .expr import Access

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
