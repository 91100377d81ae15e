"""Scalar expressions in C: each function of the language for each type, with NumPy's meaning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Var
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.integers import Affine, Known, prove

from .dialect import ATOM, UNARY, Dialect, literal, short
from .helpers import helper_source

_COMPARE = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
_ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*"}
_BITS = {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
_INFIX = _COMPARE | _ARITHMETIC | _BITS | {"divide": "/"}
_PRECEDENCE = {**dict.fromkeys("*/%", 10), **dict.fromkeys("+-", 9), **dict.fromkeys(("<", "<=", ">", ">="), 7),
               **dict.fromkeys(("==", "!="), 6), "&": 5, "^": 4, "|": 3}  # fmt: skip
_OF_BOOLS = {"add": "bitwise_or", "maximum": "bitwise_or", "machine_maximum": "bitwise_or", "multiply": "bitwise_and",
             "minimum": "bitwise_and", "machine_minimum": "bitwise_and"}  # fmt: skip
# the helpers of functions that have no operator
_INTEGER = {"floor_divide": "floordiv", "remainder": "mod", "power": "pow", "left_shift": "shl", "right_shift": "shr",
            "minimum": "min", "maximum": "max", "machine_minimum": "min", "machine_maximum": "max", "absolute": "abs",
            "sign": "sign"}  # fmt: skip
_FLOATING = {"minimum": "min", "maximum": "max", "machine_minimum": "fmin", "machine_maximum": "fmax",
             "floor_divide": "floordiv", "remainder": "mod", "sign": "sign"}  # fmt: skip
_ROUNDING = ("floor", "ceil", "trunc", "rint")


class Scalars:
    """Prints scalar expressions. `load(access)` and `name(axis or size)` say how leaves look; helpers that are used are
    noted in `helpers`, functions of our own in `functions`.
    """

    def __init__(self, dialect: Dialect, load: Callable[[Access], str], name: Callable[[Expr], str]) -> None:
        self.dialect, self.load, self.name = dialect, load, name
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
            return (f"{wide[0]} != 0", 6) if e.dtype == "bool" else (f"({self.dialect.types[e.dtype]}){wide[0]}", UNARY)
        if e.dtype == "bfloat16":
            return self.call("to", "bfloat16", (e.operand,))
        if e.dtype == "bool":
            return f"{self.wrap(e.operand, 7)} != 0", 6
        if isinstance(e.operand, Const) and not dtypes.is_float(e.dtype) and dtypes.is_float(e.operand.dtype):
            with np.errstate(all="ignore"):  # out of range is undefined in C: what NumPy makes of it
                return literal(int(np.float64(e.operand.value).astype(e.dtype)), e.dtype)
        return f"({self.dialect.types[e.dtype]}){self.wrap(e.operand, UNARY)}", UNARY

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
        if f in _COMPARE:
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
        if f in _ARITHMETIC or f in _COMPARE:
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
        f = _OF_BOOLS.get(f, f)
        if f in _BITS:
            return self.infix(f, e.operands)
        if f == "invert":
            return f"!{self.wrap(e.operands[0], UNARY + 1)}", UNARY
        if f == "absolute" or f in _ROUNDING:
            return self.print(e.operands[0])
        raise TypeError(f"{f} of bool")

    def integer(self, e: Apply) -> tuple[str, int]:
        f, dtype = e.function, dtypes.strong(e.operands[-1].dtype)
        c = self.dialect.types[dtype]
        if f in _ARITHMETIC:
            # signed overflow is undefined in C; unsigned arithmetic wraps
            u = "uint64_t" if dtype.endswith("64") else "uint32_t"
            a, b = (f"({u}){self.wrap(x, UNARY)}" for x in e.operands)
            return f"({c})({a} {_INFIX[f]} {b})", UNARY
        if f in _BITS:
            return self.infix(f, e.operands)
        if f == "invert":
            return f"({c})~{self.wrap(e.operands[0], UNARY)}", UNARY
        if f == "negative":
            u = "uint64_t" if dtype.endswith("64") else "uint32_t"
            return f"({c})(0 - ({u}){self.wrap(e.operands[0], UNARY)})", UNARY
        if f in _ROUNDING or (f == "absolute" and dtype in dtypes.UNSIGNED):
            return self.print(e.operands[0])
        return self.call(_INTEGER[f], dtype, e.operands)

    def floating(self, e: Apply) -> tuple[str, int]:
        f, dtype = e.function, e.operands[-1].dtype
        if f in _ARITHMETIC or f == "divide":
            return self.infix(f, e.operands)
        if f == "negative":
            return f"-{self.wrap(e.operands[0], UNARY + 1)}", UNARY
        if f == "power":
            return self.power(e)
        if f in _FLOATING:
            return self.call(_FLOATING[f], dtype, e.operands)
        if f in ("isnan", "isinf", "isfinite"):
            return f"{f}({self.text(e.operands[0])}) != 0", 6  # C says no more than "not 0": isinf(-INFINITY) may be -1
        if FUNCTIONS[f].c is not None:
            return self.users(e)
        args = ", ".join(self.text(x) for x in e.operands)
        if name := self.dialect.own(f, dtype):
            self.functions.add((name, dtype, 1))
            return f"te_{name}_{short(dtype)}({args})", ATOM
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
            self.helpers[name] = helper_source("to", "bfloat16", self.dialect)
            return f"{name}({text})", ATOM
        return f"(_Float16)({text})", UNARY

    def users(self, e: Apply) -> tuple[str, int]:
        """A function that the user registered: its C text in a function of its own."""
        t, name = self.dialect.types[e.dtype], f"te_user_{e.function}_{short(e.dtype)}"
        parameters = ", ".join(f"{t} {p}" for p in "xyz"[: len(e.operands)])
        self.helpers[name] = (
            f"{self.dialect.helper} {t} {name}({parameters}) {{ return ({t})({FUNCTIONS[e.function].c}); }}"
        )
        return f"{name}({', '.join(self.text(x) for x in e.operands)})", ATOM

    def call(self, helper: str, dtype: str, operands: tuple[Expr, ...]) -> tuple[str, int]:
        name = f"te_{helper}_{short(dtype)}"
        self.helpers[name] = helper_source(helper, dtype, self.dialect)
        return f"{name}({', '.join(self.text(x) for x in operands)})", ATOM
