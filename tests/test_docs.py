"""The documentation is run: every Python block of README.md and docs/, in order, one namespace per page.

A block with ``>>>`` is a doctest, whose output has to be what the page shows; any other is executed. A block after the
comment ``<!-- not run: REASON -->`` is left out.
"""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?P<skip><!-- not run: .+ -->\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    line: int
    code: str


def blocks(text: str) -> Iterator[Block]:
    for match in BLOCK.finditer(text):
        if not match["skip"]:
            yield Block(text.count("\n", 0, match.start("code")), match["code"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page.read_text("utf-8")):
        if ">>>" in block.code:
            parsed = doctest.DocTestParser().get_doctest(block.code, namespace, page.name, str(page), block.line)
            report: list[str] = []
            runner = doctest.DocTestRunner(optionflags=FLAGS)
            failed = runner.run(parsed, out=report.append, clear_globs=False).failed
            namespace.update(parsed.globs)  # the test works on a copy
            assert not failed, "".join(report)
        else:
            # Blank lines in front, so that a traceback and a tedsl error show the page's line.
            exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)


def test_blocks_are_found_and_keep_their_lines() -> None:
    text = (
        "a\n```python\nx = 1\n```\nb\n<!-- not run: needs a GPU -->\n```python\ny = 2\n```\n```python\n>>> x\n1\n```\n"
    )
    assert list(blocks(text)) == [Block(2, "x = 1\n"), Block(10, ">>> x\n1\n")]


def test_local_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
