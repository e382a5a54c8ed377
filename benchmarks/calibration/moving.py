"""Potentials that depend on time, and imaginary time."""

from typing import Any

import numpy as np

from . import drawing as draw
from .closed import Normal, driven_moments
from .drawing import Unit
from .elements import Density, Elements, Process, Waves, exponential
from .evolving import evolve_problem, same
from .lines import axis, gaussian
from .problem import Problem
from .shapes import LEVELS, Shape, mesh, process

DRIVES = ("smooth", "pulse", "smooth pulse", "steps", "pair")


def drive(trait: str, numbers: np.ndarray, t: Any, xp: Any = np) -> Any:
    """The centre of a trap at the time t."""
    a = xp.asarray(numbers)
    if trait == "smooth":
        return a[0] * xp.sin(a[1] * t + a[2])
    if trait == "pulse":
        return xp.where((t > a[1]) & (t < a[1] + a[2]), a[0], 0.0)
    if trait == "smooth pulse":
        return a[0] * xp.exp(-(((t - a[1]) / a[2]) ** 2) / 2)
    if trait == "steps":
        return xp.where(t > a[1], a[0], 0.0) - xp.where(
            t > a[1] + 3 * a[2], a[0] / 2, 0.0
        )
    return xp.where(t > a[1], a[0], 0.0) - xp.where(t > a[1] + a[2], 2 * a[0], 0.0)


def trap(seed: int) -> Problem:
    """A harmonic trap in one or two dimensions whose centre moves: smoothly, in pulses,
    in steps.
    """
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("trap", seed)
    trait = draw.pick(rng, *DRIVES)
    d = int(draw.pick(rng, 1, 1, 2))
    k, noise = draw.spread(rng, 0.3, 4.0), draw.spread(rng, 0.3, 2.0)
    ts = sorted([draw.spread(rng, 0.2, 3.0), draw.spread(rng, 1.0, 12.0)])
    at = rng.uniform(0.05, 0.9) * ts[1]
    length = ts[1] * draw.spread(rng, 3e-4, 0.1)
    size = rng.uniform(0.3, 2.5)
    if "pulse" in trait or trait == "pair":  # a kick of a size that is seen
        size = min(rng.uniform(0.3, 1.5) / (k * length), 400.0)
    omega = 2 * np.pi / ts[1] * draw.spread(rng, 0.3, 100.0)
    second = {"smooth": omega, "smooth pulse": at}.get(trait, at)
    third = rng.uniform(0, 6) if trait == "smooth" else length
    numbers = np.array([size, second, third])
    breaks = [at, at + length, at + 3 * length, at - 8 * length, at + 8 * length]
    width = np.sqrt(noise / k)
    first = Normal(
        np.full(d, rng.uniform(-1, 1) * width),
        rng.uniform(0.3, 1.5) * width**2 * np.eye(d),
    )

    def reference() -> list[Normal]:
        begun = (first.mean[0], first.covariance[0, 0])
        moved = driven_moments(
            lambda t: k,
            lambda t: float(drive(trait, numbers, t)),
            noise,
            begun,
            ts,
            breaks,
        )
        still = driven_moments(lambda t: k, lambda t: 0.0, noise, begun, ts)
        normals = []
        for row, rest in zip(moved, still, strict=True):
            mean = np.array([row[0], *[rest[0]] * (d - 1)])
            normals.append(Normal(mean, row[1] * np.eye(d)))
        return normals

    fitted = rng.random() < 0.35 and d == 1
    looks = sorted(
        {*np.linspace(0, ts[1], 11)[1:], *(b for b in breaks if 0 < b < ts[1])}
    )
    begun = (first.mean[0], 1.0)
    moved = driven_moments(
        lambda t: k,
        lambda t: float(drive(trait, numbers, t)),
        noise,
        begun,
        looks,
        breaks,
    )[:, 0]
    reach = 6.5 * width * 1.25
    ends = (
        min(first.mean[0], moved.min(), 0.0) - reach,
        max(first.mean[0], moved.max(), 0.0) + reach,
    )
    if trait == "smooth":
        ends = (-size - reach - abs(first.mean[0]), size + reach + abs(first.mean[0]))
    elif trait == "steps":
        ends = (-reach - abs(first.mean[0]), size + reach + abs(first.mean[0]))
    elif size > 3:
        ends = (ends[0] - 1.6, ends[1] + 1.6)
    rest = (-reach - abs(first.mean[0]), reach + abs(first.mean[0]))
    n = 64 if d == 2 else 96
    grid = None
    if not fitted:
        others = [axis("Line", rest, 40) for _ in range(1, d)]
        grid = fp.Grid(axis("Line", ends, n), *others)

    def energy(x: Any, t: Any) -> Any:
        a = jnp.asarray(np.array([k]))
        distance = x[0] - drive(trait, numbers, t, jnp)
        return a[0] * (distance**2 + jnp.sum(x[1:] ** 2)) / 2

    return evolve_problem(
        "trap",
        seed,
        f"{d}-D, {trait}, {'fitted' if fitted else f'n {n}'}",
        equation=fp.FokkerPlanck(energy, noise),
        initial=gaussian(first, Unit()),
        times=ts,
        reference=same(reference),
        grid=grid,
        tol=draw.pick(rng, 1e-4, 1e-6),
        closed=True,
    )


def switched(seed: int) -> Problem:
    """A potential on a line or on a ring that is switched on and off, or between two
    strengths: steps in time.
    """
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("switched", seed)
    periodic = rng.random() < 0.5
    d = draw.spread(rng, 0.2, 1.5)
    shape = draw.confining(rng)
    d = max(d, draw.diffusion(rng, shape))
    factor = rng.uniform(0.3, 2.5)
    end = draw.spread(rng, 0.5, 4.0)
    if periodic:
        shape = Shape(
            wave=np.array(
                [
                    rng.uniform(0.5, 3.0) * d,
                    2 * np.pi * rng.integers(1, 4),
                    rng.uniform(0, 6),
                ]
            )
        )
        factor = draw.pick(rng, 0.0, rng.uniform(-1, 2))
        end = draw.spread(rng, 0.02, 0.5)
    edges = np.sort(rng.uniform(0.05, 0.95, int(rng.integers(1, 4)))) * end
    other = Shape(
        shape.poly * factor,
        None if shape.wave is None else shape.wave * [factor, 1, 1],
        shape.soft * factor,
    )
    first = (
        Normal(np.array([0.5]), np.array([[0.05**2]]))
        if periodic
        else draw.start(rng, shape, d)
    )
    low, high = (shape, other) if factor < 1 else (other, shape)
    window = (0.0, 1.0) if periodic else low.window(d, also=draw.around(first))
    box = (0.0, 1.0) if periodic else low.window(d, 32.0, draw.around(first, reach=7.0))
    numbers = np.array([*edges])

    def strength(t: Any) -> Any:
        passed = jnp.sum(t > jnp.asarray(numbers))
        return jnp.where(passed % 2 == 0, 1.0, factor)

    def reference(level: int) -> list[Any]:
        ends = mesh(
            high, d, window, LEVELS[level][0], spike=draw.spike(first, d, end / 20)
        )
        runs = []
        for one in (shape, other):
            found = process(one, d, window, level, periodic=periodic)
            elements = Elements(ends, LEVELS[level][1], periodic)
            runs.append(Process(elements, found.w, found.k, found.b))
        masses = runs[0].elements.project(first, draw.knots(first))
        masses = masses / masses.sum()
        for i, (a, b) in enumerate(zip([0.0, *edges], [*edges, end], strict=True)):
            masses = exponential(-(b - a) * runs[i % 2].matrix, True) @ masses
        return [Density(runs[0], masses)]

    return evolve_problem(
        "switched",
        seed,
        f"{'ring' if periodic else 'line'}, {len(edges)} edges, factor {factor:.2g}",
        equation=fp.FokkerPlanck(lambda x, t: strength(t) * shape.u(x[0], jnp), d),
        initial=gaussian(first, Unit()),
        times=[end],
        reference=reference,
        grid=fp.Grid(
            axis("Periodic" if periodic else "Line", box, 64 if periodic else 96)
        ),
        tol=1e-6,
    )


def wave_window(
    shape: Shape, d: float, also: tuple[float, float], action: float = 26.0
) -> tuple[float, float]:
    """The ends at which slow waves of -D d_xx + V have decayed to exp(-action), and the
    places `also` lie.
    """
    x = np.linspace(-40, 40, 8001)
    v = shape.u(x)
    rate = np.sqrt(np.maximum(v - v.min() - 2, 0) / d) * (x[1] - x[0])
    bottom = int(np.argmin(v))
    right = x[bottom:][np.searchsorted(np.cumsum(rate[bottom:]), action)]
    left = x[bottom::-1][np.searchsorted(np.cumsum(rate[bottom::-1]), action)]
    return float(min(left, also[0])), float(max(right, also[1]))


def wick(seed: int) -> Problem:
    """exp(-t H) of a wave, between walls, on a ring or on a line; on a line also on a
    fitted grid.
    """
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("wick", seed)
    where = draw.pick(rng, "Line", "Line", "Periodic", "Absorbing")
    d = draw.spread(rng, 0.2, 1.5)
    unit = Unit.draw(rng)
    shape = draw.confining(rng)
    window = (0.0, rng.uniform(1.0, 3.0))
    if where != "Line":
        amplitude = rng.uniform(0.5, 10.0) * d
        shape = Shape(
            wave=np.array(
                [
                    amplitude,
                    2 * np.pi / window[1] * rng.integers(1, 4),
                    rng.uniform(0, 6),
                ]
            )
        )
        center = rng.uniform(0.3, 0.7) * window[1]
        width = draw.spread(rng, 0.02, 0.06) * window[1]
        ts = [t * window[1] ** 2 / d for t in draw.times(rng, 0.003, 0.3)]
    else:
        center = rng.uniform(-1.0, 1.0)
        width = draw.spread(rng, 0.1, 0.6)
        ts = draw.times(rng, 0.05, 4.0)
        window = wave_window(shape, d, (center - 8 * width, center + 8 * width))
    numbers = np.array([center, width])

    def initial(x: Any, xp: Any = np) -> Any:
        a = xp.asarray(numbers)
        return xp.exp(-(((x - a[0]) / a[1]) ** 2) / 2)

    def reference(level: int) -> list[Any]:
        count = int(30 * (1, 1.3)[level])
        ends = np.unique(
            np.concatenate(
                [
                    np.linspace(*window, count + 1),
                    np.clip(center + width * np.arange(-8, 9, 2), *window),
                ]
            )
        )
        closed = (where == "Absorbing",) * 2
        elements = Elements(ends, LEVELS[level][1], where == "Periodic", closed)
        return Waves(elements, d, shape.u).evolve(
            initial, ts, center + width * np.arange(-10, 11, 2)
        )

    fitted = where == "Line" and rng.random() < 0.4
    n = int(draw.pick(rng, 40, 64, 96))
    return evolve_problem(
        "wick",
        seed,
        f"{where}, {'fitted' if fitted else f'n {n}'}{unit}",
        equation=fp.Schrodinger(
            unit.scaled(lambda x: shape.u(x[0], jnp), 1 / unit.time), d * unit.diffusion
        ),
        initial=unit.scaled(lambda x: initial(x[0], jnp), 1.0),
        times=[t * unit.time for t in ts],
        reference=reference,
        grid=None if fitted else fp.Grid(axis(where, window, n, unit)),
        tol=1e-6 if fitted else None,
        scale=unit.length,
        keeps=False,
        density=False,
    )


KINDS = {"trap": trap, "switched": switched, "wick": wick}
