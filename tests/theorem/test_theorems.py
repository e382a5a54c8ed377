"""Every claim holds and every control is refused, on the default problems and on
others; every claim can fail.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import theorem.test_t4_to_t24 as test_t4_to_t24
import theorem.test_t14_to_t23 as test_t14_to_t23
from fpsolve import Line, Periodic, ScharfetterGummel
from fpsolve.theorem import (
    Certificate,
    Theorem,
    t1_symmetrisation,
    t2_lattice,
    t3_isospectral,
    t5_poincare,
    t7_score,
    t13_moving,
    t25_wick,
    t26_madelung,
    t27_continuity,
    t28_bridge,
    t29_softmax,
    t30_dictionary,
    theorems,
    verify,
)
from fpsolve.theorem.measure import measure
from fpsolve.theorem.problems import tilted, valley

NAMES = [theorem.name for theorem in theorems()]


def by_name(name: str) -> Theorem:
    return next(theorem for theorem in theorems() if theorem.name == name)


def assert_sound(certificate: Certificate) -> None:
    assert certificate.holds and certificate.margin > 0, certificate
    assert certificate.control is not None and certificate.control.refused, (
        certificate.control
    )
    assert certificate.control.margin < 0 and certificate.control.control is None
    assert certificate.sound and not certificate.refused


@pytest.mark.parametrize("name", NAMES)
def test_claim_holds_and_its_control_is_refused(name: str) -> None:
    certificate = verify(by_name(name), refine=False)
    assert_sound(certificate)
    assert certificate.name == name and certificate.seconds > 0


@pytest.mark.parametrize("name", NAMES)
def test_claim_holds_on_larger_grids(name: str) -> None:
    assert_sound(verify(by_name(name), refine=True))


def shallow(x: Any) -> Any:
    return 0.5 * x[0] ** 2 + 0.3 * jnp.cos(3 * x[0])


def narrow(x: Any) -> Any:
    return jnp.exp(-((x[0] - 0.3) ** 2) / 0.2) / jnp.sqrt(0.2 * jnp.pi)


def dragged(x: Any, t: Any) -> Any:
    return 2 * (x[0] - 0.5 * jnp.sin(t)) ** 2


def beside(x: Any) -> Any:
    return jnp.exp(-3 * (x[0] + 0.5) ** 2 + jnp.cos(x[1]))


def uneven(x: Any) -> Any:
    return jnp.sin(2 * x) - 0.4


def wider_well(x: Any) -> Any:
    return 2 * x[0] ** 2 - 1.0


def wider_ground(x: Any) -> Any:
    return jnp.exp(-(x[0] ** 2))


def bistable(x: Any) -> Any:
    return (x[0] ** 2 - 1) ** 2 + 0.5 * jnp.sin(2 * x[0] + 0.4)


WIDE = {"potential": shallow, "diffusion": 0.7, "start": narrow}
LEVELS = {"potential": shallow, "diffusion": 0.7, "axis": Line(-4.5, 4.5, 64)}
DRAGGED = {
    "potential": dragged,
    "diffusion": 0.7,
    "axis": Line(-4.0, 5.0, 64),
    "times": (0.5, 1.5),
}
ANGLE = Periodic(0.0, 2 * np.pi, 40)
OTHERS = [
    t1_symmetrisation.symmetrisation.on(
        **WIDE, bounds=(-7.5, 7.5), sizes=(80, 96, 112, 136)
    ),
    t1_symmetrisation.spectral_wave.on(
        stiffness=((1.5, 0.5), (0.5, 1.0)),
        diffusion=0.5,
        mean=(0.5, -0.3),
        variance=0.3,
        axis=Line(-6.0, 6.0, 40),
    ),
    t2_lattice.lattice_hamiltonian_form.on(
        potential=lambda x: tilted(x), diffusion=0.3, axes=(Line(-1.5, 1.5, 40),)
    ),
    t2_lattice.lattice_hamiltonian_form.on(
        potential=lambda x: jnp.cos(x[0]) * jnp.sin(x[1]),
        diffusion=1.3,
        axes=(Periodic(0.0, 2 * np.pi, 9),) * 2,
    ),
    t7_score.score_energy.on(
        score=uneven, log_density=lambda x: jnp.sin(x[0]) ** 3, axes=(ANGLE,)
    ),
    t7_score.ring_bound.on(sweep=(0.1, 0.7), nodes=33),
    t7_score.sampler_law.on(
        score=uneven,
        log_density=lambda x: jnp.sin(x[0]),
        axes=(Periodic(0.0, 2 * np.pi, 48),),
    ),
    t2_lattice.lattice_densities.on(
        potential=valley,
        diffusion=0.6,
        start=beside,
        axes=(Line(-1.8, 1.8, 18), Periodic(0.0, 2 * np.pi, 14)),
    ),
    t3_isospectral.isospectrality.on(**LEVELS, force=0.4),
    t3_isospectral.biorthogonality.on(**LEVELS),
    t3_isospectral.mode_sum.on(**LEVELS, start=narrow),
    t5_poincare.poincare.on(
        **WIDE, axis=Line(-7.5, 7.5, 96), times=(12.0, 13.0, 14.0, 15.0), degree=90
    ),
    t5_poincare.decay.on(**LEVELS, start=narrow),
    t5_poincare.entropy.on(**WIDE, bounds=(-5.5, 5.5), sizes=(80, 96, 112, 136)),
    t13_moving.moving_pictures.on(**DRAGGED, start=narrow),
    t13_moving.moving_wave.on(**DRAGGED, start=narrow),
    t13_moving.weights.on(**DRAGGED),
    t25_wick.lorentzian_bridge.on(
        potential=wider_well, ground=wider_ground, axis=Line(-5.0, 5.0, 32), time=0.7
    ),
    t25_wick.cauchy_mean_value.on(
        potential=shallow,
        start=narrow,
        diffusion=0.7,
        axis=Line(-6.0, 6.0, 64),
        center=0.6,
        radius=0.2,
    ),
    t26_madelung.phase_equation.on(
        potential=shallow, diffusion=0.7, axis=Line(-9.0, 9.0, 90)
    ),
    t27_continuity.carried_root.on(speed=-0.4, time=1.5, nodes=75),
    t28_bridge.normal_bridge.on(
        means=(0.5, -0.2),
        variances=(0.9, 0.5),
        diffusion=0.3,
        total=1.4,
        axis=Line(-7.0, 7.0, 80),
    ),
    t29_softmax.softmax.on(energies=(1.0, -2.0, 0.3), time=1.7),
    t30_dictionary.dictionary.on(
        objective=bistable,
        diffusion=0.2,
        axis=Line(-2.6, 2.6, 96),
        inner=0.77,
        cells=400,
    ),
]


@pytest.mark.parametrize("theorem", OTHERS, ids=lambda theorem: theorem.name)
def test_claim_holds_on_another_problem(theorem: Theorem) -> None:
    assert_sound(verify(theorem, refine=False))


def other_diffusion(module: Any, name: str, factor: float) -> Any:
    """`module.name`, a function of an equation first, given the equation with another
    diffusion.
    """
    original = getattr(module, name)
    changed = lambda equation: eqx.tree_at(
        lambda e: e.diffusion, equation, factor * equation.diffusion
    )
    return lambda equation, *args, **rest: original(changed(equation), *args, **rest)


def other_wave(module: Any) -> Any:
    """`correspondence` with a wave that is wrong by one part in 10,000,000,000."""
    original = module.correspondence

    def perturbed(*args: Any, **rest: Any) -> Any:
        both = original(*args, **rest)
        return eqx.tree_at(lambda b: b.wave, both, both.wave * (1 + 1e-10))

    return perturbed


def other_kappa(module: Any) -> Any:
    """`evolve_wave` with 0.999 of the extra term."""
    original = module.evolve_wave
    return lambda equation, wave, times, grid, kappa: original(
        equation, wave, times, grid, 0.999 * kappa
    )


def other_score(module: Any, name: str) -> Any:
    """`module.name`, a function of a score first, given 1 + 1e-6 times the score."""
    original = getattr(module, name)
    return lambda score, *args, **rest: original(
        lambda x: (1 + 1e-6) * score(x), *args, **rest
    )


def other_bound(module: Any) -> Any:
    """`reconstruct` with levels that are 1 + 1e-8 times as high."""

    def changed(*args: Any, **rest: Any) -> Any:
        found = module_reconstruct(*args, **rest)
        return eqx.tree_at(
            lambda f: f.spectrum.values, found, (1 + 1e-8) * found.spectrum.values
        )

    module_reconstruct = module.reconstruct
    return changed


def faster_fluid(module: Any) -> Any:
    original = module.madelung

    def changed(wave: Any, grid: Any, diffusion: float) -> Any:
        return original(wave, grid, diffusion=1.05 * diffusion)

    return changed


def faster_flow(module: Any) -> Any:
    original = module.Continuity
    return lambda velocity: original(lambda x: (1 + 1e-7) * velocity(x))


def noisier(module: Any) -> Any:
    """`FokkerPlanck` with a diffusion that is wrong by one part in ten thousand."""
    original = module.FokkerPlanck
    return lambda potential, diffusion: original(potential, 1.0001 * diffusion)


def other_circle(module: Any) -> Any:
    """`cauchy` with a mean that is wrong by one part in a thousand million."""
    original = module.cauchy

    def perturbed(*args: Any, **rest: Any) -> Any:
        found = original(*args, **rest)
        return eqx.tree_at(lambda f: f.mean, found, found.mean * (1 + 1e-9))

    return perturbed


def other_average(module: Any) -> Any:
    """`lorentzian` of a Hamiltonian with other levels, whose lowest is not zero."""
    original = module.lorentzian
    return lambda equation, start, times, **rest: original(
        equation, start, [1.01 * times[0]], **rest | {"shift": -0.1}
    )


def other_state(module: Any) -> Any:
    """`softmax_state` at another time."""
    original = module.softmax_state
    return lambda energies, tau: original(energies, (1 + 1e-9) * tau)


def other_energy(module: Any) -> Any:
    """`boltzmann_energy` with 1.01 times the energy."""
    original = module.boltzmann_energy

    def perturbed(*args: Any) -> Any:
        found = original(*args)
        return eqx.tree_at(lambda f: f.values, found, 1.01 * found.values)

    return perturbed


FAULTS = {
    "T1": (
        t1_symmetrisation,
        "evolve_by_volumes",
        lambda m: other_diffusion(m, "evolve_by_volumes", 1.02),
    ),
    "T1.spectral": (t1_symmetrisation, "Spectral", lambda m: ScharfetterGummel),
    "T2": (t2_lattice, "SquareRoot", lambda m: ScharfetterGummel),
    "T2.density": (t2_lattice, "correspondence", other_wave),
    "T3": (
        t3_isospectral,
        "spectrum",
        lambda m: other_diffusion(m, "spectrum", 1 + 1e-9),
    ),
    "T3.modes": (
        t3_isospectral,
        "spectrum",
        lambda m: other_diffusion(m, "spectrum", 1 + 1e-8),
    ),
    "T3.sum": (
        t3_isospectral,
        "evolve_by_volumes",
        lambda m: other_diffusion(m, "evolve_by_volumes", 1 + 1e-7),
    ),
    "T5": (t5_poincare, "spectrum", lambda m: other_diffusion(m, "spectrum", 1 + 1e-6)),
    "T5.decay": (
        t5_poincare,
        "spectrum",
        lambda m: other_diffusion(m, "spectrum", 1.001),
    ),
    "T5.entropy": (
        t5_poincare,
        "evolve_by_volumes",
        lambda m: other_diffusion(m, "evolve_by_volumes", 1.02),
    ),
    "T7": (t7_score, "ScoreHamiltonian", lambda m: other_score(m, "ScoreHamiltonian")),
    "T8": (t7_score, "reconstruct", other_bound),
    "T10": (t7_score, "reconstruct", lambda m: other_score(m, "reconstruct")),
    "T13": (t13_moving, "correspondence", other_wave),
    "T13.wave": (t13_moving, "evolve_wave", other_kappa),
    "T13.weights": (t13_moving, "evolve_wave", other_kappa),
    "T25": (t25_wick, "lorentzian", other_average),
    "T25.cauchy": (t25_wick, "cauchy", other_circle),
    "T26": (t26_madelung, "madelung", faster_fluid),
    "T27": (t27_continuity, "Continuity", faster_flow),
    "T28": (t28_bridge, "FokkerPlanck", noisier),
    "T29": (t29_softmax, "softmax_state", other_state),
    "T30": (t30_dictionary, "boltzmann_energy", other_energy),
}


def test_a_fault_is_planted_in_every_theorem() -> None:
    elsewhere = {**test_t4_to_t24.FAULTS, **test_t14_to_t23.FAULTS}
    assert sorted([*FAULTS, *elsewhere]) == sorted(NAMES)


@pytest.mark.parametrize("name", FAULTS)
def test_claim_fails_on_a_planted_fault(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, attribute, fault = FAULTS[name]
    monkeypatch.setattr(module, attribute, fault(module))
    found = measure(by_name(name), control=False, refinement=1.0, quick=True)
    assert found.margin < 0 or found.failure, found


def test_names_are_unique_and_statements_are_one_line() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for theorem in theorems():
        assert theorem.statement
        assert len(theorem.statement) < 100
        assert "\n" not in theorem.statement
        assert theorem.control_name and len(theorem.control_statement) < 100
        assert theorem.hypotheses and theorem.source and theorem.statement.isprintable()
