"""tedsl: a tensor-expression and schedule language.

    import tedsl as te

    i, j, k = te.axes("i j k")
    A, B, C = te.tensor("A", (1024, 1024)), te.tensor("B", (1024, 1024)), te.tensor("C")
    C[i, j] = te.sum(A[i, k] * B[j, k])
    matmul = te.build(C)

The language itself (`tedsl.lang`) is imported at once; schedules, gradients, code generation and tuning when they are
first used, so that `import tedsl` stays light.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .lang.errors import (  # isort: skip
    BuildError, CacheWarning, CallError, CompactionWarning, DefinitionError, Error, GradientError, HistoryWarning,
    InternalError, LoweringError, OpenMPWarning, ScheduleError, TuneError,
)  # fmt: skip
from .lang.expr import Expr

from .lang.operators import (  # isort: skip
    absolute, all, any, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, argmax, argmin, cast, ceil,
    copysign, cos, cosh, erf, exp, exp2, expm1, floor, hypot, isfinite, isinf, isnan, log, log1p, log2, log10, max,
    maximum, min, minimum, power, prod, rint, rsqrt, sigmoid, sign, sin, sinh, sqrt, sum, tan, tanh, trunc, where,
)  # fmt: skip
from .lang.reductions import reducer
from .lang.tensor import Tensor, axes, placeholder, reduce_axis, tensor, var
from .version import __version__

if TYPE_CHECKING:
    # At run time these come from `__getattr__`; a function that shares its module's name has to be told from the
    # module.
    from .build import build, emit
    from .lang.arrays import broadcast_to
    from .lang.compute import compute, pad, scan
    from .lang.einsum import contract, einsum
    from .lang.notation import define
    from .lang.views import concatenate, stack
    from .machine import machine
    from .op import op

abs = absolute
pow = power
round = rint

# What is imported when it is first asked for: the public names of each module (where none are given: the module
# itself).
_LAZY = {
    name: module
    for module, names in {
        "tedsl.lang.arrays": "broadcast_to", "tedsl.lang.compute": "compute pad scan", "tedsl.lang.notation": "define",
        "tedsl.lang.einsum": "contract einsum",
        "tedsl.lang.views": "concatenate stack", "tedsl.lang.mathematics": "show",
        "tedsl.schedule": "create_schedule intrinsic lower", "tedsl.schedule.auto": "auto_schedule",
        "tedsl.schedule.cost.cost": "cost", "tedsl.schedule.cost.reuse": "reuse",
        "tedsl.autodiff": "custom_gradient grad jacobian jvp register_function stop_gradient vjp",
        "tedsl.check_grad": "check_grad", "tedsl.backends.reference": "evaluate", "tedsl.build": "build emit",
        "tedsl.machine": "machine", "tedsl.op": "op", "tedsl.tune": "load_results template tune",
        "": "autodiff backends schedule",
    }.items()
    for name in names.split()
}  # fmt: skip

__all__ = [
    "BuildError", "CacheWarning", "CallError", "CompactionWarning", "DefinitionError", "Error", "Expr",
    "GradientError", "HistoryWarning", "InternalError", "LoweringError", "OpenMPWarning", "ScheduleError", "Tensor",
    "TuneError", "__version__", "abs", "absolute", "all", "any", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctan2", "arctanh", "argmax", "argmin", "auto_schedule", "autodiff", "axes", "backends", "broadcast_to",
    "build", "cast", "ceil", "check_grad", "compute", "concatenate", "contract", "copysign", "cos", "cosh", "cost",
    "create_schedule", "custom_gradient", "define", "einsum", "emit", "erf", "evaluate", "exp", "exp2", "expm1",
    "floor", "grad", "hypot", "isfinite", "isinf", "isnan", "jacobian", "jvp", "load_results", "log", "log1p", "log2",
    "log10", "lower", "machine", "max", "maximum", "min", "minimum", "op", "pad", "placeholder", "pow", "power",
    "prod", "reduce_axis", "reducer", "reuse", "rint", "round", "rsqrt", "scan", "schedule", "show", "sigmoid",
    "sign", "sin", "sinh", "sqrt", "stack", "stop_gradient", "sum", "tan", "tanh", "template", "tensor", "trunc",
    "tune", "var", "vjp", "where",
]  # fmt: skip


class _Package(ModuleType):
    """The package as a module object. A function may share the name of the module that it lives in (`te.build`)."""

    def __setattr__(self, name: str, value: object) -> None:
        # The import system binds a submodule in its package, even when it is imported by another module long before
        # anyone asks for the function; `te.build` has to stay the function, which `__getattr__` finds.
        if not (isinstance(value, ModuleType) and _LAZY.get(name) == value.__name__):
            super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # Functions that are sent to other processes by value bring their `te` along.
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = import_module(f"{__name__}.{name}") if not module else getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
