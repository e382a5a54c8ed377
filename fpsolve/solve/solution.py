"""`Solution`: the result of `fp.evolve`."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import is_concrete, raise_value_error
from ..core.decision import Decision
from ..core.late import late
from ..core.result import CODES
from ..core.text import largest, listed
from ..core.types import AnyArray, FilePath
from ..equation import Continuity, Equation
from ..grid import Grid
from ..operator import Scheme
from ..record import ERROR_PART, OBSERVABLE, Result
from .constants import CONSTANTS
from .interpolation import interpolate


class Solution(Result):
    """Densities (or waves) at the requested times, each number with its error.

    - `times` `(T,)`; `values` `(T, *shape)`; `error` `(T,)` the whole estimated
      relative L1 error, NaN where it could not be estimated
    - `errors`: its parts `(T,)`, "time", "space", "box" and "start"
    - `observables` `{name: (T, ...)}`: expectations of the requested functions
    - `space_error`: the relative error in space that a fitted grid was chosen for; None
      on a grid that was given
    - `stats`: the numbers `mass_drift`, `min_density` and `operator_calls`, and the
      sentences `scheme`, `method` and `picture`, which give reasons
    - `result`: "successful", or the name of the failure
    """

    times: Array
    values: Array
    error: Array
    errors: dict[str, Array]
    observables: dict[str, Array]
    numbers: dict[str, Array]
    code: Array
    equation: Equation
    scheme: Scheme
    space_error: float | None = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)
    decisions: tuple[tuple[str, Decision], ...] = eqx.field(static=True)

    @property
    def stats(self) -> dict[str, Any]:
        """Numbers and sentences about the run; floats where numbers are concrete."""
        numbers = {name: _as_float(value) for name, value in self.numbers.items()}
        sentences = {name: str(decision) for name, decision in self.decisions}
        stats: dict[str, Any] = numbers | sentences
        if self.space_error is not None:
            stats["space_error"] = self.space_error
        return stats

    @property
    def picture(self) -> str:
        """ "density" or "wave": what was evolved."""
        return dict(self.decisions)["picture"].choice

    @property
    def result(self) -> str:
        """The named code of the run."""
        return CODES[int(self.code)]

    @property
    def mass(self) -> Array:
        """The integral of every value, `(T,)`."""
        return self.grid.integrate(self.values)

    def on(self, grid: Any) -> Array:
        """The values on another grid inside the same box, `(T, *grid.shape)`, to the
        scheme's own accuracy.

        `Spectral` evaluates its basis: for a process it interpolates the wave and
        multiplies by sqrt(pi) at the new points. Finite volumes return the averages of
        a conservative cubic reconstruction: mass is kept to rounding where the boxes
        agree. **Raises**: `ValueError` for another dimension, or a box that is not
        inside this one.
        """
        _check_inside(self.grid, grid)
        if isinstance(self.equation, Continuity):
            # The basis resolves the wave sqrt(p); its square has twice the wavenumbers.
            waves = jnp.sqrt(self.values)
            moved = interpolate(
                self.equation,
                self.grid,
                grid,
                self.times,
                waves,
                spectral=True,
                as_wave=False,
            )
            return moved**2
        return interpolate(
            self.equation,
            self.grid,
            grid,
            self.times,
            self.values,
            spectral=self.scheme.spectral,
            as_wave=self.equation.evolves_density and self.picture == "wave",
        )

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The code of the result; observables and parts of the error by name."""
        entries = {"result": self.result, "observables": list(self.observables)}
        arrays = {
            OBSERVABLE + name: values for name, values in self.observables.items()
        }
        parts = {ERROR_PART + name: part for name, part in self.errors.items()}
        return entries, arrays | parts

    def animate(self, path: FilePath, fps: int = 15) -> None:
        """Write a film of the density to `path`, a .gif (with the `plot` extra)."""
        late("plot").animate(self, path, fps)

    def __repr__(self) -> str:
        decisions = dict(self.decisions)
        numbers = ", ".join(
            f"{name} {listed(value, '.4g')}" for name, value in self.numbers.items()
        )
        return (
            f"Solution: {len(self.times)} times on {self.grid!r}\n"
            f"  {self._ended}, estimated error at most {largest(self.error)}\n"
            f"  {decisions.get('scheme', '')}\n"
            f"  {decisions.get('method', '')}\n"
            f"  {numbers}"
        )

    @property
    def _ended(self) -> str:
        # A traced code has no name yet.
        return self.result if is_concrete(self.code) else "traced"


def _check_inside(old: Grid, new: object) -> None:
    """Raise `ValueError` unless the new grid lies inside the old one."""
    if not isinstance(new, Grid):
        cure = "Give fp.Grid(fp.Line(-1, 1, 200)), say."
        raise_value_error("grid", new, "it must be an fp.Grid", cure)
    if old.ndim != new.ndim:
        allowed = f"it must have {old.ndim} axes, as the solution has"
        raise_value_error("grid", new, allowed, "Give one axis a dimension.")
    for before, after in zip(old.axes, new.axes, strict=True):
        # An end that was computed may differ by rounding.
        slack = CONSTANTS.box_slack * before.length
        if after.lower < before.lower - slack or after.upper > before.upper + slack:
            cure = "Evolve on a larger box, or ask for a smaller one."
            raise_value_error("grid", after, f"it must lie within {before!r}", cure)


def _as_float(value: AnyArray) -> AnyArray | float:
    """A number as a Python float; a tracer, or several numbers, as they are."""
    # A tracer raises a `TypeError` as well.
    try:
        return float(value)
    except TypeError:
        return value
