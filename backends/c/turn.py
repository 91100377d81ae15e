"""Squares transposed in registers, in C (see schedule/passes/transpose_tiles.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tedsl.backends.codegen.names import comment
from tedsl.lang import dtypes
from tedsl.lang.integers import Affine, simplify
from tedsl.schedule.loops.ir import Buffer, Squares, Turned, inside

if TYPE_CHECKING:
    from .printer import _Generator


def squares(stmt: Squares, g: _Generator) -> None:
    loop, lanes, known = stmt.loop, stmt.lanes, g.known
    name, end = g.leaf(loop.axis), g.scalar(simplify(loop.lo + loop.extent, g.known))
    g.open(f"for (int64_t {name} = {g.scalar(loop.lo)}; {name} + {lanes} <= {end}; {name} += {lanes})")
    g.lines[-1] += f"  /* {comment(loop.origin)}, in squares */" if loop.origin else ""
    g.known = inside(known, loop)
    g.statement(stmt.body)
    g.known = known
    g.close()


def turned(stmt: Turned, g: _Generator) -> None:
    """Print the reading and turning of squares, and what is made of them."""
    g.open()
    for square, access in stmt.squares:
        buffer = cast(Buffer, access.tensor)
        kind, name = g.vectors.type(buffer.dtype, stmt.lanes), g.names.of(square, square.name)
        form = g.positions.of(buffer, access.indices)
        stride, form = form.terms[stmt.axis], form.without(stmt.axis)
        g.put(f"{kind} {name}[{stmt.lanes}] = {{")
        for row in range(stmt.first, stmt.first + stmt.lanes):
            g.put(f"    *(const {kind}_u *)&{g.at(buffer, form.plus(Affine({}, row), stride))},")
        g.put("};")
        g.put(f"{_helper(buffer.dtype, stmt.lanes, g)}({name});")
        g.squares.add(square)
    g.statement(stmt.body)
    g.close()


def _helper(dtype: str, lanes: int, g: _Generator) -> str:
    """The name of the function that turns a square of so many rows of so many lanes."""
    kind = g.vectors.type(dtype, lanes)
    name = f"te_turn_{kind}"
    index = g.vectors.type("int32" if dtypes.itemsize(dtype) == 4 else "int64", lanes)
    g.vector_helpers["te_shuffle"] = """\
#if defined(__clang__) || __GNUC__ >= 12
#define TE_SHUFFLE(type, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define TE_SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#endif"""
    g.vector_helpers[name] = "\n".join(
        [f"static inline void {name}({kind} *r)", "{", *_turning(lanes, 16 // dtypes.itemsize(dtype), kind, index), "}"]
    )
    return name


def _turning(lanes: int, each: int, kind: str, index: str) -> list[str]:
    """Shuffles that turn a square; `each`: lanes in 16 bytes. First inside of 16 bytes, then whole blocks of them:
    every one is an instruction.
    """
    lines: list[str] = []
    serial = 0

    def shuffle(a: str, b: str, places: list[int]) -> str:
        nonlocal serial
        serial += 1
        lines.append(f"    const {kind} s{serial} = TE_SHUFFLE({index}, {a}, {b}, {', '.join(map(str, places))});")
        return f"s{serial}"

    def zip_(a: str, b: str, half: int, run: int) -> str:
        """Runs of `run` lanes by turns from a and b, from the lower or upper half of each 16 bytes."""
        places = []
        for block in range(0, lanes, each):
            for at in range(block + half * each // 2, block + (half + 1) * each // 2, run):
                places += [*range(at, at + run), *range(lanes + at, lanes + at + run)]
        return shuffle(a, b, places)

    def blocks(a: str, b: str, chosen: list[int]) -> str:
        """Blocks of 16 bytes, the first half of them from a, the others from b."""
        half = len(chosen) // 2
        places = [
            block * each + e + (lanes if at >= half else 0) for at, block in enumerate(chosen) for e in range(each)
        ]
        return shuffle(a, b, places)

    rows = [f"r[{n}]" for n in range(lanes)]
    groups: list[list[str]] = []  # [group of rows][column within 16 bytes]
    for at in range(0, lanes, each):
        if each == 4:
            a, b, c, d = rows[at : at + 4]
            ab, cd = [zip_(a, b, half, 1) for half in (0, 1)], [zip_(c, d, half, 1) for half in (0, 1)]
            groups.append([zip_(ab[m // 2], cd[m // 2], m % 2, 2) for m in range(4)])
        else:
            a, b = rows[at : at + 2]
            groups.append([zip_(a, b, half, 1) for half in (0, 1)])
    results = [""] * lanes
    units = lanes // each
    for m in range(each):
        column = [group[m] for group in groups]
        if units == 1:
            turned_ = column
        elif units == 2:
            turned_ = [blocks(column[0], column[1], [q, q]) for q in (0, 1)]
        else:
            low = [blocks(column[at], column[at + 1], [0, 1, 0, 1]) for at in (0, 2)]
            high = [blocks(column[at], column[at + 1], [2, 3, 2, 3]) for at in (0, 2)]
            turned_ = [blocks(a, b, [q % 2, 2 + q % 2] * 2) for a, b in (low, high) for q in (0, 1)]
        for q, result in enumerate(turned_):
            results[q * each + m] = result
    lines += [f"    r[{n}] = {result};" for n, result in enumerate(results)]
    return lines
