"""The law of the work of a protocol as a density: `work_law`.

    p(w) = E δ(W - w) = (1 / 2π) int exp(-i u w) G(u) du
    G(u) = E exp(i u W) = int g(x, u) dx

g is the law of the position together with the tilted work (`staircase`), so that the
inverse transform of g itself is the joint density of position and work. The frequencies
are multiples of 2π / width: p is periodic with this width, which is doubled until no
mass is near its ends.

Errors: in time from staircases with K, 2K and 4K steps, of which each two are
extrapolated; in space (cells and box together) from a companion grid; of the transform
from half of the frequencies, and from the mass at the ends.

References: Mazonka and Jarzynski, cond-mat/9912121 (Gaussian work); Imparato and
Peliti, Phys. Rev. E 72 (2005) 046114 (the joint law); Crooks, Phys. Rev. E 60 (1999)
2721.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import as_array
from ..core.checks import check_choice, check_integer, raise_value_error
from ..core.program import public_function
from ..core.result import code, raise_failure
from ..core.types import Clock, Count, PotentialPath, Real, Scalar
from ..grid import Grid
from ..plan.companion import companion
from .constants import CONSTANTS
from .protocol_request import ProtocolRequest, check_protocol
from .staircase import Moments, Staircase, work_moments
from .tilted_work import tilted_fields
from .work_law_result import WorkLaw
from .work_transform import (
    Window,
    characteristic,
    density_error,
    extrapolate,
    inverse_transform,
    l1,
    outer_mass,
    tilted_work_fields,
    widened,
    work_density,
)

DIRECTIONS = ("forward", "backward")


@public_function
def work_law(
    path: PotentialPath,
    schedule: Clock,
    *,
    grid: Grid | None = None,
    diffusion: Scalar = 1.0,
    direction: str = "forward",
    tol: Real | None = None,
    points: Count = 128,
    joint: Any = False,
    throw: Any = True,
) -> WorkLaw:
    """The law of the work that is done on a system when its potential follows a path in
    a finite time.

        W = int d_t U(X_t, t) dt,     dX = -grad U dt + sqrt(2 D) dW

    X_0 is from the Gibbs density of λ = 0.

    **Arguments**

    - `path`: λ in [0, 1] to a potential; `schedule`: t in [0, total] to λ, from 0 to 1.
      It may jump at its ends (`fp.schedule.jumping`), and need not increase between
      them
    - `grid`: holds all densities; None fits one. Finite volumes are used on it, whose
      error falls as the square of the cells
    - `diffusion`: D, one number
    - `direction`: "backward" starts from the Gibbs density of λ = 1 and follows the
      protocol reversed in time
    - `tol`: relative error in time of mean and variance, and L1 error in time of the
      density; 1e-6, or 1e-3 without x64
    - `points`: how many values of the work, even; more where the law has a wide range
    - `joint`: also return the joint density of position and work
    - `throw`: raise `NumericalFailure` where `tol` is not met; False returns the result

    **Returns** a `WorkLaw`: `.work` and `.density` `(M,)`, `.mean`, `.variance`,
    `.free_energy`, `.joint`, `.errors`. **Raises** `ValueError` for invalid arguments
    and for a work without a spread; `NumericalFailure` as above.

    **Keeps**: the relation of Jarzynski to rounding, on any grid (`.jarzynski`); that
    of Crooks between the two directions (`fluctuation_relations`). The density may be
    negative by its error. **Limits**: a law with an atom or an infinite density, as
    after a jump alone, converges slowly, which `errors["transform"]` says. **Cost**: 7
    K + 3 K exponentials for `points` fields, K = 16 to 512.

    **Reference**: Imparato and Peliti, Phys. Rev. E 72 (2005) 046114.

    ```python
    import fpsolve as fp

    path, grid = fp.path.Moved(fp.Harmonic(), 2.0), fp.Grid(fp.Line(-6.0, 8.0, 64))
    law = fp.work_law(path, fp.schedule.jumping(2.0, 0.25, 0.25), grid=grid, tol=1e-3)
    print(
        law.mean, law.variance / 2
    )  # equal for a moving trap, and 1 for this protocol
    ```
    """
    # 1. Validation.
    request = check_protocol(path, schedule, grid, diffusion, tol)
    check_choice("direction", direction, DIRECTIONS)
    points = check_integer("points", points, 16, "Give an even number, 128 say.")
    if points % 2:
        raise_value_error("points", points, "it must be even", f"Give {points + 1}.")
    for name, flag in (("joint", joint), ("throw", throw)):
        if not isinstance(flag, bool):
            raise_value_error(
                name, flag, "it must be True or False", "Leave it out for the default."
            )
    backward = direction == "backward"

    # 2. Mean and variance, in as many steps as they need, and the range of the work
    #    that follows from them.
    runs = _first_runs(request, backward)
    while _moment_error(runs) > request.tol and _may_refine(runs):
        runs = _refined(request, runs, backward)
    best = extrapolate(runs[1].moments, runs[2].moments)
    least_variance = CONSTANTS.least_spread * float(request.diffusion) ** 2
    # Also where it is NaN.
    if not float(best.variance) > least_variance:
        cure = "Let the potential move while the system is in it."
        raise_value_error(
            "schedule",
            schedule,
            "its work is the same for all paths of the system",
            cure,
        )
    width = CONSTANTS.work_window * float(np.sqrt(best.variance))
    window = Window(float(best.mean), width, points)
    window = widened(runs[-1].stairs, window, request.tol)

    # 3. The density, in as many steps as it needs.
    fields = [tilted_work_fields(run.stairs, window) for run in runs]
    while density_error(fields, window, request.grid) > request.tol:
        if not _may_refine(runs):
            break
        runs = _refined(request, runs, backward)
        fields = [*fields[1:], tilted_work_fields(runs[-1].stairs, window)]

    # 4. The errors, and the result.
    law = _conclude(request, runs, fields, window, joint, direction)
    if throw and int(law.code) != 0:
        named = [f"{name} {float(error):.1e}" for name, error in law.errors.items()]
        detail = f"tol {request.tol:.1e}, errors {', '.join(named)}."
        raise_failure(law.code, detail, has_throw=True)
    return law


class _Run(NamedTuple):
    """A staircase and the moments of its work."""

    stairs: Staircase
    moments: Moments


def _run(request: ProtocolRequest, count: int, backward: bool) -> _Run:
    stairs = request.stairs(count, backward)
    return _Run(stairs, work_moments(stairs))


def _first_runs(request: ProtocolRequest, backward: bool) -> list[_Run]:
    """Three runs, in K, 2K and 4K steps."""
    return [_run(request, k * CONSTANTS.first_stairs, backward) for k in (1, 2, 4)]


def _refined(request: ProtocolRequest, runs: list[_Run], backward: bool) -> list[_Run]:
    """Three runs, in twice as many steps."""
    return [*runs[1:], _run(request, 2 * runs[-1].stairs.steps, backward)]


def _may_refine(runs: list[_Run]) -> bool:
    return runs[-1].stairs.steps < CONSTANTS.max_stairs


def _moment_error(runs: list[_Run]) -> float:
    """The relative change of mean (by deviation) or variance, the larger one."""
    moments = [run.moments for run in runs]
    one, two = (extrapolate(a, b) for a, b in itertools.pairwise(moments))
    # Without a spread nothing can be resolved, which is rejected later.
    variance = max(abs(float(two.variance)), np.finfo(float).tiny)
    of_mean = abs(float(two.mean - one.mean)) / np.sqrt(variance)
    of_variance = abs(float(two.variance - one.variance)) / variance
    return max(of_mean, of_variance)


def _conclude(
    request: ProtocolRequest,
    runs: list[_Run],
    fields: list[np.ndarray],
    window: Window,
    joint: bool,
    direction: str,
) -> WorkLaw:
    """The result with all its errors."""
    grid = request.grid
    backward = direction == "backward"
    finest = runs[-1].stairs
    densities = [work_density(field, window, grid) for field in fields]
    one = extrapolate(*densities[:2])
    density = extrapolate(*densities[1:])
    first, second = (
        extrapolate(a.moments, b.moments) for a, b in itertools.pairwise(runs)
    )

    # The same on cells sqrt(2) times as long, in a wider box: the difference is about
    # the error in space.
    elsewhere = request.on(companion(grid, False))
    others = [_run(elsewhere, run.stairs.steps, backward) for run in runs[:2]]
    coarse = extrapolate(others[0].moments, others[1].moments)
    on_others = []
    for run in others:
        elsewhere_fields = tilted_work_fields(run.stairs, window)
        on_others.append(work_density(elsewhere_fields, window, elsewhere.grid))
    # The upper half of the frequencies says how much those that are left out would add.
    values = characteristic(fields[-1], grid)
    in_lower_half = np.arange(len(values)) <= len(values) // 2
    lower = np.where(in_lower_half, values, 0)
    cut = l1(inverse_transform(lower, window.width) - densities[-1], window)
    errors = {
        "time": density_error(fields, window, grid),
        "space": l1(extrapolate(*on_others) - one, window),
        "transform": cut + outer_mass(density, window),
    }
    numbers = {}
    for name in ("mean", "variance"):
        a = float(getattr(first, name))
        b = float(getattr(second, name))
        c = float(getattr(coarse, name))
        # In time, and in space.
        numbers[name] = abs(b - a) + abs(c - a)
    # The free energy is exact in time: it has an error in space only.
    other_free_energy = float(others[0].stairs.free_energy)
    numbers["free_energy"] = abs(float(finest.free_energy) - other_free_energy)

    # E exp(-(W - ΔF) / D), which is 1 whatever the number of steps.
    tilt = np.asarray([-1 / float(request.diffusion) + 0j])
    weighted = tilted_fields(finest, tilt, finest.free_energy)
    joint_density = None
    if joint:
        of_runs = [inverse_transform(field, window.width) for field in fields[1:]]
        joint_density = as_array(extrapolate(*of_runs))
    outcome = "tolerance_not_reached"
    if errors["time"] <= request.tol:
        outcome = "successful"
    if not np.all(np.isfinite(density)):
        outcome = "not_finite"
    return WorkLaw(
        work=as_array(window.work),
        density=as_array(density),
        mean=as_array(second.mean),
        variance=as_array(second.variance),
        free_energy=as_array(finest.free_energy),
        jarzynski=as_array(characteristic(weighted, grid)[0].real),
        joint=joint_density,
        errors={name: as_array(value) for name, value in errors.items()},
        number_errors={name: as_array(value) for name, value in numbers.items()},
        diffusion=as_array(request.diffusion),
        code=as_array(code(outcome), int),
        steps=finest.steps,
        direction=direction,
        grid=grid,
    )
