"""Whether affine accesses meet: whether two steps of the loops read the same element.

An access is a list of sums over axes, one for each dimension; two steps whose axes differ by d read the same element
when every sum changes by what the constants differ by. So the question is whether some d, of whole numbers within the
extents, solves a few linear equations.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from tedsl.lang.expr import Axis, Expr
from tedsl.lang.integers import affine_of
from tedsl.lang.integers.affine import Affine

MOST = 20_000  # differences that are tried; where there are more, the accesses are taken to meet

Row = dict[Axis, int]  # the coefficients of one dimension


def rows_of(indices: Sequence[Expr]) -> list[Affine] | None:
    """The indices as sums over axes and sizes; None when one of them is something else."""
    sums = [affine_of(index) for index in indices]
    return sums if all(s.linear for s in sums) else None


def coefficients(indices: Sequence[Affine]) -> list[Row]:
    """How each index changes with each axis."""
    return [{a: c for a, c in s.terms.items() if isinstance(a, Axis)} for s in indices]


def components(rows: Sequence[Row]) -> list[list[int]]:
    """The dimensions in groups that share axes."""
    groups: list[tuple[set[Axis], list[int]]] = []
    for n, row in enumerate(rows):
        axes, dims = set(row), [n]
        for group in [g for g in groups if g[0] & axes]:
            groups.remove(group)
            axes |= group[0]
            dims = [*group[1], *dims]
        groups.append((axes, dims))
    return [dims for _, dims in groups]


def meet(rows: Sequence[Row], by: Sequence[int], extents: Mapping[Axis, int | None]) -> bool:
    """Whether some steps, that are not the same one, differ by d with ``rows · d == by``. extents: how far each axis
    runs; None where that is a size.
    """
    axes = sorted({a for row in rows for a in row}, key=lambda a: (-max(abs(row.get(a, 0)) for row in rows), a.name))
    if not axes:
        return not any(by)
    last = axes.pop()  # which follows from the others
    equation = next(n for n, row in enumerate(rows) if last in row)
    reach = max([abs(c) for row in rows for c in row.values()] + [abs(b) for b in by])

    def within(axis: Axis, d: int) -> bool:
        extent = extents[axis]
        return extent is None or abs(d) < extent

    tried = 0
    for others in itertools.product(*(_steps(extents[a], reach) for a in axes)):
        tried += 1
        if tried > MOST:
            return True
        at = dict(zip(axes, others))
        rest = by[equation] - sum(c * at[a] for a, c in rows[equation].items() if a is not last)
        if rest % rows[equation][last]:
            continue
        at[last] = rest // rows[equation][last]
        solved = all(sum(c * at[a] for a, c in row.items()) == b for row, b in zip(rows, by))
        if solved and within(last, at[last]) and (any(by) or any(at.values())):
            return True
    return False


def _steps(extent: int | None, reach: int) -> Iterator[int]:
    """0, 1, -1, 2, -2 … as far as an axis runs; what is further than the largest coefficient is found nearer too."""
    most = reach if extent is None else min(reach, extent - 1)
    yield 0
    for n in range(1, most + 1):
        yield n
        yield -n
