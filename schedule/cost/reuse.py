"""Where the elements of tensors are used again: what a tile of some axis saves, for any operator."""

from __future__ import annotations

from dataclasses import dataclass, field

from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Axis, Const, Expr, Reduce, free_axes, walk
from tedsl.lang.integers.affine import Affine
from tedsl.lang.program import lifted
from tedsl.lang.tensor import Tensor
from tedsl.lang.text import text

from .overlap import coefficients, components, meet, rows_of


class Reuse(dict[str, set[str]]):
    """By tensor, the axes that its access does not depend on; printed, it says what follows.

    windows: by tensor, the indices in which windows overlap: those that several axes share, such as y + r, or the
    neighbours that are read at one step, such as y, y + 1. A tile of v steps of y and w of r reads v + w - 1 elements
    in place of v * w (strides and dilations apart). Windows that lie side by side, as those of a pooling whose stride
    is its size, are none.
    """

    windows: dict[str, list[str]]
    lines: dict[str, str]

    def __str__(self) -> str:
        return "\n".join(f"{name}: {self.lines[name]}" for name in self)

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(self.lines[name])}</td></tr>" for name in self)
        return f"<table>{rows}</table>"


def reuse(tensor: Tensor) -> Reuse:
    """For each tensor that a definition reads, and for itself, the axes that its access does not depend on: along these
    an element is used again, so a tile of v steps of such an axis saves all but one of v loads. `.windows` has the
    windows that overlap, as those of a convolution do.

    >>> import tedsl as te
    >>> i, j, k = te.axes("i j k")
    >>> A, B, C = te.tensor("A", (4, 5)), te.tensor("B", (6, 5)), te.tensor("C")
    >>> C[i, j] = te.sum(A[i, k] * B[j, k])
    >>> {name: sorted(axes) for name, axes in te.reuse(C).items()}
    {'A': ['j'], 'B': ['i'], 'C': ['k']}
    >>> print(te.reuse(te.define("Y[o,y] = sum(X[c,y+r] * W[o,c,r])", X=(3, 8), W=(4, 3, 3))))
    X: used again along o; in windows that overlap along y + r
    W: used again along y
    Y: used again along c, r
    >>> print(te.reuse(te.define("Y[i] = X[i] + X[i+1]", X=(8,))))
    X: in windows that overlap along i, i + 1
    Y: each element is used once
    """
    if not isinstance(tensor, Tensor):
        raise ScheduleError(f"te.reuse takes a tensor, not {tensor!r:.80}")
    found = Reuse()
    found.windows, found.lines = {}, {}
    if tensor.definition is None:
        return found
    for t, uses in _uses(tensor).items():
        name, n = t.name, 1
        while name in found:
            name, n = f"{t.name}_{n}", n + 1
        found[name] = set.intersection(*(use.again for use in uses))
        windows = [w for use in uses for w in use.windows()] + _neighbours(uses)
        if windows:
            found.windows[name] = list(dict.fromkeys(windows))
        found.lines[name] = _line(uses, found.windows.get(name, []))
    return found


@dataclass
class _Use:
    """An access of an equation (or its left side). `again`: the axes of the equation that it does not depend on."""

    access: str
    indices: list[str]
    again: set[str]
    sums: list[Affine] | None  # None: its indices are not all affine
    extents: dict[Axis, int | None]
    odd: list[str] = field(default_factory=list)  # the indices that are not

    def windows(self) -> list[str]:
        """The indices of several axes in which different steps meet."""
        if self.sums is None:
            return []
        rows = coefficients(self.sums)
        return [
            self.indices[d]
            for dims in components(rows)
            if meet([rows[d] for d in dims], [0] * len(dims), self.extents)
            for d in dims
            if len(rows[d]) > 1
        ]


def _uses(tensor: Tensor) -> dict[Tensor, list[_Use]]:
    """Every different access of the stages of a definition, and its left sides, by tensor."""
    found: dict[Tensor, dict[str, _Use]] = {}
    assert tensor.definition is not None
    written: list[tuple[Tensor, _Use]] = []
    for stage in lifted(tensor.definition):
        for part in stage.parts:
            axes = {*part.axes, *(a for value in part.values if isinstance(value, Reduce) for a in value.axes or ())}
            names, extents = {a.name for a in axes}, {a: a.extent if isinstance(a.extent, int) else None for a in axes}
            for node in walk(*part.expressions):
                if isinstance(node, Access):
                    again = names - {a.name for index in node.indices for a in _moving(index)}
                    shown = [text(index) for index in node.indices]
                    use = _Use(f"[{', '.join(shown)}]", shown, again, rows_of(node.indices), extents)
                    use.odd = [text(index) for index in node.indices if rows_of([index]) is None]
                    found.setdefault(node.tensor, {}).setdefault(f"{use.access} {sorted(again)}", use)
            kept = {
                a.name
                for e in part.lhs
                for a in ([e] if isinstance(e, Axis) else free_axes(e))
                if not isinstance(e, Const)
            }
            shown = [text(e) for e in part.lhs]
            written += [
                (t, _Use(f"[{', '.join(shown)}]", shown, names - kept, [], extents))
                for t in stage.tensors
                if t in tensor.definition.tensors
            ]
    for t, use in written:
        found.setdefault(t, {}).setdefault(f"{use.access} {sorted(use.again)}", use)
    return {t: list(uses.values()) for t, uses in found.items()}


def _moving(index: Expr) -> set[Axis]:
    """The axes that an index changes with: not i in 0 * i."""
    sums = rows_of([index])
    return set(free_axes(index)) if sums is None else {a for row in coefficients(sums) for a in row}


def _neighbours(uses: list[_Use]) -> list[str]:
    """The indices in which accesses differ by a constant, where their windows meet."""
    found: list[str] = []
    for n, use in enumerate(uses):
        for other in uses[:n]:
            if not use.sums or not other.sums:
                continue
            by = [a - b for a, b in zip(other.sums, use.sums)]
            rows = coefficients(use.sums)
            if any(d.terms for d in by) or not all(
                meet([rows[d] for d in dims], [by[d].constant for d in dims], use.extents) for dims in components(rows)
            ):
                continue
            for d, change in enumerate(by):
                both = dict.fromkeys(u.indices[d] for u in uses if u.sums and u.sums[d].terms == use.sums[d].terms)
                if change.constant and len(both) > 1:
                    found.append(", ".join(both))
    return found


def _line(uses: list[_Use], windows: list[str]) -> str:
    """What is said of a tensor."""
    along = [sorted(use.again) for use in uses]
    parts = []
    if all(a == along[0] for a in along):
        parts += [f"used again along {', '.join(along[0])}"] if along[0] else []
    else:
        parts += [f"as {use.access} used again along {', '.join(a)}" for use, a in zip(uses, along) if a]
    parts += [f"in windows that overlap along {w}" for w in windows]
    parts += [f"wherever {odd} is the same" for odd in dict.fromkeys(o for use in uses for o in use.odd)]
    kinds = {tuple(frozenset(s.terms.items()) for s in use.sums) for use in uses if use.sums}
    if len(kinds) > 1:
        parts.append(f"perhaps shared by {', '.join(dict.fromkeys(use.access for use in uses if use.sums))}")
    return "; ".join(parts) or "each element is used once"
