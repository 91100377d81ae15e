"""What a call of a kernel costs over a bare call of the same C function.

    python benchmarks/call_overhead.py [--json FILE]

The rival is the least that Cython can do: a method without arguments that calls the function through a pointer, with
the addresses of the arrays prepared beforehand and the GIL released. A kernel finds its arrays, compares their dtype,
rank, shape and layout with what it was built for, and allocates the result. The aim is at most 1000 ns more than the
bare call.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

from tedsl.backends.c.kernel import build_module
from tedsl.backends.codegen.module import Argument, CModule, Size, SizeVar

N = 16
AIM = 1000.0  # nanoseconds

BARE = """
# cython: language_level=3
from libc.stdint cimport int32_t, int64_t
ctypedef int64_t (*Function)(void *const *, const int64_t *, int64_t *, int32_t) noexcept nogil

cdef class Bare:
    cdef Function function
    cdef void *buffers[8]
    cdef int64_t sizes[8]
    cdef int64_t fault[8]

    def __init__(self, size_t address, list arrays, list sizes):
        self.function = <Function>address
        for i, array in enumerate(arrays):
            self.buffers[i] = <void *><size_t>array
        for i, size in enumerate(sizes):
            self.sizes[i] = size

    def __call__(self):
        with nogil:
            self.function(<void *const *>self.buffers, self.sizes, self.fault, 1)
"""

SETUP = """
from Cython.Build import cythonize
from setuptools import setup
setup(name="bare", ext_modules=cythonize("bare.pyx", quiet=True))
"""


def add(size: Size, sizes: tuple[SizeVar, ...]) -> CModule:
    """C = A + B over arrays of one shape."""
    source = f"""\
#include <stdint.h>

int64_t add_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{{
    const float *A = buffers[0], *B = buffers[1];
    float *C = buffers[2];
    (void)fault; (void)threads; (void)sizes;
    for (int64_t i = 0; i < {N if isinstance(size, int) else "sizes[0]"}; i++) C[i] = A[i] + B[i];
    return 0;
}}
"""
    args = [Argument(name, "float32", (size,), "output" if name == "C" else "input") for name in "ABC"]
    return CModule("add", source, tuple(args), sizes)


def build_bare(folder: Path) -> ModuleType:
    (folder / "bare.pyx").write_text(BARE)
    (folder / "setup.py").write_text(SETUP)
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=folder, check=True)
    spec = importlib.util.spec_from_file_location(
        "bare", next(p for p in folder.glob("bare.*") if p.suffix in (".so", ".pyd"))
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nanoseconds(call: Callable[[], object]) -> float:
    """The best of many measurements, without the cost of the measuring loop's own call."""
    number = 20_000
    empty = min(timeit.repeat(lambda: None, number=number, repeat=9))
    return (min(timeit.repeat(call, number=number, repeat=9)) - empty) / number * 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the numbers to a file")
    options = parser.parse_args()
    a, b, c = (np.ones(N, "f4") for _ in range(3))
    fixed = build_module(add(N, ()))
    symbolic = build_module(add(("size", 0), (SizeVar("n"),)))
    library = ctypes.CDLL(str(fixed.library))
    address = ctypes.cast(library.add_call, ctypes.c_void_p).value
    with tempfile.TemporaryDirectory() as folder:
        module = build_bare(Path(folder))
        bare_call = module.Bare(address, [x.ctypes.data for x in (a, b, c)], [N])
        bare = nanoseconds(lambda: bare_call())
    rows = {
        "bare call through Cython": bare,
        "kernel, result allocated": nanoseconds(lambda: fixed(a, b)),
        "kernel, out=": nanoseconds(lambda: fixed(a, b, out=c)),
        "kernel of symbolic size, result allocated": nanoseconds(lambda: symbolic(a, b)),
        "numpy: a + b": nanoseconds(lambda: a + b),
        "numpy: add(a, b, out=c)": nanoseconds(lambda: np.add(a, b, out=c)),
    }
    print(f"{'three float32 arrays of ' + str(N):<44}{'ns':>8}{'over bare':>12}")
    for name, spent in rows.items():
        print(f"{name:<44}{spent:>8.0f}{spent - bare:>12.0f}")
    if options.json:
        Path(options.json).write_text(json.dumps({"unit": "ns", "aim_over_bare": AIM, **rows}, indent=1) + "\n")
    worst = max(spent for name, spent in rows.items() if name.startswith("kernel")) - bare
    print(f"\nat most {worst:.0f} ns over the bare call (aim: {AIM:.0f})")
    return 0 if worst <= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
