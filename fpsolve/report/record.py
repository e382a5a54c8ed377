"""A result as a header and named arrays: what a file holds, and all that datasets and pictures are made from.

Solution        times, values, error, potential, observable_<name>
Spectrum        values, vectors, residuals, errors, multiplicities, potential
Correspondence  times, density, wave, root = sqrt(pi), difference, error, spectra, potential
Transport       times, lambdas, values, kl, tv, infidelity, gap, bound, kl_bound, work, free_energy, entropy, error,
                potential
"""

import dataclasses
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..adiabatic import Transport
from ..core.checks import is_concrete, refuse
from ..correspondence import Correspondence
from ..grid import Absorbing, Grid, Legendre, Line, Periodic, Reflecting
from ..modes import Spectrum
from ..solution import Solution

FORMAT_VERSION = 1
OBSERVABLE = "observable_"
AXES = {kind.__name__: kind for kind in (Line, Reflecting, Absorbing, Periodic, Legendre)}

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
    from fpsolve.report import describe

    grid = fp.Grid(fp.Line(-3.0, 3.0, 32))
    record = describe(fp.evolve(fp.FokkerPlanck(fp.Harmonic()), fp.Gaussian(0.5, 0.5), [0.5], grid=grid))
    ```
    """

    kind: str
    grid: Grid
    arrays: dict[str, np.ndarray]
    header: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            refuse("name", name, f"a {self.kind} has the arrays {', '.join(self.arrays)}", "Take one of them.")
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
        from .plot_correspondence import plot_correspondence
        from .plot_solution import plot_solution
        from .plot_spectrum import plot_spectrum

        if self.kind not in ("Solution", "Spectrum", "Correspondence"):
            refuse("kind", self.kind, "a file keeps no path to draw", "Plot the transport before it is saved.")
        plots = {"Solution": plot_solution, "Spectrum": plot_spectrum, "Correspondence": plot_correspondence}
        return plots[self.kind](self)

    def save(self, path: Any) -> None:
        """Write to `path`, `.npz` or `.nc`. Atomic."""
        from .files import save

        save(self, path)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with named dimensions (with the `io` extra)."""
        from .dataset import to_xarray

        return to_xarray(self)


def describe(result: Any) -> Record:
    """A `Solution`, `Spectrum`, `Correspondence` or `Transport` as a `Record`; a `Record` as it is.

    **Raises** `ValueError` for anything else, and for a result whose values are traced (inside `jit`, `vmap`, `grad`).
    """
    if isinstance(result, Record):
        return result
    kind = type(result).__name__
    if not isinstance(result, Solution | Spectrum | Correspondence | Transport):
        refuse("result", result, "it must be a result of fpsolve", "Give what evolve, spectrum, ... return.")
    if not is_concrete(result.values if isinstance(result, Transport) else result):
        refuse("result", kind, "its values are traced", "Save and plot outside of jit, vmap and grad.")
    arrays = {name: np.asarray(getattr(result, name)) for name in DIMENSIONS[kind]}
    equation, grid = result.equation, result.grid
    header: dict[str, Any] = {
        "format": "fpsolve",
        "format_version": FORMAT_VERSION,
        "fpsolve": version("fpsolve"),
        "kind": kind,
        "grid": [{"kind": type(a).__name__, "lower": a.lower, "upper": a.upper, "n": a.n} for a in grid.axes],
        "equation": eqx.tree_pformat(equation, short_arrays=False),
        "process": equation.evolves_density,
        "stats": result.stats,
    }
    header |= {name: header["stats"].get(name) for name in ("scheme", "method")}
    times = arrays.get("times", np.zeros(1)) if equation.moves else np.zeros(1)
    if getattr(equation, "potential", None) is not None:
        energy = equation.functions["potential"]
        frames = [grid.sample(lambda x, t=t: energy(x, t)) for t in jnp.asarray(times)]
        arrays["potential"] = np.stack(frames) if equation.moves and "times" in arrays else np.asarray(frames[0])
    if "times" in arrays:
        header |= {"times": arrays["times"].tolist(), "error": arrays["error"].tolist()}
    if isinstance(result, Transport):
        header |= {"result": result.solution.result, "bound_by": result.bound_by}
    elif isinstance(result, Solution):
        header |= {"result": result.result, "observables": list(result.observables)}
        arrays |= {OBSERVABLE + name: np.asarray(values) for name, values in result.observables.items()}
    elif isinstance(result, Correspondence):
        header |= {"holds": result.holds, "tolerance": float(result.tolerance)}
        roots = [jnp.exp(result.equation.log_root(grid, t)) for t in jnp.asarray(times)]
        arrays["root"] = np.stack(roots) if equation.moves else np.asarray(roots[0])
    return Record(kind, grid, arrays, header)


def read_grid(axes: list[dict[str, Any]]) -> Grid:
    """The grid that a header describes."""
    return Grid(*(AXES[axis["kind"]](axis["lower"], axis["upper"], axis["n"]) for axis in axes))


def check_record(arrays: dict[str, np.ndarray], header: Any) -> Record:
    """A `Record` from what a file held. **Raises** `ValueError`, `KeyError` or `TypeError` where it does not add up."""
    if not isinstance(header, dict) or header.get("format") != "fpsolve":
        raise ValueError("it has no fpsolve header")
    if header["format_version"] > FORMAT_VERSION:
        raise ValueError(f"it has format {header['format_version']}, and this fpsolve reads up to {FORMAT_VERSION}")
    record = Record(header["kind"], read_grid(header["grid"]), arrays, header)
    lengths = {f"x{i}": n for i, n in enumerate(record.grid.shape)}
    missing = [name for name in DIMENSIONS[record.kind] if name not in arrays]
    if missing:
        raise ValueError(f"the array {missing[0]} is missing")
    for name, array in arrays.items():
        names = record.dimensions(name)
        if len(names) != array.ndim:
            raise ValueError(f"the array {name} has {array.ndim} dimensions, not {len(names)}")
        for dimension, n in zip(names, array.shape, strict=True):
            if lengths.setdefault(dimension, n) != n:
                raise ValueError(f"the array {name} has length {n} along {dimension}, not {lengths[dimension]}")
    return record
