"""Records of results, and of the contents of files."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..core.checks import raise_value_error
from ..grid import Absorbing, Grid, Legendre, Line, Periodic, Reflecting
from ..record import DIMENSIONS, FORMAT_VERSION, Record, Result

if TYPE_CHECKING:
    AnyResult: TypeAlias = Result | Record
else:
    AnyResult = Any  # so that `describe` refuses others with its own message

AXES = {
    kind.__name__: kind for kind in (Line, Reflecting, Absorbing, Periodic, Legendre)
}


def describe(result: AnyResult) -> Record:
    """The `Record` of a result; a `Record` is returned as it is.

    **Raises** `ValueError` for anything else, and for a result whose values are traced
    (inside `jit`, `vmap`, `grad`).
    """
    if isinstance(result, Record):
        return result
    if not isinstance(result, Result):
        raise_value_error(
            "result",
            result,
            "it must be a result of fpsolve",
            "Give what evolve, spectrum, ... return.",
        )
    return result.record()


def read_grid(axes: list[dict[str, Any]]) -> Grid:
    """The grid that a header describes."""
    made = []
    for axis in axes:
        kind = AXES[axis["kind"]]
        made.append(kind(axis["lower"], axis["upper"], axis["n"]))
    return Grid(*made)


def check_record(arrays: dict[str, np.ndarray], header: Any) -> Record:
    """A `Record` of the contents of a file. **Raises** `ValueError`, `KeyError` or
    `TypeError` where these are inconsistent.
    """
    # A header of this library, of a format that is known.
    if not isinstance(header, dict) or header.get("format") != "fpsolve":
        raise ValueError("it has no fpsolve header")
    if header["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"it has format {header['format_version']}, and this fpsolve reads up to "
            f"{FORMAT_VERSION}"
        )
    record = Record(header["kind"], read_grid(header["grid"]), arrays, header)
    lengths = {f"x{i}": n for i, n in enumerate(record.grid.shape)}
    # All arrays that a result of this kind has.
    missing = [name for name in DIMENSIONS[record.kind] if name not in arrays]
    if missing:
        raise ValueError(f"the array {missing[0]} is missing")
    for name, array in arrays.items():
        names = record.dimensions(name)
        if len(names) != array.ndim:
            raise ValueError(
                f"the array {name} has {array.ndim} dimensions, not {len(names)}"
            )
        for dimension, n in zip(names, array.shape, strict=True):
            # The grid gives the lengths in space, the first array each other one.
            expected = lengths.setdefault(dimension, n)
            if expected != n:
                raise ValueError(
                    f"the array {name} has length {n} along {dimension}, not {expected}"
                )
    return record
