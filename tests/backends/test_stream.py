"""Stores past the caches: whole lines wherever an array begins, the same values as plain stores, and no thread that reads them too early."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tedsl as te
from tedsl.hardware import level

i, j = te.axes("i j")


def copied(rows: Any, columns: Any, dtype: str = "float32") -> tuple[te.Tensor, te.Tensor]:
    X, Y = te.tensor("X", (rows, columns), dtype), te.tensor("Y")
    Y[i, j] = X[i, j] + X[i, j]
    return X, Y


def streamed(Y: te.Tensor, parallel: bool = True) -> te.Schedule:
    s = te.create_schedule(Y)
    s[Y].vectorize(j)
    s[Y].pragma(j, "stream")
    if parallel:
        s[Y].parallel(i)
    return s


def begun_at(shape: tuple[int, ...], dtype: str, first: int) -> np.ndarray:
    """An array whose first element lies `first` elements behind a multiple of 64 bytes."""
    size, count = np.dtype(dtype).itemsize, int(np.prod(shape))
    memory = np.zeros(count + 256, dtype)
    start = (-memory.ctypes.data % 64) // size + first
    found = memory[start : start + count].reshape(shape)
    assert found.ctypes.data % 64 == first * size % 64
    return found


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "int64"])
def test_wherever_the_result_begins(dtype: str, isa: str) -> None:
    X, Y = copied(3, 301, dtype)
    kernel = te.build(streamed(Y), isa=isa)
    assert "te_stream_" in kernel.source
    x = np.random.default_rng(0).integers(0, 60, (3, 301)).astype(dtype)
    for first in range(64 // x.itemsize):
        out = begun_at(x.shape, dtype, first)
        kernel(x, out=out)
        np.testing.assert_array_equal(out, te.evaluate(Y, {X: x}))


def test_sizes_that_only_the_call_tells() -> None:
    n, m = te.var("n"), te.var("m")
    _, Y = copied(n, m)
    kernel = te.build(streamed(Y))
    assert "te_stream_" in kernel.source
    for shape in ((0, 5), (5, 0), (1, 1), (2, 15), (3, 16), (4, 17), (2, 64), (3, 1000)):
        x = np.random.default_rng(0).random(shape, "float32")
        np.testing.assert_array_equal(kernel(x), x + x)


def test_the_same_bits_for_any_number_of_threads() -> None:
    _, Y = copied(64, 1000)
    kernel = te.build(streamed(Y))
    x = np.random.default_rng(0).random((64, 1000), "float32")
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(kernel(x, threads=threads), x + x)


def test_what_is_written_may_be_read_by_another_stage() -> None:
    """A fence stands between a stage whose stores go past the caches and the threads that read it."""
    X, Y = te.tensor("X", (40, 500)), te.tensor("Y")
    Z = te.tensor("Z")
    Y[i, j] = X[i, j] * 2
    Z[i, j] = Y[39 - i, j] + 1
    for parallel in (False, True):
        s = te.create_schedule([Y, Z])
        s[Y].vectorize(j)
        s[Y].pragma(j, "stream")
        if parallel:
            s[Y].parallel(i)
        s[Z].parallel(i)
        source = te.emit(s)
        fence = source.index("te_stream_fence();")
        assert source.index("/* Y.i") < fence < source.index("/* Z.i")
        x = np.random.default_rng(0).random((40, 500), "float32")
        y, z = te.build(s)(x)
        np.testing.assert_array_equal(y, x * 2)
        np.testing.assert_array_equal(z, (x * 2)[::-1] + 1)


def test_in_place() -> None:
    """The result may be the input that is read at the element being written."""
    _, Y = copied(5, 333)
    kernel = te.build(streamed(Y))
    for first in (0, 1, 7):
        x = begun_at((5, 333), "float32", first)
        x[:] = np.random.default_rng(0).random((5, 333), "float32")
        want = x + x
        kernel(x, out=x)
        np.testing.assert_array_equal(x, want)


def test_what_cannot_go_past_the_caches_is_stored_as_ever() -> None:
    """Short rows, rows across memory, and masks: the pragma asks for nothing that would be wrong."""
    x = np.random.default_rng(0).random((40, 40), "float32")
    X, T, M, S = te.tensor("X", (40, 40)), te.tensor("T"), te.tensor("M"), te.tensor("S")
    T[j, i] = X[i, j]
    M[i, j] = X[i, j] > 0.5
    S[i, j] = X[i, j] + 1
    s = te.create_schedule([T, M, S])
    for tensor, axis in ((T, j), (M, j)):
        s[tensor].vectorize(axis)
        s[tensor].pragma(axis, "stream")
    _, inner = s[S].split(j, factor=2)  # no machine has vectors as short
    s[S].vectorize(inner)
    s[S].pragma(inner, "stream")
    kernel = te.build(s)
    assert "te_stream_f" not in kernel.source.replace("te_stream_fence", "")
    for got, want in zip(kernel(x), (x.T, x > 0.5, x + 1), strict=True):
        np.testing.assert_array_equal(got, want)


def neighbours(
    rows: int, columns: int, dtype: str, width: int, height: int = 1
) -> tuple[te.Tensor, te.Tensor, te.Schedule]:
    """Sums of neighbours in vectors that follow each other along the rows, several rows at a time. (The result may not be the input.)"""
    X, Y = te.tensor("X", (rows, columns + 1), dtype), te.tensor("Y")
    Y[i, j] = X[i, j] + X[i, j + 1]
    s = te.create_schedule(Y)
    outer, _, row, lane = s[Y].tile(i, j, height, width)
    s[Y].unroll(row)
    s[Y].vectorize(lane)
    s[Y].pragma(lane, "stream")
    s[Y].parallel(outer)
    return X, Y, s


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "int16"])
@pytest.mark.parametrize("vectors", [1, 2])
def test_lines_are_made_of_two_vectors(dtype: str, vectors: int, isa: str) -> None:
    size = np.dtype(dtype).itemsize
    lanes = {"sse2": 16, "avx2": 32, "avx512": 64}[isa] // size
    X, Y, s = neighbours(5, 6 * vectors * lanes + 3, dtype, vectors * lanes, 2)
    kernel = te.build(s, isa=isa)
    if level(isa) == isa:
        assert ("te_next_" in kernel.source) == (isa != "sse2" and size >= 4)
    x = np.random.default_rng(0).integers(0, 60, X.shape).astype(dtype)
    want = te.evaluate(Y, {X: x})
    for first in range(64 // size):
        memory = np.full(want.size + 256, 7, dtype)
        start = (-memory.ctypes.data % 64) // size + 64 + first
        out = memory[start : start + want.size].reshape(want.shape)
        for threads in (1, 2):
            out[:] = 7
            kernel(x, out=out, threads=threads)
            np.testing.assert_array_equal(out, want)
        assert (memory[:start] == 7).all()
        assert (memory[start + want.size :] == 7).all()


def test_rows_that_are_not_written_from_one_end_to_the_other() -> None:
    """Vectors far apart, few of them, or read again by the loop that writes them: plain stores, and the values are right."""
    x = np.random.default_rng(0).random((200, 129), "float32")
    few = neighbours(200, 40, "float32", 16)
    apart = neighbours(200, 128, "float32", 16)
    apart[2][apart[1]].reorder("j_o", "i_o", "i_i", "j_i")
    for X, Y, s in (few, apart):
        kernel = te.build(s, isa="avx512")
        assert "te_next_" not in kernel.source
        part = np.ascontiguousarray(x[:, : X.shape[1]])
        np.testing.assert_array_equal(kernel(part), te.evaluate(Y, {X: part}))
    X, S = te.tensor("X", (8, 128)), te.tensor("S")
    k = te.axes("k")
    S[j] = te.sum(X[k, j])
    s = te.create_schedule(S)
    column, lane = s[S].split(j, factor=16)
    s[S].reorder(k, column, lane)
    s[S].vectorize(lane)
    s[S].pragma(lane, "stream")
    kernel = te.build(s, isa="avx512")
    assert "te_next_" not in kernel.source.partition("/* S.k")[2]
    part = np.ascontiguousarray(x[:8, :128])
    np.testing.assert_allclose(kernel(part), part.sum(0), rtol=1e-5)


def test_it_is_for_vectors() -> None:
    _, Y = copied(4, 400)
    s = te.create_schedule(Y)
    with pytest.raises(
        te.ScheduleError, match=r"the pragma 'stream' says how vectors are stored\. Vectorize the loop first"
    ):
        s[Y].pragma(j, "stream")
    assert not len(s.history)
    s[Y].vectorize(j)
    with pytest.raises(te.ScheduleError, match="which needs a plain loop behind it"):
        s[Y].pragma(j, "GCC ivdep")
    s[Y].pragma(j, "stream")
    again = te.create_schedule(Y).replay(s.to_json())
    assert "#pragma stream" in str(again)
    assert "#pragma stream" not in te.emit(again)
