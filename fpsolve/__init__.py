"""fpsolve: the Fokker-Planck density and its imaginary-time Schrödinger twin, side by side.

    d_t p = div( D grad p + (grad U - f) p )      p = sqrt(pi) psi      d_t psi = -H psi,  H = A^T A

Give a potential, a grid and a start; `evolve` answers where the density is, `spectrum` what the slow modes are, and
`correspondence` how exactly the two sides agree. Nondimensional units throughout.
"""

from typing import TYPE_CHECKING, Any

# isort: off
# Geometry
from .grid import Line, Reflecting, Absorbing, Periodic, Legendre, Grid, Gaussian
from .fit import fit_grid

# Potentials
from .potential import Potential, Harmonic, DoubleWell, Quartic, Cosine, MexicanHat, MullerBrown
from .potential import GaussianMixture, Rugged, Sampled, Mix, Driven, Moved, Stretched, Tempering, Noising, path

# Physics
from .equation import FokkerPlanck, Schrodinger, ScoreHamiltonian

# Schemes (in space) and methods (in time)
from .scheme import ScharfetterGummel, SquareRoot, Spectral
from .method import Chebyshev, Rational, Splitting, Implicit, Magnus, Uniformization, Dense

# Evolution and spectrum
from .plan import Plan
from .evolve import evolve, plan
from .spectrum import spectrum, spectral_gap
from .modes import Spectrum
from .correspondence import correspondence, Correspondence
from .solution import Solution

# Compilation, and failures
from .core.compilation_cache import compilation_cache
from .core.result import NumericalFailure

# The rest is imported when it is first used: see _PUBLIC_NAMES.
if TYPE_CHECKING:
    from importlib.metadata import version

    # Rare events
    from .rates import committor, mean_first_passage_time, eyring_kramers, EyringKramers

    # Theorems
    from .theorem import theorems, verify, Certificate

    # Adiabatic transport
    from .adiabatic import transport, Transport, along, schedule, reverse

    # Scores
    from . import score
    from .score import Estimate, Reconstruction

    # Files, and checks for classes of your own
    from .report import load, Record
    from . import testing

    __version__ = version("fpsolve")
# isort: on

# The public names of each package that is imported at first use, so that `import fpsolve` stays quick.
_PUBLIC_NAMES = {
    "rates": ("committor", "mean_first_passage_time", "eyring_kramers", "EyringKramers"),
    "theorem": ("theorems", "verify", "Certificate"),
    "adiabatic": ("transport", "Transport", "along", "schedule", "reverse"),
    "score": ("Estimate", "Reconstruction"),
    "report": ("load", "Record"),
    "testing": (),
}
_PACKAGES = {name: package for package, names in _PUBLIC_NAMES.items() for name in names}

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
    "Plan",
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
    "compilation_cache",
    "correspondence",
    "evolve",
    "fit_grid",
    "eyring_kramers",
    "load",
    "mean_first_passage_time",
    "path",
    "plan",
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


def __getattr__(name: str) -> Any:
    """Import the package that defines `name` and keep the value, so that this runs once a name (PEP 562)."""
    from importlib import import_module, metadata

    if name == "__version__":
        value = metadata.version("fpsolve")
    elif name in _PUBLIC_NAMES:
        value = import_module(f"{__name__}.{name}")
    elif name in _PACKAGES:
        value = getattr(import_module(f"{__name__}.{_PACKAGES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC_NAMES, *_PACKAGES, "__version__"})
