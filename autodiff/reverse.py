"""Reverse mode: from the adjoints of results back to those of what they read, stage by stage, as new definitions.

The stages of the forward pass are walked from the last to the first. Each passes the adjoint of its tensor on to every
access in its equations; for each access the sum over the points that read an element (`terms`) is one summand of the
adjoint of what is read. An adjoint that is no more than a number or an element is put in where it is needed; every
other one is a tensor of its own, `d` and the name, with one definition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from tedsl.lang.definition import is_earlier, reads_of
from tedsl.lang.errors import GradientError, Location
from tedsl.lang.expr import Access, Apply, Axis, Const, Expr, Reduce, apply, free_axes, rewrite, substitute, walk
from tedsl.lang.integers import Known, negated, prove, simplify
from tedsl.lang.integers.affine import FALSE, TRUE
from tedsl.lang.program import Group, Program, Stage, program
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Part, Tensor, plain
from tedsl.lang.text import display, unused

from .arithmetic import both, const, convert, guarded, is_zero, total_of
from .chain_rule import active_nodes, depends, differentiable, pull
from .custom import Rule, Stop
from .dense_windows import dense
from .derivatives import REUSED
from .gather import Term, complete, gather, make, scatter
from .reductions import pull_reduction

Lookup = Callable[[Tensor, tuple[Expr, ...]], Expr]


def forward_program(outputs: Sequence[Tensor]) -> Program:
    """The program of `outputs`, with the arguments of functions that have a gradient of their own in front, whether
    their values are read or not.
    """
    roots: dict[Tensor, None] = {}
    while True:
        found = program([*roots, *outputs])
        rules = dict.fromkeys(t.gradient for s in found.stages for t in s.tensors if isinstance(t.gradient, Rule))
        new = [t for rule in rules for t in rule.inputs if t not in roots and not t.is_input]
        if not new:
            return found
        roots = dict.fromkeys([*new, *roots])


def dependents(
    forward: Program, wrt: Sequence[Tensor], loosely: bool = False, inside: Rule | None = None
) -> set[Tensor]:
    """The tensors of a program that depend, as real functions, on one of `wrt` (those included).

    loosely: also where the derivative is 0: through the condition of a `where`, or a te.stop_gradient. inside: a rule
    whose results are taken as they are computed, its arguments as constants.
    """
    constants = () if inside is None else inside.inputs
    found = set(wrt) - set(constants)
    for group in forward.groups:
        changed = True
        while changed:
            changed = False
            for stage in group.stages:
                if all(t in found for t in stage.tensors):
                    continue
                rule = stage.tensor.gradient
                if isinstance(rule, Stop) and not loosely:
                    continue
                if isinstance(rule, Rule) and rule is not inside:
                    new = stage.tensors if any(t in found for t in rule.inputs) else ()
                else:
                    new = tuple(
                        t
                        for n, t in enumerate(stage.tensors)
                        if depends([v for p in stage.parts for v in _values(p.values[n])], found.__contains__)
                        or (loosely and any(_chooses(v, found) for p in stage.parts for v in _values(p.values[n])))
                    )
                for t in new:
                    if t not in found and t not in constants:
                        found.add(t)
                        changed = True
            if not group.depth:
                break
    return found


def check_arguments(rule: Rule, forward: Program, wrt: Sequence[Tensor]) -> None:
    """Raises GradientError when what has a gradient of its own depends on a tensor of `wrt` beside its arguments: it
    would be left out.
    """
    for tensor in wrt:
        if any(t in dependents(forward, (tensor,), inside=rule) for t in rule.outputs):
            raise GradientError(
                f"{rule.name} has a gradient of its own (te.custom_gradient) for its arguments "
                f"{', '.join(t.name for t in rule.inputs)}, but it also "
                f"reads {tensor.name}, whose gradient is asked for: make {tensor.name} an argument as "
                "well", tensor.location
            )  # fmt: skip


def _values(value: Expr) -> tuple[Expr, ...]:
    """A value, or the values that the reduction which it is runs over."""
    if isinstance(value, Reduce):
        # the extreme that argmax carries along beside its index is never read
        return value.values if differentiable(value) and not value.reducer.indexed else ()
    return (value,)


def _chooses(value: Expr, found: set[Tensor]) -> bool:
    """Whether one of the tensors decides in a `where` which real value is taken."""
    return any(
        isinstance(n, Access) and n.tensor in found
        for w in walk(value)
        if isinstance(w, Apply) and w.function == "where" and differentiable(w)
        for n in walk(w.operands[0])
    )


def taken_before(parts: Sequence[Part], n: int) -> list[Expr]:
    """The conditions under which the n-th equation of a tensor gives an element: no earlier one does."""
    conditions: list[Expr] = []
    for earlier in parts[:n]:
        same = [
            apply("equal", mine, theirs)
            for mine, theirs in zip(parts[n].lhs, earlier.lhs)
            if isinstance(theirs, Const) and mine is not theirs
        ]
        condition = simplify(negated(both(simplify(c) for c in same)), Known())
        if condition is not TRUE:
            conditions.append(condition)
    return conditions


class Reverse:
    """One backward pass. `seeds`: the adjoint of each output, at the axes given to it. `batch`: axes in front of every
    adjoint's own.
    """

    def __init__(
        self, outputs: Sequence[Tensor], seeds: Sequence[Callable[[tuple[Axis, ...]], Expr]], wrt: Sequence[Tensor],
        batch: tuple[Axis, ...] = (),
    ) -> None:  # fmt: skip
        self.forward = forward_program(outputs)
        self.interesting = dependents(self.forward, wrt)
        self.wrt = tuple(wrt)
        self.batch = batch
        self.targets: dict[Tensor, tuple[Axis, ...]] = {}
        self.summands: dict[Tensor, list[Expr]] = {}
        self.finished: dict[Tensor, Expr] = {}
        self.own: dict[Tensor, Tensor] = {}  # tensors made here, over exactly the axes of the adjoint of another
        self.padded: dict[Any, Tensor] = {}
        self.passed: set[Tensor] = set()  # tensors whose stages have passed their adjoints on
        for tensor, seed in zip(outputs, seeds, strict=True):
            if tensor in self.interesting:
                self.summands.setdefault(tensor, []).append(seed(self.axes_of(tensor)))
        for group in reversed(self.forward.groups):
            if group.depth and self._cyclic(group):
                self._recurrence(group)
            else:
                for stage in reversed(group.stages):
                    self._stage(stage)

    # Adjoints ---------------------------------------------------------------------------------------------------------

    def axes_of(self, tensor: Tensor, indices: Sequence[Expr] = ()) -> tuple[Axis, ...]:
        """The axes over which the adjoint of `tensor` is written: named as in its definition, or as where it is first
        read.
        """
        if tensor not in self.targets:
            parts = [p for p in tensor.parts if len(p.axes) == tensor.rank and len(p.lhs) == tensor.rank]
            source: Sequence[Expr] = parts[-1].axes if parts else indices
            wanted = [_name_of(source[d]) if d < len(source) else None for d in range(tensor.rank)]
            taken = {b.name for b in self.batch} | {n for n in wanted if n}
            names: list[str] = []
            for name in wanted:
                if name is None or name in names:
                    name = next((n for n in "ijklmnpqrstuvwxyz" if n not in taken), None) or unused("i", taken)
                    taken.add(name)
                names.append(name)
            self.targets[tensor] = tuple(Axis(n, 0, e) for n, e in zip(names, tensor.shape))
        return self.targets[tensor]

    def adjoint(self, tensor: Tensor) -> Expr | None:
        """The adjoint of `tensor` at its axes, complete now; None when there is none."""
        if tensor not in self.finished:
            summands = self.summands.get(tensor)
            if not summands:
                return None
            value = total_of((convert(s, tensor.dtype) for s in summands), tensor.dtype)
            if not _handy(value):
                axes = self._lhs(tensor)
                own = make(f"d{tensor.name}", axes, value, tensor.location)
                self.own[own] = tensor
                value = Access(own, axes)
            self.finished[tensor] = value
        return self.finished[tensor]

    def at(self, tensor: Tensor, indices: tuple[Expr, ...]) -> Expr:
        """The adjoint of an element."""
        value = self.adjoint(tensor)
        if value is None:
            return const(0, tensor.dtype)
        return substitute(value, dict(zip(self.axes_of(tensor), indices)))

    def result(self, tensor: Tensor) -> Tensor:
        """The adjoint of `tensor` as a tensor."""
        axes = self._lhs(tensor)
        value = self.adjoint(tensor)
        if value is None:
            value = const(0, tensor.dtype)
        if isinstance(value, Access) and self.own.get(value.tensor) is tensor:
            value.tensor.name = f"d{tensor.name}"
            return value.tensor
        made = make(f"d{tensor.name}", axes, value, tensor.location)
        self.own[made] = tensor
        self.finished[tensor] = Access(made, axes)
        return made

    def _lhs(self, tensor: Tensor) -> tuple[Axis, ...]:
        return (*self.batch, *self.axes_of(tensor))

    # Stages -----------------------------------------------------------------------------------------------------------

    def _stage(self, stage: Stage) -> None:
        self.passed.update(stage.tensors)
        rule = stage.tensor.gradient
        if isinstance(rule, Stop):
            return
        if isinstance(rule, Rule):
            present = [t for t in rule.outputs if any(t in s.tensors for s in self.forward.stages)]
            if all(t in self.passed for t in present):
                self._custom(stage, rule)
        elif any(t in self.interesting and self.adjoint(t) is not None for t in stage.tensors):
            self._equations(stage, self.at, False)

    def _equations(self, stage: Stage, at: Lookup, stepwise: bool) -> None:
        for n, part in enumerate(stage.parts):
            guards = taken_before(stage.parts, n)
            if isinstance(part, ScatterPart) and part.where is not None:
                guards = [part.where]
            if any(c is FALSE for c in guards):
                continue
            adjoints = [at(t, part.lhs) if t in self.interesting else const(0, t.dtype) for t in stage.tensors]
            if isinstance(part.values[0], Reduce):
                for found in pull_reduction(stage.tensors, part, adjoints, self._follows, stepwise):
                    r = found.reading
                    root = found.root if len(adjoints) == 1 and not stepwise else None
                    domain = (*part.axes, *found.axes)
                    self._add(r.access, domain, (*guards, *found.where, *r.guards), r.adjoint, part.location, root)
                continue
            for tensor, value, g in zip(stage.tensors, part.values, adjoints):
                reuse: dict[Expr, Expr] = {}
                if isinstance(value, Apply) and value.function in REUSED and not isinstance(part, ScatterPart):
                    reuse[value] = Access(tensor, part.lhs)
                for r in pull(value, g, self._follows, reuse, part.location):
                    self._add(r.access, part.axes, (*guards, *r.guards), r.adjoint, part.location)

    def _follows(self, tensor: Tensor) -> bool:
        return tensor in self.interesting

    def _add(
        self, access: Access, domain: tuple[Axis, ...], guards: tuple[Expr, ...], g: Expr, location: Location | None,
        root: Expr | None = None,
    ) -> None:  # fmt: skip
        """One access read at the points of `domain` where `guards` hold, with adjoint `g`: a multiple of `root`, if
        that is given.
        """
        tensor = access.tensor
        targets = (*self.batch, *self.axes_of(tensor, access.indices))
        term = Term((*self.batch, *domain), guards, (*self.batch, *access.indices), g)
        window = None
        if root is not None and not self.batch:
            window = dense(term, root, targets, f"d{tensor.name}", self.padded, location)
        found = gather(term, targets) if window is None else [window]
        if found is None:
            shape = tuple(a.extent for a in targets)
            own = scatter(f"d{tensor.name}", term, shape, location)
            self.own[own] = tensor
            found = [Access(own, targets)]
        self.summands.setdefault(tensor, []).extend(e for e in found if not is_zero(e))
        self.summands[tensor] = self.summands[tensor] or [const(0, tensor.dtype)]

    def _custom(self, stage: Stage, rule: Rule) -> None:
        if not any(t in self.interesting and self.adjoint(t) is not None for t in rule.outputs):
            return
        if self.batch:
            raise GradientError(
                f"{stage.tensor.name} has a gradient of its own (te.custom_gradient), for one adjoint at a time; "
                "te.jacobian needs many. "
                "Use te.vjp, once for each row", stage.tensor.location
            )  # fmt: skip
        check_arguments(rule, self.forward, self.wrt)
        given = tuple(self.result(t) for t in rule.outputs)
        for tensor, adjoint in zip(rule.inputs, rule(given)):
            if tensor in self.interesting:
                if tensor in self.passed:
                    raise GradientError(
                        f"{tensor.name} is an argument of {rule.name}, which has a gradient of its own, but is "
                        "computed after its result",
                        stage.tensor.location,
                    )
                axes = self.axes_of(tensor)
                self.summands.setdefault(tensor, []).append(Access(adjoint, axes))

    # Recurrences ------------------------------------------------------------------------------------------------------

    def _cyclic(self, group: Group) -> bool:
        inside = {t for stage in group.stages for t in stage.tensors}
        return any(t in inside for stage in group.stages for t in stage.reads)

    def _reached(self, group: Group) -> set[Tensor]:
        """The tensors of a recurrence that have an adjoint: from outside, or from a later step of one that has."""
        inside = {t for stage in group.stages for t in stage.tensors}
        reached = {t for t in inside if t in self.interesting and self.summands.get(t)}
        changed = bool(reached)
        while changed:
            changed = False
            for stage in group.stages:
                for part in stage.parts:
                    for t, value in zip(stage.tensors, part.values):
                        if t in reached:
                            active = [n for v in _values(value) for n in active_nodes(v, self._follows)]
                            read = {n.tensor for n in active if isinstance(n, Access)} & inside
                            changed |= not read <= reached
                            reached |= read
        return reached

    def _recurrence(self, group: Group) -> None:
        """Backwards in time: adjoints over reversed steps, which are recurrences again, stepped through in the usual
        order.
        """
        reached = self._reached(group)
        if not reached:
            return
        for stage in group.stages:
            if isinstance(stage.tensor.gradient, Rule):
                raise GradientError(
                    f"{stage.tensor.name} has a gradient of its own (te.custom_gradient) and is a part of a "
                    "recurrence; "
                    "a rule for whole tensors cannot be applied step by step", stage.tensor.location
                )  # fmt: skip

        depth = _steps(group)
        # the steps of all tensors are counted back from one end, that of the longest, so that what was the same step
        # still is
        ends = [_longest([t.shape[d] for t in reached]) for d in range(group.depth)]

        def length(tensor: Tensor, d: int) -> Any:
            return ends[d] if d < group.depth else tensor.shape[d]

        def flipped(tensor: Tensor, indices: tuple[Expr, ...]) -> tuple[Expr, ...]:
            return tuple(simplify(length(tensor, d) - 1 - e) if d < depth else e for d, e in enumerate(indices))

        backward = {
            t: Tensor(
                f"d{t.name}.backward",
                (*(b.extent for b in self.batch), *(length(t, d) for d in range(t.rank))),
                t.dtype, None, t.location,
            )
            for stage in reversed(group.stages)  # of equal steps, the last comes first
            for t in stage.tensors
            if t in reached
        }  # fmt: skip

        def at(tensor: Tensor, indices: tuple[Expr, ...]) -> Expr:
            if tensor not in backward:
                return const(0, tensor.dtype)
            return Access(backward[tensor], (*self.batch, *flipped(tensor, indices)))

        for stage in reversed(group.stages):
            self._equations(stage, at, True)
        for tensor, flow in backward.items():
            axes = self.axes_of(tensor)
            own = tuple(
                a if a.extent is length(tensor, d) else Axis(a.name, 0, length(tensor, d)) for d, a in enumerate(axes)
            )
            value = total_of((convert(s, tensor.dtype) for s in self.summands.get(tensor, [])), tensor.dtype)
            mapping = cast("dict[Expr, Expr]", dict(zip(axes, flipped(tensor, own))))
            beyond = [apply("greater_equal", o, o.extent - a.extent) for a, o in zip(axes, own) if a is not o]
            value = guarded(beyond, substitute(value, mapping))  # a shorter tensor has no steps at the beginning
            complete(flow, (*self.batch, *own), _settled(value), tensor.location)
            self.finished[tensor] = Access(flow, (*self.batch, *flipped(tensor, axes)))


def _longest(extents: Sequence[Any]) -> Any:
    """The largest of several extents."""
    found: Any = extents[0]
    for extent in extents[1:]:
        found = plain(simplify(apply("maximum", found, extent)))
    return found


def _steps(group: Group) -> int:
    """How many leading axes tell which of two steps of a recurrence comes first. Reversing all of them reverses the
    order of any two steps.
    """
    place = {t: n for n, stage in enumerate(group.stages) for t in stage.tensors}
    reads = [
        (part.lhs, read, n, place[read.access.tensor])
        for n, stage in enumerate(group.stages)
        for part in stage.parts
        for read in reads_of(part.expressions)
        if read.access.tensor in place
    ]
    deepest = max(stage.tensor.rank for stage in group.stages)
    for depth in range(1, deepest):
        for lhs, read, mine, theirs in reads:
            if is_earlier(lhs, read, depth):
                continue
            known = Known({}, read.guards)
            same = all(prove(apply("equal", e, i), known) for e, i in list(zip(lhs, read.access.indices))[:depth])
            if not (same and theirs < mine):
                break
        else:
            return depth
    return deepest


def _handy(value: Expr) -> bool:
    """Whether an adjoint is put in where it is needed instead of being stored."""
    return isinstance(value, Const) or (
        isinstance(value, Access) and all(isinstance(e, (Axis, Const)) for e in value.indices)
    )


def _name_of(index: Expr) -> str | None:
    """A name for the dimension that is read at `index`: that of the longest axis in it."""
    found = free_axes(index)
    if not found:
        return None
    longest = max(found, key=lambda a: float("inf") if isinstance(a.extent, Expr) else a.extent)
    return display(longest.name)


def _settled(value: Expr) -> Expr:
    """`value` with its indices and conditions simplified."""
    known = Known()

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Access):
            return Access(
                node.tensor, tuple(e if isinstance(e, (Axis, Const)) else simplify(e, known) for e in node.indices)
            )
        if isinstance(node, Apply) and node.function == "where":
            condition, a, b = node.operands
            condition = simplify(condition, known)
            return a if condition is TRUE else b if condition is FALSE else cast(Any, apply("where", condition, a, b))
        if isinstance(node, Reduce) and node.where is not None:
            where = simplify(node.where, known)
            return Reduce(*node.args[:3], None if where is TRUE else where, *node.args[4:])
        return None

    return rewrite(value, rule)
