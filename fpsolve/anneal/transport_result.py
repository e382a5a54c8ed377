"""The result of `transport`."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import is_concrete
from ..core.late import late
from ..core.types import FilePath
from ..equation import FokkerPlanck
from ..grid import Grid
from ..record import Result
from ..solve.solution import Solution
from .bounds import Bounds
from .counterdiabatic import CounterdiabaticResult
from .jarzynski import weights_error

TRACED = "none: under a transformation no bound is computed"


class Transport(Result):
    """A density that follows a path, at every reported time its distance from the Gibbs
    density of that time.

    - `times` `(T,)`; `lambdas` `(T,)`; `values` `(T, *shape)`
    - `kl`, `tv`, `infidelity` `(T,)`: KL(p | pi), (1/2) int |p - pi|, 1 - (int sqrt(p
      pi))^2
    - `gap` `(T,)`, of H, in units 1/time; None under a transformation
    - `bound` `(T,)`: a rigorous upper bound on `tv`, infinite where no theorem applies;
      `bound_by` names the theorem (or says why none); `kl_bound` `(T,)` the bound on
      `kl` of theorem T16 or T17; `bounds` all of them, by name
    - `work` `(T,)` done on the system, int E_p d_t U dt; `free_energy` `(T,)` F_t - F_0
      = -D log(Z_t / Z_0); `entropy` `(T,)` produced, (work - free_energy) / D - (kl -
      kl[0]); by Hermite quadrature over 101 times at least (under a transformation over
      the times reported)
    - `accuracy`: the relative L1 error of a run for Jarzynski's weights (kappa = -1),
      whose exact solution is known, with the same tolerance `tol`; None if the run was
      not in the wave picture. Computed on access, which costs as much as the transport
    - `residual`: |d_t sqrt(pi) + G sqrt(pi)| relative to its terms, of a
      counterdiabatic run; None for any other
    - `equation`: in the time-dependent potential; `solution`: the run itself, with its
      `error` in time and its `stats`

    Under `jit`, `vmap` and `grad` a run whose error exceeds `tol` gives NaN for all
    values, unless `throw=False`.
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
    equation: FokkerPlanck | None
    solution: Solution | CounterdiabaticResult
    residual: Array | None
    number_errors: dict[str, Array]
    tol: float = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)

    @property
    def bound(self) -> Array:
        """The smallest upper bound on `tv`, `(T,)`; infinite where there is none."""
        if self.bounds is None:
            return _infinite(self.times)
        return as_array(self.bounds.best[0])

    @property
    def bound_by(self) -> str:
        """The theorem that gives the bound at the last time, or why there is none."""
        return TRACED if self.bounds is None else self.bounds.best[1]

    @property
    def kl_bound(self) -> Array:
        """The upper bound on `kl`, `(T,)`."""
        if self.bounds is None:
            return _infinite(self.times)
        return as_array(self.bounds.relative_entropy)

    @property
    def accuracy(self) -> float | None:
        """The relative L1 error of Jarzynski's weights at the last time; None if the
        run was not one of waves.
        """
        run, equation = self.solution, self.equation
        # Jarzynski's weights are evolved as a spectral wave: they say nothing about
        # another kind of run.
        if not isinstance(run, Solution):
            return None
        if not run.scheme.spectral or run.picture != "wave":
            return None
        # Under a transformation there is no run of its own to make.
        if equation is None or not is_concrete(equation, self.times):
            return None
        last = float(self.times[-1])
        if last == 0:
            return None
        return weights_error(equation, self.grid, last, self.tol)

    @property
    def error(self) -> Array:
        """The estimated relative L1 error of `values`, `(T,)`."""
        return self.solution.error

    @property
    def errors(self) -> dict[str, Array]:
        """The parts of `error`, and the absolute errors of all numbers, `(T,)` each."""
        return density_errors(self.solution) | self.number_errors

    @property
    def stats(self) -> dict[str, Any]:
        """Numbers and words about the run: those of `Solution.stats`, or of a
        counterdiabatic run.
        """
        if isinstance(self.solution, Solution):
            return self.solution.stats
        residual = None if self.residual is None else float(self.residual)
        return {
            "scheme": "ScharfetterGummel",
            "method": "counterdiabatic steps",
            "residual": residual,
        }

    def details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The code of the run, and the theorem that gives the bound."""
        return {"result": self.solution.result, "bound_by": self.bound_by}, {}

    def animate(self, path: FilePath, fps: int = 15) -> None:
        """Write a film of the density to `path`, a .gif (with the `plot` extra)."""
        late("plot").animate(self, path, fps)

    def __repr__(self) -> str:
        ends = (
            f"{float(self.times[-1]):.6g}, {len(self.times)} times"
            if is_concrete(self.times)
            else "traced"
        )
        return f"Transport to t = {ends}, on {self.grid!r}\n  bound by {self.bound_by}"


def density_errors(solution: Any) -> dict[str, Array]:
    """The parts of the relative L1 error of the densities of a run, `(T,)` each."""
    # COMPANION: this is the only place that knows the parts. A run that was compared
    # with one on a companion grid has all of them as `errors`; any other knows its
    # error in time.
    found = getattr(solution, "errors", None)
    if found is not None:
        return dict(found)
    # A part that was not estimated is NaN, which passes no comparison.
    unknown = as_array(np.full(solution.error.shape, np.nan), solution.error.dtype)
    return {"time": solution.error, "space": unknown, "box": unknown, "start": unknown}


def _infinite(times: Array) -> Array:
    """The bound at every time where none is known."""
    return as_array(np.full(times.shape, np.inf))
