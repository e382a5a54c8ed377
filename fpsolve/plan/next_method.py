"""The method to try after one that missed its tolerance.

    Rational, Splitting     Uniformization
    Chebyshev with ranks    Chebyshev with all functions of the basis
    Chebyshev               Chebyshev with wider bounds of the spectrum; on cells
                            Implicit, where wider bounds did not help

After any other method nothing else is tried.
"""

import numpy as np
from jaxtyping import Array

from ..propagate import (
    Chebyshev,
    Propagator,
    Rational,
    Splitting,
    Uniformization,
    WorkEstimate,
)
from ..propagate.implicit import Implicit
from ..step import Magnus
from .constants import CONSTANTS
from .request import Request
from .scheme_choice import SchemeChoice


def next_method(
    request: Request,
    chosen: SchemeChoice,
    work: WorkEstimate | None,
    method: Propagator | Magnus,
    error: Array,
) -> tuple[Propagator | None, str]:
    """The method to try after a run by `method` that missed its tolerance with the
    errors `error` `(T,)`, and why; None if nothing would help.
    """
    if isinstance(method, Rational):
        # An initial density far from the stationary one enlarges its error; a Poisson
        # sum has no such factor.
        why = (
            "this start enlarges its error beyond tol, so Uniformization took its place"
        )
        return Uniformization(), why
    if isinstance(method, Splitting):
        if request.method is not None:
            return None, ""
        # The grid was fitted for exponentials along its axes: a Poisson sum may take
        # far too long on it.
        if takes_too_long(request, chosen, work, Uniformization()):
            return None, ""
        why = "whose steps were too few, so Uniformization took its place"
        return Uniformization(), why
    if not isinstance(method, Chebyshev):
        return None, ""
    # The error of a smaller basis was only estimated: take the whole basis.
    if method.ranks:
        whole = Chebyshev((), method.stretch)
        if takes_too_long(request, chosen, work, whole):
            return None, ""
        return whole, "which missed tol, so all functions were taken"
    # Outside of its interval a Chebyshev series grows exponentially: an error that is
    # not finite shows that the bounds of the spectrum were too narrow.
    if np.all(np.isfinite(np.asarray(error))):
        return None, ""
    # The wave p / sqrt(pi) itself may be beyond the range of numbers: on cells the
    # density can be evolved instead.
    as_density = (
        not chosen.scheme.spectral
        and request.equation.evolves_density
        and request.method is None
    )
    largest = CONSTANTS.largest_stretch
    if as_density:
        largest = CONSTANTS.largest_stretch_on_cells
    if method.stretch <= largest:
        why = "the spectrum proved wider than its bounds, which were doubled"
        return Chebyshev(method.ranks, 2 * method.stretch), why
    if not as_density:
        return None, ""
    why = (
        "the wave of this start is beyond the range of numbers, so Implicit took its "
        "place"
    )
    return Implicit(order=3), why


def takes_too_long(
    request: Request,
    chosen: SchemeChoice,
    work: WorkEstimate | None,
    method: Propagator,
) -> bool:
    """Whether a method in the place of another one is estimated to take far too long on
    a fitted grid.
    """
    if not request.fitted or work is None:
        return False
    return method.cost(request.kind(chosen), work) > CONSTANTS.longest_fallback_seconds
