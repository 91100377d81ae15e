"""Extents of axes from the shapes of the tensors that are read, and the check that no read leaves its tensor.

An axis that stands alone as an index has that dimension's extent. Every other one gets the largest range from 0 that
keeps each access to it in bounds; an axis that stands alone too may get less from its other accesses (``X[y] + X[y +
1]``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import cast

from .errors import DefinitionError, Location
from .expr import Access, Apply, Axis, Const, Expr, free_axes, walk
from .integers import Known, affine_of, lower, prove, simplify, solve, upper
from .integers.affine import Affine, integer, within
from .integers.conditions import relation
from .integers.known import FREE
from .integers.normal_form import affine, floor
from .integers.proofs import contradictory
from .text import display as display_name
from .text import text

Dim = int | Expr
_MOST_TRIED = 4096


@dataclass(frozen=True)
class Read:
    """An access and the conditions under which it is evaluated."""

    access: Access
    guards: tuple[Expr, ...]


@dataclass(frozen=True)
class _Index:
    """One index of one access."""

    access: Access
    dim: int
    expr: Expr
    extent: Dim
    guards: tuple[Expr, ...]


class _NoExtent(Exception):
    """An index that is out of bounds where the axis is 0."""


def display(axis: Axis) -> str:
    """The user's name of an axis."""
    return display_name(axis.name)


def data_dependent(read: Read) -> list[int]:
    """The dimensions whose index is read from a tensor; they are checked when the kernel runs."""
    return [d for d, e in enumerate(read.access.indices) if any(isinstance(n, Access) for n in walk(e))]


def _indices(reads: Iterable[Read]) -> Iterator[_Index]:
    for read in reads:
        skipped = data_dependent(read)
        for d, (e, extent) in enumerate(zip(read.access.indices, read.access.tensor.shape)):
            if d not in skipped:
                yield _Index(read.access, d, affine_of(e).expr(), extent, read.guards)


def _sum(value: Dim) -> Affine:
    return Affine({}, value) if isinstance(value, int) else affine_of(value)


def _dim(x: Affine) -> Dim:
    return x.expr() if x.terms else x.constant


def _shape_text(access: Access) -> str:
    return f"{access.tensor.name} is {' x '.join(_dim_text(d) for d in access.tensor.shape)}"


def _dim_text(dim: Dim) -> str:
    return str(dim) if isinstance(dim, int) else text(dim)


def infer_extents(
    reads: Sequence[Read],
    unknown: Sequence[Axis],
    given: Mapping[Axis, Dim | tuple[Dim, Dim]],
    location: Location | None,
) -> dict[Axis, Dim]:
    """The extents of the axes of `unknown`, all of which start at 0. `given`: extents, or (lo, extent), of other axes.

    Raises DefinitionError for an axis whose accesses contradict each other, leave it open, or are out of bounds from
    the start.
    """
    return _Inference(reads, unknown, given, location).run()


class _Inference:
    def __init__(
        self,
        reads: Sequence[Read],
        unknown: Sequence[Axis],
        given: Mapping[Axis, Dim | tuple[Dim, Dim]],
        location: Location | None,
    ) -> None:
        self.indices = list(_indices(reads))
        self.reads = reads
        self.unknown = list(unknown)
        self.location = location
        self.ranges: dict[Axis, tuple[Dim, Dim]] = {a: v if isinstance(v, tuple) else (0, v) for a, v in given.items()}
        self.pending: dict[Axis, None] = dict.fromkeys(unknown)

    def run(self) -> dict[Axis, Dim]:
        alone = {axis: extent for axis in self.unknown if (extent := self.alone(axis)) is not None}
        found: dict[Axis, Dim] = {}
        for axis, extent in alone.items():
            found[axis] = self.narrowed(
                axis,
                [extent],
                [i for i in self.indices if i.expr is not axis and self.others(i, axis) <= self.ranges.keys()],
            )
        for axis, extent in found.items():
            self.settle(axis, extent)
        progress = True
        while self.pending and progress:
            progress = False
            ready: dict[Axis, Dim] = {}
            for axis in self.pending:
                bounding = [
                    i for i in self.indices if within(axis, i.expr) and self.others(i, axis) <= self.ranges.keys()
                ]
                limits = self.limits(axis, bounding)
                if limits:
                    ready[axis] = self.least(limits)
            for axis, extent in ready.items():
                found[axis] = extent
                self.settle(axis, extent)
                progress = True
        if self.pending:
            raise DefinitionError(self.open_text(next(iter(self.pending))), self.location)
        return {axis: found[axis] for axis in self.unknown}

    def settle(self, axis: Axis, extent: Dim) -> None:
        self.pending.pop(axis, None)
        self.ranges[axis] = (0, extent)

    @staticmethod
    def others(index: _Index, axis: Axis) -> set[Axis]:
        return {a for a in free_axes(index.expr) if a is not axis and a.extent is None}

    def alone(self, axis: Axis) -> Dim | None:
        """The extent of the dimensions that `axis` indexes by itself; None when there are none."""
        standing = [i for i in self.indices if i.expr is axis]
        # Where a condition keeps the access in bounds whatever the extent, it need not agree with the others.
        strict = [i for i in standing if not (i.guards and self.kept(i, axis))] or standing
        for i in strict[1:]:
            if not self.agree(strict[0].extent, i.extent):
                first = strict[0]
                raise DefinitionError(
                    f"the extents of {display(axis)} contradict each other: {_dim_text(first.extent)} in "
                    f"`{text(first.access)}` (dimension {first.dim}; "
                    f"{_shape_text(first.access)}), {_dim_text(i.extent)} in `{text(i.access)}` (dimension {i.dim}; "
                    f"{_shape_text(i.access)}). "
                    f"Change a shape, or use two axes", self.location)  # fmt: skip
        return strict[0].extent if strict else None

    @staticmethod
    def agree(a: Dim, b: Dim) -> bool:
        return a == b if isinstance(a, int) and isinstance(b, int) else _sum(a).same(_sum(b))

    def kept(self, index: _Index, axis: Axis) -> bool:
        """Whether its conditions keep the index in bounds, however far `axis` runs."""
        known = self.known(axis, index)
        x = affine_of(index.expr)
        return prove(relation("ge", x), known) and prove(relation("ge", _sum(index.extent) - x - 1), known)

    def known(self, axis: Axis, index: _Index) -> Known:
        return Known(
            {a: r for a, r in self.ranges.items() if a is not axis},
            (*index.guards, Apply("greater_equal", (axis, integer(0)))),
        )

    def narrowed(self, axis: Axis, extents: list[Dim], indices: list[_Index]) -> Dim:
        return self.least([*extents, *self.limits(axis, [i for i in indices if within(axis, i.expr)])])

    def limits(self, axis: Axis, indices: list[_Index]) -> list[Dim]:
        """The largest extent of `axis` that each index allows; those that allow any are left out."""
        result = []
        for index in indices:
            if index.expr is axis:
                result.append(index.extent)
                continue
            try:
                limit = self.limit(axis, index)
            except _NoExtent:
                raise DefinitionError(self.none_text(axis, index), self.location) from None
            if limit is not None:
                result.append(limit)
        return result

    @staticmethod
    def least(limits: list[Dim]) -> Dim:
        numbers = [d for d in limits if isinstance(d, int)]
        exprs = list(dict.fromkeys(d for d in limits if isinstance(d, Expr)))
        result: Expr | None = integer(min(numbers)) if numbers else None
        for e in exprs:
            result = e if result is None else Apply("minimum", (result, e))
        assert result is not None
        return _dim(affine_of(simplify(result)))

    def limit(self, axis: Axis, index: _Index) -> Dim | None:
        """The largest extent of `axis` that keeps `index` in bounds; None when there is no limit."""
        if isinstance(index.extent, int) and index.extent == 0:
            return 0
        known = self.known(axis, index)
        others = [a for a in free_axes(index.expr) if a is not axis]
        if any(known.span(a) is None for a in others):
            return None
        x = affine_of(index.expr)
        last = _sum(index.extent) - 1
        if index.guards:
            if prove(relation("ge", x), known) and prove(relation("ge", last - x), known):
                return None
            if not last.terms:
                return self.tried(axis, index, known)
            return self.solved(axis, index, others, Known(known.ranges))
        slope = x.terms.get(axis, 0)
        rest = x.without(axis)
        if not slope or any(within(axis, atom) for atom in rest.terms):
            return self.solved(axis, index, others, known)
        least, most = lower(rest.expr(), others, known), upper(rest.expr(), others, known)
        if least is None or most is None:
            return None
        low, high = affine_of(least), affine_of(most)
        if slope > 0:
            if not prove(relation("ge", low), known):
                raise _NoExtent
            return self.counted(floor(last - high + slope, slope, FREE), known)
        if not prove(relation("ge", last - high), known):
            raise _NoExtent
        return self.counted(floor(low - slope, -slope, FREE), known)

    def counted(self, count: Affine, known: Known) -> Dim:
        """`count` as an extent."""
        if not count.terms:
            if count.constant <= 0:
                raise _NoExtent
            return count.constant
        low, high = known.interval(count)
        if high is not None and high <= 0:
            raise _NoExtent
        if low is not None and low >= 0:
            return _dim(affine(count.expr(), known))
        return simplify(Apply("maximum", (integer(0), count.expr())), Known(known.ranges))

    def solved(self, axis: Axis, index: _Index, others: list[Axis], known: Known) -> Dim | None:
        """The limit where `axis` stands inside a quotient, a remainder or the like."""
        x, last = affine_of(index.expr), _sum(index.extent) - 1
        least, most = lower(x.expr(), others, known), upper(x.expr(), others, known)
        if least is None or most is None:
            return None
        below, above = relation("ge", affine_of(least)), relation("ge", last - affine_of(most))
        if prove(below, known) and prove(above, known):
            return None
        constant = not last.terms
        if constant and others and not _exact(x):
            return self.tried(axis, index, known)
        limits: list[Dim] = []
        for condition in (below, above):
            if prove(condition, known):
                continue
            found = solve(Apply("bitwise_and", (condition, Apply("greater_equal", (axis, integer(0))))), axis, known)
            if found is None or found.rest is not None or found.step != 1:
                if constant:
                    return self.tried(axis, index, known)
                continue  # the check of all bounds says what is wrong here
            if not isinstance(found.lo, Const) or found.lo.value != 0:
                raise _NoExtent
            limits.append(self.counted(affine_of(found.hi), known))
        return self.least(limits) if limits else None

    def tried(self, axis: Axis, index: _Index, known: Known) -> int | None:
        """The limit by trying one value after another: under conditions, and for what is not monotonous in `axis`."""
        x, last = affine_of(index.expr), cast(int, index.extent) - 1
        horizon = _MOST_TRIED
        if not index.guards and all(not within(axis, a) or _is_remainder(a) for a in x.terms):  # it repeats itself
            divisors = [n.operands[1] for n in walk(*x.terms) if isinstance(n, Apply) and n.function == "remainder"]
            horizon = min(horizon, lcm(*(abs(cast(int, d.value)) or 1 for d in divisors if isinstance(d, Const))))
        for value in range(horizon):
            here = Known({**known.ranges, axis: (value, 1)}, index.guards)
            if contradictory(here):
                continue
            low, high = here.tight(affine(index.expr, here))
            if low is not None and high is not None and (low > high or (low >= 0 and high <= last)):
                continue
            if prove(relation("ge", x), here) and prove(relation("ge", -x + last), here):
                continue
            if value == 0:
                raise _NoExtent
            return value
        return None

    # Messages

    def ranges_text(self, index: _Index, axis: Axis) -> str:
        parts = [
            f"{display(a)} has extent {_dim_text(self.ranges[a][1])}"
            for a in free_axes(index.expr)
            if a is not axis and a in self.ranges
        ]
        return f" ({', '.join(parts)})" if parts else ""

    def none_text(self, axis: Axis, index: _Index) -> str:
        return (
            f"no extent of {display(axis)} keeps `{text(index.access)}` in bounds: with {display(axis)} = 0 its "
            f"index `{text(index.access.indices[index.dim])}` is outside of dimension "
            f"{index.dim}, of extent {_dim_text(index.extent)}{self.ranges_text(index, axis)}; "
            f"{_shape_text(index.access)}. Read a larger tensor, or guard the access: "
            f"te.where(condition, {text(index.access)}, other)"
        )

    def open_text(self, axis: Axis) -> str:
        name = display(axis)
        fix = (
            f"Say it: give the tensor on the left a shape, use te.reduce_axis(extent, '{name}'), or (te.define) write "
            f"{name}=extent"
        )
        together = [i for i in self.indices if within(axis, i.expr)]
        for index in together:
            missing = [a for a in free_axes(index.expr) if a is not axis and a in self.pending]
            if missing:
                others = " and ".join(display(a) for a in missing)
                return (
                    f"the extents of {name} and {others} are open: `{text(index.access)}` "
                    f"({_shape_text(index.access)}) bounds them only together, and nothing else bounds "
                    f"either. {fix} (or that of {others})"
                )
        data = [
            r.access
            for r in self.reads
            if any(within(axis, e) for d, e in enumerate(r.access.indices) if d in data_dependent(r))
        ]
        if together:
            shown = ", ".join(dict.fromkeys(f"`{text(i.access)}` ({_shape_text(i.access)})" for i in together))
            return f"the extent of {name} is open: {shown} is in bounds whatever it is. {fix}"
        if data:
            only = f"it only stands in an index that depends on data, `{text(data[0])}`"
            return f"the extent of {name} is open: {only}. {fix}"
        return f"the extent of {name} is open: no access has {name} in an index. {fix}"


def _is_remainder(atom: Expr) -> bool:
    return isinstance(atom, Apply) and atom.function == "remainder"


def _exact(x: Affine) -> bool:
    """Whether the bounds of `x` over some of its axes are attained: only quotients are nested in it, and one of them at
    most.
    """
    hard = [a for a in x.terms if isinstance(a, Apply)]
    return len(hard) <= 1 and all(
        isinstance(a, Apply) and a.function == "floor_divide" and len(x.terms) == 1 for a in hard
    )


# Bounds ---------------------------------------------------------------------------------------------------------------


def check_bounds(reads: Sequence[Read], known: Known, location: Location | None, what: str) -> None:
    """Raise DefinitionError for the first read that is not provably inside its tensor. What depends on data is left to
    run time.
    """
    assumptions: dict[tuple[Expr, ...], Known] = {(): known}
    for index in _indices(reads):
        x = affine_of(index.expr)
        axes = free_axes(index.expr)
        if any(_empty(a, known) for a in axes):
            continue
        here = assumptions.get(index.guards)
        if here is None:
            here = assumptions[index.guards] = known.with_(conditions=index.guards)
        last = _sum(index.extent) - 1
        if prove(relation("ge", x), here) and prove(relation("ge", last - x), here):
            continue
        raise DefinitionError(_outside_text(index, x, here, what), location)


def _empty(axis: Axis, known: Known) -> bool:
    span = known.span(axis)
    return span is not None and not (span[1] - span[0]).terms and (span[1] - span[0]).constant < 0


def _outside_text(index: _Index, x: Affine, known: Known, what: str) -> str:
    low, high = known.tight(x)
    axes = free_axes(index.expr)
    ranges = []
    for a in axes:
        span = known.span(a)
        if span is not None:
            ranges.append(f"{display(a)} = {text(span[0].expr())} … {text(affine(span[1].expr(), known).expr())}")
    least, most = lower(x.expr(), axes, known), upper(x.expr(), axes, known)
    first = str(low) if low is not None else "?" if least is None else text(least)
    final = str(high) if high is not None else "?" if most is None else text(most)
    values = f"is {first}" if first == final else f"takes the values {first} … {final}"
    under = f" where {' and '.join(f'`{text(g)}`' for g in index.guards)}" if index.guards else ""
    reads = f"{what} reads" if what else "there is a read of"
    return (
        f"{reads} `{text(index.access)}` out of bounds: dimension {index.dim} of {index.access.tensor.name} has "
        f"extent {_dim_text(index.extent)}, but its index "
        f"`{text(index.access.indices[index.dim])}` "
        f"{values}{under}{' (' + ', '.join(ranges) + ')' if ranges else ''}; {_shape_text(index.access)}. Give "
        "smaller extents, or guard the "
        f"access: te.where(condition, {text(index.access)}, other)"
    )
