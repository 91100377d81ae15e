"""What is said of a loop goes with it: marks, and the primitives that cut, move and hand over loops after them."""

from __future__ import annotations

from typing import Any

import pytest
from schedule_cases import check, i, j, k, matmul, refused

import tedsl as te

DOT = "static void dot(float *c, const float *a, const float *b) { float s = 0; for (int n = 0; n < 8; n++) s += a[n] * b[n]; *c += s; }"


def dot() -> Any:
    """c += a . b, 8 long."""
    n = te.axes("n")
    a, b, c = te.tensor("a", (8,)), te.tensor("b", (8,)), te.tensor("c")
    c[()] = te.sum(a[n] * b[n])
    return te.intrinsic("dot", c, "dot({c}, {a}, {b});", DOT)


def cut() -> tuple[te.Tensor, te.Tensor, Any, Any, Any]:
    """A, C, its schedule with k split by 8, and the two loops."""
    A, _, C, s = matmul(6, 5, 24)
    ko, ki = s[C].split(k, factor=8)
    return A, C, s, ko, ki


def test_tensorized_loops_go_to_the_partial_results() -> None:
    _, C, s, ko, ki = cut()
    s[C].tensorize(ki, dot())
    P = s.rfactor(C, ko)
    assert s[P].state.tensorized == "k_i" and s[C].state.tensorized is None
    assert "dot(" in check(s)


SAID: dict[str, Any] = {
    "unroll": lambda stage, A, loop: stage.unroll(loop),
    "pragma": lambda stage, A, loop: stage.pragma(loop, "GCC unroll 2"),
    "prefetch": lambda stage, A, loop: stage.prefetch(A, loop, 1),
    "tensorize": lambda stage, A, loop: stage.tensorize(loop, dot()),
}


@pytest.mark.parametrize("said", SAID)
def test_what_is_said_of_a_loop_goes_to_the_partial_results(said: str) -> None:
    A, C, s, ko, ki = cut()
    SAID[said](s[C], A, ki)
    mark = s[C].state.mark("k_i")
    P = s.rfactor(C, ko)
    moved = s[P].state.mark("k_i")
    assert moved.kind == mark.kind and moved.pragmas == mark.pragmas and moved.prefetches == mark.prefetches
    assert moved.intrinsic is mark.intrinsic
    assert "k_i" not in s[C].state.marks
    check(s)


@pytest.mark.parametrize("said", SAID)
def test_a_loop_of_which_something_is_said_is_not_cut_joined_or_factored(said: str) -> None:
    A, C, s, ko, ki = cut()
    SAID[said](s[C], A, ki)
    refused(s, lambda: s[C].split(ki, factor=2), "Call split first")
    refused(s, lambda: s[C].fuse(ko, ki), "Call fuse first")
    refused(s, lambda: s.rfactor(C, ki), "Call rfactor first")
    refused(s, lambda: s.cache_write(C, "cache"), "was scheduled already", "Call cache_write first")
    Ac = s.cache_read(A, "cache", C)
    s[Ac].compute_at(s[C], ko)
    check(s)


@pytest.mark.parametrize("said", ["unroll", "pragma", "prefetch"])
def test_what_is_said_of_a_loop_stays_when_others_are_cut_or_moved(said: str) -> None:
    A, C, s, ko, ki = cut()
    SAID[said](s[C], A, ki)
    mark = s[C].state.mark("k_i")
    _, ii = s[C].split(i, factor=4)
    s[C].reorder(ki, ko)
    s[C].fuse(ii, j)
    assert s[C].state.mark("k_i") is mark
    check(s)


@pytest.mark.parametrize("said", ["vectorize", "pragma", "prefetch", "parallel"])
def test_what_is_said_of_a_data_loop_stays_with_the_copy_to_the_result(said: str) -> None:
    A, _, C, s = matmul(6, 5, 24)
    if said in ("vectorize", "parallel"):
        getattr(s[C], said)(i)
    else:
        SAID[said](s[C], A, i)
    mark = s[C].state.mark("i")
    W = s.cache_write(C, "cache")
    assert s[C].state.mark("i") is mark and not s[W].state.marks
    check(s)


def test_loops_inside_of_a_tensorized_one_belong_to_the_intrinsic() -> None:
    m, n = te.axes("m n")
    a, b, c = te.tensor("a", (4, 8)), te.tensor("b", (8,)), te.tensor("c")
    c[m] = te.sum(a[m, n] * b[n])
    rows = te.intrinsic("rows", c, "for (int m = 0; m < 4; m++) for (int n = 0; n < 8; n++) ({c})[m * {c.0}] += ({a})[m * {a.0} + n] * ({b})[n];")  # fmt: skip
    _, _, C, s = matmul(8, 5, 24)
    _, ii = s[C].split(i, factor=4)
    ko, ki = s[C].split(k, factor=8)
    s[C].reorder(ko, ii, ki)
    s[C].tensorize(ii, rows)
    check(s)
    refused(s, lambda: s.cache_write(C, "cache"), "the loop k, which is reduced over, was scheduled already")
    refused(s, lambda: s.rfactor(C, ko), "rows")
    refused(s, lambda: s[C].split(ki, factor=2), "rows")


def test_storage_stays_when_a_reduction_is_taken_apart() -> None:
    A, B, C, D = te.tensor("A", (6, 24)), te.tensor("B", (5, 24)), te.tensor("C"), te.tensor("D")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    D[i, j] = C[i, j] + 1
    s = te.create_schedule(D)
    ko, _ = s[C].split(k, factor=8)
    s[C].storage_align(i, 16)
    s.rfactor(C, ko)
    assert "rows aligned to 16" in check(s)
