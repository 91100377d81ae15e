"""How a search is getting on: a bar on a terminal, lines in a pipe."""

from __future__ import annotations

import sys
import time
from typing import Any

LINE_SECONDS = 10.0


class Silent:
    """Shows nothing."""

    def begin(self, done: int, total: int) -> None:
        """A search begins; `done` trials are known already."""

    def update(self, done: int, best: float | None, failed: int, saved: int) -> None:
        """Something came of a trial."""

    def end(self) -> None:
        """The search is over."""


class Lines(Silent):
    """A line of text now and then."""

    def begin(self, done: int, total: int) -> None:
        self.total, self.first, self.started = total, done, time.monotonic()
        self.last = self.started

    def update(self, done: int, best: float | None, failed: int, saved: int) -> None:
        now = time.monotonic()
        if now - self.last >= LINE_SECONDS or done >= self.total:
            self.last = now
            print(
                _text(done, self.total, self.first, now - self.started, best, failed, saved),
                file=sys.stderr,
                flush=True,
            )


class Bar(Silent):
    """A bar of rich's on the terminal."""

    def begin(self, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns: Any = (
            TextColumn("tuning"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.first, self.total, self.started = done, total, time.monotonic()
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task("tuning", total=total, completed=done, text="")
        self.bar.start()

    def update(self, done: int, best: float | None, failed: int, saved: int) -> None:
        spent = time.monotonic() - self.started
        self.bar.update(self.task, completed=done, text=_facts(done - self.first, spent, best, failed, saved))

    def end(self) -> None:
        self.bar.stop()


def _facts(new: int, spent: float, best: float | None, failed: int, saved: int) -> str:
    from tedsl.cli.output import duration

    parts = [f"best {duration(best)}" if best is not None else "none yet", f"{new / max(spent, 1e-9):.1f}/s"]
    if failed:
        parts.append(f"{failed} failed")
    if saved:
        parts.append(f"{saved} not measured")
    return ", ".join(parts)


def _text(done: int, total: int, first: int, spent: float, best: float | None, failed: int, saved: int) -> str:
    new = done - first
    left = f", {(total - done) * spent / new:.0f} s left" if new and done < total else ""
    return f"tuning: {done} of {total}, {_facts(new, spent, best, failed, saved)}{left}"


def make_progress(show: bool | None) -> Silent:
    """What suits: a bar on a terminal; lines in a notebook, and where they are asked for in a pipe; nothing
    otherwise.
    """
    if show is False:
        return Silent()
    if sys.stderr.isatty():
        return Bar()
    return Lines() if show or _in_a_notebook() else Silent()


def _in_a_notebook() -> bool:
    """Whether a person reads along in Jupyter."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
