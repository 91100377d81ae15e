"""Functions of the user's: in C, in NumPy, and differentiated."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import tedsl as te

i, j = te.axes("i j")
A64 = np.linspace(-3, 3, 50)


def softsign() -> object:
    return te.register_function(
        "softsign",
        c="x / (1 + fabs(x))",
        numpy=lambda x: x / (1 + abs(x)),
        derivative=lambda x: 1 / (1 + te.abs(x)) ** 2,
    )


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-14), ("float32", 1e-6)])
@pytest.mark.parametrize("vector", [False, True])
def test_in_c_in_the_reference_and_differentiated(dtype: str, tolerance: float, vector: bool) -> None:
    f = softsign()
    A, B = te.tensor("A", (50,), dtype), te.tensor("B")
    B[i] = f(A[i]) * 2  # type: ignore[operator]
    assert B.dtype == dtype
    g = te.grad(B.sum(), A)
    a = A64.astype(dtype)
    for T, want in ((B, 2 * A64 / (1 + abs(A64))), (g, 2 / (1 + abs(A64)) ** 2)):
        s = te.create_schedule(T)
        if vector:
            _, inner = s[T].split(s[T].axis[0], 16)
            s[T].vectorize(inner)
        np.testing.assert_allclose(te.build(s)(a), want, rtol=tolerance)
        np.testing.assert_allclose(te.evaluate(T, {A: a}), want, rtol=tolerance)
    te.check_grad(B, A, order=2)


def test_by_name_in_a_string() -> None:
    softsign()
    B = te.define("B[i] = softsign(A[i])", A=(4,))
    assert te.show(te.vjp(B, B.inputs[0], te.tensor("g", (4,)))) == "dA[i] = g[i] / (1 + absolute(A[i])) ** 2"


def test_sympy_supplies_the_derivative() -> None:
    x, y = sympy.symbols("x y")
    swish = te.register_function("swish", formula=x / (1 + sympy.exp(-x)))
    mixed = te.register_function("mixed", formula=sympy.sin(x * y) + sympy.Max(x, y) ** 2 + sympy.Abs(y), arity=2)
    kinked = te.register_function("kinked", formula=sympy.Piecewise((x**2, x > 0), (2 * x, True)))
    A, B, C = te.tensor("A", (5,), "float64"), te.tensor("B", (5,), "float64"), te.tensor("C")
    C[i] = swish(A[i]) + mixed(A[i], B[i]) * kinked(B[i])
    te.check_grad(C, [A, B], order=2)
    a, b = np.linspace(-2, 2, 5), np.linspace(0.3, 1.7, 5)
    want = a / (1 + np.exp(-a)) + (np.sin(a * b) + np.maximum(a, b) ** 2 + abs(b)) * b**2
    np.testing.assert_allclose(te.build(C)(a, b), want)
    np.testing.assert_allclose(te.evaluate(C, {A: a, B: b}), want)


def test_another_derivative_for_a_known_function() -> None:
    te.register_function("rint", derivative=lambda x: 1.0)
    A, B = te.tensor("A", (3,)), te.tensor("B")
    B[i] = te.rint(A[i])
    assert te.show(te.vjp(B, A, te.tensor("g", (3,)))) == "dA[i] = g[i]"


def test_two_operands() -> None:
    f = te.register_function(
        "halfway", c="x + (y - x) / 2", numpy=lambda x, y: x + (y - x) / 2, derivative=lambda x, y: (0.5, 0.5), arity=2
    )
    A, B = te.tensor("A", (3,), "float64"), te.tensor("B")
    B[i] = f(A[i], 3) ** 2
    te.check_grad(B, A)
    np.testing.assert_allclose(te.build(B)(np.ones(3)), 4)
    assert f(A, 1.0).shape == (3,)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"name": "exp", "c": "x", "numpy": abs}, te.DefinitionError, "exp is one of tedsl's own functions"),
        ({"name": "1x", "c": "x", "numpy": abs}, te.DefinitionError, "a function's name is an identifier"),
        ({"name": ["g"], "c": "x", "numpy": abs}, te.DefinitionError, "a function's name is an identifier"),
        ({"name": "g"}, te.DefinitionError, "needs the function twice"),
        ({"name": "g", "formula": "x**2"}, te.GradientError, "is no SymPy expression"),
        ({"name": "g", "c": "x", "numpy": abs, "arity": 4}, te.DefinitionError, "1, 2 or 3 operands"),
        ({"name": "g", "c": "x", "numpy": abs, "derivative": 3}, te.GradientError, "it is a function of the operands"),
        ({"name": "g", "c": "x", "numpy": abs, "formula": 3}, te.GradientError, "is no SymPy expression"),
        (
            {"name": "g", "formula": sympy.Symbol("x") * sympy.Symbol("w")},
            te.GradientError,
            "has the symbols w beside x",
        ),
    ],
)
def test_refusals(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        te.register_function(**arguments)


def test_refusals_when_differentiated() -> None:
    gamma = te.register_function("gamma_", c="tgamma(x)", numpy=abs, formula=sympy.gamma(sympy.Symbol("x")))
    pair = te.register_function("pair_", c="x", numpy=abs, derivative=lambda x: (x, x))
    A, B, C = te.tensor("A", (3,)), te.tensor("B"), te.tensor("C")
    for derivative, shown in [
        (lambda x: "2 * x", "returned '2 \\* x'"),
        (lambda x: A[i], r"returned `A\[i\]`"),
        (lambda x: i, "returned `i`"),
    ]:
        D = te.tensor("D")
        D[i] = te.register_function("foreign_", c="x", numpy=abs, derivative=derivative)(A[i] * 2)
        with pytest.raises(
            te.GradientError, match=f"the derivative of foreign_ {shown}; it is an expression of the operands"
        ):
            te.grad(D.sum(), A)
    B[i], C[i] = gamma(A[i]), pair(A[i])
    with pytest.raises(te.GradientError, match="tedsl has no function"):
        te.grad(B.sum(), A)
    with pytest.raises(te.GradientError, match="returned 2 expressions for 1 operand"):
        te.grad(C.sum(), A)
