"""An equation on a grid as an operator: H = sum_i A_i^T A_i, and L. By finite volumes
or in a spectral basis.
"""

from .base import Operator as Operator
from .base import Samples as Samples
from .base import Scheme as Scheme
from .base import log_sqrt_pi_of as log_sqrt_pi_of
from .base import places_of as places_of
from .base import sample_equation as sample_equation
from .base import sample_smooth as sample_smooth
from .basis import Basis as Basis
from .basis import basis as basis
from .edges import EdgeOperator as EdgeOperator
from .finite_volume import ScharfetterGummel as ScharfetterGummel
from .finite_volume import SquareRoot as SquareRoot
from .moving import EvaluatedPath as EvaluatedPath
from .moving import ExpandedPath as ExpandedPath
from .moving import OperatorPath as OperatorPath
from .moving import WeightedPath as WeightedPath
from .moving import expand as expand
from .spectral import Spectral as Spectral
from .tensor import TensorOperator as TensorOperator
