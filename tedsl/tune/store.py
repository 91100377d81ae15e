"""Where rows are kept: Optuna's storage, an SQLite file unless a URL says otherwise.

A row is one finished trial of a study, written in a single transaction before the next one starts; the whole of it is the trial's user
attribute `row`, the knobs and the seconds are also Optuna's own, so that its tools read the store. A study holds the rows of one template with
one set of arguments. Reading a file needs SQLite alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tedsl.lang.errors import TuneError, here

from .rows import Trial
from .template import Config, Knob

ROW = "tedsl"
WAIT = 60  # seconds to wait while another process writes
_QUERY = "SELECT trial_id, value_json FROM trial_user_attributes WHERE key = ? AND trial_id > ? ORDER BY trial_id"


class Store:
    """The rows of one template with its arguments and sizes, and of all others in the same store. `where`: a path, a URL of Optuna's, or None for
    memory.
    """

    def __init__(self, where: Any, template: str, args: str, sizes: Mapping[str, int] | None = None) -> None:
        self.where = where
        self.subject = Trial({}, template=template, args=args, sizes=dict(sizes or {}))
        self._last = -1
        self._rows: list[Trial] = []
        self._study: Any = None
        self._storage: Any = None
        self._generation = 0
        self._memory = where is None
        if not self._memory:
            self._storage = _open(where)

    def add(self, row: Trial, knobs: dict[str, Knob]) -> None:
        """Write a row. When this returns it is on disk."""
        if self._memory:
            self._rows.append(row)
            return
        import optuna
        from optuna.distributions import CategoricalDistribution, IntDistribution
        from optuna.trial import TrialState, create_trial

        params: dict[str, Any] = {}
        kinds: dict[str, Any] = {}
        for name, value in row.config.items():
            knob = knobs.get(name) or Knob(name, (value,))
            if knob.values is None:
                params[name], kinds[name] = (
                    value,
                    IntDistribution(knob.lo, knob.hi, log=knob.log, step=1 if knob.log else knob.step),
                )
            else:
                params[name] = _optuna_value(value)
                kinds[name] = CategoricalDistribution([_optuna_value(v) for v in knob.values])
        state = TrialState.COMPLETE if row.seconds is not None else TrialState.FAIL
        trial = create_trial(
            params=params, distributions=kinds, value=row.seconds, state=state, user_attrs={ROW: row.to_json()}
        )
        with _sqlite_errors(self.where):
            while True:
                try:
                    self._open_study().add_trial(trial)
                    return
                except (
                    ValueError
                ):  # a knob has other options than it used to have, which a study of Optuna's cannot take in
                    if self._generation > 1000:
                        raise
                    self._generation, self._study = self._generation + 1, None
                except optuna.exceptions.StorageInternalError as e:
                    raise _unusable(self.where, e) from None

    def rows(self) -> list[Trial]:
        """All rows, of this template or not, in the order in which they were written. Reads only what is new since the last call."""
        if not self._memory:
            new = (
                _read_sqlite(self.where, self._last)
                if _is_file(self.where)
                else _read_optuna(self._storage, self._last)
            )
            for self._last, row in new:
                self._rows.append(row)
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
            name = self.subject.subject + (f" #{self._generation + 1}" if self._generation else "")
            with quiet():
                self._study = optuna.create_study(
                    storage=self._storage, study_name=name[:500], direction="minimize", load_if_exists=True
                )
        return self._study


def read(where: Any) -> list[Trial]:
    """All rows of a store that exists. Raises TuneError when there is none."""
    if _is_file(where):
        if not Path(where).exists():
            raise TuneError(
                f"there are no tuning results {str(where)!r}: the file does not exist; te.tune(…, store={str(where)!r}) makes it",
                here(),
            )
        return [row for _, row in _read_sqlite(where, -1)]
    storage = _open(where)
    return [row for _, row in _read_optuna(storage, -1)]


def merge(sources: Iterable[Any], into: Any) -> tuple[int, int]:
    """Write the rows of some stores into another one, those that it does not have. Returns how many were written, and how many were there."""
    gathered = [row for source in sources for row in read(source)]
    have = {row.identity for row in read(into)} if not _is_file(into) or Path(into).exists() else set()
    written = 0
    stores: dict[tuple[str, ...], Store] = {}
    for row in gathered:
        if row.identity in have:
            continue
        have.add(row.identity)
        if row.place not in stores:
            stores[row.place] = Store(into, row.template, row.args, row.sizes)
        stores[row.place].add(row, {})
        written += 1
    if not stores and _is_file(into) and not Path(into).exists():
        Store(into, "", "").close()
    for store in stores.values():
        store.close()
    return written, len(gathered) - written


def _is_file(where: Any) -> bool:
    return isinstance(where, os.PathLike) or (isinstance(where, str) and "://" not in where)


def _optuna_value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (tuple, list)) else value


def import_optuna() -> Any:
    """Optuna, or a TuneError that says how to get it."""
    try:
        import optuna
    except ImportError as e:
        raise TuneError(
            f"tuning needs Optuna, which cannot be imported ({e}): pip install 'tedsl[tune]'", here()
        ) from None
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
        raise TuneError(
            f"store={where!r}: a store is a path, a URL of Optuna's (sqlite:///…, mysql://…) or None", here()
        )
    if not _is_file(where):
        with _sqlite_errors(where):
            return optuna.storages.get_storage(where)
    path = Path(where)
    if path.is_dir() or not path.parent.is_dir():
        problem = "it is a folder" if path.is_dir() else f"there is no folder {str(path.parent)!r}"
        raise TuneError(f"the store {str(where)!r} cannot be used: {problem}; give the path of a file", here())
    from .cores import exclusive

    url = f"sqlite:///{path.absolute()}"
    # Optuna makes its tables one by one; two processes that begin together would each make some.
    with exclusive("store-" + hashlib.sha256(url.encode()).hexdigest()[:16]), quiet(), _sqlite_errors(where):
        return optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": WAIT}})


def _unusable(where: Any, error: BaseException) -> TuneError:
    cause = error.__cause__ or error
    text = str(getattr(cause, "orig", None) or cause).split("\n")[0]
    return TuneError(f"the store {str(where)!r} cannot be used: {text}; give another path, or repair it", here())


@contextlib.contextmanager
def _sqlite_errors(where: Any) -> Iterator[None]:
    import sqlalchemy.exc

    try:
        yield
    except (sqlite3.Error, sqlalchemy.exc.SQLAlchemyError) as e:
        raise _unusable(where, e) from None


def _read_sqlite(where: Any, after: int) -> list[tuple[int, Trial]]:
    path = Path(where)
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT)
    except sqlite3.Error as e:
        raise _unusable(where, e) from None
    try:
        found = connection.execute(_QUERY, (ROW, after)).fetchall()
    except sqlite3.OperationalError as e:
        if "no such table" in str(e) and _tables(connection) == set():
            return []  # a process has just begun to make it
        raise _unusable(where, e) from None
    except sqlite3.Error as e:
        raise _unusable(where, e) from None
    finally:
        connection.close()
    rows = []
    for number, text in found:
        with contextlib.suppress(ValueError, TypeError):
            rows.append((number, Trial.from_json(json.loads(text))))
    return rows


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _read_optuna(storage: Any, after: int) -> list[tuple[int, Trial]]:
    rows = []
    for study in storage.get_all_studies():
        for trial in storage.get_all_trials(study._study_id, deepcopy=False):
            if trial._trial_id > after and ROW in trial.user_attrs:
                with contextlib.suppress(ValueError, TypeError):
                    rows.append((trial._trial_id, Trial.from_json(trial.user_attrs[ROW])))
    return sorted(rows, key=lambda pair: pair[0])


__all__ = ["Config", "Store", "import_optuna", "merge", "quiet", "read"]
