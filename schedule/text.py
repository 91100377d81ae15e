"""Loop nests and schedules as text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .loops.ir import Allocate, Assert, Block, Call, For, If, Stmt, Store, constant

if TYPE_CHECKING:
    from .loops.program import Nest
    from .schedule import Schedule
    from .state import StageState, State


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a nest: its depth, its text, what follows the text on the right (a loop's kind), and what it is (for
    colours).
    """

    depth: int
    text: str
    after: str = ""
    sort: str = "statement"

    def __str__(self) -> str:
        return f"{'  ' * self.depth}{self.text}{' ' if self.after else ''}{self.after}{':' if self.sort in ('loop', 'if') else ''}"


def nest_text(nest: Nest) -> str:
    """The nest of a lowered program: a line for each loop, temporary and statement."""
    return "\n".join(map(str, lines_of(nest.stmt)))


def lines_of(stmt: Stmt, depth: int = 0) -> Iterator[Line]:
    """The lines of a statement."""
    if isinstance(stmt, Block):
        for s in stmt.stmts:
            yield from lines_of(s, depth)
    elif isinstance(stmt, For):
        start = "" if constant(stmt.lo) == 0 else f"{stmt.lo!r} + "
        step = "" if stmt.step == 1 else f" step {stmt.step}"
        for text in stmt.pragmas:
            yield Line(depth, f"#pragma {text}")
        yield Line(
            depth,
            f"for {stmt.axis!r} in {start}0..{stmt.extent!r}{step}",
            "" if stmt.kind == "serial" else stmt.kind,
            "loop",
        )
        yield from lines_of(stmt.body, depth + 1)
    elif isinstance(stmt, Store):
        yield Line(depth, f"{stmt.buffer.name}[{', '.join(map(repr, stmt.indices))}] = {stmt.value!r}")
    elif isinstance(stmt, Allocate):
        b = stmt.buffer
        more = f", rows aligned to {b.align[1]}{f' + {b.align[2]}' if b.align[2] else ''}" if b.align else ""
        yield Line(
            depth,
            f"{b.name}: {b.dtype}[{', '.join(map(repr, b.shape))}] in {b.scope}{more}{', double' if b.double else ''}",
            sort="buffer",
        )
        yield from lines_of(stmt.body, depth)
    elif isinstance(stmt, If):
        yield Line(depth, f"if {stmt.condition!r}", sort="if")
        yield from lines_of(stmt.then, depth + 1)
        if stmt.otherwise is not None:
            yield Line(depth, "else:")
            yield from lines_of(stmt.otherwise, depth + 1)
    elif isinstance(stmt, Assert):
        yield Line(depth, f"assert {stmt.condition!r}")
    elif isinstance(stmt, Call):
        yield Line(depth, stmt.text.format(*map(repr, stmt.operands)))


# Schedules ------------------------------------------------------------------------------------------------------------


def schedule_text(schedule: Schedule) -> str:
    """The nest that a schedule makes, before loops are unrolled and cut: every loop with its kind, every temporary with
    its size and scope.
    """
    return "\n".join(map(str, schedule_lines(schedule)))


def schedule_lines(schedule: Schedule) -> list[Line]:
    from tedsl.lang.errors import InternalError, LoweringError, ScheduleError
    from tedsl.lang.program import inputs_of

    from .lowering.context import lower_state
    from .lowering.inline import inlined
    from .passes import simplify_pass

    state = schedule.state
    try:
        lowered = lower_state(inlined(state), inputs_of(state.outputs), symbolic=bool(schedule.factors))
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
            for other in state.stages:
                if other.attach.kind == "at" and (other.attach.stage, other.attach.axis) == (stage.name, leaf):
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


def schedule_html(schedule: Schedule) -> str:
    """The nest for a notebook: loops coloured by kind, temporaries apart; the steps that led to it below."""
    from html import escape

    rows = []
    for line in schedule_lines(schedule):
        colour = COLOURS.get(line.after or line.sort) or (GPU_COLOUR if "." in line.after else None)
        text = escape(str(line))
        rows.append(f'<span style="color:{colour}">{text}</span>' if colour else text)
    steps = escape(str(schedule.history))
    title = escape(", ".join(t.name for t in schedule.outputs))
    return (
        f'<div class="tedsl-schedule"><div><b>schedule of {title}</b></div><pre '
        'style="line-height:1.3">' + "\n".join(rows) + "</pre>"
        + (f"<details><summary>{len(schedule.history)} "
            f"steps</summary><pre>{steps}</pre></details>" if steps else "") + "</div>"
    )  # fmt: skip
