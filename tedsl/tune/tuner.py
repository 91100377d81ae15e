"""`te.tune`: the loop that has candidates built and measured, and writes a trial for each.

    search → builder (a process: template, source) → known, duplicate, hopeless? → compiler → measuring (an executor) →
    trial → search

The loop runs in one thread and waits for messages; builders and measuring run side by side. The judge decides which
candidates are begun and gone on with, and writes the trials.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import Any

from tedsl.lang.errors import TuneError
from tedsl.terminal import Progress, duration

from . import messages
from .judge import Built, Judge
from .pool import LIMITED, Builder, Measurers, machine_and_compiler, measure_job, timeout_error
from .process import START_SECONDS, Deadline, Died, available
from .report import Result
from .search import Options
from .store import Store
from .template import Template, as_template

MOST_BUILDERS = 4
QUEUE = 4  # candidates that are built and wait to be measured


def tune(
    template: Any, args: Any = (), *, trials: int = 100, store: Any = "tuning.db", search: str = "tpe",
    timeout: float = 20.0, seed: int | None = None, executor: Executor | None = None, threads: int | None = None,
    rank: bool = True, data: Sequence[Any] | None = None, sizes: Mapping[str, int] | None = None,
    memory: int | None = None, progress: bool | None = None,
) -> Result:  # fmt: skip
    """Search the knobs of a template for the fastest kernel on this machine.

    template: made by `te.template`; args: what it is called with after the knobs. trials: how many configurations to
    have tried, those in the store included; store: a path (an SQLite file), a URL of Optuna's, or None to keep nothing.
    search: "tpe", "random", "grid", "cmaes" or "evolutionary". timeout: seconds for the template, the compiler and the
    kernel, each. executor: where to measure, any executor of `concurrent.futures` (Dask's too); None for this machine.
    threads: of parallel loops (all cores). rank: leave out what the cost model predicts to be far off. data: arrays to
    measure with, sizes: numbers for symbolic sizes, memory: bytes that a kernel may have. progress: a bar (None: on a
    terminal).

    Each configuration is built and measured in processes of its own and checked against `te.evaluate`. A crash, a hang,
    a wrong answer or an illegal step is a trial with its reason. Trials are written as they are finished: stopped, or
    killed, and run again, it goes on. Ctrl-C ends it with the results so far. Raises TuneError when the search cannot
    start: no template, wrong arguments, no store, Optuna missing.
    """
    sizes = {} if sizes is None else sizes
    options = Options(trials, search, timeout, seed, executor, threads, rank, data, sizes, memory)
    return _Tuner(as_template(template), args, store, options, progress).run()


class _Tuner:
    """A search. `queue`: candidates that are built and wait to be measured; `measuring`: those that are measured."""

    def __init__(self, template: Template, args: Any, store: Any, options: Options, progress: bool | None) -> None:
        self.template = template
        self.args = tuple(args) if isinstance(args, (tuple, list)) else (args,)
        try:
            args_text = json.dumps(list(self.args))
        except TypeError:
            raise TuneError(
                f"{template.name} is tuned with the arguments {self.args!r:.200}; they are kept in the store, so "
                "they are numbers, texts, booleans, None or lists of them",
            ) from None
        template.check_arguments(self.args)
        self.options, self.show, self.where = options, progress, store
        self.local = options.executor is None
        self.pickled = template.pickled()
        self.judge = Judge(template, Store(store, template.reference, args_text, options.sizes), options)
        self.builders: list[Builder] = []
        self.queue: list[Built] = []
        self.measuring: dict[Future[Any], Built] = {}
        self.measurers = Measurers()
        self.started = time.monotonic()
        self.interrupted = False

    def run(self) -> Result:
        self.scratch = tempfile.mkdtemp(prefix="tedsl-tune-")
        self.executor = self.options.executor or ThreadPoolExecutor(1, thread_name_prefix="tedsl-tune")
        self.wake_read, self.wake_write = os.pipe()  # written to by the executor's threads
        os.set_blocking(self.wake_write, False)
        try:
            self.judge.begin(self._machines())
            if self.judge.missing > 0:
                with Progress("tuning", self.options.trials, self.judge.done, self.show) as self.progress:
                    self._start_builders()
                    if self.local:
                        self.executor.submit(self.measurers.prepare)
                    while self._step():
                        pass
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            self._end()
        result = self._result()
        self.judge.store.close()
        return result

    def _end(self) -> None:
        for builder in self.builders:
            builder.child.kill()
        for future in self.measuring:
            future.cancel()
        self.measurers.end()
        if self.local:
            self.executor.shutdown(wait=True, cancel_futures=True)
        self.measurers.end()
        os.close(self.wake_read)
        wake, self.wake_write = self.wake_write, -1
        os.close(wake)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _machines(self) -> set[tuple[str, str]]:
        """Which machines measure, with which compilers."""
        self.capacity = 1
        if self.local:
            return {machine_and_compiler()}
        self.capacity = _workers_of(self.executor)
        until = Deadline(START_SECONDS)
        try:
            asked = [self.executor.submit(machine_and_compiler, n) for n in range(self.capacity)]
            return {f.result(max(0.0, until.left)) for f in asked}
        except concurrent.futures.TimeoutError:
            why = f"none of its workers has answered in {START_SECONDS} s"
        except Exception as e:  # whatever an executor raises
            why = f"{type(e).__name__}: {e}"
        raise TuneError(
            f"nothing can be measured by {self.executor!r:.100}: {why}; see that it has workers, and that they have "
            "tedsl"
        )

    def _start_builders(self) -> None:
        cores = available()
        self.timing_core = cores[-1] if self.local else None
        if len(cores) > 2:
            cores = cores[:-1]
        most = min(MOST_BUILDERS, max(self.judge.missing, self.judge.to_screen))
        self.builders = [Builder(core, self.scratch) for core in cores[:most]]

    # The loop ---------------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Start what can be started, wait, and deal with the messages that come. False when all is done."""
        self._measure_next()
        for builder in self.builders:
            if builder.idle:
                self._begin(builder)
        busy = {builder.child.connection: builder for builder in self.builders if not builder.idle}
        if not (self.queue or self.measuring or busy):
            return False
        until = min((builder.deadline.left for builder in busy.values()), default=60.0)
        for ready in wait([*busy, self.wake_read], timeout=max(0.0, min(until, 60.0))):
            if isinstance(ready, int):
                os.read(ready, 4096)
            else:
                self._receive(busy[ready])  # type: ignore[index]
        for builder in busy.values():
            if not builder.idle and builder.deadline.left <= 0:
                limit = builder.deadline.seconds
                imported = f"importing it in another process took longer than {limit:g} s"
                self._restart(builder, timeout_error(builder.phase, limit), imported)
        for future in [f for f in self.measuring if f.done()]:
            self._measured(future)
        return True

    def _begin(self, builder: Builder) -> None:
        """Have the next candidate built, if one is wanted."""
        begun = sum(builder.candidate is not None for builder in self.builders)
        wanted = self.judge.missing - len(self.queue) - len(self.measuring) - begun
        if wanted <= 0 or len(self.queue) >= QUEUE:
            return
        if (self.queue or self.measuring) and builder.core == self.timing_core:
            return  # what is built wants this core
        candidate = self.judge.next()
        if candidate is None:
            return
        try:
            builder.begin(candidate, self.local)
        except Died:
            candidate.search.forget(candidate)
            builder.start()

    def _measure_next(self) -> None:
        """Give the executor as many of the queue as it measures at once."""
        o = self.options
        while self.queue and len(self.measuring) < self.capacity:
            built = self.queue.pop(0)
            assert built.code is not None
            scratch = self.scratch if self.local else None
            job = messages.Job(built.code, o.timeout, o.threads, o.memory, scratch, self.judge.knowledge.best, o.data)
            mine = (self.measurers,) if self.local else ()
            future = self.executor.submit(measure_job, job, *mine)
            self.measuring[future] = built
            future.add_done_callback(self._wake)

    def _wake(self, _: Any) -> None:
        if self.wake_write >= 0:
            with contextlib.suppress(OSError):
                os.write(self.wake_write, b".")

    # Messages ---------------------------------------------------------------------------------------------------------

    def _receive(self, builder: Builder) -> None:
        try:
            message = builder.child.receive(0)
        except TimeoutError:
            return
        except Died as e:
            started = f"the process that runs the template died when it was started: {e}"
            self._restart(builder, f"crash: the process of the {builder.phase} died: {e}", started)
            return
        match message:
            case messages.Ready() if builder.phase == "start":
                builder.phase = "import"
                builder.child.send(messages.LoadTemplate(self.pickled, self.args, dict(self.options.sizes)))
            case messages.Ready():
                builder.phase = "idle"
            case messages.Failure() if builder.candidate is None:
                raise TuneError(f"{self.template.name} cannot be tuned: {message.error}")
            case messages.Phase():
                builder.phase = message.name
                if message.name in LIMITED:
                    builder.deadline.restart(self.options.timeout)
            case _:
                self._follow(builder, message)

    def _follow(self, builder: Builder, message: Any) -> None:
        """Deal with a message that is about a builder's candidate."""
        candidate = builder.candidate
        assert candidate is not None
        match message:
            case messages.Ask():
                value = candidate.search.answer(candidate, message.knob)
                builder.child.send(messages.Stop() if self.judge.known(candidate) else messages.Answer(value))
                return
            case messages.Prediction():
                candidate.prediction = message
                builder.reply(self.judge.worth_generating(candidate))
                return
            case messages.Generated():
                builder.code = message
                builder.reply(self.judge.worth_compiling(builder.built))
                return
            case messages.Compiled():
                self.queue.append(builder.built)
            case messages.Stopped() if not builder.decided:  # while it was asking: the configuration is known
                self.judge.repeat(candidate)
            case messages.Rejection():
                self.judge.reject(candidate, message.reason)
            case messages.Failure():
                self._record(builder.built, messages.Measurement(error=message.error))
        builder.free()

    def _restart(self, builder: Builder, error: str, without_candidate: str) -> None:
        """Record the error of a builder's candidate, and start its process anew; fail where it has no candidate yet."""
        builder.child.kill()
        if builder.candidate is None:
            raise TuneError(f"{self.template.name} cannot be tuned: {without_candidate}")
        self._record(builder.built, messages.Measurement(error=error))
        builder.start()

    def _measured(self, future: Future[Any]) -> None:
        built = self.measuring.pop(future)
        try:
            found = future.result()
        except Exception as e:  # the worker died, or the executor broke down
            error = f"crash: the worker that measured it failed: {type(e).__name__}: {e}"
            found = messages.Measurement(error=error[:500])
        self._record(built, found)

    def _record(self, built: Built, found: messages.Measurement) -> None:
        judge = self.judge
        judge.record(built, found)
        best = judge.knowledge.best
        facts = ["none yet" if best is None else f"best {duration(best)}", f"{self.progress.rate(judge.done):.1f}/s"]
        facts += [f"{judge.failed} failed"] * (judge.failed > 0) + [f"{judge.saved} not measured"] * (judge.saved > 0)
        self.progress.update(judge.done, ", ".join(facts))

    def _result(self) -> Result:
        judge, seconds = self.judge, time.monotonic() - self.started
        rejected = Counter(judge.rejected.values())
        return Result(judge.rows(), judge.measured, judge.counts(), seconds, self.interrupted, rejected,
                      judge.left_out(), self.where)  # fmt: skip


def _workers_of(executor: Any) -> int:
    """How many calls an executor runs at once."""
    count = getattr(executor, "_max_workers", None)
    client = getattr(executor, "_client", None)
    if count is None and client is not None:
        count = sum(client.nthreads().values())
    return max(1, int(count or 1))
