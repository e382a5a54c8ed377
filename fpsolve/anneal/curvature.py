"""Global constants of a path at a lambda: convexity, largest decrease and Lipschitz
constant of d_lambda log pi.

    kappa         Hess U >= kappa:               D rho >= kappa
                  (Bakry-Emery)
                  U = V + b, Hess V >= kappa:    D rho >= kappa exp(-osc(b) / D)
                  (Holley-Stroock)
    sup_decrease  sup(-ell), the largest decrease of log pi per lambda:
                  M = lambda' sup(-ell)
    lipschitz     sup |grad ell|, the Lipschitz constant of ell = d_lambda log pi

rho is the constant of the logarithmic Sobolev inequality of pi. Suprema are taken over
the nodes of a grid and, where the box truncates an unbounded line, over points up to 64
half boxes away: what still grows there counts as unbounded. V is the convex envelope of
U - kappa |x|^2 / 2 on the box, by two discrete Legendre transforms. It never exceeds
the function that it envelops, so that osc(b) is not underestimated.

References: Bakry and Emery, Sem. Prob. XIX (1985) 177; Holley and Stroock, J. Stat.
Phys. 46 (1987) 1159.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..core.types import AnyArray, PotentialPath, Scalar
from ..grid import Grid
from ..potential import as_potential
from .constants import CONSTANTS


class PathConstants(NamedTuple):
    """At one lambda: `rate` D rho (0 where none is known) and its criterion, sup(-ell),
    and sup |grad ell|.
    """

    rate: float
    criterion: str
    sup_decrease: float
    lipschitz: float


class PathSamples(NamedTuple):
    """Samples of a path at several lambdas.

    - at m points `(M, m)`: the energy U, the least eigenvalue of Hess U, -d_lambda U /
      D, the length of its gradient
    - `mean` `(M,)`: the mean of -d_lambda U / D over pi, by which it differs from ell =
      d_lambda log pi
    """

    energy: Any
    least_curvature: Any
    driving: Any
    steepness: Any
    mean: Any


def path_constants(
    path: PotentialPath, diffusion: Scalar, grid: Grid, lambdas: np.ndarray
) -> list[PathConstants]:
    """The constants of a path from `read_path` at each of `lambdas` `(M,)`.

    **Cost**: Hessians at some thousand points, and convex envelopes on a coarse grid.
    """
    coarse = _coarse_grid(grid)
    # Points in the box and beyond it are sampled together, by one program.
    inside = _points(coarse)
    points = np.concatenate([inside, _points_beyond(grid)])
    number = np.asarray(diffusion, float)
    arrays = map(np.asarray, _sample_path(path, number, points, grid, lambdas))
    found = []
    # The samples of one lambda after another.
    for row in zip(*arrays, strict=True):
        samples = PathSamples(*row)
        found.append(_constants_at(float(diffusion), coarse, len(inside), samples))
    return found


def _constants_at(
    diffusion: float, coarse: Grid, inside: int, samples: PathSamples
) -> PathConstants:
    """The constants at one lambda; `inside` points are those of the coarse grid."""
    shell_size = CONSTANTS.shell_directions + 2 * coarse.ndim
    ell = samples.driving - samples.mean
    # ell is a number, and its slope one over a length.
    sup_decrease = _supremum(-ell[:inside], -ell[inside:], shell_size, 1.0)
    slope = 1 / max(axis.length for axis in coarse.axes)
    lipschitz = _supremum(
        samples.steepness[:inside], samples.steepness[inside:], shell_size, slope
    )
    convexity = float(np.min(samples.least_curvature))
    # A convex potential needs no decomposition into V + b.
    if convexity > 0:
        return PathConstants(convexity, "Bakry-Émery", sup_decrease, lipschitz)
    energy = np.asarray(samples.energy[:inside])
    rate = _holley_stroock(diffusion, coarse, energy, samples.least_curvature[inside:])
    criterion = "Holley-Stroock" if rate > 0 else "none"
    return PathConstants(rate, criterion, sup_decrease, lipschitz)


@sampling_program
def _sample_path(
    path: PotentialPath, diffusion: Scalar, points: Any, grid: Grid, lambdas: AnyArray
) -> PathSamples:
    def energy(x: Array, lam: Array) -> Array:
        return jnp.asarray(as_potential(path(lam))(x, lam))

    def at(lam: Array) -> PathSamples:
        one = jnp.ones_like(lam)

        def driving(x: Array) -> Array:
            energy_at = lambda lam: energy(x, lam)
            _, change = jax.jvp(energy_at, (lam,), (one,))
            return -change / diffusion

        # The mean over pi, on the grid; log pi is shifted by its maximum so that exp
        # does not overflow.
        on_grid = lambda lam: grid.sample(lambda x: energy(x, lam))
        energies, changes = jax.jvp(on_grid, (lam,), (one,))
        log_pi = -energies / diffusion
        pi = jnp.exp(log_pi - jnp.max(log_pi))
        mean = -grid.integrate(pi * changes / diffusion) / grid.integrate(pi)

        def values(x: Array) -> PathSamples:
            gradient = jax.grad(driving)(x)
            return PathSamples(
                energy=energy(x, lam),
                least_curvature=_least_eigenvalue(jax.hessian(energy)(x, lam)),
                driving=driving(x),
                steepness=jnp.sqrt(jnp.sum(gradient**2)),
                mean=mean,
            )

        return jax.vmap(values)(points)._replace(mean=mean)

    return jax.lax.map(at, lambdas)


def _least_eigenvalue(matrix: Array) -> Array:
    """The least eigenvalue of a symmetric matrix `(d, d)`."""
    # Formulas for d = 1 and 2, where LAPACK, called once for each point, would be slow.
    ndim = matrix.shape[0]
    if ndim == 1:
        return matrix[0, 0]
    if ndim == 2:
        first, second = matrix[0, 0], matrix[1, 1]
        half = (first - second) / 2
        centre = (first + second) / 2
        off_diagonal = (matrix[0, 1] + matrix[1, 0]) / 2
        return centre - jnp.hypot(half, off_diagonal)
    return jnp.linalg.eigvalsh(matrix)[0]


def _points(grid: Grid) -> np.ndarray:
    """All points of a grid, `(m, d)`."""
    nodes = [axis.nodes for axis in grid.axes]
    coordinates = np.meshgrid(*nodes, indexing="ij")
    return np.stack(coordinates, axis=-1).reshape(-1, grid.ndim)


def _supremum(near: np.ndarray, far: np.ndarray, shell_size: int, unit: float) -> float:
    """The largest value; infinite where it is not finite or still grows outwards.

    `far` holds the values beyond the box, shell by shell of `shell_size` values; growth
    is relative to the values and `unit`.
    """
    largest = float(np.max(near))
    # Growth is measured between the last two shells, relative to the value there.
    if far.size:
        shells = np.max(far.reshape(-1, shell_size), axis=1)
        growth = CONSTANTS.unbounded_growth * (unit + abs(shells[-2]))
        still_grows = shells[-1] > max(largest, shells[-2]) + growth
        if still_grows or not np.all(np.isfinite(shells)):
            return np.inf
        largest = max(largest, float(np.max(shells)))
    return largest if np.isfinite(largest) else np.inf


def _points_beyond(grid: Grid) -> np.ndarray:
    """Points beyond the box along its unbounded axes, shell by shell, `(m, d)`; none
    where every axis is bounded.
    """
    unbounded = np.asarray([axis.unbounded for axis in grid.axes])
    if not unbounded.any():
        return np.zeros((0, grid.ndim))
    middle = np.asarray([(axis.lower + axis.upper) / 2 for axis in grid.axes])
    half = np.asarray([axis.length / 2 for axis in grid.axes])
    # Random directions, scaled to the surface of a cube, and the directions of the
    # axes. The seed is fixed: one path has one answer. The maximum keeps a vanishing
    # direction from 0 / 0.
    generator = np.random.default_rng(0)
    random = generator.normal(size=(CONSTANTS.shell_directions, grid.ndim)) * unbounded
    largest = np.max(np.abs(random), axis=1, keepdims=True)
    random = random / np.maximum(largest, 1e-12)
    identity = np.eye(grid.ndim)
    along_axes = np.concatenate([identity, -identity]) * unbounded
    directions = np.concatenate([random, along_axes])
    radii = np.asarray(CONSTANTS.shells)[:, None, None]
    return (middle + radii * half * directions).reshape(-1, grid.ndim)


def _coarse_grid(grid: Grid) -> Grid:
    """The same box with few enough nodes for a convex envelope."""
    most = CONSTANTS.envelope_nodes if grid.ndim < 3 else CONSTANTS.envelope_nodes_3d
    axes = []
    for axis in grid.axes:
        kind = type(axis)
        axes.append(kind(axis.lower, axis.upper, min(axis.n, most)))
    return Grid(*axes)


def _holley_stroock(
    diffusion: float, coarse: Grid, energy: np.ndarray, far_curvatures: np.ndarray
) -> float:
    """max over kappa of kappa exp(-osc(b) / D); 0 where the criterion gives nothing.

    `energy` `(m,)` at the points of the coarse grid; `far_curvatures`: least
    eigenvalues of Hess U beyond the box.
    """
    if not all(axis.unbounded for axis in coarse.axes) or not far_curvatures.size:
        return 0.0
    # b is computed on the box: beyond it U itself must be strongly convex.
    outside = float(np.min(far_curvatures))
    if outside <= 0:
        return 0.0
    heights = energy.reshape(coarse.shape)
    squares = np.sum(_points(coarse) ** 2, axis=-1)
    half_square = (squares / 2).reshape(coarse.shape)
    nodes = [np.asarray(axis.nodes) for axis in coarse.axes]
    # A larger kappa relaxes faster in V, at the price of a larger oscillation of b: the
    # best of several is taken.
    best = 0.0
    for kappa in outside * np.geomspace(*CONSTANTS.convexity_fractions):
        reduced = heights - kappa * half_square
        b = reduced - envelope(reduced, nodes)
        # V continues U beyond the box only if it equals U at the edge of the box.
        edges = [np.take(b, [0, -1], axis=i) for i in range(coarse.ndim)]
        at_edge = max(np.max(edge) for edge in edges)
        if at_edge <= CONSTANTS.envelope_contact * np.ptp(reduced):
            # b >= 0: its oscillation is its maximum
            oscillation = np.max(b)
            rate = kappa * float(np.exp(-oscillation / diffusion))
            best = max(best, rate)
    return best


def envelope(heights: np.ndarray, nodes: list[np.ndarray]) -> np.ndarray:
    """The convex envelope of values on a grid: the Legendre transform, twice."""
    # f*(p) = max_x p x - f(x), and f** is the envelope.
    slopes = [_slopes(heights, x, i) for i, x in enumerate(nodes)]
    dual = -heights
    for i, (x, p) in enumerate(zip(nodes, slopes, strict=True)):
        dual = _conjugate(dual, x, p, i)
    back = -dual
    for i, (x, p) in enumerate(zip(nodes, slopes, strict=True)):
        back = _conjugate(back, p, x, i)
    return back


def _slopes(heights: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """The slopes at which the transform is sampled along an axis.

    On a line these are all slopes between neighbours, with which the envelope is exact.
    In more dimensions they are as many quantiles of the slopes as there are nodes,
    twice; the envelope is then lower, which is safe.
    """
    later = heights.ndim - 1 - axis
    steps = np.diff(x).reshape(-1, *[1] * later)
    found = (np.diff(heights, axis=axis) / steps).ravel()
    if heights.ndim == 1:
        return np.unique(found)
    fractions = np.linspace(0, 1, 2 * len(x))
    return np.unique(np.quantile(found, fractions))


def _conjugate(
    values: np.ndarray, x: np.ndarray, p: np.ndarray, axis: int
) -> np.ndarray:
    """max over x of p x + values, along one axis."""
    values = np.moveaxis(values, axis, -1)
    shape = (*values.shape[:-1], len(p))
    best = np.full(shape, -np.inf)
    # One node at a time, so that no table of all pairs (x, p) is held in memory.
    for k, node in enumerate(x):
        best = np.maximum(best, p * node + values[..., k, None])
    return np.moveaxis(best, -1, axis)
