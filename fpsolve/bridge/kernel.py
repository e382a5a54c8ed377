"""The two evolutions of a bridge between two times, on fields given by their
logarithms.

    forward    f^(t_1) = U(t_1, t_0) f^(t_0)        d_t f^ = -(H_t + a_t / 2) f^
    backward   f(t_0) = U(t_1, t_0)^T f(t_1)        d_t f = (H_t + a_t / 2) f
                                                    a_t = -(d_t U) / D

The same operator acts in both, as sqrt(pi_t) = exp(-U / 2D) is taken without its norm:
then f / sqrt(pi_t) solves the backward equation of the process to the last factor.
Without a dependence on time a_t is zero and U is symmetric.

    ProductKernel   exp(-tH) is a product over the axes, each by the logarithms of
                    its entries
    SplitKernel     exp(-tH) of coupled axes by products over the axes and the
                    coupling, in short steps
    WaveKernel      the same by Chebyshev's expansion, where the coupling is too
                    strong for these
    MovingKernel    a potential that depends on time, by `fp.evolve`

The first two keep the relative accuracy of tails. The others have the error of
rounding, or of their tolerance, relative to the largest value of a field: what is below
is unknown, and empty.

Reference: Léonard, Discrete Contin. Dyn. Syst. 34 (2014) 1533, section 2; theorem T13
of this library for a_t.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.apply_along_axis import apply_along_axis
from ..core.arrays import as_array
from ..core.types import Point, Scalar
from ..equation import Equation, Schrodinger
from ..grid import Grid
from ..operator import Operator, Scheme
from ..potential import Potential
from ..propagate import Chebyshev, Picture
from ..solve.evolve import evolve
from .axis_kernel import AxisKernel, Entries
from .constants import CONSTANTS
from .logarithm import log_of

# what the two evolutions between two times share
Interval: TypeAlias = tuple[object, ...] | Array
Evolution: TypeAlias = Callable[[Array], Array]
Step: TypeAlias = Callable[[Evolution, Array, Any], tuple[Array, Any]]


class Kernel(eqx.Module):
    """The evolutions of a reference process, on logarithms `(*shape)`; abstract."""

    # whether both evolutions are exp(-tH), which can be used inside a compiled program
    static: ClassVar[bool]

    @abc.abstractmethod
    def between(self, first: Scalar, last: Scalar) -> Interval:
        """What the two evolutions between two times share."""

    @abc.abstractmethod
    def forward(self, interval: Interval, logs: Array) -> Array:
        """From the first time to the last."""

    @abc.abstractmethod
    def backward(self, interval: Interval, logs: Array) -> Array:
        """From the last time to the first."""


class ProductKernel(Kernel):
    """One kernel for each axis."""

    static: ClassVar[bool] = True
    axes: tuple[AxisKernel, ...]

    def between(self, first: Array, last: Array) -> tuple[Entries, ...]:
        """The entries of each axis."""
        return tuple(kernel.at(last - first) for kernel in self.axes)

    def forward(self, interval: tuple[Entries, ...], logs: Array) -> Array:
        """One axis after the other."""
        return _along_axes(self.axes, interval, logs)

    def backward(self, interval: tuple[Entries, ...], logs: Array) -> Array:
        """The same: H is symmetric."""
        return self.forward(interval, logs)


class SplitSteps(NamedTuple):
    """The steps of an interval: the entries of one, their number, and its length."""

    entries: tuple[Entries, ...]
    count: Array
    length: Array


class SplitKernel(Kernel):
    """exp(-tH) with H = sum_i H_i + W by Strang's steps: positive, symmetric, and of
    order two.

        S(h)^n,      S(h) = e^{-hW/2} prod_i exp(-h H_i) e^{-hW/2},      h = t / n

    `coupling` W `(*shape)`; `rate` the steps in a unit of time, at least one an
    interval, each divided into `parts`.
    """

    static: ClassVar[bool] = True
    axes: tuple[AxisKernel, ...]
    coupling: Array
    rate: Array
    parts: Array

    def between(self, first: Array, last: Array) -> SplitSteps:
        """The kernels of the axes for one step."""
        length = last - first
        # An interval that was computed may exceed a whole number of steps by rounding.
        below_one = 1 - 4 * jnp.finfo(length.dtype).eps
        steps = jnp.ceil(self.rate * length * below_one).astype(int)
        count = jnp.maximum(steps, 1) * self.parts
        step = length / count.astype(length.dtype)
        entries = tuple(kernel.at(step) for kernel in self.axes)
        return SplitSteps(entries, count, step)

    def forward(self, interval: SplitSteps, logs: Array) -> Array:
        """All steps."""
        half = interval.length * self.coupling / 2

        def step(_: Scalar, logs: Array) -> Array:
            return _along_axes(self.axes, interval.entries, logs - half) - half

        return jax.lax.fori_loop(0, interval.count, step, logs)

    def backward(self, interval: SplitSteps, logs: Array) -> Array:
        """The same: H is symmetric."""
        return self.forward(interval, logs)


def _along_axes(
    axes: tuple[AxisKernel, ...], entries: tuple[Entries, ...], logs: Array
) -> Array:
    """The kernels of all axes, one after the other."""
    for i, (kernel, own) in enumerate(zip(axes, entries, strict=True)):
        logs = apply_along_axis(i, functools.partial(kernel.apply, own), logs)
    return logs


class WaveKernel(Kernel):
    """exp(-tH) by Chebyshev's expansion, to rounding."""

    static: ClassVar[bool] = True
    operator: Operator
    tol: Array

    def between(self, first: Scalar, last: Scalar) -> Array:
        """The length of time."""
        return jnp.asarray(last - first)

    def forward(self, interval: Array, logs: Array) -> Array:
        """The positive part above rounding."""
        # The largest value is one: the exponential does not overflow.
        top = jnp.max(logs)
        wave = jnp.exp(logs - top)
        method = Chebyshev(())
        prepared = method.prepare(self.operator, Picture.GIBBS_WAVE)
        result = method.apply(prepared, wave, interval[None], self.tol, 0.0)
        found = result.field[0]
        rounding = CONSTANTS.noise_roundings * jnp.finfo(found.dtype).eps
        noise = rounding * jnp.max(jnp.abs(wave))
        return top + log_of(jnp.where(found > noise, found, 0))

    def backward(self, interval: Array, logs: Array) -> Array:
        """The same: H is symmetric."""
        return self.forward(interval, logs)


class ShiftedPotential(Potential):
    """V(x, origin + sign s) as a function of x and s."""

    equation: Schrodinger
    origin: Array
    sign: Array

    @property
    def time_dependent(self) -> bool:
        """It is."""
        return True

    def __call__(self, x: Point, t: Scalar | None = None) -> Array:
        """The value, a scalar."""
        elapsed = jnp.asarray(0.0 if t is None else t)
        return self.equation.energy(x, self.origin + self.sign * elapsed)


class MovingKernel(Kernel):
    """The waves of a time-dependent potential by `fp.evolve`: `equation` is their
    Schrödinger equation.

    The backward evolution is the same equation with its time reversed.
    """

    static: ClassVar[bool] = False
    equation: Schrodinger
    grid: Grid = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)
    tol: float = eqx.field(static=True)

    def between(self, first: Scalar, last: Scalar) -> tuple[float, float]:
        """The two times."""
        return float(first), float(last)

    def forward(self, interval: tuple[float, float], logs: Array) -> Array:
        """With the potential from the first time on."""
        first, last = interval
        return self._run(first, 1.0, last - first, logs)

    def backward(self, interval: tuple[float, float], logs: Array) -> Array:
        """With the potential from the last time back."""
        first, last = interval
        return self._run(last, -1.0, last - first, logs)

    def _run(self, origin: float, sign: float, length: float, logs: Array) -> Array:
        if length == 0:
            return logs
        host = np.asarray(logs)
        precision = np.finfo(host.dtype)
        top = np.max(host)
        is_seen = host > top - np.log(precision.max)
        wave = np.where(is_seen, np.exp(host - top), 0)
        shifted = ShiftedPotential(self.equation, as_array(origin), as_array(sign))
        moved: Equation = Schrodinger(shifted, self.equation.diffusion)
        run = evolve(
            moved,
            as_array(wave, host.dtype),
            [length],
            grid=self.grid,
            scheme=self.scheme,
            tol=self.tol,
            check=False,
        )
        found = np.asarray(run.values[0])
        relative_noise = CONSTANTS.noise_roundings * precision.eps + self.tol
        noise = relative_noise * np.max(np.abs(found))
        known = np.where(found > noise, found, 0)
        return top + log_of(as_array(known, host.dtype))


def back_and_forth(
    kernel: Kernel, interval: Interval, step: Step, logs: Array, others: Any
) -> tuple[Array, Any]:
    """`step` with the evolution backward, and then with that forward.

    **Arguments**: `step` takes an evolution, the logarithms, and one of the two
    `others`, a pytree of arrays with a first axis of length 2; it returns new
    logarithms and a pytree. **Returns** the last logarithms, and both pytrees.
    """
    if kernel.static:
        # Both are the same: one step is traced and compiled.
        evolution = functools.partial(kernel.forward, interval)
        return jax.lax.scan(functools.partial(step, evolution), logs, others)
    # A run of `fp.evolve` cannot be traced: the two evolutions follow in Python.
    found = []
    for k, evolution in enumerate((kernel.backward, kernel.forward)):
        other = jax.tree.map(lambda array, k=k: array[k], others)
        logs, more = step(functools.partial(evolution, interval), logs, other)
        found.append(more)
    return logs, jax.tree.map(lambda *both: jnp.stack(both), *found)


def to_all(
    kernel: Kernel, ends: tuple[Scalar, Scalar], times: Array, start: Array, end: Array
) -> tuple[Array, Array]:
    """`start` forward from the first of both `ends` in time, and `end` backward from
    the last, to all `times` `(T, *shape)`.
    """
    first, last = ends
    count = len(times)
    if kernel.static:
        # Forward and backward are the same evolution: all lengths share one program.
        lengths = jnp.concatenate([times - first, last - times])
        is_backward = jnp.arange(2 * count) >= count

        def image(given: tuple[Array, Array]) -> Array:
            length, is_backward = given
            interval = kernel.between(jnp.zeros_like(length), length)
            return kernel.forward(interval, jnp.where(is_backward, end, start))

        images = jax.lax.map(image, (lengths, is_backward))
        return images[:count], images[count:]
    forward = []
    backward = []
    for t in np.asarray(times):
        forward.append(kernel.forward(kernel.between(first, t), start))
        backward.append(kernel.backward(kernel.between(t, last), end))
    return jnp.stack(forward), jnp.stack(backward)
