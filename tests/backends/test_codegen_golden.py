"""The C of typical programs, kept in tests/golden and read by people; the same test compiles it strictly and runs it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import compare, inputs_in_order

import tedsl as te
from tedsl import hardware
from tedsl.backends.c import toolchain

STRICT = "-std=gnu11 -O1 -Wall -Wextra -Werror -Wno-unknown-pragmas -Wno-psabi -c"
Made = tuple[Any, dict[te.Tensor, np.ndarray]]  # a schedule, and its inputs
CASES: dict[str, Callable[[np.random.Generator], Made]] = {}
i, j, k, t, d = te.axes("i j k t d")


def case(make: Callable[[np.random.Generator], Made]) -> Callable[[np.random.Generator], Made]:
    CASES[make.__name__] = make
    return make


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.integers(-16, 17, shape) / 8).astype("float32")


@case
def matmul(rng: np.random.Generator) -> Made:
    A, B, C = te.tensor("A", (5, 7)), te.tensor("B", (6, 7)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    return te.create_schedule(C), {A: floats(rng, 5, 7), B: floats(rng, 6, 7)}


@case
def softmax(rng: np.random.Generator) -> Made:
    X, S = te.tensor("X", (4, 9)), te.tensor("S")
    m = te.tensor("m")
    m[i] = te.max(X[i, k])
    S[i, j] = te.exp(X[i, j] - m[i]) / te.sum(te.exp(X[i, k] - m[i]))
    return te.create_schedule(S), {X: floats(rng, 4, 9)}


@case
def recurrence(rng: np.random.Generator) -> Made:
    X, S = te.tensor("X", (6, 3)), te.tensor("S", (6, 3))
    S[0, j] = X[0, j]
    S[t, j] = 0.5 * S[t - 1, j] + X[t, j]
    return te.create_schedule(S), {X: floats(rng, 6, 3)}


@case
def gather(rng: np.random.Generator) -> Made:
    T, idx, E = te.tensor("T", (8, 3)), te.tensor("idx", (5,), "int32"), te.tensor("E")
    E[i, d] = T[idx[i], d]
    return te.create_schedule(E), {T: floats(rng, 8, 3), idx: rng.integers(0, 8, 5).astype("int32")}


@case
def reduction_with_where(rng: np.random.Generator) -> Made:
    X, L = te.tensor("X", (6, 6)), te.tensor("L", (6,))
    L[i] = te.sum(X[i, k], where=(k <= i) & (k % 2 == 0))
    return te.create_schedule(L), {X: floats(rng, 6, 6)}


@case
def custom_reducer(rng: np.random.Generator) -> Made:
    best = te.reducer((-1e30, 0.0), lambda a, b: (te.where(b[0] > a[0], b[0], a[0]), te.where(b[0] > a[0], b[1], a[1])))
    X, Y = te.tensor("X", (4, 5)), te.tensor("Y", (4, 5))
    V, W = te.compute((4,), lambda i: best((X[i, k], Y[i, k]), axis=k), name="best")
    return te.create_schedule([V, W]), {X: floats(rng, 4, 5), Y: floats(rng, 4, 5)}


@case
def several_outputs(rng: np.random.Generator) -> Made:
    X = te.tensor("X", (4, 5))
    P, Q = te.compute((4, 5), lambda i, j: (X[i, j] + 1, X[i, j] * 2), name="both")
    return te.create_schedule([P, Q]), {X: floats(rng, 4, 5)}


@case
def symbolic_sizes(rng: np.random.Generator) -> Made:
    n, m = te.var("n", min=1), te.var("m", multiple_of=4)
    A, B = te.tensor("A", (n, m)), te.tensor("B")
    B[j, i] = A[i, j] * 2
    return te.create_schedule(B), {A: floats(rng, 5, 8)}


@case
def integers(rng: np.random.Generator) -> Made:
    A, B, C = te.tensor("A", (9,), "int32"), te.tensor("B", (9,), "int32"), te.tensor("C")
    C[i] = (A[i] // B[i] + A[i] % B[i] * 3) << te.cast(2, "int32")
    return te.create_schedule(C), {A: rng.integers(-9, 9, 9).astype("int32"), B: rng.integers(-2, 3, 9).astype("int32")}


@case
def register_tile(rng: np.random.Generator) -> Made:
    """A tile of 4 x 16 in registers over packed panels; 37 x 29 does not divide."""
    A, B, C = te.tensor("A", (37, 23)), te.tensor("B", (29, 23)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    s = te.create_schedule(C)
    Cr = s.cache_write(C, "register")
    io, jo, ii, ji = s[C].tile(i, j, 4, 16)
    s[C].vectorize(ji)
    s[C].unroll(ii)
    s[C].parallel(io)
    s[Cr].compute_at(s[C], jo)
    s[Cr].reorder(k, i, j)
    s[Cr].vectorize(j)
    s[Cr].unroll(i)
    Bp = s.cache_read(B, "global", Cr)
    bo, bi = s[Bp].split(s[Bp].axis[0], factor=16)
    s[Bp].layout(bo, s[Bp].axis[1], bi)
    return s, {A: floats(rng, 37, 23), B: floats(rng, 29, 23)}


@case
def vectorised_elementwise(rng: np.random.Generator) -> Made:
    A, M, C = te.tensor("A", (100,)), te.tensor("M", (100,), "bool"), te.tensor("C")
    C[i] = te.where(M[i], te.maximum(A[i], 0) * 2 + 1, -A[i])
    s = te.create_schedule(C)
    _, inner = s[C].split(i, factor=16)
    s[C].vectorize(inner)
    return s, {A: floats(rng, 100), M: rng.integers(0, 2, 100).astype(bool)}


@case
def stencil_by_rows(rng: np.random.Generator) -> Made:
    X, H, V = te.tensor("X", (20, 34)), te.tensor("H"), te.tensor("V")
    H[i, j] = X[i, j] + X[i, j + 1] + X[i, j + 2]
    V[i, j] = H[i, j] + H[i + 1, j] + H[i + 2, j]
    s = te.create_schedule(V)
    _, jo, _, ji = s[V].tile(i, j, 8, 16)
    s[V].vectorize(ji)
    s[H].compute_at(s[V], jo)
    s[H].set_scope("cache")
    s[H].vectorize(j)
    return s, {X: floats(rng, 20, 34)}


@pytest.mark.parametrize("name", CASES)
def test_c(name: str, golden: Callable[[str, str], None], rng: np.random.Generator, tmp_path: Path) -> None:
    schedule, inputs = CASES[name](rng)
    kernel = te.build(schedule, isa="avx2")
    if hardware.level("avx2") == "avx2":  # elsewhere vectors have another width
        golden(kernel.source, ".c")
    compile_strictly(kernel, tmp_path)
    outputs = schedule.outputs if len(schedule.outputs) > 1 else schedule.outputs[0]
    want, got = te.evaluate(outputs, inputs), kernel(*(inputs[x] for x in inputs_in_order(outputs)))
    for w, g in zip(want, got, strict=True) if isinstance(outputs, tuple) else [(want, got)]:
        compare(g, w)


def compile_strictly(kernel: Any, folder: Path) -> None:
    """The C has nothing that a careful compiler warns of, and names no place on this machine."""
    source = folder / f"{kernel.name}.c"
    source.write_text(kernel.source)
    compiler = toolchain.find()
    flags = [*hardware.feature_flags("avx2"), *shlex.split(STRICT), *["-fopenmp"] * kernel.module.openmp]
    done = subprocess.run(
        [*compiler.command, *flags, str(source), "-o", str(folder / "made.o")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "/" not in "".join(
        line for line in kernel.source.splitlines() if "#include" not in line and "/*" not in line and " / " not in line
    )


def test_a_file_that_differs_is_noticed(golden: Callable[[str, str], None], request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--update-golden"):
        with pytest.raises(AssertionError, match="not there yet"):
            golden("int x;", ".c")
