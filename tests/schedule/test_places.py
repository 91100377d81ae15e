"""compute_at, compute_inline, compute_root, scopes, layouts, alignment: what is computed and allocated where, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from schedule_cases import check, i, j, k, matmul, recurrence, refused, two_stages, x, y

import tedsl as te


def buffers(s: te.schedule.Schedule) -> dict[str, tuple[int, ...]]:
    return {b.name: tuple(b.shape) for b in te.lower(s).buffers}


@pytest.mark.parametrize("fy,fx", [(8, 16), (7, 5), (64, 64), (1, 1)])
def test_a_producer_computes_what_is_read_and_no_more(fy: int, fx: int) -> None:
    _X, H, V, s = two_stages()
    _yo, xo, _yi, _xi = s[V].tile(y, x, fy, fx)
    s[H].compute_at(s[V], xo)
    assert buffers(s) == {"H": (min(fy, 36) + 2, min(fx, 38))} if (fy, fx) != (64, 64) else {"H": (40, 38)}
    check(s)


def test_inline_takes_the_place_of_every_read() -> None:
    _X, H, _V, s = two_stages()
    s[H].compute_inline()
    assert buffers(s) == {}
    assert "H" not in check(s)
    s[H].compute_root()
    assert buffers(s) == {"H": (40, 38)}
    check(s)


def test_a_chain_is_computed_from_the_reader_on() -> None:
    X, P, H, V = te.tensor("X", (30, 30)), te.tensor("P"), te.tensor("H"), te.tensor("V")
    P[y, x] = X[y, x] * 2
    H[y, x] = P[y, x] + P[y, x + 1]
    V[y, x] = H[y, x] + H[y + 1, x]
    s = te.create_schedule(V)
    refused(
        s, lambda: s[P].compute_at(s[V], y), "H reads P, and is computed at the root, outside of the loop y of V", "Compute P at the root",
        "s['H'].compute_at(s['V'], …), or compute_inline")  # fmt: skip
    s[H].compute_at(s[V], y)
    s[P].compute_at(s[V], y)
    check(s)
    assert buffers(s) == {"P": (2, 30), "H": (2, 29)}
    refused(s, lambda: s[H].compute_root(), "H reads P, and is computed at the root, outside of the loop y of V")
    s[P].compute_at(s[H], x)
    check(s)
    s[H].compute_root()
    s[P].compute_inline()
    s[H].compute_at(s[V], x)
    check(s)


def test_what_a_result_reads_as_well_is_copied_for_its_other_reader() -> None:
    X, P, H, V = te.tensor("X", (30,)), te.tensor("P"), te.tensor("H"), te.tensor("V")
    P[x] = X[x] * 2
    H[x] = P[x] + P[x + 1]
    V[x] = H[x] + P[x + 1]
    s = te.create_schedule(V)
    refused(
        s, lambda: s[P].compute_at(s[H], x), "V reads P, and is computed at the root, outside of the loop x of H",
        "Compute P at the root, and a copy of what H reads there: s.cache_read(P, scope, H)")  # fmt: skip
    s[s.cache_read(P, "cache", H)].compute_at(s[H], x)
    check(s)
    assert buffers(s)["P.cache"] == (2,)


def test_reorder_keeps_readers_inside() -> None:
    _X, H, V, s = two_stages()
    W = s.cache_write(V, "cache")
    s[W].compute_at(s[V], "y")
    s[H].compute_at(s[V], "y")
    refused(s, lambda: s[W].compute_at(s[V], "q"), "compute_at of V.cache at q of V: there is no such loop")
    s[H].compute_at(s[V], "y")
    s[W].compute_at(s[V], "x")
    check(s)
    refused(s, lambda: s[V].reorder("x", "y"), "V.cache reads H, and is computed at x of V, outside of the loop y of V")


def test_strided_consumers() -> None:
    X, P, D = te.tensor("X", (256,)), te.tensor("P"), te.tensor("D", (32,))
    P[i] = X[i] * 2
    D[i] = P[4 * i] + P[4 * i + 1]
    s = te.create_schedule(D)
    o, _n = s[D].split(i, factor=8)
    s[P].compute_at(s[D], o)
    assert buffers(s) == {"P": (30,)}
    check(s)


def test_fused_loops_of_a_consumer() -> None:
    _X, H, V, s = two_stages(12)
    f = s[V].fuse("y", "x")
    o, n = s[V].split(f, factor=7)
    s[H].compute_at(s[V], o)
    check(s)
    s[H].compute_at(s[V], n)
    assert buffers(s) == {"H": (3, 1)}
    check(s)


def test_scopes() -> None:
    _X, H, V, s = two_stages()
    s[H].compute_at(s[V], "x")
    s[H].set_scope("register")
    assert s[H].scope == "register"
    message = refused(
        s, lambda: te.lower(s), "H is kept in registers", "Unroll or vectorize that loop (s['H'].unroll('y'))"
    )
    assert "keep H in the scope 'cache'" in message and "H: float32[3, 1] in register" in str(s)
    s[H].unroll("y")
    assert "H: float32[3, 1] in register" in check(s)
    refused(s, lambda: s[H].set_scope("l1"), "there is no scope 'l1'; one of 'global', 'cache', 'register', 'shared'")
    refused(
        s,
        lambda: s[V].set_scope("cache"),
        "it is a result, and its caller says where it is stored",
        "s.cache_write(V, 'cache')",
    )


def test_layouts_are_in_the_order_of_the_loops() -> None:
    _A, B, C, s = matmul()
    P = s.cache_read(B, "global", C)
    jo, ji = s[P].split("j", factor=8)
    s[P].layout(jo, "k", ji)
    text = check(s)
    assert "B.global: float32[4, 23, 8] in global" in text
    assert "B.global[j // 8, k, j % 8]" in text or "j_o" in text
    refused(s, lambda: s[P].layout(jo, ji), "got the loops j_o, j_i; give each of j_o, j_i, k once")
    refused(s, lambda: s[C].layout(i, j), "it is a result", "s.cache_write(C, 'global')")


def test_a_layout_outlives_later_splits() -> None:
    _A, B, C, s = matmul()
    P = s.cache_read(B, "global", C)
    s[P].layout("k", "j")
    s[P].split("k", factor=4)
    s[P].reorder("j", "k_o", "k_i")
    assert "B.global: float32[23, 29] in global" in check(s)


def test_rows_are_aligned() -> None:
    _A, B, C, s = matmul()
    P = s.cache_read(B, "cache", C)
    s[P].storage_align("j", 16, 1)
    assert "rows aligned to 16 + 1" in check(s)
    refused(s, lambda: s[P].storage_align("j", 0), "factor is 0")
    refused(s, lambda: s[P].storage_align("i", 8), "i is no axis of it; its axes are j, k")
    refused(s, lambda: s[P].storage_align("j", 8, -1), "offset=-1")
    refused(s, lambda: s[C].storage_align("i", 8), "it is a result")
    s[P].layout("k", "j")
    refused(s, lambda: s[P].storage_align("j", 8), "it has a layout of its own")


def test_a_dimension_without_a_loop() -> None:
    X, S, V = te.tensor("X", (5,)), te.tensor("S", (1, 5)), te.tensor("V")
    S[0, j] = X[j] * 2
    V[j] = S[0, j] + 1
    s = te.create_schedule(V)
    refused(s, lambda: s[S].layout("j"), "its equation gives a single row along one of its dimensions", "s.cache_read")
    s[S].storage_align("j", 4)
    check(s)
    for step in (lambda s: s[S].compute_inline(), lambda s: s[S].compute_at(s[V], "j"), lambda s: s.cache_write(S, "cache")):  # fmt: skip
        s = te.create_schedule(V)
        step(s)
        check(s)


def test_double_buffers_take_turns_in_a_loop() -> None:
    _X, H, V, s = two_stages()
    refused(s, lambda: s[H].double_buffer(), "it is not computed at a loop")
    s[H].compute_at(s[V], "y")
    s[H].double_buffer()
    assert "double" in check(s)


# What is refused -------------------------------------------------------------------------------------------------------


def test_a_stage_is_not_computed_inside_of_itself() -> None:
    _X, H, V, s = two_stages()
    refused(
        s, lambda: s[V].compute_at(s[H], "y"), "V is a result, of which all elements are stored", "s.cache_write(V, …)"
    )
    refused(
        s, lambda: s[H].compute_at(s[H], "y"), "a stage cannot be computed inside of itself", "a stage that reads H (V)"
    )


def test_stages_computed_inside_of_each_other() -> None:
    a = te.axes("a")
    X, P, H, V = te.tensor("X", (9,)), te.tensor("P"), te.tensor("H"), te.tensor("V")
    P[i] = X[i] * 2
    H[a] = P[a] + 1
    V[i] = H[i] * 2
    s = te.create_schedule(V)
    s[P].compute_at(s[H], a)
    refused(
        s,
        lambda: s[H].compute_at(s[P], i),
        "P is computed at H is computed at P, which leaves it nowhere",
        "Compute one of them at the root (compute_root)",
    )


def test_a_producer_is_not_hidden_from_one_of_its_readers() -> None:
    X, P, H, V = te.tensor("X", (9,)), te.tensor("P"), te.tensor("H"), te.tensor("V")
    P[i] = X[i] * 2
    H[i] = P[i] + 1
    V[i] = H[i] + P[i]
    s = te.create_schedule(V)
    s[H].compute_at(s[V], i)
    s[P].compute_at(s[V], i)
    refused(s, lambda: s[P].compute_at(s[H], i), "V reads P, and is computed at the root, outside of the loop i of H")
    check(s)


def test_a_stage_that_nobody_reads_there() -> None:
    X, P, V, W = te.tensor("X", (9,)), te.tensor("P"), te.tensor("V"), te.tensor("W")
    P[i] = X[i] * 2
    V[i] = P[i] + 1
    W[i] = X[i] + 1
    s = te.create_schedule([V, W])
    refused(s, lambda: s[P].compute_at(s[W], i), "V reads P, and is computed at the root, outside of the loop i of W")


def test_reductions_results_and_recurrences_are_not_inlined() -> None:
    X, S, V = te.tensor("X", (9, 9)), te.tensor("S"), te.tensor("V")
    S[i] = te.sum(X[i, k])
    V[i] = S[i] + 1
    s = te.create_schedule(V)
    refused(s, lambda: s[S].compute_inline(), "it is a reduction (sum)", "s['S'].compute_at(s[reader], axis)")
    refused(s, lambda: s[V].compute_inline(), "it is a result, which is stored")
    X, S, s = recurrence()
    V = te.tensor("V")
    V["t", j] = S["t", j] + 1
    s = te.create_schedule(V)
    refused(s, lambda: s[S].compute_inline(), "S has 2 equations, which take turns")
    P, R = te.tensor("P"), te.tensor("R", (9, 33))
    P["t", j] = X["t", j] * 2
    R[0, j] = P[0, j]
    R["t", j] = R[te.axes("t") - 1, j] + P["t", j]
    s = te.create_schedule(R)
    s[P].compute_inline()
    check(s)


def test_nothing_is_computed_between_lanes() -> None:
    _X, H, V, s = two_stages()
    s[V].vectorize("x")
    refused(s, lambda: s[H].compute_at(s[V], "x"), "the loop x is vectorized", "Compute H at a loop further out")
    s.undo()
    s[H].compute_at(s[V], "x")
    refused(
        s,
        lambda: s[V].vectorize("x"),
        "H is computed inside of x of V, which would be vectorized",
        "Compute H further out first",
    )


def test_an_inlined_stage_has_no_loops_to_compute_at() -> None:
    X, P, H, V = te.tensor("X", (9,)), te.tensor("P"), te.tensor("H"), te.tensor("V")
    P[i] = X[i] * 2
    H[i] = P[i] + 1
    V[i] = H[i] * 2
    s = te.create_schedule(V)
    s[P].compute_at(s[H], i)
    refused(
        s,
        lambda: s[H].compute_inline(),
        "P is computed at a loop of H, which is inlined and has no loops",
        "Compute P at a reader of H",
    )


def test_tails_of_a_symbolic_size() -> None:
    m = te.var("m")
    X, H, V = te.tensor("X", (m,)), te.tensor("H"), te.tensor("V")
    H[i] = X[i] * 2
    V[i] = H[i] + H[i + 1]
    s = te.create_schedule(V)
    o, n = s[V].split(i, factor=8)
    s[H].compute_at(s[V], o)
    s[V].vectorize(n)
    assert buffers(s) == {"H": (9,)}
    kernel = te.build(s)
    for size in (1, 2, 8, 9, 10, 17, 100):
        a = np.arange(size, dtype="float32")
        np.testing.assert_array_equal(kernel(a), a[:-1] * 2 + a[1:] * 2)


def requests(s: te.schedule.Schedule) -> int:
    """How many prefetches a kernel of one nest makes, by counting what its C does."""
    from tedsl.schedule.loops.ir import Call, For, preorder

    def count(stmt: object) -> int:
        inner = sum(map(count, stmt.body_parts))
        if isinstance(stmt, For):
            return inner * stmt.extent.value if inner else 0
        return inner + isinstance(stmt, Call)

    assert any(isinstance(x, For) for x in preorder(te.lower(s).stmt))
    return count(te.lower(s).stmt)


def test_prefetch_asks_for_every_line_that_a_later_step_reads() -> None:
    A, B, C, s = matmul()
    s[C].prefetch(A, i, 2)  # rows of 23: two lines, and the end of the row, whose line may be a third
    assert "__builtin_prefetch(A[minimum(36, i + 2), minimum(22, 16 * A.line1)])" in check(s)
    assert requests(s) == 37 * 3
    assert te.emit(s).count("for (int64_t i = ") == 1, "the clipping of a prefetch is no reason to cut a loop"
    s.undo()
    ko, _ = s[C].split(k, factor=8)
    s[C].prefetch(B, ko, 1)  # 8 of a row, which may lie in two lines
    assert requests(s) == 37 * 29 * 3 * 2
    check(s)
    s[C].prefetch(A, ko, 1)
    check(s)
    Bp = s.cache_read(B, "cache", C)
    s.undo(3)
    Bp = s.cache_read(B, "cache", C)
    s[Bp].compute_at(s[C], ko)
    s[C].prefetch(Bp, j, 1)  # not there yet when j opens: nothing to ask for
    assert "prefetch(B" not in check(s)


def test_what_several_reads_have_in_common_is_asked_for_once() -> None:
    X, H, V, s = two_stages()
    s[H].prefetch(X, y, 1)  # x, x + 1, x + 2: one row of 40
    s[V].prefetch(H, y, 2)  # three rows of 38
    assert requests(s) == 40 * 4 + 38 * 3 * 4
    check(s)


def test_prefetch_is_bounded_and_follows_the_layout() -> None:
    X, Y = te.tensor("X", (5, 9000)), te.tensor("Y")
    Y[i, j] = X[i, j] * 2
    s = te.create_schedule(Y)
    s[Y].prefetch(X, i, 1)
    assert requests(s) == 5 * 256
    check(s)
    X, Y = te.tensor("X", (40, 30), order="F"), te.tensor("Y")
    Y[i, j] = X[i, j] * 2
    s = te.create_schedule(Y)
    s[Y].reorder(j, i)
    s[Y].prefetch(X, j, 1)
    assert requests(s) == 30 * 4
    np.testing.assert_array_equal(te.build(s)(x := np.asfortranarray(np.ones((40, 30), "f4"))), 2 * x)
    _A, B, C, s = matmul(16, 64, 32)
    P = s.cache_read(B, "global", C)
    jo, ji = s[P].split("j", factor=8)
    s[P].layout(jo, "k", ji)
    o, _ = s[C].split(j, factor=8)
    s[C].prefetch(P, o, 1)  # a panel: [32][8]
    assert requests(s) == 16 * 8 * 32 * 2
    check(s)
    m = te.var("m")
    X, Y = te.tensor("X", (m, m)), te.tensor("Y")
    Y[i, j] = X[i, j] * 2
    s = te.create_schedule(Y)
    s[Y].prefetch(X, i, 3)
    kernel = te.build(s)
    for size in (0, 1, 2, 33):
        np.testing.assert_array_equal(kernel(x := np.ones((size, size), "f4")), 2 * x)


def test_prefetch_in_the_steps_of_a_recurrence() -> None:
    X, S, s = recurrence()
    s[S].prefetch(X, "t", 1)
    s[S].prefetch(X, j, 4)
    check(s)
    assert "__builtin_prefetch(X[minimum(8, t + 1), 16 * X.line1])" in str(s)
    m, t = te.axes("m t")
    W, T = te.tensor("W", (33, 33)), te.tensor("T", (9, 33))
    T[0, j] = X[0, j]
    T[t, j] = te.tanh(te.sum(T[t - 1, m] * W[m, j])) + X[t, j]
    s = te.create_schedule(T)
    s[T].prefetch(X, t, 1)
    s["T.sum"].prefetch(W, m, 1)
    check(s)
    assert str(s).count("__builtin_prefetch(X") == 1


def test_refusals_of_prefetch() -> None:
    A, B, C, s = matmul()
    refused(s, lambda: s[C].prefetch(A, i, 0), "the offset is 0; it is a whole number of steps of i, at least 1")
    refused(s, lambda: s[C].prefetch(C, i, 1), "prefetch of C in C: C does not read it; it reads A, B")
    refused(s, lambda: s[C].prefetch(A, "q", 1), "there is no such loop")
    refused(
        s,
        lambda: s[C].prefetch(B, i, 1),
        "every step of i reads the same elements of it, so there is nothing to ask for ahead",
        "The loops that move along it are j, k",
    )
    s[C].prefetch(A, k, 16)
    refused(
        s,
        lambda: s[C].vectorize(j),
        "A would be prefetched in k of C, inside of j of C, which would be vectorized",
        "Split j, prefetch at the outer loop and vectorize the inner one",
    )
    T, idx, E = te.tensor("T", (7, 4)), te.tensor("idx", (5,), "int32"), te.tensor("E")
    E[i, j] = T[idx[i], j]
    s = te.create_schedule(E)
    refused(
        s,
        lambda: s[E].prefetch(T, i, 1),
        "read at a place that depends on data",
        "Prefetch the tensor that holds the index",
    )
    s[E].prefetch(idx, i, 1)
    check(s)


def test_a_condition_waits_for_what_it_reads() -> None:
    r = te.axes("r")
    X, M, S = te.tensor("X", (5, 6)), te.tensor("M", (5,)), te.tensor("S")
    S[i] = te.sum(X[k, r] * X[i, r], where=M[k] <= 0.5)
    s = te.create_schedule(S)
    copy = s.cache_read(M, "cache", S)
    s[S].reorder(r, k)
    s[copy].compute_at(s[S], k)
    check(s)
    s[S].reorder(k, r)
    s[copy].compute_at(s[S], r)
    check(s)
