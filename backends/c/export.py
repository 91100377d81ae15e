"""Ahead of time: a kernel as the source of a Python extension that needs NumPy, and not tedsl.

It comes with the text of `arguments` and ``call.pxi``, so it checks a call exactly as a kernel built in place does.
"""

from __future__ import annotations

import ast
import keyword
import os
import re
import shutil
import tempfile
from pathlib import Path

from tedsl import hardware
from tedsl.backends.c import toolchain
from tedsl.backends.codegen.module import CModule
from tedsl.lang.errors import BuildError
from tedsl.version import __version__

CALLS = Path(__file__).parent.parent / "calls"
MARK = f"Written by tedsl {__version__}"
C_TYPES = r"(?:void|bool|_Bool|char|float|double|_Float16|int|u?int(?:8|16|32|64)_t)"

HEADER = """\
/* {mark}: {signature} */
#ifndef {guard}
#define {guard}

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{typed}/* All arguments behind pointers, inputs first: {order}. Sizes: {sizes}.
   Returns 0, -1 when memory ran out, or n > 0 for the n-th failure in the data, with details in fault[0..7]. */
int64_t {name}_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads);

#ifdef __cplusplus
}}
#endif

#endif
"""

ERRORS = '''\
class CallError(Exception):
    """The kernel was called with arguments that it cannot take."""


class CallTypeError(CallError, TypeError):
    pass


class CallValueError(CallError, ValueError):
    pass


class CallIndexError(CallError, IndexError):
    pass


class CallMemoryError(CallError, MemoryError):
    pass


class InternalError(CallError):
    pass


class CompactionWarning(UserWarning):
    """[W001] An argument had to be copied before the kernel could read it."""
'''

EXTENSION = """\
# {mark}. Build it with: python setup.py build_ext --inplace
# cython: language_level=3, annotation_typing=False
\"\"\"{signature}\"\"\"

import os

from {arguments} import Arguments

from libc.stdint cimport int32_t, int64_t

cdef extern from "{name}.h":
    int64_t exported_call "{name}_call"(void *const *, const int64_t *, int64_t *, int32_t) noexcept nogil


cdef int caller_depth() except -1:
    return 3                            # two frames of {arguments}.py, then the caller's: this file has none


{call}

cdef class ExportedKernel(Caller):
    \"\"\"{signature}\"\"\"

    def __init__(self):
        self.function = <Function>exported_call
        self._expect({spec})


_set_default_threads(_cores())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
globals()[{name!r}] = ExportedKernel()
"""

SETUP = '''\
"""{mark}. Builds the extension {extension}: python setup.py build_ext --inplace"""

import os
import shlex
import subprocess
import sysconfig

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

# Vector instructions, by the names that Linux gives to the features of the CPU; those that this machine has are used.
# PORTABLE=1 builds for any machine.
FEATURES = {features}


def cpu_flags():
    if os.environ.get("PORTABLE"):
        return []
    try:
        with open("/proc/cpuinfo") as file:
            have = next((set(line.split()) for line in file if line.startswith("flags")), set())
    except OSError:
        return []
    return [flag for feature, flag in FEATURES.items() if feature in have]


def own_flags():
    """gcc 11 and 12 compile some loops with selects wrongly (its bug 114375) when they make vectors of them."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True).stdout
    return ["-fno-tree-loop-if-convert"] if "Free Software Foundation" in said else []


extension = Extension(
    "{extension}",
    ["{extension}.pyx", "{name}.c"],
    depends=["{name}.h"],
    include_dirs=[numpy.get_include()],
    define_macros=[("NPY_TARGET_VERSION", "NPY_1_22_API_VERSION")],
    extra_compile_args={flags} + cpu_flags() + own_flags(),
    extra_link_args={link},
)
setup(name="{extension}", version="1", py_modules=["{arguments}"], ext_modules=cythonize([extension], quiet=True))
'''

README = """\
# {name}

{mark}. An extension of Python that needs NumPy alone.

    python setup.py build_ext --inplace        # needs NumPy, Cython, setuptools and a C compiler

```python
{use}
```

{rows}

Arguments that do not fit raise a TypeError, ValueError or IndexError that names them. `out=` takes {outs} to write to,
`threads=` the number of threads of parallel loops. From C, include `{name}.h` and compile `{name}.c`, with gcc 11 or 12
and -fno-tree-loop-if-convert (`setup.py` says why).
"""


def export(module: CModule, folder: str | os.PathLike[str]) -> Path:
    """Write ``NAME.c``, ``NAME.h``, ``NAME_kernel.pyx``, ``NAME_arguments.py``, ``setup.py`` and ``README.md``.

    The folder is complete or untouched. Files of an earlier export are replaced; those of others are a BuildError.
    """
    target = Path(folder).absolute()
    files = _files(module)
    if target.exists() and not target.is_dir():
        raise BuildError(f"cannot export {module.name}: {target} is a file; give a folder")
    foreign = [name for name in files if (target / name).exists() and not _is_ours(target / name)]
    if foreign:
        what = ", ".join(foreign)
        raise BuildError(
            f"cannot export {module.name}: {target} has files of the same name ({what}); give another folder"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".export-", dir=target if target.is_dir() else target.parent))
        try:
            for name, text in files.items():
                (temporary / name).write_text(text, encoding="utf-8")
            if target.is_dir():
                for name in files:
                    os.replace(temporary / name, target / name)
            else:
                temporary.chmod(0o755)
                os.rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as e:
        raise BuildError(f"cannot export {module.name} to {target}: {e.strerror}") from e
    return target


def _is_ours(path: Path) -> bool:
    try:
        return "Written by tedsl" in path.read_text(encoding="utf-8", errors="replace")[:400]
    except OSError:
        return False


def _files(module: CModule) -> dict[str, str]:
    name, extension = module.name, f"{module.name}_kernel"
    signature = f"{name}({', '.join(a.name for a in module.inputs)}) -> {', '.join(a.name for a in module.outputs)}"
    signature = ascii(signature)[1:-1].replace("*/", "* /")
    names = {
        "mark": MARK,
        "name": name,
        "extension": extension,
        "signature": signature,
        "arguments": f"{name}_arguments",
    }
    typed = _prototype(module)
    order = ascii(", ".join(a.name for a in module.args))[1:-1].replace("*/", "* /")
    sizes = ascii(", ".join(s.name for s in module.sizes) or "none")[1:-1].replace("*/", "* /")
    guard = f"TEDSL_{name.upper()}_H"
    compile_flags = [f for f in toolchain.COMMON if f not in ("-fPIC", "-shared", "-pipe")]
    openmp = ["-fopenmp"] if module.openmp else []
    return {
        f"{name}.c": f"/* {MARK}: {signature} */\n{module.source}",
        f"{name}.h": HEADER.format(**names, guard=guard, typed=typed, order=order, sizes=sizes),
        f"{extension}.pyx": EXTENSION.format(**names, call=_call(), spec=ascii(module.spec())),
        f"{name}_arguments.py": _arguments(signature),
        "setup.py": SETUP.format(
            **names,
            features={**hardware.AVX2.flags, **hardware.AVX512.flags},
            flags=[*compile_flags, *openmp],
            link=openmp,
        ),
        "README.md": README.format(**names, use=_use(module), rows=_rows(module), outs=_outs(module)),
    }


def _prototype(module: CModule) -> str:
    """The readable function's declaration, where the source defines one in types that a header can name."""
    found = re.search(rf"^((?:{C_TYPES})\s+{module.name}\s*\([^()]*\))\s*\{{", module.source, re.MULTILINE)
    if found is None:
        return ""
    parameters = found[1].partition("(")[2].rstrip(")").split(",")
    plain = rf"\s*(?:const\s+)?{C_TYPES}(?:\s+const)?\s*(?:\*\s*(?:const\s+)?)?(?:restrict\s+)?\w*\s*"
    if not all(re.fullmatch(plain, p) for p in parameters):
        return ""
    return re.sub(r"\brestrict\s+", "", " ".join(found[1].split())) + ";\n\n"  # C++ has no restrict, C does not mind


def _arguments(signature: str) -> str:
    """The text that explains or converts arguments, with its errors in place of tedsl's."""
    text = (CALLS / "arguments.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.parse(text).body:
        own = isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("tedsl", "__future__"))
        if own or isinstance(node, ast.Expr):
            for line in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[line] = ""
    body = "\n".join(lines).strip()
    first_definition = re.search(r"^\w+ = |^def |^class ", body, re.MULTILINE)
    at = first_definition.start() if first_definition else 0
    imports = "\n".join(line for line in body[:at].splitlines() if line)
    head = f'"""{MARK}: the arguments of {signature}."""\n\nfrom __future__ import annotations\n\n'
    return f"{head}{imports}\n\n\n{ERRORS}\n\n{body[at:]}\n"


def _call() -> str:
    """The text that makes calls."""
    return "\n\n".join((CALLS / name).read_text(encoding="utf-8") for name in ("tables.pxi", "call.pxi"))


def _use(module: CModule) -> str:
    name, extension = module.name, f"{module.name}_kernel"
    call = f"({', '.join(re.sub(r'[^0-9A-Za-z_]', '_', a.name) for a in module.inputs)})"
    if keyword.iskeyword(name):
        return f'import {extension}\nresult = getattr({extension}, "{name}"){call}'
    return f"from {extension} import {name}\nresult = {name}{call}"


def _rows(module: CModule) -> str:
    from tedsl.backends.calls.arguments import Arguments

    text = Arguments(module.spec())
    rows = ["| | array | dtype | shape |", "|-|-|-|-|"]
    return "\n".join(rows + [f"| {a.role} | {a.name} | {a.dtype} | {text.shape_text(a.shape)} |" for a in module.args])


def _outs(module: CModule) -> str:
    return "the array" if len(module.outputs) == 1 else f"a tuple of the {len(module.outputs)} arrays"
