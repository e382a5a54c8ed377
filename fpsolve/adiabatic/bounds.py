"""Rigorous bounds on the distance of a driven density from the instantaneous Gibbs density.

    T15  x = sqrt(chi2)    x' <= -(Delta - M/2) x + |a|,                 TV <= x / 2,           M = sup(-a) finite
    T16  y = sqrt(KL)      y' <= -D rho y + l / sqrt(2 rho),             TV <= sqrt(KL / 2),    a Lipschitz with l
    T17  as T16, a score error |e| <= eps adds  + D eps sqrt(rho / 2)

a = d_t log pi = lambda' ell. rho by Bakry and Emery or by Holley and Stroock (`curvature`), Delta and |a| on the grid
(`along`). The inequalities are integrated as equations, by Simpson's rule in a frame that takes the decay out, so that
no step is stiff; KL beyond 1 bounds TV by sqrt(1 - exp(-KL)) (Bretagnolle and Huber) where that is less.

References: theorems T15 to T17 of this library; Bretagnolle and Huber, Z. Wahrsch. verw. Geb. 47 (1979) 119.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..grid import Grid
from .curvature import promise

PLACES = 65  # on the path at which its promises are looked at
INSIDE = 1e-9  # of the total: at its very ends a schedule that is clipped has no derivative
PER_DECAY, LEAST = 40, 2000  # steps of the integration: for each e-folding, and in all


class Bounds(NamedTuple):
    """Upper bounds `(T,)` on TV by theorem, the bound on KL, and in words why those that are infinite are."""

    total_variation: dict[str, np.ndarray]
    relative_entropy: np.ndarray
    why: dict[str, str]

    @property
    def best(self) -> tuple[np.ndarray, str]:
        """The least bound at each time, and the theorem that gives it at the last."""
        names = list(self.total_variation)
        rows = np.stack([self.total_variation[name] for name in names])
        last = int(np.argmin(rows[:, -1]))
        words = names[last] if np.isfinite(rows[last, -1]) else "none: " + "; ".join(self.why.values())
        return np.min(rows, axis=0), words


def bound_transport(
    path: Any,
    schedule: Any,
    diffusion: Any,
    grid: Grid,
    times: np.ndarray,
    rates: Any,
    start: tuple[float, float],
    score_error: float,
) -> Bounds:
    """All bounds at `times` `(T,)`; `rates(lam)` gives gap and drive, `start` is KL and chi2 at t = 0."""
    places = np.linspace(0, 1, PLACES)
    looked = [promise(path, diffusion, grid, float(lam)) for lam in places]
    d = float(diffusion)
    mesh = _mesh(times, [p.rate for p in looked], np.asarray(rates(places).gap))
    lams = np.clip(np.asarray(jax.vmap(schedule)(jnp.asarray(mesh))), 0, 1)
    inside = np.clip(mesh, INSIDE * float(schedule.total), (1 - INSIDE) * float(schedule.total))
    speed = np.abs(np.asarray(jax.vmap(jax.grad(lambda t: schedule(t)))(jnp.asarray(inside))))
    found, why = {}, {}
    steps = np.searchsorted(mesh, times)

    found_rates = rates(lams)
    gap, drive = np.asarray(found_rates.gap), np.asarray(found_rates.drive)
    falls = np.asarray([p.fall for p in looked])
    if not np.all(np.isfinite(falls)) or not np.isfinite(start[1]):
        at = places[~np.isfinite(falls)][:1]
        why["T15"] = (
            f"T15 needs bounded driving, and d_lambda log pi falls without bound at lambda = {at[0]:.3g}"
            if at.size
            else "T15 needs a finite chi2 at the start"
        )
        found["T15"] = np.full(len(times), np.inf)
    else:
        fall = speed * np.interp(lams, places, falls)
        x = _integrate(mesh, gap - fall / 2, speed * drive, np.sqrt(start[1]))[steps]
        found["T15"] = x / 2

    name = "T17" if score_error else "T16"
    decay, slopes = np.asarray([p.rate for p in looked]), np.asarray([p.slope for p in looked])
    if not np.all(decay > 0):
        why[name] = f"{name} needs a log-Sobolev constant, and none is known at lambda = {places[decay <= 0][0]:.3g}"
    elif not np.all(np.isfinite(slopes)):
        lam = places[~np.isfinite(slopes)][0]
        why[name] = f"{name} needs a Lipschitz d_lambda log pi, and its slope has no bound at lambda = {lam:.3g}"
    entropy = np.full(len(times), np.inf)
    if name not in why:
        rate = np.interp(lams, places, decay)
        rho = rate / d
        source = speed * np.interp(lams, places, slopes) / np.sqrt(2 * rho) + d * score_error * np.sqrt(rho / 2)
        begin = max(np.sqrt(start[0]), score_error / (2 * np.sqrt(2 * rho.min())))
        entropy = _integrate(mesh, rate, source, begin)[steps] ** 2
        words = {p.criterion for p in looked}
        name = f"{name} ({' and '.join(sorted(words))})"
    found[name] = np.minimum(np.sqrt(entropy / 2), np.sqrt(-np.expm1(-entropy)))
    if not np.all(np.isfinite(entropy)):
        found[name] = np.where(np.isfinite(entropy), found[name], np.inf)
    return Bounds(found, entropy, why)


def _mesh(times: np.ndarray, decays: list[float], gaps: np.ndarray) -> np.ndarray:
    """Every reported time and enough between them, an even number of intervals from one to the next."""
    quickest = max(max(decays), float(np.max(gaps)))
    end = float(times[-1])
    length = end / max(LEAST, int(np.ceil(PER_DECAY * quickest * end)))
    edges = np.unique(np.concatenate([[0.0], times]))
    pieces = [
        np.linspace(a, b, 2 * max(1, int(np.ceil((b - a) / (2 * length)))) + 1)[:-1]
        for a, b in itertools.pairwise(edges)
    ]
    return np.concatenate([*pieces, edges[-1:]])


def _integrate(mesh: np.ndarray, decay: np.ndarray, source: np.ndarray, start: float) -> np.ndarray:
    """x' = -decay x + source on a mesh of pairs of equal intervals: at every other point, repeated between."""
    h = np.diff(mesh)[::2]
    c0, c1, c2 = decay[:-2:2], decay[1:-1:2], decay[2::2]
    whole = h / 3 * (c0 + 4 * c1 + c2)
    second = h / 12 * (-c0 + 8 * c1 + 5 * c2)  # of the second half alone, by the same parabola
    gain = h / 3 * (source[:-2:2] * np.exp(-whole) + 4 * source[1:-1:2] * np.exp(-second) + source[2::2])

    def step(x: Any, given: Any) -> tuple[Any, Any]:
        factor, more = given
        x = jnp.minimum(factor * x + more, jnp.finfo(float).max)
        return x, x

    _, found = jax.lax.scan(step, jnp.asarray(start), (jnp.exp(-whole), jnp.asarray(gain)))
    return np.repeat(np.concatenate([[start], np.asarray(found)]), 2)[: len(mesh)]


def bound_driven(schedule: Any, times: np.ndarray, rates: Any, start: tuple[float, float]) -> Bounds:
    """With a counterdiabatic drive chi2 falls as fast as the gap says, TV <= exp(-int Delta) sqrt(chi2_0) / 2."""
    edges = np.unique(np.concatenate([[0.0], times, np.linspace(0, float(times[-1]), LEAST + 1)]))
    lams = np.clip(np.asarray(jax.vmap(schedule)(jnp.asarray(edges))), 0, 1)
    gap = np.asarray(rates(lams).gap)
    spent = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (gap[1:] + gap[:-1]) / 2)])
    x = np.sqrt(start[1]) * np.exp(-spent[np.searchsorted(edges, times)])
    return Bounds({"T20": x / 2}, np.log1p(x**2), {} if np.isfinite(start[1]) else {"T20": "T20 needs a finite chi2"})
