"""What this machine can do: arithmetic of one core, bandwidth of each memory level, sizes of the caches.

The sizes are looked up, the speeds are measured, the first time that somebody asks for them, and kept in the kernel
cache's folder for every later process on the same machine. Percentages of peak refer to them.
"""

from __future__ import annotations

import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

from .backends import cache
from .backends.c import toolchain

__all__ = ["Machine", "machine"]

FORMAT = 1
DTYPES = ("float32", "float64")
LEVELS = ("l1", "l2", "l3", "dram")
TYPICAL = {"l1": 32 * 1024, "l2": 512 * 1024, "l3": 8 * 2**20}  # where the system tells nothing
LARGEST_BUFFER = 512 * 2**20
CPUS = Path("/sys/devices/system/cpu")
CPU_INFO = Path("/proc/cpuinfo")


class Machine:
    """This machine.

    cpu             the processor's name as the system tells it
    level           the instructions that kernels use: sse2, avx2, avx512 or generic
    vector_bytes    the width of a vector register
    cores           the cores that this process may run on
    l1_bytes        data cache of a core; l2_bytes and l3_bytes likewise, 0 for a level that is not there
    peak_gflops     dtype ("float32", "float64") -> 1e9 operations a second of one core, from independent multiply-adds
    bandwidth       level ("l1", "l2", "l3", "dram") -> bytes a second that one core reads
    """

    def __init__(
        self, cpu: str, level: str, vector_bytes: int, cores: int, caches: dict[str, int], key: str, kept: Any = None
    ) -> None:
        self.cpu, self.level, self.vector_bytes, self.cores, self.key = cpu, level, vector_bytes, cores, key
        self.l1_bytes, self.l2_bytes, self.l3_bytes = (caches[name] for name in LEVELS[:3])
        self._speeds: dict[str, dict[str, float]] | None = kept

    @property
    def peak_gflops(self) -> dict[str, float]:
        return dict(self._measured()["peak_gflops"])

    @property
    def bandwidth(self) -> dict[str, float]:
        return dict(self._measured()["bandwidth"])

    def _measured(self, again: bool = False) -> dict[str, dict[str, float]]:
        if self._speeds is None or again:
            from tedsl.probe import measure

            self._speeds = measure(self.vector_bytes, self.buffers())
            cache.remember(self.key, {"format": FORMAT, **self._speeds})
        return self._speeds

    def buffers(self) -> dict[str, int]:
        """The bytes that are read to measure each level: half of a cache, four times the last one."""
        last = self.l3_bytes or self.l2_bytes
        sizes = {"l1": self.l1_bytes // 2, "l2": self.l2_bytes // 2, "l3": self.l3_bytes // 2}
        sizes["dram"] = min(max(4 * last, 2**25), LARGEST_BUFFER)
        # a level that is missing, or whose half would fit into the level before it, is measured as the next one
        sizes["l3"] = sizes["l3"] if sizes["l3"] > self.l2_bytes else sizes["dram"]
        sizes["l2"] = sizes["l2"] if sizes["l2"] > self.l1_bytes else sizes["l3"]
        return sizes

    def to_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        names = (
            "cpu",
            "level",
            "vector_bytes",
            "cores",
            "l1_bytes",
            "l2_bytes",
            "l3_bytes",
            "peak_gflops",
            "bandwidth",
        )
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        rows = [
            ("CPU", f"{self.cpu}, {self.level}"),
            ("vectors", f"{self.vector_bytes} bytes"),
            ("cores", str(self.cores)),
        ]
        rows += [(f"peak {dtype}", f"{speed:.1f} GFLOP/s a core") for dtype, speed in self.peak_gflops.items()]
        held = {"l1": self.l1_bytes, "l2": self.l2_bytes, "l3": self.l3_bytes}
        for name, speed in self.bandwidth.items():
            note = f", {held[name] // 1024} KiB" if held.get(name) else ""
            rows.append(("DRAM" if name == "dram" else name.upper(), f"{speed / 1e9:.1f} GB/s a core{note}"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows)

    def __repr__(self) -> str:
        return f"<machine: {self.cpu}, {self.level}, {self.cores} core{'s' * (self.cores != 1)}>"


_known: dict[str, Machine] = {}


def machine(measure: bool = False) -> Machine:
    """This machine. Its speeds are measured when they are first asked for (about a second), once for all processes.

    `measure`: measure them now, whatever is known. Needs a C compiler, unless they are known; BuildError if there is
    none.
    """
    level = toolchain.level()
    found = _known.get(level)
    if found is None:
        found = _known[level] = _look(level)
    found.cores = cores()
    if measure:
        found._measured(again=True)
    return found


def _look(level: str) -> Machine:
    import hashlib

    cpu, width, caches = cpu_name(), toolchain.vector_bytes(), cache_bytes()
    parts = [
        cpu,
        platform.machine(),
        level,
        *sorted(toolchain.cpu_features()),
        hypervisor(),
        str(sorted(caches.items())),
    ]
    key = "machine-" + hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:12]
    return Machine(cpu, level, width, cores(), caches, key, _valid(cache.recall(key)))


def _valid(noted: Any) -> dict[str, dict[str, float]] | None:
    """The speeds that an earlier process noted, if they are whole."""
    if not isinstance(noted, dict) or noted.get("format") != FORMAT:
        return None
    speeds: dict[str, dict[str, float]] = {}
    for what, names in (("peak_gflops", DTYPES), ("bandwidth", LEVELS)):
        found = noted.get(what)
        if not isinstance(found, dict) or not all(
            isinstance(found.get(n), float) and 0 < found[n] < math.inf for n in names
        ):
            return None
        speeds[what] = {n: found[n] for n in names}
    return speeds


def cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first_of_cpu_info() -> dict[str, str]:
    """The first core's lines of /proc/cpuinfo."""
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


def cpu_name() -> str:
    """The processor's name, and what tells its generations apart where the name does not."""
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or platform.machine()
    info = _first_of_cpu_info()
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
    """The sizes of the data caches of a core: what the kernel of the system tells, else typical ones."""
    found = _from_sysfs() or _from_sysconf() or _from_sysctl()
    if not found.get("l1"):
        return dict(TYPICAL)
    return {name: found.get(name, 0) for name in LEVELS[:3]}


def _from_sysfs() -> dict[str, int]:
    found: dict[str, int] = {}
    try:
        for place in sorted((CPUS / f"cpu{_any_core()}" / "cache").glob("index*")):
            if (place / "type").read_text().strip() in ("Data", "Unified"):
                text = (place / "size").read_text().strip()
                scale = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
                found["l" + (place / "level").read_text().strip()] = int(text.rstrip("KMG")) * scale
    except (OSError, ValueError):
        return {}
    return found


def _any_core() -> int:
    return min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


def _from_sysconf() -> dict[str, int]:
    names = {"l1": "SC_LEVEL1_DCACHE_SIZE", "l2": "SC_LEVEL2_CACHE_SIZE", "l3": "SC_LEVEL3_CACHE_SIZE"}
    known = getattr(os, "sysconf_names", {})
    try:
        return {level: max(os.sysconf(name), 0) for level, name in names.items() if name in known}
    except (OSError, ValueError):
        return {}


def _from_sysctl() -> dict[str, int]:
    names = {
        "l1": ("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"),
        "l2": ("hw.perflevel0.l2cachesize", "hw.l2cachesize"),
        "l3": ("hw.l3cachesize",),
    }
    found: dict[str, int] = {}
    if sys.platform == "darwin":
        for level, candidates in names.items():
            texts = [_sysctl(name) for name in candidates]
            found[level] = next((int(text) for text in texts if text.isdigit()), 0)
    return found


def _sysctl(name: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
