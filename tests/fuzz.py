"""Random programs by the thousand: `python tests/fuzz.py --seed 0 --count 2000`.

Every program is drawn from its own seed, so that a failure can be had again with `--seed N --count 1`. The reference is compared with an
interpreter of single elements, compiled code with the reference; with --schedules, compiled code by random legal
schedules.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
# tests/tedsl and the root's ./tedsl would both pose as the package.
sys.path[:] = [
    os.path.join(HERE, "support"),
    *(p for p in sys.path if os.path.abspath(p or ".") not in (HERE, os.path.dirname(HERE))),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first program's seed")
    parser.add_argument("--count", type=int, default=2000, help="how many programs")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this long")
    parser.add_argument("--reference", action="store_true", help="check the reference alone: no compiler")
    parser.add_argument("--half", action="store_true", help="float16 as well")
    parser.add_argument("--schedules", action="store_true", help="compile by random legal schedules")
    parser.add_argument("--steps", action="store_true", help="of recurrences and scatter-adds")
    parser.add_argument("--quick", action="store_true", help="compile with -O1, which takes half as long")
    parser.add_argument(
        "--sanitize", action="store_true", help="under AddressSanitizer and UndefinedBehaviourSanitizer"
    )
    parser.add_argument(
        "--probe", choices=["bounds", "overflow"], help="run a wrong kernel, for the sanitizers to find"
    )
    parser.add_argument("--limit", type=int, default=60, help="seconds that one program may take")
    parser.add_argument("--show", type=int, default=3, help="how many failures of a kind to show in full")
    options = parser.parse_args()
    if options.sanitize:
        _preload()
    with tempfile.TemporaryDirectory(prefix="tedsl-fuzz-") as scratch:
        os.environ["TEDSL_CACHE_DIR"] = scratch
        return fuzz(options)


def fuzz(options: argparse.Namespace) -> int:
    from helpers import check_compiled, check_reference
    from program_parts import Seeded
    from programs import generate
    from schedules import check_schedule, random_schedule
    from step_programs import drawn

    from tedsl.backends.c import toolchain

    if (
        options.sanitize
    ):  # what the sanitizers' functions are is told when the process starts, not when a kernel is linked
        plain = (flag for flag in toolchain.COMMON if flag != "-O3")
        toolchain.COMMON = (*plain, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
        toolchain.SYMBOLS = ()
    elif options.quick:
        toolchain.COMMON = tuple("-O1" if flag == "-O3" else flag for flag in toolchain.COMMON)
    if options.probe:
        return _probe(options.probe)
    signal.signal(signal.SIGALRM, _too_long)
    started = time.monotonic()
    kinds: dict[str, list[int]] = {}
    done = 0
    for seed in range(options.seed, options.seed + options.count):
        if time.monotonic() - started > options.seconds:
            break
        program = schedule = None
        if options.sanitize:  # what they find ends the process
            print(f"seed {seed}", file=sys.stderr, flush=True)
        signal.alarm(options.limit)
        try:
            program = drawn(Seeded(seed)) if options.steps else generate(Seeded(seed), half=options.half)
            if options.schedules:
                source = Seeded(seed)
                schedule = random_schedule(program, source)
                check_schedule(program, schedule, source.choice(["sse2", "avx2", None]))
                continue
            check_reference(program)
            if not options.reference:
                check_compiled(program)
        except Exception as error:  # whatever it is, the next program is tried as well
            frame = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} in {os.path.basename(frame.filename)}:{frame.name}"
            kinds.setdefault(kind, []).append(seed)
            if len(kinds[kind]) <= options.show:
                steps = "" if schedule is None else schedule.history
                where = "".join(traceback.format_tb(error.__traceback__)[-3:])
                print(f"seed {seed}: {kind}\n{where}{str(error)[:2000]}\n{program}\n{steps}\n", flush=True)
        finally:
            signal.alarm(0)
            done += 1
    print(f"{done} programs in {time.monotonic() - started:.0f} s, {sum(map(len, kinds.values()))} failures")
    for kind, seeds in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len(seeds):6} {kind}: seeds {seeds[:10]}")
    return 1 if kinds else 0


def _preload() -> None:
    """Start again with AddressSanitizer's library loaded first, which Python was not linked with."""
    if os.environ.get("TEDSL_FUZZ_PRELOADED"):
        return
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    library = os.path.realpath(found.stdout.strip())
    if not os.path.exists(library):
        sys.exit("gcc has no libasan.so")
    options = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1", "CC": "gcc"}
    environment = {**os.environ, **options, "LD_PRELOAD": library, "TEDSL_FUZZ_PRELOADED": "1"}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def _probe(kind: str) -> int:
    """A kernel that reads behind its input, or adds beyond the largest int32: unnoticed, unless sanitizers look."""
    import numpy as np
    from c_modules import source

    from tedsl.backends.c.kernel import build_module
    from tedsl.backends.codegen.module import Argument, CModule

    read = "X[8]" if kind == "bounds" else "X[0] + X[1]"
    args = (Argument("X", "int32", (8,), "input"), Argument("R", "int32", (1,), "output"))
    code = f"const int32_t *X = buffers[0]; *(int32_t *)buffers[1] = {read}; return 0;"
    build_module(CModule("wrong", source("wrong", code), args))(np.full(8, 2**31 - 1, "int32"))
    return 0


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError("it took too long")


if __name__ == "__main__":
    sys.exit(main())
