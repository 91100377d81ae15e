"""Measuring on the workers of a Dask cluster: two processes, talked to over TCP on this machine."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tedsl as te

pytest.importorskip("optuna")
HERE = Path(__file__).parent


@pytest.fixture
def templates(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("tuned_templates", None)
    import tuned_templates

    yield tuned_templates
    sys.modules.pop("tuned_templates", None)


@pytest.fixture
def client(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    import dask

    with dask.config.set({"temporary-directory": str(tmp_path), "distributed.worker.preload": []}):
        cluster = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            protocol="tcp://",
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=50,
        )
        with cluster, distributed.Client(cluster) as found:
            yield found


def test_candidates_travel_to_the_workers(templates, client):
    result = te.tune(
        templates.matmul, (16,), trials=6, store="t.db", search="grid", rank=False, executor=client.get_executor()
    )
    assert result.measured == 6 and all(t.seconds for t in result.trials)
    assert all(t.machine and t.compiler and t.cpu for t in result.trials)
    te.build(*result.best.apply())
    # rows of the workers' machine, which is this one, serve a search without them
    assert te.tune(templates.matmul, (16,), trials=6, store="t.db", search="grid").measured == 0


def test_a_worker_that_dies_costs_one_trial_at_most(templates, client, monkeypatch):
    from tedsl.tune.store import Store

    victims = list(client.run(os.getpid).values())[:1]
    add = Store.add

    def add_and_kill(store, row, knobs):
        add(store, row, knobs)
        if victims:
            os.kill(victims.pop(), signal.SIGKILL)

    monkeypatch.setattr(Store, "add", add_and_kill)
    result = te.tune(
        templates.matmul, (16,), trials=6, store="t.db", search="grid", rank=False, executor=client.get_executor()
    )
    assert not victims and len(result.trials) == 6
    assert sum(t.seconds is not None for t in result.trials) >= 5


def test_any_executor_measures(templates):
    with ThreadPoolExecutor(2) as executor:
        result = te.tune(templates.matmul, (16,), trials=6, store=None, search="grid", rank=False, executor=executor)
    assert result.measured == 6
    from tedsl.tune import pool

    pool.worker_measurers().end()
