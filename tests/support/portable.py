"""Kernels on another processor: their C, compiled by a cross compiler and run by an emulator, against the reference.

A kernel is the same text for every machine whose vectors are as wide; what differs is what its `#if`s choose and what the
compiler makes of its vectors. Here AArch64 (NEON, 16 bytes) is emulated by qemu.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from helpers import inputs_in_order

import tedsl as te

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
ISA = "sse2"  # of the same width as NEON
FLAGS = "-std=gnu11 -O2 -static -fopenmp -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wno-psabi".split()
GUARD = 64  # bytes behind each array that no kernel may write

DRIVER = """
#include <stdio.h>
#include "kernel.c"

/* Reads: how many buffers and sizes, the sizes, and each buffer's number of bytes and content. Writes the buffers back. */
int main(void)
{
    int64_t counts[2], sizes[64], bytes[64], fault[8] = {0};
    void *buffers[64];
    if (fread(counts, 8, 2, stdin) != 2 || fread(sizes, 8, counts[1], stdin) != (size_t)counts[1]) return 2;
    for (int64_t n = 0; n < counts[0]; n++) {
        if (fread(&bytes[n], 8, 1, stdin) != 1) return 2;
        buffers[n] = aligned_alloc(64, (bytes[n] + 63) / 64 * 64 + 64);
        if (fread(buffers[n], 1, bytes[n], stdin) != (size_t)bytes[n]) return 2;
    }
    int64_t result = ENTRY(buffers, sizes, fault, 2);
    fwrite(&result, 8, 1, stdout);
    for (int64_t n = 0; n < counts[0]; n++) fwrite(buffers[n], 1, bytes[n], stdout);
    return 0;
}
"""


def missing() -> str | None:
    """The first tool that is not here; None when all are."""
    return next((tool for tool in (COMPILER, EMULATOR) if shutil.which(tool) is None), None)


def emulated(what: Any, inputs: Mapping[te.Tensor, np.ndarray], folder: Path, **sizes: int) -> list[np.ndarray]:
    """The results of a schedule or tensor on the other processor. Raises AssertionError for a kernel that does not compile, fails
    or writes behind an array.
    """
    kernel = te.build(what, isa=ISA, **sizes)
    outputs = kernel.module.outputs
    arrays = [np.asarray(inputs[t], order="C") for t in inputs_in_order(_tensors(what))]
    bound = _sizes(kernel.module, arrays)
    shapes = [tuple(_size(d, bound) for d in a.shape) for a in outputs]
    results = [np.zeros(shape, a.dtype) for shape, a in zip(shapes, outputs, strict=True)]
    (folder / "kernel.c").write_text(kernel.source)
    (folder / "main.c").write_text(DRIVER)
    entry = f"-DENTRY={kernel.module.name}_call"
    command = [COMPILER, *FLAGS, entry, str(folder / "main.c"), "-o", str(folder / "main"), "-lm"]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    data = np.array([len(arrays) + len(results), len(bound), *bound], "int64").tobytes()
    for array in (*arrays, *results):
        guarded = array.tobytes() + b"\xa5" * GUARD
        data += np.int64(len(guarded)).tobytes() + guarded
    done = subprocess.run([EMULATOR, str(folder / "main")], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert int.from_bytes(done.stdout[:8], "little", signed=True) == 0
    at, found = 8, []
    for array in (*arrays, *results):
        found.append(np.frombuffer(done.stdout, array.dtype, array.size, at).reshape(array.shape))
        at += array.nbytes + GUARD
        assert done.stdout[at - GUARD : at] == b"\xa5" * GUARD, "something was written behind an array"
    return found[len(arrays) :]


def _tensors(what: Any) -> Any:
    return what.outputs if hasattr(what, "outputs") else what


def _sizes(module: Any, arrays: Sequence[np.ndarray]) -> list[int]:
    found = [0] * len(module.sizes)
    for argument, array in zip(module.inputs, arrays, strict=True):
        for dim, extent in zip(argument.shape, array.shape, strict=True):
            if isinstance(dim, tuple) and dim[0] == "size":
                found[dim[1]] = extent
    return found


def _size(dim: Any, sizes: Sequence[int]) -> int:
    from tedsl.backends.calls.arguments import evaluate_size

    return evaluate_size(dim, sizes)
