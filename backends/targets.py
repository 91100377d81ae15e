"""The targets: for each, what makes its source of loops and its kernel of the source. A new target is a new row."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tedsl.hardware import InstructionSet, instruction_set
from tedsl.lang.errors import BuildError
from tedsl.schedule.loops.program import Nest

from .c.kernel import Kernel, build_module, compiled
from .c.printer import generate
from .codegen.module import CModule


@dataclass(frozen=True)
class Target:
    """What is known of a target.

    facts      what schedules and passes ask of it, given the instructions that are allowed (None: all)
    emit       loops, the kernel's name and the instructions allowed -> its source
    compile    the source into the kernel cache, without loading it
    build      the source -> a kernel
    """

    facts: Callable[[str | None], InstructionSet]
    emit: Callable[[Nest, str, str | None], CModule]
    compile: Callable[[CModule], object]
    build: Callable[[CModule], Kernel]


TARGETS = {"c": Target(instruction_set, generate, compiled, build_module)}


def target_of(name: str) -> Target:
    """The target of a name. Raises BuildError when there is none."""
    if name not in TARGETS:
        known = " and ".join(map(repr, TARGETS))
        raise BuildError(f"the target {name!r} is not part of this version of tedsl; there is {known}")
    return TARGETS[name]


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector: the thousands of small nodes that lowering makes are all in use until the
    source is printed, and it would look at them again and again in vain.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
