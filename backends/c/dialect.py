"""C as a dialect: its types, its library, and which of its functions the vector library takes the place of."""

from __future__ import annotations

from tedsl.backends.codegen.dialect import Dialect
from tedsl.lang import dtypes

from .math import functions as vector_math

# bfloat16 is the upper half of a float32: kept as an integer, computed with in float32
CTYPES = {"bool": "_Bool", "bfloat16": "uint16_t", "float16": "_Float16", "float32": "float", "float64": "double"} | {
    d: f"{d}_t" for d in dtypes.INTEGERS
}
# names in vector_math that differ from the language's
VECTOR_NAMES = {
    "absolute": "abs",
    "power": "pow",
    "rint": "round",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
}
EXACT = frozenset(["absolute", "floor", "ceil", "trunc", "rint", "sqrt", "copysign"])  # instructions, or nearly

LIBRARY = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh",
           "arctanh": "atanh", "arctan2": "atan2", "absolute": "fabs", "power": "pow"}  # fmt: skip


def own(function: str, dtype: str) -> str:
    name = VECTOR_NAMES.get(function, function)
    return name if function not in EXACT and vector_math.supported(name, dtype) else ""


C = Dialect(CTYPES, LIBRARY, own, "static inline", "restrict")
