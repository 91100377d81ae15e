"""The functions and types of the reference against NumPy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from helpers import compare, evaluates

import tedsl as te
from tedsl.backends.reference import functions
from tedsl.lang.functions import FUNCTIONS

i, j = te.axes("i j")


def test_every_function_has_a_meaning():
    assert set(functions.FUNCTIONS) == set(FUNCTIONS)


@pytest.mark.parametrize("name", [f.name for f in FUNCTIONS.values() if f.kind == "floating" and f.arity == 1])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32"])
def test_floating_functions(name, dtype, rng):
    a = (rng.integers(1, 8, 20)).astype(dtype)
    A = te.tensor("A", (20,), dtype)
    T = te.tensor("T")
    T[i] = getattr(te, name, None)(A[i]) if hasattr(te, name) else te.lang.operators.elementwise(name, A[i])
    by_hand = {"rsqrt": lambda v: 1 / np.sqrt(v), "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "erf": None}
    got = te.evaluate(T, {A: a})
    if name == "erf":
        assert got[0] > 0.84
        return
    with np.errstate(all="ignore"):
        want = by_hand.get(name, getattr(np, name, None))(a.astype(got.dtype))
    compare(got, want.astype(got.dtype))
    assert T.dtype == np.exp(np.zeros(1, dtype)).dtype.name


def test_erf_and_sigmoid_at_the_ends():
    A = te.tensor("A", (5,), "float64")
    a = np.array([-np.inf, -800.0, 0.0, 800.0, np.nan])
    for function, want in [(te.erf, [-1, -1, 0, 1, np.nan]), (te.sigmoid, [0, 0, 0.5, 1, np.nan])]:
        T = te.tensor("T")
        T[i] = function(A[i])
        evaluates(T, np.array(want), {A: a})


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_whole_numbers_as_in_numpy(dtype, rng):
    info = np.iinfo(dtype)
    a = rng.integers(info.min, info.max, 200, dtype=dtype, endpoint=True)
    b = rng.integers(max(info.min, -5), 6, 200).astype(dtype)
    a[:4], b[:4] = [info.min, info.min, info.max, 0], np.array([-1, 0, 0, 0]).astype(dtype)
    A, B = te.tensor("A", (200,), dtype), te.tensor("B", (200,), dtype)
    operations = [lambda p, q: p + q, lambda p, q: p - q, lambda p, q: p * q, lambda p, q: p // q, lambda p, q: p % q, lambda p, q: p & q,
                  lambda p, q: p | q, lambda p, q: p ^ q, lambda p, q: p << (q & 7), lambda p, q: p >> (q & 7), lambda p, q: p << q,
                  lambda p, q: p < q, lambda p, q: p == q, lambda p, q: -p, lambda p, q: ~p, lambda p, q: abs(p), lambda p, q: p**2]  # fmt: skip
    for operation in operations:
        T = te.tensor("T")
        T[i] = operation(A[i], B[i])
        with np.errstate(all="ignore"):
            evaluates(T, operation(a, b), {A: a, B: b})


def test_whole_powers_with_negative_exponents():
    A, B = te.tensor("A", (8,), "int32"), te.tensor("B", (8,), "int32")
    T = te.tensor("T")
    T[i] = A[i] ** B[i]
    a, b = np.array([2, 1, -1, -1, 0, 3, -2, 0], "int32"), np.array([-1, -5, -2, -3, -1, 4, 3, 0], "int32")
    evaluates(T, np.array([0, 1, 1, -1, 0, 81, -8, 1], "int32"), {A: a, B: b})


@pytest.mark.parametrize("source", ["bool", "int8", "uint8", "int32", "uint64", "float16", "float32", "float64"])
@pytest.mark.parametrize("target", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64"])
def test_casts(source, target):
    a = np.array([0, 1, 2, 100, 127]).astype(source)
    A = te.tensor("A", (5,), source)
    T = te.tensor("T")
    T[i] = te.cast(A[i], target)
    evaluates(T, a.astype(target), {A: a})


def test_promotion_follows_numpy():
    for p, q in [
        ("int8", "uint8"),
        ("int64", "uint64"),
        ("float32", "int32"),
        ("float16", "int8"),
        ("bool", "int16"),
        ("float32", "float64"),
    ]:
        A, B = te.tensor("A", (3,), p), te.tensor("B", (3,), q)
        T = te.tensor("T")
        T[i] = A[i] + B[i]
        a, b = np.array([1, 0, 1]).astype(p), np.array([1, 1, 0]).astype(q)
        evaluates(T, a + b, {A: a, B: b})


def test_floats_keep_nan_and_infinities(rng):
    a = np.array([[1, np.nan, 3], [np.inf, 2, -np.inf], [-0.0, 0.0, 5]], "float32")
    A = te.tensor("A", (3, 3))
    for fn, np_fn in [
        (te.sum, np.sum),
        (te.prod, np.prod),
        (te.max, np.max),
        (te.min, np.min),
        (te.argmax, np.argmax),
        (te.argmin, np.argmin),
    ]:
        T = te.tensor("T")
        T[i] = fn(A[i, j])
        with np.errstate(all="ignore"):
            want = np_fn(a, axis=1)
        np.testing.assert_array_equal(te.evaluate(T, {A: a}), want)


def test_nothing_warns():
    A = te.tensor("A", (3,))
    T = te.tensor("T")
    T[i] = te.log(A[i]) / A[i] + te.exp(1000 * A[i]) + te.cast(te.cast(A[i], "int32") // 0, "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        te.evaluate(T, {A: np.array([-1, 0, 1], "float32")})
