"""What a schedule keeps of stages that take turns: their steps stay whole and in order, and nothing is read before it
is computed.

As in `legality`: one function for each theorem, which raises ScheduleError when a state would break it.
"""

from __future__ import annotations

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Axis
from tedsl.schedule.state import StageState, State, cut_axes, reads, step_depth

from .dependence import Dependence, carriers, dependences


def kind_text(kind: str) -> str:
    """How the steps of a loop run, as a message says it."""
    return {"vectorized": "as vector lanes", "parallel": "in parallel"}.get(kind, f"on {kind}")


def stepped(state: State, stage: StageState) -> tuple[str, ...]:
    """The leading axes of a stage that are stepped through together with other stages, or cut at the whole numbers of
    its equations.
    """
    group = state.group(stage.name)
    if not group or len(group[0]) == 1 or inside_of_its_group(state, stage):
        cut = cut_axes(stage)
        if cut is not None:
            return tuple(cut)
        group = None
    members = [state.stage(n) for n in group[0]] if group else [stage]
    depth = step_depth(members, group[1] if group else 0)
    return tuple(e.name for e in stage.general.lhs[:depth] if isinstance(e, Axis))


def inside_of_its_group(state: State, stage: StageState) -> bool:
    """Whether a stage is computed at a loop of one that it steps together with (and no longer steps itself)."""
    group = state.group(stage.name)
    return group is not None and stage.attach.kind == "at" and stage.attach.stage in group[0]


def step_loop(state: State, stage: StageState, axis: str) -> int | None:
    """The dimension of the steps of which `axis` is the loop, when `stage` takes them together with other stages; else
    None.
    """
    group = state.group(stage.name)
    if not group or len(group[0]) == 1 or inside_of_its_group(state, stage) or axis not in stepped(state, stage):
        return None
    return next(d for d, e in enumerate(stage.general.lhs) if isinstance(e, Axis) and e.name == axis)


def marked_in_step(state: State, name: str) -> State:
    """The loops along which stages step together are one for all of them, so how it runs is said of all."""
    members = state.stepping(name)
    if len(members) == 1:
        return state
    loops = [stepped(state, s) for s in members]
    for same in zip(*loops, strict=True):
        kinds = [kind for s, leaf in zip(members, same, strict=True) if (kind := s.kind(leaf)) != "serial"]
        if kinds:
            members = tuple(s.marked(leaf, kind=kinds[0]) for s, leaf in zip(members, same, strict=True))
    return state.updated(*members)


def steps_of_a_recurrence_stay_whole(state: State, stage: StageState, what: str) -> None:
    """Where equations take turns along an axis (S[0, j] = …; S[t, j] = …), its loop is whole, because it is cut at the
    integers that they name, and stands outside of reductions, which belong to one equation. Where stages run step by
    step together, their common loops are the outermost ones, as written: the steps are those of all the stages.
    """
    axes = stepped(state, stage)
    group = state.group(stage.name)
    others = ", ".join(n for n in stage.leaves if not stage.origin(n) & set(axes)) or "there are none"
    these = "this loop stays" if len(axes) == 1 else "these loops stay"
    if group and len(group[0]) > 1 and not inside_of_its_group(state, stage):
        if stage.leaves[: len(axes)] != axes:
            raise ScheduleError(
                f"{what}: {', '.join(group[0])} take turns along {', '.join(axes)}, so {these} whole and outermost. "
                f"Split or reorder the other loops ({others})")  # fmt: skip
        return
    if any(a not in stage.leaves for a in axes):
        raise ScheduleError(
            f"{what}: the equations of {stage.name} take turns along {', '.join(axes)}, so {these} whole. Split "
            f"or fuse the other loops ({others})")  # fmt: skip
    reduced = [n for n, leaf in enumerate(stage.leaves) if stage.is_reduction_loop(leaf)]
    inner = [a for a in axes if reduced and stage.leaves.index(a) > reduced[0]]
    if inner:
        raise ScheduleError(
            f"{what}: the equations of {stage.name} take turns along {inner[0]}, and {stage.leaves[reduced[0]]} is "
            "reduced over in one of them only, so it stays inside "
            f"of {inner[0]}. Reorder the other loops")  # fmt: skip


def recurrences_run_forward(state: State, stage: StageState, what: str) -> None:
    """Every read of an earlier step is carried by a loop, before any loop along which it could reach forward; and a
    loop runs in parallel or as lanes only if each read is along it at the same value, or carried further out.
    """
    for dependence in dependences(stage.parts, stage.tensors):
        for leaf, sign in carriers(stage, dependence):
            kind = stage.kind(leaf)
            if kind not in ("serial", "unrolled") and sign != "=":
                raise _waits(state, stage, leaf, dependence, what)
            if sign == "*":
                raise ScheduleError(
                    f"{what}: with the loops in the order {', '.join(stage.leaves)}, `{dependence.read!r}` would be "
                    f"read before it is computed. Keep the loops along which {stage.name} steps outside of {leaf}"
                )


def _waits(state: State, stage: StageState, leaf: str, dependence: Dependence, what: str) -> ScheduleError:
    return ScheduleError(
        f"{what}: the steps of {leaf} of {stage.name} cannot run {kind_text(stage.kind(leaf))}, because "
        f"`{dependence.read!r}` reads what an earlier one computes. {_free_loops(state, stage)}"
    )


def stages_step_forward(state: State, what: str) -> None:
    """Where stages run step by step together, no read of an earlier step is along a loop that runs in parallel or as
    lanes.
    """
    for names, _ in state.groups:
        if len(names) == 1:
            continue
        members = [state.stage(n) for n in names]
        marked = [(m, steps) for m, steps in ((m, stepped(state, m)) for m in members) if _at_once(m, steps)]
        tensors = tuple(t for m in members for t in m.tensors)
        for stage, steps in marked:
            for dependence in (d for m in members for d in dependences(m.parts, tensors)):
                for leaf, sign in zip(steps, dependence.signs, strict=False):
                    kind = stage.kind(leaf)
                    if kind not in ("serial", "unrolled") and sign != "=":
                        raise _waits(state, stage, leaf, dependence, what)
                    if sign == "<":
                        break


def _at_once(stage: StageState, axes: tuple[str, ...]) -> bool:
    """Whether the steps of one of the loops run in parallel or as lanes."""
    return any(stage.kind(a) not in ("serial", "unrolled") for a in axes)


def _free_loops(state: State, stage: StageState) -> str:
    """The loops of a recurrence that may run in parallel, as advice."""
    found = []
    for leaf in stage.leaves:
        signs = [[s for n, s in carriers(stage, d) if n == leaf] for d in dependences(stage.parts, stage.tensors)]
        if (
            not stage.is_reduction_loop(leaf)
            and leaf not in stepped(state, stage)
            and all(s in ([], ["="]) for s in signs)
        ):
            found.append(leaf)
    return f"The loops that can are {', '.join(found)}" if found else "It has no loop that can"


def steps_are_taken_before_they_are_read(state: State, what: str) -> None:
    """A stage of a recurrence that is computed inside of another one's loops reads only what earlier steps, or stages
    before that one in the same step, have computed: so it stands inside of all the loops along which the group steps;
    and no two such stages need each other.
    """
    for stage in state.stages if state.groups else ():
        if not inside_of_its_group(state, stage):
            continue
        group = state.group(stage.name)
        assert group is not None
        parent, axis = state.stage(stage.attach.stage), stage.attach.axis
        steps = stepped(state, parent)
        if not inside_of_its_group(state, parent) and axis in steps[:-1]:
            raise ScheduleError(
                f"{what}: {', '.join(group[0])} take turns along {', '.join(steps)}, and {stage.name} reads at each "
                "step what the step before has computed, so it cannot be computed "
                f"for several steps at once at {axis} of {parent.name}. Compute it at {steps[-1]} or at a loop further "
                "in")  # fmt: skip
        wanted, seen = [stage], {stage.name}
        while wanted:
            now = wanted.pop()
            for other in state.stages:
                if (
                    other.name in group[0]
                    and inside_of_its_group(state, other)
                    and not set(reads(now)).isdisjoint(other.tensors)
                ):
                    if other.name == stage.name:
                        raise ScheduleError(
                            f"{what}: {stage.name} reads its own earlier "
                            f"steps{'' if now is stage else f' through {now.name}'}, which are gone when it is "
                            f"computed inside of {axis} of {parent.name}. "
                            f"Leave it beside the other stages of the group (compute_root)")  # fmt: skip
                    if other.name not in seen:
                        seen.add(other.name)
                        wanted.append(other)
        if not inside_of_its_group(state, parent) and axis in steps:
            _comes_before_its_readers(
                state, stage, f"{what}: {stage.name} is computed at {axis} of {parent.name}", len(steps)
            )


def _comes_before_its_readers(state: State, stage: StageState, what: str, depth: int) -> None:
    """At the loop along which stages step together, a stage is computed before the first that reads it. When one of
    them reads the same step of it, all that it reads of that step is there by then.
    """

    def same_step(reader: StageState, read: StageState) -> bool:
        found = (d.signs[:depth] for d in dependences(reader.parts, read.tensors))
        return any(next((sign for sign in signs if sign != "="), "=") != "<" for signs in found)

    group = state.group(stage.name)
    assert group is not None
    everyone = [state.stage(n) for n in group[0]]
    members = [s for s in everyone if s.attach.kind != "inline"]
    if not any(same_step(s, stage) for s in members):
        return
    taken = [s for s in members if not inside_of_its_group(state, s)]
    between = [s for s in everyone if s not in taken]  # inlined, or computed inside of the group's loops as well
    through = set(stage.tensors)
    for _ in between:
        through |= {t for s in between if not through.isdisjoint(reads(s)) for t in s.tensors}
    first = next((n for n, s in enumerate(taken) if not through.isdisjoint(reads(s))), len(taken))
    for late in taken[first:]:
        if same_step(stage, late):
            raise ScheduleError(
                f"{what}, which is before {taken[first].name} in each step, and reads what {late.name} computes in "
                f"the same step. Leave {stage.name} beside the other stages of the group (compute_root), "
                f"or cache it for fewer readers")  # fmt: skip
