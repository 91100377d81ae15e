"""te.auto_schedule: right on every operator and shape, never a refusal, and the schedules that it is expected to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from automatic import agrees, defined, inputs

import tedsl as te

i, j, k, n, c, f, y, x, r, q = te.axes("i j k n c f y x r q")


# Operators: functions of a number of rows and a number of columns --------------------------------------------------------------------------------


def matmul_nt(m: Any, w: Any) -> Any:
    A, B = inputs((m, 33), (w, 33))
    return defined("Y", (i, j), te.sum(A[i, k] * B[j, k]))


def matmul_nn(m: Any, w: Any) -> Any:
    A, B = inputs((m, 20), (20, w))
    return defined("Y", (i, j), te.sum(A[i, k] * B[k, j]))


def matmul_tn(m: Any, w: Any) -> Any:
    A, B = inputs((20, m), (20, w))
    return defined("Y", (i, j), te.sum(A[k, i] * B[k, j]))


def transposed_result(m: Any, w: Any) -> Any:
    A, B = inputs((m, 40), (40, w))
    return defined("Y", (j, i), te.sum(A[i, k] * B[k, j]))


def batched(m: Any, w: Any) -> Any:
    A, B = inputs((3, m, 9), (3, w, 9))
    return defined("Y", (n, i, j), te.sum(A[n, i, k] * B[n, j, k]))


def relu_of_matmul(m: Any, w: Any) -> Any:
    A, B, C = inputs((m, 17), (w, 17), (w,))
    P = defined("P", (i, j), te.sum(A[i, k] * B[j, k]))
    return defined("Y", (i, j), te.maximum(P[i, j] + C[j], 0))


def distances(m: Any, w: Any) -> Any:
    A, B = inputs((m, 13), (w, 13))
    return defined("Y", (i, j), te.sum((A[i, k] - B[j, k]) ** 2))


def max_plus(m: Any, w: Any) -> Any:
    A, B = inputs((m, 11), (11, w))
    return defined("Y", (i, j), te.max(A[i, k] + B[k, j]))


def matrix_vector(m: Any, w: Any) -> Any:
    A, B = inputs((m, w), (w,))
    return defined("Y", i, te.sum(A[i, k] * B[k]))


def row_sums(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", i, te.sum(A[i, k]))


def row_maxima(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", i, te.max(A[i, k]))


def row_argmax(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", i, te.argmax(te.round(A[i, k])))


def row_argmin_of_float64(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w), dtype="float64")
    return defined("Y", i, te.argmin(te.round(A[i, k])))


def column_sums(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", j, te.sum(A[k, j]))


def long_column_sums(m: Any, w: Any) -> Any:
    (A,) = inputs((100, w))
    return defined("Y", j, te.sum(A[k, j] * 2))


def total(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", (), te.sum(A[i, k]))


def vector_total(m: Any, w: Any) -> Any:
    (A,) = inputs((m,))
    return defined("Y", (), te.sum(A[k]))


def flat_argmax(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", (), te.argmax(te.round(A[i, k]), axis=(i, k)))


def softmax(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    M = defined("M", i, te.max(A[i, k]))
    E = defined("E", (i, j), te.exp(A[i, j] - M[i]))
    return defined("Y", (i, j), E[i, j] / te.sum(E[i, k]))


def layer_norm(m: Any, w: Any) -> Any:
    A, B = inputs((m, w), (w,))
    mean = defined("mean", i, te.sum(A[i, k]) * 0.01)
    spread = defined("spread", i, te.sum((A[i, k] - mean[i]) ** 2))
    return defined("Y", (i, j), (A[i, j] - mean[i]) * te.rsqrt(spread[i] + 1) * B[j])


def chain(m: Any, w: Any) -> Any:
    A, B = inputs((m, w), (m, w))
    H = defined("H", (i, j), A[i, j] * 2 + B[i, j])
    return defined("Y", (i, j), te.maximum(H[i, j], 0) * te.tanh(B[i, j]))


def transpose(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", (j, i), A[i, j] + 1)


def symmetric(m: Any, w: Any) -> Any:
    (A,) = inputs((m, m))
    return defined("Y", (i, j), A[i, j] + A[j, i])


def every_second(m: Any, w: Any) -> Any:
    (A,) = inputs((m, 2 * w))
    return defined("Y", (i, j), A[i, 2 * j] + A[i, 2 * j + 1])


def every_third_reversed(m: Any, w: Any) -> Any:
    (A,) = inputs((m, 3 * w))
    return defined("Y", (i, j), A[i, 3 * w - 1 - 3 * j] + A[i, w - 1 - j]) if isinstance(w, int) else row_sums(m, w)


def blur_of_two_passes(m: Any, w: Any) -> Any:
    (A,) = inputs((m + 2, w + 2))
    H = defined("H", (y, x), (A[y, x] + A[y, x + 1] + A[y, x + 2]) / 3)
    return defined("Y", (y, x), (H[y, x] + H[y + 1, x] + H[y + 2, x]) / 3)


def blur_of_expensive_passes(m: Any, w: Any) -> Any:
    (A,) = inputs((m + 2, w + 2))
    H = defined("H", (y, x), te.exp(A[y, x]) + te.exp(A[y, x + 1]) + A[y, x + 2])
    return defined("Y", (y, x), te.sqrt(H[y, x] + H[y + 1, x] + H[y + 2, x] + 9))


def box_filter(m: Any, w: Any) -> Any:
    (A,) = inputs((m + 2, w + 2))
    a, b = te.reduce_axis(3, "a"), te.reduce_axis(3, "b")
    return defined("Y", (y, x), te.sum(A[y + a, x + b], axis=(a, b)) * 0.1)


def convolution(m: Any, w: Any) -> Any:
    A, B = inputs((2, 3, m + 2, w + 2), (37, 3, 3, 3))
    return defined("Y", (n, f, y, x), te.sum(A[n, c, y + r, x + q] * B[f, c, r, q]))


def padded_convolution(m: Any, w: Any) -> Any:
    A, B = inputs((1, 4, m, w), (32, 4, 3, 3))
    P = te.pad(A, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return defined("Y", (n, f, y, x), te.sum(P[n, c, y + r, x + q] * B[f, c, r, q]))


def strided_convolution(m: Any, w: Any) -> Any:
    A, B = inputs((1, 5, 2 * m + 1, 2 * w + 1), (18, 5, 3, 3))
    return defined("Y", (n, f, y, x), te.sum(A[n, c, 2 * y + r, 2 * x + q] * B[f, c, r, q]))


def depthwise(m: Any, w: Any) -> Any:
    A, B = inputs((5, m + 2, w + 2), (5, 3, 3))
    return defined("Y", (c, y, x), te.sum(A[c, y + r, x + q] * B[c, r, q]))


def pointwise(m: Any, w: Any) -> Any:
    A, B = inputs((6, m, w), (20, 6))
    return defined("Y", (f, y, x), te.sum(A[c, y, x] * B[f, c]))


def max_pool(m: Any, w: Any) -> Any:
    (A,) = inputs((3, 2 * m, 2 * w))
    a, b = te.reduce_axis(2, "a"), te.reduce_axis(2, "b")
    return defined("Y", (c, y, x), te.max(A[c, 2 * y + a, 2 * x + b], axis=(a, b)))


def overlapping_pool(m: Any, w: Any) -> Any:
    (A,) = inputs((2, 3, 2 * m + 1, 2 * w + 2))
    a, b = te.reduce_axis(3, "a"), te.reduce_axis(3, "b")
    return defined("Y", (n, c, y, x), te.max(A[n, c, 2 * y + a, 2 * x + b], axis=(a, b)))


def upsampled(m: Any, w: Any) -> Any:
    A, B = inputs((2, m, w), (2, 2 * m, 3 * w))
    return defined("Y", (c, y, x), te.where(y % 2 == 0, A[c, y // 2, x // 3], B[c, y, x]))


def with_border(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", (i, j), te.pad(A, ((1, 0), (2, 3)))[i, j] * 2)


def lower_triangle(m: Any, w: Any) -> Any:
    A, B = inputs((m, m), (m, w))
    return defined("Y", (i, j), te.sum(A[i, k] * B[k, j], where=k <= i))


def recurrence(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    S = te.tensor("S", (m, w))
    S[0, j] = A[0, j]
    S[i, j] = 0.5 * S[i - 1, j] + A[i, j]
    return S


def gathered(m: Any, w: Any) -> Any:
    A = te.tensor("A", (9, w))
    I = te.tensor("I", (m,), dtype="uint8")
    return defined("Y", (i, j), A[I[i], j] * 2)


FIXED = [recurrence, every_third_reversed, blur_of_two_passes, blur_of_expensive_passes, box_filter, convolution,
         padded_convolution, strided_convolution, depthwise, pointwise, max_pool, overlapping_pool, upsampled, with_border, every_second]  # fmt: skip
OPERATORS = [
    matmul_nt, matmul_nn, matmul_tn, transposed_result, batched, relu_of_matmul, distances, max_plus, matrix_vector, row_sums, row_maxima, row_argmax,
    row_argmin_of_float64, column_sums, long_column_sums, total, vector_total, flat_argmax, softmax, layer_norm, chain, transpose, symmetric,
    lower_triangle, gathered, *FIXED]  # fmt: skip
SHAPES = [(37, 83), *(pytest.param(s, marks=pytest.mark.slow) for s in [(1, 1), (2, 3), (7, 19), (64, 128), (130, 67)])]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.__name__)
def test_result(operator: Callable[[Any, Any], Any], shape: tuple[int, int]) -> None:
    agrees(operator(*shape))


@pytest.mark.parametrize("isa", [pytest.param("sse2", marks=pytest.mark.slow), "avx2"])
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda o: o.__name__)
def test_narrower_vectors(operator: Callable[[Any, Any], Any], isa: str) -> None:
    agrees(operator(37, 83), isa)


@pytest.mark.parametrize(
    "operator", [o for o in OPERATORS if o not in FIXED and o is not gathered], ids=lambda o: o.__name__
)
def test_symbolic_sizes(operator: Callable[[Any, Any], Any]) -> None:
    agrees(operator(te.var("m"), te.var("w")), sizes={"m": 41, "w": 75})


@pytest.mark.parametrize("operator", [row_sums, column_sums, total, matmul_nt, softmax, chain, transpose])
def test_nothing_to_compute(operator: Callable[[Any, Any], Any]) -> None:
    for shape in [(0, 5), (0, 0)]:
        agrees(operator(*shape))


@pytest.mark.parametrize("dtype", ["float64", "int8", "int32", "int64", "uint16", "bool"])
def test_types(dtype: str) -> None:
    A, B = inputs((37, 83), (29, 83), dtype=dtype)
    product = A[i, k] & B[j, k] if dtype == "bool" else A[i, k] * B[j, k]
    agrees(defined("Y", (i, j), te.sum(product)))
    agrees(defined("Y", i, te.sum(A[i, k])))
    agrees(defined("Y", j, te.sum(A[k, j])))
    agrees(defined("Y", i, te.max(A[i, k])))
    agrees(defined("Y", i, te.argmax(A[i, k])))
    agrees(
        defined("Y", (j, i), te.where(A[i, j], A[i, j], A[i, j]))
        if dtype == "bool"
        else defined("Y", (j, i), A[i, j] + A[i, j])
    )


def test_argmax_of_special_values() -> None:
    (A,) = inputs((6, 200))
    Y = defined("Y", i, te.argmax(A[i, k]))
    Z = defined("Z", i, te.argmin(A[i, k]))
    a = np.zeros((6, 200), "float32")
    a[0] = -np.inf
    a[1] = np.inf
    a[2, 150] = a[2, 170] = np.nan
    a[3, 199] = 1
    a[4, 64:] = -0.0
    a[5, 100], a[5, 7] = 3, 3
    got = te.build(te.auto_schedule([Y, Z]))(a)
    np.testing.assert_array_equal(got[0], np.argmax(a, 1))
    np.testing.assert_array_equal(got[1], np.argmin(a, 1))


def test_gradients_of_a_convolution() -> None:
    X, W = te.tensor("X", (1, 18, 12, 23)), te.tensor("W", (33, 18, 3, 3))
    Y = defined("Y", (n, f, y, x), te.sum(X[n, c, y + r, x + q] * W[f, c, r, q]))
    G = te.tensor("G", (1, 33, 10, 21))
    agrees(list(te.vjp(Y, [X, W], G)), tolerance=1e-3)


@pytest.mark.parametrize("pool", [max_pool, overlapping_pool], ids=lambda o: o.__name__)
@pytest.mark.parametrize("shape", [(9, 33), (1, 1), (4, 16)])
def test_gradients_of_pooling(pool: Callable[[Any, Any], Any], shape: tuple[int, int]) -> None:
    Y = pool(*shape)
    g = te.vjp(Y, Y.inputs[0], te.tensor("G", Y.shape))
    s = agrees([Y, g])
    if shape == (9, 33):
        places = [str(step) for step in s.history if step.primitive == "compute_at"]
        assert any(f's["{g.name}"]' in place for place in places), "its parts are computed plane by plane"


def test_pooling_is_vectorised() -> None:
    assert any(loop.kind == "vectorized" for loop in te.lower(te.auto_schedule(max_pool(8, 32))).loops)


def test_a_reduction_is_computed_in_the_loops_of_its_reader() -> None:
    s = agrees(relu_of_matmul(64, 64))
    assert s["P"].scope == "register"
    assert [b.scope for b in te.lower(s).buffers if b.name == "P"] == ["register"]


def test_rows_of_a_softmax_stay_together() -> None:
    s = agrees(softmax(64, 128))
    assert all(
        "E" in str(step) or "Y" in str(step)
        for step in s.history
        if step.primitive == "compute_at" and ".rf" not in str(step)
    )


def test_history_is_python() -> None:
    X = te.tensor("X", (300, 400))
    Y = defined("Y", i, te.sum(X[i, k]))
    text = str(te.auto_schedule(Y).history)
    s = te.create_schedule(Y)
    exec(text, {"s": s})
    assert str(s.history) == text


def tile_of(s: Any) -> tuple[int, ...]:
    """The rows and columns of the register tile that a schedule chose."""
    (step,) = [step for step in s.history if step.primitive == "tile"]
    return tuple(a for a in step.args if isinstance(a, int))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "line, rows", [(4096, 8), (8192, 8), (4096 + 32, 12), (4096 + 64, 12), (2048, 12), (4096 + 512, 12)], ids=str
)
@pytest.mark.parametrize("turned", [False, True], ids=["A B", "B A"])
def test_a_tile_has_no_more_rows_than_the_cache_holds_side_by_side(
    dtype: str, line: int, rows: int, turned: bool
) -> None:
    """`line`: bytes from one row to the next of the operand that is read row by row."""
    depth = line // np.dtype(dtype).itemsize
    A, B = inputs((96, depth), (depth, 64), dtype=dtype)
    Y = defined("Y", (i, j), te.sum(B[k, j] * A[i, k] if turned else A[i, k] * B[k, j]))
    s = agrees(Y, "avx512", tolerance=2e-3)
    assert tile_of(s)[0] == rows


@pytest.fixture
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose last cache has 100,000 bytes."""
    from tedsl.schedule import auto

    monkeypatch.setattr(auto, "last_cache_bytes", lambda: 100_000)


@pytest.mark.usefixtures("small_cache")
@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_results_that_outgrow_the_cache_go_past_it(dtype: str, isa: str) -> None:
    for shape in ((40, 1031), (3, 5, 2048), (70_001,)):
        axes = te.axes("i j k")[: len(shape)]
        A, B = inputs(shape, shape, dtype=dtype)
        s = agrees(defined("Y", axes, A[axes] * 3 - B[axes]), isa)
        assert "#pragma stream" in str(s)


@pytest.mark.usefixtures("small_cache")
def test_other_results_are_stored_as_ever() -> None:
    """What fits the cache, has short rows, takes long to compute, is of bits, or is read again."""
    sizes = te.var("n")
    cases = {
        "fits": ((4, 2000), lambda x: x + 1),
        "short rows": ((1000, 100), lambda x: x + 1),
        "exponentials": ((40, 1000), te.exp),
        "bits": ((40, 1000), lambda x: x > 0),
        "a size of the call": ((sizes, 1000), lambda x: x + 1),
    }
    for name, (shape, value) in cases.items():
        (A,) = inputs(shape)
        s = agrees(defined("Y", (i, j), value(A[i, j])), sizes={"n": 50})
        assert "#pragma stream" not in str(s), name
    (A,) = inputs((40, 1000))
    Y = defined("Y", (i, j), A[i, j] + 1)
    s = agrees(defined("Z", i, te.sum(Y[i, j] * Y[i, j])))
    assert "#pragma stream" not in str(s)


def test_what_was_checked_is_what_is_built() -> None:
    """A state is lowered once: the check of the automatic schedule and the build share the nest; another state has another."""
    i, j = te.axes("i j")
    A, B = te.tensor("A", (33, 70)), te.tensor("B")
    B[i, j] = A[i, j] * 2
    s = te.create_schedule(B)
    first = te.lower(s)
    assert te.lower(s) is first
    s["B"].split("j", factor=8)
    split = te.lower(s)
    assert split is not first and len(split.loops) > len(first.loops)
    s.undo()
    assert te.lower(s) is first
    assert te.lower(s, [A, te.tensor("C", (3,))]) is not first


def test_a_build_for_lesser_instructions_has_tiles_for_their_registers() -> None:
    A, B = inputs((64, 64), (64, 64))
    C = defined("C", (i, j), te.sum(A[i, k] * B[j, k]))
    assert te.build(C, isa="sse2").source == te.build(te.auto_schedule(C, 16), isa="sse2").source


@pytest.mark.parametrize("width", [7, 0, -16, "wide"])
def test_a_width_that_no_vector_has_is_refused(width: Any) -> None:
    (A,) = inputs((8,))
    with pytest.raises(te.ScheduleError, match=f"vector_bytes={width!r}; vectors are 16, 32 or 64 bytes wide"):
        te.auto_schedule(defined("Y", (i,), A[i] * 2), width)
