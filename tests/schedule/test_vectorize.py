"""What becomes of vectorised loops: vectors, strips, squares and lines, or a plain loop with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from program_parts import Seeded
from programs import generate
from schedules import random_schedule

import tedsl as te
from tedsl.lang.errors import ScheduleError
from tedsl.schedule.auto import auto_schedule
from tedsl.schedule.loops.ir import For, preorder

i, j = te.axes("i j")
n = te.var("n")
ISAS = {"sse2": 16, "avx2": 32, "avx512": 64}


def lowered(extent: Any, rule: Callable[[Any], Any], isa: str = "avx2", stream: bool = False) -> str:
    X, H, Y = te.tensor("X", (extent,)), te.tensor("H", (extent,), "float16"), te.tensor("Y")
    Y[i] = rule(H if rule.__code__.co_varnames == ("H",) else X)
    s = te.create_schedule(Y)
    s[Y].vectorize(i)
    if stream:
        s[Y].pragma(i, "stream")
    return str(te.lower(s, isa=isa).verify())


def test_whole_vectors_then_narrower_ones_then_single_elements() -> None:
    assert (
        lowered(23, lambda X: X[i] * 2)
        == """\
for i in 0..8 at once:
  Y[i] = X[i] * 2.0
for i in 8 + 0..8 at once:
  Y[i] = X[i] * 2.0
for i in 16 + 0..4 at once:
  Y[i] = X[i] * 2.0
for i in 20 + 0..2 at once:
  Y[i] = X[i] * 2.0
Y[22] = X[22] * 2.0"""
    )


def test_strips_where_only_the_call_tells_the_extent() -> None:
    text = lowered(n, lambda X: X[i] * 2, "avx512", stream=True).replace("first i", "first")
    assert (
        text
        == """\
for i in 0..n in strips:
  up to a whole line:
    Y[first] = X[first] * 2.0
  while 16 are left:
    for i in first + 0..16 at once, past the caches:
      Y[i] = X[i] * 2.0
  if 8 are left:
    for i in first + 0..8 at once:
      Y[i] = X[i] * 2.0
  if 4 are left:
    for i in first + 0..4 at once:
      Y[i] = X[i] * 2.0
  while 1 is left:
    Y[first] = X[first] * 2.0
fence"""
    )


@pytest.mark.parametrize(
    "rule, reason",
    [
        (lambda X: te.cast(X[i], "uint8"), "there is no conversion of vectors from float32 to uint8"),
        (lambda H: H[i] * 2, "float16 is computed with one by one"),
        (lambda X: te.where(X[i] > 0, X[te.cast(X[i], "int32")], 0), "may lie outside of X where it is not chosen"),
    ],
)
def test_the_reason_why_there_are_no_vectors(rule: Callable[[Any], Any], reason: str) -> None:
    text = lowered(n, rule)
    assert [line for line in text.splitlines() if "# not vectorized: " in line and reason in line], text


def test_squares_and_lines_are_seen() -> None:
    X, T, Y = te.tensor("X", (64, 64)), te.tensor("T"), te.tensor("Y")
    T[i, j] = X[j, i]
    Y[i, j] = X[i, j] + X[i, 63 - j]
    s = te.create_schedule([T, Y])
    s[T].vectorize(j)
    _, lane = s[Y].split(j, factor=8)
    s[Y].vectorize(lane)
    s[Y].pragma(lane, "stream")
    text = str(te.lower(s, isa="avx2").verify())
    assert "in steps of 8:" in text and "transposed" in text
    assert ", the first of its lines:" in text and ", a line with the vector before:" in text
    assert text.endswith("\nfence")


def test_an_unknown_instruction_set() -> None:
    T = te.tensor("T")
    T[i] = te.tensor("X", (4,))[i]
    with pytest.raises(ScheduleError, match="isa='neon': expected one of 'sse2', 'avx2'"):
        te.lower(T, isa="neon")


@pytest.mark.parametrize("seed", range(12))
def test_no_vectorised_loop_is_left(seed: int) -> None:
    """Whatever the program, its schedule and the vectors: the nest keeps its rules and says all that is printed."""
    program = generate(Seeded(seed), half=seed % 3 == 0)
    for isa, width in ISAS.items():
        for s in (auto_schedule(list(program.outputs), width), random_schedule(program, Seeded(seed))):
            nest = te.lower(s, isa=isa).verify()
            assert not any(isinstance(x, For) and x.kind == "vectorized" for x in preorder(nest.stmt)), nest
            assert str(nest)
