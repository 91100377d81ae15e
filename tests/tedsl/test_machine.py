"""`te.machine()` and `tedsl machine`: measured once, kept, and sensible."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tedsl as te
from tedsl import cli, hardware
from tedsl.backends import cache

module = importlib.import_module("tedsl.machine")
LEVELS = ("l1", "l2", "l3", "dram")


@pytest.fixture
def unknown(cache_folder: str) -> Iterator[str]:
    """Nothing is known of this machine, and what is made up about it is forgotten."""
    module.known.cache_clear()
    yield cache_folder
    module.known.cache_clear()


def note(**changes: object) -> dict[str, object]:
    """Make-believe speeds, as an earlier process would have noted them."""
    speeds = {"float32": 100.0, "float64": 50.0}
    return {"format": 1, "peak_gflops": speeds, "bandwidth": dict(zip(LEVELS, (4e11, 2e11, 1e11, 2e10))), **changes}


def test_what_it_measures() -> None:
    m = te.machine()
    assert set(m.peak_gflops) == {"float32", "float64"} and set(m.bandwidth) == set(LEVELS)
    for _ in range(4):  # other processes may run: then it is measured again
        if m.peak_gflops["float32"] <= 1.2 * m.peak_gflops["float64"]:
            m = te.machine(measure=True)
    # a float64 is twice as wide, and a core does at least a multiply-add in 8 ns
    assert m.peak_gflops["float32"] > 1.2 * m.peak_gflops["float64"] > 0.5
    assert m.bandwidth["l1"] > m.bandwidth["dram"] > 1e8
    assert m.vector_bytes == hardware.vector_bytes() and m.cores >= 1
    assert 4096 <= m.l1_bytes <= 2**20


def test_it_is_one_object_and_speeds_are_copies() -> None:
    m = te.machine()
    assert te.machine() is m
    m.peak_gflops["float32"] = 0.0
    assert m.peak_gflops["float32"] > 0


def test_sizes_ask_for_no_measurement(unknown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tedsl.probe.measure", lambda *a: pytest.fail("measured"))
    m = te.machine()
    assert m.l1_bytes > 0 and m.cores > 0 and repr(m).startswith("<machine: ")


def test_a_second_process_takes_what_is_noted_and_needs_no_compiler(
    unknown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.remember(te.machine().key, note())
    code = (
        "import sys, tedsl as te; m = te.machine(); print(m.peak_gflops['float32'], m.bandwidth['dram'],"
        " 'subprocess' in sys.modules, 'tedsl.probe' in sys.modules)"
    )
    monkeypatch.setenv("CC", "/no/compiler")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["100.0", "20000000000.0", "False", "False"]


@pytest.mark.parametrize(
    "damage",
    [
        "nonsense",
        note(format=0),
        note(bandwidth={}),
        note(peak_gflops={"float32": "fast"}),
        note(peak_gflops={"float32": float("inf"), "float64": 50.0}),
    ],
)
def test_a_damaged_note_is_measured_again(unknown: str, monkeypatch: pytest.MonkeyPatch, damage: object) -> None:
    key = te.machine().key
    cache.remember(key, damage)
    module.known.cache_clear()
    whole = {k: v for k, v in note().items() if k != "format"}
    monkeypatch.setattr("tedsl.probe.measure", lambda *a: whole)
    assert te.machine().peak_gflops == {"float32": 100.0, "float64": 50.0}
    assert cache.recall(key) == note()


def test_measure_again(unknown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.remember(te.machine().key, note())
    module.known.cache_clear()
    assert te.machine().peak_gflops["float32"] == 100.0
    monkeypatch.setattr("tedsl.probe.measure", lambda *a: {"peak_gflops": {"float32": 7.0}, "bandwidth": {}})
    assert te.machine(measure=True).peak_gflops == {"float32": 7.0}


def test_other_instructions_are_another_machine(unknown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEDSL_ISA", "sse2")
    narrow = te.machine()
    assert narrow.vector_bytes == 16
    monkeypatch.delenv("TEDSL_ISA")
    if hardware.level() not in ("sse2", "generic"):
        assert te.machine().key != narrow.key


def test_buffers_fit_their_levels(unknown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = module.Machine
    caches = {"l1": 32 * 1024, "l2": 2**20, "l3": 32 * 2**20}
    assert make("x", "avx2", 32, 2, caches, "k").buffers() == {
        "l1": 16 * 1024,
        "l2": 2**19,
        "l3": 2**24,
        "dram": 2**27,
    }
    without = make("x", "avx2", 32, 2, {**caches, "l3": 0}, "k").buffers()
    assert without["l3"] == without["dram"] >= 4 * caches["l2"]


def test_cache_sizes_from_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "CPUS", tmp_path)
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: {3, 5})
    for index, (kind, level, size) in enumerate(
        [("Data", 1, "48K"), ("Instruction", 1, "64K"), ("Unified", 2, "2M"), ("Unified", 3, "32768K")]
    ):
        place = tmp_path / "cpu3" / "cache" / f"index{index}"
        place.mkdir(parents=True)
        for name, text in (("type", kind), ("level", level), ("size", size)):
            (place / name).write_text(f"{text}\n")
    assert hardware.cache_bytes() == {"l1": 48 * 1024, "l2": 2**21, "l3": 2**25}
    (tmp_path / "cpu3" / "cache" / "index0" / "size").write_text("unknown\n")
    for source in ("from_sysconf", "from_sysctl"):
        monkeypatch.setattr(hardware, source, dict)
    assert hardware.cache_bytes() == hardware.TYPICAL


def test_names_of_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Fast  CPU\nmodel\t\t: 2\n\nprocessor\t: 1\nmodel\t: 3\n"
    )
    assert hardware.cpu_name() == "Fast CPU (2)"
    (tmp_path / "cpuinfo").unlink()
    assert hardware.cpu_name()


def test_the_command(capsys: pytest.CaptureFixture[str], unknown: str) -> None:
    cache.remember(te.machine().key, note())
    module.known.cache_clear()
    assert cli.main(["machine"]) == 0
    shown = capsys.readouterr().out
    assert "peak float32  100.0 GFLOP/s" in shown and "20.0 GB/s" in shown
    assert cli.main(["machine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bandwidth"]["l2"] == 2e11
    assert "peak float64  50.0 GFLOP/s a core" in str(te.machine())
