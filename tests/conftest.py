"""What every test runs under: the installed package, a kernel cache of its own, no traces left behind."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

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


def pytest_configure(config: pytest.Config) -> None:
    """One temporary folder for the whole run; the processes of pytest-xdist inherit it through the environment."""
    if hasattr(config, "workerinput"):
        return
    scratch = tempfile.mkdtemp(prefix="tedsl-tests-")
    os.environ["TEDSL_CACHE_DIR"] = os.path.join(scratch, "cache")
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = os.path.join(scratch, "hypothesis")
    config.add_cleanup(lambda: shutil.rmtree(scratch, ignore_errors=True))


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
