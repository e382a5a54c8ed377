"""Driven processes of the theorems T14 to T19: their potentials, their runs, and the
chain that a run is exact for.

    U(x, t) = U_0(x) + λ(t) g(x),          π_t = exp(-U/D)/Z_t
    a_t = d_t log π_t = -λ'(t) (g - <g>_π)/D

On cells of finite volumes the density is that of a Markov chain with the rates of
Scharfetter and Gummel. A theorem about reversible processes holds on this chain without
an error of the grid: its gap and its norms are computed here by numpy, from the values
of U at the nodes alone.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.schedule.monotone import Bernstein
from ..core.types import Numbers, Scalar
from ..equation import FokkerPlanck
from ..grid import Grid, Line
from ..operator import ScharfetterGummel
from ..propagate import Rational
from ..solve.evolve import evolve
from ..step import Magnus
from .chain import chain_hamiltonian, gibbs
from .problems import values_on

# holds the densities of two wells at the diffusions of the theorems
WELLS = Line(-2.2, 2.2, 64)


class Tilting(eqx.Module):
    """U = height (x^2 - 1)^2 - λ(t) (slope tanh 2x + wave cos(wavenumber x + phase)):
    bounded driving of two wells.

    All numbers are arrays, so that one compiled program serves every problem. λ is a
    Bernstein polynomial of degree 3.
    """

    height: Array
    slope: Array
    wave: Array
    wavenumber: Array
    phase: Array
    schedule: Bernstein

    def __init__(
        self,
        total: float,
        *,
        height: float = 1.0,
        slope: float = 0.5,
        wave: float = 0.0,
        wavenumber: float = 1.0,
        phase: float = 0.0,
        coefficients: tuple[float, ...] = (0.0, 1 / 3, 2 / 3, 1.0),  # λ linear in t
    ):
        # As floats: an integer would be an array of another type, and another program.
        self.height = jnp.asarray(float(height))
        self.slope = jnp.asarray(float(slope))
        self.wave = jnp.asarray(float(wave))
        self.wavenumber = jnp.asarray(float(wavenumber))
        self.phase = jnp.asarray(float(phase))
        self.schedule = Bernstein(jnp.asarray(float(total)), jnp.asarray(coefficients))

    def __call__(self, x: Array, t: Scalar) -> Array:
        """U(x, t) at the point x `(1,)`."""
        wave = self.wave * jnp.cos(self.wavenumber * x[0] + self.phase)
        driving = self.slope * jnp.tanh(2 * x[0]) + wave
        wells = self.height * (x[0] ** 2 - 1) ** 2
        return wells - self.schedule(t) * driving


class Dragged(eqx.Module):
    """U = stiffness (x - speed t)^2/2 + ridge log cosh(x - ridge_speed t) + tilt x +
    wave cos(wavenumber x + phase).

    The first two terms are convex and move. The others, which do not, stand for D times
    the integral of an error of the score, and are small.
    """

    stiffness: Array
    speed: Array
    ridge: Array
    ridge_speed: Array
    tilt: Array
    wave: Array
    wavenumber: Array
    phase: Array

    def __init__(
        self,
        stiffness: float,
        speed: float,
        *,
        ridge: float = 0.0,
        ridge_speed: float = 0.0,
        tilt: float = 0.0,
        wave: float = 0.0,
        wavenumber: float = 1.0,
        phase: float = 0.0,
    ):
        # As floats: an integer would be an array of another type, and another program.
        self.stiffness = jnp.asarray(float(stiffness))
        self.speed = jnp.asarray(float(speed))
        self.ridge = jnp.asarray(float(ridge))
        self.ridge_speed = jnp.asarray(float(ridge_speed))
        self.tilt = jnp.asarray(float(tilt))
        self.wave = jnp.asarray(float(wave))
        self.wavenumber = jnp.asarray(float(wavenumber))
        self.phase = jnp.asarray(float(phase))

    def __call__(self, x: Array, t: Scalar) -> Array:
        """U(x, t) at the point x `(1,)`."""
        harmonic = self.stiffness * (x[0] - self.speed * t) ** 2 / 2
        # log cosh y without overflow, and without its constant log 2.
        y = jnp.abs(x[0] - self.ridge_speed * t)
        log_cosh = y + jnp.log1p(jnp.exp(-2 * y))
        convex = harmonic + self.ridge * log_cosh
        wave = self.wave * jnp.cos(self.wavenumber * x[0] + self.phase)
        return convex + self.tilt * x[0] + wave


def evolve_driven(
    potential: Tilting | Dragged,
    diffusion: float,
    start: np.ndarray,
    times: tuple[float, float],
    grid: Grid,
) -> np.ndarray:
    """Densities `(2, n)` by finite volumes, in steps of controlled error: the kernel
    that T14 to T19 test.
    """
    # Always two times and one method: one compiled program for all of these theorems.
    found = evolve(
        FokkerPlanck(potential, diffusion),
        jnp.asarray(start),
        times,
        grid=grid,
        scheme=ScharfetterGummel(),
        method=Magnus(exponential=Rational()),
        tol=1e-6,
        throw=False,
        check=False,
    )
    return np.asarray(found.values)


class Chain(NamedTuple):
    """The chain at L positions λ, with ell = d_λ log pi: `gap`, `drive` |ell|, `lag`
    |H^-1 ell sqrt(pi)|, `overlap` |<psi_1, ell sqrt(pi)>| and `decrease` max(-ell), all
    `(L,)`.
    """

    gap: np.ndarray
    drive: np.ndarray
    lag: np.ndarray
    overlap: np.ndarray
    decrease: np.ndarray


def chain(potential: Tilting, diffusion: float, grid: Grid, lambdas: Numbers) -> Chain:
    """The numbers of the chain at `lambdas` `(L,)`, by numpy from the values of U at
    the nodes.
    """
    start, driving = driven_energies(potential, grid)
    energy = start + np.asarray(lambdas)[:, None] * driving
    steady = gibbs(energy, diffusion, grid)
    weights = grid.axes[0].weights
    mean = steady @ (weights * driving)
    ell = -(driving - mean[:, None]) / diffusion
    hamiltonians = chain_hamiltonian(energy, diffusion, float(weights[0]))
    levels, vectors = np.linalg.eigh(hamiltonians)  # of all λ at once
    # In the orthonormal basis of the cells.
    wave = np.sqrt(weights * steady) * ell
    # ell has the mean zero, so that the ground state has none of it.
    modes = np.einsum("lij,li->lj", vectors, wave)[:, 1:]
    inverted = modes / levels[:, 1:]
    return Chain(
        gap=levels[:, 1],
        drive=np.linalg.norm(wave, axis=1),
        lag=np.linalg.norm(inverted, axis=1),
        overlap=np.abs(modes[:, 0]),
        decrease=np.max(-ell, axis=1),
    )


def tilted_gibbs(
    potential: Tilting, diffusion: float, grid: Grid, times: Numbers
) -> np.ndarray:
    """pi_t `(T, n)` at `times` `(T,)`, by numpy."""
    start, driving = driven_energies(potential, grid)
    lam = schedule_at(potential.schedule, np.asarray(times))[0]
    return gibbs(start + lam[:, None] * driving, diffusion, grid)


def driven_energies(potential: Tilting, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """U at λ = 0 and its derivative in λ, `(n,)` each: U is linear in λ."""
    # Both ends of the schedule, where λ is 0 and 1.
    times = np.asarray([0.0, float(potential.schedule.total)])
    ends = values_on(grid, potential, times)
    return ends[:, 0], ends[:, 1] - ends[:, 0]


def schedule_at(schedule: Bernstein, times: Scalar) -> tuple[Any, Any]:
    """λ and dλ/dt `(M,)` at times in [0, total], by numpy."""
    total = float(schedule.total)
    c0, c1, c2, c3 = np.asarray(schedule.coefficients)
    # The coefficients of Bernstein in those of powers.
    linear = 3 * (c1 - c0)
    square = 3 * (c2 - 2 * c1 + c0)
    cube = c3 - 3 * c2 + 3 * c1 - c0
    cubic = np.polynomial.Polynomial([c0, linear, square, cube])
    u = np.asarray(times) / total
    return cubic(u), cubic.deriv()(u) / total
