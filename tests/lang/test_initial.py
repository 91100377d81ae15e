"""The largest, the smallest and their places under a condition that may hold nowhere: `initial=`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, k = te.axes("i j k")
RNG = np.random.default_rng(0)
VALUES = RNG.standard_normal((6, 5)).astype(np.float32)
KEEP = RNG.random((6, 5)) < 0.4
KEEP[2] = False
KEEP[3] = True


def check(T: te.Tensor, given: dict[te.Tensor, Any], want: Any) -> None:
    for got in (te.evaluate(T, given), te.build(T)(*(given[t] for t in T.inputs))):
        np.testing.assert_array_equal(np.asarray(got), want)


def defined(value: Any) -> te.Tensor:
    T = te.tensor("T")
    T[i] = value
    return T


@pytest.fixture
def X() -> te.Tensor:
    return te.tensor("X", (6, 5))


@pytest.fixture
def M() -> te.Tensor:
    return te.tensor("M", (6, 5), "bool")


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("initial", [0.25, -100.0, 100.0])
@pytest.mark.parametrize("nan", ["propagate", "unspecified"])
def test_extremes(X: te.Tensor, M: te.Tensor, name: str, initial: float, nan: str) -> None:
    T = defined(getattr(te, name)(X[i, k], where=M[i, k], initial=initial, nan=nan))
    assert T.dtype == "float32"
    check(T, {X: VALUES, M: KEEP}, getattr(np, name)(VALUES, axis=1, where=KEEP, initial=np.float32(initial)))


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places(X: te.Tensor, M: te.Tensor, name: str) -> None:
    worst = -np.inf if name == "argmax" else np.inf
    want = np.where(KEEP.any(1), getattr(np, name)(np.where(KEEP, VALUES, worst), axis=1), -1)
    check(defined(getattr(te, name)(X[i, k], where=M[i, k], initial=-1)), {X: VALUES, M: KEEP}, want)
    T = te.define(f"T[i] = {name}(X[i,k], where=M[i,k], initial=-1)", X=X, M=M)
    check(T, {X: VALUES, M: KEEP}, want)
    infinite = np.full((6, 5), worst, np.float32)  # what is kept may be as bad as nothing
    check(T, {X: infinite, M: KEEP}, np.where(KEEP.any(1), KEEP.argmax(1), -1))


def test_a_kept_extreme_is_not_lost_by_integers() -> None:
    A, M = te.tensor("A", (6, 5), "int8"), te.tensor("M", (6, 5), "bool")
    values = RNG.integers(-128, 128, (6, 5)).astype(np.int8)
    check(
        defined(te.max(A[i, k], where=M[i, k], initial=-128)),
        {A: values, M: KEEP},
        np.max(values, 1, where=KEEP, initial=-128),
    )


def test_whole_tensors(X: te.Tensor, M: te.Tensor) -> None:
    check(
        te.max(X, axis=1, where=M, initial=0.0),
        {X: VALUES, M: KEEP},
        np.max(VALUES, 1, where=KEEP, initial=np.float32(0)),
    )


@pytest.mark.parametrize(
    "condition",
    [
        lambda i, k: k <= i, lambda i, k: k >= i - 1, lambda i, k: (k >= 2) & (k < 3), lambda i, k: k % 2 == 1,
        lambda i, k: k * 2 < i + 3, lambda i, k: k % 3 == i % 3, lambda i, k: k < 1,
    ],
)  # fmt: skip
def test_what_is_never_empty_needs_nothing(X: te.Tensor, condition: Any) -> None:
    at = np.array([[bool(condition(p, q)) for q in range(5)] for p in range(6)])
    assert at.any(1).all()
    check(defined(te.max(X[i, k], where=condition(i, k))), {X: VALUES}, np.max(VALUES, 1, where=at, initial=-np.inf))


def test_a_guard_counts(X: te.Tensor) -> None:
    T = defined(te.where(i > 0, te.max(X[i, k], where=k < i), 0))
    check(T, {X: VALUES}, [0, *(VALUES[n, :n].max() for n in range(1, 6))])


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_what_may_be_empty_is_asked_for(X: te.Tensor, M: te.Tensor, name: str) -> None:
    what = "an index" if "arg" in name else "a value"
    for condition, shown in ((M[i, k], "M[i, k]"), (k < i, "k < i")):
        with pytest.raises(te.DefinitionError) as error:
            defined(getattr(te, name)(X[i, k], where=condition))
        assert f"Say what it is then, {what}: te.{name}(X[i, k], where={shown}, initial=…)" in str(error.value)


def test_what_is_written_is_read_again(X: te.Tensor, M: te.Tensor) -> None:
    for value in (te.max(X[i, k], where=M[i, k], initial=0.5), te.argmin(X[i, k], where=M[i, k], initial=0)):
        T = defined(value)
        again = te.define(str(T), X=X, M=M)
        assert again.parts[0].values == T.parts[0].values
        assert again.parts[0].values[0] is T.parts[0].values[0]


def test_initial_of_another_type_is_refused(X: te.Tensor, M: te.Tensor) -> None:
    A = te.tensor("A", (6, 5), "int32")
    with pytest.raises(te.DefinitionError, match=r"it is float64, and the values are int32"):
        te.max(A[i, k], where=M[i, k], initial=0.5)
    with pytest.raises(te.DefinitionError, match="the index of nothing is a whole number"):
        te.argmax(X[i, k], where=M[i, k], initial=0.5)
    with pytest.raises(te.DefinitionError, match=r"sum takes axis=, where=, dtype=; initial= is none of them"):
        te.define("T[i] = sum(X[i,k], where=M[i,k], initial=0)", X=X, M=M)


@pytest.mark.parametrize("extent", [0, te.var("n")])
def test_an_extent_of_0(extent: Any) -> None:
    Z = te.tensor("Z", (3, extent))
    T = defined(te.max(Z[i, k], initial=0.5))
    check(T, {Z: np.zeros((3, 0), np.float32)}, [0.5, 0.5, 0.5])
    if not isinstance(extent, int):
        check(T, {Z: VALUES[:3]}, np.max(VALUES[:3], 1, initial=np.float32(0.5)))
