"""A problem from a TOML file: potentials of the library with their numbers.

    diffusion = 1.0
    times = [0.1, 1.0]
    [potential]     kind = "DoubleWell", barrier = 3.0
    [initial]       mean = [-1.0], covariance = 0.04
    [[grid]]        kind = "Line", lower = -2.5, upper = 2.5, n = 64

Several [[potential]] add up; there is one [[grid]] a dimension. A potential that
depends on time is [potential] with start, end and schedule = {kind = "linear", total =
10.0}. A path has [start] and [end] in place of [potential].
"""

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...anneal.schedule.schedules import linear
from ...core.checks import check_choice, nearest, raise_value_error
from ...grid import Absorbing, Gaussian, Grid, Legendre, Line, Periodic, Reflecting
from ...path import Mix
from ...potential import (
    Cosine,
    DoubleWell,
    GaussianMixture,
    Harmonic,
    MexicanHat,
    MullerBrown,
    Potential,
    Quartic,
    Rugged,
    Sampled,
    Sum,
)
from ...propagate import Chebyshev, Dense, Implicit, Rational, Splitting, Uniformization
from ...step import Magnus


def _table(*kinds: type) -> dict[str, type]:
    """Classes by their names."""
    return {kind.__name__: kind for kind in kinds}


AXES = _table(Line, Reflecting, Absorbing, Periodic, Legendre)
POTENTIALS = _table(
    Harmonic,
    DoubleWell,
    Quartic,
    Cosine,
    MexicanHat,
    MullerBrown,
    GaussianMixture,
    Rugged,
    Sampled,
)
METHODS = _table(
    Chebyshev, Rational, Splitting, Implicit, Magnus, Uniformization, Dense
)
# keys of a potential that depends on time
TIME_DEPENDENT = ("start", "end", "schedule")


def read_toml(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The contents of the file as potentials, axes and numbers.

    **Raises** `ValueError` for broken TOML, an unknown key anywhere (naming the nearest
    right one), a missing or unsuitable argument.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        # a vector field needs Python
        keys = tuple(key for key in keys if key != "force")
        check_keys("", found, keys)
        return {key: _read(key, value) for key, value in found.items()}
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _read(key: str, value: Any) -> Any:
    """The value of a key of the file as potential, grid, density, method or numbers."""
    if key in ("potential", "start", "end"):
        return _potential(key, value)
    if key in ("diffusion", "total", "times", "tol"):
        return _numbers(key, value)
    if key == "grid":
        return _grid(value)
    if key == "initial":
        # The only density that has a table: its kind need not be given.
        table = {"kind": "Gaussian", **_one("initial", value)}
        return _make("initial", table, _table(Gaussian))
    if key == "method" and not isinstance(value, str):
        return _make("method", value, METHODS)
    # `scheme`, `cost` and a method without arguments are names.
    return value


def _grid(value: Any) -> Grid:
    """The grid of all tables [[grid]], in their order."""
    tables = enumerate(_tables("grid", value))
    return Grid(*(_make(f"grid[{i}]", table, AXES) for i, table in tables))


def check_keys(where: str, table: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Raise `ValueError` for a key that is not allowed, naming the nearest that is."""
    allowed = tuple(allowed)
    for key, value in table.items():
        if key not in allowed:
            name = f"{where}.{key}" if where else key
            message = f"there is no such key; allowed here: {', '.join(allowed)}"
            cure = f"Did you mean {nearest(key, allowed)!r}?"
            raise_value_error(name, value, message, cure)


def _potential(where: str, value: Any) -> Potential:
    """One potential, the sum of several, or one that moves from one to another."""
    if isinstance(value, list):
        tables = enumerate(_tables(where, value))
        parts = [_potential(f"{where}[{i}]", part) for i, part in tables]
        return parts[0] if len(parts) == 1 else Sum(*parts)
    table = _one(where, value)
    # A table with a kind is one potential; without one it has start, end and schedule.
    if "kind" in table or not any(key in table for key in TIME_DEPENDENT):
        return _make(where, table, POTENTIALS, ("kind", *TIME_DEPENDENT))
    check_keys(where, table, TIME_DEPENDENT)
    for key in TIME_DEPENDENT:
        if key not in table:
            allowed = f"a time-dependent potential needs {', '.join(TIME_DEPENDENT)}"
            raise_value_error(where, table, allowed, f"Add {key}.")
    schedule = _make(f"{where}.schedule", table["schedule"], {"linear": linear})
    start, end = (_potential(f"{where}.{key}", table[key]) for key in ("start", "end"))
    return Mix(start, end).driven(schedule)


def _make(
    where: str, value: Any, kinds: dict[str, Any], keys: tuple[str, ...] = ("kind",)
) -> Any:
    """The object that a table with `kind` and its arguments describes."""
    arguments = dict(_one(where, value))
    if "kind" not in arguments:
        # First the misspelt key, which may be the kind.
        check_keys(where, arguments, keys)
        cure = f"Give kind = one of {', '.join(kinds)}."
        raise_value_error(where, value, "it needs a kind", cure)
    kind = arguments.pop("kind")
    # TOML may have a number there, which is then reported as a text.
    name_of_kind = kind if isinstance(kind, str) else repr(kind)
    check_choice(f"{where}.kind", name_of_kind, kinds)
    # The arguments that a class takes are the keys that its table may have.
    parameters = inspect.signature(kinds[kind]).parameters
    check_keys(where, arguments, parameters)
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            allowed = f"{kind} needs {', '.join(parameters)}"
            raise_value_error(where, value, allowed, f"Add {name}.")
    for name, argument in arguments.items():
        # A table among the arguments is a potential within a potential.
        if isinstance(argument, dict):
            arguments[name] = _make(f"{where}.{name}", argument, kinds)
        else:
            _numbers(f"{where}.{name}", argument)
    try:
        return kinds[kind](**arguments)
    except ValueError as error:
        raise ValueError(f"[{where}] {error}") from error


def _numbers(name: str, value: Any) -> Any:
    """A number, or regular lists of numbers, as TOML has them."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        array = np.asarray("ragged")
    if not np.issubdtype(array.dtype, np.number):
        allowed = "it must be a number or a regular list of numbers"
        raise_value_error(name, value, allowed, "Write 1.0 or [0.5, 1.0].")
    return value


def _one(where: str, value: Any) -> Mapping[str, Any]:
    """A table. **Raises** `ValueError` for anything else."""
    if not isinstance(value, dict):
        cure = f"Write [{where}] and its keys below."
        raise_value_error(where, value, "it must be a table", cure)
    return value


def _tables(where: str, value: Any) -> list[Any]:
    """A list of tables; one table is a list of one."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list) or not value:
        cure = f"Write [[{where}]] and its keys below, once or more."
        raise_value_error(where, value, "it must be a list of tables", cure)
    return value
