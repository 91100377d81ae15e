"""Handles: what `s[T]` and the primitives return. They are names, so they work on copies and replays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Axis, Expr
from tedsl.lang.tensor import Dim, Tensor

from .history import encoded
from .primitives import intrinsics as tensorize
from .state import StageState

if TYPE_CHECKING:
    from .schedule import Schedule


class Loop(Axis):
    """A loop of a stage, as primitives return it. It is only a name (and equal to every axis of that name); `extent` is
    that of the schedule when it was asked for, `stage` the name of the stage.
    """

    __slots__ = ()

    def __new__(cls, name: str, lo: Any = 0, extent: Any = None, stage: str = "") -> Loop:
        return Expr.__new__(cls, name, lo, extent, stage)

    stage = property(lambda self: self.args[3])


class StageHandle:
    """A stage of a schedule. Its primitives change the schedule; loops are given as primitives returned them, by their
    names, or as the axes of the definition.
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
                f"the schedule has no stage {self.name} any more: the step that made it was undone"
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

    # Loops ------------------------------------------------------------------------------------------------------------

    def split(self, axis: Any, factor: Dim | None = None, nparts: Dim | None = None) -> tuple[Loop, Loop]:
        """One loop becomes two: blocks of `factor` steps, or `nparts` blocks. Returns outer, inner.

        for i in 0..n    →    for i_o in 0..ceil(n / factor): for i_i in 0..factor

        The factor is a whole number or a size (`te.var`), and need not divide: the last block is shorter. Raises
        ScheduleError when the axis is no loop (any more), or is marked already.

        >>> import tedsl as te
        >>> i = te.axes("i")
        >>> A, B = te.tensor("A", (10,)), te.tensor("B"); B[i] = 2 * A[i]
        >>> s = te.create_schedule(B)
        >>> s[B].split(i, factor=4)
        (i_o, i_i)
        """
        return cast("tuple[Loop, Loop]", self._do("split", self._axis(axis, "split"), factor=factor, nparts=nparts))

    def tile(self, x: Any, y: Any, x_factor: Dim, y_factor: Dim) -> tuple[Loop, Loop, Loop, Loop]:
        """Two loops become four, the outer ones first: split both, then reorder. Returns outer x, outer y, inner x,
        inner y.

        for x, y    →    for x_o, y_o, x_i, y_i

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> s[B].tile(i, j, 4, 4)
        (i_o, j_o, i_i, j_i)
        >>> print(s)
        for i_o in 0..2:
          for j_o in 0..3:
            for i_i in 0..4:
              for j_i in 0..4:
                B[4 * i_o + i_i, 4 * j_o + j_i] = 2.0 * A[4 * i_o + i_i, 4 * j_o + j_i]
        """
        return cast(
            "tuple[Loop, Loop, Loop, Loop]",
            self._do("tile", self._axis(x, "tile"), self._axis(y, "tile"), x_factor, y_factor),
        )

    def fuse(self, *axes: Any) -> Loop:
        """Neighbouring loops, outermost first, become one. Returns it. Raises ScheduleError when they are not
        neighbours in this order, or when some are reduced over and others are not.

        for i in 0..n: for j in 0..m    →    for i_j in 0..n*m

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> s[B].fuse(i, j)
        i_j
        >>> print(s)
        for i_j in 0..96:
          B[i_j // 12, i_j % 12] = 2.0 * A[i_j // 12, i_j % 12]
        """
        return self._do("fuse", *(self._axis(a, "fuse") for a in axes))[0]

    def reorder(self, *axes: Any) -> None:
        """The given loops take, in the given order, the places that they have now; the others stay. Raises
        ScheduleError when a recurrence would read a step before it is computed, or a stage computed at one of the loops
        would be read outside of it.

        for i, j, k    reorder(k, i)    →    for k, j, i

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> s[B].reorder(j, i)
        >>> print(s)
        for j in 0..12:
          for i in 0..8:
            B[i, j] = 2.0 * A[i, j]
        """
        self._do("reorder", *(self._axis(a, "reorder") for a in axes))

    # Kinds ------------------------------------------------------------------------------------------------------------

    def vectorize(self, axis: Any) -> None:
        """The loop's steps become lanes of vector instructions. Raises ScheduleError for a loop that is reduced over
        (see `rfactor`), or whose steps depend on each other.

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> s[B].vectorize(j)
        >>> print(s)
        for i in 0..8:
          for j in 0..12 vectorized:
            B[i, j] = 2.0 * A[i, j]
        """
        self._do("vectorize", self._axis(axis, "vectorize"))

    def unroll(self, axis: Any) -> None:
        """The loop's steps are written out one after the other; a loop whose extent is known at the call alone stays
        one.

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> j_o, j_i = s[B].split(j, factor=2)
        >>> s[B].unroll(j_i)
        >>> print(te.lower(s))
        for i in 0..8:
          for j_o in 0..6:
            B[i, 2 * j_o] = 2.0 * A[i, 2 * j_o]
            B[i, 2 * j_o + 1] = 2.0 * A[i, 2 * j_o + 1]
        """
        self._do("unroll", self._axis(axis, "unroll"))

    def parallel(self, axis: Any) -> None:
        """The loop's steps are shared among threads. Raises ScheduleError for a loop that is reduced over (see
        `rfactor`), whose steps depend on each other, or that stands in a parallel loop.

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> s[B].parallel(i)
        >>> print(s)
        for i in 0..8 parallel:
          for j in 0..12:
            B[i, j] = 2.0 * A[i, j]
        """
        self._do("parallel", self._axis(axis, "parallel"))

    def bind(self, axis: Any, thread: str) -> None:
        """The loop runs on an axis of a GPU: "blockIdx.x" … "threadIdx.z". For target="cuda"."""
        self._do("bind", self._axis(axis, "bind"), thread)

    def pragma(self, axis: Any, text: str) -> None:
        """`#pragma text` before the loop in the C source. The text is taken as it is. Raises ScheduleError for text of
        no or several lines, and for a loop that runs in parallel, as lanes or written out. "stream", of a vectorised
        loop, is no text of C: whole lines of the cache are written past it.

        >>> import tedsl as te
        >>> i = te.axes("i")
        >>> A, B = te.tensor("A", (800,)), te.tensor("B"); B[i] = 2 * A[i]
        >>> s = te.create_schedule(B)
        >>> s[B].pragma(i, "GCC unroll 4")
        >>> print(s)
        #pragma GCC unroll 4
        for i in 0..800:
          B[i] = 2.0 * A[i]

        >>> i, j = te.axes("i j")
        >>> X, Y = te.tensor("X", (4096, 8192)), te.tensor("Y")
        >>> Y[i, j] = X[i, j] + 1
        >>> s = te.create_schedule(Y)
        >>> s[Y].vectorize(j)
        >>> s[Y].pragma(j, "stream")
        >>> "te_stream" in te.emit(s)
        True
        """
        self._do("pragma", self._axis(axis, "pragma"), text)

    def tensorize(self, axis: Any, intrinsic: Any) -> None:
        """The loops from `axis` inward become calls of an intrinsic (`te.intrinsic`), where they run in full. Raises
        ScheduleError when they are not its pattern.

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> a, c = te.tensor("a", (4,)), te.tensor("c"); c[i] = 2 * a[i]
        >>> j_o, j_i = s[B].split(j, factor=4)
        >>> s[B].tensorize(j_i, te.intrinsic("twice", c, "twice({c}, {a});", "void twice(float *c, const float *a);"))
        >>> print(s)
        for i in 0..8:
          for j_o in 0..3:
            twice(B[i, 4 * j_o], A[i, 4 * j_o]);
        """
        if not isinstance(intrinsic, tensorize.Intrinsic):
            raise ScheduleError(f"tensorize of {self.name} got {intrinsic!r}; an intrinsic is made by te.intrinsic(…)")
        self._do("tensorize", self._axis(axis, "tensorize"), {"intrinsic": intrinsic.to_json()})

    # Places -----------------------------------------------------------------------------------------------------------

    def compute_at(self, parent: Any, axis: Any) -> None:
        """Compute the stage inside of the loop `axis` of `parent`, just what is read there. Raises ScheduleError when
        something outside of that loop reads it, it is a result, or it is a stage of a recurrence that would read there
        what is not computed yet. Stages that step together go together to a loop of a stage that is none of them.
        (Halide: compute_at.)

        for all of H: H = …                  for i_o in V:
        for i_o in V: V = f(H)    →            for the part of H read in this step: H = …
                                               V = f(H)

        >>> import tedsl as te
        >>> i = te.axes("i")
        >>> X, H, V = te.tensor("X", (34,)), te.tensor("H"), te.tensor("V")
        >>> H[i] = 2 * X[i]; V[i] = H[i] + H[i + 1] + H[i + 2]
        >>> s = te.create_schedule(V)
        >>> i_o, i_i = s[V].split(i, factor=8)
        >>> s[H].compute_at(s[V], i_o)
        >>> print(s)
        for i_o in 0..4:
          H: float32[10] in global
          for i in 0..10:
            H[i] = 2.0 * X[8 * i_o + i]
          for i_i in 0..8:
            V[8 * i_o + i_i] = H[i_i] + H[i_i + 1] + H[i_i + 2]
        """
        at = self.schedule._stage(parent)
        self._do("compute_at", {"stage": at}, self.schedule._loop(at, axis, "compute_at"))

    def compute_inline(self) -> None:
        """The stage's expression takes the place of every read of it. Raises ScheduleError for reductions, recurrences
        and results.

        >>> import tedsl as te
        >>> i = te.axes("i")
        >>> X, H, V = te.tensor("X", (34,)), te.tensor("H"), te.tensor("V")
        >>> H[i] = 2 * X[i]; V[i] = H[i] + H[i + 1] + H[i + 2]
        >>> s = te.create_schedule(V)
        >>> s[H].compute_inline()
        >>> print(s)
        for i in 0..32:
          V[i] = 2.0 * X[i] + 2.0 * X[i + 1] + 2.0 * X[i + 2]
        """
        self._do("compute_inline")

    def compute_root(self) -> None:
        """Compute the stage in loops of its own (the default): undoes compute_at and compute_inline. Stages that step
        together go together.

        >>> import tedsl as te
        >>> i = te.axes("i")
        >>> X, H, V = te.tensor("X", (32,)), te.tensor("H"), te.tensor("V")
        >>> H[i] = 2 * X[i]; V[i] = H[i] + 1
        >>> s = te.create_schedule(V)
        >>> s[H].compute_inline(); s[H].compute_root()
        >>> print(s)
        H: float32[32] in global
        for i in 0..32:
          H[i] = 2.0 * X[i]
        for i in 0..32:
          V[i] = H[i] + 1.0
        """
        self._do("compute_root")

    def set_scope(self, scope: str) -> None:
        """Store the stage in "global", "cache" (a thread's scratch), "register" (named variables) or, on a GPU,
        "shared" memory. Raises ScheduleError for a result, which its caller stores. What is in registers needs constant
        indices once loops are written out: `te.lower` says so.

        >>> import tedsl as te
        >>> i = te.axes("i")
        >>> X, H, V = te.tensor("X", (32,)), te.tensor("H"), te.tensor("V")
        >>> H[i] = 2 * X[i]; V[i] = H[i] + 1
        >>> s = te.create_schedule(V)
        >>> s[H].compute_at(s[V], i); s[H].set_scope("register")
        >>> print(s)
        for i in 0..32:
          H: float32[1] in register
          H[0] = 2.0 * X[i]
          V[i] = H[0] + 1.0
        """
        self._do("set_scope", scope)

    def layout(self, *axes: Any) -> None:
        """Store the stage in the order of its own loops: each that is not reduced over, once. Over a split that does
        not divide it is padded up. Raises ScheduleError for a result, whose layout is its caller's.

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 12)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> P = s.cache_read(A, "global", B)
        >>> j_o, j_i = s[P].split(j, factor=4)
        >>> s[P].layout(j_o, i, j_i)
        >>> print(s)
        A.global: float32[3, 8, 4] in global
        for i in 0..8:
          for j_o in 0..3:
            for j_i in 0..4:
              A.global[j_o, i, j_i] = A[i, 4 * j_o + j_i]
        for i in 0..8:
          for j in 0..12:
            B[i, j] = 2.0 * A.global[j // 4, i, j % 4]
        """
        self._do("layout", *(self._axis(a, "layout") for a in axes))

    def storage_align(self, axis: Any, factor: int, offset: int = 0) -> None:
        """Begin rows along `axis` at multiples of `factor` elements, plus `offset` for each row: aligned, or apart in
        the cache. Raises ScheduleError for a result, and for a stage with a layout of its own.

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 13)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> P = s.cache_read(A, "global", B)
        >>> s[P].storage_align(i, 16)
        >>> print(s)
        A.global: float32[8, 13] in global, rows aligned to 16
        for i in 0..8:
          for j in 0..13:
            A.global[i, j] = A[i, j]
        for i in 0..8:
          for j in 0..13:
            B[i, j] = 2.0 * A.global[i, j]
        """
        self._do("storage_align", self._axis(axis, "storage_align"), factor, offset)

    def double_buffer(self) -> None:
        """Let two buffers take turns: while one is read, the other is filled for the next step of the loop at which the
        stage is computed. Raises ScheduleError for a stage that is not computed at a loop. Where the steps run in
        parallel, or the fill reads what the loop computes, there is one.

        >>> import tedsl as te
        >>> i = te.axes("i")
        >>> X, H, V = te.tensor("X", (32,)), te.tensor("H"), te.tensor("V")
        >>> H[i] = 2 * X[i]; V[i] = H[i] + 1
        >>> s = te.create_schedule(V)
        >>> i_o, i_i = s[V].split(i, factor=8)
        >>> s[H].compute_at(s[V], i_o); s[H].double_buffer()
        >>> print(te.lower(s))
        H: float32[2, 8] in global
        for i in 0..8:
          H[0, i] = 2.0 * X[i]
        for i_o in 0..3:
          for i in 0..8:
            H[(i_o + 1) % 2, i] = 2.0 * X[8 * i_o + i + 8]
          for i_i in 0..8:
            V[8 * i_o + i_i] = H[i_o % 2, i_i] + 1.0
        for i_i in 0..8:
          V[i_i + 24] = H[1, i_i] + 1.0
        """
        self._do("double_buffer")

    def prefetch(self, tensor: Any, axis: Any, offset: int) -> None:
        """Ask memory, in each step of `axis`, for what is read of `tensor` `offset` steps later: one request for each
        cache line, at most 256 of them (the first ones), never outside of the tensor. Raises ScheduleError for a tensor
        that the stage does not read, that does not move along the axis, or that is read at places that depend on data;
        and for a vectorised loop.

        >>> import tedsl as te
        >>> i, j = te.axes("i j")
        >>> A, B = te.tensor("A", (8, 48)), te.tensor("B"); B[i, j] = 2 * A[i, j]
        >>> s = te.create_schedule(B)
        >>> s[B].prefetch(A, i, 2)
        >>> print(s)
        for i in 0..8:
          for A.line1 in 0..4 unrolled:
            __builtin_prefetch(A[minimum(7, i + 2), minimum(47, 16 * A.line1)])
          for j in 0..48:
            B[i, j] = 2.0 * A[i, j]
        """
        self._do("prefetch", self.schedule._tensor(tensor), self._axis(axis, "prefetch"), offset)
