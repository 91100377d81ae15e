"""The lecture's ladder: every rung is right, short, and described by what it does."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tedsl as te
from tedsl import cli
from tedsl.casestudy import LADDER, Row, Rung, Tiles, choose, ladder, problem, study
from tedsl.casestudy.picture import picture
from tedsl.casestudy.study import in_turn, loads, timed, value, verify
from tedsl.lang.errors import InternalError

NAMES = [rung.name for rung in LADDER]
SMALL = Tiles(3, 8, 6, 16, 2)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> te.machine:
    """A machine that every test may rely on."""
    import importlib

    module = importlib.import_module("tedsl.machine")
    speeds = {
        "peak_gflops": {"float32": 100.0, "float64": 50.0},
        "bandwidth": {"l1": 4e11, "l2": 2e11, "l3": 1e11, "dram": 2e10},
    }
    return module.Machine("x", "avx512", 64, 2, {"l1": 48 * 1024, "l2": 2**20, "l3": 2**25}, "k", speeds)


def rows() -> list[Row]:
    return [
        Row(rung.name, 0.01, 1.0 + index, 0.1, 0.5, loads(rung, 64, Tiles(4, 8, 16, 16)), 0.005, {}, "")
        for index, rung in enumerate(LADDER)
    ]


def test_the_rungs_are_those_of_the_lecture() -> None:
    assert NAMES == [
        "vanilla",
        "register accumulator",
        "register tile",
        "cache tile",
        "both",
        "vectorised",
        "packed",
        "parallel",
        "best",
    ]


@pytest.mark.parametrize("rung", LADDER, ids=NAMES)
def test_a_rung_agrees_with_the_reference(rung: Rung) -> None:
    verify(rung)


@pytest.mark.parametrize("n", [1, 5, 16, 37])
@pytest.mark.parametrize("rung", LADDER[2:], ids=NAMES[2:])
def test_a_rung_is_right_whatever_divides(rung: Rung, n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = (rng.integers(-4, 5, (n, n)).astype("float32") for _ in range(2))
    kernel = te.build(rung.schedule(n, SMALL))
    np.testing.assert_array_equal(kernel(a, b), a @ b.T)
    np.testing.assert_array_equal(kernel(a, b, threads=1), kernel(a, b, threads=2))


@pytest.mark.parametrize("rung", LADDER, ids=NAMES)
def test_a_schedule_is_at_most_a_dozen_steps_long(rung: Rung) -> None:
    lines = [line for line in inspect.getsource(rung.schedule).splitlines() if line.strip()]
    # not counted: the definition, what is computed, the empty schedule, its return
    assert len(lines) - 4 <= 12


@pytest.mark.parametrize("rung", LADDER, ids=[name.replace(" ", "_") for name in NAMES])
def test_ladder(rung: Rung, golden: Callable[[str, str], None]) -> None:
    """The nest of each rung, where tiles do not divide."""
    golden(f"{rung.schedule(50, SMALL)}\n", ".txt")


@pytest.mark.parametrize("rung", LADDER, ids=NAMES)
def test_hot_loops_have_no_tests(rung: Rung) -> None:
    nest = te.lower(rung.schedule(61, SMALL))
    nest.verify()
    assert not nest.conditions


def test_tiles_fit_the_cache_that_they_are_for(machine: te.machine) -> None:
    by_name = {rung.name: rung for rung in LADDER}
    t = choose(by_name["both"], 1024, machine)
    assert (t.b1 + t.b2) * 1024 * 4 <= machine.l1_bytes and t.b1 % t.v1 == 0 and t.b2 % t.v2 == 0 and not t.note
    t = choose(by_name["both"], 4096, machine)
    assert (t.b1 + t.b2) * 4096 * 4 <= machine.l2_bytes
    assert t.note == (
        "no b1, b2 satisfy (b1 + b2)*n floats <= L1 (4 rows of A and 4 of B take 128 KiB, L1 has 48): tiles are for L2"
    )
    for n in (1, 100, 1000, 10**5):
        for rung in LADDER:
            t = choose(rung, n, machine)
            assert t.b1 >= t.v1 and t.b1 % t.v1 == 0 and t.b2 % t.v2 == 0
    assert choose(by_name["best"], 512, machine).v1 == 8
    machine.level, machine.vector_bytes = "avx2", 32
    t = choose(by_name["best"], 512, machine)
    assert (t.v1, t.v2) == (6, 16)


def test_loads_by_the_formulas() -> None:
    assert value("n**2 + n**3/b1", {"n": 10, "b1": 4}) == 350
    both = loads(next(r for r in LADDER if r.name == "both"), 10, Tiles(2, 5, 4, 5))
    assert both == {
        "A from dram": {"formula": "n**2", "elements": 100},
        "B from dram": {"formula": "n**3/b1", "elements": 250},
        "A from cache": {"formula": "n**3/v2", "elements": 200},
        "B from cache": {"formula": "n**3/v1", "elements": 500},
    }


def test_a_wrong_rung_does_not_pass() -> None:
    def wrong(n: int, t: Tiles) -> object:
        A, B, _ = problem(n)
        C = te.define("C[i,j] = sum(A[i,k] * B[k,j])", A=A, B=B)
        s = te.create_schedule(C)
        s.outputs = problem(n)[2:]
        return s

    with pytest.raises(InternalError, match="wrong by"):
        verify(Rung("wrong", "", wrong, {}))
    c, want = np.zeros((2, 2)), np.ones((2, 2))
    with pytest.raises(InternalError, match="wrong by"):
        timed(lambda: None, lambda: None, c, want)


def test_a_study_of_a_small_size() -> None:
    found = list(study(24, 1))
    assert [row.step for row in found] == NAMES
    for row in found:
        assert row.seconds > 0 and row.of_numpy > 0
        assert row.gflops == pytest.approx(2 * 24**3 / row.seconds / 1e9)


def test_a_failing_study_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(InternalError, match="ended with status 1"):
        list(study(8))


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.setattr("tedsl.casestudy.study", lambda n, threads: asked.append((n, threads)) or iter(rows()))
    file = tmp_path / "rows.json"
    assert cli.main(["casestudy", "--n", "64", "--json", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert asked == [(64, 1)]
    assert lines[0].startswith("C = A·Bᵀ, 64 x 64 float32, 1 thread; FMA peak ")
    assert lines[1].split()[:3] == ["step", "time", "GFLOP/s"]
    assert "n**2 from dram, n**3/v2 from cache" in next(line for line in lines if line.startswith("both"))
    written = json.loads(file.read_text())
    assert [row["step"] for row in written] == NAMES
    assert set(written[0]) >= {"step", "seconds", "gflops", "of_peak", "of_numpy", "loads"}
    assert cli.main(["casestudy", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == written


@pytest.mark.parametrize(
    "words, message",
    [
        (["--n", "0"], "--n must be at least 1, not 0"),
        (["--threads", "0"], "--threads must be from 1 to the cores that there are"),
        (["--threads", "100000"], "--threads must be from 1 to the cores that there are"),
        (
            ["--json", "/no/such/folder/x.json"],
            "--json /no/such/folder/x.json cannot be written: there is no writable folder",
        ),
        (["--png", "/"], "--png / is a folder"),
    ],
)
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["casestudy", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_picture(tmp_path: Path, machine: te.machine) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "ladder.png"
    picture(rows(), machine, 64, 1, file)
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(te.Error, match="cannot be written"):
        picture(rows(), machine, 64, 1, tmp_path / "no" / "x.png")


def test_a_picture_needs_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["casestudy", "--png", str(tmp_path / "x.png")]) == 2
    assert "needs matplotlib, which is not installed: pip install 'tedsl[plot]'" in capsys.readouterr().err


def test_symbolic_tiles_give_the_formulas() -> None:
    n, v1, v2, b1, b2 = (te.var(name) for name in ("n", "v1", "v2", "b1", "b2"))
    import sympy

    for rung in (ladder.vanilla, ladder.register_tile, ladder.both):
        described = next(r for r in LADDER if r.schedule is rung)
        moves = te.cost(rung(n, Tiles(v1, v2, b1, b2))).moves
        for (tensor, level), formula in described.loads.items():
            source = "global" if level == "dram" else "cache"
            for scope in ("cache", "register"):
                if (tensor, source, scope) in moves:
                    found = sympy.sympify(str(moves[tensor, source, scope]))
                    assert sympy.simplify(found - sympy.sympify(formula)) == 0, (rung, tensor, level)


def test_calls_take_turns() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    found = in_turn(calls, 0.0, turn=0.001)
    turns = "".join(order).replace("b", " ").split()
    assert len(turns) == 3 and all(set(turn) == {"a"} for turn in turns)
    assert [len(found["a"]), len(found["b"])] == [order.count("a"), order.count("b")]
    assert all(samples == sorted(samples) for samples in found.values())
    order.clear()
    assert len(in_turn(calls, 0.0, least=2)["a"]) == 2 and order == ["a", "b", "a", "b"]
