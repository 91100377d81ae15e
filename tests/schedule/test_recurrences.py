"""Recurrences under schedules: what is computed within a step, what is refused, and what te.auto_schedule makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import compare
from schedule_cases import check, refused

import tedsl as te

n, i, j, k, t = te.axes("n i j k t")
Size = Any


def rnn(steps: Size = 7, width: Size = 33, dtype: str = "float32", transposed: bool = False) -> Any:
    """S[t] = tanh(S[t - 1] W / 8) + X[t], of one sequence."""
    X, W = te.tensor("X", (steps, width), dtype), te.tensor("W", (width, width), dtype)
    S = te.tensor("S", (steps, width), dtype)
    S[0, j] = X[0, j]
    S[t, j] = te.tanh(te.sum(S[t - 1, k] * (W[j, k] if transposed else W[k, j])) / 8) + X[t, j]
    return S


def batch(steps: Size = 5, rows: Size = 6, width: Size = 20, dtype: str = "float32") -> Any:
    """The same of several sequences, with a product that does not depend on the step before."""
    X, W, U = (
        te.tensor("X", (steps, rows, 9), dtype),
        te.tensor("W", (9, width), dtype),
        te.tensor("U", (width, width), dtype),
    )
    S = te.tensor("S", (steps, rows, width), dtype)
    S[0, n, j] = te.sum(X[0, n, k] * W[k, j])
    S[t, n, j] = te.tanh(te.sum(X[t, n, k] * W[k, j]) / 8 + te.sum(S[t - 1, n, k] * U[k, j]) / 8)
    return S


def lstm(steps: Size = 5, rows: Size = 3, width: Size = 19, dtype: str = "float32") -> Any:
    """Gates that read the step before, a cell that reads its own."""
    X, U = te.tensor("X", (4, steps, rows, width), dtype), te.tensor("U", (4, width, width), dtype)
    F, I, G, O, C, H = (te.tensor(name, (steps, rows, width), dtype) for name in "FIGOCH")
    for g, gate in enumerate((F, I, O)):
        gate[0, n, j] = te.sigmoid(X[g, 0, n, j])
        gate[t, n, j] = te.sigmoid(X[g, t, n, j] + te.sum(H[t - 1, n, k] * U[g, k, j]) / 8)
    G[0, n, j] = te.tanh(X[3, 0, n, j])
    G[t, n, j] = te.tanh(X[3, t, n, j] + te.sum(H[t - 1, n, k] * U[3, k, j]) / 8)
    C[0, n, j] = I[0, n, j] * G[0, n, j]
    C[t, n, j] = F[t, n, j] * C[t - 1, n, j] + I[t, n, j] * G[t, n, j]
    H[t, n, j] = O[t, n, j] * te.tanh(C[t, n, j])
    return H


def gru(steps: Size = 5, width: Size = 21, dtype: str = "float32") -> Any:
    """A gate inside of the product, and the state itself outside of it."""
    X, U, V = (
        te.tensor("X", (steps, width), dtype),
        te.tensor("U", (width, width), dtype),
        te.tensor("V", (width, width), dtype),
    )
    R, H = te.tensor("R", (steps, width), dtype), te.tensor("H", (steps, width), dtype)
    R[0, j] = X[0, j]
    R[t, j] = te.sigmoid(te.sum(H[t - 1, k] * U[k, j]) / 8 + X[t, j])
    H[0, j] = X[0, j]
    H[t, j] = 0.5 * H[t - 1, j] + 0.5 * te.tanh(te.sum(R[t, k] * H[t - 1, k] * V[j, k]) / 8 + X[t, j])
    return H


def decay(steps: Size = 9, width: Size = 40, dtype: str = "float32") -> Any:
    X, S = te.tensor("X", (steps, width), dtype), te.tensor("S", (steps, width), dtype)
    S[0, j] = X[0, j]
    S[t, j] = S[t - 1, j] * 0.5 + X[t, j]
    return S


def along_rows(steps: Size = 9, width: Size = 40, dtype: str = "float32") -> Any:
    """Running sums: the last axis is the one that is stepped through."""
    X, S = te.tensor("X", (width, steps), dtype), te.tensor("S", (width, steps), dtype)
    S[i, 0] = X[i, 0]
    S[i, t] = S[i, t - 1] * 0.5 + X[i, t]
    return S


def guarded(steps: Size = 9, width: Size = 40, dtype: str = "float32") -> Any:
    """One equation, whose condition says where there is a step before."""
    X, S = te.tensor("X", (steps, width), dtype), te.tensor("S", (steps, width), dtype)
    S[t, j] = te.where(t > 0, S[t - 1, j] * 0.5, 0.0) + X[t, j]
    return S


def softmax_in_a_step(steps: Size = 4, width: Size = 24, dtype: str = "float32") -> Any:
    """Reductions of several sorts in a step."""
    X, W = te.tensor("X", (steps, width), dtype), te.tensor("W", (width, width), dtype)
    A, S = te.tensor("A", (steps, width), dtype), te.tensor("S", (steps, width), dtype)
    A[0, j] = X[0, j]
    A[t, j] = te.sum(S[t - 1, k] * W[j, k]) + te.max(S[t - 1, k])
    S[0, j] = X[0, j]
    S[t, j] = te.exp(A[t, j] / 64) / te.sum(te.exp(A[t, k] / 64)) + X[t, j]
    return S


MAKERS: list[Callable[..., Any]] = [rnn, batch, lstm, gru, decay, along_rows, guarded, softmax_in_a_step]


def agrees(what: Any, sizes: dict[str, int] | None = None, isa: str | None = None) -> Any:
    """What te.build makes of tensors is what te.evaluate gives, with the same bits on one and two threads."""
    outputs = list(what) if isinstance(what, (list, tuple)) else [what]
    width = {None: None, "sse2": 16, "avx2": 32}[isa]
    s = te.auto_schedule(outputs, width)
    te.lower(s).verify()
    assert str(te.lower(te.create_schedule(outputs).replay(s.to_json()))) == str(te.lower(s))
    kernel = te.build(s, isa=isa)
    fixed = sizes or {}
    rng = np.random.default_rng(3)
    inputs = {x.name: x for o in outputs for x in o.inputs}
    arrays = {
        name: rng.standard_normal([d if isinstance(d, int) else fixed[d.name] for d in x.shape]).astype(x.dtype)
        for name, x in inputs.items()
    }
    want = te.evaluate(outputs, {x: arrays[name] for name, x in inputs.items()})
    one, two = (kernel(*(arrays[name] for name in kernel.inputs), threads=threads) for threads in (1, 2))
    for out, a, b, w in zip(outputs, one, two, want, strict=True):
        assert a.tobytes() == b.tobytes(), f"{out.name}: other bits on two threads"
        compare(a, w, 2e-4 * max(np.abs(w).max(initial=1.0), 1.0) if out.dtype == "float32" else 1e-11, out.name)
    return s


def gradients(out: Any) -> list[Any]:
    return list(te.vjp(out, list(out.inputs), te.tensor("seed", out.shape, out.dtype)))


# Automatic schedules -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", MAKERS, ids=lambda m: m.__name__)
def test_automatic_schedules_and_those_of_gradients(maker: Callable[..., Any]) -> None:
    out = maker()
    agrees([out, *gradients(out)])


@pytest.mark.parametrize("maker", MAKERS, ids=lambda m: m.__name__)
@pytest.mark.parametrize("steps,width", [(1, 33), (2, 1), (3, 16)])
def test_sizes_that_no_tile_divides(maker: Callable[..., Any], steps: int, width: int) -> None:
    agrees(
        maker(steps=steps, width=width, dtype="float64" if width == 33 else "float32"),
        isa="sse2" if width < 16 else None,
    )


@pytest.mark.parametrize("maker", [rnn, batch, decay, guarded], ids=lambda m: m.__name__)
def test_nothing_to_compute(maker: Callable[..., Any]) -> None:
    agrees(maker(width=0))
    agrees(batch(rows=0))
    agrees(guarded(steps=0))


@pytest.mark.parametrize("maker", MAKERS, ids=lambda m: m.__name__)
def test_symbolic_sizes(maker: Callable[..., Any]) -> None:
    steps, width = te.var("steps", min=1), te.var("width", min=1)
    out = maker(steps=steps, width=width)
    what = [out, *gradients(out)] if maker in (rnn, along_rows, softmax_in_a_step) else out
    for sizes in ({"steps": 1, "width": 1}, {"steps": 3, "width": 37}):
        agrees(what, sizes)


@pytest.mark.parametrize("maker", [rnn, batch, gru], ids=lambda m: m.__name__)
def test_narrower_vectors(maker: Callable[..., Any]) -> None:
    out = maker(dtype="float64")
    agrees([out, *gradients(out)], isa="avx2")


def test_large_steps_are_shared_among_threads() -> None:
    s = agrees(batch(steps=3, rows=64, width=128))
    assert "parallel" in {loop.kind for loop in te.lower(s).loops}
    assert "parallel" in {loop.kind for loop in te.lower(agrees(decay(steps=40, width=2048))).loops}
    assert "parallel" in {loop.kind for loop in te.lower(agrees(along_rows(steps=512, width=200))).loops}


def test_a_product_is_summed_in_registers_within_the_step() -> None:
    nest = te.lower(te.auto_schedule(rnn(9, 128)))
    assert not [b.name for b in nest.buffers if b.scope != "register"], "S.sum is not stored"
    assert "vectorized" in {loop.kind for loop in nest.loops}
    # a weight that is read along the reduction is copied once, before the first step
    text = str(te.auto_schedule(rnn(64, 128, transposed=True)))
    assert text.index("W.global[") < text.index("for t in")
    # what does not depend on the step before is one product of all steps
    s = te.auto_schedule(batch())
    assert [names[-2:] for names, _ in s.state.groups] == [("S.sum_1", "S")]
    assert s.state.group("S.sum") is None


@pytest.mark.parametrize("maker", [rnn, batch, lstm, gru, softmax_in_a_step], ids=lambda m: m.__name__)
def test_gradients_agree_with_differences(maker: Callable[..., Any]) -> None:
    out = maker(steps=3, width=5, dtype="float64")
    te.check_grad(out, list(out.inputs))


# Steps that are taken by hand ----------------------------------------------------------------------------------------------------------------------


def test_a_sum_is_computed_in_the_loops_of_what_reads_it() -> None:
    S = rnn(9, 40)
    s = te.create_schedule(S)
    outer, inner = s[S].split(j, factor=16)
    s[S].vectorize(inner)
    s["S.sum"].set_scope("register")
    s["S.sum"].compute_at(s[S], outer)
    s["S.sum"].reorder("t", "k", "j")
    s["S.sum"].vectorize("j")
    text = check(s)
    assert text.count("S.sum: float32[1, 16] in register") == 1, "the equation of the first step has no sum"


def test_copies_and_partial_sums_step_along() -> None:
    S = rnn(9, 40)
    s = te.create_schedule(S)
    local = s.cache_write("S.sum", "cache")
    assert s.state.groups == ((("S.sum.cache", "S.sum", "S"), 1),)
    check(s)
    outer, inner = s["S.sum"].split("j", factor=16)
    s[local].compute_at(s["S.sum"], outer)
    check(s)
    s = te.create_schedule(S)
    _, inner = s["S.sum"].split("k", factor=8)
    refused(s, lambda: s.rfactor("S.sum", inner), "S.sum, S take turns along t, which come first", "factor_axis=1")
    partial = s.rfactor("S.sum", inner, 1)
    assert s.state.groups == ((("S.sum.rf", "S.sum", "S"), 1),)
    s[partial].compute_at(s["S.sum"], "j")
    check(s)


def test_elements_of_a_step_are_put_in_where_they_are_read() -> None:
    X, S = te.tensor("X", (6, 5)), te.tensor("S", (6, 5))
    B = te.tensor("B", (6, 5))
    B[t, j] = te.where(t > 0, S[t - 1, j] * 2, 0.0)
    S[t, j] = te.tanh(B[t, j]) + X[t, j]
    s = te.create_schedule(S)
    assert s.state.groups == ((("B", "S"), 1),)
    s["B"].compute_inline()
    refused(s, lambda: s[S].reorder("j", "t"), "B, S take turns along t")
    check(s)
    s["S"].vectorize("j")
    check(s)


def test_an_earlier_step_is_computed_again() -> None:
    A, T = te.tensor("A", (6, 5)), te.tensor("T", (6, 5))
    A[t, j] = te.where(t > 0, T[t - 1, j], 1.0)
    T[t, j] = te.where(t > 0, A[t - 1, j], 2.0) + A[t, j]
    s = te.create_schedule(T)
    for axis in ("j", "t"):
        s["A"].compute_at(s[T], axis)
        check(s)
    s["A"].compute_inline()
    check(s)


def test_a_copy_that_is_read_through_one_that_is_inlined() -> None:
    F = te.tensor("F", (11,), "int64")
    F[0] = 1
    F[1] = 1
    F[t] = F[t - 1] + F[t - 2]
    s = te.create_schedule(F)
    copy = s.cache_write(F, "global")
    s[copy].compute_at(s[F], t)
    between = s.cache_read(copy, "register", [F])
    s[between].compute_inline()
    s.cache_write(copy, "register")
    np.testing.assert_array_equal(te.build(s)(), [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
