"""What the cost model says of a schedule before it is measured: seconds, and whether it can fit."""

from __future__ import annotations

from typing import Any


def predict(schedule: Any) -> tuple[float | None, str, dict[str, Any]]:
    """Predicted seconds (None: not known), why it cannot fit ("": it can), and the terms. Never raises: a candidate is not turned down because the
    model does not know it.
    """
    return None, "", {}
