"""What a gradient takes beside its forward pass, in time and in operations, and beside PyTorch's.

python benchmarks/gradients.py [--threads 1] [--only TEXT] [--seconds 0.3] [--json FILE]

Every gradient is a kernel of its own under the default schedule; it gets what the forward pass computed as inputs where
these are tensors of the definition. The ratio is of medians of times measured in turn, per input. PyTorch's time is
that of `torch.autograd.grad` for the one input, with its forward pass done. Where PyTorch is installed, the forward
pass and the gradients are compared with its own before anything is timed; else with the reference.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _harness import ROOT, write_table

import tedsl as te
from tedsl.schedule.cost.operations import operations

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


# The same in PyTorch, from the inputs by name -------------------------------------------------------------------------


def _window(size: int, pool: str) -> Callable[..., Any]:
    def forward(torch: Any, X: Any) -> Any:
        return getattr(torch.nn.functional, pool)(X, size, 2)

    return forward


def _convolved(groups: bool = False, **options: int) -> Callable[..., Any]:
    def forward(torch: Any, X: Any, W: Any) -> Any:
        if groups:
            return torch.nn.functional.conv2d(X, W[:, None], groups=len(W))
        return torch.nn.functional.conv2d(X, W, **options)

    return forward


def _normalised(axis: int) -> Callable[..., Any]:
    def forward(torch: Any, X: Any) -> Any:
        if axis:
            return torch.nn.functional.layer_norm(X, X.shape[1:], eps=1e-5)
        return torch.nn.functional.batch_norm(X, None, None, training=True, eps=1e-5)

    return forward


def _attention(torch: Any, Q: Any, K: Any, W: Any) -> Any:
    return torch.softmax(Q @ K.T / 8, 1) @ W


def _recurrent(torch: Any, X: Any, W: Any) -> Any:
    states = [X[0]]
    for x in X[1:]:
        states.append(torch.tanh(states[-1] @ W) + x)
    return torch.stack(states)


def _recurrent_batch(torch: Any, X: Any, W: Any, U: Any) -> Any:
    given = X @ W
    states = [torch.tanh(given[0])]
    for g in given[1:]:
        states.append(torch.tanh(g + states[-1] @ U))
    return torch.stack(states)


def _lstm(torch: Any, X: Any, W: Any, U: Any) -> Any:
    given = torch.einsum("tnk,gkj->tgnj", X, W)
    cell, state, states = None, None, []
    for g in given:
        gates = g if state is None else g + state @ U
        i_, f_, o_ = torch.sigmoid(gates[:3])
        fresh = i_ * torch.tanh(gates[3])
        cell = fresh if cell is None else f_ * cell + fresh
        state = o_ * torch.tanh(cell)
        states.append(state)
    return torch.stack(states)


PYTORCH: dict[str, Callable[..., Any]] = {
    "matmul 512": lambda torch, A, B: A @ B.T,
    "conv 3x3": _convolved(),
    "conv 3x3 stride 2": _convolved(stride=2),
    "conv 3x3 dilation 2": _convolved(dilation=2),
    "conv 1x1": _convolved(),
    "depthwise conv 3x3": _convolved(groups=True),
    "max pooling 2x2 stride 2": _window(2, "max_pool2d"),
    "max pooling 3x3 stride 2": _window(3, "max_pool2d"),
    "average pooling 2x2": _window(2, "avg_pool2d"),
    "softmax cross entropy": lambda torch, X, label: torch.nn.functional.cross_entropy(X, label, reduction="none"),
    "softmax": lambda torch, X: torch.softmax(X, 1),
    "layer norm": _normalised(1),
    "batch norm": _normalised(0),
    "attention": _attention,
    "recurrent network": _recurrent,
    "recurrent network, a batch of 32": _recurrent_batch,
    "LSTM, a batch of 32": _lstm,
}


# Measuring ------------------------------------------------------------------------------------------------------------


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
    """One for each input of a case. Raises SystemExit when a result is wrong."""
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
    if find_spec("torch") is not None:
        want, rivals = torch_calls(name, out, wrt, seed, values, threads)
    else:
        want, rivals = te.evaluate([out, *plain], values), []
    for tensor, call, expected in zip([out, *wrt], calls, want):
        wrong = np.abs(call() - expected).max() / max(np.abs(expected).max(), 1e-30)
        if not wrong < 1e-4:
            what = "the forward pass" if tensor is out else f"the gradient by {tensor.name}"
            raise SystemExit(f"{name}: {what} is off by {wrong:.2g} of the largest value")
    times = sampled(calls, seconds)
    theirs = sampled(rivals, seconds) if rivals else [None] * len(wrt)
    for tensor, gradient, measured, rival in zip(wrt, plain, times[1:], theirs):
        more = (operations([out, gradient]) - before) / before  # type: ignore[operator]
        row = {"case": name, "input": tensor.name, "threads": threads, "forward_ms": times[0] * 1e3}
        row |= {"gradient_ms": measured * 1e3, "ratio": measured / times[0], "operations": more}
        yield {**row, "torch_ms": None if rival is None else rival * 1e3}


def _call(kernel: Any, arrays: Sequence[Any], tensor: te.Tensor, threads: int) -> Callable[[], Any]:
    result = np.empty(tensor.shape, tensor.dtype)
    return lambda: kernel(*arrays, out=result, threads=threads)


def torch_calls(
    name: str, out: te.Tensor, wrt: Sequence[te.Tensor], seed: te.Tensor, values: dict[te.Tensor, Any], threads: int
) -> tuple[list[Any], list[Callable[[], Any]]]:
    """What PyTorch computes (the result, and the gradients), and calls of its backward passes, one for each input."""
    import torch

    torch.set_num_threads(threads)
    given = {tensor.name: torch.from_numpy(values[tensor]) for tensor in out.inputs}
    for tensor in wrt:
        given[tensor.name].requires_grad_()
    result = PYTORCH[name](torch, **given)
    start = torch.from_numpy(values[seed])

    def backward(tensor: te.Tensor) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(result, given[tensor.name], start, retain_graph=True)[0]

    calls = [backward(tensor) for tensor in wrt]
    return [result.detach().numpy(), *(call().numpy() for call in calls)], calls


def markdown(found: Sequence[dict[str, Any]]) -> str:
    header = "| | by | threads | forward ms | gradient ms | gradient / forward | operations | PyTorch ms"
    lines = [
        f"{header} | PyTorch / tedsl |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        mark = "**" if row["ratio"] > AIM else ""
        rival = row["torch_ms"]
        theirs = f"{rival:.3g} | {rival / row['gradient_ms']:.2f}" if rival else " | "
        what = f"{row['case']} | {row['input']} | {row['threads']}"
        lines.append(
            f"| {what} | {row['forward_ms']:.3g} | {row['gradient_ms']:.3g} | "
            f"{mark}{row['ratio']:.2f}{mark} | {row['operations']:.2f} | {theirs} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases with TEXT in their names")
    parser.add_argument("--seconds", type=float, default=0.3, help="of measuring, for each kernel")
    parser.add_argument("--json", metavar="FILE", help="default: build/bench/gradients.json")
    options = parser.parse_args()
    machine = te.machine().to_json()
    print(f"{'case':34}{'by':>4}{'thr':>4}{'forward':>10}{'gradient':>10}{'ratio':>7}{'operations':>11}{'PyTorch':>10}")
    found = []
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    for threads in options.threads:
        if len(cores) >= threads:
            os.sched_setaffinity(0, cores[-threads:])
        for name in CASES:
            for row in rows(name, threads, options.seconds) if options.only in name else ():
                found.append(row)
                rival = f"{row['torch_ms']:.3f}" if row["torch_ms"] else ""
                note = "  above the aim" * (row["ratio"] > AIM)
                times = f"{row['forward_ms']:>10.3f}{row['gradient_ms']:>10.3f}{row['ratio']:>7.2f}"
                operations = f"{row['operations']:>11.2f}"
                print(f"{name:34}{row['input']:>4}{threads:>4}{times}{operations}{rival:>10}{note}", flush=True)
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine, "results": found}, indent=1)
    Path(options.json or folder / "gradients.json").write_text(text + "\n")
    if os.environ.get("TEDSL_BENCH_DOCS") and not options.only:
        write_table(Path(os.environ["TEDSL_BENCH_DOCS"]), "gradients", markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
