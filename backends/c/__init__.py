"""The C target: kernels compiled by the system's C compiler, called through a Cython runtime."""
