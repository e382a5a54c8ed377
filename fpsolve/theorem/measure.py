"""Measure the sides of a theorem where it asks for, and judge them.

An order is the slope of a straight line through the logarithms of departure and size,
by least squares, and has the standard error of that slope. Of an identity and of an
inequality the place with the least margin decides.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.result import NumericalFailure
from .base import Case, Theorem
from .constants import CONSTANTS


class Point(NamedTuple):
    """Both sides at one value of the sweep, or at one size: `lhs` is then the
    departure, `rhs` that of the fit.
    """

    at: float | str | None
    lhs: float
    rhs: float
    margin: float


class Sides(NamedTuple):
    """Both sides of a claim as arrays of one shape, what is allowed, and what keeps
    them from being compared.
    """

    lhs: np.ndarray
    rhs: np.ndarray
    allowed: float
    fault: str


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was measured of a claim, or of its control.

    - `lhs`, `rhs`, `margin`: of the point that decides; of an order, the observed and
      the claimed one
    - `standard_error`: of an observed order, 0 for other kinds
    - `points`: all of them; `failure`: which side could not be measured, and where
    """

    lhs: float
    rhs: float
    margin: float
    standard_error: float
    points: tuple[Point, ...]
    failure: str


def measure(
    theorem: Theorem,
    *,
    control: bool,
    refinement: float,
    seed: int = 0,
    quick: bool = False,
) -> Measurement:
    """Measure a claim, or its control, at every size or value. **Arguments**: `quick`,
    at three values at most.
    """
    template = Case(control=control, refinement=refinement, seed=seed)
    if theorem.kind == "order":
        return _measure_order(theorem, template)
    values = _sweep(theorem, quick)
    points: list[Point] = []
    failures: list[str] = []
    for value in values:
        case = dataclasses.replace(template, value=value)
        point, failure = _point(theorem, case)
        points.append(point)
        failures += [failure] * bool(failure)
    worst = min(points, key=_deciding_margin)
    return Measurement(
        lhs=worst.lhs,
        rhs=worst.rhs,
        margin=worst.margin,
        standard_error=0.0,
        points=tuple(points),
        failure="; ".join(failures),
    )


def _deciding_margin(point: Point) -> float:
    """The margin of a point for a comparison of points."""
    # A point without a margin was not measured. It decides, so that it cannot hide
    # behind the others.
    return -math.inf if math.isnan(point.margin) else point.margin


def _sweep(theorem: Theorem, quick: bool) -> tuple[Any, ...]:
    """The values at which a claim is measured; one, None, without a sweep."""
    sweep = theorem.sweep
    values = tuple(range(sweep)) if isinstance(sweep, int) else sweep
    if quick and len(values) > CONSTANTS.quick_values:
        # The first and the last are kept: a tight case stands at an end of its sweep.
        places = np.linspace(0, len(values) - 1, CONSTANTS.quick_values)
        values = tuple(values[i] for i in places.round().astype(int))
    # One measurement, where the function does not use `case.value`.
    return values or (None,)


def _measure_order(theorem: Theorem, template: Case) -> Measurement:
    """The observed order of a theorem over its sizes."""
    sizes = [max(1, round(size * template.refinement)) for size in theorem.sizes]
    departures: list[float] = []
    failures: list[str] = []
    for size in sizes:
        case = dataclasses.replace(template, size=size)
        lhs, rhs, _, fault = _sides(theorem, case)
        if fault:
            failures.append(f"{fault} at size {size}")
            departures.append(math.nan)
            continue
        # Relative to the larger side, and absolute where that is zero.
        scale = float(np.max(np.abs(rhs))) or 1.0
        departures.append(float(np.max(np.abs(lhs - rhs))) / scale)
    observed, error, fitted = fit_order(sizes, departures)
    margin = 1 - abs(observed - theorem.claimed) / theorem.allowed
    rows = zip(sizes, departures, fitted, strict=True)
    # One order belongs to all sizes, and so does its margin.
    points = tuple(Point(n, d, f, margin) for n, d, f in rows)
    return Measurement(
        lhs=observed,
        rhs=theorem.claimed,
        margin=margin,
        standard_error=error,
        points=points,
        failure="; ".join(failures),
    )


def fit_order(
    sizes: Sequence[int], departures: Sequence[float]
) -> tuple[float, float, tuple[float, ...]]:
    """The order, its standard error, and the departures `(n,)` that the fitted power of
    the size gives.
    """
    x = np.log(np.asarray(sizes, float))
    # a departure of zero or NaN makes the order NaN
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(np.asarray(departures, float))
    if not np.all(np.isfinite(y)):
        return math.nan, math.nan, (math.nan,) * len(x)
    slope, height = np.polyfit(x, y, 1)
    line = slope * x + height
    residual = y - line
    # Two numbers were fitted; a fit to two points has no residual.
    variance = np.sum(residual**2) / max(1, len(x) - 2)
    error = math.sqrt(variance / np.sum((x - x.mean()) ** 2))
    return float(-slope), error, tuple(np.exp(line).tolist())


def _point(theorem: Theorem, case: Case) -> tuple[Point, str]:
    """The sides of one case at the entry that decides, and what is wrong with them."""
    lhs, rhs, allowed, fault = _sides(theorem, case)
    # What is reported must be a number or a text: it is written as JSON.
    is_plain = isinstance(case.value, int | float | str | None)
    at = case.value if is_plain else repr(case.value)
    if fault:
        where = "" if at is None else f" at {at}"
        return Point(at, math.nan, math.nan, math.nan), f"{fault}{where}"
    if theorem.kind == "identity":
        scale = float(np.max(np.abs(rhs))) or 1.0
        departures = np.abs(lhs - rhs) / scale
        margins = 1 - departures / allowed
    else:
        # 0 <= 0 holds, without any margin
        with np.errstate(divide="ignore", invalid="ignore"):
            at_zero = np.where(lhs == 0, 1.0, np.inf)
            ratios = np.where(rhs == 0, at_zero, lhs / rhs)
        margins = 1 - ratios / (1 + allowed)
    worst = np.unravel_index(int(np.argmin(margins)), margins.shape)
    # Complex sides are reported by their moduli.
    to_real = np.abs if np.iscomplexobj(lhs) or np.iscomplexobj(rhs) else np.asarray
    left = float(to_real(lhs)[worst])
    right = float(to_real(rhs)[worst])
    return Point(at, left, right, float(margins[worst])), ""


def _sides(theorem: Theorem, case: Case) -> Sides:
    """Both sides of one case."""
    try:
        found = theorem.sides(case, **theorem.problem)
    # a run that failed by name: neither side was measured
    except NumericalFailure as failure:
        nothing = np.empty(0)
        return Sides(nothing, nothing, theorem.allowed, f"a run failed: {failure}")
    if not isinstance(found, tuple) or len(found) not in (2, 3):
        message = f"{theorem.name}: its function returned {found!r}."
        raise TypeError(f"{message} Return lhs, rhs, and if it varies what is allowed.")
    allowed = float(found[2]) if len(found) == 3 else theorem.allowed
    lhs = np.asarray(found[0])
    rhs = np.asarray(found[1])
    fault = _fault(lhs, rhs, theorem.kind == "inequality")
    if not fault:
        # one number stands for every entry of the other side
        lhs, rhs = np.broadcast_arrays(lhs, rhs)
    return Sides(lhs, rhs, allowed, fault)


def _fault(lhs: np.ndarray, rhs: np.ndarray, at_least_zero: bool) -> str:
    """What keeps two sides from being compared; empty if nothing does."""
    if lhs.shape != rhs.shape and lhs.size != 1 and rhs.size != 1:
        return f"the left side has shape {lhs.shape} and the right side {rhs.shape}"
    for name, side in (("left", lhs), ("right", rhs)):
        if not np.all(np.isfinite(side)):
            return f"the {name} side is not finite"
        # A quotient of numbers below zero says nothing about their order.
        if at_least_zero and np.any(side < 0):
            return f"the {name} side is below zero"
    return ""
