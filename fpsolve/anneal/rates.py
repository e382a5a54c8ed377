"""The gap and the four costs of a path, from the interpolated functions."""

from typing import Any, NamedTuple

from ..core.types import AnyArray


class Rates(NamedTuple):
    """The gap Δ of H, `drive` |ell| in L2(π), and the four costs, at λ of any shape.

    A cost is the square root of g; a schedule minimises int g (dλ/dt)^2 dt.
    `wasserstein` and `exact` are None if they were not computed.
    """

    gap: Any
    drive: Any
    bound: Any
    score: Any
    wasserstein: Any
    exact: Any


def rates_of(rows: AnyArray) -> Rates:
    """The rates from the rows of the interpolated table: gap, second level, drive,
    score_drive, length, exact.
    """
    # The second level serves to find crossings only (`panels`).
    gap, _, drive, score_drive, *more = rows
    wasserstein, exact = more or (None, None)
    return Rates(
        gap=gap,
        drive=drive,
        bound=drive / gap,
        score=score_drive / gap**1.5,
        wasserstein=wasserstein,
        exact=exact,
    )
