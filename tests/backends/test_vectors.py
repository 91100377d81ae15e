"""Vectorised loops, with and without a vector form: what one loop is printed as changes nothing about the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import compare
from hypothesis import given
from hypothesis import strategies as st

import tedsl as te

i, j, k = te.axes("i j k")
n, m = te.var("n"), te.var("m")

# Bodies over X (float32), P (positions in X) and H (float16) at i; the comment says why there is no vector form.
BODIES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "float to unsigned": lambda X, P, H: te.cast(X[i] + 3, "uint8"),  # no such conversion of vectors
    "16 bits": lambda X, P, H: H[i] * H[i],  # computed one by one
    "16 bits inside": lambda X, P, H: te.cast(H[i], "float32") + X[i],
    "16 bits compared": lambda X, P, H: te.where(H[i] > 0, X[i], 1),
    "to bool": lambda X, P, H: te.cast(X[i], "bool"),  # only a comparison gives a mask
    "out of bounds": lambda X, P, H: te.where(i < n - 1, X[(i + 1) % n], X[i]),  # not provably inside
    "data says where": lambda X, P, H: te.where(X[i] > 0, X[P[i]], 0),
    "a vector after all": lambda X, P, H: X[i] * 2 + i,
    "gathered": lambda X, P, H: X[P[i]] + 1,
    "backwards": lambda X, P, H: X[n - 1 - i],
}


def drawn(body: str, split: int | None) -> tuple[te.Schedule, tuple[te.Tensor, ...]]:
    """A vectorised stage, beside one whose index is a remainder that only `n >= 1` would make a plain `%`."""
    X, P, H = te.tensor("X", (n,)), te.tensor("P", (n,), "int64"), te.tensor("H", (n,), "float16")
    W, M = te.tensor("W", (12,), "int64"), te.tensor("M", (m,), "int64")
    A, B = te.tensor("A"), te.tensor("B")
    A[i] = BODIES[body](X, P, H)
    B[j] = W[j + (n * m - m) % 4] + M[j]
    s = te.create_schedule([A, B])
    lane = i if split is None else s[A].split(i, factor=split)[1]
    s[A].vectorize(lane)
    return s, tuple(t for t in (X, P, H, W, M) if t in A.inputs or t in B.inputs)


def check(body: str, split: int | None, isa: str, sizes: list[tuple[int, int]]) -> None:
    s, inputs = drawn(body, split)
    kernel = te.build(s, inputs, isa=isa)
    rng = np.random.default_rng(0)
    for a, b in sizes:
        given = {
            "X": rng.normal(size=a).astype("float32"),
            "P": rng.permutation(a),
            "H": rng.normal(size=a).astype("float16"),
            "W": np.arange(12),
            "M": rng.integers(0, 9, b),
        }
        values = {t: given[t.name] for t in inputs}
        if body == "float to unsigned":
            values[inputs[0]] = np.abs(given["X"])
        for got, want in zip(kernel(*values.values()), te.evaluate(s.outputs, values), strict=True):
            compare(got, want)


def test_what_an_abandoned_vector_form_assumed_is_forgotten() -> None:
    """While a form is tried the loop runs at least once, so n > 0 there; it is not so in the next loop."""
    X, W, M = te.tensor("X", (n,)), te.tensor("W", (8,), "int64"), te.tensor("M", (m,), "int64")
    H, K = te.tensor("H"), te.tensor("K")
    H[i] = te.cast(X[i], "uint8")
    K[j] = W[j + (n * m - m) % 4] + M[j]
    s = te.create_schedule([H, K])
    s[H].vectorize(i)
    h, got = te.build(s)(np.zeros(0, "float32"), np.arange(8), np.zeros(5, "int64"))
    assert h.shape == (0,)
    np.testing.assert_array_equal(got, [3, 4, 5, 6, 7])


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("split", [None, 5, 16])
@pytest.mark.parametrize("body", list(BODIES))
def test_whatever_is_vectorised(body: str, split: int | None, isa: str) -> None:
    check(body, split, isa, [(0, 5), (1, 3), (7, 0), (33, 9)])


@pytest.mark.fuzz
@given(
    st.sampled_from(list(BODIES)),
    st.sampled_from([None, 2, 3, 8, 11]),
    st.sampled_from(["sse2", "avx2", "avx512"]),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=4),
)
def test_whatever_is_vectorised_at_any_size(
    body: str, split: int | None, isa: str, sizes: list[tuple[int, int]]
) -> None:
    check(body, split, isa, sizes)
