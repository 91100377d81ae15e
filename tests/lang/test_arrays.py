"""NumPy's operators on tensors give what NumPy gives."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tedsl as te

SHAPES = {"A": (4, 3), "B": (3,), "C": (2, 1, 3), "S": (), "Z": (0, 3), "Q": (4, 6), "T": (2, 3, 4, 5), "O": (1, 3)}


def arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.integers(-4, 5, shape).astype("float32") for name, shape in SHAPES.items()}


def compare(expression: Callable[..., Any], data: dict[str, np.ndarray], symbolic: bool = False) -> None:
    """`expression` of tensors, evaluated, is `expression` of arrays: value, shape and dtype."""
    tensors, values = {}, {}
    names = expression.__code__.co_varnames[: expression.__code__.co_argcount]
    for name in names:
        shape: tuple[Any, ...] = data[name].shape
        if symbolic:
            shape = tuple(te.var(f"{name.lower()}{d}") if n > 1 else n for d, n in enumerate(shape))
        tensors[name] = te.tensor(name, shape, data[name].dtype)
        values[tensors[name]] = data[name]
    want = np.asarray(expression(*(data[n] for n in names)))
    result = expression(*(tensors[n] for n in names))
    assert result.ndim == want.ndim
    if not symbolic:
        assert result.shape == want.shape
    got = te.evaluate(result, values)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def where(c: Any, a: Any, b: Any) -> Any:
    return (te if isinstance(c, te.Tensor) else np).where(c, a, b)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "expression",
    [
        lambda A, B: A + 2 * B,
        lambda A, B: (A + 2 * B).T @ (A - B) - 1,
        lambda A, C: A * C,
        lambda C, A: C - A,
        lambda O, A: O * A,
        lambda A, S: A * S,
        lambda S: S * 2 + 1,
        lambda S, B: S / (B + 10),
        lambda B, S: B // 2 + B % 3,
        lambda Z, B: Z + B,
        lambda Z, O: Z * O,
        lambda A: -(abs(A) ** 2),
        lambda A: 2**A,
        lambda A: A + np.float64(0.5),
        lambda A: A + np.float32(0.5),
        lambda A: A * True,
        lambda A: (A > 0) & ~(A >= 2) | (A < -3),
        lambda A, B: (A > B) ^ (A <= 1),
        lambda A, B: where(A > B, A, B),
        lambda A, B: where(A > 0, B, 0),
        lambda A: A.astype("int32") // 2,
        lambda A: A.astype("float32") + 1,
        lambda A: A.astype("int64") << 1,
    ],
)
def test_elementwise(rng: np.random.Generator, expression: Callable[..., Any]) -> None:
    compare(expression, arrays(rng))


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize(
    "expression",
    [
        lambda A: A.T,
        lambda T: T.T,
        lambda T: T.transpose(1, -1, 0, 2),
        lambda T: T.transpose((3, 2, 0, 1)),
        lambda S: S.T,
        lambda A: A[1:],
        lambda A: A[-2:],
        lambda A: A[:-1, ::-1],
        lambda A: A[::2, 1:2],
        lambda A: A[3:0:-2],
        lambda A: A[::-3],
        lambda A: A[10:],
        lambda A: A[:10],
        lambda A: A[-10:2],
        lambda A: A[2:1],
        lambda A: A[-1:-10:-1],
        lambda A: A[..., None],
        lambda A: A[None, 1:, None],
        lambda B: B[:, None] * B,
        lambda T: T[1:, ..., ::2],
        lambda Z: Z[1:],
        lambda Z: Z[::-1],
        lambda C: C[:, 0],
        lambda O: O[0],
        lambda O: O[-1, :],
        lambda A, B: A @ B,
        lambda B: B @ B,
        lambda B, A: B @ A.T,
        lambda A: A @ A.T,
        lambda C, A: C @ A.T,
        lambda Z: Z.T @ Z,
        lambda Z: Z @ Z.T,
        lambda A: A.sum(),
        lambda A: A.sum(0),
        lambda T: T.sum((1, -1)),
        lambda T: T.max((0, 2), keepdims=True),
        lambda T: T.min(-1, keepdims=True),
        lambda A: A.prod(1),
        lambda A: A.sum(axis=1, dtype="float64"),
        lambda Z: Z.sum(0),
        lambda Z: Z.sum(),
        lambda A: (A > 0).any(1),
        lambda A: (A > 0).all(),
        lambda A: (A > 0).sum(0),
        lambda A: A.argmax(),
        lambda A: A.argmin(0),
        lambda A: A.argmax(-1),
        lambda A: A.argmax(1, keepdims=True),
        lambda S: S.sum(),
        lambda S: S.max(),
        lambda A: A.sum(()),
    ],
)
def test_shapes_products_and_reductions(
    rng: np.random.Generator, expression: Callable[..., Any], symbolic: bool
) -> None:
    data = arrays(rng)
    if not symbolic:
        compare(expression, data)
        return
    try:
        compare(expression, data, symbolic=True)
    except te.DefinitionError as error:
        # Sizes that are equal only here, and reads of what may be empty, are refused.
        assert "symbolic extent" in str(error) or "do not fit" in str(error) or "out of bounds" in str(error)


def test_slices_of_symbolic_size_agree_with_numpy_for_all_sizes() -> None:
    n = te.var("n")
    X = te.tensor("X", (n,), dtype="int64")
    bounds = [None, 0, 1, 3, -1, -3]
    for start, stop, step in itertools.product(bounds, bounds, [1, 2, -1, -2]):
        Y = X[start:stop:step]
        for size in (0, 1, 2, 5):
            x = np.arange(size)
            np.testing.assert_array_equal(te.evaluate(Y, {X: x}), x[start:stop:step], err_msg=f"{start}:{stop}:{step}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((4, 3), (12,)),
        ((12,), (4, 3)),
        ((4, 3), (3, 4)),
        ((4, 6), (-1, 8)),
        ((2, 3, 4, 5), (6, 20)),
        ((6, 20), (2, 3, -1, 5)),
        ((4, 3), (4, 1, 3, 1)),
        ((1, 4, 1, 3), (4, 3)),
        ((), (1, 1)),
        ((1, 1), ()),
        ((0, 3), (3, 0)),
        ((0, 3), (0,)),
        ((0, 3), (-1,)),
        ((2, 3, 4), (4, 3, 2)),
        ((6, 1, 4), (2, 3, 2, 2)),
        ((5, 4), (5, 2, 2)),
        ((5, 4), 20),
    ],
)
def test_reshape(old: tuple[int, ...], new: Any) -> None:
    X = te.tensor("X", old, dtype="int64")
    x = np.arange(int(np.prod(old))).reshape(old)
    Y = X.reshape(new)
    np.testing.assert_array_equal(te.evaluate(Y, {X: x}), x.reshape(new))
    assert Y.shape == x.reshape(new).shape


def test_reshape_keeps_indices_simple_where_it_can() -> None:
    n = te.var("n")
    X = te.tensor("X", (n, 4, 6))
    assert str(X.reshape(n, 24)) == "reshape[i, j] = X[i, j // 6, j % 6]"
    assert str(X.reshape(n, 2, 2, 6)) == "reshape[i, j, k, l] = X[i, j * 2 + k, l]"
    assert X.reshape(-1, 6).shape == (4 * n, 6)


def test_matmul_of_integers_and_bool(rng: np.random.Generator) -> None:
    a, b = rng.integers(-9, 9, (3, 4)).astype("int8"), rng.integers(-9, 9, (4, 2)).astype("int16")
    compare(lambda A, B: A @ B, {"A": a, "B": b})
    compare(lambda A, B: A @ B, {"A": a > 0, "B": b > 0})
    compare(lambda A, B: A @ B, {"A": rng.standard_normal((5, 1, 2, 3)), "B": rng.standard_normal((4, 3, 2))})


def test_masked_sum_and_constant_masks(rng: np.random.Generator) -> None:
    a = rng.standard_normal((4, 3)).astype("float32")
    A = te.tensor("A", (4, 3))
    np.testing.assert_allclose(te.evaluate(te.sum(A, axis=0, where=A > 0), {A: a}), a.sum(0, where=a > 0), rtol=1e-5)
    mask = te.tensor("mask", (3,), dtype="bool")
    chosen = np.array([True, False, True])
    got = te.evaluate(te.sum(A, axis=1, where=mask), {A: a, mask: chosen})
    np.testing.assert_allclose(got, a.sum(1, where=chosen), rtol=1e-5)


def test_joining(rng: np.random.Generator) -> None:
    data = arrays(rng)
    tensors = {n: te.tensor(n, SHAPES[n]) for n in "ABZ"}
    values = {tensors[n]: data[n] for n in "ABZ"}
    A, B, Z = tensors.values()
    a, b, z = (data[n] for n in "ABZ")
    for got, want in [
        (te.concatenate([A, Z, A]), np.concatenate([a, z, a])),
        (te.concatenate([A, A * 2, A], axis=-1), np.concatenate([a, a * 2, a], axis=-1)),
        (te.stack([B, 2 * B, B]), np.stack([b, 2 * b, b])),
        (te.stack([A, A + 1], axis=1), np.stack([a, a + 1], axis=1)),
        (te.stack([B, B], axis=-1), np.stack([b, b], axis=-1)),
        (te.broadcast_to(B, (2, 4, 3)), np.broadcast_to(b, (2, 4, 3))),
    ]:
        np.testing.assert_array_equal(te.evaluate(got, values), want)


def test_a_rank_0_tensor_stays_a_tensor() -> None:
    A = te.tensor("A", (4, 3))
    loss = (A * A).sum()
    for t in (loss, loss * 2, -loss, te.exp(loss), loss.astype("float64"), loss.sum()):
        assert isinstance(t, te.Tensor) and t.shape == ()


def test_names_of_axes_avoid_those_of_sizes() -> None:
    i, j = te.var("i"), te.var("j")
    A = te.tensor("A", (i, j))
    assert str(A + 1) == "add[k, l] = A[k, l] + 1.0"
    assert str(te.tensor("H", (1,) * 20) + 1).startswith("add[i, j, k, l, m")


def test_definitions_point_at_the_users_line() -> None:
    A = te.tensor("A", (4, 3))
    assert "test_arrays.py" in str((A + 1).location)


A, B, N = te.tensor("A", (4, 3)), te.tensor("B", (4,)), te.tensor("N", (te.var("n"), 3))
i = te.axes("i")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: A + B, r"\+: the shapes \(4, 3\) and \(4,\) do not broadcast: extents 3 and 4"),
        (lambda: A + N, r"do not broadcast: extents 4 and n \(a symbolic extent fits only itself\)"),
        (lambda: A @ A, r"@: the shapes \(4, 3\) and \(4, 3\) do not fit: extents 3 and 4"),
        (lambda: A @ 2, r"@ takes tensors of at least one dimension, not 2; scalars are multiplied with \*"),
        (lambda: A + np.ones((4, 3)), r"a NumPy array of shape \(4, 3\).*te.tensor\(name, \(4, 3\), 'float64'\)"),
        (lambda: np.ones((4, 3)) - A, r"-: a NumPy array"),
        (lambda: np.ones((4, 3)) @ A, r"@: a NumPy array"),
        (lambda: A + i, r"`A` is a tensor of 2 dimensions.*index it: A\[i, j\]"),
        (lambda: A[7, :], r"A\[7, :\]: the index 7 is out of bounds for dimension 0 of extent 4"),
        (lambda: A[0, 0, :], r"A\[0, 0, :\] has 3 indices, but A has 2 dimensions"),
        (lambda: A[i, :], r"A\[i, :\] mixes axes with slices"),
        (lambda: A[..., ...], r"has more than one …"),
        (lambda: A[1.5:], r"A\[1.5:\]: a slice goes from whole numbers to whole numbers, not to 1.5"),
        (lambda: A[::0], r"the step 0 of a slice is a whole number other than 0"),
        (lambda: N[0], r"out of bounds"),
        (lambda: N[te.var("n") - 1 :], r"whether the bound `n - 1` is negative depends on sizes"),
        (
            lambda: A.reshape(5, 5),
            r"reshape: <tensor A\(4, 3\) float32> has 12 elements, which does not fit the shape \(5, 5\)",
        ),
        (lambda: A.reshape(-1, -1), r"only one extent can be -1"),
        (lambda: A.reshape(-1, 5), r"has 12 elements"),
        (lambda: A.transpose(0, 0), r"transpose: axes=\(0, 0\) of .* must name each dimension once"),
        (lambda: A.transpose(0, 2), r"transpose: axis=2 is out of range for A, which has 2 dimensions"),
        (lambda: A.sum(2), r"sum: axis=2 is out of range for A"),
        (lambda: A.sum((0, 0)), r"names a dimension of A twice"),
        (lambda: A.argmax((0, 1)), r"argmax of a tensor runs over one dimension or, without axis=, over all"),
        (lambda: te.sum(A, axis=i), r"its dimensions have numbers; .*te.sum\(A\[i, k\], axis=k\)"),
        (lambda: te.sum(A, where=B > 0), r"do not broadcast"),
        (lambda: A.sum(dtype="complex64"), r"complex64.*is not a dtype of tedsl"),
        (lambda: te.where(A, A, 0), r"the condition of where is of type float32, not bool"),
        (lambda: te.broadcast_to(A, (3,)), r"broadcast_to: <tensor A\(4, 3\) float32> does not broadcast to \(3,\)"),
        (lambda: te.concatenate([A, B]), r"concatenate: .* does not fit"),
        (lambda: te.concatenate([]), r"at least one tensor"),
        (lambda: te.stack([A, B]), r"stack: .* has not the shape of"),
        (lambda: te.tensor("E", (0, 3)).max(0), r"max over the axis i of extent 0"),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(te.DefinitionError, match=message) as caught:
        make()
    assert "test_arrays.py" in str(caught.value)
