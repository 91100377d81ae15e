"""What code generation hands to the runtime: C source and a description of the arguments that it expects.

    CModule   the whole: name, C source, arguments, sizes, checks, faults
    Argument  one array (or scalar) of the call, in call order: inputs, then outputs
    SizeVar   a symbolic size, bound from the arrays' shapes at the call
    SizeCheck a condition on the sizes that the call must meet
    Fault     what a positive return value of the C function means
    Size      ::= int | ("size", index) | (op, Size, Size)
    op        ::= + | - | * | // | % | min | max        (// and % floor; by zero they give 0)

The source defines ``int64_t NAME_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)``.
It returns 0, -1 when memory for a temporary ran out, or n > 0 for ``faults[n - 1]`` with details in ``fault[0..7]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Apply, Const, Var

if TYPE_CHECKING:
    from tedsl.schedule.loops.program import Nest

Size: TypeAlias = int | tuple[Any, ...]


@dataclass(frozen=True)
class Argument:
    """One array of a call. `strides` are in elements, None is C order.

    `inplace`: the positions of the inputs that this output may be, exactly.
    """

    name: str
    dtype: str
    shape: tuple[Size, ...]
    role: Literal["input", "output"]
    strides: tuple[Size, ...] | None = None
    inplace: tuple[int, ...] = ()


@dataclass(frozen=True)
class SizeVar:
    """A symbolic size and what is known of it."""

    name: str
    minimum: int = 0
    multiple_of: int = 1


@dataclass(frozen=True)
class SizeCheck:
    """A condition on the sizes (nonzero means fine); the message is formatted with the sizes by name."""

    condition: Size
    message: str
    error: Literal["value", "index", "type"] = "value"


@dataclass(frozen=True)
class Fault:
    """A failure that only the data can tell; the message is formatted with the values in ``fault[0..7]``."""

    message: str
    error: Literal["index", "value", "memory"] = "index"


@dataclass(frozen=True)
class CModule:
    """A kernel before it is compiled. Plain data: it pickles, and is compiled for the machine that it arrives at.

    `late_faults`: the kernel may fail after it has begun to write, so it gets fresh buffers that are copied on success.
    `several`: the call returns a tuple, even of one. `isa`: the instructions to use at most (None: all there are).
    """

    name: str
    source: str
    args: tuple[Argument, ...]
    sizes: tuple[SizeVar, ...] = ()
    checks: tuple[SizeCheck, ...] = ()
    faults: tuple[Fault, ...] = ()
    openmp: bool = False
    late_faults: bool = False
    several: bool = False
    isa: str | None = None

    @property
    def inputs(self) -> tuple[Argument, ...]:
        return tuple(a for a in self.args if a.role == "input")

    @property
    def outputs(self) -> tuple[Argument, ...]:
        return tuple(a for a in self.args if a.role == "output")

    def spec(self) -> tuple[Any, ...]:
        """The same without the source, as plain tuples: what checks a call, here and in an exported extension."""
        return (
            self.name,
            tuple((a.name, a.dtype, a.shape, a.role, a.strides, a.inplace) for a in self.args),
            tuple((s.name, s.minimum, s.multiple_of) for s in self.sizes),
            tuple((c.condition, c.message, c.error) for c in self.checks),
            tuple((f.message, f.error) for f in self.faults),
            self.openmp,
            self.late_faults,
            self.several,
        )


_OPERATORS = {"add": "+", "subtract": "-", "multiply": "*", "floor_divide": "//", "remainder": "%", "minimum": "min",
              "maximum": "max"}  # fmt: skip


def module_of(nest: Nest, name: str, source: str, openmp: bool, isa: str | None) -> CModule:
    """A lowered program and its source as a module."""
    sizes = sorted(set(nest.sizes), key=lambda v: v.name)
    index = {v.name: n for n, v in enumerate(sizes)}
    args = tuple(
        Argument(
            b.name,
            b.dtype,
            tuple(size_of(d, index) for d in b.shape),
            "input" if b.role == "input" else "output",
            None if b.strides is None else tuple(size_of(d, index) for d in b.strides),
            nest.inplace.get(b, ()),
        )
        for b in (*nest.inputs, *nest.outputs)
    )
    return CModule(
        name=name,
        source=source,
        args=args,
        sizes=tuple(SizeVar(v.name, v.minimum, v.multiple_of) for v in sizes),
        checks=tuple(
            SizeCheck(size_of(c.condition, index), c.message, c.error)  # type: ignore[arg-type]
            for c in nest.checks
        ),
        faults=tuple(Fault(f.message, f.error) for f in nest.faults),  # type: ignore[arg-type]
        openmp=openmp,
        late_faults=nest.late_faults,
        several=nest.several,
        isa=isa,
    )


def size_of(value: Any, index: dict[str, int]) -> Size:
    """A size expression as the runtime evaluates it."""
    if isinstance(value, int):
        return value
    if isinstance(value, Const):
        return int(value.value)
    if isinstance(value, Var):
        return ("size", index[value.name])
    if isinstance(value, Apply) and value.function in _OPERATORS:
        a, b = (size_of(x, index) for x in value.operands)
        return (_OPERATORS[value.function], a, b)
    if isinstance(value, Apply) and value.function == "negative":
        return ("-", 0, size_of(value.operands[0], index))
    raise InternalError(f"the extent `{value!r}` is no expression in sizes")
