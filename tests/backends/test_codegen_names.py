"""Names that mean something to C, to its headers or to the generated code itself."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

import tedsl as te
from tedsl.backends.c import toolchain
from tedsl.backends.codegen.names import legal, reserved

HOSTILE = """for double restrict main I NULL M_PI INT_MAX INT32_MAX RAND_MAX linux signbit random select div remainder hypot exp2f nearbyint copysign
    memcpy memset malloc free strlen index int64_t size_t omp_get_num_threads fault threads buffers sizes te_failed te_min_f32 f32x8 f32x16_u b8x4
    __x _ 1a""".split()


@pytest.mark.parametrize("first", range(0, len(HOSTILE), 5))
def test_hostile_names_of_tensors_axes_sizes_and_kernels(first: int) -> None:
    x = np.linspace(-2, 2, 37, dtype="float32")
    for name in HOSTILE[first : first + 5]:
        axis = te.axes([name])
        A, B = te.tensor(name, (te.var(name),)), te.tensor(name)
        B[axis] = te.hypot(A[axis], te.exp2(A[axis])) + A[axis] % 0.75
        kernel = te.build(B)
        np.testing.assert_allclose(kernel(x), te.evaluate(B, {A: x}), rtol=1e-6)
        assert not reserved(kernel.name)


@pytest.mark.parametrize("name", ["hypot", "remainder", "copysign", "exp2", "log2"])
def test_operators_on_whole_tensors_are_named_after_the_function(name: str) -> None:
    A, B = te.tensor("A", (5,)), te.tensor("B", (5,))
    a, b = np.float32([1, 2.5, -3, 4, 0.5]), np.float32([2, -1, 1.5, 0.25, 3])
    binary = {"hypot": te.hypot, "copysign": te.copysign, "remainder": lambda x, y: x % y}.get(name)
    T = getattr(te, name)(abs(A)) if binary is None else binary(A, B)
    inputs = {A: a, B: b}
    assert T.name == name
    np.testing.assert_allclose(te.build(T)(*(inputs[t] for t in T.inputs)), te.evaluate(T, inputs), rtol=1e-6)


def test_plain_names_stay_as_they_are() -> None:
    for name in "A x W_t x_r h_l i_o total out mask memory strides row n m stride select1 B".split():
        assert legal(name) == name


def test_every_name_of_the_headers_is_reserved() -> None:
    text = "\n".join(f"#include <{header}>" for header in ("math.h", "stdint.h", "stdlib.h", "string.h"))
    command = [*toolchain.find().command, "-std=gnu11", "-E", "-P", "-x", "c", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    declared = set(re.findall(r"\b([a-zA-Z]\w*)\s*\((?!\*)[^;{}]*\)[^;{}]*;", done.stdout))
    assert len(declared) > 100
    missing = {n for n in declared if not reserved(n) and not n.startswith("_")}
    assert not missing, f"C's headers declare {sorted(missing)}"
