"""Intrinsics: functions of the user's that stand for loops.

An intrinsic says what it computes as a definition (its pattern) and how it is called as a C statement.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Axis, Reduce, walk
from tedsl.lang.notation import define
from tedsl.lang.tensor import Tensor

PLACE = re.compile(r"\{(\w+)(?:\.(\d+))?\}")


class Undeclared(ScheduleError):
    """A step calls an intrinsic whose code comes from elsewhere."""


class Intrinsic:
    """A function of the target language and what it computes. Made by `te.intrinsic`.

    `declared`: what this process has declared, by digest. What a history from elsewhere calls is looked up there, so
    that no text of C runs because it stood in a file.
    """

    declared: ClassVar[dict[str, Intrinsic]] = {}

    def __init__(self, name: str, pattern: Tensor, code: str, header: str = "") -> None:
        self.name, self.pattern, self.code, self.header = name, pattern, code, header

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of its pattern, those that are reduced over last."""
        part = self.pattern.parts[0]
        value = part.values[0]
        return (*part.axes, *((value.axes or ()) if isinstance(value, Reduce) else ()))

    def dims(self, operand: str) -> tuple[Axis, ...]:
        """The axes by which its pattern indexes an operand."""
        part = self.pattern.parts[0]
        reads = (n for n in walk(*part.values) if isinstance(n, Access) and n.tensor.name == operand)
        return part.axes if operand == self.pattern.name else cast("tuple[Axis, ...]", next(reads).indices)

    def declare(self) -> Intrinsic:
        """Take its code as this program's own. Returns itself."""
        self.declared.setdefault(digest(self.to_json()), self)
        return self

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
    _check_pattern(pattern, what)
    _check_code(code, pattern, what)
    return Intrinsic(name, pattern, code, header).declare()


def digest(told: Any) -> str:
    """What tells an intrinsic, as its `to_json` tells it, from all others."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def told_by_history(told: Any, trust: bool) -> Intrinsic:
    """The intrinsic that a step of a history calls. Raises Undeclared for one that this process has not declared,
    unless where the history comes from is trusted.
    """
    made = Intrinsic.from_json(told)
    found = made if trust else Intrinsic.declared.get(digest(told))
    if found is None:
        raise Undeclared(
            f"it calls the intrinsic {made.name}, whose C code this program has not declared (digest "
            f"{digest(told)[:12]}). Declare it first (te.intrinsic), or, if you trust where the history comes from, "
            "replay(history, trust=True)"
        )
    return found


def _check_pattern(pattern: Any, what: str) -> None:
    """Raise ScheduleError unless a pattern is one equation over inputs of fixed shapes, each index an axis."""
    if not isinstance(pattern, Tensor) or pattern.is_input or pattern.definition is None:
        raise ScheduleError(
            f"{what}: its pattern is {pattern!r}; it is a tensor with a definition, such as te.define('c[i] = a[i] + "
            "b[i]', a=(4,), b=(4,))"
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
            f"{what}: its pattern, {pattern}, is a reduction with a condition or over several values; give one without"
        )
    names = [t.name for t in (*pattern.inputs, pattern)]
    if len(set(names)) != len(names):
        raise ScheduleError(f"{what}: its operands {', '.join(names)} need names of their own")
    for node in walk(value):
        if isinstance(node, Access):
            if not node.tensor.is_input:
                raise ScheduleError(
                    f"{what}: its pattern, {pattern}, reads {node.tensor.name}, which is computed; it reads inputs only"
                )
            if not all(isinstance(e, Axis) for e in node.indices) or len(set(node.indices)) != len(node.indices):
                raise ScheduleError(f"{what}: its pattern reads `{node!r}`; each index is an axis of its own")
    if not all(isinstance(d, int) for t in (*pattern.inputs, pattern) for d in t.shape):
        raise ScheduleError(f"{what}: its pattern, {pattern}, has symbolic sizes; an intrinsic is for fixed extents")


def _check_code(code: str, pattern: Tensor, what: str) -> None:
    """Raise ScheduleError unless the places in the code are the operands, and all of them."""
    names = [t.name for t in (*pattern.inputs, pattern)]
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
            f"{', '.join(names)}"
        )


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
