"""Rigorous bounds on the distance of a density that follows a path from the Gibbs
density of the same time.

    T15     x = sqrt(chi2),    x' <= -(Delta - M/2) x + |a|,    TV <= x / 2
            M = sup(-a) finite
    T16     y = sqrt(KL),      y' <= -D rho y + l / sqrt(2 rho),    TV <= sqrt(KL / 2)
            a Lipschitz with l
    T17     as T16, a score error |e| <= eps adds  + D eps sqrt(rho / 2)
    action  KL(pi|p) <= (1/4D) int (|v| + D eps)^2 dt,    TV <= sqrt(KL / 2)
            |v|^2 = E_pi |v_t|^2

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

import numpy as np

from ..core.types import AnyArray, Clock, PotentialPath, Scalar
from ..grid import Grid
from .constants import CONSTANTS
from .rates import Rates
from .schedule_samples import Features, ScheduleSamples, follow, sample_schedule

ACTION = "the action (T16)"


class Start(NamedTuple):
    """The distances of the density from the Gibbs density at t = 0: KL(p|pi), KL(pi|p),
    chi2.
    """

    entropy: float
    reverse: float
    chi_square: float


class Bounds(NamedTuple):
    """Upper bounds `(T,)` on TV by theorem, the bound on KL, and for each infinite
    bound the reason in words.
    """

    total_variation: dict[str, np.ndarray]
    relative_entropy: np.ndarray
    why: dict[str, str]

    @property
    def best(self) -> tuple[np.ndarray, str]:
        """The smallest bound at each time, and its theorem at the last time."""
        names = list(self.total_variation)
        rows = np.stack([self.total_variation[name] for name in names])
        # At earlier times the smallest bound may be that of another theorem.
        last = int(np.argmin(rows[:, -1]))
        words = names[last]
        if not np.isfinite(rows[last, -1]):
            words = "none: " + "; ".join(self.why.values())
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
        rows = dict(self.total_variation)
        why = dict(self.why)
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
            # These bounds on TV follow from that on KL.
            from_entropy = name.startswith(("T16", "T17"))
            is_below = np.any(slack * row < smallest_variation)
            if is_below or (false_entropy and from_entropy):
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
    samples = sample_schedule(
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
    """Infinite bounds: all theorems need a potential that is differentiable in time."""
    infinite = np.full(len(times), np.inf)
    name = "T15 to T17"
    reason = f"the potential jumps at t = {jump:.6g}"
    return Bounds({name: infinite}, infinite, {name: reason})


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
    lambdas, _ = follow(schedule, mesh)
    # Rounding may put λ outside of the path.
    lambdas = np.clip(np.asarray(lambdas), 0, 1)
    gap = np.asarray(rates(lambdas).gap)
    by_step = np.diff(mesh) * (gap[1:] + gap[:-1]) / 2
    exponent = np.concatenate([[0.0], np.cumsum(by_step)])
    reported = np.searchsorted(mesh, times)
    x = np.sqrt(start.chi_square) * np.exp(-exponent[reported])
    why = {} if np.isfinite(start.chi_square) else {"T20": "T20 needs a finite chi2"}
    # KL <= log(1 + chi2), by Jensen.
    return Bounds({"T20": x / 2}, np.log1p(x**2), why)


def _variation(entropy: np.ndarray) -> np.ndarray:
    """The bound on TV that follows from a bound on KL in either direction: Pinsker, or
    Bretagnolle and Huber.
    """
    pinsker = np.sqrt(entropy / 2)
    bretagnolle_huber = np.sqrt(-np.expm1(-entropy))
    smaller = np.minimum(pinsker, bretagnolle_huber)
    # An infinite KL means that no theorem applies: TV <= 1 is not reported as a bound.
    return np.where(np.isfinite(entropy), smaller, np.inf)


def _bound_by_chi_square(
    samples: ScheduleSamples, gap: np.ndarray, drive: np.ndarray, start: float
) -> tuple[np.ndarray, str]:
    """T15: the bound on TV at the reported times, and why it may be infinite."""
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
    decay = gap - decrease / 2
    x = _integrate(samples.mesh, decay, samples.speed * drive, np.sqrt(start))
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
    of_score = samples.diffusion * samples.score_error * np.sqrt(rho / 2)
    source = driving + of_score
    # -D I + D eps sqrt(I) decreases in I only where sqrt(I) > eps / 2. I may be
    # replaced by its lower bound 2 rho KL only there, which is y > eps / (2 sqrt(2
    # rho)). Below this the inequality says nothing, so the bound stays above.
    least = samples.score_error / (2 * np.sqrt(2 * rho))
    y_start = max(np.sqrt(start), least[0])
    y = _integrate(samples.mesh, rate, source, y_start, least)
    criteria = " and ".join(sorted({c.criterion for c in samples.constants}))
    return y[samples.reported] ** 2, criteria


def _bound_by_action(
    samples: ScheduleSamples, length: np.ndarray, start: float
) -> np.ndarray:
    """The bound on KL(pi|p) at the reported times, from the speed sqrt(E|v|^2 / D) =
    lambda' `length`.
    """
    # The action has no decay: the contributions of all times add up.
    of_score = np.sqrt(samples.diffusion) * samples.score_error
    power = (samples.speed * length + of_score) ** 2 / 4
    action = _integrate(samples.mesh, np.zeros_like(power), power, 0.0)
    return start + action[samples.reported]


def _of_pairs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values at the start, middle and end of each pair of intervals."""
    return values[:-2:2], values[1:-1:2], values[2::2]


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
    c0, c1, c2 = _of_pairs(decay)
    exponent = h / 3 * (c0 + 4 * c1 + c2)
    # The integral over the second interval of a pair, of the same parabola.
    second_half = h / 12 * (-c0 + 8 * c1 + 5 * c2)
    s0, s1, s2 = _of_pairs(source)
    # The source decays until the end of its pair.
    from_start = s0 * np.exp(-exponent)
    from_middle = 4 * s1 * np.exp(-second_half)
    gain = h / 3 * (from_start + from_middle + s2)

    largest = float(np.finfo(float).max)
    least = np.zeros(len(mesh)) if least is None else least
    at_start, in_middle, at_end = _of_pairs(least)
    floors = np.maximum(np.maximum(at_start, in_middle), at_end)

    def step(x: float, pair: tuple[float, float, float]) -> float:
        factor, added, floor = pair
        # T15 may grow exponentially: no overflow to infinity
        return min(max(factor * x + added, floor), largest)

    # Python floats: the number of steps, some thousand, differs from call to call, and
    # a scan would be compiled anew.
    factors = np.exp(-exponent)
    columns = (factors.tolist(), gain.tolist(), floors.tolist())
    pairs = zip(*columns, strict=True)
    values = list(itertools.accumulate(pairs, step, initial=start))
    return np.repeat(np.asarray(values, float), 2)[: len(mesh)]
