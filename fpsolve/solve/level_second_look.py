"""The errors of levels in parts: of the eigen-solver, in space, and of the box.

    algebra    a bound from the residuals, for a level of this grid
    space      |E - E'| and |E' - E''| on two companion grids (`level_errors`), and what
               lies between the nodes (`between_nodes`)
    box        the flux through the ends of the box (`level_single_look`), at most the
               difference to the companions, whose boxes are wider

Without companions the parts in space and of the box are what one run shows.
"""

import jax
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.result import NumericalFailure
from ..core.types import AnyArray, ArrayModule
from ..eigen import Levels
from ..grid import Grid
from ..plan.companion import companion
from ..plan.spectrum_plan import Candidate, Outcome, candidate_on
from .between_nodes import unseen_in_levels
from .constants import CONSTANTS
from .level_errors import errors_in_basis, errors_on_volumes, matched, miscounted
from .level_single_look import single_look
from .modes import is_no_flux_line, run_candidate, with_small_gap


def error_parts(tried: Candidate, outcome: Outcome, check: bool) -> dict[str, Array]:
    """The errors `(k,)` of levels: of the eigen-solver, in space, and of the box."""
    found = outcome.levels
    dtype = found.errors.dtype
    seen = single_look(tried.operator, found.values, found.vectors, outcome.left)
    xp = host_module(found, seen)
    values = xp.asarray(found.values)
    algebra = xp.asarray(found.errors)
    space = xp.asarray(seen.space)
    box = xp.asarray(seen.box)

    # The ground level of a process is zero, and what the grid gives for it is an error
    # of the other levels, too. A gap from the kernel of the partner is no difference of
    # such numbers.
    ground_is_zero = (
        tried.request.evolves_density
        and tried.solver != "relaxation"
        and not tried.request.grid.absorbs
    )
    defect = algebra[0] if ground_is_zero else 0.0
    from_partner = _is_from_partner(tried, outcome, xp)
    # Inside a program, where `xp` is not numpy, nothing is solved on other grids.
    if not check or xp is not np:
        space = xp.where(from_partner, 0.0, xp.maximum(space, defect))
    else:
        # Both are in the difference of two levels; the ends of the box tell them apart.
        both = _second_look(tried, values, outcome)
        both = np.where(from_partner, both, np.maximum(both, defect))
        both = both + _unseen(tried, found)
        box = np.minimum(box, both)
        space = both - box
    return {
        "algebra": as_array(algebra, dtype),
        "space": as_array(space, dtype),
        "box": as_array(box, dtype),
    }


def _is_from_partner(tried: Candidate, outcome: Outcome, xp: ArrayModule) -> AnyArray:
    """Which levels `(k,)` come from the kernel of the partner."""
    levels = len(outcome.levels.values)
    candidate = (
        tried.solver != "relaxation"
        and tried.request.evolves_density
        and is_no_flux_line(tried.request.grid)
    )
    return (np.arange(levels) == 1) & candidate & xp.asarray(outcome.tiny)


def _second_look(tried: Candidate, values: np.ndarray, outcome: Outcome) -> np.ndarray:
    """The errors `(k,)` of the levels in space and of the box, from two companion
    grids; NaN where there is none.
    """
    spectral = tried.scheme.spectral
    first_grid = companion(tried.request.grid, spectral)
    first = _levels_on(tried, first_grid, values)
    second = _levels_on(tried, companion(first_grid, spectral), values)
    compare = errors_in_basis if spectral else errors_on_volumes
    if np.iscomplexobj(values):
        # Complex rates have no order: each is compared with the nearest one.
        pairs = (matched(values, first), matched(values, second))
        missing = miscounted(values, first[: len(values)], pairs[0])
        return np.maximum(compare(values, *pairs), missing)
    return compare(values, first, second)


def _unseen(tried: Candidate, found: Levels) -> np.ndarray:
    """The errors `(k,)` of the levels by what lies between the nodes."""
    request = tried.request
    # The modes of a process that is not reversible are densities, without sqrt(pi).
    are_waves = tried.solver != "relaxation" and request.evolves_density
    log_sqrt_pi = np.asarray(tried.operator.log_sqrt_pi) if are_waves else None
    values = np.asarray(found.values)
    modes = np.asarray(found.vectors)
    return unseen_in_levels(
        request.equation, request.grid, float(request.t), values, modes, log_sqrt_pi
    )


def _levels_on(tried: Candidate, grid: Grid, values: np.ndarray) -> np.ndarray:
    """The levels on another grid, as many as `values` and some more for complex ones;
    NaN where there are none.
    """
    k = len(values)
    wanted = k + CONSTANTS.spare_rates if np.iscomplexobj(values) else k
    found = np.full(wanted, np.nan, values.dtype)
    other = candidate_on(tried, grid, wanted)
    # Beyond the box of the user functions need not be finite, nor D positive.
    samples = other.request.sampled.samples(other.scheme, other.request.t)
    arrays = jax.tree.leaves(samples)
    finite = all(np.all(np.isfinite(np.asarray(array))) for array in arrays)
    diffusions = (np.asarray(diffusion) for diffusion in samples.diffusion)
    if not finite or not all(np.all(diffusion > 0) for diffusion in diffusions):
        return found
    try:
        outcome = with_small_gap(other, run_candidate(other))
    except (NumericalFailure, np.linalg.LinAlgError):
        return found
    if bool(outcome.converged):
        levels = np.asarray(outcome.levels.values)
        found[: len(levels)] = levels
    return found
