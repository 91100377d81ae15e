"""One equation of a stage as a loop nest: its loops with their bounds, its reduction, and the producers that are
computed inside of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tedsl.lang.expr import Access, Axis, Const, Expr, Reduce, Var, apply, substitute, walk
from tedsl.lang.integers import Known, joined, prove, simplify, solve
from tedsl.lang.integers import conjuncts as conjuncts_of
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Dim, Part, Tensor
from tedsl.lang.typed import typed
from tedsl.schedule.loops.ir import Allocate, Buffer, For, If, Stmt, Store, block
from tedsl.schedule.state import Split, StageState, unique, whole_blocks

from .index_checks import assertion
from .intrinsic_calls import intrinsic_call
from .positions import first_of_few, first_position, in_order
from .prefetch import prefetches
from .producers import allocated, computed
from .regions import Box, Frame, Interval, as_expr, local_value, within

if TYPE_CHECKING:
    from .context import Lowering


@dataclass(slots=True)
class Scope:
    """The loops that are open: what is known of their axes, and which names are taken."""

    known: Known
    names: frozenset[str]

    def opened(self, axis: Axis, lo: Expr, extent: Expr, step: int = 1) -> Scope:
        ranges: dict[Axis, tuple[int | Expr, int | Expr]] = {
            axis: (lo, extent if step == 1 else (extent - 1) * step + 1)
        }
        return Scope(self.known.with_(ranges=ranges), self.names | {axis.name})

    def axis(self, name: str) -> Axis:
        return Axis(unique(name, set(self.names)))


Body = Callable[[dict[str, Expr], Scope, "Expr | None"], Stmt]
Cell = Callable[[int, dict[str, Expr], Scope], "tuple[Buffer, tuple[Expr, ...]]"]


class Nest:
    """One equation of a stage as a loop nest. `fixed`: axes whose value is given; `bounds`: first value and true extent
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
        self.calls = (
            stage.tensorized[0][0] if stage.tensorized else None
        )  # the loop from which on an intrinsic takes over

    def build(self, scope: Scope, leaves: dict[str, Expr] | None = None) -> Stmt:
        """The nest; `leaves`: its outermost loops, when they are open already."""
        self.prepare(scope)
        if isinstance(self.part, ScatterPart):
            return self.scatter(self.part, scope)
        return self.open(len(leaves or ()), leaves or {}, scope)

    def prepare(self, scope: Scope) -> None:
        """Find out the extents for which the loops are laid out, and what is computed in them."""
        for root in self.stage.roots:
            if root.name not in self.fixed:
                self.sizes[root.name] = self.lowering.size(self.bounds[root.name][1], scope.known)
        self.first = next(
            (n for n, leaf in enumerate(self.leaves) if self.stage.is_reduction_loop(leaf)), len(self.leaves)
        )
        self.attached: dict[str, list[StageState]] = {}
        for s in self.lowering.state.stages:
            if s.attach.kind == "at" and s.attach.stage == self.stage.name:
                self.attached.setdefault(s.attach.axis, []).append(s)

    # Loops ------------------------------------------------------------------------------------------------------------

    def open(self, n: int, leaves: dict[str, Expr], scope: Scope) -> Stmt:
        """The loops from the n-th on. At the first reduction loop the accumulators are set up."""
        if n == self.first and self.reduction is not None:
            return self.reduce(n, leaves, scope)
        if n == len(self.leaves):
            return self.store(leaves, scope)
        if self.leaves[n] == self.calls:
            return intrinsic_call(self, leaves, scope, lambda: self.open(n, leaves, scope), None)
        return self.loop(
            self.leaves[n], self.leaves[n + 1 :], leaves, scope, lambda now, inner, _: self.open(n + 1, now, inner)
        )

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

        Its bounds keep every axis in range whose innermost loop it is, and say of `where` what can be said.
        """
        axis = scope.axis(name)
        now = {**leaves, name: axis}
        size = (
            self.bounds[name][1] if self.stage.root(name) is not None else as_expr(self.stage.extent(name, self.sizes))
        )
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
        remaining = where
        if where is not None:
            lo, hi, step, remaining = self.filtered(substitute(where, self.mapping(now)), axis, lo, hi, probe)
        extent = simplify(hi - lo, scope.known)
        if self.lowering.symbolic and any(isinstance(n, Var) for n in walk(extent)):
            extent = whole_blocks(extent)
        elif not prove(extent >= 0, scope.known):
            extent = simplify(apply("maximum", extent, 0), scope.known)
        if step != 1:
            extent = simplify((extent + (step - 1)) // step, scope.known)
        inner = scope.opened(axis, lo, extent, step)
        producers = self.attached.get(name, []) if attach else []
        made = self.produce(
            producers,
            now,
            inner,
            lambda i: block(
                *(
                    prefetches(self.lowering, self.frame(now), name, i, step)
                    if attach and self.stage.prefetches
                    else ()
                ),
                body(now, i, remaining),
            ),
        )
        if guards:
            made = If(simplify(joined(guards), inner.known), made)
        pragmas = tuple(text for leaf, text in self.stage.pragmas if leaf == name)
        return For(
            axis,
            lo,
            extent,
            self.stage.kind(name),
            made,
            step,
            f"{self.stage.name}.{name}",
            pragmas,
            dict(self.stage.made_by).get(name, ""),
        )

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
                laid_out += [a for a in (r.outer, r.inner) if stage.root(a) is not None and not self.exact(a)]
        for parent in laid_out:
            involved = self.involved(parent)
            if parent in leaves or name not in involved or involved & set(rest):
                continue
            own = stage.root(parent) is not None
            extent = self.bounds[parent][1] if own else as_expr(stage.extent(parent, self.sizes))
            found.append(local_value(stage, parent, leaves, self.sizes) < extent)
        symbolic = self.lowering.symbolic  # blocks of symbolic sizes, or in a symbolic number, are taken to fit
        return [c for c in found if isinstance(c, Expr) and not (symbolic and any(isinstance(n, Var) for n in walk(c)))]

    def exact(self, root: str) -> bool:
        """Whether the loops of an axis are laid out for the extent that it has."""
        return as_expr(self.sizes[root]) is self.bounds[root][1]

    def involved(self, name: str) -> set[str]:
        """The leaves that an axis or loop is made of."""
        if name in self.leaves:
            return {name}
        for r in self.stage.relations:
            if isinstance(r, Split) and r.parent == name:
                return self.involved(r.outer) | self.involved(r.inner)
            if not isinstance(r, Split) and name in (r.outer, r.inner):
                return self.involved(r.fused)
        return set()

    def filtered(
        self, where: Expr, axis: Axis, lo: Expr, hi: Expr, known: Known
    ) -> tuple[Expr, Expr, int, Expr | None]:
        """Bounds and step of a loop over those values at which the affine part of `where` holds, and what remains of
        it.
        """
        mine: list[Expr] = []
        others: list[Expr] = []
        for part in conjuncts_of(where):
            (
                mine
                if any(n is axis for n in walk(part)) and not any(isinstance(n, Access) for n in walk(part))
                else others
            ).append(part)
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
                local = local_value(self.stage, root.name, leaves, self.sizes)
                result[root] = local if isinstance(lo, Const) and lo.value == 0 else local + lo
        return result

    def target(self, tensor: Tensor, mapping: Mapping[Expr, Expr], scope: Scope) -> tuple[Buffer, tuple[Expr, ...]]:
        buffer, indices = self.lowering.place(tensor, tuple(mapping.get(e, e) for e in self.part.lhs))
        return buffer, tuple(simplify(i, scope.known) for i in indices)

    def at_target(self, component: int, leaves: dict[str, Expr], scope: Scope) -> tuple[Buffer, tuple[Expr, ...]]:
        """Where the element is that the loops are at."""
        return self.target(self.stage.tensors[component], self.mapping(leaves), scope)

    def store(self, leaves: dict[str, Expr], scope: Scope) -> Stmt:
        mapping = self.mapping(leaves)
        stmts = self.assertions(mapping)
        for tensor, value in zip(self.stage.tensors, self.part.values, strict=True):
            if tensor in self.lowering.buffers:
                buffer, indices = self.target(tensor, mapping, scope)
                stmts.append(Store(buffer, indices, self.lowering.load(value, mapping)))
        return block(*stmts)

    def assertions(self, mapping: dict[Expr, Expr]) -> list[Stmt]:
        """Checks of the indices that this equation computes."""
        return [assertion(place, self.lowering.load, mapping) for place in self.lowering.checks.late.get(self.part, ())]

    # Reductions -------------------------------------------------------------------------------------------------------

    def reduce(self, n: int, leaves: dict[str, Expr], scope: Scope) -> Stmt:
        """Set the accumulators, combine over the reduction loops, and (when they were locals) store the result."""
        reduction = self.reduction
        assert reduction is not None
        kinds = reduction.reducer.result_dtypes(tuple(v.dtype for v in reduction.values), reduction.accumulator)
        data = tuple(leaf for leaf in self.leaves[n:] if not self.stage.is_reduction_loop(leaf))
        wanted = {
            cast(Reduce, v).component: t
            for v, t in zip(self.part.values, self.stage.tensors, strict=True)
            if t in self.lowering.buffers
        }
        complete = set(wanted) == set(range(len(kinds)))
        local = not data and not (self.stage.scope == "register" and complete)
        places: dict[int, Buffer] = {}
        if local or not complete:
            if data and not local:
                sizes = tuple(self.stage.extent(leaf, self.sizes) for leaf in data)
                if any(not isinstance(s, int) for s in sizes):
                    sizes = tuple(self.lowering.size(as_expr(s), scope.known) for s in sizes)
            else:
                sizes = ()
            for c, kind in enumerate(kinds):
                if c not in wanted or local:
                    name = unique(
                        f"{self.stage.name}.acc" if len(kinds) == 1 else f"{self.stage.name}.acc{c}", self.lowering.used
                    )
                    places[c] = Buffer(name, sizes, kind, "cache" if sizes else "register", "temporary")

        def cell(c: int, now: dict[str, Expr], inner: Scope) -> tuple[Buffer, tuple[Expr, ...]]:
            if c in places:
                return places[c], tuple(now[leaf] for leaf in data)
            return self.target(wanted[c], self.mapping(now), inner)

        identity = reduction.reducer.identity(kinds)

        ordered = in_order(self.stage, self.leaves, reduction)

        def start(now: dict[str, Expr], inner: Scope) -> Stmt:
            stmts = []
            for c, value in enumerate(identity):
                buffer, indices = cell(c, now, inner)
                if ordered and c == 1:  # the first position: it stays if no value is better than the least there is
                    value = typed(substitute(first_position(reduction), self.mapping(now)), kinds[1])
                stmts.append(Store(buffer, indices, value))
            return block(*stmts)

        body = self.nested(data, leaves, scope, start)
        self.cell = cell
        update = self.update(
            n, leaves, scope, reduction.where, lambda now, inner: self.combine(now, inner, kinds, cell)
        )
        finish: list[Stmt] = []
        if local:
            mapping = self.mapping(leaves)
            for c, tensor in wanted.items():
                buffer, indices = self.target(tensor, mapping, scope)
                finish.append(Store(buffer, indices, Access(places[c], ())))
        result = block(body, update, *finish)
        for buffer in reversed(list(places.values())):
            result = Allocate(buffer, result)
        return result

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

    def update(
        self,
        n: int,
        leaves: dict[str, Expr],
        scope: Scope,
        where: Expr | None,
        body: Callable[[dict[str, Expr], Scope], Stmt],
    ) -> Stmt:
        """The loops from the n-th on around `body(leaves, scope)`. `where` is said by the loops' bounds as far as it
        can be.
        """
        if n == len(self.leaves):
            made = body(leaves, scope)
            return made if where is None else self.under(substitute(where, self.mapping(leaves)), made)
        name, rest = self.leaves[n], self.leaves[n + 1 :]
        if name == self.calls:
            return intrinsic_call(self, leaves, scope, lambda: self.update(n, leaves, scope, where, body), self.cell)
        settled = (
            [p for p in conjuncts_of(where) if self.ready(p, {*leaves, name})]
            if where is not None and self.stage.root(name) is not None
            else []
        )
        if not settled:
            return self.loop(
                name, rest, leaves, scope, lambda now, inner, _: self.update(n + 1, now, inner, where, body)
            )
        waiting = [p for p in conjuncts_of(cast(Expr, where)) if not any(p is q for q in settled)]
        later = joined(waiting) if waiting else None
        return self.loop(
            name,
            rest,
            leaves,
            scope,
            lambda now, inner, left: self.under(left, self.update(n + 1, now, inner, later, body)),
            where=joined(settled),
        )

    def under(self, where: Expr | None, made: Stmt) -> Stmt:
        return made if where is None else If(self.lowering.load(where, {}), made, added=False)

    def combine(self, leaves: dict[str, Expr], scope: Scope, kinds: tuple[str, ...], cell: Cell) -> Stmt:
        """accumulators = combine(accumulators, values)"""
        mapping = self.mapping(leaves)
        reduction = cast(Reduce, self.reduction)
        cells = [cell(c, leaves, scope) for c in range(len(kinds))]
        old = tuple(Access(buffer, indices) for buffer, indices in cells)
        new = tuple(self.lowering.load(v, mapping) for v in reduction.values)
        ordered = in_order(self.stage, self.leaves, reduction)
        combined = (reduction.reducer.combine_in_order if ordered else reduction.reducer.combine)(old, new)
        first = first_of_few(self.stage, self.leaves, reduction)
        if first is not None:  # written out, the first step need not be combined with what is none
            leaf, lo = first
            combined = tuple(
                apply("where", apply("equal", leaves[leaf], lo), typed(n, kind), c)
                for n, c, kind in zip(new, combined, kinds, strict=True)
            )
        checks = self.assertions(mapping)
        if len(kinds) == 1:
            return block(*checks, Store(*cells[0], combined[0]))
        # every component is combined from the old ones
        fresh = [
            Buffer(unique(f"{self.stage.name}.new{c}", self.lowering.used), (), kind, "register", "temporary")
            for c, kind in enumerate(kinds)
        ]
        made = block(
            *checks,
            *(
                Store(b, (), v, int(c == 0 and reduction.reducer.indexed))
                for c, (b, v) in enumerate(zip(fresh, combined, strict=True))
            ),
            *(Store(*place, Access(b, ())) for place, b in zip(cells, fresh, strict=True)),
        )
        for b in reversed(fresh):
            made = Allocate(b, made)
        return made

    def ready(self, where: Expr, names: set[str]) -> bool:
        """Whether a condition can be settled when the loops `names` are open: its axes are known, and what it reads is
        there.
        """
        later = {
            t for axis, producers in self.attached.items() if axis not in names for p in producers for t in p.tensors
        }
        if any(isinstance(n, Access) and n.tensor in later for n in walk(where)):
            return False
        roots = {r for r in self.stage.roots if any(n is r for n in walk(where))}
        return all(r.name in self.fixed or self.involved(r.name) <= names for r in roots)

    # Scatter-add ------------------------------------------------------------------------------------------------------

    def scatter(self, part: ScatterPart, scope: Scope) -> Stmt:
        """Zero the tensor, then add every point of the domain to the element that it names, in order."""
        stmts: list[Stmt] = []
        for tensor in self.stage.tensors:
            box = self.box or tuple((cast(Expr, Const(0)), as_expr(d)) for d in tensor.shape)
            inner, index = scope, []
            for d, (lo, extent) in enumerate(box):
                axis = inner.axis(f"d{d}")
                index.append(axis)
                inner = inner.opened(axis, lo, extent)
            buffer, indices = self.lowering.place(tensor, tuple(index))
            clear: Stmt = Store(buffer, indices, typed(Const(0), tensor.dtype))
            for d, (lo, extent) in reversed(list(enumerate(box))):
                clear = For(index[d], lo, extent, "serial", clear, origin=f"{self.stage.name} = 0")
            stmts.append(clear)
        return block(*stmts, self.update(0, {}, scope, part.where, lambda now, _: self.add(part, now)))

    def add(self, part: ScatterPart, leaves: dict[str, Expr]) -> Stmt:
        mapping = self.mapping(leaves)
        stmts = self.assertions(mapping)
        for tensor, value in zip(self.stage.tensors, part.values, strict=True):
            buffer, indices = self.lowering.place(tensor, tuple(self.lowering.load(e, mapping) for e in part.lhs))
            stmts.append(
                Store(buffer, indices, apply("add", Access(buffer, indices), self.lowering.load(value, mapping)))
            )
        return block(*stmts)

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
