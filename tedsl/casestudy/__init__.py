"""The lecture's matrix multiplication, from plain loops to the machine's limit, on this machine."""

from __future__ import annotations

from tedsl.casestudy.ladder import LADDER, Rung, Tiles, choose, problem
from tedsl.casestudy.study import Row, study

__all__ = ["LADDER", "Row", "Rung", "Tiles", "choose", "problem", "study"]
