"""What `te.tune` is asked for, and the kinds of search. A search answers the knobs of one candidate after another, and
is told the candidates' times.

    Search.begin()  →  Candidate;   answer(candidate, knob)  →  value;   tell(candidate, seconds)

"tpe", "random", "cmaes" and "evolutionary" are Optuna's samplers, on a study in memory that begins with what the store
knows. "grid" walks the tree of answers in order, so that knobs which depend on others are walked where they are asked
for, and only there.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from tedsl.lang.errors import TuneError

from .messages import Prediction
from .store import Trial, config_key, import_optuna, quiet
from .template import Config, Knob, Value

KINDS = ("tpe", "random", "grid", "cmaes", "evolutionary")
FAILED = 10.0  # a candidate that failed counts as this many times slower than the slowest


@dataclass(frozen=True)
class Options:
    """The arguments of `te.tune` beside the template, its arguments and the store. Raises TuneError for what none of
    them can be.
    """

    trials: int
    search: str
    timeout: float
    seed: int | None
    executor: Executor | None
    threads: int | None
    rank: bool
    data: Sequence[Any] | None
    sizes: Mapping[str, int]
    memory: int | None

    def __post_init__(self) -> None:
        whole = "a whole number of at least 1 is needed"
        data, sizes = self.data, self.sizes
        for name, good, needed in (
            ("trials", _is_whole(self.trials, 1), whole),
            ("search", self.search in KINDS, f"a search is one of {', '.join(KINDS)}"),
            ("timeout", _is_positive(self.timeout), "a finite number of seconds is needed"),
            ("seed", self.seed is None or _is_whole(self.seed, 0, 2**32 - 1),
             "a whole number from 0 to 2**32 - 1 is needed, or None"),
            ("threads", self.threads is None or _is_whole(self.threads, 1), f"{whole}, or None for all cores"),
            ("memory", self.memory is None or _is_whole(self.memory, 1),
             f"{whole} (bytes), or None for most of the machine's"),
            ("executor", self.executor is None or hasattr(self.executor, "submit"),
             "an executor of concurrent.futures is needed, or None"),
            ("data", data is None or isinstance(data, (list, tuple)),
             "a list of arrays is needed, one for each input, or None"),
            ("sizes", isinstance(sizes, Mapping) and all(isinstance(k, str) and _is_whole(v) for k, v in sizes.items()),
             "a dict from the names of symbolic sizes to whole numbers is needed"),
        ):  # fmt: skip
            if not good:
                raise TuneError(f"{name}={getattr(self, name)!r:.200}; {needed}")


def _is_whole(value: Any, least: int = 0, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


class Candidate:
    """One run of the template: the search that proposed it, the knobs that it asked for, and their values. `token`: the
    search's own note of it; `forced`: the values, where they are known before.
    """

    def __init__(self, search: Search, token: Any = None, forced: Config | None = None) -> None:
        self.search, self.token = search, token
        self.forced = forced
        self.knobs: dict[str, Knob] = {}
        self.config: Config = {}
        self.prediction: Prediction | None = None

    @property
    def key(self) -> str:
        return config_key(self.config)


class Search:
    """Proposes candidates, and learns from their times. This one proposes none: it answers with the configuration that a
    candidate was made with.
    """

    exhausted = False

    def begin(self) -> Candidate | None:
        """A new candidate; None when there is none at the moment (or none any more: `exhausted`)."""
        return None

    def answer(self, candidate: Candidate, knob: Knob) -> Value:
        value = self._value(candidate, knob)
        candidate.knobs[knob.name] = knob
        candidate.config[knob.name] = value
        return value

    def _value(self, candidate: Candidate, knob: Knob) -> Value:
        given = candidate.forced or {}
        return given[knob.name] if given.get(knob.name) in knob else knob.options[0]

    def tell(self, candidate: Candidate, seconds: float | None) -> None:
        """The candidate's seconds, or None when it failed or was rejected."""

    def forget(self, candidate: Candidate) -> None:
        """The candidate was given up for a reason that says nothing of how good it is."""
        self.tell(candidate, None)

    def learn(self, row: Trial, knobs: dict[str, Knob]) -> None:
        """Take in a trial of the store."""


class GridSearch(Search):
    """Every configuration once, in the order of the knobs' values; the last knob changes first."""

    def __init__(self, shuffle: int | None = None) -> None:
        self.pending: list[list[Value]] = [[]]
        self.running = 0
        self.random = None if shuffle is None else random.Random(shuffle)

    def begin(self) -> Candidate | None:
        if not self.pending:
            self.exhausted = not self.running
            return None
        self.running += 1
        at = -1 if self.random is None else self.random.randrange(len(self.pending))
        return Candidate(self, self.pending.pop(at))

    def _value(self, candidate: Candidate, knob: Knob) -> Value:
        prefix: list[Value] = candidate.token
        depth = len(candidate.config)
        if depth < len(prefix):
            return prefix[depth]
        options = list(knob.options)
        if self.random is not None:
            self.random.shuffle(options)
        self.pending += [[*prefix, v] for v in reversed(options[1:])]
        candidate.token = [*prefix, options[0]]
        return options[0]

    def tell(self, candidate: Candidate, seconds: float | None) -> None:
        self.running -= 1


class OptunaSearch(Search):
    """A sampler of Optuna's. Numbers in ascending order are searched by their places in the list, so that neighbours
    count as alike.
    """

    def __init__(self, kind: str, seed: int | None, trials: int) -> None:
        optuna = import_optuna()
        samplers = optuna.samplers
        with quiet():
            if kind == "tpe":
                startup = max(4, min(10, trials // 4))
                sampler = samplers.TPESampler(
                    seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
                )
            elif kind == "random":
                sampler = samplers.RandomSampler(seed=seed)
            elif kind == "cmaes":
                _need_cmaes()
                sampler = samplers.CmaEsSampler(seed=seed, n_startup_trials=4, warn_independent_sampling=False)
            else:
                sampler = samplers.NSGAIISampler(seed=seed, population_size=max(4, min(16, trials // 4)))
            self.study = optuna.create_study(direction="minimize", sampler=sampler)
        self.optuna = optuna
        self.slowest = 0.0

    def begin(self) -> Candidate | None:
        with quiet():
            return Candidate(self, self.study.ask())

    def _value(self, candidate: Candidate, knob: Knob) -> Value:
        if knob.values is not None and len(knob.values) == 1:
            return knob.values[0]
        trial, name = candidate.token, _parameter_name(knob)
        with quiet():
            if knob.values is None:
                return int(trial.suggest_int(name, knob.lo, knob.hi, step=1 if knob.log else knob.step, log=knob.log))
            try:
                if knob.ordered:
                    return knob.values[trial.suggest_int(name, 0, len(knob.values) - 1)]
                return knob.values[trial.suggest_categorical(name, list(range(len(knob.values))))]
            except ValueError as e:
                raise TuneError(f"the knob {knob.name}: {e}") from None

    def tell(self, candidate: Candidate, seconds: float | None) -> None:
        if seconds is None and not self.slowest:
            self.forget(candidate)
            return
        with quiet():  # a failure counts as slow: samplers leave failures out, and would propose the like again
            self.study.tell(candidate.token, self._objective(seconds))

    def forget(self, candidate: Candidate) -> None:
        with quiet():
            self.study.tell(candidate.token, state=self.optuna.trial.TrialState.FAIL)

    def learn(self, row: Trial, knobs: dict[str, Knob]) -> None:
        from optuna.distributions import CategoricalDistribution, IntDistribution
        from optuna.trial import create_trial

        if row.seconds is None and not self.slowest:
            return
        params: dict[str, Any] = {}
        kinds: dict[str, Any] = {}
        for asked, value in row.config.items():
            knob = knobs.get(asked)
            if knob is None or value not in knob or (knob.values is not None and len(knob.values) == 1):
                continue
            name = _parameter_name(knob)
            params[name] = value if knob.values is None else knob.values.index(value)
            if knob.values is None:
                kinds[name] = IntDistribution(knob.lo, knob.hi, log=knob.log, step=1 if knob.log else knob.step)
            elif knob.ordered:
                kinds[name] = IntDistribution(0, len(knob.values) - 1)
            else:
                kinds[name] = CategoricalDistribution(list(range(len(knob.values))))
        with quiet():
            self.study.add_trial(create_trial(params=params, distributions=kinds, value=self._objective(row.seconds)))

    def _objective(self, seconds: float | None) -> float:
        # The logarithm: twice as fast is worth the same anywhere.
        if seconds is None:
            return math.log(self.slowest * FAILED)
        self.slowest = max(self.slowest, seconds)
        return math.log(max(seconds, 1e-12))


def _parameter_name(knob: Knob) -> str:
    """A knob whose options depend on other knobs is another parameter for each list of options. (Samplers go through
    parameters by name, so names are the same in every process.)
    """
    if knob.values is None:
        return knob.name
    digest = hashlib.sha256(repr(knob.values).encode()).hexdigest()[:8]
    return f"{knob.name} of {len(knob.options)} from {knob.options[0]} to {knob.options[-1]} #{digest}"


def _need_cmaes() -> None:
    try:
        import cmaes  # noqa: F401
    except ImportError as e:
        raise TuneError(
            f"search='cmaes' needs the package cmaes, which cannot be imported ({e}): pip install cmaes"
        ) from None


def make_search(kind: str, seed: int | None, trials: int) -> Search:
    """The search of a kind."""
    if kind not in KINDS:
        raise TuneError(f"search={kind!r}; a search is one of {', '.join(KINDS)}")
    return GridSearch() if kind == "grid" else OptunaSearch(kind, seed, trials)
