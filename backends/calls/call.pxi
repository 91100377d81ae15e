# The fast path of a call: compares every array with what the kernel expects, allocates the results and calls the C
# function without the GIL. It accepts only what it understands fully; `Arguments` (Python) explains or converts the
# rest. Exported extensions contain this text. It follows tables.pxi, and the including file imports os and defines
# Arguments and caller_depth().


cdef class Caller:
    """A C function and what its arguments must be. A call checks them, allocates results, and runs it."""
    cdef Function function
    cdef int n_args, n_in, n_out, n_sizes, n_checks
    cdef bint openmp, late_faults, several, few
    cdef Expected *expected
    cdef Extent *extents
    cdef Extent *conditions
    cdef Binder *binders
    cdef Rule *rules
    cdef int64_t *code
    cdef list descrs
    cdef tuple inplace
    cdef readonly object arguments

    def __dealloc__(self):
        PyMem_Free(self.expected)
        PyMem_Free(self.extents)
        PyMem_Free(self.binders)
        PyMem_Free(self.rules)
        PyMem_Free(self.code)

    def _expect(self, tuple spec):
        """Turn a CModule's spec into the tables that the fast path reads."""
        cdef list code = [], extents = []
        cdef int i, p = 0
        if self.expected != NULL:
            raise RuntimeError("a kernel is set up once")
        self.arguments = Arguments(spec)
        args, sizes, checks = spec[1], spec[2], spec[3]
        self.openmp, self.late_faults, self.several = spec[5:8]
        self.n_args, self.n_sizes, self.n_checks = len(args), len(sizes), len(checks)
        self.n_in = len([a for a in args if a[3] == "input"])
        self.n_out = self.n_args - self.n_in
        self.few = self.n_args <= FEW and self.n_sizes <= FEW
        self.descrs = list(self.arguments.dtypes)
        self.inplace = tuple([a[5] for a in args])
        for a in args:
            for size in tuple(a[2]) + tuple(a[4] or ()):
                extents.append(_compiled(size, code))
        for check in checks:
            extents.append(_compiled(check[0], code))
        self.code = <int64_t *>_zeros(len(code) * sizeof(int64_t))
        for i in range(len(code)):
            self.code[i] = code[i]
        self.extents = <Extent *>_zeros(len(extents) * sizeof(Extent))
        for i in range(len(extents)):
            self.extents[i].length, self.extents[i].value = extents[i]
        self.expected = <Expected *>_zeros(self.n_args * sizeof(Expected))
        for i in range(self.n_args):
            e = &self.expected[i]
            e.ndim, e.typenum, e.itemsize = len(args[i][2]), self.descrs[i].num, self.descrs[i].itemsize
            e.shape = self.extents + p
            p += e.ndim
            e.layout = cnp.NPY_ARRAY_C_CONTIGUOUS
            if args[i][4] is not None:
                e.strides = self.extents + p
                p += e.ndim
                e.layout = 0
                if tuple(args[i][4]) == _fortran(args[i][2]):
                    e.layout = cnp.NPY_ARRAY_F_CONTIGUOUS
        self.conditions = self.extents + p
        self.rules = <Rule *>_zeros(self.n_sizes * sizeof(Rule))
        self.binders = <Binder *>_zeros(self.n_sizes * sizeof(Binder))
        for i in range(self.n_sizes):
            self.rules[i].minimum, self.rules[i].multiple = sizes[i][1], sizes[i][2]
            b = &self.binders[i]
            b.argument, b.axis, b.scale, b.offset = self.arguments.binders[i]

    cdef bint _take(self, PyObject *o, int i, int flags, Frame *f) except -1:
        """Put one array, or one Python float, into the frame if it is of the expected dtype, rank and order."""
        cdef Expected *e = &self.expected[i]
        if IS_NDARRAY(o):
            if TYPE(o) != e.typenum or NDIM(o) != e.ndim or not CHKFLAGS(o, flags | e.layout) or not NOTSWAPPED(o):
                return False
            f.buffers[i] = DATA(o)
            f.arrays[i] = o
            return True
        if e.ndim == 0 and i < self.n_in and IS_FLOAT(o):
            f.buffers[i] = &f.scalars[i]
            f.arrays[i] = NULL
            if e.typenum == cnp.NPY_FLOAT64:
                f.scalars[i] = FLOAT(o)
                return True
            if e.typenum == cnp.NPY_FLOAT32 and -3.4e38 < FLOAT(o) < 3.4e38:     # the rest needs a closer look
                (<float *>f.buffers[i])[0] = <float>FLOAT(o)
                return True
        return False

    cdef bint _bind(self, Frame *f) except -1:
        """Read the sizes off the shapes and compare every shape, stride and condition with them."""
        cdef int i, d
        cdef int64_t n, want
        cdef Binder *b
        cdef Expected *e
        cdef cnp.npy_intp *dims
        cdef cnp.npy_intp *strides
        cdef bint empty
        for i in range(self.n_sizes):
            b = &self.binders[i]
            if f.arrays[b.argument] == NULL:
                return False
            n = DIMS(f.arrays[b.argument])[b.axis]
            if b.scale != 1 or b.offset != 0:
                n -= b.offset
                if n % b.scale != 0:
                    return False
                n = n // b.scale
            if n < self.rules[i].minimum or (self.rules[i].multiple > 1 and n % self.rules[i].multiple != 0):
                return False
            f.sizes[i] = n
        for i in range(self.n_args):
            if f.arrays[i] == NULL:
                continue
            e = &self.expected[i]
            dims = DIMS(f.arrays[i])
            empty = False
            for d in range(e.ndim):
                if extent(&e.shape[d], self.code, f.sizes, &want) or dims[d] != want:
                    return False
                empty = empty or want == 0
            if e.layout == 0 and not empty:
                strides = STRIDES(f.arrays[i])
                for d in range(e.ndim):
                    if extent(&e.strides[d], self.code, f.sizes, &want):
                        return False
                    if dims[d] != 1 and strides[d] != want * e.itemsize:
                        return False
        for i in range(self.n_checks):
            if extent(&self.conditions[i], self.code, f.sizes, &want) or want == 0:
                return False
        return True

    cdef bint _apart(self, int i, Frame *f) except -1:
        """True if the memory of the given output i surely overlaps no earlier argument, or is one that it may be."""
        cdef char *low
        cdef char *high
        cdef char *other_low
        cdef char *other_high
        cdef int j, d
        cdef bint same
        _bounds(f.arrays[i], self.expected[i].itemsize, &low, &high)
        for j in range(i):
            if f.arrays[j] == NULL:
                continue
            _bounds(f.arrays[j], self.expected[j].itemsize, &other_low, &other_high)
            if low >= other_high or other_low >= high:
                continue
            if j >= self.n_in or j not in self.inplace[i] or f.buffers[i] != f.buffers[j]:
                return False
            if self.expected[i].ndim != self.expected[j].ndim or self.expected[i].typenum != self.expected[j].typenum:
                return False
            for d in range(self.expected[i].ndim):
                if DIMS(f.arrays[i])[d] != DIMS(f.arrays[j])[d]:
                    return False
                if DIMS(f.arrays[i])[d] > 1 and STRIDES(f.arrays[i])[d] != STRIDES(f.arrays[j])[d]:
                    return False
        return True

    cdef object _new(self, int i, Frame *f):
        """An array for output i; None if its shape is not one that an array can have."""
        cdef Expected *e = &self.expected[i]
        cdef cnp.npy_intp dims[64]
        cdef int64_t n, room = <int64_t>1 << 62
        cdef int64_t size = e.itemsize
        cdef int d
        if e.layout == 0:
            values = [f.sizes[d] for d in range(self.n_sizes)]
            return self.arguments.allocate(self.arguments.args[i], self.descrs[i], values)
        for d in range(e.ndim):
            if extent(&e.shape[d], self.code, f.sizes, &n) or n < 0 or (n > 0 and size > room // n):
                return None
            dims[d] = n
            size *= max(n, 1)
        descr = <object>LIST_ITEM(self.descrs, i)
        Py_INCREF(descr)                # PyArray_Empty takes the reference over
        if size < LARGE:
            return NEW_EMPTY(e.ndim, dims, descr, e.layout == cnp.NPY_ARRAY_F_CONTIGUOUS)
        before = PyDataMem_SetHandler(aligned_memory)
        try:
            return NEW_EMPTY(e.ndim, dims, descr, e.layout == cnp.NPY_ARRAY_F_CONTIGUOUS)
        finally:
            PyDataMem_SetHandler(before)

    cdef tuple _accept(self, PyObject *args, object out, Frame *f, bint trusted):
        """Fill the frame and return the arrays to write to; None if the arguments need a closer look."""
        cdef int i
        cdef object array
        cdef tuple given = None
        cdef PyObject *o
        cdef bint complete = True
        for i in range(self.n_in):
            if not self._take(TUPLE_ITEM(args, i), i, cnp.NPY_ARRAY_ALIGNED, f):
                return None
        for i in range(self.n_in, self.n_args):
            f.arrays[i] = NULL
        if out is not None:
            given = out if type(out) is tuple else (out,)
            if len(given) != self.n_out:
                return None
            for i in range(self.n_out):
                o = TUPLE_ITEM(<PyObject *>given, i)
                if o == <PyObject *>None:
                    complete = False
                elif not self._take(o, self.n_in + i, cnp.NPY_ARRAY_ALIGNED | cnp.NPY_ARRAY_WRITEABLE, f):
                    return None
        if not self._bind(f):
            return None
        if given is not None:
            if not trusted:
                for i in range(self.n_in, self.n_args):
                    if f.arrays[i] != NULL and not self._apart(i, f):
                        return None
            if complete and not self.late_faults:
                return given
        fresh = []
        for i in range(self.n_in, self.n_args):
            if f.arrays[i] == NULL or self.late_faults:
                array = self._new(i, f)
                if array is None:
                    return None
                f.buffers[i] = DATA(<PyObject *>array)
                fresh.append(array)
            else:
                fresh.append(<object>f.arrays[i])
        return tuple(fresh)

    cdef object _run(self, tuple args, object out, object threads, Frame *f, int64_t repeat, double seconds):
        cdef int64_t fault[8]
        cdef int64_t code = 0
        cdef int32_t workers = default_threads
        cdef tuple written = None
        cdef tuple given
        cdef object ready = args, target = out
        cdef int i
        cdef list times
        if self.function == NULL:
            raise RuntimeError("this kernel was never loaded")
        if threads is not None:
            workers = self._threads(threads)
        if only_one_thread or not self.openmp:
            workers = 1
        if len(args) == self.n_in:
            written = self._attempt(<PyObject *>args, out, f, False)
        if written is None:
            ready, target = self.arguments.conform(args, out, caller_depth())
            ready = tuple(ready)
            written = self._attempt(<PyObject *>ready, target, f, True)
            if written is None:
                self.arguments.unexplained()
        memset(fault, 0, sizeof(fault))
        if workers > 1:
            _note_parallel()
        if repeat:
            times = []
            code = self._measure(f, fault, workers, repeat, seconds, times)
        else:
            with nogil:
                code = self.function(<void *const *>f.buffers, f.sizes, fault, workers)
        if code != 0:
            if code == -1:
                self.arguments.no_memory([f.sizes[i] for i in range(self.n_sizes)])
            self.arguments.fault(code, [fault[i] for i in range(8)])
        if repeat:
            return times
        if out is None or (ready is args and not self.late_faults):
            return written if self.n_out != 1 or self.several else written[0]
        given = target if type(target) is tuple else (target,)
        if self.late_faults:
            for i in range(self.n_out):
                if given[i] is not None:
                    given[i][...] = written[i]
        # what comes back is the object that was given, be it an array or something that lends its memory
        given = tuple(out) if isinstance(out, (tuple, list)) else (out,)
        given = tuple([w if g is None else g for g, w in zip(given, written)])
        return given if self.n_out != 1 or self.several else given[0]

    cdef inline tuple _attempt(self, PyObject *args, object out, Frame *f, bint trusted):
        try:
            return self._accept(args, out, f, trusted)
        except MemoryError:
            self.arguments.no_memory([f.sizes[i] for i in range(self.n_sizes)])

    cdef int64_t _measure(
        self, Frame *f, int64_t *fault, int32_t workers, int64_t repeat, double seconds, list times
    ) except? -2:
        """Seconds per run, `repeat` times or until `seconds` are over; a sample is several runs if one is short."""
        cdef int64_t code, inner = 1, start, spent = 0, done, n, began
        cdef void *const *buffers
        buffers = <void *const *>f.buffers                             # Cython 3.0 drops an initialiser in the line above
        with nogil:
            code = self.function(buffers, f.sizes, fault, workers)     # pages touched, caches and thread pool warm
        while code == 0 and spent < SAMPLE and inner < 1 << 20:
            inner = inner * 2 if spent else 1
            start = now()
            with nogil:
                for n in range(inner):
                    code = self.function(buffers, f.sizes, fault, workers)
            spent = max(now() - start, 1)
        began = now()
        for done in range(repeat):
            if code != 0 or (done > 2 and now() - began > seconds * 1e9):
                break
            PyErr_CheckSignals()
            start = now()
            with nogil:
                for n in range(inner):
                    code = self.function(buffers, f.sizes, fault, workers)
            times.append((now() - start) * 1e-9 / inner)
        return code

    cdef int32_t _threads(self, object threads) except -1:
        if type(threads) is bool or not hasattr(threads, "__index__"):
            self.arguments.bad_threads(threads)
        threads = threads.__index__()
        if threads < 1:
            self.arguments.bad_threads(threads)
        return min(threads, MOST_THREADS)

    cdef object _start(self, tuple args, object out, object threads, int64_t repeat, double seconds):
        """`_run` with the call's tables, on the C stack unless there are many arguments."""
        cdef void *buffers[FEW]
        cdef PyObject *arrays[FEW]
        cdef int64_t sizes[FEW]
        cdef double scalars[FEW]
        cdef Frame f
        cdef char *memory
        if self.few:
            f.buffers, f.arrays, f.sizes, f.scalars = buffers, arrays, sizes, scalars
            return self._run(args, out, threads, &f, repeat, seconds)
        memory = <char *>_zeros((3 * self.n_args + self.n_sizes) * 8)
        f.buffers, f.arrays = <void **>memory, <PyObject **>(memory + 8 * self.n_args)
        f.scalars, f.sizes = <double *>(memory + 16 * self.n_args), <int64_t *>(memory + 24 * self.n_args)
        try:
            return self._run(args, out, threads, &f, repeat, seconds)
        finally:
            PyMem_Free(memory)

    def __call__(self, *args, out=None, threads=None, **options):
        if options:
            self.arguments.bad_options(options)
        return self._start(args, out, threads, 0, 0)

    def _seconds(self, tuple args, out, threads, int64_t repeat, double seconds):
        """Measured seconds per run of the C function alone."""
        return self._start(args, out, threads, repeat, seconds)
