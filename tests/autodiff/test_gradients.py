"""Gradients of everything that the language says: reverse and forward mode against central differences, twice over."""

from __future__ import annotations

import numpy as np
import pytest
from gradient_cases import CASES, real

import tedsl as te

i, j, k, n, f, c, y, x, r, s = te.axes("i j k n f c y x r s")


@pytest.mark.parametrize("name", CASES)
def test_reverse_and_forward_against_differences(name: str) -> None:
    outputs, wrt = CASES[name]()
    te.check_grad(outputs, wrt, order=2)


@pytest.mark.parametrize("stride, dilation, size", [(1, 1, 5), (2, 1, 6), (2, 1, 7), (3, 2, 8), (2, 2, 7), (3, 1, 8)])
def test_convolution(stride: int, dilation: int, size: int) -> None:
    X, W, Y = real("X", 1, 2, size, size), real("W", 2, 2, 3, 3), te.tensor("Y")
    Y[n, f, y, x] = te.sum(X[n, c, stride * y + dilation * r, stride * x + dilation * s] * W[f, c, r, s])
    te.check_grad(Y, [X, W], order=2)


def test_third_order() -> None:
    A = real("A", 4)
    L = te.tensor("L")
    L[()] = te.sum(te.exp(A[i]) * A[i] ** 2)
    te.check_grad(L, A, order=3)
    P = te.tensor("P")
    P[()] = te.prod(A[i])
    te.check_grad(P, A, order=3)


def test_float32_is_checked_in_float64() -> None:
    A, B = te.tensor("A", (3, 4)), te.tensor("B")
    B[i] = te.sum(te.tanh(A[i, k]) * A[0, k])
    assert te.check_grad(B, A) < 1e-8


def test_product_with_zeros_at_every_order() -> None:
    A, P = real("A", 3, 4), te.tensor("P")
    P[i] = te.prod(A[i, k])
    a = np.array([[2.0, 3, 5, 7], [2, 0, 5, 7], [0, 3, 0, 7]])
    g = te.grad(P.sum(), A)
    want = [[105, 70, 42, 30], [0, 70, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(te.evaluate(g, {A: a}), want)
    H = te.jacobian(g, A)
    h = te.evaluate(H, {A: a})
    assert h[2, 0, 2, 2] == h[2, 2, 2, 0] == 21 and h[1, 1, 1, 0] == h[1, 0, 1, 1] == 35 and h[0, 0, 0, 0] == 0
    te.check_grad(P, A, order=2, inputs={A: a})


def test_ties_share() -> None:
    A, M, N = real("A", 2, 4), te.tensor("M"), te.tensor("N")
    M[i] = te.max(A[i, k])
    a = np.array([[1.0, 3, 3, 0], [2, 2, 2, 2]])
    np.testing.assert_allclose(te.evaluate(te.grad(M.sum(), A), {A: a}), [[0, 0.5, 0.5, 0], [0.25] * 4])
    np.testing.assert_allclose(te.evaluate(te.jvp(M, {A: A}), {A: a}), [3, 2])
    N[i, k] = te.maximum(A[i, k], 2.0)
    np.testing.assert_allclose(te.evaluate(te.grad(N.sum(), A), {A: a}), [[0, 1, 1, 0], [0.5] * 4])


@pytest.mark.parametrize("power", [0, 1, 2, 3, -1, 0.5])
def test_constant_powers_take_no_logarithm(power: float) -> None:
    A, P = real("A", 4), te.tensor("P")
    P[i] = A[i] ** power
    a = np.array([-2.0, -0.5, 1.0, 3.0])
    got = te.evaluate(te.grad(P.sum(), A), {A: a})
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(got, power * a ** (power - 1) if power else 0 * a)


def test_power_at_zero() -> None:
    A, B, P = real("A", 3), real("B", 3), te.tensor("P")
    P[i] = A[i] ** B[i]
    dA, dB = te.grad(P.sum(), [A, B])
    at = {A: np.zeros(3), B: np.array([0.0, 1.0, 2.0])}
    np.testing.assert_array_equal(te.evaluate(dA, at), [0, 1, 0])
    np.testing.assert_array_equal(te.evaluate(dB, at), [0, 0, 0])


@pytest.mark.parametrize(
    "inner", ["log(A[i])", "1 / A[i]", "sqrt(A[i])", "A[i] ** -1.5", "rsqrt(A[i])", "log(A[i]) * A[i]"]
)
def test_the_branch_not_taken_is_no_nan(inner: str) -> None:
    B = te.define(f"B[i] = where(A[i] > 0, {inner}, 0.0)", A=real("A", 3))
    (A,) = B.inputs
    a = np.array([-1.0, 0.0, 4.0])
    got = te.evaluate(te.grad(B.sum(), A), {A: a})
    assert np.isfinite(got).all() and got[0] == got[1] == 0 and got[2] != 0
    got = te.evaluate(te.jvp(B, {A: A}), {A: a})
    assert np.isfinite(got).all()


def test_what_ties_in_a_reducer_shares_all_of_the_gradient() -> None:
    """One value read many times: the shares of its places add up to the derivative in it."""
    A, B = real("A", 2), te.tensor("B")
    largest = te.reducer(float("-inf"), te.maximum)
    B[i] = largest(A[i] + 0 * te.cast(k, "float64"), axis=te.reduce_axis(9, "k"))
    dA = te.grad(B.sum(), A)
    np.testing.assert_array_equal(te.evaluate(dA, {A: np.array([1.0, 2.0])}), [1, 1])
    te.check_grad(B, A, order=2)
    T, M = real("T", 1, 5), te.tensor("M")
    M[i] = largest(T[i, k])
    np.testing.assert_array_equal(
        te.evaluate(te.grad(M.sum(), T), {T: np.ones((1, 5))}), [[1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]]
    )


def test_an_extreme_that_nothing_attains_has_the_derivative_zero() -> None:
    A, M = real("A", 3, 2), te.tensor("M")
    M[i] = te.max(A[i, k], where=A[i, k] > 0, initial=-np.inf)
    a = np.array([[-1.0, -2.0], [1.0, 2.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(te.evaluate(te.jvp(M, {A: A}), {A: a}), [0, 2, 1])
    np.testing.assert_array_equal(te.evaluate(te.grad(M.sum(), A), {A: a}), [[0, 0], [0, 1], [0, 1]])
    N = te.tensor("N")
    N[i] = te.max(A[i, k])
    np.testing.assert_array_equal(te.evaluate(te.jvp(N, {A: A}), {A: a}), [-1, 2, 0])
    np.testing.assert_array_equal(te.evaluate(te.grad(N.sum(), A), {A: a}), [[1, 0], [0, 1], [0, 0]])


def test_a_constant_base_of_zero() -> None:
    A, B = real("A", 3), te.tensor("B")
    B[i] = 0.0 ** A[i] + 1.0 ** A[i] + 2.0 ** A[i]
    a = np.array([0.0, 1.0, 2.0])
    np.testing.assert_allclose(te.evaluate(te.grad(B.sum(), A), {A: a}), np.log(2) * 2**a)


def test_empty_tensors() -> None:
    A, B = real("A", 0, 3), te.tensor("B")
    B[j] = te.sum(A[i, j] ** 2)
    g = te.grad(B.sum(), A)
    assert te.evaluate(g, {A: np.zeros((0, 3))}).shape == (0, 3)


def test_intermediates_may_be_what_is_differentiated_by() -> None:
    A, B, C = real("A", 3), te.tensor("B"), te.tensor("C")
    B[i] = te.sin(A[i])
    C[i] = B[i] ** 2 + A[i]
    dB, dA = te.grad(C.sum(), [B, A])
    a = np.linspace(-1, 1, 3)
    np.testing.assert_allclose(te.evaluate(dB, {A: a}), 2 * np.sin(a))
    np.testing.assert_allclose(te.evaluate(dA, {A: a}), 2 * np.sin(a) * np.cos(a) + 1)


def test_each_gradient_is_a_tensor_of_its_own() -> None:
    A, B, flag, T = real("A", 3, 4), real("B"), te.tensor("flag", (), "bool"), te.tensor("T")
    T[()] = te.where(flag[()], B[()] + A.sum()[()], 0.0)
    dA, dB = te.grad(T, [A, B])
    assert dA.shape == (3, 4) and dB.shape == () and dA is not dB
    C = A + 1.0
    dA, dC = te.grad((C * C).sum(), [A, C])
    assert dA is not dC and te.build([dA, dC])(np.ones((3, 4)))[0][0, 0] == 4


def test_forward_states_are_stored_or_computed_again() -> None:
    t = te.axes("t")
    X, W, S = real("X", 5, 3), real("W", 3, 3), real("S", 5, 3)
    S[0, j] = X[0, j]
    S[t, j] = te.tanh(te.sum(S[t - 1, k] * W[k, j])) + X[t, j]
    L = (S * S).sum()
    again = te.grad(L, [X, W])
    kept = real("S", 5, 3)
    reading = te.grad(L, [X, W], stored={S: kept})
    assert [t.name for t in again[1].inputs] == ["X", "W"] and {t.name for t in reading[1].inputs} == {"W", "S"}
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 3)), rng.standard_normal((3, 3))
    states = te.evaluate(S, {X: x, W: w})
    for a, b in zip(te.evaluate(again, {X: x, W: w}), te.evaluate(reading, {kept: states, W: w})):
        np.testing.assert_allclose(a, b)
    for stored, message in [
        ([S], "a dict from tensors"),
        ({S: 3}, "a tensor, and an input"),
        ({S: S}, "an input"),
        ({S: X[1:]}, "an input"),
        ({S: W}, r"shape \(3, 3\)"),
    ]:
        with pytest.raises(te.GradientError, match=message):
            te.grad(L, X, stored=stored)


def test_structures() -> None:
    A, B = real("A", 3), real("B", 3)
    L = (A * B).sum()
    tree = te.grad(L, {"a": A, "rest": (B, [A])})
    assert isinstance(tree["rest"], tuple) and isinstance(tree["rest"][1], list)
    assert te.show(tree["a"]) == "dA[i] = B[i]" and te.show(tree["rest"][0]) == "dB[i] = A[i]"
    assert isinstance(te.grad(L, A), te.Tensor) and isinstance(te.grad(L, [A]), list)
    both = te.vjp({"p": A * B, "q": A * 2.0}, (A,), {"p": real("p", 3), "q": real("q", 3)})
    assert te.show(both[0]) == "dA[i] = 2 * q[i] + p[i] * B[i]"
    out = te.jvp((A * B, [A]), {A: B})
    assert isinstance(out, tuple) and isinstance(out[1], list)
    J = te.jacobian({"y": A * B}, [A, B])
    assert J["y"][0].shape == (3, 3)


def test_jacobians() -> None:
    A, W, Y = real("A", 4), real("W", 3), te.tensor("Y")
    Y[y] = te.sum(A[y + r] * W[r])
    a, w = np.arange(4.0), np.array([1.0, 2.0, 4.0])
    dA, dW = te.jacobian(Y, [A, W])
    np.testing.assert_array_equal(te.evaluate(dA, {A: a, W: w}), [[1, 2, 4, 0], [0, 1, 2, 4]])
    np.testing.assert_array_equal(te.evaluate(dW, {A: a, W: w}), [[0, 1, 2], [1, 2, 3]])
    S = real("S", 4)
    S[0] = A[0]
    S[i] = S[i - 1] * A[i]
    a = np.array([2.0, 3, 5, 7])
    want = [[1, 0, 0, 0], [3, 2, 0, 0], [15, 10, 6, 0], [105, 70, 42, 30]]
    np.testing.assert_array_equal(te.evaluate(te.jacobian(S, A), {A: a}), want)
    I, E = te.tensor("I", (2,), "int64"), te.tensor("E")
    E[i] = A[I[i]] ** 2
    np.testing.assert_array_equal(
        te.evaluate(te.jacobian(E, A), {A: a, I: np.array([2, 0])}), [[0, 0, 10, 0], [4, 0, 0, 0]]
    )


def test_types_and_shapes_are_those_of_what_is_differentiated_by() -> None:
    A, B = te.tensor("A", (3,), "float32"), te.tensor("B", (3,), "float64")
    L = (A * B).sum()
    dA, dB = te.grad(L, [A, B])
    assert (dA.dtype, dB.dtype) == ("float32", "float64")


def test_gradients_can_be_computed_together_with_the_forward_pass() -> None:
    A, B, C = real("A", 3, 4), real("B", 5, 4), te.tensor("C")
    C[i, j] = te.tanh(te.sum(A[i, k] * B[j, k]))
    dA, dB = te.grad((C * C).sum(), [A, B])
    a, b = np.random.default_rng(0).standard_normal((3, 4)), np.random.default_rng(1).standard_normal((5, 4))
    y = np.tanh(a @ b.T)
    z = 2 * y * (1 - y * y)
    got = te.build([C, dA, dB])(a, b)
    for g, want in zip(got, (y, z @ b, z.T @ a)):
        np.testing.assert_allclose(g, want, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_that_overflows_between_zeros(dtype: str) -> None:
    """What the other factors come to is no matter where one of them is 0."""
    big = 1e20 if dtype == "float32" else 1e200
    X, P = te.tensor("X", (4,), dtype), te.tensor("P")
    P[()] = te.prod(X[i])
    dX = te.grad(P, X)
    dP = te.jvp(P, {X: te.tensor("V", (4,), dtype)})
    for values in ([0, 0, big, big], [big, big, 0, 0], [big, 0, 0, big], [big, 0, big, 0], [0, big, 0, big]):
        x = np.array(values, dtype)
        for got in (te.evaluate(dX, {X: x}), te.build(dX)(x)):
            np.testing.assert_array_equal(got, np.zeros(4))
        assert (
            te.evaluate(dP, {X: x, dP.inputs[-1] if dP.inputs[-1] is not X else dP.inputs[0]: np.ones(4, dtype)}) == 0
        )
    x = np.array([3, 0, 2, 0], dtype)
    second = te.evaluate(te.jacobian(dX, X), {X: x})
    want = np.zeros((4, 4))
    want[1, 3] = want[3, 1] = 6
    np.testing.assert_array_equal(second, want)
