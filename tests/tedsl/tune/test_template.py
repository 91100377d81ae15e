"""Templates and knobs."""

from __future__ import annotations

import dataclasses
import functools
import os
import pickle
import subprocess
import sys

import pytest

import tedsl as te
from tedsl.tune.template import FixedKnobs, Knob, Rejected, as_template


@te.template
def doubled(cfg, n):
    """Twice a vector."""
    i = te.axes("i")
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] * 2
    s = te.create_schedule(B)
    width = cfg.choice("width", [4, 8])
    cfg.require(n % width == 0, "whole vectors")
    outer, inner = s[B].split(i, factor=width)
    if cfg.boolean("vector"):
        s[B].vectorize(inner)
    else:
        s[B].pragma(outer, f"GCC unroll {cfg.integer('unroll', 1, 4)}")
    return s, [A, B]


def test_a_template_is_a_function_with_a_name():
    assert doubled.name == "doubled" and doubled.__doc__ == "Twice a vector."
    assert doubled.reference.endswith(":doubled")
    assert te.template(doubled) is doubled
    s, args = doubled(FixedKnobs({"width": 4, "vector": True}), 16)
    assert [t.name for t in args] == ["A", "B"] and len(s.history) == 2


def test_apply_asks_only_for_the_knobs_that_matter():
    s, _ = doubled.apply({"width": 8, "vector": False, "unroll": 3}, (16,))
    assert 'pragma("i_o", "GCC unroll 3")' in str(s.history)
    with pytest.raises(te.TuneError, match="no value for the knob unroll"):
        doubled.apply({"width": 8, "vector": False}, (16,))
    with pytest.raises(te.TuneError, match="the knob width cannot be 5; it is one of 4, 8"):
        doubled.apply({"width": 5, "vector": True}, (16,))
    with pytest.raises(te.TuneError, match=r"turns the configuration .* down: whole vectors"):
        doubled.apply({"width": 8, "vector": True}, (12,))


def test_knobs():
    given = {"c": (1, 2), "i": 6, "d": 12, "b": True, "p": "k i", "none": None}
    cfg = FixedKnobs(given)
    i, k = te.axes("i k")
    assert cfg.choice("c", [(1, 2), [3, 4]]) == (1, 2)
    assert cfg.integer("i", 2, 9, step=2) == 6
    assert cfg.divides("d", 24, lo=2) == 12
    assert cfg.boolean("b") is True
    assert [a.name for a in cfg.permutation("p", [i, k])] == ["k", "i"]
    assert cfg.choice("none", [None, "x"]) is None
    assert cfg.boolean("b") is True  # a second time: the same
    cfg.require(True)
    with pytest.raises(Rejected):
        cfg.require(False)


def test_options():
    assert list(Knob("i", None, 2, 8, 3).options) == [2, 5, 8]
    assert Knob("i", None, 2, 8, 3).ordered and Knob("c", (1, 2, 4)).ordered
    assert not Knob("c", (4, 2)).ordered and not Knob("c", (False, True)).ordered and not Knob("c", ("a",)).ordered
    assert True not in Knob("c", (0, 1)) and 1 in Knob("c", (0, 1)) and 3 not in Knob("i", None, 2, 8, 3)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda c: c.choice("x", []), "nothing to choose from"),
        (lambda c: c.choice("x", [1, 1]), "has a value twice"),
        (lambda c: c.choice("x", [object()]), "values are numbers, texts"),
        (lambda c: c.choice("", [1]), "no name of a knob"),
        (lambda c: c.integer("x", 3, 2), "whole numbers with lo <= hi"),
        (lambda c: c.integer("x", 0, 2, log=True), "lo >= 1 with log"),
        (lambda c: c.divides("x", 7, lo=2, hi=6), "7 has no divisor from 2 to 6"),
        (lambda c: c.divides("x", 0), "at least 1"),
        (lambda c: c.permutation("x", ["i", "i"]), "one to eight different axes are needed"),
        (lambda c: c.permutation("x", [3]), "neither an axis nor its name"),
        (lambda c: (c.choice("y", [1, 2]), c.choice("y", [1, 3])), "and again with 1, 3"),
    ],
)
def test_bad_knobs(ask, message):
    with pytest.raises(te.TuneError, match=message):
        ask(FixedKnobs({"x": 1, "y": 1}))


def test_what_is_no_template():
    with pytest.raises(te.TuneError, match="takes a function"):
        te.template(3)
    with pytest.raises(te.TuneError, match="the template no_such_module_at_all:f cannot be imported: No module named"):
        as_template("no_such_module_at_all:f")
    with pytest.raises(te.TuneError, match="give a function, or 'module:name'"):
        as_template("doubled")
    with pytest.raises(te.TuneError, match="returns a schedule and a list"):
        te.template(lambda cfg: 3).apply({})


def test_the_fingerprint_follows_the_text():
    def first(cfg):
        return cfg.choice("a", [1, 2])

    def second(cfg):
        return cfg.choice("a", [1, 3])

    assert te.template(first).fingerprint() == te.template(first).fingerprint() != te.template(second).fingerprint()


def test_the_fingerprint_follows_what_the_template_reads():
    text = """
def helper(cfg):
    return cfg.choice("a", OPTIONS["small"])

def f(cfg):
    return helper(cfg) + CONSTANT

def unused(): return 1
"""

    def fingerprint(text, **constants):
        space = {"__name__": "some_module", "OPTIONS": {"small": [1, 2]}, "CONSTANT": 3, **constants}
        exec(text, space)
        return te.template(space["f"]).fingerprint()

    one = fingerprint(text)
    assert one == fingerprint(text) == fingerprint(text.replace("return 1", "return 2"))
    others = [
        fingerprint(text.replace('"a"', '"b"')), fingerprint(text, CONSTANT=4), fingerprint(text, OPTIONS={"small": [1, 3]}),
    ]  # fmt: skip
    assert len({one, *others}) == 4


def test_the_fingerprint_follows_what_is_around_the_template():
    @dataclasses.dataclass
    class Options:
        width: int

    def made(dtype, helper=len, options=None):
        def f(cfg, n, kind="x", *, more=1):
            return dtype, helper(cfg), options

        return f

    def fingerprint(*given, **defaults):
        function = made(*given)
        function.__defaults__ = (defaults.get("kind", "x"),)
        function.__kwdefaults__ = {"more": defaults.get("more", 1)}
        return te.template(function).fingerprint()

    one = fingerprint("float32")
    assert one == fingerprint("float32")
    others = [
        fingerprint("float64"), fingerprint("float32", kind="y"), fingerprint("float32", more=2), fingerprint("float32", lambda cfg: 1),
        fingerprint("float32", lambda cfg: 2), fingerprint("float32", len, Options(4)), fingerprint("float32", len, Options(8)),
    ]  # fmt: skip
    assert len({one, *others}) == 8
    partly = [te.template(functools.partial(made("float32"), kind=kind)).fingerprint() for kind in "xyx"]
    assert partly[0] == partly[2] != partly[1]


def test_the_fingerprint_is_the_same_in_every_process():
    code = (
        "import tedsl as te; print(te.template(lambda cfg: cfg.choice('a', [1]) in {'x', 'y', 'z', 'w'}).fingerprint())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONSAFEPATH": "1"}, capture_output=True, check=True
        ).stdout
        for seed in "123"
    }  # fmt: skip
    assert len(found) == 1


def test_templates_of_modules_travel_by_name():
    from tedsl.tune.templates import matmul

    assert pickle.loads(pickle.dumps(matmul)) is matmul


def test_the_matmul_of_the_package_builds():
    import numpy as np

    from tedsl.tune.templates import matmul

    config = {"v1": 2, "v2": 16, "b1": 2, "b2": 1, "packed": True, "order": "rows of C first", "unroll": 2}
    f = te.build(*matmul.apply(config, (50,)))
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((50, 50)).astype("float32") for _ in range(2))
    np.testing.assert_allclose(f(a, b), a @ b.T, rtol=1e-4, atol=1e-4)
