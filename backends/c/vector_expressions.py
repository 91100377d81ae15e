"""Expressions as operations on whole vectors: values, and conditions, which are integers of some width, all bits set or
none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tedsl.backends.codegen.dialect import short
from tedsl.backends.codegen.expressions import Scalars
from tedsl.backends.codegen.printer import Printer
from tedsl.lang import dtypes
from tedsl.lang.errors import InternalError
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Var, substitute, walk
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.integers import Affine, affine_of, constant_bounds, simplify
from tedsl.schedule.loops.ir import Buffer, constant
from tedsl.schedule.loops.positions import Lanes

from .dialect import CTYPES, VECTOR_NAMES
from .math import functions as vector_math
from .vector_helpers import COMPARE, PREDICATES, VectorHelpers

STRIDED = 4  # the largest distance between lanes for which whole vectors are read and shuffled
BITS = {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
OPPOSITE = {"bitwise_and": "bitwise_or", "bitwise_or": "bitwise_and"}
OF_BOOLS = {"maximum": "bitwise_or", "add": "bitwise_or", "minimum": "bitwise_and", "multiply": "bitwise_and"}
Reads = dict[tuple[Expr, Axis, Expr, int], str]


class VectorExpressions:
    """Prints expressions at the lanes `at`. What depends on the loop's axis becomes a vector, everything else stays
    scalar and is broadcast by the operation that needs it. `reads`: elements at the same place have the same text.
    """

    def __init__(self, printer: Printer, helpers: VectorHelpers, at: Lanes, reads: Reads) -> None:
        self.g, self.helpers, self.at, self.reads = printer, helpers, at, reads
        self.lanes, self.varies, self.fixed = at.lanes, at.varies, at.first

    def of(self, dtype: str) -> str:
        """The C type of all lanes of a value."""
        return self.helpers.type(dtypes.strong(dtype), self.lanes)

    def own(self, buffer: Buffer) -> str:
        """The variable of a scalar of which each lane has one."""
        return self.g.names.of((buffer, self.lanes), buffer.name)

    # Values -----------------------------------------------------------------------------------------------------------

    def vector(self, e: Expr) -> str:
        """`e` as a vector of its type (bool: of bytes)."""
        if e.dtype == "bool":
            return self.mask(e, 1)
        if isinstance(e, Const) and e.value == 0 and str(e.value) != "-0.0":
            return f"({self.of(e.dtype)}){{0}}"
        text = self.value(e)
        return text if self.varies(e) else self.splat(text, e.dtype)

    def value(self, e: Expr) -> str:
        """`e` in C: a vector where it varies, a scalar where not."""
        if not self.varies(e):
            return self.g.scalars.wrap(self.fixed(e), 12)
        if e is self.at.axis:
            steps = ", ".join(map(str, range(self.lanes)))
            return f"(({self.of('int64')}){{{steps}}} + {self.g.scalar(self.at.base)})"
        if isinstance(e, Access):
            return self.read(e)
        if isinstance(e, Cast):
            return self.cast(e)
        if isinstance(e, Apply):
            return self.apply(e)
        raise InternalError(f"no vector form of {e!r}")

    def cast(self, e: Cast) -> str:
        if e.operand.dtype == "int" and e.dtype in ("int32", "int64") and (steps := self.steps(e)) is not None:
            return steps
        if e.operand.dtype == "bool":
            size = dtypes.itemsize(e.dtype)
            ones = f"({self.mask(e.operand, size)} & 1)"
            return f"__builtin_convertvector({ones}, {self.of(e.dtype)})"
        text = self.value(e.operand)
        kinds = [dtypes.strong(e.operand.dtype), *between(dtypes.strong(e.operand.dtype), e.dtype), e.dtype]
        if self.lanes == 16 and kinds[0] in ("int8", "uint8") and dtypes.itemsize(kinds[min(2, len(kinds) - 1)]) == 4:
            text = f"{self.helpers.widen(*kinds[:3])}({text})"
            kinds = kinds[2:]
        for kind in kinds[1:]:
            text = f"__builtin_convertvector({text}, {self.of(kind)})"
        return text

    def operand(self, e: Expr) -> str:
        """An operand of an infix operation: compilers broadcast a scalar of the element's type beside a vector."""
        text = self.value(e)
        if not self.varies(e) and e.dtype not in ("float32", "float64"):
            return f"({CTYPES[dtypes.strong(e.dtype)]})({text})"
        return text

    def whole(self, e: Expr) -> str:
        text = self.value(e)
        return text if self.varies(e) else self.splat(text, e.dtype)

    def splat(self, text: str, dtype: str) -> str:
        zero = f"({self.of(dtype)}){{0}}"
        return (
            f"(({text}) - {zero})" if dtypes.is_float(dtype) else f"(({CTYPES[dtypes.strong(dtype)]})({text}) + {zero})"
        )

    def steps(self, e: Cast) -> str | None:
        """An index that moves by the same number from lane to lane, in lanes of its own type; None for others."""
        form = affine_of(e.operand)
        stride = form.terms.get(self.at.axis, 0)
        rest = form.without(self.at.axis).plus(affine_of(self.at.base), stride)
        if any(self.varies(atom) for atom in rest.terms):
            return None
        kind, ctype = self.of(e.dtype), CTYPES[e.dtype]
        start = rest.constant if abs(rest.constant) < 2**24 else 0  # in the literal: vectors that follow share the sum
        rest = rest + -start
        self.g.scalars.known = self.g.known
        lanes = ", ".join(str(start + stride * n) for n in range(self.lanes))
        return f"(({kind}){{{lanes}}} + ({ctype})({self.g.scalars.sum(rest)}))"

    def apply(self, e: Apply) -> str:
        f, dtype = e.function, dtypes.strong(e.dtype)
        if dtype == "bool":
            return self.mask(e, self.width(e))
        if f == "where":
            return self.where(e)
        if f in ARITHMETIC and (dtypes.is_float(dtype) or f != "divide"):
            left, right = (self.operand(x) for x in e.operands)
            return f"({left} {ARITHMETIC[f]} {right})"
        if f in BITS:
            left, right = (self.operand(x) for x in e.operands)
            return f"({left} {BITS[f]} {right})"
        if f == "negative":
            return f"-{self.operand(e.operands[0])}"
        if f == "invert":
            return f"~{self.operand(e.operands[0])}"
        if f == "sign" and dtypes.is_integer(dtype):  # a comparison that holds is -1
            x = self.value(e.operands[0])
            return f"({self.of(dtype)})" + (f"(({x} < 0) - ({x} > 0))" if dtype in dtypes.SIGNED else f"-({x} != 0)")
        if (
            f == "power"
            and isinstance(e.operands[1], Const)
            and dtypes.is_float(dtype)
            and e.operands[1].value in (1, 2, 3, 0.5, -1)
        ):
            return self.power(e)
        name = VECTOR_NAMES.get(f, f)
        if vector_math.supported(name, dtype) and self.lanes > 1:
            self.g.scalars.functions.add((name, dtype, self.lanes))
            return f"{vector_math.symbol(name, dtype, self.lanes)}({', '.join(self.whole(x) for x in e.operands)})"
        if f in ("machine_minimum", "machine_maximum") and dtypes.is_float(dtype):
            name = self.helpers.extremum(f[len("machine_") :][:3], dtype, self.lanes)
            return f"{name}({', '.join(self.whole(x) for x in e.operands)})"
        return self.lanewise(e)

    def power(self, e: Apply) -> str:
        base, exponent = e.operands
        v = cast(Const, exponent).value
        if v == 0.5:
            return self.apply(Apply("sqrt", (base,)))
        x = self.whole(base)
        if v == 1:
            return x
        if v == -1:
            return f"(1 / {x})"
        t, product = self.of(e.dtype), " * ".join("x" * int(v))
        name = f"te_{'square' if v == 2 else 'cube'}_{short(e.dtype)}x{self.lanes}"
        self.helpers.inline(name, t, f"{t} x", f"return {product};")
        return f"{name}({x})"

    def where(self, e: Apply) -> str:
        c, a, b = e.operands
        if not self.varies(c):
            # an expression of what was loaded from any address has a type of its own, which `?:` tells from the plain
            # one
            kind = "" if e.dtype == "bool" else f"({self.of(e.dtype)})"
            return f"({self.g.scalar(self.fixed(c))} ? {kind}{self.whole(a)} : {kind}{self.whole(b)})"
        dtype = dtypes.strong(e.dtype)
        selected = self.select(c, self.whole(a), self.whole(b), dtype)
        if selected is not None:
            return selected
        name = self.helpers.pick(dtype, self.lanes)
        return f"{name}({self.mask(c, dtypes.itemsize(dtype))}, {self.whole(a)}, {self.whole(b)})"

    def lanewise(self, e: Apply) -> str:
        """A function without a vector form: the scalar one for each lane."""
        dtype = dtypes.strong(e.dtype)
        kinds = [dtypes.strong(x.dtype) for x in e.operands]
        lanes = Scalars(self.g.dialect, self.g.load, lambda v: f"{cast(Var, v).name}[lane]")
        lanes.helpers, lanes.functions = self.g.scalars.helpers, self.g.scalars.functions
        text = lanes.text(Apply(e.function, tuple(Cast(k, Var(n)) for k, n in zip(kinds, "abc", strict=False))))
        t, name = self.of(dtype), f"te_{e.function}_{short(dtype)}x{self.lanes}"
        parameters = ", ".join(f"{self.of(k)} {n}" for k, n in zip(kinds, "abc", strict=False))
        body = f"{t} r; for (int lane = 0; lane < {self.lanes}; lane++) r[lane] = ({CTYPES[dtype]})({text}); return r;"
        self.helpers.inline(name, t, parameters, body)
        return f"{name}({', '.join(self.whole(x) for x in e.operands)})"

    # Conditions -------------------------------------------------------------------------------------------------------

    def width(self, e: Expr) -> int:
        """The width in which a condition comes by itself: that of what it compares."""
        for node in walk(e):
            if (
                isinstance(node, Apply)
                and (node.function in COMPARE or FUNCTIONS[node.function].kind == "test")
                and self.varies(node)
            ):
                if self.narrowed(node) is not None:
                    return 4
                kind = dtypes.strong(dtypes.promote(*(x.dtype for x in node.operands)))
                return dtypes.itemsize(kind)
        return 1

    def mask(self, e: Expr, width: int) -> str:
        """A condition as a vector of integers of `width` bytes, all bits set or none."""
        kind = f"int{8 * width}"
        if not self.varies(e):
            return f"(({self.of(kind)}){{0}} - ({CTYPES[kind]})({self.g.scalar(self.fixed(e))} ? 1 : 0))"
        if isinstance(e, Apply):
            if e.function in COMPARE:
                return self.compare(e, width)
            same = OF_BOOLS.get(e.function, e.function)
            if same in BITS:
                return f"({self.mask(e.operands[0], width)} {BITS[same]} {self.mask(e.operands[1], width)})"
            if e.function == "invert":
                return f"~{self.mask(e.operands[0], width)}"
            if e.function == "where":
                c, a, b = (self.mask(x, width) for x in e.operands)
                return f"(({c} & {a}) | (~{c} & {b}))"
            if e.function == "isnan":
                x = self.whole(e.operands[0])
                return self.resized(f"({x} != {x})", dtypes.itemsize(e.operands[0].dtype), width)
            if e.function in ("isinf", "isfinite"):  # what is not finite leaves NaN when it is taken from itself
                x = self.whole(e.operands[0])
                text = f"(({x} - {x}) == 0)" if e.function == "isfinite" else f"(({x} == {x}) & (({x} - {x}) != 0))"
                return self.resized(text, dtypes.itemsize(e.operands[0].dtype), width)
        if isinstance(e, Access):
            return self.resized(f"({self.read(e)} != 0)", 1, width)
        if isinstance(e, Cast) and e.operand.dtype != "bool":
            return self.resized(
                f"({self.value(e.operand)} != 0)", dtypes.itemsize(dtypes.strong(e.operand.dtype)), width
            )
        raise InternalError(f"no vector form of {e!r}")

    def compare(self, e: Apply, width: int) -> str:
        a, b = self.narrowed(e) or e.operands
        kind = dtypes.strong(dtypes.promote(a.dtype, b.dtype))
        if kind == "bool":
            text = f"({self.mask(a, width)} ^ {self.mask(b, width)})"
            return text if e.function == "not_equal" else f"~{text}"
        left, right = self.operand(a), self.operand(b)
        return self.resized(f"({left} {COMPARE[e.function]} {right})", dtypes.itemsize(kind), width)

    def narrowed(self, e: Apply) -> tuple[Expr, Expr] | None:
        """What a comparison compares, in 32 bits where that is the same. A number for all lanes beside an index may be
        cut off at the ends of 32 bits.
        """
        if len(e.operands) != 2:
            return None
        found = [self.narrow(x) for x in e.operands]
        for n, x in enumerate(e.operands):
            if found[n] is None and x.dtype == "int64" and e.operands[1 - n].dtype == "int" and not self.varies(x):
                low, high = Const(-(2**31), "int64"), Const(2**31 - 1, "int64")
                found[n] = cast(Expr, Cast("int32", Apply("maximum", (Apply("minimum", (x, high)), low))))
        return None if None in found else cast("tuple[Expr, Expr]", tuple(found))

    def narrow(self, e: Expr) -> Expr | None:
        """An integer of 64 bits as one of 32 where its value is the same: it has twice the lanes."""
        if isinstance(e, Cast) and e.dtype == "int64" and e.operand.dtype == "int32":
            return e.operand
        if e.dtype == "int":
            low, high = constant_bounds(e, self.g.known)
            if low is not None and high is not None and -(2**31) < low and high < 2**31 - 1:
                return cast(Expr, Cast("int32", e))
        return None

    def resized(self, text: str, own: int, width: int) -> str:
        return text if own == width else f"__builtin_convertvector({text}, {self.of(f'int{8 * width}')})"

    def select(self, condition: Expr, a: str, b: str, dtype: str) -> str | None:
        """`a` where a condition holds, else `b`, by bits; None for what has to be a mask."""
        size = dtypes.itemsize(dtype)
        if size not in (4, 8) or size * self.lanes not in (16, 32, 64):
            return None
        bits = self.bits(condition, size, False)
        if bits is None:
            return None
        return f"{self.helpers.choose(dtype, self.lanes)}({bits}, {a}, {b})"

    def bits(self, e: Expr, size: int, negated: bool) -> str | None:
        """A condition, or its negation, that is made of comparisons of `size` bytes; None for others."""
        if not isinstance(e, Apply) or not self.varies(e):
            return None
        f = e.function
        if f == "invert" and e.dtype == "bool":
            return self.bits(e.operands[0], size, not negated)
        if f in OPPOSITE and e.dtype == "bool":
            left, right = (self.bits(x, size, negated) for x in e.operands)
            if left is None or right is None:
                return None
            return f"({left} {BITS[OPPOSITE[f] if negated else f]} {right})"
        if f not in PREDICATES:
            return None
        operands = e.operands
        if f in COMPARE:
            narrow = tuple(map(self.narrow, operands))
            if None not in narrow:
                operands = tuple(x for x in narrow if x is not None)
        kind = dtypes.strong(dtypes.promote(*(x.dtype for x in operands)))
        if kind in ("bool", "float16", "bfloat16") or dtypes.itemsize(kind) != size:
            return None
        if any(dtypes.strong(x.dtype) != kind for x in operands):
            return None
        if f == "isnan" and not dtypes.is_float(kind):
            return None
        return f"{self.helpers.comparison(f, kind, negated, self.lanes)}({', '.join(self.whole(x) for x in operands)})"

    # Memory -----------------------------------------------------------------------------------------------------------

    def elements(self, buffer: Buffer, indices: Sequence[Expr]) -> list[str]:
        """The elements that the lanes read or write where these lie at no fixed distance: rows of a length that is a
        size, places told by data.
        """
        g = self.g
        found = []
        for lane in range(self.lanes):
            here: dict[Expr, Expr] = {self.at.axis: self.at.base + lane}
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
        name, lanes, part = self.g.locals[buffer].vector(offset.constant, self.lanes)
        return (
            name
            if lanes == self.lanes
            else f"{self.helpers.part('part', buffer.dtype, lanes, part, self.lanes)}({name})"
        )

    def read(self, e: Access) -> str:
        buffer = cast(Buffer, e.tensor)
        g = self.g
        if buffer in self.at.own:
            return self.own(buffer)
        if buffer.scope == "square":
            return f"{g.names.of(buffer, buffer.name)}[{constant(e.indices[0])}]"
        key = e, self.at.axis, self.at.base, self.lanes
        if key in self.reads and buffer not in g.locals:
            return self.reads[key]
        kind = self.of(buffer.dtype)
        place = self.at.place(g.positions, buffer, e.indices)
        if place is None:
            return f"({kind}){{{', '.join(self.elements(buffer, e.indices))}}}"
        stride, offset = place
        if buffer in g.locals:
            return self.variable(buffer, stride, offset)
        if stride == 1:
            text = f"*(const {self.in_memory(buffer, offset)} *)&{self.g.at(buffer, offset)}"
            if offset.linear:  # what divides is printed by what is known here
                self.reads[key] = text
            return text
        if 2 <= abs(stride) <= STRIDED or stride == -1:
            return self.strided(buffer, stride, offset)
        items = ", ".join(self.g.at(buffer, offset + lane * stride) for lane in range(self.lanes))
        return f"({kind}){{{items}}}"

    def strided(self, buffer: Buffer, stride: int, offset: Affine) -> str:
        """Every second, third … element, picked out of whole vectors that together reach from the first to the last and
        no further.
        """
        lanes, step = self.lanes, abs(stride)
        first = offset if stride > 0 else offset + (lanes - 1) * stride
        starts = [min(n * lanes, (lanes - 1) * step + 1 - lanes) for n in range(step)]
        kind = self.of(buffer.dtype)
        texts = [f"*(const {kind}_u *)&{self.g.at(buffer, first + s)}" for s in starts]
        wanted = [(lane if stride > 0 else lanes - 1 - lane) * step for lane in range(lanes)]
        holder = [next(n for n in reversed(range(step)) if starts[n] <= w) for w in wanted]
        if step == 1:
            return f"{self.helpers.shuffle(buffer.dtype, tuple(w for w in wanted))}({texts[0]}, {texts[0]})"
        text = texts[0]
        for n in range(1, step):  # lanes that are settled already stay where they are
            picks = tuple(
                lanes + wanted[m] - starts[n] if holder[m] == n else (wanted[m] if n == 1 and holder[m] == 0 else m)
                for m in range(lanes)
            )
            text = f"{self.helpers.shuffle(buffer.dtype, picks)}({text}, {texts[n]})"
        return text


def between(source: str, target: str) -> tuple[str, ...]:
    """The types through which a vector conversion goes. In one step over several widths gcc converts element by
    element.
    """
    have, want = dtypes.itemsize(source), dtypes.itemsize(target)
    sign = "uint" if source in dtypes.UNSIGNED else "int"
    if dtypes.is_integer(source) and dtypes.is_float(target) and have < 4:
        return (*(f"{sign}16" for _ in range(have == 1)), "int32")
    if dtypes.is_integer(source) and dtypes.is_integer(target) and want >= 4 * have:
        return tuple(f"{sign}{8 * n}" for n in (2, 4) if have < n < want)
    if dtypes.is_float(source) and dtypes.is_integer(target) and want < 4:
        return ("int32", *("int16" for _ in range(want == 1)))
    return ()
