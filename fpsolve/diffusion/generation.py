"""The density that a reverse process makes of noise, and a bound on its error.

    ε > 0    by `fp.evolve` of the process, as a wave where its drift is a gradient
    ε = 0    log q_0(x) = log q_1(Φ(x)) + ∫ div v dλ, along the probability flow Φ

A model's score s + e adds (1 + ε) e to the drift. With a start q_1 in place of p_1
(theorem T23, by Girsanov)

    KL(p_0|q_0) <= KL(p_1|q_1) + (1 + ε)²/(4ε) ∫ (g²/2) E_{p_λ}|e|² dλ,

which is smallest at ε = 1.

References: theorems T22 and T23; Chen et al., Neural ordinary differential equations
(NeurIPS 2018), theorem 1.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.distances import relative_entropy
from ..core.checks import raise_value_error
from ..core.loop import run_loop
from ..core.program import compiled
from ..core.result import code, raise_failure
from ..core.types import Formula, Initial, Real
from ..grid import Gaussian, Grid, sample
from ..operator import ScharfetterGummel, Spectral
from ..propagate import Rational
from ..solve.evolve import evolve
from ..step import Magnus
from .constants import CONSTANTS
from .reverse_process import NODES, WEIGHTS, ReverseProcess, read_process


def generate(
    process: ReverseProcess, initial: Initial, grid: Grid, *, tol: Real = 1e-8
) -> Array:
    """The density q_0 at the data end of a reverse process that starts from `initial`
    at the noise end.

    **Arguments**: `process`; `initial`, a function of x or `fp.Gaussian` (an array of
    the grid's shape too, where there is noise); `grid`; `tol`, the relative L1 error in
    time.

    **Returns** the density `(*shape)`. With ε > 0 it is `fp.evolve` on
    `process.equation`. With ε = 0 it is transported by the flow, log q_0(x) = log
    q_1(Φ(x)) + ∫ div v dλ, Φ from λ = 0 to 1 by the classical method of order 4,
    extrapolated, in a number of steps doubled until `tol` is met.

    **Raises** `ValueError` for an initial array without noise; `NumericalFailure` where
    `tol` is not met. **Keeps**: mass; without noise every divergence between two
    densities is conserved (data processing is an equality for an invertible map).
    **Cost**: ε = 0: 4 scores with their divergence a point and step. ε >= 1 without
    error: a spectral wave, seconds. Else on one axis a spectral density by its matrix,
    points^3 a step; in more dimensions, and without flow (where the density lags
    behind, too wide for a wave), finite volumes, of order 2 in space.

    **Reference**: theorem T22; Chen et al., Neural ordinary differential equations
    (NeurIPS 2018), theorem 1.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.generation import generate
    from fpsolve.diffusion.reverse_process import ReverseProcess
    from fpsolve.path.noising import Noising

    back = ReverseProcess(Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)), noise=0.0)
    density = generate(back, fp.Gaussian(0.0, 1.0), fp.Grid(fp.Line(-5.0, 5.0, 64)))
    ```
    """
    if not isinstance(process, ReverseProcess):
        raise_value_error(
            "process",
            process,
            "it must be a ReverseProcess",
            "Give ReverseProcess(path, noise).",
        )
    if float(process.noise) > 0:
        return _evolve_density(process, initial, grid, tol)
    if not callable(initial):
        raise_value_error(
            "initial",
            initial,
            "the flow needs the density off the grid too",
            "Give a function of x.",
        )
    return _transport_by_flow(process, initial, grid, tol)


def _evolve_density(
    process: ReverseProcess, initial: Initial, grid: Grid, tol: Real
) -> Array:
    """The density at the data end for ε > 0, by `fp.evolve`."""
    start = initial if callable(initial) else grid.density(initial, "initial")
    scheme = None
    method = None
    # A spectral wave where the drift is -∇W; on one axis also a spectral density, by
    # its matrix.
    has_wave = process.error is None and process.confined
    if has_wave or (process.flow and grid.ndim == 1):
        scheme = Spectral()
    # Without the flow the density lags behind p_λ, and is too wide for p / sqrt(pi) to
    # be bounded.
    if not process.flow:
        scheme = ScharfetterGummel()
        if grid.ndim == 1 and process.error is None:
            method = Magnus(exponential=Rational())
    run = evolve(
        process.equation,
        start,
        [process.total],
        grid=grid,
        scheme=scheme,
        method=method,
        tol=tol,
        check=False,
    )
    return run.values[-1]


def _transport_by_flow(
    process: ReverseProcess, initial: Formula, grid: Grid, tol: Real
) -> Array:
    """The density at the data end for ε = 0, along the probability flow."""

    def log_start(x: Array) -> Array:
        # The density of a normal start underflows in its tails; its logarithm does not.
        if isinstance(initial, Gaussian):
            return initial.log_density(x)
        return jnp.log(jnp.asarray(initial(x)))

    process = read_process(process, grid.ndim)
    previous: list[Array] = []
    distance = np.inf
    for run in range(CONSTANTS.max_flow_runs):
        steps = jnp.asarray(CONSTANTS.min_flow_steps * 2**run)
        points, log_volume = _follow_flow(process, grid, steps)
        # Romberg's extrapolation: each column removes one more power of the step.
        row = [jnp.exp(sample(log_start, points) + log_volume)]
        for j, coarse in enumerate(previous):
            fine = row[-1]
            power = 2 ** (CONSTANTS.flow_order + j)
            row.append(fine + (fine - coarse) / (power - 1))
        if previous:
            apart = jnp.abs(row[-1] - row[-2])
            distance = float(grid.integrate(apart))
        if distance < tol:
            return row[-1]
        previous = row
    detail = f"estimated error {distance:.1e}, tol {tol:.1e}."
    raise_failure(jnp.asarray(code("tolerance_not_reached")), detail)
    return previous[-1]


def score_error_bound(process: ReverseProcess, initial: Initial, grid: Grid) -> Array:
    """A bound on KL(p_0|q_0) for a model that starts from q_1 = `initial` and has the
    score s + e:

        KL(p_1|q_1) + (1 + ε)²/(4ε) ∫ (g²/2) E_{p_λ}|e|² dλ

    **Arguments**: `process`, with the flow; `initial`, a density as `fp.Grid.density`
    takes it; `grid`, which must hold p_λ at every λ. **Returns** a scalar, infinite for
    ε = 0 where there is an error: the error of the flow is finite, but this bound does
    not cover it. **Raises** `ValueError` without flow. **Cost**: 48 passes over the
    grid.

    **Reference**: theorem T23.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.generation import score_error_bound
    from fpsolve.diffusion.reverse_process import ReverseProcess
    from fpsolve.path.noising import Noising

    learned = ReverseProcess(
        Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)),
        error=lambda x, lam: 0.1 + 0 * x,
    )
    score_error_bound(learned, fp.Gaussian(0.0, 1.0), fp.Grid(fp.Line(-7.0, 7.0, 128)))
    ```
    """
    if not process.flow:
        raise_value_error(
            "process.flow",
            False,
            "the bound is for a process with the flow",
            "Drop flow=False.",
        )

    def density(lam: Array) -> Array:
        """p_λ on the grid."""
        return grid.sample(lambda x: jnp.exp(-process.path(lam)(x)))

    # The first term, KL(p_1|q_1).
    log_start = jnp.log(grid.density(initial, "initial"))
    start = relative_entropy(density(jnp.ones(())), log_start, grid)
    # The exact score adds nothing.
    if process.error is None:
        return start

    def mean_square_error(lam: Array) -> Array:
        """(g²/2) E_{p_λ}|e|²."""
        squares = grid.sample(lambda x: jnp.sum(process.error(x, lam) ** 2))
        mean = grid.integrate(density(lam) * squares)
        return process.clock_rate(lam) * mean

    rates = jax.lax.map(mean_square_error, jnp.asarray(NODES, dtype=float))
    factor = (1 + process.noise) ** 2 / (4 * process.noise)
    return start + factor * (rates @ WEIGHTS)


@compiled
def _follow_flow(
    process: ReverseProcess, grid: Grid, steps: Array
) -> tuple[Array, Array]:
    """The points Φ(x) to which the flow takes the grid's points from λ = 0 to 1,
    `(*shape, d)`, and log |det dΦ|, `(*shape)`, in `steps` equal steps of the classical
    Runge-Kutta method.
    """
    # `steps` is traced: one program serves all runs.
    h = 1 / steps

    def rate(process: ReverseProcess, x: Array, lam: Array) -> tuple[Array, Array]:
        """The velocity and its divergence."""
        # The whole Jacobian for its trace: d is small on a grid.
        jacobian = jax.jacfwd(process.velocity)(x, lam)
        return process.velocity(x, lam), jnp.trace(jacobian)

    def step(
        k: Array, process: ReverseProcess, state: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        x, log_volume = state
        v1, d1 = rate(process, x, k * h)
        v2, d2 = rate(process, x + h / 2 * v1, (k + 0.5) * h)
        v3, d3 = rate(process, x + h / 2 * v2, (k + 0.5) * h)
        v4, d4 = rate(process, x + h * v3, (k + 1) * h)
        moved = x + h / 6 * (v1 + 2 * (v2 + v3) + v4)
        return moved, log_volume + h / 6 * (d1 + 2 * (d2 + d3) + d4)

    def follow(x: Array) -> tuple[Array, Array]:
        start = (x, jnp.zeros((), x.dtype))
        return run_loop(steps, step, process, start)

    starts = grid.points.reshape(-1, grid.ndim)
    points, log_volume = jax.vmap(follow)(starts)
    return points.reshape(*grid.shape, grid.ndim), log_volume.reshape(grid.shape)
