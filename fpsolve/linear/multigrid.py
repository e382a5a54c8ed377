"""Multigrid on the graph of a reversible finite-volume operator: every level is a graph
of the same kind.

The operator acts on values f (observables) or, symmetrically, on waves psi = sqrt(m) f,
with masses m and rates r,

    F f = out f - sum_k r_jk f_k,
    A psi = out psi - sum_k sqrt(r_jk r_kj) psi_k,
    F 1 = A sqrt(m) = 0,

where `out` is the sum of all rates from a node and of its killing rate. Between the
levels

    corrections      f_a = f_b = f_J for the pair (a, b) that is merged into J
    residuals        that of J is the mean, by shares of the mass, of those of a and b

and the wave picture takes the square roots of the shares for both. The smoother is
Chebyshev's polynomial of the fourth kind in the operator over its diagonal, whose
spectrum lies in [0, 2]. `graph` coarsens, and says how axes are counted.

References: Trottenberg, Oosterlee and Schüller, Multigrid (2001); Lottes, Numer. Linear
Algebra Appl. 30 (2023) e2518 (the smoother).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.machine import EXACTLY
from ..operator import EdgeOperator
from .constants import CONSTANTS
from .graph import (
    ReversibleGraph,
    coarsened,
    graph_of,
    next_value,
    pairs,
    previous_value,
    spread_to_pairs,
)

# The smoother, Lottes (2023), derived there: it starts with z = 2 r / (3 out), and each
# pair (a, b) is a further step z <- a z + b r / out. The last pair only updates the
# residual.
FIRST_STEP = 2 / 3
FURTHER_STEPS = ((1 / 5, 6 / 5), (0.0, 0.0))


class Level(eqx.Module):
    """F or A on one level: its diagonal `out_rates`, the inverse of that, and the
    couplings to the next node up (`above`) and down (`below`), one array an axis.
    """

    out_rates: Array
    inverse: Array
    above: tuple[Array, ...]
    below: tuple[Array, ...]
    periodic: tuple[bool, ...] = eqx.field(static=True)

    @property
    def axes(self) -> tuple[int, ...]:
        """-d, ..., -1."""
        return tuple(range(-self.out_rates.ndim, 0))

    def apply(self, field: Array) -> Array:
        """F f or A psi, `(..., *shape)`."""
        answer = self.out_rates * field
        for axis in self.axes:
            periodic = self.periodic[axis]
            from_above = self.above[axis] * next_value(field, axis, periodic)
            from_below = self.below[axis] * previous_value(field, axis, periodic)
            answer = answer - from_above - from_below
        return answer

    @property
    def matrix(self) -> Array:
        """The whole matrix, `(size, size)`."""
        shape = self.out_rates.shape
        size = self.out_rates.size
        identity = jnp.eye(size, dtype=self.out_rates.dtype)
        columns = self.apply(identity.reshape(size, *shape))
        return columns.reshape(size, size).T

    def smooth(self, load: Array) -> tuple[Array, Array]:
        """An approximate solution for `load`, from zero, and its residual."""

        # A loop and not straight code: XLA would fuse the steps, and compute the
        # earlier ones again for each neighbour.
        def step(
            state: tuple[Array, Array, Array],
            numbers: Array,
        ) -> tuple[tuple[Array, Array, Array], None]:
            x, residual, z = state
            residual = residual - self.apply(z)
            z = numbers[0] * z + numbers[1] * (self.inverse * residual)
            return (x + z, residual, z), None

        first = FIRST_STEP * (self.inverse * load)
        numbers = jnp.asarray(FURTHER_STEPS, load.dtype)
        (x, residual, _), _ = jax.lax.scan(step, (first, load, first), numbers)
        return x, residual


class Multigrid(eqx.Module):
    """Levels from fine to coarse, and weights for corrections and residuals."""

    graphs: tuple[ReversibleGraph, ...]
    levels: tuple[Level, ...]
    prolongation_weights: tuple[Array, ...]
    restriction_weights: tuple[Array, ...]
    bottom_inverse: Array  # of the coarsest level, (size, size)

    def cycle(self, load: Array, level: int = 0) -> Array:
        """Close to the inverse of `levels[level]` times `load` `(..., *shape)`: one
        V-cycle.

        **Keeps**: in the wave picture, symmetric and positive (on the complement of
        sqrt(m) where nothing is killed). **Cost**: about eight applications of the
        operator.
        """
        now = self.levels[level]
        if level == len(self.levels) - 1:
            batch_shape = load.shape[: load.ndim - len(now.axes)]
            flat = load.reshape(*batch_shape, -1)
            x = jnp.matmul(flat, self.bottom_inverse.T, precision=EXACTLY)
            return x.reshape(load.shape)
        # Smooth, correct from the level below, and smooth again: the same smoother
        # before and after keeps the cycle symmetric, as conjugate gradients and LOBPCG
        # need.
        x, residual = now.smooth(load)
        correction = self.cycle(self.restrict(residual, level), level + 1)
        x = x + self.prolong(correction, level)
        further, _ = now.smooth(load - now.apply(x))
        return x + further

    def prolong(self, coarse: Array, level: int) -> Array:
        """From the level below `level` to it."""
        for axis in self._merged_axes(level):
            coarse = spread_to_pairs(coarse, axis, self.graphs[level].shape[axis])
        return self.prolongation_weights[level] * coarse

    def restrict(self, fine: Array, level: int) -> Array:
        """From `level` to the one below it."""
        fine = self.restriction_weights[level] * fine
        for axis in self._merged_axes(level):
            fine = sum(pairs(fine, axis), start=jnp.zeros((), fine.dtype))
        return fine

    def _merged_axes(self, level: int) -> list[int]:
        fine, coarse = self.graphs[level], self.graphs[level + 1]
        return [axis for axis in fine.axes if coarse.shape[axis] < fine.shape[axis]]


def wave_multigrid(operator: EdgeOperator) -> Multigrid:
    """Multigrid for w^(1/2) H w^(-1/2), w the weights; a potential term is shifted so
    that its lowest value is zero.

    **Arguments**: `operator`, a process that balances in detail or a Schrödinger
    operator. **Cost**: 2 d + 6 fields.
    """
    graphs, shares = coarsened(graph_of(operator))
    levels = tuple(_wave_level(graph) for graph in graphs)
    conserves_mass = operator.potential_term is None and not operator.grid.absorbs
    # The same both ways: the cycle is to be symmetric.
    roots = tuple(jnp.sqrt(share) for share in shares)
    return Multigrid(
        graphs=graphs,
        levels=levels,
        prolongation_weights=roots,
        restriction_weights=roots,
        bottom_inverse=_bottom_inverse(graphs[-1], levels[-1], conserves_mass),
    )


def _wave_level(graph: ReversibleGraph) -> Level:
    """A on one graph. The two rates of an edge are square-rooted one by one, because
    their product may overflow.
    """
    above = []
    below = []
    for axis in graph.axes:
        periodic = graph.periodic[axis]
        rate_back = next_value(graph.down[axis], axis, periodic)
        coupling = jnp.sqrt(graph.up[axis]) * jnp.sqrt(rate_back)
        above.append(coupling)
        below.append(previous_value(coupling, axis, periodic))
    return make_level(graph, tuple(above), tuple(below))


def _bottom_inverse(
    graph: ReversibleGraph,
    level: Level,
    conserves_mass: bool,
) -> Array:
    """The inverse of A on the coarsest graph; where mass is conserved, on the
    complement of its null vector sqrt(m).
    """
    matrix = level.matrix
    ground = graph.sqrt_mass.ravel()
    null = jnp.outer(ground, ground) if conserves_mass else jnp.zeros_like(matrix)
    # The null vector is raised to the top of the spectrum and projected out of the
    # eigenvectors, so no eigenvalue is zero. Eigenvalues below rounding are raised to
    # it.
    raised = matrix + jnp.max(level.out_rates) * null
    values, vectors = jnp.linalg.eigh(raised, symmetrize_input=True)
    eps = jnp.finfo(values.dtype).eps
    rounding = CONSTANTS.bottom_roundings * len(values) * eps * jnp.max(values)
    projected = vectors - jnp.matmul(null, vectors, precision=EXACTLY)
    scaled = projected / jnp.maximum(values, rounding)
    return jnp.matmul(scaled, projected.T, precision=EXACTLY)


def value_multigrid(graph: ReversibleGraph) -> Multigrid:
    """Multigrid for F."""
    graphs, shares = coarsened(graph)
    levels = tuple(make_level(one, one.up, one.down) for one in graphs)
    matrix = levels[-1].matrix
    # Nodes that take no part have empty rows, and ones on the diagonal keep the matrix
    # regular.
    empty = levels[-1].out_rates.ravel() == 0
    bottom_inverse = jnp.linalg.inv(matrix + jnp.diag(empty.astype(matrix.dtype)))
    takes_part = tuple((share > 0).astype(share.dtype) for share in shares)
    return Multigrid(graphs, levels, takes_part, shares, bottom_inverse)


def make_level(
    graph: ReversibleGraph,
    above: tuple[Array, ...],
    below: tuple[Array, ...],
) -> Level:
    """A level with the couplings `above` and `below`, and the diagonal of the graph."""
    out_rates = sum((*graph.up, *graph.down), start=graph.killing)
    # A node that takes no part has no rates; one is as good as any other number.
    inverse = 1 / jnp.where(out_rates > 0, out_rates, 1)
    return Level(out_rates, inverse, above, below, graph.periodic)
