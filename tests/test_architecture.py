"""The rules of the house, read from the source with `ast`: which way imports run, and how long things may be.

docs/architecture.md says what the rules are for. There are no exceptions: code that breaks a rule is moved or cut.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import tedsl as te

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {"tedsl.schedule": "schedule", "tedsl.backends": "backends", "tedsl.autodiff": "autodiff", "tedsl": "tedsl"}

# From the ground up. A module imports from its own floor and from those below it, lazily or for types as well.
FLOORS = (
    ("version", "data", "terminal"),
    ("hardware", "lang"),
    ("autodiff", "schedule"),
    ("backends",),
    ("check_grad", "machine", "probe"),
    ("tune",),
    ("build",),
    ("op",),
    ("interop", "ops"),
    ("nn", "explore"),
    ("cli", "casestudy", "demo", "__main__"),
)
PUBLIC_NAMES_ONLY = ("ops", "nn")  # these are written in tedsl, not into it
ON_TOP = (*FLOORS[-1], "nn", "ops", "interop", "explore")  # these may `import tedsl`

FILE_LINES, FUNCTION_LINES, COLUMNS = 500, 60, 120


class Module(NamedTuple):
    name: str
    path: Path
    is_package: bool

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]


class Import(NamedTuple):
    """`target`: the imported module; `name`: what is taken of it, if it is no module itself."""

    line: int
    target: str
    name: str | None


@cache
def modules() -> dict[str, Module]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join([package, *(parts[:-1] if is_package else parts)])
            found[name] = Module(name, path, is_package)
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """Every import of the package's own modules: at the top, inside functions, for types, and by `import_module`."""
    return tuple(_imports(module))


def _imports(module: Module) -> Iterator[Import]:
    for node in ast.walk(tree(module.path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "tedsl":
                    yield Import(node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.package.split(".")
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, *([base] if base else [])])
            if base.partition(".")[0] == "tedsl":
                for alias in node.names:
                    whole = f"{base}.{alias.name}"
                    yield (
                        Import(node.lineno, whole, None)
                        if whole in modules()
                        else Import(node.lineno, base, alias.name)
                    )
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and str(argument.value).partition(".")[0] == "tedsl":
                    yield Import(node.lineno, str(argument.value), None)


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def floor(name: str) -> int:
    part = name.removeprefix("tedsl").lstrip(".").partition(".")[0]
    for n, parts in enumerate(FLOORS):
        if part in parts:
            return n
    raise AssertionError(f"{name} is on no floor: give it one in {Path(__file__).name}")


def place(module: Module, line: int) -> str:
    return f"{module.path.relative_to(ROOT).as_posix()}:{line}"


def inside() -> list[Module]:
    """All modules but the public face, which gathers names."""
    return [m for m in modules().values() if m.name != "tedsl"]


def test_imports_run_downward() -> None:
    upward = []
    for module in inside():
        for found in imports(module):
            if found.target == "tedsl":
                part = module.name.removeprefix("tedsl.").partition(".")[0]
                if part not in ON_TOP and f"tedsl.{found.name}" not in modules():
                    upward.append(f"{place(module, found.line)}: the public face is above it")
            elif floor(found.target) > floor(module.name):
                upward.append(f"{place(module, found.line)}: {found.target} is above it")
    assert not upward, "\n".join(upward)


def test_no_circle_of_files() -> None:
    edges = {m.name: {f.target for f in imports(m) if f.target in modules()} - {m.name, "tedsl"} for m in inside()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            pytest.fail("a circle of imports: " + " → ".join([*way[way.index(name) :], name]))
        if name not in done:
            for target in sorted(edges.get(name, ())):
                visit(target, (*way, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


def test_no_private_name_of_another_file() -> None:
    found = []
    for module in inside():
        for taken in imports(module):
            if taken.name and taken.name.startswith("_") and not taken.name.startswith("__"):
                found.append(f"{place(module, taken.line)}: {taken.name} of {taken.target}")
        aliases = {
            alias.asname or alias.name
            for node in ast.walk(tree(module.path))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if f"{node.module or ''}.{alias.name}" in modules() or (node.level and not node.module)
        }
        for node in ast.walk(tree(module.path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
                if node.attr.startswith("_") and not node.attr.startswith("__"):
                    found.append(f"{place(module, node.lineno)}: {node.value.id}.{node.attr}")
    assert not found, "\n".join(found)


def test_no_variable_of_a_module_is_assigned_by_its_functions() -> None:
    found = [
        f"{place(module, node.lineno)}: global {', '.join(node.names)}"
        for module in inside()
        for node in ast.walk(tree(module.path))
        if isinstance(node, ast.Global)
    ]
    assert not found, "\n".join(found)


def test_operators_and_training_use_public_names_only() -> None:
    found = []
    for module in inside():
        part = module.name.removeprefix("tedsl.").partition(".")[0]
        if part in PUBLIC_NAMES_ONLY:
            for taken in imports(module):
                own = taken.target == f"tedsl.{part}" or taken.target.startswith(f"tedsl.{part}.")
                public = taken.target == "tedsl" and (taken.name is None or taken.name in te.__all__)
                if not own and not public:
                    found.append(f"{place(module, taken.line)}: {taken.target}.{taken.name or ''}")
    assert not found, "\n".join(found)


def test_files_read_in_one_sitting() -> None:
    long = {m.path: m.path.read_text("utf-8").count("\n") for m in modules().values()}
    assert not {p.relative_to(ROOT).as_posix(): n for p, n in long.items() if n > FILE_LINES}


def test_functions_fit_on_a_screen() -> None:
    long = []
    for module in modules().values():
        for node in ast.walk(tree(module.path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                start = node.body[1].lineno if ast.get_docstring(node) and len(node.body) > 1 else node.lineno
                lines = (node.end_lineno or 0) - start + 1
                if lines > FUNCTION_LINES:
                    long.append(f"{place(module, node.lineno)}: {node.name} has {lines} lines without its docstring")
    assert not long, "\n".join(long)


def test_lines_fit_in_a_window() -> None:
    long = [
        f"{place(module, n)}: {len(line)} columns"
        for module in modules().values()
        for n, line in enumerate(module.path.read_text("utf-8").splitlines(), 1)
        if len(line) > COLUMNS
    ]
    assert not long, "\n".join(long)
