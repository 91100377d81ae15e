"""Stages that are computed where they are read: their expression takes the place of each access."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

from tedsl.lang.expr import Access, Axis, Expr, Reduce, rewrite, substitute
from tedsl.lang.tensor import Part, Tensor
from tedsl.schedule.state import StageState, State, reads, unique


def inlined(state: State) -> State:
    """The state without its inlined stages, their expressions put into their readers; all equations of a stage in the
    same axes.
    """
    bodies: dict[Tensor, tuple[Part, Expr]] = {}
    waiting = [s for s in state.stages if s.attach.kind == "inline"]
    while waiting:  # those first that read no other one: the stages of a recurrence may read later ones
        left = {t for s in waiting for t in s.tensors}
        for stage in [s for s in waiting if left.isdisjoint(reads(s))]:
            part = replace_part(stage.parts[0], bodies)
            bodies |= {t: (part, value) for t, value in zip(stage.tensors, part.values, strict=True)}
            waiting.remove(stage)
    stages: list[StageState] = []
    for stage in state.stages:
        if stage.attach.kind != "inline":
            parts = tuple(replace_part(part, bodies) for part in stage.parts)
            if any(a is not b for a, b in zip(parts, stage.parts, strict=True)):
                stage = replace(stage, parts=parts)
            stages.append(with_common_axes(stage))
    here = {s.name for s in stages}
    groups = tuple((tuple(n for n in names if n in here), depth) for names, depth in state.groups)
    return replace(state, stages=tuple(stages), groups=groups)


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
