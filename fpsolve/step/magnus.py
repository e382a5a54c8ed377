"""`fp.Magnus`: the options of the time steps of moving problems.

Waves on spectral grids are integrated by collocation (`collocation.py`), everything
else by exponentials at midpoints with extrapolation (`midpoint.py`). `interval.py`
chooses between them and divides an interval at jumps and kinks.
"""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array

from ..core.arrays import as_array, host_module
from ..core.checks import check_integer, check_numbers, is_concrete, raise_value_error
from ..core.types import Numbers
from ..propagate.base import Keeps, Propagator
from ..propagate.chebyshev import Chebyshev


class Magnus(eqx.Module):
    """Time steps for potentials and forces that depend on time, of lengths chosen by an
    error estimate.

    For waves on spectral grids, d_t psi = -(H_t + d_t log sqrt(pi_t)) psi by
    collocation of order 14 in a moving frame. Elsewhere, exp(s L) with L at the
    midpoint of each step, extrapolated.

    **Arguments**

    - `steps`: number of steps between two output times (at the finest level, for
      midpoints). None chooses it from `tol`; under `jit`, `vmap` and `grad`, where no
      error estimate can be examined, it is then 24 for collocation and 128 for
      midpoints, with 64 output times or more 4 and 32, and the error is reported
    - `exponential`: the method for a midpoint step, whose operator is constant
    - `breakpoints`: times at which U or f jumps or has a kink. No step crosses one.
      Outside transformations, those that a fine sampling in time shows are found
      without being given
    - `extrapolate`: False takes midpoint steps without extrapolation: of order 2, with
      the invariants of `exponential`

    **Keeps**: mass and positivity to the error reported. With `extrapolate=False`, the
    invariants of `exponential`: on finite volumes mass to rounding, positivity, and the
    Gibbs density of each midpoint. **Error**: the distance of two solutions of
    different order; the better one is returned. **Cost**: by collocation, ten to thirty
    products with a batch of seven fields for each step. **Raises**: `ValueError` for
    `steps` below 4, or breakpoints that are no numbers.

    **Reference**: Hochbruck and Ostermann, Acta Numerica 19 (2010) 209; Magnus, Comm.
    Pure Appl. Math. 7 (1954) 649.

    ```python
    import fpsolve as fp

    equation = fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2 / 2)
    grid = fp.Grid(fp.Line(-6.0, 8.0, 64))
    solution = fp.evolve(
        equation, fp.Gaussian(0.0, 1.0), [1.0], grid=grid, method=fp.Magnus()
    )
    ```
    """

    exponential: Propagator
    breakpoints: Array
    steps: int | None = eqx.field(static=True)
    extrapolate: bool = eqx.field(static=True)

    def __init__(
        self,
        steps: int | None = None,
        exponential: Propagator | None = None,
        breakpoints: Any = (),
        extrapolate: bool = True,
    ):
        # Three levels of midpoint steps end in `steps`, so the coarsest has a quarter
        # of them.
        if steps is not None:
            check_integer("Magnus.steps", steps, 4, "Give at least 4 steps, or None.")
        if exponential is not None and not isinstance(exponential, Propagator):
            raise_value_error(
                "Magnus.exponential",
                exponential,
                "it must be a method for static operators",
                "Give fp.Chebyshev().",
            )
        if not isinstance(extrapolate, bool):
            raise_value_error(
                "Magnus.extrapolate",
                extrapolate,
                "it must be True or False",
                "Give False to keep positivity.",
            )
        # Traced breakpoints have no values to check. An empty sequence has no type of
        # numbers.
        if is_concrete(breakpoints) and np.size(breakpoints) > 0:
            cure = "Give breakpoints=(0.5, 1.0), say."
            array = check_numbers(
                "Magnus.breakpoints", breakpoints, "they must be times", cure
            )
            if array.ndim != 1 or not np.all(np.isfinite(array)):
                raise_value_error(
                    "Magnus.breakpoints",
                    breakpoints,
                    "they must be finite times, (B,)",
                    cure,
                )
        self.steps = steps
        self.exponential = Chebyshev() if exponential is None else exponential
        # Sorted on the host where they are concrete: by `jax.numpy`, every length would
        # be a program.
        xp = host_module(breakpoints)
        self.breakpoints = as_array(xp.sort(xp.asarray(breakpoints, dtype=float)))
        self.extrapolate = extrapolate

    def keeps(self, spectral: bool) -> Keeps:
        """The invariants that it keeps, as in `Propagator.keeps`."""
        # Collocation: mass is restored after every step, and the rest is accurate to
        # the error.
        if spectral:
            return Keeps(
                mass="rounding",
                positivity="shown",
                gibbs="shown",
                symmetry="error",
                order="tol",
                calls="t",
            )
        # Extrapolation combines densities with negative weights, so signs are kept to
        # the error only.
        if self.extrapolate:
            return Keeps(
                mass="rounding",
                positivity="error",
                gibbs="rounding",
                symmetry="rounding",
                order="tol",
                calls="t",
            )
        return Keeps(
            mass="rounding",
            positivity="rounding",
            gibbs="rounding",
            symmetry="rounding",
            order="2",
            calls="√t",
        )

    def with_exponential(self, exponential: Propagator) -> "Magnus":
        """The same options with another method for midpoint steps."""
        return eqx.tree_at(lambda m: m.exponential, self, exponential)

    def with_breakpoints(self, breakpoints: Numbers) -> "Magnus":
        """The same options with other breakpoints `(B,)`, ascending."""
        return eqx.tree_at(lambda m: m.breakpoints, self, as_array(breakpoints))

    def also_breakpoints(self, breakpoints: Array) -> "Magnus":
        """The same options with more breakpoints `(B,)`."""
        if len(breakpoints) == 0:
            return self
        xp = host_module(self.breakpoints, breakpoints)
        both = xp.concatenate([xp.asarray(self.breakpoints), xp.asarray(breakpoints)])
        # On the host a time that both hold counts once; traced times, of which there
        # must be a fixed number, twice.
        ascending = np.unique(both) if xp is np else xp.sort(both)
        return self.with_breakpoints(ascending)
