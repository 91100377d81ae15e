"""Gradients as mathematics, in text and LaTeX."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tedsl as te
from tedsl.cli import main

i, j, k, n, f, c, y, x, r, s = te.axes("i j k n f c y x r s")


def gradient(text: str, wrt: str, **shapes: tuple[int, ...]) -> str:
    out = te.define(text, **shapes)
    tensor = next(t for t in out.inputs if t.name == wrt)
    seed = te.tensor(f"d{out.name}", out.shape)
    return te.show(te.vjp(out, tensor, seed) if out.rank else te.grad(out, tensor))


@pytest.mark.parametrize(
    "text, wrt, shapes, want",
    [
        ("C[i,j] = sum(A[i,k] * B[j,k])", "A", {"A": (4, 3), "B": (5, 3)}, "dA[i,k] = sum_j dC[i,j] * B[j,k]"),
        ("C[i,j] = sum(A[i,k] * B[j,k])", "B", {"A": (4, 3), "B": (5, 3)}, "dB[j,k] = sum_i dC[i,j] * A[i,k]"),
        ("C[i,j] = A[i,j] + A[j,i]", "A", {"A": (4, 4)}, "dA[i,j] = dC[i,j] + dC[j,i]"),
        ("C[i] = A[i,i]", "A", {"A": (4, 4)}, "dA[i,j] = where(i == j, dC[i], 0)"),
        ("C[i,j] = A[i]", "A", {"A": (4,), "C": (4, 3)}, "dA[i] = sum_j dC[i,j]"),
        ("C[i] = 3 * A[i] - A[i]", "A", {"A": (4,)}, "dA[i] = 2 * dC[i]"),
        ("C[i] = A[i] * A[i] / 2", "A", {"A": (4,)}, "dA[i] = dC[i] * A[i]"),
        ("C[i] = A[i] ** 2", "A", {"A": (4,)}, "dA[i] = 2 * dC[i] * A[i]"),
        ("C[i] = exp(A[i])", "A", {"A": (4,)}, "C[i] = exp(A[i])\ndA[i] = dC[i] * C[i]"),
        ("C[i] = -log(A[i])", "A", {"A": (4,)}, "dA[i] = -dC[i] / A[i]"),
        ("C[i] = A[3*i]", "A", {"A": (12,)}, "dA[i] = where(i % 3 == 0, dC[i // 3], 0)"),
        ("C[i,j] = A[4*i+j]", "A", {"A": (12,), "C": (3, 4)}, "dA[j] = dC[j // 4,j % 4]"),
        ("C[i] = A[i//2]", "A", {"A": (6,), "C": (12,)}, "dA[i] = sum_r dC[2 * i + r]"),
        ("C[i] = A[5-i]", "A", {"A": (6,), "C": (6,)}, "dA[i] = dC[5 - i]"),
        ("L[] = sum(A[i,j])", "A", {"A": (6, 3)}, "dA[i,j] = 1"),
        ("L[] = sum(A[i] * B[i])", "A", {"A": (6,), "B": (6,)}, "dA[i] = B[i]"),
        ("Y[y] = sum(X[y+r] * W[r])", "X", {"X": (8,), "W": (3,)}, "dY.padded[y] = where((y >= 2) & (y < 8), dY[y - 2], 0)\ndX[y] = sum_r dY.padded[y - r + 2] * W[r]"),
        ("Y[y] = sum(X[y+r] * W[r])", "W", {"X": (8,), "W": (3,)}, "dW[r] = sum_y dY[y] * X[y + r]"),
        ("Y[i] = max(X[i,k])", "X", {"X": (3, 4)}, "Y[i] = max_k X[i,k]\nY.ties[i] = sum_k where(X[i,k] == Y[i], 1, 0)\ndX[i,k] = where(X[i,k] == Y[i], dY[i] / Y.ties[i], 0)"),
    ],
)  # fmt: skip
def test_text(text: str, wrt: str, shapes: dict[str, tuple[int, ...]], want: str) -> None:
    assert gradient(text, wrt, **shapes) == want


def test_a_convolution_has_a_sum_for_each_residue_class() -> None:
    text = gradient("Y[n,f,y,x] = sum(X[n,c,2*y+r,2*x+s] * W[f,c,r,s])", "X", X=(2, 3, 9, 9), W=(4, 3, 3, 3))
    even = "where(x % 2 == 0, dX.class00[n,c,y // 2,x // 2], dX.class01[n,c,y // 2,x // 2])"
    odd = "where(x % 2 == 0, dX.class10[n,c,y // 2,x // 2], dX.class11[n,c,y // 2,x // 2])"
    assert text.splitlines() == [
        "dY.padded[n,f,y,x] = where((y >= 1) & (y < 5) & (x >= 1) & (x < 5), dY[n,f,y - 1,x - 1], 0)",
        "dX.class00[n,c,y,x] = sum_{f,r,s} dY.padded[n,f,y - r + 1,x - s + 1] * W[f,c,2 * r,2 * s]",
        "dX.class01[n,c,y,x] = sum_{f,r} dY.padded[n,f,y - r + 1,x + 1] * W[f,c,2 * r,1]",
        "dX.class10[n,c,y,x] = sum_{f,s} dY.padded[n,f,y + 1,x - s + 1] * W[f,c,1,2 * s]",
        "dX.class11[n,c,y,x] = sum_f dY.padded[n,f,y + 1,x + 1] * W[f,c,1,1]",
        f"dX[n,c,y,x] = where(y % 2 == 0, {even}, {odd})",
    ]


def test_a_window_of_a_quotient_keeps_its_conditions() -> None:
    text = gradient("Y[y] = sum(X[y+r] ** 2 * Z[y])", "X", X=(8,), Z=(6,))
    assert text == "dX[y] = sum_{r | r <= y, y <= r + 5} 2 * dY[y - r] * Z[y - r] * X[y]"


def test_a_scatter_add() -> None:
    W, I, E = te.tensor("W", (5, 3)), te.tensor("I", (6,), "int64"), te.tensor("E")
    E[i, j] = W[I[i], j]
    g = te.vjp(E, W, te.tensor("dE", (6, 3)))
    assert te.show(g) == "dW[I[i],j] += dE[i,j]  over i, j"
    assert str(g) == "dW[I[i], j] += dE[i, j]  over i, j"
    assert te.show(g, latex=True) == r"\mathrm{d}W_{I_{i},j} \mathrel{+}= \mathrm{d}E_{i,j}  \quad \forall\, i, j"


def test_precedence_of_sums() -> None:
    A = te.tensor("A", (3, 4))
    for text, want in {
        "sum(A[i,k]) * 2": "(sum_k A[i,k]) * 2",
        "sum(A[i,k] + 1) - 3": "sum_k (A[i,k] + 1) - 3",
        "2 - sum(A[i,k])": "2 - sum_k A[i,k]",
        "sum(A[i,k] * A[i,k]) ** 2": "(sum_k A[i,k] * A[i,k]) ** 2",
        "-(A[i,0] + 1) / -A[i,1] ** -2": "-(A[i,0] + 1) / -A[i,1] ** (-2)",
    }.items():
        assert te.show(te.define(f"S[i] = {text}", A=A)) == f"S[i] = {want}"


def test_latex() -> None:
    S = te.define(
        "S[i,j] = exp(A[i,j]) / sqrt(sum(A[i,k] ** 2, where=k < i)) + where(A[i,j] > 0, A[i,j // 2], -0.5)", A=(4, 4)
    )
    assert te.show(S, latex=True) == (
        r"S_{i,j} = \frac{\exp\left(A_{i,j}\right)}{\sqrt{\sum_{\substack{k \\ k < i}} A_{i,k}^{2}}} + "
        r"\begin{cases} A_{i,\left\lfloor \frac{j}{2} \right\rfloor} & A_{i,j} > 0 \\ -0.5 & \text{otherwise} \end{cases}"
    )


def test_a_sum_says_where_it_begins() -> None:
    text = "S[0,j] = X[0,j]; S[t,j] = tanh(sum(S[t-1,k] * W[k,j])) + X[t,j]"
    shown = gradient(text, "W", X=(4, 3), W=(3, 3), S=(4, 3)).splitlines()[-1]
    assert shown == "dW[k,j] = sum_{t | t >= 1} dS.sum.backward[3 - t,j] * S[t - 1,k]"
    S = te.define(text, X=(4, 3), W=(3, 3), S=(4, 3))
    dW = te.show(te.vjp(S, S.inputs[1], te.tensor("dS", S.shape)), latex=True).splitlines()[-1]
    assert r"\sum_{\substack{t \\ t \ge 1}}" in dW


def test_reductions_of_one_value_are_that_value() -> None:
    assert gradient("P[i] = prod(X[i,k])", "X", X=(3, 1)) == "dX[i,k] = dP[i]"


def test_numbers_that_take_the_places_of_values_leave_no_trace() -> None:
    """Of a reducer's combine: no `1 *`, no `+ 0`."""
    X, Y = te.tensor("X", (3, 4)), te.tensor("Y")
    pair = te.reducer((0.0, 0.0), lambda p, q: (p[0] * q[1] + q[0], p[1] + q[1] * 1.0))
    Y[i] = pair((X[i, k], 1.0), axis=k)[0]
    text = te.show(te.vjp(Y, X, te.tensor("dY", (3,))))
    assert " 1 *" not in text and "* 1" not in text and "+ 0" not in text


def test_differences_are_written_as_such() -> None:
    assert (
        gradient("C[i] = A[i] * B[i] - A[i] * D[i] * 2", "A", A=(4,), B=(4,), D=(4,))
        == "dA[i] = dC[i] * B[i] - 2 * dC[i] * D[i]"
    )


def test_names_that_latex_reads_otherwise() -> None:
    A = te.tensor("a%b_c#1$", (3,))
    assert (
        te.show(te.grad((A * A).sum(), A), latex=True) == r"\mathrm{da\%b\_c\#1\$}_{i} = 2 \, \mathrm{a\%b\_c\#1\$}_{i}"
    )


def test_names_are_told_apart() -> None:
    A, B = te.tensor("A", (3,)), te.tensor("A", (3,))
    assert te.show(A * B).endswith("A[i] * A_1[i]")


def test_inputs_show_their_name() -> None:
    assert te.show(te.tensor("A", (3,))) == "A"


def test_the_text_is_the_same_in_every_run() -> None:
    program = (
        "import tedsl as te\n"
        "Y = te.define('Y[n,f,y,x] = sum(X[n,c,2*y+r,2*x+s] * W[f,c,r,s]) ** 2', X=(2,3,9,9), W=(4,3,3,3))\n"
        "print(te.show(te.vjp(Y, Y.inputs, te.tensor('s', Y.shape))))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONSAFEPATH": "1"},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["grad", *words])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "C[i,j] = sum(A[i,k]*B[j,k])", "--wrt", "A") == (0, "dA[i,k] = sum_j dC[i,j] * B[j,k]\n", "")
    _, out, _ = run(capsys, "C[i,j] = sum(A[i,k]*B[j,k])", "--wrt", "A,B", "--latex")
    assert (
        out
        == "\\mathrm{d}A_{i,k} = \\sum_{j} \\mathrm{d}C_{i,j} \\, B_{j,k}\n\\mathrm{d}B_{j,k} = \\sum_{i} \\mathrm{d}C_{i,j} \\, A_{i,k}\n"
    )
    assert run(capsys, "L[] = sum(A[i]**2)", "--wrt", "A")[1] == "dA[i] = 2 * A[i]\n"
    assert run(capsys, "C[i,j] = sum(A[i,k]*A[k,j])", "--wrt", "A", "A=4x4")[0] == 0
    assert run(capsys, "C[i,j] = A[i] * B[j]", "--wrt", "A")[1] == "dA[i] = sum_j dC[i,j] * B[j]\n"
    assert run(capsys, "E[i,d] = W[I[i],d]", "--wrt", "W")[1] == "dW[I[i],d] += dE[i,d]  over i, d\n"
    assert run(capsys, "Y[y] = max(X[2*y + r])", "--wrt", "X", "X=8", "r=2")[0] == 0
    assert "dS.backward" in run(capsys, "S[0,j] = X[0,j]; S[t,j] = 0.5*S[t-1,j] + X[t,j]", "--wrt", "X")[1]


@pytest.mark.parametrize(
    "words, message",
    [
        (["C[i] = A[i]", "--wrt", "B"], "--wrt B: the expression reads A"),
        (["C[i] = A[i]", "--wrt", "A", "A=4y"], "NAME=4x3"),
        (["C[i] = A[i]", "--wrt", "A", "A=4x3"], "2 dimensions"),
        (["C[i] = A[i]", "--wrt", "A", "A=4", "A=5"], "given twice"),
        (["C[i] = argmax(A[i,k])", "--wrt", "A"], "int64"),
        (["C[i] = A[i", "--wrt", "A"], "A[i"),
    ],
)
def test_command_refuses(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    status, out, err = run(capsys, *words)
    assert status == 2 and out == "" and message in err
