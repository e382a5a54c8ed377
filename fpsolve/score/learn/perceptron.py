"""The smooth multilayer perceptron of a network for a score, with a shift by λ in every
layer.

    h_1 = silu(W_1 y + T_1 e),    h_k = h_(k-1) + silu(W_k h_(k-1) + T_k e)
    f = W h,    or W tanh h where it is bounded

y `(inputs,)` is standardised, e are functions of λ. W is zero before training.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array


class Fixed(eqx.Module):
    """Arrays that belong to a network and are not trained."""

    value: Any

    def __call__(self) -> Any:
        """The arrays, as constants to every derivative."""
        return jax.tree.map(
            lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf,
            self.value,
        )


class Perceptron(eqx.Module):
    """h₁ = silu(W₁ y + T₁ e), h_k = h_(k-1) + silu(W_k h_(k-1) + T_k e), f = W h, or W
    tanh h where it is `bounded`.
    """

    layers: tuple[eqx.nn.Linear, ...]
    times: tuple[eqx.nn.Linear, ...]
    last: eqx.nn.Linear
    bounded: bool = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        outputs: int | Literal["scalar"],
        width: int,
        depth: int,
        lambda_features: int,
        bounded: bool,
        key: Array,
    ):
        keys = iter(jax.random.split(key, 2 * depth + 1))
        # Residual layers: the first changes the size, the others keep it.
        sizes = [inputs] + [width] * (depth - 1)
        self.layers = tuple(
            eqx.nn.Linear(size, width, key=next(keys)) for size in sizes
        )
        self.times = tuple(
            eqx.nn.Linear(lambda_features, width, use_bias=False, key=next(keys))
            for _ in range(depth if lambda_features else 0)
        )
        # The constant of an energy has no effect on its gradient.
        has_bias = outputs != "scalar"
        last = eqx.nn.Linear(width, outputs, use_bias=has_bias, key=next(keys))
        # f = 0 before training: the score starts as that of the Gaussian part.
        self.last = jax.tree.map(jnp.zeros_like, last)
        self.bounded = bounded

    def __call__(self, y: Array, lambda_features: Array | None) -> Array:
        """f(y, λ), a scalar or `(outputs,)`, of y `(inputs,)` and the functions of λ,
        if there are any.
        """
        # λ shifts the argument of every layer.
        shifts: list[Any] = [0.0] * len(self.layers)
        if self.times and lambda_features is not None:
            shifts = [time(lambda_features) for time in self.times]
        h = jax.nn.silu(self.layers[0](y) + shifts[0])
        for layer, shift in zip(self.layers[1:], shifts[1:], strict=True):
            h = h + jax.nn.silu(layer(h) + shift)
        # A bounded f cannot outweigh a linear tail far from the center.
        return self.last(jnp.tanh(h) if self.bounded else h)
