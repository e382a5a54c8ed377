"""The validated request of an evolution, on the grid of the user or on a fitted one."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from ..core.checks import raise_value_error
from ..fit import Fit, fit
from ..operator import Spectral
from ..plan import Request, needs_rates, validate
from ..plan.validation import check_kinds, check_tolerance, check_wick, least_tolerance


class Arguments(NamedTuple):
    """The arguments that `evolve` and `plan` share, as the user gave them: nothing is
    known of their types.
    """

    equation: Any
    initial: Any
    times: Any
    grid: Any
    scheme: Any
    method: Any
    tol: Any
    wick: Any
    observables: Any
    breakpoints: Any
    features: Any

    @property
    def of_request(self) -> tuple[Any, ...]:
        """The arguments of `validate`: all that do not belong to the fit of a grid."""
        return self[: self._fields.index("features")]

    @property
    def of_flow(self) -> dict[str, Any]:
        """The same by name, for a flow, to which no grid is fitted."""
        return dict(zip(self._fields, self.of_request, strict=False))


def validated(given: Arguments, fit_fraction: float, may_turn: bool = False) -> Request:
    """The validated request, on a grid fitted to `fit_fraction` of the tolerance where
    none was given.

    **Raises** `Turned`, if it `may_turn`, where other coordinates suit the problem
    better.
    """
    check_kinds(given.equation, given.scheme)
    if given.grid is not None:
        return validate(*given.of_request)
    check_wick(given.equation, given.wick)
    # A fit knows the errors of spectral grids alone, and methods that need rates run on
    # finite volumes.
    given_volumes = given.scheme is not None and not given.scheme.spectral
    if given_volumes or needs_rates(given.method):
        choice = given.scheme if given.scheme is not None else given.method
        allowed = f"a grid is fitted for fp.Spectral, not for {choice!r}"
        raise_value_error("grid", None, allowed, "Give grid=.")
    try:
        fitted = _fit(given, fit_fraction, may_turn)
    except ValueError:
        if fit_fraction == 1.0:
            raise
        # What cannot be fitted to a part of the tolerance may be fitted to all of it;
        # the error is looked at later.
        fitted = _fit(given, 1.0)
    return on_fitted_grid(given, fitted)


def on_fitted_grid(given: Arguments, fitted: Fit) -> Request:
    """The validated request on a fitted grid."""
    given = given._replace(grid=fitted.grid, scheme=Spectral())
    return validate(*given.of_request, fitted=(fitted.description, fitted.space_error))


def _fit(given: Arguments, fraction: float, may_turn: bool = False) -> Fit:
    """A grid for a part of the tolerance."""
    dtype = jnp.zeros(()).dtype
    tol = check_tolerance(given.tol, dtype)
    # No tolerance below the precision can be requested of a fit.
    least = least_tolerance(dtype)
    tol = max(fraction * tol, min(tol, least))
    options = {"wick": given.wick, "features": given.features, "may_turn": may_turn}
    return fit(given.equation, given.initial, tol, given.times, **options)
