"""The problem on one slice: a line parallel to an axis, as matrices on a trial axis.

    wave       d_t psi = -H psi,   H = D T + V,   p = sqrt(pi) psi
    density    d_t p = L p,        L = W^-1 G^T V (b M - D G)

T is the kinetic matrix of the axis' basis. The bases are those of `fp.Spectral`, so the
error of a trial is the error that a run on this axis will make. `slice_evolution`
solves the problem in time.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..equation import divide_by_sqrt_pi
from ..grid import Axis, Grid
from ..operator.aliasing import aliasing_error, short_wave_damping, short_wave_fraction
from ..operator.basis import basis
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from ..plan.constants import CONSTANTS as PLAN
from ..plan.initial_state import mass_weights
from ..plan.resolution import is_wave_representable, wave_resolved


class SliceValues(NamedTuple):
    """At points of a slice, `(m,)` each: log pi + constant, the drift, the diffusion,
    the potential V of H.
    """

    log_gibbs: np.ndarray
    drift: np.ndarray
    diffusion: np.ndarray
    potential_term: np.ndarray


@dataclasses.dataclass(frozen=True)
class SliceProblem:
    """A problem in one dimension: its coefficients `values(x, t)`, its initial state,
    and how it is evolved.

    - `energy`, `slopes`: U(x, t) `(m,)`, and its first two derivatives along the slice
    - `initial`: log p, or the wave itself for a Schrodinger equation; None where levels
      are wanted
    - `evolves_density`: whether it belongs to a Fokker-Planck equation
    - `reversible`: whether it has a Gibbs density, so that a run may evolve the wave p
      / sqrt(pi)
    - `tol`: the tolerance of the run, which decides in which picture it is evolved
    - `wick`: the angle by which time is rotated
    """

    values: Callable[[np.ndarray, float], SliceValues]
    energy: Callable[[np.ndarray, float], np.ndarray]
    slopes: Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]
    initial: Callable[[np.ndarray], np.ndarray] | None
    evolves_density: bool
    reversible: bool
    time_dependent: bool
    tol: float
    wick: float = 0.0

    def is_resolved(self, axis: Axis, times: np.ndarray | None) -> bool:
        """Whether a run on this axis would choose `fp.Spectral`: the same measures as
        in `plan.scheme_choice`.

        `times` is None where levels are wanted; the Gibbs density then takes the place
        of the initial density.
        """
        if not self.evolves_density:
            return True
        limit = PLAN.largest_defect
        values = self.values(axis.nodes, 0.0)
        log_sqrt_pi = self.log_sqrt_pi(values, axis.weights)
        first = 0.0 if times is None else first_positive(times)
        wave = self.reversible
        if wave and times is not None:
            wave = self.initial_wave(axis, log_sqrt_pi, False, first) is not None

        defect = 0.0
        if axis.uniform:
            if times is None:
                density = np.exp(2 * log_sqrt_pi)
            else:
                density = self.initial_density(axis)
            short = float(short_wave_fraction(density, axis, 0, np))
            defect = short
            if wave:
                least_diffusion = np.min(values.diffusion)
                damping = float(short_wave_damping(least_diffusion, axis, first, np))
                # Frequencies that the axis cannot represent have about the square of
                # the amplitude of the highest ones.
                defect = max(short**2, short * damping)
        # Without a wave, or with absorbing ends, there is no stationary sqrt(pi) that
        # could be lost.
        if not wave or axis.boundary == "absorbing":
            return bool(defect < limit)
        # A Gibbs density that changes must be resolved at all times: the start, the
        # middle and the end stand for them.
        moments = np.zeros(1)
        if self.time_dependent and times is not None:
            moments = np.linspace(0, times[-1], 3)
        leaks = [self._gibbs_leak(axis, float(t)) for t in moments]
        return max(defect, *leaks) < limit

    def _gibbs_leak(self, axis: Axis, t: float) -> float:
        """sqrt(pi) |H sqrt(pi)|: the rate at which the basis loses the Gibbs density of
        time t.
        """
        log_sqrt_pi = self.log_sqrt_pi(self.values(axis.nodes, t), axis.weights)
        sqrt_pi = np.exp(log_sqrt_pi) * np.sqrt(axis.weights)
        return float(sqrt_pi @ np.abs(self.matrix(axis, t) @ sqrt_pi))

    def height_scale(self, axis: Axis, t: float) -> float:
        """The number c for which c U is -U / D, with one number D for the axis; 1 for a
        Schrodinger equation.
        """
        if not self.evolves_density:
            return 1.0
        return -1.0 / float(np.max(self.values(axis.nodes, t).diffusion))

    def levels(self, axis: Axis) -> np.ndarray:
        """All eigenvalues of H on one axis, ascending."""
        return np.linalg.eigvalsh(self.matrix(axis))

    def modes(self, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues `(n,)` and eigenfunctions `(n, n)` in columns, of unit norm."""
        energies, modes = np.linalg.eigh(self.matrix(axis))
        return energies, modes / np.sqrt(axis.weights)[:, None]

    def matrix(self, axis: Axis, t: float = 0.0) -> np.ndarray:
        """H `(n, n)` in the orthonormal basis sqrt(w) u, where it is symmetric."""
        if self.evolves_density and not axis.uniform:
            # Between walls H = A^T A: only the factor knows the no-flux ends, the
            # potential V does not.
            factor = self.factor(axis, t)
            return factor.T @ factor
        root_w = np.sqrt(axis.weights)
        values = self.values(axis.nodes, t)
        kinetic = root_w[:, None] * basis(axis).kinetic(axis) / root_w
        # The diffusion is one number an axis. Rounding leaves the product slightly
        # unsymmetric, and eigh reads one triangle only.
        matrix = values.diffusion[0] * kinetic + np.diag(values.potential_term)
        return (matrix + matrix.T) / 2

    def factor(self, axis: Axis, t: float = 0.0) -> np.ndarray:
        """A `(m, n)` of H = A^T A in the orthonormal bases of faces and nodes."""
        faces = basis(axis)
        values = self.values(faces.faces, t)
        half_drift = (values.drift / (2 * values.diffusion))[:, None]
        covariant = faces.derivative - half_drift * faces.interpolation
        factor = np.sqrt(values.diffusion)[:, None] * covariant
        return np.sqrt(faces.weights)[:, None] * factor / np.sqrt(axis.weights)

    def generator(self, axis: Axis, t: float) -> np.ndarray:
        """The generator L `(n, n)` of the density, in flux form."""
        faces = basis(axis)
        values = self.values(faces.faces, t)
        advection = values.drift[:, None] * faces.interpolation
        flux = advection - values.diffusion[:, None] * faces.derivative
        divergence = faces.derivative.T @ (faces.weights[:, None] * flux)
        return divergence / axis.weights[:, None]

    def initial_density(self, axis: Axis) -> np.ndarray:
        """The initial density on an axis, `(n,)`, normalised as in a run."""
        assert self.initial is not None, "a problem of levels has no initial state"
        log_density = self.initial(axis.nodes)
        # Only ratios matter: the largest value becomes 1, so that no value overflows.
        density = np.exp(log_density - np.max(log_density))
        return density / (mass_weights(axis) @ density)

    def log_sqrt_pi(self, values: SliceValues, w: np.ndarray) -> np.ndarray:
        """log sqrt(pi) `(n,)`, normalised on the axis; zero for a Schrodinger equation,
        whose wave has no factor.
        """
        if not self.evolves_density:
            return np.zeros_like(w)
        return (values.log_gibbs - self.log_z(values, w)) / 2

    def log_z(self, values: SliceValues, w: np.ndarray) -> float:
        """The logarithm of the integral of exp(log_gibbs); its maximum is taken out
        against overflow.
        """
        if not self.evolves_density:
            return 0.0
        largest = np.max(values.log_gibbs)
        return float(largest + np.log(w @ np.exp(values.log_gibbs - largest)))

    def initial_wave(
        self, axis: Axis, log_sqrt_pi: np.ndarray, forbid_clipping: bool, first: float
    ) -> np.ndarray | None:
        """The wave at t = 0, with tails clipped as in a run; None where a run would
        evolve the density.

        `first` is the first time after t = 0 that is reported: until then diffusion
        damps short waves.
        """
        assert self.initial is not None, "a problem of levels has no initial state"
        if not self.evolves_density:
            return self.initial(axis.nodes)
        if not self.reversible:
            return None
        density = self.initial_density(axis)
        w = axis.weights

        # The wave, and whether its size is within the precision.
        # Where sqrt(pi) underflows, p / sqrt(pi) overflows: that is the case that the
        # size below detects.
        most_clipped = OPERATOR.clipping_tol_fraction * self.tol
        with np.errstate(over="ignore", invalid="ignore"):
            wave = clip_tails(density, log_sqrt_pi, w, most_clipped, np)
            unclipped = divide_by_sqrt_pi(density, log_sqrt_pi, np)
            clipped = not np.array_equal(wave, unclipped)
            size = np.sqrt(w @ wave**2)
        if clipped and forbid_clipping:
            return None
        if not is_wave_representable(float(size), float, self.tol, clipped):
            return None

        # A clipped wave has a corner where it is cut, which may alias.
        least_diffusion = np.min(self.values(axis.nodes, 0.0).diffusion)
        damping = short_wave_damping(least_diffusion, axis, first, np)
        errors = aliasing_error(Grid(axis), wave, np.exp(log_sqrt_pi), [damping], np)
        return wave if wave_resolved(clipped, *errors, self.tol) else None


def first_positive(times: np.ndarray) -> float:
    """The first time after t = 0; 0 if there is none."""
    return float(times[times > 0][:1].sum())
