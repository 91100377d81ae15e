"""Calls of intrinsics inside of a stage's loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Const, Expr, substitute
from tedsl.lang.integers import joined, simplify
from tedsl.schedule.loop_tree import as_expr
from tedsl.schedule.loops.ir import Buffer, Call, If, Stmt, Store, block, constant, strides_of
from tedsl.schedule.primitives.intrinsics import places
from tedsl.schedule.primitives.matching import Match, coefficient, matched

from .context import Scope
from .equation_loops import Cell, EquationLoops

Place = tuple[Buffer, tuple[Expr, ...]]


def intrinsic_call(
    nest: EquationLoops, leaves: dict[str, Expr], scope: Scope, loops: Callable[[], Stmt], cell: Cell | None
) -> Stmt:
    """The call of an intrinsic in place of the loops from the tensorized one on; `loops()` where these do not run in
    full.

    cell: where the accumulators are, when they have been set up outside; None: they are set up here.
    """
    stage = nest.stage
    axis = cast(str, stage.tensorized)
    how = stage.mark(axis).intrinsic
    what = f"tensorize of the axis {axis} of {stage.name}"
    match = matched(nest.lowering.state, stage, what)
    assert match is not None
    nest.calls = None
    plain = loops()
    nest.calls = axis
    extents = {match.axes[a.name]: cast(int, a.extent) for a in how.axes}
    if any(stage.tree(nest.sizes).extent(leaf) != extent for leaf, extent in extents.items()):
        return plain  # less is read here than an intrinsic computes
    full = [cast(Expr, nest.bounds[leaf][1] >= extent) for leaf, extent in extents.items() if leaf in nest.bounds]
    last = {**leaves, **{leaf: cast(Expr, Const(extent - 1)) for leaf, extent in extents.items()}}
    for n, leaf in enumerate(match.loops):
        full += nest.constraints(last, match.loops[n + 1 :], leaf)
    condition = simplify(joined(full), scope.known) if full else Const(True)
    setup: Stmt | None = None
    if nest.reduction is not None and cell is None:
        cell = nest.at_target
        data = tuple(leaf for leaf in match.loops if not stage.is_reduction_loop(leaf))
        kind = nest.reduction.dtype

        def start(now: dict[str, Expr], inner: Scope) -> Stmt:
            assert nest.reduction is not None
            (value,) = nest.reduction.reducer.identity((kind,))
            return Store(*nest.at_target(0, now, inner), value)

        setup = nest.nested(data, leaves, scope, start)
    made = block(setup, _call(nest, match, leaves, scope, cell or nest.at_target, plain, what))
    return made if constant(condition) == 1 else If(condition, made, plain)


def _call(
    nest: EquationLoops, match: Match, leaves: dict[str, Expr], scope: Scope, cell: Cell, plain: Stmt, what: str
) -> Call:
    how = match.intrinsic
    zero = {**leaves, **{leaf: cast(Expr, Const(0)) for leaf in match.loops}}

    def place(operand: str, now: dict[str, Expr]) -> Place:
        if operand == how.pattern.name:
            return cell(0, now, scope)
        access = match.reads[operand]
        mapping = nest.mapping(now)
        return nest.lowering.place(access.tensor, tuple(substitute(i, mapping) for i in access.indices))

    def stride(operand: str, leaf: str) -> Expr:
        """How many elements an operand moves in a step of a loop."""
        step = scope.axis(f"{leaf}.step")
        inner = scope.known.with_(ranges={step: (0, next(a.extent for a in how.axes if match.axes[a.name] == leaf))})
        buffer, indices = place(operand, {**zero, leaf: step})
        total: Any = 0
        for index, size in zip(indices, strides_of(buffer), strict=True):
            c = coefficient(simplify(index, inner), step.name)
            if c is None:
                raise ScheduleError(
                    f"{what}: {buffer.name} is stored so that its elements are no constant step apart along {leaf}, "
                    f"as {how.name} needs them. Choose a layout in which they are"
                )
            total = total + c * size
        return simplify(as_expr(total), scope.known)

    for operand in (how.pattern.name, *match.reads):
        buffer, _ = place(operand, zero)
        if buffer.scope == "register" and buffer.shape:
            raise ScheduleError(
                f"{what}: {buffer.name} is kept in registers, which have no address for {how.name} to use. Keep it "
                "in the scope 'cache'"
            )
        for leaf in match.loops:
            stride(operand, leaf)  # constant along every loop, asked for or not
    text, operands = "", []
    for literal, named, dim in places(how):
        text += literal.replace("{", "{{").replace("}", "}}")
        if named is not None:
            own = how.dims(named)
            if dim is None:
                buffer, indices = place(named, zero)
                operands.append(cast(Expr, Access(buffer, tuple(simplify(i, scope.known) for i in indices))))
            else:
                operands.append(stride(named, match.axes[own[dim].name]))
            text += f"{{{len(operands) - 1}}}"
    return Call(text, tuple(operands), how.header, plain)
