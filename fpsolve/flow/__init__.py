"""Flows and waves: flow matching, the fluid of a wave, particles beside it, and what a
flow costs: `fp.flow`.

velocity from samples     fit, VelocityNetwork
velocity of a wave        madelung, particles
on a grid                 overlap, resources, refinement
                          (the evolution itself is `fp.evolve` of an `fp.Continuity`)
"""

from .fit import fit as fit
from .madelung import Madelung as Madelung
from .madelung import Velocities as Velocities
from .madelung import madelung as madelung
from .network import VelocityNetwork as VelocityNetwork
from .particles import particles as particles
from .resources import Refinement as Refinement
from .resources import Resources as Resources
from .resources import overlap as overlap
from .resources import refinement as refinement
from .resources import resources as resources
