"""Rigorous bounds on the distance of a density that follows a path from the Gibbs
density of the same time.

    T15  x = sqrt(chi2)    x' <= -(Delta - M/2) x + |a|,                 TV <= x / 2,           M = sup(-a) finite
    T16  y = sqrt(KL)      y' <= -D rho y + l / sqrt(2 rho),             TV <= sqrt(KL / 2),    a Lipschitz with l
    T17  as T16, a score error |e| <= eps adds  + D eps sqrt(rho / 2)
    action           KL(pi|p) <= (1/4D) int (|v| + D eps)^2 dt,          TV <= sqrt(KL / 2),    |v|^2 = E_pi |v_t|^2

a = d_t log pi = lambda' ell, d_t pi = -div(v pi). The last one needs no inequality of
pi: v is the drift by which the process with marginals pi differs from the given
process, and the bound follows from Girsanov's theorem. rho is given by the criteria of
Bakry and Emery or of Holley and Stroock (`curvature`); Delta, |a| and |v| are computed
on the grid (`along`). The inequalities are integrated as equations, by Simpson's rule
with the decay as an integrating factor, so that no step is stiff. KL above 1 bounds TV
by sqrt(1 - exp(-KL)) (Bretagnolle and Huber) where that is smaller.

References: theorems T15 to T17 of this library; Guo, Tao and Chen, arXiv 2407.16936,
theorem 1 (action); Bretagnolle and Huber, Z. Wahrsch. verw. Geb. 47 (1979) 119.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.program import sampling_program
from ..core.types import AnyArray, Clock, PotentialPath, Scalar
from ..grid import Grid
from .constants import CONSTANTS
from .curvature import PathConstants, path_constants
from .rates import Rates
from .read import read_path, read_schedule

ACTION = "the action (T16)"


class Start(NamedTuple):
    """The distances of the density from the Gibbs density at t = 0: KL(p|pi), KL(pi|p),
    chi2.
    """

    entropy: float
    reverse: float
    chi_square: float


class ScheduleSamples(NamedTuple):
    """The constants of a path along a schedule.

    - `path_lambdas` `(L,)`, and the `constants` of the path at each of them
    - `mesh` `(m,)`: times of the integration; `lambdas` and `speed` dλ/dt `(m,)` at
      these times
    - `reported` `(T,)`: the positions of the reported times in the mesh
    """

    diffusion: float
    path_lambdas: np.ndarray
    constants: list[PathConstants]
    mesh: np.ndarray
    lambdas: np.ndarray
    speed: np.ndarray
    reported: np.ndarray
    score_error: float

    def along_mesh(self, values: np.ndarray) -> np.ndarray:
        """Values `(L,)` at `path_lambdas`, interpolated to the times of the mesh,
        `(m,)`.
        """
        return np.interp(self.lambdas, self.path_lambdas, values)


class Features(NamedTuple):
    """Where a path and its schedule change quickly (`pieces`).

    - `lambdas` `(L + 1,)` and `times` `(P + 1,)`: edges of intervals on which the
      potential is smooth
    - `jump`: the first time at which the potential jumps, or None
    """

    lambdas: np.ndarray
    times: np.ndarray
    jump: float | None


class Bounds(NamedTuple):
    """Upper bounds `(T,)` on TV by theorem, the bound on KL, and for each infinite
    bound the reason in words.
    """

    total_variation: dict[str, np.ndarray]
    relative_entropy: np.ndarray
    why: dict[str, str]

    @property
    def best(self) -> tuple[np.ndarray, str]:
        """The smallest bound at each time, and the theorem that gives it at the last
        time.
        """
        names = list(self.total_variation)
        rows = np.stack([self.total_variation[name] for name in names])
        # At earlier times the smallest bound may be that of another theorem.
        last = int(np.argmin(rows[:, -1]))
        words = (
            names[last]
            if np.isfinite(rows[last, -1])
            else "none: " + "; ".join(self.why.values())
        )
        return np.min(rows, axis=0), words

    def at(self, positions: np.ndarray | slice) -> "Bounds":
        """The same at some of the times."""
        rows = {name: row[positions] for name, row in self.total_variation.items()}
        return Bounds(rows, self.relative_entropy[positions], self.why)

    def checked(
        self,
        total_variation: np.ndarray,
        relative_entropy: np.ndarray,
        errors: tuple[np.ndarray, np.ndarray],
    ) -> "Bounds":
        """The bounds without those that lie below the distances `(T,)` of the run,
        beyond the `errors` of these.

        A theorem is true, but its constants are computed from samples, which may have
        missed a feature of the path. A bound that is violated once is not trusted at
        any time.
        """
        of_variation, of_entropy = errors
        rows, why = dict(self.total_variation), dict(self.why)
        entropy = self.relative_entropy
        # An unknown error excuses nothing.
        rounding = CONSTANTS.bound_rounding * np.finfo(total_variation.dtype).eps
        smallest_entropy = relative_entropy - np.nan_to_num(of_entropy) - rounding
        smallest_variation = total_variation - np.nan_to_num(of_variation) - rounding
        # A bound may be an equality: its own integration has an error, too.
        slack = 1 + CONSTANTS.bound_integration_tol
        false_entropy = bool(np.any(slack * entropy < smallest_entropy))
        if false_entropy:
            entropy = np.full_like(entropy, np.inf)
        for name, row in self.total_variation.items():
            of_entropy_bound = name.startswith(("T16", "T17"))
            if np.any(slack * row < smallest_variation) or (
                false_entropy and of_entropy_bound
            ):
                rows[name] = np.full_like(row, np.inf)
                why[name] = (
                    f"{name} was below the distance of the run: its constants miss a "
                    "feature of the path"
                )
        return Bounds(rows, entropy, why)


def bound_transport(
    path: PotentialPath,
    schedule: Any,
    diffusion: Scalar,
    grid: Grid,
    times: np.ndarray,
    rates: Callable[[AnyArray], Rates],
    start: Start,
    score_error: float,
    features: Features | None = None,
) -> Bounds:
    """All bounds at `times` `(T,)`; `rates(lam)` gives gap, drive and the cost
    "wasserstein" at each lambda.
    """
    if features is not None and features.jump is not None:
        return _no_bound_after(features.jump, times)
    samples = _sample_schedule(
        path, schedule, diffusion, grid, times, rates, score_error, features
    )
    costs = rates(samples.lambdas)
    total_variation: dict[str, np.ndarray] = {}
    why: dict[str, str] = {}

    # Each theorem gives an infinite bound, and the reason, where its assumptions do not
    # hold.
    chi_bound, reason = _bound_by_chi_square(
        samples, np.asarray(costs.gap), np.asarray(costs.drive), start.chi_square
    )
    total_variation["T15"] = chi_bound
    if reason:
        why["T15"] = reason

    entropy, words = _bound_by_entropy(samples, start.entropy)
    name = "T17" if score_error else "T16"
    if np.all(np.isfinite(entropy)):
        name = f"{name} ({words})"  # words are the criteria for rho
    else:
        why[name] = words
    total_variation[name] = _variation(entropy)

    action = _bound_by_action(samples, np.asarray(costs.wasserstein), start.reverse)
    total_variation[ACTION] = _variation(action)
    if not np.all(np.isfinite(action)):
        why[ACTION] = "the action bound needs a finite KL(pi|p) at the start"
    return Bounds(total_variation, entropy, why)


def _no_bound_after(jump: float, times: np.ndarray) -> Bounds:
    """Infinite bounds: every theorem takes a potential that is differentiable in time."""
    infinite = np.full(len(times), np.inf)
    name = "T15 to T17"
    return Bounds(
        {name: infinite}, infinite, {name: f"the potential jumps at t = {jump:.6g}"}
    )


def bound_counterdiabatic(
    schedule: Clock, times: np.ndarray, rates: Callable[[AnyArray], Rates], start: Start
) -> Bounds:
    """With the counterdiabatic drift chi2 decays at the rate of the gap: TV <= exp(-int
    Delta) sqrt(chi2_0) / 2.
    """
    # The exponent by the trapezoidal rule on a fine mesh, which contains the reported
    # times.
    even = np.linspace(0, float(times[-1]), CONSTANTS.min_bound_steps + 1)
    mesh = np.unique(np.concatenate([[0.0], times, even]))
    lambdas = np.clip(np.asarray(follow(schedule, mesh)[0]), 0, 1)
    gap = np.asarray(rates(lambdas).gap)
    exponent = np.concatenate(
        [[0.0], np.cumsum(np.diff(mesh) * (gap[1:] + gap[:-1]) / 2)]
    )
    x = np.sqrt(start.chi_square) * np.exp(-exponent[np.searchsorted(mesh, times)])
    why = {} if np.isfinite(start.chi_square) else {"T20": "T20 needs a finite chi2"}
    # KL <= log(1 + chi2), by Jensen.
    return Bounds({"T20": x / 2}, np.log1p(x**2), why)


def follow(schedule: Clock, times: AnyArray) -> tuple[Array, Array]:
    """lambda and d lambda / dt of a schedule from `read_schedule` at `times` `(T,)`,
    `(T,)` each.
    """
    if not is_concrete(schedule, times):
        return _follow(schedule, jnp.asarray(times, float))
    # Batches of one size, so that one compiled program serves any number of times.
    times = np.asarray(times, float)
    padding = np.full(-len(times) % CONSTANTS.follow_batch, times[-1])
    batches = np.concatenate([times, padding]).reshape(-1, CONSTANTS.follow_batch)
    columns = zip(*(_follow(schedule, batch) for batch in batches), strict=True)
    lambdas, rates = (
        as_array(np.concatenate(column)[: len(times)]) for column in columns
    )
    return lambdas, rates


@sampling_program
def _follow(schedule: Clock, times: AnyArray) -> tuple[Array, Array]:
    return jax.vmap(jax.value_and_grad(lambda t: schedule(t)))(times)


def _sample_schedule(
    path: PotentialPath,
    schedule: Any,
    diffusion: Scalar,
    grid: Grid,
    times: np.ndarray,
    rates: Callable[[AnyArray], Rates],
    score_error: float,
    features: Features | None,
) -> ScheduleSamples:
    """The constants of the path, and the schedule on a mesh that is fine enough for all
    of them.
    """
    schedule = read_schedule(schedule)
    path_lambdas = np.linspace(0, 1, CONSTANTS.bound_lambdas)
    marks = np.zeros(0)
    # A smooth path needs no other places than the even ones.
    if features is not None:
        path_lambdas = np.union1d(path_lambdas, _within(features.lambdas))
        marks = _within(features.times)
    constants = _constants_in_batches(
        read_path(path, grid.ndim), diffusion, grid, path_lambdas
    )
    mesh = _mesh(
        times, marks, [c.rate for c in constants], np.asarray(rates(path_lambdas).gap)
    )
    lambdas = np.clip(np.asarray(follow(schedule, mesh)[0]), 0, 1)
    # A schedule that is clipped to [0, 1] has no derivative at its ends: the speed is
    # taken just inside.
    margin, total = CONSTANTS.schedule_end_margin, float(schedule.total)
    inside = np.clip(mesh, margin * total, (1 - margin) * total)
    return ScheduleSamples(
        diffusion=float(diffusion),
        path_lambdas=path_lambdas,
        constants=constants,
        mesh=mesh,
        lambdas=lambdas,
        speed=np.abs(np.asarray(follow(schedule, inside)[1])),
        reported=np.searchsorted(mesh, times),
        score_error=score_error,
    )


def _within(edges: np.ndarray) -> np.ndarray:
    """Places inside each interval between `edges`, both ends besides, but just inside;
    none for one interval alone.
    """
    if len(edges) <= 2:
        return np.zeros(0)
    # At an edge a function may have a kink: each side gets a value of its own.
    margin = CONSTANTS.schedule_end_margin * (edges[-1] - edges[0])
    inner = [
        np.linspace(a + margin, b - margin, CONSTANTS.piece_places)
        for a, b in itertools.pairwise(edges)
    ]
    return np.concatenate(inner)


def _constants_in_batches(
    path: PotentialPath, diffusion: Scalar, grid: Grid, lambdas: np.ndarray
) -> list[PathConstants]:
    """The constants at `lambdas`, in batches of one size, so that one compiled program
    serves any number of them.
    """
    batch = CONSTANTS.bound_lambdas
    padded = np.concatenate(
        [lambdas, np.full(-len(lambdas) % batch, lambdas[-1])]
    ).reshape(-1, batch)
    found = [
        constants
        for part in padded
        for constants in path_constants(path, diffusion, grid, part)
    ]
    return found[: len(lambdas)]


def _variation(entropy: np.ndarray) -> np.ndarray:
    """The bound on TV that follows from a bound on KL in either direction: Pinsker, or
    Bretagnolle and Huber.
    """
    smaller = np.minimum(np.sqrt(entropy / 2), np.sqrt(-np.expm1(-entropy)))
    # An infinite KL means that no theorem applies: TV <= 1 is not reported as a bound.
    return np.where(np.isfinite(entropy), smaller, np.inf)


def _bound_by_chi_square(
    samples: ScheduleSamples, gap: np.ndarray, drive: np.ndarray, start: float
) -> tuple[np.ndarray, str]:
    """T15: the bound on TV at the reported times, and the reason if it is infinite. It
    allows no score error.
    """
    infinite = np.full(len(samples.reported), np.inf)
    decreases = np.asarray([c.sup_decrease for c in samples.constants])
    if samples.score_error:
        return infinite, "T15 needs the exact score"
    if not np.all(np.isfinite(decreases)):
        lam = samples.path_lambdas[~np.isfinite(decreases)][0]
        return (
            infinite,
            "T15 needs bounded driving, and -d_lambda log pi is unbounded at lambda = "
            f"{lam:.3g}",
        )
    if not np.isfinite(start):
        return infinite, "T15 needs a finite chi2 at the start"
    # M = lambda' sup(-ell); T15 takes half of it from the gap.
    decrease = samples.speed * samples.along_mesh(decreases)
    x = _integrate(
        samples.mesh, gap - decrease / 2, samples.speed * drive, np.sqrt(start)
    )
    return x[samples.reported] / 2, ""


def _bound_by_entropy(samples: ScheduleSamples, start: float) -> tuple[np.ndarray, str]:
    """T16 and T17: the bound on KL(p|pi) at the reported times, with its criteria or
    the reason if it is infinite.
    """
    infinite = np.full(len(samples.reported), np.inf)
    rates = np.asarray([c.rate for c in samples.constants])
    lipschitz = np.asarray([c.lipschitz for c in samples.constants])
    name = "T17" if samples.score_error else "T16"
    if not np.all(rates > 0):
        lam = samples.path_lambdas[rates <= 0][0]
        return (
            infinite,
            f"{name} needs a log-Sobolev constant, and none is known at lambda = "
            f"{lam:.3g}",
        )
    if not np.all(np.isfinite(lipschitz)):
        lam = samples.path_lambdas[~np.isfinite(lipschitz)][0]
        return (
            infinite,
            f"{name} needs a Lipschitz d_lambda log pi, and its slope has no bound at "
            f"lambda = {lam:.3g}",
        )
    if not np.isfinite(start):
        return infinite, f"{name} needs a finite KL(p|pi) at the start"

    # rate is D rho.
    rate = samples.along_mesh(rates)
    rho = rate / samples.diffusion
    driving = samples.speed * samples.along_mesh(lipschitz) / np.sqrt(2 * rho)
    source = driving + samples.diffusion * samples.score_error * np.sqrt(rho / 2)
    # -D I + D eps sqrt(I) decreases in I only where sqrt(I) > eps / 2. I may be
    # replaced by its lower bound 2 rho KL only there, which is y > eps / (2 sqrt(2
    # rho)). Below this the inequality says nothing, so the bound stays above.
    least = samples.score_error / (2 * np.sqrt(2 * rho))
    y = _integrate(samples.mesh, rate, source, max(np.sqrt(start), least[0]), least)
    criteria = " and ".join(sorted({c.criterion for c in samples.constants}))
    return y[samples.reported] ** 2, criteria


def _bound_by_action(
    samples: ScheduleSamples, length: np.ndarray, start: float
) -> np.ndarray:
    """The bound on KL(pi|p) at the reported times, from the speed sqrt(E|v|^2 / D) =
    lambda' `length`.
    """
    # The action has no decay: the contributions of all times add up.
    power = (
        samples.speed * length + np.sqrt(samples.diffusion) * samples.score_error
    ) ** 2 / 4
    return (
        start
        + _integrate(samples.mesh, np.zeros_like(power), power, 0.0)[samples.reported]
    )


def _mesh(
    times: np.ndarray, marks: np.ndarray, rates: list[float], gaps: np.ndarray
) -> np.ndarray:
    """All reported times, all `marks` before the last, and sufficiently many between
    them, with an even number of intervals between neighbours.
    """
    # The solution varies on the scale of the fastest decay.
    fastest = max(max(rates), float(np.max(gaps)))
    end = float(times[-1])
    steps = max(
        CONSTANTS.min_bound_steps,
        int(np.ceil(CONSTANTS.steps_per_decay_time * fastest * end)),
    )
    length = end / steps
    edges = np.unique(np.concatenate([[0.0], times, marks[marks < end]]))
    pieces = []
    for a, b in itertools.pairwise(edges):
        # Simpson's rule takes intervals in equal pairs.
        pairs = max(1, int(np.ceil((b - a) / (2 * length))))
        pieces.append(np.linspace(a, b, 2 * pairs + 1)[:-1])
    return np.concatenate([*pieces, edges[-1:]])


def _integrate(
    mesh: np.ndarray,
    decay: np.ndarray,
    source: np.ndarray,
    start: float,
    least: np.ndarray | None = None,
) -> np.ndarray:
    """The solution of x' = -decay x + source on the mesh, whose intervals come in equal
    pairs.

    x is computed after each pair by Simpson's rule, and repeated at its midpoint, which
    is never reported. Where x would fall below `least`, it is set to that and goes on
    from there.
    """
    h = np.diff(mesh)[::2]
    c0, c1, c2 = decay[:-2:2], decay[1:-1:2], decay[2::2]
    exponent = h / 3 * (c0 + 4 * c1 + c2)
    # The integral over the second interval of a pair, of the same parabola.
    second_half = h / 12 * (-c0 + 8 * c1 + 5 * c2)
    s0, s1, s2 = source[:-2:2], source[1:-1:2], source[2::2]
    gain = h / 3 * (s0 * np.exp(-exponent) + 4 * s1 * np.exp(-second_half) + s2)

    largest = float(np.finfo(float).max)

    least = np.zeros(len(mesh)) if least is None else least
    floors = np.maximum(np.maximum(least[:-2:2], least[1:-1:2]), least[2::2])

    def step(x: float, pair: tuple[float, float, float]) -> float:
        factor, added, floor = pair
        # T15 may grow exponentially: no overflow to infinity
        return min(max(factor * x + added, floor), largest)

    # Python floats: the number of steps, some thousand, differs from call to call, and
    # a scan would be compiled anew.
    pairs = zip(np.exp(-exponent).tolist(), gain.tolist(), floors.tolist(), strict=True)
    values = list(itertools.accumulate(pairs, step, initial=start))
    return np.repeat(np.asarray(values, float), 2)[: len(mesh)]
