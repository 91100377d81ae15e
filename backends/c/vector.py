"""Vectorised loops in C, in GCC's and Clang's vector extensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tedsl.lang.expr import Const, Expr
from tedsl.schedule.ir import Buffer, For, constant

if TYPE_CHECKING:
    from .codegen import _Generator


class Vectors:
    """Prints the body of a vectorised loop as operations on whole vectors."""

    def __init__(self, generator: _Generator) -> None:
        self.generator = generator

    def type(self, dtype: str, lanes: int) -> str:
        from . import vector_math

        self.generator.typedefs.add((dtype, lanes))
        return vector_math.vector_type(dtype, lanes)

    def can(self, loop: For) -> bool:
        """Whether a loop is printed with vectors; otherwise it is an ordinary loop."""
        return False

    def loop(self, loop: For) -> bool:
        """Print `loop` with vectors if that can be done."""
        return False

    def place(self, buffer: Buffer, indices: Sequence[Expr], lane: For | None) -> tuple[int, int] | None:
        """The constant place (first element, lanes) of an access to a register buffer."""
        offset = self.generator.offset(buffer, indices)
        if isinstance(offset, Const):
            return int(offset.value), 1
        return None


__all__ = ["Vectors", "constant"]
