"""te.op: traced, built and kept once for each combination of shapes, dtypes and constants."""

from __future__ import annotations

import array
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, k = te.axes("i j k")


def sqdist(X: Any, Y: Any) -> Any:
    """Squared distances."""
    D = te.tensor("D")
    D[i, j] = te.sum((X[i, k] - Y[j, k]) ** 2)
    return D


def scaled(X: Any, by: Any = 2, *, shift: float = 0.0) -> Any:
    return X * by + shift


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, "float32")


def test_it_is_traced_once_per_shape_and_dtype() -> None:
    calls = []

    @te.op
    def rows(X: Any) -> Any:
        calls.append((X.shape, X.dtype))
        return X.sum(1)

    for a in (ones(4, 3), 2 * ones(4, 3), ones(6, 3), np.ones((4, 3)), ones(4, 3)):
        np.testing.assert_array_equal(rows(a), a.sum(1))
    assert calls == [((4, 3), "float32"), ((6, 3), "float32"), ((4, 3), "float64")]
    assert rows.cache_info() == (2, 3, None, 3)
    assert rows.cache_info().hits == 2
    rows.cache_clear()
    assert rows.cache_info() == (0, 0, None, 0)
    rows(ones(4, 3))
    assert len(calls) == 4


def test_it_looks_like_the_function() -> None:
    op = te.op(sqdist)
    assert op.__name__ == "sqdist" and op.__doc__ == "Squared distances." and op.__wrapped__ is sqdist
    assert op.kernel(ones(4, 3), ones(5, 3)).name == "sqdist"
    np.testing.assert_array_equal(op(ones(4, 3), Y=np.zeros((5, 3), "float32")), np.full((4, 5), 3, "float32"))
    np.testing.assert_array_equal(op(Y=ones(5, 3), X=ones(4, 3)), np.zeros((4, 5), "float32"))


def test_other_arguments_are_constants_of_the_trace() -> None:
    op = te.op(scaled)
    x = ones(3)
    for args, kwargs, want in [
        ((2,), {}, 2),
        ((), {}, 2),
        ((3,), {}, 3),
        ((3,), {"shift": 1.0}, 4),
        ((), {"by": 3, "shift": 1.0}, 4),
    ]:
        np.testing.assert_array_equal(op(x, *args, **kwargs), np.full(3, want, "float32"))
    assert op.cache_info()[:2] == (2, 3)
    # what compares equal but means another program is told apart
    for by in (1, 1.0, True, 0.0, -0.0):
        op(x, by)
    assert op.cache_info().misses == 8
    times = te.op(lambda X, by: X * by)
    assert np.signbit(times(x, -0.0)[0]) and not np.signbit(times(x, 0.0)[0])


def test_arrays_without_dimensions_are_arrays() -> None:
    op = te.op(scaled)
    for by in (2.0, 3.0, 4.0):
        assert op(ones(3), np.array(by, "float32")).tolist() == [by] * 3
    assert op.cache_info() == (2, 1, None, 1)


def test_several_results_and_unused_arguments() -> None:
    @te.op
    def both(X: Any, unused: Any, Y: Any) -> Any:
        return X + Y, X.sum()

    total, s = both(ones(3), ones(7), ones(3))
    assert total.tolist() == [2, 2, 2] and s == 3


def test_any_number_of_arrays() -> None:
    @te.op
    def total(*parts: Any, **named: Any) -> Any:
        result = parts[0]
        for part in (*parts[1:], named["b"], named["a"]):
            result = result + part
        return result * (1 if "minus" not in named else -1)

    assert total(ones(2), ones(2), a=ones(2), b=10 * ones(2)).tolist() == [13, 13]
    assert total(ones(2), ones(2), b=ones(2), a=ones(2), minus=True).tolist() == [-4, -4]


def test_one_array_as_two_arguments() -> None:
    x = np.arange(6, dtype="float32").reshape(2, 3)
    assert te.op(sqdist)(x, x).tolist() == [[0, 27], [27, 0]]


def test_out_and_threads_go_to_the_kernel() -> None:
    op = te.op(sqdist)
    out = np.zeros((4, 5), "float32")
    assert op(ones(4, 3), np.zeros((5, 3), "float32"), out=out, threads=1) is out
    assert out.tolist() == [[3] * 5] * 4

    @te.op
    def with_own(X: Any, out: int = 3) -> Any:
        return X * out

    assert with_own(ones(2)).tolist() == [3, 3]
    assert with_own(ones(2), out=5).tolist() == [5, 5]


def test_called_with_tensors_it_is_the_function() -> None:
    op = te.op(sqdist)
    X, Y = te.tensor("X", (4, 3)), te.tensor("Y", (5, 3))
    assert op(X, Y).shape == (4, 5)
    assert op.cache_info() == (0, 0, None, 0)

    @te.op
    def nearest(A: Any, B: Any) -> Any:
        N = te.tensor("N")
        N[i] = te.argmin(op(A, B)[i, j])
        return N

    x = np.array([[0.0], [5.0], [2.2]], "float32")
    assert nearest(x, np.array([[1], [2], [6]], "float32")).tolist() == [0, 2, 1]


def test_columns_together_are_read_as_they_lie() -> None:
    op = te.op(sqdist)
    x = np.asfortranarray(np.arange(12, dtype="float32").reshape(4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", te.CompactionWarning)
        got = op(x, ones(5, 3))
    np.testing.assert_array_equal(got, op(np.ascontiguousarray(x), ones(5, 3)))
    assert op.cache_info().misses == 2


def test_methods() -> None:
    class Model:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @te.op
        def apply(self, X: Any) -> Any:
            return X * self.factor

    assert Model(2.0).apply(ones(2)).tolist() == [2, 2]
    assert Model(3.0).apply(ones(2)).tolist() == [3, 3]


def test_arrays_of_other_kinds() -> None:
    op = te.op(scaled)
    assert op(array.array("f", [1, 2])).tolist() == [2, 4]
    assert op(memoryview(ones(2))).tolist() == [2, 2]

    class Interface:
        __array_interface__ = ones(2).__array_interface__
        keep = ones(2)

        def __init__(self) -> None:
            self.__array_interface__ = self.keep.__array_interface__

    assert op(Interface()).tolist() == [2, 2]


def test_many_threads_build_once() -> None:
    calls = []

    @te.op
    def slow(X: Any) -> Any:
        calls.append(1)
        return X + 1

    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(slow(ones(3)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and len(results) == 8
    assert slow.cache_info() == (7, 1, None, 1)


def test_a_failed_trace_is_not_kept() -> None:
    @te.op
    def broken(X: Any) -> Any:
        raise ValueError("mine")

    for _ in range(2):
        with pytest.raises(ValueError, match="mine"):
            broken(ones(3))
    assert broken.cache_info() == (0, 0, None, 0)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (
            lambda: te.op(sqdist)(ones(3, 2)),
            TypeError,
            "sqdist(X: 'Any', Y: 'Any') -> 'Any': missing a required argument: 'Y'",
        ),
        (lambda: te.op(sqdist)(ones(3, 2), ones(3, 2), 3), TypeError, "too many positional arguments"),
        (
            lambda: te.op(sqdist)(ones(3, 2), [1, 2]),
            TypeError,
            "the argument Y=[1, 2] (list) is neither an array nor hashable",
        ),
        (
            lambda: te.op(sqdist)(ones(3, 2), ones(3, 2).astype("complex64")),
            TypeError,
            "the array Y is of dtype complex64",
        ),
        (lambda: te.op(sqdist)(ones(3, 2), np.array([[None]])), TypeError, "the array Y is of dtype object"),
        (lambda: te.op(3), TypeError, "3 is no function"),
        (
            lambda: te.op(lambda X: X[i] + 1)(ones(3)),
            te.DefinitionError,
            "it returned the expression `X[i] + 1`; define a tensor with it",
        ),
        (
            lambda: te.op(lambda X: None)(ones(3)),
            te.DefinitionError,
            "returns a tensor, or a tuple of tensors; it returned None",
        ),
    ],
)
def test_refusals(call: Callable[[], Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert isinstance(caught.value, te.Error)
    assert words in str(caught.value) and "test_op.py" in str(caught.value)
