"""Runs without the second look, for tests and records with another subject."""

import importlib
from collections.abc import Callable
from typing import Any

from fpsolve.solve import correspondence as sides
from fpsolve.solve import evolution_run as evolution
from fpsolve.solve import spectrum as modes


def look_once(replace: Callable[[Any, str, Any], Any]) -> None:
    """`replace(module, name, function)` the functions that look twice by ones that do
    not.
    """
    look, solve = evolution.look, modes.solve
    # The package has a function of this name.
    path = importlib.import_module("fpsolve.anneal.along")
    errors = path.errors_along
    replace(
        path, "errors_along", lambda key, computed, check: errors(key, computed, False)
    )
    for module in (evolution, sides):
        replace(module, "look", lambda plan, outcome, *_: look(plan, outcome, False))
    for module in (modes, sides):
        replace(module, "solve", lambda request, check=True: solve(request, False))
