"""The error of levels in space and of the box as far as one run shows it: with
`check=False`, and inside programs.

    basis     sum_i max(D k_i^2) int |short waves of psi along axis i|^2: what the waves
              beyond the grid, which are about as large as its shortest ones, change in
              the quotient
              of a process at least the level that sqrt(pi) has in this basis
    volumes   of a process, E (0.3 <P^2> + E h^2 / 12 D), P the Peclet numbers of the
              cells in the mean over psi^2; of a wave, D h^2 / 12 int (psi'')^2 by
              second differences
    box       D psi dpsi/dx at the ends of each line: the flux that a wider box lets out

Two runs on different grids say more (`level_errors`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.polynomial import legendre

from ..core.program import shape_program
from ..grid import Axis
from ..operator import EdgeOperator, Operator, TensorOperator
from ..operator.aliasing import short_part
from ..operator.finite_volume import bernoulli
from .constants import CONSTANTS


class SingleLook(NamedTuple):
    """Estimated errors `(k,)` in `space` and of the `box`, in units of the levels."""

    space: Array
    box: Array


@shape_program
def single_look(
    operator: Operator,
    values: Array,
    vectors: Array,
    left: Array | None,
) -> SingleLook:
    """What one run shows of the errors of `values` `(k,)` with their modes `vectors`
    and left modes `(k, *shape)`.

    **Keeps**: nothing is differentiated. **Cost**: a transform of each mode along each
    axis.
    """
    operator, values, vectors, left = jax.lax.stop_gradient(
        (operator, values, vectors, left)
    )
    grid = operator.grid
    sizes = jnp.abs(values)
    space = jnp.zeros_like(sizes)
    box = jnp.zeros_like(sizes)
    for i, axis in enumerate(grid.axes):
        hopping = _hopping(operator, i)
        if isinstance(operator, TensorOperator):
            highest = np.pi**2 * hopping
            share = jnp.sqrt(_short_share(operator, vectors, i))
            # The error of a quotient is the product of those of its two modes.
            share_left = share
            if left is not None:
                share_left = jnp.sqrt(_short_share(operator, left, i))
            space = space + highest * share * share_left
        else:
            assert isinstance(operator, EdgeOperator)
            space = space + _volume_error(operator, sizes, vectors, i, hopping)
        if axis.unbounded:
            box = box + _end_flux(operator, vectors, i, hopping)
    margin = CONSTANTS.single_look_margin
    space = margin * space
    in_basis = isinstance(operator, TensorOperator)
    if in_basis and operator.log_sqrt_pi is not None and not grid.absorbs:
        space = jnp.maximum(space, _ground_level(operator, operator.log_sqrt_pi))
    return SingleLook(space, margin * box)


def _ground_level(operator: Operator, log_sqrt_pi: Array) -> Array:
    """|(sqrt(pi), H sqrt(pi))|, a scalar, with sqrt(pi) from the potential itself.

    It is zero but for what the basis does not represent. H is made of derivatives at
    the nodes, which see no jump and no kink of the potential; sqrt(pi) has both.
    """
    grid = operator.grid
    sqrt_pi = jnp.exp(log_sqrt_pi - jnp.max(log_sqrt_pi))
    level = grid.integrate(sqrt_pi * operator.hamiltonian(sqrt_pi))
    return jnp.abs(level) / grid.integrate(sqrt_pi**2)


def _hopping(operator: Operator, i: int) -> Array:
    """D / h^2 on axis i, the largest of all cells."""
    if isinstance(operator, TensorOperator):
        axis = operator.grid.axes[i]
        # The highest level of a uniform axis is D (pi / h)^2; that of Lobatto nodes is
        # n^2 times as large.
        highest = operator.terms[i].largest / np.pi**2
        return highest if axis.uniform else highest / axis.n**2
    assert isinstance(operator, EdgeOperator)
    up = operator.up[i]
    down = operator.down[i]
    # D / h^2 from the larger of the two rates, which has not underflowed.
    larger = jnp.maximum(up, down)
    conductance = larger / bernoulli(-jnp.abs(_peclet(up, down)))
    return jnp.max(conductance) / np.mean(operator.grid.axes[i].weights)


def _peclet(up: Array, down: Array) -> Array:
    """P = log(up / down) on the faces of an axis."""
    # A rate that has underflowed has no logarithm: `tiny` stands for it.
    tiny = jnp.finfo(up.dtype).tiny
    log_up = jnp.log(jnp.maximum(up, tiny))
    log_down = jnp.log(jnp.maximum(down, tiny))
    return log_up - log_down


def _short_share(operator: Operator, modes: Array, i: int) -> Array:
    """The part `(k,)` of the norm of each mode that belongs to the shortest tenth of
    the waves along axis i.
    """
    grid = operator.grid
    axis = grid.axes[i]

    def share(mode: Array) -> Array:
        if axis.uniform:
            short = short_part(mode, axis, i)
        else:
            short = _high_polynomials(mode, axis, i)
        norm = grid.integrate(jnp.abs(mode) ** 2)
        return grid.integrate(jnp.abs(short) ** 2) / norm

    return jax.vmap(share)(modes)


def _high_polynomials(mode: Array, axis: Axis, i: int) -> Array:
    """The part of a mode in the highest tenth of Legendre polynomials along axis i."""
    nodes = 2 * (axis.nodes - axis.lower) / axis.length - 1
    polynomials = legendre.legvander(nodes, axis.n - 1)
    # At least two: one of the last two vanishes for an even or an odd mode.
    count = max(2, axis.n // 10)
    high = np.arange(axis.n) >= axis.n - count
    matrix = polynomials @ (high[:, None] * np.linalg.inv(polynomials))
    projection = jnp.asarray(matrix, mode.real.dtype)
    projected = jnp.tensordot(projection, mode, axes=(1, i))
    return jnp.moveaxis(projected, 0, i)


def _volume_error(
    operator: EdgeOperator,
    sizes: Array,
    modes: Array,
    i: int,
    hopping: Array,
) -> Array:
    """The error of finite volumes along axis i, `(k,)`."""
    grid = operator.grid
    axis = grid.axes[i]
    squared_peclet = _peclet(operator.up[i], operator.down[i]) ** 2
    below, above = axis.node_faces(squared_peclet, i - grid.ndim)
    at_nodes = (below + above) / 2

    def of_process(size: Array, mode: Array) -> Array:
        weight = jnp.abs(mode) ** 2
        weighted = grid.integrate(weight * at_nodes)
        drift = CONSTANTS.peclet_error * weighted / grid.integrate(weight)
        # A level that is not resolved at all may be wrong by its whole size.
        return size * jnp.minimum(drift + size / (12 * hopping), 1.0)

    def of_wave(_: Array, mode: Array) -> Array:
        lower, upper = axis.face_neighbors(mode, i - grid.ndim)
        before, after = axis.node_faces(upper - lower, i - grid.ndim)
        norm = grid.integrate(jnp.abs(mode) ** 2)
        curvature = grid.integrate(jnp.abs(after - before) ** 2) / norm
        return hopping / 12 * curvature

    # A process has its potential in the rates, a wave in a term of its own.
    error = of_process if operator.potential_term is None else of_wave
    return jax.vmap(error)(sizes, modes)


def _end_flux(operator: Operator, modes: Array, i: int, hopping: Array) -> Array:
    """D psi dpsi/dx at both ends of axis i, `(k,)`, integrated over the other axes."""
    grid = operator.grid
    axis = grid.axes[i]

    def flux(mode: Array) -> Array:
        last_nodes = np.array([0, axis.n - 1])
        ends = jnp.take(mode, last_nodes, axis=i)
        next_nodes = np.array([1, axis.n - 2])
        inside = jnp.take(mode, next_nodes, axis=i)
        # A mode may have a maximum at an end, where its slope says nothing: its own
        # size bounds it then.
        size = jnp.abs(ends)
        product = size * jnp.maximum(jnp.abs(ends - inside), size)
        weights = jnp.take(grid.weights, last_nodes, axis=i).astype(product.dtype)
        return jnp.sum(weights * product) / grid.integrate(jnp.abs(mode) ** 2)

    return hopping * jax.vmap(flux)(modes)
