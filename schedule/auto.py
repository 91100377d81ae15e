"""`te.auto_schedule`: a good schedule for what it knows, plain loops for the rest."""

from __future__ import annotations

from collections.abc import Sequence

from tedsl.lang.tensor import Tensor

from .schedule import Schedule, create_schedule


def auto_schedule(target: Tensor | Sequence[Tensor]) -> Schedule:
    """A schedule chosen by the kind of each stage."""
    return create_schedule(target)
