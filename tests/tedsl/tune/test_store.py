"""Rows and stores: nothing is lost, nothing is disturbed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest

import tedsl as te
from tedsl.tune import merge
from tedsl.tune.machine import identity
from tedsl.tune.rows import Trial
from tedsl.tune.store import Store, read
from tedsl.tune.template import Knob


def row(**fields):
    given = {
        "config": {"a": 1},
        "seconds": 1.0,
        "template": "m:f",
        "args": "[8]",
        "machine": identity()[0],
        "finished": 1.0,
    }
    return Trial(**{**given, **fields})


def test_rows_come_back_as_they_were(tmp_path):
    path = tmp_path / "t.db"
    store = Store(path, "m:f", "[8]")
    rows = [
        row(config={"a": 1, "b": (1, 2), "c": None, "d": "x", "e": True}, why={"operations": 8}),
        row(config={"a": 2}, seconds=None, error="crash: …", kind="failed", finished=2.0),
    ]
    for r in rows:
        store.add(r, {})
    assert store.rows() == rows == read(path)
    assert store.rows() == rows  # nothing twice
    store.close()


@pytest.mark.parametrize("name", ["a?b.db", "a%41.db", "a b#c%.db"])
def test_any_name_of_a_file_will_do(tmp_path, name):
    store = Store(tmp_path / name, "m:f", "[8]")
    store.add(row(), {})
    assert store.rows() == read(tmp_path / name) == [row()]
    store.close()
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_store_is_optunas(tmp_path):
    optuna = pytest.importorskip("optuna")
    path = tmp_path / "t.db"
    store = Store(path, "m:f", "[8]")
    store.add(row(config={"v": 4, "n": 3}), {"v": Knob("v", (4, 8)), "n": Knob("n", None, 1, 9)})
    store.add(row(config={"v": 8, "n": 3}, seconds=0.5), {"v": Knob("v", (4, 8)), "n": Knob("n", None, 1, 9)})
    study = optuna.load_study(study_name="m:f[8]", storage=f"sqlite:///{path}")
    assert study.best_params == {"v": 8, "n": 3} and study.best_value == 0.5
    # a knob with another value: Optuna's studies cannot take that in, the store can
    store.add(row(config={"v": 6, "n": 3}, seconds=0.4), {"v": Knob("v", (4, 6, 8)), "n": Knob("n", None, 1, 9)})
    assert [r.config["v"] for r in store.mine()] == [4, 8, 6]
    store.close()
    (study,) = optuna.get_all_study_names(f"sqlite:///{path}")
    assert study == "m:f[8]"


def test_options_that_follow_from_other_knobs_stay_in_one_study(tmp_path):
    optuna = pytest.importorskip("optuna")
    path = tmp_path / "t.db"
    wide, narrow, many = Knob("b", (4, 8)), Knob("b", (2, 4)), Knob("p", tuple(f"order {n}" for n in range(1500)))
    stores = [Store(path, "m:f", "[8]") for _ in range(2)]  # as two processes have it
    for n in range(6):
        knobs = {"b": (wide, narrow)[n % 2], "p": many}
        stores[n // 3].add(row(config={"b": 4, "p": f"order {n}"}, finished=float(n)), knobs)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{path}")  # there is one
    assert [t.params for t in study.trials] == [{("b", "b #2")[n % 2]: 4, "p": n} for n in range(6)]
    assert [r.config for r in read(path)] == [{"b": 4, "p": f"order {n}"} for n in range(6)]
    for store in stores:
        store.close()


def test_whoever_is_second_to_name_options_goes_on(tmp_path):
    stores = [Store(tmp_path / "t.db", "m:f", "[8]") for _ in range(2)]
    for store in stores:
        store._open_study()
    for store, options in zip(stores, ((1, 2), (1, 3))):
        store.add(row(), {"a": Knob("a", options)})
    assert len(read(tmp_path / "t.db")) == 2
    for store in stores:
        store.close()


def test_two_processes_write_to_one_store(tmp_path):
    code = """
        import sys
        from tedsl.tune.rows import Trial
        from tedsl.tune.store import Store
        store = Store("t.db", "m:f", "[8]")
        for n in range(15):
            store.add(Trial({"a": n, "who": sys.argv[1]}, seconds=1.0, template="m:f", args="[8]", finished=float(n)), {})
    """
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), who], cwd=tmp_path, env=env) for who in "xy"
    ]
    assert [p.wait(120) for p in started] == [0, 0]
    rows = read(tmp_path / "t.db")
    assert sorted((r.config["who"], r.config["a"]) for r in rows) == [(w, n) for w in "xy" for n in range(15)]


def test_merge_writes_each_row_once(tmp_path):
    for name, numbers in (("a.db", (1, 2)), ("b.db", (2, 3))):
        store = Store(tmp_path / name, "m:f", "[8]")
        for n in numbers:
            store.add(row(config={"a": n}, finished=float(n)), {})
        store.close()
    into = tmp_path / "all.db"
    assert merge([tmp_path / "a.db", tmp_path / "b.db"], into) == (3, 1)
    assert merge([tmp_path / "a.db"], into) == (0, 2)
    assert [r.config["a"] for r in read(into)] == [1, 2, 3]
    optuna = pytest.importorskip("optuna")
    assert optuna.get_all_study_names(f"sqlite:///{into}") == ["m:f[8]"]


def test_results_of_other_machines_are_left_out(tmp_path):
    path = tmp_path / "t.db"
    store = Store(path, "m:f", "[8]")
    store.add(row(config={"a": 1}), {})
    store.add(row(config={"a": 2}, seconds=0.1, machine="elsewhere"), {})
    store.add(row(config={"a": 3}, template="m:g"), {})
    assert te.load_results(path, template="f").best.config == {"a": 1}
    assert te.load_results(path, template="m:f", machine="any").best.config == {"a": 2}
    assert te.load_results(path, template="f", args=(8,), machine="elsewhere").best.config == {"a": 2}
    assert te.load_results(path, args=8).trials and not te.load_results(path, args=9).trials
    with pytest.raises(te.TuneError, match="several templates"):
        te.load_results(path).best  # noqa: B018
    store.close()


def test_stores_that_are_none(tmp_path):
    with pytest.raises(te.TuneError, match="does not exist"):
        te.load_results(tmp_path / "no.db")
    assert not (tmp_path / "no.db").exists()
    with pytest.raises(te.TuneError, match="there is no folder"):
        Store(tmp_path / "no" / "t.db", "m:f", "[]")
    with pytest.raises(te.TuneError, match="it is a folder"):
        Store(tmp_path, "m:f", "[]")
    with pytest.raises(te.TuneError, match="a path, a URL"):
        Store(3, "m:f", "[]")
    (tmp_path / "text.db").write_text("this is no database, and long enough to be seen as none" * 20)
    with pytest.raises(te.TuneError, match="not a database"):
        Store(tmp_path / "text.db", "m:f", "[]")
    with pytest.raises(te.TuneError, match="not a database"):
        te.load_results(tmp_path / "text.db")
    with pytest.raises(te.TuneError, match="it is a folder; give the path of a file"):
        te.load_results(tmp_path)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE places (name)")
    other.close()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(te.TuneError, match=r"it is a database of something else \(its tables are places\)"):
        Store(tmp_path / "other.db", "m:f", "[]")
    assert (tmp_path / "other.db").read_bytes() == before
    for address in ("nothing://x", "mysql+nothing://a:b@localhost/x"):
        with pytest.raises(te.TuneError, match=r"cannot be used: .*; give another path, or repair it") as raised:
            Store(address, "m:f", "[]")
        assert raised.value.location.file == __file__


def test_a_store_that_is_cut_off_or_cannot_be_written(tmp_path):
    path = tmp_path / "t.db"
    store = Store(path, "m:f", "[8]")
    store.add(row(), {})
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(te.TuneError, match="cannot be used: database disk image is malformed"):
        te.load_results(path)
    path.write_bytes(whole)
    store = Store(path, "m:f", "[8]")
    with sqlite3.connect(path) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON trials BEGIN SELECT RAISE(ABORT, 'no room'); END")
    other.close()
    with pytest.raises(te.TuneError, match="cannot be used: no room; give another path, or repair it"):
        store.add(row(config={"a": 2}), {})
    store.close()
    assert te.load_results(path).trials == (row(),)


def test_a_store_of_another_version_of_optuna_is_read_and_merged_but_not_written(tmp_path):
    path = tmp_path / "t.db"
    store = Store(path, "m:f", "[8]")
    store.add(row(), {})
    store.close()
    with sqlite3.connect(path) as other:
        other.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    other.close()
    with pytest.raises(te.TuneError, match=r"cannot be used: The runtime optuna version .* give another path"):
        Store(path, "m:f", "[8]")
    assert merge([path], tmp_path / "new.db") == (1, 0) and read(tmp_path / "new.db") == [row()]


def test_memory_keeps_rows_for_itself():
    store = Store(None, "m:f", "[8]")
    store.add(row(), {})
    assert store.mine() == [row()]


def test_a_row_of_a_later_version_is_read():
    found = Trial.from_json({**row().to_json(), "something new": 3})
    assert found == row()
    with pytest.raises(ValueError, match="no row"):
        Trial.from_json({"seconds": 3})


def test_what_is_no_row_is_passed_over(tmp_path):
    path = tmp_path / "t.db"
    store = Store(path, "m:f", "[8]")
    for n in range(4):
        store.add(row(config={"a": n}), {})
    store.close()
    with sqlite3.connect(path) as other:
        for n, text in enumerate(("[", '{"config": {"a": 1}, "seconds": "fast"}', '{"config": 3}'), 1):
            other.execute("UPDATE trial_user_attributes SET value_json = ? WHERE trial_id = ?", (text, n))
    other.close()
    assert merge([path], tmp_path / "new.db") == (1, 0)
    assert [r.config for r in read(tmp_path / "new.db")] == [{"a": 3}]
