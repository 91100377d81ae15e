"""Run the lecture's matrix multiplication step by step: from plain loops to the machine's limit.

Every step is a schedule of C[i,j] = sum(A[i,k] * B[j,k]) over float32, verified, and timed in turn with NumPy. "of
peak" is the share of the FMA peak of the threads in use; "NumPy" is NumPy's time over the step's; loads are by the
lecture's formulas.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from tedsl.terminal import InputError, Progress, duration, say, table

if TYPE_CHECKING:
    from tedsl.casestudy import Row


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n", type=int, default=1024, metavar="N", help="rows and columns (default: 1024)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads, NumPy's as well (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write the rows as JSON (- is the terminal)")
    parser.add_argument("--png", metavar="FILE", help="write a picture: bars, on a roofline (needs matplotlib)")


def run(options: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    import tedsl as te
    from tedsl.casestudy import LADDER, study

    machine = te.machine()
    if options.n < 1:
        raise InputError(f"--n must be at least 1, not {options.n}")
    if not 1 <= options.threads <= machine.cores:
        raise InputError(
            f"--threads must be from 1 to the cores that there are ({machine.cores}), not {options.threads}"
        )
    for option, file in (("--json", options.json), ("--png", options.png)):
        if file not in (None, "-"):
            check_writable(option, file)
    if options.png:
        check_matplotlib()

    peak = machine.peak_gflops["float32"]
    rows = []
    with Progress("measuring", len(LADDER)) as progress:
        for row in study(options.n, options.threads):
            rows.append(row)
            progress.update(len(rows), row.step)
    if options.json != "-":
        threads = f"{options.threads} thread{'s' * (options.threads != 1)}"
        show(rows, f"C = A·Bᵀ, {options.n} x {options.n} float32, {threads}; FMA peak {peak:.0f} GFLOP/s a core")
    if options.json:
        text = json.dumps([asdict(row) for row in rows], indent=1)
        if options.json == "-":
            print(text)
        else:
            with open(options.json, "w") as file:
                file.write(text + "\n")
    if options.png:
        from tedsl.casestudy.picture import picture

        picture(rows, machine, options.n, options.threads, options.png)
    return 0


def show(rows: list[Row], title: str) -> None:
    lines = []
    for row in rows:
        numbers = (duration(row.seconds), f"{row.gflops:.1f}", f"{row.of_peak:.1%}", f"{row.of_numpy:.2f}x")
        lines.append((row.step, *numbers, loads(row, "A"), loads(row, "B")))
    fastest = max(rows, key=lambda row: row.gflops)
    header = ("step", "time", "GFLOP/s", "of peak", "NumPy", "loads of A", "loads of B")
    styles = ["bold green" if row is fastest else "" for row in rows]
    table(lines, header, title=title, right=(1, 2, 3, 4), styles=styles)
    for note in dict.fromkeys(row.note for row in rows if row.note):
        steps = ", ".join(row.step for row in rows if row.note == note)
        say(f"{steps}: {note}")


def loads(row: Row, tensor: str) -> str:
    found = {
        name.rpartition(" ")[2]: load["formula"] for name, load in row.loads.items() if name.startswith(f"{tensor} ")
    }
    return ", ".join(f"{formula} from {level}" for level, formula in found.items())


def check_writable(option: str, file: str) -> None:
    """Refuse before the work what cannot be written after it."""
    folder = os.path.dirname(os.path.abspath(file))
    if os.path.isdir(file) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        reason = "is a folder" if os.path.isdir(file) else f"cannot be written: there is no writable folder {folder}"
        raise InputError(f"{option} {file} {reason}")


def check_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise InputError("--png needs matplotlib, which is not installed: pip install 'tedsl[plot]'")
