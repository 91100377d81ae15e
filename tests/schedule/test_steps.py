"""Recurrences and scatter-adds in other stages' loops, and other stages in theirs: what is computed where, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import compare
from loads import counts
from program_parts import Seeded
from schedule_cases import arrays, check, i, j, k, recurrence, refused, t
from schedules import check_schedule, random_schedule
from step_programs import cell, drawn, histogram, network

import tedsl as te

b, d, m, n = te.axes("b d m n")


def sizes(s: Any) -> dict[str, tuple[int, ...]]:
    return {buffer.name: tuple(buffer.shape) for buffer in te.lower(s).buffers}


# A producer in the loops of a recurrence -------------------------------------------------------------------------------


@pytest.mark.parametrize("axis,shape", [("b", (1, 4, 5)), ("t", (1, 1, 5)), ("j", (1, 1, 1))])
def test_a_producer_is_computed_for_the_steps_that_read_it(axis: str, shape: tuple[int, ...]) -> None:
    T, s = network()
    s[T["P"]].compute_at(s[T["S"]], axis)
    s[T["P"]].set_scope("cache")
    found = sizes(s)
    assert {v for name, v in found.items() if name.startswith("P")} == {shape}
    check(s)


def test_equations_that_do_not_read_a_producer_do_not_compute_it() -> None:
    X, S, P = te.tensor("X", (9, 5)), te.tensor("S", (9, 5)), te.tensor("P")
    P[t, j] = X[t, j] * X[t, j]
    S[0, j] = X[0, j]
    S[t, j] = S[t - 1, j] + P[t, j]
    s = te.create_schedule(S)
    s[P].compute_at(s[S], t)
    text = check(s)
    assert text.count("P: float32[1, 5]") == 1 and text.index("S[0, j]") < text.index("P: ")


def test_a_producer_that_one_equation_reads_at_its_own_loop() -> None:
    X, W, P, S = te.tensor("X", (6, 5)), te.tensor("W", (5, 5)), te.tensor("P"), te.tensor("S", (6, 5))
    P[k, j] = W[k, j] + 1
    S[0, j] = P[0, j] + X[0, j]
    S[t, j] = te.sum(S[t - 1, k] * P[k, j])
    s = te.create_schedule(S)
    refused(
        s,
        lambda: s[P].compute_at(s[S], k),
        "the equation `S[0, j] = P[0, j] + X[0, j]` reads P as well, and has no loop k; its loops are j",
        "Compute P further out",
    )
    s[P].compute_at(s[S], j)
    check(s)


# A recurrence in the loops of its reader -------------------------------------------------------------------------------


def test_a_recurrence_is_computed_for_each_row_of_a_batch() -> None:
    T, s = network()
    s[T["S"]].compute_at(s[T["V"]], b)  # and S.sum with it
    s[T["V"]].parallel(b)
    s[T["P"]].compute_at(s[T["S"]], t)
    s["S.sum"].compute_at(s[T["S"]], j)
    s["S.sum"].set_scope("register")
    assert {name.split("_")[0]: shape for name, shape in sizes(s).items()} == {
        "S.sum": (1, 1, 1),
        "S": (1, 4, 5),
        "P": (1, 1, 5),
    }
    check(s)
    kernel, data = te.build(s), arrays(T["V"])
    assert kernel(*data, threads=1).tobytes() == kernel(*data, threads=2).tobytes()


def test_only_the_steps_that_are_needed_are_taken() -> None:
    T, s = network()
    s[T["S"]].compute_at(s[T["V"]], t)
    assert "for t_1 in 1 + 0..t:" in check(s)
    X, S, V = te.tensor("X", (9, 20)), te.tensor("S", (9, 20)), te.tensor("V")
    S[0, j] = X[0, j]
    S[t, j] = S[t - 1, j] * 0.5 + X[t, j]
    V[j] = S[3, j] + 1
    s = te.create_schedule(V)
    o, _ = s[V].split(j, factor=8)
    s[S].compute_at(s[V], o)
    assert sizes(s) == {"S": (4, 8)}
    check(s)


@pytest.mark.parametrize("taken", [1, 2, 3, 6])
def test_stages_of_different_lengths_at_a_loop_of_their_reader(taken: int) -> None:
    X, C, H, V = te.tensor("X", (4, 6)), te.tensor("C", (4, 6)), te.tensor("H", (4, 7)), te.tensor("V")
    H[b, 0] = X[b, 0]
    H[b, t] = C[b, t - 1] + 1
    C[b, t] = H[b, t] * 0.5 + X[b, t]
    V[b] = H[b, taken] + C[b, 2]
    s = te.create_schedule(V)
    s[H].compute_at(s[V], b)
    s[V].parallel(b)
    check(s)
    c, h = max(taken, 3), max(taken, 2) + 1  # C is read by the step of H behind it, and H by the same step of C
    assert sizes(s) == {"C": (1, c), "H": (1, h)}
    assert counts(s).stores == {"C": 4 * c, "H": 4 * h, "V": 4}


def test_no_step_is_taken_that_is_not_read() -> None:
    """At step t of V, H is computed up to t, and C, which H reads three steps later, up to t - 3."""
    length = te.var("n")
    X, C, H, V = te.tensor("X", (length,)), te.tensor("C", (length,)), te.tensor("H", (length,)), te.tensor("V")
    H[t] = te.where(t > 2, C[t - 3], 0) + 1
    C[t] = H[t] * 0.5 + X[t]
    V[t] = H[t] * 2
    s = te.create_schedule(V)
    s[H].compute_at(s[V], "t")
    kernel = te.build(s)
    for number in (0, 1, 2, 3, 4, 9):
        (x,) = arrays(te.tensor("X", (number,)))
        compare(kernel(x), te.evaluate(V, {X: x}))
        taken = counts(s.fixed(n=number)).stores
        assert taken["H"] == sum(at + 1 for at in range(number))
        assert taken["C"] == sum(max(at - 2, 0) for at in range(number))


def test_stages_that_step_together_go_and_return_together() -> None:
    T, s = network()
    s["S.sum"].compute_at(s[T["V"]], b)
    assert {s[x].state.attach.axis for x in ("S.sum", "S")} == {"b"}
    s[T["S"]].compute_root()
    assert {s[x].state.attach.kind for x in ("S.sum", "S")} == {"root"}
    check(s)


def test_a_result_is_not_moved_with_what_steps_together_with_it() -> None:
    C, H, s = cell()
    V = te.tensor("V")
    V[t, j] = H[t, j] * 2
    s = te.create_schedule([C, V])
    refused(
        s,
        lambda: s[H].compute_at(s[V], t),
        "C is a result, of which all elements are stored, and H steps together with it",
    )


# Stages of a recurrence in one another's loops -------------------------------------------------------------------------


def test_the_sum_of_a_step_is_computed_at_its_element() -> None:
    T, s = network()
    refused(
        s,
        lambda: s["S.sum"].compute_at(s[T["S"]], b),
        "S.sum, S take turns along b, t",
        "cannot be computed for several steps at once at b of S",
        "Compute it at t or at a loop further in",
    )
    s["S.sum"].compute_at(s[T["S"]], j)
    s["S.sum"].set_scope("register")
    s["S.sum"].unroll(m)
    check(s)
    s["S.sum"].set_scope("cache")
    s["S.sum"].compute_root()
    check(s)


def test_gates_are_inlined() -> None:
    _, _, s = cell()
    s["G"].compute_inline()
    text = check(s)
    assert "G[" not in text and text.count("sigmoid") == 2
    s["G.sum"].compute_at(s["C"], t)
    assert sizes(s) == {"G.sum": (1, 5)}
    check(s)


def test_inlined_stages_have_an_end() -> None:
    X, A, B, V = te.tensor("X", (6,)), te.tensor("A", (6,)), te.tensor("B", (6,)), te.tensor("V")
    A[t] = te.where(t > 0, B[t - 1], 0.0) + X[t]
    B[t] = A[t] * 0.5
    V[t] = B[t] + A[t]
    s = te.create_schedule(V)
    s[A].compute_inline()
    check(s)
    refused(s, lambda: s[B].compute_inline(), "it reads its own earlier steps through A, which is inlined too")
    s.undo()
    s[B].compute_inline()
    check(s)


def test_what_a_step_keeps_for_the_next_is_not_lost() -> None:
    X, A, B = te.tensor("X", (6,)), te.tensor("A", (6,)), te.tensor("B", (6,))
    A[t] = te.where(t > 0, A[t - 1] + B[t - 1], 0.0) + X[t]
    B[t] = A[t] * 0.5
    s = te.create_schedule(B)
    refused(s, lambda: s[A].compute_at(s[B], t), "A reads its own earlier steps, which are gone", "compute_root")


# Copies and partial results --------------------------------------------------------------------------------------------


def test_the_state_of_a_step_is_cached() -> None:
    T, s = network()
    copy = s.cache_read(T["S"], "cache", s["S.sum"])
    check(s)
    s[copy].compute_at(s["S.sum"], t)
    assert sizes(s)["S.cache"] == (1, 1, 5)
    assert "S.cache[0, 0, j] = S[b, t - 1, j]" in check(s)
    _, S, s = recurrence()
    copy = s.cache_read(S, "cache", S)
    s[copy].compute_at(s[S], t)
    s[S].vectorize(j)
    check(s)


def test_a_copy_is_there_before_it_is_read() -> None:
    C, H, s = cell()
    copy = s.cache_read(C, "cache", [C, H])
    refused(
        s,
        lambda: s[copy].compute_at(s[C], t),
        "C.cache is computed at t of C, which is before C in each step, and reads what C computes in the same step",
        "cache it for fewer readers",
    )
    check(s)
    s = te.create_schedule([C, H])
    copy = s.cache_read(C, "cache", [H])
    s[copy].compute_at(s[C], t)  # one loop for all of them: after C, before H
    check(s)


def test_a_recurrence_is_computed_in_registers() -> None:
    _, S, s = recurrence()
    _, ji = s[S].split(j, factor=8)
    made = s.cache_write(S, "register")
    s[made].compute_at(s[S], ji)
    assert set(sizes(s).values()) == {(1, 1)}
    check(s)
    _, s = network()
    made = s.cache_write(s["S.sum"], "register")
    s[made].compute_at(s["S.sum"], j)
    check(s)
    C, H, s = cell()
    for tensor in (C, H):
        s[s.cache_write(tensor, "cache")].compute_at(s[tensor], t)
    check(s)


def test_partial_sums_of_a_step() -> None:
    _, s = network()
    refused(
        s,
        lambda: s.rfactor(s["S.sum"], m),
        "factor_axis is 0, and S.sum, S take turns along b, t, which come first",
        "factor_axis=2",
    )
    _, inner = s["S.sum"].split(m, factor=4)
    P = s.rfactor(s["S.sum"], inner, 2)
    s[P].compute_at(s["S.sum"], j)
    s[P].reorder(*s[P].reduce_axis, inner)
    s[P].vectorize(inner)
    check(s)
    X, W, S = te.tensor("X", (6, 9)), te.tensor("W", (9, 9)), te.tensor("S", (6, 9))
    S[0, j] = X[0, j]
    S[t, j] = te.sum(S[t - 1, k] * W[k, j])
    s = te.create_schedule(S)
    s[s.rfactor(S, k, 1)].compute_at(s[S], j)
    check(s)


def test_steps_along_two_axes() -> None:
    X, W, T = te.tensor("X", (5, 6)), te.tensor("W", (4,)), te.tensor("T", (5, 6))
    T[i, 0] = X[i, 0]
    T[i, j] = te.sum(T[i, j - 1] * W[k])
    s = te.create_schedule(T)
    s.cache_read(T, "cache", T)
    check(s)
    s = te.create_schedule(T)
    refused(
        s,
        lambda: s.rfactor(T, k, 1),
        "rfactor of T: T.rf would step together with T, and cannot: T.rf, T depend on each other",
        "is not an earlier step",
    )
    s.rfactor(T, k, 2)
    check(s)


# Loops that stages share -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["S", "S.sum"])
def test_what_is_said_of_a_shared_loop_holds_for_all(name: str) -> None:
    _, s = network()
    s[name].parallel(b)
    s[name].pragma(t, "GCC unroll 1")
    text = check(s)
    assert "for b in 0..3 parallel:\n  for j" in text and "#pragma GCC unroll 1" in text
    source = te.emit(s)
    assert source.count("#pragma omp parallel") == 1 and "#pragma GCC unroll 1" in source


def test_a_producer_is_not_filled_ahead_of_the_step_that_it_reads() -> None:
    _, S, s = recurrence()
    copy = s.cache_read(S, "cache", S)
    s[copy].compute_at(s[S], t)
    s[copy].double_buffer()
    check(s)


def test_a_copy_is_not_asked_for_before_it_is_there() -> None:
    F = te.tensor("F", (5,), "int8")
    F[0], F[1] = 1, 1
    F[t] = F[t - 1] + F[t - 2]
    s = te.create_schedule(F)
    copy = s.cache_write(F, "cache")
    s[copy].compute_at(s[F], t)
    s[F].prefetch(copy, t, 1)
    assert "prefetch" not in check(s)


def test_what_several_loops_read_is_asked_for_line_by_line() -> None:
    A, D = te.tensor("A", (4, 5), "int32"), te.tensor("D", (4, 5), "int32")
    D[0, j] = te.cast(j, "int32")
    D[i, 0] = te.cast(i, "int32")
    D[i, j] = te.minimum(te.minimum(D[i - 1, j], D[i, j - 1]) + 1, D[i - 1, j - 1] + A[i, j])
    s = te.create_schedule(D)
    s[D].prefetch(D, i, 1)
    s[D].prefetch(A, j, 2)
    check(s)


# Scatter-adds ----------------------------------------------------------------------------------------------------------


def test_a_histogram_is_computed_for_each_row() -> None:
    H, O, s = histogram()
    s[H].compute_at(s[O], b)
    s[O].parallel(b)
    s[H].set_scope("cache")
    s["P"].compute_at(s[H], i)
    assert sizes(s) == {H.name: (1, 7), "P": (1, 1)}
    check(s)


def test_loops_of_a_scatter_that_lead_to_elements_of_their_own() -> None:
    H, _, s = histogram()
    refused(s, lambda: s[H].parallel(i), "add to elements that depend on data", "two of them may meet", "can are b")
    s[H].parallel(b)
    check(s)
    table, index, Z, E = (
        te.tensor("T", (7, 19)),
        te.tensor("I", (11,), "int32"),
        te.tensor("Z", (11, 19)),
        te.tensor("E"),
    )
    E[i, d] = table[index[i], d] * 2
    (G,) = te.vjp(E, [table], Z)
    s = te.create_schedule(G)
    _, inner = s[G].split(d, factor=8)
    s[G].vectorize(inner)
    check(s)
    F = te.tensor("F")
    F[i] = table[index[i], index[i]]
    (G,) = te.vjp(F, [table], te.tensor("z", (11,)))
    s = te.create_schedule(G)
    refused(s, lambda: s[G].parallel(i), "Mark a loop of what it reads instead")


def test_a_scatter_is_computed_in_a_copy() -> None:
    H, _, s = histogram()
    refused(s, lambda: s[H].storage_align(i, 8), "i is no axis of it; its axes are b")
    s[H].storage_align(b, 8)
    check(s)
    made = s.cache_write(H, "cache")
    s[made].compute_at(s[H], s[H].loops[0])
    assert sizes(s)[made.name] == (1, 7)
    check(s)
    s = te.create_schedule(H)
    s[H].split(i, factor=2)
    refused(s, lambda: s.cache_write(H, "cache"), "the loop i was scheduled already", "Call cache_write first")


# Random ones ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_random_schedules_of_recurrences(seed: int) -> None:
    program = drawn(Seeded(seed))
    check_schedule(program, random_schedule(program, Seeded(seed), 18))
