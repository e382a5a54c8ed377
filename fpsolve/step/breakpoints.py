"""What a dense sampling in time shows of an equation: jumps and kinks, and narrow
smooth features.

    jump      U(x, t+) != U(x, t-)
    kink      d_t U(x, t+) != d_t U(x, t-)
    narrow    smooth, but no polynomial of degree `CONSTANTS.nodes - 1` over the whole
              interval represents it

U and f are sampled at a few places of the box, at `CONSTANTS.samples` equally spaced
times of every interval between two output times, and at Chebyshev nodes. An interval is
resolved if the polynomial through the values at the nodes has the values at all other
samples. In one that is not, samples whose second differences stand out are magnified
again and again, until a jump or a kink is known to rounding or the function is found to
be smooth there. The pieces between the jumps and kinks are then divided, and sampled
anew, until each is resolved. Steps that end at all of these times pass over nothing
that the samples show. What is shorter than the distance of the samples can be missed.
"""

import heapq
import itertools
from typing import NamedTuple

import numpy as np

from ..equation import Equation
from ..grid import Grid
from .constants import CONSTANTS
from .time_samples import (
    Look,
    Screened,
    float_type,
    interpolation_rule,
    outstanding_samples,
    sample_in_time,
    sample_places,
)


class TimeFeatures(NamedTuple):
    """What sampling shows.

    - `breakpoints`: times of jumps and kinks, `(B,)`, ascending
    - `stops`: further times between which the functions are resolved, `(S,)`, ascending
    - `resolution`: the distance of two samples in the longest interval; what is shorter
      can be missed
    - `complete`: whether all features were separated; False where the limits of effort
      did not allow it
    """

    breakpoints: np.ndarray
    stops: np.ndarray
    resolution: float
    complete: bool


class _Piece(NamedTuple):
    """An interval that is not resolved: its look, by how much, and the same of the
    intervals that it was cut from.
    """

    look: Look
    severity: float
    history: tuple[float, ...]


def find_breakpoints(equation: Equation, grid: Grid, end: float) -> np.ndarray:
    """Times in (0, end) at which U or f jumps or has a kink, ascending, `(B,)`."""
    times = np.asarray([end])
    features = examine_in_time(equation, grid, times, CONSTANTS.least_deviation)
    return features.breakpoints


def examine_in_time(
    equation: Equation,
    grid: Grid,
    times: np.ndarray,
    tol: float,
    given: np.ndarray | tuple[float, ...] = (),
) -> TimeFeatures:
    """The features of an equation in time, up to the last of the output `times` `(T,)`.

    **Arguments**: `tol`, the relative error of the run; `given`, breakpoints that are
    known already and are not returned. **Cost**: `CONSTANTS.samples` evaluations at
    some places for each interval, and as many again in intervals with features; memory
    for one interval at a time.
    """
    outputs = np.asarray(times, float)
    known = np.asarray(given, float)
    ends = np.unique(np.concatenate([[0.0], outputs, known]))
    # A negative time, or one beyond the last, is no part of the run.
    ends = ends[(ends >= 0) & (ends <= np.max(times))]
    if len(ends) < 2:
        return TimeFeatures(np.zeros(0), np.zeros(0), 0.0, True)
    return _Examination(equation, grid, ends, tol).features(given)


class _Examination:
    """The sampling of one equation over intervals whose `ends` `(I + 1,)` are given."""

    def __init__(self, equation: Equation, grid: Grid, ends: np.ndarray, tol: float):
        self._equation = equation
        self._places = sample_places(grid)
        self._ends = ends
        # A loose `tol` must not hide a narrow feature: 1e-6 at most.
        deviation = CONSTANTS.deviation_fraction * tol
        self._tol = float(np.clip(deviation, CONSTANTS.least_deviation, 1e-6))
        last = float_type()(ends[-1])
        # Times nearer than this are the same: 4 units of rounding.
        self._rounding = 4 * float(np.spacing(last))
        self._effort = 0
        self._smooth: list[tuple[float, float]] = []

    def features(self, given: np.ndarray | tuple[float, ...]) -> TimeFeatures:
        """All features in all intervals."""
        longest = float(np.max(np.diff(self._ends)))
        resolution = longest / CONSTANTS.samples
        # Just inside of both ends: at an end itself a function may have the value of
        # the other side. `_after(0)` is 0, so a run starts at one rounding.
        intervals: list[tuple[float, float]] = []
        for a, b in itertools.pairwise(self._ends):
            start = max(_after(a), self._rounding)
            end = _before(b)
            if end > start:
                intervals.append((start, end))

        # One look at every interval, whose values are not kept: all of them together
        # may be large.
        screened = self._screen(intervals)
        extremes = np.stack([screened.high, screened.low])
        if not np.all(np.isfinite(extremes)):
            # A function that is not finite everywhere is rejected elsewhere; here it
            # has no meaningful differences.
            return TimeFeatures(np.zeros(0), np.zeros(0), resolution, False)
        # Each column is compared with its own range over the whole run, and with its
        # rounding.
        highest = np.max(screened.high, axis=0)
        lowest = np.min(screened.low, axis=0)
        largest = np.maximum(np.abs(highest), np.abs(lowest))
        precision = np.finfo(largest.dtype)
        # The smallest number avoids a division by zero for a function that is zero.
        noise = CONSTANTS.noise_units * precision.eps * largest
        self._noise = noise + precision.tiny
        self._allowed = np.maximum(self._tol * (highest - lowest), self._noise)

        found: list[float] = []
        # Between two intervals a function must be continuous, or the end that they
        # share is a jump.
        changes = np.abs(screened.first[1:] - screened.last[:-1])
        for k in np.flatnonzero(np.any(changes > self._allowed, axis=1)):
            end = intervals[k][1]
            start = intervals[k + 1][0]
            found.append((start + end) / 2)

        heap: list[tuple[float, int, _Piece]] = []
        order = itertools.count()

        def push(look: Look, history: tuple[float, ...]) -> None:
            severity = self._severity(look.deviation)
            # Where a jump in a higher derivative is all that is left, the deviation
            # falls by a small power of the length. Steps of every length see it, as it
            # has no scale; a narrow feature falls by nothing, or by much.
            falls = history[-2] / severity if len(history) > 1 else 0.0
            least, most = CONSTANTS.weak_fall
            has_no_scale = least < falls < most
            is_weak = has_no_scale and severity * self._tol < CONSTANTS.weak_deviation
            if severity > 1 and not is_weak:
                piece = _Piece(look, severity, history)
                # The count decides between pieces of one severity, which Python cannot
                # compare.
                heapq.heappush(heap, (-severity, next(order), piece))

        unresolved = np.any(screened.deviation > self._allowed, axis=1)
        for k in np.flatnonzero(unresolved):
            push(self._look(*intervals[k], CONSTANTS.samples), ())

        # The worst piece first, so that a limit of effort leaves out what matters
        # least.
        stops: list[float] = []
        while heap and self._effort < CONSTANTS.max_looks:
            piece = heapq.heappop(heap)[2]
            a, b = piece.look.start, piece.look.end
            edges = self._edges(piece.look)
            if edges:
                found += edges
                history = ()
                # Pieces end on their own side of an edge.
                beginnings = [a, *map(_after, edges)]
                endings = [*map(_before, edges), b]
            else:
                if b - a < CONSTANTS.shortest_piece * self._ends[-1]:
                    continue
                history = (*piece.history, piece.severity)
                # Another fraction than 1/2: the pieces of a periodic function are then
                # no multiples of its period.
                cut = a + CONSTANTS.cut_fraction * (b - a)
                stops.append(cut)
                beginnings = [a, cut]
                endings = [cut, b]
            for start, end in zip(beginnings, endings, strict=True):
                if end > start:
                    is_long = end - start > CONSTANTS.long_piece * longest
                    count = CONSTANTS.samples if is_long else CONSTANTS.few_samples
                    push(self._look(start, end, count), history)
        known = set(np.asarray(given, float).tolist())
        breakpoints = [t for t in self._distinct(found) if t not in known]
        return TimeFeatures(
            breakpoints=np.asarray(breakpoints, float),
            stops=np.sort(np.asarray(stops, float)),
            resolution=resolution,
            complete=not heap,
        )

    def _severity(self, deviation: np.ndarray) -> float:
        """The largest deviation, relative to what is allowed."""
        return float(np.max(deviation / self._allowed))

    def _screen(self, intervals: list[tuple[float, float]]) -> "Screened":
        """What a quick test of many intervals gives, each array `(I, C)`."""
        number = float_type()
        many = len(intervals) >= CONSTANTS.many_intervals
        batch = CONSTANTS.screened_at_once if many else 1
        if many:
            self._places = self._places[: CONSTANTS.few_places * self._places.shape[1]]
        fractions, matrix, weights = interpolation_rule(CONSTANTS.samples)
        # The last batch is filled up with copies, so that there is one program for any
        # number of intervals.
        missing = -len(intervals) % batch
        starts, ends = (
            np.pad(np.asarray(column, number), (0, missing), mode="edge")
            for column in zip(*intervals, strict=True)
        )
        rows = []
        for k in range(0, len(starts), batch):
            part = slice(k, k + batch)
            sampled = sample_in_time(
                self._equation,
                self._places,
                starts[part],
                ends[part],
                fractions,
                matrix,
                weights,
            )
            # Without the values themselves, which are many.
            rows.append(Screened(*map(np.asarray, sampled[:-1])))
        columns = (np.concatenate(column) for column in zip(*rows, strict=True))
        return Screened(*(column[: len(intervals)] for column in columns))

    def _look(self, start: float, end: float, count: int) -> Look:
        number = float_type()
        starts = np.asarray([start], number)
        ends = np.asarray([end], number)
        rule = interpolation_rule(count)
        sampled = sample_in_time(self._equation, self._places, starts, ends, *rule)
        self._effort += 1
        deviation = np.asarray(sampled[0])[0]
        values = np.asarray(sampled[-1])[0]
        return Look(start, end, values, deviation)

    def _edges(self, look: Look) -> list[float]:
        """The times of all jumps and kinks that stand out in a look, ascending."""
        found: list[float] = []
        times = look.times
        for k in outstanding_samples(look.values, self._allowed):
            # The second difference k is taken of the samples k, k + 1 and k + 2.
            left, right = float(times[k]), float(times[k + 2])
            # What was found to be smooth once is not searched again.
            if any(a <= left and right <= b for a, b in self._smooth):
                continue
            edges = self._edges_within(left, right, CONSTANTS.max_edges_within)
            if not edges:
                self._smooth.append((left, right))
            found += [t for t in edges if look.start < t < look.end]
        return self._distinct(found)

    def _distinct(self, times: list[float]) -> list[float]:
        """The times, ascending, without those that differ from the one before by
        rounding only.
        """
        kept: list[float] = []
        for t in sorted(times):
            if not kept or t - kept[-1] > self._rounding:
                kept.append(t)
        return kept

    def _edges_within(self, left: float, right: float, depth: int) -> list[float]:
        """The jumps and kinks between two neighbouring samples, or three."""
        time = self._locate(left, right)
        if time is None:
            return []
        # Another edge may be beside it.
        sides = [(left, _before(time)), (_after(time), right)]
        found = [time]
        for a, b in sides:
            if depth == 0 or b - a <= self._rounding:
                continue
            look = self._look(a, b, CONSTANTS.few_samples)
            if self._severity(look.deviation) > 1:
                found += self._edges_within(a, b, depth - 1)
        return sorted(found)

    def _locate(self, left: float, right: float) -> float | None:
        """The time of the largest jump or kink between `left` and `right`; None where
        the function is smooth.
        """
        seen = False
        while True:
            look = self._look(left, right, CONSTANTS.few_samples)
            values, times = look.values, look.times
            # A jump, if the times can no longer be told apart: it does not become
            # smaller with their distance.
            if (right - left) / CONSTANTS.few_samples <= self._rounding:
                changes = np.abs(np.diff(values, axis=0))
                steps = np.max(changes / self._allowed, axis=1)
                k = int(np.argmax(steps))
                return float(times[k + 1]) if seen and steps[k] > 1 else None
            span = np.ptp(values, axis=0)
            # A kink, once it does not matter where between the two times it is.
            if np.all(span <= self._allowed):
                return (left + right) / 2 if seen else None
            smooth = np.maximum(CONSTANTS.smooth_deviation * span, self._noise)
            unresolved = look.deviation > smooth
            if not np.any(unresolved):
                return None
            seen = True
            curvature = np.abs(np.diff(values, 2, axis=0))
            relative = curvature[:, unresolved] / smooth[unresolved]
            k = int(np.argmax(np.max(relative, axis=1)))
            left, right = float(times[k]), float(times[k + 2])


def _before(t: float) -> float:
    """A time just before t."""
    number = float_type()
    distance = CONSTANTS.breakpoint_distance * np.finfo(number).eps
    return float(number(t) * (1 - distance))


def _after(t: float) -> float:
    """A time just after t."""
    number = float_type()
    distance = CONSTANTS.breakpoint_distance * np.finfo(number).eps
    return float(number(t) * (1 + distance))
