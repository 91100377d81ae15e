"""What is assumed of axes: their ranges and the conditions that hold, with what has been found out under them.

Normal forms need bounds, bounds need normal forms, and proofs need both. So that the files which find them do not have
to know one another, each asks the assumptions that it is handed: `Known` (known.py), above all of them, answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tedsl.lang.expr import Axis, Expr, Var

from .affine import Affine

Bounds = tuple["int | None", "int | None"]
Ranges = Mapping[Axis, tuple["int | Expr", "int | Expr"]]


class Assumptions:
    """`ranges` gives axes their (lo, extent), in integers or expressions; `conditions` hold. Immutable, but for what
    has been found out. `free`: the assumptions of nothing but what holds of every size.
    """

    __slots__ = (
        "affines", "bounds", "conditions", "extended", "facts", "intervals", "least", "proofs", "ranges", "samples",
        "simplified", "spans", "values",
    )  # fmt: skip
    free: Assumptions

    def __init__(self, ranges: Ranges | None = None, conditions: Iterable[Expr] = ()) -> None:
        self.ranges: dict[Axis, tuple[int | Expr, int | Expr]] = dict(ranges or {})
        self.conditions: tuple[Expr, ...] = tuple(dict.fromkeys(conditions))
        self.affines: dict[Expr, Affine] = {}
        self.simplified: dict[Expr, Expr] = {}
        self.values: dict[Expr, Expr] = {}
        self.spans: dict[Expr, tuple[Affine, Affine] | None] = {}
        self.intervals: dict[Expr, Bounds] = {}
        self.bounds: dict[Any, Bounds] = {}
        self.proofs: dict[Any, bool] = {}
        self.extended: dict[Any, Any] = {}
        self.least: dict[Var, int] | None = None
        self.facts: Any = None  # the conditions as formulas (proofs)
        self.samples: Any = None  # points at which the conditions hold (samples)

    def assumes(self, condition: Expr) -> bool:
        """Whether `condition` is one of the conditions, as it stands."""
        return any(c is condition for c in self.conditions)

    def axis_value(self, axis: Axis) -> Affine:
        """`axis` as a sum: the constant that it is, where it takes one value only."""
        value = self.only_value(axis)
        return Affine({axis: 1}) if value is None else Affine({}, value)

    def only_value(self, axis: Axis) -> int | None:
        """The constant that `axis` is, where it takes one value only."""
        span = self.span(axis)
        if span is not None and span[0].constant == span[1].constant and not span[0].terms and not span[1].terms:
            return span[0].constant
        return None

    if TYPE_CHECKING:  # what `Known` answers

        def with_(self, ranges: Ranges | None = None, conditions: Iterable[Expr] = ()) -> Assumptions: ...
        def span(self, axis: Axis) -> tuple[Affine, Affine] | None: ...
        def least_size(self, size: Var) -> int: ...
        def interval(self, x: Affine) -> Bounds: ...
        def tight(self, x: Affine) -> Bounds: ...
        def never_negative(self, x: Affine) -> bool: ...
        def decide(self, kind: str, x: Affine) -> bool | None: ...
        def conditioned(self, condition: Expr) -> Expr: ...
        def negated(self, condition: Expr) -> Expr: ...
        def simplify_inside(self, e: Expr) -> Expr: ...
