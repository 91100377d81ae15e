"""The steps of a schedule: as Python that replays them, as JSON, and back.

step ::= Step(stage, primitive, args, kwargs, location)      what was asked for, in names and numbers
                                                             (stage "": a step of the schedule itself)
arg  ::= number | text | {"stage": name} | {"var": name, "min": n, "multiple_of": n} | {"intrinsic": …} | [arg …]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from tedsl.lang.errors import Location, ScheduleError
from tedsl.lang.expr import Var

from .primitives.intrinsics import told_by_history

VERSION = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a primitive. `made`: the loops or stages that came of it."""

    stage: str
    primitive: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    location: Location | str | None = None
    made: tuple[str, ...] = ()

    @property
    def call(self) -> str:
        """The call without what it is called on."""
        shown = [_python(a) for a in self.args] + [f"{k}={_python(v)}" for k, v in self.kwargs.items()]
        return f"{self.primitive}({', '.join(shown)})"

    def __str__(self) -> str:
        where = f"s[{_python(self.stage)}]" if self.stage else "s"
        return f"{where}.{self.call}"

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"stage": self.stage, "primitive": self.primitive, "args": list(self.args)}
        if self.kwargs:
            found["kwargs"] = dict(self.kwargs)
        if self.location is not None:
            found["at"] = str(self.location)
        return found

    @classmethod
    def from_json(cls, value: Any) -> Step:
        """A step from what `to_json` gave. Raises ScheduleError for anything else."""
        try:
            stage, primitive, args, kwargs = (
                value["stage"],
                value["primitive"],
                tuple(value["args"]),
                dict(value.get("kwargs", {})),
            )
        except (TypeError, KeyError, ValueError):
            raise ScheduleError(
                f"{value!r} is no step of a schedule; a step has a stage, a primitive and args"
            ) from None
        if not isinstance(stage, str) or not isinstance(primitive, str):
            raise ScheduleError(f"{value!r} is no step of a schedule: its stage and its primitive are names")
        return cls(stage, primitive, args, kwargs, value.get("at"))


class History(Sequence[Step]):
    """The steps of a schedule in order. Prints as the Python that replays it: `s` is then the default schedule."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)

    @overload
    def __getitem__(self, n: int) -> Step: ...
    @overload
    def __getitem__(self, n: slice) -> History: ...
    def __getitem__(self, n: int | slice) -> Step | History:
        return History(self._steps[n]) if isinstance(n, slice) else self._steps[n]

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    def __str__(self) -> str:
        lines = []
        for step in self._steps:
            made = f"  # {', '.join(step.made)}" if step.made else ""
            lines.append(f"{step}{''.join(c if c.isprintable() else ' ' for c in made)}")
        return "\n".join(lines)

    __repr__ = __str__

    @property
    def factors(self) -> list[Var]:
        """The tile factors that are sizes, with what is known of them."""
        given = (a for step in self for a in (*step.args, *step.kwargs.values()))
        return [decoded(a) for a in given if isinstance(a, dict) and "var" in a]

    def to_json(self) -> str:
        import json

        return json.dumps({"version": VERSION, "steps": [s.to_json() for s in self._steps]})


def steps_from(given: Any) -> tuple[Step, ...]:
    """Steps from a history, from JSON text or from what it holds. Raises ScheduleError for anything else."""
    if isinstance(given, History):
        return tuple(given)
    if isinstance(given, (str, bytes)):
        import json

        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as e:
            raise ScheduleError(f"the history to be replayed is no JSON: {e}") from None
    if isinstance(given, dict):
        if given.get("version") != VERSION or not isinstance(given.get("steps"), list):
            raise ScheduleError(
                f"the history to be replayed is none of this version of tedsl: it needs version {VERSION} and a list "
                "of steps"
            )
        given = given["steps"]
    if not isinstance(given, (list, tuple)):
        raise ScheduleError(f"{type(given).__name__} is no history; replay takes s.history or what s.to_json() gave")
    return tuple(s if isinstance(s, Step) else Step.from_json(s) for s in given)


def encoded(value: Any) -> Any:
    """A number, name or size as JSON can hold it."""
    if isinstance(value, Var):
        found: dict[str, Any] = {"var": value.name}
        if value.minimum:
            found["min"] = value.minimum
        if value.multiple_of != 1:
            found["multiple_of"] = value.multiple_of
        return found
    if isinstance(value, (list, tuple)):
        return [encoded(v) for v in value]
    if hasattr(value, "__index__") and not isinstance(value, bool):
        return int(value)
    return value


def decoded(value: Any, trust: bool = False) -> Any:
    """The opposite of `encoded`. A stage becomes its name. Raises Undeclared for an intrinsic from elsewhere, unless
    that is trusted.
    """
    if isinstance(value, dict):
        if "var" in value:
            return Var(value["var"], value.get("min", 0), value.get("multiple_of", 1))
        if "stage" in value:
            return value["stage"]
        if "intrinsic" in value:
            return told_by_history(value["intrinsic"], trust)
    if isinstance(value, list):
        return [decoded(v, trust) for v in value]
    return value


def _python(value: Any) -> str:
    if isinstance(value, dict):
        if "var" in value:
            more = "".join(f", {k}={value[k]}" for k in ("min", "multiple_of") if k in value)
            return f"te.var({_python(value['var'])}{more})"
        if "stage" in value:
            return f"s[{_python(value['stage'])}]"
        if "intrinsic" in value:
            return f"te.schedule.Intrinsic.from_json({value['intrinsic']!r})"
    if isinstance(value, list):
        return f"[{', '.join(map(_python, value))}]"
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)  # its escapes are Python's too
    return repr(value)
