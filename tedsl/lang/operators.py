"""Python's operators and NumPy's functions on expressions and tensors: each builds the function of NumPy's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DefinitionError

if TYPE_CHECKING:

    class Operators:
        """The operators that `install_operators` gives to a class, for type checkers."""

        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __and__(self, other: Any) -> Any: ...
        def __rand__(self, other: Any) -> Any: ...
        def __or__(self, other: Any) -> Any: ...
        def __ror__(self, other: Any) -> Any: ...
        def __xor__(self, other: Any) -> Any: ...
        def __rxor__(self, other: Any) -> Any: ...
        def __lshift__(self, other: Any) -> Any: ...
        def __rlshift__(self, other: Any) -> Any: ...
        def __rshift__(self, other: Any) -> Any: ...
        def __rrshift__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __le__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __ge__(self, other: Any) -> Any: ...
        def __neg__(self) -> Any: ...
        def __pos__(self) -> Any: ...
        def __abs__(self) -> Any: ...
        def __invert__(self) -> Any: ...

else:
    Operators = object


def binary(function: str, a: Any, b: Any) -> Any:
    """The function of NumPy's name applied to two operands of a Python operator; NotImplemented for what is no
    operand.
    """
    from .functions import apply

    if isinstance(b, (str, bytes, type(None), tuple, list, dict, set)) or isinstance(
        a, (str, bytes, type(None), tuple, list, dict, set)
    ):
        return NotImplemented
    return apply(function, a, b)


def _operator(function: str, swap: bool = False) -> Callable[[Any, Any], Any]:
    if swap:
        return lambda self, other: binary(function, other, self)
    return lambda self, other: binary(function, self, other)


def _array_ufunc(self: Any, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
    """NumPy's functions of expressions and tensors, `np.exp(A)`, and its operators with a NumPy number or array on the
    left.
    """
    from .functions import FUNCTIONS, apply

    name = ufunc.__name__
    if method != "__call__" or options:
        given = f"np.{name}.{method}" if method != "__call__" else f"np.{name} with {', '.join(options)}="
        raise DefinitionError(
            f"{given} has no meaning for an expression; te.{name if name in FUNCTIONS else 'sum'} and the methods of "
            "tensors do",
        )
    operands = tuple(
        e[()] if isinstance(e, np.ndarray) and e.ndim == 0 else e for e in operands
    )  # NumPy's numbers come as arrays
    if name == "matmul":
        from .arrays import matmul

        return matmul(*operands)
    if name not in FUNCTIONS:
        raise DefinitionError(
            f"np.{name} is no function of tedsl; compose it of those that are, or register it with "
            "te.register_function",
        )
    return apply(name, *operands)


_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "power", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip


def install_operators(cls: type) -> None:
    """Give `cls` (expressions, tensors) Python's operators, each building the function of NumPy's name."""
    for name, function in _OPERATORS.items():
        setattr(cls, f"__{name}__", _operator(function))
        setattr(cls, f"__r{name}__", _operator(function, swap=True))
    for name, function in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}.items():
        setattr(cls, f"__{name}__", _operator(function))

    def unary(function: str) -> Callable[[Any], Any]:
        def call(self: Any) -> Any:
            from .functions import apply

            return apply(function, self)

        return call

    for name, function in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
        setattr(cls, f"__{name}__", unary(function))
    setattr(cls, "__array_ufunc__", _array_ufunc)  # noqa: B010
    setattr(cls, "__pos__", lambda self: self)  # noqa: B010 - mypy takes an attribute of a type for the operator of the type
