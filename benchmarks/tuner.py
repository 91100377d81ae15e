"""The tuner: candidates a second, and how soon it is within 5 % of the best, against random search.

The lecture's matmul (`tedsl tune matmul`) is searched with several seeds and an empty store each time. For each trial
of each search the best so far is compared with the best of all searches; the tables give medians over the seeds. With
--json FILE all
of it is written down, with --png FILE the curves are drawn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

from tedsl.tune.templates import matmul
from tedsl.tune.tuner import tune

NEAR = 0.95
SEARCHES = {
    "tpe": {"search": "tpe"},
    "tpe, all measured": {"search": "tpe", "rank": False},
    "random": {"search": "random", "rank": False},
}


def curve(options: dict[str, Any], n: int, trials: int, seed: int) -> dict[str, Any]:
    """One search: the best so far after each trial, and how long it took."""
    begun = time.perf_counter()
    result = tune(matmul, (n,), trials=trials, store=None, seed=seed, progress=False, **options)
    spent = time.perf_counter() - begun
    best, curve = float("inf"), []
    for trial in sorted(result.trials, key=lambda t: t.finished):
        if trial.kind == "duplicate":  # these are free
            continue
        best = min(best, trial.seconds or best)
        curve.append(best)
    looked_at = len(result.trials) + len(result.left_out)
    return {
        "curve": curve,
        "seconds": spent,
        "measured": result.measured,
        "left out": len(result.left_out),
        "looked at": looked_at,
    }


def within(run: dict[str, Any], best: float) -> int | None:
    """The first trial that is near the best; None when there is none."""
    return next((count for count, seconds in enumerate(run["curve"], 1) if best / seconds >= NEAR), None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--png", metavar="FILE")
    options = parser.parse_args()
    tune(matmul, (64,), trials=1, store=None, progress=False)  # imports, the compiler's checks
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SEARCHES}
    for seed in range(options.seeds):  # in turn, so that all of them see the same machine
        for name, kind in SEARCHES.items():
            runs[name].append(curve(kind, options.n, options.trials, seed))
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    best = min(run["curve"][-1] for each in runs.values() for run in each)
    from tedsl.terminal import duration, table

    rows = []
    for name, each in runs.items():
        firsts = [within(run, best) or options.trials + 1 for run in each]
        middle = statistics.median(firsts)
        share = statistics.median(best / run["curve"][-1] for run in each)
        rate = statistics.median(run["measured"] / run["seconds"] for run in each)
        looked = statistics.median(run["looked at"] / run["seconds"] for run in each)
        reached = f"{middle:.0f}" if middle <= options.trials else f"> {options.trials}"
        rows.append(
            (
                name,
                f"{rate:.1f}",
                f"{looked:.1f}",
                reached,
                f"{share:.1%}",
                f"{statistics.median(r['left out'] for r in each):.0f}",
            )
        )
    title = (
        f"matmul {options.n}, {options.trials} trials, medians of {options.seeds} seeds; best known {duration(best)}"
    )
    header = (
        "search",
        "measured/s",
        "candidates/s",
        f"trials to {NEAR:.0%} of the best",
        "of the best at the end",
        "left out",
    )
    table(rows, header, title=title, right=(1, 2, 3, 4, 5))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"n": options.n, "trials": options.trials, "best": best, "runs": runs}, file, indent=1)
    if options.png:
        draw(runs, best, options.png)
    return 0


def draw(runs: dict[str, list[dict[str, Any]]], best: float, path: str) -> None:
    """The best so far over the trials: medians, and the range over the seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    place = figure.subplots()
    for (name, each), color in zip(runs.items(), ("#1f4e79", "#5b8db8", "#c0392b")):
        length = min(len(run["curve"]) for run in each)
        columns = [[best / run["curve"][at] for run in each] for at in range(length)]
        xs = range(1, length + 1)
        place.step(xs, [statistics.median(c) for c in columns], where="post", label=name, color=color)
        place.fill_between(
            xs, [min(c) for c in columns], [max(c) for c in columns], step="post", alpha=0.12, color=color
        )
    place.axhline(NEAR, color="gray", linewidth=0.8)
    place.set(xlabel="trial", ylabel="speed, share of the best known", ylim=(0, 1.02), title="The best so far")
    place.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    raise SystemExit(main())
