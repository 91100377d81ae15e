"""Tuning: templates with knobs, searched by measuring.

    @te.template
    def f(cfg, n): …                      asks cfg for knobs; returns a schedule and the kernel's arguments
    result = te.tune(f, (1024,))          result.best.config, .seconds, .apply(); result.plot("tuning.png")
    te.load_results("tuning.db")          what is in a store
    te.build(T, tuned="tuning.db")        the best schedule that is known for what T computes

Files: template (knobs), templates, workload (what may be reused) | store (trials), search, judge (what is worth
measuring) | messages, process, worker (template → source), measure (source → seconds), pool, tuner (the loop) |
report, pictures, rival.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .template import Knobs, Template, template

if TYPE_CHECKING:
    from .report import Result, best_schedule, load_results
    from .store import Trial, merge
    from .tuner import tune

_LAZY = {
    "Result": ".report",
    "Trial": ".store",
    "best_schedule": ".report",
    "load_results": ".report",
    "merge": ".store",
    "tune": ".tuner",
}
__all__ = ["Knobs", "Result", "Template", "Trial", "best_schedule", "load_results", "merge", "template", "tune"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name], __name__), name)
    globals()[name] = value
    return value
