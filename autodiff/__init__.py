"""Gradients of index expressions, as index expressions."""

from __future__ import annotations

from .api import grad, jacobian, jvp, vjp
from .custom import custom_gradient, stop_gradient
from .register import register_function

__all__ = [
    "custom_gradient",
    "grad",
    "jacobian",
    "jvp",
    "register_function",
    "stop_gradient",
    "vjp",
]
