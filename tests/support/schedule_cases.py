"""Programs that the tests of schedules share, and a check of what a schedule of them computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import compare, inputs_in_order

import tedsl as te

i, j, k, t, x, y, r = te.axes("i j k t x y r")


def matmul(n: int = 37, m: int = 29, depth: int = 23) -> tuple[te.Tensor, te.Tensor, te.Tensor, Any]:
    """A, B, C and the default schedule of C[i, j] = sum(A[i, k] * B[j, k])."""
    A, B, C = te.tensor("A", (n, depth)), te.tensor("B", (m, depth)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    return A, B, C, te.create_schedule(C)


def two_stages(n: int = 40) -> tuple[te.Tensor, te.Tensor, te.Tensor, Any]:
    """X, H, V and the default schedule of a stencil V over a stencil H."""
    X, H, V = te.tensor("X", (n, n)), te.tensor("H"), te.tensor("V")
    H[y, x] = X[y, x] + X[y, x + 1] + X[y, x + 2]
    V[y, x] = H[y, x] + H[y + 1, x] + H[y + 2, x]
    return X, H, V, te.create_schedule(V)


def recurrence(steps: int = 9, width: int = 33) -> tuple[te.Tensor, te.Tensor, Any]:
    """X, S and the default schedule of S[t, j] = S[t - 1, j] / 2 + X[t, j]."""
    X, S = te.tensor("X", (steps, width)), te.tensor("S", (steps, width))
    S[0, j] = X[0, j]
    S[t, j] = S[t - 1, j] * 0.5 + X[t, j]
    return X, S, te.create_schedule(S)


def arrays(T: Any) -> list[np.ndarray]:
    """Random arrays for the inputs of a tensor, or of several."""
    rng = np.random.default_rng(0)
    found = []
    for tensor in inputs_in_order(T):
        if tensor.dtype.startswith("float"):
            found.append(rng.standard_normal(tensor.shape).astype(tensor.dtype))
        else:
            found.append(rng.integers(0, 5, tensor.shape).astype(tensor.dtype))
    return found


def check(s: Any) -> str:
    """Assert that a schedule computes what the reference does, that its history makes the same nest again, and return the nest."""
    outputs = list(s.outputs)
    inputs = arrays(outputs)
    te.lower(s).verify()
    text = str(s)
    assert str(te.create_schedule(outputs if s.several else outputs[0]).replay(s.to_json())) == text
    got = te.build(s)(*inputs)
    want = te.evaluate(outputs, dict(zip(inputs_in_order(outputs), inputs, strict=True)))
    for tensor, g, w in zip(outputs, got if s.several else [got], want, strict=True):
        compare(g, w, None, tensor.name)
    return text


def refused(s: Any, step: Callable[[], Any], *words: str) -> str:
    """Assert that a step is refused with a message that has all of `words`, names this file, and leaves the schedule as it was."""
    before, state, steps = str(s), s.state, len(s.history)
    with pytest.raises(te.ScheduleError) as error:
        step()
    message = str(error.value)
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert error.value.location is not None
    assert ".py:" in message
    assert s.state is state and len(s.history) == steps and str(s) == before
    return message
