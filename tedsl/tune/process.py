"""A process that is asked to do things and may be killed: how to start it, talk to it, and tell how it died.

The two sides speak pickled tuples over a socket. A second pipe, never written to, tells the child that its parent is
gone; it then takes its whole process group with it, whatever it is doing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from tedsl.lang.errors import TuneError

START_SECONDS = 120
_MAIN = "import sys; sys.path[:] = {path!r}; from tedsl.tune.worker import main; main({talk}, {life}, {scratch!r})"


class Died(Exception):
    """The process ended while it was being talked to; the text says how."""


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
        path = [p if p else os.getcwd() for p in sys.path]
        code = _MAIN.format(path=path, talk=theirs.fileno(), life=life, scratch=scratch)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], pass_fds=(theirs.fileno(), life), env=environment, stdin=subprocess.DEVNULL, stdout=self._errors,
                stderr=self._errors, start_new_session=True)  # fmt: skip
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
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass

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
        try:
            os.read(life, 1)
        except OSError:
            pass
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
