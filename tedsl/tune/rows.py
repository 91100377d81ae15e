"""Rows: what is known of one configuration. A row is written once and never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .template import Config, _frozen

FORMAT = 1
_HELD: dict[str, Any] = {  # what JSON gives for a field, by its annotation
    "Config": dict, "str": str, "str | None": (str, type(None)), "int": int, "float": (int, float), "float | None": (int, float, type(None)),
    "dict[str, int]": dict, "dict[str, Any]": dict, "list[dict[str, Any]]": list,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration of a template and what came of it: `seconds`, or the reason why there are none, `error`.

    template, args, fingerprint   the template, what it was called with, and what its text hashed to
    sizes                         the numbers that symbolic sizes had, those of the program first, in the order in which its text has them
    workload                      the key of what the kernel computes ("" when the template did not get that far)
    schedule, steps               the schedule: as Python, and with places for names
    source                        the hash of the kernel's source
    machine, cpu, compiler, version    where and with what it was measured
    seconds                       the median of the faster half of the runs: what slows the others down is not the kernel
    samples, spread               how many runs were timed, and (third - first quartile) / median of them
    first, finished               seconds of the first run; time of day of the end, in seconds since 1970
    prepared                      seconds that the template and the compiler took
    predicted                     seconds by the cost model, None where it says nothing
    why                           the cost model's terms: name -> number or text
    kind                          "measured", "failed", or "duplicate" (of a row with the same source)
    """

    config: Config
    seconds: float | None = None
    error: str | None = None
    template: str = ""
    args: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    fingerprint: str = ""
    workload: str = ""
    schedule: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    source: str = ""
    machine: str = ""
    cpu: str = ""
    compiler: str = ""
    version: str = ""
    samples: int = 0
    spread: float = 0.0
    first: float = 0.0
    threads: int = 0
    finished: float = 0.0
    prepared: float = 0.0
    predicted: float | None = None
    why: dict[str, Any] = field(default_factory=dict)
    kind: str = "measured"
    made_by: Any = field(default=None, repr=False, compare=False)  # the template itself, while it is at hand

    @property
    def key(self) -> str:
        """The configuration as text, for comparing."""
        return config_key(self.config)

    @property
    def place(self) -> tuple[str, str, str]:
        """What was tuned: the template, its arguments, and the symbolic sizes."""
        return (self.template, self.args, json.dumps(self.sizes, sort_keys=True))

    @property
    def subject(self) -> str:
        """What was tuned, for people: `matmul[1024]`."""
        given = "".join(f" {name}={n}" for name, n in self.sizes.items())
        return f"{self.template}{self.args}{given}"

    @property
    def identity(self) -> str:
        """What tells this row from every other, in any store."""
        return json.dumps(
            [*self.place, self.key, self.machine, self.compiler, self.version, self.source, self.finished]
        )

    def to_json(self) -> dict[str, Any]:
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "made_by"}
        found["format"] = FORMAT
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Trial:
        """A row from what `to_json` gave; what a later version added is left out. Raises ValueError for anything
        else.
        """
        if not isinstance(value, Mapping) or not isinstance(value.get("config"), Mapping):
            raise ValueError("no row of tuning results")
        given = {f.name: value[f.name] for f in fields(cls) if f.name in value and f.name != "made_by"}
        for f in fields(cls):
            if f.name in given and not isinstance(given[f.name], _HELD[str(f.type)]):
                raise ValueError(f"no row of tuning results: its {f.name} is {given[f.name]!r:.80}")
        given["config"] = {str(k): _frozen(v) for k, v in value["config"].items()}
        return cls(**given)

    def apply(self) -> tuple[Any, list[Any] | None]:
        """The schedule and the kernel's arguments: ``te.build(*trial.apply())``. Needs the template, which is imported
        where it was defined.
        """
        from .template import as_template

        found = self.made_by if self.made_by is not None else as_template(self.template)
        return found.apply(self.config, json.loads(self.args))


def config_key(config: Mapping[str, Any]) -> str:
    """A configuration as text that is the same whatever the order of the knobs."""
    return json.dumps({k: config[k] for k in sorted(config)}, sort_keys=True)
