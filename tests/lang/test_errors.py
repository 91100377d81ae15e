"""Errors: their classes, texts, places and travels."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path

import pytest

from tedsl.lang import errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.Error)]
WARNINGS = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, Warning)]


def test_the_family():
    names = {c.__name__ for c in CLASSES}
    for name in "Definition Schedule Lowering Build Call Tune Gradient Internal".split():
        assert f"{name}Error" in names
    assert issubclass(errors.CallTypeError, TypeError) and issubclass(errors.CallValueError, ValueError)
    assert issubclass(errors.CallIndexError, IndexError) and issubclass(errors.CallMemoryError, MemoryError)
    for name in ("Type", "Value", "Index", "Memory"):
        assert issubclass(getattr(errors, f"Call{name}Error"), errors.CallError)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("location", [None, errors.Location("/home/user/file.py", 12)])
def test_errors_travel(kind, location):
    error = kind("C[i]: the extents of i are 3 and 4", location)
    error.detail = {"i": (3, 4)}
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is kind and str(other) == str(error) and repr(other) == repr(error)
        assert other.location == location and other.message == error.message and other.detail == error.detail


def test_a_message_ends_with_the_place():
    error = errors.DefinitionError("no extent for axis i", errors.Location("/home/user/file.py", 12))
    assert str(error) == "no extent for axis i  at file.py:12"
    assert repr(error) == "DefinitionError('no extent for axis i  at file.py:12')"
    assert str(errors.DefinitionError("no extent", None)) == "no extent"
    assert str(errors.Error("", None)) == ""


def test_an_internal_error_says_so_and_asks_for_a_report():
    text = str(errors.InternalError("loops without an extent"))
    assert text.startswith("internal error of tedsl: loops without an extent") and "Please report it" in text


def test_here_is_the_line_of_the_caller():
    place = errors.here()
    line = inspect.currentframe().f_lineno - 1
    assert place == errors.Location(__file__, line)
    assert str(place) == f"{Path(__file__).name}:{line}" and place.file == __file__
    assert repr(place) == f"Location({__file__!r}, {line})"
    assert pickle.loads(pickle.dumps(place)) == place and hash(place) == hash(errors.Location(__file__, line))
    assert place != errors.Location(__file__, line + 1) and place != "place"


def frames(*names: str):
    """Call `here` through modules of these names, the outermost first."""
    functions = []
    for number, name in enumerate(reversed(names)):
        inner = functions[-1] if functions else errors.here
        scope = {"__name__": name, "inner": inner}
        exec(compile("def call():\n    return inner()\n", f"<frame {len(names) - number - 1}>", "exec"), scope)
        functions.append(scope["call"])
    return functions[-1]()


def test_warnings_blame_the_user(recwarn):
    scope = {"__name__": "tedsl.deep", "errors": errors}
    exec(compile("def f():\n    errors.warn('[W002] text', errors.CacheWarning)\n", "<tedsl>", "exec"), scope)
    scope["f"]()
    line = inspect.currentframe().f_lineno - 1
    assert (recwarn[0].filename, recwarn[0].lineno, str(recwarn[0].message)) == (__file__, line, "[W002] text")


def test_here_looks_past_the_package():
    assert frames("user", "tedsl.top", "tedsl.schedule.tile") == errors.Location("<frame 0>", 2)
    assert frames("user", "tedsl", "helper", "tedsl.lang") == errors.Location("<frame 2>", 2)
    assert frames("tedsl_tools", "tedsl.lang") == errors.Location("<frame 0>", 2)


def test_a_location_keeps_no_code_alive_once_shown():
    import gc
    import weakref

    scope = {"errors": errors, "__name__": "user"}
    exec(compile("def f():\n    return errors.here()\n", "user.py", "exec"), scope)
    place, code = scope["f"](), weakref.ref(scope["f"].__code__)
    assert place.file == "user.py"
    scope.clear()
    gc.collect()
    assert code() is None


@pytest.mark.parametrize("kind", WARNINGS)
def test_warnings_have_an_id(kind):
    assert issubclass(kind, UserWarning) and kind.__doc__.startswith("[W0")
