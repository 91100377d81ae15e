"""Names from hell, extents of 0 and 1, huge shapes, deep expressions, many stages: a right answer or a clear error."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, k = te.axes("i j k")
ODD = [
    "a b", "x*/ int y; /*", "line\nbreak", "back\\", "trigraph??/", 'quo"te', "%s{0}{", "größe", "колонна", "変数", "é́", "0", "-1", "a.b.c",
    "A'", "λ" * 100, "very_long_" * 30, "te_max_f32", "te_pick_f32x8", "lanes", "lane", "acc", "i32x4", "__builtin_sqrt", "#pragma", "//", "_Bool",
    "NULL", "stdin", "INFINITY", "unix", "register", "A_call",
]  # fmt: skip


def used_twice(name: str) -> tuple[Any, te.Tensor, te.Tensor]:
    """A schedule in which inputs, stages, axes and sizes all have one name."""
    (axis,), size = te.axes([name]), te.var(name)
    A, M, B = te.tensor(name, (size,)), te.tensor(name), te.tensor(name)
    M[axis] = te.maximum(A[axis] * 2, 0)
    B[axis] = te.where(M[axis] > 1, M[axis], -A[axis])
    s = te.create_schedule(B)
    copy = s.cache_write(B, "cache")
    outer, inner = s[B].split(axis, factor=8)
    s[B].vectorize(inner)
    s[B].parallel(outer)
    s[copy].compute_at(s[B], outer)
    s[M].compute_at(s[B], outer)
    return s, A, B


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_odd_names(name: str) -> None:
    s, A, B = used_twice(name)
    x = np.linspace(-2, 2, 21, dtype="float32")
    te.lower(s).verify()
    kernel = te.build(s)
    np.testing.assert_array_equal(kernel(x), te.evaluate(B, {A: x}))
    assert kernel.source.isascii()
    again = te.create_schedule(B).replay(s.to_json())
    assert str(again) == str(s)
    typed = te.create_schedule(B)
    exec(str(s.history), {"s": typed, "te": te})
    assert str(typed) == str(s)


def test_long_names_that_differ_at_the_end() -> None:
    names = ["x" * 200 + end for end in "abc"]
    tensors = [te.tensor(n, (3,)) for n in names]
    T = te.tensor("x" * 200)
    T[i] = tensors[0][i] - tensors[1][i] * tensors[2][i]
    arrays = [np.float32([1, 2, 3]), np.float32([4, 5, 6]), np.float32([7, 8, 9])]
    np.testing.assert_array_equal(te.build(T)(*arrays), arrays[0] - arrays[1] * arrays[2])


@pytest.mark.parametrize("n,m", list(itertools.product([0, 1, 2], [0, 1, 9])))
@pytest.mark.parametrize("symbolic", [False, True])
def test_empty_and_single_extents_under_every_kind_of_schedule(n: int, m: int, symbolic: bool) -> None:
    rows, columns = (te.var("n"), te.var("m")) if symbolic else (n, m)
    A, H, B, L = te.tensor("A", (rows, columns)), te.tensor("H"), te.tensor("B"), te.tensor("L")
    H[i, j] = A[i, j] + 1
    B[i, j] = H[i, j] * 2
    L[i] = te.sum(A[i, k] * A[i, k])
    s = te.create_schedule([B, L])
    io, jo, ii, ji = s[B].tile(i, j, 2, 4)
    s[B].vectorize(ji)
    s[B].unroll(ii)
    s[B].parallel(io)
    s[H].compute_at(s[B], jo)
    ko, ki = s[L].split(k, factor=4)
    P = s.rfactor(L, ki)
    s[P].reorder(ko, s[P].axis[0])
    s[P].vectorize(s[P].axis[0])
    s[P].compute_at(s[L], i)
    packed = s.cache_read(A, "global", P)
    po, pi = s[packed].split(s[packed].axis[1], factor=3)
    s[packed].layout(po, s[packed].axis[0], pi)
    te.lower(s).verify()
    a = np.arange(n * m, dtype="float32").reshape(n, m)
    for got, want in zip(te.build(s)(a), te.evaluate([B, L], {A: a}), strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.shape == want.shape


def test_sizes_beyond_32_bits_are_counted_in_64() -> None:
    A, B = te.tensor("A", (1 << 20, 1 << 20), "int8"), te.tensor("B", (2,), "int8")
    B[i] = A[(1 << 19) * i + 1, (1 << 19) * i]
    assert str((1 << 39) + (1 << 19)) in te.emit(B) or str(1 << 39) in te.emit(B)


def test_a_temporary_that_no_machine_has_memory_for() -> None:
    """It is asked for in 64 bits, without overflow, and refused as a MemoryError."""
    A, T, B = te.tensor("A", (2,)), te.tensor("T", (1 << 21, 1 << 21, 1 << 6)), te.tensor("B", (2,))
    T[i, j, k] = A[0] + te.cast(i + j + k, "float32")
    B[i] = T[i, i, i]
    with pytest.raises(MemoryError):
        te.build(te.create_schedule(B))(np.ones(2, "float32"))


def test_deep_expressions() -> None:
    A, B = te.tensor("A", (5,)), te.tensor("B")
    value: Any = A[i]
    for n in range(480):
        value = value * 0.5 + n
    B[i] = value
    x = np.arange(5, dtype="float32")
    np.testing.assert_allclose(te.build(B)(x), te.evaluate(B, {A: x}), rtol=1e-6)
    s = te.create_schedule(B)
    s[B].vectorize(i)
    np.testing.assert_allclose(te.build(s)(x), te.evaluate(B, {A: x}), rtol=1e-6)


def test_a_hundred_stages() -> None:
    A = te.tensor("A", (32,))
    stages = [A]
    for n in range(100):
        T = te.tensor("T")
        T[i] = stages[-1][i] * 0.5 + stages[max(n - 3, 0)][i]
        stages.append(T)
    s = te.create_schedule(stages[-1])
    assert len(s.stages) == 100 and len({x.name for x in s.stages}) == 100
    for n, T in enumerate(stages[1:-1]):
        if n % 3 == 0:
            s[T].set_scope("cache")
        elif n % 3 == 1:
            s[T].vectorize(i)
    x = np.linspace(0, 1, 32, dtype="float32")
    np.testing.assert_allclose(te.build(s)(x), te.evaluate(stages[-1], {A: x}), rtol=1e-6)


def test_many_inputs_and_outputs() -> None:
    inputs = [te.tensor("A", (3,)) for _ in range(40)]
    outputs = []
    for n in range(40):
        T = te.tensor("T")
        T[i] = inputs[n][i] - inputs[39 - n][i]
        outputs.append(T)
    arrays = [np.full(3, n, "float32") for n in range(40)]
    kernel = te.build(outputs, inputs)
    for n, got in enumerate(kernel(*arrays)):
        np.testing.assert_array_equal(got, arrays[n] - arrays[39 - n])


def test_numbers_at_the_ends_of_their_types() -> None:
    ends = {
        "int8": (-128, 127), "int16": (-(2**15), 2**15 - 1), "int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1), "uint8": (0, 255),
        "uint32": (0, 2**32 - 1), "uint64": (0, 2**64 - 1), "float32": (-3.4028234663852886e38, 1e-45), "float64": (5e-324, 1.7976931348623157e308),
    }  # fmt: skip
    made = []
    for dtype, (low, high) in ends.items():
        T = te.tensor(f"T_{dtype}", (2,))
        T[i] = te.where(i == 0, te.cast(np.dtype(dtype).type(low), dtype), np.dtype(dtype).type(high))
        made.append(T)
    for got, want, (low, high) in zip(te.build(made)(), te.evaluate(made, {}), ends.values(), strict=True):
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(got, np.array([low, high], got.dtype))
