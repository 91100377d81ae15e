"""The public functions: `te.vjp`, `te.grad`, `te.jvp`, `te.jacobian`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from tedsl.lang import dtypes
from tedsl.lang.arrays import same_shape
from tedsl.lang.errors import GradientError, here
from tedsl.lang.expr import Access, Apply, Axis, Cast, Expr, Reduce, apply, walk
from tedsl.lang.program import program
from tedsl.lang.structures import flatten, rebuild
from tedsl.lang.tensor import Tensor
from tedsl.lang.text import definition as equation
from tedsl.lang.text import text, unused

from .arithmetic import const, guarded
from .custom import Rule
from .forward import Forward
from .reverse import Reverse, check_arguments, dependents, forward_program
from .stored import check_stored, reading_stored

# Structures -----------------------------------------------------------------------------------------------------------


def flatten_some(value: Any, what: str) -> list[Tensor]:
    """`flatten` for what cannot be empty."""
    found = flatten(value, what)
    if not found:
        raise GradientError(f"{what} is {value!r}, with no tensor in it")
    return found


# Checks ---------------------------------------------------------------------------------------------------------------


def _real(tensor: Tensor, role: str) -> None:
    _ = tensor.shape  # raises when there is neither shape nor definition
    if not dtypes.is_float(tensor.dtype):
        chain = _whole_source(tensor)
        raise GradientError(
            f"{role} {tensor.name} is of type {tensor.dtype}, and only real numbers have derivatives{chain}",
            tensor.location or here(),
        )


def _whole_source(tensor: Tensor) -> str:
    """Where the integers of `tensor` come from: the first definitions on the way back that make integers of real
    numbers.
    """
    found = []
    for stage in program([tensor]).stages:
        for part in stage.parts:
            for n, t in enumerate(stage.tensors):
                reads_real = any(isinstance(e, Access) and dtypes.is_float(e.dtype) for e in walk(part.values[n]))
                if reads_real and not dtypes.is_float(t.dtype):
                    found.append(f"`{equation(part, stage.tensors)}`")
                    break
    return f": it comes from {' and '.join(dict.fromkeys(found))}" if found else ""


def _reachable(outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> None:
    """Raises GradientError for a tensor of `wrt` on which no output depends as a real function."""
    forward = forward_program(outputs)
    names = ", ".join(t.name for t in outputs)
    inside = {t for stage in forward.stages for t in stage.tensors} | set(forward.inputs)
    for tensor in wrt:
        _real(tensor, "the tensor")
        depends = dependents(forward, (tensor,))
        if any(t in depends for t in outputs):
            continue
        loose = dependents(forward, (tensor,), loosely=True)
        if any(t in loose for t in outputs):
            continue
        for rule in dict.fromkeys(t.gradient for t in inside if isinstance(t.gradient, Rule)):
            check_arguments(rule, forward, (tensor,))
        if tensor not in inside:
            known = ", ".join(t.name for t in forward.inputs) or "no tensor"
            raise GradientError(
                f"{names} does not depend on {tensor.name}: it is computed from {known}. (Two tensors of one name "
                "are two tensors: "
                "differentiate with respect to the one that the definition reads)", tensor.location or here()
            )  # fmt: skip
        raise GradientError(
            f"the gradient of {names} with respect to {tensor.name} does not exist: {names} depends on it only through "
            f"{_breaking(forward, depends, tensor)}", tensor.location or here()
        )  # fmt: skip


def _breaking(forward: Any, depends: set[Tensor], tensor: Tensor) -> str:
    """The places where what depends on `tensor` stops being a real function of it."""
    found = []
    for stage in forward.stages:
        for part in stage.parts:
            for t, value in zip(stage.tensors, part.values):
                if isinstance(value, Reduce) and value.reducer.indexed and dtypes.is_float(t.dtype):
                    continue  # the extreme that argmax carries along is never read
                if t not in depends and any(isinstance(e, Access) and e.tensor in depends for e in walk(value)):
                    found.append(f"`{equation(replace(part, values=(value,)), (t,))}`, whose {_whole(value, depends)}")
    return "; ".join(dict.fromkeys(found)) or "values that are no real numbers"


def _whole(value: Expr, depends: set[Tensor]) -> str:
    """What of `value` is not real although it is made of what is."""
    for node in walk(value):
        over = [n for n in walk(node) if isinstance(n, Access) and n.tensor in depends]
        if over and not dtypes.is_float(node.dtype) and isinstance(node, (Apply, Cast, Reduce)):
            return f"`{text(node)}` is of type {node.dtype}"
    return f"`{text(value)}` is of type {value.dtype}"


# Reverse mode ---------------------------------------------------------------------------------------------------------


def vjp(outputs: Any, wrt: Any, seed: Any = None, stored: Mapping[Tensor, Tensor] | None = None) -> Any:
    """The adjoints of `wrt`, given those of `outputs`: the seed times the Jacobian.

    outputs, wrt: tensors, or lists, tuples or dicts of them. seed: tensors in the structure of `outputs` and of their
    shapes; it may be left out where all outputs have rank 0. Returns tensors in the structure of `wrt`, of the shapes
    and types of `wrt`: index expressions, which can be printed (te.show), scheduled, built and differentiated again.

    What a gradient reads of the forward pass is computed again, unless both are built together. stored: {tensor:
    input}, forward values that the caller has kept (the states of a recurrence, say): the gradient reads the input
    instead, and nothing that leads to the tensor is computed.

    Raises GradientError for what has no gradient: outputs of integers, tensors that are not read, functions without a
    derivative.

    >>> import tedsl as te
    >>> i, j, k = te.axes("i j k")
    >>> A, B, C = te.tensor("A", (4, 3)), te.tensor("B", (5, 3)), te.tensor("C")
    >>> C[i, j] = te.sum(A[i, k] * B[j, k])
    >>> dA, dB = te.vjp(C, [A, B], te.tensor("dC", (4, 5)))
    >>> print(te.show(dA))
    dA[i,k] = sum_j dC[i,j] * B[j,k]
    """
    results, sources = flatten_some(outputs, "the output"), flatten(wrt, "wrt")
    for tensor in results:
        _real(tensor, "the output")
    if seed is None:
        for tensor in results:
            if tensor.rank:
                raise GradientError(
                    f"{tensor.name} has shape {tensor.shape}; it is no scalar, so te.vjp needs a seed: a tensor of "
                    "its shape, its adjoint",
                )
        seeds: list[Callable[[tuple[Axis, ...]], Expr]] = [_ones(t) for t in results]
    else:
        given = flatten(seed, "the seed")
        if len(given) != len(results):
            raise GradientError(f"{len(results)} outputs need {len(results)} seeds, got {len(given)}")
        for tensor, s in zip(results, given):
            if not same_shape(tensor.shape, s.shape):
                raise GradientError(
                    f"the seed {s.name} has shape {s.shape}, but {tensor.name} has shape {tensor.shape}"
                )
            _real(s, "the seed")
        seeds = [elements_of(s) for s in given]
    _reachable(results, sources)
    kept = check_stored(stored)
    gradients = adjoints(results, seeds, sources)
    return rebuild(wrt, reading_stored(gradients, kept) if kept else gradients)


def adjoints(
    outputs: Sequence[Tensor], seeds: Sequence[Callable[[tuple[Axis, ...]], Expr]], wrt: Sequence[Tensor]
) -> list[Tensor]:
    """The adjoints of `wrt`, 0 for one that no output depends on."""
    reverse = Reverse(outputs, seeds, wrt)
    return [reverse.result(t) for t in wrt]


def _ones(tensor: Tensor) -> Callable[[tuple[Axis, ...]], Expr]:
    return lambda axes: const(1, tensor.dtype)


def elements_of(seed: Tensor) -> Callable[[tuple[Axis, ...]], Expr]:
    """The adjoint of an output that the elements of `seed` are."""
    return lambda axes: cast(Expr, Access(seed, axes))


def grad(scalar: Any, wrt: Any, stored: Mapping[Tensor, Tensor] | None = None) -> Any:
    """The gradient of `scalar`, a tensor of rank 0 (several: of their sum), with respect to `wrt`. See `te.vjp`.

    >>> import tedsl as te
    >>> A = te.tensor("A", (4,))
    >>> dA = te.grad((A * A).sum(), A)
    """
    for tensor in flatten_some(scalar, "the scalar"):
        if tensor.rank:
            raise GradientError(
                f"te.grad is of a scalar, and {tensor.name} has shape {tensor.shape}: sum it ({tensor.name}.sum()), "
                "or give each element a seed: "
                f"te.vjp({tensor.name}, wrt, seed)"
            )  # fmt: skip
    return vjp(scalar, wrt, stored=stored)


def jacobian(outputs: Any, wrt: Any) -> Any:
    """The derivatives of every element of `outputs` in every element of `wrt`: for one of each a tensor of shape
    ``Y.shape + X.shape``.

    For several, a list, tuple or dict as `outputs` is, of structures as `wrt` is. Raises GradientError as te.vjp does.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> A, B = te.tensor("A", (3,)), te.tensor("B")
    >>> B[i] = A[i] ** 2
    >>> te.jacobian(B, A).shape
    (3, 3)
    """
    results, sources = flatten_some(outputs, "the output"), flatten(wrt, "wrt")
    rows = []
    for tensor in results:
        _real(tensor, "the output")
        _reachable([tensor], sources)
        names: list[str] = []
        for d in range(tensor.rank):
            own = tensor.axis[d].name if len(tensor.axis) == tensor.rank else "ijklmn"[d % 6]
            names.append(unused(f"{own}_out", names))
        batch = tuple(Axis(n, 0, e) for n, e in zip(names, tensor.shape))

        def unit(axes: tuple[Axis, ...], tensor: Tensor = tensor, batch: tuple[Axis, ...] = batch) -> Expr:
            return guarded([apply("equal", a, b) for a, b in zip(axes, batch)], const(1, tensor.dtype))

        reverse = Reverse([tensor], [unit], sources, batch)
        row = []
        for source in sources:
            result = reverse.result(source)
            result.name = f"d{tensor.name}_d{source.name}"
            row.append(result)
        rows.append(rebuild(wrt, row))
    return rebuild(outputs, rows)


# Forward mode ---------------------------------------------------------------------------------------------------------


def jvp(outputs: Any, tangents: Mapping[Tensor, Tensor]) -> Any:
    """The tangents of `outputs`, given those of some tensors: the Jacobian times them. In the structure of `outputs`.

    tangents: {tensor: a tensor of its shape}. Raises GradientError as te.vjp does.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> A, V, B = te.tensor("A", (3,)), te.tensor("V", (3,)), te.tensor("B")
    >>> B[i] = te.sin(A[i])
    >>> print(te.show(te.jvp(B, {A: V})))
    dB[i] = V[i] * cos(A[i])
    """
    if not isinstance(tangents, Mapping) or not tangents:
        raise GradientError(f"te.jvp(Y, {{X: dX}}) needs a dict from tensors to their tangents, not {tangents!r}")
    results = flatten_some(outputs, "the output")
    for tensor in results:
        _real(tensor, "the output")
    for tensor, tangent in tangents.items():
        if not isinstance(tensor, Tensor) or not isinstance(tangent, Tensor):
            raise GradientError(f"te.jvp: {tensor!r}: {tangent!r} is not a tensor with its tangent, a tensor")
        if not same_shape(tensor.shape, tangent.shape):
            raise GradientError(
                f"the tangent {tangent.name} has shape {tangent.shape}, but {tensor.name} has shape {tensor.shape}",
            )
        _real(tangent, "the tangent")
    _reachable(results, list(tangents))
    forward = Forward(results, tangents)
    return rebuild(outputs, [forward.result(t) for t in results])
