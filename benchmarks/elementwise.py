"""Memory-bound operators against NumPy, PyTorch and JAX: softmax, layer norm, GELU, sums, transpose, argmax.

    python benchmarks/elementwise.py [--threads 1 2] [--only TEXT] [--json FILE] [--png FILE]

All write to memory that is reused where the library lets them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from _harness import Call, Case, Prepare, main

import tedsl as te


def ours(define: Callable[[te.Tensor], te.Tensor]) -> Prepare:
    def prepare(x: Any, threads: int) -> Call:
        T = define(te.tensor("X", x.shape))
        kernel = te.build(T)
        out = np.empty(T.shape, T.dtype)
        return lambda: kernel(x, out=out, threads=threads)

    return prepare


def in_numpy(call: Callable[[Any, Any], Any], like: Callable[[Any], Any]) -> Prepare:
    def prepare(x: Any, threads: int) -> Call:
        out = like(x)
        return lambda: call(x, out)

    return prepare


def in_torch(call: Callable[[Any, Any, Any], Any]) -> Prepare:
    """`call` takes torch, the input, and a dictionary to keep results in."""

    def prepare(x: Any, threads: int) -> Call:
        import torch

        torch.set_num_threads(threads)
        X = torch.from_numpy(x)
        kept: dict[str, Any] = {}

        def run() -> Any:
            with torch.no_grad():
                return call(torch, X, kept)

        return run

    return prepare


def in_jax(call: Callable[[Any, Any], Any]) -> Prepare:
    """`call` takes jax and the input."""

    def prepare(x: Any, threads: int) -> Call:
        import jax

        f = jax.jit(lambda x: call(jax, x))
        X = jax.device_put(x)
        return lambda: f(X).block_until_ready()

    return prepare


# Definitions ----------------------------------------------------------------------------------------------------------


def softmax(X: te.Tensor) -> te.Tensor:
    i, j, k, m = te.axes("i j k m")
    M, E, S = te.tensor("M"), te.tensor("E"), te.tensor("S")
    M[i] = te.max(X[i, m])
    E[i, j] = te.exp(X[i, j] - M[i])
    S[i, j] = E[i, j] / te.sum(E[i, k])
    return S


def layer_norm(X: te.Tensor) -> te.Tensor:
    i, j, k = te.axes("i j k")
    width = X.shape[1]
    mean, variance, Y = te.tensor("mean"), te.tensor("variance"), te.tensor("Y")
    mean[i] = te.sum(X[i, k]) / width
    variance[i] = te.sum((X[i, k] - mean[i]) ** 2) / width
    Y[i, j] = (X[i, j] - mean[i]) / te.sqrt(variance[i] + 1e-5)
    return Y


def gelu(X: te.Tensor) -> te.Tensor:
    i, j = te.axes("i j")
    Y = te.tensor("Y")
    Y[i, j] = 0.5 * X[i, j] * (1 + te.erf(X[i, j] * 0.7071067811865476))
    return Y


def row_sum(X: te.Tensor) -> te.Tensor:
    i, j = te.axes("i j")
    S = te.tensor("S")
    S[i] = te.sum(X[i, j])
    return S


def column_sum(X: te.Tensor) -> te.Tensor:
    i, j = te.axes("i j")
    S = te.tensor("S")
    S[j] = te.sum(X[i, j])
    return S


def transpose(X: te.Tensor) -> te.Tensor:
    i, j = te.axes("i j")
    T = te.tensor("T")
    T[i, j] = X[j, i]
    return T


def argmax(X: te.Tensor) -> te.Tensor:
    i, j = te.axes("i j")
    T = te.tensor("T")
    T[i] = te.argmax(X[i, j])
    return T


# Rivals ---------------------------------------------------------------------------------------------------------------


def numpy_softmax(x: Any, out: Any) -> Any:
    np.subtract(x, x.max(1, keepdims=True), out=out)
    np.exp(out, out=out)
    return np.divide(out, out.sum(1, keepdims=True), out=out)


def numpy_layer_norm(x: Any, out: Any) -> Any:
    np.subtract(x, x.mean(1, keepdims=True), out=out)
    variance = np.einsum("ij,ij->i", out, out)[:, None] / x.shape[1]
    return np.divide(out, np.sqrt(variance + 1e-5), out=out)


def torch_gelu(torch: Any, x: Any, kept: dict[str, Any]) -> Any:
    out = kept.setdefault("out", torch.empty_like(x))
    return torch._C._nn.gelu(x, out=out)


def torch_transpose(torch: Any, x: Any, kept: dict[str, Any]) -> Any:
    return kept.setdefault("out", torch.empty(x.shape[1], x.shape[0])).copy_(x.t())


def jax_layer_norm(jax: Any, x: Any) -> Any:
    centred = x - x.mean(1, keepdims=True)
    return centred / jax.numpy.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)


def case(
    name: str,
    shape: tuple[int, int],
    written: int,
    define: Callable[[te.Tensor], te.Tensor],
    rivals: dict[str, Prepare],
) -> Case:
    """`written`: bytes that are written. Every input byte counts once."""
    work = ("byte", 4.0 * shape[0] * shape[1] + written)
    return Case(name, work, lambda rng: [rng.standard_normal(shape, dtype="float32")], ours(define), rivals)


def cases() -> list[Case]:
    same = 4096 * 768 * 4
    return [
        case("softmax 1024x1024", (1024, 1024), 4 * 1024**2, softmax, {
            "NumPy": in_numpy(numpy_softmax, np.empty_like),
            "PyTorch": in_torch(lambda torch, x, kept: torch.softmax(
                x, 1, out=kept.setdefault("out", torch.empty_like(x)))),
            "JAX": in_jax(lambda jax, x: jax.nn.softmax(x, axis=1))}),
        case("layer norm 4096x768", (4096, 768), same, layer_norm, {
            "NumPy": in_numpy(numpy_layer_norm, np.empty_like),
            "PyTorch": in_torch(lambda torch, x, kept: torch.nn.functional.layer_norm(x, (x.shape[1],), eps=1e-5)),
            "JAX": in_jax(jax_layer_norm)}),
        case("GELU 4096x768", (4096, 768), same, gelu, {
            "PyTorch": in_torch(torch_gelu),
            "JAX": in_jax(lambda jax, x: jax.nn.gelu(x, approximate=False))}),
        case("row sums 4096x4096", (4096, 4096), 4096 * 4, row_sum, {
            "NumPy": in_numpy(lambda x, out: x.sum(1, out=out), lambda x: np.empty(len(x), "f4")),
            "PyTorch": in_torch(lambda torch, x, kept: torch.sum(
                x, 1, out=kept.setdefault("out", torch.empty(len(x))))),
            "JAX": in_jax(lambda jax, x: x.sum(1))}),
        case("column sums 4096x4096", (4096, 4096), 4096 * 4, column_sum, {
            "NumPy": in_numpy(lambda x, out: x.sum(0, out=out), lambda x: np.empty(x.shape[1], "f4")),
            "PyTorch": in_torch(lambda torch, x, kept: torch.sum(
                x, 0, out=kept.setdefault("out", torch.empty(x.shape[1])))),
            "JAX": in_jax(lambda jax, x: x.sum(0))}),
        case("transpose 2048x2048", (2048, 2048), 4 * 2048**2, transpose, {
            "NumPy": in_numpy(lambda x, out: np.copyto(out, x.T) or out, lambda x: np.empty(x.shape[::-1], "f4")),
            "PyTorch": in_torch(torch_transpose),
            "JAX": in_jax(lambda jax, x: jax.numpy.copy(x.T))}),
        case("argmax 4096x1024", (4096, 1024), 4096 * 8, argmax, {
            "NumPy": in_numpy(lambda x, out: x.argmax(1, out=out), lambda x: np.empty(len(x), "i8")),
            "PyTorch": in_torch(lambda torch, x, kept: torch.argmax(x, 1)),
            "JAX": in_jax(lambda jax, x: x.argmax(1))}),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(__doc__, cases))
