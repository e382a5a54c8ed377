"""Diagnosis of a trained score: all quantities of its Score Hamiltonian in one call.

    gap Δ    the rate of relaxation of the sampler by the score;
             1/Δ is the Poincaré constant of its density
    λ        the ground energy: D/4 times the least mean squared error of s
             as the score of any density
    ε²       E_p|s - s_p|², the mean squared error on samples of p
    floor    min(1, ε / (2 √(Δ/D)))
    bound    TV(p, ρ) <= √( (ε²/4 - λ/D) / (Δ/D) ),  ρ the density of the score  (T8)

In one and two dimensions, or on a given grid, Δ and λ are those of the score. In more
dimensions Δ is an upper bound on the gap of the samples, λ is not known, and T8 does
not apply. The two sides of the slowest observable, f > 0 and f < 0, exchange mass most
slowly: the bottleneck lies between them.

References: arXiv 2606.05217; theorems T5, T7, T8 and T21 of this library.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_integer, check_positive, is_concrete, raise_value_error
from ..core.late import late
from ..core.program import public_function
from ..core.types import Count, Key, Numbers, Point, Real, Scalar
from ..diffusion.types import Amplitudes
from ..grid import Grid
from ..record.types import Figure
from .constants import CONSTANTS
from .fields import TimeDependentScore, as_score
from .learn.error import ScoreError, score_error
from .noise_path import as_path
from .reconstruct import Reconstruction
from .samples.costs import SampledCosts, sampled_costs
from .samples.validation import check_key, check_samples
from .slowest_observable import gap_of_samples, gap_of_score, rising_sign
from .types import ScoreModel


class Diagnosis(eqx.Module):
    """What `diagnose` returns; `print` shows it.

    - `gap` and its standard `gap_error` (0 where it is that of the score on a grid);
      `gap_is` says which it is
    - `ground_energy` λ, None where it is not known
    - `score_error`: ε², with its standard error, and whether it is exact or a lower
      estimate
    - `most`: ε² and two standard errors; `floor` and `bound` are evaluated with it
    - `floor` ε/(2 √(Δ/D)), or 1 where that is more than a distance can be; `bound` on
      TV with λ subtracted, None if the gap is only an upper bound
    - `ends` `(2, d)`: means of both sides of the slowest observable; `shares` `(2,)`:
      the fraction of the samples there
    - `observable` `(n,)`: its values at the samples, of mean 0 and variance 1
    - `lambdas` `(steps + 1,)`: where a sampler should stop, and `costs` along the path;
      None for a score without time
    - `reconstruction`: the density of the score, where there is a grid
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
        error = self.score_error
        at_least = {"exact": "", "lower": "at least "}[error.bound]
        spread = f" ± {_number(self.gap_error)}" if float(self.gap_error) else ""
        lowest = "not known without a grid"
        if self.ground_energy is not None:
            lowest = _number(self.ground_energy)
        bound = "none: it takes the gap of the score, on a grid"
        if self.bound is not None:
            condition = ", two standard errors included"
            if at_least:
                condition = ", if the error is no larger than this"
            at_most = f"TV <= {_number(self.bound)} at ε² = {_number(self.most)}"
            bound = f"{at_most}{condition} (T8)"
        floor = f"ε / (2 √gap) = {_number(self.floor)} at ε² = {_number(self.most)}"
        # A total variation is at most 1: a larger quotient says nothing.
        if float(self.floor) >= 1:
            floor = (
                f"1: at ε² = {_number(self.most)} the quotient ε / (2 √gap) limits no "
                "distance"
            )
        sides = [
            _describe_side(share, end)
            for share, end in zip(self.shares, self.ends, strict=True)
        ]
        measured = f"{error.value:.4g} ± {error.error:.2g}"
        # Names and values, one line each.
        rows = [
            ("gap", f"{_number(self.gap)}{spread}, {self.gap_is}"),
            ("relaxation time", _number(1 / self.gap)),
            ("ground energy", lowest),
            ("score error", f"E|s - s_p|² = {at_least}{measured}"),
            ("floor", floor),
            ("bound", bound),
            ("bottleneck", f"between {sides[0]} and {sides[1]}"),
        ]
        if self.lambdas is not None:
            places = ", ".join(f"{lam:.3f}" for lam in np.asarray(self.lambdas))
            steps = len(self.lambdas) - 1
            rows.append(("schedule", f"{steps} steps at noise λ = {places}"))
        return "\n".join(f"{name:16s} {text}" for name, text in rows)

    def plot(self) -> Figure:
        """A matplotlib figure: the samples by the slowest observable, the density, the
        gap along the path.
        """
        return late("plot").draw(self)


def _number(value: Scalar) -> str:
    """A number with four digits."""
    return f"{float(value):.4g}"


def _describe_side(fraction: Array, mean: Array) -> str:
    """One side of a bottleneck: its fraction of the samples and the first coordinates
    of its mean.
    """
    coordinates = ", ".join(f"{c:.2f}" for c in np.asarray(mean)[:4])
    more = ", ..." if len(mean) > 4 else ""
    return f"{100 * float(fraction):.0f} % about ({coordinates}{more})"


@public_function
def diagnose(
    score: ScoreModel,
    samples: Numbers,
    *,
    key: Key,
    grid: Grid | None = None,
    path: Amplitudes | str | None = None,
    steps: Count = 10,
    diffusion: Real = 1.0,
    exact: ScoreModel | None = None,
    show: bool = True,
) -> Diagnosis:
    """The gap of a score, its ground energy, its error and a bound on it, its
    bottleneck, and a schedule to anneal it.

    **Arguments**

    - `score`: s(x) to `(d,)`, a network, a potential; or s(x, λ) along a noising path
    - `samples`: `(n, d)` of the data, preferably not those of the training
    - `key`: of `jax.random`
    - `grid`: where to reconstruct; None fits one to the samples in one and two
      dimensions, and takes none in more
    - `path`: for scores of x and λ, "vp", "ve" or an object with `alpha` and `sigma`;
      all but the schedule is then computed at the data's end of the path, λ = 0.001
    - `steps`: of the schedule suggested; `diffusion` D, which sets the unit of time;
      `exact`: the true score, if known
    - `show`: print the result

    **Returns** a `Diagnosis`. **Raises** `ValueError` for samples, scores and grids
    that cannot be right, and for a score that does not confine. **Cost**: some
    `reconstruct` of doubling size or one `sampled_gap`, one `score_error`, and for a
    schedule ten `sampled_gap`. **Reference**: theorems T5, T7, T8 and T21 of this
    library.

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
    if field.time_dependent != (path is not None):
        cure = "Give path= with a score of x and lambda, and none with one of x alone."
        takes = "a" if path is None else "no"
        allowed = f"the score takes {takes} place on a path"
        raise_value_error("path", path, allowed, cure)
    if grid is not None and grid.ndim != array.shape[1]:
        allowed = f"the samples have {array.shape[1]} coordinates"
        raise_value_error("grid", grid, allowed, "Give a grid of as many axes.")
    path = None if path is None else as_path(path)
    static = field
    if isinstance(field, TimeDependentScore):
        static = as_score(ScoreAtData(field))
    error_key, gap_key, costs_key = jax.random.split(key, 3)
    x = jnp.asarray(array, float)

    # The error of the score, its gap, and the function that relaxes slowest.
    error = score_error(static, array, key=error_key, exact=exact)
    # A grid is affordable in one and two dimensions only; in more the samples give a
    # bound.
    if grid is not None or array.shape[1] <= 2:
        gap = gap_of_score(static, array, x, grid, diffusion)
    else:
        gap = gap_of_samples(array, x, gap_key, diffusion)
    # An eigenfunction has no sign of its own.
    observable = gap.observable * rising_sign(gap.observable, x)
    upper = observable > 0
    fraction = jnp.mean(upper)
    means = [jnp.mean(x, axis=0, where=side[:, None]) for side in (~upper, upper)]
    ends = jnp.stack(means)

    # The bounds, at an error that is seldom exceeded: no field has a smaller one than 4
    # lambda/D (T7).
    most = jnp.asarray(max(error.value, 0.0) + CONSTANTS.error_deviations * error.error)
    found = gap.reconstruction
    if found is not None:
        most = jnp.maximum(most, 4 * found.ground_energy / diffusion)
    # A total variation is at most 1.
    floor = jnp.minimum(jnp.sqrt(most / (4 * gap.value / diffusion)), 1)

    # A schedule, for scores along a path.
    lambdas = costs = None
    if path is not None:
        places = jnp.linspace(1 / CONSTANTS.cost_points, 1, CONSTANTS.cost_points)
        costs = sampled_costs(field, path, array, places, key=costs_key)
        lambdas = costs.steps("lag")(path, steps)
    diagnosis = Diagnosis(
        gap=gap.value,
        gap_error=gap.error,
        ground_energy=gap.ground_energy,
        score_error=error,
        most=most,
        floor=floor,
        bound=None if found is None else found.bound(most),
        ends=ends,
        shares=jnp.stack([1 - fraction, fraction]),
        observable=observable,
        samples=x,
        diffusion=jnp.asarray(diffusion, float),
        lambdas=lambdas,
        costs=costs,
        reconstruction=found,
        gap_is=gap.meaning,
    )
    # Inside a transformation there are no numbers to print.
    if show and is_concrete(gap.value):
        print(diagnosis)
    return diagnosis


class ScoreAtData(eqx.Module):
    """A score of x and λ at the data's end of its path."""

    learned: TimeDependentScore

    def __call__(self, x: Point) -> Array:
        """s(x, λ) at the least λ at which a score is learned."""
        return self.learned(x, jnp.asarray(CONSTANTS.lambda_min, x.dtype))
