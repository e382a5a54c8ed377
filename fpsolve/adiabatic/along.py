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
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..plan import choose_scheme
from ..core.checks import check_finite_number, is_concrete, refuse
from ..core.pages import by_pages
from ..core.types import Real
from ..equation import FokkerPlanck
from ..grid import Grid, Line
from ..potential import Driven
from ..question import LastQuestions, fingerprint
from ..scheme import ScharfetterGummel, Scheme, Spectral
from ..spectrum import spectrum
from .costs import Costs, grid_costs, line_costs
from .fewer import fewer
from .panels import Panels, interpolate

LOOKS = 17  # places at which a path is looked at first
CUT = 1e-4  # of its peak, which the Gibbs density may have at the ends of a box
BATCH = 16  # places at a time on a line
TOLS = (1e-8, 1e-5)  # of what schedules and transports ask for, on one axis and on more
ENOUGH = 1e-7  # of a wave, which fewer nodes may leave out
LEAST = 1e-300  # a gap below which none is told from zero


class Rates(NamedTuple):
    """At λ, of its shape: the gap Δ of H; `drive` |ell| in L2(π); and the four costs, square roots of g, of a schedule
    that minimises int g (dλ/dt)^2 dt. Without `costs`, `wasserstein` and `exact` are None."""

    gap: Array
    drive: Array
    bound: Array
    score: Array
    wasserstein: Array | None
    exact: Array | None


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
        if np.size(lam) and is_concrete(self, lam):
            return by_pages(lambda page: _rates(self.panels, page), lam)
        return _rates(self.panels, lam)


@eqx.filter_jit
def _rates(panels: Panels, lam: Any) -> Rates:
    gap, _, drive, slope, *more = panels(lam)
    length, exact = more or (None, None)
    return Rates(gap, drive, drive / gap, slope / gap**1.5, length, exact)


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
    from fpsolve.adiabatic.along import along

    path = fp.Mix(fp.Harmonic(center=-1.0), fp.Harmonic(center=1.0))
    gap = along(path, grid=fp.Grid(fp.Line(-8.0, 8.0, 64)), tol=1e-6).at(0.5).gap  # 1
    ```
    """
    if not callable(path):
        refuse("path", path, "it must be callable, lambda -> potential", "Give fp.Mix(start, end) or a function.")
    if not isinstance(grid, Grid):
        refuse("grid", grid, "it must be a grid", "Give fp.Grid(fp.Line(-5, 5, 128)), say.")
    if not 0 < check_finite_number("tol", tol) < 1:
        refuse("tol", tol, "it must be between 0 and 1", "Give 1e-8, say.")
    question = fingerprint(path, grid, diffusion, tol, costs)
    found = _asked.recall(question)
    if found is None:
        found = _along(path, grid, diffusion, float(tol), costs)
        _asked.keep(question, found)
    return found


_asked = LastQuestions()  # a schedule and the transport that follows it ask the same


def _along(path: Callable[[Any], Any], grid: Grid, diffusion: Any, tol: float, costs: bool) -> Along:
    for axis in grid.axes:
        if axis.ends == "open":
            refuse("grid", grid, "mass is lost on an Absorbing axis, and no Gibbs density stays", "Take fp.Line.")
    equation = FokkerPlanck(Driven(path, itself), diffusion)
    equation.require_reversible(grid, "a path of Gibbs densities")
    looks = np.linspace(0, 1, LOOKS)
    _check_path(path, equation, grid, looks)
    if grid.ndim == 1 and grid.axes[0].ends == "closed":
        compute = lambda lams: _on_line(equation, grid, lams)
    else:
        scheme = _scheme(equation, grid)
        compute = lambda lams: _on_grid(equation, scheme, grid, lams, costs)
        if isinstance(scheme, Spectral):
            grid = fewer(equation, grid, looks[:: LOOKS // 4], ENOUGH)
    errors: list[float] = []

    def rows(lams: np.ndarray) -> np.ndarray:
        gaps, second, found = compute(lams)
        for lam, gap, error in zip(lams, gaps, found.error, strict=True):
            if not (np.isfinite(gap) and gap > LEAST):
                cure = "Keep the barrier finite, or end the path before it."
                refuse("path", path, f"the gap closes at lambda = {lam:.6g}", cure)
            errors.append(float(error))
        table = np.stack([gaps, second, found.drive, found.slope, *([found.length, found.exact] * costs)])
        for lam in lams[~np.all(np.isfinite(table), axis=0)]:
            refuse("path", path, f"its speed is not finite at lambda = {lam:.6g}", "Make it differentiable in lambda.")
        return table

    panels, lambdas = interpolate(rows, tol)
    return Along(panels, jnp.asarray(lambdas), jnp.asarray(max(errors)))


def itself(t: Any) -> Any:
    """The schedule of a path that is looked at: its time is λ."""
    return t


def _check_path(path: Any, equation: FokkerPlanck, grid: Grid, lams: np.ndarray) -> None:
    """Refuse a path that does not confine, or never moves."""
    speed = 0.0
    for lam in lams:
        peak, ends, drive = (float(number) for number in _look(equation, grid, jnp.asarray(lam)))
        if not np.isfinite(peak) or ends > CUT:
            what = "Gibbs density reaches the ends of the box" if np.isfinite(peak) else "potential is not finite"
            allowed = f"the path is not confining at lambda = {lam:.6g}: its {what}"
            refuse("path", path, allowed, "Let U rise on every side at every lambda, or widen grid.")
        speed = max(speed, drive)
    if speed < jnp.finfo(float).eps:
        refuse("path", path, "its Gibbs density never moves", "Let the potential depend on lambda.")


@eqx.filter_jit
def _look(equation: FokkerPlanck, grid: Grid, lam: Array) -> tuple[Array, Array, Array]:
    """The peak of log π, up to a constant and NaN where it is nowhere finite; π at the ends of lines over it; |ell|."""
    log_gibbs = lambda t: grid.sample(lambda x: equation.log_gibbs(x, grid.origin, t))
    height, rise = jax.jvp(log_gibbs, (lam,), (jnp.ones_like(lam),))
    peak = jnp.where(jnp.any(jnp.isnan(height)), jnp.nan, jnp.max(height))
    ends = [jnp.asarray(-jnp.inf)]
    for i, axis in enumerate(grid.axes):
        if isinstance(axis, Line):
            ends.append(jnp.max(jnp.take(height, jnp.asarray([0, axis.n - 1]), axis=i)))
    mass = jnp.exp(height - peak) * grid.weights
    mean = lambda u: jnp.sum(jnp.where(mass > 0, mass * u, 0)) / jnp.sum(mass)
    return peak, jnp.exp(jnp.max(jnp.stack(ends)) - peak), jnp.sqrt(mean((rise - mean(rise)) ** 2))


def _on_line(equation: FokkerPlanck, grid: Grid, lams: np.ndarray) -> tuple[np.ndarray, np.ndarray, Costs]:
    """Gaps, twice, and costs, `(M,)`, in batches of one size."""
    padded = np.concatenate([lams, np.full(-len(lams) % BATCH, lams[-1])])
    batches = [_line_batch(equation, grid, jnp.asarray(batch)) for batch in padded.reshape(-1, BATCH)]
    found = Costs(*(np.concatenate(column)[: len(lams)] for column in zip(*batches, strict=True)))
    return found.gap, found.gap, found


@eqx.filter_jit
def _line_batch(equation: FokkerPlanck, grid: Grid, lams: Array) -> Costs:
    return jax.vmap(lambda lam: line_costs(equation, grid.axes[0], lam))(lams)


_grid_costs = eqx.filter_jit(grid_costs)


def _on_grid(
    equation: FokkerPlanck, scheme: Scheme, grid: Grid, lams: np.ndarray, solves: bool
) -> tuple[np.ndarray, np.ndarray, Costs]:
    """Gaps, the levels above them and costs, `(M,)`, place by place; a gap below its own error is 0."""
    rows, levels = [], []
    for lam in lams:
        modes = spectrum(equation, grid, 3, t=jnp.asarray(lam), scheme=scheme)
        gap, error = float(modes.values[1]), float(modes.errors[1])
        levels.append((gap if gap > error else 0.0, float(modes.values[2])))
        costs = _grid_costs(equation, scheme, grid, jnp.asarray(lam), solves)
        rows.append(costs._replace(error=max(float(costs.error), error / max(gap, error))))
    found = Costs(*(np.asarray(column) for column in zip(*rows, strict=True)))
    first, second = np.asarray(levels).T
    return first, second, found


gibbs_density = eqx.filter_jit(lambda equation, grid, lam: jnp.exp(2 * equation.log_root(grid, lam)))


def _scheme(equation: FokkerPlanck, grid: Grid) -> Scheme:
    """One scheme for the whole path: `Spectral` if it is chosen at the start, in the middle and at the end."""
    for lam in (0.0, 0.5, 1.0):
        start = gibbs_density(equation, grid, jnp.asarray(lam))
        if not isinstance(choose_scheme(equation, grid, None, start, jnp.asarray([lam]), 1e-10).scheme, Spectral):
            return ScharfetterGummel()
    return Spectral()
