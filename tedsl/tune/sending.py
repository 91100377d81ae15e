"""Templates and executors as other processes see them."""

from __future__ import annotations

import pickle
from typing import Any

from tedsl.lang.errors import TuneError

from .template import Template


def workers_of(executor: Any) -> int:
    """How many calls an executor runs at once."""
    count = getattr(executor, "_max_workers", None)
    client = getattr(executor, "_client", None)
    if count is None and client is not None:
        count = sum(client.nthreads().values())
    return max(1, int(count or 1))


def pickled(template: Template) -> bytes:
    """The template for another process: by reference where it can be imported, by value (with cloudpickle) where
    not.
    """
    module = getattr(template.function, "__module__", "__main__")
    if module != "__main__":
        try:
            return pickle.dumps(template)
        except (pickle.PicklingError, AttributeError, TypeError):
            pass
    try:
        import cloudpickle
    except ImportError as e:
        raise TuneError(
            f"the template {template.name} is defined in {module}, where another process cannot import it. Put it in "
            f"a module of its own, or pip install cloudpickle ({e})",
        ) from None
    try:
        return bytes(cloudpickle.dumps(template))
    except Exception as e:
        raise TuneError(
            f"the template {template.name} cannot be sent to another process: {type(e).__name__}: {e}"
        ) from e
