"""Functions that a test registers are gone when it ends: other tests look at all there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tedsl.autodiff.derivatives import TABLE
from tedsl.lang.functions import FUNCTIONS


@pytest.fixture(autouse=True)
def registered_functions() -> Iterator[None]:
    functions, table = dict(FUNCTIONS), dict(TABLE)
    yield
    FUNCTIONS.clear()
    FUNCTIONS.update(functions)
    TABLE.clear()
    TABLE.update(table)
