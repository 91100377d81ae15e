"""The loops of one equation of a stage: their bounds, the values of its axes in them, and the producers inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tedsl.lang.expr import Axis, Const, Expr, Reduce, Var, apply, reads_tensors, substitute, walk
from tedsl.lang.integers import Known, joined, prove, simplify, solve
from tedsl.lang.integers import conjuncts as conjuncts_of
from tedsl.lang.tensor import Dim, Part, Tensor
from tedsl.schedule.loop_tree import LoopTree, Split, as_expr, loops_of, whole_blocks
from tedsl.schedule.loops.ir import Buffer, For, If, Stmt, block
from tedsl.schedule.state import StageState

from .context import Lowering, Scope
from .prefetch import prefetches
from .producers import allocated, computed
from .regions import Box, Frame, Interval, within

Body = Callable[[dict[str, Expr], Scope, "Expr | None"], Stmt]
Cell = Callable[[int, dict[str, Expr], Scope], "tuple[Buffer, tuple[Expr, ...]]"]


class EquationLoops:
    """The loops of one equation of a stage. `fixed`: axes whose value is given; `bounds`: first value and true extent
    of the others; `box`: the part of the tensor that is computed (None: all).
    """

    def __init__(
        self,
        lowering: Lowering,
        stage: StageState,
        part: Part,
        fixed: dict[str, Expr],
        bounds: dict[str, Interval],
        box: Box | None = None,
    ) -> None:
        self.lowering, self.stage, self.part, self.fixed, self.bounds = lowering, stage, part, fixed, bounds
        self.box = box
        self.leaves = tuple(leaf for leaf in stage.leaves if leaf not in fixed)
        self.reduction = part.values[0] if isinstance(part.values[0], Reduce) else None
        self.sizes: dict[str, Dim] = {}
        self.calls = stage.tensorized  # the loop from which on an intrinsic takes over

    @property
    def tree(self) -> LoopTree:
        return self.stage.tree(self.sizes)

    def prepare(self, scope: Scope) -> None:
        """Find out the extents for which the loops are laid out, and what is computed in them."""
        for root in self.stage.roots:
            if root.name not in self.fixed:
                self.sizes[root.name] = self.lowering.size(self.bounds[root.name][1], scope.known)
        self.first = next(
            (n for n, leaf in enumerate(self.leaves) if self.stage.is_reduction_loop(leaf)), len(self.leaves)
        )
        self.attached: dict[str, list[StageState]] = {}
        for s in self.lowering.state.inside_of(self.stage.name):
            self.attached.setdefault(s.attach.axis, []).append(s)

    def loop(
        self,
        name: str,
        rest: tuple[str, ...],
        leaves: dict[str, Expr],
        scope: Scope,
        body: Body,
        where: Expr | None = None,
        attach: bool = True,
    ) -> Stmt:
        """The loop `name` around what is attached to it and `body(leaves, scope, rest of where)`; the loops `rest`
        stand further in.
        """
        axis = scope.axis(name)
        now = {**leaves, name: axis}
        lo, extent, step, guards, remaining = self.bounded(axis, name, rest, now, scope, where)
        inner = scope.opened(axis, lo, extent, step)

        def inside(i: Scope) -> Stmt:
            asked = prefetches(self.lowering, self.frame(now), name, i, step) if attach else ()
            return block(*asked, body(now, i, remaining))

        made = self.produce(self.attached.get(name, []) if attach else [], now, inner, inside)
        if guards:
            made = If(simplify(joined(guards), inner.known), made)
        mark = self.stage.mark(name)
        origin = f"{self.stage.name}.{name}"
        return For(axis, lo, extent, mark.kind, made, step, origin, mark.pragmas, mark.made_by)

    def bounded(
        self, axis: Axis, name: str, rest: tuple[str, ...], now: dict[str, Expr], scope: Scope, where: Expr | None
    ) -> tuple[Expr, Expr, int, list[Expr], Expr | None]:
        """First value, extent and step of the loop `name`, what of its constraints is left for a test, and the rest of
        `where`. Its bounds keep every axis in range whose innermost loop it is, and say of `where` what can be said.
        """
        size = self.bounds[name][1] if self.stage.root(name) is not None else as_expr(self.tree.extent(name))
        lo: Expr = Const(0)
        hi, step = size, 1
        guards: list[Expr] = []
        probe = scope.known.with_(ranges={axis: (0, size)})
        for constraint in self.constraints(now, rest, name):
            if prove(constraint, probe):
                continue
            solution = solve(constraint, axis, probe)
            if solution is not None and solution.rest is None and solution.step == 1:
                lo, hi = simplify(apply("maximum", lo, solution.lo)), simplify(apply("minimum", hi, solution.hi))
            else:
                guards.append(constraint)
        if where is not None:
            lo, hi, step, where = self.filtered(substitute(where, self.mapping(now)), axis, lo, hi, probe)
        extent = simplify(hi - lo, scope.known)
        if self.lowering.symbolic and any(isinstance(n, Var) for n in walk(extent)):
            extent = whole_blocks(extent)
        elif not prove(extent >= 0, scope.known):
            extent = simplify(apply("maximum", extent, 0), scope.known)
        if step != 1:
            extent = simplify((extent + (step - 1)) // step, scope.known)
        return lo, extent, step, guards, where

    def constraints(self, leaves: dict[str, Expr], rest: tuple[str, ...], name: str) -> list[Expr]:
        """What must hold from loop `name` on so that every axis stays in its range: those conditions whose innermost
        loop it is.

        Only a split lays out more than there is. The axes of a fused loop are in range where it is, by the extents that
        it was made of.
        """
        stage, found = self.stage, []
        laid_out: list[str] = []
        for r in stage.relations:
            if isinstance(r, Split):
                laid_out.append(r.parent)
            else:  # axes of the stage itself may be laid out for more than they have
                laid_out += [a for a in r.given if stage.root(a) is not None and not self.exact(a)]
        for parent in laid_out:
            involved = self.involved(parent)
            if parent in leaves or name not in involved or involved & set(rest):
                continue
            own = stage.root(parent) is not None
            extent = self.bounds[parent][1] if own else as_expr(self.tree.extent(parent))
            found.append(self.tree.value(parent, leaves) < extent)
        symbolic = self.lowering.symbolic  # blocks of symbolic sizes, or in a symbolic number, are taken to fit
        return [c for c in found if isinstance(c, Expr) and not (symbolic and any(isinstance(n, Var) for n in walk(c)))]

    def exact(self, root: str) -> bool:
        """Whether the loops of an axis are laid out for the extent that it has."""
        return as_expr(self.sizes[root]) is self.bounds[root][1]

    def involved(self, name: str) -> set[str]:
        """The leaves that an axis or loop is made of."""
        return set(loops_of(self.stage.relations, self.leaves, name))

    def filtered(
        self, where: Expr, axis: Axis, lo: Expr, hi: Expr, known: Known
    ) -> tuple[Expr, Expr, int, Expr | None]:
        """Bounds and step of a loop over those values at which the affine part of `where` holds, and what remains of
        it.
        """
        mine: list[Expr] = []
        others: list[Expr] = []
        for part in conjuncts_of(where):
            (mine if any(n is axis for n in walk(part)) and not reads_tensors(part) else others).append(part)
        if mine:
            solution = solve(joined(mine), axis, known.with_(ranges={axis: (lo, hi - lo)}))
            if solution is not None:
                remaining = [*others, *([] if solution.rest is None else [solution.rest])]
                return solution.lo, solution.hi, solution.step, joined(remaining) if remaining else None
        return lo, hi, 1, where

    # Values -----------------------------------------------------------------------------------------------------------

    def mapping(self, leaves: dict[str, Expr]) -> dict[Expr, Expr]:
        """Axes of the equation → values of the loops."""
        result: dict[Expr, Expr] = {}
        for root in self.stage.roots:
            if root.name in self.fixed:
                result[root] = self.fixed[root.name]
            elif self.involved(root.name) <= set(leaves):
                lo = self.bounds[root.name][0]
                local = self.tree.value(root.name, leaves)
                result[root] = local if isinstance(lo, Const) and lo.value == 0 else local + lo
        return result

    def target(self, tensor: Tensor, mapping: Mapping[Expr, Expr], scope: Scope) -> tuple[Buffer, tuple[Expr, ...]]:
        buffer, indices = self.lowering.place(tensor, tuple(mapping.get(e, e) for e in self.part.lhs))
        return buffer, tuple(simplify(i, scope.known) for i in indices)

    def at_target(self, component: int, leaves: dict[str, Expr], scope: Scope) -> tuple[Buffer, tuple[Expr, ...]]:
        """Where the element is that the loops are at."""
        return self.target(self.stage.tensors[component], self.mapping(leaves), scope)

    def nested(
        self,
        names: tuple[str, ...],
        leaves: dict[str, Expr],
        scope: Scope,
        body: Callable[[dict[str, Expr], Scope], Stmt],
    ) -> Stmt:
        """The loops `names` around `body(leaves, scope)`, without what is attached to them."""
        if not names:
            return body(leaves, scope)
        return self.loop(
            names[0],
            names[1:],
            leaves,
            scope,
            lambda now, inner, _: self.nested(names[1:], now, inner, body),
            attach=False,
        )

    # Producers --------------------------------------------------------------------------------------------------------

    def frame(self, leaves: dict[str, Expr]) -> Frame:
        """The equation where the loops `leaves` are open."""
        return Frame(self.stage, leaves, self.bounds, self.sizes, self.fixed, self.lowering.symbolic)

    def produce(
        self, producers: list[StageState], leaves: dict[str, Expr], scope: Scope, body: Callable[[Scope], Stmt]
    ) -> Stmt:
        """The nests of the stages attached here, then `body(scope)`, inside of their allocations."""
        if not producers:
            return body(scope)
        inner = self.leaves[self.leaves.index(producers[0].attach.axis) :]
        inside = within(self.lowering.state, {(self.stage.name, leaf) for leaf in inner})
        readers = [self.stage.name, *inside]
        buffers, nests = computed(self.lowering, producers, readers, [self.frame(leaves)], inside, scope)
        return allocated(self.lowering, buffers, block(*nests, body(scope)))
