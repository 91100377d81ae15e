"""Which candidate is next, whether one is worth going on with, and the row that is written of it.

    Judge.next()  →  candidate, asked for its knobs  →  promising (predicted)  →  worth (its source is known)  →  settle
    (measured, or not)

What comes of a candidate is on disk before its search hears of it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tedsl.version import __version__

from .knowledge import Knowledge
from .options import Options
from .ranking import Ranking
from .rows import Trial
from .search import Candidate, GivenSearch, GridSearch, OptunaSearch, Search, make_search
from .store import Store
from .template import Config, Template
from .worker import Made

SCREEN, FIRST = 16, 4  # candidates that are only predicted at first, and how many of them are then measured
FRUITLESS = 40  # candidates in a row that are known already, before the rest of the space is walked through
GIVE_UP = 5000


@dataclass(frozen=True)
class Built:
    """A candidate, the search that it is of, what code generation made of it (None: it did not get that far), and the
    seconds that this took.
    """

    candidate: Candidate
    search: Search
    made: Made | None
    spent: float


class Judge:
    """What is known of a template's configurations, and what is decided of those that are tried.

    skipped     what the cost model left out, by configuration
    followers   kernel source → candidates with that source, waiting for the first of them
    active      configurations that are being compiled or measured
    fruitless   candidates in a row that brought nothing new
    """

    def __init__(self, template: Template, store: Store, options: Options) -> None:
        self.template, self.store, self.options = template, store, options
        self.search = make_search(options.search, options.seed, options.trials)
        self.ranking = Ranking()
        self.facts = Knowledge(store, template.fingerprint(), options.threads, self.ranking)
        self.followers: dict[str, list[Built]] = {}
        self.active: set[str] = set()
        self.skipped: dict[str, Trial] = {}
        self.fruitless = 0
        self.screen = 0
        self.first: list[Config] = []
        self.rest: Search | None = None
        self.measured = self.failed = self.duplicates = 0
        self.rejected: dict[str, str] = {}  # configurations that the template turned down, with its reason

    def begin(self, machines: set[tuple[str, str]]) -> None:
        """Take in what the store has of the machines that measure."""
        self.facts.machines = machines
        self.facts.refresh()
        if (
            self.options.rank
            and self.options.trials >= FIRST
            and isinstance(self.search, OptunaSearch)
            and not self.facts.known
        ):
            self.screen = SCREEN

    @property
    def done(self) -> int:
        """How many trials there are."""
        return len(self.facts.counted)

    @property
    def missing(self) -> int:
        """How many trials there still are to be, those of them that wait for another one's kernel left out."""
        return self.options.trials - self.done - sum(len(f) for f in self.followers.values())

    def next(self) -> tuple[Search, Candidate | None]:
        """A candidate of the search; when that repeats itself, one of those that are left."""
        if self.first:
            return GivenSearch(), Candidate(forced=self.first.pop(0))
        if self.rest is None and (self.fruitless > FRUITLESS and isinstance(self.search, OptunaSearch)):
            self.rest = GridSearch(shuffle=self.options.seed or 0)
        search = self.rest or self.search
        candidate = search.begin() if self.fruitless < GIVE_UP else None
        over = candidate is None and (search.exhausted or self.fruitless >= GIVE_UP)
        if self.skipped and over:
            # Nothing else is left: what the cost model left out, the most promising first.
            key = min(self.skipped, key=lambda k: self.skipped[k].predicted or 0.0)
            return GivenSearch(), Candidate(forced=self.skipped.pop(key).config)
        return search, candidate

    # Whether to go on -------------------------------------------------------------------------------------------------

    def known(self, candidate: Candidate) -> bool:
        """Whether what comes of a configuration is known."""
        return candidate.key in self.facts.known

    def promising(self, candidate: Candidate, search: Search) -> bool:
        """Whether code is to be generated for a candidate. If not, everything about it is settled here."""
        self.facts.refresh()
        self.facts.learn(candidate, self.search)
        if self.known(candidate):
            self.repeated(candidate, search)
            return False
        if self._under_way(candidate, search):
            return False
        guess = candidate.guess
        if self.screen and search is self.search and guess.seconds is not None:
            self._screen(candidate, search)
            return False
        if self.options.rank and candidate.forced is None and candidate.key not in self.facts.stale:
            if self.ranking.hopeless(guess, self.facts.best):
                self.skipped[candidate.key] = self._blank(candidate, None)
                search.tell(candidate, self.ranking.expected(guess))
                return False
        self.ranking.passed(guess)
        return True

    def _under_way(self, candidate: Candidate, search: Search) -> bool:
        """Whether a configuration is being measured already. If so, the search need not wait for this one."""
        if candidate.key not in self.active:
            return False
        self.fruitless += 1
        search.forget(candidate)
        return True

    def _screen(self, candidate: Candidate, search: Search) -> None:
        """Before anything is measured some candidates are only predicted, and the best of these are the first to be
        measured.
        """
        self.screen -= 1
        self.skipped[candidate.key] = self._blank(candidate, None)
        search.forget(candidate)
        if not self.screen:
            best = sorted(self.skipped.values(), key=lambda row: row.predicted or 0.0)[:FIRST]
            self.first = [self.skipped.pop(row.key).config for row in best]

    def worth(self, built: Built) -> bool:
        """Whether a candidate is to be compiled and measured. If not, everything about it is settled here."""
        candidate, search, made = built.candidate, built.search, built.made
        assert made is not None
        for row in self.facts.stale.get(candidate.key, ()):
            if row.source == made.source:  # the template's text has changed, and its kernel has not
                self.facts.take(row)
                self.repeated(candidate, search)
                return False
        if self._under_way(candidate, search):
            return False
        if made.source in self.facts.by_source:
            self._duplicate(built, self.facts.by_source[made.source])
            return False
        if made.source in self.followers:
            self.followers[made.source].append(built)
            return False
        self.active.add(candidate.key)
        self.followers[made.source] = []
        return True

    # What came of it --------------------------------------------------------------------------------------------------

    def repeated(self, candidate: Candidate, search: Search) -> None:
        """What comes of the configuration is known."""
        self._nothing_new(candidate)
        self.facts.learn(candidate, self.search)
        search.tell(candidate, self.facts.known[candidate.key].seconds)

    def turned_down(self, candidate: Candidate, search: Search, reason: str) -> None:
        """The template does not want the configuration."""
        self.rejected[candidate.key] = reason
        self._nothing_new(candidate)
        self.facts.learn(candidate, self.search)
        search.tell(candidate, None)

    def settle(self, built: Built, found: Mapping[str, Any]) -> None:
        """Write what came of a candidate, and of those with the same source."""
        if self.known(built.candidate):  # it was begun twice, or came to its end without a question
            self.repeated(built.candidate, built.search)
            return
        self.facts.learn(built.candidate, self.search)
        machine, compiler = next(iter(self.facts.machines))
        fields = {"machine": machine, "compiler": compiler, **found}
        kind = "failed" if found.get("error") else "measured"
        row = self._blank(built.candidate, built.made)
        row = replace(row, prepared=built.spent, finished=time.time(), kind=kind, **fields)
        self.active.discard(row.key)
        self._write(built, row)
        if row.error:
            self.failed += 1
        else:
            self.measured += 1
        if row.source:
            self.facts.by_source.setdefault(row.source, row)
            for follower in self.followers.pop(row.source, ()):
                self._duplicate(follower, row)

    def _nothing_new(self, candidate: Candidate) -> None:
        # Of a template that asked for nothing there is one configuration.
        self.fruitless = self.fruitless + 1 if candidate.config else GIVE_UP

    def _blank(self, candidate: Candidate, made: Made | None) -> Trial:
        row = replace(
            self.store.subject,
            config=dict(candidate.config),
            fingerprint=self.facts.fingerprint,
            version=__version__,
        )
        if candidate.guess is not None:
            row = replace(row, predicted=candidate.guess.seconds, why=candidate.guess.why)
        if made is None:
            return row
        return replace(
            row, sizes=made.sizes, workload=made.workload, schedule=made.schedule, steps=made.steps, source=made.source
        )

    def _duplicate(self, built: Built, of: Trial) -> None:
        names = ("seconds", "error", "machine", "cpu", "compiler", "samples", "spread", "first", "threads")
        copied = {name: getattr(of, name) for name in names}
        self.duplicates += 1
        row = self._blank(built.candidate, built.made)
        self._write(built, replace(row, prepared=built.spent, finished=time.time(), kind="duplicate", **copied))

    def _write(self, built: Built, row: Trial) -> None:
        self.store.add(row, built.candidate.knobs)
        self.facts.written(row)
        self.skipped.pop(row.key, None)
        self.fruitless = self.fruitless + 1 if row.kind == "duplicate" else 0
        if built.search is not self.search:
            self.search.learn(row, built.candidate.knobs)
        built.search.tell(built.candidate, row.seconds)

    # In the end -------------------------------------------------------------------------------------------------------

    @property
    def saved(self) -> int:
        """Candidates that did not have to be measured."""
        return len(self.skipped) + self.duplicates

    def counts(self) -> dict[str, int]:
        """What the report says beside the trials."""
        return {
            "failed": self.failed,
            "duplicates": self.duplicates,
            "rejected": len(self.rejected),
            "saved": len(self.skipped),
        }

    def rows(self) -> list[Trial]:
        """The trials of the machines that measure."""
        mine = (r for r in self.store.mine() if (r.machine, r.compiler) in self.facts.machines)
        return [replace(r, made_by=self.template) for r in mine]

    def left_out(self) -> list[Trial]:
        """What the cost model left out, the most promising first."""
        return sorted(self.skipped.values(), key=lambda r: r.predicted or 0.0)
