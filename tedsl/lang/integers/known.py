"""What is known where an index expression stands: assumptions that answer for the normal forms, bounds and proofs under
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from tedsl.lang.expr import SIZES, Axis, Const, Expr, Var, substitute, walk

from . import conditions, normal_form, proofs
from .affine import Affine
from .assumptions import Assumptions, Bounds, Ranges
from .intervals import interval


class Known(Assumptions):
    """Assumptions: `ranges` gives axes their (lo, extent), in integers or expressions; `conditions` hold. Immutable.

    An axis that is not in `ranges` has its own range, if it is resolved. Every range is taken to be non-empty: where
    one is empty nothing runs.
    """

    __slots__ = ()

    def with_(self, ranges: Ranges | None = None, conditions: Iterable[Expr] = ()) -> Known:
        """These assumptions and more; a range given again replaces the old one. The same ones give the same object,
        with what it has found out.
        """
        conditions = tuple(conditions)
        key = (tuple(ranges.items()) if ranges else (), conditions)
        result: Known | None = self.extended.get(key)
        if result is not None:
            return result
        result = self.extended[key] = Known(
            {**self.ranges, **ranges} if ranges else self.ranges, (*self.conditions, *conditions)
        )
        if ranges:  # spans follow from their own ranges alone
            result.spans = {axis: span for axis, span in self.spans.items() if axis not in ranges}
        else:  # these follow from the ranges alone
            result.spans, result.intervals, result.least = self.spans, self.intervals, self.least
        return result

    def span(self, axis: Axis) -> tuple[Affine, Affine] | None:
        """The first and last value of `axis`; None when its range is not known."""
        try:
            return self.spans[axis]
        except KeyError:
            pass
        found = self.ranges.get(axis)
        if found is None and axis.extent is not None:
            found = (axis.lo, axis.extent)
        span = None
        if found is not None:
            lo, extent = (Affine({}, v) if isinstance(v, int) else affine_of(v) for v in found)
            span = (lo, lo + extent - 1)
        self.spans[axis] = span
        return span

    def least_size(self, size: Var) -> int:
        """The least value of a size: at least 1 where a range would be empty without it."""
        if self.least is None:
            ends = (extent for _, extent in self.ranges.values() if isinstance(extent, Expr) and extent.has & SIZES)
            self.least = {v: max(v.minimum, 1) for extent in ends for v in _positive_sizes(extent)}
        return self.least.get(size, size.minimum)

    def interval(self, x: Affine) -> Bounds:
        """An interval that holds `x`, from the ranges alone: quick."""
        return interval(x, self)

    def tight(self, x: Affine) -> Bounds:
        """The interval of `x` with what the conditions and the dependence between its atoms say."""
        return proofs.tight(x, self)

    def never_negative(self, x: Affine) -> bool:
        """Whether ``x >= 0`` is provable."""
        return proofs.never_negative(x, self)

    def decide(self, kind: str, x: Affine) -> bool | None:
        """The truth of ``x >= 0`` ("ge"), ``x == 0`` ("eq"), ``x != 0`` ("ne"); None when it is not decided."""
        return proofs.decide(kind, x, self)

    def conditioned(self, condition: Expr) -> Expr:
        """The condition, simplified."""
        return conditions.conditioned(condition, self)

    def negated(self, condition: Expr) -> Expr:
        """The condition's negation, comparisons turned round."""
        return conditions.negated(condition, self)

    def simplify_inside(self, e: Expr) -> Expr:
        """An operand, simplified."""
        return conditions.simplified(e, self)

    def __repr__(self) -> str:
        ranges = ", ".join(f"{a.name} in {lo!r} + [0, {n!r})" for a, (lo, n) in self.ranges.items())
        return f"Known({ranges}; {', '.join(map(repr, self.conditions))})"


class _Free(Known):
    """Nothing is known: axes take any value."""

    __slots__ = ()

    def span(self, axis: Axis) -> tuple[Affine, Affine] | None:
        return None

    def least_size(self, size: Var) -> int:
        return size.minimum

    def with_(self, ranges: Ranges | None = None, conditions: Iterable[Expr] = ()) -> Known:
        return Known(ranges, conditions)


FREE = Known.free = _Free()


@lru_cache(maxsize=1024)
def _positive_sizes(extent: Expr) -> tuple[Var, ...]:
    """The sizes that cannot be 0 where `extent` is at least 1."""
    found = []
    for size in dict.fromkeys(n for n in walk(extent) if isinstance(n, Var)):
        high = FREE.interval(affine_of(substitute(extent, {size: Const(0)})))[1]
        if high is not None and high <= 0:
            found.append(size)
    return tuple(found)


# What others ask ------------------------------------------------------------------------------------------------------


def affine_of(e: Expr) -> Affine:
    """The normal form of an integer expression, by arithmetic alone (nothing is assumed of the axes in it)."""
    return normal_form.affine(e, FREE)


def recombined(x: Affine) -> Affine:
    """Put together what division took apart: ``y//d*d + y%d -> y``, ``y - y//d*d -> y%d``, ``y - y%d -> y//d*d``."""
    return normal_form.recombined(x, FREE)


def negated(condition: Expr) -> Expr:
    """``~condition``, comparisons of integers turned round."""
    return conditions.negated(condition, FREE)


def prove(condition: Expr, known: Known | None = None) -> bool:
    """Whether `condition` holds at every integer point of the ranges that satisfies the conditions. False: it could not
    be proved.
    """
    return proofs.holds(condition, known or Known())


def simplify(e: Expr, known: Known | None = None) -> Expr:
    """`e` in its normal form: equal to `e` wherever the ranges and conditions of `known` hold, of the same type, the
    same however it was written.

    Integer and bool expressions are simplified throughout; in a floating one, the indices and the conditions of `where`
    are.
    """
    known = known or Known()
    found = known.simplified.get(e)
    if found is None:
        found = known.simplified[e] = conditions.simplified(e, known)
    return found


def simplify_indices(e: Expr, known: Known | None = None) -> Expr:
    """The value `e` with every index and every condition of a `where` in it simplified; its own arithmetic is left as
    it is.
    """
    return conditions.indices_simplified(e, known or Known())
