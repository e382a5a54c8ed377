"""The registry of theorems, in the order of the theory."""

from . import (
    t1_symmetrisation,
    t2_lattice,
    t3_isospectral,
    t5_poincare,
    t7_score,
    t13_moving,
    t25_wick,
    t26_madelung,
    t27_continuity,
    t28_bridge,
    t29_softmax,
    t30_dictionary,
)
from .base import Theorem

MODULES = (
    t1_symmetrisation,
    t2_lattice,
    t3_isospectral,
    t5_poincare,
    t7_score,
    t13_moving,
    t25_wick,
    t26_madelung,
    t27_continuity,
    t28_bridge,
    t29_softmax,
    t30_dictionary,
)


def theorems() -> tuple[Theorem, ...]:
    """Every theorem of the library, on its default problem.

    **Returns** a tuple, in the order of the theory page. Give one to `fp.verify`; `theorem.on(...)` states it about
    another problem.

    ```python
    import fpsolve as fp

    names = [theorem.name for theorem in fp.theorems()]
    ```
    """
    return tuple(value for module in MODULES for value in vars(module).values() if isinstance(value, Theorem))
