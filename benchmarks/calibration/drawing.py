"""Random parts of problems: units, potentials, starts, rotations and grids."""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from .closed import Normal
from .shapes import Shape

Random = np.random.Generator
SIZES = {
    1: (40, 64, 96),
    2: (32, 48),
    3: (20, 24),
}  # nodes an axis of the given grids: few, so that programs are shared


def random(kind: str, seed: int) -> Random:
    """The generator of a problem: kinds do not share their numbers."""
    return np.random.default_rng([zlib.crc32(kind.encode()), seed])


def spread(rng: Random, low: float, high: float) -> float:
    """Log-uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def pick(rng: Random, *choices: Any) -> Any:
    """One of the choices."""
    return choices[int(rng.integers(len(choices)))]


def times(rng: Random, low: float = 0.02, high: float = 10.0) -> list[float]:
    """Two times; the second is a power of two times the first, for which a reference
    squares its matrices.
    """
    first = spread(rng, low, high / 2)
    return [
        first,
        first * 2.0 ** int(rng.integers(1, 1 + max(1, int(np.log2(high / first))))),
    ]


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit of length and one of time, in which a problem without units is given to
    fpsolve.
    """

    length: float = 1.0
    time: float = 1.0

    @classmethod
    def draw(cls, rng: Random, share: float = 0.12) -> "Unit":
        """1 and 1, or now and then both from 1e-9 to 1e9."""
        if rng.random() > share:
            return cls()
        return cls(10 ** rng.uniform(-9, 9), 10 ** rng.uniform(-9, 9))

    @property
    def diffusion(self) -> float:
        """Length^2 / time, which is the unit of D and of U."""
        return self.length**2 / self.time

    def scaled(self, function: Callable[..., Any], unit: float) -> Callable[[Any], Any]:
        """`function` of lengths in this unit, with values in `unit`."""
        if self == Unit():
            return function
        length, factor = np.array(self.length), np.array(unit)
        return lambda x: factor * function(x / length)

    def __str__(self) -> str:
        return "" if self == Unit() else f", units {self.length:.3g}, {self.time:.3g}"


def confining(rng: Random) -> Shape:
    """A smooth confining potential."""
    family = pick(
        rng, "harmonic", "quartic", "double", "ripple", "sextic", "soft", "asymmetric"
    )
    if family == "harmonic":
        k = spread(rng, 0.2, 8.0)
        c = rng.uniform(-1, 1)
        return Shape(np.array([k / 2, -k * c, 0.0]))
    if family == "quartic":
        return Shape(
            np.array(
                [
                    spread(rng, 0.1, 2.0),
                    0.0,
                    rng.uniform(-0.5, 2.0),
                    rng.uniform(-1, 1),
                    0.0,
                ]
            )
        )
    if family == "double":
        h = spread(rng, 0.3, 4.0)
        a = rng.uniform(0.7, 1.6)
        return Shape(
            np.array([h / a**4, 0.0, -2 * h / a**2, rng.uniform(-0.4, 0.4) * h, h])
        )
    if family == "ripple":
        k = spread(rng, 0.3, 4.0)
        return Shape(
            np.array([k / 2, 0.0, 0.0]),
            np.array([rng.uniform(0.1, 1.0), rng.uniform(1, 6), rng.uniform(0, 6)]),
        )
    if family == "sextic":
        return Shape(
            np.array(
                [
                    spread(rng, 0.05, 0.5),
                    0.0,
                    rng.uniform(-1, 0.5),
                    0.0,
                    rng.uniform(-1, 1),
                    0.0,
                    0.0,
                ]
            )
        )
    if family == "soft":
        return Shape(
            np.array([spread(rng, 0.05, 0.5), 0.0, 0.0]), soft=spread(rng, 0.5, 4.0)
        )
    b = rng.uniform(-0.8, 0.8)
    return Shape(np.array([0.25, b / 2, rng.uniform(0.2, 1.5) + b**2 / 4, 0.0, 0.0]))


def diffusion(rng: Random, shape: Shape, barrier: float = 12.0) -> float:
    """D, so that no barrier between wells is above `barrier` D."""
    d = spread(rng, 0.1, 2.5)
    x = np.linspace(-6, 6, 2001)
    u = shape.u(x)
    inner = x[(u - u.min()) < 30 * d]
    between = u[(x >= inner[0]) & (x <= inner[-1])]
    from_left = np.maximum.accumulate(between)
    from_right = np.maximum.accumulate(between[::-1])[::-1]
    climb = np.minimum(from_left, from_right) - between
    return float(max(d, climb[(between - u.min()) < 12 * d].max() / barrier))


def start(rng: Random, shape: Shape, d: float, width: str = "any") -> Normal:
    """A Gaussian start in reach of the potential; `width` "narrow" is far narrower than
    a cell of any given grid.
    """
    lower, upper = shape.window(d, 8.0)
    mean = rng.uniform(lower, upper)
    size = upper - lower
    deviation = size * (
        spread(rng, 1e-5, 1e-3) if width == "narrow" else spread(rng, 0.015, 0.15)
    )
    # its tails end where a reference still has few elements
    outer = shape.window(d, 60.0)
    deviation = min(deviation, (mean - outer[0]) / 7, (outer[1] - mean) / 7)
    return Normal(np.array([mean]), np.array([[deviation**2]]))


def around(normal: Normal, axis: int = 0, reach: float = 7.0) -> tuple[float, float]:
    """The ends of a start along an axis."""
    deviation = np.sqrt(normal.covariance[axis, axis])
    return float(normal.mean[axis] - reach * deviation), float(
        normal.mean[axis] + reach * deviation
    )


def knots(normal: Normal, axis: int = 0) -> np.ndarray:
    """Places between which a Gaussian start is smooth."""
    return normal.mean[axis] + np.sqrt(normal.covariance[axis, axis]) * np.arange(
        -10, 11, 2
    )


def rotation(rng: Random, d: int) -> np.ndarray:
    """A random rotation."""
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    q = q * np.sign(np.diag(r))
    return q * np.where(np.arange(d) == 0, np.sign(np.linalg.det(q)), 1.0)


def spike(normal: Normal, d: float, t: float, axis: int = 0) -> tuple[float, float]:
    """Where a Gaussian start lies, and about how narrow its density still is at the
    time t.
    """
    return float(normal.mean[axis]), float(
        np.sqrt(normal.covariance[axis, axis] + 2 * d * t)
    )
