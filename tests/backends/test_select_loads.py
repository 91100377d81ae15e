"""Selects between what is loaded, in loops that the compiler makes vectors of itself: gcc 11 and 12 get some wrong."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te

i, j = te.axes("i j")
EXTENTS = range(1, 17)
TYPES = {"sse2": "float32", "avx2": "float32 float64 int16", "avx512": "float32 int64"}
SHAPES = {"pooling": (8, 16, 7, 7), "small images": (64, 16, 4, 4), "rows": (100, 7)}


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(0).integers(-4, 5, shape).astype(dtype)


@pytest.mark.parametrize("isa,dtype", [(isa, dtype) for isa, dtypes in TYPES.items() for dtype in dtypes.split()])
def test_short_rows(isa: str, dtype: str) -> None:
    """One kernel for all extents: a select, one of a function, the sums of rows and of columns; plain loops."""
    inputs, outputs = {}, []
    for n in EXTENTS:
        X, G, D = (te.tensor(f"{name}{n}", (32, n), dtype) for name in "XGD")
        inputs |= {t: numbers((32, n), dtype) + (t is G) for t in (X, G, D)}
        S, E, R, C = (te.tensor(f"{name}{n}") for name in "SERC")
        S[i, j] = te.where(X[i, j] > 0, G[i, j], 0)
        E[i, j] = te.where(X[i, j] > 0, te.exp(G[i, j]) if dtype.startswith("f") else G[i, j] * G[i, j], D[i, j])
        R[i] = te.sum(te.where(X[i, j] > 0, G[i, j], 0))
        C[j] = te.sum(te.where(X[i, j] < 0, D[i, j], G[i, j]))
        outputs += [S, E, R, C]
    kernel = te.build(te.create_schedule(outputs), [*inputs, *outputs], name="selects", isa=isa)
    for tensor, got, want in zip(outputs, kernel(*inputs.values()), te.evaluate(outputs, inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=tensor.name)


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_of_relu(shape: tuple[int, ...], isa: str) -> None:
    axes = te.axes(" ".join("abcd"[: len(shape)]))
    outputs, inputs = [], {}
    for dtype in ("float32", "float64", "int32"):
        X, G, T = te.tensor(f"X{dtype}", shape, dtype), te.tensor(f"G{dtype}", shape, dtype), te.tensor(f"T{dtype}")
        T[axes] = te.where(X[axes] > 0, G[axes], 0)
        outputs.append(T)
        inputs |= {X: numbers(shape, dtype), G: numbers(shape, dtype) + 1}
    kernel = te.build(outputs, [*inputs, *outputs], isa=isa)
    for got, want in zip(kernel(*inputs.values()), te.evaluate(outputs, inputs), strict=True):
        np.testing.assert_array_equal(got, want)
