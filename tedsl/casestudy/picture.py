"""The ladder as a picture: how fast each rung is, on the roofline of the machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tedsl.lang.errors import Error

if TYPE_CHECKING:
    from tedsl.casestudy.study import Row
    from tedsl.machine import Machine


def picture(rows: Sequence[Row], machine: Machine, n: int, threads: int, file: str | os.PathLike[str]) -> None:
    """Write bars (GFLOP/s) at the left, and at the right the same rungs over operations per byte from DRAM, under the
    machine's limits.

    Raises Error when matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as e:
        raise Error("a picture needs matplotlib, which is not installed: pip install 'tedsl[plot]'") from e

    peak = machine.peak_gflops["float32"] * threads
    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    bars, roof = figure.subplots(1, 2, width_ratios=(1, 1.2))

    names = [row.step for row in rows]
    speeds = [row.gflops for row in rows]
    colours = [f"C{index}" for index in range(len(rows))]
    bars.barh(names, speeds, color=colours)
    bars.invert_yaxis()
    for index, row in enumerate(rows):
        text = f" {row.gflops:.3g} ({row.of_peak:.0%}) "
        inside = row.gflops > 0.5 * max(peak, *speeds)  # beside a long bar the lines of the limits would cross it
        bars.annotate(text, (0 if inside else row.gflops, index), va="center", fontsize=8)
    bars.axvline(peak, color="black", linewidth=1)
    bars.annotate("FMA peak", (peak, -0.45), rotation=90, va="top", ha="right", fontsize=8)
    rival = 2 * n**3 / sorted(row.numpy_seconds for row in rows)[len(rows) // 2] / 1e9
    bars.axvline(rival, color="grey", linewidth=1, linestyle="--")
    bars.annotate("NumPy", (rival, -0.45), rotation=90, va="top", ha="right", fontsize=8, color="grey")
    bars.set_xlim(0, 1.25 * max(peak, *speeds))
    bars.set_xlabel("GFLOP/s (share of the FMA peak)")
    bars.set_title(f"C = A·Bᵀ, {n} x {n} float32, {threads} thread{'s' * (threads != 1)}", fontsize=10)

    spots = [intensity(row, n) for row in rows]
    low, high = min(spots) / 2, max(*spots, 100.0) * 2
    for level, speed in machine.bandwidth.items():
        limit = [min(peak, x * speed * threads / 1e9) for x in (low, peak * 1e9 / (speed * threads), high)]
        roof.plot((low, peak * 1e9 / (speed * threads), high), limit, linewidth=1, color="grey")
        label = "DRAM" if level == "dram" else level.upper()
        start = max(low, 1.1 * min(speeds) / 2 * 1e9 / (speed * threads))  # where the line comes into the picture
        roof.annotate(f" {label}", (start, start * speed * threads / 1e9), fontsize=8, color="grey", va="top")
    for index, (row, spot, colour) in enumerate(zip(rows, spots, colours)):
        roof.plot(
            [spot, spot], [min(speeds) / 2, row.gflops], linewidth=5, color=colour, alpha=0.5, solid_capstyle="butt"
        )
        # rungs that reach the same lie upon each other: the later, the smaller
        roof.plot([spot], [row.gflops], "o", color=colour, label=row.step, markersize=4 + len(rows) - index)
    roof.set_xscale("log")
    roof.set_yscale("log")
    for axis in (roof.xaxis, roof.yaxis):
        axis.set_major_formatter("{x:g}")
    roof.set_ylim(min(speeds) / 2, 2 * peak)
    roof.set_xlim(low, high)
    roof.set_xlabel("operations per byte loaded from DRAM, by the lecture's formula")
    roof.set_ylabel("GFLOP/s")
    roof.set_title("On the roofline of this machine", fontsize=10)
    roof.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.01, 0.5))
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as e:
        raise Error(f"the picture {os.fspath(file)} cannot be written: {e}") from e


def intensity(row: Row, n: int) -> float:
    """Operations for each byte that a rung loads from DRAM."""
    loaded = sum(found["elements"] for name, found in row.loads.items() if name.endswith("dram"))
    return 2 * n**3 / (4 * loaded)
