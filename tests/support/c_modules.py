"""C modules written by hand, as code generation would hand them to the runtime."""

from __future__ import annotations

from tedsl.backends.codegen.module import Argument, CModule, Fault, SizeCheck, SizeVar

ENTRY = "int64_t {0}_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)"
HEAD = "#include <stdint.h>\n#include <stdlib.h>\n\n"
N, M = ("size", 0), ("size", 1)


def source(name: str, body: str, before: str = "") -> str:
    unused = "    (void)buffers; (void)sizes; (void)fault; (void)threads;\n"
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    return f"{HEAD}{before}{ENTRY.format(name)}\n{{\n{unused}{lines}}}\n"


def matmul(name: str = "matmul", n: int = 8, m: int = 6, depth: int = 5) -> CModule:
    """C[i,j] = sum_k A[i,k] * B[j,k], of fixed shapes."""
    typed = f"""\
void {name}(const float *restrict A, const float *restrict B, float *restrict C)
{{
    for (int64_t i = 0; i < {n}; i++)
        for (int64_t j = 0; j < {m}; j++) {{
            float s = 0;
            for (int64_t k = 0; k < {depth}; k++) s += A[i * {depth} + k] * B[j * {depth} + k];
            C[i * {m} + j] = s;
        }}
}}

"""
    args = (
        Argument("A", "float32", (n, depth), "input"),
        Argument("B", "float32", (m, depth), "input"),
        Argument("C", "float32", (n, m), "output"),
    )
    return CModule(name, source(name, f"{name}(buffers[0], buffers[1], buffers[2]);\nreturn 0;", typed), args)


def add(inplace: bool = False, minimum: int = 0, multiple_of: int = 1) -> CModule:
    """Z[i] = X[i] + Y[i], of any size n."""
    body = """
const double *X = buffers[0], *Y = buffers[1];
double *Z = buffers[2];
for (int64_t i = 0; i < sizes[0]; i++) Z[i] = X[i] + Y[i];
return 0;
"""
    args = (
        Argument("X", "float64", (N,), "input"),
        Argument("Y", "float64", (N,), "input"),
        Argument("Z", "float64", (N,), "output", inplace=(0, 1) if inplace else ()),
    )
    return CModule("add", source("add", body), args, (SizeVar("n", minimum, multiple_of),))


def gather(late: bool = False) -> CModule:
    """E[i] = T[idx[i]]; an index out of range is a fault, found before (or, `late`, after) something was written."""
    check = "if (I[i] < 0 || I[i] >= sizes[1]) { fault[0] = i; fault[1] = I[i]; fault[2] = sizes[1]; return 1; }"
    loop, copy = "for (int64_t i = 0; i < sizes[0]; i++)", "E[i] = T[I[i]];"
    loops = [f"{loop} {{ {check} {copy} }}"] if late else [f"{loop} {{ {check} }}", f"{loop} {copy}"]
    body = (
        "const float *T = buffers[0]; const int64_t *I = buffers[1]; float *E = buffers[2];\n"
        + "\n".join(loops)
        + "\nreturn 0;"
    )
    args = (
        Argument("T", "float32", (M,), "input"),
        Argument("idx", "int64", (N,), "input"),
        Argument("E", "float32", (N,), "output"),
    )
    faults = (Fault("idx[{0}] is {1}, out of range for T with {2} rows"),)
    return CModule("gather", source("gather", body), args, (SizeVar("n"), SizeVar("m")), (), faults, late_faults=late)


def scale() -> CModule:
    """w = w - lr * g with a rank-0 lr; may run in place of w."""
    body = """
const float *w = buffers[0], *lr = buffers[1], *g = buffers[2];
float *r = buffers[3];
for (int64_t i = 0; i < sizes[0]; i++) r[i] = w[i] - *lr * g[i];
return 0;
"""
    args = (
        Argument("w", "float32", (N,), "input"),
        Argument("lr", "float32", (), "input"),
        Argument("g", "float32", (N,), "input"),
        Argument("r", "float32", (N,), "output", inplace=(0,)),
    )
    return CModule("scale", source("scale", body), args, (SizeVar("n"),))


def scalar(dtype: str, c_type: str) -> CModule:
    """r = x, both of rank 0."""
    body = f"*({c_type} *)buffers[1] = *(const {c_type} *)buffers[0];\nreturn 0;"
    args = (Argument("x", dtype, (), "input"), Argument("r", dtype, (), "output"))
    return CModule("scalar", source("scalar", body), args)


def two_results() -> CModule:
    """S[i] = X[i] + 1 and P[i] = X[i] * 2."""
    body = """
const int32_t *X = buffers[0];
int32_t *S = buffers[1], *P = buffers[2];
for (int64_t i = 0; i < sizes[0]; i++) { int32_t x = X[i]; S[i] = x + 1; P[i] = x * 2; }
return 0;
"""
    args = (
        Argument("X", "int32", (N,), "input"),
        Argument("S", "int32", (N,), "output"),
        Argument("P", "int32", (N,), "output"),
    )
    return CModule("two", source("two", body), args, (SizeVar("n"),), several=True)


def row_sums() -> CModule:
    """R[i] = sum_j X[i,j] in parallel over i; T is the number of threads that ran."""
    body = """
const double *X = buffers[0];
double *R = buffers[1];
int32_t *T = buffers[2];
int64_t n = sizes[0], m = sizes[1];
#pragma omp parallel for num_threads(threads)
for (int64_t i = 0; i < n; i++) {
    double s = 0;
    for (int64_t j = 0; j < m; j++) s += X[i * m + j];
    R[i] = s;
}
*T = threads;
return 0;
"""
    args = (
        Argument("X", "float64", (N, M), "input"),
        Argument("R", "float64", (N,), "output"),
        Argument("T", "int32", (), "output"),
    )
    return CModule("rows", source("rows", body), args, (SizeVar("n"), SizeVar("m")), openmp=True)


def transpose() -> CModule:
    """R[i,j] = X[j,i] for X and R in Fortran order: a copy of memory."""
    body = """
const float *X = buffers[0];
float *R = buffers[1];
int64_t n = sizes[0], m = sizes[1];
for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < m; j++) R[j + i * m] = X[i + j * n];
return 0;
"""
    args = (
        Argument("X", "float32", (N, M), "input", strides=(1, N)),
        Argument("R", "float32", (M, N), "output", strides=(1, M)),
    )
    return CModule("turn", source("turn", body), args, (SizeVar("n"), SizeVar("m")))


def spread() -> CModule:
    """R[i] = X[i], where X lies at every third element and R at every second."""
    body = """
const float *X = buffers[0];
float *R = buffers[1];
for (int64_t i = 0; i < sizes[0]; i++) R[2 * i] = X[3 * i];
return 0;
"""
    args = (
        Argument("X", "float32", (N,), "input", strides=(3,)),
        Argument("R", "float32", (N,), "output", strides=(2,)),
    )
    return CModule("spread", source("spread", body), args, (SizeVar("n"),))


def outer() -> CModule:
    """R[i,j] = X[i] * X[j]: a result that may be far larger than its input."""
    body = """
const double *X = buffers[0];
double *R = buffers[1];
int64_t n = sizes[0];
for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) R[i * n + j] = X[i] * X[j];
return 0;
"""
    args = (Argument("X", "float64", (N,), "input"), Argument("R", "float64", (N, N), "output"))
    return CModule("outer", source("outer", body), args, (SizeVar("n"),))


def huge() -> CModule:
    """A result of n ** 4 elements for an input of n."""
    cube = ("*", N, ("*", N, N))
    args = (Argument("X", "int8", (N,), "input"), Argument("R", "float64", (cube, N), "output"))
    return CModule("huge", source("huge", "return 0;"), args, (SizeVar("n"),))


def windows() -> CModule:
    """R[i] = X[2*i] + X[2*i+1], for X of 2*n+1 elements, n at least 1; Y of n rows; n may not be 7."""
    body = """
const int32_t *X = buffers[0];
int32_t *R = buffers[1];
for (int64_t i = 0; i < sizes[0]; i++) R[i] = X[2 * i] + X[2 * i + 1];
return 0;
"""
    length = ("+", ("*", 2, N), 1)
    args = (Argument("X", "int32", (length,), "input"), Argument("R", "int32", (N,), "output"))
    checks = (SizeCheck(("-", N, 7), "seven rows (n = {n}) are not allowed"),)
    return CModule("windows", source("windows", body), args, (SizeVar("n", minimum=1),), checks)


def many(count: int = 40) -> CModule:
    """The sum of many rank-1 arrays."""
    body = f"""
double *R = buffers[{count}];
for (int64_t i = 0; i < sizes[0]; i++) {{
    R[i] = 0;
    for (int k = 0; k < {count}; k++) R[i] += ((const double *)buffers[k])[i];
}}
return 0;
"""
    args = tuple(Argument(f"X{k}", "float64", (N,), "input") for k in range(count))
    return CModule("many", source("many", body), (*args, Argument("R", "float64", (N,), "output")), (SizeVar("n"),))


def no_memory() -> CModule:
    """Never finds the memory for its temporary."""
    args = (Argument("X", "float64", (N,), "input"), Argument("R", "float64", (N,), "output"))
    return CModule("starved", source("starved", "return -1;"), args, (SizeVar("n"),))
