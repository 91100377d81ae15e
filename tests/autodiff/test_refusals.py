"""What has no gradient says so: the tensor, the access, and what to do."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, k, t = te.axes("i j k t")


def real(name: str, *shape: Any) -> te.Tensor:
    return te.tensor(name, shape, dtype="float64")


def test_not_a_scalar_and_no_seed() -> None:
    A = real("A", 3, 4)
    B = te.tensor("B")
    B[i, j] = A[i, j] * 2
    with pytest.raises(
        te.GradientError, match=r"te.grad is of a scalar, and B has shape \(3, 4\): sum it \(B.sum\(\)\)"
    ):
        te.grad(B, A)
    with pytest.raises(te.GradientError, match=r"B has shape \(3, 4\); it is no scalar, so te.vjp needs a seed"):
        te.vjp(B, A)
    with pytest.raises(te.GradientError, match=r"the seed s has shape \(4, 3\), but B has shape \(3, 4\)"):
        te.vjp(B, A, real("s", 4, 3))
    with pytest.raises(te.GradientError, match="1 outputs need 1 seeds, got 2"):
        te.vjp(B, A, [B, B])
    with pytest.raises(te.GradientError, match="the seed s is of type int64"):
        te.vjp(B, A, te.tensor("s", (3, 4), "int64"))


def test_not_reachable() -> None:
    A, Z = real("A", 3), real("Z", 3)
    with pytest.raises(te.GradientError, match=r"sum does not depend on Z: it is computed from A. .*two tensors"):
        te.grad(A.sum(), Z)
    with pytest.raises(te.GradientError, match="Z"):
        te.jvp(A * 2.0, {Z: Z})
    with pytest.raises(te.GradientError, match="Z"):
        te.jacobian(A * 2.0, Z)


def test_integers() -> None:
    A, N = real("A", 3, 4), te.tensor("N", (3,), "int32")
    I = te.tensor("I")
    I[i] = te.argmax(A[i, j])
    with pytest.raises(
        te.GradientError, match=r"the output sum is of type int64.*it comes from `I\[i\] = argmax\(A\[i, j\], axis=j\)`"
    ):
        te.grad(I.sum(), A)
    with pytest.raises(te.GradientError, match="N is of type int32"):
        te.grad((A[:, 0] * N).sum(), N)
    F = te.tensor("F")
    F[i] = te.cast(I[i], "float64") * 2
    with pytest.raises(te.GradientError, match=r"depends on it only through `I\[i\] = argmax.*is of type int64"):
        te.grad(F.sum(), A)
    P, Q = real("P", 4), te.tensor("Q")
    Q[i] = P[te.argmax(A[i, j], axis=j)]
    with pytest.raises(te.GradientError) as raised:
        te.grad(Q.sum(), A)
    assert "of type int64" in str(raised.value) and "of type float64" not in str(raised.value)
    C = te.tensor("C")
    C[i] = te.cast(te.cast(A[i, 0], "int64"), "float64")
    with pytest.raises(te.GradientError, match=r"`cast\(A\[i, 0\], int64\)` is of type int64"):
        te.grad(C.sum(), A)
    B = te.tensor("B")
    B[i] = te.any(A[i, j] > 0)
    with pytest.raises(te.GradientError, match="bool"):
        te.vjp(B, A, B)


def test_steps_have_the_gradient_zero() -> None:
    """Where the derivative is 0 almost everywhere, that is what one gets."""
    A = real("A", 3)
    B = te.tensor("B")
    B[i] = te.floor(A[i]) + te.where(A[i] > 0, 1.0, 2.0)
    np.testing.assert_array_equal(te.evaluate(te.grad(B.sum(), A), {A: np.ones(3)}), 0)
    W = te.tensor("W")
    W[i] = te.where(A[i] > 0, 1.0, 2.0)
    np.testing.assert_array_equal(te.evaluate(te.grad(W.sum(), A), {A: np.ones(3)}), 0)
    g = te.grad((te.stop_gradient(A) * 2.0).sum(), A)
    np.testing.assert_array_equal(te.evaluate(g, {A: np.ones(3)}), 0)


def test_functions_without_a_derivative() -> None:
    opaque = te.register_function("opaque_for_refusals", c="x", numpy=lambda x: x)
    A, B = real("A", 3), te.tensor("B")
    B[i] = opaque(A[i]) * 2
    with pytest.raises(
        te.GradientError,
        match=r"the derivative of opaque_for_refusals is not known, so `opaque_for_refusals\(A\[i\]\)` cannot",
    ):
        te.grad(B.sum(), A)
    with pytest.raises(te.GradientError, match="opaque_for_refusals"):
        te.jvp(B, {A: A})
    C = te.tensor("C")
    C[i] = te.stop_gradient(opaque(A[i])) * A[i]
    assert te.show(te.grad(C.sum(), A)).endswith("dA[i] = opaque_for_refusals(A_1[i])")


def test_what_is_no_tensor() -> None:
    A = real("A", 3)
    L = (A * A).sum()
    with pytest.raises(te.GradientError, match=r"wrt is the element `A\[i\]`; gradients are of whole tensors"):
        te.grad(L, A[i])
    with pytest.raises(te.GradientError, match="wrt is 'A'; it is a tensor"):
        te.grad(L, "A")
    with pytest.raises(te.GradientError, match=r"te\.jvp"):
        te.jvp(L, A)
    with pytest.raises(te.GradientError, match="is not a tensor with its tangent"):
        te.jvp(L, {A: 3})
    with pytest.raises(te.GradientError, match=r"the tangent V has shape \(4,\), but A has shape \(3,\)"):
        te.jvp(L, {A: real("V", 4)})


def test_custom_gradients_are_checked() -> None:
    A = real("A", 3)

    def made(backward: Any) -> Any:
        return te.custom_gradient(lambda X: (X * 2.0, backward))(A)

    for backward, message in [
        (lambda g: (g, g), "returned 2 adjoints for its 1 tensor"),
        (lambda g: 3, "returned 3 as the adjoint of A"),
        (lambda g: real("h", 4), r"a tensor of shape \(4,\) as the adjoint of A, which has shape \(3,\)"),
    ]:
        with pytest.raises(te.GradientError, match=message):
            te.grad(made(backward).sum(), A)
    with pytest.raises(te.GradientError, match="has to return a pair"):
        te.custom_gradient(lambda X: X)(A)
    with pytest.raises(te.GradientError, match="its arguments are tensors; got 3"):
        te.custom_gradient(lambda X: X)(3)
    fine = made(lambda g: g)
    with pytest.raises(te.GradientError, match=r"te\.jvp cannot use"):
        te.jvp(fine, {A: A})
    with pytest.raises(te.GradientError, match=r"te\.jacobian needs many"):
        te.jacobian(fine, A)


def test_arguments_that_the_result_does_not_read_get_their_adjoints() -> None:
    A, Z = real("A", 3), real("Z", 3)
    other = te.custom_gradient(lambda X, Y: (X * 2.0, lambda g: (g, g * 5.0)))(A, Z * 3.0)
    dA, dZ = te.grad((other * Z).sum(), [A, Z])
    at = {A: np.ones(3), Z: np.full(3, 2.0)}
    np.testing.assert_array_equal(te.evaluate(dA, at), 2)
    np.testing.assert_array_equal(te.evaluate(dZ, at), 2 + 15 * 2)


def test_check_grad_finds_a_wrong_gradient() -> None:
    A = real("A", 3)
    wrong = te.custom_gradient(lambda X: (X * X, lambda g: g))(A)
    with pytest.raises(te.GradientError, match="is wrong in reverse mode: along a random direction it gives"):
        te.check_grad(wrong, A)
    B = te.tensor("B")
    B[i] = A[i] * 2
    with pytest.raises(te.GradientError, match="order=0"):
        te.check_grad(B, A, order=0)
    with pytest.raises(te.GradientError, match="B is computed"):
        te.check_grad((B * B).sum(), B)


def test_what_a_function_with_its_own_gradient_reads_beside_its_arguments() -> None:
    """Its gradient would be left out."""
    A, W = real("A", 3), real("W", 3)

    @te.custom_gradient
    def scaled(X: te.Tensor) -> Any:
        return X * W, lambda g: g * W

    message = (
        r"scaled has a gradient of its own .* for its arguments A, but it also reads W, whose gradient is asked for"
    )
    with pytest.raises(te.GradientError, match=message):
        te.grad((scaled(A) + W).sum(), [A, W])
    with pytest.raises(te.GradientError, match=message):
        te.grad(scaled(A).sum(), W)
    assert te.show(te.grad((scaled(A) + W).sum(), A)).endswith("* W[i]\ndA[i] = multiply[i]")
    held = te.grad((te.stop_gradient(scaled(A)) * W).sum(), W)  # a constant, whatever it reads
    np.testing.assert_array_equal(te.evaluate(held, {A: np.full(3, 2.0), W: np.full(3, 3.0)}), 6)
    above = scaled(W * A)  # through an argument as well
    with pytest.raises(te.GradientError, match="also reads W"):
        te.grad(above.sum(), [A, W])


def test_nothing_to_differentiate() -> None:
    A = real("A", 3)
    for call in (
        lambda: te.grad([], A),
        lambda: te.vjp({}, A, {}),
        lambda: te.jvp([], {A: A}),
        lambda: te.jacobian([], A),
    ):
        with pytest.raises(te.GradientError, match=r"(output|scalar) is (\[\]|\{\}), with no tensor in it"):
            call()
    assert te.grad(A.sum(), []) == [] and te.grad(A.sum(), {}) == {}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"order": True}, "order=True; it is 1 or more"),
        ({"seed": 1.5}, "seed=1.5; it is a whole number"),
        ({"step": "x"}, "step='x'; it is a number above 0"),
        ({"tolerance": 0}, "tolerance=0; it is a number above 0"),
        ({"inputs": [1]}, r"inputs= is a dict of arrays by tensor, not \[1\]"),
        ({"inputs": {"Z": [1.0]}}, "inputs= gives 'Z', which is not among the inputs A"),
        ({"inputs": {"A": "x"}}, "the values of A cannot be read as an array"),
        ({"inputs": {"A": np.ones(4)}}, r"the values of A have shape \(4,\), not \(3,\)"),
    ],
)
def test_what_check_grad_is_given(arguments: dict[str, Any], message: str) -> None:
    A = real("A", 3)
    with pytest.raises(te.GradientError, match=message):
        te.check_grad(A * A, A, **arguments)


def test_check_grad_takes_sizes_from_the_arrays_and_names() -> None:
    n = te.var("n", min=1)
    A, B = real("A", n), real("B", n)
    assert te.check_grad(A * B, [A, B], inputs={A: np.ones(5)}) < 1e-8
    assert te.check_grad(A * B, [A, B], inputs={"B": np.ones(2)}) < 1e-8


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_check_grad_finds_a_wrong_gradient_of_any_size(scale: float) -> None:
    A = real("A", 5)
    wrong = te.custom_gradient(lambda X: (te.sin(X) * scale, lambda g: g * te.cos(X) * (scale * 1.001)))(A)
    right = te.custom_gradient(lambda X: (te.sin(X) * scale, lambda g: g * te.cos(X) * scale))(A)
    with pytest.raises(te.GradientError, match="is wrong in reverse mode"):
        te.check_grad(wrong, A)
    assert te.check_grad(right, A) < 1e-7


def test_errors_travel() -> None:
    try:
        te.grad(real("A", 3), real("B", 3))
    except te.GradientError as e:
        assert str(pickle.loads(pickle.dumps(e))) == str(e) and "test_refusals.py" in str(e)
