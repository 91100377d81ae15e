"""Which loops run in parallel: those whose steps make equal shares for the threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..handles import StageHandle
from .facts import View

THREADS = (2, 4, 8)  # numbers of threads that shares are made for; a schedule serves all of them
EVEN = 0.85  # of its time that a thread works, if shares are to count as equal


@dataclass(frozen=True, eq=False)
class Shareable:
    """A loop that may run in parallel. `whole`: none of its steps is shorter than the others, so that it may be fused
    with its neighbours (a short last step could not be cut off a fused loop).
    """

    loop: object
    steps: int
    whole: bool = True


def evenness(steps: int) -> float:
    """How much of its time a thread works, on average over a few numbers of threads, when they share so many steps.

    >>> evenness(64), evenness(1) < evenness(2) < evenness(8)
    (1.0, True)
    """
    return sum(steps / (-(-max(steps, 1) // n) * n) for n in THREADS) / len(THREADS)


def share(handle: StageHandle, loops: Sequence[Shareable], *, fusing: bool = True) -> object | None:
    """Run in parallel one of the loops of a stage, the first from the outside that makes equal shares; if none does
    alone, outer ones fused; if these do not either, what comes nearest. It becomes the outermost loop. `loops`: outer
    ones first. Returns the parallel loop; None where all loops have a single step.
    """
    long = [x for x in loops if x.steps > 1]
    ways = [[x] for x in long]
    if fusing:
        ways += [long[:n] for n in range(2, len(long) + 1) if all(x.whole for x in long[:n])]
    if not ways:
        return None
    shares = [evenness(prod(x.steps for x in way)) for way in ways]
    best = next((n for n, found in enumerate(shares) if found >= EVEN), shares.index(max(shares)))
    chosen = ways[best]
    if list(loops[: len(chosen)]) != chosen and chosen != long[:1]:
        handle.reorder(*[x.loop for x in chosen], *[x.loop for x in loops if x not in chosen])
    parallel = handle.fuse(*[x.loop for x in chosen]) if len(chosen) > 1 else chosen[0].loop
    handle.parallel(parallel)
    return parallel


def last_inside(handle: StageHandle, view: View) -> None:
    """Make the last axis of more than one step the innermost loop: those of a single step go outside."""
    single = view.axes[len(view.before) + 1 :]
    if single:
        handle.reorder(*[a.name for a in single], *[a.name for a in view.before], view.last.name)


def even_blocks(tiles: int, most: int, fewest: int, *, alone: bool) -> int:
    """How many tiles make a block, between `fewest` and `most`, so that blocks make equal shares with the least to
    spare; of those alike the longest. `alone`: threads share the blocks themselves; else parts of them, and only a
    shorter last block spoils it.

    >>> even_blocks(128, 12, 4, alone=False)
    8
    """

    def spare(length: int) -> int:
        blocks = -(-tiles // length)
        return sum(-(-blocks // n) * n * length for n in THREADS) if alone else blocks * length

    return min(range(max(min(fewest, most), 1), most + 1), key=lambda length: (spare(length), -length))
