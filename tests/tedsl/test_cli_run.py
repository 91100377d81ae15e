"""`tedsl run`: arrays and numbers in, an array out, and what is said about everything else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tedsl import cli
from tedsl.cli import arrays

MATMUL = "C[i,j] = sum(A[i,k] * B[j,k])"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    """A current folder with a.npy, float32 (4, 5), and b.npy, float32 (3, 5)."""
    monkeypatch.chdir(tmp_path)
    for name, rows in (("a", 4), ("b", 3)):
        np.save(f"{name}.npy", rng.standard_normal((rows, 5)).astype("float32"))
    return tmp_path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], folder: Path):
    """Run a command that has to fail: status 2, one message, no file more than before. Returns the message."""

    def run(*words: str) -> str:
        before = sorted(os.listdir(folder))
        try:
            status = cli.main(["run", *words])
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        assert status == 2 and not captured.out
        assert captured.err.startswith("tedsl run: ") and "Traceback" not in captured.err
        assert sorted(os.listdir(folder)) == before
        return captured.err.removeprefix("tedsl run: ").rstrip("\n")

    return run


def test_writes_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", MATMUL, "A=a.npy", "B=b.npy", "-o", "c.npy"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("C: float32 (4, 3), from ") and out.endswith("wrote c.npy\n")
    np.testing.assert_allclose(np.load("c.npy"), np.load("a.npy") @ np.load("b.npy").T, rtol=1e-5)
    assert sorted(os.listdir()) == ["a.npy", "b.npy", "c.npy"]


def test_options_and_inputs_in_any_order() -> None:
    assert cli.main(["run", "-o", "c.npy", MATMUL, "B=b.npy", "--threads", "1", "A=a.npy"]) == 0
    np.testing.assert_allclose(np.load("c.npy"), np.load("a.npy") @ np.load("b.npy").T, rtol=1e-5)


def test_the_result_may_replace_an_input_and_has_the_umask(folder: Path) -> None:
    a, old = np.load("a.npy"), os.umask(0o027)
    try:
        assert cli.main(["run", "B[i,j] = A[i,j] * 2", "A=a.npy", "-o", "a.npy"]) == 0
    finally:
        os.umask(old)
    np.testing.assert_array_equal(np.load("a.npy"), a * 2)
    assert stat.S_IMODE((folder / "a.npy").stat().st_mode) == 0o640


def test_prints_a_summary_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.array([3.0, 1.0, 2.0, 8.0, 5.0], "float32"))
    assert cli.main(["run", "Y[y] = max(X[2*y + r])", "X=x.npy", "r=2"]) == 0
    assert capsys.readouterr().out == "Y: float32 (2,), from 3 to 8, mean 5.5\n[3. 8.]\n"
    assert cli.main(["run", "L[] = sum(X[i])", "X=x.npy"]) == 0
    assert capsys.readouterr().out == "L: float32 ()\n19.\n"


def test_scalars_arrays_of_other_types_and_orders() -> None:
    np.save("d.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    np.save("big.npy", np.arange(3, dtype=">i4"))
    assert cli.main(["run", "Y[i,j] = alpha * D[i,j] + E[j]", "alpha=0.5", "D=d.npy", "E=big.npy", "-o", "y.npy"]) == 0
    want = np.arange(6.0).reshape(2, 3) / 2 + np.arange(3)
    got = np.load("y.npy")
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, want)


def test_the_source_and_the_time_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", MATMUL, "A=a.npy", "B=b.npy", "--source", "--time"]) == 0
    out = capsys.readouterr().out
    assert "for (" in out and "\ntime: " in out


@pytest.mark.parametrize(
    "words, parts",
    [
        (["A=missing.npy", "B=b.npy"], ["A: there is no file 'missing.npy'"]),
        (["A=a.npy"], ["B"]),
        (["A=a.npy", "A=b.npy"], ["'A' is given twice"]),
        (["A"], ["'A' is not of the form NAME=FILE.npy or NAME=NUMBER"]),
        (["A="], ["'A=' is not of the form"]),
        (["2=a.npy"], ["'2=a.npy' is not of the form"]),
        (["A=.", "B=b.npy"], ["A: cannot read '.': Is a directory"]),
        (["A=a.npy", "B=b.npy", "--threads", "0"], ["--threads must be at least 1, not 0"]),
        (["A=a.npy", "B=b.npy", "X=b.npy"], ["X"]),
    ],
)
def test_wrong_arguments(words: list[str], parts: list[str], refused) -> None:
    message = refused(MATMUL, *words, "-o", "c.npy")
    assert all(part in message for part in parts), message


def test_files_that_are_no_arrays(refused, folder: Path) -> None:
    (folder / "text.npy").write_text("this is no array")
    (folder / "empty.npy").write_bytes(b"")
    (folder / "short.npy").write_bytes((folder / "a.npy").read_bytes()[:-8])
    (folder / "header.npy").write_bytes((folder / "a.npy").read_bytes()[:20])
    np.savez("many.npz", a=np.ones(3), b=np.ones(3))
    np.save("objects.npy", np.array([1, "x", None], dtype=object), allow_pickle=True)
    np.save("dates.npy", np.array(["2020-01-01"], "datetime64[D]"))
    np.save("records.npy", np.zeros(2, [("x", "f4")]))
    for name, part in {
        "text.npy": "is no .npy file; save the array with np.save",
        "empty.npy": "is no .npy file",
        "short.npy": "cannot be read as an array",
        "header.npy": "cannot be read as an array",
        "many.npz": "is an .npz file, which holds several arrays",
        "objects.npy": "it holds Python objects",
        "dates.npy": "holds datetime64[D], which tedsl has no type for",
        "records.npy": "which tedsl has no type for",
    }.items():
        message = refused("C[i] = A[i]", f"A={name}", "-o", "c.npy")
        assert message.startswith(f"A: '{name}' ") and part in message, message


def test_expressions_without_meaning(refused) -> None:
    for expression in ("C[i,j] = sum(A[i,k]", "C[i] = ", "nothing", "C[i,j] = sum(A[i,k] * B[k,j])", "C[i] = A[i,k]"):
        assert refused(expression, "A=a.npy", "B=b.npy", "-o", "c.npy")


def test_places_where_nothing_can_be_written(refused, folder: Path) -> None:
    (folder / "sub").mkdir()
    given = (MATMUL, "A=a.npy", "B=b.npy", "-o")
    assert refused(*given, "sub") == "cannot write 'sub': it is a folder"
    assert refused(*given, "no/c.npy").startswith("cannot write 'no/c.npy': there is no folder ")
    if os.getuid() != 0:  # root may write anywhere
        (folder / "sub").chmod(0o500)
        assert "is read-only" in refused(*given, "sub/c.npy")


def test_a_full_disk_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file, array, **options) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    (folder / "old.npy").write_bytes(b"what was there")
    for name in ("c.npy", "old.npy"):
        with pytest.raises(arrays.InputError, match=f"cannot write '{name}': No space left on device"):
            arrays.write(name, {"C": np.zeros(3)})
    assert sorted(os.listdir()) == ["a.npy", "b.npy", "old.npy"]
    assert (folder / "old.npy").read_bytes() == b"what was there"


def test_symbolic_links_and_devices_stay_what_they_are(folder: Path) -> None:
    (folder / "link.npy").symlink_to("target.npy")
    arrays.write("link.npy", {"C": np.arange(3)})
    assert (folder / "link.npy").is_symlink()
    np.testing.assert_array_equal(np.load("target.npy"), [0, 1, 2])
    arrays.write(os.devnull, {"C": np.arange(3)})
    assert not os.path.isfile(os.devnull)


def test_several_results_go_to_one_npz() -> None:
    a = np.load("a.npy")
    expression = "P[i,j] = alpha * A[i,j]; Q[] = sum(A[i,j], axis=(i, j))"
    assert cli.main(["run", expression, "A=a.npy", "alpha=2.0", "-o", "two.npz"]) == 0
    with np.load("two.npz") as data:
        assert data.files == ["P", "Q"]
        np.testing.assert_array_equal(data["P"], 2 * a)
        np.testing.assert_allclose(data["Q"], a.sum(), rtol=1e-5)


def test_several_results_go_to_an_npz_file(refused, folder: Path) -> None:
    text = "C[i] = sum(A[i,k]); D[k] = sum(A[i,k])"
    assert refused(text, "A=a.npy", "-o", "c.npy") == (
        "cannot write 'c.npy': there are 2 results (C, D); give an .npz file"
    )
    assert cli.main(["run", text, "A=a.npy", "-o", "c.npz"]) == 0
    assert sorted(np.load("c.npz")) == ["C", "D"]
    assert cli.main(["run", text.replace("C", "file").replace("D", "allow_pickle"), "A=a.npy", "-o", "c.npz"]) == 0
    assert sorted(np.load("c.npz")) == ["allow_pickle", "file"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "tedsl", "run", "C[i] = sum(A[i,k])", "A=a.npy"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONSAFEPATH": "1"}
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["tedsl run: cannot write the output: No space left on device"]
