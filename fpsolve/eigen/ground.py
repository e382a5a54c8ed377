"""The lowest mode alone, of a sum over axes and a well: a descent that solves the separable part exactly in each step.

    H = sum_i h_i + W + min V,     h_i = T_i + v_i(x_i),     v_i = min over the other axes of V - min V >= 0
    h_i q_a = e_a q_a,     e = a sum of one e_a an axis > 0,     H c = (e + min V) c + Q^T W Q c in the functions q
    x <- the lowest Ritz vector of span {x, r / e, p},     r = H x - theta x,     p the last change of x

r / e undoes the separable part, so that the number of steps depends on how strongly the axes are coupled, and neither
on the spacing of the nodes nor on the height of the walls. The start exp(-sum_i h_i / e_0) 1 is positive as the ground
state is, and lives in all wells: no well is missed because the separable part takes it for a shallow one.

Reference: Knyazev, SIAM J. Sci. Comput. 23 (2001) 517, with a block of one vector.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import transform
from ..grid import Grid
from ..operator import Operator, Scheme
from ..operator.tensor import Kinetic, TensorOperator

ROUNDS = 1000
LONGEST = 1024  # nodes of an axis whose own functions are worth their n^3


class _State(NamedTuple):
    round: Array
    level: Array
    vectors: Array  # x, and p beside it, as rows
    images: Array  # H of both


def separates(scheme: Scheme, grid: Grid) -> bool:
    """Whether the operators of a scheme are sums of kinetic matrices and a well, on two axes or more, none too long."""
    based = scheme.spectral and grid.uniform
    return based and grid.ndim > 1 and max(grid.shape) <= LONGEST


def ground_mode(operator: Operator, tol: Array, floor: Array) -> tuple[Array, Array]:
    """The lowest mode of H, `(1, *shape)`, of unit norm in the grid's weights, and whether it has converged.

    **Arguments**: `tol`, the residual |H psi - E psi| to reach, relative to |E| and not below `floor`, in units of
    energy. **Cost**: n^3 an axis, then about ten products with H, more where the axes are strongly coupled. Stops after
    `ROUNDS`.
    """
    assert isinstance(operator, TensorOperator) and operator.well is not None
    grid, well, d = operator.grid, operator.well, operator.grid.ndim
    bottom, coupling, energies = jnp.min(well), well - jnp.min(well), jnp.zeros((), well.dtype)
    bases = []
    for i, term in enumerate(operator.terms):
        assert isinstance(term, Kinetic)
        spread = lambda values, i=i: values.reshape(-1, *[1] * (d - 1 - i))
        alone = jnp.min(well, [j for j in range(d) if j != i]) - bottom
        levels, basis = jnp.linalg.eigh(term.matrix + jnp.diag(alone), symmetrize_input=False)
        coupling, energies = coupling - spread(alone), energies + spread(levels)
        bases.append(basis)
    top = jnp.max(energies)
    inside = lambda u: _all_axes([basis.T for basis in bases], u)
    outside = lambda c: _all_axes(bases, c)

    def apply(c: Array) -> Array:
        c = c.reshape(grid.shape)
        return ((energies + bottom) * c + inside(coupling * outside(c))).ravel()

    def residual(state: _State) -> Array:
        return state.images[0] - state.level * state.vectors[0]

    def converged(state: _State) -> Array:
        return jnp.linalg.norm(residual(state)) <= jnp.maximum(tol * jnp.abs(state.level), floor)

    def unfinished(state: _State) -> Array:
        return ~converged(state) & (state.round < ROUNDS)

    def descend(state: _State) -> _State:
        x, p = state.vectors
        step = residual(state) / jnp.maximum(energies, state.level - bottom).ravel()
        step = _unit(step - (x @ step) * x)
        basis = jnp.stack([x, step])
        images = jnp.stack([state.images[0], apply(step)])
        shares = basis @ p
        p, image = p - shares @ basis, state.images[1] - shares @ images
        length = jnp.linalg.norm(p)
        p, image = p / jnp.where(length == 0, 1, length), image / jnp.where(length == 0, 1, length)
        basis, images = jnp.concatenate([basis, p[None]]), jnp.concatenate([images, image[None]])
        matrix = (basis @ images.T).at[2, 2].add(jnp.where(length == 0, top, 0))
        levels, mixes = jnp.linalg.eigh(matrix)
        mix = mixes[:, 0]
        mix = jnp.stack([mix, mix.at[0].set(0)])
        return _State(state.round + 1, levels[0], mix @ basis, mix @ images)

    if operator.log_sqrt_pi is None:
        ones = inside(jnp.ones(grid.shape, well.dtype))
        lowest = jnp.min(energies)
        scale = jnp.maximum(lowest, jnp.finfo(well.dtype).eps * top)
        x = _unit((jnp.exp((lowest - energies) / scale) * ones).ravel())
    else:
        x = _unit(inside(jnp.exp(operator.log_sqrt_pi)).ravel())
    image = apply(x)
    vectors, images = jnp.stack([x, jnp.zeros_like(x)]), jnp.stack([image, jnp.zeros_like(x)])
    final = jax.lax.while_loop(unfinished, descend, _State(jnp.zeros((), int), x @ image, vectors, images))
    wave = outside(final.vectors[0].reshape(grid.shape))
    return (wave / jnp.sqrt(grid.integrate(wave**2)))[None], converged(final)


def _unit(u: Array) -> Array:
    size = jnp.linalg.norm(u)
    return u / jnp.where(size == 0, 1, size)


def _all_axes(matrices: list[Array], u: Array) -> Array:
    for i, matrix in enumerate(matrices):
        u = transform(i, matrix, u, len(matrices))
    return u
