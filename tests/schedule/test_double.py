"""Double buffering: one buffer is read while the other is filled for the next step."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te

i, j, k = te.axes("i j k")


@pytest.mark.parametrize("n", [0, 1, 8, 37])
def test_a_tile_is_read_one_step_after_it_is_filled(n: int) -> None:
    A, B, C = te.tensor("A", (n, 23)), te.tensor("B", (29, 23)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    outer, _ = s[C].split(i, factor=8)
    Ac = s.cache_read(A, "cache", C)
    s[Ac].compute_at(s[C], outer)
    s[Ac].double_buffer()
    nest = te.lower(s).verify()
    assert not nest.conditions
    if n == 37:
        assert [(b.shape, b.scope) for b in nest.buffers] == [((2, 8, 23), "cache")]
        assert "A.cache[(i_o + 1) % 2, i, k] = A[8 * i_o + i + 8, k]" in str(nest)
        assert "A.cache[i_o % 2, i_i, k]" in str(nest)
    a, b = np.random.default_rng(0).random((2, 40, 23), "float32")
    np.testing.assert_allclose(te.build(s)(a[:n], b[:29]), a[:n] @ b[:29].T, rtol=1e-5)


@pytest.mark.parametrize("m", [2, 3, 17, 18, 19, 100])
def test_symbolic_sizes(m: int) -> None:
    n = te.var("n")
    X, H, V = te.tensor("X", (n,)), te.tensor("H"), te.tensor("V")
    H[i] = X[i] * 2
    V[i] = H[i] + H[i + 1] + H[i + 2]
    s = te.create_schedule(V)
    outer, inner = s[V].split(i, factor=16)
    s[H].compute_at(s[V], outer)
    s[H].double_buffer()
    s[V].vectorize(inner)
    x = np.random.default_rng(0).random(m, "float32")
    np.testing.assert_allclose(te.build(s)(x), 2 * (x[:-2] + x[1:-1] + x[2:]), rtol=1e-5)


def test_steps_that_run_in_parallel_have_no_next_one() -> None:
    X, H, V = te.tensor("X", (66,)), te.tensor("H"), te.tensor("V")
    H[i] = X[i] * 2
    V[i] = H[i] + H[i + 2]
    s = te.create_schedule(V)
    outer, _ = s[V].split(i, factor=16)
    s[H].compute_at(s[V], outer)
    s[H].double_buffer()
    s[V].parallel(outer)
    assert [b.shape for b in te.lower(s).buffers] == [(18,)]
    x = np.random.default_rng(0).random(66, "float32")
    np.testing.assert_allclose(te.build(s)(x), 2 * (x[:-2] + x[2:]), rtol=1e-6)
