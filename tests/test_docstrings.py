"""The examples in docstrings are run, module by module."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import tedsl

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """Every module of the package that holds an example, found without importing it."""
    found = []
    folders = {"tedsl": list(tedsl.__path__)}
    for name in ("autodiff", "backends", "schedule"):
        folders[f"tedsl.{name}"] = list(importlib.import_module(f"tedsl.{name}").__path__)
    pending = list(folders.items())
    while pending:
        package, paths = pending.pop()
        for module in pkgutil.iter_modules(paths):
            name = f"{package}.{module.name}"
            path = Path(module.module_finder.path) / module.name  # type: ignore[union-attr]
            if module.ispkg:
                pending.append((name, [str(path)]))
                path = path / "__init__"
            source = path.with_suffix(".py")
            if source.exists() and ">>> " in source.read_text("utf-8"):
                found.append(name)
    return sorted(found)


@pytest.mark.parametrize("name", modules())
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)
    assert runner.tries, "the examples were not found"
