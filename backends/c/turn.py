"""Squares turned in registers: what is read along one loop and written along another.

    for y:                                       for y in steps of 16:
      for x vectorised:                 →          for x in steps of 16: 16 rows of 16 are read along y,
        to[…, y, x] = f(from[…, x, y])               turned by shuffles, and written along x

Printed as it stands, each vector would be gathered from as many lines of the cache as it has lanes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from tedsl.backends.codegen.names import comment
from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Const, Expr, substitute, walk
from tedsl.lang.integers import simplify
from tedsl.schedule.loops.ir import Buffer, For, Store, constant, inside

if TYPE_CHECKING:
    from .printer import _Generator


def turned(stmt: For, g: _Generator) -> bool:
    """Print a loop around a vectorised one by turning squares, if it is of that kind; otherwise print nothing."""
    inner = stmt.body
    if not (isinstance(inner, For) and inner.kind == "vectorized" and isinstance(inner.body, Store)):
        return False
    if (
        stmt.kind != "serial"
        or stmt.step != 1
        or stmt.pragmas
        or g.vectors.axis is not None
        or not g.vectors.regular(inner)
    ):
        return False
    accesses = _across(stmt, inner, g)
    start, lanes = g.vectors.chunks(inner)[0]
    extent = constant(stmt.extent)
    if not accesses or lanes * dtypes.itemsize(inner.body.buffer.dtype) < 16 or (extent is not None and extent < lanes):
        return False
    width = cast(int, constant(inner.extent))
    whole = width // lanes * lanes
    place, declared, depth = len(g.lines), [set(d) for d in g.declared], g.depth
    if not _squares(stmt, inner, accesses, start, whole, lanes, g):
        del g.lines[place:]
        g.declared, g.depth = declared, depth
        return False
    left = simplify(stmt.extent % lanes, g.known)
    if constant(left) != 0:
        rest = replace(
            stmt,
            lo=simplify(stmt.lo + stmt.extent - left, g.known),
            extent=left,
            body=replace(inner, extent=Const(whole)),
        )
        g.plain_loop(rest)
    if whole < width:
        g.loop(replace(stmt, body=replace(inner, lo=Const(start + whole), extent=Const(width - whole))))
    return True


def _across(stmt: For, inner: For, g: _Generator) -> list[Access]:
    """What is read along the outer loop while it is written along the inner one; nothing when that is not all that
    happens.
    """
    store = cast(Store, inner.body)
    y, x = stmt.axis, inner.axis
    size = dtypes.itemsize(store.buffer.dtype)
    target = g.offset(store.buffer, store.indices)
    if size not in (4, 8) or target.terms.get(x) != 1 or store.buffer in g.locals:
        return []
    found = []
    for access in dict.fromkeys(n for n in walk(store.value) if isinstance(n, Access)):
        buffer = cast(Buffer, access.tensor)
        if buffer is store.buffer:
            return []
        if buffer in g.locals or dtypes.itemsize(buffer.dtype) != size:
            continue
        form = g.offset(buffer, access.indices)
        if form.terms.get(y) == 1 and form.terms.get(x, 1) != 1:
            found.append(access)
    return found


def _squares(stmt: For, inner: For, accesses: list[Access], start: int, whole: int, lanes: int, g: _Generator) -> bool:
    y, x, store, vectors = stmt.axis, inner.axis, cast(Store, inner.body), g.vectors
    name = g.leaf(y)
    end = g.scalar(simplify(stmt.lo + stmt.extent, g.known))
    note = f"  /* {comment(stmt.origin)}, in squares */" if stmt.origin else ""
    known = g.known
    g.open(f"for (int64_t {name} = {g.scalar(stmt.lo)}; {name} + {lanes} <= {end}; {name} += {lanes})")
    g.lines[-1] += note
    outer = inside(known, stmt)
    for first in range(start, start + whole, lanes):
        g.open()
        g.known = outer
        squares = []
        for access in accesses:
            buffer = cast(Buffer, access.tensor)
            kind = vectors.type(buffer.dtype, lanes)
            square = g.names.of((access, first, "square"), "rows")
            places: list[dict[Expr, Expr]] = [{x: Const(first + lane)} for lane in range(lanes)]
            offsets = (g.offset(buffer, tuple(substitute(i, p) for i in access.indices)) for p in places)
            rows = [f"*(const {kind}_u *)&{g.at(buffer, offset)}" for offset in offsets]
            g.put(f"{kind} {square}[{lanes}] = {{")
            for row in rows:
                g.put(f"    {row},")
            g.put("};")
            g.put(f"{_helper(buffer.dtype, lanes, g)}({square});")
            squares.append((access, square))
        for lane in range(lanes):
            step: dict[Expr, Expr] = {y: simplify(y + lane)}
            moved = Store(
                store.buffer, tuple(substitute(i, step) for i in store.indices), substitute(store.value, step)
            )
            vectors.replaced = {
                cast(Access, substitute(access, step)): f"{square}[{lane}]" for access, square in squares
            }
            fits = vectors.single(moved, x, first, lanes, outer)
            vectors.replaced = {}
            if not fits:
                g.known = known
                return False
        g.close()
    g.known = known
    g.close()
    return True


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
