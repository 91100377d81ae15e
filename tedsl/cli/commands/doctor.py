"""Say whether this machine has what tedsl needs, and what it would use of it.

Looks at the C compiler, the CPU, OpenMP, the kernel cache and the optional packages, then compiles a small kernel and
checks its answer. The exit status is 1 if tedsl cannot be used here, else 0.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import NamedTuple

from tedsl.terminal import duration, say, size, table

OPTIONAL = {
    "optuna": "tune",
    "matplotlib": "plot",
    "distributed": "dask",
    "torch": "torch",
    "jax": "jax",
    "Cython": "building exported kernels",
}
STYLES = {"ok": "", "missing": "dim", "warning": "yellow", "FAILED": "bold red"}


class Finding(NamedTuple):
    """One line of the report. `state` is one of STYLES; tedsl cannot be used if one is FAILED."""

    what: str
    state: str
    detail: str


def configure(parser: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> int:
    findings = [*versions(), *checked(compiler, "C compiler"), *checked(cpu, "CPU"), *checked(cache, "kernel cache")]
    findings += [*optional_packages(), *checked(trial, "test kernel")]
    table(findings, ("", "state", "detail"), styles=[STYLES[finding.state] for finding in findings])
    failed = [finding.what for finding in findings if finding.state == "FAILED"]
    if failed:
        say(f"\ntedsl cannot be used here: {', '.join(failed)}.", "bold red")
        return 1
    say("\ntedsl can be used here.", "bold green")
    return 0


def checked(check: Callable[[], list[Finding]], what: str) -> list[Finding]:
    """The findings of a check. It failing in any way is one too: a doctor has to report what he does not know."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = check()
    except Exception as error:
        text = getattr(error, "message", None) or str(error) or type(error).__name__
        return [Finding(what, "FAILED", text)]
    return [*found, *(Finding(what, "warning", str(warning.message)) for warning in caught)]


def versions() -> list[Finding]:
    import platform

    import numpy

    from tedsl.version import __version__

    python = f"{platform.python_version()} ({platform.python_implementation()})"
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    found = {"tedsl": __version__, "Python": python, "NumPy": numpy.__version__, "system": system}
    return [Finding(what, "ok", detail) for what, detail in found.items()]


def compiler() -> list[Finding]:
    from tedsl.backends.c import toolchain

    found = toolchain.find()
    openmp = Finding("OpenMP", "ok", "parallel loops use all cores")
    if not found.openmp:
        text = "the compiler has none (install libgomp or libomp): loops run on one core"
        openmp = Finding("OpenMP", "warning", text)
    return [
        Finding("C compiler", "ok", f"{' '.join(found.command)}: {found.version}"),
        Finding("flags", "ok", " ".join((*toolchain.flags(openmp=found.openmp), *found.extra))),
        openmp,
    ]


def cpu() -> list[Finding]:
    from tedsl.hardware import cores, instruction_set

    found, count = instruction_set(), cores()
    text = f"{found.name}, vectors of {found.vector_bytes} bytes, {count} core{'s' * (count != 1)} to use"
    return [Finding("CPU", "ok", text)]


def cache() -> list[Finding]:
    from tedsl.backends import cache

    place = cache.writable()
    count, used = cache.usage()
    text = f"{place}: {count} kernel{'s' * (count != 1)}, {size(used)} of at most {size(cache.limit())}"
    return [Finding("kernel cache", "ok", text)]


def optional_packages() -> list[Finding]:
    from importlib import metadata

    findings = []
    for package, use in OPTIONAL.items():
        try:
            findings.append(Finding(package, "ok", f"{metadata.version(package)} (for: {use})"))
        except metadata.PackageNotFoundError:
            findings.append(Finding(package, "missing", f"optional (for: {use})"))
    return findings


def trial() -> list[Finding]:
    """Compile kernels anew, in a cache of its own, and compare what they compute: sums, and a select whose loops some
    compilers get wrong.
    """
    import os
    import tempfile
    import time

    import numpy as np

    import tedsl as te

    i, j = te.axes("i j")
    A, R = te.tensor("A", (64, 48)), te.tensor("R")
    X, Y, S = te.tensor("X", (32, 5)), te.tensor("Y", (32, 5)), te.tensor("S")
    R[i] = te.sum(A[i, j] * 2 + 1)
    S[i, j] = te.where(X[i, j] > 0, Y[i, j], 0.0)
    a = np.arange(64 * 48, dtype="float32").reshape(64, 48) % 7
    x = np.arange(32 * 5, dtype="float32").reshape(32, 5) * 7 % 5 - 2
    before = os.environ.get("TEDSL_CACHE_DIR")
    with tempfile.TemporaryDirectory(prefix="tedsl-doctor-") as folder:
        os.environ["TEDSL_CACHE_DIR"] = folder
        try:
            start = time.perf_counter()
            kernel = te.build(R)
            took = time.perf_counter() - start
            right = np.array_equal(kernel(a), (a * 2 + 1).sum(1))
            select = te.build(te.create_schedule(S), [X, Y])
            right &= np.array_equal(select(x, x + 9), np.where(x > 0, x + 9, 0))
        finally:
            if before is None:
                del os.environ["TEDSL_CACHE_DIR"]
            else:
                os.environ["TEDSL_CACHE_DIR"] = before
    if not right:
        text = "it was compiled and loaded, but gave a wrong answer; please report this"
        return [Finding("test kernel", "FAILED", text)]
    return [Finding("test kernel", "ok", f"compiled in {duration(took)}, its answer is right")]
