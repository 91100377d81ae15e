"""Random programs by the thousand: `python tests/fuzz.py --seed 0 --count 2000`.

Every program is drawn from its own seed, so that a failure can be had again with `--seed N --count 1`. The reference is compared with an
interpreter of single elements, compiled code with the reference; with --schedules, compiled code by random legal
schedules.
"""

from __future__ import annotations

import argparse
import os
import signal
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
    parser.add_argument("--quick", action="store_true", help="compile with -O1, which takes half as long")
    parser.add_argument("--limit", type=int, default=60, help="seconds that one program may take")
    parser.add_argument("--show", type=int, default=3, help="how many failures of a kind to show in full")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tedsl-fuzz-") as scratch:
        os.environ["TEDSL_CACHE_DIR"] = scratch
        return fuzz(options)


def fuzz(options: argparse.Namespace) -> int:
    from helpers import check_compiled, check_reference
    from program_parts import Seeded
    from programs import generate
    from schedules import check_schedule, random_schedule

    from tedsl.backends.c import toolchain

    if options.quick:
        toolchain.COMMON = tuple("-O1" if flag == "-O3" else flag for flag in toolchain.COMMON)
    signal.signal(signal.SIGALRM, _too_long)
    started = time.monotonic()
    kinds: dict[str, list[int]] = {}
    done = 0
    for seed in range(options.seed, options.seed + options.count):
        if time.monotonic() - started > options.seconds:
            break
        program = schedule = None
        signal.alarm(options.limit)
        try:
            program = generate(Seeded(seed), half=options.half)
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


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError("it took too long")


if __name__ == "__main__":
    sys.exit(main())
