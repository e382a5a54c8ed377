"""Particles beside a wave: they follow its velocities, and have its density at all
times.

    dX = (v + (e/D) u) dt + sqrt(2 e) dW
    v = 2 D Im(grad psi / psi),      u = 2 D Re(grad psi / psi)

e = 0 is the reading of the wave as a flow model (an ordinary differential equation,
Bohm's trajectories), e = D is Nelson's diffusion. Between the nodes psi is the sum of
its waves, between the output times a cubic through four times.

References: Nelson, Phys. Rev. 150 (1966) 1079; Foster, dos Reis and Strange, SIAM J.
Numer. Anal. 62 (2024), for the method with noise; theorem T26 of this library.
"""

from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array

from ..core.checks import (
    check_finite_number,
    check_integer,
    check_numbers,
    raise_value_error,
)
from ..core.program import compiled
from ..core.types import Count, Key, Numbers, Real, Scalar
from ..equation import Schrodinger
from ..grid import Grid
from ..solve.solution import Solution
from .constants import CONSTANTS


class WavePath(eqx.Module):
    """A wave at all times: its Fourier coefficients at the output times `(T,)`, as real
    and imaginary parts `(T, 2, *shape)`, since diffrax takes real numbers only.
    """

    coefficients: Array
    times: Array
    floor: Array
    grid: Grid = eqx.field(static=True)

    def at(self, t: Array) -> Array:
        """The coefficients at time t, `(*shape)`: a cubic through four times."""
        count = CONSTANTS.time_nodes
        last = len(self.times) - count
        first = jnp.searchsorted(self.times, t) - count // 2
        # Near the ends the four times are on one side more than on the other.
        first = jnp.clip(first, 0, last)
        nodes = jax.lax.dynamic_slice(self.times, (first,), (count,))
        # Lagrange's polynomials at t: each is a product over the other nodes.
        own = jnp.eye(count, dtype=bool)
        # The diagonal is not used; ones there keep the division finite.
        differences = nodes[:, None] - nodes + own.astype(nodes.dtype)
        factors = jnp.where(own, 1, (t - nodes) / differences)
        weights = jnp.prod(factors, axis=1)
        held = jax.lax.dynamic_slice_in_dim(self.coefficients, first, count)
        real, imaginary = jnp.tensordot(weights.astype(held.dtype), held, 1)
        return jax.lax.complex(real, imaginary)

    def ratio(self, coefficients: Array, x: Array) -> Array:
        """grad psi / psi at x `(d,)`, complex; psi is divided by its error where it is
        smaller than that.
        """
        rows: list[Array] = []
        slopes: list[Array] = []
        for i, axis in enumerate(self.grid.axes):
            lowest = 2 * np.pi / axis.length
            row = _plane_waves(axis.n, lowest * (x[i] - axis.nodes[0]))
            rows.append(row)
            wavenumbers = lowest * np.fft.fftfreq(axis.n, 1 / axis.n)
            slopes.append(1j * jnp.asarray(wavenumbers, x.dtype) * row)
        value = _contract(coefficients, rows)
        # Each derivative takes the slopes of its own axis and the values of the others.
        gradient = []
        for i, slope in enumerate(slopes):
            mixed = rows.copy()
            mixed[i] = slope
            gradient.append(_contract(coefficients, mixed))
        # Particles are carried away from nodes, where the current is large, but a long
        # step may come near one.
        divisor = jnp.maximum(jnp.abs(value), self.floor) ** 2
        return jnp.stack(gradient) * jnp.conj(value) / divisor


def particles(
    solution: Solution,
    start: Numbers,
    *,
    noise: Real = 0.0,
    steps: Count | None = None,
    key: Key | None = None,
) -> Array:
    """Particles that follow a wave, at its output times, from samples of its density at
    the first of them.

    **Arguments**

    - `solution`: of an `fp.Schrodinger` at `wick=pi/2` on axes of `fp.Line` and
      `fp.Periodic`, at four times or more, which must resolve the phase of psi: the
      wave is a cubic between them
    - `start`: `(n, d)`, samples of |psi|^2 at the first time; `noise`: e, 0 for the
      flow, D for Nelson's diffusion; `key`: of the noise; `steps`: between two output
      times, 2 if None

    **Returns** `(T, n, d)`. **Raises** `ValueError` for another equation, too few times
    or samples of another shape; `ImportError` with noise and without diffrax (the extra
    `sde`). **Keeps**: nothing exactly; compare the histogram with the density
    (`fpsolve.diffusion.particles.pearson`). **Cost**: a sum of all waves for each
    particle and stage.

    ```python
    import jax, jax.numpy as jnp
    import fpsolve as fp

    grid = fp.Grid(fp.Line(-10.0, 10.0, 64))
    free = fp.Schrodinger(lambda x: 0.0)
    packet = jnp.exp(-(grid.nodes[0] ** 2) / 4).astype(complex)
    run = fp.evolve(free, packet, jnp.linspace(0.0, 1.0, 9), grid=grid, wick=jnp.pi / 2)
    paths = fp.flow.particles(run, jax.random.normal(jax.random.key(0), (100, 1)))
    ```
    """
    equation = solution.equation
    if not isinstance(equation, Schrodinger):
        allowed = "particles follow the wave of an fp.Schrodinger"
        raise_value_error(
            "solution.equation", equation, allowed, "Evolve one with wick=math.pi / 2."
        )
    if not jnp.iscomplexobj(solution.values):
        allowed = "they are of imaginary time, in which a wave has no velocity"
        raise_value_error(
            "solution.values",
            solution.values,
            allowed,
            "Evolve it with wick=math.pi / 2.",
        )
    for axis in solution.grid.axes:
        if axis.modes != "fourier":
            raise_value_error(
                "solution.grid",
                axis,
                "waves are summed on Fourier axes",
                "Use fp.Line or fp.Periodic.",
            )
    if len(solution.times) < CONSTANTS.time_nodes:
        allowed = f"a cubic in time takes {CONSTANTS.time_nodes} of them"
        raise_value_error(
            "solution.times",
            len(solution.times),
            allowed,
            "Evolve to more output times.",
        )
    noise = check_finite_number("noise", noise)
    if noise < 0:
        raise_value_error(
            "noise", noise, "it must be at least zero", "Give 0, or D of the equation."
        )
    if noise > 0 and key is None:
        raise_value_error(
            "key",
            None,
            "particles with noise are random",
            "Give jax.random.key(0), say.",
        )
    # The wave between two output times is a cubic: a few steps are as accurate.
    count = CONSTANTS.particle_steps
    if steps is not None:
        count = check_integer("steps", steps, 1, "Give 2, say.")
    ndim = solution.grid.ndim
    positions = _check_start(start, ndim)
    path = _path_of(solution)
    diffusion = jnp.asarray(equation.diffusion, positions.dtype)
    diffusion = jnp.broadcast_to(diffusion, (ndim,))
    if noise == 0:
        return _follow(path, diffusion, positions, count)
    try:
        # Imported late: diffrax is an optional dependency.
        import diffrax
    except ImportError as missing:
        raise ImportError(
            f'Noise needs {missing.name}: pip install "fpsolve[sde]"', name=missing.name
        ) from missing
    return _diffuse(diffrax, path, diffusion, positions, jnp.asarray(noise), count, key)


def _path_of(solution: Solution) -> WavePath:
    """The waves of a solution as sums of plane waves about the first node."""
    grid = solution.grid
    values = jnp.asarray(solution.values)
    axes = tuple(range(1, values.ndim))
    coefficients = jnp.fft.fftn(values.astype(complex), axes=axes) / grid.size
    # Where psi is smaller than its error its velocity is unknown, and is kept finite.
    error = np.nan_to_num(np.max(np.asarray(solution.error)))
    rounding = CONSTANTS.wave_roundings * jnp.finfo(float).eps
    floor = jnp.max(jnp.abs(values)) * (error + rounding)
    # diffrax refuses complex numbers in what its equations depend on.
    parts = jnp.stack([coefficients.real, coefficients.imag], axis=1)
    return WavePath(parts, jnp.asarray(solution.times), floor, grid)


def _plane_waves(n: int, phase: Array) -> Array:
    """e^{i k phase} `(n,)` for the n wavenumbers of a discrete transform."""
    # Waves of opposite k are conjugate: half of the exponentials are enough.
    phases = phase * jnp.arange(n // 2 + 1, dtype=phase.dtype)
    waves = jax.lax.complex(jnp.cos(phases), jnp.sin(phases))
    positive = waves[: (n + 1) // 2]
    negative = jnp.conj(jnp.flip(waves[1 : n // 2 + 1]))
    return jnp.concatenate([positive, negative])


def _contract(coefficients: Array, rows: list[Array]) -> Array:
    """The sum of coefficients `(*shape)` times one row `(n_i,)` for each axis."""
    # The last axis first: a product takes the last axis of what is left.
    for row in reversed(rows):
        coefficients = coefficients @ row
    return coefficients


def _check_start(start: Numbers, ndim: int) -> Array:
    """Samples `(n, d)`."""
    cure = f"Give samples of |psi|^2 at the first time, shape (n, {ndim})."
    array = check_numbers("start", start, "it must hold real numbers", cure)
    if array.ndim != 2 or array.shape[1] != ndim:
        raise_value_error("start.shape", array.shape, f"it must be (n, {ndim})", cure)
    if not np.all(np.isfinite(array)):
        raise_value_error(
            "start", "NaN or infinity", "every sample must be finite", cure
        )
    return jnp.asarray(array, float)


def _velocity(
    path: WavePath, diffusion: Array, noise: Scalar, t: Array, positions: Array
) -> Array:
    """v + (e/D) u at positions `(n, d)`."""
    coefficients = path.at(t)
    ratio = jax.vmap(lambda x: path.ratio(coefficients, x))(positions)
    return 2 * diffusion * ratio.imag + 2 * noise * ratio.real


@compiled
def _follow(path: WavePath, diffusion: Array, start: Array, steps: int) -> Array:
    """The particles of the flow at the output times, `(T, n, d)`, by `steps` steps of
    the classical Runge-Kutta method between two of them.
    """

    def speed(t: Array, x: Array) -> Array:
        return _velocity(path, diffusion, 0.0, t, x)

    def step(k: Array, now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        t, h, x = now
        first = speed(t, x)
        second = speed(t + h / 2, x + h / 2 * first)
        third = speed(t + h / 2, x + h / 2 * second)
        fourth = speed(t + h, x + h * third)
        return t + h, h, x + h / 6 * (first + 2 * second + 2 * third + fourth)

    def interval(x: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        begin, length = ends
        state = (begin, length / steps, x)
        x = jax.lax.fori_loop(0, steps, step, state)[2]
        return x, x

    intervals = (path.times[:-1], jnp.diff(path.times))
    _, later = jax.lax.scan(interval, start, intervals)
    return jnp.concatenate([start[None], later])


@compiled
def _diffuse(
    diffrax: ModuleType,
    path: WavePath,
    diffusion: Array,
    start: Array,
    noise: Array,
    steps: int,
    key: Any,
) -> Array:
    """The particles with noise at the output times, `(T, n, d)`, by `steps` steps of
    diffrax between two of them.
    """
    times = path.times
    lengths = jnp.diff(times)
    inner = times[:-1, None] + lengths[:, None] * jnp.arange(steps) / steps
    places = jnp.append(inner.ravel(), times[-1])
    # Steps are fixed and never rejected, so that the Brownian path need not be stored.
    shape = jax.ShapeDtypeStruct(start.shape, start.dtype)
    area = diffrax.SpaceTimeLevyArea
    brownian = diffrax.UnsafeBrownianPath(shape, key, levy_area=area)

    def velocity(t: Array, y: Array, path: WavePath) -> Array:
        return _velocity(path, diffusion, noise, t, y)

    def spread(t: Array, y: Array, path: WavePath) -> lx.DiagonalLinearOperator:
        return lx.DiagonalLinearOperator(jnp.broadcast_to(jnp.sqrt(2 * noise), y.shape))

    drift = diffrax.ODETerm(velocity)
    solution = diffrax.diffeqsolve(
        diffrax.MultiTerm(drift, diffrax.ControlTerm(spread, brownian)),
        diffrax.ShARK(),
        times[0],
        times[-1],
        None,
        start,
        path,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.StepTo(places),
        adjoint=diffrax.ForwardMode(),
        max_steps=len(places),
    )
    return solution.ys
