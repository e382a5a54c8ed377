"""The physics. Equations know points, potentials and forces; they know no scheme."""

from typing import TypeAlias

from .base import Equation as Equation
from .closure import read_equation as read_equation
from .fokker_planck import FokkerPlanck as FokkerPlanck
from .fokker_planck import divide_by_sqrt_pi as divide_by_sqrt_pi
from .schrodinger import QuantumPotential as QuantumPotential
from .schrodinger import Schrodinger as Schrodinger
from .schrodinger import axis_wells as axis_wells
from .score_hamiltonian import ScoreHamiltonian as ScoreHamiltonian

WithPotential: TypeAlias = FokkerPlanck | Schrodinger
