"""What is one workload, and schedules that are carried over to another program of the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

import tedsl as te
from tedsl.tune import best_schedule
from tedsl.tune.machine import identity
from tedsl.tune.rows import Trial
from tedsl.tune.store import Store
from tedsl.tune.workload import key_of, places_of, schedule_from, sizes_of


def matmul(n=8, names="A B C i j k", dtype="float32"):
    a, b, c, i, j, k = names.split()
    A, B, C = te.tensor(a, (n, n), dtype), te.tensor(b, (n, n), dtype), te.tensor(c)
    i, j, k = te.axes([i, j, k])
    C[i, j] = te.sum(A[i, k] * B[j, k])
    return A, B, C


def key(*tensors):
    return key_of(tensors)


def test_names_do_not_matter():
    assert key(matmul()[2]) == key(matmul(names="X Y Z p q r")[2]) == key(matmul(names="B A k j i C")[2])
    one = te.define("S[i,j] = exp(X[i,j]) / sum(exp(X[i,k]))", X=(4, 5))
    two = te.define("T[a,b] = exp(W[a,b]) / sum(exp(W[a,c]))", W=(4, 5))
    assert key(one) == key(two)
    n, m = te.var("n"), te.var("m")
    assert key(matmul(n)[2]) == key(matmul(m)[2]) != key(matmul(te.var("n", multiple_of=4))[2])
    p, q = te.var("p"), te.var("q")
    one, two = (te.define("C[i,j] = A[i] + B[j]", A=(a,), B=(b,)) for a, b in [(p, q), (q, p)])
    assert key(one) == key(two) and sizes_of([one]) == ["p", "q"] and sizes_of([two]) == ["q", "p"]


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


def test_the_schedule_of_the_nearest_sizes_is_taken(tmp_path):
    def program(n, m):
        X, Y = te.tensor("X", (te.var(n), te.var(m))), te.tensor("Y")
        i, j = te.axes("i j")
        Y[i, j] = X[i, j] * 2
        return Y

    def trial(factor, seconds, **sizes):
        Y = program("n", "m")
        s = te.create_schedule(Y)
        s[Y].split("j", factor=factor)
        return Trial(
            {"f": factor},
            seconds,
            sizes=sizes,
            workload=key(Y),
            steps=places_of(s),
            machine=identity()[0],
            finished=seconds,
        )

    store = Store(tmp_path / "t.db", "m:f", "[]")
    for row in (
        trial(4, 1e-3, n=100, m=10), trial(5, 2e-3, n=100, m=10), trial(6, 3.0, n=100, m=4000), trial(7, 1.0, n=1000, m=1000),
    ):  # fmt: skip
        store.add(row, {})
    store.close()

    def chosen(**sizes):
        found = str(best_schedule(program("a", "b"), tmp_path / "t.db", sizes=sizes).history)
        return int(found.partition("factor=")[2].partition(")")[0])

    assert chosen() == 7 and chosen(a=100, b=10) == 4 and chosen(a=90, b=3000) == 6 and chosen(a=900) == 7
    assert chosen(b=11) == 4 and "split" in te.build(program("a", "b"), tuned=tmp_path / "t.db", a=120, b=8).source


def test_steps_that_do_not_fit_are_refused():
    _, _, C = matmul()
    with pytest.raises(te.ScheduleError, match="does not fit this program"):
        schedule_from((C,), False, [{"stage": 7, "primitive": "split", "args": [0], "kwargs": {"factor": 2}}])


def test_stored_schedules_run_no_code_of_their_own(tmp_path):
    n = te.axes("n")
    a, b, c = te.tensor("a", (8,)), te.tensor("b", (8,)), te.tensor("c")
    c[()] = te.sum(a[n] * b[n])
    code = "for (int n = 0; n < 8; n++) *({c}) += ({a})[n * {a.0}] * ({b})[n * {b.0}];"
    _, _, C = matmul(16)
    s = te.create_schedule(C)
    _, inner = s[C].split("k", factor=8)
    s[C].tensorize(inner, te.intrinsic("dot", c, code))
    own = json.dumps(places_of(s))
    store = Store(tmp_path / "t.db", "m:f", "[]")
    for seconds, steps in [(1e-3, own.replace("+=", "-=")), (2e-3, own)]:
        made = {"workload": key(C), "steps": json.loads(steps), "machine": identity()[0], "finished": seconds}
        store.add(Trial({}, seconds, sizes={}, **made), {})
    store.close()
    with pytest.warns(
        te.HistoryWarning, match=r"\[W004\] a stored schedule of C is left out: it calls the intrinsic dot"
    ):
        found = best_schedule(C, tmp_path / "t.db")
    assert "+=" in te.emit(found) and "-=" not in te.emit(found)
