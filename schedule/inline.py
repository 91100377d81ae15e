"""Stages that are computed where they are read: their expression takes the place of each access."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from tedsl.lang.expr import Access, Axis, Expr, rewrite, substitute
from tedsl.lang.tensor import Part, Tensor

from .state import StageState, State


def inlined(state: State) -> State:
    """The state without its inlined stages, their expressions put into their readers."""
    bodies: dict[Tensor, tuple[Part, Expr]] = {}
    stages: list[StageState] = []
    for stage in state.stages:
        parts = tuple(replace_part(part, bodies) for part in stage.parts)
        if any(a is not b for a, b in zip(parts, stage.parts, strict=True)):
            stage = replace(stage, parts=parts)
        if stage.attach.kind == "inline":
            for tensor, value in zip(stage.tensors, stage.parts[0].values, strict=True):
                bodies[tensor] = stage.parts[0], value
        else:
            stages.append(stage)
    return replace(state, stages=tuple(stages)) if bodies else state


def replace_part(part: Part, bodies: dict[Tensor, tuple[Part, Expr]]) -> Part:
    """`part` with every access to a key of `bodies` replaced by its expression at these indices."""
    if not bodies:
        return part
    values = tuple(expanded(v, bodies) for v in part.values)
    return part if all(a is b for a, b in zip(values, part.values, strict=True)) else Part(part.lhs, values, part.location)


def expanded(expr: Expr, bodies: dict[Tensor, tuple[Part, Expr]]) -> Expr:
    """`expr` with accesses to inlined tensors replaced by what they hold."""

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Access) and node.tensor in bodies:
            part, value = bodies[node.tensor]
            return substitute(value, cast("dict[Expr, Expr]", {a: i for a, i in zip(part.lhs, node.indices, strict=True) if isinstance(a, Axis)}))
        return None

    return rewrite(expr, rule)
