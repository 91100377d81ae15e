"""From loops to C: a readable function with the user's names, and the entry through which the runtime calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from tedsl.backends.codegen.expressions import ATOM, CTYPES, Scalars
from tedsl.backends.codegen.module import Argument, CModule, Fault, Size, SizeCheck, SizeVar
from tedsl.backends.codegen.names import Names, comment, legal
from tedsl.backends.codegen.register_variables import Locals
from tedsl.hardware import instruction_set
from tedsl.lang import dtypes
from tedsl.lang.errors import InternalError, ScheduleError
from tedsl.lang.expr import Access, Axis, Const, Expr, Var, walk
from tedsl.lang.integers import Affine, Known, simplify
from tedsl.lang.tensor import Dim
from tedsl.schedule.loops.ir import (
    FENCED,
    STREAM,
    Allocate,
    Assert,
    Block,
    Buffer,
    Call,
    Carried,
    Fence,
    For,
    If,
    Squares,
    Stmt,
    Store,
    Strips,
    Turned,
    Vector,
    expressions,
    inside,
    preorder,
    strides_of,
)
from tedsl.schedule.loops.positions import Positions
from tedsl.schedule.loops.program import Nest
from tedsl.schedule.passes.vector_forms import LINE

from . import stream, turn, workspace
from .math import functions as vector_math
from .vector import Vectors

STACK_BYTES = 32 * 1024  # a temporary of constant size up to this lives on the stack
RESTRICT = "restrict"


def generate(nest: Nest, name: str, isa: str | None = None) -> CModule:
    """The C module of a lowered program. `isa` limits the vector width and instructions (None: this machine's)."""
    bound = next((s for s in preorder(nest.stmt) if isinstance(s, For) and "." in s.kind), None)
    if bound is not None:
        raise ScheduleError(
            f"the loop {bound.axis!r} is bound to {bound.kind}, an axis of a GPU: build the schedule with "
            'target="cuda", or take the bind back',
        )
    return _Generator(nest, name, isa).module()


class _Generator:
    def __init__(self, nest: Nest, name: str, isa: str | None) -> None:
        self.nest, self.isa = nest, isa
        self.names = Names()
        self.entry = legal(name)
        self.names.taken.add("te_failed")
        self.sizes = tuple(sorted(set(nest.sizes), key=lambda v: v.name))
        self.scalars = Scalars(self.load, self.leaf)
        self.vectors = Vectors(self)
        self.lines: list[str] = []
        self.depth = 1
        self.declared: list[set[Buffer]] = [set()]  # temporaries declared in each open C block
        self.known = Known()
        self.parallel = 0
        self.openmp = any(isinstance(s, For) and s.kind == "parallel" for s in preorder(nest.stmt))
        self.locals: dict[Buffer, Locals] = {}  # register buffers kept in named variables
        self.squares: set[Buffer] = set()  # arrays of vectors
        self.positions = Positions()
        self.heap: list[list[str]] = [[]]  # how memory in use is given back: of the function, and of each open loop
        self.slots = 0  # places that keep memory from call to call
        self.typedefs: set[tuple[str, int]] = set()
        self.vector_helpers: dict[str, str] = {}
        self.places: dict[tuple[Buffer, tuple[Expr, ...]], str] = {}  # texts of elements

    # The module -------------------------------------------------------------------------------------------------------

    def module(self) -> CModule:
        nest = self.nest
        for buffer in (*nest.inputs, *nest.outputs):
            self.names.of(buffer, buffer.name)
        for size in self.sizes:
            self.names.of(size, size.name)
        self.statement(nest.vectorized(instruction_set(self.isa), self.positions).stmt)
        source = self.source(self.lines)
        size_index = {v.name: n for n, v in enumerate(self.sizes)}
        args = tuple(
            Argument(b.name, b.dtype, tuple(size_of(d, size_index) for d in b.shape), "input" if b.role == "input" else "output",
                     None if b.strides is None else tuple(size_of(d, size_index) for d in b.strides), nest.inplace.get(b, ()))
            for b in (*nest.inputs, *nest.outputs))  # fmt: skip
        return CModule(
            name=self.entry, source=source, args=args, sizes=tuple(SizeVar(v.name, v.minimum, v.multiple_of) for v in self.sizes),
            checks=tuple(SizeCheck(size_of(c.condition, size_index), c.message, c.error) for c in nest.checks),  # type: ignore[arg-type]
            faults=tuple(Fault(f.message, f.error) for f in nest.faults),  # type: ignore[arg-type]
            openmp=self.openmp, late_faults=nest.late_faults, several=nest.several, isa=self.isa)  # fmt: skip

    def source(self, body: list[str]) -> str:
        nest = self.nest
        head = [f"/* {comment(line)} */" for line in nest.title.splitlines()]
        parameters = []
        for b in (*nest.inputs, *nest.outputs):
            const = "const " if b.role == "input" else ""
            keyword = "" if b in nest.aliasable else f"{RESTRICT} "
            parameters.append(f"{const}{CTYPES[b.dtype]} *{keyword}{self.names.of(b, b.name)}")
        parameters += [f"int64_t {self.names.of(v, v.name)}" for v in self.sizes]
        parameters += ["int64_t *fault", "int32_t threads"]
        failed = "te_failed" in "\n".join(body)
        unused = (
            ["(void)fault;"]
            if not any("fault[" in line or "fault)" in line or "(fault" in line for line in body)
            else []
        )
        unused += ["(void)threads;"] if not self.openmp else []
        used = set(walk(*[e for s in preorder(nest.stmt) for e in expressions(s)]))
        buffers = {n.tensor for n in used if isinstance(n, Access)} | {
            s.buffer for s in preorder(nest.stmt) if isinstance(s, Store)
        }
        text = "\n".join(body)
        for key in (*nest.inputs, *nest.outputs, *self.sizes):
            own = self.names.given[key]
            if key not in buffers and key not in used and own not in text:
                unused.append(f"(void){own};")
        math = vector_math.source(sorted(self.scalars.functions)) if self.scalars.functions else ""
        headers = dict.fromkeys(s.header for s in preorder(nest.stmt) if isinstance(s, Call) and s.header)
        types = [vector_math.typedef(d, n) for d, n in sorted(self.typedefs)]
        indent = ",\n" + " " * (len(self.entry) + 9)
        casts = [f"buffers[{n}]" for n in range(len(nest.inputs) + len(nest.outputs))] + [
            f"sizes[{n}]" for n in range(len(self.sizes))
        ]
        call_unused = ([] if nest.inputs or nest.outputs else ["(void)buffers;"]) + (
            [] if self.sizes else ["(void)sizes;"]
        )
        return "\n".join([
            *head, "#include <math.h>", "#include <stdint.h>", "#include <stdlib.h>", "#include <string.h>", "",
            *([math] if math else []), *types, *self.scalars.helpers.values(), *self.vector_helpers.values(), *headers,
            *([workspace.source(self.slots)] if self.slots else [""]),
            f"int64_t {self.entry}({indent.join(parameters)})", "{",
            *([f"    {' '.join(unused)}"] if unused else []), *(["    int64_t te_failed = 0;"] if failed else []),
            *body, f"    return {'te_failed' if failed else '0'};", "}", "",
            (f"int64_t {self.entry}_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t "
            "threads)"), "{",
            *([f"    {' '.join(call_unused)}"] if call_unused else []),
            f"    return {self.entry}({', '.join([*casts, 'fault', 'threads'])});", "}", ""])  # fmt: skip

    # Leaves -----------------------------------------------------------------------------------------------------------

    def leaf(self, e: Expr) -> str:
        if isinstance(e, Var):
            return self.names.of(e, e.name)
        assert isinstance(e, Axis)
        return self.names.of(e, e.name)

    def load(self, access: Access) -> str:
        return self.element(access.tensor, access.indices)  # type: ignore[arg-type]

    def element(self, buffer: Buffer, indices: Sequence[Expr]) -> str:
        if buffer in self.locals:
            return str(self.locals[buffer].scalar(self.positions.of(buffer, indices)))
        if not buffer.shape and buffer.role == "temporary":
            return self.names.of(buffer, buffer.name)
        key = buffer, tuple(indices)
        found = self.places.get(key)
        if found is None:
            offset = self.positions.of(buffer, indices)
            found = self.at(buffer, offset)
            if offset.linear:  # what divides is printed by what is known here
                self.places[key] = found
        return found

    def at(self, buffer: Buffer, offset: Affine) -> str:
        self.scalars.known = self.known
        return f"{self.names.of(buffer, buffer.name)}[{self.scalars.sum(offset)}]"

    # Statements -------------------------------------------------------------------------------------------------------

    def put(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def open(self, text: str = "") -> None:
        """Begin a C block."""
        self.put(f"{text} {{" if text else "{")
        self.depth += 1
        self.declared.append(set())

    def close(self) -> None:
        self.declared.pop()
        self.depth -= 1
        self.put("}")

    def scalar(self, e: Expr) -> str:
        self.scalars.known = self.known
        return self.scalars.text(e)

    def statement(self, stmt: Stmt) -> None:
        if isinstance(stmt, Block):
            for s in stmt.stmts:
                self.statement(s)
        elif isinstance(stmt, For):
            self.plain_loop(stmt)
        elif isinstance(stmt, Store):
            self.store(stmt)
        elif isinstance(stmt, Allocate):
            self.allocate(stmt)
        elif isinstance(stmt, If):
            self.condition(stmt)
        elif isinstance(stmt, Assert):
            self.check(stmt)
        elif isinstance(stmt, Call):
            self.call(stmt)
        elif isinstance(stmt, Vector):
            self.vectors.print(stmt)
        elif isinstance(stmt, Strips):
            self.strips(stmt)
        elif isinstance(stmt, Carried):
            stream.carried(stmt, self)
        elif isinstance(stmt, Squares):
            turn.squares(stmt, self)
        elif isinstance(stmt, Turned):
            turn.turned(stmt, self)
        elif isinstance(stmt, Fence):
            self.put(stream.fence(self))
        else:
            raise InternalError(f"no C for {stmt!r}")

    def store(self, stmt: Store) -> None:
        target = self.element(stmt.buffer, stmt.indices)
        self.put(f"{target} = {self.scalar(stmt.value)};")

    def condition(self, stmt: If) -> None:
        known = self.known
        self.open(f"if ({self.scalar(stmt.condition)})")
        self.known = known.with_(conditions=(stmt.condition,))
        self.statement(stmt.then)
        self.known = known
        self.close()
        if stmt.otherwise is not None:
            self.open("else")
            self.statement(stmt.otherwise)
            self.close()

    def check(self, stmt: Assert) -> None:
        details = " ".join(f"fault[{n}] = {self.scalar(e)};" for n, e in enumerate(stmt.details))
        if self.parallel:  # no way out of a parallel loop: this iteration ends, and the first that failed is told
            self.open(f"if (!({self.scalar(stmt.condition)}))")
            self.put("#pragma omp critical(te_fault)")
            self.put(f"if (!te_failed) {{ te_failed = {stmt.fault + 1}; {details} }}")
            self.put("".join(f"{back} " for back in self.heap[-1]) + "continue;")
            self.close()
            return
        free = "".join(f" {back}" for scope in self.heap for back in scope)
        self.put(f"if (!({self.scalar(stmt.condition)})) {{ {details}{free} return {stmt.fault + 1}; }}")

    def call(self, stmt: Call) -> None:
        operands = []
        for e in stmt.operands:
            operands.append(f"&{self.load(e)}" if isinstance(e, Access) else self.scalars.wrap(e, ATOM))
        text = stmt.text.format(*operands)
        self.put(text if text.rstrip().endswith((";", "}")) else f"{text};")

    def strips(self, stmt: Strips) -> None:
        """A loop in strips of lanes: its variable is moved on by one strip after the other."""
        loop, known = stmt.loop, self.known
        name = self.names.given[stmt.axis] = self.leaf(loop.axis)
        end = self.scalar(simplify(loop.lo + loop.extent, known))
        self.open()
        self.put(f"int64_t {name} = {self.scalar(loop.lo)};{self.note(loop)}")
        self.known = known.with_(ranges={stmt.axis: (loop.lo, loop.extent)})
        for strip in stmt.strips:
            left = f"{name} < {end}" if strip.lanes == 1 else f"{name} + {strip.lanes} <= {end}"
            step = f"{name}++" if strip.lanes == 1 else f"{name} += {strip.lanes}"
            if strip.sort == "line":
                first = cast(Store, strip.body)
                at = self.element(first.buffer, first.indices)
                left = f"{left} && ((uintptr_t)&{at} & {LINE - 1})"
            self.open(f"if ({left})" if strip.sort == "if" else f"for (; {left}; {step})")
            self.statement(strip.body)
            if strip.sort == "if":
                self.put(f"{step};")
            self.close()
        self.close()
        self.known = known

    def plain_loop(self, stmt: For) -> None:
        name = self.leaf(stmt.axis)
        for pragma in stmt.pragmas:
            if pragma not in (STREAM, FENCED):
                self.put(f"#pragma {pragma}")
        parallel = stmt.kind == "parallel" and not self.parallel
        fenced = FENCED in stmt.pragmas
        if fenced:
            self.put("#pragma omp parallel num_threads(threads)")
            self.open()
            self.put("#pragma omp for schedule(static) nowait")
        elif parallel:
            self.put("#pragma omp parallel for num_threads(threads) schedule(static)")
        elif not stmt.pragmas and self.independent(stmt):
            self.put("#pragma GCC ivdep")
        lo = self.scalar(stmt.lo)
        end = self.scalar(
            simplify(stmt.lo + stmt.extent * stmt.step if stmt.step != 1 else stmt.lo + stmt.extent, self.known)
        )
        step = f"{name}++" if stmt.step == 1 else f"{name} += {stmt.step}"
        known = self.known
        self.open(f"for (int64_t {name} = {lo}; {name} < {end}; {step})")
        self.lines[-1] += self.note(stmt)
        self.known = inside(known, stmt)
        self.parallel += parallel
        self.heap.append([])
        self.statement(stmt.body)
        self.heap.pop()
        self.parallel -= parallel
        self.known = known
        self.close()
        if fenced:
            self.put(stream.fence(self))
            self.close()

    def note(self, stmt: For) -> str:
        """The comment that says where a loop comes from."""
        by = f": {stmt.step_from}" if stmt.step_from else ""
        return f"  /* {comment(stmt.origin + by)} */" if stmt.origin else ""

    def independent(self, stmt: For) -> bool:
        """Whether an innermost loop that writes memory without `restrict` may be told to have no dependences: its
        writes are its own elements.
        """
        inner = list(preorder(stmt.body))
        return all(isinstance(s, (Store, Block)) for s in inner) and any(
            isinstance(s, Store) and s.buffer in self.nest.aliasable for s in inner
        )

    # Temporaries ------------------------------------------------------------------------------------------------------

    def allocate(self, stmt: Allocate) -> None:
        buffer = stmt.buffer
        if buffer in self.declared[-1]:  # an unrolled loop declares it once for each iteration
            self.open()
            self.allocate(stmt)
            self.close()
            return
        self.declared[-1].add(buffer)
        self.locals.pop(buffer, None)  # a piece of a cut loop may keep it otherwise than the piece before
        name = self.names.of(buffer, buffer.name)
        ctype = CTYPES[buffer.dtype]
        if not buffer.shape:
            self.put(f"{ctype} {name};")
        elif stmt.variables is not None:
            self.locals[buffer] = kept = self.variables(buffer, stmt.variables)
            for line in kept.declarations():
                self.put(line)
        else:
            count = self.elements(buffer)
            if isinstance(count, int) and count * dtypes.itemsize(buffer.dtype) <= STACK_BYTES:
                self.put(f"{ctype} {name}[{max(count, 1)}] __attribute__((aligned(64)));")
            else:
                bytes_ = (
                    self.scalar(simplify(count * dtypes.itemsize(buffer.dtype)))
                    if isinstance(count, Expr)
                    else str(count * dtypes.itemsize(buffer.dtype))
                )
                if self.parallel:
                    take, back = f"aligned_alloc(64, ((size_t)({bytes_}) + 64) & ~(size_t)63)", f"free({name});"
                else:
                    take, back = f"te_take({self.slots}, {bytes_})", f"te_give({self.slots}, {name});"
                    self.slots += 1
                self.put(f"{ctype} *{RESTRICT} {name} = {take};")
                self.give_up(name)
                self.heap[-1].append(back)
                self.statement(stmt.body)
                self.heap[-1].pop()
                self.put(back)
                return
        self.statement(stmt.body)
        self.locals.pop(buffer, None)  # another piece of the nest may have it with other lanes

    def variables(self, buffer: Buffer, places: tuple[tuple[int, int], ...]) -> Locals:
        base = self.names.of(buffer, buffer.name)
        names = {place: self.names.of((buffer, place), f"{base}_{place[0]}") for place in places}
        types = {n: CTYPES[buffer.dtype] if n == 1 else self.vectors.type(buffer.dtype, n) for _, n in places}
        return Locals(names, types, {e: (start, n) for start, n in places for e in range(start, start + n)})

    def give_up(self, name: str) -> None:
        """Leave when there is no memory: at once, or, in a parallel loop, by skipping the iteration of the innermost
        loop.
        """
        if self.parallel:
            free = "".join(f" {back}" for back in self.heap[-1])
            self.put(f"if (!{name}) {{{free} te_failed = -1; continue; }}")
        else:
            free = "".join(f" {back}" for scope in self.heap for back in scope)
            self.put(f"if (!{name}) {{{free} return -1; }}")

    def elements(self, buffer: Buffer) -> Dim:
        """How many elements a temporary has room for."""
        if buffer.strides is None and buffer.align is None:
            total: Any = 1
            for d in buffer.shape:
                total = total * d
        else:
            total = 1
            for d, s in zip(buffer.shape, strides_of(buffer), strict=True):
                total = total + (d - 1) * s
        if isinstance(total, Expr):
            total = simplify(total)
            return int(total.value) if isinstance(total, Const) else total
        return int(total)


def size_of(value: Any, index: dict[str, int]) -> Size:
    """A size expression as the runtime evaluates it."""
    if isinstance(value, int):
        return value
    if isinstance(value, Const):
        return int(value.value)
    if isinstance(value, Var):
        return ("size", index[value.name])
    from tedsl.lang.expr import Apply

    symbols = {
        "add": "+",
        "subtract": "-",
        "multiply": "*",
        "floor_divide": "//",
        "remainder": "%",
        "minimum": "min",
        "maximum": "max",
    }
    if isinstance(value, Apply) and value.function in symbols:
        a, b = (size_of(x, index) for x in value.operands)
        return (symbols[value.function], a, b)
    if isinstance(value, Apply) and value.function == "negative":
        return ("-", 0, size_of(value.operands[0], index))
    raise InternalError(f"the extent `{value!r}` is no expression in sizes")
