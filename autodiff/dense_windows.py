"""Windows: the gradient of `sum(X[…, s*y + d*r] * …)` as dense sums, one for each residue class of the stride.

What reaches an element of X lies at ``y = (x - d*r) / s``. Where that is no y at all, the adjoint of Y may be taken to
be 0: read from a copy with zeros around it, the sum has no conditions left, and is itself a convolution, of the padded
adjoint with the flipped filter. (Of a maximum it is the share of the adjoint that each place of the maximum gets, where
the element is that maximum, which is read from a padded copy too.) A stride s makes s classes of elements, ``x = s*x' +
p``, each with the taps that reach it, ``r = r0, r0 + s, …``: s dense sums, which the gradient takes its elements from
in turn. This takes a little more arithmetic than the sum with conditions (the border); where that is more than twice as
much, or where the access has another form, the sum with conditions stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

from tedsl.lang.errors import DefinitionError, Location
from tedsl.lang.expr import Access, Apply, Axis, Const, Expr, apply, free_axes, reads_tensors, substitute, walk
from tedsl.lang.extents import Read, check_bounds
from tedsl.lang.integers import Known, affine_of, lower, simplify, upper
from tedsl.lang.tensor import Tensor, plain

from .arithmetic import const, guarded, is_zero, select
from .gather import Term, make, named, tidy, total
from .inversion import preimages

MOST_CLASSES = 16
MOST_WORK = 2.0  # operations over those of the sum with conditions


@dataclass
class _Window:
    """One dimension: the axis of the adjoint that it is solved for, the stride, and the range in which that axis is
    read.
    """

    place: int  # among the targets
    axis: Axis
    stride: int
    low: Any
    high: Any

    @property
    def length(self) -> Any:
        return plain(simplify(apply("add", apply("subtract", self.high, self.low), 1)))


def dense(
    term: Term, root: Expr, targets: Sequence[Axis], name: str, padded: dict[Any, Tensor], location: Location | None
) -> Expr | None:
    """The summand of the adjoint at `targets` that comes from `term`, without conditions; None when it is none of these
    windows.

    root: the adjoint that the value of the term is a multiple of. padded: copies of adjoints made so far.
    """
    if not all(map(reads_tensors, term.guards)) or not isinstance(root, Access):
        return None
    given = guarded(term.guards, term.value)
    if not _multiple(given, root):
        return None
    if not _plainly_read(root):
        return None
    windows = _windows(term, root, targets)
    if not windows or not _worth(windows, targets) or not _conditional(term, windows, targets):
        return None
    there = {e: t for e, t in zip(term.indices, targets) if not isinstance(e, (Axis, Const))}
    value = substitute(given, cast("dict[Expr, Expr]", there))
    axes = {w.axis for w in windows}
    moving = [n for n in walk(value) if isinstance(n, Access) and any(a in axes for a in free_axes(n))]
    if any(n is not root and (not _plainly_read(n) or _is_factor(value, n)) for n in moving):
        return None
    sources = {cast(Expr, n): _padded(n, windows, padded, location) for n in moving}
    classes: dict[tuple[int, ...], Expr] = {}
    for residues in product(*(range(w.stride) for w in windows)):
        found = _class(term, value, sources, windows, residues, targets)
        if found is None:
            return None
        classes[residues] = found
    if len(classes) == 1:
        return next(iter(classes.values()))
    return _interleaved(classes, windows, targets, name, value.dtype, location)


def _plainly_read(access: Access) -> bool:
    """Whether the indices are different axes from 0."""
    plain = all(isinstance(e, Axis) and isinstance(e.lo, int) and e.lo == 0 for e in access.indices)
    return plain and len(set(access.indices)) == len(access.indices)


def _is_factor(value: Expr, access: Access) -> bool:
    """Whether an access is read elsewhere than in conditions, where its value beyond the border is no matter: the
    adjoint is 0 there.
    """
    if value is access:
        return True
    if isinstance(value, Apply) and value.function == "where":
        return any(_is_factor(e, access) for e in value.operands[1:])
    return any(_is_factor(e, access) for e in value.children)


def _multiple(value: Expr, root: Expr) -> bool:
    """Whether `value` is a product with `root` as one factor, or 0."""
    if value is root:
        return True
    if isinstance(value, Apply):
        if value.function == "where":
            return is_zero(value.operands[2]) and _multiple(value.operands[1], root)
        if value.function == "multiply":
            a, b = value.operands
            inside = [any(n is root for n in walk(e)) for e in (a, b)]
            return (inside == [True, False] and _multiple(a, root)) or (inside == [False, True] and _multiple(b, root))
        if value.function == "negative":
            return _multiple(value.operands[0], root)
        if value.function == "divide":
            return _multiple(value.operands[0], root) and not any(n is root for n in walk(value.operands[1]))
    return False


def _windows(term: Term, root: Access, targets: Sequence[Axis]) -> list[_Window]:
    """The dimensions that are windows over an axis of `root`; none when there is another kind of dimension beside plain
    axes.
    """
    found = []
    seen: set[Expr] = set()
    for place, (index, target) in enumerate(zip(term.indices, targets)):
        axes = free_axes(index)
        if seen & set(axes):
            return []
        seen |= set(axes)
        if isinstance(index, Axis):
            continue
        sums = affine_of(index)
        mine = [a for a in axes if any(a is e for e in root.indices)]
        taps = [a for a in axes if not any(a is m for m in mine)]
        if len(mine) != 1 or not taps or set(sums.terms) != set(axes) or sums.terms[mine[0]] < 1:
            return []
        stride, axis = sums.terms[mine[0]], mine[0]
        rest = sums.without(axis).expr()
        least, most = lower(rest, taps), upper(rest, taps)
        if least is None or most is None:
            return []
        low = simplify((0 - most) // stride)
        high = simplify((target.extent - 1 - least) // stride)
        found.append(_Window(place, axis, stride, plain(low), plain(high)))
    return found


def _conditional(term: Term, windows: list[_Window], targets: Sequence[Axis]) -> bool:
    """Whether the sum has conditions on what it runs over, or runs over more than the windows."""
    away = {a: Axis(f"{a.name}\0", a.lo, a.extent) for a in term.domain}
    families = preimages(
        list(away.values()), [substitute(e, cast("dict[Expr, Expr]", away)) for e in term.indices], targets
    )
    if families is None or len(families) != 1:
        return False
    (family,) = families
    taps = {away[a] for w in windows for a in free_axes(term.indices[w.place])}
    free = set(family.free)
    if any(a in free for g in family.guards for a in free_axes(g)):
        return True
    return any(w.stride > 1 for w in windows) and any(a not in taps for a in family.free)


def _worth(windows: list[_Window], targets: Sequence[Axis]) -> bool:
    """Whether the dense sums are few and take not much more work."""
    ratio, classes = 1.0, 1
    for w in windows:
        classes *= w.stride
        extent, size = w.axis.extent, targets[w.place].extent
        if isinstance(extent, int) and isinstance(size, int):
            if not extent:
                return False
            ratio *= size / (extent * w.stride)
    return classes <= MOST_CLASSES and ratio <= MOST_WORK


def _padded(root: Access, windows: list[_Window], padded: dict[Any, Tensor], location: Location | None) -> Tensor:
    """`root`'s tensor with zeros around it, as far as the windows reach; read at ``index - low``."""
    by_axis = {w.axis: w for w in windows}
    key = (
        root.tensor,
        tuple(
            (by_axis[a].low, by_axis[a].high) if a in by_axis else None for a in cast("tuple[Axis, ...]", root.indices)
        ),
    )
    if key not in padded:
        axes, index, inside = [], [], []
        for a in cast("tuple[Axis, ...]", root.indices):
            w = by_axis.get(a)
            if w is None:
                axes.append(a)
                index.append(cast(Expr, a))
                continue
            axis = Axis(a.name, 0, w.length)
            at = simplify(axis + w.low)
            inside += [apply("greater_equal", at, 0), apply("less", at, a.extent)]
            axes.append(axis)
            index.append(at)
        known = Known()
        guards = [simplify(g, known) for g in inside]
        value = guarded(guards, cast(Expr, Access(root.tensor, tuple(index))))
        padded[key] = make(f"{root.tensor.name}.padded", axes, value, location)
    return padded[key]


def _class(
    term: Term,
    value: Expr,
    sources: dict[Expr, Tensor],
    windows: list[_Window],
    residues: tuple[int, ...],
    targets: Sequence[Axis],
) -> Expr | None:
    """The dense sum for the elements of one residue class, at ``s*target + residue`` in the windows. `sources`: what is
    read instead of accesses.
    """
    away = {a: Axis(f"{a.name}\0", a.lo, a.extent) for a in term.domain}
    away |= {w.axis: Axis(f"{w.axis.name}\0", w.low, w.length) for w in windows}
    renamed = cast("dict[Expr, Expr]", away)
    places: list[Expr] = list(targets)
    moved: dict[Expr, Expr] = {}
    for w, p in zip(windows, residues):
        if w.stride > 1:
            axis = _member(targets[w.place], w.stride, p)
            places[w.place] = axis * w.stride + p
            moved[targets[w.place]] = places[w.place]
    families = preimages(list(away.values()), [substitute(e, renamed) for e in term.indices], places)
    if families is None or len(families) > 1:
        return None
    if not families:
        return const(0, value.dtype)
    (family,) = families
    readings: dict[Expr, Expr] = {
        read: Access(
            source,
            tuple(e if (own := _of(windows, e)) is None else _shifted(e, own.low) for e in cast(Access, read).indices),
        )
        for read, source in sources.items()
    }
    e = substitute(substitute(value, readings), renamed)
    mapping, axes, guards = named(family.free, family.guards, targets)
    if guards:
        return None
    e = tidy(substitute(substitute(substitute(e, family.mapping), mapping), moved), Known())
    others = [Read(a, ()) for a in walk(e) if isinstance(a, Access) and a.tensor not in sources.values()]
    if any(isinstance(n, Access) for r in others for i in r.access.indices for n in walk(i)):
        return None
    try:
        check_bounds(others, Known(), None, "")
    except DefinitionError:  # it may be read only where the adjoint is not a zero of the border
        return None
    return total(e, axes)


def _shifted(e: Expr, low: Any) -> Expr:
    """``e - low``."""
    return cast(Expr, e + -low if isinstance(low, int) else e - low)


def _of(windows: list[_Window], axis: Expr) -> _Window | None:
    return next((w for w in windows if w.axis is axis), None)


def _member(target: Axis, stride: int, residue: int) -> Axis:
    """The axis over the members of a residue class."""
    extent = (target.extent - residue + stride - 1) // stride
    return Axis(target.name, 0, plain(simplify(extent)) if isinstance(extent, Expr) else max(extent, 0))


def _interleaved(
    classes: dict[tuple[int, ...], Expr],
    windows: list[_Window],
    targets: Sequence[Axis],
    name: str,
    dtype: str,
    location: Location | None,
) -> Expr:
    """The elements of all classes in their places."""
    parts: dict[tuple[int, ...], Expr] = {}
    for residues, value in classes.items():
        if is_zero(value):
            parts[residues] = value
            continue
        axes, index = list(targets), list(cast("Sequence[Expr]", targets))
        for w, p in zip(windows, residues):
            if w.stride > 1:
                axes[w.place] = _member(targets[w.place], w.stride, p)
                index[w.place] = targets[w.place] // w.stride
        if any(isinstance(a.extent, int) and a.extent <= 0 for a in axes):
            parts[residues] = const(0, dtype)
            continue
        label = "".join(str(p) for w, p in zip(windows, residues) if w.stride > 1)
        parts[residues] = Access(make(f"{name}.class{label}", axes, value, location), tuple(index))

    def chosen(prefix: tuple[int, ...]) -> Expr:
        n = len(prefix)
        if n == len(windows):
            return parts[prefix]
        w = windows[n]
        result = chosen((*prefix, w.stride - 1))
        for p in reversed(range(w.stride - 1)):
            here = apply("equal", targets[w.place] % w.stride, p)
            result = select(here, chosen((*prefix, p)), result)
        return result

    return chosen(())
