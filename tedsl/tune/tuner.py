"""`te.tune`: the loop that has candidates built and measured, and writes a row for each.

    search → builder (a process: template, source) → known, duplicate, hopeless? → compiler → measuring (an executor) →
    row → search

The loop runs in one thread and waits for messages; builders and measuring run side by side. What is begun, gone on with
and written is the judge's business.
"""

from __future__ import annotations

import concurrent.futures
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

from . import builders, pool
from .builders import Builder
from .cores import available
from .judge import Built, Judge
from .measure import Job
from .options import Options
from .process import START_SECONDS, Deadline, Died
from .progress import Silent, make_progress
from .report import Result
from .sending import pickled, workers_of
from .store import Store
from .template import Template, as_template

MOST_BUILDERS = 4
QUEUE = 4  # candidates that are built and wait to be measured


def tune(template: Any, args: Any = (), *, trials: int = 100, store: Any = "tuning.db", search: str = "tpe", timeout: float = 20.0, seed: int | None = None,
         executor: Executor | None = None, threads: int | None = None, rank: bool = True, data: Sequence[Any] | None = None,
         sizes: Mapping[str, int] | None = None, memory: int | None = None, progress: bool | None = None) -> Result:  # fmt: skip
    """Search the knobs of a template for the fastest kernel on this machine.

    template: made by `te.template`; args: what it is called with after the knobs. trials: how many configurations to
    have tried, those in the store included; store: a path (an SQLite file), a URL of Optuna's, or None to keep nothing.
    search: "tpe", "random", "grid", "cmaes" or "evolutionary". timeout: seconds for the template, the compiler and the
    kernel, each. executor: where to measure, any executor of `concurrent.futures` (Dask's too); None for this machine.
    threads: of parallel loops (all cores). rank: leave out what the cost model predicts to be far off. data: arrays to
    measure with, sizes: numbers for symbolic sizes, memory: bytes that a kernel may have. progress: a bar (None: on a
    terminal).

    Each configuration is built and measured in processes of its own and checked against `te.evaluate`. A crash, a hang,
    a wrong answer or an illegal step is a row with its reason. Rows are written as they are finished: stopped, or
    killed, and run again, it goes on. Ctrl-C ends it with the results so far. Raises TuneError when the search cannot
    start: no template, no store, Optuna missing.
    """
    options = Options(
        trials, search, timeout, seed, executor, threads, rank, data, {} if sizes is None else sizes, memory
    )
    return _Run(as_template(template), args, store, options, make_progress(progress)).go()


class _Run:
    def __init__(self, template: Template, args: Any, store: Any, options: Options, progress: Silent) -> None:
        self.template = template
        self.args = tuple(args) if isinstance(args, (tuple, list)) else (args,)
        try:
            args_text = json.dumps(list(self.args))
        except TypeError:
            raise TuneError(
                f"{template.name} is tuned with the arguments {self.args!r:.200}; they are kept in the store, so "
                "they are numbers, texts, booleans, None or lists of them",
            ) from None
        self.options, self.progress, self.where = options, progress, store
        self.pickled = pickled(template)
        kept = Store(store, template.reference, args_text, options.sizes)
        self.judge = Judge(template, kept, options)
        # What is going on
        self.builders: list[Builder] = []
        self.queue: list[Built] = []
        self.flying: dict[Future[Any], Built] = {}
        self.started = time.monotonic()
        self.interrupted = False

    # The loop ---------------------------------------------------------------------------------------------------------

    def go(self) -> Result:
        local = self.options.executor is None
        self.children = pool.Children()
        self.scratch = tempfile.mkdtemp(prefix="tedsl-tune-")
        self.pool: Executor = (
            self.options.executor
            if self.options.executor is not None
            else ThreadPoolExecutor(1, thread_name_prefix="tedsl-tune")
        )
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_write, False)
        showing = False
        try:
            self.judge.begin(self._who())
            if self.judge.missing > 0:
                self.progress.begin(self.judge.done, self.options.trials)
                showing = True
                self._start_builders()
                if local:
                    self.pool.submit(self.children.prepare)
                while self._step():
                    pass
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            if showing:
                self.progress.end()
            for builder in self.builders:
                builder.child.kill()
            for future in self.flying:
                future.cancel()
            self.children.end()
            if local:
                self.pool.shutdown(wait=True, cancel_futures=True)
            self.children.end()
            os.close(self.wake_read)
            wake, self.wake_write = self.wake_write, -1
            os.close(wake)
            shutil.rmtree(self.scratch, ignore_errors=True)
        result = self._result()
        self.judge.store.close()
        return result

    def _who(self) -> set[tuple[str, str]]:
        """Which machines measure, with which compilers."""
        if self.options.executor is None:
            self.capacity = 1
            return {(m, c) for m, _, c in [pool.who()]}
        self.capacity = workers_of(self.options.executor)
        until = Deadline(START_SECONDS)
        try:
            asked = [self.options.executor.submit(pool.who, n) for n in range(self.capacity)]
            return {(m, c) for m, _, c in (f.result(max(0.0, until.left)) for f in asked)}
        except concurrent.futures.TimeoutError:
            why = f"none of its workers has answered in {START_SECONDS} s"
        except Exception as e:  # whatever an executor raises
            why = f"{type(e).__name__}: {e}"
        raise TuneError(f"nothing can be measured by {self.options.executor!r:.100}: {why}; see that it has workers, and that they have tedsl")  # fmt: skip

    def _start_builders(self) -> None:
        cores = available()
        self.timing_core = cores[-1] if self.options.executor is None else None
        if len(cores) > 2:
            cores = cores[:-1]
        self.builders = [Builder(core, self.scratch) for core in cores[:MOST_BUILDERS]]

    def _step(self) -> bool:
        """Start what can be started, wait, and deal with what comes. False when all is done."""
        self._submit()
        for builder in self.builders:
            if builder.idle:
                self._begin(builder)
        if not self._busy:
            return False
        talking = {builder.child.connection: builder for builder in self.builders if not builder.idle}
        until = min((builder.deadline.left for builder in talking.values()), default=60.0)
        ready = wait([*talking, self.wake_read], timeout=max(0.0, min(until, 60.0)))
        if self.wake_read in ready:
            os.read(self.wake_read, 4096)
        for connection in ready:
            if connection is not self.wake_read and connection != self.wake_read:
                self._hear(talking[connection])  # type: ignore[index]
        for builder in talking.values():
            if not builder.idle and builder.deadline.left <= 0:
                self._late(builder)
        for future in [f for f in self.flying if f.done()]:
            self._landed(future)
        return True

    @property
    def _busy(self) -> bool:
        return bool(self.queue or self.flying or any(not builder.idle for builder in self.builders))

    @property
    def _wanted(self) -> int:
        """How many more candidates may be begun."""
        begun = sum(builder.candidate is not None for builder in self.builders)
        return self.judge.missing - len(self.queue) - len(self.flying) - begun

    # Beginning --------------------------------------------------------------------------------------------------------

    def _begin(self, builder: Builder) -> None:
        if self._wanted <= 0 or len(self.queue) >= QUEUE:
            return
        if (self.queue or self.flying) and builder.core == self.timing_core:
            return  # what is built wants this core
        search, candidate = self.judge.next()
        if candidate is None:
            return
        try:
            builder.begin(candidate, search, self.options.executor is None)
        except Died:
            search.forget(candidate)
            builder.start()

    def _submit(self) -> None:
        while self.queue and len(self.flying) < self.capacity:
            built = self.queue.pop(0)
            made = built.made
            assert made is not None
            options = self.options
            scratch = self.scratch if self.options.executor is None else None
            job = Job(
                made.module, made.workload, made.program, dict(options.sizes), options.timeout, options.threads, options.memory, scratch,
                self.judge.facts.best, options.data)  # fmt: skip  # fmt: skip
            if self.options.executor is None:
                future = self.pool.submit(pool.measure_job, job, self.children)
            else:
                future = self.pool.submit(pool.measure_job, job)
            self.flying[future] = built
            future.add_done_callback(self._wake)

    def _wake(self, _: Any) -> None:
        if self.wake_write >= 0:
            try:
                os.write(self.wake_write, b".")
            except OSError:
                pass

    # Hearing ----------------------------------------------------------------------------------------------------------

    def _hear(self, builder: Builder) -> None:
        try:
            message = builder.child.receive(0)
        except TimeoutError:
            return
        except Died as e:
            self._crashed(builder, str(e))
            return
        kind = message[0]
        candidate, search = builder.candidate, builder.search
        if kind == "ready":
            if builder.phase == "start":
                builder.phase = "import"
                builder.child.send(("template", self.pickled, self.args, dict(self.options.sizes)))
            else:
                builder.phase = "idle"
            return
        if kind == "failed" and candidate is None:
            raise TuneError(f"{self.template.name} cannot be tuned: {message[1]}")
        assert candidate is not None and search is not None
        if kind == "phase":
            builder.phase = message[1]
            if message[1] in builders.LIMITED:
                builder.deadline.restart(self.options.timeout)
        elif kind == "ask":
            value = search.answer(candidate, message[1])
            builder.child.send(("stop",) if self.judge.known(candidate) else ("answer", value))
        elif kind == "predicted":
            candidate.guess = message[1]
            builder.reply(self.judge.promising(candidate, search))
        elif kind == "made":
            builder.made = message[1]
            builder.reply(self.judge.worth(builder.built))
        elif kind == "stopped":
            if not builder.settled:  # while it was asking: the configuration is known
                self.judge.repeated(candidate, search)
            builder.free()
        elif kind == "compiled":
            self.queue.append(builder.built)
            builder.free()
        elif kind == "rejected":
            self.judge.turned_down(candidate, search, message[1])
            builder.free()
        elif kind == "failed":
            self._settle(builder.built, {"error": message[1]})
            builder.free()

    def _crashed(self, builder: Builder, how: str) -> None:
        if builder.candidate is None or builder.search is None:
            raise TuneError(
                f"{self.template.name} cannot be tuned: the process that runs the template died when it was started: "
                f"{how}",
            )
        self._settle(builder.built, {"error": f"crash: the process of the {builder.phase} died: {how}"})
        builder.child.kill()
        builder.start()

    def _late(self, builder: Builder) -> None:
        builder.child.kill()
        if builder.candidate is None or builder.search is None:
            raise TuneError(
                f"{self.template.name} cannot be tuned: importing it in another process took longer than "
                f"{builder.deadline.seconds:g} s",
            )
        error = pool.late(builder.phase, builder.deadline.seconds)
        self._settle(builder.built, {"error": error})
        builder.start()

    def _landed(self, future: Future[Any]) -> None:
        built = self.flying.pop(future)
        try:
            found = future.result()
        except Exception as e:  # the worker died, or the executor broke down
            found = {"error": f"crash: the worker that measured it failed: {type(e).__name__}: {e}"[:500]}
        self._settle(built, found)

    def _settle(self, built: Built, found: Mapping[str, Any]) -> None:
        judge = self.judge
        judge.settle(built, found)
        self.progress.update(judge.done, judge.facts.best, judge.failed, judge.saved)

    def _result(self) -> Result:
        return Result(
            self.judge.rows(),
            measured=self.judge.measured,
            counts=self.judge.counts(),
            rejected=Counter(self.judge.rejected.values()),
            seconds=time.monotonic() - self.started,
            interrupted=self.interrupted,
            left_out=self.judge.left_out(),
            where=self.where,
        )
