"""A problem to evolve, as the command line reads it: an equation, a start, times, a
grid, and options.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ...core.checks import check_choice, raise_value_error
from ...core.types import Initial, Numbers
from ...equation import FokkerPlanck
from ...grid import Gaussian, Grid
from ...operator import ScharfetterGummel, Spectral, SquareRoot
from ..constants import CONSTANTS
from .from_python import read_python
from .from_toml import METHODS, read_toml

KEYS = (
    "potential",
    "diffusion",
    "force",
    "initial",
    "times",
    "grid",
    "scheme",
    "method",
    "tol",
)
SCHEMES = {kind.__name__: kind for kind in (ScharfetterGummel, SquareRoot, Spectral)}
READERS = {".toml": read_toml, ".py": read_python}


@dataclasses.dataclass(frozen=True)
class Problem:
    """The input of `fpsolve run`; `notes` name the defaults that were used because the
    file does not say.
    """

    equation: FokkerPlanck
    initial: Initial
    times: Numbers
    grid: Grid
    scheme: Any
    method: Any
    tol: float | None
    notes: tuple[str, ...]


def read_problem(path: Path, overrides: dict[str, Any]) -> Problem:
    """The problem in a `.py` or `.toml` file.

    **Arguments**: `path`; `overrides` values of the same names as in the file, which
    take precedence: `times`, `tol`, `scheme`, `method` (the last two by name too).
    **Raises** `ValueError` for anything that cannot be right, an unknown key with the
    nearest right one; `FileNotFoundError`.
    """
    if path.suffix not in READERS:
        raise_value_error(
            "FILE",
            str(path),
            "it must end in .py or .toml",
            "Write the problem in Python or in TOML.",
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    found = READERS[path.suffix](path, KEYS) | overrides
    # All other keys have defaults.
    for key in ("potential", "grid"):
        if found.get(key) is None:
            allowed = f"{path.name} must give a {key}"
            raise_value_error(key, None, allowed, EXAMPLES[path.suffix][key])
    grid = found["grid"]
    notes = []
    if not isinstance(grid, Grid):
        # A TOML file makes a grid or fails: this one is from Python.
        raise_value_error(
            "grid", grid, "it must be an fp.Grid", EXAMPLES[".py"]["grid"]
        )
    initial = found.get("initial")
    times = found.get("times")
    if initial is None:
        # A density that any box holds: in the middle, with a standard deviation of a
        # twentieth of its length.
        middle = [(axis.lower + axis.upper) / 2 for axis in grid.axes]
        initial = Gaussian(middle, [(axis.length / 20) ** 2 for axis in grid.axes])
        notes.append(
            "no initial density was given: a Gaussian in the middle of the box, a "
            "twentieth of it wide"
        )
    if times is None:
        times = np.asarray(CONSTANTS.default_times)
        shown = ", ".join(map(str, CONSTANTS.default_times))
        notes.append(f"no times were given: {shown}")
    diffusion = found.get("diffusion", 1.0)
    equation = FokkerPlanck(found["potential"], diffusion, found.get("force"))
    # Of the command line and of a TOML file by name, of a Python file as objects.
    scheme = _by_name("scheme", found.get("scheme"), SCHEMES)
    method = _by_name("method", found.get("method"), METHODS)
    return Problem(
        equation=equation,
        initial=initial,
        times=times,
        grid=grid,
        scheme=scheme,
        method=method,
        tol=found.get("tol"),
        notes=tuple(notes),
    )


# What to write for a key that is missing, by the ending of the file.
EXAMPLES = {
    ".toml": {
        "potential": (
            'Add [potential] with kind = "DoubleWell" and barrier = 3.0, say.'
        ),
        "grid": (
            'Add [[grid]] with kind = "Line", lower = -3.0, upper = 3.0 and n = 64, '
            "one such table an axis."
        ),
    },
    ".py": {
        "potential": (
            "Define potential, a function of x of shape (d,): potential = lambda x: "
            "(x[0]**2 - 1)**2."
        ),
        "grid": (
            "Define grid = fp.Grid(fp.Line(-3.0, 3.0, 64)), say, with one axis a "
            "dimension."
        ),
    },
}


def _by_name(name: str, value: Any, kinds: dict[str, Any]) -> Any:
    """A scheme or a method: as it is, or made from its name."""
    if isinstance(value, str):
        check_choice(name, value, kinds)
        return kinds[value]()
    return value
