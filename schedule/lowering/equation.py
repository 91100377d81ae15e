"""One equation of a stage as a loop nest: its loops, its reduction, and the stores in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from tedsl.lang.expr import Access, Const, Expr, Reduce, substitute, walk
from tedsl.lang.functions import apply, typed
from tedsl.lang.integers import conjuncts as conjuncts_of
from tedsl.lang.integers import joined
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Dim
from tedsl.schedule.loop_tree import as_expr
from tedsl.schedule.loops.ir import Allocate, Buffer, For, If, Stmt, Store, block
from tedsl.schedule.state import unique

from .context import Scope
from .equation_loops import Cell, EquationLoops
from .index_checks import assertion
from .intrinsic_calls import intrinsic_call
from .positions import first_of_few, first_position, in_order


class EquationBuilder(EquationLoops):
    """Builds the nest of one equation of a stage."""

    def build(self, scope: Scope, leaves: dict[str, Expr] | None = None) -> Stmt:
        """The nest; `leaves`: its outermost loops, when they are open already."""
        self.prepare(scope)
        if isinstance(self.part, ScatterPart):
            return self.scatter(self.part, scope)
        return self.open(len(leaves or ()), leaves or {}, scope)

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
        places, local = self.accumulators(data, set(wanted), kinds, scope)

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

    def accumulators(
        self, data: tuple[str, ...], wanted: set[int], kinds: tuple[str, ...], scope: Scope
    ) -> tuple[dict[int, Buffer], bool]:
        """Buffers for the components that do not accumulate where they are stored; whether these are all locals."""
        complete = wanted == set(range(len(kinds)))
        local = not data and not (self.stage.scope == "register" and complete)
        sizes: tuple[Dim, ...] = () if local else tuple(self.tree.extent(leaf) for leaf in data)
        if any(not isinstance(s, int) for s in sizes):
            sizes = tuple(self.lowering.size(as_expr(s), scope.known) for s in sizes)
        places = {}
        for c, kind in enumerate(kinds):
            if local or c not in wanted:
                name = f"{self.stage.name}.acc" if len(kinds) == 1 else f"{self.stage.name}.acc{c}"
                name = unique(name, self.lowering.used)
                places[c] = Buffer(name, sizes, kind, "cache" if sizes else "register", "temporary")
        return places, local

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
