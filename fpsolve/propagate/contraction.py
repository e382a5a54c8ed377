"""A smaller basis for slow waves: the lowest functions of each axis, and the points at
which they are localised.

    H = sum_i h_i + W,      h_i = T_i + v_i(x_i),      h_i q_a = e_a q_a
    H_c = sum_i B_i^T h_i B_i + W(X),      psi = B c

v_i is the mean of V over the other axes, weighted by sqrt(pi). The functions B_i are
rotations of the lowest k_i of the q_a that make x_i diagonal, with the points X_i. k_i
functions replace n_i nodes, and the highest level falls from that of the steepest wall
to about the sum of the highest e_a kept. What H_c misses of H psi is measured at the
end, and turned into an error by the first order of perturbation theory with sum_i h_i
in the place of H.

References: Bacic and Light, Annu. Rev. Phys. Chem. 40 (1989) 469; Echave and Clary,
Chem. Phys. Lett. 190 (1992) 225.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import matmul_along_axis
from ..core.program import sampling_program, shape_program
from ..equation import Equation, QuantumPotential
from ..grid import sample_product
from ..operator import Operator
from ..operator.tensor import Kinetic, TensorOperator
from .base import node_weights
from .constants import CONSTANTS

# A function that evaluates V on products of positions, one array for each product.
SamplePotentialTerms: TypeAlias = Callable[
    [tuple[tuple[Array, ...], ...]], tuple[Array, ...]
]


class Axis(NamedTuple):
    """One axis: all functions of h_i `(n, n)` in columns, their energies `(n,)`, and
    v_i at the nodes `(n,)`.
    """

    functions: Array
    energies: Array
    potential_term: Array


class _Bases(NamedTuple):
    """For each axis: its own problem, B_i `(n_i, k_i)`, B_i^T h_i B_i `(k_i, k_i)`, the
    points X_i `(k_i,)`, and the product of X_i with the few nodes of each other axis
    over which means are taken.
    """

    axes: tuple[Axis, ...]
    bases: tuple[Array, ...]
    matrices: tuple[Array, ...]
    points: tuple[Array, ...]
    mixed: tuple[tuple[Array, ...], ...]


class Contraction(eqx.Module):
    """H_c, and what its error is estimated by.

    - `bases`, B_i `(n_i, k_i)`; `matrices`, B_i^T h_i B_i `(k_i, k_i)`; `coupling`, W
      at the points `(*ranks)`
    - `highest`, an upper bound of the levels of H_c; `axes`, the whole separable
      problem
    """

    bases: tuple[Array, ...]
    matrices: tuple[Array, ...]
    coupling: Array
    highest: Array
    axes: tuple[Axis, ...]

    def into(self, wave: Array) -> Array:
        """B^T psi, `(..., *ranks)`."""
        return _all_axes([b.T for b in self.bases], wave)

    def out(self, coefficients: Array) -> Array:
        """B c, `(..., *shape)`."""
        return _all_axes(self.bases, coefficients)

    def hamiltonian(self, coefficients: Array) -> Array:
        """H_c c."""
        d = len(self.matrices)
        image = self.coupling * coefficients
        for i, matrix in enumerate(self.matrices):
            image = image + matmul_along_axis(i, matrix, coefficients, d)
        return image

    def error(
        self, operator: Operator, lost: Array, coefficients: Array, lengths: Array
    ) -> Array:
        """The estimated L1 errors `(T,)` of the waves B c, `(T, *ranks)`, of a start
        that `lost` some of its wave.
        """
        assert operator.log_sqrt_pi is not None
        # Errors are counted in the density sqrt(pi) psi.
        measure = node_weights(operator) * jnp.exp(operator.log_sqrt_pi)

        def mass(wave: Array) -> Array:
            return jnp.sum(measure * jnp.abs(wave))

        def error_of(c: Array, length: Array) -> Array:
            # The part of the start outside of the basis decays with the energies of the
            # axes.
            not_started = separable(self.axes, lost, lambda e: jnp.exp(-e * length))
            # H couples the wave to functions outside of the basis all the time: int_0^s
            # e^{-(s - u) e} du.
            missed = operator.hamiltonian(self.out(c)) - self.out(self.hamiltonian(c))
            not_coupled = separable(
                self.axes, missed, lambda e: length / (1 + e * length)
            )
            both = mass(not_coupled) + mass(not_started)
            return CONSTANTS.contraction_safety * both

        # An error estimate is a constant to derivatives.
        return jax.lax.stop_gradient(jax.vmap(error_of)(coefficients, lengths))


def contractible(operator: Operator) -> bool:
    """Whether an operator with a sqrt(pi), on two axes or more, is a sum of kinetic
    matrices and a potential term.
    """
    return (
        isinstance(operator, TensorOperator)
        and operator.log_sqrt_pi is not None
        and len(operator.terms) > 1
        and all(isinstance(term, Kinetic) for term in operator.terms)
    )


def axes_of(operator: TensorOperator) -> tuple[Axis, ...]:
    """The separable problem of a reversible Fokker-Planck equation as a wave."""
    assert operator.potential_term is not None
    axes = []
    for i, term in enumerate(operator.terms):
        assert isinstance(term, Kinetic)
        # With the weights of the stationary wave: where there is no wave, V does not
        # matter.
        potential_term = _mean(operator, i, operator.potential_term)
        hamiltonian = term.matrix + jnp.diag(potential_term)
        energies, functions = jnp.linalg.eigh(hamiltonian)
        axes.append(Axis(functions, energies, potential_term))
    return tuple(axes)


def contract(
    operator: TensorOperator,
    ranks: tuple[int, ...],
    nodes: tuple[Array, ...],
    sample_potential_terms: SamplePotentialTerms,
) -> Contraction:
    """H_c with `ranks` functions on the axes, whose nodes are at `nodes`."""
    found = _functions(operator, ranks, nodes)
    # V at the points, and for each axis V at its points and at a few nodes of the
    # others, for the means v_i there.
    potential_terms = sample_potential_terms((found.points, *found.mixed))
    return _couple(
        operator, found.axes, found.bases, found.matrices, potential_terms, ranks
    )


@shape_program
def _functions(
    operator: TensorOperator, ranks: tuple[int, ...], nodes: tuple[Array, ...]
) -> _Bases:
    """The functions of each axis, and the points of its lowest ones."""
    axes = axes_of(operator)
    dtype = axes[0].energies.dtype
    bases, matrices, points = [], [], []
    for axis, places, rank in zip(axes, nodes, ranks, strict=True):
        low = axis.functions[:, :rank]
        position = low.T @ (places.astype(dtype)[:, None] * low)
        # Diagonalising x in the lowest functions gives points, and functions that are
        # each localised at one of them.
        x, rotation = jnp.linalg.eigh(position)
        bases.append(low @ rotation)
        matrices.append(rotation.T @ (axis.energies[:rank, None] * rotation))
        points.append(x.astype(nodes[0].dtype))
    few = [x[part] for x, part in zip(nodes, _few_nodes(operator), strict=True)]
    mixed = []
    for i, point in enumerate(points):
        mixed.append((*few[:i], point, *few[i + 1 :]))
    return _Bases(
        axes=axes,
        bases=tuple(bases),
        matrices=tuple(matrices),
        points=tuple(points),
        mixed=tuple(mixed),
    )


@shape_program
def _couple(
    operator: TensorOperator,
    axes: tuple[Axis, ...],
    bases: tuple[Array, ...],
    matrices: tuple[Array, ...],
    potential_terms: tuple[Array, ...],
    ranks: tuple[int, ...],
) -> Contraction:
    """W = V - sum_i v_i at the points, and an upper bound of the levels."""
    d = len(axes)
    dtype = axes[0].energies.dtype
    coupling = potential_terms[0].astype(dtype)
    for i, potential_term in enumerate(potential_terms[1:]):
        mean = _mean(operator, i, potential_term.astype(dtype))
        coupling = coupling - along_axis(mean, i, d)
    # Each h_i in the basis is at most its highest energy, and W at most its largest
    # value.
    highest = jnp.max(coupling)
    for axis, rank in zip(axes, ranks, strict=True):
        highest = highest + axis.energies[rank - 1]
    return Contraction(bases, matrices, coupling, highest, axes)


@sampling_program
def sample_potential_terms(
    equation: Equation, positions: tuple[tuple[Array, ...], ...]
) -> tuple[Array, ...]:
    """The quantum potential of a static process, on products of positions."""
    potential_term = QuantumPotential(equation, jnp.ones(()))
    return tuple(sample_product(potential_term, product) for product in positions)


def _few_nodes(operator: TensorOperator) -> list[Array]:
    """For each axis the indices `(mean_nodes,)` of the nodes over which a mean is taken
    along the other axes.

    They are quantiles of sqrt(pi): nodes at equal distances would lie outside of it
    where the box is wide, and v_i would be that of a slice on which no mass is.
    """
    assert operator.log_sqrt_pi is not None
    fractions = (jnp.arange(CONSTANTS.mean_nodes) + 0.5) / CONSTANTS.mean_nodes
    sqrt_pi = jnp.exp(operator.log_sqrt_pi)
    found = []
    for i in range(sqrt_pi.ndim):
        others = tuple(j for j in range(sqrt_pi.ndim) if j != i)
        below = jnp.cumsum(jnp.sum(sqrt_pi, others))
        indices = jnp.searchsorted(below, fractions * below[-1])
        # By rounding the last quantile may lie beyond the sum.
        found.append(jnp.clip(indices, 0, len(below) - 1))
    return found


def _mean(operator: TensorOperator, i: int, values: Array) -> Array:
    """The mean over the other axes of a potential term on all nodes, or on the few of
    them, weighted by sqrt(pi).
    """
    assert operator.log_sqrt_pi is not None
    others = tuple(j for j in range(values.ndim) if j != i)
    few = _few_nodes(operator)
    weights = jnp.sum(jnp.exp(operator.log_sqrt_pi), i, keepdims=True)
    # `contract` has sampled V on the few nodes of the other axes only.
    on_all_nodes = values.shape == operator.grid.shape
    for j in others:
        weights = jnp.take(weights, few[j], axis=j)
        values = jnp.take(values, few[j], axis=j) if on_all_nodes else values
    return jnp.sum(values * weights, others) / jnp.sum(weights)


def along_axis(values: Array, i: int, d: int) -> Array:
    """`values` `(n_i,)` shaped to multiply or add to fields of d axes along axis i."""
    return values.reshape(-1, *[1] * (d - 1 - i))


def separable(
    axes: tuple[Axis, ...], wave: Array, f: Callable[[Array], Array]
) -> Array:
    """f(sum_i h_i) psi, for energies of at least zero, counted from the lowest one if
    that is positive.

    The lowest level of H is zero. Where the sum of the h_i lies higher, decays would be
    overestimated.
    """
    d = len(axes)
    energies = jnp.zeros(())
    for i, axis in enumerate(axes):
        energies = energies + along_axis(axis.energies, i, d)
    lowest = jnp.maximum(energies.ravel()[0], 0)
    energies = jnp.maximum(energies - lowest, 0)
    inside = _all_axes([a.functions.T for a in axes], wave)
    return _all_axes([a.functions for a in axes], f(energies) * inside)


def _all_axes(matrices: Sequence[Array], u: Array) -> Array:
    """A matrix along every axis of the grid."""
    for i, matrix in enumerate(matrices):
        u = matmul_along_axis(i, matrix, u, len(matrices))
    return u
