"""NumPy's functions and methods on tensors give definitions that compute what NumPy does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import compare

import tedsl as te

i, j = te.axes("i j")

CASES: dict[str, Callable[..., Any]] = {
    "exp": lambda X, Y, v, n, h: np.exp(X),
    "maximum": lambda X, Y, v, n, h: np.maximum(X, v),
    "matmul": lambda X, Y, v, n, h: np.matmul(X, Y),
    "a NumPy number on the left": lambda X, Y, v, n, h: np.float32(2) * X - np.float64(1),
    "a NumPy number compared": lambda X, Y, v, n, h: np.float32(0) < X,
    "np.sum": lambda X, Y, v, n, h: np.sum(X, axis=0),
    "np.max": lambda X, Y, v, n, h: np.max(X),
    "np.argmax": lambda X, Y, v, n, h: np.argmax(X, axis=1),
    "np.transpose": lambda X, Y, v, n, h: np.transpose(X),
    "mean": lambda X, Y, v, n, h: X.mean(),
    "mean that stays": lambda X, Y, v, n, h: X - X.mean(axis=1, keepdims=True),
    "mean of integers": lambda X, Y, v, n, h: n.mean(axis=0),
    "mean of float16": lambda X, Y, v, n, h: h.mean(axis=0),
    "mean of both dimensions": lambda X, Y, v, n, h: X.mean(axis=(0, -1), dtype="float64"),
    "np.mean": lambda X, Y, v, n, h: np.mean(X, axis=-1),
    "ravel": lambda X, Y, v, n, h: X.ravel(),
    "flatten": lambda X, Y, v, n, h: X.flatten(),
    "swapaxes": lambda X, Y, v, n, h: X.swapaxes(0, -1),
    "squeeze": lambda X, Y, v, n, h: X[None, :, :1].squeeze(),
    "squeeze one": lambda X, Y, v, n, h: X[None, :, :1].squeeze(0),
    "clip": lambda X, Y, v, n, h: X.clip(-1, 0.5),
    "clip below": lambda X, Y, v, n, h: X.clip(min=0),
    "transpose(None)": lambda X, Y, v, n, h: X.transpose(None),
}


@pytest.mark.parametrize("name", CASES)
def test_as_numpy(name: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal((4, 6)).astype("float32"),
        rng.standard_normal((6, 4)).astype("float32"),
        rng.standard_normal(6).astype("float32"),
        rng.integers(-9, 9, (4, 6)).astype("int32"),
        rng.standard_normal((4, 6)).astype("float16"),
    ]
    tensors = [te.tensor(n, a.shape, a.dtype) for n, a in zip("XYvnh", arrays, strict=True)]
    made, wanted = CASES[name](*tensors), CASES[name](*arrays)
    by = dict(zip(tensors, arrays, strict=True))
    got = te.build(made)(*(by[t] for t in made.inputs))
    assert got.dtype == wanted.dtype and got.shape == wanted.shape
    np.testing.assert_allclose(
        got.astype("float64"), wanted.astype("float64"), rtol=2e-3 if got.dtype == "float16" else 1e-5, atol=1e-6
    )
    compare(got, te.evaluate(made, by))


def test_numpy_functions_of_elements() -> None:
    X = te.tensor("X", (4, 6))
    assert np.exp(X[i, j]) is te.exp(X[i, j])
    assert np.maximum(X[i, j], 0) is te.maximum(X[i, j], 0)
    assert (np.float64(2) * X[i, j]).dtype == "float64"
    assert (np.float32(1) < X[i, j]).dtype == "bool"


def test_the_mean_over_a_symbolic_size() -> None:
    X = te.tensor("X", (te.var("n"), 3))
    kernel = te.build(X.mean(axis=0))
    for n in (1, 7):
        x = np.random.default_rng(n).standard_normal((n, 3)).astype("float32")
        np.testing.assert_allclose(kernel(x), x.mean(axis=0), rtol=1e-5)
