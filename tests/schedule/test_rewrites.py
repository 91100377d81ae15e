"""cache_read, cache_write, rfactor: the stages that they make, that results stay right, and what they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from schedule_cases import arrays, check, i, j, k, matmul, refused, two_stages

import tedsl as te


def test_cache_read_makes_a_copy_for_its_readers() -> None:
    _A, B, C, s = matmul()
    Bp = s.cache_read(B, "cache", C)
    assert Bp.name == "B.cache" and Bp.shape == B.shape and s["B.cache"].scope == "cache"
    assert s[Bp].axis == (j, k)
    assert [stage.name for stage in s.stages] == ["B.cache", "C"]
    s[Bp].compute_at(s[C], j)
    text = check(s)
    assert "B.cache: float32[1, 23] in cache" in text and "B.cache[0, k] = B[j, k]" in text


def test_axes_of_a_copy_without_names() -> None:
    X, Y = te.tensor("X", (9, 12)), te.tensor("Y")
    Y[i] = X[i, i + 2] * X[3, 2 * i]
    s = te.create_schedule(Y)
    copy = s.cache_read(X, "cache", Y)
    assert [a.name for a in s[copy].axis] == ["i", "d1"]
    check(s)
    _H, _, _, s = two_stages()
    copy = s.cache_read("H", "cache", "V")
    assert [a.name for a in s[copy].axis] == ["y", "x"]


def test_names_of_stages_stay_unique() -> None:
    _A, B, C, s = matmul()
    first = s.cache_read(B, "cache", C)
    second = s.cache_read(first, "cache", C)
    third = s.cache_read(second, "register", C)
    s[third].compute_at(s[C], k)
    assert (first.name, second.name, third.name) == ("B.cache", "B.cache_1", "B.register")
    check(s)
    A1, A2, P = te.tensor("A", (5,)), te.tensor("A", (5,)), te.tensor("P")
    P[i] = A1[i] - 2 * A2[i]
    s = te.create_schedule(P)
    assert s.cache_read(A2, "cache", P).name == "A_1.cache"
    assert s.cache_read(A1, "cache", P).name == "A.cache"
    check(s)


def test_readers_are_several_or_some() -> None:
    _X, H, V, s = two_stages()
    W = te.tensor("W")
    W["y", "x"] = H["y", "x"] * 2
    s = te.create_schedule([V, W])
    s.cache_read(H, "cache", [V, W])
    check(s)
    s = te.create_schedule([V, W])
    s.cache_read(H, "cache", s[W])
    text = check(s)
    assert "W[y, x] = H.cache[y, x] * 2" in text and "V[y, x] = H[y, x]" in text


def test_a_copy_of_what_is_computed_at_a_loop_is_made_there() -> None:
    _X, H, V, s = two_stages()
    s[H].compute_at(s[V], "y")
    R = s.cache_read(H, "register", V)
    refused(s, lambda: te.lower(s), "H.register is kept in registers")
    s[R].compute_at(s[V], "x")
    s[R].unroll("y")
    check(s)
    s[H].compute_root()
    s[H].compute_inline()
    check(s)


def test_reads_that_depend_on_data_are_copied_whole() -> None:
    T, idx, E = te.tensor("T", (7, 4)), te.tensor("idx", (5,), "int32"), te.tensor("E")
    E[i, j] = T[idx[i], j]
    s = te.create_schedule(E)
    copy = s.cache_read(T, "cache", E)
    s.cache_read(idx, "cache", E)
    s[copy].compute_at(s[E], i)
    assert {b.name: b.shape for b in te.lower(s).buffers}["T.cache"] == (7, 4)
    check(s)
    table, index = np.ones((7, 4), "float32"), np.array([0, 1, 7, 2, 3], "int32")
    with pytest.raises(IndexError, match="7"):
        te.build(s)(table, index)


def test_cache_write_moves_the_reduction() -> None:
    _A, _B, C, s = matmul()
    Cr = s.cache_write(C, "register")
    assert Cr.name == "C.register" and s[Cr].axis == (i, j) and s[Cr].reduce_axis == (k,)
    assert s[C].reduce_axis == () and [a.name for a in s[C].loops] == ["i", "j"]
    _io, jo, ii, ji = s[C].tile(i, j, 4, 16)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder(k, i, j)
    s[Cr].vectorize(j)
    s[Cr].unroll(i)
    s[C].vectorize(ji)
    s[C].unroll(ii)
    assert "C.register: float32[4, 16] in register" in check(s)


def test_cache_write_keeps_what_was_done_to_the_copy() -> None:
    _A, _B, C, s = matmul()
    s[C].tile(i, j, 4, 16)
    Cr = s.cache_write(C, "cache")
    assert [a.name for a in s[C].loops] == ["i_o", "j_o", "i_i", "j_i"]
    s[Cr].compute_at(s[C], "i_i")
    check(s)


def test_cache_write_of_several_tensors() -> None:
    X = te.tensor("X", (12, 9))
    P, Q = te.compute((12, 9), lambda a, b: (X[a, b] + 1, X[a, b] * 2), name="P")
    s = te.create_schedule([P, Q])
    refused(s, lambda: s.cache_write(P, "cache"), "computes", "together. Give all of them")
    copies = s.cache_write([P, Q], "cache")
    assert len(copies) == 2 and len(s.stages) == 2
    s[copies[0]].compute_at(s[P], s[P].axis[0])
    check(s)
    Y, Z = te.tensor("Y"), te.tensor("Z")
    Y[i] = X[i, 0] + 1
    Z[i] = X[i, 1] + 1
    s = te.create_schedule([Y, Z])
    assert [c.name for c in s.cache_write([Z, Y], "cache")] == ["Z.cache", "Y.cache"]
    check(s)


# rfactor -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"nparts": 4}, {"factor": 8}, {"factor": 5}, {"nparts": 100}])
@pytest.mark.parametrize("which", [0, 1])
def test_partial_results_of_splits_that_do_not_divide(how: dict[str, int], which: int) -> None:
    _A, _B, C, s = matmul()
    loops = s[C].split(k, **how)
    P = s.rfactor(C, loops[which])
    assert P.shape == (loops[which].extent, 37, 29) and P.name == "C.rf"
    assert s[C].reduce_axis == (loops[which],)
    s[P].parallel(s[P].axis[0])
    check(s)


@pytest.mark.parametrize("place", [0, 1, 2, -1])
def test_the_new_axis_stands_where_it_is_asked_for(place: int) -> None:
    _A, _B, C, s = matmul()
    P = s.rfactor(C, k, factor_axis=place)
    assert P.shape.index(23) == (place if place >= 0 else 2)
    check(s)


@pytest.mark.parametrize("reducer", ["sum", "max", "min", "prod", "argmax", "argmin", "any", "all"])
def test_every_reducer(reducer: str) -> None:
    X, Y = te.tensor("X", (5, 23), "int32"), te.tensor("Y")
    e = X[i, k] > 2 if reducer in ("any", "all") else X[i, k] % 3
    Y[i] = getattr(te, reducer)(e, axis=k)
    for which, nested in itertools.product([0, 1], [False, True]):
        s = te.create_schedule(Y)
        loop = s[Y].split(k, factor=4)[which]
        P = s.rfactor(Y, loop)
        if nested:
            s[P].compute_at(s[Y], i)
            s[P].reorder(s[P].reduce_axis[0], *list(s[P].axis))
            s[P].vectorize(s[P].axis[0])
        check(s)


def test_reducers_over_tuples_and_conditions() -> None:
    lse = te.reducer(
        (-1e30, 0.0),
        lambda p, q: (
            te.maximum(p[0], q[0]),
            p[1] * te.exp(p[0] - te.maximum(p[0], q[0])) + q[1] * te.exp(q[0] - te.maximum(p[0], q[0])),
        ),
        "lse",
    )
    X, M = te.tensor("X", (6, 25)), te.tensor("M")
    M[i] = lse(X[i, k], te.cast(1.0, "float32"))[0] + 1
    s = te.create_schedule(M)
    stage = s.stages[0]
    o, n = stage.split(k, factor=4)
    s.rfactor(stage, o)
    check(s)
    Y = te.tensor("Y")
    Y[i] = te.sum(X[i, k], where=(k % 3 == 1) & (k <= 3 * i))
    s = te.create_schedule(Y)
    o, n = s[Y].split(k, factor=7)
    s.rfactor(Y, n)
    check(s)


def test_rfactor_twice_and_of_fused_loops() -> None:
    X, L, r, c = te.tensor("X", (13, 17)), te.tensor("L"), *te.axes("r c")
    L[()] = te.sum(X[r, c])
    s = te.create_schedule(L)
    f = s[L].fuse(r, c)
    o, n = s[L].split(f, nparts=3)
    _oo, oi = s[L].split(n, factor=8)
    P = s.rfactor(L, o)
    assert P.shape == (3,)
    Q = s.rfactor(P, oi)
    assert Q.shape == (8, 3) and Q.name == "L.rf_1"
    s[Q].vectorize(s[Q].axis[0])
    check(s)


def test_the_maximum_of_nothing_is_still_an_error() -> None:
    n = te.var("n")
    X, Y = te.tensor("X", (n,)), te.tensor("Y")
    Y[()] = te.max(X[k])
    s = te.create_schedule(Y)
    o, _ = s[Y].split(k, nparts=4)
    s.rfactor(Y, o)
    kernel = te.build(s)
    assert kernel(np.arange(9, dtype="float32")) == 8
    with pytest.raises(te.CallError, match="max of nothing"):
        kernel(np.zeros(0, "float32"))


def test_partial_results_have_the_same_bits_on_any_number_of_threads() -> None:
    X, L = te.tensor("X", (10007,)), te.tensor("L")
    L[()] = te.sum(X[k])
    s = te.create_schedule(L)
    o, _ = s[L].split(k, nparts=16)
    P = s.rfactor(L, o)
    s[P].parallel(s[P].axis[0])
    kernel, (data,) = te.build(s), arrays(L)
    assert len({kernel(data, threads=n).tobytes() for n in (1, 2, 3)}) == 1


# What is refused -------------------------------------------------------------------------------------------------------


def test_refusals_of_cache_read() -> None:
    A, B, C, s = matmul()
    D = te.tensor("D", (3,))
    refused(s, lambda: s.cache_read(D, "cache", C), "D is no tensor of this schedule; its tensors are A, B, C")
    refused(
        s,
        lambda: s.cache_read(te.tensor("B", B.shape), "cache", C),
        "this B, another one than the B that is read, is no tensor of this schedule",
    )
    refused(s, lambda: s.cache_read(B, "nowhere", C), "there is no scope 'nowhere'")
    refused(s, lambda: s.cache_read(B, "cache", []), "it needs at least one reader; B is read by C")
    refused(s, lambda: s.cache_read(C, "cache", C), "C does not read it; C is read by nothing")
    refused(s, lambda: s.cache_read(B, "cache", A), "A is an input and has no loops")


def test_refusals_of_cache_write() -> None:
    A, _B, C, s = matmul()
    refused(
        s,
        lambda: s.cache_write(C, "nowhere"),
        "there is no scope 'nowhere'; one of 'global', 'cache', 'register', 'shared'",
    )
    refused(
        s,
        lambda: s.cache_write(A, "cache"),
        "it is an input, which nothing computes",
        "s.cache_read(A, 'cache', readers)",
    )
    refused(s, lambda: s.cache_write([C, C], "cache"), "give at least one tensor, each once")
    s[C].split(k, factor=4)
    refused(
        s,
        lambda: s.cache_write(C, "cache"),
        "the loop k, which is reduced over, was scheduled already",
        "Call cache_write first",
    )
    s.undo()
    s[C].unroll(k)
    refused(s, lambda: s.cache_write(C, "cache"), "the loop k, which is reduced over, was scheduled already")
    s.undo()
    Al = s.cache_read(A, "cache", C)
    s[Al].compute_at(s[C], k)
    refused(s, lambda: s.cache_write(C, "cache"), "A.cache is computed at the loop k, which goes to the new stage")
    s.undo()
    s[Al].compute_at(s[C], i)
    refused(
        s,
        lambda: s.cache_write(C, "register"),
        "C.register reads A.cache, and is computed at the root, outside of the loop i of C",
    )


def test_refusals_of_rfactor() -> None:
    A, _B, C, s = matmul()
    refused(s, lambda: s.rfactor(C, i), "i is not reduced over. Give one of k")
    refused(s, lambda: s.rfactor(C, "q"), "there is no such loop")
    refused(s, lambda: s.rfactor(C, k, 3), "factor_axis is 3", "from 0 to 2")
    Al = s.cache_read(A, "cache", C)
    s[Al].compute_at(s[C], k)
    refused(s, lambda: s.rfactor(C, k), "A.cache is computed at it")
    s.undo()
    Cr = s.cache_write(C, "cache")
    refused(s, lambda: s.rfactor(C, k), "it is no reduction. The reduction that it reads is C.cache")
    s.rfactor(Cr, k)
    _X, H, _V, s = two_stages()
    refused(s, lambda: s.rfactor(H, "y"), "it is no reduction, so there is nothing to take apart")
