"""Gradients that the user gives: `te.stop_gradient` and `te.custom_gradient`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tedsl.lang.errors import GradientError, here
from tedsl.lang.expr import Access, Axis, Expr, rewrite
from tedsl.lang.tensor import Tensor

from .gather import make


class Stop:
    """The gradient of a tensor through which none flows."""


STOP = Stop()


class Rule:
    """The adjoints of `inputs` from those of `outputs`, by a function of the user's."""

    def __init__(
        self, name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], backward: Callable[..., Any]
    ) -> None:
        self.name, self.inputs, self.outputs, self.backward = name, inputs, outputs, backward

    def __call__(self, adjoints: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Apply the rule. Raises GradientError when it returns something else than an adjoint for each input."""
        found = self.backward(*adjoints)
        results = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(results) != len(self.inputs):
            raise GradientError(
                f"the gradient of {self.name} returned {len(results)} adjoint{'s' * (len(results) != 1)} for its "
                f"{len(self.inputs)} tensor{'s' * (len(self.inputs) != 1)} ({', '.join(t.name for t in self.inputs)})"
            )  # fmt: skip
        for tensor, adjoint in zip(self.inputs, results):
            if not isinstance(adjoint, Tensor) or adjoint.shape != tensor.shape:
                what = f"a tensor of shape {adjoint.shape}" if isinstance(adjoint, Tensor) else repr(adjoint)
                raise GradientError(
                    f"the gradient of {self.name} returned {what} as the adjoint of {tensor.name}, which has shape "
                    f"{tensor.shape}",
                )
        return tuple(a if a.dtype == t.dtype else a.astype(t.dtype) for t, a in zip(self.inputs, results))


def _copied(tensor: Tensor, gradient: Any) -> Tensor:
    axes = tuple(Axis(n, 0, e) for n, e in zip(_names(tensor), tensor.shape))
    copy = make(tensor.name, axes, Access(tensor, axes), here())
    copy.gradient = gradient
    return copy


def _names(tensor: Tensor) -> list[str]:
    own = [a.name for a in tensor.axis]
    return own if len(own) == tensor.rank else [f"{'ijklmn'[d % 6]}{d // 6 or ''}" for d in range(tensor.rank)]


def stop_gradient(x: Any) -> Any:
    """`x`, taken as a constant by te.grad and its like. A tensor gives a tensor; an expression, an expression.

    >>> import tedsl as te
    >>> A = te.tensor("A", (3,))
    >>> dA = te.grad((te.stop_gradient(A) * A).sum(), A)      # A, not 2*A
    """
    if isinstance(x, Tensor):
        return _copied(x, STOP)
    if isinstance(x, Expr):
        stopped: dict[Tensor, Tensor] = {}

        def rule(node: Expr) -> Expr | None:
            if not isinstance(node, Access):
                return None
            if node.tensor not in stopped:
                stopped[node.tensor] = _copied(node.tensor, STOP)
            return Access(stopped[node.tensor], node.indices)

        return rewrite(x, rule)
    raise GradientError(f"te.stop_gradient takes a tensor or an expression, not {x!r}")


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function of tensors a gradient of its own.

    The function returns its result (a tensor, or a tuple of them) and a function that takes the adjoint of each result
    and returns the adjoint of each argument. It replaces the derivative in te.grad, te.vjp; te.jvp and te.jacobian
    refuse.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> @te.custom_gradient
    ... def rounded(X):
    ...     Y = te.tensor("Y"); Y[i] = te.round(X[i])
    ...     return Y, lambda dY: dY                           # straight through
    """

    @functools.wraps(function)
    def call(*tensors: Any) -> Any:
        for t in tensors:
            if not isinstance(t, Tensor):
                raise GradientError(f"{call.__name__} has a custom gradient, so its arguments are tensors; got {t!r}")
        found = function(*tensors)
        if not (isinstance(found, tuple) and len(found) == 2 and callable(found[1])):
            raise GradientError(
                f"{call.__name__} with te.custom_gradient has to return a pair: the result, and a function of its "
                "adjoint",
            )
        results, backward = found
        several = isinstance(results, (tuple, list))
        outputs = tuple(results) if several else (results,)
        for t in outputs:
            if not isinstance(t, Tensor):
                raise GradientError(f"{call.__name__} with te.custom_gradient returned {t!r}, not a tensor")
        named = tuple(_copied(t, None) for t in outputs)
        rule = Rule(call.__name__, tensors, named, backward)
        for t in named:
            t.gradient = rule
        return named if several else named[0]

    return call
