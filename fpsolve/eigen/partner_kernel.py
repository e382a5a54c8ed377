"""The positive kernel of a chain of nodes, whose top eigenvalue is one over the gap of
the chain.

Faces i between the nodes of one no-flux axis have the conductance c_i = pi_i up_i =
pi_{i+1} down_i; F_i is the mass below face i, summed from the left, and Fbar_i the mass
above it, summed from the right. With A from nodes to faces,

    A A^T phi = Delta phi,
    (A A^T)^{-1} = K,     K_ik = F_min Fbar_max / sqrt(c_i c_k) > 0,
    1 / Delta = top eigenvalue of K,

exactly, for every birth-death chain. K is made of sums of positive numbers, and its
*largest* eigenvalue is wanted, which rounding cannot hurt. K v takes two recurrences
along the chain,

    s_i = r_i s_{i-1} + k_i v_i,
    w_i = q_i w_{i+1} + k_i v_i,
    (K v)_i = s_i + q_i w_{i+1},

    k_i = K_ii,
    r_i = K_ik / K_{i-1,k} for k < i,
    q_i = K_ik / K_{i+1,k} for k > i,

whose factors are moderate where pi falls below e^-5000.

References: theorem T4 of this library; Collatz-Wielandt bounds: Seneta, Non-negative
Matrices and Markov Chains (1981), section 1.1.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import EXACTLY
from ..linear.recurrence import solve_recurrence
from .constants import CONSTANTS

# stands for log 0: finite, so that differences of two of them are no NaN, and exp of it
# is zero
LOG_ZERO = -1e30


class Chain(NamedTuple):
    """Logarithms, up to one common constant: `mass` of the nodes `(n,)` and
    `conductance` of the faces `(n - 1,)`.
    """

    mass: Array
    conductance: Array

    @property
    def cumulative_masses(self) -> tuple[Array, Array]:
        """log F and log Fbar `(n - 1,)`: the masses below and above each face, up to
        the same constant.
        """
        # Each is summed from its own end: the small one is not a difference of large
        # ones.
        masses = jnp.stack([self.mass, self.mass[::-1]])
        sums = jax.lax.cumlogsumexp(masses, axis=1)
        return sums[0, :-1], sums[1, -2::-1]


class Kernel(eqx.Module):
    """K / e^scale `(m, m)` of a chain of m faces; the largest diagonal entry is 1."""

    diagonal: Array
    forward_ratios: Array  # r_i, zero at the first face
    backward_ratios: Array  # q_i, zero at the last face
    scale: Array
    rounding: Array  # of an entry, relative

    def __call__(self, v: Array) -> Array:
        """K v, `(m,)`: every entry to a few roundings where v >= 0. **Cost**: O(m)."""
        load = self.diagonal * v
        # Both recurrences in one call: the second runs from the other end.
        ratios = jnp.stack([self.forward_ratios, self.backward_ratios[::-1]])
        loads = jnp.stack([load, load[::-1]])
        sums = solve_recurrence(ratios, loads)
        # The diagonal is in s already: w is shifted by one face.
        next_above = jnp.append(sums[1, :-1][::-1], 0)
        return sums[0] + self.backward_ratios * next_above


class KernelGap(NamedTuple):
    """The gap from a kernel: `log` Delta, a bound `error` on the relative error of
    Delta, and `partner`, the positive phi `(m,)` of unit norm.
    """

    log: Array
    error: Array
    partner: Array


def partner_kernel(chain: Chain) -> Kernel:
    """K from the logarithms of its chain."""
    below, above = chain.cumulative_masses
    conductance = chain.conductance
    # Everything is formed as a logarithm: the factors of an entry underflow where the
    # entry itself does not.
    log_total = jax.scipy.special.logsumexp(chain.mass)
    log_diagonal = below + above - conductance - log_total
    scale = jnp.max(log_diagonal)
    log_above = above - conductance / 2
    log_below = below - conductance / 2
    forward = _finite_exp(log_above[1:] - log_above[:-1])
    backward = _finite_exp(log_below[:-1] - log_below[1:])
    # An entry errs by eps times the size of its logarithms; what matters is their size
    # where K is largest.
    sizes = jnp.abs(below) + jnp.abs(above) + jnp.abs(conductance)
    largest_size = jnp.max(jnp.where(log_diagonal == scale, sizes, 0))
    rounding = jnp.finfo(scale.dtype).eps * (CONSTANTS.kernel_roundings + largest_size)
    return Kernel(
        diagonal=jnp.exp(log_diagonal - scale),
        forward_ratios=jnp.append(0, forward),
        backward_ratios=jnp.append(backward, 0),
        scale=scale,
        rounding=rounding,
    )


def kernel_gap(kernel: Kernel, steps: int | None = None) -> KernelGap:
    """The gap from the top of a kernel, by `steps` of Lanczos iteration
    (`CONSTANTS.lanczos_steps` if None).

    The Rayleigh quotient of phi is at most the top eigenvalue, and that is at most max
    (K phi)_i / phi_i; the residual bounds the distance as well.
    """
    # Lanczos tells modes of nearly the same rate apart. Its vector is accurate relative
    # to its largest entry only: two products with the positive K make its small entries
    # accurate too.
    steps = CONSTANTS.lanczos_steps if steps is None else steps
    phi = jnp.abs(_lanczos(kernel, steps))
    for _ in range(2):
        phi = unit(kernel(phi))
    image = kernel(phi)
    top = jnp.sum(phi * image)

    # The better of the two bounds. Entries that have underflowed bound nothing.
    positive = phi > 0
    ratios = image / jnp.where(positive, phi, 1)
    highest = jnp.max(jnp.where(positive, ratios, 0))
    residual = jnp.sqrt(jnp.sum((image - top * phi) ** 2))
    error = jnp.minimum(highest - top, residual) / top + kernel.rounding
    return KernelGap(-jnp.log(top) - kernel.scale, error, phi)


def _lanczos(kernel: Kernel, steps: int) -> Array:
    """The top Ritz vector of K, `(m,)`, from a positive start, with every vector made
    orthogonal to all before.
    """
    start = jnp.sqrt(kernel.diagonal)
    steps = min(steps, len(start))

    def step(basis: Array, k: Array) -> tuple[Array, tuple[Array, Array]]:
        image = kernel(basis[k])
        centre = jnp.sum(basis[k] * image)
        # Two passes: one leaves rounding that grows from step to step, and the same
        # mode would be found twice.
        for _ in range(CONSTANTS.orthonormal_passes):
            overlaps = jnp.matmul(basis, image, precision=EXACTLY)
            image = image - jnp.matmul(overlaps, basis, precision=EXACTLY)
        size = jnp.sqrt(jnp.sum(image**2))
        # A size of zero means that the basis is complete: rows of zeros follow.
        row = image / jnp.where(size == 0, 1, size)
        return basis.at[k + 1].set(row), (centre, size)

    basis = jnp.zeros((steps + 1, len(start)), start.dtype)
    basis = basis.at[0].set(start / jnp.sqrt(jnp.sum(kernel.diagonal)))
    basis, (centres, links) = jax.lax.scan(step, basis, jnp.arange(steps))
    inner_links = links[:-1]
    tridiagonal = (
        jnp.diag(centres) + jnp.diag(inner_links, 1) + jnp.diag(inner_links, -1)
    )
    _, vectors = jnp.linalg.eigh(tridiagonal)
    return jnp.matmul(vectors[:, -1], basis[:-1], precision=EXACTLY)


def unit(v: Array) -> Array:
    """v / |v|."""
    return v / jnp.sqrt(jnp.sum(v**2))


def _finite_exp(log: Array) -> Array:
    """exp, at most the largest finite number over e: a ratio may overflow where its
    entries of K are zero.
    """
    log_largest = jnp.log(jnp.finfo(log.dtype).max)
    return jnp.exp(jnp.minimum(log, log_largest - 1))
