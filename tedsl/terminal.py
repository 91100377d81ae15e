"""What tedsl prints: tables and colour on a terminal, plain aligned text in a pipe or a file."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


LINE_SECONDS = 10.0  # between two lines of progress


class InputError(Exception):
    """What the user typed cannot be done; the message is all that is shown."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def console() -> Console | None:
    """A rich console when stdout is a terminal, else None: then text has to be plain."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return None
    from rich.console import Console

    return Console(highlight=False)


def say(text: str, style: str = "") -> None:
    """One or more lines of text, in a style of rich's (``"bold green"``) where there is colour."""
    terminal = console()
    if terminal is None:
        print(text)
    else:
        terminal.print(text, style=style or None, markup=False, soft_wrap=True)


def table(
    rows: Sequence[Sequence[object]],
    header: Sequence[str],
    *,
    title: str = "",
    right: Sequence[int] = (),
    styles: Sequence[str] = (),
) -> None:
    """A table. `right`: the columns of numbers, set flush right; `styles`: one style of rich's per row, or none."""
    texts = [[str(cell) for cell in row] for row in rows]
    terminal = console()
    if terminal is None:
        print(plain_table(texts, header, title=title, right=right))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    view = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, name in enumerate(header):
        view.add_column(name, justify="right" if index in right else "left", overflow="fold")
    for index, row in enumerate(texts):
        view.add_row(*(Text(cell) for cell in row), style=styles[index] if styles else None)
    terminal.print(view)


def plain_table(
    rows: Sequence[Sequence[str]], header: Sequence[str], *, title: str = "", right: Sequence[int] = ()
) -> str:
    """The table as aligned text: columns two spaces apart, nothing after the last one."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [title] if title else []
    for line in lines:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def duration(seconds: float) -> str:
    """A time with three digits and a unit that suits it: ``"1.25 ms"``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def size(count: float) -> str:
    """A number of bytes as people read it: ``"1.5 MiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


class Progress:
    """How work is getting on, on stderr: a bar on a terminal; elsewhere a line of text now and then.

        with Progress("tuning", 100) as progress:
            progress.update(30, "best 1.2 ms")

    done: what there is already. show: False for nothing, True for lines in a pipe as well, None for lines in a notebook
    only.
    """

    def __init__(self, name: str, total: int, done: int = 0, show: bool | None = None) -> None:
        self.name, self.total, self.first = name, total, done
        self.started = self.printed = time.monotonic()
        self.bar = _bar() if show is not False and sys.stderr.isatty() else None
        self.lines = self.bar is None and (_in_a_notebook() if show is None else show)

    def __enter__(self) -> Progress:
        if self.bar is not None:
            self.task = self.bar.add_task(self.name, total=self.total, completed=self.first, text="")
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def rate(self, done: int) -> float:
        """How much was done a second."""
        return (done - self.first) / max(time.monotonic() - self.started, 1e-9)

    def update(self, done: int, text: str) -> None:
        """So much is done; `text` is shown beside it."""
        now = time.monotonic()
        if self.bar is not None:
            self.bar.update(self.task, completed=done, text=text)
        elif self.lines and (now - self.printed >= LINE_SECONDS or done >= self.total):
            self.printed, rate = now, self.rate(done)
            left = f", {(self.total - done) / rate:.0f} s left" if rate > 0 and done < self.total else ""
            print(f"{self.name}: {done} of {self.total}, {text}{left}", file=sys.stderr, flush=True)


def _bar() -> Any:
    from rich import progress
    from rich.console import Console

    columns: Any = ("{task.description}", progress.BarColumn(), progress.MofNCompleteColumn(), "{task.fields[text]}")
    times = (progress.TimeElapsedColumn(), progress.TimeRemainingColumn())
    return progress.Progress(*columns, *times, console=Console(stderr=True), transient=True)


def _in_a_notebook() -> bool:
    """Whether a person reads along in Jupyter."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
