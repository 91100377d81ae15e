"""Primitives that make new stages: cache_read, cache_write, rfactor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from tedsl.lang.errors import DefinitionError, ScheduleError, here
from tedsl.lang.expr import Access, Axis, Cast, Expr, Reduce, apply, substitute, walk
from tedsl.lang.integers import Known, constant_bounds, joined, prove, simplify
from tedsl.lang.program import replace_reads
from tedsl.lang.scatter import ScatterPart
from tedsl.lang.tensor import Definition, Dim, Part, Tensor
from tedsl.lang.typed import typed
from tedsl.schedule.loop_tree import Split
from tedsl.schedule.loops.ir import SCOPES
from tedsl.schedule.state import PLAIN, Attach, Result, StageState, State, reads, regrouped, stage_state, unique

from . import legality
from .recurrences import marked_in_step, stepped


class StageTensor(Tensor):
    """A tensor that a schedule made: the copy or the partial results of `source`. Known to other schedules by its
    name.
    """

    def __init__(self, name: str, shape: tuple[Dim, ...], dtype: str, source: Tensor) -> None:
        super().__init__(name, shape, dtype, None, here())
        self.source = source

    def define(self, tensors: tuple[Tensor, ...], parts: tuple[Part, ...], component: int) -> None:
        """Give it its equations, as a definition of the user's has them."""
        first = tensors[0]
        if first.definition is None:
            first.definition = Definition(tensors, parts[0].location)
            first.definition.parts = parts
        self.definition, self.component = first.definition, component


def source_of(tensor: Tensor) -> Tensor:
    """The tensor of the program that a stage's tensor is a copy of."""
    while isinstance(tensor, StageTensor):
        tensor = tensor.source
    return tensor


def _names(state: State) -> set[str]:
    return set(state.tensors())


def _base(state: State, name: str) -> str:
    """The name of the tensor of the program that the tensor `name` is a copy of."""
    tensors = state.tensors()
    source = source_of(tensors[name])
    return next((n for n, t in tensors.items() if t is source), source.name)


def with_reads(part: Part, mapping: dict[Tensor, Tensor]) -> Part:
    """An equation that reads the values of `mapping` in place of its keys."""
    return part.mapped(lambda e: replace_reads(e, mapping))


def cache_read(state: State, tensor: str, scope: str, readers: list[str]) -> Result:
    """A copy of `tensor` in `scope` (global, cache, register, shared), a stage of its own, from which `readers`
    (stages or tensors, one or several) read. Returns the copy, named after the tensor and the scope; its axes are
    `s[copy].axis`. (TVM: cache_read; Halide: in.)

    L = f(A)    →    A.cache[i, k] = A[i, k];  L = f(A.cache)

    Computed at the root (or where the tensor is) until compute_at says otherwise. A copy of what a recurrence
    computes, for a reader that steps together with it, takes part in the steps. Raises ScheduleError when a reader
    does not read the tensor, or computes it.

    >>> import tedsl as te
    >>> i, k = te.axes("i k")
    >>> A, L = te.tensor("A", (8, 30)), te.tensor("L"); L[i] = te.sum(A[i, k])
    >>> s = te.create_schedule(L)
    >>> copy = s.cache_read(A, "cache", L)
    >>> s[copy].compute_at(s[L], i)
    >>> print(s)
    for i in 0..8:
      A.cache: float32[1, 30] in cache
      for k in 0..30:
        A.cache[0, k] = A[i, k]
      L.acc: float32[] in register
      L.acc[] = 0.0
      for k in 0..30:
        L.acc[] = L.acc[] + A.cache[0, k]
      L[i] = L.acc[]
    """
    what = f"cache_read of {tensor}"
    source = state.tensors()[tensor]
    legality.is_register_or_memory(scope, what, SCOPES)
    if not readers:
        raise ScheduleError(f"{what}: it needs at least one reader; {tensor} is read by {_reader_names(state, source)}")
    writer = state.writer(source)
    for name in readers:
        if source not in reads(state.stage(name)):
            raise ScheduleError(f"{what}: {name} does not read it; {tensor} is read by {_reader_names(state, source)}")
    lhs = tuple(Axis(n, 0, d) for n, d in zip(_axis_names(state, source, readers), source.shape, strict=True))
    name = unique(f"{_base(state, tensor)}.{scope}", _names(state))
    copy = StageTensor(name, source.shape, source.dtype, source)
    part = Part(lhs, (cast(Expr, Access(source, lhs)),), here())
    copy.define((copy,), (part,), 0)
    attach = writer.attach if writer is not None and writer.attach.kind == "at" else Attach()
    made = replace(stage_state(name, (copy,), (part,)), scope=scope, attach=attach)
    steps = _steps_with(state, writer, readers)
    stages: list[StageState] = []
    first = {n for r in readers for n in (state.group(r) or ((r,), 0))[0]}
    for stage in state.stages:
        if not steps and made not in stages and stage.name in first:
            stages.append(made)
        if stage.name in readers:
            stage = replace(stage, parts=tuple(with_reads(p, {source: copy}) for p in stage.parts))
        stages.append(stage)
        if steps and writer is not None and stage.name == writer.name:
            stages.append(made)
    new = replace(state, stages=tuple(stages))
    return (_joined(new, steps, name, what) if steps else new), (name,)


def _steps_with(state: State, writer: StageState | None, readers: list[str]) -> tuple[str, ...]:
    """The stages that step together with the one that computes a tensor, when one of its readers is among them."""
    if writer is None:
        return ()
    names = (state.group(writer.name) or ((writer.name,), 0))[0]
    return names if set(readers) & set(names) else ()


def _joined(state: State, names: tuple[str, ...], new: str, what: str) -> State:
    """The state with a stage more among those that step together, in the order in which they stand."""
    members = [s.name for s in state.stages if s.name in names or s.name == new]
    try:
        state = regrouped(state, members)
    except DefinitionError as e:
        raise ScheduleError(
            f"{what}: {new} would step together with {', '.join(names)}, and cannot: {e.message}"
        ) from None
    return marked_in_step(state, new)


def _reader_names(state: State, tensor: Tensor) -> str:
    return ", ".join(s.name for s in state.readers(tensor)) or "nothing"


def _axis_names(state: State, tensor: Tensor, readers: list[str]) -> list[str]:
    """Names for the axes of a copy: those of the tensor's definition, else the plain axes with which a reader indexes
    it, else d0, d1 …
    """
    writer = state.writer(tensor)
    names: list[str | None] = [None] * tensor.rank
    if writer is not None and not any(isinstance(p, ScatterPart) for p in writer.parts):
        names = [e.name if isinstance(e, Axis) else None for e in writer.general.lhs]
    else:
        for reader in readers:
            for part in state.stage(reader).parts:
                for node in walk(*part.expressions):
                    if isinstance(node, Access) and node.tensor is tensor:
                        for d, index in enumerate(node.indices):
                            if names[d] is None and isinstance(index, Axis) and index.name not in names:
                                names[d] = index.name
    used = {n for n in names if n is not None}
    return [n if n is not None else unique(f"d{d}", used) for d, n in enumerate(names)]


def cache_write(state: State, tensors: str | list[str], scope: str) -> Result:
    """A stage is computed in `scope` by a new stage, which has its definition, its axes and its reduction; the old one
    copies the result. Returns the new tensor, named after the old one and the scope (a list for a list: all tensors
    of a stage, or those of several). (TVM: cache_write; Halide: in.)

    L[i] = sum(…)    →    L.cache[i] = sum(…);  L[i] = L.cache[i]

    A stage of a recurrence gives its equations to a stage that takes the same steps. Raises ScheduleError when the
    reduction has been scheduled already, or when not all tensors that a stage computes together are given.

    >>> import tedsl as te
    >>> i, k = te.axes("i k")
    >>> A, L = te.tensor("A", (8, 30)), te.tensor("L"); L[i] = te.sum(A[i, k])
    >>> s = te.create_schedule(L)
    >>> s.cache_write(L, "cache")
    <tensor L.cache(8,) float32>
    >>> s["L.cache"].reduce_axis, s[L].reduce_axis
    ((k,), ())
    """
    listed = [tensors] if isinstance(tensors, str) else list(tensors)
    if not listed or len(set(listed)) != len(listed):
        raise ScheduleError(f"cache_write got {listed}; give at least one tensor, each once")
    legality.is_register_or_memory(scope, f"cache_write of {', '.join(listed)}", SCOPES)
    made: dict[str, None] = {}
    for name in listed:
        stage = state.writer(state.tensors()[name])
        if stage is None:
            raise ScheduleError(
                f"cache_write of {name}: it is an input, which nothing computes. A copy for its readers is "
                f"s.cache_read({name}, {scope!r}, readers)"
            )
        if not isinstance(stage.tensor, StageTensor) or stage.name not in made:
            made[stage.name] = None
    created = []
    for name in made:
        stage = state.stage(name)
        own = [n for n, t in state.tensors().items() if any(t is x for x in stage.tensors)]
        left_out = [n for n in own if n not in listed]
        if left_out:
            raise ScheduleError(
                f"cache_write of {', '.join(n for n in own if n in listed)}: {name} computes {', '.join(own)} "
                f"together. Give all of them: s.cache_write([{', '.join(own)}], {scope!r})"
            )
        state, new = _written(state, stage, scope)
        created.append(new)
    return state, tuple(created)


def _written(state: State, stage: StageState, scope: str) -> tuple[State, str]:
    what = f"cache_write of {stage.name}"
    _reduction_is_untouched(state, stage, what)
    used = _names(state)
    tensors = state.tensors()
    copies: list[StageTensor] = []
    for t in stage.tensors:
        base = _base(state, next(n for n, x in tensors.items() if x is t))
        copies.append(StageTensor(unique(f"{base}.{scope}", used), t.shape, t.dtype, t))
    for n, copy in enumerate(copies):
        copy.define(tuple(copies), stage.parts, n)
    new = replace(stage_state(copies[0].name, tuple(copies), stage.parts), scope=scope, attach=stage.attach)
    kept = tuple(leaf for leaf in stage.leaves if not (stage.is_reduction_loop(leaf) or scattered(stage)))
    places = [part.lhs for part in stage.parts]
    if scattered(stage):  # its loops are those of what is added
        plain = {d: name for name, d in stage.dimensions.items()}
        used = set(plain.values())
        names = [plain[d] if d in plain else unique(f"d{d}", used) for d in range(stage.tensor.rank)]
        places = [tuple(Axis(name, 0, extent) for name, extent in zip(names, stage.tensor.shape, strict=True))]
        kept = tuple(names)
    parts = tuple(
        Part(lhs, tuple(cast(Expr, Access(c, lhs)) for c in copies), part.location)
        for lhs, part in zip(places, stage.parts, strict=True)
    )
    old = replace(stage, parts=parts, leaves=kept)
    made = _with_source(state, new, old)
    group = state.group(stage.name)
    return (_joined(made, group[0], new.name, what) if group else made), new.name


def scattered(stage: StageState) -> bool:
    """Whether data says to which elements a stage adds, so that its loops are not those of its elements."""
    return isinstance(stage.general, ScatterPart)


def _reduction_is_untouched(state: State, stage: StageState, what: str) -> None:
    """The loops of a reduction go to the new stage as they were defined; what was done to them before would be lost."""
    reduced = {a.name for a in (stage.roots if scattered(stage) else stage.reduce_axes)}
    cut = [r.given[0] for r in stage.relations if stage.origin(r.given[0]) & reduced]
    said = [leaf for leaf, mark in stage.marks.items() if replace(mark, made_by="") != PLAIN]
    if stage.tensorized is not None:  # the loops inside are the intrinsic's as well
        said += stage.leaves[stage.leaves.index(stage.tensorized) :]
    marked = [leaf for leaf in said if stage.origin(leaf) & reduced]
    if cut or marked:
        raise ScheduleError(
            f"{what}: the loop {(cut or marked)[0]}{'' if scattered(stage) else ', which is reduced over,'} was "
            "scheduled already, and goes to the new stage as it was defined. Call cache_write first, and schedule "
            "the reduction there"
        )
    for other in state.inside_of(stage.name):
        if stage.origin(other.attach.axis) & reduced:
            raise ScheduleError(
                f"{what}: {other.name} is computed at the loop {other.attach.axis}, which goes to the new stage. "
                f"Call cache_write first, then compute {other.name} there"
            )


def written(state: State, names: list[str]) -> list[Tensor]:
    """The tensors that `cache_write` made for the tensors `names`: what these are copied from."""
    tensors = state.tensors()
    found = []
    for name in names:
        stage = state.writer(tensors[name])
        assert stage is not None
        value = stage.general.values[next(n for n, t in enumerate(stage.tensors) if t is tensors[name])]
        assert isinstance(value, Access)
        found.append(value.tensor)
    return found


def rfactor(state: State, name: str, axis: str, factor_axis: int = 0) -> Result:
    """Partial results of a reduction, one for each step of one of its loops, in a new stage with that axis as its
    dimension `factor_axis`; the old one combines them. Returns the new tensor (a list when the stage computes
    several). (TVM, Halide: rfactor.)

    L[i] = sum(A[i, k])    →    L.rf[k_o, i] = sum(A[i, …], axis=k_i);  L[i] = sum(L.rf[k_o, i], axis=k_o)

    The partial results can be computed in parallel, or as lanes; what is said of their loops goes with these. Those
    of a step of a recurrence are computed in that step, along which their first axes run. Raises ScheduleError when
    the axis is not one of the loops that the stage reduces over.

    >>> import tedsl as te
    >>> i, k = te.axes("i k")
    >>> A, L = te.tensor("A", (8, 30)), te.tensor("L"); L[i] = te.sum(A[i, k])
    >>> s = te.create_schedule(L)
    >>> k_o, k_i = s[L].split(k, nparts=4)
    >>> P = s.rfactor(L, k_o)
    >>> P
    <tensor L.rf(4, 8) float32>
    >>> s[P].parallel(k_o)
    """
    stage = state.stage(name)
    what = f"rfactor of {name}"
    reduction = stage.reduction
    if reduction is None:
        raise ScheduleError(f"{what}: it is no reduction{_moved(state, stage)}")
    place = _can_be_factored(state, stage, axis, factor_axis, what)
    part = stage.general
    reduced = [leaf for leaf in stage.leaves if stage.is_reduction_loop(leaf)]
    axes = {leaf: Axis(leaf, 0, stage.extent(leaf)) for leaf in reduced}
    rest = tuple(axes[leaf] for leaf in reduced if leaf != axis)
    partial, kinds = _partial_results(stage, reduction, axes, rest)
    lhs = (*part.lhs[:place], axes[axis], *part.lhs[place:])
    shape = (*stage.tensor.shape[:place], cast(Any, axes[axis].extent), *stage.tensor.shape[place:])
    used = _names(state)
    base = _base(state, name)
    tensors = tuple(
        StageTensor(unique(f"{base}.rf" if len(kinds) == 1 else f"{base}.rf{c}", used), shape, k, stage.tensor)
        for c, k in enumerate(kinds)
    )
    new_part = Part(lhs, partial, part.location)
    for n, t in enumerate(tensors):
        t.define(tensors, (new_part,), n)
    moved = {a.name: replace(stage.mark(a.name), made_by="") for a in rest}  # what is said of a loop goes with it
    new = replace(stage_state(tensors[0].name, tensors, (new_part,)), attach=stage.attach, marks=moved)
    given_kinds = reduction.reducer.result_dtypes(tuple(v.dtype for v in reduction.values), reduction.accumulator)
    inner = tuple(typed(Access(t, lhs), k) for t, k in zip(tensors, given_kinds, strict=True))
    combined = tuple(
        Reduce(reduction.reducer, inner, (axes[axis],), None, reduction.accumulator, cast(Reduce, v).component)
        for v in part.values
    )
    gone = {a.name for a in stage.reduce_axes}
    relations = tuple(r for r in stage.relations if not stage.origin(r.given[0]) & gone)
    leaves = tuple(leaf for leaf in stage.leaves if leaf == axis or leaf not in reduced)
    factored = Part(part.lhs, combined, part.location)
    parts = tuple(factored if p is part else p for p in stage.parts)
    made = _with_source(state, new, replace(stage, parts=parts, leaves=leaves, relations=relations))
    group = state.group(name)
    return (_joined(made, group[0], new.name, what) if group else made), (new.name,)


def _can_be_factored(state: State, stage: StageState, axis: str, factor_axis: int, what: str) -> int:
    """The place of the new axis among those of the partial results. Raises ScheduleError when there can be none."""
    legality.is_free_loop(state, stage, axis, "rfactor")
    if not stage.is_reduction_loop(axis):
        loops = ", ".join(leaf for leaf in stage.leaves if stage.is_reduction_loop(leaf))
        raise ScheduleError(f"{what}: {axis} is not reduced over. Give one of {loops}")
    rank = stage.tensor.rank
    if isinstance(factor_axis, bool) or not isinstance(factor_axis, int) or not -rank - 1 <= factor_axis <= rank:
        raise ScheduleError(
            f"{what}: factor_axis is {factor_axis!r}; it is the place of the new axis among the {rank} of "
            f"{stage.name}, from 0 to {rank}"
        )
    for other in state.inside_of(stage.name):
        if stage.is_reduction_loop(other.attach.axis):
            raise ScheduleError(
                f"{what}: {other.name} is computed at the loop {other.attach.axis}, which goes to the new stage. "
                f"Call rfactor first, then compute {other.name} there"
            )
    place = factor_axis if factor_axis >= 0 else rank + 1 + factor_axis
    group = state.group(stage.name)
    if group and place < group[1]:
        steps = ", ".join(stepped(state, stage)[: group[1]])
        raise ScheduleError(
            f"{what}: factor_axis is {factor_axis}, and {', '.join(group[0])} take turns along {steps}, which come "
            f"first. Call it with factor_axis={group[1]}"
        )
    return place


def _partial_results(
    stage: StageState, reduction: Reduce, axes: dict[str, Axis], rest: tuple[Axis, ...]
) -> tuple[tuple[Expr, ...], tuple[str, ...]]:
    """What each step of the loop that is factored out reduces over the loops `rest`; the types of its components."""
    mapping, guards = _unfolded(stage, axes)
    values = tuple(substitute(v, mapping) for v in reduction.values)
    if reduction.reducer.indexed:
        values = (values[0], _narrow(values[1], axes))
    where = [*([] if reduction.where is None else [substitute(reduction.where, mapping)]), *guards]
    kinds = reduction.reducer.result_dtypes(tuple(v.dtype for v in values), reduction.accumulator)
    condition = joined(where) if where else None
    if rest:
        whole = (
            Reduce(reduction.reducer, values, rest, condition, reduction.accumulator, c) for c in range(len(kinds))
        )
        return cast("tuple[Expr, ...]", tuple(whole)), kinds
    single = (
        typed(v, k) if condition is None else apply("where", condition, typed(v, k), e)
        for v, k, e in zip(values, kinds, reduction.reducer.identity(kinds), strict=True)
    )
    return tuple(single), kinds


def _with_source(state: State, new: StageState, old: StageState) -> State:
    """The state with a stage before the one that reads it, which has changed."""
    stages = ((new, old) if s.name == old.name else (s,) for s in state.stages)
    return replace(state, stages=tuple(s for both in stages for s in both))


def _narrow(position: Expr, axes: dict[str, Axis]) -> Expr:
    """The position of an argmax in 32 bits where that is enough: as many lanes as a float32 has."""
    plain = position.operand if isinstance(position, Cast) and position.dtype == "int64" else position
    if plain.dtype == "int32":  # partial results of partial results
        return plain
    if plain.dtype == "int":
        high = constant_bounds(
            plain, Known().with_(ranges={a: (0, a.extent) for a in axes.values() if a.extent is not None})
        )[1]
        if high is not None and high < 2**31 - 1:
            return cast(Expr, Cast("int32", plain))
    return position


def _moved(state: State, stage: StageState) -> str:
    """Where the reduction of a stage went, as advice."""
    sources = [s for s in state.stages if s.reduction is not None and any(t in reads(stage) for t in s.tensors)]
    return f". The reduction that it reads is {sources[0].name}" if sources else ", so there is nothing to take apart"


def _unfolded(stage: StageState, axes: dict[str, Axis]) -> tuple[dict[Expr, Expr], list[Expr]]:
    """The axes that are reduced over in terms of the loops made of them, and the conditions that keep them in range."""
    known, tree = Known(), stage.tree()
    mapping: dict[Expr, Expr] = {}
    guards: list[Expr] = []

    def guard(name: str, extent: Dim) -> None:
        condition = apply("less", simplify(tree.value(name, axes)), extent)
        if not prove(condition, known):
            guards.append(simplify(condition))

    for root in stage.reduce_axes:
        value = simplify(tree.value(root.name, axes))
        mapping[root] = value if isinstance(root.lo, int) and root.lo == 0 else simplify(value + root.lo)
    for r in stage.relations:
        # a factor that is a size is taken to divide, until it is fixed
        if (
            isinstance(r, Split)
            and stage.is_reduction_loop(r.outer)
            and not isinstance(r.factor if r.factor is not None else r.nparts, Expr)
        ):
            guard(r.parent, stage.extent(r.parent))
    return mapping, guards
