"""Show the kernels that are kept compiled, or remove them.

  tedsl cache          what is there, the most recently used first
  tedsl cache clear    remove all of it
  tedsl cache path     the folder alone, for use in scripts

The folder is $TEDSL_CACHE_DIR, else tedsl in the user's cache folder; $TEDSL_CACHE_SIZE (such as 200M) bounds its size.
"""

from __future__ import annotations

import argparse

from tedsl.terminal import InputError, say, size, table


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="list", choices=["list", "clear", "path"], help="default: list")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="list at most N kernels (default: 20)")


def run(options: argparse.Namespace) -> int:
    from tedsl.backends import cache

    folder = cache.folder()
    if options.action == "path":
        print(folder)
        return 0
    if options.action == "clear":
        count, freed = cache.clear()
        left = cache.usage()[0]
        if left:
            raise InputError(
                f"{left} of {count + left} kernels in {folder} could not be removed; is the folder writable?"
            )
        say(f"Removed {count} kernel{'s' * (count != 1)} ({size(freed)}) from {folder}.")
        return 0

    if options.limit < 1:
        raise InputError(f"--limit must be at least 1, not {options.limit}")
    entries = cache.entries()
    total = sum(entry.size for entry in entries)
    say(
        f"{folder}: {len(entries)} kernel{'s' * (len(entries) != 1)}, {size(total)} of at most {size(cache.limit())}",
        "bold",
    )
    if entries:
        shown = entries[: options.limit]
        table(
            [(entry.name, size(entry.size), _when(entry.used), entry.source) for entry in shown],
            ("kernel", "size", "last used", "source"),
            right=(1,),
        )
        if len(entries) > len(shown):
            say(f"... and {len(entries) - len(shown)} more; --limit shows them.")
    return 0


def _when(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
