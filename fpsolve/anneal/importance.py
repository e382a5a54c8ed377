"""The weights of a sampler that follows a path with a drift of its own: their variance,
and the law without them.

    dX = (-grad U + b) dt + sqrt(2 D) dW,      d(log w) = ( div b - b.grad U / D - d_t U / D ) dt
    E[ w f(X_T) ] = (Z_T / Z_0) E_{π_T} f,     ESS = (E w)^2 / E w^2

b = 0 is annealed importance sampling. The exact (counterdiabatic) drift v, with d_t π =
-div(π v), makes w a constant and the law of X equal to π_t: it is what non-equilibrium
transport samplers learn. For b = γ v

    d(log w / E w) = -(1 - γ) (d_t U - E_{π_t} d_t U) dt / D.

The law of X with the n-th power of its weight, g_n = E[(w Z_0 / Z_t)^n δ(X - x)], obeys

    d_t g_n = L_b g_n + n (c + d_t log π) g_n,      c = div(π b) / π = -(L_b π) / π,      g_1 = π_t

with the last form of c on finite volumes. Without a drift c is 0, and the change of log
π is made at fixed x between the exponentials of L: g_1 = π_t to rounding. With one, c
and d_t log π cancel where the drift is good, also in tails where both are large, and
are taken together: g_1 = π_t to the error in time, which is `mean` - 1.

References: Albergo and Vanden-Eijnden, arXiv 2410.02711 (NETS); Neal, Stat. Comput. 11
(2001) 125; Vaikuntanathan and Jarzynski, Phys. Rev. Lett. 100 (2008) 190601; theorem
T20 of this library.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array
from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.program import full_precision, sampling_program, shape_program
from ..core.result import CODES, code, raise_failure
from ..core.types import AnyArray, Clock, Formula, PotentialPath, Real, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid
from ..operator import EdgeOperator, Samples, ScharfetterGummel
from ..path import Driven
from ..path.mix import Identity
from ..plan.companion import companion
from ..propagate import Picture, Uniformization
from .along import check_path
from .constants import CONSTANTS
from .distances import relative_entropy
from .gibbs import log_gibbs_at, log_sqrt_pi_and_rate
from .grid_for_path import path_grid
from .read import read_path, read_schedule
from .staircase import conjugated, in_batches
from .transport_request import check_schedule
from .velocity import check_transportable, face_velocity

EXACT = "exact"
NUMBERS = ("effective", "kl", "mean")
SCHEME = ScharfetterGummel()
HEAT = Uniformization()


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


@full_precision
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
    request = _check(path, schedule, drift, strength, grid, diffusion, tol)
    if not isinstance(throw, bool):
        raise_value_error(
            "throw",
            throw,
            "it must be True or False",
            "Give False to get the result of a failed run.",
        )
    count = CONSTANTS.first_stairs
    runs = [_run(request, k * count) for k in (1, 2, 4)]
    while _change(runs) > request.tol and 4 * count < CONSTANTS.max_stairs:
        count = 2 * count
        runs = [*runs[1:], _run(request, 4 * count)]
    other = request._replace(grid=companion(request.grid, False))
    coarse = _extrapolate(*(_run(other, k * count) for k in (1, 2)))

    first, second = _extrapolate(*runs[:2]), _extrapolate(*runs[1:])
    errors = {
        name: abs(second[name] - first[name]) + abs(coarse[name] - first[name])
        for name in NUMBERS
    }
    outcome = "successful" if _change(runs) <= request.tol else "tolerance_not_reached"
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
            f"tol {request.tol:.1e}, error in time {_change(runs):.1e}.",
            has_throw=True,
        )
    return found


class _Request(NamedTuple):
    """The validated arguments: the `equation` moves in time, its force is a given
    drift.
    """

    equation: FokkerPlanck
    exact: bool
    split: bool
    strength: float
    total: float
    grid: Grid
    tol: float


class _Run(NamedTuple):
    """(E w)^2 / E w^2, KL(p | π_T), E w Z_0 / Z_T, and the density p `(*shape)`."""

    effective: float
    kl: float
    mean: float
    density: np.ndarray


def _check(
    path: PotentialPath,
    schedule: Clock,
    drift: Formula | str | None,
    strength: Real,
    grid: Any,
    diffusion: Scalar,
    tol: Real,
) -> _Request:
    """The request of these arguments, or a `ValueError`."""
    if not callable(path):
        raise_value_error(
            "path",
            path,
            "it must be callable, lambda -> potential",
            "Give fp.Mix(start, end) or a function.",
        )
    if not (drift is None or drift == EXACT or callable(drift)):
        cure = "Give lambda x, t: 0 * x, say, or 'exact', or None."
        raise_value_error(
            "drift", drift, "it must be a function of x and t, 'exact' or None", cure
        )
    strength = check_finite_number(
        "strength", strength, "Give 1.0 for the drift as it is."
    )
    if not 0 < check_finite_number("tol", tol) < 1:
        raise_value_error("tol", tol, "it must be between 0 and 1", "Give 1e-6, say.")
    total = check_schedule(schedule)
    if grid is None:
        grid = path_grid(path, diffusion, CONSTANTS.learn_grid_tol)
    read, schedule = read_path(path, grid.ndim), read_schedule(schedule)
    force = None
    if callable(drift):
        force = lambda x, t: strength * jnp.asarray(drift(x, t))
    equation = FokkerPlanck(Driven(read, schedule), diffusion)
    if callable(equation.diffusion) or np.ndim(equation.diffusion):
        raise_value_error(
            "diffusion",
            diffusion,
            "Gibbs densities need one number",
            "Give D, a number above zero.",
        )
    if not is_concrete(equation, total):
        raise_value_error(
            "path",
            "traced",
            "the number of steps is chosen by values",
            "Call it outside of jit.",
        )
    equation, grid = check_transportable(equation, grid)
    check_path(path, FokkerPlanck(Driven(read, Identity()), diffusion), grid)
    if force is not None:
        from ..plan.validation import check_equation

        driven, _ = check_equation(
            FokkerPlanck(Driven(read, schedule), diffusion, force=force), grid
        )
        equation = driven
    return _Request(
        equation,
        drift == EXACT,
        drift is None,
        strength,
        float(total),
        grid,
        float(tol),
    )


def _run(request: _Request, count: int) -> _Run:
    """The sampler in `count` steps by the midpoint rule, in batches of one size, for
    one program.
    """
    grid, total = request.grid, request.total
    middles = (np.arange(count) + 0.5) / count * total
    # Without a drift log π changes between the steps, from middle to middle, else
    # during each.
    inner = middles if request.split else np.arange(1, count) / count * total
    log_gibbs = in_batches(
        lambda part: log_gibbs_at(request.equation, grid, part),
        np.concatenate([[0.0], inner, [total]]),
    )
    changes = np.diff(log_gibbs, axis=0)
    powers = np.arange(3.0).reshape(-1, *[1] * grid.ndim)
    first = powers * changes[0] if request.split else 0 * powers
    changes = changes[1:] if request.split else changes
    rows = jnp.asarray(np.exp(log_gibbs[0] + first))
    strength, length = as_array(request.strength), as_array(total / count)
    for k in range(0, count, CONSTANTS.stairs_batch):
        part = slice(k, k + CONSTANTS.stairs_batch)
        sampled = _sample(request.equation, grid, middles[part])
        flow = (
            _velocities(grid, sampled.log_sqrt_pi, sampled.rate)
            if request.exact
            else None
        )
        rows = _propagate(
            sampled, flow, rows, changes[part], strength, length, grid, request.split
        )
    weights = np.asarray(grid.weights)
    density, first, second = np.asarray(rows)
    first, second = np.sum(weights * first), np.sum(weights * second)
    kl = relative_entropy(density, log_gibbs[-1], grid, np)
    return _Run(float(first**2 / second), float(kl), float(first), density)


class _Sampled(NamedTuple):
    """The samples of the scheme, log sqrt(π) and d_t log π at the middles of K steps."""

    samples: Samples
    log_sqrt_pi: Array
    rate: Array


@sampling_program
def _sample(equation: FokkerPlanck, grid: Grid, middles: AnyArray) -> _Sampled:
    middles = jnp.asarray(middles)
    samples = jax.lax.map(lambda t: SCHEME.sample(equation, grid, t, False), middles)
    log_sqrt_pi, rate = jax.lax.map(
        lambda t: log_sqrt_pi_and_rate(equation, grid, t), middles
    )
    return _Sampled(samples, log_sqrt_pi, rate)


@shape_program
def _velocities(grid: Grid, log_sqrt_pi: Array, rate: Array) -> tuple[Array, ...]:
    """The exact drift on the faces of each axis at all middles."""
    return jax.lax.map(lambda given: face_velocity(grid, *given), (log_sqrt_pi, rate))


@shape_program
def _propagate(
    sampled: _Sampled,
    flow: tuple[Array, ...] | None,
    rows: Array,
    changes: Array,
    strength: Array,
    length: Array,
    grid: Grid,
    split: bool,
) -> Array:
    """g_0, g_1 and g_2 `(3, *shape)` after some steps; `split` changes log π after the
    exponential of each.
    """
    powers = jnp.arange(3.0).reshape(-1, *[1] * grid.ndim)

    def step(
        rows: Array, given: tuple[_Sampled, tuple[Array, ...] | None, Array]
    ) -> tuple[Array, None]:
        (samples, log_sqrt_pi, _), velocity, change = given
        operator = SCHEME.assemble(samples, grid, rows.dtype)
        if velocity is not None:
            operator = _with_flow(
                operator, log_sqrt_pi, [strength * v for v in velocity]
            )
        gain = _gain(operator, log_sqrt_pi)
        if not split:
            gain = gain + change / length
        # Relative to its largest value the gain is a loss, so that the terms of a
        # Poisson sum do not grow.
        most = jnp.max(gain)

        def heat(u: Array, power: float) -> Array:
            # n times the gain as a part of the operator.
            raised = EdgeOperator(
                grid, operator.up, operator.down, power * (most - gain), None
            )
            prepared = HEAT.prepare(raised, Picture.DENSITY)
            after = HEAT.apply(prepared, u, length[None], jnp.zeros(()), 0.0).field[0]
            return after * jnp.exp(power * most * length)

        rows = jnp.stack([heat(rows[n], float(n)) for n in range(3)])
        return rows * jnp.exp(powers * change) if split else rows, None

    return jax.lax.scan(step, rows, (sampled, flow, jnp.asarray(changes)))[0]


def _with_flow(
    operator: EdgeOperator, log_sqrt_pi: Array, velocity: list[Array]
) -> EdgeOperator:
    """The rates with the flux v sqrt(π π_+) (r + r_+) / 2 besides, r = p / π.

    Where a rate would be negative, r is that of the node which the flow leaves
    (upwind), of order 1, at faces that are coarse for v. For p = π both are the flux of
    v exactly.
    """
    up, down = [], []
    for i, (axis, v) in enumerate(zip(operator.grid.axes, velocity, strict=True)):
        below, above = axis.face_neighbors(log_sqrt_pi, i)
        upward, downward = v * jnp.exp(above - below), v * jnp.exp(below - above)
        fine = (operator.up[i] + upward / 2 >= 0) & (
            operator.down[i] - downward / 2 >= 0
        )
        up.append(operator.up[i] + jnp.where(fine, upward / 2, jnp.maximum(upward, 0)))
        down.append(
            operator.down[i] - jnp.where(fine, downward / 2, jnp.minimum(downward, 0))
        )
    return EdgeOperator(operator.grid, tuple(up), tuple(down), None, None)


def _gain(operator: EdgeOperator, log_sqrt_pi: Array) -> Array:
    """c = -(L π) / π, `(*shape)`, in ratios of π at neighbours, which do not underflow."""
    # The conjugated operator on ones: its potential term is the rate of leaving less
    # that of arriving.
    return -conjugated(operator, 2 * log_sqrt_pi).generator(
        jnp.ones(operator.grid.shape, log_sqrt_pi.dtype)
    )


def _extrapolate(coarse: _Run, fine: _Run) -> dict[str, float]:
    """The limit of zero steps from K and 2K of them."""
    pairs = {name: (getattr(coarse, name), getattr(fine, name)) for name in NUMBERS}
    return {name: b + (b - a) / 3 for name, (a, b) in pairs.items()}


def _change(runs: list[_Run]) -> float:
    """The difference of two extrapolations of the effective sample size."""
    return abs(
        _extrapolate(*runs[1:])["effective"] - _extrapolate(*runs[:2])["effective"]
    )
