"""What a schedule remembers: printing, replay as Python and as JSON, undo, copy, pickle, sizes put in later; and how it shows itself."""

from __future__ import annotations

import copy
import json
import pickle
import re

import numpy as np
import pytest
from schedule_cases import check, i, j, k, matmul, refused, two_stages

import tedsl as te


def scheduled() -> tuple[te.Tensor, te.Tensor, te.Tensor, te.schedule.Schedule]:
    """A matmul with a step of most kinds."""
    A, B, C, s = matmul()
    Cr = s.cache_write(C, "register")
    io, jo, ii, ji = s[C].tile(i, j, 4, 16)
    s[Cr].compute_at(s[C], jo)
    ko, ki = s[Cr].split(k, nparts=3)
    s[Cr].reorder(ko, ki, i, j)
    s[Cr].unroll(i)
    s[Cr].vectorize(j)
    s[C].unroll(ii)
    s[C].vectorize(ji)
    Bp = s.cache_read(B, "global", [Cr])
    s[Bp].layout(*s[Bp].axis)
    s[C].pragma(jo, 'message "x"')
    s[C].parallel(io)
    return A, B, C, s


PYTHON = """\
s.cache_write("C", "register")  # C.register
s["C"].tile("i", "j", 4, 16)  # i_o, j_o, i_i, j_i
s["C.register"].compute_at(s["C"], "j_o")
s["C.register"].split("k", nparts=3)  # k_o, k_i
s["C.register"].reorder("k_o", "k_i", "i", "j")
s["C.register"].unroll("i")
s["C.register"].vectorize("j")
s["C"].unroll("i_i")
s["C"].vectorize("j_i")
s.cache_read("B", "global", ["C.register"])  # B.global
s["B.global"].layout("j", "k")
s["C"].pragma("j_o", "message \\"x\\"")
s["C"].parallel("i_o")"""


def test_history_prints_as_python_that_replays_it() -> None:
    _A, _B, C, s = scheduled()
    assert str(s.history) == PYTHON
    again = te.create_schedule(C)
    exec(PYTHON, {"s": again, "te": te})
    assert str(again) == str(s)
    assert len(s.history) == 13 and s.history[1].primitive == "tile" and str(s.history[:1]) == PYTHON.splitlines()[0]


def test_history_travels_as_json() -> None:
    _A, _B, C, s = scheduled()
    text = s.to_json()
    data = json.loads(text)
    assert data["version"] == 1 and data["steps"][1] == {
        "stage": "C",
        "primitive": "tile",
        "args": ["i", "j", 4, 16],
        "at": data["steps"][1]["at"],
    }
    assert re.fullmatch(r"test_history\.py:\d+", data["steps"][1]["at"])
    for given in (text, data, s.history, data["steps"]):
        again = te.create_schedule(C).replay(given)
        assert str(again) == str(s) and str(again.history) == PYTHON
    check(te.create_schedule(C).replay(text))


def test_steps_know_the_line_that_asked_for_them() -> None:
    _A, _B, _C, s = scheduled()
    assert all(str(step.location).startswith("test_history.py:") for step in s.history)


def test_undo_goes_back_step_by_step() -> None:
    _A, _B, C, s = scheduled()
    texts = []
    fresh = te.create_schedule(C)
    for step in s.history:
        texts.append(str(fresh))
        fresh.replay([step])
    for text in reversed(texts):
        s.undo()
        assert str(s) == text
    assert len(s.history) == 0
    with pytest.raises(te.ScheduleError, match="undo of 1 steps: this schedule has 0"):
        s.undo()
    fresh.undo(3)
    assert len(fresh.history) == 10


def test_a_handle_of_a_step_that_was_undone() -> None:
    _A, _B, C, s = matmul()
    Cr = s.cache_write(C, "cache")
    handle = s[Cr]
    s.undo()
    with pytest.raises(te.ScheduleError, match=r"has no stage C\.cache any more: the step that made it was undone"):
        handle.split(i, factor=2)
    with pytest.raises(te.ScheduleError, match=r"this schedule has no stage C\.cache; its stages are C"):
        s[Cr]


def test_copies_go_their_own_way_and_handles_fit_both() -> None:
    _A, _B, C, s = matmul()
    Cr = s.cache_write(C, "cache")
    io, jo, _ii, _ji = s[C].tile(i, j, 4, 16)
    for other in (s.copy(), copy.copy(s)):
        before = str(s)
        other[Cr].compute_at(other[C], jo)
        other[C].parallel(io)
        assert str(s) == before and len(s.history) == 2 and len(other.history) == 4
        check(other)
    replayed = te.create_schedule(C).replay(s.history)
    replayed[Cr].compute_at(s[C], jo)  # made by another schedule of the same program
    check(replayed)


def test_pickled_schedules_are_the_same() -> None:
    _A, _B, _C, s = scheduled()
    again = pickle.loads(pickle.dumps(s))
    assert str(again) == str(s) and str(again.history) == PYTHON
    check(again)
    X, S = te.tensor("X", (5, 6)), te.tensor("S", (5, 6))
    S[0, j] = X[0, j]
    S["t", j] = S[te.axes("t") - 1, j] + X["t", j]
    s = te.create_schedule([S])
    s[S].vectorize(j)
    check(pickle.loads(pickle.dumps(s)))


def test_schedules_of_other_programs_are_told_apart() -> None:
    A, _B, _C, s = matmul()
    _X, H, _V, other = two_stages()
    refused(s, lambda: s[other[H]], "the stage H belongs to the schedule of V, and this is one of C")
    refused(s, lambda: s[H], "is no part of this schedule, whose stages are C")
    refused(s, lambda: s["H"], "this schedule has no stage H; its stages are C")
    refused(s, lambda: s[A], "A is an input and has no loops", "s.cache_read(A, scope, readers)")
    refused(s, lambda: s[3], "names no stage; a stage is given by its tensor, its name or its handle")
    assert "C" in s and H not in s


def test_a_history_that_does_not_fit_leaves_nothing_behind() -> None:
    _A, _B, _C, s = scheduled()
    _X, _H, _V, other = two_stages()
    refused(other, lambda: other.replay(s.to_json()), "step 1 of 13 of the history", "does not fit this program", "C")
    refused(other, lambda: other.replay("{"), "is no JSON")
    refused(other, lambda: other.replay("[" * 100_000), "is no JSON")
    refused(other, lambda: other.replay("[1]"), "1 is no step of a schedule")
    refused(other, lambda: other.replay('{"version": 99, "steps": []}'), "it needs version 1")
    refused(other, lambda: other.replay(7), "int is no history")
    step = {"stage": "V", "primitive": "split", "args": ["x"], "kwargs": {"factor": 2}}
    refused(
        other,
        lambda: other.replay([step, {**step, "primitive": "explode"}]),
        "step 2 of 2",
        "there is no primitive explode",
    )
    refused(other, lambda: other.replay([step, {**step, "args": []}]), "step 2 of 2", "TypeError")
    refused(other, lambda: other.replay([{**step, "args": [["x"]]}]), "step 1 of 1")


# Sizes -----------------------------------------------------------------------------------------------------------------


def test_factors_are_numbers_later() -> None:
    v1, v2 = te.var("v1"), te.var("v2", min=2, multiple_of=2)
    A, B, C, s = matmul()
    Cr = s.cache_write(C, "cache")
    _io, jo, ii, _ji = s[C].tile(i, j, v1, v2)
    s[Cr].compute_at(s[C], jo)
    assert ii.extent == v1 and s.factors == ("v1", "v2")
    assert "C.cache: float32[v1, v2] in cache" in str(s) and "for i_o in 0..37 // v1:" in str(s)
    assert 'tile("i", "j", te.var("v1"), te.var("v2", min=2, multiple_of=2))' in str(s.history)
    assert str(te.create_schedule(C).replay(s.to_json())) == str(s)
    for fixed in (s.fixed(v1=4, v2=8), s.fixed(v1=4).fixed(v2=8)):
        assert "C.cache: float32[4, 8] in cache" in check(fixed)
    inputs = [np.random.default_rng(0).random(t.shape, "float32") for t in (A, B)]
    np.testing.assert_allclose(te.build(s, v1=5, v2=6)(*inputs), inputs[0] @ inputs[1].T, rtol=1e-5)
    assert te.lower(s, v1=5, v2=6).buffers[0].shape == (5, 6)
    refused(s, lambda: te.lower(s), "the tile factors v1, v2 have no number yet: te.build(s, v1=…, v2=…)")
    refused(s, lambda: te.lower(s, v1=2), "the tile factor v2 has no number yet")
    refused(s, lambda: s.fixed(v3=2), "has no size of that name; its sizes are v1, v2")
    refused(s, lambda: s.fixed(v2=3), "v2=3: the size v2 was declared to be at least 2 and a multiple of 2")
    refused(s, lambda: s.fixed(v1=2.5), "v1=2.5: a size is a whole number")
    refused(s, lambda: s.fixed(v1=0), "factor is 0; it is at least 1")


def test_sizes_of_the_program_are_numbers_later() -> None:
    n = te.var("n")
    A, B, C = te.tensor("A", (n, 9)), te.tensor("B", (n, 9)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    io, _ii = s[C].split(i, factor=4)
    Bp = s.cache_read(B, "cache", C)
    s[Bp].compute_at(s[C], io)
    fixed = s.fixed(n=10)
    assert fixed.outputs[0].shape == (10, 10) and C.shape == (n, n)
    assert fixed[C].name == "C" and fixed[Bp].name == "B.cache" and fixed[C].loops[0].extent == 3
    data = np.random.default_rng(0).random((10, 9), "float32")
    other = np.ones((10, 9), "float32")
    np.testing.assert_allclose(te.build(s, [B, A, C], n=10)(other, data), data @ other.T, rtol=1e-5)
    with pytest.raises(te.CallError):
        te.build(s, n=10)(data[:4], data[:4])


def test_a_recurrence_and_several_results_of_fixed_sizes() -> None:
    n = te.var("n", min=1)
    t = te.axes("t")
    X, S = te.tensor("X", (n, 4)), te.tensor("S", (n, 4))
    S[0, j] = X[0, j]
    S[t, j] = S[t - 1, j] + te.sum(X[t, k])
    M = te.tensor("M")
    M[j] = te.max(S[t, j])
    s = te.create_schedule([S, M]).fixed(n=5)
    data = np.random.default_rng(0).random((5, 4), "float32")
    for got, want in zip(te.build(s)(data), te.evaluate([S, M], {X: data}), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


# Showing ---------------------------------------------------------------------------------------------------------------


def test_print_is_the_nest_with_kinds_scopes_and_sizes() -> None:
    _A, _B, _C, s = scheduled()
    assert str(s).splitlines() == [
        "B.global: float32[29, 23] in global",
        "for j in 0..29:",
        "  for k in 0..23:",
        "    B.global[j, k] = B[j, k]",
        "for i_o in 0..10 parallel:",
        '  #pragma message "x"',
        "  for j_o in 0..2:",
        "    C.register: float32[4, 16] in register",
        "    for i in 0..minimum(4, 37 - 4 * i_o) unrolled:",
        "      for j in 0..minimum(16, 29 - 16 * j_o) vectorized:",
        "        C.register[i, j] = 0.0",
        "    for k_o in 0..3:",
        "      for k_i in 0..minimum(8, 23 - 8 * k_o):",
        "        for i in 0..minimum(4, 37 - 4 * i_o) unrolled:",
        "          for j in 0..minimum(16, 29 - 16 * j_o) vectorized:",
        "            C.register[i, j] = C.register[i, j] + A[4 * i_o + i, 8 * k_o + k_i] * B.global[16 * j_o + j, 8 * k_o + k_i]",
        "    for i_i in 0..minimum(4, 37 - 4 * i_o) unrolled:",
        "      for j_i in 0..minimum(16, 29 - 16 * j_o) vectorized:",
        "        C[4 * i_o + i_i, 16 * j_o + j_i] = C.register[i_i, j_i]",
    ]
    assert repr(s) == "<schedule of C, 13 steps>"
    assert repr(s["C.register"]) == "<stage C.register: k_o, k_i, i, j>"


def test_a_notebook_shows_the_nest_coloured() -> None:
    _A, _B, _C, s = scheduled()
    html = s._repr_html_()
    assert html.count("<span") == 9  # two temporaries, a parallel loop, three vectorised ones and three unrolled
    assert '<span style="color:#0072b2">for i_o in 0..10 parallel:</span>' in html
    assert "13 steps" in html and "s[&quot;C&quot;].tile" in html
    assert "<script" not in html
    X, Y = te.tensor("<b>", (3,)), te.tensor("Y")
    Y[i] = X[i] + 1
    assert "<b>[" not in te.create_schedule(Y)._repr_html_()
