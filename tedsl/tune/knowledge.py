"""What is known already: from this search, from earlier ones, and from other processes that write to the same store."""

from __future__ import annotations

from tedsl.version import __version__

from .ranking import Ranking
from .rows import Trial
from .search import Candidate, Search
from .store import Store
from .template import Knob


class Knowledge:
    """The rows that count for a search.

    known       configuration → row, of the template as its text stands, on machines that measure
    stale       configuration → rows of the template with another text: of use when the kernel's source turns out to be the same
    by_source   kernel source → row, of any template
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
        """Take in what is new in the store."""
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
                self.take(row)
            elif row.source:
                self.stale.setdefault(row.key, []).append(row)
        self._seen = len(rows)

    def take(self, row: Trial) -> None:
        """This is what came of a configuration."""
        self.known.setdefault(row.key, row)
        if row.kind != "duplicate":
            self.counted.add(row.key)

    def learn(self, candidate: Candidate, search: Search) -> None:
        """The search is told of stored rows as soon as their knobs have been asked for."""
        self._knobs |= candidate.knobs
        later = []
        for row in self._unlearned:
            if set(row.config) <= set(self._knobs):
                search.learn(row, self._knobs)
            else:
                later.append(row)
        self._unlearned = later

    def written(self, row: Trial) -> None:
        """A row of this search, which its search has been told of, was written to the store."""
        self.take(row)
        if row.kind == "measured":
            self.ranking.compare(row)

    @property
    def best(self) -> float | None:
        """Seconds of the fastest."""
        return min((r.seconds for r in self.known.values() if r.seconds is not None), default=None)
