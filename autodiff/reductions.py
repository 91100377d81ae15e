"""Reductions: what an adjoint or a tangent does where a stage's value is one.

sum              the adjoint goes to every point
max, min         it is shared equally by the points that attain the extreme (NaN attains nothing); their number is a
                 stage of its own, `M.ties`
prod, reducers   the reduction is the fold from its first point to its last, and every step of it is differentiated:
of the user      combine(before, x) with what comes before a point, times the derivatives of all steps after it. Both
                 are recurrences of their own, `P.before` and `P.after`. No division, so zeros are no matter, at any
                 order; and as one order is taken for all points, what ties shares the adjoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tedsl.lang import dtypes
from tedsl.lang.errors import GradientError, Location
from tedsl.lang.expr import Access, Apply, Axis, Const, Expr, Reduce, apply, free_axes, substitute, walk
from tedsl.lang.integers import simplify
from tedsl.lang.reductions import REDUCERS
from tedsl.lang.tensor import Definition, Part, Tensor, define_together, plain, scalars
from tedsl.lang.tensor import is_zero as is_zero_extent
from tedsl.lang.text import text

from .arithmetic import (
    add,
    both,
    const,
    convert,
    divide,
    guarded,
    is_const,
    is_zero,
    mul,
    select,
    without_units,
)
from .chain_rule import Interesting, Reading, active_nodes, differentiable, pull, push
from .gather import make

SUM = REDUCERS["sum"]
_EXTREMES = ("max", "min", "machine_max", "machine_min")


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """An access inside a reduction and its adjoint, at the points of `axes` (beside those of the stage) where `where`
    holds.
    """

    axes: tuple[Axis, ...]
    where: tuple[Expr, ...]
    reading: Reading
    root: Expr | None = None  # what the adjoint is a multiple of


def pull_reduction(
    tensors: Sequence[Tensor], part: Part, adjoints: Sequence[Expr], interesting: Interesting, stepwise: bool
) -> Iterator[Reduced]:
    """The adjoints of what the reductions of `part` (one for each tensor, all over the same values) read. `stepwise`:
    in a recurrence.
    """
    node = cast(Reduce, part.values[0])
    if all(is_zero(g) for g in adjoints) or not any(v in active_nodes(v, interesting) for v in node.values):
        return
    axes = cast("tuple[Axis, ...]", node.axes)
    where = () if node.where is None else (node.where,)
    name = node.reducer.name if node.reducer.builtin else ""
    if name == "sum":
        for reading in pull(node.values[0], adjoints[0], interesting, {}, part.location):
            yield Reduced(axes, where, reading, adjoints[0])
    elif name in _EXTREMES:
        attained, ties = _extreme(tensors[0], part, node)
        share = divide(adjoints[0], ties)
        if not stepwise and _windowed(node) and set(free_axes(share)) <= set(part.axes):
            (share,) = held(f"d{tensors[0].name}.share", part.axes, (share,), part.location)
        for reading in pull(node.values[0], share, interesting, {}, part.location):
            yield Reduced(axes, (*where, attained), reading, share)
    elif name in ("any", "all", "argmax", "argmin"):
        raise _not_real(node, part.location)
    else:
        by_component = [const(0, v.dtype) for v in node.values]
        for value, g in zip(part.values, adjoints):
            c = cast(Reduce, value).component
            by_component[c] = add(by_component[c], g)
        yield from _pull_folded(tensors[0].name, part, node, axes, by_component, interesting, stepwise)


def push_reduction(tensors: Sequence[Tensor], part: Part, n: int, tangent: Any, interesting: Interesting) -> Expr:
    """The tangent of value `n` of `part`, a reduction."""
    node = cast(Reduce, part.values[n])
    if not any(v in active_nodes(v, interesting) for v in node.values):
        return const(0, node.dtype)
    name = node.reducer.name if node.reducer.builtin else ""
    axes = cast("tuple[Axis, ...]", node.axes)

    def summed(e: Expr, where: Expr | None) -> Expr:
        return e if is_zero(e) else Reduce(SUM, (e,), axes, where, None, 0)

    if name == "sum":
        return summed(push(node.values[0], tangent, interesting, {}, part.location), node.where)
    if name in _EXTREMES:
        attained, ties = _extreme(tensors[n], part, node)
        moved = push(node.values[0], tangent, interesting, {}, part.location)
        # nothing attains the extreme of nothing (a condition on data left no point), nor one that is NaN
        return divide(summed(guarded([attained], moved), node.where), Apply("maximum", (ties, const(1, ties.dtype))))
    if name in ("any", "all", "argmax", "argmin"):
        raise _not_real(node, part.location)
    moved_values = tuple(push(v, tangent, interesting, {}, part.location) for v in node.values)
    return _push_folded(tensors[0].name, part, node, axes, moved_values)


def _not_real(node: Reduce, location: Location | None) -> GradientError:
    return GradientError(
        f"`{text(node)}` is of type {node.dtype} and has no derivative; te.stop_gradient says that it is meant as a "
        "constant",
        location,
    )


# Extremes -------------------------------------------------------------------------------------------------------------


def _extreme(tensor: Tensor, part: Part, node: Reduce) -> tuple[Expr, Expr]:
    """Whether a point attains the extreme, and how many do."""
    attained = apply("equal", node.values[0], Access(tensor, part.lhs))
    one = select(attained, const(1, tensor.dtype), const(0, tensor.dtype))
    count = Reduce(SUM, (one,), node.axes, node.where, None, 0)
    return attained, held(f"{tensor.name}.ties", part.axes, (count,), part.location)[0]


def _windowed(node: Reduce) -> bool:
    """Whether neighbouring results read elements in common, so that what they share out is better divided once."""
    return any(
        not isinstance(i, (Axis, Const))
        for v in node.values
        for n in walk(v)
        if isinstance(n, Access)
        for i in n.indices
    )


def _own(axes: Sequence[Axis]) -> tuple[tuple[Axis, ...], dict[Expr, Expr], tuple[Expr, ...]]:
    """Axes from 0 for `axes`, these in terms of them, and the indices to reach an element by."""
    own = tuple(a if is_zero_extent(a.lo) else Axis(a.name, 0, a.extent) for a in axes)
    shifted: dict[Expr, Expr] = {a: o + a.lo for a, o in zip(axes, own) if a is not o}
    return own, shifted, tuple(a if a is o else simplify(a - a.lo) for a, o in zip(axes, own))


def held(name: str, axes: Sequence[Axis], values: Sequence[Expr], location: Location | None) -> tuple[Expr, ...]:
    """Stages of their own for `values` over `axes`: what reads them there."""
    own, shifted, index = _own(axes)
    if len(values) == 1:
        return (Access(make(name, own, substitute(values[0], shifted), location), index),)
    return tuple(Access(t, index) for t in _together(name, own, [substitute(v, shifted) for v in values], location))


def _together(name: str, axes: Sequence[Axis], values: Sequence[Expr], location: Location | None) -> tuple[Tensor, ...]:
    """One definition of several tensors."""
    shape = tuple(a.extent for a in axes)
    tensors = _blank(_numbered(name, len(values)), shape, [v.dtype for v in values], location)
    _equation(tensors, tuple(axes), values, location)
    return tensors


def _numbered(name: str, count: int) -> list[str]:
    return [name if n == 0 else f"{name}{n}" for n in range(count)]


def _blank(
    names: Sequence[str], shape: tuple[Any, ...], kinds: Sequence[str], location: Location | None
) -> tuple[Tensor, ...]:
    tensors = tuple(Tensor(label, shape, kind, None, location) for label, kind in zip(names, kinds))
    define_together(tensors, (), location)
    return tensors


def _equation(
    tensors: tuple[Tensor, ...], lhs: tuple[Expr, ...], values: Sequence[Expr], location: Location | None
) -> None:
    definition = cast(Definition, tensors[0].definition)
    definition.parts = (*definition.parts, Part(lhs, tuple(without_units(v) for v in values), location))


# Products, and reducers of the user's ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """One axis of a reduction, folded from its first point to its last.

    What is folded up to a point is ``combined = combine(before, x)``, given in placeholders for the values x;
    `slopes[a][b]` is the derivative of component a of the result in component b of that, the product of the derivatives
    of all later steps (none for whole numbers).
    """

    placeholders: tuple[Expr, ...]
    combined: tuple[Expr, ...]
    is_product: bool
    slopes: dict[int, dict[int, Expr]]
    values: tuple[Expr, ...]

    def adjoints(self, given: Sequence[Expr], location: Location | None) -> tuple[Expr, ...]:
        """The adjoints of the values at a point, given those of the results."""
        at = [const(0, e.dtype) for e in self.combined]
        for a, g in enumerate(given):
            if not is_zero(g):
                for b, slope in self.slopes.get(a, {}).items():
                    at[b] = add(at[b], mul(convert(g, slope.dtype), slope))
        found = _pulled(self.combined, at, self.placeholders, location)
        if self.is_product and self.slopes and not is_const(slope := self.slopes[0][0]):
            before = cast(Apply, self.combined[0]).operands[0]
            lost = (_is_lost(before, slope), _is_lost(slope, before))
            found = [select(Apply("bitwise_or", lost), const(0, e.dtype), e) for e in found]
        return tuple(without_units(substitute(e, dict(zip(self.placeholders, self.values)))) for e in found)


def _is_lost(a: Expr, b: Expr) -> Expr:
    """Whether the product of `a` and `b` is 0 but for an overflow of factors that `a` is the product of."""
    return both([Apply("isinf", (a,)), apply("equal", b, const(0, b.dtype))])


def _pulled(
    results: Sequence[Expr], given: Sequence[Expr], wanted: Sequence[Expr], location: Location | None
) -> list[Expr]:
    """The adjoints of `wanted`, accesses to tensors of their own, given those of `results`, which are made of them."""
    tensors = [cast(Access, p).tensor for p in wanted]
    found = [const(0, p.dtype) for p in wanted]
    for result, g in zip(results, given):
        for reading in pull(result, g, lambda t: t in tensors, {}, location):
            n = next(m for m, t in enumerate(tensors) if t is reading.access.tensor)
            found[n] = add(found[n], guarded(reading.guards, reading.adjoint))
    return found


def _free_name(name: str, axes: Sequence[Axis]) -> str:
    while any(a.name == name for a in axes):
        name += "_"
    return name


def _fold(
    name: str, node: Reduce, outer: Sequence[Axis], axis: Axis, values: tuple[Expr, ...], location: Location | None
) -> _Fold:
    own, shifted, index = _own(outer)
    kinds = tuple(v.dtype for v in values)
    n, lo = axis.extent, axis.lo
    moved = tuple(substitute(v, shifted) for v in values)
    shape = (*(a.extent for a in own), n)
    length = simplify(apply("maximum", n, 1) - 1) if isinstance(n, Expr) else n - 1
    step = Axis(_free_name(axis.name, own), 1, plain(length))

    def at(place: Any) -> tuple[Expr, ...]:
        """The values at a place along the axis."""
        return tuple(substitute(v, cast(Any, {axis: simplify(place + lo)})) for v in moved)

    p, q = scalars("p", kinds), scalars("x", kinds)
    if isinstance(n, int) and n <= 1:  # the reduction of one value is that value
        return _Fold(
            q, q, False, {a: {a: const(1, kind)} for a, kind in enumerate(kinds) if dtypes.is_float(kind)}, values
        )
    combined = node.reducer.combine(p, q)
    is_product = node.reducer.builtin and node.reducer.name == "prod" and dtypes.is_float(kinds[0])

    def kept(a: Expr, b: Expr, product: Expr) -> Expr:
        """A step of what comes before or after: 0 stays 0, whatever the other factors come to."""
        return select(_is_lost(a, b), const(0, product.dtype), product) if is_product else product

    before = _blank(_numbered(f"{name}.before", len(kinds)), shape, kinds, location)
    _equation(before, (*own, Const(0)), node.reducer.identity(kinds), location)
    previous = tuple(Access(t, (*own, step - 1)) for t in before)
    following = node.reducer.combine(previous, at(step - 1))
    following = tuple(kept(a, x, e) for a, x, e in zip(previous, at(step - 1), following))
    _equation(before, (*own, step), following, location)
    here = simplify(axis - lo)
    slopes: dict[int, dict[int, Expr]] = {}
    for a, kind in enumerate(kinds):
        if not dtypes.is_float(kind):
            continue
        found = _reached(combined, p, a, location)
        if list(found) == [a] and is_const(found[a], 1):  # nothing that is folded later matters, as in a sum
            slopes[a] = {a: const(1, kind)}
            continue
        names = [f"{name}.after{a}{b}" if len(kinds) > 1 else f"{name}.after" for b in found]
        after = _blank(names, shape, [kinds[b] for b in found], location)
        _equation(after, (*own, Const(0)), [const(int(a == b), kinds[b]) for b in found], location)
        given = {b: Access(t, (*own, step - 1)) for b, t in zip(found, after)}
        later = n - step  # the place of the step whose derivative is the next factor
        read: dict[Expr, Expr] = dict(zip(p, (Access(t, (*own, simplify(later))) for t in before)))
        read |= dict(zip(q, at(later)))
        moves = _pulled(combined, [given.get(b, const(0, k)) for b, k in enumerate(kinds)], p, location)
        stepped = [substitute(moves[b], read) for b in found]
        if is_product:
            stepped = [kept(given[0], read[q[0]], stepped[0])]
        _equation(after, (*own, step), stepped, location)
        slopes[a] = {b: Access(t, (*index, simplify(n - 1 - here))) for b, t in zip(found, after)}
    reading = dict(zip(p, (Access(t, (*index, here)) for t in before)))
    return _Fold(q, tuple(substitute(e, cast(Any, reading)) for e in combined), is_product, slopes, values)


def _reached(combined: Sequence[Expr], p: Sequence[Expr], first: int, location: Location | None) -> dict[int, Expr]:
    """The components of what is folded first on which component `first` of the result depends, over any number of
    steps; how, over one step.
    """
    found: dict[int, Expr] = {first: const(0, p[first].dtype)}
    pending = [first]
    while pending:
        a = pending.pop()
        unit = [const(int(a == b), e.dtype) for b, e in enumerate(combined)]
        for b, slope in enumerate(_pulled(combined, unit, p, location)):
            if is_zero(slope):
                continue
            if b not in found:
                pending.append(b)
            found[b] = slope
    return dict(sorted(found.items()))


def _levels(name: str, part: Part, node: Reduce, axes: tuple[Axis, ...]) -> list[_Fold]:
    """A fold for each axis, the outermost first. The values of all but the last are those of the reductions over the
    axes inside.
    """
    inside = node.values
    if node.where is not None:
        identity = node.reducer.identity(tuple(v.dtype for v in node.values))
        inside = tuple(select(node.where, v, e) for v, e in zip(node.values, identity))
    folds = []
    outer = part.axes
    for n, axis in enumerate(axes):
        rest = axes[n + 1 :]
        values = inside
        if rest:
            partial = [Reduce(node.reducer, node.values, rest, node.where, None, c) for c in range(len(node.values))]
            values = held(f"{name}.partial", (*outer, axis), partial, part.location)
        folds.append(_fold(name, node, outer, axis, values, part.location))
        outer = (*outer, axis)
    return folds


def _pull_folded(
    name: str, part: Part, node: Reduce, axes: tuple[Axis, ...], given: Sequence[Expr], interesting: Interesting,
    stepwise: bool,
) -> Iterator[Reduced]:  # fmt: skip
    outer = part.axes
    folds = _levels(name, part, node, axes)
    for axis, fold in zip(axes, folds):
        outer = (*outer, axis)
        given = fold.adjoints(given, part.location)
        if (
            axis is not axes[-1] and not stepwise
        ):  # the steps of a recurrence run backwards: a stage over them would not fit in
            given = [held(f"d{name}.partial", outer, (g,), part.location)[0] for g in given]
    where = () if node.where is None else (node.where,)
    for value, g in zip(node.values, given):
        if differentiable(value):
            for reading in pull(value, g, interesting, {}, part.location):
                yield Reduced(axes, where, reading)


def _push_folded(name: str, part: Part, node: Reduce, axes: tuple[Axis, ...], tangents: tuple[Expr, ...]) -> Expr:
    folds = _levels(name, part, node, axes)
    if node.where is not None:
        tangents = tuple(guarded([node.where], t) for t in tangents)
    for n in reversed(range(len(axes))):
        fold = folds[n]
        outer = (*part.axes, *axes[:n])
        sums = []
        for c, result in enumerate(fold.combined):
            wanted = [const(int(c == other), r.dtype) for other, r in enumerate(fold.combined)]
            moved = const(0, result.dtype)
            for slope, tangent in zip(fold.adjoints(wanted, part.location), tangents):
                moved = add(moved, convert(mul(slope, tangent), result.dtype))
            sums.append(moved if is_zero(moved) else Reduce(SUM, (moved,), (axes[n],), None, None, 0))
        if n == 0:
            return sums[node.component]
        tangents = tuple(s if is_zero(s) else held(f"d{name}.partial", outer, (s,), part.location)[0] for s in sums)
    raise AssertionError("a reduction has at least one axis")
