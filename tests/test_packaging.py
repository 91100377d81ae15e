"""What is shipped: an sdist that builds, a wheel that holds all of the package and nothing else, one version."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tedsl.version import __version__

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"tedsl": "tedsl", "tedsl/schedule": "schedule", "tedsl/backends": "backends", "tedsl/autodiff": "autodiff"}
BUILT = {".so", ".pyc"}

# Every module is imported and a kernel is built and called, from outside the tree.
TRY = """
import importlib, pathlib, pkgutil, sys
import numpy as np, tedsl as te
assert pathlib.Path(te.__file__).is_relative_to(sys.prefix), te.__file__
for module in pkgutil.walk_packages(te.__path__, "tedsl."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from tedsl.demo import digits
assert digits()[0].shape == (1797, 64)
i, j = te.axes("i j")
A, R = te.tensor("A", (3, 4)), te.tensor("R")
R[i] = te.sum(A[i, j])
np.testing.assert_array_equal(te.build(R)(np.ones((3, 4), "float32")), [4, 4, 4])
print(te.__version__)
"""


def run(*words: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def expected_members() -> set[str]:
    """What the wheel has to hold, by the names that it has there."""
    return {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in BUILT and path.name != "runtime.c"
    }


def copy_of_the_tree(target: Path) -> Path:
    """The files that make up the sdist, without what builds have left among them."""
    target.mkdir()
    clutter = shutil.ignore_patterns("*.so", "__pycache__", "runtime.c", ".*")
    for name in [*FOLDERS.values(), "tests", "docs", "tutorials", "benchmarks"]:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=clutter)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, target)
    return target


@pytest.mark.slow
def test_sdist_and_wheel_build_and_install(tmp_path: Path) -> None:
    tree, dist = copy_of_the_tree(tmp_path / "tree"), tmp_path / "dist"
    dist.mkdir()
    build = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
    run(sys.executable, "-c", build, "build_sdist", dist, cwd=tree)
    (sdist,) = dist.glob("*.tar.gz")
    assert sdist.name == f"tedsl-{__version__}.tar.gz"
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(tmp_path / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    for name in ("LICENSE", "README.md", "Makefile", "setup.py", "tests/conftest.py", "tests/test_packaging.py"):
        assert name in names
    assert not any(name.endswith((".so", ".pyc", "runtime.c")) for name in names)

    # The wheel is made from the sdist, so that nothing of the tree can be missing from it unnoticed.
    (source,) = (tmp_path / "unpacked").iterdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", dist, source, cwd=tmp_path)
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        members = {name for name in archive.namelist() if ".dist-info/" not in name}
    extensions = {name for name in members if name.endswith(".so")}
    assert members - extensions == expected_members()
    assert len(extensions) == 1 and extensions.pop().startswith("tedsl/backends/c/runtime.")

    # A fresh environment; only what tedsl needs of others is borrowed, by a path that does not bring our own editable
    # installation along (its .pth file is not read from there).
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False, symlinks=True)
    python = fresh / "bin" / "python"
    (site,) = fresh.glob("lib/python3*/site-packages")
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    import numpy as np

    (site / "borrowed.pth").write_text(f"{Path(np.__file__).parent.parent}\n")
    cache = str(tmp_path / "cache")
    assert run(python, "-c", TRY, cwd=tmp_path, TEDSL_CACHE_DIR=cache).strip() == __version__
    assert run(fresh / "bin" / "tedsl", "--version", cwd=tmp_path).strip() == f"tedsl {__version__}"


def test_the_version_is_written_once() -> None:
    assert importlib.metadata.version("tedsl") == __version__, "installed for another version: run make again"
    pattern = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.])")
    suspects = [ROOT / "setup.py", ROOT / "pyproject.toml"]
    for folder in FOLDERS.values():
        suspects += (ROOT / folder).rglob("*.py")
    holders = [path.relative_to(ROOT).as_posix() for path in suspects if pattern.search(path.read_text("utf-8"))]
    assert holders == ["tedsl/version.py"]


def test_every_package_folder_is_a_package() -> None:
    """A folder without __init__.py would work in an editable installation and be missing from a wheel."""
    for folder in FOLDERS.values():
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), f"{path.parent.relative_to(ROOT)} has no __init__.py"
