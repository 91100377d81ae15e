"""Sums of products in the order that takes the fewest operations: `te.einsum` and `te.contract`.

``sum_jk A[i,j]*B[j,k]*C[k,l]`` takes n**4 steps as it stands and 2*n**3 in two steps, each a tensor of its own. The
order is NumPy's (`numpy.einsum_path`); rounding differs from that of the sum as it stands, which is why nothing is
reordered unless one of these functions is called.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from . import dtypes
from .arrays import make, same_extent, shown_shape
from .errors import DefinitionError
from .expr import Access, Apply, Axis, Const, Expr, Reduce, Var, as_expr, free_axes, rewrite, substitute, walk
from .reductions import REDUCERS, reduce_expr
from .tensor import Dim, Tensor

EXHAUSTIVE = 6  # operands up to which every order is looked at
TYPICAL = 64  # what a symbolic size is taken to be when orders are compared


@dataclass(frozen=True)
class Factor:
    """A factor of a product, and the names of the axes that it depends on, in reading order."""

    value: Expr
    axes: tuple[str, ...]


@dataclass(frozen=True)
class Sums:
    """What all steps of a contraction share: the axes by name, their extents, the reducer, its accumulator, a name."""

    axes: Mapping[str, Axis]
    extents: Mapping[str, Dim]
    reducer: str = "sum"
    dtype: str | None = None
    name: str = "contraction"

    def over(self, factors: Sequence[Factor], summed: Sequence[str]) -> Expr:
        """The product of `factors`, summed over the axes of these names."""
        value = factors[0].value
        for factor in factors[1:]:
            value = value & factor.value if self.reducer == "any" else value * factor.value
        if not summed:
            return value
        return reduce_expr(REDUCERS[self.reducer], (value,), [self.axes[a] for a in summed], None, self.dtype, 0)

    def step(self, factors: Sequence[Factor], kept: Sequence[str]) -> Factor:
        """A tensor of its own for the product of `factors`, summed over all axes but those that are kept."""
        summed = [a for a in _axes_of(factors) if a not in kept]
        plain: dict[Expr, Expr] = {self.axes[a]: Axis(a) for a in kept}
        left = [Axis(a) for a in kept]
        tensor = make(self.name, [self.extents[a] for a in kept], left, substitute(self.over(factors, summed), plain))
        return Factor(Access(tensor, tuple(self.axes[a] for a in kept)), tuple(kept))


def einsum(spec: str, *tensors: Any) -> Tensor:
    """The sum of products that `spec` says in NumPy's notation, in the order that takes the fewest operations.

    spec: ``"ij,jk->ik"``: a letter for each dimension of each tensor; ``...`` stands for the dimensions that are left,
    which broadcast; without ``->`` the result has the letters that occur once, in alphabetical order. tensors:
    te.Tensors of numbers, or of bool (then `and` and `or`). The result has NumPy's shape and dtype.

    Raises DefinitionError for a notation that NumPy would not take either, and for extents that differ.

    >>> import tedsl as te
    >>> A, B, C = te.tensor("A", (8, 9)), te.tensor("B", (9, 5)), te.tensor("C", (5, 7))
    >>> Y = te.einsum("ij,jk,kl->il", A, B, C)
    >>> Y.shape, te.cost(te.create_schedule(Y)).operations
    ((8, 7), 1280)
    """
    for n, tensor in enumerate(tensors, 1):
        if not isinstance(tensor, Tensor):
            raise DefinitionError(f"te.einsum({spec!r}, …): operand {n} is a {type(tensor).__name__}, not a tensor")
    labels, output = _labels(spec, [t.rank for t in tensors])
    extents = _extents(spec, labels, tensors)
    axes = _axes(extents, tensors)
    kind = dtypes.promote(*(t.dtype for t in tensors))
    half = kind in ("float16", "bfloat16")  # these accumulate in float32
    sums = Sums(
        {axes[a].name: axes[a] for a in extents},
        {axes[a].name: extents[a] for a in extents},
        "any" if kind == "bool" else "sum",
        None if half or kind == "bool" else kind,
        "einsum",
    )
    factors = []
    for tensor, own in zip(tensors, labels, strict=True):
        index = tuple(
            Const(0) if same_extent(dim, 1) and not same_extent(extents[a], 1) else axes[a]
            for a, dim in zip(own, tensor.shape, strict=True)
        )
        factors.append(
            Factor(Access(tensor, index), tuple(dict.fromkeys(i.name for i in index if isinstance(i, Axis))))
        )
    kept = [axes[a].name for a in output]
    value = _contracted(factors, kept, sums)
    result = make("einsum", [extents[a] for a in output], [axes[a] for a in output], value)
    result.operands = tensors  # a kernel takes them in this order, whatever the order of the steps
    return result


def contract(T: Any) -> Any:
    """The same tensor, its sums of products taken apart into steps of fewest operations; a list gives a list.

    Each sum without `where=` whose argument is a product of several factors is reordered; factors may be any
    expressions. Rounding differs from that of the definition, and integers may wrap elsewhere. A definition in several
    equations, or of several tensors, is returned as it is.

    >>> import tedsl as te
    >>> A, B, C = te.tensor("A", (8, 9)), te.tensor("B", (9, 5)), te.tensor("C", (5, 7))
    >>> Y = te.define("Y[i,l] = sum(A[i,j] * B[j,k] * C[k,l])", A=A, B=B, C=C)
    >>> te.cost(te.create_schedule(Y)).operations, te.cost(te.create_schedule(te.contract(Y))).operations
    (7560, 1280)
    """
    if isinstance(T, (list, tuple)):
        return type(T)(contract(t) for t in T)
    if not isinstance(T, Tensor):
        raise DefinitionError(f"te.contract takes a tensor or a list of tensors, not a {type(T).__name__}")
    definition = T.definition
    if definition is None or len(definition.parts) != 1 or len(definition.tensors) != 1:
        return T
    part = definition.parts[0]
    left = {a.name: a for a in part.axes}
    if len(left) != len(part.lhs) or any(isinstance(n, Access) and n.tensor is T for n in walk(*part.values)):
        return T

    def reordered(e: Expr) -> Expr:
        return _reordered(e, left, T.name) if isinstance(e, Reduce) else e

    value = rewrite(part.values[0], reordered)
    if value is part.values[0]:
        return T
    names: dict[Expr, Expr] = {a: Axis(a.name) for a in left.values()}
    result = make(T.name, T.shape, [Axis(a) for a in left], substitute(value, names))
    result.operands = T.inputs
    return result


def _reordered(e: Reduce, left: Mapping[str, Axis], name: str) -> Expr:
    """A sum of products in its best order, where it is one and that helps; else itself."""
    if e.reducer.name != "sum" or e.where is not None or e.axes is None:
        return e
    product = e.values[0]
    moved: dict[Expr, Expr] = {}
    axes = dict(left)
    for axis in e.axes:
        axes[axis.name] = Axis(axis.name, 0, axis.extent)
        moved[axis] = axes[axis.name] if same_extent(axis.lo, 0) else axes[axis.name] + axis.lo
    factors = [
        Factor(f, tuple(a.name for a in free_axes(f))) for f in (substitute(f, moved) for f in _factors_of(product))
    ]
    outside = {a for f in factors for a in f.axes} - set(axes)
    if len(factors) < 2 or outside:  # an enclosing reduction's axes are not ours to keep
        return e
    kept = [a for a in left if any(a in f.axes for f in factors)]
    idle = [a.name for a in e.axes if not any(a.name in f.axes for f in factors)]
    if idle:
        return e
    sums = Sums(axes, {a: x.extent for a, x in axes.items()}, "sum", e.accumulator, f"{name}.step")
    value = _contracted(factors, kept, sums)
    return e if isinstance(value, Reduce) and len(value.axes or ()) == len(e.axes) else value


def _factors_of(e: Expr) -> Iterator[Expr]:
    if isinstance(e, Apply) and e.function == "multiply":
        for operand in e.operands:
            yield from _factors_of(operand)
    else:
        yield e


def _contracted(factors: Sequence[Factor], kept: Sequence[str], sums: Sums) -> Expr:
    """The last step of a contraction; the steps before it are tensors that it reads."""
    rest = list(factors)
    if len(rest) > 1:
        for n, factor in enumerate(rest):  # what no other factor depends on is summed before anything is multiplied
            others = {a for f in rest if f is not factor for a in f.axes} | set(kept)
            needed = [a for a in factor.axes if a in others]
            if len(needed) < len(factor.axes):
                rest[n] = sums.step([factor], needed)
    for chosen in _path(rest, kept, sums.extents)[:-1]:
        picked = [rest[n] for n in sorted(chosen)]
        rest = [f for n, f in enumerate(rest) if n not in chosen]
        others = {a for f in rest for a in f.axes} | set(kept)
        everywhere = _axes_of(picked)
        inner = [a for a in kept if a in everywhere] + [a for a in everywhere if a in others and a not in kept]
        rest.append(sums.step(picked, inner))
    return sums.over(rest, [a for a in _axes_of(rest) if a not in kept])


def _path(factors: Sequence[Factor], kept: Sequence[str], extents: Mapping[str, Dim]) -> list[tuple[int, ...]]:
    """Which factors are multiplied in each step, as positions in what is left: results go to the end."""
    letters = {a: string.ascii_letters[n] for n, a in enumerate(extents) if n < len(string.ascii_letters)}
    if len(factors) < 3 or len(letters) < len(extents):
        return [tuple(range(len(factors)))]

    def size(a: str) -> int:
        extent = extents[a]
        return max(extent if isinstance(extent, int) else TYPICAL, 1)

    spec = ",".join("".join(letters[a] for a in f.axes) for f in factors)
    arrays = [np.broadcast_to(np.int8(0), [size(a) for a in f.axes]) for f in factors]
    search = "optimal" if len(factors) <= EXHAUSTIVE else "greedy"
    found = np.einsum_path(f"{spec}->{''.join(letters[a] for a in kept)}", *arrays, optimize=(search, 2**62))
    return [tuple(step) for step in found[0][1:]]


def _axes_of(factors: Sequence[Factor]) -> list[str]:
    return list(dict.fromkeys(a for f in factors for a in f.axes))


# NumPy's notation -----------------------------------------------------------------------------------------------------


def _refuse(spec: str, why: str) -> NoReturn:
    raise DefinitionError(f"te.einsum({spec!r}, …): {why}")


def _labels(spec: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """The labels of each operand's dimensions, and of the result's. Those of an ellipsis are ``...1`` (the last),
    ``...2`` …
    """
    if not isinstance(spec, str):
        raise DefinitionError(f"te.einsum takes its notation as text, such as 'ij,jk->ik', not {spec!r}")
    left, arrow, right = spec.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        _refuse(spec, f"the notation is of {len(texts)} operand{'s' * (len(texts) != 1)}, {len(ranks)} are given")
    operands = [
        _of_one(spec, text, rank, f"operand {n}") for n, (text, rank) in enumerate(zip(texts, ranks, strict=True), 1)
    ]
    counts = Counter(a for own in operands for a in own)
    broadcast = sorted((a for a in counts if a.startswith("...")), key=lambda a: -int(a[3:]))
    if not arrow:
        return operands, [*broadcast, *sorted(a for a, n in counts.items() if n == 1 and a not in broadcast)]
    output = _of_one(spec, right, len(right.replace("...", "")) + len(broadcast) * ("..." in right), "the result")
    for a in output:
        if a not in counts:
            _refuse(spec, f"the result has the label {a}, which no operand has")
        if output.count(a) > 1:
            _refuse(spec, f"the result has the label {a} twice")
    if broadcast and "..." not in right:
        _refuse(spec, "operands have an ellipsis and the result has none: its dimensions would be lost")
    return operands, output


def _of_one(spec: str, text: str, rank: int, what: str) -> list[str]:
    before, dots, after = text.partition("...")
    for c in before + after:
        if c not in string.ascii_letters:
            _refuse(spec, f"{c!r} is no label: labels are letters, and '...' stands for dimensions without one")
    count = len(before) + len(after)
    if count > rank or (count < rank and not dots):
        _refuse(
            spec, f"{what} has {rank} dimension{'s' * (rank != 1)}, and {text!r} has {count} label{'s' * (count != 1)}"
        )
    return [*before, *(f"...{n}" for n in range(rank - count, 0, -1)), *after]


def _extents(spec: str, labels: Sequence[Sequence[str]], tensors: Sequence[Tensor]) -> dict[str, Dim]:
    """The extent of each label: where one operand has 1 and another has more, the larger."""
    found: dict[str, tuple[Dim, Tensor]] = {}
    for own, tensor in zip(labels, tensors, strict=True):
        for label, dim in zip(own, tensor.shape, strict=True):
            have = found.get(label)
            if have is None or (same_extent(have[0], 1) and not same_extent(dim, 1)):
                found[label] = dim, tensor
            elif not same_extent(dim, 1) and not same_extent(have[0], dim):
                what = "an ellipsis" if label.startswith("...") else f"the label {label}"
                shapes = f"{have[1].name} {shown_shape(have[1].shape)} and {tensor.name} {shown_shape(tensor.shape)}"
                _refuse(spec, f"{what} stands for {have[0]} and for {dim} elements, in {shapes}")
    return {label: dim for label, (dim, _) in found.items()}


def _axes(extents: Mapping[str, Dim], tensors: Sequence[Tensor]) -> dict[str, Axis]:
    """An axis for each label: of its name, unless that is a size's."""
    dims = [as_expr(d) for t in tensors for d in t.shape]
    taken = {n.name for n in walk(*dims) if isinstance(n, Var)}
    found = {}
    for label in extents:
        name = f"e{label[3:]}" if label.startswith("...") else label
        while name in taken:
            name += "_"
        taken.add(name)
        found[label] = Axis(name)
    return found
