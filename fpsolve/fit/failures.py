"""Fits that fail: for each reason the `ValueError` that says what is wrong, and what
the user can do.
"""

from typing import NoReturn

import numpy as np

from ..core.checks import raise_value_error, refusal
from ..equation import WithPotential
from ..grid import Axis
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
        raise_value_error("equation", short_name(equation), allowed, cure)
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
    epsilon = np.finfo(float).eps
    rounding = PLAN.wave_rounding_units * epsilon * failure.size
    rounding = rounding / PLAN.clipped_wave_rounding
    if rounding < CONSTANTS.largest_advised_tol:
        cure = f"Ask for tol={2 * rounding:.0e} or more. Or {_decapitalised(cure)}"
    raise_value_error("initial", _Plain("a density"), allowed, cure)


def _decapitalised(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _volumes_of(axis: Axis) -> int:
    return CONSTANTS.volumes_each_node * axis.n


def _raise_unseen(failure: Unseen, equation: WithPotential) -> NoReturn:
    """Name a feature too narrow for the nodes of a basis, and what resolves it."""
    if np.ndim(failure.position):
        place = ", ".join(f"{x:.4g}" for x in failure.position)
        allowed = (
            f"it has a feature near ({place}) that lies between the nodes of every "
            "grid that was tried"
        )
        cure = "Make it wider, or give grid= with finer cells."
        raise_value_error(failure.name, _Plain("a function"), allowed, cure)
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
            f"Give grid=fp.Grid(fp.Line({box}, {n})) and "
            "scheme=fp.ScharfetterGummel(), or make it wider."
        )
    raise_value_error(failure.name, _Plain("a function"), allowed, cure)


class _Plain:
    """A word that a message shows without quotes instead of a long representation."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def short_name(thing: object) -> _Plain:
    """The kind of an equation or of a potential, which says more than its arrays."""
    kind = type(thing).__name__
    return _Plain("a function" if kind == "Function" else f"fp.{kind}(...)")


def _raise_not_confining(failure: NotConfining, equation: WithPotential) -> NoReturn:
    name = f"axis {failure.axis}"
    if failure.rises:
        cure = "Change its sign, add a confining term, or give like= with walls."
        allowed = f"it is unbounded from below along {name}"
        raise_value_error("potential", short_name(equation.potential), allowed, cure)
    cure = (
        "Add a confining term, or give like= with fp.Periodic, fp.Legendre or "
        "fp.Absorbing there."
    )
    allowed = f"it does not confine along {name}, and is not periodic there"
    raise_value_error("potential", short_name(equation.potential), allowed, cure)


def _raise_unresolved(
    failure: Unresolved, equation: WithPotential, tol: float
) -> NoReturn:
    """Explain errors that did not reach the tolerance: by rounding, by algebraic
    convergence, or by too few nodes.
    """
    sizes = np.asarray(failure.sizes[-5:], float)
    errors = np.asarray(failure.errors[-5:])
    least = float(np.min(errors))
    reached = f"{sizes[np.argmin(errors)]:.0f} nodes leave {least:.1e}"

    # Rounding: the errors are small and no longer decrease.
    change = np.ptp(np.log10(errors[-3:]))
    stagnant = least < CONSTANTS.rounding_error and change < CONSTANTS.stagnation
    if stagnant or left_to_rounding(failure.errors):
        # A reference is accepted where two errors in a row are this part of the
        # tolerance; here with a margin of 2.
        twice = least
        if len(errors) > 1:
            twice = float(np.min(np.maximum(errors[1:], errors[:-1])))
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
        # An error of zero has no logarithm.
        log_errors = np.log(np.maximum(errors, 1e-300))
        order = -np.polyfit(np.log(sizes), log_errors, 1)[0]
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
    raise_value_error("equation", short_name(equation), allowed, cure)
