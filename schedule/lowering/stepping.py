"""The loops of a stage, or of stages that step together: recurrences are run step by step, and their single equations
cut out of the loops.

Producers that are computed at one of the loops stand where it opens; at the innermost loop in common, where the stages
take turns, each stands before the first stage that reads it, because it may read what the others have computed in the
same step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from tedsl.lang.errors import LoweringError
from tedsl.lang.expr import Axis, Const, Expr
from tedsl.lang.functions import apply
from tedsl.lang.integers import Known, prove, simplify
from tedsl.lang.tensor import Part
from tedsl.schedule.loop_tree import as_expr
from tedsl.schedule.loops.ir import Buffer, For, Stmt, block
from tedsl.schedule.state import StageState, alone, cut_axes, step_depth

from .context import Lowering, Scope
from .equation import EquationBuilder
from .prefetch import prefetches
from .producers import allocated, computed
from .regions import Box, Frame, Interval, bounds_of, within

Actives = list[tuple[StageState, tuple[Part, ...]]]  # stages, and those of their equations that are meant
Values = dict[int, Expr]  # the dimensions that are settled


class Steps:
    """`stages` step together along their first `depth` axes. `boxes`: the part of each that is computed; all of it
    where there is none.
    """

    def __init__(self, lowering: Lowering, stages: Sequence[StageState], depth: int, boxes: Mapping[str, Box]) -> None:
        self.lowering, self.stages, self.boxes = lowering, list(stages), boxes
        self.cut = (cut_axes(stages[0]) if len(stages) == 1 else None) or {}
        self.depth = step_depth(stages, depth)

    def build(self, scope: Scope) -> Stmt:
        if self.cut:
            return self.cut_out(self.stages[0], scope)
        return self.step([(s, s.parts) for s in self.stages], 0, {}, scope)

    # Several stages, along their common axes --------------------------------------------------------------------------

    def step(self, actives: Actives, d: int, values: Values, scope: Scope) -> Stmt:
        if d == self.depth:
            return block(*(self.equation(s, parts, values, {}, scope) for s, parts in actives if parts))

        names = {s.name: [e.name for e in s.general.lhs[: d + 1] if isinstance(e, Axis)] for s in self.stages}
        places = {(s.name, e.name) for s in self.stages if isinstance(e := s.general.lhs[d], Axis)}
        further = {(s.name, leaf) for s in self.stages for leaf in s.leaves if leaf not in names[s.name]} | places

        def opened(chosen: Actives, value: Expr, inner: Scope) -> Stmt:
            now = {**values, d: value}
            if d + 1 < self.depth:
                return self.at(places, further, chosen, {}, now, inner, lambda i: self.step(chosen, d + 1, now, i))
            return self.turns(places, further, chosen, now, inner)

        return self.along(actives, d, scope, opened)

    def turns(
        self,
        places: set[tuple[str, str]],
        further: set[tuple[str, str]],
        actives: Actives,
        values: Values,
        scope: Scope,
    ) -> Stmt:
        """One step: each stage after the producers that it reads."""
        state = self.lowering.state
        waiting = [s for s in state.stages if s.attach.kind == "at" and (s.attach.stage, s.attach.axis) in places]
        frames = list(self.frames(actives, {}, values, scope, bool(waiting)))
        inside = within(state, further) if waiting else frozenset()
        buffers: list[Buffer] = []
        stmts: list[Stmt] = list(self.requests(places, frames, scope))
        for stage, parts in actives:
            if not parts:
                continue
            own = within(state, {place for place in further - places if place[0] == stage.name})
            made, nests = computed(self.lowering, waiting, [stage.name, *own], frames, inside, scope)
            ready = {b.tensor for b in made}
            waiting = [s for s in waiting if ready.isdisjoint(s.tensors)]
            buffers += made
            stmts += [*nests, self.equation(stage, parts, values, {}, scope)]
        return allocated(self.lowering, buffers, block(*stmts))

    # One stage, in the order of its loops -----------------------------------------------------------------------------

    def cut_out(self, stage: StageState, scope: Scope) -> Stmt:
        """A stage whose equations take turns along the axes `self.cut` (name → dimension), in the order of its loops:
        those outside of the innermost such axis are shared by the equations, the others are each equation's own.
        """
        cut = self.cut
        last = max(stage.leaves.index(name) for name in cut)
        whole = alone(stage, stage.general)
        shared = EquationBuilder(self.lowering, whole, stage.general, {}, self.bounds(stage, stage.general, scope))
        shared.prepare(scope)

        def go(n: int, leaves: dict[str, Expr], values: Values, parts: tuple[Part, ...], now: Scope) -> Stmt:
            if n > last:
                return self.equation(stage, parts, values, leaves, now) if parts else block()
            name = stage.leaves[n]
            place = {(stage.name, name)}
            further = {(stage.name, leaf) for leaf in stage.leaves[n:]}

            def body(chosen: tuple[Part, ...], opened: dict[str, Expr], fixed: Values, inner: Scope) -> Stmt:
                return self.at(
                    place,
                    further,
                    [(stage, chosen)],
                    opened,
                    fixed,
                    inner,
                    lambda i: go(n + 1, opened, fixed, chosen, i),
                )

            if name not in cut:
                return shared.loop(
                    name,
                    stage.leaves[n + 1 :],
                    leaves,
                    now,
                    lambda opened, inner, _: body(parts, opened, values, inner),
                    attach=False,
                )
            return self.along(
                [(stage, parts)],
                cut[name],
                now,
                lambda chosen, value, inner: body(chosen[0][1], leaves, {**values, cut[name]: value}, inner),
            )

        return go(0, {}, {}, stage.parts, scope)

    # Loops ------------------------------------------------------------------------------------------------------------

    def along(self, actives: Actives, d: int, scope: Scope, inner: Callable[[Actives, Expr, Scope], Stmt]) -> Stmt:
        """The steps along dimension d, one range after the other: between the integers that equations name, and at
        these; first as far as all stages go, then what is left of the longer ones.
        """
        known = scope.known
        points = sorted({int(e.value) for _, parts in actives for p in parts if isinstance(e := p.lhs[d], Const)})
        done: Expr = Const(0)
        stmts: list[Stmt | None] = []
        for stop, members in self.lengths(actives, d, known):
            start = done
            for point in points:
                stmts.append(self.along_range(members, d, scope, inner, start, _sooner(Const(point), stop, known)))
                at = _later(Const(point), start, known)
                after = _sooner(Const(point + 1), stop, known)
                stmts.append(self.along_range(members, d, scope, inner, at, after, point))
                start = _later(Const(point + 1), start, known)
            stmts.append(self.along_range(members, d, scope, inner, start, stop))
            done = stop
        return block(*stmts)

    def lengths(self, actives: Actives, d: int, known: Known) -> list[tuple[Expr, Actives]]:
        """Where stages end along dimension d, in ascending order, each with the stages that go as far."""
        ends: list[Expr] = []
        stops: list[Expr] = []
        for stage, _ in actives:
            first, extent = self.span(stage, d)
            stop = simplify(first + extent, known)
            stops.append(stop)
            if any(prove(stop <= e, known) and prove(e <= stop, known) for e in ends):
                continue
            place = 0
            while place < len(ends) and prove(ends[place] <= stop, known):
                place += 1
            if not all(prove(stop <= e, known) for e in ends[place:]):
                names = ", ".join(s.name for s, _ in actives)
                raise LoweringError(
                    f"{names} step together, and which of the extents {', '.join(map(repr, [*ends, stop]))} is the "
                    "largest is not known: give one of the sizes in terms of the other, such as te.tensor(name, "
                    "(n + 1,))", stage.parts[0].location)  # fmt: skip
            ends.insert(place, stop)
        return [(e, [a for a, stop in zip(actives, stops, strict=True) if prove(e <= stop, known)]) for e in ends]

    def along_range(
        self, actives: Actives, d: int, scope: Scope, inner: Callable[[Actives, Expr, Scope], Stmt],
        start: Expr, end: Expr, point: int | None = None,
    ) -> Stmt | None:  # fmt: skip
        """The steps start … end - 1 along dimension d, as far as they are wanted."""
        known = scope.known
        chosen = [
            (s, tuple(p for p in parts if (isinstance(p.lhs[d], Axis) if point is None else _covers(p.lhs[d], point))))
            for s, parts in actives
        ]
        if not any(parts for _, parts in chosen):
            return None
        # lifted stages (their range begins later) say where the equations that they serve begin
        lows = [cast(Axis, p.lhs[d]).lo for _, parts in chosen for p in parts if isinstance(p.lhs[d], Axis)]
        if point is None and lows and all(isinstance(lo, int) for lo in lows):
            start = _later(start, Const(min(cast("list[int]", lows))), known)
        lo = _later(start, self.span(actives[0][0], d)[0], known)
        extent = simplify(end - lo, known)
        if prove(extent <= 0, known):
            return None
        if point is not None and prove(extent >= 1, known):
            return inner(chosen, Const(point), scope)
        if not prove(extent >= 0, known):
            extent = simplify(apply("maximum", extent, 0), known)
        leading = next(e if isinstance(e := p.lhs[d], Axis) else s.axes[0] for s, parts in chosen for p in parts)
        axis = scope.axis(leading.name)
        # what is said of the loop is said of it for all stages that step along it
        loops = [(s, e.name) for s in self.stages if isinstance(e := s.general.lhs[d], Axis)]
        kinds = [kind for s, leaf in loops if (kind := s.kind(leaf)) != "serial"]
        pragmas = dict.fromkeys(text for s, leaf in loops for text in s.mark(leaf).pragmas)
        steps = [step for s, leaf in loops if (step := s.mark(leaf).made_by)]
        return For(
            axis,
            lo,
            extent,
            kinds[0] if kinds else "serial",
            inner(chosen, axis, scope.opened(axis, lo, extent)),
            origin=f"{chosen[0][0].name}.{leading.name}",
            pragmas=tuple(pragmas),
            step_from=steps[0] if steps else "",
        )

    def span(self, stage: StageState, d: int) -> Interval:
        """First value and extent of the steps along dimension d."""
        box = self.boxes.get(stage.name)
        whole = as_expr(stage.tensor.shape[d])
        if box is None:
            return Const(0), whole
        first, extent = box[d]
        return first, simplify(_sooner(first + extent, whole, Known()) - first)

    # Equations --------------------------------------------------------------------------------------------------------

    def equation(
        self, stage: StageState, parts: tuple[Part, ...], values: Values, leaves: dict[str, Expr], scope: Scope
    ) -> Stmt:
        """The first of `parts` (earlier ones come first). `values`: of dimensions that are settled; `leaves`: the loops
        that are open, its outermost.
        """
        part = parts[0]
        fixed = self.fixed(part, values)
        bounds = {name: b for name, b in self.bounds(stage, part, scope).items() if name not in fixed}
        nest = EquationBuilder(self.lowering, alone(stage, part), part, fixed, bounds, self.boxes.get(stage.name))
        return nest.build(scope, leaves)

    def bounds(self, stage: StageState, part: Part, scope: Scope) -> dict[str, Interval]:
        return bounds_of(stage, part, self.boxes.get(stage.name), scope.known)

    def fixed(self, part: Part, values: Values) -> dict[str, Expr]:
        return {e.name: values[d] for d, e in enumerate(part.lhs) if isinstance(e, Axis) and d in values}

    def frames(
        self, actives: Actives, leaves: dict[str, Expr], values: Values, scope: Scope, wanted: bool
    ) -> Iterator[Frame]:
        """The equations that are computed where the dimensions `values` are settled and the loops `leaves` open.
        `wanted`: of all stages, not only of those that prefetch.
        """
        for stage, parts in actives:
            for part in parts if wanted or stage.asks_ahead else ():
                fixed = self.fixed(part, values)
                bounds = self.bounds(stage, part, scope)
                sizes = {name: self.lowering.size(bounds[name][1], scope.known) for name in bounds if name not in fixed}
                own = alone(stage, part)
                open_ = {leaf: value for leaf, value in leaves.items() if leaf in own.leaves}
                yield Frame(own, open_, bounds, sizes, fixed, self.lowering.symbolic)
                if all(isinstance(e, Axis) for d, e in enumerate(part.lhs) if d not in values):
                    break  # the later equations have nothing left to compute here

    def requests(self, places: set[tuple[str, str]], frames: Sequence[Frame], scope: Scope) -> list[Stmt]:
        """What is asked for from memory where the loops `places` open."""
        return [
            stmt
            for f in frames
            for name, leaf in places
            if name == f.stage.name
            for stmt in prefetches(self.lowering, f, leaf, scope)
        ]

    def at(
        self,
        places: set[tuple[str, str]],
        further: set[tuple[str, str]],
        actives: Actives,
        leaves: dict[str, Expr],
        values: Values,
        scope: Scope,
        body: Callable[[Scope], Stmt],
    ) -> Stmt:
        """`body(scope)` after the stages that are computed at the loops `places`; the loops `further` stand in
        these.
        """
        state = self.lowering.state
        producers = [s for s in state.stages if s.attach.kind == "at" and (s.attach.stage, s.attach.axis) in places]
        frames = list(self.frames(actives, leaves, values, scope, bool(producers)))
        asked = self.requests(places, frames, scope)
        if not producers:
            return block(*asked, body(scope))
        inside = within(state, further)
        readers = {*(f.stage.name for f in frames), *inside}
        buffers, nests = computed(self.lowering, producers, readers, frames, inside, scope)
        return allocated(self.lowering, buffers, block(*asked, *nests, body(scope)))


def _later(a: Expr, b: Expr, known: Known) -> Expr:
    """The larger of two."""
    return a if prove(b <= a, known) else b if prove(a <= b, known) else simplify(apply("maximum", a, b), known)


def _sooner(a: Expr, b: Expr, known: Known) -> Expr:
    """The smaller of two."""
    return a if prove(a <= b, known) else b if prove(b <= a, known) else simplify(apply("minimum", a, b), known)


def _covers(index: Expr, point: int) -> bool:
    """Whether an equation with `index` on its left side has a value at `point`."""
    if isinstance(index, Const):
        return bool(index.value == point)
    assert isinstance(index, Axis)
    lo, extent = index.lo, index.extent
    return not (isinstance(lo, int) and point < lo) and not (
        isinstance(lo, int) and isinstance(extent, int) and point >= lo + extent
    )
