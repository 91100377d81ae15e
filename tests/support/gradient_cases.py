"""Definitions to differentiate: everything that the language says, each in a small case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tedsl as te

i, j, k, l, n, f, c, y, x, r, s, t = te.axes("i j k l n f c y x r s t")
CASES: dict[str, Callable[[], tuple[Any, Any]]] = {}


def case(function: Callable[[], tuple[Any, Any]]) -> Callable[[], tuple[Any, Any]]:
    """A function that gives what is differentiated, and with respect to what."""
    CASES[function.__name__] = function
    return function


def real(name: str, *shape: Any) -> te.Tensor:
    return te.tensor(name, shape, dtype="float64")


def define(text: str, **names: Any) -> te.Tensor:
    """Inputs are float64."""
    wide = {k: real(k, *v) if isinstance(v, tuple) and k != text[0] else v for k, v in names.items()}
    return te.define(text, **wide)


def simple(text: str, **names: Any) -> Callable[[], tuple[Any, Any]]:
    def make() -> tuple[Any, Any]:
        out = define(text, **names)
        return out, [t for t in out.inputs if t.dtype == "float64"]

    return make


CASES |= {
    "matmul": simple("C[i,j] = sum(A[i,k] * B[j,k])", A=(3, 4), B=(5, 4)),
    "transposed and plain": simple("C[i,j] = A[i,j] * A[j,i]", A=(4, 4)),
    "diagonal": simple("C[i,j] = A[i,i] * A[i,j]", A=(3, 3)),
    "trace": simple("C[] = sum(A[i,i] * A[i,0])", A=(4, 4)),
    "constant index": simple("C[i,j] = A[i,j] * A[i,0] + A[2,j] ** 2", A=(3, 4)),
    "square of a matrix": simple("C[i,j] = sum(A[i,k] * A[k,j])", A=(3, 3)),
    "reversed": simple("C[i,j] = A[3-i,j] * A[i,j]", A=(4, 2)),
    "strided": simple("B[i] = A[3*i+1] ** 2", A=(12,), B=(4,)),
    "upsampled": simple("B[i] = A[i//3] * A[i%4]", A=(4,), B=(12,)),
    "reshaped": simple("B[i,j] = A[4*i+j] ** 3", A=(12,), B=(3, 4)),
    "flattened": simple("B[i] = A[i//12, (i//4)%3, i%4] ** 2", A=(2, 3, 4), B=(24,)),
    "rotated": simple("B[i] = A[(5*i+2) % 12] * A[i]", A=(12,), B=(12,)),
    "softmax": simple("S[i,j] = exp(A[i,j]) / sum(exp(A[i,k]))", A=(3, 4)),
    "log sum exp": simple("S[i] = log(sum(exp(A[i,k])))", A=(3, 4)),
    "nested sums": simple("S[] = sum(log(sum(exp(A[i,j]), axis=j)) ** 2)", A=(3, 4)),
    "sum with a condition": simple("S[i,j] = sum(A[i,k] ** 2, axis=k, where=k <= j)", A=(3, 4), S=(3, 4)),
    "sum over even steps": simple("S[i] = sum(A[i,k] ** 3, where=k % 2 == 0)", A=(3, 5)),
    "sum where data says so": simple("S[i] = sum(A[i,k] ** 2, where=A[i,k] > 0)", A=(3, 5)),
    "mean and variance": simple("V[i] = sum((A[i,k] - sum(A[i,l]) / 4) ** 2, axis=k) / 4", A=(3, 4)),
    "layer norm": simple("V[i,j] = (A[i,j] - sum(A[i,k]) / 4) / sqrt(sum((A[i,k] - sum(A[i,l]) / 4) ** 2, axis=k) / 4 + 0.1)", A=(3, 4)),
    "max": simple("M[i] = max(A[i,k] * A[i,0])", A=(3, 4)),
    "min and max": simple("M[i] = max(A[i,k]) * min(A[k,i])", A=(3, 3)),
    "max over two": simple("M[] = max(A[i,k] ** 2)", A=(3, 4)),
    "product": simple("P[i] = prod(A[i,k])", A=(3, 4)),
    "product over two": simple("P[j] = prod(A[i,j,k])", A=(2, 3, 2)),
    "product of one": simple("P[i] = prod(A[i,k])", A=(3, 1)),
    "product with a condition": simple("P[i] = prod(A[i,k], where=k != 2)", A=(3, 4)),
    "product where data says so": simple("P[i] = prod(A[i,k], where=A[i,k] > 0)", A=(3, 4)),
    "where": simple("W[i,j] = where(A[i,j] > 0.1, log(A[i,j]), A[i,j] ** 3)", A=(3, 4)),
    "where in indices": simple("W[i] = where(i < 3, A[i], A[6-i] * A[0])", A=(6,), W=(6,)),
    "banded": simple("W[i,j] = where((i <= j) & (j < i + 2), A[i,j] ** 2, 0)", A=(4, 4)),
    "clamped": simple("G[i] = A[minimum(i, 3)] * A[maximum(i - 2, 0)] * A[abs(i - 3)]", A=(6,), G=(6,)),
    "minimum and maximum": simple("G[i] = minimum(A[i], B[i]) * maximum(A[i], 0.0)", A=(6,), B=(6,)),
    "gather": simple("E[i,d] = W[I[i],d] ** 2 * W[0,d]", W=(5, 3), I=te.tensor("I", (6,), "int64")),
    "gather summed": simple("E[d] = sum(W[I[i],d] * sin(W[I[i],0]))", W=(5, 3), I=te.tensor("I", (6,), "int64")),
    "label": simple("E[i] = exp(A[i, I[i]])", A=(4, 3), I=te.tensor("I", (4,), "int32")),
    "gather by arithmetic": simple("E[i] = A[2 * I[i] + 1] ** 2", A=(10,), I=te.tensor("I", (4,), "int64")),
    "product of axes": simple("E[i,j] = A[i*j] ** 2", A=(10,), E=(4, 4)),
    "running sum": simple("S[0,j] = X[0,j]; S[t,j] = 0.5*S[t-1,j]*S[t-1,j] + X[t,j]", X=(5, 2), S=(5, 2)),
    "two steps back": simple("S[0] = X[0]; S[1] = X[1]; S[t] = S[t-1] * S[t-2] + X[t]", X=(6,), S=(6,)),
    "along the second axis": simple("S[i,0] = X[i,0]; S[i,t] = tanh(S[i,t-1]) + X[i,t]", X=(2, 5), S=(2, 5)),
    "along both": simple("S[0,j] = X[0,j]; S[i,0] = X[i,0]; S[i,j] = sin(S[i-1,j]) * S[i,j-1] + X[i,j]", X=(3, 4), S=(3, 4)),
    "rnn": simple("S[0,j] = X[0,j]; S[t,j] = tanh(sum(S[t-1,k] * W[k,j])) + X[t,j]", X=(4, 3), W=(3, 3), S=(4, 3)),
    "all earlier steps": simple("S[0] = X[0]; S[t] = sum(S[k] * X[k], axis=k, where=k < t) + X[t]", X=(5,), S=(5,), k=5),
    "rank 0": simple("L[] = a[] * exp(b[]) + a[] ** 2", a=(), b=()),
    "extents of one": simple("C[i,j] = sum(A[i,k] * A[k,j])", A=(1, 1)),
    "powers": simple("C[i] = (A[i] ** 2) ** B[i] + 2.0 ** A[i] + A[i] ** -2 + A[i] ** 1 + A[i] ** 0", A=(4,), B=(4,)),
    "elementary": simple("C[i] = arctan2(A[i], B[i]) * hypot(A[i], B[i]) + copysign(A[i], B[i]) * (A[i] % 0.7) + floor(A[i]) * A[i]", A=(4,), B=(4,)),
}  # fmt: skip


@case
def attention() -> tuple[Any, Any]:
    Q, K, V = real("Q", 3, 2), real("K", 4, 2), real("V", 4, 2)
    S = te.tensor("S")
    S[i, j] = te.sum(Q[i, k] * K[j, k])
    M = te.tensor("M")
    M[i] = te.max(S[i, j])
    P = te.tensor("P")
    P[i, j] = te.exp(S[i, j] - M[i]) / te.sum(te.exp(S[i, l] - M[i]))
    O = te.tensor("O")
    O[i, k] = te.sum(P[i, j] * V[j, k])
    return O, [Q, K, V]


@case
def lstm() -> tuple[Any, Any]:
    X, W, U = real("X", 3, 2), real("W", 2, 3), real("U", 3, 3)
    H, C = real("H", 4, 3), real("C", 4, 3)
    C[0, j] = 0.0
    H[0, j] = 0.0
    C[t, j] = te.sigmoid(te.sum(X[t - 1, k] * W[k, j]) + te.sum(H[t - 1, k] * U[k, j])) * C[t - 1, j] + te.tanh(
        te.sum(X[t - 1, k] * W[k, j])
    )
    H[t, j] = te.tanh(C[t, j]) * te.sigmoid(te.sum(H[t - 1, k] * U[k, j]))
    return [H, C], [X, W, U]


@case
def max_pooling() -> tuple[Any, Any]:
    X, Y = real("X", 1, 2, 7, 7), te.tensor("Y")
    p, q = te.reduce_axis(3, "p"), te.reduce_axis(3, "q")
    Y[n, c, y, x] = te.max(X[n, c, 2 * y + p, 2 * x + q])
    return Y, X


@case
def average_pooling_of_padded() -> tuple[Any, Any]:
    X, Y = real("X", 1, 2, 5, 5), te.tensor("Y")
    P = te.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)))
    p, q = te.reduce_axis(3, "p"), te.reduce_axis(3, "q")
    Y[n, c, y, x] = te.sum(P[n, c, 2 * y + p, 2 * x + q] ** 2) / 9
    return Y, X


@case
def grouped_convolution() -> tuple[Any, Any]:
    X, W = real("X", 1, 4, 5, 5), real("W", 4, 2, 3, 3)
    Y = te.tensor("Y", (1, 4, 3, 3))
    Y[n, f, y, x] = te.sum(X[n, 2 * (f // 2) + c, y + r, x + s] * W[f, c, r, s])
    return Y, [X, W]


@case
def transposed_convolution() -> tuple[Any, Any]:
    """Written as a sum over what reaches an element, as its gradient would be."""
    X, W = real("X", 4), real("W", 3)
    Y = te.tensor("Y", (9,))
    Y[i] = te.sum(
        te.where(
            ((i - r) % 2 == 0) & (i >= r) & (i - r < 8), X[te.maximum(te.minimum((i - r) // 2, 3), 0)] * W[r], 0.0
        ),
        axis=te.reduce_axis(3, "r"),
    )
    return Y, [X, W]


@case
def log_sum_exp_as_a_reducer() -> tuple[Any, Any]:
    def combine(p: Any, q: Any) -> Any:
        m = te.maximum(p[0], q[0])
        return m, te.exp(p[0] - m) * p[1] + te.exp(q[0] - m) * q[1]

    lse = te.reducer((float("-inf"), 0.0), combine)
    A = real("A", 3, 4)
    Y = te.tensor("Y")
    m, total = lse((A[i, j], 1.0), axis=j)
    Y[i] = m + te.log(total)
    return Y, A


@case
def welford() -> tuple[Any, Any]:
    def combine(p: Any, q: Any) -> Any:
        count = p[0] + q[0]
        safe = te.maximum(count, 1.0)
        delta = q[1] - p[1]
        return count, p[1] + delta * q[0] / safe, p[2] + q[2] + delta * delta * p[0] * q[0] / safe

    moments = te.reducer((0.0, 0.0, 0.0), combine)
    A = real("A", 2, 4)
    Y = te.tensor("Y")
    _, mean, m2 = moments((1.0, A[i, j], 0.0), axis=j)
    Y[i] = mean * m2
    return Y, A


@case
def operators() -> tuple[Any, Any]:
    A, B = real("A", 3, 4), real("B", 4, 2)
    return ((A @ B) / (1.0 + A[:, :2] ** 2) - A.T[1:3].sum(0)[:, None] + A[::-1, 1::2]), [A, B]


@case
def parts_that_overlap() -> tuple[Any, Any]:
    A, F = real("A", 3, 4), real("F", 3, 4)
    F[1, j] = A[0, j] * 2.0
    F[i, 2] = A[i, 0] * 3.0
    F[i, j] = A[i, j] ** 2
    return F, A


@case
def gather_in_a_recurrence() -> tuple[Any, Any]:
    X, W, S = real("X", 5, 2), real("W", 3, 2), real("S", 5, 2)
    I = te.tensor("I", (5,), "int64")
    S[0, j] = X[0, j]
    S[t, j] = te.where(X[t, j] > 0, S[t - 1, j] * W[I[t], j], te.maximum(S[t - 1, j], 0.0) + W[I[t], 0])
    return S, [X, W]


@case
def product_over_several_axes_in_a_recurrence() -> tuple[Any, Any]:
    X, S = real("X", 4, 2), real("S", 4, 2)
    S[0, j] = X[0, j]
    S[t, j] = te.prod(S[t - 1, k] * X[t, l], axis=(te.reduce_axis(2, "k"), te.reduce_axis(2, "l")))
    return S, X


@case
def states_between_inputs() -> tuple[Any, Any]:
    """A recurrence of two tensors of which one is a step longer."""
    X, C, H = real("X", 4), real("C", 5), real("H", 4)
    C[0] = X[0]
    C[t] = te.sin(H[t - 1]) * X[t - 1]
    H[t] = C[t] ** 2 + X[t]
    return [C, H], X


@case
def symbolic_states_between_inputs() -> tuple[Any, Any]:
    m = te.var("m", min=1)
    X, W, C, H = real("X", m, 2), real("W", 2, 2), real("C", m + 1, 2), real("H", m, 2)
    C[0, j] = 0.5
    C[t, j] = te.sin(te.sum(H[t - 1, k] * W[k, j])) * X[t - 1, j]
    H[t, j] = te.prod(C[t, k] * te.tanh(W[j, k])) + X[t, j]
    return [C, H], [X, W]


@case
def complex_products_as_a_reducer() -> tuple[Any, Any]:
    turned = te.reducer((1.0, 0.0), lambda p, q: (p[0] * q[0] - p[1] * q[1], p[0] * q[1] + p[1] * q[0]))
    A, B, Y = real("A", 3, 4), real("B", 4, 2), te.tensor("Y")
    u, v = turned((A[i, j], B[j, k]), axis=(j, k))
    Y[i] = u * v
    return Y, [A, B]


@case
def several_results() -> tuple[Any, Any]:
    A = real("A", 3, 4)
    p, q = te.compute((3, 4), lambda i, j: (te.sin(A[i, j]), A[i, j] * A[i, 0]), name="pair")
    return [p, q], A


@case
def symbolic_sizes() -> tuple[Any, Any]:
    m = te.var("m", min=1)
    A, B = real("A", m, m + 2), te.tensor("B")
    B[i] = te.sum(A[i, j] * A[i, j + 1])
    return [B, A @ A.T], A


@case
def symbolic_convolution() -> tuple[Any, Any]:
    h = te.var("h", min=7)
    X, W, Y = real("X", h), real("W", 3), te.tensor("Y")
    Y[y] = te.sum(X[2 * y + r] * W[r])
    return Y, [X, W]


@case
def symbolic_product_and_recurrence() -> tuple[Any, Any]:
    m = te.var("m", min=1)
    A = real("A", 2, m)
    P, S = te.tensor("P"), real("S", m, 2)
    P[i] = te.prod(A[i, j])
    S[0, i] = A[i, 0]
    S[t, i] = te.sin(S[t - 1, i]) * A[i, t]
    return [P, S], A
