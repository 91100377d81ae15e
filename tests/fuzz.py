"""Random programs by the thousand: `python tests/fuzz.py --seed 0 --count 2000`.

Every program is drawn from its own seed, so that a failure can be had again with `--seed N --count 1`. The reference is compared with an
interpreter of single elements, compiled code with the reference.
"""

from __future__ import annotations

import argparse
import os
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
    parser.add_argument("--show", type=int, default=3, help="how many failures of a kind to show in full")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tedsl-fuzz-") as scratch:
        os.environ["TEDSL_CACHE_DIR"] = scratch
        return fuzz(options)


def fuzz(options: argparse.Namespace) -> int:
    from helpers import check_compiled, check_reference
    from program_parts import Seeded
    from programs import generate

    started = time.monotonic()
    kinds: dict[str, list[int]] = {}
    done = 0
    for seed in range(options.seed, options.seed + options.count):
        if time.monotonic() - started > options.seconds:
            break
        program = None
        try:
            program = generate(Seeded(seed), half=options.half)
            check_reference(program)
            if not options.reference:
                check_compiled(program)
        except Exception as error:  # whatever it is, the next program is tried as well
            frame = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} in {os.path.basename(frame.filename)}:{frame.name}"
            kinds.setdefault(kind, []).append(seed)
            if len(kinds[kind]) <= options.show:
                print(f"seed {seed}: {kind}\n{str(error)[:2000]}\n{program}\n", flush=True)
        done += 1
    print(f"{done} programs in {time.monotonic() - started:.0f} s, {sum(map(len, kinds.values()))} failures")
    for kind, seeds in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"{len(seeds):6} {kind}: seeds {seeds[:10]}")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
