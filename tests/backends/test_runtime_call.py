"""Calls that succeed: what is accepted, what comes back, and what is written."""

from __future__ import annotations

import collections
import copy
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import c_modules
import numpy as np
import pytest

from tedsl.backends.c.kernel import build_module
from tedsl.lang.errors import CallError, CompactionWarning


@pytest.fixture(scope="module")
def matmul():
    return build_module(c_modules.matmul())


@pytest.fixture(scope="module")
def add():
    return build_module(c_modules.add())


@pytest.fixture
def ab(rng):
    return rng.standard_normal((8, 5)).astype("f4"), rng.standard_normal((6, 5)).astype("f4")


def test_a_call_gives_a_new_array(matmul, ab):
    result = matmul(*ab)
    assert type(result) is np.ndarray and result.dtype == np.float32 and result.shape == (8, 6)
    assert result.flags.c_contiguous and result.flags.writeable
    np.testing.assert_allclose(result, ab[0] @ ab[1].T, rtol=1e-5, atol=1e-6)
    assert matmul(*ab) is not matmul(*ab)


def test_out_is_written_and_returned(matmul, ab):
    out = np.full((8, 6), np.nan, "f4")
    assert matmul(*ab, out=out) is out
    np.testing.assert_array_equal(out, matmul(*ab))
    assert matmul(*ab, out=(out,)) is out
    assert matmul(*ab, out=(None,)).shape == (8, 6)


def test_what_a_kernel_says_of_itself(matmul):
    assert matmul.name == "matmul" and matmul.inputs == ("A", "B") and matmul.outputs == ("C",)
    assert matmul.path.read_text() == matmul.source == c_modules.matmul().source
    assert matmul.library.exists()
    assert repr(matmul) == "<kernel matmul(A, B) -> C>"


def test_one_kernel_serves_every_size(add):
    for n in (0, 1, 2, 100, 100_000):
        x = np.arange(n, dtype="f8")
        np.testing.assert_array_equal(add(x, x), 2 * x)


def test_large_results_start_at_a_cache_line_and_can_be_resized(add):
    for n in (8192, 50_000, 2_000_000):
        x = np.ones(n)
        result = add(x, x)
        assert result.ctypes.data % 64 == 0
        result.resize(n + 1000, refcheck=False)
        assert (result[:n] == 2).all() and (result[n:] == 0).all()
    assert np.empty(10_000) is not None  # NumPy's own allocator is back in place
    assert np._core.multiarray.get_handler_name() == "default_allocator"


def test_several_results():
    two = build_module(c_modules.two_results())
    x = np.arange(5, dtype="i4")
    results = two(x)
    assert type(results) is tuple
    np.testing.assert_array_equal(results, [x + 1, x * 2])
    p = np.zeros(5, "i4")
    s, same = two(x, out=(None, p))
    assert same is p
    np.testing.assert_array_equal([s, p], [x + 1, x * 2])
    outs = (np.zeros(5, "i4"), p)
    assert all(a is b for a, b in zip(two(x, out=list(outs)), outs))
    pair = collections.namedtuple("Pair", "s p")(*outs)
    assert all(a is b for a, b in zip(two(x, out=pair), outs))


def test_views_are_compacted_with_a_warning_that_has_an_id(matmul, ab):
    a, b = ab
    want = matmul(a, b)
    wide = np.zeros((8, 10), "f4")
    wide[:, ::2] = a
    contiguous = r"is not contiguous \(its strides are .*pass np.ascontiguousarray\(A\)"
    order = r"has the byte order of another machine \(>f4\) .*; pass A.astype\('float32'\)$"
    views = [(wide[:, ::2], contiguous), (np.asfortranarray(a), contiguous), (np.flip(np.flip(a).copy()), contiguous)]
    for view, text in [*views, (a.astype(">f4"), order)]:
        with pytest.warns(CompactionWarning, match=rf"\[W001\] matmul: A {text}") as caught:
            np.testing.assert_array_equal(matmul(view, b), want)
        assert caught[0].filename == __file__
    row = np.broadcast_to(a[:1], (8, 5))
    with pytest.warns(CompactionWarning, match="not contiguous"):
        np.testing.assert_array_equal(matmul(row, b), matmul(row.copy(), b))


def test_contiguous_arrays_are_never_copied(matmul, ab):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matmul(*ab)
        matmul(ab[0][::1], ab[1])
        matmul(ab[0].view(type("Sub", (np.ndarray,), {})), ab[1])
        readonly = ab[0].copy()
        readonly.flags.writeable = False
        matmul(readonly, ab[1])


def test_misaligned_data_is_copied(matmul, ab):
    raw = np.frombuffer(b"\0" + ab[0].tobytes(), "f4", 40, 1).reshape(8, 5)
    with pytest.warns(CompactionWarning, match=r"not aligned to its elements .*; pass A.copy\(\)$"):
        np.testing.assert_array_equal(matmul(raw, ab[1]), matmul(*ab))


def test_anything_that_lends_its_memory_is_an_array(add):
    import array

    class Tensor:
        def __init__(self, data):
            self.data = data

        def __dlpack__(self, **options):
            return self.data.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.data.__dlpack_device__()

    x = np.arange(4.0)
    for other in (array.array("d", x), memoryview(x), Tensor(x), x.tobytes() and memoryview(x.tobytes()).cast("d")):
        np.testing.assert_array_equal(add(other, x), 2 * x)
    out = Tensor(np.zeros(4))
    assert add(x, x, out=out) is out
    np.testing.assert_array_equal(out.data, 2 * x)

    class Old(Tensor):
        """One that knows no version of DLPack, which cannot say whether memory may be written to."""

        def __dlpack__(self, stream=None):
            return self.data.__dlpack__()

    out = Old(np.zeros(4))
    assert add(x, x, out=out) is out
    np.testing.assert_array_equal(out.data, 2 * x)
    fixed = np.zeros(4)
    fixed.flags.writeable = False
    for reader in (Tensor, Old):
        with pytest.raises(CallError):  # old exporters refuse to lend it
            add(x, x, out=reader(fixed))
    assert not fixed.any()
    buffer = array.array("d", [0] * 4)
    assert add(x, x, out=buffer) is buffer and list(buffer) == [0, 2, 4, 6]


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 is a dtype of ml_dtypes")
    kernel = build_module(c_modules.scalar("bfloat16", "uint16_t"))
    value = np.asarray(1.5, ml_dtypes.bfloat16)
    assert kernel(value) == value and kernel(value).dtype == value.dtype and kernel(1.5) == value
    with pytest.raises(ValueError, match="cannot hold"):
        kernel(1e39)


def test_a_rank_0_input_takes_a_python_number():
    scale = build_module(c_modules.scale())
    w, g = np.ones(3, "f4"), np.full(3, 2, "f4")
    for lr in (0.5, np.float32(0.5), np.array(0.5, "f4")):
        np.testing.assert_array_equal(scale(w, lr, g), [0, 0, 0])
    np.testing.assert_array_equal(scale(w, 1, g), [-1, -1, -1])
    np.testing.assert_array_equal(scale(w, True, g), [-1, -1, -1])
    assert np.isinf(scale(w, float("inf"), g)).all() and np.isnan(scale(w, float("nan"), g)).all()


C_TYPES = {"bool": "uint8_t", "float32": "float", "float64": "double", "float16": "_Float16"}
C_TYPES |= {f"{u}int{b}": f"{u}int{b}_t" for u in ("", "u") for b in (8, 16, 32, 64)}


@pytest.mark.parametrize("dtype", C_TYPES)
def test_every_dtype_of_rank_0(dtype):
    kernel = build_module(c_modules.scalar(dtype, C_TYPES[dtype]))
    top = {"b": True, "i": 0, "u": 0, "f": 1.5}[np.dtype(dtype).kind]
    if np.dtype(dtype).kind in "iu":
        top = int(np.iinfo(dtype).max)
        assert kernel(int(np.iinfo(dtype).min)) == np.iinfo(dtype).min
    for value in (top, np.dtype(dtype).type(top), np.array(top, dtype)):
        result = kernel(value)
        assert result.shape == () and result.dtype == dtype and result == np.dtype(dtype).type(top)


def test_out_may_be_an_input_where_the_kernel_allows_it():
    scale = build_module(c_modules.scale())
    w, g = np.arange(1000, dtype="f4"), np.ones(1000, "f4")
    want = w - np.float32(0.5) * g
    assert scale(w, 0.5, g, out=w) is w
    np.testing.assert_array_equal(w, want)
    np.testing.assert_array_equal(scale(w.view(), 0.5, g, out=w), want - np.float32(0.5))


def test_disjoint_parts_of_one_array_do_not_overlap(add):
    block = np.arange(30.0)
    add(block[:10], block[10:20], out=block[20:])
    np.testing.assert_array_equal(block[20:], block[:10] + block[10:20])


def test_declared_layouts_are_read_as_they_lie(rng):
    turn = build_module(c_modules.transpose())
    x = np.asfortranarray(rng.standard_normal((4, 3)).astype("f4"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = turn(x)
    assert result.flags.f_contiguous
    np.testing.assert_array_equal(result, x.T)
    with pytest.warns(CompactionWarning, match=r"not laid out with strides \(1, 4\)"):
        np.testing.assert_array_equal(turn(np.ascontiguousarray(x)), x.T)


def test_declared_strides(rng):
    spread = build_module(c_modules.spread())
    wide = rng.standard_normal(30).astype("f4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = spread(wide[::3])
    assert result.strides == (8,)
    np.testing.assert_array_equal(result, wide[::3])
    with pytest.warns(CompactionWarning):
        np.testing.assert_array_equal(spread(wide), wide)
    out = np.zeros(40, "f4")
    spread(wide[::3], out=out[:20:2])
    np.testing.assert_array_equal(out[:20:2], wide[::3])
    assert not out[1::2].any()
    both = np.zeros(31, "f4")  # interleaved: the bounds overlap, the elements do not
    both[:30:3] = wide[::3]
    spread(both[:2:3], out=both[1:2:2])
    assert both[1] == both[0]


def test_sizes_of_affine_extents():
    windows = build_module(c_modules.windows())
    np.testing.assert_array_equal(windows(np.arange(7, dtype="i4")), [1, 5, 9])


def test_many_arguments():
    many = build_module(c_modules.many())
    np.testing.assert_array_equal(many(*[np.full(4, k, "f8") for k in range(40)]), np.full(4, 780.0))


def test_threads_are_bounded_and_change_no_bit(rng):
    rows = build_module(c_modules.row_sums())
    x = rng.standard_normal((64, 33))
    one, used = rows(x, threads=1)
    assert used == 1
    for threads in (2, np.int64(3), 8):
        sums, used = rows(x, threads=threads)
        assert used == threads
        np.testing.assert_array_equal(sums, one)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    path = [p for p in sys.path if p.endswith("support")]
    head = f"import sys; sys.path[:0] = {path!r}\nimport os, numpy as np, c_modules\n"
    head += "from tedsl.backends.c.kernel import build_module\n"
    environment = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", head + code], capture_output=True, text=True, env=environment, timeout=100
    )


def test_a_forked_child_of_a_parallel_program_does_not_hang():
    done = run(
        "rows = build_module(c_modules.row_sums())\n"
        "x = np.ones((64, 8)); assert rows(x, threads=4)[1] == 4\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    sums, used = rows(x, threads=4)\n"
        "    os._exit(0 if (sums == 8).all() and used == 1 else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "assert rows(x, threads=4)[1] == 4\n"
    )
    assert done.returncode == 0, done.stderr


def test_openmp_threads_outlive_the_kernel_that_started_them():
    done = run(
        "import gc, time\n"
        "for n in range(3):\n"
        "    kernel = build_module(c_modules.row_sums())\n"
        "    assert (kernel(np.ones((64, 8)), threads=4)[0] == 8).all()\n"
        "    del kernel; gc.collect(); time.sleep(0.05)\n"
    )
    assert done.returncode == 0, done.stderr


def test_a_child_forked_before_any_parallel_loop_has_all_threads():
    done = run(
        "rows = build_module(c_modules.row_sums())\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(0 if rows(np.ones((64, 8)), threads=3)[1] == 3 else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    assert done.returncode == 0, done.stderr


def test_omp_num_threads_is_the_default():
    code = "assert build_module(c_modules.row_sums())(np.ones((4, 4)))[1] == {}"
    assert run(code.format(3), OMP_NUM_THREADS="3").returncode == 0
    assert run(code.format("len(os.sched_getaffinity(0))"), OMP_NUM_THREADS="").returncode == 0


def test_many_threads_call_one_kernel(matmul, ab):
    want, bad = matmul(*ab), []

    def go():
        for _ in range(200):
            if not np.array_equal(matmul(*ab), want):
                bad.append(1)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not bad


def test_the_call_releases_the_gil():
    spin = c_modules.CModule(
        "wait",
        c_modules.source(
            "wait", "volatile int64_t *x = buffers[0]; while (*x == 0) {} *(int64_t *)buffers[1] = *x; return 0;"
        ),
        (c_modules.Argument("x", "int64", (), "input"), c_modules.Argument("r", "int64", (), "output")),
    )
    flag = np.zeros((), "i8")
    timer = threading.Timer(0.05, lambda: flag.fill(7))
    timer.start()
    assert build_module(spin)(flag) == 7


def test_kernels_travel_as_source(matmul, ab):
    for other in (pickle.loads(pickle.dumps(matmul)), copy.copy(matmul), copy.deepcopy(matmul)):
        np.testing.assert_array_equal(other(*ab), matmul(*ab))
        assert other.source == matmul.source
    assert len(pickle.dumps(matmul)) < 5000


def test_time_measures_the_function_alone(matmul, ab):
    timing = matmul.time(*ab, repeat=5)
    assert 0 < timing.min <= timing.median and len(timing.samples) == 5
    assert "min=" in repr(timing) and "samples" not in repr(timing)
    out = np.zeros((8, 6), "f4")
    matmul.time(*ab, out=out, repeat=3)
    np.testing.assert_array_equal(out, matmul(*ab))
    with pytest.raises(TypeError, match="takes 2 arguments"):
        matmul.time(ab[0])
    with pytest.raises(ValueError, match="repeat"):
        matmul.time(*ab, repeat=0)


def test_results_do_not_leak(add):
    import gc
    import sys

    x = np.ones(10)
    y = np.ones(100_000)
    gc.collect()
    before = [sys.getrefcount(x), sys.getrefcount(x.dtype)]
    for _ in range(1000):
        add(x, x)
        add(x, x, out=x.copy())
        add(y, y)
    gc.collect()
    after = [sys.getrefcount(x), sys.getrefcount(x.dtype)]
    assert all(a - b < 100 for a, b in zip(after, before)), "a reference was lost at every call"


@pytest.mark.parametrize("asked", ["99999999999999999999", "100000", "9" * 5000, "²", "0"])
def test_any_omp_num_threads_will_do(asked):
    """Too many threads are no more than a process can have, and what is no number is no limit."""
    code = (
        f"import sys; sys.path[:0] = [{str(Path(c_modules.__file__).parent)!r}]\nimport numpy as np, c_modules\n"
        "from tedsl.backends.c.kernel import build_module\n"
        "rows = build_module(c_modules.row_sums())\nprint(rows(np.ones((3000, 4)))[0].sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": asked}, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout == "12000.0\n", done.stderr


def test_what_old_cythons_drop_is_not_written():
    """Cython 3.0 leaves out the initialiser of a pointer to constant pointers, and what it points to is nowhere."""
    folder = Path(__file__).parents[2] / "backends"
    sources = [*(folder / "calls").glob("*.pxi"), folder / "c" / "runtime.pyx"]
    assert len(sources) == 3
    for path in sources:
        assert not re.search(r"cdef [^\n=(]*\*\s*const\b[^\n=(]*=", path.read_text()), path.name
