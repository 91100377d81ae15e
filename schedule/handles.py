"""Handles: what `s[T]` returns, and the primitives as its methods. Each does what its primitive's own page says
(`primitives/`), where its documentation stands as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.tensor import Dim, Tensor

from .history import encoded
from .names import Loop, StageName, loop_name, stage_name, tensor_name
from .primitives import loops as order
from .primitives import marks, placement
from .primitives.intrinsics import Intrinsic
from .state import StageState

Method = TypeVar("Method", bound=Callable[..., Any])


def told_by(primitive: Callable[..., Any]) -> Callable[[Method], Method]:
    """Give a method the documentation of the primitive that it calls."""

    def tell(method: Method) -> Method:
        method.__doc__ = primitive.__doc__
        return method

    return tell


class StageHandle(StageName):
    """A stage of a schedule. Its primitives change the schedule; loops are given as primitives returned them, by their
    names, or as the axes of the definition.
    """

    __slots__ = ()

    @property
    def state(self) -> StageState:
        try:
            return self.schedule.state.stage(self.name)
        except KeyError:
            raise ScheduleError(
                f"the schedule has no stage {self.name} any more: the step that made it was undone"
            ) from None

    @property
    def tensor(self) -> Tensor:
        return self.state.tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.state.tensors

    @property
    def axis(self) -> tuple[Loop, ...]:
        """The axes of the left side."""
        return tuple(self._made(a.name, a.lo) for a in self.state.axes)

    @property
    def reduce_axis(self) -> tuple[Loop, ...]:
        """The axes that are reduced over."""
        return tuple(self._made(a.name, a.lo) for a in self.state.reduce_axes)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The loops as they stand, outermost first."""
        return tuple(self._made(leaf) for leaf in self.state.leaves)

    leaf_iter_vars = loops

    @property
    def scope(self) -> str:
        return self.state.scope

    def _made(self, name: str, lo: Any = 0) -> Loop:
        return Loop(name, lo, self.state.extent(name), self.name)

    def _axes(self, primitive: str, axes: tuple[Any, ...]) -> list[str]:
        """The names of loops that were given, of a stage that is still there."""
        stage = self.state
        return [loop_name(self.schedule.state, stage.name, a, primitive) for a in axes]

    def _do(self, primitive: str, axes: tuple[Any, ...] = (), *args: Any, **kwargs: Any) -> tuple[Loop, ...]:
        """Take a step: a primitive of loops of this stage and of whatever else it is given."""
        given = [*self._axes(primitive, axes), *map(encoded, args)]
        named = {k: encoded(v) for k, v in kwargs.items() if v is not None}
        return tuple(self._made(n) for n in self.schedule.take(self.name, primitive, given, named))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StageHandle) and other.schedule is self.schedule and other.name == self.name

    def __hash__(self) -> int:
        return hash((id(self.schedule), self.name))

    def __repr__(self) -> str:
        return f"<stage {self.name}: {', '.join(self.state.leaves) or 'no loops'}>"

    @told_by(order.split)
    def split(self, axis: Any, factor: Dim | None = None, nparts: Dim | None = None) -> tuple[Loop, Loop]:
        return cast("tuple[Loop, Loop]", self._do("split", (axis,), factor=factor, nparts=nparts))

    @told_by(order.tile)
    def tile(self, x: Any, y: Any, x_factor: Dim, y_factor: Dim) -> tuple[Loop, Loop, Loop, Loop]:
        return cast("tuple[Loop, Loop, Loop, Loop]", self._do("tile", (x, y), x_factor, y_factor))

    @told_by(order.fuse)
    def fuse(self, *axes: Any) -> Loop:
        return self._do("fuse", axes)[0]

    @told_by(order.reorder)
    def reorder(self, *axes: Any) -> None:
        self._do("reorder", axes)

    @told_by(marks.vectorize)
    def vectorize(self, axis: Any) -> None:
        self._do("vectorize", (axis,))

    @told_by(marks.unroll)
    def unroll(self, axis: Any) -> None:
        self._do("unroll", (axis,))

    @told_by(marks.parallel)
    def parallel(self, axis: Any) -> None:
        self._do("parallel", (axis,))

    @told_by(marks.bind)
    def bind(self, axis: Any, thread: str) -> None:
        self._do("bind", (axis,), thread)

    @told_by(marks.pragma)
    def pragma(self, axis: Any, text: str) -> None:
        self._do("pragma", (axis,), text)

    @told_by(marks.tensorize)
    def tensorize(self, axis: Any, intrinsic: Any) -> None:
        if not isinstance(intrinsic, Intrinsic):
            raise ScheduleError(f"tensorize of {self.name} got {intrinsic!r}; an intrinsic is made by te.intrinsic(…)")
        self._do("tensorize", (axis,), {"intrinsic": intrinsic.declare().to_json()})

    @told_by(placement.compute_at)
    def compute_at(self, parent: Any, axis: Any) -> None:
        state = self.schedule.state
        at = stage_name(state, parent)
        self._do("compute_at", (), {"stage": at}, loop_name(state, at, axis, "compute_at"))

    @told_by(placement.compute_inline)
    def compute_inline(self) -> None:
        self._do("compute_inline")

    @told_by(placement.compute_root)
    def compute_root(self) -> None:
        self._do("compute_root")

    @told_by(placement.set_scope)
    def set_scope(self, scope: str) -> None:
        self._do("set_scope", (), scope)

    @told_by(placement.layout)
    def layout(self, *axes: Any) -> None:
        self._do("layout", axes)

    @told_by(placement.storage_align)
    def storage_align(self, axis: Any, factor: int, offset: int = 0) -> None:
        self._do("storage_align", (axis,), factor, offset)

    @told_by(placement.double_buffer)
    def double_buffer(self) -> None:
        self._do("double_buffer")

    @told_by(placement.prefetch)
    def prefetch(self, tensor: Any, axis: Any, offset: int) -> None:
        name = tensor_name(self.schedule.state, tensor)
        (loop,) = self._axes("prefetch", (axis,))
        self._do("prefetch", (), name, loop, offset)
