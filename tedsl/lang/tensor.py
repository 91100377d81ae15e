"""Tensors, and the definitions that give them their elements."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from . import dtypes
from .errors import DefinitionError, Location, here
from .expr import Access, Axis, Const, Expr, Operators, Var, as_expr, walk

Dim = int | Expr


def _same(a: Iterable[Expr | None], b: Iterable[Expr | None]) -> bool:
    return all(x is y for x, y in zip(a, b, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One equation of a definition. `lhs`: distinct resolved axes or integers; `values`: one typed expression for each
    tensor defined.
    """

    lhs: tuple[Expr, ...]
    values: tuple[Expr, ...]
    location: Location | None

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(e for e in self.lhs if isinstance(e, Axis))

    @property
    def expressions(self) -> tuple[Expr, ...]:
        """Everything that it reads: its values (a scatter-add's indices and condition as well)."""
        return self.values

    @property
    def accumulates(self) -> bool:
        """Whether its values are added to elements that its left side reaches through data (a ScatterPart)."""
        return False

    def mapped(self, rule: Callable[[Expr], Expr]) -> Part:
        """The equation with `rule` applied to everything in it; itself where nothing changes."""
        lhs, values = tuple(map(rule, self.lhs)), tuple(map(rule, self.values))
        return self if _same(lhs, self.lhs) and _same(values, self.values) else replace(self, lhs=lhs, values=values)


_serial = itertools.count()


class Definition:
    """The equations of one tensor, or of several that are defined together (a tuple of expressions of equal range)."""

    __slots__ = ("__weakref__", "lifted", "location", "parts", "serial", "tensors")

    def __init__(self, tensors: tuple[Tensor, ...], location: Location | None) -> None:
        self.tensors = tensors
        self.parts: tuple[Part, ...] = ()
        self.location = location
        self.serial = next(_serial)  # definitions in the order in which they were begun
        self.lifted: Any = None  # the stages of this definition, made once (tedsl.lang.program)


def _restored(kind: type[Tensor], shape: tuple[Dim, ...] | None, dtype: str | None) -> Tensor:
    made = object.__new__(kind)
    made.known_shape, made.known_dtype = shape, dtype
    return made


class Tensor(Operators):
    """A tensor: an input when it has a shape and no definition, else what its definition says.

    Made by `te.tensor`, `te.placeholder`, `te.compute`, `te.define` and by operators on tensors. `T[i, j]` is an
    element, `T[i, j] = …` defines, `T[1:, ::2]` slices as in NumPy. Tensors are compared by identity; two with one name
    are two tensors.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[Dim, ...] | None,
        dtype: str | None,
        strides: tuple[Dim, ...] | None = None,
        location: Location | None = None,
    ) -> None:
        self.name = name
        self.strides = strides
        self.location = location
        self.definition: Definition | None = None
        self.component = 0
        self.extents: dict[str, Dim] = {}  # extents of axes given by name (te.define)
        self.serial = next(_serial)
        self.gradient: Any = None  # a rule of the user's (te.custom_gradient, te.stop_gradient); read by tedsl.autodiff
        self.operands: tuple[Tensor, ...] = ()  # what a reader meets before the definition (te.einsum)
        self.is_placeholder = False  # made by te.placeholder: may stand for the steps of a te.scan
        self.known_shape = shape
        self.known_dtype = dtype
        self.weak: str | None = None  # the type of the numbers that alone define it so far, when it has no other
        self.read_as: str | None = None  # the dtype with which it was read before it was defined

    def __reduce__(self) -> tuple[Any, ...]:
        # a recurrence's equations read the tensor: it has its shape and type before they are made again
        return _restored, (type(self), self.known_shape, self.known_dtype), self.__dict__

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The extents: integers, or expressions in sizes. Raises DefinitionError while there is neither a shape nor a
        definition.
        """
        if self.known_shape is None:
            raise DefinitionError(
                f"the tensor {self.name} has neither a shape nor a definition: give it a shape "
                f"(te.tensor('{self.name}', (4, 3))) or define it ({self.name}[i, j] = …)",
                self.location,
            )
        return self.known_shape

    @property
    def dtype(self) -> str:
        return self.known_dtype or "float32"

    @property
    def rank(self) -> int:
        return len(self.shape)

    ndim = rank

    @property
    def size(self) -> Dim:
        """The number of elements."""
        total: Any = 1
        for dim in self.shape:
            total = total * dim
        if isinstance(total, Expr):
            from .integers import simplify

            total = plain(simplify(total))
        return cast("Dim", total)

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.definition.parts if self.definition else ()

    @property
    def is_input(self) -> bool:
        return self.definition is None or not self.definition.parts

    @property
    def axis(self) -> tuple[Axis, ...]:
        """The axes of its (last) equation's left side."""
        return self.parts[-1].axes if self.parts else ()

    @property
    def op(self) -> Definition | None:
        """The definition (TVM's spelling)."""
        return self.definition

    def __len__(self) -> int:
        if not self.shape:
            raise DefinitionError(f"the tensor {self.name} has no dimensions and so no len()")
        if isinstance(self.shape[0], Expr):
            raise DefinitionError(
                f"the length of {self.name} is the symbolic size {self.shape[0]!r}; use {self.name}.shape[0]"
            )
        return self.shape[0]

    def __iter__(self) -> Any:
        raise DefinitionError(
            f"the tensor {self.name} cannot be iterated over: its elements are known when the kernel runs. Index it "
            f"with axes, e.g. {self.name}[i]",
        )

    def __bool__(self) -> bool:
        raise DefinitionError(f"the truth value of the tensor {self.name} is not known until the kernel runs")

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        if self.known_shape is None:
            return f"<tensor {self.name}, not defined yet>"
        dims = ", ".join(map(str, self.shape)) + ("," if len(self.shape) == 1 else "")
        return f"<tensor {self.name}({dims}) {self.dtype}>"

    def __str__(self) -> str:
        return repr(self.definition) if not self.is_input else repr(self)

    if TYPE_CHECKING:  # NumPy's methods: operators.py gives them to the class
        inputs: tuple[Tensor, ...]
        T: Tensor

        def __getitem__(self, key: Any) -> Any: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def transpose(self, *axes: Any) -> Tensor: ...
        def swapaxes(self, a: Any, b: Any) -> Tensor: ...
        def squeeze(self, axis: Any = None) -> Tensor: ...
        def reshape(self, *shape: Any) -> Tensor: ...
        def ravel(self) -> Tensor: ...
        def flatten(self) -> Tensor: ...
        def astype(self, dtype: Any) -> Tensor: ...
        def clip(self, min: Any = None, max: Any = None) -> Tensor: ...
        def mean(self, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, out: None = None) -> Tensor: ...
        def _reduced(
            self, axis: Any = None, dtype: Any = None, keepdims: bool = False, *, out: None = None
        ) -> Tensor: ...

        sum = prod = min = max = any = all = argmin = argmax = _reduced

    # Elements ---------------------------------------------------------------------------------------------------------

    def __expr__(self) -> Expr:
        """The tensor in an expression: its element, if it has rank 0."""
        if self.rank == 0:
            return Access(self, ())
        raise DefinitionError(
            f"`{self.name}` is a tensor of {self.rank} dimensions and stands beside indexed elements; index it: "
            f"{self.name}[{', '.join('ijklmn'[: self.rank])}]",
        )

    def element(self, items: tuple[Any, ...]) -> Access:
        """The element at `items`, axes or whatever else makes an index."""
        shape = self.shape
        for e in items:
            if isinstance(e, (Tensor, list, tuple, np.ndarray, bool, np.bool_)) and not (
                isinstance(e, Tensor) and e.rank == 0
            ):
                what = (
                    repr(e)
                    if isinstance(e, Tensor)
                    else f"the array of shape {e.shape}"
                    if isinstance(e, np.ndarray)
                    else repr(e)
                )
                raise DefinitionError(
                    f"{self.name} is indexed with {what}: an index is an axis, a whole number or an expression of "
                    "them. To gather, index with the elements "
                    f"of a tensor, {self.name}[I[i]]; to choose by a condition, "
                    f"te.where(condition, {self.name}[i], other)")  # fmt: skip
        if len(items) != len(shape):
            shown = ", ".join(map(str, items))
            raise DefinitionError(
                f"{self.name}[{shown}] has {len(items)} ind{'ex' if len(items) == 1 else 'ices'}, but {self.name} "
                f"has {len(shape)} dimension{'s' * (len(shape) != 1)}, "
                f"of extents {' x '.join(map(str, shape)) or 'none'}")  # fmt: skip
        indices = tuple(self._index(d, e) for d, e in enumerate(items))
        if self.is_input:
            self.read_as = self.dtype
        return Access(self, indices, *filter(None, (self.weak,)))

    def _index(self, dim: int, value: Any) -> Expr:
        if isinstance(value, str):
            value = Axis(value)
        e = as_expr(value)
        if not dtypes.is_integer(e.dtype):
            raise DefinitionError(
                f"index {dim} of {self.name} is `{e!r}` of type {e.dtype}; an index is a whole number (te.cast(x, "
                "'int64') rounds towards zero)",
            )
        extent = self.shape[dim]
        if isinstance(e, Const):
            value = e.value
            if value < 0 and isinstance(extent, int):
                value += extent  # as in NumPy
            elif value < 0:
                return cast(Expr, extent + Const(value))
            return Const(value)
        return e


def define_together(tensors: Sequence[Tensor], parts: Sequence[Part], location: Location | None) -> Definition:
    """A definition of `tensors` by equations in which everything is settled."""
    definition = Definition(tuple(tensors), location)
    definition.parts = tuple(parts)
    for n, tensor in enumerate(definition.tensors):
        tensor.definition, tensor.component = definition, n
    return definition


def is_zero(extent: Any) -> bool:
    """Whether an extent, or where a range begins, is the number 0."""
    return isinstance(extent, int) and extent == 0


def plain(e: Any) -> Any:
    """The whole number that an extent is, if it is one; else the expression as it is."""
    return int(e.value) if isinstance(e, Const) else e


def scalars(letter: str, kinds: Sequence[str]) -> tuple[Expr, ...]:
    """Elements that stand for any values of types `kinds`: inputs of rank 0, each with a name of its own."""
    return tuple(Access(Tensor(f"{letter}{n}", (), kind), ()) for n, kind in enumerate(kinds))


def as_dim(value: Any, what: str) -> Dim:
    """An extent from what a user gives: a whole number of at least 0, or an expression in sizes. Raises
    DefinitionError.
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        if value < 0:
            raise DefinitionError(f"{what} is {value}; an extent is at least 0")
        if value >= 2**62:
            raise DefinitionError(f"{what} is {value}, more than any memory holds")
        return int(value)
    if (
        isinstance(value, Expr)
        and dtypes.is_integer(value.dtype)
        and not any(isinstance(n, (Axis, Access)) for n in walk(value))
    ):
        from .integers import simplify

        return cast("Dim", plain(simplify(value)))
    raise DefinitionError(f"{what} is {value!r}; an extent is a whole number or a symbolic size (te.var)")


def as_shape(shape: Any, name: str) -> tuple[Dim, ...]:
    """A shape from what a user gives: a sequence of extents, or one extent."""
    items = (shape,) if isinstance(shape, (int, np.integer, Expr)) else shape
    if isinstance(items, str) or not isinstance(items, Sequence):
        raise DefinitionError(f"the shape of {name} is {shape!r}; a shape is a tuple of whole numbers or sizes")
    dims = tuple(as_dim(d, f"extent {n} of {name}") for n, d in enumerate(items))
    known = [d for d in dims if isinstance(d, int)]
    if 0 not in known and int(np.prod([float(d) for d in known])) >= 2**60:
        raise DefinitionError(f"the tensor {name} of shape {dims} has more elements than any memory holds")
    return dims


def as_name(name: Any) -> str:
    """A tensor's or axis' name from what a user gives: any non-empty text."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise DefinitionError(f"{name!r} is no name; a name is a non-empty string")
    return name


def tensor(
    name: str, shape: Any = None, dtype: Any = None, order: str = "C", strides: Sequence[Any] | None = None
) -> Tensor:
    """A new tensor: an input when it has a shape and is not defined later, else to be defined by `T[i, j] = …`.

    name: any text; it need not be unique. shape: whole numbers or sizes (`te.var`). dtype: float32 for an input unless
    given; the expression's for a definition. order: "C" or "F" (column-major), how an input lies in memory; strides:
    the same in elements, for any layout.

    Raises DefinitionError for a shape, dtype or order that is none.

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A = te.tensor("A", (3, 4))
    >>> B = te.tensor("B"); B[j, i] = 2 * A[i, j]
    >>> B
    <tensor B(4, 3) float32>
    """
    name = as_name(name)
    dims = None if shape is None else as_shape(shape, name)
    try:
        kind = None if dtype is None else dtypes.canonical(dtype)
    except ValueError as e:
        raise DefinitionError(f"the tensor {name}: {e}") from None
    if order not in ("C", "F"):
        raise DefinitionError(f"the tensor {name}: order={order!r}; 'C' (rows together) or 'F' (columns together)")
    steps: tuple[Dim, ...] | None = None
    if strides is not None:
        if dims is None or len(strides) != len(dims):
            raise DefinitionError(f"the tensor {name}: strides={strides!r} needs a shape of as many dimensions")
        steps = tuple(as_dim(s, f"stride {n} of {name} (in elements)") for n, s in enumerate(strides))
    elif order == "F" and dims is None:
        raise DefinitionError(
            f"the tensor {name}: order='F' says how an input lies in memory, and an input has a shape; a result is "
            "laid out as order='C'",
        )
    elif order == "F" and dims is not None:
        found: list[Any] = [1]
        for dim in dims[:-1]:
            found.append(found[-1] * dim)
        steps = tuple(as_dim(s, f"stride of {name}") for s in found[: len(dims)])
    return Tensor(name, dims, kind, steps, here())


def placeholder(shape: Any, dtype: Any = None, name: str = "placeholder") -> Tensor:
    """An input (TVM's spelling of `te.tensor(name, shape, dtype)`)."""
    made = tensor(name, shape, dtype)
    made.is_placeholder = True
    return made


def axes(names: str | Sequence[str]) -> Any:
    """Axes by name: `i, j, k = te.axes("i j k")`; a single name gives the axis itself. Axes are equal by name.

    >>> import tedsl as te
    >>> te.axes("i j")
    (i, j)
    """
    if not isinstance(names, Sequence):
        raise DefinitionError(f"te.axes takes names, te.axes('i j k'), not {names!r}")
    found = tuple(names.replace(",", " ").split()) if isinstance(names, str) else tuple(names)
    if not found:
        raise DefinitionError("te.axes needs at least one name, e.g. te.axes('i j k')")
    made = tuple(Axis(as_name(n)) for n in found)
    return made[0] if len(made) == 1 and isinstance(names, str) else made


def reduce_axis(extent: Any, name: str = "k") -> Axis:
    """An axis with a range of its own: 0 … n - 1, or lo … hi - 1 for `(lo, hi)`.

    >>> import tedsl as te
    >>> kk = te.reduce_axis(3, "kk")
    >>> C = te.compute((2,), lambda i: te.sum(kk * i, axis=kk), name="C")
    """
    name = as_name(name)
    if isinstance(extent, (tuple, list)):
        if len(extent) != 2:
            raise DefinitionError(f"te.reduce_axis({extent!r}): a range is (low, high)")
        for e in extent:
            if not isinstance(e, (int, np.integer, Expr)):
                raise DefinitionError(f"te.reduce_axis({extent!r}): a range is (low, high), of whole numbers or sizes")
        lo, hi = (e if isinstance(e, Expr) else int(e) for e in extent)
        length = as_dim(
            hi - lo if isinstance(lo, Expr) or isinstance(hi, Expr) else max(hi - lo, 0), f"the extent of {name}"
        )
        return Axis(name, lo, length)
    return Axis(name, 0, as_dim(extent, f"the extent of {name}"))


def var(name: str, min: int = 0, multiple_of: int = 1) -> Var:
    """A symbolic size, read from the arrays at the call. min, multiple_of: what is known of it (checked at the call).

    >>> import tedsl as te
    >>> n = te.var("n", min=1)
    >>> A = te.tensor("A", (n, 5))
    """
    if not isinstance(min, int) or not isinstance(multiple_of, int) or min < 0 or multiple_of < 1:
        raise DefinitionError(
            f"te.var({name!r}, min={min!r}, multiple_of={multiple_of!r}): min is at least 0, multiple_of at least 1",
        )
    return Var(as_name(name), min, multiple_of)
