"""What a schedule may do: one function for each theorem, named after it.

Primitives call those about their own arguments. `check` is called after every step on the state that it would lead to, so that whatever order the
steps come in, no state that breaks a rule is ever reached. Each raises ScheduleError; the message says what is refused, why, and what to do.
"""

from __future__ import annotations

from typing import Any

from tedsl.lang.errors import ScheduleError, here
from tedsl.lang.expr import Access, Axis, Var, walk
from tedsl.lang.scatter import ScatterPart

from .dependence import carriers, dependences
from .ir import STREAM
from .state import Fuse, Split, StageState, State, cut_axes, reads, step_depth


def check(state: State, what: str) -> None:
    """Every rule that a state as a whole keeps. `what`: the step that led to it, for the message."""
    attachments_have_no_cycle(state, what)
    for stage in state.stages:
        reduced_loops_run_in_order(stage, what)
        steps_of_a_recurrence_stay_whole(state, stage, what)
        recurrences_run_forward(state, stage, what)
        nothing_stands_between_lanes(state, stage, what)
        one_loop_of_a_kind_in_another(state, stage, what)
        pragmas_stand_before_plain_loops(stage, what)
    producers_stand_where_they_are_read(state, what)
    from .tensorize import matched

    for stage in state.stages:
        if stage.tensorized:
            matched(state, stage, what)


# Loops -----------------------------------------------------------------------------------------------------------------------------------------


def is_loop(stage: StageState, axis: str, primitive: str) -> None:
    """A primitive acts on a loop that the stage has now."""
    if axis in stage.leaves:
        return
    loops = ", ".join(stage.leaves) or "none"
    now = _now(stage, axis)
    if now:
        raise ScheduleError(
            f"{primitive} of the axis {axis} of {stage.name}: it is no loop any more, but was made into {' and '.join(now)}. Use one of these; the loops are {loops}",
            here(),
        )
    raise ScheduleError(
        f"{primitive} of the axis {axis} of {stage.name}: there is no such loop. The loops of {stage.name} are {loops}",
        here(),
    )


def _now(stage: StageState, name: str) -> list[str]:
    """The loops that an axis was made into; nothing for a name that the stage never had."""
    for r in stage.relations:
        if isinstance(r, Split) and r.parent == name:
            return [n for half in (r.outer, r.inner) for n in ([half] if half in stage.leaves else _now(stage, half))]
        if isinstance(r, Fuse) and name in (r.outer, r.inner):
            return [r.fused] if r.fused in stage.leaves else _now(stage, r.fused)
    return []


def is_free_loop(state: State, stage: StageState, axis: str, primitive: str) -> None:
    """A loop that is cut or joined carries no mark and nothing is computed at it: the mark would lose its loop."""
    is_loop(stage, axis, primitive)
    marks = [stage.kind(axis)] if stage.kind(axis) != "serial" else []
    marks += [f"marked with the pragma {text!r}" for leaf, text in stage.pragmas if leaf == axis]
    marks += ["the place of a prefetch" for _, leaf, _ in stage.prefetches if leaf == axis]
    marks += ["tensorized" for leaf, _ in stage.tensorized if leaf == axis]
    if marks:
        raise ScheduleError(
            f"{primitive} of the axis {axis} of {stage.name}: it is {marks[0]}. Call {primitive} first, and mark the loops that come of it",
            here(),
        )
    for other in state.stages:
        if other.attach.kind == "at" and other.attach.stage == stage.name and other.attach.axis == axis:
            raise ScheduleError(
                f"{primitive} of the axis {axis} of {stage.name}: {other.name} is computed at it. Call {primitive} first, then {other.name}'s compute_at at a loop that comes of it",
                here(),
            )


def is_factor(value: Any, what: str, name: str) -> None:
    """A tile factor is a whole number of at least 1, or a size."""
    if isinstance(value, Var):
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise ScheduleError(f"{what}: {name} is {value!r}; it is a whole number, or a size (te.var)", here())
    if value < 1:
        raise ScheduleError(f"{what}: {name} is {value}; it is at least 1", here())


def are_neighbours(stage: StageState, axes: tuple[str, ...]) -> None:
    """Loops that become one follow each other directly, outermost first: only then does one counter run through the same points in the same order.
    A loop that is reduced over and one that is not cannot become one: its steps would both make a new element and add to an old one.
    """
    places = [stage.leaves.index(a) for a in axes]
    shown = ", ".join(axes)
    loops = ", ".join(stage.leaves)
    if len(set(axes)) != len(axes):
        raise ScheduleError(f"fuse of {shown} of {stage.name}: an axis is given twice", here())
    if places != list(range(places[0], places[0] + len(places))):
        if sorted(places) == list(range(min(places), min(places) + len(places))):
            order = ", ".join(stage.leaves[min(places) : max(places) + 1])
            raise ScheduleError(
                f"fuse of {shown} of {stage.name}: the loops stand in the order {loops}. Give them as fuse({order}), or reorder them first",
                here(),
            )
        raise ScheduleError(
            f"fuse of {shown} of {stage.name}: they are not neighbours; the loops stand in the order {loops}. Bring them together first: reorder(…, {shown}, …)",
            here(),
        )
    kinds = {stage.is_reduction_loop(a) for a in axes}
    if len(kinds) == 2:
        reduced = ", ".join(a for a in axes if stage.is_reduction_loop(a))
        raise ScheduleError(
            f"fuse of {shown} of {stage.name}: {reduced} is reduced over and the others are not. Fuse the loops of one sort only",
            here(),
        )


def reduced_loops_run_in_order(stage: StageState, what: str) -> None:
    """The steps of a reduction all add to one element, so they run one after the other: on threads or lanes they would race."""
    for leaf, kind in stage.kinds:
        if leaf not in stage.leaves or kind in ("serial", "unrolled"):
            continue
        how = {"vectorized": "vectorize", "parallel": "parallel"}.get(kind, "bind")
        if any(isinstance(p, ScatterPart) for p in stage.parts):
            raise ScheduleError(
                f"{what}: {leaf} cannot run {_kind(kind)}, because the steps of {stage.name} add to elements that depend on data, and two of them may meet. Mark a loop of what it reads instead",
                here(),
            )
        if stage.is_reduction_loop(leaf):
            raise ScheduleError(
                f"{what}: {leaf} is reduced over in {stage.name}, and its steps all add to one element, so they cannot run {_kind(kind)}. Mark a loop that is not reduced over "
                f"({', '.join(n for n in stage.leaves if not stage.is_reduction_loop(n)) or 'there is none'}), or make partial results with P = s.rfactor(T, {leaf!r}) and {how} that axis of P", here())  # fmt: skip


def _kind(kind: str) -> str:
    return {"vectorized": "as vector lanes", "parallel": "in parallel"}.get(kind, f"on {kind}")


def nothing_stands_between_lanes(state: State, stage: StageState, what: str) -> None:
    """The steps of a vectorised loop run at once, so no other stage is computed in one of them."""
    for parent, leaf in loops_around(state, stage):
        if parent.kind(leaf) == "vectorized":
            raise ScheduleError(
                f"{what}: {stage.name} is computed inside of {leaf} of {parent.name}, which would be vectorized, and nothing can be computed between its lanes. Compute {stage.name} further out first",
                here(),
            )


def one_loop_of_a_kind_in_another(state: State, stage: StageState, what: str) -> None:
    """There is one set of threads and one set of lanes: a parallel loop stands in no other, and in a vectorised loop stands neither."""
    marked = [
        (stage.name, leaf, stage.kind(leaf)) for leaf in stage.leaves if stage.kind(leaf) in ("parallel", "vectorized")
    ]
    if not marked:
        return
    around = [
        (s.name, leaf, s.kind(leaf))
        for s, leaf in loops_around(state, stage)
        if s.kind(leaf) in ("parallel", "vectorized")
    ]
    nest = [*around, *marked]
    for n, (inner, leaf, kind) in enumerate(nest):
        for outer, other, outer_kind in nest[:n]:
            if outer_kind == "vectorized":
                raise ScheduleError(
                    f"{what}: the loop {leaf} of {inner} would run {_kind(kind)} inside of {other} of {outer}, which is vectorized. Vectorize the innermost loop, and reorder it there first",
                    here(),
                )
            if outer_kind == kind == "parallel":
                raise ScheduleError(
                    f"{what}: the loop {leaf} of {inner} would be parallel inside of {other} of {outer}, which is parallel too. Fuse the two loops and make the result parallel, or leave the inner one serial",
                    here(),
                )


def pragmas_stand_before_plain_loops(stage: StageState, what: str) -> None:
    """A pragma is for the `for` statement behind it: a parallel loop has one of OpenMP's there, and vectors and unrolled steps have no such statement.
    Only "stream" is for vectors: it says how they are stored.
    """
    for leaf, text in stage.pragmas:
        if text == STREAM:
            if stage.kind(leaf) != "vectorized":
                raise ScheduleError(
                    f"{what}: {leaf} of {stage.name} is {stage.kind(leaf)}, and the pragma 'stream' says how vectors are stored. Vectorize the loop first",
                    here(),
                )
        elif stage.kind(leaf) != "serial":
            raise ScheduleError(
                f"{what}: {leaf} of {stage.name} would be {stage.kind(leaf)} and have the pragma {text!r}, which needs a plain loop behind it. Leave one of the two out, or split the loop and mark its halves",
                here(),
            )


# Recurrences -----------------------------------------------------------------------------------------------------------------------------------


def stepped(state: State, stage: StageState) -> tuple[str, ...]:
    """The leading axes of a stage that are stepped through together with other stages, or cut at the whole numbers of its equations."""
    group = state.group(stage.name)
    if not group or len(group[0]) == 1:
        cut = cut_axes(stage)
        if cut is not None:
            return tuple(cut)
    members = [state.stage(n) for n in group[0]] if group else [stage]
    depth = step_depth(members, group[1] if group else 0)
    return tuple(e.name for e in stage.general.lhs[:depth] if isinstance(e, Axis))


def steps_of_a_recurrence_stay_whole(state: State, stage: StageState, what: str) -> None:
    """Where equations take turns along an axis (S[0, j] = …; S[t, j] = …), its loop is whole, because it is cut at the integers that they name, and
    stands outside of reductions, which belong to one equation. Where stages run step by step together, their common loops are the outermost ones, as
    written: the steps are those of all the stages.
    """
    axes = stepped(state, stage)
    group = state.group(stage.name)
    others = ", ".join(n for n in stage.leaves if not stage.origin(n) & set(axes)) or "there are none"
    these = "this loop stays" if len(axes) == 1 else "these loops stay"
    if group and len(group[0]) > 1:
        if stage.leaves[: len(axes)] != axes:
            raise ScheduleError(
                f"{what}: {', '.join(group[0])} take turns along {', '.join(axes)}, so {these} whole and outermost. Split or reorder the other loops ({others})", here())  # fmt: skip
        return
    if any(a not in stage.leaves for a in axes):
        raise ScheduleError(
            f"{what}: the equations of {stage.name} take turns along {', '.join(axes)}, so {these} whole. Split or fuse the other loops ({others})", here())  # fmt: skip
    reduced = [n for n, leaf in enumerate(stage.leaves) if stage.is_reduction_loop(leaf)]
    inner = [a for a in axes if reduced and stage.leaves.index(a) > reduced[0]]
    if inner:
        raise ScheduleError(
            f"{what}: the equations of {stage.name} take turns along {inner[0]}, and {stage.leaves[reduced[0]]} is reduced over in one of them only, so it stays inside "
            f"of {inner[0]}. Reorder the other loops", here())  # fmt: skip


def recurrences_run_forward(state: State, stage: StageState, what: str) -> None:
    """Every read of an earlier step is carried by a loop, before any loop along which it could reach forward; and a loop runs in parallel or as
    lanes only if each read is along it at the same value, or carried further out.
    """
    for dependence in dependences(stage.parts, stage.tensors):
        for leaf, sign in carriers(stage, dependence):
            kind = stage.kind(leaf)
            if kind not in ("serial", "unrolled") and sign != "=":
                raise ScheduleError(
                    f"{what}: the steps of {leaf} of {stage.name} cannot run {_kind(kind)}, because `{dependence.read!r}` reads what an earlier one computes. {_free_loops(state, stage)}",
                    here(),
                )
            if sign == "*":
                raise ScheduleError(
                    f"{what}: with the loops in the order {', '.join(stage.leaves)}, `{dependence.read!r}` would be read before it is computed. Keep the loops along which {stage.name} steps outside of {leaf}",
                    here(),
                )
    group = state.group(stage.name)
    if group and len(group[0]) > 1:
        tensors = tuple(t for n in group[0] for t in state.stage(n).tensors)
        for member in group[0]:
            for dependence in dependences(state.stage(member).parts, tensors):
                for leaf, sign in zip(stepped(state, stage), dependence.signs, strict=False):
                    kind = stage.kind(leaf)
                    if kind not in ("serial", "unrolled") and sign != "=":
                        raise ScheduleError(
                            f"{what}: the steps of {leaf} of {stage.name} cannot run {_kind(kind)}, because `{dependence.read!r}` reads what an earlier one computes. {_free_loops(state, stage)}",
                            here(),
                        )
                    if sign == "<":
                        break


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


# Places ----------------------------------------------------------------------------------------------------------------------------------------


def loops_around(state: State, stage: StageState) -> list[tuple[StageState, str]]:
    """The loops of other stages inside of which a stage is computed, outermost first."""
    found: list[tuple[StageState, str]] = []
    seen = {stage.name}
    while stage.attach.kind == "at":
        parent = state.stage(stage.attach.stage)
        if parent.name in seen or stage.attach.axis not in parent.leaves:
            break
        seen.add(parent.name)
        found = [*((parent, leaf) for leaf in parent.leaves[: parent.leaves.index(stage.attach.axis) + 1]), *found]
        stage = parent
    return found


def readers(state: State, producer: StageState) -> list[StageState]:
    """The stages in whose loops a stage's elements are read: inlined stages are read where their own readers are."""
    found: dict[str, StageState] = {}
    wanted = set(producer.tensors)
    for stage in state.stages:  # dependency order: an inlined stage comes before its readers
        if stage.name != producer.name and not wanted.isdisjoint(reads(stage)):
            if stage.attach.kind == "inline":
                wanted |= set(stage.tensors)
            else:
                found[stage.name] = stage
    return list(found.values())


def attachments_have_no_cycle(state: State, what: str) -> None:
    """A stage is computed at a loop of a stage that is itself computed somewhere."""
    for stage in state.stages:
        chain = [stage.name]
        now = stage
        while now.attach.kind == "at":
            now = state.stage(now.attach.stage)
            if now.name in chain:
                raise ScheduleError(
                    f"{what}: {' is computed at '.join((*chain, now.name))}, which leaves it nowhere. Compute one of them at the root (compute_root)",
                    here(),
                )
            chain.append(now.name)
        if len(chain) > 1 and now.attach.kind == "inline":
            raise ScheduleError(
                f"{what}: {chain[-2]} is computed at a loop of {now.name}, which is inlined and has no loops. Compute {chain[-2]} at a reader of {now.name}, or {now.name} at the root",
                here(),
            )


def producers_stand_where_they_are_read(state: State, what: str) -> None:
    """Whatever reads a stage that is computed at a loop is inside that loop: its elements are there only while one step of the loop runs."""
    for stage in state.stages:
        if stage.attach.kind != "at":
            continue
        parent = state.stage(stage.attach.stage)
        axis = stage.attach.axis
        if axis not in parent.leaves:
            raise ScheduleError(
                f"{what}: {stage.name} is computed at the loop {axis} of {parent.name}, which would be gone. Compute {stage.name} elsewhere first (compute_root)",
                here(),
            )
        found = readers(state, stage)
        if not found:
            raise ScheduleError(
                f"{what}: nothing reads {stage.name}, so it cannot be computed at {axis} of {parent.name}", here()
            )
        for reader in found:
            if not _inside(state, reader, parent, axis):
                where = (
                    "at the root" if reader.attach.kind != "at" else f"at {reader.attach.axis} of {reader.attach.stage}"
                )
                raise ScheduleError(
                    f"{what}: {reader.name} reads {stage.name}, and is computed {where}, outside of the loop {axis} of {parent.name} at which {stage.name} is computed. "
                    f"Compute {stage.name} at the root, or {reader.name} inside of that loop first (s[{reader.name!r}].compute_at(s[{parent.name!r}], …), or compute_inline)", here())  # fmt: skip


def _inside(state: State, reader: StageState, parent: StageState, axis: str) -> bool:
    """Whether a stage runs inside of the loop `axis` of `parent`."""
    if reader.name == parent.name:
        return True
    while reader.attach.kind == "at":
        if reader.attach.stage == parent.name:
            return parent.leaves.index(reader.attach.axis) >= parent.leaves.index(axis)
        reader = state.stage(reader.attach.stage)
    return False


def is_one_equation(state: State, stage: StageState, what: str, instead: str) -> None:
    """Only a stage of one equation that does not read itself can be moved about as one block of elements."""
    if any(isinstance(p, ScatterPart) for p in stage.parts):
        raise ScheduleError(
            f"{what}: {stage.name} adds to elements that depend on data, and is computed as a whole. {instead}", here()
        )
    if len(stage.parts) > 1:
        raise ScheduleError(
            f"{what}: {stage.name} has {len(stage.parts)} equations, which take turns, and is computed as a whole. {instead}",
            here(),
        )
    group = state.group(stage.name)
    if any(t in reads(stage) for t in stage.tensors) or (group and len(group[0]) > 1):
        raise ScheduleError(
            f"{what}: {stage.name} reads its own earlier steps, and is computed as a whole. {instead}", here()
        )


def can_be_computed_at(state: State, stage: StageState, parent: StageState, axis: str) -> None:
    """A result is computed as a whole, because its caller gets all of it; and only parts of a stage that stand for themselves can be moved."""
    what = f"compute_at of {stage.name} at {axis} of {parent.name}"
    if stage.is_output:
        raise ScheduleError(
            f"{what}: {stage.name} is a result, of which all elements are stored. Compute a copy there: s.cache_write({stage.name}, …), then compute_at of that",
            here(),
        )
    if parent.name == stage.name:
        raise ScheduleError(
            f"{what}: a stage cannot be computed inside of itself. Give a stage that reads {stage.name} ({', '.join(r.name for r in readers(state, stage)) or 'there is none'})",
            here(),
        )
    is_loop(parent, axis, f"compute_at of {stage.name} at")
    is_one_equation(state, stage, what, "Leave it at the root")
    is_one_equation(state, parent, what, f"Leave {stage.name} at the root, or inline it")
    if parent.kind(axis) == "vectorized":
        raise ScheduleError(
            f"{what}: the loop {axis} is vectorized, and nothing can be computed between its lanes. Compute {stage.name} at a loop further out",
            here(),
        )


def can_be_inlined(state: State, stage: StageState) -> None:
    """What is inlined is computed anew at each read: it is one expression, without a reduction, that nobody but readers inside needs."""
    what = f"compute_inline of {stage.name}"
    if stage.is_output:
        raise ScheduleError(f"{what}: it is a result, which is stored. Leave it at the root", here())
    is_one_equation(state, stage, what, "Leave it at the root")
    if stage.reduction is not None:
        raise ScheduleError(
            f"{what}: it is a reduction ({stage.reduction.reducer.name}), whose loops cannot stand inside an expression. Compute it at a loop of its reader: s[{stage.name!r}].compute_at(s[reader], axis)",
            here(),
        )


def is_register_or_memory(scope: str, what: str, scopes: tuple[str, ...]) -> None:
    """A scope is one of the kinds of memory that a schedule knows."""
    if scope not in scopes:
        raise ScheduleError(f"{what}: there is no scope {scope!r}; one of {', '.join(map(repr, scopes))}", here())


def can_be_prefetched(state: State, stage: StageState, tensor: str, axis: str, offset: object) -> None:
    """What a later step reads can be asked for when its place is known now: the indices depend on loops, not on data."""
    what = f"prefetch of {tensor} in {stage.name}"
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 1:
        raise ScheduleError(
            f"{what}: the offset is {offset!r}; it is a whole number of steps of {axis}, at least 1", here()
        )
    source = state.tensors()[tensor]
    found = [n for p in stage.parts for n in walk(*p.expressions) if isinstance(n, Access) and n.tensor is source]
    if not found:
        raise ScheduleError(
            f"{what}: {stage.name} does not read it; it reads {', '.join(t.name for t in reads(stage)) or 'nothing'}",
            here(),
        )
    if len(stage.parts) > 1:
        raise ScheduleError(
            f"{what}: {stage.name} has several equations, which take turns. Prefetch in a stage of one equation", here()
        )
    for access in found:
        if any(isinstance(n, Access) for index in access.indices for n in walk(index)):
            raise ScheduleError(
                f"{what}: `{access!r}` is read at a place that depends on data, which is not known before its step. Prefetch the tensor that holds the index",
                here(),
            )
