"""Trials, and where they are kept: Optuna's storage, an SQLite file unless a URL says otherwise.

A trial is one finished trial of a study, written in a single transaction before the next one starts and never changed;
the whole of it is the user attribute `tedsl`, the knobs and the seconds are also Optuna's own, so that its tools read
the store. A study holds the trials of one template with one set of arguments. Reading a file needs SQLite alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from tedsl.lang.errors import BuildError, TuneError

from .process import exclusive
from .template import Config, Knob, as_template, frozen

FORMAT = 1
ROW = "tedsl"
WAIT = 60  # seconds to wait while another process writes
MANY = 1000  # options of a knob: Optuna writes all of them beside every row; of more it is told the place in the list
TRIES = 20  # at a row, while other processes give Optuna other options for the same knob
_QUERY = "SELECT trial_id, value_json FROM trial_user_attributes WHERE key = ? AND trial_id > ? ORDER BY trial_id"
NOT_STORED = ("made_by", "number")  # fields of a trial
_HELD: dict[str, Any] = {  # what JSON gives for a field, by its annotation
    "Config": dict, "str": str, "str | None": (str, type(None)), "int": int, "float": (int, float),
    "float | None": (int, float, type(None)), "dict[str, int]": dict, "dict[str, Any]": dict,
    "list[dict[str, Any]]": list,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration of a template with its time, `seconds`, or the reason why there is none, `error`.

    template, args, fingerprint   the template, what it was called with, and a hash of its text
    sizes               the numbers of symbolic sizes, those of the program first, in the order of its text
    workload            the key of what the kernel computes ("" when the template did not get that far)
    schedule, steps     the schedule: as Python, and with places for names
    source              the hash of the kernel's source
    machine, cpu, compiler, version    where and with what it was measured
    seconds             the median of the faster half of the runs: what slows the others down is not the kernel
    samples, spread     how many runs were timed, and (third - first quartile) / median of them
    first, finished     seconds of the first run; time of day of the end, in seconds since 1970
    prepared            seconds that the template and the compiler took
    predicted, why      seconds by the cost model, None where it says nothing; and its terms: name -> number or text
    kind                "measured", "failed", or "duplicate" (of a trial with the same source)
    """

    config: Config
    seconds: float | None = None
    error: str | None = None
    template: str = ""
    args: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    workload: str = ""
    schedule: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    source: str = ""
    machine: str = ""
    cpu: str = ""
    compiler: str = ""
    version: str = ""
    samples: int = 0
    spread: float = 0.0
    first: float = 0.0
    threads: int = 0
    finished: float = 0.0
    prepared: float = 0.0
    predicted: float | None = None
    why: dict[str, Any] = field(default_factory=dict)
    kind: str = "measured"
    made_by: Any = field(default=None, repr=False, compare=False)  # the template itself, while it is at hand
    number: int = field(default=0, repr=False, compare=False)  # in the store that it was read from, from 1 on

    @property
    def key(self) -> str:
        """The configuration as text, for comparing."""
        return config_key(self.config)

    @property
    def place(self) -> tuple[str, str, str]:
        """What was tuned: the template, its arguments, and the symbolic sizes."""
        return (self.template, self.args, json.dumps(self.sizes, sort_keys=True))

    @property
    def subject(self) -> str:
        """What was tuned, for people: `matmul[1024]`."""
        given = "".join(f" {name}={n}" for name, n in self.sizes.items())
        return f"{self.template}{self.args}{given}"

    @property
    def identity(self) -> str:
        """What tells this row from every other, in any store."""
        where = (self.machine, self.compiler, self.version)
        return json.dumps([*self.place, self.key, *where, self.source, self.finished])

    def to_json(self) -> dict[str, Any]:
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in NOT_STORED}
        found["format"] = FORMAT
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any], number: int = 0) -> Trial:
        """A row from what `to_json` gave; what a later version added is left out. Raises ValueError for anything
        else.
        """
        if not isinstance(value, Mapping) or not isinstance(value.get("config"), Mapping):
            raise ValueError("no row of tuning results")
        stored = [f for f in fields(cls) if f.name in value and f.name not in NOT_STORED]
        for f in stored:
            if not isinstance(value[f.name], _HELD[str(f.type)]):
                raise ValueError(f"no row of tuning results: its {f.name} is {value[f.name]!r:.80}")
        config = {str(k): frozen(v) for k, v in value["config"].items()}
        return cls(**{**{f.name: value[f.name] for f in stored}, "config": config, "number": number})

    def apply(self) -> tuple[Any, list[Any] | None]:
        """The schedule and the kernel's arguments: ``te.build(*trial.apply())``. Needs the template, which is imported
        where it was defined.
        """
        found = self.made_by if self.made_by is not None else as_template(self.template)
        return found.apply(self.config, json.loads(self.args))


def config_key(config: Mapping[str, Any]) -> str:
    """A configuration as text that is the same whatever the order of the knobs."""
    return json.dumps(dict(config), sort_keys=True)


# This machine ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def this_machine() -> tuple[str, str]:
    """A key of this machine (processor, its features, caches, hypervisor), and the processor's name. Trials of other
    machines are not used unless asked for.
    """
    from tedsl.machine import machine

    found = machine()
    return found.key.removeprefix("machine-"), found.cpu


@lru_cache(maxsize=1)
def compiler() -> str:
    """What the C compiler says of itself; "" where there is none."""
    from tedsl.backends.c import toolchain

    try:
        return toolchain.find().version
    except BuildError:
        return ""


# Stores ---------------------------------------------------------------------------------------------------------------


class Store:
    """The trials of one template with its arguments and sizes, and all others in the same store. `where`: a path, a
    URL of Optuna's, or None for memory.
    """

    def __init__(self, where: Any, template: str, args: str, sizes: Mapping[str, int] | None = None) -> None:
        self.where = where
        self.subject = Trial({}, template=template, args=args, sizes=dict(sizes or {}))
        self._last = -1
        self._rows: list[Trial] = []
        self._study: Any = None
        self._kinds: dict[str, Any] = {}  # Optuna's name of a knob → what options it has there
        self._memory = where is None
        self._storage = None if self._memory else _open(where)

    def add(self, row: Trial, knobs: dict[str, Knob]) -> None:
        """Write a trial. When this returns it is on disk."""
        if self._memory:
            self._rows.append(row)
            return
        import optuna
        from optuna.trial import TrialState, create_trial

        asked = [_parameter(knobs.get(name) or Knob(name, (value,)), value) for name, value in row.config.items()]
        state = TrialState.COMPLETE if row.seconds is not None else TrialState.FAIL
        attributes = {ROW: row.to_json()}
        with _DatabaseErrors(self.where):
            for n in range(TRIES):
                try:
                    study = self._open_study()
                    names = [self._name(name, kind) for name, (_, kind) in zip(row.config, asked)]
                    params = {name: value for name, (value, _) in zip(names, asked)}
                    kinds = {name: kind for name, (_, kind) in zip(names, asked)}
                    study.add_trial(create_trial(
                        params=params, distributions=kinds, value=row.seconds, state=state, user_attrs=attributes
                    ))  # fmt: skip
                    return
                except ValueError:  # another process was first to give a knob a name of Optuna's
                    if n == TRIES - 1:
                        raise
                    self._study = None
                except optuna.exceptions.StorageInternalError as e:
                    raise _unusable(self.where, e) from None

    def rows(self) -> list[Trial]:
        """All rows, of this template or not, in the order in which they were written. Reads only what is new since the
        last call.
        """
        if not self._memory:
            file = _is_file(self.where)
            new = _read_sqlite(self.where, self._last) if file else _read_optuna(self._storage, self._last)
            self._last = new[-1].number if new else self._last
            self._rows += new
        return self._rows

    def mine(self) -> list[Trial]:
        """The rows of this template with these arguments and sizes."""
        return [r for r in self.rows() if r.place == self.subject.place]

    def close(self) -> None:
        if self._storage is not None:
            self._storage.remove_session()
            engine = getattr(self._storage, "engine", None)
            if engine is not None:
                engine.dispose()

    def _open_study(self) -> Any:
        import optuna

        if self._study is None:
            with quiet():
                name = self.subject.subject[:500]
                self._study = optuna.create_study(
                    storage=self._storage, study_name=name, direction="minimize", load_if_exists=True
                )
            self._kinds = {}
            for trial in self._study.get_trials(deepcopy=False):
                for name, kind in trial.distributions.items():
                    self._kinds.setdefault(name, kind)
        return self._study

    def _name(self, knob: str, kind: Any) -> str:
        """What a knob is called in the study. Optuna has one list of options for a name, a knob may have several: its
        options may follow from other knobs, and a template's text may change.
        """
        from optuna.distributions import check_distribution_compatibility

        n = 1
        while True:
            name = knob if n == 1 else f"{knob} #{n}"
            try:
                check_distribution_compatibility(self._kinds.setdefault(name, kind), kind)
                return name
            except ValueError:
                n += 1


def _parameter(knob: Knob, value: Any) -> tuple[Any, Any]:
    """The value of a knob and its options as Optuna has them."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if knob.values is None:
        return value, IntDistribution(knob.lo, knob.hi, log=knob.log, step=1 if knob.log else knob.step)
    if len(knob.values) > MANY:
        return knob.values.index(value), IntDistribution(0, len(knob.values) - 1)
    return _optuna_value(value), CategoricalDistribution([_optuna_value(v) for v in knob.values])


def read(where: Any) -> list[Trial]:
    """All rows of a store that exists. Raises TuneError when there is none."""
    if _is_file(where):
        if Path(where).is_dir():
            raise _no_file(where)
        if not Path(where).exists():
            raise TuneError(
                f"there are no tuning results {str(where)!r}: the file does not exist; te.tune(…, "
                f"store={str(where)!r}) makes it",
            )
        return _read_sqlite(where, -1)
    return _read_optuna(_open(where), -1)


def merge(sources: Iterable[Any], into: Any) -> tuple[int, int]:
    """Write the rows of some stores into another one. Returns how many were written, and how many were there."""
    gathered = [row for source in sources for row in read(source)]
    there = read(into) if not _is_file(into) or Path(into).exists() else []
    have = {row.identity for row in there}
    knobs: dict[tuple[str, ...], dict[str, Knob]] = {}
    for row in (*there, *gathered):
        _widen(knobs.setdefault(row.place, {}), row.config)
    written = 0
    stores: dict[tuple[str, ...], Store] = {}
    for row in gathered:
        if row.identity in have:
            continue
        have.add(row.identity)
        if row.place not in stores:
            stores[row.place] = Store(into, row.template, row.args, row.sizes)
        stores[row.place].add(row, knobs[row.place])
        written += 1
    if not stores and _is_file(into) and not Path(into).exists():
        Store(into, "", "").close()
    for store in stores.values():
        store.close()
    return written, len(gathered) - written


def _widen(knobs: dict[str, Knob], config: Config) -> None:
    """Take a configuration's values into the options of knobs that are known by their rows alone."""
    for name, value in config.items():
        knob = knobs.get(name) or Knob(name, ())
        if value not in knob:
            knobs[name] = Knob(name, (*knob.options, value))


def _is_file(where: Any) -> bool:
    return isinstance(where, os.PathLike) or (isinstance(where, str) and "://" not in where)


def _optuna_value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (tuple, list)) else value


def import_optuna() -> Any:
    """Optuna, or a TuneError that says how to get it."""
    try:
        import optuna
    except ImportError as e:
        raise TuneError(f"tuning needs Optuna, which cannot be imported ({e}): pip install 'tedsl[tune]'") from None
    return optuna


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's log lines and its warnings that a part of it is experimental."""
    import warnings

    optuna = import_optuna()
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _open(where: Any) -> Any:
    optuna = import_optuna()
    if not isinstance(where, (str, os.PathLike)):
        if isinstance(where, optuna.storages.BaseStorage):
            return where
        raise TuneError(f"store={where!r}: a store is a path, a URL of Optuna's (sqlite:///…, mysql://…) or None")
    if not _is_file(where):
        with _DatabaseErrors(where):
            return optuna.storages.get_storage(where)
    path = Path(where)
    if path.is_dir() or not path.parent.is_dir():
        raise _no_file(path)
    _check_own_database(path)
    from sqlalchemy.engine import URL

    url = URL.create("sqlite", database=str(path.absolute())).render_as_string()
    url = url.replace("{", "{{").replace("}", "}}")  # Optuna takes it for a template
    # Optuna makes its tables one by one; two processes that begin together would each make some.
    with exclusive("store-" + hashlib.sha256(url.encode()).hexdigest()[:16]), quiet(), _DatabaseErrors(where):
        return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": WAIT}})


def _check_own_database(path: Path) -> None:
    """Raise TuneError for a database that is in use for something else: nothing is to be written to it."""
    if not path.exists():
        return
    with _DatabaseErrors(path), contextlib.closing(_read_only(path)) as database:
        tables = _tables(database)
    if tables and "studies" not in tables:
        shown = ", ".join(sorted(tables)[:3])
        raise _unusable(path, ValueError(f"it is a database of something else (its tables are {shown})"))


def _no_file(where: Any) -> TuneError:
    path = Path(where)
    problem = "it is a folder" if path.is_dir() else f"there is no folder {str(path.parent)!r}"
    return TuneError(f"the store {str(where)!r} cannot be used: {problem}; give the path of a file")


def _unusable(where: Any, error: BaseException) -> TuneError:
    cause = error.__cause__ or error
    text = str(getattr(cause, "orig", None) or cause).split("\n")[0]
    return TuneError(f"the store {str(where)!r} cannot be used: {text}; give another path, or repair it")


class _DatabaseErrors:
    """Turns the errors of a store's database into TuneErrors. (A class, so that the error is at the user's line and
    not at contextlib's.)
    """

    def __init__(self, where: Any) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # a RuntimeError says that the tables are of another version of Optuna
        of_sqlite = isinstance(error, (sqlite3.Error, ImportError, RuntimeError))
        if of_sqlite or type(error).__module__.startswith("sqlalchemy."):  # which may not be installed
            assert error is not None
            raise _unusable(self.where, error) from None


def _read_sqlite(where: Any, after: int) -> list[Trial]:
    path = Path(where)
    with _DatabaseErrors(where), contextlib.closing(_read_only(path)) as connection:
        try:
            found = connection.execute(_QUERY, (ROW, after)).fetchall()
        except sqlite3.OperationalError as e:
            if "no such table" in str(e) and _tables(connection) == set():
                return []  # a process has just begun to make it
            raise
    rows = []
    for number, text in found:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            rows.append(Trial.from_json(json.loads(text), number))
    return rows


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT)


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _read_optuna(storage: Any, after: int) -> list[Trial]:
    rows = []
    for study in storage.get_all_studies():
        for trial in storage.get_all_trials(study._study_id, deepcopy=False):
            if trial._trial_id > after and ROW in trial.user_attrs:
                with contextlib.suppress(ValueError, TypeError, RecursionError):
                    rows.append(Trial.from_json(trial.user_attrs[ROW], trial._trial_id))
    return sorted(rows, key=lambda row: row.number)
