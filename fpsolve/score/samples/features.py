"""Functions of a sample among which the slowest observable is sought.

    φ_j(x) = tanh(w_j·x + b_j),  j = 1..m        φ_{m+k}(x) = v_k·x,  k = 1..l        x (d,)
    f = Σ_j a_j φ_j       E|∇f|² = aᵀK a,  K = E[φ'φ'ᵀ] ∘ (W Wᵀ)       Var f = aᵀC a,  C = Cov φ
    min_a  aᵀK a / aᵀC a        the least eigenvalue of K a = μ C a

Functions of projections ("ridge functions") need no gradient of size d a feature: K is a Gram matrix of derivatives
times that of the directions, both (m + l, m + l). One direction with many b_j is a spline along a line; free w_j
and b_j are a network of one hidden layer. A function of one's own is differentiated by JAX.

Reference: Barron, IEEE Trans. Inf. Theory 39 (1993) 930, for what sums of ridge functions approximate; Hyvärinen and
Oja, Neural Networks 13 (2000) 411, for independent directions.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

BATCH = 256  # samples at a time through a function of one's own
ROUNDS = 60  # of the search for independent directions


class Ridges(eqx.Module):
    """tanh(W x + b), or its cosine, and V x: `weights` W (m, d), `offsets` b (m,), `directions` V (l, d)."""

    weights: Array
    offsets: Array
    directions: Array
    bend: str = eqx.field(static=True, default="tanh")

    def __call__(self, x: Array) -> Array:
        """φ(x), (m + l,)."""
        return self.values(x[None])[0]

    def values(self, samples: Array) -> Array:
        """φ at every sample, (n, m + l)."""
        places = samples @ self.weights.T + self.offsets
        bends = jnp.tanh(places) if self.bend == "tanh" else jnp.cos(places)
        return jnp.concatenate([bends, samples @ self.directions.T], axis=1)

    def products(self, samples: Array) -> Array:
        """K, (m + l, m + l)."""
        rises, all_directions = self._rises(samples), self._all()
        return rises.T @ rises / len(samples) * (all_directions @ all_directions.T)

    def slopes(self, samples: Array, coefficients: Array) -> Array:
        """|∇f|², (n,)."""
        return jnp.sum(((self._rises(samples) * coefficients) @ self._all()) ** 2, axis=1)

    def _rises(self, samples: Array) -> Array:
        """The derivatives of the functions along their own directions, (n, m + l)."""
        places = samples @ self.weights.T + self.offsets
        rises = 1 - jnp.tanh(places) ** 2 if self.bend == "tanh" else -jnp.sin(places)
        return jnp.concatenate([rises, jnp.ones((len(samples), len(self.directions)), samples.dtype)], axis=1)

    def written(self) -> "Ridges":
        """The functions themselves: all their numbers are free."""
        return self

    def _all(self) -> Array:
        return jnp.concatenate([self.weights, self.directions])


class Given(eqx.Module):
    """A function x (d,) -> (m,) of one's own."""

    function: Callable[[Any], Any]

    def __call__(self, x: Array) -> Array:
        """φ(x), (m,)."""
        return jnp.asarray(self.function(x))

    def values(self, samples: Array) -> Array:
        """φ at every sample, (n, m)."""
        return jax.lax.map(self, samples, batch_size=BATCH)

    def products(self, samples: Array) -> Array:
        """K, (m, m)."""
        product = lambda block: jnp.einsum("nid,njd->ij", *(2 * (jax.vmap(jax.jacrev(self))(block),)))
        whole = len(samples) // BATCH * BATCH
        blocks = samples[:whole].reshape(-1, BATCH, samples.shape[1])
        total = product(samples[whole:])
        return jax.lax.scan(lambda total, block: (total + product(block), None), total, blocks)[0] / len(samples)

    def slopes(self, samples: Array, coefficients: Array) -> Array:
        """|∇f|², (n,)."""
        slope = lambda x: jnp.sum(jax.grad(lambda x: self(x) @ coefficients)(x) ** 2)
        return jax.lax.map(slope, samples, batch_size=BATCH)


Features: TypeAlias = Ridges | Given  # m functions of x: called, or over samples their values, products and slopes


class Lines(eqx.Module):
    """Functions of a few projections, of which only the directions are free: `directions` U (k, d); in standard
    deviations of each projection, `knots` (k, m) and their `spacing` (k,); `covariance` (d, d) of the samples."""

    directions: Array
    knots: Array
    spacing: Array
    covariance: Array

    def written(self) -> Ridges:
        """The functions tanh((u·x/sd - c)/h), and u·x/sd itself."""
        knots, spacing, covariance = jax.lax.stop_gradient((self.knots, self.spacing, self.covariance))
        units = standardise(self.directions, covariance)
        weights = units[:, None, :] / spacing[:, None, None] * jnp.ones_like(knots)[..., None]
        return Ridges(weights.reshape(-1, units.shape[1]), (-knots / spacing[:, None]).reshape(-1), units)


def standardise(directions: Array, covariance: Array) -> Array:
    """Directions (k, d), each divided by the standard deviation of the projection on it."""
    variances = jnp.sum((directions @ covariance) * directions, axis=1, keepdims=True)
    return directions / jnp.sqrt(jnp.where(variances > 0, variances, 1))


def lines(directions: Array, samples: Array, knots: int) -> Lines:
    """`knots` evenly over what each projection of the `samples` covers but for 1 in 1000 at either end."""
    spread = covariance(samples)
    ends = jnp.quantile(samples @ standardise(directions, spread).T, jnp.array([0.001, 0.999], samples.dtype), axis=0)
    lengths = jnp.where(ends[1] > ends[0], ends[1] - ends[0], 1)
    places = ends[0][:, None] + lengths[:, None] * (jnp.arange(knots) + 0.5) / knots
    return Lines(directions, places, lengths / knots, spread)


def covariance(samples: Array) -> Array:
    """Cov x, (d, d)."""
    centred = samples - jnp.mean(samples, axis=0)
    return centred.T @ centred / (len(samples) - 1)


def linear(samples: Array) -> Ridges:
    """x itself."""
    d = samples.shape[1]
    return Ridges(jnp.zeros((0, d), samples.dtype), jnp.zeros(0, samples.dtype), jnp.eye(d, dtype=samples.dtype))


def network(directions: Array, samples: Array, knots: int, key: Array) -> Ridges:
    """Steps along directions (m, d), `knots` of them along the first, the others one each, at random places of the
    `samples`; and x itself."""
    first, second = jax.random.split(key)
    others, d = directions[1:], directions.shape[1]
    units = standardise(others, covariance(samples))
    places = jnp.sum(samples[jax.random.randint(first, (len(others),), 0, len(samples))] * units, axis=1)
    steepness = jax.random.uniform(second, (len(others),), samples.dtype, 1.0, 4.0)
    along = lines(directions[:1], samples, knots).written()
    weights = jnp.concatenate([along.weights, units * steepness[:, None]])
    offsets = jnp.concatenate([along.offsets, -places * steepness])
    return Ridges(weights, offsets, jnp.eye(d, dtype=samples.dtype))


def waves(samples: Array, width: Array, units: int, key: Array) -> Ridges:
    """`units` random waves of the Gaussian kernel of a `width`, and x itself; their sums approximate the kernel's."""
    first, second = jax.random.split(key)
    d = samples.shape[1]
    weights = jax.random.normal(first, (units, d), samples.dtype) / width
    phases = jax.random.uniform(second, (units,), samples.dtype, 0, 2 * jnp.pi)
    return Ridges(weights, phases, jnp.eye(d, dtype=samples.dtype), "cos")


def principal(spread: Array) -> Array:
    """The principal directions (d, d) of a covariance, one a row, that of the largest variance first."""
    return jnp.linalg.eigh(spread)[1].T[::-1]


def independent(samples: Array) -> Array:
    """Directions (d, d), one a row, along which the samples are as far from Gaussian as can be: FastICA with tanh."""
    variances, axes = jnp.linalg.eigh(covariance(samples))
    seen = variances > len(variances) * jnp.finfo(samples.dtype).eps * variances[-1]
    whiten = jnp.where(seen, axes / jnp.sqrt(jnp.where(seen, variances, 1)), 0)
    white = (samples - jnp.mean(samples, axis=0)) @ whiten

    def turn(rotation: Array, _: Any) -> tuple[Array, None]:
        bends = jnp.tanh(white @ rotation.T)
        moved = bends.T @ white / len(white) - jnp.mean(1 - bends**2, axis=0)[:, None] * rotation
        left, _, right = jnp.linalg.svd(moved)
        return left @ right, None

    start = jnp.eye(len(variances), dtype=samples.dtype)
    return jax.lax.scan(turn, start, None, length=ROUNDS)[0] @ whiten.T
