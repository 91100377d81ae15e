"""Kernels: compiled C functions of arrays."""

from __future__ import annotations

import itertools
import os
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tedsl.backends import cache
from tedsl.backends.c.runtime import LoadedKernel
from tedsl.backends.calls.arguments import Arguments, bind_sizes
from tedsl.backends.codegen.module import CModule
from tedsl.lang import debug
from tedsl.lang.errors import BuildError, CallValueError, InternalError, OpenMPWarning, warn
from tedsl.version import __version__

from . import toolchain

MAX_RANK = 64
_loads = itertools.count()


@dataclass(frozen=True)
class Timing:
    """Measured seconds of one run of a kernel."""

    min: float
    median: float
    samples: tuple[float, ...] = field(repr=False)


class Kernel(LoadedKernel):
    """A compiled function: ``f(*inputs, out=None, threads=None)``.

    Inputs are NumPy arrays or anything that lends its memory (buffer protocol, ``__dlpack__``); those that do not lie
    as the kernel reads them are copied, with a `CompactionWarning`. `out` is the array to write to, or a tuple of them;
    without it results are allocated. `threads` bounds the threads of parallel loops (default: OMP_NUM_THREADS, else all
    cores). Arguments that do not fit raise a `CallError`, and nothing is written.

    A process that was forked after its parent ran a parallel loop has one thread: OpenMP's others are not forked.
    """

    module: CModule
    path: Path
    library: Path

    def __init__(self, module: CModule) -> None:
        _check(module)
        self.module = module
        entry, library = compiled(module)
        self.path, self.library = entry.source, entry.library
        if module.openmp and entry.details.get("openmp") is False:
            text = f"[W003] {module.name}: the compiler has no OpenMP, so parallel loops run on one thread"
            text += "; install libomp, or gcc, and clear the cache (tedsl cache clear)"
            warn(text, OpenMPWarning)
        _load(self, module, entry, library)

    @property
    def name(self) -> str:
        return self.module.name

    @property
    def source(self) -> str:
        """The C source."""
        return self.module.source

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arguments, in order."""
        return tuple(a.name for a in self.module.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the results, in order."""
        return tuple(a.name for a in self.module.outputs)

    def time(
        self, *arrays: Any, out: Any = None, threads: int | None = None, repeat: int = 20, seconds: float = 1.0
    ) -> Timing:
        """Seconds of the C function alone: arguments are checked and results allocated once, before.

        Takes `repeat` samples, or fewer when they last longer than `seconds`.
        """
        if repeat < 1:
            raise CallValueError(f"{self.name}: repeat={repeat}: at least one run is needed")
        samples = self._seconds(arrays, out, threads, repeat, seconds)
        ordered = sorted(samples)
        median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
        return Timing(ordered[0], median, tuple(samples))

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write the kernel as the source of a Python extension that needs NumPy, and not tedsl."""
        from tedsl.backends.c.export import export

        return export(self.module, folder)

    def __repr__(self) -> str:
        return f"<kernel {self.name}({', '.join(self.inputs)}) -> {', '.join(self.outputs)}>"

    # A kernel never changes, so a copy is itself; to another process it travels as source and is compiled there.
    def __copy__(self) -> Kernel:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Kernel:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return build_module, (self.module,)


def build_module(module: CModule) -> Kernel:
    """The kernel of a module: from the cache if it is there, else compiled."""
    return Kernel(module)


def _check(module: CModule) -> None:
    if not (module.name.isidentifier() and module.name.isascii()):
        raise InternalError(f"{module.name!r} is no name for a C function")
    roles = [a.role for a in module.args]
    if roles != sorted(roles) or "output" not in roles:  # "input" < "output"
        raise InternalError(f"{module.name}: arguments are inputs, then at least one output, got {roles}")
    for argument in module.args:
        rank = len(argument.shape)
        if rank > MAX_RANK:
            raise BuildError(f"{module.name}: {argument.name} has {rank} axes, NumPy's arrays at most {MAX_RANK}")
        try:
            Arguments.dtype_of(argument.dtype)
        except (ImportError, AttributeError, TypeError) as e:
            text = f"NumPy has no {argument.dtype}, the dtype of {argument.name}"
            raise BuildError(f"{module.name}: {text}; install ml_dtypes, which brings it ({e})") from e
    try:
        binders = bind_sizes(module.spec()[1], len(module.sizes))
    except (IndexError, TypeError, KeyError) as e:
        raise InternalError(f"{module.name}: a shape or size is malformed: {e!r}") from e
    for size, binder in zip(module.sizes, binders):
        if binder is None:
            raise BuildError(
                f"{module.name}: no argument tells the size {size.name}: it is not an axis of any array; "
                f"give it a value ({size.name}=...) or use it in the shape of an input"
            )


def _key(module: CModule) -> str:
    # Not the compiler: a cached kernel is found where none is installed. CC is in it for those who compare compilers.
    machine = (sys.platform, platform.machine(), os.environ.get("CC", ""))
    return cache.key(__version__, *machine, *toolchain.flags(module.openmp, module.isa), module.name, module.source)


def compiled(module: CModule) -> tuple[cache.Entry, bytes]:
    """The compiled module's place in the cache, and its library."""
    key = _key(module)
    found = cache.lookup(key, module.source)
    if found is not None:
        debug.report(1, f"{module.name}: from the cache, {found[0].library}")
        return found

    def build(source: Path, library: Path) -> dict[str, Any]:
        return toolchain.compile_library(source, library, module.openmp, module.isa)

    try:
        with debug.step(module.name, "compile"):
            return cache.store(key, module.name, module.source, build)
    except BuildError as e:
        kept = cache.keep_failed(module.name, key, module.source) if " failed on " in e.message else None
        if kept is None:
            raise
        raise BuildError(f"{e.message}\n  the source is kept in {kept}", e.location) from None


def _load(kernel: Kernel, module: CModule, entry: cache.Entry, library: bytes) -> None:
    """Load exactly the bytes whose checksum was compared, from memory where the system can.

    A mapped file of the cache could be overwritten while the kernel runs, which would crash this process.
    """
    symbol = f"{module.name}_call"
    try:
        descriptor = os.memfd_create(module.name, os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        descriptor = -1
    try:
        if descriptor >= 0:
            view = memoryview(library)
            while view:
                view = view[os.write(descriptor, view) :]
            # The loader takes a path it has seen for the same library, so every load spells its path in its own way.
            spelling = "".join(".//" if bit == "1" else "./" for bit in f"{next(_loads):b}")
            try:
                LoadedKernel.__init__(kernel, module.spec(), f"/proc/self/fd/{spelling}{descriptor}", symbol)
                return
            except OSError:
                pass  # /proc is not mounted, or memory may not be executed: the file then
        try:
            LoadedKernel.__init__(kernel, module.spec(), str(entry.library), symbol)
        except OSError as e:
            raise BuildError(f"the compiled kernel {entry.library} cannot be loaded: {e}") from e
    finally:
        if descriptor >= 0:
            os.close(descriptor)
