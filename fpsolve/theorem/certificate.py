"""`verify`: measure a theorem and its control, and return a certificate.

A theorem holds when its margin is at least zero. Its control is refused when it was measured, in finite numbers, and
does not hold. A claim whose control holds as well proves nothing.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax

from ..core.checks import raise_value_error
from .base import Kind, Sides, Theorem


@dataclasses.dataclass(frozen=True)
class Certificate:
    """The result of measuring a claim.

    - `lhs`, `rhs`: its two sides
    - `margin`: the fraction of the allowance that is not used, 1 - departure / allowed, where the departure is
      max|lhs - rhs| relative (identity), |observed - claimed| of 0.15 (order), or lhs of rhs (inequality)
    - `holds`: margin >= 0; `control`: the certificate of the control, None on a control; `seconds`: wall time
    """

    name: str
    statement: str
    kind: Kind
    lhs: float
    rhs: float
    margin: float
    holds: bool
    control: "Certificate | None"
    seconds: float

    @property
    def refused(self) -> bool:
        """Whether this was measured and does not hold. A side that is not a finite number was not measured."""
        return not self.holds and math.isfinite(self.lhs) and math.isfinite(self.rhs)

    @property
    def sound(self) -> bool:
        """Whether the claim holds and its control is refused."""
        return self.holds and (self.control is None or self.control.refused)


def verify(theorem: Any, *, refine: bool = True) -> Certificate:
    """Measure a theorem and its control.

    **Arguments**: `theorem`, one of `fp.theorems()` or one of your own; `refine`, whether to use larger grids too
    (minutes rather than seconds for all). **Returns** a `Certificate`. **Raises** `ValueError` for anything but a
    theorem, and without x64. **Cost**: dense matrices of a few hundred points.

    ```python
    import jax
    import fpsolve as fp

    jax.config.update("jax_enable_x64", True)
    certificate = fp.verify(fp.theorems()[0], refine=False)
    assert certificate.holds and certificate.control.refused
    ```
    """
    if not isinstance(theorem, Theorem):
        raise_value_error("theorem", theorem, "it must be a theorem", "Give one of fp.theorems().")
    # The tolerances of the claims are far below the rounding of single precision.
    if not jax.config.read("jax_enable_x64"):
        cure = 'Call jax.config.update("jax_enable_x64", True) before anything else.'
        raise_value_error("jax_enable_x64", False, "theorems are measured in double precision", cure)
    claim = _certify(theorem.name, theorem.statement, theorem.kind, theorem.measure, refine)
    control = _certify(theorem.control_name, theorem.control_statement, theorem.kind, theorem.control, refine)
    return dataclasses.replace(claim, control=control)


def _certify(name: str, statement: str, kind: Kind, measure: Callable[[bool], Sides], refine: bool) -> Certificate:
    """Measure one claim or control, and take the time."""
    start = time.perf_counter()
    lhs, rhs, margin = measure(refine)
    seconds = time.perf_counter() - start
    # A comparison with NaN is false, one with infinity may be true: both are excluded.
    holds = math.isfinite(lhs) and math.isfinite(rhs) and margin >= 0
    return Certificate(name, statement, kind, lhs, rhs, margin, holds, None, seconds)


def to_json(certificates: Iterable[Certificate]) -> list[dict[str, Any]]:
    """A list of objects, one a certificate, for `json.dumps`; a number that is not finite becomes None."""
    return [
        {
            "name": c.name,
            "statement": c.statement,
            "kind": c.kind,
            "lhs": _finite(c.lhs),
            "rhs": _finite(c.rhs),
            "margin": _finite(c.margin),
            "holds": c.holds,
            "control": None if c.control is None else _control_row(c.control),
            "seconds": c.seconds,
        }
        for c in certificates
    ]


def _control_row(control: Certificate) -> dict[str, Any]:
    """The JSON object of a control."""
    sides = {"lhs": _finite(control.lhs), "rhs": _finite(control.rhs)}
    return {"name": control.name, "statement": control.statement, **sides, "refused": control.refused}


def _finite(number: float) -> float | None:
    """The number, or None where JSON has no such number."""
    return number if math.isfinite(number) else None
