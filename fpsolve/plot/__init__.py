"""Plots of results. Only this package imports matplotlib, and only when a plot is first
drawn.
"""

from collections.abc import Callable

from ..record.types import Figure
from .animate import animate as animate
from .bridge import plot_bridge as plot_bridge
from .certificate import plot_certificate as plot_certificate
from .continuation import plot_continuation as plot_continuation
from .correspondence import plot_correspondence as plot_correspondence
from .field import plot_field as plot_field
from .panels import svg as svg
from .score import plot_diagnosis as plot_diagnosis
from .score import plot_reconstruction as plot_reconstruction
from .solution import plot_solution as plot_solution
from .spectrum import plot_spectrum as plot_spectrum
from .transport import plot_transport as plot_transport

_PLOTS: dict[str, Callable[..., Figure]] = {
    "Field": plot_field,
    "Solution": plot_solution,
    "Spectrum": plot_spectrum,
    "Correspondence": plot_correspondence,
    "Continuation": plot_continuation,
    "Transport": plot_transport,
    "Bridge": plot_bridge,
    "Reconstruction": plot_reconstruction,
    "Diagnosis": plot_diagnosis,
}


def draw(result: object) -> Figure:
    """The matplotlib figure of a result, or of the `Record` of one."""
    return _PLOTS[getattr(result, "kind", type(result).__name__)](result)
