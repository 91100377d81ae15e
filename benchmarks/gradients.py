"""What a gradient takes beside its forward pass, in time and in operations; convolutions also against PyTorch's.

python benchmarks/gradients.py [--threads 1] [--only TEXT] [--seconds 0.3] [--json FILE]

Every gradient is a kernel of its own under the default schedule; it gets the forward pass's intermediate results as inputs
where these are tensors of the definition. The ratio is of medians of times measured in turn, per input.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import tedsl as te
from tedsl.schedule.operations import operations

i, j, k, l, n, f, c, y, x, r, s, t = te.axes("i j k l n f c y x r s t")
AIM = 3.0  # no gradient should take longer than this many forward passes

Made = tuple[te.Tensor, Sequence[te.Tensor]]
CASES: dict[str, Callable[[], Made]] = {}


def case(name: str) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    """A definition, and the intermediate tensors that a forward pass keeps."""

    def add(make: Callable[[], Made]) -> Callable[[], Made]:
        CASES[name] = make
        return make

    return add


def text(name: str, definition: str, kept: bool = False, **names: Any) -> None:
    """A definition in a string. `kept`: the gradient reads the result."""

    def make() -> Made:
        out = te.define(definition, **names)
        return out, (out,) * kept

    CASES[name] = make


text("matmul 512", "C[i,j] = sum(A[i,k] * B[j,k])", A=(512, 512), B=(512, 512))
CONV = "Y[n,f,y,x] = sum(X[n,c,{0}*y+{1}*r,{0}*x+{1}*s] * W[f,c,r,s])"
text("conv 3x3", CONV.format(1, 1), X=(8, 32, 34, 34), W=(32, 32, 3, 3))
text("conv 3x3 stride 2", CONV.format(2, 1), X=(8, 32, 33, 33), W=(64, 32, 3, 3))
text("conv 3x3 dilation 2", CONV.format(1, 2), X=(8, 32, 36, 36), W=(32, 32, 3, 3))
text("conv 1x1", CONV.format(1, 1), X=(8, 64, 32, 32), W=(64, 64, 1, 1))
text("depthwise conv 3x3", "Y[n,c,y,x] = sum(X[n,c,y+r,x+s] * W[c,r,s], axis=(r,s))", X=(8, 64, 34, 34), W=(64, 3, 3))
for size, extent in (2, 64), (3, 65):
    text(
        f"max pooling {size}x{size} stride 2",
        "Y[n,c,y,x] = max(X[n,c,2*y+r,2*x+s])",
        kept=True,
        X=(8, 32, extent, extent),
        r=size,
        s=size,
    )
text("average pooling 2x2", "Y[n,c,y,x] = sum(X[n,c,2*y+r,2*x+s]) / 4", X=(8, 32, 64, 64), r=2, s=2)


@case("softmax cross entropy")
def softmax_cross_entropy() -> Made:
    X, label = te.tensor("X", (512, 1000)), te.tensor("label", (512,), "int64")
    M, L = te.tensor("M"), te.tensor("L")
    M[i] = te.max(X[i, k])
    m = te.stop_gradient(M[i])  # subtracted for safety only
    L[i] = te.log(te.sum(te.exp(X[i, k] - m))) + m - X[i, label[i]]
    return L, (M,)


@case("softmax")
def softmax() -> Made:
    X, S = te.tensor("X", (512, 1000)), te.tensor("S")
    S[i, j] = te.exp(X[i, j]) / te.sum(te.exp(X[i, k]))
    return S, (S,)


def normalised(rows: bool) -> Made:
    X, M, V, Z = te.tensor("X", (1024, 512)), te.tensor("M"), te.tensor("V"), te.tensor("Z")
    if rows:
        M[i] = te.sum(X[i, k]) / 512
        V[i] = te.sum((X[i, k] - M[i]) ** 2) / 512
        Z[i, j] = (X[i, j] - M[i]) / te.sqrt(V[i] + 1e-5)
    else:
        M[j] = te.sum(X[k, j]) / 1024
        V[j] = te.sum((X[k, j] - M[j]) ** 2) / 1024
        Z[i, j] = (X[i, j] - M[j]) / te.sqrt(V[j] + 1e-5)
    return Z, (M, V)


CASES["layer norm"] = lambda: normalised(True)
CASES["batch norm"] = lambda: normalised(False)


@case("attention")
def attention() -> Made:
    Q, K, W = te.tensor("Q", (256, 64)), te.tensor("K", (256, 64)), te.tensor("W", (256, 64))
    S, M, P, O = (te.tensor(name) for name in "SMPO")
    S[i, j] = te.sum(Q[i, k] * K[j, k]) / 8
    M[i] = te.max(S[i, j])
    m = te.stop_gradient(M[i])
    P[i, j] = te.exp(S[i, j] - m) / te.sum(te.exp(S[i, l] - m))
    O[i, k] = te.sum(P[i, j] * W[j, k])
    return O, (S, M, P)


@case("recurrent network")
def recurrent() -> Made:
    X, W, S = te.tensor("X", (64, 128)), te.tensor("W", (128, 128)), te.tensor("S", (64, 128))
    S[0, j] = X[0, j]
    S[t, j] = te.tanh(te.sum(S[t - 1, k] * W[k, j])) + X[t, j]
    return S, (S,)


@case("recurrent network, a batch of 32")
def batch_of_sequences() -> Made:
    X, W, U = te.tensor("X", (32, 32, 64)), te.tensor("W", (64, 128)), te.tensor("U", (128, 128))
    S = te.tensor("S", (32, 32, 128))
    S[0, n, j] = te.tanh(te.sum(X[0, n, k] * W[k, j]))
    S[t, n, j] = te.tanh(te.sum(X[t, n, k] * W[k, j]) + te.sum(S[t - 1, n, k] * U[k, j]))
    return S, (S,)


@case("LSTM, a batch of 32")
def lstm() -> Made:
    X, W, U = te.tensor("X", (32, 32, 64)), te.tensor("W", (4, 64, 128)), te.tensor("U", (4, 128, 128))
    I, F, O, G, C, H = (te.tensor(name, (32, 32, 128)) for name in "IFOGCH")
    for g, (gate, function) in enumerate([(I, te.sigmoid), (F, te.sigmoid), (O, te.sigmoid), (G, te.tanh)]):
        gate[0, n, j] = function(te.sum(X[0, n, k] * W[g, k, j]))
        gate[t, n, j] = function(te.sum(X[t, n, k] * W[g, k, j]) + te.sum(H[t - 1, n, k] * U[g, k, j]))
    C[0, n, j] = I[0, n, j] * G[0, n, j]
    C[t, n, j] = F[t, n, j] * C[t - 1, n, j] + I[t, n, j] * G[t, n, j]
    H[t, n, j] = O[t, n, j] * te.tanh(C[t, n, j])
    return H, (I, F, O, G, C, H)


def sampled(calls: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """The median time of each call, measured in turn."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or not times[0]:
        for call, found in zip(calls, times):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return [statistics.median(found) for found in times]


def rows(name: str, threads: int, seconds: float) -> Iterator[dict[str, Any]]:
    """One for each input of a case."""
    out, kept = CASES[name]()
    held = {tensor: te.tensor(tensor.name, tensor.shape, tensor.dtype) for tensor in kept}
    seed = te.tensor("seed", out.shape)
    wrt = [tensor for tensor in out.inputs if tensor.dtype == "float32"]
    rng = np.random.default_rng(0)
    values: dict[te.Tensor, Any] = {
        tensor: rng.standard_normal(tensor.shape, dtype="float32") / 8
        if tensor.dtype == "float32"
        else rng.integers(0, 1000, tensor.shape)
        for tensor in (*out.inputs, seed)
    }
    forward = te.build(out, args=[*out.inputs, out])
    for tensor, holder in held.items():
        values[holder] = te.build(tensor)(*(values[a] for a in tensor.inputs))
    gradients = te.vjp(out, wrt, seed, stored=held)
    plain = te.vjp(out, wrt, seed)
    before = operations(out)
    calls: list[Callable[[], Any]] = [_call(forward, [values[a] for a in out.inputs], out, threads)]
    calls += [_call(te.build(g), [values[a] for a in g.inputs], g, threads) for g in gradients]
    times = sampled(calls, seconds)
    for tensor, gradient, measured in zip(wrt, plain, times[1:]):
        more = operations([out, gradient]) - before  # type: ignore[operator]
        row = {"case": name, "input": tensor.name, "forward_ms": times[0] * 1e3, "gradient_ms": measured * 1e3}
        yield {**row, "ratio": measured / times[0], "operations": more / before}  # type: ignore[operator]


def _call(kernel: Any, arrays: Sequence[Any], tensor: te.Tensor, threads: int) -> Callable[[], Any]:
    result = np.empty(tensor.shape, tensor.dtype)
    return lambda: kernel(*arrays, out=result, threads=threads)


def torch_rows(name: str, threads: int, seconds: float) -> Iterator[dict[str, Any]]:
    """The same convolution's gradients by PyTorch."""
    try:
        import torch
    except ImportError:
        return
    if not name.startswith("conv"):
        return
    torch.set_num_threads(threads)
    out, _ = CASES[name]()
    X, W = (torch.randn(tensor.shape) for tensor in out.inputs)
    seed = torch.randn(out.shape)
    stride = 2 if "stride 2" in name else 1
    dilation = 2 if "dilation 2" in name else 1
    given = torch.nn.grad.conv2d_input, torch.nn.grad.conv2d_weight
    calls = [
        lambda: given[0](X.shape, W, seed, stride=stride, dilation=dilation),
        lambda: given[1](X, W.shape, seed, stride=stride, dilation=dilation),
    ]
    with torch.no_grad():
        for tensor, measured in zip("XW", sampled(calls, seconds)):
            yield {"case": name, "input": tensor, "torch_ms": measured * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--seconds", type=float, default=0.3, help="of measuring, for each kernel")
    parser.add_argument("--json", help="write the rows here as well")
    options = parser.parse_args()
    print(f"{'case':26} {'input':6} {'forward':>10} {'gradient':>10} {'ratio':>7} {'operations':>11} {'PyTorch':>10}")
    found = []
    for name in CASES:
        if options.only not in name:
            continue
        rival = {row["input"]: row["torch_ms"] for row in torch_rows(name, options.threads, options.seconds)}
        for row in rows(name, options.threads, options.seconds):
            row["torch_ms"] = rival.get(row["input"])
            found.append(row)
            other = f"{row['torch_ms']:8.3f}ms" if row["torch_ms"] else ""
            late = "  above the aim" if row["ratio"] > AIM else ""
            print(
                f"{name:26} {row['input']:6} {row['forward_ms']:8.3f}ms {row['gradient_ms']:8.3f}ms {row['ratio']:6.2f}x "
                f"{row['operations']:10.2f}x {other:>10}{late}",
                flush=True,
            )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
