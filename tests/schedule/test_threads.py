"""Loops that are bound to the axes of a GPU: which may stand in which, and that they stay as they are."""

from __future__ import annotations

from typing import Any

import pytest
from schedule_cases import i, j, k, matmul

import tedsl as te


def refused(s: Any, *words: str) -> None:
    str(s)  # it can be shown
    with pytest.raises(te.ScheduleError) as error:
        te.lower(s)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_an_axis_of_a_gpu_is_bound_once() -> None:
    _, _, C, s = matmul()
    s[C].bind(i, "threadIdx.x")
    s[C].bind(j, "threadIdx.x")
    refused(s, "the loop j of C is bound to threadIdx.x inside of the loop i of C, which is bound to threadIdx.x",
            "Bind one of them to another axis, or fuse the two")  # fmt: skip


def test_an_axis_is_bound_once_over_all_stages_in_a_loop() -> None:
    A, _, C, s = matmul()
    copy = s.cache_read(A, "cache", C)
    s[copy].compute_at(s[C], i)
    s[C].bind(i, "blockIdx.x")
    s[copy].bind("k", "blockIdx.x")
    refused(s, "the loop k of A.cache is bound to blockIdx.x inside of the loop i of C")


def test_loops_after_one_another_may_share_an_axis() -> None:
    A, _, C, s = matmul(8, 8, 8)
    copy = s.cache_read(A, "cache", C)
    s[copy].compute_at(s[C], i)
    s[C].bind(i, "blockIdx.x")
    s[copy].bind("k", "threadIdx.x")
    s[C].bind(j, "threadIdx.x")
    assert [loop.kind for loop in te.lower(s).loops if "." in loop.kind] == ["blockIdx.x", "threadIdx.x", "threadIdx.x"]


def test_blocks_are_not_inside_of_threads() -> None:
    _, _, C, s = matmul()
    s[C].bind(i, "threadIdx.y")
    s[C].bind(j, "blockIdx.x")
    refused(s, "the loop j of C is bound to blockIdx.x", "threads are inside of blocks", "Reorder the loops")


@pytest.mark.parametrize("kind", ["parallel", "vectorize"])
def test_bound_loops_are_not_inside_of_loops_of_the_cpu(kind: str) -> None:
    _, _, C, s = matmul()
    getattr(s[C], kind)(i)
    s[C].bind(j, "threadIdx.x")
    refused(s, "the loop j of C is bound to threadIdx.x", "its steps run on the CPU", "leave it serial")


@pytest.mark.parametrize("n,extents", [(1, [1, 1]), (37, [3, 16]), (16, [1, 16])])
def test_bound_loops_are_neither_cut_nor_dropped(n: int, extents: list[int]) -> None:
    _, _, C, s = matmul(n, 29, 23)
    io, ii = s[C].split(i, factor=16)
    s[C].bind(io, "blockIdx.x")
    s[C].bind(ii, "threadIdx.x")
    _, ki = s[C].split(k, factor=4)
    s[C].unroll(ki)
    bound = [loop for loop in te.lower(s).loops if "." in loop.kind]
    assert [loop.kind for loop in bound] == ["blockIdx.x", "threadIdx.x"]
    assert bound[0].extent == extents[0]
