"""The registry of theorems, in the order of the theory."""

from .base import Theorem
from .t1_symmetrisation import SpectralWave, Symmetrisation
from .t2_lattice import LatticeHamiltonian, LatticePictures
from .t3_isospectral import Biorthogonality, Isospectrality, ModeSum
from .t5_poincare import Decay, Entropy, Poincare
from .t7_score import RingBound, SamplerLaw, ScoreEnergy
from .t13_moving import MovingPictures, MovingWave, Weights
from .t25_wick import CauchyMeanValue, LorentzianBridge
from .t26_madelung import PhaseEquation
from .t27_continuity import CarriedRoot
from .t28_bridge import NormalBridge
from .t29_softmax import Softmax
from .t30_dictionary import Dictionary


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
        Symmetrisation(),
        SpectralWave(),
        LatticeHamiltonian(),
        LatticePictures(),
        Isospectrality(),
        Biorthogonality(),
        ModeSum(),
        Poincare(),
        Decay(),
        Entropy(),
        ScoreEnergy(),
        RingBound(),
        SamplerLaw(),
        MovingPictures(),
        MovingWave(),
        Weights(),
        LorentzianBridge(),
        CauchyMeanValue(),
        PhaseEquation(),
        CarriedRoot(),
        NormalBridge(),
        Softmax(),
        Dictionary(),
    )
