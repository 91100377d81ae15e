"""What a search or a store has found: the best trial, all trials, and the best schedule of what is to be built."""

from __future__ import annotations

import base64
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tedsl.lang.errors import HistoryWarning, ScheduleError, TuneError, warn
from tedsl.schedule.primitives.intrinsics import Undeclared
from tedsl.schedule.schedule import Schedule, as_outputs
from tedsl.terminal import duration

from .pictures import draw, png
from .rival import numpy_seconds
from .store import Trial, read, this_machine
from .workload import key_of, schedule_from, sizes_of


class Result:
    """What `te.tune` found, or what a store holds.

    best       the fastest trial: .config, .seconds, .apply() → (schedule, arguments), .schedule (its steps as Python)
    trials     every trial: .config, .seconds, .error and the rest of its row
    measured   how many were measured in this call
    counts     failed, duplicates, rejected by the template, saved by the cost model
    rejected   how many the template rejected, by its reason
    left_out   what the cost model left out
    """

    def __init__(
        self, trials: Sequence[Trial], measured: int = 0, counts: Mapping[str, int] | None = None,
        seconds: float = 0.0, interrupted: bool = False, rejected: Mapping[str, int] | None = None,
        left_out: Sequence[Trial] = (), where: Any = None, any_machine: bool = False,
    ) -> None:  # fmt: skip
        self.all_trials = tuple(trials)
        # One for each configuration: the last one, since the template's text may have changed.
        self.trials = tuple({(*t.place, t.key, t.machine): t for t in trials}.values())
        self.measured, self.seconds, self.interrupted = measured, seconds, interrupted
        self.where, self.any_machine = where, any_machine
        self.counts = dict(counts or {})
        self.rejected = dict(rejected or {})
        self.left_out = tuple(left_out)

    @property
    def best(self) -> Trial:
        """The fastest trial. Raises TuneError when none was successful, or when there are several workloads to choose
        from.
        """
        good = [t for t in self.trials if t.seconds is not None]
        if not good:
            reasons = "; ".join(sorted({(t.error or "")[:120] for t in self.trials})[:3])
            if not self.trials and self.rejected:
                reasons = f"the template turned every configuration down{_reasons(self.rejected)}"
            raise TuneError(
                f"none of {len(self.trials)} trials was successful"
                + (f": {reasons}" if reasons else "; run te.tune first"),
            )
        groups = {t.subject for t in good}
        if len(groups) > 1:
            shown = ", ".join(sorted(groups)[:5])
            raise TuneError(
                f"these results are of several templates, arguments or sizes ({shown}); choose one: "
                "te.load_results(…, template=…, args=…, sizes=…)",
            )
        return min(good, key=lambda t: t.seconds or 0.0)

    def plot(self, path: Any = None, knobs: tuple[str, str] | None = None) -> Any:
        """Draw the search: best so far, predicted against measured, a heat map over two knobs, importance of the knobs.

        path: a PNG (or PDF, SVG) to write; without it the figure is returned. knobs: the two of the heat map. Needs
        matplotlib.
        """
        return draw(self.trials, path, knobs)

    def numpy_seconds(self) -> float | None:
        """NumPy's time for what the best trial computes, measured now; None where NumPy has no such operator
        (`np.einsum` has sums of products).
        """
        best = self.best
        return numpy_seconds(best.apply()[0].outputs, best.threads or None)

    def __str__(self) -> str:
        return "\n".join(lines(self))

    def __repr__(self) -> str:
        good = sum(t.seconds is not None for t in self.trials)
        return f"<results of {len(self.trials)} trials, {good} successful>"

    def _repr_html_(self) -> str:
        """The report, and the pictures of the search where there are any: in a notebook."""
        text = f"<pre>{escape(str(self))}</pre>"
        try:
            picture = base64.b64encode(png(self.trials)).decode()
        except TuneError:  # nothing to draw, or nothing to draw it with
            return text
        return f'{text}<img src="data:image/png;base64,{picture}">'


def load_results(
    store: Any, template: Any = None, args: Any = None, machine: str = "this", sizes: Mapping[str, int] | None = None
) -> Result:
    """What is in a store: `.trials`, `.best`, `.plot`. Raises TuneError when there is no such store.

    template, args, sizes: only those of a template (itself, or its name), called with these arguments, for these
    symbolic sizes. machine: "this" for what was measured here, "any", or a machine's key.
    """
    rows = read(store)
    if template is not None:
        name = getattr(template, "reference", template)
        rows = [r for r in rows if r.template == name or r.template.rpartition(":")[2] == name]
    if args is not None:
        wanted = json.dumps(list(args) if isinstance(args, (tuple, list)) else [args])
        rows = [r for r in rows if r.args == wanted]
    if sizes is not None:
        rows = [r for r in rows if r.sizes == dict(sizes)]
    if machine != "any":
        key = this_machine()[0] if machine == "this" else machine
        rows = [r for r in rows if r.machine == key]
    return Result(rows, where=store, any_machine=machine == "any")


# The best schedule ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoredSchedule:
    """The best stored schedule of a program, or None, and where it comes from: ``tuning.db, trial 14``; or why there is
    none.
    """

    schedule: Schedule | None
    origin: str


def best_schedule(
    what: Any, store: Any, any_machine: bool = False, sizes: Mapping[str, int] | None = None
) -> Schedule | None:
    """The fastest stored schedule for a tensor (or a list of them), matched by what they compute, not by names; None
    when there is none. Arguments as for `find_schedule`.
    """
    return find_schedule(what, store, any_machine, sizes).schedule


def find_schedule(
    what: Any, store: Any, any_machine: bool = False, sizes: Mapping[str, int] | None = None
) -> StoredSchedule:
    """The fastest stored schedule for a tensor (or a list of them), and where it comes from.

    sizes: the numbers that symbolic sizes are going to have. Schedules that were measured with these come first, then
    those of the nearest sizes; where nothing is given, those of the largest.

    store: a path or URL, or what `te.load_results` gave. any_machine: use what was measured on other machines as well
    (results that were loaded with `machine="any"` bring them along).
    """
    outputs, several = as_outputs(what)
    loaded = isinstance(store, Result)
    rows = store.all_trials if loaded else read(store)
    any_machine |= loaded and store.any_machine
    where = (store.where if loaded else store) or "the results"
    good = [row for row in rows if row.seconds is not None]
    if not good:
        return StoredSchedule(None, f"automatic: {where} has no successful trial")
    key, here = key_of(outputs, several), this_machine()[0]
    same = [row for row in good if row.workload == key]
    found = [row for row in same if any_machine or row.machine == here]
    names = sizes_of(outputs)
    for row in sorted(found, key=lambda row: (_distance(row, names, sizes or {}), row.seconds)):
        last: ScheduleError
        try:
            return StoredSchedule(schedule_from(outputs, several, row.steps), f"{where}, trial {row.number}")
        except ScheduleError as e:
            last = e  # written by a version whose primitives were others
            if isinstance(e, Undeclared):
                name = ", ".join(t.name for t in outputs)
                warn(f"[W004] a stored schedule of {name} is left out: {e.message}", HistoryWarning)
    if found:
        raise TuneError(
            f"the stored schedules for {', '.join(t.name for t in outputs)} cannot be used any more "
            f"({last.message}); tune it again",
        )
    shape = " x ".join(map(str, outputs[0].shape)) or "a scalar"
    other = " of this machine" * bool(same)
    return StoredSchedule(None, f"automatic: no row{other} for {shape} in {where}")


def _distance(row: Trial, names: Sequence[str], sizes: Mapping[str, int]) -> tuple[float, float]:
    """How far a row's sizes are from the wanted ones, and, of what nothing is wanted, how small they are."""
    off = small = 0.0
    for name, measured in zip(names, row.sizes.values()):
        if name in sizes:
            off += abs(math.log(max(measured, 1) / max(sizes[name], 1)))
        else:
            small -= math.log(max(measured, 1))
    return (off, small)


# Text -----------------------------------------------------------------------------------------------------------------


def lines(result: Result) -> list[str]:
    """The lines of a report."""
    trials = result.trials
    good = [t for t in trials if t.seconds is not None]
    counts = result.counts
    head = f"{len(trials)} trials, {len(good)} successful"
    if result.measured:
        head += f"; {result.measured} measured now in {result.seconds:.1f} s ({result.measured / result.seconds:.1f}/s)"
    found = [head + (", interrupted" if result.interrupted else "")]
    notes = []
    if counts.get("saved"):
        notes.append(f"{counts['saved']} not measured because of the cost model")
    if counts.get("duplicates"):
        notes.append(f"{counts['duplicates']} with the source of another")
    if counts.get("rejected"):
        notes.append(f"{counts['rejected']} turned down by the template{_reasons(result.rejected)}")
    if notes:
        found.append(", ".join(notes))
    failures = Counter(_kind_of_error(t.error) for t in trials if t.error)
    found += [f"failed: {count} x {reason}" for reason, count in failures.most_common(5)]
    if not good:
        return found
    try:
        best = result.best
    except TuneError:
        subjects = sorted(best_by_subject(trials).items())
        return found + [f"{subject}: best {duration(t.seconds or 0.0)}{_config(t)}" for subject, t in subjects]
    spread = f"(spread {best.spread:.1%} of {best.samples} runs)"
    found.append(f"best: {duration(best.seconds or 0.0)} {spread}{_config(best)}")
    found += quality(best, good)
    if best.schedule:
        found += ["", *best.schedule.split("\n")]
    return found


def _kind_of_error(error: str) -> str:
    general = error.startswith(("timeout", "crash", "wrong answer", "out of memory"))
    return error.partition(":")[0] if general else error.partition("\n")[0][:100]


def _reasons(rejected: Mapping[str, int]) -> str:
    """Why a template turned configurations down, where it said so."""
    found = sorted((r for r in rejected if r), key=lambda r: -rejected[r])[:3]
    return f" ({'; '.join(found)})" if found else ""


def best_by_subject(trials: Sequence[Trial]) -> dict[str, Trial]:
    """The fastest trial of each template, its arguments and sizes."""
    found: dict[str, Trial] = {}
    for t in trials:
        if t.seconds is not None and (t.subject not in found or t.seconds < (found[t.subject].seconds or 0.0)):
            found[t.subject] = t
    return found


def python_source(trial: Trial) -> str:
    """The schedule of a trial as a Python module with a function that schedules a tensor."""
    name = trial.template.rpartition(":")[2]
    seconds = trial.seconds if trial.seconds is not None else float("nan")
    body = trial.schedule.split("\n") if trial.schedule else []
    text = [
        f'"""A schedule found by tuning {trial.subject}: {seconds:.6g} s.', "",
        _config(trial).removeprefix(", "), f"on {trial.cpu}, {trial.compiler}, tedsl {trial.version}", '"""', "",
        "import tedsl as te", "", "",
        f"def schedule_{name if name.isidentifier() else 'tuned'}(target):",
        '    """The schedule of a tensor (or a list of tensors) with these names of stages and axes, for te.build."""',
        "    s = te.create_schedule(target)", *(f"    {line}" for line in body), "    return s"]  # fmt: skip
    return "\n".join(text) + "\n"


def _config(trial: Trial) -> str:
    return "".join(f", {k}={v!r}" for k, v in trial.config.items())


def quality(trial: Trial, others: Sequence[Trial]) -> list[str]:
    """How good a trial is: speed, share of the machine's peak, and why, in the cost model's terms, beside what half of
    the trials are below.
    """
    found = []
    operations = trial.why.get("operations")
    if isinstance(operations, (int, float)) and trial.seconds:
        speed = operations / trial.seconds / 1e9
        text = f"speed: {speed:.3g} GFLOP/s"
        if trial.machine == this_machine()[0]:
            from tedsl.machine import machine

            peak = machine().peak_gflops.get(str(trial.why.get("dtype", "float32")))
            if peak:
                cores = max(trial.threads, 1)
                text += f", {speed / (peak * cores):.0%} of the peak of {cores} core{'s' * (cores > 1)}"
        found.append(text)
    if trial.predicted:
        found.append(f"the cost model: {duration(trial.predicted)}; the median of all is in brackets")
        for name, value in trial.why.items():
            if name not in ("operations", "dtype") and value is not None:
                shown = duration if name.startswith("time ") else _count
                found.append(f"  {name}: {shown(value)}{_median(name, others, shown)}")
    return found


def _median(name: str, trials: Sequence[Trial], shown: Callable[[Any], str]) -> str:
    """The median of a term over some trials."""
    found = [t.why[name] for t in trials if isinstance(t.why.get(name), (int, float))]
    return f" ({shown(statistics.median(found))})" if len(found) > 1 else ""


def _count(value: Any) -> str:
    if isinstance(value, (int, float)) and abs(value) >= 1e5:
        return f"{value:.3g}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
