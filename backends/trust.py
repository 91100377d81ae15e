"""Whether files on disk are the user's alone: what is loaded as code must not be what somebody else may have written.

Looked at every time, since modes change: the owner and the write bits of each file, of its folder, of every folder above
it up to the user's home (else the root), and of links on the way.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

KNOWN = hasattr(os, "geteuid")  # elsewhere than on Unix owners and modes say nothing
OPEN = "others can write to it"


def problem(place: Path, owner: int | None = None) -> str | None:
    """Why others than `owner` (you) and the administrator may have written what is at `place` or put it there; or None.
    Of what is not there, the folders above are looked at.
    """
    if not KNOWN:
        return None
    try:
        try:
            wrong = wrong_with(place.stat(), os.geteuid() if owner is None else owner)
        except (FileNotFoundError, NotADirectoryError):
            wrong = None
        end = os.path.realpath(place)
        for path, state in way(place) if wrong is None else ():
            found = wrong_with(state, os.geteuid() if owner is None else owner, above=True)
            if str(path) != end and found is not None:
                return f"{path}: {found}"
    except OSError as e:
        return e.strerror or str(e)
    return wrong


def way(place: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What lies on the way to a place, from it upwards to the user's home or the root; and to where links on it lead."""
    home, ways = os.path.expanduser("~"), [place]
    for start in ways:  # which grows
        for path in (start, *start.parents):
            try:
                state = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            yield path, state
            if stat.S_ISLNK(state.st_mode) and len(ways) < 40:
                ways.append(Path(os.path.normpath(path.parent / os.readlink(path))))
            if str(path) == home:
                break


def wrong_with(state: os.stat_result, owner: int, above: bool = False) -> str | None:
    """What is wrong with the owner or the write bits of a file or folder; `above` it the administrator may own one, and
    a folder in which everybody may replace only what is theirs (/tmp) will do.
    """
    allowed = (owner, 0, os.geteuid()) if above else (owner,)
    if state.st_uid not in allowed:
        return f"it belongs to another user (id {state.st_uid})"
    if stat.S_ISLNK(state.st_mode) or (above and state.st_mode & stat.S_ISVTX):
        return None
    others = state.st_mode & 0o002 or (state.st_mode & 0o020 and not is_own_group(state.st_gid))
    return OPEN if others else None


@lru_cache(maxsize=64)
def is_own_group(group: int) -> bool:
    """Whether a group is the user's own, as many systems give to each user: named like them, with nobody else in it."""
    import grp
    import pwd

    try:
        found, name = grp.getgrgid(group), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}


def read(path: Path, owner: int | None = None) -> bytes | None:
    """The bytes of a file that only `owner` (you) may have written; None when there is none, or it is a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        try:
            state = os.fstat(descriptor)
            mine = os.geteuid() if KNOWN and owner is None else owner
            if mine is not None and KNOWN and wrong_with(state, mine) is not None:
                return None
            return file.read() if stat.S_ISREG(state.st_mode) else None
        except OSError:
            return None
