"""T7, T8, T10: the density of a score that has an error, its distance from the truth,
and its sampler's density.

    < sqrt q | H | sqrt q > = (D/4) E_q |s - grad log q|^2
    1 - F(p, rho) <= (eps^2 / 4 - lambda/D) / (gap/D),    eps^2 = E_p |e|^2
    I(mu|p) = E_mu [ e . grad log(mu/p) ]

with e = s - grad log p. The first line holds for every density q and field s, with curl
or without; rho is the square of the lowest mode, and mu stationary for dX = D s dt +
sqrt(2D) dW.

Controls: the opposite sign of div s (N3), which is that of s; an error 1.05 times too
small; the error averaged over p.

Reference: arXiv 2606.05217; theorems T7, T8 and T10 of this library's theory.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..equation import ScoreHamiltonian
from ..grid import Axis, Grid, Periodic
from ..operator import Spectral
from ..score import Reconstruction, reconstruct
from .base import Case, Measured, claim
from .constants import CONSTANTS
from .problems import Function, values_on, weights_on

RING = (0.0, 2 * np.pi)


def curled(x: Array) -> Array:
    """The score of exp(cos x + 0.5 sin y) and a part with curl, 0.3 (cos y, sin 2x)."""
    first = -jnp.sin(x[0]) + 0.3 * jnp.cos(x[1])
    second = 0.5 * jnp.cos(x[1]) + 0.3 * jnp.sin(2 * x[0])
    return jnp.stack([first, second])


def coupled(x: Array) -> Array:
    """log of a density on the torus, up to a constant: cos(x - y) + 0.3 sin y."""
    return jnp.cos(x[0] - x[1]) + 0.3 * jnp.sin(x[1])


def driven(x: Array) -> Array:
    """The score of exp(cos x), and a constant force 0.5 on the ring."""
    return 0.5 - jnp.sin(x)


def zero_score(x: Array) -> Array:
    """The score of a density that is constant, 0."""
    return 0 * x


def hill(x: Array) -> Array:
    """log of a density on the ring, up to a constant: 0.7 cos(x - 0.4)."""
    return 0.7 * jnp.cos(x[0] - 0.4)


@claim(
    "T7",
    "<√q|H|√q> = D/4 E_q|s - ∇ log q|², for a field with curl",
    kind="identity",
    # in a Fourier basis the integral of a product is exact, so the identity holds to
    # rounding
    allowed=1e-12,
    control=("N3", "with the opposite sign of div s the energy is another number"),
    hypotheses=(
        "s is any vector field, with curl or without; sqrt(q) has a square-integrable "
        "gradient"
    ),
    source=(
        "theorem T7 of the theory page; Hyvärinen, J. Mach. Learn. Res. 6 (2005) 695"
    ),
)
def score_energy(
    case: Case,
    *,
    score: Function = curled,
    log_density: Function = coupled,  # of q, up to a constant
    axes: tuple[Axis, ...] = (Periodic(*RING, 28), Periodic(*RING, 29)),
) -> Measured:
    """The energy, and the loss over 4 by quadrature at the nodes; in the control -s
    stands in the Hamiltonian.
    """
    grid = case.grid(*axes)
    # |s|^2 is the same with either sign, div s is not.
    sign = jnp.asarray(-1.0 if case.control else 1.0)
    equation = ScoreHamiltonian(Multiple(score, sign))
    density, errors = _density_and_error(grid, score, log_density)
    energy = float(_energy(equation, grid, jnp.asarray(np.sqrt(density))))
    square = np.sum(errors**2, axis=-1)
    loss = np.sum(weights_on(grid) * density * square)
    return energy, loss / 4


@claim(
    "T8",
    "1 - F(p, ρ) = (ε²/4 - λ)/gap, where √p is a sum of the two lowest modes",
    kind="identity",
    allowed=1e-10,
    control=("ε to ε/1.05", "an error 1.05 times smaller does not bound it"),
    hypotheses=(
        "a ring with s = 0 and sqrt(p) = 1 + d cos x, d < 1: the case of equality of T8"
    ),
    source="arXiv 2606.05217; theorem T8 of the theory page",
    sweep=(0.2, 0.5, 0.9),
)
def ring_bound(case: Case, *, nodes: int = 48) -> Measured:
    """The bound and the infidelity, for a depth d of the sweep."""
    grid = case.grid(Periodic(*RING, nodes))
    found = reconstruct(zero_score, grid)
    weights = weights_on(grid)
    wave = 1 + case.value * np.cos(grid.axes[0].nodes)
    density = wave**2 / np.sum(weights * wave**2)
    factor = CONSTANTS.wrong_error if case.control else 1.0
    bound = _bound(found, jnp.asarray(density), jnp.asarray(factor))
    # F = (int sqrt(p rho))^2.
    overlap = np.sum(weights * np.sqrt(density * np.asarray(found.density)))
    return bound, 1 - overlap**2


@claim(
    "T10",
    "I(μ|p) = E_μ[e·∇ log(μ/p)], μ the law of the sampler, e the error of its score",
    kind="identity",
    allowed=1e-9,
    control=("E_p in place of E_μ", "the same mean over p is not the information"),
    hypotheses=(
        "mu is stationary for dX = D s dt + sqrt(2D) dW, p any density, e = s - grad "
        "log p; here with a current"
    ),
    source="theorem T10 of the theory page",
)
def sampler_law(
    case: Case,
    *,
    score: Function = driven,
    log_density: Function = hill,
    axes: tuple[Axis, ...] = (Periodic(*RING, 40),),
) -> Measured:
    """The mean over mu, in the control over p, and the information."""
    grid = case.grid(*axes)
    stationary = np.asarray(reconstruct(score, grid).stationary)
    density, errors = _density_and_error(grid, score, log_density)
    difference = _gradient(grid, np.log(stationary / density))
    weights = weights_on(grid)

    def mean(p: np.ndarray, u: np.ndarray) -> float:
        """The mean over p of the sum of the components of u."""
        return np.sum(weights * p * np.sum(u, axis=-1))

    law = density if case.control else stationary
    averaged = mean(law, errors * difference)
    return averaged, mean(stationary, difference**2)


class Multiple(eqx.Module):
    """The field `factor` s(x), in one program for every factor."""

    score: Function
    factor: Array

    def __call__(self, x: Array) -> Array:
        """`factor` s(x), `(d,)`."""
        return self.factor * self.score(x)


class ScoreDifference(eqx.Module):
    """s(x) - grad log q(x), the error of a score, with log q(x) as a last component."""

    score: Function
    log_density: Function

    def __call__(self, x: Array) -> Array:
        """The error and the log density, `(d + 1,)`."""
        height, slope = jax.value_and_grad(self.log_density)(x)
        return jnp.append(self.score(x) - slope, height)


def _density_and_error(
    grid: Grid, score: Function, log_density: Function
) -> tuple[np.ndarray, np.ndarray]:
    """The density `(*shape)`, of mass 1, and the error of the score, `(*shape, d)`."""
    found = values_on(grid, ScoreDifference(score, log_density))
    density = np.exp(found[..., -1])
    return density / np.sum(density * weights_on(grid)), found[..., :-1]


@sampling_program
def _energy(equation: ScoreHamiltonian, grid: Grid, wave: Array) -> Array:
    """<psi|H|psi>."""
    operator = Spectral().build(equation, grid, 0.0, wave.dtype, True)
    return grid.integrate(wave * operator.hamiltonian(wave))


@sampling_program
def _bound(found: Reconstruction, density: Array, factor: Array) -> Array:
    """The bound T8 of a density `(*shape)` with an error `factor` times too small."""
    # `score_error` is eps^2.
    return found.infidelity_bound(found.score_error(density) / factor**2)


def _gradient(grid: Grid, field: np.ndarray) -> np.ndarray:
    """The gradient `(*shape, d)` of a field on a torus by Fourier's transform."""
    parts = []
    for i, axis in enumerate(grid.axes):
        waves = np.fft.fftfreq(axis.n, 1 / axis.n)
        # the derivative of the Nyquist cosine vanishes at the nodes
        waves[np.abs(waves) == axis.n / 2] = 0
        symbol = 2j * np.pi / axis.length * waves
        # Along axis i, and constant on those after it.
        symbol = symbol.reshape(-1, *[1] * (grid.ndim - 1 - i))
        waves = np.fft.fft(field, axis=i)
        slopes = np.fft.ifft(symbol * waves, axis=i)
        parts.append(slopes.real)
    return np.stack(parts, axis=-1)
