"""Which part of a producer its readers need, inside a loop of one of them: exact bounds for affine accesses.

The loops that are open (the one it is attached to and those around it) stay symbolic; everything further in runs over its range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tedsl.lang.definition import reads_of
from tedsl.lang.errors import LoweringError
from tedsl.lang.expr import Axis, Const, Expr, Var, free_axes, reads_tensors, substitute, walk
from tedsl.lang.functions import apply
from tedsl.lang.integers import Known, lower, prove, simplify, upper
from tedsl.lang.tensor import Dim

from .state import Fuse, Split, StageState, State, whole_blocks

Interval = tuple[Expr, Expr]  # first value, extent


@dataclass(frozen=True, slots=True)
class Frame:
    """A stage whose loops are (in part) open: the values of the open loops by name, and where its own axes begin and how far they run.

    `bounds`: first value and true extent of each of its axes; `sizes`: the extents for which its splits are laid out (constants where possible);
    `divides`: tile factors are taken to divide.
    """

    stage: StageState
    open: Mapping[str, Expr]
    bounds: Mapping[str, Interval]
    sizes: Mapping[str, Dim]
    divides: bool = False


def as_expr(value: Dim) -> Expr:
    return value if isinstance(value, Expr) else Const(value)


def local_value(stage: StageState, name: str, leaves: Mapping[str, Expr], sizes: Mapping[str, Dim]) -> Expr:
    """The value, from 0, of an axis or loop of `stage` in terms of its leaves."""
    if name in leaves:
        return leaves[name]
    for r in stage.relations:
        if isinstance(r, Split) and r.parent == name:
            factor = as_expr(stage.factor(r, dict(sizes)))
            return local_value(stage, r.outer, leaves, sizes) * factor + local_value(stage, r.inner, leaves, sizes)
        if isinstance(r, Fuse) and name in (r.outer, r.inner):
            fused = local_value(stage, r.fused, leaves, sizes)
            inner = as_expr(stage.extent(r.inner, dict(sizes)))
            return fused // inner if name == r.outer else fused % inner
    raise KeyError(name)


def intervals(frame: Frame, known: Known) -> dict[str, Interval]:
    """First value and extent of each axis of a stage while its open loops stand still and the others run."""
    stage = frame.stage
    leaves: dict[str, Expr] = dict(frame.open)
    ranges: dict[Axis, tuple[int | Expr, int | Expr]] = {}
    for leaf in stage.leaves:
        if leaf not in leaves:
            axis = Axis(f"{stage.name}:{leaf}")
            leaves[leaf] = axis
            ranges[axis] = (0, stage.extent(leaf, dict(frame.sizes)))
    result: dict[str, Interval] = {}
    inner = known.with_(ranges=ranges) if ranges else known
    for root in stage.roots:
        lo, extent = frame.bounds[root.name]
        value = simplify(local_value(stage, root.name, leaves, frame.sizes), inner)
        moving = [a for a in ranges if any(n is a for n in free_axes(value))]
        if not moving:
            result[root.name] = (simplify(lo + value, known), Const(1))
            continue
        first, last = lower(value, moving, inner), upper(value, moving, inner)
        if first is None or last is None:
            result[root.name] = (lo, extent)
            continue
        if frame.divides and any(isinstance(n, Var) for n in walk(first, last, extent)):
            result[root.name] = (simplify(lo + first, known), whole_blocks(last + 1 - first))
            continue
        end = apply("minimum", last + 1, extent)
        result[root.name] = (simplify(lo + first, known), simplify(end - first, known))
    return result


def region(state: State, producer: StageState, frame: Frame, inside: frozenset[str], known: Known) -> list[Interval]:
    """First value and extent, in each dimension, of what the stages `inside` the open loops (the frame's own, and those attached further in)
    read of `producer`.
    """
    found: list[tuple[Expr, Expr] | None] = [None] * producer.tensor.rank
    for reader in state.stages:
        if reader.name == frame.stage.name:
            reader = frame.stage  # with the equation that is meant
            spans = intervals(frame, known)
        elif reader.name in inside and any(t in _reads(reader) for t in producer.tensors):
            own = region(state, reader, frame, inside, known)
            spans = {a.name: s for a, s in zip(reader.axes, own, strict=True)}
            spans |= {a.name: (as_expr(a.lo), as_expr(a.extent)) for a in reader.reduce_axes}
        else:
            continue
        _add_reads(found, producer, reader, spans, known)
    whole = [(Const(0), as_expr(d)) for d in producer.tensor.shape]
    result = []
    for bounds, full in zip(found, whole, strict=True):
        if bounds is None:
            raise LoweringError(
                f"the stage {producer.name} is computed at a loop of {frame.stage.name}, inside of which nobody reads it"
            )
        first, last = bounds
        result.append(
            full
            if first is full[0] and last is full[1]
            else (
                first,
                whole_blocks(simplify(last - first + 1, known)) if frame.divides else simplify(last - first + 1, known),
            )
        )
    return result


def _reads(stage: StageState) -> set[Any]:
    from .state import reads

    return set(reads(stage))


def _add_reads(
    found: list[tuple[Expr, Expr] | None],
    producer: StageState,
    reader: StageState,
    spans: Mapping[str, Interval],
    known: Known,
) -> None:
    places = {root.name: Axis(f"{reader.name}.{root.name}") for root in reader.roots}
    inner = known.with_(ranges={p: spans[name] for name, p in places.items() if name in spans})
    for part in reader.parts:
        mapping: dict[Expr, Expr] = {}
        if part is not reader.general:
            for own, general in zip(part.lhs, reader.general.lhs, strict=True):
                if isinstance(own, Axis) and isinstance(general, Axis):
                    mapping[own] = places[general.name]
        mapping |= {a: places[a.name] for a in reader.roots}
        for read in reads_of(part.expressions):
            if read.access.tensor not in producer.tensors:
                continue
            for d, index in enumerate(read.access.indices):
                dim = as_expr(producer.tensor.shape[d])
                index = substitute(index, mapping)
                moving = [p for p in places.values() if any(n is p for n in free_axes(index))]
                first = last = None
                if not reads_tensors(index):
                    first, last = (
                        (lower(index, moving, inner), upper(index, moving, inner)) if moving else (index, index)
                    )
                if first is None or last is None:
                    first, last = Const(0), simplify(dim - 1)
                elif read.guards:  # the guard, not the index, keeps it in bounds
                    if not prove(first >= 0, inner):
                        first = apply("maximum", first, 0)
                    if not prove(last < dim, inner):
                        last = apply("minimum", last, dim - 1)
                before = found[d]
                if before is not None:
                    first, last = apply("minimum", before[0], first), apply("maximum", before[1], last)
                found[d] = (simplify(first, known), simplify(last, known))
