from typing import Any

from tedsl.backends.calls.arguments import Arguments

class Caller:
    arguments: Arguments
    def __call__(self, *args: Any, out: Any = None, threads: int | None = None) -> Any: ...
    def _seconds(
        self, args: tuple[Any, ...], out: Any, threads: int | None, repeat: int, seconds: float
    ) -> list[float]: ...

class LoadedKernel(Caller):
    def __init__(self, spec: tuple[Any, ...], path: str, symbol: str) -> None: ...
