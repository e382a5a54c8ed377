"""An equation as numbers at points: sampled in chunks of one size, so that no trial of a search compiles anything.

U(x, t),  b = -grad U + f,  D_i,  V_i = (d_i U)^2 / (4 D_i) - d_i^2 U / 2        (Schrödinger: U is V itself)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.content import read_at
from ..core.program import sampling_program
from ..equation import FokkerPlanck, WithPotential, axis_wells, read_equation
from ..grid import Gaussian

CHUNK, BROAD = 512, 4096  # points a call: of all numbers, of the energy alone


class Local(NamedTuple):
    """At `P` points: the energy `(P,)`, the drift, the diffusions and the wells, axis by axis `(P, d)`."""

    energy: np.ndarray
    drift: np.ndarray
    diffusion: np.ndarray
    well: np.ndarray


class Landscape:
    """The numbers of one equation in d dimensions."""

    def __init__(self, equation: WithPotential, ndim: int):
        self.equation, self.ndim = read_equation(equation, ndim), ndim
        self.process = equation.evolves_density
        self.reversible = equation.irreversible_anywhere is None

    def local(self, points: np.ndarray, t: float = 0.0) -> Local:
        """Everything at points `(P, d)`."""
        return Local(*_in_chunks(lambda x: _local(self.equation, x, jnp.asarray(t, float)), points, CHUNK))

    def energy(self, points: np.ndarray, t: float = 0.0) -> np.ndarray:
        """U `(P,)` at points `(P, d)`; NaN counts as infinitely high."""
        values = _in_chunks(lambda x: (_energy(self.equation, x, jnp.asarray(t, float)),), points, BROAD)[0]
        return np.where(np.isnan(values), np.inf, values)

    def log_gibbs(self, points: np.ndarray, t: float = 0.0) -> np.ndarray:
        """log pi + constant `(P,)`, taken as -U / max D where the process has no Gibbs density; minus infinity where
        U is not a number."""
        values = _in_chunks(lambda x: (_log_gibbs(self.equation, x, jnp.asarray(t, float)),), points, BROAD)[0]
        return np.where(np.isnan(values), -np.inf, values)

    def slope(self, points: np.ndarray, t: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """The drift `(P, d)` and its Jacobian `(P, d, d)`."""
        drift, jacobian = _in_chunks(lambda x: _slope(self.equation, x, jnp.asarray(t, float)), points, CHUNK)
        return drift, jacobian


def sample_start(initial: Any, points: np.ndarray) -> np.ndarray:
    """A start at points `(P, d)`: log p for `fp.Gaussian`, up to a constant; the value of any other function."""
    if isinstance(initial, Gaussian):
        mean, covariance = moments_of(initial, points.shape[1])
        return -np.einsum("pi,pi->p", points - mean, np.linalg.solve(covariance, (points - mean).T).T) / 2
    start = read_at(initial, points.shape[1])
    return _in_chunks(lambda x: (_start(start, x),), points, CHUNK)[0]


def moments_of(initial: Gaussian, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(d,)` and covariance `(d, d)`."""
    covariance = np.asarray(initial.covariance, float)
    matrix = covariance if covariance.ndim == 2 else np.diag(np.broadcast_to(covariance, ndim))
    return np.broadcast_to(np.asarray(initial.mean, float), ndim), matrix


def _in_chunks(f: Any, points: np.ndarray, size: int) -> list[np.ndarray]:
    parts = []
    for first in range(0, len(points), size):
        part = points[first : first + size]
        padded = np.concatenate([part, np.broadcast_to(part[-1:], (size - len(part), part.shape[1]))])
        parts.append([np.asarray(values)[: len(part)] for values in f(jnp.asarray(padded))])
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


@sampling_program
def _energy(equation: WithPotential, points: Array, t: Any) -> Array:
    return jax.vmap(lambda x: equation.energy(x, t))(points)


@sampling_program
def _log_gibbs(equation: Any, points: Array, t: Any) -> Array:
    if equation.irreversible_anywhere is None:
        return jax.vmap(lambda x: equation.log_gibbs(x, jnp.zeros_like(x), t))(points)
    return jax.vmap(lambda x: -equation.energy(x, t) / jnp.max(equation.diffusions(x)))(points)


@sampling_program
def _local(equation: WithPotential, points: Array, t: Any) -> tuple[Array, ...]:
    if not isinstance(equation, FokkerPlanck):
        energy = jax.vmap(lambda x: equation.energy(x, t))(points)
        diffusions = jax.vmap(equation.diffusions)(points)
        return energy, jnp.zeros_like(points), diffusions, jnp.zeros_like(points)

    def one(x: Array) -> tuple[Array, ...]:
        wells = axis_wells(equation, x, t)
        return equation.energy(x, t), equation.drift(x, t), equation.diffusions(x), wells

    return jax.vmap(one)(points)


@sampling_program
def _slope(equation: WithPotential, points: Array, t: Any) -> tuple[Array, Array]:
    drift = lambda x: equation.drift(x, t) if isinstance(equation, FokkerPlanck) else -jax.grad(equation.energy)(x, t)
    return jax.vmap(drift)(points), jax.vmap(jax.jacfwd(drift))(points)


@sampling_program
def _start(initial: Any, points: Array) -> Array:
    return jax.vmap(lambda x: jnp.asarray(initial(x)))(points)
