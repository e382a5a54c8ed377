"""Both sides together: the density by its generator, the wave by its Hamiltonian, and the difference.

    d_t p = L_t p          d_t psi = -H_t psi - (a_t / 2) psi          p = sqrt(pi_t) psi,   a_t = d_t log pi_t

Both sides use the same grid and, where the potential is time-dependent, take the same steps in time, so that they
differ by rounding only (theorems T1, T2, T3, T13). The error in time, which is the same for both, is reported
separately.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, scaled
from ..core.checks import raise_value_error
from ..core.decision import Decision
from ..core.memory import check_memory
from ..core.program import full_precision, quick_program
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import Operator, ScharfetterGummel, Scheme
from ..operator.cells import may_be_in_cells
from ..plan import check_scheme, wave_size
from ..plan.scheme_choice import SampledEquation
from ..plan.validation import check_equation, check_times, initial_field
from ..propagate import Picture
from ..record import Result
from ..step import Problem
from ..step.trajectory import BothSides, run_both
from .constants import CONSTANTS
from .spectrum import spectrum


class Correspondence(Result):
    """The two sides of one process on one grid.

    - `density` `(T, *shape)`: p by the generator; `wave` `(T, *shape)`: psi by the Hamiltonian
    - `difference` `(T,)`: relative L1 distance of p and sqrt(pi) psi
    - `spectra` `(2, k)`: levels of -L (from its left and right eigenfunctions) and of H
    - `error` `(T,)`: estimated relative L1 error in time, the same for both sides
    - `tolerance`: the largest allowed `difference`: 1e-11 in float64, or rounding of |p / sqrt(pi)| if that is larger
    - `holds`: whether differences and spectra agree to it
    """

    times: Array
    density: Array
    wave: Array
    difference: Array
    spectra: Array
    error: Array
    tolerance: Array
    equation: FokkerPlanck
    grid: Grid = eqx.field(static=True)
    decisions: tuple[tuple[str, Decision], ...] = eqx.field(static=True)

    @property
    def holds(self) -> bool:
        """Whether both sides agree."""
        # All levels are compared in units of the largest one, which their rounding is proportional to.
        spectra = np.asarray(self.spectra)
        tolerance = float(self.tolerance)
        same_density = np.max(np.asarray(self.difference)) <= tolerance
        largest_level = max(1.0, float(np.max(np.abs(spectra))))
        apart = np.max(np.abs(spectra[0] - spectra[1]))
        return bool(same_density and apart <= CONSTANTS.spectrum_factor * tolerance * largest_level)

    @property
    def stats(self) -> dict[str, str]:
        """The scheme."""
        return {name: str(decision) for name, decision in self.decisions}

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Whether it holds, and `root` = sqrt(pi): `(*shape)`, or `(T, *shape)` where it is time-dependent."""
        times = jnp.asarray(self.times) if self.equation.time_dependent else jnp.zeros(1)
        roots = np.stack([jnp.exp(self.equation.log_sqrt_pi(self.grid, t)) for t in times])
        entries = {"holds": self.holds, "tolerance": float(self.tolerance)}
        return entries, {"root": roots if self.equation.time_dependent else roots[0]}


@full_precision
def correspondence(
    equation: FokkerPlanck, initial: Any, times: Any, *, grid: Grid, scheme: Scheme | None = None
) -> Correspondence:
    """Evolve density and wave side by side and measure how exactly p = sqrt(pi) psi.

    **Arguments**: as in `fp.evolve`; `scheme` is finite volumes (`fp.ScharfetterGummel`) unless given. The potential
    may be time-dependent. **Returns** a `Correspondence`. **Raises** `ValueError` for a process without a wave (a
    force, a diffusion that varies), a start whose wave overflows, and whatever `fp.evolve` rejects.

    **Keeps**: mass on both sides, to rounding. **Cost**: two evolutions and a spectrum of six levels.
    **Reference**: Risken (1989), section 5.4; for time-dependent potentials theorem T13 of this library.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-2.5, 2.5, 128))
    both = fp.correspondence(fp.FokkerPlanck(fp.DoubleWell(2.0)), fp.Gaussian(-1.0, 0.05), [0.1, 1.0], grid=grid)
    ```
    """
    # 1. Validate: the process needs both sides, and the memory for them.
    if not isinstance(equation, FokkerPlanck):
        allowed = "it must be an fp.FokkerPlanck, which has two sides"
        raise_value_error("equation", equation, allowed, "Give its potential to one.")
    equation, grid = check_equation(equation, grid)
    times = check_times(times)
    # Densities and waves at all times, and the fields of two runs and a spectrum.
    check_memory("grid", grid.shape, 2 * len(times) + 24, "Take fewer nodes on some axis, or fewer times.")
    equation.require_reversible(grid, "the wave picture")
    scheme = ScharfetterGummel() if scheme is None else scheme
    check_scheme(scheme, equation, grid)
    field = initial_field(equation, grid, initial)

    # 2. Discretise. `scaled` changes to the units of the solver: mass in each cell.
    sampled = SampledEquation(equation, grid, True, in_cells=may_be_in_cells(scheme))
    cell = sampled.cell
    first_operator = sampled.operator(scheme, field.dtype)
    size = float(wave_size(first_operator.log_sqrt_pi, scaled(field, cell), sampled.solved))
    if not np.isfinite(size):
        cure = "Start from a narrower density, or one nearer to the Gibbs density; fp.evolve takes any start."
        raise_value_error("initial", size, "its wave p / sqrt(pi) overflows", cure)

    # 3. Evolve both sides, and compare them.
    operator = sampled.path(scheme) if equation.time_dependent else first_operator
    sides = run_both(Problem(operator, Picture.DENSITY, 0.0), scaled(field, cell), times)
    epsilon = float(jnp.finfo(field.dtype).eps)
    # The wave is larger than the density by |p / sqrt(pi)|, and so is its rounding.
    wave_rounding = CONSTANTS.wave_roundings * epsilon * size
    tolerance = np.asarray(max(CONSTANTS.largest_difference * epsilon, wave_rounding))
    spectra = _spectra(sampled, scheme, as_array(np.asarray(times)[-1]))
    return Correspondence(
        times=times,
        density=scaled(sides.density, 1 / cell),
        wave=scaled(sides.wave, 1 / math.sqrt(cell)),
        difference=_difference(sides, sampled.solved),
        spectra=spectra,
        error=sides.error,
        tolerance=as_array(tolerance),
        equation=equation,
        grid=grid,
        decisions=(("scheme", Decision(type(scheme).__name__)),),
    )


@quick_program
def _difference(sides: BothSides, grid: Grid) -> Array:
    """The relative L1 distance of p and sqrt(pi) psi at every time."""
    apart = grid.integrate(jnp.abs(sides.density - sides.density_of_wave))
    return apart / grid.integrate(jnp.abs(sides.density))


def _spectra(sampled: SampledEquation, scheme: Scheme, t: Any) -> Array:
    """Levels of -L by its right and left eigenfunctions sqrt(pi) psi and psi / sqrt(pi), and levels of H."""
    grid = sampled.grid
    modes = spectrum(sampled.equation, grid, min(CONSTANTS.compared_levels, grid.size), t=t, scheme=scheme)
    # A static operator is the same at all times: at t = 0 it is built already.
    t = t if sampled.equation.time_dependent else 0.0
    operator = sampled.operator(scheme, modes.values.dtype, t)
    return _both_levels(operator, modes.values, scaled(modes.vectors, math.sqrt(sampled.cell)))


@quick_program
def _both_levels(operator: Operator, values: Array, vectors: Array) -> Array:
    log_sqrt_pi = operator.log_sqrt_pi
    # Where sqrt(pi) is tiny both eigenfunctions are zero to rounding, and 1 / sqrt(pi) would overflow. The limit is the
    # fourth root of the smallest normal number.
    representable = log_sqrt_pi > np.log(np.finfo(values.dtype).tiny) / 4
    left = jnp.where(representable, jnp.exp(-jnp.where(representable, log_sqrt_pi, 0)), 0) * vectors
    right = jnp.exp(log_sqrt_pi) * vectors
    return jnp.stack([-operator.grid.integrate(left * jax.vmap(operator.generator)(right)), values])
