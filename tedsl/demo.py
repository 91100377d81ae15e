"""`python -m tedsl.demo`: handwritten digits told apart by two index expressions, compiled to C.

A 1-nearest-neighbour classifier over the UCI Optical Recognition digits (see data/README.md): an image is what the
known image at the smallest squared distance is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import resources

import numpy as np

import tedsl as te
from tedsl.casestudy.study import in_turn
from tedsl.terminal import duration, say, table

SHADES = " .:+#@"
DISTANCES = "D[i,j] = sum((X[i,k] - Y[j,k])**2)"
SECONDS = 2.4  # of measuring
BUSY = 0.5  # a median this much longer than the shortest run says that other processes were in the way
NEAREST = "N[i] = argmin(D[i,j])"


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The images, float32 (1797, 64) with values from 0 to 16, and their labels, uint8 (1797,)."""
    with (resources.files("tedsl.data") / "digits.npz").open("rb") as file, np.load(file) as data:
        return data["images"].reshape(-1, 64).astype("float32"), data["labels"]


def nearest(unknown: int, known: int) -> tuple[te.Tensor, te.Tensor]:
    """The operator: all squared distances, and for each unknown image the number of the nearest known one."""
    D = te.define(DISTANCES, X=(unknown, 64), Y=(known, 64))
    return D, te.define(NEAREST, D=D)


def numpy_expanded(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """NumPy at its best: the square multiplied out, so that the work is one matrix product by BLAS."""
    return ((X * X).sum(1)[:, None] - 2 * (X @ Y.T) + (Y * Y).sum(1)).argmin(1)


def numpy_direct(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """The formula as it stands, by broadcasting: all differences are kept at once."""
    return ((X[:, None] - Y) ** 2).sum(2).argmin(1)


def how_sure(times: dict[str, list[float]], load: float, cores: int) -> str:
    """A line that says how far the times are spread, and one more if the machine is busy. `load`: how many processes
    wanted a core in the last minute, besides this one.
    """
    longer = {name: statistics.median(samples) / samples[0] - 1 for name, samples in times.items()}
    text = (
        f"The shortest of the runs, in turn; the medians are {', '.join(f'{x:.0%}' for x in longer.values())} longer."
    )
    if load > cores / 2 or max(longer.values()) > BUSY:
        text += (
            f"\nThe machine is busy (load {load:.1f} on {cores} core{'s' * (cores > 1)}): times would be shorter else."
        )
    return text


def drawing(images: np.ndarray, captions: list[str]) -> str:
    """Images side by side, one line of text per row of pixels, two characters per pixel."""
    rows = []
    for row in range(8):
        levels = (images.reshape(-1, 8, 8)[:, row] * (len(SHADES) - 1) / 16).round().astype(int)
        rows.append("   ".join("".join(SHADES[level] * 2 for level in image) for image in levels).rstrip())
    return "\n".join([*rows, "   ".join(caption.ljust(16) for caption in captions).rstrip()])


def inner_loops(source: str, count: int = 12) -> str:
    """The first loops of the generated C, up to where the first nest ends. (The kernel's own carry the axis that they
    are; helpers' do not.)
    """
    lines = source.splitlines()
    start = next((n for n, line in enumerate(lines) if line.lstrip().startswith("for ") and "/*" in line), 0)
    depth, end = 0, start
    for end in range(start, min(len(lines), start + count)):
        depth += lines[end].count("{") - lines[end].count("}")
        if depth <= 0 and end > start:
            break
    return "\n".join(line[:110] for line in lines[start : end + 1])


def main() -> int:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    images, labels = digits()
    half = len(images) // 2
    known, unknown = images[:half], images[half:]

    D, N = nearest(len(unknown), half)
    began = time.perf_counter()
    kernel = te.build(N)
    built = time.perf_counter() - began

    found = kernel(unknown, known)
    answers = labels[:half][found]
    right = answers == labels[half:]

    say("Which digit is it?", "bold")
    say(f"{len(images)} handwritten digits of 8x8 pixels; {half} are known, the other {len(unknown)} are to be told.\n")
    shown = [*np.flatnonzero(right)[[3, 14, 25]], *np.flatnonzero(~right)[:1]]
    captions = [f"a {answers[n]}" + ("" if right[n] else f": wrong, a {labels[half + n]}") for n in shown]
    say(drawing(unknown[shown], captions) + "\n")

    say("Two definitions, one kernel:", "bold")
    say(f"  {DISTANCES}\n  {NEAREST}\n")
    say(f"{right.mean():.2%} of the held-out half are right ({right.sum()} of {right.size}).\n", "bold green")

    calls: dict[str, Callable[[], object]] = {
        "tedsl": lambda: kernel(unknown, known),
        "NumPy, multiplied out (one BLAS product)": lambda: numpy_expanded(unknown, known),
        "NumPy, as the formula stands (broadcast)": lambda: numpy_direct(unknown, known),
    }
    times = in_turn(calls, SECONDS, turn=0.1)
    same = np.array_equal(found, numpy_expanded(unknown, known))
    rows = [(name, duration(best), f"{best / times['tedsl'][0]:.2f}x") for name, (best, *_) in times.items()]
    table(rows, ("distances and nearest", "time", "of tedsl's"), right=(1, 2), styles=["bold", "", ""])
    say(f"{'The same answers' if same else 'OTHER ANSWERS than NumPy'}; definition to kernel took {duration(built)}.")
    say(how_sure(times, load, te.machine().cores) + "\n")

    say(f"The C is {kernel.path}; its first loops:", "bold")
    say(inner_loops(kernel.source) + "\n")
    agrees = command_line(unknown, known, kernel_of=D)
    return 0 if same and agrees else 1


def command_line(unknown: np.ndarray, known: np.ndarray, kernel_of: te.Tensor) -> bool:
    """The distances once more, from a shell, over .npy files; True when they are the same."""
    with tempfile.TemporaryDirectory(prefix="tedsl-demo-") as folder:
        np.save(os.path.join(folder, "x.npy"), unknown)
        np.save(os.path.join(folder, "y.npy"), known)
        words = ["run", DISTANCES, "X=x.npy", "Y=y.npy", "-o", "d.npy"]
        say(f'$ tedsl run "{DISTANCES}" {" ".join(words[2:])}', "bold")
        # -P's environment variable: a folder named tedsl in the current one is not the package.
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        done = subprocess.run([sys.executable, "-m", "tedsl", *words], cwd=folder, env=environment, check=False)
        if done.returncode:
            return False
        return np.array_equal(np.load(os.path.join(folder, "d.npy")), te.build(kernel_of)(unknown, known))


if __name__ == "__main__":
    raise SystemExit(main())
