"""The slow path of a call: says what is wrong with the arguments, or turns them into arrays that the fast path takes.

Exported extensions come with this file's text, so it needs NumPy and the errors that it imports, and nothing else.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import operator
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tedsl.lang.errors import (
    CallError,
    CallIndexError,
    CallMemoryError,
    CallTypeError,
    CallValueError,
    CompactionWarning,
    InternalError,
)

INT64_MAX = 2**63 - 1
OPERATORS: dict[str, Any] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod, "min": min,
    "max": max,
}  # fmt: skip
CPU = 1  # DLPack's number for memory of the CPU


def evaluate_size(size: Any, values: Sequence[int]) -> int:
    """The value of a size expression, as an exact integer."""
    if isinstance(size, int):
        return int(size)
    if size[0] == "size":
        return values[size[1]]
    op, a, b = size[0], evaluate_size(size[1], values), evaluate_size(size[2], values)
    return 0 if op in ("//", "%") and b == 0 else OPERATORS[op](a, b)


def affine_size(size: Any) -> tuple[int | None, int, int] | None:
    """(index, scale, offset) of an expression affine in one size, index None for a constant; None for all others."""
    if isinstance(size, int):
        return None, 0, int(size)
    if size[0] == "size":
        return size[1], 1, 0
    if size[0] not in ("+", "-", "*"):
        return None
    a, b = affine_size(size[1]), affine_size(size[2])
    if a is None or b is None:
        return None
    if size[0] == "*":
        if a[0] is not None and b[0] is not None:
            return None
        variable, (_, _, factor) = (a, b) if a[0] is not None else (b, a)
        return (variable[0] if factor else None), variable[1] * factor, variable[2] * factor
    sign = 1 if size[0] == "+" else -1
    if a[0] is not None and b[0] is not None and a[0] != b[0]:
        return None
    scale = a[1] + sign * b[1]
    index = a[0] if a[0] is not None else b[0]
    return (index if scale else None), scale, a[2] + sign * b[2]


def bind_sizes(args: Sequence[Any], count: int) -> list[tuple[int, int, int, int] | None]:
    """Where each size is read: (argument, axis, scale, offset), inputs and plain axes first; None: nowhere."""
    found: list[tuple[int, int, int, int] | None] = [None] * count
    ranks: list[tuple[bool, bool] | None] = [None] * count
    for position, (_, _, shape, role, _, _) in enumerate(args):
        for axis, extent in enumerate(shape):
            index, scale, offset = affine_size(extent) or (None, 0, 0)
            if index is None:
                continue
            rank = (role == "output", (scale, offset) != (1, 0))
            best = ranks[index]
            if best is None or rank < best:
                found[index], ranks[index] = (position, axis, scale, offset), rank
    return found


def size_text(size: Any, names: Sequence[str]) -> str:
    """A size expression as a reader would write it."""
    if isinstance(size, int):
        return str(size)
    if size[0] == "size":
        return names[size[1]]
    a, b = size_text(size[1], names), size_text(size[2], names)
    return f"{size[0]}({a}, {b})" if size[0] in ("min", "max") else f"({a} {size[0]} {b})"


class Detail(int):
    """A number that a kernel tells of, an int64; the format "u" is for what was a uint64."""

    def __format__(self, spec: str) -> str:
        return str(self % 2**64) if spec == "u" else super().__format__(spec)


def plural(count: int, noun: str, many: str = "") -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {many or noun + 's'}"


def may_be_written(value: Any) -> bool:
    """Whether the memory that an object lends through DLPack may be written to. Before its version 1 DLPack cannot say
    so, and NumPy takes that for no (before 2.1 it does not even ask); but whoever names it in out= wants it written.
    """
    if type(value).__module__.partition(".")[0] in ("jax", "jaxlib"):  # whose arrays never change
        return False
    try:
        capsule = value.__dlpack__(max_version=(1, 0))
    except TypeError:
        return True
    if '"dltensor_versioned"' not in repr(capsule):
        return True
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    flags = pointer(capsule, b"dltensor_versioned") + 24  # behind the version and two pointers
    return not ctypes.c_uint64.from_address(flags).value & 1


def writable(array: np.ndarray) -> np.ndarray:
    """The same memory as an array that may be written to."""
    interface = dict(array.__array_interface__, data=(array.ctypes.data, False))
    return np.asarray(type("Lent", (), {"__array_interface__": interface, "lender": array})())


class Arguments:
    """What a kernel expects of a call. `conform` raises the error that fits or returns arrays that the kernel takes."""

    def __init__(self, spec: tuple[Any, ...]) -> None:
        self.name: str = spec[0]
        self.args, self.sizes, self.checks, self.faults = spec[1:5]
        self.inputs = [a for a in self.args if a[3] == "input"]
        self.outputs = [a for a in self.args if a[3] == "output"]
        self.size_names = [s[0] for s in self.sizes]
        self.dtypes = [self.dtype_of(a[1]) for a in self.args]
        self.binders = bind_sizes(self.args, len(self.sizes))

    @staticmethod
    def dtype_of(name: str) -> np.dtype:
        try:
            return np.dtype(name)
        except TypeError:
            # bfloat16 is no dtype of NumPy's own
            return np.dtype(getattr(importlib.import_module("ml_dtypes"), name))

    # -- messages

    def _fail(self, error: Any, text: str) -> NoReturn:
        raise error(f"{self.name}: {text}")

    def shape_text(self, shape: Sequence[Any]) -> str:
        """A shape as a reader would write it, with the sizes by name."""
        extents = [size_text(s, self.size_names) for s in shape]
        extents = [e[1:-1] if e.startswith("(") else e for e in extents]
        return "(" + ", ".join(extents) + ("," if len(extents) == 1 else "") + ")"

    # -- the call

    def conform(self, args: tuple[Any, ...], out: Any, stacklevel: int = 1) -> tuple[list[np.ndarray], tuple[Any, ...]]:
        """The inputs as arrays of the declared dtype and layout; the given outputs (None where one is to be made)."""
        if len(args) != len(self.inputs):
            names = ", ".join(a[0] for a in self.inputs)
            hint = "; results go to out=" if len(args) > len(self.inputs) else ""
            self._fail(CallTypeError, f"takes {plural(len(self.inputs), 'argument')} ({names}), got {len(args)}{hint}")
        arrays = [self._array(a, self.dtypes[p], args[p], False) for p, a in enumerate(self.inputs)]
        given = self._given(out)
        outs = [
            None if value is None else self._array(a, self.dtypes[len(arrays) + p], value, True)
            for p, (a, value) in enumerate(zip(self.outputs, given))
        ]
        values = self._bind(arrays + outs)
        self._check_shapes(arrays + outs, values)
        self._check_sizes(values)
        for p, array in enumerate(outs):
            if array is not None:
                self._check_output(p, array, arrays, outs, values)
        ready = []
        for p, array in enumerate(
            arrays
        ):  # no comprehension: it would be a frame for warnings in some versions of Python
            ready.append(self._laid_out(self.inputs[p], array, self.dtypes[p], values, stacklevel))
        self._check_allocation(outs, values)
        return ready, tuple(outs)

    def _given(self, out: Any) -> tuple[Any, ...]:
        count = len(self.outputs)
        names = ", ".join(a[0] for a in self.outputs)
        if out is None:
            return (None,) * count
        if isinstance(out, (tuple, list)):
            if len(out) != count:
                self._fail(CallTypeError, f"out= takes {plural(count, 'array')} ({names}), got {len(out)}")
            return tuple(out)
        if count != 1:
            kind = type(out).__name__
            self._fail(
                CallTypeError, f"has {count} results ({names}); out= takes a tuple of {count} arrays, got {kind}"
            )
        return (out,)

    def _array(self, argument: Any, dtype: np.dtype, value: Any, is_output: bool) -> np.ndarray:
        """`value` as a NumPy array of the right dtype (but for its byte order) and rank, without a copy."""
        name, kind, shape = argument[:3]
        where = f"{name} (in out=)" if is_output else name
        if isinstance(value, np.ma.MaskedArray):
            fix = f"pass {name}.filled(value) or {name}.data"
            self._fail(CallTypeError, f"{where} is a masked array, whose mask would be lost; {fix}")
        if isinstance(value, np.ndarray):
            array = value if type(value) is np.ndarray else value.view(np.ndarray)
        elif isinstance(value, np.generic):
            array = np.asarray(value)
        elif isinstance(value, (bool, int, float)) and not is_output and not shape:
            return self._scalar(name, dtype, value)
        else:
            array = self._foreign(where, kind, value, shape, is_output)
        if array.dtype != dtype and array.dtype.newbyteorder("=") != dtype:
            fix = f"pass np.empty({name}.shape, {kind!r})" if is_output else f"convert it with {name}.astype({kind!r})"
            self._fail(CallTypeError, f"{where} has dtype {array.dtype}, expected {kind}; {fix}")
        if array.ndim != len(shape):
            axes = plural(array.ndim, "axis", "axes")
            want = f"{len(shape)}: {self.shape_text(shape)}"
            self._fail(CallValueError, f"{where} has {axes}, its shape is {array.shape}; expected {want}")
        return array

    def _scalar(self, name: str, dtype: np.dtype, value: float) -> np.ndarray:
        kind = dtype.kind if dtype.kind in "biuf" else "f"  # bfloat16 is a float
        fits: dict[str, tuple[type, ...]] = {"b": (bool,), "i": (bool, int), "u": (bool, int), "f": (bool, int, float)}
        if not isinstance(value, fits[kind]):
            have = f"{value!r}, a Python {type(value).__name__}"
            self._fail(CallTypeError, f"{name} is {have}, expected {dtype}; convert it first")
        if kind in "iu":
            limits = np.iinfo(dtype)
            if not limits.min <= value <= limits.max:
                reach = f"{limits.min} to {limits.max}"
                self._fail(CallValueError, f"{name} is {value}, which {dtype} cannot hold ({reach})")
        if kind != "f":
            return np.array(value, dtype)
        try:
            number = float(value)
            with np.errstate(over="ignore"):
                array = np.array(number, dtype)
        except OverflowError:  # an int beyond all floats
            number, array = 0.0, np.array(math.inf, dtype)
        if math.isfinite(number) and not np.isfinite(array):
            self._fail(CallValueError, f"{name} is {value}, which {dtype} cannot hold")
        return array

    def _foreign(self, where: str, kind: str, value: Any, shape: Sequence[Any], is_output: bool) -> np.ndarray:
        """An object that is no NumPy array but lends its memory: through __dlpack__ or the buffer protocol."""
        if hasattr(type(value), "__dlpack__"):
            try:
                device = value.__dlpack_device__()[0]
                if device != CPU:
                    place = f"it is on DLPack device type {int(device)}"
                    self._fail(CallTypeError, f"{where} is not in the memory of the CPU ({place}); copy it there first")
                array = np.from_dlpack(value)
                return writable(array) if is_output and not array.flags.writeable and may_be_written(value) else array
            except CallError:
                raise
            except Exception as e:  # whatever another library raises: its reason belongs into ours
                self._fail(CallTypeError, f"{where} is a {type(value).__name__} that cannot be read: {e}")
        try:
            return np.asarray(memoryview(value))
        except (TypeError, ValueError, BufferError):
            pass
        if hasattr(type(value), "is_input"):  # one of tedsl's tensors
            self._fail(CallTypeError, f"{where} is {value!r}, which stands for an array; pass the array itself")
        if shape or not isinstance(value, (int, float, complex)):
            fix = f"pass np.asarray({where.split()[0]}, dtype={kind!r})" if value is not None else "pass an array"
            have = f"a {type(value).__name__}, no array (NumPy, buffer protocol or __dlpack__)"
            self._fail(CallTypeError, f"{where} is {have}; {fix}")
        self._fail(CallTypeError, f"{where} is {value!r}, a Python {type(value).__name__}, expected {kind}")

    def _bind(self, arrays: Sequence[Any]) -> list[int]:
        values = []
        for index, binder in enumerate(self.binders):
            assert binder is not None  # a kernel with a size that nothing tells is refused when it is built
            argument, axis, scale, offset = binder
            name, array = self.args[argument][0], arrays[argument]
            if array is None:
                self._fail(CallTypeError, f"the size {self.size_names[index]} is known from {name} alone; give out=")
            rest = array.shape[axis] - offset
            if rest % scale:
                text = size_text(self.args[argument][2][axis], self.size_names)
                have = f"{name} has {array.shape[axis]} along axis {axis}"
                self._fail(CallValueError, f"{have}, which is not {text} for any {self.size_names[index]}")
            values.append(rest // scale)
        return values

    def _check_shapes(self, arrays: Sequence[Any], values: Sequence[int]) -> None:
        for argument, array in zip(self.args, arrays):
            if array is None:
                continue
            name, _, shape, role = argument[:4]
            where = name if role == "input" else f"{name} (in out=)"
            for axis, size in enumerate(shape):
                want = evaluate_size(size, values)
                if array.shape[axis] == want:
                    continue
                binder = self.binders[size[1]] if not isinstance(size, int) and size[0] == "size" else None
                if binder is not None:
                    giver, given_axis = self.args[binder[0]][0], binder[1]
                    both = f"{want} by {giver} (axis {given_axis}) and {array.shape[axis]} by {where} (axis {axis})"
                    self._fail(CallValueError, f"the size {self.size_names[size[1]]} is {both}")
                shown = self.shape_text(shape) + ("" if isinstance(size, int) else self._known(values))
                have = f"axis {axis} has {array.shape[axis]}, not {want}"
                self._fail(CallValueError, f"{where} has shape {array.shape}, expected {shown}: {have}")

    def _known(self, values: Sequence[int]) -> str:
        return " (" + ", ".join(f"{n} = {v}" for n, v in zip(self.size_names, values)) + ")" if values else ""

    def _check_sizes(self, values: Sequence[int]) -> None:
        for (name, minimum, multiple), value in zip(self.sizes, values):
            declared = f"the size {name} is {value}, but was declared to be"
            if value < minimum:
                self._fail(CallValueError, f"{declared} at least {minimum}")
            if multiple > 1 and value % multiple:
                self._fail(CallValueError, f"{declared} a multiple of {multiple}")
        for condition, message, error in self.checks:
            if not evaluate_size(condition, values):
                kind: Any = {"index": CallIndexError, "type": CallTypeError}.get(error, CallValueError)
                self._fail(kind, message.format_map(dict(zip(self.size_names, values))))

    def _strides(self, argument: Any, values: Sequence[int]) -> list[int]:
        """The declared strides, in elements."""
        shape = [evaluate_size(s, values) for s in argument[2]]
        if argument[4] is not None:
            return [evaluate_size(s, values) for s in argument[4]]
        return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]

    def _is_laid_out(self, argument: Any, array: np.ndarray, values: Sequence[int]) -> bool:
        if array.size == 0:
            return True
        want = self._strides(argument, values)
        return all(n == 1 or have == s * array.itemsize for n, have, s in zip(array.shape, array.strides, want))

    def _laid_out(
        self, argument: Any, array: np.ndarray, dtype: np.dtype, values: Sequence[int], stacklevel: int
    ) -> np.ndarray:
        """The input itself, or a copy (with a warning) where it does not lie as the kernel reads it."""
        name, kind, _, _, strides, _ = argument
        if not array.dtype.isnative:
            reason = f"has the byte order of another machine ({array.dtype.str})"
            remedy = f"pass {name}.astype({kind!r})"
        elif not array.flags.aligned:
            reason, remedy = "is not aligned to its elements", f"pass {name}.copy()"
        elif not self._is_laid_out(argument, array, values):
            reason = self._layout_text(argument, array, values)
            remedy = f"pass np.ascontiguousarray({name})" if strides is None else "pass an array that is"
            remedy += " (made once), or declare its layout with order= or strides="
        else:
            return array if array.dtype.num == dtype.num else array.view(dtype)
        warnings.warn(
            f"[W001] {self.name}: {name} {reason} and is copied at every call; {remedy}",
            CompactionWarning,
            stacklevel=stacklevel,
        )
        try:
            copy = self.allocate(argument, dtype, values)
        except MemoryError:
            self._fail(CallMemoryError, f"not enough memory for a copy of {name}, which {reason}; {remedy}")
        copy[...] = array
        return copy

    def _layout_text(self, argument: Any, array: np.ndarray, values: Sequence[int]) -> str:
        wanted = (
            "contiguous" if argument[4] is None else f"laid out with strides {tuple(self._strides(argument, values))}"
        )
        bytes_or_elements = "bytes" if any(s % array.itemsize for s in array.strides) else "elements"
        step = array.itemsize if bytes_or_elements == "elements" else 1
        return f"is not {wanted} (its strides are {tuple(s // step for s in array.strides)} {bytes_or_elements})"

    def _extent_bytes(self, argument: Any, dtype: np.dtype, values: Sequence[int]) -> int:
        shape = [evaluate_size(s, values) for s in argument[2]]
        if 0 in shape:
            return 0
        return (1 + sum((n - 1) * abs(s) for n, s in zip(shape, self._strides(argument, values)))) * dtype.itemsize

    def allocate(self, argument: Any, dtype: np.dtype, values: Sequence[int]) -> np.ndarray:
        """A new array with the declared shape and strides."""
        shape = tuple(evaluate_size(s, values) for s in argument[2])
        if argument[4] is None:
            return np.empty(shape, dtype)
        strides = tuple(s * dtype.itemsize for s in self._strides(argument, values))
        memory = np.empty(max(self._extent_bytes(argument, dtype, values), dtype.itemsize), np.uint8)
        start = sum((n - 1) * -s for n, s in zip(shape, strides) if s < 0 and n > 0)
        return np.ndarray(shape, dtype, memory, start, strides)

    def _check_output(
        self, position: int, array: np.ndarray, arrays: Sequence[Any], outs: Sequence[Any], values: Sequence[int]
    ) -> None:
        argument = self.outputs[position]
        name, kind = argument[:2]
        where = f"{name} (in out=)"
        if not array.flags.writeable:
            self._fail(
                CallValueError, f"{where} is read-only; pass an array that may be written to, results are not copied"
            )
        if not array.dtype.isnative:
            order = f"the byte order of another machine ({array.dtype.str})"
            self._fail(CallTypeError, f"{where} has {order}, expected {kind}; pass np.empty({name}.shape, {kind!r})")
        if not array.flags.aligned:
            self._fail(CallValueError, f"{where} is not aligned to its elements; pass np.empty({name}.shape, {kind!r})")
        if not self._is_laid_out(argument, array, values):
            text = self._layout_text(argument, array, values)
            self._fail(CallValueError, f"{where} {text}; pass an array that is, results are not copied")
        for other, read in enumerate(arrays):
            if not self._overlap(array, read):
                continue
            name_read = self.inputs[other][0]
            if other not in argument[5]:
                rule = "the kernel still reads it after it has begun to write"
            elif self._place(read) == self._place(array):
                continue
            else:
                rule = "it may be that array exactly, but no other view of it"
            self._fail(CallValueError, f"{where} shares memory with {name_read}: {rule}; pass another array or a copy")
        for other in range(position):
            if outs[other] is not None and self._overlap(array, outs[other]):
                both = f"{where} shares memory with {self.outputs[other][0]} (in out=)"
                self._fail(CallValueError, f"{both}; pass separate arrays")

    @staticmethod
    def _place(array: np.ndarray) -> tuple[Any, ...]:
        return array.ctypes.data, array.dtype, array.shape, array.strides

    @staticmethod
    def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
        if not np.may_share_memory(a, b):
            return False
        work: Any = 10**6  # exact, but for contrived strides
        try:
            return np.shares_memory(a, b, max_work=work)
        except RuntimeError:  # too hard to tell: the safe answer
            return True

    def _check_allocation(self, outs: Sequence[Any], values: Sequence[int]) -> None:
        for argument, dtype, array in zip(self.outputs, self.dtypes[len(self.inputs) :], outs):
            if array is not None:
                continue
            shape = tuple(evaluate_size(s, values) for s in argument[2])
            known = self._known(values)
            if any(n < 0 for n in shape):
                self._fail(CallValueError, f"the shape of {argument[0]} would be {shape}{known}")
            needed = max(math.prod(shape) * dtype.itemsize, *shape, self._extent_bytes(argument, dtype, values), 0)
            if needed > min(sys.maxsize, INT64_MAX) // 2:  # the bound of the fast path, out of any machine's reach
                self._fail(
                    CallValueError, f"the result {argument[0]} of shape {shape}{known} is larger than memory can be"
                )

    def bad_threads(self, threads: Any) -> NoReturn:
        if isinstance(threads, (int, np.integer)) and not isinstance(threads, bool):
            self._fail(CallValueError, f"threads={threads}: a call needs at least one")
        self._fail(CallTypeError, f"threads={threads!r}: expected a whole number of threads or None for all cores")

    def bad_options(self, options: Any) -> NoReturn:
        names = ", ".join(a[0] for a in self.inputs) or "none"
        given = ", ".join(f"{name}=" for name in options)
        self._fail(CallTypeError, f"takes arrays by position ({names}) and the keywords out= and threads=, got {given}")

    def unexplained(self) -> NoReturn:
        self._fail(InternalError, "the arguments pass every check but were not accepted")

    # -- after the call

    def no_memory(self, values: Sequence[int]) -> NoReturn:
        shapes = [f"{a[0]} of shape {tuple(evaluate_size(s, values) for s in a[2])}" for a in self.outputs]
        self._fail(CallMemoryError, f"not enough memory for {', '.join(shapes)}{self._known(values)} or a temporary")

    def fault(self, code: int, details: Sequence[int]) -> NoReturn:
        if not 0 < code <= len(self.faults):
            self._fail(InternalError, f"the kernel returned {code}, which it does not declare")
        message, error = self.faults[code - 1]
        kind: Any = {"index": CallIndexError, "memory": CallMemoryError}.get(error, CallValueError)
        self._fail(kind, message.format(*map(Detail, details)))
