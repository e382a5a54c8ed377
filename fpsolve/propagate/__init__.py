"""Methods in time for static operators. Each applies the exponential of an operator."""

from .base import Exponential as Exponential
from .base import Picture as Picture
from .base import ProblemKind as ProblemKind
from .base import Propagator as Propagator
from .base import Step as Step
from .base import WorkEstimate as WorkEstimate
from .chebyshev import Chebyshev as Chebyshev
from .dense import Dense as Dense
from .implicit import Implicit as Implicit
from .rational import Rational as Rational
from .splitting import Splitting as Splitting
from .uniformization import Uniformization as Uniformization
