"""Floor 4: in time. Exponentials of a static operator, and their products when it moves."""

from .base import Exponential as Exponential
from .base import Picture as Picture
from .base import ProblemKind as ProblemKind
from .base import Propagator as Propagator
from .base import Step as Step
from .base import WorkEstimate as WorkEstimate
from .chebyshev import Chebyshev as Chebyshev
from .choose import check_method as check_method
from .choose import choose_method as choose_method
from .choose import needs_rates as needs_rates
from .dense import Dense as Dense
from .implicit import Implicit as Implicit
from .magnus import Magnus as Magnus
from .problem import Problem as Problem
from .rational import Rational as Rational
from .splitting import Splitting as Splitting
from .uniformization import Uniformization as Uniformization
