"""What every elementwise function computes, as NumPy calls.

Operands arrive in the type that the function works in (a definition's expressions are typed), and every row gives the
type that the function's result has. Nothing here warns: the caller has switched NumPy's floating-point warnings off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tedsl.lang import dtypes
from tedsl.lang.functions import FUNCTIONS as KNOWN

Array = Any  # a NumPy array or scalar

_erf = np.frompyfunc(math.erf, 1, 1)


def _power(x: Array, y: Array) -> Array:
    if np.issubdtype(np.result_type(y), np.signedinteger):
        # NumPy refuses negative exponents of integers, a kernel cannot: the true power without its fraction, 0 for a
        # division by zero.
        zero, one = np.zeros((), np.result_type(x)), np.ones((), np.result_type(x))
        odd = (y & 1) != 0
        inverse = np.where(x == 1, one, np.where(x == -1, np.where(odd, -one, one), zero))
        return np.where(y < 0, inverse, np.power(x, np.maximum(y, np.zeros((), np.result_type(y)))))
    return np.power(x, y)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))  # at most 1: neither branch overflows
    return np.where(np.isnan(x), x, np.where(x >= 0, 1 / (1 + e), e / (1 + e))).astype(np.result_type(x))


def _whole(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Rounding: integers and bool are whole already (NumPy before 2.1 would make floats of them)."""
    return lambda x: function(x) if dtypes.is_float(np.result_type(x).name) else x


def _float(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: function(x).astype(np.result_type(x))


# fmt: off
_UNDER_THEIR_NAMES = (
    "add", "subtract", "multiply", "floor_divide", "remainder", "bitwise_and", "bitwise_xor", "bitwise_or",
    "left_shift",
    "right_shift", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "minimum", "maximum",
    "arctan2", "hypot", "copysign", "where", "negative", "invert", "absolute", "sign", "exp", "exp2", "expm1", "log",
    "log2", "log10", "log1p", "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "arcsinh", "arccosh", "arctanh", "isnan", "isinf", "isfinite",
)
# fmt: on
FUNCTIONS: dict[str, Callable[..., Array]] = {
    **{name: getattr(np, name) for name in _UNDER_THEIR_NAMES},
    **{name: _whole(getattr(np, name)) for name in ("floor", "ceil", "trunc", "rint")},
    "divide": np.true_divide,
    "power": _power,
    "machine_minimum": lambda x, y: np.where(x < y, x, y),
    "machine_maximum": lambda x, y: np.where(x > y, x, y),
    "rsqrt": _float(lambda x: 1 / np.sqrt(x)),
    "sigmoid": _sigmoid,
    "erf": lambda x: np.asarray(_erf(x), np.result_type(x)),
}


def numpy_of(name: str) -> Callable[..., Array]:
    """What function `name` computes; of one that the user registered, what its NumPy form says, in the type that it
    works in.
    """
    own = FUNCTIONS.get(name)
    if own is not None:
        return own
    users = KNOWN[name].numpy
    assert users is not None
    return lambda *operands: np.asarray(users(*operands)).astype(np.result_type(*operands))


# How the built-in reductions combine an array along axes; argmax and argmin combine in pairs, as reducers of the user's
# do.
FOLDS: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "machine_min": np.minimum,
    "machine_max": np.maximum,
    "any": np.logical_or,
    "all": np.logical_and,
}


def better(name: str, p: tuple[Array, Array], q: tuple[Array, Array]) -> tuple[Array, Array]:
    """argmax or argmin of two (value, position) pairs: NaN is best, as in NumPy; of equals, the lower position."""
    (pv, pi), (qv, qi) = p, q
    ahead = qv > pv if name == "argmax" else qv < pv
    same = qv == pv
    if dtypes.is_float(np.result_type(pv).name):
        pn, qn = np.isnan(pv), np.isnan(qv)
        ahead, same = (ahead & ~pn) | (qn & ~pn), same | (pn & qn)
    take = ahead | (same & (qi < pi))
    return np.where(take, qv, pv), np.where(take, qi, pi)
