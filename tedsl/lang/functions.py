"""The elementwise functions: one row for each, with all that is known of it beside its name.

Names are those of NumPy's ufuncs where NumPy has one. What a function computes on arrays stands in
`backends/reference`, its derivative in `autodiff`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import dtypes
from .errors import DefinitionError


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
    test         a floating operand, the result is bool
    """

    name: str
    arity: int
    kind: str
    doc: str = ""
    symbol: str | None = None  # of an operator
    precedence: int = 100
    latex: str | None = None  # in LaTeX: the symbol, the name, or the form with %s for the operands
    exact: Callable[..., Any] | None = (
        None  # its value of Python's integers; ArithmeticError where 64 bits have another
    )
    libm: str | None = None  # its name in C's math.h, where that is another
    # of a function of the user's (te.register_function): its value in C in terms of x, y, z, and in NumPy
    c: str | None = None
    numpy: Callable[..., Any] | None = None


def _operator(
    name: str, kind: str, symbol: str, precedence: int, latex: str | None, exact: Any, arity: int = 2
) -> Function:
    return Function(name, arity, kind, "", symbol, precedence, latex, exact)


def _named(
    name: str,
    kind: str,
    doc: str,
    arity: int = 1,
    *,
    latex: str | None = None,
    libm: str | None = None,
    exact: Any = None,
) -> Function:
    return Function(name, arity, kind, doc, latex=latex, libm=libm, exact=exact)


def _count(bits: int) -> int:
    """A number of bits to shift by."""
    if not 0 <= bits < 64:
        raise ArithmeticError
    return bits


def _exact_power(a: int, b: int) -> int:
    if b < 0 or a.bit_length() * b > 64:
        raise ArithmeticError
    return int(a**b)


FUNCTIONS: dict[str, Function] = {
    f.name: f
    for f in [
        _operator("add", "arithmetic", "+", 50, "+", operator.add),
        _operator("subtract", "additive", "-", 50, "-", operator.sub),
        _operator("multiply", "arithmetic", "*", 60, None, operator.mul),
        _operator("divide", "divide", "/", 60, r"\frac{%s}{%s}", None),
        _operator("floor_divide", "additive", "//", 60, r"\left\lfloor \frac{%s}{%s} \right\rfloor",
                  lambda a, b: a // b if b else 0),
        _operator("remainder", "additive", "%", 60, r"\bmod", lambda a, b: a % b if b else 0),
        _operator("power", "additive", "**", 80, None, _exact_power),
        _operator("left_shift", "bits", "<<", 45, r"\ll", lambda a, b: a << _count(b)),
        _operator("right_shift", "bits", ">>", 45, r"\gg", lambda a, b: a >> _count(b)),
        _operator("bitwise_and", "bits", "&", 40, r"\wedge", operator.and_),
        _operator("bitwise_xor", "bits", "^", 38, r"\oplus", operator.xor),
        _operator("bitwise_or", "bits", "|", 36, r"\vee", operator.or_),
        _operator("less", "compare", "<", 30, "<", operator.lt),
        _operator("less_equal", "compare", "<=", 30, r"\le", operator.le),
        _operator("greater", "compare", ">", 30, ">", operator.gt),
        _operator("greater_equal", "compare", ">=", 30, r"\ge", operator.ge),
        _operator("equal", "compare", "==", 30, "=", operator.eq),
        _operator("not_equal", "compare", "!=", 30, r"\ne", operator.ne),
        _operator("negative", "signed", "-", 70, None, operator.neg, 1),
        _operator("invert", "bits", "~", 70, None, operator.invert, 1),
        _named("minimum", "arithmetic", "The smaller of x and y; NaN if either is.", 2, latex=r"\min", exact=min),
        _named("maximum", "arithmetic", "The larger of x and y; NaN if either is.", 2, latex=r"\max", exact=max),
        # what the machine's own instruction gives where an operand is NaN: a < b ? a : b
        _named("machine_minimum", "arithmetic", "", 2),
        _named("machine_maximum", "arithmetic", "", 2),
        _named("arctan2", "floating", "The angle of the point (y, x), in radians: arctan2(y, x).", 2, libm="atan2"),
        _named("hypot", "floating", "sqrt(x**2 + y**2) without overflow.", 2),
        _named("copysign", "floating", "The magnitude of x with the sign of y.", 2),
        _named("where", "select",
               "x where the condition holds, else y. An access that the condition keeps in bounds is accepted.", 3,
               exact=lambda c, a, b: a if c else b),
        _named("absolute", "same", "|x|.", latex=r"\left|%s\right|", exact=abs, libm="fabs"),
        _named("sign", "signed", "-1, 0 or 1 (NaN where x is NaN).", latex=r"\operatorname{sgn}",
               exact=lambda a: (a > 0) - (a < 0)),
        _named("floor", "same", "The largest whole number not above x.", latex=r"\left\lfloor %s \right\rfloor"),
        _named("ceil", "same", "The smallest whole number not below x."),
        _named("trunc", "same", "x without its fraction."),
        _named("rint", "same", "The nearest whole number, ties to even."),
        _named("exp", "floating", "e to the power x.", latex=r"\exp"),
        _named("exp2", "floating", "2 to the power x."),
        _named("expm1", "floating", "exp(x) - 1, exact for small x."),
        _named("log", "floating", "Natural logarithm.", latex=r"\log"),
        _named("log2", "floating", "Logarithm to base 2."),
        _named("log10", "floating", "Logarithm to base 10."),
        _named("log1p", "floating", "log(1 + x), exact for small x."),
        _named("sqrt", "floating", "Square root.", latex=r"\sqrt{%s}"),
        _named("rsqrt", "floating", "1 / sqrt(x).", latex=r"\frac{1}{\sqrt{%s}}"),
        _named("sin", "floating", "Sine (radians).", latex=r"\sin"),
        _named("cos", "floating", "Cosine (radians).", latex=r"\cos"),
        _named("tan", "floating", "Tangent (radians).", latex=r"\tan"),
        _named("arcsin", "floating", "Inverse sine.", latex=r"\arcsin", libm="asin"),
        _named("arccos", "floating", "Inverse cosine.", latex=r"\arccos", libm="acos"),
        _named("arctan", "floating", "Inverse tangent.", latex=r"\arctan", libm="atan"),
        _named("sinh", "floating", "Hyperbolic sine.", latex=r"\sinh"),
        _named("cosh", "floating", "Hyperbolic cosine.", latex=r"\cosh"),
        _named("tanh", "floating", "Hyperbolic tangent.", latex=r"\tanh"),
        _named("arcsinh", "floating", "Inverse hyperbolic sine.", libm="asinh"),
        _named("arccosh", "floating", "Inverse hyperbolic cosine.", libm="acosh"),
        _named("arctanh", "floating", "Inverse hyperbolic tangent.", libm="atanh"),
        _named("sigmoid", "floating", "1 / (1 + exp(-x)).", latex=r"\sigma"),
        _named("erf", "floating", "The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.",
               latex=r"\operatorname{erf}"),
        _named("isnan", "test", "Whether x is NaN."),
        _named("isinf", "test", "Whether x is infinite."),
        _named("isfinite", "test", "Whether x is neither infinite nor NaN."),
    ]
}  # fmt: skip


def operand_dtypes(name: str, operands: Sequence[Any]) -> tuple[tuple[str, ...], str]:
    """The types (perhaps weak) to which the operands of function `name` are converted, and the type of its result.

    operands: expressions; of them, their `dtype` and the `value` of numbers are looked at. Raises DefinitionError when
    NumPy has no such operation.
    """
    function = FUNCTIONS[name]
    kind = function.kind
    if kind == "select":
        common = _common(function, operands[1:])
        return ("bool", common, common), common
    common = _common(function, operands)
    if kind == "compare":
        return (common,) * 2, "bool"
    if kind == "test":
        return (dtypes.floating(common),), "bool"
    if kind == "floating":
        common = dtypes.floating(common)
    elif kind == "divide":
        common = "float" if common == "int" else common if dtypes.is_float(common) else "float64"
    elif kind == "bits" and dtypes.is_float(common):
        given = " and ".join(e.dtype for e in operands)
        raise DefinitionError(f"{name} works on integers and bool, not on {given}: `{shown(name, operands)}`")
    elif kind in ("additive", "signed") and common == "bool":
        fixes = {"negative": "~x (not)", "subtract": "p ^ q (differ)", "sign": "te.cast(x, 'int32')"}
        if name in fixes:
            raise DefinitionError(
                f"NumPy has no {name} of bool, and neither has tedsl: write {fixes[name]}. In `{shown(name, operands)}`"
            )
        common = "int8"
    elif name in ("left_shift", "right_shift") and common == "bool":
        common = "int8"
    return (common,) * function.arity, common


def _common(function: Function, operands: Sequence[Any]) -> str:
    common = dtypes.promote(*(e.dtype for e in operands))
    if common in dtypes.INTEGERS and function.kind != "divide":  # which is done in float64
        low, high = dtypes.limits(common)
        for e in operands:
            number = getattr(e, "value", None) if e.dtype == "int" else None
            if number is not None and not low <= number <= high:
                if function.kind == "compare":
                    return "int64" if -(2**63) <= number < 2**63 else "float64"
                raise DefinitionError(
                    f"the number {number} does not fit {common} in `{shown(function.name, operands)}`; convert the "
                    "tensor first: te.cast(x, 'int64')",
                )
    return common


def shown(name: str, operands: Sequence[Any]) -> str:
    """A function's application, for messages."""
    return f"{name}({', '.join(map(repr, operands))})"
