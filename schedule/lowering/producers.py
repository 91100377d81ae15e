"""Stages that are computed at a loop of a reader: just the part that is read there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tedsl.schedule.loops.ir import Allocate, Buffer, Stmt
from tedsl.schedule.state import StageState, State, reads

from .context import Lowering, Scope
from .regions import Frame, Regions, within


def computed(
    lowering: Lowering,
    producers: Sequence[StageState],
    readers: Iterable[str],
    frames: Sequence[Frame],
    inside: frozenset[str],
    scope: Scope,
) -> tuple[list[Buffer], list[Stmt]]:
    """The buffers of those `producers` that the stages `readers` read, and their nests in the order in which they can
    run. `frames`: the equations whose loops are open here; `inside`: the stages that are computed in these loops. A
    producer that no equation reads here has neither.
    """
    state, regions = lowering.state, Regions(lowering.state, frames, inside, scope.known)
    buffers: list[Buffer] = []
    nests: list[Stmt] = []
    for unit in in_turn(state, readers, producers):
        boxes = {s.name: box for s in unit if (box := regions.of(s)) is not None}
        unit = tuple(s for s in unit if s.name in boxes)
        if not unit:
            continue
        for stage in unit:
            buffers += [lowering.allocate(stage, t, boxes[stage.name], scope.known) for t in stage.tensors]
        nests.append(lowering.loops(lowering, unit, boxes, scope))
    return buffers, nests


def allocated(lowering: Lowering, buffers: Sequence[Buffer], body: Stmt) -> Stmt:
    """`body` inside of the allocations of `buffers`, which nothing else can use."""
    for buffer in reversed(buffers):
        body = Allocate(buffer, body)
        lowering.release(buffer)
    return body


def in_turn(state: State, readers: Iterable[str], producers: Sequence[StageState]) -> list[tuple[StageState, ...]]:
    """Those of `producers` that the stages `readers` read, directly or through one another, each after those that it
    reads itself. Stages that step together are one.
    """
    found: list[tuple[StageState, ...]] = []
    seen: set[str] = set()

    def visit(stages: Iterable[StageState]) -> None:
        wanted = {t for s in stages for t in reads(s)}
        for producer in producers:
            if producer.name not in seen and not wanted.isdisjoint(producer.tensors):
                unit = state.stepping(producer.name)
                names = {s.name for s in unit}
                seen.update(names)
                places = {(s.name, leaf) for s in unit for leaf in s.leaves}
                visit([*unit, *map(state.stage, within(state, places))])
                found.append(unit)

    visit(list(map(state.stage, readers)))
    return found
