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

from .lang.errors import (
    BuildError,
    CacheWarning,
    CallError,
    CompactionWarning,
    DefinitionError,
    Error,
    GradientError,
    HistoryWarning,
    InternalError,
    LoweringError,
    OpenMPWarning,
    ScheduleError,
    TuneError,
)
from .lang.expr import Expr
from .lang.functions import (
    absolute,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    cast,
    ceil,
    copysign,
    cos,
    cosh,
    erf,
    exp,
    exp2,
    expm1,
    floor,
    hypot,
    isfinite,
    isinf,
    isnan,
    log,
    log1p,
    log2,
    log10,
    maximum,
    minimum,
    power,
    rint,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
    trunc,
    where,
)
from .lang.reductions import all, any, argmax, argmin, max, min, prod, reducer, sum
from .lang.tensor import Tensor, axes, placeholder, reduce_axis, tensor, var
from .version import __version__

if TYPE_CHECKING:
    # At run time these come from `__getattr__`; a function that shares its module's name has to be told from the
    # module.
    from .build import build, emit
    from .lang.arrays import broadcast_to
    from .lang.compute import compute, pad, scan
    from .lang.notation import define
    from .lang.views import concatenate, stack
    from .machine import machine
    from .op import op

abs = absolute
pow = power
round = rint

# What is imported when it is first asked for: public name -> the module that has it under the same name.
_LAZY = {
    "broadcast_to": "tedsl.lang.arrays",
    "compute": "tedsl.lang.compute",
    "concatenate": "tedsl.lang.views",
    "define": "tedsl.lang.notation",
    "pad": "tedsl.lang.compute",
    "scan": "tedsl.lang.compute",
    "stack": "tedsl.lang.views",
    "auto_schedule": "tedsl.schedule.auto",
    "autodiff": "",
    "backends": "",
    "build": "tedsl.build",
    "check_grad": "tedsl.check_grad",
    "cost": "tedsl.schedule.cost.cost",
    "create_schedule": "tedsl.schedule",
    "custom_gradient": "tedsl.autodiff",
    "emit": "tedsl.build",
    "evaluate": "tedsl.backends.reference",
    "grad": "tedsl.autodiff",
    "intrinsic": "tedsl.schedule",
    "jacobian": "tedsl.autodiff",
    "jvp": "tedsl.autodiff",
    "load_results": "tedsl.tune",
    "lower": "tedsl.schedule",
    "machine": "tedsl.machine",
    "op": "tedsl.op",
    "register_function": "tedsl.autodiff",
    "reuse": "tedsl.schedule.cost.reuse",
    "schedule": "",
    "show": "tedsl.lang.mathematics",
    "stop_gradient": "tedsl.autodiff",
    "template": "tedsl.tune",
    "tune": "tedsl.tune",
    "vjp": "tedsl.autodiff",
}

__all__ = [
    "BuildError",
    "CacheWarning",
    "CallError",
    "CompactionWarning",
    "DefinitionError",
    "Error",
    "Expr",
    "GradientError",
    "HistoryWarning",
    "InternalError",
    "LoweringError",
    "OpenMPWarning",
    "ScheduleError",
    "Tensor",
    "TuneError",
    "__version__",
    "abs",
    "absolute",
    "all",
    "any",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "argmax",
    "argmin",
    "auto_schedule",
    "autodiff",
    "axes",
    "backends",
    "broadcast_to",
    "build",
    "cast",
    "ceil",
    "check_grad",
    "compute",
    "concatenate",
    "copysign",
    "cos",
    "cosh",
    "cost",
    "create_schedule",
    "custom_gradient",
    "define",
    "emit",
    "erf",
    "evaluate",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "grad",
    "hypot",
    "isfinite",
    "isinf",
    "isnan",
    "jacobian",
    "jvp",
    "load_results",
    "log",
    "log1p",
    "log2",
    "log10",
    "lower",
    "machine",
    "max",
    "maximum",
    "min",
    "minimum",
    "op",
    "pad",
    "placeholder",
    "pow",
    "power",
    "prod",
    "reduce_axis",
    "reducer",
    "reuse",
    "rint",
    "round",
    "rsqrt",
    "scan",
    "schedule",
    "show",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "stack",
    "stop_gradient",
    "sum",
    "tan",
    "tanh",
    "template",
    "tensor",
    "trunc",
    "tune",
    "var",
    "vjp",
    "where",
]


class _Package(ModuleType):
    """The package as a module object. A function may share the name of the module that it lives in (`te.build`)."""

    def __setattr__(self, name: str, value: object) -> None:
        # The import system binds a submodule in its package, even when it is imported by another module long before
        # anyone asks for the function; `te.build` has to stay the function.
        if isinstance(value, ModuleType) and _LAZY.get(name) == value.__name__:
            value = getattr(value, name)
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
