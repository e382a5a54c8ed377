"""The lowest levels in a basis of smooth functions an axis: LOBPCG among products of the axes' own functions.

    H = sum_i h_i + W,     h_i = T_i + v_i(x_i),     v_i a mean over the other axes of the well
    h_i q_a = e_a q_a,     e = a sum of one e_a an axis,     H c = e c + Q^T W Q c  in products of the q
    T = 1 / (e - e_0 + spread)

first among the lower half of each axis' functions, then among all. T undoes the separable part, so that the number of
rounds depends on how strongly the axes are coupled, and neither on the spacing of the nodes nor on the height of the
walls. Half of the functions carry slow modes almost to the accuracy of all nodes, at an eighth of the work in three
dimensions; what they miss is mended in a round or two with all. In between, a few random vectors take the place of the
last guards and descend with the levels found, so that no level is missed because the start knew nothing of its
symmetry.

References: Bowman, Acc. Chem. Res. 19 (1986) 202 (the separable part); Knyazev, SIAM J. Sci. Comput. 23 (2001) 517.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core.apply_along_axis import transform
from ..operator.tensor import Factor, TensorOperator
from .lobpcg import ROUNDS, Pairs, lobpcg, scattered

RANDOM = 0.01  # share of the start that knows no symmetry
EARLY = 0.25  # of the residual asked for, where half of the functions stop
SEARCHERS = 2  # vectors that look for what was missed, in the place of the last guards
SEARCH = 12  # their rounds, enough to show a level that the start has missed (free choice; tests/test_spectrum.py)


class Functions(NamedTuple):
    """Of an axis: the levels of h_i `(r,)`, its functions as orthonormal columns `(n, r)`, v_i at the nodes `(n,)`."""

    levels: Array
    columns: Array
    well: Array


class Products(eqx.Module):
    """H among the products of some functions of each axis, on rows of coefficients `(m, product of r)`."""

    operator: TensorOperator
    axes: tuple[Functions, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """Functions an axis."""
        return tuple(len(axis.levels) for axis in self.axes)

    @property
    def energies(self) -> Array:
        """e, the levels of the separable part, `(product of r,)`."""
        return sum((_upright(a.levels, i, len(self.axes)) for i, a in enumerate(self.axes)), jnp.zeros(())).ravel()

    def into(self, fields: Array) -> Array:
        """Q^T u of fields `(m, *shape)` times the roots of the weights."""
        return _all_axes([axis.columns.T for axis in self.axes], fields).reshape(len(fields), -1)

    def out(self, rows: Array) -> Array:
        """Q c, `(m, *shape)`."""
        return _all_axes([axis.columns for axis in self.axes], rows.reshape(len(rows), *self.ranks))

    def action(self, rows: Array) -> Array:
        """H c."""
        if any(isinstance(term, Factor) for term in self.operator.terms):
            root = roots(self.operator)
            return self.into(root * self.operator.hamiltonian(self.out(rows) / root))
        coupling = self.operator.well
        assert coupling is not None
        for i, axis in enumerate(self.axes):
            coupling = coupling - _upright(axis.well, i, len(self.axes))
        return self.energies * rows + self.into(coupling * self.out(rows))

    def solve(self, start: Array, k: int | Array, goal: Array, spread: Array, **options: Any) -> Pairs:
        """The lowest Ritz pairs from rows of coefficients."""
        inverse = 1 / (self.energies - jnp.min(self.energies) + spread)
        return lobpcg(self.action, lambda residuals, _: inverse * residuals, start, k, goal, **options)


def tensor_modes(operator: TensorOperator, k: int, size: int, tol: Array) -> tuple[Pairs, Array]:
    """The `size` lowest Ritz pairs of H, and the residual that the first `k` were to reach.

    **Arguments**: `operator`, a sum over axes; `size` at least k, the rest being guards; `tol` is that
    residual in units of the spacing of the separable levels. Vectors `(size, points)` come times the roots of the
    weights. **Cost**: n^3 an axis, ten to thirty products of `size` fields
    among the lower halves, a few among all.
    """
    axes = separable_axes(operator)
    whole = Products(operator, axes)
    half = Products(operator, tuple(Functions(e[: _half(e)], q[:, : _half(e)], v) for e, q, v in axes))
    energies = half.energies
    lowest, places = jax.lax.top_k(-energies, size)
    spread = jnp.maximum(lowest[0] - lowest[-1], jnp.finfo(energies.dtype).eps * jnp.max(energies) * len(energies))
    goal = jnp.maximum(tol * spread / size, floor(operator))
    noise = scattered((size, len(energies)), energies.dtype) / (1 + (energies + lowest[0]) / spread)
    start = jax.nn.one_hot(places, len(energies), dtype=energies.dtype) + RANDOM * noise
    probe_vectors = min(SEARCHERS, size - k)

    def stage(start: Array, aim: tuple[Array, Array]) -> tuple[Array, Array]:
        pairs = half.solve(start, aim[0], EARLY * goal, spread, rounds=aim[1])
        return jnp.concatenate([pairs.vectors[: size - probe_vectors], noise[:probe_vectors]]), pairs.vectors

    # The second stage looks for what the first has missed. One loop, not two copies of the iteration to compile.
    aims = jnp.asarray([k, size]), jnp.asarray([ROUNDS, SEARCH])
    _, found = jax.lax.scan(stage, start, jax.tree.map(lambda u: u[: 2 if probe_vectors else 1], aims))
    start = jnp.pad(found[-1].reshape(size, *half.ranks), [(0, 0), *_missing(whole.ranks, half.ranks)])
    after = whole.solve(start.reshape(size, -1), k, goal, spread)
    back = lambda rows: whole.out(rows).reshape(size, -1)
    return after._replace(vectors=back(after.vectors), images=back(after.images)), goal


def separable_axes(operator: TensorOperator) -> tuple[Functions, ...]:
    """The functions of every axis, ascending; v_i is a mean weighted by the ground wave, or what is likely to be it."""
    shares = _shares(operator)
    return tuple(_functions(operator, i, _mean(operator, i, shares), shares) for i in range(operator.grid.ndim))


def roots(operator: TensorOperator) -> Array:
    """Roots of the weights of the nodes, `(*shape)`."""
    return jnp.sqrt(operator.grid.weights).astype(operator.bounds[1].dtype)


def floor(operator: TensorOperator) -> Array:
    """A residual that rounding allows."""
    lowest, highest = operator.bounds
    return 8 * jnp.finfo(highest.dtype).eps * jnp.maximum(jnp.abs(lowest), jnp.abs(highest))


def _shares(operator: TensorOperator) -> Array:
    """sqrt(pi); where there is none, exp(-(V - min V) / 2 e_0), which it is in a parabola of lowest level e_0; and of
    factors alone what they would annihilate if their drift were a gradient."""
    if operator.log_sqrt_pi is not None:
        return jnp.exp(operator.log_sqrt_pi)
    if operator.well is None:
        return jnp.exp(_log_density(operator) / 2)
    above, d = operator.well - jnp.min(operator.well), operator.grid.ndim
    lowest = jnp.zeros((), above.dtype)
    for i in range(d):
        alone = jnp.min(above, [j for j in range(d) if j != i])
        lowest = lowest + _functions(operator, i, alone, jnp.ones_like(above)).levels[0]
    return jnp.exp(-above / (2 * jnp.maximum(lowest, jnp.finfo(above.dtype).eps * jnp.max(above))))


def _log_density(operator: TensorOperator) -> Array:
    """int b/D dx from the middle of the box, axis after axis, a mean over which axis comes first; 0 at its largest."""
    d, rises = operator.grid.ndim, []
    for i, axis in enumerate(operator.grid.axes):
        term = operator.terms[i]
        assert isinstance(term, Factor)
        inner = (term.drift.shape[i] - axis.n + 1) // 2  # the first face between two nodes
        steps = jax.lax.slice_in_dim(term.drift / term.diffusion, inner, inner + axis.n - 1, axis=i)
        rise = jnp.cumsum(steps * _upright(jnp.diff(jnp.asarray(axis.nodes, steps.dtype)), i, d), axis=i)
        rise = jnp.pad(rise, [(1, 0) if j == i else (0, 0) for j in range(d)])
        rises.append(rise - jax.lax.slice_in_dim(rise, axis.n // 2, axis.n // 2 + 1, axis=i))
    total = jnp.zeros(operator.grid.shape, rises[0].dtype)
    for first in range(d):
        order = [*range(first, d), *range(first)]
        for k, i in enumerate(order):
            rise = rises[i]
            for j in order[k + 1 :]:
                middle = operator.grid.shape[j] // 2
                rise = jax.lax.slice_in_dim(rise, middle, middle + 1, axis=j)
            total = total + rise / d
    return total - jnp.max(total)


def _functions(operator: TensorOperator, i: int, well: Array, shares: Array) -> Functions:
    term, root = operator.terms[i], jnp.sqrt(jnp.asarray(operator.grid.axes[i].weights, well.dtype))
    if isinstance(term, Factor):
        term = _averaged(term, i, shares)
        matrix = root[:, None] * term.hamiltonian(jnp.eye(len(root), dtype=root.dtype), 0, 1).T / root
    else:
        matrix = term.matrix
    levels, columns = jnp.linalg.eigh(matrix + jnp.diag(well))
    return Functions(levels, columns, well)


def _averaged(term: Factor, i: int, shares: Array) -> Factor:
    """A factor whose drift and diffusion are means over the other axes."""
    others = tuple(j for j in range(shares.ndim) if j != i)
    weights = jnp.sum(shares, i, keepdims=True)
    mean = lambda field: jnp.sum(field * weights, others) / jnp.sum(weights)
    return eqx.tree_at(lambda t: (t.drift, t.diffusion), term, (mean(term.drift), mean(term.diffusion)))


def _mean(operator: TensorOperator, i: int, shares: Array) -> Array:
    """v_i: the mean of the well over the other axes, `(n_i,)`; zero where there is no well."""
    if operator.well is None:
        return jnp.zeros(operator.grid.shape[i], shares.dtype)
    others = tuple(j for j in range(shares.ndim) if j != i)
    weights = jnp.sum(shares, i, keepdims=True)
    return jnp.sum(operator.well * weights, others) / jnp.sum(weights)


def _half(levels: Array) -> int:
    return max(3, (len(levels) + 1) // 2)


def _missing(ranks: tuple[int, ...], coarsen_grid: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(0, all_ - some) for all_, some in zip(ranks, coarsen_grid, strict=True)]


def _upright(values: Array, i: int, d: int) -> Array:
    return values.reshape(-1, *[1] * (d - 1 - i))


def _all_axes(matrices: list[Array], u: Array) -> Array:
    for i, matrix in enumerate(matrices):
        u = transform(i, matrix, u, len(matrices))
    return u
