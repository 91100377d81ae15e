"""TEDSL_DEBUG: silent when unset, and at its highest a text for every step."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te
from tedsl.lang import debug

i, j, k = te.axes("i j k")


def build(serial: int) -> te.Tensor:
    A, B, C = te.tensor("A", (5 + serial, 6)), te.tensor("B", (7, 6)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    kernel = te.build(C)
    np.testing.assert_array_equal(kernel(np.ones((5 + serial, 6), "float32"), np.ones((7, 6), "float32")), 6)
    return C


def headings(text: str) -> list[str]:
    return [line.removeprefix("tedsl: ") for line in text.splitlines() if line.startswith("tedsl: ")]


@pytest.mark.parametrize("level", ["", "0"])
def test_silence(level: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TEDSL_DEBUG", level)
    build(0)
    assert capfd.readouterr().err == ""


def test_each_level_adds_to_those_below(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    found = []
    for level in range(1, 6):
        monkeypatch.setenv("TEDSL_DEBUG", str(level))
        build(level)
        found.append(headings(capfd.readouterr().err))
    for what in ("te.build: schedule", "C: lower", "C: generate C", "C: compile"):
        assert all(any(line.startswith(what) and line.endswith(" ms") for line in lines) for lines in found)
    for level, what in [(2, "C: schedule"), (3, "C: loop nest"), (4, "C: C"), (5, "before the passes")]:
        assert [what in lines for lines in found] == [n >= level for n in range(1, 6)]


def test_the_highest_level_shows_the_passes_and_their_rules(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tedsl.schedule.passes import passes

    monkeypatch.setenv("TEDSL_DEBUG", str(debug.HIGHEST))
    A, T = te.tensor("A", (100,)), te.tensor("T")
    T[i] = te.exp(A[i]) + 1
    s = te.create_schedule(T)
    s[T].split(i, 8)
    te.build(s)
    text = capfd.readouterr().err
    for name, _ in passes():
        assert any(line.startswith(f"pass {name!r}") for line in headings(text)), name
    assert 's["T"].split("i", factor=8)' in text
    assert "for i_o in 0..13" in text
    assert "int64_t T(" in text
    assert "rules, in 'simplify'" in text and "  ->  " in text


def test_a_kernel_of_the_cache_says_so(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    build(10)
    monkeypatch.setenv("TEDSL_DEBUG", "1")
    build(10)
    assert any(line.startswith("C: from the cache, ") for line in headings(capfd.readouterr().err))


def test_what_is_no_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEDSL_DEBUG", "loud")
    with pytest.raises(te.BuildError, match="TEDSL_DEBUG='loud': a whole number from 0 to 5"):
        build(0)
