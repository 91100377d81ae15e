"""Who may use which core. A core is either building candidates or timing one; this holds for all processes of a user on
the machine.

    building(core)    shared: many may build on a core
    timing(cores)     exclusive: whoever times a kernel has the core for itself

The locks are the operating system's (flock), so a killed process leaves none. A timer that waits closes the gate to new
builders, who could otherwise hold the core in turns for ever.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PATIENCE = 3.0  # seconds that a timer waits for a core before it tries the next one: a template may hang there


def available() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cores: Sequence[int]) -> None:
    """Run this process (and what it starts) on these cores only, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cores)


def _folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir(), f"tedsl-locks-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != user:  # somebody else was there first
        folder = Path(tempfile.mkdtemp(prefix="tedsl-locks-"))
    return folder


class _Lock:
    def __init__(self, name: str) -> None:
        self.descriptor = os.open(_folder() / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, exclusive: bool, wait: bool = True) -> bool:
        import fcntl

        try:
            fcntl.flock(
                self.descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
            )
            return True
        except BlockingIOError:
            return False

    def free(self) -> None:
        os.close(self.descriptor)


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """One process at a time, by name."""
    lock = _Lock(name)
    try:
        lock.take(True)
        yield
    finally:
        lock.free()


@contextlib.contextmanager
def building(core: int) -> Iterator[None]:
    """Build on a core: not while something is timed there."""
    gate = _Lock(f"gate-{core}")
    try:
        gate.take(True)
        lock = _Lock(f"core-{core}")
        lock.take(False)
    finally:
        gate.free()
    try:
        yield
    finally:
        lock.free()


@contextlib.contextmanager
def timing(cores: Sequence[int], count: int) -> Iterator[list[int]]:
    """Have `count` of the cores for oneself; gives those that were free first, the last ones preferred."""
    held: list[_Lock] = []
    gates: list[_Lock] = []
    mine: list[int] = []
    wanted = sorted(cores, reverse=True)
    try:
        if count >= len(wanted):
            for core in sorted(wanted):  # all in one order, so that two timers do not wait for each other
                lock, gate = _Lock(f"core-{core}"), _Lock(f"gate-{core}")
                gates.append(gate)
                held.append(lock)
                gate.take(True)
                lock.take(True)
                mine.append(core)
        else:
            while len(mine) < count:
                for core in wanted:
                    if core in mine or len(mine) == count:
                        continue
                    gate = _Lock(f"gate-{core}")
                    gates.append(gate)
                    if not gate.take(True, wait=False):
                        gates.pop().free()
                        time.sleep(0.001)
                        continue
                    lock = _Lock(f"core-{core}")
                    held.append(lock)
                    until = time.monotonic() + PATIENCE
                    while not lock.take(True, wait=False):
                        if time.monotonic() > until:
                            held.pop().free()
                            gates.pop().free()
                            break
                        time.sleep(0.001)
                    else:
                        mine.append(core)
        yield sorted(mine)
    finally:
        for lock in (*held, *gates):
            lock.free()
