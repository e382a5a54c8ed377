"""The base class of all results: a record of their numbers, and files, datasets and
pictures made from it.
"""

import abc
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..core.checks import is_concrete, raise_value_error
from ..core.late import late
from ..core.types import AnyArray, FilePath
from ..equation import Equation
from ..grid import Axis, Grid
from .record import DIMENSIONS, FORMAT_VERSION, Record
from .types import Dataset, Figure


class Result(eqx.Module):
    """A result on a grid; abstract. The name of its class is its kind, which determines
    its arrays (`DIMENSIONS`).
    """

    equation: eqx.AbstractVar[Equation]
    grid: eqx.AbstractVar[Grid]

    @property
    @abc.abstractmethod
    def stats(self) -> dict[str, Any]:
        """Statistics of the computation and reasons of its choices, by name."""

    @abc.abstractmethod
    def details(self) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """Additional contents of the record: entries of the header, arrays by name."""

    def record(self) -> Record:
        """The result as a header and named numpy arrays, which is also the content of a
        file.

        **Raises** `ValueError` for a result whose values are traced (inside `jit`,
        `vmap`, `grad`).
        """
        kind = type(self).__name__
        given = {name: getattr(self, name) for name in DIMENSIONS[kind]}
        if not is_concrete(given):
            raise_value_error(
                "result",
                kind,
                "its values are traced",
                "Save and plot outside of jit, vmap and grad.",
            )
        arrays = {name: np.asarray(array) for name, array in given.items()}
        equation = self.equation
        grid = self.grid
        stats = self.stats
        header: dict[str, Any] = {
            "format": "fpsolve",
            "format_version": FORMAT_VERSION,
            "fpsolve": version("fpsolve"),
            "kind": kind,
            "grid": [_axis_entry(axis) for axis in grid.axes],
            "equation": eqx.tree_pformat(equation, short_arrays=False),
            "process": equation.evolves_density,  # the name is part of the file format
            "stats": stats,
            "scheme": stats.get("scheme"),
            "method": stats.get("method"),
        }
        # A result with output times repeats them in the header, where they can be read
        # without opening the arrays.
        if "times" in arrays:
            header["times"] = arrays["times"].tolist()
            header["error"] = arrays["error"].tolist()
        potential = _potential(equation, grid, arrays.get("times"))
        if potential is not None:
            arrays["potential"] = potential
        # What the kind has beside the arrays of `DIMENSIONS`; it may replace entries.
        entries, more = self.details()
        arrays |= {name: np.asarray(array) for name, array in more.items()}
        return Record(kind, grid, arrays, header | entries)

    def save(self, path: FilePath) -> None:
        """Write to `path`: `.npz` with a JSON header, or `.nc` (netCDF, with the `io`
        extra), atomically.
        """
        late("io").save(self, path)

    def to_xarray(self) -> Dataset:
        """An `xarray.Dataset` with named dimensions (with the `io` extra)."""
        return late("io").to_xarray(self)

    def plot(self) -> Figure:
        """A matplotlib figure of the result (with the `plot` extra)."""
        return late("plot").draw(self)


def _axis_entry(axis: Axis) -> dict[str, Any]:
    """An axis in the header: what its constructor takes, and the name of its kind."""
    return {
        "kind": type(axis).__name__,
        "lower": axis.lower,
        "upper": axis.upper,
        "n": axis.n,
    }


def _potential(
    equation: Equation, grid: Grid, times: np.ndarray | None
) -> np.ndarray | None:
    """The potential `(*shape)`, or `(T, *shape)` if it is time-dependent; None for an
    equation without a potential.
    """
    if getattr(equation, "potential", None) is None:
        return None
    energy = equation.functions["potential"]
    # A result without output times, such as a spectrum, gets the potential at t = 0.
    if not equation.time_dependent or times is None:
        return np.asarray(grid.sample(lambda x: energy(x, jnp.zeros(()))))
    fields = [grid.sample(lambda x, t=t: energy(x, t)) for t in jnp.asarray(times)]
    return np.stack(fields)
