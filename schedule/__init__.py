"""How loops run: schedules, bounds, the loop IR with its passes, and the cost model."""
