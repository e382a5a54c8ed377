"""Conditional flow matching: a velocity that carries a normal density to that of
samples.

    x_t = (1 - (1 - sigma) t) x_0 + t x_1
    x_0 ~ N(0, 1),  x_1 a sample,  t in [0, 1]
    J(v) = E |v(x_t, t) - (x_1 - (1 - sigma) x_0)|^2

The minimum of J over all v is the velocity of the densities of x_t, the marginal
E[x_1 - (1 - sigma) x_0 | x_t = x]. J is not zero there: what is left is the variance of
the direction at one place.

Reference: Lipman et al., arXiv 2210.02747, theorem 2 and equations 20 to 23.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from ..core.checks import raise_value_error
from ..core.types import Count, Key, Numbers, Real
from ..potential import takes_time
from ..score.learn.checks import check_losses, check_options, check_trainable
from ..score.learn.training import advance, begin
from ..score.samples.validation import check_output, check_samples
from .constants import CONSTANTS

Model = TypeVar("Model")
REMEDY = (
    "Lower the rate of the optimiser, or chain it after optax.clip_by_global_norm(1.0)."
)


class FlowMatching(eqx.Module):
    """The loss J of a velocity model, with the last width `sigma` of the path."""

    sigma: Array

    def __call__(
        self, model: Callable[[Array, Array], Array], x: Array, key: Array
    ) -> Array:
        """The mean of J over the batch x `(b, d)`."""
        noise_key, time_key, order_key = jax.random.split(key, 3)
        start = jax.random.normal(noise_key, x.shape, x.dtype)
        # One time in each of b equal parts of [0, 1], in no order: their mean has less
        # variance.
        count = len(x)
        offsets = jax.random.uniform(time_key, (count,), x.dtype)
        even = (jnp.arange(count) + offsets) / count
        times = jax.random.permutation(order_key, even)
        losses = jax.vmap(functools.partial(self.one, model))(start, x, times)
        return jnp.mean(losses)

    def one(
        self, model: Callable[[Array, Array], Array], start: Array, end: Array, t: Array
    ) -> Array:
        """|v - (x_1 - (1 - sigma) x_0)|^2 for one pair `(d,)` and one time."""
        # The path is straight: its velocity does not depend on t.
        rest = 1 - self.sigma
        place = (1 - rest * t) * start + t * end
        return jnp.sum((model(place, t) - (end - rest * start)) ** 2)


def fit(
    model: Model,
    samples: Numbers,
    *,
    optimiser: Any,
    steps: Count,
    key: Key,
    batch: Count = 512,
    ema: Real | None = 0.999,
    progress: bool = False,
) -> tuple[Model, np.ndarray]:
    """The velocity that carries N(0, 1) at t = 0 to the density of samples at t = 1,
    and its loss at every step.

    **Arguments**

    - `model`: v(x, t) to `(d,)`: an `fp.flow.VelocityNetwork`, any Equinox module or
      callable pytree of x and t. Its arrays of floats are trained
    - `samples`: `(n, d)`; `optimiser`: of optax; `steps`: how many; `key`: of
      everything random
    - `batch`: samples a step; `ema`: the parameters returned are a running average of
      this memory, None for the last
    - `progress`: a bar on the terminal

    **Returns** the model, and `(steps,)` the loss J of each batch. Give the model to
    `fp.Continuity`: evolved from `fp.Gaussian(0.0, 1.0)` to t = 1 it gives the density
    of the model, without samples and with its error.

    **Raises** `ValueError` for samples that are not finite, too few or of another
    shape, a model without a time or whose output is not `(d,)`, an optimiser that is
    not optax's; `NumericalFailure` when the loss ceases to be finite. **Keeps**: the
    same key gives the same bits. **Cost**: a step takes `batch` velocities and their
    gradients. **Reference**: arXiv 2210.02747.

    ```python
    import jax, optax
    import fpsolve as fp

    first, second, third = jax.random.split(jax.random.key(0), 3)
    samples = 2.0 + jax.random.normal(first, (1000, 1))
    velocity = fp.flow.VelocityNetwork(
        1, key=second, width=8, depth=1, **fp.score.standardised(samples)
    )
    velocity, history = fp.flow.fit(
        velocity, samples, optimiser=optax.adam(1e-3), steps=20, key=third, batch=64
    )
    ```
    """
    array = check_samples(samples)
    steps, batch = check_options(optimiser, steps, key, batch, ema)
    # What is trained, and a first evaluation of the model.
    function: Any = model
    if not callable(model) or not takes_time(function):
        raise_value_error(
            "model",
            model,
            "it must be a function of x and t",
            "Give fp.flow.VelocityNetwork(...), say.",
        )
    parameters, rest = check_trainable(model)
    dtype = jnp.result_type(*jax.tree.leaves(parameters))
    points = jnp.asarray(array, dtype)
    # A few samples show the shape of the output.
    check_output("model", model, points[:256], jnp.asarray(0.5, dtype))

    objective = FlowMatching(jnp.asarray(CONSTANTS.least_noise, dtype))
    # Without an average the memory is zero, and one program serves both cases.
    memory = jnp.asarray(0.0 if ema is None else ema, dtype)
    # In pieces of equal length, so that one program serves any number of steps.
    state = begin(parameters, optimiser)
    losses = np.zeros(0)
    bar = tqdm(total=steps, unit="step", desc="fit") if progress else None
    while len(losses) < steps:
        count = min(CONSTANTS.steps_at_once, steps - len(losses))
        state = advance(
            state,
            rest,
            objective,
            points,
            key,
            optimiser,
            batch,
            memory,
            jnp.asarray(count),
        )
        values = np.asarray(state.losses)[:count]
        # After one NaN all parameters are NaN: the rest of the steps would be wasted.
        check_losses(values, len(losses), REMEDY)
        losses = np.concatenate([losses, values])
        if bar is not None:
            bar.update(count)
    if bar is not None:
        bar.close()
    trained = state.parameters if ema is None else state.average
    return eqx.combine(trained, rest), losses
