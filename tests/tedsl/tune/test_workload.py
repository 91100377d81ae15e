"""What is one workload, and schedules that are carried over to another program of the same."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te
from tedsl.tune.workload import key_of, places_of, schedule_from


def matmul(n=8, names="A B C i j k", dtype="float32"):
    a, b, c, i, j, k = names.split()
    A, B, C = te.tensor(a, (n, n), dtype), te.tensor(b, (n, n), dtype), te.tensor(c)
    i, j, k = te.axes([i, j, k])
    C[i, j] = te.sum(A[i, k] * B[j, k])
    return A, B, C


def key(*tensors, **sizes):
    return key_of(tensors, sizes=sizes)


def test_names_do_not_matter():
    assert key(matmul()[2]) == key(matmul(names="X Y Z p q r")[2]) == key(matmul(names="B A k j i C")[2])
    one = te.define("S[i,j] = exp(X[i,j]) / sum(exp(X[i,k]))", X=(4, 5))
    two = te.define("T[a,b] = exp(W[a,b]) / sum(exp(W[a,c]))", W=(4, 5))
    assert key(one) == key(two)
    n, m = te.var("n"), te.var("m")
    assert key(matmul(n)[2]) == key(matmul(m)[2]) != key(matmul(te.var("n", multiple_of=4))[2])
    assert key(matmul(n)[2], n=4) != key(matmul(n)[2], n=8)


def test_what_matters():
    base = matmul()[2]
    A, B = te.tensor("A", (8, 8)), te.tensor("B", (8, 8))
    others = [
        matmul(9)[2],
        matmul(dtype="float64")[2],
        te.define("C[i,j] = sum(A[i,k] * B[k,j])", A=(8, 8), B=(8, 8)),
        te.define("C[i,j] = max(A[i,k] * B[j,k])", A=(8, 8), B=(8, 8)),
        te.define("C[i,j] = sum(A[i,k] * A[j,k])", A=(8, 8)),
        te.define("C[i,j] = sum(A[i,k] + B[j,k])", A=(8, 8), B=(8, 8)),
        te.define("C[j,i] = sum(A[i,k] * B[j,k])", A=(8, 8), B=(8, 8)),
        (A * B).sum(),
    ]
    keys = {key(t) for t in (base, *others)}
    assert len(keys) == 1 + len(others)
    assert key(te.define("C[i] = A[i]", A=te.tensor("A", (4,)))) != key(
        te.define("C[i] = A[i] * 0.5", A=te.tensor("A", (4,)))
    )


def test_reducers_of_ones_own_are_told_by_what_they_do():
    def sums(combine):
        X, Y = te.tensor("X", (3, 4)), te.tensor("Y")
        i, k = te.axes("i k")
        Y[i] = te.reducer(0.0, combine)(X[i, k])
        return key(Y)

    assert sums(lambda p, q: p + q) == sums(lambda x, y: x + y) != sums(lambda p, q: te.maximum(p, q))


def test_recurrences_gathers_and_gradients_have_keys():
    X, S = te.tensor("X", (6, 4)), te.tensor("S", (6, 4))
    t, j = te.axes("t j")
    S[0, j] = X[0, j]
    S[t, j] = 0.5 * S[t - 1, j] + X[t, j]
    T, idx = te.tensor("T", (10, 3)), te.tensor("idx", (5,), "int64")
    E = te.tensor("E")
    i, d = te.axes("i d")
    E[i, d] = T[idx[i], d]
    assert len({key(S), key(E), key(te.grad((E * E).sum(), T))}) == 3


def test_a_schedule_is_carried_over_by_places(rng):
    _, B, C = matmul(40)
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, jo, ii, ji = s[C].tile("i", "j", 4, 8)
    s[C].split(io, factor=2)
    s[C].vectorize(ji)
    s[C].unroll(ii)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder("k", "i", "j")
    s[Cr].vectorize("j")
    s[Cr].unroll("i")
    Bp = s.cache_read(B, "global", Cr)
    panel, lane = s[Bp].split("j", 8)
    s[Bp].layout(panel, "k", lane)

    _, _, R = matmul(40, "P Q R x y z")
    other = schedule_from((R,), False, places_of(s))
    assert str(other.history).count("\n") == str(s.history).count("\n")
    assert 's["R"].tile("x", "y", 4, 8)' in str(other.history) and 's["Q.global"].layout' in str(other.history)
    assert [loop.extent for loop in te.lower(other).loops] == [loop.extent for loop in te.lower(s).loops]
    a, b = (rng.standard_normal((40, 40)).astype("float32") for _ in range(2))
    np.testing.assert_allclose(te.build(other)(a, b), a @ b.T, rtol=1e-4, atol=1e-4)


def test_steps_that_do_not_fit_are_refused():
    _, _, C = matmul()
    with pytest.raises(te.ScheduleError, match="does not fit this program"):
        schedule_from((C,), False, [{"stage": 7, "primitive": "split", "args": [0], "kwargs": {"factor": 2}}])
