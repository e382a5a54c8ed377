"""The density of a score, and a bound on its distance from the true density.

    H = D A^T A,  A = grad - s/2,    H psi = lambda psi its lowest mode,    rho = psi^2
    < sqrt q | H | sqrt q > = (D/4) E_q |s - grad log q|^2                        (T7)
    1 - F(p, rho) <= (eps^2 / 4 - lambda/D) / (gap/D),    TV <= sqrt(1 - F)       (T8)
    F(p, rho) = (int sqrt(p rho))^2

for any density p and eps^2 = E_p |s - grad log p|^2. lambda = 0 exactly if s is the
score of a density, and rho is then this density. If s has curl, lambda > 0, and a
sampler by s has another stationary density: `stationary`.

References: arXiv 2606.05217; theorems T7, T8, T10 and T11 of this library.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.checks import check_numbers, is_concrete, raise_value_error
from ..core.late import late
from ..core.program import public_function, sampling_program
from ..core.result import code, raise_failure
from ..core.text import listed
from ..core.types import AnyArray, Count, Numbers, Scalar
from ..equation import ScoreHamiltonian
from ..grid import Grid
from ..operator import Operator, Scheme
from ..operator.tensor import Factor, TensorOperator
from ..plan.spectrum_plan import validate_modes
from ..record.types import Figure
from ..solve.constants import CONSTANTS as SOLVE
from ..solve.spectrum import warn_of_errors
from ..solve.spectrum_result import Spectrum
from ..solve.spectrum_run import solve
from .constants import CONSTANTS
from .currents import conservative, stationary
from .fields import as_score
from .types import ScoreModel


class Reconstruction(eqx.Module):
    """What `reconstruct` returns.

    - `density` `(*shape)`: rho = psi^2, of mass 1 in the grid's weights
    - `ground_energy` lambda and `gap` of H, scalars in units 1/time; `spectrum`, the
      slowest modes with their errors
    - `bound(eps2)`, `infidelity_bound(eps2)`: bounds that follow from a mean squared
      error of the score (T8)
    - `score_error(density)`: that error for a density on the grid (T7)
    - `conservative`, `solenoidal` `(*shape, d)`: a gradient and the rest of the score,
      orthogonal under rho
    - `stationary` `(*shape)`: the stationary density of dX = D s dt + sqrt(2 D) dW; it
      is rho only if s has no curl
    """

    spectrum: Spectrum
    operator: Operator
    scores: Array  # s on the nodes, (*shape, d)

    @property
    def equation(self) -> ScoreHamiltonian:
        """The Score Hamiltonian."""
        assert isinstance(self.spectrum.equation, ScoreHamiltonian)
        return self.spectrum.equation

    @property
    def grid(self) -> Grid:
        """The grid of the density."""
        return self.spectrum.grid

    @property
    def density(self) -> Array:
        """rho = psi^2, of mass 1."""
        return self.spectrum.vectors[0] ** 2

    @property
    def ground_energy(self) -> Array:
        """lambda: (D/4) times the least mean squared error that this field has as the
        score of any density.
        """
        return self.spectrum.values[0]

    @property
    def gap(self) -> Array:
        """E_1 - lambda."""
        return self.spectrum.gap

    def __repr__(self) -> str:
        return (
            f"Reconstruction on {self.grid!r}\n  ground energy "
            f"{listed(self.ground_energy)}, gap {listed(self.gap)}, estimated errors "
            f"{listed(self.spectrum.errors[:2], '.1e')}"
        )

    def infidelity_bound(self, eps2: Numbers) -> Array:
        """An upper bound on 1 - F(p, rho), at most 1, where E_p |s - grad log p|^2 =
        `eps2`, of any shape.

        **Raises** `ValueError` for an error below zero, or below 4 lambda/D, which no
        density has (T7).
        """
        diffusion = self.equation.diffusion
        lowest = self.ground_energy / diffusion
        # Traced values cannot be checked; the bound is then clipped.
        if is_concrete(eps2, lowest):
            cure = "Give E_p |s - grad log p|^2."
            allowed = "it must be a mean squared error"
            error = check_numbers("eps2", eps2, allowed, cure)
            if not np.all(error >= 0):
                raise_value_error("eps2", eps2, "it must be at least zero", cure)
            slack = CONSTANTS.eps2_slack
            least = 4 * float(lowest) * (1 - slack) - slack * float(self.gap)
            if not np.all(error >= least):
                least_error = f"4 lambda = {4 * float(lowest):.4g}"
                allowed = f"no density has an error below {least_error}"
                cure = "Measure it over the data, or refine the grid."
                raise_value_error("eps2", eps2, allowed, cure)
        excess = jnp.maximum(jnp.asarray(eps2) / 4 - lowest, 0)
        return jnp.minimum(excess * diffusion / self.gap, 1)

    def bound(self, eps2: Numbers) -> Array:
        """An upper bound on TV(p, rho) where E_p |s - grad log p|^2 = `eps2`:
        sqrt((eps2/4 - lambda/D) / (gap/D)).

        **Raises** as `infidelity_bound`. **Reference**: theorem T8 of this library.
        """
        return jnp.sqrt(self.infidelity_bound(eps2))

    def score_error(self, density: AnyArray) -> Array:
        """E_p |s - grad log p|^2 = 4 <sqrt p|H|sqrt p> / D of densities p
        `(..., *shape)` on the grid; their scores are not needed (T7). **Raises**
        `ValueError` for anything but densities.
        """
        field = jnp.asarray(density)
        # Traced densities cannot be checked.
        if is_concrete(field):
            shape = field.shape[-self.grid.ndim :]
            for one in field.reshape(-1, *shape):
                self.grid.check_density("density", one)
        sqrt_p = jnp.sqrt(jnp.maximum(field, 0))
        # T7, with the norm of p in the denominator: p need not have mass exactly 1.
        mass = self.grid.integrate(field)
        energy = self.grid.integrate(sqrt_p * self.operator.hamiltonian(sqrt_p)) / mass
        return 4 * energy / self.equation.diffusion

    @property
    def conservative(self) -> Array:
        """The gradient part of s = grad phi + w, div(rho w) = 0, on the nodes
        `(*shape, d)`. Where rho is below 1e-18 of its peak, it is s itself. **Cost**:
        one elliptic system.
        """
        operator = self._factored("the parts of a score")
        return conservative(operator, self.spectrum.vectors[0], self.scores)

    @property
    def solenoidal(self) -> Array:
        """w = s - grad phi, `(*shape, d)`: the part that leaves rho unchanged, div(rho
        w) = 0.
        """
        return self.scores - self.conservative

    @property
    def stationary(self) -> Array:
        """The stationary density `(*shape)` of sampling by s, of mass 1 (T10, T11).
        **Raises** `NumericalFailure` if none was found on this grid. **Cost**: one
        system that is not symmetric, of size^3 up to 3072 points.
        """
        found = stationary(self._factored("a stationary law"), self.spectrum.vectors[0])
        lowest = jnp.min(found.density) / jnp.max(found.density)
        leak = found.leak / self.gap
        # The system may be solved and still have no positive solution, where the grid
        # is too coarse for the curl.
        tolerance = CONSTANTS.stationary_leak
        solved = found.residual < CONSTANTS.stationary_residual
        settled = solved & (lowest > -tolerance) & (leak < tolerance)
        # Inside a transformation there is no value to judge, and the density is
        # returned as it is.
        if is_concrete(settled) and not bool(settled):
            # The three numbers tell which of the conditions failed.
            detail = (
                f"residual {float(found.residual):.1e}, lowest value "
                f"{float(lowest):.1e} of the peak, moved by {float(leak):.1e} of its "
                "mass in 1/gap."
            )
            raise_failure(jnp.asarray(code("not_settled")), detail)
        return found.density

    def plot(self) -> Figure:
        """A matplotlib figure of the density and the slowest observable (with the
        `plot` extra).
        """
        return late("plot").draw(self)

    def _factored(self, wanted: str) -> TensorOperator:
        """H as factors A of every axis. **Raises** `ValueError` for finite volumes,
        which have no such factors.
        """
        operator = self.operator
        if isinstance(operator, TensorOperator) and all(
            isinstance(term, Factor) for term in operator.terms
        ):
            return operator
        cure = "Reconstruct on Line, Periodic or Legendre axes, with fp.Spectral()."
        allowed = f"{wanted} are computed in smooth bases"
        raise_value_error("scheme", type(operator).__name__, allowed, cure)


@public_function
def reconstruct(
    score: ScoreModel,
    grid: Grid,
    *,
    diffusion: Scalar = 1.0,
    t: Scalar = 0.0,
    scheme: Scheme | None = None,
    k: Count = 4,
    check: bool = True,
) -> Reconstruction:
    """The density of a score: the square of the lowest mode of its Score Hamiltonian.

    **Arguments**: `score` s(x[, t]) to `(d,)`: any callable, a network, a potential
    (whose score is -grad U), with curl or without; `grid`, large enough for the
    density; `diffusion` D, one number, which only sets the unit of time; `t`, the time
    at which a score that depends on time is taken; `scheme` and `check` as in
    `fp.spectrum`; `k` levels, at least 2.
    **Returns** a `Reconstruction`. **Raises** `ValueError` for a score of another shape
    or not finite on the grid (with the place), and where the lowest mode is not small
    at the ends of a line: the field does not confine.

    **Keeps**: lambda >= 0; no divergence of the score is taken. `jit`, `vmap` and
    `grad` apply to lambda, the gap and the bounds; modes, and so the density, are not
    differentiated. **Cost**: that of `fp.spectrum`. **Reference**: arXiv 2606.05217;
    theorems T7 and T8 of this library.

    ```python
    import fpsolve as fp
    from fpsolve.score.reconstruct import reconstruct

    found = reconstruct(lambda x: -x, fp.Grid(fp.Line(-8.0, 8.0, 48)))
    print(found.gap, found.ground_energy, found.bound(0.01))  # 1, 0, 0.05
    ```
    """
    if not isinstance(grid, Grid):
        cure = "Give fp.Grid(fp.Line(-5, 5, 64)), say."
        raise_value_error("grid", grid, "it must be an fp.Grid", cure)
    field = as_score(score)
    equation = ScoreHamiltonian(field, diffusion)
    if equation.diffusion.ndim:
        allowed = "the bounds of a reconstruction need one number"
        cure = "Give D, a number above zero."
        raise_value_error("diffusion", diffusion, allowed, cure)
    if k < 2:
        raise_value_error("k", k, "a gap needs two levels", "Give k=2 or more.")
    # The lowest mode is psi, the next one gives the gap.
    request = validate_modes(equation, grid, k, t, scheme, None)
    found, operator = solve(request, check)
    name = getattr(field.model, "__name__", type(field.model).__name__)
    _check_confined(found, name)
    warn_of_errors(found, SOLVE.warned_level_error, 2)
    assert isinstance(request.equation, ScoreHamiltonian)
    scores = _sample_score(request.equation, grid, request.t)
    return Reconstruction(found, operator, scores)


@sampling_program
def _sample_score(equation: ScoreHamiltonian, grid: Grid, t: Array) -> Array:
    """The score on the nodes, `(*shape, d)`."""
    return grid.sample(lambda x: equation.score(x, t))


def _check_confined(found: Spectrum, name: str) -> None:
    """Raise `ValueError` where the lowest mode is not small at the ends of a line."""
    if not is_concrete(found.vectors):
        return
    # The box of a Line stands for the whole line: a density at its ends would go on
    # outside.
    density = np.asarray(found.vectors[0]) ** 2
    peak = np.max(density)
    for i, axis in enumerate(found.grid.axes):
        if not axis.unbounded:
            continue
        at_ends = np.take(density, [0, axis.n - 1], axis=i)
        ends = float(np.max(at_ends) / peak)
        if ends > CONSTANTS.end_density:
            allowed = (
                f"it does not confine: its lowest mode has {ends:.1e} of its peak at "
                f"the ends of axis {i}"
            )
            cure = (
                "There is no ground state. Add a confining tail to the network, or "
                "widen the box."
            )
            raise_value_error("score", name, allowed, cure)
