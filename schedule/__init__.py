"""How loops run: schedules, bounds, the loop IR with its passes, and the cost model."""

from __future__ import annotations

from .cost.cost import cost
from .cost.result import Cost
from .cost.reuse import reuse
from .primitives.intrinsics import Intrinsic, intrinsic
from .schedule import Schedule, create_schedule, lower

__all__ = ["Cost", "Intrinsic", "Schedule", "cost", "create_schedule", "intrinsic", "lower", "reuse"]
