"""Where the lanes of a vector lie: in memory side by side, at a distance or anywhere, or in the named variables of a
register buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tedsl.backends.codegen.expressions import short
from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Expr, reads_tensors, substitute
from tedsl.lang.integers import Affine, affine_of, simplify
from tedsl.schedule.loops.ir import Buffer, loads

from .vector_lanes import Lanes, Unfit, mentions

STRIDED = 4  # the largest distance between lanes for which whole vectors are read and shuffled


class Memory(Lanes):
    """Reads lanes from memory and from variables, and says where those lie that are written."""

    def address(self, buffer: Buffer, indices: Sequence[Expr]) -> tuple[int, Affine]:
        """Distance between lanes, and position of the first."""
        for i in indices:
            if reads_tensors(i) and self.varies(i):
                raise Unfit
        form = self.g.offset(buffer, indices)
        assert self.axis is not None
        stride = form.terms.get(self.axis, 0)
        if stride:
            form = form.without(self.axis).plus(affine_of(self.base), stride)
        if not form.linear and any(mentions(atom, self.axis) for atom in form.terms):
            raise Unfit
        return stride, form

    def elements(self, buffer: Buffer, indices: Sequence[Expr]) -> list[str]:
        """The elements that the lanes read or write where these lie at no fixed distance: rows of a length that is a
        size, places told by data.
        """
        g = self.g
        if buffer in g.locals or any(cast(Buffer, a.tensor) in self.locals for i in indices for a in loads(i)):
            raise Unfit
        axis = self.axis
        assert axis is not None
        found = []
        for lane in range(self.lanes):
            here: dict[Expr, Expr] = {axis: self.base + lane}
            found.append(
                g.element(
                    buffer,
                    [
                        simplify(substitute(i, here), g.known) if i.dtype == "int" else substitute(i, here)
                        for i in indices
                    ],
                )
            )
        return found

    def at(self, buffer: Buffer, offset: Affine) -> str:
        return self.g.at(buffer, offset)

    def in_memory(self, buffer: Buffer, offset: Affine) -> str:
        """The type of a vector in memory: aligned where that is proved (temporaries begin at multiples of 64 bytes),
        else not.
        """
        kind = self.of(buffer.dtype)
        aligned = (
            buffer.role == "temporary"
            and offset.constant % self.lanes == 0
            and all(c % self.lanes == 0 for c in offset.terms.values())
        )
        return f"{kind}_{'a' if aligned and self.lanes * dtypes.itemsize(buffer.dtype) <= 64 else 'u'}"

    def variable(self, buffer: Buffer, stride: int, offset: Affine) -> str:
        """The local variable in which these lanes of a register buffer are kept."""
        if stride == 0 and not offset.terms:
            return self.splat(self.g.locals[buffer].scalar(offset), buffer.dtype)
        if stride != 1 or offset.terms:
            raise Unfit
        name, lanes, part = self.g.locals[buffer].vector(offset.constant, self.lanes)
        return name if lanes == self.lanes else f"{self.part_helper('part', buffer.dtype, lanes, part)}({name})"

    def assign(self, buffer: Buffer, stride: int, offset: Affine, value: str) -> None:
        """Store lanes in the local variable in which they are kept."""
        if stride != 1 or offset.terms:
            raise Unfit
        name, lanes, part = self.g.locals[buffer].vector(offset.constant, self.lanes)
        if lanes != self.lanes:
            value = f"{self.part_helper('put', buffer.dtype, lanes, part)}({name}, {value})"
        self.g.put(f"{name} = {value};")

    def part_helper(self, what: str, dtype: str, lanes: int, part: int) -> str:
        """A function that takes a part out of a vector, or puts one in."""
        name = f"te_{what}{part}_{short(dtype)}x{lanes}to{self.lanes}"
        w, n = self.type(dtype, lanes), self.of(dtype)
        union = f"union {{ {w} w; {n} n[{lanes // self.lanes}]; }} u = {{x}};"
        if what == "part":
            text = f"static inline {n} {name}({w} x) {{ {union} return u.n[{part}]; }}"
        else:
            text = f"static inline {w} {name}({w} x, {n} y) {{ {union} u.n[{part}] = y; return u.w; }}"
        self.g.vector_helpers[name] = text
        return name

    def read(self, e: Access) -> str:
        if e in self.replaced:
            return self.replaced[e]
        buffer = cast(Buffer, e.tensor)
        g = self.g
        if buffer in self.locals:
            return g.names.of((buffer, self.lanes), buffer.name)
        assert self.axis is not None
        key = e, self.axis, self.base, self.lanes
        if key in self.reads and buffer not in g.locals:
            return self.reads[key]
        kind = self.of(buffer.dtype)
        try:
            stride, offset = self.address(buffer, e.indices)
        except Unfit:
            return f"({kind}){{{', '.join(self.elements(buffer, e.indices))}}}"
        if buffer in g.locals:
            return self.variable(buffer, stride, offset)
        if stride == 1:
            text = f"*(const {self.in_memory(buffer, offset)} *)&{self.at(buffer, offset)}"
            if offset.linear:  # what divides is printed by what is known here
                self.reads[key] = text
            return text
        if 2 <= abs(stride) <= STRIDED or stride == -1:
            return self.strided(buffer, stride, offset)
        items = ", ".join(self.at(buffer, offset + lane * stride) for lane in range(self.lanes))
        return f"({kind}){{{items}}}"

    def strided(self, buffer: Buffer, stride: int, offset: Affine) -> str:
        """Every second, third … element, picked out of whole vectors that together reach from the first to the last and
        no further.
        """
        lanes, step = self.lanes, abs(stride)
        first = offset if stride > 0 else offset + (lanes - 1) * stride
        starts = [min(n * lanes, (lanes - 1) * step + 1 - lanes) for n in range(step)]
        kind = self.of(buffer.dtype)
        texts = [f"*(const {kind}_u *)&{self.at(buffer, first + s)}" for s in starts]
        wanted = [(lane if stride > 0 else lanes - 1 - lane) * step for lane in range(lanes)]
        holder = [next(n for n in reversed(range(step)) if starts[n] <= w) for w in wanted]
        if step == 1:
            return f"{self.shuffle(buffer.dtype, tuple(w for w in wanted))}({texts[0]}, {texts[0]})"
        text = texts[0]
        for n in range(1, step):  # lanes that are settled already stay where they are
            picks = tuple(
                lanes + wanted[m] - starts[n] if holder[m] == n else (wanted[m] if n == 1 and holder[m] == 0 else m)
                for m in range(lanes)
            )
            text = f"{self.shuffle(buffer.dtype, picks)}({text}, {texts[n]})"
        return text

    def shuffle(self, dtype: str, picks: tuple[int, ...]) -> str:
        """A function of two vectors that takes the lanes `picks` of both, those of the second counted on."""
        t, i = self.of(dtype), self.of(f"int{8 * dtypes.itemsize(dtype)}")
        body = ", ".join(map(str, picks))
        if (dtype, body) in self.shuffles:
            return self.shuffles[dtype, body]
        name = f"te_shuffle{len(self.shuffles)}_{short(dtype)}x{len(picks)}"
        text = (f"static inline {t} {name}({t} a, {t} b)\n{{\n#ifdef __clang__\n    return "
            f"__builtin_shufflevector(a, b, {body});\n#else\n"
                f"    return __builtin_shuffle(a, b, ({i}){{{body}}});\n#endif\n}}")  # fmt: skip
        self.g.vector_helpers[name] = text
        self.shuffles[dtype, body] = name
        return name
