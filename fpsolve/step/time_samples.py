"""Samples of an equation in time: where and when they are taken, the interpolant that
they are compared with, and those that stand out.

    p(t) = sum_m l_m(t) f(t_m),      t_m = (1 - cos(pi (m + 1/2) / n)) / 2

is the polynomial through the values at n Chebyshev nodes. Times are given as fractions
of an interval. A column is one function of the equation, or a component of it, at one
place of the box.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import shape_program
from ..core.types import AnyArray
from ..equation import Equation
from ..grid import Grid
from .constants import CONSTANTS


class Screened(NamedTuple):
    """The first look at all intervals, each array `(I, C)`: the largest `deviation` of
    the interpolant, the highest and lowest values, and those at both ends.
    """

    deviation: np.ndarray
    high: np.ndarray
    low: np.ndarray
    first: np.ndarray
    last: np.ndarray


class Look(NamedTuple):
    """One sampling of [start, end]: the `values` `(N, C)` at equally spaced times, and
    for each of the C columns the largest `deviation` of the interpolant.
    """

    start: float
    end: float
    values: np.ndarray
    deviation: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """The times of `values`, `(N,)`."""
        # In the precision of the run, as `sample_in_time` computes them.
        number = float_type()
        fractions = np.linspace(0.0, 1.0, len(self.values)).astype(number)
        return number(self.start) + number(self.end - self.start) * fractions


def sample_places(grid: Grid) -> np.ndarray:
    """Some places inside the grid, `(P, d)`: multiples of irrational numbers, which a
    symmetric or periodic function cannot hide behind, and which are spread evenly.
    """
    d = grid.ndim
    # The root of r^(d+1) = r + 1, the golden ratio in one dimension (M. Roberts, 2018).
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (d + 1))
    counts = np.arange(1, CONSTANTS.places_per_axis * d + 1)[:, None]
    strides = ratio ** -np.arange(1.0, d + 1)
    fractions = np.modf(0.5 + counts * strides)[0]
    lower = np.asarray([axis.lower for axis in grid.axes])
    lengths = np.asarray([axis.length for axis in grid.axes])
    return (lower + lengths * fractions).astype(float_type())


def float_type() -> type[np.floating]:
    """The type of real numbers that is in use, of numpy."""
    return np.dtype(jnp.result_type(float)).type


@functools.lru_cache(maxsize=8)
def interpolation_rule(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For `count` equally spaced times: the nodes and these times, as fractions of the
    interval `(n + N,)`; the weights of the samples of a block `(b,)`; and the matrix
    from values at the nodes to the weighted sums of all blocks, `(N / b, n)`.
    """
    n = CONSTANTS.nodes
    block = CONSTANTS.block
    angles = np.pi * (np.arange(n) + 0.5) / n
    nodes = (1 - np.cos(angles)) / 2
    times = np.linspace(0.0, 1.0, count)
    # Interpolation by the barycentric formula (Berrut and Trefethen, SIAM Review 46
    # (2004) 501). None of these times is a node, which is the square of the sine of a
    # fraction of pi.
    barycentric = (-1.0) ** np.arange(n) * np.sin(angles)
    quotients = barycentric / (times[:, None] - nodes)
    interpolation = quotients / np.sum(quotients, axis=1, keepdims=True)
    # Weights between 1/2 and 3/2 with no pattern: the samples of a feature do not
    # cancel each other.
    multiples = np.arange(1, block + 1) * (np.sqrt(5) - 1) / 2
    weights = 0.5 + np.modf(multiples)[0]
    matrix = np.einsum("kbn,b->kn", interpolation.reshape(-1, block, n), weights)
    number = float_type()
    return (
        np.concatenate([nodes, times]).astype(number),
        matrix.astype(number),
        weights.astype(number),
    )


@shape_program
def sample_in_time(
    equation: Equation,
    places: AnyArray,
    starts: AnyArray,
    ends: AnyArray,
    fractions: AnyArray,
    matrix: AnyArray,
    weights: AnyArray,
) -> tuple[Array, ...]:
    """The fields of `Screened` for some intervals, and the values at equally spaced
    times `(I, N, C)`; a column is one function of the equation, or a component of it,
    at one place.
    """

    def at_places(t: Array) -> Array:
        values = jax.vmap(lambda x: equation.given_at(x, t))(places)
        return values.ravel()

    def of_interval(start: AnyArray, end: AnyArray) -> tuple[Array, ...]:
        times = start + (end - start) * fractions
        # In a few chunks, which bounds the memory of a function that is a sum of many
        # terms.
        chunked_times = times.reshape(CONSTANTS.sampling_chunks, -1)
        chunks = jax.lax.map(jax.vmap(at_places), chunked_times)
        values = chunks.reshape(len(times), -1)
        # The nodes stand before the equally spaced times.
        at_nodes, values = values[: CONSTANTS.nodes], values[CONSTANTS.nodes :]
        # One sum for a block of samples is compared instead of each of them, which
        # takes a tenth of the time.
        blocks = values.reshape(len(matrix), len(weights), -1)
        interpolated = matrix @ at_nodes
        sampled = jnp.sum(blocks * weights[:, None], 1)
        deviation = jnp.max(jnp.abs(interpolated - sampled), 0)
        return (
            deviation,
            jnp.max(values, 0),
            jnp.min(values, 0),
            values[0],
            values[-1],
            values,
        )

    return jax.vmap(of_interval)(starts, ends)


def outstanding_samples(values: np.ndarray, allowed: np.ndarray) -> list[int]:
    """The indices of second differences that are much larger than their neighbours, and
    than what is allowed.
    """
    curvature = np.abs(np.diff(values, 2, axis=0))
    second_differences = np.max(curvature / allowed, axis=1)
    width = CONSTANTS.neighbours
    n = len(second_differences)
    # Mirrored at the ends: copies of the last value would be many large neighbours of
    # an edge there.
    padded = np.pad(second_differences, width, mode="reflect")

    def shifted(offset: int) -> np.ndarray:
        return padded[width + offset : width + offset + n]

    # A cheap test of all first: larger than the nearest two, and much larger than one
    # at a distance. A breakpoint makes two neighbouring second differences large, or
    # three if it meets a sample time.
    distant = np.minimum(shifted(2 - width), shifted(width - 2))
    likely = second_differences > CONSTANTS.outstanding * distant + 1
    likely &= (second_differences >= shifted(-1)) & (second_differences >= shifted(1))
    # Then the median over the whole neighbourhood, which a few large values do not
    # change.
    standing_out = []
    for k in np.flatnonzero(likely):
        median = np.median(padded[k : k + 2 * width + 1])
        if second_differences[k] > CONSTANTS.outstanding * median:
            standing_out.append(int(k))
    # The largest ones, in the order of their times.
    by_size = sorted(standing_out, key=lambda k: -second_differences[k])
    return sorted(by_size[: CONSTANTS.max_candidates])
