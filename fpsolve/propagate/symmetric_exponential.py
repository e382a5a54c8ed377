"""exp(-s H) of a symmetric matrix H, whose small levels come from a factor A of H = A^T
A, and its derivatives.

An eigenvalue of H errs by eps |H|, a singular value of A by eps |A|: 2 eps sqrt(E |H|)
for a small level E.

Reference: Daleckii and Krein (1965) for the derivative of a function of a matrix.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .constants import CONSTANTS


class _Decomposition(NamedTuple):
    """H = Q diag(E) Q^T: `levels` E `(n,)` with their lower and upper limits `low` and
    `high`, `vectors` Q `(n, n)`, and which of the levels are `small` `(n,)`: taken from
    A.
    """

    levels: Array
    low: Array
    high: Array
    vectors: Array
    small: Array


def _decompose(
    matrix: Array, factor: Array | None, ground: Array | None, times: Array
) -> _Decomposition:
    """Levels and modes of H, the small levels through its factor A if that is known."""
    levels, vectors = jnp.linalg.eigh(matrix)
    epsilon = jnp.finfo(levels.dtype).eps
    highest = jnp.max(jnp.abs(levels))
    rounding = epsilon * highest
    plain = _Decomposition(
        levels=levels,
        low=levels - rounding,
        high=levels + rounding,
        vectors=vectors,
        small=jnp.zeros(levels.shape, bool),
    )
    if factor is None:
        return plain
    # Over a short time the rounding of all levels costs no digit that is wanted.
    longest = jnp.max(jnp.abs(times))
    matters = rounding * longest > CONSTANTS.harmless_rounding
    return jax.lax.cond(
        matters,
        lambda: _with_small_levels(plain, highest, factor, ground),
        lambda: plain,
    )


def _with_small_levels(
    plain: _Decomposition, highest: Array, factor: Array, ground: Array | None
) -> _Decomposition:
    """The decomposition with its small levels from the singular values of A."""
    levels, low, high, vectors, _ = plain
    epsilon = jnp.finfo(levels.dtype).eps
    count = min(len(levels), CONSTANTS.slow_modes)
    lowest = vectors[:, :count]
    # The other levels keep what H says: where H holds the exact potential term it is
    # more accurate than A.
    small = levels[:count] < epsilon / CONSTANTS.level_digits * highest
    # Rows of their own keep the modes of the other levels out of the rotation of the
    # small ones.
    other_levels = jnp.where(small, 0, levels[:count])
    apart = jnp.diag(jnp.sqrt(other_levels))
    of_small = jnp.where(small, factor @ lowest, 0)
    rows = jnp.concatenate([of_small, apart])
    on_faces, singular, rotation = jnp.linalg.svd(rows, full_matrices=False)
    # Singular values descend, levels ascend; the small ones come first in both.
    on_faces = on_faces[:, ::-1]
    singular = singular[::-1]
    rotation = rotation[::-1]
    lowest = lowest @ rotation.T
    # To first order <phi, A psi> errs by the rounding of A psi, and by what the basis
    # makes of A sqrt(pi), which is zero: a slow mode is sqrt(pi) with a sign of its own
    # in each well. Where phi is large, between the wells, both are far smaller than
    # their norms.
    rounding = jnp.abs(factor) @ jnp.abs(lowest)
    missed = epsilon * rounding
    if ground is not None:
        of_ground = jnp.abs(factor @ ground)[:, None]
        missed = missed + of_ground / jnp.linalg.norm(ground)
    phi = jnp.abs(on_faces[: len(factor)])
    uncertainty = jnp.sum(phi * missed, axis=0)

    def with_small(values: Array, all_levels: Array) -> Array:
        lowest_levels = jnp.where(small, values**2, all_levels[:count])
        return all_levels.at[:count].set(lowest_levels)

    return _Decomposition(
        levels=with_small(singular, levels),
        low=with_small(jnp.maximum(singular - uncertainty, 0), low),
        high=with_small(singular + uncertainty, high),
        vectors=vectors.at[:, :count].set(lowest),
        small=jnp.zeros(levels.shape, bool).at[:count].set(small),
    )


@jax.custom_jvp
def symmetric_exponential(
    matrix: Array,
    factor: Array | None,
    ground: Array | None,
    times: Array,
    vector: Array,
) -> tuple[Array, Array]:
    """exp(-t matrix) vector for each of `times` `(T,)`, `(T, n)`, and the norms `(T,)`
    of its errors; the derivative is finite at equal levels too. `ground` is the null
    vector of the exact `factor`, where it is known.
    """
    found = _decompose(matrix, factor, ground, times)
    after, lost = _exponentials(found, times, vector)
    # Where all decays, what is left may be a small part of the vector in a slow mode,
    # which rounding mixes with others.
    if ground is None:
        lost = lost + _mixed(found, times, found.vectors.T @ vector)
    return after @ found.vectors.T, lost


def _mixed(found: _Decomposition, times: Array, inside: Array) -> Array:
    """The norms `(T,)` of what a rounding of the matrix makes of modes at others, to
    first order: that of the matrix in its modes times the divided differences of the
    exponential.
    """
    levels = found.levels
    epsilon = jnp.finfo(levels.dtype).eps
    # A random matrix with independent entries of this size has about the norm of the
    # rounding, eps |H|.
    entry = epsilon * jnp.max(jnp.abs(levels)) / len(levels) ** 0.5
    gap = levels[:, None] - levels
    apart = gap != 0

    def one(time: Array) -> Array:
        decay = jnp.exp(-time * levels)
        quotient = (decay[:, None] - decay) / jnp.where(apart, gap, 1)
        divided = jnp.where(apart, quotient, 0)
        return entry * jnp.linalg.norm(jnp.abs(divided) * jnp.abs(inside))

    # One time after the other: for each there is a matrix of the size of H.
    return jax.lax.map(one, times)


def _exponentials(
    found: _Decomposition, times: Array, vector: Array
) -> tuple[Array, Array]:
    """The coefficients of the modes `(T, n)`, and the norms `(T,)` of their errors."""
    inside = found.vectors.T @ vector
    decay = jnp.exp(-times[:, None] * found.levels)
    # What the uncertainty of each level makes of its mode, at the worse of its two
    # limits. Where |t| is that of a rotated time, the phase errs as much at most.
    length = jnp.abs(times)[:, None]
    decayed = jnp.abs(decay)
    slower = decayed * jnp.expm1(length * (found.levels - found.low))
    faster = -decayed * jnp.expm1(length * (found.levels - found.high))
    # Where the decay underflows, `expm1` may overflow, and zero times infinity is no
    # number: there the slower decay itself is the bound.
    worse = jnp.maximum(slower, faster)
    worse = jnp.where(decayed == 0, jnp.exp(-length * found.low), worse)
    by_levels = worse * jnp.abs(inside)
    # Eight roundings of the vector, a free choice, in the mode that decays most slowly.
    epsilon = jnp.finfo(found.levels.dtype).eps
    slowest = jnp.max(decayed, axis=1)
    by_rounding = 8 * epsilon * jnp.linalg.norm(vector) * slowest
    return decay * inside, by_rounding + jnp.linalg.norm(by_levels, axis=1)


@symmetric_exponential.defjvp
def _(primals: Any, tangents: Any) -> Any:
    # Daleckii-Krein: the derivative is the Hadamard product with divided differences of
    # the exponential.
    matrix, factor, ground, times, vector = primals
    d_matrix, d_factor, d_ground, d_times, d_vector = tangents
    found = _decompose(matrix, factor, ground, times)
    levels, vectors = found.levels, found.vectors
    inside = vectors.T @ vector
    turned = vectors.T @ d_matrix @ vectors
    if factor is not None:
        # Between two small levels dH = dA^T A + A^T dA. Where psi changes as sqrt(pi)
        # does, by a factor 1 + g, the terms of dA psi + A g psi are as small as A psi;
        # the change of psi is taken out of the levels again.
        relative = jnp.zeros_like(vector.real)
        if ground is not None:
            relative = d_ground / jnp.maximum(ground, jnp.finfo(ground.dtype).tiny)
        change = (d_factor + factor * relative) @ vectors
        half = change.T @ (factor @ vectors)
        of_psi = vectors.T @ (relative[:, None] * vectors)
        by_psi = (levels[:, None] + levels) * of_psi
        both_small = found.small[:, None] & found.small
        turned = jnp.where(both_small, half + half.T - by_psi, turned)
    gap = levels[:, None] - levels

    def one(time: Array, change: Array) -> Array:
        decay = jnp.exp(-time * levels)
        # At equal levels the difference quotient is 0 / 0: there it is the derivative.
        near = jnp.abs(time * gap) < CONSTANTS.equal_levels
        slope = (decay[:, None] - decay) / jnp.where(near, 1, gap)
        derivative = -time * jnp.exp(-time * (levels[:, None] + levels) / 2)
        divided = jnp.where(near, derivative, slope)
        by_matrix = (divided * turned) @ inside
        by_time = change * levels * decay * inside
        by_vector = decay * (vectors.T @ d_vector)
        return by_matrix - by_time + by_vector

    after, lost = _exponentials(found, times, vector)
    if ground is None:
        lost = lost + _mixed(found, times, inside)
    moved = jax.vmap(one)(times, d_times)
    # An error estimate is a constant to derivatives.
    no_change = jnp.zeros_like(lost)
    return (after @ vectors.T, lost), (moved @ vectors.T, no_change)
