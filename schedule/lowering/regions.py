"""Which part of a producer its readers need, inside a loop of one of them: exact bounds for affine accesses.

The loops that are open (the one it is attached to and those around it) stay symbolic; everything further in runs over
its range.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tedsl.lang.definition import reads_of
from tedsl.lang.expr import Axis, Const, Expr, Reduce, Var, free_axes, reads_tensors, substitute, walk
from tedsl.lang.functions import apply
from tedsl.lang.integers import Known, lower, prove, simplify, upper
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Dim, Part, Tensor
from tedsl.schedule.loop_tree import Split, as_expr, whole_blocks
from tedsl.schedule.state import StageState, State, plain_axes, reads

Interval = tuple[Expr, Expr]  # first value, extent
Box = tuple[Interval, ...]  # one for each dimension of a tensor


@dataclass(frozen=True, slots=True)
class Frame:
    """An equation whose loops are (in part) open: the values of the open loops by name, and where its own axes begin
    and how far they run.

    `stage`: its stage, with this equation alone; `bounds`: first value and true extent of each of its axes; `sizes`:
    the extents for which its splits are laid out (constants where possible); `fixed`: the values of axes that are
    settled, which have no loop; `divides`: tile factors are taken to divide.
    """

    stage: StageState
    open: Mapping[str, Expr]
    bounds: Mapping[str, Interval]
    sizes: Mapping[str, Dim]
    fixed: Mapping[str, Expr]
    divides: bool = False


def clipped_to(axis: Axis, interval: Interval, dim: Dim, known: Known) -> Interval:
    """The part of an interval of a dimension of extent `dim` that an axis along it runs over."""
    first, extent = interval
    if isinstance(axis.lo, int) and axis.lo == 0 and (axis.extent is dim or axis.extent == dim):
        return interval
    lo, stop = as_expr(axis.lo), simplify(as_expr(axis.lo) + as_expr(axis.extent))
    begin = first if prove(first >= lo, known) else simplify(apply("maximum", first, lo), known)
    end = simplify(first + extent, known)
    end = end if prove(end <= stop, known) else simplify(apply("minimum", end, stop), known)
    return begin, simplify(end - begin, known)


def bounds_of(stage: StageState, part: Part, box: Box | None, known: Known) -> dict[str, Interval]:
    """First value and extent of each axis of an equation that computes the part `box` (None: all) of a tensor."""
    found: dict[str, Interval] = {}
    reduced = part.values[0].axes or () if isinstance(part.values[0], Reduce) else ()
    for axis in (*part.axes, *reduced):
        found[axis.name] = as_expr(axis.lo), as_expr(axis.extent)
    if box is not None:
        for axis, d in plain_axes(part).items():
            found[axis.name] = clipped_to(axis, box[d], stage.tensor.shape[d], known)
    return found


def intervals(frame: Frame, known: Known) -> dict[str, Interval]:
    """First value and extent of each axis of an equation while its open loops stand still and the others run."""
    stage = frame.stage
    tree = stage.tree(frame.sizes)
    leaves: dict[str, Expr] = dict(frame.open)
    ranges: dict[Axis, tuple[int | Expr, int | Expr]] = {}
    for leaf in stage.leaves:
        if leaf not in leaves and leaf not in frame.fixed:
            axis = Axis(f"{stage.name}:{leaf}")
            leaves[leaf] = axis
            ranges[axis] = (0, tree.extent(leaf))
    result: dict[str, Interval] = {name: (value, Const(1)) for name, value in frame.fixed.items()}
    inner = known.with_(ranges=ranges) if ranges else known
    for root in stage.roots:
        if root.name in frame.fixed:
            continue
        lo, extent = frame.bounds[root.name]
        value = simplify(tree.value(root.name, leaves), inner)
        moving = [a for a in ranges if any(n is a for n in free_axes(value))]
        if not moving:
            result[root.name] = (simplify(lo + value, known), Const(1))
            continue
        first, last = lower(value, moving, inner), upper(value, moving, inner)
        if first is None or last is None:
            result[root.name] = (lo, extent)
            continue
        if frame.divides and any(isinstance(n, Var) for n in walk(first, last, extent)):
            result[root.name] = (simplify(lo + first, known), whole_blocks(last + 1 - first))
            continue
        length = simplify(last + 1 - first, known)
        for stop in (*inner_ends(frame, root.name, leaves, moving, inner), extent):
            other = simplify(stop - first, known)
            if not prove(length <= other, known):
                length = other if prove(other <= length, known) else apply("minimum", length, other)
        result[root.name] = (simplify(lo + first, known), simplify(length, known))
    return result


def inner_ends(
    frame: Frame, root: str, leaves: Mapping[str, Expr], moving: Sequence[Axis], known: Known
) -> Iterator[Expr]:
    """Where the tiles within a tile end, which they need not divide: the value of a root behind the last one, for each
    of its loops that is split again and moves.
    """
    tree = frame.stage.tree(frame.sizes)
    splits = [r for r in tree.relations if isinstance(r, Split)]
    again = {r.parent for r in splits}
    whole = tree.value(root, leaves)
    for r in splits:
        if r.inner in again:
            tile = tree.value(r.inner, leaves)
            if any(a in moving for a in free_axes(tile)):
                end = as_expr(tree.extent(r.inner)) - 1
                value = tree.value(root, {**leaves, r.inner: end})
                last = upper(simplify(value, known), moving, known) if value is not whole else None
                if last is not None:
                    yield last + 1


def within(state: State, places: set[tuple[str, str]]) -> frozenset[str]:
    """The stages computed at the loops `places` (stage, loop), directly or through others."""
    names: set[str] = set()
    changed = True
    while changed:
        changed = False
        for s in state.stages:
            at = s.attach
            if s.name not in names and at.kind == "at" and ((at.stage, at.axis) in places or at.stage in names):
                names.add(s.name)
                changed = True
    return frozenset(names)


class Regions:
    """What the equations `frames` (and the stages `inside` their loops) read of the stages that are computed inside."""

    def __init__(self, state: State, frames: Sequence[Frame], inside: frozenset[str], known: Known) -> None:
        self.state, self.frames, self.inside, self.known = state, frames, inside, known
        self.divides = any(f.divides for f in frames)
        self.spans = [intervals(f, known) for f in frames]
        self.found: dict[str, Box | None] = {}

    def of(self, stage: StageState) -> Box | None:
        """First value and extent in each dimension; None when nobody inside reads it."""
        if stage.name not in self.found:
            group = self.state.group(stage.name)
            names = [n for n in group[0] if n in self.inside] if group else [stage.name]
            own = group is not None and any(f.stage.name in group[0] for f in self.frames)
            depth = group[1] if group is not None and not own else 0
            self.found |= _Union(self, [self.state.stage(n) for n in names], depth).boxes()
        return self.found[stage.name]

    def readers(self, unit: set[str]) -> Iterator[tuple[Part, Mapping[str, Interval]]]:
        """Every equation inside that is not of `unit`, with the ranges of its axes."""
        for frame, spans in zip(self.frames, self.spans, strict=True):
            for part in frame.stage.parts:
                yield part, spans
        wanted = {t for n in unit for t in self.state.stage(n).tensors}
        for reader in self.state.stages:
            if reader.name in self.inside and reader.name not in unit and not wanted.isdisjoint(reads(reader)):
                box = self.of(reader)
                if box is not None:
                    for part in reader.parts:
                        yield part, bounds_of(reader, part, box, self.known)


class _Union:
    """What is read of stages that may read each other. A bound that grows after it has been used to find what is read
    elsewhere becomes that of the whole tensor, so that the search ends; the first `depth` dimensions, along which the
    stages step together, are the same for all, except that each stage ends where it is read last, if that can be told.
    """

    def __init__(self, regions: Regions, stages: list[StageState], depth: int) -> None:
        self.regions, self.stages, self.depth, self.known = regions, stages, depth, regions.known
        self.hull: dict[tuple[str, int], tuple[Expr, Expr]] = {}  # first and last index, by stage and dimension
        self.used: set[tuple[str, int]] = set()
        self.read: set[str] = set()
        self.ends: dict[tuple[str, int], Expr] = {}  # the last step that is read, by stage and dimension

    def key(self, stage: StageState, d: int) -> tuple[str, int]:
        return ("", d) if d < self.depth else (stage.name, d)

    def boxes(self) -> dict[str, Box | None]:
        for part, spans in self.regions.readers({s.name for s in self.stages}):
            self.add(part, spans)
        changed = True
        while changed:
            changed = False
            for stage in reversed(self.stages):
                if stage.name in self.read:
                    keys = [self.key(stage, d) for d in range(stage.tensor.rank)]
                    self.used.update(keys)
                    for part in stage.parts:
                        changed |= self.add(part, bounds_of(stage, part, self.box(stage), self.known))
        if self.depth and len(self.stages) > 1:
            self.ends = self.last_steps()
        return {s.name: self.box(s) if s.name in self.read else None for s in self.stages}

    def box(self, stage: StageState) -> Box:
        result = []
        for d in range(stage.tensor.rank):
            first, last = self.hull[self.key(stage, d)]
            last = self.ends.get((stage.name, d), last)
            end = as_expr(stage.tensor.shape[d]) - 1
            if d < self.depth and not prove(last <= end, self.known):  # of stages of different lengths
                last = simplify(apply("minimum", last, end), self.known)
            extent = simplify(last - first + 1, self.known)
            if (stage.name, d) in self.ends and not prove(extent >= 0, self.known):  # of a stage that is read later on
                extent = simplify(apply("maximum", extent, 0), self.known)
            result.append((first, whole_blocks(extent) if self.regions.divides else extent))
        return tuple(result)

    def last_steps(self) -> dict[tuple[str, int], Expr]:
        """Where each stage is read last: by the readers outside, and by the stages whose own last steps are these.

        A step reads the same or earlier ones, so the way from one stage to another that leads furthest passes none
        twice, and as many rounds as there are stages find it. A dimension along which that is not so, or where it is
        not known which stage goes further, keeps what is the same for all.
        """
        before: dict[tuple[str, int], Expr] = {}
        self.ends = {}
        for part, spans in self.regions.readers({s.name for s in self.stages}):
            self.read_last(part, spans)
        for _ in self.stages:
            before = dict(self.ends)
            for stage in reversed(self.stages):
                if (stage.name, 0) in self.ends:
                    for part in stage.parts:
                        self.read_last(part, bounds_of(stage, part, self.box(stage), self.known))
        found: dict[tuple[str, int], Expr] = {}
        for d in range(self.depth):
            all_ends = {s.name: self.ends[s.name, d] for s in self.stages if (s.name, d) in self.ends}
            settled = all(before.get((name, d)) is end for name, end in all_ends.items())
            if settled and self.ordered([*all_ends.values(), self.hull["", d][1]]):
                found |= {(name, d): end for name, end in all_ends.items()}
        return found

    def read_last(self, part: Part, spans: Mapping[str, Interval]) -> None:
        """Take in the last steps that an equation reads."""
        for stage, reach in self.reaches(part, spans):
            for d, (_, last) in enumerate(reach[: self.depth]):
                known = self.ends.get((stage.name, d), last)
                if not prove(last <= known, self.known):
                    known = simplify(apply("maximum", known, last), self.known)
                self.ends[stage.name, d] = known

    def ordered(self, ends: Sequence[Expr]) -> bool:
        """Whether it is known of any two which is the later, and that none is later than the last of `ends`."""
        pairs = ((a, b) for n, a in enumerate(ends) for b in ends[:n])
        two_ways = all(prove(a <= b, self.known) or prove(b <= a, self.known) for a, b in pairs)
        return two_ways and all(prove(e <= ends[-1], self.known) for e in ends)

    def reaches(
        self, part: Part, spans: Mapping[str, Interval]
    ) -> Iterator[tuple[StageState, list[tuple[Expr, Expr]]]]:
        """First and last index, in each dimension, of each read of one of the stages."""
        for stage in self.stages:
            # where data decides what is written, any element may be, so the whole of these dimensions is there
            apart = plain_axes(stage.general).values() if isinstance(stage.general, ScatterPart) else None
            for reach in reached(part, spans, stage.tensors, self.known, apart):
                yield stage, reach

    def add(self, part: Part, spans: Mapping[str, Interval]) -> bool:
        """Take in what an equation reads. Whether anything has changed."""
        changed = False
        for stage, reach in self.reaches(part, spans):
            changed |= stage.name not in self.read
            self.read.add(stage.name)
            for d, ends in enumerate(reach):
                changed |= self.join(self.key(stage, d), ends, stage.tensor.shape[d])
        return changed

    def join(self, key: tuple[str, int], ends: tuple[Expr, Expr], dim: Dim) -> bool:
        before = self.hull.get(key)
        if before is None:
            self.hull[key] = ends
            return True
        first, last = before
        if key not in self.used:
            first, last = apply("minimum", first, ends[0]), apply("maximum", last, ends[1])
        else:
            if not prove(ends[0] >= first, self.known):
                first = Const(0)
            if not prove(ends[1] <= last, self.known):
                last = as_expr(dim) - 1
        now = simplify(first, self.known), simplify(last, self.known)
        self.hull[key] = now
        return now[0] is not before[0] or now[1] is not before[1]


def reached(
    part: Part,
    spans: Mapping[str, Interval],
    tensors: Sequence[Tensor],
    known: Known,
    apart: Container[int] | None = None,
) -> Iterator[list[tuple[Expr, Expr]]]:
    """First and last index, in each dimension, of each read of `tensors` in an equation whose axes run over `spans`. Of
    the dimensions that are not `apart`, if it is given, all is wanted.
    """
    wanted = [read for read in reads_of(part.expressions) if read.access.tensor in tensors]
    if not wanted:
        return
    places = {name: Axis(f"read.{name}") for name in spans}
    inner = known.with_(ranges={p: spans[name] for name, p in places.items()})
    mapping: dict[Expr, Expr] = {a: places[a.name] for a in _axes(part) if a.name in places}
    for read in wanted:
        reach = []
        for d, index in enumerate(read.access.indices):
            dim = as_expr(read.access.tensor.shape[d])
            index = substitute(index, mapping)
            moving = [p for p in places.values() if any(n is p for n in free_axes(index))]
            first = last = None
            if not reads_tensors(index) and (apart is None or d in apart):
                first, last = (lower(index, moving, inner), upper(index, moving, inner)) if moving else (index, index)
            if first is None or last is None:
                first, last = Const(0), simplify(dim - 1)
            elif read.guards:  # the guard, not the index, keeps it in bounds
                if not prove(first >= 0, inner):
                    first = apply("maximum", first, 0)
                if not prove(last < dim, inner):
                    last = apply("minimum", last, dim - 1)
            reach.append((simplify(first, known), simplify(last, known)))
        yield reach


def _axes(part: Part) -> tuple[Axis, ...]:
    value = part.values[0]
    return (*part.axes, *(value.axes or () if isinstance(value, Reduce) else ()))
