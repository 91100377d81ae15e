"""`tedsl tune`: templates, what is in a store, and what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tedsl import cli

pytest.importorskip("optuna")
TEMPLATE = """
import tedsl as te

@te.template
def plus(cfg, n):
    "Adds one."
    i = te.axes("i")
    A, B = te.tensor("A", (n,)), te.tensor("B")
    B[i] = A[i] + 1
    s = te.create_schedule(B)
    s[B].split(i, factor=cfg.choice("factor", [4, 8]))
    return s, [A, B]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "cli_templates.py").write_text(TEMPLATE)


def run(capsys, *words):
    status = cli.main(["tune", *words])
    return status, capsys.readouterr()


def test_a_search_and_what_it_leaves(capsys):
    status, said = run(
        capsys,
        "cli_templates:plus",
        "--n",
        "40",
        "--trials",
        "2",
        "--search",
        "grid",
        "--measure-all",
        "--png",
        "t.png",
    )
    assert (
        status == 0 and "2 trials, 2 successful; 2 measured now" in said.out and 's["B"].split("i", factor=' in said.out
    )
    assert Path("t.png").read_bytes()[:4] == b"\x89PNG" and Path("tuning.db").exists()
    assert "tuning: 2 of 2" in said.err

    status, said = run(capsys, "show", "--limit", "1")
    assert status == 0 and "factor" in said.out and "... and 1 more" in said.out
    status, said = run(capsys, "show", "plus", "--n", "40")
    assert status == 0
    status, said = run(capsys, "show", "--machine", "another")
    assert status == 2 and "tuning.db has no trials of the machine another; --machine any shows" in said.err
    status, said = run(capsys, "--list")
    assert status == 0 and "matmul" in said.out and "cli_templates:plus" in said.out and "[40]" in said.out

    status, said = run(capsys, "export")
    assert status == 0
    namespace: dict = {}
    exec(compile(said.out, "exported", "exec"), namespace)
    import tedsl as te

    i = te.axes("i")
    A, B = te.tensor("A", (40,)), te.tensor("B")
    B[i] = A[i] + 1
    assert len(namespace["schedule_plus"](B).history) == 1
    assert run(capsys, "export", "-o", "fast.py")[0] == 0 and Path("fast.py").read_text() == said.out

    status, merged = run(capsys, "merge", "tuning.db", "--into", "all.db")
    assert status == 0 and merged.out == "2 rows written to all.db; 0 were there.\n"
    assert "0 rows written to all.db; 2 were there." in run(capsys, "merge", "tuning.db", "--into", "all.db")[1].out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "what is to be tuned?"),
        (["nothing"], "there is no template 'nothing'; there are matmul"),
        (["cli_templates:minus"], "there is no template 'cli_templates:minus'"),
        (["no_module_of_this_name:f"], "cannot be imported"),
        (["matmul", "--n", "0"], "a size is at least 1, not 0"),
        (["matmul", "--n", "4", "--args", "4"], "give one of them"),
        (["matmul", "--trials", "0"], "trials=0"),
        (["matmul", "--args", "4", "5"], "the template matmul(cfg, n) cannot be called with a configuration and"),
        (["cli_templates:plus", "--args", "4", "5"], "the template plus(cfg, n) cannot be called with"),
        (["matmul", "more"], "only one template at a time"),
        (["show"], "does not exist"),
        (["show", "--store", "no.db"], "'no.db': the file does not exist"),
        (["show", "a", "b"], "show takes one template's name"),
        (["merge"], "merge takes the stores"),
        (["merge", "no.db"], "does not exist"),
        (["show", "--limit", "0"], "--limit must be at least 1"),
        (["matmul", "--png", "no/t.png"], "no/t.png cannot be written: there is no folder no"),
    ],
)
def test_bad_input(capsys, words, message):
    status, said = run(capsys, *words)
    assert status == 2 and message in said.err and said.err.startswith("tedsl tune: ") and said.out == ""


def test_a_search_without_success_says_so(capsys, tmp_path):
    (tmp_path / "failing_templates.py").write_text(TEMPLATE.replace("factor=cfg", "factor=-cfg"))
    status, said = run(capsys, "failing_templates:plus", "--n", "40", "--trials", "2", "--search", "grid")
    assert status == 1 and "failed: 1 x split of the axis i of B: factor is -4" in said.out


def test_the_rival_of_a_product_runs_with_as_many_threads(capsys):
    status, said = run(capsys, "matmul", "--n", "16", "--trials", "1", "--seed", "0")
    assert status == 0 and "NumPy with 1 thread: " in said.out
