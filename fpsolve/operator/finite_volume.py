"""Two finite-volume schemes that differ in one function: how the rates across a face
follow from the change of log pi.

With P = log pi_above - log pi_below = int b / D dx from node to node (b the drift), h
their distance, and z / (e^z - 1) = B(z),

    Scharfetter-Gummel   up = (D / h) B(-P),      down = (D / h) B(P)
                         flux exact for constant b and flux
    square root          up = (D / h) e^{P/2},    down = (D / h) e^{-P/2}
                         H is the lattice Laplacian + a potential

Both balance in detail, up / down = e^P, so exp(-U/D) on the nodes is the exact discrete
Gibbs density.

References: Scharfetter and Gummel, IEEE Trans. Electron Devices 16 (1969) 64; Chang and
Cooper, J. Comput. Phys. 6 (1970) 1; square-root rates: theorem T2 of this library.
"""

from collections.abc import Callable
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import raise_value_error
from ..core.types import DType, Scalar
from ..equation import Equation, FokkerPlanck, ScoreHamiltonian
from ..grid import Grid, sample_product
from .base import Samples, Scheme, log_sqrt_pi_of, sample_potential
from .edges import EdgeOperator
from .subcells import bernoulli as bernoulli
from .volume_samples import sample_process


class ScharfetterGummel(Scheme):
    """Finite volumes with exponentially fitted fluxes: any drift, any ends, any
    dimension.

    **Keeps**: mass, to rounding, unless an axis absorbs; positivity of exp(tL), for
    every drift; the Gibbs density, to rounding, when there is one; the largest
    eigenvalue stays moderate however steep the potential. With a force L is not
    symmetric and has no Gibbs density: mass and positivity survive. **Order**: 2 in the
    cell width. **Cost**: an application reads 2 d arrays.

    ```python
    import fpsolve as fp

    equation = fp.FokkerPlanck(force=lambda x: 1.0 + 0 * x)
    grid = fp.Grid(fp.Periodic(0, 1, 64))
    solution = fp.evolve(
        equation,
        fp.Gaussian(0.5, 0.01),
        [0.1],
        grid=grid,
        scheme=fp.ScharfetterGummel(),
    )
    ```
    """

    spectral: ClassVar[bool] = False

    def check(self, equation: Equation, grid: Grid) -> None:
        """Every equation and every grid is supported."""

    def sample(
        self,
        equation: Equation,
        grid: Grid,
        t: Scalar,
        reversible: bool,
    ) -> Samples:
        """D and the change of log pi on the faces, V and log pi at the nodes."""
        samples, _ = _sample(equation, grid, t, reversible, resolve_jumps=True)
        return samples

    def sample_smooth(
        self,
        equation: Equation,
        grid: Grid,
        t: Scalar,
        reversible: bool,
    ) -> tuple[Samples, Array]:
        """`sample` for functions that do not jump, and whether one does."""
        return _sample(equation, grid, t, reversible, resolve_jumps=False)

    def assemble(self, samples: Samples, grid: Grid, dtype: DType) -> EdgeOperator:
        """The rates across the faces."""
        return _assemble(bernoulli, samples, grid, dtype)


class SquareRoot(Scheme):
    """Square-root rates: H is the standard 3/5/7-point Laplacian plus D (Lap_h sqrt pi)
    / sqrt pi, exactly.

    **Keeps**: what `ScharfetterGummel` keeps. **Order**: 2. **Limits**: potentials only
    (the rule needs pi); rates grow as exp(P / 2) from node to node, so a steep wall
    makes the largest eigenvalue enormous.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-5.0, 5.0, 100))
    modes = fp.spectrum(fp.FokkerPlanck(fp.Harmonic()), grid, 3, scheme=fp.SquareRoot())
    ```
    """

    spectral: ClassVar[bool] = False

    def check(self, equation: Equation, grid: Grid) -> None:
        """Raise `ValueError` for an equation without a potential."""
        if equation.by_factors or "force" in equation.functions:
            cure = "Use fp.ScharfetterGummel(), which takes any drift."
            raise_value_error(
                "scheme",
                self,
                "square-root rates need a potential, not a force or a score",
                cure,
            )

    def sample(
        self,
        equation: Equation,
        grid: Grid,
        t: Scalar,
        reversible: bool,
    ) -> Samples:
        """D and the change of log pi on the faces, V and log pi at the nodes."""
        samples, _ = _sample(equation, grid, t, reversible, resolve_jumps=True)
        return samples

    def sample_smooth(
        self,
        equation: Equation,
        grid: Grid,
        t: Scalar,
        reversible: bool,
    ) -> tuple[Samples, Array]:
        """`sample` for functions that do not jump, and whether one does."""
        return _sample(equation, grid, t, reversible, resolve_jumps=False)

    def assemble(self, samples: Samples, grid: Grid, dtype: DType) -> EdgeOperator:
        """The rates across the faces."""
        return _assemble(lambda z: jnp.exp(-z / 2), samples, grid, dtype)


def _sample(
    equation: Equation,
    grid: Grid,
    t: Scalar,
    reversible: bool,
    resolve_jumps: bool,
) -> tuple[Samples, Array]:
    no = jnp.zeros((), bool)
    # A score Hamiltonian is sampled as the process whose drift is the score, which has
    # no known Gibbs density. In a score no jumps are looked for.
    if isinstance(equation, ScoreHamiltonian):
        process = equation.sampler()
        if callable(process.diffusion):
            return sample_process(process, grid, t, False, resolve_jumps)
        samples, _ = sample_process(process, grid, t, False, resolve_jumps=False)
        return samples, no
    if isinstance(equation, FokkerPlanck):
        return sample_process(equation, grid, t, reversible, resolve_jumps)
    # The kinetic energy alone: equal rates both ways.
    diffusions = []
    for i in range(grid.ndim):
        positions = _face_positions(grid, i)
        along_axis = lambda x, i=i: equation.diffusions(x)[i]
        diffusions.append(sample_product(along_axis, positions))
    samples = Samples(
        diffusion=tuple(diffusions),
        slope=tuple(map(jnp.zeros_like, diffusions)),
        potential_term=sample_potential(equation, grid, t),
        log_gibbs=None,
    )
    return samples, no


def _assemble(
    rate: Callable[[Array], Array],
    samples: Samples,
    grid: Grid,
    dtype: DType,
) -> EdgeOperator:
    up = []
    down = []
    for i, axis in enumerate(grid.axes):
        scale = samples.diffusion[i] / grid.along_axis(i, axis.spacings)
        slope = samples.slope[i]
        assert slope is not None, "finite volumes sample a slope on every axis"
        up.append((scale * rate(-slope)).astype(dtype))
        down.append((scale * rate(slope)).astype(dtype))
    potential_term = samples.potential_term
    if potential_term is not None:
        potential_term = potential_term.astype(dtype)
    log_sqrt_pi = None
    if samples.log_gibbs is not None:
        # Normalised in the precision of the samples, and only then rounded.
        log_sqrt_pi = log_sqrt_pi_of(samples.log_gibbs, grid).astype(dtype)
    return EdgeOperator(
        grid=grid,
        up=tuple(up),
        down=tuple(down),
        potential_term=potential_term,
        log_sqrt_pi=log_sqrt_pi,
    )


def _face_positions(grid: Grid, i: int) -> tuple[Array, ...]:
    """The nodes of all axes, with the faces in the place of those of axis i."""
    nodes = list(grid.nodes)
    nodes[i] = jnp.asarray(grid.axes[i].faces, dtype=float)
    return tuple(nodes)
