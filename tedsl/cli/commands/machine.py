"""Show what this machine can do: its FMA peak, the bandwidth and size of each cache, and of memory.

The speeds are those of one core. They are measured once, in about a second, and kept; percentages of peak refer to
them.
"""

from __future__ import annotations

import argparse

from tedsl.terminal import size, table


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--measure", action="store_true", help="measure again, whatever is known")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> int:
    import tedsl as te

    machine = te.machine(measure=options.measure)
    if options.json:
        import json

        print(json.dumps(machine.to_json(), indent=1))
        return 0
    cores = f"{machine.cores} core{'s' * (machine.cores != 1)} to use"
    rows = [("CPU", machine.cpu, cores), ("vectors", f"{machine.vector_bytes} bytes", machine.level)]
    rows += [(f"peak {dtype}", f"{speed:.1f} GFLOP/s", "") for dtype, speed in machine.peak_gflops.items()]
    held = {"l1": machine.l1_bytes, "l2": machine.l2_bytes, "l3": machine.l3_bytes}
    for level, speed in machine.bandwidth.items():
        bytes_held = size(held[level]) if held.get(level) else ""
        rows.append((level.upper(), f"{speed / 1e9:.1f} GB/s", bytes_held))
    table(rows, ("", "of one core", ""))
    return 0
