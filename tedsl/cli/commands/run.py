"""Compute an index expression over arrays in .npy files.

Each NAME=VALUE is an array (the path of an .npy file), the extent of an axis (a whole number: r=2), or a constant (with
a point: alpha=2.0). For example

  tedsl run "C[i,j] = sum(A[i,k] * B[j,k])" A=a.npy B=b.npy -o c.npy
  tedsl run "Y[y] = max(X[2*y + r])" X=x.npy r=2
  tedsl run "Z[i] = alpha * exp(X[i]); L[] = sum(X[i])" X=x.npy alpha=0.5 -o results.npz
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tedsl.terminal import InputError, duration, say

if TYPE_CHECKING:
    import numpy as np


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("expression", help="the definition, such as 'C[i,j] = sum(A[i,k] * B[j,k])'")
    parser.add_argument("inputs", nargs="*", default=[], metavar="NAME=VALUE", help="an .npy file, or a number")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the result here, as .npy, or as .npz where there are several (default: print it)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="use N threads (default: all cores)")
    parser.add_argument("--time", action="store_true", help="also print how long one call of the kernel takes")
    parser.add_argument("--source", action="store_true", help="also print the C that was compiled")


def run(options: argparse.Namespace) -> int:
    from tedsl.cli import arrays

    if options.threads is not None and options.threads < 1:
        raise InputError(f"--threads must be at least 1, not {options.threads}")
    values = arrays.read_assignments(options.inputs)
    if options.output is not None:
        arrays.check_writable(options.output)

    import numpy as np

    import tedsl as te

    # Numbers are parts of the definition (extents, sizes, factors); arrays are the kernel's arguments.
    given = {
        name: arrays.declare(name, value) if isinstance(value, np.ndarray) else value for name, value in values.items()
    }
    kernel = te.build(te.define(options.expression, **given))
    if options.output is not None:
        arrays.check_several(options.output, kernel.outputs)
    call = [values[name] for name in kernel.inputs]
    computed = kernel(*call, threads=options.threads)
    outcome = dict(zip(kernel.outputs, computed if isinstance(computed, tuple) else (computed,)))

    if options.source:
        say(kernel.source.rstrip() + "\n")
    for name, array in outcome.items():
        say(f"{name}: {describe(array)}", "bold")
    if options.time:
        measured = kernel.time(*call, threads=options.threads)
        say(f"time: {duration(measured.min)} at best, {duration(measured.median)} in the median")
    if options.output is not None:
        arrays.write(options.output, outcome)
        say(f"wrote {options.output}")
    else:
        for array in outcome.values():
            say(preview(array))
    return 0


def describe(array: np.ndarray) -> str:
    """Type, shape and range: ``float32 (8, 6), from -1.5 to 2.25, mean 0.5``."""
    import numpy as np

    text = f"{array.dtype} {array.shape}"
    if array.size == 0:
        return f"{text}, no elements"
    if array.dtype == bool:
        return f"{text}, {int(np.count_nonzero(array))} of {array.size} true"
    if array.ndim == 0:
        return text
    with np.errstate(all="ignore"):
        mean = array.mean(dtype=np.float64)
        return f"{text}, from {array.min():.6g} to {array.max():.6g}, mean {mean:.6g}"


def preview(array: np.ndarray) -> str:
    """The values, in full where they are few."""
    import numpy as np

    return np.array2string(np.asarray(array), threshold=200, edgeitems=3, max_line_width=100, precision=6)
