"""Templates: functions from knobs to a schedule. A knob is asked for while the function runs, so knobs may depend on
each other.

Knob    ::= choice(values) | integer(lo, hi, step, log)     with the name that it is asked for by
Knobs   answers: FixedKnobs from a configuration; the tuner from its search
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import itertools
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np

from tedsl.lang.errors import TuneError
from tedsl.lang.expr import Axis, Expr

Value = Any  # what JSON can hold: None, bool, int, float, str, or a list of them
Config = dict[str, Value]


class Rejected(BaseException):
    """A requirement of the template does not hold. Not an Exception, so that a template's own `except` does not swallow
    it.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Knob:
    """The options of a choice. `values`: all of them, in order; None for the whole numbers lo, lo + step … hi."""

    name: str
    values: tuple[Value, ...] | None = None
    lo: int = 0
    hi: int = 0
    step: int = 1
    log: bool = False

    @property
    def options(self) -> Sequence[Value]:
        """Every value, in the order given."""
        return self.values if self.values is not None else range(self.lo, self.hi + 1, self.step)

    @property
    def ordered(self) -> bool:
        """Whether the options are numbers in ascending order, so that neighbours are alike."""
        if self.values is None:
            return True
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in self.values)
        return numbers and all(a < b for a, b in zip(self.values, self.values[1:]))

    def __contains__(self, value: Value) -> bool:
        if self.values is None:
            return isinstance(value, int) and self.lo <= value <= self.hi and (value - self.lo) % self.step == 0
        return any(value == v and type(value) is type(v) for v in self.values)


class Knobs(ABC):
    """The values of knobs: `cfg` in ``def template(cfg, …)``. Asking for one name twice gives one value."""

    def __init__(self) -> None:
        self.asked: dict[str, Knob] = {}
        self.config: Config = {}

    @abstractmethod
    def _answer(self, knob: Knob) -> Value:
        """The value of a knob that is asked for the first time."""

    def _ask(self, knob: Knob) -> Value:
        if not isinstance(knob.name, str) or not knob.name:
            raise TuneError(f"{knob.name!r} is no name of a knob; a name is a non-empty string")
        if not len(knob.options):
            raise TuneError(f"the knob {knob.name} has nothing to choose from")
        if knob.name in self.asked:
            if self.asked[knob.name] != knob:
                first, now = (", ".join(map(str, list(k.options)[:8])) for k in (self.asked[knob.name], knob))
                raise TuneError(
                    f"the knob {knob.name} was asked for with the options {first}, and again with {now}; give the "
                    "second another name",
                )
            return self.config[knob.name]
        self.asked[knob.name] = knob
        value = self._answer(knob)
        self.config[knob.name] = value
        return value

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        """One of `values`: numbers, texts, booleans, None, or tuples of them."""
        found = tuple(_plain(name, v) for v in values)
        if any(found[i] == found[j] and type(found[i]) is type(found[j]) for i in range(len(found)) for j in range(i)):
            raise TuneError(f"the knob {name} has a value twice: {list(values)!r}")
        return self._ask(Knob(name, found))

    def integer(self, name: str, lo: int, hi: int, step: int = 1, log: bool = False) -> int:
        """A whole number from lo to hi, both included, in steps; log: small ones are as likely as large ones."""
        whole = all(isinstance(v, int) and not isinstance(v, bool) for v in (lo, hi, step))
        if not whole or step < 1 or hi < lo or (log and lo < 1):
            raise TuneError(
                f"the knob {name}: integer({lo!r}, {hi!r}, step={step!r}, log={log!r}); whole numbers with lo <= hi, "
                "step >= 1 (and lo >= 1 with log) are needed",
            )
        return int(self._ask(Knob(name, None, lo, lo + (hi - lo) // step * step, step, log)))

    def divides(self, name: str, n: int, lo: int = 1, hi: int | None = None) -> int:
        """A divisor of n, from lo to hi."""
        if not isinstance(n, int) or n < 1:
            raise TuneError(f"the knob {name}: divides({n!r}); a whole number of at least 1 is needed")
        top = n if hi is None else hi
        small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
        found = sorted({d for s in small for d in (s, n // s) if lo <= d <= top})
        if not found:
            raise TuneError(f"the knob {name}: {n} has no divisor from {lo} to {top}")
        return int(self._ask(Knob(name, tuple(found))))

    def boolean(self, name: str) -> bool:
        """False or True."""
        return bool(self._ask(Knob(name, (False, True))))

    def permutation(self, name: str, axes: Sequence[Any]) -> tuple[Any, ...]:
        """The given axes (or names) in some order."""
        by_name = {_name_of(a): a for a in axes}
        if len(by_name) != len(axes) or not 0 < len(axes) <= 8:
            raise TuneError(f"the knob {name}: permutation of {list(by_name)}; one to eight different axes are needed")
        chosen = self._ask(Knob(name, tuple(" ".join(order) for order in itertools.permutations(by_name))))
        return tuple(by_name[n] for n in chosen.split())

    def require(self, condition: Any, reason: str = "") -> None:
        """Reject the configuration unless the condition holds."""
        if not condition:
            raise Rejected(reason)


class FixedKnobs(Knobs):
    """The values of a configuration."""

    def __init__(self, given: Mapping[str, Value]) -> None:
        super().__init__()
        self._given = dict(given)

    def _answer(self, knob: Knob) -> Value:
        if knob.name not in self._given:
            raise TuneError(f"the configuration {self._given} has no value for the knob {knob.name}")
        value = frozen(self._given[knob.name])
        if value not in knob:
            shown = ", ".join(map(str, list(knob.options)[:12]))
            raise TuneError(f"the knob {knob.name} cannot be {value!r}; it is one of {shown}")
        return value


class Template:
    """A function ``f(cfg, *args) -> (schedule, tensors)`` whose knobs can be searched. Calling it calls the
    function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TuneError(f"te.template takes a function of knobs and arguments, not {function!r}")
        self.function = function
        functools.update_wrapper(self, function)
        self.name: str = getattr(function, "__name__", type(function).__name__)

    @property
    def reference(self) -> str:
        """Where it can be imported from: ``module:name``."""
        return f"{getattr(self.function, '__module__', '')}:{getattr(self.function, '__qualname__', self.name)}"

    def __call__(self, cfg: Knobs, *args: Any, **kwargs: Any) -> Any:
        return self.function(cfg, *args, **kwargs)

    def apply(self, config: Mapping[str, Value], args: Sequence[Any] = ()) -> tuple[Any, list[Any] | None]:
        """The schedule and the kernel's arguments for a configuration: ``te.build(*template.apply({"v1": 4},
        (1024,)))``.

        Raises TuneError when the configuration lacks a knob, has a value that the knob cannot have, or is rejected by
        the template.
        """
        knobs = FixedKnobs(config)
        try:
            made = self.function(knobs, *args)
        except Rejected as e:
            raise TuneError(
                f"{self.name} turns the configuration {dict(config)} down" + (f": {e.reason}" if e.reason else ""),
            ) from None
        return result_of(self.name, made)

    def fingerprint(self) -> str:
        """A hash of the function's text, of the functions of its module that it calls, and of the constants that they
        read: global ones, defaults of arguments, variables of the function around them.
        """
        digest = hashlib.sha256()
        todo: list[Any] = [self.function]
        seen: set[Any] = set()
        while todo:
            found = todo.pop()
            function = found.function if isinstance(found, Template) else found
            if isinstance(function, functools.partial):
                digest.update(_stable_text([function.args, function.keywords]).encode())
                todo.append(function.func)
            if not hasattr(function, "__code__") or function in seen:
                continue
            seen.add(function)
            cells = zip(function.__code__.co_freevars, function.__closure__ or ())
            outside = [*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())]
            outside += [(name, cell.cell_contents) for name, cell in cells if _filled(cell)]
            digest.update(_stable_text(outside).encode())
            todo += [v for o in outside for v in (o if isinstance(o, tuple) else (o,)) if _of_module(v, function)]
            codes = [function.__code__]
            while codes:
                code = codes.pop()
                digest.update(code.co_code)
                digest.update(_stable_text([c for c in code.co_consts if not hasattr(c, "co_code")]).encode())
                digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
                codes += [c for c in code.co_consts if hasattr(c, "co_code")]
                for name in code.co_names:
                    value = function.__globals__.get(name)
                    if _of_module(value, function):
                        todo.append(value)
                    elif name in function.__globals__:
                        digest.update(f"{name}={_stable_text(value)}".encode())
        return digest.hexdigest()[:16]

    def check_arguments(self, args: Sequence[Any]) -> None:
        """Raise TuneError unless the function can be called with a configuration and these arguments."""
        signature = inspect.signature(self.function)
        try:
            signature.bind(None, *args)
        except TypeError as e:
            names = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
            shown = signature.replace(parameters=names, return_annotation=signature.empty)
            raise TuneError(
                f"the template {self.name}{shown} cannot be called with a configuration and the arguments "
                f"{tuple(args)!r:.200}: {e}"
            ) from None

    def pickled(self) -> bytes:
        """The template for another process: by reference where it can be imported, by value (with cloudpickle) where
        not.
        """
        module = getattr(self.function, "__module__", "__main__")
        if module != "__main__":
            try:
                return pickle.dumps(self)
            except (pickle.PicklingError, AttributeError, TypeError):
                pass
        try:
            import cloudpickle
        except ImportError as e:
            raise TuneError(
                f"the template {self.name} is defined in {module}, where another process cannot import it. Put it in "
                f"a module of its own, or pip install cloudpickle ({e})",
            ) from None
        try:
            return bytes(cloudpickle.dumps(self))
        except Exception as e:
            raise TuneError(
                f"the template {self.name} cannot be sent to another process: {type(e).__name__}: {e}"
            ) from e

    def __reduce__(self) -> tuple[Any, ...]:
        module, _, name = self.reference.partition(":")
        if module != "__main__" and _find(module, name) is self:
            return (_find, (module, name))
        return (Template, (self.function,))

    def __repr__(self) -> str:
        return f"<template {self.name}>"


def template(function: Callable[..., Any]) -> Template:
    """A function whose knobs can be tuned: ``f(cfg, *args)`` asks for knobs and returns a schedule and the kernel's
    arguments.

    `cfg.choice(name, values)`, `cfg.integer(name, lo, hi, step, log)`, `cfg.divides(name, n)`, `cfg.boolean(name)` and
    `cfg.permutation(name, axes)` are knobs; `cfg.require(condition)` turns configurations down. A knob may be asked for
    only where others have certain values. The function must do the same whenever it gets the same answers.

    >>> import tedsl as te
    >>> @te.template
    ... def double(cfg, n):
    ...     i = te.axes("i")
    ...     A, B = te.tensor("A", (n,)), te.tensor("B"); B[i] = A[i] * 2
    ...     s = te.create_schedule(B)
    ...     s[B].split(i, factor=cfg.choice("width", [4, 8]))
    ...     return s, [A, B]
    >>> s, args = double.apply({"width": 8}, (64,))
    >>> s[args[1]].loops
    (i_o, i_i)
    """
    return function if isinstance(function, Template) else Template(function)


def as_template(what: Any) -> Template:
    """A template from what a user gives to `te.tune`: a template, a plain function, or ``"module:name"``."""
    if isinstance(what, str):
        module, colon, name = what.partition(":")
        try:
            found = _find(module, name) if colon else None
        except ImportError as e:
            raise TuneError(f"the template {what} cannot be imported: {e}") from None
        if found is None:
            raise TuneError(f"there is no template {what!r}; give a function, or 'module:name'")
        return template(found)
    return template(what)


def result_of(name: str, made: Any) -> tuple[Any, list[Any] | None]:
    """The schedule and the arguments that a template returned."""
    from tedsl.schedule.schedule import Schedule

    both = tuple(made) if isinstance(made, (tuple, list)) else (made, None)
    if len(both) == 2 and isinstance(both[0], Schedule) and (both[1] is None or isinstance(both[1], (tuple, list))):
        return both[0], None if both[1] is None else list(both[1])
    raise TuneError(
        f"the template {name} returned {made!r:.80}; it returns a schedule and a list of the kernel's arguments: "
        "return s, [A, B, C]",
    )


def _find(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a variable that has no value yet
        return False


def _of_module(value: Any, function: Any) -> bool:
    """Whether a value is a function of the same module as another, or a template made of one."""
    of = value.function if isinstance(value, Template) else value
    return hasattr(of, "__code__") and getattr(of, "__module__", None) == function.__module__


def _stable_text(value: Any) -> str:
    """A constant as text that is the same in every process: sets are in order, and of what is no constant there is the
    kind alone.
    """
    if isinstance(value, dict):
        return f"{{{','.join(f'{_stable_text(k)}:{_stable_text(v)}' for k, v in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({','.join(map(_stable_text, value))})"
    if isinstance(value, (set, frozenset)):
        return f"set({','.join(sorted(map(_stable_text, value)))})"
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, type, Enum, np.generic, Expr)):
        return repr(value)
    if is_dataclass(value):
        return f"{type(value).__name__}{_stable_text({f.name: getattr(value, f.name) for f in fields(value)})}"
    return type(value).__name__


def _name_of(axis: Any) -> str:
    name = axis.name if isinstance(axis, Axis) else axis
    if not isinstance(name, str) or not name or " " in name:
        raise TuneError(f"{axis!r} is neither an axis nor its name")
    return name


def _plain(knob: str, value: Any) -> Value:
    if isinstance(value, (list, tuple)):
        return tuple(_plain(knob, v) for v in value)
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TuneError(
        f"the knob {knob} has the value {value!r}; values are numbers, texts, booleans, None, or tuples of them"
    )


def frozen(value: Value) -> Value:
    """The value with tuples for lists, which JSON gives."""
    return tuple(frozen(v) for v in value) if isinstance(value, (list, tuple)) else value
