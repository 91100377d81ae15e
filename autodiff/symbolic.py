"""Between SymPy's expressions and ours: derivatives of the user's formulas, and what the tests check the table of
derivatives with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tedsl.lang.errors import GradientError
from tedsl.lang.expr import Apply, Cast, Const, Expr, apply

_FROM_SYMPY = {name: name for name in "exp log sin cos tan sinh cosh tanh erf sign floor".split()} | {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "atan2": "arctan2", "Abs": "absolute", "ceiling": "ceil",
}  # fmt: skip
_RELATIONS = {
    "StrictLessThan": "less", "LessThan": "less_equal", "StrictGreaterThan": "greater", "GreaterThan": "greater_equal",
    "Equality": "equal", "Unequality": "not_equal",
}  # fmt: skip


def partial_derivatives(formula: Any, names: Sequence[str]) -> Callable[..., tuple[Expr | None, ...]]:
    """The partial derivatives of a SymPy expression in the symbols `names`, as a function of our expressions."""
    import sympy

    if not isinstance(formula, sympy.Expr):
        raise GradientError(f"formula={formula!r} is no SymPy expression")
    symbols = [sympy.Symbol(n, real=True) for n in names]
    formula = formula.subs({sympy.Symbol(n): s for n, s in zip(names, symbols)})
    unknown = formula.free_symbols - set(symbols)
    if unknown:
        raise GradientError(
            f"formula={formula} has the symbols {', '.join(map(str, unknown))} beside {', '.join(names)}"
        )
    found = [sympy.simplify(sympy.diff(formula, s)) for s in symbols]

    def partials(*operands: Expr) -> tuple[Expr | None, ...]:
        values = dict(zip(symbols, operands))
        return tuple(None if f == 0 else from_sympy(f, values) for f in found)

    return partials


def from_sympy(e: Any, values: dict[Any, Expr]) -> Any:
    """A SymPy expression as one of ours, its symbols replaced. Raises GradientError for a function that we do not
    have.
    """
    import sympy

    if e in values:
        return values[e]
    if e.is_Number or e.is_NumberSymbol:
        return float(e)
    arguments = [from_sympy(a, values) for a in e.args] if not isinstance(e, sympy.Piecewise) else []
    if e.is_Add or e.is_Mul:
        total = arguments[0]
        for a in arguments[1:]:
            total = total + a if e.is_Add else total * a
        return total
    if e.is_Pow:
        base, exponent = arguments
        if exponent == -1.0:
            return 1.0 / base
        return apply("sqrt", base) if exponent == 0.5 else apply("power", base, exponent)
    if isinstance(e, sympy.Piecewise):
        result: Any = None
        for value, condition in reversed(e.args):
            value = from_sympy(value, values)
            result = (
                value
                if result is None or condition is sympy.true
                else apply("where", from_sympy(condition, values), value, result)
            )
        return result
    name = type(e).__name__
    if name == "Heaviside":
        (x,) = arguments[:1]
        return apply("where", x > 0, 1.0, apply("where", apply("equal", x, 0), 0.5, 0.0))
    if name in _RELATIONS:
        return apply(_RELATIONS[name], *arguments)
    if name in ("Max", "Min"):
        total = arguments[0]
        for a in arguments[1:]:
            total = apply("maximum" if name == "Max" else "minimum", total, a)
        return total
    if name not in _FROM_SYMPY:
        raise GradientError(
            f"SymPy's derivative contains {e}, and tedsl has no function {name}: give derivative=, a function of the "
            "operands",
        )
    return apply(_FROM_SYMPY[name], *arguments)


def to_sympy(e: Expr, symbols: dict[Expr, Any]) -> Any:
    """One of our expressions as SymPy's, its leaves replaced by symbols."""
    import sympy

    if e in symbols:
        return symbols[e]
    if isinstance(e, Const):
        return sympy.nsimplify(
            e.value,
            [sympy.log(2), sympy.log(10), sympy.pi, 1 / sympy.log(2), 1 / sympy.log(10), 2 / sympy.sqrt(sympy.pi)],
            tolerance=1e-14,
        )
    if isinstance(e, Cast):
        return to_sympy(e.operand, symbols)
    assert isinstance(e, Apply), e
    a = [to_sympy(o, symbols) for o in e.operands]
    operators: dict[str, Callable[..., Any]] = {
        "add": lambda p, q: p + q, "subtract": lambda p, q: p - q, "multiply": lambda p, q: p * q,
        "divide": lambda p, q: p / q, "negative": lambda p: -p, "power": lambda p, q: p**q,
        "remainder": lambda p, q: p - q * sympy.floor(p / q), "minimum": sympy.Min, "maximum": sympy.Max,
        "sqrt": sympy.sqrt, "rsqrt": lambda p: 1 / sympy.sqrt(p), "hypot": lambda p, q: sympy.sqrt(p**2 + q**2),
        "exp2": lambda p: 2**p, "expm1": lambda p: sympy.exp(p) - 1, "sigmoid": lambda p: 1 / (1 + sympy.exp(-p)),
        "log1p": lambda p: sympy.log(1 + p), "log2": lambda p: sympy.log(p) / sympy.log(2),
        "log10": lambda p: sympy.log(p) / sympy.log(10), "copysign": lambda p, q: abs(p) * sympy.sign(q),
        "where": lambda c, p, q: sympy.Piecewise((p, c), (q, True)),
        **{ours: getattr(sympy, theirs) for table in (_RELATIONS, _FROM_SYMPY) for theirs, ours in table.items()},
    }  # fmt: skip
    return operators[e.function](*a)
