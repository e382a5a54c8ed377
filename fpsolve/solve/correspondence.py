"""Both sides together: the density by its generator, the wave by its Hamiltonian, and
the difference.

    d_t p = L_t p
    d_t psi = -H_t psi - (a_t / 2) psi      a_t = d_t log pi_t
    p = sqrt(pi_t) psi

Both sides use the same grid and, where the potential is time-dependent, take the same
steps in time, so that they differ by rounding only (theorems T1, T2, T3, T13). They
agree on any grid, however coarse: how far both are from the truth is seen on companion
grids (`second_look`, `level_errors`).
"""

import math
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module, scaled
from ..core.checks import is_concrete, raise_value_error
from ..core.decision import Decision
from ..core.memory import check_memory
from ..core.program import public_function, quick_program
from ..core.result import CODES, REMEDIES, AccuracyWarning
from ..core.result import code as code_of
from ..core.text import largest
from ..core.types import Initial, Numbers, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import Operator, ScharfetterGummel, Scheme
from ..plan import Outcome, Plan, Request, validate, wave_size
from ..plan.sampled_equation import SampledEquation
from ..plan.spectrum_plan import validate_modes
from ..propagate import Chebyshev, Picture
from ..record import ERROR_PART, Result
from ..step import Magnus, Problem
from ..step.two_pictures import BothSides, run_both
from .constants import CONSTANTS
from .second_look import Look, look
from .spectrum_run import solve


class Correspondence(Result):
    """The two sides of one process on one grid.

    - `density` `(T, *shape)`: p by the generator; `wave` `(T, *shape)`: psi by the
      Hamiltonian
    - `difference` `(T,)`: relative L1 distance of p and sqrt(pi) psi
    - `spectra` `(2, k)`: levels of -L (from its left and right eigenfunctions) and of H
    - `error` `(T,)`: the whole estimated relative L1 error of p, and of sqrt(pi) psi as
      well; NaN where it could not be estimated. `errors`: its parts `(T,)`, "time",
      "space", "box" and "start"
    - `level_errors` `(k,)`: the estimated whole error of each level of H
    - `tolerance`: the largest allowed `difference`: 1e-11 in float64, or rounding of |p
      / sqrt(pi)| if that is larger
    - `holds`: whether differences and spectra agree to it, which they do on grids that
      are too coarse as well
    - `result`: "successful", or "grid_too_coarse" where a second look finds an error
      above 1e-2
    """

    times: Array
    density: Array
    wave: Array
    difference: Array
    spectra: Array
    error: Array
    errors: dict[str, Array]
    level_errors: Array
    tolerance: Array
    code: Array
    equation: FokkerPlanck
    grid: Grid = eqx.field(static=True)
    decisions: tuple[tuple[str, Decision], ...] = eqx.field(static=True)

    @property
    def holds(self) -> bool:
        """Whether both sides agree."""
        # In units of the largest level: the rounding of all is proportional to it.
        spectra = np.asarray(self.spectra)
        tolerance = float(self.tolerance)
        same_density = np.max(np.asarray(self.difference)) <= tolerance
        largest_level = max(1.0, float(np.max(np.abs(spectra))))
        apart = np.max(np.abs(spectra[0] - spectra[1]))
        limit = CONSTANTS.spectrum_factor * tolerance * largest_level
        return bool(same_density and apart <= limit)

    @property
    def result(self) -> str:
        """The named code of the result."""
        return CODES[int(self.code)]

    @property
    def stats(self) -> dict[str, str]:
        """The scheme, and how the error was found."""
        return {name: str(decision) for name, decision in self.decisions}

    def __repr__(self) -> str:
        holds = "traced"
        if is_concrete(self.difference, self.spectra):
            holds = "holds" if self.holds else "does not hold"
        return (
            f"Correspondence: {len(self.times)} times on {self.grid!r}\n"
            f"  {holds}: densities differ by {largest(self.difference)} at most, "
            f"{largest(self.tolerance)} is allowed\n"
            f"  estimated error of the density at most {largest(self.error)}"
        )

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The code and whether it holds; the parts of the error, and `root` = sqrt(pi):
        `(*shape)`, or `(T, *shape)` where it is time-dependent.
        """
        moving = self.equation.time_dependent
        times = jnp.asarray(self.times) if moving else jnp.zeros(1)
        log_roots = (self.equation.log_sqrt_pi(self.grid, t) for t in times)
        roots = np.stack([jnp.exp(log_root) for log_root in log_roots])
        entries = {
            "result": self.result,
            "holds": self.holds,
            "tolerance": float(self.tolerance),
        }
        arrays = {"root": roots if moving else roots[0]}
        parts = {ERROR_PART + name: part for name, part in self.errors.items()}
        return entries, arrays | parts


@public_function
def correspondence(
    equation: FokkerPlanck,
    initial: Initial,
    times: Numbers,
    *,
    grid: Grid,
    scheme: Scheme | None = None,
    check: bool = True,
) -> Correspondence:
    """Evolve density and wave side by side and measure how exactly p = sqrt(pi) psi.

    **Arguments**: as in `fp.evolve`; `scheme` is finite volumes
    (`fp.ScharfetterGummel`) unless given. The potential may be time-dependent. `check`
    solves for the density and the levels on two companion grids as well, so that
    `error` and `level_errors` are whole; False takes what one run shows of them, which
    is a rough guide. **Returns** a `Correspondence`. **Raises** `ValueError` for a
    process without a wave (a force, a diffusion that varies), a start whose wave
    overflows, and whatever `fp.evolve` rejects. **Warns** (`fp.AccuracyWarning`) of
    errors of the density above 1e-2.

    **Keeps**: mass on both sides, to rounding. **Cost**: two evolutions and a spectrum
    of six levels; two to four times that with `check`, and more where the drift in the
    wider box of a companion is much stronger. **Reference**: Risken (1989), section
    5.4; for time-dependent potentials theorem T13 of this library.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-2.5, 2.5, 128))
    both = fp.correspondence(
        fp.FokkerPlanck(fp.DoubleWell(2.0)),
        fp.Gaussian(-1.0, 0.05),
        [0.1, 1.0],
        grid=grid,
    )
    ```
    """
    # 1. Validate: the process needs both sides, and the memory for them.
    if not isinstance(equation, FokkerPlanck):
        allowed = "it must be an fp.FokkerPlanck, which has two sides"
        raise_value_error("equation", equation, allowed, "Give its potential to one.")
    scheme = ScharfetterGummel() if scheme is None else scheme
    request = validate(equation, initial, times, grid, scheme, None, None, 0.0, None)
    grid, times = request.grid, request.times
    # Densities and waves at all times, and the fields of two runs and a spectrum.
    cure = "Take fewer nodes on some axis, or fewer times."
    check_memory("grid", grid.shape, 2 * len(times) + 24, cure)
    as_read = request.equation
    assert isinstance(as_read, FokkerPlanck)
    as_read.require_reversible(grid, "the wave picture")

    # 2. Discretise.
    plan = _plan(request, scheme)
    sampled = request.sampled
    start = plan.start
    log_sqrt_pi = sampled.operator(scheme, start.dtype).log_sqrt_pi
    size = wave_size(log_sqrt_pi, start, sampled.solved)
    if is_concrete(size) and not np.isfinite(float(size)):
        cure = (
            "Start from a narrower density, or one nearer to the Gibbs density; "
            "fp.evolve takes any start."
        )
        allowed = "its wave p / sqrt(pi) overflows"
        raise_value_error("initial", float(size), allowed, cure)

    # 3. Evolve both sides, and compare them.
    cell = sampled.cell
    problem = Problem(plan.problem.operator, Picture.DENSITY, 0.0)
    sides = run_both(problem, start, times)
    density = scaled(sides.density, 1 / cell)
    epsilon = float(jnp.finfo(start.dtype).eps)
    # The wave is larger than the density by |p / sqrt(pi)|, and so is its rounding.
    xp = host_module(size)
    wave_rounding = CONSTANTS.wave_roundings * epsilon * xp.asarray(size)
    tolerance = xp.maximum(CONSTANTS.largest_difference * epsilon, wave_rounding)
    last = np.asarray(times)[-1] if is_concrete(times) else times[-1]
    spectra, level_errors = _spectra(sampled, scheme, as_array(last), check)

    # 4. The whole error of the density, by a second look at the problem.
    outcome = Outcome(density, sides.error, {}, as_array(code_of("successful"), int))
    found = look(plan, outcome, check)
    decisions = (
        ("scheme", Decision(type(scheme).__name__)),
        ("check", found.decision),
    )
    return Correspondence(
        times=times,
        density=density,
        wave=scaled(sides.wave, 1 / math.sqrt(cell)),
        difference=_difference(sides, sampled.solved),
        spectra=spectra,
        error=found.parts.whole,
        errors=found.parts.as_dict(),
        level_errors=level_errors,
        tolerance=as_array(tolerance),
        code=_code(found),
        equation=as_read,
        grid=grid,
        decisions=decisions,
    )


def _plan(request: Request, scheme: Scheme) -> Plan:
    """The evolution of the density as a plan, which a second look repeats."""
    chosen = request.choose(scheme)
    start = request.start(chosen)
    moving = request.equation.time_dependent
    if moving:
        operator = request.sampled.path(scheme)
        method = Magnus()
    else:
        operator = request.sampled.operator(scheme, start.dtype)
        method = Chebyshev()
    problem = Problem(operator, chosen.picture, 0.0)
    decisions = {"scheme": chosen.decision}
    return Plan(request, problem, method, start, chosen, decisions)


def _code(found: Look) -> Array:
    """The code of the result, with a warning of an error that leaves hardly a digit."""
    # What one run shows is too rough a guide for a code; a traced one knows no more.
    if not found.compared:
        return as_array(code_of("successful"), int)
    # An error that is not known is NaN, and exceeds nothing.
    worst = float(np.max(np.asarray(found.parts.whole)))
    if not worst > CONSTANTS.unresolved_error:
        return as_array(code_of("successful"), int)
    detail = f"estimated error {worst:.1e}, above {CONSTANTS.unresolved_error:.1e}."
    message = f"{detail} {REMEDIES['grid_too_coarse']}"
    # The frames of this function, of `correspondence` and of its wrapper lie between
    # here and the user's call.
    warnings.warn(message, AccuracyWarning, stacklevel=4)
    return as_array(code_of("grid_too_coarse"), int)


@quick_program
def _difference(sides: BothSides, grid: Grid) -> Array:
    """The relative L1 distance of p and sqrt(pi) psi at every time."""
    apart = grid.integrate(jnp.abs(sides.density - sides.density_of_wave))
    return apart / grid.integrate(jnp.abs(sides.density))


def _spectra(
    sampled: SampledEquation,
    scheme: Scheme,
    t: Scalar,
    check: bool,
) -> tuple[Array, Array]:
    """Levels of -L by its right and left eigenfunctions sqrt(pi) psi and psi /
    sqrt(pi), and levels of H, `(2, k)`; the errors of those of H, `(k,)`.
    """
    grid = sampled.grid
    levels = min(CONSTANTS.compared_levels, grid.size)
    request = validate_modes(sampled.equation, grid, levels, t, scheme, None)
    modes, _ = solve(request, check)
    # A static operator is the same at all times: at t = 0 it is built already.
    t = t if sampled.equation.time_dependent else 0.0
    operator = sampled.operator(scheme, modes.values.dtype, t)
    # In the units of the solver, in which a cell holds the square of a wave.
    vectors = scaled(modes.vectors, math.sqrt(sampled.cell))
    return _both_levels(operator, modes.values, vectors), modes.errors


@quick_program
def _both_levels(operator: Operator, values: Array, vectors: Array) -> Array:
    log_sqrt_pi = operator.log_sqrt_pi
    # Where sqrt(pi) is tiny both eigenfunctions are zero to rounding, and 1 / sqrt(pi)
    # would overflow. The limit is the fourth root of the smallest normal number.
    representable = log_sqrt_pi > np.log(np.finfo(values.dtype).tiny) / 4
    # The inner `where` keeps what is not taken finite, also in derivatives.
    inverse = jnp.exp(-jnp.where(representable, log_sqrt_pi, 0))
    left = jnp.where(representable, inverse, 0) * vectors
    right = jnp.exp(log_sqrt_pi) * vectors
    images = jax.vmap(operator.generator)(right)
    return jnp.stack([-operator.grid.integrate(left * images), values])
