"""The kernel cache: compiled kernels on disk, shared by all processes of a user.

An entry is a folder named by the hash of what it was built from, with the C source, the library and ``entry.json``
(checksum, flags, compiler). It is made under another name and renamed when complete, so a reader sees all of it or
nothing, and every load compares the checksum. The library is code: the folder and its entries are the owner's alone,
which every load looks at (`trust`); a folder that others could write to loses its entries, or is not used. Of
$TEDSL_SHARED_CACHE, another user's cache, kernels are taken and nothing is written there.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedsl.backends import trust
from tedsl.lang.errors import BuildError, CacheWarning, warn

FORMAT = 2  # 1: gcc 12 had compiled selects wrongly
STALE_SECONDS = 3600  # what an interrupted build left behind is removed when it is older than this
DEFAULT_LIMIT = 512 * 2**20
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.EEXIST)
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Entry:
    """A compiled kernel in the cache. `used` is the time of its last use, in seconds since 1970."""

    name: str
    folder: Path
    size: int
    used: float
    details: dict[str, Any]

    @property
    def source(self) -> Path:
        return self.folder / f"{self.name}.c"

    @property
    def library(self) -> Path:
        return self.folder / f"{self.name}.so"


def folder() -> Path:
    """The cache's folder (it need not exist): $TEDSL_CACHE_DIR, else tedsl in the user's cache folder."""
    given = os.environ.get("TEDSL_CACHE_DIR")
    if given:
        try:
            return Path(given).expanduser().absolute()
        except RuntimeError as e:  # ~somebody
            raise BuildError(f"TEDSL_CACHE_DIR={given!r} is no folder: {e}") from None
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tedsl"
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    if not base or not os.path.isabs(base):
        try:
            base = str(Path.home() / ".cache")
        except RuntimeError:  # a user without a home
            return _temporary()
    return Path(base) / "tedsl"


def limit() -> int:
    """The cache's bound in bytes: $TEDSL_CACHE_SIZE (with K, M or G), else 512 MB."""
    text = os.environ.get("TEDSL_CACHE_SIZE", "").strip().upper().removesuffix("B")
    scale = {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
    digits = text[:-1].strip() if scale > 1 else text
    if not text:
        return DEFAULT_LIMIT
    try:
        return int(float(digits) * scale)
    except (ValueError, OverflowError):
        _warn(f"TEDSL_CACHE_SIZE={text!r} is no size (like 200M); using {DEFAULT_LIMIT >> 20}M")
        return DEFAULT_LIMIT


def _warn(text: str) -> None:
    warn(f"[W002] {text}", CacheWarning)


@functools.cache
def _temporary() -> Path:
    """A folder for this process alone, for when the cache cannot be written."""
    import atexit
    import shutil
    import tempfile

    try:
        made = Path(tempfile.mkdtemp(prefix="tedsl-"))
    except OSError as e:
        text = f"there is no folder for kernels: {e.strerror or e}; set TEDSL_CACHE_DIR or TMPDIR to one that you can write"
        raise BuildError(text) from None
    owner = os.getpid()
    # a forked child ends too, and must not take the folder with it
    atexit.register(lambda: shutil.rmtree(made, ignore_errors=True) if os.getpid() == owner else None)
    return made


def _kernels(root: Path) -> Path:
    return root / f"kernels-{FORMAT}"


def _problem(root: Path) -> str | None:
    """Why the folder must not be used, or None. Whoever can write to it can put code there."""
    for place in (root, _kernels(root)):
        if trust.problem(place) == trust.OPEN:
            _close(place, root)
        found = trust.problem(place)
        if found is not None:
            return found
    return None


def _close(place: Path, root: Path) -> None:
    """Make a folder the owner's alone, if it holds only what is ours, and so harms nobody; and discard what others may
    have written meanwhile.
    """
    try:
        ours = ("kernels-", "failed", "notes")
        if place == root and not all(name.startswith(ours) for name in os.listdir(root)):
            return
        place.chmod(0o700)
        for item in os.scandir(place):
            _discard(Path(item.path))
    except OSError:
        pass  # it is as open as before


def _make_private(path: Path) -> None:
    """Create the folder (and those above it) for the owner alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def writable() -> Path:
    """The folder for new entries, created: the cache, or (with a warning) a temporary one where it cannot be used."""
    root = folder()
    problem = _problem(root)
    if problem is None:
        try:
            if not root.exists():
                root.parent.mkdir(parents=True, exist_ok=True)
                _make_private(root)
            _make_private(_kernels(root))
            if not os.access(_kernels(root), os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "read-only")
            return root
        except OSError as e:
            if e.errno in FULL:
                raise full(root, e) from e
            if e.errno not in UNWRITABLE:
                raise BuildError(
                    f"the kernel cache {root} cannot be used: {e.strerror}; set TEDSL_CACHE_DIR to another folder"
                ) from e
            problem = f"it cannot be written ({e.strerror})"
    if _temporary.cache_info().currsize and not _temporary().is_dir():
        _temporary.cache_clear()
    root_temporary = _temporary()
    if root != root_temporary:
        _warn(
            f"the kernel cache {root} is not used: {problem}; kernels last as long as the process (set TEDSL_CACHE_DIR)"
        )
    _make_private(_kernels(root_temporary))
    return root_temporary


def full(where: Path, error: OSError | None = None) -> BuildError:
    reason = error.strerror if error is not None else "No space left on device"
    return BuildError(
        f"no room on the disk for a kernel in {where} ({reason}); free some, or set TEDSL_CACHE_DIR to another folder"
    )


def key(*parts: str) -> str:
    """The name of the entry that is built from these texts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()[:48]


def _details(path: Path, owner: int | None = None) -> dict[str, Any] | None:
    import json

    data = trust.read(path / "entry.json", owner)
    if data is None:
        return None
    try:
        details = json.loads(data)
    except (ValueError, RecursionError):
        return None
    good = isinstance(details, dict) and isinstance(details.get("name"), str) and isinstance(details.get("sha256"), str)
    return details if good and details["name"].isidentifier() else None


def _readable() -> Iterator[tuple[Path, int | None]]:
    """The caches that kernels are taken from, and whose they are (None: yours)."""
    if _problem(folder()) is None:
        yield folder(), None
    if _temporary.cache_info().currsize:
        yield _temporary(), None
    shared = os.environ.get("TEDSL_SHARED_CACHE")
    if shared:
        root = Path(os.path.expanduser(shared)).absolute()
        try:
            owner = root.stat().st_uid
        except OSError as e:
            _warn(f"TEDSL_SHARED_CACHE={shared!r} is not used: {e.strerror}")
            return
        found = trust.problem(root, owner) or trust.problem(_kernels(root), owner)
        if found is not None:
            _warn(f"TEDSL_SHARED_CACHE={shared!r} is not used: {found}")
            return
        yield root, owner


def lookup(entry_key: str, source: str) -> tuple[Entry, bytes] | None:
    """The entry and its library's bytes, if it is there and whole, and nobody else may have written it."""
    for root, owner in _readable():
        path = _kernels(root) / entry_key
        if trust.problem(path, owner) is not None or path.is_symlink():
            continue
        details = _details(path, owner)
        if details is None:
            continue
        library = trust.read(path / f"{details['name']}.so", owner)
        if library is None or hashlib.sha256(library).hexdigest() != details["sha256"]:
            continue
        if trust.read(path / f"{details['name']}.c", owner) != source.encode("utf-8", "surrogatepass"):
            continue
        try:
            os.utime(path)  # the least recently used go first
        except OSError:
            pass
        return Entry(details["name"], path, len(library), time.time(), details), library
    return None


def _discard(path: Path) -> int:
    """Remove an entry and return its bytes: out of the way first, in one step, so that nobody reads half of it."""
    import shutil

    size = _size(path)
    away = path.with_name(f"tmp-{os.getpid()}-{os.urandom(6).hex()}")
    try:
        os.rename(path, away)
    except OSError:
        return 0  # another process was faster, or the folder is read-only
    if away.is_dir():
        shutil.rmtree(away, ignore_errors=True)
    else:
        away.unlink(missing_ok=True)
    return size


def _size(path: Path) -> int:
    total = 0
    try:
        for item in os.scandir(path):
            total += item.stat(follow_symlinks=False).st_size
    except OSError:
        pass
    return total


def store(entry_key: str, name: str, source: str, build: Callable[[Path, Path], dict[str, Any]]) -> tuple[Entry, bytes]:
    """Make an entry: `build(source, library)` compiles one file to the other and returns what to note about it."""
    import shutil

    root = writable()
    for last in (False, False, True):
        temporary = _kernels(root) / f"tmp-{os.getpid()}-{os.urandom(6).hex()}"
        try:
            library, details = _make(temporary, name, source, build)
            entry = Entry(name, _kernels(root) / entry_key, len(library), time.time(), details)
            entry, library = _publish(temporary, entry, source, library)
            break
        except OSError as e:
            if e.errno in FULL:
                raise full(root, e) from e
            if last or temporary.exists():
                text = f"the kernel cache {root} cannot be written: {e}; set TEDSL_CACHE_DIR to another folder"
                raise BuildError(text) from e
        except BuildError:
            if last or temporary.exists():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        root = writable()  # somebody removed the whole cache in the meantime: again
    _trim(root, keep=entry.folder)
    return entry, library


def _make(
    folder: Path, name: str, source: str, build: Callable[[Path, Path], dict[str, Any]]
) -> tuple[bytes, dict[str, Any]]:
    """Compile in a folder of its own; the library and what is noted about it."""
    import json

    folder.mkdir(mode=0o700)
    source_file, library_file, details_file = folder / f"{name}.c", folder / f"{name}.so", folder / "entry.json"
    source_file.write_bytes(source.encode("utf-8", "surrogatepass"))
    noted = build(source_file, library_file)
    library = library_file.read_bytes()
    details = {"name": name, "sha256": hashlib.sha256(library).hexdigest(), "created": time.time(), **noted}
    details_file.write_text(json.dumps(details, indent=1))
    for file in (source_file, library_file, details_file):
        file.chmod(0o600)
    return library, details


def _publish(temporary: Path, entry: Entry, source: str, library: bytes) -> tuple[Entry, bytes]:
    """Give a complete folder its name, or find that another process built the same and take that."""
    for last in (False,) * 9 + (True,):
        try:
            os.rename(temporary, entry.folder)
            break
        except OSError:
            if last or not temporary.exists():
                raise
        # something is there: another process built the same, or it is damaged
        other = lookup(entry.folder.name, source)
        if other is not None:
            return other
        _discard(entry.folder)
    return entry, library


def _trim(root: Path, keep: Path) -> None:
    """Remove what interrupted builds left, and the least recently used entries beyond the bound."""
    import shutil

    found = []
    now = time.time()
    try:
        items = list(os.scandir(_kernels(root)))
    except OSError:
        return
    for item in items:
        try:
            used = item.stat(follow_symlinks=False).st_mtime
        except OSError:
            continue
        if item.name.startswith("tmp-"):
            if now - used > STALE_SECONDS:
                shutil.rmtree(item.path, ignore_errors=True)
        elif item.path != str(keep):
            found.append((used, _size(Path(item.path)), Path(item.path)))
    total = sum(size for _, size, _ in found) + _size(keep)
    bound = limit()
    for _, size, path in sorted(found):
        if total <= bound:
            break
        _discard(path)
        total -= size


def keep_failed(name: str, entry_key: str, source: str) -> Path | None:
    """Keep a source that the compiler refused, to be looked at; the last twenty are kept."""
    try:
        place = writable() / "failed"
        _make_private(place)
        path = place / f"{name}-{entry_key[:12]}.c"
        path.write_bytes(source.encode("utf-8", "surrogatepass"))
        path.chmod(0o600)
        for old in sorted(place.iterdir(), key=lambda p: p.stat().st_mtime)[:-20]:
            old.unlink(missing_ok=True)
    except (OSError, BuildError):
        return None
    return path


def recall(name: str) -> Any:
    """A small fact noted by an earlier process, or None."""
    import json

    if _problem(folder()) is not None:
        return None
    data = trust.read(folder() / "notes" / f"{name}.json")
    try:
        return None if data is None else json.loads(data)
    except (ValueError, RecursionError):
        return None


def remember(name: str, fact: Any) -> None:
    """Note a small fact for later processes; without effect where the cache cannot be written."""
    import json

    try:
        place = writable() / "notes"
        _make_private(place)
        temporary = place / f"tmp-{os.getpid()}-{os.urandom(6).hex()}"
        try:
            temporary.write_text(json.dumps(fact))
            temporary.chmod(0o600)
            os.replace(temporary, place / f"{name}.json")
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, BuildError):
        pass


def _is_at_work(name: str) -> bool:
    """Whether the process that a temporary folder is named after still runs."""
    try:
        os.kill(int(name.split("-")[1]), 0)
    except (OSError, ValueError, IndexError, OverflowError):
        return False
    return True


def entries() -> list[Entry]:
    """All entries, the most recently used first."""
    found = []
    try:
        items = list(os.scandir(_kernels(folder())))
    except OSError:
        return []
    for item in items:
        path = Path(item.path)
        details = None if item.name.startswith("tmp-") else _details(path)
        if details is None:
            continue
        try:
            found.append(Entry(details["name"], path, _size(path), path.stat().st_mtime, details))
        except OSError:
            continue
    return sorted(found, key=lambda e: -e.used)


def usage() -> tuple[int, int]:
    """The number of entries and the bytes that they take."""
    found = entries()
    return len(found), sum(e.size for e in found)


def clear() -> tuple[int, int]:
    """Remove every entry, note and leftover; how many entries and bytes. Kernels that are loaded go on working."""
    import shutil

    root = folder()
    count, size = 0, 0
    try:
        items = list(os.scandir(_kernels(root)))
    except OSError:
        items = []
    for item in items:
        if item.name.startswith("tmp-"):
            if not _is_at_work(item.name):
                shutil.rmtree(item.path, ignore_errors=True)
        else:
            count += 1
            size += _discard(Path(item.path))
    for place in (root / "failed", root / "notes", *root.glob("kernels-*")):
        if place != _kernels(root):
            shutil.rmtree(place, ignore_errors=True)
    return count, size
