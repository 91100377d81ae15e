"""`te.op`: a function of tensors as a function of arrays."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, overload

import numpy as np

from .lang import dtypes
from .lang.errors import CallTypeError, DefinitionError
from .lang.expr import Expr
from .lang.tensor import Tensor, tensor

_CALL_OPTIONS = ("out", "threads")


class CacheInfo(NamedTuple):
    """What `functools.lru_cache` tells about its cache."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


class _Array(NamedTuple):
    """What a trace depends on of an array. Equal for arrays that one kernel serves."""

    shape: tuple[int, ...]
    dtype: np.dtype
    column_major: bool


@overload
def op(function: Callable[..., Any], /) -> Callable[..., Any]: ...
@overload
def op(*, tuned: Any = None, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def op(function: Callable[..., Any] | None = None, /, *, tuned: Any = None, **options: Any) -> Any:
    """Turn a function from tensors to a tensor (or a tuple of them) into one from arrays to an array (a tuple of them).

    It is called once for each combination of shapes and dtypes, with a `te.Tensor` in place of each array; what it
    returns is built with `te.build(…, tuned=tuned, **options)` and the kernel is kept. Arrays may be passed by position
    or by name. Every other argument, numbers included, is a constant of the trace: the function sees its value, and
    another value is another kernel. (For a number that changes from call to call pass an array without dimensions,
    ``np.array(x)``.) Called with tensors it is the function itself, so operators nest.

    The result has `cache_info()` and `cache_clear()` as in functools, `kernel(*args)`, the kernel that serves such
    arguments, and `__wrapped__`. Unless the function has parameters of these names, `out=` and `threads=` go to the
    kernel.

    Raises CallError (a TypeError) for arguments that do not fit the function, are of a dtype that tedsl does not have,
    or are neither arrays nor hashable; DefinitionError when the function does not return tensors.

    >>> import tedsl as te
    >>> i, j, k = te.axes("i j k")
    >>> @te.op
    ... def matmul(A, B):
    ...     C = te.tensor("C")
    ...     C[i, j] = te.sum(A[i, k] * B[j, k])
    ...     return C
    >>> matmul.cache_info()
    CacheInfo(hits=0, misses=0, maxsize=None, currsize=0)
    """
    if function is None:
        return functools.partial(_make, tuned=tuned, options=options)
    return _make(function, tuned=tuned, options=options)


def _make(function: Callable[..., Any], *, tuned: Any, options: dict[str, Any]) -> Callable[..., Any]:
    if not callable(function):
        raise CallTypeError(f"te.op turns a function of tensors into one of arrays; {function!r} is no function")
    traced = Traced(function, options if tuned is None else {**options, "tuned": tuned})
    signature, kernels = traced.signature, traced.kernels
    count = len(signature.parameters) if traced.plain else -1
    own = [name for name in _CALL_OPTIONS if name not in signature.parameters]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not kwargs and len(args) == count:
            # Arrays alone, by position, of a combination seen before: a microsecond instead of five.
            key = []
            for v in args:
                if type(v) is not np.ndarray:
                    break
                flags = v.flags
                key.append((v.shape, v.dtype, not flags.c_contiguous and v.ndim > 1 and flags.f_contiguous))
            else:
                kernel = kernels.get(tuple(key))  # a plain tuple equals the _Array of the same values
                if kernel is not None:
                    traced.hits += 1
                    return kernel(*args)
        if any(isinstance(v, Tensor) for v in (*args, *kwargs.values())):
            return function(*args, **kwargs)
        passed = {name: kwargs.pop(name) for name in own if name in kwargs}
        kernel, arrays = traced.find(args, kwargs)
        return kernel(*arrays, **passed)

    call.cache_info = traced.cache_info  # type: ignore[attr-defined]
    call.cache_clear = traced.cache_clear  # type: ignore[attr-defined]
    call.kernel = traced.kernel  # type: ignore[attr-defined]
    return call


class Traced:
    """A function of tensors and the kernels that were built of it, by what its trace depends on. `plain`: it takes
    arguments by position or by name alone.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function, self.signature = function, inspect.signature(function)
        self.label = getattr(function, "__name__", "op")
        self.options = {"name": self.label if self.label.isidentifier() else "op", **options}
        self.names = list(self.signature.parameters)
        self.plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in self.signature.parameters.values())
        self.kernels: dict[Any, Any] = {}
        self.lock = threading.RLock()
        self.hits = self.misses = 0

    def cache_info(self) -> CacheInfo:
        """Hits, misses and the number of kernels kept."""
        return CacheInfo(self.hits, self.misses, None, len(self.kernels))

    def cache_clear(self) -> None:
        """Forget all kernels."""
        with self.lock:
            self.kernels.clear()
            self.hits = self.misses = 0

    def kernel(self, *args: Any, **kwargs: Any) -> Any:
        """The kernel that serves such arguments, built if need be."""
        return self.find(args, kwargs)[0]

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any]]:
        """The kernel for these arguments, and the arrays among them."""
        named = self.named(args, kwargs)
        key: list[Any] = []
        arrays: list[Any] = []
        for name, value in named:
            if _is_array(value):
                array = _view(self.label, name, value)
                arrays.append(array)
                key.append(_described(self.label, name, array))
            else:
                key.append(_static(self.label, name, value))
        whole = tuple(key)
        kernel = self.kernels.get(whole)
        if kernel is None:
            with self.lock:
                kernel = self.kernels.get(whole)
                if kernel is None:
                    kernel = self.kernels[whole] = self.trace(args, kwargs, whole, named)
                    self.misses += 1
                    return kernel, arrays
        self.hits += 1
        return kernel, arrays

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
        """Name and value of each argument, in the order of the parameters; `*args` and `**kwargs` one by one."""
        if self.plain and not kwargs and len(args) == len(self.names):  # the most frequent; binding takes microseconds
            return list(zip(self.names, args))
        found: list[tuple[str, Any]] = []
        for name, value, kind in self.bound(args, kwargs)[1]:
            if kind is inspect.Parameter.VAR_POSITIONAL:
                found += [(f"{name}{n}", v) for n, v in enumerate(value)]
            elif kind is inspect.Parameter.VAR_KEYWORD:
                found += sorted(value.items())
            else:
                found.append((name, value))
        return found

    def bound(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[inspect.BoundArguments, list[tuple[str, Any, Any]]]:
        """The arguments bound to the parameters; and name, value and kind of each. Raises CallTypeError."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise CallTypeError(f"{self.label}{self.signature}: {error}") from None
        bound.apply_defaults()
        return bound, [(n, v, self.signature.parameters[n].kind) for n, v in bound.arguments.items()]

    def trace(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], key: tuple[Any, ...], named: list[tuple[str, Any]]
    ) -> Any:
        """The kernel of what the function makes of tensors in place of the arrays."""
        stand_ins = [
            tensor(name, k.shape, k.dtype, order="F" if k.column_major else "C")
            for (name, _), k in zip(named, key, strict=True)
            if isinstance(k, _Array)
        ]
        remaining = iter(stand_ins)
        bound, values = self.bound(args, kwargs)
        for name, value, kind in values:
            if kind is inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[name] = tuple(next(remaining) if _is_array(v) else v for v in value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {k: next(remaining) if _is_array(v) else v for k, v in sorted(value.items())}
            elif _is_array(value):
                bound.arguments[name] = next(remaining)
        results = self.function(*bound.args, **bound.kwargs)
        several = isinstance(results, (tuple, list))
        outputs = list(results) if several else [results]
        for result in outputs:
            if not isinstance(result, Tensor):
                what = (
                    f"`{result!r}`; define a tensor with it: T[i, j] = …" if isinstance(result, Expr) else repr(result)
                )
                raise DefinitionError(
                    f"the function {self.label} of te.op returns a tensor, or a tuple of tensors; it returned "
                    f"{'the expression ' * isinstance(result, Expr)}{what}"
                )
        from .build import build

        return build(outputs if several else outputs[0], [*stand_ins, *outputs], **self.options)


def _is_array(value: Any) -> bool:
    """Whether an argument stands for a tensor. NumPy's scalars are numbers."""
    if isinstance(value, np.ndarray):
        return True
    if isinstance(value, (np.generic, bool, int, float, str, bytes, type)):
        return False
    return (
        isinstance(value, (memoryview, bytearray))
        or hasattr(value, "__dlpack__")
        or hasattr(value, "__array_interface__")
        or _has_buffer(value)
    )


def _has_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def _view(label: str, name: str, value: Any) -> np.ndarray:
    """An array of any kind as NumPy's, without a copy."""
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise CallTypeError(
            f"{label}: the argument {name} of type {type(value).__name__} cannot be read as an array: {error}"
        ) from None


def _described(label: str, name: str, array: np.ndarray) -> _Array:
    try:
        dtypes.canonical(array.dtype)
    except ValueError as error:
        raise CallTypeError(f"{label}: the array {name} is of dtype {array.dtype}: {error}") from None
    flags = array.flags
    return _Array(array.shape, array.dtype, array.ndim > 1 and flags.f_contiguous and not flags.c_contiguous)


def _static(label: str, name: str, value: Any) -> Any:
    """What tells constants of a trace apart: 1, 1.0 and True do, and so do 0.0 and -0.0."""
    if isinstance(value, float):
        return type(value), float(value).hex()
    if isinstance(value, tuple):
        return tuple, tuple(_static(label, name, v) for v in value)
    try:
        hash(value)
    except TypeError:
        raise CallTypeError(
            f"{label}: the argument {name}={value!r:.80} ({type(value).__name__}) is neither an array nor "
            f"hashable, so no kernel can be kept for it; pass arrays "
            "one by one, and constants as numbers, strings or tuples",
        ) from None
    return type(value), value
