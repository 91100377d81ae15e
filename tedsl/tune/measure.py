"""Measuring a kernel: random data, a result that is checked, a core of its own, repeated until the spread is small.

This runs in a process of its own, which a kernel may crash or hang in.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import resource
import statistics
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tedsl.backends.c.kernel import build_module
from tedsl.backends.calls.arguments import Arguments, evaluate_size
from tedsl.backends.reference import evaluate
from tedsl.lang import dtypes
from tedsl.lang.errors import CallIndexError, Error
from tedsl.lang.expr import Access, Const, Expr, Var, rewrite, walk
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loop_tree import dim
from tedsl.schedule.loops.program import arguments

from .messages import Failure, Job, Measurement, Phase
from .process import available, pin, timing
from .store import compiler, this_machine
from .workload import sizes_of

ENOUGH_SPREAD, UNQUIET = 0.02, 0.2
FEWEST, MOST = 7, 1000  # runs
ENOUGH_SECONDS = 0.25
CHUNK_SECONDS = 0.002
HOPELESS = 2.5  # a kernel this many times slower than the best is run a few times only
LONG_SECONDS = 0.001  # of a run that is timed from Python; what a call costs beside the kernel is a thousandth of it
COLD_SECONDS = 0.02  # of a run beside which empty caches and untouched pages are nothing
TOLERANCE = {"float64": 1e-8, "float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}
SEED = 7


class _Wrong(Exception):
    """The kernel cannot be used; the text says why."""


class Measurer:
    """Measures one job after another. `cores`: those of the machine; `cases`: the latest data."""

    def __init__(self) -> None:
        self.cores = available()  # before this process is pinned to some of them
        self.cases: dict[str, _Case] = {}

    def serve(self, connection: Any, job: Job) -> None:
        """Measure, and answer with a Measurement or a Failure."""
        try:
            answer: Any = self.measure(job, lambda name: connection.send(Phase(name)))
        except _Wrong as e:
            answer = Failure(str(e))
        except MemoryError as e:
            answer = Failure(f"out of memory: {e}" if str(e) else "out of memory")
        except Error as e:
            answer = Failure(e.message)
        except Exception as e:
            answer = Failure(f"it could not be measured: {type(e).__name__}: {e}")
        _limit_memory(None)  # the next job's kernel is loaded without this one's limit
        connection.send(answer)

    def measure(self, job: Job, phase: Callable[[str], None]) -> Measurement:
        """Build, check and time."""
        module = job.code.module
        pin(self.cores)
        phase("compiler")
        kernel = build_module(module)
        phase("reference")
        case = self._case(job, kernel)
        _limit_memory(_most_of_the_machine() if job.memory is None else job.memory)
        threads = min(job.threads or len(self.cores), len(self.cores)) if module.openmp else 1
        phase("kernel")
        with _warnings_off():
            begun = time.perf_counter()
            made = kernel(*case.inputs, threads=threads)
            first = time.perf_counter() - begun
        self._check_data(case)
        results = list(made) if isinstance(made, tuple) else [made]
        # Whole numbers may come from comparing floating-point ones, which another order of summation can change.
        mixed = any(dtypes.is_float(a.dtype) for a in module.inputs)
        for name, got, want in zip(kernel.outputs, results, case.expected):
            _compare(name, got, want, mixed)
        phase("waiting")
        out = tuple(results) if len(results) > 1 or module.several else results[0]
        with timing(self.cores, threads) as mine:
            pin(mine)
            phase("timing")
            runs = _Runs(kernel, case.inputs, out, threads, first)
            samples = _samples(runs, job.best, min(job.timeout / 4, ENOUGH_SECONDS))
            if _spread(_faster_half(samples)) > UNQUIET and not _hopeless(samples, job.best):
                # somebody is busy: wait for better times
                samples += _samples(runs, job.best, min(job.timeout / 4, 3 * ENOUGH_SECONDS))
        pin(self.cores)
        self._check_data(case)
        seconds, spread = statistics.median(_faster_half(samples)), _spread(samples)
        return Measurement(seconds, None, len(samples), spread, first, threads, *this_machine(), compiler())

    def _case(self, job: Job, kernel: Any) -> _Case:
        """The data of a job, made once for each workload, order of arguments and sizes."""
        code = job.code
        names = repr([(a.name, a.dtype, a.shape, a.strides) for a in code.module.args]).encode()
        given = b"" if job.data is None else pickle.dumps(job.data)
        sizes = repr(sorted(code.sizes.items())).encode()
        key = hashlib.sha256(b"|".join((code.workload.encode(), names, sizes, given))).hexdigest()[:24]
        if key not in self.cases:
            path = None if job.scratch is None else Path(job.scratch, f"{key}.npz")
            found = _Data(job).case(path, kernel)
            while len(self.cases) > 4:
                self.cases.pop(next(iter(self.cases)))
            self.cases[key] = found
        return self.cases[key]

    def _check_data(self, case: _Case) -> None:
        """Raise _Wrong when a kernel wrote to what it may only read: it would spoil what is measured next as well."""
        if case.digest != _digest(case):
            self.cases.clear()
            raise _Wrong("wrong answer: it writes to its inputs, or beyond its results")


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
def _warnings_off() -> Iterator[None]:
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


class _Case:
    """Inputs, the results that are expected, and a checksum of both."""

    def __init__(self, inputs: list[np.ndarray], expected: list[np.ndarray]) -> None:
        self.inputs, self.expected = inputs, expected
        self.digest = _digest(self)


def _digest(case: _Case) -> int:
    found = 0
    for array in (*case.inputs, *case.expected):
        found = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, found)
    return found


class _Data:
    """Where the inputs and the expected results of a job come from. `specs`: dtype, shape and strides of each input."""

    def __init__(self, job: Job) -> None:
        self.given, self.sizes = job.data, job.code.sizes
        outputs, args = pickle.loads(job.code.program)
        self.outputs: Sequence[Tensor] = outputs
        self.tensors: list[Tensor] = list(arguments(tuple(outputs), args))
        module = job.code.module
        for size in module.sizes:
            if size.name not in self.sizes:
                raise _Wrong(
                    f"the size {size.name} has no number to be measured with: te.tune(…, sizes={{{size.name!r}: …}})"
                )
        values = [self.sizes[size.name] for size in module.sizes]
        self.specs = []
        for a in module.inputs:
            shape = tuple(evaluate_size(s, values) for s in a.shape)
            strides = None if a.strides is None else tuple(evaluate_size(s, values) for s in a.strides)
            self.specs.append((Arguments.dtype_of(a.dtype), shape, strides))

    def case(self, path: Path | None, kernel: Any) -> _Case:
        """The data, with results that another process has left in the file `path`; else they are computed, and left
        there.
        """
        if path is not None and path.exists():
            with np.load(path, allow_pickle=False) as kept:
                kinds = kernel.arguments.dtypes[len(self.specs) :]
                expected = [kept[f"arr_{n}"].view(kinds[n]) for n in range(len(kept.files) - 1)]
                return _Case(self.inputs(float(kept["share"])), expected)
        share = 1.0
        while True:
            inputs = self.inputs(share)
            try:
                own = {name: n for name, n in self.sizes.items() if name in sizes_of(self.outputs)}
                expected = list(evaluate(list(self.outputs), dict(zip(self.tensors, inputs)), **own))
                break
            except CallIndexError:
                if share < 1e-9 or self.given is not None:
                    raise
                share /= 2  # indices are computed from the data: smaller numbers, until they are in range
        if path is not None:
            special = [e.dtype.kind == "V" or e.dtype.name == "bfloat16" for e in expected]
            raw = [np.ascontiguousarray(e).view(np.uint16) if s else e for e, s in zip(expected, special)]
            partial = path.with_suffix(f".{os.getpid()}.npz")
            np.savez(partial, *raw, share=np.float64(share))
            partial.replace(path)
        return _Case(inputs, expected)

    def inputs(self, share: float) -> list[np.ndarray]:
        """The arrays that were given, or random ones; numbers used as indices are below this share of the extent."""
        if self.given is not None:
            return [np.asarray(a) for a in self.given]
        bounds = _index_bounds(self.outputs)
        made = []
        for n, (dtype, shape, strides) in enumerate(self.specs):
            bound = bounds.get(self.tensors[n]) if n < len(self.tensors) else None
            top = None if bound is None else max(1, int(_number(bound, self.sizes) * share))
            made.append(_random(np.random.default_rng([SEED, n]), dtype, shape, strides, top))
        return made


def _number(extent: Any, sizes: Mapping[str, int]) -> int:
    if isinstance(extent, int):
        return extent
    found = dim(rewrite(extent, lambda e: Const(sizes[e.name]) if isinstance(e, Var) and e.name in sizes else None))
    return found if isinstance(found, int) else 1


def _index_bounds(outputs: Sequence[Tensor]) -> dict[Tensor, Any]:
    """The inputs that are used as indices, with the smallest extent that they index."""
    found: dict[Tensor, Any] = {}

    def note(index: Expr, extent: Any, scatter: bool) -> None:
        for node in walk(index):
            if isinstance(node, Access):
                old = found.get(node.tensor)
                number = isinstance(old, int) and isinstance(extent, int)
                if old is None or (not scatter and (not isinstance(old, int) or (number and extent < old))):
                    found[node.tensor] = extent

    seen: set[Tensor] = set()
    stack = list(outputs)
    while stack:
        tensor = stack.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        for part in tensor.parts:
            for node in walk(*part.expressions):
                if isinstance(node, Access):
                    stack.append(node.tensor)
                    for extent, index in zip(node.tensor.shape, node.indices):
                        note(index, extent, False)
            for extent, index in zip(tensor.shape, part.lhs):
                note(index, extent, True)
    return found


def _random(
    rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...], strides: tuple[int, ...] | None, top: int | None
) -> np.ndarray:
    layout = shape
    if strides is not None:
        layout = (0 if 0 in shape else sum((d - 1) * s for d, s in zip(shape, strides)) + 1,)
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
