"""Pictures of a search."""

from __future__ import annotations

import io
import math
import os
import statistics
from collections.abc import Sequence
from typing import Any

from tedsl.lang.errors import TuneError

from .store import Trial

INK, FAINT, MARK = "#1f4e79", "#9db7d1", "#c0392b"


def draw(trials: Sequence[Trial], path: Any = None, knobs: tuple[str, str] | None = None) -> Any:
    """The four pictures of a search, written to `path` or returned as a figure."""
    figure = _figure(trials, knobs)
    if path is None:
        return figure
    try:
        if os.path.isdir(path):
            raise IsADirectoryError("it is a folder")
        figure.savefig(path)
    except (OSError, ValueError) as e:
        raise TuneError(f"the picture {str(path)!r} cannot be written: {e}") from None
    return path


def png(trials: Sequence[Trial]) -> bytes:
    """The pictures as the bytes of a PNG."""
    buffer = io.BytesIO()
    _figure(trials, None).savefig(buffer, format="png")
    return buffer.getvalue()


def importance(trials: Sequence[Trial]) -> dict[str, float]:
    """Which share of the variance of log(seconds) the means over each knob's values explain, the largest first."""
    good = [(t.config, math.log(t.seconds)) for t in trials if t.seconds]
    if len(good) < 3:
        return {}
    total = statistics.pvariance([y for _, y in good])
    found: dict[str, float] = {}
    for name in dict.fromkeys(k for config, _ in good for k in config):
        groups: dict[str, list[float]] = {}
        for config, y in good:
            if name in config:
                groups.setdefault(repr(config[name]), []).append(y)
        members = [y for g in groups.values() for y in g]
        if len(groups) < 2 or total == 0:
            found[name] = 0.0
            continue
        mean = statistics.fmean(members)
        between = sum(len(g) * (statistics.fmean(g) - mean) ** 2 for g in groups.values()) / len(good)
        found[name] = between / total
    return dict(sorted(found.items(), key=lambda f: -f[1]))


def _figure(all_trials: Sequence[Trial], knobs: tuple[str, str] | None) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as e:
        raise TuneError(
            f"pictures need matplotlib, which cannot be imported ({e}): pip install 'tedsl[plot]'"
        ) from None
    trials = [t for t in all_trials if t.seconds]
    if not trials:
        raise TuneError("there is nothing to draw: no trial was successful")
    scale, unit = _unit(min(t.seconds or 0.0 for t in trials))
    share = importance(trials)
    if knobs is None:
        names = list(share) or list(trials[0].config)
        knobs = (names[0], names[1]) if len(names) > 1 else None
    else:
        known = list(dict.fromkeys(k for t in trials for k in t.config))
        if not isinstance(knobs, (tuple, list)) or len(knobs) != 2 or not set(knobs) <= set(known):
            raise TuneError(f"the heat map is over two knobs of {', '.join(known)}, not {knobs!r}")
    figure = Figure(figsize=(11, 7.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    places = figure.subplots(2, 2)
    _best_so_far(places[0, 0], all_trials, scale, unit)
    _predictions(places[0, 1], trials, scale, unit)
    _heat(places[1, 0], trials, knobs, scale, unit)
    _importance(places[1, 1], share)
    best = min(trials, key=lambda t: t.seconds or 0.0)
    name = best.subject.rpartition(":")[2].replace("[", "(").replace("]", ")")
    knobs_text = ", ".join(f"{k}={v}" for k, v in best.config.items())
    figure.suptitle(f"{name}: {(best.seconds or 0.0) * scale:.3g} {unit} with {knobs_text}", fontsize=10)
    return figure


def _unit(seconds: float) -> tuple[float, str]:
    return (1.0, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "us")


def _best_so_far(place: Any, trials: Sequence[Trial], scale: float, unit: str) -> None:
    ordered = sorted(trials, key=lambda t: t.finished)
    xs, ys, best, bests = [], [], float("inf"), []
    for n, t in enumerate(ordered, 1):
        if t.seconds:
            xs.append(n)
            ys.append(t.seconds * scale)
            best = min(best, t.seconds * scale)
            bests.append(best)
    place.scatter(xs, ys, s=12, color=FAINT, label="trial")
    place.step(xs, bests, where="post", color=INK, label="best so far")
    failed = [n for n, t in enumerate(ordered, 1) if t.error]
    if failed:
        place.scatter(failed, [max(ys)] * len(failed), marker="x", s=18, color=MARK, label="failed")
    place.set(xlabel="trial", ylabel=unit, yscale="log", title="Best so far")
    _plain(place.yaxis)
    place.legend(frameon=False, fontsize=8)


def _plain(axis: Any) -> None:
    """Numbers as people write them along an axis in logarithms: 30, not 3 x 10^1."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    def shown(value: float, _: Any) -> str:
        return f"{value:.3g}"

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / max(low, 1e-30) < 1000 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(shown))
    axis.set_minor_formatter(FuncFormatter(shown if high / max(low, 1e-30) < 4 else lambda value, position: ""))


def _nothing(place: Any, text: str) -> None:
    place.text(0.5, 0.5, text, ha="center", va="center", transform=place.transAxes, color="gray")


def _predictions(place: Any, trials: Sequence[Trial], scale: float, unit: str) -> None:
    pairs = [(t.predicted * scale, t.seconds * scale) for t in trials if t.predicted and t.seconds]
    place.set(xlabel=f"predicted, {unit}", ylabel=f"measured, {unit}", title="Predicted and measured")
    if not pairs:
        _nothing(place, "no predictions")
        return
    xs, ys = zip(*pairs)
    place.scatter(xs, ys, s=12, color=INK)
    ends = [min(*xs, *ys), max(*xs, *ys)]
    place.plot(ends, ends, color=FAINT, linewidth=1)
    place.set(xscale="log", yscale="log")
    _plain(place.xaxis)
    _plain(place.yaxis)


def _heat(place: Any, trials: Sequence[Trial], knobs: tuple[str, str] | None, scale: float, unit: str) -> None:
    if knobs is None:
        _nothing(place, "one knob")
        place.set(title="Two knobs", xticks=[], yticks=[])
        return
    across, up = knobs
    cells: dict[tuple[Any, Any], float] = {}
    for t in trials:
        if across in t.config and up in t.config and t.seconds:
            cell = (t.config[across], t.config[up])
            cells[cell] = min(cells.get(cell, float("inf")), t.seconds * scale)
    xs, ys = _sorted({x for x, _ in cells}), _sorted({y for _, y in cells})
    values = [[cells.get((x, y), float("nan")) for x in xs] for y in ys]
    image = place.imshow(values, origin="lower", aspect="auto", cmap="viridis_r")
    place.set(xticks=range(len(xs)), yticks=range(len(ys)), xlabel=across, ylabel=up)
    place.set_title(f"Best {unit} by {across} and {up}")
    place.set_xticklabels([str(x) for x in xs], fontsize=8, rotation=90 if max(len(str(x)) for x in xs) > 5 else 0)
    place.set_yticklabels([str(y) for y in ys], fontsize=8)
    place.figure.colorbar(image, ax=place)


def _sorted(values: set[Any]) -> list[Any]:
    numbers = all(isinstance(v, (int, float)) for v in values)
    return sorted(values) if numbers else sorted(values, key=repr)


def _importance(place: Any, share: dict[str, float]) -> None:
    if not share:
        _nothing(place, "three trials are needed")
        place.set(title="Importance of the knobs", xticks=[], yticks=[])
        return
    names = list(share)[:10][::-1]
    place.barh(names, [share[n] for n in names], color=INK)
    place.set(xlim=(0, 1), xlabel="share of the variance of log time", title="Importance of the knobs")
