"""What a schedule costs: operations, moves, storage, time."""
