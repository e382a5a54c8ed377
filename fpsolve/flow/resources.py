"""What a flow costs on a grid: the sizes that bound a simulation of i d_t psi = H psi
with H = (p.v + v.p) / 2.

    |H| <= sum_i max |v_i| k_i        the norm, which sets the length of a step;
                                      k_i the largest wavenumber of axis i
    qubits = sum_i ceil(log2 n_i)     the register that holds psi
    queries = about t |H| + 12 (t |H|)^(1/3) products with H
                                      one exponential, by Chebyshev polynomials

The derivatives of v say how smooth psi stays: in a time t wavenumbers grow at most by
exp(t max |grad v|).

Reference: arXiv 2510.08462, which bounds the cost by the norms of v and of its
derivatives; the count of products is that of `propagate.skew_exponential`.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_finite_number, check_integer, raise_value_error
from ..core.program import sampling_program
from ..core.types import AnyArray, Count, Formula, Initial, Real
from ..equation import Continuity
from ..grid import Gaussian, Grid
from ..operator.skew import check_skew, largest_wavenumber
from ..plan.equation_check import check_and_sample
from ..solve.evolve import evolve
from .constants import CONSTANTS


class Resources(NamedTuple):
    """The sizes of a flow on a grid.

    - `speed`: the largest |v|; `strain`: the largest norm of grad v; `curvature`: the
      largest norm of the second derivatives of v, each over the nodes and the sampled
      times
    - `norm`: the bound of |H|; `qubits`, `queries`: as above, for the whole time
    """

    speed: float
    strain: float
    curvature: float
    norm: float
    qubits: int
    queries: float


class Refinement(NamedTuple):
    """The error of the density at the last time, against the number of nodes: `nodes`
    `(m, d)`, `errors` `(m,)`.
    """

    nodes: np.ndarray
    errors: np.ndarray


def resources(
    equation: Any, grid: Any, total: Real, *, samples: Count = 17
) -> Resources:
    """The sizes that bound the cost of a flow up to the time `total`.

    **Arguments**: `equation`, an `fp.Continuity`; `grid` of `Line` and `Periodic` axes;
    `samples`: times at which a velocity that depends on time is looked at. **Returns**
    `Resources`. **Raises** `ValueError` for another equation, a grid with walls, or a
    time that is not positive. **Cost**: v and its first two derivatives at all nodes
    and times. **Reference**: arXiv 2510.08462.

    ```python
    import fpsolve as fp
    import jax.numpy as jnp

    ring = fp.Grid(fp.Periodic(0.0, 6.283185307179586, 63))
    needed = fp.flow.resources(
        fp.Continuity(lambda x: jnp.sin(x)), ring, 1.0
    )  # |H| <= 31, 6 qubits
    ```
    """
    if not isinstance(equation, Continuity):
        raise_value_error(
            "equation", equation, "it must be a flow", "Give fp.Continuity(velocity)."
        )
    last = check_finite_number("total", total)
    if last <= 0:
        raise_value_error(
            "total",
            total,
            "it must be positive",
            "Give the time at which the flow ends.",
        )
    count = check_integer("samples", samples, 1, "Give 17, say.")
    equation, grid, _ = check_and_sample(equation, grid, None)
    check_skew(grid)
    # A static velocity is the same at all times.
    times = np.linspace(0.0, last, count if equation.time_dependent else 1)
    sizes = _sizes(equation, grid, times)
    speeds, speed, strain, curvature = (np.asarray(size) for size in sizes)
    wavenumbers = np.asarray([largest_wavenumber(axis) for axis in grid.axes])
    # The largest norm of all times bounds the whole run.
    norm = float(np.max(speeds @ wavenumbers))
    size = last * norm
    # The terms beyond k = z fall as an Airy function of width (z/2)^(1/3), down to the
    # accuracy requested.
    depth = (1.5 * -np.log(CONSTANTS.query_roundings)) ** (2 / 3)
    extra = depth * (size / 2) ** (1 / 3)
    return Resources(
        speed=float(speed),
        strain=float(strain),
        curvature=float(curvature),
        norm=norm,
        qubits=sum(int(np.ceil(np.log2(axis.n))) for axis in grid.axes),
        queries=float(size + extra),
    )


def refinement(
    equation: Continuity,
    initial: Initial,
    total: Real,
    grids: Iterable[Grid],
    *,
    reference: Formula | None = None,
    tol: Real | None = None,
) -> Refinement:
    """Grid size against accuracy: the relative L1 error of the density at the last time
    on each of several grids.

    **Arguments**: `equation`, an `fp.Continuity`; `initial`, as in `fp.evolve`;
    `total`, the time; `grids`, a list of grids; `reference`, the density at the last
    time as a function of x, or None for the errors that `fp.evolve` estimates.
    **Returns** a `Refinement`. **Raises** what `fp.evolve` raises. **Cost**: one
    evolution for each grid.

    ```python
    import fpsolve as fp
    import jax.numpy as jnp

    line = fp.Grid(fp.Line(-6.0, 7.0, 24))
    shift = fp.Continuity(lambda x: jnp.ones(1))
    sizes = fp.flow.refinement(
        shift, fp.Gaussian(0.0, 0.5), 1.0, [line, line.refine(1.5)]
    )
    ```
    """
    nodes = []
    errors = []
    for grid in grids:
        # A coarse grid is the question here, and not a failure.
        run = evolve(
            equation,
            initial,
            [total],
            grid=grid,
            tol=tol,
            throw=False,
            check=reference is None,
        )
        nodes.append(grid.shape)
        if reference is None:
            errors.append(float(run.error[-1]))
            continue
        is_normal = isinstance(reference, Gaussian)
        exact = grid.density(reference) if is_normal else grid.sample(reference)
        apart = grid.integrate(jnp.abs(run.values[-1] - exact))
        errors.append(float(apart / grid.integrate(exact)))
    return Refinement(np.asarray(nodes), np.asarray(errors))


def overlap(first: Array, second: Array, grid: Grid) -> Array:
    """The overlap of two waves, < sqrt(p), sqrt(q) > = int sqrt(p q), of two densities
    `(..., *shape)`, `(...)`.

    1 for equal densities; 1 - overlap is at most the total variation distance. Each
    density is normalised on the grid.

    ```python
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-8.0, 8.0, 64))
    close = fp.flow.overlap(
        grid.density(fp.Gaussian(0.0, 1.0)), grid.density(fp.Gaussian(0.5, 1.0)), grid
    )
    ```
    """
    # What a spectral method leaves below zero is error.
    p = jnp.maximum(jnp.asarray(first), 0)
    q = jnp.maximum(jnp.asarray(second), 0)
    for name, density in (("first", p), ("second", q)):
        if density.shape[-grid.ndim :] != grid.shape:
            allowed = f"it must end in the grid's shape, {grid.shape}"
            raise_value_error(
                f"{name}.shape", density.shape, allowed, "Give densities on this grid."
            )
    masses = grid.integrate(p) * grid.integrate(q)
    return grid.integrate(jnp.sqrt(p * q)) / jnp.sqrt(masses)


@sampling_program
def _sizes(
    equation: Continuity, grid: Grid, times: AnyArray
) -> tuple[Array, Array, Array, Array]:
    """The largest |v_i| at each time, `(m, d)`, and the largest norms of v, grad v and
    grad grad v at all of them.
    """

    def at(t: Array) -> tuple[Array, Array, Array, Array]:
        def velocity(x: Array) -> Array:
            return equation.velocity(x, t)

        # Derivatives in forward mode: there are as many outputs as inputs.
        def norms(x: Array) -> Array:
            first = jax.jacfwd(velocity)(x)
            second = jax.jacfwd(jax.jacfwd(velocity))(x)
            # The norm of the matrix; of the second derivatives the root of the sum of
            # squares, which is not smaller.
            speed = jnp.linalg.norm(velocity(x))
            strain = jnp.linalg.norm(first, 2)
            curvature = jnp.sqrt(jnp.sum(second**2))
            return jnp.stack([speed, strain, curvature])

        components = jnp.abs(grid.sample(velocity)).reshape(-1, grid.ndim)
        speeds = jnp.max(components, axis=0)
        largest = jnp.max(grid.sample(norms).reshape(-1, 3), axis=0)
        return speeds, largest[0], largest[1], largest[2]

    # One time after another: all fields at once may not fit into memory.
    speeds, speed, strain, curvature = jax.lax.map(at, jnp.asarray(times))
    return speeds, jnp.max(speed), jnp.max(strain), jnp.max(curvature)
