"""`te.tune`: the loop that has candidates built and measured, and writes a row for each.

    search → builder (a process: template, source) → known, duplicate, hopeless? → compiler → measuring (an executor) → row → search

The loop runs in one thread and waits for messages. Builders and measuring run side by side; the row of a candidate is on disk before the search
hears of it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from tedsl.lang.errors import TuneError, here
from tedsl.version import __version__

from . import pool
from .builders import Builder
from .cores import available
from .knowledge import Knowledge
from .measure import Job
from .process import Died
from .progress import Silent, make_progress
from .ranking import Ranking
from .report import Result
from .rows import Trial
from .search import KINDS, Candidate, GivenSearch, GridSearch, OptunaSearch, Search, make_search
from .sending import pickled, workers_of
from .store import Store
from .template import Config, Template, as_template
from .worker import Made

MOST_BUILDERS = 4
QUEUE = 4  # candidates that are built and wait to be measured
SCREEN, FIRST = 16, 4  # candidates that are only predicted at first, and how many of them are then measured
FRUITLESS = 40  # candidates in a row that are known already, before the rest of the space is walked through
GIVE_UP = 5000


def tune(template: Any, args: Any = (), *, trials: int = 100, store: Any = "tuning.db", search: str = "tpe", timeout: float = 20.0, seed: int | None = None,
         executor: Executor | None = None, threads: int | None = None, rank: bool = True, data: Sequence[Any] | None = None,
         sizes: Mapping[str, int] | None = None, memory: int | None = None, progress: bool | None = None) -> Result:  # fmt: skip
    """Search the knobs of a template for the fastest kernel on this machine.

    template: made by `te.template`; args: what it is called with after the knobs. trials: how many configurations to have tried, those in the store
    included; store: a path (an SQLite file), a URL of Optuna's, or None to keep nothing. search: "tpe", "random", "grid", "cmaes" or "evolutionary".
    timeout: seconds for the template, the compiler and the kernel, each. executor: where to measure, any executor of `concurrent.futures` (Dask's
    too); None for this machine. threads: of parallel loops (all cores). rank: leave out what the cost model predicts to be far off. data: arrays to
    measure with, sizes: numbers for symbolic sizes, memory: bytes that a kernel may have. progress: a bar (None: on a terminal).

    Each configuration is built and measured in processes of its own and checked against `te.evaluate`. A crash, a hang, a wrong answer or an illegal
    step is a row with its reason. Rows are written as they are finished: stopped, or killed, and run again, it goes on. Ctrl-C ends it with the
    results so far. Raises TuneError when the search cannot start: no template, no store, Optuna missing.
    """
    run = _Run(
        as_template(template),
        args,
        trials,
        store,
        search,
        timeout,
        seed,
        executor,
        threads,
        rank,
        data,
        sizes,
        memory,
        make_progress(progress),
    )
    return run.go()


class _Run:
    def __init__(self, template: Template, args: Any, trials: int, store: Any, search: str, timeout: float, seed: int | None, executor: Executor | None,
                 threads: int | None, rank: bool, data: Any, sizes: Any, memory: int | None, progress: Silent) -> None:  # fmt: skip
        self.template = template
        self.args = tuple(args) if isinstance(args, (tuple, list)) else (args,)
        try:
            self.args_text = json.dumps(list(self.args))
        except TypeError:
            raise TuneError(
                f"{template.name} is tuned with the arguments {self.args!r:.200}; they are kept in the store, so they are numbers, texts, booleans, None or lists of them",
                here(),
            ) from None
        if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
            raise TuneError(f"trials={trials!r}; a whole number of at least 1 is needed", here())
        if search not in KINDS:
            raise TuneError(f"search={search!r}; a search is one of {', '.join(KINDS)}", here())
        if not timeout > 0:
            raise TuneError(f"timeout={timeout!r}; a number of seconds is needed", here())
        self.trials, self.timeout, self.seed = trials, float(timeout), seed
        self.threads, self.rank, self.memory = threads, rank, memory
        self.data = None if data is None else list(data)
        self.sizes = dict(sizes or {})
        self.pickled = pickled(template)
        self.executor, self.progress = executor, progress
        self.store = Store(store, template.reference, self.args_text)
        self.where = store
        self.search: Search = make_search(search, seed, trials)
        self.ranking = Ranking()
        self.facts = Knowledge(self.store, template.fingerprint(), threads, self.ranking)
        # What is going on
        self.builders: list[Builder] = []
        self.queue: list[tuple[Candidate, Search, Made, float]] = []
        self.flying: dict[Future[Any], tuple[Candidate, Search, Made, float]] = {}
        self.followers: dict[str, list[tuple[Candidate, Search, Made, float]]] = {}
        self.active: set[str] = set()
        self.skipped: dict[str, Trial] = {}
        self.fruitless = 0
        self.screen = 0
        self.first: list[Config] = []
        self.measured = self.failed = self.duplicates = self.rejected = 0
        self.started = time.monotonic()
        self.interrupted = False
        self.rest: Search | None = None

    # The loop ----------------------------------------------------------------------------------------------------------------------------

    def go(self) -> Result:
        local = self.executor is None
        self.children = pool.Children()
        self.scratch = tempfile.mkdtemp(prefix="tedsl-tune-")
        self.pool: Executor = (
            self.executor if self.executor is not None else ThreadPoolExecutor(1, thread_name_prefix="tedsl-tune")
        )
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_write, False)
        showing = False
        try:
            self._who()
            self.facts.refresh()
            if self.rank and self.trials >= FIRST and isinstance(self.search, OptunaSearch) and not self.facts.known:
                self.screen = SCREEN
            if len(self.facts.counted) < self.trials:
                self.progress.begin(len(self.facts.counted), self.trials)
                showing = True
                self._start_builders()
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
        return self._result()

    def _who(self) -> None:
        """Which machines measure."""
        if self.executor is None:
            self.facts.machines = {(m, c) for m, _, c in [pool.who()]}
            self.capacity = 1
        else:
            self.capacity = workers_of(self.executor)
            asked = [self.executor.submit(pool.who, n) for n in range(self.capacity)]
            self.facts.machines = {(m, c) for m, _, c in (f.result() for f in asked)}

    def _start_builders(self) -> None:
        cores = available()
        if len(cores) > 2:
            cores = cores[:-1]  # the last one is for timing
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
        going = (
            len(self.queue)
            + len(self.flying)
            + sum(len(f) for f in self.followers.values())
            + sum(builder.candidate is not None for builder in self.builders)
        )
        return self.trials - len(self.facts.counted) - going

    # Beginning ---------------------------------------------------------------------------------------------------------------------------

    def _begin(self, builder: Builder) -> None:
        if self._wanted <= 0 or len(self.queue) >= QUEUE:
            return
        search, candidate = self._next()
        if candidate is None:
            return
        try:
            builder.begin(candidate, search, self.timeout, self.executor is None)
        except Died:
            search.forget(candidate)
            builder.start()

    def _next(self) -> tuple[Search, Candidate | None]:
        """A candidate of the search; when that repeats itself, one of those that are left."""
        if self.first:
            return GivenSearch(), Candidate(forced=self.first.pop(0))
        if self.rest is None and (self.fruitless > FRUITLESS and isinstance(self.search, OptunaSearch)):
            self.rest = GridSearch(shuffle=self.seed or 0)
        search = self.rest or self.search
        candidate = search.begin() if self.fruitless < GIVE_UP else None
        over = candidate is None and (search.exhausted or self.fruitless >= GIVE_UP)
        if self.skipped and over:
            # Nothing else is left: what the cost model left out, the most promising first.
            key = min(self.skipped, key=lambda k: self.skipped[k].predicted or 0.0)
            return GivenSearch(), Candidate(forced=self.skipped.pop(key).config)
        return search, candidate

    def _submit(self) -> None:
        while self.queue and len(self.flying) < self.capacity:
            candidate, search, made, spent = self.queue.pop(0)
            job = Job(
                made.module,
                made.workload,
                made.program,
                self.sizes,
                self.timeout,
                self.threads,
                self.memory,
                self.scratch if self.executor is None else None,
                self.facts.best,
                self.data,
            )
            if self.executor is None:
                future = self.pool.submit(pool.measure_job, job, self.children)
            else:
                future = self.pool.submit(pool.measure_job, job)
            self.flying[future] = candidate, search, made, spent
            future.add_done_callback(self._wake)

    def _wake(self, _: Any) -> None:
        if self.wake_write >= 0:
            try:
                os.write(self.wake_write, b".")
            except OSError:
                pass

    # Hearing -----------------------------------------------------------------------------------------------------------------------------

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
                builder.child.send(("template", self.pickled, self.args, self.sizes))
            else:
                builder.phase = "idle"
            return
        if kind == "failed" and candidate is None:
            raise TuneError(f"{self.template.name} cannot be tuned: {message[1]}", here())
        assert candidate is not None and search is not None
        if kind == "phase":
            builder.phase = message[1]
            if message[1] == "compiler":
                builder.deadline.restart(self.timeout)
        elif kind == "ask":
            value = search.answer(candidate, message[1])
            builder.child.send(("stop",) if candidate.key in self.facts.known else ("answer", value))
        elif kind == "predicted":
            candidate.guess = message[1]
            builder.reply(self._promising(candidate, search))
        elif kind == "made":
            builder.made = message[1]
            builder.reply(self._worth(candidate, search, message[1], builder.spent))
        elif kind == "stopped":
            if not builder.settled:  # while it was asking: the configuration is known
                self._repeated(candidate, search)
            builder.free()
        elif kind == "compiled":
            assert builder.made is not None
            self.queue.append((candidate, search, builder.made, builder.spent))
            builder.free()
        elif kind == "rejected":
            self.rejected += 1
            self.fruitless += 1
            self.facts.learn(candidate, self.search)
            search.tell(candidate, None)
            builder.free()
        elif kind == "failed":
            self._row(candidate, search, builder.made, builder.spent, {"error": message[1]})
            builder.free()

    def _crashed(self, builder: Builder, how: str) -> None:
        if builder.candidate is None or builder.search is None:
            raise TuneError(
                f"{self.template.name} cannot be tuned: the process that runs the template died when it was started: {how}",
                here(),
            )
        self._row(
            builder.candidate,
            builder.search,
            builder.made,
            builder.spent,
            {"error": f"crash: the process of the {builder.phase} died: {how}"},
        )
        builder.child.kill()
        builder.start()

    def _late(self, builder: Builder) -> None:
        builder.child.kill()
        if builder.candidate is None or builder.search is None:
            raise TuneError(
                f"{self.template.name} cannot be tuned: importing it in another process took longer than {builder.deadline.seconds:g} s",
                here(),
            )
        what = (
            "the compiler"
            if builder.phase == "compiler"
            else "lowering"
            if builder.phase == "lowering"
            else "the template"
        )
        self._row(
            builder.candidate,
            builder.search,
            builder.made,
            builder.spent,
            {"error": f"timeout: {what} took longer than {builder.deadline.seconds:g} s"},
        )
        builder.start()

    # Judging -----------------------------------------------------------------------------------------------------------------------------

    def _promising(self, candidate: Candidate, search: Search) -> bool:
        """Whether code is to be generated for a candidate. If not, everything about it is settled here."""
        self.facts.refresh()
        self.facts.learn(candidate, self.search)
        if candidate.key in self.facts.known:
            self._repeated(candidate, search)
            return False
        if candidate.key in self.active:
            self.fruitless += 1
            search.forget(candidate)
            return False
        guess = candidate.guess
        if self.screen and search is self.search and guess.seconds is not None:
            self._screen(candidate, search)
            return False
        if self.rank and candidate.forced is None and candidate.key not in self.facts.stale:
            if self.ranking.hopeless(guess, self.facts.best):
                self.skipped[candidate.key] = self._blank(candidate, None)
                search.tell(candidate, self.ranking.expected(guess))
                return False
        self.ranking.passed(guess)
        return True

    def _screen(self, candidate: Candidate, search: Search) -> None:
        """Before anything is measured some candidates are only predicted, and the best of these are the first to be measured."""
        self.screen -= 1
        self.skipped[candidate.key] = self._blank(candidate, None)
        search.forget(candidate)
        if not self.screen:
            best = sorted(self.skipped.values(), key=lambda row: row.predicted or 0.0)[:FIRST]
            self.first = [self.skipped.pop(row.key).config for row in best]

    def _worth(self, candidate: Candidate, search: Search, made: Made, spent: float) -> bool:
        """Whether a candidate is to be compiled and measured. If not, everything about it is settled here."""
        for row in self.facts.stale.get(candidate.key, ()):
            if row.source == made.source:  # the template's text has changed, and its kernel has not
                self.facts.take(row)
                self._repeated(candidate, search)
                return False
        if candidate.key in self.active:
            self.fruitless += 1
            search.forget(candidate)
            return False
        if made.source in self.facts.by_source:
            self._duplicate(candidate, search, made, spent, self.facts.by_source[made.source])
            return False
        if made.source in self.followers:
            self.followers[made.source].append((candidate, search, made, spent))
            return False
        self.active.add(candidate.key)
        self.followers[made.source] = []
        return True

    # Settling ----------------------------------------------------------------------------------------------------------------------------

    def _repeated(self, candidate: Candidate, search: Search) -> None:
        self.fruitless += 1
        self.facts.learn(candidate, self.search)
        search.tell(candidate, self.facts.known[candidate.key].seconds)

    def _landed(self, future: Future[Any]) -> None:
        candidate, search, made, spent = self.flying.pop(future)
        try:
            found = future.result()
        except Exception as e:  # the worker died, or the executor broke down
            found = {"error": f"crash: the worker that measured it failed: {type(e).__name__}: {e}"[:500]}
        self._row(candidate, search, made, spent, found)

    def _blank(self, candidate: Candidate, made: Made | None) -> Trial:
        row = Trial(
            dict(candidate.config),
            template=self.template.reference,
            args=self.args_text,
            fingerprint=self.facts.fingerprint,
            version=__version__,
        )
        if candidate.guess is not None:
            row = replace(row, predicted=candidate.guess.seconds, why=candidate.guess.why)
        if made is None:
            return row
        return replace(row, workload=made.workload, schedule=made.schedule, steps=made.steps, source=made.source)

    def _row(
        self, candidate: Candidate, search: Search, made: Made | None, spent: float, found: Mapping[str, Any]
    ) -> None:
        """Write what came of a candidate, and of those with the same source."""
        self.facts.learn(candidate, self.search)
        machine, compiler = next(iter(self.facts.machines))
        fields = {"machine": machine, "compiler": compiler, **found}
        row = replace(
            self._blank(candidate, made),
            prepared=spent,
            finished=time.time(),
            kind="failed" if found.get("error") else "measured",
            **fields,
        )
        self.active.discard(row.key)
        self._write(candidate, search, row)
        if row.error:
            self.failed += 1
        else:
            self.measured += 1
        if row.source:
            self.facts.by_source.setdefault(row.source, row)
            for follower in self.followers.pop(row.source, ()):
                self._duplicate(*follower, row)
        self.progress.update(len(self.facts.counted), self.facts.best, self.failed, len(self.skipped) + self.duplicates)

    def _duplicate(self, candidate: Candidate, search: Search, made: Made, spent: float, of: Trial) -> None:
        copied = {
            k: getattr(of, k)
            for k in ("seconds", "error", "machine", "cpu", "compiler", "samples", "spread", "first", "threads")
        }
        self.duplicates += 1
        self._write(
            candidate,
            search,
            replace(self._blank(candidate, made), prepared=spent, finished=time.time(), kind="duplicate", **copied),
        )

    def _write(self, candidate: Candidate, search: Search, row: Trial) -> None:
        self.store.add(row, candidate.knobs)
        self.facts.written(row)
        self.skipped.pop(row.key, None)
        self.fruitless = self.fruitless + 1 if row.kind == "duplicate" else 0
        if search is not self.search:
            self.search.learn(row, candidate.knobs)
        search.tell(candidate, row.seconds)

    def _result(self) -> Result:
        rows = [
            replace(r, made_by=self.template)
            for r in self.store.mine()
            if (r.machine, r.compiler) in self.facts.machines
        ]
        counts = {
            "failed": self.failed,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "saved": len(self.skipped),
        }
        left_out = sorted(self.skipped.values(), key=lambda r: r.predicted or 0.0)
        return Result(
            rows,
            measured=self.measured,
            counts=counts,
            seconds=time.monotonic() - self.started,
            interrupted=self.interrupted,
            left_out=left_out,
            where=self.where,
        )
