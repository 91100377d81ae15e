"""How the loops of a stage came from its axes, and every walk over that: extents, origins, values.

    Split    parent = outer * factor + inner
    Fuse     outer = fused // extent(inner), inner = fused % extent(inner)

All loops are known by name. Relations stand in the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from tedsl.lang.expr import Apply, Const, Expr, rewrite
from tedsl.lang.integers import simplify
from tedsl.lang.tensor import Dim


@dataclass(frozen=True, slots=True)
class Split:
    """`parent` becomes `outer` and `inner`. One of factor and nparts is given, as the user gave it."""

    parent: str
    outer: str
    inner: str
    factor: Dim | None
    nparts: Dim | None

    @property
    def given(self) -> tuple[str, ...]:
        return (self.parent,)

    @property
    def made(self) -> tuple[str, ...]:
        return self.outer, self.inner


@dataclass(frozen=True, slots=True)
class Fuse:
    """`outer` and `inner`, neighbours, become `fused`."""

    outer: str
    inner: str
    fused: str

    @property
    def given(self) -> tuple[str, ...]:
        return self.outer, self.inner

    @property
    def made(self) -> tuple[str, ...]:
        return (self.fused,)


Relation = Split | Fuse
Relations = tuple[Relation, ...]


def maker(relations: Relations, name: str) -> Relation | None:
    """What a loop was made by; None for an axis of the stage itself."""
    return next((r for r in relations if name in r.made), None)


def user(relations: Relations, name: str) -> Relation | None:
    """What a loop was cut or joined by; None while it is one."""
    return next((r for r in relations if name in r.given), None)


def origin(relations: Relations, name: str) -> frozenset[str]:
    """The axes from which a loop came; of an axis, itself."""
    made = maker(relations, name)
    return frozenset((name,)) if made is None else frozenset().union(*(origin(relations, n) for n in made.given))


def loops_of(relations: Relations, leaves: Container[str], name: str) -> list[str]:
    """The loops among `leaves` that an axis or loop has become."""
    if name in leaves:
        return [name]
    used = user(relations, name)
    return [] if used is None else [n for made in used.made for n in loops_of(relations, leaves, made)]


@dataclass(frozen=True, slots=True)
class LoopTree:
    """The relations over axes of given extents. `divides`: tile factors are taken to divide (the cost model)."""

    relations: Relations
    extents: Mapping[str, Dim]
    divides: bool = False

    def extent(self, name: str) -> Dim:
        """The extent of a loop or axis."""
        if name in self.extents:
            return self.extents[name]
        r = maker(self.relations, name)
        if r is None:
            raise KeyError(name)
        if isinstance(r, Fuse):
            return dim(self.extent(r.outer) * self.extent(r.inner))
        parent, factor = self.extent(r.parent), self.factor(r)
        if name == r.inner:
            return factor
        if r.nparts is not None and (isinstance(r.nparts, Expr) or isinstance(parent, Expr)):
            return r.nparts  # of a symbolic extent as many blocks as asked for, the last ones shorter or empty
        if r.nparts is not None and isinstance(factor, Expr) and not self.divides:
            return dim((parent + factor - 1) // factor)  # no factor of the user's, that would divide
        return ceil_div(parent, factor, self.divides)

    def factor(self, split: Split) -> Dim:
        """The inner extent of a split, clipped to the extent of what is split."""
        parent = self.extent(split.parent)
        if split.factor is not None:
            return clipped(split.factor, parent)
        assert split.nparts is not None
        return clipped(ceil_div(parent, split.nparts, self.divides), parent)

    def value(self, name: str, leaves: Mapping[str, Expr]) -> Expr:
        """The value, from 0, of an axis or loop in terms of the values of `leaves`."""
        if name in leaves:
            return leaves[name]
        r = user(self.relations, name)
        if r is None:
            raise KeyError(name)
        if isinstance(r, Split):
            return self.value(r.outer, leaves) * as_expr(self.factor(r)) + self.value(r.inner, leaves)
        fused, inner = self.value(r.fused, leaves), as_expr(self.extent(r.inner))
        return fused // inner if name == r.outer else fused % inner

    def values(self, axes: Mapping[str, Expr]) -> dict[str, Expr]:
        """The values of all loops that come from `axes`, at the values that these have."""
        found = dict(axes)
        for r in self.relations:
            if r.given[0] not in found:
                continue
            if isinstance(r, Split):
                factor = as_expr(self.factor(r))
                found[r.outer], found[r.inner] = found[r.parent] // factor, found[r.parent] % factor
            else:
                found[r.fused] = found[r.outer] * as_expr(self.extent(r.inner)) + found[r.inner]
        return found


def as_expr(value: Dim) -> Expr:
    return value if isinstance(value, Expr) else Const(value)


def dim(value: Any) -> Dim:
    """An extent, simplified; a plain integer when it is constant."""
    if isinstance(value, Expr):
        value = simplify(value)
        return value.value if isinstance(value, Const) else value  # type: ignore[return-value]
    return int(value)


def ceil_div(a: Dim, b: Dim, divides: bool = False) -> Dim:
    """How many blocks of `b` cover `a`. A symbolic factor is always taken to divide; a build has put its number in
    place by then.
    """
    if isinstance(a, int) and isinstance(b, int):
        return -(-a // b)
    if isinstance(b, int) and not divides:
        return dim((a + b - 1) // b)
    if isinstance(a, Expr):  # blocks of blocks: (a // c) // b, not a // (c * b)
        a = simplify(a)
        if isinstance(a, Apply) and a.function == "multiply" and any(x is b for x in a.operands):
            return dim(a.operands[0] if a.operands[1] is b else a.operands[1])
    return dim(Apply("floor_divide", (as_expr(a), as_expr(b))) if a is not b else 1)


def whole_blocks(e: Expr) -> Expr:
    """`e` where factors are taken to divide: b * (a // b) is a."""

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Apply) and node.function == "multiply":
            for x, y in (node.operands, node.operands[::-1]):
                if isinstance(y, Apply) and y.function == "floor_divide" and y.operands[1] is x:
                    return y.operands[0]
        return None

    while True:
        new = simplify(rewrite(e, rule))
        if new is e:
            return e
        e = new


def clipped(factor: Dim, extent: Dim) -> Dim:
    """A factor is at most the extent, and at least 1; symbolic ones are taken as they are (loops are bounded when they
    are lowered).
    """
    if isinstance(factor, int) and isinstance(extent, int):
        return max(1, min(factor, extent))
    return factor
