"""The reference against NumPy written by hand, construct by construct."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import compare, evaluates

import tedsl as te

i, j, k, l, n, f, c, y, x, r, s, t = te.axes("i j k l n f c y x r s t")


# Indices


def test_affine_divided_and_reversed_indices(f32):
    a = f32(13)
    A = te.tensor("A", (13,))
    p = np.arange(4)
    for index, by_hand in [
        (3 * i + 1, 3 * p + 1),
        (12 - 2 * i, 12 - 2 * p),
        (i // 3 + 5, p // 3 + 5),
        ((5 * i) % 13, (5 * p) % 13),
        (te.minimum(i, 2), np.minimum(p, 2)),
    ]:
        T = te.tensor("T", (4,))
        T[i] = A[index]
        evaluates(T, a[by_hand], {A: a})


@pytest.mark.parametrize("stride,dilation", [(1, 1), (2, 1), (3, 2)])
def test_convolution(f32, stride, dilation):
    X, W = te.tensor("X", (2, 3, 15, 12)), te.tensor("W", (4, 3, 3, 2))
    Y = te.tensor("Y")
    Y[n, f, y, x] = te.sum(X[n, c, stride * y + dilation * r, stride * x + dilation * s] * W[f, c, r, s])
    a, w = f32(2, 3, 15, 12), f32(4, 3, 3, 2)
    want = np.zeros(Y.shape, "float64")
    for p in range(3):
        for q in range(2):
            window = a[:, :, dilation * p :, dilation * q :][:, :, ::stride, ::stride][:, :, : Y.shape[2], : Y.shape[3]]
            want += np.einsum("ncyx,fc->nfyx", window, w[:, :, p, q], dtype="float64")
    evaluates(Y, want.astype("float32"), {X: a, W: w})


def test_reads_of_arrays_as_they_lie(f32):
    A = te.tensor("A", (5, 7))
    T = te.tensor("T")
    T[j, i] = A[i, j] + 1
    a = f32(5, 7)
    for array in [np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2], a[::-1][::-1]]:
        evaluates(T, a.T + 1, {A: array})
    evaluates(T, np.broadcast_to(a[:1], (5, 7)).T + 1, {A: np.broadcast_to(a[:1], (5, 7))})


def test_gather_reads_what_the_index_says(f32):
    T, I = te.tensor("T", (5, 3)), te.tensor("I", (4,), dtype="uint8")
    E = te.tensor("E")
    E[i, j] = T[I[i], j]
    a, index = f32(5, 3), np.array([4, 0, 2, 2], "uint8")
    evaluates(E, a[index], {T: a, I: index})


@pytest.mark.parametrize("bad", [5, -1, 2**31 - 1, -(2**31)])
def test_gather_out_of_range_names_the_index(f32, bad):
    T, I = te.tensor("T", (5, 3)), te.tensor("I", (4,), dtype="int32")
    E = te.tensor("E")
    E[i, j] = T[I[i], j]
    with pytest.raises(
        IndexError,
        match=rf"`T\[I\[i\], j\]`: index 0 is {bad} \(I\[1\] is {bad}\), outside of T, whose extent there is 5",
    ) as e:
        te.evaluate(E, {T: f32(5, 3), I: np.array([0, bad, 0, 0], "int32")})
    assert isinstance(e.value, te.CallError)
    assert "test_reference.py" in str(e.value)


def test_a_false_condition_keeps_its_reads_from_failing(f32):
    T, I = te.tensor("T", (5,)), te.tensor("I", (4,), dtype="int32")
    a, index = f32(5), np.array([4, 9, -1, 2], "int32")
    ok = (index >= 0) & (index < 5)
    guard = (I[i] >= 0) & (I[i] < 5)
    E = te.tensor("E")
    E[i] = te.where(guard, T[I[i]], -1)
    evaluates(E, np.where(ok, a[np.where(ok, index, 0)], np.float32(-1)), {T: a, I: index})
    S = te.tensor("S")
    S[()] = te.sum(T[I[i]], where=guard)
    evaluates(S, a[index[ok]].sum(dtype="float32").reshape(()), {T: a, I: index})
    N = te.tensor("N")
    N[i] = te.where(guard, te.sum(T[I[i]] * T[k], axis=k), 0)
    evaluates(N, np.where(ok, a[np.where(ok, index, 0)] * a.sum(), 0).astype("float32"), {T: a, I: index}, 1e-4)


def test_a_condition_on_one_factor_keeps_the_other_in_bounds(f32):
    """A sum of products that could be a matrix product, but for what only its condition keeps in bounds."""
    A, B, C = te.tensor("A", (6, 2)), te.tensor("B", (4, 6)), te.tensor("C", (4, 6))
    C[i, j] = te.sum(A[k, (1 - j) // 2 + 1] * B[i, j], axis=k, where=(i < 3) & (j < 4) & (j % 2 == 1))
    a, b = f32(6, 2), f32(4, 6)
    want = np.zeros((4, 6), "float32")
    want[:3, 1], want[:3, 3] = a[:, 1].sum() * b[:3, 1], a[:, 0].sum() * b[:3, 3]
    evaluates(C, want, {A: a, B: b}, 1e-4)


def test_a_nested_condition_counts_only_inside_the_outer(f32):
    A = te.tensor("A", (4,))
    T = te.tensor("T", (8,))
    T[i] = te.where(i >= 2, te.where(i < 6, A[i - 2], 5.0), te.where(i == 1, A[i], 7.0))
    a = f32(4)
    evaluates(T, np.array([7, a[1], *a, 5, 5], "float32"), {A: a})


# Reductions


def test_reductions_over_several_axes_and_where(f32):
    a = f32(4, 5, 6)
    A = te.tensor("A", (4, 5, 6))
    T = te.tensor("T")
    T[j] = te.sum(A[i, j, k], where=(i + k) % 2 == 0)
    keep = (np.arange(4)[:, None, None] + np.arange(6)) % 2 == 0
    evaluates(T, np.where(keep, a, 0).sum((0, 2)), {A: a})
    I = te.tensor("I")
    I[j] = te.argmax(A[i, j, k])
    evaluates(I, a.transpose(1, 0, 2).reshape(5, -1).argmax(1), {A: a})
    M = te.tensor("M")
    M[j] = te.max(A[i, j, k], where=A[i, j, k] > 100, initial=-np.inf)
    evaluates(M, np.full(5, -np.inf, "float32"), {A: a})


def test_small_integers_accumulate_in_64_bits():
    a = np.full((1000,), 127, "int8")
    A = te.tensor("A", (1000,), "int8")
    for fn, np_fn in [(te.sum, np.sum), (te.prod, np.prod)]:
        T = te.tensor("T")
        T[()] = fn(A[i])
        evaluates(T, np_fn(a).reshape(()), {A: a})
    T = te.tensor("T")
    T[()] = te.sum(A[i], dtype="float32")
    evaluates(T, np.float32(127000).reshape(()), {A: a})


def test_a_reduction_counts_axes_that_its_value_does_not_read(f32):
    a = f32(3)
    A = te.tensor("A", (3,))
    kk, ll = te.reduce_axis(4, "kk"), te.reduce_axis((2, 7), "ll")
    for value, want in [
        (A[i], a * 20),
        (A[i] * te.cast(ll, "float32"), a * 4 * 20),
        (te.cast(kk, "float32"), np.full(3, 30, "float32")),
    ]:
        T = te.tensor("T", (3,))
        T[i] = te.sum(value, axis=(kk, ll))
        evaluates(T, want.astype("float32"), {A: a})


def test_nested_reductions(f32):
    a = f32(4, 9)
    X = te.tensor("X", (4, 9))
    S = te.tensor("S")
    m = te.max(X[i, l])
    S[i, j] = te.exp(X[i, j] - m) / te.sum(te.exp(X[i, k] - m))
    e = np.exp(a - a.max(1, keepdims=True))
    evaluates(S, e / e.sum(1, keepdims=True), {X: a})
    L = te.tensor("L")
    L[()] = te.sum(X[i, 0] + te.log(te.sum(te.exp(X[i, k]))))
    evaluates(L, (a[:, 0] + np.log(np.exp(a).sum(1))).sum().reshape(()), {X: a})


def test_reducers_of_the_users(f32):
    def combine(p, q):
        m = te.maximum(p[0], q[0])
        return m, p[1] * te.exp(p[0] - m) + q[1] * te.exp(q[0] - m)

    lse = te.reducer((-3e38, 0.0), combine)
    X = te.tensor("X", (5, 9))
    kk = te.reduce_axis(9, "kk")
    M, S = te.compute((5,), lambda p: lse((X[p, kk], 1.0), axis=kk), name="lse")
    L = te.tensor("L")
    L[i] = M[i] + te.log(S[i])
    a = 30 * f32(5, 9)
    evaluates(L, np.logaddexp.reduce(a.astype("f8"), axis=1).astype("f4"), {X: a})
    m, total = te.evaluate([M, S], {X: a})
    compare(m, a.max(1))
    assert total.dtype == "float32"
    # order is kept: an associative reducer need not commute to be judged
    first = te.reducer(0, lambda p, q: te.where(p != 0, p, q))
    F = te.tensor("F")
    F[i] = first(X[i, k])
    evaluates(F, a[:, 0], {X: a})


def test_products_that_may_overflow_are_not_contracted():
    a = np.array([[3e38, 1], [2, 3]], "float32")
    A = te.tensor("A", (2, 2))
    C = te.tensor("C")
    C[i, j] = te.sum(A[i, k] * A[j, k])
    with np.errstate(over="ignore"):
        want = (a[:, None] * a[None]).sum(-1)
    assert np.isinf(want).any()
    evaluates(C, want, {A: a})


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "uint8", "float16", "float64"])
def test_sums_of_products_in_every_type(dtype, rng):
    """The same sum by matrix product and point by point: large whole numbers wrap."""
    info = np.iinfo(dtype) if dtype[0] != "f" else None
    for large in [False, True]:
        if info is None:
            a, b = (rng.standard_normal((17, 40)).astype(dtype) for _ in range(2))
        else:
            low, high = (info.min, info.max) if large else (max(info.min, -5), 6)
            a, b = (rng.integers(low, high, (17, 40), dtype=dtype) for _ in range(2))
        A, B = te.tensor("A", (17, 40), dtype), te.tensor("B", (17, 40), dtype)
        C = te.tensor("C")
        C[i, j] = te.sum(A[i, k] * B[j, k], where=k % 2 == 0)
        products = (a[:, None] * b[None])[..., ::2]
        evaluates(C, products.sum(-1), {A: a, B: b}, None if dtype != "float16" else 0.1)


# Recurrences


def test_running_sum_and_fibonacci(f32):
    X = te.tensor("X", (7, 3))
    S = te.tensor("S", (7, 3))
    S[0, j] = X[0, j]
    S[t, j] = 0.5 * S[t - 1, j] + X[t, j]
    a = f32(7, 3)
    want = a.copy()
    for q in range(1, 7):
        want[q] += 0.5 * want[q - 1]
    evaluates(S, want, {X: a})
    F = te.tensor("F", (10,), dtype="int64")
    F[0] = 1
    F[1] = 1
    F[t] = F[t - 1] + F[t - 2]
    evaluates(F, np.array([1, 1, 2, 3, 5, 8, 13, 21, 34, 55]), {})


def test_recurrences_along_other_axes(f32):
    a = f32(4, 6)
    X = te.tensor("X", (4, 6))
    S = te.tensor("S", (4, 6))
    S[i, j] = te.where(j >= 1, S[i, j - 1], 0.0) + X[i, j]
    evaluates(S, a.cumsum(1), {X: a})
    P = te.tensor("P", (4, 6))
    P[i, j] = (
        X[i, j]
        + te.where(i >= 1, P[i - 1, j], 0.0)
        + te.where(j >= 1, P[i, j - 1], 0.0)
        - te.where((i >= 1) & (j >= 1), P[i - 1, j - 1], 0.0)
    )
    evaluates(P, a.cumsum(0).cumsum(1), {X: a}, 1e-5)


def test_edit_distance(rng):
    p, q = rng.integers(0, 3, 12).astype("int32"), rng.integers(0, 3, 9).astype("int32")
    A, B = te.tensor("A", (12,), "int32"), te.tensor("B", (9,), "int32")
    D = te.tensor("D", (13, 10), "int32")
    D[0, j] = te.cast(j, "int32")
    D[i, 0] = te.cast(i, "int32")
    D[i, j] = te.minimum(
        te.minimum(D[i - 1, j], D[i, j - 1]) + 1, D[i - 1, j - 1] + te.where(A[i - 1] == B[j - 1], 0, 1)
    )
    want = np.zeros((13, 10), "int32")
    for u in range(13):
        for v in range(10):
            want[u, v] = (
                max(u, v)
                if min(u, v) == 0
                else min(want[u - 1, v] + 1, want[u, v - 1] + 1, want[u - 1, v - 1] + (p[u - 1] != q[v - 1]))
            )
    evaluates(D, want, {A: p, B: q})


def test_lstm_and_rnn(f32):
    steps, width = 6, 5
    X, W = te.tensor("X", (steps, width)), te.tensor("W", (width, width))
    kk = te.reduce_axis(width, "kk")
    H, C = te.tensor("H", (steps, width)), te.tensor("C", (steps, width))
    C[0, j] = X[0, j]
    C[t, j] = te.sigmoid(te.sum(H[t - 1, kk] * W[kk, j], axis=kk)) * C[t - 1, j] + X[t, j]
    H[0, j] = te.tanh(C[0, j])
    H[t, j] = te.tanh(C[t, j])
    a, w = f32(steps, width), f32(width, width)
    cell, hidden = a.copy(), np.tanh(a)
    for q in range(1, steps):
        cell[q] = 1 / (1 + np.exp(-(hidden[q - 1] @ w))) * cell[q - 1] + a[q]
        hidden[q] = np.tanh(cell[q])
    got = te.evaluate((H, C), {X: a, W: w})
    assert isinstance(got, tuple)
    compare(got[0], hidden)
    compare(got[1], cell)


def test_equations_apply_in_order():
    T = te.tensor("T", (5, 5), "int32")
    T[2, 2] = 9
    T[2, j] = te.cast(j, "int32")
    T[i, 3] = te.cast(10 * i, "int32")
    T[i, j] = -1
    want = np.full((5, 5), -1)
    want[:, 3], want[2] = 10 * np.arange(5), np.arange(5)
    want[2, 2] = 9
    evaluates(T, want.astype("int32"), {})


def test_several_tensors_of_one_definition(f32):
    A = te.tensor("A", (4, 3))
    P, Q = te.compute((4, 3), lambda i, j: (A[i, j] + 1, te.cast(A[i, j], "float64") * 2), name="P")
    a = f32(4, 3)
    p, q = te.evaluate([P, Q], {A: a})
    compare(p, a + 1)
    compare(q, a.astype("f8") * 2)
    evaluates(Q, a.astype("f8") * 2, {A: a})
