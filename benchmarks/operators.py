"""Convolutions against PyTorch (oneDNN) and JAX; operators that no library has against compilers of loops.

python benchmarks/operators.py [--threads 1 2] [--only TEXT] [--json FILE] [--png FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _harness import Call, Case, Prepare, main

import tedsl as te


def normal(*shapes: tuple[int, ...]) -> Callable[[Any], Sequence[Any]]:
    return lambda rng: [rng.standard_normal(shape, dtype="float32") for shape in shapes]


def kernel_call(T: te.Tensor, arrays: Sequence[Any], threads: int) -> Call:
    """A call of the kernel of `T` that reuses its result's memory."""
    kernel = te.build(T)
    out = np.empty(T.shape, T.dtype)
    return lambda: kernel(*arrays, out=out, threads=threads)


def ours(text: str, **numbers: int) -> Prepare:
    """Our kernel of a definition in a string, whose inputs come in the order in which the text names them."""

    def prepare(*arrays: Any, threads: int) -> Call:
        names = dict.fromkeys(c for c in text.partition("=")[2] if c.isupper())
        T = te.define(text, **dict(zip(names, (a.shape for a in arrays))), **numbers)
        return kernel_call(T, arrays, threads)

    return prepare


# Convolutions ---------------------------------------------------------------------------------------------------------


def conv_torch(stride: int, dilation: int, groups: int) -> Prepare:
    def prepare(x: Any, w: Any, threads: int) -> Call:
        import torch

        torch.set_num_threads(threads)
        X, W = torch.from_numpy(x), torch.from_numpy(w.reshape(len(w), -1, *w.shape[-2:]))

        def call() -> Any:
            with torch.no_grad():
                return torch.nn.functional.conv2d(X, W, stride=stride, dilation=dilation, groups=groups)

        return call

    return prepare


def conv_jax(stride: int, dilation: int, groups: int) -> Prepare:
    def prepare(x: Any, w: Any, threads: int) -> Call:
        import jax

        X, W = jax.device_put(x), jax.device_put(w.reshape(len(w), -1, *w.shape[-2:]))
        conv = jax.jit(
            lambda x, w: jax.lax.conv_general_dilated(
                x, w, (stride, stride), "VALID", rhs_dilation=(dilation, dilation), feature_group_count=groups
            )
        )
        return lambda: conv(X, W).block_until_ready()

    return prepare


def conv(name: str, x: tuple[int, ...], w: tuple[int, ...], stride: int = 1, dilation: int = 1) -> Case:
    """A convolution of an image that is padded already."""
    s = f"{stride}*" if stride > 1 else ""
    d = f"{dilation}*" if dilation > 1 else ""
    if len(w) == 3:  # depthwise
        text = f"Y[n,c,y,x] = sum(X[n,c,{s}y+{d}r,{s}x+{d}q] * W[c,r,q], axis=(r,q))"
    else:
        text = f"Y[n,f,y,x] = sum(X[n,c,{s}y+{d}r,{s}x+{d}q] * W[f,c,r,q], axis=(c,r,q))"
    shape = te.define(text, X=x, W=w).shape
    per_result = w[-1] * w[-2] * (w[1] if len(w) == 4 else 1)
    work = ("flop", 2 * float(np.prod(shape)) * per_result)
    groups = x[1] if len(w) == 3 else 1
    rivals = {"PyTorch": conv_torch(stride, dilation, groups), "JAX": conv_jax(stride, dilation, groups)}
    return Case(name, work, normal(x, w), ours(text), rivals)


# Operators that no library has ----------------------------------------------------------------------------------------


def distances_numba(x: Any, y: Any, threads: int) -> Call:
    import numba

    numba.set_num_threads(threads)

    @numba.njit(fastmath=True, parallel=True)
    def f(x: Any, y: Any, out: Any) -> Any:
        for i in numba.prange(x.shape[0]):
            for j in range(y.shape[0]):
                total = np.float32(0)
                for k in range(x.shape[1]):
                    total += (x[i, k] - y[j, k]) ** 2
                out[i, j] = total
        return out

    out = np.empty((len(x), len(y)), "float32")
    return lambda: f(x, y, out)


def maxplus_numba(x: Any, y: Any, threads: int) -> Call:
    import numba

    numba.set_num_threads(threads)

    @numba.njit(fastmath=True, parallel=True)
    def f(x: Any, y: Any, out: Any) -> Any:
        for i in numba.prange(x.shape[0]):
            for j in range(y.shape[0]):
                best = np.float32(-np.inf)
                for k in range(x.shape[1]):
                    best = max(best, x[i, k] + y[j, k])
                out[i, j] = best
        return out

    out = np.empty((len(x), len(y)), "float32")
    return lambda: f(x, y, out)


def blur_numba(x: Any, threads: int) -> Call:
    import numba

    numba.set_num_threads(threads)

    @numba.njit(fastmath=True, parallel=True)
    def f(x: Any, out: Any) -> Any:
        for i in numba.prange(out.shape[0]):
            for j in range(out.shape[1]):
                total = np.float32(0)
                for r in range(3):
                    for q in range(3):
                        total += x[i + r, j + q]
                out[i, j] = total / np.float32(9)
        return out

    out = np.empty((x.shape[0] - 2, x.shape[1] - 2), "float32")
    return lambda: f(x, out)


def compiled_torch(function: Callable[..., Any]) -> Prepare:
    def prepare(*arrays: Any, threads: int) -> Call:
        import torch

        torch.set_num_threads(threads)
        f = torch.compile(function)
        inputs = [torch.from_numpy(a) for a in arrays]

        def call() -> Any:
            with torch.no_grad():
                return f(*inputs)

        return call

    return prepare


def compiled_jax(function: Callable[..., Any]) -> Prepare:
    def prepare(*arrays: Any, threads: int) -> Call:
        import jax

        f = jax.jit(function)
        inputs = [jax.device_put(a) for a in arrays]
        return lambda: f(*inputs).block_until_ready()

    return prepare


def blurred(x: Any) -> Any:
    h, w = x.shape
    return sum(x[r : h - 2 + r, q : w - 2 + q] for r in range(3) for q in range(3)) / 9


def custom(
    name: str,
    work: tuple[str, float],
    make: Any,
    own: Prepare,
    numba: Prepare,
    formula: Callable[..., Any],
    in_jax: Callable[..., Any] | None = None,
) -> Case:
    rivals = {"Numba": numba, "torch.compile": compiled_torch(formula), "JAX": compiled_jax(in_jax or formula)}
    return Case(name, work, make, own, rivals, target=2.0)


def cases() -> list[Case]:
    return [
        conv("conv2d 3x3 64-64 56x56", (1, 64, 58, 58), (64, 64, 3, 3)),
        conv("conv2d 1x1 64-256 56x56", (1, 64, 56, 56), (256, 64, 1, 1)),
        conv("conv2d 3x3 stride 2 64-128", (1, 64, 57, 57), (128, 64, 3, 3), stride=2),
        conv("conv2d 3x3 dilation 2 64-64", (1, 64, 60, 60), (64, 64, 3, 3), dilation=2),
        conv("depthwise 3x3 128x112x112", (1, 128, 114, 114), (128, 3, 3)),
        custom("squared distances 1000x1000x128", ("flop", 3 * 1000 * 1000 * 128), normal((1000, 128), (1000, 128)),
               ours("D[i,j] = sum((X[i,k] - Y[j,k])**2)"), distances_numba,
               lambda x, y: ((x[:, None] - y[None]) ** 2).sum(-1)),
        custom("max-plus 512", ("flop", 2 * 512**3), normal((512, 512), (512, 512)),
               ours("C[i,j] = max(X[i,k] + Y[j,k])"), maxplus_numba,
               lambda x, y: (x[:, None] + y[None]).amax(-1), lambda x, y: (x[:, None] + y[None]).max(-1)),
        custom("blur 3x3 4096x4096", ("byte", 8 * 4096.0**2), normal((4096, 4096)),
               ours("B[i,j] = sum(X[i+r,j+q], axis=(r,q)) / 9", r=3, q=3), blur_numba, blurred),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(__doc__, cases))
