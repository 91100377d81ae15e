"""Derivatives of the elementwise functions.

A row gives, for each operand, the partial derivative as a function of the operands and of the result `y` (None: it is 0
wherever it exists). The rows are the forms that are best in floating point; the tests derive each of them again with
SymPy and compare.

Where a derivative does not exist:

- minimum, maximum: operands that are equal share the gradient equally; absolute: 0 at 0.
- floor, ceil, trunc, rint, sign, ``//`` and the sign operand of copysign: 0 everywhere.
- sqrt, log and the like at the edge of their domain: inf, as the limit says. hypot at (0, 0): 0.
- power: for a constant exponent n it is ``n * x**(n - 1)``; in the exponent it is 0 where the base is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tedsl.lang.expr import Apply, Cast, Const, Expr, apply
from tedsl.lang.integers.affine import TRUE

from .arithmetic import add, both, const, divide, mul, negative, select, subtract

Row = Callable[..., "tuple[Expr | None, ...]"]


def _call(name: str, *operands: Expr) -> Expr:
    return Apply(name, operands)


def _like(x: Expr, value: float) -> Expr:
    return const(value, x.dtype)


def _one(x: Expr) -> Expr:
    return _like(x, 1)


def _square(x: Expr) -> Expr:
    return mul(x, x)


def _reciprocal(x: Expr) -> Expr:
    return divide(_one(x), x)


def _chosen(better: str) -> Row:
    """minimum and maximum: all of it to the operand that is the result, half to each where they are equal."""

    def row(a: Expr, b: Expr, y: Expr) -> tuple[Expr, ...]:
        tie = select(apply("equal", a, b), _like(a, 0.5), _like(a, 0))
        return select(apply(better, a, b), _one(a), tie), select(apply(better, b, a), _one(a), tie)

    return row


def _power(x: Expr, n: Expr, y: Expr) -> tuple[Expr | None, ...]:
    number = _number(n)
    if number is not None:
        if number == 0:
            return None, None
        if number == 1:
            return _one(x), None
        lower = x if number == 2 else _call("power", x, _like(x, number - 1))
        return mul(_like(x, number), lower), None
    zero = apply("equal", x, _like(x, 0))
    base = mul(n, _call("power", x, subtract(n, _one(x))))
    base = select(apply("equal", n, _like(x, 0)), _like(x, 0), base)
    fixed = _number(x)
    if fixed is not None and fixed >= 0:
        return base, mul(y, _like(x, math.log(fixed))) if fixed else None
    return base, select(zero, _like(x, 0), mul(y, _call("log", x)))


def _number(e: Expr) -> float | None:
    """The number that an exponent is, if it is one."""
    while isinstance(e, Cast):
        e = e.operand
    return float(e.value) if isinstance(e, Const) else None


def _hypot(a: Expr, b: Expr, y: Expr) -> tuple[Expr, ...]:
    origin = apply("equal", y, _like(y, 0))
    return tuple(select(origin, _like(y, 0), divide(v, y)) for v in (a, b))


def _remainder(a: Expr, b: Expr, y: Expr) -> tuple[Expr, ...]:
    return _one(a), negative(_call("floor", divide(a, b)))


def _copysign(a: Expr, b: Expr, y: Expr) -> tuple[Expr | None, ...]:
    return mul(_call("copysign", _one(a), a), _call("copysign", _one(a), b)), None


def _root_of_one_minus(x: Expr) -> Expr:
    """``sqrt(1 - x**2)``, exact near 1."""
    return _call("sqrt", mul(subtract(_one(x), x), add(_one(x), x)))


TABLE: dict[str, Row] = {
    "add": lambda a, b, y: (_one(a), _one(a)),
    "subtract": lambda a, b, y: (_one(a), _like(a, -1)),
    "multiply": lambda a, b, y: (b, a),
    "divide": lambda a, b, y: (_reciprocal(b), negative(divide(y, b))),
    "power": _power,
    "floor_divide": lambda a, b, y: (None, None),
    "remainder": _remainder,
    "minimum": _chosen("less"),
    "maximum": _chosen("greater"),
    "machine_minimum": _chosen("less"),
    "machine_maximum": _chosen("greater"),
    "arctan2": lambda a, b, y: (
        divide(b, add(_square(a), _square(b))),
        negative(divide(a, add(_square(a), _square(b)))),
    ),
    "hypot": _hypot,
    "copysign": _copysign,
    "negative": lambda x, y: (_like(x, -1),),
    "absolute": lambda x, y: (_call("sign", x),),
    **{name: lambda x, y: (None,) for name in ("sign", "floor", "ceil", "trunc", "rint")},
    "exp": lambda x, y: (y,),
    "exp2": lambda x, y: (mul(_like(x, math.log(2)), y),),
    "expm1": lambda x, y: (add(y, _one(x)),),
    "log": lambda x, y: (_reciprocal(x),),
    "log2": lambda x, y: (divide(_like(x, 1 / math.log(2)), x),),
    "log10": lambda x, y: (divide(_like(x, 1 / math.log(10)), x),),
    "log1p": lambda x, y: (_reciprocal(add(x, _one(x))),),
    "sqrt": lambda x, y: (divide(_like(x, 0.5), y),),
    "rsqrt": lambda x, y: (divide(mul(_like(x, -0.5), y), x),),
    "sin": lambda x, y: (_call("cos", x),),
    "cos": lambda x, y: (negative(_call("sin", x)),),
    "tan": lambda x, y: (add(_one(x), _square(y)),),
    "arcsin": lambda x, y: (_reciprocal(_root_of_one_minus(x)),),
    "arccos": lambda x, y: (negative(_reciprocal(_root_of_one_minus(x))),),
    "arctan": lambda x, y: (_reciprocal(add(_one(x), _square(x))),),
    "sinh": lambda x, y: (_call("cosh", x),),
    "cosh": lambda x, y: (_call("sinh", x),),
    "tanh": lambda x, y: (subtract(_one(x), _square(y)),),
    "arcsinh": lambda x, y: (_reciprocal(_call("hypot", x, _one(x))),),
    "arccosh": lambda x, y: (_reciprocal(_call("sqrt", mul(subtract(x, _one(x)), add(x, _one(x))))),),
    "arctanh": lambda x, y: (_reciprocal(mul(subtract(_one(x), x), add(_one(x), x))),),
    "sigmoid": lambda x, y: (mul(y, subtract(_one(x), y)),),
    "erf": lambda x, y: (mul(_like(x, 2 / math.sqrt(math.pi)), _call("exp", negative(_square(x)))),),
}

# Results of these are worth reading back from where the forward pass has stored them.
REUSED = frozenset({
    "power", "divide", "hypot", "exp", "exp2", "expm1", "sqrt", "rsqrt", "tan", "tanh", "sigmoid",
})  # fmt: skip


def partials(node: Apply, result: Expr) -> tuple[Expr | None, ...] | None:
    """The partial derivatives of `node` in its operands, its value being `result`; None when nothing is known of the
    function.
    """
    row: Any = TABLE.get(node.function)
    return None if row is None else row(*node.operands, result)


def scaled(g: Expr, partial: Expr) -> Expr:
    """``g * partial``; a partial that depends on a case has `g` inside of it, so that what is not chosen cannot be 0
    times infinity.
    """
    if isinstance(partial, Apply) and partial.function == "where":
        condition, a, b = partial.operands
        return select(both([condition]) if condition is not TRUE else TRUE, scaled(g, a), scaled(g, b))
    return mul(g, partial)
