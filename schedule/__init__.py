"""How loops run: schedules, bounds, the loop IR with its passes, and the cost model."""

from __future__ import annotations

from .schedule import Schedule, create_schedule, lower

__all__ = ["Schedule", "create_schedule", "lower"]
