"""Equations of motion by points, potentials and forces, without a discretisation."""

from typing import TypeAlias

from .base import Equation as Equation
from .closure import read_equation as read_equation
from .continuity import Continuity as Continuity
from .fokker_planck import FokkerPlanck as FokkerPlanck
from .fokker_planck import divide_by_sqrt_pi as divide_by_sqrt_pi
from .schrodinger import QuantumPotential as QuantumPotential
from .schrodinger import Schrodinger as Schrodinger
from .schrodinger import axis_potential_terms as axis_potential_terms
from .score_hamiltonian import ScoreHamiltonian as ScoreHamiltonian

WithPotential: TypeAlias = FokkerPlanck | Schrodinger
