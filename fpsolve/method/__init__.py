"""Floor 4: in time. Exponentials of an operator that stands still, and their products when it moves."""

from .base import Exponential as Exponential
from .base import Step as Step
from .chebyshev import Chebyshev as Chebyshev
from .choose import check_method as check_method
from .choose import choose_method as choose_method
from .dense import Dense as Dense
from .magnus import Magnus as Magnus
from .uniformization import Uniformization as Uniformization
