"""T12: the score of the density of a ground state identifies the Hamiltonian.

    H = -D Lap + V,    H psi_0 = E_0 psi_0,    s = grad log psi_0^2
    ==>    V - E_0 = D (div s / 2 + |s|^2 / 4)

so that the density alone gives all levels E_n - E_0. For coupled oscillators, V =
x.Kx/2 with D = 1/2, the score is -2 sqrt(K) x, and the levels are sums of the
frequencies, the square roots of the eigenvalues of K. Controls: the opposite sign of
div s (N3); the score of psi_0 in the place of that of psi_0^2.

Reference: arXiv 2606.05217, theorem 4.1.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..grid import Axis
from ..score import reconstruct
from .base import Case, Measured, claim
from .families import (
    BOX,
    PLANE,
    Derivatives,
    Landscape,
    Score,
    fourier_kinetic,
    random_convex,
    random_waves,
)
from .problems import values_on

# V = (x^2 + y^2)/2 + 5/2 (x - y)^2: the frequencies are 1 and sqrt(11)
COUPLED = ((6.0, -5.0), (-5.0, 6.0))


@claim(
    "T12",
    "the score s of |ψ₀|² has the levels E_n - E₀ of -D d²/dx² + V, V - E₀ = D (s'/2 "
    "+ s²/4)",
    kind="identity",
    # the error of the box: the fourth mode of the least stiff potential is 1e-3 at its
    # ends
    allowed=1e-6,
    control=("N3", "they are not those of V - E₀ = D (-s'/2 + s²/4)"),
    hypotheses="one dimension; V confines; psi_0 decays at the ends of the box",
    source="arXiv 2606.05217, theorem 4.1",
    sweep=6,
)
def levels_of_density(
    case: Case, *, diffusion: float = 0.5, axis: Axis = BOX, levels: int = 4
) -> Measured:
    """Levels from a random score by the library, and those of its V by numpy."""
    grid = case.grid(axis)
    random = case.random()
    convex = random_convex(random)
    energy = Landscape(float(convex.stiffness), convex.ramps, random_waves(random, 1.0))
    found = reconstruct(
        Score(energy),
        grid,
        diffusion=diffusion,
        k=levels,
        check=False,
    )
    slope, curvature = values_on(grid, Derivatives(energy)).T
    # s = -U', so that div s = -U''.
    sign = -1 if case.control else 1
    potential = diffusion * (slope**2 / 4 - sign * curvature / 2)
    hamiltonian = diffusion * fourier_kinetic(grid.axes[0]) + np.diag(potential)
    return np.asarray(found.spectrum.values), np.linalg.eigvalsh(hamiltonian)[:levels]


class Linear(eqx.Module):
    """The score -A x."""

    matrix: Array

    def __call__(self, x: Array) -> Array:
        """`(d,)`."""
        return -self.matrix @ x


@claim(
    "T12.oscillators",
    "for V = x·Kx/2 the score of |ψ₀|² gives the levels n₁ ω₁ + n₂ ω₂, ω² the "
    "eigenvalues of K",
    kind="identity",
    allowed=1e-6,  # the error of the basis: psi_0^2 is 7e-14 at the ends of the box
    control=(
        "√ρ",
        "the score of ψ₀ in the place of that of |ψ₀|² gives half of these levels",
    ),
    hypotheses="K symmetric and positive; D = 1/2, that is, hbar = m = 1",
    source="arXiv 2606.05217, theorem 4.1 and its coupled oscillators",
    sweep=("coupled", *range(3)),
)
def oscillators(
    case: Case,
    *,
    stiffness: tuple[tuple[float, ...], ...] = COUPLED,
    axis: Axis = PLANE,
    levels: int = 4,
) -> Measured:
    """Levels from the score by the library, and sums of frequencies."""
    grid = case.grid(axis, axis)
    matrix = np.asarray(stiffness)
    if case.value != "coupled":
        # A random direction, with the eigenvalues low + high along it and low across.
        angle, low, high = case.random().uniform((0, 1, 1), (np.pi, 2, 6))
        along = np.array([np.cos(angle), np.sin(angle)])
        matrix = low * np.eye(2) + high * np.outer(along, along)
    squares, directions = np.linalg.eigh(matrix)
    frequencies = np.sqrt(squares)
    share = 1 if case.control else 2
    # 2 sqrt(K), by its eigenvectors.
    matrix_of_score = share * (directions * frequencies) @ directions.T
    score = Linear(jnp.asarray(matrix_of_score))
    found = reconstruct(
        score,
        grid,
        diffusion=0.5,
        k=levels,
        check=False,
    )
    # No level among the lowest has more quanta in one oscillator than `levels` - 1.
    quanta = np.arange(levels)
    sums = np.add.outer(quanta * frequencies[0], quanta * frequencies[1])
    lowest = np.sort(sums.ravel())[:levels]
    return np.asarray(found.spectrum.values), lowest
