"""Loop nests of typical schedules, kept in tests/golden and read by people; each is run as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import compare, inputs_in_order
from schedules import verified

import tedsl as te

i, j, k, t = te.axes("i j k t")
Made = tuple[Any, dict[te.Tensor, tuple[int, ...]]]
CASES: dict[str, Callable[[], Made]] = {}


def case(make: Callable[[], Made]) -> Callable[[], Made]:
    CASES[make.__name__] = make
    return make


def product(n: Any = 40, m: Any = 33, depth: Any = 17) -> tuple[te.Tensor, te.Tensor, te.Tensor]:
    A, B, C = te.tensor("A", (n, depth)), te.tensor("B", (m, depth)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    return A, B, C


@case
def plain() -> Made:
    A, B, C = product()
    return te.create_schedule(C), {A: (40, 17), B: (33, 17)}


@case
def register_accumulator() -> Made:
    A, B, C = product()
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    s[Cr].compute_at(s[C], j)
    return s, {A: (40, 17), B: (33, 17)}


@case
def register_tile() -> Made:
    A, B, C = product()
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    _, jo, ii, ji = s[C].tile(i, j, 2, 2)
    for loop in (ii, ji):
        s[C].unroll(loop)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder(k, i, j)
    for loop in (i, j):
        s[Cr].unroll(loop)
    return s, {A: (40, 17), B: (33, 17)}


@case
def cache_tile() -> Made:
    A, B, C = product()
    s = te.create_schedule(C)
    io, jo, _, _ = s[C].tile(i, j, 16, 16)
    a, b = s.cache_read(A, "cache", C), s.cache_read(B, "cache", C)
    s[a].compute_at(s[C], io)
    s[b].compute_at(s[C], jo)
    return s, {A: (40, 17), B: (33, 17)}


@case
def packed_and_parallel() -> Made:
    A, B, C = product()
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, jo, ii, ji = s[C].tile(i, j, 4, 16)
    s[C].vectorize(ji)
    s[C].unroll(ii)
    s[C].parallel(io)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder(k, i, j)
    s[Cr].vectorize(j)
    s[Cr].unroll(i)
    panel = s.cache_read(B, "global", Cr)
    po, pi = s[panel].split(j, factor=16)
    s[panel].layout(po, s[panel].axis[1], pi)
    return s, {A: (40, 17), B: (33, 17)}


@case
def fused_and_split() -> Made:
    A, B = te.tensor("A", (6, 7)), te.tensor("B")
    B[i, j] = A[i, j] * 2
    s = te.create_schedule(B)
    both = s[B].fuse(i, j)
    outer, inner = s[B].split(both, factor=8)
    s[B].parallel(outer)
    s[B].vectorize(inner)
    return s, {A: (6, 7)}


@case
def partial_sums() -> Made:
    A, L = te.tensor("A", (1027,)), te.tensor("L")
    L[()] = te.sum(A[i])
    s = te.create_schedule(L)
    outer, inner = s[L].split(i, factor=16)
    P = s.rfactor(L, inner)
    s[P].reorder(outer, inner)
    s[P].vectorize(inner)
    return s, {A: (1027,)}


@case
def stencil_at_a_tile() -> Made:
    X, H, V = te.tensor("X", (18, 34)), te.tensor("H"), te.tensor("V")
    H[i, j] = X[i, j] + X[i, j + 1] + X[i, j + 2]
    V[i, j] = H[i, j] + H[i + 1, j] + H[i + 2, j]
    s = te.create_schedule(V)
    _, jo, _, _ = s[V].tile(i, j, 8, 16)
    s[H].compute_at(s[V], jo)
    return s, {X: (18, 34)}


@case
def symbolic_tiles() -> Made:
    n = te.var("n")
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] + 1
    s = te.create_schedule(B)
    _, inner = s[B].split(i, factor=8)
    s[B].vectorize(inner)
    return s, {A: (21,)}


@case
def recurrence() -> Made:
    X, S = te.tensor("X", (5, 20)), te.tensor("S", (5, 20))
    S[0, j] = X[0, j]
    S[t, j] = S[t - 1, j] * 0.5 + X[t, j]
    s = te.create_schedule(S)
    _, inner = s[S].split(j, factor=8)
    s[S].vectorize(inner)
    return s, {X: (5, 20)}


@case
def triangle() -> Made:
    X, L = te.tensor("X", (9, 9)), te.tensor("L", (9,))
    L[i] = te.sum(X[i, k], where=(k <= i) & (k % 2 == 1))
    return te.create_schedule(L), {X: (9, 9)}


@pytest.mark.parametrize("name", CASES)
def test_nest(name: str, golden: Callable[[str, str], None], rng: np.random.Generator) -> None:
    s, shapes = CASES[name]()
    inputs = {x: (rng.integers(-16, 17, shape) / 8).astype("float32") for x, shape in shapes.items()}
    verified(s)
    nest = te.lower(s).verify()
    steps = "".join(f"# {line}\n" for line in str(s.history).splitlines())
    golden(f"{steps}{s}\n\n# after all passes\n{nest}\n", ".txt")
    (output,) = s.outputs
    compare(te.build(s)(*(inputs[x] for x in inputs_in_order(output))), te.evaluate(output, inputs))


def test_a_condition_that_reads_what_is_computed_further_in() -> None:
    X, P, L = te.tensor("X", (4, 5)), te.tensor("P", (4, 5)), te.tensor("L", (4,))
    P[i, k] = X[i, k] * 2
    L[i] = te.sum(P[i, k], where=P[i, 0] + P[i, k] > 1)
    s = te.create_schedule(L)
    s[P].compute_at(s[L], k)
    verified(s)
    x = np.linspace(-1, 2, 20, dtype="float32").reshape(4, 5)
    compare(te.build(s)(x), te.evaluate(L, {X: x}), 1e-5)


def test_a_condition_without_axes_that_reads_what_is_computed_in_the_inner_loop() -> None:
    A, F, L = te.tensor("A", ()), te.tensor("F", ()), te.tensor("L", (6,))
    F[()] = A[()] * 2
    r = te.reduce_axis(5, "r")
    q = te.reduce_axis(3, "q")
    L[i] = te.sum(F[()], axis=(r, q), where=F[()] > 0)
    s = te.create_schedule(L)
    s[L].reorder(r, i, q)
    s[F].compute_at(s[L], q)
    verified(s)
    for value in (1.5, -1.5):
        a = np.float32(value)
        compare(te.build(s)(a), te.evaluate(L, {A: a}))


def between_inputs(steps: Any) -> tuple[te.Tensor, te.Tensor, te.Tensor]:
    """States before and after each input, and the outputs in between."""
    t = te.axes("t")
    X, C, H = (
        te.tensor("X", (steps,), "float64"),
        te.tensor("C", (steps + 1,), "float64"),
        te.tensor("H", (steps,), "float64"),
    )
    C[0] = 0.5
    C[1] = X[0] * 3
    C[t] = te.sin(H[t - 1]) * X[t - 1]
    H[t] = C[t] + X[t]
    return X, C, H


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("symbolic", [False, True])
def test_tensors_of_different_lengths_step_together(steps: int, symbolic: bool, rng: np.random.Generator) -> None:
    X, C, H = between_inputs(te.var("m", min=1) if symbolic else steps)
    x = rng.standard_normal(steps)
    verified(te.create_schedule([C, H]))
    kernel = te.build([C, H], args=[X, C, H])
    behind = [np.full(n + 4, 7.0) for n in (steps + 1, steps)]  # nothing is written behind the shorter one
    kernel(x, out=tuple(b[:-4] for b in behind))
    for got, want in zip(behind, te.evaluate([C, H], {X: x}), strict=True):
        compare(got[:-4], want, 1e-12)
        assert (got[-4:] == 7).all()


def test_steps_of_the_longer_tensor_follow_those_of_both() -> None:
    _, C, H = between_inputs(4)
    assert [(loop.name, loop.extent) for loop in te.lower(te.create_schedule([C, H])).loops] == [("t", 2)]
    text = str(te.lower(te.create_schedule([C, H])))
    assert "H[4]" not in text and text.rstrip().endswith("C[4] = sin(H[3]) * X[3]")


def test_lengths_that_cannot_be_compared() -> None:
    t = te.axes("t")
    m, q = te.var("m", min=1), te.var("q", min=1)
    X, C, H = te.tensor("X", (m,), "float64"), te.tensor("C", (q,), "float64"), te.tensor("H", (m,), "float64")
    C[0] = 1.0
    C[t] = te.where(t < m, te.sin(H[te.minimum(t, m) - 1]), 0.5)
    H[t] = te.where(t < q, C[te.minimum(t, q - 1)] + X[t], 1.0)
    with pytest.raises(
        te.LoweringError, match="C, H step together, and which of the extents q, m is the largest is not known"
    ):
        te.lower(te.create_schedule([C, H]))


@pytest.mark.parametrize("size", [1, 3, 4, 6])
def test_an_equation_at_a_step_that_a_short_tensor_does_not_have(size: int) -> None:
    t = te.axes("t")
    S = te.tensor("S", (te.var("m", min=1),), "float64")
    S[3] = 2.0
    S[t] = te.cast(t, "float64")
    behind = np.full(size + 4, 7.0)
    te.build(S)(out=behind[:size])
    np.testing.assert_array_equal(behind, [*([0, 1, 2, 2, 4, 5][:size]), 7, 7, 7, 7])


@pytest.mark.parametrize(("block", "tile"), [(7, 3), (9, 4), (8, 4), (5, 5), (10, 3)])
def test_tiles_within_a_tile_compute_what_is_in_it(block: int, tile: int) -> None:
    """Where tiles do not divide the tile that they are in, the last one is short: of it and of what is computed in it."""
    n = 24
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    i, j, k = te.axes("i j k")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    local = s.cache_write(C, "cache")
    outer, within = s[C].split("i", factor=block)
    tiles, row = s[C].split(within, factor=tile)
    s[C].reorder(outer, tiles, row, "j")
    s[local].compute_at(s[C], tiles)
    rows = s.cache_read(A, "cache", local)
    s[rows].compute_at(s[C], outer)
    assert te.cost(s).operations == 2 * n**3
    assert f"A.cache: float32[{block}, {n}] in cache" in str(s)
    a, b = (np.random.default_rng(0).random((n, n), "float32") for _ in range(2))
    np.testing.assert_allclose(te.build(s)(a, b), a @ b.T, rtol=1e-5)
