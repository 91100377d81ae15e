"""What a definition means: what reductions run over, which type the result has, in which order steps run, and what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, k, l, t, r = te.axes("i j k l t r")


def define(left: Any, right: Any, shape: Any = None, dtype: Any = None) -> te.Tensor:
    T = te.tensor("T", shape, dtype)
    T[left] = right
    return T


@pytest.fixture
def A() -> te.Tensor:
    return te.tensor("A", (4, 6))


# What reductions run over


def test_a_reduction_runs_over_what_is_not_on_the_left(A: te.Tensor) -> None:
    assert str(define(i, te.sum(A[i, k]))) == "T[i] = sum(A[i, k], axis=k)"
    assert str(define((), te.sum(A[i, k]))) == "T[] = sum(A[i, k], axis=(i, k))"
    assert str(define(k, te.sum(A[i, k]))) == "T[k] = sum(A[i, k], axis=i)"


def test_nested_reductions_share_the_axes_out(A: te.Tensor) -> None:
    m = te.tensor("m", (4,))
    T = define((), te.sum(m[i] + te.log(te.sum(te.exp(A[i, k])))))
    assert str(T) == "T[] = sum(m[i] + log(sum(exp(A[i, k]), axis=k)), axis=i)"
    T = define((i, j), te.exp(A[i, j]) / te.sum(te.exp(A[i, k])))
    assert str(T) == "T[i, j] = exp(A[i, j]) / sum(exp(A[i, k]), axis=k)"


def test_siblings_may_use_a_name_again(A: te.Tensor) -> None:
    B = te.tensor("B", (9,))
    T = define((), te.sum(A[i, k]) + te.sum(B[k]))
    a, b = np.ones((4, 6), "float32"), np.ones(9, "float32")
    assert te.evaluate(T, {A: a, B: b}) == 33
    T = define(i, te.sum(te.max(A[i, k], axis=k) + A[i, j], axis=j) + te.sum(A[i, k]))
    assert te.evaluate(T, {A: a}).tolist() == [18] * 4


def test_a_bound_name_in_use_outside_is_printed_apart(A: te.Tensor) -> None:
    T = define(i, te.sum(A[i, k] * te.sum(A[i, l], axis=l), axis=k))
    assert str(T) == "T[i] = sum(A[i, k] * sum(A[i, l], axis=l), axis=k)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda A: define((i, j), A[i, k]),
            "the axis k is on the right side of T[i, j] but neither on the left nor in a",
        ),
        (lambda A: define(i, te.sum(A[i, 0])), "has no axis to run over (its axes: i; on the left: i)"),
        (lambda A: define((), te.sum(te.sum(A[i, k]) * te.sum(A[i, k] * 2))), "Say which: sum(…, axis="),
        (lambda A: define(i, te.sum(A[i, k], axis=i)), "runs over i, which is also on the left side"),
        (lambda A: define((i, j), te.sum(A[i, k] * A[k, j])), "4"),
        (lambda A: define(i, A[i, i + 10]), "i"),
        (lambda A: define((i, i), A[i, i]), "names the axis i twice"),
        (lambda A: define(i + 1, A[i, 0]), "it holds distinct axes or whole numbers"),
        (lambda A: define(0, A[0, 0]), "gives single elements, so T needs a shape"),
        (lambda A: define((i, j), A[i, j], shape=(4,)), "T[i, j] has 2 indices, but T was given 1 dimension:"),
        (lambda A: define(9, A[0, 0], shape=(4,)), "the index 9 is outside of T, whose extent there is 4"),
        (lambda A: define(i, A[i + 1, 0], shape=(4,)), "out of bounds"),
        (lambda A: define(i, A), "the right side of T is the tensor A of 2 dimensions; index it: A[i, j]"),
        (lambda A: define(i, "text"), "the right side of T: 'text' (str) is neither a number nor an expression"),
        (lambda A: define(i, A[i]), "A[i] has 1 index, but A has 2 dimensions, of extents 4 x 6"),
        (lambda A: define(i, A[i, 0.5]), "an index is a whole number"),
        (lambda A: define(i, i + 0.5), "the extent of i is open"),
        (lambda A: define(i, A[i, 0] and 1), "instead of `p and q`"),
        (lambda A: define(i, 1 if A[i, 0] > 0 else 0), "te.where(cond, a, b)"),
        (lambda A: define(i, te.max(te.tensor("E", (3, 0))[i, j])), "max over the axis j of extent 0"),
        (
            lambda A: define(i, A[i, 0], dtype="int32"),
            "T is int32, but `A[i, 0]` is float32: nothing is narrowed in silence",
        ),
        (lambda A: define(i, 300, shape=(2,), dtype="int8"), "the number 300 does not fit int8"),
        (lambda A: define(i, te.sum(A[i, j], where=A[i, j])), "where= of sum is of type float32, not bool"),
        (lambda A: define(i, te.sum(A[i, j], axis=3)), "axis=3: a reduction over an expression runs over axes"),
        (lambda A: define(i, te.where(A[i, 0], 1, 0)), "the condition of where is of type float32, not bool"),
        (lambda A: define(i, A[i, 0] & 1), "bitwise_and works on integers and bool"),
        (lambda A: define(i, -(A[i, 0] > 0)), "NumPy has no negative of bool"),
    ],
)
def test_refusals(make: Callable[[te.Tensor], Any], words: str, A: te.Tensor) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        make(A)
    assert words in str(caught.value) and "test_definition.py" in str(caught.value)


def test_a_refused_equation_leaves_no_trace(A: te.Tensor) -> None:
    T = te.tensor("T")
    with pytest.raises(te.DefinitionError):
        T[i, j] = A[i, k]
    T[i] = te.sum(A[i, k])
    assert T.shape == (4,)


# Types


@pytest.mark.parametrize(
    ("dtypes", "make", "want"),
    [
        (["float32"], lambda a: a + 1, "float32"),
        (["float32"], lambda a: a + 1.5, "float32"),
        (["int32"], lambda a: a + 1.5, "float64"),
        (["int32"], lambda a: a / 2, "float64"),
        (["int8"], lambda a: a * 2, "int8"),
        (["int8", "uint8"], lambda a, b: a + b, "int16"),
        (["int64", "float32"], lambda a, b: a + b, "float64"),
        (["float32"], lambda a: a * i, "float32"),
        (["float32"], lambda a: a + np.float64(1), "float64"),
        (["int16"], lambda a: te.exp(a), "float32"),
        (["bool"], lambda a: a + 1, "int64"),
        (["float32"], lambda a: a > 0, "bool"),
        (["float32"], lambda a: te.where(a > 0, a, 0), "float32"),
        ([], lambda: i * 2, "int64"),
        ([], lambda: i / 2, "float64"),
        ([], lambda: 1.0, "float64"),
        ([], lambda: True, "bool"),
    ],
)
def test_types_are_numpys(dtypes: list[str], make: Callable[..., Any], want: str) -> None:
    tensors = [te.tensor(f"X{n}", (3,), dtype) for n, dtype in enumerate(dtypes)]
    T = define(i, make(*(x[i] for x in tensors)), shape=(3,))
    assert T.dtype == want
    assert te.evaluate(T, {x: np.ones(3, x.dtype) for x in tensors}).dtype == np.dtype(want)


@pytest.mark.parametrize(
    ("dtype", "reduction", "want"),
    [
        ("int8", te.sum, "int64"),
        ("uint16", te.prod, "uint64"),
        ("bool", te.sum, "int64"),
        ("float32", te.sum, "float32"),
        ("int8", te.max, "int8"),
        ("int8", te.argmax, "int64"),
        ("float32", te.any, "bool"),
    ],
)
def test_types_of_reductions(dtype: str, reduction: Callable[..., Any], want: str) -> None:
    X = te.tensor("X", (3, 4), dtype)
    assert define(i, reduction(X[i, j])).dtype == want


def test_an_accumulator_may_be_wider(A: te.Tensor) -> None:
    assert define(i, te.sum(A[i, j], dtype="float64")).dtype == "float64"
    assert define(i, te.cast(te.sum(A[i, j], dtype="float64"), "float32")).dtype == "float32"


# Recurrences


def test_steps_cover_what_earlier_equations_leave() -> None:
    F = te.tensor("F", (10,), dtype="int64")
    F[0] = 1
    F[1] = 1
    F[t] = F[t - 1] + F[t - 2]
    assert str(F) == "F[0] = 1; F[1] = 1; F[t] = F[t - 1] + F[t - 2]"
    assert te.evaluate(F, {}).tolist() == [1, 1, 2, 3, 5, 8, 13, 21, 34, 55]


def test_steps_in_two_dimensions() -> None:
    P = te.tensor("P", (5, 5), dtype="int64")
    P[0, j] = 1
    P[i, 0] = 1
    P[i, j] = P[i - 1, j] + P[i, j - 1]
    assert te.evaluate(P, {})[4].tolist() == [1, 5, 15, 35, 70]


def test_reductions_inside_steps() -> None:
    C = te.tensor("C", (6,), dtype="int64")  # Catalan numbers: a sum over all earlier steps
    C[0] = 1
    C[t] = te.sum(
        te.where(r < t, C[te.minimum(r, t - 1)] * C[te.maximum(t - 1 - r, 0)], 0), axis=te.reduce_axis(6, "r")
    )
    assert te.evaluate(C, {}).tolist() == [1, 1, 2, 5, 14, 42]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda S: S.__setitem__(t, S[t]), "`S[t]` in the equation of S[t] is not an earlier step of S"),
        (lambda S: S.__setitem__(t, te.where(t < 6, S[te.minimum(t + 1, 6)], 0)), "is not an earlier step of S"),
        (lambda S: S.__setitem__(t, S[t - 1]), "out of bounds"),
        (lambda S: (S.__setitem__(t, 0), S.__setitem__(t, 1)), "S is defined already"),
        (lambda S: (S.__setitem__(0, 0), S.__setitem__(0, 1)), "S is defined already"),
    ],
)
def test_refusals_of_steps(make: Callable[[te.Tensor], Any], words: str) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        make(te.tensor("S", (7,)))
    assert words in str(caught.value) and "test_definition.py" in str(caught.value)


def test_a_gap_is_refused_when_the_tensor_is_used() -> None:
    S = te.tensor("S", (7,))
    S[0] = 1.0
    with pytest.raises(te.DefinitionError, match="S"):
        te.evaluate(S, {})


# Expressions and tensors as values


def test_expressions_are_interned_and_immutable(A: te.Tensor) -> None:
    e = A[i, j] * 2 + te.exp(A[j, i])
    assert e is A[i, j] * 2 + te.exp(A[j, i])
    assert copy.copy(e) is e and copy.deepcopy(e) is e
    assert {e: 1}[A[i, j] * 2 + te.exp(A[j, i])] == 1
    assert i is te.axes("i") and te.var("n") is te.var("n")
    assert A[i, j] * 1.0 is not A[i, j] * 1
    assert pickle.loads(pickle.dumps(i * 2 + te.var("n"))) is i * 2 + te.var("n")


def test_sequences_of_axes_and_shapes_compare(A: te.Tensor) -> None:
    n = te.var("n")
    X = te.tensor("X", (n, 5))
    assert X.shape == (n, 5) and X.shape != (n, 6) and (i, j) == te.axes("i j") and (i, j) != (j, i)
    assert define((j, i), A[i, j]).axis == (j, i)


def test_indices_from_the_end_and_names_as_indices(A: te.Tensor) -> None:
    assert str(A[-1, "j"]) == "A[3, j]"
    assert str(define(("i",), A["i", -2])) == "T[i] = A[i, 4]"


def test_an_expression_has_no_value_yet(A: te.Tensor) -> None:
    for use in (
        lambda: int(A[i, j]),
        lambda: float(A[i, j]),
        lambda: list(A[i, j]),
        lambda: range(A[i, j]),
        lambda: bool(A > 0),
    ):
        with pytest.raises(te.DefinitionError, match=r"until the kernel runs|cannot be iterated"):
            use()


def test_one_name_may_serve_many_tensors() -> None:
    A1, A2 = te.tensor("A", (3,)), te.tensor("A", (3,))
    T = define(i, A1[i] - A2[i])
    assert T.inputs == (A1, A2)
    assert te.evaluate(T, {A1: np.full(3, 5, "float32"), A2: np.full(3, 2, "float32")}).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: te.tensor("", (3,)), "'' is no name"),
        (lambda: te.tensor(3), "3 is no name"),
        (lambda: te.tensor("A", "34"), "the shape of A is '34'"),
        (lambda: te.tensor("A", (3, 1.5)), "extent 1 of A is 1.5"),
        (lambda: te.tensor("A", (2**40, 2**40)), "has more elements than any memory holds"),
        (lambda: te.tensor("A", (3,), dtype="complex64"), "complex64"),
        (lambda: te.tensor("A", (3,), order="K"), "order='K'"),
        (lambda: te.tensor("A", (3,), strides=(1, 2)), "strides=(1, 2) needs a shape of as many dimensions"),
        (lambda: te.axes(""), "te.axes needs at least one name"),
        (lambda: te.var("n", min=-1), "min is at least 0, multiple_of at least 1"),
        (lambda: te.reduce_axis((1, 2, 3)), "a range is (low, high)"),
        (lambda: te.tensor("A").shape, "has neither a shape nor a definition"),
        (lambda: te.reducer((), max), "te.reducer(identity, combine)"),
        (lambda: te.reducer("0", max), "the identity '0' is no number"),
    ],
)
def test_refusals_of_tensors_and_axes(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        make()
    assert words in str(caught.value) and "test_definition.py" in str(caught.value)


def test_a_recurrence_of_tensors_of_different_ranks() -> None:
    """An LSTM whose gates have a dimension more than its states."""
    t, j, g, k = te.axes("t j g k")
    Z, U = te.tensor("Z", (5, 3, 4)), te.tensor("U", (3, 3, 4))
    gates, cell, state = te.tensor("gates", (5, 3, 4)), te.tensor("cell", (5, 3)), te.tensor("state", (5, 3))
    gates[0, j, g] = Z[0, j, g]
    gates[t, j, g] = Z[t, j, g] + te.sum(state[t - 1, k] * U[k, j, g], axis=k)
    cell[0, j] = te.sigmoid(gates[0, j, 0]) * te.tanh(gates[0, j, 1])
    cell[t, j] = te.sigmoid(gates[t, j, 2]) * cell[t - 1, j] + te.sigmoid(gates[t, j, 0]) * te.tanh(gates[t, j, 1])
    state[t, j] = te.sigmoid(gates[t, j, 3]) * te.tanh(cell[t, j])
    rng = np.random.default_rng(0)
    z, u = rng.standard_normal((5, 3, 4)).astype("float32"), rng.standard_normal((3, 3, 4)).astype("float32")
    h, c = np.zeros(3, "float32"), np.zeros(3, "float32")
    for step in range(5):
        a = z[step] + np.einsum("k,kjg->jg", h, u)
        s = 1 / (1 + np.exp(-a))
        c = s[:, 2] * c + s[:, 0] * np.tanh(a[:, 1])
        h = s[:, 3] * np.tanh(c)
    last = te.build([state, cell], [Z, U])(z, u)
    np.testing.assert_allclose(last[0][-1], h, rtol=1e-5)
    np.testing.assert_allclose(last[1][-1], c, rtol=1e-5)
    for compiled, judged in zip(last, te.evaluate([state, cell], {Z: z, U: u}), strict=True):
        np.testing.assert_allclose(compiled, judged, rtol=1e-5)


def test_components_that_are_python_numbers_take_the_type_of_those_beside_them() -> None:
    """The types of a reducer are those that its combine leaves as they are: a Reduce of typed values has the types it was typed for."""
    i, k = te.axes("i k")
    moments = te.reducer((0.0, 0.0), lambda p, q: (p[0] + q[0], (p[1] * p[0] + q[1] * q[0]) / (p[0] + q[0] + 1)))
    counted = te.reducer((0, 0.0), lambda p, q: (p[0] + q[0], p[1] * p[0] + q[1] * q[0]))
    for dtype in ("float32", "float64"):
        X, Y = te.tensor("X", (3, 4), dtype), te.tensor("Y")
        Y[i] = moments((1.0, X[i, k]), axis=k)[1]
        assert Y.dtype == dtype
        assert moments.result_dtypes(("float", dtype)) == (dtype, dtype) == moments.result_dtypes((dtype, dtype))
        kinds = counted.result_dtypes(("int", dtype))  # a number of 64 bits times a float32 is a float64
        assert kinds == ("int64", "float64") == counted.result_dtypes(kinds)
    assert moments.result_dtypes(("float", "float")) == ("float64", "float64")
