"""`tedsl doctor`: a machine that is fit, and those that are not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tedsl as te
from tedsl import cli
from tedsl.cli.commands import doctor
from tedsl.version import __version__


@pytest.fixture(autouse=True)
def private(cache_folder: str) -> str:
    return cache_folder


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, list[str]], str]:
    """The exit status; what was found, by its name: state and detail; and all of the text."""
    status = cli.main(["doctor"])
    out = capsys.readouterr().out
    rows = [line.split("  ", 1) for line in out.splitlines() if "  " in line]
    return status, {row[0]: row[1].split(None, 1) for row in rows}, out


def test_a_machine_that_is_fit(capsys: pytest.CaptureFixture[str], private: str) -> None:
    status, found, out = report(capsys)
    assert status == 0 and out.endswith("\ntedsl can be used here.\n")
    assert found["tedsl"] == ["ok", __version__] and found["NumPy"] == ["ok", np.__version__]
    assert found["C compiler"][0] == "ok" and "-O3" in found["flags"][1] and "-ffast-math" not in found["flags"][1]
    assert private in found["kernel cache"][1]
    assert found["test kernel"][0] == "ok" and "its answer is right" in found["test kernel"][1]
    assert os.environ["TEDSL_CACHE_DIR"] == private


def test_a_compiler_that_gets_selects_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The kernel that gcc 12 compiled wrongly is compiled and run: here by one that takes > for <."""
    script = tmp_path / "cc"
    script.write_text(
        '#!/bin/sh\nfor a; do case $a in *S.c|*select.c) sed "s/> 0/< 0/" "$a" > "$a.wrong.c"; shift; set -- "$@" "$a.wrong.c";;'
        ' *) shift; set -- "$@" "$a";; esac; done\nexec gcc "$@"\n'
    )
    script.chmod(0o700)
    monkeypatch.setenv("CC", str(script))
    status, found, _ = report(capsys)
    assert status == 1 and "-fno-tree-loop-if-convert" in found["flags"][1]
    assert found["test kernel"] == ["FAILED", "it was compiled and loaded, but gave a wrong answer; please report this"]


def test_no_compiler(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    status, found, out = report(capsys)
    assert status == 1 and found["C compiler"][0] == "FAILED" and "no-such-compiler" in found["C compiler"][1]
    assert "\ntedsl cannot be used here: C compiler" in out


def test_an_instruction_set_that_does_not_exist(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEDSL_ISA", "mmx")
    status, found, _ = report(capsys)
    assert status == 1 and found["CPU"][0] == "FAILED" and "mmx" in found["CPU"][1]


def test_a_cache_that_cannot_be_used_is_a_warning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TEDSL_CACHE_DIR", str(tmp_path / "file"))
    status, _, out = report(capsys)
    assert status == 0 and "\nkernel cache  warning" in out


def test_a_wrong_answer_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(te, "build", lambda *_: lambda *arrays: np.zeros(len(arrays[0]), "float32"))
    status, found, _ = report(capsys)
    assert status == 1 and found["test kernel"][0] == "FAILED" and "wrong answer" in found["test kernel"][1]


def test_optional_packages_are_named_with_their_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", {"numpy": "all", "no-such-package": "nothing"})
    there, missing = doctor.optional_packages()
    assert there == ("numpy", "ok", f"{np.__version__} (for: all)")
    assert missing == ("no-such-package", "missing", "optional (for: nothing)")
