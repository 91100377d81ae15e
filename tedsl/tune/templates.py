"""Templates that come with the package: what `tedsl tune NAME` tunes."""

from __future__ import annotations

from typing import Any

from tedsl.lang.operators import sum as sum_of
from tedsl.lang.tensor import axes, tensor
from tedsl.schedule.schedule import create_schedule

from .template import Knobs, Template, template


@template
def matmul(cfg: Knobs, n: int) -> Any:
    """The lecture's matrix multiplication C = A·Bᵀ: register tiles v1 x v2 in cache tiles b1 x b2, B packed or not, the
    order of the tiles, how far the sum is unrolled.
    """
    i, j, k = axes("i j k")
    A, B, C = tensor("A", (n, n)), tensor("B", (n, n)), tensor("C")
    C[i, j] = sum_of(A[i, k] * B[j, k])
    s = create_schedule(C)
    v1 = cfg.choice("v1", [1, 2, 4, 6, 8, 12, 14])
    v2 = cfg.choice("v2", [16, 32, 48, 64])
    cfg.require(v1 * v2 <= 28 * 16, "more results than vector registers")
    b1 = cfg.choice("b1", [1, 2, 4, 8, 16, 32]) * v1  # in register tiles, so that b1 % v1 == 0
    b2 = cfg.choice("b2", [1, 2, 4, 8, 16, 32]) * v2
    packed = cfg.boolean("packed")
    by_rows = cfg.choice("order", ["rows of C first", "columns of C first"]) == "rows of C first"
    unroll = cfg.choice("unroll", [1, 2, 4, 8])

    Cr = s.cache_write(C, "register")
    io, jo, ib, jb = s[C].tile(i, j, b1, b2)
    x, y, ii, ji = s[C].tile(ib, jb, v1, v2)
    outer = (io, jo) if by_rows else (jo, io)
    s[C].reorder(*outer, y, x, ii, ji)
    s[C].unroll(ii)
    s[C].vectorize(ji)
    s[Cr].compute_at(s[C], x)
    s[Cr].reorder(k, i, j)
    s[Cr].unroll(i)
    s[Cr].vectorize(j)
    if unroll > 1:
        s[Cr].pragma(k, f"GCC unroll {unroll}")
    if packed:
        Bp = s.cache_read(B, "global", Cr)
        panel, lane = s[Bp].split("j", v2)
        s[Bp].layout(panel, "k", lane)
        ko, ki = s[Bp].split("k", 16)
        s[Bp].reorder(panel, ko, ki, lane)
        s[Bp].vectorize(lane)
    return s, [A, B, C]


TEMPLATES: dict[str, Template] = {"matmul": matmul}
