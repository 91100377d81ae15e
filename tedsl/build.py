"""`te.build` and `te.emit`: from a definition or a schedule to a kernel or its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .lang.errors import BuildError, here
from .lang.tensor import Tensor

TARGETS = ("c", "cuda")


def build(target: Any, args: Sequence[Tensor] | None = None, *, name: str | None = None, target_: str | None = None, **options: Any) -> Any:
    """A kernel that computes a tensor (or several), or runs a schedule."""
    from .backends.c.kernel import build_module

    return build_module(module(target, args, name=name, **options))


def module(target: Any, args: Sequence[Tensor] | None = None, *, name: str | None = None, check_indices: bool = True, isa: str | None = None) -> Any:
    """The C module of a tensor (or several), or of a schedule."""
    from .backends.c.codegen import generate
    from .schedule.nest import make_nest
    from .schedule.schedule import Schedule, create_schedule

    s = target if isinstance(target, Schedule) else create_schedule(target)
    nest = make_nest(s.state, args, s.several, check_indices)
    return generate(nest, name or s.outputs[0].name, isa)


def emit(target: Any, args: Sequence[Tensor] | None = None, *, target_: str = "c", **options: Any) -> str:
    """The source text of a kernel."""
    if target_ not in TARGETS:
        raise BuildError(f"unknown target {target_!r}; one of {', '.join(TARGETS)}", here())
    return str(module(target, args, **options).source)
