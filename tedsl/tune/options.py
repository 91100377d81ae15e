"""What `te.tune` is asked for, checked before anything is started."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from tedsl.lang.errors import TuneError

from .search import KINDS


@dataclass(frozen=True)
class Options:
    """The arguments of `te.tune` beside the template, its arguments and the store. Raises TuneError for what none of
    them can be.
    """

    trials: int
    search: str
    timeout: float
    seed: int | None
    executor: Executor | None
    threads: int | None
    rank: bool
    data: Sequence[Any] | None
    sizes: Mapping[str, int]
    memory: int | None

    def __post_init__(self) -> None:
        whole = "a whole number of at least 1 is needed"
        self._need("trials", _positive, whole)
        self._need("search", lambda v: v in KINDS, f"a search is one of {', '.join(KINDS)}")
        self._need("timeout", lambda v: _number(v) and 0 < v < math.inf, "a finite number of seconds is needed")
        self._need("seed", lambda v: v is None or (_whole(v) and 0 <= v < 2**32), "a whole number from 0 to 2**32 - 1 is needed, or None")  # fmt: skip
        self._need("threads", lambda v: v is None or _positive(v), f"{whole}, or None for all cores")
        self._need("memory", lambda v: v is None or _positive(v), f"{whole} (bytes), or None for most of the machine's")
        self._need("executor", lambda v: v is None or hasattr(v, "submit"), "an executor of concurrent.futures is needed, or None")  # fmt: skip
        self._need("data", lambda v: v is None or isinstance(v, (list, tuple)), "a list of arrays is needed, one for each input, or None")  # fmt: skip
        self._need("sizes", _sizes, "a dict from the names of symbolic sizes to whole numbers is needed")

    def _need(self, name: str, good: Callable[[Any], bool], what: str) -> None:
        value = getattr(self, name)
        if not good(value):
            raise TuneError(f"{name}={value!r:.200}; {what}")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _positive(value: Any) -> bool:
    return _whole(value) and value >= 1


def _sizes(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and _whole(v) and v >= 0 for k, v in value.items())
