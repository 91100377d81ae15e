"""`te.compute`, `te.scan` (TVM's spellings) and `te.pad`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from . import dtypes
from .arrays import axis_names, make, same_shape
from .definition import define
from .errors import DefinitionError, Location, here
from .expr import Access, Axis, Const, Expr, apply, as_expr, free_axes, rewrite, substitute, walk
from .integers import Known, prove
from .tensor import Definition, Dim, Part, Tensor, as_dim, as_name, as_shape, is_zero

Written = tuple[tuple[Axis, ...], Expr]


class Steps(Tensor):
    """What `te.compute` makes of an equation that reads a placeholder before its first element, as the update of a
    `te.scan` does.

    It has a shape and a dtype. Its meaning comes from the scan; whatever else asks for its definition gets the error of
    its bounds.
    """

    def __init__(self, name: str, shape: tuple[Dim, ...], dtype: str, written: Written, error: DefinitionError) -> None:
        super().__init__(name, shape, dtype, None, error.location)
        self.written, self.error = written, error

    @property
    def definition(self) -> Definition | None:
        raise DefinitionError(self.error.message, self.error.location)

    @definition.setter
    def definition(self, value: Definition | None) -> None:
        """The constructor of Tensor sets it to None."""

    is_input = False

    @property
    def parts(self) -> tuple[Part, ...]:
        raise DefinitionError(self.error.message, self.error.location)


def compute(shape: Any, fcompute: Callable[..., Any], name: Any = "compute", dtype: Any = None) -> Any:
    """The tensor of `shape` whose element at the axes is ``fcompute(*axes)``; a tuple of tensors when it returns a
    tuple (TVM's spelling).

    shape: extents, one for each argument of `fcompute`, whose names become the names of the axes (``*args`` takes any
    number). dtype: the expression's unless given. name: a name, or as many as there are results.

    Raises DefinitionError when the function does not fit the shape, and for whatever `T[i, j] = …` refuses.

    >>> import tedsl as te
    >>> A = te.placeholder((4, 6), name="A")
    >>> k = te.reduce_axis(6, "k")
    >>> print(te.compute((4,), lambda i: te.sum(A[i, k], axis=k), name="R"))
    R[i] = sum(A[i, k], axis=k)
    """
    location = here()
    label = as_name(name if isinstance(name, str) else "compute")
    dims = as_shape(shape, label)
    if not callable(fcompute):
        raise DefinitionError(
            f"te.compute takes a function of the axes, such as lambda i, j: A[i, j]; got {fcompute!r}", location
        )
    axes = tuple(Axis(n) for n in _axis_names(fcompute, len(dims), location))
    results = fcompute(*axes)
    values = tuple(results) if isinstance(results, (tuple, list)) else (results,)
    names = _result_names(name, label, len(values), location)
    try:
        kind = None if dtype is None else dtypes.canonical(dtype)
    except ValueError as e:
        raise DefinitionError(f"te.compute: {e}", location) from None
    tensors = tuple(Tensor(n, dims, kind, None, location) for n in names)
    try:
        if (earlier := _steps_read(values)) is not None:
            raise earlier.error
        define(tensors, axes, values, location)
    except DefinitionError as error:
        exprs = _as_steps(dims, axes, values)
        if exprs is None:
            raise
        tensors = tuple(
            Steps(n, dims, kind or dtypes.strong(e.dtype), (axes, e), error) for n, e in zip(names, exprs, strict=True)
        )
    return tensors if isinstance(results, (tuple, list)) else tensors[0]


def _axis_names(function: Callable[..., Any], rank: int, location: Location | None) -> list[str]:
    """The names of the axes that `function` is called with."""
    code = getattr(function, "__code__", None)
    if code is not None and not code.co_kwonlyargcount and not hasattr(function, "__self__"):
        names = list(code.co_varnames[: code.co_argcount])
        required = code.co_argcount - len(getattr(function, "__defaults__", None) or ())
        variable = bool(code.co_flags & 0x04)  # *args
    else:
        import inspect

        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # a builtin
            parameters = [inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)]
        places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        names = [p.name for p in places]
        required = sum(p.default is p.empty for p in places)
        variable = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if required <= rank and (variable or rank <= len(names)):
        spare = (f"i{n}" for n in range(rank + len(names)) if f"i{n}" not in names)
        return [*names[:rank], *(next(spare) for _ in range(rank - len(names)))]
    raise DefinitionError(
        f"te.compute: the function takes {len(names)} argument{'s' * (len(names) != 1)} "
        f"({', '.join(names) or 'none'}), but the shape has {rank} "
        f"dimension{'s' * (rank != 1)}: it gets one axis for each",
        location,
    )


def _result_names(name: Any, label: str, count: int, location: Location | None) -> list[str]:
    if isinstance(name, str):
        return [label] if count == 1 else [f"{label}_{n}" for n in range(count)]
    names = [as_name(n) for n in name] if isinstance(name, (tuple, list)) else []
    if len(names) != count:
        raise DefinitionError(
            f"te.compute: name={name!r} for {count} result{'s' * (count != 1)}; give one name, or one for each",
            location,
        )
    return names


# Recurrences ----------------------------------------------------------------------------------------------------------


def _steps_read(values: tuple[Any, ...]) -> Steps | None:
    for value in values:
        if isinstance(value, Expr):
            for node in walk(value):
                if isinstance(node, Access) and isinstance(node.tensor, Steps):
                    return node.tensor
    return None


def _as_steps(shape: tuple[Dim, ...], axes: tuple[Axis, ...], values: tuple[Any, ...]) -> tuple[Expr, ...] | None:
    """The expressions, if they read a placeholder of as many steps at an earlier step than their own; else None."""
    if not shape or not all(isinstance(v, Expr) for v in values):
        return None
    if _steps_read(values) is None and not any(
        isinstance(node, Access)
        and node.tensor.is_placeholder
        and node.indices
        and (node.tensor.shape[0] is shape[0] or node.tensor.shape[0] == shape[0])
        and axes[0] in free_axes(node.indices[0])
        and node.indices[0] is not axes[0]
        for value in values
        for node in walk(value)
    ):
        return None
    return values


def scan(init: Any, update: Any, state: Any, inputs: Any = None, name: str = "scan") -> Any:
    """A recurrence along the first dimension (TVM's spelling): the first steps are `init`, the others `update`, which
    reads `state` before.

    init: a tensor whose first extent is the number of initial steps. update: a tensor of `te.compute`, of the shape of
    the result, in which `state`, a placeholder of that shape, stands for the result. Lists of all three give several
    recurrences that read one another; the result is then a tuple. inputs: not needed; the inputs are those that are
    read.

    Raises DefinitionError where the shapes differ, and when the update reads steps that are not earlier.

    >>> import tedsl as te
    >>> X, state = te.placeholder((7, 3), name="X"), te.placeholder((7, 3), name="S")
    >>> first = te.compute((1, 3), lambda t, j: X[0, j], name="first")
    >>> step = te.compute((7, 3), lambda t, j: 0.5 * state[t - 1, j] + X[t, j], name="step")
    >>> print(te.scan(first, step, state))
    S[0, j] = first[0, j]; S[t, j] = 0.5 * S[t - 1, j] + X[t, j]
    """
    location = here()
    several = isinstance(state, (tuple, list))
    groups = [tuple(x) if isinstance(x, (tuple, list)) else (x,) for x in (init, update, state)]
    inits, updates, states = groups
    if not states or len({len(g) for g in groups}) != 1:
        counts = ", ".join(str(len(g)) for g in groups)
        raise DefinitionError(f"te.scan takes as many init, update and state tensors; got {counts}", location)
    for what, group in zip(("init", "update", "state"), groups, strict=True):
        for tensor in group:
            if not isinstance(tensor, Tensor):
                raise DefinitionError(f"te.scan: {what} is {tensor!r}, not a tensor", location)
    written: list[Written] = []
    results: list[Tensor] = []
    for first, step, stand_in in zip(inits, updates, states, strict=True):
        steps = first.shape[0] if first.rank else 0
        if not isinstance(steps, int) or steps < 1 or not same_shape(first.shape[1:], stand_in.shape[1:]):
            raise DefinitionError(
                f"te.scan: init is {first!r}; it has the shape of the state {stand_in!r} but for its first extent, "
                f"the number of initial steps",
                location,
            )
        if not same_shape(step.shape, stand_in.shape):
            raise DefinitionError(f"te.scan: the shapes of update, {step!r}, and state, {stand_in!r}, differ", location)
        written.append(_written(step, location))
        label = stand_in.name if stand_in.name != "placeholder" else name
        results.append(Tensor(label, stand_in.shape, stand_in.dtype, None, location))
    for first, result, (axes, _) in zip(inits, results, written, strict=True):
        for q in range(cast(int, first.shape[0])):
            define((result,), (Const(q), *axes[1:]), (_initial(first, q, axes),), location)
    done: dict[Tensor, Tensor] = {}
    for step, result, (axes, value) in zip(updates, results, written, strict=True):
        define((result,), axes, (_stand_for(value, dict(zip(states, results, strict=True)), done),), location)
        done[step] = result
    return tuple(results) if several else results[0]


def _initial(first: Tensor, q: int, axes: tuple[Axis, ...]) -> Expr:
    """Step `q` of `first`. A plain number takes the type of the state."""
    if len(first.parts) == 1 and isinstance(number := first.parts[0].values[first.component], Const):
        return Const(number.value)
    return Access(first, (Const(q), *axes[1:]))


def _written(step: Tensor, location: Location | None) -> Written:
    if isinstance(step, Steps):
        return step.written
    if step.is_input or len(step.parts) != 1 or len(step.parts[0].axes) != step.rank:
        raise DefinitionError(f"te.scan: the update {step!r} is not one equation of te.compute", location)
    part = step.parts[0]
    return part.axes, part.values[step.component]


def _stand_for(value: Expr, states: dict[Tensor, Tensor], done: dict[Tensor, Tensor]) -> Expr:
    """`value` with the results in place of the states, and with the steps that it goes through written out."""

    def rule(node: Expr) -> Expr | None:
        if not isinstance(node, Access):
            return None
        tensor = node.tensor
        if tensor in states or tensor in done:
            return Access(states[tensor] if tensor in states else done[tensor], node.indices)
        if isinstance(tensor, Steps):
            axes, inner = tensor.written
            return substitute(_stand_for(inner, states, done), dict(zip(axes, node.indices, strict=True)))
        return None

    return rewrite(value, rule)


# Borders --------------------------------------------------------------------------------------------------------------


def pad(x: Tensor, pad_width: Any, value: Any = 0, mode: str = "constant", name: str = "pad") -> Tensor:
    """`x` with a border, as `numpy.pad`: of `value`, or made of `x` itself with mode ``"edge"`` or ``"wrap"``.

    pad_width: ``n`` for all sides, ``(before, after)`` for all dimensions, or ``((before, after), …)`` with one pair
    for each; whole numbers or sizes. value: a number that `x`'s dtype holds, or an expression without axes.

    Raises DefinitionError for widths that do not fit, and for a value of another type.

    >>> import tedsl as te
    >>> print(te.pad(te.tensor("X", (2, 3)), ((1, 0), (0, 2)), value=7.0))
    pad[i, j] = where((i >= 1) & (j < 3), X[i - 1, j], 7.0)
    """
    if not isinstance(x, Tensor):
        raise DefinitionError(f"te.pad pads a tensor, not {x!r}")
    if mode not in ("constant", "edge", "wrap"):
        raise DefinitionError(f"te.pad: mode={mode!r}; 'constant', 'edge' or 'wrap'")
    pairs = _pairs(pad_width, x)
    axes = axis_names(x.shape)
    shape = tuple(
        as_dim(b + n + a, f"extent {d} of the padded {x.name}")
        for d, (n, (b, a)) in enumerate(zip(x.shape, pairs, strict=True))
    )
    indices: list[Any] = []
    condition: Any = None
    for axis, extent, (before, after) in zip(axes, x.shape, pairs, strict=True):
        index: Any = axis if is_zero(before) else axis - before
        tests = [] if is_zero(before) else [apply("greater_equal", axis, before)]
        tests += (
            []
            if is_zero(after)
            else [apply("less", axis, extent if is_zero(before) else as_dim(before + extent, "an extent"))]
        )
        if tests and mode != "constant" and not prove(apply("greater_equal", as_expr(extent), 1), Known()):
            hint = f"; say that the size is not 0: te.var({str(extent)!r}, min=1)" if isinstance(extent, Expr) else ""
            raise DefinitionError(
                f"te.pad: mode={mode!r} repeats elements of {x.name}, which may have none: it is {x!r}{hint}"
            )
        if tests and mode == "edge":
            index = apply("minimum", apply("maximum", index, 0), extent - 1)
        elif tests and mode == "wrap":
            index = apply("remainder", index, extent)
        elif tests:
            for test in tests:
                condition = test if condition is None else condition & test
        indices.append(index)
    element: Any = Access(x, tuple(map(as_expr, indices)))
    if condition is not None:
        element = apply("where", condition, element, _border(value, x))
    return make(name, shape, axes, element)


def _border(value: Any, x: Tensor) -> Expr:
    try:
        border = as_expr(value)
    except DefinitionError as e:
        raise DefinitionError(f"te.pad: value: {e.message}") from None
    if free_axes(border):
        raise DefinitionError(f"te.pad: value=`{border!r}` holds axes; write te.where over them instead")
    if x.dtype == "bool" and isinstance(border, Const) and border.value in (0, 1):
        return Const(bool(border.value))
    if dtypes.promote(x.dtype, border.dtype) != x.dtype:
        raise DefinitionError(
            f"te.pad: value={border!r} is {dtypes.strong(border.dtype)}, but {x.name} is {x.dtype}: nothing is "
            f"narrowed in silence; te.cast one of them",
        )
    return border


def _pairs(widths: Any, x: Tensor) -> list[tuple[Any, Any]]:
    """(before, after) for each dimension of `x`, from any of NumPy's spellings."""

    def width(value: Any) -> Dim:
        try:
            return as_dim(value, "a width")
        except DefinitionError as e:
            raise DefinitionError(f"te.pad of {x!r}: {e.message}") from None

    def single(value: Any) -> bool:
        return (
            isinstance(value, (Expr, int, np.integer))
            or not isinstance(value, (Sequence, np.ndarray))
            or isinstance(value, str)
        )

    def pair(values: Sequence[Any]) -> tuple[Any, Any]:
        if len(values) not in (1, 2) or not all(single(v) for v in values):
            raise DefinitionError(f"te.pad of {x!r}: {values!r} is not a pair (before, after) of widths")
        return width(values[0]), width(values[-1])

    if single(widths):
        widths = (widths,)
    if all(single(w) for w in widths):
        if len(widths) not in (1, 2):
            raise DefinitionError(
                f"te.pad of {x!r}: pad_width={widths!r}; give one number, (before, after), or a pair for each "
                f"dimension",
            )
        return [pair(widths)] * x.rank
    if any(single(w) for w in widths) or len(widths) not in (1, x.rank):
        raise DefinitionError(
            f"te.pad of {x!r}: pad_width={widths!r} has {len(widths)} entr{'y' if len(widths) == 1 else 'ies'}; "
            f"give a pair (before, after) for each of the {x.rank} dimensions",
        )
    pairs = [pair(w) for w in widths]
    return pairs * x.rank if len(pairs) == 1 else pairs
