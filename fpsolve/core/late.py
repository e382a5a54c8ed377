"""Packages above that one below needs by name: pictures and files of results.

`fpsolve` itself registers how each is imported, so that nothing below imports what lies above it.
"""

from collections.abc import Callable
from types import ModuleType

_LOADERS: dict[str, Callable[[], ModuleType]] = {}


def register(name: str, load: Callable[[], ModuleType]) -> None:
    """Have `late(name)` import a package by calling `load`."""
    _LOADERS[name] = load


def late(name: str) -> ModuleType:
    """The package registered by that name, imported at its first use."""
    return _LOADERS[name]()
