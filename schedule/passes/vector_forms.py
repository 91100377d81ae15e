"""Whether the body of a loop has a vector form, and into which vectors the loop is cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from tedsl.hardware import InstructionSet
from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Cast, Expr, walk
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.integers import constant_bounds, prove
from tedsl.schedule.loops.ir import Allocate, Block, Buffer, For, If, Stmt, Store, constant, loads, preorder
from tedsl.schedule.loops.positions import Lanes, Positions, mentions

LINE = 64  # bytes of a line of the cache
MASKS = frozenset(
    "add maximum multiply minimum bitwise_and bitwise_or bitwise_xor invert where isnan isinf isfinite".split()
)


class Cuts:
    """Into which vectors loops are cut; each loop is cut once."""

    def __init__(self, facts: InstructionSet) -> None:
        self.facts = facts
        self.made: dict[For, list[tuple[int, int]]] = {}

    def width(self, loop: For, registers: frozenset[Buffer]) -> int:
        """Lanes of the machine's vectors, for the widest type that a loop stores or computes in."""
        stores = [s for s in preorder(loop.body) if isinstance(s, Store)]
        kinds = {s.buffer.dtype for s in stores}
        if not any(
            b in registers
            for s in stores
            for b in (s.buffer, *(n.tensor for n in walk(s.value) if isinstance(n, Access)))
        ):
            # registers are cut by their own type in every loop that has them
            kinds |= {n.dtype for s in stores for n in computed(s.value, loop.axis)}
        return max(self.facts.vector_bytes // max((dtypes.itemsize(k) for k in kinds), default=4), 1)

    def of(self, loop: For, registers: frozenset[Buffer]) -> list[tuple[int, int]]:
        """First value and lanes of each vector that a loop of constant extent is cut into."""
        if loop not in self.made:
            start, lanes, found = cast(int, constant(loop.lo)), self.width(loop, registers), []
            end = start + cast(int, constant(loop.extent))
            while start < end:
                while lanes > end - start:
                    lanes //= 2
                found.append((start, lanes))
                start += lanes
            self.made[loop] = found
        return self.made[loop]


def regular(loop: For) -> bool:
    """Whether a loop can be cut into vectors, as far as its bounds go."""
    return constant(loop.extent) is not None and constant(loop.lo) is not None and loop.step == 1


def computed(value: Expr, axis: Axis) -> Iterator[Expr]:
    """The parts of a value that differ from lane to lane, but for weak numbers and indices."""
    stack = [value]
    while stack:
        e = stack.pop()
        if mentions(e, axis):
            # an index widened to be compared: that is done in 32 bits
            widened = isinstance(e, Cast) and e.dtype == "int64" and e.operand.dtype == "int32"
            if e.dtype not in dtypes.WEAK and not widened:
                yield e
            if not isinstance(e, Access):
                stack += e.children


def has_vectors(dtype: str) -> bool:
    """Whether there are vectors of a type: 16-bit floats are computed with one by one."""
    return dtype not in ("float16", "bfloat16")


def why_none(stmt: Stmt, at: Lanes, positions: Positions, registers: frozenset[Buffer]) -> str:
    """Why a statement has no form for all lanes at once; "" when it has one."""
    return _Forms(positions, registers).statement(stmt, at)


def in_bounds(access: Access, at: Lanes) -> bool:
    """Whether an access may be made whatever the condition around it."""
    for index, dim in zip(access.indices, cast(Buffer, access.tensor).shape, strict=True):
        low, high = constant_bounds(index, at.known)
        if low is None or low < 0:
            return False
        if not (isinstance(dim, int) and high is not None and high < dim) and not prove(index < dim, at.known):
            return False
    return True


@dataclass(frozen=True)
class _Forms:
    """Every method says why there is no vector form of what it is given; "" when there is one."""

    positions: Positions
    registers: frozenset[Buffer]

    def statement(self, stmt: Stmt, at: Lanes) -> str:
        if isinstance(stmt, Block):
            return next(filter(None, (self.statement(s, at) for s in stmt.stmts)), "")
        if isinstance(stmt, Store):
            bools = stmt.value.dtype == "bool"
            return (self.mask if bools else self.value)(stmt.value, at) or self.store(stmt, at)
        if isinstance(stmt, For):
            if stmt.kind not in ("serial", "unrolled"):
                return f"the loop {stmt.axis!r} inside is {stmt.kind}"
            if at.varies(stmt.lo) or at.varies(stmt.extent):
                return f"the bounds of the loop {stmt.axis!r} inside differ from lane to lane"
            return self.statement(stmt.body, at.with_ranges({stmt.axis: (stmt.lo, (stmt.extent - 1) * stmt.step + 1)}))
        if isinstance(stmt, Allocate):
            if stmt.buffer.shape:
                return f"the memory of {stmt.buffer.name} is inside"
            return _sixteen(stmt.buffer.dtype) or self.statement(stmt.body, at.with_own(stmt.buffer))
        if isinstance(stmt, If):
            if stmt.otherwise is not None or at.varies(stmt.condition):
                return f"whether `{stmt.condition!r}` differs from lane to lane"
            return self.statement(stmt.then, at)
        return "it is no arithmetic"

    def store(self, stmt: Store, at: Lanes) -> str:
        if stmt.buffer in at.own:
            return ""
        place = at.place(self.positions, stmt.buffer, stmt.indices)
        if place is None:
            return self.apart(stmt.buffer, stmt.indices, at)
        stride, offset = place
        if stride == 0 or (stmt.buffer in self.registers and (stride != 1 or offset.terms)):
            return f"every lane would write the same element of {stmt.buffer.name}"
        return ""

    def apart(self, buffer: Buffer, indices: tuple[Expr, ...], at: Lanes) -> str:
        """What is read or written lane by lane, at places that have nothing to do with each other."""
        if buffer in self.registers:
            return f"{buffer.name} is kept in registers, which have no addresses"
        if any(cast(Buffer, a.tensor) in at.own for i in indices for a in loads(i)):
            return f"where {buffer.name} is read or written is computed lane by lane"
        return ""

    def all(self, operands: tuple[Expr, ...], at: Lanes) -> str:
        return next(filter(None, (self.value(e, at) for e in operands)), "")

    def value(self, e: Expr, at: Lanes) -> str:
        if not at.varies(e):
            return _sixteen(e.dtype)
        if isinstance(e, Access):
            return self.read(e, at)
        if isinstance(e, Cast):
            return self.cast(e, at)
        if isinstance(e, Apply):
            if e.dtype == "bool":
                return self.mask(e, at)
            if e.function != "where":
                return self.all(e.operands, at)
            c, a, b = e.operands
            if at.varies(c):
                for node in walk(a, b):
                    if isinstance(node, Access) and not in_bounds(node, at):
                        return f"`{node!r}` may lie outside of {node.tensor.name} where it is not chosen"
            return _sixteen(e.dtype) or self.all((a, b), at) or self.mask(c, at)
        return ""

    def read(self, e: Access, at: Lanes) -> str:
        buffer = cast(Buffer, e.tensor)
        if buffer in at.own:
            return ""
        if not has_vectors(buffer.dtype):
            return _sixteen(buffer.dtype)
        place = at.place(self.positions, buffer, e.indices)
        if place is None:
            return self.apart(buffer, e.indices, at)
        stride, offset = place
        if buffer in self.registers and (stride not in (0, 1) or offset.terms):
            return f"{buffer.name} is kept in registers, which have no addresses"
        return ""

    def cast(self, e: Cast, at: Lanes) -> str:
        source = e.operand.dtype
        if e.dtype == "bool":
            return "a conversion to bool is no comparison"
        if dtypes.is_float(source) and e.dtype in dtypes.UNSIGNED:
            return f"there is no conversion of vectors from {source} to {e.dtype}"
        return _sixteen(e.dtype) or (self.mask(e.operand, at) if source == "bool" else self.value(e.operand, at))

    def mask(self, e: Expr, at: Lanes) -> str:
        """A condition."""
        if not at.varies(e):
            return ""
        if isinstance(e, Access):
            return self.read(e, at)
        if isinstance(e, Cast) and e.operand.dtype != "bool":
            return self.value(e.operand, at)
        if isinstance(e, Apply):
            kind = FUNCTIONS[e.function].kind
            if kind == "compare":
                if any(x.dtype != "bool" for x in e.operands):
                    return self.all(e.operands, at)
                if e.function in ("equal", "not_equal"):
                    return self.masks(e.operands, at)
            elif kind == "test" and e.function in MASKS:
                return self.value(e.operands[0], at)
            elif e.function in MASKS:
                return self.masks(e.operands, at)
        return f"`{e!r}` is a condition that no vector instruction gives"

    def masks(self, operands: tuple[Expr, ...], at: Lanes) -> str:
        return next(filter(None, (self.mask(e, at) for e in operands)), "")


def _sixteen(dtype: str) -> str:
    return "" if has_vectors(dtype) else f"{dtype} is computed with one by one"
