"""What the benchmarks report: ratios, shares and tables, and that wrong rivals are not timed."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        return importlib.import_module("_harness")


SCRIPT = """\
'''Doubling.'''
import sys
import numpy as np
from _harness import Case, main

def times(factor):
    return lambda x, threads: print("loading ...") or (lambda: x * np.float32(factor))

cases = lambda: [
    Case("double", ("byte", 8000.0), lambda rng: [rng.standard_normal(1000, dtype="float32")], times(2), RIVALS),
]
if __name__ == "__main__":
    sys.exit(main(__doc__, cases))
"""


def run(folder: Path, rivals: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A benchmark of one case, from the command line."""
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("RIVALS", rivals))
    command = [sys.executable, str(script), "--seconds", "0.001", "--json", str(folder / "out.json")]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [*command, "--png", str(folder / "out.png"), *arguments], env=environment, capture_output=True, text=True
    )


def test_a_case_is_measured_with_each_number_of_threads(tmp_path: Path) -> None:
    done = run(tmp_path, '{"NumPy": times(2)}', "--threads", "1", "2")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [r["threads"] for r in results] == [1, 2]
    for result in results:
        assert result["seconds"] > 0 and result["rivals"]["NumPy"] > 0 and result["share"] > 0
        assert result["rate"] == pytest.approx(8000 / result["seconds"] / 1e9) and result["unit"] == "GB/s"
    assert "loading ..." in done.stderr and "loading ..." not in done.stdout
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_rival_that_computes_something_else_stops_it(tmp_path: Path) -> None:
    done = run(tmp_path, '{"NumPy": times(2.1)}', "--threads", "1")
    assert done.returncode == 1 and "double: NumPy and tedsl differ by" in done.stderr


def test_a_rival_that_is_not_installed_is_left_out(tmp_path: Path) -> None:
    done = run(
        tmp_path, '__import__("_harness").PACKAGES.update(Nobody="no_such") or {"Nobody": times(2)}', "--threads", "1"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["results"][0]["rivals"] == {}


def test_a_rival_whose_process_ends_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, '{"NumPy": lambda x, threads: sys.exit(7)}', "--threads", "1")
    assert done.returncode == 1 and "the process of NumPy ended with status 7" in done.stderr


def test_calls_take_turns(harness: ModuleType) -> None:
    order: list[str] = []
    times = harness.in_turn({"a": lambda: order.append("a") or 1.0, "b": lambda: order.append("b") or 2.0}, seconds=0)
    assert times == {"a": [1.0] * 5, "b": [2.0] * 5} and "".join(order) == "abbaabbaab"


def test_the_table_of_a_page(harness: ModuleType, tmp_path: Path) -> None:
    results = [
        harness.Result("matmul 8", 1, 0.002, 100.0, "GFLOP/s", 0.5, 1.1, {"NumPy": 0.003, "JAX": 0.004}),
        harness.Result("matmul 9", 2, 0.002, 100.0, "GFLOP/s", 0.5, 1.1, {"NumPy": 0.001}),
        harness.Result("matmul 10", 2, 0.002, 100.0, "GFLOP/s", 0.5, 1.1),
    ]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x: made by `make bench` -->\nold\n<!-- end of x -->\nafter\n")
    for _ in range(2):
        harness.write_table(page, "x", results)
    lines = page.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    assert "| matmul 8 | 1 | 2 | 100 GFLOP/s | 50% | 3 | 4 | 1.50 | 1.10 |" in lines
    assert "| matmul 9 | 2 | 2 | 100 GFLOP/s | 50% | 1 |  | **0.50** | 1.10 |" in lines
    with pytest.raises(SystemExit, match="has no place for the table of y"):
        harness.write_table(page, "y", results)
    assert "NumPy 3" in harness.line(results[0])


def test_the_page_has_a_place_for_every_table() -> None:
    text = (FOLDER.parent / "docs" / "performance.md").read_text("utf-8")
    for script in ("matmul", "operators", "elementwise"):
        assert f"<!-- {script}: made by `make bench` -->" in text and f"<!-- end of {script} -->" in text


@pytest.mark.parametrize("script", sorted(path.stem for path in FOLDER.glob("[!_]*.py")))
def test_every_benchmark_says_what_it_measures(script: str) -> None:
    text = (FOLDER / f"{script}.py").read_text("utf-8")
    assert text.startswith('"""') and '__name__ == "__main__"' in text
