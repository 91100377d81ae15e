"""What the benchmarks share: kernel and rivals in turn, on the same data, with the same threads; tables and pictures.

A benchmark is a script with a list of cases and `main(__doc__, cases)` at its end. A case gives the work it does, its
arguments, our kernel and its rivals; each is a function that prepares a call and returns it. Rivals that are not
installed are left out.

Each library has a process of its own for each number of threads (`_players.py`); with one thread it stays on one core.
Results are compared before anything is timed. Times are medians of samples that were taken in turn, and beside each
stands its share of what `te.machine()` measured (the FMA peak, or the bandwidth of the level that holds the data, of
one core times the threads), so that an impossible number is seen.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _players import Player, in_turn, serve

SECONDS = 1.5  # of measuring, for each case and rival
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"NumPy": "numpy", "PyTorch": "torch", "torch.compile": "torch", "JAX": "jax", "Numba": "numba"}

Call = Callable[[], Any]
Prepare = Callable[..., Call]


@dataclass(frozen=True)
class Case:
    """`work`: what is counted, "flop" or "byte", and how many of it. `make`: the arguments, from a random generator.

    `ours` and `rivals` take the arguments and the number of threads and return a call, which returns its result.
    `target`: the least ratio (a rival's time over ours) that is aimed at.
    """

    name: str
    work: tuple[str, float]
    make: Callable[[Any], Sequence[Any]]
    ours: Prepare
    rivals: dict[str, Prepare]
    target: float = 1.0
    tolerance: float = 1e-4


@dataclass
class Result:
    """A case as measured. `ratio`: the best rival's time over ours. `share`: of the measured ceiling."""

    name: str
    threads: int
    seconds: float
    rate: float
    unit: str
    share: float
    target: float
    rivals: dict[str, float] = field(default_factory=dict)

    @property
    def best_rival(self) -> str:
        return min(self.rivals, key=lambda name: self.rivals[name]) if self.rivals else ""

    @property
    def ratio(self) -> float:
        return self.rivals[self.best_rival] / self.seconds if self.rivals else float("nan")


def measure(case: Case, players: dict[str, Player], seconds: float = SECONDS) -> Result:
    """Compare the results of our kernel and its rivals, then time them in turn. `players`: the libraries' processes and
    ours.
    """
    import numpy as np

    import tedsl as te

    taking = {name: players[name] for name in ("tedsl", *case.rivals) if name in players}
    want = None
    with tempfile.TemporaryDirectory(prefix="tedsl-bench-") as folder:
        for index, (name, player) in enumerate(taking.items()):
            file = Path(folder) / f"{index}.npy"
            player.prepare(case.name, file)
            got = np.load(file).astype("float64")
            if want is None:
                want = got
            wrong = np.abs(got.reshape(want.shape) - want).max() / max(np.abs(want).max(), 1e-30)
            if not wrong <= case.tolerance:
                raise SystemExit(f"{case.name}: {name} and tedsl differ by {wrong:.2g} of the largest value")
    samples = in_turn({name: player.sample for name, player in taking.items()}, seconds)
    times = {name: statistics.median(found) for name, found in samples.items()}
    threads = taking["tedsl"].threads
    kind, count = case.work
    machine = te.machine()
    if kind == "flop":
        ceiling = machine.peak_gflops["float32"] * 1e9 * threads
    else:
        held = {"l1": machine.l1_bytes, "l2": machine.l2_bytes, "l3": machine.l3_bytes}
        level = next((level for level, size in held.items() if count <= 0.75 * size), "dram")
        ceiling = machine.bandwidth[level] * threads
    mine = times.pop("tedsl")
    rate = count / mine
    unit = "GFLOP/s" if kind == "flop" else "GB/s"
    return Result(case.name, threads, mine, rate / 1e9, unit, rate / ceiling, case.target, times)


# The command ---------------------------------------------------------------------------------------------------------


def main(description: str | None, cases: Callable[[], Sequence[Case]]) -> int:
    script = Path(sys.argv[0]).resolve()
    parser = argparse.ArgumentParser(description=(description or "").strip().partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=None, help="default: 1, and all cores up to 2")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases with TEXT in their names")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of measuring, for each case and library")
    parser.add_argument("--json", metavar="FILE", help=f"default: build/bench/{script.stem}.json")
    parser.add_argument("--png", metavar="FILE", help=f"default: build/bench/{script.stem}.png, with matplotlib")
    parser.add_argument("--player", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.player:
        serve(lambda name: prepared(cases(), name, options.player, options.threads[0]), options.threads[0], sys.stdin)
        return 0

    import tedsl as te

    machine = te.machine()
    machine.to_json()  # the speeds are measured here, before anything else runs
    chosen = [case for case in cases() if options.only in case.name]
    results: list[Result] = []
    print(heading())
    for threads in options.threads or sorted({1, min(2, machine.cores)}):
        for result in compete(script, chosen, threads, options.seconds):
            results.append(result)
            print(line(result), flush=True)
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine.to_json(), "results": [asdict(r) for r in results]}, indent=1)
    Path(options.json or folder / f"{script.stem}.json").write_text(text + "\n")
    if find_spec("matplotlib") is not None:
        picture(results, options.png or folder / f"{script.stem}.png")
    if os.environ.get("TEDSL_BENCH_DOCS") and not options.only:
        write_table(Path(os.environ["TEDSL_BENCH_DOCS"]), script.stem, markdown(results))
    return 0


def compete(script: Path, cases: Sequence[Case], threads: int, seconds: float) -> Iterator[Result]:
    """The results of all cases with so many threads. Libraries that are not installed are left out."""
    names = ["tedsl", *dict.fromkeys(name for case in cases for name in case.rivals)]
    with contextlib.ExitStack() as stack:
        players = {}
        for name in names:
            if name == "tedsl" or find_spec(PACKAGES[name]) is not None:
                players[name] = Player(script, name, threads)
                stack.callback(players[name].close)
        for case in cases:
            yield measure(case, players, seconds)


def prepared(cases: Sequence[Case], name: str, player: str, threads: int) -> Call:
    """The call of a library in a case; the arguments are the same in every process."""
    import numpy as np

    case = next(case for case in cases if case.name == name)
    prepare = case.ours if player == "tedsl" else case.rivals[player]
    return prepare(*case.make(np.random.default_rng(0)), threads=threads)


RIVALS = ("NumPy", "PyTorch", "torch.compile", "JAX", "Numba")


def heading() -> str:
    return f"{'':<34}{'thr':>4}{'ms':>10}{'rate':>16}{'share':>7}{'ratio':>7}{'aim':>6}  rivals (ms)"


def line(r: Result) -> str:
    rivals = ", ".join(f"{name} {seconds * 1e3:.3g}" for name, seconds in sorted(r.rivals.items(), key=lambda x: x[1]))
    rate = f"{r.rate:.1f} {r.unit}"
    numbers = f"{r.threads:>4}{r.seconds * 1e3:>10.4g}{rate:>16}{r.share:>7.0%}{r.ratio:>7.2f}{r.target:>6.2f}"
    return f"{r.name:<34}{numbers}  {rivals}"


def markdown(results: Sequence[Result]) -> str:
    names = [name for name in RIVALS if any(name in r.rivals for r in results)]
    lines = [
        f"| | threads | ms | rate | of the ceiling | {' | '.join(names)} | best rival / tedsl | aim |",
        "|---|---|---|---|---|" + "---|" * (len(names) + 2),
    ]
    for r in results:
        rivals = " | ".join(f"{r.rivals[name] * 1e3:.3g}" if name in r.rivals else "" for name in names)
        mark = "**" * (r.ratio < r.target)
        ratio = f"{mark}{r.ratio:.2f}{mark}" if r.rivals else ""
        speed = f"{r.seconds * 1e3:.3g} | {r.rate:.0f} {r.unit} | {r.share:.0%}"
        lines.append(f"| {r.name} | {r.threads} | {speed} | {rivals} | {ratio} | {r.target:.2f} |")
    return "\n".join(lines)


def write_table(page: Path, name: str, table: str) -> None:
    """Put the table of a benchmark between its markers in a page."""
    begin, end = f"<!-- {name}: made by `make bench` -->", f"<!-- end of {name} -->"
    text = page.read_text()
    if begin not in text or end not in text:
        raise SystemExit(f"{page} has no place for the table of {name}: it needs the lines\n{begin}\n{end}")
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")


def picture(results: Sequence[Result], file: str | os.PathLike[str]) -> None:
    """Ratios as bars: the best rival's time over ours, at 1 both are equal."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [r for r in results if r.rivals]
    if not shown:
        return
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    labels = [f"{r.name}, {r.threads} thread{'s' * (r.threads != 1)}" for r in shown]
    axes.barh(labels, [r.ratio for r in shown], color=["C0" if r.ratio >= r.target else "C3" for r in shown])
    axes.invert_yaxis()
    for index, r in enumerate(shown):
        axes.annotate(f" {r.ratio:.2f} ({r.best_rival})", (r.ratio, index), va="center", fontsize=7)
        axes.plot([r.target, r.target], [index - 0.4, index + 0.4], color="black", linewidth=1)
    axes.axvline(1, color="grey", linewidth=1, linestyle="--")
    axes.set_xlim(
        0, 1.25 * max(max(r.ratio, r.target) for r in shown)
    )  # with room for what stands beside the longest bar
    axes.tick_params(labelsize=7)
    axes.set_xlabel("time of the best rival over tedsl's (black: aim)")
    figure.savefig(file, dpi=120)
