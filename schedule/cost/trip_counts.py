"""How often the body of a chain of loops and conditions runs: exactly, by evaluating bounds at all points of the loops
that they depend on, or as a SymPy expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Var, reads_tensors, walk
from tedsl.lang.integers import Known, solve
from tedsl.schedule.loops.ir import For, constant

from .operations import values_at

MOST_POINTS = 4_000_000  # of a grid that is evaluated at once
MOST_TERMS = 4096  # of a sum that is written out


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A condition under which the rest of a chain runs. One that depends on data is taken to hold."""

    condition: Expr


Link = For | Condition


class Trips:
    """Counts of runs. `kept`: divisions that round (of the program's own extents); all others are of tiles, which are
    taken to divide.
    """

    def __init__(self, symbolic: bool, kept: set[Expr]) -> None:
        self.symbolic, self.kept = symbolic, kept
        self.counts: dict[tuple[int, ...], tuple[tuple[Link, ...], Any]] = {}
        self.symbols: dict[str, Any] = {}

    def count(self, chain: tuple[Link, ...]) -> Any:
        """How often the body of `chain` runs."""
        key = tuple(id(link) for link in chain)
        if key not in self.counts:  # the chain is kept, so that an id is not used again
            self.counts[key] = chain, (self._symbolic(chain) if self.symbolic else _exact(chain))
        return self.counts[key][1]

    def value(self, e: Any) -> Any:
        """An extent as a number or a SymPy expression."""
        if isinstance(e, int):
            return e
        if isinstance(e, Const):
            return int(e.value)
        return self.sympy(e)

    def largest(self, values: Sequence[Any]) -> Any:
        """The largest of some counts."""
        found = [v for v in dict.fromkeys(values) if not (isinstance(v, int) and v == 0)]
        if len(found) < 2:
            return found[0] if found else 0
        if all(isinstance(v, int) for v in found):
            return max(found)
        import sympy

        return sympy.Max(*found)

    def tidy(self, n: Any) -> Any:
        """A count as it is shown: expanded, an int when it is one."""
        if isinstance(n, int):
            return n
        import sympy

        n = sympy.expand(n) if not n.has(sympy.Max, sympy.Min, sympy.floor) else sympy.simplify(n)
        return int(n) if n.is_Integer else n

    # SymPy ------------------------------------------------------------------------------------------------------------

    def symbol(self, name: str, integer: bool = True) -> Any:
        if name not in self.symbols:
            import sympy

            self.symbols[name] = sympy.Symbol(name, positive=True, integer=integer)
        return self.symbols[name]

    def sympy(self, e: Expr) -> Any:
        """An index expression; divisions that are of tiles are exact."""
        import sympy

        if isinstance(e, Const):
            return sympy.Integer(int(e.value))
        if isinstance(e, Var):
            return self.symbol(e.name)
        if isinstance(e, Axis):
            return sympy.Symbol(f"{e.name}.", integer=True)
        if isinstance(e, Cast):
            return self.sympy(e.operand)
        assert isinstance(e, Apply)
        a = [self.sympy(o) for o in e.operands]
        if e.function == "add":
            return a[0] + a[1]
        if e.function == "subtract":
            return a[0] - a[1]
        if e.function == "multiply":
            return a[0] * a[1]
        if e.function == "negative":
            return -a[0]
        if e.function == "floor_divide":
            return sympy.floor(a[0] / a[1]) if e in self.kept else a[0] / a[1]
        if e.function == "remainder":
            return sympy.Mod(a[0], a[1])
        if e.function == "minimum":
            return sympy.Min(*a)
        if e.function == "maximum":
            return a[0] if a[1] == 0 and not a[0].free_symbols else sympy.Max(*a)
        raise ValueError(f"no count for the extent `{e!r}`")

    def _symbolic(self, chain: tuple[Link, ...]) -> Any:
        import sympy

        loops: list[tuple[Axis, Any, Any, int]] = []  # axis, first value, number of steps, step
        for link in chain:
            if isinstance(link, For):
                loops.append((link.axis, self.sympy(link.lo), self.sympy(link.extent), link.step))
            elif not reads_tensors(link.condition):
                self._narrow(link.condition, chain, loops)
        total: Any = sympy.Integer(1)
        for axis, lo, extent, step in reversed(loops):
            name = self.sympy(axis)
            if total.has(name):
                if extent.is_Integer and extent <= MOST_TERMS:
                    total = sympy.Add(*(total.subs(name, lo + step * n) for n in range(int(extent))))
                    continue
                counter = sympy.Symbol(f"{axis.name}..", integer=True, nonnegative=True)
                total = sympy.summation(total.subs(name, lo + step * counter), (counter, 0, extent - 1))
            else:
                total = total * extent
        return total

    def _narrow(self, condition: Expr, chain: tuple[Link, ...], loops: list[tuple[Axis, Any, Any, int]]) -> None:
        """Bound the innermost loop of which a condition says something; one that says nothing of a loop's range is
        taken to hold.
        """
        for n in range(len(loops) - 1, -1, -1):
            axis, _, _, step = loops[n]
            loop = next(link for link in chain if isinstance(link, For) and link.axis is axis)
            if step != 1 or not any(a is axis for a in walk(condition)):
                continue
            found = solve(condition, axis, Known({axis: (loop.lo, loop.extent)}))
            if found is not None and found.rest is None:
                lo, hi = self.sympy(found.lo), self.sympy(found.hi)
                loops[n] = axis, lo, (hi - lo) / found.step, found.step
            return


# Numbers --------------------------------------------------------------------------------------------------------------


def _exact(chain: tuple[Link, ...]) -> int:
    """The number of runs of a chain of numbers: loops that no later bound depends on multiply, the others are points of
    a grid.
    """
    needed: set[Axis] = set()
    for link in chain:
        exprs = (link.lo, link.extent) if isinstance(link, For) else (link.condition,)
        if isinstance(link, For) or not any(isinstance(n, Access) for n in walk(*exprs)):
            needed |= {n for n in walk(*exprs) if isinstance(n, Axis)}
    loops = [link for link in chain if isinstance(link, For)]
    grid = [loop for loop in loops if loop.axis in needed]
    return _points(chain, {loop.axis: n for n, loop in enumerate(grid)}, len(grid), {})


def _points(chain: Sequence[Link], dims: dict[Axis, int], rank: int, fixed: dict[Expr, Any]) -> int:
    weight: Any = np.ones((1,) * rank, dtype=np.int64)
    at: dict[Expr, Any] = dict(fixed)
    for n, link in enumerate(chain):
        if isinstance(link, Condition):
            if reads_tensors(link.condition):
                continue
            weight = weight * np.asarray(values_at(link.condition, at), dtype=np.int64)
            continue
        size = constant(link.extent)
        extent = np.asarray(values_at(link.extent, at) if size is None else size, dtype=np.int64)
        extent = np.maximum(extent, 0)
        if link.axis not in dims:
            weight = weight * extent
            continue
        longest = int(extent.max()) if extent.size else 0
        if longest == 0:
            return 0
        if weight.size * longest > MOST_POINTS and weight.size > 1:
            return _one_by_one(chain, dims, rank, n, at, weight)
        steps = np.arange(longest).reshape([-1 if d == dims[link.axis] else 1 for d in range(rank)])
        weight = weight * (steps < extent)
        at[link.axis] = np.asarray(values_at(link.lo, at)) + steps * link.step
    return int(weight.sum())


def _one_by_one(
    chain: Sequence[Link], dims: dict[Axis, int], rank: int, n: int, at: dict[Expr, Any], weight: Any
) -> int:
    """The rest of a chain for each point of the grid so far, where the whole grid would be too large."""
    total = 0
    shape = weight.shape
    for point in np.argwhere(weight):
        here = {
            a: np.broadcast_to(v, np.broadcast_shapes(np.shape(v), shape))[tuple(point)].reshape((1,) * rank)
            for a, v in at.items()
        }
        total += int(weight[tuple(point)]) * _points(chain[n:], dims, rank, here)
    return total
