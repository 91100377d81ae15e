"""Elementwise stages: vectorised along the axis in which most of memory is contiguous, parallel along the outermost;
transposes by tiles.
"""

from __future__ import annotations

from math import prod

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Const, Expr, free_axes, reads_tensors, walk
from tedsl.lang.integers import conjuncts
from tedsl.lang.tensor import Tensor
from tedsl.schedule.loops.ir import STREAM

from ..loop_tree import Split
from ..schedule import Schedule
from .facts import Facts, View, count, look, points, seen
from .sharing import EVEN, Shareable, evenness, last_inside, share

UNROLLED = 4  # vectors in a row
BLOCK = 128  # rows and columns of a transposed matrix that are copied together
ROW_BYTES = 2048  # of a row from which it may be stored past the caches
CHUNKS = 64  # of a single long axis, for threads
CYCLE = 4  # elements that are written out because they come from several tensors in turn
ROWS = 4  # rows that are computed together when they read the same elements


def elementwise(s: Schedule, name: str, facts: Facts) -> bool:
    """A stage without a reduction."""
    view = look(s, name)
    stage = view.stage
    if view.reduction is not None or not view.simple or not view.axes or view.steps or stage.attach.kind == "inline":
        return False
    last = view.last
    lanes = facts.lanes(view.dtype)
    across = [a for a in view.before if any(view.stride(x, a) == 1 for x in view.accesses)]
    crossed = [
        a for a in across if any(view.stride(x, a) == 1 and view.stride(x, last) not in (0, 1) for x in view.accesses)
    ]
    handle = s[name]
    last_inside(handle, view)
    vectors: object = None
    turns = {} if view.calls else _in_turns(view)
    if turns:
        for axis, cycle in turns.items():  # written out, each element knows whose turn it is; C compilers interleave
            before, inner = handle.split(axis, factor=cycle)
            handle.unroll(inner)
            if axis is not last:
                _rows_at(s, view, axis, cycle, before)
    elif _bordered(view) and not view.calls:
        pass  # the loop is cut at the border, and is plain on both sides of it: C compilers vectorise it from there on
    elif crossed and count(last.extent) >= lanes and count(crossed[0].extent) >= 8:
        block = BLOCK if count(crossed[0].extent) >= 2 * BLOCK and count(last.extent) >= 2 * BLOCK else lanes
        row, column, inner_row, inner = handle.tile(crossed[0], last, BLOCK, block)
        if block > lanes:  # within a block each page is visited once
            line, inner = handle.split(inner, factor=lanes)
            handle.reorder(row, column, line, inner_row, inner)
        handle.vectorize(inner)
    elif count(last.extent) >= lanes and (near := _neighbours(view)) is not None:
        row_outer, row_inner = handle.split(near, factor=ROWS)
        column, inner = handle.split(last, factor=lanes)
        handle.reorder(row_outer, *_between(view, near), column, row_inner, inner)
        handle.unroll(row_inner)
        handle.vectorize(inner)
        if past_the_cache(view, facts):
            handle.pragma(inner, STREAM)
    elif past_the_cache(view, facts):
        written: object = last
        if _few(view):
            _, written = handle.split(last, nparts=CHUNKS)
        handle.vectorize(written)
        handle.pragma(written, STREAM)
    elif count(last.extent) >= lanes:
        width = lanes * UNROLLED if count(last.extent) >= 2 * lanes * UNROLLED and not view.expensive else lanes
        vectors, inner = handle.split(last, factor=width)
        handle.vectorize(inner)
    if view.large and view.at_root and (not turns or len(view.axes) > 1):
        if vectors is not None and _few(view) and not _places(s, name):
            handle.split(vectors, nparts=CHUNKS)
        _share(s, name, view)
    return True


def _few(view: View) -> bool:
    """Whether the axes before the last have too few steps for threads to share."""
    return evenness(points(view.before)) < EVEN


def _places(s: Schedule, name: str) -> set[str]:
    """The loops of a stage at which others are computed."""
    return {other.attach.axis for other in seen(s).inside_of(name)}


def _share(s: Schedule, name: str, view: View) -> None:
    """Run the outer loops of a stage in parallel: those that are axes of its own, or were cut off one. Where others are
    computed in them, they stay as they are, and the first runs in parallel.
    """
    stage = s.state.stage(name)
    inner = {r.inner for r in stage.relations if isinstance(r, Split)}
    own = {a.name for a in view.axes}
    loops: list[Shareable] = []
    for loop in s[name].loops:
        alone = loop.name == view.last.name and any(x.steps > 1 for x in loops)  # the compiler's to vectorise
        if loop.name in inner or stage.kind(loop.name) != "serial" or alone:
            break
        loops.append(Shareable(loop, count(loop.extent), loop.name in own))
    places = _places(s, name)
    first = next((n for n, x in enumerate(loops) if x.steps > 1), 0)
    share(s[name], loops[: first + 1] if places else loops)


def past_the_cache(view: View, facts: Facts) -> bool:
    """Whether a stage of plain arithmetic makes a result that will not be found in the last cache: lines that are
    written whole are then better not read before. Rows have to be long, since their ends are stored one element at a
    time.
    """
    stage = view.stage
    last = view.last.extent
    whole = isinstance(last, int) and all(isinstance(d, int) for a in view.accesses for d in a.tensor.shape)
    if not stage.is_output or stage.attach.kind != "root" or len(stage.tensors) > 1 or view.calls or not whole:
        return False
    size = dtypes.itemsize(view.dtype)
    parts = CHUNKS if _few(view) else 1
    if view.dtype in ("bool", "float16", "bfloat16") or count(last) * size < ROW_BYTES * parts:
        return False
    tensors = dict.fromkeys([stage.tensor, *(a.tensor for a in view.accesses)])
    return sum(prod(map(count, t.shape)) * dtypes.itemsize(t.dtype) for t in tensors) > facts.cache_bytes


def _in_turns(view: View) -> dict[Axis, int]:
    """The axes along which elements come from several tensors in turn (``x % 2 == 0``), or several from one element
    (``x // 2``), with the length of the cycle.
    """
    found: dict[Axis, int] = {}

    def cycle(e: Expr, function: str) -> None:
        if isinstance(e, Apply) and e.function == function and isinstance(e.operands[1], Const):
            axis, length = e.operands[0], int(e.operands[1].value)
            if isinstance(axis, Axis) and 1 < length <= CYCLE and count(axis.extent) >= length:
                found[axis] = max(length, found.get(axis, 0))

    for v in view.values:
        for n in walk(v):
            if isinstance(n, Apply) and n.function == "where":
                for test in walk(n.operands[0]):
                    cycle(test, "remainder")
            elif isinstance(n, Access):
                for index in n.indices:
                    cycle(index, "floor_divide")
    return found if len(found) <= 2 else {}


def _rows_at(s: Schedule, view: View, axis: Axis, cycle: int, place: object) -> None:
    """Compute what is computed inside of a stage that takes its elements in turn at the step of the rows that it
    gives.
    """
    d = next(n for n, a in enumerate(view.axes) if a is axis)
    row = Apply("floor_divide", (axis, Const(cycle)))
    for producer in seen(s).inside_of(view.stage.name):
        reads = [n for n in view.accesses if n.tensor in producer.tensors]
        if reads and all(len(n.indices) > d and n.indices[d] is row for n in reads):
            s[producer.name].compute_at(s[view.stage.name], place)


def _bordered(view: View) -> bool:
    """Whether an element is read under a condition on the last axis alone, as in a copy with zeros around it."""
    last = view.last
    for v in view.values:
        for n in walk(v):
            if isinstance(n, Apply) and n.function == "where":
                for test in conjuncts(n.operands[0]):
                    if free_axes(test) == (last,) and not reads_tensors(test):
                        return True
    return False


def _neighbours(view: View) -> Axis | None:
    """The axis (not the last) along which elements that follow one another read the same elements."""
    for row in reversed(view.before):
        if count(row.extent) < 2 * ROWS:
            continue
        found: dict[Tensor, tuple[Expr, ...]] = {}
        for access in view.accesses:
            if (
                view.stride(access, row)
                and _differ(found.setdefault(access.tensor, access.indices), access.indices)
                and not view.calls
            ):
                return row
    return None


def _differ(a: tuple[Expr, ...], b: tuple[Expr, ...]) -> bool:
    return any(x is not y for x, y in zip(a, b, strict=True))


def _between(view: View, row: Axis) -> tuple[Axis, ...]:
    """The axes between a row and the last."""
    place = next(n for n, a in enumerate(view.before) if a is row)
    return view.before[place + 1 :]
