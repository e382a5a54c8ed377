"""Validation of the arguments of a fit, and the error messages of fits that fail."""

from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from ..core.checks import is_concrete, raise_value_error
from ..equation import FokkerPlanck, Schrodinger, ScoreHamiltonian, WithPotential
from ..grid import Gaussian, Grid, Reflecting
from .bounding_box import NotConfining
from .constants import CONSTANTS
from .search import BoxNotFound, Unresolved


def check_request(equation: Any, initial: Any, times: Any, numbers: Any, like: Any) -> None:
    """Raise `ValueError` for an equation, an initial state, times or a grid that cannot be fitted, and for tracers."""
    _check_equation(equation)
    if not is_concrete(equation, initial, times, numbers):
        cure = "Call fp.fit_grid outside, with concrete numbers, and pass the grid."
        raise_value_error("grid", None, "a grid cannot be fitted to traced values (jit, vmap, grad)", cure)
    if like is not None:
        _check_like(like)
    if initial is not None and not callable(initial):
        cure = "Give a function of x or fp.Gaussian, or the grid that the array is on."
        raise_value_error("initial", np.shape(initial), "an array has the shape of some grid, and none was given", cure)
    if initial is None and equation.evolves_density and equation.irreversible_anywhere is not None:
        allowed = f"a fit to levels needs a Gibbs density: {equation.irreversible_anywhere}"
        raise_value_error("initial", None, allowed, "Give initial=, and times=.")
    if initial is not None and times is None and equation.time_dependent:
        allowed = "a moving potential is fitted at the times requested"
        raise_value_error("times", None, allowed, "Give times=[1.0], say.")


def _check_equation(equation: Any) -> None:
    # A score may be known at samples only, so nothing says where its density ends.
    if isinstance(equation, ScoreHamiltonian):
        cure = "Give grid=, a box that holds the samples with room for their tails."
        raise_value_error("grid", None, "a grid is fitted to a potential, and a score has none that is known", cure)
    if not isinstance(equation, FokkerPlanck | Schrodinger):
        cure = "Give fp.FokkerPlanck(potential), fp.Schrodinger(potential), ..."
        raise_value_error("equation", equation, "it must be an equation", cure)


def _check_like(like: Any) -> None:
    if not isinstance(like, Grid):
        cure = "Give fp.Grid(fp.Periodic(0, 1, 8)), say; any n will do."
        raise_value_error("like", like, "it must be an fp.Grid", cure)
    for axis in like.axes:
        if isinstance(axis, Reflecting):
            cure = f"Give fp.Legendre({axis.lower:g}, {axis.upper:g}, n): no flux through its ends either."
            raise_value_error("like", axis, "equal cells between walls converge to order 2 only", cure)


def dimension(equation: WithPotential, initial: Any, like: Grid | None, t: float) -> int:
    """The number of dimensions: that of `like`, of the Gaussian or the diffusions given, or the smallest that all
    functions accept. **Raises** `ValueError` if there is none."""
    if like is not None:
        return like.ndim
    if isinstance(initial, Gaussian):
        given = max(np.shape(initial.mean)[:1] + np.shape(initial.covariance)[:1], default=0)
        if given:
            return int(given)
    if not callable(equation.diffusion) and (shape := np.shape(equation.diffusion) or getattr(equation, "given", ())):
        return int(shape[0])
    # Nothing given says how many coordinates the functions take: try them on points of more and more dimensions.
    why = ""
    for d in range(1, CONSTANTS.largest_dimension + 1):
        point = np.full(d, 0.1)
        try:
            try:
                # A point of numpy: an index beyond its end is an error there. JAX would clamp the index.
                shape = _call_at(equation, initial, point, t)
            except (AttributeError, TypeError):  # what only arrays of JAX have, such as x.at
                shape = _call_at(equation, initial, jnp.asarray(point), t)
        except (IndexError, TypeError, ValueError) as error:
            why = str(error)
            continue
        if shape == (d,):
            return d
    allowed = f"no dimension up to {CONSTANTS.largest_dimension} suits its functions ({why})"
    raise_value_error("equation", equation, allowed, "Give like=fp.Grid(...) with an axis a dimension.")


def _call_at(equation: WithPotential, initial: Any, point: Any, t: float) -> tuple[int, ...]:
    """Call every function of a problem at a point, and return the shape of the force, or of the point."""
    with np.errstate(all="ignore"):
        equation.energy(point, t)
        if initial is not None and not isinstance(initial, Gaussian):
            initial(point)
        # A force has one component for each dimension; it decides where all other functions accept any number.
        shape = point.shape
        if callable(equation.diffusion):
            equation.diffusion(point)
        if isinstance(equation, FokkerPlanck) and equation.force is not None:
            force = equation.force
            shape = jnp.shape(force.function(point, t) if force.time_dependent else force.function(point))
    return shape


def raise_fit_error(failure: Exception, equation: WithPotential, tol: float) -> NoReturn:
    """Raise the `ValueError` that explains why a fit failed."""
    if isinstance(failure, NotConfining):
        _raise_not_confining(failure, equation)
    if isinstance(failure, BoxNotFound):
        cure = "Give shorter times, fewer levels, or the grid yourself."
        box = f"[{failure.lower:g}, {failure.upper:g}]"
        raise_value_error("equation", equation, f"its states have not decayed to tol at the ends of {box}", cure)
    assert isinstance(failure, Unresolved)
    _raise_unresolved(failure, equation, tol)


def _raise_not_confining(failure: NotConfining, equation: WithPotential) -> NoReturn:
    name = f"axis {failure.axis}"
    if failure.rises:
        cure = "Change its sign, add a confining term, or give like= with walls."
        raise_value_error("potential", equation.potential, f"it is unbounded from below along {name}", cure)
    cure = "Add a confining term, or give like= with fp.Periodic, fp.Legendre or fp.Absorbing there."
    allowed = f"it does not confine along {name}, and is not periodic there"
    raise_value_error("potential", equation.potential, allowed, cure)


def _raise_unresolved(failure: Unresolved, equation: WithPotential, tol: float) -> NoReturn:
    """Explain errors that did not reach the tolerance: by rounding, by algebraic convergence, or by too few nodes."""
    sizes, errors = np.asarray(failure.sizes[-5:], float), np.asarray(failure.errors[-5:])
    least = float(np.min(errors))
    reached = f"{sizes[np.argmin(errors)]:.0f} nodes leave {least:.1e}"

    # Rounding: the errors are small and no longer decrease.
    if least < CONSTANTS.rounding_error and np.ptp(np.log10(errors[-3:])) < CONSTANTS.stagnation:
        cure = f"Ask for tol={4 * least:.0e} or more."
        raise_value_error("tol", tol, f"rounding is in the way: {reached}", cure)

    # Algebraic convergence: a line through log error against log n has a clear slope.
    order = 0.0
    if len(sizes) >= 3:
        order = -np.polyfit(np.log(sizes), np.log(np.maximum(errors, 1e-300)), 1)[0]
    if order > CONSTANTS.algebraic_order and least < CONSTANTS.algebraic_error:
        allowed = f"convergence is only algebraic, about n^-{order:.1f}, as at a kink or a jump: {reached}"
        cure = f"Ask for tol={30 * least:.0e} or more, smooth the function, or give a grid and fp.ScharfetterGummel()."
        raise_value_error("tol", tol, allowed, cure)

    allowed = (
        f"no grid of up to {sizes[-1]:.0f} nodes an axis resolves this problem: {reached}. "
        "A kink or an initial density too wide for its Gibbs density converges algebraically"
    )
    cure = "Start from a narrower density, smooth a kink or a jump, or give a grid and fp.ScharfetterGummel()."
    raise_value_error("equation", equation, allowed, cure)
