"""What a schedule may do: one function for each theorem, named after it.

Primitives call those about their own arguments; `check` calls the others after every step. Each raises ScheduleError;
the message says what is refused, why, and what to do.
"""

from __future__ import annotations

from typing import Any

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Axis, Var, walk
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.text import definition as part_text
from tedsl.schedule.loop_tree import loops_of
from tedsl.schedule.loops.ir import STREAM
from tedsl.schedule.state import StageState, State, alone, plain_axes, reads

from .recurrences import kind_text, step_loop, stepped

# Loops ----------------------------------------------------------------------------------------------------------------


def is_loop(stage: StageState, axis: str, primitive: str, what: str = "") -> None:
    """A primitive acts on a loop that the stage has now. `what`: the call, where more is to be said of it."""
    if axis in stage.leaves:
        return
    what = what or f"{primitive} of the axis {axis} of {stage.name}"
    loops = ", ".join(stage.leaves) or "none"
    now = loops_of(stage.relations, stage.leaves, axis)
    if now:
        raise ScheduleError(
            f"{what}: {axis} is no loop any more, but was made into {' and '.join(now)}. Use one of these; the loops "
            f"are {loops}"
        )
    raise ScheduleError(f"{what}: there is no such loop. The loops of {stage.name} are {loops}")


def is_free_loop(state: State, stage: StageState, axis: str, primitive: str) -> None:
    """A loop that is cut or joined carries no mark and nothing is computed at it: the mark would lose its loop."""
    is_loop(stage, axis, primitive)
    mark = stage.mark(axis)
    marks = [mark.kind] if mark.kind != "serial" else []
    marks += [f"marked with the pragma {text!r}" for text in mark.pragmas]
    marks += ["the place of a prefetch"] * bool(mark.prefetches) + ["tensorized"] * (mark.intrinsic is not None)
    if marks:
        raise ScheduleError(
            f"{primitive} of the axis {axis} of {stage.name}: it is {marks[0]}. Call {primitive} first, and mark the "
            "loops that come of it"
        )
    for other in state.inside_of(stage.name):
        if other.attach.axis == axis:
            raise ScheduleError(
                f"{primitive} of the axis {axis} of {stage.name}: {other.name} is computed at it. Call {primitive} "
                f"first, then {other.name}'s compute_at at a loop that comes of it"
            )


def is_factor(value: Any, what: str, name: str) -> None:
    """A tile factor is a whole number of at least 1, or a size."""
    if isinstance(value, Var):
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise ScheduleError(f"{what}: {name} is {value!r}; it is a whole number, or a size (te.var)")
    if value < 1:
        raise ScheduleError(f"{what}: {name} is {value}; it is at least 1")


def are_neighbours(stage: StageState, axes: tuple[str, ...]) -> None:
    """Loops that become one follow each other directly, outermost first: only then does one counter run through the
    same points in the same order. A loop that is reduced over and one that is not cannot become one: its steps would
    both make a new element and add to an old one.
    """
    places = [stage.leaves.index(a) for a in axes]
    shown = ", ".join(axes)
    loops = ", ".join(stage.leaves)
    if len(set(axes)) != len(axes):
        raise ScheduleError(f"fuse of {shown} of {stage.name}: an axis is given twice")
    if places != list(range(places[0], places[0] + len(places))):
        if sorted(places) == list(range(min(places), min(places) + len(places))):
            order = ", ".join(stage.leaves[min(places) : max(places) + 1])
            raise ScheduleError(
                f"fuse of {shown} of {stage.name}: the loops stand in the order {loops}. Give them as fuse({order}), "
                "or reorder them first"
            )
        raise ScheduleError(
            f"fuse of {shown} of {stage.name}: they are not neighbours; the loops stand in the order {loops}. Bring "
            f"them together first: reorder(…, {shown}, …)"
        )
    kinds = {stage.is_reduction_loop(a) for a in axes}
    if len(kinds) == 2:
        reduced = ", ".join(a for a in axes if stage.is_reduction_loop(a))
        raise ScheduleError(
            f"fuse of {shown} of {stage.name}: {reduced} is reduced over and the others are not. Fuse the loops of "
            "one sort only"
        )


def reduced_loops_run_in_order(stage: StageState, what: str) -> None:
    """The steps of a reduction all add to one element, so they run one after the other: on threads or lanes they would
    race.
    """
    for leaf, mark in stage.marks.items():
        kind = mark.kind
        if kind in ("serial", "unrolled"):
            continue
        how = {"vectorized": "vectorize", "parallel": "parallel"}.get(kind, "bind")
        if isinstance(
            stage.general, ScatterPart
        ):  # an axis that stands alone on the left side leads each step to elements of its own
            own = {a.name for a in plain_axes(stage.general)}
            able = [n for n in stage.leaves if stage.origin(n) <= own]
            if leaf not in able:
                others = f"The loops that can are {', '.join(able)}" if able else "Mark a loop of what it reads instead"
                raise ScheduleError(
                    f"{what}: {leaf} cannot run {kind_text(kind)}, because the steps of {stage.name} add to elements "
                    f"that depend on data, and two of them may meet. {others}")  # fmt: skip
        if stage.is_reduction_loop(leaf):
            free = ", ".join(n for n in stage.leaves if not stage.is_reduction_loop(n)) or "there is none"
            raise ScheduleError(
                f"{what}: {leaf} is reduced over in {stage.name}, and its steps all add to one element, so they "
                f"cannot run {kind_text(kind)}. Mark a loop that is not reduced over ({free}), or make partial results "
                f"with P = s.rfactor(T, {leaf!r}) and {how} that axis of P"
            )


def nothing_stands_between_lanes(state: State, stage: StageState, what: str) -> None:
    """The steps of a vectorised loop run at once, so no other stage is computed in one of them."""
    for parent, leaf in loops_around(state, stage):
        if parent.kind(leaf) == "vectorized":
            raise ScheduleError(
                f"{what}: {stage.name} is computed inside of {leaf} of {parent.name}, which would be vectorized, and "
                f"nothing can be computed between its lanes. Compute {stage.name} further out first"
            )


def one_loop_of_a_kind_in_another(state: State, stage: StageState, what: str) -> None:
    """There is one set of threads and one set of lanes: a parallel loop stands in no other, and in a vectorised loop
    stands neither.
    """
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
                    f"{what}: the loop {leaf} of {inner} would run {kind_text(kind)} inside of {other} of {outer}, "
                    "which is vectorized. Vectorize the innermost loop, and reorder it there first"
                )
            if outer_kind == kind == "parallel":
                raise ScheduleError(
                    f"{what}: the loop {leaf} of {inner} would be parallel inside of {other} of {outer}, which is "
                    "parallel too. Fuse the two loops and make the result parallel, or leave the inner one serial"
                )


def pragmas_stand_before_plain_loops(stage: StageState, what: str) -> None:
    """A pragma is for the `for` statement behind it: a parallel loop has one of OpenMP's there, and vectors and
    unrolled steps have no such statement. Only "stream" is for vectors: it says how they are stored.
    """
    for leaf, text in ((leaf, text) for leaf, mark in stage.marks.items() for text in mark.pragmas):
        if text == STREAM:
            if stage.kind(leaf) != "vectorized":
                raise ScheduleError(
                    f"{what}: {leaf} of {stage.name} is {stage.kind(leaf)}, and the pragma 'stream' says how vectors "
                    "are stored. Vectorize the loop first"
                )
        elif stage.kind(leaf) != "serial":
            raise ScheduleError(
                f"{what}: {leaf} of {stage.name} would be {stage.kind(leaf)} and have the pragma {text!r}, which "
                "needs a plain loop behind it. Leave one of the two out, or split the loop and mark its halves"
            )


def lanes_ask_for_nothing(state: State, stage: StageState, what: str) -> None:
    """The steps of a vectorised loop run at once, so none of them can ask for what a later one reads."""
    for tensor, axis in ((tensor, leaf) for leaf, mark in stage.marks.items() for tensor, _ in mark.prefetches):
        own = [(stage, leaf) for leaf in stage.leaves[: stage.leaves.index(axis) + 1]]
        for other, leaf in [*loops_around(state, stage), *own]:
            if other.kind(leaf) == "vectorized":
                raise ScheduleError(
                    f"{what}: {tensor} would be prefetched in {axis} of {stage.name}, "
                    f"{'which would be' if leaf == axis else f'inside of {leaf} of {other.name}, which would be'} "
                    "vectorized, and its steps run at once. "
                    f"Split {leaf}, prefetch at the outer loop and vectorize the inner one")  # fmt: skip


# Places ---------------------------------------------------------------------------------------------------------------


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
    wanted = list(producer.tensors)
    while wanted:
        for stage in state.readers(wanted.pop()):
            if stage.name != producer.name and stage.name not in found:
                found[stage.name] = stage
                wanted += stage.tensors if stage.attach.kind == "inline" else ()
    return [s for s in state.stages if s.name in found and s.attach.kind != "inline"]


def attachments_have_no_cycle(state: State, what: str) -> None:
    """A stage is computed at a loop of a stage that is itself computed somewhere."""
    for stage in state.stages:
        chain = [stage.name]
        now = stage
        while now.attach.kind == "at":
            now = state.stage(now.attach.stage)
            if now.name in chain:
                raise ScheduleError(
                    f"{what}: {' is computed at '.join((*chain, now.name))}, which leaves it nowhere. Compute one of "
                    "them at the root (compute_root)"
                )
            chain.append(now.name)
        if len(chain) > 1 and now.attach.kind == "inline":
            raise ScheduleError(
                f"{what}: {chain[-2]} is computed at a loop of {now.name}, which is inlined and has no loops. "
                f"Compute {chain[-2]} at a reader of {now.name}, or {now.name} at the root"
            )


def producers_stand_where_they_are_read(state: State, what: str) -> None:
    """Whatever reads a stage that is computed at a loop is inside that loop: its elements are there only while one step
    of the loop runs.
    """
    for stage in state.stages:
        if stage.attach.kind != "at":
            continue
        parent = state.stage(stage.attach.stage)
        axis = stage.attach.axis
        if axis not in parent.leaves:
            raise ScheduleError(
                f"{what}: {stage.name} is computed at the loop {axis} of {parent.name}, which would be gone. Compute "
                f"{stage.name} elsewhere first (compute_root)"
            )
        found = readers(state, stage)
        if not found:
            raise ScheduleError(
                f"{what}: nothing reads {stage.name}, so it cannot be computed at {axis} of {parent.name}"
            )
        for reader in found:
            if not _inside(state, reader, parent, axis):
                where = (
                    "at the root" if reader.attach.kind != "at" else f"at {reader.attach.axis} of {reader.attach.stage}"
                )
                instead = (
                    f"and a copy of what {parent.name} reads there: s.cache_read({stage.name}, scope, {parent.name})"
                    if reader.is_output  # which stays where it is
                    else f"or {reader.name} inside of that loop first "
                    f"(s[{reader.name!r}].compute_at(s[{parent.name!r}], …), or compute_inline)"
                )
                raise ScheduleError(
                    f"{what}: {reader.name} reads {stage.name}, and is computed {where}, outside of the loop {axis} "
                    f"of {parent.name} at which {stage.name} is computed. "
                    f"Compute {stage.name} at the root, {instead}")  # fmt: skip


def _inside(state: State, reader: StageState, parent: StageState, axis: str) -> bool:
    """Whether a stage runs inside of the loop `axis` of `parent`. The loops along which stages step together are one
    for all of them.
    """
    step = step_loop(state, parent, axis)
    together = {s.name for s in state.stepping(parent.name)}
    if reader.name == parent.name or (step is not None and reader.name in together):
        return True
    while reader.attach.kind == "at":
        at = reader.attach
        if at.stage == parent.name:
            return parent.leaves.index(at.axis) >= parent.leaves.index(axis)
        reader = state.stage(at.stage)
        if step is not None and reader.name in together:
            mine = step_loop(state, reader, at.axis)
            return mine is None or mine >= step
    return False


def every_reading_equation_has_the_loop(state: State, stage: StageState, parent: StageState, axis: str) -> None:
    """The equations of a stage share the loops of the axes that they have in common. One that reads a producer has the
    loop at which it is computed.
    """
    wanted = set(stage.tensors)
    for other in state.stages:  # what is read through stages that are inlined, or computed further in
        if other.name != parent.name and not wanted.isdisjoint(reads(other)):
            wanted |= set(other.tensors)
    for part in parent.parts:
        read = any(isinstance(n, Access) and n.tensor in wanted - set(parent.tensors) for n in walk(*part.expressions))
        if (
            read
            and part is not parent.general
            and axis not in alone(parent, part).leaves
            and axis not in stepped(state, parent)
        ):
            have = ", ".join(alone(parent, part).leaves) or "none"
            raise ScheduleError(
                f"compute_at of {stage.name} at {axis} of {parent.name}: the equation "
                f"`{part_text(part, parent.tensors)}` reads {stage.name} as well, and has no loop {axis}; its loops "
                f"are {have}. "
                f"Compute {stage.name} further out")  # fmt: skip


def is_one_equation(state: State, stage: StageState, what: str, instead: str) -> None:
    """Only a stage of one equation that does not read itself can be moved about as one block of elements."""
    if any(isinstance(p, ScatterPart) for p in stage.parts):
        raise ScheduleError(
            f"{what}: {stage.name} adds to elements that depend on data, and is computed as a whole. {instead}"
        )
    if len(stage.parts) > 1:
        raise ScheduleError(
            f"{what}: {stage.name} has {len(stage.parts)} equations, which take turns, and is computed as a whole. "
            f"{instead}"
        )
    if any(t in reads(stage) for t in stage.tensors):
        raise ScheduleError(f"{what}: {stage.name} reads its own earlier steps, and is computed as a whole. {instead}")


def can_be_computed_at(state: State, stage: StageState, parent: StageState, axis: str) -> None:
    """A result is computed as a whole, because its caller gets all of it."""
    what = f"compute_at of {stage.name} at {axis} of {parent.name}"
    if parent.name == stage.name:
        raise ScheduleError(
            f"{what}: a stage cannot be computed inside of itself. Give a stage that reads {stage.name} "
            f"({', '.join(r.name for r in readers(state, stage)) or 'there is none'})"
        )
    group = state.group(stage.name)
    moved = (stage,) if group and parent.name in group[0] else state.stepping(stage.name)
    for member in moved:
        if member.is_output:
            together = "" if member.name == stage.name else f", and {stage.name} steps together with it"
            raise ScheduleError(
                f"{what}: {member.name} is a result, of which all elements are stored{together}. Compute a copy "
                f"there: s.cache_write({member.name}, …), then compute_at of that"
            )
    is_loop(parent, axis, "compute_at", what)
    every_reading_equation_has_the_loop(state, stage, parent, axis)
    if parent.kind(axis) == "vectorized":
        raise ScheduleError(
            f"{what}: the loop {axis} is vectorized, and nothing can be computed between its lanes. Compute "
            f"{stage.name} at a loop further out"
        )


def can_be_inlined(state: State, stage: StageState) -> None:
    """What is inlined is computed anew at each read: it is one expression, without a reduction, that nobody but readers
    inside needs.
    """
    what = f"compute_inline of {stage.name}"
    if stage.is_output:
        raise ScheduleError(f"{what}: it is a result, which is stored. Leave it at the root")
    is_one_equation(state, stage, what, "Leave it at the root")
    if stage.reduction is not None:
        raise ScheduleError(
            f"{what}: it is a reduction ({stage.reduction.reducer.name}), whose loops cannot stand inside an "
            f"expression. Compute it at a loop of its reader: s[{stage.name!r}].compute_at(s[reader], axis)"
        )
    later = {s.name: s for s in state.stages if s.attach.kind == "inline"}
    wanted, seen = [stage], {stage.name}
    while wanted:
        for tensor in reads(wanted.pop()):
            other = state.writer(tensor)
            if other is not None and other.name == stage.name:
                raise ScheduleError(
                    f"{what}: it reads its own earlier steps through "
                    f"{', '.join(n for n in seen if n != stage.name)}, which {'is' if len(seen) == 2 else 'are'} "
                    "inlined too, so the expression would have no end. Leave one of them at the root"
                )
            if other is not None and other.name in later and other.name not in seen:
                seen.add(other.name)
                wanted.append(other)


def is_register_or_memory(scope: str, what: str, scopes: tuple[str, ...]) -> None:
    """A scope is one of the kinds of memory that a schedule knows."""
    if scope not in scopes:
        raise ScheduleError(f"{what}: there is no scope {scope!r}; one of {', '.join(map(repr, scopes))}")


def can_be_prefetched(state: State, stage: StageState, tensor: str, axis: str, offset: object) -> None:
    """What a later step reads can be asked for when its place is known now: the indices depend on loops, not on
    data.
    """
    what = f"prefetch of {tensor} in {stage.name}"
    if isinstance(offset, bool) or not isinstance(offset, int) or offset < 1:
        raise ScheduleError(f"{what}: the offset is {offset!r}; it is a whole number of steps of {axis}, at least 1")
    source = state.tensors()[tensor]
    found = [n for p in stage.parts for n in walk(*p.expressions) if isinstance(n, Access) and n.tensor is source]
    if not found:
        raise ScheduleError(
            f"{what}: {stage.name} does not read it; it reads {', '.join(t.name for t in reads(stage)) or 'nothing'}"
        )
    moved = {a.name for a in stage.roots} & stage.origin(axis)
    if not any(n.name in moved for access in found for n in walk(*access.indices) if isinstance(n, Axis)):
        loops = [
            leaf
            for leaf in stage.leaves
            if any(isinstance(n, Axis) and n.name in stage.origin(leaf) for a in found for n in walk(*a.indices))
        ]
        moves = f"The loops that move along it are {', '.join(loops)}" if loops else "It is a single element"
        raise ScheduleError(
            f"{what}: every step of {axis} reads the same elements of it, so there is nothing to ask for ahead. {moves}"
        )
    for access in found:
        if any(isinstance(n, Access) for index in access.indices for n in walk(index)):
            raise ScheduleError(
                f"{what}: `{access!r}` is read at a place that depends on data, which is not known before its step. "
                "Prefetch the tensor that holds the index"
            )
