"""The loop IR: what a schedule is lowered to and what the backends print.

    stmt ::= Block(stmts)                                    one after the other
           | For(axis, lo, extent, step, kind, body, origin) axis = lo, lo + step, … : `extent` of them; kind: see KINDS
           | Store(buffer, indices, value)                   buffer[indices] = value
           | Allocate(buffer, body)                          a temporary that lives while body runs
           | If(condition, then, otherwise)
           | Assert(condition, fault, details)               leave the kernel with fault number `fault` unless it holds
           | Call(text, operands)                            a statement of the target language with its operands

What the passes for a target's vectors make of a vectorised loop (schedule/passes/vectorize.py):

    stmt  ::= Vector(axis, base, lanes, body, to, row)       body for axis = base, base + 1, … at once: `lanes` of them
            | Strips(loop, axis, strips)                     loop in strips of lanes one after the other, from `axis` on
            | Carried(rows, first, rest)                     a loop whose vectors make lines with those before
            | Squares(loop, lanes, body)                     loop in whole steps of `lanes`
            | Turned(squares, axis, first, lanes, body)      body with squares that were transposed in registers
            | Fence()                                        what was stored past the caches is there for all threads
    strip ::= Strip(lanes, sort, body)                       "while" lanes are left, "if" so many are, up to a "line"

    value ::= the expressions of tedsl.lang.expr without Reduce, where Access(buffer, indices) loads from a Buffer

Statements are immutable. A loop's axis is a plain name; its range is in the For, so passes may cut a loop in pieces by
copying it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from tedsl.lang.expr import READS, Access, Axis, Const, Expr, accesses, substitution
from tedsl.lang.integers import Known
from tedsl.lang.tensor import Dim, Tensor

KINDS = ("serial", "parallel", "vectorized", "unrolled")
GPU_AXES = tuple(f"{kind}.{dim}" for kind in ("blockIdx", "threadIdx") for dim in "xyz")
SCOPES = ("global", "cache", "register", "shared")
STREAM = "stream"  # the pragma of a vectorised loop that writes past the caches
FENCED = "fenced"  # of a parallel loop with such loops inside


class Buffer:
    """Memory. `tensor`: what it holds; `role`: input, output or temporary. Identity matters; the fields do not change
    once lowering is done.

    `strides` (in elements) is None for row-major. `align`: the row pitch is a multiple of this many elements, plus
    `offset` (storage_align).
    """

    __slots__ = ("align", "double", "dtype", "name", "role", "scope", "shape", "strides", "tensor")

    def __init__(
        self, name: str, shape: tuple[Dim, ...], dtype: str, scope: str, role: str, tensor: Tensor | None = None,
        strides: tuple[Dim, ...] | None = None, align: tuple[int, int, int] | None = None, double: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.shape, self.dtype, self.scope, self.role = name, shape, dtype, scope, role
        self.tensor, self.strides, self.align, self.double = tensor, strides, align, double

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"{self.name}[{' x '.join(map(str, self.shape))}] {self.dtype} ({self.scope})"


def strides_of(buffer: Buffer) -> tuple[Any, ...]:
    """The distance, in elements, between neighbours in each dimension."""
    if buffer.strides is not None:
        return buffer.strides
    result: list[Any] = []
    step: Any = 1
    for d in reversed(range(len(buffer.shape))):
        if buffer.align is not None and buffer.align[0] == d and result:
            _, factor, offset = buffer.align
            step = (
                step + (factor + offset - step % factor) % factor
                if isinstance(step, int)
                else (step + factor - 1) // factor * factor + offset
            )
        result.insert(0, step)
        step = step * buffer.shape[d]
    return tuple(result)


class Stmt:
    """Base of all statements."""

    __slots__ = ()

    @property
    def body_parts(self) -> tuple[Stmt, ...]:
        return ()


class Around(Stmt):
    """Base of statements around one `body`."""

    __slots__ = ()
    body: Stmt

    @property
    def body_parts(self) -> tuple[Stmt, ...]:
        return (self.body,)


@dataclass(frozen=True, slots=True, eq=False)
class Block(Stmt):
    stmts: tuple[Stmt, ...]

    @property
    def body_parts(self) -> tuple[Stmt, ...]:
        return self.stmts


@dataclass(frozen=True, slots=True, eq=False)
class For(Around):
    axis: Axis
    lo: Expr
    extent: Expr
    kind: str
    body: Stmt
    step: int = 1
    origin: str = ""  # the stage and its axis
    pragmas: tuple[str, ...] = ()
    step_from: str = ""  # the step of the schedule that made the loop
    no_vectors: str = ""  # why a vectorised loop became a plain one

    @property
    def bound(self) -> bool:
        """Whether its steps run on an axis of a GPU, which stays as it is."""
        return "." in self.kind


@dataclass(frozen=True, slots=True, eq=False)
class Store(Stmt):
    buffer: Buffer
    indices: tuple[Expr, ...]
    value: Expr
    extra: int = 0  # operations that the value stands for and does not show (the comparison of an argmax)


@dataclass(frozen=True, slots=True, eq=False)
class Allocate(Around):
    """A temporary. `in_memory`: it was meant for registers, and a loop over it whose extent only the call tells keeps
    it in memory (of a tile, the remainder).
    """

    buffer: Buffer
    body: Stmt
    in_memory: bool = False
    variables: tuple[tuple[int, int], ...] | None = None  # (first element, lanes) of each, if it is kept in variables


@dataclass(frozen=True, slots=True, eq=False)
class If(Stmt):
    condition: Expr
    then: Stmt
    otherwise: Stmt | None = None
    added: bool = True  # whether lowering put it there (a guard), rather than the user's `where=`

    @property
    def body_parts(self) -> tuple[Stmt, ...]:
        return (self.then,) if self.otherwise is None else (self.then, self.otherwise)


@dataclass(frozen=True, slots=True, eq=False)
class Assert(Stmt):
    condition: Expr
    fault: int
    details: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Call(Stmt):
    """`text` with {0}, {1} … for operands: an address (Access) for reads and writes, or a value. `header`: what the
    text needs before the function; `instead_of`: the statements that it does the work of.
    """

    text: str
    operands: tuple[Expr, ...]
    header: str = ""
    instead_of: Stmt | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The vectors that a loop's store writes one after the other; `first`, `last`: the indices of the outermost."""

    loop: For
    lanes: int
    first: tuple[Expr, ...]
    last: tuple[Expr, ...]

    @property
    def store(self) -> Store:
        return cast(Store, self.loop.body)


@dataclass(frozen=True, slots=True, eq=False)
class Vector(Around):
    """`to`: where stores go: "" as ever, "past" the caches, or to a line of `row`: its "first" vector or the "next"."""

    axis: Axis
    base: Expr
    lanes: int
    body: Stmt
    to: str = ""
    row: Row | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    lanes: int
    sort: str
    body: Stmt


@dataclass(frozen=True, slots=True, eq=False)
class Strips(Stmt):
    loop: For
    axis: Axis
    strips: tuple[Strip, ...]

    @property
    def body_parts(self) -> tuple[Stmt, ...]:
        return tuple([s.body for s in self.strips])


@dataclass(frozen=True, slots=True, eq=False)
class Carried(Stmt):
    rows: tuple[Row, ...]
    first: For
    rest: For

    @property
    def body_parts(self) -> tuple[Stmt, ...]:
        return (self.first, self.rest)


@dataclass(frozen=True, slots=True, eq=False)
class Squares(Around):
    loop: For
    lanes: int
    body: Stmt


@dataclass(frozen=True, slots=True, eq=False)
class Turned(Around):
    """`squares`: buffers of registers, each with the access that is read along its rows, `lanes` from `first` on."""

    squares: tuple[tuple[Buffer, Access], ...]
    axis: Axis
    first: int
    lanes: int
    body: Stmt


@dataclass(frozen=True, slots=True, eq=False)
class Fence(Stmt):
    pass


def block(*stmts: Stmt | None) -> Stmt:
    """`stmts` one after the other, flattened; a single one is itself."""
    flat: list[Stmt] = []
    for s in stmts:
        if isinstance(s, Block):
            flat.extend(s.stmts)
        elif s is not None:
            flat.append(s)
    return flat[0] if len(flat) == 1 else Block(tuple(flat))


def preorder(root: Stmt) -> Iterator[Stmt]:
    """Every statement, outer ones first, in program order."""
    stack = [root]
    while stack:
        stmt = stack.pop()
        yield stmt
        stack.extend(reversed(stmt.body_parts))


_S = TypeVar("_S", bound=Stmt)


def changed(stmt: _S, **fields: Any) -> _S:
    """`dataclasses.replace` without its checks: unrolling makes statements by the thousand."""
    made = object.__new__(type(stmt))
    fields_of: tuple[str, ...] = type(stmt).__slots__
    for name in fields_of:
        object.__setattr__(made, name, fields[name] if name in fields else getattr(stmt, name))
    return made


def with_bodies(stmt: Stmt, bodies: tuple[Stmt, ...]) -> Stmt:
    """The same statement around other bodies; itself when they are the same."""
    if all([a is b for a, b in zip(bodies, stmt.body_parts, strict=True)]):
        return stmt
    if isinstance(stmt, Block):
        return block(*bodies)
    if isinstance(stmt, If):
        return replace(stmt, then=bodies[0], otherwise=bodies[1] if len(bodies) > 1 else None)
    if isinstance(stmt, Strips):
        return replace(stmt, strips=tuple(replace(s, body=b) for s, b in zip(stmt.strips, bodies, strict=True)))
    if isinstance(stmt, Carried):
        return replace(stmt, first=cast(For, bodies[0]), rest=cast(For, bodies[1]))
    if isinstance(stmt, For):
        return changed(stmt, body=bodies[0])
    return replace(cast(Any, stmt), body=bodies[0])


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that stand in a statement itself (not in its bodies)."""
    if isinstance(stmt, For):
        return (stmt.lo, stmt.extent)
    if isinstance(stmt, Store):
        return (*stmt.indices, stmt.value)
    if isinstance(stmt, Vector):
        return (stmt.base,)
    if isinstance(stmt, (Strips, Squares)):
        return expressions(stmt.loop)
    if isinstance(stmt, Turned):
        return tuple(e for _, e in stmt.squares)
    if isinstance(stmt, If):
        return (stmt.condition,)
    if isinstance(stmt, Assert):
        return (stmt.condition, *stmt.details)
    if isinstance(stmt, Call):
        return stmt.operands
    return ()


def map_expressions(stmt: Stmt, rule: Callable[[Expr], Expr]) -> Stmt:
    """`stmt` with `rule` applied to the expressions that stand in it (not in its bodies)."""
    if isinstance(stmt, For):
        lo, extent = rule(stmt.lo), rule(stmt.extent)
        if lo is stmt.lo and extent is stmt.extent:
            return stmt
        return changed(stmt, lo=lo, extent=extent)
    if isinstance(stmt, Store):
        indices, value = tuple([rule(e) for e in stmt.indices]), rule(stmt.value)
        same = value is stmt.value and all([a is b for a, b in zip(indices, stmt.indices, strict=True)])
        return stmt if same else changed(stmt, indices=indices, value=value)
    if isinstance(stmt, Vector):
        return replace(stmt, base=rule(stmt.base))
    if isinstance(stmt, (Strips, Squares)):
        return replace(stmt, loop=cast(For, map_expressions(stmt.loop, rule)))
    if isinstance(stmt, Turned):
        return replace(stmt, squares=tuple((square, cast(Access, rule(e))) for square, e in stmt.squares))
    if isinstance(stmt, If):
        return replace(stmt, condition=rule(stmt.condition))
    if isinstance(stmt, Assert):
        return replace(stmt, condition=rule(stmt.condition), details=tuple(map(rule, stmt.details)))
    if isinstance(stmt, Call):
        return replace(stmt, operands=tuple(map(rule, stmt.operands)))
    return stmt


def everywhere(root: Stmt, rule: Callable[[Expr], Expr]) -> Stmt:
    """`root` with `rule` applied to every expression in it."""
    stmt = map_expressions(root, rule)
    return with_bodies(stmt, tuple([everywhere(b, rule) for b in stmt.body_parts]))


def substitute_axis(root: Stmt, axis: Axis, value: Expr) -> Stmt:
    """`root` with a loop's axis replaced by a value (the loop itself is gone)."""
    return everywhere(root, substitution({axis: value}))


def inside(known: Known, loop: For) -> Known:
    """What is known in the body of a loop."""
    if loop.step == 1:
        return known.with_(ranges={loop.axis: (loop.lo, loop.extent)})
    span = (loop.extent - 1) * loop.step + 1
    return known.with_(ranges={loop.axis: (loop.lo, span)}, conditions=((loop.axis - loop.lo) % loop.step == 0,))


def loads(*roots: Expr) -> Iterator[Access]:
    """The accesses in expressions of the IR."""
    for e in roots:
        if e.has & READS:
            yield from accesses(e)


def loads_in(stmt: Stmt) -> Iterator[Access]:
    """Every access that a statement, or one inside of it, reads."""
    return (a for s in preorder(stmt) for a in loads(*expressions(s)))


def constant(e: Expr) -> int | None:
    """The value of an integer constant, else None."""
    return int(e.value) if isinstance(e, Const) else None
