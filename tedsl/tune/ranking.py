"""Which candidates are worth measuring, by what the model says of them and by how good it was so far."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

FAR_OFF = (
    2.0  # a prediction this many times slower than the best is believed before it is known how good predictions are
)
NEAR = 1.3  # and no prediction is so good that this much could not be an accident
PAIRS = 6  # measured candidates with a prediction, before it is known
SKIPS = 300  # candidates in a row that are left out, before one is measured all the same


class Ranking:
    """Predictions and what became of them. `pairs`: (predicted, measured) seconds."""

    def __init__(self) -> None:
        self.pairs: list[tuple[float, float]] = []
        self.foreseen = math.inf  # the best prediction so far
        self.in_row = 0

    def hopeless(self, guess: Any, best: float | None) -> bool:
        """Whether a candidate is not worth measuring: it cannot fit, or is predicted far off. `best`: measured seconds
        of the best so far.
        """
        if self.in_row >= SKIPS or trusted(self.pairs) is False:
            return False
        found = False
        if guess.misfit:
            found = self.foreseen < math.inf
        elif guess.seconds is not None:
            far = margin(self.pairs)
            expected = self.expected(guess)
            found = guess.seconds > far * self.foreseen or (
                best is not None and expected is not None and expected > far * best
            )
        self.in_row += found
        return found

    def passed(self, guess: Any) -> None:
        """A candidate is going to be measured."""
        self.in_row = 0
        if guess.seconds is not None:
            self.foreseen = min(self.foreseen, guess.seconds)

    def compare(self, row: Any) -> None:
        """What came of a prediction."""
        if row.predicted and row.seconds and row.kind == "measured":
            self.pairs.append((row.predicted, row.seconds))

    def expected(self, guess: Any) -> float | None:
        """The prediction, corrected by what earlier ones were off by."""
        if guess.seconds is None or not self.pairs:
            return None
        return float(guess.seconds * statistics.median(seconds / predicted for predicted, seconds in self.pairs))


def trusted(pairs: Sequence[tuple[float, float]]) -> bool | None:
    """Whether (predicted, measured) pairs say that predictions are of use: None while there are few; else whether they
    order two candidates rightly more often than not.
    """
    if len(pairs) < PAIRS:
        return None
    right = total = 0
    for i, (p, s) in enumerate(pairs):
        for q, t in pairs[:i]:
            if abs(s - t) > 0.1 * min(s, t):
                total += 1
                right += (p < q) == (s < t) and p != q
    return right >= 0.65 * total


def margin(pairs: Sequence[tuple[float, float]]) -> float:
    """How many times slower than the best a prediction has to be to be believed: two standard deviations of what
    predictions were off by.
    """
    if len(pairs) < PAIRS:
        return FAR_OFF
    off = [math.log(seconds / predicted) for predicted, seconds in pairs]
    middle = statistics.median(off)
    spread = 1.5 * statistics.median(abs(x - middle) for x in off)  # of a normal distribution, whatever the outliers
    return min(max(math.exp(2 * spread), NEAR), FAR_OFF)
