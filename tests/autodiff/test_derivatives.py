"""The table of derivatives against SymPy's, symbolically where it knows the function, and the arithmetic that products of them go through."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy

import tedsl as te
from tedsl.autodiff import arithmetic
from tedsl.autodiff.derivatives import TABLE, partials
from tedsl.autodiff.symbolic import to_sympy
from tedsl.lang.expr import Access, Apply, Axis, Const, Expr
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.tensor import Tensor

STEPS = {"sign", "floor", "ceil", "trunc", "rint", "floor_divide"}
SPLIT = {"machine_minimum", "machine_maximum", "remainder"}  # what SymPy does not differentiate, or not by this name


def variables(n: int) -> tuple[tuple[Expr, ...], dict[Expr, sympy.Symbol]]:
    leaves = tuple(Access(Tensor(name, (), "float64"), ()) for name in "xyz"[:n])
    return leaves, {e: sympy.Symbol(e.tensor.name, positive=True) for e in leaves}


def test_every_function_of_real_numbers_has_a_derivative() -> None:
    real = {
        f.name
        for f in FUNCTIONS.values()
        if f.kind in ("arithmetic", "additive", "floating", "divide", "signed", "same") and f.c is None
    }
    assert real == {name for name in TABLE if FUNCTIONS[name].c is None}


@pytest.mark.parametrize("name", sorted(set(TABLE) - STEPS - SPLIT))
def test_against_sympy(name: str) -> None:
    """For positive operands symbolically; the numbers below take in the others."""
    leaves, symbols = variables(FUNCTIONS[name].arity)
    node = Apply(name, leaves)
    function = to_sympy(node, symbols)
    found = partials(node, node)
    assert found is not None
    for leaf, partial in zip(leaves, found):
        want = sympy.diff(function, symbols[leaf])
        got = sympy.Integer(0) if partial is None else to_sympy(partial, symbols)
        for point in ({"x": 0.3, "y": 0.8, "z": 1.7}, {"x": 0.9, "y": 0.25, "z": 0.1}):
            if name == "arccosh":
                point = {k: v + 1 for k, v in point.items()}
            at = {s: point[s.name] for s in symbols.values()}
            assert math.isclose(
                float(got.subs(at).evalf()), float(want.subs(at).doit().evalf()), rel_tol=1e-12, abs_tol=1e-12
            ), (name, got, want)
        if name not in ("minimum", "maximum", "copysign", "hypot", "absolute", "power"):
            assert sympy.simplify(got - want) == 0, (name, got, want)


@pytest.mark.parametrize("name", sorted(set(TABLE)))
def test_against_differences_at_either_sign(name: str) -> None:
    arity = FUNCTIONS[name].arity
    domain = {
        "arcsin": (-0.9, 0.9),
        "arccos": (-0.9, 0.9),
        "arctanh": (-0.9, 0.9),
        "arccosh": (1.1, 3),
        "log1p": (-0.9, 3),
    }
    positive = {"log", "log2", "log10", "sqrt", "rsqrt", "power"}
    low, high = domain.get(name, (0.1, 3) if name in positive else (-3, 3))
    xs = [te.tensor(n, (7,), dtype="float64") for n in "abc"[:arity]]
    i = te.axes("i")
    Y = te.tensor("Y")
    Y[i] = Apply(name, tuple(x[i] for x in xs))
    values = {x: np.random.default_rng(n).uniform(low, high, 7) for n, x in enumerate(xs)}
    te.check_grad(Y, xs, inputs=values, step=1e-6)


def test_nothing_that_does_not_matter_is_written() -> None:
    (x, y), _ = variables(2)
    zero, one, two = (Const(v, "float64") for v in (0.0, 1.0, 2.0))
    a = arithmetic
    assert a.add(x, zero) is x and a.add(zero, x) is x and a.mul(x, one) is x and a.mul(one, x) is x
    assert a.mul(x, zero) is zero and a.subtract(x, zero) is x and a.subtract(x, x) is zero
    assert a.negative(a.negative(x)) is x and a.add(x, a.negative(y)) is a.subtract(x, y)
    assert a.add(x, x) is a.mul(two, x) and a.mul(two, a.mul(two, x)) is a.mul(Const(4.0, "float64"), x)
    assert a.add(a.mul(two, x), x) is a.mul(Const(3.0, "float64"), x)
    assert a.mul(a.negative(x), a.negative(y)) is a.mul(x, y)
    assert a.mul(x, a.divide(one, y)) is a.divide(x, y)
    assert a.divide(a.divide(x, y), x) is a.divide(x, a.mul(y, x))
    assert a.select(Const(True), x, y) is x and a.select(x > y, x, x) is x


def test_cases_are_put_together() -> None:
    (x, y), _ = variables(2)
    zero = Const(0.0, "float64")
    i, j = Axis("i", 0, 5), Axis("j", 0, 5)
    where, total = arithmetic.select, arithmetic.total_of
    first, rest, data = i < 1, i >= 1, x > 0
    assert total([where(data, x, zero), y, where(~data, y, zero)], "float64") is arithmetic.add(where(data, x, y), y)
    assert total([where(rest, x, zero), where(i == 0, y, zero)], "float64") is where(rest, x, y)
    assert total([where(i == 0, y, zero), where(rest, x, zero)], "float64") is where(rest, x, y)
    assert total(
        [where(first, where(data, x, zero), zero), where(first, where(~data, y, zero), zero)], "float64"
    ) is where(first, where(data, x, y), zero)
    apart = total([where(i < 2, x, zero), where(j >= 2, y, zero)], "float64")
    assert apart is Apply("add", (where(i < 2, x, zero), where(j >= 2, y, zero)))
    assert total([x, y, x], "float64") is arithmetic.add(arithmetic.mul(Const(2.0, "float64"), x), y)
    assert total([], "float64") is zero and total([zero, x], "float64") is x


def test_the_arithmetic_is_right() -> None:
    """SymPy agrees with random combinations of the constructors."""
    rng = np.random.default_rng(0)
    leaves, symbols = variables(3)
    for _ in range(60):
        pool: list[tuple[Expr, sympy.Expr]] = [(e, symbols[e]) for e in leaves]
        pool += [(Const(v, "float64"), sympy.nsimplify(v)) for v in (0.0, 1.0, -1.0, 2.0)]
        for _ in range(8):
            (p, sp), (q, sq) = (pool[rng.integers(len(pool))] for _ in range(2))
            kind = rng.integers(5)
            if kind == 0:
                made = arithmetic.add(p, q), sp + sq
            elif kind == 1:
                made = arithmetic.subtract(p, q), sp - sq
            elif kind == 2:
                made = arithmetic.mul(p, q), sp * sq
            elif kind == 3:
                made = arithmetic.negative(p), -sp
            elif sympy.simplify(sq) != 0:
                made = arithmetic.divide(p, q), sp / sq
            else:
                continue
            pool.append(made)
            assert sympy.simplify(to_sympy(made[0], symbols) - made[1]) == 0, made
