"""fpsolve: the Fokker-Planck density and its imaginary-time Schrödinger twin, side by
side.

    d_t p = div( D grad p + (grad U - f) p )
    p = sqrt(pi) psi,      d_t psi = -H psi,      H = A^T A

Give a potential, a grid and a start; `evolve` answers where the density is, `spectrum`
what the slow modes are, and `correspondence` how exactly the two sides agree.
Nondimensional units throughout.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# isort: off
# Geometry
from .grid import Line, Reflecting, Absorbing, Periodic, Legendre, Grid, Gaussian
from .fit import fit_grid

# Potentials, and paths of them
from .potential import (
    Potential,
    Harmonic,
    DoubleWell,
    Quartic,
    Cosine,
    MexicanHat,
    MullerBrown,
)
from .potential import GaussianMixture, Rugged, Sampled
from .path import Mix, Driven, Moved, Stretched, Tempering, Noising

# Physics
from .equation import FokkerPlanck, Schrodinger, ScoreHamiltonian, Continuity

# Schemes (in space) and methods (in time)
from .operator import ScharfetterGummel, SquareRoot, Spectral
from .propagate import Chebyshev, Rational, Splitting, Implicit, Uniformization, Dense
from .step import Magnus

# Evolution and spectrum
from .plan import Plan
from .solve.evolve import evolve, plan
from .solve.spectrum import spectrum, spectral_gap
from .solve.spectrum_result import Spectrum
from .solve.correspondence import correspondence, Correspondence
from .solve.solution import Solution

# Schrödinger bridges. The function has the name of its package: it must be imported
# here, not at first use.
from .bridge import bridge, Bridge

# Compilation, and failures
from .core.compilation_cache import compilation_cache
from .core.result import AccuracyWarning, NumericalFailure
from .core.late import register
from ._renamed import RENAMED, install

# The rest is imported when it is first used: see _PUBLIC_NAMES.
if TYPE_CHECKING:
    from importlib.metadata import version

    # Rare events
    from .solve.field import Field
    from .solve.hitting import committor, mean_first_passage_time
    from .solve.kramers import eyring_kramers, EyringKramers

    # Theorems
    from .theorem import theorems, verify, claim, Certificate, Theorem

    # Adiabatic transport, and diffusion models
    from .anneal import transport, Transport, along, schedule, work_law, WorkLaw
    from . import diffusion as reverse

    # Between real and imaginary time, and learning as imaginary-time dynamics
    from . import learning
    from . import wick

    # Scores, and flows
    from . import flow
    from . import score
    from .score import Estimate, Reconstruction

    # Files, and checks for classes of your own
    from .io import load, Record
    from . import testing

    __version__ = version("fpsolve")
# isort: on

# The public names of each module that is imported at first use, so that
# `import fpsolve` stays quick.
_PUBLIC_NAMES = {
    "solve.field": ("Field",),
    "solve.hitting": ("committor", "mean_first_passage_time"),
    "solve.kramers": ("eyring_kramers", "EyringKramers"),
    "theorem": ("theorems", "verify", "claim", "Certificate", "Theorem"),
    "anneal": ("transport", "Transport", "along", "schedule", "work_law", "WorkLaw"),
    "score": ("Estimate", "Reconstruction"),
    "io": ("load", "Record"),
}
_HOLDERS = {name: module for module, names in _PUBLIC_NAMES.items() for name in names}

# Packages that are public names themselves.
_PUBLIC_PACKAGES = {
    "anneal": "anneal",
    "diffusion": "diffusion",
    "flow": "flow",
    "io": "io",
    "learning": "learning",
    "plot": "plot",
    "reverse": "diffusion",
    "score": "score",
    "testing": "testing",
    "theorem": "theorem",
    "wick": "wick",
}

install()

# Results are drawn and saved by packages above them.
register("plot", lambda: import_module(f"{__name__}.plot"))
register("io", lambda: import_module(f"{__name__}.io"))

__all__ = [
    "Absorbing",
    "AccuracyWarning",
    "Bridge",
    "Certificate",
    "Chebyshev",
    "Continuity",
    "Correspondence",
    "Cosine",
    "Dense",
    "DoubleWell",
    "Driven",
    "Estimate",
    "EyringKramers",
    "Field",
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
    "Theorem",
    "Transport",
    "Uniformization",
    "WorkLaw",
    "along",
    "bridge",
    "claim",
    "committor",
    "compilation_cache",
    "correspondence",
    "evolve",
    "fit_grid",
    "flow",
    "eyring_kramers",
    "learning",
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
    "wick",
    "work_law",
]


def __getattr__(name: str) -> Any:
    """Import the package that defines `name` and keep the value, so that this runs once
    a name (PEP 562).
    """
    from importlib import metadata

    if name == "__version__":
        value = metadata.version("fpsolve")
    elif name in _PUBLIC_PACKAGES:
        value = import_module(f"{__name__}.{_PUBLIC_PACKAGES[name]}")
    elif name in _HOLDERS:
        value = getattr(import_module(f"{__name__}.{_HOLDERS[name]}"), name)
    elif name in RENAMED:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC_PACKAGES, *_HOLDERS, "__version__"})
