"""Calls that fail: the error says what is wrong and nothing is written."""

from __future__ import annotations

import re
import sys

import c_modules
import numpy as np
import pytest

import tedsl as te
from tedsl.backends.c.kernel import build_module
from tedsl.lang.errors import BuildError, CallError, CallMemoryError, InternalError


@pytest.fixture(scope="module")
def matmul():
    return build_module(c_modules.matmul())


@pytest.fixture(scope="module")
def add():
    return build_module(c_modules.add())


A, B = np.ones((8, 5), "f4"), np.ones((6, 5), "f4")


class OnADevice:
    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, **options):
        raise AssertionError("must not be asked")


class Broken:
    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **options):
        raise BufferError("needs detach()")


WRONG_INPUTS = [
    ((A,), TypeError, "matmul: takes 2 arguments (A, B), got 1"),
    ((A, B, B), TypeError, "matmul: takes 2 arguments (A, B), got 3; results go to out="),
    ((), TypeError, "matmul: takes 2 arguments (A, B), got 0"),
    (
        (A.astype("f8"), B),
        TypeError,
        "matmul: A has dtype float64, expected float32; convert it with A.astype('float32')",
    ),
    ((A, B.astype("i4")), TypeError, "matmul: B has dtype int32, expected float32"),
    ((A.astype("c8"), B), TypeError, "matmul: A has dtype complex64, expected float32"),
    ((A.astype(object), B), TypeError, "matmul: A has dtype object, expected float32"),
    ((np.zeros((8, 5), [("x", "f4")]), B), TypeError, "A has dtype [('x', '<f4')], expected float32"),
    ((A[:, :4], B), ValueError, "matmul: A has shape (8, 4), expected (8, 5): axis 1 has 4, not 5"),
    ((A, B[:0]), ValueError, "matmul: B has shape (0, 5), expected (6, 5): axis 0 has 0, not 6"),
    ((A[0], B), ValueError, "matmul: A has 1 axis, its shape is (5,); expected 2: (8, 5)"),
    ((A[None], B), ValueError, "matmul: A has 3 axes, its shape is (1, 8, 5); expected 2: (8, 5)"),
    (
        (A.tolist(), B),
        TypeError,
        "matmul: A is a list, no array (NumPy, buffer protocol or __dlpack__); pass np.asarray(A, dtype='float32')",
    ),
    ((None, B), TypeError, "matmul: A is a NoneType, no array"),
    (("abc", B), TypeError, "matmul: A is a str, no array"),
    ((b"abc", B), TypeError, "matmul: A has dtype uint8, expected float32"),
    ((3.0, B), TypeError, "matmul: A is a float, no array"),
    ((np.float32(3), B), ValueError, "matmul: A has 0 axes, its shape is (); expected 2: (8, 5)"),
    (
        (np.ma.masked_array(A, A > 0), B),
        TypeError,
        "A is a masked array, whose mask would be lost; pass A.filled(value)",
    ),
    (
        (OnADevice(), B),
        TypeError,
        "A is not in the memory of the CPU (it is on DLPack device type 2); copy it there first",
    ),
    ((Broken(), B), TypeError, "A is a Broken that cannot be read: needs detach()"),
]


@pytest.mark.parametrize("arguments,error,text", WRONG_INPUTS, ids=[w[2][:50] for w in WRONG_INPUTS])
def test_wrong_inputs(matmul, arguments, error, text):
    out = np.full((8, 6), 7, "f4")
    for keywords in ({}, {"out": out}):
        with pytest.raises(error, match=re.escape(text)) as caught:
            matmul(*arguments, **keywords)
        assert isinstance(caught.value, CallError)
    assert (out == 7).all()


def read_only():
    array = np.zeros((8, 6), "f4")
    array.flags.writeable = False
    return array


WRONG_OUTPUTS = [
    (read_only, ValueError, "matmul: C (in out=) is read-only"),
    (
        lambda: np.zeros((6, 8), "f4"),
        ValueError,
        "matmul: C (in out=) has shape (6, 8), expected (8, 6): axis 0 has 6, not 8",
    ),
    (
        lambda: np.zeros((8, 6), "f8"),
        TypeError,
        "C (in out=) has dtype float64, expected float32; pass np.empty(C.shape, 'float32')",
    ),
    (
        lambda: np.zeros((8, 12), "f4")[:, ::2],
        ValueError,
        "C (in out=) is not contiguous (its strides are (12, 2) elements)",
    ),
    (lambda: np.zeros((8, 6), "f4", order="F"), ValueError, "C (in out=) is not contiguous"),
    (
        lambda: np.zeros((8, 6), ">f4"),
        TypeError,
        "C (in out=) has the byte order of another machine (>f4), expected float32",
    ),
    (
        lambda: np.zeros(197, "u1")[1:193].view("f4").reshape(8, 6),
        ValueError,
        "C (in out=) is not aligned to its elements",
    ),
    (lambda: np.zeros(48, "f4"), ValueError, "C (in out=) has 1 axis, its shape is (48,); expected 2: (8, 6)"),
    (lambda: [[0.0] * 6] * 8, TypeError, "matmul: out= takes 1 array (C), got 8"),
    (lambda: (np.zeros((8, 6), "f4"),) * 2, TypeError, "matmul: out= takes 1 array (C), got 2"),
    (lambda: 3.0, TypeError, "matmul: C (in out=) is a float, no array"),
    (lambda: np.ma.zeros((8, 6), "f4"), TypeError, "C (in out=) is a masked array"),
    (lambda: memoryview(bytes(192)).cast("f", (8, 6)), ValueError, "C (in out=) is read-only"),
]


@pytest.mark.parametrize("make,error,text", WRONG_OUTPUTS, ids=[w[2][:50] for w in WRONG_OUTPUTS])
def test_wrong_outputs_are_refused_and_not_written(matmul, make, error, text):
    out = make()
    before = np.array(out)
    with pytest.raises(error, match=re.escape(text)) as caught:
        matmul(A, B, out=out)
    assert isinstance(caught.value, CallError)
    np.testing.assert_array_equal(np.array(out), before)


def test_outputs_may_not_overlap_inputs(matmul, add):
    memory = np.zeros(64, "f4")
    a = memory[:40].reshape(8, 5)
    with pytest.raises(
        ValueError, match=r"C \(in out=\) shares memory with A: the kernel still reads it after it has begun"
    ):
        matmul(a, B, out=memory[16:64].reshape(8, 6))
    x = np.arange(10.0)
    with pytest.raises(ValueError, match=r"Z \(in out=\) shares memory with X"):
        add(x, x, out=x)
    # a view that is compacted first would not be hurt, but the rule does not depend on layouts
    with pytest.raises(ValueError, match="shares memory with Y"):
        add(np.ones(5), x[::2], out=x[:5])
    assert (memory == 0).all() and (x == np.arange(10.0)).all()


def test_in_place_is_exact_or_an_error():
    add = build_module(c_modules.add(inplace=True))
    x = np.arange(11.0)
    before = x.copy()
    with pytest.raises(
        ValueError, match=r"Z \(in out=\) shares memory with X: it may be that array exactly, but no other view"
    ):
        add(x[1:], np.ones(10), out=x[:10])
    with pytest.raises(ValueError, match="no other view"):
        add(x[:10][::-1], np.ones(10), out=x[:10])
    np.testing.assert_array_equal(x, before)
    add(x, x, out=x)
    np.testing.assert_array_equal(x, 2 * before)


def test_outputs_may_not_overlap_each_other():
    two = build_module(c_modules.two_results())
    memory = np.zeros(8, "i4")
    with pytest.raises(ValueError, match=r"P \(in out=\) shares memory with S \(in out=\)"):
        two(np.arange(5, dtype="i4"), out=(memory[:5], memory[3:]))
    assert not memory.any()
    with pytest.raises(TypeError, match=r"has 2 results \(S, P\); out= takes a tuple of 2 arrays, got ndarray"):
        two(np.arange(5, dtype="i4"), out=memory[:5])


def test_sizes_that_disagree_name_both_arrays(add):
    with pytest.raises(ValueError, match=r"add: the size n is 4 by X \(axis 0\) and 5 by Y \(axis 0\)"):
        add(np.ones(4), np.ones(5))
    with pytest.raises(ValueError, match=r"add: the size n is 4 by X \(axis 0\) and 5 by Z \(in out=\) \(axis 0\)"):
        add(np.ones(4), np.ones(4), out=np.ones(5))


def test_arrays_may_change_shape_between_calls_and_are_checked_each_time(add, matmul):
    for n in (3, 7, 3):
        assert add(np.ones(n), np.ones(n)).shape == (n,)
        with pytest.raises(ValueError):
            add(np.ones(n), np.ones(n + 1))
    a = A.copy()
    matmul(a, B)
    a.resize((5, 8), refcheck=False)
    with pytest.raises(ValueError, match="axis 0 has 5, not 8"):
        matmul(a, B)


def test_what_was_declared_of_a_size():
    add = build_module(c_modules.add(minimum=4, multiple_of=4))
    assert add(np.ones(8), np.ones(8)).sum() == 16
    with pytest.raises(ValueError, match="the size n is 0, but was declared to be at least 4"):
        add(np.ones(0), np.ones(0))
    with pytest.raises(ValueError, match="the size n is 6, but was declared to be a multiple of 4"):
        add(np.ones(6), np.ones(6))


def test_affine_extents_and_conditions_on_sizes():
    windows = build_module(c_modules.windows())
    with pytest.raises(ValueError, match=r"X has 6 along axis 0, which is not \(\(2 \* n\) \+ 1\) for any n"):
        windows(np.zeros(6, "i4"))
    with pytest.raises(ValueError, match=r"seven rows \(n = 7\) are not allowed"):
        windows(np.zeros(15, "i4"))
    with pytest.raises(ValueError, match="the size n is 0, but was declared to be at least 1"):
        windows(np.zeros(1, "i4"))
    with pytest.raises(ValueError, match=r"the size n is 3 by X \(axis 0\) and 4 by R"):
        windows(np.zeros(7, "i4"), out=np.zeros(4, "i4"))


@pytest.mark.parametrize(
    "dtype,c_type,value,error,text",
    [
        ("int8", "int8_t", 128, ValueError, "x is 128, which int8 cannot hold (-128 to 127)"),
        ("uint8", "uint8_t", -1, ValueError, "x is -1, which uint8 cannot hold (0 to 255)"),
        ("int64", "int64_t", 2**63, ValueError, "which int64 cannot hold"),
        ("int32", "int32_t", 1.0, TypeError, "x is 1.0, a Python float, expected int32; convert it first"),
        ("bool", "uint8_t", 1, TypeError, "x is 1, a Python int, expected bool"),
        ("float32", "float", 1e300, ValueError, "x is 1e+300, which float32 cannot hold"),
        ("float32", "float", 10**400, ValueError, "which float32 cannot hold"),
        ("float16", "_Float16", 1e6, ValueError, "x is 1000000.0, which float16 cannot hold"),
        ("float64", "double", 1j, TypeError, "x is 1j, a Python complex, expected float64"),
        ("float32", "float", np.float64(1), TypeError, "x has dtype float64, expected float32"),
        ("float64", "double", [1.0], TypeError, "x is a list, no array"),
        ("float64", "double", np.ones(1), ValueError, "x has 1 axis, its shape is (1,); expected 0: ()"),
        ("float64", "double", None, TypeError, "x is a NoneType"),
    ],
)
def test_rank_0_inputs_are_checked(dtype, c_type, value, error, text):
    kernel = build_module(c_modules.scalar(dtype, c_type))
    with pytest.raises(error, match=re.escape(text)) as caught:
        kernel(value)
    assert isinstance(caught.value, CallError)


@pytest.mark.parametrize("late", [False, True])
def test_faults_leave_the_output_as_it_was(late):
    gather = build_module(c_modules.gather(late))
    table = np.arange(4, dtype="f4")
    out = np.full(3, 9, "f4")
    with pytest.raises(IndexError, match=re.escape("gather: idx[1] is 4, out of range for T with 4 rows")) as caught:
        gather(table, np.array([0, 4, 1]), out=out)
    assert isinstance(caught.value, CallError) and (out == 9).all()
    assert gather(table, np.array([3, 0, 1]), out=out) is out
    np.testing.assert_array_equal(out, [3, 0, 1])
    with pytest.raises(IndexError):
        gather.time(table, np.array([-1]))


def test_late_faults_copy_through_objects_that_are_no_arrays():
    import array

    gather = build_module(c_modules.gather(late=True))
    out = array.array("f", [0, 0])
    assert gather(np.arange(4, dtype="f4"), np.array([3, 1]), out=out) is out
    assert list(out) == [3, 1]


def test_shapes_beyond_memory_and_beyond_integers():
    outer, huge = build_module(c_modules.outer()), build_module(c_modules.huge())
    with pytest.raises(
        MemoryError, match=r"outer: not enough memory for R of shape \(4000000, 4000000\) \(n = 4000000\)"
    ):
        outer(np.zeros(4_000_000))
    zeros = np.lib.stride_tricks.as_strided(np.zeros(1, "i1"), (100_000,), (0,)).copy()
    with pytest.raises(
        ValueError, match=r"R of shape \(1000000000000000, 100000\) \(n = 100000\) is larger than memory"
    ):
        huge(zeros)
    with pytest.raises(ValueError, match="larger than memory"):
        huge(np.zeros(10_000_000, "i1"))
    assert huge(np.zeros(2, "i1")).shape == (8, 2)


def test_a_kernel_out_of_memory():
    starved = build_module(c_modules.no_memory())
    with pytest.raises(CallMemoryError, match=r"starved: not enough memory .*or a temporary"):
        starved(np.ones(3))


def test_threads_are_checked(matmul):
    with pytest.raises(ValueError, match="threads=0: a call needs at least one"):
        matmul(A, B, threads=0)
    for bad in (1.5, "2", True):
        with pytest.raises(TypeError, match="expected a whole number of threads"):
            matmul(A, B, threads=bad)
    with pytest.raises(TypeError, match="and the keywords out= and threads=, got thread="):
        matmul(A, B, thread=1)


def test_warnings_as_errors_stop_the_call_before_it_writes(matmul):
    import warnings

    out = np.full((8, 6), 3, "f4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="W001"):
            matmul(np.asfortranarray(A), B, out=out)
    assert (out == 3).all()


def test_modules_that_cannot_be_called():
    module = c_modules.add()
    unbound = c_modules.CModule("add", module.source, module.args, (*module.sizes, c_modules.SizeVar("m")))
    with pytest.raises(BuildError, match="add: no argument tells the size m"):
        build_module(unbound)
    with pytest.raises(InternalError, match="is no name for a C function"):
        build_module(c_modules.CModule("a b", module.source, module.args, module.sizes))
    with pytest.raises(InternalError, match="inputs, then at least one output"):
        build_module(c_modules.CModule("add", module.source, module.args[::-1], module.sizes))


def test_more_axes_than_an_array_can_have():
    args = (c_modules.Argument("X", "int8", (1,) * 65, "input"), c_modules.Argument("r", "int8", (), "output"))
    with pytest.raises(BuildError, match="odd: X has 65 axes, NumPy's arrays at most 64"):
        build_module(c_modules.CModule("odd", c_modules.source("odd", "return 0;"), args))
    args = (c_modules.Argument("X", "int8", (1,) * 64, "output"),)
    kernel = build_module(c_modules.CModule("odd", c_modules.source("odd", "return 0;"), args))
    assert kernel().ndim == 64


def test_dtypes_that_numpy_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    module = c_modules.scalar("bfloat17", "uint16_t")
    with pytest.raises(BuildError, match="scalar: NumPy has no bfloat17, the dtype of x; install ml_dtypes"):
        build_module(module)


def test_an_undeclared_return_value_is_a_defect_of_tedsl():
    args = (c_modules.Argument("r", "int8", (), "output"),)
    kernel = build_module(c_modules.CModule("odd", c_modules.source("odd", "return 5;"), args))
    with pytest.raises(InternalError, match="the kernel returned 5, which it does not declare"):
        kernel()


def test_unknown_keywords_are_named() -> None:
    kernel = build_module(c_modules.matmul())
    with pytest.raises(
        CallError, match=r"takes arrays by position \(A, B\) and the keywords out= and threads=, got A=, foo="
    ) as e:
        kernel(A=A, foo=1)
    assert isinstance(e.value, TypeError)


@pytest.mark.parametrize("value", [2**64 - 1, 2**63, 12])
@pytest.mark.parametrize("more", [0, 1])
def test_an_unsigned_index_is_told_as_it_is(value: int, more: int) -> None:
    i = te.axes("i")
    table, index, T = te.tensor("table", (10,)), te.tensor("index", (2,), dtype="uint64"), te.tensor("T")
    T[i] = table[index[i] + more] if more else table[index[i]]
    arrays = np.arange(10, dtype="float32"), np.array([3, value - more], "uint64")
    with pytest.raises(IndexError, match=rf"^T: an index from index is {value}, out of range for dimension 0 of table"):
        te.build(T)(*arrays)
    with pytest.raises(IndexError, match=rf"index 0 is {value} \(index\[1\] is {value - more}\), outside of table"):
        te.evaluate(T, dict(zip((table, index), arrays)))
