"""fpsolve: the Fokker-Planck density and its imaginary-time Schrödinger twin, side by side.

    d_t p = div( D grad p + (grad U - f) p )      p = sqrt(pi) psi      d_t psi = -H psi,  H = A^T A

Give a potential, a grid and a start; `evolve` answers where the density is, `spectrum` what the slow modes are, and
`correspondence` how exactly the two sides agree. Nondimensional units throughout.
"""

from importlib.metadata import version

# isort: off
# Geometry
from .grid import Line, Reflecting, Absorbing, Periodic, Legendre, Grid, Gaussian
from .fit import fit_grid

# Potentials
from .potential import Potential, Harmonic, DoubleWell, Quartic, Cosine, MexicanHat, MullerBrown
from .potential import GaussianMixture, Rugged, Sampled, Mix, Driven, Moved, Stretched, Tempering, Noising

# Physics
from .equation import FokkerPlanck, Schrodinger, ScoreHamiltonian

# Schemes (in space) and methods (in time)
from .scheme import ScharfetterGummel, SquareRoot, Spectral
from .method import Chebyshev, Rational, Splitting, Implicit, Magnus, Uniformization, Dense

# Doors
from .evolve import evolve
from .spectrum import spectrum, spectral_gap
from .modes import Spectrum
from .rates import committor, mean_first_passage_time, eyring_kramers, EyringKramers
from .correspondence import correspondence, Correspondence
from .solution import Solution
from .theorem import theorems, verify, Certificate

# Adiabatic transport
from .potential import path
from .adiabatic import transport, Transport, along, schedule, reverse

# Scores
from . import score
from .score import Estimate, Reconstruction

# Files, and checks for classes of your own
from .report import load, Record
from . import testing
from .core.result import NumericalFailure
# isort: on

__version__ = version("fpsolve")

__all__ = [
    "Absorbing",
    "Certificate",
    "Chebyshev",
    "Correspondence",
    "Cosine",
    "Dense",
    "DoubleWell",
    "Driven",
    "Estimate",
    "EyringKramers",
    "FokkerPlanck",
    "Gaussian",
    "GaussianMixture",
    "Grid",
    "Harmonic",
    "Implicit",
    "Legendre",
    "Line",
    "Magnus",
    "MexicanHat",
    "Mix",
    "Moved",
    "MullerBrown",
    "Noising",
    "NumericalFailure",
    "Periodic",
    "Potential",
    "Quartic",
    "Rational",
    "Reconstruction",
    "Record",
    "Reflecting",
    "Rugged",
    "Sampled",
    "ScharfetterGummel",
    "Schrodinger",
    "ScoreHamiltonian",
    "Solution",
    "Spectral",
    "Spectrum",
    "Splitting",
    "SquareRoot",
    "Stretched",
    "Tempering",
    "Transport",
    "Uniformization",
    "along",
    "committor",
    "correspondence",
    "evolve",
    "fit_grid",
    "eyring_kramers",
    "load",
    "mean_first_passage_time",
    "path",
    "reverse",
    "schedule",
    "score",
    "spectral_gap",
    "spectrum",
    "testing",
    "theorems",
    "transport",
    "verify",
]
