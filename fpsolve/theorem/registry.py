"""The registry of theorems, in the order of the theory."""

from . import (
    t1_symmetrisation,
    t2_lattice,
    t3_isospectral,
    t4_partner,
    t5_poincare,
    t6_convexity,
    t7_score,
    t8_pairs,
    t9_entropy,
    t11_curl,
    t12_identification,
    t13_moving,
    t14_born,
    t15_lag,
    t16_drag,
    t18_order,
    t20_shortcut,
    t21_costs,
    t22_reverse,
    t23_girsanov,
    t24_noising,
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
    t4_partner,
    t5_poincare,
    t6_convexity,
    t7_score,
    t8_pairs,
    t9_entropy,
    t11_curl,
    t12_identification,
    t13_moving,
    t14_born,
    t15_lag,
    t16_drag,
    t18_order,
    t20_shortcut,
    t21_costs,
    t22_reverse,
    t23_girsanov,
    t24_noising,
    t25_wick,
    t26_madelung,
    t27_continuity,
    t28_bridge,
    t29_softmax,
    t30_dictionary,
)


def theorems() -> tuple[Theorem, ...]:
    """Every theorem of the library, on its default problem.

    **Returns** a tuple, in the order of the theory page. Give one to `fp.verify`;
    `theorem.on(...)` states it about another problem.

    ```python
    import fpsolve as fp

    names = [theorem.name for theorem in fp.theorems()]
    ```
    """
    # A module keeps its names in the order in which they are defined.
    return tuple(
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, Theorem)
    )
