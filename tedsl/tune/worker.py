"""What runs in the processes that candidates are tried in: templates, code generation, the compiler; and, in another
one, kernels.

parent → worker    ("template", pickled, args)            what the candidates come from
                   ("build", core, compile)               run the template; answers follow as it asks
                   ("measure", Job)
                   ("answer", value), ("stop",), ("go",)
worker → parent    ("phase", name), ("ask", Knob), ("predicted", Guess), ("made", Made), ("compiled",), ("stopped",), ("rejected", reason),
                       ("failed", text), ("measured", dict)
"""

from __future__ import annotations

import hashlib
import pickle
import resource
import signal
import sys
import traceback
from dataclasses import dataclass, field
from typing import Any

from tedsl.lang.errors import Error, InternalError

from .process import die_with_parent
from .template import Knob, Knobs, Rejected, Template, Value, result_of

RECURSION = 20_000  # programs are pickled, and expressions may be deep


class _Stop(BaseException):
    """The parent knows what comes of this configuration."""


@dataclass(frozen=True)
class Guess:
    """What the model says: seconds or None, why it cannot fit or "", and the terms."""

    seconds: float | None
    misfit: str
    why: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """What a template and code generation gave. `program`: outputs and arguments, pickled; `sizes`: the numbers to
    measure with, in the order of the program's text.
    """

    module: Any
    source: str
    workload: str
    sizes: dict[str, int]
    schedule: str
    steps: list[dict[str, Any]]
    program: bytes


class _Asking(Knobs):
    """Knobs that ask the parent."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self.connection = connection

    def _answer(self, knob: Knob) -> Value:
        self.connection.send(("ask", knob))
        reply = self.connection.recv()
        if reply[0] == "stop":
            raise _Stop
        return reply[1]


def main(talk: int, life: int, scratch: str) -> None:
    """Serve requests until the parent is gone."""
    from multiprocessing.connection import Connection

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    die_with_parent(life, scratch)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    connection: Any = Connection(talk)
    builder: _Builder | None = None
    connection.send(("ready",))
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if request[0] == "template":
            builder = _begin(connection, *request[1:])
        elif request[0] == "build" and builder is not None:
            builder.build(*request[1:])
        elif request[0] == "measure":
            from .measure import serve

            serve(connection, request[1])


def _begin(connection: Any, pickled: bytes, args: tuple[Any, ...], sizes: dict[str, int]) -> _Builder | None:
    try:
        template = pickle.loads(pickled)
    except Exception as e:
        connection.send(("failed", f"the template cannot be imported in another process: {_text(e)}"))
        return None
    connection.send(("ready",))
    return _Builder(connection, template, args, sizes)


class _Builder:
    def __init__(self, connection: Any, template: Template, args: tuple[Any, ...], sizes: dict[str, int]) -> None:
        self.connection, self.template, self.args, self.sizes = connection, template, args, sizes

    def build(self, core: int, compile_here: bool) -> None:
        """One candidate: knobs, schedule, source; then, if the parent wants it, the compiler."""
        from tedsl.backends.targets import uncollected

        from .cores import building, pin

        pin([core])
        try:
            with building(core), uncollected():
                self._build(compile_here)
        except _Stop:
            self.connection.send(("stopped",))
        except Rejected as e:
            self.connection.send(("rejected", e.reason))
        except MemoryError as e:
            self.connection.send(("failed", f"out of memory while it was built: {e}"))
        except Error as e:
            self.connection.send(("failed", _text(e)))
        except Exception as e:
            last = traceback.extract_tb(e.__traceback__)[-1]
            self.connection.send(("failed", f"{_text(e)} ({last.filename.rpartition('/')[2]}:{last.lineno})"))

    def _build(self, compile_here: bool) -> None:
        self.connection.send(("phase", "template"))
        s, args = result_of(self.template.name, self.template.function(_Asking(self.connection), *self.args))
        self.connection.send(("phase", "lowering"))
        nest, guess = foresee(s, args, self.sizes)
        self.connection.send(("predicted", guess))
        self._go_on()
        made = make(s, args, nest, self.sizes)
        self.connection.send(("made", made))
        self._go_on()
        if compile_here:
            self.connection.send(("phase", "compiler"))
            compile_module(made.module)
        self.connection.send(("compiled",))

    def _go_on(self) -> None:
        if self.connection.recv()[0] == "stop":
            raise _Stop


def foresee(schedule: Any, args: Any, sizes: dict[str, int]) -> tuple[Any, Guess]:
    """The loops of a schedule, and what the model says of them."""
    from tedsl.machine import machine
    from tedsl.schedule.cost.predict import predict
    from tedsl.schedule.loops.program import make_nest

    nest = make_nest(schedule.state, args, schedule.several)
    if not sizes:
        return nest, Guess(*predict(schedule, nest, machine))
    fixed = schedule.fixed(**{k: v for k, v in sizes.items() if k in _unfixed(schedule)})
    return nest, Guess(*predict(fixed, make_nest(fixed.state, None, fixed.several), machine))


def make(schedule: Any, args: Any, nest: Any, sizes: dict[str, int]) -> Made:
    """The C module of a schedule, and what tells it from others."""
    from tedsl.backends.c.printer import generate

    from .workload import key_of, places_of, sizes_of

    module = generate(nest, schedule.outputs[0].name)
    outputs, several = schedule.outputs, schedule.several
    program = pickle.dumps((outputs, None if args is None else tuple(args)))
    text = f"{module.name}\n{module.source}\n{module.isa}"
    source = hashlib.sha256(text.encode()).hexdigest()[:32]
    workload, names = key_of(outputs, several), sizes_of(outputs)
    ordered = {name: sizes[name] for name in dict.fromkeys((*names, *sizes)) if name in sizes}
    return Made(module, source, workload, ordered, str(schedule.history), places_of(schedule), program)


def _unfixed(schedule: Any) -> set[str]:
    from tedsl.schedule.sizes import all_sizes

    return set(all_sizes(schedule.outputs, schedule.history))


def compile_module(module: Any) -> None:
    """Compile into the kernel cache, without loading."""
    from tedsl.backends.targets import TARGETS

    TARGETS["c"].compile(module)


def _text(error: BaseException) -> str:
    name = "" if isinstance(error, Error) and not isinstance(error, InternalError) else f"{type(error).__name__}: "
    return f"{name}{error}"[:2000]


__all__ = ["Guess", "Made", "compile_module", "main", "make"]
