"""Random programs: the reference against an interpreter of single elements, compiled code against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import check_compiled, check_reference
from hypothesis import given, note
from hypothesis import strategies as st
from program_kinds import KINDS
from program_parts import Drawn, Program, Seeded
from programs import generate
from step_programs import drawn

from tedsl.backends.reference import equations, functions, reduce
from tedsl.lang.expr import Access, Apply, Reduce, walk
from tedsl.lang.functions import FUNCTIONS


@st.composite
def programs(draw: Any) -> Program:
    return generate(Drawn(draw))


@pytest.mark.fuzz
@given(programs())
def test_reference_gives_every_element(program: Program) -> None:
    note(str(program))
    check_reference(program)


@pytest.mark.fuzz
@given(programs())
def test_compiled_code_computes_what_the_reference_does(program: Program) -> None:
    note(str(program))
    check_compiled(program)


@pytest.mark.parametrize("seed", range(200))
def test_reference_gives_every_element_of_seeded_programs(seed: int) -> None:
    check_reference(generate(Seeded(seed), half=True))


@pytest.mark.parametrize("seed", range(20))
def test_reference_gives_every_element_of_recurrences_and_scatter_adds(seed: int) -> None:
    check_reference(drawn(Seeded(seed)))


def test_programs_are_reproducible() -> None:
    a, b = (generate(Seeded(7)) for _ in range(2))
    assert str(a) == str(b)


def test_programs_have_everything_in_them() -> None:
    """What the generator never draws would be tested by nobody."""
    found, reducers, dtypes, ranks, facts = set(), set(), set(), set(), set()
    for seed in range(1500):
        program = generate(Seeded(seed), half=True)
        stack, seen = list(program.outputs), set()
        while stack:
            tensor = stack.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            dtypes.add(tensor.dtype)
            ranks.add(tensor.rank)
            for part in tensor.parts:
                for node in walk(*part.values):
                    if isinstance(node, Access):
                        stack.append(node.tensor)
                        if node.tensor is tensor:
                            facts.add("recurrence")
                        if any(isinstance(n, Access) for e in node.indices for n in walk(e)):
                            facts.add("gather")
                    elif isinstance(node, Apply):
                        found.add(node.function)
                    elif isinstance(node, Reduce):
                        reducers.add(node.reducer.name)
                        facts |= {"where="} if node.where is not None else set()
                        facts |= {"nested"} if any(isinstance(n, Reduce) for n in walk(*node.children)) else set()
            facts |= {"several parts"} if len(tensor.parts) > 1 else set()
            facts |= {"several tensors"} if tensor.definition and len(tensor.definition.tensors) > 1 else set()
            facts |= {"layout"} if tensor.strides else set()
        facts |= {"empty"} if any(a.size == 0 for a in program.inputs.values()) else set()
        facts |= {"symbolic"} if program.sizes else set()
    # those with poles, narrow domains or machine-dependent results have tests of their own
    left_out = "machine_minimum machine_maximum arctan2 tan arcsin arccos arccosh arctanh sinh cosh exp2 log2 log10"
    assert set(FUNCTIONS) - found == set(left_out.split())
    assert {"sum", "prod", "min", "max", "any", "all", "argmin", "argmax"} <= reducers
    assert len(reducers) > 8
    assert dtypes >= {
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
    }
    assert ranks >= {0, 1, 2, 3}
    assert facts == {
        "recurrence",
        "gather",
        "where=",
        "nested",
        "several parts",
        "several tensors",
        "layout",
        "empty",
        "symbolic",
    }
    assert len(KINDS) > 10


def _nth(pair: Any) -> Any:
    return lambda name, p, q: (pair(p[0], q[0]), p[1])


@pytest.mark.parametrize(
    "table,name,wrong",
    [
        (functions.FUNCTIONS, "add", np.subtract),
        (functions.FUNCTIONS, "remainder", np.fmod),
        (functions.FUNCTIONS, "less_equal", np.less),
        (functions.FUNCTIONS, "maximum", np.fmax),
        (functions.FUNCTIONS, "tanh", lambda v: (np.tanh(v) * 1.001).astype(v.dtype)),
        (functions.FOLDS, "sum", np.maximum),
        (functions.FOLDS, "all", np.logical_or),
        (vars(reduce), "better", _nth(np.maximum)),
        (vars(equations), "_covers", lambda part, block: np.zeros((), bool)),
    ],
    ids=["add", "remainder", "less_equal", "maximum", "tanh", "sum", "all", "argmax", "equations"],
)
def test_a_wrong_result_is_noticed(
    table: dict[str, Any], name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks of random programs can fail: they do with one thing broken."""
    monkeypatch.setitem(table, name, wrong)
    with pytest.raises(AssertionError):
        for seed in range(1500):
            check_reference(generate(Seeded(seed)))
