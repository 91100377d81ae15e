"""Every message of an error has a test (or a page of the documentation, which is run) that holds words of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ERRORS = re.compile(r"(Definition|Schedule|Lowering|Build|Gradient|Tune|Input|Call(Type|Value|Index|Memory)?)Error")
RAISERS = {"refuse", "_fail"}  # functions that raise what they are given
FOLDERS = ["tedsl/lang", "tedsl/tune", "tedsl/cli", "schedule", "backends", "autodiff"]
UNREACHABLE = {  # failures of tedsl itself, which no program is known to lead to
    "no C for",
    "is no expression in sizes",
    "of a temporary could be found",
    "the arguments pass every check but were not accepted",
    "no equation of",  # the compiler refuses the same program before it gets there
}
ELSEWHERE = {  # depend on what is installed, or on the system
    "; install ml_dtypes, which brings it (",
    "the source is kept in",
    "cannot be started:",
    " failed on ",
    "' is read-only",
    "could not be removed; is the folder writable?",
}
WORDS = 3


def plain(text: str) -> str:
    return re.sub(r"[\s\"'\\]+", " ", text)


def messages(tree: ast.AST) -> Iterator[tuple[int, list[str]]]:
    """Line and constant parts of each message that is raised."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if not (ERRORS.fullmatch(name) or name in RAISERS):
            continue
        texts = [a for a in node.args if isinstance(a, (ast.JoinedStr, ast.Constant))]
        parts = [
            n.value for a in texts for n in ast.walk(a) if isinstance(n, ast.Constant) and isinstance(n.value, str)
        ]
        if parts:
            yield node.lineno, parts


def fragments(parts: list[str]) -> Iterator[str]:
    for part in parts:
        words = plain(part).strip().split(" ")
        for start in range(len(words) - WORDS + 1):
            yield " ".join(words[start : start + WORDS])


def test_every_message_is_tested() -> None:
    places = [p for d in ("tests", "docs", "tutorials") for p in (ROOT / d).rglob("*") if p.suffix in (".py", ".md")]
    own = Path(__file__)
    tested = " ".join(plain(p.read_text("utf-8")) for p in [*places, ROOT / "README.md"] if p != own)
    untested, found = [], 0
    for path in sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")):
        for line, parts in messages(ast.parse(path.read_text("utf-8"))):
            wanted = list(fragments(parts))
            found += bool(wanted)
            if any(known in part for part in parts for known in UNREACHABLE | ELSEWHERE):
                continue
            if wanted and not any(f in tested for f in wanted):
                untested.append(f"{path.relative_to(ROOT)}:{line}: {' … '.join(parts)}")
    assert found > 300, "the search for messages finds too few"
    assert not untested, "no test has words of these messages:\n" + "\n".join(untested)


def test_the_search_finds_messages_and_their_words() -> None:
    tree = ast.parse('raise DefinitionError(f"the axis {a} is not on the left", here())\nself._fail(kind, "too many")')
    assert list(messages(tree)) == [(1, ["the axis ", " is not on the left"]), (2, ["too many"])]
    assert list(fragments(["the axis ", " is not on the left"])) == ["is not on", "not on the", "on the left"]
