"""Checks of an operator in one call: shape, dtype and value, by the reference and compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from interpreter import interpret
from program_parts import Program

import tedsl as te
from tedsl.lang.expr import Apply, Expr, Var, walk

# Relative to the largest value: what a few hundred operations in another order may differ by.
TOLERANCE = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}


def compare(got: Any, want: Any, error: float | None = None, what: str = "result") -> None:
    """Assert that two arrays agree: shape and dtype; whole numbers and bool exactly; floats with NaN and infinities in
    the same places, and within `error` elsewhere (None: what rounding may do to a result of that size).
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    if got.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    finite = np.isfinite(want)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=f"{what}: where NaN is")
    np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=f"{what}: where infinities are")
    if error is None:
        error = TOLERANCE[got.dtype.name] * max(1.0, float(np.abs(want[finite]).max(initial=0)))
    # differences in float64: a float16 one would itself be rounded
    far = np.abs(got[finite].astype("float64") - want[finite].astype("float64")) > error
    assert not far.any(), f"{what}: {got[finite][far][:5]} instead of {want[finite][far][:5]}, more than {error} off"


def evaluates(T: Any, want: Any, inputs: Mapping[te.Tensor, Any], error: float | None = None, **sizes: int) -> None:
    """Assert that the reference gives `want`."""
    compare(te.evaluate(T, inputs, **sizes), want, error)


def check(T: te.Tensor | Sequence[te.Tensor], inputs: Mapping[te.Tensor, Any], want: Any = None, *, error: float | None = None,
          sizes: Mapping[str, int] | None = None, compiled: bool = True) -> Any:  # fmt: skip
    """Assert that the reference, and the compiled kernel, give `want` (None: that they agree). Returns the reference's
    result.

    T: a tensor, or several (then `want` is a sequence). inputs: an array for each input; they are not changed.
    """
    before = {t: np.copy(a) for t, a in inputs.items()}
    expected = te.evaluate(T, inputs, **(sizes or {}))
    several = isinstance(T, (list, tuple))
    tensors, reference = (tuple(T), expected) if several else ((T,), (expected,))
    if want is not None:
        for tensor, r, w in zip(tensors, reference, want if several else [want], strict=True):
            compare(r, w, error, f"{tensor.name} by the reference")
    if compiled:
        found = run(T, inputs, sizes)
        for tensor, r, c in zip(tensors, reference, found if several else (found,), strict=True):
            compare(c, r, error, f"{tensor.name} compiled")
    for t, a in inputs.items():
        np.testing.assert_array_equal(a, before[t], err_msg=f"{t.name} was written to")
    return expected


def run(T: Any, inputs: Mapping[te.Tensor, Any], sizes: Mapping[str, int] | None = None, schedule: Any = None) -> Any:
    """The compiled result for inputs given by tensor. Sizes that no input has are fixed in the kernel."""
    order = inputs_in_order(T)
    return te.build(T if schedule is None else schedule, **untold(order, sizes or {}))(*(inputs[t] for t in order))


def untold(inputs: Sequence[te.Tensor], sizes: Mapping[str, int]) -> dict[str, int]:
    """Those of `sizes` that the shapes of the inputs do not tell: a build has to be given them."""
    dims = [d for t in inputs for d in t.shape if isinstance(d, Expr)]
    linear = [d for d in dims if all(not isinstance(n, Apply) or n.function in ("add", "multiply") for n in walk(d))]
    single = [names for d in linear if len(names := {n.name for n in walk(d) if isinstance(n, Var)}) == 1]
    told = {name for names in single for name in names}
    return {name: value for name, value in sizes.items() if name not in told}


def inputs_in_order(T: Any) -> list[te.Tensor]:
    """The inputs of a tensor or of several, in the order of a kernel's arguments."""
    tensors = T if isinstance(T, (list, tuple)) else [T]
    return list(dict.fromkeys(i for t in tensors for i in t.inputs))


def check_reference(program: Program) -> tuple[np.ndarray, ...]:
    """Assert that the reference gives what a program's elements are, one by one."""
    found = te.evaluate(program.outputs, program.inputs, **program.sizes)
    for tensor, got, error in zip(program.outputs, found, program.errors, strict=True):
        compare(got, interpret(tensor, program.inputs, program.sizes), 2 * error, f"{tensor.name} by the reference")
    return found


def check_compiled(program: Program, schedule: Any = None) -> None:
    """Assert that a kernel (by a schedule of the program's outputs, if given) computes what the reference does."""
    want = te.evaluate(program.outputs, program.inputs, **program.sizes)
    got = run(program.outputs, program.inputs, program.sizes, schedule)
    for tensor, g, w, error in zip(program.outputs, got, want, program.errors, strict=True):
        compare(g, w, 2 * error, f"{tensor.name} compiled")
