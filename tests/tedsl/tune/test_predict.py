"""The model that ranks candidates: the order of what it predicts, not the seconds."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

import tedsl as te
from tedsl.hardware import INSTRUCTION_SETS
from tedsl.schedule.cost.predict import Model, predict
from tedsl.schedule.passes.vectorize import plain_loops
from tedsl.tune.judge import PAIRS, SKIPS, Ranking, margin, trusted
from tedsl.tune.messages import Prediction
from tedsl.tune.templates import matmul

MACHINE = SimpleNamespace(
    vector_bytes=64, cores=2, l1_bytes=32 << 10, l2_bytes=1 << 20, l3_bytes=32 << 20, peak_gflops={"float32": 200.0, "float64": 100.0},
    bandwidth={"l1": 4e11, "l2": 1e11, "l3": 4e10, "dram": 2e10},
)  # fmt: skip
GOOD = {"v1": 12, "v2": 32, "b1": 4, "b2": 4, "packed": True, "order": "rows of C first", "unroll": 4}


def seconds(n=512, **knobs):
    s, _ = matmul.apply({**GOOD, **knobs}, (n,))
    return Model(MACHINE).seconds(te.lower(s).stmt)


def test_the_best_is_near_the_peak():
    flops = 2 * 512**3
    assert 1.0 < seconds().seconds * 200e9 / flops < 1.4


@pytest.mark.parametrize(
    "worse", [{"v1": 1}, {"v1": 4, "v2": 16}, {"packed": False}, {"v1": 2, "v2": 16, "packed": False}]
)
def test_what_is_worse_is_predicted_so(worse):
    assert seconds(**worse).seconds > 1.2 * seconds().seconds


def test_a_loop_without_vectors_is_predicted_as_a_plain_one():
    """Which loops become vectors is known before anything is printed."""
    i, j = te.axes("i j")
    X = te.tensor("X", (512, 512))
    for dtype, same in (("uint8", True), ("int32", False)):  # no vectors of floats become unsigned integers
        Y = te.tensor("Y")
        Y[j, i] = te.cast(te.exp(X[i, j]), dtype)
        plain = te.create_schedule(Y)
        vectorised = te.create_schedule(Y)
        vectorised[Y].vectorize(i)
        stmts = [plain_loops(te.lower(s).stmt, INSTRUCTION_SETS["avx2"]) for s in (plain, vectorised)]
        first, second = (Model(MACHINE).seconds(stmt).terms for stmt in stmts)
        assert (first == second) == same


def test_registers_that_cannot_do():
    def tiles(v1):
        A, B, C = te.tensor("A", (512, 512)), te.tensor("B", (512, 512)), te.tensor("C")
        i, j, k = te.axes("i j k")
        C[i, j] = te.sum(A[i, k] * B[j, k])
        s = te.create_schedule(C)
        Cr = s.cache_write(C, "register")
        _, jo, ii, ji = s[C].tile(i, j, v1, 64)
        s[C].vectorize(ji)
        s[C].unroll(ii)
        s[Cr].compute_at(s[C], jo)
        s[Cr].reorder(k, i, j)
        s[Cr].vectorize(j)
        s[Cr].unroll(i)
        return Model(MACHINE).seconds(te.lower(s).stmt)

    assert tiles(6).misfit == ""
    assert "needs 128 vector registers of 32" in tiles(32).misfit


@pytest.mark.parametrize(
    "text",
    ["S[i,j] = exp(X[i,j]) / sum(exp(X[i,k]))", "Y[i] = argmax(X[i,k])", "Z[j,i] = X[i,j]", "L[] = sum(X[i,j])", "Y[i] = max(X[2*i,k])"],
)  # fmt: skip
def test_every_operator_has_a_prediction(text):
    s = te.create_schedule(te.define(text, X=(64, 32)))
    found, misfit, why = predict(s, te.lower(s), lambda: MACHINE)
    assert found is not None and 0 < found < 1e-2 and misfit == "" and "not predicted" not in why


def test_memory_bound_work_costs_what_memory_costs():
    X = te.tensor("X", (1 << 24,))
    i = te.axes("i")
    Y = te.tensor("Y")
    Y[i] = X[i] + 1
    found = Model(MACHINE).seconds(te.lower(te.create_schedule(Y)).stmt).seconds
    assert 0.8 < found / (2 * 4 * (1 << 24) / 2e10) < 3


# Ranking ------------------------------------------------------------------------------------------------------------


def test_predictions_are_trusted_while_they_are_right():
    good = [(n + 1.0, 2 * n + 2.0) for n in range(PAIRS)]
    assert trusted(good[:-1]) is None and trusted(good) is True
    assert trusted([(p, 1 / s) for p, s in good]) is False
    assert margin(good) == pytest.approx(1.3) and margin([]) == 2.0


def test_what_is_left_out():
    ranking = Ranking()
    assert not ranking.hopeless(Prediction(5.0, ""), None)
    ranking.accept(Prediction(1.0, ""))
    assert ranking.hopeless(Prediction(5.0, ""), None) and not ranking.hopeless(Prediction(1.5, ""), None)
    assert ranking.hopeless(Prediction(None, "too many registers"), None) and not ranking.hopeless(
        Prediction(None, ""), 1.0
    )
    ranking.skipped = SKIPS
    assert not ranking.hopeless(Prediction(50.0, ""), None)
    assert ranking.expected(Prediction(2.0, "")) is None
    ranking.pairs = [(1.0, 3.0)]
    assert math.isclose(ranking.expected(Prediction(2.0, "")), 6.0)
