"""A density at several times with the Gibbs density of each time, as figures and
animations of a run show them.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal import Transport
from ..core.checks import is_concrete, raise_value_error
from ..equation import Equation, FokkerPlanck
from ..grid import Grid
from .panels import VISIBLE, marginal


@dataclasses.dataclass(frozen=True)
class DensitySeries:
    """A density at several times, and the Gibbs density at the same times, in numpy.

    `times` `(T,)`, `lambdas` `(T,)` or None, `values`, `gibbs` and `potential`
    `(T, *shape)`, the last two or None.
    """

    grid: Grid
    times: np.ndarray
    lambdas: np.ndarray | None
    values: np.ndarray
    gibbs: np.ndarray | None
    potential: np.ndarray | None

    def label(self, k: int) -> str:
        """The time of the k-th density, and its λ if it has one."""
        where = "" if self.lambdas is None else f"   λ = {self.lambdas[k]:.3f}"
        return f"t = {self.times[k]:.4g}{where}"


def density_series(
    transport: Transport, indices: np.ndarray | None = None
) -> DensitySeries:
    """The `DensitySeries` of a transport at the times with these `indices`, or at all
    times.

    **Raises** `ValueError` for values that are traced.
    """
    if not is_concrete(transport.times, transport.values):
        raise_value_error(
            "transport",
            "Transport",
            "its values are traced",
            "Plot outside of jit, vmap and grad.",
        )
    indices = np.arange(len(transport.times)) if indices is None else indices
    times = np.asarray(transport.times)[indices]
    values = np.asarray(transport.values)[indices]
    lambdas = np.asarray(transport.lambdas)[indices]
    gibbs, potential = gibbs_and_potential(transport.equation, transport.grid, times)
    return DensitySeries(transport.grid, times, lambdas, values, gibbs, potential)


def gibbs_and_potential(
    equation: Equation | None, grid: Grid, times: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The Gibbs density and the potential of an equation at every time, `(T, *shape)`;
    None where it has none.
    """
    if not isinstance(equation, FokkerPlanck) or equation.potential is None:
        return None, None
    # A static potential is sampled once and repeated.
    moments = jnp.asarray(times if equation.time_dependent else times[:1])
    reversible = equation.irreversible_because(grid) is None
    rows = [np.asarray(field) for field in _fields(equation, grid, moments, reversible)]
    shape = (len(times), *grid.shape)
    potential, *gibbs = (np.broadcast_to(row, shape) for row in rows)
    return gibbs[0] if gibbs else None, potential


@eqx.filter_jit
def _fields(
    equation: FokkerPlanck, grid: Grid, times: Array, reversible: bool
) -> list[Array]:
    """The potential and, of a reversible equation, the Gibbs density, `(T, *shape)`."""

    def potential(t: Array) -> Array:
        return grid.sample(lambda x: equation.energy(x, t))

    def gibbs(t: Array) -> Array:
        return jnp.exp(2 * equation.log_sqrt_pi(grid, t))

    fields = (potential, gibbs) if reversible else (potential,)
    # One time after another: an animation may have many.
    return [jax.lax.map(field, times) for field in fields]


def extent(drawn: DensitySeries, least: float = VISIBLE) -> list[tuple[float, float]]:
    """On each axis the part of the box where a density is above `least` of its peak,
    and a margin.
    """
    fields = list(drawn.values)
    if drawn.gibbs is not None:
        fields += list(drawn.gibbs)
    limits = []
    for i, axis in enumerate(drawn.grid.axes):
        # The marginals decide: a density may be thin at one point and wide along an
        # axis.
        lines = np.stack([marginal(drawn.grid, field, i) for field in fields])
        peaks = lines.max(axis=1, keepdims=True)
        visible = np.any(lines > least * peaks, axis=0)
        x = np.asarray(axis.nodes)[visible]
        margin = 0.06 * (x[-1] - x[0])
        lower = max(axis.lower, x[0] - margin)
        upper = min(axis.upper, x[-1] + margin)
        limits.append((lower, upper))
    return limits
