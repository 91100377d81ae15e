"""Which machine this is: rows of another one are not used unless asked for."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1)
def identity() -> tuple[str, str]:
    """A key of this machine (processor, its features, caches, hypervisor), and the processor's name."""
    from tedsl.machine import machine

    found = machine()
    return found.key.removeprefix("machine-"), found.cpu


@lru_cache(maxsize=1)
def compiler() -> str:
    """What the C compiler says of itself; "" where there is none."""
    from tedsl.backends.c import toolchain
    from tedsl.lang.errors import BuildError

    try:
        return toolchain.find().version
    except BuildError:
        return ""
