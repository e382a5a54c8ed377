"""What a trained score is worth: one call that asks all that its Score Hamiltonian can tell.

    gap Δ      how fast the process relaxes that samples by the score; 1/Δ is the Poincaré constant of its density
    λ          its ground energy: D/4 times the least mean squared error it has as the score of any density
    ε²         E_p|s - s_p|², its mean squared error on samples of p
    floor      ε / (2 √(Δ/D)),    and surely  TV(p, ρ) <= √( (ε²/4 - λ/D) / (Δ/D) ),  ρ what the score means  (T8)

In one and two dimensions, or on a grid of one's own, Δ and λ are those of the score; in more, Δ is an upper bound on
the gap of the samples, λ is not known, and T8 does not apply. The two sides of the slowest observable, f > 0 and f < 0,
are what the process takes longest to tell apart: the bottleneck.

References: arXiv 2606.05217; theorems T5, T7, T8 and T21 of this library.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_integer, check_positive, is_concrete, raise_value_error
from ..core.late import late
from ..core.program import compiled, full_precision
from ..core.types import Count, Point, Real
from ..grid import Grid, Line
from .fields import MovingScore, as_score
from .learn.error import ScoreError, score_error
from .noise_path import FIRST, as_path
from .reconstruct import Reconstruction, reconstruct
from .samples.costs import SampledCosts, sampled_costs
from .samples.gap import sampled_gap
from .samples.validation import check_key, check_samples

SPACING = 0.6  # of the nodes of a fitted grid, over the length on which a normal density as steep would fall
FEWEST, FINER, MOST = 32, 1.4, 200  # nodes of its axes: at least, by how much more, and at most
SEEN = 1024  # samples at which the slope of a score is looked at
SAME = 2e-3  # relative change of the gap, below which a grid is fine enough
ROOM = 3.2  # standard deviations around the samples, that a wave needs
THIN = 1e-4  # of its peak, a density beyond which the slowest observable is as it is there
TINY = 1e-100
LOOKS = 10  # places on a noising path


class Diagnosis(eqx.Module):
    """What `diagnose` returns; `print` shows it.

    - `gap` and its standard `gap_error` (0 where it is that of the score on a grid); `gap_is` says which it is
    - `ground_energy` λ, None where it is not known
    - `score_error`: ε², with its standard error, and whether it is exact or a lower estimate
    - `most`: ε² and two standard errors, which floor and bound are taken at
    - `floor` ε/(2 √(Δ/D)); `bound` on TV with λ subtracted, None where the gap is only bounded itself
    - `ends` `(2, d)`: means of both sides of the slowest observable; `shares` `(2,)`: how much lies there
    - `observable` `(n,)`: its values at the samples, of mean 0 and variance 1
    - `lambdas` `(steps + 1,)`: where a sampler should stop, and `costs` along the path; None for a score without time
    - `reconstruction`: the density that the score means, where there is a grid
    """

    gap: Array
    gap_error: Array
    ground_energy: Array | None
    score_error: ScoreError
    most: Array
    floor: Array
    bound: Array | None
    ends: Array
    shares: Array
    observable: Array
    samples: Array
    diffusion: Array
    lambdas: Array | None
    costs: SampledCosts | None
    reconstruction: Reconstruction | None
    gap_is: str = eqx.field(static=True)

    def __str__(self) -> str:
        number = lambda value: f"{float(value):.4g}"
        error, sign = self.score_error, {"exact": "", "lower": "at least "}[self.score_error.bound]
        spread = f" ± {number(self.gap_error)}" if float(self.gap_error) else ""
        lowest = "not known without a grid" if self.ground_energy is None else number(self.ground_energy)
        bound = "none: it takes the gap of the score, on a grid"
        if self.bound is not None:
            doubt = ", if the error is no larger than this" if sign else ", two standard errors included"
            bound = f"TV <= {number(self.bound)} at ε² = {number(self.most)}{doubt} (T8)"
        sides = [
            f"{100 * float(share):.0f} % about ({', '.join(f'{c:.2f}' for c in np.asarray(end)[:4])}"
            f"{', ...' if len(end) > 4 else ''})"
            for share, end in zip(self.shares, self.ends, strict=True)
        ]
        rows = [
            ("gap", f"{number(self.gap)}{spread}, {self.gap_is}"),
            ("relaxation time", number(1 / self.gap)),
            ("ground energy", lowest),
            ("score error", f"E|s - s_p|² = {sign}{error.value:.4g} ± {error.error:.2g}"),
            ("floor", f"ε / (2 √gap) = {number(self.floor)} at ε² = {number(self.most)}"),
            ("bound", bound),
            ("bottleneck", f"between {sides[0]} and {sides[1]}"),
        ]
        if self.lambdas is not None:
            places = ", ".join(f"{lam:.3f}" for lam in np.asarray(self.lambdas))
            rows.append(("schedule", f"{len(self.lambdas) - 1} steps at noise λ = {places}"))
        return "\n".join(f"{name:16s} {words}" for name, words in rows)

    def plot(self) -> Any:
        """A matplotlib figure: the samples by the slowest observable, the density, the gap along the path."""
        return late("plot").draw(self)


@full_precision
def diagnose(
    score: Any,
    samples: Any,
    *,
    key: Any,
    grid: Grid | None = None,
    path: Any = None,
    steps: Count = 10,
    diffusion: Real = 1.0,
    exact: Any = None,
    show: bool = True,
) -> Diagnosis:
    """The gap of a score, its ground energy, what it can reach, where it is slow, and how to anneal it.

    **Arguments**

    - `score`: s(x) to `(d,)`, a network, a potential; or s(x, λ) along a noising path
    - `samples`: `(n, d)` of the data, best such as it was not trained on
    - `key`: of `jax.random`
    - `grid`: where to reconstruct; None fits one to the samples in one and two dimensions, and takes none in more
    - `path`: for scores of x and λ, "vp", "ve" or what has `alpha` and `sigma`; all but the schedule is then asked at
      the data's end of the path, λ = 0.001
    - `steps`: of the schedule suggested; `diffusion` D, which sets the unit of time; `exact`: the true score, if known
    - `show`: print the result

    **Returns** a `Diagnosis`. **Raises** `ValueError` for samples, scores and grids that cannot be right, and for a
    score that does not confine. **Cost**: some `reconstruct` of doubling size or one `sampled_gap`, one `score_error`,
    and for a schedule ten `sampled_gap`. **Reference**: theorems T5, T7, T8 and T21 of this library.

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.score.diagnose import diagnose

    samples = jax.random.normal(jax.random.key(0), (500, 1))
    print(diagnose(lambda x: -1.1 * x, samples, key=jax.random.key(1), show=False))
    ```
    """
    array = check_samples(samples)
    check_key(key)
    check_positive("diffusion", diffusion, "Give D, a number above zero.")
    check_integer("steps", steps, 1, "Give the number of steps of a sampler.")
    field = as_score(score)
    if isinstance(field, MovingScore) != (path is not None):
        cure = "Give path= with a score of x and lambda, and none with one of x alone."
        raise_value_error("path", path, f"the score takes {'a' if path is None else 'no'} place on a path", cure)
    if grid is not None and grid.ndim != array.shape[1]:
        raise_value_error(
            "grid", grid, f"the samples have {array.shape[1]} coordinates", "Give a grid of as many axes."
        )
    path = None if path is None else as_path(path)
    still = as_score(AtData(field)) if isinstance(field, MovingScore) else field
    keys = jax.random.split(key, 3)
    x, found = jnp.asarray(array, float), None
    error = score_error(still, array, key=keys[0], exact=exact)
    if grid is not None or array.shape[1] <= 2:
        found = _fitted(still, array, diffusion) if grid is None else reconstruct(still, grid, diffusion=diffusion)
        gap, gap_error, lowest, kind = found.gap, jnp.zeros(()), found.ground_energy, "of the score, on a grid"
        observable = _observable(found, x)
    else:
        estimate = sampled_gap(array, key=keys[1], diffusion=diffusion)
        gap, gap_error, lowest, kind = estimate.value, estimate.error, None, "an upper bound from the samples"
        observable = estimate.observable.over(x)
    observable = observable * _sense(observable, x)
    upper = observable > 0
    share = jnp.mean(upper)
    ends = jnp.stack([jnp.mean(x, axis=0, where=side[:, None]) for side in (~upper, upper)])
    most = jnp.asarray(max(error.value, 0.0) + 2 * error.error)
    if found is not None:
        most = jnp.maximum(most, 4 * found.ground_energy / diffusion)
    lambdas = costs = None
    if path is not None:
        places = jnp.linspace(1 / LOOKS, 1, LOOKS)
        costs = sampled_costs(field, path, array, places, key=keys[2])
        lambdas = costs.steps("lag")(path, steps)
    diagnosis = Diagnosis(
        gap=gap,
        gap_error=gap_error,
        ground_energy=lowest,
        score_error=error,
        most=most,
        floor=jnp.sqrt(most / (4 * gap / diffusion)),
        bound=None if found is None else found.bound(most),
        ends=ends,
        shares=jnp.stack([1 - share, share]),
        observable=observable,
        samples=x,
        diffusion=jnp.asarray(diffusion, float),
        lambdas=lambdas,
        costs=costs,
        reconstruction=found,
        gap_is=kind,
    )
    if show and is_concrete(gap):
        print(diagnosis)
    return diagnosis


class AtData(eqx.Module):
    """A score of x and λ at the data's end of its path."""

    moving: MovingScore

    def __call__(self, x: Point) -> Array:
        """s(x, λ) at the least λ that a score is learned at."""
        return self.moving(x, jnp.asarray(FIRST, x.dtype))


def _fitted(score: Any, samples: np.ndarray, diffusion: Real) -> Reconstruction:
    """On a box around the samples, with as many nodes as the steepest slope of the score asks for, and then with more
    until the gap stays."""
    room = ROOM * np.std(samples, axis=0)
    lower, upper = np.min(samples, axis=0) - room, np.max(samples, axis=0) + room
    seen = jnp.asarray(samples[np.linspace(0, len(samples) - 1, min(len(samples), SEEN)).astype(int)], float)
    steepest = np.max(np.abs(_slopes(score, seen)), axis=0)
    nodes = np.clip((upper - lower) * np.sqrt(steepest) / SPACING, FEWEST, MOST / FINER).round().astype(int)
    before = math.inf
    while True:
        axes = [Line(float(a), float(b), int(n)) for a, b, n in zip(lower, upper, nodes, strict=True)]
        found = reconstruct(score, Grid(*axes), diffusion=diffusion)
        gap = float(found.gap)
        if abs(gap - before) <= SAME * gap or np.max(nodes) > MOST / FINER:
            return found
        nodes, before = np.ceil(FINER * nodes).astype(int), gap


@compiled
def _slopes(score: Any, x: Array) -> Array:
    """d s_i / d x_i at points `(n, d)`."""
    return jax.vmap(lambda y: jnp.diagonal(jax.jacfwd(score)(y)))(x)


def _sense(observable: Array, x: Array) -> Array:
    """The sign that lets an observable rise with the coordinate that it follows most."""
    together = (observable - jnp.mean(observable)) @ (x - jnp.mean(x, axis=0)) / jnp.std(x, axis=0)
    return jnp.where(together[jnp.argmax(jnp.abs(together))] < 0, -1.0, 1.0)


def _observable(found: Reconstruction, x: Array) -> Array:
    """psi_1 / psi_0 at samples `(n, d)`, between the nodes linearly, of mean 0 and variance 1 there."""
    ground, slow = found.spectrum.vectors[:2]
    held = ground**2 > THIN * jnp.max(ground**2)
    seen = slow / jnp.where(held, ground, 1)
    least, most = jnp.min(seen, where=held, initial=jnp.inf), jnp.max(seen, where=held, initial=-jnp.inf)
    values = jnp.clip(slow * ground / (ground**2 + TINY), least, most)
    places = [jnp.interp(x[:, i], nodes, jnp.arange(len(nodes))) for i, nodes in enumerate(found.grid.nodes)]
    values = jax.scipy.ndimage.map_coordinates(values, places, order=1, mode="nearest")
    return (values - jnp.mean(values)) / jnp.std(values)
