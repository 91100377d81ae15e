"""This machine, as far as it can be looked up: its vector instructions, caches, cores and name. Nothing is measured
here (`tedsl.machine` does that) and nothing is compiled.

An instruction set is a row of `INSTRUCTION_SETS`; a new one is a new row. TEDSL_ISA=sse2|avx2|avx512 says that this
machine has no more than that, whatever it has: tests of what another machine would do set it.
"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from .lang.errors import BuildError

CPUS = Path("/sys/devices/system/cpu")
CPU_INFO = Path("/proc/cpuinfo")
CACHES = ("l1", "l2", "l3")
TYPICAL = {"l1": 32 * 1024, "l2": 512 * 1024, "l3": 8 * 2**20}  # where the system tells nothing


@dataclass(frozen=True)
class InstructionSet:
    """Vector instructions. `registers`: of vectors; `macro`: what a compiler defines where it may use float vectors of
    this width; `needs`: the features of a CPU that has them; `flags`: feature -> the compiler's flag, for those that
    come on top of the set before; `tuning`: flags that go with them.
    """

    name: str
    vector_bytes: int
    registers: int
    macro: str = ""
    needs: frozenset[str] = frozenset()
    flags: dict[str, str] = field(default_factory=dict)
    tuning: tuple[str, ...] = ()


# Features as Linux names them in /proc/cpuinfo. Tuned for 64-byte vectors: gcc's other cost tables take a load to be
# free wherever an instruction can make it itself, so that a vector that several results need (a stencil's) is loaded
# again for each of them: 36 loads where 18 differ, and the depthwise convolution 1.4 times slower.
# fmt: off
SSE2 = InstructionSet("sse2", 16, 16, "__SSE2__")
AVX2 = InstructionSet(
    "avx2", 32, 16, "__AVX__", frozenset({"avx2", "fma"}),
    {"ssse3": "-mssse3", "sse4_1": "-msse4.1", "sse4_2": "-msse4.2", "popcnt": "-mpopcnt", "avx": "-mavx",
     "f16c": "-mf16c", "fma": "-mfma", "avx2": "-mavx2", "bmi1": "-mbmi", "bmi2": "-mbmi2", "abm": "-mlzcnt"})
AVX512 = InstructionSet(
    "avx512", 64, 32, "__AVX512F__", AVX2.needs | {"avx512f", "avx512vl", "avx512bw", "avx512dq"},
    {"avx512f": "-mavx512f", "avx512cd": "-mavx512cd", "avx512vl": "-mavx512vl", "avx512bw": "-mavx512bw",
     "avx512dq": "-mavx512dq"},
    ("-mprefer-vector-width=512", "-mtune=skylake-avx512"))
# fmt: on
GENERIC = InstructionSet("generic", 16, 32)  # AArch64: its compilers use its vectors without being told
INSTRUCTION_SETS = {row.name: row for row in (SSE2, AVX2, AVX512)}  # of x86-64, each part of the next


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def instruction_set(isa: str | None = None) -> InstructionSet:
    """The instructions to use: the most that the CPU has, and no more than `isa` and $TEDSL_ISA allow.

    Raises BuildError for a name that is not in the table.
    """
    names = list(INSTRUCTION_SETS)
    for asked in (isa, os.environ.get("TEDSL_ISA")):
        if asked and asked not in INSTRUCTION_SETS:
            expected = ", ".join(INSTRUCTION_SETS)
            raise BuildError(f"unknown instruction set {asked!r}; expected one of {expected} (isa= or TEDSL_ISA)")
        if asked in names:
            names = names[: names.index(asked) + 1]
    if not is_x86():
        return GENERIC
    have = cpu_features()
    return next(row for name in reversed(names) if have >= (row := INSTRUCTION_SETS[name]).needs)


def level(isa: str | None = None) -> str:
    """The name of the instructions to use."""
    return instruction_set(isa).name


def vector_bytes(isa: str | None = None) -> int:
    """The width of a vector register: 64 with AVX-512, 32 with AVX2, else 16."""
    return instruction_set(isa).vector_bytes


def feature_flags(isa: str | None = None) -> tuple[str, ...]:
    """The compiler's flags for those features of the CPU that belong to the instructions to use."""
    last = instruction_set(isa)
    have, found = cpu_features(), list[str]()
    for row in INSTRUCTION_SETS.values():
        if row.vector_bytes <= last.vector_bytes and is_x86():
            found += [*(flag for feature, flag in row.flags.items() if feature in have), *row.tuning]
    return tuple(found)


def registers(width: int) -> int:
    """How many vector registers come with vectors of so many bytes."""
    return max((row.registers for row in INSTRUCTION_SETS.values() if row.vector_bytes <= width), default=16)


def cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# What the system tells ------------------------------------------------------------------------------------------------


def cpu_info() -> dict[str, str]:
    """The first core's lines of /proc/cpuinfo; the others say the same, on some machines hundreds of times."""
    found: dict[str, str] = {}
    try:
        with CPU_INFO.open() as file:
            for line in file:
                name, colon, value = line.partition(":")
                if not colon:
                    break
                found[name.strip()] = value.strip()
    except OSError:
        pass
    return found


@lru_cache(maxsize=1)
def cpu_features() -> frozenset[str]:
    """The features of this CPU, by their names in /proc/cpuinfo. Empty where nothing is known."""
    if sys.platform == "darwin":
        other = {"sse4.1": "sse4_1", "sse4.2": "sse4_2", "avx1.0": "avx", "lzcnt": "abm"}
        words = sysctl("machdep.cpu.features", "machdep.cpu.leaf7_features").lower().split()
        return frozenset(other.get(word, word) for word in words)
    info = cpu_info()
    return frozenset((info.get("flags") or info.get("Features") or "").split())


def cpu_name() -> str:
    """The processor's name, and what tells its generations apart where the name does not."""
    if sys.platform == "darwin":
        return sysctl("machdep.cpu.brand_string") or platform.machine()
    info = cpu_info()
    name = info.get("model name") or info.get("Hardware") or info.get("CPU part") or platform.processor()
    numbers = [info[k] for k in ("cpu family", "model", "stepping") if k in info]
    return " ".join((name or platform.machine() or "unknown").split()) + (f" ({'/'.join(numbers)})" if numbers else "")


def hypervisor() -> str:
    """What the system says of the machine around it: the same processor is another machine under another hypervisor."""
    said = []
    for place in ("/sys/hypervisor/type", "/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name"):
        try:
            said.append(Path(place).read_text().strip())
        except (OSError, UnicodeDecodeError):
            said.append("")
    return "\0".join(said)


def cache_bytes() -> dict[str, int]:
    """The sizes of a core's data caches "l1", "l2" and "l3" (0: none): what the system tells, else typical ones."""
    found = from_sysfs() or from_sysconf() or from_sysctl()
    if not found.get("l1"):
        return dict(TYPICAL)
    return {name: found.get(name, 0) for name in CACHES}


def from_sysfs() -> dict[str, int]:
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    found: dict[str, int] = {}
    try:
        for place in sorted((CPUS / f"cpu{core}" / "cache").glob("index*")):
            if (place / "type").read_text().strip() in ("Data", "Unified"):
                text = (place / "size").read_text().strip()
                scale = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
                found["l" + (place / "level").read_text().strip()] = int(text.rstrip("KMG")) * scale
    except (OSError, ValueError):
        return {}
    return found


def from_sysconf() -> dict[str, int]:
    names = {"l1": "SC_LEVEL1_DCACHE_SIZE", "l2": "SC_LEVEL2_CACHE_SIZE", "l3": "SC_LEVEL3_CACHE_SIZE"}
    known = getattr(os, "sysconf_names", {})
    try:
        return {cache: max(os.sysconf(name), 0) for cache, name in names.items() if name in known}
    except (OSError, ValueError):
        return {}


def from_sysctl() -> dict[str, int]:
    names = {"l1": ("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"),
             "l2": ("hw.perflevel0.l2cachesize", "hw.l2cachesize"), "l3": ("hw.l3cachesize",)}  # fmt: skip
    found: dict[str, int] = {}
    if sys.platform == "darwin":
        for cache, candidates in names.items():
            found[cache] = next((int(said) for name in candidates if (said := sysctl(name)).isdigit()), 0)
    return found


def sysctl(*names: str) -> str:
    """What macOS says of these names; "" where it says nothing."""
    import subprocess

    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", *names], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
