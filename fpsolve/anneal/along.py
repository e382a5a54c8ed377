"""The gap and four costs of moving along a path λ -> U_λ, as functions of λ.

With ell = d_λ log π, f = sqrt(π) ell, s = grad log π, and H = D Hhat of gap Δ, in units of time per unit of λ,

    exact        (d)   |H^{-1} f|                     the first-order lag of a slow schedule
    wasserstein  (c)   <f, H^{-1} f>^{1/2}            thermodynamic length, sqrt(E|v|^2 / D)
    bound        (a)   |ell| / Δ                      the adiabatic theorem
    score        (b)   sqrt(D) |d_λ s| / Δ^{3/2}      the same from the score alone: |d_λ s| / Gap(Hhat)^{3/2} / D

are |H^{-1} f|, |H^{-1/2} f|, |f| / Δ and |H^{1/2} f| / Δ^{3/2}, since |H^{1/2} f|^2 = D E|grad ell|^2; so

    (d)  <=  (c) / sqrt(Δ)  <=  (a)  <=  (b)      at every λ, with equality where f is a mode of rate Δ.

All are interpolated between Chebyshev nodes, in panels that are divided where the path changes quickly or where two
levels cross (`panels`).

References: theorem T21 of this library; Sivak and Crooks, Phys. Rev. Lett. 108 (2012) 190602 (c).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.program import full_precision
from ..core.types import Real
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import ScharfetterGummel, Scheme, Spectral
from ..operator.base import sample_equation
from ..path import Driven
from ..path.mix import Identity
from ..plan import choose_scheme
from ..solve.spectrum import spectrum
from .coarsen_grid import coarsen_grid
from .constants import CONSTANTS
from .costs import Costs, Motion, grid_costs, line_costs, motion_on
from .gibbs import gibbs_density
from .panels import Panels, interpolate
from .read import ContentCache, content_key, read_path

# The results of the last paths: a schedule and the transport that follows it need the same one.
_cache = ContentCache()


class Rates(NamedTuple):
    """The gap Δ of H, `drive` |ell| in L2(π), and the four costs, at λ of any shape.

    A cost is the square root of g; a schedule minimises int g (dλ/dt)^2 dt. `wasserstein` and `exact` are None if they
    were not computed.
    """

    gap: Any
    drive: Any
    bound: Any
    score: Any
    wasserstein: Any
    exact: Any


class Along(eqx.Module):
    """The result of `along`: `lambdas` `(M,)` at which it computed, and the relative `error` of those values."""

    panels: Panels
    lambdas: Array
    error: Array

    @property
    def solved(self) -> bool:
        """Whether it has the costs that need H^{-1}."""
        # The table has the rows gap, second level, drive, score_drive and, with costs, length and exact.
        return self.panels.coefficients.shape[0] > 4

    def at(self, lam: Any) -> Rates:
        """The gap and the costs at λ in [0, 1], of any shape; `jit`, `vmap` and `grad` work."""
        # Concrete values are interpolated by numpy, which compiles nothing.
        if is_concrete(self, lam):
            return jax.device_put(_rates(self.panels.evaluate(np.asarray(lam))[0]))
        return _rates(self.panels(lam))

    def with_slopes(self, lam: np.ndarray) -> tuple[Rates, Rates]:
        """The values of `at` at concrete λ, and their derivatives in λ, as numpy arrays."""
        values, slopes = self.panels.evaluate(lam)
        gap = values[0]
        gap_slope, _, drive_slope, score_drive_slope, *more = slopes
        wasserstein, exact = more or (None, None)
        rates = _rates(values)
        # The quotient rule in a form without drive' / drive: the drive is 0 where a path is constant.
        bound = drive_slope / gap - rates.bound * gap_slope / gap
        score = score_drive_slope / gap**1.5 - 1.5 * rates.score * gap_slope / gap
        return rates, Rates(gap_slope, drive_slope, bound, score, wasserstein, exact)


def _rates(rows: Any) -> Rates:
    """The rates from the rows of the interpolated table: see `_tabulate`."""
    gap, _, drive, score_drive, *more = rows
    wasserstein, exact = more or (None, None)
    return Rates(gap, drive, drive / gap, score_drive / gap**1.5, wasserstein, exact)


def interpolation_tol(grid: Grid) -> float:
    """The `tol` of `along` that schedules and transports use on a grid."""
    return CONSTANTS.schedule_path_tol if grid.ndim == 1 else CONSTANTS.schedule_path_tol_2d


@full_precision
def along(
    path: Callable[[Any], Any], *, grid: Grid, diffusion: Any = 1.0, tol: Real = 1e-8, costs: bool = True
) -> Along:
    """The spectral gap and the costs of moving at every λ of a path.

    **Arguments**: `path`, λ in [0, 1] to a potential; `grid` that holds all Gibbs densities on it (on one closed axis
    only its ends count, and in more dimensions fewer nodes are taken where those suffice); `diffusion` D; `tol`, the
    relative error of the interpolation; `costs=False` leaves out the two that need H^{-1}. **Returns** an `Along`.
    **Raises** `ValueError`, with the λ, where the path is not confining, where its gap closes, or if it never moves.

    **Keeps**: the order of the four costs; on one closed axis all digits of a small gap. **Cost**: 20 to 100 lambdas;
    for each of them some milliseconds on a line, and in two dimensions a gap and a linear solve.
    **Reference**: theorem T21 of this library; Rezakhani et al., Phys. Rev. Lett. 103 (2009) 080502.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.along import along

    path = fp.Mix(fp.Harmonic(center=-1.0), fp.Harmonic(center=1.0))
    gap = along(path, grid=fp.Grid(fp.Line(-8.0, 8.0, 64)), tol=1e-6).at(0.5).gap  # 1
    ```
    """
    if not callable(path):
        raise_value_error(
            "path", path, "it must be callable, lambda -> potential", "Give fp.Mix(start, end) or a function."
        )
    if not isinstance(grid, Grid):
        raise_value_error("grid", grid, "it must be a grid", "Give fp.Grid(fp.Line(-5, 5, 128)), say.")
    if not 0 < check_finite_number("tol", tol) < 1:
        raise_value_error("tol", tol, "it must be between 0 and 1", "Give 1e-8, say.")
    for axis in grid.axes:
        if axis.boundary == "absorbing":
            raise_value_error(
                "grid", grid, "mass is lost on an Absorbing axis, and no Gibbs density stays", "Take fp.Line."
            )
    # lambda is the time of this equation.
    equation = FokkerPlanck(Driven(read_path(path, grid.ndim), Identity()), diffusion)
    # The values decide at how many lambdas the path is evaluated.
    if not is_concrete(equation):
        allowed = "under a transformation of JAX the number of lambdas at which it is computed cannot be chosen"
        raise_value_error("path", path, allowed, "Call it outside of jit, vmap and grad.")
    equation.require_reversible(grid, "a path of Gibbs densities")
    # The key holds what the functions compute: a changed closure is another key.
    key = content_key(equation, grid, float(tol), costs)
    found = _cache.get(key)
    if found is None:
        found = _along(path, equation, grid, float(tol), costs)
        _cache.put(key, found)
    return found


def _along(path: Any, equation: FokkerPlanck, grid: Grid, tol: float, costs: bool) -> Along:
    """The same after validation; `equation` has λ for its time."""
    first = np.linspace(0, 1, CONSTANTS.first_lambdas)
    _check_path(path, equation, grid, first)

    # How gaps and costs are computed: by chains of cells on one closed axis, else by a scheme on the grid.
    if grid.ndim == 1 and grid.axes[0].boundary == "no_flux":
        compute = lambda lambdas: _line_rows(equation, grid, lambdas)
    else:
        scheme = _path_scheme(equation, grid)
        if scheme.spectral:
            grid = coarsen_grid(equation, grid, first[:: len(first) // 4], CONSTANTS.path_wave_tol)
        compute = lambda lambdas: _grid_rows(equation, scheme, grid, lambdas, costs)

    # `interpolate` controls its own error only; those of the interpolated values are collected here.
    errors: list[float] = []

    def rows(lambdas: np.ndarray) -> np.ndarray:
        gaps, second, found = compute(lambdas)
        errors.extend(map(float, found.error))
        return _tabulate(path, lambdas, gaps, second, found, costs)

    panels, lambdas = interpolate(rows, tol)
    return Along(panels, jax.device_put(lambdas), jax.device_put(np.asarray(max(errors), lambdas.dtype)))


def _tabulate(
    path: Any, lambdas: np.ndarray, gaps: np.ndarray, second: np.ndarray, found: Costs, costs: bool
) -> np.ndarray:
    """The table to interpolate, `(R, M)`: the gap, the level above it, drive, score_drive and, with `costs`, length and
    exact. A `ValueError` where the gap closes or a cost is not finite."""
    for lam, gap in zip(lambdas, gaps, strict=True):
        if not (np.isfinite(gap) and gap > CONSTANTS.min_gap):
            cure = "Keep the barrier finite, or end the path before it."
            raise_value_error("path", path, f"the gap closes at lambda = {lam:.6g}", cure)
    rows = [gaps, second, found.drive, found.score_drive]
    if costs:
        rows += [found.length, found.exact]
    table = np.stack(rows)
    not_finite = lambdas[~np.all(np.isfinite(table), axis=0)]
    if len(not_finite):
        allowed = f"its speed is not finite at lambda = {not_finite[0]:.6g}"
        raise_value_error("path", path, allowed, "Make it differentiable in lambda.")
    return table


def _check_path(path: Any, equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray) -> None:
    """A `ValueError` for a path that does not confine, or never moves."""
    speed = 0.0
    for lam, motion in zip(lambdas, _motions(equation, grid, lambdas), strict=True):
        found = _confinement(grid, motion)
        if not np.isfinite(found.peak) or found.boundary > CONSTANTS.max_boundary_density:
            finite = np.isfinite(found.peak)
            what = "Gibbs density reaches the ends of the box" if finite else "potential is not finite"
            allowed = f"the path is not confining at lambda = {lam:.6g}: its {what}"
            raise_value_error("path", path, allowed, "Let U rise on every side at every lambda, or widen grid.")
        speed = max(speed, found.drive)
    # A smaller speed is rounding.
    if speed < np.finfo(float).eps:
        raise_value_error("path", path, "its Gibbs density never moves", "Let the potential depend on lambda.")


def _motions(equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray) -> Iterator[Motion]:
    """The motion at each λ in turn, as numpy arrays `(*shape)`."""
    # Batches of one size, so that one compiled program serves all, and small enough for memory.
    batch = len(lambdas) if len(lambdas) == CONSTANTS.first_lambdas else CONSTANTS.sample_batch
    batch = max(1, min(batch, CONSTANTS.max_samples // grid.size))
    padded = np.concatenate([lambdas, np.full(-len(lambdas) % batch, lambdas[-1])]).reshape(-1, batch)
    for start, part in zip(range(0, len(lambdas), batch), padded, strict=True):
        motion = jax.tree.map(np.asarray, motion_on(equation, grid, part))
        for k in range(min(batch, len(lambdas) - start)):
            yield Motion(*(values[k] for values in motion))


class Confinement(NamedTuple):
    """The `peak` of log π up to a constant (NaN if it is finite nowhere), the largest π at the ends of unbounded axes
    relative to the peak, and `drive` |ell|."""

    peak: float
    boundary: float
    drive: float


def _confinement(grid: Grid, motion: Motion) -> Confinement:
    """Whether the box holds the Gibbs density, and how fast the density moves."""
    log_gibbs, ell = np.asarray(motion.log_gibbs), np.asarray(motion.ell)
    peak = float(np.max(log_gibbs))
    if not np.isfinite(peak):
        return Confinement(peak, 0.0, 0.0)
    # Only axes that truncate an unbounded line can lose mass at their ends.
    ends = [np.max(np.take(log_gibbs, [0, -1], axis=i)) for i, axis in enumerate(grid.axes) if axis.unbounded]
    boundary = float(np.exp(max(ends, default=-np.inf) - peak))
    weights = np.ones(())
    for axis in grid.axes:
        weights = weights[..., None] * axis.weights
    mass = np.exp(log_gibbs - peak) * weights
    # Where the mass is 0, ell may be infinite.
    mean = lambda u: np.sum(np.where(mass > 0, mass * u, 0)) / np.sum(mass)
    return Confinement(peak, boundary, float(np.sqrt(mean((ell - mean(ell)) ** 2))))


def _line_rows(equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray) -> tuple[np.ndarray, np.ndarray, Costs]:
    """Gaps, the gaps again as second levels (levels do not cross on a line), and costs, `(M,)`."""
    found = line_costs(equation, grid.axes[0], lambdas)
    return found.gap, found.gap, found


def _grid_rows(
    equation: FokkerPlanck, scheme: Scheme, grid: Grid, lambdas: np.ndarray, solves: bool
) -> tuple[np.ndarray, np.ndarray, Costs]:
    """Gaps, the levels above them and costs, `(M,)`, at one λ after the other."""
    gaps, second, rows = [], [], []
    for lam, motion in zip(lambdas, _motions(equation, grid, lambdas), strict=True):
        at = jax.device_put(np.asarray(lam))
        # The ground state, the gap, and the level above it, which may cross the gap.
        modes = spectrum(equation, grid, 3, t=at, scheme=scheme)
        levels, errors = np.asarray(modes.values), np.asarray(modes.errors)
        gap, error = float(levels[1]), float(errors[1])
        gaps.append(gap if gap > error else 0.0)  # a gap below its own error counts as closed
        second.append(float(levels[2]))
        samples = sample_equation(scheme, equation, grid, at, True) if solves else None
        costs = Costs(*map(float, grid_costs(motion, samples, scheme, grid, solves)))
        # The relative error of the gap, which all costs contain.
        rows.append(costs._replace(error=max(costs.error, error / max(gap, error))))
    found = Costs(*(np.asarray(column) for column in zip(*rows, strict=True)))
    return np.asarray(gaps), np.asarray(second), found


def _path_scheme(equation: FokkerPlanck, grid: Grid) -> Scheme:
    """One scheme for the whole path: `Spectral` if it is chosen at the start, in the middle and at the end."""
    # A change of scheme on the way would be a jump, on which the interpolation would never converge.
    for lam in (0.0, 0.5, 1.0):
        at = jax.device_put(np.asarray(lam))
        start = gibbs_density(equation, grid, at)
        if not choose_scheme(equation, grid, None, start, at[None], 1e-10).scheme.spectral:
            return ScharfetterGummel()
    return Spectral()
