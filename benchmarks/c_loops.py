"""Elementwise operators against loops written by hand in C, compiled with the same flags and called the same way.

    python benchmarks/c_loops.py [--threads 1] [--json FILE]

Both kernels run in turn on the same arrays; the ratio is the median over rounds of the hand-written loop's time over
tedsl's, so 1.00 is the same speed and more is faster.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

import tedsl as te
from tedsl.backends.c.kernel import Kernel, build_module

i = te.axes("i")
SIZES = {"in L1": 2_000, "in L2": 50_000, "in memory": 20_000_000}
ROUNDS = 15


@dataclasses.dataclass(frozen=True)
class Operator:
    """What it is called, its value at i, its inputs' types, the result's type, and the loop's body in C."""

    name: str
    value: Callable[..., Any]
    inputs: tuple[str, ...]
    body: str
    result: str = "float32"


C_TYPES = {"float32": "float", "float64": "double", "int8": "int8_t", "int32": "int32_t", "bool": "_Bool"}
OPERATORS = [
    Operator("copy", lambda x: x, ("float32",), "x0[i]"),
    Operator("2*x + y", lambda x, y: 2 * x + y, ("float32",) * 2, "2.0f * x0[i] + x1[i]"),
    Operator("maximum(x, 0)", lambda x: te.where(x > 0, x, 0), ("float32",), "x0[i] > 0.0f ? x0[i] : 0.0f"),
    Operator("sqrt(x*x + y*y)", lambda x, y: te.sqrt(x * x + y * y), ("float32",) * 2,
             "sqrtf(x0[i] * x0[i] + x1[i] * x1[i])"),
    Operator("w - 0.1*g, in float64", lambda w, g: w - 0.1 * g, ("float64",) * 2, "x0[i] - 0.1 * x1[i]", "float64"),
    Operator("a polynomial", lambda x: ((0.1 * x + 0.2) * x + 0.3) * x + 0.4, ("float32",),
             "((0.1f * x0[i] + 0.2f) * x0[i] + 0.3f) * x0[i] + 0.4f"),
    Operator("int8 to float32", lambda q: te.cast(q, "float32") * te.cast(0.5, "float32"), ("int8",),
             "(float)x0[i] * 0.5f"),
    Operator("int32 x + 3*y", lambda x, y: x + 3 * y, ("int32",) * 2,
             "(int32_t)((uint32_t)x0[i] + 3u * (uint32_t)x1[i])", "int32"),
    Operator("x < y", lambda x, y: x < y, ("float32",) * 2, "x0[i] < x1[i]", "bool"),
    Operator("exp(x)", lambda x: te.exp(x), ("float32",), "expf(x0[i])"),
]  # fmt: skip


def kernels(operator: Operator, size: int) -> tuple[Kernel, Kernel]:
    """tedsl's kernel, and the same function written by hand."""
    tensors = [te.tensor(f"x{n}", (size,), dtype) for n, dtype in enumerate(operator.inputs)]
    result = te.tensor("out")
    result[i] = operator.value(*(t[i] for t in tensors))
    ours = te.build(result, tensors, name="ours")
    parameters = [f"const {C_TYPES[t.dtype]} *restrict x{n} = buffers[{n}];" for n, t in enumerate(tensors)]
    source = f"""#include <math.h>
#include <stdint.h>
int64_t ours_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{{
    (void)sizes; (void)fault; (void)threads;
    {" ".join(parameters)}
    {C_TYPES[operator.result]} *restrict out = buffers[{len(tensors)}];
    for (int64_t i = 0; i < {size}; i++)
        out[i] = {operator.body};
    return 0;
}}
"""
    return ours, build_module(dataclasses.replace(ours.module, source=source))


def arrays(operator: Operator, size: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [
        random.integers(-100, 100, size).astype(t) if np.dtype(t).kind == "i" else random.uniform(-5, 5, size).astype(t)
        for t in operator.inputs
    ]


def measure(operator: Operator, size: int, threads: int) -> dict[str, Any]:
    """One row: the median times, and the median of the rounds' ratios."""
    ours, by_hand = kernels(operator, size)
    given = arrays(operator, size)
    out, wanted = np.empty(size, operator.result), np.empty(size, operator.result)
    ours(*given, out=out, threads=threads)
    by_hand(*given, out=wanted)
    np.testing.assert_allclose(out, wanted, rtol=1e-6)
    seconds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        a = ours.time(*given, out=out, threads=threads, repeat=5, seconds=0.05).min
        b = by_hand.time(*given, out=out, repeat=5, seconds=0.05).min
        seconds.append((a, b))
    moved = (sum(a.nbytes for a in given) + out.nbytes) / 1e9
    mine, theirs = (statistics.median(column) for column in zip(*seconds, strict=True))
    return {
        "operator": operator.name, "elements": size, "tedsl": mine, "by_hand": theirs,
        "gigabytes_per_second": moved / mine, "ratio": statistics.median(b / a for a, b in seconds),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="threads of tedsl's kernels (default: 1, as the loops)")
    parser.add_argument("--only", default="", metavar="TEXT", help="operators whose name holds TEXT")
    parser.add_argument("--json", metavar="FILE", help="write the rows here")
    options, _ = parser.parse_known_args()  # options of the other benchmarks are not for this one
    rows = []
    print(f"{'operator':24}{'elements':>12}{'tedsl':>12}{'by hand':>12}{'GB/s':>8}{'ratio':>8}")
    for operator in OPERATORS:
        if options.only not in operator.name:
            continue
        for size in SIZES.values():
            row = measure(operator, size, options.threads)
            rows.append(row)
            times = "".join(f"{row[key] * 1e6:10.2f}us" for key in ("tedsl", "by_hand"))
            print(
                f"{row['operator']:24}{size:12}{times}{row['gigabytes_per_second']:8.1f}{row['ratio']:8.2f}", flush=True
            )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
