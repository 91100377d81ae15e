"""Programs: the stages that several results need, in an order in which they can be computed.

    Stage      one tensor (or several defined together) and its equations, whose values are reductions or free of them
    Group      stages that depend on each other: a recurrence, run step by step; or a single stage
    Program    inputs, outputs and groups in dependency order

A reduction that stands inside an expression becomes a stage of its own, named after the tensor and the reduction
(`S.sum`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .definition import is_earlier, reads_of, text_of
from .errors import DefinitionError, Location
from .expr import Access, Apply, Axis, Const, Expr, Reduce, apply, free_axes, rewrite, substitute, walk
from .extents import Read, check_bounds
from .integers import Known, prove, simplify
from .scatter import ScatterPart
from .tensor import Definition, Part, Tensor, define_together, plain
from .text import definition as definition_text
from .text import text


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A step of the computation. `tensors` are written by `parts`; `name` is unique within a program."""

    name: str
    tensors: tuple[Tensor, ...]
    parts: tuple[Part, ...]

    @property
    def tensor(self) -> Tensor:
        return self.tensors[0]

    @property
    def reads(self) -> tuple[Tensor, ...]:
        """The tensors read, each once, left to right."""
        return reads(self.parts)

    def __str__(self) -> str:
        return "\n".join(definition_text(part, self.tensors) for part in self.parts)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Stages computed together. `depth`: how many leading axes of the left sides are stepped through in common (0: no
    recurrence).
    """

    stages: tuple[Stage, ...]
    depth: int


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What a kernel computes. `inputs` in reading order; `groups` in dependency order."""

    outputs: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    groups: tuple[Group, ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(stage for group in self.groups for stage in group.stages)


def program(outputs: Sequence[Tensor]) -> Program:
    """The program that computes `outputs`. Raises DefinitionError for equations that leave gaps or have no order."""
    stages: dict[Tensor, Stage] = {}
    order: dict[Stage, tuple[int, int]] = {}  # with the place in which it was defined
    for tensor in needed(outputs):
        if tensor.is_input:
            _ = tensor.shape  # raises where there is neither shape nor definition
            continue
        assert tensor.definition is not None
        for n, stage in enumerate(lifted(tensor.definition)):
            if stage.tensors[0] not in stages:
                stages |= dict.fromkeys(stage.tensors, stage)
                order[stage] = tensor.definition.serial, n
    return Program(tuple(outputs), inputs_of(outputs), tuple(group_of(stages, order)))


def inputs_of(outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The inputs that `outputs` depend on, in the order in which a reader meets them, left to right."""
    found: dict[Tensor, None] = {}
    seen: set[Tensor] = set()
    stack = [iter(tuple(outputs))]
    while stack:
        tensor = next(stack[-1], None)
        if tensor is None:
            stack.pop()
        elif tensor not in seen:
            seen.add(tensor)
            if tensor.is_input:
                found[tensor] = None
            else:
                stack.append(iter((*tensor.operands, *reads(tensor.parts))))
    return tuple(found)


def reads(parts: Sequence[Part]) -> tuple[Tensor, ...]:
    """The tensors that equations read, each once, in the order in which a reader meets them: `A[I[i]]` is A, then I."""
    found: dict[Tensor, None] = {}
    for part in parts:
        seen: set[Expr] = set()
        stack = list(reversed(part.expressions))
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                if isinstance(node, Access):
                    found[node.tensor] = None
                stack.extend(reversed(node.children))
    return tuple(found)


def needed(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Everything that `outputs` need, with the inputs: what is needed first before what needs it (as far as there is
    such an order).
    """
    done: dict[Tensor, None] = {}
    seen: set[Tensor] = set()
    stack: list[tuple[Tensor, bool]] = [(t, False) for t in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        if ready:
            done[tensor] = None
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            stack.extend((t, False) for t in reversed(reads(tensor.parts)))
    return list(done)


# Lifting --------------------------------------------------------------------------------------------------------------


def lifted(definition: Definition) -> tuple[Stage, ...]:
    """The stages of a definition, made once: one for each reduction inside an expression, then the definition's own."""
    if definition.lifted is None:
        _check_gaps(definition)
        lifter = _Lifter(definition)
        parts = tuple(lifter.part(part) for part in definition.parts)
        own = Stage(definition.tensors[0].name, definition.tensors, parts)
        definition.lifted = (*lifter.stages, own)
    return cast("tuple[Stage, ...]", definition.lifted)


def _together(a: Reduce, b: Reduce) -> bool:
    """Whether two reductions are components of one."""
    same = a.reducer is b.reducer and a.where is b.where and a.accumulator == b.accumulator
    ours, theirs = (*a.values, *(a.axes or ())), (*b.values, *(b.axes or ()))
    return same and len(ours) == len(theirs) and all(x is y for x, y in zip(ours, theirs, strict=True))


class _Lifter:
    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.stages: list[Stage] = []
        self.made: dict[tuple[Any, ...], Tensor] = {}

    def part(self, part: Part) -> Part:
        top = part.values[0]
        if isinstance(top, Reduce) and all(isinstance(v, Reduce) and _together(v, top) for v in part.values):
            own = () if top.where is None else (top.where,)
            children = [self.lift(v, part, own, top.axes or ()) for v in top.values]
            if top.where is not None:
                children.append(self.lift(top.where, part, (), top.axes or ()))
            values = tuple(cast(Reduce, v).with_children(tuple(children)) for v in part.values)
        else:
            values = tuple(self.lift(v, part, (), ()) for v in part.values)
        return (
            part
            if all(a is b for a, b in zip(values, part.values, strict=True))
            else Part(part.lhs, values, part.location)
        )

    def lift(self, node: Expr, part: Part, guards: tuple[Expr, ...], enclosing: tuple[Axis, ...]) -> Expr:
        """`node` with every reduction inside it replaced by an access to a stage of its own."""
        if not any(isinstance(n, Reduce) for n in walk(node)):
            return node
        if isinstance(node, Reduce):
            inner = (*enclosing, *(node.axes or ()))
            own = guards if node.where is None else (*guards, node.where)
            values = tuple(self.lift(v, part, own, inner) for v in node.values)
            where = () if node.where is None else (self.lift(node.where, part, guards, inner),)
            return self.stage(cast(Reduce, node.with_children((*values, *where))), part, guards, enclosing)
        if isinstance(node, Apply) and node.function == "where":
            c, a, b = node.operands
            return node.with_children((
                self.lift(c, part, guards, enclosing),
                self.lift(a, part, (*guards, c), enclosing),
                self.lift(b, part, (*guards, apply("invert", c)), enclosing),
            ))  # fmt: skip
        return node.with_children(tuple(self.lift(c, part, guards, enclosing) for c in node.children))

    def stage(self, node: Reduce, part: Part, guards: tuple[Expr, ...], enclosing: tuple[Axis, ...]) -> Expr:
        if guards and not _safe(node):
            held = guards[0]
            for g in guards[1:]:
                held = held & g
            held = self.lift(held, part, (), enclosing)
            node = Reduce(
                node.reducer, node.values, node.axes, held if node.where is None else held & node.where, *node.args[4:]
            )
        free = set(free_axes(node))
        steps = part.lhs[: self.steps(node, part)]
        axes = [a for a in (*part.axes, *enclosing) if a in free or any(a is s for s in steps)]
        first = self.definition.tensors[0]
        shape, mapping, index = [], {}, []
        for axis in axes:
            whole = isinstance(axis.lo, int) and axis.lo >= 0
            own = axis if whole else Axis(axis.name, 0, axis.extent)
            mapping[axis] = own if whole else own + axis.lo
            index.append(axis if whole else simplify(axis - axis.lo))
            extent = (
                simplify(axis.lo + axis.extent)
                if whole and axis.lo and isinstance(axis.extent, Expr)
                else axis.extent + (axis.lo if whole else 0)
            )
            shape.append(plain(extent))
        lhs = tuple(free_axes(mapping[a])[0] for a in axes)
        key = (node.args[:5], lhs)
        if key not in self.made:
            value = cast(Reduce, substitute(node, cast(Any, {a: m for a, m in mapping.items() if a is not m})))
            names = [f"{first.name}.{node.reducer.name}"] + [
                f"{first.name}.{node.reducer.name}{n}" for n in range(1, node.reducer.components)
            ]
            hidden = tuple(Tensor(name, tuple(shape), None, None, part.location) for name in names)
            values = tuple(Reduce(*value.args[:5], c) for c in range(node.reducer.components))
            definition = define_together(hidden, [Part(lhs, values, part.location)], part.location)
            for n, tensor in enumerate(hidden):
                tensor.known_dtype = values[n].dtype
            stage = Stage(hidden[0].name, hidden, definition.parts)
            definition.lifted = (stage,)
            self.stages.append(stage)
            self.made[key] = hidden[0]
        definition = cast(Definition, self.made[key].definition)
        return Access(definition.tensors[node.component], tuple(index))

    def steps(self, node: Reduce, part: Part) -> int:
        """How many leading axes a reduction that reads the recurrence must keep, so that it runs in step with it."""
        ours = set(self.definition.tensors)
        inside = [n for n in walk(node) if isinstance(n, Access)]
        if not any(depends_on(n.tensor, ours) for n in inside):
            return 0
        deepest = 1
        for read in reads_of(part.values):
            if read.access.tensor in ours:
                known = Known({}, read.guards)
                same = 0
                for own, index in zip(part.lhs, read.access.indices, strict=True):
                    if not prove(apply("equal", index, own), known):
                        break
                    same += 1
                deepest = max(deepest, min(same + 1, len(part.lhs)))
        return deepest


def depends_on(tensor: Tensor, targets: set[Tensor]) -> bool:
    """Whether `tensor` is, or is computed from, one of `targets`."""
    seen: set[Tensor] = set()
    stack = [tensor]
    while stack:
        t = stack.pop()
        if t in targets:
            return True
        if t not in seen:
            seen.add(t)
            stack.extend(n.tensor for part in t.parts for n in walk(*part.expressions) if isinstance(n, Access))
    return False


def _safe(node: Reduce) -> bool:
    """Whether everything a reduction reads is in bounds without the conditions around it."""
    reads = [Read(r.access, r.guards) for r in reads_of((node,))]
    if any(isinstance(n, Access) for r in reads for e in r.access.indices for n in walk(e)):
        return False
    try:
        check_bounds(reads, Known(), None, "")
    except DefinitionError:
        return False
    return True


# Recurrences ----------------------------------------------------------------------------------------------------------


def _check_gaps(definition: Definition) -> None:
    """Every element must have an equation: there is one with axes alone, or whole numbers count out an extent."""
    first = definition.tensors[0]
    if any(all(isinstance(e, Axis) for e in part.lhs) or isinstance(part, ScatterPart) for part in definition.parts):
        return
    choices: list[list[int | None]] = []
    for d, dim in enumerate(first.shape):
        used = sorted({int(e.value) for part in definition.parts if isinstance(e := part.lhs[d], Const)})
        if isinstance(dim, int) and dim <= len(used):
            choices.append([*used[:dim]])
        else:
            choices.append([*used, None])  # None: all the others
    for point in itertools.product(*choices):
        covered = any(
            all(not isinstance(e, Const) or e.value == v for e, v in zip(part.lhs, point, strict=True))
            for part in definition.parts
        )
        if not covered:
            where = ", ".join("…" if v is None else str(v) for v in point)
            have = "; ".join(text_of(part, first) for part in definition.parts)
            raise DefinitionError(
                f"the equations of {first.name} ({have}) leave {first.name}[{where}] without a value: add an "
                f"equation for the rest, e.g. {first.name}[{', '.join('tijk'[: len(point)])}] = …",
                definition.location,
            )


def group_of(stages: dict[Tensor, Stage], order: dict[Stage, tuple[int, int]]) -> Iterator[Group]:
    """Strongly connected components of the stages, in dependency order (Tarjan's algorithm, without recursion); inside
    of one, in the order of definition."""
    index: dict[Stage, int] = {}
    low: dict[Stage, int] = {}
    stack: list[Stage] = []
    on_stack: set[Stage] = set()

    def successors(stage: Stage) -> list[Stage]:
        return [stages[t] for t in stage.reads if t in stages]

    for root in order:
        if root in index:
            continue
        work: list[tuple[Stage, Iterator[Stage]]] = []

        def open_(stage: Stage, work: list[tuple[Stage, Iterator[Stage]]] = work) -> None:
            index[stage] = low[stage] = len(index)
            stack.append(stage)
            on_stack.add(stage)
            work.append((stage, iter(successors(stage))))

        open_(root)
        while work:
            stage, rest = work[-1]
            for nxt in rest:
                if nxt not in index:
                    open_(nxt)
                    break
                if nxt in on_stack:
                    low[stage] = min(low[stage], index[nxt])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[stage])
                if low[stage] == index[stage]:
                    members = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        members.append(member)
                        if member is stage:
                            break
                    members.sort(key=order.__getitem__)
                    recurrent = len(members) > 1 or any(t in stage.reads for t in stage.tensors) or len(stage.parts) > 1
                    yield Group(tuple(members), _depth(tuple(members)) if recurrent else 0)


def _depth(stages: tuple[Stage, ...]) -> int:
    """The smallest number of common leading axes at which every read inside the group is of an earlier step, or, at the
    same step, of a stage that comes before (or of an earlier element of the stage itself).
    """
    position = {t: n for n, stage in enumerate(stages) for t in stage.tensors}
    deepest = min(stage.tensor.rank for stage in stages)
    culprit: tuple[Stage, Part, Read] | None = None
    for depth in range(0 if len(stages) == 1 else 1, deepest + 1):
        culprit = next(
            (
                (stage, part, read)
                for n, stage in enumerate(stages)
                for part in stage.parts
                for read in reads_of(part.expressions)
                if read.access.tensor in position and not _in_time(part, read, depth, position[read.access.tensor] - n)
            ),
            None,
        )
        if culprit is None:
            return (
                max(depth, 1) if any(stage.tensors[0] in stage.reads for stage in stages) or len(stages) > 1 else depth
            )
    names = ", ".join(stage.name for stage in stages)
    location: Location | None = stages[0].parts[0].location
    if culprit is None:
        raise DefinitionError(f"{names} depend on each other, but have no axis in common to step along", location)
    stage, part, read = culprit
    raise DefinitionError(
        f"{names} depend on each other, and `{text(read.access)}` in the equation of {text_of(part, stage.tensor)} "
        "is not an earlier step: a step may read earlier "
        "steps of any of them, and the same step of those defined before it", part.location)  # fmt: skip


def _in_time(part: Part, read: Read, depth: int, later: int) -> bool:
    """Whether a read is ready when the steps of the first `depth` axes are in common. `later`: the read stage's place
    relative to the reader's.
    """
    if is_earlier(part.lhs, read, depth):
        return True
    known = Known({}, read.guards)
    same = all(
        prove(apply("equal", e, i), known) for e, i in zip(part.lhs[:depth], read.access.indices[:depth], strict=True)
    )
    if same and later < 0:
        return True
    return later == 0 and is_earlier(part.lhs, read)


def replace_reads(expr: Expr, mapping: dict[Tensor, Tensor]) -> Expr:
    """`expr` with accesses to the keys of `mapping` turned into accesses, at the same indices, to its values."""
    return rewrite(
        expr, lambda n: Access(mapping[n.tensor], n.indices) if isinstance(n, Access) and n.tensor in mapping else None
    )
