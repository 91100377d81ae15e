"""The tutorials run from the first cell to the last, with small sizes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "tutorials"
TUTORIALS = sorted(FOLDER.glob("*.py"))
SHOWN = {
    "matmul_case_study": ["A is the same along j", "for (int64_t k", "n**3/v2", "b1", "9 schedules, one meaning"],
}


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(tutorial: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "TEDSL_TUTORIAL_N": "48", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, str(tutorial)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for text in SHOWN.get(tutorial.stem, []):
        assert text in done.stdout


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_is_a_notebook(tutorial: Path) -> None:
    """The percent format: a header, and cells of text and of code."""
    text = tutorial.read_text("utf-8")
    assert text.startswith("# ---\n# jupyter:\n") and "format_name: percent" in text
    assert text.count("# %% [markdown]\n# ") >= 3 and text.count("# %%\n") >= 3
