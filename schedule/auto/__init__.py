"""`te.auto_schedule`: a good schedule for what it knows, plain loops for the rest.

Stages are looked at one by one; the first rule that recognises a stage schedules it, with the primitives that a user
has, so that the result prints as the Python that makes it (`s.history`). A rule that a schedule refuses is taken back:
the worst that can happen is plain loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from tedsl import hardware
from tedsl.lang.errors import LoweringError, ScheduleError
from tedsl.lang.expr import free_axes
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loops.program import make_nest

from ..schedule import Schedule, create_schedule
from ..state import StageState
from .blocks import in_blocks
from .contraction import contraction
from .dots import dots
from .elementwise import elementwise
from .facts import Facts, seen
from .fusion import inline_stages, overlapping, planes_together, rows_together
from .recurrences import elements_in_steps, sums_in_steps
from .reductions import columns, plain, rows, to_a_scalar

Rule = Callable[[Schedule, str, Facts], bool]

# From the special to the general: a stage goes to the first rule that says yes.
RULES: tuple[tuple[str, Rule], ...] = (
    ("contraction with a short side", dots),
    ("contraction", contraction),
    ("reduction within a step", sums_in_steps),
    ("reduction to a scalar", to_a_scalar),
    ("reduction of rows", rows),
    ("reduction of columns", columns),
    ("elementwise", elementwise),
    ("steps of a recurrence", elements_in_steps),
    ("other reduction", plain),
)


def auto_schedule(target: Tensor | Sequence[Tensor], vector_bytes: int | None = None) -> Schedule:
    """A schedule chosen by what each stage is: contractions get register tiles and packed panels, elementwise stages
    are joined and vectorised, reductions are split over lanes, chains such as softmax run row by row, outer loops run
    in parallel. It never fails: what it does not know keeps plain loops. `print(s.history)` shows the Python that makes
    it.

    vector_bytes: the vector width to aim at: 16, 32 or 64 (None: this machine's). Raises ScheduleError for another one.

    >>> import tedsl as te
    >>> i, j = te.axes("i j")
    >>> A, B = te.tensor("A", (512, 512)), te.tensor("B")
    >>> B[i, j] = te.exp(A[i, j]) + 1
    >>> print(te.auto_schedule(B).history)  # doctest: +SKIP
    """
    if vector_bytes not in (None, 16, 32, 64):
        raise ScheduleError(f"te.auto_schedule: vector_bytes={vector_bytes!r}; vectors are 16, 32 or 64 bytes wide")
    schedule = create_schedule(target)
    facts = Facts(vector_bytes or hardware.vector_bytes(), last_cache_bytes())
    attempt(schedule, lambda: inline_stages(schedule, facts))
    attempt(schedule, lambda: rows_together(schedule, facts))
    attempt(schedule, lambda: planes_together(schedule, facts))
    for name in [stage.name for stage in reversed(seen(schedule).stages)]:
        attempt(schedule, partial(overlapping, schedule, name, facts))
    for name in [stage.name for stage in seen(schedule).stages]:
        attempt(schedule, partial(in_blocks, schedule, name, facts))
    for name in [stage.name for stage in seen(schedule).stages]:
        for _, rule in RULES:
            if untouched(schedule, name) and attempt(schedule, partial(rule, schedule, name, facts)):
                break
    return schedule


def untouched(schedule: Schedule, name: str) -> bool:
    """Whether a stage is there and no rule has given it loops yet (with a stage that it reads, say)."""
    if name not in schedule:
        return False
    stage = schedule.state.stage(name)
    return stage.untouched


def attempt(schedule: Schedule, rule: Callable[[], bool]) -> bool:
    """Run a rule; take its steps back when it does not apply or the schedule refuses one of them."""
    before = len(schedule.history)
    old = {stage.name: stage for stage in schedule.state.stages}
    try:
        with schedule.checked_together():
            applies = rule()
        if applies:
            if any(old.get(s.name) is not s and _cut_by_condition(s) for s in schedule.state.stages):
                # a condition may leave registers without constant places
                make_nest(schedule.state, None, schedule.several)
            return True
    except (ScheduleError, LoweringError):
        pass
    schedule.undo(len(schedule.history) - before)
    return False


def _cut_by_condition(stage: StageState) -> bool:
    """Whether the condition of a reduction speaks of an axis that is no plain loop any more."""
    reduction = stage.reduction
    if reduction is None or reduction.where is None:
        return False
    return any(
        a.name not in stage.leaves or stage.kind(a.name) in ("vectorized", "unrolled")
        for a in free_axes(reduction.where)
    )


@lru_cache(maxsize=1)
def last_cache_bytes() -> int:
    """The size of this machine's last cache."""
    return max(hardware.cache_bytes().values())
