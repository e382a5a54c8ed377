"""The domain of a problem: boxes that contain its densities at all times, and slices
through them.

A box is the union of three: of the Gibbs density, of the initial density, and of the
predicted transient between them. For a Schrodinger equation the lowest modes take the
place of the Gibbs density (`bound_states`).
"""

from typing import NamedTuple

import numpy as np

from ..grid import Axis, Gaussian, Line
from .bound_states import bound_state_box, energy_minimum, natural_length
from .bounding_box import NotConfining, coarse_nodes, find_box, product_points
from .constants import CONSTANTS
from .dense_look import spread_in_bulk, wide_points
from .drive import jittered_times
from .gaussian_prediction import GaussianPrediction, predict_gaussian
from .marginal_profile import maximize_log_density, profile_extent, profile_points
from .request import FitRequest
from .sampled_equation import (
    EquationSampler,
    log_initial,
    log_normal,
    mean_and_covariance,
    sample_initial,
)
from .slice_problem import SliceProblem, SliceValues
from .transient_bound import Bounds, LogDensity, log_excess


class SlicePoint(NamedTuple):
    """A point `(d,)` through which slices go, and the log density that their problems
    start from.

    `log_density` is None where levels are wanted.
    """

    point: np.ndarray
    log_density: LogDensity | None


class Domain:
    """Boxes and slices of one problem.

    `kinds` are the classes of the axes; all but `fp.Line` keep their bounds in `lower`,
    `upper` `(d,)`, and `fixed` `(d,)` says which. `confined` says that a Gibbs density,
    or -U in its place, bounds the domain. `prediction` is the predicted transient,
    which `bounding_box` computes where it is needed.
    """

    def __init__(
        self,
        sampler: EquationSampler,
        request: FitRequest,
        lower: np.ndarray,
        upper: np.ndarray,
        kinds: list[type[Axis]],
    ):
        self.sampler = sampler
        self.request = request
        self.lower = lower
        self.upper = upper
        self.kinds = kinds
        self.fixed = np.asarray([kind is not Line for kind in kinds])
        self.times = _sampled_times(sampler, request)
        self.confined = (
            sampler.evolves_density and sampler.equation.potential is not None
        )
        self.prediction: GaussianPrediction | None = None
        # log max(p / pi) of the initial density, where no transient exceeds max(p / pi)
        # pi.
        self._log_excess = np.inf

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.sampler.ndim

    def bounding_box(self, depth: float) -> Bounds:
        """A generous box outside of which every density is below exp(-depth) of its
        peak.

        **Raises** `NotConfining` where there is none.
        """
        # One box for each density that may be met; the union of all is the answer.
        boxes = []
        if self.confined and len(self.times) > 1:
            boxes += self._boxes_of_drive(depth)
        elif self.confined:
            boxes.append(self._searched_box(self._log_gibbs_at(self.times[0]), depth))
        if self.request.initial is not None:
            boxes.append(self._initial_box(depth))
            # In one dimension the Gibbs density contains what flows towards it. In
            # more, or without a potential, a density may pass outside of both on its
            # way from one to the other.
            may_leave = self.ndim > 1 or not self.confined
            if self.sampler.evolves_density and may_leave and not self.fixed.all():
                boxes.append(self._transient_box(boxes[-1], depth))
        if not self.sampler.evolves_density:
            boxes.append(self._bound_state_box(depth))
        return np.min([box[0] for box in boxes], axis=0), np.max(
            [box[1] for box in boxes], axis=0
        )

    def _searched_box(self, height: LogDensity, depth: float) -> Bounds:
        """`find_box`, and what a wide look at many other points finds high outside of
        it: a second well, say.
        """
        lower, upper = find_box(height, self.lower, self.upper, self.fixed, depth)
        for _ in range(CONSTANTS.most_wide_looks):
            points = np.concatenate(
                [wide_points(lower, upper, self.fixed), self.request.places(self.ndim)]
            )
            values = height(points)
            high = points[values > np.max(values) - depth]
            # What lies outside by less than the nodes of a scan is part of the same
            # peak.
            margin = CONSTANTS.wide_margin * (upper - lower)
            if np.all((high >= lower - margin) & (high <= upper + margin)):
                break
            # The nodes of a scan may miss what was found here, so that its points are
            # kept whatever a new scan says.
            low, top = (
                np.minimum(lower, np.min(high, axis=0)),
                np.maximum(upper, np.max(high, axis=0)),
            )
            try:
                found = find_box(height, low, top, self.fixed, depth)
            except NotConfining:
                # Far outside there is no end: a table is continued by cubics there, and
                # says nothing about wells.
                break
            lower = np.where(self.fixed, lower, np.minimum(low, found[0]))
            upper = np.where(self.fixed, upper, np.maximum(top, found[1]))
        return lower, upper

    def _boxes_of_drive(self, depth: float) -> list[Bounds]:
        """One box for each time at which a Gibbs density that changes was examined, and
        for more times at which it lies outside of all these boxes; those times are
        added to `times`.
        """
        boxes = [self._searched_box(self._log_gibbs_at(t), depth) for t in self.times]
        many = jittered_times(float(self.times[-1]), CONSTANTS.drive_looks)
        lower, upper = (
            np.min([box[0] for box in boxes], axis=0),
            np.max([box[1] for box in boxes], axis=0),
        )
        points = wide_points(lower, upper, self.fixed)[: CONSTANTS.drive_points]
        heights = np.stack([self.sampler.log_gibbs(points, t) for t in many])
        high = heights > np.max(heights, axis=1, keepdims=True) - depth
        for _ in range(CONSTANTS.most_added_times):
            margin = CONSTANTS.wide_margin * (upper - lower)
            outside = np.any(
                (points < lower - margin) | (points > upper + margin), axis=1
            )
            missed = np.sum(high & outside, axis=1)
            if not missed.any():
                break
            t = float(many[np.argmax(missed)])
            box = self._searched_box(self._log_gibbs_at(t), depth)
            boxes.append(box)
            lower, upper = np.minimum(lower, box[0]), np.maximum(upper, box[1])
            self.times = np.sort(np.append(self.times, t))
        return boxes

    def gibbs_box(self, depth: float, lower: np.ndarray, upper: np.ndarray) -> Bounds:
        """The box of the Gibbs densities of all examined times to a depth, inside a
        generous one.
        """
        boxes = [
            find_box(self._log_gibbs_at(t), lower, upper, self.fixed, depth)
            for t in self.times
        ]
        low, high = (
            np.min([box[0] for box in boxes], axis=0),
            np.max([box[1] for box in boxes], axis=0),
        )
        return np.maximum(low, lower), np.minimum(high, upper)

    def gibbs_profile(
        self, axis: int, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        """log pi `(P,)` along one axis, the largest over all others, at evenly spaced
        positions.
        """
        count = CONSTANTS.scan_nodes[0] if self.ndim == 1 else CONSTANTS.profile_nodes
        x, t = np.linspace(lower[axis], upper[axis], count), self.request.t
        points = x[:, None]
        if self.ndim > 1:
            points = profile_points(self.sampler, axis, x, lower, upper, self.fixed, t)
        return self.sampler.log_gibbs(points, t)

    def _log_gibbs_at(self, t: float) -> LogDensity:
        return lambda x: self.sampler.log_gibbs(x, t)

    def _log_initial(self, x: np.ndarray) -> np.ndarray:
        return log_initial(self.request.initial, x)

    def _initial_box(self, depth: float) -> Bounds:
        """The box of the initial density; of a Gaussian it is known."""
        if not isinstance(self.request.initial, Gaussian):
            return self._searched_box(self._log_initial, depth)
        mean, covariance = mean_and_covariance(self.request.initial, self.ndim)
        width = np.sqrt(2 * depth * np.diag(covariance))
        return np.where(self.fixed, self.lower, mean - width), np.where(
            self.fixed, self.upper, mean + width
        )

    def _transient_box(self, initial_box: Bounds, depth: float) -> Bounds:
        """The box of the normal density that starts with the moments of the initial
        density and follows the drift.
        """
        if isinstance(self.request.initial, Gaussian):
            mean, covariance = mean_and_covariance(self.request.initial, self.ndim)
        else:
            # The moments of any other density are sums over a coarse grid, which is
            # enough for a prediction.
            points = product_points(coarse_nodes(*initial_box))
            mass = np.exp(self._log_initial(points))
            mean = mass @ points / np.sum(mass)
            covariance = (
                (points - mean).T @ ((points - mean) * mass[:, None]) / np.sum(mass)
            )
        times = self.request.times
        last = CONSTANTS.longest_time if times is None else float(times[-1])
        self.prediction = predict_gaussian(self.sampler, mean, covariance, last)
        lower, upper = self.prediction.box(depth)
        if (
            self.confined
            and self.sampler.reversible
            and not self.sampler.equation.time_dependent
        ):
            log_gibbs = self._log_gibbs_at(self.times[0])
            gibbs_box = self._searched_box(log_gibbs, depth)
            self._log_excess = log_excess(
                self._log_initial, initial_box, log_gibbs, gibbs_box
            )
        if np.isfinite(self._log_excess):
            # The prediction linearises the drift, and may be far too wide between two
            # wells.
            low, high = self._searched_box(
                self._log_gibbs_at(self.times[0]), depth + self._log_excess
            )
            lower, upper = np.maximum(lower, low), np.minimum(upper, high)
        return np.where(self.fixed, self.lower, lower), np.where(
            self.fixed, self.upper, upper
        )

    def _bound_state_box(self, depth: float) -> Bounds:
        """The box of the lowest modes of a Schrodinger potential."""
        minimum = self._energy_minimum()
        lower, upper = self.lower.copy(), self.upper.copy()
        free = list(map(int, np.flatnonzero(~self.fixed)))
        problems = {i: self.slice_problem(i, SlicePoint(minimum, None)) for i in free}
        lengths = np.ones(self.ndim)
        for i in free:
            lengths[i] = natural_length(problems[i], float(minimum[i]))
        points = wide_points(
            np.where(self.fixed, lower, minimum - lengths),
            np.where(self.fixed, upper, minimum + lengths),
            self.fixed,
        )
        points = np.concatenate([points, self.request.places(self.ndim)])
        energies = self.sampler.energy(points, self.request.t)
        # The axes are treated one by one, on slices through the minimum.
        for i in free:

            def encloses_wells(
                low: float, high: float, energy: float, i: int = i
            ) -> bool:
                x = points[energies < energy, i]
                return bool(np.all((x >= low) & (x <= high)))

            center = float(minimum[i])
            lower[i], upper[i] = bound_state_box(
                problems[i], i, center, self.request.k, depth, encloses_wells
            )
        return lower, upper

    def _energy_minimum(self) -> np.ndarray:
        return energy_minimum(
            self.sampler, self.lower, self.upper, self.fixed, self.request.t
        )

    def tighten(self, depth: float, lower: np.ndarray, upper: np.ndarray) -> Bounds:
        """The smallest box for a given depth inside a generous one: by marginal
        profiles instead of coarse grids.
        """
        # Intervals by axis: of the Gibbs density at all times, and of the transient or
        # the initial density.
        intervals: list[tuple[int, float, float]] = []
        for t in self.times if self.confined else ():
            for i in map(int, np.flatnonzero(~self.fixed)):
                intervals.append(
                    (
                        i,
                        *profile_extent(
                            self.sampler, i, lower, upper, self.fixed, depth, t
                        ),
                    )
                )
        if self.prediction is not None:
            box = self.prediction.box(depth)
            for i in range(self.ndim):
                low, high = box[0][i], box[1][i]
                if np.isfinite(self._log_excess) and not self.fixed[i]:
                    within = depth + self._log_excess
                    bounds = profile_extent(
                        self.sampler, i, lower, upper, self.fixed, within, self.times[0]
                    )
                    low, high = max(low, bounds[0]), min(high, bounds[1])
                intervals.append((i, low, high))
        elif self.request.initial is not None:
            box = find_box(self._log_initial, lower, upper, self.fixed, depth)
            intervals += [(i, box[0][i], box[1][i]) for i in range(self.ndim)]
        # An axis without intervals keeps its generous bounds.
        low = [
            min((a for i, a, _ in intervals if i == j), default=lower[j])
            for j in range(self.ndim)
        ]
        high = [
            max((b for i, _, b in intervals if i == j), default=upper[j])
            for j in range(self.ndim)
        ]
        return np.where(self.fixed, lower, low), np.where(self.fixed, upper, high)

    def slice_points(self, lower: np.ndarray, upper: np.ndarray) -> list[SlicePoint]:
        """Points through which slices go: in the initial density, along the transient,
        in the bulk of the Gibbs density, and at the minimum of a Schrodinger potential.
        """
        has_initial = self.request.initial is not None
        log_initial_density = self._log_initial if has_initial else None
        # In one dimension the only slice is the problem itself.
        if self.ndim == 1:
            return [SlicePoint(np.zeros(1), log_initial_density)]
        points = product_points(coarse_nodes(lower, upper))
        found = []
        if log_initial_density is not None:
            bulk = spread_in_bulk(
                points,
                log_initial_density(points),
                lower,
                upper,
                CONSTANTS.initial_slices,
            )
            found += [SlicePoint(y, log_initial_density) for y in bulk]
        if self.prediction is not None:
            # Half-way in the steps, which is early in time, and at the end.
            steps = len(self.prediction.means)
            found += [
                _transient_slice(self.prediction, s) for s in (steps // 2, steps - 1)
            ]
        # A force that is no gradient turns the density round; then -U says little about
        # where it is.
        follows_prediction = self.prediction is not None and not self.sampler.reversible
        if self.confined and not follows_prediction:
            for t in np.unique(self.times[[0, -1]]):
                found += self._gibbs_slices(points, lower, upper, t)
        if not self.sampler.evolves_density:
            found.append(SlicePoint(self._energy_minimum(), None))
        return found

    def _gibbs_slices(
        self, points: np.ndarray, lower: np.ndarray, upper: np.ndarray, t: float
    ) -> list[SlicePoint]:
        """Slice points in the bulk of the Gibbs density of time t, its mode first."""
        log_gibbs = self.sampler.log_gibbs(points, t)
        mode = maximize_log_density(
            self.sampler, points[[np.argmax(log_gibbs)]], ~self.fixed, t
        )
        # The mode comes first, whatever its height: the coarse grid may have missed it.
        candidates, heights = (
            np.concatenate([mode, points]),
            np.concatenate([[np.inf], log_gibbs]),
        )
        bulk = spread_in_bulk(candidates, heights, lower, upper, CONSTANTS.gibbs_slices)
        if self.request.initial is None:
            return [SlicePoint(y, None) for y in bulk]

        def near_gibbs(x: np.ndarray) -> np.ndarray:
            # A power of pi: its wave is as smooth as that of a state late in the run,
            # and not constant.
            return CONSTANTS.near_gibbs_sharpness * self.sampler.log_gibbs(x, t)

        return [SlicePoint(y, near_gibbs) for y in bulk]

    def slice_problem(self, axis: int, slice_point: SlicePoint) -> SliceProblem:
        """The problem on the line along one axis through a point, with the initial
        state that belongs to the point.
        """
        sampler, request = self.sampler, self.request

        def on_slice(x: np.ndarray) -> np.ndarray:
            return points_on_line(slice_point.point, axis, x)

        def values(x: np.ndarray, t: float) -> SliceValues:
            local = sampler.values(on_slice(x), t + request.t)
            diffusion = local.diffusion[:, axis]
            # A Schrodinger equation has no Gibbs density and no drift; its potential is
            # the energy itself.
            if not sampler.evolves_density:
                return SliceValues(0 * x, 0 * x, diffusion, local.energy)
            # On a line along one axis only the diffusion of this axis counts: log pi =
            # -U / D_i.
            log_gibbs = -local.energy / diffusion
            return SliceValues(
                log_gibbs,
                local.drift[:, axis],
                diffusion,
                local.potential_terms[:, axis],
            )

        def initial(x: np.ndarray) -> np.ndarray:
            # A wave is given by its values, which may be negative; a density by its
            # logarithm, which cannot underflow.
            if not sampler.evolves_density:
                return sample_initial(request.initial, on_slice(x))
            assert slice_point.log_density is not None, (
                "a slice of levels has no initial density"
            )
            return slice_point.log_density(on_slice(x))

        def energy(x: np.ndarray, t: float) -> np.ndarray:
            return sampler.energy(on_slice(x), t + request.t)

        def slopes(x: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
            return sampler.slope_and_curvature(on_slice(x), axis, t + request.t)

        has_initial = request.initial is not None
        return SliceProblem(
            values=values,
            energy=energy,
            slopes=slopes,
            initial=initial if has_initial else None,
            evolves_density=sampler.evolves_density,
            reversible=sampler.reversible,
            # Levels belong to one time, at which the equation is frozen.
            time_dependent=sampler.equation.time_dependent and has_initial,
            tol=request.tol,
            wick=request.wick,
        )

    def profile_problem(
        self, axis: int, lower: np.ndarray, upper: np.ndarray
    ) -> SliceProblem:
        """The problem of the marginal profile of a Schrodinger potential: on one axis,
        minimised over the others.
        """
        sampler, t = self.sampler, self.request.t

        def values(x: np.ndarray, _: float) -> SliceValues:
            points = profile_points(sampler, axis, x, lower, upper, self.fixed, t)
            local = sampler.values(points, t)
            return SliceValues(0 * x, 0 * x, local.diffusion[:, axis], local.energy)

        def energy(x: np.ndarray, _: float) -> np.ndarray:
            return values(x, 0.0).potential_term

        def slopes(x: np.ndarray, _: float) -> tuple[np.ndarray, np.ndarray]:
            # At a minimum over the other axes the slope along this one is the partial
            # derivative.
            points = profile_points(sampler, axis, x, lower, upper, self.fixed, t)
            return sampler.slope_and_curvature(points, axis, t)

        return SliceProblem(
            values=values,
            energy=energy,
            slopes=slopes,
            initial=None,
            evolves_density=False,
            reversible=False,
            time_dependent=False,
            tol=self.request.tol,
        )

    def slice_interval(
        self, axis: int, y: np.ndarray, depth: float, problem: SliceProblem
    ) -> tuple[float, float]:
        """The interval on a slice through y where its own densities are within `depth`
        of their peaks.

        A slice far from the mode may need another interval than the box, which follows
        marginals.
        """
        if self.fixed[axis]:
            return float(self.lower[axis]), float(self.upper[axis])
        # Any interval about the point will do to begin with: `find_box` widens it and
        # shrinks it.
        low, high = np.full(1, y[axis] - 1.0), np.full(1, y[axis] + 1.0)
        free = np.zeros(1, bool)
        boxes = []
        for t in self.times if self.confined else ():

            def log_gibbs(x: np.ndarray, t: float = t) -> np.ndarray:
                return problem.values(x[:, 0], t - self.request.t).log_gibbs

            boxes.append(find_box(log_gibbs, low, high, free, depth))
        if (initial := problem.initial) is not None:
            boxes.append(find_box(lambda x: initial(x[:, 0]), low, high, free, depth))
        return float(min(box[0][0] for box in boxes)), float(
            max(box[1][0] for box in boxes)
        )


def points_on_line(point: np.ndarray, axis: int, x: np.ndarray) -> np.ndarray:
    """The points `(m, d)` of the line along `axis` through a point `(d,)`, at positions
    x `(m,)`.
    """
    points = np.tile(point, (len(x), 1))
    points[:, axis] = x
    return points


def _sampled_times(sampler: EquationSampler, request: FitRequest) -> np.ndarray:
    """The times at which the potential is examined: one for a static problem."""
    if not sampler.equation.time_dependent or request.times is None:
        return np.full(1, request.t)
    # Parts of the golden section between the ends: equal steps might meet a periodic
    # drive in the same phase each time.
    parts = np.arange(1, CONSTANTS.time_samples - 1) * (np.sqrt(5) - 1) / 2 % 1
    return float(request.times[-1]) * np.concatenate(
        [np.zeros(1), np.sort(parts), np.ones(1)]
    )


def _transient_slice(prediction: GaussianPrediction, step: int) -> SlicePoint:
    """The slice point at the predicted mean of one step, with the normal density
    predicted there.
    """
    mean, covariance = prediction.means[step], prediction.covariances[step]
    return SlicePoint(mean, lambda x: log_normal(x, mean, covariance))
