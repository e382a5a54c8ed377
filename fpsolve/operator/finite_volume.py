"""Two finite-volume schemes that differ in one function: how the rates of an edge follow from its drop.

With P = log pi_above - log pi_below = int b / D dx over the edge (b the drift), and z / (e^z - 1) = B(z),

    Scharfetter-Gummel   up = (D / gap) B(-P),      down = (D / gap) B(P)        flux exact for constant b and flux
    square root          up = (D / gap) e^{P/2},    down = (D / gap) e^{-P/2}    H is the lattice Laplacian + a well

Both balance in detail, up / down = e^P, so exp(-U/D) on the nodes is the exact discrete Gibbs density.

References: Scharfetter and Gummel, IEEE Trans. Electron Devices 16 (1969) 64; Chang and Cooper, J. Comput. Phys. 6
(1970) 1; square-root rates: theorem T2 of this library.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..equation import Equation, FokkerPlanck, ScoreHamiltonian
from ..grid import Grid, sample_product
from .base import Samples, Scheme, log_sqrt_pi_of, sample_potential
from .edges import EdgeOperator


class ScharfetterGummel(Scheme):
    """Finite volumes with exponentially fitted fluxes: any drift, any ends, any dimension.

    **Keeps**: mass, to rounding, unless an axis absorbs; positivity of exp(tL), for every drift; the Gibbs density,
    to rounding, when there is one; the largest eigenvalue stays moderate however steep the potential. With a force L
    is not symmetric and has no Gibbs density: mass and positivity survive. **Order**: 2 in the cell width.
    **Cost**: an application reads 2 d arrays.

    ```python
    import fpsolve as fp

    equation, grid = fp.FokkerPlanck(force=lambda x: 1.0 + 0 * x), fp.Grid(fp.Periodic(0, 1, 64))
    solution = fp.evolve(equation, fp.Gaussian(0.5, 0.01), [0.1], grid=grid, scheme=fp.ScharfetterGummel())
    ```
    """

    spectral: ClassVar[bool] = False

    def check(self, equation: Equation, grid: Grid) -> None:
        """Every equation on every grid."""

    def sample(self, equation: Equation, grid: Grid, t: Any, reversible: bool) -> Samples:
        """D and the change of log pi on the faces, V and log pi at the nodes."""
        return _sample(equation, grid, t, reversible)

    def assemble(self, samples: Samples, grid: Grid, dtype: Any) -> EdgeOperator:
        """The rates across the faces."""
        return _assemble(bernoulli, samples, grid, dtype)


class SquareRoot(Scheme):
    """The exact lattice twin: H is the standard 3/5/7-point Laplacian plus the well D (Lap_h sqrt pi) / sqrt pi.

    **Keeps**: what `ScharfetterGummel` keeps. **Order**: 2. **Limits**: potentials only (the rule needs pi); rates
    grow as exp(drop / 2) over an edge, so a steep wall makes the largest eigenvalue enormous.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-5.0, 5.0, 100))
    modes = fp.spectrum(fp.FokkerPlanck(fp.Harmonic()), grid, 3, scheme=fp.SquareRoot())
    ```
    """

    spectral: ClassVar[bool] = False

    def check(self, equation: Equation, grid: Grid) -> None:
        """Refuse a force."""
        if equation.by_factors or "force" in equation.functions:
            cure = "Use fp.ScharfetterGummel(), which takes any drift."
            raise_value_error(
                "scheme", self, "square-root rates need a potential, and here is a force or a score", cure
            )

    def sample(self, equation: Equation, grid: Grid, t: Any, reversible: bool) -> Samples:
        """D and the change of log pi on the faces, V and log pi at the nodes."""
        return _sample(equation, grid, t, reversible)

    def assemble(self, samples: Samples, grid: Grid, dtype: Any) -> EdgeOperator:
        """The rates across the faces."""
        return _assemble(lambda drop: jnp.exp(-drop / 2), samples, grid, dtype)


def bernoulli(z: Array) -> Array:
    """B(z) = z / (e^z - 1), to rounding for every z and differentiable everywhere; B(0) = 1."""
    size = jnp.abs(z)
    small = size < 1e-2
    safe = jnp.where(small, 1, size)
    series = 1 + size / 2 + size**2 / 12 - size**4 / 720 + size**6 / 30240
    return jnp.where(small, series, safe / -jnp.expm1(-safe)) * jnp.exp(-jnp.maximum(z, 0))


def _sample(equation: Equation, grid: Grid, t: Any, reversible: bool) -> Samples:
    if isinstance(equation, ScoreHamiltonian):
        equation, reversible = equation.sampler(), False
    diffusions, slopes = [], []
    for i, axis in enumerate(grid.axes):
        faces = _positions(grid, i, axis.faces)
        diffusion = sample_product(lambda x, i=i: equation.diffusions(x)[i], faces)
        if not isinstance(equation, FokkerPlanck):
            slope = jnp.zeros_like(diffusion)
        else:
            slope = -_energy_rise(equation, grid, i, t) / diffusion
            if (force := equation.force) is not None:
                gaps = _along(grid, i, axis.spacings)
                slope = slope + sample_product(lambda x, i=i, f=force: f(x, t)[i], faces) * gaps / diffusion
        diffusions.append(diffusion)
        slopes.append(slope)
    if not isinstance(equation, FokkerPlanck):
        return Samples(tuple(diffusions), tuple(slopes), sample_potential(equation, grid, t), None)
    return Samples(tuple(diffusions), tuple(slopes), None, equation.log_gibbs_on(grid, t) if reversible else None)


def _assemble(rate: Callable[[Array], Array], samples: Samples, grid: Grid, dtype: Any) -> EdgeOperator:
    up, down = [], []
    for i, axis in enumerate(grid.axes):
        scale, slope = samples.diffusion[i] / _along(grid, i, axis.spacings), samples.slope[i]
        assert slope is not None, "finite volumes sample a slope on every axis"
        up.append((scale * rate(-slope)).astype(dtype))
        down.append((scale * rate(slope)).astype(dtype))
    well = None if samples.well is None else samples.well.astype(dtype)
    log_sqrt_pi = None if samples.log_gibbs is None else log_sqrt_pi_of(samples.log_gibbs, grid).astype(dtype)
    return EdgeOperator(grid=grid, up=tuple(up), down=tuple(down), well=well, log_sqrt_pi=log_sqrt_pi)


def _energy_rise(equation: FokkerPlanck, grid: Grid, i: int, t: Any) -> Array:
    """U above minus U below each face of axis i; walls count as points of an absorbing axis."""
    axis = grid.axes[i]
    if axis.boundary == "absorbing":
        positions = _positions(grid, i, np.concatenate([[axis.lower], axis.nodes, [axis.upper]]))
        return jnp.diff(sample_product(lambda x: equation.energy(x, t), positions), axis=i)
    below, above = axis.face_neighbors(grid.sample(lambda x: equation.energy(x, t)), i)
    return above - below


def _positions(grid: Grid, i: int, positions: np.ndarray) -> tuple[Array, ...]:
    nodes = list(grid.nodes)
    nodes[i] = jnp.asarray(positions, dtype=float)
    return tuple(nodes)


def _along(grid: Grid, i: int, values: np.ndarray) -> Array:
    return jnp.asarray(values, dtype=float).reshape(-1, *[1] * (grid.ndim - 1 - i))
