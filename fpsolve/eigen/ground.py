"""The lowest mode alone, of a sum over axes and a potential term: a descent that solves
the separable part exactly.

    H = sum_i h_i + W + min V,     h_i = T_i + v_i(x_i),
    v_i = min over the other axes of V - min V >= 0
    h_i q_a = e_a q_a,     e = a sum of one e_a an axis > 0,
    H c = (e + min V) c + Q^T W Q c in the functions q
    x <- the lowest Ritz vector of span {x, r / e, p},
    r = H x - theta x,     p the last change of x

r / e undoes the separable part, so that the number of steps depends on how strongly the
axes are coupled, and neither on the spacing of the nodes nor on the height of the
walls. The start exp(-sum_i h_i / e_0) 1 is positive as the ground state is, and is not
small in any well: no well is missed because the separable part takes it for a shallow
one.

Reference: Knyazev, SIAM J. Sci. Comput. 23 (2001) 517, with a block of one vector.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..grid import Grid
from ..operator import Operator, Scheme
from ..operator.tensor import Kinetic, TensorOperator
from .constants import CONSTANTS
from .tensor import on_axis, transform_all


class _State(NamedTuple):
    """Between two steps: the quotient `level`, the rows x and p, and H of them."""

    step: Array
    level: Array
    vectors: Array
    images: Array


def separates(scheme: Scheme, grid: Grid) -> bool:
    """Whether the operators of a scheme are sums of kinetic matrices and a potential
    term, on two axes or more, none too long.
    """
    is_sum = scheme.spectral and grid.uniform
    return is_sum and grid.ndim > 1 and max(grid.shape) <= CONSTANTS.longest_dense_axis


def ground_mode(operator: Operator, tol: Array, rounding: Array) -> tuple[Array, Array]:
    """The lowest mode of H, `(1, *shape)`, of unit norm in the grid's weights, and
    whether it has converged.

    **Arguments**: `tol`, the residual |H psi - E psi| to reach, relative to |E| and not
    below `rounding`, in units of energy. **Cost**: n^3 an axis, then about ten products
    with H, more where the axes are strongly coupled. Stops after
    `CONSTANTS.descent_steps`.
    """
    assert isinstance(operator, TensorOperator)
    # The iteration works on coefficients in the products of the axes' functions, in
    # which r / e is a division.
    descent = _Descent(_separate(operator), tol, rounding)
    start = descent.start(operator.log_sqrt_pi)
    end = jax.lax.while_loop(descent.unfinished, descent.step, start)
    grid = operator.grid
    wave = descent.parts.from_products(end.vectors[0].reshape(grid.shape))
    mode = wave / jnp.sqrt(grid.integrate(wave**2))
    return mode[None], descent.converged(end)


class _SeparableParts(NamedTuple):
    """H = sum_i h_i + W + min V in products of the functions of each axis.

    `bases` hold the functions of the axes as columns, `energies` `(*shape)` are e,
    `coupling` `(*shape)` is W at the nodes, and `bottom` is min V.
    """

    bases: list[Array]
    energies: Array
    coupling: Array
    bottom: Array

    def to_products(self, field: Array) -> Array:
        """Q^T u."""
        return transform_all([basis.T for basis in self.bases], field)

    def from_products(self, coefficients: Array) -> Array:
        """Q c."""
        return transform_all(self.bases, coefficients)

    def apply(self, row: Array) -> Array:
        """H c of a row of coefficients."""
        coefficients = row.reshape(self.energies.shape)
        coupled = self.to_products(self.coupling * self.from_products(coefficients))
        return ((self.energies + self.bottom) * coefficients + coupled).ravel()


def _separate(operator: TensorOperator) -> _SeparableParts:
    """Functions and levels of each h_i, and what they leave of the potential term."""
    potential_term = operator.potential_term
    assert potential_term is not None
    d = operator.grid.ndim
    bottom = jnp.min(potential_term)
    coupling = potential_term - bottom
    energies = jnp.zeros((), potential_term.dtype)
    bases = []
    for i, term in enumerate(operator.terms):
        assert isinstance(term, Kinetic)
        # Minima over the other axes: h_i > 0, so that e can be divided by.
        other_axes = [j for j in range(d) if j != i]
        own_potential = jnp.min(potential_term, other_axes) - bottom
        own_hamiltonian = term.matrix + jnp.diag(own_potential)
        levels, basis = jnp.linalg.eigh(own_hamiltonian, symmetrize_input=False)
        coupling = coupling - on_axis(own_potential, i, d)
        energies = energies + on_axis(levels, i, d)
        bases.append(basis)
    return _SeparableParts(bases, energies, coupling, bottom)


@dataclasses.dataclass(frozen=True)
class _Descent:
    """The iteration for one operator."""

    parts: _SeparableParts
    tol: Array
    rounding: Array

    def start(self, log_sqrt_pi: Array | None) -> _State:
        """sqrt(pi) where it is known; else exp(-sum_i h_i / e_0) 1, a positive function
        that is wide enough.
        """
        energies = self.parts.energies
        if log_sqrt_pi is None:
            ones = self.parts.to_products(jnp.ones(energies.shape, energies.dtype))
            lowest = jnp.min(energies)
            # e_0 may be zero to rounding, where the potential term is flat.
            rounding = jnp.finfo(energies.dtype).eps * jnp.max(energies)
            scale = jnp.maximum(lowest, rounding)
            coefficients = jnp.exp((lowest - energies) / scale) * ones
        else:
            coefficients = self.parts.to_products(jnp.exp(log_sqrt_pi))
        x = _unit(coefficients.ravel())
        image = self.parts.apply(x)
        no_change = jnp.zeros_like(x)
        vectors = jnp.stack([x, no_change])
        images = jnp.stack([image, no_change])
        return _State(jnp.zeros((), int), x @ image, vectors, images)

    def residual(self, state: _State) -> Array:
        """H x - theta x."""
        return state.images[0] - state.level * state.vectors[0]

    def converged(self, state: _State) -> Array:
        """Whether the residual is small enough, or at its rounding."""
        residual_tol = jnp.maximum(self.tol * jnp.abs(state.level), self.rounding)
        return jnp.linalg.norm(self.residual(state)) <= residual_tol

    def unfinished(self, state: _State) -> Array:
        """Whether another step is needed."""
        return ~self.converged(state) & (state.step < CONSTANTS.descent_steps)

    def step(self, state: _State) -> _State:
        """The lowest Ritz vector of span {x, r / e, p}."""
        energies = self.parts.energies
        x, p = state.vectors
        # The step r / e, never divided by less than the level itself, and orthogonal to
        # x.
        level = state.level - self.parts.bottom
        step = self.residual(state) / jnp.maximum(energies, level).ravel()
        step = _unit(step - (x @ step) * x)
        basis = jnp.stack([x, step])
        images = jnp.stack([state.images[0], self.parts.apply(step)])

        # p orthogonal to both, its image with it. At the first step p is zero.
        overlaps = basis @ p
        p = p - overlaps @ basis
        p_image = state.images[1] - overlaps @ images
        length = jnp.linalg.norm(p)
        divisor = jnp.where(length == 0, 1, length)
        basis = jnp.concatenate([basis, (p / divisor)[None]])
        images = jnp.concatenate([images, (p_image / divisor)[None]])

        # A zero row gets a diagonal entry above the lowest level, so that the Ritz
        # vector does not use it.
        above = jnp.where(length == 0, jnp.max(energies), 0)
        matrix = (basis @ images.T).at[2, 2].add(above)
        levels, mixes = jnp.linalg.eigh(matrix)
        x_mix = mixes[:, 0]
        p_mix = x_mix.at[0].set(0)  # the change of x is what the other two rows add
        mix = jnp.stack([x_mix, p_mix])
        return _State(
            step=state.step + 1,
            level=levels[0],
            vectors=mix @ basis,
            images=mix @ images,
        )


def _unit(row: Array) -> Array:
    # A residual of exactly zero is a row of zeros, and must not become NaN.
    size = jnp.linalg.norm(row)
    return row / jnp.where(size == 0, 1, size)
