"""The course's cases: graphs worked by hand, networks whose gradients are known as formulas, convolution as convolution with the flipped filter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, k, l, n, f, c, y, x, r, s = te.axes("i j k l n f c y x r s")


def real(name: str, *shape: int) -> te.Tensor:
    return te.tensor(name, shape, dtype="float64")


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


# Automatic differentiation (lectures 4 and 5) --------------------------------------------------------------------------------------------------


def worked_graph() -> tuple[te.Tensor, te.Tensor, te.Tensor]:
    """y = ln x1 + x1*x2 - sin x2."""
    x1, x2, out = real("x1"), real("x2"), te.tensor("y")
    out[()] = te.log(x1[()]) + x1[()] * x2[()] - te.sin(x2[()])
    return out, x1, x2


def test_the_worked_graph_at_2_5() -> None:
    out, x1, x2 = worked_graph()
    at = {x1: 2.0, x2: 5.0}
    assert te.evaluate(out, at) == pytest.approx(11.652, abs=1e-3)
    g1, g2 = te.grad(out, [x1, x2])
    assert te.evaluate(g1, at) == pytest.approx(5.5) and te.evaluate(g2, at) == pytest.approx(
        2 - math.cos(5)
    ) == pytest.approx(1.716, abs=1e-3)
    one, zero = real("one"), real("zero")
    assert te.evaluate(te.jvp(out, {x1: one, x2: zero}), {**at, one: 1.0, zero: 0.0}) == pytest.approx(5.5)
    kernel = te.build([out, g1, g2], args=[x1, x2, out, g1, g2])
    np.testing.assert_allclose(kernel(2.0, 5.0), (11.652071455223084, 5.5, 2 - math.cos(5)), rtol=1e-14)


def test_its_gradient_prints_as_the_formula() -> None:
    out, x1, x2 = worked_graph()
    assert te.show(te.grad(out, x1)) == "dx1[] = x2[] + 1 / x1[]"
    assert te.show(te.grad(out, x2)) == "dx2[] = x1[] - cos(x2[])"


def test_several_paths_are_summed_and_the_graph_is_extended() -> None:
    """v4 = v2 * v3 with v2 = exp(v1), v3 = v2 + 1: reverse mode gives new nodes of the same graph."""
    v1, v2, v3, v4 = real("v1"), te.tensor("v2"), te.tensor("v3"), te.tensor("v4")
    v2[()] = te.exp(v1[()])
    v3[()] = v2[()] + 1
    v4[()] = v2[()] * v3[()]
    d = te.grad(v4, v1)
    assert te.show(d) == "v2[] = exp(v1[])\nv3[] = v2[] + 1\ndv2[] = v3[] + v2[]\ndv1[] = dv2[] * v2[]"
    for v in (-1.0, 0.0, 0.7):
        e = math.exp(v)
        assert te.evaluate(d, {v1: v}) == pytest.approx(2 * e * e + e)


def test_gradient_of_a_gradient() -> None:
    v, L = real("v"), te.tensor("L")
    L[()] = te.exp(v[()]) * v[()] ** 2
    d: Any = L
    for want in (
        lambda e, t: e * (t * t + 2 * t),
        lambda e, t: e * (t * t + 4 * t + 2),
        lambda e, t: e * (t * t + 6 * t + 6),
    ):
        d = te.grad(d, v)
        assert te.evaluate(d, {v: 0.7}) == pytest.approx(want(math.exp(0.7), 0.7))


def test_product_of_all_has_partials_without_naive_cost() -> None:
    """f = prod theta_i: the partials take a multiple of n products, not n (n - 2)."""
    from tedsl.schedule.cost.operations import operations

    theta, F = real("theta", 64), te.tensor("F")
    F[()] = te.prod(theta[i])
    g = te.grad(F, theta)
    a = draw(0, 64)
    np.testing.assert_allclose(te.evaluate(g, {theta: a}), np.prod(a) / a)
    assert operations(g) <= 4 * 64  # type: ignore[operator]


def test_directional_check() -> None:
    """delta^T grad f = (f(theta + eps delta) - f(theta - eps delta)) / 2 eps, to second order in eps."""
    theta, F = real("theta", 5), te.tensor("F")
    F[()] = te.sum(te.sin(theta[i]) * theta[i] ** 2)
    a, delta = draw(0, 5), draw(1, 5)
    exact = float((te.evaluate(te.grad(F, theta), {theta: a}) * delta).sum())

    def error(eps: float) -> float:
        up, down = te.evaluate(F, {theta: a + eps * delta}), te.evaluate(F, {theta: a - eps * delta})
        return abs(float(up - down) / (2 * eps) - exact)

    assert error(1e-3) < 1e-5 and error(1e-2) / error(1e-3) == pytest.approx(100, rel=0.05)


def test_adjoints_of_tuples_and_dicts() -> None:
    A = real("A", 3)
    pair = te.compute((3,), lambda i: (te.sin(A[i]), te.cos(A[i])), name="pair")
    seeds = (real("p", 3), real("q", 3))
    a, p, q = draw(0, 3), draw(1, 3), draw(2, 3)
    got = te.evaluate(te.vjp(pair, {"A": A}, seeds)["A"], {A: a, seeds[0]: p, seeds[1]: q})
    np.testing.assert_allclose(got, p * np.cos(a) - q * np.sin(a))


# Networks by hand (lectures 2 and 3) -------------------------------------------------------------------------------------------------------------


def softmax(h: np.ndarray) -> np.ndarray:
    e = np.exp(h - h.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(H: te.Tensor, labels: te.Tensor, batch: int) -> te.Tensor:
    L = te.tensor("L")
    L[()] = te.sum(te.log(te.sum(te.exp(H[i, k]))) - H[i, labels[i]]) / batch
    return L


def test_softmax_regression() -> None:
    """grad Theta = X^T (softmax(X Theta) - I_y) / B."""
    X, T, Y = real("X", 6, 4), real("Theta", 4, 3), te.tensor("Y", (6,), "int64")
    H = te.tensor("H")
    H[i, j] = te.sum(X[i, k] * T[k, j])
    dT = te.grad(cross_entropy(H, Y, 6), T)
    a, t, lab = draw(0, 6, 4), draw(1, 4, 3), np.array([0, 2, 1, 1, 0, 2])
    np.testing.assert_allclose(te.evaluate(dT, {X: a, T: t, Y: lab}), a.T @ (softmax(a @ t) - np.eye(3)[lab]) / 6)
    text = te.show(dT)
    assert text.endswith("dTheta[k,j] = sum_i dH[i,j] * X[i,k]")
    assert "dH[i,j] = where(Y[i] == j, -0.16666666666666666, 0) + dL.sum[i] * exp(H[i,j])\n" in text


def test_two_layers() -> None:
    """grad W2 = s(X W1)^T (S - I_y), grad W1 = X^T ((S - I_y) W2^T * s'(X W1))."""
    X, W1, W2, Y = real("X", 5, 4), real("W1", 4, 6), real("W2", 6, 3), te.tensor("Y", (5,), "int64")
    Z, H = te.tensor("Z"), te.tensor("H")
    Z[i, j] = te.maximum(te.sum(X[i, k] * W1[k, j]), 0.0)
    H[i, j] = te.sum(Z[i, k] * W2[k, j])
    d1, d2 = te.grad(cross_entropy(H, Y, 1), [W1, W2])
    a, w1, w2, lab = draw(0, 5, 4), draw(1, 4, 6), draw(2, 6, 3), np.array([0, 2, 1, 1, 0])
    z = np.maximum(a @ w1, 0)
    G = softmax(z @ w2) - np.eye(3)[lab]
    at = {X: a, W1: w1, W2: w2, Y: lab}
    np.testing.assert_allclose(te.evaluate(d2, at), z.T @ G)
    np.testing.assert_allclose(te.evaluate(d1, at), a.T @ ((G @ w2.T) * (a @ w1 > 0)))


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_layers(layers: int) -> None:
    """G_{L+1} = S - I_y, G_i = (G_{i+1} * s'(Z_i W_i)) W_i^T, grad W_i = Z_i^T (G_{i+1} * s'(Z_i W_i))."""
    sizes = [4, *([5] * (layers - 1)), 3]
    X, Y = real("X", 6, 4), te.tensor("Y", (6,), "int64")
    weights = [real(f"W{m}", sizes[m], sizes[m + 1]) for m in range(layers)]
    Z = X
    for m, W in enumerate(weights):
        out = te.tensor(f"Z{m + 1}")
        inner = te.sum(Z[i, k] * W[k, j])
        out[i, j] = te.tanh(inner) if m < layers - 1 else inner
        Z = out
    grads = te.grad(cross_entropy(Z, Y, 1), weights)
    a, lab = draw(0, 6, 4), np.array([0, 2, 1, 1, 0, 2])
    ws = [draw(m + 1, *W.shape) for m, W in enumerate(weights)]
    zs = [a]
    for m, w in enumerate(ws):
        zs.append(np.tanh(zs[-1] @ w) if m < layers - 1 else zs[-1] @ w)
    G = softmax(zs[-1]) - np.eye(3)[lab]
    at = {X: a, Y: lab, **dict(zip(weights, ws))}
    for m in reversed(range(layers)):
        local = G if m == layers - 1 else G * (1 - zs[m + 1] ** 2)
        np.testing.assert_allclose(te.evaluate(grads[m], at), zs[m].T @ local, rtol=1e-10)
        G = local @ ws[m].T


# Normalisation and convolution (lectures 9 and 10) ------------------------------------------------------------------------------------------------


def test_layer_and_batch_norm_against_their_formulas() -> None:
    X = real("X", 6, 5)
    a, g = draw(0, 6, 5), draw(1, 6, 5)
    for axis, read in ((1, lambda m, i, j: m[i]), (0, lambda m, i, j: m[j])):
        size = (6, 5)[axis]
        M, V, Z = te.tensor("M"), te.tensor("V"), te.tensor("Z")
        if axis:
            M[i] = te.sum(X[i, k]) / size
            V[i] = te.sum((X[i, k] - M[i]) ** 2) / size
        else:
            M[j] = te.sum(X[k, j]) / size
            V[j] = te.sum((X[k, j] - M[j]) ** 2) / size
        Z[i, j] = (X[i, j] - read(M, i, j)) / te.sqrt(read(V, i, j) + 1e-5)
        seed = real("seed", 6, 5)
        got = te.evaluate(te.vjp(Z, X, seed), {X: a, seed: g})
        sigma = np.sqrt(a.var(axis, keepdims=True) + 1e-5)
        z = (a - a.mean(axis, keepdims=True)) / sigma
        want = (g - g.mean(axis, keepdims=True) - z * (g * z).mean(axis, keepdims=True)) / sigma
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def conv(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(a, w.shape[2:], axis=(2, 3))
    return np.einsum("ncyxrs,fcrs->nfyx", windows, w)


def test_the_input_gradient_is_a_convolution_with_the_flipped_filter() -> None:
    X, W, Y = real("X", 2, 3, 7, 8), real("W", 4, 3, 3, 2), te.tensor("Y")
    Y[n, f, y, x] = te.sum(X[n, c, y + r, x + s] * W[f, c, r, s])
    dX, dW = te.vjp(Y, [X, W], real("dY", *Y.shape))  # type: ignore[arg-type]
    a, w, g = draw(0, 2, 3, 7, 8), draw(1, 4, 3, 3, 2), draw(2, *Y.shape)  # type: ignore[arg-type]
    padded = np.pad(g, ((0, 0), (0, 0), (2, 2), (1, 1)))
    flipped = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    np.testing.assert_allclose(te.evaluate(dX, {"dY": g, W: w}), conv(padded, flipped))
    np.testing.assert_allclose(
        te.evaluate(dW, {"dY": g, X: a}), conv(a.transpose(1, 0, 2, 3), g.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3)
    )


@pytest.mark.parametrize("kernel, stride, pad", [(3, 2, 1), (3, 2, 0), (2, 3, 0), (5, 3, 2), (1, 2, 0)])
@pytest.mark.parametrize("size", [7, 8, 9, 10])
def test_it_is_right_for_every_remainder(size: int, kernel: int, stride: int, pad: int) -> None:
    X, W, Y = real("X", 1, 2, size, size), real("W", 2, 2, kernel, kernel), te.tensor("Y")
    P = te.pad(X, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    Y[n, f, y, x] = te.sum(P[n, c, stride * y + r, stride * x + s] * W[f, c, r, s])
    assert Y.shape[2] == (size + 2 * pad - kernel) // stride + 1
    te.check_grad(Y, [X, W])


def test_stop_and_custom_gradient() -> None:
    A = real("A", 3)
    a = draw(0, 3)
    np.testing.assert_allclose(te.evaluate(te.grad((te.stop_gradient(A * A) * A).sum(), A), {A: a}), a * a)
    B = te.tensor("B")
    B[i] = te.stop_gradient(te.exp(A[i])) * A[i]
    np.testing.assert_allclose(te.evaluate(te.grad(B.sum(), A), {A: a}), np.exp(a))

    @te.custom_gradient
    def both(X: te.Tensor, Y: te.Tensor) -> Any:
        """Two results, and adjoints for two arguments."""
        return (X * Y, X + Y), lambda p, q: (p * 2.0 + q, q * 3.0)

    C = real("C", 3)
    p, q = both(A, C)
    dA, dC = te.grad((p * 5.0 + q * 7.0).sum(), [A, C])
    np.testing.assert_allclose(te.evaluate(dA, {A: a, C: a}), 5 * 2 + 7)
    np.testing.assert_allclose(te.evaluate(dC, {A: a, C: a}), 21)
    assert both.__name__ == "both" and "Two results" in (both.__doc__ or "")
    dA, dC = te.grad(q.sum(), [A, C])
    np.testing.assert_allclose(te.evaluate(dC, {A: a, C: a}), 3)
