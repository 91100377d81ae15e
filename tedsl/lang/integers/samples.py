"""A few points at which assumptions hold: one that refutes a condition saves the search for its proof."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tedsl.lang.dtypes import is_float
from tedsl.lang.expr import Apply, Axis, Const, Expr, Var, free_axes
from tedsl.lang.functions import FUNCTIONS

from .affine import Affine
from .assumptions import Assumptions

_FIRST, _LAST, _MIXED = range(3)
_LARGE = 1009  # a size that no tile divides


class Unknown(Exception):
    """A value that depends on data, or a point outside of the ranges."""


class Sample:
    """One point: sizes and axes get values as they are met, each axis somewhere in its range."""

    __slots__ = ("fixed", "known", "large", "memo", "pattern", "turn")

    def __init__(self, known: Assumptions, large: bool, pattern: int) -> None:
        self.known = known
        self.large = large
        self.pattern = pattern
        self.turn = 0
        self.fixed = False  # whether all axes have their values already, and sizes none
        self.memo: dict[Expr, int] = {}

    def value(self, e: Expr) -> int:
        found = self.memo.get(e)
        if found is None:
            found = self.memo[e] = self._value(e)
        return found

    def sum(self, x: Affine) -> int:
        total = x.constant
        for atom, c in x.terms.items():
            total += c * self.value(atom)
        return total

    def _value(self, e: Expr) -> int:
        if isinstance(e, Const) and not is_float(e.dtype):
            return int(e.args[0])
        if isinstance(e, Axis):
            span = self.known.span(e)
            if span is None:
                raise Unknown
            first, last = self.sum(span[0]), self.sum(span[1])
            if first > last:
                raise Unknown
            self.turn += 1
            if self.pattern == _MIXED:
                return last if self.turn % 2 else first
            return last if self.pattern == _LAST else first
        if isinstance(e, Var):
            if self.fixed:
                raise Unknown
            k = e.multiple_of
            least = max(e.minimum, 1)
            value: int = -(-least // k) * k
            if self.large:
                self.turn += 1
                value += k * (_LARGE + 2 * self.turn)
            return value
        if isinstance(e, Apply):
            rule = FUNCTIONS[e.args[0]].exact
            if rule is not None and e.dtype in ("int", "int64", "bool"):
                operands = [self.value(x) for x in e.args[1]]
                if e.args[0] == "invert" and e.dtype == "bool":
                    return int(not operands[0])
                try:
                    result = int(rule(*operands))
                except ArithmeticError:
                    raise Unknown from None
                if -(2**63) <= result < 2**63:
                    return result
        raise Unknown


def samples(known: Assumptions) -> Iterator[Sample]:
    """Points at which the conditions of `known` hold, as far as it was easy to find some; each is made when it is first
    asked for.
    """
    if known.samples is None:
        known.samples = [], _make(known)
    made, source = known.samples
    yield from made
    for sample in source:
        made.append(sample)
        yield sample


def _make(known: Assumptions) -> Iterator[Sample]:
    for large in (True, False):
        for pattern in (_LAST, _FIRST, _MIXED) if large else (_LAST, _FIRST):
            sample = Sample(known, large, pattern)
            try:
                if all(sample.value(c) for c in known.conditions):
                    yield sample
            except Unknown:
                continue


def falsified(x: Affine, known: Assumptions) -> bool:
    """Whether ``x < 0`` at some point that `known` allows."""
    for sample in samples(known):
        try:
            if sample.sum(x) < 0:
                return True
        except Unknown:
            return False
    return False


def disproved(condition: Expr, known: Assumptions) -> bool:
    """Whether `condition` fails at some point that `known` allows."""
    for sample in samples(known):
        try:
            if not sample.value(condition):
                return True
        except Unknown:
            return False
    return False


def vanishes(x: Affine, known: Assumptions) -> bool:
    """Whether ``x == 0`` at some point that `known` allows."""
    for sample in samples(known):
        try:
            if sample.sum(x) == 0:
                return True
        except Unknown:
            return False
    return False


def exhausted(condition: Expr, known: Assumptions, most: int) -> bool | None:
    """The truth of `condition` at all points, by trying them: None when there are more than `most`, or it depends on
    sizes or data.
    """
    axes: dict[Axis, None] = {}
    for e in (condition, *known.conditions):
        axes.update(dict.fromkeys(free_axes(e)))
    spans = []
    count = 1
    for axis in axes:
        span = known.span(axis)
        if span is None or span[0].terms or span[1].terms:
            return None
        spans.append(range(span[0].constant, span[1].constant + 1))
        count *= max(len(spans[-1]), 1)
        if count > most:
            return None
    for point in product(*spans):
        sample = Sample(known, False, _FIRST)
        sample.fixed = True
        sample.memo.update(zip(axes, point))
        try:
            if not sample.value(condition) and all(sample.value(c) for c in known.conditions):
                return False
        except Unknown:
            return None
    return True
