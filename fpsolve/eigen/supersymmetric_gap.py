"""The gap of a chain of nodes to full relative accuracy, however small: the top of a positive kernel.

Faces i between the nodes of one closed axis carry the conductance c_i = pi_i up_i = pi_{i+1} down_i; F_i is the mass
below face i, summed from the left, and Fbar_i the mass above it, summed from the right. With A from nodes to faces,

    A A^T phi = Delta phi,     (A A^T)^{-1} = K,     K_ik = F_min Fbar_max / sqrt(c_i c_k) > 0,
    1 / Delta = top eigenvalue of K,     phi_i = sqrt(c_i) (g_{i+1} - g_i) > 0,     g = psi_1 / sqrt(pi),

exactly, for every birth-death chain: on a line they all balance in detail. The supersymmetric partner A A^T has the
levels of H = A^T A without the zero, so nothing is lost against it: K is made of sums of positive numbers, and its
*largest* eigenvalue is wanted, which rounding cannot hurt. K v takes two recurrences along the chain,

    s_i = r_i s_{i-1} + k_i v_i,     w_i = q_i w_{i+1} + k_i v_i,     (K v)_i = s_i + q_i w_{i+1},
    k_i = K_ii,     r_i = K_ik / K_{i-1,k} for k < i,     q_i = K_ik / K_{i+1,k} for k > i,

whose factors are moderate where pi falls below e^-5000. `line_gap` extrapolates the gaps of refined chains, whose
errors are even in the cell width, to the continuum.

References: theorem T4 of this library; Collatz-Wielandt bounds: Seneta, Non-negative Matrices and Markov Chains
(1981), section 1.1; Romberg's table: Stoer and Bulirsch, Introduction to Numerical Analysis (2002), section 3.4.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.machine import EXACTLY
from ..core.program import sampling_program, shape_program
from ..equation import FokkerPlanck
from ..grid import Axis, Grid, Line
from ..operator import EdgeOperator, Samples, ScharfetterGummel

STEPS = 32  # of Lanczos' iteration: modes a part in 1e4 apart are told from each other (tests/test_partner.py)
CELLS = (256, 512, 1024, 2048)  # errors of order 8 in the width: 1e-11 at most in the tests
EMPTY = -1e30  # the logarithm of no mass


class PartnerMode(NamedTuple):
    """The slowest mode of a chain.

    - `gap` Delta, a scalar, and `log` its logarithm, which is right where Delta itself underflows
    - `error`: a bound on the relative error of Delta as a level of this chain
    - `mode` `(n,)`: psi_1, of unit norm in the grid's weights, rising from negative to positive; not differentiated
    """

    gap: Array
    log: Array
    error: Array
    mode: Array


class LineGap(NamedTuple):
    """The gap of the continuum: `gap`, its logarithm `log`, and `error`, the estimated relative error of `gap`."""

    gap: Array
    log: Array
    error: Array


class Chain(NamedTuple):
    """Logarithms, up to one common constant: `mass` of the nodes `(n,)` and `conductance` of the faces `(n - 1,)`."""

    mass: Array
    conductance: Array

    @property
    def beside(self) -> tuple[Array, Array]:
        """log F and log Fbar `(n - 1,)`, up to the same constant."""
        sums = jax.lax.cumlogsumexp(jnp.stack([self.mass, self.mass[::-1]]), axis=1)
        return sums[0, :-1], sums[1, -2::-1]


class Kernel(eqx.Module):
    """K / e^scale `(m, m)` of a chain of m faces, with a largest diagonal entry of 1."""

    diagonal: Array
    forwards: Array  # r_i, zero at the first face
    backwards: Array  # q_i, zero at the last face
    scale: Array
    rounding: Array  # of an entry, relative

    def __call__(self, v: Array) -> Array:
        """K v, `(m,)`: every entry to a few roundings where v >= 0. **Cost**: O(m)."""
        load = self.diagonal * v
        sums = _recur(jnp.stack([self.forwards, self.backwards[::-1]]), jnp.stack([load, load[::-1]]))
        return sums[0] + self.backwards * jnp.append(sums[1, :-1][::-1], 0)


def partner_mode(operator: EdgeOperator) -> PartnerMode:
    """The gap and the slowest mode of finite volumes on one closed axis.

    **Arguments**: `operator` from `ScharfetterGummel` or `SquareRoot`, of any potential, force or diffusion.
    **Raises** `ValueError` for a ring, an absorbing axis, several axes, or a well.

    **Keeps**: the relative accuracy of Delta, whatever its size; `jit`, `vmap` and `grad` (Hellmann and Feynman).
    **Cost**: some forty products with K, O(n) each.
    """
    log, error, mode = chain_gap(read_chain(operator))
    weights = jnp.asarray(operator.grid.axes[0].weights, mode.dtype)
    return PartnerMode(jnp.exp(log), log, error, mode / jnp.sqrt(weights))


def line_gap(equation: FokkerPlanck, axis: Axis, t: Any, dtype: Any, cells: tuple[int, ...] = CELLS) -> LineGap:
    """The gap of the process between the ends of a closed axis, extrapolated from chains of `cells` cells.

    **Arguments**: `axis` gives the box, and its `n` is not used; `t` freezes a moving potential; `cells` double from
    each to the next. **Raises** `ValueError` for a ring or an absorbing axis.
    **Returns** a `LineGap`, whose error is the difference of the last two of Romberg's extrapolations and the bounds
    of the chains. **Keeps** and **Cost**: as `partner_mode`, on the longest chain.
    """
    return sampled_line_gap(sample_line(equation, axis, t, cells), axis, jnp.dtype(dtype), cells)


def sample_line(equation: FokkerPlanck, axis: Axis, t: Any, cells: tuple[int, ...] = CELLS) -> tuple[Samples, ...]:
    """What `sampled_line_gap` needs of a process between the ends of a closed axis: samples of finite volumes on each
    of the chains. **Raises** as `line_gap`."""
    if axis.boundary != "no_flux":
        raise_value_error("axis", axis, "the partner kernel needs closed ends", "Use fp.Line or fp.Reflecting.")
    return _sample_chains(equation, axis, as_array(t), cells)


@sampling_program
def _sample_chains(equation: FokkerPlanck, axis: Axis, t: Array, cells: tuple[int, ...]) -> tuple[Samples, ...]:
    reversible = equation.irreversible_anywhere is None
    return tuple(ScharfetterGummel().sample(equation, grid, t, reversible) for grid in _grids(axis, cells))


@shape_program
def sampled_line_gap(samples: tuple[Samples, ...], axis: Axis, dtype: Any, cells: tuple[int, ...] = CELLS) -> LineGap:
    """The same from the samples of `sample_line`, arrays and nothing else: at a batch of times under `vmap`."""
    grids = _grids(axis, cells)
    chains = [read_chain(ScharfetterGummel().assemble(s, g, dtype)) for s, g in zip(samples, grids, strict=True)]
    log, error, _ = jax.vmap(chain_gap)(_side_by_side(chains))
    best, estimate = extrapolate(log)
    return LineGap(jnp.exp(best), best, estimate + jnp.max(error))


def _grids(axis: Axis, cells: tuple[int, ...]) -> list[Grid]:
    return [Grid(Line(axis.lower, axis.upper, n)) for n in cells]


def read_chain(operator: EdgeOperator) -> Chain:
    """The chain that an operator of finite volumes makes of one closed axis."""
    grid = operator.grid
    if grid.ndim != 1 or grid.axes[0].boundary != "no_flux" or operator.well is not None:
        allowed = "the partner kernel belongs to a process on one axis with closed ends"
        raise_value_error("operator.grid", grid, allowed, "Take the singular values of A elsewhere.")
    up, down = operator.up[0], operator.down[0]
    if operator.log_sqrt_pi is None:
        log_gibbs = jnp.append(0, jnp.cumsum(jnp.log(up) - jnp.log(down)))
    else:
        log_gibbs = 2 * operator.log_sqrt_pi
    # Either product is the conductance; the larger rate is the one that has not underflowed.
    conductance = jnp.where(up > down, log_gibbs[:-1] + jnp.log(up), log_gibbs[1:] + jnp.log(down))
    mass = log_gibbs + jnp.log(jnp.asarray(grid.axes[0].weights, up.dtype))
    return Chain(mass, conductance)


def chain_gap(chain: Chain) -> tuple[Array, Array, Array]:
    """log Delta, a bound on its relative error, and sqrt(w) psi_1 `(n,)` of unit norm.

    The derivative is that of Delta = sum c (dg)^2 / Var g with g held fast (Hellmann and Feynman),

        d log Delta = sum_i phi_i^2 d log c_i - sum_j (w_j psi_j^2 - mass_j) d log mass_j,     one norm for both.
    """
    fixed = jax.lax.stop_gradient(chain)
    log, error, partner = kernel_gap(partner_kernel(fixed))
    mode = _mode(fixed, partner)
    share = mode**2 - jax.nn.softmax(fixed.mass)
    change = jnp.sum(partner**2 * (chain.conductance - fixed.conductance)) - jnp.sum(share * (chain.mass - fixed.mass))
    return log + change, error, mode


def partner_kernel(chain: Chain) -> Kernel:
    """K from the logarithms of its chain."""
    (below, above), conductance = chain.beside, chain.conductance
    diagonal = below + above - conductance - jax.scipy.special.logsumexp(chain.mass)
    scale = jnp.max(diagonal)
    ascent, descent = above - conductance / 2, below - conductance / 2
    forwards = jnp.append(0, _moderate(ascent[1:] - ascent[:-1]))
    backwards = jnp.append(_moderate(descent[:-1] - descent[1:]), 0)
    sizes = jnp.abs(below) + jnp.abs(above) + jnp.abs(conductance)
    # What matters is the size of the logarithms where K is largest.
    rounding = jnp.finfo(scale.dtype).eps * (8 + jnp.max(jnp.where(diagonal == scale, sizes, 0)))
    return Kernel(jnp.exp(diagonal - scale), forwards, backwards, scale, rounding)


def kernel_gap(kernel: Kernel, steps: int = STEPS) -> tuple[Array, Array, Array]:
    """log Delta, a bound on its relative error, and the positive phi `(m,)` of unit norm.

    phi is found by `steps` of Lanczos iteration, which tells modes of nearly the same rate apart, and made relatively
    accurate in its tails by two products with K. Its Rayleigh quotient is at most the top eigenvalue, and that is at
    most max (K phi)_i / phi_i; the residual bounds the distance as well.
    """
    unit = lambda v: v / jnp.sqrt(jnp.sum(v**2))
    phi = unit(kernel(unit(kernel(jnp.abs(_lanczos(kernel, steps))))))
    image = kernel(phi)
    top = jnp.sum(phi * image)
    highest = jnp.max(jnp.where(phi > 0, image / jnp.where(phi > 0, phi, 1), 0))
    residual = jnp.sqrt(jnp.sum((image - top * phi) ** 2))
    error = jnp.minimum(highest - top, residual) / top + kernel.rounding
    return -jnp.log(top) - kernel.scale, error, phi


def _lanczos(kernel: Kernel, steps: int) -> Array:
    """The top Ritz vector of K, `(m,)`, from a positive start, with every vector made orthogonal to all before."""
    diagonal = kernel.diagonal
    steps = min(steps, diagonal.shape[0])

    def step(basis: Array, k: Array) -> tuple[Array, tuple[Array, Array]]:
        image = kernel(basis[k])
        centre = jnp.sum(basis[k] * image)
        for _ in range(2):
            image = image - jnp.matmul(jnp.matmul(basis, image, precision=EXACTLY), basis, precision=EXACTLY)
        size = jnp.sqrt(jnp.sum(image**2))
        return basis.at[k + 1].set(image / jnp.where(size == 0, 1, size)), (centre, size)

    start = jnp.sqrt(diagonal)
    basis = jnp.zeros((steps + 1, *diagonal.shape), diagonal.dtype).at[0].set(start / jnp.sqrt(jnp.sum(diagonal)))
    basis, (centres, links) = jax.lax.scan(step, basis, jnp.arange(steps))
    _, vectors = jnp.linalg.eigh(jnp.diag(centres) + jnp.diag(links[:-1], 1) + jnp.diag(links[:-1], -1))
    return jnp.matmul(vectors[:, -1], basis[:-1], precision=EXACTLY)


def _mode(chain: Chain, partner: Array) -> Array:
    """sqrt(w) psi_1 `(n,)` of unit norm: g_j = sum of F_k d_k over faces k below j - sum of Fbar_k d_k above it."""
    (below, above), root = chain.beside, chain.mass / 2
    steps = jnp.where(partner > 0, jnp.log(jnp.where(partner > 0, partner, 1)), EMPTY) - chain.conductance / 2
    sums = jax.lax.cumlogsumexp(jnp.stack([below + steps, (above + steps)[::-1]]), axis=1)
    rise, fall = root + jnp.append(EMPTY, sums[0]), root + jnp.append(sums[1, ::-1], EMPTY)
    scale = jnp.max(jnp.maximum(rise, fall))
    mode = jnp.exp(rise - scale) - jnp.exp(fall - scale)
    return mode / jnp.sqrt(jnp.sum(mode**2))


def extrapolate(values: Array) -> tuple[Array, Array]:
    """The limit of values whose errors are a series in h^2, h halved from each to the next, and its uncertainty."""
    rows = [values]
    for k in range(1, values.shape[0]):
        last = rows[-1]
        rows.append(last[1:] + (last[1:] - last[:-1]) / (4**k - 1))
    best, before = rows[-1][-1], rows[-2][-1]
    return best, jax.lax.stop_gradient(jnp.abs(best - before))


def _side_by_side(chains: list[Chain]) -> Chain:
    """Chains of several lengths as one batch; the nodes added to the shorter ones are empty."""
    longest = max(chain.mass.shape[0] for chain in chains)
    missing = [longest - chain.mass.shape[0] for chain in chains]
    mass = [jnp.pad(chain.mass, (0, k), constant_values=EMPTY) for chain, k in zip(chains, missing, strict=True)]
    conductance = [jnp.pad(chain.conductance, (0, k)) for chain, k in zip(chains, missing, strict=True)]
    return Chain(jnp.stack(mass), jnp.stack(conductance))


def _moderate(log: Array) -> Array:
    """exp, kept finite."""
    return jnp.exp(jnp.minimum(log, jnp.log(jnp.finfo(log.dtype).max) - 1))


def _recur(factors: Array, loads: Array) -> Array:
    """x_i = load_i + factor_i x_{i-1} along the last axis: in turn on a CPU, as a tree elsewhere."""
    return jax.lax.platform_dependent(factors, loads, cpu=_in_turn, default=_at_once)


def _in_turn(factors: Array, loads: Array) -> Array:
    def step(x: Array, link: tuple[Array, Array]) -> tuple[Array, Array]:
        x = link[1] + link[0] * x
        return x, x

    return jax.lax.scan(step, jnp.zeros_like(loads[..., 0]), (factors.T, loads.T))[1].T


def _at_once(factors: Array, loads: Array) -> Array:
    most = jnp.finfo(loads.dtype).max  # a product of many factors may overflow where what it multiplies has vanished

    def compose(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        return jnp.minimum(then[0] * first[0], most), then[0] * first[1] + then[1]

    return jax.lax.associative_scan(compose, (factors, loads), axis=loads.ndim - 1)[1]
