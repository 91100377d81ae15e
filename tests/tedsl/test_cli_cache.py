"""`tedsl cache`: what is kept, where, and removing it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tedsl import cli
from tedsl.backends import cache


@pytest.fixture(autouse=True)
def private(cache_folder: str) -> str:
    return cache_folder


def keep(name: str, length: int, used: float) -> None:
    """Put an entry of so many bytes into the cache, last used at that time."""

    def build(source: Path, library: Path) -> dict[str, Any]:
        library.write_bytes(b"x" * length)
        return {}

    entry, _ = cache.store(cache.key(name), name, f"/* {name} */", build)
    os.utime(entry.folder, (used, used))


def test_an_empty_cache(capsys: pytest.CaptureFixture[str], private: str) -> None:
    assert cli.main(["cache"]) == 0
    assert capsys.readouterr().out == f"{private}: 0 kernels, 0 B of at most 512.0 MiB\n"
    assert cli.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"Removed 0 kernels (0 B) from {private}.\n"
    assert not os.path.exists(private), "looking at a cache does not make one"


def test_lists_the_last_used_first(capsys: pytest.CaptureFixture[str], private: str) -> None:
    keep("old", 1000, 1e9)
    keep("new", 5000, 1.1e9)
    assert cli.main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{private}: 2 kernels, ") and lines[1].split() == [
        "kernel",
        "size",
        "last",
        "used",
        "source",
    ]
    assert [line.split()[0] for line in lines[2:]] == ["new", "old"]
    for line in lines[2:]:
        source = Path(line.split()[-1])
        assert source.read_text() == f"/* {source.stem} */" and source.is_relative_to(private)
    assert cli.main(["cache", "--limit", "1"]) == 0
    assert capsys.readouterr().out.endswith("... and 1 more; --limit shows them.\n")


def test_path_alone(capsys: pytest.CaptureFixture[str], private: str) -> None:
    assert cli.main(["cache", "path"]) == 0
    assert capsys.readouterr().out == f"{private}\n"


def test_clear_removes_all(capsys: pytest.CaptureFixture[str], private: str) -> None:
    keep("one", 10, 1e9)
    assert cli.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.startswith("Removed 1 kernel (")
    assert cache.usage() == (0, 0)


def test_what_cannot_be_removed_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    keep("one", 10, 1e9)
    monkeypatch.setattr(cache, "clear", lambda: (0, 0))
    assert cli.main(["cache", "clear"]) == 2
    assert "1 of 1 kernels in " in capsys.readouterr().err


def test_wrong_limit(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache", "--limit", "0"]) == 2
    assert capsys.readouterr().err == "tedsl cache: --limit must be at least 1, not 0\n"
