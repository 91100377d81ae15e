"""Lists, tuples and dicts of tensors, as users pass them: taken apart, and put together again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import GradientError
from .expr import Access
from .tensor import Tensor
from .text import text


def flatten(value: Any, what: str) -> list[Tensor]:
    """The tensors of a structure of lists, tuples and dicts, in order. Raises GradientError for anything else in it."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [t for v in value.values() for t in flatten(v, what)]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in flatten(v, what)]
    if isinstance(value, Access):
        raise GradientError(
            f"{what} is the element `{text(value)}`; gradients are of whole tensors: give {value.tensor.name}, or a "
            f"rank-0 tensor L[()] = {text(value)}",
        )
    raise GradientError(f"{what} is {value!r}; it is a tensor, or a list, tuple or dict of tensors")


def rebuild(like: Any, results: Sequence[Any]) -> Any:
    """`results` in the structure of `like`."""
    rest = iter(results)

    def build(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: build(v) for k, v in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(build(v) for v in value))
        if isinstance(value, (list, tuple)):
            return type(value)(build(v) for v in value)
        return next(rest)

    return build(like)
