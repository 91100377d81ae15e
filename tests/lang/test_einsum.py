"""te.einsum against NumPy's, te.contract against the definition as it stands; orders, dtypes, broadcasting, refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tedsl as te

SPECS = [
    ("ij,jk->ik", [(4, 5), (5, 3)]),
    ("ij,jk,kl->il", [(4, 5), (5, 3), (3, 6)]),
    ("ij,jk,kl,lm", [(4, 5), (5, 3), (3, 6), (6, 2)]),
    ("ba", [(4, 5)]),
    ("ij->ji", [(4, 5)]),
    ("ii->i", [(4, 4)]),
    ("ii", [(4, 4)]),
    ("iij->j", [(4, 4, 3)]),
    ("ij->", [(4, 5)]),
    ("ij,kl->ij", [(2, 3), (4, 5)]),
    ("i,i", [(5,), (5,)]),
    ("i,j->ij", [(5,), (3,)]),
    ("i,i,i->i", [(5,), (5,), (5,)]),
    (",i->i", [(), (3,)]),
    ("...j,jk", [(2, 3, 5), (5, 4)]),
    ("i...,i...->...", [(3, 2, 4), (3, 2, 4)]),
    ("...ij,...jk->...ik", [(2, 3, 4, 5), (3, 5, 6)]),
    ("...ij,...jk->...ik", [(2, 1, 4, 5), (3, 5, 6)]),
    ("i...j->j...i", [(2, 3, 4, 5)]),
    ("...->...", [(2, 3)]),
    ("ij , j k -> i k", [(2, 3), (3, 4)]),
    ("Ba,aB->B", [(3, 4), (4, 3)]),
    ("ij,jk->ik", [(2, 0), (0, 3)]),
    ("ij,jk->ik", [(0, 2), (2, 3)]),
    ("ij,ij->i", [(1, 3), (4, 3)]),
    ("abc,cd,db,be->ae", [(2, 3, 4), (4, 5), (5, 3), (3, 6)]),
]


def arrays(shapes: list[tuple[int, ...]], dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.asarray(rng.integers(-3, 4, s)).astype(dtype) for s in shapes]


def declared(values: list[np.ndarray]) -> list[te.Tensor]:
    return [te.tensor(f"X{n}", v.shape, str(v.dtype)) for n, v in enumerate(values)]


@pytest.mark.parametrize(("spec", "shapes"), SPECS, ids=[s for s, _ in SPECS])
def test_it_is_numpys(spec: str, shapes: list[tuple[int, ...]]) -> None:
    values = arrays(shapes)
    Y = te.einsum(spec, *declared(values))
    want = np.einsum(spec, *values)
    assert Y.shape == want.shape
    got = te.build(Y)(*values)  # in the order of the operands, whatever the order of the steps
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint16", "int64", "bool"])
def test_the_dtype_is_numpys(dtype: str) -> None:
    values = arrays([(3, 4), (4, 5), (5, 2)], dtype)
    Y = te.einsum("ij,jk,kl->il", *(tensors := declared(values)))
    want = np.einsum("ij,jk,kl->il", *values)
    got = te.build(Y, args=[*tensors, Y])(*values)
    assert got.dtype == want.dtype == Y.dtype
    np.testing.assert_array_equal(got, want)


def test_half_precision_accumulates_in_single() -> None:
    ones = te.tensor("ones", (4096,), "float16")
    assert te.build(te.einsum("i,i", ones, ones), args=[ones])(np.ones(4096, "float16")) == 4096


@pytest.mark.fuzz
@given(st.data())
def test_random_notations(data: st.DataObject) -> None:
    sizes = {c: data.draw(st.integers(0, 4)) for c in "abcde"}
    count = data.draw(st.integers(1, 4))
    labels = [data.draw(st.lists(st.sampled_from("abcde"), max_size=3)) for _ in range(count)]
    seen = sorted({c for own in labels for c in own})
    output = data.draw(st.lists(st.sampled_from(seen), unique=True, max_size=3)) if seen else []
    spec = f"{','.join(map(''.join, labels))}->{''.join(output)}"
    values = arrays([tuple(sizes[c] for c in own) for own in labels])
    Y = te.einsum(spec, *(tensors := declared(values)))
    got = te.evaluate(Y, dict(zip(tensors, values, strict=True)))
    np.testing.assert_array_equal(got, np.einsum(spec, *values))


def test_symbolic_sizes_and_labels_of_their_names() -> None:
    i, j = te.var("i"), te.var("j")
    A, B = te.tensor("A", (i, j)), te.tensor("B", (j, i))
    f = te.build(te.einsum("ij,jk->ik", A, B))
    for n, m in itertools.product((0, 1, 5), repeat=2):
        a, b = (v.astype("f4") for v in arrays([(n, m), (m, n)]))
        np.testing.assert_array_equal(f(a, b), a @ b)


def test_inputs_keep_their_order_when_sizes_are_fixed() -> None:
    n = te.var("n")
    tensors = [te.tensor(f"X{m}", (n, n), "float64") for m in range(3)]
    values = arrays([(4, 4)] * 3)
    np.testing.assert_array_equal(
        te.build(te.einsum("ij,jk,kl->il", *tensors), n=4)(*values), np.einsum("ij,jk,kl->il", *values)
    )


def test_the_order_is_the_cheapest() -> None:
    sizes = [(100, 2), (2, 90), (90, 3)]
    Y = te.einsum("ij,jk,kl->il", *(te.tensor(f"X{n}", s) for n, s in enumerate(sizes)))
    assert te.cost(te.create_schedule(Y)).operations == 2 * (2 * 90 * 3 + 100 * 2 * 3)


def test_what_one_factor_alone_has_is_summed_first() -> None:
    A, B = te.tensor("A", (50, 60)), te.tensor("B", (60, 70))
    assert te.cost(te.create_schedule(te.einsum("ij,jk->k", A, B))).operations == 50 * 60 + 2 * 60 * 70


def test_gradients() -> None:
    tensors = [te.tensor(f"X{n}", s, "float64") for n, s in enumerate([(3, 4), (4, 5), (5, 2)])]
    assert te.check_grad(te.einsum("ij,jk,kl->il", *tensors), tensors) < 1e-6


def test_contract_reorders_what_is_written() -> None:
    n = 12
    A, B, C = (te.tensor(name, (n, n), "float64") for name in "ABC")
    Y = te.define("Y[i,l] = 2 * sum(A[i,j] * B[j,k] * C[k,l]) + A[i,l]", A=A, B=B, C=C)
    Z = te.contract(Y)
    values = dict(zip((A, B, C), arrays([(n, n)] * 3), strict=True))
    np.testing.assert_array_equal(te.evaluate(Z, values), te.evaluate(Y, values))
    assert te.cost(te.create_schedule(Z)).operations < te.cost(te.create_schedule(Y)).operations / 5
    assert te.contract([Y, A])[1] is A


def test_contract_with_windows_and_shifted_axes() -> None:
    X, W, V = te.tensor("X", (9, 4), "float64"), te.tensor("W", (3,), "float64"), te.tensor("V", (4, 5), "float64")
    r = te.reduce_axis((1, 3), "r")
    y, c, o = te.axes("y c o")
    Y = te.tensor("Y", (6, 5))
    Y[y, o] = te.sum(X[y + r, c] * W[r] * V[c, o], axis=[r, c])
    values = dict(zip((X, W, V), arrays([(9, 4), (3,), (4, 5)]), strict=True))
    Z = te.contract(Y)
    assert Z is not Y
    np.testing.assert_array_equal(te.evaluate(Z, values), te.evaluate(Y, values))
    assert Z.inputs == Y.inputs
    np.testing.assert_array_equal(te.build(Z)(*values.values()), te.evaluate(Y, values))


@pytest.mark.parametrize(
    "text",
    [
        "Y[i,j] = sum(A[i,k] * B[k,j])",
        "Y[i,j] = max(A[i,k] * B[k,j] * A[k,k])",
        "Y[i,j] = sum(A[i,k] * B[k,j] * A[k,k], where=k < i)",
        "Y[i,j] = A[i,j] * B[i,j] * A[j,i]",
    ],
)
def test_contract_leaves_the_rest_as_it_is(text: str) -> None:
    Y = te.define(text, A=(4, 4), B=(4, 4))
    assert te.contract(Y) is Y


REFUSED = [
    ("ij,jk", [(2, 3)], "the notation is of 2 operands, 1 are given"),
    ("ij", [(2, 3, 4)], "operand 1 has 3 dimensions, and 'ij' has 2 labels"),
    ("ij,jk->ik", [(2, 3), (4, 5)], "the label j stands for 3 and for 4 elements, in X0 (2, 3) and X1 (4, 5)"),
    ("i1", [(2, 3)], "'1' is no label"),
    ("ij->k", [(2, 3)], "the result has the label k, which no operand has"),
    ("ij->ii", [(2, 3)], "the result has the label i twice"),
    ("...j->j", [(2, 3)], "its dimensions would be lost"),
]


@pytest.mark.parametrize(("spec", "shapes", "message"), REFUSED)
def test_refusals(spec: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        te.einsum(spec, *declared(arrays(shapes)))
    assert message in str(caught.value) and "test_einsum.py" in str(caught.value)


def test_refusals_of_what_is_no_tensor() -> None:
    with pytest.raises(te.DefinitionError, match="operand 1 is a ndarray, not a tensor"):
        te.einsum("i", np.ones(3))
    with pytest.raises(te.DefinitionError, match=r"te\.einsum takes its notation as text, such as"):
        te.einsum(["i"], te.tensor("A", (3,)))
    with pytest.raises(te.DefinitionError, match=r"te\.contract takes a tensor"):
        te.contract("Y")
