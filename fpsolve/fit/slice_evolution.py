"""The states on one slice, solved densely on a trial axis.

    wave       psi(t) = exp(-t H) psi(0),    p = sqrt(pi) psi
    density    p(t) = exp(t L) p(0)

Static problems are solved by diagonalisation. Time-dependent ones take the same number
of steps on every trial axis, so that the errors in time are equal and cancel in the
comparison of two trials.
"""

from typing import NamedTuple

import numpy as np

from ..grid import Axis
from ..linear.matrix_exponential import exponential_on_host
from ..operator.basis import basis, evaluate
from ..propagate.constants import CONSTANTS as PROPAGATE
from .constants import CONSTANTS
from .relaxed_wave import RelaxedWave, relaxed_wave
from .slice_problem import SliceProblem, first_positive


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
        if self.log_sqrt_pi is None:
            return self.waves
        return self.waves * np.exp(self.log_sqrt_pi)

    def at(self, x: np.ndarray) -> np.ndarray:
        """The values at other points of the axis, `(T, m)`: the wave is interpolated,
        sqrt(pi) is evaluated.
        """
        waves = self.waves @ evaluate(self.axis, x)[1].T
        if self.log_sqrt_pi is None or not self.problem.evolves_density:
            return waves
        # Of a static problem one sample serves all times, by broadcasting.
        moments = self.times if self.problem.time_dependent else self.times[:1]
        values = [self.problem.values(x, t) for t in moments]
        log_gibbs = np.stack([local.log_gibbs for local in values])
        return waves * np.exp((log_gibbs - self.log_z[:, None]) / 2)


def relative_distance(trial: SliceStates, reference: SliceStates) -> np.ndarray:
    """The relative L1 distance `(T,)` of a trial from a reference on an axis that
    contains it.

    Infinite where a trial overflowed, so that such a trial is rejected.
    """
    weights = trial.axis.weights
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(trial.values - reference.at(trial.axis.nodes)) @ weights
        error = difference / (np.abs(reference.values) @ reference.axis.weights)
    return np.where(np.isfinite(error), error, np.inf)


def solve_slice(
    problem: SliceProblem,
    axis: Axis,
    times: np.ndarray,
    forbid_clipping: bool = False,
) -> SliceStates:
    """The states at all times on one axis, in the picture that a run would choose.

    With `forbid_clipping` a wave whose tails would be clipped is evolved as a density
    instead: a reference must not contain the error of clipping.
    """
    w = axis.weights
    values = problem.values(axis.nodes, 0.0)
    log_sqrt_pi = problem.log_sqrt_pi(values, w)
    # The picture is decided by the initial state, as in `plan.scheme_choice`.
    first = first_positive(times)
    wave = problem.initial_wave(axis, log_sqrt_pi, forbid_clipping, first)
    if wave is None:
        return _evolve_density(problem, axis, times)
    if problem.time_dependent:
        return _evolve_wave_in_steps(problem, axis, times, wave)

    waves = _evolve_wave(problem, axis, times, wave, log_sqrt_pi)
    log_z = np.full(len(times), problem.log_z(values, w))
    repeated = np.broadcast_to(log_sqrt_pi, waves.shape)
    return SliceStates(problem, axis, times, waves, repeated, log_z)


# Waves.


def _time_direction(problem: SliceProblem) -> float | complex:
    """exp(i wick): 1 in imaginary time, i in real time; real where it can be, for the
    speed of real arithmetic.
    """
    return 1.0 if problem.wick == 0 else np.exp(1j * problem.wick)


def _evolve_wave(
    problem: SliceProblem,
    axis: Axis,
    times: np.ndarray,
    wave: np.ndarray,
    log_sqrt_pi: np.ndarray,
) -> np.ndarray:
    """A wave of a static problem at all times `(T, n)`, by diagonalisation."""
    w = axis.weights
    # The ground state sqrt(pi) is known exactly and is evolved apart: its numerical
    # level is not exactly zero, and over long times the mass would decay with it. With
    # absorbing ends it is no eigenfunction.
    energies, modes = np.linalg.eigh(problem.matrix(axis))
    has_ground_state = problem.evolves_density and axis.boundary != "absorbing"
    if has_ground_state:
        energies, modes = _with_small_levels(problem, axis, energies, modes)
        ground = np.exp(log_sqrt_pi)
    else:
        ground = np.zeros_like(log_sqrt_pi)
    root_w = np.sqrt(w)
    overlap = w @ (ground * wave)
    coefficients = modes.T @ (root_w * (wave - overlap * ground))
    # The matrix acts on sqrt(w) u, in which its eigenvectors are orthonormal.
    exponents = -_time_direction(problem) * np.multiply.outer(times, energies)
    waves = (np.exp(exponents) * coefficients) @ modes.T / root_w
    # What the modes put back into the ground state is error, and is taken out again.
    return waves + np.multiply.outer(overlap - waves @ (w * ground), ground)


def _with_small_levels(
    problem: SliceProblem, axis: Axis, energies: np.ndarray, modes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of H, the smallest ones from the singular values of
    A.

    The rounding of an eigenvalue of H is relative to the largest one, that of a
    singular value of A to its root: a slow rate over a barrier keeps its digits, and
    long times do not enlarge its error.
    """
    count = int(np.sum(energies < CONSTANTS.small_level * energies[-1]))
    if count == 0:
        return energies, modes
    lowest = modes[:, :count]
    image = problem.factor(axis) @ lowest
    _, singular, rotation = np.linalg.svd(image, full_matrices=False)
    # Singular values descend, levels ascend.
    energies = energies.copy()
    energies[:count] = singular[::-1] ** 2
    modes = modes.copy()
    modes[:, :count] = lowest @ rotation[::-1].T
    return energies, modes


def _evolve_wave_in_steps(
    problem: SliceProblem, axis: Axis, times: np.ndarray, wave: np.ndarray
) -> SliceStates:
    """A wave of a time-dependent problem.

    By Strang splitting into kinetic and potential parts; on `fp.Legendre`, where H is
    known only as A^T A, by exponentials of H at the middle of each step. The factor
    sqrt(pi) changes in time: between two times the wave is multiplied by the ratio of
    the old factor to the new one, so that the density stays.
    """
    x = axis.nodes
    w = axis.weights
    root_w = np.sqrt(w)
    between_walls = problem.evolves_density and not axis.uniform
    if between_walls:
        steps_in_all = CONSTANTS.density_steps
        kinetic_levels = np.zeros(0)
        kinetic_modes = np.zeros((0, 0))
    else:
        steps_in_all = CONSTANTS.wave_steps
        kinetic_levels, kinetic_modes = _kinetic_modes(problem, axis)
    direction = _time_direction(problem)
    log_sqrt_pi = problem.log_sqrt_pi(problem.values(x, 0.0), w)
    waves, all_log_sqrt_pi, log_z = [], [], []
    now = 0.0
    for t in times:
        # Steps of about one length, at least one between two times.
        count = 0
        if t > now:
            count = max(1, round(steps_in_all * (t - now) / times[-1]))
        h = (t - now) / max(count, 1)
        half_kinetic = None
        if not between_walls:
            decay = np.exp(-direction * h / 2 * kinetic_levels)
            half_kinetic = (kinetic_modes * decay) @ kinetic_modes.T
        for k in range(count):
            middle = problem.values(x, now + (k + 0.5) * h)
            after = problem.values(x, now + (k + 1.0) * h)
            middle_log_sqrt_pi = problem.log_sqrt_pi(middle, w)
            after_log_sqrt_pi = problem.log_sqrt_pi(after, w)
            # The step is taken in the picture of its middle.
            wave = wave * np.exp(log_sqrt_pi - middle_log_sqrt_pi)
            if half_kinetic is None:
                hamiltonian = problem.matrix(axis, now + (k + 0.5) * h)
                levels, modes = np.linalg.eigh(hamiltonian)
                coefficients = modes.T @ (root_w * wave)
                wave = (modes * np.exp(-direction * h * levels)) @ coefficients / root_w
            else:
                potential_factor = np.exp(-direction * h * middle.potential_term)
                wave = half_kinetic @ (potential_factor * (half_kinetic @ wave))
            wave = wave * np.exp(middle_log_sqrt_pi - after_log_sqrt_pi)
            log_sqrt_pi = after_log_sqrt_pi
        now = t
        waves.append(wave)
        all_log_sqrt_pi.append(log_sqrt_pi)
        log_z.append(problem.log_z(problem.values(x, t), w))
    return SliceStates(
        problem,
        axis,
        times,
        np.stack(waves),
        np.stack(all_log_sqrt_pi),
        np.asarray(log_z),
    )


def _kinetic_modes(problem: SliceProblem, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of the kinetic part of H, in the basis sqrt(w) u."""
    root_w = np.sqrt(axis.weights)
    matrix = root_w[:, None] * basis(axis).kinetic(axis) / root_w
    diffusion = problem.values(axis.nodes[:1], 0.0).diffusion[0]
    # Rounding leaves the matrix slightly unsymmetric, and eigh reads one triangle only.
    return np.linalg.eigh(diffusion * (matrix + matrix.T) / 2)


# Densities.


def _evolve_density(
    problem: SliceProblem, axis: Axis, times: np.ndarray
) -> SliceStates:
    """The density itself, by exponentials of L; once a static one has narrowed, its
    wave takes its place.
    """
    densities = None
    if problem.reversible and not problem.time_dependent:
        relaxed = _relax(problem, axis, times)
        if relaxed is not None:
            densities = _by_relaxation(problem, axis, times, relaxed)
    if densities is None:
        densities = _exponentials(problem, axis, times)
    return SliceStates(problem, axis, times, densities, None, np.zeros(len(times)))


def _by_relaxation(
    problem: SliceProblem, axis: Axis, times: np.ndarray, relaxed: RelaxedWave
) -> np.ndarray | None:
    """The density at all times `(T, n)`, by its wave from a time on; None where the
    density itself does not confirm the wave at later times.
    """
    log_sqrt_pi = problem.log_sqrt_pi(problem.values(axis.nodes, 0.0), axis.weights)
    later = relaxed.time * np.asarray(PROPAGATE.compared_times)
    early = times <= relaxed.time
    # One diagonalisation for both.
    lengths = np.concatenate([later, times[~early]]) - relaxed.time
    waves = _evolve_wave(problem, axis, lengths, relaxed.wave, log_sqrt_pi)
    by_wave = waves * np.exp(log_sqrt_pi)
    differences = np.abs(relaxed.later_densities - by_wave[: len(later)]) @ axis.weights
    if np.min(differences) >= relaxed.confirmed_below:
        return None
    before = _exponentials(problem, axis, times[early])
    return np.concatenate([before, by_wave[len(later) :]])


def _exponentials(problem: SliceProblem, axis: Axis, times: np.ndarray) -> np.ndarray:
    """The density at all times `(T, n)`: one exponential for each, or for each of many
    small steps where L changes in time.
    """
    state = problem.initial_density(axis)
    now = 0.0
    densities = np.zeros((len(times), axis.n))
    generator = problem.generator(axis, 0.0)
    for m, t in enumerate(times):
        # A static generator needs one exponential, whatever the time.
        count = int(t > now)
        if problem.time_dependent and t > now:
            count = max(1, round(CONSTANTS.density_steps * (t - now) / times[-1]))
        h = (t - now) / max(count, 1)
        for k in range(count):
            if problem.time_dependent:
                generator = problem.generator(axis, now + (k + 0.5) * h)
            # A basis in a narrow box may have a positive rate, whose exponential
            # overflows. An error that is not a number then rejects the axis.
            with np.errstate(over="ignore", invalid="ignore"):
                state = exponential_on_host(h * generator) @ state
        now = t
        densities[m] = state
    return densities


def _relax(problem: SliceProblem, axis: Axis, times: np.ndarray) -> RelaxedWave | None:
    """The wave of a static density from when on it errs less, and that time; None where
    there is none.
    """
    values = problem.values(axis.nodes, 0.0)
    return relaxed_wave(
        problem.generator(axis, 0.0),
        problem.initial_density(axis),
        axis,
        problem.log_sqrt_pi(values, axis.weights),
        float(np.min(values.diffusion)),
        times,
        problem.tol,
    )
