"""Spectra and gaps: of processes and waves on one axis, and of waves in the plane."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import drawing as draw
from .closed import gap_by_kernel, morse, poeschl_teller, sums_of_levels
from .drawing import Unit
from .elements import Elements, Waves
from .lines import axis, equation
from .moving import wave_window
from .problem import Claim, Problem
from .shapes import LEVELS, Shape, mesh, process, rates

CLOSED = 1e-13  # relative rounding of a closed form
K = 5  # levels


def levels_problem(
    kind: str,
    seed: int,
    title: str,
    *,
    equation: Any,
    reference: Callable[[int], np.ndarray],
    grid: Any = None,
    k: int = K,
    tol: float | None = None,
    rounding: float = 0.0,
    smooth: bool = False,
    stationary: bool = False,
) -> Problem:
    """`fp.spectrum` with default options against levels, `reference(0)` the coarser and
    `reference(1)` the finer.

    `rounding` is that of the reference beside the difference of both, in the units of
    the levels; `stationary` says that the lowest level is zero. Errors are absolute.
    """
    import fpsolve as fp

    options: dict[str, Any] = {} if tol is None else {"tol": tol}

    def compare(found: Any) -> tuple[np.ndarray, np.ndarray]:
        right, other = np.asarray(reference(1)), np.asarray(reference(0))
        values = np.asarray(found.values)
        if np.iscomplexobj(values) or np.iscomplexobj(right):
            right, other = matched(values, right), matched(values, other)
        count = min(len(values), len(right))
        values, right, other = values[:count], right[:count], other[:count]
        floor = rounding + CLOSED * np.abs(right).max()
        if stationary:
            # The lowest level is known to be zero: what the reference has there is its
            # rounding.
            floor = floor + 3 * np.abs(right[0])
            right = np.append(0, right[1:])
            other = np.append(0, other[1:])
        return np.abs(values - right), np.abs(right - other) + floor

    def claim(found: Any) -> Claim:
        return Claim(
            found.values,
            np.asarray(found.errors, float),
            getattr(found, "result", "successful"),
        )

    return Problem(
        kind=kind,
        seed=seed,
        title=title,
        tol=1e-10 if tol is None else tol,
        ask=lambda: fp.spectrum(equation, grid, k, **options),
        claim=claim,
        compare=compare,
        smooth=smooth,
        show=lambda s: (
            f"{s!r}\n values {np.asarray(s.values)}\n errors {np.asarray(s.errors)}\n "
            f"right  {reference(1)[:k]}"
        ),
    )


def matched(values: np.ndarray, right: np.ndarray) -> np.ndarray:
    """For each of the values the nearest of the right ones that no other value has
    taken, nearest pairs first.

    Conjugates have no order, nor have levels of one real part. `right` holds more
    levels than were asked for, since a coarse grid may damp a mode that turns fast so
    much that a later one takes its place.
    """
    found = np.full(len(values), np.nan, complex)
    left = list(range(len(right)))
    for i in np.argsort(np.abs(values[:, None] - right).min(axis=1)):
        nearest = min(left, key=lambda j: abs(values[i] - right[j]))
        found[i] = right[nearest]
        left.remove(nearest)
    return found


def process_levels(seed: int) -> Problem:
    """Rates of a smooth process on a line, given or fitted, between walls or on a ring;
    n may be too small.
    """
    import fpsolve as fp

    rng = draw.random("levels", seed)
    where = draw.pick(
        rng, "Line", "Line", "fitted", "Reflecting", "Absorbing", "Periodic"
    )
    shape = draw.confining(rng)
    unit = Unit.draw(rng)
    d = draw.diffusion(rng, shape, 20.0)
    window = shape.window(d, 70.0)
    box = shape.window(d, 34.0)
    kind: dict[str, Any] = {}
    if where not in ("Line", "fitted"):
        window = box = (0.0, 1.0)
        q = 2 * np.pi * int(rng.integers(1, 7))
        shape = Shape(
            wave=np.array([draw.spread(rng, 0.2, 6.0) * d, q, rng.uniform(0, 6)])
        )
        kind = {"periodic": where == "Periodic", "closed": (where == "Absorbing",) * 2}
    elif where == "Line" and rng.random() < 0.3:
        box = shape.window(d, draw.spread(rng, 2.0, 14.0))
    n = int(draw.pick(rng, *draw.SIZES[1]))

    def reference(level: int) -> np.ndarray:
        # walls: the wave's condition is not that of the density
        if where in ("Reflecting", "Absorbing"):
            found = process(shape, d, window, level, **kind).levels(K)
            return np.real(np.sort_complex(found)) / unit.time
        return rates(shape, d, window, K, level, **kind) / unit.time

    return levels_problem(
        "levels",
        seed,
        f"{where} {'' if where == 'fitted' else n}{unit}",
        equation=equation(shape, d, unit),
        reference=reference,
        grid=None if where == "fitted" else fp.Grid(axis(where, box, n, unit)),
        tol=draw.pick(rng, 1e-4, 1e-6, 1e-8) if where == "fitted" else None,
        rounding=1e-12 / unit.time,
        smooth=where == "fitted",
        stationary=where != "Absorbing",
    )


def wave_levels(seed: int) -> Problem:
    """Levels of -D d_xx + V: Morse, Poeschl-Teller, polynomials, two wells, in the
    plane too; given or fitted.
    """
    import jax.numpy as jnp

    import fpsolve as fp

    rng = draw.random("waves", seed)
    family = draw.pick(
        rng, "Morse", "Poeschl-Teller", "polynomial", "two wells", "plane"
    )
    unit = Unit.draw(rng)
    d = draw.spread(rng, 0.1, 2.0)
    fitted = rng.random() < 0.4
    n = int(draw.pick(rng, *draw.SIZES[1]))
    k = 4
    width = rng.uniform(0.5, 2.0)
    numbers, exact = np.zeros(2), None
    shapes: list[Shape] = []
    windows: list[tuple[float, float]] = []
    if family == "Morse":
        numbers = np.array([draw.spread(rng, 6.0, 80.0) * d / width**2, width])
        exact = morse(numbers[0], width, d)
        energy = lambda x: (
            jnp.asarray(numbers)[0]
            * (1 - jnp.exp(-x[0] / jnp.asarray(numbers)[1])) ** 2
        )
        window = (-2.2 * width, 16.0 * width)
    elif family == "Poeschl-Teller":
        order = rng.uniform(1.2, 6.0)
        numbers = np.array([d * order * (order + 1) / width**2, width])
        exact = poeschl_teller(order, width, d)
        energy = lambda x: (
            -jnp.asarray(numbers)[0] / jnp.cosh(x[0] / jnp.asarray(numbers)[1]) ** 2
        )
        window = (-16.0 * width, 16.0 * width)
    elif family == "plane":
        shapes = [draw.confining(rng), draw.confining(rng)]
        turn = draw.rotation(rng, 2) if rng.random() < 0.5 else np.eye(2)
        windows = [wave_window(s, d, (0.0, 0.0)) for s in shapes]
        numbers = np.array(turn)

        def energy(x: Any) -> Any:
            y = x @ jnp.asarray(numbers)
            return sum(s.u(y[i], jnp) for i, s in enumerate(shapes))

        radius = max(abs(np.ravel(windows)))
        window = (-radius, radius)
        n = int(draw.pick(rng, *draw.SIZES[2]))
        k = 6
    else:
        shape = draw.confining(rng)
        if family == "two wells":
            h = draw.spread(rng, 1.0, 12.0) * d
            a = rng.uniform(0.8, 2.0)
            shape = Shape(
                np.array(
                    [
                        h / a**4,
                        0.0,
                        -2 * h / a**2,
                        draw.pick(rng, 0.0, 1e-6, 0.05) * h,
                        h,
                    ]
                )
            )
        energy = lambda x: shape.u(x[0], jnp)
        shapes, windows = [shape], [wave_window(shape, d, (0.0, 0.0))]
        window = windows[0]

    def reference(level: int) -> np.ndarray:
        if exact is not None:
            return exact[:k] / unit.time
        parts = []
        for shape, one in zip(shapes, windows, strict=True):
            elements = Elements(np.linspace(*one, (31, 37)[level]), LEVELS[level][1])
            parts.append(Waves(elements, d, shape.u).levels(2 * k))
        return sums_of_levels(parts, k) / unit.time

    if exact is not None:
        k = min(k, len(exact))
    axes = [axis("Line", window, n, unit)] * (2 if family == "plane" else 1)
    return levels_problem(
        "waves",
        seed,
        f"{family}, {'fitted' if fitted else f'n {n}'}{unit}",
        equation=fp.Schrodinger(unit.scaled(energy, 1 / unit.time), d * unit.diffusion),
        reference=reference,
        grid=None if fitted else fp.Grid(*axes),
        k=k,
        tol=draw.pick(rng, 1e-4, 1e-6, 1e-8) if fitted else None,
        rounding=1e-11 / unit.time,
        smooth=fitted and exact is None,
    )


def gap(seed: int) -> Problem:
    """`fp.spectral_gap` of two wells, also of exponentially small gaps, against
    integrals of positive functions.
    """
    import fpsolve as fp

    rng = draw.random("gap", seed)
    unit = Unit.draw(rng)
    d = draw.spread(rng, 0.1, 2.0)
    h = draw.spread(rng, 1.0, 30.0) * d
    a = rng.uniform(0.6, 2.0)
    shape = Shape(
        np.array([h / a**4, 0.0, -2 * h / a**2, rng.uniform(-0.3, 0.3) * h, h])
    )
    fitted = rng.random() < 0.4
    n = int(draw.pick(rng, *draw.SIZES[1]))

    def compare(found: Any) -> tuple[np.ndarray, np.ndarray]:
        values = []
        for budget, order in LEVELS:
            ends = mesh(shape, d, shape.window(d, 70.0), budget / 3)
            values.append(
                gap_by_kernel(Elements(ends, order), lambda x: -shape.u(x) / d, d)
                / unit.time
            )
        true = abs(float(found) - values[1]) / values[1]
        return np.array([true]), np.array(
            [abs(values[1] - values[0]) / values[1] + 1e-11]
        )

    def claim(found: Any) -> Claim:
        # a bare number has no error of its own: it claims the error above which the
        # function warns
        return Claim(float(found), np.array([1e-6]), told=False)

    eq = equation(shape, d, unit)
    grid = None if fitted else fp.Grid(axis("Line", shape.window(d, 34.0), n, unit))
    return Problem(
        kind="gap",
        seed=seed,
        title=f"barrier {h / d:.3g} D, {'fitted' if fitted else f'n {n}'}{unit}",
        tol=1e-8,
        ask=lambda: fp.spectral_gap(eq, grid),
        claim=claim,
        compare=compare,
        smooth=fitted,
        show=lambda found: f"gap {float(found)}",
    )


KINDS = {"levels": process_levels, "waves": wave_levels, "gap": gap}
