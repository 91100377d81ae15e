"""Gradients as kernels: compiled they compute what the reference does, alone, together, and under schedules of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradient_cases import CASES

import tedsl as te
from tedsl.check_grad import _drawn, _shape

i, j, k, n, f, c, y, x, r, s = te.axes("i j k n f c y x r s")


QUICK = ("matmul", "reshaped", "softmax", "product", "gather summed", "two steps back", "max_pooling", "symbolic_sizes")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_against_the_reference(name: str) -> None:
    outputs, wrt = CASES[name]()
    outputs = outputs if isinstance(outputs, list) else [outputs]
    seeds = [te.tensor(f"seed{m}", t.shape, t.dtype) for m, t in enumerate(outputs)]
    wrt = wrt if isinstance(wrt, list) else [wrt]
    gradients = te.vjp(outputs, wrt, seeds)
    rng = np.random.default_rng(0)
    sizes: dict[str, int] = {}
    args = list(dict.fromkeys([*(t for o in outputs for t in o.inputs), *seeds]))
    values = {
        t: _drawn(t, outputs, rng, sizes) if t not in seeds else rng.standard_normal(_shape(t, sizes)) for t in args
    }
    want = te.evaluate([*outputs, *gradients], values)
    kernel = te.build([*outputs, *gradients], args=[*args, *outputs, *gradients])
    for got, expected in zip(kernel(*(values[t] for t in args)), want):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_a_convolution_under_a_schedule() -> None:
    X, W, Y = te.tensor("X", (2, 4, 17, 17)), te.tensor("W", (8, 4, 3, 3)), te.tensor("Y")
    Y[n, f, y, x] = te.sum(X[n, c, 2 * y + r, 2 * x + s] * W[f, c, r, s])
    dY = te.tensor("dY", Y.shape)
    dX, dW = te.vjp(Y, [X, W], dY)
    sch = te.create_schedule([dX, dW])
    sch[dX].parallel(sch[dX].axis[0])
    sch[dX].split(sch[dX].axis[3], factor=8)
    sch[dW].reorder(*sch[dW].reduce_axis, *sch[dW].axis)
    rng = np.random.default_rng(0)
    at: dict[Any, Any] = {t: rng.standard_normal(t.shape).astype("f4") for t in (X, W, dY)}
    got = te.build(sch, args=[X, W, dY, dX, dW])(*at.values())
    for g, want in zip(got, te.evaluate([dX, dW], at)):
        np.testing.assert_allclose(g, want, rtol=1e-4, atol=1e-4)


def test_an_index_out_of_range_is_an_error() -> None:
    W, I, E = te.tensor("W", (5, 3)), te.tensor("I", (4,), "int64"), te.tensor("E")
    E[i, j] = W[I[i], j]
    g = te.vjp(E, W, te.tensor("dE", (4, 3)))
    for run in (te.build(g), lambda *a: te.evaluate(g, dict(zip(g.inputs, a)))):
        values = {"I": np.array([0, 4, 5, 1]), "dE": np.ones((4, 3), "f4")}
        with pytest.raises(IndexError):
            run(*(values[t.name] for t in g.inputs))
        values["I"] = np.array([0, 4, 4, 1])
        got = run(*(values[t.name] for t in g.inputs))
        np.testing.assert_array_equal(got[:, 0], [1, 1, 0, 0, 2])


def test_a_training_step() -> None:
    """A step of gradient descent in one kernel, until the loss is small."""
    rng = np.random.default_rng(0)
    X, Y, W = te.tensor("X", (32, 4), "float64"), te.tensor("Y", (32,), "float64"), te.tensor("W", (4,), "float64")
    E, L = te.tensor("E"), te.tensor("L")
    E[i] = te.sum(X[i, k] * W[k]) - Y[i]
    L[()] = te.sum(E[i] ** 2) / 32
    new = te.tensor("new")
    dW = te.grad(L, W)
    new[k] = W[k] - 0.1 * dW[k]
    step = te.build([L, new], args=[X, Y, W, L, new])
    a, w = rng.standard_normal((32, 4)), np.array([1.0, -2.0, 3.0, 0.5])
    now = np.zeros(4)
    for _ in range(200):
        loss, now = step(a, a @ w, now)
    assert loss < 1e-8
    np.testing.assert_allclose(now, w, atol=1e-3)
