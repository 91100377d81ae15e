"""Running the ladder: every rung verified, then timed in turn with NumPy, in a process with its threads under
control.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tedsl.casestudy.ladder import LADDER, Rung, Tiles, choose
from tedsl.lang.errors import InternalError
from tedsl.tune.rival import thread_limits

SMALL = 61  # no tile divides it
SECONDS = 0.6  # of measuring, for each rung
MOST_TURNS = 300


@dataclass(frozen=True)
class Row:
    """The speed of a rung. `of_peak`: the share of the FMA peak of the threads in use; `of_numpy`: NumPy's time over
    the rung's.

    `loads`: how often A and B are loaded, by level ("A from dram"): the formula and its value. `note`: what did not
    fit.
    """

    step: str
    seconds: float
    gflops: float
    of_peak: float
    of_numpy: float
    loads: dict[str, dict[str, Any]]
    numpy_seconds: float
    tiles: dict[str, int] = field(default_factory=dict)
    note: str = ""


def study(n: int = 1024, threads: int = 1) -> Iterator[Row]:
    """The rows of the ladder for `n` x `n` matrices, as they are measured.

    They are measured in a process of their own: NumPy's threads can only be bounded before it is imported.
    """
    # PYTHONSAFEPATH: a folder named tedsl in the current one is not the package.
    environment = {**os.environ, "PYTHONSAFEPATH": "1", **thread_limits(threads)}
    command = [sys.executable, "-m", "tedsl.casestudy", str(n), str(threads)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            yield Row(**json.loads(line))
        said = process.stderr.read()
        process.wait()
    if process.returncode:
        raise InternalError(f"the case study of n = {n} ended with status {process.returncode}: {said.strip()[-2000:]}")


def measure(n: int, threads: int) -> Iterator[Row]:
    """The rows, measured in this process."""
    import numpy as np

    import tedsl as te

    machine = te.machine()
    peak = machine.peak_gflops["float32"] * 1e9 * threads
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, n), dtype="float32") for _ in range(2))
    c = np.empty_like(a)
    want = np.dot(a, b.T)
    for rung in LADDER:
        verify(rung)
        tiles = choose(rung, n, machine)
        kernel = te.build(rung.schedule(n, tiles))
        call = partial(kernel, a, b, out=c, threads=threads)
        mine, rival = timed(call, lambda: np.dot(a, b.T, out=c), c, want)
        speed = 2 * n**3 / mine
        numbers = (mine, speed / 1e9, speed / peak, rival / mine)
        yield Row(rung.name, *numbers, loads(rung, n, tiles), rival, used(rung, tiles), tiles.note)


def verify(rung: Rung, n: int = SMALL) -> None:
    """Compare a rung at a size that no tile divides with the reference."""
    import numpy as np

    import tedsl as te

    s = rung.schedule(n, choose(rung, n, te.machine()))
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((n, n), dtype="float32") for _ in range(2))
    A, B = s.outputs[0].inputs
    compare(te.build(s)(a, b), te.evaluate(s.outputs[0], {A: a, B: b}), n)


def compare(got: Any, want: Any, n: int) -> None:
    """Raise unless two results agree within the rounding of sums of `n` products."""
    import numpy as np

    wrong = float(np.abs(got - want).max()) if n else 0.0
    if not wrong <= 1e-5 * n**0.5 + 1e-6 * n:
        raise InternalError(f"a rung of the case study is wrong by {wrong:.3g} at n = {n}")


def timed(mine: Callable[[], Any], rival: Callable[[], Any], c: Any, want: Any) -> tuple[float, float]:
    """Median seconds of two calls, mine verified by what it leaves in `c`. Slow calls are repeated less."""
    c.fill(0)
    start = time.perf_counter()
    mine()
    first = time.perf_counter() - start
    compare(c, want, c.shape[0])
    if first > 2 * SECONDS:
        rival()
        return first, in_turn({"rival": rival}, 0.0, least=1)["rival"][0]
    found = in_turn({"mine": mine, "rival": rival}, SECONDS)
    return statistics.median(found["mine"]), statistics.median(found["rival"])


def in_turn(
    calls: Mapping[str, Callable[[], Any]], seconds: float, turn: float = 0.0, least: int = 3
) -> dict[str, list[float]]:
    """Seconds of single runs of each call, the shortest first. Calls take turns, so that a slow moment of the machine
    hits all: `least` turns, and more for so many seconds. turn: seconds of one.
    """
    found: dict[str, list[float]] = {name: [] for name in calls}
    began, turns = time.perf_counter(), 0
    while turns < least or (turns < MOST_TURNS and time.perf_counter() - began < seconds):
        turns += 1
        for name, call in calls.items():
            start = begun = time.perf_counter()
            while start == begun or start - begun < turn:
                call()
                end = time.perf_counter()
                found[name].append(end - start)
                start = end
    return {name: sorted(samples) for name, samples in found.items()}


def used(rung: Rung, tiles: Tiles) -> dict[str, int]:
    """The tile sizes that a rung uses."""
    text = " ".join(rung.loads.values())
    return {name: getattr(tiles, name) for name in ("v1", "v2", "b1", "b2") if name in text}


def loads(rung: Rung, n: int, tiles: Tiles) -> dict[str, dict[str, Any]]:
    """The lecture's formulas of a rung with their values."""
    sizes = {"n": n, **used(rung, tiles)}
    return {
        f"{tensor} from {level}": {"formula": formula, "elements": value(formula, sizes)}
        for (tensor, level), formula in rung.loads.items()
    }


def value(formula: str, sizes: dict[str, int]) -> float:
    """The value of a sum of terms such as n**3/v1."""
    total = 0.0
    for term in formula.split("+"):
        product = 1.0
        power, _, divisor = term.strip().partition("/")
        base, _, exponent = power.partition("**")
        product *= float(sizes[base]) ** int(exponent or 1)
        total += product / (sizes[divisor] if divisor else 1)
    return total
