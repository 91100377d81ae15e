"""Kinds of search, without measuring anything."""

from __future__ import annotations

import pytest

import tedsl as te
from tedsl.tune.search import KINDS, GridSearch, OptunaSearch, Search, make_search
from tedsl.tune.store import Trial
from tedsl.tune.template import Knob

A = Knob("a", (1, 2, 4, 8))
B = Knob("b", ("x", "y"))
N = Knob("n", None, 1, 16)


def run(search, candidate, time):
    config = {"a": search.answer(candidate, A), "b": search.answer(candidate, B)}
    if config["b"] == "y":  # asked for only where it matters
        config["n"] = search.answer(candidate, N)
    seconds = time(config)
    search.tell(candidate, seconds)
    return config, seconds


def time(config):
    return 1.0 + abs(config["a"] - 4) + (0 if config["b"] == "y" else 5) + abs(config.get("n", 9) - 5) * 0.1


def test_grid_walks_every_configuration_once():
    search, seen = GridSearch(), []
    while (candidate := search.begin()) is not None:
        seen.append(tuple(run(search, candidate, time)[0].items()))
    assert search.exhausted and len(seen) == len(set(seen)) == 4 * (1 + 16)
    assert seen[0] == (("a", 1), ("b", "x")) and seen[1] == (("a", 1), ("b", "y"), ("n", 1))


def test_grid_shuffled_walks_the_same():
    search, seen = GridSearch(shuffle=3), set()
    while (candidate := search.begin()) is not None:
        seen.add(tuple(run(search, candidate, time)[0].items()))
    assert len(seen) == 4 * (1 + 16)


def test_grid_waits_for_candidates_that_may_open_more():
    search = GridSearch()
    first = search.begin()
    assert search.begin() is None and not search.exhausted
    run(search, first, time)
    assert search.begin() is not None


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "grid"])
def test_samplers_find_what_is_good(kind):
    if kind == "cmaes":
        pytest.importorskip("cmaes")
    search = make_search(kind, 0, 60)
    results = [run(search, search.begin(), time) for _ in range(60)]
    assert min(s for _, s in results) < 2.5


def test_the_same_seed_gives_the_same_search():
    def configs():
        search = make_search("tpe", 5, 20)
        return [run(search, search.begin(), time)[0] for _ in range(20)]

    assert configs() == configs()


def test_failures_and_stored_rows_are_taken_in():
    search = OptunaSearch("tpe", 0, 20)
    search.learn(Trial({"a": 4, "b": "y", "n": 5}, seconds=1.0), {"a": A, "b": B, "n": N})
    search.learn(Trial({"a": 99, "b": "y"}, seconds=1.0), {"a": A, "b": B})  # a value that there no longer is
    candidate = search.begin()
    search.answer(candidate, A)
    search.tell(candidate, None)
    other = search.begin()
    search.answer(other, A)
    search.forget(other)
    assert search.study.best_value == 0.0 and len(search.study.trials) == 4


def test_given_configurations():
    search = Search()
    from tedsl.tune.search import Candidate

    candidate = Candidate(search, forced={"a": 4, "b": "y", "n": 3})
    assert run(search, candidate, time)[0] == {"a": 4, "b": "y", "n": 3}


def test_kinds_are_checked():
    with pytest.raises(te.TuneError, match="one of tpe, random, grid"):
        make_search("best", None, 3)
