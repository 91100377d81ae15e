"""Data types and NumPy 2's promotion rules.

A dtype is its NumPy name (``"float32"``). Two more names exist inside expressions only: ``"int"`` and ``"float"``, the
*weak* types of Python scalars, axes and sizes, which take the type of whatever they are combined with (NEP 50).
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import numpy as np

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = ("bool", *INTEGERS, *FLOATS)
WEAK = ("int", "float")

BITS = {"bool": 8} | {name: int("".join(filter(str.isdigit, name))) for name in INTEGERS + FLOATS}


def itemsize(dtype: str) -> int:
    """Bytes of one element of ``dtype``."""
    return BITS[dtype] // 8


def is_float(dtype: str) -> bool:
    return dtype == "float" or dtype in FLOATS


def is_integer(dtype: str) -> bool:
    """Integers proper: bool is not one."""
    return dtype == "int" or dtype in INTEGERS


def canonical(dtype: Any) -> str:
    """The name of a dtype given as a name, a NumPy dtype or a scalar type (``np.float32``, ``float``, ``int``,
    ``bool``).

    Raises ValueError when it is none of DTYPES.
    """
    if dtype == "bfloat16":
        _know_bfloat16()
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype
    try:
        name = np.dtype(dtype).name
    except (TypeError, ValueError, SyntaxError):  # NumPy parses a text with commas
        name = str(dtype)
    if name not in DTYPES:
        raise ValueError(f"{dtype!r} is not a dtype of tedsl; choose one of {', '.join(DTYPES)}")
    return name


def _know_bfloat16() -> None:
    """bfloat16 is no dtype of NumPy's own: a package brings it, after whose import NumPy knows the name."""
    try:
        import_module("ml_dtypes")
    except ImportError:
        raise ValueError(
            "bfloat16 needs the package ml_dtypes, which brings it to NumPy: pip install ml_dtypes"
        ) from None


def strong(dtype: str) -> str:
    """The type a weak one gets when nothing else decides: NumPy's defaults."""
    return {"int": "int64", "float": "float64"}.get(dtype, dtype)


def _promote(a: str, b: str) -> str:
    if a == b:
        return a
    if a in WEAK and b in WEAK:
        return "float"
    if a in WEAK:
        a, b = b, a
    if b == "int":
        return "int64" if a == "bool" else a
    if b == "float":
        return a if a in FLOATS else "float64"
    if "bfloat16" in (a, b):
        other = b if a == "bfloat16" else a
        if other in ("bool", "int8", "uint8"):
            return "bfloat16"
        return (
            "float32"
            if other == "float16"
            else np.promote_types("float32" if other == "int16" or other == "uint16" else "float16", other).name
        )
    return np.promote_types(a, b).name


_PROMOTED: dict[tuple[str, str], str] = {}


def promote(*dtypes: str) -> str:
    """The common type of several, weak ones included, by NumPy 2's rules."""
    result = dtypes[0]
    for dtype in dtypes[1:]:
        key = (result, dtype)
        if key not in _PROMOTED:
            _PROMOTED[key] = _promote(*key)
        result = _PROMOTED[key]
    return result


def floating(dtype: str) -> str:
    """The type in which NumPy evaluates ``exp`` and its like for an argument of ``dtype``."""
    if is_float(dtype):
        return dtype
    if dtype == "int":
        return "float"
    return {8: "float16", 16: "float32"}.get(BITS[dtype], "float64")


def accumulator(dtype: str) -> str:
    """The type in which ``sum`` and ``prod`` accumulate: as in NumPy, small integers widen to 64 bits."""
    if dtype in UNSIGNED:
        return "uint64"
    return "int64" if dtype in SIGNED or dtype == "bool" else strong(dtype)


def limits(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer dtype (bool counts as 0 and 1)."""
    if dtype == "bool":
        return 0, 1
    bits = BITS[dtype]
    return (0, 2**bits - 1) if dtype in UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def lowest(dtype: str) -> int | float:
    """The identity of ``max``."""
    return -math.inf if is_float(dtype) else limits(dtype)[0]


def highest(dtype: str) -> int | float:
    """The identity of ``min``."""
    return math.inf if is_float(dtype) else limits(dtype)[1]


def of_scalar(value: Any) -> str:
    """The (weak) dtype of a Python scalar, or the dtype of a NumPy one."""
    if isinstance(value, np.generic):
        return canonical(value.dtype)
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else "float"
