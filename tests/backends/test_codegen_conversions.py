"""Vectors converted between all types, at every width, and vectors of operands wider than the result."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te
from tedsl import hardware
from tedsl.backends.c.vector_expressions import between

i = te.axes("i")
TYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split()
LEVELS = ["sse2", "avx2", "avx512"]


def values(rng: np.random.Generator, source: str, targets: list[str], n: int) -> np.ndarray:
    """Floats stay within every target: what lies outside has no value in C."""
    if source == "bool":
        return rng.integers(0, 2, n).astype(bool)
    if source.startswith("float"):
        return rng.uniform(0, 127, n).astype(source)
    return rng.integers(np.iinfo(source).min, np.iinfo(source).max, n, dtype=source, endpoint=True)


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("source", ["int8", "uint8", "int16", "float32", "float64", "int64"])
def test_conversions(source: str, isa: str) -> None:
    if LEVELS.index(isa) > LEVELS.index(hardware.level()):
        pytest.skip(f"this machine has no {isa}")
    targets = [t for t in TYPES if t != source]
    x = values(np.random.default_rng(0), source, targets, 83)
    X = te.tensor("X", x.shape, source)
    results = []
    for target in targets:
        T = te.tensor(target)
        T[i] = te.cast(X[i], target)
        results.append(T)
    s = te.create_schedule(results)
    for T in results:
        s[T].vectorize(s[T].split(i, 32)[1])
    for target, got in zip(targets, te.build(s, isa=isa)(x), strict=True):
        np.testing.assert_array_equal(got, x.astype(target), err_msg=f"{source} to {target}")


def test_conversions_over_several_widths_go_by_steps() -> None:
    assert between("int8", "float32") == ("int16", "int32")
    assert between("uint8", "float64") == ("uint16", "int32")
    assert between("uint8", "int64") == ("uint16", "uint32")
    assert between("float64", "int8") == ("int32", "int16")
    assert between("int32", "float32") == between("float32", "float64") == between("int16", "int32") == ()


def test_vectors_are_cut_by_the_widest_type_that_is_computed_in() -> None:
    x, y = te.tensor("x", (4096,)), te.tensor("y", (4096,))
    less = te.tensor("less")
    less[i] = x[i] < y[i]
    source = te.build(less, isa="avx2").source
    assert "f32x8" in source and "f32x32" not in source
