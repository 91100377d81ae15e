"""What every step of lowering works with: the stages, where their tensors are stored, and which loops are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tedsl.lang.errors import LoweringError
from tedsl.lang.expr import Access, Axis, Const, Expr, rewrite, walk
from tedsl.lang.integers import Known, constant_bounds, upper
from tedsl.lang.tensor import Dim, Tensor
from tedsl.schedule.loop_tree import dim
from tedsl.schedule.loops.ir import Buffer, Stmt
from tedsl.schedule.state import StageState, State, unique

from .index_checks import Checks
from .regions import Box, Interval


@dataclass(slots=True)
class Scope:
    """The loops that are open: what is known of their axes, and which names are taken."""

    known: Known
    names: frozenset[str]

    def opened(self, axis: Axis, lo: Expr, extent: Expr, step: int = 1) -> Scope:
        ranges: dict[Axis, tuple[int | Expr, int | Expr]] = {
            axis: (lo, extent if step == 1 else (extent - 1) * step + 1)
        }
        return Scope(self.known.with_(ranges=ranges), self.names | {axis.name})

    def axis(self, name: str) -> Axis:
        return Axis(unique(name, set(self.names)))


class Lowering:
    """A program that is being lowered: its state, its buffers, and `loops`, which makes the loops of stages that step
    together (of the part of each that `boxes` names) where loops are open.
    """

    def __init__(
        self, state: State, inputs: tuple[Tensor, ...], checks: Checks, symbolic: bool,
        loops: Callable[[Lowering, Sequence[StageState], Mapping[str, Box], Scope], Stmt],
    ) -> None:  # fmt: skip
        self.loops = loops
        if symbolic:
            state = state.updated(*(replace(s, divides=True) for s in state.stages))
        self.state, self.checks, self.symbolic = state, checks, symbolic
        self.buffers: dict[Tensor, Buffer] = {}
        self.origin: dict[Tensor, tuple[Expr, ...]] = {}  # first index that a buffer holds, per dimension
        self.storage: dict[Tensor, tuple[StageState, dict[str, Dim]]] = {}  # tensors with a layout of their own
        self.temporaries: list[Buffer] = []
        self.used: set[str] = set()
        self.arguments: dict[Tensor, Buffer] = {}
        for tensor, role in [*((t, "input") for t in inputs), *((t, "output") for t in state.outputs)]:
            if tensor not in self.arguments:
                buffer = Buffer(
                    unique(tensor.name, self.used),
                    tensor.shape,
                    tensor.dtype,
                    "global",
                    role,
                    tensor,
                    tensor.strides if role == "input" else None,
                )
                self.arguments[tensor] = self.buffers[tensor] = buffer

    def allocate(
        self, stage: StageState, tensor: Tensor, box: tuple[Interval, ...] | list[Interval], known: Known
    ) -> Buffer:
        """A buffer for the part of `tensor` that `box` names; constant extents where they can be bounded."""
        sizes = [self.size(extent, known) for _, extent in box]
        strides = None
        if stage.layout is not None:
            extents = {a.name: s for a, s in zip(stage.axes, sizes, strict=True)}
            sizes = [stage.tree(extents).extent(leaf) for leaf in stage.layout]
            self.storage[tensor] = stage, extents
        align = None
        if stage.align is not None:
            name, factor, offset = stage.align
            align = (stage.dimensions[name], factor, offset)
        buffer = Buffer(
            unique(tensor.name, self.used),
            tuple(sizes),
            tensor.dtype,
            stage.scope,
            "temporary",
            tensor,
            strides,
            align,
            stage.double_buffer,
        )
        self.buffers[tensor] = buffer
        self.origin[tensor] = tuple(lo for lo, _ in box)
        self.temporaries.append(buffer)
        return buffer

    def release(self, buffer: Buffer) -> None:
        """Forget a buffer whose tensor is stored nowhere from here on."""
        assert buffer.tensor is not None
        del self.buffers[buffer.tensor]
        self.origin.pop(buffer.tensor)
        self.storage.pop(buffer.tensor, None)

    def size(self, extent: Expr, known: Known) -> Dim:
        """A bound of an extent that needs no loop's axis: a constant if there is one."""
        high = None if self.symbolic else constant_bounds(extent, known)[1]
        if high is not None:
            return max(high, 0)
        moving = [a for a in walk(extent) if isinstance(a, Axis)]
        bound = upper(extent, moving, known) if moving else extent
        if bound is None:
            raise LoweringError(f"no bound for the extent `{extent!r}` of a temporary could be found")
        return dim(bound)

    def place(self, tensor: Tensor, indices: tuple[Expr, ...]) -> tuple[Buffer, tuple[Expr, ...]]:
        """Where the element `indices` of a tensor is stored."""
        buffer = self.buffers[tensor]
        origin = self.origin.get(tensor)
        if origin is not None:
            indices = tuple(
                i - lo if not (isinstance(lo, Const) and lo.value == 0) else i
                for i, lo in zip(indices, origin, strict=True)
            )
        if tensor in self.storage:
            stage, extents = self.storage[tensor]
            found = stage.tree(extents).values({a.name: i for a, i in zip(stage.axes, indices, strict=True)})
            assert stage.layout is not None
            indices = tuple(found[leaf] for leaf in stage.layout)
        return buffer, indices

    def load(self, expr: Expr, mapping: Mapping[Expr, Expr]) -> Expr:
        """A value of the language as a value of the IR: axes replaced, tensors read where they are stored."""
        memo = dict(mapping)

        def rule(node: Expr) -> Expr | None:
            if isinstance(node, Access) and isinstance(node.tensor, Tensor):
                buffer, indices = self.place(node.tensor, node.indices)
                return Access(buffer, indices)
            return None

        return rewrite(expr, rule, memo)
