"""A theorem: a claim with two sides that can be measured, and a control for which the same claim must fail.

    kind          two sides                              departure              allowed
    identity      lhs = rhs, where they differ most      max|lhs - rhs|/scale   the tolerance
    order         lhs = observed order, rhs = claimed    |lhs - rhs|            0.15
    inequality    lhs <= rhs, both at least zero         lhs                    rhs

    margin = 1 - departure / allowed

is the fraction of the allowance that is not used: 1 is perfect agreement, 0 the limit. A claim with a negative margin
does not hold.
"""

import abc
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import numpy as np

from .constants import CONSTANTS

Kind = Literal["identity", "order", "inequality"]


class Sides(NamedTuple):
    """The two sides of a claim as measured, and the fraction of the allowance that is not used."""

    lhs: float
    rhs: float
    margin: float


class Theorem(eqx.Module):
    """A claim. Its fields are the problem on which it is measured, so that it can be measured on another problem.

    **Arguments** are those of each theorem. `measure` returns the sides of the claim, `control` those of the same claim
    where its premise is broken on purpose. With `refine` both use larger grids too.
    """

    name: eqx.AbstractClassVar[str]
    statement: eqx.AbstractClassVar[str]
    kind: eqx.AbstractClassVar[Kind]
    control_name: eqx.AbstractClassVar[str]
    control_statement: eqx.AbstractClassVar[str]

    @abc.abstractmethod
    def measure(self, refine: bool) -> Sides:
        """The two sides of the claim."""

    @abc.abstractmethod
    def control(self, refine: bool) -> Sides:
        """The two sides where the premise is broken: the claim must fail."""


def identity(lhs: Any, rhs: Any, tolerance: float, scale: Any = None) -> Sides:
    """lhs = rhs to `tolerance`, relative to `scale` (the largest |rhs| unless given); real or complex, any shape.

    The sides returned are those of the entry where they differ most (absolute values of complex ones).
    """
    lhs, rhs = np.broadcast_arrays(np.asarray(lhs), np.asarray(rhs))
    scale = np.max(np.abs(rhs)) if scale is None else np.asarray(scale)
    difference = np.abs(lhs - rhs) / scale
    worst = np.unravel_index(int(np.argmax(difference)), difference.shape)  # argmax finds a NaN where there is one
    to_real = np.abs if np.iscomplexobj(lhs) or np.iscomplexobj(rhs) else np.asarray
    return Sides(float(to_real(lhs)[worst]), float(to_real(rhs)[worst]), float(1 - difference[worst] / tolerance))


def order(sizes: Sequence[Any], errors: Sequence[Any], claimed: Any) -> Sides:
    """The least-squares slope of log error against log(1/size) over at least four refinements equals `claimed`."""
    if len(sizes) < CONSTANTS.order_sizes_min:
        raise ValueError(f"sizes = {sizes}: an order needs at least four refinements. Measure on more grids.")
    # The error is c size^-order: a line in logarithms.
    observed = float(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])
    return Sides(observed, float(claimed), 1 - abs(observed - claimed) / CONSTANTS.order_allowance)


def inequality(lhs: float, rhs: float) -> Sides:
    """lhs <= rhs for two numbers that are at least zero."""
    return Sides(float(lhs), float(rhs), float(1 - lhs / rhs))
