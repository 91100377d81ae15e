"""The inputs of an evaluation: found, checked, and the symbolic sizes read off their shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tedsl.lang import dtypes
from tedsl.lang.errors import CallTypeError, CallValueError
from tedsl.lang.expr import Axis, Expr, Var, walk
from tedsl.lang.tensor import Tensor
from tedsl.lang.text import text

from .scope import State


def bind(
    inputs: Sequence[Tensor], defined: Sequence[Tensor], given: Mapping[Tensor | str, Any], sizes: Mapping[str, int]
) -> tuple[dict[Tensor, np.ndarray], dict[str, int]]:
    """The array of every input, and the value of every size that the tensors use.

    Raises CallError for what is missing or does not fit.
    """
    arrays = {tensor: _array(tensor, _given(tensor, inputs, given)) for tensor in inputs}
    bound = _Sizes(sizes)
    for tensor, array in arrays.items():
        if array.ndim != tensor.rank:
            raise CallValueError(
                f"{tensor.name} has {array.ndim} dimensions, of extents {_by(array.shape)}; it was declared with "
                f"{tensor.rank}: {_by(tensor.shape)}"
            )
    dims = [(t, axis, dim, a.shape[axis]) for t, a in arrays.items() for axis, dim in enumerate(t.shape)]
    for tensor, axis, dim, extent in dims:
        if isinstance(dim, Var):
            bound.set(dim.name, extent, f"axis {axis} of {tensor.name}")
    bound.solve(dims)
    bound.check([*inputs, *defined])
    state = State(bound.values)
    for tensor, axis, dim, extent in dims:
        wanted = state.size(dim)
        if wanted != extent:
            known = "" if isinstance(dim, int) else f" ({bound.shown(dim)})"
            raise CallValueError(
                f"{tensor.name} has shape {_by(arrays[tensor].shape)}, expected {_by(tensor.shape)}{known}: axis "
                f"{axis} has {extent}, not {wanted}"
            )
    return arrays, bound.values


def _given(tensor: Tensor, inputs: Sequence[Tensor], given: Mapping[Tensor | str, Any]) -> Any:
    """What the user gave for an input, by tensor or by name."""
    if tensor in given:
        return given[tensor]
    if tensor.name in given:
        same = [t for t in inputs if t.name == tensor.name and t not in given]
        if len(same) > 1:
            raise CallTypeError(
                f"{len(same)} inputs are named {tensor.name}; give them by the tensors themselves: te.evaluate(T, "
                f"{{{tensor.name}: array, …}})",
                tensor.location,
            )
        return given[tensor.name]
    others = ", ".join(sorted({k if isinstance(k, str) else k.name for k in given})) or "none"
    raise CallTypeError(
        f"the input {tensor.name} is missing (given: {others}); pass {{{tensor.name}: array of shape "
        f"{_by(tensor.shape)} and dtype {tensor.dtype}}}",
        tensor.location,
    )


def _array(tensor: Tensor, value: Any) -> np.ndarray:
    name, kind = tensor.name, tensor.dtype
    if tensor.rank == 0 and isinstance(value, (bool, int, float)):
        wanted = "f" if dtypes.is_float(kind) else np.dtype(kind).kind
        if (isinstance(value, float) and wanted != "f") or (wanted == "b" and not isinstance(value, bool)):
            raise CallTypeError(
                f"{name} is {value!r}, a Python {type(value).__name__}, expected {kind}; convert it first"
            )
        try:
            return np.asarray(value, kind)
        except OverflowError:
            raise CallValueError(f"{name} is {value}, which {kind} cannot hold") from None
    try:
        array = (
            np.from_dlpack(value)
            if not isinstance(value, np.ndarray) and hasattr(value, "__dlpack__")
            else np.asarray(value)
        )
    except (TypeError, ValueError, BufferError, RuntimeError) as e:
        raise CallTypeError(f"{name} is a {type(value).__name__} that cannot be read as an array: {e}") from None
    if array.dtype != np.dtype(kind):
        raise CallTypeError(f"{name} has dtype {array.dtype}, expected {kind}; convert it with {name}.astype('{kind}')")
    return array


def _by(shape: Iterable[Any]) -> str:
    dims = [text(d) if isinstance(d, Expr) else str(d) for d in shape]
    return f"({', '.join(dims)}{',' * (len(dims) == 1)})"


class _Sizes:
    """Values of symbolic sizes, and where each was read."""

    def __init__(self, given: Mapping[str, int]) -> None:
        self.values: dict[str, int] = {}
        self.source: dict[str, str] = {}
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
                raise CallTypeError(f"the size {name} is {value!r}; a size is a whole number of at least 0")
            self.set(name, int(value), "the call")

    def set(self, name: str, value: int, source: str) -> None:
        if self.values.setdefault(name, value) != value:
            raise CallValueError(
                f"the size {name} is {self.values[name]} by {self.source[name]} and {value} by {source}"
            )
        self.source.setdefault(name, source)

    def solve(self, dims: Sequence[tuple[Tensor, int, Any, int]]) -> None:
        """Sizes that stand in no shape alone, from extents such as `2 * n + 1`."""
        progress = True
        while progress:
            progress = False
            for tensor, axis, dim, extent in dims:
                unknown = sorted({v.name for v in _sizes_in(dim)} - set(self.values))
                if len(unknown) != 1:
                    continue
                at = [State({**self.values, unknown[0]: v}).size(dim) for v in (0, 1, 2)]
                step = at[1] - at[0]
                if step == 0 or at[2] - at[1] != step:
                    continue
                if (extent - at[0]) % step or (extent - at[0]) // step < 0:
                    raise CallValueError(
                        f"{tensor.name} has {extent} along axis {axis}, which is not {text(dim)} for any {unknown[0]}"
                    )
                self.set(unknown[0], (extent - at[0]) // step, f"axis {axis} of {tensor.name}")
                progress = True

    def check(self, tensors: Sequence[Tensor]) -> None:
        """Every size is known, and as large as it was declared to be."""
        used = [
            v
            for t in tensors
            for e in [*t.shape, *(v for p in t.parts for v in p.values), *(e for p in t.parts for e in p.lhs)]
            for v in _sizes_in(e)
        ]
        for size in dict.fromkeys(used):
            if size.name not in self.values:
                raise CallTypeError(
                    f"the size {size.name} is in no shape of the inputs; say what it is: te.evaluate(…, {size.name}=…)"
                )
            value = self.values[size.name]
            if value < size.minimum:
                raise CallValueError(
                    f"the size {size.name} is {value} by {self.source[size.name]}, but was declared to be at least "
                    f"{size.minimum}"
                )
            if value % size.multiple_of:
                raise CallValueError(
                    f"the size {size.name} is {value} by {self.source[size.name]}, but was declared to be a multiple "
                    f"of {size.multiple_of}"
                )

    def shown(self, dim: Expr) -> str:
        names = dict.fromkeys(v.name for v in _sizes_in(dim))
        return ", ".join(f"{name} = {self.values[name]}" for name in names)


def _sizes_in(value: Any) -> list[Var]:
    if not isinstance(value, Expr):
        return []
    found = [v for n in walk(value) if isinstance(n, Axis) for e in (n.lo, n.extent) for v in _sizes_in(e)]
    return found + [n for n in walk(value) if isinstance(n, Var)]
