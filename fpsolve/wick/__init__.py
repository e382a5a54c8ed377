"""Between real and imaginary time: `fp.wick`.

lorentzian     e^{-tau H} as a Lorentzian average of real-time runs
warped_phase   e^{-tau H} from a unitary run with one more coordinate
               (Schrödingerisation)
cauchy         the mean of <phi| e^{-zH} |phi> over a circle of complex times
"""

from .cauchy import CauchyMean as CauchyMean
from .cauchy import cauchy as cauchy
from .lorentzian import lorentzian as lorentzian
from .result import Continuation as Continuation
from .warped_phase import warped_phase as warped_phase
