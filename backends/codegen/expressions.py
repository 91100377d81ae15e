"""Scalar expressions in C: each function of the language for each type, with NumPy's meaning."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tedsl.backends.c.math import functions as vector_math
from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Var
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.integers import Affine, Known, prove

# bfloat16 is the upper half of a float32: kept as an integer, computed with in float32
CTYPES = {"bool": "_Bool", "bfloat16": "uint16_t", "float16": "_Float16", "float32": "float", "float64": "double"} | {
    d: f"{d}_t" for d in dtypes.INTEGERS
}
_SHORT = {"bool": "b8", "bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64"}
_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^", "less": "<",
          "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}  # fmt: skip
_PRECEDENCE = {
    "*": 10,
    "/": 10,
    "%": 10,
    "+": 9,
    "-": 9,
    "<": 7,
    "<=": 7,
    ">": 7,
    ">=": 7,
    "==": 6,
    "!=": 6,
    "&": 5,
    "^": 4,
    "|": 3,
    "?": 1,
}
ATOM, UNARY = 20, 12
# names in vector_math that differ from the language's
VECTOR_NAMES = {
    "absolute": "abs",
    "power": "pow",
    "rint": "round",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
}


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


class Scalars:
    """Prints scalar expressions. `load(access)` and `name(axis or size)` say how leaves look; helpers that are used are
    noted in `helpers`, functions of vector_math in `functions`.
    """

    def __init__(self, load: Callable[[Access], str], name: Callable[[Expr], str]) -> None:
        self.load, self.name = load, name
        self.helpers: dict[str, str] = {}
        self.functions: set[tuple[str, str, int]] = set()
        self.known = Known()

    def text(self, e: Expr) -> str:
        return self.print(e)[0]

    def wrap(self, e: Expr, precedence: int) -> str:
        text, own = self.print(e)
        return f"({text})" if own < precedence else text

    def print(self, e: Expr) -> tuple[str, int]:
        """The C text of `e` and its precedence."""
        if isinstance(e, Const):
            return literal(e.value, e.dtype)
        if isinstance(e, (Axis, Var)):
            return self.name(e), ATOM
        if isinstance(e, Access):
            return self.load(e), ATOM
        if isinstance(e, Cast):
            return self.cast(e)
        if isinstance(e, Apply):
            return self.apply(e)
        raise TypeError(f"{e!r} cannot stand in C")

    def sum(self, form: Affine) -> str:
        """A sum of index terms: ``8 * io + ii + 3``."""
        text = ""
        for atom, c in form.sorted_terms():
            scale = "" if abs(c) == 1 else f"{abs(c)} * "
            term = scale + (self.name(atom) if isinstance(atom, (Axis, Var)) else self.wrap(atom, 11))
            text += f" {'-' if c < 0 else '+'} {term}" if text else f"-{term}" if c < 0 else term
        if not text:
            return str(form.constant)
        return text if not form.constant else f"{text} {'-' if form.constant < 0 else '+'} {abs(form.constant)}"

    def cast(self, e: Cast) -> tuple[str, int]:
        if e.operand.dtype == "bfloat16" and e.dtype != "bfloat16":
            wide = self.call("from", "bfloat16", (e.operand,))
            if e.dtype == "float32":
                return wide
            return (f"{wide[0]} != 0", 6) if e.dtype == "bool" else (f"({CTYPES[e.dtype]}){wide[0]}", UNARY)
        if e.dtype == "bfloat16":
            return self.call("to", "bfloat16", (e.operand,))
        if e.dtype == "bool":
            return f"{self.wrap(e.operand, 7)} != 0", 6
        if isinstance(e.operand, Const) and not dtypes.is_float(e.dtype) and dtypes.is_float(e.operand.dtype):
            with np.errstate(all="ignore"):  # out of range is undefined in C: what NumPy makes of it
                return literal(int(np.float64(e.operand.value).astype(e.dtype)), e.dtype)
        return f"({CTYPES[e.dtype]}){self.wrap(e.operand, UNARY)}", UNARY

    # Index arithmetic and values --------------------------------------------------------------------------------------

    def apply(self, e: Apply) -> tuple[str, int]:
        if e.dtype in dtypes.WEAK or (e.operands[0].dtype in dtypes.WEAK and e.function != "where"):
            return self.index(e)
        f, dtype = e.function, e.operands[-1].dtype
        if f == "where":
            c, a, b = e.operands
            return f"{self.wrap(c, 2)} ? {self.wrap(a, 2)} : {self.wrap(b, 2)}", 1
        if dtype == "bfloat16":
            return self.half(e)
        if f in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"):
            return self.infix(f, e.operands)
        if dtype == "float16":
            return self.half(e)
        if dtype == "bool":
            return self.boolean(e)
        if dtypes.is_float(dtype):
            return self.floating(e)
        return self.integer(e)

    def infix(self, f: str, operands: tuple[Expr, ...]) -> tuple[str, int]:
        symbol = _INFIX[f]
        p = _PRECEDENCE[symbol]
        a, b = operands
        if symbol in "&|^" or p in (6, 7):  # parentheses that compilers ask for
            return f"{self.wrap(a, 9 if p > 5 else 11)} {symbol} {self.wrap(b, 9 if p > 5 else 11)}", p
        return f"{self.wrap(a, p)} {symbol} {self.wrap(b, p + 1)}", p

    def index(self, e: Apply) -> tuple[str, int]:
        """int64 index arithmetic, known not to overflow."""
        f = e.function
        if f in ("add", "subtract") and isinstance(e.operands[1], Const) and e.operands[1].value < 0:
            return f"{self.wrap(e.operands[0], 9)} {'-' if f == 'add' else '+'} {-e.operands[1].value}", 9
        if f in ("add", "subtract", "multiply") or f in (
            "less",
            "less_equal",
            "greater",
            "greater_equal",
            "equal",
            "not_equal",
        ):
            return self.infix(f, e.operands)
        if f in ("floor_divide", "remainder"):
            a, b = e.operands
            if prove(a >= 0, self.known) and prove(b > 0, self.known):
                symbol = "/" if f == "floor_divide" else "%"
                return f"{self.wrap(a, 10)} {symbol} {self.wrap(b, 11)}", 10
            return self.call("floordiv" if f == "floor_divide" else "mod", "int64", e.operands)
        if f in ("minimum", "maximum"):
            return self.call("min" if f == "minimum" else "max", "int64", e.operands)
        if f == "negative":
            return f"-{self.wrap(e.operands[0], UNARY + 1)}", UNARY
        if f == "where":
            c, a, b = e.operands
            return f"{self.wrap(c, 2)} ? {self.wrap(a, 2)} : {self.wrap(b, 2)}", 1
        if f == "absolute":
            return f"llabs({self.text(e.operands[0])})", ATOM
        return self.integer(e)

    def boolean(self, e: Apply) -> tuple[str, int]:
        f = e.function
        same = {"add": "bitwise_or", "maximum": "bitwise_or", "machine_maximum": "bitwise_or", "multiply": "bitwise_and", "minimum": "bitwise_and",
                "machine_minimum": "bitwise_and"}  # fmt: skip
        f = same.get(f, f)
        if f in ("bitwise_and", "bitwise_or", "bitwise_xor"):
            return self.infix(f, e.operands)
        if f == "invert":
            return f"!{self.wrap(e.operands[0], UNARY + 1)}", UNARY
        if f in ("absolute", "floor", "ceil", "trunc", "rint"):
            return self.print(e.operands[0])
        raise TypeError(f"{f} of bool")

    def integer(self, e: Apply) -> tuple[str, int]:
        f, dtype = e.function, dtypes.strong(e.operands[-1].dtype)
        c = CTYPES[dtype]
        if f in ("add", "subtract", "multiply"):
            # signed overflow is undefined in C; unsigned arithmetic wraps
            u = "uint64_t" if dtype.endswith("64") else "uint32_t"
            a, b = (f"({u}){self.wrap(x, UNARY)}" for x in e.operands)
            return f"({c})({a} {_INFIX[f]} {b})", UNARY
        if f in ("bitwise_and", "bitwise_or", "bitwise_xor"):
            text, p = self.infix(f, e.operands)
            return text, p
        if f == "invert":
            return f"({c})~{self.wrap(e.operands[0], UNARY)}", UNARY
        if f == "negative":
            u = "uint64_t" if dtype.endswith("64") else "uint32_t"
            return f"({c})(0 - ({u}){self.wrap(e.operands[0], UNARY)})", UNARY
        if f in ("floor", "ceil", "trunc", "rint") or (f == "absolute" and dtype in dtypes.UNSIGNED):
            return self.print(e.operands[0])
        names = {"floor_divide": "floordiv", "remainder": "mod", "power": "pow", "left_shift": "shl", "right_shift": "shr", "minimum": "min",
                 "maximum": "max", "machine_minimum": "min", "machine_maximum": "max", "absolute": "abs", "sign": "sign"}  # fmt: skip
        return self.call(names[f], dtype, e.operands)

    def floating(self, e: Apply) -> tuple[str, int]:
        f, dtype = e.function, e.operands[-1].dtype
        if f in ("add", "subtract", "multiply", "divide"):
            return self.infix(f, e.operands)
        if f == "negative":
            return f"-{self.wrap(e.operands[0], UNARY + 1)}", UNARY
        if f == "power":
            return self.power(e)
        if f in ("minimum", "maximum", "machine_minimum", "machine_maximum"):
            return self.call(
                {"minimum": "min", "maximum": "max", "machine_minimum": "fmin", "machine_maximum": "fmax"}[f],
                dtype,
                e.operands,
            )
        if f in ("floor_divide", "remainder", "sign"):
            return self.call({"floor_divide": "floordiv", "remainder": "mod", "sign": "sign"}[f], dtype, e.operands)
        if f in ("isnan", "isinf", "isfinite"):
            return f"{f}({self.text(e.operands[0])}) != 0", 6  # C says no more than "not 0": isinf(-INFINITY) may be -1
        if FUNCTIONS[f].c is not None:
            return self.users(e)
        args = ", ".join(self.text(x) for x in e.operands)
        if f not in ("absolute", "floor", "ceil", "trunc", "rint", "sqrt", "copysign") and vector_math.supported(
            VECTOR_NAMES.get(f, f), dtype
        ):
            name = VECTOR_NAMES.get(f, f)
            self.functions.add((name, dtype, 1))
            return f"{vector_math.symbol(name, dtype, 1)}({args})", ATOM
        if f == "rsqrt":
            return f"1 / sqrt{'f' if dtype == 'float32' else ''}({args})", 10
        if f == "sigmoid":
            return self.call("sigmoid", dtype, e.operands)
        return f"{FUNCTIONS[f].libm or f}{'f' if dtype == 'float32' else ''}({args})", ATOM

    def power(self, e: Apply) -> tuple[str, int]:
        base, exponent = e.operands
        if isinstance(exponent, Const):
            v = exponent.value
            if v == 1:
                return self.print(base)
            if v == 2:
                return self.call("square", e.dtype, (base,))
            if v == 3:
                return self.call("cube", e.dtype, (base,))
            if v == 0.5:
                return f"sqrt{'f' if e.dtype == 'float32' else ''}({self.text(base)})", ATOM
            if v == -1:
                return f"1 / {self.wrap(base, 11)}", 10
        return f"pow{'f' if e.dtype == 'float32' else ''}({self.text(base)}, {self.text(exponent)})", ATOM

    def half(self, e: Apply) -> tuple[str, int]:
        """float16 and bfloat16: computed in float32 and rounded, as NumPy does."""
        wide = Apply(e.function, tuple(Cast("float32", x) for x in e.operands))
        text, p = self.print(wide)
        if wide.dtype == "bool":
            return text, p
        if e.operands[-1].dtype == "bfloat16":
            name = "te_to_bf16"
            self.helpers[name] = helper_source("to", "bfloat16")
            return f"{name}({text})", ATOM
        return f"(_Float16)({text})", UNARY

    def users(self, e: Apply) -> tuple[str, int]:
        """A function that the user registered: its C text in a function of its own."""
        t, name = CTYPES[e.dtype], f"te_user_{e.function}_{short(e.dtype)}"
        parameters = ", ".join(f"{t} {p}" for p in "xyz"[: len(e.operands)])
        self.helpers[name] = f"static inline {t} {name}({parameters}) {{ return ({t})({FUNCTIONS[e.function].c}); }}"
        return f"{name}({', '.join(self.text(x) for x in e.operands)})", ATOM

    def call(self, helper: str, dtype: str, operands: tuple[Expr, ...]) -> tuple[str, int]:
        name = f"te_{helper}_{short(dtype)}"
        self.helpers[name] = helper_source(helper, dtype)
        return f"{name}({', '.join(self.text(x) for x in operands)})", ATOM


def helper_source(helper: str, dtype: str) -> str:
    """The definition of a helper function for a type."""
    kind = "float" if dtypes.is_float(dtype) else "unsigned" if dtype in dtypes.UNSIGNED else "signed"
    template = _HELPERS.get((helper, kind)) or _HELPERS[helper, "any"]
    bits = dtypes.BITS[dtype]
    work = "uint64_t" if bits == 64 else "uint32_t"
    values = {
        "T": CTYPES[dtype],
        "N": f"te_{helper}_{short(dtype)}",
        "F": "f" if dtype == "float32" else "",
        "U": work,
        "B": str(bits),
    }
    for key, value in values.items():
        template = template.replace(f"@{key}", value)
    return template


_HELPERS: dict[tuple[str, str], str] = {
    (
        "from",
        "float",
    ): "static inline float @N(uint16_t x) { uint32_t bits = (uint32_t)x << 16; float y; memcpy(&y, &bits, 4); "
    "return y; }",
    ("to", "float"): """static inline uint16_t @N(float x)
{   /* rounds to the nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (x != x) return (uint16_t)(0x7fc0 | (bits >> 16 & 0x8000));
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}""",
    ("min", "float"): "static inline @T @N(@T a, @T b) { return a <= b || a != a ? a : b; } /* NaN if either is */",
    ("max", "float"): "static inline @T @N(@T a, @T b) { return a >= b || a != a ? a : b; } /* NaN if either is */",
    ("min", "any"): "static inline @T @N(@T a, @T b) { return a < b ? a : b; }",
    ("max", "any"): "static inline @T @N(@T a, @T b) { return a > b ? a : b; }",
    ("fmin", "any"): "static inline @T @N(@T a, @T b) { return a < b ? a : b; } /* NaN unspecified */",
    ("fmax", "any"): "static inline @T @N(@T a, @T b) { return a > b ? a : b; } /* NaN unspecified */",
    ("square", "any"): "static inline @T @N(@T x) { return x * x; }",
    ("cube", "any"): "static inline @T @N(@T x) { return x * x * x; }",
    ("abs", "any"): "static inline @T @N(@T x) { return x < 0 ? (@T)(0 - (@U)x) : x; }",
    ("sign", "float"): "static inline @T @N(@T x) { return x > 0 ? 1 : x < 0 ? -1 : x == 0 ? 0 : x; }",
    ("sign", "unsigned"): "static inline @T @N(@T x) { return x > 0; }",
    ("sign", "signed"): "static inline @T @N(@T x) { return (@T)((x > 0) - (x < 0)); }",
    ("sigmoid", "any"): "static inline @T @N(@T x) { return 1 / (1 + exp@F(-x)); }",
    ("floordiv", "unsigned"): "static inline @T @N(@T a, @T b) { return b ? (@T)(a / b) : 0; }",
    ("floordiv", "signed"): """static inline @T @N(@T a, @T b)
{   /* rounds down; 0 for a division by zero, wraps for -1 */
    if (b == 0) return 0;
    if (b == -1) return (@T)(0 - (@U)a);
    return (@T)(a / b - ((a % b != 0) & ((a < 0) != (b < 0))));
}""",
    ("mod", "unsigned"): "static inline @T @N(@T a, @T b) { return b ? (@T)(a % b) : 0; }",
    ("mod", "signed"): """static inline @T @N(@T a, @T b)
{   /* the sign of b; 0 for a division by zero */
    if (b == 0 || b == -1) return 0;
    @T r = (@T)(a % b);
    return (@T)(r + ((r != 0 && (r < 0) != (b < 0)) ? b : 0));
}""",
    ("mod", "float"): """static inline @T @N(@T a, @T b)
{   /* the sign of b; NaN for a division by zero */
    @T r = fmod@F(a, b);
    if (b == 0) return r;
    if (r == 0) return copysign@F(0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}""",
    ("floordiv", "float"): """static inline @T @N(@T a, @T b)
{   /* rounds down, by way of the remainder so that it is exact */
    if (b == 0) return a / b;
    @T r = fmod@F(a, b), q = (a - r) / b;
    if (r != 0 && (r < 0) != (b < 0)) q -= 1;
    if (q == 0) return copysign@F(0, a / b);
    @T w = floor@F(q);
    return q - w > (@T)0.5 ? w + 1 : w;
}""",
    ("pow", "any"): """static inline @T @N(@T base, @T exponent)
{   /* by squaring; wraps */
    if (exponent < 0) return base == 1 ? 1 : base == (@T)-1 ? (exponent & 1 ? (@T)-1 : 1) : 0;
    @U result = 1, b = (@U)base;
    for (@U n = (@U)exponent; n; n >>= 1, b *= b) if (n & 1) result *= b;
    return (@T)result;
}""",
    ("pow", "unsigned"): """static inline @T @N(@T base, @T exponent)
{   /* by squaring; wraps */
    @U result = 1, b = base;
    for (@U n = exponent; n; n >>= 1, b *= b) if (n & 1) result *= b;
    return (@T)result;
}""",
    ("shl", "any"): "static inline @T @N(@T a, @T n) { return (@U)n < @B ? (@T)((@U)a << n) : 0; }",
    ("shr", "unsigned"): "static inline @T @N(@T a, @T n) { return n < @B ? (@T)(a >> n) : 0; }",
    ("shr", "signed"): "static inline @T @N(@T a, @T n) { return (@U)n < @B ? (@T)(a >> n) : (@T)(a < 0 ? -1 : 0); }",
}
