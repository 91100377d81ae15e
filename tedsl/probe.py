"""Measuring a core: a C function of its own, built like any kernel, that times multiply-adds and reads of memory.

Arithmetic: independent chains of multiply-adds on whole vectors, with nothing read. Bandwidth: passes over a buffer
that fits the level, with one cheap operation per vector. Other processes can only make it slower, so the best of
several samples counts.
"""

from __future__ import annotations

import numpy as np

from .backends.c.kernel import Kernel, build_module
from .backends.codegen.module import Argument, CModule, SizeVar
from .hardware import is_x86

CHAINS = 12  # more than two units times their latency, and few enough for 16 registers
STREAMS = 8
SAMPLES = {"arithmetic": 24, "reading": 10}
SECONDS = 0.008  # of a sample

SOURCE = """\
/* How fast a core multiplies and adds, and how fast it reads. */
#include <stdint.h>
#include <time.h>

typedef float float_v __attribute__((vector_size({width})));
typedef double double_v __attribute__((vector_size({width})));
typedef int64_t word_v __attribute__((vector_size({width})));

static double now(void)
{{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}}

/* The seconds that `rounds` rounds of {chains} independent multiply-adds take. */
#define ARITHMETIC(name, type, vector)                                                      \\
    static double name(int64_t rounds, double *sink)                                        \\
    {{                                                                                       \\
        vector {declared};                                                                  \\
        const vector a = {{0}}, scale = a + (type)0.99999, step = a + (type)0.00001;          \\
        {started}                                                                           \\
        const double start = now();                                                         \\
        for (int64_t r = 0; r < rounds; r++) {{                                              \\
            {advanced}                                                                      \\
            __asm__ volatile("" : {kept});                                                  \\
        }}                                                                                   \\
        const double end = now();                                                           \\
        const vector all = {summed};                                                        \\
        *sink += (double)all[0];                                                            \\
        return end - start;                                                                 \\
    }}
ARITHMETIC(float32, float, float_v)
ARITHMETIC(float64, double, double_v)

/* The seconds that `rounds` passes over `count` vectors take. */
static double reading(const word_v *restrict p, int64_t count, int64_t rounds, double *sink)
{{
    word_v {streams} = {{0}};
    const double start = now();
    for (int64_t r = 0; r < rounds; r++) {{
        for (int64_t i = 0; i < count; i += {number}) {{
            {read}
        }}
        __asm__ volatile("" ::: "memory");
    }}
    const double end = now();
    const word_v all = {joined};
    *sink += (double)(all[0] & 1);
    return end - start;
}}

int64_t probe_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{{
    const int64_t what = *(const int64_t *)buffers[0], rounds = *(const int64_t *)buffers[1];
    double *result = buffers[3];
    (void)fault; (void)threads;
    result[1] = 0;
    result[0] = what == 0   ? float32(rounds, result + 1)
                : what == 1 ? float64(rounds, result + 1)
                            : reading(buffers[2], sizes[0] / {width}, rounds, result + 1);
    return 0;
}}
"""


def source(width: int) -> str:
    """The C source for vectors of `width` bytes."""
    chains = [f"c{n}" for n in range(CHAINS)]
    streams = [f"s{n}" for n in range(STREAMS)]
    # aligned memory is not promised by the arguments, so vectors are read from where the first whole one begins
    return SOURCE.format(
        width=width,
        chains=CHAINS,
        declared=", ".join(chains),
        started=" ".join(f"{c} = a + (type){1 + n / CHAINS:.4f};" for n, c in enumerate(chains)),
        advanced=" ".join(f"{c} = {c} * scale + step;" for c in chains),
        kept=", ".join(f'"+{_register()}"({c})' for c in chains),
        summed=" + ".join(chains),
        streams=" = {0}, ".join(streams),
        number=STREAMS,
        read=" ".join(f"{s} ^= p[i + {n}];" for n, s in enumerate(streams)),
        joined=" ^ ".join(streams),
    )


def _register() -> str:
    """The letter by which inline assembly asks for a vector register."""
    return "v" if is_x86() else "w"


def measure(width: int, buffers: dict[str, int]) -> dict[str, dict[str, float]]:
    """Peak in GFLOP/s by dtype, and bandwidth in bytes a second by level, of one core with vectors of `width` bytes.

    `buffers`: the bytes to read for each level.
    """
    args = (
        Argument("what", "int64", (), "input"),
        Argument("rounds", "int64", (), "input"),
        Argument("memory", "int8", (("size", 0),), "input"),
        Argument("result", "float64", (2,), "output"),
    )
    kernel = build_module(CModule("probe", source(width), args, (SizeVar("bytes"),)))
    whole = width * STREAMS
    largest = np.ones(max(buffers.values()) + 4096, np.int8)
    begin = -largest.ctypes.data % 4096  # at the start of a page
    parts = {name: largest[begin : begin + max(count // whole, 1) * whole] for name, count in buffers.items()}
    nothing = parts["l1"]
    _seconds(kernel, 0, 4_000_000, nothing)  # cores that slept, or halve their clock for wide vectors, settle first
    peaks: dict[str, float] = {}
    for what, (dtype, item) in enumerate((("float32", 4), ("float64", 8))):
        peaks[dtype] = _best(kernel, what, nothing) * CHAINS * 2 * (width // item) / 1e9
    speeds: dict[str, float] = {}
    for name, part in parts.items():
        same = next((n for n in speeds if parts[n].size == part.size), None)
        speeds[name] = speeds[same] if same else _best(kernel, 2, part) * part.size
    return {"peak_gflops": peaks, "bandwidth": speeds}


def _seconds(kernel: Kernel, what: int, rounds: int, memory: np.ndarray) -> float:
    return float(kernel(what, rounds, memory)[0])


def _best(kernel: Kernel, what: int, memory: np.ndarray) -> float:
    """Rounds a second, the best of some samples that are long enough for the clock."""
    rounds = 1
    while (spent := _seconds(kernel, what, rounds, memory)) < SECONDS / 4:
        rounds *= 4
    rounds = max(int(rounds * SECONDS / spent), 1)
    samples = SAMPLES["reading" if what == 2 else "arithmetic"]
    return max(rounds / max(_seconds(kernel, what, rounds, memory), 1e-9) for _ in range(samples))
