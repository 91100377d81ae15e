"""Worker processes, and the cores that they run on.

A worker process is asked to do things and may be killed. The two sides speak pickled messages over a socket. A second
pipe, never written to, tells the child that its parent is gone; it then takes its whole process group with it, whatever
it is doing.

A core is either building candidates or timing one; this holds for all processes of a user on the machine:

    building(core)    shared: many may build on a core
    timing(cores)     exclusive: whoever times a kernel has the core for itself

The locks are the operating system's (flock), so a killed process leaves none. A timer that waits closes the gate to new
builders, who could otherwise hold the core in turns for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tedsl.lang.errors import TuneError

START_SECONDS = 120
PATIENCE = 3.0  # seconds that a timer waits for a core before it tries the next one: a template may hang there
_MAIN = "import sys; sys.path[:] = {path!r}; from tedsl.tune.worker import main; main({talk}, {life}, {scratch!r})"


class Died(Exception):
    """The worker process ended; the text says how."""


def import_path() -> list[str]:
    """Where this process finds modules, for a child process to find the same ones."""
    return [p or os.getcwd() for p in sys.path]


class Child:
    """A worker process. `send` and `receive` talk to it; `connection` can be waited for; `kill` ends it and what it
    started.

    scratch: a folder that goes when the parent is gone.
    """

    def __init__(self, scratch: str = "") -> None:
        from multiprocessing.connection import Pipe

        self.connection, theirs = Pipe()
        life, mine = os.pipe()
        self._life = mine
        self._errors = tempfile.TemporaryFile()
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONFAULTHANDLER": ""}
        code = _MAIN.format(path=import_path(), talk=theirs.fileno(), life=life, scratch=scratch)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=(theirs.fileno(), life), env=environment,
                stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors, start_new_session=True)  # fmt: skip
        except OSError as e:
            raise TuneError(f"a process to try candidates in cannot be started: {e}") from e
        finally:
            theirs.close()
            os.close(life)

    def send(self, message: Any) -> None:
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise Died(self.how_it_died()) from None

    def receive(self, timeout: float | None = None) -> Any:
        """The next message; raises TimeoutError when none comes in time, and Died."""
        try:
            if timeout is not None and not self.connection.poll(max(timeout, 0)):
                raise TimeoutError
            return self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise Died(self.how_it_died()) from None

    def how_it_died(self) -> str:
        """What ended the process, and the last lines that it wrote."""
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            return "it closed its connection"
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = "signal"
            text = f"it was ended by {name} ({-code})"
            if -code == signal.SIGKILL:
                text += ", perhaps by the system for want of memory"
        else:
            text = f"it ended with status {code}"
        self._errors.seek(0)
        lines = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return text + (": " + " | ".join(line.strip() for line in lines[-2:]) if lines else "")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def terminate(self) -> None:
        """End the process and everything that it started, now; whoever waits for it is told."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """The same, when nobody waits for it any more."""
        self.terminate()
        self.process.wait()
        self.connection.close()
        if self._life >= 0:
            os.close(self._life)
            self._life = -1
        self._errors.close()

    def __del__(self) -> None:
        if getattr(self, "_life", -1) >= 0 and hasattr(self, "process"):
            self.kill()


def die_with_parent(life: int, scratch: str = "") -> None:
    """In the child: end this process and its children when the other end of the pipe `life` closes, and remove the
    parent's folder `scratch`.
    """

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(life, 1)
        if scratch:
            import shutil

            shutil.rmtree(scratch, ignore_errors=True)
        try:
            os.killpg(os.getpgid(0), signal.SIGKILL)
        finally:
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Deadline:
    """A time limit that can be begun anew."""

    def __init__(self, seconds: float) -> None:
        self.restart(seconds)

    def restart(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


# Cores ----------------------------------------------------------------------------------------------------------------


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


def _lock_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir(), f"tedsl-locks-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != user:  # somebody else was there first
        folder = Path(tempfile.mkdtemp(prefix="tedsl-locks-"))
    return folder


class _Lock(contextlib.AbstractContextManager["_Lock"]):
    """A named lock of the operating system's, freed when it is left."""

    def __init__(self, name: str) -> None:
        self.descriptor = os.open(_lock_folder() / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, shared: bool = False, patience: float | None = None) -> bool:
        """Whether it could be had within `patience` seconds; None waits as long as it takes."""
        import fcntl

        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        if patience is None:
            fcntl.flock(self.descriptor, mode)
            return True
        until = time.monotonic() + patience
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self.descriptor, mode | fcntl.LOCK_NB)
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """One process at a time, by name."""
    with _Lock(name) as lock:
        lock.take()
        yield


@contextlib.contextmanager
def building(core: int) -> Iterator[None]:
    """Build on a core: not while something is timed there."""
    with _Lock(f"core-{core}") as lock:
        with _Lock(f"gate-{core}") as gate:
            gate.take()
            lock.take(shared=True)
        yield


@contextlib.contextmanager
def timing(cores: Sequence[int], count: int) -> Iterator[list[int]]:
    """Have `count` of the cores for oneself; gives those that were free first, the last ones preferred."""
    mine: list[int] = []
    with contextlib.ExitStack() as held:

        def take(core: int, patience: float | None) -> bool:
            with contextlib.ExitStack() as locks:
                gate, lock = (locks.enter_context(_Lock(f"{kind}-{core}")) for kind in ("gate", "core"))
                found = gate.take(patience=None if patience is None else 0.0) and lock.take(patience=patience)
                if found:
                    held.push(locks.pop_all())
            return found

        if count >= len(cores):
            mine += [
                core for core in sorted(cores) if take(core, None)
            ]  # in one order: two timers do not block each other
        while len(mine) < min(count, len(cores)):
            for core in sorted(set(cores).difference(mine), reverse=True):
                if len(mine) < count and take(core, PATIENCE):
                    mine.append(core)
            if len(mine) < count:
                time.sleep(0.001)
        yield sorted(mine)
