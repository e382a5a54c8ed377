"""Global constants of a path at a lambda: convexity, largest decrease and Lipschitz
constant of d_lambda log pi.

    kappa        with Hess U >= kappa:  D rho >= kappa                                   (Bakry-Emery)
                 with U = V + b, Hess V >= kappa:  D rho >= kappa exp(-osc(b) / D)       (Holley-Stroock)
    sup_decrease sup(-ell), the largest decrease of log pi per lambda: M = lambda'
    sup(-ell)
    lipschitz    sup |grad ell|, the Lipschitz constant of ell = d_lambda log pi

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
    arrays = map(
        np.asarray,
        _sample_path(path, np.asarray(diffusion, float), points, grid, lambdas),
    )
    samples = PathSamples(*arrays)
    return [
        _constants_at(
            float(diffusion),
            coarse,
            len(inside),
            PathSamples(*(values[k] for values in samples)),
        )
        for k in range(len(lambdas))
    ]


def _constants_at(
    diffusion: float, coarse: Grid, inside: int, samples: PathSamples
) -> PathConstants:
    """The constants at one lambda; the first `inside` points are those of the coarse
    grid.
    """
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
    return PathConstants(
        rate, "Holley-Stroock" if rate > 0 else "none", sup_decrease, lipschitz
    )


@sampling_program
def _sample_path(
    path: PotentialPath, diffusion: Scalar, points: Any, grid: Grid, lambdas: AnyArray
) -> PathSamples:
    def energy(x: Array, lam: Array) -> Array:
        return jnp.asarray(as_potential(path(lam))(x, lam))

    def at(lam: Array) -> PathSamples:
        one = jnp.ones_like(lam)

        def driving(x: Array) -> Array:
            return -jax.jvp(lambda lam: energy(x, lam), (lam,), (one,))[1] / diffusion

        # The mean over pi, on the grid; log pi is shifted by its maximum so that exp
        # does not overflow.
        on_grid = lambda lam: grid.sample(lambda x: energy(x, lam))
        energies, changes = jax.jvp(on_grid, (lam,), (one,))
        log_pi = -energies / diffusion
        pi = jnp.exp(log_pi - jnp.max(log_pi))
        mean = -grid.integrate(pi * changes / diffusion) / grid.integrate(pi)

        def values(x: Array) -> PathSamples:
            curvature = _least_eigenvalue(jax.hessian(energy)(x, lam))
            steepness = jnp.sqrt(jnp.sum(jax.grad(driving)(x) ** 2))
            return PathSamples(energy(x, lam), curvature, driving(x), steepness, mean)

        return jax.vmap(values)(points)._replace(mean=mean)

    return jax.lax.map(at, lambdas)


def _least_eigenvalue(matrix: Array) -> Array:
    """The least eigenvalue of a symmetric matrix `(d, d)`."""
    # Formulas for d = 1 and 2, where LAPACK, called once for each point, would be slow.
    if matrix.shape[0] == 1:
        return matrix[0, 0]
    if matrix.shape[0] == 2:
        half = (matrix[0, 0] - matrix[1, 1]) / 2
        return (matrix[0, 0] + matrix[1, 1]) / 2 - jnp.hypot(
            half, (matrix[0, 1] + matrix[1, 0]) / 2
        )
    return jnp.linalg.eigvalsh(matrix)[0]


def _points(grid: Grid) -> np.ndarray:
    """All points of a grid, `(m, d)`."""
    return np.stack(
        np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij"), axis=-1
    ).reshape(-1, grid.ndim)


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
        if (
            not np.all(np.isfinite(shells))
            or shells[-1] > max(largest, shells[-2]) + growth
        ):
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
    random = (
        np.random.default_rng(0).normal(size=(CONSTANTS.shell_directions, grid.ndim))
        * unbounded
    )
    random = random / np.maximum(np.max(np.abs(random), axis=1, keepdims=True), 1e-12)
    along_axes = np.concatenate([np.eye(grid.ndim), -np.eye(grid.ndim)]) * unbounded
    directions = np.concatenate([random, along_axes])
    radii = np.asarray(CONSTANTS.shells)[:, None, None]
    return (middle + radii * half * directions).reshape(-1, grid.ndim)


def _coarse_grid(grid: Grid) -> Grid:
    """The same box with few enough nodes for a convex envelope."""
    most = CONSTANTS.envelope_nodes if grid.ndim < 3 else CONSTANTS.envelope_nodes_3d
    return Grid(
        *(type(axis)(axis.lower, axis.upper, min(axis.n, most)) for axis in grid.axes)
    )


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
    half_square = (np.sum(_points(coarse) ** 2, axis=-1) / 2).reshape(coarse.shape)
    nodes = [np.asarray(axis.nodes) for axis in coarse.axes]
    # A larger kappa relaxes faster in V, at the price of a larger oscillation of b: the
    # best of several is taken.
    best = 0.0
    for kappa in outside * np.geomspace(*CONSTANTS.convexity_fractions):
        reduced = heights - kappa * half_square
        b = reduced - envelope(reduced, nodes)
        # V continues U beyond the box only if it equals U at the edge of the box.
        at_edge = max(np.max(np.take(b, [0, -1], axis=i)) for i in range(coarse.ndim))
        if at_edge <= CONSTANTS.envelope_contact * np.ptp(reduced):
            # b >= 0: its oscillation is its maximum
            best = max(best, kappa * float(np.exp(-np.max(b) / diffusion)))
    return best


def envelope(heights: np.ndarray, nodes: list[np.ndarray]) -> np.ndarray:
    """The convex envelope of values on a grid: the Legendre transform, twice, axis by
    axis.
    """
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
    steps = np.diff(x).reshape(-1, *(1,) * (heights.ndim - 1 - axis))
    found = (np.diff(heights, axis=axis) / steps).ravel()
    return np.unique(
        found
        if heights.ndim == 1
        else np.quantile(found, np.linspace(0, 1, 2 * len(x)))
    )


def _conjugate(
    values: np.ndarray, x: np.ndarray, p: np.ndarray, axis: int
) -> np.ndarray:
    """max over x of p x + values, along one axis."""
    values = np.moveaxis(values, axis, -1)
    best = np.full((*values.shape[:-1], len(p)), -np.inf)
    # One node at a time, so that no table of all pairs (x, p) is held in memory.
    for k, node in enumerate(x):
        best = np.maximum(best, p * node + values[..., k, None])
    return np.moveaxis(best, -1, axis)
