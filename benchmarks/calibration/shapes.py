"""Potentials of one coordinate with derivatives by hand, and elements that resolve
their densities.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np

from .elements import Elements, Process, Waves

# U/D at the ends of the references' boxes: a density of e^-36 is below their rounding
DEEP = 36.0
# budget and order of the coarser and the finer reference
LEVELS = ((4.6, 11), (3.6, 13))
SCAN = 20001  # places of the scan for those ends


@dataclasses.dataclass(frozen=True)
class Shape:
    """U(x) = polynomial + a cos(q x + phi) + k sqrt(1 + x^2) + bumps + steps + kinks;
    arrays, highest power first.
    """

    poly: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(1))
    wave: np.ndarray | None = None  # (3,) a, q, phi
    soft: float = 0.0
    bumps: np.ndarray | None = None  # (m, 3) height, place, width
    steps: np.ndarray | None = None  # (m, 2) place, height
    kinks: np.ndarray | None = None  # (m, 2) place, half the change of slope

    def u(self, x: Any, xp: Any = np) -> Any:
        """U at x, by numpy or, with `xp`, by jax.numpy."""
        value = xp.polyval(xp.asarray(self.poly), x)
        if self.wave is not None:
            a = xp.asarray(self.wave)
            value = value + a[0] * xp.cos(a[1] * x + a[2])
        if self.soft:
            value = value + xp.asarray([self.soft])[0] * xp.sqrt(1 + x * x)
        for row in [] if self.bumps is None else self.bumps:
            a = xp.asarray(row)
            value = value + a[0] * xp.exp(-((x - a[1]) ** 2) / (2 * a[2] ** 2))
        for row in [] if self.steps is None else self.steps:
            a = xp.asarray(row)
            value = value + xp.where(x > a[0], a[1], 0.0)
        for row in [] if self.kinks is None else self.kinks:
            a = xp.asarray(row)
            value = value + a[1] * xp.abs(x - a[0])
        return value

    def du(self, x: np.ndarray) -> np.ndarray:
        """U' without the steps."""
        value = (
            np.polyval(np.polyder(self.poly), x)
            if len(self.poly) > 1
            else np.zeros_like(x)
        )
        if self.wave is not None:
            a, q, phi = self.wave
            value = value - a * q * np.sin(q * x + phi)
        value = value + self.soft * x / np.sqrt(1 + x * x)
        for h, c, s in () if self.bumps is None else self.bumps:
            value = value - h * (x - c) / s**2 * np.exp(-((x - c) ** 2) / (2 * s**2))
        for c, a in () if self.kinks is None else self.kinks:
            value = value + a * np.sign(x - c)
        return value

    def ddu(self, x: np.ndarray) -> np.ndarray:
        """U'' without the steps and kinks."""
        value = (
            np.polyval(np.polyder(self.poly, 2), x)
            if len(self.poly) > 2
            else np.zeros_like(x)
        )
        if self.wave is not None:
            a, q, phi = self.wave
            value = value - a * q**2 * np.cos(q * x + phi)
        value = value + self.soft / (1 + x * x) ** 1.5
        for h, c, s in () if self.bumps is None else self.bumps:
            value = value + h * ((x - c) ** 2 / s**4 - 1 / s**2) * np.exp(
                -((x - c) ** 2) / (2 * s**2)
            )
        return value

    def jumps(self, x: np.ndarray) -> np.ndarray:
        """The steps alone."""
        value = np.zeros_like(x)
        for c, h in () if self.steps is None else self.steps:
            value = value + np.where(x > c, h, 0.0)
        return value

    @property
    def places(self) -> list[float]:
        """Where U or U' jumps."""
        rows = [
            *([] if self.steps is None else self.steps),
            *([] if self.kinks is None else self.kinks),
        ]
        return [float(row[0]) for row in rows]

    def window(
        self, diffusion: float, depth: float = DEEP, also: Any = (), reach: float = 60.0
    ) -> tuple[float, float]:
        """The ends between which U/D is within `depth` of its minimum, and the places
        `also` lie.
        """
        x = np.linspace(-reach, reach, SCAN)
        u = self.u(x) / diffusion
        inside = x[u - u.min() < depth]
        return float(min(inside[0], *also, inside[0])), float(
            max(inside[-1], *also, inside[-1])
        )


def mesh(
    shape: Shape,
    diffusion: float,
    window: tuple[float, float],
    budget: float,
    extra: Any = (),
    spike: Any = None,
) -> np.ndarray:
    """Ends of elements over each of which |U'|/D + sqrt(|U''|/D) + q + 12 / length
    integrates to at most `budget`.

    `spike` is a place and the least width of the density there:
    2 / (width + |x - place|) is added.
    """
    lower, upper = window
    x = np.linspace(lower, upper, SCAN)
    bumps = [] if shape.bumps is None else shape.bumps
    fine = [c + s * k for _, c, s in bumps for k in np.linspace(-8, 8, 161)]
    if spike is not None:
        near = np.geomspace(spike[1] / 10, upper - lower, 400)
        fine += [*(spike[0] + near), *(spike[0] - near), spike[0]]
    x = np.unique(np.concatenate([x, [f for f in fine if lower < f < upper]]))
    dense = (
        np.abs(shape.du(x)) / diffusion
        + np.sqrt(np.abs(shape.ddu(x)) / diffusion)
        + 12 / (upper - lower)
    )
    if shape.wave is not None:
        dense = dense + shape.wave[1]
    if spike is not None:
        dense = dense + 2 / (spike[1] + np.abs(x - spike[0]))
    cost = np.concatenate([[0.0], np.cumsum((dense[1:] + dense[:-1]) / 2 * np.diff(x))])
    cuts = np.unique(
        [lower, upper, *(p for p in [*shape.places, *extra] if lower < p < upper)]
    )
    ends = [lower]
    for a, b in itertools.pairwise(cuts):
        low, high = np.interp([a, b], x, cost)
        pieces = max(1, int(np.ceil((high - low) / budget)))
        ends += [*np.interp(np.linspace(low, high, pieces + 1)[1:-1], cost, x), b]
    return np.array(ends)


def process(
    shape: Shape,
    diffusion: float,
    window: tuple[float, float],
    level: int,
    *,
    periodic: bool = False,
    closed: tuple[bool, ...] = (False, False),
    force: float = 0.0,
    extra: Any = (),
    spike: Any = None,
) -> Process:
    """The process in U with constant D and force; `level` 0 is the coarser reference, 1
    the finer.
    """
    budget, order = LEVELS[level]
    elements = Elements(
        mesh(shape, diffusion, window, budget, extra, spike), order, periodic, closed
    )
    # steps are in w, all else in the drift b = (force - U') w
    w = lambda x: np.exp(-shape.jumps(x) / diffusion)
    return Process(
        elements, w, lambda x: diffusion * w(x), lambda x: (force - shape.du(x)) * w(x)
    )


def rates(
    shape: Shape,
    diffusion: float,
    window: tuple[float, float],
    count: int,
    level: int,
    **kind: Any,
) -> Any:
    """The lowest rates of a smooth process without force, from its Schrödinger
    operator.
    """
    budget, order = LEVELS[level]
    elements = Elements(mesh(shape, diffusion, window, budget), order, **kind)
    quantum = lambda x: shape.du(x) ** 2 / (4 * diffusion) - shape.ddu(x) / 2
    return Waves(elements, diffusion, quantum).levels(count)
