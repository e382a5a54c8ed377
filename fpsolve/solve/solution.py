"""What `evolve` returns."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import transform
from ..core.checks import raise_value_error
from ..core.decision import Decision
from ..core.late import late
from ..core.program import compiled
from ..core.result import CODES
from ..equation import Equation, FokkerPlanck, divide_by_sqrt_pi
from ..grid import Grid
from ..operator import Scheme
from ..operator.transfer import transfer
from ..record import OBSERVABLE, Result


class Solution(Result):
    """Densities (or waves) at the times asked for, each number with its error.

    - `times` `(T,)`; `values` `(T, *shape)`; `error` `(T,)` estimated relative L1 error in time
    - `observables` `{name: (T, ...)}`: expectations of what was asked for
    - `space_error`: the estimated relative error in space, where the grid was fitted; None on a grid that was given
    - `stats`: `mass_drift`, `min_density`, `operator_calls`, and the words `scheme`, `method`, `picture` with reasons
    - `result`: "successful", or the name of what went wrong
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
        """Numbers and words about the run; numbers are Python floats where they are known."""
        numbers = {name: _plain(value) for name, value in self.numbers.items()}
        space = {} if self.space_error is None else {"space_error": self.space_error}
        return {**numbers, **{name: str(decision) for name, decision in self.decisions}, **space}

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
        where the boxes agree. **Raises**: `ValueError` for another dimension, or a box that sticks out.
        """
        spectral = self.scheme.spectral
        matrices = [transfer(old, new, spectral) for old, new in _pairs(self.grid, grid)]
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


def _pairs(old: Grid, new: Any) -> list[tuple[Any, Any]]:
    if not isinstance(new, Grid):
        raise_value_error("grid", new, "it must be an fp.Grid", "Give fp.Grid(fp.Line(-1, 1, 200)), say.")
    if old.ndim != new.ndim:
        raise_value_error(
            "grid", new, f"it must have {old.ndim} axes, as the solution has", "Give one axis a dimension."
        )
    for before, after in zip(old.axes, new.axes, strict=True):
        slack = 1e-12 * before.length
        if after.lower < before.lower - slack or after.upper > before.upper + slack:
            raise_value_error(
                "grid", after, f"it must lie within {before!r}", "Evolve on a larger box, or ask for a smaller one."
            )
    return list(zip(old.axes, new.axes, strict=True))


@compiled
def _apply(matrices: list[Any], values: Array) -> Array:
    for i, matrix in enumerate(matrices):
        values = transform(i, jnp.asarray(matrix, values.real.dtype), values, len(matrices))
    return values


@compiled
def _through_waves(
    equation: FokkerPlanck, old: Grid, new: Grid, matrices: list[Any], times: Array, values: Array
) -> Array:
    def at(t: Any, densities: Array) -> Array:
        log_gibbs = lambda grid: grid.sample(lambda x: equation.log_gibbs(x, old.origin, t))
        log_sqrt_pi = equation.log_sqrt_pi(old, t)
        log_z = jnp.max(log_gibbs(old)) - 2 * jnp.max(log_sqrt_pi)  # the old grid's: the same density, at other points
        wave = _apply(matrices, divide_by_sqrt_pi(densities, log_sqrt_pi))
        return (wave * jnp.exp((log_gibbs(new) - log_z) / 2)).astype(values.dtype)

    return jax.lax.map(lambda frame: at(*frame), (times, values)) if equation.time_dependent else at(0.0, values)


def _plain(value: Any) -> Any:
    try:
        return float(value)
    except TypeError:
        return value
