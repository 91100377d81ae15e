"""Where the elements of tensors are used again: what a tile of some axis saves, for any operator."""

from __future__ import annotations

from tedsl.lang.errors import ScheduleError, here
from tedsl.lang.expr import Access, Apply, Axis, Const, Expr, Reduce, free_axes, walk
from tedsl.lang.printing import text
from tedsl.lang.program import lifted
from tedsl.lang.tensor import Tensor


class Reuse(dict[str, set[str]]):
    """By tensor, the axes that its access does not depend on; printed, it says what follows.

    windows: by tensor, the indices that several axes share, such as y + r: windows that overlap. A tile of v steps of y and w of r reads v + w - 1
    elements in place of v * w (strides and dilations apart).
    """

    windows: dict[str, list[str]]

    def __str__(self) -> str:
        found = []
        for name, axes in self.items():
            parts = [f"used again along {', '.join(sorted(axes))}"] if axes else []
            parts += [f"in windows that overlap along {w}" for w in self.windows.get(name, ())]
            found.append(f"{name}: {'; '.join(parts) or 'each element is used once'}")
        return "\n".join(found)

    def _repr_html_(self) -> str:
        from html import escape

        rows = (line.partition(": ") for line in str(self).splitlines())
        return f"<table>{''.join(f'<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>' for a, _, b in rows)}</table>"


def reuse(tensor: Tensor) -> Reuse:
    """For each tensor that a definition reads, and for itself, the axes that its access does not depend on: along these an element is used again,
    so a tile of v steps of such an axis saves all but one of v loads. `.windows` has the windows that overlap, as those of a convolution do.

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
    """
    if not isinstance(tensor, Tensor):
        raise ScheduleError(f"te.reuse takes a tensor, not {tensor!r:.80}", here())
    found = Reuse()
    found.windows = {}
    if tensor.definition is None:
        return found
    for stage in lifted(tensor.definition):
        for part in stage.parts:
            axes = {a.name for a in part.axes}
            for value in part.values:
                if isinstance(value, Reduce):
                    axes |= {a.name for a in value.axes or ()}
            for node in walk(*part.expressions):
                if isinstance(node, Access):
                    depends = {a.name for index in node.indices for a in free_axes(index)}
                    name = node.tensor.name
                    found[name] = found.get(name, axes) & (axes - depends)
                    shared = [text(index) for index in node.indices if len(free_axes(index)) > 1 and _affine(index)]
                    if shared:
                        known = found.windows.setdefault(name, [])
                        known += [w for w in shared if w not in known]
            written = {
                a.name
                for e in part.lhs
                for a in ([e] if isinstance(e, Axis) else free_axes(e))
                if not isinstance(e, Const)
            }
            for t in (t for t in stage.tensors if t in tensor.definition.tensors):
                found[t.name] = found.get(t.name, axes) & (axes - written)
    return found


def _affine(index: Expr) -> bool:
    """Whether an index is a sum of axes with factors, so that neighbours in several axes meet."""
    return not any(
        isinstance(n, Access) or (isinstance(n, Apply) and n.function not in ("add", "subtract", "multiply"))
        for n in walk(index)
    )
