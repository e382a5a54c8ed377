"""The constants that decide answers: where each stands, where its value comes from, and
runs with another value.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

import fpsolve as fp
from fpsolve.core.program import forget_programs

ORIGINS = ("derived", "measured", "free choice")
Answers = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Constant:
    """One field of the constants of a package: its value, and the words beside it."""

    package: str
    name: str
    value: Any
    words: str

    @property
    def origins(self) -> list[str]:
        """The origins that the words name."""
        return [origin for origin in ORIGINS if origin in self.words.lower()]

    def changed(self, factor: float) -> Any:
        """The value times a factor; a whole number stays one, and of what must be above
        1 the excess is changed.
        """
        if "above 1" in self.words:
            return 1 + (self.value - 1) * factor
        if isinstance(self.value, int):
            return max(1, round(self.value * factor))
        return self.value * factor


def constants() -> list[Constant]:
    """The constants of every package that has some."""
    found = []
    for module in pkgutil.walk_packages(fp.__path__, "fpsolve."):
        if module.name.endswith(".constants"):
            held = importlib.import_module(module.name).CONSTANTS
            words = comments(inspect.getsource(type(held)))
            package = module.name.removeprefix("fpsolve.").removesuffix(".constants")
            names = [field.name for field in dataclasses.fields(held)]
            found += [
                Constant(package, name, getattr(held, name), words.get(name, ""))
                for name in names
            ]
    return found


def comments(source: str) -> dict[str, str]:
    """The comment of each field of a class: the lines above it, and what stands beside
    or inside it.
    """
    found: dict[str, str] = {}
    above, name = "", ""
    for line in source.splitlines():
        text = line.strip()
        if match := re.match(r"(\w+): [^=]+ = ", text):
            name, found[match[1]] = match[1], above
            above = ""
        if "#" in text:
            comment = text.partition("#")[2].strip() + " "
            if text.startswith("#") and line.startswith("    #"):
                above += comment
            elif name:
                found[name] += comment
        elif not text:
            above = ""
    return found


def readers(held: Any) -> Iterator[tuple[Any, str]]:
    """Every module that reads these constants, and by which name."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("fpsolve"):
            yield from (
                (module, name) for name, value in vars(module).items() if value is held
            )


class Change(NamedTuple):
    """Another value of one constant of a package."""

    package: str
    name: str
    value: Any


def answers_with(
    changes: list[Change], ask: Callable[[], Answers], patch: Any
) -> Answers:
    """What `ask` finds with some constants changed, compiled anew."""
    with patch.context() as context:
        for package in {change.package for change in changes}:
            held = importlib.import_module(f"fpsolve.{package}.constants").CONSTANTS
            values = {
                change.name: change.value
                for change in changes
                if change.package == package
            }
            for module, name in list(readers(held)):
                context.setattr(module, name, dataclasses.replace(held, **values))
        forget_programs()
        jax.clear_caches()
        return ask()
