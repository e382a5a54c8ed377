"""The gap of a chain of nodes to full relative accuracy, however small: the lowest
level of the supersymmetric partner.

Of the conductances c_i of the faces of a chain, with A from nodes to faces,

    A A^T phi = Delta phi,
    phi_i = sqrt(c_i) (g_{i+1} - g_i) > 0,     g = psi_1 / sqrt(pi),

exactly, for every birth-death chain: on a line they all satisfy detailed balance. The
supersymmetric partner A A^T has the levels of H = A^T A without the zero, so that the
gap is its lowest level and is not lost next to another one. Its inverse is a positive
kernel, and `partner_kernel` takes the gap from it without loss. `line_gap` extrapolates
the gaps of refined chains, whose errors are even in the cell width, to the continuum.

References: theorem T4 of this library; Romberg's table: Stoer and Bulirsch,
Introduction to Numerical Analysis (2002), section 3.4.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.program import shape_program
from ..core.types import DType, Scalar
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..operator.base import places_of, sample_equation, sample_smooth_equation
from .constants import CONSTANTS
from .partner_kernel import LOG_ZERO, Chain, kernel_gap, partner_kernel, unit

T = TypeVar("T")


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
    mode = found.mode / jnp.sqrt(weights)
    return PartnerMode(jnp.exp(found.log), found.log, found.error, mode)


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
    samples = sample_line(equation, axis, t, cells)
    return sampled_line_gap(samples, axis, jnp.dtype(dtype), cells)


def sample_line(
    equation: FokkerPlanck,
    axis: Axis,
    t: Scalar,
    cells: tuple[int, ...] | None = None,
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
    return tuple(_on_chains(sample_equation, equation, axis, t, cells))


def sample_smooth_line(
    equation: FokkerPlanck, axis: Axis, t: Scalar
) -> tuple[tuple[Samples, ...], Array]:
    """`sample_line` for functions that do not jump, in a fifth of the operations, and
    whether one jumps all the same.
    """
    found = _on_chains(sample_smooth_equation, equation, axis, t, None)
    samples, jumps = zip(*found, strict=True)
    return samples, jnp.any(jnp.stack(jumps))


def _on_chains(
    sample: Callable[..., T],
    equation: FokkerPlanck,
    axis: Axis,
    t: Scalar,
    cells: tuple[int, ...] | None,
) -> list[T]:
    """What `sample` gives of a process on the finite volumes of each chain."""
    reversible = equation.irreversible_anywhere is None
    scheme = ScharfetterGummel()
    # A small program for each chain, which serves all boxes: one for all chains takes
    # ten times as long to compile.
    found = []
    for grid in _chain_grids(axis, cells or CONSTANTS.chain_cells):
        places = places_of(grid, scheme, equation, reversible)
        found.append(sample(scheme, equation, places, as_array(t), reversible))
    return found


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
        operator = ScharfetterGummel().assemble(chain_samples, grid, dtype)
        chains.append(read_chain(operator))
    # Padded to one length, so that one program serves the chains of all lengths.
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
    is_chain = grid.ndim == 1 and grid.axes[0].boundary == "no_flux"
    if not is_chain or operator.potential_term is not None:
        raise_value_error(
            "operator.grid",
            grid,
            "the partner kernel belongs to a process on one axis with no-flux "
            "boundaries",
            "Take the singular values of A elsewhere.",
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
    log_flow_up = log_gibbs[:-1] + jnp.log(up)
    log_flow_down = log_gibbs[1:] + jnp.log(down)
    conductance = jnp.where(up > down, log_flow_up, log_flow_down)
    weights = jnp.asarray(grid.axes[0].weights, up.dtype)
    mass = log_gibbs + jnp.log(weights)
    return Chain(mass, conductance)


def chain_gap(chain: Chain) -> ChainGap:
    """The gap and the slowest mode of a chain.

    The derivative is that of Delta = sum c (dg)^2 / Var g with g held fixed (Hellmann
    and Feynman),

        d log Delta = sum_i phi_i^2 d log c_i
                      - sum_j (w_j psi_j^2 - mass_j) d log mass_j,

    one norm for both.
    """
    fixed = jax.lax.stop_gradient(chain)
    log, error, partner = kernel_gap(partner_kernel(fixed))
    mode = _mode(fixed, partner)
    # Zero in value, with the derivative above.
    conductance_change = chain.conductance - fixed.conductance
    mass_change = chain.mass - fixed.mass
    by_conductance = jnp.sum(partner**2 * conductance_change)
    # The masses are known up to a common factor, which softmax removes.
    excess = mode**2 - jax.nn.softmax(fixed.mass)
    by_mass = jnp.sum(excess * mass_change)
    return ChainGap(log + (by_conductance - by_mass), error, mode)


def _mode(chain: Chain, partner: Array) -> Array:
    """sqrt(w) psi_1 `(n,)` of unit norm: with d = phi / sqrt(c), the steps of g over
    the faces,
    g_j = sum of F_k d_k over faces k below j - sum of Fbar_k d_k above it.
    """
    below, above = chain.cumulative_masses
    log_sqrt_mass = chain.mass / 2
    # An entry of the partner may underflow; the inner `where` keeps its log finite.
    positive = partner > 0
    safe_partner = jnp.where(positive, partner, 1)
    log_partner = jnp.where(positive, jnp.log(safe_partner), LOG_ZERO)
    log_steps = log_partner - chain.conductance / 2
    # Both sums are of positive numbers, from their own ends; one subtraction is left,
    # of sums that vary slowly.
    terms = jnp.stack([below + log_steps, (above + log_steps)[::-1]])
    sums = jax.lax.cumlogsumexp(terms, axis=1)
    from_below = log_sqrt_mass + jnp.append(LOG_ZERO, sums[0])
    from_above = log_sqrt_mass + jnp.append(sums[1, ::-1], LOG_ZERO)
    # The mode is normalised in the end: the largest sum is taken out, so that none
    # overflows.
    scale = jnp.max(jnp.maximum(from_below, from_above))
    return unit(jnp.exp(from_below - scale) - jnp.exp(from_above - scale))


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
    """Chains of several lengths as one batch; nodes that are added have no mass."""
    longest = max(chain.mass.shape[0] for chain in chains)
    masses = []
    conductances = []
    for chain in chains:
        missing = longest - chain.mass.shape[0]
        masses.append(jnp.pad(chain.mass, (0, missing), constant_values=LOG_ZERO))
        conductances.append(jnp.pad(chain.conductance, (0, missing)))
    return Chain(jnp.stack(masses), jnp.stack(conductances))
