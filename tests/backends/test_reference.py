"""The reference against NumPy written by hand, construct by construct."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from helpers import compare

import tedsl as te
from tedsl.backends.reference import functions
from tedsl.lang.functions import FUNCTIONS

i, j, k, l, n, f, c, y, x, r, s, t = te.axes("i j k l n f c y x r s t")


@pytest.fixture
def f32(rng):
    return lambda *shape: rng.standard_normal(shape).astype("float32")


def given(T, want, inputs, error=None, **sizes):
    compare(te.evaluate(T, inputs, **sizes), want, error)


# Functions and types


def test_every_function_has_a_meaning():
    # but for those that pages of the documentation have registered in this process
    assert set(functions.FUNCTIONS) == {name for name, f in FUNCTIONS.items() if f.numpy is None}


@pytest.mark.parametrize("name", [f.name for f in FUNCTIONS.values() if f.kind == "floating" and f.arity == 1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32"])
def test_floating_functions(name, dtype, rng):
    a = (rng.integers(1, 8, 20)).astype(dtype)
    A = te.tensor("A", (20,), dtype)
    T = te.tensor("T")
    T[i] = getattr(te, name, None)(A[i]) if hasattr(te, name) else te.lang.functions.apply(name, A[i])
    by_hand = {"rsqrt": lambda v: 1 / np.sqrt(v), "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "erf": None}
    got = te.evaluate(T, {A: a})
    if name == "erf":
        assert got[0] > 0.84
        return
    with np.errstate(all="ignore"):
        want = by_hand.get(name, getattr(np, name, None))(a.astype(got.dtype))
    compare(got, want.astype(got.dtype))
    assert T.dtype == np.exp(np.zeros(1, dtype)).dtype.name


def test_erf_and_sigmoid_at_the_ends():
    A = te.tensor("A", (5,), "float64")
    a = np.array([-np.inf, -800.0, 0.0, 800.0, np.nan])
    for function, want in [(te.erf, [-1, -1, 0, 1, np.nan]), (te.sigmoid, [0, 0, 0.5, 1, np.nan])]:
        T = te.tensor("T")
        T[i] = function(A[i])
        given(T, np.array(want), {A: a})


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_whole_numbers_as_in_numpy(dtype, rng):
    info = np.iinfo(dtype)
    a = rng.integers(info.min, info.max, 200, dtype=dtype, endpoint=True)
    b = rng.integers(max(info.min, -5), 6, 200).astype(dtype)
    a[:4], b[:4] = [info.min, info.min, info.max, 0], np.array([-1, 0, 0, 0]).astype(dtype)
    A, B = te.tensor("A", (200,), dtype), te.tensor("B", (200,), dtype)
    operations = [lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p * q, lambda p, q: p // q, lambda p, q: p % q, lambda p, q: p & q,
                  lambda p, q: p | q, lambda p, q: p ^ q, lambda p, q: p << (q & 7), lambda p, q: p >> (q & 7), lambda p, q: p << q,
                  lambda p, q: p < q, lambda p, q: p == q, lambda p, q: -p, lambda p, q: ~p, lambda p, q: abs(p), lambda p, q: p**2]  # fmt: skip
    for operation in operations:
        T = te.tensor("T")
        T[i] = operation(A[i], B[i])
        with np.errstate(all="ignore"):
            given(T, operation(a, b), {A: a, B: b})


def test_whole_powers_with_negative_exponents():
    A, B = te.tensor("A", (8,), "int32"), te.tensor("B", (8,), "int32")
    T = te.tensor("T")
    T[i] = A[i] ** B[i]
    a, b = np.array([2, 1, -1, -1, 0, 3, -2, 0], "int32"), np.array([-1, -5, -2, -3, -1, 4, 3, 0], "int32")
    given(T, np.array([0, 1, 1, -1, 0, 81, -8, 1], "int32"), {A: a, B: b})


@pytest.mark.parametrize("source", ["bool", "int8", "uint8", "int32", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("target", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64"])
def test_casts(source, target):
    a = np.array([0, 1, 2, 100, 127]).astype(source)
    A = te.tensor("A", (5,), source)
    T = te.tensor("T")
    T[i] = te.cast(A[i], target)
    given(T, a.astype(target), {A: a})


def test_promotion_follows_numpy():
    for p, q in [
        ("int8", "uint8"),
        ("int64", "uint64"),
        ("float32", "int32"),
        ("float16", "int8"),
        ("bool", "int16"),
        ("float32", "float64"),
    ]:
        A, B = te.tensor("A", (3,), p), te.tensor("B", (3,), q)
        T = te.tensor("T")
        T[i] = A[i] + B[i]
        a, b = np.array([1, 0, 1]).astype(p), np.array([1, 1, 0]).astype(q)
        given(T, a + b, {A: a, B: b})


def test_floats_keep_nan_and_infinities(rng):
    a = np.array([[1, np.nan, 3], [np.inf, 2, -np.inf], [-0.0, 0.0, 5]], "float32")
    A = te.tensor("A", (3, 3))
    for fn, np_fn in [
        (te.sum, np.sum),
        (te.prod, np.prod),
        (te.max, np.max),
        (te.min, np.min),
        (te.argmax, np.argmax),
        (te.argmin, np.argmin),
    ]:
        T = te.tensor("T")
        T[i] = fn(A[i, j])
        with np.errstate(all="ignore"):
            want = np_fn(a, axis=1)
        np.testing.assert_array_equal(te.evaluate(T, {A: a}), want)


def test_nothing_warns():
    A = te.tensor("A", (3,))
    T = te.tensor("T")
    T[i] = te.log(A[i]) / A[i] + te.exp(1000 * A[i]) + te.cast(te.cast(A[i], "int32") // 0, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        te.evaluate(T, {A: np.array([-1, 0, 1], "float32")})


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
        given(T, a[by_hand], {A: a})


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
    given(Y, want.astype("float32"), {X: a, W: w})


def test_reads_of_arrays_as_they_lie(f32):
    A = te.tensor("A", (5, 7))
    T = te.tensor("T")
    T[j, i] = A[i, j] + 1
    a = f32(5, 7)
    for array in [np.asfortranarray(a), np.repeat(a, 2, axis=1)[:, ::2], a[::-1][::-1]]:
        given(T, a.T + 1, {A: array})
    given(T, np.broadcast_to(a[:1], (5, 7)).T + 1, {A: np.broadcast_to(a[:1], (5, 7))})


def test_gather_reads_what_the_index_says(f32):
    T, I = te.tensor("T", (5, 3)), te.tensor("I", (4,), dtype="uint8")
    E = te.tensor("E")
    E[i, j] = T[I[i], j]
    a, index = f32(5, 3), np.array([4, 0, 2, 2], "uint8")
    given(E, a[index], {T: a, I: index})


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
    given(E, np.where(ok, a[np.where(ok, index, 0)], np.float32(-1)), {T: a, I: index})
    S = te.tensor("S")
    S[()] = te.sum(T[I[i]], where=guard)
    given(S, a[index[ok]].sum(dtype="float32").reshape(()), {T: a, I: index})
    N = te.tensor("N")
    N[i] = te.where(guard, te.sum(T[I[i]] * T[k], axis=k), 0)
    given(N, np.where(ok, a[np.where(ok, index, 0)] * a.sum(), 0).astype("float32"), {T: a, I: index}, 1e-4)


def test_a_condition_on_one_factor_keeps_the_other_in_bounds(f32):
    """A sum of products that could be a matrix product, but for what only its condition keeps in bounds."""
    A, B, C = te.tensor("A", (6, 2)), te.tensor("B", (4, 6)), te.tensor("C", (4, 6))
    C[i, j] = te.sum(A[k, (1 - j) // 2 + 1] * B[i, j], axis=k, where=(i < 3) & (j < 4) & (j % 2 == 1))
    a, b = f32(6, 2), f32(4, 6)
    want = np.zeros((4, 6), "float32")
    want[:3, 1], want[:3, 3] = a[:, 1].sum() * b[:3, 1], a[:, 0].sum() * b[:3, 3]
    given(C, want, {A: a, B: b}, 1e-4)


def test_a_nested_condition_counts_only_inside_the_outer(f32):
    A = te.tensor("A", (4,))
    T = te.tensor("T", (8,))
    T[i] = te.where(i >= 2, te.where(i < 6, A[i - 2], 5.0), te.where(i == 1, A[i], 7.0))
    a = f32(4)
    given(T, np.array([7, a[1], *a, 5, 5], "float32"), {A: a})


# Reductions


def test_reductions_over_several_axes_and_where(f32):
    a = f32(4, 5, 6)
    A = te.tensor("A", (4, 5, 6))
    T = te.tensor("T")
    T[j] = te.sum(A[i, j, k], where=(i + k) % 2 == 0)
    keep = (np.arange(4)[:, None, None] + np.arange(6)) % 2 == 0
    given(T, np.where(keep, a, 0).sum((0, 2)), {A: a})
    I = te.tensor("I")
    I[j] = te.argmax(A[i, j, k])
    given(I, a.transpose(1, 0, 2).reshape(5, -1).argmax(1), {A: a})
    M = te.tensor("M")
    M[j] = te.max(A[i, j, k], where=A[i, j, k] > 100)
    given(M, np.full(5, -np.inf, "float32"), {A: a})


def test_small_integers_accumulate_in_64_bits():
    a = np.full((1000,), 127, "int8")
    A = te.tensor("A", (1000,), "int8")
    for fn, np_fn in [(te.sum, np.sum), (te.prod, np.prod)]:
        T = te.tensor("T")
        T[()] = fn(A[i])
        given(T, np_fn(a).reshape(()), {A: a})
    T = te.tensor("T")
    T[()] = te.sum(A[i], dtype="float32")
    given(T, np.float32(127000).reshape(()), {A: a})


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
        given(T, want.astype("float32"), {A: a})


def test_nested_reductions(f32):
    a = f32(4, 9)
    X = te.tensor("X", (4, 9))
    S = te.tensor("S")
    m = te.max(X[i, l])
    S[i, j] = te.exp(X[i, j] - m) / te.sum(te.exp(X[i, k] - m))
    e = np.exp(a - a.max(1, keepdims=True))
    given(S, e / e.sum(1, keepdims=True), {X: a})
    L = te.tensor("L")
    L[()] = te.sum(X[i, 0] + te.log(te.sum(te.exp(X[i, k]))))
    given(L, (a[:, 0] + np.log(np.exp(a).sum(1))).sum().reshape(()), {X: a})


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
    given(L, np.logaddexp.reduce(a.astype("f8"), axis=1).astype("f4"), {X: a})
    m, total = te.evaluate([M, S], {X: a})
    compare(m, a.max(1))
    assert total.dtype == "float32"
    # order is kept: an associative reducer need not commute to be judged
    first = te.reducer(0, lambda p, q: te.where(p != 0, p, q))
    F = te.tensor("F")
    F[i] = first(X[i, k])
    given(F, a[:, 0], {X: a})


def test_products_that_may_overflow_are_not_contracted():
    a = np.array([[3e38, 1], [2, 3]], "float32")
    A = te.tensor("A", (2, 2))
    C = te.tensor("C")
    C[i, j] = te.sum(A[i, k] * A[j, k])
    with np.errstate(over="ignore"):
        want = (a[:, None] * a[None]).sum(-1)
    assert np.isinf(want).any()
    given(C, want, {A: a})


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
        given(C, products.sum(-1), {A: a, B: b}, None if dtype != "float16" else 0.1)


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
    given(S, want, {X: a})
    F = te.tensor("F", (10,), dtype="int64")
    F[0] = 1
    F[1] = 1
    F[t] = F[t - 1] + F[t - 2]
    given(F, np.array([1, 1, 2, 3, 5, 8, 13, 21, 34, 55]), {})


def test_recurrences_along_other_axes(f32):
    a = f32(4, 6)
    X = te.tensor("X", (4, 6))
    S = te.tensor("S", (4, 6))
    S[i, j] = te.where(j >= 1, S[i, j - 1], 0.0) + X[i, j]
    given(S, a.cumsum(1), {X: a})
    P = te.tensor("P", (4, 6))
    P[i, j] = (
        X[i, j]
        + te.where(i >= 1, P[i - 1, j], 0.0)
        + te.where(j >= 1, P[i, j - 1], 0.0)
        - te.where((i >= 1) & (j >= 1), P[i - 1, j - 1], 0.0)
    )
    given(P, a.cumsum(0).cumsum(1), {X: a}, 1e-5)


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
    given(D, want, {A: p, B: q})


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
    given(T, want.astype("int32"), {})


def test_several_tensors_of_one_definition(f32):
    A = te.tensor("A", (4, 3))
    P, Q = te.compute((4, 3), lambda i, j: (A[i, j] + 1, te.cast(A[i, j], "float64") * 2), name="P")
    a = f32(4, 3)
    p, q = te.evaluate([P, Q], {A: a})
    compare(p, a + 1)
    compare(q, a.astype("f8") * 2)
    given(Q, a.astype("f8") * 2, {A: a})


# Shapes, sizes


def test_rank_0(f32):
    a, A = f32(3), te.tensor("A", (3,))
    b = te.tensor("b", ())
    L = te.tensor("L")
    L[()] = te.sum(A[i]) * b[()]
    for scalar in [2.0, 2, np.float32(2), np.full((), 2, "float32")]:
        got = te.evaluate(L, {A: a, b: scalar})
        assert isinstance(got, np.ndarray)
        compare(got, np.float32(2) * a.sum().reshape(()))


@pytest.mark.parametrize("size", [0, 1, 7, 300])
def test_symbolic_sizes(f32, size):
    m = te.var("m")
    A, B = te.tensor("A", (m, 5)), te.tensor("B", (m, 5))
    C, L, N = te.tensor("C"), te.tensor("L"), te.tensor("N", (m,))
    C[i, j] = te.sum(A[i, k] * B[j, k])
    L[()] = te.sum(A[i, j])
    N[i] = te.sum(te.cast(i * m + k, "int64"), axis=te.reduce_axis(m, "k"))
    given(N, np.arange(size * size).reshape(size, size).sum(1), {}, m=size)
    a, b = f32(size, 5), f32(size, 5)
    given(C, a @ b.T, {A: a, B: b}, 1e-4)
    given(L, a.sum(dtype="f8").astype("f4").reshape(()), {A: a}, 1e-4)


def test_sizes_are_solved_for_and_checked(f32):
    m, n = te.var("m", min=1), te.var("n", multiple_of=4)
    A = te.tensor("A", (2 * m + 1,))
    T = te.tensor("T", (m,))
    T[i] = A[2 * i] + A[2 * i + 1]
    a = f32(7)
    given(T, a[0:6:2] + a[1:6:2], {A: a})
    given(T, a[0:6:2] + a[1:6:2], {A: a}, m=3)
    with pytest.raises(te.CallError, match=r"A has 6 along axis 0, which is not .*m.* for any m"):
        te.evaluate(T, {A: f32(6)})
    with pytest.raises(te.CallError, match="the size m is 0 by axis 0 of A, but was declared to be at least 1"):
        te.evaluate(T, {A: f32(1)})
    with pytest.raises(te.CallError, match=r"A has shape .*axis 0 has 7, not 5"):
        te.evaluate(T, {A: a}, m=2)
    B, U = te.tensor("B", (n,)), te.tensor("U")
    U[i] = B[i]
    with pytest.raises(te.CallError, match="the size n is 6 by axis 0 of B, but was declared to be a multiple of 4"):
        te.evaluate(U, {B: f32(6)})
    with pytest.raises(te.CallError, match="a size is a whole number"):
        te.evaluate(U, {B: f32(8)}, n=-1)


def test_a_size_that_no_input_has(f32):
    m = te.var("m")
    T = te.tensor("T", (m,), "int64")
    T[i] = i * m
    given(T, 5 * np.arange(5), {}, m=5)
    with pytest.raises(te.CallError, match=r"the size m is in no shape of the inputs"):
        te.evaluate(T)


@pytest.mark.parametrize("fn", [te.max, te.min, te.argmax, te.argmin])
def test_the_largest_of_nothing(fn):
    m = te.var("m")
    A = te.tensor("A", (3, m))
    T = te.tensor("T")
    T[i] = fn(A[i, k])
    with pytest.raises(te.CallError, match=rf"{fn.__name__} over the axis k of extent 0 .*as in NumPy"):
        te.evaluate(T, {A: np.zeros((3, 0), "float32")})
    U = te.tensor("U")
    U[j] = fn(A[i, j], axis=i)
    assert te.evaluate(U, {A: np.zeros((3, 0), "float32")}).shape == (0,)


def test_sums_and_products_of_nothing():
    m = te.var("m")
    A = te.tensor("A", (3, m))
    for fn, want in [(te.sum, 0), (te.prod, 1)]:
        T = te.tensor("T")
        T[i] = fn(A[i, k])
        given(T, np.full(3, want, "float32"), {A: np.zeros((3, 0), "float32")})


# Calls


def test_inputs_by_name_and_what_is_not_needed(f32):
    A, B = te.tensor("A", (3,)), te.tensor("B", (3,))
    T = te.tensor("T")
    T[i] = A[i] * 2
    a = f32(3)
    given(T, a * 2, {"A": a})
    given(T, a * 2, {A: a, B: f32(9), "nothing": 1})
    same = te.tensor("A", (3,))
    U = te.tensor("U")
    U[i] = A[i] + same[i]
    with pytest.raises(te.CallError, match="2 inputs are named A; give them by the tensors themselves"):
        te.evaluate(U, {"A": a})
    given(U, a + a, {A: a, "A": a})


def test_an_input_is_its_own_value(f32):
    A = te.tensor("A", (3,))
    a = f32(3)
    got = te.evaluate(A, {A: a})
    compare(got, a)
    assert not np.shares_memory(got, a)


@pytest.mark.parametrize(
    "array,words",
    [
        (None, "the input A is missing .*pass {A: array of shape \\(3, 4\\) and dtype float32}"),
        (np.zeros((3, 5), "float32"), r"A has shape \(3, 5\), expected \(3, 4\): axis 1 has 5, not 4"),
        (np.zeros(3, "float32"), r"A has 1 dimensions, of extents \(3,\); it was declared with 2: \(3, 4\)"),
        (np.zeros((3, 4), "float64"), "A has dtype float64, expected float32; convert it with A.astype"),
        (object(), "A has dtype object|cannot be read"),
    ],
)
def test_arguments_that_do_not_fit(array, words):
    A = te.tensor("A", (3, 4))
    T = te.tensor("T")
    T[i, j] = A[i, j]
    with pytest.raises(te.CallError, match=words):
        te.evaluate(T, {} if array is None else {A: array})


def test_scalars_that_do_not_fit():
    b = te.tensor("b", (), "int8")
    T = te.tensor("T")
    T[()] = b[()]
    with pytest.raises(TypeError, match=r"b is 1\.5, a Python float, expected int8"):
        te.evaluate(T, {b: 1.5})
    with pytest.raises(ValueError, match="b is 1000, which int8 cannot hold"):
        te.evaluate(T, {b: 1000})
    with pytest.raises(TypeError, match=r"te\.evaluate takes a tensor"):
        te.evaluate("T", {})


def test_sizes_that_contradict_each_other(f32):
    m = te.var("m")
    A, B = te.tensor("A", (m,)), te.tensor("B", (m,))
    T = te.tensor("T")
    T[i] = A[i] + B[i]
    with pytest.raises(te.CallError, match="the size m is 3 by axis 0 of A and 4 by axis 0 of B"):
        te.evaluate(T, {A: f32(3), B: f32(4)})


# Blocks


def peak(T, inputs):
    te.evaluate(T, inputs)
    tracemalloc.start()
    try:
        result = te.evaluate(T, inputs)
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_a_small_multiple_of_what_goes_in_and_out(f32):
    a, b = f32(700, 700), f32(700, 700)
    A, B = te.tensor("A", (700, 700)), te.tensor("B", (700, 700))
    C = te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    got, used = peak(C, {A: a, B: b})
    compare(got, a @ b.T, 1e-3)
    assert used < 8 * 3 * a.nbytes
    M = te.tensor("M")
    M[i, j] = te.max(te.minimum(A[i, k], B[j, k]))  # no matrix product
    _, used = peak(M, {A: a[:700], B: b})
    assert used < 10 * 3 * a.nbytes


def test_tensors_in_between_may_be_larger_than_memory_is_meant_to_be(f32):
    a = f32(300, 300)
    A = te.tensor("A", (300, 300))
    P = te.tensor("P")
    P[i, j, k] = A[i, k] * A[k, j]
    C = te.tensor("C")
    C[i, j] = te.sum(P[i, j, k])
    got, used = peak(C, {A: a})
    compare(got, a @ a, 1e-4)
    assert used < 300**3  # P alone would be four times as much


def test_blocks_do_not_show(f32, monkeypatch):
    from tedsl.backends import reference

    X = te.tensor("X", (6, 9))
    S = te.tensor("S")
    m = te.max(X[i, l])
    S[i, j] = te.exp(X[i, j] - m) / te.sum(te.exp(X[i, k] - m), where=k != 2) + te.cast(
        te.argmin(X[n, l], axis=(n, l)), "float32"
    )
    R = te.tensor("R", (6, 9))
    R[0, j] = S[0, j]
    R[i, j] = R[i - 1, j] + te.sum(S[i, l] * S[n, l] * S[n, j], axis=(n, l))
    a = f32(6, 9)
    want = te.evaluate([S, R], {X: a})
    for block in [1, 2, 7, 40]:
        monkeypatch.setattr(reference, "_BLOCK", (block, block))
        for got, expected in zip(te.evaluate([S, R], {X: a}), want, strict=True):
            compare(got, expected, 1e-4)


def test_deep_expressions(f32):
    A = te.tensor("A", (3,))
    e = A[i]
    for _ in range(450):
        e = e * 0.999 + 0.001
    T = te.tensor("T")
    T[i] = e
    a = f32(3)
    want = a.copy()
    for _ in range(450):
        want = want * np.float32(0.999) + np.float32(0.001)
    given(T, want, {A: a})


def test_long_chains_of_tensors(f32):
    a = f32(3)
    T = A = te.tensor("A", (3,))
    for _ in range(400):
        U = te.tensor("U")
        U[i] = T[i] + 1
        T = U
    given(T, a + 400, {A: a}, 1e-2)
