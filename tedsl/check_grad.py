"""`te.check_grad`: gradients against central differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .autodiff.api import adjoints, elements_of, vjp
from .autodiff.custom import Rule
from .autodiff.forward import Forward
from .lang import dtypes
from .lang.errors import GradientError
from .lang.expr import Access, Cast, Const, Expr, Reduce, Var, rewrite, substitute, walk
from .lang.integers import simplify
from .lang.program import inputs_of, program
from .lang.structures import flatten
from .lang.tensor import Tensor, define_together

Values = dict[Tensor | str, Any]


def check_grad(
    outputs: Any,
    wrt: Any,
    order: int = 1,
    inputs: Mapping[Tensor | str, Any] | None = None,
    seed: int = 0,
    step: float = 1e-5,
    tolerance: float = 1e-5,
) -> float:
    """Compare the gradients of `outputs` with central differences along a random direction, in float64; returns the
    largest relative difference.

    Reverse and forward mode are both checked, and for `order` 2 and more the gradients of the gradients as well.
    inputs: arrays for (some of) the inputs, by tensor or by name; the others get normally distributed numbers, indices
    that are in range and sizes of 3. step: of the differences, relative to 1.

    Raises GradientError when they differ by more than `tolerance`, with the numbers. A stop_gradient is such a
    difference. The difference is relative to the size of what is added up, or to what rounding leaves of the
    differences, where that is more.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> A, B = te.tensor("A", (3,)), te.tensor("B")
    >>> B[i] = te.exp(A[i]) * A[i]
    >>> te.check_grad(B, A, order=2) < 1e-5
    True
    """
    results, sources = flatten(outputs, "the output"), flatten(wrt, "wrt")
    vjp(outputs, wrt, [Tensor("seed", t.shape, t.dtype) for t in results])  # what has no gradient is told here
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise GradientError(f"te.check_grad: order={order!r}; it is 1 or more")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise GradientError(f"te.check_grad: seed={seed!r}; it is a whole number of at least 0")
    for name, number in (("step", step), ("tolerance", tolerance)):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not number > 0:
            raise GradientError(f"te.check_grad: {name}={number!r}; it is a number above 0")
    if inputs is not None and not isinstance(inputs, Mapping):
        raise GradientError(f"te.check_grad: inputs= is a dict of arrays by tensor, not {inputs!r}")
    copies = in_float64(results, sources)
    rng = np.random.default_rng(seed)
    wide = [copies.get(t, t) for t in results]
    sizes: dict[str, int] = {}
    needed = inputs_of(wide)
    given = _given(inputs or {}, copies, needed, sizes)
    values: Values = {t: given[t] if t in given else _drawn(t, wide, rng, sizes) for t in needed}
    return _check(wide, [copies.get(t, t) for t in sources], values, sizes, order, rng, step, tolerance)


def _given(
    inputs: Mapping[Any, Any], copies: Mapping[Tensor, Tensor], needed: Sequence[Tensor], sizes: dict[str, int]
) -> dict[Tensor, Any]:
    """The arrays that the user gave, by the tensors that are checked; sizes that they tell are put into `sizes`."""
    found: dict[Tensor, Any] = {}
    for key, value in inputs.items():
        meant = copies.get(key, key) if isinstance(key, Tensor) else key
        tensor = next((t for t in needed if t is meant or (isinstance(meant, str) and t.name == meant)), None)
        if tensor is None:
            names = ", ".join(t.name for t in needed)
            raise GradientError(f"te.check_grad: inputs= gives {_name(key)}, which is not among the inputs {names}")
        try:
            array = np.asarray(value, dtype=tensor.dtype)
        except (TypeError, ValueError) as e:
            raise GradientError(f"te.check_grad: the values of {tensor.name} cannot be read as an array: {e}") from None
        for dim, extent in zip(tensor.shape, array.shape):
            if isinstance(dim, Var):
                sizes.setdefault(dim.name, extent)
        found[tensor] = array
    for tensor, array in found.items():
        shape = _shape(tensor, sizes)
        if array.shape != shape:
            raise GradientError(
                f"te.check_grad: the values of {tensor.name} have shape {array.shape}, not {shape}", tensor.location
            )
    return found


def _name(key: Any) -> str:
    return key.name if isinstance(key, Tensor) else repr(key)


def _check(
    outputs: list[Tensor],
    wrt: list[Tensor],
    values: Values,
    sizes: dict[str, int],
    order: int,
    rng: np.random.Generator,
    step: float,
    tolerance: float,
) -> float:
    from .backends.reference import evaluate

    free = [t for t in wrt if t.is_input]
    if len(free) < len(wrt):
        names = ", ".join(t.name for t in wrt if not t.is_input)
        raise GradientError(
            f"te.check_grad moves inputs, and {names} is computed: check with respect to what it is computed from",
        )
    seeds = [Tensor(f"seed_{t.name}", t.shape, "float64") for t in outputs]
    directions = {t: rng.standard_normal(_shape(t, sizes)) for t in wrt}
    values = {**values, **{s: rng.standard_normal(_shape(s, sizes)) for s in seeds}}
    moves = {t: Tensor(f"move_{t.name}", t.shape, "float64") for t in wrt}

    def weighed(moved: float) -> tuple[float, float]:
        """What is differentiated, and the size of the numbers that it is the sum of."""
        at: Values = values | {t: values[t] + moved * d for t, d in directions.items()}
        terms = [np.asarray(y) * values[s] for y, s in zip(evaluate(outputs, at), seeds)]
        return float(sum(v.sum() for v in terms)), float(sum(np.abs(v).sum() for v in terms))

    (up, size), (down, _) = weighed(step), weighed(-step)
    numeric = (up - down) / (2 * step)
    gradients = adjoints(outputs, [elements_of(s) for s in seeds], wrt)
    found = evaluate(gradients, values)
    terms = [np.asarray(g) * directions[t] for g, t in zip(found, wrt)]
    pairs = {"reverse mode": float(sum(v.sum() for v in terms))}
    added = float(sum(np.abs(v).sum() for v in terms))
    rounding = 4 * np.finfo(float).eps * size / step / tolerance
    if not any(isinstance(t.gradient, Rule) for stage in program(outputs).stages for t in stage.tensors):
        forward = Forward(outputs, moves)
        moved = [forward.result(t) for t in outputs]
        given: Values = values | {m: directions[t] for t, m in moves.items()}
        tangents = evaluate(moved, given)
        pairs["forward mode"] = float(sum((np.asarray(v) * values[s]).sum() for v, s in zip(tangents, seeds)))
    worst = 0.0
    for mode, value in pairs.items():
        scale = max(abs(numeric), abs(value), added, rounding, np.finfo(float).tiny)
        difference = abs(value - numeric) / scale
        if not difference <= tolerance:
            raise GradientError(
                f"the gradient of {', '.join(t.name for t in outputs)} with respect to "
                f"{', '.join(t.name for t in wrt)} is wrong in {mode}: along a "
                f"random direction it gives {value!r}, central differences give {numeric!r}"
            )  # fmt: skip
        worst = max(worst, difference)
    if order > 1:
        worst = max(worst, _check(gradients, wrt, values, sizes, order - 1, rng, step, tolerance))
    return worst


def _shape(tensor: Tensor, sizes: dict[str, int]) -> tuple[int, ...]:
    """The shape in numbers: a size has 3 multiples of what divides it."""

    def number(dim: Any) -> int:
        if isinstance(dim, int):
            return dim
        for node in walk(dim):
            if isinstance(node, Var):
                sizes.setdefault(node.name, node.multiple_of * max(-(-node.minimum // node.multiple_of), 3))
        known: dict[Expr, Expr] = {n: Const(sizes[n.name]) for n in walk(dim) if isinstance(n, Var)}
        value = simplify(substitute(dim, known))
        assert isinstance(value, Const)
        return int(value.value)

    return tuple(number(d) for d in tensor.shape)


def _drawn(tensor: Tensor, outputs: Sequence[Tensor], rng: np.random.Generator, sizes: dict[str, int]) -> Any:
    """Values for an input: normally distributed; whole numbers within the dimensions that they index."""
    shape = _shape(tensor, sizes)
    if dtypes.is_float(tensor.dtype):
        return rng.standard_normal(shape)
    if tensor.dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    limit = 4
    for stage in program(outputs).stages:
        for part in stage.parts:
            for node in walk(*part.expressions):
                if isinstance(node, Access):
                    for index, extent in zip(node.indices, _shape(node.tensor, sizes)):
                        if any(isinstance(n, Access) and n.tensor is tensor for n in walk(index)):
                            limit = min(limit, extent)
    return rng.integers(0, max(limit, 1), shape).astype(tensor.dtype)


def in_float64(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> dict[Tensor, Tensor]:
    """What each tensor that `outputs` need becomes when every real number is a float64. Empty when they are already."""
    forward = program(outputs)
    stages = [t for s in forward.stages for t in s.tensors]
    if not any(t.dtype in dtypes.FLOATS and t.dtype != "float64" for t in (*forward.inputs, *stages)):
        return {}
    for t in stages:
        if isinstance(t.gradient, Rule):
            raise GradientError(
                f"{t.name} has a gradient of its own (te.custom_gradient); check it with inputs of float64, not "
                f"{t.dtype}",
            )
    copies: dict[Tensor, Tensor] = {}

    def wide(dtype: str) -> str:
        return "float64" if dtype in dtypes.FLOATS else dtype

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Access):
            return Access(copies[node.tensor], node.indices)
        if isinstance(node, Const) and node.dtype != wide(node.dtype):
            return Const(node.value, wide(node.dtype))
        if isinstance(node, Cast):
            kind = wide(node.dtype)
            return node.operand if node.operand.dtype == kind else Cast(kind, node.operand)
        if isinstance(node, Reduce) and node.accumulator:
            return Reduce(*node.args[:4], wide(node.accumulator), node.component)
        return None

    definitions = dict.fromkeys(t.definition for t in stages if t.definition is not None)
    for t in dict.fromkeys([*forward.inputs, *(t for d in definitions for t in d.tensors)]):
        copies[t] = Tensor(t.name, t.shape, wide(t.dtype), None, t.location)
        copies[t].gradient = t.gradient
    for d in definitions:
        define_together(
            [copies[t] for t in d.tensors], [p.mapped(lambda e: rewrite(e, rule)) for p in d.parts], d.location
        )
    return copies
