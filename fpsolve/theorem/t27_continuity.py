"""T27, the continuity Hamiltonian: the square root of a density that a velocity carries
obeys a unitary equation.

    d_t p = -div(v p)   <=>   d_t sqrt(p) = -(v.grad + (div v) / 2) sqrt(p)

On a ring with v = a sin x characteristics are known: tan(x/2) = e^{at} tan(x(0)/2).
Control: v.grad without div v / 2, which does not conserve mass.

Reference: arXiv 2510.08462.
"""

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array

from ..equation import Continuity
from ..grid import Periodic
from ..operator.skew import derivative_matrix
from ..solve.evolve import evolve
from .base import Case, Measured, claim


def initial(x: Array) -> Array:
    """A density of mass 2 pi I_0(1) on the ring."""
    return jnp.exp(jnp.cos(x[0] - 0.4))


@claim(
    "T27",
    "∂_t p = -∇·(v p) is ∂_t √p = -(v·∇ + ∇·v/2) √p, whose norm is constant",
    kind="identity",
    allowed=1e-9,
    control=(
        "T27.control",
        "∂_t √p = -v·∇ √p carries another density, of another mass",
    ),
    hypotheses="v is smooth and tangential to walls; here v = a sin x on a ring",
    source="arXiv 2510.08462",
)
def carried_root(
    case: Case, *, speed: float = 0.7, time: float = 1.0, nodes: int = 63
) -> Measured:
    """The square of the wave, and the density by characteristics."""
    grid = case.grid(Periodic(0.0, 2 * np.pi, nodes))
    x = np.asarray(grid.nodes[0])
    exact = _carried(x, speed * time)
    if case.control:
        # v.grad alone is not antisymmetric, so that no orthogonal method applies.
        half = speed * np.sin(x)[:, None] * derivative_matrix(grid.axes[0])
        root = np.sqrt(np.asarray(grid.sample(initial)))
        return (scipy.linalg.expm(-time * half) @ root) ** 2, exact
    flow = Continuity(lambda x: speed * jnp.sin(x))
    run = evolve(
        flow,
        grid.sample(initial),
        [time],
        grid=grid,
        tol=1e-11,
        check=False,
        throw=False,
    )
    return np.asarray(run.values[0]), exact


def _carried(x: np.ndarray, strength: float) -> np.ndarray:
    """p(x, t) = p(x(0), 0) dx(0)/dx for a strength a t."""
    growth = np.exp(strength)
    # By the angle of two numbers, which holds beyond x = pi as well.
    sine = np.sin(x / 2)
    cosine = np.cos(x / 2)
    origins = 2 * np.arctan2(sine, growth * cosine)
    # dx(0)/dx, in a form that is finite at x = pi.
    stretch = 1 / (growth * cosine**2 + sine**2 / growth)
    return np.exp(np.cos(origins - 0.4)) * stretch
