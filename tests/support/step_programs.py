"""Programs of stages that step together, and of scatter-adds, with others that they read and that read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers import inputs_in_order
from program_parts import Program, Source

import tedsl as te

b, d, i, j, k, m, n, t = te.axes("b d i j k m n t")


def network(batch: int = 3, steps: int = 4, width: int = 5) -> tuple[dict[str, te.Tensor], Any]:
    """V = 3 * S, where S[b, t] = tanh(S[b, t - 1] W) + P[b, t] and P = 2 * X + 1. The stages are P, S.sum, S, V."""
    X, W = te.tensor("X", (batch, steps, width)), te.tensor("W", (width, width))
    P, S, V = te.tensor("P"), te.tensor("S", X.shape), te.tensor("V")
    P[b, t, j] = X[b, t, j] * 2 + 1
    S[b, 0, j] = P[b, 0, j]
    S[b, t, j] = te.tanh(te.sum(S[b, t - 1, m] * W[m, j])) + P[b, t, j]
    V[b, t, j] = S[b, t, j] * 3
    return {"X": X, "W": W, "P": P, "S": S, "V": V}, te.create_schedule(V)


def cell(steps: int = 6, width: int = 5) -> tuple[te.Tensor, te.Tensor, Any]:
    """C, H and the schedule of a small gated cell, whose stages G.sum, G, C, H step together."""
    X, W = te.tensor("X", (steps, width)), te.tensor("W", (width, width))
    G, C, H = te.tensor("G", X.shape), te.tensor("C", X.shape), te.tensor("H", X.shape)
    G[t, j] = te.sigmoid(te.where(t > 0, te.sum(H[t - 1, k] * W[k, j]), 0.0) + X[t, j])
    C[0, j] = X[0, j]
    C[t, j] = C[t - 1, j] * G[t, j] + te.tanh(X[t, j])
    H[0, j] = 0.5 * X[0, j]
    H[t, j] = G[t, j] * te.tanh(C[t, j])
    return C, H, te.create_schedule([C, H])


def histogram(rows: int = 3, values: int = 5, bins: int = 7) -> tuple[te.Tensor, te.Tensor, Any]:
    """H[b, I[b, i]] += P[b, i] and O = 2 * H, where P = Y * Y; the schedule of O."""
    U, index = te.tensor("U", (rows, bins)), te.tensor("I", (rows, values), "int32")
    F, Y, P, O = te.tensor("F"), te.tensor("Y", (rows, values)), te.tensor("P"), te.tensor("O")
    F[b, i] = U[b, index[b, i]]
    P[b, i] = Y[b, i] * Y[b, i]
    (H,) = te.vjp(F, [U], P)
    O[b, n] = H[b, n] * 2
    return H, O, te.create_schedule(O)


def lagging(batch: int, steps: int, lag: int, back: int) -> te.Tensor:
    """V, which reads H, whose steps read C `lag` steps earlier, and C `back` steps earlier; C reads the same step of H."""
    X, C, H, V = te.tensor("X", (batch, steps)), te.tensor("C", (batch, steps)), te.tensor("H", (batch, steps)), te.tensor("V")  # fmt: skip
    H[b, t] = te.where(t >= lag, C[b, t - lag], 0.0) + 1
    C[b, t] = H[b, t] * 0.5 + X[b, t]
    V[b, t] = H[b, t] + te.where(t >= back, C[b, t - back], 0.0)
    return V


def drawn(source: Source) -> Program:
    """A program of recurrences, scatter-adds and what is before and behind them."""
    rng = np.random.default_rng(source.integer(0, 2**31 - 1))
    kind = source.choice(["network", "cell", "histogram", "scans", "grid", "lags"])
    batch, steps, width = source.integer(1, 3), source.integer(1, 5), source.integer(1, 6)
    outputs: tuple[te.Tensor, ...]
    if kind == "network":
        T, _ = network(batch, steps, width)
        outputs = (T["V"],)
    elif kind == "cell":
        C, H, _ = cell(steps, width)
        V = te.tensor("V")
        V[t, j] = H[t, j] - C[t, j]
        outputs = (V,) if source.integer(0, 1) else (C, H)
    elif kind == "histogram":
        outputs = (histogram(batch, steps, width)[1],)
    elif kind == "lags":  # stages that are read up to different steps
        outputs = (lagging(batch, steps + width, source.integer(1, 3), source.integer(0, 5)),)
    elif kind == "scans":  # one recurrence behind another
        X, P, A, B, V = te.tensor("X", (batch, steps, width)), *map(te.tensor, "P"), *(te.tensor(x, (batch, steps, width)) for x in "AB"), te.tensor("V")  # fmt: skip
        P[b, t, j] = te.maximum(X[b, t, j], 0.25)
        A[b, 0, j] = P[b, 0, j]
        A[b, t, j] = A[b, t - 1, j] * 0.5 + P[b, t, j]
        B[b, t, j] = te.where(j > 0, B[b, t, j - 1], 0.0) * 0.25 + A[b, t, j]
        V[b, j] = te.max(B[b, t, j] + A[b, t, j], axis=t)
        outputs = (V,)
    else:
        X, P, S, V = te.tensor("X", (steps, width)), te.tensor("P"), te.tensor("S", (steps, width)), te.tensor("V")
        P[t, j] = te.abs(X[t, j])
        S[t, 0] = P[t, 0]
        S[0, j] = P[0, j]
        S[t, j] = te.minimum(S[t - 1, j], S[t, j - 1]) + P[t, j]
        V[t, j] = S[t, j] + P[t, j]
        outputs = (V,)
    inputs = {}
    for tensor in inputs_in_order(outputs):
        if tensor.dtype == "int32":
            inputs[tensor] = rng.integers(0, width, tensor.shape).astype("int32")
        else:
            inputs[tensor] = rng.integers(-8, 9, tensor.shape).astype("float32") / 8
    return Program(outputs, inputs, {}, tuple(1e-5 for _ in outputs))
