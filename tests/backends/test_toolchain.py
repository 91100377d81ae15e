"""The C compiler and its flags."""

from __future__ import annotations

import dataclasses

import c_modules
import numpy as np
import pytest

from tedsl import hardware
from tedsl.backends.c import kernel, toolchain
from tedsl.backends.c.kernel import build_module
from tedsl.lang.errors import BuildError, OpenMPWarning


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    toolchain.known.cache_clear()
    monkeypatch.delenv("TEDSL_ISA", raising=False)


def script(folder, name: str, text: str) -> str:
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o700)
    return str(path)


def test_a_compiler_is_found_checked_and_remembered(cache_folder, monkeypatch):
    found = toolchain.find()
    assert found.version and found.path.startswith("/")
    toolchain.known.cache_clear()
    monkeypatch.setattr(toolchain, "examined", lambda command: pytest.fail("asked twice"))
    assert toolchain.find() == found


def test_a_compiler_that_changed_is_asked_again(cache_folder, monkeypatch, tmp_path):
    path = script(tmp_path, "cc", 'exec gcc "$@"\n')
    monkeypatch.setenv("CC", path)
    toolchain.find()
    script(tmp_path, "cc", 'case "$*" in *--version*) echo new; exit;; esac; exec gcc "$@"\n')
    toolchain.known.cache_clear()
    assert toolchain.find().version == "new"


def test_cc_decides_and_may_have_arguments(cache_folder, monkeypatch, tmp_path):
    log = tmp_path / "log"
    path = script(tmp_path, "my cc", f'echo "$@" >> {log}\nshift\nexec gcc "$@"\n')
    monkeypatch.setenv("CC", f"'{path}' --first")
    module = c_modules.matmul("with_cc")
    assert build_module(module).library.exists()
    assert all(line.startswith("--first ") for line in log.read_text().splitlines())
    monkeypatch.setenv("CC", "no-such-compiler -x")
    monkeypatch.setenv("CC", "gcc 'x")
    with pytest.raises(BuildError, match=r"""CC="gcc 'x" is no command: No closing quotation; correct or unset CC"""):
        toolchain.find()
    monkeypatch.setenv("CC", "no-such-compiler -x")
    with pytest.raises(BuildError, match="no C compiler: CC is 'no-such-compiler -x', and there is no such command"):
        toolchain.find()


def test_a_compiler_that_does_not_work_is_passed_over(cache_folder, monkeypatch, tmp_path):
    import shutil

    real = shutil.which("gcc") or shutil.which("clang") or shutil.which("cc")
    script(tmp_path, "gcc", "echo 'gcc: the licence has expired' >&2; exit 3\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(
        BuildError, match=r"no C compiler works; install one .*\n  .*/gcc: gcc: the licence has expired"
    ):
        toolchain.find()
    script(tmp_path, "clang", f'PATH=/usr/local/bin:/usr/bin:/bin exec {real} "$@"\n')
    assert toolchain.find().path == str(tmp_path / "clang")


def test_a_compiler_whose_openmp_does_not_link_has_none(cache_folder, monkeypatch, tmp_path):
    script(
        tmp_path,
        "cc",  # compiles with OpenMP, but does not link its library
        'for a; do shift; case $a in *.c) src=$a;; -fopenmp) omp=1;; *) set -- "$@" "$a";; esac; done\n'
        '[ "$omp" ] && gcc -fopenmp -fPIC -c -o "$src.o" "$src" && src="$src.o"\n'
        'exec gcc "$@" $src\n',
    )
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    assert not toolchain.find().openmp


def test_no_openmp_means_one_thread_and_a_warning(cache_folder, monkeypatch, tmp_path):
    script(tmp_path, "cc", 'case "$*" in *-fopenmp*) echo "unsupported option" >&2; exit 1;; esac; exec gcc "$@"\n')
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    assert not toolchain.find().openmp
    with pytest.warns(OpenMPWarning, match=r"\[W003\] rows: the compiler has no OpenMP, .*tedsl cache clear") as caught:
        rows = build_module(c_modules.row_sums())
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(rows(np.ones((3, 4)))[0], [4, 4, 4])


def test_a_compiler_that_does_not_know_a_flag_is_not_given_it(cache_folder, monkeypatch, tmp_path):
    unknown = f"case \"$*\" in *{toolchain.QUICK}*) echo 'unknown argument' >&2; exit 1;; esac\n"
    monkeypatch.setenv("CC", script(tmp_path, "cc", unknown + 'exec gcc "$@"\n'))
    found = toolchain.find()
    assert found.openmp and toolchain.QUICK not in found.extra
    assert build_module(c_modules.matmul("slowly")).library.exists()


FEATURES = {
    "sse2": set(),
    "avx2": {*hardware.AVX2.flags},
    "avx512": {*hardware.AVX2.flags, *hardware.AVX512.flags},
}


@pytest.mark.parametrize("have", FEATURES)
@pytest.mark.parametrize("asked", [None, "sse2", "avx2", "avx512"])
def test_the_level_is_the_least_of_what_is_there_and_what_is_asked(monkeypatch, have, asked):
    monkeypatch.setattr(hardware, "cpu_features", lambda: frozenset(FEATURES[have]))
    monkeypatch.setattr(hardware, "is_x86", lambda: True)
    order = ["sse2", "avx2", "avx512"]
    want = order[min(order.index(have), order.index(asked or "avx512"))]
    assert hardware.level(asked) == want
    assert hardware.vector_bytes(asked) == {"sse2": 16, "avx2": 32, "avx512": 64}[want]
    flags = toolchain.flags(False, asked)
    assert ("-mavx2" in flags) == (want != "sse2") and ("-mavx512f" in flags) == (want == "avx512")
    assert ("-mprefer-vector-width=512" in flags) == (want == "avx512")
    if asked:
        monkeypatch.setenv("TEDSL_ISA", asked)
        assert hardware.level() == want


def test_half_of_avx512_is_avx2(monkeypatch):
    monkeypatch.setattr(hardware, "cpu_features", lambda: frozenset({*hardware.AVX2.flags, "avx512f", "avx512cd"}))
    monkeypatch.setattr(hardware, "is_x86", lambda: True)
    assert hardware.level() == "avx2"
    monkeypatch.setattr(hardware, "cpu_features", lambda: frozenset({"avx2"}))  # without fma
    assert hardware.level() == "sse2"


def test_elsewhere_no_flags_are_needed(monkeypatch):
    monkeypatch.setattr(hardware, "is_x86", lambda: False)
    assert hardware.level() == "generic" and hardware.vector_bytes() == 16 and hardware.feature_flags() == ()


def test_flags_keep_the_meaning_of_floating_point():
    flags = toolchain.flags(True)
    assert "-fopenmp" in flags and "-fopenmp" not in toolchain.flags(False)
    assert not {"-ffast-math", "-Ofast", "-ffinite-math-only", "-funsafe-math-optimizations", "-march=native"} & set(
        flags
    )


def test_an_unknown_instruction_set_is_an_error(monkeypatch):
    monkeypatch.setenv("TEDSL_ISA", "mmx")
    with pytest.raises(BuildError, match="unknown instruction set 'mmx'; expected one of sse2, avx2, avx512"):
        toolchain.flags()


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
def test_kernels_run_at_every_level(isa, rng):
    matmul = build_module(dataclasses.replace(c_modules.matmul("at_level"), isa=isa))
    a, b = rng.standard_normal((8, 5)).astype("f4"), rng.standard_normal((6, 5)).astype("f4")
    np.testing.assert_allclose(matmul(a, b), a @ b.T, rtol=1e-5, atol=1e-6)


def test_what_a_key_depends_on(monkeypatch):
    module = c_modules.add()
    keys = {kernel._key(module)}
    keys.add(kernel._key(dataclasses.replace(module, source=module.source + " ")))
    keys.add(kernel._key(dataclasses.replace(module, name="other")))
    keys.add(kernel._key(dataclasses.replace(module, openmp=True)))
    monkeypatch.setenv("CC", "other-cc")
    keys.add(kernel._key(module))
    monkeypatch.delenv("CC")
    monkeypatch.setattr(kernel, "__version__", "9.9")
    keys.add(kernel._key(module))
    monkeypatch.setattr(toolchain, "feature_flags", lambda isa=None: ("-mnothing",))
    keys.add(kernel._key(module))
    assert len(keys) == 7
