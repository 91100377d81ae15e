"""NumPy's time for what a program computes, where NumPy has it: sums of products, as `np.einsum` (which hands them to
BLAS where it can).

It runs in a process of its own, since a BLAS is told only there, as it begins, how many threads it may use.
"""

from __future__ import annotations

import json
import os
import statistics
import string
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tedsl.lang.expr import Access, Apply, Axis, Expr, Reduce
from tedsl.lang.program import program
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Tensor

from .process import import_path

SECONDS, FEWEST, MOST = 0.3, 3, 200
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "OMP_NUM_THREADS")


def thread_limits(threads: int | None) -> dict[str, str]:
    """The environment of a process whose NumPy may use so many threads; None for as many as it takes."""
    return {} if threads is None else dict.fromkeys(THREADS, str(threads))


def numpy_seconds(outputs: Sequence[Tensor], threads: int | None = None) -> float | None:
    """NumPy's time on random data, the median of the faster half of the runs, as for kernels; None for what is no sum
    of products over fixed sizes.

    threads: that NumPy may use; None for as many as it takes.
    """
    found = einsum_of(outputs)
    if found is None:
        return None
    text, tensors = found
    question = json.dumps([text, [t.shape for t in tensors], [t.dtype for t in tensors]])
    code = f"import sys; sys.path[:] = {import_path()!r}; from tedsl.tune.rival import answer; answer()"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONSAFEPATH": "1", **thread_limits(threads)}
    try:
        said = subprocess.run(command, input=question, env=environment, capture_output=True, text=True, check=True)
        return float(json.loads(said.stdout))
    except (OSError, subprocess.CalledProcessError, ValueError):  # too little memory, say
        return None


def answer() -> None:
    """In the process that measures: subscripts, shapes and dtypes from the standard input, seconds to the standard
    output.
    """
    text, shapes, dtypes = json.load(sys.stdin)
    print(json.dumps(_seconds(text, shapes, dtypes)))


def _seconds(text: str, shapes: Sequence[Sequence[int]], dtypes: Sequence[str]) -> float:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape, dtype in zip(shapes, dtypes)]
    samples: list[float] = []
    path = np.einsum_path(text, *arrays, optimize="optimal")[0]
    out = np.empty_like(np.einsum(text, *arrays, optimize=path))
    until = time.perf_counter() + SECONDS
    while len(samples) < FEWEST or (time.perf_counter() < until and len(samples) < MOST):
        begun = time.perf_counter()
        np.einsum(text, *arrays, out=out, optimize=path)
        samples.append(time.perf_counter() - begun)
    return statistics.median(sorted(samples)[: (len(samples) + 1) // 2])


def einsum_of(outputs: Sequence[Tensor]) -> tuple[str, list[Tensor]] | None:
    """The subscripts and operands of a program that is one sum of products of floating-point inputs; None for
    others.
    """
    made = program(tuple(outputs))
    if len(outputs) != 1 or len(made.stages) != 1 or len(made.stages[0].parts) != 1:
        return None
    part = made.stages[0].parts[0]
    value = part.values[0]
    if isinstance(part, ScatterPart) or not isinstance(value, Reduce):
        return None
    if value.reducer.name != "sum" or value.where is not None:
        return None
    factors = _factors(value.values[0])
    if factors is None or not all(isinstance(e, Axis) for e in part.lhs):
        return None
    letters: dict[Expr, str] = {}
    for axis in (*part.axes, *(value.axes or ())):
        if axis.lo != 0 or not isinstance(axis.extent, int) or len(letters) >= len(string.ascii_letters):
            return None
        letters[axis] = string.ascii_letters[len(letters)]
    texts, tensors = [], []
    for access in factors:
        tensor: Any = access.tensor
        whole = (isinstance(e, Axis) and e in letters and e.extent == d for e, d in zip(access.indices, tensor.shape))
        if not all(whole) or not tensor.is_input or tensor.dtype not in ("float32", "float64"):
            return None
        texts.append("".join(letters[e] for e in access.indices))
        tensors.append(tensor)
    return f"{','.join(texts)}->{''.join(letters[e] for e in part.lhs)}", tensors


def _factors(e: Expr) -> list[Access] | None:
    if isinstance(e, Access):
        return [e]
    if isinstance(e, Apply) and e.function == "multiply":
        both = [_factors(c) for c in e.operands]
        return None if None in both else [a for f in both if f is not None for a in f]
    return None
