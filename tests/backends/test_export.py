"""Exported extensions: built with Cython, run where tedsl cannot be imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import c_modules
import numpy as np
import pytest

from tedsl.backends.c.export import export
from tedsl.backends.c.kernel import build_module
from tedsl.lang.errors import BuildError

PARTS = {"{0}.c", "{0}.h", "{0}_kernel.pyx", "{0}_arguments.py", "setup.py", "README.md"}


def build(folder: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def run(folder: Path, code: str) -> None:
    head = "import sys\nsys.modules['tedsl'] = None\nimport re, numpy as np\n"
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}
    program = head + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


HELPERS = """
    def fails(error, text, f, *args, **keywords):
        try:
            f(*args, **keywords)
        except error as e:
            assert text in str(e), str(e)
        else:
            raise SystemExit('accepted')
"""


def test_an_exported_kernel_works_and_checks_without_tedsl(tmp_path, rng):
    kernel = build_module(c_modules.matmul())
    folder = kernel.export(tmp_path / "deep" / "pkg")
    assert folder == tmp_path / "deep" / "pkg"
    assert {p.name for p in folder.iterdir()} == {p.format("matmul") for p in PARTS}
    build(folder)
    a, b = rng.standard_normal((8, 5)).astype("f4"), rng.standard_normal((6, 5)).astype("f4")
    np.savez(tmp_path / "data.npz", a=a, b=b, want=kernel(a, b))
    run(
        folder,
        HELPERS
        + f"""
    import warnings
    from matmul_kernel import matmul
    d = np.load({str(tmp_path / "data.npz")!r})
    a, b, want = d['a'], d['b'], d['want']
    assert np.array_equal(matmul(a, b), want)
    out = np.zeros((8, 6), 'f4')
    assert matmul(a, b, out=out, threads=2) is out and np.array_equal(out, want)
    fails(TypeError, "matmul: A has dtype float64, expected float32", matmul, a.astype('f8'), b)
    fails(ValueError, "matmul: A has shape (8, 4), expected (8, 5)", matmul, a[:, :4], b)
    fails(TypeError, "takes 2 arguments (A, B), got 1", matmul, a)
    fails(TypeError, "A is a list, no array", matmul, a.tolist(), b)
    fails(TypeError, "A is a NoneType", matmul, None, b)
    fails(ValueError, "C (in out=) is not contiguous", matmul, a, b, out=np.zeros((8, 12), 'f4')[:, ::2])
    fails(ValueError, "C (in out=) is read-only", matmul, a, b, out=np.broadcast_to(np.float32(0), (8, 6)))
    memory = np.zeros(64, 'f4')
    fails(ValueError, "shares memory with A", matmul, memory[:40].reshape(8, 5), b, out=memory[16:].reshape(8, 6))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        assert np.array_equal(matmul(np.asfortranarray(a), b), want)
    assert '[W001]' in str(caught[0].message) and caught[0].filename == '<string>', caught[0]
    """,
    )


def test_sizes_faults_and_awkward_names(tmp_path):
    """Two kernels in one program: symbolic sizes with late faults, and names that Python or C keep for themselves."""
    import dataclasses

    plain = c_modules.matmul("lambda")
    renamed = tuple(dataclasses.replace(a, name=f"{a.name} ∂*/") for a in plain.args)
    folder = export(c_modules.gather(late=True), tmp_path / "pkg")
    build(folder)
    other = export(dataclasses.replace(plain, args=renamed), tmp_path / "other")
    build(other)
    for file in other.glob("lambda_*"):
        shutil.copy(file, folder)
    run(
        folder,
        HELPERS
        + """
    import lambda_kernel
    from gather_kernel import gather
    T = np.arange(4, dtype='f4')
    out = np.full(2, 9, 'f4')
    assert gather(T, np.array([3, 1]), out=out) is out and list(out) == [3, 1]
    fails(IndexError, "gather: idx[1] is 7, out of range for T with 4 rows", gather, T, np.array([0, 7]), out=out)
    assert list(out) == [3, 1]
    fails(TypeError, "idx has dtype int32", gather, T, np.array([0], 'i4'))
    f = getattr(lambda_kernel, 'lambda')
    assert f(np.ones((8, 5), 'f4'), np.ones((6, 5), 'f4')).sum() == 240
    fails(TypeError, "A \\u2202*/ is a NoneType", f, None, None)
    """,
    )


def test_parallel_kernels_survive_a_fork(tmp_path):
    folder = export(c_modules.row_sums(), tmp_path / "rows")
    build(folder)
    run(
        folder,
        """
    import os
    from rows_kernel import rows
    x = np.ones((64, 8))
    assert rows(x, threads=4)[1] == 4
    pid = os.fork()
    if pid == 0:
        os._exit(0 if (rows(x)[0] == 8).all() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    """,
    )


def test_the_header_serves_c_and_cpp(tmp_path):
    folder = export(c_modules.matmul(), tmp_path / "pkg")
    program = """
#include "matmul.h"
int main(void)
{
    static float A[40], B[30], C[48], D[48];
    for (int i = 0; i < 40; i++) A[i] = (float)i;
    for (int i = 0; i < 30; i++) B[i] = 1;
    matmul(A, B, C);
    void *buffers[] = {A, B, D};
    if (matmul_call(buffers, 0, 0, 1)) return 1;
    for (int i = 0; i < 48; i++) if (C[i] != D[i]) return 2;
    return C[0] == 10 ? 0 : 3;
}
"""
    (folder / "main.c").write_text(program)
    strict = ["-Wall", "-Wextra", "-Werror", "-std=c11"]
    subprocess.run(["cc", *strict, "main.c", "matmul.c", "-o", "program"], cwd=folder, check=True)
    subprocess.run([folder / "program"], check=True)
    if shutil.which("g++"):
        (folder / "main.cc").write_text(program)
        subprocess.run(["g++", "-Wall", "-Werror", "-c", "main.cc"], cwd=folder, check=True)


def test_an_export_can_be_repeated_and_touches_only_its_own_files(tmp_path):
    folder = tmp_path / "pkg"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    export(c_modules.matmul(), folder)
    (folder / "matmul.c").write_text((folder / "matmul.c").read_text() + "// edited\n")
    export(c_modules.matmul(), str(folder))
    assert "edited" not in (folder / "matmul.c").read_text()
    assert (folder / "notes.txt").read_text() == "mine"
    assert {p.name for p in folder.iterdir()} == {p.format("matmul") for p in PARTS} | {"notes.txt"}


def test_files_of_others_are_not_overwritten(tmp_path):
    (tmp_path / "setup.py").write_text("print('mine')\n")
    with pytest.raises(
        BuildError, match=r"cannot export matmul: .* has files of the same name \(setup.py\); give another"
    ):
        export(c_modules.matmul(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["setup.py"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match="is a file; give a folder"):
        export(c_modules.matmul(), tmp_path / "file")
    with pytest.raises(BuildError, match="cannot export matmul to"):
        export(c_modules.matmul(), tmp_path / "file" / "below")
    with pytest.raises(BuildError, match="cannot export matmul to /dev/null/x"):
        export(c_modules.matmul(), "/dev/null/x")


def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch):
    def full(self, *args, **keywords):
        if self.name == "setup.py":
            raise OSError(28, "No space left on device")
        return write(self, *args, **keywords)

    write = Path.write_text
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(BuildError, match="No space left on device"):
        export(c_modules.matmul(), tmp_path / "pkg")
    assert list(tmp_path.iterdir()) == []


def test_the_readme_says_what_goes_in_and_out(tmp_path):
    text = (export(c_modules.windows(), tmp_path / "pkg") / "README.md").read_text()
    assert "from windows_kernel import windows\nresult = windows(X)" in text
    assert "| input | X | int32 | ((2 * n) + 1,) |" in text and "| output | R | int32 | (n,) |" in text
