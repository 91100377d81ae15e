"""Numbers beside data: in the first equation of a recurrence, beyond what a type holds, and in divisions."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, t = te.axes("i j t")


def both(T: te.Tensor, given: dict[te.Tensor, Any]) -> list[np.ndarray]:
    return [np.asarray(te.evaluate(T, given)), np.asarray(te.build(T)(*(given[x] for x in T.inputs)))]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("first", [0, 0.0, 1.5])
def test_a_number_as_first_equation_takes_the_type_of_the_others(dtype: str, first: float) -> None:
    X, R = te.tensor("X", (5, 3), dtype), te.tensor("R", (5, 3))
    R[0, j] = first
    R[t, j] = R[t - 1, j] * 0.5 + X[t, j]
    assert R.dtype == dtype and {v.dtype for part in R.parts for v in part.values} == {dtype}
    x = np.arange(15).reshape(5, 3).astype(dtype) / 8
    want = np.full((5, 3), first, dtype)
    for step in range(1, 5):
        want[step] = want[step - 1] * np.asarray(0.5, dtype) + x[step]
    for got in both(R, {X: x}):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, want)


def test_numbers_alone_have_the_types_of_numpy() -> None:
    R, S = te.tensor("R", (4,)), te.tensor("S", (4,))
    R[0] = 0.0
    R[t] = R[t - 1] + 1
    S[0] = 1
    S[t] = S[t - 1] * 2
    assert R.dtype == "float64" and S.dtype == "int64"
    for got in both(S, {}):
        np.testing.assert_array_equal(got, [1, 2, 4, 8])


def test_a_whole_number_first_may_become_real() -> None:
    R = te.tensor("R", (4,))
    R[0] = 1
    R[t] = R[t - 1] * 0.5
    assert R.dtype == "float64"
    for got in both(R, {}):
        np.testing.assert_array_equal(got, [1, 0.5, 0.25, 0.125])


def test_what_is_read_keeps_its_type() -> None:
    X, R, Y = te.tensor("X", (4,)), te.tensor("R", (4,)), te.tensor("Y")
    R[0] = 0.1
    Y[i] = R[0] * X[i]
    assert R.dtype == "float64" and Y.dtype == "float64"
    with pytest.raises(te.DefinitionError, match=r"Z is float32, but"):
        Z = te.tensor("Z", (4,), "float32")
        Z[i] = R[0] * X[i]


def test_steps_of_several_tensors_together() -> None:
    X, H, C = te.tensor("X", (5, 3)), te.tensor("H", (5, 3)), te.tensor("C", (5, 3))
    H[0, j] = 0.0
    C[0, j] = 0.0
    C[t, j] = 0.5 * C[t - 1, j] + X[t, j]
    H[t, j] = te.tanh(C[t, j]) + 0.0
    assert C.dtype == H.dtype == "float32"


@pytest.mark.parametrize(
    ("dtype", "value", "computed"),
    [
        ("float32", lambda x: x * 1e39, lambda x: x * np.float32("inf")),
        ("float32", lambda x: te.maximum(x, -1e300), lambda x: x),
        ("float32", lambda x: te.minimum(x, 1e300), lambda x: x),
        ("float32", lambda x: te.where(x < 1e300, x, 0), lambda x: x),
        ("float16", lambda x: x + 1e9, lambda x: x + np.float16("inf")),
        ("float64", lambda x: x * 1e300, lambda x: x * 1e300),
        ("float32", lambda x: x * 10**38, lambda x: x * np.float32(1e38)),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_number_beyond_its_type_is_infinite(dtype: str, value: Any, computed: Any) -> None:
    X, Y = te.tensor("X", (4,), dtype), te.tensor("Y")
    Y[i] = value(X[i])
    x = np.arange(4).astype(dtype)
    with np.errstate(all="ignore"):
        want = computed(x)
    for got in both(Y, {X: x}):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, want)


def test_a_whole_number_beyond_all_types_is_refused() -> None:
    X, Y = te.tensor("X", (4,)), te.tensor("Y")
    with pytest.raises(te.DefinitionError, match="a whole number of 401 digits does not fit float32"):
        Y[i] = X[i] * 10**400


@pytest.mark.parametrize("number", [256, -1, 1000, 0])
def test_a_quotient_of_small_integers_is_real(number: int) -> None:
    X, Y = te.tensor("X", (4,), "uint8"), te.tensor("Y")
    Y[i] = X[i] / number
    x = np.array([0, 1, 3, 255], np.uint8)
    with np.errstate(all="ignore"):
        want = x / np.float64(number)
    for got in both(Y, {X: x}):
        assert got.dtype == "float64"
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Y[i] = cast(X[i], ',float64')", "',float64' is not a dtype"),
        ("Y[i] = sum(X[i], dtype='f4,f8', axis=i)", "'f4,f8' is not a dtype"),
        ("Y[i] = cast(X[i], '(2,)f8')", "is not a dtype"),
        ("Y[i] = where(i > nan, X[i-1], 0)", "out of bounds|keeps `X"),
        ("Y[i] = where(i > inf, X[i-1], 0)", "out of bounds|keeps `X"),
        ("Y[i] = cast(X[~i], 'int32') // 3", "~i"),
        ("Y[i] = where(i > 0, X[i & 1], 0)", "the extent of i is open"),
        ("Y[i] = X[i // 2, 99999999999 & i % 3]", "X"),
        ("Y[i] = X[(i ^ 12345678) & (i | 87654321) % 7]", "X"),
        ("Y[i] = where((i & 3) == 2.5, X[i << 70], 0)", "X"),
    ],
)
def test_hostile_text_ends_soon_with_an_error_of_ours(source: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(te.DefinitionError, match=message):
        te.define(source, X=(4,))
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "condition", ["1e3 > 0", "2.5 > i", "(i & 1) < 0.5", "(i ^ 3) + 0.5 > 2", "i < inf", "i != nan"]
)
def test_conditions_with_real_numbers(condition: str) -> None:
    X = te.tensor("X", (4,))
    Y = te.define(f"Y[i] = where({condition}, X[i], 0)", X=X)
    x = np.arange(1, 5).astype(np.float32)
    want = [v if eval(condition, {"inf": np.inf, "nan": np.nan, "i": n}) else 0 for n, v in enumerate(x)]
    for got in both(Y, {X: x}):
        np.testing.assert_array_equal(got, want)
