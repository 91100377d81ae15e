"""Stages that are computed where they are read: their expression takes the place of each access."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import cast

from tedsl.lang.expr import Access, Axis, Expr, Reduce, rewrite, substitute
from tedsl.lang.tensor import Part, Tensor
from tedsl.schedule.state import StageState, State, reads, unique

Bodies = tuple[
    tuple[Tensor, Part, Expr], ...
]  # what inlined stages put in the place of a read: tensor, equation, value


@lru_cache(maxsize=8)
def inlined(state: State) -> State:
    """The state without its inlined stages, their expressions put into their readers; all equations of a stage in the
    same axes. (Stages that have stayed the same are made anew only once: a program of many has many states.)
    """
    bodies: dict[Tensor, tuple[Tensor, Part, Expr]] = {}
    waiting = [s for s in state.stages if s.attach.kind == "inline"]
    while waiting:  # those first that read no other one: the stages of a recurrence may read later ones
        left = {t for s in waiting for t in s.tensors}
        for stage in [s for s in waiting if left.isdisjoint(reads(s))]:
            (part,) = with_bodies(stage, tuple(bodies[t] for t in reads(stage) if t in bodies)).parts
            bodies |= {t: (t, part, value) for t, value in zip(stage.tensors, part.values, strict=True)}
            waiting.remove(stage)
    stages = tuple(
        with_common_axes(with_bodies(s, tuple(bodies[t] for t in reads(s) if t in bodies)))
        for s in state.stages
        if s.attach.kind != "inline"
    )
    here = {s.name for s in stages}
    groups = tuple((tuple(n for n in names if n in here), depth) for names, depth in state.groups)
    return replace(state, stages=stages, groups=groups)


@lru_cache(maxsize=4096)
def with_bodies(stage: StageState, bodies: Bodies) -> StageState:
    """A stage with its reads of inlined tensors replaced by what they hold."""
    if not bodies:
        return stage
    parts = tuple(replace_part(part, {t: (body, value) for t, body, value in bodies}) for part in stage.parts)
    return stage if all(a is b for a, b in zip(parts, stage.parts, strict=True)) else replace(stage, parts=parts)


@lru_cache(maxsize=4096)
def with_common_axes(stage: StageState) -> StageState:
    """The stage with the axes of all its equations named as in the general one, whose loops they share."""
    general = stage.general
    if len(stage.parts) == 1:
        return stage
    names = {a.name for a in general.axes}
    parts = []
    for part in stage.parts:
        mapping: dict[Expr, Expr] = {
            own: Axis(g.name, own.lo, own.extent)
            for own, g in zip(part.lhs, general.lhs, strict=True)
            if isinstance(own, Axis) and isinstance(g, Axis)
        }
        if part is not general and isinstance(part.values[0], Reduce):
            used = set(names)
            mapping |= {a: Axis(unique(a.name, used), a.lo, a.extent) for a in part.values[0].axes or ()}
        if any(a is not b for a, b in mapping.items()):
            part = part.mapped(partial(renamed, mapping=mapping))
        parts.append(part)
    return replace(stage, parts=tuple(parts))


def renamed(expr: Expr, mapping: dict[Expr, Expr]) -> Expr:
    """`expr` with axes replaced by axes, those that reductions bind as well."""

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Reduce) and any(a in mapping for a in node.axes or ()):
            return Reduce(node.reducer, node.values, tuple(mapping.get(a, a) for a in node.axes or ()), *node.args[3:])
        return None

    return rewrite(expr, rule, dict(mapping))


def replace_part(part: Part, bodies: dict[Tensor, tuple[Part, Expr]]) -> Part:
    """`part` with every access to a key of `bodies` replaced by its expression at these indices."""
    return part.mapped(lambda e: expanded(e, bodies)) if bodies else part


def expanded(expr: Expr, bodies: dict[Tensor, tuple[Part, Expr]]) -> Expr:
    """`expr` with accesses to inlined tensors replaced by what they hold."""

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Access) and node.tensor in bodies:
            part, value = bodies[node.tensor]
            return substitute(
                value,
                cast(
                    "dict[Expr, Expr]",
                    {a: i for a, i in zip(part.lhs, node.indices, strict=True) if isinstance(a, Axis)},
                ),
            )
        return None

    return rewrite(expr, rule)
