"""The tuner: good candidates are found, bad ones are rows, and nothing is done twice."""

from __future__ import annotations

import base64
import dataclasses
import gc
import importlib.util
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tedsl as te
from tedsl.tune.messages import Job
from tedsl.tune.pool import Measurers, measure_job
from tedsl.tune.process import Died, available, timing
from tedsl.tune.report import Result
from tedsl.tune.rival import einsum_of, numpy_seconds
from tedsl.tune.store import Trial
from tedsl.tune.worker import generate_code, lower_and_predict

pytest.importorskip("optuna")
HERE = Path(__file__).parent


@pytest.fixture
def templates(monkeypatch, tmp_path):
    """The module of templates, importable here and in child processes; the current folder is an empty one."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("tuned_templates", None)
    yield importlib.import_module("tuned_templates")
    sys.modules.pop("tuned_templates", None)


def test_a_search_ends_with_a_kernel_and_a_report(templates, rng, monkeypatch):
    result = te.tune(templates.matmul, (24,), trials=6, store="t.db", search="grid", rank=False)
    assert result.measured == 6 == len(result.trials) and not result.interrupted
    a, b = (rng.standard_normal((24, 24)).astype("float32") for _ in range(2))
    np.testing.assert_allclose(te.build(*result.best.apply())(a, b), a @ b.T, rtol=1e-4, atol=1e-4)
    best = result.best
    assert best.samples > 1 and best.machine and best.compiler and best.version and best.source and best.workload
    text = str(result)
    assert "6 trials, 6 successful" in text and 's.cache_write("C", "register")' in text and "GFLOP/s" in text
    assert re.search(r"the cost model: .*s; the median of all is in brackets\n", text)
    assert re.search(
        r"  loads: \S+ \(\S+\)\n  stores: \S+ \(\S+\)\n  time in the core: \S+ [mun]s \(\S+ [mun]s\)\n", text
    )
    assert best.why["elements in registers"] == best.config["v1"] * best.config["v2"]

    # The same again, from the store alone; and by what it computes, whatever the names
    assert te.tune(templates.matmul, (24,), trials=6, store="t.db", search="tpe").measured == 0
    X, Y, Z = te.tensor("X", (24, 24)), te.tensor("Y", (24, 24)), te.tensor("Z")
    p, q, r = te.axes("p q r")
    Z[p, q] = te.sum(X[p, r] * Y[q, r])
    tuned = te.build(Z, tuned="t.db")
    assert "Z_register" in tuned.source or "register" in tuned.source
    np.testing.assert_allclose(tuned(a, b), a @ b.T, rtol=1e-4, atol=1e-4)

    @te.op(tuned="t.db")
    def product(A, B):
        C = te.tensor("C")
        C[p, q] = te.sum(A[p, r] * B[q, r])
        return C

    np.testing.assert_allclose(product(a, b), a @ b.T, rtol=1e-4, atol=1e-4)


def test_the_model_chooses_what_is_measured_first(templates):
    result = te.tune(templates.matmul, (48,), trials=4, store=None, seed=0)
    assert result.measured == 4 and all(t.predicted for t in result.trials)
    assert result.counts["saved"] == len(result.left_out)
    assert not {t.key for t in result.left_out} & {t.key for t in result.trials}
    assert result.numpy_seconds() > 0


def test_sums_of_products_have_a_rival():
    A, B = te.tensor("A", (4, 5)), te.tensor("B", (6, 5))
    text, tensors = einsum_of([te.define("C[i,j] = sum(A[i,k] * B[j,k])", A=A, B=B)])
    assert text == "ac,bc->ab" and tensors == [A, B]
    for other in (
        "C[i,j] = A[i,j] + 1",
        "C[i] = max(A[i,k])",
        "C[i] = sum(A[i,k] + 1)",
        "C[i] = sum(A[i,k+1])",
        "C[i] = exp(sum(A[i,k]))",
    ):
        assert einsum_of([te.define(other, A=(4, 5))]) is None
        assert numpy_seconds([te.define(other, A=(4, 5))]) is None


def test_numpy_has_as_many_threads_as_the_kernel(monkeypatch):
    limits, real = [], subprocess.run

    def run(command, **options):
        limits.append(options["env"].get("OPENBLAS_NUM_THREADS"))
        return real(command, **options)

    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    product = te.define("C[i,j] = sum(A[i,k] * B[j,k])", A=(4, 5), B=(6, 5))
    assert numpy_seconds([product], 1) > 0 and numpy_seconds([product]) > 0 and limits == ["1", None]


def test_bad_candidates_are_rows(templates):
    result = te.tune(templates.bad, (16,), trials=6, store="t.db", search="grid", timeout=60)
    assert result.best.config == {"kind": "good"}
    errors = {t.config["kind"]: t.error for t in result.trials if t.error}
    assert set(errors) == {"illegal", "crash", "error", "memory"}
    assert "factor is 0" in errors["illegal"] and errors["crash"].startswith("crash: ") and "SIGABRT" in errors["crash"]
    assert "what a template may raise" in errors["error"] and "tuned_templates.py" in errors["error"]
    assert "out of memory" in errors["memory"] and result.counts["rejected"] == 1
    again = te.tune(templates.bad, (16,), trials=6, store="t.db", search="grid")
    assert again.measured == 0 and again.counts["failed"] == 0 and len(again.trials) == 5


def test_an_intrinsic_that_lies_is_found_out(templates):
    result = te.tune(templates.intrinsic, (16,), trials=4, store="t.db", search="grid", rank=False)
    found = {t.config["said"]: t for t in result.trials}
    assert found["nothing"].seconds and found["the truth"].seconds and "tensorize" in found["the truth"].schedule
    for said in ("one product too few", "a sum instead of a product"):
        row = found[said]
        assert row.seconds is None and row.kind == "failed" and "tensorize" in row.schedule
        assert re.fullmatch(r"wrong answer: C\[0, 0\] is \S+ instead of \S+; 100.0% of the elements differ", row.error)
    assert result.best.config["said"] in ("nothing", "the truth") and "failed: 2 x wrong answer" in str(result)
    assert [t.error for t in te.load_results("t.db").trials] == [t.error for t in result.trials]


def test_a_kernel_that_writes_to_its_inputs_spoils_nothing_else(templates):
    result = te.tune(templates.spoiler, (16,), trials=4, store=None, search="grid", rank=False)
    found = {t.config["does"]: t.error for t in result.trials}
    wrong = "wrong answer: it writes to its inputs, or beyond its results"
    assert found == {  # in the order in which they came to be measured, which two builders leave open
        "nothing at first": None,
        "writes to an input": wrong,
        "writes to an input at the end": wrong,
        "nothing": None,
    }


def test_templates_that_want_nothing_and_that_ask_nothing(templates):
    for search in ("tpe", "grid"):
        result = te.tune(templates.never, (16,), trials=4, store=None, search=search)
        assert result.trials == () and result.rejected == {"n is no square": 2}
        assert "2 turned down by the template (n is no square)" in str(result)
        with pytest.raises(te.TuneError, match=r"turned every configuration down \(n is no square\)"):
            result.best  # noqa: B018
        result = te.tune(templates.fails_at_once, (16,), trials=4, store=None, search=search)
        assert [t.error.partition("  at ")[0] for t in result.trials] == ["the knob v has nothing to choose from"]
        result = te.tune(templates.plain, (16,), trials=4, store=None, search=search)
        assert len(result.trials) == 1 and result.best.config == {}


def test_a_hanging_template_is_a_row(templates):
    result = te.tune(templates.sleepy, (16,), trials=2, store=None, search="grid", timeout=3)
    assert result.best.config == {"seconds": 0}
    assert [t.error for t in result.trials if t.error] == ["timeout: the template took longer than 3 s"]


def test_duplicates_by_source_are_measured_once(templates):
    result = te.tune(templates.same, (32,), trials=3, store="t.db", search="grid", rank=False)
    assert result.measured == 2 and result.counts["duplicates"] == 1 and len(result.trials) == 3
    seconds = {t.config["which"]: t.seconds for t in result.trials}
    assert seconds[1] == seconds[2]


def test_another_value_of_a_knob_measures_only_what_is_new(tmp_path, monkeypatch):
    text = """
        import tedsl as te
        @te.template
        def f(cfg, n):
            i = te.axes("i")
            A, B = te.tensor("A", (n,)), te.tensor("B")
            B[i] = A[i] + 1
            s = te.create_schedule(B)
            s[B].split(i, factor=cfg.choice("f", FACTORS))
            return s, [A, B]
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    measured = []
    for factors in ("[4, 8]", "[4, 8, 16]"):
        (tmp_path / "growing_template.py").write_text(textwrap.dedent(text).replace("FACTORS", factors))
        spec = importlib.util.spec_from_file_location("growing_template", tmp_path / "growing_template.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "growing_template", module)
        spec.loader.exec_module(module)
        result = te.tune(module.f, (64,), trials=10, store="t.db", search="grid", rank=False)
        measured.append(result.measured)
    assert measured == [2, 1] and len(result.trials) == 3


def test_searches_end_when_there_is_nothing_more(templates):
    for search in ("tpe", "random", "evolutionary"):
        result = te.tune(templates.same, (32,), trials=50, store="t.db", search=search, seed=1)
        assert len(result.trials) == 3


def test_sizes_without_numbers(templates):
    result = te.tune(templates.symbolic, (), trials=2, store="t.db", search="grid", sizes={"n": 100}, rank=False)
    assert result.measured == 2
    # Another size is another search, though the kernels' source is the same
    larger = te.tune(templates.symbolic, (), trials=2, store="t.db", search="grid", sizes={"n": 5000}, rank=False)
    assert larger.measured == 2 and larger.best.sizes == {"n": 5000}
    assert te.tune(templates.symbolic, (), trials=2, store="t.db", search="grid", sizes={"n": 100}).measured == 0
    with pytest.raises(te.TuneError, match=r"several templates, arguments or sizes .*symbolic\[\] n=100, .*n=5000"):
        te.load_results("t.db").best  # noqa: B018
    assert te.load_results("t.db", sizes={"n": 5000}).best.seconds == larger.best.seconds
    m = te.var("m")
    P, Q = te.tensor("P", (m,)), te.tensor("Q")
    q = te.axes("q")
    Q[q] = P[q] + 1
    tuned = te.build(Q, tuned="t.db")
    assert f'split("q", factor={larger.best.config["f"]})' in tuned.source
    np.testing.assert_array_equal(tuned(np.arange(9, dtype="float32")), np.arange(1, 10))
    failed = te.tune(templates.symbolic, (), trials=2, store=None, search="grid", rank=False)
    assert all("te.tune(…, sizes={'n': …})" in t.error for t in failed.trials)


def test_indices_are_drawn_within_range(templates):
    result = te.tune(templates.gather, (7,), trials=2, store=None, search="grid", rank=False)
    assert [t.error for t in result.trials] == [None, None]
    data = [np.zeros((7, 3), "float32"), np.arange(5)]
    assert te.tune(templates.gather, (7,), trials=1, store=None, data=data).measured == 1


def test_what_cannot_be_tuned(templates):
    whole = "; a whole number of at least 1 is needed"
    for options, message in [
        ({"trials": 0}, f"trials=0{whole}"),
        ({"trials": 2.5}, f"trials=2.5{whole}"),
        ({"search": "none"}, "search='none'; a search is one of tpe, random, grid, cmaes, evolutionary"),
        ({"timeout": 0}, "timeout=0; a finite number of seconds is needed"),
        ({"timeout": float("inf")}, "timeout=inf; a finite number"),
        ({"timeout": "5"}, "timeout='5'; a finite number"),
        ({"seed": -1}, "seed=-1; a whole number from 0 to"),
        ({"threads": 0}, f"threads=0{whole}, or None for all cores"),
        ({"memory": -5}, f"memory=-5{whole} (bytes), or None for most"),
        ({"executor": 3}, "executor=3; an executor of concurrent.futures is needed"),
        ({"data": 3}, "data=3; a list of arrays is needed, one for each input"),
        ({"sizes": {"n": "8"}}, "sizes={'n': '8'}; a dict from the names of symbolic sizes"),
    ]:
        with pytest.raises(te.TuneError, match=re.escape(message)):
            te.tune(templates.same, (8,), **options)
    with pytest.raises(te.TuneError, match="kept in the store, so they are numbers"):
        te.tune(templates.same, (object(),))
    with pytest.raises(te.TuneError, match="none of 1 trials was successful: "):
        te.tune(templates.same, (0.5,), trials=1, store=None).best  # noqa: B018
    for args, problem in (((8, 9), "too many positional arguments"), ((), "missing a required argument: 'n'")):
        message = f"the template same(cfg, n) cannot be called with a configuration and the arguments {args}: {problem}"
        with pytest.raises(te.TuneError, match=re.escape(message)):
            te.tune(templates.same, args)
    assert not Path("tuning.db").exists()


def test_templates_that_cannot_be_imported_travel_by_value():
    pytest.importorskip("cloudpickle")

    @te.template
    def local(cfg, n):
        i = te.axes("i")
        A, B = te.tensor("A", (n,)), te.tensor("B")
        B[i] = A[i] + cfg.choice("c", [1, 2])
        return te.create_schedule(B), [A, B]

    assert te.tune(local, (8,), trials=2, store=None, search="grid").measured == 2


def module(tmp_path, monkeypatch, name, text):
    """A module of a template, imported here; `text` comes before."""
    body = """
import tedsl as te
@te.template
def f(cfg, n):
    i = te.axes("i")
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] + cfg.choice("c", [1, 2])
    return te.create_schedule(B), [A, B]
"""
    (tmp_path / f"{name}.py").write_text(text + body)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    found = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, found)
    return found


def test_templates_that_other_processes_cannot_have(tmp_path, monkeypatch):
    import threading

    pytest.importorskip("cloudpickle")
    held = threading.Lock()
    with pytest.raises(
        te.TuneError, match=r"the template <lambda> cannot be sent to another process: TypeError: .*lock"
    ):
        te.tune(te.template(lambda cfg: held), (), trials=1, store=None)

    monkeypatch.chdir(tmp_path)
    gone = module(tmp_path, monkeypatch, "gone_template", "")
    (tmp_path / "gone_template.py").unlink()
    with pytest.raises(
        te.TuneError, match="f cannot be tuned: the template cannot be imported in another process: ModuleNotFoundError"
    ):
        te.tune(gone.f, (8,), trials=1, store=None)

    mine = f"import os, time\nif os.getpid() != {os.getpid()}: "
    ended = module(tmp_path, monkeypatch, "ending_template", mine + "os._exit(3)\n")
    with pytest.raises(te.TuneError, match="the template died when it was started: it ended with status 3"):
        te.tune(ended.f, (8,), trials=1, store=None)

    monkeypatch.setattr(importlib.import_module("tedsl.tune.pool"), "START_SECONDS", 3.0)
    slow = module(tmp_path, monkeypatch, "slow_template", mine + "time.sleep(1000)\n")
    with pytest.raises(te.TuneError, match="f cannot be tuned: importing it in another process took longer than 3 s"):
        te.tune(slow.f, (8,), trials=1, store=None)


def test_measuring_that_cannot_be_started_is_a_row(templates, monkeypatch):
    def none(self):
        raise Died("no process can be started")

    monkeypatch.setattr(Measurers, "take", none)
    result = te.tune(templates.plain, (16,), store=None)
    assert [t.error for t in result.trials] == [
        "the process that measures could not be started: no process can be started"
    ]


def test_executors_that_cannot_measure(templates, monkeypatch):
    import tedsl.tune.tuner  # noqa: F401

    class Nobody(Executor):
        def submit(self, *_):
            return Future()

    monkeypatch.setattr(sys.modules["tedsl.tune.tuner"], "START_SECONDS", 0.1)
    with pytest.raises(
        te.TuneError, match=r"nothing can be measured by .*Nobody.*: none of its workers has answered in 0\.1 s"
    ):
        te.tune(templates.plain, (16,), store=None, executor=Nobody())
    with ThreadPoolExecutor(1) as closed:
        pass
    with pytest.raises(te.TuneError, match="RuntimeError: cannot schedule new futures after shutdown; see that it has"):
        te.tune(templates.plain, (16,), store=None, executor=closed)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are seen in /proc")
def test_a_search_leaves_its_store_closed(templates):
    te.tune(templates.plain, (16,), store="t.db")
    gc.collect()
    files = [os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    assert Path("t.db").exists() and not any(f.endswith("/t.db") for f in files)


def test_templates_with_another_surrounding_are_others(tmp_path):
    def made(dtype):
        def f(cfg, n):
            i = te.axes("i")
            A, B = te.tensor("A", (n,), dtype), te.tensor("B")
            B[i] = A[i] + cfg.choice("a", [1, 2])
            return te.create_schedule(B), [A, B]

        return f

    store = tmp_path / "t.db"
    for dtype in ("float32", "float64"):
        result = te.tune(made(dtype), (16,), trials=2, store=store, search="grid")
        assert result.measured == 2 and result.best.apply()[0].outputs[0].dtype == dtype


def test_waiting_for_a_core_is_no_candidates_fault(templates):
    cores = available()
    with ThreadPoolExecutor(1) as threads, timing(cores, len(cores)):
        found = threads.submit(te.tune, templates.same, (8,), trials=1, store=None, search="grid", timeout=3)
        time.sleep(4)
        assert not found.done()
    assert found.result().measured == 1


# Kernels that are no good -------------------------------------------------------------------------------------------


def job(timeout=60.0, change=lambda source: source, size=16):
    i = te.axes("i")
    A, B = te.tensor("A", (size,)), te.tensor("B")
    B[i] = A[i] * 2
    s = te.create_schedule(B)
    nest, _ = lower_and_predict(s, [A, B], {})
    code = generate_code(s, [A, B], nest, {})
    module = dataclasses.replace(code.module, source=change(code.module.source))
    return Job(dataclasses.replace(code, module=module), timeout)


@pytest.fixture
def measurers():
    found = Measurers()
    yield found
    found.end()


def test_kernels_are_checked_and_timed(measurers):
    found = measure_job(job(), measurers)
    assert found.seconds > 0 and found.samples > 2 and found.threads == 1
    assert len(measurers.idle) == 1


def test_a_kernel_that_computes_something_else_is_found_out(measurers):
    def lie(source):
        head, _, tail = source.rpartition("2.0")
        return head + "2.5" + tail

    assert measure_job(job(), measurers).seconds and len(measurers.idle) == 1
    assert "wrong answer: B[0] is" in measure_job(job(change=lie), measurers).error
    assert not measurers.idle and not measurers.busy  # what such a kernel did elsewhere is not known


def begin_of_body(statement):
    def change(source):
        at = source.index("{", source.index("_call("))
        return source[: at + 1] + statement + source[at + 1 :]

    return change


def test_a_kernel_that_never_ends(measurers):
    found = measure_job(job(2.0, begin_of_body('for (;;) __asm__ volatile("");')), measurers)
    assert found.error == "timeout: the kernel took longer than 2 s" and not measurers.idle and not measurers.busy


def test_a_kernel_that_crashes(measurers):
    found = measure_job(job(60.0, begin_of_body("__builtin_trap();")), measurers)
    assert found.error.startswith("crash: the process of the kernel died: it was ended by SIG")


def test_a_kernel_that_does_not_compile(measurers):
    found = measure_job(job(60.0, begin_of_body("this is no C;")), measurers)
    assert "failed on" in found.error
    assert measure_job(job(), measurers).seconds  # the process is in order


def test_a_kernel_that_wants_too_much_memory(measurers):
    wanted = dataclasses.replace(job(60.0, begin_of_body("return -1;")), memory=2**30)
    assert "memory" in measure_job(wanted, measurers).error
    assert "out of memory" in measure_job(dataclasses.replace(job(size=1 << 24), memory=1), measurers).error
    assert measure_job(job(), measurers).seconds  # the limit is that job's alone


# Interrupted --------------------------------------------------------------------------------------------------------


def test_killed_at_any_moment_it_goes_on(templates, tmp_path):
    code = "import tuned_templates as t, tedsl as te; te.tune(t.matmul, (16,), trials=6, store='k.db', search='grid', rank=False)"
    env = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env)
    until = time.monotonic() + 120
    kept = 0
    while kept < 2 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
        try:
            kept = len(te.load_results("k.db").trials)
        except te.TuneError:
            pass
    process.kill()
    process.wait()
    kept = len(te.load_results("k.db").trials)
    assert kept >= 2
    result = te.tune(templates.matmul, (16,), trials=6, store="k.db", search="grid", rank=False)
    assert result.measured == 6 - kept and len(result.trials) == 6


def test_interrupted_it_returns_what_it_has(templates, tmp_path):
    code = """
        import signal
        import tuned_templates as t, tedsl as te
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
        r = te.tune(t.sleepy, (16,), trials=2, store=None, search="grid", timeout=600)
        print(r.interrupted, r.best.config, len(r.trials))
    """
    env = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONSAFEPATH": "1"}
    ready = tmp_path / "ready.db"
    code = textwrap.dedent(code).replace("store=None", f"store={str(ready)!r}")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        time.sleep(0.05)
        try:
            if te.load_results(ready).trials:
                break
        except te.TuneError:
            continue
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out.strip() == "True {'seconds': 0} 1"


def test_pictures(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    trials = [
        Trial(
            {"v1": v1, "v2": v2},
            (v1 + v2) * 1e-6,
            predicted=v1 * 1e-6,
            finished=1.0 * v1,
            schedule='s["C"].unroll("i")',
        )
        for v1 in (1, 2)
        for v2 in (4, 8)
    ]
    result = Result(trials)
    result.plot("t.png", knobs=("v2", "v1"))
    assert Path("t.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    shown = result._repr_html_()
    assert shown.startswith("<pre>4 trials, 4 successful") and "&quot;" in shown
    assert base64.b64decode(shown.partition("base64,")[2].partition('"')[0]).startswith(b"\x89PNG")
    never = Result([], rejected={"n is no square": 2})
    assert never._repr_html_().startswith("<pre>0 trials") and "<img" not in never._repr_html_()
    assert result.plot().axes
    for knobs in (("a", "b"), ("v1",), "v1", ("v1", "v2", "v1")):
        with pytest.raises(te.TuneError, match="two knobs of v1, v2"):
            result.plot("x.png", knobs=knobs)
    with pytest.raises(te.TuneError, match="no trial was successful"):
        never.plot()
    for suffix in ("pdf", "svg"):
        assert Path(result.plot(f"t.{suffix}")).stat().st_size > 1000
    with pytest.raises(te.TuneError, match="cannot be written"):
        result.plot(tmp_path / "no" / "t.png")
    with pytest.raises(te.TuneError, match="cannot be written: it is a folder"):
        result.plot(tmp_path)
    few = Result([Trial({}, 1e-3)]).plot().axes  # one trial, no knobs
    assert [t.get_text() for place in few[2:] for t in place.texts] == ["one knob", "three trials are needed"]
    assert pickle.loads(pickle.dumps(result.trials[0])).config == result.trials[0].config
