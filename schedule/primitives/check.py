"""Every rule that a schedule as a whole keeps: checked after every step on the state that it would lead to, so that
whatever order the steps come in, no state that breaks a rule is ever reached.
"""

from __future__ import annotations

from tedsl.schedule.state import StageState, State

from .legality import (
    attachments_have_no_cycle,
    lanes_ask_for_nothing,
    loops_around,
    nothing_stands_between_lanes,
    one_loop_of_a_kind_in_another,
    pragmas_stand_before_plain_loops,
    producers_stand_where_they_are_read,
    reduced_loops_run_in_order,
)
from .matching import matched
from .recurrences import (
    recurrences_run_forward,
    stages_step_forward,
    steps_are_taken_before_they_are_read,
    steps_of_a_recurrence_stay_whole,
)


def check(state: State, what: str, before: State | None = None) -> None:
    """Raise ScheduleError when a state breaks a rule. `what`: the step that led to it, for the message. `before`: a
    state that breaks none; the rules for single stages are then asked of those only that have changed, or around
    which something has.
    """
    attachments_have_no_cycle(state, what)
    stages_step_forward(state, what)
    for stage in changed_stages(state, before):
        reduced_loops_run_in_order(stage, what)
        steps_of_a_recurrence_stay_whole(state, stage, what)
        recurrences_run_forward(state, stage, what)
        nothing_stands_between_lanes(state, stage, what)
        one_loop_of_a_kind_in_another(state, stage, what)
        pragmas_stand_before_plain_loops(stage, what)
        lanes_ask_for_nothing(state, stage, what)
    producers_stand_where_they_are_read(state, what)
    steps_are_taken_before_they_are_read(state, what)
    for stage in state.stages:
        if stage.marks:
            matched(state, stage, what)


def changed_stages(state: State, before: State | None) -> list[StageState]:
    """The stages that are others than before, with those that step together with one or are computed inside of one."""
    if before is None:
        return list(state.stages)
    old = {s.name: s for s in before.stages}
    changed = {s.name for s in state.stages if old.get(s.name) is not s}
    for names, depth in state.groups:
        if not changed.isdisjoint(names) or (names, depth) not in before.groups:
            changed.update(names)
    return [s for s in state.stages if s.name in changed or any(o.name in changed for o, _ in loops_around(state, s))]
