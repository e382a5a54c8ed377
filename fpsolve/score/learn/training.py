"""Training as a state and a step: minibatches, an optimiser, a running average, and a
folder to resume from.

    θ_(k+1) = θ_k + update( ∇ mean_batch J(s_θ) )
    a_(k+1) = a_k + (1 - ε_k)(θ_(k+1) - a_k),      ε_k = min(ε, (1 + k)/(10 + k))

Step k draws all random numbers from `fold_in(key, k)`, so a run in pieces equals the
run in one piece bit for bit.

Reference: Polyak and Juditsky, SIAM J. Control Optim. 30 (1992) 838 (averages of the
iterates).
"""

import functools
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ...core.files import write_atomically
from ...core.run_folder import open_run_folder
from ...core.types import FilePath, Formula, Scalar
from ...diffusion.types import Amplitudes
from ..constants import CONSTANTS
from ..fields import as_score
from .error import stratified_lambdas
from .losses import denoising, implicit, noising, sliced
from .perceptron import Fixed

# steps in one call of the program, after which the loss is checked: a free choice
CHUNK = 200
ROWS = 512  # samples at a time in the mean over all: bounds the memory
# steps at which two optimisers are compared: a free choice
COUNTS = (0, 1, 10, 100, 1000, 10_000, 100_000)

# of a model, a batch and a key: `Objective`, or that of another training
Loss = Callable[[Any, Array, Array], Array]


class Objective(eqx.Module):
    """The J that is minimised: `loss` by name, with `sigma` or `path` and `quantile`
    where it is "denoising".
    """

    loss: str = eqx.field(static=True)
    sigma: Any = None
    path: Amplitudes | None = None
    quantile: Formula | None = None

    def __call__(self, model: Any, x: Array, key: Array) -> Array:
        """The mean of J over the batch x `(b, d)`."""
        score: Any = as_score(model)
        noise_key, lambda_key = jax.random.split(key)
        if self.loss == "implicit":
            return jnp.mean(jax.vmap(lambda x: implicit(score, x))(x))
        if self.loss == "sliced":
            signs = jax.random.rademacher(noise_key, x.shape, x.dtype)
            losses = jax.vmap(lambda x, v: sliced(score, x, v))(x, signs)
            return jnp.mean(losses)
        noise = jax.random.normal(noise_key, x.shape, x.dtype)
        # One level of noise, or all levels of a path.
        if self.path is None:
            losses = jax.vmap(lambda x, z: denoising(score, x, z, self.sigma))(x, noise)
            return jnp.mean(losses)
        lam = stratified_lambdas(lambda_key, len(x), x.dtype)
        # Another distribution of λ is a quantile function of uniform numbers.
        if self.quantile is not None:
            lam = jnp.asarray(self.quantile(lam), x.dtype)
        alpha = jnp.asarray(self.path.alpha(lam), x.dtype)
        sigma = jnp.asarray(self.path.sigma(lam), x.dtype)
        each_loss = jax.vmap(lambda *each: noising(score, *each))
        return jnp.mean(each_loss(x, noise, lam, alpha, sigma))


class Training(eqx.Module):
    """The state of a training after `step` steps: the parameters, their average, the
    optimiser's state, and the J of the last `CHUNK` steps at most.
    """

    parameters: Any
    average: Any
    optimiser: Any
    step: Array
    losses: Array


def trainable(model: Any) -> tuple[Any, Any]:
    """The parameters of a model, all arrays of floats not in `Fixed`, and the rest."""

    def is_fixed(leaf: object) -> bool:
        return isinstance(leaf, Fixed)

    def is_trained(leaf: object) -> bool:
        return not is_fixed(leaf) and bool(eqx.is_inexact_array(leaf))

    return eqx.partition(model, jax.tree.map(is_trained, model, is_leaf=is_fixed))


def begin(parameters: Any, optimiser: optax.GradientTransformation) -> Training:
    """The state before the first step."""
    dtype = jnp.result_type(*jax.tree.leaves(parameters))
    return Training(
        parameters=parameters,
        average=parameters,
        optimiser=optimiser.init(parameters),
        step=jnp.asarray(0, jnp.int32),
        losses=jnp.zeros(CHUNK, dtype),
    )


@eqx.filter_jit
def advance(
    state: Training, rest: Any, objective: Loss, samples: Array, key: Array,
    optimiser: optax.GradientTransformation, batch: int, ema: Array, count: Array,
) -> Training:  # fmt: skip
    """The state `count` steps later, at most `CHUNK`."""

    def step(k: Array, state: Training) -> Training:
        batch_key, loss_key = jax.random.split(jax.random.fold_in(key, state.step))
        rows = jax.random.randint(batch_key, (batch,), 0, len(samples))
        x = samples[rows]

        def loss(parameters: Any) -> Array:
            return objective(eqx.combine(parameters, rest), x, loss_key)

        value, gradient = jax.value_and_grad(loss)(state.parameters)
        update, optimiser_state = optimiser.update(
            gradient, state.optimiser, state.parameters
        )
        # An optimiser may compute in another precision than that of the parameters.
        parameters = jax.tree.map(
            lambda p, u: p + u.astype(p.dtype), state.parameters, update
        )
        # The average forgets quickly at first: the first parameters are far from the
        # last ones.
        warmup = (1 + state.step) / (CONSTANTS.ema_warmup + state.step)
        memory = jnp.minimum(ema, warmup)

        def averaged(a: Array, p: Array) -> Array:
            return a + (1 - memory).astype(p.dtype) * (p - a)

        average = jax.tree.map(averaged, state.average, parameters)
        losses = state.losses.at[k].set(value.astype(state.losses.dtype))
        return Training(parameters, average, optimiser_state, state.step + 1, losses)

    return jax.lax.fori_loop(0, count, step, state)


@eqx.filter_jit
def mean_loss(model: Any, objective: Objective, samples: Array, key: Array) -> Array:
    """The mean of J over all samples, `ROWS` at a time; an incomplete last block is
    left out.
    """
    rows = min(ROWS, len(samples))
    whole = samples[: len(samples) // rows * rows]
    parts = whole.reshape(-1, rows, samples.shape[1])
    keys = jax.random.split(key, len(parts))
    # One block after another: the derivatives of all samples may not fit into memory.
    losses = jax.lax.map(lambda each: objective(model, *each), (parts, keys))
    return jnp.mean(losses)


class TrainingCheckpoint:
    """A folder with the last state of one training. **Raises** `ValueError` if the
    folder holds another problem.

    **Arguments**: `problem`, what shapes the training, by name, as `fingerprint` gives
    it.
    """

    def __init__(self, folder: FilePath, problem: dict[str, str]):
        self.folder = open_run_folder(folder, problem)

    @property
    def _file(self) -> Path:
        return self.folder / "training.npz"

    def load(self, state: Training) -> tuple[Training, np.ndarray]:
        """The state that was saved, of the structure of `state`, and the J of every
        step until then; `state` itself if none was saved.
        """
        if not self._file.exists():
            return state, np.zeros(0)
        leaves, structure = jax.tree.flatten(state)
        with np.load(self._file, allow_pickle=False) as kept:
            loaded = [_like(leaf, kept[f"leaf_{k}"]) for k, leaf in enumerate(leaves)]
            return jax.tree.unflatten(structure, loaded), kept["history"]

    def save(self, state: Training, history: np.ndarray) -> None:
        """Save the state and the J of every step until now, in place of what was saved
        before.
        """
        arrays: dict[str, Any] = {
            f"leaf_{k}": _raw(leaf) for k, leaf in enumerate(jax.tree.leaves(state))
        }

        def write(file: Any) -> None:
            np.savez(file, history=history, **arrays)

        # A process that dies while it writes leaves the last state intact.
        write_atomically(self._file, write)


def fingerprint(
    model: Any,
    objective: Objective,
    samples: Array,
    key: Array,
    optimiser: optax.GradientTransformation,
    **numbers: object,
) -> dict[str, str]:
    """What shapes a training, by name: the model by its parameters and its losses, the
    optimiser by its updates.

    An optimiser is a pair of functions and cannot be compared. Its updates of one
    gradient are compared instead, at several counts of steps, so that schedules of the
    rate are seen too.
    """
    parameters, rest = trainable(model)
    # Functions cannot be compared by content: their results on a few samples are.
    value, gradient = _first_loss(parameters, rest, objective, samples[:8], key)
    start = optimiser.init(parameters)

    def at_step(leaf: Any, n: int) -> Any:
        """The leaf of an optimiser's state, with every count of steps set to n."""
        is_number = eqx.is_array(leaf) and leaf.ndim == 0
        if is_number and jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.full_like(leaf, n)
        return leaf

    updates = []
    for count in COUNTS:
        later = jax.tree.map(functools.partial(at_step, n=count), start)
        updates.append(optimiser.update(gradient, later, parameters)[0])
    return {
        "model": _digest(parameters, jax.tree.structure(model).num_leaves),
        "loss": f"{objective.loss} {_digest(value)}",
        "samples": f"{samples.dtype} {samples.shape} {_digest(samples)}",
        "key": _digest(key),
        "optimiser": _digest(updates),
        **{name: repr(value) for name, value in numbers.items()},
    }


@eqx.filter_jit
def _first_loss(
    parameters: Any, rest: Any, objective: Objective, samples: Array, key: Array
) -> tuple[Array, Any]:
    """The loss of the first parameters and its gradient."""

    def loss(parameters: Any) -> Array:
        return objective(eqx.combine(parameters, rest), samples, key)

    return jax.value_and_grad(loss)(parameters)


def _digest(*trees: Any) -> str:
    """A hash of the shapes and bytes of all arrays."""
    buffer = io.BytesIO()
    for leaf in jax.tree.leaves(trees):
        buffer.write(f"{jnp.shape(leaf)}".encode() + _raw(leaf).tobytes())
    return hashlib.sha256(buffer.getvalue()).hexdigest()[:16]


def _raw(leaf: Scalar) -> np.ndarray:
    """An array as numpy; of a random key its words, which numpy can store."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _like(leaf: Array, kept: np.ndarray) -> Array:
    """What was stored, in the type of `leaf`: the inverse of `_raw`."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        implementation = jax.random.key_impl(leaf)
        return jax.random.wrap_key_data(jnp.asarray(kept), impl=implementation)
    return jnp.asarray(kept, leaf.dtype)
