"""The state of a schedule: immutable, so that a refused step leaves nothing behind and `undo` is going back.

    State       the stages in dependency order, and the recurrences among them
    StageState  a stage: its equations, its loops (`leaves`), how they came from its axes (`relations`), what is said of
                each (`marks`), where it is computed and stored
    Mark        all that is said of one loop

All loops of a stage are known by name; a handle (an Axis) is only a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

from tedsl.lang.errors import Location
from tedsl.lang.expr import Axis, Const, Reduce
from tedsl.lang.program import Program, Stage, group_of, program
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Dim, Part, Tensor

from .loop_tree import LoopTree, Relations, origin


@dataclass(frozen=True, slots=True)
class Attach:
    """Where a stage is computed: "root", "inline", or "at" the loop `axis` of the stage `stage`."""

    kind: str = "root"
    stage: str = ""
    axis: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is said of a loop: how it runs, the pragmas before it, what is asked for in it ahead of time (tensor and
    steps), the intrinsic that takes over from it inward, and the step of the schedule that made it.
    """

    kind: str = "serial"
    pragmas: tuple[str, ...] = ()
    prefetches: tuple[tuple[str, int], ...] = ()
    intrinsic: Any = None
    made_by: str = ""


PLAIN = Mark()


@dataclass(frozen=True, slots=True, eq=False)
class StageState:
    """A stage under a schedule. `leaves`: its loops, outermost first. `marks`: what is said of those of which anything
    is said; with a loop goes its mark.
    """

    name: str
    tensors: tuple[Tensor, ...]
    parts: tuple[Part, ...]
    leaves: tuple[str, ...]
    relations: Relations = ()
    marks: Mapping[str, Mark] = field(default_factory=dict)
    attach: Attach = field(default_factory=Attach)
    scope: str = "global"
    layout: tuple[str, ...] | None = None
    align: tuple[str, int, int] | None = None
    double_buffer: bool = False
    is_output: bool = False
    divides: bool = False  # whether tile factors are taken to divide (the cost model's convention)

    @property
    def tensor(self) -> Tensor:
        return self.tensors[0]

    general: Part = field(init=False, repr=False)  # the equation whose axes name the loops: the last with the most axes
    axes: tuple[Axis, ...] = field(init=False, repr=False)  # the data axes (of the left side)
    roots: tuple[Axis, ...] = field(init=False, repr=False)  # these, and those that are reduced over

    def __post_init__(self) -> None:
        object.__setattr__(self, "general", max(reversed(self.parts), key=lambda part: len(part.axes)))
        object.__setattr__(self, "axes", self.general.axes)
        object.__setattr__(self, "roots", (*self.axes, *self.reduce_axes))
        if any(name not in self.leaves for name in self.marks):
            object.__setattr__(self, "marks", {name: m for name, m in self.marks.items() if name in self.leaves})

    @property
    def reduction(self) -> Reduce | None:
        """The reduction that this stage is, if it is one."""
        value = self.general.values[0]
        return value if isinstance(value, Reduce) else None

    @property
    def reduce_axes(self) -> tuple[Axis, ...]:
        reduction = self.reduction
        return reduction.axes or () if reduction is not None else ()

    def root(self, name: str) -> Axis | None:
        for a in self.roots:
            if a.name == name:
                return a
        return None

    def mark(self, leaf: str) -> Mark:
        return self.marks.get(leaf, PLAIN)

    def kind(self, leaf: str) -> str:
        return self.mark(leaf).kind

    def marked(self, leaf: str, **said: Any) -> StageState:
        """The stage with more said of one of its loops."""
        return replace(self, marks={**self.marks, leaf: replace(self.mark(leaf), **said)})

    @property
    def untouched(self) -> bool:
        """Whether its loops are those of its definition, and run one after the other."""
        return not self.relations and all(m.kind == "serial" for m in self.marks.values())

    @property
    def asks_ahead(self) -> bool:
        """Whether anything is prefetched in one of its loops."""
        return any(m.prefetches for m in self.marks.values())

    @property
    def tensorized(self) -> str | None:
        """The loop from which an intrinsic takes over, if there is one."""
        return next((leaf for leaf, m in self.marks.items() if m.intrinsic is not None), None)

    def tree(self, sizes: Mapping[str, Dim] | None = None) -> LoopTree:
        """How its loops came from its axes; `sizes` overrides the extents of these."""
        extents = {a.name: a.extent for a in self.roots} | dict(sizes or {})
        return LoopTree(self.relations, extents, self.divides)

    def extent(self, name: str) -> Dim:
        """The extent of a loop or axis as the schedule stands."""
        return self.tree().extent(name)

    def origin(self, name: str) -> frozenset[str]:
        """The stage's own axes from which a loop came."""
        return origin(self.relations, name)

    def is_reduction_loop(self, name: str) -> bool:
        """Whether a loop came (in part) from an axis that is reduced over."""
        return bool(self.origin(name) & {a.name for a in self.reduce_axes})

    @property
    def dimensions(self) -> dict[str, int]:
        """The dimensions of the stage's tensors that an axis by itself runs along, by the axis' name."""
        return {axis.name: d for axis, d in plain_axes(self.general).items()}

    @property
    def names(self) -> set[str]:
        """Every name of a loop or axis, past and present."""
        return (
            {a.name for a in self.roots} | set(self.leaves) | {n for r in self.relations for n in (*r.given, *r.made)}
        )


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """All stages in dependency order; `groups`: names of stages that step together, with the number of common axes;
    `inputs` by names that are theirs alone; `given`: the stages as the program has them; `factors`: tile factors that
    are sizes.
    """

    outputs: tuple[Tensor, ...]
    stages: tuple[StageState, ...]
    groups: tuple[tuple[tuple[str, ...], int], ...]
    inputs: tuple[tuple[str, Tensor], ...] = ()
    given: tuple[StageState, ...] = ()
    factors: tuple[str, ...] = ()
    nests: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)  # what it was lowered to, by how

    def stage(self, name: str) -> StageState:
        return _by_name(self)[name]

    def writer(self, tensor: Tensor) -> StageState | None:
        """The stage that computes a tensor; None for an input."""
        for s in self.stages:
            if any(t is tensor for t in s.tensors):
                return s
        return None

    def updated(self, *changed: StageState) -> State:
        new = {s.name: s for s in changed}
        return replace(self, stages=tuple(new.get(s.name, s) for s in self.stages))

    def group(self, name: str) -> tuple[tuple[str, ...], int] | None:
        return next((g for g in self.groups if name in g[0]), None)

    def stepping(self, name: str) -> tuple[StageState, ...]:
        """The stages that run step by step together with the stage `name`, itself included: those of its group that are
        not computed inside of one another. A stage that is computed inside of one of its group's loops has none but
        itself.
        """
        group = self.group(name)
        if group is None:
            return (self.stage(name),)
        members = tuple(
            s
            for s in map(self.stage, group[0])
            if s.attach.kind != "inline" and not (s.attach.kind == "at" and s.attach.stage in group[0])
        )
        return members if any(s.name == name for s in members) else (self.stage(name),)

    def inside_of(self, name: str) -> list[StageState]:
        """The stages that are computed at loops of the stage `name`."""
        return [s for s in self.stages if s.attach.kind == "at" and s.attach.stage == name]

    def readers(self, tensor: Tensor) -> tuple[StageState, ...]:
        return _readers(self).get(tensor, ())

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor under a name of its own: inputs, then what the stages compute (the first of a stage under the
        stage's name).
        """
        found = dict(self.inputs)
        found |= {s.name: s.tensor for s in self.stages}
        used = set(found)
        for s in self.stages:
            for t in s.tensors[1:]:
                found[unique(t.name, used)] = t
        return found


Result = tuple[
    State, tuple[str, ...]
]  # of a primitive: the state that it leads to, and the loops or stages that it made


def step_depth(stages: Sequence[StageState], depth: int) -> int:
    """Along how many leading axes stages are stepped through together (`depth`: of their group), or cut at the whole
    numbers of their equations.
    """
    cut = (
        d + 1
        for s in stages
        for p in s.parts
        if not isinstance(p, ScatterPart)
        for d, e in enumerate(p.lhs)
        if isinstance(e, Const)
    )
    return max([depth if len(stages) > 1 else 0, *cut])


def cut_axes(stage: StageState) -> dict[str, int] | None:
    """The axes along which the equations of a stage take turns, and their dimensions; None when the general equation
    has whole numbers itself.
    """
    general = stage.general
    if isinstance(general, ScatterPart) or not all(isinstance(e, Axis) for e in general.lhs):
        return None
    return {
        cast(Axis, e).name: d
        for d, e in enumerate(general.lhs)
        if any(isinstance(p.lhs[d], Const) for p in stage.parts)
    }


def plain_axes(part: Part) -> dict[Axis, int]:
    """The axes that are an index by themselves on the left side of an equation, and (the first of) their dimensions:
    two steps of such an axis write different elements.
    """
    found: dict[Axis, int] = {}
    for d, e in enumerate(part.lhs):
        if isinstance(e, Axis):
            found.setdefault(e, d)
    return found


def alone(stage: StageState, part: Part) -> StageState:
    """A stage with one of its equations: its loops are those of the axes that this one has, then those that it reduces
    over.
    """
    if part is stage.general:
        return stage if len(stage.parts) == 1 else replace(stage, parts=(part,))
    own = {a.name for a in part.axes}
    reduced = part.values[0].axes or () if isinstance(part.values[0], Reduce) else ()
    data = (leaf for leaf in stage.leaves if stage.origin(leaf) <= own)
    return replace(stage, leaves=(*data, *(a.name for a in reduced)), parts=(part,))


def regrouped(state: State, names: Sequence[str]) -> State:
    """The state with the groups among the stages `names` (in the order in which they take turns) found anew. Raises
    DefinitionError when they have no order of steps.
    """
    members = [state.stage(n) for n in names]
    made = {s.name: Stage(s.name, s.tensors, s.parts) for s in members}
    tensors = {t: stage for stage in made.values() for t in stage.tensors}
    found = group_of(tensors, {stage: (0, n) for n, stage in enumerate(made.values())})
    own = tuple((tuple(s.name for s in g.stages), g.depth) for g in found if g.depth or len(g.stages) > 1)
    return replace(state, groups=(*(g for g in state.groups if set(g[0]).isdisjoint(names)), *own))


@lru_cache(maxsize=16)
def _by_name(state: State) -> dict[str, StageState]:
    return {s.name: s for s in state.stages}


@lru_cache(maxsize=16)
def _readers(state: State) -> dict[Tensor, tuple[StageState, ...]]:
    found: dict[Tensor, tuple[StageState, ...]] = {}
    for stage in state.stages:
        for tensor in reads(stage):
            found[tensor] = (*found.get(tensor, ()), stage)
    return found


def reads(stage: StageState) -> tuple[Tensor, ...]:
    """The tensors that a stage reads."""
    return _reads(stage.parts)


@lru_cache(maxsize=2048)
def _reads(parts: tuple[Part, ...]) -> tuple[Tensor, ...]:
    return Stage("", (), parts).reads


def stage_state(
    name: str,
    tensors: tuple[Tensor, ...],
    parts: tuple[Part, ...],
    is_output: bool = False,
    location: Location | None = None,
) -> StageState:
    """A stage with its default loops: data axes in order, then reduction axes."""
    plain = StageState(name, tensors, parts, (), is_output=is_output)
    return replace(plain, leaves=tuple(a.name for a in plain.roots))


def initial(outputs: tuple[Tensor, ...]) -> State:
    """The default state: every stage computed at the root with plain loops."""
    made: Program = program(outputs)
    used: set[str] = set()
    inputs = tuple((unique(t.name, used), t) for t in made.inputs)
    names: dict[Stage, str] = {}
    wanted = set(outputs)
    for stage in sorted(made.stages, key=lambda s: not (set(s.tensors) & wanted)):  # outputs keep their own names
        names[stage] = unique(stage.name, used)
    stages = tuple(stage_state(names[s], s.tensors, s.parts, bool(set(s.tensors) & wanted)) for s in made.stages)
    groups = tuple((tuple(names[s] for s in g.stages), g.depth) for g in made.groups if g.depth or len(g.stages) > 1)
    return State(outputs, stages, groups, inputs, stages)


def unique(name: str, used: set[str]) -> str:
    """`name`, with a number behind it where it is taken; the result is added to `used`."""
    candidate, serial = name, 0
    while candidate in used:
        serial += 1
        candidate = f"{name}_{serial}"
    used.add(candidate)
    return candidate
