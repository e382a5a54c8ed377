"""Diffusion models as transport: the reverse processes from noise to data, one family
in the noise level.

    dX = f dλ + g dW,                        λ from 0 (data) to 1 (noise), marginals p_λ, score s = ∇log p_λ
    dY = [ s - f/(g²/2) + ε s ] dt + √(2ε) dW,     dt = (g²/2) |dλ|,  λ from 1 back to 0,  marginals p_λ for every ε ≥ 0

In this clock t, of length ∫ (g²/2) dλ, the noise level ε is relative: 1 is the reverse
SDE of Anderson, 0 the probability flow. Without the flow (drift ε s only) it is
annealed Langevin dynamics, which lags behind p_λ. With f = a x it is a Langevin process
at diffusion ε in the time-dependent potential

    W = (1 + ε) U_λ + a |x|² / g²       (ε U_λ without the flow),     U_λ = -log p_λ.

A model's score s + e adds (1 + ε) e to the drift. With a start q_1 in place of p_1
(theorem T23, by Girsanov)

    KL(p_0|q_0) <= KL(p_1|q_1) + (1 + ε)²/(4ε) ∫ (g²/2) E_{p_λ}|e|² dλ,       smallest at ε = 1.

References: theorems T22 and T23; Anderson, Stoch. Process. Appl. 12 (1982) 313; Song et
al., ICLR 2021, appendix D.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.distances import relative_entropy
from ..anneal.read import read_error, read_noising
from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.loop import run_loop
from ..core.program import compiled
from ..core.result import code, raise_failure
from ..core.types import Formula, Initial, Point, Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Gaussian, Grid, sample
from ..operator import ScharfetterGummel, Spectral
from ..propagate import Rational
from ..solve.evolve import evolve
from ..step import Magnus
from .constants import CONSTANTS
from .types import NoisingPath

# Gauss-Legendre quadrature on [0, 1].
_x, _w = np.polynomial.legendre.leggauss(48)
NODES, WEIGHTS = _x / 2 + 0.5, _w / 2


class ReverseProcess(eqx.Module):
    """The reverse process of a noising path, dY = [s - f/(g²/2) + ε s] dt + √(2ε) dW,
    in the clock dt = (g²/2) |dλ|.

    **Arguments**

    - `path`: λ -> U_λ = -log p_λ, with `score(x, λ)`, the forward `drift(x, λ)` = a(λ)
      x and `squared_diffusion(λ)`: an `fp.Noising`
    - `noise`: ε >= 0, the noise level relative to g²/2: 1 the reverse SDE, 0 the
      probability flow
    - `flow`: False leaves s - f/(g²/2) out: annealed Langevin dynamics, which needs ε
      much above 1 to follow
    - `error`: e(x, λ) to `(d,)`, the error of a learned score; None for the exact score

    **Raises**: `ValueError` for a path without these, a negative noise, no noise
    without flow, an error that is no function.

    **Keeps**: p_λ at every clock time for every ε (with the flow, and without error);
    chi² to p_λ falls at least as exp(-2 ε ∫ gap dt). **Reference**: theorem T22.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.generation import ReverseProcess
    from fpsolve.path.noising import Noising

    back = ReverseProcess(Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)), noise=1.0)
    back.equation, back.total
    ```
    """

    path: NoisingPath
    noise: Array
    error: Any
    flow: bool = eqx.field(static=True)
    # whether W confines: the equation is then given by W, else by the drift
    confined: bool = eqx.field(static=True)

    def __init__(
        self,
        path: NoisingPath,
        noise: Scalar = 1.0,
        *,
        flow: bool = True,
        error: Formula | None = None,
    ):
        for name in ("score", "drift", "squared_diffusion"):
            if not callable(getattr(path, name, None)) or not callable(path):
                raise_value_error(
                    "path",
                    path,
                    f"it must be a noising path, and has no {name}",
                    "Give fp.Noising(mixture).",
                )
        if is_concrete(noise) and check_finite_number("noise", noise) < 0:
            raise_value_error(
                "noise",
                noise,
                "it must be at least 0",
                "Give 1 for the reverse SDE, 0 for the flow.",
            )
        if not isinstance(flow, bool):
            raise_value_error(
                "flow",
                flow,
                "it must be True or False",
                "Give False for annealed Langevin dynamics.",
            )
        if not flow and is_concrete(noise) and float(noise) == 0:
            raise_value_error(
                "noise",
                noise,
                "without flow and without noise nothing moves",
                "Give a noise above 0.",
            )
        if error is not None and not callable(error):
            raise_value_error(
                "error",
                error,
                "it must be a function of x and lambda",
                "Give lambda x, lam: 0.1 * x, or None.",
            )
        self.path, self.error, self.flow = path, error, flow
        self.noise = jnp.asarray(noise, dtype=float)
        # Traced noise is not known to be at least 1: the equation is then given by its
        # drift, which always holds.
        self.confined = not flow or (is_concrete(noise) and float(noise) >= 1)

    @property
    def total(self) -> Array:
        """The length of the clock, ∫ (g²/2) dλ; for a path that preserves the variance
        it is -log α(1).
        """
        return self.elapsed(jnp.zeros(()))

    def elapsed(self, lam: Scalar) -> Array:
        """The clock time at which the process passes λ: the integral of g²/2 from λ to
        1; a scalar.
        """
        lam = jnp.asarray(lam)
        # Gauss-Legendre quadrature on [lam, 1].
        return (1 - lam) * (
            jax.vmap(self._clock_rate)(lam + (1 - lam) * NODES) @ WEIGHTS
        )

    def place(self, t: Scalar) -> Array:
        """λ at clock time t, a scalar, from 1 at t = 0 to 0 at t = total."""
        t = jnp.asarray(t)
        lam = jax.lax.stop_gradient(invert(lambda lam: -self.elapsed(lam), -t))
        # One step of Newton's method, which changes nothing but has the derivatives
        # that bisection lacks.
        rate = self._clock_rate(lam)
        correction = jnp.where(
            rate > 0, (self.elapsed(lam) - t) / jnp.where(rate > 0, rate, 1), 0
        )
        return jnp.clip(lam + correction, 2.0**-CONSTANTS.bisections, 1)

    def score(self, x: Point, lam: Scalar) -> Array:
        """The score of the model, s + e, `(d,)`."""
        exact = self.path.score(x, lam)
        return exact if self.error is None else exact + self.error(x, lam)

    def drift(self, x: Point, t: Scalar) -> Array:
        """The drift of Y at x `(d,)` and clock time t, per unit of the clock, `(d,)`."""
        lam = self.place(t)
        by_score = (self.flow + self.noise) * self.score(x, lam)
        return (
            by_score - self.path.drift(x, lam) / self._clock_rate(lam)
            if self.flow
            else by_score
        )

    def potential(self, x: Point, t: Scalar) -> Array:
        """W(x, t), the potential in which the process without error is a Langevin
        process at diffusion ε; a scalar.
        """
        lam = self.place(t)
        by_score = (self.flow + self.noise) * self.path(lam)(x)
        return (
            by_score + x @ self.path.drift(x, lam) / (2 * self._clock_rate(lam))
            if self.flow
            else by_score
        )

    @property
    def equation(self) -> FokkerPlanck:
        """The `fp.FokkerPlanck` of the density of Y, t from 0 to `total`; needs ε > 0.

        From ε = 1 on, and without the flow, the drift is -∇W, and the wave p_λ /
        exp(-W/(2ε)) decays. Below 1 it need not decay, and the drift is given as a
        force, so that the density itself is evolved.
        """
        if is_concrete(self.noise) and float(self.noise) == 0:
            raise_value_error(
                "noise",
                0.0,
                "the probability flow has no diffusion",
                "Use generate, which follows the flow.",
            )
        # W need not confine here, so that there is no Gibbs density to divide by.
        if not self.confined:
            return FokkerPlanck(None, self.noise, force=lambda x, t: self.drift(x, t))
        force = None
        if self.error is not None:
            force = lambda x, t: (self.flow + self.noise) * self.error(x, self.place(t))
        return FokkerPlanck(lambda x, t: self.potential(x, t), self.noise, force=force)

    def velocity(self, x: Point, lam: Scalar) -> Array:
        """f - (g²/2)(s + e), `(d,)`: the probability flow of the model from data to
        noise, per unit of λ.
        """
        return self.path.drift(x, lam) - self._clock_rate(lam) * self.score(x, lam)

    def _clock_rate(self, lam: Scalar) -> Array:
        """g²/2, the time of the clock per unit of λ."""
        return self.path.squared_diffusion(lam) / 2


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
    from fpsolve.diffusion.generation import ReverseProcess, generate
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
    scheme, method = None, None
    # A spectral wave where the drift is -∇W; on one axis also a spectral density, by
    # its matrix.
    if (process.error is None and process.confined) or (
        process.flow and grid.ndim == 1
    ):
        scheme = Spectral()
    # Without the flow the density lags behind p_λ, and is too wide for p / sqrt(pi) to
    # be bounded.
    if not process.flow:
        scheme = ScharfetterGummel()
        if grid.ndim == 1 and process.error is None:
            method = Magnus(exponential=Rational())
    times = [process.total]
    return evolve(
        process.equation,
        start,
        times,
        grid=grid,
        scheme=scheme,
        method=method,
        tol=tol,
        check=False,
    ).values[-1]


def _transport_by_flow(
    process: ReverseProcess, initial: Formula, grid: Grid, tol: Real
) -> Array:
    """The density at the data end for ε = 0, along the characteristics of the
    probability flow.
    """
    log_start = (
        initial.log_density
        if isinstance(initial, Gaussian)
        else lambda x: jnp.log(jnp.asarray(initial(x)))
    )
    process = read_process(process, grid.ndim)
    previous: list[Array] = []
    distance = np.inf
    for run in range(CONSTANTS.max_flow_runs):
        points, log_volume = _follow_flow(
            process, grid, jnp.asarray(CONSTANTS.min_flow_steps * 2**run)
        )
        # Romberg's extrapolation: each column removes one more power of the step.
        row = [jnp.exp(sample(log_start, points) + log_volume)]
        for j, coarse in enumerate(previous):
            row.append(
                row[-1] + (row[-1] - coarse) / (2 ** (CONSTANTS.flow_order + j) - 1)
            )
        if previous:
            distance = float(grid.integrate(jnp.abs(row[-1] - row[-2])))
        if distance < tol:
            return row[-1]
        previous = row
    raise_failure(
        jnp.asarray(code("tolerance_not_reached")),
        f"estimated error {distance:.1e}, tol {tol:.1e}.",
    )
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
    from fpsolve.diffusion.generation import ReverseProcess, score_error_bound
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
    density = lambda lam: grid.sample(lambda x: jnp.exp(-process.path(lam)(x)))
    # The first term, KL(p_1|q_1).
    start = relative_entropy(
        density(jnp.ones(())), jnp.log(grid.density(initial, "initial")), grid
    )
    # The exact score adds nothing.
    if process.error is None:
        return start

    def mean_square_error(lam: Array) -> Array:
        """(g²/2) E_{p_λ}|e|²."""
        errors = grid.sample(lambda x: jnp.sum(process.error(x, lam) ** 2))
        return process._clock_rate(lam) * grid.integrate(density(lam) * errors)

    integral = jax.lax.map(mean_square_error, jnp.asarray(NODES, dtype=float)) @ WEIGHTS
    return start + (1 + process.noise) ** 2 / (4 * process.noise) * integral


def read_process(process: ReverseProcess, ndim: int) -> ReverseProcess:
    """The process with its path and its error as pytrees (`anneal.read`)."""
    read = read_noising(process.path, ndim), read_error(process.error, ndim)
    return eqx.tree_at(
        lambda p: (p.path, p.error), process, read, is_leaf=lambda node: node is None
    )


def invert(f: Callable[[Array], Array], value: Array) -> Array:
    """The x in (0, 1) at which the increasing f(x) is `value`, entry by entry, by
    bisection to rounding.
    """
    value = jnp.asarray(value, dtype=jnp.result_type(value, float))

    def halve(_: Scalar, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        lower, upper = ends
        # Every entry halves its own interval.
        middle = (lower + upper) / 2
        too_small = f(middle) < value
        return jnp.where(too_small, middle, lower), jnp.where(too_small, upper, middle)

    ends = (jnp.zeros_like(value), jnp.ones_like(value))
    lower, upper = jax.lax.fori_loop(0, CONSTANTS.bisections, halve, ends)
    return (lower + upper) / 2


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
        return x + h / 6 * (v1 + 2 * (v2 + v3) + v4), log_volume + h / 6 * (
            d1 + 2 * (d2 + d3) + d4
        )

    def follow(x: Array) -> tuple[Array, Array]:
        return run_loop(steps, step, process, (x, jnp.zeros((), x.dtype)))

    points, log_volume = jax.vmap(follow)(grid.points.reshape(-1, grid.ndim))
    return points.reshape(*grid.shape, grid.ndim), log_volume.reshape(grid.shape)
