"""The registry of theorems, in the order of the theory."""

from .base import Theorem
from .t1_symmetrisation import spectral_wave, symmetrisation
from .t2_lattice import lattice_densities, lattice_hamiltonian_form
from .t3_isospectral import biorthogonality, isospectrality, mode_sum
from .t5_poincare import decay, entropy, poincare
from .t7_score import ring_bound, sampler_law, score_energy
from .t13_moving import moving_pictures, moving_wave, weights
from .t25_wick import cauchy_mean_value, lorentzian_bridge
from .t26_madelung import phase_equation
from .t27_continuity import carried_root
from .t28_bridge import normal_bridge
from .t29_softmax import softmax
from .t30_dictionary import dictionary


def theorems() -> tuple[Theorem, ...]:
    """Every theorem of the library, on its default problem.

    **Returns** a tuple; the fields of each are its problem, so that it can be measured on another one. Give one to
    `fp.verify`.

    ```python
    import fpsolve as fp

    names = [theorem.name for theorem in fp.theorems()]
    ```
    """
    return (
        symmetrisation,
        spectral_wave,
        lattice_hamiltonian_form,
        lattice_densities,
        isospectrality,
        biorthogonality,
        mode_sum,
        poincare,
        decay,
        entropy,
        score_energy,
        ring_bound,
        sampler_law,
        moving_pictures,
        moving_wave,
        weights,
        lorentzian_bridge,
        cauchy_mean_value,
        phase_equation,
        carried_root,
        normal_bridge,
        softmax,
        dictionary,
    )
