"""The system's C compiler and its flags.

Flags name the CPU's features one by one (`tedsl.hardware`): ``-march=native`` misreads some virtual machines, and
explicit vector types need the flags to match the registers. Nothing here changes what floating point means (no
-ffast-math).
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tedsl.backends import cache
from tedsl.hardware import AVX2, cpu_features, feature_flags
from tedsl.lang.errors import BuildError

if TYPE_CHECKING:
    import subprocess

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
# gcc 11 and 12 (and what else has its bug 114375) load what a select needs with a mask that belongs to other lanes, where
# the loop around a short loop is made one of vectors. Without the step before that there are no such loads; only plain
# loops with selects are slower for it. Given to compilers that get SELECT wrong.
NO_SELECTS = "-fno-tree-loop-if-convert"
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


SELECT = """\
void check(const float *x, const float *y, float *z)
{
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 5; j++) z[5 * i + j] = x[5 * i + j] > 0 ? y[5 * i + j] : 0;
}
"""


@dataclass(frozen=True)
class Compiler:
    """A C compiler: the command that starts it, what it says of itself, whether it knows OpenMP, and the flags that it
    gets beyond those of all compilers.
    """

    command: tuple[str, ...]
    version: str
    openmp: bool
    extra: tuple[str, ...]

    @property
    def path(self) -> str:
        return self.command[0]


def flags(openmp: bool = False, isa: str | None = None) -> tuple[str, ...]:
    """All flags of a compilation; the machine decides, not the compiler, so that a cached kernel needs none."""
    return COMMON + SYMBOLS + feature_flags(isa) + (("-fopenmp",) if openmp else ())


def candidates() -> list[tuple[str, ...]]:
    """The commands that may be C compilers, in the order in which they are tried. CC decides alone where it is set."""
    import shlex
    import shutil

    given = os.environ.get("CC", "").strip()
    if given:
        try:
            command = shlex.split(given)
        except ValueError as e:
            raise BuildError(f"CC={given!r} is no command: {e}; correct or unset CC") from None
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


def find() -> Compiler:
    """A C compiler that works. What was learnt of it is noted in the cache, so that it is asked once."""
    reasons = []
    for command in candidates():
        try:
            return known(command)
        except OSError as e:
            reasons.append(f"{' '.join(command)}: {e.strerror or e}")
    raise BuildError(f"no C compiler works; {INSTALL}\n  " + "\n  ".join(reasons))


@functools.cache
def known(command: tuple[str, ...]) -> Compiler:
    """What is known of the compiler that a command starts, from the cache's notes if it is still the same file.

    Raises OSError, whose text says why it is of no use.
    """
    import shutil

    state = os.stat(shutil.which(command[0]) or command[0])
    print_of = [list(command), state.st_size, state.st_mtime_ns, masked_loads()]
    name = "compiler-" + cache.key(*command)[:12]
    noted = cache.recall(name)
    if isinstance(noted, list) and len(noted) == 4 and noted[0] == print_of and isinstance(noted[3], list):
        return Compiler(command, noted[1], noted[2] is True, tuple(f for f in (QUICK, NO_SELECTS) if f in noted[3]))
    compiler = examined(command)
    cache.remember(name, [print_of, compiler.version, compiler.openmp, list(compiler.extra)])
    return compiler


def examined(command: tuple[str, ...]) -> Compiler:
    """Compile a small library, with OpenMP if that works. Raises OSError, whose text says what went wrong."""
    import errno
    import tempfile

    shown = _start([*command, "--version"])
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
                own = (QUICK,) * (QUICK in extra) + (NO_SELECTS,) * (not selects_right(command, Path(place)))
                return Compiler(command, version, "-fopenmp" in extra, own)
            reason = _first_lines(done.stderr or done.stdout) or f"it ended with status {done.returncode}"
    raise OSError(errno.ENOEXEC, reason)


def masked_loads() -> list[str]:
    """The flags under which SELECT is tried: those of the first vectors with masked loads, where the CPU has them."""
    return [flag for name, flag in AVX2.flags.items() if name in ("avx", "avx2") and name in cpu_features()]


def selects_right(command: tuple[str, ...], place: Path) -> bool:
    """Whether the compiler makes code of SELECT that does what it says. Compiles it in the folder `place` and runs it."""
    import ctypes

    source, library = place / "select.c", place / "select.so"
    source.write_text(SELECT)
    used = ("-O3", "-fPIC", "-shared", "-w", *masked_loads())
    if _start([*command, *used, "-o", str(library), str(source)]).returncode != 0:
        return True  # it is no gcc for this machine
    floats = ctypes.c_float * 160
    x, y, z = floats(*(n * 7 % 5 - 2 for n in range(160))), floats(*range(1, 161)), floats()
    try:
        ctypes.CDLL(str(library)).check(x, y, z)
    except OSError:
        return False  # who knows
    return all(z[n] == (y[n] if x[n] > 0 else 0) for n in range(160))


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
    used += compiler.extra
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
