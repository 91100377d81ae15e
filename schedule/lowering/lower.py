"""From a schedule to loops.

Each stage becomes a nest of its leaves. A loop's bound carries whatever keeps its axes in range (a split that does not
divide bounds its innermost loop by a min), so no test stands inside. Producers attached to a loop are placed where it
opens, over exactly the region that is read there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tedsl.lang.expr import Const
from tedsl.lang.integers import Known
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loop_tree import as_expr
from tedsl.schedule.loops.ir import Allocate, Buffer, Stmt, block
from tedsl.schedule.state import StageState, State

from .context import Lowering, Scope
from .index_checks import Checks, early_checks
from .regions import Box
from .stepping import Steps


@dataclass(slots=True)
class Lowered:
    """Loops before the passes: the statement, the buffers of the arguments by tensor, and every other buffer."""

    stmt: Stmt
    arguments: dict[Tensor, Buffer]
    temporaries: list[Buffer] = field(default_factory=list)


def lower_state(
    state: State, inputs: tuple[Tensor, ...], checks: Checks | None = None, symbolic: bool = False
) -> Lowered:
    """The loop nest of a schedule whose inlined stages are gone. `checks`: the indices to check at run time.
    `symbolic`: tile factors that are sizes are taken to divide (the cost model).

    Raises LoweringError or ScheduleError for what only the whole schedule can tell.
    """
    lowering = Lowering(state, inputs, checks or Checks(), symbolic, loops_of)
    state = lowering.state
    done: set[str] = set()
    stmts: list[Stmt] = []
    allocations: list[Buffer] = []
    for stage in state.stages:
        if stage.attach.kind != "root" or stage.name in done:
            continue
        members = state.stepping(stage.name)
        done.update(s.name for s in members)
        for member in members:
            for tensor in member.tensors:
                if tensor not in lowering.buffers:
                    box = tuple((Const(0), as_expr(d)) for d in tensor.shape)
                    allocations.append(lowering.allocate(member, tensor, box, Known()))
        stmts.append(loops_of(lowering, members, {}, Scope(Known(), frozenset(lowering.used))))
    body = block(early_checks(lowering.checks, lowering.load, lowering.used), *stmts)
    for buffer in reversed(allocations):
        body = Allocate(buffer, body)
    return Lowered(body, lowering.arguments, lowering.temporaries)


def loops_of(lowering: Lowering, stages: Sequence[StageState], boxes: Mapping[str, Box], scope: Scope) -> Stmt:
    """The loops of stages that step together; `boxes`: the part of each that is computed (all of it where there is
    none).
    """
    group = lowering.state.group(stages[0].name)
    return Steps(lowering, stages, group[1] if group else 0, boxes).build(scope)
