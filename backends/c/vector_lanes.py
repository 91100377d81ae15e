"""What all parts of the vector code share: the lanes that stand for a loop's steps, their types, and what differs
between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tedsl.backends.codegen.expressions import CTYPES
from tedsl.lang import dtypes
from tedsl.lang.expr import Axis, Expr
from tedsl.schedule.loops.ir import Row
from tedsl.schedule.loops.positions import Lanes

from .math import functions as vector_math

if TYPE_CHECKING:
    from .printer import _Generator


class Base:
    """The loop whose steps are lanes just now: `axis`, from `base` on, so many `lanes`."""

    at: Lanes

    def __init__(self, generator: _Generator) -> None:
        self.g = generator
        self.shuffles: dict[tuple[str, str], str] = {}
        self.reads: dict[tuple[Expr, Axis, Expr, int], str] = {}  # elements at the same place have the same text
        self.to = ""  # where what is stored goes (see ir.Vector)
        self.row: Row | None = None

    @property
    def lanes(self) -> int:
        return self.at.lanes

    def type(self, dtype: str, lanes: int) -> str:
        self.g.typedefs.add((dtype, lanes))
        return vector_math.vector_type(dtype, lanes)

    def of(self, dtype: str) -> str:
        """The C type of all lanes of a value."""
        return self.type(dtypes.strong(dtype), self.lanes)

    def varies(self, e: Expr) -> bool:
        return self.at.varies(e)

    def fixed(self, e: Expr) -> Expr:
        return self.at.first(e)

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
