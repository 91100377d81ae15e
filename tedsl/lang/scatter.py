"""Scatter-add: the equation of a tensor whose elements are reached through data.

    W[I[i], j] += dE[i, j]        over i, j, where a condition holds

The tensor is 0, and each point of `domain`, in lexicographic order, at which `where` holds adds its value to the
element that the left side names there. Nobody writes these equations: they are what the gradient of a gather `W[I[i],
j]` comes to. A tensor that has such an equation has no other. An index out of range is an IndexError, as it is for a
gather.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from .expr import Axis, Expr
from .tensor import Part


@dataclass(frozen=True, slots=True, eq=False)
class ScatterPart(Part):
    """`lhs` holds any index expressions over `domain`; `values` are added at the points where `where` (None:
    everywhere) holds.
    """

    domain: tuple[Axis, ...]
    where: Expr | None = None

    @property
    def accumulates(self) -> bool:
        return True

    def mapped(self, rule: Callable[[Expr], Expr]) -> Part:
        lhs, values = tuple(map(rule, self.lhs)), tuple(map(rule, self.values))
        domain, where = (
            cast("tuple[Axis, ...]", tuple(map(rule, self.domain))),
            None if self.where is None else rule(self.where),
        )
        return replace(self, lhs=lhs, values=values, domain=domain, where=where)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.domain

    @property
    def expressions(self) -> tuple[Expr, ...]:
        """Everything that it reads: the values, then the indices and the condition."""
        return (*self.values, *self.lhs, *(() if self.where is None else (self.where,)))
