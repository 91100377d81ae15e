"""Which candidate is next, whether it is worth compiling and measuring, and the trial that is written of it.

    Judge.next()  →  candidate, asked for its knobs  →  worth_generating (it is predicted)
    →  worth_compiling (its source is known)  →  record (measured, or failed)

A trial is stored before the search is told of it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

from tedsl.version import __version__

from .messages import Generated, Measurement, Prediction
from .search import Candidate, GridSearch, Options, OptunaSearch, Search, make_search
from .store import Store, Trial
from .template import Config, Knob, Template

SCREEN, FIRST = 16, 4  # candidates that are only predicted at first, and how many of them are then measured
FRUITLESS = 40  # candidates in a row that are known already, before the rest of the space is walked through
GIVE_UP = 5000
FAR_OFF = 2.0  # a prediction this many times slower than the best is believed before predictions have been compared
NEAR = 1.3  # and no prediction is so good that this much could not be an accident
PAIRS = 6  # measured candidates with a prediction, before predictions are trusted or not
SKIPS = 300  # candidates in a row that are left out, before one is measured all the same


# Predictions ----------------------------------------------------------------------------------------------------------


class Ranking:
    """Decides which candidates are worth measuring, by their predictions and by how good those were so far. `pairs`:
    (predicted, measured) seconds.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[float, float]] = []
        self.best = math.inf  # the best prediction so far
        self.skipped = 0  # in a row

    def hopeless(self, prediction: Prediction, best: float | None) -> bool:
        """Whether a candidate is not worth measuring: it cannot fit, or is predicted far off. `best`: measured seconds
        of the best so far.
        """
        if self.skipped >= SKIPS or trusted(self.pairs) is False:
            return False
        found = False
        if prediction.misfit:
            found = self.best < math.inf
        elif prediction.seconds is not None:
            far, expected = margin(self.pairs), self.expected(prediction)
            found = prediction.seconds > far * self.best
            found |= best is not None and expected is not None and expected > far * best
        self.skipped += found
        return found

    def accept(self, prediction: Prediction) -> None:
        """Note that a candidate is going to be measured."""
        self.skipped = 0
        if prediction.seconds is not None:
            self.best = min(self.best, prediction.seconds)

    def compare(self, row: Trial) -> None:
        """Compare a measured time with its prediction."""
        if row.predicted and row.seconds and row.kind == "measured":
            self.pairs.append((row.predicted, row.seconds))

    def expected(self, prediction: Prediction) -> float | None:
        """The prediction, corrected by what earlier ones were off by."""
        if prediction.seconds is None or not self.pairs:
            return None
        return float(prediction.seconds * statistics.median(seconds / predicted for predicted, seconds in self.pairs))


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


# Known trials ---------------------------------------------------------------------------------------------------------


class Knowledge:
    """The trials that count for a search: its own, earlier ones, and those of other processes that write to the store.

    known       configuration → trial, of the template as its text stands, on machines that measure
    stale       configuration → trials of the template with another text, used when the kernel's source is the same
    by_source   kernel source → trial, of any template
    counted     the configurations that count as trials (duplicates are free)
    """

    def __init__(self, store: Store, fingerprint: str, threads: int | None, ranking: Ranking) -> None:
        self.store, self.fingerprint, self.threads, self.ranking = store, fingerprint, threads, ranking
        self.machines: set[tuple[str, str]] = set()
        self.known: dict[str, Trial] = {}
        self.stale: dict[str, list[Trial]] = {}
        self.by_source: dict[str, Trial] = {}
        self.counted: set[str] = set()
        self._seen = 0
        self._unlearned: list[Trial] = []
        self._knobs: dict[str, Knob] = {}

    def refresh(self) -> None:
        """Read what is new in the store."""
        rows = self.store.rows()
        for row in rows[self._seen :]:
            if (row.machine, row.compiler) not in self.machines or row.sizes != self.store.subject.sizes:
                continue
            current = row.version == __version__
            if row.source and current and (row.threads in (0, 1) or self.threads in (None, row.threads)):
                self.by_source.setdefault(row.source, row)
            if row.place != self.store.subject.place:
                continue
            if current and row.fingerprint == self.fingerprint:
                if row.key not in self.known:
                    self._unlearned.append(row)
                    self.ranking.compare(row)
                self.add(row)
            elif row.source:
                self.stale.setdefault(row.key, []).append(row)
        self._seen = len(rows)

    def add(self, row: Trial) -> None:
        """Count this as the trial of its configuration."""
        self.known.setdefault(row.key, row)
        if row.kind != "duplicate":
            self.counted.add(row.key)

    def teach(self, search: Search, candidate: Candidate) -> None:
        """Tell the search of stored trials as soon as their knobs have been asked for."""
        self._knobs |= candidate.knobs
        later = []
        for row in self._unlearned:
            if set(row.config) <= set(self._knobs):
                search.learn(row, self._knobs)
            else:
                later.append(row)
        self._unlearned = later

    @property
    def best(self) -> float | None:
        """Seconds of the fastest."""
        return min((r.seconds for r in self.known.values() if r.seconds is not None), default=None)


# Decisions ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """A candidate, the code that was generated (None: it did not get that far), and the seconds that this took."""

    candidate: Candidate
    code: Generated | None
    spent: float


class Judge:
    """Decides which configurations of a template are measured, and writes their trials.

    skipped     what the cost model left out, by configuration
    followers   kernel source → candidates with that source, waiting for the first of them
    active      configurations that are being compiled or measured
    fruitless   candidates in a row that brought nothing new
    rejected    configurations that the template rejected, with its reason
    """

    def __init__(self, template: Template, store: Store, options: Options) -> None:
        self.template, self.store, self.options = template, store, options
        self.search = make_search(options.search, options.seed, options.trials)
        self.ranking = Ranking()
        self.knowledge = Knowledge(store, template.fingerprint(), options.threads, self.ranking)
        self.followers: dict[str, list[Built]] = {}
        self.active: set[str] = set()
        self.skipped: dict[str, Trial] = {}
        self.fruitless = 0
        self.to_screen = 0
        self.first: list[Config] = []
        self.rest: Search | None = None
        self.measured = self.failed = self.duplicates = 0
        self.rejected: dict[str, str] = {}

    def begin(self, machines: set[tuple[str, str]]) -> None:
        """Read what the store has of the machines that measure."""
        self.knowledge.machines = machines
        self.knowledge.refresh()
        ranked = self.options.rank and self.options.trials >= FIRST and isinstance(self.search, OptunaSearch)
        if ranked and not self.knowledge.known:
            self.to_screen = SCREEN

    @property
    def done(self) -> int:
        """How many trials there are."""
        return len(self.knowledge.counted)

    @property
    def missing(self) -> int:
        """How many trials there still are to be, without those that wait for the same kernel to be measured."""
        return self.options.trials - self.done - sum(len(f) for f in self.followers.values())

    def next(self) -> Candidate | None:
        """A candidate of the search; when that repeats itself, one of those that are left."""
        if self.first:
            return Candidate(Search(), forced=self.first.pop(0))
        if self.rest is None and self.fruitless > FRUITLESS and isinstance(self.search, OptunaSearch):
            self.rest = GridSearch(shuffle=self.options.seed or 0)
        search = self.rest or self.search
        candidate = search.begin() if self.fruitless < GIVE_UP else None
        over = candidate is None and (search.exhausted or self.fruitless >= GIVE_UP)
        if self.skipped and over:
            # Nothing else is left: what the cost model left out, the most promising first.
            key = min(self.skipped, key=lambda k: self.skipped[k].predicted or 0.0)
            return Candidate(Search(), forced=self.skipped.pop(key).config)
        return candidate

    # Whether to go on: if not, the candidate is dealt with here -------------------------------------------------------

    def known(self, candidate: Candidate) -> bool:
        """Whether there is a trial of the configuration."""
        return candidate.key in self.knowledge.known

    def worth_generating(self, candidate: Candidate) -> bool:
        """Whether code is to be generated for a candidate that has been predicted."""
        self.knowledge.refresh()
        self.knowledge.teach(self.search, candidate)
        if self.known(candidate):
            self.repeat(candidate)
            return False
        if self._under_way(candidate):
            return False
        prediction = candidate.prediction
        assert prediction is not None
        if self.to_screen and candidate.search is self.search and prediction.seconds is not None:
            self._screen(candidate)
            return False
        ranked = self.options.rank and candidate.forced is None and candidate.key not in self.knowledge.stale
        if ranked and self.ranking.hopeless(prediction, self.knowledge.best):
            self.skipped[candidate.key] = self._trial(candidate, None)
            candidate.search.tell(candidate, self.ranking.expected(prediction))
            return False
        self.ranking.accept(prediction)
        return True

    def _under_way(self, candidate: Candidate) -> bool:
        """Whether a configuration is being measured already. If so, the search need not wait for this one."""
        if candidate.key not in self.active:
            return False
        self.fruitless += 1
        candidate.search.forget(candidate)
        return True

    def _screen(self, candidate: Candidate) -> None:
        """Before anything is measured some candidates are only predicted, and the best of these are the first to be
        measured.
        """
        self.to_screen -= 1
        self.skipped[candidate.key] = self._trial(candidate, None)
        candidate.search.forget(candidate)
        if not self.to_screen:
            best = sorted(self.skipped.values(), key=lambda row: row.predicted or 0.0)[:FIRST]
            self.first = [self.skipped.pop(row.key).config for row in best]

    def worth_compiling(self, built: Built) -> bool:
        """Whether a candidate, whose code has been generated, is to be compiled and measured."""
        candidate, code = built.candidate, built.code
        assert code is not None
        for row in self.knowledge.stale.get(candidate.key, ()):
            if row.source == code.source:  # the template's text has changed, and its kernel has not
                self.knowledge.add(row)
                self.repeat(candidate)
                return False
        if self._under_way(candidate):
            return False
        if code.source in self.knowledge.by_source:
            self._duplicate(built, self.knowledge.by_source[code.source])
            return False
        if code.source in self.followers:
            self.followers[code.source].append(built)
            return False
        self.active.add(candidate.key)
        self.followers[code.source] = []
        return True

    # Results ----------------------------------------------------------------------------------------------------------

    def repeat(self, candidate: Candidate) -> None:
        """Tell the search the known time of a configuration."""
        self._nothing_new(candidate)
        self.knowledge.teach(self.search, candidate)
        candidate.search.tell(candidate, self.knowledge.known[candidate.key].seconds)

    def reject(self, candidate: Candidate, reason: str) -> None:
        """Note that the template rejects the configuration."""
        self.rejected[candidate.key] = reason
        self._nothing_new(candidate)
        self.knowledge.teach(self.search, candidate)
        candidate.search.tell(candidate, None)

    def record(self, built: Built, found: Measurement) -> None:
        """Write the trial of a candidate, and of those with the same source."""
        if self.known(built.candidate):  # it was begun twice, or came to its end without a question
            self.repeat(built.candidate)
            return
        self.knowledge.teach(self.search, built.candidate)
        if not found.machine:  # it was not measured
            machine, compiler = next(iter(self.knowledge.machines))
            found = replace(found, machine=machine, compiler=compiler)
        row = self._write(built, found, "failed" if found.error else "measured")
        if row.error:
            self.failed += 1
        else:
            self.measured += 1
        if row.source:
            self.knowledge.by_source.setdefault(row.source, row)
            for follower in self.followers.pop(row.source, ()):
                self._duplicate(follower, row)

    def _nothing_new(self, candidate: Candidate) -> None:
        # Of a template that asked for nothing there is one configuration.
        self.fruitless = self.fruitless + 1 if candidate.config else GIVE_UP

    def _trial(self, candidate: Candidate, code: Generated | None) -> Trial:
        """The trial of a candidate, not measured yet."""
        row = replace(
            self.store.subject,
            config=dict(candidate.config),
            fingerprint=self.knowledge.fingerprint,
            version=__version__,
        )
        if candidate.prediction is not None:
            row = replace(row, predicted=candidate.prediction.seconds, why=candidate.prediction.why)
        if code is not None:
            names = ("sizes", "workload", "schedule", "steps", "source")
            row = replace(row, **{name: getattr(code, name) for name in names})
        return row

    def _duplicate(self, built: Built, of: Trial) -> None:
        self.duplicates += 1
        self._write(built, Measurement(**{f.name: getattr(of, f.name) for f in fields(Measurement)}), "duplicate")

    def _write(self, built: Built, found: Measurement, kind: str) -> Trial:
        row = self._trial(built.candidate, built.code)
        row = replace(row, prepared=built.spent, finished=time.time(), kind=kind, **asdict(found))
        self.active.discard(row.key)
        self.store.add(row, built.candidate.knobs)
        self.knowledge.add(row)
        if kind == "measured":
            self.ranking.compare(row)
        self.skipped.pop(row.key, None)
        self.fruitless = self.fruitless + 1 if kind == "duplicate" else 0
        if built.candidate.search is not self.search:
            self.search.learn(row, built.candidate.knobs)
        built.candidate.search.tell(built.candidate, row.seconds)
        return row

    # In the end -------------------------------------------------------------------------------------------------------

    @property
    def saved(self) -> int:
        """How many candidates did not have to be measured."""
        return len(self.skipped) + self.duplicates

    def counts(self) -> dict[str, int]:
        """What the report says beside the trials."""
        rejected, saved = len(self.rejected), len(self.skipped)
        return {"failed": self.failed, "duplicates": self.duplicates, "rejected": rejected, "saved": saved}

    def rows(self) -> list[Trial]:
        """The trials of the machines that measure."""
        mine = (r for r in self.store.mine() if (r.machine, r.compiler) in self.knowledge.machines)
        return [replace(r, made_by=self.template) for r in mine]

    def left_out(self) -> list[Trial]:
        """What the cost model left out, the most promising first."""
        return sorted(self.skipped.values(), key=lambda r: r.predicted or 0.0)
