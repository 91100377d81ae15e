"""Every integer function in an index: bounded as NumPy computes it, read in bounds or refused."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import numpy as np
import pytest

import tedsl as te
from tedsl.lang.expr import Apply, Axis, Const, apply
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.integers import constant_bounds, simplify
from tedsl.lang.integers.known import Known
from tedsl.lang.integers.samples import Sample

i, j = te.axes("i j")
COMPUTED = {
    "floor_divide": lambda a, b: a // b if b else 0, "remainder": lambda a, b: a % b if b else 0,
    "left_shift": lambda a, b: a << b, "right_shift": lambda a, b: a >> b, "bitwise_and": lambda a, b: a & b,
    "bitwise_or": lambda a, b: a | b, "bitwise_xor": lambda a, b: a ^ b, "power": lambda a, b: a**b,
    "add": lambda a, b: a + b, "subtract": lambda a, b: a - b, "multiply": lambda a, b: a * b, "minimum": min, "maximum": max,
    "invert": lambda a: ~a, "negative": lambda a: -a, "absolute": abs, "sign": lambda a: (a > 0) - (a < 0),
    **{name: lambda a: a for name in ("floor", "ceil", "trunc", "rint")},
}  # fmt: skip
RANGES = [(-9, 4), (-5, 5), (-4, 4), (0, 1), (0, 5), (1, 7), (3, 2), (6, 9)]


def test_the_table_computes_as_numpy() -> None:
    for name, compute in COMPUTED.items():
        function = FUNCTIONS[name]
        if function.exact is None:  # of whole numbers it changes nothing
            continue
        for operands in product(range(-9, 10), repeat=function.arity):
            if name in ("left_shift", "right_shift", "power") and operands[-1] < 0:
                with pytest.raises(ArithmeticError):
                    function.exact(*operands)
            else:
                assert function.exact(*operands) == compute(*operands), (name, operands)
                if name not in ("floor_divide", "remainder") or operands[1]:  # NumPy warns of a division by zero
                    assert function.exact(*operands) == getattr(np, name)(*map(np.int64, operands)), (name, operands)


@pytest.mark.parametrize("name", COMPUTED)
def test_bounds_hold_every_value_and_those_of_one_axis_are_attained_by_bits(name: str) -> None:
    arity = FUNCTIONS[name].arity
    for spans in product(RANGES, repeat=arity):
        if name in ("left_shift", "right_shift", "power") and spans[-1][0] < 0:
            continue
        axes = [Axis(f"x{n}", lo, extent) for n, (lo, extent) in enumerate(spans)]
        low, high = constant_bounds(apply(name, *axes))
        values = [COMPUTED[name](*p) for p in product(*(range(lo, lo + n) for lo, n in spans))]
        assert (low is None or low <= min(values)) and (high is None or max(values) <= high), (name, spans)
        if name.startswith("bitwise"):
            size = max(abs(v) for lo, n in spans for v in (lo, lo + n)).bit_length()
            assert low is not None and high is not None and -(2**size) <= low and high < 2**size, (name, spans)
        if arity == 1:
            assert (low, high) == (min(values), max(values)) or name == "sign", (name, spans)


@pytest.mark.parametrize("name", [n for n in COMPUTED if FUNCTIONS[n].arity == 2])
@pytest.mark.parametrize("right", [-8, -3, 0, 1, 2, 3, 7, 8])
def test_normal_forms_have_the_value_of_the_original(name: str, right: int) -> None:
    if right < 0 and name in ("left_shift", "right_shift", "power"):
        return
    x = Axis("x", -20, 41)
    simple = simplify(Apply(name, (x, Const(right))))
    for value in range(-20, 21):
        sample = Sample(Known(), False, 0)
        sample.memo[x] = value
        assert sample.value(simple) == COMPUTED[name](value, right), (simple, value)


@pytest.mark.parametrize(
    ("index", "values"),
    [
        (lambda i: i ^ 1, lambda i: i ^ 1), (lambda i: i >> 1, lambda i: i >> 1), (lambda i: i << 1, lambda i: i << 1),
        (lambda i: i**2, lambda i: i**2), (lambda i: i & 6, lambda i: i & 6), (lambda i: 3 + ~i, lambda i: 2 - i),
        (lambda i: i | 4, lambda i: i | 4), (lambda i: te.sign(i), lambda i: min(i, 1)),
    ],
)  # fmt: skip
def test_what_is_in_bounds_is_read(index: Any, values: Any) -> None:
    X, Y = te.tensor("X", (10,), "int64"), te.tensor("Y", (3,), "int64")
    Y[i] = X[index(i)]
    data = np.arange(10) * 7
    want = [data[values(n)] for n in range(3)]
    np.testing.assert_array_equal(te.evaluate(Y, {X: data}), want)
    np.testing.assert_array_equal(te.build(Y)(data), want)


@pytest.mark.parametrize(
    "index", [lambda i: ~i, lambda i: i & 7, lambda i: i | 4, lambda i: i ^ 4, lambda i: i << 1, lambda i: i**2]
)
def test_what_is_out_of_bounds_is_refused(index: Any) -> None:
    X, Y = te.tensor("X", (4,)), te.tensor("Y", (8,))
    with pytest.raises(te.DefinitionError, match="out of bounds"):
        Y[i] = X[index(i)]


def drawn(r: random.Random, depth: int) -> Any:
    """An index expression and, as a function of i and j, its value."""
    if depth == 0 or r.random() < 0.15:
        number = r.randint(-3, 9)
        return r.choice([(i, lambda p, q: p), (i, lambda p, q: p), (j, lambda p, q: q), (number, lambda p, q: number)])
    name = r.choice([n for n in COMPUTED if n not in ("floor", "ceil", "trunc")])
    compute = COMPUTED[name]
    a, f = drawn(r, depth - 1)
    if FUNCTIONS[name].arity == 1:
        return apply(name, a), lambda p, q: compute(f(p, q))
    if name in ("left_shift", "right_shift", "power"):
        number = r.randint(0, 3)
        return apply(name, a, number), lambda p, q: compute(f(p, q), number)
    b, g = drawn(r, depth - 1)
    return apply(name, a, b), lambda p, q: compute(f(p, q), g(p, q))


@pytest.mark.parametrize("seed", range(200))
def test_an_index_is_accepted_only_where_it_is_in_bounds(seed: int) -> None:
    r = random.Random(seed)
    index, value = drawn(r, r.randint(1, 4))
    rows, columns = r.randint(1, 7), r.randint(1, 6)
    values = np.array([[value(p, q) for q in range(columns)] for p in range(rows)])
    length = max(int(values.max()) + r.choice([0, 1, 1, 1, 2]), 1) if values.max() < 2000 else r.randint(1, 20)
    X, Y = te.tensor("X", (length,), "float64"), te.tensor("Y", (rows, columns), "float64")
    within = values.min() >= 0 and values.max() < length
    try:
        Y[i, j] = X[index]
    except te.DefinitionError:
        assert not within
        return
    if not isinstance(index, (int, Const)):  # a number below 0 counts from the end, as in NumPy
        assert within
    data = np.random.default_rng(seed).random(length)
    np.testing.assert_array_equal(te.evaluate(Y, {X: data}), data[values])
    if seed % 10 == 0:
        np.testing.assert_array_equal(te.build(Y)(data), data[values])
