"""The chain rule inside one expression: adjoints from a value down to what it reads, tangents from what it reads up to
the value.

Stages are free of nested reductions (see `tedsl.lang.program`), so an expression here holds only elementwise functions,
casts and accesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from tedsl.lang import dtypes
from tedsl.lang.errors import GradientError, Location
from tedsl.lang.expr import Access, Apply, Cast, Expr, walk
from tedsl.lang.integers import negated
from tedsl.lang.tensor import Tensor
from tedsl.lang.text import text

from .arithmetic import add, const, convert, is_zero, select
from .derivatives import partials, scaled

Interesting = Callable[[Tensor], bool]
Guards = tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """An access and its adjoint, which counts where all of `guards` hold."""

    access: Access
    guards: Guards
    adjoint: Expr


def differentiable(node: Expr) -> bool:
    """Whether a value of this type has derivatives: real numbers do."""
    return dtypes.is_float(node.dtype)


def active_nodes(root: Expr, interesting: Interesting) -> set[Expr]:
    """The nodes below `root` through which it depends, as a real function, on an interesting tensor."""
    found: set[Expr] = set()
    for node in walk(root):
        if not differentiable(node):
            continue
        if isinstance(node, Access):
            if interesting(node.tensor):
                found.add(node)
        elif any(child in found for child in node.children):
            found.add(node)
    return found


def _partials(node: Apply, result: Expr, location: Location | None) -> tuple[Expr | None, ...]:
    found = partials(node, result)
    if found is None:
        raise GradientError(
            f"the derivative of {node.function} is not known, so `{text(node)}` cannot be differentiated; "
            f"te.register_function('{node.function}', derivative=…) gives it one, te.stop_gradient leaves it "
            "out", location
        )  # fmt: skip
    return found


def pull(
    value: Expr, adjoint: Expr, interesting: Interesting, reuse: Mapping[Expr, Expr], location: Location | None
) -> list[Reading]:
    """The adjoints of everything that `value` reads, given that of `value`: one for each access and set of conditions
    that lead to it.

    `reuse`: results that need not be computed again. Raises GradientError for a function without a derivative.
    """
    active = active_nodes(value, interesting)
    if value not in active or is_zero(adjoint):
        return []
    adjoints: dict[Expr, dict[Guards, Expr]] = {value: {(): adjoint}}
    found: list[Reading] = []

    def pass_on(node: Expr, guards: Guards, g: Expr) -> None:
        if node in active and not is_zero(g):
            entry = adjoints.setdefault(node, {})
            g = convert(g, node.dtype)
            entry[guards] = add(entry[guards], g) if guards in entry else g

    for node in reversed(list(walk(value))):
        for guards, g in adjoints.pop(node, {}).items():
            if isinstance(node, Access):
                found.append(Reading(node, guards, g))
            elif isinstance(node, Cast):
                pass_on(node.operand, guards, g)
            elif isinstance(node, Apply) and node.function == "where":
                condition, a, b = node.operands
                pass_on(a, (*guards, condition), g)
                pass_on(b, (*guards, negated(condition)), g)
            elif isinstance(node, Apply):
                result = reuse.get(node, node)
                for n, partial in enumerate(_partials(node, result, location)):
                    operand = node.operands[n]
                    if n == 0 and result is not node and _is_exponential_quotient(node):
                        # d(exp(x)/s) = exp(x)/s dx, which is there already (softmax)
                        pass_on(cast(Apply, operand).operands[0], guards, scaled(g, result))
                    elif partial is not None:
                        pass_on(operand, guards, scaled(g, partial))
    return found[::-1]  # in reading order


def _is_exponential_quotient(node: Apply) -> bool:
    over = node.operands[0]
    return node.function == "divide" and isinstance(over, Apply) and over.function == "exp"


def push(
    value: Expr, tangent: Callable[[Access], Expr | None], interesting: Interesting, reuse: Mapping[Expr, Expr],
    location: Location | None,
) -> Expr:  # fmt: skip
    """The tangent of `value`, given those of what it reads (None: none). Raises GradientError for a function without a
    derivative.
    """
    active = active_nodes(value, interesting)
    tangents: dict[Expr, Expr] = {}

    def of(node: Expr) -> Expr:
        return tangents.get(node, const(0, node.dtype))

    for node in walk(value):
        if node not in active:
            continue
        if isinstance(node, Access):
            found = tangent(node)
            tangents[node] = const(0, node.dtype) if found is None else convert(found, node.dtype)
        elif isinstance(node, Cast):
            tangents[node] = convert(of(node.operand), node.dtype)
        elif isinstance(node, Apply) and node.function == "where":
            condition, a, b = node.operands
            tangents[node] = select(condition, of(a), of(b))
        elif isinstance(node, Apply):
            total = const(0, node.dtype)
            if any(not is_zero(of(o)) for o in node.operands):
                for operand, partial in zip(node.operands, _partials(node, reuse.get(node, node), location)):
                    if partial is not None:
                        total = add(total, scaled(of(operand), partial))
            tangents[node] = total
    return of(value)


def depends(values: Sequence[Expr], interesting: Interesting) -> bool:
    """Whether any of `values` depends on an interesting tensor as a real function."""
    return any(value in active_nodes(value, interesting) for value in values)
