"""Schedules as text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterator

from tedsl.lang.errors import InternalError, LoweringError, ScheduleError
from tedsl.lang.program import inputs_of

from .history import History
from .loops.text import Line, lines_of
from .lowering.inline import inlined
from .lowering.lower import lower_state
from .passes.simplify import simplify_pass
from .state import StageState, State


def schedule_text(state: State) -> str:
    """The nest that a schedule makes, before loops are unrolled and cut: every loop with its kind, every temporary with
    its size and scope.
    """
    return "\n".join(map(str, schedule_lines(state)))


def schedule_lines(state: State) -> list[Line]:
    try:
        lowered = lower_state(inlined(state), inputs_of(state.outputs), symbolic=bool(state.factors))
        return list(lines_of(simplify_pass(lowered.stmt)))
    except InternalError:
        raise
    except (LoweringError, ScheduleError) as e:
        # What only the whole schedule can tell is for te.lower to refuse; the loops can be shown all the same.
        return [Line(0, f"# cannot be lowered as it stands: {e.message}"), *_plain_lines(state)]


def _plain_lines(state: State) -> Iterator[Line]:
    """The loops of the stages, without bounds."""

    def stage_lines(stage: StageState, depth: int) -> Iterator[Line]:
        for leaf in stage.leaves:
            kind = stage.kind(leaf)
            yield Line(depth, f"for {leaf} in 0..{stage.extent(leaf)!r}", "" if kind == "serial" else kind, "loop")
            depth += 1
            for other in state.inside_of(stage.name):
                if other.attach.axis == leaf:
                    yield from stage_lines(other, depth)
        for part in stage.parts:
            index = ", ".join(map(repr, part.lhs))
            for tensor, value in zip(stage.tensors, part.values, strict=True):
                yield Line(depth, f"{tensor.name}[{index}] = {value!r}")

    for stage in state.stages:
        if stage.attach.kind == "root":
            yield from stage_lines(stage, 0)


# The kinds of loops have colours that can be told apart by those who do not see red or green (Okabe and Ito's), on
# white and on black.
COLOURS = {"parallel": "#0072b2", "vectorized": "#d55e00", "unrolled": "#009e73", "buffer": "#997700"}
GPU_COLOUR = "#cc79a7"


def schedule_html(state: State, history: History) -> str:
    """The nest for a notebook: loops coloured by kind, temporaries apart; the steps that led to it below."""
    from html import escape

    rows = []
    for line in schedule_lines(state):
        colour = COLOURS.get(line.after or line.sort) or (GPU_COLOUR if "." in line.after else None)
        text = escape(str(line))
        rows.append(f'<span style="color:{colour}">{text}</span>' if colour else text)
    title = escape(", ".join(t.name for t in state.outputs))
    steps = f"<details><summary>{len(history)} steps</summary><pre>{escape(str(history))}</pre></details>"
    nest = '<pre style="line-height:1.3">' + "\n".join(rows) + "</pre>"
    return f'<div class="tedsl-schedule"><div><b>schedule of {title}</b></div>{nest}{steps if history else ""}</div>'
