"""The weights of a sampler that follows a path with a drift of its own: their variance,
and the law without them.

    dX = (-grad U + b) dt + sqrt(2 D) dW
    d(log w) = ( div b - b.grad U / D - d_t U / D ) dt
    E[ w f(X_T) ] = (Z_T / Z_0) E_{π_T} f,     ESS = (E w)^2 / E w^2

b = 0 is annealed importance sampling. The exact (counterdiabatic) drift v, with d_t π =
-div(π v), makes w a constant and the law of X equal to π_t: it is what non-equilibrium
transport samplers learn. For b = γ v

    d(log w / E w) = -(1 - γ) (d_t U - E_{π_t} d_t U) dt / D.

The law of X with the n-th power of its weight, g_n = E[(w Z_0 / Z_t)^n δ(X - x)], obeys

    d_t g_n = L_b g_n + n (c + d_t log π) g_n,      g_1 = π_t
    c = div(π b) / π = -(L_b π) / π

with the last form of c on finite volumes. Without a drift c is 0, and the change of log
π is made at fixed x between the exponentials of L: g_1 = π_t to rounding. With one, c
and d_t log π cancel where the drift is good, also in tails where both are large, and
are taken together: g_1 = π_t to the error in time, which is `mean` - 1.

References: Albergo and Vanden-Eijnden, arXiv 2410.02711 (NETS); Neal, Stat. Comput. 11
(2001) 125; Vaikuntanathan and Jarzynski, Phys. Rev. Lett. 100 (2008) 190601; theorem
T20 of this library.
"""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import raise_value_error
from ..core.program import public_function
from ..core.result import CODES, code, raise_failure
from ..core.types import Clock, Formula, PotentialPath, Real, Scalar
from ..grid import Grid
from ..plan.companion import companion
from .constants import CONSTANTS
from .importance_request import check_importance
from .weight_moments import NUMBERS, effective_change, extrapolate, run_weights


class WeightedLaw(eqx.Module):
    """The result of `importance_weights`.

    - `effective`: the effective sample size for each sample, (E w)^2 / E w^2, in (0, 1]
    - `kl`: KL(p | π_T) of the law p of the sampler without weights; `density` p
      `(*shape)`
    - `mean`: E w Z_0 / Z_T, which is 1
    - `errors`: the absolute errors of `effective`, `kl` and `mean`, by name; `result`:
      the named code of the run
    """

    effective: Array
    kl: Array
    mean: Array
    density: Array
    errors: dict[str, Array]
    code: Array
    steps: int = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)

    @property
    def variance(self) -> Array:
        """The variance of w / E w, 1 / effective - 1."""
        return 1 / self.effective - 1

    @property
    def result(self) -> str:
        """The named code of the run."""
        return CODES[int(self.code)]


@public_function
def importance_weights(
    path: PotentialPath,
    schedule: Clock,
    *,
    drift: Formula | str | None = None,
    strength: Real = 1.0,
    grid: Grid | None = None,
    diffusion: Scalar = 1.0,
    tol: Real = 1e-6,
    throw: Any = True,
) -> WeightedLaw:
    """The variance of the weights of a sampler along a path, and the law of its samples
    without weights.

    **Arguments**

    - `path`: λ in [0, 1] to a potential; `schedule`: t in [0, total] to λ, from 0 to 1,
      without jumps
    - `drift`: b(x, t) to `(d,)`, a learned one, say; "exact" for the counterdiabatic
      drift; None for none
    - `strength`: factor on the drift
    - `grid`: of `fp.Line`, `fp.Reflecting` and `fp.Periodic` axes; None fits one
    - `diffusion`: D, one number; `tol`: absolute error in time of `effective`, relative
      to 1
    - `throw`: raise `NumericalFailure` where `tol` is not met; False returns the result

    **Returns** a `WeightedLaw`. **Raises** `ValueError` for invalid arguments;
    `NumericalFailure` as above.

    **Keeps**: E w = Z_T / Z_0, to rounding without a drift. **Limits**: where E w^2 is
    infinite on the line, the box makes it finite: the error of `effective` is then of
    its own size. **Cost**: 10 K exponentials for three fields, K = 16 to 512.

    **Reference**: Albergo and Vanden-Eijnden, arXiv 2410.02711; theorem T20 of this
    library.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.importance import importance_weights

    path, grid = fp.path.Moved(fp.Harmonic(), 2.0), fp.Grid(fp.Line(-6.0, 8.0, 64))
    plain = importance_weights(path, fp.schedule.linear(1.0), grid=grid, tol=1e-3)
    driven = importance_weights(
        path, fp.schedule.linear(1.0), grid=grid, tol=1e-3, drift="exact"
    )
    print(plain.effective, driven.effective)
    ```
    """
    request = check_importance(path, schedule, drift, strength, grid, diffusion, tol)
    if not isinstance(throw, bool):
        raise_value_error(
            "throw",
            throw,
            "it must be True or False",
            "Give False to get the result of a failed run.",
        )
    # Three runs give two extrapolations in the length of a step, and so an error.
    count = CONSTANTS.first_stairs
    runs = [run_weights(request, k * count) for k in (1, 2, 4)]
    while effective_change(runs) > request.tol and 4 * count < CONSTANTS.max_stairs:
        count = 2 * count
        runs = [*runs[1:], run_weights(request, 4 * count)]
    # Fewer steps on other cells in a wider box: only the error in space is compared, at
    # the same steps as in the first extrapolation.
    other = request._replace(grid=companion(request.grid, False))
    coarse = extrapolate(*(run_weights(other, k * count) for k in (1, 2)))

    first = extrapolate(*runs[:2])
    second = extrapolate(*runs[1:])
    # In time, and in space.
    errors = {
        name: abs(second[name] - first[name]) + abs(coarse[name] - first[name])
        for name in NUMBERS
    }
    error_in_time = effective_change(runs)
    outcome = "tolerance_not_reached"
    if error_in_time <= request.tol:
        outcome = "successful"
    # Last, since a NaN fails every comparison.
    if not np.all(np.isfinite([second[name] for name in NUMBERS])):
        outcome = "not_finite"
    found = WeightedLaw(
        effective=as_array(second["effective"]),
        kl=as_array(second["kl"]),
        mean=as_array(second["mean"]),
        density=as_array(runs[-1].density),
        errors={name: as_array(error) for name, error in errors.items()},
        code=as_array(code(outcome), int),
        steps=4 * count,
        grid=request.grid,
    )
    if throw and outcome != "successful":
        raise_failure(
            found.code,
            f"tol {request.tol:.1e}, error in time {error_in_time:.1e}.",
            has_throw=True,
        )
    return found
