"""Handles: what `s[T]` and the primitives return. They are names, so they work on copies and replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tedsl.lang.errors import ScheduleError, here
from tedsl.lang.expr import Axis, Expr
from tedsl.lang.tensor import Dim, Tensor

from . import tensorize
from .history import encoded
from .state import StageState

if TYPE_CHECKING:
    from .schedule import Schedule


class Loop(Axis):
    """A loop of a stage, as primitives return it. It is only a name (and equal to every axis of that name); `extent` is that of the schedule when it
    was asked for, `stage` the name of the stage.
    """

    __slots__ = ()

    def __new__(cls, name: str, lo: Any = 0, extent: Any = None, stage: str = "") -> Loop:
        return Expr.__new__(cls, name, lo, extent, stage)

    stage = property(lambda self: self.args[3])


class StageHandle:
    """A stage of a schedule. Its primitives change the schedule; loops are given as primitives returned them, by their names, or as the axes of the
    definition.
    """

    __slots__ = ("name", "schedule")

    def __init__(self, schedule: Schedule, name: str) -> None:
        self.schedule, self.name = schedule, name

    @property
    def state(self) -> StageState:
        try:
            return self.schedule.state.stage(self.name)
        except KeyError:
            raise ScheduleError(
                f"the schedule has no stage {self.name} any more: the step that made it was undone", here()
            ) from None

    def _exists(self) -> StageState:
        """The stage, if it is still there; raises ScheduleError when the step that made it was undone."""
        return self.state

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

    def _do(self, primitive: str, *args: Any, **kwargs: Any) -> tuple[Loop, ...]:
        self._exists()
        return tuple(
            self._made(n)
            for n in self.schedule._apply(
                self.name,
                primitive,
                [encoded(a) for a in args],
                {k: encoded(v) for k, v in kwargs.items() if v is not None},
            )
        )

    def _axis(self, key: Any, primitive: str) -> str:
        self._exists()
        return self.schedule._loop(self.name, key, primitive)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StageHandle) and other.schedule is self.schedule and other.name == self.name

    def __hash__(self) -> int:
        return hash((id(self.schedule), self.name))

    def __repr__(self) -> str:
        return f"<stage {self.name}: {', '.join(self.state.leaves) or 'no loops'}>"

    # Loops -------------------------------------------------------------------------------------------------------------------------------

    def split(self, axis: Any, factor: Dim | None = None, nparts: Dim | None = None) -> tuple[Loop, Loop]:
        """One loop becomes two: blocks of `factor` steps, or `nparts` blocks. Returns outer, inner.

        for i in 0..n    →    for i_o in 0..ceil(n / factor): for i_i in 0..factor

        The factor is a whole number or a size (`te.var`), and need not divide: the last block is shorter. Raises ScheduleError when the axis is no
        loop (any more), or is marked already.

        >>> import tedsl as te
        >>> i = te.axes("i")
        >>> A, B = te.tensor("A", (10,)), te.tensor("B"); B[i] = 2 * A[i]
        >>> s = te.create_schedule(B)
        >>> s[B].split(i, factor=4)
        (i_o, i_i)
        """
        return cast("tuple[Loop, Loop]", self._do("split", self._axis(axis, "split"), factor=factor, nparts=nparts))

    def tile(self, x: Any, y: Any, x_factor: Dim, y_factor: Dim) -> tuple[Loop, Loop, Loop, Loop]:
        """Two loops become four, the outer ones first: split both, then reorder. Returns outer x, outer y, inner x, inner y."""
        return cast(
            "tuple[Loop, Loop, Loop, Loop]",
            self._do("tile", self._axis(x, "tile"), self._axis(y, "tile"), x_factor, y_factor),
        )

    def fuse(self, *axes: Any) -> Loop:
        """Neighbouring loops, outermost first, become one. Returns it. Raises ScheduleError when they are not neighbours in this order, or when some
        are reduced over and others are not.
        """
        return self._do("fuse", *(self._axis(a, "fuse") for a in axes))[0]

    def reorder(self, *axes: Any) -> None:
        """The given loops take, in the given order, the places that they have now; the others stay. Raises ScheduleError when a recurrence would
        read a step before it is computed, or a stage computed at one of the loops would be read outside of it.
        """
        self._do("reorder", *(self._axis(a, "reorder") for a in axes))

    # Kinds -------------------------------------------------------------------------------------------------------------------------------

    def vectorize(self, axis: Any) -> None:
        """The loop's steps become lanes of vector instructions. Raises ScheduleError for a loop that is reduced over (see `rfactor`), or whose steps
        depend on each other.
        """
        self._do("vectorize", self._axis(axis, "vectorize"))

    def unroll(self, axis: Any) -> None:
        """The loop's steps are written out one after the other."""
        self._do("unroll", self._axis(axis, "unroll"))

    def parallel(self, axis: Any) -> None:
        """The loop's steps are shared among threads. Raises ScheduleError for a loop that is reduced over (see `rfactor`), whose steps depend on each
        other, or that stands in a parallel loop.
        """
        self._do("parallel", self._axis(axis, "parallel"))

    def bind(self, axis: Any, thread: str) -> None:
        """The loop runs on an axis of a GPU: "blockIdx.x" … "threadIdx.z". For target="cuda"."""
        self._do("bind", self._axis(axis, "bind"), thread)

    def pragma(self, axis: Any, text: str) -> None:
        """`#pragma text` before the loop in the C source."""
        self._do("pragma", self._axis(axis, "pragma"), text)

    def tensorize(self, axis: Any, intrinsic: Any) -> None:
        """The loops from `axis` inward become calls of an intrinsic (`te.intrinsic`). Raises ScheduleError when they are not its pattern."""
        if not isinstance(intrinsic, tensorize.Intrinsic):
            raise ScheduleError(
                f"tensorize of {self.name} got {intrinsic!r}; an intrinsic is made by te.intrinsic(…)", here()
            )
        self._do("tensorize", self._axis(axis, "tensorize"), {"intrinsic": intrinsic.to_json()})

    # Places ------------------------------------------------------------------------------------------------------------------------------

    def compute_at(self, parent: Any, axis: Any) -> None:
        """Compute the stage inside of the loop `axis` of `parent`, just what is read there. Raises ScheduleError when something outside of that loop
        reads it, or it is a result or a recurrence.
        """
        at = self.schedule._stage(parent)
        self._do("compute_at", {"stage": at}, self.schedule._loop(at, axis, "compute_at"))

    def compute_inline(self) -> None:
        """The stage's expression takes the place of every read of it. Raises ScheduleError for reductions, recurrences and results."""
        self._do("compute_inline")

    def compute_root(self) -> None:
        """Compute the stage in loops of its own (the default)."""
        self._do("compute_root")

    def set_scope(self, scope: str) -> None:
        """Store the stage in "global", "cache", "register" or "shared" memory."""
        self._do("set_scope", scope)

    def layout(self, *axes: Any) -> None:
        """Store the stage in the order of its own loops: each that is not reduced over, once."""
        self._do("layout", *(self._axis(a, "layout") for a in axes))

    def storage_align(self, axis: Any, factor: int, offset: int = 0) -> None:
        """Begin rows along `axis` at multiples of `factor` elements, plus `offset`."""
        self._do("storage_align", self._axis(axis, "storage_align"), factor, offset)

    def double_buffer(self) -> None:
        """Let two buffers take turns, one filled while the other is read."""
        self._do("double_buffer")

    def prefetch(self, tensor: Any, axis: Any, offset: int) -> None:
        """Ask memory, in each step of `axis`, for what is read of `tensor` `offset` steps later."""
        self._do("prefetch", self.schedule._tensor(tensor), self._axis(axis, "prefetch"), offset)
