"""What `transport` returns, and the work that a moving potential does."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.late import late
from ..core.program import sampling_program
from ..equation import FokkerPlanck
from ..grid import Grid
from ..record import Result
from ..solve.solution import Solution
from .bounds import Bounds
from .jarzynski import weights_error

TRACED = "none: under a transformation no bound is computed"


class Transport(Result):
    """A density that follows a path, at every reported time its distance from the Gibbs density of that time.

    - `times` `(T,)`; `lambdas` `(T,)`; `values` `(T, *shape)`
    - `kl`, `tv`, `infidelity` `(T,)`: KL(p | pi), (1/2) int |p - pi|, 1 - (int sqrt(p pi))^2
    - `gap` `(T,)`, of H, in units 1/time; None under a transformation
    - `bound` `(T,)`: a rigorous upper bound on `tv`, infinite where no theorem applies; `bound_by` names the theorem
      (or says why none); `kl_bound` `(T,)` the bound on `kl` of theorem T16 or T17; `bounds` all of them, by name
    - `work` `(T,)` done on the system, int E_p d_t U dt; `free_energy` `(T,)` F_t - F_0 = -D log(Z_t / Z_0); `entropy`
      `(T,)` produced, (work - free_energy) / D - (kl - kl[0]); by Hermite quadrature over 101 times at least (under a
      transformation over the times reported)
    - `accuracy`: the relative L1 error that a run with the same tolerance `tol` makes of Jarzynski's weights
      (kappa = -1), whose answer is known; None where the run was not one of waves. Computed when it is asked for: it
      costs as much as the transport
    - `residual`: of the counterdiabatic drive, |d_t sqrt(pi) + G sqrt(pi)| relative to its terms; None without it
    - `equation`: the process that moves; `solution`: the run itself, with its `error` in time and its `stats`
    """

    times: Array
    lambdas: Array
    values: Array
    kl: Array
    tv: Array
    infidelity: Array
    gap: Array | None
    work: Array
    free_energy: Array
    entropy: Array
    bounds: Bounds | None
    equation: Any
    solution: Any
    residual: Array | None
    tol: float = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)

    @property
    def bound(self) -> Array:
        """The least of all upper bounds on `tv`, `(T,)`."""
        if self.bounds is None:
            return _none(self.times)
        return as_array(self.bounds.best[0])

    @property
    def bound_by(self) -> str:
        """The theorem that gives the bound at the last time, or why there is none."""
        return TRACED if self.bounds is None else self.bounds.best[1]

    @property
    def kl_bound(self) -> Array:
        """The upper bound on `kl`, `(T,)`."""
        if self.bounds is None:
            return _none(self.times)
        return as_array(self.bounds.relative_entropy)

    @property
    def accuracy(self) -> float | None:
        """The error of a known answer, at the last time."""
        run = self.solution
        waves = isinstance(run, Solution) and run.scheme.spectral and run.picture == "wave"
        if not waves or not is_concrete(self.equation, self.times) or float(self.times[-1]) == 0:
            return None
        return weights_error(self.equation, self.grid, float(self.times[-1]), self.tol)

    @property
    def error(self) -> Array:
        """The estimated relative L1 error in time, `(T,)`."""
        return self.solution.error

    @property
    def stats(self) -> dict[str, Any]:
        """Numbers and words about the run, those of `Solution.stats` or of the drive."""
        if isinstance(self.solution, Solution):
            return self.solution.stats
        residual = None if self.residual is None else float(self.residual)
        return {"scheme": "ScharfetterGummel", "method": "the counterdiabatic drive", "residual": residual}

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The code of the run, and the theorem that gives the bound."""
        return {"result": self.solution.result, "bound_by": self.bound_by}, {}

    def animate(self, path: Any, fps: int = 15) -> None:
        """Write a film of the density to `path`, a .gif (with the `plot` extra)."""
        late("plot").animate(self, path, fps)

    def __repr__(self) -> str:
        ends = f"{float(self.times[-1]):.6g}, {len(self.times)} times" if is_concrete(self.times) else "traced"
        return f"Transport to t = {ends}, on {self.grid!r}\n  bound by {self.bound_by}"


def _none(times: Array) -> Array:
    """The bound at every time where none is known."""
    return as_array(np.full(times.shape, np.inf))


class Powers(NamedTuple):
    """At every time `(T,)`: log Z, E_p d_t U, and its derivative E_p (d_t^2 U + L* d_t U); log pi `(T, *shape)`."""

    log_gibbs: Array
    log_z: Array
    power: Array
    rise: Array


@sampling_program
def sample_powers(equation: FokkerPlanck, grid: Grid, times: Array, values: Array) -> Powers:
    """What the work of a run of densities `(T, *shape)` takes of its equation; L* f = D Lap f - grad U . grad f."""
    one = lambda t: jnp.ones_like(t)

    def at(given: tuple[Array, Array]) -> Powers:
        t, p = given
        push = lambda x, t: jax.jvp(lambda t: equation.energy(x, t), (t,), (one(t),))[1]

        def change(x: Array) -> Array:
            laplacian = jnp.trace(jax.hessian(push)(x, t))
            drift = jax.grad(lambda x: equation.energy(x, t))(x) @ jax.grad(push)(x, t)
            return jax.jvp(lambda t: push(x, t), (t,), (one(t),))[1] + equation.diffusion * laplacian - drift

        heights = -grid.sample(lambda x: equation.energy(x, t)) / equation.diffusion
        log_z = jax.scipy.special.logsumexp(heights, b=jnp.asarray(grid.weights, heights.dtype))
        power = grid.integrate(p * grid.sample(lambda x: push(x, t)))
        return Powers(heights - log_z, log_z, power, grid.integrate(p * grid.sample(change)))

    return jax.lax.map(at, (times, values))


def work_and_entropy(powers: Powers, diffusion: Any, times: Any, kl: Any, xp: Any = jnp) -> tuple[Any, Any, Any]:
    """Work, free energy and entropy produced since the first time, each `(T,)`; `xp` is numpy or jax.numpy."""
    power, rise = powers.power, powers.rise
    steps = xp.diff(times)
    parts = steps / 2 * (power[1:] + power[:-1]) + steps**2 / 12 * (rise[:-1] - rise[1:])
    work = xp.concatenate([xp.zeros(1, power.dtype), xp.cumsum(parts)])
    free = -diffusion * (powers.log_z - powers.log_z[0])
    return work, free, (work - free) / diffusion - (kl - kl[0])
