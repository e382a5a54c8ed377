"""Densities on one axis in smooth potentials: lines, walls, rings."""

import dataclasses
from typing import Any

import numpy as np

from . import drawing as draw
from .closed import Normal
from .drawing import Random, Unit
from .elements import Density
from .evolving import evolve_problem
from .problem import Problem
from .shapes import Shape, process

PLAIN = Unit()


def equation(shape: Shape, d: float, unit: Unit, force: float = 0.0) -> Any:
    """`fp.FokkerPlanck` in these units."""
    import jax.numpy as jnp

    import fpsolve as fp

    potential = unit.scaled(lambda x: shape.u(x[0], jnp), unit.diffusion)
    if not force:
        return fp.FokkerPlanck(potential, d * unit.diffusion)
    strength = np.array([force * unit.length / unit.time])
    return fp.FokkerPlanck(potential, d * unit.diffusion, lambda x: strength + 0 * x)


def gaussian(normal: Normal, unit: Unit) -> Any:
    """`fp.Gaussian` in these units."""
    import fpsolve as fp

    return fp.Gaussian(normal.mean * unit.length, normal.covariance * unit.length**2)


def axis(kind: str, window: tuple[float, float], n: int, unit: Unit = PLAIN) -> Any:
    """An axis of fpsolve over a window in these units."""
    import fpsolve as fp

    return getattr(fp, kind)(window[0] * unit.length, window[1] * unit.length, n)


def line(seed: int) -> Problem:
    """A smooth potential on a given grid: fine, coarse, too small, with a narrow start
    or one outside.
    """
    import fpsolve as fp

    rng = draw.random("line", seed)
    shape = draw.confining(rng)
    d = draw.diffusion(rng, shape)
    unit = Unit.draw(rng)
    trait = draw.pick(
        rng, "right", "right", "right", "small box", "narrow start", "start outside"
    )
    first = draw.start(rng, shape, d, "narrow" if trait == "narrow start" else "any")
    window = shape.window(d, 32.0, draw.around(first, reach=7.0))
    if trait == "small box":
        window = shape.window(d, draw.spread(rng, 1.0, 12.0))
    if trait == "start outside":
        size = window[1] - window[0]
        first = Normal(
            np.array([window[1] + rng.uniform(0.05, 0.2) * size]), first.covariance
        )
    n = draw.pick(rng, *draw.SIZES[1])
    ts = draw.times(rng)
    grid = fp.Grid(axis("Line", window, n, unit))
    # most of the start lies outside of the box
    outside = not window[0] < first.mean[0] < window[1]
    problem = _smooth(
        "line", seed, f"{trait}, n {n}{unit}", rng, shape, d, unit, first, ts, grid
    )
    return dataclasses.replace(problem, impossible=outside)


def line_fitted(seed: int) -> Problem:
    """The same on a grid that fpsolve fits."""
    rng = draw.random("line_fitted", seed)
    shape = draw.confining(rng)
    d = draw.diffusion(rng, shape)
    unit = Unit.draw(rng)
    first = draw.start(rng, shape, d)
    return _smooth(
        "line_fitted",
        seed,
        f"fitted{unit}",
        rng,
        shape,
        d,
        unit,
        first,
        draw.times(rng),
        None,
    )


def _smooth(
    kind: str,
    seed: int,
    title: str,
    rng: Random,
    shape: Shape,
    d: float,
    unit: Unit,
    first: Normal,
    ts: Any,
    grid: Any,
) -> Problem:
    window = shape.window(d, also=draw.around(first))

    def reference(level: int) -> list[Density]:
        one = process(shape, d, window, level, spike=draw.spike(first, d, ts[0]))
        return one.evolve(first, ts, draw.knots(first))

    return evolve_problem(
        kind,
        seed,
        title,
        equation=equation(shape, d, unit),
        initial=gaussian(first, unit),
        times=[t * unit.time for t in ts],
        reference=reference,
        grid=grid,
        tol=draw.pick(rng, 1e-4, 1e-6) if grid is None else None,
        scale=unit.length,
        smooth=grid is None,
    )


def walls(seed: int) -> Problem:
    """Between walls of each kind, in a smooth potential."""
    import fpsolve as fp

    rng = draw.random("walls", seed)
    kind = draw.pick(rng, "Reflecting", "Absorbing", "Legendre")
    unit = Unit.draw(rng)
    window = (0.0, rng.uniform(0.5, 3.0))
    d = draw.spread(rng, 0.1, 2.0)
    tilt, curve = rng.uniform(-4, 4) * d, rng.uniform(-3, 6) * d
    ripple = np.array([rng.uniform(0, 1.5) * d, rng.uniform(2, 9), rng.uniform(0, 6)])
    shape = Shape(np.array([curve, tilt, 0.0]), ripple)
    size = window[1]
    first = Normal(
        np.array([rng.uniform(0.2, 0.8) * size]),
        np.array([[(draw.spread(rng, 0.01, 0.3) * size) ** 2]]),
    )
    ts = [t * size**2 / d for t in draw.times(rng, 0.003, 1.0)]
    n = draw.pick(rng, 32, 48) if kind == "Legendre" else draw.pick(rng, 40, 96)
    closed = (kind == "Absorbing",) * 2

    def reference(level: int) -> list[Density]:
        one = process(
            shape, d, window, level, closed=closed, spike=draw.spike(first, d, ts[0])
        )
        return one.evolve(first, ts, draw.knots(first))

    return evolve_problem(
        "walls",
        seed,
        f"{kind} {n}{unit}",
        equation=equation(shape, d, unit),
        initial=gaussian(first, unit),
        times=[t * unit.time for t in ts],
        reference=reference,
        grid=fp.Grid(axis(kind, window, n, unit)),
        scale=unit.length,
        keeps=kind != "Absorbing",
    )


def ring(seed: int) -> Problem:
    """A periodic potential, with a constant force or without."""
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("ring", seed)
    unit = Unit.draw(rng)
    length = draw.pick(rng, 1.0, 2 * np.pi, 5.0)
    q = 2 * np.pi / length * rng.integers(1, 5)
    d = draw.spread(rng, 0.05, 2.0)
    shape = Shape(wave=np.array([draw.spread(rng, 0.2, 4.0) * d, q, rng.uniform(0, 6)]))
    force = 0.0 if rng.random() < 0.4 else rng.uniform(-4, 4) * d * q
    sharp = draw.spread(rng, 0.5, 60.0)
    place = rng.uniform(0, length)
    ts = [t * length**2 / d for t in draw.times(rng, 0.001, 0.5)]
    n = int(draw.pick(rng, 49, 64, 96))

    def initial(x: Any, xp: Any = np) -> Any:
        return xp.exp(
            xp.asarray([sharp])[0]
            * (xp.cos(2 * np.pi / length * (x - xp.asarray([place])[0])) - 1)
        )

    def reference(level: int) -> list[Density]:
        one = process(
            shape,
            d,
            (0.0, length),
            level,
            periodic=True,
            force=force,
            extra=(length / 4, length / 2),
        )
        return one.evolve(initial, ts)

    return evolve_problem(
        "ring",
        seed,
        f"n {n}, {'force' if force else 'no force'}{unit}",
        equation=equation(shape, d, unit, force),
        initial=unit.scaled(lambda x: initial(x[0], jnp), 1.0),
        times=[t * unit.time for t in ts],
        reference=reference,
        grid=fp.Grid(axis("Periodic", (0.0, length), n, unit)),
        scale=unit.length,
    )


KINDS = {"line": line, "line_fitted": line_fitted, "walls": walls, "ring": ring}
