"""What a recurrence's loops must keep: for each read of the tensor that is being computed, how far back it reaches
along each axis.

A read is a vector of signs, one for each data axis: "=" the same value of the axis, "<" an earlier one, "*" any. A loop
carries a dependence when its sign is "<": everything further in then runs after the step that it needs. Steps run in
lexicographic order of the left side, so the first sign that is not "=" is "<" in the loops as they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tedsl.lang.definition import reads_of
from tedsl.lang.expr import Access, Axis
from tedsl.lang.functions import apply
from tedsl.lang.integers import Known, prove
from tedsl.lang.tensor import Part, Tensor
from tedsl.schedule.loop_tree import Split, maker, user
from tedsl.schedule.state import StageState


@dataclass(frozen=True, slots=True)
class Dependence:
    """`read` reaches back by `signs` (dimension by dimension)."""

    read: Access
    signs: tuple[str, ...]


@lru_cache(maxsize=4096)
def dependences(parts: tuple[Part, ...], tensors: tuple[Tensor, ...]) -> tuple[Dependence, ...]:
    """The reads of `tensors` in `parts`."""
    found = []
    for part in parts:
        for read in reads_of(part.expressions):
            if read.access.tensor in tensors:
                known = Known({}, read.guards)
                signs = []
                for own, index in zip(part.lhs, read.access.indices, strict=False):
                    if prove(apply("equal", index, own), known):
                        signs.append("=")
                    else:
                        signs.append("<" if prove(apply("less", index, own), known) else "*")
                found.append(Dependence(read.access, tuple(signs)))
    return tuple(dict.fromkeys(found))


def carriers(stage: StageState, dependence: Dependence) -> Iterator[tuple[str, str]]:
    """The loops of a stage from the outermost one on, each with the sign of the dependence there given that no loop
    outside carries it, up to the one that does. The sign "<=" is "= or <". A loop that is reduced over has the sign
    "*": a read wants the finished sum.
    """
    roots = {e.name: sign for e, sign in zip(stage.general.lhs, dependence.signs, strict=False) if isinstance(e, Axis)}
    passed: set[str] = set()

    def still(name: str) -> bool:
        """Whether the distance along a loop is 0 when no loop passed carries the dependence."""
        if name in passed:
            return True
        used = user(stage.relations, name)
        return used is not None and all(map(still, used.made))

    def sign(name: str) -> str:
        if name in roots:
            return roots[name]
        made = maker(stage.relations, name)
        if isinstance(made, Split):
            parent = sign(made.parent)
            if parent in ("=", "*"):
                return parent
            if name == made.outer:
                return "<="
            return parent if still(made.outer) else "*"
        if made is None:
            return "*"
        halves = maker(stage.relations, made.outer)
        if halves is not None and halves.made == made.given:
            return sign(halves.given[0])
        outer, inner = map(sign, made.given)
        if outer == "=":
            return inner
        if outer == "<=":
            return "<=" if inner in ("=", "<=") else "<" if inner == "<" else "*"
        return outer

    for leaf in stage.leaves:
        found = "*" if stage.is_reduction_loop(leaf) else sign(leaf)
        yield leaf, found
        if found == "<":
            return
        passed.add(leaf)
