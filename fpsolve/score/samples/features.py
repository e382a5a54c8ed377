"""Functions of a sample among which the slowest observable is sought.

    φ_j(x) = tanh(w_j·x + b_j),  j = 1..m    φ_{m+k}(x) = v_k·x,  k = 1..l    x (d,)
    f = Σ_j a_j φ_j
    E|∇f|² = aᵀK a,  K = E[φ'φ'ᵀ] ∘ (W Wᵀ)
    Var f = aᵀC a,   C = Cov φ
    min_a  aᵀK a / aᵀC a    the least eigenvalue of K a = μ C a

Functions of projections ("ridge functions") need no gradient of size d for each
feature: K is the Gram matrix of their derivatives times that of the directions, both (m
+ l, m + l). One direction with many b_j is a spline along a line; free w_j and b_j are
a network of one hidden layer. A function of the user's own is differentiated by JAX.

Reference: Barron, IEEE Trans. Inf. Theory 39 (1993) 930, for what sums of ridge
functions approximate; Hyvärinen and Oja, Neural Networks 13 (2000) 411, for independent
directions.
"""

from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...core.types import Formula
from ..constants import CONSTANTS

# samples at a time through a function of the user's own: bounds the memory of its
# Jacobians
BATCH = 256


class RidgeFunctions(eqx.Module):
    """The functions g(W x + b) and V x: `weights` W (m, d), `offsets` b (m,),
    `directions` V (l, d); g is the `activation`, "tanh" or "cos".
    """

    weights: Array
    offsets: Array
    directions: Array
    activation: str = eqx.field(static=True, default="tanh")

    def __call__(self, x: Array) -> Array:
        """φ(x), (m + l,)."""
        return self.values(x[None])[0]

    def values(self, samples: Array) -> Array:
        """φ at every sample, (n, m + l)."""
        arguments = samples @ self.weights.T + self.offsets
        activation = jnp.tanh if self.activation == "tanh" else jnp.cos
        linear = samples @ self.directions.T
        return jnp.concatenate([activation(arguments), linear], axis=1)

    def gradient_products(self, samples: Array) -> Array:
        """K = E[∇φ·∇φ], (m + l, m + l)."""
        derivatives = self._derivatives(samples)
        directions = self._all_directions()
        of_derivatives = derivatives.T @ derivatives / len(samples)
        return of_derivatives * (directions @ directions.T)

    def squared_gradients(self, samples: Array, coefficients: Array) -> Array:
        """|∇f|² of f = a·φ at every sample, (n,)."""
        weighted = self._derivatives(samples) * coefficients
        gradients = weighted @ self._all_directions()
        return jnp.sum(gradients**2, axis=1)

    def as_ridges(self) -> "RidgeFunctions":
        """The functions themselves: all their parameters are free."""
        return self

    def _derivatives(self, samples: Array) -> Array:
        """The derivatives of the functions along their own directions, (n, m + l)."""
        arguments = samples @ self.weights.T + self.offsets
        if self.activation == "tanh":
            derivatives = 1 - jnp.tanh(arguments) ** 2
        else:
            derivatives = -jnp.sin(arguments)
        linear = jnp.ones((len(samples), len(self.directions)), samples.dtype)
        return jnp.concatenate([derivatives, linear], axis=1)

    def _all_directions(self) -> Array:
        """W and V, (m + l, d)."""
        return jnp.concatenate([self.weights, self.directions])


class CustomFeatures(eqx.Module):
    """A function x (d,) -> (m,) of the user's own."""

    function: Formula

    def __call__(self, x: Array) -> Array:
        """φ(x), (m,)."""
        return jnp.asarray(self.function(x))

    def values(self, samples: Array) -> Array:
        """φ at every sample, (n, m)."""
        return jax.lax.map(self, samples, batch_size=BATCH)

    def gradient_products(self, samples: Array) -> Array:
        """K = E[∇φ·∇φ], (m, m)."""

        def block_sum(block: Array) -> Array:
            jacobians = jax.vmap(jax.jacrev(self))(block)
            return jnp.einsum("nid,njd->ij", jacobians, jacobians)

        def add_block(total: Array, block: Array) -> tuple[Array, None]:
            return total + block_sum(block), None

        # The Jacobians of all samples, (n, m, d), need not fit into memory: they are
        # summed block by block. The last block is shorter and is the start of the sum.
        whole = len(samples) // BATCH * BATCH
        blocks = samples[:whole].reshape(-1, BATCH, samples.shape[1])
        total, _ = jax.lax.scan(add_block, block_sum(samples[whole:]), blocks)
        return total / len(samples)

    def squared_gradients(self, samples: Array, coefficients: Array) -> Array:
        """|∇f|² of f = a·φ at every sample, (n,)."""

        def value(x: Array) -> Array:
            return self(x) @ coefficients

        def squared_gradient(x: Array) -> Array:
            return jnp.sum(jax.grad(value)(x) ** 2)

        return jax.lax.map(squared_gradient, samples, batch_size=BATCH)


# m functions of x, with their values and gradients over samples
Features: TypeAlias = RidgeFunctions | CustomFeatures


class LineSplines(eqx.Module):
    """Functions of a few projections, of which only the directions are free:
    `directions` U (k, d); in standard deviations of each projection, `knots` (k, m) and
    their `spacing` (k,); `covariance` (d, d) of the samples.
    """

    directions: Array
    knots: Array
    spacing: Array
    covariance: Array

    def as_ridges(self) -> RidgeFunctions:
        """The functions tanh((u·x/sd - c)/h), and u·x/sd itself."""
        # Knots stay where they are: only directions are optimised.
        knots, spacing, covariance = jax.lax.stop_gradient(
            (self.knots, self.spacing, self.covariance)
        )
        units = standardise(self.directions, covariance)
        steep = units[:, None, :] / spacing[:, None, None]
        # All knots of one direction have the same weights.
        weights = steep * jnp.ones_like(knots)[..., None]
        weights = weights.reshape(-1, units.shape[1])
        offsets = -knots / spacing[:, None]
        return RidgeFunctions(weights, offsets.reshape(-1), units)


def standardise(directions: Array, covariance: Array) -> Array:
    """Directions (k, d), each divided by the standard deviation along it."""
    variances = jnp.sum((directions @ covariance) * directions, axis=1, keepdims=True)
    # A direction in which the samples do not vary stays as it is, instead of being
    # divided by zero.
    return directions / jnp.sqrt(jnp.where(variances > 0, variances, 1))


def line_splines(directions: Array, samples: Array, knots: int) -> LineSplines:
    """Splines along the directions (k, d). Their `knots` are spread evenly over what
    each projection of the `samples` covers, but for 1 in 1000 at either end.
    """
    spread = covariance(samples)
    projections = samples @ standardise(directions, spread).T
    tail = CONSTANTS.tail_quantile
    fractions = jnp.array([tail, 1 - tail], samples.dtype)
    ends = jnp.quantile(projections, fractions, axis=0)
    # All samples may have one projection: a length of 1 then avoids a spacing of zero.
    lengths = jnp.where(ends[1] > ends[0], ends[1] - ends[0], 1)
    # In the middles of equal parts.
    middles = jnp.arange(knots) + 0.5
    places = ends[0][:, None] + lengths[:, None] * middles / knots
    return LineSplines(directions, places, lengths / knots, spread)


def covariance(samples: Array) -> Array:
    """Cov x, (d, d)."""
    centred = samples - jnp.mean(samples, axis=0)
    return centred.T @ centred / (len(samples) - 1)


def linear_features(samples: Array) -> RidgeFunctions:
    """The coordinates x themselves."""
    d = samples.shape[1]
    no_weights = jnp.zeros((0, d), samples.dtype)
    no_offsets = jnp.zeros(0, samples.dtype)
    return RidgeFunctions(no_weights, no_offsets, jnp.eye(d, dtype=samples.dtype))


def network_features(
    directions: Array, samples: Array, knots: int, key: Array
) -> RidgeFunctions:
    """Steps along directions (m, d), and x itself: `knots` steps along the first
    direction, one along each of the others, at a random one of the `samples`.
    """
    place_key, steepness_key = jax.random.split(key)
    others = directions[1:]
    d = directions.shape[1]
    units = standardise(others, covariance(samples))
    rows = jax.random.randint(place_key, (len(others),), 0, len(samples))
    drawn = samples[rows]
    places = jnp.sum(drawn * units, axis=1)
    steepness = jax.random.uniform(
        steepness_key,
        (len(others),),
        samples.dtype,
        CONSTANTS.steepness_min,
        CONSTANTS.steepness_max,
    )
    first = line_splines(directions[:1], samples, knots).as_ridges()
    # x itself is added: the slowest function of a Gaussian is linear.
    weights = jnp.concatenate([first.weights, units * steepness[:, None]])
    offsets = jnp.concatenate([first.offsets, -places * steepness])
    return RidgeFunctions(weights, offsets, jnp.eye(d, dtype=samples.dtype))


def kernel_waves(
    samples: Array, width: Array, count: int, key: Array
) -> RidgeFunctions:
    """`count` random cosines, and x itself. Sums of the cosines approximate those of a
    Gaussian kernel of a `width`.
    """
    weight_key, phase_key = jax.random.split(key)
    d = samples.shape[1]
    weights = jax.random.normal(weight_key, (count, d), samples.dtype) / width
    phases = jax.random.uniform(phase_key, (count,), samples.dtype, 0, 2 * jnp.pi)
    return RidgeFunctions(weights, phases, jnp.eye(d, dtype=samples.dtype), "cos")


def principal_directions(spread: Array) -> Array:
    """The principal directions (d, d) of a covariance, one a row, that of the largest
    variance first.
    """
    return jnp.linalg.eigh(spread)[1].T[::-1]


def independent_directions(samples: Array) -> Array:
    """Directions (d, d), one a row, along which the samples are as far from Gaussian as
    can be: FastICA with tanh.
    """
    variances, axes = jnp.linalg.eigh(covariance(samples))
    # Directions whose variance is rounding are zeros, not noise that is blown up to
    # variance 1.
    rounding = len(variances) * jnp.finfo(samples.dtype).eps
    varies = variances > rounding * variances[-1]
    # The inner `where` keeps the root of a negative variance out.
    deviations = jnp.sqrt(jnp.where(varies, variances, 1))
    whiten = jnp.where(varies, axes / deviations, 0)
    white = (samples - jnp.mean(samples, axis=0)) @ whiten

    def fixed_point(rotation: Array, _: Any) -> tuple[Array, None]:
        """One step of FastICA in all directions at once; the polar factor of the result
        is orthogonal.
        """
        activated = jnp.tanh(white @ rotation.T)
        derivatives = jnp.mean(1 - activated**2, axis=0)[:, None]
        moved = activated.T @ white / len(white) - derivatives * rotation
        left, _, right = jnp.linalg.svd(moved)
        return left @ right, None

    start = jnp.eye(len(variances), dtype=samples.dtype)
    rotation, _ = jax.lax.scan(
        fixed_point, start, None, length=CONSTANTS.ica_iterations
    )
    return rotation @ whiten.T
