"""The domain of a problem: boxes that contain its densities at all times.

A box is the union of three: of the Gibbs density, of the initial density, and of the
predicted transient between them. For a Schrodinger equation the lowest modes take the
place of the Gibbs density (`bound_states`).
"""

import numpy as np

from ..grid import Axis, Gaussian, Line
from .bound_states import bound_state_box, energy_minimum, natural_length
from .bounding_box import NotConfining, coarse_nodes, find_box, product_points
from .constants import CONSTANTS
from .dense_look import wide_points
from .drive import jittered_times
from .gaussian_prediction import GaussianPrediction, predict_gaussian
from .marginal_profile import profile_extent, profile_points
from .request import FitRequest
from .sampled_equation import (
    EquationSampler,
    log_initial,
    mean_and_covariance,
)
from .slice_coefficients import SlicePoint, slice_problem
from .transient_bound import Bounds, LogDensity, log_excess


class Domain:
    """The boxes of one problem.

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
        has_potential = sampler.equation.potential is not None
        self.confined = sampler.evolves_density and has_potential
        self.prediction: GaussianPrediction | None = None
        # log max(p / pi) of the initial density, where no transient exceeds max(p / pi)
        # pi.
        self._log_excess = np.inf

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.sampler.ndim

    @property
    def free_axes(self) -> list[int]:
        """The axes whose bounds are fitted."""
        return [int(i) for i in np.flatnonzero(~self.fixed)]

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
        return _union(boxes)

    def _searched_box(self, height: LogDensity, depth: float) -> Bounds:
        """`find_box`, and what a wide look at many other points finds high outside of
        it: a second well, say.
        """
        lower, upper = find_box(height, self.lower, self.upper, self.fixed, depth)
        for _ in range(CONSTANTS.most_wide_looks):
            wide = wide_points(lower, upper, self.fixed)
            points = np.concatenate([wide, self.request.places(self.ndim)])
            values = height(points)
            high = points[values > np.max(values) - depth]
            # What lies outside by less than the nodes of a scan is part of the same
            # peak.
            margin = CONSTANTS.wide_margin * (upper - lower)
            if np.all((high >= lower - margin) & (high <= upper + margin)):
                break
            # The nodes of a scan may miss what was found here, so that its points are
            # kept whatever a new scan says.
            low = np.minimum(lower, np.min(high, axis=0))
            top = np.maximum(upper, np.max(high, axis=0))
            try:
                found_low, found_top = find_box(height, low, top, self.fixed, depth)
            except NotConfining:
                # Far outside there is no end: a table is continued by cubics there, and
                # says nothing about wells.
                break
            lower = np.where(self.fixed, lower, np.minimum(low, found_low))
            upper = np.where(self.fixed, upper, np.maximum(top, found_top))
        return lower, upper

    def _boxes_of_drive(self, depth: float) -> list[Bounds]:
        """One box for each time at which a Gibbs density that changes was examined, and
        for more times at which it lies outside of all these boxes; those times are
        added to `times`.
        """
        boxes = [self._searched_box(self._log_gibbs_at(t), depth) for t in self.times]
        many = jittered_times(float(self.times[-1]), CONSTANTS.drive_looks)
        lower, upper = _union(boxes)
        points = wide_points(lower, upper, self.fixed)[: CONSTANTS.drive_points]
        heights = np.stack([self.sampler.log_gibbs(points, t) for t in many])
        high = heights > np.max(heights, axis=1, keepdims=True) - depth
        for _ in range(CONSTANTS.most_added_times):
            margin = CONSTANTS.wide_margin * (upper - lower)
            beyond = (points < lower - margin) | (points > upper + margin)
            missed = np.sum(high & np.any(beyond, axis=1), axis=1)
            if not missed.any():
                break
            t = float(many[np.argmax(missed)])
            box = self._searched_box(self._log_gibbs_at(t), depth)
            boxes.append(box)
            lower = np.minimum(lower, box[0])
            upper = np.maximum(upper, box[1])
            self.times = np.sort(np.append(self.times, t))
        return boxes

    def gibbs_box(self, depth: float, lower: np.ndarray, upper: np.ndarray) -> Bounds:
        """The box of all examined Gibbs densities to a depth, inside a generous one."""
        boxes = [
            find_box(self._log_gibbs_at(t), lower, upper, self.fixed, depth)
            for t in self.times
        ]
        low, high = _union(boxes)
        return np.maximum(low, lower), np.minimum(high, upper)

    def gibbs_profile(
        self, axis: int, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        """log pi `(P,)` at even positions on one axis, the largest over all others."""
        count = CONSTANTS.scan_nodes[0] if self.ndim == 1 else CONSTANTS.profile_nodes
        x = np.linspace(lower[axis], upper[axis], count)
        t = self.request.t
        points = x[:, None]
        if self.ndim > 1:
            points = profile_points(self.sampler, axis, x, lower, upper, self.fixed, t)
        return self.sampler.log_gibbs(points, t)

    def _with_fixed_bounds(self, lower: np.ndarray, upper: np.ndarray) -> Bounds:
        """A box, but on the axes that are fixed the bounds given."""
        kept_lower = np.where(self.fixed, self.lower, lower)
        kept_upper = np.where(self.fixed, self.upper, upper)
        return kept_lower, kept_upper

    def _log_gibbs_at(self, t: float) -> LogDensity:
        return lambda x: self.sampler.log_gibbs(x, t)

    def log_initial(self, x: np.ndarray) -> np.ndarray:
        """log p + constant of the initial density at points `(P, d)`, `(P,)`."""
        return log_initial(self.request.initial, x)

    def _initial_box(self, depth: float) -> Bounds:
        """The box of the initial density; of a Gaussian it is known."""
        if not isinstance(self.request.initial, Gaussian):
            return self._searched_box(self.log_initial, depth)
        mean, covariance = mean_and_covariance(self.request.initial, self.ndim)
        width = np.sqrt(2 * depth * np.diag(covariance))
        return self._with_fixed_bounds(mean - width, mean + width)

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
            mass = np.exp(self.log_initial(points))
            mean = mass @ points / np.sum(mass)
            offsets = points - mean
            covariance = offsets.T @ (offsets * mass[:, None]) / np.sum(mass)
        times = self.request.times
        last = CONSTANTS.longest_time if times is None else float(times[-1])
        self.prediction = predict_gaussian(self.sampler, mean, covariance, last)
        lower, upper = self.prediction.box(depth)
        static = not self.sampler.equation.time_dependent
        log_gibbs = self._log_gibbs_at(self.times[0])
        # The maximum principle for p / pi takes a stationary Gibbs density.
        if self.confined and self.sampler.reversible and static:
            gibbs_box = self._searched_box(log_gibbs, depth)
            self._log_excess = log_excess(
                self.log_initial, initial_box, log_gibbs, gibbs_box
            )
        if np.isfinite(self._log_excess):
            # The prediction linearises the drift, and may be far too wide between two
            # wells.
            low, high = self._searched_box(log_gibbs, depth + self._log_excess)
            lower = np.maximum(lower, low)
            upper = np.minimum(upper, high)
        return self._with_fixed_bounds(lower, upper)

    def _bound_state_box(self, depth: float) -> Bounds:
        """The box of the lowest modes of a Schrodinger potential."""
        minimum = self.energy_minimum()
        through_minimum = SlicePoint(minimum, None)
        problems = {
            i: slice_problem(self.sampler, self.request, i, through_minimum)
            for i in self.free_axes
        }
        lengths = np.ones(self.ndim)
        for i in self.free_axes:
            lengths[i] = natural_length(problems[i], float(minimum[i]))
        near = self._with_fixed_bounds(minimum - lengths, minimum + lengths)
        wide = wide_points(*near, self.fixed)
        points = np.concatenate([wide, self.request.places(self.ndim)])
        energies = self.sampler.energy(points, self.request.t)
        # The axes are treated one by one, on slices through the minimum.
        lower, upper = self.lower.copy(), self.upper.copy()
        for i in self.free_axes:
            # i as a default: each function keeps the axis of its own turn of the loop.
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

    def energy_minimum(self) -> np.ndarray:
        """The point `(d,)` where the energy is lowest."""
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
            for i in self.free_axes:
                bounds = profile_extent(
                    self.sampler, i, lower, upper, self.fixed, depth, t
                )
                intervals.append((i, *bounds))
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
            box = find_box(self.log_initial, lower, upper, self.fixed, depth)
            intervals += [(i, box[0][i], box[1][i]) for i in range(self.ndim)]
        # An axis without intervals keeps its generous bounds.
        tight_lower, tight_upper = lower.copy(), upper.copy()
        for j in self.free_axes:
            tight_lower[j] = min(
                (a for i, a, _ in intervals if i == j), default=lower[j]
            )
            tight_upper[j] = max(
                (b for i, _, b in intervals if i == j), default=upper[j]
            )
        return tight_lower, tight_upper


def _union(boxes: list[Bounds]) -> Bounds:
    """The smallest box that contains all of several boxes."""
    lower = np.min([box[0] for box in boxes], axis=0)
    upper = np.max([box[1] for box in boxes], axis=0)
    return lower, upper


def _sampled_times(sampler: EquationSampler, request: FitRequest) -> np.ndarray:
    """The times at which the potential is examined: one for a static problem."""
    if not sampler.equation.time_dependent or request.times is None:
        return np.full(1, request.t)
    # Parts of the golden section between the ends: equal steps might meet a periodic
    # drive in the same phase each time.
    parts = np.arange(1, CONSTANTS.time_samples - 1) * (np.sqrt(5) - 1) / 2 % 1
    fractions = np.concatenate([np.zeros(1), np.sort(parts), np.ones(1)])
    return float(request.times[-1]) * fractions
