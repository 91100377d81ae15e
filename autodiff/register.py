"""`te.register_function`: elementwise functions of the user's, with their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tedsl.lang.arrays import elementwise
from tedsl.lang.errors import DefinitionError, GradientError
from tedsl.lang.expr import Access, Axis, Expr, Reduce, Var, as_expr, walk
from tedsl.lang.functions import FUNCTIONS, Function
from tedsl.lang.text import text
from tedsl.lang.typed import typed

from .derivatives import TABLE

PARAMETERS = ("x", "y", "z")


def register_function(
    name: str,
    c: str | None = None,
    numpy: Callable[..., Any] | None = None,
    derivative: Any = None,
    formula: Any = None,
    arity: int = 1,
) -> Callable[..., Any]:
    """Add an elementwise function of real numbers to the language; returns it. In `te.define` it goes by its name.

    c: its value as a C expression in x (y, z), which are of the type that the function works in. numpy: the same as a
    function of NumPy arrays, for te.evaluate. arity: the number of its operands, 1 to 3. Its derivative, if it is to
    have one:

    - derivative: a function of the operands that returns the partial derivative as an expression (a tuple of them for
      several operands, with None for one that is always 0), or
    - formula: the function itself as a SymPy expression in the symbols x (y, z); SymPy differentiates it, and where `c`
      or `numpy` is left out prints it in C and NumPy.

    For a function that is there already, `derivative` (or `formula`) alone gives it another derivative. Raises
    DefinitionError for a name that cannot be used, GradientError for a formula that cannot be translated.

    >>> import tedsl as te
    >>> softsign = te.register_function("softsign", c="x / (1 + fabs(x))", numpy=lambda x: x / (1 + abs(x)),
    ...                                 derivative=lambda x: 1 / (1 + te.abs(x)) ** 2)
    >>> A = te.tensor("A", (3,))
    >>> B = te.define("B[i] = softsign(A[i])", A=A)
    """
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        raise DefinitionError(f"te.register_function({name!r}): a function's name is an identifier")
    if name in FUNCTIONS and c is None and numpy is None and (derivative is not None or formula is not None):
        function = FUNCTIONS[name]
        TABLE[name] = _row(name, function.arity, derivative, formula)
        return _public(name)
    if name in FUNCTIONS and FUNCTIONS[name].c is None:
        raise DefinitionError(
            f"te.register_function('{name}'): {name} is one of tedsl's own functions; choose another name"
        )
    if not isinstance(arity, int) or arity not in (1, 2, 3):
        raise DefinitionError(f"te.register_function('{name}', arity={arity!r}): 1, 2 or 3 operands")
    row = _row(name, arity, derivative, formula) if derivative is not None or formula is not None else None
    if formula is not None:
        c = c or _printed(formula, "c", arity)
        numpy = numpy or _printed(formula, "numpy", arity)
    if not isinstance(c, str) or not c.strip() or not callable(numpy):
        raise DefinitionError(
            f"te.register_function('{name}') needs the function twice: c='…', a C expression in "
            f"{', '.join(PARAMETERS[:arity])}, and numpy=, a "
            "function of arrays (or formula=, a SymPy expression)"
        )  # fmt: skip
    FUNCTIONS[name] = Function(name, arity, "floating", c=c, numpy=numpy)
    TABLE.pop(name, None)
    if row is not None:
        TABLE[name] = row
    return _public(name)


def _public(name: str) -> Callable[..., Any]:
    def call(*operands: Any) -> Any:
        return elementwise(name, *operands)

    call.__name__ = call.__qualname__ = name
    return call


def _row(name: str, arity: int, derivative: Any, formula: Any) -> Callable[..., tuple[Expr | None, ...]]:
    """A row of the table of derivatives."""
    if derivative is None:
        from .symbolic import partial_derivatives

        derivative = partial_derivatives(formula, PARAMETERS[:arity])
    if not callable(derivative):
        raise GradientError(
            f"the derivative of {name} is {derivative!r}; it is a function of the operands that returns an expression",
        )

    def row(*operands: Expr) -> tuple[Expr | None, ...]:
        xs = operands[:-1]
        found = derivative(*xs)
        partials = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(partials) != arity:
            raise GradientError(f"the derivative of {name} returned {len(partials)} expressions for {arity} operands")
        return tuple(None if p is None else _partial(name, p, xs) for p in partials)

    return row


def _partial(name: str, value: Any, operands: tuple[Expr, ...]) -> Expr:
    """A partial derivative as the user's function gave it, typed. Raises GradientError when it is not made of the
    operands and numbers.
    """
    try:
        found = as_expr(value)
    except DefinitionError:
        found = None
    known = set(walk(*operands))
    if found is None or any(isinstance(n, (Access, Axis, Reduce, Var)) and n not in known for n in walk(found)):
        shown = repr(value) if found is None else f"`{text(found)}`"
        raise GradientError(
            f"the derivative of {name} returned {shown}; it is an expression of the operands and numbers"
        )
    return typed(found, operands[0].dtype)


def _printed(formula: Any, language: str, arity: int) -> Any:
    import sympy

    if not isinstance(formula, sympy.Expr):
        raise GradientError(f"formula={formula!r} is no SymPy expression")
    symbols = sympy.symbols(PARAMETERS[:arity], real=True)
    formula = formula.subs({sympy.Symbol(s.name): s for s in symbols})
    if language == "c":
        return sympy.ccode(formula)
    return sympy.lambdify(symbols, formula, "numpy")
