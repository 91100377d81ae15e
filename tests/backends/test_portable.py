"""Kernels on AArch64, by an emulator: typical programs, random ones, and every function in vectors. `make portable` draws more."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import portable
import pytest
from golden_cases import CASES
from helpers import compare, inputs_in_order, untold
from program_parts import Seeded
from programs import generate

import tedsl as te
from tedsl.backends.c.math import functions

pytestmark = pytest.mark.skipif(portable.missing() is not None, reason=f"needs {portable.missing()}")
PROGRAMS = int(os.environ.get("TEDSL_PORTABLE_PROGRAMS", "3"))
i = te.axes("i")


@pytest.mark.parametrize("name", CASES)
def test_typical_programs(name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    schedule, inputs = CASES[name](rng)
    found = portable.emulated(schedule, inputs, tmp_path)
    for got, want in zip(found, te.evaluate(schedule.outputs, inputs), strict=True):
        compare(got, want)


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_random_programs(seed: int, tmp_path: Path) -> None:
    program = generate(Seeded(seed), half=seed % 2 == 1)
    sizes = untold(inputs_in_order(program.outputs), program.sizes)
    found = portable.emulated(list(program.outputs), program.inputs, tmp_path, **sizes)
    wanted = te.evaluate(program.outputs, program.inputs, **program.sizes)
    for tensor, got, want, error in zip(program.outputs, found, wanted, program.errors, strict=True):
        compare(got, want, 2 * error, tensor.name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_in_vectors(dtype: str, tmp_path: Path) -> None:
    special = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 80.0, -80.0, 3.0]
    x = np.concatenate([special, np.random.default_rng(0).normal(0, 3, 51)]).astype(dtype)
    y = np.concatenate([np.full(len(special), 2.0), np.random.default_rng(1).normal(0, 2, 51)]).astype(dtype)
    X, Y = te.tensor("X", x.shape, dtype), te.tensor("Y", x.shape, dtype)
    names = [n for n in functions.FUNCTIONS if hasattr(te, n)]
    assert len(names) > 12
    results = []
    for name in names:
        Z = te.tensor(name)
        Z[i] = getattr(te, name)(X[i], Y[i]) if name in functions.BINARY else getattr(te, name)(X[i])
        results.append(Z)
    s = te.create_schedule(results)
    for Z in results:
        s[Z].vectorize(i)
    found = portable.emulated(s, {X: x, Y: y}, tmp_path)
    for name, got, want in zip(names, found, te.evaluate(results, {X: x, Y: y}), strict=True):
        np.testing.assert_allclose(got, want, rtol=8 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny, err_msg=name)
