"""The gap of a chain of nodes to full relative accuracy, however small: the top of a
positive kernel.

Faces i between the nodes of one no-flux axis have the conductance c_i = pi_i up_i =
pi_{i+1} down_i; F_i is the mass below face i, summed from the left, and Fbar_i the mass
above it, summed from the right. With A from nodes to faces,

    A A^T phi = Delta phi,     (A A^T)^{-1} = K,     K_ik = F_min Fbar_max / sqrt(c_i c_k) > 0,
    1 / Delta = top eigenvalue of K,     phi_i = sqrt(c_i) (g_{i+1} - g_i) > 0,     g = psi_1 / sqrt(pi),

exactly, for every birth-death chain: on a line they all satisfy detailed balance. The
supersymmetric partner A A^T has the levels of H = A^T A without the zero, so that the
gap is its lowest level and is not lost next to another one. K is made of sums of
positive numbers, and its *largest* eigenvalue is wanted, which rounding cannot hurt. K
v takes two recurrences along the chain,

    s_i = r_i s_{i-1} + k_i v_i,     w_i = q_i w_{i+1} + k_i v_i,     (K v)_i = s_i + q_i w_{i+1},
    k_i = K_ii,     r_i = K_ik / K_{i-1,k} for k < i,     q_i = K_ik / K_{i+1,k} for k > i,

whose factors are moderate where pi falls below e^-5000. `line_gap` extrapolates the
gaps of refined chains, whose errors are even in the cell width, to the continuum.

References: theorem T4 of this library; Collatz-Wielandt bounds: Seneta, Non-negative
Matrices and Markov Chains (1981), section 1.1; Romberg's table: Stoer and Bulirsch,
Introduction to Numerical Analysis (2002), section 3.4.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.machine import EXACTLY
from ..core.program import shape_program
from ..core.types import DType, Scalar
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line
from ..linear.recurrence import solve_recurrence
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..operator.base import places_of, sample_equation
from .constants import CONSTANTS

# stands for log 0: finite, so that differences of two of them are no NaN, and exp of it
# is zero
LOG_ZERO = -1e30


class PartnerMode(NamedTuple):
    """The slowest mode of a chain.

    - `gap` Delta, a scalar, and `log` its logarithm, which is right where Delta itself
      underflows
    - `error`: a bound on the relative error of Delta as a level of this chain
    - `mode` `(n,)`: psi_1, of unit norm in the grid's weights, rising from negative to
      positive; not differentiated
    """

    gap: Array
    log: Array
    error: Array
    mode: Array


class LineGap(NamedTuple):
    """The gap of the continuum: `gap`, its logarithm `log`, and `error`, the estimated
    relative error of `gap`.
    """

    gap: Array
    log: Array
    error: Array


class ChainGap(NamedTuple):
    """The gap of a chain: `log` Delta, a bound `error` on the relative error of Delta,
    and `mode`, sqrt(w) psi_1 `(n,)` of unit norm.
    """

    log: Array
    error: Array
    mode: Array


class KernelGap(NamedTuple):
    """The gap from a kernel: `log` Delta, a bound `error` on the relative error of
    Delta, and `partner`, the positive phi `(m,)` of unit norm.
    """

    log: Array
    error: Array
    partner: Array


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
        sums = jax.lax.cumlogsumexp(jnp.stack([self.mass, self.mass[::-1]]), axis=1)
        return sums[0, :-1], sums[1, -2::-1]


class Kernel(eqx.Module):
    """K / e^scale `(m, m)` of a chain of m faces, with a largest diagonal entry of 1."""

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
        sums = solve_recurrence(ratios, jnp.stack([load, load[::-1]]))
        # The diagonal is in s already: w is shifted by one face.
        return sums[0] + self.backward_ratios * jnp.append(sums[1, :-1][::-1], 0)


def partner_mode(operator: EdgeOperator) -> PartnerMode:
    """The gap and the slowest mode of finite volumes on one axis with no-flux
    boundaries.

    **Arguments**: `operator` from `ScharfetterGummel` or `SquareRoot`, of any
    potential, force or diffusion. **Raises** `ValueError` for a periodic or an
    absorbing axis, several axes, or a potential term.

    **Keeps**: the relative accuracy of Delta, whatever its size; `jit`, `vmap` and
    `grad` (Hellmann and Feynman). **Cost**: some forty products with K, O(n) each.
    """
    found = chain_gap(read_chain(operator))
    weights = jnp.asarray(operator.grid.axes[0].weights, found.mode.dtype)
    return PartnerMode(
        jnp.exp(found.log), found.log, found.error, found.mode / jnp.sqrt(weights)
    )


def line_gap(
    equation: FokkerPlanck,
    axis: Axis,
    t: Scalar,
    dtype: DType,
    cells: tuple[int, ...] | None = None,
) -> LineGap:
    """The gap of the process between the no-flux ends of an axis, extrapolated from
    chains of `cells` cells.

    **Arguments**: `axis` gives the box, and its `n` is not used; `t` freezes a
    time-dependent potential; `cells` double from each to the next
    (`CONSTANTS.chain_cells` if None). **Raises** `ValueError` for other
    boundaries.
    **Returns** a `LineGap`, whose error is the difference of the last two of Romberg's
    extrapolations and the bounds of the chains. **Keeps** and **Cost**: as
    `partner_mode`, on the longest chain.
    """
    return sampled_line_gap(
        sample_line(equation, axis, t, cells), axis, jnp.dtype(dtype), cells
    )


def sample_line(
    equation: FokkerPlanck, axis: Axis, t: Scalar, cells: tuple[int, ...] | None = None
) -> tuple[Samples, ...]:
    """What `sampled_line_gap` needs of a process between the no-flux ends of an axis:
    samples of finite volumes on each of the chains. **Raises** as `line_gap`.
    """
    if axis.boundary != "no_flux":
        raise_value_error(
            "axis",
            axis,
            "the partner kernel needs no-flux boundaries",
            "Use fp.Line or fp.Reflecting.",
        )
    # A small program for each chain, which serves all boxes: one for all chains takes
    # ten times as long to compile.
    reversible, scheme = equation.irreversible_anywhere is None, ScharfetterGummel()
    places = [
        places_of(grid, scheme, equation, reversible)
        for grid in _chain_grids(axis, cells or CONSTANTS.chain_cells)
    ]
    return tuple(
        sample_equation(scheme, equation, each, as_array(t), reversible)
        for each in places
    )


@shape_program
def sampled_line_gap(
    samples: tuple[Samples, ...],
    axis: Axis,
    dtype: DType,
    cells: tuple[int, ...] | None = None,
) -> LineGap:
    """The same from the samples of `sample_line`, arrays and nothing else: at a batch
    of times under `vmap`.
    """
    grids = _chain_grids(axis, cells or CONSTANTS.chain_cells)
    chains = []
    for chain_samples, grid in zip(samples, grids, strict=True):
        chains.append(
            read_chain(ScharfetterGummel().assemble(chain_samples, grid, dtype))
        )
    found = jax.vmap(chain_gap)(padded(chains))
    # The logarithm is extrapolated: relative errors are even in the cell width, and the
    # gap itself may underflow.
    log, uncertainty = extrapolate(found.log)
    return LineGap(jnp.exp(log), log, uncertainty + jnp.max(found.error))


def _chain_grids(axis: Axis, cells: tuple[int, ...]) -> list[Grid]:
    return [Grid(Line(axis.lower, axis.upper, n)) for n in cells]


def read_chain(operator: EdgeOperator) -> Chain:
    """The chain that an operator of finite volumes makes of one no-flux axis."""
    grid = operator.grid
    if (
        grid.ndim != 1
        or grid.axes[0].boundary != "no_flux"
        or operator.potential_term is not None
    ):
        allowed = (
            "the partner kernel belongs to a process on one axis with no-flux "
            "boundaries"
        )
        raise_value_error(
            "operator.grid", grid, allowed, "Take the singular values of A elsewhere."
        )
    up = operator.up[0]
    down = operator.down[0]
    if operator.log_sqrt_pi is None:
        # A force on a line has a Gibbs density too, by detailed balance: pi_{i+1} /
        # pi_i = up_i / down_i.
        log_gibbs = jnp.append(0, jnp.cumsum(jnp.log(up) - jnp.log(down)))
    else:
        log_gibbs = 2 * operator.log_sqrt_pi
    # Either product is the conductance; the larger rate is the one that has not
    # underflowed.
    conductance = jnp.where(
        up > down, log_gibbs[:-1] + jnp.log(up), log_gibbs[1:] + jnp.log(down)
    )
    mass = log_gibbs + jnp.log(jnp.asarray(grid.axes[0].weights, up.dtype))
    return Chain(mass, conductance)


def chain_gap(chain: Chain) -> ChainGap:
    """The gap and the slowest mode of a chain.

    The derivative is that of Delta = sum c (dg)^2 / Var g with g held fixed (Hellmann
    and Feynman),

        d log Delta = sum_i phi_i^2 d log c_i - sum_j (w_j psi_j^2 - mass_j) d log mass_j,     one norm for both.
    """
    fixed = jax.lax.stop_gradient(chain)
    log, error, partner = kernel_gap(partner_kernel(fixed))
    mode = _mode(fixed, partner)
    # Zero in value, with the derivative above.
    by_conductance = jnp.sum(partner**2 * (chain.conductance - fixed.conductance))
    by_mass = jnp.sum(
        (mode**2 - jax.nn.softmax(fixed.mass)) * (chain.mass - fixed.mass)
    )
    return ChainGap(log + (by_conductance - by_mass), error, mode)


def partner_kernel(chain: Chain) -> Kernel:
    """K from the logarithms of its chain."""
    below, above = chain.cumulative_masses
    conductance = chain.conductance
    # Everything is formed as a logarithm: the factors of an entry underflow where the
    # entry itself does not.
    log_diagonal = below + above - conductance - jax.scipy.special.logsumexp(chain.mass)
    scale = jnp.max(log_diagonal)
    log_above = above - conductance / 2
    log_below = below - conductance / 2
    forward_ratios = jnp.append(0, _finite_exp(log_above[1:] - log_above[:-1]))
    backward_ratios = jnp.append(_finite_exp(log_below[:-1] - log_below[1:]), 0)
    # An entry errs by eps times the size of its logarithms; what matters is their size
    # where K is largest.
    sizes = jnp.abs(below) + jnp.abs(above) + jnp.abs(conductance)
    largest_size = jnp.max(jnp.where(log_diagonal == scale, sizes, 0))
    rounding = jnp.finfo(scale.dtype).eps * (CONSTANTS.kernel_roundings + largest_size)
    return Kernel(
        jnp.exp(log_diagonal - scale), forward_ratios, backward_ratios, scale, rounding
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
    phi = jnp.abs(_lanczos(kernel, CONSTANTS.lanczos_steps if steps is None else steps))
    phi = _unit(kernel(_unit(kernel(phi))))
    image = kernel(phi)
    top = jnp.sum(phi * image)

    # The better of the two bounds.
    highest = jnp.max(jnp.where(phi > 0, image / jnp.where(phi > 0, phi, 1), 0))
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
            image = image - jnp.matmul(
                jnp.matmul(basis, image, precision=EXACTLY), basis, precision=EXACTLY
            )
        size = jnp.sqrt(jnp.sum(image**2))
        # A size of zero means that the basis is complete: rows of zeros follow.
        return basis.at[k + 1].set(image / jnp.where(size == 0, 1, size)), (
            centre,
            size,
        )

    basis = jnp.zeros((steps + 1, len(start)), start.dtype)
    basis = basis.at[0].set(start / jnp.sqrt(jnp.sum(kernel.diagonal)))
    basis, (centres, links) = jax.lax.scan(step, basis, jnp.arange(steps))
    tridiagonal = jnp.diag(centres) + jnp.diag(links[:-1], 1) + jnp.diag(links[:-1], -1)
    _, vectors = jnp.linalg.eigh(tridiagonal)
    return jnp.matmul(vectors[:, -1], basis[:-1], precision=EXACTLY)


def _mode(chain: Chain, partner: Array) -> Array:
    """sqrt(w) psi_1 `(n,)` of unit norm: with d = phi / sqrt(c), the steps of g over
    the faces,
    g_j = sum of F_k d_k over faces k below j - sum of Fbar_k d_k above it.
    """
    below, above = chain.cumulative_masses
    log_sqrt_mass = chain.mass / 2
    log_partner = jnp.where(
        partner > 0, jnp.log(jnp.where(partner > 0, partner, 1)), LOG_ZERO
    )
    log_steps = log_partner - chain.conductance / 2
    # Both sums are of positive numbers, from their own ends; one subtraction is left,
    # of sums that vary slowly.
    sums = jax.lax.cumlogsumexp(
        jnp.stack([below + log_steps, (above + log_steps)[::-1]]), axis=1
    )
    from_below = log_sqrt_mass + jnp.append(LOG_ZERO, sums[0])
    from_above = log_sqrt_mass + jnp.append(sums[1, ::-1], LOG_ZERO)
    scale = jnp.max(jnp.maximum(from_below, from_above))
    return _unit(jnp.exp(from_below - scale) - jnp.exp(from_above - scale))


def extrapolate(values: Array) -> tuple[Array, Array]:
    """The limit of values whose errors are a series in h^2, h halved from each to the
    next, and its uncertainty.
    """
    rows = [values]
    for k in range(1, values.shape[0]):
        # Column k of Romberg's table removes the error of order h^(2k).
        last = rows[-1]
        rows.append(last[1:] + (last[1:] - last[:-1]) / (4**k - 1))
    best = rows[-1][-1]
    second_best = rows[-2][-1]
    return best, jax.lax.stop_gradient(jnp.abs(best - second_best))


def padded(chains: list[Chain]) -> Chain:
    """Chains of several lengths as one batch; the nodes added to the shorter ones have
    no mass.
    """
    longest = max(chain.mass.shape[0] for chain in chains)
    masses = []
    conductances = []
    for chain in chains:
        missing = longest - chain.mass.shape[0]
        masses.append(jnp.pad(chain.mass, (0, missing), constant_values=LOG_ZERO))
        conductances.append(jnp.pad(chain.conductance, (0, missing)))
    return Chain(jnp.stack(masses), jnp.stack(conductances))


def _unit(v: Array) -> Array:
    return v / jnp.sqrt(jnp.sum(v**2))


def _finite_exp(log: Array) -> Array:
    """exp, at most the largest finite number over e: a ratio may overflow where its
    entries of K are zero.
    """
    return jnp.exp(jnp.minimum(log, jnp.log(jnp.finfo(log.dtype).max) - 1))
