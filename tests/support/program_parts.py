"""What random programs are made of: choices, values whose rounding is known, and what was made so far."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import tedsl as te
from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Axis, Expr, Reduce, Var, walk


class Source(Protocol):
    """Where choices come from."""

    def integer(self, low: int, high: int) -> int: ...
    def choice(self, items: Sequence[Any]) -> Any: ...


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def choice(self, items: Sequence[Any]) -> Any:
        return items[self.random.randrange(len(items))]


class Drawn:
    """Choices of hypothesis, which shrinks them: the first item and the lowest number are the simplest."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw

    def integer(self, low: int, high: int) -> int:
        from hypothesis import strategies

        return self.draw(strategies.integers(low, high))

    def choice(self, items: Sequence[Any]) -> Any:
        from hypothesis import strategies

        return items[self.draw(strategies.integers(0, len(items) - 1))]


@dataclass
class Program:
    """Tensors to compute, arrays for their inputs, the sizes that hold, and for each tensor the error it may have (0:
    exact).
    """

    outputs: tuple[te.Tensor, ...]
    inputs: dict[te.Tensor, np.ndarray]
    sizes: dict[str, int]
    errors: tuple[float, ...]

    def __str__(self) -> str:
        defined = sorted((t for t in tensors_below(*self.outputs) if not t.is_input), key=lambda t: t.serial)
        lines = [f"{t!r} = {a.tolist()}" for t, a in self.inputs.items()] + [f"{t!r}: {t}" for t in defined]
        return "\n".join([*lines, f"sizes {self.sizes}", f"outputs {', '.join(t.name for t in self.outputs)}"])


@dataclass(frozen=True)
class Value:
    """An expression and what is known of it: |x| <= bound; off by at most `error`; a multiple of `grain` where that is
    0.
    """

    expr: Any
    bound: float
    error: float = 0.0
    grain: float = 1.0

    @property
    def dtype(self) -> str:
        return dtypes.strong(self.expr.dtype)

    @property
    def exact(self) -> bool:
        return self.error == 0


@dataclass(frozen=True)
class Index:
    """An axis in scope: the expression, its extent as an expression, and as a number."""

    expr: Any
    extent: Any
    count: int


@dataclass(frozen=True)
class Made:
    """A tensor that can be read."""

    tensor: te.Tensor
    shape: tuple[int, ...]
    bound: float
    error: float
    grain: float


EPS = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
SMOOTH: list[tuple[Callable[[Any], Any], float, float]] = [  # a function, its Lipschitz constant, the bound of its values
    (te.tanh, 1, 1), (te.sin, 1, 1), (te.cos, 1, 1), (te.sigmoid, 1, 1), (te.erf, 1.2, 1), (te.arctan, 1, 1.6),
    (lambda x: te.exp(te.minimum(x, 2)), 7.4, 7.4), (lambda x: te.expm1(-te.abs(x)), 1, 1), (lambda x:
    te.log1p(te.abs(x)), 1, 20), (lambda x: te.sqrt(te.abs(x) + 1), 0.5, 1e3), (lambda x: te.rsqrt(te.abs(x) + 1), 0.5,
    1), (lambda x: te.log(te.abs(x) + 1), 1, 20), (lambda x: 1 / (te.abs(x) + 1), 1, 1), (lambda x: te.hypot(x, 1), 1,
    1e3), (te.arcsinh, 1, 20),
]  # fmt: skip


def settle(expr: Any, bound: float, error: float = 0.0, grain: float = 1.0) -> Value:
    """The value of an expression whose exact result has this bound, error and grain: rounded to its type, and scaled
    down when it grows.
    """
    dtype = dtypes.strong(expr.dtype)
    if not dtypes.is_float(dtype):
        low, high = dtypes.limits(dtype)
        return Value(expr, min(bound, max(-low, high)) if bound <= high else float(max(-low, high)))
    limit = 500.0 if dtype == "float16" else 1e4
    if bound > limit:
        scale = 2.0 ** -math.ceil(math.log2(bound / limit))
        expr, bound, error, grain = expr * scale, bound * scale, error * scale, grain * scale
    return Value(expr, bound, error + rounding(dtype, bound, error, grain), grain)


def rounding(dtype: str, bound: float, error: float, grain: float) -> float:
    eps = EPS[dtype]
    tiny = 2.0**-14 if dtype == "float16" else 2.0**-100
    if error == 0 and bound / grain <= 0.5 / eps and grain >= tiny:
        return 0.0
    return 2 * eps * max(bound, tiny)


def _lse(p: Any, q: Any) -> Any:
    m = te.maximum(p[0], q[0])
    return m, p[1] * te.exp(p[0] - m) + q[1] * te.exp(q[0] - m)


LSE = te.reducer((-1e4, 0.0), _lse)
GREATEST = te.reducer(-1e4, lambda p, q: te.where(p < q, q, p))
PAIR = te.reducer((0, 0), lambda p, q: (p[0] + q[0], p[1] + q[1]))


def tensors_below(*outputs: te.Tensor) -> set[te.Tensor]:
    """`outputs` and every tensor that they depend on."""
    found: set[te.Tensor] = set()
    stack = list(outputs)
    while stack:
        t = stack.pop()
        if t not in found:
            found.add(t)
            stack += [n.tensor for p in t.parts for n in walk(*p.values) if isinstance(n, Access)]
    return found


def sizes_of(*outputs: te.Tensor) -> set[str]:
    """The names of the symbolic sizes that `outputs` depend on."""
    found: set[str] = set()
    stack: list[Any] = [
        e for t in tensors_below(*outputs) for e in (*t.shape, *(e for p in t.parts for e in (*p.lhs, *p.values)))
    ]
    for root in stack:
        if isinstance(root, Expr):
            for node in walk(root):
                if isinstance(node, Var):
                    found.add(node.name)
                elif isinstance(node, Axis):
                    stack += [node.lo, node.extent]
                elif isinstance(node, Reduce):
                    stack += node.axes or ()
    return found
