"""Where elements lie: their positions in a buffer, and those of the lanes of a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from tedsl.lang.expr import Access, Axis, Expr, free_axes, reads_tensors, substitute, walk
from tedsl.lang.integers import Affine, Known, affine_of, recombined

from .ir import Buffer, strides_of


class Positions:
    """The positions of elements, counted in elements from the start of their buffer; each is worked out once."""

    def __init__(self) -> None:
        self.strides: dict[Buffer, tuple[int | Affine, ...]] = {}
        self.found: dict[tuple[Buffer, tuple[Expr, ...]], Affine] = {}

    def of(self, buffer: Buffer, indices: Sequence[Expr]) -> Affine:
        key = buffer, tuple(indices)
        found = self.found.get(key)
        if found is not None:
            return found
        if buffer not in self.strides:
            self.strides[buffer] = tuple(s if isinstance(s, int) else affine_of(s) for s in strides_of(buffer))
        total = Affine({}, 0)
        for index, stride in zip(indices, self.strides[buffer], strict=True):
            form = affine_of(index)
            total = total.plus(form, stride) if isinstance(stride, int) else total + form.times(stride)
        if not total.linear:  # the indices of fused loops, `z // n` and `z % n`, are together just `z`
            total = recombined(total)
        self.found[key] = total
        return total


def mentions(e: Expr, axis: Axis) -> bool:
    """Whether an expression of the IR depends on a loop's axis."""
    for a in free_axes(e):
        if a is axis:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Lanes:
    """The steps of a loop that are lanes of a vector: `axis` from `base` on, `lanes` of them. `known`: what holds
    there; `own`: the scalars inside of the loop, of which each lane has one.
    """

    axis: Axis
    base: Expr
    lanes: int
    known: Known
    own: frozenset[Buffer] = frozenset()
    depends: dict[Expr, bool] = field(default_factory=dict)

    def with_own(self, buffer: Buffer) -> Lanes:
        return replace(self, own=self.own | {buffer}, depends={})

    def with_ranges(self, ranges: Mapping[Axis, tuple[int | Expr, int | Expr]]) -> Lanes:
        return replace(self, known=self.known.with_(ranges=ranges))

    def varies(self, e: Expr) -> bool:
        """Whether a value differs between lanes."""
        if not self.own or not reads_tensors(e):
            return mentions(e, self.axis)
        if e not in self.depends:
            for node in walk(e):
                if node not in self.depends:
                    mine = node is self.axis or (isinstance(node, Access) and cast(Buffer, node.tensor) in self.own)
                    self.depends[node] = mine or any(self.depends[c] for c in node.children)
        return self.depends[e]

    def first(self, e: Expr) -> Expr:
        """An expression at the first lane."""
        return substitute(e, {self.axis: self.base}) if mentions(e, self.axis) else e

    def place(self, positions: Positions, buffer: Buffer, indices: Sequence[Expr]) -> tuple[int, Affine] | None:
        """The distance between lanes and the position of the first; None where they lie at no fixed distance: rows of a
        length that is a size, places told by data.
        """
        if any(reads_tensors(i) and self.varies(i) for i in indices):
            return None
        form = positions.of(buffer, indices)
        stride = form.terms.get(self.axis, 0)
        if stride:
            form = form.without(self.axis).plus(affine_of(self.base), stride)
        if not form.linear and any(mentions(atom, self.axis) for atom in form.terms):
            return None
        return stride, form
