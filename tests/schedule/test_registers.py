"""Tiles in registers: where they are named locals, where their remainder runs from memory, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from schedule_cases import i, j, k

import tedsl as te
from tedsl.schedule.loops.ir import Allocate, preorder


def tiled(n: Any, m: Any, *, unrolled: str = "ij") -> Any:
    """C = A Bᵀ in tiles of 4 x 4 that are kept in registers."""
    A, B, C = te.tensor("A", (n, 24)), te.tensor("B", (m, 24)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    R = s.cache_write(C, "register")
    _, jo, ii, ji = s[C].tile(i, j, 4, 4)
    s[R].compute_at(s[C], jo)
    s[R].reorder(k, i, j)
    for axis in unrolled:
        s[R].unroll(axis)
    s[C].unroll(ii)
    s[C].unroll(ji)
    return s


@pytest.mark.parametrize("sides", ["both", "rows", "columns", "none"])
def test_a_tile_of_symbolic_sides_is_named_locals_but_for_its_remainder(sides: str) -> None:
    n = te.var("n") if sides in ("both", "rows") else 10
    m = te.var("m") if sides in ("both", "columns") else 11
    s = tiled(n, m)
    tiles = [x.in_memory for x in preorder(te.lower(s).stmt) if isinstance(x, Allocate)]
    assert False in tiles, "the main part is in registers"
    assert any(tiles) == (sides != "none")
    assert "float C_register_0, C_register_1" in te.emit(s)
    f = te.build(s)
    rng = np.random.default_rng(0)
    for rows, columns in [(10, 11), (8, 4), (3, 2), (4, 9)]:
        if (sides in ("both", "rows") or rows == 10) and (sides in ("both", "columns") or columns == 11):
            a, b = rng.standard_normal((rows, 24), "float32"), rng.standard_normal((columns, 24), "float32")
            np.testing.assert_allclose(f(a, b), a @ b.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("left", ["i", "j"])
def test_a_loop_over_a_symbolic_tile_that_is_not_unrolled_is_named(left: str) -> None:
    s = tiled(te.var("n"), te.var("m"), unrolled={"i": "j", "j": "i"}[left])
    with pytest.raises(te.ScheduleError, match=f"the loop '{left}' of C.register"):
        te.lower(s)


def test_what_is_written_out_has_a_bound() -> None:
    A, C = te.tensor("A", (279, 136)), te.tensor("C")
    C[j, i] = A[i, j] + 1
    s = te.create_schedule(C)
    s[C].reorder(i, j)
    s[C].unroll(i)
    s[C].vectorize(j)
    assert "for j in 0..136 vectorized" in str(s)
    with pytest.raises(
        te.ScheduleError, match=r"the loops of C, written out in 136 lanes of j, come to about 37,944 lines"
    ):
        te.lower(s)
    s.undo()
    assert te.lower(s).loops
    s.undo()
    _, ii = s[C].split(i, factor=8)
    s[C].vectorize(j)
    s[C].unroll(ii)
    assert len(te.emit(s).splitlines()) < 3000
