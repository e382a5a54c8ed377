"""Late imports of higher packages by name: `plot` and `io`, which results need for
pictures and files.

Imports in fpsolve go down only, so a result cannot import the package that draws it.
The top package `fpsolve` registers a loader for each of these packages, and a result
gets the package by name when it is drawn or saved.
"""

from collections.abc import Callable
from types import ModuleType

_LOADERS: dict[str, Callable[[], ModuleType]] = {}


def register(name: str, load: Callable[[], ModuleType]) -> None:
    """Register `load`, which `late(name)` calls to import a package."""
    _LOADERS[name] = load


def late(name: str) -> ModuleType:
    """The package that is registered under this name, imported at its first use."""
    return _LOADERS[name]()
