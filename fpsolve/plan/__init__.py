"""Planning: validation, the choice of scheme and method, and what to try next. Printed
by `fp.plan`.
"""

from .method_choice import check_method as check_method
from .method_choice import choose_method as choose_method
from .method_choice import needs_rates as needs_rates
from .outcome import Outcome as Outcome
from .plan import Plan as Plan
from .plan import first_plan as first_plan
from .request import Request as Request
from .request import validate as validate
from .resolution import wave_size as wave_size
from .scheme_choice import check_scheme as check_scheme
from .scheme_choice import choose_scheme as choose_scheme
