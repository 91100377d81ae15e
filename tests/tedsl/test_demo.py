"""The demo: its data, its operator, and the whole of it."""

from __future__ import annotations

import numpy as np
import pytest

import tedsl as te
from tedsl import demo


def test_the_digits_are_the_1797_of_the_source() -> None:
    images, labels = demo.digits()
    assert images.shape == (1797, 64) and images.dtype == np.float32 and (images.min(), images.max()) == (0, 16)
    # What the set's description says of its test part: the number of images of each digit.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0] and labels[:10].tolist() == list(range(10))


def test_nearest_agrees_with_numpy_and_the_reference() -> None:
    images, _ = demo.digits()
    unknown, known = images[900:940], images[:50]
    D, N = demo.nearest(40, 50)
    want = ((unknown[:, None] - known) ** 2).sum(2)  # whole numbers below 2**24, so exact in any order
    distances, found = te.build([D, N])(unknown, known)
    np.testing.assert_array_equal(distances, want)
    np.testing.assert_array_equal(found, want.argmin(1))
    X, Y = D.inputs
    np.testing.assert_array_equal(te.evaluate(N, {X: unknown, Y: known}), want.argmin(1))
    for form in (demo.numpy_expanded, demo.numpy_direct):
        np.testing.assert_array_equal(form(unknown, known), want.argmin(1))


def test_the_whole_demo(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SECONDS", 0.1)
    assert demo.main() == 0
    out = capfd.readouterr().out
    for part in (
        "96.11% of the held-out half are right (864 of 899).",
        "The same answers",
        "The shortest of the runs, in turn; the medians are ",
        "for (int64_t ",
        "wrote d.npy",
    ):
        assert part in out
    assert all(len(line) <= 110 or ".c" in line for line in out.splitlines())


def test_how_sure_the_times_are() -> None:
    calm = {"a": [1.0, 1.0, 1.1], "b": [2.0, 2.2, 9.0]}
    text = "The shortest of the runs, in turn; the medians are 0%, 10% longer."
    assert demo.how_sure(calm, 0.2, 2) == text
    busy = text + "\nThe machine is busy (load 1.5 on 2 cores): times would be shorter else."
    assert demo.how_sure(calm, 1.5, 2) == busy
    assert "busy (load 0.0 on 1 core)" in demo.how_sure({"a": [1.0, 2.0, 3.0]}, 0.0, 1)


def test_inner_loops_end_where_the_first_nest_ends() -> None:
    helper = "void g(void)\n{\n    for (;;) { }\n}\n"
    source = (
        helper + "int f(void)\n{\n    for (i) {  /* D.i */\n        x;\n    }\n    for (j) {  /* D.j */\n    }\n}\n"
    )
    assert demo.inner_loops(source) == "    for (i) {  /* D.i */\n        x;\n    }"
    assert demo.inner_loops(source, count=2) == "    for (i) {  /* D.i */\n        x;"
