"""What runs in a worker process: templates, code generation and the compiler in a builder; kernels in a measurer."""

from __future__ import annotations

import hashlib
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from tedsl.backends.targets import uncollected
from tedsl.lang.errors import Error, InternalError

from . import messages
from .process import building, die_with_parent, pin
from .template import Knob, Knobs, Rejected, Template, Value, result_of

RECURSION = 20_000  # programs are pickled, and expressions may be deep


class _Stopped(BaseException):
    """The tuner does not want the candidate any more."""


class _Asking(Knobs):
    """Knobs whose values the tuner gives."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self.connection = connection

    def _answer(self, knob: Knob) -> Value:
        self.connection.send(messages.Ask(knob))
        reply = self.connection.recv()
        if isinstance(reply, messages.Answer):
            return reply.value
        raise _Stopped


def main(talk: int, life: int, scratch: str) -> None:
    """Serve requests until the parent is gone."""
    from multiprocessing.connection import Connection

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    die_with_parent(life, scratch)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    connection: Any = Connection(talk)
    builder: _Builder | None = None
    measurer: Any = None
    connection.send(messages.Ready())
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        match request:
            case messages.LoadTemplate():
                builder = _load(connection, request)
            case messages.Build() if builder is not None:
                builder.build(request)
            case messages.Job():
                from .measure import Measurer

                measurer = measurer or Measurer()
                measurer.serve(connection, request)


def _load(connection: Any, request: messages.LoadTemplate) -> _Builder | None:
    try:
        template = pickle.loads(request.template)
    except Exception as e:
        connection.send(messages.Failure(f"the template cannot be imported in another process: {_text(e)}"))
        return None
    connection.send(messages.Ready())
    return _Builder(connection, template, request.args, request.sizes)


class _Builder:
    def __init__(self, connection: Any, template: Template, args: tuple[Any, ...], sizes: dict[str, int]) -> None:
        self.connection, self.template, self.args, self.sizes = connection, template, args, sizes

    def build(self, request: messages.Build) -> None:
        """One candidate: knobs, schedule, source; then, if the tuner wants it, the compiler."""

        pin([request.core])
        try:
            with building(request.core), uncollected():
                last: Any = self._build(request.compiling)
        except _Stopped:
            last = messages.Stopped()
        except Rejected as e:
            last = messages.Rejection(e.reason)
        except MemoryError as e:
            last = messages.Failure(f"out of memory while it was built: {e}")
        except Error as e:
            last = messages.Failure(_text(e))
        except Exception as e:
            frame = traceback.extract_tb(e.__traceback__)[-1]
            last = messages.Failure(f"{_text(e)} ({frame.filename.rpartition('/')[2]}:{frame.lineno})")
        self.connection.send(last)

    def _build(self, compiling: bool) -> messages.Compiled:
        self.connection.send(messages.Phase("template"))
        s, args = result_of(self.template.name, self.template.function(_Asking(self.connection), *self.args))
        self.connection.send(messages.Phase("lowering"))
        nest, prediction = lower_and_predict(s, args, self.sizes)
        self._send_and_wait(prediction)
        code = generate_code(s, args, nest, self.sizes)
        self._send_and_wait(code)
        if compiling:
            from tedsl.backends.targets import TARGETS

            self.connection.send(messages.Phase("compiler"))
            TARGETS["c"].compile(code.module)
        return messages.Compiled()

    def _send_and_wait(self, message: Any) -> None:
        """Tell the tuner how far it has come; raise _Stopped unless it is to go on."""
        self.connection.send(message)
        if isinstance(self.connection.recv(), messages.Stop):
            raise _Stopped


def lower_and_predict(schedule: Any, args: Any, sizes: Mapping[str, int]) -> tuple[Any, messages.Prediction]:
    """The loops of a schedule, and the cost model's prediction for these sizes."""
    from tedsl.machine import machine
    from tedsl.schedule.cost.predict import predict
    from tedsl.schedule.loops.program import make_nest

    from .workload import sizes_of

    nest = make_nest(schedule.state, args, schedule.several)
    if not sizes:
        return nest, messages.Prediction(*predict(schedule, nest, machine))
    own = {*sizes_of(schedule.outputs), *schedule.factors}
    fixed = schedule.fixed(**{name: n for name, n in sizes.items() if name in own})
    return nest, messages.Prediction(*predict(fixed, make_nest(fixed.state, None, fixed.several), machine))


def generate_code(schedule: Any, args: Any, nest: Any, sizes: Mapping[str, int]) -> messages.Generated:
    """The C module of a schedule, and what tells it from others."""
    from tedsl.backends.targets import TARGETS

    from .workload import key_of, places_of, sizes_of

    outputs = schedule.outputs
    module = TARGETS["c"].emit(nest, outputs[0].name, None)
    names = (*sizes_of(outputs), *sizes)
    return messages.Generated(
        module,
        source=hashlib.sha256(f"{module.name}\n{module.source}\n{module.isa}".encode()).hexdigest()[:32],
        workload=key_of(outputs, schedule.several),
        sizes={name: sizes[name] for name in dict.fromkeys(names) if name in sizes},
        schedule=str(schedule.history),
        steps=places_of(schedule),
        program=pickle.dumps((outputs, None if args is None else tuple(args))),
    )


def _text(error: BaseException) -> str:
    name = "" if isinstance(error, Error) and not isinstance(error, InternalError) else f"{type(error).__name__}: "
    return f"{name}{error}"[:2000]
