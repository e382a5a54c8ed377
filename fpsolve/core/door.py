"""The one upward import: results reach `report` (plots, files, xarray) through this lazy door."""

import importlib
from types import ModuleType


def report() -> ModuleType:
    """The `fpsolve.report` package, imported when a result is first plotted or saved."""
    return importlib.import_module("fpsolve.report")
