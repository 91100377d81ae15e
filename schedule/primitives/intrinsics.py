"""tensorize: loops that become calls of a function of the user's, an intrinsic, whose pattern they are.

An intrinsic says what it computes as a definition (its pattern) and how it is called as a C statement. The inner loops
of a stage are matched with the pattern: the same operations, extents and types, every operand indexed so that the steps
of the pattern's axes are constant strides in memory.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Reduce, substitute, walk
from tedsl.lang.integers import affine_of, simplify
from tedsl.lang.tensor import Tensor
from tedsl.schedule.lowering.regions import local_value
from tedsl.schedule.state import StageState, State

from . import legality
from .loops import Result

COMMUTATIVE = (
    "add",
    "multiply",
    "minimum",
    "maximum",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "equal",
    "not_equal",
)
PLACE = re.compile(r"\{(\w+)(?:\.(\d+))?\}")


class Intrinsic:
    """A function of the target language and what it computes. Made by `te.intrinsic`."""

    def __init__(self, name: str, pattern: Tensor, code: str, header: str = "") -> None:
        self.name, self.pattern, self.code, self.header = name, pattern, code, header

    def to_json(self) -> dict[str, Any]:
        p = self.pattern
        tensors = {t.name: [list(t.shape), t.dtype] for t in (*p.inputs, p)}
        return {
            "name": self.name,
            "pattern": str(p.definition),
            "tensors": tensors,
            "result": p.name,
            "code": self.code,
            "header": self.header,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Intrinsic:
        """The intrinsic that `to_json` told. Raises ScheduleError for anything else."""
        from tedsl.lang.notation import define

        try:
            tensors = {name: Tensor(name, tuple(shape), dtype) for name, (shape, dtype) in value["tensors"].items()}
            pattern = define(value["pattern"], **tensors)
            return cls(value["name"], pattern, value["code"], value["header"])
        except (KeyError, TypeError, ValueError):
            raise ScheduleError(f"{value!r} is no intrinsic") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Intrinsic.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        return f"<intrinsic {self.name}: {self.pattern.definition}>"


def intrinsic(name: str, pattern: Tensor, code: str, header: str = "") -> Intrinsic:
    """An intrinsic for `s[T].tensorize(axis, intrinsic)`: a piece of C that computes a small definition.

    name: for messages. pattern: a tensor whose definition, over inputs of fixed shapes, is what the code does. code: a
    C statement, in which {a} is the address of the first element of the operand `a` and {a.0}, {a.1} … the distances,
    in elements, between neighbours in its dimensions. For a reduction the code adds to what {c} holds. header: C text
    that stands before the kernel (#include, static functions).

    The code is taken at its word: nothing checks that it computes its pattern. Raises ScheduleError for a pattern or
    places that do not fit.

    >>> import tedsl as te
    >>> i = te.axes("i")
    >>> a, c = te.tensor("a", (4,)), te.tensor("c"); c[i] = a[i] * 2
    >>> te.intrinsic("twice", c, "for (int n = 0; n < 4; n++) ({c})[n * {c.0}] = 2 * ({a})[n * {a.0}];")
    <intrinsic twice: c[i] = a[i] * 2.0>
    """
    what = f"the intrinsic {name}"
    if not isinstance(pattern, Tensor) or pattern.is_input or pattern.definition is None:
        raise ScheduleError(
            f"{what}: its pattern is {pattern!r}; it is a tensor with a definition, such as te.define('c[i] = a[i] + "
            "b[i]', a=(4,), b=(4,))",
        )
    parts = pattern.definition.parts
    if len(parts) > 1 or len(pattern.definition.tensors) > 1 or not all(isinstance(e, Axis) for e in parts[0].lhs):
        raise ScheduleError(f"{what}: its pattern, {pattern}, is more than one equation of one tensor")
    value = parts[0].values[0]
    if any(isinstance(n, Reduce) for n in walk(*value.children)):
        raise ScheduleError(
            f"{what}: its pattern, {pattern}, has a reduction inside of an expression; a reduction stands alone"
        )
    if isinstance(value, Reduce) and (value.where is not None or len(value.values) != 1):
        raise ScheduleError(
            f"{what}: its pattern, {pattern}, is a reduction with a condition or over several values; give one without",
        )
    names = [t.name for t in (*pattern.inputs, pattern)]
    if len(set(names)) != len(names):
        raise ScheduleError(f"{what}: its operands {', '.join(names)} need names of their own")
    for node in walk(value):
        if isinstance(node, Access):
            if not node.tensor.is_input:
                raise ScheduleError(
                    f"{what}: its pattern, {pattern}, reads {node.tensor.name}, which is computed; it reads inputs "
                    "only",
                )
            if not all(isinstance(e, Axis) for e in node.indices) or len(set(node.indices)) != len(node.indices):
                raise ScheduleError(f"{what}: its pattern reads `{node!r}`; each index is an axis of its own")
    if not all(isinstance(d, int) for t in (*pattern.inputs, pattern) for d in t.shape):
        raise ScheduleError(f"{what}: its pattern, {pattern}, has symbolic sizes; an intrinsic is for fixed extents")
    ranks = {t.name: t.rank for t in (*pattern.inputs, pattern)}
    for place in PLACE.finditer(code):
        operand, dim = place.group(1), place.group(2)
        if operand in ranks and dim is not None and int(dim) >= ranks[operand]:
            raise ScheduleError(
                f"{what}: the code asks for {{{operand}.{dim}}}, but {operand} has {ranks[operand]} dimensions"
            )
    unused = [n for n in names if f"{{{n}}}" not in code]
    if unused:
        raise ScheduleError(
            f"{what}: its code never uses {', '.join(f'{{{n}}}' for n in unused)}; the places in it are the operands "
            f"{', '.join(names)}",
        )
    return Intrinsic(name, pattern, code, header)


@dataclass(frozen=True, slots=True)
class Match:
    """How loops are a pattern: the pattern's axes by loop, and what its operands are."""

    intrinsic: Intrinsic
    loops: tuple[str, ...]
    axes: dict[str, str]  # axis of the pattern → loop
    reads: dict[str, Access]  # operand → what the stage reads there


def tensorize(state: State, name: str, axis: str, how: Intrinsic) -> Result:
    """The loops from `axis` inward become calls of an intrinsic, where they run in full; the loops stay for what is
    left over.

    Checked: the loops are the intrinsic's pattern, and nothing else is computed in them.
    """
    stage = state.stage(name)
    legality.is_free_loop(state, stage, axis, "tensorize")
    if stage.tensorized:
        raise ScheduleError(
            f"tensorize of the axis {axis} of {name}: its loop {stage.tensorized[0][0]} is tensorized already"
        )
    changed = replace(stage, tensorized=((axis, how),))
    matched(state, changed, f"tensorize of the axis {axis} of {name}")
    return state.updated(changed), ()


def matched(state: State, stage: StageState, what: str) -> Match | None:
    """How the tensorized loops of a stage are their intrinsic's pattern; None when it has none. Raises ScheduleError
    when they are not.
    """
    if not stage.tensorized:
        return None
    axis, how = stage.tensorized[0]
    legality.is_one_equation(state, stage, what, "Call the intrinsic in a copy of it")
    inner = stage.leaves[stage.leaves.index(axis) :]
    for other in state.stages:
        if other.attach.kind == "at" and other.attach.stage == stage.name and other.attach.axis in inner:
            raise ScheduleError(
                f"{what}: {other.name} is computed inside of the loops {', '.join(inner)}, which become calls of "
                f"{how.name}. Compute it further out first",
            )
    pattern = how.pattern.parts[0]
    value = pattern.values[0]
    data = [leaf for leaf in inner if not stage.is_reduction_loop(leaf)]
    reduced = [leaf for leaf in inner if stage.is_reduction_loop(leaf)]
    bound = value.axes or () if isinstance(value, Reduce) else ()
    if (len(data), len(reduced)) != (len(pattern.axes), len(bound)):
        raise ScheduleError(
            f"{what}: the loops from {axis} inward are {_sorts(data, reduced)}, and {how.name} has "
            f"{_sorts([a.name for a in pattern.axes], [a.name for a in bound])}. "
            f"Split and reorder them so that the innermost loops are those of `{how.pattern}`")  # fmt: skip
    reason: str | None = None  # of the first order, in which the user would look for it
    for mine, theirs in itertools.product(itertools.permutations(data), itertools.permutations(reduced)):
        axes = {a.name: leaf for a, leaf in zip((*pattern.axes, *bound), (*mine, *theirs), strict=True)}
        try:
            return Match(how, inner, axes, _reads(stage, how, axes))
        except _Different as e:
            reason = str(e) if reason is None else reason
    raise ScheduleError(
        f"{what}: {reason or f'`{how.pattern}` is not what `{stage.tensor.definition}` computes there'}"
    )


def _sorts(data: list[str], reduced: list[str]) -> str:
    return f"{', '.join(data) or 'none'} and {', '.join(reduced) or 'none'} reduced over"


class _Different(Exception):
    """The loops are not the pattern with these axes."""


def _reads(stage: StageState, how: Intrinsic, axes: dict[str, str]) -> dict[str, Access]:
    """What the operands of the pattern are in the stage."""
    pattern, part = how.pattern.parts[0], stage.parts[0]
    theirs, mine = pattern.values[0], part.values[0]
    for a in (*pattern.axes, *((theirs.axes or ()) if isinstance(theirs, Reduce) else ())):
        extent = stage.extent(axes[a.name])
        if extent != a.extent:
            raise _Different(
                f"the loop {axes[a.name]} has {extent} steps, and {a.name} of {how.name} has {a.extent}. Split it by "
                f"{a.extent}"
            )
    if len(part.values) > 1:
        raise _Different(f"{stage.name} computes several tensors at once")
    if stage.tensor.dtype != how.pattern.dtype:
        raise _Different(f"{stage.name} is {stage.tensor.dtype}, and {how.name} computes {how.pattern.dtype}")
    if isinstance(theirs, Reduce) or isinstance(mine, Reduce):
        if not (
            isinstance(theirs, Reduce)
            and isinstance(mine, Reduce)
            and theirs.reducer is mine.reducer
            and theirs.dtype == mine.dtype
        ):
            raise _Different("")
        if mine.where is not None:
            raise _Different(
                f"the reduction of {stage.name} has a condition (where=), which {how.name} knows nothing of"
            )
        theirs, mine = theirs.values[0], mine.values[0]
    found: dict[str, Access] = {}
    _unify(theirs, mine, found)
    steps: dict[Expr, Expr] = {}
    leaves = {leaf: cast(Expr, Axis(leaf)) for leaf in stage.leaves}
    steps |= {r: local_value(stage, r.name, leaves, {}) for r in stage.roots}
    inner = set(axes.values())
    for name, access in [*found.items(), (how.pattern.name, Access(stage.tensor, part.lhs))]:
        own = _dims(how, name)
        for index in access.indices:
            for leaf in inner:
                if coefficient(substitute(index, steps), leaf) is None:
                    raise _Different(
                        f"`{access!r}` does not move by a constant step along {leaf}, as {how.name} needs it"
                    )
        for leaf in inner - {axes[a.name] for a in own}:
            if any(coefficient(substitute(index, steps), leaf) for index in access.indices):
                raise _Different("")
    return found


def _dims(how: Intrinsic, name: str) -> tuple[Axis, ...]:
    """The axes by which the pattern indexes an operand."""
    part = how.pattern.parts[0]
    if name == how.pattern.name:
        return part.axes
    return cast(
        "tuple[Axis, ...]",
        next(n.indices for n in walk(*part.values) if isinstance(n, Access) and n.tensor.name == name),
    )


def coefficient(index: Expr, leaf: str) -> int | None:
    """How far an index moves in a step of a loop; None when that is not the same at every step."""
    total = affine_of(simplify(index))
    found = 0
    for atom, c in total.terms.items():
        if isinstance(atom, Axis) and atom.name == leaf:
            found = c
        elif any(isinstance(n, Axis) and n.name == leaf for n in walk(atom)) or any(
            isinstance(n, Access) for n in walk(atom)
        ):
            return None
    return found


def _unify(theirs: Expr, mine: Expr, found: dict[str, Access]) -> None:
    """Bind the operands of a pattern so that it is an expression of a stage; raises _Different when there is no way."""
    if isinstance(theirs, Access):
        name = theirs.tensor.name
        if not isinstance(mine, Access) or mine.dtype != theirs.dtype or found.setdefault(name, mine) is not mine:
            raise _Different("")
        return
    if type(theirs) is not type(mine) or theirs.dtype != mine.dtype:
        raise _Different("")
    if isinstance(theirs, Const):
        if theirs is not mine:
            raise _Different("")
        return
    if isinstance(theirs, Cast):
        _unify(theirs.operand, cast(Cast, mine).operand, found)
        return
    if not isinstance(theirs, Apply) or theirs.function != cast(Apply, mine).function:
        raise _Different("")
    before = dict(found)
    orders = [mine.children]
    if theirs.function in COMMUTATIVE:
        orders.append(mine.children[::-1])
    for n, order in enumerate(orders):
        try:
            for a, b in zip(theirs.children, order, strict=True):
                _unify(a, b, found)
            return
        except _Different:
            found.clear()
            found |= before
            if n == len(orders) - 1:
                raise


def places(how: Intrinsic) -> Iterator[tuple[str, str | None, int | None]]:
    """The code in pieces: (literal text, operand, dimension); the operand is None behind the last piece of text, the
    dimension for an address.
    """
    names = {t.name for t in (*how.pattern.inputs, how.pattern)}
    end = 0
    for place in PLACE.finditer(how.code):
        if place.group(1) in names:
            yield how.code[end : place.start()], place.group(1), None if place.group(2) is None else int(place.group(2))
            end = place.end()
    yield how.code[end:], None, None
