"""Numbers of an equation at arbitrary points, computed in chunks of one fixed size.

    U(x, t),   b = -grad U + f,   D_i,   V_i = (d_i U)^2 / (4 D_i) - d_i^2 U / 2

For a Schrodinger equation U is the potential itself, and b and V_i are zero. Every call
has the same shape, so a search over many grids compiles each program once.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core.checks import is_concrete, raise_value_error
from ..core.content import read_at
from ..core.program import sampling_program
from ..core.types import Formula
from ..equation import FokkerPlanck, WithPotential, axis_potential_terms, read_equation
from ..grid import Gaussian, Grid, Line
from .constants import CONSTANTS

# Points in one call: of all numbers, and of the energy alone, which is sampled on whole
# grids. They decide no answer; a free choice between padding of short lists and calls
# for long ones.
CHUNK_POINTS = 512
ENERGY_CHUNK_POINTS = 4096


def check_known(*trees: PyTree) -> None:
    """Raise `ValueError` for tracers, whose values are not known."""
    if not is_concrete(*trees):
        cure = "Call fp.fit_grid outside, with concrete numbers, and pass the grid."
        allowed = "a grid cannot be fitted to traced values (jit, vmap, grad)"
        raise_value_error("grid", None, allowed, cure)


class PointValues(NamedTuple):
    """At `P` points: the energy `(P,)`, and by axis `(P, d)` the drift, the diffusion
    and the term V_i of V.
    """

    energy: np.ndarray
    drift: np.ndarray
    diffusion: np.ndarray
    potential_terms: np.ndarray


class EquationSampler:
    """One equation in `ndim` dimensions, sampled at points on the host.

    - `evolves_density`: whether it is a Fokker-Planck equation
    - `reversible`: whether it has a Gibbs density, as far as is known
    """

    def __init__(self, equation: WithPotential, ndim: int, reversible: bool = True):
        self.equation = read_equation(equation, ndim)
        self.ndim = ndim
        self.evolves_density = equation.evolves_density
        self.reversible = reversible and equation.irreversible_anywhere is None
        self._recent: OrderedDict[tuple[bytes, float], PointValues] = OrderedDict()

    def values(self, points: np.ndarray, t: float = 0.0) -> PointValues:
        """All numbers at points `(P, d)`. A trial asks for those of its axis several
        times: the latest are kept.
        """
        key = (points.tobytes(), float(t))
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        time = jnp.asarray(t, float)

        def sample(x: Array) -> tuple[Array, ...]:
            return _point_values(self.equation, x, time)

        found = PointValues(*_in_chunks(sample, points, CHUNK_POINTS))
        # Those of whole grids are asked for once, and take memory.
        if len(points) <= ENERGY_CHUNK_POINTS:
            self._recent[key] = found
            while len(self._recent) > CONSTANTS.kept_samples:
                self._recent.popitem(last=False)
        return found

    def reversible_in(
        self, lower: np.ndarray, upper: np.ndarray, t: float = 0.0
    ) -> bool:
        """Whether the process is reversible in a box: with several diffusions the
        potential may couple their axes.
        """
        if not self.reversible or not isinstance(self.equation, FokkerPlanck):
            return self.reversible
        axes = (
            Line(float(a), float(b), CONSTANTS.coupling_nodes)
            for a, b in zip(lower, upper, strict=True)
        )
        return self.equation.irreversible_because(Grid(*axes), t) is None

    def energy(self, points: np.ndarray, t: float = 0.0) -> np.ndarray:
        """U `(P,)` at points `(P, d)`; NaN becomes infinity."""
        time = jnp.asarray(t, float)

        def sample(x: Array) -> tuple[Array]:
            return (_energy(self.equation, x, time),)

        (values,) = _in_chunks(sample, points, ENERGY_CHUNK_POINTS)
        return np.where(np.isnan(values), np.inf, values)

    def energies_at_times(self, points: np.ndarray, times: np.ndarray) -> np.ndarray:
        """U `(T, P)` at a few points and many times; zero where it is not finite."""
        found = _energies_at_times(
            self.equation, jnp.asarray(points), jnp.asarray(times)
        )
        values = np.asarray(found)
        return np.where(np.isfinite(values), values, 0)

    def log_gibbs(self, points: np.ndarray, t: float = 0.0) -> np.ndarray:
        """log pi + constant `(P,)`; -U / max D where there is no Gibbs density. NaN
        becomes minus infinity.
        """
        time = jnp.asarray(t, float)

        def sample(x: Array) -> tuple[Array]:
            return (_log_gibbs(self.equation, x, time, self.reversible),)

        (values,) = _in_chunks(sample, points, ENERGY_CHUNK_POINTS)
        return np.where(np.isnan(values), -np.inf, values)

    def drift_and_jacobian(
        self, points: np.ndarray, t: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The drift `(P, d)` and its Jacobian `(P, d, d)`; of a Schrodinger equation,
        those of -grad U.
        """
        time = jnp.asarray(t, float)

        def sample(x: Array) -> tuple[Array, Array]:
            return _drift_and_jacobian(self.equation, x, time)

        drift, jacobian = _in_chunks(sample, points, CHUNK_POINTS)
        return drift, jacobian

    def slope_and_curvature(
        self, points: np.ndarray, axis: int, t: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first and the second derivative of U along one axis, `(P,)` each."""
        time = jnp.asarray(t, float)
        # A vector and not a number of an axis: one program serves all axes.
        direction = jnp.eye(self.ndim)[axis]

        def sample(x: Array) -> tuple[Array, Array]:
            return _slope_and_curvature(self.equation, x, direction, time)

        slope, curvature = _in_chunks(sample, points, CHUNK_POINTS)
        return slope, curvature

    def log_density(self, points: np.ndarray, t: float = 0.0) -> np.ndarray:
        """log pi `(P,)` of a Fokker-Planck equation, minus the energy of a Schrodinger
        equation.
        """
        if self.evolves_density:
            return self.log_gibbs(points, t)
        return -self.energy(points, t)


def sample_initial(initial: Formula, points: np.ndarray) -> np.ndarray:
    """Values of an initial state at points `(P, d)`: log p + constant for
    `fp.Gaussian`, else the function itself.
    """
    if isinstance(initial, Gaussian):
        mean, covariance = mean_and_covariance(initial, points.shape[1])
        return log_normal(points, mean, covariance)
    function = read_at(initial, points.shape[1])
    # Long lists take long chunks, short ones short chunks.
    size = CHUNK_POINTS if len(points) <= ENERGY_CHUNK_POINTS else ENERGY_CHUNK_POINTS
    (values,) = _in_chunks(lambda x: (_initial(function, x),), points, size)
    return values


def log_initial(initial: Formula, points: np.ndarray) -> np.ndarray:
    """log p + constant `(P,)` of an initial density; minus infinity where it is not
    positive.
    """
    values = sample_initial(initial, points)
    if isinstance(initial, Gaussian):
        return values
    # The inner `where` keeps the logarithm from warning where there is no density.
    is_positive = values > 0
    return np.where(is_positive, np.log(np.where(is_positive, values, 1)), -np.inf)


def log_normal(
    points: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """log of a normal density at points `(P, d)`, up to a constant, `(P,)`."""
    offsets = points - mean
    scaled = np.linalg.solve(covariance, offsets.T).T
    return -np.einsum("pi,pi->p", offsets, scaled) / 2


def mean_and_covariance(initial: Gaussian, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(d,)` and covariance `(d, d)` of a Gaussian, which numbers may give."""
    mean = np.broadcast_to(np.asarray(initial.mean, float), ndim)
    covariance = np.asarray(initial.covariance, float)
    if covariance.ndim < 2:
        covariance = np.diag(np.broadcast_to(covariance, ndim))
    return mean, covariance


def _in_chunks(
    f: Callable[[Array], Sequence[Array]], points: np.ndarray, size: int
) -> list[np.ndarray]:
    """f at all points, `size` at a time. The last chunk is padded with its last point,
    so that all have one shape.
    """
    parts = []
    for first in range(0, len(points), size):
        part = points[first : first + size]
        padding = np.broadcast_to(part[-1:], (size - len(part), part.shape[1]))
        padded = jnp.asarray(np.concatenate([part, padding]))
        columns = [np.asarray(values) for values in f(padded)]
        parts.append([values[: len(part)] for values in columns])
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


@sampling_program
def _energy(equation: WithPotential, points: Array, t: Array) -> Array:
    return jax.vmap(lambda x: equation.energy(x, t))(points)


@sampling_program
def _energies_at_times(equation: WithPotential, points: Array, times: Array) -> Array:
    def at_time(t: Array) -> Array:
        return jax.vmap(lambda x: equation.energy(x, t))(points)

    return jax.vmap(at_time)(times)


@sampling_program
def _log_gibbs(equation: Any, points: Array, t: Array, reversible: bool) -> Array:
    # With several diffusions log pi is found from differences to U at the origin given,
    # which is 0 here.
    if reversible:
        return jax.vmap(lambda x: equation.log_gibbs(x, jnp.zeros_like(x), t))(points)

    def minus_energy(x: Array) -> Array:
        return -equation.energy(x, t) / jnp.max(equation.diffusions(x))

    return jax.vmap(minus_energy)(points)


@sampling_program
def _point_values(
    equation: WithPotential, points: Array, t: Array
) -> tuple[Array, ...]:
    # `isinstance` and not `evolves_density`: only a Fokker-Planck equation has a drift,
    # which the types must know.
    if not isinstance(equation, FokkerPlanck):
        energy = jax.vmap(lambda x: equation.energy(x, t))(points)
        diffusions = jax.vmap(equation.diffusions)(points)
        return energy, jnp.zeros_like(points), diffusions, jnp.zeros_like(points)

    def at_one_point(x: Array) -> tuple[Array, ...]:
        potential_terms = axis_potential_terms(equation, x, t)
        return (
            equation.energy(x, t),
            equation.drift(x, t),
            equation.diffusions(x),
            potential_terms,
        )

    return jax.vmap(at_one_point)(points)


@sampling_program
def _drift_and_jacobian(
    equation: WithPotential, points: Array, t: Array
) -> tuple[Array, Array]:
    def drift(x: Array) -> Array:
        if isinstance(equation, FokkerPlanck):
            return equation.drift(x, t)
        return -jax.grad(equation.energy)(x, t)

    return jax.vmap(drift)(points), jax.vmap(jax.jacfwd(drift))(points)


@sampling_program
def _slope_and_curvature(
    equation: WithPotential, points: Array, direction: Array, t: Array
) -> tuple[Array, Array]:
    def slope(x: Array) -> Array:
        return jax.jvp(lambda y: equation.energy(y, t), (x,), (direction,))[1]

    def curvature(x: Array) -> Array:
        return jax.jvp(slope, (x,), (direction,))[1]

    return jax.vmap(slope)(points), jax.vmap(curvature)(points)


@sampling_program
def _initial(function: Formula, points: Array) -> Array:
    return jax.vmap(lambda x: jnp.asarray(function(x)))(points)
