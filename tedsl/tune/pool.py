"""The processes that build candidates, and those that measure kernels: on this machine, one at a time, or wherever an
executor of `concurrent.futures` runs its calls.

A candidate travels as a Job: C source and the program, pickled. Each machine builds it for itself, measures it in a
process of its own, and answers with plain data. Dask's executor is one like any other:
``Client(address).get_executor()``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from functools import lru_cache
from typing import Any

from .judge import Built
from .messages import Build, Continue, Generated, Job, Measurement, Phase, Stop
from .process import START_SECONDS, Child, Deadline, Died
from .search import Candidate
from .store import compiler, this_machine

WAITING_SECONDS = 600.0  # for a core where kernels are timed, which is no candidate's fault
REFERENCE_SECONDS = 1800.0  # the reference is no candidate's fault, and may take long for large sizes
LIMITED = ("template", "compiler")  # phases of a builder that begin a candidate's time limit anew
KERNEL = ("kernel", "waiting", "timing")  # phases in which a kernel has begun to run
SUBJECTS = {  # what took too long, by phase
    "template": "the template", "compiler": "the compiler", "kernel": "the kernel", "timing": "the kernel",
    "reference": "the reference", "waiting": "waiting for a core",
}  # fmt: skip


def timeout_error(phase: str, seconds: float) -> str:
    """The error of a candidate that was given up in a phase."""
    return f"timeout: {SUBJECTS.get(phase, phase)} took longer than {seconds:g} s"


class Builder:
    """A process that runs templates, generates code and starts the compiler, and its candidate: it has a core, and one
    candidate at a time. `phase`: start, import, idle; or what it is doing: waiting (for its core), template, lowering,
    compiler.
    """

    candidate: Candidate | None
    code: Generated | None
    decided: bool  # the judge does not want the candidate; its process has only to say that it has stopped

    def __init__(self, core: int, scratch: str) -> None:
        self.core, self.scratch = core, scratch
        self.start()

    def start(self) -> None:
        """Start the process (anew)."""
        self.child = Child(self.scratch)
        self.free()
        self.phase = "start"
        self.began = 0.0
        self.deadline = Deadline(START_SECONDS)

    def begin(self, candidate: Candidate, compiling: bool) -> None:
        """Have a candidate built. Raises Died."""
        self.candidate, self.phase = candidate, "waiting"
        self.began = time.monotonic()
        self.deadline.restart(WAITING_SECONDS)
        self.child.send(Build(self.core, compiling))

    def reply(self, go_on: bool) -> None:
        """Tell the process whether the candidate is worth going on with."""
        self.decided = not go_on
        self.child.send(Continue() if go_on else Stop())

    def free(self) -> None:
        """Forget the candidate: the process is idle."""
        self.candidate, self.code, self.decided = None, None, False
        self.phase = "idle"

    @property
    def idle(self) -> bool:
        return self.phase == "idle"

    @property
    def built(self) -> Built:
        """The candidate, as far as it has come."""
        assert self.candidate is not None
        return Built(self.candidate, self.code, time.monotonic() - self.began)


class Measurers:
    """The processes that measure: those that are idle wait for the next job."""

    def __init__(self) -> None:
        self.idle: list[Child] = []
        self.busy: list[Child] = []
        self.lock = threading.Lock()

    def take(self) -> Child:
        """An idle process, or a new one. Raises Died when none can be started."""
        with self.lock:
            while self.idle:
                child = self.idle.pop()
                if child.alive:
                    self.busy.append(child)
                    return child
                child.kill()
        child = Child()
        with self.lock:
            self.busy.append(child)
        try:
            child.receive(START_SECONDS)
        except (TimeoutError, Died) as e:
            self.drop(child)
            raise Died(str(e) or "it did not answer") from None
        return child

    def prepare(self) -> None:
        """Have a process ready before the first job comes. If none can be started, the first job says so."""
        with contextlib.suppress(Died):
            self.give(self.take())

    def give(self, child: Child) -> None:
        """Keep a process that is in order for the next job."""
        with self.lock:
            self.busy.remove(child)
            self.idle.append(child)

    def drop(self, child: Child) -> None:
        """End a process."""
        with self.lock:
            if child in self.busy:
                self.busy.remove(child)
        child.kill()

    def end(self) -> None:
        """End all of them; whoever waits for one is told that it died."""
        with self.lock:
            for child in self.idle:
                child.kill()
            for child in self.busy:
                child.terminate()
            self.idle.clear()


@lru_cache(maxsize=1)
def worker_measurers() -> Measurers:
    """Those of an executor's worker, which keeps its processes between calls."""
    return Measurers()


def measure_job(job: Job, measurers: Measurers | None = None) -> Measurement:
    """Measure a job in a process of its own, which is kept for the next. Runs where the executor runs it; always
    returns, and never raises what a kernel did: that is the measurement's error then.
    """
    measurers = measurers or worker_measurers()
    try:
        child = measurers.take()
    except Died as e:
        return _failed(f"the process that measures could not be started: {e}")
    phase = "start"
    deadline = Deadline(job.timeout)
    keep = False
    try:
        child.send(job)
        while isinstance(message := child.receive(deadline.left), Phase):
            phase = message.name
            deadline.restart({"reference": REFERENCE_SECONDS, "waiting": WAITING_SECONDS}.get(phase, job.timeout))
        # A kernel that failed may have written anywhere, and is not to spoil what is measured next.
        keep = isinstance(message, Measurement) or phase not in KERNEL
        return message if isinstance(message, Measurement) else _failed(message.error)
    except TimeoutError:
        return _failed(timeout_error(phase, deadline.seconds))
    except Died as e:
        return _failed(f"crash: the process of the {'kernel' if phase == 'timing' else phase} died: {e}")
    finally:  # also when this call is being ended: nothing is left behind
        (measurers.give if keep else measurers.drop)(child)


def _failed(error: str) -> Measurement:
    machine, cpu = this_machine()
    return Measurement(error=error, machine=machine, cpu=cpu, compiler=compiler())


def machine_and_compiler(_: Any = None) -> tuple[str, str]:
    """The machine that an executor's call runs on, and its compiler."""
    return this_machine()[0], compiler()
