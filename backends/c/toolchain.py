"""The system's C compiler and the flags for this CPU.

Flags name the CPU's features one by one, as the operating system reports them: ``-march=native`` misreads some virtual
machines, and explicit vector types need the flags to match the registers. Nothing here changes what floating point
means (no -ffast-math).
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

from tedsl.backends import cache
from tedsl.lang.errors import BuildError

# feature as the Linux kernel names it -> flag, per level; a level is used if the CPU has all of `NEEDED`
AVX2 = {
    "ssse3": "-mssse3",
    "sse4_1": "-msse4.1",
    "sse4_2": "-msse4.2",
    "popcnt": "-mpopcnt",
    "avx": "-mavx",
    "f16c": "-mf16c",
    "fma": "-mfma",
    "avx2": "-mavx2",
    "bmi1": "-mbmi",
    "bmi2": "-mbmi2",
    "abm": "-mlzcnt",
}
AVX512 = {
    "avx512f": "-mavx512f",
    "avx512cd": "-mavx512cd",
    "avx512vl": "-mavx512vl",
    "avx512bw": "-mavx512bw",
    "avx512dq": "-mavx512dq",
}
# Tuned for such vectors: gcc's other cost tables take a load to be free wherever an instruction can make it itself, so
# that a vector that several results need (a stencil's) is loaded again for each of them: 36 loads where 18 differ, and
# the depthwise convolution 1.4 times slower.
WIDE = ("-mprefer-vector-width=512", "-mtune=skylake-avx512")
NEEDED = {"avx2": ("avx2", "fma"), "avx512": ("avx2", "fma", "avx512f", "avx512vl", "avx512bw", "avx512dq")}
LEVELS = ("sse2", "avx2", "avx512")
COMMON = (
    "-std=gnu11",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    # "#pragma GCC unroll" is obeyed for the innermost loop of a register tile too
    "--param=max-unrolled-insns=800",
    "--param=max-average-unrolled-insns=800",
    "-fPIC",
    "-shared",
    "-w",
    "-pipe",
)
# a kernel's functions call each other and not namesakes in other libraries; a missing function is an error of the build
LINUX_SYMBOLS = ("-fno-semantic-interposition", "-Wl,-Bsymbolic", "-Wl,-z,defs")
SYMBOLS = LINUX_SYMBOLS if sys.platform.startswith("linux") else ()
# gcc's pass over known bits takes two fifths of the time that a large register tile takes to compile, and finds nothing
# there: the code is the same. Clang does not know the flag, so it is no part of a kernel's key.
QUICK = "-fno-tree-bit-ccp"
INSTALL = "install one (Debian: apt install gcc; Fedora: dnf install gcc; macOS: xcode-select --install) or set CC"

CHECK = """\
#include <stdint.h>
int64_t check(int64_t n)
{
    int64_t s = 0;
#pragma omp parallel for reduction(+:s)
    for (int64_t i = 0; i < n; i++) s += i;
    return s;
}
"""


@dataclass(frozen=True)
class Compiler:
    """A C compiler: the command that starts it, what it says of itself, and whether it knows OpenMP and `QUICK`."""

    command: tuple[str, ...]
    version: str
    openmp: bool
    quick: bool

    @property
    def path(self) -> str:
        return self.command[0]


@lru_cache(maxsize=1)
def cpu_features() -> frozenset[str]:
    """The vector features of this CPU, by their names in /proc/cpuinfo. Empty where nothing is known."""
    if sys.platform == "darwin":
        return _features_of_macos()
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:  # the first core's lines are enough, and cheap on machines with hundreds
                if line.startswith(("flags", "Features")):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def _features_of_macos() -> frozenset[str]:
    import subprocess

    names = ["machdep.cpu.features", "machdep.cpu.leaf7_features"]
    try:
        text = subprocess.run(["/usr/sbin/sysctl", "-n", *names], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    other = {"sse4.1": "sse4_1", "sse4.2": "sse4_2", "avx1.0": "avx", "lzcnt": "abm"}
    return frozenset(other.get(word, word) for word in text.lower().split())


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def level(isa: str | None = None) -> str:
    """The instructions to use: the most that the CPU has, and no more than `isa` or $TEDSL_ISA ask for.

    "sse2", "avx2" or "avx512" on x86-64, "generic" elsewhere (AArch64 compilers use its vectors without being told).
    """
    asked = isa or os.environ.get("TEDSL_ISA") or LEVELS[-1]
    if asked not in LEVELS:
        raise BuildError(f"unknown instruction set {asked!r}; expected one of {', '.join(LEVELS)} (isa= or TEDSL_ISA)")
    if not is_x86():
        return "generic"
    have = cpu_features()
    best = "sse2"
    for name in LEVELS[1 : LEVELS.index(asked) + 1]:
        if have.issuperset(NEEDED[name]):
            best = name
    return best


def vector_bytes(isa: str | None = None) -> int:
    """The width of a vector register: 64 with AVX-512, 32 with AVX2, else 16."""
    return {"avx512": 64, "avx2": 32}.get(level(isa), 16)


def feature_flags(isa: str | None = None) -> tuple[str, ...]:
    """The compiler's flags for the CPU's features."""
    name, have = level(isa), cpu_features()
    flags: list[str] = []
    if name in ("avx2", "avx512"):
        flags += [flag for feature, flag in AVX2.items() if feature in have]
    if name == "avx512":
        flags += [flag for feature, flag in AVX512.items() if feature in have]
        flags += WIDE
    return tuple(flags)


def flags(openmp: bool = False, isa: str | None = None) -> tuple[str, ...]:
    """All flags of a compilation; the machine decides, not the compiler, so that a cached kernel needs none."""
    return COMMON + SYMBOLS + feature_flags(isa) + (("-fopenmp",) if openmp else ())


def candidates() -> list[tuple[str, ...]]:
    """The commands that may be C compilers, in the order in which they are tried. CC decides alone where it is set."""
    import shlex
    import shutil

    given = os.environ.get("CC", "").strip()
    if given:
        command = shlex.split(given)
        path = shutil.which(command[0])
        if path is None:
            raise BuildError(f"no C compiler: CC is {given!r}, and there is no such command; correct or unset CC")
        return [(path, *command[1:])]
    found: list[tuple[str, ...]] = []
    for name in ("gcc", "clang", "cc"):
        path = shutil.which(name)
        if path is not None:
            found.append((path,))
    if not found:
        raise BuildError(f"no C compiler found (looked for gcc, clang and cc on PATH); {INSTALL}")
    return found


_known: dict[tuple[str, ...], Compiler] = {}


def find() -> Compiler:
    """A C compiler that works. What was learnt of it is noted in the cache, so that it is asked once."""
    import shutil

    reasons = []
    for command in candidates():
        if command in _known:
            return _known[command]
        try:
            state = os.stat(shutil.which(command[0]) or command[0])
        except OSError as e:
            reasons.append(f"{' '.join(command)}: {e.strerror}")
            continue
        print_of = [list(command), state.st_size, state.st_mtime_ns]
        name = "compiler-" + cache.key(*command)[:12]
        noted = cache.recall(name)
        if isinstance(noted, list) and len(noted) == 4 and noted[0] == print_of and isinstance(noted[1], str):
            compiler = Compiler(command, noted[1], noted[2] is True, noted[3] is True)
        else:
            checked = _check(command)
            if isinstance(checked, str):
                reasons.append(f"{' '.join(command)}: {checked}")
                continue
            compiler = checked
            cache.remember(name, [print_of, compiler.version, compiler.openmp, compiler.quick])
        _known[command] = compiler
        return compiler
    raise BuildError(f"no C compiler works; {INSTALL}\n  " + "\n  ".join(reasons))


def _check(command: tuple[str, ...]) -> Compiler | str:
    """Compile a small library, with OpenMP if that works; else the reason why the compiler is of no use."""
    import tempfile

    try:
        shown = _start([*command, "--version"])
    except OSError as e:
        return e.strerror or str(e)
    version = (shown.stdout or shown.stderr).strip().split("\n")[0]
    reason = ""
    with tempfile.TemporaryDirectory(prefix="tedsl-") as place:
        source, library = Path(place, "check.c"), Path(place, "check.so")
        source.write_text(CHECK)
        for extra in ((QUICK, "-fopenmp"), ("-fopenmp",), (QUICK,), ()):
            done = _start(
                [*command, "-O1", "-fPIC", "-shared", "-w", *SYMBOLS, *extra, "-o", str(library), str(source)]
            )
            if done.returncode == 0 and library.exists():
                return Compiler(command, version, "-fopenmp" in extra, QUICK in extra)
            reason = _first_lines(done.stderr or done.stdout) or f"it ended with status {done.returncode}"
    return reason


def _start(command: list[str]) -> subprocess.CompletedProcess[str]:
    import subprocess

    environment = {**os.environ, "LC_ALL": "C"}
    none = subprocess.DEVNULL
    return subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=none, env=environment)


def _first_lines(text: str, count: int = 12) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    more = [f"... and {len(lines) - count} more lines"] if len(lines) > count else []
    return "\n  ".join(lines[:count] + more)


def compile_library(source: Path, library: Path, openmp: bool, isa: str | None = None) -> dict[str, object]:
    """Compile a C file to a shared library; what to note about it. A BuildError holds the compiler's first messages."""
    compiler = find()
    used = flags(openmp, isa)
    if openmp and not compiler.openmp:
        used = tuple(f for f in used if f != "-fopenmp")
    if compiler.quick:
        used += (QUICK,)
    try:
        done = _start([*compiler.command, *used, "-o", str(library), str(source), "-lm"])
    except OSError as e:
        raise BuildError(f"the C compiler {compiler.path} cannot be started: {e.strerror}; {INSTALL}") from e
    if done.returncode != 0 or not library.exists():
        text = done.stderr or done.stdout
        if "No space left on device" in text or "Disk quota exceeded" in text:
            raise cache.full(library.parent)
        said = _first_lines(text.replace(str(source), source.name)) or f"it ended with status {done.returncode}"
        raise BuildError(f"the C compiler {compiler.path} failed on {source.stem}:\n  {said}")
    command = list(compiler.command)
    return {"compiler": compiler.version, "command": command, "flags": list(used), "openmp": "-fopenmp" in used}
