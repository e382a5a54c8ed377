"""The kernel exp(-tH) along one axis, as logarithms of its entries.

    (exp(-tH) f)(x) = sum_j K(x, x_j) w_j f(x_j)

    HeatKernel   H = -D d^2/dx^2: K is a normal density of variance 2 D t, closed by images at the ends of the axis
    WellKernel   H with a potential term: K = Q exp(-tE) Q^T with the levels E and modes Q of H in a basis

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
        spread = jnp.maximum(spread, cell**2 * float(jnp.finfo(spread.dtype).eps))
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
        """The sum over nodes, or for a narrow kernel the quadrature of a local
        polynomial.
        """
        # Of a field that jumps to zero there is no polynomial. Of one that underflowed
        # there is: its lowest value takes the place of zero, far from where anything is
        # seen.
        empty = is_empty(logs)
        lowest = jnp.min(jnp.where(empty, jnp.inf, logs))
        underflowed = lowest < jnp.max(logs) + CONSTANTS.underflow_part * math.log(
            jnp.finfo(logs.dtype).tiny
        )
        over_nodes = entries.resolved | jnp.any(empty) & ~underflowed
        filled = jnp.where(empty, lowest, logs)
        return jax.lax.cond(
            over_nodes,
            lambda: _sum_over_nodes(entries, logs),
            lambda: self._quadrature(entries, filled),
        )

    def _quadrature(self, entries: Entries, logs: Array) -> Array:
        """log of the mean of f(x + sqrt(2 D t) Z) over a normal Z."""
        abscissae, weights = np.polynomial.hermite.hermgauss(CONSTANTS.hermite_nodes)
        nodes = jnp.asarray(self.axis.nodes, logs.dtype)
        steps = jnp.sqrt(2 * entries.spread) * jnp.asarray(abscissae, logs.dtype)
        targets = _inside(self.axis, (nodes[:, None] + steps).ravel())
        matrix = interpolation(self.axis, targets, CONSTANTS.stencil)
        # The quadrature is exact for slopes s of log f per deviation up to some 3. Of
        # steeper fields the sum over nodes is a shifted normal density with no larger
        # error than that of a flat one.
        slopes = jnp.asarray(
            differentiation(self.axis, CONSTANTS.difference_nodes), logs.dtype
        )
        steepness = jnp.abs(jnp.matmul(logs, slopes.T, precision=EXACTLY)) * jnp.sqrt(
            entries.spread
        )
        values = jnp.matmul(logs, matrix.T, precision=EXACTLY)
        values = values.reshape(*logs.shape, len(weights))
        log_weights = jnp.asarray(np.log(weights / math.sqrt(math.pi)), logs.dtype)
        mean = jax.scipy.special.logsumexp(values + log_weights, axis=-1)
        return jnp.where(
            steepness < CONSTANTS.steepest, mean, _sum_over_nodes(entries, logs)
        )


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
        return CONSTANTS.basis_decay / (self.diffusion * (math.pi / cell) ** 2)

    def at(self, length: Array) -> Entries:
        """Q exp(-tE) Q^T, by squarings of shorter kernels where these are resolved."""
        shortest = self.shortest
        resolved = length >= shortest
        ratio = jnp.maximum(jax.lax.stop_gradient(length / shortest), 1)
        squarings = jnp.floor(jnp.log2(ratio)).astype(int)
        short = length * (0.5**squarings).astype(length.dtype)
        kernel = jnp.matmul(
            self.modes * jnp.exp(-short * self.levels), self.modes.T, precision=EXACTLY
        )
        largest = jnp.max(jnp.abs(kernel))
        small = jnp.abs(kernel) < CONSTANTS.kept_entries * largest
        kernel = jnp.where(small, self._tails(short), kernel)
        # Ripples that remain below zero are as small.
        kernel = jnp.where(resolved, jnp.maximum(kernel, 0), kernel)
        kernel = run_loop(
            squarings,
            lambda k, _, now: jnp.matmul(now, now, precision=EXACTLY),
            (),
            kernel,
        )
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
        ratio = self.log_sqrt_pi - self.log_sqrt_pi[:, None]
        logs = log_of(transition(self.rates, length)) + ratio
        return jnp.exp(jnp.maximum(logs, logs.T))

    def apply(self, entries: Entries, logs: Array) -> Array:
        """The product with the matrix; what is below the error of its entries is
        unknown, and empty.
        """
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
        last, slope = ends[..., :1], ends[..., :1] - ends[..., 1:2]
        bend = jnp.minimum(slope - (ends[..., 1:2] - ends[..., 2:3]), 0)
        found = last + jnp.minimum(steps * slope + steps * (steps + 1) / 2 * bend, 0)
        return jnp.where(
            resolved | is_empty(jnp.min(ends, axis=-1, keepdims=True)), EMPTY, found
        )

    left = jnp.flip(beyond(logs[..., :3]), -1)
    right = beyond(jnp.flip(logs[..., -3:], -1))
    return jnp.concatenate([left, logs, right], axis=-1)


def _sum_over_nodes(entries: Entries, logs: Array) -> Array:
    """The product with a matrix of positive entries, by logarithms where numbers
    underflow.
    """
    top, _, image = _scaled_product(entries, logs)
    # A sum that is close to the smallest number has lost digits, or all of its terms.
    lost = (image < jnp.finfo(logs.dtype).tiny / jnp.finfo(logs.dtype).eps) & ~is_empty(
        top
    )

    def by_logarithms() -> Array:
        rows = jax.lax.map(
            lambda row: jax.scipy.special.logsumexp(logs + row, axis=-1), entries.logs
        )
        return jnp.moveaxis(rows, 0, -1)

    return jax.lax.cond(jnp.any(lost), by_logarithms, lambda: top + log_of(image))


def _scaled_product(entries: Entries, logs: Array) -> tuple[Array, Array, Array]:
    """The largest logarithm of each line, the line divided by its exponential, and the
    product with the matrix.
    """
    top = jnp.max(logs, axis=-1, keepdims=True)
    line = jnp.exp(logs - top)
    return top, line, jnp.matmul(line, entries.matrix.T, precision=EXACTLY)


def _log_heat(axis: Axis, spread: Array) -> Array:
    """log(K_ij w_j) `(n, n)` of a normal density of variance `spread` and its images."""
    nodes = jnp.asarray(axis.nodes, spread.dtype)
    log_weights = jnp.asarray(np.log(axis.weights), spread.dtype)
    distances = [nodes[:, None] - nodes]
    if not axis.unbounded:
        period = axis.length if axis.boundary == "periodic" else 2 * axis.length
        spread = jnp.minimum(spread, CONSTANTS.widest_spread * period**2)
        if axis.boundary != "periodic":
            # Walls reflect: each node has an image behind the lower one.
            distances.append(nodes[:, None] + nodes - 2 * axis.lower)
        turns = period * np.arange(-CONSTANTS.images, CONSTANTS.images + 1)
        distances = [distance + turn for distance in distances for turn in turns]
    terms = jnp.stack([-(distance**2) / (2 * spread) for distance in distances])
    return (
        jax.scipy.special.logsumexp(terms, axis=0)
        - jnp.log(2 * math.pi * spread) / 2
        + log_weights
    )


def _log_lattice_sum(cell: float, spread: Array) -> Array:
    """log of the sum of a normal density of variance `spread` over all nodes of a
    lattice, times the cell.
    """
    places = cell * np.arange(-CONSTANTS.images, CONSTANTS.images + 1)
    terms = -(jnp.asarray(places, spread.dtype) ** 2) / (2 * spread)
    return (
        jax.scipy.special.logsumexp(terms)
        - jnp.log(2 * math.pi * spread) / 2
        + math.log(cell)
    )


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
