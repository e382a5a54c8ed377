"""Densities on one axis where something is not smooth or not wide: jumps, kinks, D(x),
narrow features.
"""

from typing import Any

import numpy as np

from . import drawing as draw
from .closed import Normal
from .elements import Density, Elements, Process
from .evolving import evolve_problem
from .lines import PLAIN, axis, equation, gaussian
from .problem import Problem
from .shapes import Shape, mesh, process


def jumps(seed: int) -> Problem:
    """Steps or kinks of U, on a ring with a force, between walls or on a line."""
    import fpsolve as fp

    rng = draw.random("jumps", seed)
    where = draw.pick(rng, "Periodic", "Reflecting", "Line")
    d = draw.spread(rng, 0.2, 2.0)
    n = int(draw.pick(rng, 64, 96))
    window = (-4.0, 4.0) if where == "Line" else (0.0, 1.0)
    places = np.sort(
        rng.uniform(window[0] * 0.4 + 0.1, window[1] * 0.4 + 0.5 * (where != "Line"), 2)
    )
    trait = draw.pick(rng, "steps", "kinks")
    base = (
        np.array([rng.uniform(0.8, 3.0) * d, 0.0, 0.0])
        if where == "Line"
        else np.zeros(1)
    )
    size = rng.uniform(-3, 3) * d
    rows = np.array([[places[0], size], [places[1], -size]])
    slope = rng.uniform(1.0, 6.0) * d / (window[1] - window[0])
    kinked = np.array([[places[0], slope], [places[1], -slope]])
    # |x - a| - |x - b| changes by 2 slope (b - a) over the ring: a step at the seam
    # undoes it
    if where == "Periodic":
        kinked = np.array([[places[0], slope]])
    shape = Shape(base, steps=rows) if trait == "steps" else Shape(base, kinks=kinked)
    # a sawtooth: up to the place, and down again
    if where == "Periodic" and trait == "kinks":
        up, down = slope / places[0], slope / (1 - places[0])
        shape = Shape(
            np.array([(up - down) / 2, 0.0]),
            kinks=np.array([[places[0], -(up + down) / 2]]),
        )
    force = rng.uniform(-3, 3) * d if where == "Periodic" else 0.0
    middle = (window[0] + window[1]) / 2 + rng.uniform(-0.1, 0.1) * (
        window[1] - window[0]
    )
    first = Normal(
        np.array([middle]), np.array([[(0.05 * (window[1] - window[0])) ** 2]])
    )
    ts = [
        t * (1.0 if where != "Line" else 10.0) / d for t in draw.times(rng, 0.005, 0.5)
    ]

    def reference(level: int) -> list[Density]:
        near = draw.spike(first, d, ts[0])
        one = process(
            shape,
            d,
            window,
            level,
            periodic=where == "Periodic",
            force=force,
            spike=near,
        )
        return one.evolve(first, ts, draw.knots(first))

    return evolve_problem(
        "jumps",
        seed,
        f"{where} {n}, {trait}, {'force' if force else 'no force'}",
        equation=equation(shape, d, PLAIN, force),
        initial=gaussian(first, PLAIN),
        times=ts,
        reference=reference,
        grid=fp.Grid(axis(where, window, n)),
    )


def diffusions(seed: int) -> Problem:
    """D(x), smooth or with a jump, in the flux form or that of Itô, between walls."""
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("diffusions", seed)
    form, trait = draw.pick(rng, "flux", "Itô"), draw.pick(rng, "smooth", "jump")
    length = rng.uniform(0.8, 3.0)
    n = int(draw.pick(rng, 64, 96))
    low = draw.spread(rng, 0.2, 1.0)
    high = draw.spread(rng, 0.3, 3.0)
    place = rng.uniform(0.3, 0.7) * length
    shape = Shape(np.array([rng.uniform(-1, 3), rng.uniform(-2, 2), 0.0]))
    numbers = np.array([low, high, place, 0.15 * length])

    def diffusion(x: Any, xp: Any = np) -> Any:
        a = xp.asarray(numbers)
        if trait == "jump":
            return xp.where(x < a[2], a[0], a[1])
        return a[0] + (a[1] - a[0]) * (1 + xp.tanh((x - a[2]) / a[3])) / 2

    first = Normal(
        np.array([rng.uniform(0.3, 0.7) * length]), np.array([[(0.06 * length) ** 2]])
    )
    ts = [t * length**2 / max(low, high) for t in draw.times(rng, 0.005, 1.0)]

    def reference(level: int) -> list[Density]:
        ends = mesh(
            shape,
            min(low, high),
            (0.0, length),
            (2.5, 1.8)[level],
            (place,),
            draw.spike(first, max(low, high), ts[0]),
        )
        elements = Elements(ends, (10, 12)[level])
        if form == "flux":
            one = Process(elements, np.ones_like, diffusion, lambda x: -shape.du(x))
        else:  # w = 1/D: d_t p = d_x (d_x (D p) - b p)
            one = Process(
                elements,
                lambda x: 1 / diffusion(x),
                np.ones_like,
                lambda x: -shape.du(x) / diffusion(x),
            )
        return one.evolve(first, ts, draw.knots(first))

    slope = np.polyder(shape.poly)
    field = lambda x: jnp.asarray([-jnp.polyval(jnp.asarray(slope), x[0])])
    spatial = lambda x: diffusion(x[0], jnp)
    eq = (
        fp.FokkerPlanck(lambda x: shape.u(x[0], jnp), spatial)
        if form == "flux"
        else fp.FokkerPlanck.ito(field, spatial)
    )
    return evolve_problem(
        "diffusions",
        seed,
        f"{form}, {trait}, n {n}",
        equation=eq,
        initial=gaussian(first, PLAIN),
        times=ts,
        reference=reference,
        grid=fp.Grid(axis("Reflecting", (0.0, length), n)),
    )


def features(seed: int) -> Problem:
    """A narrow trap, a narrow barrier, or a small second peak of the start, fitted or
    on a given grid.
    """
    import fpsolve as fp

    rng = draw.random("features", seed)
    trait = draw.pick(rng, "trap", "barrier", "second peak")
    k = draw.spread(rng, 0.5, 2.0)
    place = rng.uniform(-1.5, 1.5)
    width = draw.spread(rng, 3e-4, 3e-2)
    bump = {
        "trap": -rng.uniform(3, 9),
        "barrier": rng.uniform(3, 9),
        "second peak": 0.0,
    }[trait]
    bumps = np.array([[bump, place, width]])
    shape = Shape(np.array([k / 2, 0.0, 0.0]), bumps=bumps if bump else None)
    share = draw.spread(rng, 0.003, 0.1) if trait == "second peak" else 0.0
    wide = rng.uniform(0.3, 0.6)
    narrow = draw.spread(rng, 0.01, 0.05)
    far = rng.uniform(1.5, 2.5)
    numbers = np.array([share, far, narrow, wide])

    def initial(x: Any, xp: Any = np) -> Any:
        a = xp.asarray(numbers)
        broad = (1 - a[0]) * xp.exp(-((x / a[3]) ** 2) / 2) / a[3]
        return (
            broad + a[0] * xp.exp(-(((x - a[1]) / a[2]) ** 2) / 2) / a[2]
        ) / np.sqrt(2 * np.pi)

    where = np.concatenate(
        [wide * np.arange(-10, 11, 2), far + narrow * np.arange(-10, 11, 2)]
    )
    ts = draw.times(rng, 0.1, 10.0)
    window = shape.window(1.0, also=(-8 * wide, 8 * wide, far + 1))
    fitted = rng.random() < 0.6

    def reference(level: int) -> list[Density]:
        extra = place + width * np.array([-6.0, -3.0, 0.0, 3.0, 6.0]) if bump else ()
        return process(shape, 1.0, window, level, extra=extra).evolve(
            initial, ts, where
        )

    import jax.numpy as jnp

    return evolve_problem(
        "features",
        seed,
        f"{trait}, {'fitted' if fitted else 'given'}",
        equation=equation(shape, 1.0, PLAIN),
        initial=lambda x: initial(x[0], jnp),
        times=ts,
        reference=reference,
        grid=None if fitted else fp.Grid(axis("Line", shape.window(1.0, 32.0), 96)),
        tol=1e-4 if fitted else None,
    )


KINDS = {"jumps": jumps, "diffusions": diffusions, "features": features}
