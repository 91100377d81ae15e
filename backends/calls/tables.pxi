# The C side of a call: size expressions, the tables that describe arguments, the allocator of results. See call.pxi.

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

cnp.import_array()

cdef extern from *:
    """
    #define TEDSL_STACK 64      /* deepest size expression */
    #define TEDSL_FEW 24        /* arguments and sizes whose tables live on the C stack */
    #define TEDSL_ALIGN 64      /* results start at a cache line, which is also the widest vector */

    #include <Python.h>
    #include <numpy/arrayobject.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif

    #define tedsl_CHKFLAGS(o, flags) PyArray_CHKFLAGS((PyArrayObject *)(o), flags)
    #define tedsl_TYPE(o) PyArray_TYPE((PyArrayObject *)(o))
    #define tedsl_NDIM(o) PyArray_NDIM((PyArrayObject *)(o))
    #define tedsl_NOTSWAPPED(o) PyArray_ISNOTSWAPPED((PyArrayObject *)(o))
    #define tedsl_DATA(o) PyArray_DATA((PyArrayObject *)(o))
    #define tedsl_DIMS(o) PyArray_DIMS((PyArrayObject *)(o))
    #define tedsl_STRIDES(o) PyArray_STRIDES((PyArrayObject *)(o))

    typedef int64_t (*tedsl_function)(void *const *, const int64_t *, int64_t *, int32_t);

    static int64_t tedsl_now(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }

    /* Size expressions in postfix order: 0 a constant, 1 a size, the rest operators. Nonzero: overflow. */
    static int tedsl_evaluate(const int64_t *code, int64_t length, const int64_t *sizes, int64_t *result)
    {
        int64_t stack[TEDSL_STACK];
        int top = 0, bad = 0;
        for (int64_t p = 0; p < length; p += 2) {
            int64_t a, b, r = 0;
            if (code[p] == 0) { stack[top++] = code[p + 1]; continue; }
            if (code[p] == 1) { stack[top++] = sizes[code[p + 1]]; continue; }
            b = stack[--top]; a = stack[--top];
            switch (code[p]) {
            case 2: bad |= __builtin_add_overflow(a, b, &r); break;
            case 3: bad |= __builtin_sub_overflow(a, b, &r); break;
            case 4: bad |= __builtin_mul_overflow(a, b, &r); break;
            case 5: case 6:
                if (b == 0) r = 0;
                else if (b == -1) { if (code[p] == 5) bad |= __builtin_sub_overflow((int64_t)0, a, &r); }
                else if (code[p] == 5) r = a / b - ((a % b != 0) & ((a < 0) != (b < 0)));
                else { r = a % b; if (r != 0 && (r < 0) != (b < 0)) r += b; }
                break;
            case 7: r = a < b ? a : b; break;
            default: r = a > b ? a : b; break;
            }
            stack[top++] = r;
        }
        *result = stack[0];
        return bad;
    }

    /* An allocator for large results: aligned to cache lines, and from 4 MB on in huge pages where there are any. */
    static void *tedsl_malloc(void *ctx, size_t size)
    {
        void *p = NULL;
        (void)ctx;
        if (posix_memalign(&p, TEDSL_ALIGN, size ? size : 1)) return NULL;
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (size >= (1u << 22)) {       /* as NumPy's own allocator does */
            size_t offset = 4096 - (uintptr_t)p % 4096;
            madvise((char *)p + offset, size - offset, MADV_HUGEPAGE);
        }
    #endif
        return p;
    }
    static void *tedsl_calloc(void *ctx, size_t n, size_t each)
    {
        void *p;
        if (each && n > SIZE_MAX / each) return NULL;
        p = tedsl_malloc(ctx, n * each);
        if (p) memset(p, 0, n * each);
        return p;
    }
    static void *tedsl_realloc(void *ctx, void *p, size_t size) { (void)ctx; return realloc(p, size); }
    static void tedsl_free(void *ctx, void *p, size_t size) { (void)ctx; (void)size; free(p); }
    static PyDataMem_Handler tedsl_handler = {
        "tedsl", 1, {NULL, tedsl_malloc, tedsl_calloc, tedsl_realloc, tedsl_free}
    };
    """
    ctypedef int64_t (*Function "tedsl_function")(void *const *, const int64_t *, int64_t *, int32_t) noexcept nogil
    int64_t now "tedsl_now"() noexcept nogil
    bint evaluate "tedsl_evaluate"(
        const int64_t *code, int64_t length, const int64_t *sizes, int64_t *result
    ) noexcept nogil
    int STACK "TEDSL_STACK"
    enum: FEW "TEDSL_FEW"
    void *handler_address "&tedsl_handler"

cdef extern from "numpy/arrayobject.h":
    object PyDataMem_SetHandler(object handler)
    int CHKFLAGS "tedsl_CHKFLAGS"(PyObject *array, int flags) noexcept
    int TYPE "tedsl_TYPE"(PyObject *array) noexcept
    int NDIM "tedsl_NDIM"(PyObject *array) noexcept
    bint NOTSWAPPED "tedsl_NOTSWAPPED"(PyObject *array) noexcept
    void *DATA "tedsl_DATA"(PyObject *array) noexcept
    cnp.npy_intp *DIMS "tedsl_DIMS"(PyObject *array) noexcept
    cnp.npy_intp *STRIDES "tedsl_STRIDES"(PyObject *array) noexcept
    int IS_NDARRAY "PyArray_CheckExact"(PyObject *object) noexcept
    object NEW_EMPTY "PyArray_Empty"(int ndim, const cnp.npy_intp *dims, cnp.dtype descr, int fortran)

cdef extern from "Python.h":
    PyObject *TUPLE_ITEM "PyTuple_GET_ITEM"(PyObject *t, Py_ssize_t i) noexcept
    PyObject *LIST_ITEM "PyList_GET_ITEM"(object t, Py_ssize_t i) noexcept
    bint IS_FLOAT "PyFloat_CheckExact"(PyObject *o) noexcept
    double FLOAT "PyFloat_AS_DOUBLE"(PyObject *o) noexcept
    object PyCapsule_New(void *p, const char *name, void *destructor)

cdef object aligned_memory = PyCapsule_New(handler_address, "mem_handler", NULL)
cdef int64_t LARGE = 65536              # bytes from which an aligned result is worth a change of allocator (0.3 us)
cdef int MOST_THREADS = 1024           # each takes memory for its stack; a call that asks for more gets these
cdef int64_t SAMPLE = 20000             # nanoseconds that a measurement spans at least
cdef int32_t parallel_ran = 0           # a parallel region ran in this process: OpenMP's pool of threads exists
cdef int32_t only_one_thread = 0        # in a child forked after that: the pool's threads are gone, waiting hangs
cdef int32_t default_threads = 1


cdef struct Extent:
    int64_t length                      # of its code; 0: `value` is a constant, -1: `value` is a size's index
    int64_t value                       # or where its code begins


cdef struct Expected:
    int ndim
    int typenum
    int layout                          # NumPy's flag for C or Fortran order; 0: by strides
    int64_t itemsize
    Extent *shape
    Extent *strides


cdef struct Binder:
    int argument
    int axis
    int64_t scale
    int64_t offset


cdef struct Rule:                       # what is known of a size
    int64_t minimum
    int64_t multiple


cdef struct Frame:                      # the tables of one call
    void **buffers
    PyObject **arrays                   # borrowed
    int64_t *sizes
    double *scalars


def _after_fork():
    global only_one_thread
    only_one_thread = only_one_thread or parallel_ran


def _cores():
    """The threads to use when the call does not say: OMP_NUM_THREADS, else the cores that this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isascii() and asked.isdigit() and len(asked) < 100 and int(asked) > 0:
        return min(int(asked), MOST_THREADS)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _set_default_threads(int count):
    global default_threads
    default_threads = count


cdef inline bint extent(const Extent *e, const int64_t *code, const int64_t *sizes, int64_t *result) noexcept:
    if e.length == 0:
        result[0] = e.value
        return False
    if e.length == -1:
        result[0] = sizes[e.value]
        return False
    return evaluate(code + e.value, e.length, sizes, result)


cdef inline void _note_parallel() noexcept:
    global parallel_ran
    parallel_ran = 1


cdef void *_zeros(size_t size) except NULL:
    cdef void *memory = PyMem_Calloc(1, size if size else 1)
    if memory == NULL:
        raise MemoryError
    return memory


cdef void _bounds(PyObject *array, int64_t itemsize, char **low, char **high) noexcept:
    cdef int64_t reach
    cdef int d
    low[0] = high[0] = <char *>DATA(array)
    for d in range(NDIM(array)):
        if DIMS(array)[d] == 0:
            return
    for d in range(NDIM(array)):
        reach = (DIMS(array)[d] - 1) * STRIDES(array)[d]
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += itemsize


cdef tuple _compiled(object size, list code):
    """(length, value) of an Extent, with the postfix code appended to `code`."""
    if isinstance(size, int):
        return 0, size
    if size[0] == "size":
        return -1, size[1]
    start = len(code)
    deepest = _postfix(size, code)
    if deepest > STACK:
        raise ValueError("a size expression is nested too deeply")
    return len(code) - start, start


cdef int _postfix(object size, list code) except -1:
    if isinstance(size, int):
        code += [0, size]
        return 1
    if size[0] == "size":
        code += [1, size[1]]
        return 1
    cdef int left = _postfix(size[1], code)
    cdef int right = 1 + _postfix(size[2], code)
    code += [2 + ["+", "-", "*", "//", "%", "min", "max"].index(size[0]), 0]
    return max(left, right)


cdef tuple _fortran(object shape):
    """Column-major strides, as the expressions that a frontend would build."""
    strides, step = [], 1
    for size in shape:
        strides.append(step)
        if isinstance(step, int) and isinstance(size, int):
            step = step * size
        else:
            step = size if step == 1 else ("*", step, size)
    return tuple(strides)
