"""A result as a header and named arrays: what a file holds, and all that datasets and pictures are made from.

Solution        times, values, error, potential, observable_<name>
Spectrum        values, vectors, residuals, errors, multiplicities, potential
Correspondence  times, density, wave, root = sqrt(pi), difference, error, spectra, potential
Transport       times, lambdas, values, kl, tv, infidelity, gap, bound, kl_bound, work, free_energy, entropy, error,
                potential
"""

import dataclasses
from typing import Any

import numpy as np

from ..core.checks import raise_value_error
from ..core.late import late
from ..grid import Grid

FORMAT_VERSION = 1
OBSERVABLE = "observable_"

COURSE = ("times", "lambdas", "kl", "tv", "infidelity", "gap", "bound", "kl_bound")
COURSE += ("work", "free_energy", "entropy", "error")  # of a transport, a number a time

# The dimensions of each array; "*" stands for those of the grid. A potential or a root at rest has no time.
DIMENSIONS: dict[str, dict[str, tuple[str, ...]]] = {
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
    },
    "Transport": {"values": ("time", "*"), **dict.fromkeys(COURSE, ("time",))},
}


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A result in numpy: what `fp.load` returns.

    **Arguments**: `kind` "Solution", "Spectrum", "Correspondence" or "Transport"; `grid` the grid it lives on; `arrays`
    by name, as the head of this file lists them; `header` the rest, ready for JSON: versions, scheme, method,
    statistics, result, the equation as text. `record["density"]` is an array; `.times`, `.values` and `.observables`
    are the usual ones.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    record = fp.evolve(fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.5], grid=grid).record()
    ```
    """

    kind: str
    grid: Grid
    arrays: dict[str, np.ndarray]
    header: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise_value_error(
                "name", name, f"a {self.kind} has the arrays {', '.join(self.arrays)}", "Take one of them."
            )
        return self.arrays[name]

    @property
    def times(self) -> np.ndarray:
        """The output times `(T,)`."""
        return self["times"]

    @property
    def values(self) -> np.ndarray:
        """Densities or waves `(T, *shape)` of a solution, levels `(k,)` of a spectrum."""
        return self["values"]

    @property
    def observables(self) -> dict[str, np.ndarray]:
        """Expectations by name, `(T, ...)`."""
        return {name: self[OBSERVABLE + name] for name in self.header.get("observables", [])}

    def dimensions(self, name: str) -> tuple[str, ...]:
        """The names of the dimensions of an array, such as `("time", "x0", "x1")`."""
        array, space = self[name], tuple(f"x{i}" for i in range(self.grid.ndim))
        words = DIMENSIONS[self.kind].get(name)
        if words is None and name.startswith(OBSERVABLE):
            words = ("time", *(f"{name.removeprefix(OBSERVABLE)}_{i}" for i in range(array.ndim - 1)))
        if words is None:
            words = ("*",) if array.ndim == len(space) else ("time", "*")
        return tuple(name for word in words for name in (space if word == "*" else (word,)))

    def plot(self) -> Any:
        """The matplotlib figure that the result itself draws (with the `plot` extra)."""
        if self.kind == "Transport":
            raise_value_error(
                "kind", self.kind, "a file keeps no path to draw", "Plot the transport before it is saved."
            )
        return late("plot").draw(self)

    def save(self, path: Any) -> None:
        """Write to `path`, `.npz` or `.nc`. Atomic."""
        late("io").save(self, path)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with named dimensions (with the `io` extra)."""
        return late("io").to_xarray(self)
