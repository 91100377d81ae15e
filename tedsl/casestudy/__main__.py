"""`python -m tedsl.casestudy N THREADS`: the ladder, measured in this process, a row of JSON a line."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from tedsl.casestudy.study import measure


def main() -> int:
    n, threads = int(sys.argv[1]), int(sys.argv[2])
    if threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # a process that moves between cores loses its caches
    for row in measure(n, threads):
        print(json.dumps(asdict(row)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
