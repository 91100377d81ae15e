"""The kernel cache: hits, damage, permissions, bounds, many processes, full and read-only disks, interrupted builds."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import c_modules
import numpy as np
import pytest

from tedsl.backends import cache
from tedsl.backends.c import toolchain
from tedsl.backends.c.kernel import build_module
from tedsl.lang.errors import BuildError, CacheWarning

SUPPORT = str(Path(c_modules.__file__).parent)
BUILD = f"""
import sys; sys.path.insert(0, {SUPPORT!r})
import os, numpy as np, c_modules
from tedsl.backends.c.kernel import build_module
def check():
    kernel = build_module(c_modules.add())
    assert (kernel(np.ones(9), np.ones(9)) == 2).all()
    return kernel
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system takes root")


def run(code: str = "check()", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BUILD + code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=100,
    )


def works(module=None) -> None:
    kernel = build_module(module or c_modules.add())
    np.testing.assert_array_equal(kernel(np.ones(9), np.ones(9)), np.full(9, 2))


@pytest.fixture
def no_compiler(monkeypatch):
    """From here on, whoever looks for a compiler fails."""

    def find():
        raise AssertionError("the compiler was asked for")

    return lambda: monkeypatch.setattr(toolchain, "find", find)


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system and unmounts it in the end."""
    places = []

    def mount(size: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place], capture_output=True
        )
        if done.returncode:
            pytest.skip("mounting is not allowed here")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_hit_needs_no_compiler(cache_folder, no_compiler):
    works()
    no_compiler()
    works()
    with pytest.raises(AssertionError, match="was asked for"):
        works(dataclasses.replace(c_modules.add(), source=c_modules.add().source + "\n"))


def test_a_second_process_needs_no_compiler(cache_folder):
    assert run().returncode == 0
    done = run("os.environ['PATH'] = ''; check()")
    assert done.returncode == 0, done.stderr


def test_no_compiler_is_a_clear_error(cache_folder):
    done = run("os.environ['PATH'] = ''; check()", CC="")
    assert (
        done.returncode != 0 and "BuildError: no C compiler found" in done.stderr and "apt install gcc" in done.stderr
    )


def test_the_cache_is_the_owners_alone(cache_folder):
    old = os.umask(0)
    try:
        works()
        cache.keep_failed("x", "key", "text")
    finally:
        os.umask(old)
    root = Path(cache_folder)
    found = [root, *root.rglob("*")]
    assert len(found) > 6
    assert all(p.stat().st_mode & 0o077 == 0 for p in found), [oct(p.stat().st_mode) for p in found]


def files(root: str) -> list[Path]:
    return sorted(p for p in Path(root).rglob("*") if p.is_file())


DAMAGE = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "random": lambda data: np.random.default_rng(1).bytes(5000),
    "one bit": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "longer": lambda data: data + b"\0",
    "other JSON": lambda data: b'{"name": "../../x", "sha256": 5}',
    "a list": lambda data: b"[" * 5000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_rebuilt(cache_folder, damage):
    kernel = build_module(c_modules.add())
    names = {p.suffix for p in files(cache_folder)}
    assert names == {".c", ".so", ".json"}
    for path in files(cache_folder):
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
        toolchain.known.cache_clear()
        works()
        # a kernel that is loaded does not read the file again
        assert (kernel(np.ones(3), np.ones(3)) == 2).all()
    for path in files(cache_folder):
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    toolchain.known.cache_clear()
    works()
    assert len(cache.entries()) == 1


def test_lost_files_are_rebuilt(cache_folder):
    works()
    for path in files(cache_folder):
        path.unlink()
        works()
    entry = cache.entries()[0].folder
    shutil.rmtree(entry)
    entry.write_text("a file in the place of the folder")
    works()
    shutil.rmtree(cache_folder)
    works()
    assert len(cache.entries()) == 1


def test_an_entry_of_another_source_is_not_taken(cache_folder):
    """Two sources under one key cannot happen by chance; were it to happen, the wrong kernel must not run."""
    works()
    entry = cache.entries()[0]
    assert cache.lookup(entry.folder.name, c_modules.add().source) is not None
    assert cache.lookup(entry.folder.name, c_modules.add().source + " ") is None


def test_many_processes_build_at_once(cache_folder):
    processes = [subprocess.Popen([sys.executable, "-c", BUILD + "check()"]) for _ in range(6)]
    assert [p.wait(100) for p in processes] == [0] * 6
    assert cache.usage()[0] == 1
    assert not list(Path(cache_folder).rglob("tmp-*"))


def test_entries_usage_and_clear(cache_folder):
    assert cache.entries() == [] and cache.usage() == (0, 0) and cache.clear() == (0, 0)
    add, matmul = build_module(c_modules.add()), build_module(c_modules.matmul())
    assert cache.folder() == Path(cache_folder)
    found = cache.entries()
    assert {e.name for e in found} == {"add", "matmul"}
    assert all(e.source.exists() and e.library.exists() and e.details["compiler"] for e in found)
    count, size = cache.usage()
    assert count == 2 and size == sum(p.stat().st_size for e in found for p in e.folder.iterdir())
    assert cache.clear() == (2, size)
    assert cache.usage() == (0, 0) and files(cache_folder) == []
    assert add(np.ones(1), np.ones(1)) == 2 and matmul.source
    works()


def test_clearing_leaves_builds_of_running_processes_alone(cache_folder):
    works()
    kernels = cache.entries()[0].folder.parent
    running, dead = kernels / f"tmp-{os.getpid()}-0", kernels / "tmp-999999999-0"
    running.mkdir()
    dead.mkdir()
    cache.clear()
    assert [p.name for p in kernels.iterdir()] == [running.name]


def test_a_cache_that_is_removed_during_a_build(cache_folder, monkeypatch):
    compile_library, calls = toolchain.compile_library, []

    def interrupted(source, library, *options):
        calls.append(source)
        if len(calls) < 3:
            shutil.rmtree(cache_folder)
        return compile_library(source, library, *options)

    monkeypatch.setattr(toolchain, "compile_library", interrupted)
    works()
    assert len(calls) == 3 and len(cache.entries()) == 1


def test_the_least_recently_used_entries_go_first(cache_folder, monkeypatch):
    modules = [c_modules.matmul(f"f{n}") for n in range(5)]
    build_module(modules[0])
    size = cache.usage()[1]
    monkeypatch.setenv("TEDSL_CACHE_SIZE", str(int(size * 3.5)))
    for n, module in enumerate(modules):
        build_module(module)
        build_module(modules[0])  # used again and again
        for entry in cache.entries():
            if entry.name != "f0":
                os.utime(entry.folder, (entry.used - 100 + n, entry.used - 100 + n))
    assert {e.name for e in cache.entries()} == {"f0", "f3", "f4"}
    assert cache.usage()[1] <= cache.limit()


def test_sizes_are_read_with_units(monkeypatch):
    monkeypatch.delenv("TEDSL_CACHE_SIZE", raising=False)
    assert cache.limit() == 512 * 2**20
    for text, value in {"10": 10, "2K": 2048, "1.5m": 3 * 2**19, "1 GB": 2**30, "0": 0}.items():
        monkeypatch.setenv("TEDSL_CACHE_SIZE", text)
        assert cache.limit() == value
    monkeypatch.setenv("TEDSL_CACHE_SIZE", "much")
    with pytest.warns(CacheWarning, match=r"\[W002\] TEDSL_CACHE_SIZE='MUCH' is no size"):
        assert cache.limit() == 512 * 2**20


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TEDSL_CACHE_DIR", "~/x")
    assert cache.folder() == Path.home() / "x"
    monkeypatch.delenv("TEDSL_CACHE_DIR")
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache.folder() == tmp_path / "tedsl"
        for unset in ("", "relative"):
            monkeypatch.setenv("XDG_CACHE_HOME", unset)
            assert cache.folder() == Path.home() / ".cache" / "tedsl"


def test_a_folder_that_others_can_write_is_closed_or_refused(cache_folder):
    works()
    root = Path(cache_folder)
    root.chmod(0o777)
    works()  # it holds only what is ours: closing it harms nobody
    assert root.stat().st_mode & 0o777 == 0o700
    (root / f"kernels-{cache.FORMAT}").chmod(0o777)
    works()
    assert (root / f"kernels-{cache.FORMAT}").stat().st_mode & 0o777 == 0o700
    (root / "letter.txt").write_text("somebody's")
    root.chmod(0o777)
    with pytest.warns(
        CacheWarning, match=r"\[W002\] the kernel cache .* is not used: others can write to it"
    ) as caught:
        works(dataclasses.replace(c_modules.add(), source=c_modules.add().source + "//"))
    assert caught[0].filename == __file__
    assert root.stat().st_mode & 0o777 == 0o777
    root.chmod(0o700)


@pytest.fixture
def compiled(monkeypatch) -> list[Path]:
    """The sources that are compiled from here on."""
    compile_library, sources = toolchain.compile_library, []
    monkeypatch.setattr(toolchain, "compile_library", lambda *args: sources.append(args[0]) or compile_library(*args))
    return sources


def entry_moved_behind_a_link(entry: cache.Entry) -> None:
    away = entry.folder.parents[2] / "away"
    entry.folder.rename(away)
    entry.folder.symlink_to(away)


def library_behind_a_link(entry: cache.Entry) -> None:
    away = entry.folder.parents[2] / "away.so"
    entry.library.rename(away)
    entry.library.symlink_to(away)


OTHERS = {
    "the cache": lambda entry: entry.folder.parents[1].chmod(0o777),
    "its folder of kernels": lambda entry: entry.folder.parent.chmod(0o722),
    "the entry": lambda entry: entry.folder.chmod(0o777),
    "the library": lambda entry: entry.library.chmod(0o606),
    "the source": lambda entry: entry.source.chmod(0o606),
    "what is noted": lambda entry: (entry.folder / "entry.json").chmod(0o606),
    "a link to the entry": entry_moved_behind_a_link,
    "a link to the library": library_behind_a_link,
    "another's entry": lambda entry: os.chown(entry.folder, 12345, 12345),
    "another's library": lambda entry: os.chown(entry.library, 12345, 12345),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_others_may_have_written_is_compiled_anew(cache_folder, compiled, what):
    works()
    works()
    assert len(compiled) == 1
    if "another" in what and os.geteuid() != 0:
        pytest.skip("only root can give files away")
    OTHERS[what](cache.entries()[0])
    works()
    assert len(compiled) == 2
    works()
    assert len(compiled) == 2 and len(cache.entries()) == 1


def test_what_lies_above_the_cache_counts(tmp_path, monkeypatch, compiled):
    """Whoever can write to a folder above, or to one that a link leads through, can put another cache in its place."""
    above = tmp_path / "above"
    above.mkdir()
    (tmp_path / "link").symlink_to(above)
    for given in (above / "cache", tmp_path / "link" / "cache"):
        monkeypatch.setenv("TEDSL_CACHE_DIR", str(given))
        above.chmod(0o755)
        works()
        works()
        assert len(compiled) == 1
        above.chmod(0o757)
        source = c_modules.add().source + f"/* {given.parent.name} */"
        with pytest.warns(CacheWarning, match=r"is not used: .*/above: others can write to it"):
            works(dataclasses.replace(c_modules.add(), source=source))
        assert len(compiled) == 2
        compiled.pop()
    above.chmod(0o1777)  # as /tmp: nobody can take away what is another's
    works()
    assert len(compiled) == 1


def test_a_shared_cache_is_read(tmp_path, monkeypatch, compiled):
    shared, own = tmp_path / "shared", tmp_path / "own"
    monkeypatch.setenv("TEDSL_CACHE_DIR", str(shared))
    works()
    if os.geteuid() == 0:
        for path in (shared, *shared.rglob("*")):
            os.chown(path, 12345, 12345)
    monkeypatch.setenv("TEDSL_CACHE_DIR", str(own))
    monkeypatch.setenv("TEDSL_SHARED_CACHE", str(shared))
    works()
    assert len(compiled) == 1 and not own.exists()
    shared.chmod(0o777)
    with pytest.warns(
        CacheWarning, match=r"\[W002\] TEDSL_SHARED_CACHE='.*/shared' is not used: others can write to it"
    ):
        works()
    assert len(compiled) == 2 and shared.stat().st_mode & 0o777 == 0o777
    shutil.rmtree(own)
    monkeypatch.setenv("TEDSL_SHARED_CACHE", str(tmp_path / "none"))
    with pytest.warns(CacheWarning, match=r"TEDSL_SHARED_CACHE='.*/none' is not used: No such file"):
        works()


def test_folders_that_do_not_exist(monkeypatch):
    monkeypatch.setenv("TEDSL_CACHE_DIR", "~nobody-of-this-name/cache")
    with pytest.raises(BuildError, match="TEDSL_CACHE_DIR='~nobody-of-this-name/cache' is no folder: "):
        works()


def test_nowhere_to_write(monkeypatch):
    def nowhere(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    cache._temporary.cache_clear()
    monkeypatch.setenv("TEDSL_CACHE_DIR", "/dev/null/cache")
    monkeypatch.setattr("tempfile.mkdtemp", nowhere)
    with pytest.raises(BuildError, match=r"no folder for kernels: No usable temp.*; set TEDSL_CACHE_DIR or TMPDIR"):
        works()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_refused(cache_folder):
    Path(cache_folder).mkdir(mode=0o700)
    os.chown(cache_folder, 12345, 12345)
    done = run()
    assert done.returncode == 0 and "it belongs to another user (id 12345)" in done.stderr
    assert list(Path(cache_folder).iterdir()) == []


def test_a_cache_that_cannot_be_written_gives_a_warning_and_works(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    for bad in (file / "cache", file):
        done = run("check(); check()", TEDSL_CACHE_DIR=str(bad))
        assert done.returncode == 0 and "CacheWarning: [W002] the kernel cache" in done.stderr, done.stderr
    assert file.read_text() == ""


@as_root
def test_a_read_only_cache_is_read(mounted):
    place = mounted("1m")
    environment = {"TEDSL_CACHE_DIR": str(place)}
    assert run(**environment).returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    done = run("os.environ['PATH'] = ''; check()", **environment)
    assert done.returncode == 0 and done.stderr == ""
    done = run("build_module(c_modules.matmul())", **environment)
    assert done.returncode == 0 and "[W002]" in done.stderr and "cannot be written" in done.stderr, done.stderr


@as_root
def test_a_full_disk_is_a_clear_error_and_leaves_nothing_broken(mounted):
    place = mounted("64k")
    filler = place / "filler"
    environment = {"TEDSL_CACHE_DIR": str(place / "cache")}
    for free in (0, 4096, 8192, 16384):
        with open(filler, "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass  # full
        os.truncate(filler, max(filler.stat().st_size - free, 0))
        done = run(**environment)
        assert done.returncode != 0 and "BuildError: no room on the disk" in done.stderr, done.stderr
        assert not list(place.rglob("tmp-*")) and not list(place.rglob("*.so"))
    filler.unlink()
    assert run(**environment).returncode == 0


def slow_compiler(folder: Path) -> str:
    """A compiler that takes its time, and says when it has begun."""
    script = folder / "slow-cc"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *--version*|*check.c*) exec gcc "$@";; esac\n'
        f'touch {folder}/begun\nsleep 30\nexec gcc "$@"\n'
    )
    script.chmod(0o700)
    return str(script)


# A job in the background inherits that the signal is ignored.
HEARS_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_build_leaves_a_cache_that_works(cache_folder, tmp_path, how):
    environment = {**os.environ, "CC": slow_compiler(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS_SIGINT + BUILD + "check()"],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if how == signal.SIGKILL:
        process.send_signal(how)  # it cannot clean up, nor end its compiler
        process.wait(60)
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.killpg(process.pid, how)
        process.wait(60)
    assert process.returncode != 0
    assert cache.entries() == []
    left = list(Path(cache_folder).rglob("tmp-*"))
    assert len(left) == (0 if how == signal.SIGINT else 1)
    for path in left:
        os.utime(path, (0, 0))  # long ago
    works()
    assert len(cache.entries()) == 1
    assert not list(Path(cache_folder).rglob("tmp-*"))


def test_the_fallback_folder_is_removed_when_the_process_ends(tmp_path):
    done = run(
        "kernel = check(); print(kernel.library)\n"
        "if os.fork() == 0: sys.exit(0)\n"
        "os.wait(); assert kernel.library.exists()",
        TEDSL_CACHE_DIR="/dev/null/cache",
    )
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).exists()


def test_facts_are_remembered(cache_folder):
    assert cache.recall("fact") is None
    cache.remember("fact", {"a": [1, 2.5, None]})
    assert cache.recall("fact") == {"a": [1, 2.5, None]}
    (Path(cache_folder) / "notes" / "fact.json").write_bytes(b"\xff{")
    assert cache.recall("fact") is None


def test_keys_do_not_run_together():
    assert cache.key("ab", "c") != cache.key("a", "bc") != cache.key("abc")
    assert cache.key("\ud800") != cache.key("")


def test_a_source_that_does_not_compile_is_kept(cache_folder):
    module = c_modules.CModule("broken", "int x = ;\n", c_modules.add().args, c_modules.add().sizes)
    with pytest.raises(BuildError, match=r"failed on broken:\n  broken.c:1:9: error: expected expression") as caught:
        build_module(module)
    kept = Path(caught.value.message.rsplit("kept in ", 1)[1])
    assert kept.read_text() == module.source and kept.parent.name == "failed"
    assert cache.entries() == [] and not list(Path(cache_folder).rglob("tmp-*"))
    for n in range(25):
        cache.keep_failed(f"f{n}", "0" * 12, "text")
    assert len(list(kept.parent.iterdir())) <= 20
    missing = c_modules.CModule("absent", "int x;\n", c_modules.add().args, c_modules.add().sizes)
    undefined = dataclasses.replace(module, source="int f(void);\nint broken_call(void) { return f(); }\n")
    with pytest.raises(BuildError, match=r"failed on broken:\n(.*\n)*.*undefined reference to"):
        build_module(undefined)
    with pytest.raises(BuildError, match=r"cannot be loaded: .*has no function absent_call"):
        build_module(missing)
