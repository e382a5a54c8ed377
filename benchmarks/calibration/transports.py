"""`fp.transport` of harmonic traps, against moments: the work, the free energy, and the
distance from equilibrium.
"""

from typing import Any

import numpy as np

from . import drawing as draw
from .closed import Normal, driven_moments
from .lines import axis
from .problem import Claim, Problem

SCHEDULES = ("linear", "smooth", "knots", "sigmoid")
NAMES = ("work", "free_energy", "tv")


def place(trait: str, total: float, numbers: np.ndarray, t: Any, xp: Any = np) -> Any:
    """Lambda at the time t, by numpy or jax.numpy."""
    u, a = t / total, xp.asarray(numbers)
    if trait == "linear":
        return u
    if trait == "smooth":
        return u**2 * (3 - 2 * u)
    if trait == "knots":
        return xp.interp(u, xp.linspace(0.0, 1.0, len(numbers)), a)
    raw = lambda u: 1 / (1 + xp.exp(-(u - a[0]) / a[1]))
    return (raw(u) - raw(0.0)) / (raw(1.0) - raw(0.0))


def transport(seed: int) -> Problem:
    """From one trap to another, moved and made stiffer, at several schedules."""
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("transport", seed)
    trait = draw.pick(rng, *SCHEDULES)
    total = draw.spread(rng, 0.3, 6.0)
    d = draw.spread(rng, 0.4, 1.5)
    k, q = draw.spread(rng, 0.5, 3.0), draw.spread(rng, 0.5, 3.0)
    a, b = 0.0, rng.uniform(-2.5, 2.5)
    numbers = np.zeros(2)
    if trait == "knots":
        numbers = np.concatenate(
            [[0.0], np.sort(rng.uniform(0, 1, int(rng.integers(3, 7)))), [1.0]]
        )
    if trait == "sigmoid":
        numbers = np.array([rng.uniform(0.3, 0.7), draw.spread(rng, 0.01, 0.2)])
    breaks = np.linspace(0, total, len(numbers))[1:-1] if trait == "knots" else []
    if trait == "sigmoid":  # so that the integrator does not step over it
        breaks = total * (numbers[0] + numbers[1] * np.linspace(-8, 8, 17))
    where = lambda t: float(place(trait, total, numbers, t))
    stiffness = lambda t: (1 - where(t)) * k + where(t) * q
    center = lambda t: ((1 - where(t)) * k * a + where(t) * q * b) / stiffness(t)

    def speed(t: float) -> float:
        h = 1e-5 * total * (numbers[1] if trait == "sigmoid" else 0.01)
        return (where(min(t + h, total)) - where(max(t - h, 0))) / (
            min(t + h, total) - max(t - h, 0)
        )

    if trait == "knots":  # constant between two knots
        slopes = np.diff(numbers) / np.diff(np.linspace(0, total, len(numbers)))
        speed = lambda t: float(
            slopes[min(int(t / total * len(slopes)), len(slopes) - 1)]
        )

    # E (U_1 - U_0) d lambda / dt
    power = lambda t, m, v: (
        (q * (v + (m - b) ** 2) - k * (v + (m - a) ** 2)) / 2 * speed(t)
    )
    stops = sorted([rng.uniform(0.3, 0.9) * total, total])

    def reference() -> np.ndarray:
        rows = []
        moments = driven_moments(stiffness, center, d, (a, d / k), stops, breaks, power)
        for t, (m, v, work) in zip(stops, moments, strict=True):
            s, c, lam = stiffness(t), center(t), where(t)
            # minima of the mixed potential, and the logarithm of the widths
            lowest = (1 - lam) * k * (c - a) ** 2 / 2 + lam * q * (c - b) ** 2 / 2
            free = lowest + d / 2 * np.log(s / k)
            x = np.linspace(
                min(m, c) - 12 * np.sqrt(max(v, d / s)),
                max(m, c) + 12 * np.sqrt(max(v, d / s)),
                40001,
            )
            p = Normal(np.array([m]), np.array([[v]]))
            r = Normal(np.array([c]), np.array([[d / s]]))
            rows.append([work, free, np.sum(np.abs(p(x) - r(x))) * (x[1] - x[0]) / 2])
        return np.array(rows).ravel()

    lowest_k = min(k, q)
    reach = 7.0 * np.sqrt(d / lowest_k)
    grid = fp.Grid(axis("Line", (min(a, b) - reach, max(a, b) + reach), 96))
    path = fp.Mix(fp.Harmonic(k, center=a), fp.Harmonic(q, center=b))
    plan = lambda t: place(trait, total, numbers, t, jnp)
    plan.total = total  # type: ignore[attr-defined]
    schedule = fp.schedule.linear(total) if trait == "linear" else plan

    def claim(found: Any) -> Claim:
        values = np.stack(
            [np.asarray(getattr(found, name), float) for name in NAMES], axis=-1
        ).ravel()
        errors, told = [], True
        for name in NAMES:
            given = own_error(found, name)
            told &= given is not None
            # without an error of its own, a number claims the tolerance of the run
            error = np.asarray(1e-8 if given is None else given, float)
            errors.append(np.broadcast_to(error, (2,)))
        return Claim(
            values,
            np.stack(errors, axis=-1).ravel(),
            getattr(found, "result", "successful"),
            told,
        )

    def compare(found: Any) -> tuple[np.ndarray, np.ndarray]:
        right = reference()
        values = claim(found).values
        return np.abs(values - right), np.full(right.shape, 1e-9) + 1e-9 * np.abs(right)

    return Problem(
        kind="transport",
        seed=seed,
        title=f"{trait}, total {total:.2g}",
        tol=1e-8,
        ask=lambda: fp.transport(path, schedule, grid=grid, diffusion=d, times=stops),
        claim=claim,
        compare=compare,
        show=lambda found: (
            f"{NAMES} at two times: {claim(found).values}\n right: {reference()}"
        ),
    )


def own_error(found: Any, name: str) -> Any:
    """The error that a result gives beside one of its numbers, or None."""
    errors = getattr(found, "errors", None)
    if isinstance(errors, dict) and name in errors:
        return errors[name]
    # a total variation is as uncertain as the density in L1
    return getattr(found, f"{name}_error", found.error if name == "tv" else None)


KINDS = {"transport": transport}
