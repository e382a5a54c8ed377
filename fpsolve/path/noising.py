"""The path of diffusion models from data to noise, for a Gaussian mixture, whose
densities are all known exactly:

X_λ = α(λ) X₀ + σ(λ) N,      p_λ = Σ_k w_k N(α m_k, α² C_k + σ²)
U_λ = -log p_λ,              score = -∇U_λ

dX = f dλ + g dW,    f = (α'/α) x,    g² = (σ²)' - 2 (α'/α) σ²   the forward process
v = f - (g²/2) ∇log p_λ,    d_λ p = -div(p v)                    its probability flow

"vp"   α² = exp(-B), σ² = 1 - α², B = β_min λ + (β_max - β_min) λ²/2
       f = -β x / 2,  g² = β = B'
"ve"   α = 1, σ = σ_max λ
       f = 0,         g² = 2 σ_max² λ

λ = 0 is the data and λ = 1 noise; X₀ and x have d entries, N is standard normal.
Reference: Song et al., Score-based generative modeling through SDEs (ICLR 2021),
section 3.4; Karras et al., EDM (NeurIPS 2022), for σ proportional to λ.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.checks import check_choice, raise_value_error
from ..core.types import Formula, Point
from ..potential.leaves import Value, as_leaf
from ..potential.mixture import GaussianMixture
from .parameter import as_lambda


class Noise(eqx.Module):
    """The noise schedule: the factor α(λ) of the data and the standard deviation σ(λ)
    of the noise; abstract.
    """

    @abc.abstractmethod
    def integrated_beta(self, lam: Array) -> Array:
        """B = -log α², 0 at λ = 0."""

    @abc.abstractmethod
    def variance(self, lam: Array) -> Array:
        """σ², 0 at λ = 0."""


class VariancePreserving(Noise):
    """α² = exp(-B), σ² = 1 - α², B' = β linear from `beta_min` to `beta_max`; by
    default α(1) = 0.0066.
    """

    beta_min: Array
    beta_max: Array

    def __init__(self, beta_min: Value = 0.1, beta_max: Value = 20.0):
        self.beta_min = as_leaf("beta_min", beta_min, positive=True)
        self.beta_max = as_leaf("beta_max", beta_max, positive=True)

    def integrated_beta(self, lam: Array) -> Array:
        """B = β_min λ + (β_max - β_min) λ²/2."""
        return (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * lam) * lam

    def variance(self, lam: Array) -> Array:
        """σ² = 1 - exp(-B)."""
        # `expm1` avoids the cancellation of 1 - exp(-B) near λ = 0, where σ² is small.
        return -jnp.expm1(-self.integrated_beta(lam))


class VarianceExploding(Noise):
    """α = 1, σ = `sigma_max` λ."""

    sigma_max: Array

    def __init__(self, sigma_max: Value = 10.0):
        self.sigma_max = as_leaf("sigma_max", sigma_max, positive=True)

    def integrated_beta(self, lam: Array) -> Array:
        """B = 0."""
        return 0.0 * lam

    def variance(self, lam: Array) -> Array:
        """σ² = (σ_max λ)²."""
        return (self.sigma_max * lam) ** 2


# The noise schedules by their names, and the arguments of each.
_KINDS = {
    "vp": (VariancePreserving, ("beta_min", "beta_max")),
    "ve": (VarianceExploding, ("sigma_max",)),
}


class Noising(eqx.Module):
    """A Gaussian mixture under growing noise: λ -> U_λ = -log p_λ, data at λ = 0, noise
    at λ = 1.

    At diffusion 1 the Gibbs density of U_λ is p_λ itself, with Z = 1. Scores,
    velocities and rates are per unit λ.

    **Arguments**
     * `mixture` the data, an `fp.GaussianMixture`.
     * `kind`: "vp" (variance preserving), α² + σ² = 1, or "ve" (variance exploding), α
       = 1.
     * `beta_min`, `beta_max` (of "vp"): the noise rate β at λ = 0 and 1, positive; by
       default 0.1 and 20, the values of Song et al., which give α(1) = 0.0066.
     * `sigma_max` (of "ve"): σ(1), positive; by default 10. Choose it well above the
       spread of the data.

    **Returns**, when called with a number λ in [0, 1], a `GaussianMixture`.

    **Raises** `ValueError` if the data are not a Gaussian mixture, for another kind,
    and for numbers that are not positive or that belong to the other kind; when called,
    unless λ is a number.

    **Keeps**: ∫ exp(-U_λ) dx = 1; p_0 is the data exactly; potentials, scores and
    velocities and their derivatives are finite at both ends (only σ itself, ∝ √λ near 0
    for "vp", is not smooth there). **Cost**: that of the mixture, O(m d) per point, O(m
    d²) with matrices.

    ```python
    import jax.numpy as jnp
    from fpsolve.path import Noising
    from fpsolve.potential import GaussianMixture

    path = Noising(GaussianMixture([[-2.0], [2.0]], 0.25), "vp")
    (
        path(0.3)(jnp.ones(1)),
        path.score(jnp.ones(1), 0.3),
        path.velocity(jnp.ones(1), 0.3),
        path.log_snr(0.3),
    )
    ```
    """

    mixture: GaussianMixture
    noise: Noise

    def __init__(
        self,
        mixture: Any,
        kind: Any = "vp",
        *,
        beta_min: Value | None = None,
        beta_max: Value | None = None,
        sigma_max: Value | None = None,
    ):
        if not isinstance(mixture, GaussianMixture):
            allowed = (
                "it must be an fp.GaussianMixture, whose density under noise is known"
            )
            raise_value_error(
                "mixture",
                mixture,
                allowed,
                "Give fp.GaussianMixture(means, covariances, weights).",
            )
        check_choice("kind", kind, tuple(_KINDS))
        noise, names = _KINDS[kind]
        # Only the numbers of this kind may be given.
        numbers = {"beta_min": beta_min, "beta_max": beta_max, "sigma_max": sigma_max}
        given = {name: value for name, value in numbers.items() if value is not None}
        for name in given:
            if name not in names:
                raise_value_error(
                    name,
                    given[name],
                    f"kind {kind!r} has no such number",
                    f"Give {' and '.join(names)}, or none.",
                )
        # What is not given has the default of its schedule.
        self.mixture = mixture
        self.noise = noise(**given)

    def __call__(self, lam: Value) -> GaussianMixture:
        """U_λ = -log p_λ: the mixture of means α m_k and covariances α² C_k + σ²."""
        lam = as_lambda(lam)
        alpha = self.alpha(lam)
        variance = self.noise.variance(lam)
        data = self.mixture
        # To matrices the noise adds a multiple of the identity, to variances (one, per
        # component, per axis) a number.
        if data.covariances.ndim == 3:
            variance = variance * jnp.eye(data.means.shape[1], dtype=variance.dtype)
        means = alpha * data.means
        covariances = alpha**2 * data.covariances + variance
        return GaussianMixture(means, covariances, data.weights)

    def alpha(self, lam: Value) -> Array:
        """α(λ), the factor of the data, of the shape of λ; 1 at λ = 0."""
        return jnp.exp(-0.5 * self.noise.integrated_beta(jnp.asarray(lam)))

    def sigma(self, lam: Value) -> Array:
        """σ(λ), the standard deviation of the noise, of the shape of λ; 0 at λ = 0."""
        return jnp.sqrt(self.noise.variance(jnp.asarray(lam)))

    def log_snr(self, lam: Value) -> Array:
        """log(α²/σ²), the log signal-to-noise ratio, shaped as λ; infinite at λ = 0."""
        # From B itself: the quotient α²/σ² would underflow for large B.
        lam = jnp.asarray(lam)
        return -self.noise.integrated_beta(lam) - jnp.log(self.noise.variance(lam))

    def score(self, x: Point, lam: Value) -> Array:
        """∇log p_λ(x), (d,), at the point x of shape (d,)."""
        return -jax.grad(self(lam))(jnp.asarray(x))

    def drift(self, x: Point, lam: Value) -> Array:
        """f = (α'/α) x, (d,), of the forward process dX = f dλ + g dW."""
        # α'/α = -B'/2
        return -0.5 * _slope(self.noise.integrated_beta, lam) * jnp.asarray(x)

    def squared_diffusion(self, lam: Value) -> Array:
        """g² = (σ²)' - 2 (α'/α) σ² of dX = f dλ + g dW, of the shape of λ."""
        # With α² = exp(-B), -2 α'/α = B'.
        noise = self.noise
        variance = noise.variance(jnp.asarray(lam))
        beta = _slope(noise.integrated_beta, lam)
        return _slope(noise.variance, lam) + beta * variance

    def velocity(self, x: Point, lam: Value) -> Array:
        """v = f - (g²/2) ∇log p_λ, (d,), of the probability flow, which transports p_λ
        exactly: d_λ p = -div(p v).
        """
        half_squared = 0.5 * self.squared_diffusion(lam)
        return self.drift(x, lam) - half_squared * self.score(x, lam)


def _slope(f: Formula, lam: Value) -> Array:
    """f'(λ), entry by entry, of the shape of λ."""
    # An integer λ has no tangent, so it becomes a float. The tangent of ones gives the
    # derivative of each entry.
    lam = jnp.asarray(lam, dtype=jnp.result_type(lam, float))
    return jax.jvp(f, (lam,), (jnp.ones_like(lam),))[1]
