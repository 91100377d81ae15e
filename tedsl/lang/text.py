"""Expressions and definitions as text, in the index notation that `te.define` reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var
from .functions import FUNCTIONS

ATOM, UNARY = 100, 70  # precedences, as in the table of functions
Printed = tuple[str, int]  # a text and the precedence of its outermost operator


def display(name: str) -> str:
    """The user's name of an axis: placeholders made during resolution carry a suffix after a NUL."""
    return name.partition("\0")[0]


class Printer:
    """Expressions as text, with the brackets that precedence asks for; other notations are its subclasses."""

    comma = ", "

    def text(self, e: Expr) -> str:
        """The text of `e`."""
        return self.print(e)[0]

    def listed(self, exprs: Iterable[Expr]) -> str:
        """The texts of several, with commas."""
        return self.comma.join(map(self.text, exprs))

    def wrap(self, e: Expr, outer: int) -> str:
        """The text of `e` as an operand of an operator of precedence `outer`."""
        inner, precedence = self.print(e)
        return self.brackets(inner) if precedence < outer else inner

    def brackets(self, inner: str) -> str:
        return f"({inner})"

    def print(self, e: Expr) -> Printed:
        """The text of `e` and the precedence of its outermost operator."""
        if isinstance(e, Const):
            return self.number(e)
        if isinstance(e, (Axis, Var)):
            return self.symbol(display(e.name)), ATOM
        if isinstance(e, Access):
            return self.element(self.name(e.tensor), e.indices), ATOM
        if isinstance(e, Cast):
            return self.cast(e)
        if isinstance(e, Reduce):
            return self.reduction(e)
        if isinstance(e, Apply):
            return self.application(e)
        return object.__repr__(e), ATOM

    def name(self, tensor: Any) -> str:
        return str(tensor.name)

    def symbol(self, name: str) -> str:
        return name

    def number(self, e: Const) -> Printed:
        return repr(e.value), ATOM if e.value >= 0 or e.value != e.value else UNARY

    def element(self, name: str, indices: Sequence[Expr]) -> str:
        # that what is read from a tensor becomes an int64 in an index goes without saying
        return f"{name}[{self.listed(e.operand if isinstance(e, Cast) and e.dtype == 'int64' else e for e in indices)}]"

    def cast(self, e: Cast) -> Printed:
        if isinstance(e.operand, (Axis, Var)):
            return self.print(e.operand)
        return f"cast({self.text(e.operand)}, {e.dtype})", ATOM

    def reduction(self, e: Reduce) -> Printed:
        names = [display(axis.name) for axis in e.axes or ()]
        over = "" if e.axes is None else f", axis={names[0] if len(names) == 1 else '(' + ', '.join(names) + ')'}"
        where = "" if e.where is None else f", where={self.text(e.where)}"
        values = e.values[: e.reducer.arity]
        argument = self.text(values[0]) if len(values) == 1 else f"({self.listed(values)})"
        part = f"[{e.component}]" if e.reducer.arity > 1 else ""
        return f"{e.reducer.name}({argument}{over}{where}){part}", ATOM

    def application(self, e: Apply) -> Printed:
        function = FUNCTIONS[e.function]
        if function.symbol is None:
            return f"{e.function}({', '.join(map(self.text, e.operands))})", ATOM
        p = function.precedence
        if len(e.operands) == 1:
            return f"{function.symbol}{self.wrap(e.operands[0], p)}", p
        a, b = e.operands
        left, right = (p + 1, p) if function.symbol == "**" else (p, p + 1)
        if function.kind == "compare":
            left = right = p + 1
        if e.function == "add" and isinstance(b, Const) and b.dtype != "bool" and b.value < 0:
            return f"{self.wrap(a, p)} - {self.number(Const(-b.value, b.dtype))[0]}", p
        return f"{self.wrap(a, left)} {function.symbol} {self.wrap(b, right)}", p


_PLAIN = Printer()


def text(expr: Expr) -> str:
    """`expr` in index notation: ``sum(A[i, k] * B[j, k])``."""
    return _PLAIN.text(expr)


def definition(part: Any, tensors: Iterable[Any]) -> str:
    """One part of a definition of `tensors` on one line: ``C[i, j] = sum(A[i, k] * B[j, k], axis=k)``."""
    index = ", ".join(map(text, part.lhs))
    left = ", ".join(f"{t.name}[{index}]" for t in tensors)
    values = ", ".join(map(text, part.values))
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
