"""Integer reasoning about index expressions: normal forms, proofs, bounds and solutions, over ranges and conditions.

What everything that moves loops and indices about leans on. Each answer is sound: a proof holds at every integer point,
a bound is never exceeded, a simplified expression has the value of the original wherever the assumptions hold.
"""

from __future__ import annotations

from .affine import Affine
from .bounds import constant_bounds, lower, multiple_of, upper
from .conditions import conjuncts, joined
from .elimination import effort_left, limited_effort
from .known import Known, affine_of, negated, prove, recombined, simplify, simplify_indices
from .solve import Solution, solve

__all__ = [
    "Affine",
    "Known",
    "Solution",
    "affine_of",
    "conjuncts",
    "constant_bounds",
    "effort_left",
    "joined",
    "limited_effort",
    "lower",
    "multiple_of",
    "negated",
    "prove",
    "recombined",
    "simplify",
    "simplify_indices",
    "solve",
    "upper",
]
