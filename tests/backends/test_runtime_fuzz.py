"""Random arguments: a call gives NumPy's answer, or a CallError and nothing is written; it never fails otherwise."""

from __future__ import annotations

import warnings

import c_modules
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tedsl.backends.c.kernel import build_module
from tedsl.lang.errors import CallError, CompactionWarning, InternalError

KERNELS = {}


def kernel(name: str):
    if name not in KERNELS:
        module = {
            "add": c_modules.add,
            "in place": lambda: c_modules.add(inplace=True),
            "turn": c_modules.transpose,
            "spread": c_modules.spread,
            "two": c_modules.two_results,
        }[name]()
        KERNELS[name] = build_module(module)
    return KERNELS[name]


@st.composite
def views(draw, memory: np.ndarray, ndim: int):
    """A view into a block of memory: any offset, steps, order; sometimes swapped, read-only or of another dtype."""
    dtype = draw(st.sampled_from([memory.dtype] * 6 + [memory.dtype.newbyteorder(), np.dtype("i1"), np.dtype("f2")]))
    shape = tuple(draw(st.lists(st.integers(0, 4), min_size=ndim, max_size=ndim)))
    steps = []
    plain = draw(st.booleans())
    for axis in range(ndim):
        natural = int(np.prod(shape[axis + 1 :])) * dtype.itemsize
        steps.append(natural if plain else draw(st.sampled_from([0, 1, 2, 3, 4, 8])) * dtype.itemsize)
    if draw(st.integers(0, 3)) == 0:
        steps.reverse()
    reach = sum((n - 1) * s for n, s in zip(shape, steps) if n) + dtype.itemsize
    room = memory.nbytes - reach
    offset = draw(st.sampled_from([0, 8, 16, 64, 128, 3]))
    view = np.ndarray(shape, dtype, memory.view("u1").data, min(offset, room), tuple(steps))
    if draw(st.integers(0, 9)) == 0:
        view.flags.writeable = False
    return view


REFERENCE = {
    "add": lambda x, y: (x + y,),
    "in place": lambda x, y: (x + y,),
    "turn": lambda x: (x.T,),
    "spread": lambda x: (x,),
    "two": lambda x: (x + 1, x * 2),
}


def same(results, wanted) -> None:
    for result, want in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(result, want)


@settings(max_examples=1500)
@given(st.data())
def test_random_arguments(data):
    name = data.draw(st.sampled_from(list(REFERENCE)))
    call = kernel(name)
    dtype = {"add": "f8", "in place": "f8", "turn": "f4", "spread": "f4", "two": "i4"}[name]
    ndim = 2 if name == "turn" else 1
    memory = np.arange(64).astype(dtype)
    inputs = [data.draw(views(memory, ndim)) for _ in call.inputs]
    if data.draw(st.booleans()):  # agree more often than by chance
        inputs = [inputs[0]] * len(inputs)
    outs = [
        data.draw(st.none() | views(memory if data.draw(st.booleans()) else memory.copy(), ndim)) for _ in call.outputs
    ]
    if data.draw(st.integers(0, 4)) == 0:
        outs[0] = inputs[0]
    given_out = data.draw(st.sampled_from([None, tuple(outs)]))
    before = [None if o is None else np.array(o) for o in outs]
    wanted = REFERENCE[name](*[np.array(x) for x in inputs]) if len({x.shape for x in inputs}) == 1 else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompactionWarning)
        try:
            results = call(*inputs, out=given_out)
        except CallError as e:
            assert not isinstance(e, InternalError), e
            for out, old in zip(outs, before):
                if out is not None:
                    np.testing.assert_array_equal(np.array(out), old)
            return
    assert wanted is not None
    results = results if isinstance(results, tuple) else (results,)
    same(results, wanted)
    for out, result in zip(given_out or (), results):
        assert out is None or out is result
