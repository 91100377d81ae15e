"""Selects by comparisons, and what is made of them: the positions of the largest and the smallest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tedsl as te

i, j, k = te.axes("i j k")
SPECIAL = (np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0)


def arrays(dtype: str, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Arrays full of ties; of floats also with NaN, infinities, nothing else, and the least and greatest values alone."""
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    if kind.kind != "f":
        limits = np.iinfo(dtype)
        yield rng.integers(max(limits.min, -2), 3, shape).astype(dtype)
        yield np.full(shape, limits.min, dtype)
        yield np.full(shape, limits.max, dtype)
        return
    yield rng.integers(-2, 3, shape).astype(dtype)
    for value in (*SPECIAL, np.finfo(dtype).min, np.finfo(dtype).max):
        yield np.full(shape, value, dtype)
    for share in (0.01, 0.3):
        x = rng.integers(-2, 3, shape).astype(dtype)
        yield np.where(rng.random(shape) < share, rng.choice(np.array(SPECIAL, dtype), shape), x)


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32", "int64", "int8"])
@pytest.mark.parametrize("what", ["argmax", "argmin"])
def test_positions(what: str, dtype: str, isa: str) -> None:
    for shape, axis in (((3, 1000), 1), ((2, 65), 1), ((4, 3), 1), ((3, 1), 1), ((70, 33), 0)):
        X, T = te.tensor("X", shape, dtype), te.tensor("T")
        kept, gone = (i, j) if axis else (j, i)
        T[kept] = getattr(te, what)(X[i, j], axis=gone)
        kernels = [te.build(T, isa=isa), te.build(te.create_schedule(T), isa=isa)]
        for x in arrays(dtype, shape):
            for kernel in kernels:
                np.testing.assert_array_equal(kernel(x), getattr(x, what)(axis))


def test_positions_over_two_axes() -> None:
    """The flat position, with loops in the order of memory and in the other."""
    X, T = te.tensor("X", (3, 20, 30)), te.tensor("T")
    T[i] = te.argmin(X[i, j, k], axis=(j, k))
    for order in (("j", "k"), ("k", "j")):
        s = te.create_schedule(T)
        s[T].reorder(*order)
        kernel = te.build(s)
        for x in arrays("float32", (3, 20, 30)):
            np.testing.assert_array_equal(kernel(x), x.reshape(3, -1).argmin(1))


def test_positions_under_a_condition() -> None:
    """The first step of the loop need not be one that the condition allows."""
    X, T, U = te.tensor("X", (9, 40)), te.tensor("T"), te.tensor("U")
    T[i] = te.argmax(X[i, j], where=j >= i + 3)
    U[i] = te.argmax(X[i, j], where=j <= i)
    kernel = te.build(te.create_schedule([T, U]))
    for x in arrays("float32", (9, 40)):
        late, early = kernel(x)
        np.testing.assert_array_equal(late, [row[n + 3 :].argmax() + n + 3 for n, row in enumerate(x)])
        np.testing.assert_array_equal(early, [row[: n + 1].argmax() for n, row in enumerate(x)])


def test_positions_by_lanes_and_blocks() -> None:
    """Partial results of every kind of split, divided or not."""
    for extent, factor in ((40, 8), (41, 8), (7, 8), (64, 16), (100, 3)):
        for nparts in (False, True):
            X, T = te.tensor("X", (5, extent)), te.tensor("T")
            T[i] = te.argmax(X[i, j])
            s = te.create_schedule(T)
            _, inner = s[T].split("j", nparts=factor) if nparts else s[T].split("j", factor=factor)
            made = s.rfactor(T, inner)
            part = s[made[0] if isinstance(made, list) else made]
            part.vectorize(part.axis[0])
            kernel = te.build(s)
            for x in arrays("float32", (5, extent)):
                np.testing.assert_array_equal(kernel(x), x.argmax(1))


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32", "int64", "uint64"])
def test_conditions_of_the_selected_width(dtype: str, isa: str) -> None:
    """Every comparison, its negation, and conditions made of several."""
    X, Y = te.tensor("X", (70,), dtype), te.tensor("Y", (70,), dtype)
    x, y = X[i], Y[i]
    tests = [x < y, x <= y, x > y, x >= y, x == y, x != y]
    tests += [~t for t in tests] + [(x < y) | (x == 2), ~((x < y) | ~(y > 1)), (x > y) & ~((y < 2) | (x != 0))]
    if dtype.startswith("float"):
        tests += [te.isnan(x), ~te.isnan(y), te.isnan(x) & ~(x <= y)]
    for test in tests:
        Z = te.tensor("Z")
        Z[i] = te.where(test, x, y)
        s = te.create_schedule(Z)
        s[Z].vectorize(i)
        kernel = te.build(s, isa=isa)
        assert (
            dtype == "uint32" or "te_choose_" in kernel.source
        )  # numbers that int32 cannot hold are compared in int64
        for a in arrays(dtype, (70,)):
            b = np.roll(a, 7)
            inputs = {X: a, Y: b}
            np.testing.assert_array_equal(kernel(*(inputs[t] for t in Z.inputs)), te.evaluate(Z, inputs))
