"""The times at which the steps of a plan must end: those that were given, and those
that sampling in time finds.
"""

import numpy as np

from ..core.decision import Decision
from ..core.text import listed
from ..step import Magnus
from ..step.breakpoints import examine_in_time
from .constants import CONSTANTS
from .request import Request


def with_found_breakpoints(
    request: Request, method: Magnus, decision: Decision
) -> tuple[Magnus, Decision]:
    """The method with the times at which its steps must end: those given, and those
    that sampling in time finds.

    A step across a jump would lose the order of the method, and a long one may pass
    over a narrow feature.
    """
    times = np.asarray(request.times)
    given = np.asarray(method.breakpoints)
    found = examine_in_time(request.equation, request.grid, times, request.tol, given)
    # Where the number of steps is given, it is that of the steps between jumps.
    stops = found.stops if method.steps is None else found.stops[:0]
    # Sampling finds a breakpoint only to rounding: one that was given already is not
    # added a second time.
    separation = CONSTANTS.breakpoint_separation * float(times[-1])
    is_known = lambda t: np.any(np.abs(given - t) < separation)
    new = [t for t in found.breakpoints if not is_known(t)]
    breakpoints = np.sort(np.asarray([*given, *new], dtype=float))
    if breakpoints.size:
        decision = decision.also(
            f"from breakpoint to breakpoint: {listed(breakpoints)}"
        )
    if stops.size:
        decision = decision.also(f"in shorter parts, which end at t = {listed(stops)}")
    if found.resolution > 0:
        decision = decision.also(
            f"what lasts less than {found.resolution:.1e} may be missed without "
            "breakpoints="
        )
    if not found.complete:
        decision = decision.also(
            "the functions have more features in time than could be separated"
        )
    if new or stops.size:
        method = method.with_breakpoints(np.sort(np.concatenate([breakpoints, stops])))
    return method, decision
