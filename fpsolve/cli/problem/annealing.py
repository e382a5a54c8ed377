"""A path to anneal along, as the command line reads it: a path or its two ends, and the
options.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ...anneal.schedule.schedules import COSTS
from ...core.checks import check_choice, check_finite_number, raise_value_error
from ...core.types import PotentialPath
from ...grid import Grid
from ...path import Mix
from ...plan.validation import check_times
from ...potential import as_potential
from .base import READERS

KEYS = ("path", "start", "end", "total", "diffusion", "grid", "cost", "times")
A_POTENTIAL = "it must be a potential, a function of x of shape (d,)"
WRITE = {
    ".py": (
        "Define path, a function of lambda, or start and end: start = lambda x: 2 * "
        "(x[0] + 1) ** 2."
    ),
    ".toml": 'Add [start] and [end] with kind = "Harmonic", say.',
}


@dataclasses.dataclass(frozen=True)
class Annealing:
    """The input of `fpsolve anneal`: `path`, from λ to a potential; `total` time, None
    to derive it from the path; `diffusion` D; `grid`, None to fit one; `cost` of the
    schedule, None for the best; the output `times` `(T,)`, or None.
    """

    path: PotentialPath
    total: float | None
    diffusion: float
    grid: Grid | None
    cost: str | None
    times: np.ndarray | None


def read_annealing(file: Path, overrides: dict[str, Any]) -> Annealing:
    """The path in a `.py` or `.toml` file.

    **Arguments**: `file`; `overrides` values of the same names as in the file, which
    take precedence: `total`, `diffusion`, `cost`. **Raises** `ValueError` for anything
    that cannot be right, an unknown key with the nearest right one;
    `FileNotFoundError`.
    """
    if file.suffix not in READERS:
        cure = "Write the path in Python or in TOML."
        raise_value_error("FILE", str(file), "it must end in .py or .toml", cure)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file.")
    # a function needs Python
    keys = KEYS if file.suffix == ".py" else tuple(key for key in KEYS if key != "path")
    found = READERS[file.suffix](file, keys) | overrides
    path = _path(file, found)
    total = found.get("total")
    if total is not None and not check_finite_number("total", total) > 0:
        cure = "Give the time that the whole path takes."
        raise_value_error("total", total, "it must be above zero", cure)
    cure = "Give D, one number above zero."
    diffusion = check_finite_number("diffusion", found.get("diffusion", 1.0), cure)
    if not diffusion > 0:
        raise_value_error("diffusion", diffusion, "it must be above zero", cure)
    grid = found.get("grid")
    cost = found.get("cost")
    times = found.get("times")
    if grid is not None and not isinstance(grid, Grid):
        cure = "Define grid = fp.Grid(fp.Line(-3.0, 3.0, 64)), say, or none."
        raise_value_error("grid", grid, "it must be an fp.Grid", cure)
    if cost is not None:
        # A file may have a number there, which is reported as a text.
        check_choice("cost", cost if isinstance(cost, str) else repr(cost), COSTS)
    # Output times are fractions of a total that must be known.
    if times is not None:
        times = np.asarray(check_times(times))
        if total is None:
            cure = "Give total, the time that the whole path takes."
            raise_value_error("times", times, "they go with a total", cure)
        if times[-1] > total:
            allowed = f"they must lie within [0, {total:g}]"
            cure = "Report within the time of the path."
            raise_value_error("times", times, allowed, cure)
    # An integer from the file is a number as well.
    total = None if total is None else float(total)
    return Annealing(path, total, diffusion, grid, cost, times)


def _path(file: Path, found: dict[str, Any]) -> Any:
    """The path of the file, or the linear mix of its two ends. Its potentials must not
    depend on time.
    """
    path = found.get("path")
    ends = [found.get("start"), found.get("end")]
    if path is not None and any(end is not None for end in ends):
        allowed = f"{file.name} gives start or end as well"
        raise_value_error("path", path, allowed, "Give either a path or its two ends.")
    if path is None:
        for name, end in zip(("start", "end"), ends, strict=True):
            if end is None:
                allowed = f"{file.name} must give a path, or start and end"
                raise_value_error(name, None, allowed, WRITE[file.suffix])
            if not callable(end):
                raise_value_error(name, end, A_POTENTIAL, WRITE[file.suffix])
        path = Mix(*ends)
    if not callable(path):
        allowed = "it must be callable, lambda -> potential"
        raise_value_error("path", path, allowed, WRITE[file.suffix])
    # The path is evaluated once: an error of the user's function is reported with the
    # name of the file.
    try:
        middle = path(0.5)
    except Exception as error:  # whatever a user's function may raise
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{file.name}: path(0.5) fails: {what}") from error
    if not callable(middle):
        raise_value_error("path(0.5)", middle, A_POTENTIAL, WRITE[file.suffix])
    if as_potential(middle).time_dependent:
        allowed = "it must not depend on time: the schedule does"
        value = type(middle).__name__
        raise_value_error("path(0.5)", value, allowed, "Leave out its time.")
    return path
