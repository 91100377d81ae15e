"""Matrix products against BLAS: C[i,j] = sum(A[i,k] * B[j,k]) in float32, square, batched and skinny.

    python benchmarks/matmul.py [--threads 1 2] [--only TEXT] [--json FILE] [--png FILE]

Square products use the last rung of the ladder (`tedsl casestudy`), the others `te.auto_schedule`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _harness import Call, Case, main

import tedsl as te
from tedsl.casestudy import LADDER, choose

SIZES = (256, 300, 512, 768, 1000, 1023, 1024, 1536, 2048)
BATCHED = ((16, 256, 256, 256), (64, 64, 64, 64))
SKINNY = ((2048, 16, 2048), (16, 2048, 2048), (1, 2048, 2048), (2048, 2048, 16))  # n, m, k


def normal(*shapes: tuple[int, ...]) -> Callable[[Any], Sequence[Any]]:
    return lambda rng: [rng.standard_normal(shape, dtype="float32") for shape in shapes]


def best(a: Any, b: Any, threads: int) -> Call:
    n = len(a)
    rung = LADDER[-1]
    kernel = te.build(rung.schedule(n, choose(rung, n, te.machine())))
    c = np.empty((n, n), "float32")
    return lambda: kernel(a, b, out=c, threads=threads)


def automatic(a: Any, b: Any, threads: int) -> Call:
    A, B, C = te.tensor("A", a.shape), te.tensor("B", b.shape), te.tensor("C")
    if a.ndim == 3:
        b_, i, j, k = te.axes("b i j k")
        C[b_, i, j] = te.sum(A[b_, i, k] * B[b_, j, k])
    else:
        i, j, k = te.axes("i j k")
        C[i, j] = te.sum(A[i, k] * B[j, k])
    kernel = te.build(C)
    c = np.empty((*a.shape[:-1], b.shape[-2]), "float32")
    return lambda: kernel(a, b, out=c, threads=threads)


def in_numpy(a: Any, b: Any, threads: int) -> Call:
    c = np.empty((*a.shape[:-1], b.shape[-2]), "float32")
    other = b.swapaxes(-1, -2)
    return (lambda: np.dot(a, other, out=c)) if a.ndim == 2 else (lambda: np.matmul(a, other, out=c))


def in_torch(a: Any, b: Any, threads: int) -> Call:
    import torch

    torch.set_num_threads(threads)
    x, y = torch.from_numpy(a), torch.from_numpy(b).transpose(-1, -2)
    c = torch.empty(*a.shape[:-1], b.shape[-2])
    product = torch.mm if a.ndim == 2 else torch.bmm
    return lambda: product(x, y, out=c)


def in_jax(a: Any, b: Any, threads: int) -> Call:
    import jax

    x, y = jax.device_put(a), jax.device_put(b)
    product = jax.jit(lambda x, y: x @ y.swapaxes(-1, -2))
    return lambda: product(x, y).block_until_ready()


RIVALS = {"NumPy": in_numpy, "PyTorch": in_torch, "JAX": in_jax}


def cases() -> list[Case]:
    found = [Case(f"matmul {n}", ("flop", 2 * n**3), normal((n, n), (n, n)), best, RIVALS, 1.1) for n in SIZES]
    for b, n, m, k in BATCHED:
        work = ("flop", 2 * b * n * m * k)
        found.append(Case(f"batched {b} x {n} x {m} x {k}", work, normal((b, n, k), (b, m, k)), automatic, RIVALS))
    for n, m, k in SKINNY:
        work = ("flop", 2 * n * m * k)
        found.append(Case(f"skinny {n} x {m} x {k}", work, normal((n, k), (m, k)), automatic, RIVALS))
    return found


if __name__ == "__main__":
    sys.exit(main(__doc__, cases))
