"""Definitions from strings: what is read, what it means, and what is refused, with the place shown."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import tedsl as te
from tedsl.lang.functions import FUNCTIONS
from tedsl.lang.reductions import REDUCERS


def evaluate(text: str, arrays: dict[str, np.ndarray], **names: Any) -> Any:
    tensors = {n: te.tensor(n, a.shape, a.dtype) for n, a in arrays.items()}
    return te.evaluate(te.define(text, **tensors, **names), {tensors[n]: a for n, a in arrays.items()})


def test_the_three_notations_print_alike() -> None:
    i, j, k = te.axes("i j k")
    A, B, C = te.tensor("A", (5, 7)), te.tensor("B", (3, 7)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    D = te.define("C[i,j] = sum(A[i,k] * B[j,k])", A=(5, 7), B=(3, 7))
    K = te.reduce_axis(7, "k")
    E = te.compute((5, 3), lambda i, j: te.sum(A[i, K] * B[j, K], axis=K), name="C")
    assert str(C) == str(D) == str(E) == "C[i, j] = sum(A[i, k] * B[j, k], axis=k)"
    assert C.shape == D.shape == E.shape == (5, 3)
    assert [t.name for t in D.inputs] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2.0 ** -1", 0.5),
        ("7 // 2 * 2", 6),
        ("7 - 2 - 1", 4),
        ("-7 // 2", -4),
        ("-7 % 3", 2),
        ("1 << 2 + 1", 8),
        ("6 & 3 | 8 ^ 1", 11),
        ("~5 + 1", -5),
        ("- - 3", 3),
        ("+3", 3),
        ("1e3", 1000.0),
        ("1.5E-1", 0.15),
        (".5 + 1.", 1.5),
        ("-inf", -np.inf),
        ("maximum(2, 3) - minimum(2, 3)", 1),
        ("where(1 < 2, 4, 5)", 4),
        ("1 + 1 == 2", True),
        ("(1 < 2) & (3 != 3)", False),
        ("True", True),
        ("~(1 <= 2) | (2 >= 1)", True),
        ("(1 > 2) ^ True", True),
        ("cast(7, float32) / 2", 3.5),
        ("cast(2.9, 'int32')", 2),
        ("abs(-3) + pow(2, 3) + round(2.5)", 13.0),
        ("((((1))))", 1),
    ],
)
def test_operators_are_those_of_python(text: str, value: Any) -> None:
    L = te.define(f"L[] = {text}")
    assert te.evaluate(L, {})[()] == value


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if not FUNCTIONS[n].symbol or FUNCTIONS[n].arity == 1])
def test_every_function_is_known_by_name(name: str) -> None:
    arity = FUNCTIONS[name].arity
    dtype = "bool" if name == "where" else "int32" if name == "invert" else "float32"
    arguments = ", ".join(f"A{n}[i]" for n in range(arity))
    tensors = {f"A{n}": te.tensor(f"A{n}", (4,), dtype if n == 0 else "float32") for n in range(arity)}
    T = te.define(f"T[i] = {name}({arguments})", **tensors)
    assert T.parts[0].values[0].function == name  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [n for n in REDUCERS if not n.startswith("machine")])
def test_every_reduction_is_known_by_name(name: str, rng: np.random.Generator) -> None:
    a = rng.standard_normal((4, 6))
    want = getattr(np, name)(a if name not in ("any", "all") else a != 0, axis=1)
    np.testing.assert_allclose(evaluate(f"T[i] = {name}(A[i,j])", {"A": a}), want)


def test_options_of_reductions(rng: np.random.Generator) -> None:
    a = rng.standard_normal((4, 6)).astype("float32")
    np.testing.assert_allclose(
        evaluate("T[i] = sum(A[i,j], axis=j, where=A[i,j] > 0)", {"A": a}), a.sum(1, where=a > 0), rtol=1e-5
    )
    assert evaluate("T[] = sum(A[i,j], axis=(i, j), dtype=float64)", {"A": a}).dtype == np.float64
    np.testing.assert_array_equal(evaluate("T[i] = max(A[i,j], nan=unspecified)", {"A": a}), a.max(1))
    np.testing.assert_array_equal(evaluate("T[i] = max(A[i,j], axis='j')", {"A": a}), a.max(1))
    T = te.define("T[i] = sum(A[i+r], axis=r)", A=(6,), r=te.reduce_axis((1, 3), "r"))
    np.testing.assert_array_equal(te.evaluate(T, {"A": np.arange(6, dtype="float32")}), [3, 5, 7, 9])


def test_extents_and_shapes_from_keywords() -> None:
    assert te.define("Y[y] = max(X[2*y+r])", X=(8,), r=2).shape == (4,)
    assert te.define("Y[i] = X[i]", X=(8,), Y=(5,)).shape == (5,)
    assert te.define("Y[i] = 2 * i", i=3).shape == (3,)
    assert te.define("Y[i] = X[i]", X=8).shape == (8,)
    n = te.var("n")
    assert te.define("Y[i] = i * m", i=n, m=2.5).shape == (n,)
    T = te.tensor("T", dtype="float64")
    assert te.define("Q[i] = X[i]", X=(8,), Q=T) is T and T.dtype == "float64"


def test_sizes_are_known_by_name() -> None:
    n, m = te.var("n", min=1), te.var("m")
    Y = te.define("Y[i] = X[n - 1 - i] / n", X=(n,))
    np.testing.assert_array_equal(
        te.evaluate(Y, {"X": np.array([1, 2, 4], "float32")}), np.array([4, 2, 1], "float32") / 3
    )
    # a name that is an axis stays one, whatever sizes there are
    assert str(te.define("Y[n] = X[n]", X=(n,))) == "Y[n] = X[n]"
    assert te.define("Y[y] = sum(X[m*y+r], axis=r)", X=(100,), Y=(n,), r=0, m=m).shape == (n,)


def test_numbers_functions_and_reducers_as_keywords(rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 9)).astype("float32")

    def combine(p: Any, q: Any) -> Any:
        m = te.maximum(p[0], q[0])
        return m, p[1] * te.exp(p[0] - m) + q[1] * te.exp(q[0] - m)

    lse = te.reducer((-3.0e38, 0.0), combine)
    X = te.tensor("X", x.shape)
    M, S = te.define("M[i], S[i] = lse((X[i,k], 1.0), axis=k)", X=X, lse=lse)
    got = te.evaluate([M, S], {X: x})
    np.testing.assert_allclose(got[0] + np.log(got[1]), np.logaddexp.reduce(x, axis=1), rtol=1e-5)
    L = te.define("L[i] = lse(X[i,k], 1.0)[0] + log(lse(X[i,k], 1.0)[1])", X=X, lse=lse)
    np.testing.assert_allclose(te.evaluate(L, {X: x}), np.logaddexp.reduce(x, axis=1), rtol=1e-5)
    relu = te.define("Y[i,j] = relu(X[i,j]) * alpha", X=X, relu=lambda v: te.maximum(v, 0), alpha=0.5)
    np.testing.assert_array_equal(te.evaluate(relu, {X: x}), np.maximum(x, 0) * np.float32(0.5))


def test_several_equations() -> None:
    S = te.define("S[0,j] = X[0,j]; S[t,j] = 0.5*S[t-1,j] + X[t,j]", X=(7, 3), S=(7, 3))
    assert str(S) == "S[0, j] = X[0, j]; S[t, j] = 0.5 * S[t - 1, j] + X[t, j]"
    R, T = te.define(
        """
        R[i] = sum(A[i,j])      # the rows
        T[i,j] = A[i,j] /
                 R[i];
        """,
        A=(4, 5),
    )
    assert (R.shape, T.shape) == ((4,), (4, 5))
    M, N = te.define("M[i], N[i] = max(A[i,j]), min(A[i,j])", A=(4, 5))
    assert M.definition is N.definition and (M.component, N.component) == (0, 1)


def test_two_recurrences_that_read_one_another() -> None:
    H, C = te.define(
        "H[0] = 1; C[0] = 2; H[t] = H[t-1] + C[t-1]; C[t] = H[t] * 2",
        H=te.tensor("H", (4,), "int64"),
        C=te.tensor("C", (4,), "int64"),
    )
    got = te.evaluate([H, C], {})
    np.testing.assert_array_equal(got[0], [1, 3, 9, 27])
    np.testing.assert_array_equal(got[1], [2, 6, 18, 54])


def test_no_dimensions_and_bare_names() -> None:
    for text in ("L[] = sum(A[i]) * s", "L[()] = sum(A[i]) * s[]"):
        L = te.define(text, A=(4,), s=())
        assert L.shape == () and [t.name for t in L.inputs] == ["A", "s"]


def test_names_need_not_be_ascii() -> None:
    T = te.define("Ä[α] = sum(θ[α,κ])", θ=(3, 4))
    assert str(T) == "Ä[α] = sum(θ[α, κ], axis=κ)"
    # Python reads the keyword ﬁ as fi
    assert te.define("T[i] = ﬁ[i]", ﬁ=(3,)).shape == (3,)


def test_what_is_printed_is_read_again() -> None:
    i, j, k = te.axes("i j k")
    A, B = te.tensor("A", (6, 6)), te.tensor("B", (6, 6), dtype="int32")
    values = [
        -(A[i, j] ** 2),
        (-A[i, j]) ** 2.5,
        A[i, j] - (1 - A[j, i]),
        A[i, j] / (A[i, i] / A[j, j]),
        (A[i, j] ** 2) ** 3,
        2 - -A[i, j],
        te.where((A[i, j] > 0) & ((i < 2) | ~(j != 3)), A[i, j], -np.inf),
        B[i, j] // 3 % 2 - B[j, i] % (B[i, i] + 1),
        B[i, j] & 3 | B[j, i] ^ 1,
        te.cast(B[i, j], "float64") * 0.1,
        te.sum(A[i, k] * A[k, j], where=A[i, k] > 0),
        te.max(te.sum(A[i, k], axis=k) + A[j, i]),
        te.argmax(A[i, j] + A[i, k], axis=("k",)),
        A[5 - i, (i + j) % 6],
        A[te.minimum(i + 1, 5), j // 2],
        te.exp(A[i, j]) / te.sum(te.exp(A[i, k])),
        B[i, j] << 2 >> 1,
        (A[i, j] < 1) == (A[j, i] < 1),
        te.maximum(A[i, j], 1e-30) + 1e300,
        te.max(A[i, k], nan="unspecified") + j,
    ]
    for value in values:
        T = te.tensor("T", (6, 6))
        try:
            T[i, j] = value
        except te.DefinitionError:
            T = te.tensor("T", (6,))
            T[i] = value
        read = {t.name: t for t in (A, B) if f"{t.name}[" in str(T)}
        again = te.define(str(T), **read, T=T.shape)
        assert str(again) == str(T)
        assert again.dtype == T.dtype


CASES = [
    # text, the place of the caret (counted from 0), words of the message
    ("C[i,j] = __import__('os').system('true')", 25, "unexpected '.'"),
    ("C[i,j] = __import__('os')", 9, "the function __import__ is not known"),
    ("C[i,j] = A[i,k].x", 15, "unexpected '.'"),
    ("C[i,j] = sum(A[i,k]", 19, "expected ) to close the (, found the end"),
    ("C[i,j] == A[i,j]", 7, "expected = after the left side, found =="),
    ("C[i,j] = unknown(A[i,j])", 9, "the function unknown is not known; pass it as a keyword, unknown=…"),
    ("C[i,j] = exo(A[i,j])", 9, "the function exo is not known; did you mean exp"),
    ("C[i,j] = Q[i,j]", 9, "the tensor Q is not known; pass its shape, Q=(n, m), or a tensor"),
    ("C[i,j] += A[i,j]", 7, "what is summed stands in sum(…) on the right"),
    ("C[i,j] = A[i,j] and 1", 16, "found and; write &"),
    ("C[i,j] = not A[i,j]", 9, "found not; write ~"),
    ("C[i,j] = A[i,j] if 1 else 2", 16, "write where(condition, a, b)"),
    ("C[i,j] = 0 < A[i,j] < 1", 20, "comparisons do not chain; write (a < b) & (b < c)"),
    ("C[i] = max(A[i,j], 0)", 19, "the larger of two values is maximum(a, b)"),
    ("C[i] = min(A[i,j], 0)", 19, "the smaller of two values is minimum(a, b)"),
    ("C[i] = sum(A[i,j], j)", 19, "the axes are given by name, axis=k"),
    ("C[i] = sum()", 7, "sum takes one expression"),
    ("C[i] = sum(A[i,j], ax=j)", 19, "ax= is none of them"),
    ("C[i] = sum(A[i,j], axis=2*j)", 25, "expected an axis"),
    ("C[i] = sum(A[i,j], axis=j, axis=j)", 27, "axis= is given twice"),
    ("C[i] = sum(axis=j, A[i,j])", 19, "stands before those with one"),
    ("C[i] = sum(A[i,j], dtype=float33)", 7, "'float33' is not a dtype"),
    ("C[i] = max(A[i,j], nan=never)", 7, "propagate or unspecified"),
    ("C[i,j] = exp(A[i,j], axis=i)", 21, "exp is elementwise and takes no axis="),
    ("C[i,j] = exp(A[i,j], 2)", 9, "exp takes 1 operand, got 2"),
    ("C[i,j] = cast(A[i,j], float33)", 22, "'float33' is not a dtype"),
    ("C[i,j] = cast(A[i,j])", 9, "cast takes an expression and a dtype"),
    ("C[i,j] = exp", 9, "exp is a function; it takes parentheses"),
    ("C[i,j] = exp[i]", 9, "exp is a function; it takes parentheses"),
    ("C[i,j] = A(i,j)", 9, "A is a tensor; its indices stand in brackets"),
    ("C[i,j] = A", 9, "`A` is a tensor of 2 dimensions"),
    ("C[i,j] = A[i]", 9, "A[i] has 1 index, but A has 2 dimensions"),
    ("C[i,j] = A[i,0.5]", 9, "an index is a whole number"),
    ("C[i,j] = A[i,j] & 1", 16, "bitwise_and works on integers and bool"),
    ("C[i,j] = A[:,j]", 11, "slices are for tensors in Python"),
    ("C[i,j] = A[i,j] @ A[j,i]", 16, "write the product as a sum over an axis"),
    ("C[i,j] = {A[i,j]}", 9, "write parentheses"),
    ("C[i,j] = 'x'", 9, "the text 'x' has no place here"),
    ("C[i,j] = 'x", 9, "does not end"),
    ("C[i,j] = (A[i,j], 1)", 9, "a tuple has no place here"),
    ("C[i,j] = ()", 9, "a tuple has no place here"),
    ("C[i,j] = A[i,j] A[j,i]", 16, "expected an operator, or the end of the equation, found A"),
    ("C[i,j] = 2i", 10, "expected an operator, or the end of the equation, found i"),
    ("C[i,j] = 1e999", 9, "1e999 is out of the range of float64"),
    ("C[i,j] = 1e-999", 9, "1e-999 is out of the range of float64"),
    ("C[i,j] = " + 500 * "9", 9, "a number of 500 digits"),
    ("C[i,j] = A[i,j])", 15, "this ) closes nothing"),
    ("C[i,j] = (A[i,j]]", 16, "expected ) to close the (, found ]"),
    ("C[i,j] = A[i,j", 14, "expected ] to close the [, found the end"),
    ("C[i,j] = A[i j]", 13, "expected , or ] after an index of A, found j"),
    ("C[i,j] = exp(A[i,j] 2)", 20, "expected , or ) in the arguments of exp, found 2"),
    ("C[i,j] = ", 9, "expected a number, a tensor's element, an axis or a function, found the end"),
    ("C[i,j] = 1 +", 12, "found the end"),
    ("C[i,j] = * 2", 9, "found *"),
    ("C[i,j]", 6, "expected = after the left side, found the end"),
    ("C = A[i,j]", 2, "expected [ after C (a tensor without dimensions is C[])"),
    ("2 = A[i,j]", 0, "expected the name of the tensor that is defined"),
    ("C[i+1,j] = A[i,j]", 3, "the left side of C holds axes and whole numbers"),
    ("C[i,j] = A[i,j] = A[i,j]", 16, "a comparison is ==, equations are separated by ;"),
    ("C[i,j], D[i,j] = A[i,j]", 17, "there is 1 right side for 2 left"),
    ("C[i,j], D[j,i] = A[i,j], A[i,j]", 8, "tensors that are defined together have the same left side"),
    ("C[t,j] = C[t-1,j]", 9, "C reads its own earlier steps, so its shape is needed: pass its shape, C=(n, m)"),
    ("C[i] = D[i]; D[i] = sum(A[i,j])", 7, "D is defined further down: pass its shape, D=(n,)"),
    ("C[i] = sum(A[i,j])[0]", 18, "sum(…) is a single value, without components"),
    ("C[i] = sum(A[i,j])[j]", 19, "expected a whole number"),
    ("C[i] = D + sum(A[i,j]); D[i] = 1", 7, "D is a tensor that is defined here; give its indices"),
    ("nan[i] = sum(A[i,j])", 0, "nan is a constant"),
    ("C[inf] = sum(A[i,j])", 2, "the left side of C holds axes"),
    ("", 0, "it is empty; write an equation"),
    (" ;\n; ", 0, "it is empty"),
    ("C[i,j] = " + 60 * "(" + "1" + 60 * ")", 59, "it is nested more than 50 deep here"),
    ("C[i,j] = " + 5000 * "-" + "1", 59, "it is nested more than 50 deep here"),
    ("C[i,j] = " + 500 * "2**" + "2", 159, "it is nested more than 50 deep here"),
    ("C[i,j] = 1" + 5000 * "+1", 308, "more than 150 operators hang together here"),
    ("\0", 0, r"unexpected '\x00'"),
    ("C[i,j] = A[i,j]\\n", 15, r"unexpected '\\'"),
    ("C[i,j] = A[i,j]!", 15, "unexpected '!'"),
]


@pytest.mark.parametrize(("text", "place", "words"), CASES)
def test_refusals_show_the_place(text: str, place: int, words: str) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        te.define(text, A=(2, 2))
    message = caught.value.message
    assert words in message
    assert "test_notation.py" in str(caught.value)
    shown, caret = message.splitlines()[-2:]
    assert len(caret) < 130 and caret.strip() == "^"
    if "\0" not in text and text.strip(" ;\n"):
        # what stands above the caret is what stands at the place
        at = caret.index("^")
        assert shown[at : at + 5].rstrip("…") == text[place : place + len(shown[at : at + 5].rstrip("…"))]


def test_the_line_of_the_error_is_shown_alone() -> None:
    with pytest.raises(te.DefinitionError) as caught:
        te.define("R[i] = sum(A[i,j])\n\tT[i] = exo(R[i])\nU[i] = R[i]", A=(2, 2))
    assert caught.value.message.endswith("\n  \tT[i] = exo(R[i])\n  \t       ^")


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("C[i,j] = A[i,j]", {"A": (2, 2), "Z": 3}, "given Z=, but there is no Z in `C[i,j] = A[i,j]`"),
        ("C[i,j] = A[i,j]", {"A": (2, 2), "Z": 3, "Y": 1.0}, "given Z=, Y=, but there is no Z and no Y"),
        ("C[i,j] = A[i,j]", {"A": np.ones((2, 2))}, "A is a NumPy array; declare A=te.tensor('A', (2, 2), 'float64')"),
        ("C[i,j] = A[i,j]", {"A": "text"}, "A is used as a tensor, but A='text' is neither a tensor nor a shape"),
        ("C[i,j] = A[i,j]", {"A": (2, -1)}, "extent 1 of A is -1; an extent is at least 0"),
        ("C[i] = X[i] * a", {"X": (3,), "a": "text"}, "a='text' is neither an extent, a number, a size nor a tensor"),
        ("C[i] = X[i] * a", {"X": (3,), "a": np.ones(3)}, "a is a NumPy array"),
        (
            "C[i] = X[i] + f(X[i], axis=i)",
            {"X": (3,), "f": lambda x: x},
            "the function f takes arguments without names here",
        ),
        ("C[i] = f(X[i])", {"X": (3,), "f": lambda x: None}, "None (NoneType) is neither a number nor an expression"),
        ("Y[y] = max(X[2*y+r])", {"X": (8,), "r": -2}, "the extent of r is -2"),
        (
            "C[i] = X[i,j]",
            {"X": (3, 4)},
            "the axis j is on the right side of C[i] but neither on the left nor in a reduction",
        ),
    ],
)
def test_refusals_of_names(text: str, names: dict[str, Any], words: str) -> None:
    with pytest.raises(te.DefinitionError) as caught:
        te.define(text, **names)
    assert words in str(caught.value)
    assert "test_notation.py" in str(caught.value)


def test_only_text_is_read() -> None:
    with pytest.raises(te.DefinitionError, match=r"takes a string .* not int"):
        te.define(3)  # type: ignore[arg-type]
    with pytest.raises(te.DefinitionError, match="at most 50000 are read"):
        te.define("C[i] = A[i]" + " " * 50_000, A=(2,))


def test_no_text_crashes_the_parser() -> None:
    """Texts with random characters cut out, put in and doubled: an answer or a DefinitionError, nothing else."""
    start = "C[i] = sum(where(A[i,j] > -1e9, A[j,i], 0.5), axis=j) ** 2"
    pieces = [
        *"CAijk019.,;=()[]+-*/%&|^~<>!'\" \n#@:{}_",
        "==",
        "**",
        "//",
        "sum(",
        "where",
        "axis=",
        "A[i,j]",
        "and",
        "-",
    ]
    draw = random.Random(0)
    accepted = 0
    for _ in range(1000):
        text = start
        for _ in range(draw.randrange(1, 4)):
            a = draw.randrange(len(text) + 1)
            b = min(a + draw.randrange(1, 8), len(text))
            edits = [text[:a] + text[b:], text[:a] + draw.choice(pieces) + text[a:], text[:b] + text[a:]]
            text = draw.choice(edits)
        try:
            te.define(text, A=(2, 2))
            accepted += 1
        except te.DefinitionError:
            pass
    assert 20 < accepted < 500


def test_a_user_near_the_limit_of_the_stack_gets_an_error() -> None:
    def deep(levels: int) -> Any:
        return deep(levels - 1) if levels else te.define("C[i,j] = " + 49 * "(" + "A[i,j]" + 49 * ")", A=(2, 2))

    import sys

    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    with pytest.raises(te.DefinitionError, match="nested too deeply"):
        deep(sys.getrecursionlimit() - depth - 60)
