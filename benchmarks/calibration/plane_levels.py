"""Spectra in the plane and in space, and complex rates."""

from typing import Any

import numpy as np

from . import drawing as draw
from .closed import sums, sums_of_levels
from .levels import K, levels_problem
from .lines import PLAIN, axis, equation
from .problem import Problem
from .shapes import Shape, process, rates


def plane_levels(seed: int) -> Problem:
    """Rates in the plane and in space: sums in turned axes, and linear drifts; given or
    fitted.
    """
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("plane_levels", seed)
    dims = int(draw.pick(rng, 2, 2, 3))
    shapes = [draw.confining(rng) for _ in range(dims)]
    d = max(draw.diffusion(rng, s, 10.0) for s in shapes)
    turn = draw.rotation(rng, dims) if rng.random() < 0.5 else np.eye(dims)
    fitted = rng.random() < 0.4
    n = int(draw.pick(rng, *draw.SIZES[dims]))
    values = np.array(turn)
    ends = np.array([s.window(d, 32.0) for s in shapes])
    radius = np.abs(turn) @ np.abs(ends).max(axis=1)

    def energy(x: Any) -> Any:
        y = x @ jnp.asarray(values)
        return sum(s.u(y[i], jnp) for i, s in enumerate(shapes))

    def reference(level: int) -> np.ndarray:
        return sums_of_levels(
            [rates(s, d, s.window(d, 70.0), 8, level) for s in shapes], 6
        )

    return levels_problem(
        "plane_levels",
        seed,
        f"{dims}-D, {'fitted' if fitted else f'n {n}'}",
        equation=fp.FokkerPlanck(energy, d),
        reference=reference,
        grid=None if fitted else fp.Grid(*(axis("Line", (-r, r), n) for r in radius)),
        k=6,
        tol=draw.pick(rng, 1e-4, 1e-6) if fitted else None,
        rounding=1e-12,
        smooth=fitted,
        stationary=True,
    )


def irreversible(seed: int) -> Problem:
    """Complex rates: linear drifts that turn, and rings with a force."""
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("irreversible", seed)
    if rng.random() < 0.5:
        stiffness, curl = draw.spread(rng, 0.3, 3.0), draw.spread(rng, 0.1, 8.0)
        d = draw.spread(rng, 0.2, 2.0)
        n = int(draw.pick(rng, 16, 24, 32))
        matrix = np.array(
            [
                [stiffness, curl],
                [-curl * draw.pick(rng, 1.0, 0.5), stiffness * rng.uniform(1, 2)],
            ]
        )
        exact = sums(np.linalg.eigvals(matrix), 24)
        radius = rng.uniform(4.5, 7.0) * np.sqrt(d / stiffness)
        return levels_problem(
            "irreversible",
            seed,
            f"linear, turning {curl:.2g}, n {n}",
            equation=fp.FokkerPlanck(None, d, lambda x: -jnp.asarray(matrix) @ x),
            reference=lambda level: exact,
            grid=fp.Grid(*[axis("Line", (-radius, radius), n)] * 2),
            k=6,
        )
    d = draw.spread(rng, 0.1, 1.0)
    q = 2 * np.pi * int(rng.integers(1, 4))
    shape = Shape(wave=np.array([draw.spread(rng, 0.3, 4.0) * d, q, rng.uniform(0, 6)]))
    force = rng.uniform(-4, 4) * d * q
    n = int(draw.pick(rng, 49, 64, 96))
    return levels_problem(
        "irreversible",
        seed,
        f"ring, n {n}",
        equation=equation(shape, d, PLAIN, force),
        reference=lambda level: process(
            shape, d, (0.0, 1.0), level, periodic=True, force=force
        ).levels(3 * K),
        grid=fp.Grid(axis("Periodic", (0.0, 1.0), n)),
        rounding=1e-10,
    )


KINDS = {"plane_levels": plane_levels, "irreversible": irreversible}
