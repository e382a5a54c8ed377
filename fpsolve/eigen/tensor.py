"""The lowest levels in a basis of smooth functions for each axis: LOBPCG among products
of the axes' own functions.

    H = sum_i h_i + W,     h_i = T_i + v_i(x_i),
    v_i a mean over the other axes of the potential term
    h_i q_a = e_a q_a,     e = a sum of one e_a an axis,
    H c = e c + Q^T W Q c  in products of the q
    T = 1 / (e - e_0 + spread)

first among the lower half of each axis' functions, then among all. T undoes the
separable part, so that the number of rounds depends on how strongly the axes are
coupled, and neither on the spacing of the nodes nor on the height of the walls. Half of
the functions represent slow modes almost to the accuracy of all nodes, at an eighth of
the work in three dimensions; a round or two with all functions then correct what they
miss. In between, a few random vectors take the place of the last guards and are
iterated together with the levels found, so that no level is missed because the start
had none of its symmetry.

References: Bowman, Acc. Chem. Res. 19 (1986) 202 (the separable part); Knyazev, SIAM J.
Sci. Comput. 23 (2001) 517.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import matmul_along_axis
from ..operator.tensor import Factor, TensorOperator
from .constants import CONSTANTS
from .davidson import davidson
from .lobpcg import Pairs, lobpcg, scattered


class AxisFunctions(NamedTuple):
    """Of an axis: the levels of h_i `(r,)`, its functions as orthonormal columns
    `(n, r)`, v_i at the nodes `(n,)`.
    """

    levels: Array
    columns: Array
    mean_potential: Array

    @property
    def lower_half(self) -> "AxisFunctions":
        """The lower half of the functions, three of them at least."""
        count = max(3, (len(self.levels) + 1) // 2)
        return AxisFunctions(
            levels=self.levels[:count],
            columns=self.columns[:, :count],
            mean_potential=self.mean_potential,
        )


class Products(eqx.Module):
    """H among the products of some functions of each axis, on rows of coefficients
    `(m, product of r)`.
    """

    operator: TensorOperator
    axes: tuple[AxisFunctions, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """Number of functions of each axis."""
        return tuple(len(axis.levels) for axis in self.axes)

    @property
    def energies(self) -> Array:
        """e, the levels of the separable part, `(product of r,)`."""
        total = jnp.zeros(())
        for i, axis in enumerate(self.axes):
            total = total + on_axis(axis.levels, i, len(self.axes))
        return total.ravel()

    def to_products(self, fields: Array) -> Array:
        """Q^T u of fields `(m, *shape)` times the roots of the weights."""
        transposed = [axis.columns.T for axis in self.axes]
        coefficients = transform_all(transposed, fields)
        return coefficients.reshape(len(fields), -1)

    def from_products(self, rows: Array) -> Array:
        """Q c, `(m, *shape)`."""
        columns = [axis.columns for axis in self.axes]
        coefficients = rows.reshape(len(rows), *self.ranks)
        return transform_all(columns, coefficients)

    def action(self, rows: Array) -> Array:
        """H c."""
        if any(isinstance(term, Factor) for term in self.operator.terms):
            # Drift and diffusion of a factor depend on all axes: nothing is separable,
            # and H itself is applied.
            sqrt_weights = roots_of_weights(self.operator)
            waves = self.from_products(rows) / sqrt_weights
            images = self.operator.hamiltonian(waves)
            return self.to_products(sqrt_weights * images)
        coupling = self.operator.potential_term
        assert coupling is not None
        for i, axis in enumerate(self.axes):
            coupling = coupling - on_axis(axis.mean_potential, i, len(self.axes))
        coupled = self.to_products(coupling * self.from_products(rows))
        return self.energies * rows + coupled

    def preconditioner(self, spread: Array) -> Callable[[Array], Array]:
        """T on rows of coefficients."""
        inverse = 1 / (self.energies - jnp.min(self.energies) + spread)
        return lambda rows: inverse * rows

    def solve(self, start: Array, k: int, residual_tol: Array, spread: Array) -> Pairs:
        """The lowest Ritz pairs from `start`, the first `k` to `residual_tol`."""
        precondition = self.preconditioner(spread)
        return lobpcg(
            self.action,
            lambda residuals, _: precondition(residuals),
            start,
            k,
            residual_tol,
        )


def tensor_modes(
    operator: TensorOperator,
    k: int,
    size: int,
    tol: Array,
) -> tuple[Pairs, Array]:
    """The `size` lowest Ritz pairs of H, and the residual that the first `k` were to
    reach.

    **Arguments**: `operator`, a sum over axes; `size` at least k, the rest being
    guards; `tol` is that residual in units of the spacing of the separable levels.
    Vectors `(size, points)` come times the roots of the weights. **Cost**: n^3 an axis,
    ten to thirty products of `size` fields among the lower halves, a few among all.
    """
    axes = separable_axes(operator)
    whole = Products(operator, axes)
    half = Products(operator, tuple(axis.lower_half for axis in axes))

    # The start: the lowest products, each with a small random part.
    energies = half.energies
    count = len(energies)
    dtype = energies.dtype
    lowest, places = jax.lax.top_k(-energies, size)
    # Levels that all agree have no spread; their rounding stands in for it.
    rounding_of_energies = jnp.finfo(dtype).eps * jnp.max(energies) * count
    spread = jnp.maximum(lowest[0] - lowest[-1], rounding_of_energies)
    residual_tol = jnp.maximum(tol * spread / size, residual_rounding(operator))
    # Random parts are smaller at high energies, where they would only be smoothed away.
    damping = 1 + (energies + lowest[0]) / spread
    noise = scattered((size, count), dtype) / damping
    lowest_products = jax.nn.one_hot(places, count, dtype=dtype)
    start = lowest_products + CONSTANTS.random_start * noise

    # With half of the functions.
    pairs = half.solve(start, k, CONSTANTS.half_basis_residual * residual_tol, spread)
    found = pairs.vectors
    n_probes = min(CONSTANTS.probe_vectors, size - k)
    if n_probes:
        # A few random vectors, orthogonal to the levels found, look for what these have
        # missed; they take the place of the last guards.
        probes = davidson(
            half.action,
            half.preconditioner(spread),
            start=noise[:n_probes],
            known=found[:k],
            rounds=CONSTANTS.probe_rounds,
        )
        found = jnp.concatenate([found[: size - n_probes], probes])

    # With all functions, from what the half has found: the upper ones have zeros.
    added = [(0, 0)]
    for all_ranks, half_ranks in zip(whole.ranks, half.ranks, strict=True):
        added.append((0, all_ranks - half_ranks))
    start = jnp.pad(found.reshape(size, *half.ranks), added)
    pairs = whole.solve(start.reshape(size, -1), k, residual_tol, spread)
    vectors = whole.from_products(pairs.vectors).reshape(size, -1)
    images = whole.from_products(pairs.images).reshape(size, -1)
    return pairs._replace(vectors=vectors, images=images), residual_tol


def separable_axes(operator: TensorOperator) -> tuple[AxisFunctions, ...]:
    """The functions of every axis, ascending; v_i is a mean weighted by the ground
    wave, or an estimate of it.
    """
    wave = _estimated_ground(operator)
    axes = []
    for i in range(operator.grid.ndim):
        mean_potential = _mean_potential(operator, i, wave)
        axes.append(_axis_functions(operator, i, mean_potential, wave))
    return tuple(axes)


def roots_of_weights(operator: TensorOperator) -> Array:
    """Roots of the weights of the nodes, `(*shape)`."""
    return jnp.sqrt(operator.grid.weights).astype(operator.bounds[1].dtype)


def residual_rounding(operator: TensorOperator) -> Array:
    """The smallest residual that rounding of H allows."""
    lowest, highest = operator.bounds
    size = jnp.maximum(jnp.abs(lowest), jnp.abs(highest))
    return CONSTANTS.roundings * jnp.finfo(highest.dtype).eps * size


def _estimated_ground(operator: TensorOperator) -> Array:
    """sqrt(pi) where there is one, else an estimate of the ground wave, positive and of
    any norm, `(*shape)`.
    """
    if operator.log_sqrt_pi is not None:
        return jnp.exp(operator.log_sqrt_pi)
    if operator.potential_term is None:
        # Of factors alone: the wave that they would annihilate if their drift were a
        # gradient.
        return jnp.exp(_log_density(operator) / 2)
    # exp(-(V - min V) / 2 e_0): exact in a parabola, of which e_0 is the lowest level.
    above_minimum = operator.potential_term - jnp.min(operator.potential_term)
    d = operator.grid.ndim
    constant = jnp.ones_like(above_minimum)
    lowest = jnp.zeros((), above_minimum.dtype)
    for i in range(d):
        other_axes = [j for j in range(d) if j != i]
        own_potential = jnp.min(above_minimum, other_axes)
        functions = _axis_functions(operator, i, own_potential, constant)
        lowest = lowest + functions.levels[0]
    # e_0 may be zero to rounding, where the potential term is flat.
    rounding = jnp.finfo(above_minimum.dtype).eps * jnp.max(above_minimum)
    return jnp.exp(-above_minimum / (2 * jnp.maximum(lowest, rounding)))


def _log_density(operator: TensorOperator) -> Array:
    """int b/D dx from the middle of the box, axis after axis, `(*shape)`; 0 at its
    largest.

    The integral depends on the order of the axes unless the drift is a gradient: it is
    the mean over which comes first.
    """
    grid = operator.grid
    d = grid.ndim
    # integrals[i]: along axis i from its middle node.
    integrals = []
    for i, axis in enumerate(grid.axes):
        term = operator.terms[i]
        assert isinstance(term, Factor)
        # the first face between two nodes
        first_face = (term.drift.shape[i] - axis.n + 1) // 2
        last_face = first_face + axis.n - 1
        slopes = jax.lax.slice_in_dim(
            term.drift / term.diffusion, first_face, last_face, axis=i
        )
        spacings = jnp.diff(jnp.asarray(axis.nodes, slopes.dtype))
        integral = jnp.cumsum(slopes * on_axis(spacings, i, d), axis=i)
        # The sum at the first node is empty.
        padding = [(1, 0) if j == i else (0, 0) for j in range(d)]
        integral = jnp.pad(integral, padding)
        integrals.append(integral - _at_middle(integral, i))

    total = jnp.zeros(grid.shape, integrals[0].dtype)
    for first in range(d):
        order = [*range(first, d), *range(first)]
        for k, i in enumerate(order):
            # The path runs along axis i while the later axes are still at their middle.
            integral = integrals[i]
            for j in order[k + 1 :]:
                integral = _at_middle(integral, j)
            total = total + integral / d
    return total - jnp.max(total)


def _at_middle(field: Array, i: int) -> Array:
    """Values at the middle node of axis i, which stays as an axis of length one."""
    middle = field.shape[i] // 2
    return jax.lax.slice_in_dim(field, middle, middle + 1, axis=i)


def _axis_functions(
    operator: TensorOperator,
    i: int,
    mean_potential: Array,
    wave: Array,
) -> AxisFunctions:
    """The functions of h_i; those of a factor from means weighted by `wave`."""
    term = operator.terms[i]
    if isinstance(term, Factor):
        dtype = mean_potential.dtype
        weights = jnp.asarray(operator.grid.axes[i].weights, dtype)
        sqrt_weights = jnp.sqrt(weights)
        unit_vectors = jnp.eye(len(weights), dtype=dtype)
        columns = _averaged(term, i, wave).hamiltonian(unit_vectors, 0, 1)
        # Symmetric in the weights of the nodes; eigh needs the plain dot product.
        matrix = sqrt_weights[:, None] * columns.T / sqrt_weights
    else:
        matrix = term.matrix
    levels, columns = jnp.linalg.eigh(matrix + jnp.diag(mean_potential))
    return AxisFunctions(levels, columns, mean_potential)


def _averaged(term: Factor, i: int, wave: Array) -> Factor:
    """A factor whose drift and diffusion are means over the other axes."""
    other_axes = tuple(j for j in range(wave.ndim) if j != i)
    weights = jnp.sum(wave, i, keepdims=True)

    def mean(field: Array) -> Array:
        return jnp.sum(field * weights, other_axes) / jnp.sum(weights)

    means = (mean(term.drift), mean(term.diffusion))
    return eqx.tree_at(lambda t: (t.drift, t.diffusion), term, means)


def _mean_potential(operator: TensorOperator, i: int, wave: Array) -> Array:
    """v_i: the mean of the potential term over the other axes, `(n_i,)`; zero where
    there is none.
    """
    if operator.potential_term is None:
        return jnp.zeros(operator.grid.shape[i], wave.dtype)
    other_axes = tuple(j for j in range(wave.ndim) if j != i)
    weights = jnp.sum(wave, i, keepdims=True)
    weighted = operator.potential_term * weights
    return jnp.sum(weighted, other_axes) / jnp.sum(weights)


def on_axis(values: Array, i: int, d: int) -> Array:
    """Values `(n,)` of axis i of d, in a shape that broadcasts against fields."""
    return values.reshape(-1, *[1] * (d - 1 - i))


def transform_all(matrices: list[Array], fields: Array) -> Array:
    """Fields `(..., *shape)`, each axis multiplied by its matrix."""
    for i, matrix in enumerate(matrices):
        fields = matmul_along_axis(i, matrix, fields, len(matrices))
    return fields
