"""te.compute, te.scan and te.pad: what TVM and NumPy users write."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tedsl as te

A = te.tensor("A", (4, 3))
I = te.tensor("I", (3,), dtype="int32")
n, p = te.var("n"), te.var("p", min=1)
V, P = te.tensor("V", (n,)), te.tensor("P", (p,))


class Scale:
    def __init__(self, by: float) -> None:
        self.by = by

    def element(self, row: Any, column: Any) -> Any:
        return A[row, column] * self.by


def test_axes_are_named_by_the_arguments() -> None:
    assert str(te.compute((5, 3), lambda p, q: p + q, name="E")) == "E[p, q] = p + q"
    assert str(te.compute((4,), lambda *axes: A[axes[0], 0])) == "compute[i0] = A[i0, 0]"
    assert str(te.compute((4, 3), lambda i0, *rest: A[i0, rest[0]])) == "compute[i0, i1] = A[i0, i1]"
    assert str(te.compute((4, 3), Scale(2.0).element)) == "compute[row, column] = A[row, column] * 2.0"
    assert str(te.compute((4, 3), functools.partial(lambda s, i, j: A[i, j] * s, 2.0))).endswith("= A[i, j] * 2.0")
    assert str(te.compute(4, lambda i, s=2: A[i, 0] * s)) == "compute[i] = A[i, 0] * 2.0"
    assert te.compute((), lambda: te.sum(A["i", "j"])).shape == ()
    assert te.compute((n,), lambda i: V[i]).shape == (n,)


def test_dtype_is_the_expressions_unless_given() -> None:
    assert te.compute((2,), lambda i: i).dtype == "int64"
    assert te.compute((2,), lambda i: 1, dtype="int8").dtype == "int8"
    assert te.compute((3,), lambda i: I[i], dtype="float64").dtype == "float64"


def test_several_results_are_one_definition() -> None:
    M, N = te.compute((4,), lambda i: (te.max(A[i, "j"]), te.min(A[i, "j"])), name="r")
    assert M.definition is N.definition and (M.name, N.name) == ("r_0", "r_1")
    a = np.arange(12, dtype="float32").reshape(4, 3)
    got = te.evaluate([M, N], {A: a})
    np.testing.assert_array_equal(got[0], a.max(1))
    np.testing.assert_array_equal(got[1], a.min(1))
    assert [t.name for t in te.compute((4,), lambda i: [A[i, 0], A[i, 1]], name=("u", "v"))] == ["u", "v"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: te.compute((4,), lambda i, j: A[i, j]), "takes 2 arguments (i, j), but the shape has 1 dimension"),
        (lambda: te.compute((4, 3), lambda i: A[i, 0]), "takes 1 argument (i), but the shape has 2 dimensions"),
        (lambda: te.compute((), lambda i: i), "takes 1 argument (i), but the shape has 0 dimensions"),
        (lambda: te.compute((4,), 5), "te.compute takes a function of the axes, such as lambda i, j: A[i, j]; got 5"),
        (lambda: te.compute((4,), lambda i: None), "the right side of compute: None (NoneType)"),
        (lambda: te.compute((4,), lambda i: A), "the right side of compute is the tensor A of 2 dimensions"),
        (lambda: te.compute((-4,), lambda i: i), "extent 0 of compute is -4"),
        (lambda: te.compute((9, 3), lambda i, j: A[i, j], name="X"), "X reads `A[i, j]` out of bounds"),
        (lambda: te.compute((4,), lambda i: A[i - 1, 0]), "out of bounds"),
        (lambda: te.compute((4,), lambda i: A[i, 0], dtype="int32"), "nothing is narrowed in silence"),
        (lambda: te.compute((4,), lambda i: A[i, 0], dtype="text"), "is not a dtype of tedsl"),
        (lambda: te.compute((4,), lambda i: A[i, 0], name=("a", "b")), "name=('a', 'b') for 1 result"),
        (lambda: te.compute((4,), lambda i: (i, i), name=("a",)), "name=('a',) for 2 results"),
        (lambda: te.compute((4,), lambda i: A[i, 0] if A[i, 0] > 0 else 0), "te.where(cond, a, b)"),
    ],
)
def test_refusals_of_compute(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        make()
    assert words in str(caught.value) and "test_compute.py" in str(caught.value)


# Padding


@pytest.mark.parametrize("mode", ["constant", "edge", "wrap"])
@pytest.mark.parametrize(
    "width",
    [0, 1, (2,), (1, 2), ((1, 2),), ((1, 0), (2, 1)), ((0, 0), (3, 0)), ((1,), (2,)), 5, np.array([[1, 0], [0, 1]])],
    ids=str,
)
def test_pad_is_numpys(width: Any, mode: str, rng: np.random.Generator) -> None:
    a = rng.standard_normal((4, 3)).astype("float32")
    Y = te.pad(A, width, mode=mode)
    want = np.pad(a, width, mode=mode)  # type: ignore[call-overload]
    assert Y.shape == want.shape
    np.testing.assert_array_equal(te.evaluate(Y, {A: a}), want)


def test_pad_with_values_and_symbolic_sizes(rng: np.random.Generator) -> None:
    a = rng.standard_normal((4, 3)).astype("float32")
    want = np.pad(a, ((1, 0), (2, 1)), constant_values=7)
    np.testing.assert_array_equal(te.evaluate(te.pad(A, ((1, 0), (2, 1)), value=7.0), {A: a}), want)
    B = te.tensor("B", (3,), dtype="bool")
    b = np.array([True, False, True])
    np.testing.assert_array_equal(te.evaluate(te.pad(B, 1), {B: b}), np.pad(b, 1))
    s = te.tensor("s", ())
    got = te.evaluate(te.pad(A, 1, value=s), {A: a, s: np.float32(3)})
    np.testing.assert_array_equal(got, np.pad(a, 1, constant_values=3))
    for size in (0, 1, 6):
        v = np.arange(size, dtype="float32")
        np.testing.assert_array_equal(te.evaluate(te.pad(V, (2, 1)), {V: v}), np.pad(v, (2, 1)))
    for mode in ("edge", "wrap"):
        v = np.arange(3, dtype="float32")
        np.testing.assert_array_equal(te.evaluate(te.pad(P, 4, mode=mode), {P: v}), np.pad(v, 4, mode=mode))  # type: ignore[call-overload]
    m = te.var("m")
    assert te.pad(V, (m, 0)).shape == (m + n,)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: te.pad(A, -1), "a width is -1; an extent is at least 0"),
        (lambda: te.pad(A, 1.5), "a width is 1.5"),
        (lambda: te.pad(A, "x"), "a width is 'x'"),
        (lambda: te.pad(A, (1, 2, 3)), "give one number, (before, after), or a pair for each dimension"),
        (lambda: te.pad(A, ((1, 2), (1, 2), (3, 4))), "has 3 entries; give a pair (before, after) for each of the 2"),
        (lambda: te.pad(A, ((1, 2, 3), (1, 2))), "(1, 2, 3) is not a pair (before, after)"),
        (lambda: te.pad(A, (1, (1, 2))), "has 2 entries"),
        (lambda: te.pad(A, 1, mode="mean"), "mode='mean'; 'constant', 'edge' or 'wrap'"),
        (lambda: te.pad(I, 1, value=0.5), "value=0.5 is float64, but I is int32: nothing is narrowed in silence"),
        (lambda: te.pad(A, 1, value="x"), "te.pad: value: 'x' (str) is neither a number nor an expression"),
        (lambda: te.pad(A, 1, value=te.axes("i")), "holds axes"),
        (lambda: te.pad(3, 1), "te.pad pads a tensor, not 3"),
        (
            lambda: te.pad(V, 1, mode="edge"),
            "which may have none: it is <tensor V(n,) float32>; say that the size is not 0",
        ),
        (lambda: te.pad(te.tensor("E", (0,)), 1, mode="wrap"), "which may have none"),
    ],
)
def test_refusals_of_pad(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        make()
    assert words in str(caught.value) and "test_compute.py" in str(caught.value)


# Scans


def first_row(X: te.Tensor, steps: int = 1) -> te.Tensor:
    return te.compute((steps, X.shape[1]), lambda t, j: X[t, j], name="first")


def test_scan_of_one_state(rng: np.random.Generator) -> None:
    x = rng.standard_normal((7, 3)).astype("float32")
    X, S = te.placeholder((7, 3), name="X"), te.placeholder((7, 3), name="S")
    R = te.scan(first_row(X), te.compute((7, 3), lambda t, j: 0.5 * S[t - 1, j] + X[t, j]), S, inputs=[X])
    want = x.copy()
    for t in range(1, 7):
        want[t] += 0.5 * want[t - 1]
    assert R.inputs == (X,)
    np.testing.assert_allclose(te.evaluate(R, {X: x}), want, rtol=1e-5)


def test_scan_with_two_initial_steps_and_constants() -> None:
    S = te.placeholder((10,), "int64", name="S")
    F = te.scan(te.compute((2,), lambda t: 1), te.compute((10,), lambda t: S[t - 1] + S[t - 2]), S)
    np.testing.assert_array_equal(te.evaluate(F, {}), [1, 1, 2, 3, 5, 8, 13, 21, 34, 55])
    Z = te.placeholder((5,), name="Z")
    G = te.scan(te.compute((1,), lambda t: 0.0), te.compute((5,), lambda t: Z[t - 1] + 1), Z)
    assert G.dtype == "float32"  # a number takes the type of the state
    np.testing.assert_array_equal(te.evaluate(G, {}), [0, 1, 2, 3, 4])


def test_scan_through_intermediate_steps_and_reductions(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((6, 3)).astype("float32"), rng.standard_normal((3, 3)).astype("float32")
    X, W, S = te.placeholder((6, 3), name="X"), te.placeholder((3, 3), name="W"), te.placeholder((6, 3), name="S")
    k = te.reduce_axis(3, "k")
    inner = te.compute((6, 3), lambda t, j: te.sum(S[t - 1, k] * W[k, j], axis=k), name="inner")
    R = te.scan(first_row(X), te.compute((6, 3), lambda t, j: te.tanh(inner[t, j] + X[t, j])), S)
    want = x.copy()
    for t in range(1, 6):
        want[t] = np.tanh(want[t - 1] @ w + x[t])
    np.testing.assert_allclose(te.evaluate(R, {X: x, W: w}), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_scan_of_two_states(order: tuple[int, int], rng: np.random.Generator) -> None:
    x = rng.standard_normal((6, 3)).astype("float32")
    X, H, C = (te.placeholder((6, 3), name=name) for name in "XHC")
    c = te.compute((6, 3), lambda t, j: 0.5 * C[t - 1, j] + H[t - 1, j], name="c")
    h = te.compute((6, 3), lambda t, j: te.tanh(c[t, j]) + X[t, j], name="h")
    updates, states = [c, h], [C, H]
    results = te.scan([first_row(X)] * 2, [updates[q] for q in order], [states[q] for q in order])
    wc, wh = x.copy(), x.copy()
    for t in range(1, 6):
        wc[t] = 0.5 * wc[t - 1] + wh[t - 1]
        wh[t] = np.tanh(wc[t]) + x[t]
    got = te.evaluate(list(results), {X: x})
    for q, result in zip(order, got, strict=True):
        np.testing.assert_allclose(result, [wc, wh][q], rtol=1e-4, atol=1e-5)


def test_scan_over_a_symbolic_number_of_steps() -> None:
    q = te.var("q", min=1)
    X, S = te.placeholder((q, 3), name="X"), te.placeholder((q, 3), name="S")
    R = te.scan(first_row(X), te.compute((q, 3), lambda t, j: S[t - 1, j] + X[t, j]), S)
    for size in (1, 5):
        x = np.ones((size, 3), "float32")
        np.testing.assert_array_equal(te.evaluate(R, {X: x}), x.cumsum(0))


def test_steps_outside_of_a_scan_are_out_of_bounds() -> None:
    S = te.placeholder((7, 3), name="S")
    step = te.compute((7, 3), lambda t, j: S[t - 1, j], name="step")
    assert step.shape == (7, 3) and step.dtype == "float32"
    T = te.tensor("T", (7,))
    i = te.axes("i")
    T[i] = step[i, 0]
    for use in (lambda: T.inputs, lambda: step.inputs, lambda: te.evaluate(T, {}), lambda: str(step)):
        with pytest.raises(te.DefinitionError, match=r"step reads `S\[t - 1, j\]` out of bounds.*test_compute.py"):
            use()


S = te.placeholder((7, 3), name="S")
Q = te.placeholder((7, 3), name="Q")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: te.scan(first_row(Q), te.compute((7, 3), lambda t, j: S[t + 1, j]), S), "out of bounds"),
        (lambda: te.scan(first_row(Q), te.compute((7, 3), lambda t, j: S[t, j]), S), "is not an earlier step of S"),
        (lambda: te.scan(first_row(Q), A, S), "the shapes of update, <tensor A(4, 3) float32>, and state"),
        (lambda: te.scan(first_row(Q), Q, S), "is not one equation of te.compute"),
        (lambda: te.scan(V, Q, S), "init is <tensor V(n,) float32>; it has the shape of the state"),
        (lambda: te.scan([first_row(Q)], [Q, Q], [S]), "as many init, update and state tensors; got 1, 2, 1"),
        (lambda: te.scan(first_row(Q), 3, S), "update is 3, not a tensor"),
    ],
)
def test_refusals_of_scan(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        make()
    assert words in str(caught.value) and "test_compute.py" in str(caught.value)
