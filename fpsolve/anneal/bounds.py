"""Rigorous bounds on the distance of a driven density from the instantaneous Gibbs density.

    T15  x = sqrt(chi2)    x' <= -(Delta - M/2) x + |a|,                 TV <= x / 2,           M = sup(-a) finite
    T16  y = sqrt(KL)      y' <= -D rho y + l / sqrt(2 rho),             TV <= sqrt(KL / 2),    a Lipschitz with l
    T17  as T16, a score error |e| <= eps adds  + D eps sqrt(rho / 2)
    action           KL(pi|p) <= (1/4D) int (|v| + D eps)^2 dt,          TV <= sqrt(KL / 2),    |v|^2 = E_pi |v_t|^2

a = d_t log pi = lambda' ell, d_t pi = -div(v pi). The last needs no inequality of pi: v is the drift by which the
process with marginals pi differs from the process at hand, and the bound is Girsanov's. rho by Bakry and Emery or by
Holley and Stroock (`curvature`), Delta, |a| and |v| on the grid (`along`). The inequalities are integrated as
equations, by Simpson's rule in a frame that takes the decay out, so that no step is stiff; KL beyond 1 bounds TV by
sqrt(1 - exp(-KL)) (Bretagnolle and Huber) where that is less.

References: theorems T15 to T17 of this library; Guo, Tao and Chen, arXiv 2407.16936, theorem 1 (action); Bretagnolle
and Huber, Z. Wahrsch. verw. Geb. 47 (1979) 119.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import sampling_program
from ..grid import Grid
from .curvature import Promise, promises
from .read import read_path, read_schedule

PAGE = 1024  # times at which a schedule is evaluated at once (a free choice)
PLACES = 65  # on the path at which its promises are looked at
INSIDE = 1e-9  # of the total: at its very ends a schedule that is clipped has no derivative
PER_DECAY, LEAST = 40, 2000  # steps of the integration: for each e-folding, and in all


class Start(NamedTuple):
    """How far the density is from the Gibbs density at t = 0: KL(p|pi), KL(pi|p), chi2."""

    entropy: float
    reverse: float
    chi_square: float


class ScheduleSamples(NamedTuple):
    """What a schedule meets: the promises `looked` up at `places` on the path; on a mesh in time the `lams`, their
    `speed`, and where on it the times `reported` are."""

    diffusion: float
    places: np.ndarray
    looked: list[Promise]
    mesh: np.ndarray
    lambdas: np.ndarray
    speed: np.ndarray
    reported: np.ndarray
    score_error: float


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
    start: Start,
    score_error: float,
) -> Bounds:
    """All bounds at `times` `(T,)`; `rates(lam)` gives gap, drive and the cost "wasserstein" at each lambda."""
    schedule = read_schedule(schedule)
    places = np.linspace(0, 1, PLACES)
    looked = promises(read_path(path, grid.ndim), diffusion, grid, places)
    mesh = _mesh(times, [p.rate for p in looked], np.asarray(rates(places).gap))
    inside = np.clip(mesh, INSIDE * float(schedule.total), (1 - INSIDE) * float(schedule.total))
    lambdas = np.clip(np.asarray(follow(schedule, mesh)[0]), 0, 1)
    speed = np.abs(np.asarray(follow(schedule, inside)[1]))
    ride = ScheduleSamples(
        float(diffusion), places, looked, mesh, lambdas, speed, np.searchsorted(mesh, times), score_error
    )
    found, why = {}, {}
    there = rates(lambdas)
    found["T15"], trouble = _by_chi_square(ride, np.asarray(there.gap), np.asarray(there.drive), start.chi_square)
    if trouble:
        why["T15"] = trouble
    entropy, words = _by_entropy(ride, start.entropy)
    name = "T17" if score_error else "T16"
    if np.all(np.isfinite(entropy)):
        name = f"{name} ({words})"
    else:
        why[name] = words
    found[name] = _variation(entropy)
    action = _action(ride, np.asarray(there.wasserstein), start.reverse)
    found["the action (T16)"] = _variation(action)
    if not np.all(np.isfinite(action)):
        why["the action (T16)"] = "the action bound needs a finite KL(pi|p) at the start"
    return Bounds(found, entropy, why)


def follow(schedule: Any, times: Any) -> tuple[Array, Array]:
    """A schedule that was read and its derivative at `times` `(T,)`."""
    if not is_concrete(schedule, times):
        return _follow(schedule, jnp.asarray(times, float))
    given = np.asarray(times, float)
    # Pages of one size, so that one program serves all.
    pages = np.concatenate([given, np.full(-len(given) % PAGE, given[-1])]).reshape(-1, PAGE)
    columns = zip(*(_follow(schedule, page) for page in pages), strict=True)
    lambdas, rates = (as_array(np.concatenate(column)[: len(given)]) for column in columns)
    return lambdas, rates


@sampling_program
def _follow(schedule: Any, times: Any) -> tuple[Array, Array]:
    return jax.vmap(jax.value_and_grad(lambda t: schedule(t)))(times)


def _variation(entropy: np.ndarray) -> np.ndarray:
    """The bound on TV from one on KL, in either direction."""
    least = np.minimum(np.sqrt(entropy / 2), np.sqrt(-np.expm1(-entropy)))
    return np.where(np.isfinite(entropy), least, np.inf)


def _by_chi_square(ride: ScheduleSamples, gap: np.ndarray, drive: np.ndarray, start: float) -> tuple[np.ndarray, str]:
    """T15: the bound on TV at the times reported, or why it is infinite. It knows no error of a score."""
    nothing = np.full(len(ride.reported), np.inf)
    falls = np.asarray([p.fall for p in ride.looked])
    if ride.score_error:
        return nothing, "T15 needs the exact score"
    if not np.all(np.isfinite(falls)):
        lam = ride.places[~np.isfinite(falls)][0]
        return nothing, f"T15 needs bounded driving, and d_lambda log pi falls without bound at lambda = {lam:.3g}"
    if not np.isfinite(start):
        return nothing, "T15 needs a finite chi2 at the start"
    fall = ride.speed * np.interp(ride.lambdas, ride.places, falls)
    return _integrate(ride.mesh, gap - fall / 2, ride.speed * drive, np.sqrt(start))[ride.reported] / 2, ""


def _by_entropy(ride: ScheduleSamples, start: float) -> tuple[np.ndarray, str]:
    """T16 and T17: the bound on KL(p|pi) at the times reported with its criteria, or why it is infinite."""
    nothing = np.full(len(ride.reported), np.inf)
    decay, slopes = np.asarray([p.rate for p in ride.looked]), np.asarray([p.slope for p in ride.looked])
    name = "T17" if ride.score_error else "T16"
    if not np.all(decay > 0):
        lam = ride.places[decay <= 0][0]
        return nothing, f"{name} needs a log-Sobolev constant, and none is known at lambda = {lam:.3g}"
    if not np.all(np.isfinite(slopes)):
        lam = ride.places[~np.isfinite(slopes)][0]
        return nothing, f"{name} needs a Lipschitz d_lambda log pi, and its slope has no bound at lambda = {lam:.3g}"
    if not np.isfinite(start):
        return nothing, f"{name} needs a finite KL(p|pi) at the start"
    rate = np.interp(ride.lambdas, ride.places, decay)
    rho, wrong = rate / ride.diffusion, ride.diffusion * ride.score_error
    source = ride.speed * np.interp(ride.lambdas, ride.places, slopes) / np.sqrt(2 * rho) + wrong * np.sqrt(rho / 2)
    begin = max(np.sqrt(start), ride.score_error / (2 * np.sqrt(2 * rho.min())))
    criteria = " and ".join(sorted({p.criterion for p in ride.looked}))
    return _integrate(ride.mesh, rate, source, begin)[ride.reported] ** 2, criteria


def _action(ride: ScheduleSamples, length: np.ndarray, start: float) -> np.ndarray:
    """The bound on KL(pi|p) at the times reported, from the speed sqrt(E|v|^2 / D) = lambda' `length`."""
    power = (ride.speed * length + np.sqrt(ride.diffusion) * ride.score_error) ** 2 / 4
    return start + _integrate(ride.mesh, np.zeros_like(power), power, 0.0)[ride.reported]


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

    most = float(np.finfo(float).max)
    step = lambda x, given: min(given[0] * x + given[1], most)
    # Python's floats: some thousand steps, whose number is different for every question.
    found = list(itertools.accumulate(zip(np.exp(-whole).tolist(), gain.tolist(), strict=True), step, initial=start))
    return np.repeat(np.asarray(found, float), 2)[: len(mesh)]


def bound_driven(schedule: Any, times: np.ndarray, rates: Any, start: Start) -> Bounds:
    """With a counterdiabatic drive chi2 falls as fast as the gap says, TV <= exp(-int Delta) sqrt(chi2_0) / 2."""
    edges = np.unique(np.concatenate([[0.0], times, np.linspace(0, float(times[-1]), LEAST + 1)]))
    lambdas = np.clip(np.asarray(follow(schedule, edges)[0]), 0, 1)
    gap = np.asarray(rates(lambdas).gap)
    spent = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (gap[1:] + gap[:-1]) / 2)])
    x = np.sqrt(start.chi_square) * np.exp(-spent[np.searchsorted(edges, times)])
    return Bounds(
        {"T20": x / 2}, np.log1p(x**2), {} if np.isfinite(start.chi_square) else {"T20": "T20 needs a finite chi2"}
    )
