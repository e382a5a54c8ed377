"""The law of the work of a protocol as a density: `work_law`.

    p(w) = E δ(W - w) = (1 / 2π) int exp(-i u w) G(u) du,      G(u) = E exp(i u W) = int g(x, u) dx

g is the law of the position together with the tilted work (`staircase`), so that the inverse transform of g itself is
the joint density of position and work. The frequencies are multiples of 2π / width: p is periodic with this width, which
is doubled until no mass is near its ends.

Errors: in time from staircases with K, 2K and 4K steps, of which each two are extrapolated; in space (cells and box
together) from a companion grid; of the transform from half of the frequencies, and from the mass at the ends.

References: Mazonka and Jarzynski, cond-mat/9912121 (Gaussian work); Imparato and Peliti, Phys. Rev. E 72 (2005) 046114
(the joint law); Crooks, Phys. Rev. E 60 (1999) 2721.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ..core.arrays import as_array
from ..core.checks import check_choice, check_finite_number, check_integer, is_concrete, raise_value_error
from ..core.program import full_precision
from ..core.result import code, raise_failure
from ..core.types import Count, Real
from ..equation import FokkerPlanck
from ..grid import Grid
from ..path import Driven
from ..path.mix import Identity
from ..plan.companion import companion
from .along import check_path
from .constants import CONSTANTS
from .grid_for_path import path_grid
from .read import read_path, read_schedule
from .staircase import (
    FluctuationRelations,
    Moments,
    Staircase,
    make_staircase,
    relations,
    step_lambdas,
    tilted_fields,
    work_moments,
)
from .transport_request import check_schedule
from .work_law_result import WorkLaw

DIRECTIONS = ("forward", "backward")


@full_precision
def work_law(
    path: Callable[[Any], Any],
    schedule: Any,
    *,
    grid: Grid | None = None,
    diffusion: Any = 1.0,
    direction: str = "forward",
    tol: Real | None = None,
    points: Count = 128,
    joint: bool = False,
    throw: bool = True,
) -> WorkLaw:
    """The law of the work that is done on a system when its potential follows a path in a finite time.

        W = int d_t U(X_t, t) dt,     dX = -grad U dt + sqrt(2 D) dW,     X_0 from the Gibbs density of λ = 0

    **Arguments**

    - `path`: λ in [0, 1] to a potential; `schedule`: t in [0, total] to λ, from 0 to 1. It may jump at its ends
      (`fp.schedule.jumping`), and need not increase between them
    - `grid`: holds all densities; None fits one. Finite volumes are used on it, whose error falls as the square of the
      cells
    - `diffusion`: D, one number
    - `direction`: "backward" starts from the Gibbs density of λ = 1 and follows the protocol reversed in time
    - `tol`: relative error in time of mean and variance, and L1 error in time of the density; 1e-6, or 1e-3 without x64
    - `points`: how many values of the work, even; more where the law has a wide range
    - `joint`: also return the joint density of position and work
    - `throw`: raise `NumericalFailure` where `tol` is not met; False returns the result

    **Returns** a `WorkLaw`: `.work` and `.density` `(M,)`, `.mean`, `.variance`, `.free_energy`, `.joint`, `.errors`.
    **Raises** `ValueError` for invalid arguments and for a work without a spread; `NumericalFailure` as above.

    **Keeps**: the relation of Jarzynski to rounding, on any grid (`.jarzynski`); that of Crooks between the two
    directions (`fluctuation_relations`). The density may be negative by its error. **Limits**: a law with an atom or an
    infinite density, as after a jump alone, converges slowly, which `errors["transform"]` says. **Cost**: 7 K + 3 K
    exponentials for `points` fields, K = 16 to 512.

    **Reference**: Imparato and Peliti, Phys. Rev. E 72 (2005) 046114.

    ```python
    import fpsolve as fp

    path, grid = fp.path.Moved(fp.Harmonic(), 2.0), fp.Grid(fp.Line(-6.0, 8.0, 64))
    law = fp.work_law(path, fp.schedule.jumping(2.0, 0.25, 0.25), grid=grid, tol=1e-3)
    print(law.mean, law.variance / 2)  # equal for a moving trap, and 1 for this protocol
    ```
    """
    # 1. Validation.
    request = _check(path, schedule, grid, diffusion, tol)
    check_choice("direction", direction, DIRECTIONS)
    points = check_integer("points", points, 16, "Give an even number, 128 say.")
    if points % 2:
        raise_value_error("points", points, "it must be even", f"Give {points + 1}.")
    for name, flag in (("joint", joint), ("throw", throw)):
        if not isinstance(flag, bool):
            raise_value_error(name, flag, "it must be True or False", "Leave it out for the default.")
    backward = direction == "backward"

    # 2. Mean and variance, in as many steps as they need, and the range of the work that follows from them.
    runs = _first_runs(request, backward)
    while _moment_error(runs) > request.tol and _may_refine(runs):
        runs = _refined(request, runs, backward)
    best = _extrapolate(runs[1].moments, runs[2].moments)
    if not float(best.variance) > CONSTANTS.least_spread * float(request.diffusion) ** 2:
        cure = "Let the potential move while the system is in it."
        raise_value_error("schedule", schedule, "its work is the same for all paths of the system", cure)
    window = _Window(float(best.mean), CONSTANTS.work_window * float(np.sqrt(best.variance)), points)
    window = _widened(runs[-1].stairs, window, request.tol)

    # 3. The density, in as many steps as it needs.
    fields = [_fields(run.stairs, window) for run in runs]
    while _density_error(fields, window, request.grid) > request.tol and _may_refine(runs):
        runs = _refined(request, runs, backward)
        fields = [*fields[1:], _fields(runs[-1].stairs, window)]

    # 4. The errors, and the result.
    law = _conclude(request, runs, fields, window, joint, direction)
    if throw and int(law.code) != 0:
        parts = ", ".join(f"{name} {float(error):.1e}" for name, error in law.errors.items())
        raise_failure(law.code, f"tol {request.tol:.1e}, errors {parts}.", has_throw=True)
    return law


@full_precision
def fluctuation_relations(
    path: Callable[[Any], Any],
    schedule: Any,
    *,
    grid: Grid | None = None,
    diffusion: Any = 1.0,
    steps: Count = 32,
    frequencies: Any = (0.25, 1.0, 3.0),
) -> FluctuationRelations:
    """How well the relations of Jarzynski and Crooks hold between a protocol and its reverse, on a grid.

    **Arguments**: `path`, `schedule`, `grid` and `diffusion` as for `work_law`; `steps` of the protocol; `frequencies`
    `(M,)` in units of 1 / D, at which both sides of Crooks' relation are compared. **Returns** the two relative
    differences. **Raises** `ValueError` as `work_law`.

    **Keeps**: both relations to rounding, for any grid and any number of steps, which need not be accurate.
    **Reference**: Crooks, Phys. Rev. E 60 (1999) 2721.

    ```python
    import fpsolve as fp
    from fpsolve.anneal.work_law import fluctuation_relations

    path, grid = fp.Mix(fp.Harmonic(), fp.Quartic()), fp.Grid(fp.Line(-5.0, 5.0, 48))
    fluctuation_relations(path, fp.schedule.linear(1.0), grid=grid, steps=8)
    ```
    """
    request = _check(path, schedule, grid, diffusion, None)
    steps = check_integer("steps", steps, 1, "Give the number of steps of the protocol.")
    moments = np.atleast_1d(np.asarray(frequencies, float)) / float(request.diffusion)
    if moments.ndim != 1 or not np.all(np.isfinite(moments)):
        raise_value_error("frequencies", frequencies, "they must be finite numbers, (M,)", "Give (0.25, 1.0), say.")
    return relations(_stairs(request, steps, False), _stairs(request, steps, True), moments)


class _Request(NamedTuple):
    """The validated arguments: `by_lambda` is an equation whose time is λ."""

    by_lambda: FokkerPlanck
    schedule: Any
    total: Any
    grid: Grid
    tol: float

    @property
    def diffusion(self) -> Any:
        """D."""
        return self.by_lambda.diffusion

    def on(self, grid: Grid) -> "_Request":
        """The same on another grid."""
        return self._replace(grid=grid)


def _check(path: Any, schedule: Any, grid: Any, diffusion: Any, tol: Any) -> _Request:
    """The request of these arguments, or a `ValueError`."""
    if not callable(path):
        raise_value_error(
            "path", path, "it must be callable, lambda -> potential", "Give fp.Mix(start, end) or a function."
        )
    if tol is None:
        in_double = jnp.zeros(()).dtype == jnp.float64
        tol = CONSTANTS.work_law_tol if in_double else CONSTANTS.work_law_tol_single
    if not 0 < check_finite_number("tol", tol) < 1:
        raise_value_error("tol", tol, "it must be between 0 and 1", "Give 1e-6, say.")
    total = check_schedule(schedule, monotone=False)
    if grid is None:
        grid = path_grid(path, diffusion, CONSTANTS.learn_grid_tol)
    if not isinstance(grid, Grid):
        raise_value_error("grid", grid, "it must be a grid", "Give fp.Grid(fp.Line(-5, 5, 128)), say.")
    by_lambda = FokkerPlanck(Driven(read_path(path, grid.ndim), Identity()), diffusion)
    if callable(by_lambda.diffusion) or np.ndim(by_lambda.diffusion):
        raise_value_error("diffusion", diffusion, "Gibbs densities need one number", "Give D, a number above zero.")
    schedule = read_schedule(schedule)
    if not is_concrete(by_lambda, schedule, total):
        cure = "Take fp.anneal.staircase.mean_work, which can be traced."
        raise_value_error("path", "traced", "the steps of the protocol are chosen by their values", cure)
    by_lambda.require_reversible(grid, "a path of Gibbs densities")
    check_path(path, by_lambda, grid)
    return _Request(by_lambda, schedule, total, grid, float(tol))


class _Run(NamedTuple):
    """A staircase and the moments of its work."""

    stairs: Staircase
    moments: Moments


def _stairs(request: _Request, count: int, backward: bool) -> Staircase:
    lambdas = step_lambdas(request.schedule, request.total, count)
    return make_staircase(request.by_lambda, request.grid, lambdas, request.total, backward)


def _run(request: _Request, count: int, backward: bool) -> _Run:
    stairs = _stairs(request, count, backward)
    return _Run(stairs, work_moments(stairs))


def _first_runs(request: _Request, backward: bool) -> list[_Run]:
    """Three runs, in K, 2K and 4K steps."""
    return [_run(request, k * CONSTANTS.first_stairs, backward) for k in (1, 2, 4)]


def _refined(request: _Request, runs: list[_Run], backward: bool) -> list[_Run]:
    """Three runs, in twice as many steps."""
    return [*runs[1:], _run(request, 2 * runs[-1].stairs.steps, backward)]


def _may_refine(runs: list[_Run]) -> bool:
    return runs[-1].stairs.steps < CONSTANTS.max_stairs


def _extrapolate(coarse: Any, fine: Any) -> Any:
    """The limit of zero steps from K and 2K of them, entry by entry: the error is a series in h^2."""
    if isinstance(coarse, Moments):
        return Moments(*(_extrapolate(a, b) for a, b in zip(coarse, fine, strict=True)))
    return np.asarray(fine) + (np.asarray(fine) - np.asarray(coarse)) / 3


def _moment_error(runs: list[_Run]) -> float:
    """The difference of two extrapolations: of the mean relative to the deviation, and of the variance, relative."""
    one, two = (_extrapolate(a.moments, b.moments) for a, b in itertools.pairwise(runs))
    # Without a spread nothing can be resolved, which is rejected later.
    variance = max(abs(float(two.variance)), np.finfo(float).tiny)
    of_mean = abs(float(two.mean - one.mean)) / np.sqrt(variance)
    return max(of_mean, abs(float(two.variance - one.variance)) / variance)


class _Window(NamedTuple):
    """The values of the work `(M,)`: M of them, evenly in `width` around `centre`."""

    centre: float
    width: float
    points: int

    @property
    def work(self) -> np.ndarray:
        """The values, `(M,)`."""
        return self.centre + (np.arange(self.points) / self.points - 0.5) * self.width

    @property
    def spacing(self) -> float:
        """The distance of two values."""
        return self.width / self.points

    @property
    def frequencies(self) -> np.ndarray:
        """The frequencies from zero, `(M / 2 + 1,)`."""
        return 2 * np.pi / self.width * np.arange(self.points // 2 + 1)


def _widened(stairs: Staircase, window: _Window, tol: float) -> _Window:
    """A window that is wide enough: doubled until hardly any mass is in its outer eighth."""
    for _ in range(CONSTANTS.max_windows):
        if _outer_mass(_inverse(_fields(stairs, window), window, stairs.grid), window) <= tol:
            return window
        # The spacing is kept, so that the highest frequency stays what it is.
        window = window._replace(width=2 * window.width, points=2 * window.points)
    return window


def _fields(stairs: Staircase, window: _Window) -> np.ndarray:
    """E[exp(i u (W - centre)) δ(X - x)] at the frequencies of a window, `(M / 2 + 1, *shape)`."""
    frequencies = window.frequencies
    # Batches of one size, so that one program serves any window.
    batch = CONSTANTS.tilt_batch
    padded = np.concatenate([frequencies, np.full(-len(frequencies) % batch, frequencies[-1])])
    rows = []
    for part in np.split(padded, len(padded) // batch):
        rows.append(np.asarray(tilted_fields(stairs, as_array(1j * part, complex), as_array(window.centre))))
    return np.concatenate(rows)[: len(frequencies)]


def _characteristic(fields: np.ndarray, grid: Grid) -> np.ndarray:
    """The characteristic function of W - centre, `(M / 2 + 1,)`."""
    return fields.reshape(len(fields), -1) @ np.asarray(grid.weights).ravel()


def _inverse(fields: np.ndarray, window: _Window, grid: Grid) -> np.ndarray:
    """The density of the work, `(M,)`."""
    return inverse_transform(_characteristic(fields, grid), window.width)


def inverse_transform(values: np.ndarray, width: float) -> np.ndarray:
    """(1 / 2π) int exp(-i u w) G(u) du at M values of w evenly in `width` around 0, `(M, ...)`, from G at 0, 2π / width,
    ..., π M / width, `(M / 2 + 1, ...)`."""
    count = 2 * (len(values) - 1)
    signs = (-1.0) ** np.arange(len(values))
    turned = np.conj(values) * signs.reshape(-1, *[1] * (values.ndim - 1))
    return np.fft.irfft(turned, count, axis=0) * count / width


def _outer_mass(density: np.ndarray, window: _Window) -> float:
    """The mass in the outer eighth of a window, which says how much is beyond it."""
    edge = max(1, window.points // 16)
    return _l1(np.concatenate([density[:edge], density[-edge:]]), window)


def _l1(density: np.ndarray, window: _Window) -> float:
    return float(np.sum(np.abs(density)) * window.spacing)


def _density_error(fields: list[np.ndarray], window: _Window, grid: Grid) -> float:
    """The L1 distance of two extrapolations of the density."""
    densities = [_inverse(field, window, grid) for field in fields]
    return _l1(_extrapolate(*densities[1:]) - _extrapolate(*densities[:2]), window)


def _conclude(
    request: _Request, runs: list[_Run], fields: list[np.ndarray], window: _Window, joint: bool, direction: str
) -> WorkLaw:
    """The result with all its errors."""
    grid, backward = request.grid, direction == "backward"
    finest = runs[-1].stairs
    densities = [_inverse(field, window, grid) for field in fields]
    one, density = _extrapolate(*densities[:2]), _extrapolate(*densities[1:])
    first, second = (_extrapolate(a.moments, b.moments) for a, b in itertools.pairwise(runs))

    # The same on cells sqrt(2) times as long, in a wider box: the difference is about the error in space.
    elsewhere = request.on(companion(grid, False))
    others = [_run(elsewhere, run.stairs.steps, backward) for run in runs[:2]]
    coarse = _extrapolate(others[0].moments, others[1].moments)
    on_others = [_inverse(_fields(run.stairs, window), window, elsewhere.grid) for run in others]
    # The upper half of the frequencies says how much those that are left out would add.
    values = _characteristic(fields[-1], grid)
    lower = np.where(np.arange(len(values)) <= len(values) // 2, values, 0)
    cut = _l1(inverse_transform(lower, window.width) - densities[-1], window)
    errors = {
        "time": _density_error(fields, window, grid),
        "space": _l1(_extrapolate(*on_others) - one, window),
        "transform": cut + _outer_mass(density, window),
    }
    numbers = {}
    for name in ("mean", "variance"):
        a, b, c = (float(getattr(moments, name)) for moments in (first, second, coarse))
        numbers[name] = abs(b - a) + abs(c - a)
    numbers["free_energy"] = abs(float(finest.free_energy) - float(others[0].stairs.free_energy))

    tilt = as_array(np.asarray([-1 / float(request.diffusion)]), complex)
    weighted = np.asarray(tilted_fields(finest, tilt, finest.free_energy))
    joint_density = None
    if joint:
        joint_density = as_array(_extrapolate(*(inverse_transform(field, window.width) for field in fields[1:])))
    outcome = "successful" if errors["time"] <= request.tol else "tolerance_not_reached"
    if not np.all(np.isfinite(density)):
        outcome = "not_finite"
    return WorkLaw(
        work=as_array(window.work),
        density=as_array(density),
        mean=as_array(second.mean),
        variance=as_array(second.variance),
        free_energy=as_array(finest.free_energy),
        jarzynski=as_array(_characteristic(weighted, grid)[0].real),
        joint=joint_density,
        errors={name: as_array(value) for name, value in errors.items()},
        number_errors={name: as_array(value) for name, value in numbers.items()},
        diffusion=as_array(request.diffusion),
        code=as_array(code(outcome), int),
        steps=finest.steps,
        direction=direction,
        grid=grid,
    )
