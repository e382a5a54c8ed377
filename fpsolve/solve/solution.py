"""`Solution`: the result of `fp.evolve`."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import matmul_along_axis
from ..core.checks import raise_value_error
from ..core.decision import Decision
from ..core.late import late
from ..core.program import compiled
from ..core.result import CODES
from ..equation import Equation, FokkerPlanck, divide_by_sqrt_pi
from ..grid import Axis, Grid
from ..operator import Scheme
from ..operator.transfer import transfer
from ..record import OBSERVABLE, Result
from .constants import CONSTANTS


class Solution(Result):
    """Densities (or waves) at the requested times, each number with its error.

    - `times` `(T,)`; `values` `(T, *shape)`; `error` `(T,)` estimated relative L1 error in time
    - `observables` `{name: (T, ...)}`: expectations of the requested functions
    - `space_error`: the estimated relative error in space of a fitted grid; None on a grid that was given
    - `stats`: the numbers `mass_drift`, `min_density` and `operator_calls`, and the sentences `scheme`, `method` and
      `picture`, which give reasons
    - `result`: "successful", or the name of the failure
    """

    times: Array
    values: Array
    error: Array
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
        """Numbers and sentences about the run; numbers are Python floats where they are concrete."""
        stats: dict[str, Any] = {name: _as_float(value) for name, value in self.numbers.items()}
        stats |= {name: str(decision) for name, decision in self.decisions}
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
        """The values on another grid inside the same box, `(T, *grid.shape)`, to the scheme's own accuracy.

        `Spectral` evaluates its basis: for a process it interpolates the wave and multiplies by sqrt(pi) at the new
        points. Finite volumes return the averages of a conservative cubic reconstruction: mass is kept to rounding
        where the boxes agree. **Raises**: `ValueError` for another dimension, or a box that is not inside this one.
        """
        spectral = self.scheme.spectral
        matrices = [transfer(old, new, spectral) for old, new in _axis_pairs(self.grid, grid)]
        # What was evolved as a wave is interpolated as one, which its basis resolves; sqrt(pi) is known at all points.
        if not (spectral and isinstance(self.equation, FokkerPlanck) and self.picture == "wave"):
            return _apply(matrices, self.values)
        return _through_waves(self.equation, self.grid, grid, matrices, self.times, self.values)

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The code of the result, and the observables by name."""
        entries = {"result": self.result, "observables": list(self.observables)}
        return entries, {OBSERVABLE + name: values for name, values in self.observables.items()}

    def animate(self, path: Any, fps: int = 15) -> None:
        """Write a film of the density to `path`, a .gif (with the `plot` extra)."""
        late("plot").animate(self, path, fps)

    def __repr__(self) -> str:
        decisions = dict(self.decisions)
        return (
            f"Solution: {len(self.times)} times on {self.grid!r}\n"
            f"  {decisions.get('scheme', '')}\n  {decisions.get('method', '')}\n  "
            + ", ".join(f"{name} {value}" for name, value in self.numbers.items())
        )


def _axis_pairs(old: Grid, new: Any) -> list[tuple[Axis, Axis]]:
    """Each axis of the old grid with that of the new one. **Raises** `ValueError` unless the new grid lies inside."""
    if not isinstance(new, Grid):
        raise_value_error("grid", new, "it must be an fp.Grid", "Give fp.Grid(fp.Line(-1, 1, 200)), say.")
    if old.ndim != new.ndim:
        allowed = f"it must have {old.ndim} axes, as the solution has"
        raise_value_error("grid", new, allowed, "Give one axis a dimension.")
    pairs = list(zip(old.axes, new.axes, strict=True))
    for before, after in pairs:
        slack = CONSTANTS.box_slack * before.length
        if after.lower < before.lower - slack or after.upper > before.upper + slack:
            cure = "Evolve on a larger box, or ask for a smaller one."
            raise_value_error("grid", after, f"it must lie within {before!r}", cure)
    return pairs


@compiled
def _apply(matrices: list[Any], values: Array) -> Array:
    for i, matrix in enumerate(matrices):
        values = matmul_along_axis(i, jnp.asarray(matrix, values.real.dtype), values, len(matrices))
    return values


@compiled
def _through_waves(
    equation: FokkerPlanck, old: Grid, new: Grid, matrices: list[Any], times: Array, values: Array
) -> Array:
    """Densities of waves at the nodes of the new grid: the waves are interpolated, and sqrt(pi) is evaluated anew."""

    def log_gibbs(grid: Grid, t: Any) -> Array:
        return grid.sample(lambda x: equation.log_gibbs(x, old.origin, t))

    def densities_at(t: Any, densities: Array) -> Array:
        log_sqrt_pi = equation.log_sqrt_pi(old, t)
        # The norm of pi on the old grid: on the new one it is the same density, at other points.
        log_z = jnp.max(log_gibbs(old, t)) - 2 * jnp.max(log_sqrt_pi)
        wave = _apply(matrices, divide_by_sqrt_pi(densities, log_sqrt_pi))
        return (wave * jnp.exp((log_gibbs(new, t) - log_z) / 2)).astype(values.dtype)

    if not equation.time_dependent:
        return densities_at(0.0, values)
    # One time after the other: each needs fields of its own.
    return jax.lax.map(lambda frame: densities_at(*frame), (times, values))


def _as_float(value: Any) -> Any:
    """A number as a Python float; a tracer, or an array of several numbers, as it is."""
    try:
        return float(value)
    except TypeError:
        return value
