"""Vectorised loops in C, in GCC's and Clang's vector extensions.

A vectorised loop of constant extent is cut into vectors of the machine's width and, for the rest, narrower ones; each is printed as its body with
the loop's axis standing for all lanes. What depends on the axis becomes a vector, everything else stays scalar and is broadcast by the operation
that needs it. A bool vector is a mask: integers of some width, all bits set or none. A loop whose body does not fit runs as an ordinary loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

from tedsl.lang import dtypes
from tedsl.lang.expr import Access, Apply, Axis, Cast, Const, Expr, Var, free_axes, reads_tensors, substitute, walk
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.integers import Affine, Known, constant_bounds, prove, simplify
from tedsl.schedule.ir import Allocate, Block, Buffer, For, If, Stmt, Store, constant, loads, preorder, substitute_axis

from . import vector_math
from .scalar import CTYPES, VECTOR_NAMES, Scalars, short

if TYPE_CHECKING:
    from .codegen import _Generator

_COMPARE = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
_ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_BITS = {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}


NARROW_LIMIT = 48  # statements up to which a loop of unknown extent is also printed for narrower vectors


def mentions(e: Expr, axis: Axis) -> bool:
    """Whether an expression of the IR depends on a loop's axis."""
    for a in free_axes(e):
        if a is axis:
            return True
    return False


STRIDED = 4  # the largest distance between lanes for which whole vectors are read and shuffled


class _Unfit(Exception):
    """The body of a loop has something for which there is no vector form."""


class Vectors:
    """Prints the bodies of vectorised loops as operations on whole vectors."""

    def __init__(self, generator: _Generator) -> None:
        self.g = generator
        self.axis: Axis | None = None
        self.base: Expr = Const(0)
        self.lanes = 1
        self.locals: set[Buffer] = set()  # scalars inside of the loop: one for each lane
        self.depends: dict[Expr, bool] = {}
        self.shuffles: dict[tuple[str, str], str] = {}
        self.cuts: dict[For, list[tuple[int, int]]] = {}
        self.reads: dict[tuple[Expr, Axis, Expr, int], str] = {}  # elements at the same place have the same text
        self.replaced: dict[Access, str] = {}  # reads that are in a variable already

    # Which loops, which vectors ----------------------------------------------------------------------------------------------------------

    def type(self, dtype: str, lanes: int) -> str:
        self.g.typedefs.add((dtype, lanes))
        return vector_math.vector_type(dtype, lanes)

    def width_of(self, loop: For) -> int:
        """Lanes of the machine's vectors, for the widest type that a loop stores or computes in."""
        stores = [s for s in preorder(loop.body) if isinstance(s, Store)]
        kinds = {s.buffer.dtype for s in stores}
        if not any(
            b in self.g.locals
            for s in stores
            for b in (s.buffer, *(n.tensor for n in walk(s.value) if isinstance(n, Access)))
        ):
            # registers are cut by their own type in every loop that has them
            kinds |= {n.dtype for s in stores for n in computed(s.value, loop.axis)}
        return max(self.g.vector_bytes // max((dtypes.itemsize(k) for k in kinds), default=4), 1)

    def chunks(self, loop: For) -> list[tuple[int, int]]:
        """First value and lanes of each vector that a loop is cut into."""
        if loop not in self.cuts:
            self.cuts[loop] = self.cut(loop)
        return self.cuts[loop]

    def cut(self, loop: For) -> list[tuple[int, int]]:
        extent, start = constant(loop.extent), constant(loop.lo)
        assert extent is not None and start is not None
        lanes = self.width_of(loop)
        found = []
        end = start + extent
        while start < end:
            while lanes > end - start:
                lanes //= 2
            found.append((start, lanes))
            start += lanes
        return found

    @staticmethod
    def has(dtype: str) -> bool:
        """Whether there are vectors of a type: 16-bit floats are computed with one by one."""
        return dtype not in ("float16", "bfloat16")

    def regular(self, loop: For) -> bool:
        """Whether a loop can be cut into vectors, as far as its bounds go."""
        return constant(loop.extent) is not None and constant(loop.lo) is not None and loop.step == 1

    def loop(self, loop: For) -> bool:
        """Print `loop` with vectors if that can be done; otherwise print nothing."""
        if loop.step != 1 or self.axis is not None:
            return False
        g = self.g
        place, declared, depth = len(g.lines), [set(d) for d in g.declared], g.depth
        try:
            if self.regular(loop):
                for start, lanes in self.chunks(loop):
                    self.body(loop, Const(start), lanes)
            else:
                self.counted(loop)
        except _Unfit:
            del g.lines[place:]
            g.declared, g.depth = declared, depth
            return False
        return True

    def counted(self, loop: For) -> None:
        """A loop whose extent is known at the call: as many whole vectors as fit, then narrower ones, then single elements."""
        g = self.g
        name = g.leaf(loop.axis)
        first = Axis(f"{loop.axis.name}\0first")  # the first lane's value, which has the loop's name in C
        g.names.given[first] = name
        known = g.known
        g.known = known.with_(ranges={first: (loop.lo, loop.extent)})
        end = g.scalar(simplify(loop.lo + loop.extent, known))
        g.open()
        g.put(f"int64_t {name} = {g.scalar(loop.lo)};{g.note(loop)}")
        widest = lanes = self.width_of(loop)
        most = constant_bounds(loop.extent, known)[1]
        while most is not None and lanes > max(most, 1):
            lanes //= 2
        first_width = lanes
        small = sum(1 for _ in preorder(loop.body)) <= NARROW_LIMIT
        while lanes > 1 and (lanes == first_width or (small and lanes >= widest // 4)):
            often = lanes == first_width and (most is None or most >= 2 * lanes)
            g.open(
                f"for (; {name} + {lanes} <= {end}; {name} += {lanes})" if often else f"if ({name} + {lanes} <= {end})"
            )
            self.body(loop, first, lanes)
            if not often:
                g.put(f"{name} += {lanes};")
            g.close()
            lanes //= 2
        g.open(f"for (; {name} < {end}; {name}++)")
        self.body(loop, first, 1)
        g.close()
        g.close()
        g.known = known

    def body(self, loop: For, start: Expr, lanes: int) -> None:
        """The body for the lanes from `start` on."""
        if lanes == 1:
            self.g.statement(substitute_axis(loop.body, loop.axis, start))
            return
        known = self.g.known
        self.axis, self.base, self.lanes, self.depends = loop.axis, start, lanes, {}
        self.g.known = known.with_(ranges={loop.axis: (start, lanes)})
        try:
            self.statement(loop.body)
        finally:
            self.axis, self.g.known, self.locals = None, known, set()

    def single(self, store: Store, axis: Axis, start: int, lanes: int, known: Known) -> bool:
        """Print one store as one vector of the lanes from `start` on, if that can be done."""
        self.axis, self.base, self.lanes, self.depends = axis, Const(start), lanes, {}
        self.g.known = known.with_(ranges={axis: (start, lanes)})
        try:
            self.store(store)
        except _Unfit:
            return False
        finally:
            self.axis, self.g.known = None, known
        return True

    def place(self, buffer: Buffer, indices: Sequence[Expr], lane: For | None) -> list[tuple[int, int]] | None:
        """The constant places (first element, lanes) of an access to a register buffer, one for each vector of the loop `lane`."""
        form = self.g.offset(buffer, indices)
        if lane is None or lane.axis not in form.terms:
            return None if form.terms else [(form.constant, 1)]
        if len(form.terms) != 1 or form.terms[lane.axis] != 1:
            return None
        return [(form.constant + start, lanes) for start, lanes in self.chunks(lane)]

    # Statements --------------------------------------------------------------------------------------------------------------------------

    def varies(self, e: Expr) -> bool:
        """Whether a value differs between lanes."""
        if not self.locals or not reads_tensors(e):
            assert self.axis is not None
            return mentions(e, self.axis)
        if e not in self.depends:
            for node in walk(e):
                if node not in self.depends:
                    own = node is self.axis or (isinstance(node, Access) and cast(Buffer, node.tensor) in self.locals)
                    self.depends[node] = own or any(self.depends[c] for c in node.children)
        return self.depends[e]

    def statement(self, stmt: Stmt) -> None:
        if isinstance(stmt, Block):
            for s in stmt.stmts:
                self.statement(s)
        elif isinstance(stmt, Store):
            self.store(stmt)
        elif (
            isinstance(stmt, For)
            and stmt.kind in ("serial", "unrolled")
            and not self.varies(stmt.lo)
            and not self.varies(stmt.extent)
        ):
            self.serial(stmt)
        elif isinstance(stmt, Allocate) and not stmt.buffer.shape:
            if stmt.buffer in self.g.declared[-1]:
                self.g.open()
                self.statement(stmt)
                self.g.close()
                return
            self.g.declared[-1].add(stmt.buffer)
            self.locals.add(stmt.buffer)
            self.depends = {}
            self.g.put(f"{self.of(stmt.buffer.dtype)} {self.g.names.of((stmt.buffer, self.lanes), stmt.buffer.name)};")
            self.statement(stmt.body)
        elif isinstance(stmt, If) and stmt.otherwise is None and not self.varies(stmt.condition):
            self.g.open(f"if ({self.g.scalar(self.fixed(stmt.condition))})")
            self.statement(stmt.then)
            self.g.close()
        else:
            raise _Unfit

    def serial(self, stmt: For) -> None:
        g = self.g
        name = g.leaf(stmt.axis)
        lo, end = g.scalar(stmt.lo), g.scalar(simplify(stmt.lo + stmt.extent * stmt.step, g.known))
        for pragma in stmt.pragmas:
            g.put(f"#pragma {pragma}")
        g.open(f"for (int64_t {name} = {lo}; {name} < {end}; {name} += {stmt.step})")
        known = g.known
        g.known = known.with_(ranges={stmt.axis: (stmt.lo, (stmt.extent - 1) * stmt.step + 1)})
        self.statement(stmt.body)
        g.known = known
        g.close()

    def store(self, stmt: Store) -> None:
        g, buffer = self.g, stmt.buffer
        value = self.vector(stmt.value)
        if buffer.dtype == "bool":  # from a mask to what memory holds
            value = f"(({self.of('bool')})({value}) & 1)"
        if buffer in self.locals:
            g.put(f"{g.names.of((buffer, self.lanes), buffer.name)} = {value};")
            return
        try:
            stride, offset = self.address(buffer, stmt.indices)
        except _Unfit:
            self.scatter(stmt, value, self.elements(buffer, stmt.indices))
            return
        if buffer in g.locals:
            self.assign(buffer, stride, offset, value)
        elif stride == 1:
            g.put(f"*({self.in_memory(buffer, offset)} *)&{self.at(buffer, offset)} = {value};")
        elif stride == 0:
            raise _Unfit
        else:
            self.scatter(stmt, value, [self.at(buffer, offset + lane * stride) for lane in range(self.lanes)])

    def scatter(self, stmt: Store, value: str, places: Sequence[str]) -> None:
        """Store the lanes of a value one by one."""
        g = self.g
        temporary = g.names.of((stmt, "lanes"), "lanes")
        g.put(f"{{ {self.of(stmt.buffer.dtype)} {temporary} = {value};")
        for lane, place in enumerate(places):
            g.put(f"  {place} = {temporary}[{lane}];")
        g.put("}")

    # Addresses ---------------------------------------------------------------------------------------------------------------------------

    def fixed(self, e: Expr) -> Expr:
        """An expression at the first lane."""
        assert self.axis is not None
        return substitute(e, {self.axis: self.base}) if mentions(e, self.axis) else e

    def address(self, buffer: Buffer, indices: Sequence[Expr]) -> tuple[int, Affine]:
        """Distance between lanes, and position of the first."""
        for i in indices:
            if reads_tensors(i) and self.varies(i):
                raise _Unfit
        form = self.g.offset(buffer, indices)
        assert self.axis is not None
        stride = form.terms.get(self.axis, 0)
        if stride:
            form = form.without(self.axis).plus(Affine.of(self.base), stride)
        if not form.linear and any(mentions(atom, self.axis) for atom in form.terms):
            raise _Unfit
        return stride, form

    def elements(self, buffer: Buffer, indices: Sequence[Expr]) -> list[str]:
        """The elements that the lanes read or write where these lie at no fixed distance: rows of a length that is a size, places told by data."""
        g = self.g
        if buffer in g.locals or any(cast(Buffer, a.tensor) in self.locals for i in indices for a in loads(i)):
            raise _Unfit
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
        """The type of a vector in memory: aligned where that is proved (temporaries begin at multiples of 64 bytes), else not."""
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
            raise _Unfit
        name, lanes, part = self.g.locals[buffer].vector(offset.constant, self.lanes)
        return name if lanes == self.lanes else f"{self.part_helper('part', buffer.dtype, lanes, part)}({name})"

    def assign(self, buffer: Buffer, stride: int, offset: Affine, value: str) -> None:
        """Store lanes in the local variable in which they are kept."""
        if stride != 1 or offset.terms:
            raise _Unfit
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

    def of(self, dtype: str) -> str:
        """The C type of all lanes of a value."""
        if not self.has(dtype):
            raise _Unfit
        return self.type(dtypes.strong(dtype), self.lanes)

    # Values ------------------------------------------------------------------------------------------------------------------------------

    def vector(self, e: Expr) -> str:
        """`e` as a vector of its type (bool: of bytes)."""
        if e.dtype == "bool":
            return self.mask(e, 1)
        if isinstance(e, Const) and e.value == 0 and str(e.value) != "-0.0":
            return f"({self.of(e.dtype)}){{0}}"
        text = self.value(e)
        return text if self.varies(e) else self.splat(text, e.dtype)

    def splat(self, text: str, dtype: str) -> str:
        zero = f"({self.of(dtype)}){{0}}"
        return (
            f"(({text}) - {zero})" if dtypes.is_float(dtype) else f"(({CTYPES[dtypes.strong(dtype)]})({text}) + {zero})"
        )

    def value(self, e: Expr) -> str:
        """`e` in C: a vector where it varies, a scalar where not."""
        if not self.varies(e):
            return self.g.scalars.wrap(self.fixed(e), 12)
        if e is self.axis:
            steps = ", ".join(map(str, range(self.lanes)))
            return f"(({self.type('int64', self.lanes)}){{{steps}}} + {self.g.scalar(self.base)})"
        if isinstance(e, Access):
            return self.read(e)
        if isinstance(e, Cast):
            return self.cast(e)
        if isinstance(e, Apply):
            return self.apply(e)
        raise _Unfit

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
        except _Unfit:
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
        """Every second, third … element, picked out of whole vectors that together reach from the first to the last and no further."""
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
        text = (f"static inline {t} {name}({t} a, {t} b)\n{{\n#ifdef __clang__\n    return __builtin_shufflevector(a, b, {body});\n#else\n"
                f"    return __builtin_shuffle(a, b, ({i}){{{body}}});\n#endif\n}}")  # fmt: skip
        self.g.vector_helpers[name] = text
        self.shuffles[dtype, body] = name
        return name

    def cast(self, e: Cast) -> str:
        if e.dtype == "bool":
            raise _Unfit
        if e.operand.dtype == "int" and e.dtype in ("int32", "int64") and (steps := self.steps(e)) is not None:
            return steps
        if e.operand.dtype == "bool":
            size = dtypes.itemsize(e.dtype)
            ones = f"({self.mask(e.operand, size)} & 1)"
            return f"__builtin_convertvector({ones}, {self.of(e.dtype)})"
        if dtypes.is_integer(e.dtype) and dtypes.is_float(e.operand.dtype) and e.dtype in dtypes.UNSIGNED:
            raise _Unfit
        text = self.value(e.operand)
        kinds = [dtypes.strong(e.operand.dtype), *between(dtypes.strong(e.operand.dtype), e.dtype), e.dtype]
        if self.lanes == 16 and kinds[0] in ("int8", "uint8") and dtypes.itemsize(kinds[min(2, len(kinds) - 1)]) == 4:
            text = self.widened(text, *kinds[:3])
            kinds = kinds[2:]
        for kind in kinds[1:]:
            text = f"__builtin_convertvector({text}, {self.of(kind)})"
        return text

    def widened(self, text: str, source: str, half: str, whole: str) -> str:
        """Sixteen bytes as 32-bit numbers: one instruction of AVX-512, which gcc does not find by itself."""
        x, h, w = (self.of(k) for k in (source, half, whole))
        name = f"te_widen_{short(source)}x16_{short(whole)}"
        self.g.vector_helpers[name] = f"""\
static inline {w} {name}({x} x)
{{
#if defined(__AVX512F__) && !defined(__clang__)
    typedef char bytes __attribute__((vector_size(16)));
    typedef int words __attribute__((vector_size(64)));
    return ({w})__builtin_ia32_pmov{"z" if source in dtypes.UNSIGNED else "s"}xbd512_mask((bytes)x, (words){{0}}, (short)-1);
#else
    return __builtin_convertvector(__builtin_convertvector(x, {h}), {w});
#endif
}}"""
        return f"{name}({text})"

    def steps(self, e: Cast) -> str | None:
        """An index that moves by the same number from lane to lane, in lanes of its own type; None for others."""
        assert self.axis is not None
        form = Affine.of(e.operand)
        stride = form.terms.get(self.axis, 0)
        rest = form.without(self.axis).plus(Affine.of(self.base), stride)
        if any(self.varies(atom) for atom in rest.terms):
            return None
        kind, ctype = self.of(e.dtype), CTYPES[e.dtype]
        self.g.scalars.known = self.g.known
        return f"(({kind}){{{', '.join(str(stride * n) for n in range(self.lanes))}}} + ({ctype})({self.g.scalars.sum(rest)}))"

    def apply(self, e: Apply) -> str:
        f, dtype = e.function, dtypes.strong(e.dtype)
        if dtype == "bool":
            return self.mask(e, self.width(e))
        if f == "where":
            return self.where(e)
        if f in _ARITHMETIC and (dtypes.is_float(dtype) or f != "divide"):
            left, right = (self.operand(x) for x in e.operands)
            return f"({left} {_ARITHMETIC[f]} {right})"
        if f in _BITS:
            left, right = (self.operand(x) for x in e.operands)
            return f"({left} {_BITS[f]} {right})"
        if f == "negative":
            return f"-{self.operand(e.operands[0])}"
        if f == "invert":
            return f"~{self.operand(e.operands[0])}"
        if f == "sign" and dtypes.is_integer(dtype):  # a comparison that holds is -1
            x = self.value(e.operands[0])
            return (
                f"({self.of(dtype)})(({x} < 0) - ({x} > 0))"
                if dtype in dtypes.SIGNED
                else f"({self.of(dtype)})-({x} != 0)"
            )
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
            return self.helper(f"te_{'fmin' if f.endswith('minimum') else 'fmax'}", dtype, e)
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
        name = f"te_{'square' if v == 2 else 'cube'}_{short(e.dtype)}x{self.lanes}"
        t = self.of(e.dtype)
        self.g.vector_helpers[name] = (
            f"static inline {t} {name}({t} x) {{ return {'x * x' if v == 2 else 'x * x * x'}; }}"
        )
        return f"{name}({x})"

    def operand(self, e: Expr) -> str:
        """An operand of an infix operation: compilers broadcast a scalar of the element's type beside a vector."""
        text = self.value(e)
        if not self.varies(e) and e.dtype not in ("float32", "float64"):
            return f"({CTYPES[dtypes.strong(e.dtype)]})({text})"
        return text

    def whole(self, e: Expr) -> str:
        text = self.value(e)
        return text if self.varies(e) else self.splat(text, e.dtype)

    def where(self, e: Apply) -> str:
        c, a, b = e.operands
        if not self.varies(c):
            t = self.of(dtypes.strong(e.dtype))  # what is read from memory has types of its own
            return f"({self.g.scalar(self.fixed(c))} ? ({t}){self.whole(a)} : ({t}){self.whole(b)})"
        for branch in (a, b):
            for node in walk(branch):
                if isinstance(node, Access) and not self.in_bounds(node):
                    raise _Unfit
        dtype = dtypes.strong(e.dtype)
        size = dtypes.itemsize(dtype)
        t, i = self.of(dtype), self.of(f"int{8 * size}")
        name = f"te_pick_{short(dtype)}x{self.lanes}"
        self.g.vector_helpers[name] = (
            f"static inline {t} {name}({i} mask, {t} a, {t} b) {{ return ({t})(((({i})a ^ ({i})b) & mask) ^ ({i})b); }}"
        )
        return f"{name}({self.mask(c, size)}, {self.whole(a)}, {self.whole(b)})"

    def in_bounds(self, access: Access) -> bool:
        """Whether an access may be made whatever the condition around it."""
        buffer = cast(Buffer, access.tensor)
        known: Known = self.g.known
        for index, dim in zip(access.indices, buffer.shape, strict=True):
            low, high = constant_bounds(index, known)
            if (
                low is None
                or low < 0
                or (not (isinstance(dim, int) and high is not None and high < dim) and not prove(index < dim, known))
            ):
                return False
        return True

    def helper(self, stem: str, dtype: str, e: Apply) -> str:
        """The machine's own minimum and maximum."""
        t, name = self.of(dtype), f"{stem}_{short(dtype)}x{self.lanes}"
        relation = "<" if stem == "te_fmin" else ">"
        letter, size = ("s" if dtype == "float32" else "d"), dtypes.itemsize(dtype) * self.lanes
        op = "min" if stem == "te_fmin" else "max"
        i = self.of(f"int{dtypes.BITS[dtype]}")
        plain = f"{i} m = a {relation} b; return ({t})((({i})a & m) | (({i})b & ~m));"
        special = {16: ("__SSE2__", f"__builtin_ia32_{op}p{letter}(a, b)"), 32: ("__AVX__", f"__builtin_ia32_{op}p{letter}256(a, b)"),
                   64: ("__AVX512F__", f"__builtin_ia32_{op}p{letter}512_mask(a, b, a, -1, 4)")}.get(size)  # fmt: skip
        body = (
            plain
            if special is None
            else f"\n#if defined({special[0]}) && !defined(__clang__)\n    return {special[1]};\n#else\n    {plain}\n#endif\n"
        )
        self.g.vector_helpers[name] = f"static inline {t} {name}({t} a, {t} b) {{ {body} }}"
        return f"{name}({', '.join(self.whole(x) for x in e.operands)})"

    def lanewise(self, e: Apply) -> str:
        """A function without a vector form: the scalar one for each lane."""
        dtype = dtypes.strong(e.dtype)
        if FUNCTIONS[e.function].kind in ("compare", "test"):
            raise _Unfit
        kinds = [dtypes.strong(x.dtype) for x in e.operands]
        lanes = Scalars(self.g.load, lambda v: f"{cast(Var, v).name}[lane]")
        lanes.helpers, lanes.functions = self.g.scalars.helpers, self.g.scalars.functions
        text = lanes.text(Apply(e.function, tuple(Cast(k, Var(n)) for k, n in zip(kinds, "abc", strict=False))))
        t, name = self.of(dtype), f"te_{e.function}_{short(dtype)}x{self.lanes}"
        parameters = ", ".join(f"{self.of(k)} {n}" for k, n in zip(kinds, "abc", strict=False))
        body = f"{t} r; for (int lane = 0; lane < {self.lanes}; lane++) r[lane] = ({CTYPES[dtype]})({text}); return r;"
        self.g.vector_helpers[name] = f"static inline {t} {name}({parameters}) {{ {body} }}"
        return f"{name}({', '.join(self.whole(x) for x in e.operands)})"

    # Masks -------------------------------------------------------------------------------------------------------------------------------

    def width(self, e: Expr) -> int:
        """The width in which a condition comes by itself: that of what it compares."""
        for node in walk(e):
            if (
                isinstance(node, Apply)
                and (node.function in _COMPARE or FUNCTIONS[node.function].kind == "test")
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
            if e.function in _COMPARE:
                return self.compare(e, width)
            same = {
                "maximum": "bitwise_or",
                "add": "bitwise_or",
                "minimum": "bitwise_and",
                "multiply": "bitwise_and",
            }.get(e.function, e.function)
            if same in _BITS:
                return f"({self.mask(e.operands[0], width)} {_BITS[same]} {self.mask(e.operands[1], width)})"
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
        raise _Unfit

    def compare(self, e: Apply, width: int) -> str:
        a, b = self.narrowed(e) or e.operands
        kind = dtypes.strong(dtypes.promote(a.dtype, b.dtype))
        if kind == "bool":
            text = f"({self.mask(a, width)} ^ {self.mask(b, width)})"
            return text if e.function == "not_equal" else f"~{text}" if e.function == "equal" else self.unfit()
        left, right = self.operand(a), self.operand(b)
        return self.resized(f"({left} {_COMPARE[e.function]} {right})", dtypes.itemsize(kind), width)

    def narrowed(self, e: Apply) -> tuple[Expr, Expr] | None:
        """What a comparison compares, in 32 bits where that is the same. A number for all lanes beside an index may be cut off at the ends of 32 bits."""
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

    def unfit(self) -> str:
        raise _Unfit

    def resized(self, text: str, own: int, width: int) -> str:
        return text if own == width else f"__builtin_convertvector({text}, {self.of(f'int{8 * width}')})"


def between(source: str, target: str) -> tuple[str, ...]:
    """The types through which a vector conversion goes. In one step over several widths gcc converts element by element."""
    have, want = dtypes.itemsize(source), dtypes.itemsize(target)
    sign = "uint" if source in dtypes.UNSIGNED else "int"
    if dtypes.is_integer(source) and dtypes.is_float(target) and have < 4:
        return (*(f"{sign}16" for _ in range(have == 1)), "int32")
    if dtypes.is_integer(source) and dtypes.is_integer(target) and want >= 4 * have:
        return tuple(f"{sign}{8 * n}" for n in (2, 4) if have < n < want)
    if dtypes.is_float(source) and dtypes.is_integer(target) and want < 4:
        return ("int32", *("int16" for _ in range(want == 1)))
    return ()


def computed(value: Expr, axis: Axis) -> Iterator[Expr]:
    """The parts of a value that differ from lane to lane, but for weak numbers and indices."""
    stack = [value]
    while stack:
        e = stack.pop()
        if mentions(e, axis):
            widened = (
                isinstance(e, Cast) and e.dtype == "int64" and e.operand.dtype == "int32"
            )  # to be compared: that is done in 32 bits
            if e.dtype not in dtypes.WEAK and not widened:
                yield e
            if not isinstance(e, Access):
                stack += e.children
