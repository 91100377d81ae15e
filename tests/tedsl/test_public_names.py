"""The names of the package: all there, each imported when it is first used."""

from __future__ import annotations

import subprocess
import sys
import types
from importlib.util import find_spec

import pytest

import tedsl as te

HEAVY = ("sympy", "rich", "Cython", "setuptools", "matplotlib", "optuna", "dask", "torch", "jax", "hypothesis")


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def test_the_names_are_listed_once() -> None:
    assert len(set(te.__all__)) == len(te.__all__)
    assert set(te.__all__) <= set(dir(te))
    assert "matmul" not in dir(te)


@pytest.mark.parametrize("name", te.__all__)
def test_every_name_is_there(name: str) -> None:
    module = te._LAZY.get(name)
    if module and find_spec(module) is None:
        pytest.skip(f"{module} is not part of this installation")
    value = getattr(te, name)
    assert isinstance(value, types.ModuleType) == (module == "")


def test_aliases_and_builtins() -> None:
    assert te.abs is te.absolute and te.pow is te.power and te.round is te.rint
    assert te.sum is not sum


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'tedsl' has no attribute 'matmul'"):
        te.matmul  # noqa: B018


@pytest.mark.parametrize("name", ["op", "build", "tune"])
def test_a_function_stays_one_when_its_module_is_imported(name: str) -> None:
    for code in (
        f"import tedsl.{name}, tedsl; print(callable(tedsl.{name}))",
        f"import tedsl; tedsl.{name}; import tedsl.{name}; print(callable(tedsl.{name}))",
        f"import tedsl; from tedsl.{name} import {name}; print(callable(tedsl.{name}) and tedsl.{name} is {name})",
    ):
        assert run(code) == "True"


def test_a_worker_process_of_the_tuner_does_not_import_the_tuner() -> None:
    code = "import sys, tedsl.tune.worker; print(*(n for n in ('tuner', 'report') if 'tedsl.tune.' + n in sys.modules))"
    assert run(code) == ""


def test_the_import_is_light() -> None:
    code = "import sys, numpy; before = set(sys.modules); import tedsl; print(*sorted(set(sys.modules) - before))"
    imported = run(code).split()
    assert "tedsl" in imported
    assert not [m for m in imported if m.partition(".")[0] in HEAVY]
    assert len(imported) < 25, "what a definition does not need is imported when it is first used"
