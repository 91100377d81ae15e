"""Definitions as mathematics: `te.show`, in text and in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .expr import Apply, Axis, Cast, Const, Expr, Reduce, apply
from .functions import FUNCTIONS
from .integers.conditions import conjuncts
from .program import Stage, needed
from .scatter import ScatterPart
from .structures import flatten
from .tensor import Definition, Part, Tensor
from .text import ATOM, UNARY, Printed, Printer, display, unused

POWER, PRODUCT, SUMMATION = 80, 60, 55  # precedences


def show(outputs: Any, latex: bool = False) -> str:
    """The definitions of `outputs` (a tensor, or a list or tuple of them) and of all they need, one equation a line, in
    an order in which they can be computed.

    Sums are written ``sum_j``, or ``sum_{r,s | condition}``; inputs have no line. latex: as LaTeX, one equation a line.
    The same text in every run.

    >>> import tedsl as te
    >>> print(te.show(te.define("C[i,j] = sum(A[i,k] * B[j,k])", A=(2, 3), B=(4, 3))))
    C[i,j] = sum_k A[i,k] * B[j,k]
    """
    tensors = needed(flatten(outputs, "te.show"))
    printer = (_Latex if latex else _Mathematics)(_unique(tensors))
    lines = []
    done: set[Any] = set()
    for tensor in tensors:
        if tensor.definition is not None and tensor.definition not in done:
            done.add(tensor.definition)
            lines += [printer.equation(part, tensor.definition.tensors) for part in _parts(tensor.definition, tensors)]
    if not lines:
        lines = [printer.name(t) for t in flatten(outputs, "te.show")]
    return "\n".join(lines)


def _parts(definition: Definition, shown: Sequence[Tensor]) -> tuple[Part, ...]:
    """The equations of a definition; in terms of the reductions in it where these are shown on their own, since a
    gradient reads them.
    """
    stages: tuple[Stage, ...] = definition.lifted or ()
    hidden = {t for stage in stages[:-1] for t in stage.tensors}
    if hidden and hidden <= set(shown):
        return stages[-1].parts
    return definition.parts


def _unique(tensors: Sequence[Tensor]) -> dict[Tensor, str]:
    names: dict[Tensor, str] = {}
    for tensor in tensors:
        names[tensor] = unused(tensor.name, names.values())
    return names


def _conditions(axes: Sequence[Axis], where: Expr | None) -> list[Expr]:
    """What is said of the axes of a sum: where they begin, unless at 0 (where they end, the shapes say), and the
    conditions on them.
    """
    begin = [apply("greater_equal", a, a.lo) for a in axes if not (isinstance(a.lo, int) and a.lo == 0)]
    return begin + ([] if where is None else conjuncts(where))


class _Mathematics(Printer):
    """Expressions as a mathematician writes them: sums with what they run over below, conversions of reals unsaid."""

    comma = ","
    plus_equals = "+="

    def __init__(self, names: dict[Tensor, str]) -> None:
        self.names = names

    def name(self, tensor: Tensor) -> str:
        return self.symbol(self.names.get(tensor, tensor.name))

    def equation(self, part: Part, tensors: Sequence[Tensor]) -> str:
        left = ", ".join(self.element(self.name(t), part.lhs) for t in tensors)
        right = ", ".join(map(self.text, part.values))
        if isinstance(part, ScatterPart):
            conditions = ", ".join(map(self.text, _conditions(part.domain, part.where)))
            over = ", ".join(self.symbol(display(a.name)) for a in part.domain)
            return self.scatter(f"{left} {self.plus_equals} {right}", over, conditions)
        return f"{left} = {right}"

    def scatter(self, sides: str, over: str, conditions: str) -> str:
        return f"{sides}  over {over}{' where ' + conditions if conditions else ''}"

    def number(self, e: Const) -> Printed:
        value, (shown, precedence) = e.value, super().number(e)
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
            shown = str(int(value))
        return shown, precedence

    def element(self, name: str, indices: Sequence[Expr]) -> str:
        return f"{name}[{self.listed(indices)}]"

    def cast(self, e: Cast) -> Printed:
        return self.print(e.operand) if e.dtype in ("float16", "float32", "float64") else super().cast(e)

    def reduction(self, e: Reduce) -> Printed:
        axes = [display(a.name) for a in e.axes or ()]
        conditions = ", ".join(map(self.text, _conditions(e.axes or (), e.where)))
        below = axes[0] if len(axes) == 1 and not conditions else "{" + ",".join(axes) + "}"
        if conditions:
            below = f"{below[:-1]} | {conditions}}}"
        name = e.reducer.name.removeprefix("machine_")
        part = f"[{e.component}]" if e.reducer.arity > 1 else ""
        return f"{name}{part}_{below} {self.body(e)}", SUMMATION

    def body(self, e: Reduce) -> str:
        """What is combined."""
        values = e.values[: e.reducer.arity]
        if len(values) == 1:
            return self.wrap(values[0], SUMMATION + 1)
        return self.brackets(", ".join(map(self.text, values)))

    def application(self, e: Apply) -> Printed:
        if e.function == "negative":
            inner, precedence = self.print(e.operands[0])
            return (
                (f"-{inner}", min(precedence, UNARY)) if precedence >= PRODUCT else (f"-{self.brackets(inner)}", UNARY)
            )
        if e.function == "add":
            p = FUNCTIONS["add"].precedence
            return f"{self.wrap(e.operands[0], p)} + {self.wrap(e.operands[1], p + 1)}", p
        return super().application(e)


_CHARACTERS = {**{c: rf"\{c}" for c in "_%&#${}"}, "\\": r"\backslash ", "^": r"\hat{\ }", "~": r"\sim "}
_REDUCERS = {"sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min", "any": r"\bigvee", "all": r"\bigwedge"}


class _Latex(_Mathematics):
    """Expressions as LaTeX."""

    plus_equals = r"\mathrel{+}="

    def symbol(self, name: str) -> str:
        if len(name) == 1:
            return name
        if len(name) == 2 and name[0] == "d":
            return rf"\mathrm{{d}}{name[1]}"
        return rf"\mathrm{{{''.join(_CHARACTERS.get(c, c) for c in name)}}}"

    def element(self, name: str, indices: Sequence[Expr]) -> str:
        return f"{name}_{{{self.listed(indices)}}}" if indices else name

    def scatter(self, sides: str, over: str, conditions: str) -> str:
        return rf"{sides}  \quad \forall\, {over}{' : ' + conditions if conditions else ''}"

    def brackets(self, inner: str) -> str:
        return rf"\left({inner}\right)"

    def number(self, e: Const) -> Printed:
        value = e.value
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            return (r"\infty", ATOM) if value > 0 else (r"-\infty", UNARY)
        shown, precedence = super().number(e)
        if "e" in shown:
            mantissa, _, exponent = shown.partition("e")
            return rf"{mantissa} \cdot 10^{{{int(exponent)}}}", PRODUCT
        return shown, precedence

    def reduction(self, e: Reduce) -> Printed:
        below = ",".join(self.symbol(display(a.name)) for a in e.axes or ())
        conditions = _conditions(e.axes or (), e.where)
        if conditions:
            lines = r" \\ ".join([below, *map(self.text, conditions)])
            below = rf"\substack{{{lines}}}"
        plain = e.reducer.name.removeprefix("machine_")
        operator = _REDUCERS.get(plain, rf"\operatorname*{{{self.symbol(plain)}}}")
        return rf"{operator}_{{{below}}} {self.body(e)}", SUMMATION

    def application(self, e: Apply) -> Printed:
        name, ops, function = e.function, e.operands, FUNCTIONS[e.function]
        if name == "negative":
            return super().application(e)
        if name == "multiply":
            between = r" \cdot " if isinstance(ops[1], Const) else r" \, "
            return self.wrap(ops[0], PRODUCT) + between + self.wrap(ops[1], PRODUCT + 1), PRODUCT
        if name == "power":
            return rf"{self.wrap(ops[0], POWER + 1)}^{{{self.text(ops[1])}}}", POWER
        if name == "where":
            c, a, b = map(self.text, ops)
            return rf"\begin{{cases}} {a} & {c} \\ {b} & \text{{otherwise}} \end{{cases}}", ATOM
        if name == "invert":
            return r"\neg " + self.wrap(ops[0], UNARY), UNARY
        if function.latex and "%s" in function.latex:
            shown = function.latex % tuple(map(self.text, ops))
            return shown, PRODUCT if shown.startswith(r"\frac") else ATOM
        if function.symbol:
            p, both = function.precedence, function.kind == "compare"
            return f"{self.wrap(ops[0], p + both)} {function.latex} {self.wrap(ops[1], p + 1)}", p
        operator = function.latex or rf"\operatorname{{{self.symbol(name)}}}"
        return rf"{operator}\left({', '.join(map(self.text, ops))}\right)", ATOM
