"""`check_scheme`: does this recipe yield an operator as the library promises it?

H = H^T >= 0,    H sqrt(pi) = 0,    L = -sqrt(pi) H / sqrt(pi),    mass conserved,    an order of at least one
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import FokkerPlanck, Schrodinger
from ..grid import Absorbing, Gaussian, Grid, Legendre, Line, Periodic, Reflecting
from ..operator import Operator, Scheme
from ..operator.base import dense
from ..potential import Cosine, Harmonic
from ..propagate import Dense
from ..solve.evolve import evolve
from .check import demand, rounding, unless_refused

SPACE = 1e-1  # what H sqrt(pi) may be on the coarse grids below: a scheme of order one is well within
SIZES = (24, 48, 96)
ORDER = 0.85

_RING = Periodic(-np.pi, np.pi, 12)


def _problems() -> dict[str, tuple[FokkerPlanck, Grid]]:
    well, waves, weak = FokkerPlanck(Harmonic()), FokkerPlanck(Cosine()), FokkerPlanck(Harmonic(0.5))
    coupled = FokkerPlanck(lambda x: jnp.cos(x[0]) + 0.5 * jnp.sin(x[0] - x[1]))
    return {
        "a Line": (well, Grid(Line(-7.0, 7.0, 48))),
        "a Periodic axis": (waves, Grid(_RING)),
        "Reflecting walls": (well, Grid(Reflecting(-2.0, 2.0, 20))),
        "Legendre nodes": (well, Grid(Legendre(-2.0, 2.0, 16))),
        "Absorbing walls": (weak, Grid(Absorbing(-1.0, 1.0, 20))),
        "two periodic axes": (coupled, Grid(_RING, _RING)),
        "a ring and Absorbing walls": (waves, Grid(_RING, Absorbing(-0.5, 0.5, 12))),
    }


def _pushed() -> FokkerPlanck:
    return FokkerPlanck(Cosine(), force=lambda x: 1 + 0 * x)


def _quantum() -> Schrodinger:
    return Schrodinger(Harmonic())


def check_scheme(scheme: Any) -> None:
    """Check a scheme on small grids of every kind that it takes, in one and two dimensions.

    **Arguments**: `scheme`, a subclass of `fpsolve.operator.Scheme`. A problem that it refuses with `ValueError` is
    passed over; one at least must be taken. **Raises** `AssertionError` unless H is symmetric in the grid's weights and
    at least zero, its spectrum lies within `bounds`, sqrt(pi) is its ground state to the accuracy of the grid, L is
    -sqrt(pi) H / sqrt(pi) or conserves mass, operators act on batches, and the error of an Ornstein-Uhlenbeck density
    falls at least in proportion to the spacing. **Cost**: seconds.

    ```python
    import fpsolve as fp
    from fpsolve.testing import check_scheme

    check_scheme(fp.ScharfetterGummel())
    ```
    """
    demand(isinstance(scheme, Scheme), f"{scheme!r} is no instance of fpsolve.operator.Scheme.")
    taken = [name for name, problem in _problems().items() if _take(scheme, f"on {name}", *problem)]
    demand(
        taken,
        f"{scheme!r} refuses every problem: {', '.join(_problems())}.",
    )
    _check_pushed(scheme)
    _check_quantum(scheme)
    _check_order(scheme)


def _take(scheme: Scheme, where: str, equation: FokkerPlanck, grid: Grid) -> bool:
    operator = _operator(scheme, equation, grid, True)
    if operator is None:
        return False
    values = _check_symmetric(operator, where)
    open_ends = grid.absorbs
    demand(values[0] >= -1e-6, f"H has the negative eigenvalue {values[0]:.1e} {where}.")
    demand(operator.log_sqrt_pi is not None, f"log_sqrt_pi is None for a reversible process {where}.")
    root = jnp.exp(operator.log_sqrt_pi)
    mass = float(grid.integrate(root**2))
    demand(abs(mass - 1) <= 1e4 * rounding(), f"The mass of exp(2 log_sqrt_pi) is {mass}, not 1, {where}.")
    if not open_ends:
        defect = float(jnp.sqrt(grid.integrate(operator.hamiltonian(root) ** 2)))
        demand(defect <= SPACE, f"sqrt(pi) is not the ground state {where}: |H sqrt(pi)| = {defect:.1e}.")
    wave = jax.random.uniform(jax.random.key(1), grid.shape, root.dtype)
    left, right = operator.generator(root * wave), -root * operator.hamiltonian(wave)
    apart = float(jnp.max(jnp.abs(left - right)) / jnp.max(jnp.abs(right)))
    demand(apart <= 1e5 * rounding(), f"L is not -sqrt(pi) H / sqrt(pi) {where}: they differ by {apart:.1e} of it.")
    _check_batches(operator, wave, where)
    return True


def _check_symmetric(operator: Operator, where: str) -> np.ndarray:
    """The eigenvalues of H, ascending, once it is known to be symmetric and bounded as it says."""
    grid = operator.grid
    root = np.sqrt(np.asarray(grid.weights)).ravel()
    matrix = root[:, None] * np.asarray(_matrix(operator)) / root
    size = np.max(np.abs(matrix))
    apart = float(np.max(np.abs(matrix - matrix.T)) / size)
    demand(
        apart <= 1e4 * rounding(), f"H is not symmetric in the weights of the grid {where}: {apart:.1e} of its size."
    )
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    lowest, highest = map(float, operator.bounds)
    slack = 1e4 * rounding() * size
    inside = lowest - slack - 1e-6 <= values[0] and values[-1] <= highest + slack
    demand(
        inside,
        f"The spectrum [{values[0]:.3g}, {values[-1]:.3g}] is not within bounds [{lowest:.3g}, {highest:.3g}] {where}.",
    )
    return values


@eqx.filter_jit
def _matrix(operator: Operator) -> Array:
    return dense(operator.hamiltonian, operator.grid, operator.grid.weights.dtype)


def _check_batches(operator: Operator, field: Any, where: str) -> None:
    stack = jnp.stack([field, 2 * field])
    for name, action in (("hamiltonian", operator.hamiltonian), ("generator", operator.generator)):
        one = action(field)
        size = float(jnp.max(jnp.abs(one)))
        apart = (
            float(jnp.max(jnp.abs(action(stack) - jnp.stack([one, 2 * one]))))
            if action(stack).shape == stack.shape
            else np.inf
        )
        demand(apart <= 1e4 * rounding() * size, f"{name} does not act on leading axes one by one, linearly, {where}.")


def _check_pushed(scheme: Scheme) -> None:
    grid = Grid(_RING)
    operator = _operator(scheme, _pushed(), grid, False)
    if operator is not None:
        density = jax.random.uniform(jax.random.key(2), grid.shape)
        rate = operator.generator(density)
        lost = float(jnp.abs(grid.integrate(rate)) / grid.integrate(jnp.abs(rate)))
        demand(lost <= 1e4 * rounding(), f"L loses mass under a force on a ring: {lost:.1e} of what it moves.")


def _check_quantum(scheme: Scheme) -> None:
    operator = _operator(scheme, _quantum(), Grid(Line(-7.0, 7.0, 48)), False)
    if operator is not None:
        values = _check_symmetric(operator, "for a Schrödinger equation")
        demand(abs(values[0] - 0.5) <= SPACE, f"The oscillator's lowest level is {values[0]:.3f}, and should be 0.5.")


def _check_order(scheme: Scheme) -> None:
    """dX = -X dt + sqrt(2) dW from N(m, v): at time t the density is N(m e^-t, 1 + (v - 1) e^-2t)."""
    errors = []
    for n in SIZES:
        grid = Grid(Line(-7.0, 7.0, n))
        start = Gaussian([0.8], 0.6)
        run = lambda grid=grid, start=start: evolve(
            FokkerPlanck(Harmonic()), start, [0.5], grid=grid, scheme=scheme, method=Dense(), throw=False
        )
        solution = unless_refused(run)
        if solution is None:
            return
        exact = grid.density(Gaussian([0.8 * np.exp(-0.5)], 1 - 0.4 * np.exp(-1.0)))
        errors.append(float(grid.integrate(jnp.abs(solution.values[-1] - exact))))
    order = -np.polyfit(np.log(SIZES), np.log(np.maximum(errors, 1e-300)), 1)[0]
    shown = ", ".join(f"{error:.1e}" for error in errors)
    fine = errors[-1] <= 1e6 * rounding() or order >= ORDER
    demand(fine, f"An Ornstein-Uhlenbeck density converges at order {order:.2f}: errors {shown} on {SIZES} nodes.")


def _operator(scheme: Scheme, equation: Any, grid: Grid, reversible: bool) -> Operator | None:
    def build() -> Operator:
        scheme.check(equation, grid)
        return eqx.filter_jit(scheme.build)(equation, grid, 0.0, grid.weights.dtype, reversible)

    return unless_refused(build)
