"""Arrays that come from and go to .npy files, with an `InputError` for whatever is wrong with them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tedsl.terminal import InputError

if TYPE_CHECKING:
    from tedsl.lang.tensor import Tensor

_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.?\d+)(e[+-]?\d+)?\Z|[+-]?(inf|nan)\Z", re.ASCII | re.IGNORECASE)
_DTYPES = frozenset("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split())


def read_assignments(words: Sequence[str]) -> dict[str, int | float | np.ndarray]:
    """The values of ``NAME=VALUE`` words: numbers, or the arrays in files."""
    values: dict[str, int | float | np.ndarray] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not text or not name.isidentifier():
            raise InputError(f"'{word}' is not of the form NAME=FILE.npy or NAME=NUMBER")
        if name in values:
            raise InputError(f"'{name}' is given twice")
        if _INTEGER.match(text):
            values[name] = int(text)
        elif _FLOAT.match(text):
            values[name] = float(text)
        else:
            values[name] = read(text, name)
    return values


def read(path: str, name: str) -> np.ndarray:
    """The array in an .npy file, in this machine's byte order. Never unpickles."""
    try:
        with open(path, "rb") as file:
            magic = file.read(len(np.lib.format.MAGIC_PREFIX))
            if magic[:4] == b"PK\x03\x04":
                raise InputError(
                    f"{name}: '{path}' is an .npz file, which holds several arrays; save the one with np.save"
                )
            if magic != np.lib.format.MAGIC_PREFIX:
                raise InputError(f"{name}: '{path}' is no .npy file; save the array with np.save")
            file.seek(0)
            array = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{name}: there is no file '{path}'") from None
    except OSError as error:
        raise InputError(f"{name}: cannot read '{path}': {error.strerror or error}") from None
    except (ValueError, EOFError) as error:
        reason = "it holds Python objects" if "allow_pickle" in str(error) else str(error)
        raise InputError(f"{name}: '{path}' cannot be read as an array: {reason}") from None
    array = np.asarray(array, array.dtype.newbyteorder("="))
    if array.dtype.name not in _DTYPES:
        raise InputError(f"{name}: '{path}' holds {array.dtype}, which tedsl has no type for")
    return array


def declare(name: str, array: np.ndarray) -> Tensor:
    """A tensor that describes the array: its shape, its dtype, and the order in which it lies."""
    import tedsl as te

    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return te.tensor(name, array.shape, dtype=array.dtype.name, order=order)


def check_writable(path: str) -> None:
    """Refuse a place where nothing can be written, before the work is done."""
    if os.path.isdir(path):
        raise InputError(f"cannot write '{path}': it is a folder")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise InputError(f"cannot write '{path}': there is no folder '{folder}'")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write '{path}': the folder '{folder}' is read-only")


def check_several(path: str, names: Sequence[str]) -> None:
    """Refuse to write several results to a file whose name says that it holds one."""
    if len(names) > 1 and path.endswith(".npy"):
        raise InputError(
            f"cannot write '{path}': there are {len(names)} results ({', '.join(names)}); give an .npz file"
        )


def write(path: str, results: Mapping[str, Any]) -> None:
    """Write the result, one as .npy, several as .npz; the file is there whole or not at all."""
    import contextlib

    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):  # a device or a pipe cannot be replaced
        with open(target, "wb") as file:
            _save(file, results)
        return
    part = f"{target}.{os.getpid()}.part"
    try:
        with open(part, "xb") as file:  # not tempfile: the result gets the permissions that the user's umask gives
            _save(file, results)
        os.replace(part, target)
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            os.remove(part)


def _save(file: Any, results: Mapping[str, Any]) -> None:
    if len(results) == 1:
        np.save(file, next(iter(results.values())), allow_pickle=False)
    else:
        # as np.savez writes it, but for any names, and never pickled
        with zipfile.ZipFile(file, "w") as whole:
            for name, array in results.items():
                with whole.open(f"{name}.npy", "w", force_zip64=True) as part:
                    np.lib.format.write_array(part, np.asanyarray(array), allow_pickle=False)
