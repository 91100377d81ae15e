"""From loops to C: a readable function with the user's names, and the entry through which the runtime calls it."""

from __future__ import annotations

from tedsl.backends.codegen.module import CModule, module_of
from tedsl.backends.codegen.names import comment, legal
from tedsl.backends.codegen.printer import Printer, elements
from tedsl.hardware import instruction_set
from tedsl.lang import dtypes
from tedsl.lang.errors import ScheduleError
from tedsl.lang.expr import Access, Expr, walk
from tedsl.lang.integers import simplify
from tedsl.schedule.loops.ir import (
    FENCED,
    STREAM,
    Allocate,
    Assert,
    Block,
    Call,
    For,
    Store,
    expressions,
    preorder,
)
from tedsl.schedule.loops.program import Nest

from . import workspace
from .dialect import C
from .math import functions as vector_math
from .vectors import Vectors

STACK_BYTES = 32 * 1024  # a temporary of constant size up to this lives on the stack
HEADERS = ("math", "stdint", "stdlib", "string")


def generate(nest: Nest, name: str, isa: str | None = None) -> CModule:
    """The C module of a lowered program. `isa` limits the vector width and instructions (None: this machine's)."""
    bound = next((s for s in preorder(nest.stmt) if isinstance(s, For) and "." in s.kind), None)
    if bound is not None:
        raise ScheduleError(
            f"the loop {bound.axis!r} is bound to {bound.kind}, an axis of a GPU: build the schedule with "
            'target="cuda", or take the bind back',
        )
    printer = CPrinter(nest, legal(name))
    for buffer in (*nest.inputs, *nest.outputs):
        printer.names.of(buffer, buffer.name)
    for size in printer.sizes:
        printer.leaf(size)
    printer.statement(nest.vectorized(instruction_set(isa), printer.positions).stmt)
    return module_of(nest, printer.entry, printer.source(), printer.openmp, isa)


class CPrinter(Printer):
    """C with OpenMP's threads, temporaries on the stack and the heap, and vectors."""

    def __init__(self, nest: Nest, entry: str) -> None:
        super().__init__(nest, C)
        self.entry = entry
        self.names.taken.add("te_failed")
        self.sizes = sorted(set(nest.sizes), key=lambda v: v.name)
        self.vectors = Vectors(self)
        self.statements |= self.vectors.statements
        self.parallel = False
        self.openmp = any(isinstance(s, For) and s.kind == "parallel" for s in preorder(nest.stmt))
        self.heap: list[list[str]] = [[]]  # how memory in use is given back: of the function, and of each open loop
        self.slots = 0  # places that keep memory from call to call

    # The file ---------------------------------------------------------------------------------------------------------

    def source(self) -> str:
        nest, text = self.nest, "\n".join(self.lines)
        functions, helpers = self.scalars.functions, self.vectors.helpers
        failed, unused = "te_failed" in text, self.unused(text)
        parts = [
            *(f"/* {comment(line)} */" for line in nest.title.splitlines()),
            *(f"#include <{name}.h>" for name in HEADERS), "",
            *([vector_math.source(sorted(functions))] if functions else []),
            *(vector_math.typedef(dtype, lanes) for dtype, lanes in sorted(helpers.types)),
            *self.scalars.helpers.values(), *helpers.texts.values(),
            *dict.fromkeys(s.header for s in preorder(nest.stmt) if isinstance(s, Call) and s.header),
            workspace.source(self.slots) if self.slots else "",
            f"int64_t {self.entry}({(',' + chr(10) + ' ' * (len(self.entry) + 9)).join(self.parameters())})", "{",
            *([f"    {' '.join(unused)}"] if unused else []), *(["    int64_t te_failed = 0;"] if failed else []),
            *self.lines, f"    return {'te_failed' if failed else '0'};", "}", "",
            *self.call_from_outside(), ""]  # fmt: skip
        return "\n".join(parts)

    def parameters(self) -> list[str]:
        found = []
        for b in (*self.nest.inputs, *self.nest.outputs):
            const = "const " if b.role == "input" else ""
            restrict = "" if b in self.nest.aliasable else f"{C.restrict} "
            found.append(f"{const}{C.types[b.dtype]} *{restrict}{self.names.of(b, b.name)}")
        return [*found, *(f"int64_t {self.leaf(v)}" for v in self.sizes), "int64_t *fault", "int32_t threads"]

    def unused(self, text: str) -> list[str]:
        """Statements for the parameters that nothing mentions, so that the compiler doesn't."""
        nest = self.nest
        found = [] if any(use in text for use in ("fault[", "fault)", "(fault")) else ["(void)fault;"]
        found += [] if self.openmp else ["(void)threads;"]
        used: set[object] = set(walk(*[e for s in preorder(nest.stmt) for e in expressions(s)]))
        used |= {n.tensor for n in used if isinstance(n, Access)}
        used |= {s.buffer for s in preorder(nest.stmt) if isinstance(s, Store)}
        names = {key: self.names.given[key] for key in (*nest.inputs, *nest.outputs, *self.sizes)}
        return found + [f"(void){name};" for key, name in names.items() if key not in used and name not in text]

    def call_from_outside(self) -> list[str]:
        """The function that the runtime calls."""
        arrays, sizes = len(self.nest.inputs) + len(self.nest.outputs), len(self.sizes)
        unused = ([] if arrays else ["(void)buffers;"]) + ([] if sizes else ["(void)sizes;"])
        values = [*(f"buffers[{n}]" for n in range(arrays)), *(f"sizes[{n}]" for n in range(sizes)), "fault", "threads"]
        return [
            f"int64_t {self.entry}_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)",
            "{",
            *([f"    {' '.join(unused)}"] if unused else []),
            f"    return {self.entry}({', '.join(values)});",
            "}",
        ]

    # Loops ------------------------------------------------------------------------------------------------------------

    def loop(self, stmt: For) -> None:
        for pragma in stmt.pragmas:
            if pragma not in (STREAM, FENCED):
                self.put(f"#pragma {pragma}")
        parallel, fenced = stmt.kind == "parallel" and not self.parallel, FENCED in stmt.pragmas
        if fenced:
            self.put("#pragma omp parallel num_threads(threads)")
            self.open()
            self.put("#pragma omp for schedule(static) nowait")
        elif parallel:
            self.put("#pragma omp parallel for num_threads(threads) schedule(static)")
        elif not stmt.pragmas and self.independent(stmt):
            self.put("#pragma GCC ivdep")
        before, self.parallel = self.parallel, self.parallel or parallel
        self.heap.append([])
        super().loop(stmt)
        self.heap.pop()
        self.parallel = before
        if fenced:
            self.put(self.vectors.helpers.fence())
            self.close()

    def independent(self, stmt: For) -> bool:
        """Whether an innermost loop that writes memory without `restrict` may be told to have no dependences: its
        writes are its own elements.
        """
        inner = list(preorder(stmt.body))
        return all(isinstance(s, (Store, Block)) for s in inner) and any(
            isinstance(s, Store) and s.buffer in self.nest.aliasable for s in inner
        )

    # Failures ---------------------------------------------------------------------------------------------------------

    def given_back(self) -> str:
        """The statements that give memory back before the kernel is left, or a parallel loop's iteration."""
        return "".join(f" {back}" for scope in (self.heap[-1:] if self.parallel else self.heap) for back in scope)

    def check(self, stmt: Assert) -> None:
        details = " ".join(f"fault[{n}] = {self.scalar(e)};" for n, e in enumerate(stmt.details))
        if self.parallel:  # no way out of a parallel loop: this iteration ends, and the first that failed is told
            self.open(f"if (!({self.scalar(stmt.condition)}))")
            self.put("#pragma omp critical(te_fault)")
            self.put(f"if (!te_failed) {{ te_failed = {stmt.fault + 1}; {details} }}")
            self.put(f"{self.given_back()} continue;".lstrip())
            self.close()
            return
        self.put(f"if (!({self.scalar(stmt.condition)})) {{ {details}{self.given_back()} return {stmt.fault + 1}; }}")

    # Memory -----------------------------------------------------------------------------------------------------------

    def memory(self, stmt: Allocate, name: str) -> None:
        buffer = stmt.buffer
        count, size, ctype = elements(buffer), dtypes.itemsize(buffer.dtype), C.types[buffer.dtype]
        if isinstance(count, int) and count * size <= STACK_BYTES:
            self.put(f"{ctype} {name}[{max(count, 1)}] __attribute__((aligned(64)));")
            self.statement(stmt.body)
            return
        bytes_ = self.scalar(simplify(count * size)) if isinstance(count, Expr) else str(count * size)
        if self.parallel:
            take, back = f"aligned_alloc(64, ((size_t)({bytes_}) + 64) & ~(size_t)63)", f"free({name});"
            leave = "te_failed = -1; continue;"  # no way out but by skipping the iteration of the innermost loop
        else:
            take, back = f"te_take({self.slots}, {bytes_})", f"te_give({self.slots}, {name});"
            leave = "return -1;"
            self.slots += 1
        self.put(f"{ctype} *{C.restrict} {name} = {take};")
        self.put(f"if (!{name}) {{{self.given_back()} {leave} }}")
        self.heap[-1].append(back)
        self.statement(stmt.body)
        self.heap[-1].pop()
        self.put(back)

    def vector_type(self, dtype: str, lanes: int) -> str:
        return self.vectors.helpers.type(dtype, lanes)
