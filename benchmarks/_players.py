"""Processes that the benchmarks' calls run in: one for each library and number of threads.

In one process the libraries' thread pools get in each other's way: threads that have no work spin for milliseconds and
hold the cores while a rival is timed. So each library has a process of its own, with its threads made on import, that
waits for its turn on a pipe. `serve` is the process's side, `Player` the other: a line of JSON there, a line back.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

SAMPLE = 1e-3  # seconds that a sample lasts at least
PATIENCE = 1.0  # seconds to wait for a process's idle threads to stop spinning (OpenBLAS: 2**28 cycles, 0.1 s)
WARM = 0.05  # seconds of untimed calls after a rest, in which the system spreads the threads over the cores (15 ms)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class Player:
    """A library's process, started for a script with `threads` threads on as many cores.

    Raises RuntimeError, with what the process printed last, when it has ended.
    """

    def __init__(self, script: Path, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        environment = {**os.environ, "PYTHONSAFEPATH": "1", **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        environment["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
        environment["PYTHONPATH"] = str(Path(__file__).parent)
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--player", name, "--threads", str(threads)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(cores) >= threads:
            os.sched_setaffinity(self.process.pid, cores[-threads:])

    def prepare(self, case: str, result: Path) -> None:
        """Make the case's arguments and call; its result is written to a file as NumPy does."""
        self.repeats = self.ask(case=case, result=str(result))["repeats"]
        self.rest()

    def sample(self) -> float:
        """Seconds a call takes, the mean of a sample after untimed calls. Leaves the cores to the next one."""
        seconds = float(self.ask(repeats=self.repeats)["seconds"])
        self.rest()
        return seconds

    def rest(self) -> None:
        """Wait until none of the process's threads runs."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        until = time.perf_counter() + (PATIENCE if self.threads > 1 else 0.0)
        if self.threads > 1 and not tasks.exists():
            time.sleep(PATIENCE / 4)
        while time.perf_counter() < until and any(map(running, tasks.glob("*/stat"))):
            time.sleep(1e-3)

    def ask(self, **question: Any) -> dict[str, Any]:
        pipe, answers = self.process.stdin, self.process.stdout
        assert pipe is not None and answers is not None
        try:
            pipe.write(json.dumps(question) + "\n")
            pipe.flush()
            text = answers.readline()
        except BrokenPipeError:
            text = ""
        if not text:
            raise RuntimeError(f"the process of {self.name} ended with status {self.process.wait()}")
        return dict(json.loads(text))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def running(stat: Path) -> bool:
    """Whether a thread, by its file in /proc, is on a core or waits for one."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:  # it has ended
        return False


def serve(prepare: Callable[[str], Callable[[], Any]], threads: int, questions: IO[str]) -> None:
    """A library's side: prepare cases by name and time their calls as asked, until the pipe ends."""
    import numpy as np

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints does not get between the answers
    call: Callable[[], Any]
    for question in map(json.loads, questions):
        answer: dict[str, Any]
        if "case" in question:
            call = prepare(question["case"])
            np.save(question["result"], np.asarray(call()))
            warm(call, threads)
            start = time.perf_counter()
            call()
            answer = {"repeats": max(1, int(SAMPLE / max(time.perf_counter() - start, 1e-7)))}
        else:
            warm(call, threads)
            start = time.perf_counter()
            for _ in range(question["repeats"]):
                call()
            answer = {"seconds": (time.perf_counter() - start) / question["repeats"]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def warm(call: Callable[[], Any], threads: int) -> None:
    """An untimed call; with several threads, as many as it takes until they have found their cores."""
    began = time.perf_counter()
    call()
    while threads > 1 and time.perf_counter() - began < WARM:
        call()


def in_turn(samples: dict[str, Callable[[], float]], seconds: float) -> dict[str, list[float]]:
    """Samples of each, taken in turn (A B B A ...): at least five, then until `seconds` for each have passed."""
    found: dict[str, list[float]] = {name: [] for name in samples}
    began = time.perf_counter()
    rounds = 0
    while rounds < 5 or (rounds < 400 and time.perf_counter() - began < seconds * len(samples)):
        order: Sequence[str] = list(samples) if rounds % 2 == 0 else list(reversed(samples))
        for name in order:
            found[name].append(samples[name]())
        rounds += 1
    return found
