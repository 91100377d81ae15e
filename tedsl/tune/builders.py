"""The processes that run templates, generate code and start the compiler: each has a core, and one candidate at a
time.
"""

from __future__ import annotations

import time

from .judge import Built
from .process import START_SECONDS, Child, Deadline
from .search import Candidate, Search
from .worker import Made

WAITING_SECONDS = 600.0  # for a core where kernels are timed, which is no candidate's fault
LIMITED = ("template", "compiler")  # phases that begin a candidate's time limit anew


class Builder:
    """A process and the candidate that it is at. `phase`: start, import, idle; or what it is doing: waiting (for its
    core), template, lowering, compiler.
    """

    candidate: Candidate | None
    search: Search | None
    made: Made | None
    settled: bool  # what comes of the candidate is known; its process has only to end it

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

    def begin(self, candidate: Candidate, search: Search, compile_here: bool) -> None:
        """Have a candidate built. Raises Died."""
        self.candidate, self.search, self.phase = candidate, search, "waiting"
        self.began = time.monotonic()
        self.deadline.restart(WAITING_SECONDS)
        self.child.send(("build", self.core, compile_here))

    def reply(self, go_on: bool) -> None:
        """Whether the candidate is worth going on with. If not, what comes of it is settled, and its process has only
        to end it.
        """
        self.settled = not go_on
        self.child.send(("go",) if go_on else ("stop",))

    def free(self) -> None:
        """The candidate is done with."""
        self.candidate, self.search, self.made, self.settled = None, None, None, False
        self.phase = "idle"

    @property
    def idle(self) -> bool:
        return self.phase == "idle"

    @property
    def built(self) -> Built:
        """The candidate, as far as it has come."""
        assert self.candidate is not None and self.search is not None
        return Built(self.candidate, self.search, self.made, time.monotonic() - self.began)
