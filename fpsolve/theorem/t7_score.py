"""T7, T8, T10: the density of a score that has an error, its distance from the truth, and its sampler's density.

    < sqrt q | H | sqrt q > = (D/4) E_q |s - grad log q|^2     for every density q and field s, with curl or without
    1 - F(p, rho) <= (eps^2 / 4 - lambda/D) / (gap/D)          rho the square of the lowest mode, eps^2 = E_p |e|^2
    I(mu|p) = E_mu [ e . grad log(mu/p) ]                      mu stationary for dX = D s dt + sqrt(2D) dW

with e = s - grad log p.

Controls: the opposite sign of div s (N3), which is that of s; an error 1.05 times too small; the error averaged over p.

Reference: arXiv 2606.05217; theorems T7, T8 and T10 of this library's theory.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import ScoreHamiltonian
from ..grid import Axis, Grid, Periodic
from ..operator import Spectral
from ..score import Reconstruction, reconstruct
from .base import Kind, Sides, Theorem, identity
from .constants import CONSTANTS
from .problems import Function, refined, values_on, weights_on

RING = (0.0, 2 * np.pi)


def curled(x: Array) -> Array:
    """The score of exp(cos x + 0.5 sin y) and a part with curl, 0.3 (cos y, sin 2x)."""
    return jnp.stack([-jnp.sin(x[0]) + 0.3 * jnp.cos(x[1]), 0.5 * jnp.cos(x[1]) + 0.3 * jnp.sin(2 * x[0])])


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


class ScoreEnergy(Theorem):
    """The energy of sqrt(q) in the Score Hamiltonian is a quarter of the score-matching loss, to 1e-12.

    **Arguments**: `score` s(x), any field; `log_density` of q, up to a constant; `axes` (half as many nodes again to
    refine).
    """

    name: ClassVar[str] = "T7"
    statement: ClassVar[str] = "<√q|H|√q> = D/4 E_q|s - ∇ log q|², for a field with curl"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "with the opposite sign of div s the energy is another number"

    score: Function = curled
    log_density: Function = coupled
    axes: tuple[Axis, ...] = (Periodic(*RING, 28), Periodic(*RING, 29))

    def measure(self, refine: bool) -> Sides:
        """The energy, and the loss over 4 by quadrature at the nodes."""
        return self._compare(1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The same with -s in the Hamiltonian: |s|^2 is the same, div s is not."""
        return self._compare(-1.0, refine)

    def _compare(self, sign: float, refine: bool) -> Sides:
        """Energy and loss, with `sign` times the score in the Hamiltonian."""
        grid = refined(Grid(*self.axes), refine)
        equation = ScoreHamiltonian(Multiple(self.score, jnp.asarray(sign)))
        density, errors = _density_and_error(grid, self.score, self.log_density)
        energy = float(_energy(equation, grid, jnp.asarray(np.sqrt(density))))
        loss = np.sum(weights_on(grid) * density * np.sum(errors**2, axis=-1))
        return identity(energy, loss / 4, 1e-12)


class Multiple(eqx.Module):
    """The field `factor` s(x), in one program for every factor."""

    score: Function
    factor: Array

    def __call__(self, x: Array) -> Array:
        """`factor` s(x), `(d,)`."""
        return self.factor * self.score(x)


class ScoreDifference(eqx.Module):
    """s(x) - grad log q(x), the error of a score, and log q(x) as the last component."""

    score: Function
    log_density: Function

    def __call__(self, x: Array) -> Array:
        """The error and the log density, `(d + 1,)`."""
        height, slope = jax.value_and_grad(self.log_density)(x)
        return jnp.append(self.score(x) - slope, height)


def _density_and_error(grid: Grid, score: Function, log_density: Function) -> tuple[Any, Any]:
    """The density `(*shape)`, of mass 1, and the error of the score for it, `(*shape, d)`."""
    found = values_on(grid, ScoreDifference(score, log_density))
    density = np.exp(found[..., -1])
    return density / np.sum(density * weights_on(grid)), found[..., :-1]


@eqx.filter_jit
def _energy(equation: ScoreHamiltonian, grid: Grid, wave: Array) -> Array:
    """<psi|H|psi>."""
    # In a Fourier basis the integral of a product is exact, so the identity holds to rounding.
    operator = Spectral().build(equation, grid, 0.0, wave.dtype, True)
    return grid.integrate(wave * operator.hamiltonian(wave))


class RingBound(Theorem):
    """On a ring with s = 0 the bound T8 is an equality for sqrt p = 1 + d cos x, to 1e-10.

    **Arguments**: `depths` d, below 1; `nodes` (half as many again to refine).
    """

    name: ClassVar[str] = "T8"
    statement: ClassVar[str] = "1 - F(p, ρ) = (ε²/4 - λ)/gap, where √p is a sum of the two lowest modes"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "ε to ε/1.05"
    control_statement: ClassVar[str] = "an error 1.05 times smaller does not bound it"

    depths: tuple[float, ...] = (0.2, 0.5, 0.9)
    nodes: int = 48

    def measure(self, refine: bool) -> Sides:
        """The bound and the infidelity where they differ most."""
        return self._compare(1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The same with a smaller error."""
        return self._compare(CONSTANTS.wrong_error, refine)

    def _compare(self, factor: float, refine: bool) -> Sides:
        """Bounds and infidelities, with errors `factor` times too small."""
        grid = refined(Grid(Periodic(*RING, self.nodes)), refine)
        found = reconstruct(zero_score, grid)
        weights = weights_on(grid)
        roots = 1 + np.asarray(self.depths)[:, None] * np.cos(grid.axes[0].nodes)
        densities = roots**2 / np.sum(weights * roots**2, axis=1, keepdims=True)
        bounds = _bounds(found, jnp.asarray(densities), jnp.asarray(factor))
        # F = (int sqrt(p rho))^2.
        overlaps = np.sum(weights * np.sqrt(densities * np.asarray(found.density)), axis=1)
        return identity(bounds, 1 - overlaps**2, 1e-10)


@eqx.filter_jit
def _bounds(found: Reconstruction, densities: Array, factor: Array) -> Array:
    """The bounds T8 of densities `(m, *shape)` with errors `factor` times too small, `(m,)`."""
    return found.infidelity_bound(found.score_error(densities) / factor**2)


class SamplerLaw(Theorem):
    """The stationary density of a sampler has I(mu|p) = E_mu[e . grad log(mu/p)], to 1e-9.

    **Arguments**: as for `ScoreEnergy`, whose q is p here. By default on a ring, with a score that drives a current.
    """

    name: ClassVar[str] = "T10"
    statement: ClassVar[str] = "I(μ|p) = E_μ[e·∇ log(μ/p)], μ the law of the sampler, e the error of its score"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "E_p in place of E_μ"
    control_statement: ClassVar[str] = "the same mean over p is not the information"

    score: Function = driven
    log_density: Function = hill
    axes: tuple[Axis, ...] = (Periodic(*RING, 40),)

    def measure(self, refine: bool) -> Sides:
        """The information and the mean over mu."""
        return self._compare(True, refine)

    def control(self, refine: bool) -> Sides:
        """The information and the mean over p."""
        return self._compare(False, refine)

    def _compare(self, over_sampler: bool, refine: bool) -> Sides:
        """The information, and the mean over mu if `over_sampler`, else over p."""
        grid = refined(Grid(*self.axes), refine)
        stationary = np.asarray(reconstruct(self.score, grid).stationary)
        density, errors = _density_and_error(grid, self.score, self.log_density)
        difference = _gradient(grid, np.log(stationary / density))
        weights = weights_on(grid)

        def mean(p: Any, u: Any) -> Any:
            """The mean over p of the sum of the components of u."""
            return np.sum(weights * p * np.sum(u, axis=-1))

        averaged = mean(stationary if over_sampler else density, errors * difference)
        return identity(averaged, mean(stationary, difference**2), 1e-9)


def _gradient(grid: Grid, field: Any) -> Any:
    """The gradient of a field on a torus by the discrete Fourier transform, `(*shape, d)`."""
    parts = []
    for i, axis in enumerate(grid.axes):
        waves = np.fft.fftfreq(axis.n, 1 / axis.n)
        waves[np.abs(waves) == axis.n / 2] = 0  # the derivative of the Nyquist cosine vanishes at the nodes
        symbol = (2j * np.pi / axis.length * waves).reshape(-1, *[1] * (grid.ndim - 1 - i))
        parts.append(np.fft.ifft(symbol * np.fft.fft(field, axis=i), axis=i).real)
    return np.stack(parts, axis=-1)
