"""Axes and sizes that meet data of few bits: compared and added in int64, never wrapped in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, k = te.axes("i j k")
n = te.var("n")
WIDE = 300


def check(T: te.Tensor, given: dict[te.Tensor, Any], want: Any) -> None:
    want = np.asarray(want)
    for got in (te.evaluate(T, given), te.build(T)(*(given[t] for t in T.inputs))):
        np.testing.assert_array_equal(np.asarray(got), want)


def defined(index: Any, value: Any, shape: Any = None, dtype: Any = None) -> te.Tensor:
    T = te.tensor("T", shape, dtype)
    T[index] = value
    return T


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize(
    ("compare", "holds"),
    [(lambda a, b: a < b, np.less), (lambda a, b: a == b, np.equal), (lambda a, b: b >= a, np.less_equal)],
)
def test_a_comparison_with_an_axis(dtype: str, compare: Callable[..., Any], holds: Callable[..., Any]) -> None:
    info = np.iinfo(dtype)
    values = np.array([3, info.max, info.min, 44, min(WIDE - 5, info.max)], dtype)
    L, X = te.tensor("L", (5,), dtype), te.tensor("X", (5, WIDE), "float64")
    data = np.arange(5.0 * WIDE).reshape(5, WIDE)
    at = holds(values[:, None].astype(object), np.arange(WIDE).astype(object)).astype(bool)
    check(defined(i, te.sum(X[i, k], where=compare(L[i], k))), {L: values, X: data}, np.where(at, data, 0).sum(1))
    check(defined((i, k), te.where(compare(L[i], k), X[i, k], -1)), {L: values, X: data}, np.where(at, data, -1))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
def test_a_comparison_of_a_sum_of_data_and_an_axis(dtype: str) -> None:
    O, X = te.tensor("O", (4,), dtype), te.tensor("X", (WIDE,), "float64")
    offsets, data = np.array([100, 127, 0, 5], dtype), np.arange(float(WIDE))
    want = [data[v + np.arange(WIDE) < 280].sum() for v in offsets.astype(int)]
    check(defined(i, te.sum(X[k], where=O[i] + k < 280)), {O: offsets, X: data}, want)


def test_an_index_of_data_and_axes() -> None:
    O, F = te.tensor("O", (4,), "uint8"), te.tensor("F", (1000,), "float64")
    offsets, table = np.array([3, 250, 255, 0], np.uint8), np.arange(1000.0)
    check(
        defined((i, k), F[O[i] + k], (4, WIDE)),
        {O: offsets, F: table},
        table[offsets[:, None].astype(int) + np.arange(WIDE)],
    )
    G = te.tensor("G", (2, 3), "uint8")
    groups = np.array([[0, 1, 2], [3, 4, 1]], np.uint8)
    check(defined((i, j), F[G[i, j] * 200 + j]), {G: groups, F: table}, table[groups.astype(int) * 200 + np.arange(3)])


def test_a_comparison_with_a_size() -> None:
    A = te.tensor("A", (n,), "uint8")
    values = np.arange(256).astype(np.uint8)
    check(defined(i, te.where(A[i] < n, 1, 0)), {A: values}, np.ones(256))
    check(defined(i, te.where(A[i] < n - 200, 1, 0)), {A: values}, (values < 56) * 1)


def test_an_axis_beyond_32_bits() -> None:
    far = te.reduce_axis((3_000_000_000 - 3, 3_000_000_000), "k")
    L = te.tensor("L", (3,), "int32")
    check(
        defined(i, te.sum(te.where(L[i] < far, 1, 0), axis=far)),
        {L: np.array([1, -27, 2**31 - 1], np.int32)},
        [3, 3, 3],
    )


def test_what_fits_is_computed_in_the_type_of_the_data() -> None:
    O = te.tensor("O", (4,), "int8")
    offsets = np.array([-128, 27, 0, 5], np.int8)
    T = defined((i, k), O[i] + k, (4, 100))
    assert T.dtype == "int8"
    check(T, {O: offsets}, offsets[:, None] + np.arange(100).astype(np.int8))
    # the product does not fit, the quotient does
    T = defined((i, k), O[i] + (k * 100) // 100, (4, 100))
    check(T, {O: offsets}, offsets[:, None] + np.arange(100).astype(np.int8))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda A: A[i] + i, "`i` takes the values 0 to 299, which do not fit uint8, which holds 0 to 255"),
        (lambda A: A[i] * (i - 1), "`i - 1` takes the values -1 to 298, which do not fit uint8"),
        (lambda A: A[i] % n, "`n` takes the values 0 to …, which do not fit uint8"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, message: str) -> None:
    A = te.tensor("A", (WIDE,), "uint8")
    with pytest.raises(te.DefinitionError) as error:
        defined(i, value(A))
    assert message in str(error.value) and "te.cast(x, 'int64')" in str(error.value)


def test_an_axis_is_not_stored_in_a_type_that_does_not_hold_it() -> None:
    with pytest.raises(te.DefinitionError, match=r"`i` takes the values 0 to 299, which do not fit uint8"):
        defined(i, i, (WIDE,), "uint8")
    check(defined(i, i, (256,), "uint8"), {}, np.arange(256))
