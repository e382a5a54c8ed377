"""What a dense sampling in time shows of an equation: jumps and kinks, and narrow
smooth features.

    jump      U(x, t+) != U(x, t-)
    kink      d_t U(x, t+) != d_t U(x, t-)
    narrow    smooth, but no polynomial of degree `CONSTANTS.nodes - 1` over the whole interval represents it

U and f are sampled at a few places of the box, at `CONSTANTS.samples` equally spaced
times of every interval between two output times, and at Chebyshev nodes. An interval is
resolved if the polynomial through the values at the nodes has the values at all other
samples. In one that is not, samples whose second differences stand out are magnified
again and again, until a jump or a kink is known to rounding or the function is found to
be smooth there. The pieces between the jumps and kinks are then divided, and sampled
anew, until each is resolved. Steps that end at all of these times pass over nothing
that the samples show. What is shorter than the distance of the samples can be missed.
"""

import functools
import heapq
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.program import shape_program
from ..core.types import AnyArray
from ..equation import Equation
from ..grid import Grid
from .constants import CONSTANTS


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


class _Screened(NamedTuple):
    """The first look at all intervals, each array `(I, C)`: the largest `deviation` of
    the interpolant, the highest and lowest values, and those at both ends.
    """

    deviation: np.ndarray
    high: np.ndarray
    low: np.ndarray
    first: np.ndarray
    last: np.ndarray


class _Look(NamedTuple):
    """One sampling of [start, end]: the `values` `(N, C)` at equally spaced times, and
    for each of the C columns the largest `deviation` of the interpolant.
    """

    start: float
    end: float
    values: np.ndarray
    deviation: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """The times of `values`, `(N,)`."""
        fractions = np.linspace(0.0, 1.0, len(self.values)).astype(_float())
        return _float()(self.start) + _float()(self.end - self.start) * fractions


class _Piece(NamedTuple):
    """An interval that is not resolved: its look, by how much, and the same of the
    intervals that it was cut from.
    """

    look: _Look
    severity: float
    history: tuple[float, ...]


def find_breakpoints(equation: Equation, grid: Grid, end: float) -> np.ndarray:
    """Times in (0, end) at which U or f jumps or has a kink, ascending, `(B,)`."""
    return examine_in_time(
        equation, grid, np.asarray([end]), CONSTANTS.least_deviation
    ).breakpoints


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
    ends = np.unique(
        np.concatenate([[0.0], np.asarray(times, float), np.asarray(given, float)])
    )
    # A negative time, or one beyond the last, is no part of the run.
    ends = ends[(ends >= 0) & (ends <= np.max(times))]
    if len(ends) < 2:
        return TimeFeatures(np.zeros(0), np.zeros(0), 0.0, True)
    return _Examination(equation, grid, ends, tol).features(given)


class _Examination:
    """The sampling of one equation over intervals whose `ends` are given, `(I + 1,)`."""

    def __init__(self, equation: Equation, grid: Grid, ends: np.ndarray, tol: float):
        self._equation = equation
        self._places = _places(grid)
        self._ends = ends
        self._tol = float(
            np.clip(CONSTANTS.deviation_fraction * tol, CONSTANTS.least_deviation, 1e-6)
        )
        # Times nearer than this are the same: 4 units of rounding.
        self._rounding = 4 * float(np.spacing(_float()(ends[-1])))
        self._effort = 0
        self._smooth: list[tuple[float, float]] = []

    def features(self, given: np.ndarray | tuple[float, ...]) -> TimeFeatures:
        """All features in all intervals."""
        longest = float(np.max(np.diff(self._ends)))
        resolution = longest / CONSTANTS.samples
        # Just inside of both ends: at an end itself a function may have the value of
        # the other side.
        pairs = [
            (max(_after(a), self._rounding), _before(b))
            for a, b in itertools.pairwise(self._ends)
        ]
        intervals = [(a, b) for a, b in pairs if b > a]

        # One look at every interval, whose values are not kept: all of them together
        # may be large.
        screened = self._screen(intervals)
        if not (
            np.all(np.isfinite(screened.high)) and np.all(np.isfinite(screened.low))
        ):
            # A function that is not finite everywhere is rejected elsewhere; here it
            # has no meaningful differences.
            return TimeFeatures(np.zeros(0), np.zeros(0), resolution, False)
        # Each column is compared with its own range over the whole run, and with its
        # rounding.
        highest, lowest = np.max(screened.high, axis=0), np.min(screened.low, axis=0)
        largest = np.maximum(np.abs(highest), np.abs(lowest))
        # The smallest number avoids a division by zero for a function that is zero.
        self._noise = (
            CONSTANTS.noise_units * np.finfo(largest.dtype).eps * largest
            + np.finfo(largest.dtype).tiny
        )
        self._allowed = np.maximum(self._tol * (highest - lowest), self._noise)

        found: list[float] = []
        for k, ((_, end), (start, _)) in enumerate(itertools.pairwise(intervals)):
            # Between two intervals a function must be continuous, or the end that they
            # share is a jump.
            if np.any(np.abs(screened.first[k + 1] - screened.last[k]) > self._allowed):
                found.append((start + end) / 2)

        heap: list[tuple[float, int, _Piece]] = []
        order = itertools.count()

        def push(look: _Look, history: tuple[float, ...]) -> None:
            severity = self._severity(look.deviation)
            # Where a jump in a higher derivative is all that is left, the deviation
            # falls by a small power of the length. Steps of every length see it, as it
            # has no scale; a narrow feature falls by nothing, or by much.
            falls = history[-2] / severity if len(history) > 1 else 0.0
            weak = CONSTANTS.weak_fall[0] < falls < CONSTANTS.weak_fall[1]
            if severity > 1 and not (
                weak and severity * self._tol < CONSTANTS.weak_deviation
            ):
                heapq.heappush(
                    heap, (-severity, next(order), _Piece(look, severity, history))
                )

        for k in np.flatnonzero(np.any(screened.deviation > self._allowed, axis=1)):
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
                cuts, history = edges, ()
            else:
                # Another fraction than 1/2: the pieces of a periodic function are then
                # no multiples of its period.
                cuts, history = (
                    [a + CONSTANTS.cut_fraction * (b - a)],
                    (*piece.history, piece.severity),
                )
                if b - a < CONSTANTS.shortest_piece * self._ends[-1]:
                    continue
                stops += cuts
            beginnings = [a, *(_after(cut) if edges else cut for cut in cuts)]
            endings = [*(_before(cut) if edges else cut for cut in cuts), b]
            for start, end in zip(beginnings, endings, strict=True):
                if end > start:
                    long = end - start > CONSTANTS.long_piece * longest
                    push(
                        self._look(
                            start,
                            end,
                            CONSTANTS.samples if long else CONSTANTS.few_samples,
                        ),
                        history,
                    )
        known = set(np.asarray(given, float).tolist())
        breakpoints = np.asarray(
            [t for t in self._distinct(found) if t not in known], float
        )
        return TimeFeatures(
            breakpoints, np.sort(np.asarray(stops, float)), resolution, not heap
        )

    def _severity(self, deviation: np.ndarray) -> float:
        """The largest deviation, relative to what is allowed."""
        return float(np.max(deviation / self._allowed))

    def _screen(self, intervals: list[tuple[float, float]]) -> "_Screened":
        """What a quick test of many intervals gives, each array `(I, C)`."""
        number = _float()
        many = len(intervals) >= CONSTANTS.many_intervals
        batch = CONSTANTS.screened_at_once if many else 1
        if many:
            self._places = self._places[: CONSTANTS.few_places * self._places.shape[1]]
        fractions, matrix, weights = _rule(CONSTANTS.samples)
        starts, ends = (
            np.asarray(column, number) for column in zip(*intervals, strict=True)
        )
        # The last batch is filled up with copies, so that there is one program for any
        # number of intervals.
        missing = -len(intervals) % batch
        starts, ends = (
            np.pad(starts, (0, missing), mode="edge"),
            np.pad(ends, (0, missing), mode="edge"),
        )
        rows = []
        for k in range(0, len(starts), batch):
            part = slice(k, k + batch)
            rows.append(
                _sample(
                    self._equation,
                    self._places,
                    starts[part],
                    ends[part],
                    fractions,
                    matrix,
                    weights,
                )[:-1]
            )
        columns = [
            np.concatenate([np.asarray(row[i]) for row in rows])[: len(intervals)]
            for i in range(5)
        ]
        return _Screened(*columns)

    def _look(self, start: float, end: float, count: int) -> _Look:
        starts, ends = (np.asarray([t], _float()) for t in (start, end))
        sampled = _sample(self._equation, self._places, starts, ends, *_rule(count))
        self._effort += 1
        return _Look(start, end, np.asarray(sampled[-1])[0], np.asarray(sampled[0])[0])

    def _edges(self, look: _Look) -> list[float]:
        """The times of all jumps and kinks that stand out in a look, ascending."""
        found: list[float] = []
        times = look.times
        for k in _candidates(look.values, self._allowed):
            left, right = float(times[k]), float(times[k + 2])
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
            if self._severity(self._look(a, b, CONSTANTS.few_samples).deviation) > 1:
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
                steps = np.max(np.abs(np.diff(values, axis=0)) / self._allowed, axis=1)
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
            second = np.max(
                np.abs(np.diff(values, 2, axis=0))[:, unresolved] / smooth[unresolved],
                axis=1,
            )
            k = int(np.argmax(second))
            left, right = float(times[k]), float(times[k + 2])


def _candidates(values: np.ndarray, allowed: np.ndarray) -> list[int]:
    """The indices of second differences that are much larger than their neighbours, and
    than what is allowed.
    """
    second_differences = np.max(np.abs(np.diff(values, 2, axis=0)) / allowed, axis=1)
    width = CONSTANTS.neighbours
    n = len(second_differences)
    # Mirrored at the ends: copies of the last value would be many large neighbours of
    # an edge there.
    padded = np.pad(second_differences, width, mode="reflect")

    def shifted(offset: int) -> np.ndarray:
        return padded[width + offset : width + offset + n]

    # A cheap test of all first: larger than the nearest two, and much larger than one
    # at a distance. A breakpoint makes two neighbouring second differences large, or
    # three if it meets a sample time.
    distant = np.minimum(shifted(2 - width), shifted(width - 2))
    likely = second_differences > CONSTANTS.outstanding * distant + 1
    likely &= (second_differences >= shifted(-1)) & (second_differences >= shifted(1))
    # Then the median over the whole neighbourhood, which a few large values do not
    # change.
    standing_out = [
        int(k)
        for k in np.flatnonzero(likely)
        if second_differences[k]
        > CONSTANTS.outstanding * np.median(padded[k : k + 2 * width + 1])
    ]
    return sorted(
        sorted(standing_out, key=lambda k: -second_differences[k])[
            : CONSTANTS.max_candidates
        ]
    )


def _places(grid: Grid) -> np.ndarray:
    """Some places inside the grid, `(P, d)`: multiples of irrational numbers, which a
    symmetric or periodic function cannot hide behind, and which are spread evenly.
    """
    d = grid.ndim
    # The root of r^(d+1) = r + 1, the golden ratio in one dimension (M. Roberts, 2018).
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (d + 1))
    counts = np.arange(1, CONSTANTS.places_per_axis * d + 1)[:, None]
    fractions = np.modf(0.5 + counts * ratio ** -np.arange(1.0, d + 1))[0]
    lower = np.asarray([axis.lower for axis in grid.axes])
    lengths = np.asarray([axis.length for axis in grid.axes])
    return (lower + lengths * fractions).astype(_float())


def _float() -> type[np.floating]:
    """The type of real numbers that is in use, of numpy."""
    return np.dtype(jnp.result_type(float)).type


def _before(t: float) -> float:
    """A time just before t."""
    return float(
        _float()(t) * (1 - CONSTANTS.breakpoint_distance * np.finfo(_float()).eps)
    )


def _after(t: float) -> float:
    """A time just after t."""
    return float(
        _float()(t) * (1 + CONSTANTS.breakpoint_distance * np.finfo(_float()).eps)
    )


@functools.lru_cache(maxsize=8)
def _rule(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For `count` equally spaced times: the nodes and these times, as fractions of the
    interval `(n + N,)`; the weights of the samples of a block `(b,)`; and the matrix
    from values at the nodes to the weighted sums of all blocks, `(N / b, n)`.
    """
    n, block = CONSTANTS.nodes, CONSTANTS.block
    nodes = (1 - np.cos(np.pi * (np.arange(n) + 0.5) / n)) / 2
    times = np.linspace(0.0, 1.0, count)
    # Interpolation by the barycentric formula (Berrut and Trefethen, SIAM Review 46
    # (2004) 501). None of these times is a node, which is the square of the sine of a
    # fraction of pi.
    quotients = (
        (-1.0) ** np.arange(n)
        * np.sin(np.pi * (np.arange(n) + 0.5) / n)
        / (times[:, None] - nodes)
    )
    interpolation = quotients / np.sum(quotients, axis=1, keepdims=True)
    # Weights between 1/2 and 3/2 with no pattern: the samples of a feature do not
    # cancel each other.
    weights = 0.5 + np.modf(np.arange(1, block + 1) * (np.sqrt(5) - 1) / 2)[0]
    matrix = np.einsum("kbn,b->kn", interpolation.reshape(-1, block, n), weights)
    number = _float()
    return (
        np.concatenate([nodes, times]).astype(number),
        matrix.astype(number),
        weights.astype(number),
    )


@shape_program
def _sample(
    equation: Equation,
    places: AnyArray,
    starts: AnyArray,
    ends: AnyArray,
    fractions: AnyArray,
    matrix: AnyArray,
    weights: AnyArray,
) -> tuple[Array, ...]:
    """The fields of `_Screened` for some intervals, and the values at equally spaced
    times `(I, N, C)`; a column is one function of the equation, or a component of it,
    at one place.
    """

    def at_places(t: Array) -> Array:
        return jax.vmap(lambda x: equation.given_at(x, t))(places).ravel()

    def of_interval(start: AnyArray, end: AnyArray) -> tuple[Array, ...]:
        times = start + (end - start) * fractions
        # In a few chunks, which bounds the memory of a function that is a sum of many
        # terms.
        chunks = jax.lax.map(
            jax.vmap(at_places), times.reshape(CONSTANTS.sampling_chunks, -1)
        )
        values = chunks.reshape(len(times), -1)
        at_nodes, values = values[: CONSTANTS.nodes], values[CONSTANTS.nodes :]
        # One sum for a block of samples is compared instead of each of them, which
        # takes a tenth of the time.
        blocks = values.reshape(len(matrix), len(weights), -1)
        deviation = jnp.max(
            jnp.abs(matrix @ at_nodes - jnp.sum(blocks * weights[:, None], 1)), 0
        )
        return (
            deviation,
            jnp.max(values, 0),
            jnp.min(values, 0),
            values[0],
            values[-1],
            values,
        )

    return jax.vmap(of_interval)(starts, ends)
