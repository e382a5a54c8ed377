"""The record of a result: a header and named arrays. Files contain it; datasets and
pictures are made from it.

    Field           values, error
    Solution        times, values, error, error_<part>, potential, observable_<name>
    Spectrum        values, vectors, residuals, errors, multiplicities, potential
    Correspondence  times, density, wave, root, difference, error, error_<part>,
                    spectra, level_errors, potential
    Continuation    times, values, reference, difference, error, error_<part>, bound,
                    potential
    Bridge          times, values, forward, backward, log_forward, log_backward, drift,
                    error, error_<part>, potential
    Transport       times, lambdas, values, kl, tv, infidelity, gap, bound, kl_bound,
                    work, free_energy, entropy, error, potential

The array `root` is sqrt(pi).
"""

import dataclasses
from typing import Any

import numpy as np

from ..core.checks import raise_value_error
from ..core.late import late
from ..core.types import FilePath
from ..grid import Grid
from .types import Dataset, Figure

FORMAT_VERSION = 1
OBSERVABLE = "observable_"  # prefix of the arrays of observables
ERROR_PART = "error_"  # prefix of the parts of the error of a solution

# The arrays of a transport with one number for each output time.
TRANSPORT_SERIES = (
    "times",
    "lambdas",
    "kl",
    "tv",
    "infidelity",
    "gap",
    "bound",
    "kl_bound",
    "work",
    "free_energy",
    "entropy",
    "error",
)

# The dimensions of each array; "*" stands for those of the grid. A static potential or
# sqrt(pi) has no dimension "time" and is not listed, see `Record.dimensions`.
DIMENSIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "Field": {"values": ("*",), "error": ("*",)},
    "Solution": {"times": ("time",), "values": ("time", "*"), "error": ("time",)},
    "Spectrum": {
        "values": ("mode",),
        "vectors": ("mode", "*"),
        "residuals": ("mode",),
        "errors": ("mode",),
        "multiplicities": ("mode",),
    },
    "Correspondence": {
        "times": ("time",),
        "density": ("time", "*"),
        "wave": ("time", "*"),
        "difference": ("time",),
        "error": ("time",),
        "spectra": ("side", "mode"),
        "level_errors": ("mode",),
    },
    "Continuation": {
        "times": ("time",),
        "values": ("time", "*"),
        "reference": ("time", "*"),
        "difference": ("time",),
        "error": ("time",),
        "bound": ("time",),
    },
    "Bridge": {
        "times": ("time",),
        "values": ("time", "*"),
        "forward": ("time", "*"),
        "backward": ("time", "*"),
        "drift": ("time", "*", "component"),
        "error": ("time",),
    },
    "Transport": {
        "values": ("time", "*"),
        **dict.fromkeys(TRANSPORT_SERIES, ("time",)),
    },
}


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A result as numpy arrays; `fp.load` returns it.

    **Arguments**: `kind`, the name of the result's class, as listed above in this file;
    `grid` its grid; `arrays` by name, as listed there; `header` everything else, in
    types that JSON knows: versions, scheme, method, statistics, result, and the
    equation as text. `record["density"]` is an array; `.times`, `.values` and
    `.observables` are the most common ones.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    record = fp.evolve(
        fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.5], grid=grid
    ).record()
    ```
    """

    kind: str
    grid: Grid
    arrays: dict[str, np.ndarray]
    header: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise_value_error(
                "name",
                name,
                f"a {self.kind} has the arrays {', '.join(self.arrays)}",
                "Take one of them.",
            )
        return self.arrays[name]

    @property
    def times(self) -> np.ndarray:
        """The output times `(T,)`."""
        return self["times"]

    @property
    def values(self) -> np.ndarray:
        """Densities or waves `(T, *shape)` of a solution; levels `(k,)`."""
        return self["values"]

    @property
    def observables(self) -> dict[str, np.ndarray]:
        """Expectations by name, `(T, ...)`."""
        names = self.header.get("observables", [])
        return {name: self[OBSERVABLE + name] for name in names}

    def dimensions(self, name: str) -> tuple[str, ...]:
        """The names of the dimensions of an array, such as `("time", "x0", "x1")`."""
        array = self[name]
        space = tuple(f"x{i}" for i in range(self.grid.ndim))
        named = DIMENSIONS[self.kind].get(name)
        if named is None and name.startswith(OBSERVABLE):
            # An observable may be a vector or a matrix; its own axes are named after
            # it.
            stem = name.removeprefix(OBSERVABLE)
            named = ("time", *(f"{stem}_{i}" for i in range(array.ndim - 1)))
        if named is None and name.startswith(ERROR_PART):
            named = ("time",)
        if named is None:
            # A potential or sqrt(pi): on the grid, or at each time on the grid.
            named = ("*",) if array.ndim == len(space) else ("time", "*")
        found: list[str] = []
        for entry in named:
            found += space if entry == "*" else (entry,)
        return tuple(found)

    def plot(self) -> Figure:
        """The same matplotlib figure as that of the result (with the `plot` extra)."""
        if self.kind == "Transport":
            raise_value_error(
                "kind",
                self.kind,
                "a record does not contain the path, which the figure needs",
                "Plot the transport before you save it.",
            )
        # `plot` is above this package, and is imported when it is needed.
        return late("plot").draw(self)

    def save(self, path: FilePath) -> None:
        """Write to `path`, `.npz` or `.nc`, atomically."""
        late("io").save(self, path)

    def to_xarray(self) -> Dataset:
        """An `xarray.Dataset` with named dimensions (with the `io` extra)."""
        return late("io").to_xarray(self)
