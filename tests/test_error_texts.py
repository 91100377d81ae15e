"""What the errors say: that they name what failed, the values in question, what to do, and the user's line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tedsl as te

i, j, k, t = te.axes("i j k t")
A = te.tensor("A", (4, 5))
x, v = te.tensor("x", (5,)), te.tensor("v", (5,), dtype="int32")
ones = np.ones(5, "float32")

# name: (what fails, its class, what the text must hold)
CASES: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {}


def case(error: type[Exception], *parts: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def keep(fails: Callable[[], Any]) -> Callable[[], Any]:
        assert fails.__name__ not in CASES
        CASES[fails.__name__] = fails, error, list(parts)
        return fails

    return keep


def copied() -> te.Tensor:
    T = te.tensor("T")
    T[i] = x[i]
    return T


# What is built -----------------------------------------------------------------------------------------------------------


@case(te.ScheduleError, "x is an input", "nothing to compute")
def an_input_is_built() -> None:
    te.build(x)


@case(te.ScheduleError, "T is listed twice; a program computes each of its results once")
def a_result_is_listed_twice() -> None:
    T = copied()
    te.build([T, T])


@case(te.ScheduleError, "3 is no tensor", "a list of the tensors")
def a_number_is_built() -> None:
    te.build(3)


@case(te.ScheduleError, "at least one result")
def nothing_is_built() -> None:
    te.build([])


@case(te.DefinitionError, "the tensor q has neither a shape nor a definition", "te.tensor('q', (4, 3))")
def an_undefined_tensor_is_built() -> None:
    te.build(te.tensor("q"))


@case(te.DefinitionError, "args is 5", "the inputs in call order")
def args_is_a_number() -> None:
    te.build(copied(), 5)


@case(te.DefinitionError, "args is <tensor x(5,) float32>")
def args_is_a_tensor() -> None:
    te.build(copied(), x)


@case(te.DefinitionError, "args holds 'x'; it holds tensors")
def args_holds_a_string() -> None:
    te.build(copied(), "x")


@case(te.DefinitionError, "args leaves out x, which is read; list every input")
def args_leaves_an_input_out() -> None:
    te.build(copied(), [])


@case(te.DefinitionError, "args must end with the outputs T")
def args_begins_with_an_output() -> None:
    T = copied()
    te.build(T, [T, x])


@case(te.DefinitionError, "args lists a tensor twice")
def args_lists_an_input_twice() -> None:
    te.build(copied(), [x, x])


@case(te.BuildError, "name=3", "is a string")
def the_name_is_a_number() -> None:
    te.build(copied(), name=3)


@case(te.BuildError, "unknown instruction set 'x'", "sse2, avx2, avx512")
def the_instruction_set_is_unknown() -> None:
    te.build(copied(), isa="x")


@case(te.BuildError, "the target 'gpu'", "'c'")
def the_target_is_unknown() -> None:
    te.build(copied(), target="gpu")


@case(te.ScheduleError, "m=3: the schedule of T has no size of that name; its sizes are none")
def a_size_is_unknown() -> None:
    te.build(copied(), m=3)


# What is defined ---------------------------------------------------------------------------------------------------------


@case(te.DefinitionError, "A is indexed with [0, 1]", "To gather, index with the elements of a tensor, A[I[i]]")
def a_list_as_index() -> None:
    A[[0, 1]]


@case(te.DefinitionError, "A is indexed with <tensor greater(4, 5) bool>", "te.where(condition, A[i], other)")
def a_mask_as_index() -> None:
    A[A > 0]


@case(te.DefinitionError, "A is indexed with the array of shape (2,)")
def an_array_as_index() -> None:
    A[np.array([0, 1])]


@case(te.DefinitionError, "the left side of q holds slice(None, None, None); it holds distinct axes")
def a_slice_on_the_left() -> None:
    te.tensor("q")[:] = x[i]


@case(te.DefinitionError, "the left side of q holds None")
def nothing_on_the_left() -> None:
    te.tensor("q")[None] = x[i]


@case(te.DefinitionError, "q is declared with order= or strides=", "how an input lies", "q[j, i] = …")
def a_result_with_an_order() -> None:
    te.tensor("q", (4, 5), order="F")[i, j] = A[i, j]


@case(te.DefinitionError, "the tensor q: order='F' says how an input lies in memory")
def an_order_without_a_shape() -> None:
    te.tensor("q", order="F")


@case(te.DefinitionError, "te.axes takes names, te.axes('i j k'), not 3")
def axes_of_a_number() -> None:
    te.axes(3)  # type: ignore[arg-type]


@case(te.DefinitionError, "te.reduce_axis(('a', 2)): a range is (low, high), of whole numbers or sizes")
def a_range_of_text() -> None:
    te.reduce_axis(("a", 2), "r")


@case(te.DefinitionError, "q[i] has 1 index, but q was given 2 dimensions: (4, 4)")
def too_few_indices_on_the_left() -> None:
    te.tensor("q", (4, 4))[i] = x[i]


@case(te.DefinitionError, "np.add.reduce has no meaning for an expression")
def a_method_of_a_function_of_numpy() -> None:
    np.add.reduce(A)  # type: ignore[arg-type]


@case(te.DefinitionError, "np.gcd is no function of tedsl", "te.register_function")
def a_function_of_numpy_that_is_unknown() -> None:
    np.gcd(A, A)


@case(te.DefinitionError, "sum: out= belongs to the call of the kernel")
def a_sum_into_an_array() -> None:
    A.sum(out=ones)  # type: ignore[arg-type]


@case(te.DefinitionError, "squeeze: dimension 0 of <tensor A(4, 5) float32> has extent 4, not 1")
def a_dimension_that_cannot_be_dropped() -> None:
    A.squeeze(0)


@case(te.DefinitionError, "broadcast_to takes tensors, not 3")
def a_number_is_broadcast() -> None:
    te.broadcast_to(3, (2,))  # type: ignore[arg-type]


@case(te.DefinitionError, "`i + 1` is an element at axes and is combined with a whole tensor; index the tensor too")
def an_axis_is_concatenated() -> None:
    te.concatenate([A, i + 1])


@case(te.DefinitionError, "sum of <tensor A(4, 5) float32> runs over no dimension")
def a_condition_on_a_sum_over_nothing() -> None:
    te.sum(A, axis=(), where=A > 0)


@case(te.DefinitionError, "te.compute: name=('a', 'b') for 1 result; give one name, or one for each")
def names_for_one_result() -> None:
    te.compute((3,), lambda i: x[i], name=("a", "b"))


@case(te.DefinitionError, "te.pad: value=`i` holds axes; write te.where over them instead")
def a_padding_that_depends_on_the_place() -> None:
    te.pad(x, 1, value=i)


@case(
    te.DefinitionError, "integers to negative integer powers are not allowed, as in NumPy", "cast the base to a float"
)
def an_integer_to_a_negative_power() -> None:
    v[i] ** -1


@case(te.DefinitionError, "reshape of <tensor e(0, 3) float32> to (0, -1): -1 can be anything when another extent is 0")
def an_open_extent_beside_an_empty_one() -> None:
    te.tensor("e", (0, 3)).reshape(0, -1)


@case(te.DefinitionError, "'' is no name; a name is a non-empty string")
def an_empty_name() -> None:
    te.tensor("")


@case(te.DefinitionError, "T is defined already: an earlier equation (T[i]) leaves nothing to this one (T[j])")
def a_second_definition() -> None:
    copied()[j] = x[j]


@case(te.DefinitionError, "the reducer r takes 2 values, got 1")
def a_value_too_few_for_a_reducer() -> None:
    te.reducer((0, 0), lambda a, b: (a[0] + b[0], a[1] + b[1]), name="r")(x[i])


@case(te.DefinitionError, "inf is a constant; give the tensor another name", "inf[i] = x[i]")
def a_constant_is_defined() -> None:
    te.define("inf[i] = x[i]", x=(3,))


@case(
    te.DefinitionError,
    "the axis a is on the right side of C[i]",
    "As a number write a=2.0: a=2 is the extent of an axis",
)
def a_whole_number_that_is_meant_as_a_factor() -> None:
    te.define("C[i] = x[i] * a", x=(3,), a=2)


@case(te.DefinitionError, "r(…) has components 0 to 1", "C[i] = r(x[k], x[k])[2]")
def a_component_too_many() -> None:
    r = te.reducer((0, 0), lambda a, b: (a[0] + b[0], a[1] + b[1]), name="r")
    te.define("C[i] = r(x[k], x[k])[2]", x=(3,), r=r, i=3)


@case(te.DefinitionError, "the tensor A: order='X'; 'C' (rows together) or 'F' (columns together)")
def an_unknown_order() -> None:
    te.tensor("A", (2, 2), order="X")


@case(
    te.DefinitionError,
    "two sizes are named n, with different assumptions (min=0, multiple_of=1 and min=4, multiple_of=1)",
    "use one te.var",
)
def two_sizes_of_one_name() -> None:
    a, b, T = te.tensor("a", (te.var("n"),)), te.tensor("b", (te.var("n", min=4),)), te.tensor("T")
    T[i, j] = a[i] * b[j]
    te.build(T)


# What is scheduled -------------------------------------------------------------------------------------------------------


@case(te.ScheduleError, "int is no history; replay takes s.history or what s.to_json() gave")
def a_number_is_replayed() -> None:
    te.create_schedule(copied()).replay(3)  # type: ignore[arg-type]


@case(te.ScheduleError, "the history to be replayed is no JSON: Expecting")
def a_brace_is_replayed() -> None:
    te.create_schedule(copied()).replay("{")


@case(te.GradientError, "te.check_grad: order=0; it is 1 or more")
def a_gradient_of_order_zero() -> None:
    te.check_grad(copied(), [x], order=0)


# Calls -------------------------------------------------------------------------------------------------------------------


@case(te.CallError, "T: takes 1 argument (x), got 2; results go to out=")
def too_many_arguments() -> None:
    te.build(copied())(ones, ones)


@case(te.CallError, "T: x has shape (4,), expected (5,): axis 0 has 4, not 5")
def another_shape() -> None:
    te.build(copied())(ones[:4])


@case(te.CallError, "T: x has dtype float64, expected float32; convert it with x.astype('float32')")
def another_dtype() -> None:
    te.build(copied())(np.ones(5))


@case(te.CallError, "T: x is <tensor x(5,) float32>, which stands for an array; pass the array itself")
def a_tensor_is_passed() -> None:
    te.build(copied())(x)


@case(te.CallError, "T: T (in out=) is read-only; pass an array that may be written to")
def out_is_read_only() -> None:
    te.build(copied())(ones, out=np.broadcast_to(np.float32(0), (5,)))


@case(te.CallError, "T: T (in out=) is not aligned to its elements; pass np.empty(T.shape, 'float32')")
def out_is_not_aligned() -> None:
    te.build(copied())(ones, out=np.zeros(21, "uint8")[1:].view("float32"))


@case(te.CallError, "T: T (in out=) has the byte order of another machine", "pass np.empty(T.shape, 'float32')")
def out_has_another_byte_order() -> None:
    te.build(copied())(ones, out=np.zeros(5, np.dtype("float32").newbyteorder()))


@case(te.CallError, "P: Q (in out=) shares memory with P (in out=); pass separate arrays")
def two_results_in_one_array() -> None:
    P, Q = te.define("P[i], Q[i] = x[i] + 1, 2 * x[i]", x=(5,))
    out = np.zeros(5, "float32")
    te.build([P, Q])(ones, out=(out, out))


@case(te.CallError, "T: the size n is known from T alone; give out=")
def a_size_that_no_input_tells() -> None:
    T = te.tensor("T", (te.var("n"),))
    T[i] = 1.0 * i
    kernel = te.build(T)
    np.testing.assert_array_equal(kernel(out=np.zeros(3)), [0, 1, 2])
    kernel()


@case(te.CallError, "T: repeat=0: at least one run is needed")
def a_time_of_no_runs() -> None:
    te.build(copied()).time(ones, repeat=0)


@case(te.CallError, "T: threads=0: a call needs at least one")
def no_threads() -> None:
    te.build(copied())(ones, threads=0)


@case(te.CallError, "not enough memory for a copy of X, which is not contiguous", "np.ascontiguousarray(X)")
def no_memory_for_a_copy() -> None:
    X, S = te.tensor("X", (te.var("n"),)), te.tensor("S")
    S[()] = te.sum(X[i])
    te.build(S)(np.broadcast_to(np.float32(0), (2**45,)))


@case(te.CallError, "an index from v is 7, out of range for dimension 0 of x, whose extent is 5 (`x[v[i]]`)")
def an_index_is_out_of_range() -> None:
    G = te.tensor("G")
    G[i] = x[v[i]]
    te.build(G, [x, v])(ones, np.array([0, 1, 7, 2, 3], "int32"))


@case(te.CallError, "the input x is missing (given: none)")
def the_reference_lacks_an_input() -> None:
    te.evaluate(copied(), {})


@case(te.CallError, "te.evaluate(T, inputs) takes a dict of arrays by tensor, {A: a, B: b}, not ndarray")
def the_reference_is_given_an_array() -> None:
    te.evaluate(copied(), ones)


@case(te.CallError, "x has dtype float64, expected float32")
def the_reference_is_given_another_dtype() -> None:
    te.evaluate(copied(), {x: np.ones(5)})


@pytest.mark.filterwarnings("ignore::tedsl.lang.errors.CompactionWarning")
@pytest.mark.parametrize("name", list(CASES))
def test_text(name: str) -> None:
    fails, kind, parts = CASES[name]
    with pytest.raises(kind) as caught:
        fails()
    text = str(caught.value)
    for part in parts:
        assert part in text, text
    assert "at test_error_texts.py:" in text, text
    assert "  at " not in caught.value.message
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value) and str(again) == text
