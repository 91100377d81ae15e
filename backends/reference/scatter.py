"""Scatter-add: elements of a tensor that is 0 otherwise, added up in lexicographic order of the domain."""

from __future__ import annotations

from typing import Any

import numpy as np

from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Tensor

from .scope import Scope, State, Unreadable, blocks


def add_scattered(state: State, tensor: Tensor, part: ScatterPart) -> None:
    """Add the values of `part` to the elements of `tensor` (zeros so far) that its left side names."""
    array = state.arrays[tensor]
    ranges = [state.range(axis) for axis in part.domain]
    if any(n == 0 for _, n in ranges):
        return
    for block in blocks(ranges, state.budget):
        scope = Scope.over(state, part.domain, block)
        grid = tuple(count for _, count in block)
        mask = None if part.where is None else np.broadcast_to(scope.value(part.where), grid)
        if mask is not None and not mask.any():
            continue

        def points(value: Any, grid: tuple[int, ...] = grid, mask: Any = mask) -> np.ndarray:
            whole = np.broadcast_to(value, grid)
            return whole.ravel() if mask is None else whole[mask]

        places_in = tuple(points(scope.value(e, mask)) for e in part.lhs)
        for dim, (index, extent) in enumerate(zip(places_in, array.shape, strict=True)):
            wrong = (index < 0) | (index >= extent)
            if wrong.any():
                raise Unreadable(
                    f"`{tensor.name}[…] += …`: index {dim} is {int(index[wrong][0])}, outside of {tensor.name}, "
                    f"whose extent there is {extent}"
                )
        np.add.at(array, places_in, points(scope.value(part.values[0], mask)))
