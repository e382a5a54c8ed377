"""Along a path λ -> U_λ: the gap and what each theorem charges for moving, as functions of λ.

With ell = d_λ log π, f = sqrt(π) ell, s = grad log π, and H = D Hhat of gap Δ, in units of time per unit of λ,

    exact        (d)   |H^{-1} f|                     what a slow schedule pays at first order
    wasserstein  (c)   <f, H^{-1} f>^{1/2}            thermodynamic length, sqrt(E|v|^2 / D)
    bound        (a)   |ell| / Δ                      the adiabatic theorem
    score        (b)   sqrt(D) |d_λ s| / Δ^{3/2}      the same from the score alone: |d_λ s| / Gap(Hhat)^{3/2} / D

are |H^{-1} f|, |H^{-1/2} f|, |f| / Δ and |H^{1/2} f| / Δ^{3/2}, since |H^{1/2} f|^2 = D E|grad ell|^2; so

    (d)  <=  (c) / sqrt(Δ)  <=  (a)  <=  (b)      at every λ, with equality where f is a mode of rate Δ.

All are interpolated between Chebyshev nodes, in panels that are halved where the path changes quickly, or parted
where two levels cross.

References: theorem T21 of this library; Sivak and Crooks, Phys. Rev. Lett. 108 (2012) 190602 (c).
"""

from collections.abc import Callable
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
from .coarsen_grid import MOST, coarsen_grid
from .costs import Costs, Motion, grid_costs, line_costs, motion_on
from .gibbs import gibbs_density
from .panels import Panels, interpolate
from .read import ContentCache, content_key, read_path

LOOKS = 17  # places at which a path is looked at first
CUT = 1e-4  # of its peak, which the Gibbs density may have at the ends of a box
BATCH = 8  # λ at a time on a grid
TOLS = (1e-8, 1e-5)  # of what schedules and transports ask for, on one axis and on more
ENOUGH = 1e-7  # of a wave, which fewer nodes may leave out
LEAST = 1e-300  # a gap below which none is told from zero


class Rates(NamedTuple):
    """At λ, of its shape: the gap Δ of H; `drive` |ell| in L2(π); and the four costs, square roots of g, of a schedule
    that minimises int g (dλ/dt)^2 dt. Without `costs`, `wasserstein` and `exact` are None."""

    gap: Any
    drive: Any
    bound: Any
    score: Any
    wasserstein: Any
    exact: Any


class Along(eqx.Module):
    """What `along` found: `lambdas` `(M,)`, the places it computed at; `error`, the relative error of those values."""

    panels: Panels
    lambdas: Array
    error: Array

    @property
    def solved(self) -> bool:
        """Whether it has the costs that need H^{-1}."""
        return self.panels.coefficients.shape[0] > 4

    def at(self, lam: Any) -> Rates:
        """The gap and the costs at λ in [0, 1], of any shape; `jit`, `vmap` and `grad` work."""
        if is_concrete(self, lam):
            return jax.device_put(_rates(self.panels.evaluate(np.asarray(lam))[0]))
        return _rates(self.panels(lam))

    def with_slopes(self, lam: np.ndarray) -> tuple[Rates, Rates]:
        """At concrete λ what `at` gives, and its derivatives in λ, as numpy arrays."""
        values, slopes = self.panels.evaluate(lam)
        gap = values[0]
        gap_slope, _, drive_slope, slope_slope, *more = slopes
        rates = _rates(values)
        length, exact = more or (None, None)
        # Of quotients by their logarithms; a path that rests has a drive of zero.
        bound = drive_slope / gap - rates.bound * gap_slope / gap
        score = slope_slope / gap**1.5 - 1.5 * rates.score * gap_slope / gap
        return rates, Rates(gap_slope, drive_slope, bound, score, length, exact)


def _rates(rows: Any) -> Rates:
    gap, _, drive, slope, *more = rows
    length, exact = more or (None, None)
    return Rates(gap, drive, drive / gap, slope / gap**1.5, length, exact)


@full_precision
def along(
    path: Callable[[Any], Any], *, grid: Grid, diffusion: Any = 1.0, tol: Real = 1e-8, costs: bool = True
) -> Along:
    """The spectral gap and the costs of moving at every λ of a path.

    **Arguments**: `path`, λ in [0, 1] to a potential; `grid` that holds all Gibbs densities on it (on one closed axis
    only its ends count, and in more dimensions fewer nodes are taken where those suffice); `diffusion` D; `tol`, the
    relative error of the interpolation; `costs=False` leaves out the two that need H^{-1}. **Returns** an `Along`.
    **Raises** `ValueError`, with the λ, where the path is not confining, where its gap closes, or if it never moves.

    **Keeps**: the order of the four costs; on one closed axis all digits of a small gap. **Cost**: on a line some
    milliseconds a place and 20 to 100 places; in two dimensions a gap and a solve each.
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
    equation = FokkerPlanck(Driven(read_path(path, grid.ndim), Identity()), diffusion)
    if not is_concrete(equation):
        allowed = "under a transformation the number of places at which it is computed cannot be chosen"
        raise_value_error("path", path, allowed, "Call it outside of jit, vmap and grad.")
    equation.require_reversible(grid, "a path of Gibbs densities")
    key = content_key(equation, grid, float(tol), costs)
    found = _cache.get(key)
    if found is None:
        found = _along(path, equation, grid, float(tol), costs)
        _cache.put(key, found)
    return found


_cache = ContentCache()  # a schedule and the transport that follows it need the same


def _along(path: Any, equation: FokkerPlanck, grid: Grid, tol: float, costs: bool) -> Along:
    first = np.linspace(0, 1, LOOKS)
    _check_path(path, equation, grid, first)
    if grid.ndim == 1 and grid.axes[0].boundary == "no_flux":
        compute = lambda lambdas: _on_line(equation, grid, lambdas)
    else:
        scheme = _scheme(equation, grid)
        if scheme.spectral:
            grid = coarsen_grid(equation, grid, first[:: LOOKS // 4], ENOUGH)
        compute = lambda lambdas: _on_grid(equation, scheme, grid, lambdas, costs)
    errors: list[float] = []

    def rows(lambdas: np.ndarray) -> np.ndarray:
        gaps, second, found = compute(lambdas)
        for lam, gap, error in zip(lambdas, gaps, found.error, strict=True):
            if not (np.isfinite(gap) and gap > LEAST):
                cure = "Keep the barrier finite, or end the path before it."
                raise_value_error("path", path, f"the gap closes at lambda = {lam:.6g}", cure)
            errors.append(float(error))
        table = np.stack([gaps, second, found.drive, found.slope, *([found.length, found.exact] * costs)])
        for lam in lambdas[~np.all(np.isfinite(table), axis=0)]:
            raise_value_error(
                "path", path, f"its speed is not finite at lambda = {lam:.6g}", "Make it differentiable in lambda."
            )
        return table

    panels, lambdas = interpolate(rows, tol)
    return Along(panels, jax.device_put(lambdas), jax.device_put(np.asarray(max(errors), lambdas.dtype)))


def _check_path(path: Any, equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray) -> None:
    """Refuse a path that does not confine, or never moves."""
    speed = 0.0
    for lam, moving in zip(lambdas, _frames(equation, grid, lambdas), strict=True):
        peak, ends, drive = _confinement(grid, moving)
        if not np.isfinite(peak) or ends > CUT:
            what = "Gibbs density reaches the ends of the box" if np.isfinite(peak) else "potential is not finite"
            allowed = f"the path is not confining at lambda = {lam:.6g}: its {what}"
            raise_value_error("path", path, allowed, "Let U rise on every side at every lambda, or widen grid.")
        speed = max(speed, drive)
    if speed < np.finfo(float).eps:
        raise_value_error("path", path, "its Gibbs density never moves", "Let the potential depend on lambda.")


def _frames(equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray) -> Any:
    """What moves at each λ in turn, by numpy, sampled in batches of one size that fits in memory."""
    batch = max(1, min(LOOKS if len(lambdas) == LOOKS else BATCH, MOST // grid.size))
    padded = np.concatenate([lambdas, np.full(-len(lambdas) % batch, lambdas[-1])]).reshape(-1, batch)
    for start, part in zip(range(0, len(lambdas), batch), padded, strict=True):
        moving = jax.tree.map(np.asarray, motion_on(equation, grid, part))
        for k in range(min(batch, len(lambdas) - start)):
            yield Motion(*(values[k] for values in moving))


def _confinement(grid: Grid, moving: Motion) -> tuple[float, float, float]:
    """The peak of log π, up to a constant and NaN where it is nowhere finite; π at the ends of lines over it; |ell|."""
    height, rise = np.asarray(moving.log_gibbs), np.asarray(moving.ell)
    peak = float(np.max(height))
    if not np.isfinite(peak):
        return peak, 0.0, 0.0
    ends = [np.max(np.take(height, [0, -1], axis=i)) for i, axis in enumerate(grid.axes) if axis.unbounded]
    weights = np.ones(())
    for axis in grid.axes:
        weights = weights[..., None] * axis.weights
    mass = np.exp(height - peak) * weights
    mean = lambda u: np.sum(np.where(mass > 0, mass * u, 0)) / np.sum(mass)
    highest = float(np.exp(max(ends, default=-np.inf) - peak))
    return peak, highest, float(np.sqrt(mean((rise - mean(rise)) ** 2)))


def _on_line(equation: FokkerPlanck, grid: Grid, lambdas: np.ndarray) -> tuple[np.ndarray, np.ndarray, Costs]:
    """Gaps, twice, and costs, `(M,)`."""
    found = line_costs(equation, grid.axes[0], lambdas)
    return found.gap, found.gap, found


def _on_grid(
    equation: FokkerPlanck, scheme: Scheme, grid: Grid, lambdas: np.ndarray, solves: bool
) -> tuple[np.ndarray, np.ndarray, Costs]:
    """Gaps, the levels above them and costs, `(M,)`, place by place; a gap below its own error is 0."""
    rows, levels = [], []
    for lam, moving in zip(lambdas, _frames(equation, grid, lambdas), strict=True):
        at = jax.device_put(np.asarray(lam))
        modes = spectrum(equation, grid, 3, t=at, scheme=scheme)
        values, errors = np.asarray(modes.values), np.asarray(modes.errors)
        gap, error = float(values[1]), float(errors[1])
        levels.append((gap if gap > error else 0.0, float(values[2])))
        samples = sample_equation(scheme, equation, grid, at, True) if solves else None
        costs = Costs(*map(float, grid_costs(Motion(*moving), samples, scheme, grid, solves)))
        rows.append(costs._replace(error=max(costs.error, error / max(gap, error))))
    found = Costs(*(np.asarray(column) for column in zip(*rows, strict=True)))
    first, second = np.asarray(levels).T
    return first, second, found


def _scheme(equation: FokkerPlanck, grid: Grid) -> Scheme:
    """One scheme for the whole path: `Spectral` if it is chosen at the start, in the middle and at the end."""
    for lam in (0.0, 0.5, 1.0):
        at = jax.device_put(np.asarray(lam))
        start = gibbs_density(equation, grid, at)
        if not isinstance(choose_scheme(equation, grid, None, start, at[None], 1e-10).scheme, Spectral):
            return ScharfetterGummel()
    return Spectral()
