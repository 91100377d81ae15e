"""Index expressions by brute force: their values at every point of small ranges, and random ones to try."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

import numpy as np

from tedsl.lang.expr import Apply, Axis, Const, Expr, Var

_BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "minimum": np.minimum, "maximum": np.maximum,
    "less": np.less, "less_equal": np.less_equal, "greater": np.greater, "greater_equal": np.greater_equal,
    "equal": np.equal, "not_equal": np.not_equal, "bitwise_and": np.logical_and, "bitwise_or": np.logical_or,
    "floor_divide": lambda a, b: np.where(b == 0, 0, a // np.where(b == 0, 1, b)),
    "remainder": lambda a, b: np.where(b == 0, 0, a % np.where(b == 0, 1, b)),
}  # fmt: skip

Points = dict[Expr, np.ndarray]


def values(e: Expr, points: Points) -> np.ndarray:
    """The value of `e` at each of `points` (an array for each axis and size)."""
    size = len(next(iter(points.values()))) if points else 1
    memo: dict[Expr, np.ndarray] = {}

    def value(node: Expr) -> np.ndarray:
        if node in memo:
            return memo[node]
        if isinstance(node, (Axis, Var)):
            result = points[node]
        elif isinstance(node, Const):
            result = np.full(size, node.value)
        else:
            assert isinstance(node, Apply), node
            operands = [value(x) for x in node.operands]
            if node.function == "where":
                result = np.where(*operands)
            elif node.function == "negative":
                result = -operands[0]
            elif node.function == "absolute":
                result = np.abs(operands[0])
            elif node.function == "invert":
                result = ~operands[0]
            else:
                result = _BINARY[node.function](*operands)
        memo[node] = result
        return result

    return value(e)


def points_of(
    ranges: Mapping[Axis, tuple[int | Expr, int | Expr]],
    sizes: Mapping[Var, Sequence[int]] = {},
    conditions: Sequence[Expr] = (),
    hull: tuple[int, int] = (-8, 24),
) -> Points:
    """Every point of `ranges` (each may depend on those before it) and `sizes` at which `conditions` hold."""
    points: Points = {}
    grids = list(itertools.product(*sizes.values()))
    for n, size in enumerate(sizes):
        points[size] = np.array([g[n] for g in grids], dtype=np.int64)
    if not sizes:
        points[Const(0)] = np.zeros(1, dtype=np.int64)
    for axis, (lo, extent) in ranges.items():
        count = len(next(iter(points.values())))
        first = values(lo, points) if isinstance(lo, Expr) else np.full(count, lo)
        length = values(extent, points) if isinstance(extent, Expr) else np.full(count, extent)
        span = np.arange(hull[0], hull[1])
        assert (first >= hull[0]).all() and (first + length <= hull[1]).all(), "ranges outside the hull"
        at, value = np.nonzero((span >= first[:, None]) & (span < (first + length)[:, None]))
        points = {e: v[at] for e, v in points.items()}
        points[axis] = span[value]
    for condition in conditions:
        holds = values(condition, points)
        points = {e: v[holds] for e, v in points.items()}
    return points


def ap(function: str, *operands: Expr | int) -> Expr:
    """Function `function` of `operands`, nothing folded."""
    return Apply(function, tuple(x if isinstance(x, Expr) else Const(x) for x in operands))


class Drawing:
    """Random index expressions and conditions over `leaves`, the same for the same seed."""

    def __init__(
        self,
        seed: int,
        leaves: Sequence[Expr],
        divisors: Sequence[Expr | int] = (1, 2, 3, 4, 6, 8, -3, 0),
        products: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.products = products
        self.leaves = list(leaves)
        self.divisors = list(divisors)

    def index(self, depth: int) -> Expr:
        r = self.random
        if depth == 0 or r.random() < 0.15:
            return r.choice(self.leaves) if r.random() < 0.7 else Const(r.choice([-9, -3, -1, 0, 1, 2, 4, 7, 8, 12]))
        if self.products and r.random() < 0.12:
            sizes = [leaf for leaf in self.leaves if isinstance(leaf, Var)]
            return ap("multiply", r.choice(self.leaves), r.choice(sizes))
        kind = r.random()
        if kind < 0.38:
            return ap(r.choice(["add", "add", "subtract"]), self.index(depth - 1), self.index(depth - 1))
        if kind < 0.55:
            return ap("multiply", self.index(depth - 1), r.choice([-4, -2, -1, 2, 3, 4, 8]))
        if kind < 0.83:
            return ap(r.choice(["floor_divide", "remainder"]), self.index(depth - 1), r.choice(self.divisors))
        if kind < 0.93:
            return ap(r.choice(["minimum", "maximum"]), self.index(depth - 1), self.index(depth - 1))
        if kind < 0.96:
            return ap("where", self.condition(1), self.index(depth - 1), self.index(depth - 1))
        return ap(r.choice(["absolute", "negative"]), self.index(depth - 1))

    def affine(self) -> Expr:
        r = self.random
        result: Expr = Const(r.randint(-6, 12))
        for leaf in r.sample(self.leaves, r.randint(1, min(3, len(self.leaves)))):
            result = ap("add", result, ap("multiply", r.choice([-8, -3, -2, -1, 1, 1, 2, 3, 4, 8]), leaf))
        return result

    def comparison(self, depth: int) -> Expr:
        function = self.random.choice(["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"])
        left = self.affine() if self.random.random() < 0.5 else self.index(depth)
        return ap(function, left, self.index(0) if self.random.random() < 0.5 else self.affine())

    def condition(self, depth: int) -> Expr:
        kind = self.random.random()
        if depth == 0 or kind < 0.55:
            return self.comparison(depth)
        if kind < 0.9:
            return ap(
                self.random.choice(["bitwise_and", "bitwise_or"]), self.condition(depth - 1), self.condition(depth - 1)
            )
        return ap("invert", self.condition(depth - 1))
