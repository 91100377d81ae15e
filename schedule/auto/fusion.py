"""Which stages are computed where: cheap ones inside their readers, row reductions beside the row that needs them."""

from __future__ import annotations

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Const, Reduce, walk

from ..handles import StageHandle
from ..schedule import Schedule
from ..state import StageState
from .facts import Facts, View, as_long, count, look, points, seen

PLANE_BYTES = 128 * 1024  # of the planes that are kept while a stage goes over them
TAPS = 32  # steps of a reduction that is computed plane by plane
ROW_BYTES = 32 * 1024  # of a row that is kept while the stages that read it go over it
FEW = 16  # operations that may be repeated rather than stored
TILE_ROWS, TILE_COLUMNS = (
    16,
    128,
)  # of a stage inside of which another is computed: what they share stays in the L1 cache


def inline_stages(s: Schedule, facts: Facts) -> bool:
    """Put cheap elementwise stages into their readers, later ones first."""
    for stage in reversed(seen(s).stages):
        if _worth_inlining(s, seen(s).stage(stage.name)):
            s[stage.name].compute_inline()
    return True


def _worth_inlining(s: Schedule, stage: StageState) -> bool:
    view = View(stage)
    if stage.is_output or view.reduction is not None or not view.simple or s.state.group(stage.name) is not None:
        return False
    if any(isinstance(n, Access) and not _plain(n) for n in view.accesses):
        return False
    operations = sum(isinstance(n, Apply) and n.dtype not in ("int", "bool") for v in view.values for n in walk(v))
    times = 0
    for reader in seen(s).readers(stage.tensor):
        other = View(reader)
        if not other.simple:
            return False
        reads = [n for n in other.accesses if n.tensor is stage.tensor]
        reused = other.reduction is not None and any(
            not other.uses(n, a) for n in reads for a in other.axes if count(a.extent) > 1
        )
        overlapping = any(i.dtype == "int" and not _plain_index(i) for n in reads for i in n.indices)
        if (
            overlapping
            and _by_rows(other, reads)
            and operations * len(reads) <= FEW
            and not view.calls
            and not _tests(view)
        ):
            return True  # neighbouring rows of the reader are computed together and share it
        if (reused or overlapping) and (operations > 0 or _tests(view)):
            return False
        times += len(reads)
    return times > 0 and (times == 1 or operations * times <= 2 or not operations)


def _by_rows(reader: View, reads: list[Access]) -> bool:
    """Whether an elementwise reader reads neighbours in the same column only."""
    if reader.reduction is not None or len(reader.axes) < 2 or len(reader.stage.tensors) > 1:
        return False
    return len({n.indices[-1] for n in reads}) == 1 and all(reader.stride(n, reader.axes[-1]) == 1 for n in reads)


def _plain(access: Access) -> bool:
    """Whether an access reads at places that do not depend on data."""
    return not any(isinstance(n, Access) for i in access.indices for n in walk(i))


def _plain_index(index: object) -> bool:
    return isinstance(index, (Axis, Const))


def _tests(view: View) -> bool:
    return any(isinstance(n, Apply) and n.function == "where" for v in view.values for n in walk(v))


def into_reader(s: Schedule, name: str) -> tuple[StageHandle, StageHandle, dict[str, str]]:
    """A reduction is computed in a register tile: `(result, local, names)`, where the tile `local` is stored by
    `result`, and `names` are the axes of `local` in `result`. The result is the only stage that reads it, when that
    works element by element; otherwise a copy.
    """
    stage = seen(s).stage(name)
    reader = _elementwise_reader(s, stage)
    if reader is None:
        local = s[s.cache_write(stage.tensor, "register")]
        return s[name], local, {a.name: a.name for a in stage.axes}
    s[name].set_scope("register")
    return s[reader.name], s[name], {a.name: b.name for a, b in zip(stage.axes, reader.axes, strict=True)}


def _elementwise_reader(s: Schedule, stage: StageState) -> StageState | None:
    """The only stage that reads `stage`, if it reads just the element that it writes, and has no loops or places of its
    own yet.
    """
    readers = seen(s).readers(stage.tensor)
    if stage.is_output or stage.attach.kind != "root" or len(readers) != 1:
        return None
    reader = readers[0]
    view = look(s, reader.name)
    together = s.state.group(stage.name)
    plain = reader.attach.kind == "root" and reader.untouched and s.state.group(reader.name) == together
    if not plain or view.reduction is not None or len(reader.axes) != len(stage.axes):
        return None
    if not view.simple and (together is None or not _one_reads(view, stage)):
        return None
    if seen(s).inside_of(reader.name):
        return None
    reads = [n for n in view.accesses if n.tensor is stage.tensor]
    same = all(
        len(n.indices) == len(reader.axes) and all(i is a for i, a in zip(n.indices, reader.axes, strict=True))
        for n in reads
    )
    pairs = [(a, b) for a, b in zip(stage.axes, reader.axes, strict=True) if b.name not in view.steps]
    alike = as_long([a for a, _ in pairs], [b for _, b in pairs])
    return reader if same and alike else None


def _one_reads(view: View, stage: StageState) -> bool:
    """Whether of several equations only the general one reads a stage, and none reads its neighbours in the same
    step.
    """
    general = view.stage.general
    for part in view.stage.parts:
        for n in walk(*part.values):
            if isinstance(n, Reduce):
                return False
            if isinstance(n, Access) and n.tensor is stage.tensor and part is not general:
                return False
            if isinstance(n, Access) and n.tensor in view.stage.tensors:
                pairs = zip(n.indices, part.lhs, strict=True)
                if any(i is not e for i, e in pairs if isinstance(e, Axis) and e.name not in view.steps):
                    return False
    return True


def overlapping(s: Schedule, name: str, facts: Facts) -> bool:
    """A stage that reads neighbours of an elementwise one (the second pass of a separable filter): the first is
    computed in tiles of the second.
    """
    stage = seen(s).stage(name)
    view = View(stage)
    if not view.simple or stage.attach.kind != "root" or len(view.axes) < 2 or view.reduction is not None:
        return False
    row, column = view.axes[-2:]
    lanes = facts.lanes(view.dtype)
    if count(column.extent) < 2 * lanes or count(row.extent) < 2 * TILE_ROWS:
        return False
    producers = []
    for producer in seen(s).stages:
        if producer.is_output or producer.attach.kind != "root":
            continue
        own, readers = View(producer), seen(s).readers(producer.tensor)
        if [r.name for r in readers] != [name] or not own.simple or own.reduction is not None:
            continue
        if s.state.group(producer.name) is not None or not own.axes or dtypes.itemsize(producer.tensor.dtype) > 8:
            continue
        reads = [n for n in view.accesses if n.tensor is producer.tensor]
        if (
            all(view.stride(n, column) == 1 for n in reads)
            and any(view.stride(n, row) for n in reads)
            and all(map(_plain, reads))
        ):
            producers.append(producer)
    if not producers:
        return False
    handle = s[name]
    others = view.axes[:-2]
    outer, _, _, inner = handle.tile(row, column, TILE_ROWS, TILE_COLUMNS)
    place = s[name].loops[len(others) + 1]
    _, vector = handle.split(inner, factor=lanes)
    handle.vectorize(vector)
    for producer in producers:
        p = s[producer.name]
        p.set_scope("cache")
        p.compute_at(handle, place)
        width = facts.lanes(producer.tensor.dtype)
        _, vector = p.split(producer.axes[-1], factor=width)
        p.vectorize(vector)
    if view.large:
        handle.parallel(others[0] if others and count(others[0].extent) > 1 else outer)
    return True


def _fits(row: View) -> bool:
    """Whether a row of an elementwise stage stays in the L1 cache, so that it is computed once for those who read
    it.
    """
    last = row.axes[-1].extent
    return isinstance(last, int) and last * dtypes.itemsize(row.dtype) <= ROW_BYTES and row.stage.scope == "global"


def rows_together(s: Schedule, facts: Facts) -> bool:
    """Reductions over rows (the maximum and the sum of a softmax, the moments of a norm) are computed at the row of the
    stage that reads them.
    """
    for stage in reversed(seen(s).stages):
        view = View(stage)
        if not view.simple or view.reduction is not None or len(view.axes) < 2 or stage.attach.kind != "root":
            continue
        attached: set[str] = set()
        row = view.axes[-2]
        for producer in reversed(seen(s).stages):
            if producer.is_output or producer.attach.kind != "root" or producer.name == stage.name:
                continue
            readers = {r.name for r in seen(s).readers(producer.tensor)}
            if not readers or not readers <= attached | {stage.name}:
                continue
            own = View(producer)
            if not own.simple:
                continue
            if s.state.group(producer.name) is not None or s.state.group(stage.name) is not None:
                continue
            leading = len(view.axes) - 1
            wanted = leading if own.reduction is not None else leading + 1
            if len(own.axes) != wanted or not as_long(own.axes[:leading], view.axes):
                continue
            if own.reduction is None and not _fits(own):
                continue
            aligned = all(
                all(i is a for i, a in zip(n.indices, View(seen(s).stage(r)).axes, strict=False))
                for r in readers for n in View(seen(s).stage(r)).accesses if n.tensor in producer.tensors)  # fmt: skip
            if aligned:
                if own.reduction is None:
                    s[producer.name].set_scope("cache")
                s[producer.name].compute_at(s[stage.name], row)
                attached.add(producer.name)
    return True


def planes_together(s: Schedule, facts: Facts) -> bool:
    """Stages that work plane by plane (the parts of a pooling's gradient) are computed at the plane of the stage that
    reads them all, where they stay in the cache.
    """
    for name in [stage.name for stage in reversed(seen(s).stages)]:
        view = look(s, name)
        if not view.simple or view.reduction is not None or len(view.axes) < 3 or view.stage.attach.kind != "root":
            continue
        outer = len(view.axes) - 2
        room = PLANE_BYTES - _plane(view, outer)
        inside = {name}
        for producer in reversed(seen(s).stages):
            own = look(s, producer.name)
            if producer.is_output or producer.attach.kind != "root" or not _by_planes(own, view, outer):
                continue
            readers = [look(s, r.name) for r in seen(s).readers(producer.tensor)]
            if not readers or any(r.stage.name not in inside or not _same_plane(r, producer, outer) for r in readers):
                continue
            if _plane(own, outer) <= room:
                room -= _plane(own, outer)
                inside.add(producer.name)
                s[producer.name].set_scope("cache")
                s[producer.name].compute_at(s[name], view.axes[outer - 1])
    return True


def _plane(view: View, outer: int) -> int:
    """Bytes of a plane of a stage; more than there is room for if that is not known."""
    size = dtypes.itemsize(view.dtype)
    for a in view.axes[outer:]:
        if not isinstance(a.extent, int):
            return PLANE_BYTES + 1
        size *= a.extent
    return size


def _by_planes(view: View, reader: View, outer: int) -> bool:
    """Whether a stage has planes as the reader has, and takes few steps for an element."""
    if not view.simple or view.steps or view.own or len(view.axes) != len(reader.axes) or len(view.stage.tensors) > 1:
        return False
    if view.reduction is not None and not (view.one_result and view.where is None and points(view.reduce_axes) <= TAPS):
        return False
    return as_long(view.axes[:outer], reader.axes)


def _same_plane(view: View, producer: StageState, outer: int) -> bool:
    """Whether a reader reads a producer in its own plane only."""
    reads = [n for n in view.accesses if n.tensor is producer.tensor]
    return all(_plain(n) and all(i is a for i, a in zip(n.indices[:outer], view.axes, strict=False)) for n in reads)
