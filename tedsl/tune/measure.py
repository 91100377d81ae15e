"""Measuring a kernel honestly: random data, a result that is checked, a core of its own, repeated until the spread is
small.

This runs in a process of its own, which a kernel may crash or hang in.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import statistics
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tedsl.lang import dtypes
from tedsl.lang.errors import BuildError, CallIndexError, Error
from tedsl.lang.expr import Access, walk
from tedsl.lang.tensor import Tensor

ENOUGH_SPREAD, UNQUIET = 0.02, 0.2
FEWEST, MOST = 7, 1000  # runs
ENOUGH_SECONDS = 0.25
CHUNK_SECONDS = 0.002
HOPELESS = 2.5  # a kernel this many times slower than the best is run a few times only
LONG_SECONDS = 0.001  # of a run that is timed from Python; what a call costs beside the kernel is a thousandth of it
COLD_SECONDS = 0.02  # of a run beside which empty caches and untouched pages are nothing
TOLERANCE = {"float64": 1e-8, "float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}
SEED = 7


@dataclass(frozen=True)
class Job:
    """A kernel to be measured. Plain data: it travels. `program`: outputs and arguments, pickled; `scratch`: a folder
    of this machine, or None.

    data: arrays to measure with, or None for random ones. best: seconds of the best so far. threads: None for all
    cores.
    """

    module: Any
    workload: str
    program: bytes
    sizes: dict[str, int]
    timeout: float
    threads: int | None = None
    memory: int | None = None
    scratch: str | None = None
    best: float | None = None
    data: Any = None


@dataclass
class _Case:
    inputs: list[np.ndarray]
    expected: list[np.ndarray]

    def __post_init__(self) -> None:
        self.digest = self._digest()

    def _digest(self) -> int:
        found = 0
        for array in (*self.inputs, *self.expected):
            found = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, found)
        return found

    def check(self) -> None:
        """Raise _Wrong when a kernel wrote to what it may only read: it would spoil what is measured next as well."""
        if self._digest() != self.digest:
            _cases.clear()
            raise _Wrong("wrong answer: it writes to its inputs, or beyond its results")


_cases: dict[str, _Case] = {}


class _Wrong(Exception):
    """The kernel cannot be used; the text says why."""


def serve(connection: Any, job: Job) -> None:
    """In the measuring process: measure, and answer ("measured", what) or ("failed", why)."""

    def phase(name: str) -> None:
        connection.send(("phase", name))

    try:
        connection.send(("measured", measure(job, phase)))
    except _Wrong as e:
        connection.send(("failed", str(e)))
    except MemoryError as e:
        connection.send(("failed", f"out of memory: {e}" if str(e) else "out of memory"))
    except Error as e:
        connection.send(("failed", e.message))
    except Exception as e:
        connection.send(("broken", f"{type(e).__name__}: {e}"))
    finally:
        _limit_memory(None)  # the next job's kernel is loaded without this one's limit


def measure(job: Job, phase: Any) -> dict[str, Any]:
    """Build, check and time. Returns what is a row's business."""
    from tedsl.backends.c import toolchain
    from tedsl.backends.c.kernel import build_module

    from .cores import available, pin, timing
    from .machine import identity

    cores = _all_cores or available()
    pin(cores)
    phase("compiler")
    kernel = build_module(job.module)
    phase("reference")
    case = _case(job, kernel)
    _limit_memory(_most_of_the_machine() if job.memory is None else job.memory)
    inputs = case.inputs
    threads = min(job.threads or len(cores), len(cores)) if job.module.openmp else 1
    phase("kernel")
    with _warnings_off():
        begun = time.perf_counter()
        made = kernel(*inputs, threads=threads)
        first = time.perf_counter() - begun
    case.check()
    made = list(made) if isinstance(made, tuple) else [made]
    for name, got, want in zip(kernel.outputs, made, case.expected):
        _compare(name, got, want, _mixed(job))
    phase("waiting")
    out = tuple(made) if len(made) > 1 or job.module.several else made[0]
    with timing(cores, threads) as mine:
        pin(mine)
        phase("timing")
        runs = _Runs(kernel, inputs, out, threads, first)
        samples = _samples(runs, job.best, min(job.timeout / 4, ENOUGH_SECONDS))
        if _spread(_faster_half(samples)) > UNQUIET and not _hopeless(
            samples, job.best
        ):  # somebody is busy: wait for better times
            samples += _samples(runs, job.best, min(job.timeout / 4, 3 * ENOUGH_SECONDS))
    pin(cores)
    case.check()
    machine, cpu = identity()
    return {
        "seconds": statistics.median(_faster_half(samples)), "samples": len(samples), "spread": _spread(samples), "first": first, "threads": threads, "machine": machine,
        "cpu": cpu, "compiler": toolchain.find().version}  # fmt: skip


def _remember_cores() -> list[int]:
    from .cores import available

    return available()


_all_cores = _remember_cores()


@dataclass(frozen=True)
class _Runs:
    """A kernel on its data. first: seconds of its first run, which touched every page."""

    kernel: Any
    inputs: Sequence[np.ndarray]
    out: Any
    threads: int
    first: float

    def time(self, count: int, budget: float) -> list[float]:
        """Seconds of `count` single runs, fewer when they take longer than the budget."""
        if self.first < LONG_SECONDS:
            found = self.kernel.time(*self.inputs, out=self.out, threads=self.threads, repeat=count, seconds=budget)
            return list(found.samples)
        samples: list[float] = []
        while len(samples) < count and (len(samples) < 2 or sum(samples) < budget):
            begun = time.perf_counter()
            self.kernel(*self.inputs, out=self.out, threads=self.threads)
            samples.append(time.perf_counter() - begun)
        return samples


def _samples(runs: _Runs, best: float | None, budget: float) -> list[float]:
    """Seconds of single runs: enough of them for a small spread, within the budget."""
    with _warnings_off():
        if runs.first < COLD_SECONDS or not _hopeless([runs.first], best):
            runs.time(1, budget)  # warm: caches, the clock of the core, threads
        before = _interruptions()
        samples = runs.time(2, budget)
        spent = sum(samples)
        # Two runs are enough to see that a kernel is slow, unless it was somebody else who made them slow.
        few = _hopeless(samples, best) and (_interruptions() == before or _hopeless(samples, best, 2 * HOPELESS))
        while not few and spent < budget and len(samples) < MOST:
            if (
                len(samples) >= FEWEST
                and spent > CHUNK_SECONDS
                and _spread(_faster_half(samples)) <= _enough(samples, best)
            ):
                break
            count = int(min(max(3, CHUNK_SECONDS / max(min(samples), 1e-7)), MOST))
            more = runs.time(count, budget - spent)
            samples += more
            spent += sum(more)
    return samples


def _enough(samples: Sequence[float], best: float | None) -> float:
    """The spread that will do: the further from the best, the less it matters by how much."""
    behind = 0.0 if best is None else max(0.0, min(samples) / best - 1)
    return ENOUGH_SPREAD + 0.1 * behind


def _interruptions() -> int:
    """How often this process has had to leave its core to another."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _hopeless(samples: Sequence[float], best: float | None, times: float = HOPELESS) -> bool:
    return best is not None and min(samples) > times * best


def _faster_half(samples: Sequence[float]) -> list[float]:
    """The runs that tell how fast a kernel is: what slows the others down is not the kernel."""
    return sorted(samples)[: (len(samples) + 1) // 2]


def _spread(samples: Sequence[float]) -> float:
    if len(samples) < 2:
        return 0.0
    ordered = sorted(samples)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return (high - low) / max(statistics.median(ordered), 1e-12)


@contextlib.contextmanager
def _warnings_off() -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _most_of_the_machine() -> int | None:
    try:
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 0.8)
    except (OSError, ValueError, AttributeError):
        return None


def _limit_memory(limit: int | None) -> None:
    """Let this process have so many bytes more than it has, so that a kernel that wants more is told so; None: as many
    as it likes.
    """
    import resource

    if limit is None:
        with contextlib.suppress(OSError, ValueError):
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        return
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        used = 0
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = used + limit
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


# Data and reference ---------------------------------------------------------------------------------------------------


def _case(job: Job, kernel: Any) -> _Case:
    """The inputs and the results that are expected, made once for each workload, order of arguments and sizes."""
    outputs, args = pickle.loads(job.program)
    names = repr([(a.name, a.dtype, a.shape, a.strides) for a in job.module.args]).encode()
    given = b"" if job.data is None else pickle.dumps(job.data)
    sizes = repr(sorted(job.sizes.items())).encode()
    key = hashlib.sha256(b"|".join((job.workload.encode(), names, sizes, given))).hexdigest()[:24]
    if key in _cases:
        return _cases[key]
    tensors = _input_tensors(outputs, args)
    path = None if job.scratch is None else Path(job.scratch, f"{key}.npz")
    specs = _specs(job)
    if path is not None and path.exists():
        inputs = _inputs(job, specs, tensors, outputs, 1.0)
        with np.load(path, allow_pickle=False) as kept:
            expected = [
                kept[f"arr_{n}"].view(kernel.arguments.dtypes[len(inputs) + n]) for n in range(len(kept.files) - 1)
            ]
            share = float(kept["share"])
        if share != 1.0:
            inputs = _inputs(job, specs, tensors, outputs, share)
    else:
        inputs, expected, share = _reference(job, specs, tensors, outputs)
        if path is not None:
            raw = [
                np.ascontiguousarray(e).view(np.uint16) if e.dtype.kind == "V" or e.dtype.name == "bfloat16" else e
                for e in expected
            ]
            partial = path.with_suffix(f".{os.getpid()}.npz")
            np.savez(partial, *raw, share=np.float64(share))
            partial.replace(path)
    while len(_cases) > 4:
        _cases.pop(next(iter(_cases)))
    _cases[key] = _Case(inputs, expected)
    return _cases[key]


def _input_tensors(outputs: Sequence[Tensor], args: Sequence[Tensor] | None) -> list[Tensor]:
    from tedsl.schedule.loops.program import arguments

    return list(arguments(tuple(outputs), args))


def _specs(job: Job) -> list[tuple[Any, tuple[int, ...], tuple[int, ...] | None]]:
    from tedsl.backends.calls.arguments import Arguments, evaluate_size

    values = []
    for size in job.module.sizes:
        if size.name not in job.sizes:
            raise _Wrong(
                f"the size {size.name} has no number to be measured with: te.tune(…, sizes={{{size.name!r}: …}})"
            )
        values.append(job.sizes[size.name])
    found = []
    for a in job.module.inputs:
        shape = tuple(evaluate_size(s, values) for s in a.shape)
        strides = None if a.strides is None else tuple(evaluate_size(s, values) for s in a.strides)
        found.append((Arguments.dtype_of(a.dtype), shape, strides))
    return found


def _inputs(
    job: Job, specs: Sequence[Any], tensors: Sequence[Tensor], outputs: Sequence[Tensor], share: float
) -> list[np.ndarray]:
    if job.data is not None:
        return [np.asarray(a) for a in job.data]
    bounds = _index_bounds(outputs)
    made = []
    for n, (dtype, shape, strides) in enumerate(specs):
        bound = bounds.get(tensors[n]) if n < len(tensors) else None
        top = None if bound is None else max(1, int(_number(bound, job.sizes) * share))
        made.append(_random(np.random.default_rng([SEED, n]), dtype, shape, strides, top))
    return made


def _number(extent: Any, sizes: dict[str, int]) -> int:
    if isinstance(extent, int):
        return extent
    from tedsl.lang.expr import Const, Var, rewrite
    from tedsl.schedule.loop_tree import dim

    found = dim(rewrite(extent, lambda e: Const(sizes[e.name]) if isinstance(e, Var) and e.name in sizes else None))
    return found if isinstance(found, int) else 1


def _index_bounds(outputs: Sequence[Tensor]) -> dict[Tensor, Any]:
    """The inputs that are used as indices, with the smallest extent that they index."""
    found: dict[Tensor, Any] = {}
    seen: set[Tensor] = set()
    stack = list(outputs)
    while stack:
        tensor = stack.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        for part in tensor.parts:
            for node in walk(*part.expressions):
                if not isinstance(node, Access):
                    continue
                stack.append(node.tensor)
                for extent, index in zip(node.tensor.shape, node.indices):
                    for inner in walk(index):
                        if isinstance(inner, Access):
                            old = found.get(inner.tensor)
                            found[inner.tensor] = (
                                extent
                                if old is None or not isinstance(old, int) or (isinstance(extent, int) and extent < old)
                                else old
                            )
            for extent, index in zip(tensor.shape, part.lhs):  # a scatter's left side
                for inner in walk(index):
                    if isinstance(inner, Access):
                        found.setdefault(inner.tensor, extent)
    return found


def _random(
    rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...], strides: tuple[int, ...] | None, top: int | None
) -> np.ndarray:
    layout = (
        shape if strides is None else (sum((d - 1) * s for d, s in zip(shape, strides)) + 1 if 0 not in shape else 0,)
    )
    kind = dtypes.canonical(dtype)
    values: np.ndarray
    if kind == "bool":
        values = rng.integers(0, 2, layout).astype(bool)
    elif dtypes.is_integer(kind):
        low, high = (0, top) if top is not None else (0 if kind.startswith("u") else -9, 10)
        values = rng.integers(low, high, layout).astype(dtype)
    else:
        values = rng.standard_normal(layout, dtype=np.float32 if dtype.itemsize <= 4 else np.float64).astype(dtype)
    if strides is None:
        return values
    return np.lib.stride_tricks.as_strided(values, shape, tuple(s * dtype.itemsize for s in strides))


def _reference(
    job: Job, specs: Sequence[Any], tensors: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    from tedsl.backends.reference import evaluate

    share = 1.0
    while True:
        inputs = _inputs(job, specs, tensors, outputs, share)
        try:
            made = evaluate(list(outputs), dict(zip(tensors, inputs)), **_needed(outputs, job.sizes))
            return inputs, list(made), share
        except CallIndexError:
            if share < 1e-9 or job.data is not None:
                raise
            share /= 2  # indices are computed from the data: smaller numbers, until they are in range


def _needed(outputs: Sequence[Tensor], sizes: dict[str, int]) -> dict[str, int]:
    from tedsl.schedule.sizes import program_sizes

    known = program_sizes(tuple(outputs))
    return {k: v for k, v in sizes.items() if k in known}


def _mixed(job: Job) -> bool:
    """Whether whole numbers may come from comparing floating-point ones, which another order of summation can
    change.
    """
    return any(dtypes.is_float(a.dtype) for a in job.module.inputs)


def _compare(name: str, got: np.ndarray, want: np.ndarray, mixed: bool) -> None:
    """Raise _Wrong unless a result is what the reference says, up to the order of summation."""
    if got.shape != want.shape:
        raise _Wrong(f"wrong answer: {name} has the shape {got.shape} instead of {want.shape}")
    if not got.size:
        return
    kind = dtypes.canonical(got.dtype)
    if kind not in TOLERANCE:
        bad = got != want
        if np.mean(bad) <= (1e-3 if mixed else 0.0):
            return
    else:
        tolerance = TOLERANCE[kind]
        g, w = (x.astype(np.float64) for x in (got, want))
        with np.errstate(all="ignore"):
            finite = np.isfinite(w)
            typical = float(np.mean(np.abs(w[finite]))) if finite.any() else 0.0
            near = np.abs(g - w) <= tolerance * (np.abs(w) + typical)
        bad = ~(near | (g == w) | (np.isnan(g) & np.isnan(w)))
        if not bad.any():
            return
    where = tuple(int(x) for x in np.argwhere(bad)[0])
    raise _Wrong(
        f"wrong answer: {name}{list(where)} is {got[where]} instead of {want[where]}; {np.mean(bad):.1%} of the "
        "elements differ"
    )


__all__ = ["BuildError", "Job", "measure", "serve"]
