"""From a schedule to loops.

Each stage becomes a nest of its leaves. A loop's bound carries whatever keeps its axes in range (a split that does not
divide bounds its innermost loop by a min), so no test stands inside. Producers attached to a loop are placed where it
opens, over exactly the region that is read there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tedsl.lang.expr import Const
from tedsl.lang.integers import Known
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loops.ir import Allocate, Buffer, Stmt, block
from tedsl.schedule.state import State

from .equation import Scope
from .index_checks import Checks, early_checks
from .regions import as_expr
from .stepping import Steps
from .storage import Storage


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
    return Lowering(state, inputs, checks or Checks(), symbolic).run()


class Lowering(Storage):
    """Stages in order, those that step together at once."""

    def run(self) -> Lowered:
        done: set[str] = set()
        stmts: list[Stmt] = []
        allocations: list[Buffer] = []
        for stage in self.state.stages:
            if stage.attach.kind != "root" or stage.name in done:
                continue
            members = self.state.stepping(stage.name)
            done.update(s.name for s in members)
            for member in members:
                for tensor in member.tensors:
                    if tensor not in self.buffers:
                        box = tuple((Const(0), as_expr(d)) for d in tensor.shape)
                        allocations.append(self.allocate(member, tensor, box, Known()))
            group = self.state.group(stage.name)
            steps = Steps(self, members, group[1] if group else 0)
            stmts.append(steps.build(Scope(Known(), frozenset(self.used))))
        body = block(early_checks(self.checks, self.load, self.used), *stmts)
        for buffer in reversed(allocations):
            body = Allocate(buffer, body)
        return Lowered(body, self.arguments, self.temporaries)
