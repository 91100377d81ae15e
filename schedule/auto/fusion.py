"""Which stages are computed where: cheap ones inside their readers, row reductions beside the row that needs them."""

from __future__ import annotations

from tedsl.lang.expr import Access, Apply, walk

from ..schedule import Schedule
from ..state import StageState
from .facts import Facts, View, count


def inline_stages(s: Schedule, facts: Facts) -> bool:
    """Put cheap elementwise stages into their readers, later ones first."""
    for stage in reversed(s.state.stages):
        if _worth_inlining(s, s.state.stage(stage.name)):
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
    for reader in s.state.readers(stage.tensor):
        other = View(reader)
        if not other.simple:
            return False
        reads = [n for n in other.accesses if n.tensor is stage.tensor]
        reused = other.reduction is not None and any(not other.uses(n, a) for n in reads for a in other.axes if count(a.extent) > 1)
        overlapping = any(i.dtype == "int" and not _plain_index(i) for n in reads for i in n.indices)
        if (reused or overlapping) and (operations > 0 or _tests(view)):
            return False
        times += len(reads)
    return times > 0 and (times == 1 or operations * times <= 2 or not operations)


def _plain(access: Access) -> bool:
    """Whether an access reads at places that do not depend on data."""
    return not any(isinstance(n, Access) for i in access.indices for n in walk(i))


def _plain_index(index: object) -> bool:
    from tedsl.lang.expr import Axis, Const

    return isinstance(index, (Axis, Const))


def _tests(view: View) -> bool:
    return any(isinstance(n, Apply) and n.function == "where" for v in view.values for n in walk(v))


def rows_together(s: Schedule, facts: Facts) -> bool:
    """Reductions over rows (the maximum and the sum of a softmax, the moments of a norm) are computed at the row of the stage that reads them."""
    for stage in reversed(s.state.stages):
        view = View(stage)
        if not view.simple or view.reduction is not None or len(view.axes) < 2 or stage.attach.kind != "root":
            continue
        attached: set[str] = set()
        row = view.axes[-2]
        for producer in reversed(s.state.stages):
            own = View(producer)
            if producer.is_output or not own.simple or producer.attach.kind != "root" or producer.name == stage.name:
                continue
            if own.reduction is None or len(own.axes) != len(view.axes) - 1 or any(a.extent is not b.extent and a.extent != b.extent for a, b in zip(own.axes, view.axes, strict=False)):
                continue
            readers = {r.name for r in s.state.readers(producer.tensor)}
            if not readers or not readers <= attached | {stage.name}:
                continue
            aligned = all(
                all(i is a for i, a in zip(n.indices, View(s.state.stage(r)).axes, strict=False))
                for r in readers for n in View(s.state.stage(r)).accesses if n.tensor in producer.tensors)  # fmt: skip
            if aligned:
                s[producer.name].compute_at(s[stage.name], row)
                attached.add(producer.name)
    return True
