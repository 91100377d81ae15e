"""Scatter-add equations: how they print, what they depend on, what the reference and a kernel make of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import tedsl as te
from tedsl.lang.expr import Axis
from tedsl.lang.program import program
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Definition, Tensor

I = te.tensor("I", (6,), "int64")
V = te.tensor("V", (6, 2), "float64")
INDEX = np.array([3, 0, 3, 3, 1, 0])
VALUES = np.arange(12.0).reshape(6, 2)


def scattered(where: bool = False) -> Tensor:
    """T[I[i], j] += V[i, j]."""
    i, j = Axis("i", 0, 6), Axis("j", 0, 2)
    T = Tensor("T", (4, 2), "float64")
    T.definition = Definition((T,), None)
    condition = V[i, j] > 3 if where else None
    T.definition.parts = (ScatterPart((I[i], j), (V[i, j],), None, (i, j), condition),)  # type: ignore[arg-type]
    return T


def test_text() -> None:
    assert str(scattered()) == "T[I[i], j] += V[i, j]  over i, j"
    assert str(scattered(True)) == "T[I[i], j] += V[i, j]  over i, j where V[i, j] > 3"


def test_it_depends_on_its_indices_and_its_condition() -> None:
    T = scattered()
    assert set(T.inputs) == {V, I}
    assert program([T * 2.0]).stages[0].reads == (V, I)
    assert T.axis == T.parts[0].axes and [a.name for a in T.axis] == ["i", "j"]
    assert T.parts[0].expressions == (*T.parts[0].values, *T.parts[0].lhs)


@pytest.mark.parametrize("where", [False, True])
def test_values(where: bool) -> None:
    T = scattered(where)
    want = np.zeros((4, 2))
    np.add.at(want, INDEX, np.where(VALUES > 3, VALUES, 0) if where else VALUES)
    np.testing.assert_array_equal(te.evaluate(T, {I: INDEX, V: VALUES}), want)
    np.testing.assert_array_equal(te.build(T, args=[I, V, T])(INDEX, VALUES), want)
    np.testing.assert_array_equal(te.evaluate(T + 1.0, {I: INDEX, V: VALUES}), want + 1)


def test_out_of_range() -> None:
    T = scattered()
    wrong = INDEX.copy()
    wrong[2] = 4
    for run in (lambda: te.evaluate(T, {I: wrong, V: VALUES}), lambda: te.build(T, args=[I, V, T])(wrong, VALUES)):
        with pytest.raises(IndexError):
            run()


def test_it_travels() -> None:
    T, i, v = pickle.loads(pickle.dumps((scattered(), I, V)))
    np.testing.assert_array_equal(te.evaluate(T, {i: INDEX, v: VALUES})[3], VALUES[[0, 2, 3]].sum(0))
