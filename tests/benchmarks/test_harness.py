"""What the benchmarks report: ratios, shares and tables, and that wrong rivals are not timed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_harness", FOLDER / "_harness.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_harness"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def case(harness: ModuleType, rival: float = 2.0) -> object:
    return harness.Case(
        "double",
        ("byte", 8000.0),
        lambda rng: [rng.standard_normal(1000, dtype="float32")],
        lambda x, threads: lambda: x * 2,
        {"NumPy": lambda x, threads: lambda: x * np.float32(rival)},
    )


def test_a_case_is_measured(harness: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "SECONDS", 0.01)
    result = harness.measure(case(harness), 1)
    assert result.best_rival == "NumPy" and result.ratio == pytest.approx(result.rivals["NumPy"] / result.seconds)
    assert result.rate == pytest.approx(8000 / result.seconds / 1e9) and result.unit == "GB/s" and result.share > 0


def test_a_rival_that_computes_something_else_stops_it(harness: ModuleType) -> None:
    with pytest.raises(SystemExit, match="double: NumPy and tedsl differ by"):
        harness.measure(case(harness, rival=2.1), 1)


def test_a_rival_that_is_not_installed_is_left_out(harness: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "SECONDS", 0.01)
    monkeypatch.setitem(harness.PACKAGES, "NumPy", "no_such_package")
    result = harness.measure(case(harness), 1)
    assert result.rivals == {} and result.best_rival == "" and np.isnan(result.ratio)


def test_calls_take_turns(harness: ModuleType) -> None:
    order: list[str] = []
    times = harness.in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, seconds=0.001)
    assert set(times) == {"a", "b"} and all(t > 0 for t in times.values())
    assert order[:4] == ["a", "a", "b", "b"]  # warm-up


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
