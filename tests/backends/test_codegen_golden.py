"""The C of typical programs, kept in tests/golden and read by people; the same test compiles it strictly and runs it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_cases import CASES
from helpers import compare, inputs_in_order

import tedsl as te
from tedsl import hardware
from tedsl.backends.c import toolchain

STRICT = "-std=gnu11 -O1 -Wall -Wextra -Werror -Wno-unknown-pragmas -Wno-psabi -c"


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
