"""What tedsl itself costs: importing it, and the way from a definition to C and to a kernel.

    python benchmarks/compile_time.py [--json FILE]

Times are of the process's own CPU, the best of several runs, so that a busy machine disturbs them little (it still
does: measure on one that is at rest). "Fresh" rows are of a new process and hold the first imports; the first build
runs the C compiler in processes of its own, and is wall-clock time.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tedsl as te

IMPORT = """
import time, numpy
start = time.process_time()
import tedsl
print((time.process_time() - start) * 1e3)
"""
FRESH = """
import os, runpy, sys, time
sys.path.insert(0, os.path.dirname({file!r}))
import compile_time
start = time.{clock}()
{statement}
print((time.{clock}() - start) * 1e3)
"""


def distances() -> te.Tensor:
    i, j, k = te.axes("i j k")
    X, Y, D = te.tensor("X", (898, 64)), te.tensor("Y", (899, 64)), te.tensor("D")
    D[i, j] = te.sum((X[i, k] - Y[j, k]) ** 2)
    return D


def nearest() -> te.Tensor:
    i, j = te.axes("i j")
    D, N = te.tensor("D", (898, 899)), te.tensor("N")
    N[i] = te.argmin(D[i, j])
    return N


def demo() -> te.Tensor:
    """The distances, and for each row the nearest, as one program."""
    i, j = te.axes("i j")
    D, N = distances(), te.tensor("N")
    N[i] = te.argmin(D[i, j])
    return N


def matmul(n: int) -> te.schedule.Schedule:
    """The matrix product with register tiles of 12 x 32, a packed operand, and the reduction unrolled by 4."""
    i, j, k = te.axes("i j k")
    A, B, C = te.tensor("A", (n, n)), te.tensor("B", (n, n)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    tile = s.cache_write(C, "register")
    io, jo, ii, ji = s[C].tile(i, j, 12, 32)
    s[C].reorder(jo, io, ii, ji)
    s[C].vectorize(ji)
    s[C].unroll(ii)
    s[tile].compute_at(s[C], io)
    ko, ki = s[tile].split(k, factor=4)
    s[tile].reorder(ko, ki, i, j)
    s[tile].unroll(ki)
    s[tile].vectorize(j)
    s[tile].unroll(i)
    packed = s.cache_read(B, "global", tile)
    bo, bi = s[packed].split(s[packed].axis[0], factor=32)
    s[packed].layout(bo, s[packed].axis[1], bi)
    return s


def milliseconds(call: Callable[[], object], repeat: int = 25) -> float:
    """The best of some runs, in the process's CPU time."""
    best = float("inf")
    for _ in range(repeat):
        gc.collect()
        start = time.process_time()
        call()
        best = min(best, (time.process_time() - start) * 1e3)
    return best


def in_fresh_process(text: str, repeat: int = 7, new_cache: bool = False) -> float:
    """The best of what a script prints, each time in a new process (with `new_cache` in front of an empty cache)."""
    found = []
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, **({"TEDSL_CACHE_DIR": folder} if new_cache else {})}
            done = subprocess.run(
                [sys.executable, "-c", text], env=environment, check=True, capture_output=True, text=True
            )
        found.append(float(done.stdout))
    return min(found)


def fresh(statement: str, clock: str = "process_time", new_cache: bool = False) -> float:
    text = FRESH.format(file=os.path.abspath(__file__), statement=statement, clock=clock)
    return in_fresh_process(text, new_cache=new_cache)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the numbers to a file")
    options = parser.parse_args()
    rows: list[tuple[str, float, float | None]] = [("import tedsl, over import numpy", in_fresh_process(IMPORT), 40)]
    programs: dict[str, tuple[Callable[[], object], float]] = {
        "squared distances 898x899x64": (distances, 20),
        "argmin of 898x899": (nearest, 20),
        "both in one program": (demo, 20),
        "tuned matrix product, n = 1024": (lambda: matmul(1024), 50),
        "tuned matrix product, n = 1000": (lambda: matmul(1000), 50),
    }
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TEDSL_CACHE_DIR"] = folder
        for name, (program, aim) in programs.items():
            source = milliseconds(lambda program=program: te.emit(program()))  # type: ignore[misc]
            te.build(program())
            cached = milliseconds(lambda program=program: te.build(program()))  # type: ignore[misc]
            rows.append((f"definition to C: {name}", source, aim))
            rows.append(("    a kernel from the cache, over that", max(cached - source, 0.0), 5))
    rows.append(("fresh process, definition to C: both", fresh("compile_time.te.emit(compile_time.demo())"), None))
    rows.append(
        ("fresh process, definition to C: product", fresh("compile_time.te.emit(compile_time.matmul(1000))"), None)
    )
    for name, statement in {"squared distances": "distances()", "matrix product": "matmul(1000)"}.items():
        spent = fresh(f"compile_time.te.build(compile_time.{statement})", "perf_counter", new_cache=True)
        rows.append((f"first build, wall clock: {name}", spent, 500))
    print(f"{'':<54}{'ms':>8}{'aim':>8}")
    for name, spent, limit in rows:
        print(
            f"{name:<54}{spent:>8.1f}"
            + ("" if limit is None else f"{limit:>8.0f}{'  missed' if spent > limit else ''}")
        )
    if options.json:
        content = [{"what": name.strip(), "ms": spent, "aim": limit} for name, spent, limit in rows]
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n")
    return int(any(limit is not None and spent > limit for _, spent, limit in rows))


if __name__ == "__main__":
    sys.exit(main())
