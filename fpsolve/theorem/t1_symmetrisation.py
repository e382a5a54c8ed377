"""T1, symmetrisation: the density is sqrt(pi) times a wave in imaginary time.

    d_t p = div( D grad p + p grad U ),  p = sqrt(pi) psi  <=>  d_t psi = D Lap psi - ( |grad U|^2/(4D) - Lap U/2 ) psi

The two sides share nothing but U: conservative finite volumes carry p, a Fourier basis carries psi with the analytic
well. Control: the sign of div s turned (N3).

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
from .problems import Function, image, off_centre, tilted, values_on, volumes


class Symmetrisation(Theorem):
    """Finite volumes for p and a spectral wave for psi approach each other at order 2, in relative L1 distance.

    **Arguments**: `potential` U(x), one-dimensional; `diffusion` D; `start` a density of mass 1 narrower than sqrt(pi);
    `lower`, `upper` the box; `times`; `sizes` of the finite-volume grids, with `finer` ones to refine; `nodes` of the
    wave.
    """

    name: ClassVar[str] = "T1"
    statement: ClassVar[str] = "p by finite volumes and √π ψ by a spectral wave meet at order 2"
    kind: ClassVar[Kind] = "order"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "with the sign of div s turned, V = |s|²/4 - div s/2, they do not meet"

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
        process, fine = FokkerPlanck(self.potential, self.diffusion), Grid(Line(self.lower, self.upper, self.nodes))
        start = jnp.asarray(values_on(fine, self.start) / values_on(fine, self._root))
        wave = evolve(image(process, sign), start, self.times, grid=fine, scheme=Spectral(), method=Dense(), tol=1e-12)
        sizes, errors = self.sizes + (self.finer if refine else ()), []
        for n in sizes:
            grid = Grid(Line(self.lower, self.upper, n))
            twin = values_on(grid, self._root) * np.asarray(wave.on(grid))
            density = np.asarray(volumes(process, self.start, self.times, grid))
            errors.append(float(np.max(np.abs(density - twin) @ grid.axes[0].weights)))
        return order(sizes, errors, 2)

    def _root(self, x: Array) -> Array:
        return jnp.exp(-self.potential(x) / (2 * self.diffusion))


class SpectralWave(Theorem):
    """In a harmonic well, of any dimension, sqrt(pi) psi by a spectral wave is the exact normal density, to 1e-10.

    With dX = -K X dt + sqrt(2D) dW the mean is e^{-Kt} m and the covariance C + e^{-Kt} (C_0 - C) e^{-Kt}, C = D K^-1.

    **Arguments**: `stiffness` K, symmetric and positive, as nested tuples; `diffusion` D; `mean`, `variance` of the
    round normal density at the start; `half` the half-width of the box; `time`; `nodes` an axis (half as many again to
    refine).
    """

    name: ClassVar[str] = "T1.spectral"
    statement: ClassVar[str] = "√π ψ by a spectral wave is the exact density of a harmonic well, to 1e-10"
    kind: ClassVar[Kind] = "identity"
    control_name: ClassVar[str] = "N3"
    control_statement: ClassVar[str] = "with the sign of div s turned, V = |s|²/4 - div s/2, √π ψ is another function"

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
        """The same, with the partner's well."""
        return self._compare(-1.0, refine)

    def _compare(self, sign: float, refine: bool) -> Sides:
        nodes = self.nodes * 3 // 2 if refine else self.nodes
        grid = Grid(*[Line(-self.half, self.half, nodes)] * len(self.mean))
        process = FokkerPlanck(Harmonic(np.asarray(self.stiffness)), self.diffusion)
        root = np.exp(-values_on(grid, process.energy) / (2 * self.diffusion))
        start = jnp.asarray(_normal(grid, np.asarray(self.mean), self._round()) / root)
        run = evolve(image(process, sign), start, [self.time], grid=grid, scheme=Spectral(), tol=1e-12)
        twin = root * np.asarray(run.values[0])
        return identity(twin, _normal(grid, *self._moments()), 1e-10)

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        levels, axes = np.linalg.eigh(np.asarray(self.stiffness))
        decay = axes @ np.diag(np.exp(-levels * self.time)) @ axes.T
        steady = self.diffusion * axes @ np.diag(1 / levels) @ axes.T
        return decay @ np.asarray(self.mean), steady + decay @ (self._round() - steady) @ decay

    def _round(self) -> np.ndarray:
        return self.variance * np.eye(len(self.mean))


def _normal(grid: Grid, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    away = np.stack(np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij"), axis=-1) - mean
    exponent = np.einsum("...i,ij,...j->...", away, np.linalg.inv(covariance), away)
    return np.exp(-exponent / 2) / np.sqrt(np.linalg.det(2 * np.pi * covariance))
