"""The spectral gap from samples alone, in any dimension: an upper bound with its standard error.

    Δ = min_f D E_p|∇f|² / Var_p f  ≤  R(f) = D E_p|∇f|² / Var_p f        for any f (theorem T5)

f is sought on one half of the samples and R(f) measured on the other, then the halves change places: each half is
blind to the f it judges, so the mean of the two R is an unbiased estimate, to leading order in 1/n, of a number that is
at least Δ. With N = |∇f|², V = (f - E f)², hats for means over a half of n samples, the standard error of R = D N̂/V̂
is that of the mean of

    r_i = (D N_i - R V_i) / V̂        (delta method)

D is the diffusion constant, Δ has the unit 1/time. Only samples are asked for; neither the potential nor the score.

References: theorem T5 of this library; Koehler, Heckett and Risteski (ICLR 2023) for what the gap means for scores.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ...core.checks import check_numbers, check_positive, raise_value_error
from ...core.program import compiled, full_precision
from ...core.types import Real
from .features import Features, Given, Lines, Ridges, covariance, independent, linear, lines, network, principal, waves
from .validation import check_key, check_samples

FAMILIES = ("linear", "line", "kernel", "network")
PER_NUMBER, LEAST = 20, 100  # samples at least: for each coordinate or feature, and beyond those
KNOTS, WAVES, NEXT = 12, 200, 20  # functions along a line, of a kernel; best lines that a network starts with
ENOUGH = 8192  # samples to compare directions with
FEW, PLACES = 5.0, 1000  # samples imagined between the others, and where
PAIRS = 32  # lines through two samples that are tried
PART = 0.8  # of a half, on which f is fitted
WIDTHS = (0.5, 1.0, 2.0)  # of kernels, in median distances
CHUNK, MOST, PATIENCE, GAIN = 4, 40, 2, 1e-3  # steps of descent between two looks at the part put aside; looks;
# those in vain; the gain that is one
FLAT = 1e-6  # of all variance, below which a direction is not widened
RANK = 1e3  # times rounding: combinations of features of less variance are not seen
ENDS, SHARE = 16, 0.05  # samples shown of either end, and how much of the samples an end is
OPTIMISER: Any = optax.lbfgs()


class Observable(eqx.Module):
    """f(x) = Σ a_j φ_j(x) - c, of mean 0 and variance 1: `features` φ, `coefficients` a (m,), `constant` c."""

    features: Features
    coefficients: Array
    constant: Array

    def __call__(self, x: Any) -> Array:
        """f(x), a scalar, at the point x of shape (d,)."""
        return self.features(jnp.asarray(x)) @ self.coefficients - self.constant

    def over(self, samples: Array) -> Array:
        """f at every sample, (n,)."""
        return self.features.values(samples) @ self.coefficients - self.constant


class Estimate(eqx.Module):
    """An upper bound on a gap: `value` and its standard `error`, scalars; `observable`, the slowest function found;
    `ends` (2, 16, d), samples from the lowest and the highest twentieth of its values; `family`, which features won."""

    value: Array
    error: Array
    observable: Observable
    ends: Array
    family: str = eqx.field(static=True)


@full_precision
def sampled_gap(
    samples: Any,
    *,
    key: Any,
    features: Any = None,
    diffusion: Real = 1.0,
    groups: Any = None,
) -> Estimate:
    """An upper bound on the spectral gap of the Langevin process whose stationary law the samples are drawn from.

    The process is dX = D ∇log p dt + √(2D) dW. Two halves of the samples take turns: on the one f is found, and among
    families of features chosen by a fifth of it that is put aside; on the other R(f) is measured.

    **Arguments**

    - `samples`: `(n, d)`, independent draws of p, in any order; n at least 20 d + 100
    - `key`: of `jax.random`; the halves and the random features follow from it
    - `features`: "linear", the coordinates; "line", splines along the slowest line through them; "kernel", random waves
      of a Gaussian kernel; "network", one hidden layer; a function x `(d,)` -> `(m,)` of your own, differentiable; or
      None, the best of the four
    - `diffusion`: D, positive
    - `groups`: `(n,)` integers, the same for samples that belong together, as noisy copies of one datum or a stretch
      of one chain do: a group is never divided between the halves, and its samples count as one draw for the error

    **Returns** an `Estimate`. **Raises** `ValueError` for samples that are not finite or not `(n, d)`, too few of them,
    features of another shape, not finite or all constant.

    **Keeps**: the value is an unbiased estimate, to order 1/n, of a number at or above the gap, whatever was found. How
    far above is not known: a bottleneck that no sample shows is not seen. **Cost**: of the order of 10⁴ n (m² + m d)
    operations at most, m some 70 functions; seconds for 60,000 samples in ten dimensions.

    **Reference**: theorem T5 of this library.

    ```python
    import jax
    from fpsolve.score.samples.gap import sampled_gap

    samples = jax.random.normal(jax.random.key(0), (4000, 2)) * jax.numpy.array([1.0, 2.0])
    found = sampled_gap(samples, key=jax.random.key(1), features="linear")
    found.value, found.error, found.observable(samples[0])
    ```
    """
    array = enough(samples)
    check_key(key)
    check_positive("diffusion", diffusion, "Give the diffusion constant of the process.")
    if not (features is None or callable(features) or (isinstance(features, str) and features in FAMILIES)):
        allowed = f"it must be a function, None or one of {', '.join(FAMILIES)}"
        raise_value_error("features", features, allowed, "Give None, which tries them all.")
    members = _members(groups, len(array))
    if callable(features):
        _check_features(features, array)
    first, second = jax.random.split(key)
    order, ranks, cuts = _halves(members, first)
    x = jnp.asarray(array)[order]
    folds = []
    for k, (own, other) in enumerate(
        ((slice(0, cuts[1]), slice(cuts[1], 2 * cuts[1])), (slice(cuts[1], 2 * cuts[1]), slice(0, cuts[1])))
    ):
        aside = cuts[0] if k == 0 else cuts[2] - cuts[1]
        found = _search(x[own][:aside], x[own][aside:], features, jax.random.fold_in(second, k))
        folds.append((*found, *_quotient(found[0], x[other], jnp.asarray(ranks[other] - ranks[other][0]))))
    value, error = (folds[0][3] + folds[1][3]) / 2, jnp.hypot(folds[0][4], folds[1][4]) / 2
    observable, _, family = min(folds, key=lambda fold: float(fold[1]))[:3]
    ends = _ends(observable, x)
    return Estimate(diffusion * value, diffusion * error, observable, ends, family)


def enough(samples: Any, numbers: int | None = None) -> np.ndarray:
    """Samples `(n, d)`, n at least 20 times the `numbers` to be fitted (d if None) and 100, or a refusal."""
    array = check_samples(samples)
    fitted: int = array.shape[1] if numbers is None else numbers
    needed = PER_NUMBER * fitted + LEAST
    if len(array) < needed:
        allowed = f"they are too few to fit {fitted} coefficients, it takes {needed} at least"
        raise_value_error("len(samples)", len(array), allowed, "Give more samples, or fewer coordinates or features.")
    if not np.any(np.ptp(array, axis=0) > 0):
        raise_value_error("samples", samples, "they are all the same", "Give draws of a density.")
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def _check_features(features: Callable[[Any], Any], array: np.ndarray) -> None:
    """Refuse features of a wrong shape, too many for the samples, not finite or all constant."""
    few = jnp.asarray(array[:: max(1, len(array) // 1000)])
    shape = jax.eval_shape(lambda x: jnp.asarray(features(x)), few[0])
    if shape.ndim != 1 or shape.shape[0] == 0 or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise_value_error(
            "features",
            features,
            f"it returns {shape.dtype} of shape {shape.shape}, it must be real (m,)",
            "Return one vector.",
        )
    enough(array, shape.shape[0])
    values = np.asarray(jax.vmap(lambda x: jnp.asarray(features(x)))(few))
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        where = np.asarray(few[bad[0][0]])
        raise_value_error(
            "features",
            features,
            f"feature {bad[0][1]} is {values[tuple(bad[0])]} at x = {where}",
            "Return finite numbers.",
        )
    if not np.any(np.ptp(values, axis=0) > 1e-9 * np.max(np.abs(values), axis=0)):
        raise_value_error(
            "features", features, "every feature is constant over the samples", "Return what varies, as x itself does."
        )


def _members(groups: Any, n: int) -> np.ndarray:
    """The group of each sample (n,), numbered 0, 1, ..."""
    if groups is None:
        return np.arange(n)
    cure = "Give one integer a sample."
    array = check_numbers("groups", groups, "they must be integers (n,)", cure)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer):
        raise_value_error("groups", groups, f"they must be {n} integers, one a sample", cure)
    names, members = np.unique(array, return_inverse=True)
    if len(names) < LEAST:
        raise_value_error(
            "groups", groups, f"there are {len(names)}, and at least {LEAST} are needed", "Give smaller groups."
        )
    largest = int(np.max(np.bincount(members)))
    if largest > 0.1 * n:
        raise_value_error("groups", groups, f"one of them has {largest} of {n} samples", "Give smaller groups.")
    return members


def _halves(members: np.ndarray, key: Array) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int]]:
    """An order of the samples in which groups stay together, the groups' places in it, and where to cut it: before the
    part put aside of the first half, before the second half, before the part put aside of that."""
    count = int(members.max()) + 1
    ranks = np.asarray(jax.random.permutation(key, count))[members]
    order = np.argsort(ranks, kind="stable")
    filled = np.cumsum(np.bincount(ranks, minlength=count))  # samples in the first groups
    cut = lambda most: int(filled[np.searchsorted(filled, most, side="right") - 1])
    half = cut(len(members) / 2)
    order = order[: 2 * half]
    return order, ranks[order], (cut(PART * half), half, cut((1 + PART) * half))


def _search(first: Array, second: Array, features: Any, key: Array) -> tuple[Observable, Array, str]:
    """The slowest f on the `first` samples, by the features that the `second` like best, its quotient and family.

    Directions and the width of the kernel are looked for on some of the first."""
    if callable(features):
        return (*judge(Given(features), first, second), "given")
    few = _some(first)
    chosen = FAMILIES if features is None else (features,)
    found = {}
    if "linear" in chosen:
        found["linear"] = judge(linear(first), first, second)
    if "kernel" in chosen:
        distance = jnp.median(jnp.linalg.norm(few[:1000] - few[::-1][:1000], axis=1))
        apart = jax.random.fold_in(key, 1)
        tried = [waves(few, width * distance, WAVES, apart) for width in WIDTHS]
        best = min(tried, key=lambda features: float(judge(features, few, second)[1]))
        found["kernel"] = judge(best, first, second)
    if "line" in chosen or "network" in chosen:
        directions = _directions(first, second, key)
        if "line" in chosen:
            found["line"] = descend(lines(directions[:1], first, KNOTS), first, second)
        if "network" in chosen:
            found["network"] = descend(network(directions[:NEXT], first, KNOTS, key), first, second)
    name = min(found, key=lambda name: float(found[name][1]))
    return (*found[name], name)


def _ends(observable: Observable, samples: Array) -> Array:
    """(2, 16, d), evenly from the lowest and from the highest twentieth of f, the outermost first."""
    order = np.argsort(np.asarray(observable.over(samples)), kind="stable")
    places = np.linspace(0, max(int(SHARE * len(order)), ENDS) - 1, ENDS).astype(int)
    return samples[np.stack([order[places], order[::-1][places]])]


def _some(samples: Array) -> Array:
    """Every sample, or every other, third, ..., some thousands in all."""
    return samples[:: -(-len(samples) // ENOUGH)]


@compiled
def _directions(first: Array, second: Array, key: Array) -> Array:
    """Lines along which a spline is slow, the slowest first: among the principal directions, the independent ones, and
    those between two samples, as they are and as Fisher's discriminant turns them."""
    samples = _some(first)
    spread = covariance(samples)
    axes = principal(spread)
    pairs = samples[jax.random.randint(key, (2, PAIRS), 0, len(samples))]
    apart = pairs[0] - pairs[1]
    variances = jnp.maximum(jnp.sum((axes @ spread) * axes, axis=1), FLAT * jnp.trace(spread))
    fisher = apart @ axes.T / variances @ axes
    tried = jnp.concatenate([axes, independent(first), apart, fisher])
    tried = tried / jnp.linalg.norm(tried, axis=1, keepdims=True)
    quotients = jax.lax.map(lambda one: judge(lines(one[None], samples, KNOTS).written(), samples, second)[1], tried)
    return tried[jnp.argsort(quotients)]


@compiled
def _quotient(observable: Observable, samples: Array, groups: Array) -> tuple[Array, Array]:
    """R(f) at D = 1 on the samples and its standard error; samples of one group `(n,)`, 0..n-1, count as one draw."""
    f = observable.over(samples)
    squares, slopes = (f - jnp.mean(f)) ** 2, observable.features.slopes(samples, observable.coefficients)
    variance = jnp.sum(squares) / (len(f) - 1)
    value = jnp.mean(slopes) / variance
    influence = jax.ops.segment_sum((slopes - value * squares) / variance, groups, len(f))
    return value, jnp.sqrt(jnp.sum(influence**2)) / len(f)


def slowest(features: Features, samples: Array) -> Observable:
    """The f of least quotient on the samples, among the combinations of the features."""
    means, covariance, products = moments(features, samples)
    coefficients = least(covariance, products)
    return Observable(features, coefficients, coefficients @ means)


def moments(features: Features, samples: Array) -> tuple[Array, Array, Array]:
    """E φ (m,), C = Cov φ and K = E[∇φ·∇φ], (m, m), K with a few samples more, spread over what lies between two:
    where none of n samples is, up to some few of n + 1 may be."""
    values, n = features.values(samples), len(samples)
    means = jnp.mean(values, axis=0)
    values = values - means
    spread = features.products(between(samples))
    return means, values.T @ values / (n - 1), features.products(samples) + FEW / n * spread


def between(samples: Array) -> Array:
    """Points on the way from one sample to another, `(PLACES, d)`."""
    one, other = jax.random.randint(jax.random.key(0), (2, PLACES), 0, len(samples))
    shares = (jnp.arange(PLACES, dtype=samples.dtype)[:, None] + 0.5) / PLACES
    return samples[one] + shares * (samples[other] - samples[one])


def least(covariance: Array, products: Array) -> Array:
    """The a (m,) with aᵀC a = 1 of least aᵀK a, where C is seen above rounding."""
    diagonal = jnp.diagonal(covariance)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    variances, axes = jnp.linalg.eigh(covariance / scale / scale[:, None])
    seen = variances > RANK * jnp.finfo(variances.dtype).eps * variances[-1]
    whiten = jnp.where(seen, axes / jnp.sqrt(jnp.where(seen, variances, 1)), 0) / scale[:, None]
    energy = whiten.T @ products @ whiten
    energy = energy + jnp.diag(jnp.where(seen, 0, 2 * jnp.trace(energy) + 1))
    return whiten @ jnp.linalg.eigh(energy)[1][:, 0]


def train_quotient(features: Features, samples: Array) -> Array:
    """The least quotient on the samples; its slope in the features' own parameters is that at the best a held still."""
    _, covariance, products = moments(features, samples)
    a = jax.lax.stop_gradient(least(*jax.lax.stop_gradient((covariance, products))))
    return a @ products @ a / (a @ covariance @ a)


def descend(model: Lines | Ridges, first: Array, second: Array) -> tuple[Observable, Array]:
    """Features whose numbers go down the quotient of the `first` samples, as long as that of the `second` falls."""
    best, state, vain = judge(model.written(), first, second), OPTIMISER.init(model), 0
    for _ in range(MOST):
        model, state = _advance(model, state, first)
        found = judge(model.written(), first, second)
        vain = 0 if found[1] < best[1] * (1 - GAIN) else vain + 1
        best = found if found[1] < best[1] else best
        if vain == PATIENCE:
            break
    return best


@compiled
def judge(features: Features, first: Array, second: Array) -> tuple[Observable, Array]:
    """The slowest f on the `first` samples and its quotient on the `second`."""
    observable = slowest(features, first)
    return observable, _quotient(observable, second, jnp.arange(len(second)))[0]


@compiled
def _advance(model: Any, state: Any, samples: Array) -> tuple[Any, Any]:
    loss = lambda model: train_quotient(model.written(), samples)
    value_and_slope = optax.value_and_grad_from_state(loss)

    def step(carry: Any, _: None) -> tuple[Any, None]:
        model, state = carry
        value, slope = value_and_slope(model, state=state)
        change, state = OPTIMISER.update(slope, state, model, value=value, grad=slope, value_fn=loss)
        return (optax.apply_updates(model, change), state), None

    return jax.lax.scan(step, (model, state), None, length=CHUNK)[0]
