"""Validation of the arguments of a fit, and the error messages of fits that fail."""

from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core.checks import check_numbers, is_concrete, raise_value_error, refusal
from ..core.types import AnyArray, Formula, Numbers
from ..equation import (
    Continuity,
    FokkerPlanck,
    Schrodinger,
    ScoreHamiltonian,
    WithPotential,
)
from ..grid import Axis, Gaussian, Grid, Reflecting
from ..plan.constants import CONSTANTS as PLAN
from .bounding_box import NotConfining
from .constants import CONSTANTS
from .dense_look import Unseen
from .search import BoxNotFound, Unresolved, left_to_rounding
from .whole_grid import NoWave


class BelowRounding(ValueError):
    """A tolerance that rounding does not allow; `least_tol` is one that it does."""

    def __init__(self, message: str, least_tol: float):
        ValueError.__init__(self, message)
        self.least_tol = least_tol


def check_request(
    equation: Any, initial: Any, times: Numbers | None, numbers: PyTree, like: Any
) -> None:
    """Raise `ValueError` for an equation, an initial state, times or a grid that cannot
    be fitted, and for tracers.
    """
    _check_equation(equation)
    if not is_concrete(equation, initial, times, numbers):
        cure = "Call fp.fit_grid outside, with concrete numbers, and pass the grid."
        raise_value_error(
            "grid",
            None,
            "a grid cannot be fitted to traced values (jit, vmap, grad)",
            cure,
        )
    if like is not None:
        _check_like(like)
    if initial is not None and not callable(initial):
        cure = "Give a function of x or fp.Gaussian, or the grid that the array is on."
        raise_value_error(
            "initial",
            np.shape(initial),
            "an array has the shape of some grid, and none was given",
            cure,
        )
    if (
        initial is None
        and equation.evolves_density
        and equation.irreversible_anywhere is not None
    ):
        allowed = (
            f"a fit to levels needs a Gibbs density: {equation.irreversible_anywhere}"
        )
        raise_value_error("initial", None, allowed, "Give initial=, and times=.")
    if initial is not None and times is None and equation.time_dependent:
        allowed = "a moving potential is fitted at the times requested"
        raise_value_error("times", None, allowed, "Give times=[1.0], say.")


def _check_equation(equation: object) -> None:
    # A score may be known at samples only, so nothing says where its density ends.
    if isinstance(equation, ScoreHamiltonian):
        cure = "Give grid=, a box that holds the samples with room for their tails."
        raise_value_error(
            "grid",
            None,
            "a grid is fitted to a potential, and a score has none that is known",
            cure,
        )
    if isinstance(equation, Continuity):
        cure = "Give grid=, a box that holds the density at all times."
        raise_value_error(
            "equation",
            equation,
            "a grid is fitted to a potential, and a flow has none",
            cure,
        )
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
            raise_value_error(
                "like", axis, "equal cells between walls converge to order 2 only", cure
            )


def check_features(features: Any, ndim: int, like: Grid | None) -> np.ndarray:
    """The places of narrow features, `(m, d)`. **Raises** `ValueError` for another
    shape or places outside of walls.
    """
    cure = f"Give places of shape (m, {ndim}), or () for none."
    places = np.asarray(
        check_numbers("features", features, "it must hold real numbers", cure), float
    )
    if places.size == 0:
        return np.zeros((0, ndim))
    # In one dimension a list of numbers is enough.
    if ndim == 1 and places.ndim <= 1:
        places = places.reshape(-1, 1)
    if places.ndim != 2 or places.shape[1] != ndim:
        raise_value_error(
            "features",
            features,
            f"its shape is {places.shape}, it must be (m, {ndim})",
            cure,
        )
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
        given = max(
            np.shape(initial.mean)[:1] + np.shape(initial.covariance)[:1], default=0
        )
        if given:
            return int(given)
    if not callable(equation.diffusion) and (
        shape := np.shape(equation.diffusion) or getattr(equation, "given", ())
    ):
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
        except (IndexError, TypeError, ValueError) as error:
            why = str(error)
            continue
        if shape == (d,):
            return d
    allowed = (
        f"no dimension up to {CONSTANTS.largest_dimension} suits its functions ({why})"
    )
    raise_value_error(
        "equation",
        _short(equation),
        allowed,
        "Give like=fp.Grid(...) with an axis a dimension.",
    )


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
            shape = jnp.shape(
                force.function(point, t)
                if force.time_dependent
                else force.function(point)
            )
    return shape


def raise_fit_error(
    failure: Exception, equation: WithPotential, tol: float
) -> NoReturn:
    """Raise the `ValueError` that explains why a fit failed."""
    if isinstance(failure, NotConfining):
        _raise_not_confining(failure, equation)
    if isinstance(failure, BoxNotFound):
        cure = "Give shorter times, fewer levels, or the grid yourself."
        box = f"[{failure.lower:g}, {failure.upper:g}]"
        allowed = f"its states have not decayed to tol at the ends of {box}"
        raise_value_error("equation", _short(equation), allowed, cure)
    if isinstance(failure, Unseen):
        _raise_unseen(failure, equation)
    if isinstance(failure, NoWave):
        _raise_no_wave(failure)
    assert isinstance(failure, Unresolved)
    _raise_unresolved(failure, equation, tol)


def _raise_no_wave(failure: NoWave) -> NoReturn:
    """Say why no basis takes the initial density, and what does."""
    far = (
        "it is too wide for its Gibbs density, or too far from it, to be evolved as a "
        f"wave p / sqrt(pi) (of norm {failure.size:.0e})"
    )
    if failure.products:
        nodes = " x ".join(str(axis.n) for axis in failure.grid.axes)
        cost = (
            f"{failure.products:.0e} products on {nodes} nodes, about "
            f"{failure.seconds:.0e} s"
        )
        allowed = f"{far}, and the density itself would take {cost}"
        cure = "Give shorter times, or a start that is closer and narrower."
        if failure.seconds <= CONSTANTS.longest_advised_seconds:
            axes = ", ".join(
                f"fp.Line({axis.lower:.6g}, {axis.upper:.6g}, {axis.n})"
                for axis in failure.grid.axes
            )
            cure = (
                f"To take that long, give grid=fp.Grid({axes}) and "
                f"scheme=fp.Spectral(). Or {_decapitalised(cure)}"
            )
    else:
        axes = ", ".join(
            f"fp.Line({axis.lower:.4g}, {axis.upper:.4g}, {_volumes_of(axis)})"
            for axis in failure.grid.axes
        )
        allowed = (
            f"{far}, and the drift is too strong for the density itself in a basis"
        )
        cure = (
            f"Give grid=fp.Grid({axes}) and scheme=fp.ScharfetterGummel(), or a start "
            "that is closer."
        )
    # The rounding of a large wave may be within a larger tolerance.
    rounding = (
        PLAN.wave_rounding_units
        * np.finfo(float).eps
        * failure.size
        / PLAN.clipped_wave_rounding
    )
    if rounding < CONSTANTS.largest_advised_tol:
        cure = f"Ask for tol={2 * rounding:.0e} or more. Or {_decapitalised(cure)}"
    raise_value_error("initial", _Plain("a density"), allowed, cure)


def _decapitalised(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _volumes_of(axis: Axis) -> int:
    return CONSTANTS.volumes_each_node * axis.n


def _raise_unseen(failure: Unseen, equation: WithPotential) -> NoReturn:
    """Name a feature that is too narrow for the nodes of a basis, and what resolves it."""
    if np.ndim(failure.position):
        place = ", ".join(f"{x:.4g}" for x in failure.position)
        allowed = (
            f"it has a feature near ({place}) that lies between the nodes of every grid "
            "that was tried"
        )
        raise_value_error(
            failure.name,
            _Plain("a function"),
            allowed,
            "Make it wider, or give grid= with finer cells.",
        )
    length = failure.upper - failure.lower
    box = f"{failure.lower:.4g}, {failure.upper:.4g}"
    allowed = (
        f"it has a feature of width {failure.width:.1g} at x = {failure.position:.5g}, "
        f"too narrow for {CONSTANTS.most_nodes} nodes on [{box}]"
    )
    # Finite volumes are for densities; a wave has its basis alone.
    widest = CONSTANTS.cells_in_feature * length / CONSTANTS.most_nodes
    cure = f"Make it smooth over {widest:.1g} or more."
    if equation.evolves_density:
        n = int(np.ceil(CONSTANTS.cells_in_feature * length / failure.width))
        cure = (
            f"Give grid=fp.Grid(fp.Line({box}, {n})) and scheme=fp.ScharfetterGummel(), "
            "or make it wider."
        )
    raise_value_error(failure.name, _Plain("a function"), allowed, cure)


class _Plain:
    """A word that is shown in a message without quotes, in the place of a long
    representation.
    """

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _short(thing: object) -> _Plain:
    """The kind of an equation or of a potential, which says more than its arrays."""
    return _Plain(
        "a function"
        if type(thing).__name__ == "Function"
        else f"fp.{type(thing).__name__}(...)"
    )


def _raise_not_confining(failure: NotConfining, equation: WithPotential) -> NoReturn:
    name = f"axis {failure.axis}"
    if failure.rises:
        cure = "Change its sign, add a confining term, or give like= with walls."
        raise_value_error(
            "potential",
            _short(equation.potential),
            f"it is unbounded from below along {name}",
            cure,
        )
    cure = (
        "Add a confining term, or give like= with fp.Periodic, fp.Legendre or "
        "fp.Absorbing there."
    )
    allowed = f"it does not confine along {name}, and is not periodic there"
    raise_value_error("potential", _short(equation.potential), allowed, cure)


def _raise_unresolved(
    failure: Unresolved, equation: WithPotential, tol: float
) -> NoReturn:
    """Explain errors that did not reach the tolerance: by rounding, by algebraic
    convergence, or by too few nodes.
    """
    sizes, errors = (
        np.asarray(failure.sizes[-5:], float),
        np.asarray(failure.errors[-5:]),
    )
    least = float(np.min(errors))
    reached = f"{sizes[np.argmin(errors)]:.0f} nodes leave {least:.1e}"

    # Rounding: the errors are small and no longer decrease.
    stagnant = (
        least < CONSTANTS.rounding_error
        and np.ptp(np.log10(errors[-3:])) < CONSTANTS.stagnation
    )
    if stagnant or left_to_rounding(failure.errors):
        # A reference is accepted where two errors in a row are this part of the
        # tolerance; here with a margin of 2.
        twice = (
            float(np.min(np.maximum(errors[1:], errors[:-1])))
            if len(errors) > 1
            else least
        )
        least_tol = 2 * twice / CONSTANTS.repeated_reference_fraction
        message = refusal(
            "tol",
            tol,
            f"rounding is in the way: {reached}",
            f"Ask for tol={least_tol:.0e} or more.",
        )
        raise BelowRounding(message, least_tol)

    # Algebraic convergence: a line through log error against log n has a clear slope.
    order = 0.0
    if len(sizes) >= 3:
        order = -np.polyfit(np.log(sizes), np.log(np.maximum(errors, 1e-300)), 1)[0]
    if order > CONSTANTS.algebraic_order and least < CONSTANTS.algebraic_error:
        # Where the error still falls steeply, the box is wide for its spacing, and
        # nothing is rough.
        is_rough = order < CONSTANTS.smooth_order
        reason = (
            f"convergence is only algebraic, about n^-{order:.1f}, as at a kink or a "
            "jump"
        )
        allowed = (
            f"{reason if is_rough else 'it takes more nodes than are tried'}: {reached}"
        )
        # A reference must be some 30 times as accurate as the grid. What is asked for
        # must be more than was asked.
        easier = max(30 * least, 3 * tol)
        cure = (
            f"Ask for tol={easier:.0e} or "
            f"more{', or smooth the function' if is_rough else ''}."
        )
        # A wave of a Schrodinger equation has its basis alone.
        if equation.evolves_density:
            cure = f"{cure[:-1]}, or give a grid and fp.ScharfetterGummel()."
        raise_value_error("tol", tol, allowed, cure)

    allowed = (
        f"no grid of up to {sizes[-1]:.0f} nodes an axis resolves this problem: "
        f"{reached}. A kink or an initial density too wide for its Gibbs density "
        "converges algebraically"
    )
    cure = (
        "Start from a narrower density, smooth a kink or a jump, or give a grid and "
        "fp.ScharfetterGummel()."
    )
    raise_value_error("equation", _short(equation), allowed, cure)
