"""The problem on one slice, with its coefficients from those of the equation.

    U_i(x; y) = U(x_i = x, y)        the energy on the line along axis i through y
    U*_i(x) = min_y U(x_i = x, y)    its profile, for a Schrodinger equation

The coefficients at points of the line are those of the equation there. Of the drift and
of the diffusion, the component along the line is taken.
"""

from typing import NamedTuple

import numpy as np

from .marginal_profile import profile_points
from .request import FitRequest
from .sampled_equation import EquationSampler, sample_initial
from .slice_problem import SliceProblem, SliceValues
from .transient_bound import LogDensity


class SlicePoint(NamedTuple):
    """A point `(d,)` through which slices go, and the log density that their problems
    start from.

    `log_density` is None where levels are wanted.
    """

    point: np.ndarray
    log_density: LogDensity | None


def points_on_line(point: np.ndarray, axis: int, x: np.ndarray) -> np.ndarray:
    """The points `(m, d)` of the line along `axis` through a point `(d,)`, at positions
    x `(m,)`.
    """
    points = np.tile(point, (len(x), 1))
    points[:, axis] = x
    return points


def slice_problem(
    sampler: EquationSampler, request: FitRequest, axis: int, slice_point: SlicePoint
) -> SliceProblem:
    """The problem on the line along one axis through a point, with the initial state
    that belongs to the point.
    """

    def on_slice(x: np.ndarray) -> np.ndarray:
        return points_on_line(slice_point.point, axis, x)

    def values(x: np.ndarray, t: float) -> SliceValues:
        local = sampler.values(on_slice(x), t + request.t)
        diffusion = local.diffusion[:, axis]
        # A Schrodinger equation has no Gibbs density and no drift; its potential is the
        # energy itself.
        if not sampler.evolves_density:
            return SliceValues(0 * x, 0 * x, diffusion, local.energy)
        # On a line along one axis only the diffusion of this axis counts: log pi =
        # -U / D_i.
        return SliceValues(
            log_gibbs=-local.energy / diffusion,
            drift=local.drift[:, axis],
            diffusion=diffusion,
            potential_term=local.potential_terms[:, axis],
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
    sampler: EquationSampler,
    request: FitRequest,
    axis: int,
    lower: np.ndarray,
    upper: np.ndarray,
    fixed: np.ndarray,
) -> SliceProblem:
    """The problem of the marginal profile of a Schrodinger potential: on one axis,
    minimised over the others.
    """
    t = request.t

    def at_minima(x: np.ndarray) -> np.ndarray:
        return profile_points(sampler, axis, x, lower, upper, fixed, t)

    def values(x: np.ndarray, _: float) -> SliceValues:
        local = sampler.values(at_minima(x), t)
        return SliceValues(0 * x, 0 * x, local.diffusion[:, axis], local.energy)

    def energy(x: np.ndarray, _: float) -> np.ndarray:
        return values(x, 0.0).potential_term

    def slopes(x: np.ndarray, _: float) -> tuple[np.ndarray, np.ndarray]:
        # At a minimum over the other axes the slope along this one is the partial
        # derivative.
        return sampler.slope_and_curvature(at_minima(x), axis, t)

    return SliceProblem(
        values=values,
        energy=energy,
        slopes=slopes,
        initial=None,
        evolves_density=False,
        reversible=False,
        time_dependent=False,
        tol=request.tol,
    )
