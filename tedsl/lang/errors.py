"""The errors that tedsl raises, and the place in the user's program that they point at.

Every error is an `Error`. A message says what failed, why (the actual axes, extents and dtypes) and what to do; where
the place in the user's program is known it ends with ``  at file.py:12``.
"""

from __future__ import annotations

import os
import sys
from types import CodeType, FrameType
from typing import Any, Literal

_PACKAGE = "tedsl"


class Location:
    """A line of the user's program. Cheap to take (a code object and a number), turned into text when it is shown."""

    __slots__ = ("_code", "_file", "line")

    def __init__(self, file: str | CodeType, line: int) -> None:
        self._code: CodeType | None = None if isinstance(file, str) else file
        self._file: str | None = file if isinstance(file, str) else None
        self.line = line

    @property
    def file(self) -> str:
        """The file as Python names it (a full path for a module, ``<stdin>`` and the like for the rest)."""
        if self._file is None:
            assert self._code is not None
            self._file = self._code.co_filename
            self._code = None  # a location must not keep the user's functions alive
        return self._file

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    def __repr__(self) -> str:
        return f"Location({self.file!r}, {self.line})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Location):
            return NotImplemented
        return self.line == other.line and self.file == other.file

    def __hash__(self) -> int:
        return hash((self.file, self.line))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Location, (self.file, self.line))


def _is_own(frame: FrameType) -> bool:
    # Installed editable, the package's folders lie in several places, so a frame is told by its module's name.
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and (name == _PACKAGE or name.startswith(_PACKAGE + "."))


def here() -> Location | None:
    """The line of the innermost caller outside this package; None where there is none (embedded in C)."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not _is_own(frame):
            return Location(frame.f_code, frame.f_lineno)
        frame = frame.f_back
    return None


def warn(message: str, category: type[Warning]) -> None:
    """Warn about the line of the user's program, however deep in the package the reason is found."""
    import warnings

    depth = 2  # as warnings counts: 1 is this function, 2 its caller
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_own(frame):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)


class Error(Exception):
    """The base of all errors of tedsl. `location` is the line of the user's program that it is about, where known: the
    line that is running when the error is made, unless another is given.
    """

    def __init__(self, message: str = "", location: Location | Literal["running"] | None = "running") -> None:
        if location == "running":
            location = here()
        super().__init__(message, location)
        self.message = message
        self.location = location

    def __str__(self) -> str:
        return f"{self.message}  at {self.location}" if self.location is not None else self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            type(self),
            (self.message, self.location),
            {k: v for k, v in self.__dict__.items() if k not in ("message", "location")},
        )


class DefinitionError(Error):
    """An expression or a definition that has no meaning, or more than one."""


class ScheduleError(Error):
    """A schedule step that would change what is computed, or that cannot be carried out."""


class LoweringError(Error):
    """A definition and schedule that cannot be turned into loops."""


class BuildError(Error):
    """Loops that could not be turned into a kernel: no compiler, a compiler that failed, no room on the disk."""


class CallError(Error):
    """A kernel was called with arguments that it cannot take. Also a TypeError, ValueError or IndexError, as fits."""


class CallTypeError(CallError, TypeError):
    """A call with the wrong number or kind of arguments, or with another dtype."""


class CallValueError(CallError, ValueError):
    """A call with arrays of another shape or layout, or with memory that may not be used so."""


class CallIndexError(CallError, IndexError):
    """A call whose data-dependent index is out of range."""


class CallMemoryError(CallError, MemoryError):
    """A call that needs more memory than there is."""


class TuneError(Error):
    """A search that cannot start or go on."""


class GradientError(Error):
    """A gradient that does not exist, or that is not known."""


class InternalError(Error):
    """A failure of tedsl itself, not of the program that uses it."""

    def __str__(self) -> str:
        request = "This is a defect in tedsl, not in your program. Please report it, with the program that led to it."
        return f"internal error of tedsl: {super().__str__()}\n{request}"


class CompactionWarning(UserWarning):
    """[W001] An argument had to be copied before the kernel could read it."""


class CacheWarning(UserWarning):
    """[W002] The kernel cache cannot be used as it is."""


class HistoryWarning(UserWarning):
    """[W004] A stored schedule calls C code that this program has not declared."""


class OpenMPWarning(UserWarning):
    """[W003] The compiler has no OpenMP: parallel loops run on one thread."""
