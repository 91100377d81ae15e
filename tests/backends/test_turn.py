"""Copies across rows are turned square by square in registers, and are right whatever divides."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te


def transposed(dtype: str, rows: int, columns: int) -> tuple[te.Tensor, te.Tensor]:
    i, j = te.axes("i j")
    X, T = te.tensor("X", (rows, columns), dtype), te.tensor("T")
    T[i, j] = X[j, i]
    return X, T


def numbers(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(-99, 99, shape).astype(dtype)


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32", "int64"])
def test_squares_of_every_width(dtype: str, isa: str) -> None:
    _, T = transposed(dtype, 32, 64)
    s = te.create_schedule(T)
    *_, ji = s[T].tile("i", "j", 16, 16)
    s[T].vectorize(ji)
    kernel = te.build(s, isa=isa)
    assert "te_turn_" in kernel.source and "in squares" in kernel.source
    x = numbers(dtype, (32, 64))
    np.testing.assert_array_equal(kernel(x), x.T)


@pytest.mark.parametrize(
    "shape", [(16, 16), (17, 16), (16, 19), (45, 70), (15, 100), (100, 15), (33, 31), (3, 2), (1, 40), (40, 1)]
)
def test_what_does_not_divide(shape: tuple[int, int]) -> None:
    x = numbers("float32", shape)
    for tile in (None, (16, 16), (32, 16), (24, 40)):
        _, T = transposed("float32", *shape)
        s = te.create_schedule(T)
        ji = s[T].loops[1]
        if tile:
            *_, ji = s[T].tile("i", "j", *tile)
        s[T].vectorize(ji)
        np.testing.assert_array_equal(te.build(s)(x), x.T)


def test_more_than_a_copy() -> None:
    """Two reads across rows, one along them, and the loops' own axes in one expression."""
    i, j = te.axes("i j")
    X, Y, Z, T = te.tensor("X", (50, 40)), te.tensor("Y", (40, 50)), te.tensor("Z", (50, 40)), te.tensor("T")
    T[i, j] = te.where(X[j, i] > 0, X[j, i] * 2 + Y[i, j], Z[j, i] + i)
    s = te.create_schedule(T)
    *_, ji = s[T].tile("i", "j", 16, 16)
    s[T].vectorize(ji)
    kernel = te.build(s)
    assert "in squares */" in kernel.source
    x, y, z = (numbers("float32", shape) for shape in ((50, 40), (40, 50), (50, 40)))
    np.testing.assert_allclose(kernel(x, y, z), te.evaluate(T, {X: x, Y: y, Z: z}), rtol=1e-6)


def test_symbolic_rows() -> None:
    i, j = te.axes("i j")
    m = te.var("m")
    X, T = te.tensor("X", (64, m)), te.tensor("T")
    T[i, j] = X[j, i]
    s = te.create_schedule(T)
    s[T].vectorize("j")
    kernel = te.build(s)
    for columns in (0, 1, 15, 16, 50):
        x = numbers("float32", (64, columns))
        np.testing.assert_array_equal(kernel(x), x.T)


def test_a_packed_operand() -> None:
    """The copy that packs a matrix product's operand is turned; so is its last, narrower panel."""
    i, j, k = te.axes("i j k")
    A, B, C = te.tensor("A", (20, 37)), te.tensor("B", (41, 37)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    Bp = s.cache_read(B, "global", C)
    jo, ji = s[Bp].split("j", 16)
    s[Bp].layout(jo, "k", ji)
    s[Bp].reorder(jo, "k", ji)
    s[Bp].vectorize(ji)
    kernel = te.build(s)
    assert "te_turn_" in kernel.source
    a, b = numbers("float32", (20, 37)), numbers("float32", (41, 37))
    np.testing.assert_array_equal(kernel(a, b), a @ b.T)


def test_what_is_left_alone() -> None:
    """Rows that are read along the vector are loaded as they lie; 16-bit numbers have no squares."""
    i, j = te.axes("i j")
    X, T = te.tensor("X", (32, 32)), te.tensor("T")
    T[i, j] = X[i, j] + X[i, 0]
    s = te.create_schedule(T)
    s[T].vectorize("j")
    assert "te_turn_" not in te.emit(s)
    X, T = transposed("int16", 32, 32)
    s = te.create_schedule(T)
    s[T].vectorize("j")
    assert "te_turn_" not in te.emit(s)
    x = numbers("int16", (32, 32))
    np.testing.assert_array_equal(te.build(s)(x), x.T)
