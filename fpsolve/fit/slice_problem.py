"""A problem on one line, solved densely on a trial axis and compared with a finer one.

    wave       d_t psi = -(D T + V) psi,     p = sqrt(pi) psi          (T the kinetic matrix of the axis' basis)
    density    d_t p = W^-1 G^T V (b M - D G) p

with exactly the bases of `fp.Spectral`, so that what is wrong with a trial is what will be wrong with a run. Still
problems are solved by decomposition, moving ones by Strang steps of one number for all trials, whose error is common.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..equation import divide_by_sqrt_pi
from ..grid import Axis, Grid
from ..operator.aliasing import aliasing_error, short_wave_damping, short_wave_share
from ..operator.basis import basis, evaluate
from ..operator.clipping import TOL_FRACTION, clip_tails
from ..plan.resolution import UNRESOLVED, is_wave_representable, wave_resolved
from ..plan.validation import mass_weights

STEPS, FROZEN = 192, 48  # of a moving problem, in the wave and in the density picture


class Numbers(NamedTuple):
    """At points of a line `(m,)`: log pi + constant, the drift, the diffusion, the well."""

    log_gibbs: np.ndarray
    drift: np.ndarray
    diffusion: np.ndarray
    well: np.ndarray


@dataclasses.dataclass(frozen=True)
class Line:
    """One line through a problem: its `numbers(x, t)`, its start (log density, or a wave), and how it is evolved.

    `tol` is that of the run, by which a run chooses its picture; `reversible` says whether it may choose the wave.
    """

    numbers: Callable[[np.ndarray, float], Numbers]
    start: Callable[[np.ndarray], np.ndarray] | None
    process: bool
    reversible: bool
    time_dependent: bool
    tol: float
    wick: float = 0.0

    def solve(self, axis: Axis, times: np.ndarray, uncut: bool = False) -> "States":
        """The states at all times on one axis, as a run finds them; `uncut`, no wave gives up a part of its tails."""
        x, w = axis.nodes, axis.weights
        numbers = self.numbers(x, 0.0)
        log_sqrt_pi = self._log_sqrt_pi(numbers, w)
        state = self._enter(axis, log_sqrt_pi, uncut, _first(times))
        if state is None:
            return self._densities(axis, times)
        if self.time_dependent:
            return self._steps(axis, times, state)
        root = np.sqrt(w)
        energies, modes = np.linalg.eigh(self.matrix(axis))
        kept = self.process and axis.boundary != "absorbing"
        ground = np.exp(log_sqrt_pi) if kept else np.zeros_like(log_sqrt_pi)
        turn = 1.0 if self.wick == 0 else np.exp(1j * self.wick)
        share = w @ (ground * state)
        inside = modes.T @ (root * (state - share * ground))
        waves = (np.exp(-turn * np.multiply.outer(times, energies)) * inside) @ modes.T / root
        waves = waves + np.multiply.outer(share - waves @ (w * ground), ground)
        log_z = np.full(len(times), self._log_z(numbers, w))
        return States(self, axis, times, waves, np.broadcast_to(log_sqrt_pi, waves.shape), log_z)

    def resolved(self, axis: Axis, times: np.ndarray | None) -> bool:
        """Whether a run would find its start and the Gibbs density resolved, and so take `fp.Spectral` (`choice`)."""
        if not self.process:
            return True
        numbers = self.numbers(axis.nodes, 0.0)
        log_sqrt_pi = self._log_sqrt_pi(numbers, axis.weights)
        wave = self.reversible and (times is None or self._enter(axis, log_sqrt_pi, False, _first(times)) is not None)
        share = 0.0
        if axis.uniform:
            field = np.exp(2 * log_sqrt_pi) if times is None else self.density(axis)
            share = float(short_wave_share(field, axis, 0, np))
            first = 0.0 if times is None or not wave else _first(times)
            damping = short_wave_damping(np.min(numbers.diffusion), axis, first, np)
            share = max(share**2, share * float(damping)) if wave else share
        if not wave or axis.boundary == "absorbing":
            return bool(share < UNRESOLVED)
        moments = np.linspace(0, times[-1], 3) if self.time_dependent and times is not None else np.zeros(1)
        return max(share, *(self._leak(axis, float(t)) for t in moments)) < UNRESOLVED

    def _leak(self, axis: Axis, t: float) -> float:
        """The rate at which the Gibbs density at time t would leak."""
        root = np.exp(self._log_sqrt_pi(self.numbers(axis.nodes, t), axis.weights)) * np.sqrt(axis.weights)
        return float(root @ np.abs(self.matrix(axis, t) @ root))

    def levels(self, axis: Axis) -> np.ndarray:
        """All levels of H on one axis, ascending."""
        return np.linalg.eigvalsh(self.matrix(axis))

    def modes(self, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        """Levels and modes `(n, n)`, a column each, of unit norm in the weights."""
        energies, modes = np.linalg.eigh(self.matrix(axis))
        return energies, modes / np.sqrt(axis.weights)[:, None]

    def matrix(self, axis: Axis, t: float = 0.0) -> np.ndarray:
        """H in the orthonormal basis sqrt(w) u."""
        faces, w = basis(axis), axis.weights
        root = np.sqrt(w)
        if self.process and not axis.uniform:
            numbers = self.numbers(faces.faces, t)
            factor = np.sqrt(numbers.diffusion)[:, None] * (
                faces.derivative - (numbers.drift / (2 * numbers.diffusion))[:, None] * faces.interpolation
            )
            factor = np.sqrt(faces.weights)[:, None] * factor / root
            return factor.T @ factor
        numbers = self.numbers(axis.nodes, t)
        kinetic = root[:, None] * faces.kinetic(axis) / root
        matrix = numbers.diffusion[0] * kinetic + np.diag(numbers.well)
        return (matrix + matrix.T) / 2

    def _log_sqrt_pi(self, numbers: Numbers, w: np.ndarray) -> np.ndarray:
        if not self.process:
            return np.zeros_like(w)
        return (numbers.log_gibbs - self._log_z(numbers, w)) / 2

    def _log_z(self, numbers: Numbers, w: np.ndarray) -> float:
        top = np.max(numbers.log_gibbs) if self.process else 0.0
        return float(top + np.log(w @ np.exp(numbers.log_gibbs - top))) if self.process else 0.0

    def density(self, axis: Axis) -> np.ndarray:
        """The start on an axis, `(n,)`, normalised as a run does it."""
        assert self.start is not None, "states need a start"
        log_density = self.start(axis.nodes)
        density = np.exp(log_density - np.max(log_density))
        return density / (mass_weights(axis) @ density)

    def _enter(self, axis: Axis, log_sqrt_pi: np.ndarray, uncut: bool, first: float) -> np.ndarray | None:
        """The wave at t = 0, with tails clipped as a run clips them; None where a run takes the density."""
        assert self.start is not None, "states need a start"
        if not self.process:
            return self.start(axis.nodes)
        if not self.reversible:
            return None
        density, w = self.density(axis), axis.weights
        with np.errstate(over="ignore", invalid="ignore"):
            wave = clip_tails(density, log_sqrt_pi, w, TOL_FRACTION * self.tol, np)
            clipped = not np.array_equal(wave, divide_by_sqrt_pi(density, log_sqrt_pi, np))
            size = np.sqrt(w @ wave**2)
        if not is_wave_representable(float(size), float, self.tol) or (clipped and uncut):
            return None
        damping = short_wave_damping(np.min(self.numbers(axis.nodes, 0.0).diffusion), axis, first, np)
        errors = aliasing_error(Grid(axis), wave, np.exp(log_sqrt_pi), [damping], np)
        return wave if wave_resolved(clipped, *errors, self.tol) else None

    def _steps(self, axis: Axis, times: np.ndarray, state: np.ndarray) -> "States":
        """In steps: of Strang, or (on `Legendre`, where the well alone knows no walls) of frozen exponentials."""
        x, w = axis.nodes, axis.weights
        walled = self.process and not axis.uniform
        root = np.sqrt(w)
        energies, modes = (np.zeros(0), np.zeros((0, 0))) if walled else self._kinetic(axis)
        log_sqrt_pi = self._log_sqrt_pi(self.numbers(x, 0.0), w)
        waves, roots, log_z, now = [], [], [], 0.0
        turn = 1.0 if self.wick == 0 else np.exp(1j * self.wick)
        for t in times:
            count = max(1, round((FROZEN if walled else STEPS) * (t - now) / times[-1])) if t > now else 0
            length = (t - now) / max(count, 1)
            half = None if walled else (modes * np.exp(-turn * length / 2 * energies)) @ modes.T
            for k in range(count):
                middle, after = (self.numbers(x, now + (k + part) * length) for part in (0.5, 1.0))
                middle_root, after_root = self._log_sqrt_pi(middle, w), self._log_sqrt_pi(after, w)
                state = state * np.exp(log_sqrt_pi - middle_root)
                if walled:
                    levels, there = np.linalg.eigh(self.matrix(axis, now + (k + 0.5) * length))
                    state = (there * np.exp(-turn * length * levels)) @ (there.T @ (root * state)) / root
                else:
                    state = half @ (np.exp(-turn * length * middle.well) * (half @ state))
                state, log_sqrt_pi = state * np.exp(middle_root - after_root), after_root
            now = t
            waves.append(state)
            roots.append(log_sqrt_pi)
            log_z.append(self._log_z(self.numbers(x, t), w))
        return States(self, axis, times, np.stack(waves), np.stack(roots), np.asarray(log_z))

    def _kinetic(self, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
        root = np.sqrt(axis.weights)
        matrix = root[:, None] * basis(axis).kinetic(axis) / root
        diffusion = self.numbers(axis.nodes[:1], 0.0).diffusion[0]
        return np.linalg.eigh(diffusion * (matrix + matrix.T) / 2)

    def generator(self, axis: Axis, t: float) -> np.ndarray:
        """L in the flux form, `(n, n)`."""
        faces = basis(axis)
        numbers = self.numbers(faces.faces, t)
        flux = numbers.drift[:, None] * faces.interpolation - numbers.diffusion[:, None] * faces.derivative
        return faces.derivative.T @ (faces.weights[:, None] * flux) / axis.weights[:, None]

    def _densities(self, axis: Axis, times: np.ndarray) -> "States":
        import scipy.linalg  # here, so that `import fpsolve` stays quick

        state, now, densities = self.density(axis), 0.0, []
        generator = self.generator(axis, 0.0)
        for t in times:
            count = max(1, round(FROZEN * (t - now) / times[-1])) if self.time_dependent and t > now else int(t > now)
            length = (t - now) / max(count, 1)
            for k in range(count):
                if self.time_dependent:
                    generator = self.generator(axis, now + (k + 0.5) * length)
                state = scipy.linalg.expm(length * generator) @ state
            now = t
            densities.append(state)
        densities = np.stack(densities)
        return States(self, axis, times, densities, None, np.zeros(len(times)))


class States(NamedTuple):
    """Waves or densities `(T, n)` of a line on an axis at `times`, log sqrt(pi) there (None for densities) and its
    log Z `(T,)`."""

    line: Line
    axis: Axis
    times: np.ndarray
    waves: np.ndarray
    log_sqrt_pi: np.ndarray | None
    log_z: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The densities (or waves of a Schrödinger equation), `(T, n)`."""
        return self.waves if self.log_sqrt_pi is None else self.waves * np.exp(self.log_sqrt_pi)

    def at(self, x: np.ndarray) -> np.ndarray:
        """The values at other places on the axis, `(T, m)`."""
        there = self.waves @ evaluate(self.axis, x)[1].T
        if self.log_sqrt_pi is None or not self.line.process:
            return there
        moments = self.times if self.line.time_dependent else self.times[:1]
        log_gibbs = np.stack([self.line.numbers(x, t).log_gibbs for t in moments])
        return there * np.exp((log_gibbs - self.log_z[:, None]) / 2)


def distance(trial: States, reference: States) -> np.ndarray:
    """The relative L1 distance of a trial from a reference that holds it, at every time `(T,)`."""
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(trial.values - reference.at(trial.axis.nodes)) @ trial.axis.weights
        error = apart / (np.abs(reference.values) @ reference.axis.weights)
    return np.where(np.isfinite(error), error, np.inf)


def _first(times: np.ndarray) -> float:
    return float(times[times > 0][:1].sum())
