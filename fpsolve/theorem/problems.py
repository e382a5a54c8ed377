"""The default problems of the theorems, and the operators that several of them use."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import sampling_program
from ..core.types import AnyArray, Numbers, Scalar
from ..equation import FokkerPlanck, Schrodinger
from ..grid import Grid
from ..operator import ScharfetterGummel, Scheme
from ..operator.base import dense
from ..potential import as_potential
from ..potential.base import Scaled
from ..propagate import Dense
from ..solve.evolve import evolve
from .constants import CONSTANTS

Function = Callable[..., Array]


def tilted(x: Array) -> Array:
    """U = (x^2 - 1)^2 - 0.3 x: two wells, the right one deeper."""
    return (x[0] ** 2 - 1) ** 2 - 0.3 * x[0]


def off_centre(x: Array) -> Array:
    """A normal density of mean -0.4 and variance 0.05, of mass 1."""
    exponent = -((x[0] + 0.4) ** 2) / 0.1
    return jnp.exp(exponent) / jnp.sqrt(0.1 * jnp.pi)


def valley(x: Array) -> Array:
    """U = (x^2 - 1)^2 - 0.3 x + 0.2 x cos y - 0.4 sin y: two wells along x and a ring
    y, coupled.
    """
    wells = (x[0] ** 2 - 1) ** 2 - 0.3 * x[0]
    coupling = 0.2 * x[0] * jnp.cos(x[1])
    return wells + coupling - 0.4 * jnp.sin(x[1])


def swept(x: Array, t: Scalar) -> Array:
    """U = (x^2 - 1)^2 - (t/4) tanh 2x: two wells, of which the right one sinks."""
    wells = (x[0] ** 2 - 1) ** 2
    return wells - t / 4 * jnp.tanh(2 * x[0])


def evolve_by_volumes(
    equation: FokkerPlanck, start: Function | AnyArray, times: Numbers, grid: Grid
) -> Array:
    """Densities `(T, *shape)` by finite volumes, exact in time (the full matrix);
    `start` a function or an array.
    """
    field = jnp.asarray(values_on(grid, start) if callable(start) else start)
    # The claims measure the error themselves: no second run.
    return evolve(
        equation,
        field,
        times,
        grid=grid,
        scheme=ScharfetterGummel(),
        method=Dense(),
        tol=1e-10,
        check=False,
    ).values


def schrodinger_image(equation: FokkerPlanck, sign: float) -> Schrodinger:
    """H with the potential term |grad U|^2/(4D) - sign Lap U/2.

    sign = -1 is the wrong sign of div s. The ground state is then not sqrt(pi) but,
    where it is normalisable, 1/sqrt(pi): H is the image of -U.
    """
    # |grad U|^2 does not depend on the sign of U, Lap U does.
    signed = Scaled(as_potential(equation.potential), sign)
    return FokkerPlanck(signed, equation.diffusion).schrodinger()


def values_on(grid: Grid, f: Function, *arguments: Numbers) -> np.ndarray:
    """f(x, *arguments) at the nodes as numpy, `(*shape)`, or `(*shape, ...)` for f of
    more components.
    """
    coordinates = np.meshgrid(*(axis.nodes for axis in grid.axes), indexing="ij")
    points = np.stack(coordinates, axis=-1)
    values = values_at(points.reshape(-1, grid.ndim), f, *arguments)
    return values.reshape(*grid.shape, *values.shape[1:])


def values_at(points: np.ndarray, f: Function, *arguments: Numbers) -> np.ndarray:
    """f(x, *arguments) at points `(n, d)` as numpy, `(n, ...)`. The points are padded
    to a power of two, so that one compiled program serves many n.
    """
    n = len(points)
    padded = max(CONSTANTS.sampling_points_min, 2 ** (n - 1).bit_length())
    # The last point is repeated, and its values are cut off.
    shape = (padded - n, points.shape[1])
    repeated = np.broadcast_to(points[-1:], shape)
    points = np.concatenate([points, repeated])
    # As arrays the arguments are traced, and other numbers need no new program.
    arrays = tuple(np.asarray(a, float) for a in arguments)
    return np.asarray(_values(f, points, arrays))[:n]


@sampling_program
def _values(f: Function, points: AnyArray, arguments: tuple[AnyArray, ...]) -> Array:
    return jax.vmap(lambda x: f(x, *arguments))(points)


def weights_on(grid: Grid) -> np.ndarray:
    """Quadrature weights as numpy, `(*shape)`."""
    return functools.reduce(np.multiply.outer, [axis.weights for axis in grid.axes])


def density_on(grid: Grid, f: Function) -> np.ndarray:
    """f at the nodes as numpy, `(*shape)`, divided by its integral."""
    values = values_on(grid, f)
    return values / np.sum(values * weights_on(grid))


def matrices(
    equation: FokkerPlanck, grid: Grid, scheme: Scheme, reversible: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """-L and H as dense numpy matrices `(size, size)` acting on values at the nodes."""
    generator, hamiltonian = _matrices(equation, grid, scheme, reversible)
    return -np.asarray(generator), np.asarray(hamiltonian)


@sampling_program
def _matrices(
    equation: FokkerPlanck, grid: Grid, scheme: Scheme, reversible: bool
) -> tuple[Array, Array]:
    operator = scheme.build(equation, grid, 0.0, float, reversible)
    generator = dense(operator.generator, grid, float)
    hamiltonian = dense(operator.hamiltonian, grid, float)
    return generator, hamiltonian


def symmetric(matrix: np.ndarray, grid: Grid) -> np.ndarray:
    """A matrix that is symmetric in the grid's weights, in the orthonormal basis of the
    nodes: sqrt(w) H / sqrt(w).
    """
    sqrt_weights = np.sqrt(weights_on(grid).ravel())
    scaled = sqrt_weights[:, None] * matrix / sqrt_weights
    return (scaled + scaled.T) / 2  # rounding is the only part that is not symmetric


def sqrt_gibbs(equation: FokkerPlanck, grid: Grid) -> np.ndarray:
    """sqrt(pi) at the nodes, by numpy from U alone, `(size,)`, with pi of mass 1; D is
    one number.
    """
    energy = values_on(grid, equation.energy).ravel()
    # U less its minimum: exp(-U/2D) itself may overflow.
    height = energy - energy.min()
    sqrt_pi = np.exp(-height / (2 * float(equation.diffusion)))
    mass = np.sum(sqrt_pi**2 * weights_on(grid).ravel())
    return sqrt_pi / np.sqrt(mass)
