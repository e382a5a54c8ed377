"""Where a problem happens: boxes that hold the start, the Gibbs density and all in between, and lines through them."""

from typing import Any, NamedTuple

import numpy as np

from ..core.checks import raise_value_error
from ..grid import Gaussian
from ..grid import Line as LineAxis
from .bounding_box import COARSE, NotConfining, span
from .gaussian_prediction import tube
from .marginal_profile import extent, highest, profile
from .sampled_equation import Landscape, moments_of, sample_start
from .slice_problem import Line, Numbers

MOMENTS = 17  # of a moving potential, that are looked at
BULK, APART = 3.0, 0.05  # depth of what is likely in log p; parts of the box by which lines are apart
STARTS, LINES = 2, 4  # lines through the start, and through the bulk of the Gibbs density
NARROWER = 1.25  # than the Gibbs density, a start that is near it
FOREVER, OUTSIDE = 1e5, 1e3
FAR, SATURATED = 4.0, 0.02  # how far out a well is looked at, in lengths, and what it may rise there if it levels off
SCALES, SEEN, FEW = 1.4 ** np.arange(-16, 40), 192, 6  # boxes tried for the modes of a well, their nodes, the modes


class Station(NamedTuple):
    """A point `(d,)` that lines go through, and the log density that problems along them start from (None: levels)."""

    point: np.ndarray
    start: Any


class Where:
    """Boxes and lines of one problem; axes that are `fixed` `(d,)` keep their bounds `lower`, `upper` `(d,)`."""

    def __init__(self, landscape: Landscape, question: Any, lower: Any, upper: Any, kinds: list[Any]):
        self.landscape, self.question = landscape, question
        self.initial, self.times = question.initial, question.times
        self.lower, self.upper, self.kinds = lower, upper, kinds
        self.fixed = np.asarray([kind is not LineAxis for kind in kinds])
        moving = landscape.equation.time_dependent and question.times is not None
        last = question.t if question.times is None else float(question.times[-1])
        self.moments = np.linspace(0, last, MOMENTS) if moving else np.full(1, question.t)
        self.confined = landscape.process and landscape.equation.potential is not None
        self.path = None

    def holds(self, depth: float) -> tuple[np.ndarray, np.ndarray]:
        """A box `(d,)`, `(d,)`, taken generously, outside of which every density is below exp(-depth) of its peak."""
        found = []
        for t in self.moments if self.confined else ():
            found.append(span(lambda x, t=t: self.landscape.log_gibbs(x, t), self.lower, self.upper, self.fixed, depth))
        if self.initial is not None:
            start = lambda x: log_start(self.initial, x)
            if isinstance(self.initial, Gaussian):
                mean, covariance = moments_of(self.initial, len(self.lower))
                width = np.sqrt(2 * depth * np.diag(covariance))
                box = [np.where(self.fixed, self.lower, mean - width), np.where(self.fixed, self.upper, mean + width)]
            else:
                box = span(start, self.lower, self.upper, self.fixed, depth)
            found.append(box)
            if self.landscape.process and (self.landscape.ndim > 1 or not self.confined) and not self.fixed.all():
                found.append(self._passage(box, depth))
        if not self.landscape.process:
            found.append(self._bound(depth))
        return np.min([box[0] for box in found], axis=0), np.max([box[1] for box in found], axis=0)

    def _bound(self, depth: float) -> tuple[np.ndarray, np.ndarray]:
        """A box outside of which the lowest modes of a well have decayed: on each axis those of its profile."""
        bottom, reach = self._bottom(), np.zeros(self.landscape.ndim)
        for i in map(int, np.flatnonzero(~self.fixed)):
            line, counts = self.line(i, Station(bottom, None)), []
            above = continuum(line, *(bottom[i] + np.asarray([-1, 1]) * OUTSIDE))
            for reach[i] in SCALES:
                levels, modes = line.modes(LineAxis(float(bottom[i] - reach[i]), float(bottom[i] + reach[i]), SEEN))
                counts.append(min(self.question.k or FEW, int(np.sum(levels < above))))
                modes = modes[:, : counts[-1]] ** 2
                left = np.max(modes[[0, -1]] / np.max(modes, axis=0), initial=0)
                settled = not np.isfinite(above) or (counts[-1] > 0 and counts[-6:].count(counts[-1]) == 6)
                if settled and left < np.exp(-depth):
                    break
            else:
                if np.isfinite(above):
                    allowed = f"no levels lie below the continuum, which starts at {above:.6g}"
                    raise_value_error("k", self.question.k, allowed, "Deepen the well, or give like= with walls.")
                raise NotConfining(i, False)
        return np.where(self.fixed, self.lower, bottom - reach), np.where(self.fixed, self.upper, bottom + reach)

    def _bottom(self) -> np.ndarray:
        """Where the energy is lowest, `(d,)`, as far as a coarse look over many scales shows."""
        d, best, at_edge = self.landscape.ndim, None, 0.0
        for scale in SCALES:
            nodes = [
                np.linspace(*((a, b) if kept else (-scale, scale)), COARSE[d - 1])
                for a, b, kept in zip(self.lower, self.upper, self.fixed, strict=True)
            ]
            points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, d)
            energy = self.landscape.energy(points, self.question.t)
            lowest = int(np.argmin(energy))
            if best is None or energy[lowest] < best[0] - 1e-9 * abs(best[0]):
                best, at_edge = (energy[lowest], points[lowest]), np.max(np.abs(points[lowest])[~self.fixed], initial=0)
        assert best is not None
        if at_edge >= SCALES[-1]:
            raise NotConfining(int(np.argmax(np.abs(best[1]))), True)
        return highest(self.landscape, best[1][None], ~self.fixed, self.question.t)[0]

    def tight(self, depth: float, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same box as `holds` gives, within `lower`, `upper`, which hold it, sharply: by profiles."""
        d, found = self.landscape.ndim, []
        fixed = self.fixed
        for t in self.moments if self.confined else ():
            for i in map(int, np.flatnonzero(~fixed)):
                found.append((i, *extent(self.landscape, i, lower, upper, fixed, depth, t)))
        if self.path is not None:
            width = np.sqrt(2 * depth * np.einsum("sii->si", self.path[1]))
            ends = np.min(self.path[0] - width, axis=0), np.max(self.path[0] + width, axis=0)
            found += [(i, ends[0][i], ends[1][i]) for i in range(d)]
        elif self.initial is not None:
            box = span(lambda x: log_start(self.initial, x), lower, upper, fixed, depth)
            found += [(i, box[0][i], box[1][i]) for i in range(d)]
        low = [min((a for i, a, _ in found if i == j), default=lower[j]) for j in range(d)]
        high = [max((b for i, _, b in found if i == j), default=upper[j]) for j in range(d)]
        return np.where(fixed, lower, low), np.where(fixed, upper, high)

    def _passage(self, box: Any, depth: float) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(self.initial, Gaussian):
            mean, covariance = moments_of(self.initial, len(self.lower))
        else:
            points = product(*box)
            mass = np.exp(log_start(self.initial, points))
            mean = mass @ points / np.sum(mass)
            covariance = (points - mean).T @ ((points - mean) * mass[:, None]) / np.sum(mass)
        last = FOREVER if self.times is None else float(self.times[-1])
        self.path = tube(self.landscape, mean, covariance, last)
        width = np.sqrt(2 * depth * np.einsum("sii->si", self.path[1]))
        lower, upper = np.min(self.path[0] - width, axis=0), np.max(self.path[0] + width, axis=0)
        return np.where(self.fixed, self.lower, lower), np.where(self.fixed, self.upper, upper)

    def slice_points(self, lower: np.ndarray, upper: np.ndarray) -> list[Station]:
        """Where lines are laid: through the start, through what becomes of it, and through the bulk of Gibbs."""
        d, found = self.landscape.ndim, []
        if d == 1:
            return [Station(np.zeros(1), None if self.initial is None else lambda x: log_start(self.initial, x))]
        points = product(lower, upper)
        if self.initial is not None:
            start = lambda x: log_start(self.initial, x)
            found += [Station(y, start) for y in _bulk(points, start(points), lower, upper, STARTS)]
        if self.path is not None:
            for s in (len(self.path[0]) // 2, len(self.path[0]) - 1):
                mean, covariance = self.path[0][s], self.path[1][s]
                found.append(Station(mean, lambda x, m=mean, c=covariance: normal(x, m, c)))
        turning = self.path is not None and not self.landscape.reversible
        for t in () if turning or not self.confined else np.unique(self.moments[[0, -1]]):
            height = self.landscape.log_gibbs(points, t)
            mode = highest(self.landscape, points[[np.argmax(height)]], ~self.fixed, t)
            near = lambda x, t=t: NARROWER * self.landscape.log_gibbs(x, t)
            likely = np.concatenate([mode, points]), np.concatenate([[np.inf], height])
            some = _bulk(*likely, lower, upper, LINES)
            found += [Station(y, None if self.initial is None else near) for y in some]
        if not self.landscape.process:
            found.append(Station(self._bottom(), None))
        return found

    def line(self, axis: int, slice_point: Station) -> Line:
        """The problem along one axis through a station, from the start that belongs to it."""
        landscape, initial, question = self.landscape, self.initial, self.question
        y = slice_point.point
        equation, offset = landscape.equation, question.t

        def at(x: np.ndarray) -> np.ndarray:
            points = np.tile(y, (len(x), 1))
            points[:, axis] = x
            return points

        def numbers(x: np.ndarray, t: float) -> Numbers:
            local = landscape.local(at(x), t + offset)
            diffusion = local.diffusion[:, axis]
            if not landscape.process:
                return Numbers(0 * x, 0 * x, diffusion, local.energy)
            return Numbers(-local.energy / diffusion, local.drift[:, axis], diffusion, local.well[:, axis])

        start = None
        if initial is not None:
            start = lambda x: slice_point.start(at(x)) if landscape.process else sample_start(initial, at(x))
        reversible = landscape.reversible
        time_dependent = equation.time_dependent and start is not None
        return Line(numbers, start, landscape.process, reversible, time_dependent, question.tol, question.wick)

    def profile_line(self, axis: int, low: np.ndarray, high: np.ndarray) -> Line:
        """A well along one axis, lowest over the others."""
        landscape, t = self.landscape, self.question.t

        def numbers(x: np.ndarray, _: float) -> Numbers:
            local = landscape.local(profile(landscape, axis, x, low, high, self.fixed, t), t)
            return Numbers(0 * x, 0 * x, local.diffusion[:, axis], local.energy)

        return Line(numbers, None, False, False, False, self.question.tol)

    def line_span(self, axis: int, y: np.ndarray, depth: float, line: Line) -> tuple[float, float]:
        """Where on a line its own densities are within `depth` of their peaks."""
        if self.fixed[axis]:
            return float(self.lower[axis]), float(self.upper[axis])
        found, low, high = [], np.full(1, y[axis] - 1.0), np.full(1, y[axis] + 1.0)
        loose = np.zeros(1, bool)
        for t in self.moments if self.confined else ():
            gibbs = lambda x, t=t: line.numbers(x[:, 0], t - self.question.t).log_gibbs
            found.append(span(gibbs, low, high, loose, depth))
        if (begin := line.start) is not None:
            found.append(span(lambda x: begin(x[:, 0]), low, high, loose, depth))
        return float(min(box[0][0] for box in found)), float(max(box[1][0] for box in found))


def continuum(line: Line, lower: float, upper: float) -> float:
    """Where the well of a line levels off at the lower of its ends; infinity where it rises on."""
    length, ends = upper - lower, []
    bottom = np.min(line.numbers(np.linspace(lower, upper, 257), 0.0).well)
    for end, side in ((lower, -1), (upper, 1)):
        for reach in (FAR, FAR / 4, FAR / 16, FAR / 64):  # the farthest at which the potential does not overflow
            near, far = line.numbers(end + side * length * np.asarray([reach, 4 * reach]), 0.0).well
            if np.isfinite(far):
                break
        level = np.isfinite(far) and abs(far - near) <= SATURATED * abs(far - bottom)
        nothing = abs(far) < SATURATED * abs(far - bottom)
        ends.append((0.0 if nothing else far) if level else np.inf)
    return min(ends)


def _bulk(points: np.ndarray, height: np.ndarray, lower: Any, upper: Any, count: int) -> np.ndarray:
    """The highest of points `(P, d)`, and others that are high too and far from each other, `(count, d)` at most."""
    top = int(np.argmax(height))
    high = np.flatnonzero(height > np.max(np.where(np.isfinite(height), height, -np.inf)) - BULK)
    high = points[np.concatenate([[top], high[high != top]])]
    scaled, chosen = high / (upper - lower), [0]
    nearest = np.linalg.norm(scaled - scaled[0], axis=1)
    while len(chosen) < count and np.max(nearest) > APART:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return high[chosen]


def product(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The points `(P, d)` of a coarse grid."""
    nodes = [np.linspace(a, b, COARSE[len(lower) - 1]) for a, b in zip(lower, upper, strict=True)]
    return np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, len(lower))


def normal(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The logarithm of a normal density up to a constant, `(P,)`."""
    return -np.einsum("pi,pi->p", x - mean, np.linalg.solve(covariance, (x - mean).T).T) / 2


def log_start(initial: Any, points: np.ndarray) -> np.ndarray:
    """log p `(P,)` of a start, up to a constant."""
    values = sample_start(initial, points)
    if isinstance(initial, Gaussian):
        return values
    return np.where(values > 0, np.log(np.where(values > 0, values, 1)), -np.inf)
