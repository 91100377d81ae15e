"""What users call on expressions and tensors: Python's operators, NumPy's functions and methods, `te.exp`, `te.sum` ….

This file stands above the language and gives its classes their operators when `tedsl` is imported. Each builds the
function of NumPy's name; over tensors of one or more dimensions it broadcasts and gives a tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import typed
from .errors import DefinitionError, here
from .expr import Expr, apply
from .functions import FUNCTIONS
from .reductions import REDUCERS, reduce_expr
from .tensor import Definition, Tensor
from .text import definition, text

# What only tensors need (`arrays`, `views` and what they stand on) is imported when it is first used: `import tedsl` is
# light.


def elementwise(name: str, *values: Any) -> Any:
    """Function `name` of expressions and numbers, or of tensors, broadcast."""
    if [v for v in values if not isinstance(v, (Expr, int, float))]:
        from . import arrays

        return arrays.elementwise(name, *values)
    return apply(name, *values)


# Functions ------------------------------------------------------------------------------------------------------------


def _function(name: str) -> Callable[..., Any]:
    row = FUNCTIONS[name]

    if row.arity == 1:

        def call(x: Any) -> Any:
            return elementwise(name, x)
    elif row.arity == 2:

        def call(x: Any, y: Any) -> Any:  # type: ignore[misc]
            return elementwise(name, x, y)
    else:

        def call(condition: Any, x: Any, y: Any) -> Any:  # type: ignore[misc]
            return elementwise(name, condition, x, y)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = (
        f"{row.doc}\n\nElementwise, over expressions and numbers; over tensors it broadcasts and gives a tensor. Types "
        "and special values as in NumPy."
    )
    return call


exp, exp2, expm1, log, log2, log10, log1p, sqrt, rsqrt = map(
    _function, ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt")
)
sin, cos, tan, arcsin, arccos, arctan, arctan2 = map(
    _function, ("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2")
)
sinh, cosh, tanh, arcsinh, arccosh, arctanh, sigmoid, erf = map(
    _function, ("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "sigmoid", "erf")
)
absolute, sign, floor, ceil, trunc, rint, minimum, maximum, hypot, copysign = map(
    _function, ("absolute", "sign", "floor", "ceil", "trunc", "rint", "minimum", "maximum", "hypot", "copysign")
)
isnan, isinf, isfinite, where = map(_function, ("isnan", "isinf", "isfinite", "where"))


def power(x: Any, y: Any) -> Any:
    """x to the power y. Integers wrap; an integer to a negative constant power is refused, as in NumPy."""
    return elementwise("power", x, y)


def cast(x: Any, dtype: Any) -> Any:
    """`x` converted to `dtype`, as NumPy's astype does. Raises DefinitionError for a dtype that tedsl does not have.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> A = te.tensor("A", (4,), dtype="int32")
    >>> te.cast(A[i], "float64").dtype
    'float64'
    """
    if isinstance(x, Tensor):
        from . import arrays

        return arrays.elementwise_cast(x, typed.cast_target(dtype))
    return typed.cast(x, dtype)


# Reductions -----------------------------------------------------------------------------------------------------------


def reduction(
    name: str,
    x: Any,
    axis: Any = None,
    where: Any = None,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Any = None,
) -> Any:
    """The reduction `name` of an expression, or of a tensor over its numbered axes as in NumPy."""
    if isinstance(x, Tensor) and (x.rank or (axis is None and where is None)):
        from . import arrays

        return arrays.reduce_tensor(REDUCERS[name], x, axis, where, dtype, keepdims, initial)
    return reduce_expr(REDUCERS[name], (x,), axis, where, dtype, None, initial)


def _reduction(name: str, what: str) -> Callable[..., Any]:
    if name in ("min", "max"):

        def call(
            x: Any, axis: Any = None, where: Any = None, dtype: Any = None, nan: str = "propagate", initial: Any = None
        ) -> Any:
            if nan not in ("propagate", "unspecified"):
                raise DefinitionError(
                    f"{name}(…, nan={nan!r}): 'propagate' (as in NumPy) or 'unspecified' (the machine's own {name})",
                )
            kind = name if nan == "propagate" else f"machine_{name}"
            return reduction(kind, x, axis, where, dtype, initial=initial)
    elif REDUCERS[name].checked:

        def call(  # type: ignore[misc]
            x: Any, axis: Any = None, where: Any = None, dtype: Any = None, initial: Any = None
        ) -> Any:
            return reduction(name, x, axis, where, dtype, initial=initial)
    else:

        def call(x: Any, axis: Any = None, where: Any = None, dtype: Any = None) -> Any:  # type: ignore[misc]
            return reduction(name, x, axis, where, dtype)

    call.__name__ = call.__qualname__ = name
    more = ""
    if REDUCERS[name].checked:
        first = "the index of nothing" if REDUCERS[name].indexed else "a value to begin with"
        more = f"\n    initial: {first}; needed where `where` may hold nowhere."
    if name in ("min", "max"):
        more += "\n    nan='unspecified': NaN need not propagate; compiles to the machine's own instruction."
    call.__doc__ = f"""{what}

    x: an expression (or a tensor: then `axis` is a number or a tuple of numbers, as in NumPy). axis: the axes to run
    over; without it, the axes of x that are not on the left side, not bound by a reduction inside, and not used
    elsewhere in an enclosing reduction. where: a condition, only elements at which it holds count. dtype: the
    accumulator's type.{more}
    """
    return call


sum = _reduction("sum", "The sum of x; the sum of nothing is 0. Integers accumulate in 64 bits, as in NumPy.")
prod = _reduction("prod", "The product of x; the product of nothing is 1. Integers accumulate in 64 bits, as in NumPy.")
min = _reduction("min", "The smallest x; NaN if any is.")
max = _reduction("max", "The largest x; NaN if any is.")
any = _reduction("any", "Whether x holds (is not zero) anywhere.")
all = _reduction("all", "Whether x holds (is not zero) everywhere.")
argmax = _reduction("argmax", "The index of the largest x, the first of ties; over several axes the flat index.")
argmin = _reduction("argmin", "The index of the smallest x, the first of ties; over several axes the flat index.")

# Operators ------------------------------------------------------------------------------------------------------------

_NO_OPERANDS = (str, bytes, type(None), tuple, list, dict, set)


def _binary(function: str, swap: bool = False) -> Callable[[Any, Any], Any]:
    def call(self: Any, other: Any) -> Any:
        if isinstance(other, _NO_OPERANDS):
            return NotImplemented
        return elementwise(function, other, self) if swap else elementwise(function, self, other)

    return call


def _unary(function: str) -> Callable[[Any], Any]:
    return lambda self: elementwise(function, self)


def _array_ufunc(self: Any, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
    """NumPy's functions of expressions and tensors, `np.exp(A)`, and its operators with a NumPy number or array on the
    left.
    """
    name = ufunc.__name__
    if method != "__call__" or options:
        given = f"np.{name}.{method}" if method != "__call__" else f"np.{name} with {', '.join(options)}="
        raise DefinitionError(
            f"{given} has no meaning for an expression; te.{name if name in FUNCTIONS else 'sum'} and the methods of "
            "tensors do",
        )
    # NumPy's numbers come as arrays
    operands = tuple(e[()] if isinstance(e, np.ndarray) and e.ndim == 0 else e for e in operands)
    if name == "matmul":
        return _method("matmul")(*operands)
    if name not in FUNCTIONS:
        raise DefinitionError(
            f"np.{name} is no function of tedsl; compose it of those that are, or register it with "
            "te.register_function",
        )
    return elementwise(name, *operands)


_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
_COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}


def _install(cls: type, methods: dict[str, Any]) -> None:
    for name, method in methods.items():
        setattr(cls, name, method)


for _cls in (Expr, Tensor):
    _install(_cls, {f"__{name}__": _binary(f) for name, f in {**_OPERATORS, **_COMPARISONS}.items()})
    _install(_cls, {f"__r{name}__": _binary(f, swap=True) for name, f in _OPERATORS.items()})
    _install(
        _cls, {f"__{n}__": _unary(f) for n, f in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items()}
    )
    _install(_cls, {"__pos__": lambda self: self, "__array_ufunc__": _array_ufunc})
_install(Expr, {"__eq__": _binary("equal"), "__ne__": _binary("not_equal"), "__repr__": lambda self: text(self)})

# Tensors --------------------------------------------------------------------------------------------------------------


def _item(self: Tensor, key: Any) -> Any:
    items = key if isinstance(key, tuple) else (key,)
    whole = [isinstance(e, (int, np.integer)) and not isinstance(e, bool) for e in items]
    if [e for e in items if isinstance(e, slice) or e is None or e is Ellipsis] or (
        items and len(items) < self.rank and False not in whole
    ):
        from .views import slice_tensor

        return slice_tensor(self, items)
    return self.element(items)


def _method(name: str) -> Callable[..., Any]:
    """A function of `views` (or matmul) as a method."""

    def call(*operands: Any, **options: Any) -> Any:
        from . import arrays, views

        return getattr(arrays if name == "matmul" else views, name)(*operands, **options)

    return call


def _define_item(self: Tensor, key: Any, value: Any) -> None:
    from .definition import define

    define((self,), key if isinstance(key, tuple) else (key,), (value,), here())


def _mean(self: Tensor, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, out: None = None) -> Tensor:
    """The mean over numbered axes (all of them without `axis`), as in NumPy; of integers in float64."""
    from . import arrays

    _no_out("mean", out)
    return arrays.mean(self, axis, dtype, keepdims)


def _no_out(name: str, out: Any) -> None:
    """`np.sum(A)` calls `A.sum(out=None)`; nothing else is possible, since a definition writes to no array."""
    if out is not None:
        raise DefinitionError(f"{name}: out= belongs to the call of the kernel")


def _reduction_method(name: str) -> Callable[..., Any]:
    def method(self: Tensor, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, out: None = None) -> Any:
        _no_out(name, out)
        return reduction(name, self, axis, None, dtype, keepdims)

    method.__name__ = name
    method.__doc__ = f"`te.{name}` over numbered axes (all of them without `axis`), as in NumPy."
    return method


def _clip(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Every element raised to `min` and lowered to `max`, where they are given."""
    raised = self if min is None else maximum(self, min)
    result: Tensor = raised if max is None else minimum(raised, max)
    return result


def _transpose(self: Tensor, *axes: Any) -> Tensor:
    one = len(axes) == 1 and isinstance(axes[0], (tuple, list, type(None)))
    result: Tensor = _method("transpose")(self, axes[0] if one else axes or None)
    return result


def _reshape(self: Tensor, *shape: Any) -> Tensor:
    one = len(shape) == 1 and isinstance(shape[0], (tuple, list))
    result: Tensor = _method("reshape")(self, shape[0] if one else shape)
    return result


def _ravel(self: Tensor) -> Tensor:
    return self.reshape(-1)


def _inputs(self: Tensor) -> tuple[Tensor, ...]:
    """The inputs it depends on, in the order in which a reader meets them, left to right: a kernel's arguments."""
    from .program import inputs_of

    return inputs_of((self,))


_install(
    Tensor, {name: _reduction_method(name) for name in ("sum", "prod", "min", "max", "any", "all", "argmin", "argmax")}
)
_install(Tensor, {
    "__getitem__": _item, "__setitem__": _define_item, "inputs": property(_inputs),
    "T": property(lambda self: self.transpose(), doc="The transposed tensor: all dimensions in reverse."),
    "__matmul__": _method("matmul"),
    "__rmatmul__": lambda self, other: _method("matmul")(other, self),
    "transpose": _transpose, "swapaxes": _method("swapaxes"),
    "squeeze": _method("squeeze"), "reshape": _reshape, "ravel": _ravel,
    "flatten": _ravel, "mean": _mean, "clip": _clip, "astype": lambda self, dtype: cast(self, dtype),
})  # fmt: skip
_install(Definition, {"__repr__": lambda self: "; ".join(definition(part, self.tensors) for part in self.parts)})
