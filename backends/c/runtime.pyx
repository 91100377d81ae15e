# cython: language_level=3, annotation_typing=False
# distutils: define_macros=NPY_TARGET_VERSION=NPY_1_22_API_VERSION
"""Loads compiled kernels and calls them: every argument checked, results allocated, the GIL released."""

import os
import sys

from tedsl.backends.calls.arguments import Arguments

cdef extern from "dlfcn.h":
    void *dlopen(const char *path, int flags) nogil
    void *dlsym(void *library, const char *symbol) nogil
    int dlclose(void *library) nogil
    const char *dlerror() nogil
    int RTLD_NOW
    int RTLD_LOCAL
    int RTLD_NOLOAD
    int RTLD_NODELETE


cdef int caller_depth() except -1:
    """How far warnings.warn looks up from `Arguments.conform`'s helper to blame the line of the user's program."""
    cdef int depth = 3                  # the helper, conform, and what called the kernel (this file has no frames)
    frame = sys._getframe(0)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "tedsl":
        depth += 1
        frame = frame.f_back
    return depth


include "../calls/tables.pxi"
include "../calls/call.pxi"


cdef bint pin_openmp() except -1:
    """Keep the OpenMP library that came with a kernel: its threads outlive the kernel. False if it was not found."""
    cdef const char *names[6]
    cdef bint found = False
    cdef int i
    names[:] = ["libgomp.so.1", "libomp.so", "libomp.so.5", "libiomp5.so", "@rpath/libomp.dylib", "libomp.dylib"]
    for i in range(6):
        if dlopen(names[i], RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE) != NULL:
            found = True
    return found


cdef class LoadedKernel(Caller):
    """A Caller whose function comes from a shared library."""
    cdef void *library
    cdef bint stays

    def __init__(self, tuple spec, str path, str symbol):
        cdef bytes file = os.fsencode(path)
        cdef bytes name = symbol.encode()
        cdef const char *file_text = file
        self._close()
        with nogil:
            self.library = dlopen(file_text, RTLD_NOW | RTLD_LOCAL)
        if self.library == NULL:
            raise OSError(dlerror().decode(errors="replace"))
        self.function = <Function>dlsym(self.library, name)
        if self.function == NULL:
            raise OSError(f"{path} has no function {symbol}")
        self.stays = spec[5] and not pin_openmp()
        self._expect(spec)

    cdef void _close(self) noexcept:
        if self.library != NULL and not self.stays:
            dlclose(self.library)
        self.library = NULL
        self.function = NULL

    def __dealloc__(self):
        self._close()


_set_default_threads(_cores())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
