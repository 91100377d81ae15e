"""What a schedule costs, as numbers or, where sizes or tile factors are symbolic, as SymPy expressions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tedsl import hardware
from tedsl.lang.errors import ScheduleError

LEVELS = {"global": "dram", "cache": "l1", "shared": "shared"}  # what a load from a scope is charged


@dataclass(frozen=True)
class Cost:
    """What a schedule costs. Numbers, or SymPy expressions in the sizes and factors.

    operations: arithmetic and calls, over all stages. moves: elements copied into a scope, by the tensor of the
    program, the scope they come from and the one they go to; a read that no copy serves goes to "register". registers:
    elements held in registers at once. footprint: elements held at once in each scope (for "cache" and "register", of
    one thread). time: every load at the speed of the level that it comes from (symbols dram, l1).
    """

    operations: Any
    moves: Mapping[tuple[str, str, str], Any]
    registers: Any
    footprint: Mapping[str, Any]
    sizes: Mapping[str, int] = field(repr=False, default_factory=dict)  # bytes of an element, by tensor
    held: Mapping[str, Any] = field(repr=False, default_factory=dict)  # as footprint, in bytes
    least: Mapping[str, int] = field(
        repr=False, default_factory=dict
    )  # the smallest value that each factor was said to have
    multiples: Mapping[str, frozenset[int | str]] = field(
        repr=False, default_factory=dict
    )  # what each factor is a multiple of: numbers, and other factors
    machine: Any = field(
        repr=False, default=None
    )  # which the table gives a predicted time of, and what will not fit it
    dtype: str = field(repr=False, default="float32")  # of the result, which says what peak is meant

    @property
    def time(self) -> Any:
        """Every load at the speed of the level that it comes from, in the symbols dram and l1 (stores are not
        counted).
        """
        import sympy

        levels: dict[str, Any] = {}
        for _, source, n in self._loads():
            levels[source] = levels.get(source, 0) + n
        return total(sympy.Symbol(LEVELS[scope], positive=True) * n for scope, n in levels.items())

    @property
    def bytes(self) -> Any:
        """Bytes loaded from memory (scope "global")."""
        return total(n * self.sizes.get(name, 1) for (name, source, to), n in self.moves.items() if source == "global")

    @property
    def intensity(self) -> Any:
        """Operations for each byte loaded from memory; None when nothing is loaded."""
        loaded = self.bytes
        if isinstance(loaded, int) and isinstance(self.operations, int):
            return self.operations / loaded if loaded else None
        return self.operations / loaded

    def at(self, **sizes: int) -> Cost:
        """The cost at given sizes and factors. Raises ScheduleError for one that the cost does not depend on."""
        import sympy

        known = self._symbols()
        for name, given in sizes.items():
            if name not in known:
                has = ", ".join(sorted(known)) or "none"
                raise ScheduleError(f"{name}={given!r}: the cost has no size or factor of that name; it has {has}")
            if isinstance(given, bool) or not hasattr(given, "__index__"):
                raise ScheduleError(f"{name}={given!r}: a size is a whole number")
        multiples = {
            name: frozenset(int(sizes[d]) if isinstance(d, str) and d in sizes else d for d in of)
            for name, of in self.multiples.items()
        }

        def value(e: Any) -> Any:
            if not isinstance(e, sympy.Basic):
                return e
            e = e.subs({s: sizes[str(s)] for s in e.free_symbols if str(s) in sizes})
            return int(e) if e.is_Integer else e

        def values(counts: Mapping[Any, Any]) -> dict[Any, Any]:
            return {key: value(n) for key, n in counts.items()}

        return replace(
            self, operations=value(self.operations), moves=values(self.moves), registers=value(self.registers),
            footprint=values(self.footprint), held=values(self.held), multiples=multiples,
        )  # fmt: skip

    def _symbols(self) -> set[str]:
        """The names of all sizes and factors that are open."""
        counts = (self.operations, self.registers, *self.moves.values(), *self.footprint.values())
        return {str(s) for n in counts for s in getattr(n, "free_symbols", ())} | set(self.multiples)

    def problems(self, machine: Any, **sizes: int) -> list[str]:
        """What will not fit: register tiles into the vector registers, copies in the scope "cache" into L1 or L2, each
        as a sentence with what to do.

        machine: `te.machine()`, or anything with `.vector_bytes`, `.l1_bytes` and `.l2_bytes`. sizes: values of
        symbolic sizes and factors; for the others it is asked whether any value will do.
        """
        cost = self.at(**sizes) if sizes else self
        found = []
        registers = machine.vector_bytes * hardware.registers(machine.vector_bytes)
        tile, how = cost._smallest("register")
        if tile > registers:
            found.append(
                f"the register tiles hold {tile} bytes{how}, and the vector registers {registers}: what is too much "
                "goes through memory. Choose smaller tiles"
            )
        held, how = cost._smallest("cache")
        if held > machine.l1_bytes:
            into = (
                f"They fit L2 ({machine.l2_bytes} bytes), at its speed"
                if held <= machine.l2_bytes
                else f"They do not fit L2 ({machine.l2_bytes} bytes) either"
            )
            found.append(
                f"the copies in the scope cache hold {held} bytes{how}, and L1 {machine.l1_bytes}. {into}. Choose "
                "smaller tiles, or split the loop that is "
                "reduced over and copy the panels of one part of it at a time")  # fmt: skip
        return found

    def _smallest(self, scope: str) -> tuple[int, str]:
        """The fewest bytes that are held in a scope, whatever the factors that are open, and at which of these."""
        held = self.held.get(scope, 0)
        if isinstance(held, int):
            return held, ""
        open_ = sorted(str(s) for s in held.free_symbols)
        least = {s: self._least(str(s)) for s in held.free_symbols}
        shown = ", ".join(f"{name}={next(v for s, v in least.items() if str(s) == name)}" for name in open_)
        return int(held.subs(least)), f" ({held}) even with {shown}, so that no {', '.join(open_)} will do"

    def _least(self, name: str) -> int:
        """The smallest value that a size or factor may have: tiles of tiles divide them."""
        step = math.lcm(*(d if isinstance(d, int) else self._least(d) for d in self.multiples.get(name, ())))
        return step * max(1, -(-self.least.get(name, 1) // step))

    def seconds(self, machine: Any, dtype: str | None = None) -> Any:
        """A predicted time on one core: the larger of what the operations take at peak speed and what the loads take at
        each level's bandwidth.

        machine: `te.machine()`, or anything with `.peak_gflops[dtype]` and `.bandwidth[level]` (bytes/s). dtype: that
        of the result, unless given.
        """
        peaks = machine.peak_gflops
        compute = self.operations / (peaks.get(dtype or self.dtype, peaks["float32"]) * 1e9)
        loads = total(
            n * self.sizes.get(name, 1) / machine.bandwidth[LEVELS[source]]
            for name, source, n in self._loads()
            if LEVELS[source] in machine.bandwidth
        )
        if isinstance(compute, (int, float)) and isinstance(loads, (int, float)):
            return max(compute, loads)
        import sympy

        return sympy.Max(compute, loads)

    def _loads(self) -> Iterable[tuple[str, str, Any]]:
        return ((name, source, n) for (name, source, to), n in self.moves.items() if _is_load(source, to))

    def rows(self) -> list[tuple[str, str]]:
        """The table that is printed: what, and how much."""
        found = [("operations", self.operations)]
        found += [(f"{name}: {source} to {to}", n) for (name, source, to), n in self.moves.items()]
        found += [("registers", self.registers)]
        found += [(f"held in {scope}", n) for scope, n in self.footprint.items() if scope != "register"]
        found += [("bytes from memory", self.bytes), ("operations a byte", self.intensity), ("time", self.time)]
        if self.machine is not None:
            found += [("predicted seconds", self.seconds(self.machine))]
            found += [("will not fit", problem) for problem in self.problems(self.machine)]
        return [(what, "" if n is None else _shown(n)) for what, n in found]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(what) for what, _ in rows)
        return "\n".join(f"{what:{width}}  {n}" for what, n in rows)

    def _repr_html_(self) -> str:
        from html import escape

        cells = "".join(f"<tr><td>{escape(what)}</td><td>{escape(n)}</td></tr>" for what, n in self.rows())
        return f"<table>{cells}</table>"


def _shown(n: Any) -> str:
    """A number, or a formula, with no more digits than there is a reason for."""
    if isinstance(n, (int, str)):
        return str(n)
    return f"{n:.4g}" if isinstance(n, float) else str(n.evalf(4) if n.atoms(_float()) else n)


def _float() -> Any:
    import sympy

    return sympy.Float


def total(values: Iterable[Any]) -> Any:
    total: Any = 0
    for v in values:
        total = total + v
    return total


def _is_load(source: str, to: str) -> bool:
    """Whether a move reads from a slower level; the way back is a store, which is not charged."""
    return source in LEVELS and not (to == "global" and source != "global")
