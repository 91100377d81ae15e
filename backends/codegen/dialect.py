"""What languages that look like C have in common, and what each has of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tedsl.lang import dtypes

ATOM, UNARY = 20, 12  # precedences
_SHORT = {"bool": "b8", "bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64"}


@dataclass(frozen=True)
class Dialect:
    """How a language writes things.

    types      dtype -> the type of an element
    own        the name of our own function for a function and a type; "" where there is none. (The printer notes it.)
    helper     what stands before the definition of a helper function
    restrict   the word that says that a pointer is the only one to its memory
    """

    types: Mapping[str, str]
    own: Callable[[str, str], str]
    helper: str
    restrict: str


def short(dtype: str) -> str:
    """`f32`, `i64`: a type in the names of helper functions."""
    return _SHORT.get(dtype) or dtype.replace("uint", "u").replace("int", "i")


def literal(value: bool | int | float, dtype: str) -> tuple[str, int]:
    """A constant in C, and its precedence."""
    if dtype == "bool":
        return ("1" if value else "0"), ATOM
    if dtype == "bfloat16":
        return f"0x{bfloat16_bits(float(value)):04x}", ATOM
    if dtypes.is_float(dtype):
        v = float(value)
        if dtype == "float32":  # what it does not hold is infinite
            with np.errstate(over="ignore"):
                v = v if math.isfinite(np.float32(v)) else float(np.float32(v))
        if math.isnan(v):
            return "NAN", ATOM
        if math.isinf(v):
            return ("INFINITY", ATOM) if v > 0 else ("-INFINITY", UNARY)
        text = repr(float(str(np.float32(v)))) if dtype in ("float32", "float16") else repr(v)
        if dtype == "float32":
            text += "f"
        elif dtype == "float16":
            text = f"(_Float16){text}f"
        return text, (ATOM if not text.startswith(("-", "(")) else UNARY)
    v = int(value)
    if dtype == "uint64" and v >= 2**63:
        return f"{v}u", ATOM
    if v == -(2**63):
        return "INT64_MIN", ATOM
    if v == -(2**31) and dtype != "int64":
        return "INT32_MIN", ATOM
    if dtype in dtypes.UNSIGNED and v >= 2**31:
        return f"{v}u", ATOM
    return str(v), (ATOM if v >= 0 else UNARY)


def bfloat16_bits(value: float) -> int:
    """The upper half of a float32, rounded to the nearest, ties to even."""
    with np.errstate(over="ignore"):
        bits = int(np.float32(value).view(np.uint32))
    if math.isnan(value):
        return 0x7FC0
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
