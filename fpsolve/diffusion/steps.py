"""Step sequences of samplers from noise to data.

The steps are given by 1 = λ_0 > λ_1 > ... > λ_N = 0. With κ = σ/α (1/κ² the
signal-to-noise ratio),

    linear     even in λ
    cosine     even in arctan κ
    log_snr    even in log κ from κ(1) to κ_min, then 0
    edm        even in κ^(1/7) from κ(1) to κ_min, then 0
    cost       even in ∫ √g dλ, λ̇ ∝ g^(-1/2): the optimal schedules of theorem T21,
               g a cost of moving along the path

A sampler steps from each λ to the next (`ddim`); `line_law` computes its law.

References: Nichol and Dhariwal (ICML 2021), eq. 17; Karras et al., EDM (NeurIPS 2022),
eq. 5; Lu et al., DPM-Solver (NeurIPS 2022), for even steps in log κ.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.read import read_noising
from ..core.checks import (
    check_integer,
    check_numbers,
    check_positive,
    raise_value_error,
)
from ..core.content import is_plain
from ..core.program import sampling_program
from ..core.types import AnyArray, Count, Numbers, Real, Scalar
from .bisection import invert
from .constants import CONSTANTS
from .types import Amplitudes


def linear_steps(path: Amplitudes, steps: Count) -> Array:
    """λ_i = 1 - i/N: `(N + 1,)`, descending from 1 to 0."""
    lambdas = 1 - jnp.arange(_check_steps(steps) + 1) / steps
    return lambdas.at[-1].set(0.0)


def cosine_steps(path: Amplitudes, steps: Count) -> Array:
    """Even in arctan(σ/α), so that α² = cos² for paths that preserve the variance:
    `(N + 1,)`, from 1 to 0.

    **Reference**: Nichol and Dhariwal (ICML 2021), eq. 17, without its offset.
    """
    largest = jnp.arctan(noise_ratio(path, jnp.ones(())))
    angles = largest * linear_steps(path, steps)
    return lambdas_at(path, jnp.tan(angles))


def log_snr_steps(path: Amplitudes, steps: Count, smallest: Real = 0.002) -> Array:
    """Even in log(σ/α) down to `smallest`, then 0: `(N + 1,)`, from 1 to 0. For N = 1
    there is only the last step.
    """
    return lambdas_at(path, _even_ratios(path, steps, smallest, jnp.log, jnp.exp))


def edm_steps(
    path: Amplitudes, steps: Count, rho: Real = 7.0, smallest: Real = 0.002
) -> Array:
    """Even in (σ/α)^(1/ρ) down to `smallest`, then 0: `(N + 1,)`, from 1 to 0.

    **Arguments**: `path`, with `alpha` and `sigma`; `steps`, N; `rho`; `smallest`, the
    last σ/α above 0, in the units of the data. **Raises** `ValueError` for numbers that
    are not positive, or a `smallest` above σ/α at λ = 1.

    **Reference**: Karras et al. (NeurIPS 2022), eq. 5.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.steps import edm_steps
    from fpsolve.path.noising import Noising

    lambdas = edm_steps(Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)), 8)
    ```
    """
    check_positive("rho", rho, "Give 7, the choice of EDM.")
    root = lambda u: u ** (1 / rho)
    power = lambda u: u**rho
    return lambdas_at(path, _even_ratios(path, steps, smallest, root, power))


def schedule_steps(
    schedule: Callable[[Array], Array],
) -> Callable[[Amplitudes, Count], Array]:
    """The steps of a schedule t -> λ increasing from 0 to 1 on [0, `schedule.total`],
    in reverse and at equal times.

    The costs of theorem T21 do not depend on the direction, so that a schedule that is
    optimal towards noise is also optimal in reverse. **Returns** a function of path and
    number of steps, as `linear_steps` is.
    """
    total = getattr(schedule, "total", None)
    if not callable(schedule) or total is None:
        raise_value_error(
            "schedule",
            schedule,
            "it must be callable and have a total",
            "Give fp.schedule.optimal(path, total).",
        )

    def steps_of(path: Amplitudes, steps: Count) -> Array:
        times = total * linear_steps(path, steps)
        lambdas = jax.vmap(schedule)(times)
        # A schedule may miss its ends by rounding.
        lambdas = lambdas.at[0].set(1.0).at[-1].set(0.0)
        return jnp.clip(lambdas, 0, 1)

    return steps_of


def cost_steps(
    cost: Callable[[Array], AnyArray],
) -> Callable[[Amplitudes, Count], Array]:
    """Steps of equal ∫ √g dλ, for `cost` = √g at λ `(L,)`, positive inside (0, 1):
    `(L,)`.

    **Returns** a function of path and number of steps, as `linear_steps` is.
    **Reference**: theorem T21.
    """
    # The midpoint rule, which does not evaluate the cost at the ends, where it may
    # vanish.
    lambdas = jnp.linspace(0, 1, CONSTANTS.cost_samples)
    middles = (lambdas[1:] + lambdas[:-1]) / 2
    values = jnp.asarray(cost(middles))
    check_positive(
        "cost",
        values,
        "Give the square root of a cost that is positive along the path.",
    )
    # Up to the length of a cell, a factor that equal parts do not depend on.
    integral = jnp.concatenate([jnp.zeros(1), jnp.cumsum(values)])

    def steps_of(path: Amplitudes, steps: Count) -> Array:
        wanted = integral[-1] * linear_steps(path, steps)
        inside = jnp.interp(wanted, integral, lambdas)
        return inside.at[0].set(1.0).at[-1].set(0.0)

    return steps_of


def noise_ratio(path: Amplitudes, lam: Array) -> Array:
    """κ = σ/α."""
    return path.sigma(lam) / path.alpha(lam)


def lambdas_at(path: Amplitudes, ratios: Array) -> Array:
    """The λ with given κ `(N + 1,)`; the ends are 1 and 0 exactly."""
    levels = path
    if not is_plain(path):
        levels = read_noising(_Levels(path.alpha, path.sigma), 1)
    return _invert_ratio(levels, ratios)


class _Levels(NamedTuple):
    """The amplitudes of a path, without its density."""

    alpha: Callable[[Scalar], Array]
    sigma: Callable[[Scalar], Array]


@sampling_program
def _invert_ratio(levels: Amplitudes, ratios: Array) -> Array:
    lambdas = invert(lambda lam: noise_ratio(levels, lam), ratios)
    # Bisection misses the ends by rounding.
    return lambdas.at[0].set(1.0).at[-1].set(0.0)


def _even_ratios(
    path: Amplitudes,
    steps: Count,
    smallest: Real,
    forward: Callable[[Array], Array],
    inverse: Callable[[Array], Array],
) -> Array:
    """N values of κ from κ(1) to `smallest`, even in the coordinate `forward`(κ), and
    0, `(N + 1,)`.
    """
    check_positive("smallest", smallest, "Give 0.002, the choice of EDM.")
    largest = noise_ratio(path, jnp.ones(()))
    if not smallest < float(largest):
        raise_value_error(
            "smallest",
            smallest,
            f"it must be below sigma/alpha at the end, {float(largest):.3g}",
            "Give 0.002.",
        )
    # Even in the coordinate, then back to κ.
    ends = forward(largest), forward(jnp.asarray(smallest, dtype=float))
    ratios = inverse(jnp.linspace(*ends, _check_steps(steps)))
    # The last step goes from `smallest` to 0.
    return jnp.concatenate([ratios, jnp.zeros(1)])


def _check_steps(steps: Count) -> int:
    return check_integer("steps", steps, 1, "Give the number of steps, at least 1.")


def check_lambdas(lambdas: Numbers) -> np.ndarray:
    """`lambdas` as an array `(N + 1,)`. **Raises** `ValueError` unless they descend
    from 1 to 0.
    """
    cure = "Give linear_steps(path, 10), say."
    values = check_numbers("lambdas", lambdas, "they must be numbers", cure)
    is_list = values.ndim == 1 and len(values) >= 2
    has_ends = is_list and values[0] == 1 and values[-1] == 0
    if not (has_ends and np.all(np.diff(values) < 0)):
        raise_value_error("lambdas", lambdas, "they must descend from 1 to 0", cure)
    return values
