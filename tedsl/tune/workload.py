"""Workloads: a program up to the names in it. What was measured for one is of use for every other with the same key.

key_of(outputs)                   a hash of expressions, shapes and dtypes, without names of tensors, axes and sizes
places_of(schedule)               its steps with places instead of names
schedule_from(outputs, places)    the same steps on another program with the same key
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, Var, walk
from tedsl.lang.program import Program, program
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Part, Tensor
from tedsl.lang.tensor import tensor as scalar
from tedsl.schedule.loop_tree import Fuse, Split
from tedsl.schedule.schedule import Schedule
from tedsl.schedule.state import StageState, State

FORMAT = 1


def key_of(outputs: Sequence[Tensor], several: bool = False) -> str:
    """The structural key of a program."""
    return hashlib.sha256(text_of(outputs, several).encode()).hexdigest()[:32]


def text_of(outputs: Sequence[Tensor], several: bool = False) -> str:
    """The program as text without names: what the key is the hash of."""
    return _Writer(program(tuple(outputs))).text(several)


def sizes_of(outputs: Sequence[Tensor]) -> list[str]:
    """The names of the symbolic sizes of a program, in the order in which its text has them: programs with one key
    agree in what each is.
    """
    writer = _Writer(program(tuple(outputs)))
    writer.text(False)
    return list(writer.vars)


class _Writer:
    def __init__(self, made: Program) -> None:
        self.program = made
        self.tensors: dict[Tensor, int] = {}
        self.vars: dict[str, int] = {}
        self.nodes: dict[Expr, int] = {}
        self.axes: dict[Expr, int] = {}
        self.lines: list[str] = []

    def text(self, several: bool) -> str:
        for tensor in self.program.inputs:
            self.tensor(tensor, "input")
        for group in self.program.groups:
            self.lines.append(f"group {group.depth}")
            for stage in group.stages:
                for tensor in stage.tensors:
                    self.tensor(tensor, "stage")
            for stage in group.stages:
                for part in stage.parts:
                    self.part(part)
        outputs = " ".join(str(self.tensors[t]) for t in self.program.outputs)
        return "\n".join([f"workload {FORMAT}", *self.lines, f"outputs {outputs} {several}"])

    def tensor(self, tensor: Tensor, role: str) -> None:
        if tensor in self.tensors:
            return
        self.tensors[tensor] = len(self.tensors)
        shape = ",".join(self.size(d) for d in tensor.shape)
        strides = "" if tensor.strides is None else ",".join(self.size(d) for d in tensor.strides)
        self.lines.append(f"{role} {tensor.dtype} [{shape}] ({strides})")

    def size(self, value: Any) -> str:
        return str(value) if isinstance(value, int) else f"%{self.node(value)}"

    def part(self, part: Part) -> None:
        # Axes are told apart by the order in which the equation introduces them.
        self.axes, self.nodes = {}, {}
        axes = [*part.axes]
        for node in walk(*part.expressions):
            if isinstance(node, Reduce):
                axes += node.axes or ()
        for axis in axes:
            if axis not in self.axes:
                self.axes[axis] = len(self.axes)
                self.lines.append(f"axis {self.size(axis.lo)} {self.size(axis.extent)}")
        left = " ".join(self.size(e) for e in part.lhs)
        right = " ".join(self.size(e) for e in part.values)
        kind = "part"
        if isinstance(part, ScatterPart):
            where = "-" if part.where is None else self.size(part.where)
            kind = f"scatter [{' '.join(self.size(a) for a in part.domain)}] {where}"
        self.lines.append(f"{kind} {left} = {right}")

    def node(self, root: Expr) -> int:
        for node in walk(root):
            if node not in self.nodes:
                line = self.line(node)
                self.nodes[node] = len(self.nodes)
                self.lines.append(f"{self.nodes[node]} {line}")
        return self.nodes[root]

    def line(self, node: Expr) -> str:
        operands = " ".join(f"%{self.nodes[c]}" for c in node.children)
        if isinstance(node, Axis):
            return f"axis {self.axes[node]}" if node in self.axes else f"free axis {node.name}"
        if isinstance(node, Const):
            return f"const {node.args[0]} {node.dtype}"
        if isinstance(node, Var):
            number = self.vars.setdefault(node.name, len(self.vars))
            return f"var {number} {node.minimum} {node.multiple_of}"
        if isinstance(node, Access):
            return f"read {self.tensors[node.tensor]} {operands}"
        if isinstance(node, Apply):
            return f"{node.function} {operands}"
        if isinstance(node, Cast):
            return f"cast {node.dtype} {operands}"
        if isinstance(node, Reduce):
            over = " ".join(str(self.axes[a]) for a in node.axes or ())
            where = "where" if node.where is not None else ""
            return f"reduce {self.reducer(node)} over {over} {where} {node.accumulator} {node.component} {operands}"
        raise TypeError(f"{type(node).__name__} is no node that a workload knows")

    def reducer(self, node: Reduce) -> str:
        reducer = node.reducer
        if reducer.builtin:
            return reducer.name
        # A reducer of the user's is told by what its combine function returns.
        kinds = reducer.result_dtypes(tuple(v.dtype for v in node.values), node.accumulator)
        p, q = ([scalar(f"{letter}{n}", (), kind)[()] for n, kind in enumerate(kinds)] for letter in "pq")
        results = reducer.combine(tuple(p), tuple(q))
        numbers = {e: n for n, e in enumerate((*p, *q))}
        lines: list[str] = []
        for sub in walk(*results):
            if sub not in numbers:
                what = type(sub).__name__
                if isinstance(sub, (Apply, Const)):
                    what = sub.function if isinstance(sub, Apply) else str(sub.args[0])
                lines.append(f"{what}:{sub.dtype}({','.join(str(numbers[c]) for c in sub.children)})")
                numbers[sub] = len(numbers)
        identity = ",".join(str(e.args[0]) for e in reducer.identity(kinds))
        return f"{{{';'.join(lines)}|{','.join(str(numbers[r]) for r in results)}|{identity}|{','.join(kinds)}}}"


# Steps ----------------------------------------------------------------------------------------------------------------

# What the arguments of each primitive mean: loops of the stage ("loop"), a loop of the stage given before ("there"),
# tensors, stages; the last kind is that of all further arguments.
_MEANING: dict[str, tuple[str, ...]] = {
    "split": ("loop",), "tile": ("loop", "loop", ""), "fuse": ("loop",), "reorder": ("loop",), "vectorize": ("loop",),
    "unroll": ("loop",), "parallel": ("loop",), "bind": ("loop", ""), "pragma": ("loop", ""),
    "compute_at": ("stage", "there"), "set_scope": ("",), "layout": ("loop",), "storage_align": ("loop", ""),
    "prefetch": ("tensor", "loop", ""), "cache_read": ("tensor", "", "stages"), "cache_write": ("tensor", ""),
    "rfactor": ("stagename", "thatloop"), "tensorize": ("loop", ""),
}  # fmt: skip


def names_of(stage: StageState) -> list[str]:
    """Every loop that a stage has or had, in the order in which they came to be."""
    found = [a.name for a in stage.roots]
    for r in stage.relations:
        found += [r.outer, r.inner] if isinstance(r, Split) else [r.fused] if isinstance(r, Fuse) else []
    return list(dict.fromkeys(found))


def places_of(schedule: Schedule) -> list[dict[str, Any]]:
    """The steps of a schedule with places in the state before each instead of names, as JSON can hold them."""
    steps = list(schedule.history)
    earlier, places = schedule.copy(), []
    for step in reversed(steps):
        before = earlier.undo().state
        places.append(_translated(before, step.to_json(), list.index))
    return places[::-1]


def schedule_from(outputs: Sequence[Tensor], several: bool, places: Sequence[Mapping[str, Any]]) -> Schedule:
    """The schedule whose steps were written down by `places_of`, for a program with the same key. Raises ScheduleError
    when they do not fit.
    """
    schedule = Schedule(tuple(outputs), several)
    for step in places:
        try:
            named = _translated(schedule.state, step, list.__getitem__)
        except (KeyError, IndexError, TypeError) as e:
            raise ScheduleError(
                f"the stored step {step!r} does not fit this program ({type(e).__name__}: {e})"
            ) from None
        schedule.take(named["stage"], named["primitive"], tuple(named["args"]), named.get("kwargs", {}))
    return schedule


def _translated(state: State, step: Mapping[str, Any], place: Callable[[list[Any], Any], Any]) -> dict[str, Any]:
    """A step with places for names, or names for places. `place`: from a list of what there is and one of both to the
    other.
    """
    stages, tensors = [s.name for s in state.stages], list(state.tensors())

    def named(stage: Any) -> str:
        return stage if isinstance(stage, str) else stages[stage]

    def change(kind: str, value: Any, stage: str) -> Any:
        match kind:
            case "loop" | "there" | "thatloop":
                return place(names_of(state.stage(stage)), value)
            case "stage":
                return {"stage": place(stages, value["stage"])}
            case "stagename":
                return place(stages, value)
            case "stages":
                return [place(stages, v) for v in value]
            case "tensor":
                return [place(tensors, v) for v in value] if isinstance(value, list) else place(tensors, value)
        return value

    meaning = _MEANING.get(step["primitive"], ("",))
    own = there = named(step["stage"])
    args = []
    for n, value in enumerate(step["args"]):
        kind = meaning[min(n, len(meaning) - 1)]
        if kind in ("stage", "stagename"):
            there = named(value["stage"] if isinstance(value, dict) else value)
        args.append(change(kind, value, there if kind in ("there", "thatloop") else own))
    stage = "" if own == "" else change("stagename", step["stage"], own)
    made = {"stage": stage, "primitive": step["primitive"], "args": args}
    return {**made, "kwargs": dict(step["kwargs"])} if step.get("kwargs") else made
