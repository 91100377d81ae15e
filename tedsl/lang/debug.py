"""`TEDSL_DEBUG=1…5`: what happens between a definition and its kernel, on stderr. Each level adds to those below it.

1  how long each step took, and whether the kernel came from the cache
2  the schedule, as the Python that makes it
3  the loop nest, as it is built
4  the C
5  the nest after every pass that changed it, and the expressions that the simplifier's rules rewrote
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from .errors import BuildError

HIGHEST = 5


def level() -> int:
    """The level that the environment asks for; 0 is silence. Raises BuildError when it is no whole number."""
    text = os.environ.get("TEDSL_DEBUG", "")
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise BuildError(f"TEDSL_DEBUG={text!r}: a whole number from 0 to {HIGHEST}") from None


def report(at: int, heading: str, text: Any = "") -> None:
    """Print `heading`, and `text` below it, if the level is `at` or higher. The text is made only then."""
    if level() >= at:
        body = "\n".join(f"  {line}" for line in str(text).splitlines())
        # one write: what threads print does not mix
        sys.stderr.write(f"tedsl: {heading}\n{body}\n" if body else f"tedsl: {heading}\n")


class step:
    """A block whose time is reported at level 1: `with step("C", "lower"):`."""

    __slots__ = ("name", "start", "what")

    def __init__(self, name: str, what: str) -> None:
        self.name, self.what = name, what

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        report(1, f"{self.name}: {self.what} {(time.perf_counter() - self.start) * 1e3:.1f} ms")
