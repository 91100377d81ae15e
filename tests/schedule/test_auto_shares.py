"""te.auto_schedule of products and sums of which a side is short: what runs in parallel, along what vectors run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from automatic import agrees, defined, inputs

import tedsl as te
from tedsl.schedule.auto.sharing import even_blocks, evenness

i, j, k, n = te.axes("i j k n")


def shares(s: Any) -> list[int]:
    """The steps of the loops that run in parallel."""
    return [loop.extent for loop in te.lower(s).loops if loop.kind == "parallel"]


def vectors(s: Any) -> int:
    return sum(loop.kind == "vectorized" for loop in te.lower(s).loops)


def by_dots(s: Any) -> bool:
    """Whether a register tile has vectors along the reduction."""
    steps = [step.primitive for step in s.history]
    return "rfactor" in steps and "tile" in steps and "cache_write" not in steps


# Matrices and vectors, in all transpositions: functions of the size of the matrix -------------------------------------------------------------


def row_times_turned(m: Any, w: Any) -> Any:
    A, B = inputs((w,), (m, w))
    return defined("Y", j, te.sum(A[k] * B[j, k]))


def row_times(m: Any, w: Any) -> Any:
    A, B = inputs((m,), (m, w))
    return defined("Y", j, te.sum(A[k] * B[k, j]))


def one_row_times_turned(m: Any, w: Any) -> Any:
    A, B = inputs((1, w), (m, w))
    return defined("Y", (i, j), te.sum(A[i, k] * B[j, k]))


def one_row_times(m: Any, w: Any) -> Any:
    A, B = inputs((1, m), (m, w))
    return defined("Y", (i, j), te.sum(A[i, k] * B[k, j]))


def times_one_column(m: Any, w: Any) -> Any:
    A, B = inputs((m, w), (w, 1))
    return defined("Y", (i, j), te.sum(A[i, k] * B[k, j]))


def turned_times_one_column(m: Any, w: Any) -> Any:
    A, B = inputs((m, w), (m, 1))
    return defined("Y", (i, j), te.sum(A[k, i] * B[k, j]))


def turned_times_one_row(m: Any, w: Any) -> Any:
    A, B = inputs((m, w), (1, m))
    return defined("Y", (i, j), te.sum(A[k, i] * B[j, k]))


def both_in_one(m: Any, w: Any) -> Any:
    A, B = inputs((1, m, w), (1, w))
    return defined("Y", (n, i), te.sum(A[n, i, k] * B[n, k]))


def outer_product(m: Any, w: Any) -> Any:
    A, B = inputs((m,), (w,))
    return defined("Y", (i, j), A[i] * B[j])


def gradient_of_a_matrix(m: Any, w: Any) -> Any:
    A, B = inputs((m, w), (m, 5))
    return defined("Y", (i, j), te.sum(A[k, i] * B[k, j]))


def gradient_of_a_bias(m: Any, w: Any) -> Any:
    (A,) = inputs((m, w))
    return defined("Y", j, te.sum(A[n, j]))


PRODUCTS = [row_times_turned, row_times, one_row_times_turned, one_row_times, times_one_column, turned_times_one_column,
            turned_times_one_row, both_in_one, outer_product, gradient_of_a_matrix, gradient_of_a_bias]  # fmt: skip


@pytest.mark.parametrize("shape", [(520, 512), (1024, 256)], ids=str)
@pytest.mark.parametrize("product", PRODUCTS, ids=lambda o: o.__name__)
def test_products_of_a_matrix_and_a_vector_are_shared(
    product: Callable[[Any, Any], Any], shape: tuple[int, int]
) -> None:
    s = agrees(product(*shape))
    assert shares(s) and all(evenness(steps) >= 0.8 for steps in shares(s)) and vectors(s)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (37, 83), (521, 509)], ids=str)
@pytest.mark.parametrize("product", PRODUCTS, ids=lambda o: o.__name__)
def test_products_of_any_size(product: Callable[[Any, Any], Any], shape: tuple[int, int]) -> None:
    agrees(product(*shape))


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda o: o.__name__)
def test_products_of_symbolic_sizes(product: Callable[[Any, Any], Any]) -> None:
    s = agrees(product(te.var("m"), te.var("w")), sizes={"m": 75, "w": 41})
    assert vectors(s)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("product", PRODUCTS, ids=lambda o: o.__name__)
def test_products_of_nothing(product: Callable[[Any, Any], Any], shape: tuple[int, int]) -> None:
    agrees(product(*shape))


# A few rows ---------------------------------------------------------------------------------------------------------------------------------


def few_rows(m: int, w: int, depth: int, dtype: str = "float32") -> Any:
    A, B = inputs((m, depth), (w, depth), dtype=dtype)
    return defined("Y", (i, j), te.sum(A[i, k] * B[j, k]))


@pytest.mark.parametrize("rows, columns", [(2, 300), (3, 128), (5, 200), (7, 65), (300, 4), (128, 6)])
@pytest.mark.parametrize("depth", [256, 259, 511])
def test_few_rows_have_vectors_along_the_reduction(rows: int, columns: int, depth: int) -> None:
    s = agrees(few_rows(rows, columns, depth), "avx512", tolerance=1e-3)
    assert by_dots(s) and len(shares(s)) == 1 and shares(s)[0] >= 8


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16"])
def test_few_rows_of_any_type(dtype: str, isa: str) -> None:
    for rows, columns, depth in [(2, 70, 300), (70, 3, 301), (1, 3, 300), (3, 1, 300), (2, 2, 2000)]:
        agrees(few_rows(rows, columns, depth, dtype), isa, tolerance=1e-3)


@pytest.mark.parametrize("depth", [2048, 2032])
def test_rows_enough_for_vectors_have_them(depth: int) -> None:
    """Sixteen columns fill a vector of float32; of twelve every fourth lane would be idle."""
    for rows, columns in [(512, 16), (16, 512)]:
        s = agrees(few_rows(rows, columns, depth), "avx512", tolerance=4e-3)
        assert not by_dots(s) and all(steps >= 8 for steps in shares(s))
    assert by_dots(agrees(few_rows(512, 12, depth), "avx512", tolerance=4e-3))


def test_what_is_not_contiguous_along_the_reduction_is_turned_if_it_is_used_often() -> None:
    A, B, C = inputs((300, 256), (256, 4), (256, 300))
    s = agrees(defined("Y", (i, j), te.sum(A[i, k] * B[k, j])), "avx512", tolerance=1e-3)
    assert by_dots(s) and "B.global" in [stage.name for stage in s.stages]
    s = agrees(defined("Y", (i, j), te.sum(C[k, i] * B[k, j])), "avx512", tolerance=1e-3)
    assert not by_dots(s), "C would have to be turned for four uses of each element"


def test_few_rows_of_other_operators() -> None:
    A, B = inputs((4, 300), (130, 300))
    assert by_dots(agrees(defined("Y", (i, j), te.sum((A[i, k] - B[j, k]) ** 2)), "avx512", tolerance=1e-3))
    assert by_dots(agrees(defined("Y", (i, j), te.max(A[i, k] + B[j, k])), "avx512"))
    A, B = inputs((6, 4, 5, 128), (6, 130, 5, 128))
    r = te.reduce_axis(5, "r")
    s = agrees(defined("Y", (n, i, j), te.sum(A[n, i, r, k] * B[n, j, r, k], axis=(r, k))), "avx512", tolerance=1e-3)
    assert by_dots(s)


# Long reductions with few results -----------------------------------------------------------------------------------------------------------


def in_blocks(s: Any) -> bool:
    """Whether threads share the reduction."""
    return any(step.primitive == "split" and "nparts" in step.kwargs for step in s.history) and len(shares(s)) >= 1


@pytest.mark.parametrize(
    "rows, columns, length",
    [(16, 16, 4096), (16, 16, 4030), (3, 40, 4000), (2, 3, 16384), (1, 1, 65536), (1, 5, 20160)],
)
def test_a_long_reduction_is_shared(rows: int, columns: int, length: int) -> None:
    A, B = inputs((length, rows), (length, columns))
    C, D = inputs((rows, length), (columns, length))
    for value in [A[k, i] * B[k, j], C[i, k] * D[j, k], C[i, k] * B[k, j]]:
        s = agrees(defined("Y", (i, j), te.sum(value)), tolerance=2e-3)
        assert in_blocks(s) and any(8 <= steps <= 32 for steps in shares(s))


def test_sums_and_maxima_of_few_long_columns_and_rows_are_shared() -> None:
    A, B = inputs((8192, 40), (3, 65536))
    for value in [te.sum(A[k, j]), te.max(A[k, j])]:
        assert in_blocks(agrees(defined("Y", j, value), tolerance=1e-3))
    for value in [te.sum(B[j, k]), te.max(B[j, k])]:
        assert in_blocks(agrees(defined("Y", j, value), tolerance=2e-3))


def test_a_length_that_nothing_divides_is_not_cut() -> None:
    """4093 is prime. A short last block would leave a condition on the steps of the others."""
    A, B = inputs((4093, 16), (4093, 16))
    s = agrees(defined("Y", (i, j), te.sum(A[k, i] * B[k, j])), tolerance=2e-3)
    assert not in_blocks(s) and not te.lower(s).conditions


def test_a_reduction_that_no_rule_knows_runs_in_parallel_as_well() -> None:
    """Strides of 3 and 7 have no vectors; an argmax over them has none either."""
    A = te.tensor("A", (40, 3 * 900))
    s = agrees(defined("Y", i, te.sum(A[i, 3 * k] * A[i, 3 * k + 1] * A[i, 3 * k + 2])), tolerance=1e-3)
    assert shares(s) == [40]
    s = agrees(defined("Y", i, te.argmax(A[i, 3 * k] + A[i, 3 * k + 2])))
    assert shares(s) == [40]


# Elementwise --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(1, 70_000), (70_000, 1), (1, 1, 300, 300), (3, 30_011), (2, 3, 4, 5000), (2, 5, 40_000), (40_000, 1, 2)]
)
def test_elements_are_shared_along_any_axis(shape: tuple[int, ...]) -> None:
    axes = te.axes("i j k n")[: len(shape)]
    A, B = inputs(shape, shape)
    s = agrees(defined("Y", axes, A[axes] * 2 + B[axes]))
    assert len(shares(s)) == 1 and evenness(shares(s)[0]) >= 0.85
    assert vectors(s) or shape[-1] == 2


def test_softmax_over_one_batch_of_one_head() -> None:
    """The rows run in parallel, with what is computed for each of them inside."""
    (A,) = inputs((1, 1, 200, 256))
    S = defined("S", (n, i, j), te.exp(A[0, n, i, j]))
    s = agrees(defined("Y", (n, i, j), S[n, i, j] / te.sum(S[n, i, k])))
    assert shares(s) == [200]


# Equal shares -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 64, 64), (1, 256, 256), (2, 96, 64), (3, 64, 64), (5, 24, 32)])
def test_batches_are_shared_evenly(shape: tuple[int, int, int]) -> None:
    batch, rows, columns = shape
    A, B = inputs((batch, rows, 64), (batch, columns, 64))
    s = agrees(defined("Y", (n, i, j), te.sum(A[n, i, k] * B[n, j, k])), tolerance=1e-3)
    assert evenness(shares(s)[-1]) >= 0.85


@pytest.mark.parametrize("size", [512, 768, 1000, 1024])
def test_matrices_are_shared_evenly(size: int) -> None:
    """Counted in rows and columns of the result, what a thread gets is little more than half."""
    s = te.auto_schedule(few_rows(size, size, size), 64)
    found = te.lower(s)
    parallel = [loop for loop in found.loops if loop.kind == "parallel"][-1]
    assert parallel.extent is not None
    tile = next(step for step in s.history if step.primitive == "tile")
    height, width = (a for a in tile.args if isinstance(a, int))
    block = next((step.kwargs["factor"] for step in s.history if step.made and step.made[0] == "i_o_o"), 1)
    across = -(-size // width) if "j_o" in parallel.name else 1
    rows = height * block if "i_o" in parallel.name else size

    def work(steps: range) -> int:
        return sum(min(rows, size - rows * (t // across)) * (size / across) for t in steps)

    half = -(-parallel.extent // 2)
    first = work(range(half))
    assert first / work(range(parallel.extent)) <= 0.53


def test_evenness() -> None:
    assert [evenness(steps) for steps in (8, 16, 64)] == [1, 1, 1]
    assert evenness(1) < evenness(3) < evenness(7) < evenness(8) > evenness(9)
    assert evenness(1000) > 0.99 and evenness(0) == 0


@pytest.mark.parametrize("tiles", [1, 7, 8, 43, 86, 128, 1000])
@pytest.mark.parametrize("most", [1, 8, 12, 100])
def test_blocks_have_the_length_that_was_asked_for(tiles: int, most: int) -> None:
    for alone in (False, True):
        length = even_blocks(tiles, most, 4, alone=alone)
        assert min(4, most) <= length <= most


def test_blocks_leave_little_over() -> None:
    assert even_blocks(128, 12, 4, alone=False) == 8 and even_blocks(96, 12, 4, alone=False) == 12
    assert even_blocks(48, 16, 4, alone=True) == 6, "eight blocks, for 2, 4 or 8 threads"


def test_the_same_bits_with_any_number_of_threads() -> None:
    for T in [few_rows(3, 257, 515), row_times(1024, 130), gradient_of_a_matrix(4096, 16)]:
        kernel = te.build(T)
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal(t.shape, dtype="float32") for t in T.inputs]
        want = kernel(*arrays, threads=1)
        for threads in (2, 3, 4, 7):
            np.testing.assert_array_equal(kernel(*arrays, threads=threads), want)


# A filter's gradient: few results that share what they read ------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(("taps", "width"), [(3, 32), (3, 64), (5, 160), (1, 32), (2, 37), (7, 131)])
def test_taps_of_a_filter_are_summed_side_by_side(taps: int, width: int, dtype: str, isa: str) -> None:
    G, X = te.tensor("G", (2, 3, 4, width), dtype), te.tensor("X", (2, 3, 3 + taps, width - 1 + taps), dtype)
    c, r, s, m, y, x = te.axes("c r s m y x")
    W = te.tensor("W", (3, taps, taps), dtype)
    W[c, r, s] = te.sum(G[m, c, y, x] * X[m, c, y + r, x + s], axis=(m, y, x))
    agrees(W, isa, tolerance=1e-3)


def test_a_filter_is_in_registers_as_a_whole() -> None:
    W = te.define(
        "W[c,r,s] = sum(G[n,c,y,x] * X[n,c,y+r,x+s], axis=(n,y,x))", G=(2, 8, 4, 32), X=(2, 8, 6, 34), r=3, s=3
    )
    schedule = te.auto_schedule(W, 64)
    assert {loop.name for loop in te.lower(schedule).loops} >= {"c", "n", "y"}
    assert not {loop.name for loop in te.lower(schedule).loops} & {"r", "s"}  # written out
    one = te.define("W[r,s] = sum(G[n,y,x] * X[n,y+r,x+s], axis=(n,y,x))", G=(2, 4, 32), X=(2, 6, 34), r=3, s=3)
    agrees(one)
