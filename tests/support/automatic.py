"""The automatic schedule of an operator, built and compared with the reference."""

from __future__ import annotations

from typing import Any

import numpy as np

import tedsl as te


def values(shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Any:
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if "int" in dtype:
        return rng.integers(-4 if dtype[0] == "i" else 0, 5, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def agrees(what: Any, isa: str | None = None, sizes: dict[str, int] | None = None, tolerance: float = 2e-4) -> Any:
    """Build what the automatic schedule gives, compare with the reference in one and two threads, and return the schedule."""
    vector_bytes = None if isa is None else {"sse2": 16, "avx2": 32, "avx512": 64}[isa]
    s = te.auto_schedule(what, vector_bytes)
    te.lower(s).verify()
    assert te.create_schedule(what).replay(s.to_json()).to_json() == s.to_json()
    kernel = te.build(s, isa=isa)
    rng = np.random.default_rng(7)
    outputs = list(what) if isinstance(what, (list, tuple)) else [what]
    inputs = {t.name: t for out in outputs for t in out.inputs}
    fixed = sizes or {}
    arrays = {
        name: values(tuple(d if isinstance(d, int) else fixed[d.name] for d in t.shape), t.dtype, rng)
        for name, t in inputs.items()
    }
    given = [arrays[name] for name in kernel.inputs]
    want = te.evaluate(what, {t: arrays[name] for name, t in inputs.items()})
    several = isinstance(want, tuple)
    got = [kernel(*given, threads=threads) for threads in (1, 2)]
    pairs = zip(*([g if several else (g,) for g in got]), want if several else (want,), strict=True)
    for one, two, expected in pairs:
        assert np.asarray(one).shape == np.asarray(expected).shape
        np.testing.assert_array_equal(one, two)
        if np.asarray(expected).dtype.kind == "f":
            np.testing.assert_allclose(one, expected, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(one, expected)
    return s


def inputs(*shapes: tuple[Any, ...], dtype: str = "float32") -> list[Any]:
    return [te.tensor("ABCDE"[m], shape, dtype=dtype) for m, shape in enumerate(shapes)]


def defined(name: str, left: Any, value: Any) -> Any:
    result = te.tensor(name)
    result[left] = value
    return result
