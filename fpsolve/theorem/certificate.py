"""`verify`: measure a theorem and its control, and return a certificate.

A theorem holds when its margin is at least zero. Its control is refused when it was
measured, in finite numbers, and does not hold. A claim whose control holds as well
proves nothing.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Iterable
from typing import Any

import jax

from ..core.checks import raise_value_error
from .base import Kind, Theorem
from .constants import CONSTANTS
from .measure import Point, measure


@dataclasses.dataclass(frozen=True)
class Certificate:
    """The result of measuring a claim: numerical evidence with a stated error, not a
    proof.

    - `lhs`, `rhs`: its two sides where the margin is least; of an order, the observed
      and the claimed one
    - `margin`: the fraction of the allowance that is not used, 1 - departure / allowed,
      where the departure is max|lhs - rhs| relative (identity), |observed - claimed|
      (order), or lhs / rhs (inequality)
    - `holds`: margin >= 0; `control`: the certificate of the control, None on a
      control; `seconds`: wall time
    - `standard_error`: of an observed order; `points`: the sides at every size or value
      of the sweep
    - `hypotheses`, `source`: of the theorem; `failure`: why a side could not be
      measured, empty otherwise
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
    standard_error: float = 0.0
    points: tuple[Point, ...] = ()
    hypotheses: str = ""
    source: str = ""
    failure: str = ""

    @property
    def refused(self) -> bool:
        """Whether this was measured and does not hold. A side that is not a finite
        number was not measured.
        """
        finite = math.isfinite(self.lhs) and math.isfinite(self.rhs)
        return finite and not self.failure and not self.holds

    @property
    def sound(self) -> bool:
        """Whether the claim holds and its control is refused."""
        return self.holds and (self.control is None or self.control.refused)


def verify(
    theorem: Any, *, refine: bool = True, grid_factor: float = 1.0, seed: int = 0
) -> Certificate:
    """Measure a theorem and its control.

    **Arguments**: `theorem`, one of `fp.theorems()` or one of your own, made with
    `fp.claim`; `refine`, whether to use grids half as fine again and the whole sweep
    (minutes rather than seconds for all); `grid_factor`, by which grids are finer
    still; `seed` of random cases. **Returns** a `Certificate`. **Raises** `ValueError`
    for anything but a theorem, for a `grid_factor` below 1, and without x64. **Cost**:
    dense matrices of a few hundred points.

    ```python
    import jax
    import fpsolve as fp

    jax.config.update("jax_enable_x64", True)
    certificate = fp.verify(fp.theorems()[0], refine=False)
    assert certificate.holds and certificate.control.refused
    ```
    """
    if not isinstance(theorem, Theorem):
        raise_value_error(
            "theorem",
            theorem,
            "it must be a theorem",
            "Give one of fp.theorems(), or one of fp.claim.",
        )
    if not (math.isfinite(grid_factor) and grid_factor >= 1):
        raise_value_error(
            "grid_factor",
            grid_factor,
            "it must be at least 1",
            "Give 2 for grids twice as fine.",
        )
    # The tolerances of the claims are far below the rounding of single precision.
    if not jax.config.read("jax_enable_x64"):
        cure = 'Call jax.config.update("jax_enable_x64", True) before anything else.'
        raise_value_error(
            "jax_enable_x64", False, "theorems are measured in double precision", cure
        )
    refinement = grid_factor * (CONSTANTS.refinement if refine else 1.0)
    # Claim and control differ in nothing but the premise.
    certify = functools.partial(
        _certify, theorem, refinement=refinement, seed=seed, quick=not refine
    )
    return dataclasses.replace(certify(control=False), control=certify(control=True))


def _certify(
    theorem: Theorem, *, control: bool, refinement: float, seed: int, quick: bool
) -> Certificate:
    """Measure a claim or its control, and take the time."""
    # A control stands beside its claim, which gives hypotheses and source.
    name = theorem.control_name if control else theorem.name
    statement = theorem.control_statement if control else theorem.statement
    start = time.perf_counter()
    found = measure(
        theorem, control=control, refinement=refinement, seed=seed, quick=quick
    )
    seconds = time.perf_counter() - start
    # A comparison with NaN is false, one with infinity may be true: both are excluded.
    finite = math.isfinite(found.lhs) and math.isfinite(found.rhs) and not found.failure
    return Certificate(
        name=name,
        statement=statement,
        kind=theorem.kind,
        lhs=found.lhs,
        rhs=found.rhs,
        margin=found.margin,
        holds=finite and found.margin >= 0,
        control=None,
        seconds=seconds,
        standard_error=found.standard_error,
        points=found.points,
        hypotheses="" if control else theorem.hypotheses,
        source="" if control else theorem.source,
        failure=found.failure,
    )


def to_json(certificates: Iterable[Certificate]) -> list[dict[str, Any]]:
    """A list of objects, one a certificate, for `json.dumps`; a number that is not
    finite becomes None.
    """
    return [_row(certificate) for certificate in certificates]


def _row(certificate: Certificate) -> dict[str, Any]:
    """The JSON object of a certificate; that of its control stands in it, with whether
    it is refused.
    """
    # Not `dataclasses.asdict`, which would turn the control into a dictionary as well.
    names = [field.name for field in dataclasses.fields(certificate)]
    row = {name: getattr(certificate, name) for name in names}
    # JSON has neither NaN nor infinity.
    for name in ("lhs", "rhs", "margin", "standard_error"):
        row[name] = _finite(row[name])
    row["points"] = [
        {
            "at": p.at,
            "lhs": _finite(p.lhs),
            "rhs": _finite(p.rhs),
            "margin": _finite(p.margin),
        }
        for p in certificate.points
    ]
    control = certificate.control
    if control is not None:
        row["control"] = _row(control) | {"refused": control.refused}
    return row


def _finite(number: float) -> float | None:
    """The number, or None where JSON has no such number."""
    return number if math.isfinite(number) else None
