"""The reference: NumPy over the expressions themselves.

It judges everything else, so it shares nothing with schedules, lowering or code generation: it follows the equations as
they are written. It works in blocks, so that it needs little more memory than the inputs, the results and the tensors
in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np

from tedsl.lang.errors import CallIndexError, CallTypeError
from tedsl.lang.tensor import Tensor

from .arguments import bind
from .equations import compute, groups, inlinable, reads_of
from .reduce import reduced
from .scope import State, Unreadable

_BLOCK = 2**18, 2**22  # elements: NumPy's overhead is small from the first on, the second is still little memory


@overload
def evaluate(T: Tensor, inputs: Mapping[Tensor | str, Any] | None = None, **sizes: int) -> np.ndarray: ...
@overload
def evaluate(
    T: Sequence[Tensor], inputs: Mapping[Tensor | str, Any] | None = None, **sizes: int
) -> tuple[np.ndarray, ...]: ...
def evaluate(T: Any, inputs: Mapping[Tensor | str, Any] | None = None, **sizes: int) -> Any:
    """The value of a tensor (of several: a tuple of values), by NumPy alone.

    inputs: an array for each input, by the tensor itself or by its name where that is unique; a rank-0 input takes a
    Python scalar. What is not needed is ignored. sizes: symbolic sizes by name; those of the arrays' shapes need not be
    given.

    Raises CallError for an input that is missing or has another shape or dtype, for sizes that contradict each other,
    for the largest of nothing, and (as an IndexError) for a data-dependent index that is out of range.

    >>> import numpy as np, tedsl as te
    >>> i, k = te.axes("i k")
    >>> A = te.tensor("A", (2, 3))
    >>> R = te.tensor("R"); R[i] = te.sum(A[i, k])
    >>> te.evaluate(R, {A: np.ones((2, 3), "float32")})
    array([3., 3.], dtype=float32)
    """
    outputs = tuple(T) if isinstance(T, (list, tuple)) else (T,)
    for tensor in outputs:
        if not isinstance(tensor, Tensor):
            raise CallTypeError(
                f"te.evaluate takes a tensor or a sequence of tensors, not {tensor!r} ({type(tensor).__name__})"
            )
    if inputs is not None and not isinstance(inputs, Mapping):
        raise CallTypeError(
            f"te.evaluate(T, inputs) takes a dict of arrays by tensor, {{A: a, B: b}}, not {type(inputs).__name__}"
        )
    order = list(groups(outputs))
    needed = dict.fromkeys(t for group in order for d in group for t in reads_of(d) if t.is_input)
    needed |= dict.fromkeys(t for t in outputs if t.is_input)
    arrays, bound = bind([*needed], [t for group in order for d in group for t in d.tensors], inputs or {}, sizes)
    state = State(bound, reduced=reduced)
    state.arrays.update(arrays)
    elements = sum(a.size for a in arrays.values()) + sum(_elements(state, t) for t in outputs)
    state.budget = min(max(elements // 2, _BLOCK[0]), _BLOCK[1])
    last = {t: n for n, group in enumerate(order) for d in group for t in reads_of(d)}
    with np.errstate(all="ignore"):
        try:
            for n, group in enumerate(order):
                first = group[0]
                large = sum(_elements(state, t) for t in first.tensors) > 2 * elements + _BLOCK[1]
                if (
                    large
                    and len(group) == 1
                    and inlinable(first)
                    and not set(first.tensors) & {*outputs, *reads_of(first)}
                ):
                    state.inlined.update(first.tensors)
                    for tensor in reads_of(first):
                        last[tensor] = max(last[tensor], max(last[t] for t in first.tensors if t in last))
                    continue
                compute(state, group)
                for tensor in [t for t in state.arrays if last.get(t, n) <= n and t not in outputs]:
                    del state.arrays[tensor]
        except Unreadable as e:
            raise CallIndexError(str(e), first.location) from None
    results = tuple(state.arrays[t].copy() if t in arrays else state.arrays[t] for t in outputs)
    return results if isinstance(T, (list, tuple)) else results[0]


def _elements(state: State, tensor: Tensor) -> int:
    total = 1
    for extent in state.shape(tensor):
        total *= extent
    return total
