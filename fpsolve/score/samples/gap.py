"""The spectral gap from samples alone, in any dimension: an upper bound with its
standard error.

    Δ = min_f D E_p|∇f|² / Var_p f                                  (theorem T5)
    Δ ≤ R(f) = D E_p|∇f|² / Var_p f    for any f

The samples are divided into two halves, and every half has two turns (two-fold
cross-fitting):

    training     4/5 of one half: f is fitted                        (`rayleigh`)
    validation   1/5 of the same half: the family of f is chosen     (`search`)
    test         the other half: R(f) is measured

The test half has not been used to find f, so the mean of the two R is an unbiased
estimate, to leading order in 1/n, of a number that is at least Δ. With N = |∇f|², V =
(f - E f)² and hats for means over a half of n samples, the standard error of R = D
N̂/V̂ is that of the mean of

    r_i = (D N_i - R V_i) / V̂        (delta method)

D is the diffusion constant, Δ has the unit 1/time. Only samples are needed, neither the
potential nor the score.

References: theorem T5 of this library; Koehler, Heckett and Risteski (ICLR 2023) for
what the gap means for scores.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.checks import check_numbers, check_positive, raise_value_error
from ...core.program import public_function
from ...core.types import Formula, Key, Numbers, Real
from ..constants import CONSTANTS
from .rayleigh import Observable, Quotient, rayleigh_quotient
from .search import FAMILIES, Choice, search
from .validation import check_key, check_samples


class Estimate(eqx.Module):
    """An upper bound on a gap: `value` and its standard `error`, scalars; `observable`,
    the slowest function found; `ends` (2, 16, d), samples from the lowest and the
    highest twentieth of its values; `family`, whose features had the least quotient.
    """

    value: Array
    error: Array
    observable: Observable
    ends: Array
    family: str = eqx.field(static=True)


class Fold(NamedTuple):
    """Where the samples of each role lie in the shuffled order. `training` and
    `validation` are one half, `test` is the other.
    """

    training: slice
    validation: slice
    test: slice


class Division(NamedTuple):
    """The samples shuffled and divided: `order` `(m,)` of the samples, the group number
    of each in that order `group_ranks` `(m,)`, which ascends, and the two `folds`.
    """

    order: np.ndarray
    group_ranks: np.ndarray
    folds: tuple[Fold, Fold]


@public_function
def sampled_gap(
    samples: Numbers,
    *,
    key: Key,
    features: str | Formula | None = None,
    diffusion: Real = 1.0,
    groups: Numbers | None = None,
) -> Estimate:
    """An upper bound on the spectral gap of the Langevin process whose stationary
    density the samples are drawn from.

    The process is dX = D ∇log p dt + √(2D) dW. The samples are divided into two halves,
    each of which is once the training half and once the test half. On the training half
    f is fitted, with a fifth of it as validation samples that choose among families of
    features; on the test half R(f) is measured.

    **Arguments**

    - `samples`: `(n, d)`, independent draws of p, in any order; n at least 20 d + 100
    - `key`: of `jax.random`; the halves and the random features follow from it
    - `features`: "linear", the coordinates; "line", splines along the slowest line
      through them; "kernel", random waves of a Gaussian kernel; "network", one hidden
      layer; a function x `(d,)` -> `(m,)` of your own, differentiable; or None, the
      best of the four
    - `diffusion`: D, positive
    - `groups`: `(n,)` integers, the same for samples that belong together, as noisy
      copies of one datum or a stretch of one chain do: a group is never divided between
      the halves, and its samples count as one draw for the error

    **Returns** an `Estimate`. **Raises** `ValueError` for samples that are not finite
    or not `(n, d)`, too few of them, features of another shape, not finite or all
    constant.

    **Keeps**: the value is an unbiased estimate, to order 1/n, of a number at or above
    the gap, whatever was found. How far above is not known: a bottleneck without
    samples cannot be found. **Cost**: of the order of 10⁴ n (m² + m d) operations at
    most, m some 70 functions; seconds for 60,000 samples in ten dimensions.

    **Reference**: theorem T5 of this library.

    ```python
    import jax
    from fpsolve.score.samples.gap import sampled_gap

    samples = jax.random.normal(jax.random.key(0), (4000, 2)) * jax.numpy.array(
        [1.0, 2.0]
    )
    found = sampled_gap(samples, key=jax.random.key(1), features="linear")
    found.value, found.error, found.observable(samples[0])
    ```
    """
    array = check_enough(samples)
    check_key(key)
    cure = "Give the diffusion constant of the process."
    check_positive("diffusion", diffusion, cure)
    is_family = isinstance(features, str) and features in FAMILIES
    if features is not None and not callable(features) and not is_family:
        allowed = f"it must be a function, None or one of {', '.join(FAMILIES)}"
        cure = "Give None, which tries them all."
        raise_value_error("features", features, allowed, cure)
    groups_of_samples = _number_groups(groups, len(array))
    if callable(features):
        _check_features(features, array)

    # Two turns: each half is once the training and validation samples, once the test
    # samples.
    division_key, search_key = jax.random.split(key)
    division = _divide(groups_of_samples, division_key)
    x = jnp.asarray(array)[division.order]
    choices: list[Choice] = []
    quotients: list[Quotient] = []
    for k, fold in enumerate(division.folds):
        fold_key = jax.random.fold_in(search_key, k)
        choice = search(x[fold.training], x[fold.validation], features, fold_key)
        choices.append(choice)
        # Ranks ascend: less the first one they number the groups of the half from 0.
        ranks = division.group_ranks[fold.test]
        groups_of_test = jnp.asarray(ranks - ranks[0])
        quotients.append(
            rayleigh_quotient(choice.observable, x[fold.test], groups_of_test)
        )
    value = (quotients[0].value + quotients[1].value) / 2
    error = jnp.hypot(quotients[0].error, quotients[1].error) / 2
    # The observable that is reported is chosen by its validation quotient: the test
    # quotients stay unbiased.
    best = min(choices, key=lambda choice: float(choice.quotient))
    ends = _end_samples(best.observable, x)
    return Estimate(
        diffusion * value, diffusion * error, best.observable, ends, best.family
    )


def check_enough(samples: Numbers, numbers: int | None = None) -> np.ndarray:
    """Samples `(n, d)` as an array of floats. **Raises** `ValueError` unless n is at
    least 20 times the `numbers` to be fitted (d if None) and 100 more, and for samples
    that are all the same.
    """
    array = check_samples(samples)
    fitted = array.shape[1] if numbers is None else numbers
    needed = CONSTANTS.samples_per_number * fitted + CONSTANTS.samples_min
    if len(array) < needed:
        allowed = (
            f"they are too few to fit {fitted} coefficients, it takes {needed} at least"
        )
        cure = "Give more samples, or fewer coordinates or features."
        raise_value_error("len(samples)", len(array), allowed, cure)
    if not np.any(np.ptp(array, axis=0) > 0):
        cure = "Give draws of a density."
        raise_value_error("samples", samples, "they are all the same", cure)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def _check_features(features: Formula, array: np.ndarray) -> None:
    """Raise `ValueError` for features of a wrong shape, too many for the samples, not
    finite or all constant.
    """
    # A thousand samples, evenly spread, are enough to find a bad function.
    some = jnp.asarray(array[:: max(1, len(array) // 1000)])
    shape = jax.eval_shape(lambda x: jnp.asarray(features(x)), some[0])
    is_vector = shape.ndim == 1 and shape.shape[0] > 0
    if not is_vector or not jnp.issubdtype(shape.dtype, jnp.floating):
        allowed = (
            f"it returns {shape.dtype} of shape {shape.shape}, it must be real (m,)"
        )
        raise_value_error("features", features, allowed, "Return one vector.")
    check_enough(array, shape.shape[0])
    values = np.asarray(jax.vmap(lambda x: jnp.asarray(features(x)))(some))
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        allowed = (
            f"feature {column} is {values[row, column]} at x = {np.asarray(some[row])}"
        )
        raise_value_error("features", features, allowed, "Return finite numbers.")
    # Relative to its size: a feature that varies by rounding only is constant.
    rounding = CONSTANTS.constant_feature * np.max(np.abs(values), axis=0)
    if not np.any(np.ptp(values, axis=0) > rounding):
        allowed = "every feature is constant over the samples"
        cure = "Return functions that vary, as x itself does."
        raise_value_error("features", features, allowed, cure)


def _number_groups(groups: Numbers | None, n: int) -> np.ndarray:
    """The group of each sample `(n,)`, numbered 0, 1, ...; every sample is a group of
    its own if `groups` is None.
    """
    if groups is None:
        return np.arange(n)
    cure = "Give one integer a sample."
    array = check_numbers("groups", groups, "they must be integers (n,)", cure)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer):
        allowed = f"they must be {n} integers, one a sample"
        raise_value_error("groups", groups, allowed, cure)
    names, members = np.unique(array, return_inverse=True)
    cure = "Give smaller groups."
    if len(names) < CONSTANTS.samples_min:
        allowed = (
            f"there are {len(names)}, and at least {CONSTANTS.samples_min} are needed"
        )
        raise_value_error("groups", groups, allowed, cure)
    # A large group cannot be divided, and would make the halves unequal.
    largest = int(np.max(np.bincount(members)))
    if largest > CONSTANTS.group_fraction_max * n:
        allowed = f"one of them has {largest} of {n} samples"
        raise_value_error("groups", groups, allowed, cure)
    return members


def _divide(members: np.ndarray, key: Array) -> Division:
    """Shuffle the groups, keep the samples of each together, and cut the samples into
    halves and these into training and validation, always between two groups.
    """
    count = int(members.max()) + 1
    ranks = np.asarray(jax.random.permutation(key, count))[members]
    order = np.argsort(ranks, kind="stable")
    # in the first 1, 2, ... groups
    samples_before = np.cumsum(np.bincount(ranks, minlength=count))

    def cut(most: float) -> int:
        """The last end of a group at or before `most` samples."""
        groups = np.searchsorted(samples_before, most, side="right")
        return int(samples_before[groups - 1])

    half = cut(len(members) / 2)
    # Equal halves: the mean of the two quotients has then the least variance.
    order = order[: 2 * half]
    part = CONSTANTS.training_fraction
    first_cut = cut(part * half)
    second_cut = cut((1 + part) * half)
    lower, upper = slice(0, half), slice(half, 2 * half)
    folds = (
        Fold(
            training=slice(0, first_cut), validation=slice(first_cut, half), test=upper
        ),
        Fold(
            training=slice(half, second_cut),
            validation=slice(second_cut, 2 * half),
            test=lower,
        ),
    )
    return Division(order, ranks[order], folds)


def _end_samples(observable: Observable, samples: Array) -> Array:
    """(2, 16, d), evenly from the lowest and from the highest twentieth of f, the
    outermost first.
    """
    order = np.argsort(np.asarray(observable.over(samples)), kind="stable")
    count = CONSTANTS.end_count
    last = max(int(CONSTANTS.end_fraction * len(order)), count) - 1
    places = np.linspace(0, last, count).astype(int)
    return samples[np.stack([order[places], order[::-1][places]])]
