"""Sizes replaced by whole numbers: in a program, and in the steps of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Axis, Const, Expr, Reduce, Var, rewrite, walk
from tedsl.lang.tensor import Definition, Tensor

from .history import History, Step
from .loop_tree import dim


class FixedTensor(Tensor):
    """A tensor of a program whose sizes have become numbers; it stands for `source`."""

    def __init__(self, source: Tensor, shape: tuple[Any, ...], strides: tuple[Any, ...] | None) -> None:
        super().__init__(source.name, shape, source.dtype, strides, source.location)
        self.source = source
        self.serial = source.serial  # definitions keep their order


def all_sizes(outputs: tuple[Tensor, ...], history: History) -> dict[str, set[Var]]:
    """The sizes of a program and the tile factors of its schedule, by name."""
    found = program_sizes(outputs)
    for var in history.factors:
        found.setdefault(var.name, set()).add(var)
    return found


def fixed_values(outputs: tuple[Tensor, ...], history: History, sizes: Mapping[str, Any]) -> dict[str, int]:
    """The whole numbers given for sizes of a program and for tile factors. Raises ScheduleError for a size that there
    is not, or for a number that the size cannot be.
    """
    found = all_sizes(outputs, history)
    values: dict[str, int] = {}
    for name, value in sizes.items():
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise ScheduleError(
                f"{name}={value!r}: the schedule of {', '.join(t.name for t in outputs)} has no size of "
                f"that name; its sizes are {known}"
            )
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise ScheduleError(f"{name}={value!r}: a size is a whole number")
        values[name] = int(value)
        for var in found[name]:
            if values[name] < var.minimum or values[name] % var.multiple_of:
                least = f"at least {var.minimum}" + (
                    f" and a multiple of {var.multiple_of}" if var.multiple_of > 1 else ""
                )
                raise ScheduleError(f"{name}={value}: the size {name} was declared to be {least}")
    return values


def program_sizes(outputs: tuple[Tensor, ...]) -> dict[str, set[Var]]:
    """The sizes of a program by name, with what was said of each."""
    found: dict[str, set[Var]] = {}
    for tensor in _all_tensors(outputs):
        exprs = [d for d in (*tensor.shape, *(tensor.strides or ())) if isinstance(d, Expr)]
        for part in tensor.parts:
            for node in walk(*part.lhs, *part.expressions):
                exprs.append(node)
                if isinstance(node, Axis):
                    exprs += [e for e in (node.lo, node.extent) if isinstance(e, Expr)]
                if isinstance(node, Reduce):
                    exprs += [e for a in node.axes or () for e in (a.lo, a.extent) if isinstance(e, Expr)]
        for node in walk(*exprs):
            if isinstance(node, Var):
                found.setdefault(node.name, set()).add(node)
    return found


def _all_tensors(outputs: tuple[Tensor, ...]) -> list[Tensor]:
    found: dict[Tensor, None] = {}
    stack = list(outputs)
    while stack:
        tensor = stack.pop()
        if tensor not in found:
            found[tensor] = None
            own = tensor.definition.tensors if tensor.definition is not None else ()
            stack += [*own, *(n.tensor for p in tensor.parts for n in walk(*p.expressions) if isinstance(n, Access))]
    return list(found)


def fixed_tensors(outputs: tuple[Tensor, ...], values: Mapping[str, int]) -> tuple[Tensor, ...]:
    """The same program over tensors of fixed shapes."""
    old = _all_tensors(outputs)
    memo: dict[Expr, Expr] = {}

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Var) and node.name in values:
            return Const(values[node.name])
        if isinstance(node, Axis):
            return cast(Expr, Axis(node.name, size(node.lo), size(node.extent)))
        if isinstance(node, Access):
            return cast(Expr, Access(new[node.tensor], node.indices))
        if isinstance(node, Reduce):
            axes = None if node.axes is None else tuple(fixed(a) for a in node.axes)
            return cast(Expr, Reduce(node.reducer, node.values, axes, node.where, node.accumulator, node.component))
        return None

    def fixed(e: Expr) -> Expr:
        return rewrite(e, rule, memo)

    def size(d: Any) -> Any:
        return dim(rewrite(d, rule)) if isinstance(d, Expr) else d

    new: dict[Tensor, Tensor] = {
        t: FixedTensor(t, tuple(map(size, t.shape)), None if t.strides is None else tuple(map(size, t.strides)))
        for t in old
    }
    made: dict[Definition, Definition] = {}
    for tensor in old:
        definition = tensor.definition
        if definition is None:
            continue
        if definition not in made:
            copy = made[definition] = Definition(tuple(new[t] for t in definition.tensors), definition.location)
            copy.serial = definition.serial  # the order in which a recurrence's tensors were defined counts
            copy.parts = tuple(p.mapped(fixed) for p in definition.parts)
        new[tensor].definition, new[tensor].component = made[definition], tensor.component
        new[tensor].known_dtype = tensor.known_dtype
        new[tensor].operands = tuple(new[t] for t in tensor.operands)
    return tuple(new[t] for t in outputs)


def fixed_steps(history: History, values: Mapping[str, int]) -> list[Step]:
    """The steps of a schedule with whole numbers for tile factors."""

    def fixed(a: Any) -> Any:
        return values[a["var"]] if isinstance(a, dict) and a.get("var") in values else a

    return [
        replace(step, args=tuple(map(fixed, step.args)), kwargs={k: fixed(v) for k, v in step.kwargs.items()})
        for step in history
    ]
