"""Remainders of register tiles are widened to whole vectors where a packed operand has room, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te
from tedsl.schedule import Schedule
from tedsl.schedule.loops.ir import For, constant, preorder
from tedsl.schedule.loops.program import Nest


def packed(n: int, m: int, depth: int, rows: int, lanes: int, pack: bool = True) -> Schedule:
    """C[i,j] = sum(A[i,k] * B[j,k]) in register tiles, with B packed."""
    i, j, k = te.axes("i j k")
    A, B, C = te.tensor("A", (n, depth)), te.tensor("B", (m, depth)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    _, jo, *_ = s[C].tile("i", "j", rows, lanes)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder("k", "i", "j")
    for stage in (s[C], s[Cr]):
        stage.unroll(stage.loops[-2])
        stage.vectorize(stage.loops[-1])
    if pack:
        Bp = s.cache_read(B, "global", Cr)
        panel, inner = s[Bp].split("j", lanes)
        s[Bp].layout(panel, "k", inner)
    return s


def lanes_of(nest: Nest) -> set[int | None]:
    """The extents of vectorised loops."""
    return {
        constant(loop.extent) for loop in preorder(nest.stmt) if isinstance(loop, For) and loop.kind == "vectorized"
    }


@pytest.mark.parametrize("m", [31, 32, 33, 35, 40, 47, 48, 49, 61, 63, 95, 1, 2, 3])
def test_every_remainder(m: int) -> None:
    rng = np.random.default_rng(m)
    a, b = (rng.integers(-9, 9, shape).astype("float32") for shape in ((13, 20), (m, 20)))
    s = packed(13, m, 20, 4, 32)
    te.lower(s).verify()
    assert not te.lower(s).conditions
    np.testing.assert_array_equal(te.build(s)(a, b), a @ b.T)


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
def test_every_width(isa: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, shape).astype("float32") for shape in ((7, 9), (29, 9)))
    np.testing.assert_array_equal(te.build(packed(7, 29, 9, 3, 16), isa=isa)(a, b), a @ b.T)


def test_sums_are_wide_and_results_are_not() -> None:
    nest = te.lower(packed(8, 63, 20, 4, 32))
    # whole tiles and the widened remainder, and what is stored of it
    assert lanes_of(nest) == {32, 31}
    assert "B.global, padding" in te.emit(packed(8, 61, 20, 4, 32))


def test_padding_holds_no_surprises() -> None:
    """What memory held before must not slow the extra lanes down, let alone reach a result."""
    a = np.full((8, 4), np.inf, "float32")
    b = np.full((35, 4), np.inf, "float32")
    kernel = te.build(packed(8, 35, 4, 4, 32))
    for _ in range(3):
        assert (kernel(a, b) == np.inf).all()


def test_an_operand_without_room_is_not_read_beyond_its_end() -> None:
    assert 31 in lanes_of(te.lower(packed(8, 63, 20, 4, 32, pack=False)))


def test_a_value_that_depends_on_the_lane_is_left_alone() -> None:
    i, j, k = te.axes("i j k")
    A, B, C = te.tensor("A", (8, 20)), te.tensor("B", (63, 20)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k] + j)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    _, jo, _, ji = s[C].tile("i", "j", 4, 32)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder("k", "i", "j")
    s[Cr].unroll("i")
    s[Cr].vectorize("j")
    s[C].unroll("i_i")
    s[C].vectorize(ji)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((8, 20), dtype="float32"), rng.standard_normal((63, 20), dtype="float32")
    want = te.evaluate(C, {A: a, B: b})
    np.testing.assert_allclose(te.build(s)(a, b), want, rtol=1e-4)
