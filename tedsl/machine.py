"""What this machine can do: arithmetic of one core, bandwidth of each memory level, sizes of the caches.

The sizes are looked up (`tedsl.hardware`), the speeds are measured, the first time that somebody asks for them, and
kept in the kernel cache's folder for every later process on the same machine. Percentages of peak refer to them.
"""

from __future__ import annotations

import functools
import hashlib
import math
import platform
from typing import Any

from . import hardware
from .backends import cache

__all__ = ["Machine", "machine"]

FORMAT = 1
DTYPES = ("float32", "float64")
LEVELS = (*hardware.CACHES, "dram")
LARGEST_BUFFER = 512 * 2**20
SHOWN = ("cpu", "level", "vector_bytes", "cores", "l1_bytes", "l2_bytes", "l3_bytes", "peak_gflops", "bandwidth")


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
        self.l1_bytes, self.l2_bytes, self.l3_bytes = (caches[name] for name in hardware.CACHES)
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
        return {name: getattr(self, name) for name in SHOWN}

    def __str__(self) -> str:
        rows = [("CPU", f"{self.cpu}, {self.level}"), ("vectors", f"{self.vector_bytes} bytes")]
        rows.append(("cores", str(self.cores)))
        rows += [(f"peak {dtype}", f"{speed:.1f} GFLOP/s a core") for dtype, speed in self.peak_gflops.items()]
        held = {"l1": self.l1_bytes, "l2": self.l2_bytes, "l3": self.l3_bytes}
        for name, speed in self.bandwidth.items():
            note = f", {held[name] // 1024} KiB" if held.get(name) else ""
            rows.append(("DRAM" if name == "dram" else name.upper(), f"{speed / 1e9:.1f} GB/s a core{note}"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows)

    def __repr__(self) -> str:
        return f"<machine: {self.cpu}, {self.level}, {self.cores} core{'s' * (self.cores != 1)}>"


def machine(measure: bool = False) -> Machine:
    """This machine. Its speeds are measured when they are first asked for (about a second), once for all processes.

    `measure`: measure them now, whatever is known. Needs a C compiler, unless they are known; BuildError if there is
    none.
    """
    found = known(hardware.level())
    found.cores = hardware.cores()
    if measure:
        found._measured(again=True)
    return found


@functools.cache
def known(level: str) -> Machine:
    """This machine when it uses the instructions `level`, with the speeds that an earlier process noted."""
    cpu, caches = hardware.cpu_name(), hardware.cache_bytes()
    parts = [cpu, platform.machine(), level, *sorted(hardware.cpu_features()), hardware.hypervisor()]
    text = "\0".join([*parts, str(sorted(caches.items()))])
    key = "machine-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return Machine(cpu, level, hardware.vector_bytes(), hardware.cores(), caches, key, _valid(cache.recall(key)))


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
