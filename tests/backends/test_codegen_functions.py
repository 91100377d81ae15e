"""Every function of the language in every type, scalar and in vectors of every width, against the reference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tedsl as te
from tedsl import hardware
from tedsl.backends.c import toolchain
from tedsl.lang import dtypes
from tedsl.lang.functions import FUNCTIONS, apply
from tedsl.schedule.loops.ir import For, preorder
from tedsl.schedule.loops.text import nest_text

i = te.axes("i")
INF, NAN = float("inf"), float("nan")
ISAS = [isa for isa in hardware.INSTRUCTION_SETS if hardware.level(isa) in (isa, "generic")]
OWN = [name for name, f in FUNCTIONS.items() if f.c is None]
# the correctly rounded: C and NumPy cannot differ
EXACT = {
    "add", "subtract", "multiply", "divide", "negative", "absolute", "floor", "ceil", "trunc", "rint", "sqrt",
    "copysign", "minimum", "maximum", "sign", "where", "floor_divide", "remainder",
}  # fmt: skip
ULPS = 8
DTYPES = [d for d in dtypes.DTYPES if d != "bfloat16"]  # no type of NumPy's own: it has tests of its own


def specials(dtype: str) -> list[Any]:
    if dtype == "bool":
        return [False, True]
    if dtypes.is_float(dtype):
        info = np.finfo(dtype)
        small = float(info.smallest_subnormal)
        found = [
            0.0,
            1.0,
            0.5,
            1.5,
            2.5,
            3.7,
            7.0,
            100.0,
            1e-3,
            31.0,
            small,
            3 * small,
            float(info.tiny),
            float(info.max),
            INF,
        ]
        return [*found, *(-v for v in found), NAN]
    low, high = dtypes.limits(dtype)
    bits = dtypes.BITS[dtype]
    found = [0, 1, 2, 3, 5, 7, 13, bits - 1, bits, bits + 1, -1, -2, -3, -7, -bits, low, low + 1, high, high - 1]
    return sorted({v for v in found if low <= v <= high})


def arrays(dtype: str, arity: int) -> tuple[np.ndarray, ...]:
    """All tuples of special values."""
    values = np.array(specials(dtype), dtype)
    return tuple(a.reshape(-1).copy() for a in np.meshgrid(*[values] * arity, indexing="ij"))


def outputs(function: str) -> tuple[list[te.Tensor], dict[te.Tensor, np.ndarray]]:
    """The function in each type that it takes."""
    made, inputs = [], {}
    for dtype in DTYPES:
        arity = FUNCTIONS[function].arity
        data = arrays(dtype, arity if function != "where" else 2)
        if function == "where":
            data = (np.arange(len(data[0])) % 3 == 0, *data)
        kinds = [a.dtype.name for a in data]
        tensors = [
            te.tensor(f"{'XYZ'[n]}_{dtype}", a.shape, k) for n, (a, k) in enumerate(zip(data, kinds, strict=True))
        ]
        try:
            value = apply(function, *(t[i] for t in tensors))
        except te.DefinitionError:
            continue
        result = te.tensor(f"R_{dtype}")
        result[i] = value
        made.append(result)
        inputs.update(zip(tensors, data, strict=True))
    return made, inputs


def vectorised(tensors: list[te.Tensor]) -> Any:
    s = te.create_schedule(tensors)
    for t in tensors:
        _, inner = s[t].split(i, factor=47)  # 32 + 8 + 4 + 2 + 1 lanes
        s[t].vectorize(inner)
    return s


def compare(got: np.ndarray, want: np.ndarray, exact: bool, what: str) -> None:
    assert got.dtype == want.dtype and got.shape == want.shape, what
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=f"{what}: NaN")
    good = ~np.isnan(want)
    if exact:
        np.testing.assert_array_equal(got[good], want[good], err_msg=what)
        return
    np.testing.assert_array_equal(np.isinf(got[good]), np.isinf(want[good]), err_msg=f"{what}: infinities")
    eps, tiny = np.finfo(want.dtype).eps, float(np.finfo(want.dtype).smallest_subnormal)
    np.testing.assert_allclose(got[good], want[good], rtol=ULPS * float(eps), atol=ULPS * tiny, err_msg=what)


@pytest.fixture(autouse=True)
def compiled_quickly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all optimisations for the widest vectors of this machine only: the code is the compiler's to judge there."""
    how = getattr(request.node, "callspec", None) and request.node.callspec.params.get("how")
    if how and how not in ("scalar", ISAS[-1]):
        monkeypatch.setattr(toolchain, "COMMON", tuple("-O1" if flag == "-O3" else flag for flag in toolchain.COMMON))


@pytest.mark.parametrize("first", range(0, len(OWN), 6), ids=lambda n: "-".join(OWN[n : n + 6]))
@pytest.mark.parametrize("how", ["scalar", *ISAS])
def test_functions(first: int, how: str) -> None:
    """Six to a kernel: most of the time is the compiler's start."""
    made, inputs, functions = [], {}, []
    for function in OWN[first : first + 6]:
        own, arrays = outputs(function)
        assert own
        made += own
        inputs |= arrays
        functions += [function] * len(own)
    with np.errstate(all="ignore"):
        want = te.evaluate(made, inputs)
        s = te.create_schedule(made) if how == "scalar" else vectorised(made)
        kernel = te.build(s, isa=None if how == "scalar" else how)
        got = kernel(*(inputs[t] for t in te.lang.program.inputs_of(tuple(made))))
    for function, tensor, g, w in zip(functions, made, got, want, strict=True):
        # the machine's own min and max may give either operand where one is NaN
        if function.startswith("machine_"):
            ok = ~np.isnan(w)
            g, w = g[ok], w[ok]
        compare(g, w, function in EXACT, f"{function} {tensor.name} {how}")


@pytest.mark.parametrize("how", ["scalar", *ISAS])
@pytest.mark.parametrize("source", DTYPES)
def test_casts(source: str, how: str) -> None:
    """To every type; floats to integers where the value is in range, which is all that C and NumPy define."""
    made, inputs = [], {}
    for target in DTYPES:
        values = np.array(specials(source) * 3, source)
        if dtypes.is_float(source) and dtypes.is_integer(target):
            low, high = dtypes.limits(target)
            wide = values.astype("float64")
            values = values[np.isfinite(values) & (wide > low - 1) & (wide < high)]
        X, R = te.tensor(f"X_{target}", values.shape, source), te.tensor(f"R_{target}")
        R[i] = te.cast(X[i], target)
        if source == target:
            continue
        made.append(R)
        inputs[X] = values
    with np.errstate(all="ignore"):
        want = te.evaluate(made, inputs)
    s = te.create_schedule(made) if how == "scalar" else vectorised(made)
    got = te.build(s, isa=None if how == "scalar" else how)(*inputs.values())
    for tensor, g, w in zip(made, got, want, strict=True):
        compare(g, w, True, f"{source} to {tensor.name} {how}")


MIXED = {
    "int8 to float32": lambda b, c, s, f, d: te.cast(c, "float32") * f,
    "a mask by another width": lambda b, c, s, f, d: te.where(b, f, -f),
    "float64 where on int32": lambda b, c, s, f, d: te.where(s > 2, d, d * 2),
    "int8 where on float64": lambda b, c, s, f, d: te.where(d < 0.5, c, te.cast(1, "int8")),
    "and of masks": lambda b, c, s, f, d: (f < 0.5) & (d > 0.0) | b,
    "count of a mask": lambda b, c, s, f, d: te.cast(f < 0.5, "int64") + te.cast(b, "int64"),
    "float32 with float64": lambda b, c, s, f, d: f + d * s,
    "bool result of int8": lambda b, c, s, f, d: (c >= 0) ^ b,
    "nested where": lambda b, c, s, f, d: te.where(b & (s < 3), te.where(c > 0, f, 2.0), te.where(d < 0, 1.0, f)),
    "the axis itself": lambda b, c, s, f, d: te.cast(te.where(i % 3 == 1, i, 2 * i), "float32") + f,
    "isnan of float64 on float32": lambda b, c, s, f, d: te.where(te.isnan(d), te.cast(0, "float32"), f),
    "isfinite": lambda b, c, s, f, d: te.isfinite(f) | te.isinf(d),
    "infinities counted": lambda b, c, s, f, d: (
        te.cast(te.isinf(d), "int8") + te.cast(te.isfinite(f / 0), "int32") + te.cast(te.isnan(d), "int32")
    ),
    "int64 to float32": lambda b, c, s, f, d: te.cast(te.cast(s, "int64") * 3, "float32"),
    "uint8 wraps": lambda b, c, s, f, d: te.cast(c, "uint8") + te.cast(200, "uint8"),
    "to bool": lambda b, c, s, f, d: te.cast(s, "bool"),
    "bool equals bool": lambda b, c, s, f, d: b == (f < 0.5),
}


@pytest.mark.parametrize("how", ["scalar", *ISAS])
def test_mixed_widths(how: str, rng: np.random.Generator) -> None:
    n = 75
    arrays = [
        rng.integers(0, 2, n).astype(bool),
        rng.integers(-128, 128, n).astype("int8"),
        rng.integers(-5, 6, n).astype("int32"),
        rng.standard_normal(n).astype("float32"),
        rng.choice([NAN, INF, -INF, 0.25, -1.5, 1e300], n),
    ]
    inputs = {te.tensor(name, (n,), a.dtype): a for name, a in zip("BCSFD", arrays, strict=True)}
    made = []
    for name, rule in MIXED.items():
        result = te.tensor(name)
        result[i] = rule(*(t[i] for t in inputs))
        made.append(result)
    s = te.create_schedule(made) if how == "scalar" else vectorised(made)
    kernel = te.build(s, isa=None if how == "scalar" else how)
    got = kernel(*(inputs[t] for t in te.lang.program.inputs_of(tuple(made))))
    for tensor, g, w in zip(made, got, te.evaluate(made, inputs), strict=True):
        compare(g, w, tensor.name != "float32 with float64", f"{tensor.name} {how}")


def test_every_pair_of_functions_and_types_is_there() -> None:
    found = {f: {t.dtype for t in outputs(f)[0]} for f in OWN}
    assert len(found) > 40
    assert all(len(kinds) >= 2 for f, kinds in found.items() if FUNCTIONS[f].kind not in ("compare", "test")), found
    assert set(itertools.chain(*found.values())) == set(DTYPES)


def kept_scalar(s: te.Schedule, isa: str = "avx2") -> list[str]:
    """The vectorised loops of which there are no vectors, as text."""
    nest = te.lower(s, isa=isa).verify()
    return [nest_text(loop) for loop in preorder(nest.stmt) if isinstance(loop, For) and loop.no_vectors]


def test_mixed_widths_are_vectors() -> None:
    tensors = [
        te.tensor(n, (75,), d) for n, d in zip("BCSFD", ["bool", "int8", "int32", "float32", "float64"], strict=True)
    ]
    for name, rule in MIXED.items():
        result = te.tensor(name)
        result[i] = rule(*(t[i] for t in tensors))
        assert not kept_scalar(vectorised([result])), name


j, k = te.axes("j k")
n, m = te.var("n"), te.var("m")
# what lies at no fixed distance is read and written lane by lane
SCATTERED: dict[str, Any] = {
    "a column of rows as long as a size": lambda A, X: A[i, j] * 2,
    "a transposed read": lambda A, X: te.exp(A[i, j]),
    "places told by data": lambda A, X: te.sqrt(te.abs(A[X[i], j])) + 1,
    "two to a row": lambda A, X: A[i // 2, j] + A[i % 2, j],
    "a sum over rows": lambda A, X: te.sum(A[i, k]) + j,
}


@pytest.mark.parametrize("name", SCATTERED)
@pytest.mark.parametrize("isa", ISAS)
def test_lanes_at_no_fixed_distance(name: str, isa: str, rng: np.random.Generator) -> None:
    A, X, R = te.tensor("A", (n, m)), te.tensor("X", (n,), "int32"), te.tensor("R", (n, m))
    R[i, j] = SCATTERED[name](A, X)
    s = te.create_schedule(R)
    for stage in s.stages:  # of a reduction and of what is made of it
        if "i" in [a.name for a in stage.axis]:
            _, inner = stage.split(i, factor=16)
            if "j" in [a.name for a in stage.axis]:
                stage.reorder(i.name + "_o", j, inner)
            stage.vectorize(inner)
    a, x = rng.standard_normal((37, 5)).astype("float32"), rng.integers(0, 37, 37).astype("int32")
    inputs = {A: a, X: x}
    got = te.build(s, [A, X], isa=isa)(a, x)
    np.testing.assert_allclose(got, te.evaluate(R, inputs), rtol=1e-5, atol=1e-5)
    kept = kept_scalar(s, isa)
    assert all("minimum" in text or "n - " in text for text in kept), kept
