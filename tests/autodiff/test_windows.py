"""Gradients of windows: dense sums over residue classes against the sums with conditions, for random strides, dilations, sizes and offsets."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tedsl as te
from tedsl.lang.expr import Reduce, walk

n, f, c, y, x, r, s, i, j = te.axes("n f c y x r s i j")


def real(name: str, *shape: int) -> te.Tensor:
    return te.tensor(name, shape, dtype="float64")


def conditions(tensor: te.Tensor) -> int:
    """How many reductions that the gradient needs have a condition."""
    seen: set[te.Tensor] = set()
    stack = [tensor]
    found = 0
    while stack:
        t = stack.pop()
        if t in seen:
            continue
        seen.add(t)
        for part in t.parts:
            for node in walk(*part.values):
                found += isinstance(node, Reduce) and node.where is not None
                if hasattr(node, "tensor"):
                    stack.append(node.tensor)
    return found


def check(Y: te.Tensor, X: te.Tensor, others: dict[te.Tensor, Any]) -> te.Tensor:
    """Reverse mode against forward mode (which has no windows), along a random direction."""
    rng = np.random.default_rng(0)
    seed, move = real("seed", *Y.shape), real("move", *X.shape)  # type: ignore[arg-type]
    g = te.vjp(Y, X, seed)
    at = {t: rng.standard_normal(t.shape) for t in (X, seed, move)} | others  # type: ignore[arg-type]
    backward = (te.evaluate(g, at) * at[move]).sum()
    forward = (te.evaluate(te.jvp(Y, {X: move}), at) * at[seed]).sum()
    assert backward == pytest.approx(forward, rel=1e-11, abs=1e-11)
    return g


@pytest.mark.parametrize(
    "stride, dilation, taps, extra", list(itertools.product([1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4], [0, 1, 2]))
)
def test_one_dimension(stride: int, dilation: int, taps: int, extra: int) -> None:
    X, W, Y = real("X", 3, stride * 5 + dilation * (taps - 1) + extra), real("W", 2, 3, taps), te.tensor("Y")
    Y[f, y] = te.sum(X[c, stride * y + dilation * r] * W[f, c, r])
    w = np.random.default_rng(1).standard_normal(W.shape)  # type: ignore[arg-type]
    g = check(Y, X, {W: w})
    size = X.shape[1] / (Y.shape[1] * stride)  # type: ignore[operator]
    if taps > 1 and size <= 2:
        assert conditions(g) == 0


def test_random_windows() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        strides, dilations, taps = (rng.integers(1, 4, 2).tolist() for _ in range(3))
        first = rng.integers(0, 3, 2).tolist()
        sizes = [int(rng.integers(1, 6)) for _ in range(2)]
        extents = [
            o + st * (m - 1) + d * (k - 1) + 1 + int(rng.integers(0, 3))
            for o, st, m, d, k in zip(first, strides, sizes, dilations, taps)
        ]
        X, W = real("X", 2, *extents), real("W", 3, *taps)
        Y = te.tensor("Y", (2, 3, *sizes), dtype="float64")
        inner = (
            X[n, first[0] + strides[0] * y + dilations[0] * r, first[1] + strides[1] * x + dilations[1] * s]
            * W[f, r, s]
        )
        Y[n, f, y, x] = te.sum(inner, axis=(r, s))
        w = rng.standard_normal(W.shape)  # type: ignore[arg-type]
        check(Y, X, {W: w})


@pytest.mark.parametrize(
    "text",
    [
        "Y[y] = sum(X[y+r] * W[r]) * X[y+1]",
        "Y[y] = sum(X[y+r] * W[r] / Z[y])",
        "Y[y] = sum(X[y+r] * X[y+r+1] * W[r])",
        "Y[y] = sum(X[y+r] * W[r], where=r <= y)",
        "Y[y] = sum(X[y+r+2*q] * W[r] * V[q])",
        "Y[y] = sum(X[7-y-r] * W[r])",
        "Y[y,x] = sum(X[y+r] * W[r] * X[x+s] * W[s])",
        "Y[y] = sum(where(r < 1, X[y+r], 2 * X[y+r]) * W[r])",
        "Y[y] = exp(sum(X[2*y+r] * W[r]))",
    ],
)
def test_neighbours_of_windows(text: str) -> None:
    """What looks like one, in part or in whole."""
    names = {"X": (9,), "W": (3,), "Z": (7,), "V": (2,)}
    shape = {"Y": (6,)} if "7-" in text else {}
    used = {k: real(k, *v) for k, v in names.items() if f"{k}[" in text}
    Y = te.define(text, **used, **shape)
    others = {
        t: np.random.default_rng(m).standard_normal(t.shape) + 3 for m, t in enumerate(used.values()) if t.name != "X"
    }  # type: ignore[arg-type]
    check(Y, used["X"], others)


def test_a_border_that_is_most_of_the_work_keeps_its_conditions() -> None:
    X, W, Y = real("X", 14), real("W", 3), te.tensor("Y")
    Y[y] = te.sum(X[y + 4 * r] * W[r])
    assert conditions(te.vjp(Y, X, real("seed", 6))) == 1
    check(Y, X, {W: np.ones(3)})


def test_copies_with_zeros_are_shared() -> None:
    X, Z, W, Y = real("X", 3, 12), real("Z", 3, 12), real("W", 2, 3, 3), te.tensor("Y")
    Y[f, y] = te.sum((X[c, y + r] + Z[c, y + r]) * W[f, c, r])
    text = te.show(te.vjp(Y, [X, Z], real("dY", 2, 10)))
    assert text.count("dY.padded[f,y] =") == 1


@pytest.mark.parametrize(
    "stride, dilation, taps, extra", list(itertools.product([1, 2, 3], [1, 2], [1, 2, 3, 4], [0, 1, 2]))
)
def test_maxima(stride: int, dilation: int, taps: int, extra: int) -> None:
    """What a place of the maximum gets is divided once, and reaches the element in a sum without conditions."""
    X, Y = real("X", 3, stride * 5 + dilation * (taps - 1) + extra), te.tensor("Y")
    Y[c, y] = te.max(X[c, stride * y + dilation * r], axis=te.reduce_axis(taps, "r"))
    g = check(Y, X, {})
    if 1 < taps and X.shape[1] / (Y.shape[1] * stride) <= 2:  # type: ignore[operator]
        assert conditions(g) == 0


@pytest.mark.parametrize("size, stride, extent", [(3, 2, 9), (3, 2, 10), (2, 2, 8), (3, 1, 6), (3, 3, 8), (2, 3, 9)])
def test_maxima_over_two_axes_share_ties(size: int, stride: int, extent: int) -> None:
    X, Y = real("X", 2, extent, extent), te.tensor("Y")
    a, b = te.reduce_axis(size, "a"), te.reduce_axis(size, "b")
    Y[c, y, x] = te.max(X[c, stride * y + a, stride * x + b], axis=(a, b))
    rng = np.random.default_rng(5)
    at = rng.integers(-2, 1, X.shape).astype("float64")  # type: ignore[arg-type]
    seed = rng.standard_normal(Y.shape)  # type: ignore[arg-type]
    want = np.zeros_like(at)
    for place in np.ndindex(*seed.shape):
        window = (
            place[0],
            slice(stride * place[1], stride * place[1] + size),
            slice(stride * place[2], stride * place[2] + size),
        )
        most = at[window] == at[window].max()
        want[window] += most * seed[place] / most.sum()
    given = real("seed", *Y.shape)  # type: ignore[arg-type]
    g = te.vjp(Y, X, given)
    np.testing.assert_allclose(te.evaluate(g, {X: at, given: seed}), want, atol=1e-12)
    np.testing.assert_allclose(te.build(g, args=[X, given, g])(at, seed), want, atol=1e-12)


def test_what_does_not_depend_on_the_sum_stands_outside() -> None:
    X, v, Y = real("X", 4, 5), real("v", 4), te.tensor("Y")
    Y[i, j] = X[i, j] / te.exp(v[i])
    dv = te.vjp(Y, v, real("dY", 4, 5))
    assert te.show(dv).splitlines()[-1] == "dv[i] = -exp(v[i]) * (sum_j dY[i,j] * Y[i,j]) / exp(v[i])"
    size = te.var("size")  # a sum of nothing is 0, whatever stands outside
    X, Y = real("X", 4, size), te.tensor("Y")
    Y[i, j] = X[i, j] / v[i]
    dY = real("dY", 4, size)
    g = te.vjp(Y, v, dY)
    empty = np.zeros((4, 0))
    np.testing.assert_array_equal(te.evaluate(g, {X: empty, v: np.zeros(4), dY: empty}), np.zeros(4))
