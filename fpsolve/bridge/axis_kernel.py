"""The kernel exp(-tH) along one axis, as logarithms of its entries.

    (exp(-tH) f)(x) = sum_j K(x, x_j) w_j f(x_j)

    HeatKernel   H = -D d^2/dx^2: K is a normal density of variance 2 D t,
                 closed by images at the ends of the axis
    WellKernel   H with a potential term: K = Q exp(-tE) Q^T
                 with the levels E and modes Q of H in a basis

A heat kernel is known by its logarithm, so that nothing underflows. Entries of Q
exp(-tE) Q^T have an absolute error of some roundings. Smaller ones are found by

    exp(-tH) = exp(-hH)^(2^k),      t = 2^k h,

where exp(-hH) is that of finite volumes below its error: sums of positive numbers keep
their relative accuracy, and 2^k short ways of probability 1e-10 make a long one of
1e-40.

Where a kernel is narrower than a cell its sum over nodes is wrong. A heat kernel is
then integrated by Gauss-Hermite quadrature over polynomials of log f; a kernel in a
basis is used as it is, with the error of rounding.
"""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.loop import run_loop
from ..core.machine import EXACTLY
from ..core.types import Scalar
from ..grid import Axis
from ..linear.markov_expm import transition
from .constants import CONSTANTS
from .logarithm import EMPTY, is_empty, log_of
from .stencil import differentiation, interpolation


class Entries(eqx.Module):
    """A kernel of one length: its `matrix` K_ij w_j `(n, n)`, their logarithms, and
    whether cells resolve it.

    - `spread` the variance 2 D t
    - `noise` the absolute errors of the entries, `(n, n)`, where they matter, else None
    """

    matrix: Array
    logs: Array
    resolved: Array
    spread: Array
    noise: Array | None


class AxisKernel(eqx.Module):
    """The kernels of all lengths along one axis; abstract."""

    axis: eqx.AbstractVar[Axis]

    @abc.abstractmethod
    def at(self, length: Array) -> Entries:
        """The kernel of a length of time."""

    @abc.abstractmethod
    def apply(self, entries: Entries, logs: Array) -> Array:
        """log exp(-tH) f from log f `(..., n)`, along the last axis."""


class HeatKernel(AxisKernel):
    """The kernel of a free Brownian motion, or of one between walls or on a ring."""

    diffusion: Array
    axis: Axis = eqx.field(static=True)

    def at(self, length: Array) -> Entries:
        """The normal density of variance 2 D t and its images."""
        axis = self.axis
        cell = float(np.max(axis.weights))
        spread = 2 * self.diffusion * length
        # A kernel of no length is the identity, as is one far narrower than a cell.
        eps = float(jnp.finfo(spread.dtype).eps)
        spread = jnp.maximum(spread, cell**2 * eps)
        logs = _log_heat(axis, spread)
        resolved = spread >= CONSTANTS.least_spread * cell**2
        # A narrow kernel is divided by its sum over the nodes, so that mass is kept
        # where it must be used.
        total = jax.scipy.special.logsumexp(logs, axis=1, keepdims=True)
        if axis.uniform:
            total = _log_lattice_sum(cell, spread)
        logs = logs - jnp.where(resolved, 0, total)
        return Entries(jnp.exp(logs), logs, resolved, spread, None)

    def apply(self, entries: Entries, logs: Array) -> Array:
        """The sum over nodes, or the quadrature of a local polynomial."""
        # Of a field that jumps to zero there is no polynomial. Of one that underflowed
        # there is: its lowest value takes the place of zero, far from where anything is
        # seen.
        empty = is_empty(logs)
        lowest = jnp.min(jnp.where(empty, jnp.inf, logs))
        log_tiny = math.log(jnp.finfo(logs.dtype).tiny)
        underflowed = lowest < jnp.max(logs) + CONSTANTS.underflow_part * log_tiny
        jumps_to_zero = jnp.any(empty) & ~underflowed
        over_nodes = entries.resolved | jumps_to_zero
        filled = jnp.where(empty, lowest, logs)
        return jax.lax.cond(
            over_nodes,
            lambda: _sum_over_nodes(entries, logs),
            lambda: self._quadrature(entries, filled),
        )

    def _quadrature(self, entries: Entries, logs: Array) -> Array:
        """log of the mean of f(x + sqrt(2 D t) Z) over a normal Z."""
        dtype = logs.dtype
        abscissae, weights = np.polynomial.hermite.hermgauss(CONSTANTS.hermite_nodes)
        nodes = jnp.asarray(self.axis.nodes, dtype)
        steps = jnp.sqrt(2 * entries.spread) * jnp.asarray(abscissae, dtype)
        places = (nodes[:, None] + steps).ravel()
        targets = _inside(self.axis, places)
        matrix = interpolation(self.axis, targets, CONSTANTS.stencil)
        # The quadrature is exact for slopes s of log f per deviation up to some 3. Of
        # steeper fields the sum over nodes is a shifted normal density with no larger
        # error than that of a flat one.
        derivative = differentiation(self.axis, CONSTANTS.difference_nodes)
        derivative = jnp.asarray(derivative, dtype)
        slopes = jnp.matmul(logs, derivative.T, precision=EXACTLY)
        steepness = jnp.abs(slopes) * jnp.sqrt(entries.spread)
        values = jnp.matmul(logs, matrix.T, precision=EXACTLY)
        values = values.reshape(*logs.shape, len(weights))
        normal_weights = weights / math.sqrt(math.pi)
        log_weights = jnp.asarray(np.log(normal_weights), dtype)
        mean = jax.scipy.special.logsumexp(values + log_weights, axis=-1)
        over_nodes = _sum_over_nodes(entries, logs)
        return jnp.where(steepness < CONSTANTS.steepest, mean, over_nodes)


class WellKernel(AxisKernel):
    """The kernel of H along one axis, from its `levels` `(m,)` and its `modes`
    `(m, m)`, orthonormal in sqrt(w) u.

    A line may have `margin` nodes more at each end than the axis: waves of a wide well
    do not end where a box does. `rates` `(m, m)` are those of finite volumes, from
    column to row, and `log_sqrt_pi` `(m,)` the logarithm of the root of their Gibbs
    masses; None where a wall absorbs.
    """

    diffusion: Array
    levels: Array
    modes: Array
    rates: Array | None
    log_sqrt_pi: Array | None
    axis: Axis = eqx.field(static=True)
    margin: int = eqx.field(static=True)

    @property
    def shortest(self) -> Array:
        """The shortest time after which the shortest waves have decayed to rounding."""
        cell = float(np.max(self.axis.weights))
        largest_wavenumber = math.pi / cell
        return CONSTANTS.basis_decay / (self.diffusion * largest_wavenumber**2)

    def at(self, length: Array) -> Entries:
        """Q exp(-tE) Q^T, by squarings of shorter kernels where these are resolved."""
        shortest = self.shortest
        resolved = length >= shortest
        # The number of squarings is whole: it has no derivative.
        ratio = jnp.maximum(jax.lax.stop_gradient(length / shortest), 1)
        squarings = jnp.floor(jnp.log2(ratio)).astype(int)
        short = length * (0.5**squarings).astype(length.dtype)
        decayed_modes = self.modes * jnp.exp(-short * self.levels)
        kernel = jnp.matmul(decayed_modes, self.modes.T, precision=EXACTLY)
        largest = jnp.max(jnp.abs(kernel))
        small = jnp.abs(kernel) < CONSTANTS.kept_entries * largest
        kernel = jnp.where(small, self._tails(short), kernel)
        # Ripples that remain below zero are as small.
        kernel = jnp.where(resolved, jnp.maximum(kernel, 0), kernel)

        def square(_: Scalar, parameters: tuple[()], kernel: Array) -> Array:
            return jnp.matmul(kernel, kernel, precision=EXACTLY)

        kernel = run_loop(squarings, square, (), kernel)
        inside = slice(self.margin, self.margin + self.axis.n)
        kernel = kernel[inside]
        # From the basis sqrt(w) u to values at the nodes. The cells of a line with a
        # margin are equal.
        ratio = jnp.ones((), kernel.dtype)
        if not self.margin:
            sqrt_weights = jnp.sqrt(jnp.asarray(self.axis.weights, kernel.dtype))
            ratio = sqrt_weights / sqrt_weights[:, None]
        matrix = kernel * ratio
        # A kernel that is not resolved has ripples of both signs, so that what is left
        # of a sum may be rounding.
        rounding = CONSTANTS.noise_roundings * jnp.finfo(kernel.dtype).eps * largest
        noise = jnp.where(resolved | small[inside], 0, rounding) * ratio
        return Entries(
            matrix=matrix,
            logs=log_of(matrix),
            resolved=resolved,
            spread=2 * self.diffusion * length,
            noise=noise,
        )

    def _tails(self, length: Array) -> Array:
        """The kernel of finite volumes in sqrt(w) u, of order two and positive, with
        the relative accuracy of all entries: P sqrt(pi_j / pi_i), from the side on
        which P has not underflowed.
        """
        if self.rates is None or self.log_sqrt_pi is None:
            return jnp.zeros_like(self.modes)
        log_ratio = self.log_sqrt_pi - self.log_sqrt_pi[:, None]
        logs = log_of(transition(self.rates, length)) + log_ratio
        # The kernel is symmetric: an entry that has underflowed is the smaller of two.
        return jnp.exp(jnp.maximum(logs, logs.T))

    def apply(self, entries: Entries, logs: Array) -> Array:
        """The product with the matrix; empty where it is below its error."""
        assert entries.noise is not None
        if self.margin:
            logs = _continued(logs, self.margin, entries.resolved)
        top, line, image = _scaled_product(entries, logs)
        known = image > jnp.matmul(line, entries.noise.T, precision=EXACTLY)
        return top + log_of(jnp.where(known, image, 0))


def _continued(logs: Array, margin: int, resolved: Array) -> Array:
    """log f `(..., n)` with `margin` values more at each end: parabolas that do not
    rise.

    In a basis the jump of f to zero at the end of a box would be seen everywhere as
    ripples. A kernel that is resolved has none, and the field is empty there.
    """
    steps = jnp.arange(1, margin + 1, dtype=logs.dtype)

    def beyond(ends: Array) -> Array:
        """From the last three values, the outermost first, `(..., 3)`."""
        last = ends[..., :1]
        second = ends[..., 1:2]
        slope = last - second
        # A parabola that is convex, or that rises outward, would grow without bound.
        curvature = jnp.minimum(slope - (second - ends[..., 2:3]), 0)
        change = steps * slope + steps * (steps + 1) / 2 * curvature
        found = last + jnp.minimum(change, 0)
        has_empty = is_empty(jnp.min(ends, axis=-1, keepdims=True))
        return jnp.where(resolved | has_empty, EMPTY, found)

    left = jnp.flip(beyond(logs[..., :3]), -1)
    right = beyond(jnp.flip(logs[..., -3:], -1))
    return jnp.concatenate([left, logs, right], axis=-1)


def _sum_over_nodes(entries: Entries, logs: Array) -> Array:
    """The product with a positive matrix, by logarithms where numbers underflow."""
    top, _, image = _scaled_product(entries, logs)
    # A sum that is close to the smallest number has lost digits, or all of its terms.
    precision = jnp.finfo(logs.dtype)
    lost = (image < precision.tiny / precision.eps) & ~is_empty(top)

    def by_logarithms() -> Array:
        def log_sum(row: Array) -> Array:
            return jax.scipy.special.logsumexp(logs + row, axis=-1)

        # A row at a time: all sums at once take n times the memory of the field.
        rows = jax.lax.map(log_sum, entries.logs)
        return jnp.moveaxis(rows, 0, -1)

    by_values = lambda: top + log_of(image)
    return jax.lax.cond(jnp.any(lost), by_logarithms, by_values)


def _scaled_product(entries: Entries, logs: Array) -> tuple[Array, Array, Array]:
    """The largest logarithm of each line, the line divided by its exponential, and the
    product with the matrix.
    """
    # The largest value of a line is then one, and its exponential does not overflow.
    top = jnp.max(logs, axis=-1, keepdims=True)
    line = jnp.exp(logs - top)
    return top, line, jnp.matmul(line, entries.matrix.T, precision=EXACTLY)


def _log_heat(axis: Axis, spread: Array) -> Array:
    """log(K_ij w_j) `(n, n)` of a normal density of variance `spread`, with images."""
    nodes = jnp.asarray(axis.nodes, spread.dtype)
    log_weights = jnp.asarray(np.log(axis.weights), spread.dtype)
    distances = [nodes[:, None] - nodes]
    if not axis.unbounded:
        period = axis.length if axis.boundary == "periodic" else 2 * axis.length
        # A wider kernel is the same constant, and would need more images.
        spread = jnp.minimum(spread, CONSTANTS.widest_spread * period**2)
        if axis.boundary != "periodic":
            # Walls reflect: each node has an image behind the lower one.
            distances.append(nodes[:, None] + nodes - 2 * axis.lower)
        turns = period * np.arange(-CONSTANTS.images, CONSTANTS.images + 1)
        distances = [distance + turn for distance in distances for turn in turns]
    exponents = [-(distance**2) / (2 * spread) for distance in distances]
    terms = jnp.stack(exponents)
    log_norm = jnp.log(2 * math.pi * spread) / 2
    return jax.scipy.special.logsumexp(terms, axis=0) - log_norm + log_weights


def _log_lattice_sum(cell: float, spread: Array) -> Array:
    """log of the sum of a normal density of variance `spread` over all nodes of a
    lattice, times the cell.
    """
    places = cell * np.arange(-CONSTANTS.images, CONSTANTS.images + 1)
    terms = -(jnp.asarray(places, spread.dtype) ** 2) / (2 * spread)
    log_norm = jnp.log(2 * math.pi * spread) / 2
    return jax.scipy.special.logsumexp(terms) - log_norm + math.log(cell)


def _inside(axis: Axis, x: Array) -> Array:
    """Positions within the box: wrapped on a ring, reflected at walls, and kept at the
    ends of a line.
    """
    if axis.boundary == "periodic":
        return axis.lower + (x - axis.lower) % axis.length
    if axis.unbounded:
        return jnp.clip(x, axis.lower, axis.upper)
    folded = (x - axis.lower) % (2 * axis.length)
    return axis.lower + jnp.minimum(folded, 2 * axis.length - folded)
