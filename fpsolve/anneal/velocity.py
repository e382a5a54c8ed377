"""The velocity that carries a moving Gibbs density along.

    d_t pi = -div(pi v),      v = -grad phi the one of least energy int pi |v|^2

On finite volumes, with m = sqrt(pi) and a = d_t log pi at the nodes, and J* = v m m_+ the flux across a face,

    sum over the faces of a cell of J* = -pi a                          so that d_t m + G m = 0 to rounding (T20)
    one axis     J* is the mass that appears beyond a face, summed from the end from which the density rises
    a ring       the same, and the constant that makes int J*^2 / pi least
    more axes    v = c (phi - phi_+), c = (z / sinh z) / gap, z = log(m_+ / m): the couplings of Scharfetter and Gummel;
                 sum_k r_jk (phi_j - phi_k) = -a_j by multigrid, and again on what the fluxes have left over

Sums start at zero in the tails and end at the highest node: summed through to the far tail, rounding alone would move
1e-17 of mass where there is 1e-40 (control N13). v obeys recurrences in ratios of m, so that nothing underflows.

The same v serves a finite step: with m = (m_0 + m_1) / 2 and a = 2 (m_1 - m_0) / (m length) it moves pi_0 to pi_1.

References: Villani, Topics in Optimal Transportation (2003), section 8.1; theorem T20 of this library.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.program import full_precision, shape_program
from ..core.types import Real
from ..equation import FokkerPlanck
from ..grid import Grid
from ..linear.multigrid import solve_graph
from ..operator import EdgeOperator
from ..operator.finite_volume import bernoulli
from ..operator.flow_edges import FlowEdges
from ..plan.validation import check_equation
from .gibbs import log_sqrt_pi_and_rate

ROUNDS, LOOSE = 2, 1e-7  # of multigrid, each on what the fluxes of the last one left over


class Velocity(eqx.Module):
    """How the Gibbs density moves at one time: `operator`, the antisymmetric G, and `rate` d_t log pi `(*shape)`."""

    operator: FlowEdges
    rate: Array

    @property
    def faces(self) -> tuple[Array, ...]:
        """v across the faces of each axis."""
        return self.operator.velocity

    @property
    def flux(self) -> tuple[Array, ...]:
        """J* across the faces of each axis, in mass a unit of time: w d_t pi = -(what leaves a cell)."""
        grid, log_sqrt_pi = self.operator.grid, self.operator.log_sqrt_pi
        fluxes = []
        for i, (axis, velocity) in enumerate(zip(grid.axes, self.faces, strict=True)):
            low, high = axis.face_neighbors(log_sqrt_pi, i)
            others = [other.weights if j != i else np.ones(1) for j, other in enumerate(grid.axes)]
            area = jnp.asarray(_outer(others), velocity.dtype)
            fluxes.append(velocity * jnp.exp(low + high) * area)
        return tuple(fluxes)

    @property
    def nodes(self) -> Array:
        """v at the nodes, the mean of the faces on either side, `(d, *shape)`."""
        grid, components = self.operator.grid, []
        for i, axis in enumerate(grid.axes):
            sums = axis.node_faces(self.faces[i], i)
            count = axis.node_faces(jnp.ones_like(self.faces[i]), i)
            components.append((sums[0] + sums[1]) / (count[0] + count[1]))
        return jnp.stack(components)

    @property
    def residual(self) -> Array:
        """The largest |d_t sqrt(pi) + G sqrt(pi)|, relative to the largest of its terms."""
        grid, root = self.operator.grid, jnp.exp(self.operator.log_sqrt_pi)
        still = self.rate * root / 2
        scale = jnp.max(jnp.abs(still))
        for i, axis in enumerate(grid.axes):
            largest = jnp.abs(self.faces[i]) * jnp.maximum(*axis.face_neighbors(root, i)) / (2 * float(axis.weights[0]))
            scale = jnp.maximum(scale, jnp.max(largest))
        return jnp.max(jnp.abs(still + self.operator.wave(root))) / jnp.where(scale > 0, scale, 1)


@full_precision
def velocity(equation: FokkerPlanck, grid: Grid, t: Real = 0.0) -> Velocity:
    """The velocity of least energy that carries the Gibbs density of a moving process along.

        d_t pi = -div(pi v),      v = -grad phi;      on one axis v = -(d_t F) / pi, F the cumulative of pi

    **Arguments**: `equation`, an `fp.FokkerPlanck` that has a Gibbs density at every t; `grid`, of `fp.Line`,
    `fp.Reflecting` and `fp.Periodic` axes; `t`, the time, traced or not. **Returns** a `Velocity`: `.nodes`
    `(d, *shape)` and `.faces` in units length / time, `.flux` the mass across each face, `.operator` the antisymmetric
    G, `.residual` what d_t sqrt(pi) + G sqrt(pi) comes to. **Raises** `ValueError` for a process without a Gibbs
    density, or an axis that absorbs or has unequal cells.

    **Keeps**: w d_t pi = -(sum of fluxes out of a cell) to rounding, and v its relative accuracy in tails (one axis).
    v is of order 2 in the cell width. **Cost**: O(n) on one axis; else some 25 multigrid cycles.
    **Reference**: Villani, Topics in Optimal Transportation (2003), section 8.1; theorem T20.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.velocity import velocity

    dragged = fp.FokkerPlanck(lambda x, t: (x[0] - 2 * t) ** 2 / 2)
    speed = velocity(dragged, fp.Grid(fp.Line(-6.0, 6.0, 64))).nodes  # 2 wherever there is mass
    ```
    """
    equation, grid = check_carried(equation, grid, t)
    return _velocity(equation, grid, as_array(t))


def check_carried(equation: Any, grid: Any, t: Any = 0.0) -> tuple[FokkerPlanck, Grid]:
    """Refuse a process without a Gibbs density, or a grid on which no flux can carry it."""
    equation, grid = check_equation(equation, grid, t)
    if not equation.evolves_density:
        raise_value_error("equation", equation, "only a process is carried along", "Give fp.FokkerPlanck(potential).")
    equation.require_reversible(grid, "a Gibbs density to carry along", t)
    for axis in grid.axes:
        if axis.boundary == "absorbing" or np.ptp(axis.weights) > 0:
            cure = "Give fp.Line, fp.Reflecting or fp.Periodic."
            raise_value_error("grid", axis, "the cells must be equal and no end may absorb", cure)
    return equation, grid


def _velocity(equation: FokkerPlanck, grid: Grid, t: Array) -> Velocity:
    log_sqrt_pi, rate = log_sqrt_pi_and_rate(equation, grid, t)
    return _flow(grid, log_sqrt_pi, rate)


@shape_program
def _flow(grid: Grid, log_sqrt_pi: Array, rate: Array) -> Velocity:
    return Velocity(FlowEdges(grid, face_velocity(grid, log_sqrt_pi, rate), log_sqrt_pi), rate)


def face_velocity(grid: Grid, log_sqrt_pi: Array, rate: Array) -> tuple[Array, ...]:
    """v on the faces of each axis, from log m and a, `(*shape)`: -div(m^2 v) = m^2 a, of least energy.

    The highest node takes what the sum of m^2 a differs from zero by. m need not be normalised.
    """
    if grid.ndim > 1:
        return _by_multigrid(grid, log_sqrt_pi, rate)
    if grid.axes[0].boundary == "no_flux":
        return (_by_sums(log_sqrt_pi, float(grid.axes[0].weights[0]) * rate),)
    return (_round_ring(grid, log_sqrt_pi, rate),)


def _by_sums(log_sqrt_pi: Array, added: Array) -> Array:
    """v on the n - 1 faces between n nodes: J* is minus what is added below the face, or what is added above it."""
    below = jnp.arange(len(added) - 1) < jnp.argmax(log_sqrt_pi)

    def upwards(log_sqrt_pi: Array, added: Array, inside: Array) -> Array:
        """The mass added below each face, over m m_+."""
        drop = log_sqrt_pi[:-1] - log_sqrt_pi[1:]
        carried = jnp.concatenate([jnp.zeros(1, drop.dtype), jnp.exp(jnp.where(inside[1:], drop[:-1] + drop[1:], 0))])
        gained = added[:-1] * jnp.exp(jnp.where(inside, drop, 0))

        def step(sum_: Array, face: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            carried, gained, inside = face
            sum_ = jnp.where(inside, carried * sum_ + gained, 0)
            return sum_, sum_

        return jax.lax.scan(step, jnp.zeros((), drop.dtype), (carried, gained, inside))[1]

    return upwards(log_sqrt_pi[::-1], added[::-1], ~below[::-1])[::-1] - upwards(log_sqrt_pi, added, below)


def _round_ring(grid: Grid, log_sqrt_pi: Array, rate: Array) -> Array:
    """Cut at the lowest face, then the current round the ring that makes sum J*^2 / k least."""
    (axis,) = grid.axes
    low, high = axis.face_neighbors(log_sqrt_pi)
    cut = jnp.argmin(low + high) + 1
    turned = _by_sums(jnp.roll(log_sqrt_pi, -cut), float(axis.weights[0]) * jnp.roll(rate, -cut))
    velocity = jnp.roll(jnp.append(turned, 0), cut)
    inverse = 1 / _chain(grid, log_sqrt_pi).couplings[0]
    current = jnp.exp(jnp.min(low + high) - low - high)  # the velocity of a uniform flux
    return velocity - jnp.sum(inverse * velocity) / jnp.sum(inverse * current) * current


def _by_multigrid(grid: Grid, log_sqrt_pi: Array, rate: Array) -> tuple[Array, ...]:
    operator = _chain(grid, log_sqrt_pi)
    clamped = (jnp.arange(grid.size) == jnp.argmax(log_sqrt_pi)).reshape(grid.shape)
    nothing, tol = jnp.zeros(grid.shape, rate.dtype), jnp.asarray(LOOSE, rate.dtype)

    def again(_: Any, faces: tuple[Array, ...]) -> tuple[Array, ...]:
        left = rate
        for i, axis in enumerate(grid.axes):
            below, above = axis.face_neighbors(log_sqrt_pi, i)
            lower = axis.node_faces(faces[i] * jnp.exp(below - above), i)[0]
            upper = axis.node_faces(faces[i] * jnp.exp(above - below), i)[1]
            left = left + (upper - lower) / float(axis.weights[0])
        phi = solve_graph(operator, -left, clamped, nothing, tol).values
        falls = [below - above for below, above in (axis.face_neighbors(phi, i) for i, axis in enumerate(grid.axes))]
        return tuple(v + c * fall for v, c, fall in zip(faces, operator.couplings, falls, strict=True))

    return jax.lax.fori_loop(0, ROUNDS, again, tuple(jnp.zeros_like(c) for c in operator.couplings))


def _chain(grid: Grid, log_sqrt_pi: Array) -> EdgeOperator:
    """The reversible chain with unit diffusion that m^2 is the stationary density of."""
    up, down = [], []
    for i, axis in enumerate(grid.axes):
        below, above = axis.face_neighbors(log_sqrt_pi, i)
        gaps = jnp.asarray(axis.spacings, log_sqrt_pi.dtype).reshape(-1, *[1] * (grid.ndim - 1 - i))
        up.append(bernoulli(2 * (below - above)) / gaps)
        down.append(bernoulli(2 * (above - below)) / gaps)
    return EdgeOperator(grid, tuple(up), tuple(down), None, log_sqrt_pi)


def _outer(factors: list[np.ndarray]) -> np.ndarray:
    product = np.ones(())
    for factor in factors:
        product = product[..., None] * factor
    return product
