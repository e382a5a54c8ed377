"""Result codes: how a run ended, as a named code with a remedy, as in diffrax.

Inside `jit` a code is an integer array, since a compiled program cannot raise an
exception. A public function translates it into a word, and raises `NumericalFailure`
for every code but "successful" unless `throw=False` is given.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

# The position of a name is the integer that stands for it inside `jit`.
CODES = (
    "successful",
    "not_finite",
    "tolerance_not_reached",
    "wave_out_of_range",
    "not_converged",
    "not_settled",
    "grid_too_coarse",
    "negative_level",
    "average_too_short",
    "minimum_not_confirmed",
    "marginals_not_met",
    "tails_unknown",
    "mass_not_kept",
)

REMEDIES = {
    "successful": "",
    "not_finite": (
        "A value overflowed or is not a number. Look at the potential at the ends of "
        "the box, shorten the times, or use the default scheme and method."
    ),
    "tolerance_not_reached": (
        "The estimated error in time is above tol. Raise tol, use float64, add output "
        "times in between, or give fp.Magnus(steps=...) more steps."
    ),
    "wave_out_of_range": (
        "Rounding errors of the wave p / sqrt(pi) exceed tol: the initial density is "
        "much wider than the Gibbs density, or rounding of the levels matters in so "
        "long a time. Use float64, or fp.ScharfetterGummel() with "
        "fp.Uniformization(), which never forms that ratio."
    ),
    "not_converged": (
        "The residuals of the modes are above tol. Raise tol, ask for fewer modes, or "
        "refine less."
    ),
    "not_settled": (
        "No stationary distribution was found. The drift may not confine, or the grid "
        "is too coarse: widen the box, take more nodes, or look at the force or score "
        "at the ends of the box."
    ),
    "marginals_not_met": (
        "Sinkhorn's iteration has not met the marginals of the bridge to tol. Raise "
        "tol, or take a longer total or a larger diffusion, which makes a sweep more "
        "effective."
    ),
    "tails_unknown": (
        "Where a marginal has mass, a wave of the bridge is below the rounding of its "
        "largest value. Take a longer total, a larger diffusion or marginals nearer "
        "to each other, or a reference whose potential is a sum over the axes."
    ),
    "mass_not_kept": (
        "At an output time the density of the bridge does not have the mass of its "
        "ends, because a wave varies within a cell there. Take more nodes, or output "
        "times farther from the ends and from those of `through`."
    ),
    "grid_too_coarse": (
        "The error of the grid is above tol; `errors` has its parts. Take more nodes "
        'for the part "space", a wider box for "box" and "start", or leave out grid=, '
        "so that a grid is fitted."
    ),
    "negative_level": (
        "An average of real-time runs returns exp(-|E| t) in the place of exp(-E t) "
        "at a level E below zero. Give shift= at or below the lowest level, which is "
        "put back afterwards."
    ),
    "average_too_short": (
        "The estimated error is above tol. Raise eta_max or p_max, take more nodes if "
        'the part "space" is the largest, or take fp.wick.warped_phase(start="smooth").'
    ),
    "minimum_not_confirmed": (
        "Two searches on other nodes ended in different wells. Take more nodes, a "
        "smaller ratio, or a larger first diffusion."
    ),
}


class AccuracyWarning(UserWarning):
    """Given for a result on a grid of the user's own whose estimated error is above the
    tolerance.
    """


class NumericalFailure(RuntimeError):
    """Raised for a run that ended with a code other than "successful". The message has
    the code and its remedy.
    """


def code(name: str) -> int:
    """The integer that stands for the code `name`."""
    return CODES.index(name)


def first_failure(*conditions: tuple[str, Array]) -> Array:
    """The code of the first condition that is true, else "successful"."""
    answer = jnp.asarray(code("successful"))
    # The last assignment wins, so the conditions are applied from the last to the
    # first.
    for name, condition in reversed(conditions):
        answer = jnp.where(condition, code(name), answer)
    return answer


def raise_failure(result: Array, detail: str = "", has_throw: bool = False) -> None:
    """Raise `NumericalFailure` unless `result` (a concrete code) is "successful".

    `has_throw` says that the public function takes `throw=False`, which returns the
    result instead.
    """
    name = CODES[int(np.asarray(result))]
    if name != "successful":
        before = f"{detail} " if detail else ""
        instead = " (throw=False returns it.)" if has_throw else ""
        raise NumericalFailure(f"{name}: {before}{REMEDIES[name]}{instead}")
