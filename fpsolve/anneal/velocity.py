"""The velocity field that transports a time-dependent Gibbs density.

    d_t pi = -div(pi v),      v = -grad phi the one of least energy int pi |v|^2

On finite volumes, with m = sqrt(pi) and a = d_t log pi at the nodes, and J* = v m m_+
the flux across a face,

    sum over the faces of a cell of J* = -pi a,

so that d_t m + G m = 0 to rounding (T20);

    one axis     J* is the mass that appears beyond a face, summed from the nearer tail
    a ring       the same, plus the constant that minimises int J*^2 / pi
    more axes    v = c (phi - phi_+),  c = (z / sinh z) / spacing,  z = log(m_+ / m):
                 the couplings of Scharfetter and Gummel;
                 sum_k r_jk (phi_j - phi_k) = -a_j by multigrid, and again for the
                 residual of the fluxes

Sums start at zero in both tails and end at the highest node: summed through to the far
tail, rounding alone would move 1e-17 of mass where there is 1e-40 (control N13). v
obeys recurrences in ratios of m, so that nothing underflows.

The same v serves a finite step: with m = (m_0 + m_1) / 2 and a = 2 (m_1 - m_0) / (m
length) it moves pi_0 to pi_1.

References: Villani, Topics in Optimal Transportation (2003), section 8.1; theorem T20
of this library.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.program import public_function, shape_program
from ..core.types import Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..linear.graph_solve import solve_graph
from ..operator import EdgeOperator
from ..operator.finite_volume import bernoulli
from ..operator.flow_edges import FlowEdges
from ..plan.equation_check import check_equation
from .constants import CONSTANTS
from .gibbs import log_sqrt_pi_and_rate


class Velocity(eqx.Module):
    """The velocity of a Gibbs density at one time: `operator`, the antisymmetric G;
    `rate`, d_t log pi `(*shape)`.
    """

    operator: FlowEdges
    rate: Array

    @property
    def faces(self) -> tuple[Array, ...]:
        """v across the faces of each axis."""
        return self.operator.velocity

    @property
    def flux(self) -> tuple[Array, ...]:
        """J* across the faces of each axis, in mass a unit of time: w d_t pi = -(sum of
        the fluxes out of a cell).
        """
        grid = self.operator.grid
        log_sqrt_pi = self.operator.log_sqrt_pi
        # J* = v m m_+ times the area of the face, which is the product of the other
        # axes' weights.
        fluxes = []
        for i, (axis, velocity) in enumerate(zip(grid.axes, self.faces, strict=True)):
            low, high = axis.face_neighbors(log_sqrt_pi, i)
            lengths = [other.weights for other in grid.axes]
            lengths[i] = np.ones(1)
            area = jnp.asarray(_outer(lengths), velocity.dtype)
            fluxes.append(velocity * jnp.exp(low + high) * area)
        return tuple(fluxes)

    @property
    def nodes(self) -> Array:
        """v at the nodes, the mean of the faces on either side, `(d, *shape)`."""
        components = []
        for i, axis in enumerate(self.operator.grid.axes):
            faces = self.faces[i]
            below, above = axis.node_faces(faces, i)
            # Nodes at an end have one face only.
            has_below, has_above = axis.node_faces(jnp.ones_like(faces), i)
            components.append((below + above) / (has_below + has_above))
        return jnp.stack(components)

    @property
    def residual(self) -> Array:
        """The largest |d_t sqrt(pi) + G sqrt(pi)|, relative to its largest term."""
        root = jnp.exp(self.operator.log_sqrt_pi)
        change = self.rate * root / 2
        # The scale is the largest single term, d_t sqrt(pi) or a part of G sqrt(pi).
        scale = jnp.max(jnp.abs(change))
        for i, axis in enumerate(self.operator.grid.axes):
            largest = jnp.maximum(*axis.face_neighbors(root, i))
            width = float(axis.weights[0])
            term = jnp.abs(self.faces[i]) * largest / (2 * width)
            scale = jnp.maximum(scale, jnp.max(term))
        defect = jnp.max(jnp.abs(change + self.operator.wave(root)))
        # A density that stands still has neither a defect nor a scale.
        return defect / jnp.where(scale > 0, scale, 1)


@public_function
def velocity(equation: FokkerPlanck, grid: Grid, t: Real = 0.0) -> Velocity:
    """The velocity field of least energy that transports the Gibbs density of a
    time-dependent process.

        d_t pi = -div(pi v),      v = -grad phi

    On one axis v = -(d_t F) / pi, with F the cumulative of pi.

    **Arguments**: `equation`, an `fp.FokkerPlanck` that has a Gibbs density at every t;
    `grid`, of `fp.Line`, `fp.Reflecting` and `fp.Periodic` axes; `t`, the time, traced
    or not. **Returns** a `Velocity`: `.nodes` `(d, *shape)` and `.faces` in units
    length / time, `.flux` the mass across each face, `.operator` the antisymmetric G,
    `.residual` the relative size of d_t sqrt(pi) + G sqrt(pi). **Raises** `ValueError`
    for a process without a Gibbs density, or an axis that absorbs or has unequal cells.

    **Keeps**: w d_t pi = -(sum of fluxes out of a cell) to rounding, and v its relative
    accuracy in tails (one axis). v is of order 2 in the cell width. **Cost**: O(n) on
    one axis; else some 25 multigrid cycles.
    **Reference**: Villani, Topics in Optimal Transportation (2003), section 8.1;
    theorem T20.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.velocity import velocity

    dragged = fp.FokkerPlanck(lambda x, t: (x[0] - 2 * t) ** 2 / 2)
    speed = velocity(
        dragged, fp.Grid(fp.Line(-6.0, 6.0, 64))
    ).nodes  # 2 wherever there is mass
    ```
    """
    equation, grid = check_transportable(equation, grid, t)
    return _velocity(equation, grid, as_array(t))


def check_transportable(
    equation: Any, grid: Any, t: Scalar = 0.0
) -> tuple[FokkerPlanck, Grid]:
    """The equation as it is now and its grid; a `ValueError` without a Gibbs density or
    if no flux can transport it.
    """
    equation, grid = check_equation(equation, grid, t)
    if not equation.evolves_density:
        raise_value_error(
            "equation",
            equation,
            "only a density is transported",
            "Give fp.FokkerPlanck(potential).",
        )
    equation.require_reversible(grid, "a Gibbs density to transport", t)
    # The couplings of a face are those of equal cells, and mass that is absorbed cannot
    # be transported.
    for axis in grid.axes:
        if axis.boundary == "absorbing" or np.ptp(axis.weights) > 0:
            cure = "Give fp.Line, fp.Reflecting or fp.Periodic."
            raise_value_error(
                "grid", axis, "the cells must be equal and no end may absorb", cure
            )
    return equation, grid


def _velocity(equation: FokkerPlanck, grid: Grid, t: Array) -> Velocity:
    log_sqrt_pi, rate = log_sqrt_pi_and_rate(equation, grid, t)
    return _flow(grid, log_sqrt_pi, rate)


@shape_program
def _flow(grid: Grid, log_sqrt_pi: Array, rate: Array) -> Velocity:
    faces = face_velocity(grid, log_sqrt_pi, rate)
    return Velocity(FlowEdges(grid, faces, log_sqrt_pi), rate)


def face_velocity(grid: Grid, log_sqrt_pi: Array, rate: Array) -> tuple[Array, ...]:
    """v of least energy on the faces of each axis, from log m and a `(*shape)`:
    -div(m^2 v) = m^2 a.

    m need not be normalised. The sum of m^2 a should be zero; the highest node absorbs
    its rounding error.
    """
    if grid.ndim > 1:
        return _by_multigrid(grid, log_sqrt_pi, rate)
    (axis,) = grid.axes
    if axis.boundary == "no_flux":
        return (_by_sums(log_sqrt_pi, float(axis.weights[0]) * rate),)
    return (_on_ring(grid, log_sqrt_pi, rate),)


def _by_sums(log_sqrt_pi: Array, added: Array) -> Array:
    """v on the n - 1 faces between n nodes: J* is minus the mass added below the face,
    or that added above it.
    """
    # The faces below the highest node are summed from the lower end, the others from
    # the upper end.
    below = jnp.arange(len(added) - 1) < jnp.argmax(log_sqrt_pi)
    lower = _sums_upwards(log_sqrt_pi, added, below)
    # The sum from the upper end is that from the lower end of the mirror image.
    above = ~below
    mirrored = _sums_upwards(log_sqrt_pi[::-1], added[::-1], above[::-1])
    return mirrored[::-1] - lower


def _sums_upwards(log_sqrt_pi: Array, added: Array, inside: Array) -> Array:
    """The mass added below each face over m m_+, on the faces that are `inside`; zero
    on the others.

    It obeys s <- (m_- / m_+) s + (m / m_+) added, in ratios of m of neighbours, which
    do not underflow.
    """
    log_ratio = log_sqrt_pi[:-1] - log_sqrt_pi[1:]
    # exp(0) where the result is not used: the exponent may be large there.
    over_two_faces = log_ratio[:-1] + log_ratio[1:]
    exponent = jnp.where(inside[1:], over_two_faces, 0)
    # Nothing lies below the first face.
    none = jnp.zeros(1, log_ratio.dtype)
    factor = jnp.concatenate([none, jnp.exp(exponent)])
    gain = added[:-1] * jnp.exp(jnp.where(inside, log_ratio, 0))

    def step(total: Array, face: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        factor, gain, inside = face
        total = jnp.where(inside, factor * total + gain, 0)
        return total, total

    zero = jnp.zeros((), log_ratio.dtype)
    _, sums = jax.lax.scan(step, zero, (factor, gain, inside))
    return sums


def _on_ring(grid: Grid, log_sqrt_pi: Array, rate: Array) -> Array:
    """v on a periodic axis: with no flux through the lowest face, plus the uniform flux
    that minimises sum J*^2 / k.
    """
    (axis,) = grid.axes
    # Cut at the face of the smallest density, so that the ring becomes a line.
    low, high = axis.face_neighbors(log_sqrt_pi)
    cut = jnp.argmin(low + high) + 1
    added = float(axis.weights[0]) * jnp.roll(rate, -cut)
    on_line = _by_sums(jnp.roll(log_sqrt_pi, -cut), added)
    # No flux through the face at the cut.
    velocity = jnp.roll(jnp.append(on_line, 0), cut)
    inverse = 1 / _unit_chain(grid, log_sqrt_pi).couplings[0]
    # the velocity of a uniform flux, scaled to be at most 1
    uniform = jnp.exp(jnp.min(low + high) - low - high)
    circulation = jnp.sum(inverse * velocity)
    of_uniform = jnp.sum(inverse * uniform)
    return velocity - circulation / of_uniform * uniform


def _by_multigrid(grid: Grid, log_sqrt_pi: Array, rate: Array) -> tuple[Array, ...]:
    """v in more dimensions, from a potential phi by multigrid; a second solve takes the
    residual of the fluxes.
    """
    operator = _unit_chain(grid, log_sqrt_pi)
    # phi is known up to a constant, which is fixed at the highest node.
    highest = jnp.argmax(log_sqrt_pi)
    clamped = (jnp.arange(grid.size) == highest).reshape(grid.shape)
    zeros = jnp.zeros(grid.shape, rate.dtype)
    tol = jnp.asarray(CONSTANTS.velocity_tol, rate.dtype)

    def refine(_: Array, faces: tuple[Array, ...]) -> tuple[Array, ...]:
        # a + div(m^2 v) / m^2, in ratios of m of neighbours.
        residual = rate
        for i, axis in enumerate(grid.axes):
            below, above = axis.face_neighbors(log_sqrt_pi, i)
            lower, _ = axis.node_faces(faces[i] * jnp.exp(below - above), i)
            _, upper = axis.node_faces(faces[i] * jnp.exp(above - below), i)
            residual = residual + (upper - lower) / float(axis.weights[0])
        phi = solve_graph(operator, -residual, clamped, zeros, tol).values
        corrected = []
        for i, axis in enumerate(grid.axes):
            below, above = axis.face_neighbors(phi, i)
            correction = operator.couplings[i] * (below - above)
            corrected.append(faces[i] + correction)
        return tuple(corrected)

    start = tuple(jnp.zeros_like(c) for c in operator.couplings)
    return jax.lax.fori_loop(0, CONSTANTS.velocity_solves, refine, start)


def _unit_chain(grid: Grid, log_sqrt_pi: Array) -> EdgeOperator:
    """The reversible Markov chain with unit diffusion and stationary density m^2."""
    up = []
    down = []
    for i, axis in enumerate(grid.axes):
        below, above = axis.face_neighbors(log_sqrt_pi, i)
        # One spacing a face, broadcast over the axes after this one.
        others = [1] * (grid.ndim - 1 - i)
        spacings = jnp.asarray(axis.spacings, log_sqrt_pi.dtype).reshape(-1, *others)
        up.append(bernoulli(2 * (below - above)) / spacings)
        down.append(bernoulli(2 * (above - below)) / spacings)
    return EdgeOperator(
        grid=grid,
        up=tuple(up),
        down=tuple(down),
        potential_term=None,
        log_sqrt_pi=log_sqrt_pi,
    )


def _outer(factors: list[np.ndarray]) -> np.ndarray:
    """The outer product of arrays `(n_i,)`."""
    product = np.ones(())
    for factor in factors:
        product = product[..., None] * factor
    return product
