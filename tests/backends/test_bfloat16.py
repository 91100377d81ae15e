"""bfloat16, whose arrays come from ml_dtypes."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te
from tedsl.lang import dtypes

ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 is a dtype of ml_dtypes")
i, j, k = te.axes("i j k")


@pytest.fixture
def a(rng):
    values = rng.standard_normal((5, 70)) * 10.0 ** rng.integers(-30, 30, (5, 70))
    values[0, :4] = [np.nan, np.inf, -np.inf, 0.0]
    return values.astype(ml_dtypes.bfloat16)


def test_contractions() -> None:
    i, j, k = te.axes("i j k")
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, shape).astype(ml_dtypes.bfloat16) for shape in ((37, 23), (29, 23)))
    A, B = te.tensor("A", a.shape, dtype="bfloat16"), te.tensor("B", b.shape, dtype="bfloat16")
    C = te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    want = a.astype("float32") @ b.astype("float32").T
    assert te.evaluate(C, {A: a, B: b}).dtype == a.dtype
    np.testing.assert_array_equal(te.evaluate(C, {A: a, B: b}).astype("float32"), want)
    np.testing.assert_array_equal(te.build(C)(a, b).astype("float32"), want)


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x * 2 + x,
        lambda x: -x,
        lambda x: te.where(x > 0, x, -1.0),
        lambda x: te.maximum(x, 0.5) - te.sqrt(te.absolute(x)),
        lambda x: te.exp(te.minimum(x, 3)),
        lambda x: te.cast(x, "float32") * 0.5,
        lambda x: te.cast(te.cast(x, "float64") / 3, "bfloat16"),
        lambda x: te.isnan(x) | (x == 0),
    ],
)
def test_rounds_as_numpy_does(a, expression):
    A, T = te.tensor("A", a.shape, dtype="bfloat16"), te.tensor("T")
    T[i, j] = expression(A[i, j])
    got, want = te.build(T)(a), te.evaluate(T, {A: a})
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got.astype("float64"), want.astype("float64"))


def test_reductions(a):
    a = np.nan_to_num(np.clip(a.astype("float32"), -4, 4)).astype(ml_dtypes.bfloat16)
    A = te.tensor("A", a.shape, dtype="bfloat16")
    S, M = te.tensor("S"), te.tensor("M")
    S[i] = te.sum(A[i, k], dtype="float32")
    M[i] = te.argmax(A[i, k])
    np.testing.assert_allclose(te.build(S)(a), a.astype("float32").sum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(te.build(M)(a), a.argmax(1))


@pytest.mark.parametrize(
    "other,result",
    [
        ("int8", "bfloat16"),
        ("float16", "float32"),
        ("int16", "float32"),
        ("int64", "float64"),
        ("float64", "float64"),
        ("float", "bfloat16"),
    ],
)
def test_promotion(other, result):
    assert dtypes.promote("bfloat16", other) == dtypes.promote(other, "bfloat16") == result


def test_literals_are_rounded_to_nearest_even():
    from tedsl.backends.codegen.dialect import bfloat16_bits

    values = np.array([0.0, -0.0, 1.0, 1.00390625, 1.01171875, 3.3e38, 1e-40, np.inf, -np.inf, 0.1], "float32")
    want = values.astype(ml_dtypes.bfloat16).view(np.uint16)
    assert [bfloat16_bits(float(v)) for v in values] == want.tolist()
