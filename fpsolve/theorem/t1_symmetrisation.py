"""T1, symmetrisation: the density equals sqrt(pi) times a wave in imaginary time.

    d_t p = div( D grad p + p grad U ),  p = sqrt(pi) psi  <=>  d_t psi = D Lap psi - ( |grad U|^2/(4D) - Lap U/2 ) psi

The two sides have only U in common: p is computed by conservative finite volumes, psi in a Fourier basis with the
analytic potential term. Control: the opposite sign of div s (N3).

Reference: Risken, The Fokker-Planck Equation (1989), section 5.4.
"""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck
from ..grid import Grid, Line
from ..operator import Spectral
from ..potential import Harmonic
from ..propagate import Dense
from ..solve.evolve import evolve
from .base import Kind, Sides, Theorem, identity, order
from .problems import Function, evolve_by_volumes, off_centre, schrodinger_image, tilted, values_on


class Symmetrisation(Theorem):
    """p by finite volumes and sqrt(pi) psi by a spectral wave converge to each other at order 2, in relative L1.

    **Arguments**: `potential` U(x), one-dimensional; `diffusion` D; `start` a density of mass 1 narrower than sqrt(pi);
    `lower`, `upper` the box; `times`; `sizes` of the finite-volume grids, with `finer` ones to refine; `nodes` of the
    wave.
    """

    name: ClassVar[str] = "T1"
    statement: ClassVar[str] = "p by finite volumes and √π ψ by a spectral wave meet at order 2"
    kind: ClassVar[Kind] = "order"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "with the opposite sign of div s, V = |s|²/4 - div s/2, they do not meet"

    potential: Function = tilted
    diffusion: float = 0.5
    start: Function = off_centre
    lower: float = -2.4
    upper: float = 2.4
    times: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    sizes: tuple[int, ...] = (48, 64, 96, 128)
    finer: tuple[int, ...] = (192, 256)
    nodes: int = 96

    def measure(self, refine: bool) -> Sides:
        """The observed order and 2."""
        return self._order(1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The observed order, about 0, and 2."""
        return self._order(-1.0, refine)

    def _order(self, sign: float, refine: bool) -> Sides:
        """The order at which both sides converge; the potential term has `sign` times the right div s."""
        equation = FokkerPlanck(self.potential, self.diffusion)
        fine = Grid(Line(self.lower, self.upper, self.nodes))
        # psi_0 = p_0 / sqrt(pi), and sqrt(pi) psi on the nodes of every finite-volume grid.
        start = jnp.asarray(values_on(fine, self.start) / values_on(fine, self._sqrt_pi))
        image = schrodinger_image(equation, sign)
        wave = evolve(image, start, self.times, grid=fine, scheme=Spectral(), method=Dense(), tol=1e-12, check=False)
        sizes = self.sizes + (self.finer if refine else ())
        errors = []
        for n in sizes:
            grid = Grid(Line(self.lower, self.upper, n))
            from_wave = values_on(grid, self._sqrt_pi) * np.asarray(wave.on(grid))
            density = np.asarray(evolve_by_volumes(equation, self.start, self.times, grid))
            # L1 in space, the largest over the times.
            errors.append(float(np.max(np.abs(density - from_wave) @ grid.axes[0].weights)))
        return order(sizes, errors, 2)

    def _sqrt_pi(self, x: Array) -> Array:
        """sqrt(pi), not normalised."""
        return jnp.exp(-self.potential(x) / (2 * self.diffusion))


class SpectralWave(Theorem):
    """In a harmonic well, of any dimension, sqrt(pi) psi by a spectral wave is the exact normal density, to 1e-10.

    With dX = -K X dt + sqrt(2D) dW the mean is e^{-Kt} m and the covariance C + e^{-Kt} (C_0 - C) e^{-Kt}, C = D K^-1.

    **Arguments**: `stiffness` K, symmetric and positive, as nested tuples; `diffusion` D; `mean`, `variance` of the
    isotropic normal density at the start; `half` the half-width of the box; `time`; `nodes` an axis (half as many again
    to refine).
    """

    name: ClassVar[str] = "T1.spectral"
    statement: ClassVar[str] = "√π ψ by a spectral wave is the exact density of a harmonic well, to 1e-10"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "with the opposite sign of div s, V = |s|²/4 - div s/2, √π ψ is another function"

    stiffness: tuple[tuple[float, ...], ...] = ((1.5,),)
    diffusion: float = 0.06
    mean: tuple[float, ...] = (0.3,)
    variance: float = 0.03
    half: float = 2.4
    time: float = 0.4
    nodes: int = 96

    def measure(self, refine: bool) -> Sides:
        """The densities at the node where they differ most."""
        return self._compare(1.0, refine)

    def control(self, refine: bool) -> Sides:
        """The same with the opposite sign of div s."""
        return self._compare(-1.0, refine)

    def _compare(self, sign: float, refine: bool) -> Sides:
        """sqrt(pi) psi and the exact density; the potential term has `sign` times the right div s."""
        nodes = self.nodes * 3 // 2 if refine else self.nodes
        grid = Grid(*[Line(-self.half, self.half, nodes)] * len(self.mean))
        equation = FokkerPlanck(Harmonic(np.asarray(self.stiffness)), self.diffusion)
        sqrt_pi = np.exp(-values_on(grid, equation.energy) / (2 * self.diffusion))
        start = jnp.asarray(_normal(grid, np.asarray(self.mean), self._initial_covariance()) / sqrt_pi)
        run = evolve(
            schrodinger_image(equation, sign), start, [self.time], grid=grid, scheme=Spectral(), tol=1e-12, check=False
        )
        from_wave = sqrt_pi * np.asarray(run.values[0])
        return identity(from_wave, _normal(grid, *self._moments()), 1e-10)

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean `(d,)` and covariance `(d, d)` at the end."""
        # exp(-K t) and D K^-1 in the eigenvectors of K.
        levels, axes = np.linalg.eigh(np.asarray(self.stiffness))
        decay = axes @ np.diag(np.exp(-levels * self.time)) @ axes.T
        steady = self.diffusion * axes @ np.diag(1 / levels) @ axes.T
        return decay @ np.asarray(self.mean), steady + decay @ (self._initial_covariance() - steady) @ decay

    def _initial_covariance(self) -> np.ndarray:
        """The covariance `(d, d)` at the start."""
        return self.variance * np.eye(len(self.mean))


def _normal(grid: Grid, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The normal density at the nodes, `(*shape)`."""
    offsets = np.stack(np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij"), axis=-1) - mean
    exponent = np.einsum("...i,ij,...j->...", offsets, np.linalg.inv(covariance), offsets)
    return np.exp(-exponent / 2) / np.sqrt(np.linalg.det(2 * np.pi * covariance))
