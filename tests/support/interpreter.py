"""A second opinion on the reference: one element at a time, in plain Python.

Whole numbers are Python's, wrapped to their type; floats are NumPy scalars. An element of a defined tensor is found
when it is asked for, from the first equation whose left side it meets. Slow, short, and without blocks, masks, views or
orders of evaluation.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Tensor


def interpret(tensor: Tensor, inputs: Mapping[Tensor, Any], sizes: Mapping[str, int]) -> np.ndarray:
    """The value of `tensor`."""
    machine = Interpreter(inputs, sizes)
    shape = [machine.size(d) for d in tensor.shape]
    result = np.zeros(shape, tensor.dtype)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        with np.errstate(all="ignore"):
            for point in np.ndindex(*shape):
                result[point] = machine.element(tensor, point)
    finally:
        sys.setrecursionlimit(limit)
    return result


class OutOfRange(Exception):
    """A read outside of a tensor."""


class Interpreter:
    def __init__(self, inputs: Mapping[Tensor, Any], sizes: Mapping[str, int]) -> None:
        self.inputs, self.sizes = inputs, sizes
        self.known: dict[Any, Any] = {}

    def size(self, dim: Any) -> int:
        return self.value(dim, {}) if isinstance(dim, Expr) else dim

    def element(self, tensor: Tensor, point: tuple[int, ...]) -> Any:
        shape = [self.size(d) for d in tensor.shape]
        if any(not 0 <= p < n for p, n in zip(point, shape, strict=True)):
            raise OutOfRange(f"{tensor.name}{list(point)} of {shape}")
        if tensor in self.inputs:
            return plain(np.asarray(self.inputs[tensor])[point])
        if isinstance(part := tensor.parts[0], ScatterPart):  # it has no others
            return self.sums(tensor, part).get(point, fit(0, tensor.dtype))
        if (tensor, point) not in self.known:
            for part in tensor.parts:
                if all(isinstance(e, Axis) or e.value == p for e, p in zip(part.lhs, point, strict=True)):
                    axes = {e: p for e, p in zip(part.lhs, point, strict=True) if isinstance(e, Axis)}
                    self.known[tensor, point] = self.value(part.values[tensor.component], axes)
                    break
            else:
                raise AssertionError(f"no equation gives {tensor.name}{list(point)}")
        return self.known[tensor, point]

    def sums(self, tensor: Tensor, part: ScatterPart) -> dict[tuple[int, ...], Any]:
        """The elements to which a scatter-add adds something."""
        if tensor not in self.known:
            found: dict[tuple[int, ...], Any] = {}
            for axes in self.points(part.domain, {}):
                if part.where is None or self.value(part.where, axes):
                    point = tuple(self.value(e, axes) for e in part.lhs)
                    if any(not 0 <= p < self.size(n) for p, n in zip(point, tensor.shape, strict=True)):
                        raise OutOfRange(f"{tensor.name}{list(point)}")
                    term = self.value(part.values[tensor.component], axes)
                    found[point] = found.get(point, 0) + (np.float64(term) if isinstance(term, np.floating) else term)
            self.known[tensor] = {point: fit(x, tensor.dtype) for point, x in found.items()}
        return self.known[tensor]

    def points(self, axes: Sequence[Axis], around: Mapping[Axis, int]) -> Iterator[dict[Axis, int]]:
        """`around` with every combination of values of `axes`."""
        ranges = [range(self.size(a.lo), self.size(a.lo) + self.size(a.extent)) for a in axes]
        for point in itertools.product(*ranges):
            yield {**around, **dict(zip(axes, point, strict=True))}

    def value(self, node: Expr, axes: Mapping[Axis, int]) -> Any:
        if isinstance(node, Const):
            return fit(node.value, dtypes.strong(node.dtype))
        if isinstance(node, Axis):
            return axes[node]
        if isinstance(node, Var):
            return self.sizes[node.name]
        if isinstance(node, Access):
            return self.element(node.tensor, tuple(self.value(e, axes) for e in node.indices))
        if isinstance(node, Cast):
            return fit(self.value(node.operand, axes), node.dtype)
        if isinstance(node, Reduce):
            return self.reduction(node, axes)[node.component]
        assert isinstance(node, Apply)
        if node.function == "where":
            condition, a, b = node.operands
            return self.value(a if self.value(condition, axes) else b, axes)
        return apply(node.function, dtypes.strong(node.dtype), *(self.value(e, axes) for e in node.operands))

    def reduction(self, node: Reduce, axes: Mapping[Axis, int]) -> tuple[Any, ...]:
        assert node.axes is not None
        kinds = tuple(v.dtype for v in node.values)
        result = tuple(self.value(e, {}) for e in node.reducer.identity(kinds))
        # a float32 sum is rounded once: the order of a long one would show otherwise
        wide = node.reducer.name in ("sum", "prod") and kinds[0] in ("float16", "float32")
        if wide:
            result = (np.float64(result[0]),)
        for inner in self.points(node.axes, axes):
            if node.where is not None and not self.value(node.where, inner):
                continue
            values = tuple(self.value(v, inner) for v in node.values)
            if wide:
                x = np.float64(values[0])
                result = (result[0] + x if node.reducer.name == "sum" else result[0] * x,)
                continue
            p, q = (tuple(Access(Tensor(side, (), k), ()) for k in kinds) for side in "pq")
            combined = node.reducer.combine(p, q)
            held = {e.tensor: v for e, v in zip((*p, *q), (*result, *values), strict=True)}
            result = tuple(
                Interpreter({t: np.asarray(v, t.dtype) for t, v in held.items()}, self.sizes).value(e, {})
                for e in combined
            )
        return tuple(fit(v, k) for v, k in zip(result, kinds, strict=True))


def plain(value: Any) -> Any:
    """A Python number for whole numbers and bool, a NumPy scalar for floats."""
    return value if isinstance(value, np.floating) else value.item()


def fit(value: Any, dtype: str) -> Any:
    """`value` in `dtype`, as NumPy's astype."""
    if dtype == "bool":
        return bool(value != 0)
    if dtypes.is_float(dtype):
        return np.dtype(dtype).type(value)
    if isinstance(value, np.floating):
        value = int(value)  # of what fits: anything else has no defined value
    low, high = dtypes.limits(dtype)
    return (int(value) - low) % (high - low + 1) + low


def apply(name: str, dtype: str, *operands: Any) -> Any:
    """An elementwise function of operands of its working type; `dtype` is that of the result."""
    a, b = (*operands, None)[:2]
    if name in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"):
        return bool(
            {
                "less": a < b,
                "less_equal": a <= b,
                "greater": a > b,
                "greater_equal": a >= b,
                "equal": a == b,
                "not_equal": a != b,
            }[name]
        )
    if isinstance(a, np.floating):
        return floating(name, dtype, a, b)
    if isinstance(a, bool):
        table: dict[str, Any] = {
            "add": a or b,
            "multiply": a and b,
            "bitwise_and": a and b,
            "bitwise_or": a or b,
            "bitwise_xor": a != b,
            "invert": not a,
        }
        table |= {"minimum": a and b, "maximum": a or b, "absolute": a}
        return table[name]
    return fit(whole(name, dtypes.BITS[dtype], a, b), dtype)


def whole(name: str, bits: int, a: int, b: Any) -> int:
    if name in ("floor_divide", "remainder"):
        return 0 if b == 0 else a // b if name == "floor_divide" else a % b
    if name == "left_shift":
        return a << b if 0 <= b < bits else 0
    if name == "right_shift":
        return a >> b if 0 <= b < bits else (-1 if a < 0 else 0)
    if name == "power":
        if b < 0:
            return 1 if a == 1 else (-1) ** (b % 2) if a == -1 else 0
        return pow(a, b, 1 << bits)
    if name == "negative":
        return -a
    if name == "sign":
        return (a > 0) - (a < 0)
    if name in ("floor", "ceil", "trunc", "rint"):
        return a
    if name == "invert":
        return ~a
    if name == "absolute":
        return abs(a)
    return {"add": a + b, "subtract": a - b, "multiply": a * b, "bitwise_and": a & b, "bitwise_or": a | b, "bitwise_xor": a ^ b,
            "minimum": min(a, b), "maximum": max(a, b)}[name]  # fmt: skip


def floating(name: str, dtype: str, a: Any, b: Any) -> Any:
    if name in ("isnan", "isinf", "isfinite"):
        return bool(getattr(np, name)(a))
    kind = np.dtype(dtype).type
    if name in ("minimum", "maximum", "machine_minimum", "machine_maximum"):
        if not name.startswith("machine") and (a != a or b != b):
            return kind(np.nan)
        return a if (a < b if "min" in name else a > b) else b
    if name == "erf":
        return kind(math.erf(a))
    if name == "sigmoid":
        return kind(1 / (1 + np.exp(-np.float64(a))))
    if name == "rsqrt":
        return kind(1 / np.sqrt(a))
    return kind(getattr(np, name)(a) if b is None else getattr(np, name)(a, b))
