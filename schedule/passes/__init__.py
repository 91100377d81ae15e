"""The passes over the loop IR, in the order in which they run.

Each is a function of a statement to a statement; `passes()` is the list, with the reason for each place.
What depends on a target's vectors comes after them, when the target is known: `vectorize`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tedsl.schedule.loops.ir import Stmt

from .double_buffer import double_buffer_pass
from .hoist import invariants_pass
from .partition import partition_pass
from .quotient_runs import rest_pass, runs_pass
from .simplify import Heard, simplify_pass
from .unroll import unroll_pass
from .widen_tails import pad_pass

Pass = Callable[[Stmt], Stmt]


def passes(heard: Heard | None = None) -> list[tuple[str, Pass]]:
    """Every pass with its name, in order. `heard`: is told of every expression that they put in normal form."""
    return [
        ("double buffer", double_buffer_pass),  # its test is one that cutting takes out of the loop
        ("simplify", partial(simplify_pass, heard=heard)),  # bounds must be in normal form to be compared
        ("runs", partial(runs_pass, heard=heard)),  # what was a test is a bound, where cutting finds it
        ("partition", partial(partition_pass, heard=heard)),  # before unrolling, which needs constant bounds
        ("rest", partial(rest_pass, heard=heard)),  # cutting has shown which loops are innermost ones
        ("pad", pad_pass),  # remainders are known now; the loops that it writes out are unrolled
        ("unroll", unroll_pass),
        ("simplify again", partial(simplify_pass, heard=heard)),  # what unrolling made constant
        ("invariants", invariants_pass),  # last: it makes variables, through which nothing else looks
    ]
