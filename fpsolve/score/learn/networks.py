"""Networks for a score s, the gradient of an energy or any vector field. With
y = (x - c)/ℓ, entry by entry,

    EnergyNetwork    s = -∇U
        U = Σ_i k_i y_i²/2 + f(y)           tail "quadratic": |∇f| is bounded
        U = (Σ_i k_i y_i² + δ²)^½ + f(y)    tail "linear": f is bounded
    VectorNetwork    s = -k y/ℓ + f(y)/ℓ    f is bounded

so that every one of them confines. f is a smooth multilayer perceptron (`perceptron`),
zero before training; k, δ are positive and trained, k = d + 1 and δ = 0.1 at first for
a linear tail, whose covariance is then ℓ² as well; the center c and the scale ℓ `(d,)`
are those of the samples.

Along a noising path, with v = α²ℓ² + σ² and y = (x - αc)/√v, both have the score of
noised Gaussian data, and f corrects it by what is of order one at every noise:

    s = -(x - αc)/v + αℓ/(σ√v) f(y, λ)          VectorNetwork
    U = |y|²/2 + (αℓ̄/σ) f(y, λ)                 EnergyNetwork, ℓ̄ the geometric mean of ℓ

λ enters by cos(π j u), j = 0, ..., 8, where u rises linearly with log(σ/α) from 0 to 1.
Below λ = 0.001 the score is that of 0.001. Reference: Karras et al., EDM (NeurIPS
2022), table 1 (the scaling).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.checks import check_choice, check_integer, raise_value_error
from ...core.types import Count, Key, Numbers, Point, Scalar
from ...diffusion.types import Amplitudes
from ...potential import Potential
from ...potential.leaves import Value, as_leaf, check_point
from ..constants import CONSTANTS
from ..noise_path import as_path
from ..samples.validation import check_key, check_samples
from .perceptron import Fixed, Perceptron

TAILS = ("quadratic", "linear")
# functions of λ that are inputs of a network: a free choice, part of the architecture
LAMBDA_FEATURES = 9


class NoiseLevel(NamedTuple):
    """α and σ at one λ, scalars, and the functions of λ that are inputs of a network,
    `(LAMBDA_FEATURES,)`.
    """

    alpha: Array
    sigma: Array
    features: Array


class EnergyNetwork(Potential):
    """A potential U with parameters to train, which confines for all values of these;
    score = -∇U.

    **Arguments**

    - `dim`: d; `key`: of the first parameters; `width` and `depth` of the layers
    - `timed`: whether U depends on the place λ of a noising path, which is then called
      t
    - `center`, `scale`: c and ℓ, a number or `(d,)`; `**standardised(samples)` gives
      both
    - `tail`: "quadratic", or "linear" for densities that fall off exponentially
    - `path`: with `alpha` and `sigma`, or "vp" or "ve"; of timed networks only, "vp" if
      None

    **Returns**, when called with x `(d,)`, and t if it is timed, the energy U, a
    scalar. **Raises** `ValueError` for sizes that are not positive, shapes that do not
    match, a linear tail under noise. **Keeps**: exp(-U) can be normalised; U is smooth.
    **Cost**: O(d width + depth width²) a point, the score three times that.

    ```python
    import jax
    import fpsolve as fp
    from fpsolve.score.learn.networks import EnergyNetwork

    energy = EnergyNetwork(1, key=jax.random.key(0), scale=0.7)
    fp.FokkerPlanck(energy).gibbs(fp.Grid(fp.Line(-5.0, 5.0, 64)))
    ```
    """

    network: Perceptron
    log_stiffness: Array
    log_softness: Array
    center: Fixed
    scale: Fixed
    path: Fixed
    tail: str = eqx.field(static=True)
    timed: bool = eqx.field(static=True)

    def __init__(
        self,
        dim: Count,
        *,
        key: Key,
        width: Count = 64,
        depth: Count = 2,
        timed: Any = False,
        center: Value = 0.0,
        scale: Value = 1.0,
        tail: Any = "quadratic",
        path: Amplitudes | str | None = None,
    ):
        self.center, self.scale, self.path = _frame(
            key, dim, width, depth, timed, center, scale, path
        )
        check_choice("tail", tail, TAILS)
        # α x + σ z has Gaussian tails of width σ, however the data fall off.
        if timed and tail == "linear":
            cure = 'Give tail="quadratic", or timed=False.'
            raise_value_error("tail", tail, "noise makes every tail quadratic", cure)
        self.network = Perceptron(
            dim,
            "scalar",
            width,
            depth,
            LAMBDA_FEATURES if timed else 0,
            tail == "linear",
            key,
        )
        # k = d + 1 gives exp(-|y| sqrt(k)) the covariance 1 in d dimensions, as the
        # Gaussian has.
        log_stiffness = np.log(dim + 1.0) if tail == "linear" else 0.0
        self.log_stiffness = jnp.full(dim, log_stiffness)
        self.log_softness = jnp.asarray(np.log(CONSTANTS.softness))
        self.tail = tail
        self.timed = timed

    @property
    def time_dependent(self) -> bool:
        """Whether U depends on t = λ."""
        return self.timed

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """U(x) or U(x, t), a scalar, at x of shape (d,)."""
        x = _checked(x, t, self)
        if self.timed:
            noise = _noise(self.path(), t)
            alpha = noise.alpha
            width = jnp.sqrt((alpha * self.scale()) ** 2 + noise.sigma**2)
            y = (x - alpha * self.center()) / width
            geometric_mean = jnp.exp(jnp.mean(jnp.log(self.scale())))
            amplitude = alpha * geometric_mean / noise.sigma
            return jnp.sum(y**2) / 2 + amplitude * self.network(y, noise.features)
        y = (x - self.center()) / self.scale()
        # Stiffness and softness are exponentials of parameters: positive whatever the
        # optimiser does.
        squares = jnp.sum(jnp.exp(self.log_stiffness) * y**2)
        if self.tail == "quadratic":
            return squares / 2 + self.network(y, None)
        # δ keeps the root smooth at y = 0.
        softness = jnp.exp(2 * self.log_softness)
        return jnp.sqrt(squares + softness) + self.network(y, None)

    def score(self, x: Point, t: Scalar | None = None) -> Array:
        """-∇U, `(d,)`."""
        return -jax.grad(self)(jnp.asarray(x), t)


class VectorNetwork(eqx.Module):
    """A vector field with parameters to train. It need not be a gradient, and points
    inwards far from the center.

    **Arguments**: as `EnergyNetwork`, without `tail`. **Returns**, when called with x
    `(d,)`, and t if it is timed, the score `(d,)`; `score` is the same. **Raises**
    `ValueError` as `EnergyNetwork`. **Keeps**: the field confines. **Cost**: O(d width
    + depth width²) a point.

    ```python
    import jax, jax.numpy as jnp
    from fpsolve.score.learn.networks import VectorNetwork

    field = VectorNetwork(
        64, key=jax.random.key(0), width=128, depth=3, timed=True, path="vp"
    )
    field(jnp.ones(64), 0.5).shape
    ```
    """

    network: Perceptron
    log_stiffness: Array
    center: Fixed
    scale: Fixed
    path: Fixed
    timed: bool = eqx.field(static=True)

    def __init__(
        self,
        dim: Count,
        *,
        key: Key,
        width: Count = 64,
        depth: Count = 2,
        timed: Any = False,
        center: Value = 0.0,
        scale: Value = 1.0,
        path: Amplitudes | str | None = None,
    ):
        self.center, self.scale, self.path = _frame(
            key, dim, width, depth, timed, center, scale, path
        )
        self.network = Perceptron(
            dim, dim, width, depth, LAMBDA_FEATURES if timed else 0, True, key
        )
        self.log_stiffness = jnp.zeros(dim)
        self.timed = timed

    @property
    def time_dependent(self) -> bool:
        """Whether the field depends on t = λ."""
        return self.timed

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """s(x) or s(x, t), `(d,)`, at x of shape (d,)."""
        x = _checked(x, t, self)
        center = self.center()
        scale = self.scale()
        if self.timed:
            noise = _noise(self.path(), t)
            alpha = noise.alpha
            width = jnp.sqrt((alpha * scale) ** 2 + noise.sigma**2)
            y = (x - alpha * center) / width
            correction = alpha * scale / noise.sigma * self.network(y, noise.features)
            return (correction - y) / width
        y = (x - center) / scale
        # An exponential of a parameter is positive: the field always points inwards.
        restoring = jnp.exp(self.log_stiffness) * y
        return (self.network(y, None) - restoring) / scale

    def score(self, x: Point, t: Scalar | None = None) -> Array:
        """The field itself, `(d,)`."""
        return self(x, t)


def standardised(samples: Numbers) -> dict[str, Array]:
    """The `center` and `scale` of samples `(n, d)`, mean and standard deviation of
    every axis, for a network.

    **Raises** `ValueError` for anything but samples, and for coordinates that never
    change.

    ```python
    import jax
    from fpsolve.score.learn.networks import EnergyNetwork, standardised

    samples = 3.0 + 0.1 * jax.random.normal(jax.random.key(0), (500, 2))
    energy = EnergyNetwork(2, key=jax.random.key(1), **standardised(samples))
    ```
    """
    samples = check_samples(samples)
    deviations = samples.std(axis=0)
    constant = np.flatnonzero(~(deviations > 0))
    if constant.size:
        allowed = (
            f"coordinate {int(constant[0])} never changes, one of {constant.size} that "
            "do not"
        )
        cure = "Leave such coordinates out, or add a little noise to them."
        raise_value_error("samples", samples.shape, allowed, cure)
    return {
        "center": jnp.asarray(samples.mean(axis=0)),
        "scale": jnp.asarray(deviations),
    }


def _frame(
    key: Key,
    dim: Count,
    width: Count,
    depth: Count,
    timed: object,
    center: Value,
    scale: Value,
    path: Amplitudes | str | None,
) -> tuple[Fixed, ...]:
    """The checked center, scale and path of a network."""
    check_integer("dim", dim, 1, "Give the number of coordinates.")
    check_integer("width", width, 1, "Give the number of functions of a layer, 64 say.")
    check_integer("depth", depth, 1, "Give the number of layers, 2 say.")
    check_key(key)
    if not isinstance(timed, bool):
        cure = "Give True for a score along a noising path."
        raise_value_error("timed", timed, "it must be True or False", cure)
    if path is not None and not timed:
        allowed = "a network without time has no path"
        cure = "Give timed=True, or leave the path out."
        raise_value_error("path", path, allowed, cure)
    shift = as_leaf("center", center, (0, 1))
    length = as_leaf("scale", scale, (0, 1), positive=True)
    # One number serves all coordinates; else there is one for each.
    for name, leaf in (("center", shift), ("scale", length)):
        if leaf.shape not in ((), (1,), (dim,)):
            allowed = f"it must be a number or ({dim},)"
            cure = "Give standardised(samples)."
            raise_value_error(name, leaf.shape, allowed, cure)
    # The precision that JAX has now: the parameters are made in it, too.
    dtype = jnp.zeros(()).dtype
    fixed = [
        Fixed(jnp.broadcast_to(leaf, (dim,)).astype(dtype)) for leaf in (shift, length)
    ]
    if not timed:
        return *fixed, Fixed(None)
    return *fixed, Fixed(as_path("vp" if path is None else path))


def _checked(
    x: Point, t: Scalar | None, network: EnergyNetwork | VectorNetwork
) -> Array:
    """x as an array. **Raises** `ValueError` for another shape, and for a timed network
    without t.
    """
    check_point(x, network.log_stiffness.shape[0], "as the network has it")
    if network.timed and t is None:
        allowed = "this network belongs to a path and needs the place on it"
        raise_value_error("t", t, allowed, "Give t = λ, in [0, 1].")
    return jnp.asarray(x)


def _noise(path: Amplitudes, lam: Scalar | None) -> NoiseLevel:
    """The noise level at λ, or at `lambda_min` if λ is smaller."""
    # At λ = 0 the logarithm of σ is infinite, and so is its derivative.
    lowest = CONSTANTS.lambda_min
    lam = jnp.maximum(jnp.asarray(lam, dtype=float), lowest)

    def log_ratio(lam: Array) -> Array:
        """log(σ/α), finite where α vanishes."""
        alpha = jnp.maximum(path.alpha(lam), CONSTANTS.alpha_min)
        return jnp.log(path.sigma(lam)) - jnp.log(alpha)

    low = log_ratio(jnp.asarray(lowest))
    high = log_ratio(jnp.asarray(1.0))
    # The noise spans orders of magnitude: the logarithm spreads the levels evenly.
    place = (log_ratio(lam) - low) / (high - low)
    features = jnp.cos(jnp.pi * place * jnp.arange(LAMBDA_FEATURES))
    return NoiseLevel(path.alpha(lam), path.sigma(lam), features)
