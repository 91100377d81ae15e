"""The messages between the tuner and its worker processes.

tuner → builder      LoadTemplate, Build; then Answer, Continue or Stop, as it asks
builder → tuner      Ready, Phase, Ask, Prediction, Generated, and how it ends: Compiled, Stopped, Rejection, Failure
tuner → measurer     Job
measurer → tuner     Ready, Phase, and how it ends: Measurement, Failure
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .template import Knob, Value


@dataclass(frozen=True)
class LoadTemplate:
    """What candidates are made from. `template`: pickled; `sizes`: numbers for symbolic sizes."""

    template: bytes
    args: tuple[Any, ...]
    sizes: dict[str, int]


@dataclass(frozen=True)
class Build:
    """Run the template on a core and generate code; compile it as well where it is to be measured on this machine."""

    core: int
    compiling: bool


@dataclass(frozen=True)
class Answer:
    """The value of the knob that was asked for."""

    value: Value


@dataclass(frozen=True)
class Continue:
    """Go on with the candidate."""


@dataclass(frozen=True)
class Stop:
    """Stop: the candidate's time is known, or not wanted."""


@dataclass(frozen=True)
class Ready:
    """The process has started, or has loaded the template."""


@dataclass(frozen=True)
class Phase:
    """What the process begins to do: "template", "lowering", "compiler"; "reference", "kernel", "waiting", "timing"."""

    name: str


@dataclass(frozen=True)
class Ask:
    """The template asks for a knob."""

    knob: Knob


@dataclass(frozen=True)
class Prediction:
    """The cost model's seconds (None where it says nothing), why the kernel cannot fit the machine ("" when it does),
    and the terms.
    """

    seconds: float | None
    misfit: str
    why: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Generated:
    """The C module of a candidate. `source`: a hash of its text; `workload`: the key of what it computes; `sizes`: the
    numbers to measure with, in the order of the program's text; `program`: outputs and arguments, pickled.
    """

    module: Any
    source: str
    workload: str
    sizes: dict[str, int]
    schedule: str
    steps: list[dict[str, Any]]
    program: bytes


@dataclass(frozen=True)
class Compiled:
    """The candidate is built, and waits to be measured."""


@dataclass(frozen=True)
class Stopped:
    """The process has stopped, as it was told to."""


@dataclass(frozen=True)
class Rejection:
    """The template rejects the configuration."""

    reason: str


@dataclass(frozen=True)
class Failure:
    """The work failed, for this reason."""

    error: str


@dataclass(frozen=True)
class Job:
    """A kernel to be measured. `scratch`: a folder of this machine to keep references in, or None; `threads`: None for
    all cores; `memory`: bytes that it may have; `best`: seconds of the best so far; `data`: arrays, or None for random
    ones.
    """

    code: Generated
    timeout: float
    threads: int | None = None
    memory: int | None = None
    scratch: str | None = None
    best: float | None = None
    data: Any = None


@dataclass(frozen=True)
class Measurement:
    """A kernel's time, `seconds`, or the reason why there is none, `error`; and the machine, as in a trial."""

    seconds: float | None = None
    error: str | None = None
    samples: int = 0
    spread: float = 0.0
    first: float = 0.0
    threads: int = 0
    machine: str = ""
    cpu: str = ""
    compiler: str = ""
