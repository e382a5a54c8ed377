"""The gap and four costs of moving along a path λ -> U_λ, as functions of λ.

With ell = d_λ log π, f = sqrt(π) ell, s = grad log π, and H = D Hhat of gap Δ, in units
of time per unit of λ,

    exact        (d)  |H^{-1} f|                 the first-order lag of a slow schedule
    wasserstein  (c)  <f, H^{-1} f>^{1/2}        thermodynamic length, sqrt(E|v|^2 / D)
    bound        (a)  |ell| / Δ                  the adiabatic theorem
    score        (b)  sqrt(D) |d_λ s| / Δ^{3/2}  the same from the score alone:
                                                 |d_λ s| / Gap(Hhat)^{3/2} / D

are |H^{-1} f|, |H^{-1/2} f|, |f| / Δ and |H^{1/2} f| / Δ^{3/2}, since |H^{1/2} f|^2 = D
E|grad ell|^2; so

    (d)  <=  (c) / sqrt(Δ)  <=  (a)  <=  (b)      at every λ,

with equality where f is a mode of rate Δ.

All are interpolated between Chebyshev nodes, in panels that are divided where the path
changes quickly or where two levels cross (`panels`). Their errors follow from companion
grids, at lambdas between those nodes (`along_errors`).

References: theorem T21 of this library; Sivak and Crooks, Phys. Rev. Lett. 108 (2012)
190602 (c).
"""

import warnings
from collections.abc import Hashable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.program import public_function
from ..core.result import AccuracyWarning
from ..core.text import largest
from ..core.types import PotentialPath, Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..path import Driven
from ..path.mix import Identity
from .along_errors import Computed, largest_error, second_look, single_look, table_of
from .confinement import check_path
from .constants import CONSTANTS
from .gibbs import box_points, sample_energies
from .panels import Panels, interpolate
from .path_solver import Solved, path_solver
from .pieces import smooth_pieces
from .rates import Rates, rates_of
from .read import ContentCache, content_key, read_path

REMEDY = "Take a wider box or, on a ring and on more than one axis, more nodes."

# The tables of the last paths and their errors: a schedule and the transport that
# follows it need the same ones.
_tables = ContentCache()
_errors = ContentCache()


class Along(eqx.Module):
    """The result of `along`.

    - `at(lam)`: the gap and the costs; `lambdas` `(M,)`: where they were computed
    - `errors`: their estimated whole errors at `lambdas`, as `Rates` of `(M,)`, each in
      the units of its value; NaN where they could not be estimated
    - `error`: the largest error, relative: of a gap to itself, of a cost to the largest
      one on the path
    - `checked`: whether the errors are those of a second look, and not what one run
      shows
    """

    panels: Panels
    lambdas: Array
    error: Array
    errors: Rates
    checked: bool = eqx.field(static=True)

    @property
    def solved(self) -> bool:
        """Whether it has the costs that need H^{-1}."""
        # The table has the rows gap, second level, drive, score_drive and, with costs,
        # length and exact.
        return self.panels.coefficients.shape[0] > 4

    def __repr__(self) -> str:
        return (
            f"Along: gaps and {'all' if self.solved else 'some'} costs at "
            f"{len(self.lambdas)} lambdas\n  estimated relative error "
            f"{largest(self.error)}"
        )

    def at(self, lam: Scalar) -> Rates:
        """The gap and the costs at λ in [0, 1], `(...)`; `jit`, `vmap`, `grad` work."""
        # Concrete values are interpolated by numpy, which compiles nothing.
        if is_concrete(self, lam):
            rows, _ = self.panels.evaluate(np.asarray(lam))
            return jax.device_put(rates_of(rows))
        return rates_of(self.panels(lam))

    def gap_error(self, lam: Scalar) -> Array:
        """The error of the gap at concrete λ `(...)`, between those at `lambdas`."""
        lambdas = np.asarray(self.lambdas)
        found = np.interp(np.asarray(lam), lambdas, np.asarray(self.errors.gap))
        return as_array(found, self.errors.gap.dtype)

    def with_slopes(self, lam: np.ndarray) -> tuple[Rates, Rates]:
        """The values of `at` at concrete λ and their derivatives in λ, by numpy."""
        values, slopes = self.panels.evaluate(lam)
        gap = values[0]
        gap_slope, _, drive_slope, score_drive_slope, *more = slopes
        wasserstein, exact = more or (None, None)
        rates = rates_of(values)
        # The quotient rule in a form without drive' / drive: the drive is 0 where a
        # path is constant.
        bound = drive_slope / gap - rates.bound * gap_slope / gap
        score = score_drive_slope / gap**1.5 - 1.5 * rates.score * gap_slope / gap
        return rates, Rates(
            gap=gap_slope,
            drive=drive_slope,
            bound=bound,
            score=score,
            wasserstein=wasserstein,
            exact=exact,
        )


def interpolation_tol(grid: Grid) -> float:
    """The `tol` of `along` that schedules and transports use on a grid."""
    if grid.ndim == 1:
        return CONSTANTS.schedule_path_tol
    # In more dimensions each lambda costs a gap and a linear solve.
    return CONSTANTS.schedule_path_tol_2d


@public_function
def along(
    path: PotentialPath,
    *,
    grid: Grid,
    diffusion: Scalar = 1.0,
    tol: Real | None = None,
    costs: bool = True,
    check: bool = True,
) -> Along:
    """The spectral gap and the costs of moving at every λ of a path.

    **Arguments**: `path`, λ in [0, 1] to a potential; `grid` that holds all Gibbs
    densities on it (on one closed axis only its ends count, and in more dimensions
    fewer nodes are taken where those suffice); `diffusion` D; `tol`, the relative error
    of the interpolation, 1e-8; `costs=False` leaves out the two that need H^{-1};
    `check` solves on two companion grids as well, between the lambdas of the
    interpolation, so that `errors` are whole; False takes what one run shows of them,
    which is a rough guide. **Returns** an `Along`. **Raises** `ValueError`, with the λ,
    where the path is not confining, where its gap closes, or if it never moves.
    **Warns** (`fp.AccuracyWarning`) of errors above a tol that was given, or above
    1e-2.

    **Keeps**: the order of the four costs; on one closed axis all digits of a small
    gap. **Cost**: 20 to 100 lambdas; for each of them some milliseconds on a line, and
    in two dimensions a gap and a linear solve; three times that with `check`.
    **Reference**: theorem T21 of this library; Rezakhani et al., Phys. Rev. Lett. 103
    (2009) 080502.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.along import along

    path = fp.Mix(fp.Harmonic(center=-1.0), fp.Harmonic(center=1.0))
    gap = along(path, grid=fp.Grid(fp.Line(-8.0, 8.0, 64)), tol=1e-6).at(0.5).gap  # 1
    ```
    """
    path_tol = CONSTANTS.path_tol if tol is None else tol
    found = compute_along(path, grid, diffusion, path_tol, costs, check)
    # What one run shows is too rough a guide for a warning. An error that is not known
    # is NaN, and exceeds nothing.
    limit = CONSTANTS.warned_path_error if tol is None else float(tol)
    if found.checked and float(found.error) > limit:
        message = (
            "the relative error of the gap or of a cost is about "
            f"{float(found.error):.1e}, above {limit:.1e}."
        )
        # The frames of this function and of its wrapper lie between here and the user's
        # call.
        warnings.warn(f"{message} {REMEDY}", AccuracyWarning, stacklevel=3)
    return found


def compute_along(
    path: PotentialPath,
    grid: Any,
    diffusion: Scalar,
    tol: Real,
    costs: bool = True,
    check: bool = False,
) -> Along:
    """The same for functions that report its errors as their own, or not at all:
    nothing is warned of.
    """
    if not callable(path):
        raise_value_error(
            "path",
            path,
            "it must be callable, lambda -> potential",
            "Give fp.Mix(start, end) or a function.",
        )
    if not isinstance(grid, Grid):
        raise_value_error(
            "grid", grid, "it must be a grid", "Give fp.Grid(fp.Line(-5, 5, 128)), say."
        )
    if not 0 < check_finite_number("tol", tol) < 1:
        raise_value_error("tol", tol, "it must be between 0 and 1", "Give 1e-8, say.")
    for axis in grid.axes:
        if axis.boundary == "absorbing":
            raise_value_error(
                "grid",
                grid,
                "mass is lost on an Absorbing axis, and no Gibbs density stays",
                "Take fp.Line.",
            )
    # lambda is the time of this equation.
    equation = FokkerPlanck(Driven(read_path(path, grid.ndim), Identity()), diffusion)
    # The values decide at how many lambdas the path is evaluated.
    if not is_concrete(equation):
        allowed = (
            "under a transformation of JAX the number of lambdas at which it is "
            "computed cannot be chosen"
        )
        raise_value_error(
            "path", path, allowed, "Call it outside of jit, vmap and grad."
        )
    equation.require_reversible(grid, "a path of Gibbs densities")
    # The key holds what the functions compute: a changed closure is another key.
    key = content_key(equation, grid, float(tol), costs)
    computed = _tables.get(key)
    if computed is None:
        computed = _compute(path, equation, grid, float(tol), costs)
        _tables.put(key, computed)
    errors, checked = errors_along(key, computed, check)
    lambdas = computed.lambdas
    panels = computed.panels
    rows, _ = panels.evaluate(lambdas)
    error = largest_error(rates_of(rows), errors)
    lambdas, error, errors = jax.device_put(
        (lambdas, np.asarray(error, lambdas.dtype), errors)
    )
    return Along(panels, lambdas, error, errors, checked)


def errors_along(key: Hashable, computed: Computed, check: bool) -> tuple[Rates, bool]:
    """The errors by a second look, or what one run shows of them, and whether they are
    of a second look.
    """
    if not check:
        return single_look(computed), False
    errors = _errors.get(key)
    if errors is None:
        errors = second_look(computed)
        _errors.put(key, errors)
    return errors, True


def _compute(
    path: PotentialPath, equation: FokkerPlanck, grid: Grid, tol: float, costs: bool
) -> Computed:
    """The table of a path after validation; `equation` has λ for its time."""
    edges = path_pieces(equation, grid)
    check_path(path, equation, grid, edges)
    solver = path_solver(equation, grid, costs)

    # `interpolate` controls its own error only; those of the interpolated values are
    # collected here.
    algebra: dict[float, float] = {}
    seen: dict[float, float] = {}

    def rows(lambdas: np.ndarray) -> np.ndarray:
        found = solver.solve(lambdas)
        keys = lambdas.tolist()
        of_costs = np.asarray(found.costs.error)
        algebra.update(zip(keys, of_costs.tolist(), strict=True))
        seen.update(zip(keys, found.seen.tolist(), strict=True))
        return _tabulate(path, lambdas, found, costs)

    # as the costs are made of these rows (`rates_of`)
    powers = np.asarray([0.0, 0.0, 1.0, 1.5, 0.0, 0.0])
    if not costs:
        powers = powers[:4]
    panels, lambdas = interpolate(rows, tol, edges, powers)
    keys = lambdas.tolist()
    return Computed(
        panels=panels,
        lambdas=lambdas,
        algebra=np.asarray([algebra[lam] for lam in keys]),
        seen=np.asarray([seen[lam] for lam in keys]),
        tol=tol,
        solver=solver,
    )


def path_pieces(equation: FokkerPlanck, grid: Grid) -> np.ndarray:
    """Edges of intervals of λ, the time of `equation`, on which the potential changes
    smoothly, from 0 to 1.
    """
    points = box_points(grid)
    sample = lambda lambdas: sample_energies(equation, points, lambdas)
    return smooth_pieces(sample, np.asarray([0.0, 1.0]))


def _tabulate(
    path: PotentialPath, lambdas: np.ndarray, found: Solved, costs: bool
) -> np.ndarray:
    """The table `(R, M)`; a `ValueError` where the gap closes or a cost is infinite."""
    for lam, gap in zip(lambdas, found.gap, strict=True):
        if not (np.isfinite(gap) and gap > CONSTANTS.min_gap):
            allowed = f"the gap closes at lambda = {lam:.6g}"
            cure = "Keep the barrier finite, or end the path before it."
            raise_value_error("path", path, allowed, cure)
    table = table_of(found, costs)
    not_finite = lambdas[~np.all(np.isfinite(table), axis=0)]
    if len(not_finite):
        allowed = f"its speed is not finite at lambda = {not_finite[0]:.6g}"
        raise_value_error("path", path, allowed, "Make it differentiable in lambda.")
    return table
