"""The command line as such: commands found, statuses, messages, pipes and terminals."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tedsl import cli, terminal
from tedsl.lang.errors import DefinitionError, InternalError, Location
from tedsl.version import __version__


def shell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A `tedsl` of its own process."""
    return subprocess.run(
        [sys.executable, "-m", "tedsl", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def raising(error: BaseException) -> Callable[[object], int]:
    def run(options: object) -> int:
        raise error

    return run


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """Run `tedsl cache` with its work replaced by an error; returns the exit status."""

    def run(error: BaseException) -> int:
        monkeypatch.setattr("tedsl.cli.commands.cache.run", raising(error))
        return cli.main(["cache"])

    return run


def test_version_in_a_process_and_by_the_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert shell("--version").stdout == f"tedsl {__version__}\n"
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"tedsl {__version__}\n"


def test_help_names_every_command_and_each_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    names = cli.command_names()
    assert {"run", "doctor", "cache"} <= set(names)
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and all(re.search(rf"^    {name}\s", text, re.MULTILINE) for name in names)
    for name in names:
        with pytest.raises(SystemExit) as end:
            cli.main([name, "--help"])
        assert end.value.code == 0 and f"usage: tedsl {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tedsl.cli import parser; parser().format_help(); "
        "print([m for m in ('numpy', 'sympy', 'rich', 'matplotlib', 'optuna', 'dask') if m in sys.modules])"
    )
    with_package = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # numpy comes with `import tedsl`; nothing else may.
    assert with_package.stdout in ("[]\n", "['numpy']\n")


@pytest.mark.parametrize(
    "words, message",
    [
        (["nonsense"], "tedsl: there is no command 'nonsense'; there are: "),
        (["doctr"], "tedsl: there is no command 'doctr'; did you mean 'doctor'?\n"),
    ],
)
def test_unknown_commands(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message) and captured.err.count("\n") == 1 and not captured.out


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "tedsl: which command? There are: "),
        (["--bogus"], "tedsl: unrecognized arguments: --bogus\n"),
        (["run"], "tedsl run: the following arguments are required: expression\n"),
        (["run", "x", "--threads", "many"], "tedsl run: argument --threads: invalid int value: 'many'\n"),
        (["cache", "burn"], "tedsl cache: "),
    ],
)
def test_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    captured = capsys.readouterr()
    assert end.value.code == 2 and captured.err.startswith(message) and not captured.out
    assert captured.err.endswith(" --help'.\n")


def test_errors_are_one_message_and_status_2(failing, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(DefinitionError("axis i has no range", Location("cli.py", 8))) == 2
    assert capsys.readouterr().err == "tedsl cache: axis i has no range\n"  # no line: there is no program to look at
    assert failing(terminal.InputError("no such thing")) == 2
    assert capsys.readouterr().err == "tedsl cache: no such thing\n"
    assert failing(MemoryError()) == 2
    assert capsys.readouterr().err == "tedsl cache: not enough memory\n"
    assert failing(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "tedsl: interrupted\n"


def test_a_defect_is_not_taken_for_bad_input(failing) -> None:
    with pytest.raises(InternalError):
        failing(InternalError("lost a loop"))
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


def test_warnings_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    def run(options: object) -> int:
        warnings.warn("the cache is read-only", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr("tedsl.cli.commands.cache.run", run)
    assert cli.main(["cache"]) == 0
    assert capsys.readouterr().err == "tedsl: warning: the cache is read-only\n"


def test_a_closed_pipe_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "tedsl", "cache"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.returncode == 141 and done.stderr == ""


def on_a_terminal(*words: str, **environment: str) -> str:
    """What `tedsl` prints when stdout is a terminal."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tedsl", *words],
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm-256color", **environment},
    )
    os.close(terminal)
    pieces = []
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:  # how Linux says that the other side has closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(controller)
    assert process.wait(120) == 0
    return b"".join(pieces).decode()


def test_colour_on_a_terminal_and_plain_text_in_a_pipe() -> None:
    assert "\x1b[" in on_a_terminal("cache")
    assert "\x1b[" not in on_a_terminal("cache", TERM="dumb")
    plain = shell("cache", FORCE_COLOR="1").stdout
    assert "\x1b[" not in plain and plain.isascii()


def test_plain_tables_are_aligned_without_trailing_blanks() -> None:
    text = terminal.plain_table([["a", "1"], ["long name", "100"]], ["name", "n"], title="Things", right=[1])
    assert text == "Things\nname         n\na            1\nlong name  100"


@pytest.mark.parametrize(
    "seconds, text", [(2.5, "2.5 s"), (0.00125, "1.25 ms"), (3.2e-5, "32 us"), (4e-8, "40 ns"), (0, "0 ns")]
)
def test_durations(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


@pytest.mark.parametrize(
    "count, text", [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert terminal.size(count) == text
