"""Definitions as mathematics: `te.show`, in text and in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, apply, walk
from .functions import FUNCTIONS
from .integers.conditions import conjuncts
from .program import Stage
from .scatter import ScatterPart
from .structures import flatten
from .tensor import Definition, Part, Tensor
from .text import display, unused

ATOM, POWER, UNARY, PRODUCT, SUMMATION, SUM = 100, 80, 70, 60, 55, 50


def show(outputs: Any, latex: bool = False) -> str:
    """The definitions of `outputs` (a tensor, or a list or tuple of them) and of all they need, one equation a line, in
    an order in which they can be computed.

    Sums are written ``sum_j``, or ``sum_{r,s | condition}``; inputs have no line. latex: as LaTeX, one equation a line.
    The same text in every run.

    >>> import tedsl as te
    >>> print(te.show(te.define("C[i,j] = sum(A[i,k] * B[j,k])", A=(2, 3), B=(4, 3))))
    C[i,j] = sum_k A[i,k] * B[j,k]
    """
    tensors = _defined(flatten(outputs, "te.show"))
    printer = (_Latex if latex else _Text)(_unique(tensors))
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


def _defined(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Everything that is defined and needed, and the inputs; what is needed first, first."""
    order: dict[Tensor, None] = {}
    seen: set[Tensor] = set()
    stack = [(t, False) for t in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        if ready:
            order[tensor] = None
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            reads = [n.tensor for p in tensor.parts for n in walk(*p.expressions) if isinstance(n, Access)]
            stack += [(t, False) for t in reversed(list(dict.fromkeys(reads)))]
    return list(order)


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


def _number(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return repr(value)


class _Text:
    """Expressions as text. Every method gives the text and the precedence of its outermost operator."""

    comma = ","
    times = " * "

    def __init__(self, names: dict[Tensor, str]) -> None:
        self.names = names

    def name(self, tensor: Tensor) -> str:
        return self.names.get(tensor, tensor.name)

    def equation(self, part: Part, tensors: Sequence[Tensor]) -> str:
        left = ", ".join(self.element(self.name(t), part.lhs) for t in tensors)
        right = ", ".join(self.text(v) for v in part.values)
        if isinstance(part, ScatterPart):
            conditions = _conditions(part.domain, part.where)
            where = self.given(conditions) if conditions else ""
            return f"{left} {self.plus_equals()} {right}  {self.over(part.domain)}{where}"
        return f"{left} = {right}"

    def plus_equals(self) -> str:
        return "+="

    def over(self, domain: Sequence[Axis]) -> str:
        return f"over {', '.join(display(a.name) for a in domain)}"

    def given(self, conditions: Sequence[Expr]) -> str:
        return f" where {', '.join(map(self.text, conditions))}"

    def element(self, name: str, indices: Sequence[Expr]) -> str:
        return f"{name}[{','.join(map(self.text, indices))}]"

    def text(self, e: Expr) -> str:
        return self.visit(e)[0]

    def wrap(self, e: Expr, outer: int) -> str:
        inner, precedence = self.visit(e)
        return self.brackets(inner) if precedence < outer else inner

    def brackets(self, inner: str) -> str:
        return f"({inner})"

    def visit(self, e: Expr) -> tuple[str, int]:
        if isinstance(e, Const):
            return self.const(e)
        if isinstance(e, (Axis, Var)):
            return display(e.name), ATOM
        if isinstance(e, Access):
            return self.element(self.name(e.tensor), e.indices), ATOM
        if isinstance(e, Cast):
            inner, precedence = self.visit(e.operand)
            if isinstance(e.operand, (Axis, Var)) or e.dtype in ("float16", "float32", "float64"):
                return inner, precedence
            return f"cast({inner}, {e.dtype})", ATOM
        if isinstance(e, Reduce):
            return self.reduction(e)
        if isinstance(e, Apply):
            return self.apply(e)
        return repr(e), ATOM

    def const(self, e: Const) -> tuple[str, int]:
        return _number(e.value), ATOM if e.value >= 0 or e.value != e.value else UNARY

    def reduction(self, e: Reduce) -> tuple[str, int]:
        axes = [display(a.name) for a in e.axes or ()]
        conditions = ", ".join(map(self.text, _conditions(e.axes or (), e.where)))
        below = axes[0] if len(axes) == 1 and not conditions else "{" + ",".join(axes) + "}"
        if conditions:
            below = f"{below[:-1]} | {conditions}}}"
        values = e.values[: e.reducer.arity]
        body = self.wrap(values[0], SUMMATION + 1) if len(values) == 1 else f"({', '.join(map(self.text, values))})"
        name = e.reducer.name.removeprefix("machine_")
        part = f"[{e.component}]" if e.reducer.arity > 1 else ""
        return f"{name}{part}_{below} {body}", SUMMATION

    def apply(self, e: Apply) -> tuple[str, int]:
        function = FUNCTIONS[e.function]
        if function.symbol is None:
            return f"{e.function}({', '.join(map(self.text, e.operands))})", ATOM
        p = function.precedence
        if e.function == "negative":
            inner, precedence = self.visit(e.operands[0])
            return (
                (f"-{inner}", min(precedence, UNARY)) if precedence >= PRODUCT else (f"-{self.brackets(inner)}", UNARY)
            )
        if len(e.operands) == 1:
            return f"{function.symbol}{self.wrap(e.operands[0], p)}", p
        a, b = e.operands
        left, right = (p + 1, p) if function.symbol == "**" else (p, p + 1)
        if function.kind == "compare":
            left = right = p + 1
        if p == PRODUCT and e.function != "multiply":
            left, right = p, p + 1
        return f"{self.wrap(a, left)} {function.symbol} {self.wrap(b, right)}", p


_LATEX_FUNCTIONS = {
    **{n: rf"\{n}" for n in ("exp", "log", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh")},
    "minimum": r"\min", "maximum": r"\max", "sigmoid": r"\sigma", "erf": r"\operatorname{erf}", "sign": r"\operatorname{sgn}",
}  # fmt: skip
_LATEX_CHARACTERS = {
    **{c: rf"\{c}" for c in "_%&#${}"}, "\\": r"\backslash ", "^": r"\hat{\ }", "~": r"\sim ",
}  # fmt: skip
_LATEX_SYMBOLS = {
    "less": "<", "less_equal": r"\le", "greater": ">", "greater_equal": r"\ge", "equal": "=", "not_equal": r"\ne", "bitwise_and": r"\wedge",
    "bitwise_or": r"\vee", "bitwise_xor": r"\oplus", "add": "+", "subtract": "-", "remainder": r"\bmod", "left_shift": r"\ll", "right_shift": r"\gg",
}  # fmt: skip
_LATEX_REDUCERS = {
    "sum": r"\sum",
    "prod": r"\prod",
    "max": r"\max",
    "min": r"\min",
    "any": r"\bigvee",
    "all": r"\bigwedge",
}


class _Latex(_Text):
    """Expressions as LaTeX."""

    def name(self, tensor: Tensor) -> str:
        return self.symbol(super().name(tensor))

    def symbol(self, name: str) -> str:
        if len(name) == 1:
            return name
        shown = "".join(_LATEX_CHARACTERS.get(c, c) for c in name)
        if len(name) == 2 and name[0] == "d":
            return rf"\mathrm{{d}}{name[1]}"
        return rf"\mathrm{{{shown}}}"

    def element(self, name: str, indices: Sequence[Expr]) -> str:
        return f"{name}_{{{','.join(map(self.text, indices))}}}" if indices else name

    def plus_equals(self) -> str:
        return r"\mathrel{+}="

    def over(self, domain: Sequence[Axis]) -> str:
        return rf"\quad \forall\, {', '.join(self.symbol(display(a.name)) for a in domain)}"

    def given(self, conditions: Sequence[Expr]) -> str:
        return rf" : {', '.join(map(self.text, conditions))}"

    def brackets(self, inner: str) -> str:
        return rf"\left({inner}\right)"

    def visit(self, e: Expr) -> tuple[str, int]:
        if isinstance(e, (Axis, Var)):
            return self.symbol(display(e.name)), ATOM
        return super().visit(e)

    def const(self, e: Const) -> tuple[str, int]:
        value = e.value
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            return (r"\infty", ATOM) if value > 0 else (r"-\infty", UNARY)
        shown, precedence = super().const(e)
        if "e" in shown:
            mantissa, _, exponent = shown.partition("e")
            return rf"{mantissa} \cdot 10^{{{int(exponent)}}}", PRODUCT
        return shown, precedence

    def reduction(self, e: Reduce) -> tuple[str, int]:
        below = ",".join(self.symbol(display(a.name)) for a in e.axes or ())
        conditions = _conditions(e.axes or (), e.where)
        if conditions:
            lines = r" \\ ".join([below, *map(self.text, conditions)])
            below = rf"\substack{{{lines}}}"
        values = e.values[: e.reducer.arity]
        body = (
            self.wrap(values[0], SUMMATION + 1)
            if len(values) == 1
            else self.brackets(", ".join(map(self.text, values)))
        )
        plain = e.reducer.name.removeprefix("machine_")
        operator = _LATEX_REDUCERS.get(plain, rf"\operatorname*{{{self.symbol(plain)}}}")
        return rf"{operator}_{{{below}}} {body}", SUMMATION

    def apply(self, e: Apply) -> tuple[str, int]:
        name, ops = e.function, e.operands
        if name == "divide":
            return rf"\frac{{{self.text(ops[0])}}}{{{self.text(ops[1])}}}", PRODUCT
        if name == "floor_divide":
            return rf"\left\lfloor \frac{{{self.text(ops[0])}}}{{{self.text(ops[1])}}} \right\rfloor", ATOM
        if name == "multiply":
            between = r" \cdot " if isinstance(ops[1], Const) else r" \, "
            return self.wrap(ops[0], PRODUCT) + between + self.wrap(ops[1], PRODUCT + 1), PRODUCT
        if name == "power":
            return rf"{self.wrap(ops[0], POWER + 1)}^{{{self.text(ops[1])}}}", POWER
        if name == "sqrt":
            return rf"\sqrt{{{self.text(ops[0])}}}", ATOM
        if name == "rsqrt":
            return rf"\frac{{1}}{{\sqrt{{{self.text(ops[0])}}}}}", PRODUCT
        if name == "absolute":
            return rf"\left|{self.text(ops[0])}\right|", ATOM
        if name == "floor":
            return rf"\left\lfloor {self.text(ops[0])} \right\rfloor", ATOM
        if name == "where":
            c, a, b = map(self.text, ops)
            return rf"\begin{{cases}} {a} & {c} \\ {b} & \text{{otherwise}} \end{{cases}}", ATOM
        if name == "negative":
            inner, precedence = self.visit(ops[0])
            return (
                (f"-{inner}", min(precedence, UNARY)) if precedence >= PRODUCT else (f"-{self.brackets(inner)}", UNARY)
            )
        if name == "invert":
            return r"\neg " + self.wrap(ops[0], UNARY), UNARY
        if name in _LATEX_SYMBOLS:
            p = FUNCTIONS[name].precedence
            both = FUNCTIONS[name].kind == "compare"
            return f"{self.wrap(ops[0], p + both)} {_LATEX_SYMBOLS[name]} {self.wrap(ops[1], p + 1)}", p
        operator = _LATEX_FUNCTIONS.get(name, rf"\operatorname{{{self.symbol(name)}}}")
        return rf"{operator}\left({', '.join(map(self.text, ops))}\right)", ATOM
