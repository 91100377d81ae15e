"""Gradients of index expressions, as index expressions."""

from __future__ import annotations

from .api import grad, jacobian, jvp, vjp
from .check import check_grad
from .register import register_function
from .rules import custom_gradient, stop_gradient
from .show import show

__all__ = [
    "check_grad",
    "custom_gradient",
    "grad",
    "jacobian",
    "jvp",
    "register_function",
    "show",
    "stop_gradient",
    "vjp",
]
