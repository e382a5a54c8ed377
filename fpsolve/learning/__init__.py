"""Learning as imaginary-time dynamics: `fp.learning`.

finitely many states   softmax_state, replicator, anneal
parameters of a model  langevin_density: solved on a grid, as a wave, and sampled by
                       SGLD
an objective           minimise, by the ground state while D falls;
                       simulated_annealing beside it
its two roles          boltzmann_energy, same_state: a potential V, or a Boltzmann
                       energy U
"""

from .dictionary import BoltzmannEnergy as BoltzmannEnergy
from .dictionary import SameState as SameState
from .dictionary import boltzmann_energy as boltzmann_energy
from .dictionary import same_state as same_state
from .discrete_annealing import DiscreteAnnealing as DiscreteAnnealing
from .discrete_annealing import anneal as anneal
from .finite_state import FiniteState as FiniteState
from .finite_state import softmax_state as softmax_state
from .langevin import LangevinDensity as LangevinDensity
from .langevin import langevin_density as langevin_density
from .optimise import Minimum as Minimum
from .optimise import minimise as minimise
from .replicator import ReplicatorFlow as ReplicatorFlow
from .replicator import replicator as replicator
from .simulated_annealing import Annealed as Annealed
from .simulated_annealing import simulated_annealing as simulated_annealing
