"""Indices that are read through other indices: the inner one is checked before anything is read with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j = te.axes("i j")
N = 30
Make = Callable[[te.Tensor, te.Tensor, te.Tensor], Any]


def _in_a_sum(T: te.Tensor, K: te.Tensor, index: te.Tensor) -> Any:
    return te.sum(T[K[index[i]]] * T[j], axis=j)


def _of_a_stage(T: te.Tensor, K: te.Tensor, index: te.Tensor) -> Any:
    M = te.tensor("M")
    M[i] = index[i] * 1
    return T[K[M[i]]]


NESTED: dict[str, Make] = {
    "read": lambda T, K, index: T[K[index[i]]],
    "twice": lambda T, K, index: T[K[K[index[i]]]],
    "moved": lambda T, K, index: T[(K[index[i]] + 1) % N],
    "guarded": lambda T, K, index: te.where(K[index[i]] >= 0, T[K[index[i]]], 0.0),
    "in a sum": _in_a_sum,
    "of a stage": _of_a_stage,
}


@pytest.mark.parametrize("schedule", ["plain", "automatic", "parallel"])
@pytest.mark.parametrize("name", NESTED)
def test_the_innermost_index_is_told(name: str, schedule: str) -> None:
    T, K, index = te.tensor("T", (N,)), te.tensor("K", (N,), "int64"), te.tensor("I", (8,), "int64")
    Y = te.tensor("Y")
    Y[i] = NESTED[name](T, K, index)
    s = te.auto_schedule(Y) if schedule == "automatic" else te.create_schedule(Y)
    if schedule == "parallel":
        s[Y].parallel(i)
    f = te.build(s, args=[T, K, index, Y])
    table, inner, at = np.arange(N, dtype="f4"), np.arange(N)[::-1].copy(), np.arange(8)
    np.testing.assert_allclose(f(table, inner, at), te.evaluate(Y, {T: table, K: inner, index: at}), rtol=1e-6)
    for bad in (N, -1, 10**6):
        wrong = at.copy()
        wrong[3] = bad
        with pytest.raises(IndexError, match=f"from [IM] is {bad}, out of range for dimension 0 of K"):
            f(table, inner, wrong)
    inner[2] = -7
    if name in ("read", "twice", "in a sum"):
        with pytest.raises(IndexError, match="from I and K is -7"):
            f(table, inner, np.full(8, 2))


def test_far_indices_do_not_crash() -> None:
    program = """
import numpy as np, tedsl as te
i = te.axes("i")
T, K, I, Y = te.tensor("T", (30,)), te.tensor("K", (30,), "int64"), te.tensor("I", (8,), "int64"), te.tensor("Y")
Y[i] = T[K[K[I[i]]]]
f = te.build(Y, args=[T, K, I, Y])
for bad in (10**6, -(10**6), 10**12, -(10**12)):
    try:
        f(np.ones(30, "f4"), np.arange(30), np.full(8, bad))
    except IndexError as e:
        assert f"from I is {bad}" in str(e), e
    else:
        raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
