"""What is asked of a fit, and what to say where there is none: dimensions, starts, and refusals with their cures."""

from typing import Any, NoReturn

import jax.numpy as jnp
import numpy as np

from ..core.checks import is_concrete, raise_value_error
from ..equation import FokkerPlanck, Schrodinger, ScoreHamiltonian, WithPotential
from ..grid import Gaussian, Grid, Reflecting
from .bounding_box import NotConfining
from .search import BoxNotFound, Unresolved

LARGEST_DIMENSION = 6
NOISE = 1e-7  # below which errors that no longer fall are taken for rounding


def check_question(equation: Any, initial: Any, times: Any, tol: Any, like: Any) -> None:
    """Refuse what is no equation, no start, or traced."""
    if isinstance(equation, ScoreHamiltonian):
        cure = "Give grid=, a box that holds the samples with room for their tails."
        raise_value_error("grid", None, "a grid is fitted to a potential, and a score has none that is known", cure)
    if not isinstance(equation, FokkerPlanck | Schrodinger):
        cure = "Give fp.FokkerPlanck(potential), fp.Schrodinger(potential), ..."
        raise_value_error("equation", equation, "it must be an equation", cure)
    if not is_concrete(equation, initial, times, tol):
        cure = "Call fp.fit_grid outside, with concrete numbers, and pass the grid."
        raise_value_error("grid", None, "a grid cannot be fitted to traced values (jit, vmap, grad)", cure)
    if like is not None:
        if not isinstance(like, Grid):
            raise_value_error(
                "like", like, "it must be an fp.Grid", "Give fp.Grid(fp.Periodic(0, 1, 8)), say; any n will do."
            )
        for axis in like.axes:
            if isinstance(axis, Reflecting):
                cure = f"Give fp.Legendre({axis.lower:g}, {axis.upper:g}, n): no flux through its ends either."
                raise_value_error("like", axis, "equal cells between walls converge to order 2 only", cure)
    if initial is not None and not callable(initial):
        cure = "Give a function of x or fp.Gaussian, or the grid that the array is on."
        raise_value_error("initial", np.shape(initial), "an array has the shape of some grid, and none was given", cure)
    if initial is None and equation.evolves_density and equation.irreversible_anywhere is not None:
        cure = "Give initial=, and times=."
        raise_value_error(
            "initial", None, f"a fit to levels needs a Gibbs density: {equation.irreversible_anywhere}", cure
        )
    if initial is not None and times is None and equation.time_dependent:
        raise_value_error(
            "times", None, "a moving potential is fitted over the times it is asked for", "Give times=[1.0], say."
        )


def dimension(equation: WithPotential, initial: Any, like: Grid | None, t: float) -> int:
    """That of `like`, of the start, or the least that all functions take. **Raises** `ValueError` if none does."""
    if like is not None:
        return like.ndim
    if isinstance(initial, Gaussian):
        given = max(np.shape(initial.mean)[:1] + np.shape(initial.covariance)[:1], default=0)
        if given:
            return int(given)
    if not callable(equation.diffusion) and (shape := np.shape(equation.diffusion) or getattr(equation, "given", ())):
        return int(shape[0])
    why = ""
    for d in range(1, LARGEST_DIMENSION + 1):
        point = np.full(d, 0.1)
        try:
            try:
                shape = _try(equation, initial, point, t)  # numpy's, where a missing coordinate is an error
            except (AttributeError, TypeError):  # what only JAX's arrays have, such as x.at
                shape = _try(equation, initial, jnp.asarray(point), t)
        except (IndexError, TypeError, ValueError) as error:
            why = str(error)
            continue
        if shape == (d,):
            return d
    cure = "Give like=fp.Grid(...) with an axis a dimension."
    raise_value_error("equation", equation, f"no dimension up to {LARGEST_DIMENSION} suits its functions ({why})", cure)


def _try(equation: WithPotential, initial: Any, point: Any, t: float) -> tuple[int, ...]:
    with np.errstate(all="ignore"):
        equation.energy(point, t)
        if initial is not None and not isinstance(initial, Gaussian):
            initial(point)
        shape = point.shape
        if callable(equation.diffusion):
            equation.diffusion(point)
        if isinstance(equation, FokkerPlanck) and equation.force is not None:
            force = equation.force
            shape = jnp.shape(force.function(point, t) if force.time_dependent else force.function(point))
    return shape


def explain(trouble: Exception, equation: WithPotential, tol: float) -> NoReturn:
    """The refusal that fits what a search ran into."""
    if isinstance(trouble, NotConfining):
        name = f"axis {trouble.axis}"
        if trouble.rises:
            cure = "Change its sign, add a confining term, or give like= with walls."
            raise_value_error("potential", equation.potential, f"it is unbounded from below along {name}", cure)
        cure = "Add a confining term, or give like= with fp.Periodic, fp.Legendre or fp.Absorbing there."
        raise_value_error("potential", equation.potential, f"it does not confine along {name}, nor repeat itself", cure)
    if isinstance(trouble, BoxNotFound):
        cure = "Give shorter times, fewer levels, or the grid yourself."
        box = f"[{trouble.lower:g}, {trouble.upper:g}]"
        raise_value_error("equation", equation, f"its states have not decayed to tol at the ends of {box}", cure)
    assert isinstance(trouble, Unresolved)
    sizes, errors = np.asarray(trouble.sizes[-5:], float), np.asarray(trouble.errors[-5:])
    least = float(np.min(errors))
    reached = f"{sizes[np.argmin(errors)]:.0f} nodes leave {least:.1e}"
    if least < NOISE and np.ptp(np.log10(errors[-3:])) < 0.5:
        raise_value_error("tol", tol, f"rounding is in the way: {reached}", f"Ask for tol={4 * least:.0e} or more.")
    order = 0.0 if len(sizes) < 3 else -np.polyfit(np.log(sizes), np.log(np.maximum(errors, 1e-300)), 1)[0]
    if order > 0.5 and least < 0.1:
        allowed = f"convergence is only algebraic, about n^-{order:.1f}, as at a kink or a jump: {reached}"
        cure = f"Ask for tol={30 * least:.0e} or more, smooth the function, or give a grid and fp.ScharfetterGummel()."
        raise_value_error("tol", tol, allowed, cure)
    allowed = f"no grid of up to {sizes[-1]:.0f} nodes an axis resolves this problem: {reached}"
    cure = "Start from a narrower density, smooth a kink or a jump, or give a grid and fp.ScharfetterGummel()."
    raise_value_error(
        "equation", equation, f"{allowed}. A kink or a start too wide for its well converge algebraically", cure
    )
