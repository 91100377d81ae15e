"""What all parts of the vector code share: the lanes that stand for a loop's steps, their types, and what differs
between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tedsl.backends.codegen.expressions import CTYPES
from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Axis, Const, Expr, free_axes, reads_tensors, substitute, walk
from tedsl.schedule.loops.ir import Buffer, For

from . import stream
from .math import functions as vector_math

if TYPE_CHECKING:
    from .printer import _Generator


def mentions(e: Expr, axis: Axis) -> bool:
    """Whether an expression of the IR depends on a loop's axis."""
    for a in free_axes(e):
        if a is axis:
            return True
    return False


class Unfit(Exception):
    """The body of a loop has something for which there is no vector form."""


class Lanes:
    """The loop whose steps are lanes just now: `axis`, from `base` on, so many `lanes`."""

    def __init__(self, generator: _Generator) -> None:
        self.g = generator
        self.axis: Axis | None = None
        self.base: Expr = Const(0)
        self.lanes = 1
        self.locals: set[Buffer] = set()  # scalars inside of the loop: one for each lane
        self.depends: dict[Expr, bool] = {}
        self.shuffles: dict[tuple[str, str], str] = {}
        self.cuts: dict[For, list[tuple[int, int]]] = {}
        self.reads: dict[tuple[Expr, Axis, Expr, int], str] = {}  # elements at the same place have the same text
        self.past = False  # whether what is stored goes past the caches
        self.rows: dict[int, stream.Row] = {}  # loops whose vectors make lines with those before, by identity
        self.row: stream.Row | None = None  # of the loop just now
        self.replaced: dict[Access, str] = {}  # reads that are in a variable already

    def type(self, dtype: str, lanes: int) -> str:
        self.g.typedefs.add((dtype, lanes))
        return vector_math.vector_type(dtype, lanes)

    @staticmethod
    def has(dtype: str) -> bool:
        """Whether there are vectors of a type: 16-bit floats are computed with one by one."""
        return dtype not in ("float16", "bfloat16")

    def of(self, dtype: str) -> str:
        """The C type of all lanes of a value."""
        if not self.has(dtype):
            raise Unfit
        return self.type(dtypes.strong(dtype), self.lanes)

    def varies(self, e: Expr) -> bool:
        """Whether a value differs between lanes."""
        if not self.locals or not reads_tensors(e):
            assert self.axis is not None
            return mentions(e, self.axis)
        if e not in self.depends:
            for node in walk(e):
                if node not in self.depends:
                    own = node is self.axis or (isinstance(node, Access) and cast(Buffer, node.tensor) in self.locals)
                    self.depends[node] = own or any(self.depends[c] for c in node.children)
        return self.depends[e]

    def fixed(self, e: Expr) -> Expr:
        """An expression at the first lane."""
        assert self.axis is not None
        return substitute(e, {self.axis: self.base}) if mentions(e, self.axis) else e

    # What a base knows of the parts above it --------------------------------------------------------------------------

    def value(self, e: Expr) -> str:
        """`e` in C: a vector where it varies, a scalar where not."""
        raise NotImplementedError

    def operand(self, e: Expr) -> str:
        """An operand of an infix operation: compilers broadcast a scalar of the element's type beside a vector."""
        text = self.value(e)
        if not self.varies(e) and e.dtype not in ("float32", "float64"):
            return f"({CTYPES[dtypes.strong(e.dtype)]})({text})"
        return text

    def whole(self, e: Expr) -> str:
        text = self.value(e)
        return text if self.varies(e) else self.splat(text, e.dtype)

    def splat(self, text: str, dtype: str) -> str:
        zero = f"({self.of(dtype)}){{0}}"
        return (
            f"(({text}) - {zero})" if dtypes.is_float(dtype) else f"(({CTYPES[dtypes.strong(dtype)]})({text}) + {zero})"
        )
