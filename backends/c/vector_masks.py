"""Conditions as vectors: integers of some width, all bits set or none."""

from __future__ import annotations

from typing import cast

from tedsl.backends.codegen.expressions import CTYPES
from tedsl.lang import dtypes
from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Access, Apply, Cast, Const, Expr, walk
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.integers import constant_bounds

from .vector_memory import Memory

COMPARE = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}

BITS = {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}


class Masks(Memory):
    """Prints conditions that differ from lane to lane."""

    def width(self, e: Expr) -> int:
        """The width in which a condition comes by itself: that of what it compares."""
        for node in walk(e):
            if (
                isinstance(node, Apply)
                and (node.function in COMPARE or FUNCTIONS[node.function].kind == "test")
                and self.varies(node)
            ):
                if self.narrowed(node) is not None:
                    return 4
                kind = dtypes.strong(dtypes.promote(*(x.dtype for x in node.operands)))
                return dtypes.itemsize(kind)
        return 1

    def mask(self, e: Expr, width: int) -> str:
        """A condition as a vector of integers of `width` bytes, all bits set or none."""
        kind = f"int{8 * width}"
        if not self.varies(e):
            return f"(({self.of(kind)}){{0}} - ({CTYPES[kind]})({self.g.scalar(self.fixed(e))} ? 1 : 0))"
        if isinstance(e, Apply):
            if e.function in COMPARE:
                return self.compare(e, width)
            same = {
                "maximum": "bitwise_or",
                "add": "bitwise_or",
                "minimum": "bitwise_and",
                "multiply": "bitwise_and",
            }.get(e.function, e.function)
            if same in BITS:
                return f"({self.mask(e.operands[0], width)} {BITS[same]} {self.mask(e.operands[1], width)})"
            if e.function == "invert":
                return f"~{self.mask(e.operands[0], width)}"
            if e.function == "where":
                c, a, b = (self.mask(x, width) for x in e.operands)
                return f"(({c} & {a}) | (~{c} & {b}))"
            if e.function == "isnan":
                x = self.whole(e.operands[0])
                return self.resized(f"({x} != {x})", dtypes.itemsize(e.operands[0].dtype), width)
            if e.function in ("isinf", "isfinite"):  # what is not finite leaves NaN when it is taken from itself
                x = self.whole(e.operands[0])
                text = f"(({x} - {x}) == 0)" if e.function == "isfinite" else f"(({x} == {x}) & (({x} - {x}) != 0))"
                return self.resized(text, dtypes.itemsize(e.operands[0].dtype), width)
        if isinstance(e, Access):
            return self.resized(f"({self.read(e)} != 0)", 1, width)
        if isinstance(e, Cast) and e.operand.dtype != "bool":
            return self.resized(
                f"({self.value(e.operand)} != 0)", dtypes.itemsize(dtypes.strong(e.operand.dtype)), width
            )
        raise InternalError(f"no vector form of {e!r}")

    def compare(self, e: Apply, width: int) -> str:
        a, b = self.narrowed(e) or e.operands
        kind = dtypes.strong(dtypes.promote(a.dtype, b.dtype))
        if kind == "bool":
            text = f"({self.mask(a, width)} ^ {self.mask(b, width)})"
            return text if e.function == "not_equal" else f"~{text}"
        left, right = self.operand(a), self.operand(b)
        return self.resized(f"({left} {COMPARE[e.function]} {right})", dtypes.itemsize(kind), width)

    def narrowed(self, e: Apply) -> tuple[Expr, Expr] | None:
        """What a comparison compares, in 32 bits where that is the same. A number for all lanes beside an index may be
        cut off at the ends of 32 bits.
        """
        if len(e.operands) != 2:
            return None
        found = [self.narrow(x) for x in e.operands]
        for n, x in enumerate(e.operands):
            if found[n] is None and x.dtype == "int64" and e.operands[1 - n].dtype == "int" and not self.varies(x):
                low, high = Const(-(2**31), "int64"), Const(2**31 - 1, "int64")
                found[n] = cast(Expr, Cast("int32", Apply("maximum", (Apply("minimum", (x, high)), low))))
        return None if None in found else cast("tuple[Expr, Expr]", tuple(found))

    def narrow(self, e: Expr) -> Expr | None:
        """An integer of 64 bits as one of 32 where its value is the same: it has twice the lanes."""
        if isinstance(e, Cast) and e.dtype == "int64" and e.operand.dtype == "int32":
            return e.operand
        if e.dtype == "int":
            low, high = constant_bounds(e, self.g.known)
            if low is not None and high is not None and -(2**31) < low and high < 2**31 - 1:
                return cast(Expr, Cast("int32", e))
        return None

    def resized(self, text: str, own: int, width: int) -> str:
        return text if own == width else f"__builtin_convertvector({text}, {self.of(f'int{8 * width}')})"
