"""How loops run: schedules, bounds, the loop IR with its passes, and the cost model."""

from __future__ import annotations

from .cost import Cost, cost
from .reuse import reuse
from .schedule import Schedule, create_schedule, lower
from .tensorize import Intrinsic, intrinsic

__all__ = ["Cost", "Intrinsic", "Schedule", "cost", "create_schedule", "intrinsic", "lower", "reuse"]
