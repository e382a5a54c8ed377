"""The problems of the golden record: small questions to every public function, each
answered by a flat dictionary.

A problem is a function without arguments that returns
`{name: array, number or string}`. The order in this file is the order in which they
run; few shapes of grids are used, so that programs can be shared. Beside each problem
stands how far an answer may be from the one recorded, relative to the largest entry of
the quantity:

    EXACT     what is exact in time and solved directly, asked for to 1e-12 or better:
              only rounding may differ
    others    what comes from adaptive steps, iterations or fits, tied to the tolerance
              asked for, with the reason
"""

import golden.still  # noqa: I001  the order of the record
import golden.several_axes
import golden.waves
import golden.moving
import golden.spectra
import golden.wings  # noqa: F401
from golden.common import PROBLEMS as PROBLEMS
from golden.common import Answer as Answer
from golden.common import Problem as Problem
