"""The problem on one slice: a line parallel to an axis, solved densely on a trial axis.

    wave       d_t psi = -(D T + V) psi,     p = sqrt(pi) psi          (T is the kinetic matrix of the axis' basis)
    density    d_t p = W^-1 G^T V (b M - D G) p

The bases are those of `fp.Spectral`, so the error of a trial is the error that a run on
this axis will make. Static problems are solved by diagonalisation. Time-dependent ones
take the same number of steps on every trial axis, so that the errors in time are equal
and cancel in the comparison of two trials.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..equation import divide_by_sqrt_pi
from ..grid import Axis, Grid
from ..linear.matrix_exponential import exponential_on_host
from ..operator.aliasing import aliasing_error, short_wave_damping, short_wave_fraction
from ..operator.basis import basis, evaluate
from ..operator.clipping import clip_tails
from ..operator.constants import CONSTANTS as OPERATOR
from ..plan.constants import CONSTANTS as PLAN
from ..plan.resolution import is_wave_representable, wave_resolved
from ..plan.validation import mass_weights
from ..propagate.constants import CONSTANTS as PROPAGATE
from .constants import CONSTANTS
from .relaxed_wave import RelaxedWave, relaxed_wave


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

    def solve(
        self, axis: Axis, times: np.ndarray, forbid_clipping: bool = False
    ) -> "SliceStates":
        """The states at all times on one axis, in the picture that a run would choose.

        With `forbid_clipping` a wave whose tails would be clipped is evolved as a
        density instead: a reference must not contain the error of clipping.
        """
        w = axis.weights
        values = self.values(axis.nodes, 0.0)
        log_sqrt_pi = self._log_sqrt_pi(values, w)
        # The picture is decided by the initial state, as in `plan.scheme_choice`.
        wave = self._initial_wave(
            axis, log_sqrt_pi, forbid_clipping, _first_positive(times)
        )
        if wave is None:
            return self._evolve_density(axis, times)
        if self.time_dependent:
            return self._evolve_wave_in_steps(axis, times, wave)

        waves = self._evolve_wave(axis, times, wave, log_sqrt_pi)
        log_z = np.full(len(times), self._log_z(values, w))
        return SliceStates(
            self, axis, times, waves, np.broadcast_to(log_sqrt_pi, waves.shape), log_z
        )

    def _evolve_wave(
        self, axis: Axis, times: np.ndarray, wave: np.ndarray, log_sqrt_pi: np.ndarray
    ) -> np.ndarray:
        """A wave of a static problem at all times `(T, n)`, by diagonalisation."""
        w = axis.weights
        # The ground state sqrt(pi) is known exactly and is evolved apart: its numerical
        # level is not exactly zero, and over long times the mass would decay with it.
        # With absorbing ends it is no eigenfunction.
        energies, modes = np.linalg.eigh(self.matrix(axis))
        has_ground_state = self.evolves_density and axis.boundary != "absorbing"
        if has_ground_state:
            energies, modes = self._with_small_levels(axis, energies, modes)
        ground = np.exp(log_sqrt_pi) if has_ground_state else np.zeros_like(log_sqrt_pi)
        root_w = np.sqrt(w)
        overlap = w @ (ground * wave)
        coefficients = modes.T @ (root_w * (wave - overlap * ground))
        # The matrix acts on sqrt(w) u, in which its eigenvectors are orthonormal.
        exponents = -self._time_direction() * np.multiply.outer(times, energies)
        waves = (np.exp(exponents) * coefficients) @ modes.T / root_w
        # What the modes put back into the ground state is error, and is taken out
        # again.
        return waves + np.multiply.outer(overlap - waves @ (w * ground), ground)

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
        log_sqrt_pi = self._log_sqrt_pi(values, axis.weights)
        first = 0.0 if times is None else _first_positive(times)
        wave = self.reversible
        if wave and times is not None:
            wave = self._initial_wave(axis, log_sqrt_pi, False, first) is not None

        defect = 0.0
        if axis.uniform:
            density = (
                np.exp(2 * log_sqrt_pi) if times is None else self.initial_density(axis)
            )
            short = float(short_wave_fraction(density, axis, 0, np))
            damping = float(
                short_wave_damping(
                    np.min(values.diffusion), axis, first if wave else 0.0, np
                )
            )
            # Frequencies that the axis cannot represent have about the square of the
            # amplitude of the highest ones.
            defect = max(short**2, short * damping) if wave else short
        # Without a wave, or with absorbing ends, there is no stationary sqrt(pi) that
        # could be lost.
        if not wave or axis.boundary == "absorbing":
            return bool(defect < limit)
        # A Gibbs density that changes must be resolved at all times: the start, the
        # middle and the end stand for them.
        moments = (
            np.linspace(0, times[-1], 3)
            if self.time_dependent and times is not None
            else np.zeros(1)
        )
        return max(defect, *(self._gibbs_leak(axis, float(t)) for t in moments)) < limit

    def _gibbs_leak(self, axis: Axis, t: float) -> float:
        """sqrt(pi) |H sqrt(pi)|: the rate at which the basis loses the Gibbs density of
        time t.
        """
        log_sqrt_pi = self._log_sqrt_pi(self.values(axis.nodes, t), axis.weights)
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
        """Eigenvalues `(n,)` and eigenfunctions `(n, n)`, a column each, of unit norm
        in the weights.
        """
        energies, modes = np.linalg.eigh(self.matrix(axis))
        return energies, modes / np.sqrt(axis.weights)[:, None]

    def matrix(self, axis: Axis, t: float = 0.0) -> np.ndarray:
        """H `(n, n)` in the orthonormal basis sqrt(w) u, where it is symmetric."""
        faces, w = basis(axis), axis.weights
        root_w = np.sqrt(w)
        if self.evolves_density and not axis.uniform:
            # Between walls H = A^T A: only the factor knows the no-flux ends, the
            # potential V does not.
            factor = self.factor(axis, t)
            return factor.T @ factor
        values = self.values(axis.nodes, t)
        kinetic = root_w[:, None] * faces.kinetic(axis) / root_w
        # The diffusion is one number an axis. Rounding leaves the product slightly
        # unsymmetric, and eigh reads one triangle only.
        matrix = values.diffusion[0] * kinetic + np.diag(values.potential_term)
        return (matrix + matrix.T) / 2

    def factor(self, axis: Axis, t: float = 0.0) -> np.ndarray:
        """A `(m, n)` of H = A^T A in the orthonormal bases of faces and nodes."""
        faces = basis(axis)
        values = self.values(faces.faces, t)
        half_drift = (values.drift / (2 * values.diffusion))[:, None]
        factor = np.sqrt(values.diffusion)[:, None] * (
            faces.derivative - half_drift * faces.interpolation
        )
        return np.sqrt(faces.weights)[:, None] * factor / np.sqrt(axis.weights)

    def _with_small_levels(
        self, axis: Axis, energies: np.ndarray, modes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of H, the smallest ones from the singular values
        of A.

        The rounding of an eigenvalue of H is relative to the largest one, that of a
        singular value of A to its root: a slow rate over a barrier keeps its digits,
        and long times do not enlarge its error.
        """
        count = int(np.sum(energies < CONSTANTS.small_level * energies[-1]))
        if count == 0:
            return energies, modes
        lowest = modes[:, :count]
        _, singular, rotation = np.linalg.svd(
            self.factor(axis) @ lowest, full_matrices=False
        )
        # Singular values descend, levels ascend.
        energies, modes = energies.copy(), modes.copy()
        energies[:count] = singular[::-1] ** 2
        modes[:, :count] = lowest @ rotation[::-1].T
        return energies, modes

    def generator(self, axis: Axis, t: float) -> np.ndarray:
        """The generator L `(n, n)` of the density, in flux form."""
        faces = basis(axis)
        values = self.values(faces.faces, t)
        flux = (
            values.drift[:, None] * faces.interpolation
            - values.diffusion[:, None] * faces.derivative
        )
        return (
            faces.derivative.T @ (faces.weights[:, None] * flux) / axis.weights[:, None]
        )

    def initial_density(self, axis: Axis) -> np.ndarray:
        """The initial density on an axis, `(n,)`, normalised as in a run."""
        assert self.initial is not None, "a problem of levels has no initial state"
        log_density = self.initial(axis.nodes)
        # Only ratios matter: the largest value becomes 1, so that no value overflows.
        density = np.exp(log_density - np.max(log_density))
        return density / (mass_weights(axis) @ density)

    def _log_sqrt_pi(self, values: SliceValues, w: np.ndarray) -> np.ndarray:
        """log sqrt(pi) `(n,)`, normalised on the axis; zero for a Schrodinger equation,
        whose wave has no factor.
        """
        if not self.evolves_density:
            return np.zeros_like(w)
        return (values.log_gibbs - self._log_z(values, w)) / 2

    def _log_z(self, values: SliceValues, w: np.ndarray) -> float:
        """The logarithm of the integral of exp(log_gibbs); its maximum is taken out
        against overflow.
        """
        if not self.evolves_density:
            return 0.0
        largest = np.max(values.log_gibbs)
        return float(largest + np.log(w @ np.exp(values.log_gibbs - largest)))

    def _time_direction(self) -> float | complex:
        """exp(i wick): 1 in imaginary time, i in real time; real where it can be, for
        the speed of real arithmetic.
        """
        return 1.0 if self.wick == 0 else np.exp(1j * self.wick)

    def _initial_wave(
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
        density, w = self.initial_density(axis), axis.weights

        # The wave, and whether its size is within the precision.
        # Where sqrt(pi) underflows, p / sqrt(pi) overflows: that is the case that the
        # size below detects.
        with np.errstate(over="ignore", invalid="ignore"):
            wave = clip_tails(
                density, log_sqrt_pi, w, OPERATOR.clipping_tol_fraction * self.tol, np
            )
            clipped = not np.array_equal(
                wave, divide_by_sqrt_pi(density, log_sqrt_pi, np)
            )
            size = np.sqrt(w @ wave**2)
        if not is_wave_representable(float(size), float, self.tol, clipped) or (
            clipped and forbid_clipping
        ):
            return None

        # A clipped wave has a corner where it is cut, which may alias.
        damping = short_wave_damping(
            np.min(self.values(axis.nodes, 0.0).diffusion), axis, first, np
        )
        errors = aliasing_error(Grid(axis), wave, np.exp(log_sqrt_pi), [damping], np)
        return wave if wave_resolved(clipped, *errors, self.tol) else None

    def _evolve_wave_in_steps(
        self, axis: Axis, times: np.ndarray, wave: np.ndarray
    ) -> "SliceStates":
        """A wave of a time-dependent problem.

        By Strang splitting into kinetic and potential parts; on `fp.Legendre`, where H
        is known only as A^T A, by exponentials of H at the middle of each step. The
        factor sqrt(pi) changes in time: between two times the wave is multiplied by the
        ratio of the old factor to the new one, so that the density stays.
        """
        x, w = axis.nodes, axis.weights
        root_w = np.sqrt(w)
        between_walls = self.evolves_density and not axis.uniform
        kinetic_levels, kinetic_modes = (
            (np.zeros(0), np.zeros((0, 0)))
            if between_walls
            else self._kinetic_modes(axis)
        )
        steps_in_all = (
            CONSTANTS.density_steps if between_walls else CONSTANTS.wave_steps
        )
        direction = self._time_direction()
        log_sqrt_pi = self._log_sqrt_pi(self.values(x, 0.0), w)
        waves, all_log_sqrt_pi, log_z = [], [], []
        now = 0.0
        for t in times:
            # Steps of about one length, at least one between two times.
            count = (
                max(1, round(steps_in_all * (t - now) / times[-1])) if t > now else 0
            )
            h = (t - now) / max(count, 1)
            half = None
            if not between_walls:
                half = (
                    kinetic_modes * np.exp(-direction * h / 2 * kinetic_levels)
                ) @ kinetic_modes.T
            for k in range(count):
                middle, after = (
                    self.values(x, now + (k + part) * h) for part in (0.5, 1.0)
                )
                middle_log_sqrt_pi, after_log_sqrt_pi = (
                    self._log_sqrt_pi(middle, w),
                    self._log_sqrt_pi(after, w),
                )
                # The step is taken in the picture of its middle.
                wave = wave * np.exp(log_sqrt_pi - middle_log_sqrt_pi)
                if half is None:
                    levels, modes = np.linalg.eigh(
                        self.matrix(axis, now + (k + 0.5) * h)
                    )
                    wave = (
                        (modes * np.exp(-direction * h * levels))
                        @ (modes.T @ (root_w * wave))
                        / root_w
                    )
                else:
                    wave = half @ (
                        np.exp(-direction * h * middle.potential_term) * (half @ wave)
                    )
                wave = wave * np.exp(middle_log_sqrt_pi - after_log_sqrt_pi)
                log_sqrt_pi = after_log_sqrt_pi
            now = t
            waves.append(wave)
            all_log_sqrt_pi.append(log_sqrt_pi)
            log_z.append(self._log_z(self.values(x, t), w))
        return SliceStates(
            self,
            axis,
            times,
            np.stack(waves),
            np.stack(all_log_sqrt_pi),
            np.asarray(log_z),
        )

    def _kinetic_modes(self, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of the kinetic part of H in the orthonormal
        basis.
        """
        root_w = np.sqrt(axis.weights)
        matrix = root_w[:, None] * basis(axis).kinetic(axis) / root_w
        diffusion = self.values(axis.nodes[:1], 0.0).diffusion[0]
        return np.linalg.eigh(diffusion * (matrix + matrix.T) / 2)

    def _evolve_density(self, axis: Axis, times: np.ndarray) -> "SliceStates":
        """The density itself, by exponentials of L; once a static one has narrowed, its
        wave takes its place.
        """
        relaxed = (
            self._relax(axis, times)
            if self.reversible and not self.time_dependent
            else None
        )
        densities = (
            None if relaxed is None else self._by_relaxation(axis, times, relaxed)
        )
        if densities is None:
            densities = self._exponentials(axis, times)
        return SliceStates(self, axis, times, densities, None, np.zeros(len(times)))

    def _by_relaxation(
        self, axis: Axis, times: np.ndarray, relaxed: RelaxedWave
    ) -> np.ndarray | None:
        """The density at all times `(T, n)`, by its wave from a time on; None where the
        density itself does not confirm the wave at later times.
        """
        log_sqrt_pi = self._log_sqrt_pi(self.values(axis.nodes, 0.0), axis.weights)
        later, early = (
            relaxed.time * np.asarray(PROPAGATE.compared_times),
            times <= relaxed.time,
        )
        # One diagonalisation for both.
        lengths = np.concatenate([later, times[~early]]) - relaxed.time
        by_wave = self._evolve_wave(axis, lengths, relaxed.wave, log_sqrt_pi) * np.exp(
            log_sqrt_pi
        )
        differences = (
            np.abs(relaxed.later_densities - by_wave[: len(later)]) @ axis.weights
        )
        if np.min(differences) >= relaxed.confirmed_below:
            return None
        return np.concatenate(
            [self._exponentials(axis, times[early]), by_wave[len(later) :]]
        )

    def _exponentials(self, axis: Axis, times: np.ndarray) -> np.ndarray:
        """The density at all times `(T, n)`: one exponential for each, or for each of
        many small steps where L changes in time.
        """
        state, now, densities = (
            self.initial_density(axis),
            0.0,
            np.zeros((len(times), axis.n)),
        )
        generator = self.generator(axis, 0.0)
        for m, t in enumerate(times):
            # A static generator needs one exponential, whatever the time.
            count = int(t > now)
            if self.time_dependent and t > now:
                count = max(1, round(CONSTANTS.density_steps * (t - now) / times[-1]))
            h = (t - now) / max(count, 1)
            for k in range(count):
                if self.time_dependent:
                    generator = self.generator(axis, now + (k + 0.5) * h)
                # A basis in a narrow box may have a positive rate, whose exponential
                # overflows. An error that is not a number then rejects the axis.
                with np.errstate(over="ignore", invalid="ignore"):
                    state = exponential_on_host(h * generator) @ state
            now = t
            densities[m] = state
        return densities

    def _relax(self, axis: Axis, times: np.ndarray) -> RelaxedWave | None:
        """The wave of a static density from when on it errs less, and that time; None
        where there is none.
        """
        values = self.values(axis.nodes, 0.0)
        log_sqrt_pi, diffusion = (
            self._log_sqrt_pi(values, axis.weights),
            float(np.min(values.diffusion)),
        )
        generator, initial = self.generator(axis, 0.0), self.initial_density(axis)
        return relaxed_wave(
            generator, initial, axis, log_sqrt_pi, diffusion, times, self.tol
        )


class SliceStates(NamedTuple):
    """States `(T, n)` of a slice on an axis at `times`: waves with log sqrt(pi)
    `(T, n)` and log Z `(T,)`, or densities, for which `log_sqrt_pi` is None.
    """

    problem: SliceProblem
    axis: Axis
    times: np.ndarray
    waves: np.ndarray
    log_sqrt_pi: np.ndarray | None
    log_z: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The densities (or waves of a Schrodinger equation), `(T, n)`."""
        return (
            self.waves
            if self.log_sqrt_pi is None
            else self.waves * np.exp(self.log_sqrt_pi)
        )

    def at(self, x: np.ndarray) -> np.ndarray:
        """The values at other points of the axis, `(T, m)`: the wave is interpolated,
        sqrt(pi) is evaluated.
        """
        waves = self.waves @ evaluate(self.axis, x)[1].T
        if self.log_sqrt_pi is None or not self.problem.evolves_density:
            return waves
        # Of a static problem one sample serves all times, by broadcasting.
        moments = self.times if self.problem.time_dependent else self.times[:1]
        log_gibbs = np.stack([self.problem.values(x, t).log_gibbs for t in moments])
        return waves * np.exp((log_gibbs - self.log_z[:, None]) / 2)


def relative_distance(trial: SliceStates, reference: SliceStates) -> np.ndarray:
    """The relative L1 distance `(T,)` of a trial from a reference on an axis that
    contains it.

    Infinite where a trial overflowed, so that such a trial is rejected.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        difference = (
            np.abs(trial.values - reference.at(trial.axis.nodes)) @ trial.axis.weights
        )
        error = difference / (np.abs(reference.values) @ reference.axis.weights)
    return np.where(np.isfinite(error), error, np.inf)


def _first_positive(times: np.ndarray) -> float:
    """The first time after t = 0; 0 if there is none."""
    return float(times[times > 0][:1].sum())
