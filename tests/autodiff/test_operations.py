"""Operation counts: of forward passes by hand, of conditions against enumeration, of gradients against the forward pass."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tedsl as te
from tedsl.lang.expr import Axis, Const, Expr, Var, substitute
from tedsl.lang.integers import simplify
from tedsl.schedule.cost.operations import count, operations

i, j, k = te.axes("i j k")


@pytest.mark.parametrize(
    "text, shapes, want",
    [
        ("C[i,j] = sum(A[i,k] * B[j,k])", {"A": (3, 5), "B": (4, 5)}, 3 * 4 * 5 * 2),
        ("C[i] = A[i]", {"A": (3,)}, 0),
        ("C[i] = exp(A[i]) + exp(A[i])", {"A": (3,)}, 3 * 2),
        ("C[i] = where(A[i] > 0, A[i] * 2, -A[i])", {"A": (3,)}, 3 * 2),
        ("C[i] = sum(A[i,k]) / 5", {"A": (3, 5)}, 3 * 5 + 3),
        ("C[i,j] = sum(A[i,k], axis=k, where=k <= j)", {"A": (3, 5), "C": (3, 5)}, 3 * 15),
        ("C[i] = sum(A[i,k] * 2, where=k % 2 == 0)", {"A": (3, 5)}, 3 * 3 * 2),
        ("C[i] = sum(A[i,k] * 2, where=A[i,k] > 0)", {"A": (3, 5)}, 3 * 5 * 2),
        ("C[i] = where(i < 2, A[i] * 2, 0)", {"A": (3,)}, 2),
        ("C[i] = A[2*i+1] + 1", {"A": (9,)}, 4),
        ("C[i] = max(A[i,k])", {"A": (3, 5)}, 15),
        ("S[0] = X[0]; S[t] = S[t-1] * 2 + X[t]", {"X": (6,), "S": (6,)}, 10),
        ("L[] = 3 * a[]", {"a": ()}, 1),
    ],
)
def test_by_hand(text: str, shapes: dict[str, tuple[int, ...]], want: int) -> None:
    assert operations(te.define(text, **shapes)) == want


def test_reducers_count_their_combine() -> None:
    A, Y = te.tensor("A", (3, 5)), te.tensor("Y")
    r = te.reducer((0.0, 0.0), lambda p, q: (p[0] + q[0], p[1] * q[0] + q[1]))
    Y[i] = r((A[i, j], 1.0), axis=j)[1]
    assert operations(Y) == 3 * 5 * 3


def test_shared_stages_count_once() -> None:
    A = te.tensor("A", (4, 5))
    B = te.tensor("B")
    B[i, j] = te.exp(A[i, j])
    assert operations([B * 2.0, B + 1.0]) == 3 * 20
    assert operations((B,)) == operations(B) == 20


def test_symbolic() -> None:
    n = te.var("n", min=1)
    A, B, C = te.tensor("A", (n, 8)), te.tensor("B", (n, 8)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    found = operations(C)
    assert simplify(found - 16 * n * n) is Const(0)  # type: ignore[operator]
    X, W, Y = te.tensor("X", (n + 2,)), te.tensor("W", (3,)), te.tensor("Y")
    y, r = te.axes("y r")
    Y[y] = te.sum(X[y + r] * W[r])
    dX = te.vjp(Y, X, te.tensor("dY", (n,)))
    found = operations(dX)
    for size in (1, 2, 5, 9):
        at = simplify(substitute(found, {n: Const(size)}))  # type: ignore[arg-type]
        assert at is Const(6 * (size + 2))  # the border: what is around dY counts as 0


@pytest.mark.parametrize("seed", range(40))
def test_counts_of_conditions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    axes = [Axis(n, int(rng.integers(-2, 3)), int(rng.integers(1, 7))) for n in "ijk"]

    def term() -> Expr:
        e = Const(int(rng.integers(-3, 4)))
        for a in axes:
            e = e + int(rng.integers(-2, 3)) * a  # type: ignore[operator]
        return e

    conditions = []
    for _ in range(rng.integers(1, 4)):
        e = term()
        conditions.append([e >= 0, e % int(rng.integers(2, 4)) == 0, e // 2 < 1][rng.integers(3)])  # type: ignore[operator]
    want = 0
    for point in itertools.product(*(range(a.lo, a.lo + a.extent) for a in axes)):  # type: ignore[attr-defined]
        at = {a: Const(v) for a, v in zip(axes, point)}
        want += all(simplify(substitute(c, at)).value for c in conditions)  # type: ignore[arg-type, attr-defined]
    assert count(axes, conditions) == want  # type: ignore[arg-type]


def test_large_domains_are_counted_along_a_line() -> None:
    p, q = Axis("p", 0, 30_000), Axis("q", 0, 20_000)
    assert count([p, q], [p <= q]) == 20_000 * 20_001 // 2  # type: ignore[list-item]
    n = Var("n", 4)
    assert simplify(
        count([Axis("p", 0, n), Axis("q", 0, 3)], [Axis("p", 0, n) + Axis("q", 0, 3) < n]) - (3 * n - 3)
    ) is Const(0)  # type: ignore[list-item, operator]


LIMITS = {
    "matmul": ("C[i,j] = sum(A[i,k] * B[j,k])", {"A": (32, 24), "B": (40, 24)}, 1.0),
    "transposed": ("C[i,j] = A[i,j] + A[j,i]", {"A": (64, 64)}, 1.0),
    "convolution": ("Y[n,f,y,x] = sum(X[n,c,y+r,x+s] * W[f,c,r,s])", {"X": (2, 8, 16, 16), "W": (8, 8, 3, 3)}, 1.31),
    "stride 2": ("Y[n,f,y,x] = sum(X[n,c,2*y+r,2*x+s] * W[f,c,r,s])", {"X": (2, 8, 17, 17), "W": (8, 8, 3, 3)}, 1.2),
    "stride 3": ("Y[n,f,y,x] = sum(X[n,c,3*y+r,3*x+s] * W[f,c,r,s])", {"X": (2, 8, 17, 17), "W": (8, 8, 2, 2)}, 1.0),
    "dilation 3": ("Y[n,f,y,x] = sum(X[n,c,y+3*r,x+3*s] * W[f,c,r,s])", {"X": (2, 8, 22, 22), "W": (8, 8, 3, 3)}, 1.9),
    "softmax": ("S[i,j] = exp(A[i,j]) / sum(exp(A[i,k]))", {"A": (32, 64)}, 2.5),
    "max pooling": ("Y[n,c,y,x] = max(X[n,c,2*y+r,2*x+s])", {"X": (2, 8, 16, 16), "r": 2, "s": 2}, 2.5),  # type: ignore[dict-item]
    "overlapping max pooling": ("Y[n,c,y,x] = max(X[n,c,2*y+r,2*x+s])", {"X": (2, 8, 17, 17), "r": 3, "s": 3}, 3.0),  # type: ignore[dict-item]
    "average pooling": ("Y[n,c,y,x] = sum(X[n,c,2*y+r,2*x+s]) / 4", {"X": (2, 8, 16, 16), "r": 2, "s": 2}, 1.0),  # type: ignore[dict-item]
    "layer norm": ("V[i,j] = (A[i,j] - sum(A[i,k]) / 64) / sqrt(sum((A[i,k] - sum(A[i,l]) / 64) ** 2, axis=k) / 64 + 0.1)", {"A": (32, 64)}, 3.0),
    "rnn": ("S[0,j] = X[0,j]; S[t,j] = tanh(sum(S[t-1,k] * W[k,j])) + X[t,j]", {"X": (16, 32), "W": (32, 32), "S": (16, 32)}, 2.1),
    "product": ("P[i] = prod(A[i,k])", {"A": (8, 32)}, 4.0),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_gradients_take_about_as_many_operations_as_the_forward_pass(name: str) -> None:
    """Beyond the forward pass, whose values a gradient may read; for each input on its own."""
    text, names, limit = LIMITS[name]
    out = te.define(text, **names)
    forward = operations(out)
    seed = te.tensor("seed", out.shape)
    for tensor, gradient in zip(out.inputs, te.vjp(out, list(out.inputs), seed)):
        extra = operations([out, gradient]) - forward  # type: ignore[operator]
        assert extra <= limit * forward, (tensor.name, extra, forward)  # type: ignore[operator]
