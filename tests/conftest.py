"""What every test runs under: the installed package, a kernel cache of its own, no traces left behind."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The root's ./tedsl is only a part of the package: neither this process nor a child may import it from there.
sys.path[:] = [entry for entry in sys.path if entry not in ("", os.getcwd())]
os.environ["PYTHONSAFEPATH"] = "1"
# Several test processes share the cores: threads that spin while they wait would take them from one another.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

_common = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("tedsl", _common, derandomize=True)
# `make fuzz`: as many examples as asked for, drawn from a seed. Tests marked fuzz leave max_examples to the profile.
settings.register_profile("fuzz", _common, max_examples=int(os.environ.get("TEDSL_FUZZ_EXAMPLES", "1000")))
settings.load_profile("tedsl")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is generated now to tests/golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Assert that a text is the one kept in tests/golden under the name of the test; with --update-golden, keep it."""
    name = request.node.name.removeprefix("test_").replace("[", "-").rstrip("]")

    def compare(text: str, suffix: str) -> None:
        path = Path(__file__).parent / "golden" / f"{name}{suffix}"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"{path.name} is not there yet: run with --update-golden, and read what it holds"
        assert text == path.read_text(), (
            f"other than {path.name}; if it should be, run with --update-golden and read it"
        )

    return compare


def pytest_configure(config: pytest.Config) -> None:
    """One temporary folder for the whole run; the processes of pytest-xdist inherit it through the environment."""
    if hasattr(config, "workerinput"):
        return
    scratch = tempfile.mkdtemp(prefix="tedsl-tests-")
    os.environ["TEDSL_CACHE_DIR"] = os.path.join(scratch, "cache")
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = os.path.join(scratch, "hypothesis")
    config.add_cleanup(lambda: shutil.rmtree(scratch, ignore_errors=True))


def pytest_collection_finish() -> None:
    """Python 3.10 does not know PYTHONSAFEPATH, and looks for packages where it is started: elsewhere than in the root."""
    if sys.version_info < (3, 11):
        os.chdir(os.path.dirname(os.environ["TEDSL_CACHE_DIR"]))


@pytest.fixture(autouse=True)
def functions_of_its_own() -> Iterator[None]:
    """What a test registers with te.register_function goes with it: other tests look at all functions that there are."""
    from tedsl.autodiff.derivatives import TABLE
    from tedsl.lang.functions import FUNCTIONS

    kept = [(table, dict(table)) for table in (FUNCTIONS, TABLE)]
    yield
    for table, before in kept:
        if table != before:
            table.clear()
            table.update(before)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that gives the same numbers in every run."""
    return np.random.default_rng(0)


@pytest.fixture
def cache_folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty kernel cache for this test alone, seen by its child processes too."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TEDSL_CACHE_DIR", str(folder))
    yield str(folder)
