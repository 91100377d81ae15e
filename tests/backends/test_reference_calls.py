"""Calls of the reference: shapes and sizes, arguments, and the memory that it takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from helpers import compare, evaluates

import tedsl as te

i, j, k, l, n = te.axes("i j k l n")


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
    evaluates(N, np.arange(size * size).reshape(size, size).sum(1), {}, m=size)
    a, b = f32(size, 5), f32(size, 5)
    evaluates(C, a @ b.T, {A: a, B: b}, 1e-4)
    evaluates(L, a.sum(dtype="f8").astype("f4").reshape(()), {A: a}, 1e-4)


def test_sizes_are_solved_for_and_checked(f32):
    m, n = te.var("m", min=1), te.var("n", multiple_of=4)
    A = te.tensor("A", (2 * m + 1,))
    T = te.tensor("T", (m,))
    T[i] = A[2 * i] + A[2 * i + 1]
    a = f32(7)
    evaluates(T, a[0:6:2] + a[1:6:2], {A: a})
    evaluates(T, a[0:6:2] + a[1:6:2], {A: a}, m=3)
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
    evaluates(T, 5 * np.arange(5), {}, m=5)
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
        evaluates(T, np.full(3, want, "float32"), {A: np.zeros((3, 0), "float32")})


# Calls


def test_inputs_by_name_and_what_is_not_needed(f32):
    A, B = te.tensor("A", (3,)), te.tensor("B", (3,))
    T = te.tensor("T")
    T[i] = A[i] * 2
    a = f32(3)
    evaluates(T, a * 2, {"A": a})
    evaluates(T, a * 2, {A: a, B: f32(9), "nothing": 1})
    same = te.tensor("A", (3,))
    U = te.tensor("U")
    U[i] = A[i] + same[i]
    with pytest.raises(te.CallError, match="2 inputs are named A; give them by the tensors themselves"):
        te.evaluate(U, {"A": a})
    evaluates(U, a + a, {A: a, "A": a})


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
    evaluates(T, want, {A: a})


def test_long_chains_of_tensors(f32):
    a = f32(3)
    T = A = te.tensor("A", (3,))
    for _ in range(400):
        U = te.tensor("U")
        U[i] = T[i] + 1
        T = U
    evaluates(T, a + 400, {A: a}, 1e-2)
