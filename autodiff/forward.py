"""Forward mode: from the tangents of what is read to those of results, stage by stage, as new definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tedsl.lang.errors import GradientError
from tedsl.lang.expr import Access, Apply, Axis, Expr, Reduce
from tedsl.lang.program import Group
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Part, Tensor, define_together

from .arithmetic import const, convert, is_zero
from .chain_rule import push
from .custom import Rule, Stop
from .derivatives import REUSED
from .gather import make
from .reductions import push_reduction
from .reverse import dependents, forward_program


class Forward:
    """One forward pass: `tangents` of some tensors are given, those of all that depend on them follow."""

    def __init__(self, outputs: Sequence[Tensor], tangents: Mapping[Tensor, Tensor]) -> None:
        self.forward = forward_program(outputs)
        self.interesting = dependents(self.forward, tuple(tangents))
        self.tangents: dict[Tensor, Tensor | None] = dict(tangents)
        for group in self.forward.groups:
            self._group(group)

    def result(self, tensor: Tensor) -> Tensor:
        """The tangent of `tensor`."""
        found = self.tangents.get(tensor)
        return zeros(tensor) if found is None else found

    def _group(self, group: Group) -> None:
        stages = []
        for stage in group.stages:
            if isinstance(stage.tensor.gradient, Stop) or not any(t in self.interesting for t in stage.tensors):
                continue
            new = tuple(t for t in stage.tensors if t not in self.tangents)
            if not new:
                continue
            if isinstance(stage.tensor.gradient, Rule):
                raise GradientError(
                    f"{stage.tensor.name} has a gradient of its own (te.custom_gradient), which te.jvp cannot use: "
                    "it is a rule for adjoints, "
                    "not for tangents. Use te.vjp", stage.tensor.location
                )  # fmt: skip
            stages.append((stage, new))
        # all tangents of a recurrence first: its equations speak of each other
        for _, new in stages:
            for t in new:
                self.tangents[t] = Tensor(f"d{t.name}", t.shape, t.dtype, None, t.location)
        for stage, new in stages:
            for t in new:
                tangent = self.tangents[t]
                assert tangent is not None
                definition = define_together((tangent,), (), t.location)  # begun before what it is made of
                n = stage.tensors.index(t) if len(stage.tensors) > 1 else 0
                parts = []
                for part in stage.parts:
                    value = convert(self._value(stage.tensors, part, n), t.dtype)
                    parts.append(replace(part, values=(value,)))
                definition.parts = tuple(parts)
        for _, new in stages:
            for t in new:
                tangent = self.tangents[t]
                assert tangent is not None
                if group.depth == 0 and all(is_zero(p.values[0]) for p in tangent.parts):
                    self.tangents[t] = None

    def _value(self, tensors: tuple[Tensor, ...], part: Part, n: int) -> Expr:
        value = part.values[n]
        if isinstance(value, Reduce):
            return push_reduction(tensors, part, n, self._tangent, self._follows)
        reuse: dict[Expr, Expr] = {}
        if isinstance(value, Apply) and value.function in REUSED and not isinstance(part, ScatterPart):
            reuse[value] = Access(tensors[n], part.lhs)
        return push(value, self._tangent, self._follows, reuse, part.location)

    def _tangent(self, access: Access) -> Expr | None:
        found = self.tangents.get(access.tensor)
        return None if found is None else Access(found, access.indices)

    def _follows(self, tensor: Tensor) -> bool:
        return self.tangents.get(tensor) is not None


def zeros(tensor: Tensor) -> Tensor:
    """A tensor of the shape and type of `tensor` that is 0."""
    axes = tuple(Axis(f"{'ijklmn'[d % 6]}{d // 6 or ''}", 0, e) for d, e in enumerate(tensor.shape))
    return make(f"d{tensor.name}", axes, const(0, tensor.dtype), tensor.location)
