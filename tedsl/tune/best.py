"""The best stored schedule of what somebody wants to build."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tedsl.lang.errors import HistoryWarning, ScheduleError, TuneError, warn
from tedsl.schedule.primitives.intrinsics import Undeclared
from tedsl.schedule.schedule import Schedule, as_outputs

from .report import Result
from .rows import Trial
from .store import read


def best_schedule(
    what: Any, store: Any, any_machine: bool = False, sizes: Mapping[str, int] | None = None
) -> Schedule | None:
    """The fastest stored schedule for a tensor (or a list of them), matched by what they compute, not by names; None
    when there is none.

    sizes: the numbers that symbolic sizes are going to have. Schedules that were measured with these come first, then
    those of the nearest sizes; where nothing is given, those of the largest.

    store: a path or URL, or what `te.load_results` gave. any_machine: use what was measured on other machines as well
    (results that were loaded with `machine="any"` bring them along).
    """
    from .machine import identity
    from .workload import key_of, schedule_from, sizes_of

    outputs, several = as_outputs(what)
    rows = store.all_trials if isinstance(store, Result) else read(store)
    if isinstance(store, Result) and store.any_machine:
        any_machine = True
    if not any(r.seconds is not None for r in rows):
        return None
    key = key_of(outputs, several)
    here_is = identity()[0]
    found = [r for r in rows if r.seconds is not None and r.workload == key and (any_machine or r.machine == here_is)]
    names = sizes_of(outputs)
    for row in sorted(found, key=lambda row: (_distance(row, names, sizes or {}), row.seconds)):
        try:
            return schedule_from(outputs, several, row.steps)
        except Undeclared as e:
            last = e
            warn(
                f"[W004] a stored schedule of {', '.join(t.name for t in outputs)} is left out: {e.message}",
                HistoryWarning,
            )
        except ScheduleError as e:
            last = e  # written by a version whose primitives were others
    if found:
        raise TuneError(
            f"the stored schedules for {', '.join(t.name for t in outputs)} cannot be used any more "
            f"({last.message}); tune it again",
        )
    return None


def _distance(row: Trial, names: Sequence[str], sizes: Mapping[str, int]) -> tuple[float, float]:
    """How far a row's sizes are from the wanted ones, and, of what nothing is wanted, how small they are."""
    off = small = 0.0
    for name, measured in zip(names, row.sizes.values()):
        if name in sizes:
            off += abs(math.log(max(measured, 1) / max(sizes[name], 1)))
        else:
            small -= math.log(max(measured, 1))
    return (off, small)
