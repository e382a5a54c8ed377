"""The error of levels in space and of the box as far as one run shows it: with
`check=False`, and inside programs.

    basis     sum_i max(D k_i^2) int |short waves of psi along axis i|^2: what the waves beyond the grid, which are
              about as large as its shortest ones, change in the quotient
    volumes   of a process, E (0.3 <P^2> + E h^2 / 12 D), P the Peclet numbers of the cells in the mean over psi^2;
              of a wave, D h^2 / 12 int (psi'')^2 by second differences
    box       D psi dpsi/dx at the ends of each line, which is the flux that a wider box lets out

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
    operator: Operator, values: Array, vectors: Array, left: Array | None
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
            share_left = (
                share if left is None else jnp.sqrt(_short_share(operator, left, i))
            )
            space = space + highest * share * share_left
        else:
            assert isinstance(operator, EdgeOperator)
            space = space + _volume_error(operator, sizes, vectors, i, hopping)
        if axis.unbounded:
            box = box + _end_flux(operator, vectors, i, hopping)
    return SingleLook(
        CONSTANTS.single_look_margin * space, CONSTANTS.single_look_margin * box
    )


def _hopping(operator: Operator, i: int) -> Array:
    """D / h^2 on axis i, the largest of all cells."""
    if isinstance(operator, TensorOperator):
        axis = operator.grid.axes[i]
        # The highest level of a uniform axis is D (pi / h)^2; that of Lobatto nodes is
        # n^2 times as large.
        highest = operator.terms[i].largest / np.pi**2
        return highest if axis.uniform else highest / axis.n**2
    assert isinstance(operator, EdgeOperator)
    up, down = operator.up[i], operator.down[i]
    larger = jnp.maximum(up, down)
    conductance = larger / bernoulli(-jnp.abs(_peclet(up, down)))
    return jnp.max(conductance) / np.mean(operator.grid.axes[i].weights)


def _peclet(up: Array, down: Array) -> Array:
    """P = log(up / down) on the faces of an axis."""
    # A rate that has underflowed has no logarithm: `tiny` stands for it.
    tiny = jnp.finfo(up.dtype).tiny
    return jnp.log(jnp.maximum(up, tiny)) - jnp.log(jnp.maximum(down, tiny))


def _short_share(operator: Operator, modes: Array, i: int) -> Array:
    """The part `(k,)` of the norm of each mode that belongs to the shortest tenth of
    the waves along axis i.
    """
    grid = operator.grid
    axis = grid.axes[i]

    def share(mode: Array) -> Array:
        short = (
            short_part(mode, axis, i)
            if axis.uniform
            else _high_polynomials(mode, axis, i)
        )
        return grid.integrate(jnp.abs(short) ** 2) / grid.integrate(jnp.abs(mode) ** 2)

    return jax.vmap(share)(modes)


def _high_polynomials(mode: Array, axis: Axis, i: int) -> Array:
    """The part of a mode in the highest tenth of the Legendre polynomials along axis i."""
    nodes = 2 * (axis.nodes - axis.lower) / axis.length - 1
    polynomials = legendre.legvander(nodes, axis.n - 1)
    high = np.arange(axis.n) >= axis.n - max(2, axis.n // 10)
    projection = jnp.asarray(
        polynomials @ (high[:, None] * np.linalg.inv(polynomials)), mode.real.dtype
    )
    return jnp.moveaxis(jnp.tensordot(projection, mode, axes=(1, i)), 0, i)


def _volume_error(
    operator: EdgeOperator, sizes: Array, modes: Array, i: int, hopping: Array
) -> Array:
    """The error of finite volumes along axis i, `(k,)`."""
    grid = operator.grid
    axis = grid.axes[i]
    squared_peclet = _peclet(operator.up[i], operator.down[i]) ** 2
    below, above = axis.node_faces(squared_peclet, i - grid.ndim)
    at_nodes = (below + above) / 2

    def of_process(size: Array, mode: Array) -> Array:
        weight = jnp.abs(mode) ** 2
        drift = (
            CONSTANTS.peclet_error
            * grid.integrate(weight * at_nodes)
            / grid.integrate(weight)
        )
        # A level that is not resolved at all may be wrong by its whole size.
        return size * jnp.minimum(drift + size / (12 * hopping), 1.0)

    def of_wave(_: Array, mode: Array) -> Array:
        lower, upper = axis.face_neighbors(mode, i - grid.ndim)
        before, after = axis.node_faces(upper - lower, i - grid.ndim)
        curvature = grid.integrate(jnp.abs(after - before) ** 2) / grid.integrate(
            jnp.abs(mode) ** 2
        )
        return hopping / 12 * curvature

    return jax.vmap(of_process if operator.potential_term is None else of_wave)(
        sizes, modes
    )


def _end_flux(operator: Operator, modes: Array, i: int, hopping: Array) -> Array:
    """D psi dpsi/dx at both ends of axis i, `(k,)`, integrated over the other axes."""
    grid = operator.grid
    axis = grid.axes[i]

    def flux(mode: Array) -> Array:
        ends = jnp.take(mode, np.array([0, axis.n - 1]), axis=i)
        inside = jnp.take(mode, np.array([1, axis.n - 2]), axis=i)
        # A mode may have a maximum at an end, where its slope says nothing: its own
        # size bounds it then.
        product = jnp.abs(ends) * jnp.maximum(jnp.abs(ends - inside), jnp.abs(ends))
        weights = jnp.take(grid.weights, np.array([0, axis.n - 1]), axis=i).astype(
            product.dtype
        )
        return jnp.sum(weights * product) / grid.integrate(jnp.abs(mode) ** 2)

    return hopping * jax.vmap(flux)(modes)
