"""Kernels of random schedules under AddressSanitizer and UndefinedBehaviourSanitizer: no element is read or written
outside of its array, and nothing that C leaves undefined is relied on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent / "fuzz.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FUZZ), "--sanitize", *arguments], capture_output=True, text=True, timeout=600
    )


def sanitizers_are_there() -> bool:
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    return found.returncode == 0 and os.path.exists(found.stdout.strip())


pytestmark = pytest.mark.skipif(not sanitizers_are_there(), reason="gcc has no sanitizers here")


@pytest.mark.parametrize("first", [100, 112])
def test_random_schedules_stay_in_bounds(first: int) -> None:
    done = run("--schedules", "--seed", str(first), "--count", "12")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "12 programs" in done.stdout and "0 failures" in done.stdout


def test_recurrences_in_other_loops_stay_in_bounds() -> None:
    done = run("--schedules", "--steps", "--seed", "300", "--count", "12")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "12 programs" in done.stdout and "0 failures" in done.stdout


@pytest.mark.parametrize("kind,said", [("bounds", "heap-buffer-overflow"), ("overflow", "signed integer overflow")])
def test_a_wrong_kernel_is_noticed(kind: str, said: str) -> None:
    done = run("--probe", kind)
    assert done.returncode != 0
    assert said in done.stderr
