"""The slowest modes of a process that need not be reversible: complex rates of -L with densities and observables.

    -L r_n = lambda_n r_n,     -L^T f_n = lambda_n f_n,     <f_m, r_n> = int f_m r_n dx = delta_mn   (no conjugate)
    p(t) = sum_n exp(-lambda_n t) <f_n, p_0> r_n,          lambda_0 = 0, r_0 the stationary density, f_0 = 1

L^T, taken in the weights of the grid, is the backward generator. The rates are two-sided Rayleigh quotients

    lambda = <f, -L r> / <f, r>,       d lambda = <f, -dL r> / <f, r>,

whose errors are products of those of f and r. A residual e = -L r - lambda r moves a rate by <f, e> / <f, r>, and
rounding in L by eps <|f|, |L| |r|> / |<f, r>|: the second number is the condition of the rate, one for a reversible
process in the norms of its modes and unbounded as two rates and their modes merge (a Jordan block).

References: Risken, The Fokker-Planck Equation (1989), section 6.6; Saad, Numerical Methods for Large Eigenvalue
Problems (2011), section 3.3; Parlett, Linear Algebra Appl. 10 (1975) 291 (two-sided quotients).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..grid import Grid
from ..linear.block_tridiagonal import Layers, factor_layers
from ..operator import EdgeOperator, Operator
from ..operator.base import dense
from ..operator.finite_volume import bernoulli
from ..operator.tensor import Factor, TensorOperator
from .lobpcg import scattered
from .subspace import Slow, slow_subspace

DENSE_SIZE = 1024  # points up to which the whole matrix is taken: a free choice
SHORTEST = 0.45  # cycles a node, from which the shortest tenth of all wavelengths begins
SPARE = 8  # modes beside the wanted ones, so that a cluster of rates comes whole


class RelaxationModes(NamedTuple):
    """The k slowest modes: `values` `(k,)` complex, by real part, then by the size of the imaginary part, + before -,
    where real parts that agree to the square root of rounding count as equal; `vectors` and `observables`
    `(k, *shape)` complex; `residuals` `(k,)` |L r + lambda r| / |r| in the grid's weights; `errors` `(k,)` bounds on
    |error| to first order; `converged` `()`."""

    values: Array
    vectors: Array
    observables: Array
    residuals: Array
    errors: Array
    converged: Array


def relaxation_modes(operator: Operator, k: int, tol: Array, dtype: Any) -> RelaxationModes:
    """The k eigenvalues of -L with the smallest real parts, and their modes.

    **Arguments**: an `operator` whose generator acts on densities (the flux form of `Spectral`, finite volumes), k at
    most the number of points; `tol`, the error of a rate relative to its size, or to that of the slowest one above
    zero. **Returns** `RelaxationModes`; r_0 has mass 1 and f_0 = 1 where no mass leaves; other r_n have unit L1 norm.
    **Keeps**: complex rates come in conjugate pairs, to rounding; only the k-th may lack its partner, which follows it.
    `jit`, `vmap`, `grad` and `jvp` reach the values (real and imaginary parts); the modes are not differentiated.
    **Cost**: some 25 size^3 up to `DENSE_SIZE` points; beyond, for n layers of m nodes across the longest axis, 4 n m^3
    for each of a few factorisations, n m^2 numbers, and some ten rounds of 4 (k + SPARE) solves for finite volumes,
    four times as many for spectral operators. Needs `eig`, which JAX has on CPU and GPU (there run by the host).
    **Limits**: beyond `DENSE_SIZE`, a mode that turns very much faster than it decays may be missed among many that do
    not (mathematical: nothing cheap bounds how fast modes turn).
    """
    still = jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, operator)
    count = min(k + SPARE, still.grid.size)
    if still.grid.size <= DENSE_SIZE:
        found = _from_matrix(still, count, dtype)
    else:
        found = _from_resolvent(still, k, count, tol, dtype)
    right, left = jax.lax.stop_gradient(_scaled(still.grid, *_paired(still.grid, found, k, tol)))
    values = _quotients(operator, right, left)
    residuals, errors = jax.lax.stop_gradient(_errors(still, jax.lax.stop_gradient(values), right, left))
    goal = tol * jnp.maximum(jnp.abs(found.rates), jnp.abs(found.rates[min(1, count - 1)]))[:k]
    converged = jnp.all(residuals <= jnp.maximum(goal, 32 * jnp.finfo(dtype).eps * _largest(still)))
    return RelaxationModes(values, right, left, residuals, errors, converged)


def unresolved(grid: Grid, vectors: Array) -> float:
    """What part of the modes `(k, *shape)` the grid holds in the shortest tenth of its wavelengths, and how far below
    zero the stationary density falls, relative to the largest; the worse of the two, a scalar.

    A spectral scheme whose errors it estimates has resolved the process where this is small. Lobatto axes are not
    looked at: their modes have no waves. Computed on the host, from concrete modes.
    """
    modes = np.asarray(vectors)
    stationary = modes[0].real
    worst = [np.max(-stationary) / np.max(stationary)]
    for i, axis in enumerate(grid.axes):
        if not axis.uniform:
            continue
        field = np.concatenate([modes, -np.flip(modes, i + 1)], i + 1) if axis.boundary == "absorbing" else modes
        others = tuple(j for j in range(1, grid.ndim + 1) if j != i + 1)
        spectrum = np.max(np.abs(np.fft.fft(field, axis=i + 1)), axis=others)
        high = np.abs(np.fft.fftfreq(spectrum.shape[1])) > SHORTEST
        worst.append(np.max(np.max(np.where(high, spectrum, 0), 1) / np.max(spectrum, 1)))
    return float(np.max(worst)) if np.all(np.isfinite(worst)) else float("inf")


def slowest(values: Array) -> Array:
    """The permutation that sorts rates as `RelaxationModes` does."""
    unit = jnp.sqrt(jnp.finfo(values.dtype).eps) * jnp.max(jnp.abs(values))
    unit = jnp.where(unit > 0, unit, 1)
    near = lambda x: jnp.round(x / unit)
    return jnp.lexsort((values.imag < 0, values.real, near(jnp.abs(values.imag)), near(values.real)))


class _Found(NamedTuple):
    """Rates and right eigenvectors, and the same of the backward generator; each slowest first."""

    rates: Array
    backward_rates: Array
    right: Array
    left: Array


def _from_matrix(operator: Operator, count: int, dtype: Any) -> _Found:
    """The `count` slowest from the whole matrix."""
    grid = operator.grid
    root = jnp.sqrt(grid.weights.astype(dtype)).ravel()
    matrix = -root[:, None] * dense(operator.generator, grid, dtype) / root
    values, left, right = jax.lax.linalg.eig(matrix)
    order = slowest(values)[:count]
    fields = lambda vectors: (vectors[:, order] / root[:, None]).T.reshape(count, *grid.shape)
    return _Found(values[order], values[order], fields(right), fields(jnp.conj(left)))


def _from_resolvent(operator: Operator, k: int, count: int, tol: Array, dtype: Any) -> _Found:
    """The same by iteration on the resolvent."""
    grid = operator.grid
    root = jnp.sqrt(grid.weights.astype(dtype)).ravel()
    floor = 8 * jnp.finfo(dtype).eps * _largest(operator)
    first = 4 * _largest(operator) / (grid.ndim * max(grid.shape) ** 2)
    fields = lambda rows: rows.reshape(-1, *grid.shape)

    def goal(rates: Array) -> Array:
        sizes = jnp.sort(jnp.abs(rates))
        return tol / 30 * jnp.maximum(jnp.abs(rates), sizes[min(1, count - 1)])

    near = operator if isinstance(operator, EdgeOperator) else edges_of(operator)
    start = scattered((count, grid.size), dtype).at[0].set(root)

    def search(shift: Array, backward: Array) -> tuple[Array, tuple[Array, Array]]:
        side = _Side(
            operator=operator,
            near=near,
            root=jnp.where(backward, 1 / root, root),
            backward=backward,
            exact=near is operator,
        )
        modes, shift = slow_subspace(side, start, shift, goal, floor, k, slowest)
        return shift, (modes.rates, modes.vectors)

    rates, rows = jax.lax.scan(search, first, jnp.asarray([False, True]))[1]
    return _Found(*rates, *(fields(u / root) for u in rows))


class _Inverse(eqx.Module):
    """The inverse of s - L, or its transpose, on the rows of `_Side`."""

    layers: Layers
    root: Array

    def __call__(self, rows: Array) -> Array:
        fields = (rows / self.root).reshape(-1, *self.layers.shape)
        return self.layers.solve(fields).reshape(rows.shape) * self.root


class _Side(Slow):
    """L on rows p sqrt(w), or its transpose on rows f sqrt(w); the inverse is that of finite volumes."""

    operator: Operator
    near: EdgeOperator
    root: Array
    backward: Array
    exact: bool = eqx.field(static=True)

    def factor(self, shift: Array) -> _Inverse:
        layers = factor_layers(self.near, shift)
        chosen = jax.tree.map(lambda u, v: jnp.where(self.backward, u, v), layers.transposed, layers)
        return _Inverse(chosen, self.root)

    def shifted(self, shift: Array, rows: Array) -> Array:
        generator = self.operator.generator
        fields = (rows / self.root).reshape(-1, *self.operator.grid.shape)
        transpose = jax.linear_transpose(generator, fields)
        images = jax.lax.cond(self.backward, lambda u: transpose(u)[0], lambda u: generator(u), fields)
        return shift * rows - images.reshape(rows.shape) * self.root


def edges_of(operator: Operator) -> EdgeOperator:
    """Finite volumes with the drift and the diffusion of a flux form, on its own nodes: each is the other's inverse
    up to factors between 4/pi^2 and one, whatever the number of nodes.

    **Reference**: Orszag, J. Comput. Phys. 37 (1980) 70.
    """
    assert isinstance(operator, TensorOperator)
    up, down = [], []
    for i, (axis, term) in enumerate(zip(operator.grid.axes, operator.terms, strict=True)):
        assert isinstance(term, Factor)
        gaps = jnp.asarray(axis.spacings, term.drift.dtype).reshape(-1, *[1] * (operator.grid.ndim - 1 - i))
        diffusion, drift = (
            jax.lax.slice_in_dim(u, 0, len(axis.spacings), axis=i) for u in (term.diffusion, term.drift)
        )
        drop = drift * gaps / diffusion
        up.append(diffusion / gaps * bernoulli(-drop))
        down.append(diffusion / gaps * bernoulli(drop))
    return EdgeOperator(operator.grid, tuple(up), tuple(down), None, None)


def _largest(operator: Operator) -> Array:
    return jnp.max(jnp.abs(jnp.stack(operator.bounds)))


def _paired(grid: Grid, found: _Found, k: int, tol: Array) -> tuple[Array, Array]:
    """r_n and f_n of the k slowest, with f_m orthogonal to r_n also where their rates agree."""
    right, left = (jax.vmap(lambda u: u / jnp.sqrt(grid.integrate(jnp.abs(u) ** 2)))(u) for u in found[2:])
    products = jax.vmap(lambda f: jax.vmap(lambda r: grid.integrate(f * r))(right))(left)
    unit = jnp.maximum(jnp.sqrt(jnp.finfo(products.dtype).eps), tol) * jnp.max(jnp.abs(found.rates))
    products = jnp.where(jnp.abs(found.backward_rates[:, None] - found.rates) <= unit, products, 0)
    return right[:k], jnp.tensordot(jnp.linalg.pinv(products)[:k], left, 1)


def _quotients(operator: Operator, right: Array, left: Array) -> Array:
    """<f, -L r> / <f, r>; where f and r are orthogonal to rounding, as in a Jordan block, <r, -L r> / <r, r>."""
    product = jax.vmap(lambda u, v: operator.grid.integrate(u * v))
    left = jnp.where(_lost(operator.grid, right, left), jnp.conj(right), left)
    return product(left, -_images(operator, right)) / product(left, right)


def _images(operator: Operator, fields: Array) -> Array:
    """L on complex fields `(k, *shape)`."""
    real, imaginary = operator.generator(jnp.stack([fields.real, fields.imag]))
    return jax.lax.complex(real, imaginary)


def _lost(grid: Grid, right: Array, left: Array) -> Array:
    """Whether nothing is left of <f, r> but rounding, `(k, *ones)`."""
    product = jax.vmap(lambda u, v: jnp.abs(grid.integrate(u * v)))
    sizes = jnp.sqrt(product(right, jnp.conj(right)) * product(left, jnp.conj(left)))
    lost = product(left, right) <= 8 * jnp.finfo(right.dtype).eps * sizes
    return lost.reshape(-1, *[1] * grid.ndim)


def _scaled(grid: Grid, right: Array, left: Array) -> tuple[Array, Array]:
    """Each r_n of unit L1 norm and positive where it is largest, r_0 of mass 1 where it has one; <f_n, r_n> = 1."""
    flat = right.reshape(len(right), -1)
    largest = jnp.take_along_axis(flat, jnp.argmax(jnp.abs(flat), axis=1)[:, None], axis=1)
    right = (flat * jnp.conj(largest) / jnp.abs(largest)).reshape(right.shape)
    right = right / jax.vmap(lambda u: grid.integrate(jnp.abs(u)))(right).reshape(-1, *[1] * grid.ndim)
    mass = grid.integrate(right[0])
    right = right.at[0].divide(jnp.where(jnp.abs(mass) > 0.5, mass, 1))
    pairing = jax.vmap(lambda f, r: grid.integrate(f * r))(left, right).reshape(-1, *[1] * grid.ndim)
    return right, left / jnp.where(_lost(grid, right, left), 1, pairing)


def _errors(operator: Operator, values: Array, right: Array, left: Array) -> tuple[Array, Array]:
    """Residuals, and bounds on the errors."""
    grid, epsilon = operator.grid, jnp.finfo(right.dtype).eps
    norm = jax.vmap(lambda u: jnp.sqrt(grid.integrate(jnp.abs(u) ** 2)))
    expand = lambda u: u.reshape(-1, *[1] * grid.ndim)
    rest = _images(operator, right) + expand(values) * right
    residuals = norm(rest) / norm(right)
    largest = _largest(operator)
    if isinstance(operator, EdgeOperator):
        sizes = jnp.abs(right)
        handled = 2 * operator.exit_rates * sizes + operator.generator(sizes)
        rounding = 4 * epsilon * jax.vmap(grid.integrate)(jnp.abs(left) * handled)
    else:
        rounding = 4 * epsilon * largest * norm(left) * norm(right)
    errors = jax.vmap(grid.integrate)(jnp.abs(left * rest)) + rounding
    lost = _lost(grid, right, left).ravel()
    return residuals, jnp.where(lost, jnp.sqrt(largest * (residuals + epsilon * largest)), errors)
