"""Validation of the arguments of a fit."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core.checks import check_numbers, raise_value_error
from ..core.types import AnyArray, Formula, Numbers
from ..equation import (
    Continuity,
    FokkerPlanck,
    Schrodinger,
    ScoreHamiltonian,
    WithPotential,
)
from ..grid import Gaussian, Grid, Reflecting
from .constants import CONSTANTS
from .failures import short_name
from .sampled_equation import check_known


def check_request(
    equation: Any, initial: Any, times: Numbers | None, numbers: PyTree, like: Any
) -> None:
    """Raise `ValueError` for an equation, an initial state, times or a grid that cannot
    be fitted, and for tracers.
    """
    _check_equation(equation)
    check_known(equation, initial, times, numbers)
    if like is not None:
        _check_like(like)
    if initial is not None and not callable(initial):
        cure = "Give a function of x or fp.Gaussian, or the grid that the array is on."
        allowed = "an array has the shape of some grid, and none was given"
        raise_value_error("initial", np.shape(initial), allowed, cure)
    irreversible = equation.irreversible_anywhere
    if initial is None and equation.evolves_density and irreversible is not None:
        allowed = f"a fit to levels needs a Gibbs density: {irreversible}"
        raise_value_error("initial", None, allowed, "Give initial=, and times=.")
    if initial is not None and times is None and equation.time_dependent:
        allowed = "a moving potential is fitted at the times requested"
        raise_value_error("times", None, allowed, "Give times=[1.0], say.")


def _check_equation(equation: object) -> None:
    # A score may be known at samples only, so nothing says where its density ends.
    if isinstance(equation, ScoreHamiltonian):
        cure = "Give grid=, a box that holds the samples with room for their tails."
        allowed = "a grid is fitted to a potential, and a score has none that is known"
        raise_value_error("grid", None, allowed, cure)
    if isinstance(equation, Continuity):
        cure = "Give grid=, a box that holds the density at all times."
        allowed = "a grid is fitted to a potential, and a flow has none"
        raise_value_error("equation", equation, allowed, cure)
    if not isinstance(equation, FokkerPlanck | Schrodinger):
        cure = "Give fp.FokkerPlanck(potential), fp.Schrodinger(potential), ..."
        raise_value_error("equation", equation, "it must be an equation", cure)


def _check_like(like: object) -> None:
    if not isinstance(like, Grid):
        cure = "Give fp.Grid(fp.Periodic(0, 1, 8)), say; any n will do."
        raise_value_error("like", like, "it must be an fp.Grid", cure)
    for axis in like.axes:
        if isinstance(axis, Reflecting):
            cure = (
                f"Give fp.Legendre({axis.lower:g}, {axis.upper:g}, n): no flux through "
                "its ends either."
            )
            allowed = "equal cells between walls converge to order 2 only"
            raise_value_error("like", axis, allowed, cure)


def check_features(features: Any, ndim: int, like: Grid | None) -> np.ndarray:
    """The places of narrow features, `(m, d)`. **Raises** `ValueError` for another
    shape or places outside of walls.
    """
    cure = f"Give places of shape (m, {ndim}), or () for none."
    allowed = "it must hold real numbers"
    places = np.asarray(check_numbers("features", features, allowed, cure), float)
    if places.size == 0:
        return np.zeros((0, ndim))
    # In one dimension a list of numbers is enough.
    if ndim == 1 and places.ndim <= 1:
        places = places.reshape(-1, 1)
    if places.ndim != 2 or places.shape[1] != ndim:
        allowed = f"its shape is {places.shape}, it must be (m, {ndim})"
        raise_value_error("features", features, allowed, cure)
    if not np.all(np.isfinite(places)):
        raise_value_error("features", features, "every entry must be finite", cure)
    for i, axis in enumerate(() if like is None else like.axes):
        outside = (places[:, i] < axis.lower) | (places[:, i] > axis.upper)
        if not axis.unbounded and outside.any():
            allowed = (
                f"on axis {i} all must lie between {axis.lower:g} and {axis.upper:g}"
            )
            raise_value_error("features", features, allowed, cure)
    return places


def dimension(
    equation: WithPotential, initial: Formula | None, like: Grid | None, t: float
) -> int:
    """The number of dimensions: that of `like`, of the Gaussian or the diffusions
    given, or the smallest that all functions accept. **Raises** `ValueError` if there
    is none.
    """
    if like is not None:
        return like.ndim
    if isinstance(initial, Gaussian):
        lengths = np.shape(initial.mean)[:1] + np.shape(initial.covariance)[:1]
        if given := max(lengths, default=0):
            return int(given)
    if not callable(equation.diffusion):
        shape = np.shape(equation.diffusion) or getattr(equation, "given", ())
        if shape:
            return int(shape[0])
    # Nothing given says how many coordinates the functions take: try them on points of
    # more and more dimensions.
    why = ""
    for d in range(1, CONSTANTS.largest_dimension + 1):
        point = np.full(d, 0.1)
        try:
            try:
                # A point of numpy: an index beyond its end is an error there. JAX would
                # clamp the index.
                shape = _call_at(equation, initial, point, t)
            # what only arrays of JAX have, such as x.at
            except (AttributeError, TypeError):
                shape = _call_at(equation, initial, jnp.asarray(point), t)
        except jax.errors.UnexpectedTracerError:
            # A function closes over a tracer, whatever the dimension is.
            raise
        except (IndexError, TypeError, ValueError) as error:
            why = str(error)
            continue
        if shape == (d,):
            return d
    allowed = (
        f"no dimension up to {CONSTANTS.largest_dimension} suits its functions ({why})"
    )
    cure = "Give like=fp.Grid(...) with an axis a dimension."
    raise_value_error("equation", short_name(equation), allowed, cure)


def _call_at(
    equation: WithPotential, initial: Formula | None, point: AnyArray, t: float
) -> tuple[int, ...]:
    """Call every function of a problem at a point, and return the shape of the force,
    or of the point.
    """
    with np.errstate(all="ignore"):
        equation.energy(point, t)
        if initial is not None and not isinstance(initial, Gaussian):
            initial(point)
        # A force has one component for each dimension; it decides where all other
        # functions accept any number.
        shape = point.shape
        if callable(equation.diffusion):
            equation.diffusion(point)
        if isinstance(equation, FokkerPlanck) and equation.force is not None:
            force = equation.force
            arguments = (point, t) if force.time_dependent else (point,)
            shape = jnp.shape(force.function(*arguments))
    return shape
