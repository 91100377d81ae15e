"""What is known where an index expression stands: the ranges of axes and the conditions that hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tedsl.lang.expr import SIZES, Axis, Const, Expr, Var, substitute, walk

from .affine import Affine
from .normal_form import affine

if TYPE_CHECKING:
    from .prove import Facts
    from .samples import Sample

Bounds = tuple["int | None", "int | None"]


class Known:
    """Assumptions: `ranges` gives axes their (lo, extent), in integers or expressions; `conditions` hold. Immutable.

    An axis that is not in `ranges` has its own range, if it is resolved. Every range is taken to be non-empty: where
    one is empty nothing runs.
    """

    __slots__ = (
        "affines",
        "bounds",
        "conditions",
        "extended",
        "facts",
        "intervals",
        "least",
        "proofs",
        "ranges",
        "samples",
        "simplified",
        "spans",
        "values",
    )

    def __init__(
        self, ranges: Mapping[Axis, tuple[int | Expr, int | Expr]] | None = None, conditions: Iterable[Expr] = ()
    ) -> None:
        self.ranges: dict[Axis, tuple[int | Expr, int | Expr]] = dict(ranges or {})
        self.conditions: tuple[Expr, ...] = tuple(dict.fromkeys(conditions))
        # What has been found out under these assumptions.
        self.affines: dict[Expr, Affine] = {}
        self.simplified: dict[Expr, Expr] = {}
        self.values: dict[Expr, Expr] = {}
        self.spans: dict[Expr, tuple[Affine, Affine] | None] = {}
        self.intervals: dict[Expr, Bounds] = {}
        self.bounds: dict[Any, Bounds] = {}
        self.proofs: dict[Any, bool] = {}
        self.extended: dict[Any, Known] = {}
        self.least: dict[Var, int] | None = None
        self.facts: Facts | None = None
        self.samples: tuple[list[Sample], Iterator[Sample]] | None = None

    def with_(
        self, ranges: Mapping[Axis, tuple[int | Expr, int | Expr]] | None = None, conditions: Iterable[Expr] = ()
    ) -> Known:
        """These assumptions and more; a range given again replaces the old one. The same ones give the same object,
        with what it has found out.
        """
        conditions = tuple(conditions)
        key = (tuple(ranges.items()) if ranges else (), conditions)
        result = self.extended.get(key)
        if result is not None:
            return result
        result = self.extended[key] = Known(
            {**self.ranges, **ranges} if ranges else self.ranges, (*self.conditions, *conditions)
        )
        if ranges:
            result.spans = {
                axis: span for axis, span in self.spans.items() if axis not in ranges
            }  # they follow from their own ranges alone
        else:
            result.spans, result.intervals, result.least = (
                self.spans,
                self.intervals,
                self.least,
            )  # they follow from the ranges alone
        return result

    def assumes(self, condition: Expr) -> bool:
        """Whether `condition` is one of the conditions, as it stands."""
        return any(c is condition for c in self.conditions)

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
            lo, extent = (Affine({}, v) if isinstance(v, int) else affine(v, None) for v in found)
            span = (lo, lo + extent - 1)
        self.spans[axis] = span
        return span

    def least_size(self, size: Var) -> int:
        """The least value of a size: at least 1 where a range would be empty without it."""
        if self.least is None:
            ends = (extent for _, extent in self.ranges.values() if isinstance(extent, Expr) and extent.has & SIZES)
            self.least = {v: max(v.minimum, 1) for extent in ends for v in positive_sizes(extent)}
        return self.least.get(size, size.minimum)

    def axis_value(self, axis: Axis) -> Affine:
        """`axis` as a sum: the constant that it is, where it takes one value only."""
        value = self.only_value(axis)
        return Affine({axis: 1}) if value is None else Affine({}, value)

    def only_value(self, axis: Axis) -> int | None:
        """The constant that `axis` is, where it takes one value only."""
        span = self.span(axis)
        if span is not None and span[0].constant == span[1].constant and not span[0].terms and not span[1].terms:
            return span[0].constant
        return None

    def __repr__(self) -> str:
        ranges = ", ".join(f"{a.name} in {lo!r} + [0, {n!r})" for a, (lo, n) in self.ranges.items())
        return f"Known({ranges}; {', '.join(map(repr, self.conditions))})"


@lru_cache(maxsize=1024)
def positive_sizes(extent: Expr) -> tuple[Var, ...]:
    """The sizes that cannot be 0 where `extent` is at least 1."""
    from .bounds import interval

    found = []
    for size in dict.fromkeys(n for n in walk(extent) if isinstance(n, Var)):
        high = interval(affine(substitute(extent, {size: Const(0)}), None), None)[1]
        if high is not None and high <= 0:
            found.append(size)
    return tuple(found)
