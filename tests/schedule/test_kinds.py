"""vectorize, unroll, parallel, bind, pragma: what they make, and what they refuse."""

from __future__ import annotations

import pytest
from schedule_cases import check, i, j, k, matmul, recurrence, refused, t, two_stages

import tedsl as te


def test_kinds_are_shown_and_right() -> None:
    _, _, C, s = matmul()
    io, jo, ii, ji = s[C].tile(i, j, 4, 16)
    s[C].reorder(io, jo, k, ii, ji)
    s[C].parallel(io)
    s[C].unroll(ii)
    s[C].vectorize(ji)
    s[C].pragma(k, "GCC unroll 2")
    text = check(s)
    assert "for i_o in 0..10 parallel:" in text
    assert "unrolled:" in text and "vectorized:" in text and "#pragma GCC unroll 2" in text
    assert "#pragma GCC unroll 2" in te.emit(s)


def test_a_pragma_stands_before_its_loop_in_lanes_and_in_every_copy() -> None:
    _, _, C, s = matmul()
    s[C].vectorize(i)
    s[C].pragma(k, "GCC unroll 4")
    check(s)
    lines = te.emit(s).splitlines()
    loops = [n for n, line in enumerate(lines) if "for (int64_t k = " in line]
    assert loops and all("#pragma GCC unroll 4" in lines[n - 1] for n in loops)


@pytest.mark.parametrize("axis", ["i", "j"])
def test_loops_that_are_not_innermost_may_be_lanes(axis: str) -> None:
    _, _, C, s = matmul()
    s[C].vectorize(axis)
    check(s)


def test_marking_a_loop_again_changes_nothing() -> None:
    _, _, C, s = matmul()
    s[C].unroll(k)
    s[C].unroll(k)
    refused(s, lambda: s[C].vectorize(k), "it is unrolled already", "Split it and mark one of the two loops")


def test_a_reduction_runs_in_order() -> None:
    _, _, C, s = matmul()
    for name in ("vectorize", "parallel"):
        message = refused(
            s,
            lambda name=name: getattr(s[C], name)(k),
            "k is reduced over in C",
            "all add to one element",
            "s.rfactor(T, 'k')",
            name,
        )
        assert "Mark a loop that is not reduced over (i, j)" in message
    refused(s, lambda: s[C].bind(k, "threadIdx.x"), "cannot run on threadIdx.x")
    o, _ = s[C].split(k, factor=4)
    refused(s, lambda: s[C].parallel(o), "k_o is reduced over in C")


def test_parallel_and_vectorised_loops_in_one_another() -> None:
    _, _, C, s = matmul()
    s[C].parallel(i)
    refused(
        s,
        lambda: s[C].parallel(j),
        "the loop j of C would be parallel inside of i of C, which is parallel too",
        "Fuse the two loops",
    )
    s[C].vectorize(j)
    s.undo(2)
    s[C].vectorize(i)
    refused(
        s,
        lambda: s[C].vectorize(j),
        "would run as vector lanes inside of i of C, which is vectorized",
        "Vectorize the innermost loop",
    )
    refused(s, lambda: s[C].parallel(j), "would run in parallel inside of i of C")


def test_a_nest_of_stages_has_one_parallel_loop() -> None:
    _, H, V, s = two_stages()
    s[V].parallel("y")
    s[H].parallel("y")
    refused(s, lambda: s[H].compute_at(s[V], "y"), "the loop y of H would be parallel inside of y of V")
    s.undo()
    s[H].compute_at(s[V], "y")
    refused(s, lambda: s[H].parallel("x"), "the loop x of H would be parallel inside of y of V")
    check(s)


def test_steps_of_a_recurrence_run_in_order() -> None:
    _, S, s = recurrence()
    message = refused(
        s,
        lambda: s[S].parallel(t),
        "the steps of t of S cannot run in parallel",
        "`S[t - 1, j]` reads what an earlier one computes",
    )
    assert "The loops that can are j" in message
    refused(s, lambda: s[S].vectorize(t), "cannot run as vector lanes")
    s[S].parallel(j)
    check(s)


def test_a_recurrence_along_one_axis_is_parallel_along_the_other() -> None:
    a, b = te.axes("a b")
    X, S = te.tensor("X", (8, 9)), te.tensor("S", (8, 9))
    S[a, b] = te.where(b > 0, S[a, b - 1], 0.0) + X[a, b]
    s = te.create_schedule(S)
    refused(s, lambda: s[S].parallel(b), "The loops that can are a")
    s[S].split(a, factor=3)
    s[S].reorder(b, "a_o", "a_i")
    s[S].vectorize("a_i")
    check(s)


def test_stages_that_step_together() -> None:
    m = te.axes("m")
    X, W, S = te.tensor("X", (6, 5)), te.tensor("W", (5, 5)), te.tensor("S", (6, 5))
    S[0, j] = X[0, j]
    S[t, j] = te.tanh(te.sum(S[t - 1, m] * W[m, j])) + X[t, j]
    s = te.create_schedule(S)
    assert [stage.name for stage in s.stages] == ["S.sum", "S"]
    refused(s, lambda: s["S.sum"].parallel(t), "reads what an earlier one computes")
    refused(s, lambda: s["S.sum"].split(t, factor=2), "S.sum, S take turns along t")
    s["S.sum"].split(m, factor=2)
    s["S.sum"].vectorize(j)
    s["S"].vectorize(j)
    check(s)


def test_bind_is_for_the_axes_of_a_gpu() -> None:
    _, _, C, s = matmul()
    refused(
        s,
        lambda: s[C].bind(i, "blockIdx"),
        "bind of the axis i of C to 'blockIdx'",
        "the axes of a GPU are blockIdx.x, blockIdx.y",
    )
    s[C].bind(i, "blockIdx.x")
    assert "for i in 0..37 blockIdx.x:" in str(s)
    with pytest.raises(te.Error, match="cuda"):
        te.build(s)


def test_pragmas_are_one_line() -> None:
    _, _, C, s = matmul()
    for text in ("", "a\nb", "a\rb", "a\\", 3):
        refused(s, lambda text=text: s[C].pragma(i, text), "is no pragma; it is one line of text")
