"""What the Makefile does on machines that differ: old Pythons, no Python, an environment that is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("bash", "sh", "make", "find", "touch", "awk")

pytestmark = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason="needs make and a POSIX shell's tools")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder to be the whole PATH: the tools that make needs, and a python3 that is too old."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    old = folder / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what it says to being asked for 3.10
    old.chmod(0o755)
    return folder


def make(path: Path, environment: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if name not in ("PYTHON", "VENV", "MAKEFLAGS", "MAKELEVEL")
    }
    return subprocess.run(
        ["make", f"VENV={environment}", *words],
        cwd=ROOT,
        env={**clean, "PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def newer(path: Path) -> None:
    (path / "python3.10").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (path / "python3.10").chmod(0o755)


@pytest.mark.slow
def test_a_newer_python_is_found_and_a_broken_environment_replaced(path: Path, tmp_path: Path) -> None:
    newer(path)
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(tmp_path / "gone")
    done = make(path, environment, f"{environment}/.python")
    assert done.returncode == 0, done.stderr
    assert f"Making {environment} with Python 3." in done.stdout
    version = "import sys; print(sys.version_info >= (3, 10), sys.prefix)"
    shown = subprocess.run([environment / "bin" / "python", "-c", version], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["True", str(environment)]
    again = make(path, environment, f"{environment}/.python")
    assert again.returncode == 0 and "Making" not in again.stdout


def test_without_a_python_it_says_so(path: Path, tmp_path: Path) -> None:
    done = make(path, tmp_path / "environment", f"{tmp_path}/environment/.python")
    assert done.returncode != 0 and "tedsl needs Python 3.10 or newer; none is on PATH" in done.stderr
    assert not (tmp_path / "environment").exists()


def test_it_says_that_it_installs(path: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    python = environment / "bin" / "python"
    python.write_text("#!/bin/sh\nexit 0\n")  # a Python that is new enough, and a pip that is quick
    python.chmod(0o755)
    shown = [make(path, environment, f"{environment}/{name}").stdout for name in (".ready", ".ready-lint", ".ready")]
    assert shown[0].startswith(f"Installing tedsl and NumPy into {environment}, and compiling its extension: ")
    assert shown[1].startswith('Installing tedsl and what "make lint" needs into ')
    assert "Installing" not in shown[2]


def test_help_is_the_default_and_names_every_target(path: Path, tmp_path: Path) -> None:
    shown = make(path, tmp_path / "environment").stdout
    for target in ("demo", "test", "lint", "types", "fuzz", "bench", "clean", "help"):
        assert f"  make {target} " in shown
