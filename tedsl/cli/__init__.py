"""The command line: `tedsl COMMAND …`.

Each command is a module of `tedsl.cli.commands`, found by its file's name; adding one is adding a file with

- a docstring, whose first line is the command's help,
- `configure(parser)`, which declares its arguments,
- `run(options) -> int`, which does the work and returns the exit status.

Commands import what is heavy inside `run`, so that `tedsl --help` is quick. What the user did wrong is an `InputError`
or a `tedsl.Error`: one message on stderr, exit status 2, no traceback.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from tedsl.lang.errors import Error, InternalError
from tedsl.terminal import InputError
from tedsl.version import __version__

__all__ = ["main"]

USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE


class Parser(argparse.ArgumentParser):
    """argparse, but options may stand anywhere, and an error is one message with a pointer to the help."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # argparse takes all positional words from one place (`NAME=FILE -o FILE NAME=FILE` fails) unless asked to
        # intermix, which it offers only where there are no subcommands; a subcommand's own parser has none.
        if self._mixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._mixing = True  # older versions of it come back here
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")


def command_names() -> list[str]:
    """The names of all commands."""
    from tedsl.cli import commands as package

    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or, since importing them all takes time, of `tedsl` and one of them."""
    top = Parser(
        prog="tedsl",
        description="Index expressions and schedules, compiled to C.",
        epilog="'tedsl COMMAND --help' tells more about a command.",
    )
    top.add_argument("--version", action="version", version=f"tedsl {__version__}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name in command_names() if only is None else [only]:
        module = importlib.import_module(f"tedsl.cli.commands.{name}")
        text = (module.__doc__ or "").strip()
        first = text.partition("\n")[0]
        sub = subparsers.add_parser(
            name, help=first, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.configure(sub)
        sub.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Ends the process only where argparse does (``--help``, wrong usage)."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        known = command_names()
        if words and not words[0].startswith("-") and words[0] not in known:
            import difflib

            near = difflib.get_close_matches(words[0], known, 1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(known)}"
            raise InputError(f"there is no command '{words[0]}'{hint}")
        top = parser(words[0] if words and words[0] in known else None)
        options = top.parse_args(words)
        if options.command is None:
            top.error(f"which command? There are: {', '.join(known)}")
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)  # tedsl's own are of this kind
            warnings.showwarning = _show_warning
            status: int = options.run(options)
        sys.stdout.flush()  # here, so that a broken pipe shows while it can still be handled
        return status
    except InternalError:
        raise  # a defect: its traceback belongs in the report that its text asks for
    except (InputError, Error) as error:
        # The location of a tedsl.Error is a line of a program; here there is none, only a command.
        return _fail(error.message, words)
    except MemoryError as error:
        return _fail(f"not enough memory: {error}" if str(error) else "not enough memory", words)
    except BrokenPipeError:
        # What reads our output has gone (`tedsl … | head`). Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fail(f"cannot write the output: {error.strerror}", words)
    except KeyboardInterrupt:
        print("tedsl: interrupted", file=sys.stderr)
        return INTERRUPTED


def _fail(message: str, words: Sequence[str]) -> int:
    name = f"tedsl {words[0]}" if words and words[0] in command_names() else "tedsl"
    print(f"{name}: {message}", file=sys.stderr)
    return USAGE


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"tedsl: warning: {message}", file=sys.stderr)
