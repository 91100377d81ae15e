"""Loops are cut so that their main part has no tests: what is run is the same, once each, whatever the sizes are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tedsl as te
from tedsl.schedule.loops.ir import For, If, Stmt, Store, preorder

i, j, k, l = te.axes("i j k l")
n, m = te.var("n"), te.var("m")

# conditions under which an element counts: one-sided, two-sided that may miss each other, of two sizes, with remainders
CONDITIONS = {
    "from 3 on": lambda: k >= 3,
    "up to n - 3": lambda: k < n - 3,
    "between": lambda: (k >= 3) & (k < n - 3),
    "outside": lambda: (k < 3) | (k >= n - 3),
    "around m": lambda: (k >= m) & (k < m + 2),
    "two that overlap": lambda: (2 * k >= n) & (k < m),
    "every third": lambda: (k % 3 == 1) & (k >= 2),
    "half": lambda: k // 2 >= m,
    "mirrored": lambda: n - k > m,
}


def total(condition: Any) -> tuple[te.Tensor, te.Tensor]:
    X, L = te.tensor("X", (n,)), te.tensor("L")
    L[()] = te.sum(te.where(condition, X[k], 0.5), axis=k)
    return X, L


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("factor", [None, 4])
def test_every_element_counts_once(name: str, factor: int | None) -> None:
    X, L = total(CONDITIONS[name]())
    s = te.create_schedule(L)
    if factor:
        s[L].split(k, factor=factor)
    te.lower(s).verify()
    kernel = te.build(s, [X, te.tensor("M", (m,))])  # an input that is not read says how large m is
    for count, size in itertools.product(range(13), (0, 2, 5)):
        x = 2.0 ** np.arange(count, dtype="float32")
        assert kernel(x, np.zeros(size, "float32")) == te.evaluate(L, {X: x}, m=size), (count, size)


def test_cutting_ends() -> None:
    """Conditions that no cut settles, on loops whose bounds are no numbers."""
    A, B, M = te.tensor("A", (2 * m + 2, 3)), te.tensor("B"), te.tensor("M", (m, m, m), "bool")
    B[i, j, l] = te.where(M[i, j, l], te.where(l + j > 2, te.cast(i, "float32"), A[j + j, te.minimum(l, 2)]), 0)
    nest = te.lower(B).verify()
    assert len(list(preorder(nest.stmt))) < 500
    a, mask = np.arange(24, dtype="float32").reshape(8, 3), np.ones((3, 3, 3), bool)
    np.testing.assert_array_equal(te.build(te.create_schedule(B))(mask, a), te.evaluate(B, {A: a, M: mask}))


def innermost(root: Stmt) -> list[For]:
    return [s for s in preorder(root) if isinstance(s, For) and not any(isinstance(b, For) for b in preorder(s.body))]


@pytest.mark.parametrize("size", [64, 37, 100, 5, 1])
@pytest.mark.parametrize("kind", ["vectorize", "unroll", "serial"])
def test_main_parts_have_no_tests(size: int, kind: str) -> None:
    A, B = te.tensor("A", (size, size)), te.tensor("B")
    B[i, j] = A[i, j] * 2
    s = te.create_schedule(B)
    _, _, _ii, ji = s[B].tile(i, j, 4, 8)
    if kind != "serial":
        getattr(s[B], kind)(ji)
    nest = te.lower(s)
    assert not nest.conditions
    assert not any(isinstance(t, If) for t in preorder(nest.stmt))
    if kind == "vectorize":
        assert all(isinstance(loop.extent, int) for loop in nest.loops if loop.kind == "vectorized")
    x = np.random.default_rng(0).random((size, size), dtype="float32")
    np.testing.assert_array_equal(te.build(s)(x), x * 2)


def test_the_interior_of_a_padded_stencil_has_no_select() -> None:
    X, Y = te.tensor("X", (64, 64)), te.tensor("Y")
    P = te.pad(X, ((1, 1), (1, 1)))
    Y[i, j] = P[i, j] + P[i + 1, j] + P[i + 2, j + 2] + P[i + 1, j + 2]
    s = te.create_schedule(Y)
    s[P].compute_inline()
    nest = te.lower(s).verify()
    plain = [
        loop
        for loop in innermost(nest.stmt)
        if "where" not in str(next(t for t in preorder(loop.body) if isinstance(t, Store)).value)
    ]
    assert max(loop.extent.value for loop in plain) >= 60, nest
    x = np.random.default_rng(0).random((64, 64), dtype="float32")
    np.testing.assert_allclose(te.build(s)(x), te.evaluate(Y, {X: x}), rtol=1e-6)


@pytest.mark.parametrize("size", [12, 28, 29])
def test_a_tile_in_a_tile_that_lies_behind_the_end(size: int) -> None:
    """Of the last 8 elements there are 4: the first tile of 4 is whole, of the second nothing is left, and `4 - 4 * jb` has no min to cut at."""
    X, Y = te.tensor("X", (size, 5)), te.tensor("Y")
    Y[i, j] = te.sum(X[i, k] * X[j, k])
    s = te.create_schedule(Y)
    Yr = s.cache_write(Y, "register")
    io, jo, ib, jb = s[Y].tile(i, j, 8, 8)
    ib, jb, ii, ji = s[Y].tile(ib, jb, 4, 4)
    s[Y].reorder(io, jo, ib, jb, ii, ji)
    s[Yr].compute_at(s[Y], jb)
    s[Yr].reorder(k, i, j)
    for stage in (s[Y], s[Yr]):
        for loop in stage.loops[-2:]:
            stage.unroll(loop)
    assert not te.lower(s).verify().conditions
    x = np.random.default_rng(0).integers(-9, 10, (size, 5)).astype("float32")
    np.testing.assert_array_equal(te.build(s)(x), te.evaluate(Y, {X: x}))


def test_a_parallel_loop_stays_one_loop() -> None:
    """Its last step differs from the others; cut off, it would run after them, on one thread."""
    i, j = te.axes("i j")
    X, Y = te.tensor("X", (100, 40)), te.tensor("Y")
    Y[i, j] = X[i, j] * 2
    s = te.create_schedule(Y)
    outer, inner = s[Y].split("i", factor=32)
    s[Y].parallel(outer)
    s[Y].unroll(inner)
    nest = te.lower(s)
    nest.verify()
    assert [loop.extent for loop in nest.loops if loop.kind == "parallel"] == [4] and not nest.conditions
    source = te.emit(s)
    assert source.count("#pragma omp parallel for") == 1 and "if (i_o < 3)" in source
    x = np.random.default_rng(0).standard_normal((100, 40), dtype="float32")
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(te.build(s)(x, threads=threads), x * 2)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 63, 64, 65])
def test_parallel_parts_of_every_size(rows: int) -> None:
    i, j = te.axes("i j")
    X, Y = te.tensor("X", (rows, 20)), te.tensor("Y")
    Y[i, j] = X[i, j] * 2
    s = te.create_schedule(Y)
    part, rest = s[Y].split("i", nparts=2)
    _, inner = s[Y].split(rest, factor=4)
    s[Y].unroll(inner)
    s[Y].parallel(part)
    s[Y].vectorize("j")
    te.lower(s).verify()
    x = np.random.default_rng(0).standard_normal((rows, 20), dtype="float32")
    np.testing.assert_array_equal(te.build(s)(x), x * 2)
