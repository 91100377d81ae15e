"""From a schedule to loops.

Each stage becomes a nest of its leaves. A loop's bound carries whatever keeps its axes in range (a split that does not divide bounds its innermost
loop by a min), so no test stands inside. Producers attached to a loop are placed where it opens, over exactly the region that is read there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

from tedsl.lang.errors import LoweringError
from tedsl.lang.expr import Axis, Const, Expr, Reduce
from tedsl.lang.functions import apply
from tedsl.lang.integers import Known, prove
from tedsl.lang.tensor import Dim, Part, Tensor

from .faults import Checks, early_checks
from .ir import Allocate, Buffer, For, Stmt, block
from .nests import Nest, Scope
from .regions import as_expr
from .state import StageState, State, cut_axes, dim, step_depth
from .storage import Storage


@dataclass(slots=True)
class Lowered:
    """Loops before the passes: the statement, the buffers of the arguments by tensor, and every other buffer."""

    stmt: Stmt
    arguments: dict[Tensor, Buffer]
    temporaries: list[Buffer] = field(default_factory=list)


Actives = list[tuple[StageState, tuple[Part, ...]]]  # stages, and those of their equations that are meant


def lower_state(
    state: State, inputs: tuple[Tensor, ...], checks: Checks | None = None, symbolic: bool = False
) -> Lowered:
    """The loop nest of a schedule whose inlined stages are gone. `checks`: the indices to check at run time. `symbolic`: tile factors that are
    sizes are taken to divide (the cost model).

    Raises LoweringError or ScheduleError for what only the whole schedule can tell.
    """
    return _Lowering(state, inputs, checks or Checks(), symbolic).run()


class _Lowering(Storage):
    """Stages in order, recurrences step by step."""

    def run(self) -> Lowered:
        done: set[str] = set()
        stmts: list[Stmt] = []
        allocations: list[Buffer] = []
        for stage in self.state.stages:
            if stage.attach.kind != "root" or stage.name in done:
                continue
            for tensor in stage.tensors:
                if tensor not in self.buffers:
                    allocations.append(
                        self.allocate(stage, tensor, tuple((Const(0), as_expr(d)) for d in tensor.shape), Known())
                    )
            group = self.state.group(stage.name)
            names = group[0] if group else (stage.name,)
            done.update(names)
            members = [self.state.stage(n) for n in names]
            for member in members:
                for tensor in member.tensors:
                    if tensor not in self.buffers:
                        allocations.append(
                            self.allocate(member, tensor, tuple((Const(0), as_expr(d)) for d in tensor.shape), Known())
                        )
            stmts.append(self.steps(members, group[1] if group else 0, Scope(Known(), frozenset(self.used))))
        body = block(early_checks(self.checks, self.load, self.used), *stmts)
        for buffer in reversed(allocations):
            body = Allocate(buffer, body)
        return Lowered(body, self.arguments, self.temporaries)

    # Recurrences -------------------------------------------------------------------------------------------------------------------------

    def steps(self, stages: list[StageState], depth: int, scope: Scope) -> Stmt:
        """Stages that step together along their first `depth` axes; single equations along integers are cut out of the loops."""
        cut = cut_axes(stages[0]) if len(stages) == 1 else None
        if cut:
            return self.cut(stages[0], cut, scope)
        return self.step([(s, s.parts) for s in stages], 0, step_depth(stages, depth), (), scope)

    def step(self, actives: Actives, d: int, depth: int, values: tuple[Expr, ...], scope: Scope) -> Stmt:
        if d == depth:
            return block(
                *(self.equation(stage, parts, dict(enumerate(values)), {}, scope) for stage, parts in actives if parts)
            )
        return self.along(
            actives, d, scope, lambda chosen, value, inner: self.step(chosen, d + 1, depth, (*values, value), inner)
        )

    def cut(self, stage: StageState, cut: dict[str, int], scope: Scope) -> Stmt:
        """A stage whose equations take turns along the axes `cut` (name → dimension), in the order of its loops: those outside of the innermost such
        axis are shared by the equations, the others are each equation's own.
        """
        last = max(stage.leaves.index(name) for name in cut)
        general = stage.general
        shared = Nest(
            self,
            replace(stage, parts=(general,)),
            general,
            {},
            {a.name: (as_expr(a.lo), as_expr(a.extent)) for a in stage.roots},
        )
        shared.prepare(scope)

        def go(n: int, leaves: dict[str, Expr], values: dict[int, Expr], parts: tuple[Part, ...], now: Scope) -> Stmt:
            if n > last:
                return self.equation(stage, parts, values, leaves, now) if parts else block()
            name = stage.leaves[n]
            if name not in cut:
                return shared.loop(
                    name,
                    stage.leaves[n + 1 :],
                    leaves,
                    now,
                    lambda opened, inner, _: go(n + 1, opened, values, parts, inner),
                    attach=False,
                )
            return self.along(
                [(stage, parts)],
                cut[name],
                now,
                lambda chosen, value, inner: go(n + 1, leaves, {**values, cut[name]: value}, chosen[0][1], inner),
            )

        return go(0, {}, {}, stage.parts, scope)

    def along(self, actives: Actives, d: int, scope: Scope, inner: Callable[[Actives, Expr, Scope], Stmt]) -> Stmt:
        """The steps along dimension d, one range after the other: between the integers that equations name, and at these; first as far as all
        stages go, then what is left of the longer ones.
        """
        points = sorted({int(e.value) for _, parts in actives for p in parts if isinstance(e := p.lhs[d], Const)})
        stmts: list[Stmt | None] = []
        done: Dim = 0
        for extent, members in _lengths(actives, d):
            start = done
            for point in [*points, None]:
                end = extent if point is None else _sooner(extent, point)
                stmts.append(self.along_range(members, d, scope, inner, start, end))
                if point is None or (isinstance(extent, int) and point >= extent):
                    continue
                if isinstance(extent, int) and isinstance(start, int):
                    if point >= start:
                        chosen = [(s, tuple(p for p in parts if _covers(p.lhs[d], point))) for s, parts in members]
                        stmts.append(inner(chosen, Const(point), scope))
                else:  # the point may lie outside: a loop of one step or none
                    first, end = _later(start, point), _sooner(extent, point + 1)
                    stmts.append(self.along_range(members, d, scope, inner, first, end, point))
                start = _later(start, point + 1)
            done = extent
        return block(*stmts)

    def along_range(self, actives: Actives, d: int, scope: Scope, inner: Callable[[Actives, Expr, Scope], Stmt], start: Dim, end: Dim,
                    point: int | None = None) -> Stmt | None:  # fmt: skip
        """The steps start … end - 1 along dimension d."""
        if isinstance(start, int) and isinstance(end, int) and end <= start:
            return None
        chosen = [
            (s, tuple(p for p in parts if (isinstance(p.lhs[d], Axis) if point is None else _covers(p.lhs[d], point))))
            for s, parts in actives
        ]
        if not any(parts for _, parts in chosen):
            return None
        # lifted stages (their range begins later) say where the equations that they serve begin
        lows = [cast(Axis, p.lhs[d]).lo for _, parts in chosen for p in parts if isinstance(p.lhs[d], Axis)]
        if point is None and lows and all(isinstance(lo, int) for lo in lows):
            start = _later(start, min(cast("list[int]", lows)))
        leading = next(e if isinstance(e := p.lhs[d], Axis) else s.axes[0] for s, parts in chosen for p in parts)
        axis = scope.axis(leading.name)
        whole = isinstance(start, int) and isinstance(end, int)
        extent = as_expr(dim(as_expr(end) - start) if whole else dim(apply("maximum", end - as_expr(start), 0)))
        lo = as_expr(start)
        stage = chosen[0][0]
        kind = stage.kind(leading.name) if stage.root(leading.name) is not None else "serial"
        return For(
            axis,
            lo,
            extent,
            kind,
            inner(chosen, axis, scope.opened(axis, lo, extent)),
            origin=f"{stage.name}.{leading.name}",
        )

    def equation(
        self, stage: StageState, parts: tuple[Part, ...], values: dict[int, Expr], leaves: dict[str, Expr], scope: Scope
    ) -> Stmt:
        """The first of `parts` (earlier ones come first). `values`: of dimensions that are settled; `leaves`: the loops that are open, its outermost."""
        part = parts[0]
        if part is not stage.general:  # it has the same axes, less those along which it is a single step
            own = {a.name for a in part.axes}
            reduced = part.values[0].axes or () if isinstance(part.values[0], Reduce) else ()
            data = (leaf for leaf in stage.leaves if stage.origin(leaf) <= own)
            stage = replace(stage, leaves=(*data, *(a.name for a in reduced)))
        stage = replace(stage, parts=(part,))
        fixed = {e.name: values[d] for d, e in enumerate(part.lhs) if isinstance(e, Axis) and d in values}
        bounds = {a.name: (as_expr(a.lo), as_expr(a.extent)) for a in stage.roots if a.name not in fixed}
        return Nest(self, stage, part, fixed, bounds).build(scope, leaves)


def _lengths(actives: Actives, d: int) -> list[tuple[Dim, Actives]]:
    """The extents of stages along dimension d, in ascending order, each with the stages that go as far."""
    extents: list[Dim] = []
    for stage, _ in actives:
        extent = stage.tensor.shape[d]
        if any(_at_most(extent, e) and _at_most(e, extent) for e in extents):
            continue
        place = 0
        while place < len(extents) and _at_most(extents[place], extent):
            place += 1
        if not all(_at_most(extent, e) for e in extents[place:]):
            names = ", ".join(s.name for s, _ in actives)
            raise LoweringError(
                f"{names} step together, and which of the extents {', '.join(map(repr, [*extents, extent]))} is the largest is not known: give one of "
                "the sizes in terms of the other, such as te.tensor(name, (n + 1,))", stage.parts[0].location
            )  # fmt: skip
        extents.insert(place, extent)
    return [(e, [(s, parts) for s, parts in actives if _at_most(e, s.tensor.shape[d])]) for e in extents]


def _at_most(a: Dim, b: Dim) -> bool:
    """Whether ``a <= b`` is certain."""
    return a is b or (a <= b if isinstance(a, int) and isinstance(b, int) else prove(apply("less_equal", a, b)))


def _later(a: Dim, b: Dim) -> Dim:
    """The larger of two."""
    return b if _at_most(a, b) else a if _at_most(b, a) else dim(apply("maximum", a, b))


def _sooner(a: Dim, b: Dim) -> Dim:
    """The smaller of two."""
    return a if _at_most(a, b) else b if _at_most(b, a) else dim(apply("minimum", a, b))


def _covers(index: Expr, point: int) -> bool:
    """Whether an equation with `index` on its left side has a value at `point`."""
    if isinstance(index, Const):
        return bool(index.value == point)
    assert isinstance(index, Axis)
    lo, extent = index.lo, index.extent
    return not (isinstance(lo, int) and point < lo) and not (
        isinstance(lo, int) and isinstance(extent, int) and point >= lo + extent
    )
