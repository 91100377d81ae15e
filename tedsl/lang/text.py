"""Expressions and definitions as text, in the index notation that `te.define` reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var
from .functions import FUNCTIONS

ATOM = 100


def display(name: str) -> str:
    """The user's name of an axis: placeholders made during resolution carry a suffix after a NUL."""
    return name.partition("\0")[0]


def number(value: bool | int | float) -> str:
    return repr(value)


def text(expr: Expr) -> str:
    """`expr` in index notation: ``sum(A[i, k] * B[j, k])``."""
    return _text(expr)[0]


def _wrap(expr: Expr, outer: int) -> str:
    inner, precedence = _text(expr)
    return f"({inner})" if precedence < outer else inner


def _index(expr: Expr) -> str:
    """An index; that what is read from a tensor becomes an int64 goes without saying."""
    return text(expr.operand if isinstance(expr, Cast) and expr.dtype == "int64" else expr)


def _text(expr: Expr) -> tuple[str, int]:
    """The text of `expr` and the precedence of its outermost operator."""
    if isinstance(expr, Const):
        return number(expr.value), ATOM if expr.value >= 0 or expr.value != expr.value else 70
    if isinstance(expr, Axis):
        return display(expr.name), ATOM
    if isinstance(expr, Var):
        return expr.name, ATOM
    if isinstance(expr, Access):
        return f"{expr.tensor.name}[{', '.join(map(_index, expr.indices))}]", ATOM
    if isinstance(expr, Cast):
        if isinstance(expr.operand, (Axis, Var)):
            return text(expr.operand), ATOM
        return f"cast({text(expr.operand)}, {expr.dtype})", ATOM
    if isinstance(expr, Reduce):
        over = "" if expr.axes is None else f", axis={_axes(expr.axes)}"
        where = "" if expr.where is None else f", where={text(expr.where)}"
        values = expr.values[: expr.reducer.arity]
        argument = text(values[0]) if len(values) == 1 else f"({', '.join(map(text, values))})"
        part = f"[{expr.component}]" if expr.reducer.arity > 1 else ""
        return f"{expr.reducer.name}({argument}{over}{where}){part}", ATOM
    if isinstance(expr, Apply):
        function = FUNCTIONS[expr.function]
        if function.symbol is None:
            return f"{expr.function}({', '.join(map(text, expr.operands))})", ATOM
        p = function.precedence
        if len(expr.operands) == 1:
            return f"{function.symbol}{_wrap(expr.operands[0], p)}", p
        a, b = expr.operands
        left, right = (p + 1, p) if function.symbol == "**" else (p, p + 1)
        if function.kind == "compare":
            left = right = p + 1
        if expr.function == "add" and isinstance(b, Const) and b.dtype != "bool" and b.value < 0:
            return f"{_wrap(a, p)} - {number(-b.value)}", p
        return f"{_wrap(a, left)} {function.symbol} {_wrap(b, right)}", p
    return object.__repr__(expr), ATOM


def _axes(axes: tuple[Axis, ...]) -> str:
    names = [display(axis.name) for axis in axes]
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def definition(part: Any, tensors: Iterable[Any]) -> str:
    """One part of a definition of `tensors` on one line: ``C[i, j] = sum(A[i, k] * B[j, k], axis=k)``."""
    index = ", ".join(text(e) for e in part.lhs)
    left = ", ".join(f"{t.name}[{index}]" for t in tensors)
    values = ", ".join(text(v) for v in part.values)
    if part.accumulates:
        where = "" if part.where is None else f" where {text(part.where)}"
        return f"{left} += {values}  over {', '.join(display(a.name) for a in part.domain)}{where}"
    return f"{left} = {values}"


def unused(name: str, taken: Iterable[str]) -> str:
    """`name`, with a number behind it where it is taken."""
    names = set(taken)
    result, serial = name, 0
    while result in names:
        serial += 1
        result = f"{name}_{serial}"
    return result
