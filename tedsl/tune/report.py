"""Results of a search: the best configuration, every trial, and how they were come by."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tedsl.lang.errors import TuneError

from .rows import Trial
from .store import read


class Result:
    """What `te.tune` found, or what a store holds.

    best       the fastest trial: .config, .seconds, .apply() → (schedule, arguments), .schedule (its steps as Python)
    trials     every trial: .config, .seconds, .error and the rest of its row
    measured   how many were measured in this call; counts: failed, duplicates, rejected by the template, saved by the cost model
    rejected   how many the template turned down, by its reason
    left_out   what the cost model left out
    """

    def __init__(self, trials: Sequence[Trial], measured: int = 0, counts: Mapping[str, int] | None = None, seconds: float = 0.0, interrupted: bool = False,
                 rejected: Mapping[str, int] | None = None, left_out: Sequence[Trial] = (), where: Any = None, any_machine: bool = False) -> None:  # fmt: skip
        self.all_trials = tuple(trials)
        self.trials = _latest(trials)
        self.measured, self.seconds, self.interrupted, self.where, self.any_machine = (
            measured,
            seconds,
            interrupted,
            where,
            any_machine,
        )
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
        from .pictures import draw

        return draw(self, path, knobs)

    def numpy_seconds(self) -> float | None:
        """NumPy's time for what the best trial computes, measured now; None where NumPy has no such operator
        (`np.einsum` has sums of products).
        """
        from .rival import numpy_seconds

        best = self.best
        return numpy_seconds(best.apply()[0].outputs, best.threads or None)

    def __str__(self) -> str:
        return "\n".join(lines(self))

    def __repr__(self) -> str:
        good = sum(t.seconds is not None for t in self.trials)
        return f"<results of {len(self.trials)} trials, {good} successful>"

    def _repr_html_(self) -> str:
        """The report, and the pictures of the search where there are any: in a notebook."""
        import base64
        from html import escape

        from .pictures import png

        text = f"<pre>{escape(str(self))}</pre>"
        try:
            picture = base64.b64encode(png(self)).decode()
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
        from .machine import identity

        key = identity()[0] if machine == "this" else machine
        rows = [r for r in rows if r.machine == key]
    return Result(rows, where=store, any_machine=machine == "any")


def _latest(rows: Sequence[Trial]) -> tuple[Trial, ...]:
    """One row for each configuration: the last one, since the template's text may have changed."""
    found: dict[tuple[str, ...], Trial] = {}
    for row in rows:
        one = (*row.place, row.key, row.machine)
        found[one] = row
    return tuple(found.values())


# Text -----------------------------------------------------------------------------------------------------------------


def lines(result: Result) -> list[str]:
    """The report as text."""
    from tedsl.cli.output import duration

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
    failures: dict[str, int] = {}
    for t in trials:
        if t.error:
            reason = (
                t.error.partition(":")[0]
                if t.error.startswith(("timeout", "crash", "wrong answer", "out of memory"))
                else t.error.partition("\n")[0][:100]
            )
            failures[reason] = failures.get(reason, 0) + 1
    found += [f"failed: {count} x {reason}" for reason, count in sorted(failures.items(), key=lambda f: -f[1])[:5]]
    if not good:
        return found
    try:
        best = result.best
    except TuneError:
        return found + [
            f"{subject}: best {duration(t.seconds or 0.0)}" + _config(t, ", ")
            for subject, t in sorted(bests(trials).items())
        ]
    found += [
        f"best: {duration(best.seconds or 0.0)} (spread {best.spread:.1%} of {best.samples} runs)" + _config(best, ", ")
    ]
    found += standing(best, good)
    if best.schedule:
        found += ["", *best.schedule.split("\n")]
    return found


def _reasons(rejected: Mapping[str, int]) -> str:
    """Why a template turned configurations down, where it said so."""
    found = sorted((r for r in rejected if r), key=lambda r: -rejected[r])[:3]
    return f" ({'; '.join(found)})" if found else ""


def bests(trials: Sequence[Trial]) -> dict[str, Trial]:
    """The fastest trial of each template, its arguments and sizes."""
    found: dict[str, Trial] = {}
    for t in trials:
        if t.seconds is not None and (t.subject not in found or t.seconds < (found[t.subject].seconds or 0.0)):
            found[t.subject] = t
    return found


def source_of(trial: Trial) -> str:
    """The schedule of a trial as a Python module with a function that schedules a tensor."""
    name = trial.template.rpartition(":")[2]
    shown = ", ".join(f"{k}={v!r}" for k, v in trial.config.items())
    seconds = trial.seconds if trial.seconds is not None else float("nan")
    body = trial.schedule.split("\n") if trial.schedule else []
    text = [
        f'"""A schedule found by tuning {trial.subject}: {seconds:.6g} s.', "",
        f"{shown}", f"on {trial.cpu}, {trial.compiler}, tedsl {trial.version}", '"""', "",
        "import tedsl as te", "", "",
        f"def schedule_{name if name.isidentifier() else 'tuned'}(target):",
        '    """The schedule of a tensor (or a list of tensors) with these names of stages and axes, for te.build."""',
        "    s = te.create_schedule(target)", *(f"    {line}" for line in body), "    return s"]  # fmt: skip
    return "\n".join(text) + "\n"


def _config(trial: Trial, before: str) -> str:
    return before * bool(trial.config) + ", ".join(f"{k}={v!r}" for k, v in trial.config.items())


def standing(trial: Trial, others: Sequence[Trial]) -> list[str]:
    """How good a trial is: speed, share of the machine's peak, and why, in the cost model's terms, beside what half of
    the trials are below.
    """
    from tedsl.cli.output import duration

    from .machine import identity

    found = []
    operations = trial.why.get("operations")
    if isinstance(operations, (int, float)) and trial.seconds:
        speed = operations / trial.seconds / 1e9
        text = f"speed: {speed:.3g} GFLOP/s"
        if trial.machine == identity()[0]:
            from tedsl.machine import machine

            peak = machine().peak_gflops.get(str(trial.why.get("dtype", "float32")))
            if peak:
                text += f", {speed / (peak * max(trial.threads, 1)):.0%} of the peak of {max(trial.threads, 1)} core{'s' * (trial.threads > 1)}"
        found.append(text)
    if trial.predicted:
        found.append(f"the cost model: {duration(trial.predicted)}; the median of all is in brackets")
        for name, value in trial.why.items():
            if name not in ("operations", "dtype") and value is not None:
                shown = duration if name.startswith("time ") else _count
                found.append(f"  {name}: {shown(value)}{_middle(name, others, shown)}")
    return found


def _middle(name: str, trials: Sequence[Trial], shown: Callable[[Any], str]) -> str:
    """The median of a term over some trials."""
    found = [t.why[name] for t in trials if isinstance(t.why.get(name), (int, float))]
    return f" ({shown(statistics.median(found))})" if len(found) > 1 else ""


def _count(value: Any) -> str:
    if isinstance(value, (int, float)) and abs(value) >= 1e5:
        return f"{value:.3g}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
