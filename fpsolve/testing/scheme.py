"""`check_scheme`: does this scheme make operators with the properties of those of the
library?

    H = H^T >= 0,    H sqrt(pi) = 0,    L = -sqrt(pi) H / sqrt(pi)

Mass is conserved, and the order is at least one.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..equation import Equation, FokkerPlanck, Schrodinger
from ..grid import Absorbing, Gaussian, Grid, Legendre, Line, Periodic, Reflecting
from ..operator import Operator, Scheme
from ..operator.base import dense
from ..potential import Cosine, Harmonic
from ..propagate import Dense
from ..solve.evolve import evolve
from ..solve.solution import Solution
from .check import require, rounding, unless_rejected
from .constants import CONSTANTS

_RING = Periodic(-np.pi, np.pi, 12)


def _problems() -> dict[str, tuple[FokkerPlanck, Grid]]:
    """Reversible equations on grids of every kind, by name."""
    harmonic = FokkerPlanck(Harmonic())
    cosine = FokkerPlanck(Cosine())
    weak = FokkerPlanck(Harmonic(0.5))
    coupled = FokkerPlanck(_coupled)
    return {
        "a Line": (harmonic, Grid(Line(-7.0, 7.0, 48))),
        "a Periodic axis": (cosine, Grid(_RING)),
        "Reflecting walls": (harmonic, Grid(Reflecting(-2.0, 2.0, 20))),
        "Legendre nodes": (harmonic, Grid(Legendre(-2.0, 2.0, 16))),
        "Absorbing walls": (weak, Grid(Absorbing(-1.0, 1.0, 20))),
        "two periodic axes": (coupled, Grid(_RING, _RING)),
        "a ring and Absorbing walls": (cosine, Grid(_RING, Absorbing(-0.5, 0.5, 12))),
    }


def _coupled(x: Array) -> Array:
    """cos x + sin(x - y) / 2, a potential that is no sum over the axes."""
    return jnp.cos(x[0]) + 0.5 * jnp.sin(x[0] - x[1])


def _forced() -> FokkerPlanck:
    return FokkerPlanck(Cosine(), force=lambda x: 1 + 0 * x)


def _quantum() -> Schrodinger:
    return Schrodinger(Harmonic())


def check_scheme(scheme: Any) -> None:
    """Check a scheme on small grids of every kind that it supports, in one and two
    dimensions.

    **Arguments**: `scheme`, a subclass of `fpsolve.operator.Scheme`. A problem that it
    rejects with `ValueError` is left out; at least one must be supported. **Raises**
    `AssertionError` unless H is symmetric in the grid's weights and at least zero, its
    spectrum lies within `bounds`, sqrt(pi) is its ground state to the accuracy of the
    grid, L is -sqrt(pi) H / sqrt(pi) or conserves mass, operators act on batches, and
    the error of an Ornstein-Uhlenbeck density falls at least in proportion to the
    spacing. **Cost**: seconds.

    ```python
    import fpsolve as fp
    from fpsolve.testing import check_scheme

    check_scheme(fp.ScharfetterGummel())
    ```
    """
    is_scheme = isinstance(scheme, Scheme)
    require(is_scheme, f"{scheme!r} is no instance of fpsolve.operator.Scheme.")
    problems = _problems()
    supported = [
        _check_problem(scheme, f"on {name}", *problem)
        for name, problem in problems.items()
    ]
    # One that rejects everything would pass every check that follows.
    require(any(supported), f"{scheme!r} rejects every problem: {', '.join(problems)}.")
    _check_force(scheme)
    _check_quantum(scheme)
    _check_order(scheme)


def _check_problem(
    scheme: Scheme, where: str, equation: FokkerPlanck, grid: Grid
) -> bool:
    """Check a scheme on a reversible problem, and return whether it supports it."""
    operator = _operator(scheme, equation, grid, True)
    if operator is None:
        return False
    values = _check_symmetric(operator, where)
    require(
        values[0] >= -CONSTANTS.negative_level,
        f"H has the negative eigenvalue {values[0]:.1e} {where}.",
    )
    require(
        operator.log_sqrt_pi is not None,
        f"log_sqrt_pi is None for a reversible process {where}.",
    )
    sqrt_pi = jnp.exp(operator.log_sqrt_pi)
    mass = float(grid.integrate(sqrt_pi**2))
    normalised = abs(mass - 1) <= CONSTANTS.rounding_of_sums * rounding()
    require(normalised, f"The mass of exp(2 log_sqrt_pi) is {mass}, not 1, {where}.")
    # Absorbing walls take mass away: sqrt(pi) is then no ground state.
    if not grid.absorbs:
        residual = operator.hamiltonian(sqrt_pi)
        defect = float(jnp.sqrt(grid.integrate(residual**2)))
        require(
            defect <= CONSTANTS.ground_state_defect,
            f"sqrt(pi) is not the ground state {where}: |H sqrt(pi)| = {defect:.1e}.",
        )
    # A random wave: every mode contributes.
    wave = jax.random.uniform(jax.random.key(1), grid.shape, sqrt_pi.dtype)
    by_generator = operator.generator(sqrt_pi * wave)
    by_hamiltonian = -sqrt_pi * operator.hamiltonian(wave)
    departure = jnp.max(jnp.abs(by_generator - by_hamiltonian))
    difference = float(departure / jnp.max(jnp.abs(by_hamiltonian)))
    similar = difference <= CONSTANTS.rounding_of_similarity * rounding()
    require(
        similar,
        f"L is not -sqrt(pi) H / sqrt(pi) {where}: the relative difference is "
        f"{difference:.1e}.",
    )
    _check_batches(operator, wave, where)
    return True


def _check_symmetric(operator: Operator, where: str) -> np.ndarray:
    """Check that H is symmetric and its spectrum within `bounds`, and return its
    eigenvalues, ascending.
    """
    grid = operator.grid
    # Symmetric in the weights w of the grid means: sqrt(w) H / sqrt(w) is a symmetric
    # matrix.
    sqrt_weights = np.sqrt(np.asarray(grid.weights)).ravel()
    matrix = sqrt_weights[:, None] * np.asarray(_matrix(operator)) / sqrt_weights
    size = np.max(np.abs(matrix))
    difference = float(np.max(np.abs(matrix - matrix.T)) / size)
    symmetric = difference <= CONSTANTS.rounding_of_sums * rounding()
    require(
        symmetric,
        f"H is not symmetric in the weights of the grid {where}: {difference:.1e} of "
        "its size.",
    )
    values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    lowest, highest = map(float, operator.bounds)
    slack = CONSTANTS.rounding_of_sums * rounding() * size
    least = lowest - slack - CONSTANTS.negative_level
    inside = least <= values[0] and values[-1] <= highest + slack
    spectrum = f"The spectrum [{values[0]:.3g}, {values[-1]:.3g}]"
    require(
        inside,
        f"{spectrum} is not within bounds [{lowest:.3g}, {highest:.3g}] {where}.",
    )
    return values


@eqx.filter_jit
def _matrix(operator: Operator) -> Array:
    """H as a full matrix `(size, size)`."""
    return dense(operator.hamiltonian, operator.grid, operator.grid.weights.dtype)


def _check_batches(operator: Operator, field: Array, where: str) -> None:
    """Operators are linear, and act on every field of a stack."""
    stack = jnp.stack([field, 2 * field])
    actions = {"hamiltonian": operator.hamiltonian, "generator": operator.generator}
    for name, action in actions.items():
        one = action(field)
        size = float(jnp.max(jnp.abs(one)))
        both = action(stack)
        # A wrong shape would be broadcast.
        difference = np.inf
        if both.shape == stack.shape:
            expected = jnp.stack([one, 2 * one])
            difference = float(jnp.max(jnp.abs(both - expected)))
        linear = difference <= CONSTANTS.rounding_of_sums * rounding() * size
        require(
            linear,
            f"{name} does not act on leading axes one by one, linearly, {where}.",
        )


def _check_force(scheme: Scheme) -> None:
    """With a force there is no sqrt(pi), and L conserves mass."""
    grid = Grid(_RING)
    operator = _operator(scheme, _forced(), grid, False)
    if operator is not None:
        density = jax.random.uniform(jax.random.key(2), grid.shape)
        rate = operator.generator(density)
        # Relative to what moves, since a rate has no scale of its own.
        moved = grid.integrate(jnp.abs(rate))
        lost = float(jnp.abs(grid.integrate(rate)) / moved)
        conserves = lost <= CONSTANTS.rounding_of_sums * rounding()
        require(
            conserves,
            f"L loses mass with a force on a ring: {lost:.1e} of what it transports.",
        )


def _check_quantum(scheme: Scheme) -> None:
    """The lowest level of the harmonic oscillator is 1/2."""
    grid = Grid(Line(-7.0, 7.0, 48))
    operator = _operator(scheme, _quantum(), grid, False)
    if operator is not None:
        values = _check_symmetric(operator, "for a Schrödinger equation")
        close = abs(values[0] - 0.5) <= CONSTANTS.ground_state_defect
        require(
            close,
            f"The oscillator's lowest level is {values[0]:.3f}, and should be 0.5.",
        )


def _check_order(scheme: Scheme) -> None:
    """The error falls with the spacing. For dX = -X dt + sqrt(2) dW from N(m, v) the
    density at time t is N(m e^-t, 1 + (v - 1) e^-2t).
    """
    sizes = CONSTANTS.order_sizes
    errors = []
    for n in sizes:
        grid = Grid(Line(-7.0, 7.0, n))
        start = Gaussian([0.8], 0.6)

        def run(grid: Grid = grid, start: Gaussian = start) -> Solution:
            options = {
                "grid": grid,
                "scheme": scheme,
                "method": Dense(),
                "throw": False,
                "check": False,
            }
            return evolve(FokkerPlanck(Harmonic()), start, [0.5], **options)

        solution = unless_rejected(run)
        if solution is None:
            return
        # m = 0.8, v = 0.6, t = 0.5.
        mean = 0.8 * np.exp(-0.5)
        variance = 1 - 0.4 * np.exp(-1.0)
        later = Gaussian([mean], variance)
        departure = solution.values[-1] - grid.density(later)
        errors.append(float(grid.integrate(jnp.abs(departure))))
    # an error of 0 has no logarithm
    log_errors = np.log(np.maximum(errors, 1e-300))
    order = -np.polyfit(np.log(sizes), log_errors, 1)[0]
    shown = ", ".join(f"{error:.1e}" for error in errors)
    # A spectral scheme is at rounding on every grid, and has no order.
    at_rounding = errors[-1] <= CONSTANTS.rounding_of_density * rounding()
    fine = at_rounding or order >= CONSTANTS.order_min
    require(
        fine,
        f"An Ornstein-Uhlenbeck density converges at order {order:.2f}: errors {shown} "
        f"on {sizes} nodes.",
    )


def _operator(
    scheme: Scheme, equation: Equation, grid: Grid, reversible: bool
) -> Operator | None:
    """The operator, or None if the scheme rejects the problem."""

    def build() -> Operator:
        scheme.check(equation, grid)
        compiled = eqx.filter_jit(scheme.build)
        return compiled(equation, grid, 0.0, grid.weights.dtype, reversible)

    return unless_rejected(build)
