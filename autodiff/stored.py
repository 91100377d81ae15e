"""Forward values that a gradient is to read instead of computing them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tedsl.lang.errors import GradientError
from tedsl.lang.expr import Access, Expr, rewrite
from tedsl.lang.program import program
from tedsl.lang.tensor import Tensor, define_together


def check_stored(stored: Any) -> dict[Tensor, Tensor]:
    """`stored=` as the user gave it. Raises GradientError for what does not fit."""
    if stored is None:
        return {}
    if not isinstance(stored, Mapping):
        raise GradientError(f"stored={stored!r}: a dict from tensors to the inputs that hold their values")
    for tensor, held in stored.items():
        if not isinstance(tensor, Tensor) or not isinstance(held, Tensor) or not held.is_input:
            raise GradientError(f"stored= {{{tensor!r}: {held!r}}}: a tensor, and an input that holds its values")
        if tensor.rank != held.rank or tensor.dtype != held.dtype or tensor.shape != held.shape:
            raise GradientError(
                f"stored=: {tensor.name} is {tensor.dtype} of shape {tensor.shape}, and {held.name}, which is to "
                f"hold it, is {held.dtype} of shape "
                f"{held.shape}"
            )  # fmt: skip
    return dict(stored)


def reading_stored(outputs: Sequence[Tensor], stored: Mapping[Tensor, Tensor]) -> list[Tensor]:
    """`outputs` computed with `stored` in the place of the tensors that are its keys."""
    stages = program(outputs).stages
    affected: set[Tensor] = set()
    changed = True
    while changed:
        changed = False
        for stage in stages:
            if stage.tensor not in affected and not any(t in stored for t in stage.tensors):
                if any(t in stored or t in affected for t in stage.reads):
                    affected.update(stage.tensors)
                    changed = True
    copies: dict[Tensor, Tensor] = dict(stored)
    mine = [stage for stage in stages if stage.tensor in affected]
    for stage in mine:
        new = [Tensor(t.name, t.shape, t.dtype, None, t.location) for t in stage.tensors]
        define_together(new, (), stage.tensor.location)
        copies |= zip(stage.tensors, new)

    def rule(node: Expr) -> Expr | None:
        return Access(copies[node.tensor], node.indices) if isinstance(node, Access) and node.tensor in copies else None

    for stage in mine:
        made = copies[stage.tensor].definition
        assert made is not None
        made.parts = tuple(part.mapped(lambda e: rewrite(e, rule)) for part in stage.parts)
    return [copies.get(t, t) for t in outputs]
