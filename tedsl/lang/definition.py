"""From what the user wrote to a definition in which everything is settled.

`define` takes a left side and right sides, finds what each reduction runs over (`scoping`), infers the extents of all
axes from the accesses, proves every access in bounds, gives each bound axis its range and a name of its own, and makes
every type explicit.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from . import dtypes
from .errors import DefinitionError, Location
from .expr import Access, Apply, Axis, Const, Expr, Reduce, apply, as_expr, free_axes, rewrite, substitute, walk
from .extents import Read, check_bounds, infer_extents
from .integers import Known, joined, prove, simplify, solve
from .integers.samples import exhausted
from .scoping import bind
from .tensor import Definition, Dim, Part, Tensor, as_shape, plain
from .text import display, text
from .typed import typed


def define(
    tensors: tuple[Tensor, ...], key: tuple[Any, ...], values: tuple[Any, ...], location: Location | None
) -> None:
    """Add one equation to the definition of `tensors` (several: a tuple of expressions of equal range). All or nothing.

    Raises DefinitionError for whatever leaves the meaning open: see `tedsl.lang.errors`.
    """
    first = tensors[0]
    for t in tensors:
        if t.strides is not None and t.definition is None:
            raise DefinitionError(
                f"{t.name} is declared with order= or strides=, which say how an input lies in memory, and is "
                "defined here: a result lies as order='C'. Leave them "
                f"out; another order is another left side, {t.name}[j, i] = …", location)  # fmt: skip
    lhs = _left_side(first, key, location)
    exprs = tuple(_settled(tensors, _right_side(t, v, location)) for t, v in zip(tensors, values, strict=True))
    scope = _Scope(first, lhs, location)
    bound = tuple(scope.bind(e) for e in exprs)
    shape = None if first.known_shape is None else first.shape
    ranges = scope.ranges(bound, shape)
    scope.check(bound, ranges)
    if shape is None:
        found = tuple(ranges[scope.placeholder[a]][1] for a in cast("tuple[Axis, ...]", lhs))
        shape = as_shape(found, first.name)
    names = _final_names(scope, bound, ranges)
    final = tuple(_index_positions(rewrite(e, lambda n: _renamed(n, names), {**names})) for e in bound)
    left = tuple(names[scope.placeholder[e]] if isinstance(e, Axis) else e for e in lhs)
    untyped = [t.definition is None and t.known_dtype is None and t.read_as is None for t in tensors]
    typed_values = tuple(_typed(t, e, location) for t, e in zip(tensors, final, strict=True))
    part = Part(left, typed_values, location)
    _commit(tensors, part, shape, location)
    for tensor, e, is_open in zip(tensors, final, untyped, strict=True):
        if is_open and isinstance(e, Const) and e.dtype in dtypes.WEAK and not all(isinstance(a, Axis) for a in lhs):
            tensor.weak = e.dtype


def _left_side(tensor: Tensor, key: tuple[Any, ...], location: Location | None) -> tuple[Expr, ...]:
    for e in key:
        if not isinstance(e, (str, float, Expr)) and not hasattr(e, "__index__"):
            raise DefinitionError(
                f"the left side of {tensor.name} holds {e!r}; it holds distinct axes or whole numbers, as in "
                f"{tensor.name}[i, j] = …",
                location,
            )
    lhs = tuple(Axis(e) if isinstance(e, str) else as_expr(e) for e in key)
    shown = f"{tensor.name}[{', '.join(map(text, lhs))}]"
    for e in lhs:
        if not (isinstance(e, Axis) or (isinstance(e, Const) and e.dtype == "int" and e.value >= 0)):
            raise DefinitionError(
                f"the left side {shown} holds `{e!r}`; it holds distinct axes or whole numbers (put the arithmetic "
                "on the right side)",
                location,
            )
    names = [e.name for e in lhs if isinstance(e, Axis)]
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DefinitionError(
            f"the left side {shown} names the axis {twice} twice; to fill a diagonal write te.where({twice} == j, …, "
            f"0) over {tensor.name}[{twice}, j]",
            location,
        )
    if tensor.known_shape is not None:
        if len(lhs) != tensor.rank:
            raise DefinitionError(
                f"{shown} has {len(lhs)} ind{'ex' if len(lhs) == 1 else 'ices'}, but {tensor.name} was given "
                f"{tensor.rank} dimension{'s' * (tensor.rank != 1)}: {tensor.shape}",
                location,
            )
        for e, dim in zip(lhs, tensor.shape, strict=True):
            if isinstance(e, Const) and isinstance(dim, int) and e.value >= dim:
                raise DefinitionError(
                    f"{shown}: the index {e.value} is outside of {tensor.name}, whose extent there is {dim}", location
                )
    elif any(isinstance(e, Const) for e in lhs):
        raise DefinitionError(
            f"{shown} gives single elements, so {tensor.name} needs a shape: te.tensor('{tensor.name}', shape)",
            location,
        )
    return lhs


def _right_side(tensor: Tensor, value: Any, location: Location | None) -> Expr:
    if isinstance(value, Tensor) and value.rank:
        raise DefinitionError(
            f"the right side of {tensor.name} is the tensor {value.name} of {value.rank} dimensions; index it: "
            f"{value.name}[{', '.join('ijklmn'[: value.rank])}]",
            location,
        )
    try:
        expr = as_expr(value)
    except DefinitionError as e:
        raise DefinitionError(f"the right side of {tensor.name}: {e.message}", location) from None
    _check_depth(tensor, expr, location)
    return expr


def _settled(tensors: tuple[Tensor, ...], expr: Expr) -> Expr:
    """`expr` where the numbers that alone define what it reads keep the type that they have by now."""

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Access) and node.tensor.weak is not None and node.tensor not in tensors:
            node.tensor.weak = None
        if isinstance(node, Access) and node.args[2:] and node.tensor not in tensors:
            return Access(node.tensor, node.indices)
        return None

    return rewrite(expr, rule) if any(isinstance(n, Access) for n in walk(expr)) else expr


DEEPEST = 1000  # operations nested in one expression
_FRAMES = 12  # Python frames that walking one level of an expression may take


def _check_depth(tensor: Tensor, expr: Expr, location: Location | None) -> None:
    """Expressions are walked recursively in places: leave room for deep ones, refuse what is deeper than anyone
    writes.
    """
    depth: dict[Expr, int] = {}
    for node in walk(expr):
        depth[node] = 1 + max((depth[c] for c in node.children), default=0)
    if depth[expr] > DEEPEST:
        raise DefinitionError(
            f"the right side of {tensor.name} is nested {depth[expr]} operations deep; at most {DEEPEST} are taken. "
            "Name parts of it as tensors of their own, or write the "
            "repeated part as a reduction (te.sum) or a recurrence", location)  # fmt: skip
    if depth[expr] > 50:
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 1000 + _FRAMES * depth[expr]))


@dataclass
class _Scope:
    """The axes of one equation while it is being resolved. Every axis has a placeholder of its own (the user's name,
    NUL, a number).
    """

    tensor: Tensor
    lhs: tuple[Expr, ...]
    location: Location | None

    def __post_init__(self) -> None:
        self.placeholder: dict[Axis, Axis] = {}
        self.given: dict[Axis, tuple[Dim, Dim]] = {}
        self.count = 0
        for n, e in enumerate(self.lhs):
            if isinstance(e, Axis):
                p = self.placeholder[e] = self.fresh(e)
                if self.tensor.known_shape is not None:
                    lo, hi = left_over(self.tensor, self.lhs, n)
                    self.given[p] = lo, _dim(hi - lo)

    def fresh(self, axis: Axis) -> Axis:
        """A placeholder for `axis`; its range, when it has one of its own or was given by name, is remembered."""
        self.count += 1
        placeholder = Axis(f"{axis.name}\0{self.count}")
        if axis.extent is not None:
            self.given[placeholder] = axis.lo, axis.extent
        elif axis.name in self.tensor.extents:
            self.given[placeholder] = 0, self.tensor.extents[axis.name]
        return placeholder

    def bind(self, expr: Expr) -> Expr:
        left = tuple(e for e in self.lhs if isinstance(e, Axis))
        bound = bind(expr, left, self.fresh, self.tensor.name, self.location)
        # an axis with a range (te.reduce_axis) and a plain one of the same name are one axis on the left side
        by_name = {a.name: p for a, p in self.placeholder.items()}
        mapping: dict[Expr, Expr] = {
            a: by_name[a.name] for a in free_axes(bound) if a.name in by_name and "\0" not in a.name
        }
        bound = substitute(bound, mapping)
        loose = [a for a in free_axes(bound) if "\0" not in a.name]
        if loose:
            names = " and ".join(a.name for a in loose)
            given = [(a.name, n) for a in loose if isinstance(n := self.tensor.extents.get(a.name), int)]
            number = (
                f". As a number write {given[0][0]}={given[0][1]}.0: {given[0][0]}={given[0][1]} is the extent of an "
                "axis"
                if given
                else ""
            )
            raise DefinitionError(
                f"the axis {names} is on the right side of {self.tensor.name}[{', '.join(map(text, self.lhs))}] but "
                "neither on the left nor in a reduction: "
                f"put it on the left, or say what happens to it, e.g. te.sum({text(expr)}){number}",
                self.location)  # fmt: skip
        return bound

    def ranges(self, exprs: tuple[Expr, ...], shape: tuple[Dim, ...] | None) -> dict[Axis, tuple[Dim, Dim]]:
        """lo and extent of every placeholder."""
        unknown = [a for a in self.all_axes(exprs) if a not in self.given]
        reads = list(reads_of(exprs))
        found = infer_extents(reads, unknown, self.given, self.location) if unknown else {}
        return {**self.given, **{a: (0, _dim(e)) for a, e in found.items()}}

    def all_axes(self, exprs: tuple[Expr, ...]) -> list[Axis]:
        inner = [a for node in walk(*exprs) if isinstance(node, Reduce) for a in node.axes or ()]
        return list(dict.fromkeys([*self.placeholder.values(), *inner]))

    def check(self, exprs: tuple[Expr, ...], ranges: dict[Axis, tuple[Dim, Dim]]) -> None:
        known = Known(cast(Any, ranges))
        check_bounds(list(reads_of(exprs)), known, self.location, self.tensor.name)
        if any(ranges[p][1] == 0 for p in self.placeholder.values()):
            return  # no element is computed
        begun = set(with_initial(exprs))
        for node, guards in guarded(exprs):
            if isinstance(node, Reduce) and node.reducer.checked and node not in begun:
                self.check_not_empty(node, ranges, known.with_(conditions=guards))

    def check_not_empty(self, node: Reduce, ranges: dict[Axis, tuple[Dim, Dim]], known: Known) -> None:
        """The largest or smallest of nothing is not defined, as in NumPy: there is something, or a first value."""
        name = node.reducer.name.removeprefix("machine_")
        empty = [a for a in node.axes or () if ranges[a][1] == 0]
        if empty:
            raise DefinitionError(
                f"{name} over the axis {display(empty[0].name)} of extent 0: the {name} of nothing is not defined (as "
                "in NumPy)",
                self.location,
            )
        if node.where is None or _somewhere(node.where, node.axes or (), known):
            return
        shown = f"te.{name}({text(node.values[0])}, where={text(node.where)}"
        what = "an index" if node.reducer.indexed else "a value"
        raise DefinitionError(
            f"{shown}) may be of nothing: its condition may hold nowhere, and the {name} of nothing is not defined (as "
            f"in NumPy). Say what it is then, {what}: {shown}, initial=…)",
            self.location,
        )


def with_initial(exprs: tuple[Expr, ...]) -> Iterator[Expr]:
    """The reductions whose value is said for nothing: what `initial=` comes to."""
    for node in walk(*exprs):
        if isinstance(node, Apply) and node.function == "where":
            condition, chosen, _ = node.operands
            if isinstance(condition, Apply) and condition.function == "less" and condition.operands[0] is chosen:
                yield chosen
        elif isinstance(node, Apply):
            yield from (e for e in node.operands if isinstance(e, Reduce) and node.function == e.reducer.chooses)


def _somewhere(condition: Expr, axes: tuple[Axis, ...], known: Known) -> bool:
    """Whether `condition` surely holds at some point of `axes`, whatever the others are."""
    ends = [((lo := known.ranges[a][0]), lo + known.ranges[a][1] - 1) for a in axes]
    for n, axis in enumerate(axes):
        for point in itertools.product(*(ends[:n] + ends[n + 1 :])):
            others = dict(zip(axes[:n] + axes[n + 1 :], map(as_expr, point)))
            there = substitute(condition, cast("dict[Expr, Expr]", others))
            found = solve(there, axis, known)
            if found is not None and found.rest is None and prove(apply("less", found.lo, found.hi), known):
                return True
            if any(prove(substitute(there, {axis: as_expr(end)}), known) for end in ends[n]):
                return True
    if not all(isinstance(end, int) for pair in ends for end in pair):
        return False
    points = list(itertools.islice(itertools.product(*(range(a, b + 1) for a, b in ends)), _MOST_POINTS + 1))
    anywhere = joined([substitute(condition, dict(zip(axes, map(as_expr, p)))) for p in points], "bitwise_or")
    return len(points) <= _MOST_POINTS and exhausted(anywhere, known, 1024) is True


_MOST_POINTS = 64  # that are tried one after the other


def guarded(exprs: tuple[Expr, ...]) -> Iterator[tuple[Expr, tuple[Expr, ...]]]:
    """Every node with the conditions under which it is evaluated: those of the enclosing `where`s and of the
    reductions' `where=`.
    """
    seen: set[tuple[Expr, tuple[Expr, ...]]] = set()
    stack: list[tuple[Expr, tuple[Expr, ...]]] = [(e, ()) for e in reversed(exprs)]
    while stack:
        node, guards = stack.pop()
        if (node, guards) in seen:
            continue
        seen.add((node, guards))
        yield node, guards
        if isinstance(node, Apply) and node.function == "where":
            c, a, b = node.operands
            stack += [(b, (*guards, apply("invert", c))), (a, (*guards, c)), (c, guards)]
        elif isinstance(node, Reduce) and node.where is not None:
            stack += [*((v, (*guards, node.where)) for v in reversed(node.values)), (node.where, guards)]
        else:
            stack += [(child, guards) for child in reversed(node.children)]


def reads_of(exprs: tuple[Expr, ...]) -> Iterator[Read]:
    """Every access with the conditions under which it is evaluated."""
    return (Read(node, guards) for node, guards in guarded(exprs) if isinstance(node, Access))


def left_over(tensor: Tensor, lhs: tuple[Expr, ...], dim: int) -> tuple[Dim, Dim]:
    """The hull [lo, hi) of the indices along `dim` that the earlier equations of `tensor` leave to the one with left
    side `lhs`.

    An earlier equation takes index v of dimension d away when its left side is v there and, in the other dimensions,
    axes or what `lhs` has there.
    """
    lo: Any = 0
    hi: Any = tensor.shape[dim]
    taken = set()
    for part in tensor.parts:
        fixed = [d for d, e in enumerate(part.lhs) if isinstance(e, Const) and e is not lhs[d]]
        if fixed == [dim]:
            taken.add(part.lhs[dim].value)  # type: ignore[attr-defined]
    while lo in taken and (not isinstance(hi, int) or lo < hi):
        lo += 1
    while isinstance(hi, int) and hi > lo and hi - 1 in taken:
        hi -= 1
    if isinstance(hi, Expr) and lo:
        hi = apply("maximum", hi, lo)
    return lo, hi


def _final_names(scope: _Scope, exprs: tuple[Expr, ...], ranges: dict[Axis, tuple[Dim, Dim]]) -> dict[Expr, Expr]:
    """placeholder → resolved axis. Names of bound axes stay the user's unless that name is in use by an axis in whose
    scope they stand.
    """
    names: dict[Expr, Expr] = {}
    for axis, p in scope.placeholder.items():
        names[p] = Axis(axis.name, *ranges[p])
    left = {a.name for a in scope.placeholder}

    def visit(node: Expr, used: frozenset[str]) -> None:
        if isinstance(node, Reduce):
            for p in node.axes or ():
                if p not in names:
                    base = name = display(p.name)
                    serial = 0
                    while name in used:
                        serial += 1
                        name = f"{base}_{serial}"
                    names[p] = Axis(name, *ranges[p])
                used |= {names[p].name}  # type: ignore[attr-defined]
        for child in node.children:
            if has_reduction(child):
                visit(child, used)

    reducing = {n for e in exprs for n in walk(e) if isinstance(n, Reduce)}
    holders: dict[Expr, bool] = {}

    def has_reduction(node: Expr) -> bool:
        if node not in holders:
            holders[node] = bool(reducing) and any(n in reducing for n in walk(node))
        return holders[node]

    for e in exprs:
        if has_reduction(e):
            visit(e, frozenset(left))
    return names


def _renamed(node: Expr, names: dict[Expr, Expr]) -> Expr | None:
    if isinstance(node, Reduce) and node.axes and any(a in names for a in node.axes):
        return Reduce(node.reducer, node.values, tuple(names.get(a, a) for a in node.axes), *node.args[3:])
    return None


def _index_positions(expr: Expr) -> Expr:
    """Give every argmax and argmin the flat position over its axes as its second value."""

    def rule(node: Expr) -> Expr | None:
        if isinstance(node, Reduce) and node.reducer.indexed and len(node.values) == node.reducer.arity:
            position: Any = Const(0)
            for axis in node.axes or ():
                position = position * axis.extent + (axis - axis.lo if axis.lo != 0 else axis)
            return Reduce(node.reducer, (*node.values, simplify(position)), *node.args[2:])
        return None

    return rewrite(expr, rule)


def _typed(tensor: Tensor, expr: Expr, location: Location | None) -> Expr:
    weak = expr.dtype
    if tensor.weak is not None:
        _take_type(tensor, dtypes.promote(tensor.weak, weak))
    declared = tensor.known_dtype or (tensor.read_as if tensor.definition is None else None)
    if declared is None:
        declared = dtypes.strong(weak)
    elif dtypes.promote(declared, weak) != declared:
        hint = (
            ""
            if tensor.known_dtype
            else f" ({tensor.name} was read before it was defined, as {declared}: say dtype= in te.tensor)"
        )
        raise DefinitionError(
            f"{tensor.name} is {declared}, but `{text(expr)}` is {dtypes.strong(weak)}: nothing is narrowed in "
            f"silence. Write te.cast(…, '{declared}'), or give "
            f"{tensor.name} the dtype {dtypes.promote(declared, weak)}{hint}", location)  # fmt: skip
    try:
        return typed(expr, declared)
    except DefinitionError as e:
        raise DefinitionError(e.message, location) from None


def _take_type(tensor: Tensor, kind: str) -> None:
    """The numbers that define `tensor` so far take the type of what is said of it now: `kind`, perhaps weak too."""
    tensor.known_dtype = dtypes.strong(kind)
    tensor.weak = kind if kind in dtypes.WEAK else None
    assert tensor.definition is not None
    n = tensor.component
    tensor.definition.parts = tuple(
        replace(part, values=(*part.values[:n], typed(part.values[n], tensor.known_dtype), *part.values[n + 1 :]))
        for part in tensor.definition.parts
    )


def _commit(tensors: tuple[Tensor, ...], part: Part, shape: tuple[Dim, ...], location: Location | None) -> None:
    first = tensors[0]
    definition = first.definition
    if definition is not None:
        if definition.tensors != tensors:
            raise DefinitionError(
                f"{first.name} is defined together with {', '.join(t.name for t in definition.tensors[1:])}; give "
                "all of them in each equation",
                location,
            )
        for earlier in definition.parts:
            if all(isinstance(a, Axis) or a is b for a, b in zip(earlier.lhs, part.lhs, strict=True)):
                raise DefinitionError(
                    f"{first.name} is defined already: an earlier equation ({text_of(earlier, first)}) leaves "
                    f"nothing to this one ({text_of(part, first)})",
                    location,
                )
        if definition.lifted is not None:
            raise DefinitionError(
                f"{first.name} is in use already (a kernel, a schedule or a gradient was made of it), so it takes no "
                "further equations",
                location,
            )
    _check_order(first, part, location)
    if definition is None:
        definition = Definition(tensors, location)
    for n, tensor in enumerate(tensors):
        tensor.definition, tensor.component, tensor.known_shape = definition, n, shape
        tensor.known_dtype = part.values[n].dtype
    definition.parts = (*definition.parts, part)


def text_of(part: Part, tensor: Tensor) -> str:
    """The left side of an equation."""
    return f"{tensor.name}[{', '.join(map(text, part.lhs))}]"


def _check_order(tensor: Tensor, part: Part, location: Location | None) -> None:
    """A tensor that reads itself must read earlier steps: indices before its own left side, in lexicographic order."""
    own = [r for r in reads_of(part.values) if r.access.tensor is tensor]
    for read in own:
        if not is_earlier(part.lhs, read):
            raise DefinitionError(
                f"`{text(read.access)}` in the equation of {text_of(part, tensor)} is not an earlier step of "
                f"{tensor.name}: steps run in lexicographic order of "
                f"({', '.join(map(text, part.lhs))}), and a step may read only those before it", location)  # fmt: skip


def is_earlier(lhs: tuple[Expr, ...], read: Read, depth: int | None = None) -> bool:
    """Whether `read`'s first `depth` indices surely come before `lhs` in lexicographic order."""
    known = Known({}, read.guards)
    # two tensors of a group may differ in rank; the steps are in common only as far as both go
    for own, index in list(zip(lhs, read.access.indices, strict=False))[:depth]:
        if prove(apply("less", index, own), known):
            return True
        if not prove(apply("equal", index, own), known):
            return False
    return False


def _dim(value: Any) -> Dim:
    return cast("Dim", plain(simplify(value))) if isinstance(value, Expr) else int(value)
