"""Where kernels are measured: on this machine, one at a time, or wherever an executor of `concurrent.futures` runs its
calls.

A candidate travels as a Job: C source and the program, pickled. Each machine builds it for itself, measures it in a
process of its own, and answers with plain data. Dask's executor is one like any other:
``Client(address).get_executor()``.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from .builders import WAITING_SECONDS
from .measure import Job
from .process import START_SECONDS, Child, Deadline, Died

KERNEL = ("kernel", "waiting", "timing")  # phases in which a kernel has begun to run
REFERENCE_SECONDS = 1800.0  # the reference is no candidate's fault, and may take long for large sizes


class Children:
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


_here = Children()  # of this process; an executor's workers keep theirs between calls


def measure_job(job: Job, children: Children | None = None) -> dict[str, Any]:
    """Measure a job in a process of its own, which is kept for the next. Runs where the executor runs it; always
    returns, and never raises what a kernel did: {"error": reason} then.
    """
    from .machine import compiler, identity

    children = children or _here
    try:
        child = children.take()
    except Died as e:
        machine, cpu = identity()
        error = f"the process that measures could not be started: {e}"
        return {"error": error, "machine": machine, "cpu": cpu, "compiler": compiler()}
    phase = "start"
    try:
        child.send(("measure", job))
        deadline = Deadline(job.timeout)
        while True:
            message = child.receive(deadline.left)
            if message[0] == "phase":
                phase = message[1]
                deadline.restart({"reference": REFERENCE_SECONDS, "waiting": WAITING_SECONDS}.get(phase, job.timeout))
            elif message[0] == "measured":
                children.give(child)
                return dict(message[1])
            else:
                if phase in KERNEL:  # it may have written anywhere, and is not to spoil what is measured next
                    children.drop(child)
                else:
                    children.give(child)
                machine, cpu = identity()
                found = {"error": message[1], "machine": machine, "cpu": cpu, "compiler": compiler()}
                if message[0] == "broken":
                    found["error"] = f"it could not be measured: {message[1]}"
                return found
    except TimeoutError:
        children.drop(child)
        error = late(phase, deadline.seconds)
    except Died as e:
        children.drop(child)
        error = f"crash: the process of the {'kernel' if phase == 'timing' else phase} died: {e}"
    except BaseException:  # this call is being ended: leave nothing behind
        children.drop(child)
        raise
    machine, cpu = identity()
    return {"error": error, "machine": machine, "cpu": cpu, "compiler": compiler()}


def who(_: int = 0) -> tuple[str, str, str]:
    """The machine that an executor's call runs on: key, processor, compiler."""
    from .machine import compiler, identity

    return (*identity(), compiler())


def late(phase: str, seconds: float) -> str:
    """The reason of a row whose candidate was given up while it was at a phase."""
    what = {
        "template": "the template",
        "compiler": "the compiler",
        "kernel": "the kernel",
        "timing": "the kernel",
        "reference": "the reference",
        "waiting": "waiting for a core",
    }
    return f"timeout: {what.get(phase, phase)} took longer than {seconds:g} s"
