"""The reverse processes of a diffusion model, one family in the noise level.

    dX = f dλ + g dW,      λ from 0 (data) to 1 (noise),
                           marginals p_λ, score s = ∇log p_λ

    dY = [ s - f/(g²/2) + ε s ] dt + √(2ε) dW,      dt = (g²/2) |dλ|,
                           λ from 1 back to 0, marginals p_λ for every ε ≥ 0

In this clock t, of length ∫ (g²/2) dλ, the noise level ε is relative: 1 is the reverse
SDE of Anderson, 0 the probability flow. Without the flow (drift ε s only) it is
annealed Langevin dynamics, which lags behind p_λ. With f = a x it is a Langevin process
at diffusion ε in the time-dependent potential

    W = (1 + ε) U_λ + a |x|² / g²       (ε U_λ without the flow),     U_λ = -log p_λ.

A model's score s + e adds (1 + ε) e to the drift.

References: theorem T22; Anderson, Stoch. Process. Appl. 12 (1982) 313; Song et al.,
ICLR 2021, appendix D.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..anneal.read import read_error, read_noising
from ..core.checks import check_finite_number, is_concrete, raise_value_error
from ..core.types import Formula, Point, Scalar
from ..equation import FokkerPlanck
from .bisection import invert
from .constants import CONSTANTS
from .types import NoisingPath

# Gauss-Legendre quadrature on [0, 1].
_nodes, _weights = np.polynomial.legendre.leggauss(48)
NODES = _nodes / 2 + 0.5
WEIGHTS = _weights / 2


class ReverseProcess(eqx.Module):
    """The reverse process of a noising path, dY = [s - f/(g²/2) + ε s] dt + √(2ε) dW,
    in the clock dt = (g²/2) |dλ|.

    **Arguments**

    - `path`: λ -> U_λ = -log p_λ, with `score(x, λ)`, the forward `drift(x, λ)` = a(λ)
      x and `squared_diffusion(λ)`: an `fp.Noising`
    - `noise`: ε >= 0, the noise level relative to g²/2: 1 the reverse SDE, 0 the
      probability flow
    - `flow`: False leaves s - f/(g²/2) out: annealed Langevin dynamics, which needs ε
      much above 1 to follow
    - `error`: e(x, λ) to `(d,)`, the error of a learned score; None for the exact score

    **Raises**: `ValueError` for a path without these, a negative noise, no noise
    without flow, an error that is no function.

    **Keeps**: p_λ at every clock time for every ε (with the flow, and without error);
    chi² to p_λ falls at least as exp(-2 ε ∫ gap dt). **Reference**: theorem T22.

    ```python
    import fpsolve as fp
    from fpsolve.diffusion.reverse_process import ReverseProcess
    from fpsolve.path.noising import Noising

    back = ReverseProcess(Noising(fp.GaussianMixture([[-1.0], [1.0]], 0.25)), noise=1.0)
    back.equation, back.total
    ```
    """

    path: NoisingPath
    noise: Array
    error: Any
    flow: bool = eqx.field(static=True)
    # whether W confines: the equation is then given by W, else by the drift
    confined: bool = eqx.field(static=True)

    def __init__(
        self,
        path: NoisingPath,
        noise: Scalar = 1.0,
        *,
        flow: bool = True,
        error: Formula | None = None,
    ):
        for name in ("score", "drift", "squared_diffusion"):
            if not callable(getattr(path, name, None)) or not callable(path):
                raise_value_error(
                    "path",
                    path,
                    f"it must be a noising path, and has no {name}",
                    "Give fp.Noising(mixture).",
                )
        if is_concrete(noise) and check_finite_number("noise", noise) < 0:
            raise_value_error(
                "noise",
                noise,
                "it must be at least 0",
                "Give 1 for the reverse SDE, 0 for the flow.",
            )
        if not isinstance(flow, bool):
            raise_value_error(
                "flow",
                flow,
                "it must be True or False",
                "Give False for annealed Langevin dynamics.",
            )
        if not flow and is_concrete(noise) and float(noise) == 0:
            raise_value_error(
                "noise",
                noise,
                "without flow and without noise nothing moves",
                "Give a noise above 0.",
            )
        if error is not None and not callable(error):
            raise_value_error(
                "error",
                error,
                "it must be a function of x and lambda",
                "Give lambda x, lam: 0.1 * x, or None.",
            )
        self.path = path
        self.error = error
        self.flow = flow
        self.noise = jnp.asarray(noise, dtype=float)
        # Traced noise is not known to be at least 1: the equation is then given by its
        # drift, which always holds.
        self.confined = not flow or (is_concrete(noise) and float(noise) >= 1)

    @property
    def total(self) -> Array:
        """The length of the clock, ∫ (g²/2) dλ; for a path that preserves the variance
        it is -log α(1).
        """
        return self.elapsed(jnp.zeros(()))

    def elapsed(self, lam: Scalar) -> Array:
        """The clock time at which the process passes λ: ∫ g²/2 from λ to 1."""
        lam = jnp.asarray(lam)
        # Gauss-Legendre quadrature on [lam, 1].
        rates = jax.vmap(self.clock_rate)(lam + (1 - lam) * NODES)
        return (1 - lam) * (rates @ WEIGHTS)

    def place(self, t: Scalar) -> Array:
        """λ at clock time t, a scalar, from 1 at t = 0 to 0 at t = total."""
        t = jnp.asarray(t)
        lam = jax.lax.stop_gradient(invert(lambda lam: -self.elapsed(lam), -t))
        # One step of Newton's method, which changes nothing but has the derivatives
        # that bisection lacks.
        rate = self.clock_rate(lam)
        # The rate may vanish at an end; the inner `where` keeps NaN out of derivatives.
        moves = rate > 0
        late = self.elapsed(lam) - t
        correction = jnp.where(moves, late / jnp.where(moves, rate, 1), 0)
        return jnp.clip(lam + correction, 2.0**-CONSTANTS.bisections, 1)

    def score(self, x: Point, lam: Scalar) -> Array:
        """The score of the model, s + e, `(d,)`."""
        exact = self.path.score(x, lam)
        return exact if self.error is None else exact + self.error(x, lam)

    def drift(self, x: Point, t: Scalar) -> Array:
        """The drift of Y at x `(d,)` and clock time t, per unit of the clock `(d,)`."""
        lam = self.place(t)
        by_score = (self.flow + self.noise) * self.score(x, lam)
        if not self.flow:
            return by_score
        return by_score - self.path.drift(x, lam) / self.clock_rate(lam)

    def potential(self, x: Point, t: Scalar) -> Array:
        """W(x, t), the potential in which the process without error is a Langevin
        process at diffusion ε; a scalar.
        """
        lam = self.place(t)
        by_score = (self.flow + self.noise) * self.path(lam)(x)
        if not self.flow:
            return by_score
        return by_score + x @ self.path.drift(x, lam) / (2 * self.clock_rate(lam))

    @property
    def equation(self) -> FokkerPlanck:
        """The `fp.FokkerPlanck` of the density of Y, t from 0 to `total`; needs ε > 0.

        From ε = 1 on, and without the flow, the drift is -∇W, and the wave p_λ /
        exp(-W/(2ε)) decays. Below 1 it need not decay, and the drift is given as a
        force, so that the density itself is evolved.
        """
        if is_concrete(self.noise) and float(self.noise) == 0:
            raise_value_error(
                "noise",
                0.0,
                "the probability flow has no diffusion",
                "Use generate, which follows the flow.",
            )
        # W need not confine here, so that there is no Gibbs density to divide by.
        if not self.confined:
            return FokkerPlanck(None, self.noise, force=lambda x, t: self.drift(x, t))
        force = None
        if self.error is not None:
            force = lambda x, t: (self.flow + self.noise) * self.error(x, self.place(t))
        return FokkerPlanck(lambda x, t: self.potential(x, t), self.noise, force=force)

    def velocity(self, x: Point, lam: Scalar) -> Array:
        """f - (g²/2)(s + e), `(d,)`: the probability flow of the model from data to
        noise, per unit of λ.
        """
        return self.path.drift(x, lam) - self.clock_rate(lam) * self.score(x, lam)

    def clock_rate(self, lam: Scalar) -> Array:
        """g²/2, the time of the clock per unit of λ."""
        return self.path.squared_diffusion(lam) / 2


def read_process(process: ReverseProcess, ndim: int) -> ReverseProcess:
    """The process with its path and its error as pytrees (`anneal.read`)."""
    read = read_noising(process.path, ndim), read_error(process.error, ndim)
    # A missing error is None, which `tree_at` does not take for a leaf by itself.
    is_none = lambda node: node is None
    return eqx.tree_at(lambda p: (p.path, p.error), process, read, is_leaf=is_none)
