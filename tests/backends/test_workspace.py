"""Temporaries keep their memory from call to call: right for growing and shrinking sizes, and for calls at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import tedsl as te
from tedsl.backends.c import workspace

i, j, k = te.axes("i j k")


def two_steps(n: Any) -> te.Tensor:
    """A product of a product: the inner one is a temporary."""
    A, B, C = te.tensor("A", (n, n)), te.tensor("B"), te.tensor("C")
    B[i, j] = te.sum(A[i, k] * A[k, j])
    C[i, j] = te.sum(B[i, k] * A[j, k])
    return C


def test_sizes_that_grow_and_shrink() -> None:
    kernel = te.build(two_steps(te.var("n")))
    assert "te_take(" in kernel.source and "te_give(" in kernel.source
    rng = np.random.default_rng(0)
    for n in (8, 150, 20, 1, 0, 200, 3):
        a = rng.standard_normal((n, n), dtype="float32")
        np.testing.assert_allclose(kernel(a), a @ a @ a.T, rtol=1e-3, atol=1e-2)


def test_calls_at_the_same_time_have_memory_of_their_own() -> None:
    kernel = te.build(two_steps(160))
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal((160, 160), dtype="float32") for _ in range(8)]
    want = [kernel(a, threads=1) for a in arrays]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, expected in zip(pool.map(lambda a: kernel(a, threads=1), arrays), want, strict=True):
                np.testing.assert_array_equal(got, expected)


def test_small_temporaries_need_none_and_large_ones_are_not_kept() -> None:
    assert "te_take" not in te.build(two_steps(16)).source
    assert str(workspace.KEPT) in workspace.source(1)


def test_memory_goes_back_when_an_index_is_wrong() -> None:
    A, I = te.tensor("A", (40, 400)), te.tensor("I", (400,), "int64")
    B, C = te.tensor("B"), te.tensor("C")
    B[i, j] = te.exp(A[i, I[j]])
    C[i, j] = te.sum(B[i, k] * B[j, k])
    kernel = te.build(C)
    a, index = np.zeros((40, 400), "float32"), np.arange(400)
    for _ in range(3):
        np.testing.assert_allclose(kernel(a, index), np.full((40, 40), 400.0))
        try:
            kernel(a, index + 1)
        except IndexError:
            continue
        raise AssertionError("index 400 of 400 is wrong")


def test_a_number_beside_an_index_is_compared_as_it_is() -> None:
    """An index has 32 bits in vectors, a label 64: it is cut off where it cannot be equal."""
    label = te.tensor("label", (9,), "int64")
    Y, Z = te.tensor("Y", (9, 40)), te.tensor("Z", (9, 40))
    Y[i, j] = te.where(j == label[i], 1.0, 0.0)
    Z[i, j] = te.where(label[i] < j, 1.0, 0.0) + te.where(j >= label[i], 2.0, 0.0)
    values = np.array([0, 39, 40, -1, 2**31 - 1, 2**32 + 3, -(2**32) + 5, 2**63 - 1, -(2**63)])
    s = te.create_schedule([Y, Z])
    for stage in (Y, Z):
        s[stage].vectorize(s[stage].split("j", factor=16)[1])
    y, z = te.build(s)(values)
    at = np.arange(40)
    np.testing.assert_array_equal(y, at == values[:, None])
    np.testing.assert_array_equal(z, 1.0 * (values[:, None] < at) + 2.0 * (at >= values[:, None]))
