"""Random legal schedules of random programs: the same results as the reference, the same bits on one and two threads,
the same nest from the history; a refused step leaves nothing behind.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from program_parts import Drawn, Program, Seeded
from programs import generate
from schedules import STEPS, Walk, check_schedule, random_schedule

import tedsl as te

# each takes a compiler: dozens, and as many as asked for in `make fuzz`
EXAMPLES = settings().max_examples if os.environ.get("TEDSL_FUZZ_EXAMPLES") else 20


@st.composite
def cases(draw: Any) -> tuple[Program, Any, str | None]:
    source = Drawn(draw)
    program = generate(source)
    return program, random_schedule(program, source), source.choice(["avx2", "sse2", None])


@pytest.mark.fuzz
@settings(max_examples=EXAMPLES)
@given(cases())
def test_schedules_keep_the_meaning(case: tuple[Program, Any, str | None]) -> None:
    program, schedule, isa = case
    note(f"{program}\n{schedule.history}")
    check_schedule(program, schedule, isa)


@pytest.mark.parametrize("seed", range(5000, 5040))
def test_seeded_schedules_keep_the_meaning(seed: int) -> None:
    program = generate(Seeded(seed))
    check_schedule(program, random_schedule(program, Seeded(seed)))


def test_every_primitive_is_drawn_done_and_refused() -> None:
    done: dict[str, int] = {}
    refused = 0
    for seed in range(150):
        program = generate(Seeded(seed))
        walk = Walk(te.create_schedule(list(program.outputs)), Seeded(seed))
        walk.steps(12)
        refused += walk.refused
        for name, count in walk.done.items():
            done[name] = done.get(name, 0) + count
    assert set(done) == set(STEPS), set(STEPS) - set(done)
    assert refused > 100


def test_a_schedule_that_changes_the_meaning_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: it does when splits lose their tails."""
    from tedsl.schedule import loop_tree

    monkeypatch.setattr(loop_tree, "ceil_div", lambda a, b, divides=False: a // b)
    i = te.axes("i")
    A, B = te.tensor("A", (5,)), te.tensor("B")
    B[i] = A[i] + 1
    s = te.create_schedule([B])
    s[B].split(i, factor=2)
    with pytest.raises(AssertionError, match="B scheduled"):
        check_schedule(Program((B,), {A: np.ones(5, "float32")}, {}, (0.0,)), s)
