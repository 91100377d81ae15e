"""The gradient with respect to one element, from an access: a sum over the points that read it (gather), or a
scatter-add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tedsl.lang import dtypes
from tedsl.lang.errors import Location
from tedsl.lang.expr import (
    Access,
    Apply,
    Axis,
    Cast,
    Const,
    Expr,
    Reduce,
    free_axes,
    reads_tensors,
    rewrite,
    substitute,
    walk,
)
from tedsl.lang.integers import Known, simplify, solve
from tedsl.lang.integers.affine import FALSE, TRUE
from tedsl.lang.integers.conditions import conjuncts
from tedsl.lang.reductions import REDUCERS
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Part, Tensor, define_together
from tedsl.lang.tensor import is_zero as is_zero_extent
from tedsl.lang.text import display, unused

from .arithmetic import both, const, divide, guarded, is_zero, mul, select
from .inversion import implied, preimages


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """What the points of `domain` at which `guards` hold add to the adjoint of an element at `indices`: `value`
    each.
    """

    domain: tuple[Axis, ...]
    guards: tuple[Expr, ...]
    indices: tuple[Expr, ...]
    value: Expr


def make(name: str, axes: Sequence[Axis], value: Expr, location: Location | None) -> Tensor:
    """A tensor over `axes` (each from 0, or at least not below) defined by `value`."""
    shape = tuple(axis.extent for axis in axes)
    tensor = Tensor(name, shape, value.dtype, None, location)
    complete(tensor, tuple(axes), value, location)
    return tensor


def complete(tensor: Tensor, lhs: tuple[Expr, ...], value: Expr, location: Location | None) -> None:
    """Give `tensor` one equation (one more). Everything in it is resolved and typed already."""
    definition = tensor.definition or define_together((tensor,), (), location)
    definition.parts = (*definition.parts, Part(lhs, (value,), location))


def total(value: Expr, axes: Sequence[Axis], where: Iterable[Expr] = ()) -> Expr:
    """The sum of `value` over `axes`, where the conditions hold."""
    if is_zero(value):
        return value
    condition = both(where)
    used = set(free_axes(value)) | set(free_axes(condition))
    kept = []
    for axis in axes:
        if axis in used:
            kept.append(axis)
        else:  # each of its steps adds the same
            n = axis.extent
            value = mul(const(n, value.dtype) if isinstance(n, int) else Cast(value.dtype, n), value)
    if not kept:
        return guarded([condition], value)

    def summed(e: Expr) -> Expr:
        return Reduce(REDUCERS["sum"], (e,), tuple(kept), None if condition is TRUE else condition, None, 0)

    if condition is TRUE and all(isinstance(a.extent, int) and a.extent > 0 for a in kept):
        return taken_out(value, kept, summed)
    return summed(value)


def taken_out(value: Expr, axes: Sequence[Axis], summed: Callable[[Expr], Expr]) -> Expr:
    """`summed(value)` with the factors and divisors that do not depend on the axes outside of the sum. (Not of one that
    may be empty: what is outside may be no number then.)
    """
    above: list[Expr] = []
    below: list[Expr] = []

    def rest(e: Expr) -> Expr:
        """What is left of `e`."""
        if not any(a in axes for a in free_axes(e)):
            above.append(e)
            return const(1, e.dtype)
        if isinstance(e, Apply) and e.function == "negative":
            above.append(const(-1, e.dtype))
            return rest(e.operands[0])
        if isinstance(e, Apply) and e.function == "multiply":
            return mul(*(rest(x) for x in e.operands))
        if isinstance(e, Apply) and e.function == "divide":
            a, b = e.operands
            if any(x in axes for x in free_axes(b)):
                return divide(rest(a), b)
            below.append(b)
            return rest(a)
        return e

    inner = rest(value)
    if not dtypes.is_float(value.dtype) or all(isinstance(e, Const) for e in (*above, *below)):
        return summed(value)
    result = summed(inner)
    for e in reversed(above):
        result = mul(e, result)
    for e in below:
        result = divide(result, e)
    return result


def gather(term: Term, targets: Sequence[Axis]) -> list[Expr] | None:
    """The summands of the adjoint at `targets` that come from `term`; None when only data tells who reads an
    element.
    """
    unknown = {axis: Axis(f"{axis.name}\0", axis.lo, axis.extent) for axis in term.domain}
    away = cast("dict[Expr, Expr]", unknown)
    # what is read at the same index as the element itself is read at the target
    there = {
        substitute(e, away): t for e, t in zip(term.indices, targets) if not isinstance(e, (Axis, Const, Access, Cast))
    }
    guards = [substitute(g, away) for g in term.guards]
    plain = [g for g in guards if not reads_tensors(g)]
    data = [g for g in guards if reads_tensors(g)]
    found = preimages(list(unknown.values()), [substitute(e, away) for e in term.indices], targets, plain)
    if found is None:
        return None
    value = substitute(substitute(term.value, away), there)
    data = [substitute(g, there) for g in data]
    result = []
    for family in found:
        conditions = [g for g in family.guards if not reads_tensors(g)]
        chosen = [substitute(g, family.mapping) for g in data] + [g for g in family.guards if reads_tensors(g)]
        mapping, axes, conditions = named(family.free, conditions, targets)
        where = [simplify(substitute(g, mapping)) for g in conditions]
        known = Known({}, where)

        def moved(e: Expr, mapping: dict[Expr, Expr] = mapping, known: Known = known) -> Expr:
            return tidy(substitute(e, mapping), known)

        summand = moved(substitute(value, family.mapping))
        for condition in reversed(
            chosen
        ):  # one inside the other: a later one may be readable only where the earlier ones hold
            summand = guarded([moved(condition)], summand)
        result.append(total(summand, axes, implied(where)))
    return result


def tidy(e: Expr, known: Known) -> Expr:
    """`e` with the indices that are not plain axes simplified."""

    def index(i: Expr) -> Expr:
        if isinstance(i, (Axis, Const)):
            return i
        simple = simplify(i, known)
        # as the user wrote it, where nothing is gained
        return simple if sum(1 for _ in walk(simple)) < sum(1 for _ in walk(i)) else i

    def rule(node: Expr) -> Expr | None:
        return Access(node.tensor, tuple(map(index, node.indices))) if isinstance(node, Access) else None

    return rewrite(e, rule)


def named(
    free: Sequence[Axis], guards: Sequence[Expr], targets: Sequence[Axis]
) -> tuple[dict[Expr, Expr], list[Axis], list[Expr]]:
    """Names for the axes that are left: their own unless a target has it. Constant bounds and steps of one become its
    range.
    """
    taken = {t.name for t in targets}
    mapping: dict[Expr, Expr] = {}
    axes = []
    left = list(guards)
    for axis in free:
        lo, extent, step = axis.lo, axis.extent, 1
        own = [g for g in left if free_axes(g) == (axis,)]
        if own and isinstance(extent, int):
            found = solve(both(own), axis)
            if found and found.rest is None and isinstance(found.lo, Const) and isinstance(found.hi, Const):
                lo, step = int(found.lo.value), found.step
                extent = max(-((lo - int(found.hi.value)) // step), 0)
                left = [g for g in left if not any(g is o for o in own)]
        name = unused(display(axis.name), taken)
        taken.add(name)
        if extent == 1:
            mapping[axis] = Const(lo) if isinstance(lo, int) else lo
            continue
        made = Axis(name, lo if step == 1 else 0, extent)
        mapping[axis] = made if step == 1 else lo + step * made
        axes.append(made)
    return mapping, axes, left


def scatter(name: str, term: Term, shape: tuple[Any, ...], location: Location | None) -> Tensor:
    """The tensor that is 0 but for what `term` adds to it."""
    indices, value, domain, guards = _narrowed(term)
    used = {a for e in (*indices, *guards) for a in free_axes(e)}
    # in the order in which they index: what lies together in memory is innermost
    spread = tuple(dict.fromkeys(a for e in (*indices, *guards) for a in free_axes(e) if any(a is d for d in domain)))
    domain = (*spread, *(a for a in domain if a not in used))
    if len(spread) < len(domain):
        # points that add to the same element anyway are summed first
        own = {a: a if is_zero_extent(a.lo) else Axis(a.name, 0, a.extent) for a in spread}
        shifted: dict[Expr, Expr] = {a: (o if o is a else o + a.lo) for a, o in own.items()}
        inner = substitute(value, shifted)
        for guard in reversed(guards):
            inner = guarded([substitute(guard, shifted)], inner)
        inner = total(inner, [a for a in domain if a not in used])
        summed = make(f"{name}.sum", list(own.values()), inner, location)
        value = Access(summed, tuple(a if is_zero_extent(a.lo) else a - a.lo for a in spread))
        domain = spread
    tensor = Tensor(f"{name}.scatter", shape, value.dtype, None, location)
    define_together((tensor,), [ScatterPart(indices, (value,), location, domain, _in_order(guards))], location)
    return tensor


def _narrowed(term: Term) -> tuple[tuple[Expr, ...], Expr, tuple[Axis, ...], list[Expr]]:
    """Indices, value, domain and conditions of a term, with constant bounds on an axis as its range; conditions on data
    last.
    """
    mapping: dict[Expr, Expr] = {}
    left = [g for g in map(simplify, term.guards) if g is not TRUE]
    left = [p for g in left for p in conjuncts(g)]
    for axis in term.domain:
        own = [g for g in left if free_axes(g) == (axis,) and not reads_tensors(g)]
        found = solve(both(own), axis) if own else None
        if (
            found
            and found.rest is None
            and found.step == 1
            and isinstance(found.lo, Const)
            and isinstance(found.hi, Const)
        ):
            lo = int(found.lo.value)
            mapping[axis] = Axis(axis.name, lo, max(int(found.hi.value) - lo, 0))
            left = [g for g in left if not any(g is o for o in own)]
    moved = [substitute(g, mapping) for g in left]
    plain, data = [g for g in moved if not reads_tensors(g)], [g for g in moved if reads_tensors(g)]
    indices = tuple(substitute(e, mapping) for e in term.indices)
    domain = tuple(cast(Axis, mapping.get(a, a)) for a in term.domain)
    return indices, substitute(term.value, mapping), domain, [*plain, *data]


def _in_order(conditions: Sequence[Expr]) -> Expr | None:
    """All of `conditions`, each looked at only where those before it hold: they may say where it can be read."""
    result: Expr = TRUE
    for condition in reversed(conditions):
        if result is TRUE:
            result = condition
        elif reads_tensors(result):
            result = select(condition, result, FALSE)
        else:
            result = both([condition, result])
    return None if result is TRUE else result
